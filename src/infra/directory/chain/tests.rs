//! Directories that are away, and what is remembered of them.
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::infra::clock::ManualClock;
use crate::infra::directory::Vouched;

const HUGO: &str = "hugo@hopital.mssante.test";
const CLAIRE: &str = "claire@hopital.mssante.test";

/// Knows one person; counts what it is asked.
struct Book {
    source: Source,
    person: &'static str,
    password: Mutex<&'static str>,
    away: AtomicBool,
    asked: AtomicUsize,
    pretended: AtomicUsize,
    /// Nobody of the name is known any more.
    forgotten: AtomicBool,
    /// Other ways to write the person's name.
    others: &'static [&'static str],
}

impl Book {
    fn of(source: Source, person: &'static str) -> Arc<Self> {
        Arc::new(Self {
            source,
            person,
            password: Mutex::new("right"),
            away: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            pretended: AtomicUsize::new(0),
            forgotten: AtomicBool::new(false),
            others: &["hugo", "HUGO", "10001234567"],
        })
    }

    fn knows(&self, name: &str) -> bool {
        let is_one =
            name == self.person || self.source == Source::Ldap && self.others.contains(&name);
        is_one && !self.forgotten.load(Ordering::SeqCst)
    }

    fn known(&self) -> Identified {
        Identified {
            mailboxes: vec![Address::parse(self.person).unwrap()],
            national_id: None,
            display_name: Some("Hugo LE GALL".to_owned()),
            means: Means::Password,
            network: None,
            scope: Scope::ALL,
            until: None,
            voucher: None,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Directory for Book {
    fn source(&self) -> Source {
        self.source
    }

    async fn password(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Verdict, DirectoryError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        if self.away.load(Ordering::SeqCst) {
            let reason = "no answer".to_owned();
            return Err(DirectoryError::Away { directory: self.source, reason });
        }
        if !self.knows(name) {
            return Ok(Verdict::Stranger);
        }
        if password.expose() != *self.password.lock().unwrap() {
            return Ok(Verdict::Refused);
        }
        Ok(Verdict::Known(self.known()))
    }

    async fn answer(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Answered, DirectoryError> {
        let verdict = self.password(name, password).await?;
        let identity = self.knows(name).then(|| self.person.to_owned());
        Ok(Answered { verdict, identity })
    }

    async fn standing(&self, name: &str) -> Result<Verdict, DirectoryError> {
        if self.away.load(Ordering::SeqCst) {
            let reason = "no answer".to_owned();
            return Err(DirectoryError::Away { directory: self.source, reason });
        }
        let is_known = self.source == Source::Ldap && self.knows(name);
        Ok(if is_known { Verdict::Known(self.known()) } else { Verdict::Stranger })
    }

    async fn mark(&self, _: &str) -> Result<Option<[u8; 32]>, DirectoryError> {
        Ok(Some([0; 32]))
    }

    async fn pretend(&self, _: &str) {
        self.pretended.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Boxes {
    suspended: AtomicBool,
    vouched: Mutex<Option<Vouched>>,
    /// Which of the mailboxes have a password of their own.
    own: Mutex<Vec<&'static str>>,
}

/// An app password of Hugo's mailbox, and of Claire's.
const APP: &str = "abcd-efgh-jkmn-pqrs-tuvw";

#[async_trait]
impl Mailboxes for Boxes {
    async fn find(&self, address: &Address) -> Result<Option<Account>, DirectoryError> {
        Ok(Some(Account {
            id: MailboxId::from_bytes([1; 16]),
            address: address.clone(),
            kind: MailboxKind::Personal,
            listing: Listing::Public,
            suspended: self.suspended.load(Ordering::SeqCst),
            display_name: String::new(),
            certificate: Bytes::new(),
            wrapped_keys: Bytes::new(),
            created: Timestamp::from_seconds(0),
        }))
    }

    async fn held_by(&self, _: &str) -> Result<Vec<Address>, DirectoryError> {
        Ok(Vec::new())
    }

    async fn app_password(
        &self,
        mailbox: &Address,
        password: &Secret<String>,
    ) -> Result<Option<Identified>, DirectoryError> {
        Ok((password.expose() == APP).then(|| Identified {
            mailboxes: vec![mailbox.clone()],
            national_id: None,
            display_name: None,
            means: Means::AppPassword("telephone".to_owned()),
            scope: Scope::ALL,
            network: None,
            until: None,
            voucher: None,
        }))
    }

    async fn has_password(&self, mailbox: &Address) -> Result<bool, DirectoryError> {
        Ok(self.own.lock().unwrap().contains(&mailbox.to_string().as_str()))
    }

    async fn vouched(&self, mailbox: &Address) -> Result<Option<Vouched>, DirectoryError> {
        let is_hugo = mailbox.to_string() == HUGO;
        Ok(self.vouched.lock().unwrap().clone().filter(|_| is_hugo))
    }

    async fn vouch(&self, mailbox: &Address, vouched: &Vouched) {
        assert_eq!(mailbox.to_string(), HUGO);
        *self.vouched.lock().unwrap() = Some(vouched.clone());
    }
}

/// LDAP, which knows Hugo, and local accounts, which know Claire.
struct Case {
    chain: Chain,
    ldap: Arc<Book>,
    local: Arc<Book>,
    boxes: Arc<Boxes>,
    clock: Arc<ManualClock>,
}

impl Case {
    fn new(is_ldap_first: bool) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
        let (ldap, local) = (Book::of(Source::Ldap, HUGO), Book::of(Source::Local, CLAIRE));
        let boxes = Arc::new(Boxes::default());
        boxes.own.lock().unwrap().push(CLAIRE);
        let mut order: Vec<Arc<dyn Directory>> =
            vec![Arc::clone(&ldap) as _, Arc::clone(&local) as _];
        if !is_ldap_first {
            order.reverse();
        }
        let chain = Chain::new(order, Arc::clone(&boxes) as _)
            .remembering(
                Duration::from_secs(600),
                Duration::from_secs(3_600),
                Arc::clone(&clock) as _,
            )
            .unwrap();
        Self { chain, ldap, local, boxes, clock }
    }

    async fn login(&self, name: &str, password: &str) -> Result<bool, DirectoryError> {
        let password = Secret::new(password.to_owned());
        Ok(self.chain.password(name, &password).await?.is_some())
    }

    fn ldap_is_away(&self, away: bool) {
        self.ldap.away.store(away, Ordering::SeqCst);
    }

    fn later(&self, seconds: u64) {
        self.clock.set(self.clock.now().after(Duration::from_secs(seconds)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_away_keeps_nobody_of_another_out() {
    for is_ldap_first in [true, false] {
        let case = Case::new(is_ldap_first);
        case.ldap_is_away(true);
        assert!(case.login(CLAIRE, "right").await.unwrap());
        assert!(matches!(case.login(HUGO, "right").await, Err(DirectoryError::Unsettled { .. })));
        let health = case.chain.health();
        let ldap = health.iter().find(|each| each.directory == Source::Ldap).unwrap();
        assert!(ldap.away_since.is_some() && ldap.reason == "no answer");
        case.ldap_is_away(false);
        assert!(case.login(HUGO, "right").await.unwrap(), "and it recovers by itself");
        assert!(case.chain.health().iter().all(|each| each.away_since.is_none()));
    }
}

/// Otherwise the answer would tell whether a local account exists, while LDAP is away.
#[tokio::test(start_paused = true)]
async fn while_a_directory_is_away_a_wrong_local_password_sounds_like_an_unknown_name() {
    let case = Case::new(true);
    case.ldap_is_away(true);
    for name in [CLAIRE, HUGO, "nobody@hopital.mssante.test"] {
        let answer = case.login(name, "guess").await;
        assert!(matches!(answer, Err(DirectoryError::Unsettled { .. })), "{name} {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_that_was_right_serves_while_its_directory_is_away() {
    let case = Case::new(true);
    assert!(case.login(HUGO, "right").await.unwrap());
    case.later(700);
    case.ldap_is_away(true);
    assert!(case.login(HUGO, "right").await.unwrap(), "within the grace");
    assert!(case.login(HUGO, "guess").await.is_err(), "only that password");
    case.boxes.suspended.store(true, Ordering::SeqCst);
    assert!(!case.login(HUGO, "right").await.unwrap(), "a closed mailbox is closed at once");
    case.boxes.suspended.store(false, Ordering::SeqCst);
    assert_eq!(case.chain.forget(&Address::parse(HUGO).unwrap()), 1);
    assert!(case.login(HUGO, "right").await.is_err(), "forgotten on request");
    case.ldap_is_away(false);
    assert!(case.login(HUGO, "right").await.unwrap());
    case.later(3_600);
    case.ldap_is_away(true);
    assert!(case.login(HUGO, "right").await.is_err(), "after the grace");
}

#[tokio::test(start_paused = true)]
async fn a_changed_password_is_seen_when_memory_ends_and_the_old_one_stays_out() {
    let case = Case::new(true);
    assert!(case.login(HUGO, "right").await.unwrap());
    *case.ldap.password.lock().unwrap() = "new";
    case.later(599);
    assert!(case.login(HUGO, "right").await.unwrap(), "use does not prolong it");
    case.later(1);
    assert!(!case.login(HUGO, "right").await.unwrap());
    case.ldap_is_away(true);
    assert!(case.login(HUGO, "right").await.is_err(), "not even in the grace");
}

#[tokio::test(start_paused = true)]
async fn many_at_once_with_one_password_are_one_question() {
    let case = Case::new(true);
    let logins = std::iter::repeat_with(|| case.login(HUGO, "right")).take(200);
    let mut waiting: Vec<_> = logins.map(Box::pin).collect();
    let mut right = 0;
    std::future::poll_fn(|context| {
        waiting.retain_mut(|login| match login.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                right += usize::from(answer.unwrap());
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    assert_eq!((right, case.ldap.asked()), (200, 1));
    assert!(case.login(HUGO, "right").await.unwrap());
    assert_eq!(case.ldap.asked(), 1, "and then it is remembered");
    assert_eq!(case.chain.remembers(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_first_and_left_takes_nobodys_answer_along() {
    let case = Case::new(true);
    {
        let hurried = tokio::time::timeout(Duration::from_millis(10), case.login(HUGO, "right"));
        assert!(hurried.await.is_err());
    }
    assert!(case.login(HUGO, "right").await.unwrap());
    assert_eq!(case.ldap.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_no_takes_as_long_as_an_unknown_name() {
    let case = Case::new(true);
    assert!(!case.login(HUGO, "guess").await.unwrap());
    assert_eq!((case.local.asked(), case.local.pretended.load(Ordering::SeqCst)), (0, 1));
    assert!(!case.login("nobody@hopital.mssante.test", "guess").await.unwrap());
    assert_eq!(case.local.asked(), 1);
    assert!(!case.login(HUGO, "").await.unwrap());
    assert_eq!(case.ldap.asked(), 2, "an empty password is nobody's: nobody is asked");
}

#[tokio::test(start_paused = true)]
async fn a_directory_gives_a_person_their_name() {
    let case = Case::new(true);
    let password = Secret::new("right".to_owned());
    let admitted = case.chain.password(HUGO, &password).await.unwrap().unwrap();
    assert_eq!(admitted.account.display_name, "Hugo LE GALL");
    assert_eq!(admitted.source, Source::Ldap);
}

/// Whatever a person calls themselves: the password that LDAP takes is the one that serves.
#[tokio::test(start_paused = true)]
async fn an_old_password_under_another_spelling_serves_no_longer_than_the_new_one_is_shown() {
    let case = Case::new(true);
    let spellings = [HUGO, "hugo", "HUGO", "10001234567"];
    for name in spellings {
        assert!(case.login(name, "right").await.unwrap(), "{name}");
    }
    assert_eq!(case.chain.remembers(), 1, "one person");
    *case.ldap.password.lock().unwrap() = "new";
    assert!(case.login("hugo", "new").await.unwrap());
    case.ldap_is_away(true);
    for name in spellings {
        assert!(case.login(name, "right").await.is_err(), "{name}: the old one");
        assert!(case.login(name, "new").await.unwrap(), "{name}: the new one, in the grace");
    }
    // And one that LDAP refuses under one spelling is refused under all.
    case.ldap_is_away(false);
    *case.ldap.password.lock().unwrap() = "newest";
    case.later(600);
    assert!(!case.login("HUGO", "new").await.unwrap());
    case.ldap_is_away(true);
    for name in spellings {
        assert!(case.login(name, "new").await.is_err(), "{name}");
    }
}

/// In any order: the app password is the mailbox's, and its person is LDAP's.
#[tokio::test(start_paused = true)]
async fn an_app_password_works_until_the_directory_of_its_person_forgets_them() {
    for is_ldap_first in [true, false] {
        let case = Case::new(is_ldap_first);
        for name in [HUGO, "hugo"] {
            assert!(case.login(name, APP).await.unwrap(), "{name} {is_ldap_first}");
        }
        assert_eq!(case.ldap.asked(), 0, "it is never shown to a directory outside");
        case.ldap_is_away(true);
        case.later(3_599);
        assert!(case.login(HUGO, APP).await.unwrap(), "within the grace");
        case.later(1);
        let answer = case.login(HUGO, APP).await;
        assert!(matches!(answer, Err(DirectoryError::Away { .. })), "{answer:?}");
        case.ldap_is_away(false);
        assert!(case.login(HUGO, APP).await.unwrap());
        case.ldap.forgotten.store(true, Ordering::SeqCst);
        case.later(600);
        assert!(!case.login(HUGO, APP).await.unwrap(), "when memory ends, {is_ldap_first}");
        case.ldap_is_away(true);
        assert!(case.login(HUGO, APP).await.is_err(), "and there is no grace for it");
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_password_of_a_local_account_needs_no_other_directory() {
    for is_ldap_first in [true, false] {
        let case = Case::new(is_ldap_first);
        assert!(case.login(CLAIRE, APP).await.unwrap());
        case.ldap_is_away(true);
        case.later(100_000);
        assert!(case.login(CLAIRE, APP).await.unwrap(), "{is_ldap_first}");
        assert!(case.boxes.vouched.lock().unwrap().is_none());
    }
}
