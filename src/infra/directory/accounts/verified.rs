//! Passwords that were right a short while ago, as keyed hashes in memory: a mail client opens
//! many connections, and argon2id is slow on purpose.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use aws_lc_rs::hmac;

use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::directory::DirectoryError;

const VERIFIED_MAX: usize = 10_000;

/// The memory. Its key lives and dies with the process.
pub(super) struct Verified {
    kept_for: Duration,
    tags: Mutex<HashMap<[u8; 32], Timestamp>>,
    key: hmac::Key,
}

/// One login that was right.
pub(super) type Tag = [u8; 32];

impl Verified {
    pub(super) fn new(kept_for: Duration) -> Result<Self, DirectoryError> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random)
            .map_err(|_| DirectoryError::Keys("no randomness".to_owned()))?;
        Ok(Self { kept_for, tags: Mutex::default(), key })
    }

    /// The key under which a login is remembered: by which mechanism, of whom, what was shown,
    /// and what that was checked against (`stored`), each with its length, so that no two logins
    /// share an entry, and none outlives a change of the password.
    pub(super) fn tag(
        &self,
        mechanism: &str,
        mailbox: &MailboxId,
        password: &Secret<String>,
        stored: &[u8],
    ) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        let password = password.expose().as_bytes();
        let realm = b"local".as_slice();
        for part in [mechanism.as_bytes(), realm, mailbox.as_bytes(), password, stored] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    pub(super) fn knows(&self, tag: &Tag, now: Timestamp) -> bool {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.get(tag).is_some_and(|at| now.since(*at) < self.kept_for)
    }

    pub(super) fn remember(&self, tag: Tag, now: Timestamp) {
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        if tags.len() >= VERIFIED_MAX {
            tags.retain(|_, at| now.since(*at) < self.kept_for);
            if tags.len() >= VERIFIED_MAX {
                tags.clear();
            }
        }
        tags.insert(tag, now);
    }
}
