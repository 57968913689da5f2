//! The connection is cut at each step of the dialogue: a letter arrives once, or twice for a
//! reason that can be told, and is never lost.
use vaguemestre::flow::deliver::operator::HandoverResult::Taken;
use vaguemestre::flow::deliver::operator::Outcome;
use vaguemestre::flow::deliver::operator::Pool;

use super::Letter;
use super::Space;
use super::results;
use super::server::Act;
use super::server::Script;
use super::server::Server;

/// Every step, in order, and how often the letter is there in the end.
const STEPS: [(&str, Act, usize); 22] = [
    ("<connect>", Act::Close, 1),
    ("<connect>", Act::SayAndVanish("220-w"), 1),
    ("<connect>", Act::SayAndVanish("220-welcome\r\n"), 1),
    ("<clear EHLO>", Act::Close, 1),
    ("<clear EHLO>", Act::SayAndVanish("250-mx\r\n250-ST"), 1),
    ("<STARTTLS>", Act::Close, 1),
    ("<STARTTLS>", Act::SayAndVanish("220"), 1),
    ("<handshake>", Act::Close, 1),
    ("EHLO", Act::Close, 1),
    ("EHLO", Act::SayAndVanish("250-mx\r\n"), 1),
    ("MAIL", Act::Close, 1),
    ("MAIL", Act::SayAndVanish("250 o"), 1),
    ("RCPT TO:<b@", Act::Close, 1),
    ("RCPT TO:<c@", Act::Close, 1),
    ("RCPT TO:<c@", Act::SayAndVanish("250"), 1),
    ("DATA", Act::Close, 1),
    ("DATA", Act::SayAndVanish("354"), 1),
    ("<content>", Act::Close, 1),
    // The server has it, and we cannot know: it is sent again (RFC 5321 §4.5.4.1; the receiver
    // may know it again by its Message-ID, as this relay does by its octets).
    (".", Act::Close, 2),
    (".", Act::SayAndVanish("250 2.0.0 ok"), 2),
    (".", Act::SayAndVanish("250 2.0.0 ok\r\n"), 1),
    ("QUIT", Act::Close, 1),
];

async fn send(space: &Space, pool: &Pool, server: &Server, letter: &Letter) -> Vec<Outcome> {
    let hosts = server.hosts();
    pool.hand_over(space.handover(&hosts, letter, CLIENT.get().unwrap().clone(), &|_| true))
        .await
        .outcomes
}

/// One configuration for all letters of a test: another one would open other connections.
static CLIENT: std::sync::OnceLock<std::sync::Arc<rustls::ClientConfig>> =
    std::sync::OnceLock::new();

#[tokio::test]
async fn a_letter_survives_a_cut_at_each_step() {
    let space = Space::new();
    CLIENT.set(space.client()).unwrap();
    for script in [Script::good(), Script::plain(), Script::chunking()] {
        for (step, act, copies) in STEPS {
            if step == "DATA" && script.ehlo.contains("CHUNKING") {
                continue;
            }
            // On a first connection, and on one that carried a letter already.
            for before in [0, 1] {
                if before > 0 && (step.starts_with('<') || step == "EHLO") && step != "<content>" {
                    continue;
                }
                let what = format!("{step} {act:?} after {before}: {}", script.ehlo);
                let cutting = script.clone().at(step, act.clone()).once_after(before);
                let server = space.server(cutting).await;
                let pool = Pool::new();
                for _ in 0..before {
                    let first = send(&space, &pool, &server, &Letter::to(&["a@c.test"])).await;
                    assert_eq!(results(&first), [Taken], "{what}");
                }
                let mut letter = Letter::to(&["b@c.test", "c@c.test"]);
                letter.content = b"Subject: this one\r\n\r\n.x\r\n".to_vec();
                let mut attempts = 0;
                while !letter.recipients.is_empty() {
                    attempts += 1;
                    assert!(attempts <= 3, "{what}: it never arrives");
                    let outcomes = send(&space, &pool, &server, &letter).await;
                    let mut outcomes = outcomes.iter();
                    letter.recipients.retain(|_| outcomes.next().unwrap().result != Taken);
                }
                let seen = server.seen();
                let there = seen.contents.iter().filter(|content| **content == letter.content);
                assert_eq!(there.count(), copies, "{what} in {attempts} attempts");
                assert_eq!(seen.contents.len(), copies + before, "{what}: half a letter is there");
            }
        }
    }
}
