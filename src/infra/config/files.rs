//! What the files that the configuration names must be.
use std::fs;
use std::fs::File;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Octets that are read of a PEM file to see what is in it.
const PEM_OCTETS_MAX: u64 = 1_048_576;

/// A PEM file with at least one certificate.
pub(super) fn certificates(path: &Path) -> Result<(), String> {
    holds(path, &["-----BEGIN CERTIFICATE-----"], "no PEM certificate")
}

/// A PEM private key that the world cannot read. A group may: Debian shares keys by `ssl-cert`.
pub(super) fn private_key(path: &Path) -> Result<(), String> {
    const KINDS: [&str; 3] = [
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----",
    ];
    let metadata = readable(path)?;
    closed_to(&metadata, path, 0o007)?;
    holds(path, &KINDS, "no unencrypted PEM private key")
}

/// A file that only its owner may read.
pub(super) fn owners_only(path: &Path) -> Result<(), String> {
    let metadata = readable(path)?;
    closed_to(&metadata, path, 0o077)
}

/// A file that can be opened.
pub(super) fn readable(path: &Path) -> Result<Metadata, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let metadata = file.metadata().map_err(|error| format!("{}: {error}", path.display()))?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    Ok(metadata)
}

/// A folder, or something that can become one.
pub(super) fn folder_or_new(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(format!("{} is not a folder", path.display())),
        Err(_) => parent_exists(path),
    }
}

/// The folder in which `path` lies, or would lie.
pub(super) fn parent_exists(path: &Path) -> Result<(), String> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    if parent.is_dir() {
        return Ok(());
    }
    Err(format!("neither {} nor its folder exists", path.display()))
}

fn closed_to(metadata: &Metadata, path: &Path, forbidden: u32) -> Result<(), String> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & forbidden == 0 {
        return Ok(());
    }
    Err(format!("{} has mode {mode:03o}", path.display()))
}

fn holds(path: &Path, marks: &[&str], otherwise: &str) -> Result<(), String> {
    readable(path)?;
    let mut octets = Vec::new();
    File::open(path)
        .and_then(|file| file.take(PEM_OCTETS_MAX).read_to_end(&mut octets))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let text = String::from_utf8_lossy(&octets);
    let found = marks.iter().any(|mark| text.contains(mark));
    zeroize::Zeroize::zeroize(&mut octets);
    if found { Ok(()) } else { Err(format!("{otherwise} in {}", path.display())) }
}
