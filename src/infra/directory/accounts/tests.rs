//! Whose password is remembered, for how long, and what waits for a turn; upgrades of rows; app
//! passwords, holders, last logins.
use aws_lc_rs::hmac;

use super::*;
use crate::domain::login::Entrance;
use crate::domain::mailbox::Listing;
use crate::domain::time::Timestamp;
use crate::infra::clock::ManualClock;
use crate::infra::directory::accounts::app_passwords::NewAppPassword;
use crate::infra::directory::accounts::app_passwords::NoAppPassword;
use crate::infra::directory::accounts::arrivals::LastLogin;
use crate::infra::directory::accounts::holders::NotHeld;
use crate::infra::store::simulated::SimulatedStore;

/// Seals nothing, and still tells one context from another.
pub(in crate::infra::directory) struct NoKeys;

impl KeyDesk for NoKeys {
    fn address_key(&self, address: &Address) -> [u8; 32] {
        let mut key = [0; 32];
        for (place, octet) in address.lookup_form().bytes().enumerate() {
            key[place % 32] ^= octet.rotate_left(u32::try_from(place / 32).unwrap());
        }
        key
    }

    fn seal_identity(&self, clear: &[u8]) -> Vec<u8> {
        clear.to_vec()
    }

    fn open_identity(&self, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        Some(Secret::new(sealed.to_vec()))
    }

    fn seal(&self, context: &[u8], clear: &[u8]) -> Vec<u8> {
        [&context.len().to_be_bytes()[..], context, clear].concat()
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        let head = [&context.len().to_be_bytes()[..], context].concat();
        sealed.strip_prefix(head.as_slice()).map(|clear| Secret::new(clear.to_vec()))
    }

    fn digest(&self, context: &[u8], clear: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, context);
        hmac::sign(&key, clear).as_ref().try_into().unwrap()
    }

    fn mailbox_keys(
        &self,
        _owner: &MailboxId,
        _user_id: &str,
        _has_end: bool,
        _now: Timestamp,
    ) -> Result<(Bytes, Bytes), String> {
        Ok((Bytes::new(), Bytes::new()))
    }
}

const HUGO: &str = "hugo@hopital.mssante.test";

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn on(store: &Arc<SimulatedStore>, clock: &Arc<ManualClock>) -> Accounts {
    let home = Domain::parse("hopital.mssante.test").unwrap();
    let (store, clock) = (Arc::clone(store) as _, Arc::clone(clock) as _);
    Accounts::new(store, Arc::new(NoKeys), clock, home).unwrap()
}

async fn with_hugo() -> (Accounts, Arc<ManualClock>, Address) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
    let accounts = on(&Arc::new(SimulatedStore::new(1)), &clock);
    let address = add(&accounts, HUGO, MailboxKind::Personal).await.address;
    (accounts, clock, address)
}

async fn add(accounts: &Accounts, address: &str, kind: MailboxKind) -> Account {
    let password = secret("first password");
    let new = NewAccount {
        address: Address::parse(address).unwrap(),
        kind,
        listing: Listing::Public,
        display_name: "Dr Hugo".to_owned(),
        password: Some(&password),
    };
    accounts.add(new).await.unwrap()
}

fn is_known(answer: Result<Verdict, DirectoryError>) -> bool {
    matches!(answer, Ok(Verdict::Known(_)))
}

#[tokio::test]
async fn a_login_is_remembered_while_it_is_used_and_as_long_as_the_password_is_the_same() {
    let (accounts, clock, address) = with_hugo().await;
    let first = secret("first password");
    let knows = async |name: &str, password: &Secret<String>| {
        accounts.recently_verified(name, password).await.unwrap().is_some()
    };
    assert!(!knows(HUGO, &first).await, "nobody has logged in yet");
    assert!(is_known(accounts.password(HUGO, &first).await));
    assert!(knows(HUGO, &first).await && knows("hugo", &first).await);
    assert!(!knows(HUGO, &secret("guess")).await);
    assert!(!knows("paul", &first).await);
    clock.set(clock.now().after(VERIFIED_FOR / 2));
    assert!(knows(HUGO, &first).await);
    clock.set(clock.now().after(VERIFIED_FOR / 2));
    assert!(knows(HUGO, &first).await, "it was used half the time ago");
    clock.set(clock.now().after(VERIFIED_FOR));
    assert!(!knows(HUGO, &first).await);

    assert!(is_known(accounts.password(HUGO, &first).await));
    accounts.set_suspended(&address, true).await.unwrap();
    assert!(!knows(HUGO, &first).await, "a closed mailbox");
    accounts.set_suspended(&address, false).await.unwrap();
    accounts.set_password(&address, &secret("second password")).await.unwrap();
    assert!(!knows(HUGO, &first).await, "another password");
}

#[tokio::test]
async fn a_password_that_waits_too_long_for_its_turn_is_put_off() {
    let (accounts, _clock, _address) = with_hugo().await;
    let first = secret("first password");
    assert!(is_known(accounts.password(HUGO, &first).await));
    let turns = u32::try_from(accounts.hashing.turns.available_permits()).unwrap();
    let _all = accounts.hashing.turns.acquire_many(turns).await.unwrap();
    tokio::time::pause();
    let answer = accounts.password(HUGO, &secret("guess")).await;
    assert!(matches!(answer, Err(DirectoryError::Busy)));
    // Who was right a moment ago needs no turn.
    assert!(accounts.recently_verified(HUGO, &first).await.unwrap().is_some());
}

/// What the keys of SCRAM say of a password (RFC 5802 §3).
fn fits(keys: &ScramKeys, password: &str) -> bool {
    let made = scram_keys(&secret(password), &keys.salt);
    *made.stored_key == *keys.stored_key.expose() && *made.server_key == *keys.server_key.expose()
}

#[tokio::test]
async fn a_row_of_version_1_opens_and_becomes_version_2_at_the_next_right_password() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
    let store = Arc::new(SimulatedStore::new(1));
    let accounts = on(&store, &clock);
    let account = add(&accounts, HUGO, MailboxKind::Personal).await;
    let hash = hash_password(&secret("old password")).unwrap();
    let key = rows::key(&account.id);
    let mut batch = Batch::new();
    batch.put(key.clone(), rows::encode_as_version_1(&account, &hash));
    store.commit(batch).await.unwrap();

    let found = accounts.find(&account.address).await.unwrap().unwrap();
    assert_eq!((found.id, &found.display_name), (account.id, &account.display_name));
    assert_eq!(accounts.list().await.unwrap().len(), 1);
    assert!(accounts.scram(HUGO).await.unwrap().is_none(), "nobody knows the password yet");
    assert!(!is_known(accounts.password(HUGO, &secret("guess")).await));
    assert_eq!(store.get(&key).await.unwrap().unwrap().value[0], 1, "a guess writes nothing");

    assert!(is_known(accounts.password(HUGO, &secret("old password")).await));
    let row = store.get(&key).await.unwrap().unwrap().value;
    assert_eq!(row[0], 2);
    assert!(fits(&accounts.scram(HUGO).await.unwrap().unwrap(), "old password"));
    assert!(is_known(accounts.password(HUGO, &secret("old password")).await));
    assert_eq!(accounts.last_login(&account.id).await.unwrap(), LastLogin::Unknown);
}

#[tokio::test]
async fn a_row_of_version_1_that_is_written_for_another_reason_keeps_its_password() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
    let store = Arc::new(SimulatedStore::new(1));
    let accounts = on(&store, &clock);
    let account = add(&accounts, HUGO, MailboxKind::Personal).await;
    let hash = hash_password(&secret("old password")).unwrap();
    let mut batch = Batch::new();
    batch.put(rows::key(&account.id), rows::encode_as_version_1(&account, &hash));
    store.commit(batch).await.unwrap();
    accounts.set_suspended(&account.address, true).await.unwrap();
    assert!(!is_known(accounts.password(HUGO, &secret("old password")).await));
    accounts.set_suspended(&account.address, false).await.unwrap();
    assert!(is_known(accounts.password(HUGO, &secret("old password")).await));
    assert_eq!(accounts.last_login(&account.id).await.unwrap(), LastLogin::Unknown);
}

#[tokio::test]
async fn scram_keys_follow_the_password_and_a_closed_mailbox_has_none() {
    let (accounts, _clock, address) = with_hugo().await;
    let first = accounts.scram("hugo").await.unwrap().unwrap();
    assert!(fits(&first, "first password") && !fits(&first, "second password"));
    assert_eq!(first.iterations, limits::SCRAM_ITERATIONS);
    assert_eq!(first.salt.len(), limits::SCRAM_SALT_OCTETS);
    accounts.set_password(&address, &secret("second password")).await.unwrap();
    let second = accounts.scram(HUGO).await.unwrap().unwrap();
    assert!(fits(&second, "second password") && !fits(&second, "first password"));
    accounts.set_suspended(&address, true).await.unwrap();
    assert!(accounts.scram(HUGO).await.unwrap().is_none());
    assert!(accounts.scram("paul").await.unwrap().is_none());
}

#[test]
fn a_sealed_credential_opens_in_its_own_row_only() {
    let credential = Credential { hash: Zeroizing::new("$argon2id$".to_owned()), scram: None };
    let account = |id| Account {
        id: MailboxId::from_bytes([id; 16]),
        address: Address::parse(HUGO).unwrap(),
        kind: MailboxKind::Personal,
        listing: Listing::Public,
        suspended: false,
        display_name: String::new(),
        certificate: Bytes::new(),
        wrapped_keys: Bytes::new(),
        created: Timestamp::from_seconds(0),
    };
    for (id, opens) in [(1, true), (2, false)] {
        let password = rows::seal(&NoKeys, &MailboxId::from_bytes([1; 16]), &credential);
        let stored = Stored { account: account(id), password, logins_known: true };
        assert_eq!(rows::open(&NoKeys, &stored).is_ok(), opens);
    }
}

/// FEATURES.md, bug class 12 (CVE-2025-30189 and its kind).
#[tokio::test]
async fn two_logins_never_share_an_entry_of_the_memory_of_right_passwords() {
    let verified = Verified::new(VERIFIED_FOR).unwrap();
    let other = Verified::new(VERIFIED_FOR).unwrap();
    let (one, two) = (MailboxId::from_bytes([1; 16]), MailboxId::from_bytes([2; 16]));
    let tags = [
        verified.tag(OWN, &one, &secret("ab"), b"hash"),
        verified.tag(APP, &one, &secret("ab"), b"hash"),
        verified.tag(OWN, &two, &secret("ab"), b"hash"),
        verified.tag(OWN, &one, &secret("abh"), b"ash"),
        verified.tag(OWN, &one, &secret("a"), b"bhash"),
        verified.tag(OWN, &one, &secret("ab"), b"other hash"),
        other.tag(OWN, &one, &secret("ab"), b"hash"),
    ];
    for (place, tag) in tags.iter().enumerate() {
        assert_eq!(tags.iter().position(|other| other == tag), Some(place));
    }
    assert_eq!(tags[0], verified.tag(OWN, &one, &secret("ab"), b"hash"));
}

/// FEATURES.md, bug class 11: whatever stands in a name, it finds its own account or none.
#[tokio::test]
async fn no_login_name_finds_somebody_elses_account() {
    let (accounts, _clock, _address) = with_hugo().await;
    let first = secret("first password");
    let long = "h".repeat(100_000);
    for name in [
        "*",
        "h*",
        "hug?",
        "hugo\0",
        "hugo)(uid=*))(|(uid=*",
        "hugo'--",
        "' or 1=1 --",
        "hugo/",
        "%",
        "hugo@hopital.mssante.test@hopital.mssante.test",
        "a/hugo",
        "",
        " ",
        "@",
        &long,
    ] {
        let answer = accounts.password(name, &first).await;
        assert!(matches!(answer, Ok(Verdict::Stranger)), "{}", &name[..name.len().min(40)]);
        assert!(accounts.recently_verified(name, &first).await.unwrap().is_none());
        assert!(accounts.scram(name).await.unwrap().is_none());
    }
    assert!(is_known(accounts.password("HUGO", &first).await), "letter case is no other name");
}

/// Counted in hash runs, for times say little on a busy machine.
#[tokio::test]
async fn an_unknown_name_a_wrong_password_and_a_closed_mailbox_cost_one_hash_each() {
    let (accounts, _clock, address) = with_hugo().await;
    let app = accounts.add_app_password(&address, telephone(), &Batch::new()).await.unwrap();
    let runs = async |name: &str, password: &Secret<String>| {
        let before = accounts.hashing.runs();
        let _ = accounts.password(name, password).await;
        accounts.hashing.runs() - before
    };
    assert_eq!(runs("nobody", &secret("guess")).await, 1);
    assert_eq!(runs(HUGO, &secret("guess")).await, 1);
    assert_eq!(runs(HUGO, &secret("first password")).await, 1);
    // So that one in a wrong place is answered no sooner than a wrong one.
    assert_eq!(runs(HUGO, &app).await, 1);
    assert_eq!(runs(HUGO, &app).await, 1);
    accounts.set_suspended(&address, true).await.unwrap();
    assert_eq!(runs(HUGO, &secret("first password")).await, 1);
}

fn telephone() -> NewAppPassword {
    NewAppPassword {
        name: "telephone".to_owned(),
        scope: Scope { send: false, read: true },
        network: Network::parse("192.0.2.0/24"),
        until: None,
        author: "root".to_owned(),
    }
}

#[tokio::test]
async fn an_app_password_says_what_it_is_good_for_until_it_ends_or_is_revoked() {
    let (accounts, clock, address) = with_hugo().await;
    let none = Batch::new();
    let new = NewAppPassword { until: Some(clock.now().after(DAY)), ..telephone() };
    let shown = accounts.add_app_password(&address, new, &none).await.unwrap();
    assert_eq!(shown.expose().len(), 24, "five groups of four");
    let Ok(Verdict::Known(identified)) = accounts.password(HUGO, &shown).await else {
        panic!("it is right");
    };
    assert_eq!(identified.means, Means::AppPassword("telephone".to_owned()));
    assert_eq!(identified.scope, Scope { send: false, read: true });
    assert_eq!(identified.network, Network::parse("192.0.2.0/24"));
    assert_eq!(identified.mailboxes, vec![address.clone()]);
    let typed = secret(&shown.expose().to_uppercase().replace('-', " "));
    assert!(is_known(accounts.password(HUGO, &typed).await), "as people type it");
    assert!(accounts.recently_verified(HUGO, &shown).await.unwrap().is_some());
    assert!(is_known(accounts.password(HUGO, &secret("first password")).await));
    // Another mailbox's is none.
    add(&accounts, "paul@hopital.mssante.test", MailboxKind::Personal).await;
    assert!(!is_known(accounts.password("paul", &shown).await));

    clock.set(clock.now().after(DAY));
    assert!(!is_known(accounts.password(HUGO, &shown).await), "it is over");
    assert!(accounts.recently_verified(HUGO, &shown).await.unwrap().is_none());
    let again = accounts.add_app_password(&address, telephone(), &none).await.unwrap();
    assert!(is_known(accounts.password(HUGO, &again).await), "the name is free again");
    accounts.revoke_app_password(&address, "telephone", &none).await.unwrap();
    assert!(!is_known(accounts.password(HUGO, &again).await));
    assert!(accounts.recently_verified(HUGO, &again).await.unwrap().is_none(), "at once");
}

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn an_app_password_works_with_scram_as_well_as_the_password_beside_it() {
    let (accounts, _clock, address) = with_hugo().await;
    let none = Batch::new();
    let shown = accounts.add_app_password(&address, telephone(), &none).await.unwrap();
    accounts.set_password(&address, &secret("second password")).await.unwrap();
    let keys = accounts.scram(HUGO).await.unwrap().unwrap();
    assert!(fits(&keys, "second password"));
    assert_eq!(keys.app_passwords.len(), 1);
    let made = scram_keys(&shown, &keys.salt);
    assert_eq!(*made.stored_key, *keys.app_passwords[0].stored_key.expose());
    assert_eq!(keys.app_passwords[0].identified.means.name(), "app-password");
    accounts.revoke_app_password(&address, "telephone", &none).await.unwrap();
    assert!(accounts.scram(HUGO).await.unwrap().unwrap().app_passwords.is_empty());
}

#[tokio::test]
async fn app_passwords_are_named_bounded_and_not_for_patients() {
    let (accounts, clock, address) = with_hugo().await;
    let none = Batch::new();
    let add_one = async |new| accounts.add_app_password(&address, new, &none).await.map(drop);
    let named = |name: &str| NewAppPassword { name: name.to_owned(), ..telephone() };
    for bad in ["", " ", "a\nb\n", &"x".repeat(65)] {
        assert!(matches!(add_one(named(bad)).await, Err(NoAppPassword::BadName)));
    }
    let nothing = NewAppPassword { scope: Scope { send: false, read: false }, ..telephone() };
    assert!(matches!(add_one(nothing).await, Err(NoAppPassword::ForNothing)));
    let over = NewAppPassword { until: Some(clock.now()), ..telephone() };
    assert!(matches!(add_one(over).await, Err(NoAppPassword::BadEnd)));
    assert!(add_one(telephone()).await.is_ok());
    assert!(matches!(add_one(telephone()).await, Err(NoAppPassword::NameTaken)));
    let unknown = accounts.revoke_app_password(&address, "tablet", &none).await;
    assert!(matches!(unknown, Err(NoAppPassword::Unknown)));

    let patient = "279035121518989@patient.mssante.test";
    add(&accounts, patient, MailboxKind::Citizen).await;
    let patient = Address::parse(patient).unwrap();
    let answer = accounts.add_app_password(&patient, telephone(), &none).await;
    assert!(matches!(answer, Err(NoAppPassword::OfAPatient)));
}

#[tokio::test]
async fn a_use_is_shown_at_once_and_written_once_an_hour() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
    let store = Arc::new(SimulatedStore::new(1));
    let accounts = on(&store, &clock);
    let account = add(&accounts, HUGO, MailboxKind::Personal).await;
    accounts.add_app_password(&account.address, telephone(), &Batch::new()).await.unwrap();
    let arrive = async |accounts: &Accounts, entrance| {
        let arrival = Arrival {
            mailbox: account.id,
            means: Means::AppPassword("telephone".to_owned()),
            entrance,
            ip: Some("192.0.2.9".parse().unwrap()),
            at: clock.now(),
        };
        accounts.arrived(&arrival).await;
    };
    assert_eq!(accounts.last_login(&account.id).await.unwrap(), LastLogin::Never);
    arrive(&accounts, Entrance::Imap).await;
    let first = clock.now();
    clock.set(first.after(Duration::from_secs(600)));
    arrive(&accounts, Entrance::Pop3).await;
    let listed = accounts.app_passwords(&account.id).await.unwrap();
    let used = listed[0].used.clone().unwrap();
    assert_eq!((used.at, used.door.as_str()), (clock.now(), "pop3"));
    let last = |at, door: &str| LastLogin::At { at, door: door.to_owned() };
    assert_eq!(accounts.last_login(&account.id).await.unwrap(), last(clock.now(), "pop3"));

    // What another process finds: the first of the hour.
    let restarted = on(&store, &clock);
    assert_eq!(restarted.last_login(&account.id).await.unwrap(), last(first, "imap"));
    let used = restarted.app_passwords(&account.id).await.unwrap()[0].used.clone().unwrap();
    assert_eq!((used.at, used.door.as_str()), (first, "imap"));
    clock.set(first.after(limits::LAST_LOGIN_EVERY));
    arrive(&restarted, Entrance::Submission).await;
    let later = on(&store, &clock);
    assert_eq!(later.last_login(&account.id).await.unwrap(), last(clock.now(), "submission"));
}

#[tokio::test]
async fn the_networks_of_a_mailbox_are_known_after_a_restart_and_are_few() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
    let store = Arc::new(SimulatedStore::new(1));
    let accounts = on(&store, &clock);
    let account = add(&accounts, HUGO, MailboxKind::Personal).await;
    let network = |third: u8| Network::parse(&format!("198.51.{third}.0/24")).unwrap();
    for third in 0..10 {
        let arrival = Arrival {
            mailbox: account.id,
            means: Means::Password,
            entrance: Entrance::Imap,
            ip: Some([198, 51, third, 7].into()),
            at: clock.now(),
        };
        accounts.arrived(&arrival).await;
    }
    for accounts in [&accounts, &on(&store, &clock)] {
        assert!(accounts.is_usual(HUGO, network(9)).await);
        assert!(accounts.is_usual("hugo", network(2)).await);
        assert!(!accounts.is_usual(HUGO, network(1)).await, "eight are kept");
        assert!(!accounts.is_usual(HUGO, network(77)).await);
        assert!(!accounts.is_usual("nobody", network(9)).await);
    }
}

#[tokio::test]
async fn a_personal_mailbox_has_one_holder_and_a_team_several() {
    let (accounts, _clock, hugo) = with_hugo().await;
    let team = add(&accounts, "cardio@hopital.mssante.test", MailboxKind::Organisational).await;
    let patient =
        add(&accounts, "279035121518989@patient.mssante.test", MailboxKind::Citizen).await;
    let [one, two] = ["810001045367", "899700245667"].map(|id| NationalId::parse(id).unwrap());
    let none = Batch::new();
    accounts.add_holder(&hugo, &one, &none).await.unwrap();
    assert!(matches!(accounts.add_holder(&hugo, &two, &none).await, Err(NotHeld::HasOne)));
    accounts.add_holder(&team.address, &one, &none).await.unwrap();
    accounts.add_holder(&team.address, &two, &none).await.unwrap();
    let again = accounts.add_holder(&team.address, &two, &none).await;
    assert!(matches!(again, Err(NotHeld::Already)));
    let of_patient = accounts.add_holder(&patient.address, &one, &none).await;
    assert!(matches!(of_patient, Err(NotHeld::OfAPatient)));

    let held = async |id: &str| accounts.held_by(id).await.unwrap();
    assert_eq!(held("810001045367").await, vec![hugo.clone(), team.address.clone()]);
    assert_eq!(held("899700245667").await, vec![team.address.clone()]);
    assert!(held("899700245668").await.is_empty() && held("").await.is_empty());
    let holders = accounts.holders(&team.id).await.unwrap();
    assert_eq!(holders.iter().map(|one| &one.national_id).collect::<Vec<_>>(), [&one, &two]);

    accounts.remove_holder(&hugo, &one, &none).await.unwrap();
    let gone = accounts.remove_holder(&hugo, &one, &none).await;
    assert!(matches!(gone, Err(NotHeld::NoHolder)));
    assert_eq!(held("810001045367").await, vec![team.address.clone()]);
    accounts.add_holder(&hugo, &two, &none).await.unwrap();
}

#[tokio::test]
async fn of_two_who_become_the_one_holder_at_once_one_does() {
    let (accounts, _clock, hugo) = with_hugo().await;
    let [one, two] = ["810001045367", "899700245667"].map(|id| NationalId::parse(id).unwrap());
    let none = Batch::new();
    let (first, second) = tokio::join!(
        accounts.add_holder(&hugo, &one, &none),
        accounts.add_holder(&hugo, &two, &none)
    );
    assert_eq!(u8::from(first.is_ok()) + u8::from(second.is_ok()), 1);
}
