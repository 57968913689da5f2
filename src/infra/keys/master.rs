//! The master key's file: read when only its owner can, made when missing and wanted.
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::domain::secret::Secret;
use crate::infra::keys::KeyError;

/// Octets of the master key.
pub(super) const MASTER_OCTETS: usize = 32;
/// Octets of the file at most: 64 hexadecimal digits, CR, LF, and one that tells "too long".
const FILE_OCTETS_MAX: u64 = 67;

/// Reads the key; with `create`, makes it when there is no file yet.
pub(super) fn open(path: &Path, create: bool) -> Result<Secret<[u8; MASTER_OCTETS]>, KeyError> {
    match read(path) {
        Err(ReadError::Missing) if create => {
            make(path).map_err(|error| refused(path, &error.to_string()))?;
            // Read back what lies on disk, also when another process was faster.
            read(path).map_err(|error| error.explain(path))
        }
        outcome => outcome.map_err(|error| error.explain(path)),
    }
}

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

fn read(path: &Path) -> Result<Secret<[u8; MASTER_OCTETS]>, ReadError> {
    let file = File::open(path)?;
    // Of the open file, not of the path: nobody can exchange it between the look and the read.
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::Other("not a regular file".to_owned()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ReadError::Other(format!(
            "mode {mode:04o} lets others in; only the owner may read it (0600 or 0400)"
        )));
    }
    let mut octets = Zeroizing::new(Vec::with_capacity(FILE_OCTETS_MAX as usize));
    file.take(FILE_OCTETS_MAX).read_to_end(&mut octets)?;
    parse(&octets)
        .ok_or_else(|| ReadError::Other("neither 32 octets nor 64 hexadecimal digits".to_owned()))
}

/// Raw octets, or hexadecimal digits with an optional line end.
fn parse(octets: &[u8]) -> Option<Secret<[u8; MASTER_OCTETS]>> {
    if let Ok(raw) = <[u8; MASTER_OCTETS]>::try_from(octets) {
        return Some(Secret::new(raw));
    }
    let digits = octets.strip_suffix(b"\n").unwrap_or(octets);
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    if digits.len() != 2 * MASTER_OCTETS {
        return None;
    }
    let mut key = Zeroizing::new([0; MASTER_OCTETS]);
    for (octet, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = hex_value(pair[0])? << 4 | hex_value(pair[1])?;
    }
    Some(Secret::new(*key))
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Writes a new key beside its place and links it there: the file is whole or absent after a
/// crash, and an existing key is never overwritten (losing it loses every mailbox).
fn make(path: &Path) -> io::Result<()> {
    let mut key = Zeroizing::new([0_u8; MASTER_OCTETS]);
    super::fill_random(&mut *key);
    let mut text = Zeroizing::new(String::with_capacity(2 * MASTER_OCTETS + 1));
    for octet in key.iter() {
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
    let linked = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| {
        match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            outcome => outcome,
        }
    });
    std::fs::remove_file(&draft)?;
    linked?;
    File::open(&directory)?.sync_all()
}

#[cfg(test)]
mod tests {
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
                assert_eq!(open(&path, false).unwrap().expose().as_slice(), raw);
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
        assert_ne!(first.expose(), &[0; 32]);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a draft was left");
    }

    #[test]
    fn a_folder_in_the_place_of_the_master_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open(folder.path(), true).is_err());
    }
}
