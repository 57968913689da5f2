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
use crate::infra::clock::ManualClock;

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

#[async_trait]
impl Directory for Book {
    async fn find(&self, _: &Address) -> Result<Option<Account>, DirectoryError> {
        Ok(None)
    }

    async fn login(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Account>, DirectoryError> {
        // As hashing does: others get their turn before the answer is there.
        tokio::task::yield_now().await;
        self.hashed.fetch_add(1, Ordering::Relaxed);
        match password.expose().as_str() {
            "right" => Ok(Some(account(name))),
            "crowd" => Err(DirectoryError::Busy),
            _ => Ok(None),
        }
    }

    async fn recently_verified(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Account>, DirectoryError> {
        let is_known = name == self.verified && password.expose() == "right";
        Ok(is_known.then(|| account(name)))
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
        let logins = Logins::new(Arc::clone(&book) as _, Arc::clone(&clock) as _, limit);
        Self { logins, clock, book }
    }

    async fn from(&self, ip: &str, name: &str, password: &str) -> Result<(), Refusal> {
        let password = Secret::new(password.to_owned());
        self.logins.login(Some(ip.parse().unwrap()), name, &password).await.map(drop)
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

#[tokio::test]
async fn what_is_remembered_of_strangers_is_bounded() {
    let mut windows = HashMap::new();
    let now = Timestamp::from_seconds(1_795_388_399);
    for key in 0..COUNTERS_MAX * 2 + 10 {
        window(&mut windows, key, now).count += 1;
        assert!(windows.len() <= COUNTERS_MAX);
    }
    window(&mut windows, 5, now).count = 7;
    window(&mut windows, 5, now.after(WINDOW)).count += 1;
    assert_eq!(windows[&5].count, 1);
}

#[test]
fn an_ipv6_subscriber_is_one_network() {
    let network = |text: &str| network_of(text.parse().unwrap());
    assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
    assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
}
