//! OpenPGP keys: requests in, answers out, key bytes never leave. Nothing else imports the
//! OpenPGP crate.
pub mod addressed;
mod armour;
mod boxes;
mod container;
pub mod escrow;
mod framing;
pub mod mail;
pub mod lifecycle;
pub mod master;
pub mod peers;
mod pgp;
pub mod smime;

use std::ops::Range;
use std::sync::Arc;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::domain::address::Address;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::secret::Wipe;
use crate::domain::time::Timestamp;
use crate::infra::keys::boxes::BoxKey;
use crate::infra::keys::boxes::DigestKey;
use crate::infra::keys::master::Sources;
use crate::infra::keys::master::Version;
use crate::infra::store::Store;

/// Octets of a mailbox's index key.
const INDEX_KEY_OCTETS: usize = 32;
/// First octet of what was wrapped before there were versions: a box, without a number.
const WRAP_WITHOUT_VERSION: u8 = 1;
/// First octet of a wrap that names the version of the master key in its next four.
const WRAP_OF_VERSION: u8 = 2;
/// Octets before the box: the format and the version's number, high octet first.
const WRAP_HEAD: usize = 5;

/// What the operator's master key opens: the keys of mailboxes, and what the relay keeps sealed.
///
/// It changes at starts only ([`master`]); while it is there, nothing of it is written, so
/// that every thread uses it without a lock.
pub struct Keyring {
    current: u32,
    /// By number; a handful.
    wraps: Vec<(u32, BoxKey)>,
    small: BoxKey,
    addresses: DigestKey,
    logins: BoxKey,
    login_digests: DigestKey,
    /// The current version, for the escrow.
    master: Secret<Vec<u8>>,
}

/// A keyring, and what its opening has shown.
pub struct OpenedKeyring {
    /// The keys.
    pub keyring: Keyring,
    /// Versions of the master key by which something is perhaps still wrapped, and whose keys
    /// nobody gave us.
    pub missing: Vec<Version>,
    /// Configured keys that are of no use, each in a sentence.
    pub notes: Vec<String>,
    /// The version that began with this start.
    pub begun: Option<u32>,
}

/// A public OpenPGP certificate, ready to be sealed to. Cheap to clone.
#[derive(Clone)]
pub struct Certificate(Arc<pgp::EncryptionKey>);

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
pub struct MailboxKeys(Arc<Unlocked>);

struct Unlocked {
    contents: BoxKey,
    index: BoxKey,
    digests: DigestKey,
    /// The OpenPGP key, parsed when first needed: reading and filing never need it.
    openpgp: Secret<Vec<u8>>,
    decryption: OnceLock<Vec<pgp::DecryptionKey>>,
}

/// The key of one sealed content.
pub struct ContentKey(pgp::ContentKey);

/// Clear text that streams in and becomes one OpenPGP message for all recipients.
pub struct Sealer(pgp::Sealing);

/// A finished OpenPGP message (binary) and its key.
pub struct SealedContent {
    /// The OpenPGP message.
    pub ciphertext: Vec<u8>,
    /// Wrap it per mailbox, so that reading needs no public-key operation.
    pub content_key: ContentKey,
}

/// What the first octets of a ciphertext say about how it can be opened.
pub enum Beginning {
    /// More octets are needed to say it.
    Short,
    /// Only as a whole: [`MailboxKeys::open`].
    Whole,
    /// In pieces, in any order.
    InChunks(ContentOpener),
}

/// Opens stretches of one content, without the rest of it. Each is authentic, and in its place,
/// before it is given out. Ask [`ContentOpener::is_complete`] first: it says whether anything is
/// missing behind.
pub struct ContentOpener {
    opener: container::Opener,
    /// Where the container's body begins in the ciphertext.
    body_at: u64,
    /// Octets of the ciphertext.
    length: u64,
}

/// Why a key could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The master key is missing, unreadable, of a wrong form, readable by others, or another one.
    #[error("master key: {0}")]
    Master(String),
    /// The rows of the master key's versions cannot be read or written.
    #[error("versions of the master key: {0}")]
    Store(String),
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
    /// Finds out which versions the keys of the configuration are, and begins a new one for a
    /// current key that the store does not know. `before` is something, and its owner, that was
    /// wrapped before there were versions, if there is such.
    pub async fn open(
        store: &Arc<dyn Store>,
        sources: Sources,
        before: Option<(MailboxId, Bytes)>,
        now: Timestamp,
    ) -> Result<OpenedKeyring, KeyError> {
        let opened = master::open(store, sources, before, now).await?;
        Ok(OpenedKeyring {
            keyring: opened.keyring,
            missing: opened.missing,
            notes: opened.notes,
            begun: opened.begun,
        })
    }

    /// A keyring around one given key that never changes (tests).
    pub fn with_master(master: Secret<[u8; 32]>) -> Self {
        let root = master.expose().as_slice();
        Self::of_versions(root, 1, [(1, root)])
    }

    fn of_versions<'k>(
        root: &[u8],
        current: u32,
        keys: impl IntoIterator<Item = (u32, &'k [u8])>,
    ) -> Self {
        let keys: Vec<(u32, &[u8])> = keys.into_iter().collect();
        let of_current = keys.iter().find(|(number, _)| *number == current);
        let (_, of_current) = of_current.expect("the current version is among them");
        let wraps = |(number, key): &(u32, &[u8])| (*number, BoxKey::derive(key, "mailbox keys"));
        Self {
            current,
            master: Secret::new(of_current.to_vec()),
            wraps: keys.iter().map(wraps).collect(),
            small: BoxKey::derive(root, "small facts"),
            addresses: DigestKey::derive(root, "address lookup"),
            logins: BoxKey::derive(root, "logins"),
            login_digests: DigestKey::derive(root, "login digests"),
        }
    }

    /// Whether this is the key of a store from before versions, from which `wrapped` is.
    fn opens_first(key: &[u8], owner: &MailboxId, wrapped: &[u8]) -> bool {
        BoxKey::derive(key, "mailbox keys").open(owner.as_bytes(), wrapped).is_some()
    }

    /// The version of the master key by which everything new is wrapped.
    pub fn current_version(&self) -> u32 {
        self.current
    }

    /// Whether we have the key of a version.
    pub fn has_version(&self, number: u32) -> bool {
        self.wraps.iter().any(|(there, _)| *there == number)
    }

    /// The version by which something is wrapped; `None` for what is no wrap.
    pub fn version_of(wrapped: &[u8]) -> Option<u32> {
        match wrapped.split_first()? {
            (&WRAP_WITHOUT_VERSION, _) => Some(1),
            (&WRAP_OF_VERSION, rest) => {
                rest.first_chunk().map(|octets| u32::from_be_bytes(*octets))
            }
            _ => None,
        }
    }

    /// Wraps secret octets of an owner by the current version of the master key. What is wrapped
    /// and kept must be where the rewrap finds it: see `flow::rewrap`.
    pub fn wrap(&self, owner: &MailboxId, clear: &[u8]) -> Vec<u8> {
        let key = self.wrap_key(self.current).expect("the current version is always there");
        let head = wrap_head(self.current);
        [head.as_slice(), &key.seal(&wrap_context(owner, &head), clear)].concat()
    }

    /// Opens what [`Keyring::wrap`] made for the same owner, now or under an earlier version.
    pub fn unwrap(&self, owner: &MailboxId, wrapped: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> {
        let number = Self::version_of(wrapped).ok_or(KeyError::Unwrap)?;
        let key = self.wrap_key(number).ok_or(KeyError::Unwrap)?;
        let clear = match wrapped.split_first_chunk::<WRAP_HEAD>() {
            Some((head, sealed)) if head[0] == WRAP_OF_VERSION => {
                key.open(&wrap_context(owner, head), sealed)
            }
            _ => key.open(owner.as_bytes(), wrapped),
        };
        clear.ok_or(KeyError::Unwrap)
    }

    /// Wraps by the current version what an earlier one wrapped; `None` when nothing is to do.
    pub fn rewrap(&self, owner: &MailboxId, wrapped: &[u8]) -> Result<Option<Vec<u8>>, KeyError> {
        if Self::version_of(wrapped) == Some(self.current) {
            return Ok(None);
        }
        let clear = self.unwrap(owner, wrapped)?;
        Ok(Some(self.wrap(owner, clear.expose())))
    }

    /// Whether this wrap opens for this owner.
    pub fn opens(&self, owner: &MailboxId, wrapped: &[u8]) -> bool {
        self.unwrap(owner, wrapped).is_ok()
    }

    fn wrap_key(&self, number: u32) -> Option<&BoxKey> {
        self.wraps.iter().find(|(there, _)| *there == number).map(|(_, key)| key)
    }

    /// Makes the keys of a new mailbox: OpenPGP v4 Curve25519, and a random index key. Takes
    /// about a millisecond of CPU. `user_id` is what the certificate shows; give a patient's
    /// mailbox an opaque one, never the INS.
    pub fn generate(
        &self,
        owner: &MailboxId,
        user_id: &str,
        now: Timestamp,
    ) -> Result<NewKeys, KeyError> {
        let cert = pgp::generate(user_id, now)?;
        let openpgp = pgp::secret_octets(&cert)?;
        let mut clear = Zeroizing::new(vec![0; INDEX_KEY_OCTETS + openpgp.len()]);
        let (index_key, rest) = clear.split_at_mut(INDEX_KEY_OCTETS);
        fill_random(index_key);
        rest.copy_from_slice(&openpgp);
        Ok(NewKeys {
            certificate: pgp::public_octets(&cert)?.into(),
            wrapped: self.wrap(owner, &clear).into(),
        })
    }

    /// Unlocks a mailbox's keys. `owner` is bound in: keys moved to another row do not open.
    pub fn unlock(&self, owner: &MailboxId, wrapped: &[u8]) -> Result<MailboxKeys, KeyError> {
        let clear = self.unwrap(owner, wrapped)?;
        let (root, openpgp) =
            clear.expose().split_at_checked(INDEX_KEY_OCTETS).ok_or(KeyError::Unwrap)?;
        Ok(MailboxKeys(Arc::new(Unlocked {
            contents: BoxKey::derive(root, "content keys"),
            index: BoxKey::derive(root, "index"),
            digests: DigestKey::derive(root, "digests"),
            openpgp: Secret::new(openpgp.to_vec()),
            decryption: OnceLock::new(),
        })))
    }

    /// Reads a stored certificate. Checks its signatures (a fraction of a millisecond): keep
    /// the result, it is cheap to clone.
    pub fn certificate(&self, binary: &[u8]) -> Result<Certificate, KeyError> {
        pgp::encryption_key(binary).map(Arc::new).map(Certificate)
    }

    /// Begins to seal one content to all `recipients` (at least one).
    pub fn seal_to(&self, recipients: &[Certificate]) -> Result<Sealer, KeyError> {
        pgp::Sealing::new(recipients.iter().map(|certificate| &*certificate.0)).map(Sealer)
    }

    /// Where an address is looked up: a keyed hash, so that an INS never lies on disk.
    pub fn address_key(&self, address: &Address) -> [u8; 32] {
        let form = Zeroizing::new(address.lookup_form());
        self.addresses.digest(form.as_bytes())
    }

    /// Seals a small personal fact of the relay itself (a patient's address) for one purpose.
    pub fn seal_small(&self, purpose: &str, clear: &[u8]) -> Vec<u8> {
        self.small.seal(purpose.as_bytes(), clear)
    }

    /// Opens what [`Keyring::seal_small`] made for the same purpose.
    pub fn open_small(&self, purpose: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> {
        self.small.open(purpose.as_bytes(), sealed).ok_or(KeyError::Open)
    }

    /// Seals what the relay keeps of a login; `context` (what it is, and whose) is bound in.
    pub fn seal_login(&self, context: &[u8], clear: &[u8]) -> Vec<u8> {
        self.logins.seal(context, clear)
    }

    /// Opens what [`Keyring::seal_login`] made in the same context.
    pub fn open_login(&self, context: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> {
        self.logins.open(context, sealed).ok_or(KeyError::Open)
    }

    /// A keyed digest of something about a login, in a context.
    pub fn login_digest(&self, context: &[u8], clear: &[u8]) -> [u8; 32] {
        let mut whole = Zeroizing::new(Vec::with_capacity(8 + context.len() + clear.len()));
        whole.extend_from_slice(&(context.len() as u64).to_be_bytes());
        whole.extend_from_slice(context);
        whole.extend_from_slice(clear);
        self.login_digests.digest(&whole)
    }

    /// A random password or token of 128 bits in a URL-safe alphabet.
    pub fn random_token(&self) -> Secret<String> {
        let mut octets = Zeroizing::new([0; 16]);
        fill_random(&mut *octets);
        Secret::new(URL_SAFE_NO_PAD.encode(*octets))
    }
}

impl Sealer {
    /// Takes the next octets of clear text.
    pub fn write(&mut self, clear: &[u8]) -> Result<(), KeyError> {
        self.0.write(clear)
    }

    /// Ends the message.
    pub fn finish(self) -> Result<SealedContent, KeyError> {
        let (ciphertext, content_key) = self.0.finish()?;
        Ok(SealedContent { ciphertext, content_key: ContentKey(content_key) })
    }
}

impl MailboxKeys {
    /// Seals a content key under the mailbox's index key, for its message row.
    pub fn wrap(&self, content_key: &ContentKey) -> Vec<u8> {
        self.0.contents.seal(&[], &content_key.0.to_octets())
    }

    /// Opens what [`MailboxKeys::wrap`] made.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<ContentKey, KeyError> {
        let clear = self.0.contents.open(&[], wrapped).ok_or(KeyError::Unwrap)?;
        pgp::ContentKey::from_octets(clear.expose()).map(ContentKey).ok_or(KeyError::Unwrap)
    }

    /// Seals a summary, a folder name, a search entry; `context` is bound in (what and where).
    pub fn seal_index(&self, context: &[u8], clear: &[u8]) -> Vec<u8> {
        self.0.index.seal(context, clear)
    }

    /// Opens what [`MailboxKeys::seal_index`] made in the same context.
    pub fn open_index(&self, context: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> {
        self.0.index.open(context, sealed).ok_or(KeyError::Open)
    }

    /// A keyed digest that means nothing outside this mailbox (duplicate suppression).
    pub fn digest(&self, clear: &[u8]) -> [u8; 32] {
        self.0.digests.digest(clear)
    }

    /// Opens a content with its content key. All or nothing: integrity is known first.
    pub fn open(
        &self,
        content_key: &ContentKey,
        ciphertext: &[u8],
    ) -> Result<Arc<Secret<Vec<u8>>>, KeyError> {
        pgp::open(&content_key.0, ciphertext).map(Arc::new)
    }

    /// How a ciphertext of `length` octets that begins with `start` can be opened in pieces. Does no
    /// public-key operation. An error means that the ciphertext is another one, or altered.
    pub fn begin_to_open(
        &self,
        content_key: &ContentKey,
        start: &[u8],
        length: u64,
    ) -> Result<Beginning, KeyError> {
        Ok(match pgp::beginning(&content_key.0, start, length)? {
            pgp::Beginning::Short => Beginning::Short,
            pgp::Beginning::Whole => Beginning::Whole,
            pgp::Beginning::InChunks { opener, body_at } => {
                Beginning::InChunks(ContentOpener { opener, body_at, length })
            }
        })
    }

    /// Opens a content with the OpenPGP secret key alone, as any OpenPGP program would.
    pub fn open_with_secret_key(
        &self,
        ciphertext: &[u8],
    ) -> Result<Arc<Secret<Vec<u8>>>, KeyError> {
        self.open(&self.content_key_of(ciphertext)?, ciphertext)
    }

    /// The ciphertext's content key, found with the OpenPGP secret key.
    pub fn content_key_of(&self, ciphertext: &[u8]) -> Result<ContentKey, KeyError> {
        pgp::content_key_of(self.decryption_keys()?, ciphertext).map(ContentKey)
    }

    /// What signs for this mailbox; keys made before there were such have none.
    fn signing_pair(
        &self,
        now: Timestamp,
    ) -> sequoia_openpgp::Result<sequoia_openpgp::crypto::KeyPair> {
        pgp::signing_pair(self.0.openpgp.expose(), now)
    }

    /// The public part of the OpenPGP key.
    fn own_certificate(&self) -> sequoia_openpgp::Result<sequoia_openpgp::Cert> {
        pgp::own_certificate(self.0.openpgp.expose())
    }

    fn decryption_keys(&self) -> Result<&[pgp::DecryptionKey], KeyError> {
        if let Some(keys) = self.0.decryption.get() {
            return Ok(keys);
        }
        let keys = pgp::decryption_keys(self.0.openpgp.expose())?;
        Ok(self.0.decryption.get_or_init(|| keys))
    }
}

impl ContentOpener {
    /// Octets of clear text that are sealed together, at most: who asks for less opens as much.
    pub const CHUNK_OCTETS: usize = container::Opener::CLEAR;
    /// The last octets of a ciphertext, for [`ContentOpener::is_complete`].
    pub const LAST_OCTETS: u64 = container::Opener::LAST_TAG as u64;

    /// Octets of clear text.
    pub fn clear_octets(&self) -> u64 {
        self.opener.len()
    }

    /// Compares the last octets of the ciphertext with its length: nothing was cut off and nothing
    /// was put behind. What is between is looked at when it is opened.
    pub fn is_complete(&self, last_octets: &[u8]) -> bool {
        self.opener.is_complete(last_octets)
    }

    /// The chunk of clear text in which this octet lies (which must be one of them).
    pub fn chunk_of(&self, octet: u64) -> u64 {
        self.opener.chunk_of(octet)
    }

    /// Which octets of clear text these chunks hold; those that do not exist hold none.
    pub fn clear_range(&self, chunks: Range<u64>) -> Range<u64> {
        self.opener.start_of(chunks.start)..self.opener.start_of(chunks.end)
    }

    /// Which octets of the ciphertext hold these chunks.
    pub fn sealed_range(&self, chunks: Range<u64>) -> Range<u64> {
        let first = self.body_at + container::Opener::HEADER as u64;
        let end = self.length - Self::LAST_OCTETS;
        let place = |chunk: u64| (first + chunk * container::Opener::SEALED as u64).min(end);
        place(chunks.start)..place(chunks.end)
    }

    /// Opens chunks from `first` on, given their octets of the ciphertext, behind what is in
    /// `clear`. An error leaves there what was opened before the damage; all of it is authentic.
    pub fn open(&self, first: u64, sealed: &[u8], clear: &mut Vec<u8>) -> Result<(), KeyError> {
        // Growing would leave a copy of the clear text behind.
        if clear.capacity() - clear.len() < sealed.len() {
            let mut larger = Vec::with_capacity(clear.len() + sealed.len());
            larger.extend_from_slice(clear);
            std::mem::replace(clear, larger).wipe();
        }
        for (chunk, sealed) in (first..).zip(sealed.chunks(container::Opener::SEALED)) {
            if !self.opener.open(chunk, sealed, clear) {
                return Err(KeyError::Open);
            }
        }
        Ok(())
    }
}

fn wrap_head(number: u32) -> [u8; WRAP_HEAD] {
    let [a, b, c, d] = number.to_be_bytes();
    [WRAP_OF_VERSION, a, b, c, d]
}

/// Moved to another row, or told to be of another version, a wrap does not open.
fn wrap_context(owner: &MailboxId, head: &[u8; WRAP_HEAD]) -> Vec<u8> {
    [owner.as_bytes().as_slice(), head].concat()
}

/// Random octets for keys, nonces and tokens.
fn fill_random(octets: &mut [u8]) {
    aws_lc_rs::rand::fill(octets).expect("the generator stops the process before it fails");
}

#[cfg(test)]
mod tests;
