//! Passwords that were right a short while ago: keyed hashes, in memory only.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use aws_lc_rs::constant_time;
use aws_lc_rs::hmac;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::login::Source;
use crate::domain::time::Timestamp;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Identified;

/// One password a person and directory: who changed theirs is not let in with the old one, not
/// even when the directory is away.
pub(super) struct Memory {
    /// Lives and dies with the process: what is remembered is worth nothing elsewhere.
    key: hmac::Key,
    fresh: Duration,
    grace: Duration,
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
}

/// What somebody showed, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tag {
    /// Mechanism, realm and identity.
    who: [u8; 32],
    /// The same, and what was shown.
    what: [u8; 32],
}

struct Remembered {
    what: [u8; 32],
    mark: [u8; 32],
    identified: Identified,
    at: Timestamp,
}

impl Memory {
    /// What was right serves for `fresh`, and for `grace` while its directory is away.
    pub(super) fn new(fresh: Duration, grace: Duration) -> Result<Self, DirectoryError> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random)
            .map_err(|_| DirectoryError::Keys("no randomness".to_owned()))?;
        Ok(Self { key, fresh, grace, remembered: Mutex::default() })
    }

    /// Each part goes in with its length, so that no two logins share a tag.
    pub(super) fn tag(&self, mechanism: &str, realm: Source, identity: &str, shown: &[u8]) -> Tag {
        let who = [mechanism.as_bytes(), realm.name().as_bytes(), identity.as_bytes()];
        let what = [who[0], who[1], who[2], shown];
        Tag { who: self.hash(&who), what: self.hash(&what) }
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(parts.len() as u64).to_be_bytes());
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }

    /// Was right a short while ago, and the directory keeps the same about the name since.
    pub(super) fn fresh(&self, tag: &Tag, mark: &[u8; 32], now: Timestamp) -> Option<Identified> {
        let remembered = self.remembered();
        let found = remembered.get(&tag.who)?;
        let is_right = found.is(tag) && found.mark == *mark && found.lasts(now, self.fresh);
        is_right.then(|| found.identified.clone())
    }

    /// Was right before its directory went away.
    pub(super) fn in_grace(&self, tag: &Tag, now: Timestamp) -> Option<Identified> {
        let remembered = self.remembered();
        let found = remembered.get(&tag.who)?;
        (found.is(tag) && found.lasts(now, self.grace)).then(|| found.identified.clone())
    }

    /// It was right now.
    pub(super) fn keep(&self, tag: &Tag, mark: [u8; 32], identified: &Identified, now: Timestamp) {
        let longest = self.fresh.max(self.grace);
        if longest.is_zero() {
            return;
        }
        let mut remembered = self.remembered();
        if remembered.len() >= limits::LOGINS_REMEMBERED_MAX && !remembered.contains_key(&tag.who) {
            remembered.retain(|_, each| each.lasts(now, longest));
            if remembered.len() >= limits::LOGINS_REMEMBERED_MAX {
                let oldest = remembered.iter().min_by_key(|(_, each)| each.at).map(|(who, _)| *who);
                oldest.and_then(|who| remembered.remove(&who));
            }
        }
        let (what, identified) = (tag.what, identified.clone());
        remembered.insert(tag.who, Remembered { what, mark, identified, at: now });
    }

    /// This is wrong now.
    pub(super) fn drop_shown(&self, tag: &Tag) {
        let mut remembered = self.remembered();
        if remembered.get(&tag.who).is_some_and(|found| found.is(tag)) {
            remembered.remove(&tag.who);
        }
    }

    /// The directory knows nobody of this name any more.
    pub(super) fn drop_person(&self, tag: &Tag) {
        self.remembered().remove(&tag.who);
    }

    /// Whoever may open this mailbox shows their password again. How many are forgotten.
    pub(super) fn forget(&self, mailbox: &Address) -> usize {
        let mut remembered = self.remembered();
        let before = remembered.len();
        // What a national identity opens is not written here: it is asked for again, too.
        remembered.retain(|_, each| {
            each.identified.national_id.is_none() && !each.identified.mailboxes.contains(mailbox)
        });
        before - remembered.len()
    }

    pub(super) fn len(&self) -> usize {
        self.remembered().len()
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<[u8; 32], Remembered>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn is(&self, tag: &Tag) -> bool {
        constant_time::verify_slices_are_equal(&self.what, &tag.what).is_ok()
    }

    fn lasts(&self, now: Timestamp, how_long: Duration) -> bool {
        let is_over = self.identified.until.is_some_and(|until| until <= now);
        !is_over && now >= self.at && now.since(self.at) < how_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::login::Means;
    use crate::domain::login::Scope;

    const MARK: [u8; 32] = [7; 32];
    const FRESH: Duration = Duration::from_secs(600);
    const GRACE: Duration = Duration::from_secs(3_600);

    fn start() -> Timestamp {
        Timestamp::from_seconds(1_795_388_399)
    }

    fn somebody(mailbox: &str) -> Identified {
        Identified {
            mailboxes: vec![Address::parse(mailbox).unwrap()],
            national_id: None,
            display_name: None,
            means: Means::Password,
            scope: Scope::ALL,
            network: None,
            until: None,
            voucher: None,
        }
    }

    /// CVE-2025-30189: logins that differ must never share an entry.
    #[test]
    fn no_two_logins_share_a_place_in_memory() {
        let memory = Memory::new(FRESH, GRACE).unwrap();
        let hugo = somebody("hugo@hopital.mssante.test");
        let kept = memory.tag("password", Source::Ldap, "hugo", b"secret");
        memory.keep(&kept, MARK, &hugo, start());
        assert!(memory.fresh(&kept, &MARK, start()).is_some());
        for (mechanism, realm, name, shown) in [
            ("token", Source::Ldap, "hugo", &b"secret"[..]),
            ("password", Source::Local, "hugo", b"secret"),
            ("password", Source::Oidc, "hugo", b"secret"),
            ("password", Source::Ldap, "hugos", b"ecret"),
            ("password", Source::Ldap, "hug", b"osecret"),
            ("password", Source::Ldap, "hugo\0", b"secret"),
            ("password", Source::Ldap, "hugo", b"secret\0"),
            ("password", Source::Ldap, "hugo", b""),
            ("password", Source::Ldap, "", b"hugosecret"),
            ("password", Source::Ldap, "Hugo", b"secret"),
            ("passwordldap", Source::Ldap, "hugo", b"secret"),
        ] {
            let other = memory.tag(mechanism, realm, name, shown);
            assert!(memory.fresh(&other, &MARK, start()).is_none(), "{mechanism} {name} {shown:?}");
            assert!(memory.in_grace(&other, start()).is_none(), "{mechanism} {name} {shown:?}");
        }
        assert!(
            memory.fresh(&kept, &[8; 32], start()).is_none(),
            "the directory keeps other things"
        );
    }

    #[test]
    fn a_password_that_was_changed_is_not_let_in_by_the_grace() {
        let memory = Memory::new(FRESH, GRACE).unwrap();
        let hugo = somebody("hugo@hopital.mssante.test");
        let old = memory.tag("password", Source::Ldap, "hugo", b"old");
        let new = memory.tag("password", Source::Ldap, "hugo", b"new");
        memory.keep(&old, MARK, &hugo, start());
        memory.keep(&new, MARK, &hugo, start());
        assert!(memory.in_grace(&old, start()).is_none());
        assert!(memory.in_grace(&new, start()).is_some());
        memory.drop_shown(&old);
        assert!(memory.in_grace(&new, start()).is_some(), "a wrong guess costs nobody their grace");
        memory.drop_shown(&new);
        assert!(memory.in_grace(&new, start()).is_none());
    }

    #[test]
    fn what_is_remembered_ends_and_use_does_not_prolong_it() {
        let memory = Memory::new(FRESH, GRACE).unwrap();
        let tag = memory.tag("password", Source::Ldap, "hugo", b"secret");
        memory.keep(&tag, MARK, &somebody("hugo@hopital.mssante.test"), start());
        let almost = start().after(FRESH - Duration::from_secs(1));
        assert!(memory.fresh(&tag, &MARK, almost).is_some());
        assert!(memory.fresh(&tag, &MARK, start().after(FRESH)).is_none());
        assert!(memory.in_grace(&tag, start().after(FRESH)).is_some());
        assert!(memory.in_grace(&tag, start().after(GRACE)).is_none());
        let short = Identified { until: Some(almost), ..somebody("hugo@hopital.mssante.test") };
        memory.keep(&tag, MARK, &short, start());
        assert!(memory.fresh(&tag, &MARK, almost).is_none(), "what was shown is over");
    }

    #[test]
    fn memory_is_bounded_and_can_be_cleared_for_a_mailbox() {
        let memory = Memory::new(FRESH, Duration::ZERO).unwrap();
        let (hugo, claire) =
            (somebody("hugo@hopital.mssante.test"), somebody("claire@hopital.mssante.test"));
        for number in 0..limits::LOGINS_REMEMBERED_MAX + 5 {
            let tag = memory.tag("password", Source::Ldap, &number.to_string(), b"secret");
            let at = start().after(Duration::from_millis(number as u64));
            memory.keep(&tag, MARK, if number % 2 == 0 { &hugo } else { &claire }, at);
        }
        // The first five made room for the last five.
        assert_eq!(memory.len(), limits::LOGINS_REMEMBERED_MAX);
        assert_eq!(memory.forget(&hugo.mailboxes[0]), limits::LOGINS_REMEMBERED_MAX / 2);
        assert_eq!(memory.len(), limits::LOGINS_REMEMBERED_MAX / 2);
        let nothing = Memory::new(Duration::ZERO, Duration::ZERO).unwrap();
        let tag = nothing.tag("password", Source::Ldap, "hugo", b"secret");
        nothing.keep(&tag, MARK, &hugo, start());
        assert_eq!(nothing.len(), 0, "no cache, no grace: nothing is kept");
    }
}
