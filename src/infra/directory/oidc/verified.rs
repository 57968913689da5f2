//! Tokens whose signature was verified, until they end: a mail program opens many connections
//! with one token. Kept as keyed hashes, in memory only.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use aws_lc_rs::hmac;

use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::directory::Identified;

pub(super) struct Verified {
    key: hmac::Key,
    tokens: Mutex<Tokens>,
}

#[derive(Default)]
struct Tokens {
    /// Which keys verified them. When the provider changes its keys it may mean it.
    keys: u64,
    known: HashMap<[u8; 32], Identified>,
}

impl Verified {
    pub(super) fn new(key: hmac::Key) -> Self {
        Self { key, tokens: Mutex::default() }
    }

    /// Whose token this is, if these keys verified it and it has not ended.
    pub(super) fn find(&self, token: &str, keys: u64, now: Timestamp) -> Option<Identified> {
        // An absurdly long one is not worth a hash.
        if token.len() > limits::TOKEN_OCTETS_MAX {
            return None;
        }
        let name = self.name(token);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.keys != keys {
            return None;
        }
        let identified = tokens.known.get(&name)?;
        if identified.until.is_none_or(|until| until <= now) {
            tokens.known.remove(&name);
            return None;
        }
        Some(identified.clone())
    }

    pub(super) fn remember(&self, token: &str, keys: u64, now: Timestamp, who: &Identified) {
        let Some(until) = who.until.filter(|until| *until > now) else { return };
        let name = self.name(token);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.keys != keys {
            tokens.known.clear();
            tokens.keys = keys;
        }
        if tokens.known.len() >= limits::OIDC_VERIFIED_MAX {
            tokens.known.retain(|_, known| known.until.is_some_and(|until| until > now));
            if tokens.known.len() >= limits::OIDC_VERIFIED_MAX {
                // Verifying again costs some microseconds each; memory without end costs more.
                tokens.known.clear();
            }
        }
        tokens.known.insert(name, Identified { until: Some(until), ..who.clone() });
    }

    fn name(&self, token: &str) -> [u8; 32] {
        let mut name = [0; 32];
        name.copy_from_slice(hmac::sign(&self.key, token.as_bytes()).as_ref());
        name
    }
}
