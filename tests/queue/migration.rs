//! A store that a relay without lanes wrote, and rows that cannot be read.
use serde::Deserialize;
use serde::Serialize;
use vaguemestre::domain::envelope::QueueId;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::flow::office::Office;
use vaguemestre::flow::queue;
use vaguemestre::flow::queue::Filter;
use vaguemestre::flow::queue::HoldKind;
use vaguemestre::flow::queue::RowState;
use vaguemestre::infra::store;
use vaguemestre::infra::store::Batch;

use super::finish;
use super::lab::Lab;
use super::next;
use super::schedule;
use super::waiting;

/// A recipient's row as it is now; only what the old form had is looked at.
#[derive(Deserialize)]
#[allow(dead_code, reason = "the form of a row has fields that are not asked for")]
struct Row {
    state: u32,
    attempts: u32,
    due: u64,
    domain: String,
    breaks: u8,
    suspect: bool,
    deaths: u8,
    route: Option<String>,
    order: Option<()>,
    form: u8,
    sealed_reply: Vec<u8>,
    sealed: Vec<u8>,
}

/// As the first relays wrote it, format 1.
#[derive(Serialize)]
struct OldRow {
    attempts: u32,
    due: u64,
    leased: bool,
    sealed_reply: Vec<u8>,
    sealed: Vec<u8>,
}

/// A letter's row as it is now.
#[derive(Deserialize)]
struct LetterRow {
    accepted_at: u64,
    waiting: u32,
    forms: Vec<FormRow>,
    source: Option<u8>,
    sealed_sender: Vec<u8>,
    eight_bit: bool,
    smtputf8: bool,
    return_full: Option<bool>,
    domain: String,
    mailbox_kind: Option<String>,
    automatic: bool,
}

#[derive(Deserialize)]
struct FormRow {
    blob: [u8; 16],
    size: u64,
    sealed_key: Vec<u8>,
    return_path_octets: u64,
    encrypted: bool,
    sealed_to: Vec<[u8; 32]>,
}

/// As it was before letters had forms, format 1.
#[derive(Serialize)]
struct OldLetterRow {
    blob: [u8; 16],
    accepted_at: u64,
    size: u64,
    waiting: u32,
    sealed_key: Vec<u8>,
    sealed_sender: Vec<u8>,
    return_path_octets: u64,
    eight_bit: bool,
    smtputf8: bool,
    return_full: Option<bool>,
    domain: String,
    mailbox_kind: Option<String>,
    automatic: bool,
}

/// Writes every row back in the form before lanes; every second one is leased. Tells how many.
async fn age(office: &Office) -> usize {
    let mut batch = Batch::new();
    let marks = office.store.scan(store::prefix(b"Q/d/"), 10_000).await.unwrap();
    for (key, _) in &marks.rows {
        batch.delete(key.to_vec());
    }
    let rows = office.store.scan(store::prefix(b"Q/r/"), 10_000).await.unwrap();
    for (place, (key, row)) in rows.rows.iter().enumerate() {
        assert_eq!(row.value[0], 3, "the format of today");
        let row: Row = postcard::from_bytes(&row.value[1..]).unwrap();
        assert_eq!(row.form, 0);
        let old = OldRow {
            attempts: row.attempts,
            due: row.due,
            leased: place % 2 == 1,
            sealed_reply: row.sealed_reply,
            sealed: row.sealed,
        };
        let name = &key[b"Q/r/".len()..];
        batch.put(key.to_vec(), postcard::to_extend(&old, vec![1]).unwrap());
        batch.put([b"Q/d/", &row.due.to_be_bytes()[..], name].concat(), row.domain.into_bytes());
        // An older mark of the same row, such as a cut attempt may have left.
        let older = (row.due - 5_000).to_be_bytes();
        batch.put([b"Q/d/", &older[..], name].concat(), Vec::new());
    }
    for (key, row) in &office.store.scan(store::prefix(b"Q/m/"), 10_000).await.unwrap().rows {
        assert_eq!(row.value[0], 3, "the format of today");
        let row: LetterRow = postcard::from_bytes(&row.value[1..]).unwrap();
        let [form] = row.forms.as_slice() else { panic!("a plain letter has one form") };
        assert!(!form.encrypted && form.sealed_to.is_empty());
        assert_eq!(row.source, Some(0));
        let old = OldLetterRow {
            blob: form.blob,
            accepted_at: row.accepted_at,
            size: form.size,
            waiting: row.waiting,
            sealed_key: form.sealed_key.clone(),
            sealed_sender: row.sealed_sender,
            return_path_octets: form.return_path_octets,
            eight_bit: row.eight_bit,
            smtputf8: row.smtputf8,
            return_full: row.return_full,
            domain: row.domain,
            mailbox_kind: row.mailbox_kind,
            automatic: row.automatic,
        };
        batch.put(key.to_vec(), postcard::to_extend(&old, vec![1]).unwrap());
    }
    office.store.commit(batch).await.unwrap();
    rows.rows.len()
}

#[tokio::test]
async fn a_store_of_a_relay_without_lanes_is_taken_over_and_nothing_is_lost() {
    let mut lab = Lab::new(&["a.mssante.test", "b.mssante.test"], &[], "").await;
    lab.letter(&["x@a.mssante.test", "y@b.mssante.test", "z@a.mssante.test"]).await;
    lab.letter(&["w@b.mssante.test"]).await;
    let rows = age(lab.office()).await;
    assert_eq!(rows, 4);
    lab.restart().await;
    let office = lab.office();
    assert_eq!(queue::recover(office).await.unwrap().freed, 0);
    let mut schedule = schedule(office).await;
    assert_eq!(queue::migrate(office).await, Ok(rows));
    assert_eq!(queue::migrate(office).await, Ok(0), "once");
    assert_eq!(waiting(office).await.len(), rows);
    let mut seen = 0;
    while let Some(work) = next(&mut schedule, office).await {
        seen += work.claimed.recipients().len();
        finish(office, &work.claimed).await.unwrap();
        schedule.ended(office, &work.ticket);
    }
    assert_eq!(seen, rows);
    assert!(waiting(office).await.is_empty());
    let left = office.store.scan(store::prefix(b"Q/"), 10).await.unwrap();
    assert!(left.rows.is_empty(), "{:?}", left.rows);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_set_aside_and_hides_nobody() {
    let lab = Lab::new(&["a.mssante.test"], &[], "").await;
    let office = lab.office();
    let id: QueueId = lab.letter(&["x@a.mssante.test"]).await;
    lab.letter(&["y@a.mssante.test"]).await;
    let key = [b"Q/r/", id.as_bytes().as_slice(), &0_u16.to_be_bytes()].concat();
    let mut batch = Batch::new();
    batch.put(key.clone(), vec![2, 99, 99]);
    office.store.commit(batch).await.unwrap();
    let mut schedule = schedule(office).await;
    let work = next(&mut schedule, office).await.expect("the other letter");
    assert_ne!(work.claimed.queue_id(), id);
    assert_eq!(schedule.take_damaged(), 1);
    let held = Filter { target: None, held: true, limit: 10 };
    let held = queue::list(office, &held).await.unwrap();
    assert_eq!(held.len(), 1);
    let RowState::Held { kind, .. } = &held[0].state else { panic!("{held:?}") };
    assert_eq!((*kind, held[0].queue_id), (HoldKind::Damaged, id));
    // The octets are kept for a human.
    assert_eq!(*office.store.get(&key).await.unwrap().unwrap().value, [2, 99, 99]);
    assert_eq!(held[0].next_attempt, Timestamp::from_millis(0));
}
