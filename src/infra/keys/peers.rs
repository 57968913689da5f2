//! Certificates that are not ours: of people who keep their own key, and of people elsewhere.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use sequoia_openpgp as openpgp;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::cert::amalgamation::ValidAmalgamation;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::RevocationStatus;

use crate::domain::address::Address;
use crate::domain::time::Timestamp;
use crate::infra::keys::KeyError;
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
    /// Not an OpenPGP certificate, or several, or over the limits.
    #[error("not one OpenPGP certificate, or larger than allowed")]
    Unreadable,
    /// It holds a secret key, which nobody should send.
    #[error("it holds a secret key: export the public part only")]
    HoldsSecret,
    /// No user id of it, valid and signed by it, shows the address.
    #[error("none of its valid user ids shows this address")]
    OtherAddress,
    /// Its time has ended, or has not begun.
    #[error("it has expired, or is not valid yet")]
    NotAlive,
    /// Its owner revoked it.
    #[error("its owner has revoked it")]
    Revoked,
    /// No subkey may encrypt by today's rules.
    #[error("it has no subkey that can encrypt by today's rules")]
    NoEncryption,
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
    /// Reads one certificate, binary or armoured.
    ///
    /// # Errors
    /// [`CertificateFlaw::Unreadable`], [`CertificateFlaw::HoldsSecret`].
    pub fn read(octets: &[u8]) -> Result<Self, CertificateFlaw> {
        let cert = Cert::from_bytes(octets).map_err(|_| CertificateFlaw::Unreadable)?;
        if cert.is_tsk() {
            return Err(CertificateFlaw::HoldsSecret);
        }
        Ok(Self(Arc::new(cert)))
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
        if matches!(self.0.revocation_status(&policy, at), RevocationStatus::Revoked(_)) {
            return Err(CertificateFlaw::Revoked);
        }
        let valid = self.0.with_policy(&policy, at).map_err(|_| CertificateFlaw::NotAlive)?;
        valid.alive().map_err(|_| CertificateFlaw::NotAlive)?;
        let mut usable = valid.keys().supported().alive().revoked(false).for_transport_encryption();
        usable.next().map(|_| ()).ok_or(CertificateFlaw::NoEncryption)
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

/// As the library names a key in a message.
pub(super) fn fingerprint_of(handle: &openpgp::KeyHandle) -> String {
    handle.to_hex()
}
