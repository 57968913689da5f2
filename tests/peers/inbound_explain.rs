//! "Why was I refused?" and "why was this let in?", answered in one command.
use std::sync::Arc;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose::ClientAuth as CLIENT;
use serde_json::Value;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::decision::SessionId;
use vaguemestre::domain::door::Door;
use vaguemestre::domain::envelope::QueueId;
use vaguemestre::domain::status::Refusal;
use vaguemestre::flow::accept::Caller;
use vaguemestre::flow::accept::Credentials;
use vaguemestre::flow::accept::accept;
use vaguemestre::flow::decisions;
use vaguemestre::flow::judge::Grounds;
use vaguemestre::infra::store;

use super::inbound_house::House;
use super::inbound_house::MAIL;
use super::inbound_house::RCPT;
use super::inbound_house::explain;
use super::inbound_house::in_a_year;
use super::inbound_house::letter;
use super::inbound_house::session_of;
use crate::support::running;

/// Without the line breaks that a terminal wants.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_explained_by_the_session_that_its_reply_names() {
    let house = House::new().await;
    let mut peer = house.honest().await;
    let reply = peer.ask("MAIL FROM:<secret.person@hopital.test>").await;
    let session = session_of(&reply);
    let text = one_line(&running::said(&house.explain(&session, &[])));
    let facts = house.facts("cabinet");
    for part in [
        "was refused (peer-domain-mismatch)",
        "127.0.0.1",
        "mx.cabinet.test",
        &format!("serial {}", facts.serial),
        "does not list this subject for hopital.test",
        "550 5.7.1",
        "What to do:",
        &session,
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let json: Value = serde_json::from_slice(&house.explain(&session, &["--json"]).stdout).unwrap();
    let decision = &json[0];
    assert_eq!(decision["verdict"], "refused");
    assert_eq!(decision["reason"], "peer-domain-mismatch");
    assert_eq!(decision["mail_from"], "hopital.test");
    assert_eq!(decision["certificate"]["subject"], facts.subject.to_string());
    assert_eq!(decision["certificate"]["issuer"], facts.issuer.to_string());
    assert_eq!(decision["list"]["entry"], Value::Null);
    assert!(decision["list"]["generated"].as_str().unwrap().starts_with("20"), "{decision}");
    // Hyphens are how a log may have written it.
    let hyphens = uuid::Uuid::parse_str(&session).unwrap().hyphenated().to_string();
    assert_eq!(one_line(&running::said(&house.explain(&hyphens, &[]))), text);
    // Nothing of a person is in it.
    let all = format!("{text}{json}");
    assert!(!all.contains("secret.person"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_was_let_in_is_explained_by_its_queue_id_even_after_a_restart() {
    let house = House::new().await;
    let mut peer = house.honest().await;
    let reply = peer.deliver(&letter("kept")).await;
    let id = reply.trim_end().rsplit(' ').next().unwrap().to_owned();
    // A second letter of the same session is another decision.
    peer.talk(&[("MAIL FROM:<>", "250"), (RCPT, "250"), ("DATA", "354")]).await;
    let second = peer.ask(&format!("{}.", letter("second"))).await;
    let second = second.trim_end().rsplit(' ').next().unwrap().to_owned();
    let found = house.explained(&id).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].letter.unwrap().to_string(), id);
    let cabinet = Domain::parse("cabinet.test").unwrap();
    let subject = house.facts("cabinet").subject;
    assert_eq!(found[0].mail_from, Some(cabinet.clone()));
    assert_eq!(found[0].list.as_ref().unwrap().entry, Some((cabinet.clone(), subject.clone())));
    assert!(found[0].revocation.is_some());
    let null = house.explained(&second).await;
    assert_eq!((null.len(), null[0].mail_from.as_ref()), (1, None));
    assert_eq!(null[0].list.as_ref().unwrap().entry, Some((cabinet, subject)));
    assert_eq!(house.explained(&found[0].session.to_string()).await.len(), 2);
    // Whoever sent it knows its Message-ID.
    assert_eq!(house.explained("<kept@cabinet.test>").await, found);
    assert_eq!(house.explained("second@cabinet.test").await, null);
    peer.talk(&[("QUIT", "221")]).await;

    let (_folder, config) = house.stop().await;
    let text = one_line(&running::said(&explain(&config, &id, &[])));
    assert!(text.contains(&format!("was let in with letter {id}")), "{text}");
    assert!(text.contains("lists this subject for cabinet.test"), "{text}");
    let text = one_line(&running::said(&explain(&config, &second, &[])));
    assert!(text.contains("null path"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_late_in_a_session_of_thousands_is_explained() {
    let house = House::new().await;
    let mut peer = house.honest().await;
    let reply = peer.deliver(&letter("model")).await;
    let id = reply.trim_end().rsplit(' ').next().unwrap().to_owned();
    let model = house.explained(&id).await.remove(0);
    let office = house.office();
    let mut batch = store::Batch::new();
    let mut last = model.clone();
    for number in 0..2_500_u32 {
        let mut letter = *model.letter.unwrap().as_bytes();
        letter[12..].copy_from_slice(&number.to_be_bytes());
        last.letter = Some(QueueId::from_bytes(letter));
        decisions::ride(office, &last, &mut batch);
    }
    office.store.commit(batch).await.unwrap();
    let id = last.letter.unwrap().to_string();
    assert_eq!(house.explained(&id).await, [last]);
    assert_eq!(house.explained(&model.session.to_string()).await.len(), 2_501);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_answered_with_what_can_be_asked() {
    let house = House::new().await;
    for id in ["0192f0c1aaaa7bbb8ccc0123456789ab", "<nothing@x.test>", "hello"] {
        let output = house.explain(id, &[]);
        assert_eq!(output.status.code(), Some(1));
        let text = running::said(&output);
        assert!(text.contains("kept for 183 days") && text.contains("Queued as"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_fill_neither_disk_nor_memory_and_the_last_ones_are_still_explained() {
    let house = House::new().await;
    let tls = house.tls(None);
    let mut last = String::new();
    for _ in 0..40 {
        let mut peer = house.secured(&tls).await;
        last = session_of(&peer.ask("EHLO x.test").await);
    }
    assert_eq!(house.explained(&last).await.len(), 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let rows = house.office().store.scan(store::prefix(b"D/"), 1_000).await.unwrap().rows.len();
    // Five a second, and forty handshakes take some seconds at most.
    assert!((5..40).contains(&rows), "{rows} rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_lists_writes_no_more_than_strangers_do() {
    let house = House::new().await;
    let files = house.leaf("unlisted", "inconnu", CLIENT, in_a_year());
    let tls = house.tls(Some(&files));
    let mut last = String::new();
    for _ in 0..40 {
        let mut peer = house.secured(&tls).await;
        last = session_of(&peer.ask("EHLO x.test").await);
    }
    assert_eq!(house.explained(&last).await.len(), 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let rows = house.office().store.scan(store::prefix(b"D/"), 1_000).await.unwrap().rows.len();
    assert!((5..40).contains(&rows), "{rows} rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_operator_that_tries_names_writes_few_rows_and_must_come_again() {
    let house = House::new().await;
    let mut peer = house.honest().await;
    peer.talk(&[(MAIL, "250"), (RCPT, "250")]).await;
    let mut session = String::new();
    for number in 0..100 {
        let reply = peer.ask(&format!("RCPT TO:<nobody{number}@hopital.test>")).await;
        session = session_of(&reply);
    }
    peer.talk(&[("RCPT TO:<one.more@hopital.test>", "452"), (RCPT, "452"), ("DATA", "354")]).await;
    peer.talk(&[(&format!("{}.", letter("kept")), "250"), (MAIL, "421")]).await;
    peer.expect_closed().await;
    assert_eq!(house.letters().await, 1);
    let found = house.explained(&session).await;
    assert!((10..90).contains(&found.len()), "{} decisions", found.len());
}

/// The list that refuses and the list that is told of are one.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_changed_since_is_not_told_as_the_reason() {
    let house = House::new().await;
    let session = SessionId::from_bytes([7; 16]);
    let grounds = Arc::new(Grounds::given(session, Some(house.facts("cabinet")), None));
    let caller = Caller {
        ip: None,
        client_name: "x.test".to_owned(),
        protocol: "ESMTPS",
        tls: None,
        credentials: Credentials::Operator(Arc::clone(&grounds)),
    };
    let accepted = accept(Door::Mx, caller);
    let list = |refusal| {
        let from = Some(Domain::parse("cabinet.test").unwrap());
        decisions::of_refusal(house.office(), &accepted, &grounds, from, refusal).list
    };
    assert_eq!(list(Refusal::PeerNotListed), None);
    assert_eq!(list(Refusal::PeerDomainMismatch), None);
    assert!(list(Refusal::MailboxUnknown).unwrap().entry.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_decisions_are_swept_and_young_ones_stay() {
    let house = House::with("trace.keep_days = 1", Duration::ZERO).await;
    let mut peer = house.honest().await;
    let reply = peer.deliver(&letter("young")).await;
    let id = reply.trim_end().rsplit(' ').next().unwrap().to_owned();
    peer.talk(&[("MAIL FROM:<a@hopital.test>", "550")]).await;
    // The same rows under names that are two days older.
    let older = |key: &[u8], places: &[usize]| {
        let mut key = key.to_vec();
        for place in places {
            let mut moment = [0; 8];
            moment[2..].copy_from_slice(&key[*place..place + 6]);
            let moment = u64::from_be_bytes(moment) - 2 * 86_400_000;
            key[*place..place + 6].copy_from_slice(&moment.to_be_bytes()[2..]);
        }
        key
    };
    let office = house.office();
    let mut batch = store::Batch::new();
    for number in 0..1_200_u16 {
        for (key, row) in office.store.scan(store::prefix(b"D/"), 10).await.unwrap().rows {
            let mut key = older(&key, &[2, 18]);
            key.splice(32..34, number.to_be_bytes());
            batch.put(key, row.value);
        }
    }
    for (key, row) in office.store.scan(store::prefix(b"d/"), 10).await.unwrap().rows {
        batch.put(older(&key, &[2]), row.value);
    }
    let made = batch.writes.len();
    office.store.commit(batch).await.unwrap();
    assert_eq!(decisions::sweep(office).await.unwrap(), made);
    assert_eq!(decisions::sweep(office).await.unwrap(), 0);
    let found = house.explained(&id).await;
    assert_eq!(house.explained(&found[0].session.to_string()).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_a_dialogue_is_kept_in_order() {
    let house = House::new().await;
    let mut peer = house.honest().await;
    let first = peer.ask("MAIL FROM:<a@hopital.test>").await;
    peer.talk(&[(MAIL, "250"), ("RCPT TO:<nobody@hopital.test>", "550 5.1.1"), (RCPT, "250")])
        .await;
    peer.talk(&[("DATA", "354"), ("a\nb\r\n.", "554 5.6.0")]).await;
    let found = house.explained(&session_of(&first)).await;
    let reasons: Vec<&str> = found.iter().map(|each| each.refusal.unwrap().name()).collect();
    assert_eq!(reasons, ["peer-domain-mismatch", "mailbox-unknown", "content-malformed"]);
}
