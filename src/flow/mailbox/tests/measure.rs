//! Figures for `docs/performance.md`, on a real disk. By hand:
//! `cargo test --release --lib measure -- --ignored --nocapture`, with `ROWS=1000000` for as many.
use std::fmt::Write as _;
use std::future::Future;

use super::*;
use crate::flow::mailbox::Entry;
use crate::infra::store::redb::RedbStore;

const INBOX: FolderId = FolderId::INBOX;
/// Messages that one commit of the preparation adds.
const STEP: u32 = 5_000;

/// A mailbox of so many messages; all have the content of the first.
async fn crowd(mailbox: &OpenMailbox, rows: u32) {
    let text = "Message-ID: <b@x.test>\r\nReferences: <a@x.test>\r\n\
        From: Dr A <a@x.test>\r\nTo: b@y.test\r\nSubject: Compte rendu\r\n\
        Date: Tue, 24 Nov 2026 10:00:00 +0100\r\n\r\nBonjour\r\n";
    mailbox.append(INBOX, message(text.as_bytes(), &[])).await.unwrap();
    let first: Entry = mailbox.entry(INBOX, Uid(1)).await.unwrap().unwrap();
    let one = std::slice::from_ref(&first);
    let summary = mailbox.sealed_summaries(INBOX, one).await.unwrap().remove(0);
    let mut there = 1;
    while there < rows {
        let count = STEP.min(rows - there);
        let added = mailbox.change(|head, batch| {
            for number in 0..count {
                let mut entry = first.clone();
                entry.flags.seen = number % 10 != 0;
                mailbox.put_message(INBOX, entry, &summary, head, batch)?;
            }
            Ok(())
        });
        added.await.unwrap();
        there += count;
    }
}

/// Octets of memory in use.
fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4_096
}

async fn timed<T>(report: &mut String, what: &str, work: impl Future<Output = T>) -> T {
    let (before, start) = (resident(), tokio::time::Instant::now());
    let done = work.await;
    let (took, more) = (start.elapsed(), (resident() - before) / 1_024);
    writeln!(report, "{what}: {took:?}, {more} KiB more in memory").unwrap();
    done
}

#[tokio::test]
#[ignore = "minutes of work; its output is a figure, not a verdict"]
#[allow(clippy::print_stdout, reason = "the figures are what it is for")]
async fn figures_of_a_large_folder() {
    let rows: u32 = std::env::var("ROWS").map_or(1_000_000, |rows| rows.parse().unwrap());
    let keys = Arc::new(Keyring::with_master(Secret::new([7; 32])));
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
    let account = account(&keys, 1);
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(folder.path()).unwrap());
    let blobs = Blobs::open(Arc::clone(&store), folder.path()).await.unwrap();
    let open = || Mailboxes::new(Arc::clone(&store), blobs.clone(), keys.clone(), clock.clone());
    let report = &mut format!("{rows} messages\n");
    let mailbox = open().open(&account).await.unwrap();
    timed(report, "preparation", crowd(&mailbox, rows)).await;
    let known = mailbox.folder(INBOX).await.unwrap().highest_modseq;
    // Another handle knows nothing yet.
    let mailbox = open().open(&account).await.unwrap();
    timed(report, "contents, cold", mailbox.contents(INBOX)).await.unwrap();
    timed(report, "contents, warm", mailbox.contents(INBOX)).await.unwrap();
    let some: Vec<Uid> = (1..=1_000).map(Uid).collect();
    let deleted = deleted();
    let done = mailbox.store_flags(INBOX, &some, &deleted);
    timed(report, "marks on 1,000", done).await.unwrap();
    timed(report, "contents, 1,000 behind", mailbox.contents(INBOX)).await.unwrap();
    timed(report, "changes from the log", mailbox.changes(INBOX, known)).await.unwrap();
    let all = mailbox.changes(INBOX, ModSeq(1));
    let all = timed(report, "changes from the rows or a long log", all).await.unwrap();
    assert!(all.touched.len() >= rows - 1);
    timed(report, "expunge of 1,000", mailbox.expunge(INBOX, None)).await.unwrap();
    let entries = mailbox.entries(INBOX, 1..=u32::MAX, 10_000).await.unwrap();
    let each = async {
        for entry in &entries {
            mailbox.summary(INBOX, entry).await.unwrap();
        }
    };
    timed(report, "10,000 summaries one by one", each).await;
    let summaries = mailbox.summaries(INBOX, &entries);
    timed(report, "10,000 summaries together", summaries).await.unwrap();
    println!("{report}");
}
