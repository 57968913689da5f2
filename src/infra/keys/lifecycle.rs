//! What happens to a certificate in its life: read from a ring, cut down to what counts; and to a
//! mailbox's own: extended, rotated, replaced, revoked.
//!
//! A mailbox's keys are one wrapped text: its index key, the OpenPGP key in use, and behind it those
//! that were revoked and replaced. Secrets of old keys stay: letters are sealed to them.
use std::sync::Arc;
use std::time::Duration;

use sequoia_openpgp as openpgp;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::cert::CertRevocationBuilder;
use sequoia_openpgp::cert::CipherSuite;
use sequoia_openpgp::cert::KeyBuilder;
use sequoia_openpgp::cert::SubkeyBuilder;
use sequoia_openpgp::cert::raw::RawCert;
use sequoia_openpgp::crypto::KeyPair;
use sequoia_openpgp::packet::Packet;
use sequoia_openpgp::packet::Signature;
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::KeyFlags;
use sequoia_openpgp::types::ReasonForRevocation;
use sequoia_openpgp::types::RevocationStatus;
use zeroize::Zeroizing;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::infra::keys::INDEX_KEY_OCTETS;
use crate::infra::keys::KeyError;
use crate::infra::keys::Keyring;
use crate::infra::keys::NewKeys;
use crate::infra::keys::peers::CertificateFlaw;
use crate::infra::keys::peers::Fingerprint;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::keys::peers::system_time;
use crate::infra::keys::pgp;
use crate::infra::keys::pgp::library;

/// Why a key is revoked (RFC 9580 §5.2.3.31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationReason {
    /// Somebody else may have it: nothing of it is to be believed, from its beginning.
    Compromised,
    /// Another one takes its place.
    Superseded,
    /// Nobody uses it any more.
    Retired,
}

impl RevocationReason {
    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compromised => "compromised",
            Self::Superseded => "superseded",
            Self::Retired => "retired",
        }
    }

    /// The reason of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Compromised, Self::Superseded, Self::Retired]
            .into_iter()
            .find(|it| it.name() == name)
    }

    const fn code(self) -> ReasonForRevocation {
        match self {
            Self::Compromised => ReasonForRevocation::KeyCompromised,
            Self::Superseded => ReasonForRevocation::KeySuperseded,
            Self::Retired => ReasonForRevocation::KeyRetired,
        }
    }
}

/// What a listing says of a certificate (draft-shaw-openpgp-hkp).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The number of its algorithm (RFC 9580 §9.1).
    pub algorithm: u8,
    /// Bits of its primary key, where that means something.
    pub bits: Option<usize>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// Its owner revoked it.
    pub revoked: bool,
    /// Its user ids.
    pub user_ids: Vec<String>,
}

/// A mailbox's keys, unwrapped.
struct Blob {
    index_key: Zeroizing<Vec<u8>>,
    /// The one in use first.
    certs: Vec<Cert>,
}

impl Keyring {
    /// [`Keyring::generate`], with an end from the first moment on; `None`: it never ends. Whoever
    /// has a clock that is behind sees the end as well.
    ///
    /// # Errors
    /// As [`Keyring::generate`].
    pub fn generate_until(
        &self,
        owner: &MailboxId,
        user_id: &str,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<NewKeys, KeyError> {
        let new = self.generate(owner, user_id, now)?;
        if until.is_none() {
            return Ok(new);
        }
        // Just behind the signatures that it has; of two, the younger one counts.
        let born = now.as_seconds().saturating_sub(pgp::KEY_AGE_AT_BIRTH.as_secs());
        self.extend(owner, &new.wrapped, until, Timestamp::from_seconds(born + 1))
    }

    /// Moves the end of a mailbox's certificate; `None`: it never ends.
    ///
    /// # Errors
    /// [`KeyError`]; nothing was changed.
    pub fn extend(
        &self,
        owner: &MailboxId,
        wrapped: &[u8],
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<NewKeys, KeyError> {
        let mut blob = self.blob(owner, wrapped)?;
        let cert = blob.current()?;
        let extended = set_end(cert, until, now).map_err(library)?;
        blob.certs[0] = extended;
        self.wrapped(owner, &blob)
    }

    /// Gives a mailbox new subkeys to encrypt and to sign. The old ones are shown as good until
    /// `old_until` and open what was sealed to them for ever.
    ///
    /// # Errors
    /// [`KeyError`]; nothing was changed.
    pub fn rotate(
        &self,
        owner: &MailboxId,
        wrapped: &[u8],
        old_until: Timestamp,
        now: Timestamp,
    ) -> Result<NewKeys, KeyError> {
        let mut blob = self.blob(owner, wrapped)?;
        let cert = blob.current()?;
        let rotated = rotated(cert, old_until, now).map_err(library)?;
        blob.certs[0] = rotated;
        self.wrapped(owner, &blob)
    }

    /// Revokes a mailbox's key and makes another one. Answers the new keys, with the old secrets
    /// among them, and the revoked certificate, to be published.
    ///
    /// # Errors
    /// [`KeyError`]; nothing was changed.
    pub fn replace(
        &self,
        owner: &MailboxId,
        wrapped: &[u8],
        user_id: &str,
        reason: RevocationReason,
        now: Timestamp,
    ) -> Result<(NewKeys, PeerCertificate), KeyError> {
        let mut blob = self.blob(owner, wrapped)?;
        let revoked = revoked(blob.current()?, reason, now).map_err(library)?;
        let public = PeerCertificate(Arc::new(revoked.clone().strip_secret_key_material()));
        blob.certs[0] = revoked;
        blob.certs.insert(0, pgp::generate(user_id, now)?);
        Ok((self.wrapped(owner, &blob)?, public))
    }

    /// The certificate of a mailbox, revoked, to be published when its keys are destroyed.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn revoked(
        &self,
        owner: &MailboxId,
        wrapped: &[u8],
        reason: RevocationReason,
        now: Timestamp,
    ) -> Result<PeerCertificate, KeyError> {
        let blob = self.blob(owner, wrapped)?;
        let revoked = revoked(blob.current()?, reason, now).map_err(library)?;
        Ok(PeerCertificate(Arc::new(revoked.strip_secret_key_material())))
    }

    fn blob(&self, owner: &MailboxId, wrapped: &[u8]) -> Result<Blob, KeyError> {
        let clear = self.unwrap(owner, wrapped)?;
        let parts = clear.expose().split_at_checked(INDEX_KEY_OCTETS);
        let (index_key, openpgp) = parts.ok_or(KeyError::Unwrap)?;
        let index_key = Zeroizing::new(index_key.to_vec());
        Ok(Blob { index_key, certs: pgp::secret_certs(openpgp)? })
    }

    fn wrapped(&self, owner: &MailboxId, blob: &Blob) -> Result<NewKeys, KeyError> {
        let mut secrets = Vec::new();
        for cert in &blob.certs {
            secrets.push(pgp::secret_octets(cert)?);
        }
        let octets = INDEX_KEY_OCTETS + secrets.iter().map(|secret| secret.len()).sum::<usize>();
        // An account must still fit in a row.
        if octets > limits::WRAPPED_KEYS_OCTETS_MAX {
            return Err(KeyError::Certificate(
                "it has been revoked or rotated too often".to_owned(),
            ));
        }
        // Reserved once: growing would leave copies of secrets behind.
        let mut clear = Zeroizing::new(Vec::with_capacity(octets));
        clear.extend_from_slice(&blob.index_key);
        for secret in &secrets {
            clear.extend_from_slice(secret);
        }
        Ok(NewKeys {
            certificate: pgp::public_octets(blob.current()?)?.into(),
            wrapped: self.wrap(owner, &clear).into(),
        })
    }
}

impl Blob {
    fn current(&self) -> Result<&Cert, KeyError> {
        self.certs.first().ok_or(KeyError::Unwrap)
    }
}

fn primary_signer(cert: &Cert) -> openpgp::Result<KeyPair> {
    cert.primary_key().key().clone().parts_into_secret()?.into_keypair()
}

/// New signatures by the primary key with this end, one of each kind that may say it: whoever
/// has a copy with some of them only must not see another end.
fn set_end(cert: &Cert, until: Option<Timestamp>, now: Timestamp) -> openpgp::Result<Cert> {
    let policy = StandardPolicy::new();
    let mut signer = primary_signer(cert)?;
    let valid = cert.with_policy(&policy, system_time(now));
    // One that is over may be extended as well: it is judged as it was last good.
    let valid = valid.or_else(|_| cert.with_policy(&policy, pgp::as_of(cert)))?;
    let primary = cert.primary_key().key();
    let template = |signature: &Signature| -> openpgp::Result<SignatureBuilder> {
        SignatureBuilder::from(signature.clone())
            .set_signature_creation_time(system_time(now))?
            .set_key_expiration_time(primary, until.map(system_time))
    };
    let mut packets: Vec<Packet> = Vec::new();
    if let Ok(direct) = valid.direct_key_signature() {
        packets.push(template(direct)?.sign_direct_key(&mut signer, primary)?.into());
    }
    for id in valid.userids() {
        let builder = template(id.binding_signature())?;
        packets.push(id.userid().bind(&mut signer, cert, builder)?.into());
    }
    Ok(cert.clone().insert_packets(packets)?.0)
}

fn rotated(cert: &Cert, old_until: Timestamp, now: Timestamp) -> openpgp::Result<Cert> {
    let policy = StandardPolicy::new();
    let at = system_time(now);
    let old: Vec<openpgp::Fingerprint> = {
        let keys = cert.keys().subkeys().with_policy(&policy, at);
        keys.alive().revoked(false).map(|key| key.key().fingerprint()).collect()
    };
    let mut next = cert.clone();
    for fingerprint in old {
        let valid = next.with_policy(&policy, at)?;
        let key = valid.keys().subkeys().find(|key| key.key().fingerprint() == fingerprint);
        let key = key.ok_or_else(|| openpgp::anyhow::anyhow!("a subkey is gone"))?;
        // A subkey that ends earlier by itself is left alone.
        let ends_first = key.key_expiration_time().is_some_and(|end| end <= system_time(old_until));
        if ends_first {
            continue;
        }
        let signs = key.for_signing();
        let pair = key.key().clone().parts_into_secret()?.into_keypair()?;
        let builder = SubkeyBuilder::from(key)
            .set_primary_key_signer(primary_signer(cert)?)
            .set_signature_creation_time(at)?
            .set_key_expiration_time(system_time(old_until))?;
        let builder = if signs { builder.set_subkey_signer(pair) } else { builder };
        let ended = builder.attach_cert()?;
        next = ended;
    }
    let encryption = KeyFlags::empty().set_storage_encryption().set_transport_encryption();
    for flags in [encryption, KeyFlags::empty().set_signing()] {
        let valid = next.with_policy(&policy, at)?;
        let more = KeyBuilder::new(flags)
            .set_cipher_suite(CipherSuite::Cv25519)
            .set_creation_time(at)
            .subkey(valid)?
            .set_primary_key_signer(primary_signer(cert)?)
            .set_signature_creation_time(at)?
            .set_key_validity_period(None::<Duration>)?
            .attach_cert()?;
        next = more;
    }
    Ok(next)
}

fn revoked(cert: &Cert, reason: RevocationReason, now: Timestamp) -> openpgp::Result<Cert> {
    let mut signer = primary_signer(cert)?;
    let signature = CertRevocationBuilder::new()
        .set_signature_creation_time(system_time(now))?
        .set_reason_for_revocation(reason.code(), b"")?
        .build(&mut signer, cert, None)?;
    Ok(cert.clone().insert_packets(Some(signature))?.0)
}

impl PeerCertificate {
    /// Reads a key ring: certificates one after the other, binary or armoured. What cannot be
    /// read between them is left out.
    ///
    /// # Errors
    /// [`CertificateFlaw::Unreadable`] without any, or over the limits;
    /// [`CertificateFlaw::HoldsSecret`] when one holds a secret key.
    pub fn read_ring(octets: &[u8]) -> Result<Vec<Self>, CertificateFlaw> {
        if octets.len() > limits::OPENPGP_RING_OCTETS_MAX {
            return Err(CertificateFlaw::Unreadable);
        }
        let certs = CertParser::from_bytes(octets).map_err(|_| CertificateFlaw::Unreadable)?;
        let mut ring = Vec::new();
        for cert in certs.take(limits::OPENPGP_RING_MAX) {
            let Ok(cert) = cert else { continue };
            if cert.is_tsk() {
                return Err(CertificateFlaw::HoldsSecret);
            }
            ring.push(Self(Arc::new(cert)));
        }
        if ring.is_empty() { Err(CertificateFlaw::Unreadable) } else { Ok(ring) }
    }

    /// The same certificate without what does not count here: pictures, signatures of others, and
    /// user ids that do not show this address (all, when it is `None`).
    ///
    /// # Errors
    /// [`CertificateFlaw::Unreadable`] when what is left is still over the limits.
    pub fn narrowed(&self, address: Option<&Address>) -> Result<Self, CertificateFlaw> {
        let cert = &self.0;
        let mut packets: Vec<Packet> = vec![cert.primary_key().key().clone().into()];
        let primary = cert.primary_key();
        push_newest(&mut packets, primary.self_revocations());
        push_newest(&mut packets, primary.self_signatures());
        let mut parts = 0;
        for id in cert.userids() {
            let shown = id.userid().email().ok().flatten().and_then(|it| Address::parse(it).ok());
            if address.is_some_and(|address| shown.as_ref() != Some(address)) {
                continue;
            }
            parts += 1;
            packets.push(id.userid().clone().into());
            push_newest(&mut packets, id.self_revocations());
            push_newest(&mut packets, id.self_signatures());
        }
        for key in cert.keys().subkeys() {
            parts += 1;
            if parts > limits::OPENPGP_PARTS_MAX {
                return Err(CertificateFlaw::Unreadable);
            }
            packets.push(key.key().clone().into());
            push_newest(&mut packets, key.self_revocations());
            push_newest(&mut packets, key.self_signatures());
        }
        if parts > limits::OPENPGP_PARTS_MAX {
            return Err(CertificateFlaw::Unreadable);
        }
        let cert = Cert::from_packets(packets.into_iter());
        let narrow = Self(Arc::new(cert.map_err(|_| CertificateFlaw::Unreadable)?));
        match narrow.to_binary() {
            Ok(octets) if octets.len() <= limits::OPENPGP_KEPT_OCTETS_MAX => Ok(narrow),
            _ => Err(CertificateFlaw::Unreadable),
        }
    }

    /// The primary key with the newest revocation by its owner: what must be known even of a
    /// certificate that is over the limits.
    ///
    /// # Errors
    /// [`CertificateFlaw::Unreadable`] when its owner has not revoked it.
    pub fn revocation_only(&self) -> Result<Self, CertificateFlaw> {
        let primary = self.0.primary_key();
        let newest = primary.self_revocations().max_by_key(|it| it.signature_creation_time());
        let newest = newest.ok_or(CertificateFlaw::Unreadable)?;
        let packets = [Packet::from(primary.key().clone()), Packet::from(newest.clone())];
        let cert = Cert::from_packets(packets.into_iter());
        cert.map(|cert| Self(Arc::new(cert))).map_err(|_| CertificateFlaw::Unreadable)
    }

    /// Whether its owner revoked it as a whole.
    pub fn is_revoked(&self, now: Timestamp) -> bool {
        let status = self.0.revocation_status(&StandardPolicy::new(), system_time(now));
        matches!(status, RevocationStatus::Revoked(_))
    }

    /// Key ids of the certificate and its subkeys, sixteen hexadecimal digits in capitals: what
    /// a signature may name its maker by.
    pub fn key_ids(&self) -> Vec<String> {
        self.0.keys().map(|key| key.key().keyid().to_hex()).collect()
    }

    /// [`key_ids`](Self::key_ids) of a certificate that this relay made and kept, without reading
    /// its signatures: all mailboxes are looked through when a relay starts. Empty if it is none.
    pub fn key_ids_in(ours: &[u8]) -> Vec<String> {
        let raw = RawCert::from_bytes(ours);
        raw.map(|raw| raw.keys().map(|key| key.keyid().to_hex()).collect()).unwrap_or_default()
    }

    /// Fingerprints of the certificate and its subkeys.
    pub fn key_fingerprints(&self) -> Vec<Fingerprint> {
        let hex = self.0.keys().map(|key| key.key().fingerprint().to_hex());
        hex.filter_map(|hex| Fingerprint::parse(&hex)).collect()
    }

    /// What a listing says of it.
    pub fn listed(&self, now: Timestamp) -> Listed {
        let primary = self.0.primary_key().key();
        let ids =
            self.0.userids().map(|id| String::from_utf8_lossy(id.userid().value()).into_owned());
        Listed {
            algorithm: primary.pk_algo().into(),
            bits: primary.mpis().bits(),
            created: self.created(),
            expires: self.expires(now),
            revoked: self.is_revoked(now),
            user_ids: ids.collect(),
        }
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        let made = self.0.primary_key().key().creation_time();
        let since = made.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_seconds(since.as_secs())
    }
}

impl Fingerprint {
    /// The key id of a key with this fingerprint (RFC 9580 §5.5.4): its end in version 4, its
    /// beginning in version 6.
    pub fn key_id(&self) -> String {
        let digits = self.as_str();
        match digits.len() {
            64 => digits[..16].to_owned(),
            _ => digits[digits.len() - 16..].to_owned(),
        }
    }
}

/// The newest signatures first, and no more than count.
fn push_newest<'a>(packets: &mut Vec<Packet>, signatures: impl Iterator<Item = &'a Signature>) {
    let mut newest: Vec<&Signature> = signatures.collect();
    newest.sort_by_key(|signature| std::cmp::Reverse(signature.signature_creation_time()));
    let newest = newest.into_iter().take(limits::OPENPGP_SIGNATURES_MAX);
    packets.extend(newest.cloned().map(Packet::from));
}
