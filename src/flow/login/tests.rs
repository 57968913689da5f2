//! Who is slowed down by failed logins, and who is not.
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::domain::address::Address;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::flow::login::throttle::NAMES_OF_A_NETWORK;
use crate::flow::login::throttle::WINDOW;
use crate::infra::clock::ManualClock;
use crate::infra::directory::Directory;
use crate::infra::directory::Identified;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::Verdict;

/// Everybody's password is `right`; who is in `verified` logged in a moment ago.
struct Book {
    hashed: AtomicU32,
    verified: &'static str,
}

fn account(name: &str) -> Account {
    Account {
        id: MailboxId::from_bytes([1; 16]),
        address: Address::parse(name).unwrap(),
        kind: MailboxKind::Personal,
        listing: Listing::Public,
        suspended: false,
        display_name: String::new(),
        certificate: Bytes::new(),
        wrapped_keys: Bytes::new(),
        created: Timestamp::from_seconds(0),
    }
}

fn known(name: &str) -> Identified {
    Identified {
        mailboxes: vec![Address::parse(name).unwrap()],
        national_id: None,
        display_name: None,
        means: Means::Password,
        scope: Scope::ALL,
        network: None,
        until: None,
    }
}

#[async_trait]
impl Mailboxes for Book {
    async fn find(&self, address: &Address) -> Result<Option<Account>, DirectoryError> {
        Ok(Some(account(&address.to_string())))
    }

    async fn held_by(&self, _: &str) -> Result<Vec<Address>, DirectoryError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Directory for Book {
    fn source(&self) -> Source {
        Source::Local
    }

    async fn password(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Verdict, DirectoryError> {
        // As hashing does: others get their turn before the answer is there.
        tokio::task::yield_now().await;
        self.hashed.fetch_add(1, Ordering::Relaxed);
        match password.expose().as_str() {
            "right" => Ok(Verdict::Known(known(name))),
            "crowd" => Err(DirectoryError::Busy),
            _ => Ok(Verdict::Refused),
        }
    }

    async fn recently_verified(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Identified>, DirectoryError> {
        let is_known = name == self.verified && password.expose() == "right";
        Ok(is_known.then(|| known(name)))
    }
}

struct Case {
    logins: Logins,
    clock: Arc<ManualClock>,
    book: Arc<Book>,
}

const HOSPITAL: &str = "192.0.2.1";
const HUGO: &str = "hugo@hopital.mssante.test";
const CLAIRE: &str = "claire@hopital.mssante.test";

impl Case {
    fn new(limit: u32) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
        let book = Arc::new(Book { hashed: AtomicU32::new(0), verified: CLAIRE });
        let chain = Chain::new(vec![Arc::clone(&book) as _], Arc::clone(&book) as _);
        let logins = Logins::new(Arc::new(chain), Arc::clone(&clock) as _, limit);
        Self { logins, clock, book }
    }

    async fn from(&self, ip: &str, name: &str, password: &str) -> Result<(), Refusal> {
        let password = Secret::new(password.to_owned());
        let visitor = Visitor { entrance: Entrance::Imap, ip: Some(ip.parse().unwrap()) };
        self.logins.login(visitor, name, &password).await.map(drop)
    }
}

#[tokio::test]
async fn an_old_password_behind_a_hospitals_address_stops_only_itself() {
    let case = Case::new(3);
    for _ in 0..3 {
        assert_eq!(case.from(HOSPITAL, HUGO, "old").await, Err(Refusal::AuthFailed));
    }
    assert_eq!(case.from(HOSPITAL, HUGO, "old").await, Err(Refusal::TooManyFromPeer));
    // Another letter case is no other name.
    assert_eq!(
        case.from(HOSPITAL, &HUGO.to_uppercase(), "old").await,
        Err(Refusal::TooManyFromPeer)
    );
    assert_eq!(case.from(HOSPITAL, "paul@hopital.mssante.test", "right").await, Ok(()));
    // And Hugo at home, whom nobody can lock out from elsewhere.
    assert_eq!(case.from("198.51.100.7", HUGO, "right").await, Ok(()));
    case.clock.set(case.clock.now().after(WINDOW));
    assert_eq!(case.from(HOSPITAL, HUGO, "right").await, Ok(()));
}

#[tokio::test]
async fn a_password_that_was_right_a_moment_ago_passes_a_throttled_network() {
    let case = Case::new(1);
    for number in 0..NAMES_OF_A_NETWORK {
        let _ = case.from(HOSPITAL, &format!("a{number}@hopital.mssante.test"), "guess").await;
    }
    assert_eq!(case.from(HOSPITAL, HUGO, "right").await, Err(Refusal::TooManyFromPeer));
    assert_eq!(case.from(HOSPITAL, CLAIRE, "right").await, Ok(()));
    assert_eq!(case.from(HOSPITAL, CLAIRE, "guess").await, Err(Refusal::TooManyFromPeer));
}

#[tokio::test]
async fn guesses_made_at_the_same_time_are_all_counted() {
    let case = Case::new(5);
    let guesses = (0..50).map(|_| case.from(HOSPITAL, HUGO, "guess"));
    let mut answers = Vec::new();
    let mut waiting: Vec<_> = guesses.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|guess| match guess.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    assert_eq!(case.book.hashed.load(Ordering::Relaxed), 5);
    assert_eq!(answers.iter().filter(|each| **each == Err(Refusal::TooManyFromPeer)).count(), 45);
}

#[tokio::test]
async fn only_a_wrong_password_costs_an_attempt() {
    let case = Case::new(2);
    for _ in 0..20 {
        assert_eq!(case.from(HOSPITAL, HUGO, "right").await, Ok(()));
        assert_eq!(case.from(HOSPITAL, HUGO, "crowd").await, Err(Refusal::Busy));
    }
    assert_eq!(case.from(HOSPITAL, HUGO, "old").await, Err(Refusal::AuthFailed));
}
