//! As an operator I may lose power at any moment and still lose no letter that was acknowledged,
//! and find none twice.
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use vaguemestre::demo::client::Submission;

use crate::support::letters;
use crate::support::letters::Dice;
use crate::support::running;
use crate::support::running::Running;

const ROUNDS: usize = 20;
const CONNECTIONS: usize = 4;
const FROM: &str = "hugo.oreade@hopital.mssante.test";
const HERE: &str = "claire.fontaine@hopital.mssante.test";
const THERE: &str = "paul.verdier@cabinet.mssante.test";

/// What a client knows of a letter that got its 250.
#[derive(Clone, Debug)]
struct Acknowledged {
    id: String,
    octets: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_letter_is_in_its_mailboxes_exactly_once() {
    let mut dice = Dice(letters::seed());
    let folder = tempfile::tempdir().unwrap();
    let base = running::free_port_base();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    for round in 0..ROUNDS {
        let mut running = Running::start(folder.path(), base, &[]);
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (door, tls) = (running.door(0, "submissions"), running.tls());
                let password = running.password(FROM);
                let seen = Arc::clone(&acknowledged);
                let mut dice = Dice(dice.below(u64::MAX));
                tokio::spawn(async move {
                    let Ok(mut session) = Submission::open(door, &tls, FROM, &password).await
                    else {
                        return;
                    };
                    loop {
                        let id = letters::message_id();
                        // Small ones ride in the commit, large ones are files.
                        let octets = [500, 4_000, 60_000, 300_000][dice.below(4) as usize];
                        let letter = letters::letter(FROM, HERE, &id, octets);
                        let octets = letter.len();
                        match session.send(FROM, &[HERE, THERE], &letter).await {
                            Ok(_) => seen.lock().unwrap().push(Acknowledged { id, octets }),
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50 + dice.below(900))).await;
        running.kill();
        for client in clients {
            let _ = client.await;
        }
        println!("round {round}: {} acknowledged so far", acknowledged.lock().unwrap().len());
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > ROUNDS, "the rounds acknowledged too little to prove anything");
    let running = Running::start(folder.path(), base, &[]);
    check(&running, 0, HERE, &acknowledged).await;
    check(&running, 1, THERE, &acknowledged).await;
}

/// Each acknowledged letter is there once, whole; every other that is there is whole as well.
async fn check(running: &Running, operator: usize, user: &str, acknowledged: &[Acknowledged]) {
    let mut imap = running.imap(operator, user).await;
    // Letters for the other operator may still be under way.
    for _ in 0..1_800 {
        imap.command("SELECT INBOX").await.unwrap();
        let listed = imap.command("FETCH 1:* (ENVELOPE)").await.unwrap();
        let listed = String::from_utf8_lossy(&listed.concat()).into_owned();
        if acknowledged.iter().all(|letter| listed.contains(&letter.id)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    imap.command("SELECT INBOX").await.unwrap();
    let all = imap.command("UID FETCH 1:* (RFC822.SIZE BODY.PEEK[])").await.unwrap();
    let mut whole = std::collections::HashMap::new();
    for response in &all {
        let text = String::from_utf8_lossy(response);
        let Some(id) = text.lines().find_map(|line| line.strip_prefix("Message-ID: ")) else {
            continue;
        };
        let content = text.split_once("Subject: Compte rendu").map(|(_, rest)| rest.len());
        let copies = whole.entry(id.trim().to_owned()).or_insert((0, 0));
        *copies = (copies.0 + 1, content.unwrap_or(0));
    }
    for letter in acknowledged {
        let (copies, octets) = whole.get(&letter.id).copied().unwrap_or((0, 0));
        assert_eq!(copies, 1, "{letter:?} for {user}");
        assert!(octets + 300 > letter.octets, "{letter:?} for {user} has {octets} octets only");
    }
    assert!(whole.values().all(|(copies, _)| *copies == 1), "an unacknowledged letter came twice");
}
