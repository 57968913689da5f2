//! The escrow of keys: what the relay cannot open, a quorum of administrators can.
//!
//! An *escrow key* is an OpenPGP key that is made here and forgotten here. Its certificate stays:
//! mailbox keys and master keys are sealed to it. Its secret key stays too, in a box under a random
//! secret, and that secret is split by Shamir's scheme: with fewer shares than the quorum nothing
//! at all is known of it. A share is a small text with the name of its escrow, its number, and a
//! check value, so that a wrong one is told from a damaged one; whether the right ones are together
//! the box itself says.
use std::fmt;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::constant_time;
use aws_lc_rs::digest;
use blahaj::Share as Point;
use blahaj::Sharks;
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::keys::Certificate;
use crate::infra::keys::KeyError;
use crate::infra::keys::Keyring;
use crate::infra::keys::boxes::BoxKey;
use crate::infra::keys::fill_random;
use crate::infra::keys::pgp;

/// Octets of the secret that is shared.
const SECRET_OCTETS: usize = 32;
/// What the box of the escrow key is for.
const PURPOSE: &str = "escrow key";
/// The first line of a share.
const SHARE: &str = "vaguemestre escrow share 1";
/// Octets of a share's check value.
const CHECK_OCTETS: usize = 8;
/// Octets before what was put in escrow: whose it is.
const OWNER_OCTETS: usize = 16;
/// Characters of a text that may be a share.
const SHARE_TEXT_MAX: usize = 4_096;

/// Which escrow: a random name, new with each set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscrowId([u8; 16]);

/// A new escrow. The shares are its secret: seal each to its administrator and forget it.
pub struct NewEscrow {
    /// Which one.
    pub id: EscrowId,
    /// What is sealed to, binary OpenPGP.
    pub certificate: Bytes,
    /// Its secret key, in a box that a quorum of shares opens.
    pub sealed_key: Bytes,
    /// One text for each administrator.
    pub shares: Vec<Secret<String>>,
}

/// One administrator's share, in clear.
pub struct Share {
    escrow: EscrowId,
    number: u8,
    value: Secret<Vec<u8>>,
}

/// The secret key of an escrow, put together by a quorum. Wiped when dropped.
pub struct EscrowKey {
    secret_keys: Vec<pgp::DecryptionKey>,
}

/// What was put in escrow, opened. Wiped when dropped.
pub struct Opened(Secret<Vec<u8>>);

/// Why a text is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareFlaw {
    /// Something else, such as the share before it was decrypted.
    #[error("this is no share of an escrow: decrypt it first, with gpg --decrypt")]
    NotAShare,
    /// A digit was lost or changed.
    #[error("this share is damaged: its check value does not fit")]
    Damaged,
}

/// Why shares do not open an escrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CombineFlaw {
    /// Fewer than the quorum.
    #[error("{have} of {need} shares are here")]
    TooFew {
        /// How many different ones there are.
        have: usize,
        /// How many it takes.
        need: u8,
    },
    /// One of them is of another escrow.
    #[error("share {0} is of an earlier or another escrow: it opens nothing here")]
    OtherEscrow(u8),
    /// The same share twice.
    #[error("share {0} is here twice: a quorum takes different administrators")]
    Twice(u8),
    /// The box does not open.
    #[error("these shares do not fit together, or the escrow is damaged")]
    Wrong,
}

impl EscrowId {
    /// From the stored octets.
    pub const fn from_bytes(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// The stored octets.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EscrowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", uuid::Uuid::from_bytes(self.0))
    }
}

/// Makes an escrow of so many shares, of which `quorum` open it.
///
/// # Errors
/// [`KeyError::Library`].
pub fn establish(quorum: u8, count: u8, now: Timestamp) -> Result<NewEscrow, KeyError> {
    assert!(quorum >= 2 && quorum <= count, "checked by whoever asks");
    let id = EscrowId(*uuid::Uuid::now_v7().as_bytes());
    let cert = pgp::generate("Vaguemestre escrow", now)?;
    let mut secret = Zeroizing::new([0; SECRET_OCTETS]);
    fill_random(&mut *secret);
    let key = BoxKey::derive(&*secret, PURPOSE);
    let sealed_key = key.seal(&id.0, &pgp::secret_octets(&cert)?);
    let points = Sharks(quorum).dealer(&*secret).take(usize::from(count));
    let shares = points.zip(1..).map(|(point, number)| text_of(&id, number, count, quorum, &point));
    Ok(NewEscrow {
        id,
        certificate: pgp::public_octets(&cert)?.into(),
        sealed_key: sealed_key.into(),
        shares: shares.collect(),
    })
}

fn text_of(id: &EscrowId, number: u8, count: u8, quorum: u8, point: &Point) -> Secret<String> {
    let octets = Zeroizing::new(Vec::from(point));
    // Room for all of it: growing would leave copies behind.
    let mut text = String::with_capacity(512);
    text.push_str(&format!(
        "{SHARE}\nescrow: {id}\nshare: {number} of {count}, quorum {quorum}\nvalue: "
    ));
    push_hex(&mut text, &octets);
    text.push('\n');
    let check = check_of(text.as_bytes());
    text.push_str("check: ");
    push_hex(&mut text, &check);
    text.push('\n');
    Secret::new(text)
}

impl Share {
    /// Reads a share as `gpg --decrypt` gives it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ShareFlaw> {
        if text.len() > SHARE_TEXT_MAX {
            return Err(ShareFlaw::NotAShare);
        }
        let start = text.find(SHARE).ok_or(ShareFlaw::NotAShare)?;
        let mut clean = Zeroizing::new(String::with_capacity(text.len()));
        clean.extend(text[start..].chars().filter(|sign| *sign != '\r'));
        let lines: Vec<&str> = clean.lines().take(5).map(str::trim_end).collect();
        let [_, escrow, share, value, check] = lines[..] else { return Err(ShareFlaw::Damaged) };
        let part = |line: &'static str, text: &str| text.strip_prefix(line).map(str::to_owned);
        let read = || {
            let escrow = part("escrow: ", escrow)?;
            let number = share.strip_prefix("share: ")?.split_once(' ')?.0.parse().ok()?;
            let value = octets_of(value.strip_prefix("value: ")?)?;
            let check = octets_of(check.strip_prefix("check: ")?)?;
            Some((escrow, number, value, check))
        };
        let (id, number, octets, check_read) = read().ok_or(ShareFlaw::Damaged)?;
        let mut covered = Zeroizing::new(String::with_capacity(clean.len()));
        for line in [SHARE, escrow, share, value] {
            covered.push_str(line);
            covered.push('\n');
        }
        let id = uuid::Uuid::parse_str(&id).map_err(|_| ShareFlaw::Damaged)?;
        let is_whole = check_of(covered.as_bytes()).as_slice() == check_read.expose().as_slice()
            && octets.expose().len() == SECRET_OCTETS + 1
            && octets.expose()[0] == number;
        match is_whole {
            true => Ok(Self { escrow: EscrowId(*id.as_bytes()), number, value: octets }),
            false => Err(ShareFlaw::Damaged),
        }
    }

    /// Of which escrow it is.
    pub fn escrow(&self) -> EscrowId {
        self.escrow
    }

    /// Which of its shares it is.
    pub fn number(&self) -> u8 {
        self.number
    }
}

/// Puts the secret key of an escrow together.
///
/// # Errors
/// What stands against it; fewer than a quorum say nothing at all about the key.
pub fn combine(
    id: &EscrowId,
    quorum: u8,
    shares: &[Share],
    sealed_key: &[u8],
) -> Result<EscrowKey, CombineFlaw> {
    for (at, share) in shares.iter().enumerate() {
        if share.escrow != *id {
            return Err(CombineFlaw::OtherEscrow(share.number));
        }
        if shares[..at].iter().any(|other| other.number == share.number) {
            return Err(CombineFlaw::Twice(share.number));
        }
    }
    if shares.len() < usize::from(quorum) {
        return Err(CombineFlaw::TooFew { have: shares.len(), need: quorum });
    }
    let points = shares.iter().map(|share| Point::try_from(share.value.expose().as_slice()));
    let points = points.collect::<Result<Vec<Point>, _>>().map_err(|_| CombineFlaw::Wrong)?;
    let secret = Sharks(quorum).recover(&points).map_err(|_| CombineFlaw::Wrong)?;
    let secret = Zeroizing::new(secret);
    let openpgp = BoxKey::derive(&secret, PURPOSE).open(&id.0, sealed_key);
    let openpgp = openpgp.ok_or(CombineFlaw::Wrong)?;
    let secret_keys = pgp::decryption_keys(openpgp.expose()).map_err(|_| CombineFlaw::Wrong)?;
    Ok(EscrowKey { secret_keys })
}

impl EscrowKey {
    /// Opens what was put in escrow for this owner.
    ///
    /// # Errors
    /// [`KeyError::Open`] for what was altered, moved, or sealed to another escrow.
    pub fn open(&self, owner: &MailboxId, sealed: &[u8]) -> Result<Opened, KeyError> {
        let key = pgp::content_key_of(&self.secret_keys, sealed)?;
        let clear = pgp::open(&key, sealed)?;
        let (of, kept) = clear.expose().split_at_checked(OWNER_OCTETS).ok_or(KeyError::Open)?;
        if of != owner.as_bytes() {
            return Err(KeyError::Open);
        }
        Ok(Opened(Secret::new(kept.to_vec())))
    }
}

impl Keyring {
    /// Puts a mailbox's keys in escrow.
    ///
    /// # Errors
    /// [`KeyError::Unwrap`] when the keys do not open here.
    pub fn to_escrow(
        &self,
        owner: &MailboxId,
        wrapped: &[u8],
        escrow: &Certificate,
    ) -> Result<Vec<u8>, KeyError> {
        seal(owner, self.unwrap(owner, wrapped)?.expose(), escrow)
    }

    /// Puts the master keys in escrow that this keyring stands on.
    ///
    /// # Errors
    /// [`KeyError::Library`].
    pub fn master_to_escrow(&self, escrow: &Certificate) -> Result<Vec<u8>, KeyError> {
        seal(&MASTER, self.master_octets().expose(), escrow)
    }

    /// Changes when the keys do: tells whether what lies in escrow is still what is in use.
    ///
    /// # Errors
    /// [`KeyError::Unwrap`] when the keys do not open here.
    pub fn escrow_mark(&self, owner: &MailboxId, wrapped: &[u8]) -> Result<[u8; 32], KeyError> {
        let clear = self.unwrap(owner, wrapped)?;
        Ok(self.login_digest(b"escrow mark", &with_owner(owner, clear.expose())))
    }

    /// [`Keyring::escrow_mark`] of the master keys.
    pub fn master_escrow_mark(&self) -> [u8; 32] {
        let octets = self.master_octets();
        self.login_digest(b"escrow mark", &with_owner(&MASTER, octets.expose()))
    }

    /// Whether what lay in escrow is what is in use, compared in constant time.
    ///
    /// # Errors
    /// [`KeyError::Unwrap`] when the keys in use do not open.
    pub fn is_in_escrow(
        &self,
        owner: &MailboxId,
        wrapped: &[u8],
        opened: &Opened,
    ) -> Result<bool, KeyError> {
        let live = self.unwrap(owner, wrapped)?;
        Ok(is_same(live.expose(), opened.0.expose()))
    }

    /// Whether the master keys that lay in escrow are those in use, compared in constant time.
    pub fn is_master_in_escrow(&self, opened: &Opened) -> bool {
        is_same(self.master_octets().expose(), opened.0.expose())
    }

    /// Wraps a mailbox's keys from escrow, for the row that lost them.
    ///
    /// # Errors
    /// [`KeyError`] when what lay there are no keys.
    pub fn from_escrow(&self, owner: &MailboxId, opened: &Opened) -> Result<Vec<u8>, KeyError> {
        let wrapped = self.wrap(owner, opened.0.expose());
        self.unlock(owner, &wrapped)?.decryption_keys()?;
        Ok(wrapped)
    }

    fn master_octets(&self) -> Secret<Vec<u8>> {
        Secret::new(self.master.expose().clone())
    }
}

/// Under whose name the master keys lie in escrow; no mailbox can have it.
pub const MASTER: MailboxId = MailboxId::from_bytes([0xFF; 16]);

impl Opened {
    /// Writes master keys from escrow to a file that only its owner may read: never in the place of
    /// another.
    ///
    /// # Errors
    /// Those of the file system; nothing is left then.
    pub fn write_master(&self, path: &Path) -> io::Result<()> {
        let mut text = Zeroizing::new(String::with_capacity(2 * self.0.expose().len() + 1));
        push_hex(&mut text, self.0.expose());
        text.push('\n');
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if written.is_err() {
            std::fs::remove_file(path)?;
        }
        written?;
        match path.parent() {
            Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }
}

fn seal(owner: &MailboxId, clear: &[u8], escrow: &Certificate) -> Result<Vec<u8>, KeyError> {
    let mut sealing = pgp::Sealing::new(std::iter::once(&*escrow.0))?;
    sealing.write(owner.as_bytes())?;
    sealing.write(clear)?;
    Ok(sealing.finish()?.0)
}

fn with_owner(owner: &MailboxId, clear: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(OWNER_OCTETS + clear.len()));
    whole.extend_from_slice(owner.as_bytes());
    whole.extend_from_slice(clear);
    whole
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

fn check_of(covered: &[u8]) -> [u8; CHECK_OCTETS] {
    let digest = digest::digest(&digest::SHA256, covered);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 octets")
}

fn push_hex(text: &mut String, octets: &[u8]) {
    for octet in octets {
        text.push(char::from_digit(u32::from(octet >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(octet & 15), 16).unwrap_or('0'));
    }
}

fn octets_of(digits: &str) -> Option<Secret<Vec<u8>>> {
    let mut octets = Vec::with_capacity(digits.len() / 2);
    for pair in digits.as_bytes().chunks(2) {
        let [high, low] = *pair else { return None };
        let value = |digit: u8| char::from(digit).to_digit(16);
        octets.push(u8::try_from(value(high)? << 4 | value(low)?).ok()?);
    }
    Some(Secret::new(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_388_399);
    const OWNER: MailboxId = MailboxId::from_bytes([7; 16]);

    fn shares(new: &NewEscrow, which: &[usize]) -> Vec<Share> {
        which.iter().map(|at| Share::parse(new.shares[*at].expose()).unwrap()).collect()
    }

    fn flaw(new: &NewEscrow, shares: &[Share]) -> CombineFlaw {
        combine(&new.id, 2, shares, &new.sealed_key).err().unwrap()
    }

    #[test]
    fn every_quorum_opens_what_was_put_in_escrow_and_fewer_open_nothing() {
        let keyring = Keyring::with_master(Secret::new([3; 32]));
        let new = establish(2, 3, NOW).unwrap();
        let certificate = keyring.certificate(&new.certificate).unwrap();
        let keys = keyring.generate(&OWNER, "<a@b.test>", NOW).unwrap();
        let sealed = keyring.to_escrow(&OWNER, &keys.wrapped, &certificate).unwrap();
        for which in [[0, 1], [0, 2], [1, 2], [2, 0]] {
            let key = combine(&new.id, 2, &shares(&new, &which), &new.sealed_key).unwrap();
            let opened = key.open(&OWNER, &sealed).unwrap();
            assert!(keyring.is_in_escrow(&OWNER, &keys.wrapped, &opened).unwrap());
            let restored = keyring.from_escrow(&OWNER, &opened).unwrap();
            assert!(keyring.is_in_escrow(&OWNER, &restored, &opened).unwrap());
            assert!(key.open(&MailboxId::from_bytes([8; 16]), &sealed).is_err());
        }
        assert_eq!(flaw(&new, &shares(&new, &[1])), CombineFlaw::TooFew { have: 1, need: 2 });
        assert_eq!(flaw(&new, &shares(&new, &[1, 1])), CombineFlaw::Twice(2));
        assert_eq!(flaw(&new, &[]), CombineFlaw::TooFew { have: 0, need: 2 });
    }

    #[test]
    fn a_share_of_another_escrow_is_named_and_one_that_lies_about_it_opens_nothing() {
        let (new, earlier) = (establish(2, 3, NOW).unwrap(), establish(2, 3, NOW).unwrap());
        let mut mixed = shares(&new, &[0]);
        mixed.extend(shares(&earlier, &[1]));
        assert_eq!(flaw(&new, &mixed), CombineFlaw::OtherEscrow(2));
        mixed[1].escrow = new.id;
        assert_eq!(flaw(&new, &mixed), CombineFlaw::Wrong);
    }

    #[test]
    fn a_share_is_read_as_it_was_written_and_no_digit_of_it_may_change() {
        let new = establish(3, 5, NOW).unwrap();
        let text = new.shares[4].expose();
        let share = Share::parse(text).unwrap();
        assert_eq!((share.number(), share.escrow()), (5, new.id));
        // As a terminal, or a mail program, may bring it.
        let around = format!("gpg: encrypted with …\r\n{}", text.replace('\n', "\r\n"));
        assert_eq!(Share::parse(&around).unwrap().number(), 5);
        assert_eq!(Share::parse("-----BEGIN PGP MESSAGE-----").err(), Some(ShareFlaw::NotAShare));
        for at in 0..text.len() {
            for change in [b'0', b'1', b'f'] {
                let mut octets = text.clone().into_bytes();
                if octets[at] == change || octets[at] == b'\n' && at + 1 == octets.len() {
                    continue;
                }
                octets[at] = change;
                let altered = String::from_utf8(octets).unwrap();
                assert!(Share::parse(&altered).is_err(), "octet {at}");
            }
            assert!(at + 1 == text.len() || Share::parse(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn master_keys_come_back_to_a_file_of_their_own() {
        let keyring = Keyring::with_master(Secret::new([3; 32]));
        let new = establish(2, 2, NOW).unwrap();
        let certificate = keyring.certificate(&new.certificate).unwrap();
        let sealed = keyring.master_to_escrow(&certificate).unwrap();
        let key = combine(&new.id, 2, &shares(&new, &[0, 1]), &new.sealed_key).unwrap();
        let opened = key.open(&MASTER, &sealed).unwrap();
        assert!(keyring.is_master_in_escrow(&opened));
        assert!(!Keyring::with_master(Secret::new([4; 32])).is_master_in_escrow(&opened));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        opened.write_master(&file).unwrap();
        assert!(opened.write_master(&file).is_err(), "an existing key was overwritten");
        let file = std::fs::read_to_string(&file).unwrap();
        assert_eq!(file.trim(), "03".repeat(32));
    }

    #[test]
    fn a_mark_is_that_of_the_keys_and_not_of_their_wrap() {
        let keyring = Keyring::with_master(Secret::new([3; 32]));
        let keys = keyring.generate(&OWNER, "<a@b.test>", NOW).unwrap();
        let again = keyring.wrap(&OWNER, keyring.unwrap(&OWNER, &keys.wrapped).unwrap().expose());
        let mark = |wrapped: &[u8]| keyring.escrow_mark(&OWNER, wrapped).unwrap();
        assert_eq!(mark(&keys.wrapped), mark(&again));
        let other = keyring.generate(&OWNER, "<a@b.test>", NOW).unwrap();
        assert_ne!(mark(&keys.wrapped), mark(&other.wrapped));
    }
}
