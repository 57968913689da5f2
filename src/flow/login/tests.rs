//! Who is slowed down by failed logins, and who is not.
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::domain::address::Address;
use crate::domain::login::Network;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::flow::login::throttle::NAMES_OF_AN_ADDRESS;
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
        voucher: None,
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

    async fn app_password(
        &self,
        mailbox: &Address,
        password: &Secret<String>,
    ) -> Result<Option<Identified>, DirectoryError> {
        let is_right = mailbox.to_string() == HUGO && password.expose() == TELEPHONE;
        Ok(is_right.then(|| Identified {
            means: Means::AppPassword("telephone".to_owned()),
            ..known(HUGO)
        }))
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
            "app" => Ok(Verdict::Known(Identified {
                means: Means::AppPassword("telephone".to_owned()),
                scope: Scope { send: false, read: true },
                network: Network::parse("192.0.2.0/24"),
                ..known(name)
            })),
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
/// An app password of Hugo's.
const TELEPHONE: &str = "abcd-efgh-jkmn-pqrs-tuvw";

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

/// Longer than the first pause, with what was held before it.
const A_WHILE: Duration = Duration::from_secs(90);

#[tokio::test(start_paused = true)]
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
    case.clock.set(case.clock.now().after(A_WHILE));
    assert_eq!(case.from(HOSPITAL, HUGO, "right").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn each_failure_makes_the_next_try_wait_longer_and_holds_nobody_else() {
    let case = Case::new(10);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let began = tokio::time::Instant::now();
        assert_eq!(case.from(HOSPITAL, HUGO, "old").await, Err(Refusal::AuthFailed));
        waits.push(began.elapsed());
        case.clock.set(case.clock.now().after(began.elapsed()));
    }
    assert!(waits.is_sorted() && waits[0].is_zero(), "{waits:?}");
    assert!(waits[7] > Duration::from_secs(1) && waits[7] <= limits::LOGIN_HELD_FOR);
    let began = tokio::time::Instant::now();
    assert_eq!(case.from("198.51.100.7", HUGO, "right").await, Ok(()));
    assert!(began.elapsed().is_zero(), "from elsewhere");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_from_where_they_usually_do_passes_whatever_strangers_did_there() {
    let case = Case::new(1);
    assert_eq!(case.from(HOSPITAL, CLAIRE, "right").await, Ok(()));
    assert_eq!(case.from(HOSPITAL, HUGO, "right").await, Ok(()));
    for number in 0..NAMES_OF_AN_ADDRESS {
        let _ = case.from(HOSPITAL, &format!("a{number}@hopital.mssante.test"), "guess").await;
    }
    let paul = "paul@hopital.mssante.test";
    assert_eq!(case.from(HOSPITAL, paul, "right").await, Err(Refusal::TooManyFromPeer));
    // Hugo must show that he knows his password; Claire did a moment ago.
    assert_eq!(case.from(HOSPITAL, HUGO, "right").await, Ok(()));
    let hashed = case.book.hashed.load(Ordering::Relaxed);
    assert_eq!(case.from(HOSPITAL, CLAIRE, "right").await, Ok(()));
    assert_eq!(case.book.hashed.load(Ordering::Relaxed), hashed);
    // Somebody beside them guesses, and their own telephone has an old password.
    for _ in 0..20 {
        let _ = case.from(HOSPITAL, HUGO, "old").await;
    }
    case.clock.set(case.clock.now().after(Duration::from_secs(2)));
    let began = tokio::time::Instant::now();
    assert_eq!(case.from(HOSPITAL, HUGO, "right").await, Ok(()));
    assert!(began.elapsed() <= limits::LOGIN_HELD_FOR);
}

/// Fifty connections, as many as a door lets in from one address, guess without a pause.
fn flood(case: &Arc<Case>, name: &'static str) -> tokio::task::JoinSet<()> {
    let mut guessing = tokio::task::JoinSet::new();
    for _ in 0..limits::CONNECTIONS_PER_ADDRESS_MAX_DEFAULT {
        let case = Arc::clone(case);
        guessing.spawn(async move {
            loop {
                let _ = case.from(HOSPITAL, name, "guess").await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    guessing
}

/// The stranger sits behind the hospital's one address, beside the owner.
#[tokio::test(start_paused = true)]
async fn a_flood_beside_an_owner_costs_the_right_password_half_a_minute_at_most() {
    let case = Arc::new(Case::new(3));
    assert_eq!(case.from(HOSPITAL, HUGO, "right").await, Ok(()));
    let mut guessing = flood(&case, HUGO);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let longest = limits::LOGIN_LANE_PACE * u32::try_from(limits::LOGIN_LANE_PLACES).unwrap();
    for _ in 0..5 {
        let began = tokio::time::Instant::now();
        assert_eq!(case.from(HOSPITAL, HUGO, "right").await, Ok(()));
        assert!(began.elapsed() <= longest, "{:?}", began.elapsed());
    }
    // Guessing has a pace there.
    let (before, began) = (case.book.hashed.load(Ordering::Relaxed), tokio::time::Instant::now());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let guesses = case.book.hashed.load(Ordering::Relaxed) - before;
    let paced = began.elapsed().as_millis() / limits::LOGIN_LANE_PACE.as_millis();
    assert!(u128::from(guesses) <= paced + 1, "{guesses} in {paced} turns");
    // Nobody else at the address pays for it, not even who comes for the first time.
    assert_eq!(case.from(HOSPITAL, "paul@hopital.mssante.test", "right").await, Ok(()));
    // Elsewhere, where Hugo never was, the same flood gets nowhere at all.
    let elsewhere = case.from("203.0.113.9", HUGO, "guess").await;
    assert_eq!(elsewhere, Err(Refusal::AuthFailed));
    guessing.shutdown().await;
    assert!(case.logins.throttle.is_quiet(), "whoever left a lane left nothing behind");
}

/// Nobody guesses a hundred random bits.
#[tokio::test(start_paused = true)]
async fn an_app_password_is_heard_at_once_whatever_happened_in_its_network() {
    let case = Arc::new(Case::new(1));
    let mut guessing = flood(&case, HUGO);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(case.from(HOSPITAL, HUGO, "right").await, Err(Refusal::TooManyFromPeer));
    let began = tokio::time::Instant::now();
    assert_eq!(case.from(HOSPITAL, HUGO, TELEPHONE).await, Ok(()));
    assert!(began.elapsed().is_zero(), "{:?}", began.elapsed());
    assert_eq!(
        case.from(HOSPITAL, CLAIRE, TELEPHONE).await,
        Err(Refusal::AuthFailed),
        "another mailbox's is a wrong password"
    );
    guessing.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_right_passwords_is_no_quick_way_to_guess() {
    let case = Case::new(1);
    // From where Claire never came, her password is looked at like any other, and counted.
    assert_eq!(case.from("203.0.113.1", CLAIRE, "guess").await, Err(Refusal::AuthFailed));
    let turned_away = Err(Refusal::TooManyFromPeer);
    assert_eq!(case.from("203.0.113.1", CLAIRE, "right").await, turned_away);
    assert_eq!(case.from(HOSPITAL, CLAIRE, "right").await, Ok(()));
    // And beside her, not for ever.
    for _ in 0..200 {
        let _ = case.from(HOSPITAL, CLAIRE, "guess").await;
    }
    let tried = case.logins.throttle.tried(HOSPITAL.parse().unwrap(), CLAIRE);
    assert!(!case.logins.throttle.may_glance(tried));
}

#[tokio::test(start_paused = true)]
async fn guesses_made_at_the_same_time_are_all_counted() {
    let case = Case::new(5);
    let guesses = (0..50).map(|_| case.from(HOSPITAL, HUGO, "guess"));
    let mut waiting: Vec<_> = guesses.map(Box::pin).collect();
    let mut answers = Vec::new();
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
    let hashed = case.book.hashed.load(Ordering::Relaxed);
    assert!((1..=5).contains(&hashed), "{hashed}");
    let away = answers.iter().filter(|each| **each == Err(Refusal::TooManyFromPeer)).count();
    assert_eq!(away, 50 - usize::try_from(hashed).unwrap());
}

#[tokio::test(start_paused = true)]
async fn only_a_wrong_password_costs_an_attempt() {
    let case = Case::new(2);
    for _ in 0..20 {
        assert_eq!(case.from(HOSPITAL, HUGO, "right").await, Ok(()));
        assert_eq!(case.from(HOSPITAL, HUGO, "crowd").await, Err(Refusal::Busy));
    }
    assert_eq!(case.from(HOSPITAL, HUGO, "old").await, Err(Refusal::AuthFailed));
}

#[tokio::test(start_paused = true)]
async fn an_app_password_in_another_network_or_at_another_door_is_a_wrong_one() {
    let case = Case::new(2);
    assert_eq!(case.from("192.0.2.77", HUGO, "app").await, Ok(()));
    let wrong = case.from("198.51.100.7", HUGO, "guess").await;
    assert_eq!(case.from("198.51.100.8", HUGO, "app").await, wrong);
    assert_eq!(case.from("2001:db8::1", HUGO, "app").await, wrong);
    let submission =
        Visitor { entrance: Entrance::Submission, ip: Some(HOSPITAL.parse().unwrap()) };
    let app = Secret::new("app".to_owned());
    let answer = case.logins.login(submission, HUGO, &app).await.map(drop);
    assert_eq!(answer, wrong, "it is for reading");
    // It counts as a wrong one, too.
    let _ = case.from("198.51.100.9", HUGO, "app").await;
    let _ = case.from("198.51.100.9", HUGO, "app").await;
    let answer = case.from("198.51.100.9", HUGO, "app").await;
    assert_eq!(answer, Err(Refusal::TooManyFromPeer));
}
