//! The master key: where it lies, which versions of it there are, and who may open what.
//!
//! A *version* is a key that was the current one from some day on. What it wraps names it by its
//! number, so that several can stand side by side while everything is wrapped anew. Not all can
//! be: lookups are keyed digests and stay what they are. They hang on a *root*, which is sealed
//! under the current version and sealed anew when that changes (decision 15).
mod file; // files and credentials
mod token; // keys in hardware, by PKCS #11
mod versions; // the rows, and what happens to them at a start

use crate::domain::secret::Secret;
use crate::infra::keys::KeyError;
use crate::infra::keys::boxes::DigestKey;
use crate::proto::key_source::KeySource;
use std::path::Path;

pub use versions::Cursor;
pub use versions::State;
pub use versions::Version;
pub use versions::Versions;

pub(super) use versions::open;

/// Octets of the master key.
pub(super) const MASTER_OCTETS: usize = 32;
/// Octets of a check value: enough to tell keys apart.
const CHECK_OCTETS: usize = 16;

/// 32 octets on the heap, wiped when dropped.
pub(super) type MasterOctets = Secret<Vec<u8>>;

/// Where the keys lie.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The current one.
    pub current: KeySource,
    /// Those before, as long as something is wrapped by them.
    pub old: Vec<KeySource>,
}

/// Keys that were read, before the store is open: a missing one is told first and clearest.
/// Blocks while it reads files and asks tokens.
pub struct Sources {
    current: Loaded,
    /// Of an old one it is known later whether it is needed.
    old: Vec<(KeySource, Result<Loaded, KeyError>)>,
}

/// One key.
pub(super) struct Loaded {
    source: KeySource,
    secret: LoadedSecret,
}

enum LoadedSecret {
    /// The key itself.
    Octets(MasterOctets),
    /// Something that opens the key of a version, which lies in its row.
    Token(token::Token),
}

impl Sources {
    /// Reads all of them. With `create`, a missing file of the current key is made: for a data
    /// folder in which nothing is sealed yet.
    pub fn load(settings: &Settings, create: bool) -> Result<Self, KeyError> {
        let current = load(&settings.current, create)?;
        let old = settings.old.iter();
        let old = old.map(|source| (source.clone(), load(source, false))).collect();
        Ok(Self { current, old })
    }
}

fn load(source: &KeySource, create: bool) -> Result<Loaded, KeyError> {
    let secret = match source {
        KeySource::File(path) => LoadedSecret::Octets(file::open(path, create)?),
        KeySource::Credential(name) => LoadedSecret::Octets(file::credential(name)?),
        KeySource::Token(uri) => LoadedSecret::Token(token::Token::find(uri)?),
    };
    Ok(Loaded { source: source.clone(), secret })
}

/// Makes the file of a new master key, mode 0600; never in the place of another.
pub fn make_file(path: &Path) -> Result<(), KeyError> {
    file::make_new(path)
}

/// Makes the AES key that a URI names inside its token; never beside one of the same name.
/// Blocks while the token works.
pub fn make_in_token(source: &KeySource) -> Result<(), KeyError> {
    match source {
        KeySource::Token(uri) => token::make_key(uri),
        _ => Err(KeyError::Master("a pkcs11: URI is expected".to_owned())),
    }
}

/// Tells whether two keys are the same one, and nothing of them.
fn check_value(master: &[u8]) -> [u8; CHECK_OCTETS] {
    let digest = DigestKey::derive(master, "key check").digest(b"");
    *digest.first_chunk().expect("a digest has 32 octets")
}

fn random_octets() -> MasterOctets {
    let mut octets = vec![0; MASTER_OCTETS];
    super::fill_random(&mut octets);
    Secret::new(octets)
}

#[cfg(test)]
mod tests;
