//! What happens to a certificate in its life: read from a ring, cut down to what counts.
use std::sync::Arc;

use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::packet::Packet;
use sequoia_openpgp::packet::Signature;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::RevocationStatus;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::keys::peers::CertificateFlaw;
use crate::infra::keys::peers::Fingerprint;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::keys::peers::system_time;

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

    /// Fingerprints of the certificate and its subkeys.
    pub fn key_fingerprints(&self) -> Vec<Fingerprint> {
        let hex = self.0.keys().map(|key| key.key().fingerprint().to_hex());
        hex.filter_map(|hex| Fingerprint::parse(&hex)).collect()
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
