//! What the files that the configuration names must be.
use std::fs;
use std::fs::File;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

/// Octets that are read of a PEM file.
const PEM_OCTETS_MAX: u64 = 1_048_576;

/// A PEM file with at least one certificate that can be read.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let octets = pem(path)?;
    let unreadable = |error| format!("{}: {error}", path.display());
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&octets).collect::<Result<_, _>>().map_err(unreadable)?;
    if chain.is_empty() {
        return Err(format!("no PEM certificate in {}", path.display()));
    }
    for certificate in &chain {
        RootCertStore::empty()
            .add(certificate.clone())
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(chain)
}

/// A PEM private key that the world cannot read. A group may: Debian shares keys by `ssl-cert`.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let metadata = readable(path)?;
    closed_to(&metadata, path, 0o007)?;
    PrivateKeyDer::from_pem_slice(&pem(path)?)
        .map_err(|_| format!("no unencrypted PEM private key in {}", path.display()))
}

/// The key belongs to the first certificate of the chain.
pub(super) fn belong_together(certificate: &Path, key: &Path) -> Result<(), String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(certificates(certificate)?, private_key(key)?, &provider)
        .map(|_| ())
        .map_err(|error| format!("{}: {error}", key.display()))
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

/// The file's octets, wiped when dropped: there may be a key in them.
fn pem(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    readable(path)?;
    let mut octets = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| file.take(PEM_OCTETS_MAX).read_to_end(&mut octets))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(octets)
}
