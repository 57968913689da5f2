//! What filters do to letters that arrive, and what survives a kill.
use std::path::Path;
use std::time::Duration;

use super::AMINE;
use super::CLAIRE;
use super::HUGO;
use super::PAUL;
use super::client::Client;
use crate::support::letters;
use crate::support::running::Running;

async fn send(running: &Running, from: &str, to: &str, subject: &str) -> String {
    let id = letters::message_id();
    let letter = String::from_utf8(letters::letter(from, to, &id, 600)).unwrap();
    let letter = letter.replace("Compte rendu\r\n", &format!("{subject}\r\n"));
    let mut submission = running.submission(0, from).await;
    submission.send(from, &[to], letter.as_bytes()).await.unwrap();
    id
}

/// All letters of a folder, whole, with their marks; empty when there is no such folder.
async fn folder(running: &Running, operator: usize, user: &str, name: &str) -> Vec<String> {
    let mut imap = running.imap(operator, user).await;
    if imap.command(&format!("SELECT \"{name}\"")).await.is_err() {
        return Vec::new();
    }
    let found = imap.command("UID FETCH 1:* (FLAGS BODY.PEEK[])").await.unwrap();
    let letters = found.iter().filter(|line| line.windows(5).any(|five| five == b"BODY["));
    letters.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

async fn wait_for(running: &Running, operator: usize, user: &str, text: &str) -> String {
    for _ in 0..150 {
        let inbox = folder(running, operator, user, "INBOX").await;
        if let Some(letter) = inbox.into_iter().find(|letter| letter.contains(text)) {
            return letter;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("no letter with {text:?} in {user}'s inbox\n{}", running.log());
}

async fn holds(running: &Running, user: &str, name: &str, id: &str) -> bool {
    folder(running, 0, user, name).await.iter().any(|letter| letter.contains(id))
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_lie_where_the_filter_says_and_none_vanishes() {
    let running = Running::new(&[]);
    let mut client = Client::logged_in(&running, 0, CLAIRE).await;
    client
        .activate(
            "require [\"fileinto\", \"mailbox\", \"imap4flags\", \"copy\", \"body\", \"envelope\"];\r\n\
             if header :contains \"subject\" \"biologie\" {\r\n\
               fileinto :copy :create :flags [\"\\\\Flagged\", \"$Work\"] \"Labo/Biologie\";\r\n\
             } elsif header :is \"subject\" \"rien\" { discard; }\r\n\
             elsif header :is \"subject\" \"ailleurs\" { fileinto \"Nulle part\"; }\r\n\
             elsif allof (header :is \"subject\" \"corps\", body :contains \"confraternellement\",\r\n\
               envelope \"from\" \"hugo.oreade@hopital.mssante.test\") { setflag \"\\\\Seen\"; }\r\n\
             elsif header :is \"subject\" \"trop\" { redirect \"a@gmail.test\"; }\r\n",
        )
        .await;
    let id = send(&running, HUGO, CLAIRE, "Resultats de biologie").await;
    let filed = folder(&running, 0, CLAIRE, "Labo/Biologie").await;
    assert!(filed.len() == 1 && filed[0].contains(&id), "{filed:?}");
    assert!(filed[0].contains("\\Flagged") && filed[0].contains("$Work"), "{filed:?}");
    assert!(holds(&running, CLAIRE, "INBOX", &id).await);
    let id = send(&running, HUGO, CLAIRE, "rien").await;
    assert!(holds(&running, CLAIRE, "Trash", &id).await);
    assert!(!holds(&running, CLAIRE, "INBOX", &id).await);
    let id = send(&running, HUGO, CLAIRE, "ailleurs").await;
    assert!(holds(&running, CLAIRE, "INBOX", &id).await);
    let id = send(&running, HUGO, CLAIRE, "corps").await;
    let inbox = folder(&running, 0, CLAIRE, "INBOX").await;
    let letter = inbox.iter().find(|letter| letter.contains(&id)).unwrap();
    assert!(letter.contains("\\Seen"), "{letter}");
    // Out of the trust space: nothing is sent, and the letter is where it is seen.
    let id = send(&running, HUGO, CLAIRE, "trop").await;
    assert!(holds(&running, CLAIRE, "INBOX", &id).await);
    // Without a filter everything is as before; the copies that were made remain.
    assert!(client.say("SETACTIVE \"\"").await.starts_with("OK"));
    let id = send(&running, HUGO, CLAIRE, "rien").await;
    assert!(holds(&running, CLAIRE, "INBOX", &id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_sent_on_inside_the_trust_space_and_answered_for_by_its_mailbox() {
    let running = Running::new(&[]);
    let script = format!(
        "require \"copy\";\r\nredirect :copy \"{PAUL}\";\r\n\
         if header :is \"subject\" \"seul\" {{ redirect \"{AMINE}\"; }}\r\n"
    );
    Client::logged_in(&running, 0, CLAIRE).await.activate(&script).await;
    let id = send(&running, HUGO, CLAIRE, "seul").await;
    let there = wait_for(&running, 1, PAUL, &id).await;
    assert!(there.contains(&format!("Return-Path: <{CLAIRE}>")), "{there}");
    assert!(there.contains(&format!("From: {HUGO}")), "{there}");
    let here = wait_for(&running, 0, AMINE, &id).await;
    assert!(here.contains(&format!("Return-Path: <{CLAIRE}>")), "{here}");
    // It is not in INBOX, and has not vanished.
    assert!(holds(&running, CLAIRE, "Trash", &id).await);
    // Two who send each other everything: the letter is not sent for ever.
    let back = format!("redirect :copy \"{CLAIRE}\";\r\n");
    let back = format!("require \"copy\";\r\n{back}");
    Client::logged_in(&running, 0, AMINE).await.activate(&back).await;
    let id = send(&running, HUGO, CLAIRE, "seul").await;
    wait_for(&running, 0, AMINE, &id).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let passes = folder(&running, 0, AMINE, "INBOX").await;
    let passes = passes.iter().filter(|letter| letter.contains(&id)).count();
    assert!(passes < 10, "{passes}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let later = folder(&running, 0, AMINE, "INBOX").await;
    assert_eq!(later.iter().filter(|letter| letter.contains(&id)).count(), passes);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absence_is_told_once_even_when_the_relay_is_killed_and_lies_sealed() {
    let mut running = Running::new(&[]);
    let canary = "Kanarienvogel-im-Urlaub";
    let script = format!(
        "require \"vacation\";\r\nvacation :days 3 :subject \"Absente\" :handle \"h\" \
         :from \"Dr Claire <{CLAIRE}>\" \"{canary} jusqu'à lundi.\";\r\n"
    );
    Client::logged_in(&running, 0, CLAIRE).await.activate(&script).await;
    let id = send(&running, HUGO, CLAIRE, "bonjour").await;
    running.kill();
    let port_base = running.port(0, "mx") - 25;
    // Its folder goes with it.
    let killed = running;
    let mut running = Running::start(&killed.folder, port_base, &[]);
    let answer = wait_for(&running, 0, HUGO, &format!("In-Reply-To: {id}")).await;
    assert!(answer.contains("Return-Path: <>"), "{answer}");
    assert!(answer.contains("Auto-Submitted: auto-replied"), "{answer}");
    assert!(answer.contains("Subject: Absente") && answer.contains(&format!("To: <{HUGO}>")));
    let second = send(&running, HUGO, CLAIRE, "encore").await;
    let other = send(&running, AMINE, CLAIRE, "et moi").await;
    wait_for(&running, 0, AMINE, &format!("In-Reply-To: {other}")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let inbox = folder(&running, 0, HUGO, "INBOX").await;
    assert!(!inbox.iter().any(|letter| letter.contains(&format!("In-Reply-To: {second}"))));
    assert_eq!(inbox.iter().filter(|letter| letter.contains("Subject: Absente")).count(), 1);
    // Both who are away: answers are not answered.
    assert!(folder(&running, 0, CLAIRE, "INBOX").await.len() >= 3);
    running.terminate();
    for word in [canary, "vacation :days"] {
        assert_eq!(files_with(&running.data_dir(0), word.as_bytes()), Vec::<String>::new());
        assert!(!running.log().contains(word), "{word} is in the log");
    }
}

fn files_with(folder: &Path, word: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, word));
        } else if std::fs::read(&path).unwrap_or_default().windows(word.len()).any(|w| w == word) {
            found.push(path.display().to_string());
        }
    }
    found
}
