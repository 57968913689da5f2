//! A real Postfix as the other operator, in both directions.
use std::time::Duration;

use crate::support::letters;
use crate::support::postfix::Postfix;
use crate::support::running::run;
use crate::support::running::said;
use crate::support::serving::Space;

const OURS: &str = "hopital.mssante.test";
const THEIRS: &str = "chu-postfix.mssante.test";
const QUICK: &str = "[revocation]\nmode = \"off\"\n[queue]\nretry_seconds = [1, 1, 2]\n";

fn swaks(postfix: &Postfix, from: &str, to: &str, file: &str) -> std::process::Output {
    let server = format!("127.0.0.1:{}", postfix.local);
    run("swaks", &["--server", &server, "--from", from, "--to", to, "--data", &format!("@{file}")])
}

#[tokio::test]
async fn letters_travel_both_ways_between_us_and_postfix_with_certificates_on_both_sides() {
    let space = Space::of(&[OURS, THEIRS]);
    let relay = space.relay(0);
    let postfix = Postfix::start(&space.pki, space.operator(1), &[(OURS, relay.port("mx"))], "");
    let doctor = format!("dr.martin@{OURS}");
    let relay = relay.route(THEIRS, postfix.mx).with(QUICK).start(&[&doctor]);

    // To Postfix: its header fields and its body arrive octet by octet.
    let (to, id) = (format!("dr.durand@{THEIRS}"), letters::message_id());
    let letter = format!(
        "From: {doctor}\r\nTo: {to}\r\nSubject: =?utf-8?Q?R=C3=A9sultats?=\r\nMessage-ID: {id}\r\n\
         Date: Fri, 20 Nov 2026 14:36:00 +0100\r\nX-MSS-NIL:  DEV935997\r\n\
         X-MSS-CODECDA: 34112-3,\r\n 11490-0\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Texte accentué é.\r\n.ligne avec point\r\n..\r\n\r\ndernière ligne\r\n"
    );
    let mut session = relay.submission(&doctor).await;
    session
        .command(&format!("MAIL FROM:<{doctor}> BODY=8BITMIME RET=HDRS ENVID=QQ1"), "250")
        .await
        .unwrap();
    session.command(&format!("RCPT TO:<{to}> NOTIFY=SUCCESS,FAILURE"), "250").await.unwrap();
    session.command("DATA", "354").await.unwrap();
    let content = vaguemestre::demo::client::dot_stuffed(letter.as_bytes());
    let content = String::from_utf8(content).unwrap();
    session.command(content.trim_end_matches("\r\n"), "250").await.unwrap();
    let arrived = postfix.wait_for(&id).await.replace("\r\n", "\n");
    let sent = letter.replace("\r\n", "\n");
    assert!(arrived.ends_with(&sent), "changed on its way:\n{arrived}");
    let log = postfix.log();
    assert!(log.contains("Trusted TLS connection established from"), "{log}");

    // It offered DSN, so it makes the report that was asked for; that comes with a null sender.
    let report = relay.wait_for(&doctor, "Original-Envelope-Id: QQ1").await;
    assert!(report.contains("Action: delivered"), "{report}");

    // From Postfix.
    let id = letters::message_id();
    let file = space.folder().join("letter.eml");
    std::fs::write(&file, letters::letter(&to, &doctor, &id, 4_096)).unwrap();
    let output = swaks(&postfix, &to, &doctor, file.to_str().unwrap());
    assert!(output.status.success(), "{}", said(&output));
    let arrived = relay.wait_for(&doctor, &id).await;
    assert!(arrived.contains("with ESMTPS id"), "{arrived}");
    let log = postfix.log();
    assert!(log.contains("Verified TLS connection established to"), "{log}");
}

#[tokio::test]
async fn a_postfix_that_leaves_the_list_is_refused_and_what_goes_to_it_waits() {
    let space = Space::of(&[OURS, THEIRS]);
    let relay = space.relay(0);
    let postfix = Postfix::start(&space.pki, space.operator(1), &[(OURS, relay.port("mx"))], "");
    let doctor = format!("dr.martin@{OURS}");
    let relay = relay.route(THEIRS, postfix.mx).with(QUICK).start(&[&doctor]);
    // The domain stays; another certificate has it now.
    space.publish(&[(OURS, 0), (THEIRS, 0)]);
    relay.said(&["trust", "refresh"]);

    let (them, id) = (format!("dr.durand@{THEIRS}"), letters::message_id());
    let mut session = relay.submission(&doctor).await;
    session.send(&doctor, &[&them], &letters::letter(&doctor, &them, &id, 2_000)).await.unwrap();
    let file = space.folder().join("letter.eml");
    std::fs::write(&file, letters::letter(&them, &doctor, "<refused@client.test>", 2_000)).unwrap();
    swaks(&postfix, &them, &doctor, file.to_str().unwrap());

    let refused = || {
        postfix
            .log()
            .lines()
            .any(|line| line.contains("status=bounced") && line.contains("trust list"))
    };
    for _ in 0..100 {
        if refused() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(refused(), "{}", postfix.log());
    let waiting = relay.json(&["queue", "list"]);
    let reply = waiting[0]["last_reply"].as_str().unwrap_or_default();
    assert!(reply.contains("trust list"), "{waiting}");
    assert!(!postfix.letters().iter().any(|letter| letter.contains(&id)));
    assert!(relay.inbox(&doctor).await.iter().all(|letter| !letter.contains("<refused@")));
}
