//! Peers that were judged before: who comes back with the same certificates is not verified again.
//!
//! Operators call each other all day with the same chain. Its signatures and names do not change
//! between two calls; only the time does. So the outcome is kept for exactly these certificates,
//! this purpose and these anchors, and counts while every certificate of the path is valid. What
//! can change in between (revocation, the trust list) is not in it.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use aws_lc_rs::digest::Context;
use aws_lc_rs::digest::SHA256;
use rustls::pki_types::CertificateDer;

use crate::domain::certificate::CertificateFacts;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::net::Purpose;
use crate::infra::net::certificate_facts;
use crate::infra::net::verified_path;

/// A peer's certificate whose path is good.
#[derive(Debug, PartialEq, Eq)]
pub struct Judged {
    /// What the leaf says.
    pub facts: CertificateFacts,
    /// Leaf first, anchor last.
    pub path: Vec<CertificateDer<'static>>,
    /// All certificates of the path below the anchor are valid from here…
    from: Timestamp,
    /// …until here.
    until: Timestamp,
}

impl Judged {
    /// When every certificate of the path below the anchor has begun.
    pub fn begins(&self) -> Timestamp {
        self.from
    }

    /// When the first of them ends.
    pub fn ends(&self) -> Timestamp {
        self.until
    }
}

/// Judges peers under one set of anchors, and remembers whom it let through. With other anchors
/// there is another one of these: an outcome never outlives the anchors that it rests on.
pub struct Judgements {
    anchors: Arc<Vec<CertificateDer<'static>>>,
    /// Good outcomes only: who is refused has to be told why, at this very time.
    kept: Mutex<HashMap<[u8; 32], Arc<Judged>>>,
}

impl Judgements {
    /// Nobody is known yet.
    pub fn new(anchors: Arc<Vec<CertificateDer<'static>>>) -> Self {
        Self { anchors, kept: Mutex::default() }
    }

    /// The CA certificates under which operators stand.
    pub fn anchors(&self) -> Arc<Vec<CertificateDer<'static>>> {
        Arc::clone(&self.anchors)
    }

    /// [`verified_path`] and [`certificate_facts`] of what a peer has shown, leaf first.
    ///
    /// # Errors
    /// What is wrong with it, for people; also when it has shown nothing.
    pub fn judge(
        &self,
        shown: &[CertificateDer<'_>],
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Arc<Judged>, String> {
        let (leaf, others) = shown.split_first().ok_or("no certificate was shown")?;
        let key = key(shown, purpose);
        {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(judged) = kept.get(&key)
                && (judged.from..=judged.until).contains(&now)
            {
                return Ok(Arc::clone(judged));
            }
        }
        let path = verified_path(leaf, others, &self.anchors, purpose, now)?;
        let facts = certificate_facts(leaf).map_err(|error| error.to_string())?;
        let (mut from, mut until) = (facts.not_before, facts.not_after);
        for link in &path[1..path.len().saturating_sub(1).max(1)] {
            let link = certificate_facts(link).map_err(|error| error.to_string())?;
            from = from.max(link.not_before);
            until = until.min(link.not_after);
        }
        let judged = Arc::new(Judged { facts, path, from, until });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Cheaper than to know who was here last: the trust space has some hundreds of operators.
        if kept.len() >= limits::PEERS_JUDGED_MAX {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&judged));
        Ok(judged)
    }
}

/// Exactly these octets, in this order, for this purpose.
fn key(shown: &[CertificateDer<'_>], purpose: Purpose) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    digest.update(match purpose {
        Purpose::Client { or_server: false } => b"c",
        Purpose::Client { or_server: true } => b"e",
        Purpose::Server => b"s",
    });
    for certificate in shown {
        digest.update(&(certificate.len() as u64).to_be_bytes());
        digest.update(certificate);
    }
    let mut key = [0; 32];
    key.copy_from_slice(digest.finish().as_ref());
    key
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_300_000);
    const CLIENT: Purpose = Purpose::Client { or_server: false };

    /// A leaf for servers only and its authority, both valid for ten days from [`NOW`].
    fn made() -> (CertificateDer<'static>, CertificateDer<'static>) {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let parameters = |name: &str| {
            let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            parameters.not_before = epoch + Duration::from_secs(NOW.as_seconds());
            parameters.not_after = epoch + Duration::from_secs(NOW.as_seconds() + 864_000);
            parameters
        };
        let mut root = parameters("root");
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let anchor = root.self_signed(&key).unwrap().der().clone();
        let issuer = rcgen::Issuer::new(root, key);
        let mut leaf = parameters("mx.test");
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let key = rcgen::KeyPair::generate().unwrap();
        (leaf.signed_by(&key, &issuer).unwrap().der().clone(), anchor)
    }

    #[test]
    fn who_comes_back_is_known_and_the_time_and_the_purpose_still_count() {
        let (leaf, anchor) = made();
        let judgements = Judgements::new(Arc::new(vec![anchor]));
        let lenient = Purpose::Client { or_server: true };
        let shown = [leaf];
        let first = judgements.judge(&shown, lenient, NOW).unwrap();
        let again = judgements.judge(&shown, lenient, NOW).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(first.path.len(), 2);

        let error = judgements.judge(&shown, CLIENT, NOW).unwrap_err();
        assert_eq!(error, "for another use (serverAuth)", "kept for one purpose only");
        let late = NOW.after(Duration::from_secs(864_001));
        let error = judgements.judge(&shown, lenient, late).unwrap_err();
        assert!(error.starts_with("expired on"), "{error}");
        let early = Timestamp::from_seconds(NOW.as_seconds() - 1);
        let error = judgements.judge(&shown, lenient, early).unwrap_err();
        assert!(error.starts_with("not valid before"), "a clock that was set back: {error}");
        assert!(judgements.judge(&[], lenient, NOW).is_err());
    }

    #[test]
    fn one_octet_more_is_another_peer() {
        let (leaf, anchor) = made();
        let judgements = Judgements::new(Arc::new(vec![anchor]));
        judgements.judge(std::slice::from_ref(&leaf), Purpose::Server, NOW).unwrap();
        for place in [leaf.len() - 1, leaf.len() / 2] {
            let mut forged = leaf.to_vec();
            forged[place] ^= 1;
            let forged = [CertificateDer::from(forged)];
            assert!(judgements.judge(&forged, Purpose::Server, NOW).is_err());
        }
        let other = Judgements::new(Arc::new(vec![made().1]));
        assert!(other.judge(&[leaf], Purpose::Server, NOW).is_err(), "other anchors");
    }
}
