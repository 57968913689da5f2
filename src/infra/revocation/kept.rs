//! Fetched CRLs on disk, so that a restart asks nobody.
//!
//! Each is a PEM file with a few lines above, which `openssl crl -in FILE -text` shows too. What
//! is read back is verified like what was fetched.
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::domain::limits::CRL_OCTETS_MAX;
use crate::domain::limits::CRLS_HELD_MAX;
use crate::domain::time::Timestamp;
use crate::infra::net::fetch::Validators;
use crate::infra::revocation::crl::Crl;
use crate::infra::revocation::der::sha256;
use crate::infra::revocation::hand::Held;
use crate::infra::revocation::hand::ListKey;

const ENDING: &str = "crl";
/// Of a file that is being written.
const DRAFT_ENDING: &str = "new";
/// Characters of the lines above the list.
const HEAD_MAX: usize = 8_192;

/// Writes one list; a crash leaves the one before or this one, never half of one.
pub(super) fn write(folder: &Path, key: &ListKey, held: &Held) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = file_of(folder, key);
    let draft = file.with_extension(DRAFT_ENDING);
    let mut out = io::BufWriter::new(std::fs::File::create(&draft)?);
    writeln!(out, "url: {}", key.url)?;
    writeln!(out, "issuer-key: {}", hex(&key.issuer))?;
    writeln!(out, "fetched: {}", held.fetched.as_millis())?;
    for (name, value) in
        [("etag", &held.validators.etag), ("last-modified", &held.validators.last_modified)]
    {
        if let Some(value) = value {
            writeln!(out, "{name}: {value}")?;
        }
    }
    writeln!(out, "-----BEGIN X509 CRL-----")?;
    for line in held.crl.octets().chunks(48) {
        writeln!(out, "{}", BASE64.encode(line))?;
    }
    writeln!(out, "-----END X509 CRL-----")?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&draft, &file)
}

/// Forgets one list.
pub(super) fn remove(folder: &Path, key: &ListKey) {
    let _ = std::fs::remove_file(file_of(folder, key));
}

/// Every list that was kept, the youngest first; what cannot be read, and what is too much, is
/// removed: it can be fetched again.
pub(super) fn read_all(folder: &Path) -> Vec<(ListKey, Held)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let ours = |path: &Path| {
        path.extension().is_some_and(|ending| ending == ENDING || ending == DRAFT_ENDING)
    };
    let mut files: Vec<(std::time::SystemTime, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter(|entry| ours(&entry.path()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort_unstable_by(|left, right| right.cmp(left));
    let mut lists = Vec::new();
    for (_, file) in files {
        match read(&file) {
            Ok((key, held)) if lists.len() < CRLS_HELD_MAX => lists.push((key, held)),
            result => {
                if let Err(reason) = result {
                    tracing::warn!(file = %file.display(), reason, "a kept CRL cannot be read");
                }
                let _ = std::fs::remove_file(&file);
            }
        }
    }
    lists
}

fn read(file: &Path) -> Result<(ListKey, Held), String> {
    let mut octets = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let limit = u64::try_from(CRL_OCTETS_MAX * 3 / 2 + HEAD_MAX).unwrap_or(u64::MAX);
    opened.take(limit).read_to_end(&mut octets).map_err(|error| error.to_string())?;
    let begin = octets.windows(5).take(HEAD_MAX).position(|part| part == b"-----");
    let (head, list) = octets.split_at(begin.ok_or("no CRL in it")?);
    let head = String::from_utf8_lossy(head);
    let line = |name: &str| {
        head.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
    };
    let url = line("url").ok_or("no URL in it")?;
    let issuer = line("issuer-key").and_then(|text| unhex(&text)).ok_or("no issuer in it")?;
    let key = ListKey { url, issuer };
    if file.file_name() != file_of(Path::new(""), &key).file_name() {
        return Err("its name is another list's".to_owned());
    }
    let fetched = line("fetched").and_then(|text| text.parse().ok()).ok_or("no date in it")?;
    let validators = Validators { etag: line("etag"), last_modified: line("last-modified") };
    let crl = Crl::read(list)?;
    Ok((key, Held::new(crl, Timestamp::from_millis(fetched), validators)))
}

fn file_of(folder: &Path, key: &ListKey) -> PathBuf {
    let name = sha256(&[key.url.as_bytes(), b"\0", &key.issuer].concat());
    folder.join(format!("{}.{ENDING}", hex(&name)))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut octets = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (place, octet) in octets.iter_mut().enumerate() {
        *octet = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(octets)
}
