//! Senders hear of letters that wait or fail: once, truly, and with something to do.
use vaguemestre::infra::replica::Replica;

use super::*;
use crate::reports::alone::Alone;
use crate::reports::hop::Hop;
use crate::support::letters;

/// The column names of the national extraction, and two mailboxes of one professional.
const EXTRACTION: &str = include_str!("../../src/demo/extraction.txt");

fn import_two_mailboxes_of(demo: &Running, rpps: &str, addresses: &[&str]) {
    let file = demo.folder.join("Extraction_Correspondance_MSSante_202611220730.txt");
    let mut text = format!("{}\n", EXTRACTION.lines().next().unwrap());
    for address in addresses {
        text.push_str(&format!(
            "PER|{address}|8|{rpps}|8{rpps}||||Docteur|LUMIER|Eloïse|C|Civil|10|Médecin|SM26|\
             Qualifié en Médecine Générale|O|||||||||||||\n"
        ));
    }
    std::fs::write(&file, text).unwrap();
    let replica = Replica::open(&demo.data_dir(0)).unwrap();
    replica.import_at_least(&file, 0, &mut |_| {}).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_misses_its_service_level_gives_one_notice_with_another_way() {
    let (_folder, demo) = alone::stopped();
    let other = "eloise.lumier@hopital.mssante.test";
    let outside = "eloise.lumier@example.org";
    import_two_mailboxes_of(&demo, "99900001019", &[ELOISE, outside, other]);
    edit(&config_of(&demo, 0), |text| {
        text.replace(
            "retry_seconds = [2, 5, 10, 30, 60]",
            "retry_seconds = [1]\ndelay_notice_seconds = 6",
        ) + "\n[service.within_seconds]\n\"11502-2\" = 2\n\"*\" = 3000\n"
    });
    let relay = Alone::serve(&demo, 0);
    let id = letters::message_id();
    let mut content = b"X-MSS-CODECDA: 34112-3,11502-2\r\n".to_vec();
    content.extend(letters::letter(HUGO, ELOISE, &id, 1_000));
    Sending {
        from: HUGO,
        mail: "",
        to: &[(ELOISE, ""), (PAUL, " NOTIFY=FAILURE"), (CLAIRE, "")],
        content: &content,
    }
    .submit(&demo, 0);
    // Nobody wants to hear of this one's delay: the operator does.
    let silent = letters::message_id();
    let to: &[(&str, &str)] = &[(PAUL, " NOTIFY=SUCCESS,FAILURE")];
    let content = letters::letter(HUGO, PAUL, &silent, 1_000);
    let content = [b"X-MSS-CODECDA: 11502-2\r\n".as_slice(), &content].concat();
    Sending { from: HUGO, mail: "", to, content: &content }.submit(&demo, 0);
    let mut imap = demo.imap(0, HUGO).await;
    let found = reports_come(&mut imap, &id, 1).await;
    let late = second_opinion(&found[0]);
    assert_eq!(late["subject"], "Message en retard / Mail late");
    let recipients = late["recipients"].as_array().unwrap();
    assert_eq!(recipients.len(), 1, "{late:#}");
    assert_eq!(recipients[0]["Action"], "delayed");
    assert!(recipients[0]["Status"].as_str().unwrap().starts_with("4.4."), "{late:#}");
    assert!(recipients[0]["Will-Retry-Until"].is_string());
    let text = late["text"].as_str().unwrap();
    for said in ["11502-2", "en 2 secondes", "within 2 seconds", other, "Eloïse LUMIER", "tent"] {
        assert!(text.contains(said), "{said} is missing:\n{text}");
    }
    assert!(!text.contains(outside), "outside the trust space:\n{text}");
    // Later the ordinary notice, and no more of either.
    let both = reports_come(&mut imap, &id, 2).await;
    assert_eq!(second_opinion(&both[1])["subject"], "Message en attente / Mail delayed");
    let log = std::fs::read_to_string(demo.folder.join("serve0.txt")).unwrap();
    assert!(log.contains("a letter is late"), "{log}");
    assert!(reports(&mut imap, &silent).await.is_empty());
    let there = Alone::serve(&demo, 1);
    assert!(demo.arrived(1, ELOISE, &id).await > 0);
    step_comes(&demo, 0, &id, ELOISE, "attempt relayed").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(reports(&mut imap, &id).await.len(), 2);
    let told = steps(&trace(&demo, 0, &id), ELOISE);
    let told: Vec<&str> =
        told.iter().map(String::as_str).filter(|step| step.starts_with("reported")).collect();
    assert_eq!(told, ["reported late", "reported delayed"]);
    assert_eq!(steps(&trace(&demo, 0, &id), CLAIRE), ["delivered"]);
    drop((relay, there));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_recipients_the_sender_hears_about_those_who_failed_and_gets_the_letter_back() {
    let (_folder, demo) = alone::stopped();
    let answers: &[(&str, &[&str])] = &[
        ("u3", &["451 4.2.1 later", "550 5.1.1 unknown after all"]),
        ("u5", &["452 4.2.2 full"]),
        ("u7", &["550 5.2.1 closed"]),
        ("u8", &["550 5.1.1 unknown"]),
    ];
    let hop = Hop::start(&demo, "250-DSN\r\n", answers).await;
    let there = demo.door(1, "mx").to_string();
    let here = format!("127.0.0.1:{}", hop.port);
    edit(&config_of(&demo, 0), |text| {
        text.replace(&there, &here).replace(
            "retry_seconds = [2, 5, 10, 30, 60]",
            "retry_seconds = [1]\ngive_up_seconds = 4\njitter_percent = 0",
        )
    });
    let relay = Alone::serve(&demo, 0);
    let id = letters::message_id();
    let everybody: Vec<String> =
        (0..10).map(|number| format!("u{number}@cabinet.mssante.test")).collect();
    let to: Vec<(&str, &str)> = everybody
        .iter()
        .map(|address| {
            (address.as_str(), if address.starts_with("u8") { " NOTIFY=NEVER" } else { "" })
        })
        .collect();
    let content = letters::letter(HUGO, "u0@cabinet.mssante.test", &id, 2_000);
    Sending { from: HUGO, mail: " RET=FULL", to: &to, content: &content }.submit(&demo, 0);
    let mut imap = demo.imap(0, HUGO).await;
    let mut told = Vec::new();
    for report in reports_come(&mut imap, &id, 3).await {
        let read = second_opinion(&report);
        let recipients = read["recipients"].as_array().unwrap();
        assert_eq!(recipients.len(), 1, "{read:#}");
        assert_eq!(read["returned"], "message/rfc822");
        let body = read["body"].as_str().unwrap().replace("\r\n", "\n");
        let sent = String::from_utf8(content.clone()).unwrap().replace("\r\n", "\n");
        assert!(sent.ends_with(&body) && !body.is_empty(), "{body}");
        let field = |name: &str| recipients[0][name].as_str().unwrap().to_owned();
        told.push((field("Final-Recipient"), field("Action"), field("Status")));
    }
    let failed = |number: u32, status: &str| {
        let recipient = format!("rfc822; u{number}@cabinet.mssante.test");
        (recipient, "failed".to_owned(), status.to_owned())
    };
    assert_eq!(told, [failed(7, "5.2.1"), failed(3, "5.1.1"), failed(5, "4.2.2")]);
    let traced = trace(&demo, 0, &id);
    assert_eq!(steps(&traced, &everybody[0]), ["queued", "attempt relayed"]);
    assert_eq!(steps(&traced, &everybody[8]), ["queued", "attempt failed"]);
    assert_eq!(
        steps(&traced, &everybody[3]),
        ["queued", "attempt deferred", "attempt failed", "reported failed"]
    );
    let attempt = &traced[0]["recipients"][3]["steps"][1];
    assert_eq!((&attempt["attempt"], &attempt["status"]), (&1.into(), &"4.2.1".into()));
    assert!(attempt["next_attempt"].is_string(), "{attempt:#}");
    assert_eq!(hop.contents().len(), 1, "nobody gets the letter twice");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(reports(&mut imap, &id).await.len(), 3);
    drop(relay);
}
