//! After a start: leases of an earlier life, and rows of an older form.
//!
//! A process that died says nothing about a letter that it was sending: power fails, people
//! restart machines. So what was in flight becomes a *suspect*. Suspects are tried one after the
//! other, the next one when the last one has ended or lived for some seconds; only when the process
//! dies again while one of them is the only suspect in flight does that count, and only the second
//! time sets the letter aside. When it dies with several of them, nobody knows which one it was:
//! the next process tries them strictly one by one.
use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::envelope::QueueId;
use crate::domain::status::Refusal;
use crate::flow::mailbox;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::lease;
use crate::flow::queue::rows;
use crate::flow::queue::rows::RecipientRow;
use crate::flow::queue::rows::State;
use crate::infra::store;
use crate::infra::store::Batch;

/// After a death that counted, the suspect waits so long for the next try: whoever kills a relay
/// that has just started kills no suspect then.
const AFTER_DEATH: Duration = Duration::from_secs(5);
/// Deaths after which a suspect is set aside.
const DEATHS_MAX: u8 = 2;

/// What was found after a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Leases of an earlier life that are free again.
    pub freed: usize,
    /// Rows that were set aside: the process died with them twice.
    pub set_aside: usize,
}

/// At the start no attempt runs, so no lease of an earlier life is worth anything. Looks at
/// leases only, whatever else waits.
pub async fn recover(office: &Office) -> Result<Recovered, Refusal> {
    let now = office.clock.now();
    let mut recovered = Recovered::default();
    let suspects = suspects_in_flight(office).await?;
    let was_alone = suspects.len() == 1;
    office.lanes.memory().suspects_alone = suspects.len() > 1;
    let mut range = store::prefix(rows::LEASED);
    loop {
        let page = queue::scan(office, range.clone()).await?;
        let mut batch = Batch::new();
        for (key, _) in &page.rows {
            let Some(mark) = rows::mark_of(rows::LEASED, key) else { continue };
            let (id, number) = (mark.id, mark.number);
            let row = office.store.get(&rows::recipient_key(id, number)).await;
            let row = row.map_err(|error| queue::refusal_of(&error))?;
            let read = row.and_then(|row| {
                Some((RecipientRow::read(office, id, number, &row.value)?, row.version))
            });
            let Some((before, version)) =
                read.filter(|(row, _)| rows::mark(row, id, number) == *key)
            else {
                // Without a row, or with one that cannot be read: the end of the lease decides.
                continue;
            };
            let mut row = before.clone();
            row.state = State::Waiting;
            row.deaths = match before.suspect {
                true => before.deaths.saturating_add(u8::from(was_alone)),
                false => 0,
            };
            row.suspect = row.order.is_none();
            row.due = now.after(AFTER_DEATH * u32::from(row.deaths)).as_millis();
            lease::note_cut(office, &mut batch, &row, (id, number), now);
            if row.deaths >= DEATHS_MAX {
                let reason = format!("the relay died {} times while it sent this", row.deaths);
                let held = (&before, version);
                lease::set_aside(office, &mut batch, held, (id, number), &mut row, reason, now);
                recovered.set_aside += 1;
            } else {
                rows::change(&mut batch, (&before, version), &row, id, number);
                recovered.freed += 1;
            }
        }
        commit(office, batch).await?;
        match queue::rest(range, &page) {
            Some(rest) => range = rest,
            None => return Ok(recovered),
        }
    }
}

/// Letters that were suspects already when they were leased.
async fn suspects_in_flight(office: &Office) -> Result<BTreeSet<QueueId>, Refusal> {
    let mut found = BTreeSet::new();
    let mut range = store::prefix(rows::LEASED);
    loop {
        let page = queue::scan(office, range.clone()).await?;
        for (key, _) in &page.rows {
            let Some(mark) = rows::mark_of(rows::LEASED, key) else { continue };
            let row = office.store.get(&rows::recipient_key(mark.id, mark.number)).await;
            let row = row.map_err(|error| queue::refusal_of(&error))?;
            let row =
                row.and_then(|row| RecipientRow::read(office, mark.id, mark.number, &row.value));
            if row.is_some_and(|row| row.suspect && rows::mark(&row, mark.id, mark.number) == *key)
            {
                found.insert(mark.id);
            }
        }
        match queue::rest(range, &page) {
            Some(rest) => range = rest,
            None => return Ok(found),
        }
    }
}

/// Marks of the form before lanes become marks in lanes, page by page; what was leased then is
/// due now. Tells how many there were: none, at the price of one read, in every later start.
pub async fn migrate(office: &Office) -> Result<usize, Refusal> {
    let mut moved = 0;
    loop {
        // From the beginning each time: a page that is done is gone.
        let page = queue::scan(office, rows::old_marks()).await?;
        if page.rows.is_empty() {
            return Ok(moved);
        }
        let mut batch = Batch::new();
        let mut lanes = BTreeSet::new();
        for (key, versioned) in &page.rows {
            batch.delete(key.to_vec());
            let Some(mark) = rows::mark_of(rows::DUE, key) else { continue };
            let (id, number) = (mark.id, mark.number);
            let row = office.store.get(&rows::recipient_key(id, number)).await;
            let Some(row) = row.map_err(|error| queue::refusal_of(&error))? else { continue };
            let Some(before) = RecipientRow::read(office, id, number, &row.value) else {
                let domain = String::from_utf8_lossy(&versioned.value);
                let row_key = rows::recipient_key(id, number);
                let place = (row_key.as_slice(), row.version);
                lease::set_aside_damaged(&mut batch, office, (id, number), (key, &domain), place);
                continue;
            };
            // An older mark of a row that has a newer one.
            if before.due() != mark.at || before.state == State::Held {
                continue;
            }
            let mut after = before.clone();
            if before.state == State::Leased {
                after.state = State::Waiting;
                after.due = office.clock.now().as_millis();
            }
            lanes.insert(after.domain.clone());
            batch.require_at(rows::recipient_key(id, number), row.version);
            rows::create(&mut batch, &after, id, number);
            moved += 1;
        }
        commit(office, batch).await?;
        lanes.iter().for_each(|lane| office.lanes.ring(lane));
        tokio::task::yield_now().await;
    }
}

async fn commit(office: &Office, batch: Batch) -> Result<(), Refusal> {
    if batch.writes.is_empty() {
        return Ok(());
    }
    office.store.commit(batch).await.map_err(|error| mailbox::commit_refusal(&error))
}
