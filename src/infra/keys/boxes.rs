//! Small sealed boxes: AES-256-GCM-SIV under keys that HKDF draws from one root key.
//!
//! GCM-SIV and not GCM: nonces are random and a root key lives for years, so a repeated nonce
//! must cost no more than the knowledge that two boxes hold the same (RFC 8452 §9).
use aws_lc_rs::aead;
use aws_lc_rs::hkdf;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;

/// First octet of every box; another number is another format.
const FORMAT: u8 = 1;
/// Octets before the sealed text: format and nonce.
const HEAD: usize = 1 + aead::NONCE_LEN;
/// Octets that a box is longer than its content.
#[cfg(test)]
pub(super) const OVERHEAD: usize = HEAD + 16;

/// Draws the 32-octet key for one use from a root key (RFC 5869 §2).
fn derive(root: &[u8], purpose: &str) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"vaguemestre keys 1")
        .extract(root)
        .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *key))
        .expect("32 octets are one block of HKDF-SHA256");
    key
}

/// The key of boxes for one purpose. The library holds it in memory of its own and wipes that
/// (`OPENSSL_free` does, and `HMAC_CTX_cleanup` for digests).
pub(super) struct BoxKey(aead::LessSafeKey);

impl BoxKey {
    /// Drawn from `root` for `purpose`.
    pub(super) fn derive(root: &[u8], purpose: &str) -> Self {
        let key = aead::UnboundKey::new(&aead::AES_256_GCM_SIV, &*derive(root, purpose))
            .expect("AES-256-GCM-SIV takes 32 octets");
        Self(aead::LessSafeKey::new(key))
    }

    /// Seals `clear`; the same `context` is needed to open it.
    pub(super) fn seal(&self, context: &[u8], clear: &[u8]) -> Vec<u8> {
        let mut nonce = [0; aead::NONCE_LEN];
        super::fill_random(&mut nonce);
        let mut sealed = Vec::with_capacity(HEAD + clear.len() + aead::MAX_TAG_LEN);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(clear);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(context),
                &mut sealed[HEAD..],
            )
            .expect("a box is far below the 2^36 octets of RFC 8452 §6");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens a box; `None` when it was altered, cut, or sealed in another context.
    pub(super) fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        let (head, body) = sealed.split_at_checked(HEAD)?;
        let (&format, nonce) = head.split_first()?;
        if format != FORMAT {
            return None;
        }
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut clear = Zeroizing::new(body.to_vec());
        let length = self.0.open_in_place(nonce, aead::Aad::from(context), &mut clear).ok()?.len();
        clear.truncate(length);
        Some(Secret::new(std::mem::take(&mut *clear)))
    }
}

/// A keyed digest for one purpose (HMAC-SHA-256, RFC 2104 §2).
pub(super) struct DigestKey(hmac::Key);

impl DigestKey {
    /// Drawn from `root` for `purpose`.
    pub(super) fn derive(root: &[u8], purpose: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &*derive(root, purpose)))
    }

    /// The digest of `clear`.
    pub(super) fn digest(&self, clear: &[u8]) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.0, clear).as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_box_opens_only_with_its_key_its_purpose_and_its_context() {
        let key = BoxKey::derive(&[1; 32], "a");
        let sealed = key.seal(b"row 7", b"content");
        assert_eq!(key.open(b"row 7", &sealed).unwrap().expose(), b"content");
        assert!(key.open(b"row 8", &sealed).is_none());
        assert!(BoxKey::derive(&[1; 32], "b").open(b"row 7", &sealed).is_none());
        assert!(BoxKey::derive(&[2; 32], "a").open(b"row 7", &sealed).is_none());
    }

    #[test]
    fn the_same_content_never_looks_the_same_twice() {
        let key = BoxKey::derive(&[1; 32], "a");
        assert_ne!(key.seal(b"", b"content"), key.seal(b"", b"content"));
    }

    proptest! {
        #[test]
        fn a_box_with_one_changed_octet_or_a_cut_end_does_not_open(
            content in proptest::collection::vec(any::<u8>(), 0..200),
            place in any::<proptest::sample::Index>(),
            change in 1_u8..=255,
        ) {
            let key = BoxKey::derive(&[1; 32], "a");
            let mut sealed = key.seal(b"c", &content);
            prop_assert_eq!(sealed.len(), content.len() + OVERHEAD);
            let opened = key.open(b"c", &sealed).unwrap();
            prop_assert_eq!(opened.expose(), &content);
            let place = place.index(sealed.len());
            prop_assert!(key.open(b"c", &sealed[..place]).is_none());
            sealed[place] ^= change;
            prop_assert!(key.open(b"c", &sealed).is_none());
        }
    }
}
