//! Who may attempt a row, and what the attempt decided.
//!
//! Whoever leases a row writes it, and may end the attempt only on the version that came of it.
//! Nobody asks a clock who is right: two workers with one row are told apart by that alone.
use std::time::Duration;

use crate::domain::envelope::BlobId;
use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::mailbox;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Claimed;
use crate::flow::queue::ClaimedRecipient;
use crate::flow::queue::HoldKind;
use crate::flow::queue::Settlement;
use crate::flow::queue::refusal_of;
use crate::flow::queue::rows;
use crate::flow::queue::rows::HoldRow;
use crate::flow::queue::rows::LetterRow;
use crate::flow::queue::rows::RecipientRow;
use crate::flow::queue::rows::State;
use crate::flow::timeline;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::StoreError;
use crate::infra::store::Version;

/// The name of the relay itself where an author is asked for.
pub(super) const RELAY: &str = "the relay";

/// What came of looking for rows to attempt. It is so once the batch is committed; on a conflict
/// somebody else was faster, and nothing is.
pub(super) struct Claim {
    /// `None`: none of them is to be had.
    pub(super) claimed: Option<Claimed>,
    /// Rows that cannot be read, on hold then.
    pub(super) damaged: usize,
    /// Not handed in yet. Empty when there is nothing to do.
    pub(super) batch: Batch,
}

/// Plans to lease the rows behind these marks, all of one letter. Marks that lead nowhere are
/// removed, rows that cannot be read are set aside.
pub(super) async fn claim(
    office: &Office,
    id: QueueId,
    marks: &[(Vec<u8>, u16, String)],
    now: Timestamp,
) -> Result<Claim, Refusal> {
    let lease_until = now.after(limits::LEASE);
    let row = office.store.get(&rows::letter_key(id)).await.map_err(|e| refusal_of(&e))?;
    let letter = row.as_ref().and_then(|row| LetterRow::read(&row.value));
    let letter = letter.and_then(|row| row.open(office, id));
    let mut batch = Batch::new();
    let mut recipients = Vec::with_capacity(marks.len());
    let mut damaged = 0;
    for (mark, number, domain) in marks {
        let key = rows::recipient_key(id, *number);
        let Some(row) = office.store.get(&key).await.map_err(|error| refusal_of(&error))? else {
            // A mark without its row: the recipient is settled.
            batch.delete(mark.clone());
            continue;
        };
        let version = row.version;
        let read = RecipientRow::read(office, id, *number, &row.value);
        if read.as_ref().is_some_and(|read| rows::mark(read, id, *number) != *mark) {
            // An older mark of a row that has another one: it must not steal a lease.
            batch.delete(mark.clone());
            continue;
        }
        let opened = read.as_ref().and_then(|row| row.open(office, id, *number));
        let of_letter = letter.as_ref().filter(|letter| {
            let form = read.as_ref().map_or(0, |row| row.form);
            usize::from(form) < letter.forms.len()
        });
        let (Some(before), Some(recipient), Some(_)) = (read.clone(), opened, of_letter) else {
            // Kept for a human, where it hides nobody.
            tracing::error!(letter = %id, number, "a waiting letter is damaged and set aside");
            match read {
                // The letter's own row is what cannot be read.
                Some(before) => {
                    let (mut row, hold) = (before.clone(), damage(office, &before.domain));
                    let place = (id, *number);
                    rows::hold(&mut batch, (&before, version), &mut row, place, &hold);
                }
                None => {
                    let place = (key.as_slice(), version);
                    set_aside_damaged(&mut batch, office, (id, *number), (mark, domain), place);
                }
            }
            damaged += 1;
            continue;
        };
        let mut row = before.clone();
        row.state = State::Leased;
        row.due = lease_until.as_millis();
        if row.order.is_none() {
            // Counted now: an attempt that ends with the process was one, too.
            row.attempts = row.attempts.saturating_add(1);
        }
        rows::change(&mut batch, (&before, version), &row, id, *number);
        recipients.push(ClaimedRecipient {
            number: *number,
            recipient,
            attempts: row.attempts,
            route: row.route.clone(),
            order: row.order.clone(),
            form: row.form,
            row,
            version: Version(version.0 + 1),
        });
    }
    let claimed = letter.filter(|_| !recipients.is_empty()).map(|letter| Claimed {
        queue_id: id,
        letter,
        recipients,
        lease_until,
    });
    Ok(Claim { claimed, damaged, batch })
}

/// The row stays as it is; its mark goes to those that are on hold.
pub(super) fn set_aside_damaged(
    batch: &mut Batch,
    office: &Office,
    (id, number): (QueueId, u16),
    (mark, domain): (&[u8], &str),
    (key, version): (&[u8], Version),
) {
    batch.require_at(key.to_vec(), version);
    batch.delete(mark.to_vec());
    batch.put(rows::held_key(id, number), rows::encode(&damage(office, rows::parts_of(domain).0)));
}

fn damage(office: &Office, domain: &str) -> HoldRow {
    HoldRow {
        domain: domain.to_owned(),
        kind: HoldKind::Damaged,
        author: RELAY.to_owned(),
        reason: "the row, or its letter's, cannot be read".to_owned(),
        since: office.clock.now().as_millis(),
    }
}

/// True while the rows of these recipients are as the lease left them.
pub async fn holds(office: &Office, claimed: &Claimed, settlements: &[(u16, Settlement)]) -> bool {
    for recipient in &claimed.recipients {
        if !settlements.iter().any(|(number, _)| *number == recipient.number) {
            continue;
        }
        let key = rows::recipient_key(claimed.queue_id, recipient.number);
        match office.store.get(&key).await {
            Ok(Some(row)) if row.version == recipient.version => {}
            Ok(_) => return false,
            // Unknown is not lost: the caller asks again.
            Err(_) => {}
        }
    }
    true
}

/// The writes that end an attempt. They commit only if the lease still holds.
pub struct Settled {
    /// Preconditions and writes.
    pub batch: Batch,
    /// What to sweep after the commit.
    pub released: Vec<store::blobs::Released>,
}

/// Prepares the end of an attempt for some of its recipients.
pub async fn settle(
    office: &Office,
    claimed: &Claimed,
    settlements: &[(u16, Settlement)],
) -> Result<Settled, Refusal> {
    let id = claimed.queue_id;
    let mut batch = Batch::new();
    let mut finished = 0;
    for (number, settlement) in settlements {
        let Some(recipient) = claimed.recipients.iter().find(|each| each.number == *number) else {
            continue;
        };
        let held = (&recipient.row, recipient.version);
        match settlement {
            Settlement::Finished => {
                rows::remove(&mut batch, held, id, *number);
                finished += 1;
            }
            Settlement::Again(at, reply) => {
                let mut row = waiting(&recipient.row, *at);
                // It came to an end: it breaks nobody.
                (row.suspect, row.deaths, row.order) = (false, 0, None);
                row.keep_reply(office, id, *number, reply);
                rows::change(&mut batch, held, &row, id, *number);
            }
        }
    }
    let released =
        if finished > 0 { finish(office, id, finished, &mut batch).await? } else { Vec::new() };
    Ok(Settled { batch, released })
}

fn waiting(row: &RecipientRow, due: Timestamp) -> RecipientRow {
    let mut row = row.clone();
    row.state = State::Waiting;
    row.due = due.as_millis();
    row
}

/// Counts recipients off the letter; the last one takes letter and content with it.
pub(super) async fn finish(
    office: &Office,
    id: QueueId,
    finished: u32,
    batch: &mut Batch,
) -> Result<Vec<store::blobs::Released>, Refusal> {
    let key = rows::letter_key(id);
    let row = office.store.get(&key).await.map_err(|error| refusal_of(&error))?;
    let Some(row) = row else { return Ok(Vec::new()) };
    let Some(mut letter) = LetterRow::read(&row.value) else {
        return Err(Refusal::StoreFailed);
    };
    batch.require_at(key.clone(), row.version);
    if letter.waiting > finished {
        letter.waiting -= finished;
        batch.put(key, letter.encode());
        return Ok(Vec::new());
    }
    batch.delete(key);
    let mut gone = Vec::with_capacity(letter.forms.len());
    for form in &letter.forms {
        match office.blobs.release(BlobId::from_bytes(form.blob), 1, batch).await {
            Ok(released) => gone.push(released),
            // The end of a letter must not wait for ever for a content that is not there.
            Err(error @ (StoreError::BlobMissing | StoreError::Damaged(_))) => {
                tracing::error!(%error, letter = %id, "a letter ends whose content is not there");
            }
            Err(error) => return Err(refusal_of(&error)),
        }
    }
    Ok(gone)
}

/// Rows of attempts that were cut by us: they wait again, as if nobody had begun.
pub async fn give_back(office: &Office, claimed: &Claimed) {
    let now = office.clock.now();
    for recipient in &claimed.recipients {
        let (id, number) = (claimed.queue_id, recipient.number);
        let mut batch = Batch::new();
        let row = waiting(&recipient.row, now);
        rows::change(&mut batch, (&recipient.row, recipient.version), &row, id, number);
        note_cut(office, &mut batch, &row, (id, number), now);
        // On a conflict it is settled; when the store fails, the lease runs out.
        if office.store.commit(batch).await.is_ok() {
            office.lanes.ring(&rows::lane_name(&row));
        }
    }
}

/// An attempt that began and did not come to an end is told in the letter's timeline.
pub(super) fn note_cut(
    office: &Office,
    batch: &mut Batch,
    row: &RecipientRow,
    (id, number): (QueueId, u16),
    now: Timestamp,
) {
    let (None, Some(recipient)) = (&row.order, row.open(office, id, number)) else { return };
    let (recipient, step) = (Some(recipient.address), timeline::Step::Cut(row.attempts));
    timeline::ride(office, id, &[timeline::Entry { at: now, recipient, step }], batch);
}

/// A worker broke over these recipients. Tells how many of them are set aside now.
pub async fn broke(
    office: &Office,
    claimed: &Claimed,
    numbers: &[u16],
    now: Timestamp,
) -> Result<usize, Refusal> {
    let wait = office.config.queue.retry.first().copied().unwrap_or(limits::CIRCUIT_OPEN_MIN);
    let mut aside = 0;
    let broken = claimed.recipients.iter().filter(|each| numbers.contains(&each.number));
    for recipient in broken {
        let (id, number) = (claimed.queue_id, recipient.number);
        let before = (&recipient.row, recipient.version);
        let mut row = waiting(&recipient.row, now.after(wait));
        row.breaks = row.breaks.saturating_add(1);
        (row.suspect, row.deaths) = (false, 0);
        let mut batch = Batch::new();
        let is_poison = row.breaks >= limits::BREAKS_MAX;
        if is_poison {
            let reason = format!("it broke a worker {} times", row.breaks);
            set_aside(office, &mut batch, before, (id, number), &mut row, reason, now);
        } else {
            rows::change(&mut batch, before, &row, id, number);
        }
        match office.store.commit(batch).await {
            Ok(()) => aside += usize::from(is_poison),
            // Settled before it broke.
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(mailbox::commit_refusal(&error)),
        }
        office.lanes.ring(&rows::lane_name(&recipient.row));
    }
    Ok(aside)
}

/// Puts a row on hold as poison, and says so in the letter's timeline.
pub(super) fn set_aside(
    office: &Office,
    batch: &mut Batch,
    before: (&RecipientRow, Version),
    (id, number): (QueueId, u16),
    row: &mut RecipientRow,
    reason: String,
    now: Timestamp,
) {
    let recipient = row.open(office, id, number).map(|recipient| recipient.address);
    let step = timeline::Step::SetAside(reason.clone());
    timeline::ride(office, id, &[timeline::Entry { at: now, recipient, step }], batch);
    let hold = HoldRow {
        domain: row.domain.clone(),
        kind: HoldKind::SetAside,
        author: RELAY.to_owned(),
        reason,
        since: now.as_millis(),
    };
    rows::hold(batch, before, row, (id, number), &hold);
}

/// Leases that ran out: their rows wait again, at once. `is_running` tells which ones this
/// process still works on; a clock that jumped must not take those away.
pub async fn take_back(
    office: &Office,
    now: Timestamp,
    is_running: impl Fn(QueueId, u16) -> bool,
) -> Result<usize, Refusal> {
    let mut freed = 0;
    let all = store::prefix(rows::LEASED);
    let at = |moment: Timestamp| [rows::LEASED, &moment.as_millis().to_be_bytes()].concat();
    let over = all.start..at(now.after(Duration::from_millis(1)));
    // Nobody leases for so long: the clock was ahead when these were written.
    let unreal = at(now.after(2 * limits::LEASE))..all.end;
    for mut range in [over, unreal] {
        loop {
            let page = queue::scan(office, range.clone()).await?;
            for (key, _) in &page.rows {
                let Some(mark) = rows::mark_of(rows::LEASED, key) else { continue };
                if !is_running(mark.id, mark.number) {
                    freed += usize::from(take_back_one(office, key, mark, now).await?);
                }
            }
            match queue::rest(range, &page) {
                Some(rest) => range = rest,
                None => break,
            }
        }
    }
    Ok(freed)
}

async fn take_back_one(
    office: &Office,
    key: &[u8],
    mark: rows::Mark,
    now: Timestamp,
) -> Result<bool, Refusal> {
    let (id, number) = (mark.id, mark.number);
    let row = office.store.get(&rows::recipient_key(id, number)).await;
    let row = row.map_err(|error| refusal_of(&error))?;
    let read = row
        .as_ref()
        .and_then(|row| Some((RecipientRow::read(office, id, number, &row.value)?, row.version)));
    let mut batch = Batch::new();
    let mut lane = None;
    match (&row, read) {
        (_, Some((before, version))) if rows::mark(&before, id, number) == key => {
            let after = waiting(&before, now);
            rows::change(&mut batch, (&before, version), &after, id, number);
            lane = Some(rows::lane_name(&after));
        }
        (Some(damaged), None) => {
            let row_key = rows::recipient_key(id, number);
            let place = (&*row_key, damaged.version);
            set_aside_damaged(&mut batch, office, (id, number), (key, ""), place);
        }
        // A mark without its row, or of another time.
        _ => {
            batch.delete(key.to_vec());
        }
    }
    match office.store.commit(batch).await {
        Ok(()) => {}
        Err(CommitError::Conflict) => return Ok(false),
        Err(error) => return Err(mailbox::commit_refusal(&error)),
    }
    if let Some(lane) = &lane {
        office.lanes.ring(lane);
        office.lanes.ring_benches();
    }
    Ok(lane.is_some())
}

/// Letters that are too old, in a lane that cannot be served, end without an attempt.
pub(super) async fn expire(
    office: &Office,
    marks: &[rows::Mark],
    now: Timestamp,
) -> Result<(), Refusal> {
    let mut batch = Batch::new();
    for mark in marks {
        let (id, number) = (mark.id, mark.number);
        let row = office.store.get(&rows::recipient_key(id, number)).await;
        let Some(row) = row.map_err(|error| refusal_of(&error))? else { continue };
        let Some(before) = RecipientRow::read(office, id, number, &row.value) else { continue };
        if before.state != State::Waiting || before.order.is_some() {
            continue;
        }
        let mut after = waiting(&before, now);
        after.order = Some(rows::Order::Expired);
        rows::change(&mut batch, (&before, row.version), &after, id, number);
    }
    if batch.writes.is_empty() {
        return Ok(());
    }
    match office.store.commit(batch).await {
        Ok(()) => office.lanes.ring_benches(),
        // Somebody else was faster with one of them: the next sweep looks again.
        Err(CommitError::Conflict) => {}
        Err(error) => return Err(mailbox::commit_refusal(&error)),
    }
    Ok(())
}

/// Takes rows of an ended attempt that are gone off the counts: what the store says counts, not
/// what the attempt wanted.
pub async fn note_gone(office: &Office, claimed: &Claimed) {
    for recipient in &claimed.recipients {
        let key = rows::recipient_key(claimed.queue_id, recipient.number);
        if let Ok(None) = office.store.get(&key).await {
            office.lanes.went(claimed.queue_id, &recipient.row.domain);
        }
    }
}
