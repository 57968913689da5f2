//! Who is in the book, and how they leave it.
use bytes::Bytes;

use super::*;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::mailbox::Listing;
use crate::infra::clock::ManualClock;
use crate::infra::directory::Account;

const NOW: Timestamp = Timestamp::from_seconds(1_795_388_399);
const VISITOR: Visitor = Visitor { entrance: Entrance::Imap, ip: None };

fn login(number: u8, means: Means) -> Login {
    let account = Account {
        id: MailboxId::from_bytes([number; 16]),
        address: Address::parse("a@hopital.test").unwrap(),
        kind: MailboxKind::Personal,
        listing: Listing::Public,
        suspended: false,
        display_name: String::new(),
        certificate: Bytes::new(),
        wrapped_keys: Bytes::new(),
        created: NOW,
    };
    let (scope, began) = (Scope::ALL, Cuts::default());
    Login { account, source: Source::Local, means, scope, until: None, began, voucher: None }
}

fn sessions() -> (Sessions, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(NOW));
    let times = TokenTimes { session: Duration::from_secs(600), idle: Duration::from_secs(60) };
    (Sessions::new(Arc::clone(&clock) as _, times), clock)
}

#[tokio::test]
async fn a_session_is_in_the_book_from_its_login_to_its_end() {
    let (sessions, clock) = sessions();
    let seat = sessions.seat();
    assert!(sessions.list(None).is_empty());
    seat.take(VISITOR, &login(1, Means::Password)).unwrap();
    clock.set(NOW.after(Duration::from_secs(5)));
    seat.touch();
    let listed = sessions.list(Some(&MailboxId::from_bytes([1; 16])));
    assert_eq!((listed[0].since, listed[0].used), (NOW, NOW.after(Duration::from_secs(5))));
    assert!(sessions.list(Some(&MailboxId::from_bytes([2; 16]))).is_empty());
    seat.leave();
    assert!(sessions.list(None).is_empty());
    seat.take(VISITOR, &login(2, Means::Password)).unwrap();
    let clone = seat.clone();
    drop(seat);
    assert_eq!(sessions.list(None).len(), 1, "the connection is still there");
    drop(clone);
    assert!(sessions.list(None).is_empty());
}

#[tokio::test]
async fn a_revoked_app_password_ends_its_own_sessions_and_no_other() {
    let (sessions, _) = sessions();
    let seats: Vec<Seat> = (0..4).map(|_| sessions.seat()).collect();
    let app = |name: &str| Means::AppPassword(name.to_owned());
    seats[0].take(VISITOR, &login(1, app("phone"))).unwrap();
    seats[1].take(VISITOR, &login(1, app("tablet"))).unwrap();
    seats[2].take(VISITOR, &login(2, app("phone"))).unwrap();
    seats[3].take(VISITOR, &login(1, Means::Password)).unwrap();
    let one = MailboxId::from_bytes([1; 16]);
    assert_eq!(sessions.end_app_password(&one, "phone"), 1);
    assert_eq!(seats[0].over().await, Over::Ended);
    assert!(seats[1..].iter().all(|seat| seat.is_over().is_none()));
    assert_eq!(sessions.end_mailbox(&one), 2);
    assert_eq!(sessions.list(None).len(), 1);
    let last = sessions.list(None)[0].id;
    assert_eq!(sessions.end(&last).map(|one| one.id), Some(last));
    assert!(sessions.end(&last).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_session_of_a_token_ends_when_nothing_moves_and_in_any_case_in_the_end() {
    let (sessions, clock) = sessions();
    let seat = sessions.seat();
    seat.take(VISITOR, &login(1, Means::Token)).unwrap();
    for step in 1..=11 {
        clock.set(NOW.after(Duration::from_secs(50 * step)));
        assert_eq!(seat.is_over(), None);
        seat.touch();
    }
    clock.set(NOW.after(Duration::from_secs(600)));
    assert_eq!(seat.over().await, Over::TokenSpent);
    let idle = sessions.seat();
    idle.take(VISITOR, &login(1, Means::Token)).unwrap();
    clock.set(NOW.after(Duration::from_secs(660)));
    assert_eq!(idle.over().await, Over::TokenIdle);
    let by_password = sessions.seat();
    by_password.take(VISITOR, &login(1, Means::Password)).unwrap();
    clock.set(NOW.after(Duration::from_secs(1_000_000)));
    assert_eq!(by_password.is_over(), None);
}

#[tokio::test(start_paused = true)]
async fn work_that_does_not_hear_is_cut_after_a_moment() {
    let (sessions, _) = sessions();
    let seat = sessions.seat();
    seat.take(VISITOR, &login(1, Means::Password)).unwrap();
    assert_eq!(seat.unless_over(async { 1 }).await, Some(1));
    sessions.end_mailbox(&MailboxId::from_bytes([1; 16]));
    assert_eq!(seat.unless_over(std::future::pending::<()>()).await, None);
}

#[tokio::test]
async fn a_provider_ends_what_its_person_began_and_nothing_of_a_co_holder() {
    let (sessions, _) = sessions();
    let seat = |subject: &str, sid: Option<&str>| {
        let seat = sessions.seat();
        let voucher = Voucher { subject: subject.to_owned(), sid: sid.map(str::to_owned) };
        let login = Login { voucher: Some(voucher), ..login(1, Means::Token) };
        seat.take(VISITOR, &login).unwrap();
        seat
    };
    let (eloise, phone, other) =
        (seat("eloise", None), seat("eloise", Some("phone")), seat("eloise", Some("desk")));
    let hugo = seat("hugo", None);
    let own_password = sessions.seat();
    own_password.take(VISITOR, &login(1, Means::Password)).unwrap();
    assert_eq!(sessions.end_vouched(None, None), 0, "a message that names nobody");
    assert_eq!(sessions.end_vouched(Some("phone"), Some("hugo")), 1, "hugo's token has no sid");
    assert_eq!(hugo.is_over(), Some(Over::Ended));
    assert_eq!(sessions.end_vouched(Some("phone"), None), 1);
    assert_eq!(phone.is_over(), Some(Over::Ended));
    // Which session a token is of is not said: then it is the person who counts.
    assert_eq!(sessions.end_vouched(Some("phone"), Some("eloise")), 1);
    assert_eq!((eloise.is_over(), other.is_over()), (Some(Over::Ended), None));
    assert_eq!(sessions.end_vouched(None, Some("eloise")), 1);
    assert_eq!((other.is_over(), own_password.is_over()), (Some(Over::Ended), None));
}

#[tokio::test]
async fn whoever_was_looked_at_while_it_was_cut_off_takes_no_seat() {
    let (sessions, _) = sessions();
    let (mailbox, app) =
        (MailboxId::from_bytes([1; 16]), |name: &str| Means::AppPassword(name.to_owned()));
    let begun = |means: Means| Login { began: sessions.cuts(), ..login(1, means) };
    let (phone, tablet, own) = (begun(app("phone")), begun(app("tablet")), begun(Means::Password));
    assert_eq!(sessions.end_app_password(&mailbox, "phone"), 0);
    let takes = |login: &Login| sessions.seat().take(VISITOR, login);
    assert_eq!(takes(&phone), Err(Refusal::AuthFailed));
    assert_eq!((takes(&tablet), takes(&own)), (Ok(()), Ok(())));
    // A new one of the same name is another one.
    assert_eq!(takes(&begun(app("phone"))), Ok(()));
    sessions.end_mailbox(&mailbox);
    assert_eq!(takes(&own), Err(Refusal::AuthFailed));
    // So much happened meanwhile that nobody can tell.
    let patient = begun(Means::Password);
    for _ in 0..=limits::LIVE_SESSION_CUTS_MAX {
        sessions.end_mailbox(&MailboxId::from_bytes([9; 16]));
    }
    assert_eq!(takes(&patient), Err(Refusal::AuthFailed));
    assert_eq!(takes(&begun(Means::Password)), Ok(()));
}
