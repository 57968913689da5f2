//! A master key's file: read when only its owner can, made when missing and wanted.
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::domain::secret::Secret;
use crate::infra::keys::KeyError;
use crate::infra::keys::master::MASTER_OCTETS;
use crate::infra::keys::master::MasterOctets;

/// Octets of the file at most: 64 hexadecimal digits, CR, LF, and one that tells "too long".
const FILE_OCTETS_MAX: u64 = 67;
/// Where systemd puts what `LoadCredential=` and `LoadCredentialEncrypted=` name.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Reads the key; with `create`, makes it when there is no file yet.
pub(super) fn open(path: &Path, create: bool) -> Result<MasterOctets, KeyError> {
    match read(path, owners_only) {
        Err(ReadError::Missing) if create => {
            match make(path) {
                // Read back what lies on disk, also when another process was faster.
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(refused(path, &error.to_string())),
            }
            read(path, owners_only).map_err(|error| error.explain(path))
        }
        outcome => outcome.map_err(|error| error.explain(path)),
    }
}

/// Makes a key where no file is yet.
pub(super) fn make_new(path: &Path) -> Result<(), KeyError> {
    make(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => refused(path, "is there already, and is not overwritten"),
        _ => refused(path, &error.to_string()),
    })
}

/// Reads a credential of systemd.
pub(super) fn credential(name: &str) -> Result<MasterOctets, KeyError> {
    let Some(folder) = std::env::var_os(CREDENTIALS) else {
        return Err(KeyError::Master(format!(
            "credential:{name}: {CREDENTIALS} is not set. systemd sets it for a service with \
             LoadCredential={name}:… or LoadCredentialEncrypted={name}:…; a command by hand gets \
             it through `systemd-run --pipe -p User=vaguemestre -p LoadCredential={name}:… …`"
        )));
    };
    let path = PathBuf::from(folder).join(name);
    read(&path, credential_mode).map_err(|error| error.explain(&path))
}

/// Reads a small secret text, a PIN, without its line end.
pub(super) fn pin(path: &Path) -> Result<Secret<String>, KeyError> {
    let explain = |error: ReadError| error.explain(path);
    let octets = octets(path, owners_only, 258).map_err(explain)?;
    let text = std::str::from_utf8(&octets).map_err(|_| refused(path, "the PIN is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text.len() {
        1..=255 => Ok(Secret::new(text.to_owned())),
        _ => Err(refused(path, "a PIN of 1 to 255 octets is expected")),
    }
}

#[derive(Debug)]
enum ReadError {
    Missing,
    Other(String),
}

impl ReadError {
    fn explain(self, path: &Path) -> KeyError {
        match self {
            Self::Missing => refused(path, "no such file"),
            Self::Other(reason) => refused(path, &reason),
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Other(error.to_string()),
        }
    }
}

fn refused(path: &Path, reason: &str) -> KeyError {
    KeyError::Master(format!("{}: {reason}", path.display()))
}

/// What a check of the open file's mode and owner says.
type Check = fn(mode: u32, owner: u32) -> Result<(), String>;

fn owners_only(mode: u32, _owner: u32) -> Result<(), String> {
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(format!(
            "mode {mode:04o} lets others in; only the owner may read it (0600 or 0400)"
        )),
    }
}

/// systemd leaves a credential to root with mode 0400 and lets the service's user in by an access
/// list, which `stat` shows in the group's place (0440); or gives it to that user.
fn credential_mode(mode: u32, owner: u32) -> Result<(), String> {
    if mode & 0o037 != 0 {
        return Err(format!("mode {mode:04o} lets others in; a credential has 0400 or 0440"));
    }
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(format!("it belongs to uid {owner}, neither root nor us"));
    }
    Ok(())
}

fn octets(path: &Path, check: Check, octets_max: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let file = File::open(path)?;
    // Of the open file, not of the path: nobody can exchange it between the look and the read.
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::Other("not a regular file".to_owned()));
    }
    check(metadata.mode() & 0o777, metadata.uid()).map_err(ReadError::Other)?;
    // Reserved once: growing would leave copies behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(octets_max as usize + 1));
    file.take(octets_max).read_to_end(&mut octets)?;
    Ok(octets)
}

fn read(path: &Path, check: Check) -> Result<MasterOctets, ReadError> {
    let octets = octets(path, check, FILE_OCTETS_MAX)?;
    parse(&octets)
        .ok_or_else(|| ReadError::Other("neither 32 octets nor 64 hexadecimal digits".to_owned()))
}

/// Raw octets, or hexadecimal digits with an optional line end.
fn parse(octets: &[u8]) -> Option<MasterOctets> {
    if octets.len() == MASTER_OCTETS {
        return Some(Secret::new(octets.to_vec()));
    }
    let digits = octets.strip_suffix(b"\n").unwrap_or(octets);
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    if digits.len() != 2 * MASTER_OCTETS {
        return None;
    }
    let mut key = Zeroizing::new(Vec::with_capacity(MASTER_OCTETS));
    for pair in digits.chunks_exact(2) {
        key.push(hex_value(pair[0])? << 4 | hex_value(pair[1])?);
    }
    Some(Secret::new(std::mem::take(&mut *key)))
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Writes a new key beside its place and links it there: the file is whole or absent after a
/// crash, and an existing key is never overwritten (losing it loses every mailbox).
fn make(path: &Path) -> io::Result<()> {
    let key = super::random_octets();
    let mut text = Zeroizing::new(String::with_capacity(2 * MASTER_OCTETS + 1));
    for octet in key.expose() {
        text.push(char::from_digit(u32::from(octet >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(octet & 15), 16).unwrap_or('0'));
    }
    text.push('\n');

    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let draft = directory.join(format!(".master-key-{}", uuid::Uuid::new_v4()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let linked = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::hard_link(&draft, path));
    std::fs::remove_file(&draft)?;
    linked?;
    File::open(&directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file_with(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_master_key_is_read_raw_or_in_hexadecimal() {
        let hex = "00ff".repeat(16);
        let raw: Vec<u8> = [0_u8, 255].repeat(16);
        let with_line_end = format!("{hex}\n");
        for content in [raw.as_slice(), hex.as_bytes(), with_line_end.as_bytes()] {
            for mode in [0o600, 0o400] {
                let (_folder, path) = file_with(content, mode);
                assert_eq!(open(&path, false).unwrap().expose(), &raw);
            }
        }
    }

    #[test]
    fn a_master_key_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o660, 0o644, 0o620] {
            let (_folder, path) = file_with(&[7; 32], mode);
            let error = open(&path, true).unwrap_err().to_string();
            assert!(error.contains("0600"), "{error}");
        }
    }

    #[test]
    fn a_master_key_of_a_wrong_size_is_refused() {
        for content in [&b""[..], &[7; 31], &[7; 33], &[b'a'; 63], &[b'g'; 64], &[b'a'; 70]] {
            let (_folder, path) = file_with(content, 0o600);
            assert!(open(&path, true).is_err(), "{} octets were taken", content.len());
        }
    }

    #[test]
    fn a_missing_master_key_is_made_once_and_only_on_demand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(open(&path, false).is_err());
        let first = open(&path, true).unwrap();
        let second = open(&path, true).unwrap();
        assert_eq!(first.expose(), second.expose());
        assert_ne!(first.expose(), &vec![0; 32]);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a draft was left");
    }

    #[test]
    fn a_folder_in_the_place_of_the_master_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open(folder.path(), true).is_err());
    }

    #[test]
    fn a_new_key_never_takes_the_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.key");
        make_new(&path).unwrap();
        let first = open(&path, false).unwrap();
        let error = make_new(&path).unwrap_err().to_string();
        assert!(error.contains("not overwritten"), "{error}");
        assert_eq!(open(&path, false).unwrap().expose(), first.expose());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a draft was left");
    }

    #[test]
    fn a_credential_may_be_read_by_root_and_by_us_alone() {
        let us = rustix::process::geteuid().as_raw();
        for (mode, owner) in [(0o400, us), (0o440, 0), (0o600, us)] {
            assert_eq!(credential_mode(mode, owner), Ok(()));
        }
        for (mode, owner) in [(0o444, 0), (0o404, us), (0o460, 0), (0o400, us + 1)] {
            assert!(credential_mode(mode, owner).is_err(), "{mode:o} of {owner}");
        }
    }

    #[test]
    fn a_pin_is_one_line_that_only_its_owner_reads() {
        let (_folder, path) = file_with(b"1234\n", 0o600);
        assert_eq!(pin(&path).unwrap().expose(), "1234");
        let (_folder, path) = file_with(b"1234\n", 0o644);
        assert!(pin(&path).unwrap_err().to_string().contains("0600"));
        for content in [&b""[..], b"\n", &[0xff], &[b'1'; 257]] {
            let (_folder, path) = file_with(content, 0o600);
            assert!(pin(&path).is_err());
        }
    }
}
