//! Certificates that are not ours: of people who keep their own key, and of people elsewhere.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use aws_lc_rs::digest;
use sequoia_openpgp as openpgp;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::cert::amalgamation::ValidAmalgamation;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::AsymmetricAlgorithm;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::HashAlgorithm;
use sequoia_openpgp::types::ReasonForRevocation;
use sequoia_openpgp::types::RevocationStatus;
use sequoia_openpgp::types::RevocationType;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::keys::KeyError;
use crate::infra::keys::armour;
use crate::infra::keys::framing;
use crate::infra::keys::mail::guarded;
use crate::infra::keys::pgp::library;

/// The fingerprint of an OpenPGP key: hexadecimal digits in capitals (RFC 9580 §5.5.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(String);

/// A public OpenPGP certificate of somebody else. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerCertificate(pub(super) Arc<Cert>);

/// Why nothing can be sealed to a certificate, or why it was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFlaw {
    /// Not an OpenPGP certificate of version 4 or 6, or several.
    #[error("not one OpenPGP certificate of a version that is read here")]
    Unreadable,
    /// More octets, user ids, subkeys, signatures or longer numbers than any key of a person has.
    #[error("larger than any certificate of a person")]
    OverLimit,
    /// It holds a secret key, which nobody should send.
    #[error("it holds a secret key: export the public part only")]
    HoldsSecret,
    /// No user id of it, valid and signed by it, shows the address.
    #[error("none of its valid user ids shows this address")]
    OtherAddress,
    /// Its time has ended, or has not begun.
    #[error("it has expired, or is not valid yet")]
    NotAlive,
    /// What its owner signed it with is broken or too short today (SHA-1, RSA of 1024 bits, DSA).
    #[error("it was made by methods that are no longer trusted")]
    Weak,
    /// Its owner revoked it.
    #[error("its owner has revoked it")]
    Revoked,
    /// No subkey may encrypt by today's rules.
    #[error("it has no subkey that can encrypt by today's rules")]
    NoEncryption,
}

/// A certificate's revocation by its owner (RFC 9580 §5.2.3.31).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The key may be in other hands, or nothing was said: what it signed is worth nothing, from
    /// the beginning. Otherwise it is merely not used any more.
    pub is_hard: bool,
    /// The number of the reason: 0 none, 1 superseded, 2 compromised, 3 retired, 32 the user id is
    /// no longer valid.
    pub code: u8,
    /// The owner's words, shortened, on one line.
    pub reason: String,
    /// When it was signed, as it says.
    pub at: Option<Timestamp>,
}

impl Fingerprint {
    /// From 40 or 64 hexadecimal digits, spaces allowed.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|sign| !sign.is_whitespace()).collect();
        let is_one = matches!(digits.len(), 40 | 64)
            && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_one.then(|| Self(digits.to_ascii_uppercase()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PeerCertificate {
    /// Reads one certificate, binary or armoured, with nothing around it. Its size is bounded
    /// before the library sees it: a flood of user ids or signatures is refused, in time that goes
    /// with its length.
    ///
    /// # Errors
    /// [`CertificateFlaw::Unreadable`], [`CertificateFlaw::OverLimit`],
    /// [`CertificateFlaw::HoldsSecret`].
    pub fn read(octets: &[u8]) -> Result<Self, CertificateFlaw> {
        match <[_; 1]>::try_from(Self::read_all(octets)) {
            Ok([only]) => only,
            // Two certificates where one is expected: nobody chooses for the reader.
            Err(_) => Err(CertificateFlaw::Unreadable),
        }
    }

    /// Reads a file with any number of certificates, binary or in one or several armours. What is
    /// wrong with one of them does not concern the others. Empty when there are none.
    pub fn read_all(octets: &[u8]) -> Vec<Result<Self, CertificateFlaw>> {
        if octets.len() > limits::OPENPGP_KEY_RING_OCTETS_MAX {
            return vec![Err(CertificateFlaw::OverLimit)];
        }
        if armour::is_binary(octets) {
            return Self::read_packets(octets);
        }
        let mut found = Vec::new();
        let mut text = octets;
        while !text.trim_ascii().is_empty() {
            let Some(block) = armour::block(text) else {
                found.push(Err(CertificateFlaw::Unreadable));
                return found;
            };
            match block.kind {
                armour::Kind::PublicKey => found.extend(Self::read_packets(&block.octets)),
                armour::Kind::PrivateKey => found.push(Err(CertificateFlaw::HoldsSecret)),
                _ => found.push(Err(CertificateFlaw::Unreadable)),
            }
            if found.len() > limits::OPENPGP_KEY_RING_CERTIFICATES_MAX {
                found.truncate(limits::OPENPGP_KEY_RING_CERTIFICATES_MAX);
                found.push(Err(CertificateFlaw::OverLimit));
                return found;
            }
            text = block.rest;
        }
        found
    }

    fn read_packets(octets: &[u8]) -> Vec<Result<Self, CertificateFlaw>> {
        let cert = |octets: &[u8]| {
            let cert = guarded(|| Cert::from_bytes(octets)).and_then(Result::ok);
            let cert = cert.ok_or(CertificateFlaw::Unreadable)?;
            // The walk saw none; the library's reading of the same octets decides.
            if cert.is_tsk() {
                return Err(CertificateFlaw::HoldsSecret);
            }
            // What cannot be written cannot be kept: the library reads signatures that name keys of
            // unknown versions, and does not write them.
            match cert.to_vec() {
                Ok(_) => Ok(Self(Arc::new(cert))),
                Err(_) => Err(CertificateFlaw::Unreadable),
            }
        };
        framing::certificates(octets).into_iter().map(|found| found.and_then(cert)).collect()
    }

    /// Its fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.0.fingerprint().to_hex())
    }

    /// The addresses that its valid, unrevoked user ids show.
    pub fn addresses(&self, now: Timestamp) -> Vec<Address> {
        let policy = StandardPolicy::new();
        let Ok(valid) = self.0.with_policy(&policy, system_time(now)) else { return Vec::new() };
        valid
            .userids()
            .filter(|id| !matches!(id.revocation_status(), RevocationStatus::Revoked(_)))
            .filter_map(|id| id.userid().email().ok().flatten().map(str::to_owned))
            .filter_map(|address| Address::parse(&address).ok())
            .collect()
    }

    /// Whether letters to this address may be sealed to it now.
    ///
    /// # Errors
    /// What stands against it.
    pub fn check_for(&self, address: &Address, now: Timestamp) -> Result<(), CertificateFlaw> {
        self.check(now)?;
        match self.addresses(now).contains(address) {
            true => Ok(()),
            false => Err(CertificateFlaw::OtherAddress),
        }
    }

    /// Whether something may be sealed to it now, whoever it belongs to.
    ///
    /// # Errors
    /// What stands against it.
    pub fn check(&self, now: Timestamp) -> Result<(), CertificateFlaw> {
        let policy = StandardPolicy::new();
        let at = system_time(now);
        if self.revocation(now).is_some() {
            return Err(CertificateFlaw::Revoked);
        }
        let valid = self.0.with_policy(&policy, at).map_err(|_| self.why_invalid(at))?;
        valid.alive().map_err(|_| CertificateFlaw::NotAlive)?;
        let mut usable = valid.keys().supported().alive().revoked(false).for_transport_encryption();
        usable.next().map(|_| ()).ok_or(CertificateFlaw::NoEncryption)
    }

    /// A digest of what is sealed to at this moment: the certificate, and its keys that encrypt. When
    /// one of them is revoked, ends, or another one comes, it is another.
    pub fn encryption_mark(&self, now: Timestamp) -> [u8; 32] {
        let policy = StandardPolicy::new();
        let keys = self.0.keys().with_policy(&policy, system_time(now));
        let keys = keys.supported().alive().revoked(false).for_transport_encryption();
        let mut keys: Vec<String> = keys.map(|it| it.key().fingerprint().to_hex()).collect();
        keys.sort_unstable();
        let text = format!("{}:{}", self.fingerprint(), keys.join(","));
        let mark = digest::digest(&digest::SHA256, text.as_bytes());
        mark.as_ref().try_into().expect("SHA-256 has 32 octets")
    }

    /// The library says that there is no valid self-signature, not why: a policy of the year 2000
    /// has another answer if methods are the reason.
    fn why_invalid(&self, at: SystemTime) -> CertificateFlaw {
        // Only a reason is looked for; nothing is trusted by it.
        let mut lenient = StandardPolicy::new();
        for hash in [HashAlgorithm::MD5, HashAlgorithm::SHA1, HashAlgorithm::RipeMD] {
            lenient.accept_hash(hash);
        }
        for short in [
            AsymmetricAlgorithm::RSA1024,
            AsymmetricAlgorithm::DSA1024,
            AsymmetricAlgorithm::DSA2048,
            AsymmetricAlgorithm::DSA3072,
        ] {
            lenient.accept_asymmetric_algo(short);
        }
        match self.0.with_policy(&lenient, at) {
            Ok(_) => CertificateFlaw::Weak,
            Err(_) if self.0.primary_key().key().creation_time() > at => CertificateFlaw::NotAlive,
            Err(_) => CertificateFlaw::Unreadable,
        }
    }

    /// Whether its owner has revoked the whole of it, and what was said about it.
    pub fn revocation(&self, now: Timestamp) -> Option<Revocation> {
        let policy = StandardPolicy::new();
        let status = self.0.revocation_status(&policy, system_time(now));
        let RevocationStatus::Revoked(signatures) = status else { return None };
        let reasons = signatures.iter().map(|signature| {
            let (code, text) = signature
                .reason_for_revocation()
                .unwrap_or((ReasonForRevocation::Unspecified, &[]));
            Revocation {
                is_hard: code.revocation_type() == RevocationType::Hard,
                code: code.into(),
                reason: shown(text),
                at: signature.signature_creation_time().and_then(timestamp),
            }
        });
        // What says that others may have the key counts over what says that it is not used.
        reasons.max_by_key(|revocation| revocation.is_hard)
    }

    /// When it, or the last of its encryption subkeys, ends; `None`: never, or it has no usable
    /// one.
    pub fn expires(&self, now: Timestamp) -> Option<Timestamp> {
        let policy = StandardPolicy::new();
        let valid = self.0.with_policy(&policy, system_time(now)).ok()?;
        let whole = valid.primary_key().key_expiration_time();
        let usable = valid.keys().supported().alive().revoked(false).for_transport_encryption();
        let ends: Vec<Option<SystemTime>> = usable.map(|key| key.key_expiration_time()).collect();
        let last = match ends.iter().any(Option::is_none) {
            true => None,
            false => ends.into_iter().flatten().max(),
        };
        whole.into_iter().chain(last).min().and_then(timestamp)
    }

    /// What both say, when they are the same certificate: a later copy may bring an extension, a
    /// revocation, other subkeys.
    pub fn merge(&self, newer: &Self) -> Option<Self> {
        let merged = Cert::clone(&self.0).merge_public(Cert::clone(&newer.0)).ok()?;
        Some(Self(Arc::new(merged)))
    }

    /// The binary form.
    ///
    /// # Errors
    /// [`KeyError::Library`].
    pub fn to_binary(&self) -> Result<Vec<u8>, KeyError> {
        self.0.to_vec().map_err(library)
    }

    /// The armoured form.
    ///
    /// # Errors
    /// [`KeyError::Library`].
    pub fn to_armour(&self) -> Result<String, KeyError> {
        let armoured = self.0.armored().to_vec().map_err(library)?;
        String::from_utf8(armoured).map_err(|error| KeyError::Library(error.to_string()))
    }
}

pub(super) fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(at.as_seconds())
}

fn timestamp(at: SystemTime) -> Option<Timestamp> {
    at.duration_since(UNIX_EPOCH).ok().map(|since| Timestamp::from_seconds(since.as_secs()))
}

/// The words of a stranger, for a line of a page or a log.
fn shown(words: &[u8]) -> String {
    let words = String::from_utf8_lossy(words);
    let mut shown: String = words.chars().filter(|sign| !sign.is_control()).collect();
    while shown.len() > limits::OPENPGP_REASON_OCTETS_MAX {
        shown.pop();
    }
    shown
}

/// As the library names a key in a message.
pub(super) fn fingerprint_of(handle: &openpgp::KeyHandle) -> String {
    handle.to_hex()
}

#[cfg(test)]
mod tests;
