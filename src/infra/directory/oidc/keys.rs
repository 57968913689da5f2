//! The provider's keys (RFC 7517), and signatures by them.
use jsonwebtoken::Algorithm;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::AlgorithmParameters;
use jsonwebtoken::jwk::EllipticCurve;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::jwk::PublicKeyUse;
use serde::Deserialize;

use crate::domain::limits;
use crate::infra::directory::oidc::check::Refused;
use crate::proto::jwt::Claims;
use crate::proto::jwt::Jwt;

/// A set of keys for signatures.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// What such a key can sign by; one algorithm when the key says which.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

impl Keys {
    /// Reads a JWK set. Keys that we cannot use are left out: a provider may have keys for
    /// encryption, and of kinds that come after us. `None` when it is no set at all.
    pub(super) fn parse(octets: &[u8]) -> Option<Self> {
        // Depth, size and unique names first.
        Claims::parse(octets, limits::OIDC_ANSWER_OCTETS_MAX).ok()?;
        let set: Set = serde_json::from_slice(octets).ok()?;
        let keys = set.keys.into_iter().take(limits::OIDC_KEYS_MAX);
        Some(Self(keys.filter_map(|value| key(serde_json::from_value(value).ok()?)).collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when a key has the name that the token gives, or the token gives none.
    pub(super) fn has(&self, jwt: &Jwt<'_>) -> bool {
        self.candidates(jwt).next().is_some()
    }

    /// Keys that may have made the signature.
    fn candidates<'a>(&'a self, jwt: &'a Jwt<'_>) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(|key| jwt.key_id.is_none() || key.id == jwt.key_id)
    }

    /// Verifies a signature by the key that the token names; without a name by each that fits.
    pub(super) fn verify(&self, jwt: &Jwt<'_>) -> Result<(), Refused> {
        let algorithm: Algorithm = jwt.algorithm.parse().map_err(|_| Refused::Algorithm)?;
        let mut refused = Refused::Key;
        for key in self.candidates(jwt) {
            // An RSA key verifies no HMAC, and a P-256 key no ES384 (RFC 8725 §3.1).
            if !key.algorithms.contains(&algorithm) {
                refused = Refused::Algorithm;
                continue;
            }
            let signed = jwt.signed.as_bytes();
            match jsonwebtoken::crypto::verify(jwt.signature, signed, &key.key, algorithm) {
                Ok(true) => return Ok(()),
                Ok(false) | Err(_) => refused = Refused::Signature,
            }
        }
        Err(refused)
    }
}

/// A key for signatures, with what it may sign by.
fn key(jwk: Jwk) -> Option<Key> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let fitting: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(it) => match it.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(it) if it.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        // A shared secret in a public document is nobody's signature.
        _ => return None,
    };
    let declared = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string());
    let algorithms: Vec<Algorithm> = match declared {
        None => fitting.to_vec(),
        Some(name) => {
            let declared: Algorithm = name.parse().ok()?;
            fitting.iter().copied().filter(|algorithm| *algorithm == declared).collect()
        }
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then_some(Key { id: jwk.common.key_id, algorithms, key })
}
