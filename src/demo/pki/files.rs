//! PEM files of the demonstration.
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;

/// A certificate chain and its key, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemPair {
    /// Chain, leaf first.
    pub certificate: PathBuf,
    /// Private key, mode 0600.
    pub key: PathBuf,
}

impl PemPair {
    /// True when both are there.
    pub(super) fn exists(&self) -> bool {
        self.certificate.exists() && self.key.exists()
    }
}

pub(super) fn pair(folder: &Path, stem: &str) -> PemPair {
    PemPair {
        certificate: folder.join(format!("{stem}.pem")),
        key: folder.join(format!("{stem}.key")),
    }
}

pub(super) fn read(file: &Path) -> Result<String, anyhow::Error> {
    std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))
}

/// A key is never readable for others, not even for the moment between creation and chmod.
pub(super) fn write(file: &Path, text: &str, private: bool) -> Result<(), anyhow::Error> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    use std::os::unix::fs::PermissionsExt;
    let mode = if private { 0o600 } else { 0o644 };
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(mode);
    let mut handle = open.open(file).with_context(|| format!("{}", file.display()))?;
    handle.set_permissions(std::fs::Permissions::from_mode(mode))?;
    handle.write_all(text.as_bytes()).with_context(|| format!("{}", file.display()))
}
