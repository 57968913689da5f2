//! Who answered: seen by a colleague who idles in the team's mailbox.
use std::time::Duration;

use crate::support::imap::Client;
use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;
use crate::team::AMINE;
use crate::team::CLAIRE;
use crate::team::DOCTOR;
use crate::team::files_with;
use crate::team::run;
use crate::team::send;

const TEAM: &str = "service.partage@hopital.mssante.test";

async fn answer(running: &Running, from: &str, field: &str) {
    let id = letters::message_id();
    let letter = String::from_utf8(letters::letter(from, AMINE, &id, 600)).unwrap();
    let letter = format!("{field}\r\n{letter}");
    running.submission(0, from).await.send(from, &[AMINE], letter.as_bytes()).await.unwrap();
    running.arrived(0, AMINE, &id).await;
}

async fn colleague(running: &Running) -> Client {
    let door = running.door(0, "imaps");
    let password = running.password(DOCTOR);
    let mut client = Client::open(door, &running.tls(), DOCTOR, &password).await.unwrap();
    client.ok(&format!("SELECT \"Other Users/{TEAM}/INBOX\"")).await.unwrap();
    client
}

async fn marks(client: &mut Client) -> String {
    let answer = client.ok("UID FETCH 1:* (FLAGS)").await.unwrap();
    let fetched = answer.untagged.iter().filter(|one| one.numbered("FETCH").is_some());
    fetched.map(|one| one.raw.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_colleague_who_idles_sees_who_answered_and_nobody_without_rights_marks_anything() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Running::start(&folder.path().join("demo"), running::free_port_base(), &[]);
    let config = demo.json["operators"][0]["config"].as_str().unwrap().to_owned();
    let add = ["mailbox", "add", TEAM, "--kind", "ORG", "--generate"];
    assert!(run(&config, &add).status.success());
    for (who, rights) in [(DOCTOR, "lrswi"), (CLAIRE, "lrs")] {
        let to = ["team", "grant", TEAM, "--to", who, "--rights", rights, "--reason", "x"];
        assert!(run(&config, &to).status.success());
    }
    let id = send(&demo, AMINE, TEAM).await;
    let other = send(&demo, AMINE, TEAM).await;
    let mut watching = colleague(&demo).await;
    watching.begin(b"IDLE").await.unwrap();
    assert_eq!(watching.response().await.unwrap().raw.trim_end(), "+ idling");
    // Somebody who may only read, and somebody who has guessed the Message-ID.
    for outsider in [CLAIRE, AMINE] {
        answer(&demo, outsider, &format!("In-Reply-To: {id}")).await;
    }
    let quiet = watching.response_within(Duration::from_secs(2)).await.unwrap();
    assert!(quiet.is_none(), "{quiet:?}");
    answer(&demo, DOCTOR, &format!("In-Reply-To: {id}\r\nReferences: {other}")).await;
    let mut told = String::new();
    while !told.contains("FETCH") {
        told.push_str(&watching.response().await.unwrap().raw);
    }
    assert!(told.contains("\\Answered") && told.contains("answered-by-hugo.oreade"), "{told}");
    watching.write(b"DONE\r\n").await.unwrap();
    watching.finish().await.unwrap();
    let before = marks(&mut watching).await;
    assert_eq!(before.matches("\\Answered").count(), 1, "{before}");
    // Without In-Reply-To, the last of References counts.
    answer(&demo, DOCTOR, &format!("References: {id}\r\n {other}")).await;
    for _ in 0..100 {
        if marks(&mut watching).await.matches("\\Answered").count() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(watching);
    demo.kill();
    let port_base = demo.port(0, "mx") - 25;
    let mut demo = Running::start(&demo.folder.clone(), port_base, &[]);
    let after = marks(&mut colleague(&demo).await).await;
    assert_eq!(after.matches("answered-by-hugo.oreade").count(), 2, "{after}");
    assert!(demo.terminate().success());
    for secret in [id.trim_matches(['<', '>']), "answered-by-hugo"] {
        let found = files_with(&demo.data_dir(0), secret.as_bytes());
        assert_eq!(found, Vec::<String>::new(), "{secret} is readable");
    }
}
