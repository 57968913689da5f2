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
/// even when the directory is away, however either was written.
///
/// People write their login name in several ways: `hugo`, `HUGO`, `hugo@…`, a number. Each way
/// that was right leads to the person, as the directory itself calls them, and what is remembered
/// is remembered of the person.
pub(super) struct Memory {
    /// Lives and dies with the process: what is remembered is worth nothing elsewhere.
    key: hmac::Key,
    fresh: Duration,
    grace: Duration,
    remembered: Mutex<Remembered>,
}

/// What somebody showed, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tag {
    /// Mechanism and realm.
    realm: [u8; 32],
    /// Mechanism, realm and name, as it was written.
    spelling: [u8; 32],
    /// Mechanism, realm and what was shown.
    shown: [u8; 32],
}

#[derive(Default)]
struct Remembered {
    /// By mechanism, realm and identity.
    people: HashMap<[u8; 32], Person>,
    /// Which person a spelling means.
    spellings: HashMap<[u8; 32], [u8; 32]>,
}

struct Person {
    /// Of whom, and what was shown.
    what: [u8; 32],
    mark: [u8; 32],
    identified: Identified,
    at: Timestamp,
    /// In which ways they wrote their name, the last one last.
    spellings: Vec<[u8; 32]>,
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
    pub(super) fn tag(&self, mechanism: &str, realm: Source, name: &str, shown: &[u8]) -> Tag {
        let realm = self.hash(&[mechanism.as_bytes(), realm.name().as_bytes()]);
        Tag {
            realm,
            spelling: self.hash(&[&realm, b"name", name.as_bytes()]),
            shown: self.hash(&[&realm, b"shown", shown]),
        }
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

    /// Whom a directory means by an identity; without one, every spelling is somebody else.
    fn person(&self, tag: &Tag, identity: Option<&str>) -> [u8; 32] {
        match identity {
            Some(identity) => self.hash(&[&tag.realm, b"identity", identity.as_bytes()]),
            None => tag.spelling,
        }
    }

    fn what(&self, person: &[u8; 32], tag: &Tag) -> [u8; 32] {
        self.hash(&[person, &tag.shown])
    }

    /// Was right a short while ago, and the directory keeps the same about the name since.
    pub(super) fn fresh(&self, tag: &Tag, mark: &[u8; 32], now: Timestamp) -> Option<Identified> {
        self.right(tag, |found| found.mark == *mark && found.lasts(now, self.fresh))
    }

    /// The same where no mark tells more than time does.
    pub(super) fn fresh_by_time(&self, tag: &Tag, now: Timestamp) -> Option<Identified> {
        self.right(tag, |found| found.lasts(now, self.fresh))
    }

    /// Was right before its directory went away.
    pub(super) fn in_grace(&self, tag: &Tag, now: Timestamp) -> Option<Identified> {
        self.right(tag, |found| found.lasts(now, self.grace))
    }

    fn right(&self, tag: &Tag, lasts: impl Fn(&Person) -> bool) -> Option<Identified> {
        let remembered = self.remembered();
        let person = remembered.spellings.get(&tag.spelling)?;
        let found = remembered.people.get(person)?;
        let is_right = found.is(&self.what(person, tag)) && lasts(found);
        is_right.then(|| found.identified.clone())
    }

    /// It was right now, and whom the directory means by the name: whatever was right before for
    /// the same person is forgotten.
    pub(super) fn keep(
        &self,
        tag: &Tag,
        identity: Option<&str>,
        mark: [u8; 32],
        identified: &Identified,
        now: Timestamp,
    ) {
        let longest = self.fresh.max(self.grace);
        if longest.is_zero() {
            return;
        }
        let person = self.person(tag, identity);
        let what = self.what(&person, tag);
        let mut remembered = self.remembered();
        let remembered = &mut *remembered;
        if remembered.people.len() >= limits::LOGINS_REMEMBERED_MAX
            && !remembered.people.contains_key(&person)
        {
            remembered.retain(|each| each.lasts(now, longest));
            if remembered.people.len() >= limits::LOGINS_REMEMBERED_MAX {
                let oldest = remembered.people.iter().min_by_key(|(_, each)| each.at);
                let oldest = oldest.map(|(person, _)| *person);
                oldest.and_then(|oldest| remembered.forget(&oldest));
            }
        }
        // The name may have meant somebody else.
        remembered.unspell(&tag.spelling);
        let mut spellings =
            remembered.people.remove(&person).map_or_else(Vec::new, |known| known.spellings);
        if spellings.len() >= limits::LOGIN_SPELLINGS_REMEMBERED_MAX {
            let oldest = spellings.remove(0);
            remembered.spellings.remove(&oldest);
        }
        spellings.push(tag.spelling);
        remembered.spellings.insert(tag.spelling, person);
        let identified = identified.clone();
        remembered.people.insert(person, Person { what, mark, identified, at: now, spellings });
    }

    /// This is wrong now, for whom the name meant before and for whom it means.
    pub(super) fn drop_shown(&self, tag: &Tag, identity: Option<&str>) {
        let meant = identity.map(|identity| self.person(tag, Some(identity)));
        let mut remembered = self.remembered();
        let spelled = remembered.spellings.get(&tag.spelling).copied();
        for person in spelled.into_iter().chain(meant) {
            let what = self.what(&person, tag);
            if remembered.people.get(&person).is_some_and(|found| found.is(&what)) {
                remembered.forget(&person);
            }
        }
    }

    /// The directory knows nobody of this name any more.
    pub(super) fn drop_person(&self, tag: &Tag) {
        let mut remembered = self.remembered();
        if let Some(person) = remembered.spellings.get(&tag.spelling).copied() {
            remembered.forget(&person);
        }
    }

    /// Whoever may open this mailbox shows their password again. How many are forgotten.
    pub(super) fn forget(&self, mailbox: &Address) -> usize {
        let mut remembered = self.remembered();
        let before = remembered.people.len();
        // What a national identity opens is not written here: it is asked for again, too.
        remembered.retain(|each| {
            each.identified.national_id.is_none() && !each.identified.mailboxes.contains(mailbox)
        });
        before - remembered.people.len()
    }

    pub(super) fn len(&self) -> usize {
        self.remembered().people.len()
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn forget(&mut self, person: &[u8; 32]) -> Option<Person> {
        let known = self.people.remove(person)?;
        for spelling in &known.spellings {
            self.spellings.remove(spelling);
        }
        Some(known)
    }

    fn unspell(&mut self, spelling: &[u8; 32]) {
        if let Some(person) = self.spellings.remove(spelling)
            && let Some(known) = self.people.get_mut(&person)
        {
            known.spellings.retain(|each| each != spelling);
        }
    }

    fn retain(&mut self, keep: impl Fn(&Person) -> bool) {
        let people = &mut self.people;
        people.retain(|_, each| keep(each));
        self.spellings.retain(|_, person| people.contains_key(person));
    }
}

impl Person {
    fn is(&self, what: &[u8; 32]) -> bool {
        constant_time::verify_slices_are_equal(&self.what, what).is_ok()
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
        memory.keep(&kept, None, MARK, &hugo, start());
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
        memory.keep(&old, None, MARK, &hugo, start());
        memory.keep(&new, None, MARK, &hugo, start());
        assert!(memory.in_grace(&old, start()).is_none());
        assert!(memory.in_grace(&new, start()).is_some());
        memory.drop_shown(&old, None);
        assert!(memory.in_grace(&new, start()).is_some(), "a wrong guess costs nobody their grace");
        memory.drop_shown(&new, None);
        assert!(memory.in_grace(&new, start()).is_none());
    }

    /// However a name is written: a new password under one spelling ends the old one under all.
    #[test]
    fn a_password_that_was_changed_under_another_spelling_is_forgotten_under_all() {
        let memory = Memory::new(FRESH, GRACE).unwrap();
        let hugo = somebody("hugo@hopital.mssante.test");
        let dn = Some("uid=hugo,ou=people");
        let tag = |name: &str, shown: &[u8]| memory.tag("password", Source::Ldap, name, shown);
        let spellings = ["hugo", "HUGO", "hugo@hopital.mssante.test", "10001234567"];
        for name in spellings {
            memory.keep(&tag(name, b"old"), dn, MARK, &hugo, start());
        }
        assert_eq!(memory.len(), 1, "one person");
        memory.keep(&tag("hugo", b"new"), dn, MARK, &hugo, start());
        for name in spellings {
            assert!(memory.in_grace(&tag(name, b"old"), start()).is_none(), "{name}");
            assert!(memory.fresh(&tag(name, b"old"), &MARK, start()).is_none(), "{name}");
            assert!(memory.in_grace(&tag(name, b"new"), start()).is_some(), "{name}");
        }
        // Refused under a spelling that was never right, with whom the directory means by it.
        memory.drop_shown(&tag("Hugo", b"old"), dn);
        assert!(memory.in_grace(&tag("hugo", b"new"), start()).is_some(), "another password");
        memory.drop_shown(&tag("Hugo", b"new"), dn);
        for name in spellings {
            assert!(memory.in_grace(&tag(name, b"new"), start()).is_none(), "{name}");
        }
    }

    #[test]
    fn a_name_that_means_somebody_else_now_leads_to_nobody_s_old_password() {
        let memory = Memory::new(FRESH, GRACE).unwrap();
        let (hugo, claire) =
            (somebody("hugo@hopital.mssante.test"), somebody("claire@hopital.mssante.test"));
        let tag = |name: &str, shown: &[u8]| memory.tag("password", Source::Ldap, name, shown);
        memory.keep(&tag("duty", b"hugo's"), Some("uid=hugo"), MARK, &hugo, start());
        memory.keep(&tag("duty", b"claire's"), Some("uid=claire"), MARK, &claire, start());
        assert!(memory.in_grace(&tag("duty", b"hugo's"), start()).is_none());
        let found = memory.in_grace(&tag("duty", b"claire's"), start()).unwrap();
        assert_eq!(found.mailboxes, claire.mailboxes);
        // The same password of two people opens each one's own.
        memory.keep(&tag("hugo", b"same"), Some("uid=hugo"), MARK, &hugo, start());
        memory.keep(&tag("claire", b"same"), Some("uid=claire"), MARK, &claire, start());
        memory.drop_shown(&tag("hugo", b"same"), Some("uid=hugo"));
        assert!(memory.in_grace(&tag("hugo", b"same"), start()).is_none());
        assert!(memory.in_grace(&tag("claire", b"same"), start()).is_some());
        memory.drop_person(&tag("claire", b"whatever"));
        assert!(memory.in_grace(&tag("claire", b"same"), start()).is_none());
    }

    #[test]
    fn the_ways_to_write_a_name_are_bounded() {
        let memory = Memory::new(FRESH, GRACE).unwrap();
        let hugo = somebody("hugo@hopital.mssante.test");
        let tag = |name: &str| memory.tag("password", Source::Ldap, name, b"secret");
        let many = limits::LOGIN_SPELLINGS_REMEMBERED_MAX + 5;
        for number in 0..many {
            memory.keep(&tag(&number.to_string()), Some("uid=hugo"), MARK, &hugo, start());
        }
        let known = |number: usize| memory.in_grace(&tag(&number.to_string()), start()).is_some();
        assert!(!known(4) && known(5) && known(many - 1));
        assert_eq!(memory.remembered().spellings.len(), limits::LOGIN_SPELLINGS_REMEMBERED_MAX);
    }

    #[test]
    fn what_is_remembered_ends_and_use_does_not_prolong_it() {
        let memory = Memory::new(FRESH, GRACE).unwrap();
        let tag = memory.tag("password", Source::Ldap, "hugo", b"secret");
        memory.keep(&tag, None, MARK, &somebody("hugo@hopital.mssante.test"), start());
        let almost = start().after(FRESH - Duration::from_secs(1));
        assert!(memory.fresh(&tag, &MARK, almost).is_some());
        assert!(memory.fresh(&tag, &MARK, start().after(FRESH)).is_none());
        assert!(memory.in_grace(&tag, start().after(FRESH)).is_some());
        assert!(memory.in_grace(&tag, start().after(GRACE)).is_none());
        let short = Identified { until: Some(almost), ..somebody("hugo@hopital.mssante.test") };
        memory.keep(&tag, None, MARK, &short, start());
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
            memory.keep(&tag, None, MARK, if number % 2 == 0 { &hugo } else { &claire }, at);
        }
        // The first five made room for the last five.
        assert_eq!(memory.len(), limits::LOGINS_REMEMBERED_MAX);
        assert_eq!(memory.forget(&hugo.mailboxes[0]), limits::LOGINS_REMEMBERED_MAX / 2);
        assert_eq!(memory.len(), limits::LOGINS_REMEMBERED_MAX / 2);
        let nothing = Memory::new(Duration::ZERO, Duration::ZERO).unwrap();
        let tag = nothing.tag("password", Source::Ldap, "hugo", b"secret");
        nothing.keep(&tag, None, MARK, &hugo, start());
        assert_eq!(nothing.len(), 0, "no cache, no grace: nothing is kept");
    }
}
