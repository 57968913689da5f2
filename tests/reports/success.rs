//! Senders who ask hear of success, once; those who do not ask hear nothing.
use super::*;
use crate::reports::alone::Alone;
use crate::reports::hop::Hop;
use crate::support::letters;

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_who_asks_hears_that_a_letter_lies_in_a_mailbox_here() {
    let demo = Running::new(&[]);
    let id = letters::message_id();
    let said = Sending {
        from: HUGO,
        mail: " RET=FULL ENVID=QQ+2B314",
        to: &[
            (CLAIRE, " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Claire+2BF@hopital.mssante.test"),
            (AMINE, " NOTIFY=NEVER"),
            ("imagerie@hopital.mssante.test", ""),
        ],
        content: &letters::letter(HUGO, CLAIRE, &id, 1_000),
    }
    .submit(&demo, 0);
    let queue_id = said.split_whitespace().last().unwrap();
    let mut imap = demo.imap(0, HUGO).await;
    let found = reports_come(&mut imap, &id, 1).await;
    let read = second_opinion(&found[0]);
    assert_eq!(read["path"], "<>");
    assert_eq!(read["letter"]["Original-Envelope-Id"], "QQ+314");
    assert_eq!(read["letter"]["Reporting-MTA"], "dns; hopital.mssante.test");
    assert!(read["letter"]["Arrival-Date"].is_string());
    let recipients = read["recipients"].as_array().unwrap();
    assert_eq!(recipients.len(), 1, "{read:#}");
    assert_eq!(recipients[0]["Original-Recipient"], "rfc822; Claire+F@hopital.mssante.test");
    assert_eq!(recipients[0]["Final-Recipient"], format!("rfc822; {CLAIRE}"));
    assert_eq!(
        (&recipients[0]["Action"], &recipients[0]["Status"]),
        (&"delivered".into(), &"2.1.5".into())
    );
    // RFC 3461 §4.3: the whole letter comes back with failures only.
    assert_eq!(read["returned"], "text/rfc822-headers");
    assert!(read["headers"].as_str().unwrap().contains(&id), "{read:#}");
    let text = read["text"].as_str().unwrap();
    for sentence in ["Il a été remis dans la boîte", "It was delivered to the mailbox", queue_id]
    {
        assert!(text.contains(sentence), "{sentence} is missing:\n{text}");
    }
    // By Message-ID with and without brackets, by queue id, and from standard input.
    for name in [id.as_str(), id.trim_matches(['<', '>']), queue_id] {
        let traced = trace(&demo, 0, name);
        assert_eq!(traced[0]["queue_id"], queue_id);
        assert_eq!(steps(&traced, CLAIRE), ["delivered", "reported delivered"]);
        assert_eq!(steps(&traced, AMINE), ["delivered"]);
        let accepted = &traced[0]["steps"][0];
        assert_eq!((&accepted["door"], &accepted["keys"]), (&"submission".into(), &3.into()));
    }
    let config = config_of(&demo, 0);
    let arguments = ["trace", "-", "--config", config.to_str().unwrap()];
    let typed = crate::cli::vaguemestre(&arguments, &format!("{id}\n"));
    let typed = running::said(&typed);
    assert!(typed.contains("delivered to the mailbox here") && typed.contains(CLAIRE), "{typed}");
    let unknown = vaguemestre(&demo, 0, &["trace", "<nothing@nowhere.test>"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(running::said(&unknown).contains("kept for 183 days"), "{}", running::said(&unknown));
    assert_eq!(reports(&mut imap, &id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_operators_sender_hears_of_success_through_the_queue() {
    let demo = Running::new(&[]);
    let id = letters::message_id();
    let content = letters::letter(PAUL, CLAIRE, &id, 1_000);
    let to: &[(&str, &str)] = &[(CLAIRE, " NOTIFY=SUCCESS")];
    Sending { from: PAUL, mail: " ENVID=x1", to, content: &content }.relay(&demo, 1, 0);
    let mut imap = demo.imap(1, PAUL).await;
    let found = reports_come(&mut imap, &id, 1).await;
    let read = second_opinion(&found[0]);
    assert_eq!(read["recipients"][0]["Action"], "delivered");
    assert_eq!(
        (&read["path"], &read["letter"]["Original-Envelope-Id"]),
        (&"<>".into(), &"x1".into())
    );
    // The very same letter again: the mailbox knows it, and nobody is told twice.
    Sending { from: PAUL, mail: " ENVID=x1", to, content: &content }.relay(&demo, 1, 0);
    let traced = trace(&demo, 0, &id);
    assert_eq!(traced[0]["steps"][0]["door"], "operators");
    let peer = traced[0]["steps"][0]["peer"].as_str().unwrap();
    assert!(peer.contains("cabinet demo"), "{peer}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(reports(&mut imap, &id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_that_makes_no_reports_is_told_to_the_sender_as_relayed() {
    let (_folder, demo) = alone::stopped();
    let hop = Hop::start(&demo, "", &[]).await;
    let there = demo.door(1, "mx").to_string();
    let here = format!("127.0.0.1:{}", hop.port);
    edit(&config_of(&demo, 0), |text| text.replace(&there, &here));
    let relay = Alone::serve(&demo, 0);
    let id = letters::message_id();
    Sending {
        from: HUGO,
        mail: " ENVID=relayed",
        to: &[(PAUL, " NOTIFY=SUCCESS"), (ELOISE, " NOTIFY=FAILURE")],
        content: &letters::letter(HUGO, PAUL, &id, 1_000),
    }
    .submit(&demo, 0);
    let mut imap = demo.imap(0, HUGO).await;
    let found = reports_come(&mut imap, &id, 1).await;
    let read = second_opinion(&found[0]);
    let recipients = read["recipients"].as_array().unwrap();
    assert_eq!(recipients.len(), 1, "{read:#}");
    assert_eq!(
        (&recipients[0]["Action"], &recipients[0]["Status"]),
        (&"relayed".into(), &"2.0.0".into())
    );
    assert!(recipients[0]["Diagnostic-Code"].as_str().unwrap().contains("4XyZ1234"), "{read:#}");
    let traced = trace(&demo, 0, &id);
    assert_eq!(steps(&traced, PAUL), ["queued", "attempt relayed", "reported relayed"]);
    assert_eq!(steps(&traced, ELOISE), ["queued", "attempt relayed"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(reports(&mut imap, &id).await.len(), 1);
    drop((relay, hop));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_that_reports_by_itself_is_left_to_do_so() {
    let demo = Running::new(&[]);
    let id = letters::message_id();
    Sending {
        from: HUGO,
        mail: " ENVID=one",
        to: &[(PAUL, " NOTIFY=SUCCESS")],
        content: &letters::letter(HUGO, PAUL, &id, 1_000),
    }
    .submit(&demo, 0);
    let mut imap = demo.imap(0, HUGO).await;
    let found = reports_come(&mut imap, &id, 1).await;
    step_comes(&demo, 0, &id, PAUL, "report-came delivered").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(reports(&mut imap, &id).await.len(), 1, "one voice: the last one");
    let read = second_opinion(&found[0]);
    assert_eq!(read["recipients"][0]["Action"], "delivered");
    assert_eq!(read["letter"]["Reporting-MTA"], "dns; cabinet.mssante.test");
    assert_eq!(read["letter"]["Original-Envelope-Id"], "one");
}

/// The report is a promise on disk before the 250 is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_after_its_250_still_reports_and_only_once() {
    let (_folder, demo) = alone::stopped();
    for _ in 0..3 {
        let id = letters::message_id();
        let relay = Alone::serve(&demo, 0);
        Sending {
            from: HUGO,
            mail: "",
            to: &[(CLAIRE, " NOTIFY=SUCCESS")],
            content: &letters::letter(HUGO, CLAIRE, &id, 1_000),
        }
        .submit(&demo, 0);
        relay.kill();
        let relay = Alone::serve(&demo, 0);
        let mut imap = demo.imap(0, HUGO).await;
        reports_come(&mut imap, &id, 1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(reports(&mut imap, &id).await.len(), 1);
        drop(relay);
    }
}

/// Nobody lives at the addresses to which both relays report: the reports die, and nothing of
/// them comes back.
#[tokio::test(flavor = "multi_thread")]
async fn two_relays_that_report_to_senders_who_do_not_exist_come_to_an_end() {
    let demo = Running::new(&[]);
    for (operator, ghost, to) in
        [(1, "ghost@cabinet.mssante.test", CLAIRE), (0, "ghost@hopital.mssante.test", PAUL)]
    {
        let id = letters::message_id();
        let content = letters::letter(ghost, to, &id, 1_000);
        let recipients: &[(&str, &str)] = &[(to, " NOTIFY=SUCCESS,FAILURE,DELAY")];
        Sending { from: ghost, mail: "", to: recipients, content: &content }.relay(
            &demo,
            operator,
            1 - operator,
        );
        step_comes(&demo, 1 - operator, &id, to, "reported delivered").await;
    }
    for operator in [0, 1] {
        let mut waiting = String::new();
        for _ in 0..100 {
            waiting = running::said(&vaguemestre(&demo, operator, &["queue", "list", "--json"]));
            if !waiting.contains("ghost") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(!waiting.contains("ghost"), "{waiting}");
        let stats = running::said(&vaguemestre(&demo, operator, &["stats", "show", "--json"]));
        let stats: Value = serde_json::from_str(&stats).unwrap();
        let failed = |row: &&Value| row["event"] == "failed";
        let failed = stats["rows"].as_array().unwrap().iter().filter(failed);
        assert_eq!(failed.map(|row| row["count"].as_u64().unwrap()).sum::<u64>(), 1);
    }
}
