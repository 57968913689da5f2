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
use vaguemestre::flow::rewrap;
use vaguemestre::infra::config::Config;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::infra::keys::master::Cursor;
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
    fill(&serving).await;
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
    let all = u64::from(MAILBOXES) + 3;
    assert_eq!(versions(&serving), [(1, "retired".to_owned(), 0), (2, "current".to_owned(), all)]);
    serving.stop();
    fs::remove_file(&first).unwrap();
    use_keys(&serving, &text(&second), &[]);
    all_open(&serving).await;
    serving.begin();
    assert_eq!(serving.inbox(LUNE).await.len(), 2);
}

/// Many mailboxes, by the shortest way.
async fn fill(serving: &Serving<'_>) {
    let config = Config::load(&serving.config()).unwrap();
    let office = relay::offline(&config).await.unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..MAILBOXES {
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
    let config = Config::load(&serving.config()).unwrap();
    let office = relay::offline(&config).await.unwrap();
    let accounts = office.accounts.list().await.unwrap();
    assert!(accounts.len() > MAILBOXES as usize);
    for account in accounts {
        office.keys.unlock(&account.id, &account.wrapped_keys).unwrap();
    }
    let counted = rewrap::count(office.store.as_ref()).await.unwrap();
    println!("keys by version: {counted:?}");
    office.rewrapping.progress().await.unwrap()
}
