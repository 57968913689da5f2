//! OpenPGP keys: requests in, answers out, key bytes never leave. Nothing else imports the
//! OpenPGP crate.
use crate::domain::address::Address;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use std::sync::Arc;
use bytes::Bytes;
use std::path::Path;

/// The operator's keys: master key, the relay's spool key, and who opens mailbox keys.
pub struct Keyring {}

/// A public OpenPGP certificate, ready to be sealed to. Cheap to clone.
#[derive(Clone)]
pub struct Certificate {}

/// What a new mailbox, or the spool, stores about its keys.
#[derive(Clone, Debug)]
pub struct NewKeys {
    /// The public certificate, binary OpenPGP.
    pub certificate: Bytes,
    /// Secret key and index key, wrapped by the master key; a few kilobytes.
    pub wrapped: Bytes,
}

/// The unlocked keys of one mailbox (or of the spool). Wiped when the last clone is dropped.
#[derive(Clone)]
pub struct MailboxKeys {}

/// The key of one sealed content.
pub struct ContentKey {}

/// Clear text that streams in and becomes one OpenPGP message for all recipients.
pub struct Sealer {}

/// A finished OpenPGP message (binary) and its key.
pub struct SealedContent {
    /// The OpenPGP message.
    pub ciphertext: Vec<u8>,
    /// Wrap it per mailbox, so that reading needs no public-key operation.
    pub content_key: ContentKey,
}

/// Why a key could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The master key file is missing, unreadable, of a wrong size or readable by others.
    #[error("master key: {0}")]
    Master(String),
    /// The wrapped key does not open with this master key, or was altered.
    #[error("a wrapped key does not open: altered, or wrapped by another master key")]
    Unwrap,
    /// The ciphertext was altered, cut, or made for another key.
    #[error("a sealed text does not open: altered, or made for another key")]
    Open,
    /// The certificate cannot be used for encryption.
    #[error("certificate: {0}")]
    Certificate(String),
    /// The OpenPGP library failed.
    #[error("OpenPGP: {0}")]
    Library(String),
}

impl Keyring {
    /// Reads the 32-octet master key (hex or raw) from a file that only its owner may read
    /// (mode 0600 or 0400; anything wider is refused). With `create`, makes it when missing.
    pub fn open(master_key_file: &Path, create: bool) -> Result<Self, KeyError> { let _ = (master_key_file, create); todo!() }
    /// A keyring around a given master key (tests, and later systemd credentials).
    pub fn with_master(master: Secret<[u8; 32]>) -> Self { let _ = master; todo!() }
    /// Makes the keys of a new mailbox: OpenPGP v4 Curve25519, and a random index key. Takes
    /// about a millisecond of CPU. `user_id` is what the certificate shows; give a patient's
    /// mailbox an opaque one, never the INS.
    pub fn generate(&self, owner: &MailboxId, user_id: &str, now: Timestamp) -> Result<NewKeys, KeyError> { let _ = (owner, user_id, now); todo!() }
    /// Unlocks a mailbox's keys. `owner` is bound in: keys moved to another row do not open.
    pub fn unlock(&self, owner: &MailboxId, wrapped: &[u8]) -> Result<MailboxKeys, KeyError> { let _ = (owner, wrapped); todo!() }
    /// Reads a stored certificate.
    pub fn certificate(&self, binary: &[u8]) -> Result<Certificate, KeyError> { let _ = binary; todo!() }
    /// Begins to seal one content to all `recipients` (at least one).
    pub fn seal_to(&self, recipients: &[Certificate]) -> Result<Sealer, KeyError> { let _ = recipients; todo!() }
    /// Where an address is looked up: a keyed hash, so that an INS never lies on disk.
    pub fn address_key(&self, address: &Address) -> [u8; 32] { let _ = address; todo!() }
    /// Seals a small personal fact of the relay itself (a patient's address) for one purpose.
    pub fn seal_small(&self, purpose: &str, clear: &[u8]) -> Vec<u8> { let _ = (purpose, clear); todo!() }
    /// Opens what [`Keyring::seal_small`] made for the same purpose.
    pub fn open_small(&self, purpose: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> { let _ = (purpose, sealed); todo!() }
    /// A random password or token of 128 bits in a URL-safe alphabet.
    pub fn random_token(&self) -> Secret<String> { todo!() }
}

impl Sealer {
    /// Takes the next octets of clear text.
    pub fn write(&mut self, clear: &[u8]) -> Result<(), KeyError> { let _ = clear; todo!() }
    /// Ends the message.
    pub fn finish(self) -> Result<SealedContent, KeyError> { todo!() }
}

impl MailboxKeys {
    /// Seals a content key under the mailbox's index key, for its message row.
    pub fn wrap(&self, content_key: &ContentKey) -> Vec<u8> { let _ = content_key; todo!() }
    /// Opens what [`MailboxKeys::wrap`] made.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<ContentKey, KeyError> { let _ = wrapped; todo!() }
    /// Seals a summary, a folder name, a search entry; `context` is bound in (what and where).
    pub fn seal_index(&self, context: &[u8], clear: &[u8]) -> Vec<u8> { let _ = (context, clear); todo!() }
    /// Opens what [`MailboxKeys::seal_index`] made in the same context.
    pub fn open_index(&self, context: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> { let _ = (context, sealed); todo!() }
    /// A keyed digest that means nothing outside this mailbox (duplicate suppression).
    pub fn digest(&self, clear: &[u8]) -> [u8; 32] { let _ = clear; todo!() }
    /// Opens a content with its content key. All or nothing: integrity is known first.
    pub fn open(&self, content_key: &ContentKey, ciphertext: &[u8]) -> Result<Arc<Secret<Vec<u8>>>, KeyError> { let _ = (content_key, ciphertext); todo!() }
    /// Opens a content with the OpenPGP secret key alone, as any OpenPGP program would.
    pub fn open_with_secret_key(&self, ciphertext: &[u8]) -> Result<Arc<Secret<Vec<u8>>>, KeyError> { let _ = ciphertext; todo!() }
    /// The ciphertext's content key, found with the OpenPGP secret key.
    pub fn content_key_of(&self, ciphertext: &[u8]) -> Result<ContentKey, KeyError> { let _ = ciphertext; todo!() }
}
