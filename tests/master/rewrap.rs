//! Thousands of mailboxes are wrapped anew by a relay that is killed again and again.
use std::fs;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::flow::office::Office;
use vaguemestre::flow::rewrap;
use vaguemestre::flow::rewrap::Outcome;
use vaguemestre::infra::config::Config;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::infra::keys::Keyring;
use vaguemestre::infra::keys::master::Cursor;
use vaguemestre::infra::store::Batch;
use vaguemestre::relay;

use super::HOST;
use super::LUNE;
use super::first_key;
use super::letter;
use super::text;
use super::use_keys;
use super::versions;
use super::write_key;
use crate::support::serving::Serving;
use crate::support::serving::Space;

const MAILBOXES: u32 = 4_000;
const ROUNDS_MAX: u32 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_while_it_wraps_keys_anew_goes_on_and_loses_none() {
    let space = Space::of(&[HOST]);
    let mut serving = super::relay(&space).start(&[LUNE]);
    letter(&serving, "avant").await;
    serving.stop();
    fill(&serving, MAILBOXES).await;
    let (first, second) = (text(&first_key(&serving)), serving.folder.join("master-2.key"));
    write_key(&second, 2);
    use_keys(&serving, &text(&second), &[&first]);

    let mut interrupted = 0;
    for round in 1..=ROUNDS_MAX {
        start_and_kill(&serving, Duration::from_millis(u64::from(round * 40)));
        let cursor = all_open(&serving).await;
        match &cursor {
            Some(cursor) if cursor.ended.is_some() => break,
            Some(cursor) if cursor.done > 0 => interrupted += 1,
            _ => {}
        }
        assert!(round < ROUNDS_MAX, "it never comes to its end: {cursor:?}");
        if interrupted == 3 {
            break;
        }
    }
    assert!(interrupted > 0, "it was over before it could be interrupted");
    let log = fs::read_to_string(serving.folder.join("log.txt")).unwrap();
    assert!(log.contains("wrapping keys anew goes on"), "it began from the first mailbox again");

    serving.begin();
    letter(&serving, "pendant").await;
    serving.add_mailbox("dr.soleil@hopital.mssante.test");
    serving.said(&["keys", "master", "rewrap"]);
    // Two mailboxes with people, the spool's key, the organisation's.
    let all = u64::from(MAILBOXES) + 4;
    assert_eq!(versions(&serving), [(1, "retired".to_owned(), 0), (2, "current".to_owned(), all)]);
    serving.stop();
    fs::remove_file(&first).unwrap();
    use_keys(&serving, &text(&second), &[]);
    all_open(&serving).await;
    serving.begin();
    assert_eq!(serving.inbox(LUNE).await.len(), 2);
}

/// Mailboxes of the tests that need no killing: more than two commits of a walk.
const SOME: u32 = 1_200;

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_is_cut_short_goes_on_behind_its_last_commit() {
    let space = Space::of(&[HOST]);
    let serving = changed(&space).await;
    let office = offline(&serving).await;
    let (cut, mut on_cut) = tokio::sync::mpsc::unbounded_channel();
    tokio::select! {
        _ = rewrap::to_end(&office, |cursor| if cursor.done >= 500 { let _ = cut.send(()); }) => {
            panic!("it came to its end");
        }
        _ = on_cut.recv() => {}
    }
    let before = office.rewrapping.progress().await.unwrap().unwrap();
    assert!(before.done > 0 && before.ended.is_none(), "{before:?}");
    drop(office);
    let office = offline(&serving).await;
    let mut first = None;
    let outcome = rewrap::to_end(&office, |cursor| {
        first.get_or_insert(cursor.done);
    });
    assert!(matches!(outcome.await.unwrap(), Outcome::Done(versions) if versions.len() == 1));
    assert!(first >= Some(before.done), "{first:?} after {}", before.done);
    assert_eq!(rewrap::to_end(&office, |_| {}).await.unwrap(), Outcome::Nothing);
    let counted = rewrap::count(office.store.as_ref()).await.unwrap();
    assert_eq!(counted.into_keys().collect::<Vec<_>>(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_change_during_a_walk_keep_their_change_and_are_wrapped_anew() {
    let space = Space::of(&[HOST]);
    let serving = changed(&space).await;
    let office = offline(&serving).await;
    let mut tasks = JoinSet::new();
    for number in (0..SOME).step_by(7) {
        let office = Arc::clone(&office);
        tasks.spawn(async move {
            let address = Address::parse(&format!("m{number}@{HOST}")).unwrap();
            office.accounts.set_suspended(&address, true).await.unwrap();
        });
    }
    let outcome = rewrap::to_end(&office, |_| {}).await.unwrap();
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let accounts = office.accounts.list().await.unwrap();
    let suspended = accounts.iter().filter(|account| account.suspended).count();
    assert_eq!(suspended, (SOME as usize).div_ceil(7));
    for account in accounts {
        assert_eq!(Keyring::version_of(&account.wrapped_keys), Some(2));
        office.keys.unlock(&account.id, &account.wrapped_keys).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_open_stops_no_other_and_keeps_its_version_needed() {
    let space = Space::of(&[HOST]);
    let serving = changed(&space).await;
    let office = offline(&serving).await;
    let account = office.accounts.list().await.unwrap().remove(SOME as usize / 2);
    let key = [b"A/".as_slice(), account.id.as_bytes()].concat();
    let row = office.store.get(&key).await.unwrap().unwrap();
    let mut value = row.value.to_vec();
    let wrapped = &account.wrapped_keys;
    let at = value.windows(wrapped.len()).position(|part| part == wrapped.as_ref()).unwrap();
    value[at + wrapped.len() / 2] ^= 1;
    let mut batch = Batch::new();
    batch.put(key, value);
    office.store.commit(batch).await.unwrap();

    let outcome = rewrap::to_end(&office, |_| {}).await.unwrap();
    assert_eq!(outcome, Outcome::Left(1));
    drop(office);
    let left = versions(&serving);
    assert_eq!((left[0].1.as_str(), left[0].2), ("old", 1));
    let output = serving.command(&["keys", "master", "rewrap"]);
    let said = crate::support::running::said(&output);
    assert!(!output.status.success() && said.contains("Keep the older master keys"), "{said}");

    // An administrator hears which one it is, and can end it.
    let address = account.address.to_string();
    let said = serving.said(&["keys", "master", "status"]);
    assert!(said.contains(&format!("The key of {address} does not open")), "{said}");
    let refused = serving.command(&["keys", "master", "give-up", LUNE, "--reason", "by mistake"]);
    let said = crate::support::running::said(&refused);
    assert!(!refused.status.success(), "{said}");
    serving.said(&["keys", "master", "give-up", &address, "--reason", "no backup has it"]);
    let said = serving.said(&["keys", "master", "rewrap"]);
    assert!(said.contains("Everything is wrapped by version 2"), "{said}");
    assert_eq!(versions(&serving)[0].1, "retired");
    let journal = serving.said(&["admin", "journal"]);
    assert!(journal.contains("keys master give-up"), "{journal}");
}

/// A stopped relay with some mailboxes, whose master key has just been changed.
async fn changed(space: &Space) -> Serving<'_> {
    let mut serving = super::relay(space).start(&[]);
    serving.stop();
    fill(&serving, SOME).await;
    let (first, second) = (text(&first_key(&serving)), serving.folder.join("master-2.key"));
    write_key(&second, 2);
    use_keys(&serving, &text(&second), &[&first]);
    serving
}

async fn offline(serving: &Serving<'_>) -> Arc<Office> {
    relay::offline(&Config::load(&serving.config()).unwrap()).await.unwrap()
}

/// Many mailboxes, by the shortest way.
async fn fill(serving: &Serving<'_>, mailboxes: u32) {
    let office = offline(serving).await;
    let mut tasks = JoinSet::new();
    for number in 0..mailboxes {
        let office = Arc::clone(&office);
        tasks.spawn(async move {
            let new = NewAccount {
                address: Address::parse(&format!("m{number}@{HOST}")).unwrap(),
                kind: MailboxKind::Organisational,
                listing: Listing::RedList,
                display_name: String::new(),
                password: None,
            };
            office.accounts.add(new).await.unwrap();
        });
    }
    while let Some(made) = tasks.join_next().await {
        made.unwrap();
    }
}

/// Starts the relay, and SIGKILL so long after it began, or went on.
fn start_and_kill(serving: &Serving<'_>, wait: Duration) {
    let path = serving.folder.join("log.txt");
    let log = fs::File::options().create(true).append(true).open(&path).unwrap();
    let before = fs::metadata(&path).unwrap().len() as usize;
    let mut child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
        .args(["serve", "--config", serving.config().to_str().unwrap()])
        .env("VAGUEMESTRE_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    for _ in 0..10_000 {
        let log = fs::read(&path).unwrap();
        let log = String::from_utf8_lossy(&log[before..]).into_owned();
        // `is wrapped`: nothing was left to do.
        if log.contains("wrapping keys anew") || log.contains("nothing is wrapped by") {
            break;
        }
        assert_eq!(child.try_wait().unwrap(), None, "{log}");
        std::thread::sleep(Duration::from_millis(3));
    }
    std::thread::sleep(wait);
    let _ = child.kill();
    let _ = child.wait();
}

/// Opens the keys of every mailbox; answers how far the walk is.
async fn all_open(serving: &Serving<'_>) -> Option<Cursor> {
    let office = offline(serving).await;
    let accounts = office.accounts.list().await.unwrap();
    assert!(accounts.len() > MAILBOXES as usize);
    for account in accounts {
        office.keys.unlock(&account.id, &account.wrapped_keys).unwrap();
    }
    let counted = rewrap::count(office.store.as_ref()).await.unwrap();
    println!("keys by version: {counted:?}");
    office.rewrapping.progress().await.unwrap()
}
