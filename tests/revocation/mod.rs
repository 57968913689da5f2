//! Revocation against real programs: lists and responders of OpenSSL, servers that misbehave.
mod authority; // certificates, CRLs and responders, by the openssl program
mod lists;
mod responders;
mod server; // a web server that counts and misbehaves
mod silence;
mod speed;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::revocation::Mode;
use vaguemestre::infra::revocation::Revocation;
use vaguemestre::infra::revocation::Settings;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// OpenSSL makes everything of now.
fn now() -> Timestamp {
    SystemClock.now()
}

fn settings(folder: &Path, crl_files: &[PathBuf]) -> Settings {
    Settings {
        mode: Mode::Required,
        crl_files: crl_files.to_vec(),
        crl: true,
        ocsp: true,
        timeout: Duration::from_secs(3),
        refresh: HOUR,
        grace: 4 * HOUR,
        kept: folder.join("kept"),
    }
}

fn required(folder: &Path, crl_files: &[PathBuf]) -> Revocation {
    Revocation::new(settings(folder, crl_files))
}
