//! What administrators do to rows: found by letter, recipient or domain, changed some at a time.
//!
//! A row that an attempt has is nobody else's: it is left alone, and told as busy. Each change
//! commits on the version that was read, so it never meets an attempt half-way.
use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::envelope::QueueId;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::mailbox;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::HoldKind;
use crate::flow::queue::Order;
use crate::flow::queue::lease;
use crate::flow::queue::refusal_of;
use crate::flow::queue::rows;
use crate::flow::queue::rows::HoldRow;
use crate::flow::queue::rows::PauseRow;
use crate::flow::queue::rows::RecipientRow;
use crate::flow::queue::rows::RerouteRow;
use crate::flow::queue::rows::State;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Version;

/// How often a change is tried again when a row moved in between.
const TRIES: usize = 5;

/// Which rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All of one letter.
    Letter(QueueId),
    /// All for one recipient.
    Recipient(Address),
    /// All in one lane.
    Domain(Domain),
}

/// What is done to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Due now.
    Retry,
    /// Waits until it is released.
    Hold,
    /// Waits no longer, whatever it was held for.
    Release,
    /// Ends with a report to the sender, who may read the reason if one is given.
    Bounce(Option<String>),
    /// Ends without a report.
    Drop,
    /// Goes to this `host:port`, or again where its domain's mail goes.
    Reroute(Option<String>),
}

/// A row that a change met, or would.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its letter.
    pub letter: QueueId,
    /// Its number in the letter.
    pub number: u16,
    /// For whom; `None` when the row cannot be read.
    pub recipient: Option<Address>,
    /// Its domain.
    pub domain: String,
    /// The lanes that it leaves and joins.
    pub(super) lanes: Vec<String>,
}

/// What came of a change of some rows.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// Changed, or would be.
    pub done: Vec<Seen>,
    /// An attempt has them.
    pub busy: Vec<Seen>,
    /// Nothing was to be done, or it cannot be.
    pub left: Vec<Seen>,
}

/// The rows behind a target, in the order of their letters. A recipient is looked for in its
/// lane: addresses are sealed, there is no index of them.
pub async fn find(office: &Office, target: &Target) -> Result<Vec<(QueueId, u16)>, Refusal> {
    let mut keys = Vec::new();
    match target {
        Target::Letter(id) => {
            let mut range = rows::recipients_of(*id);
            loop {
                let page = queue::scan(office, range.clone()).await?;
                let found = page.rows.iter();
                keys.extend(found.filter_map(|(key, _)| rows::row_of(rows::RECIPIENTS, key)));
                match queue::rest(range, &page) {
                    Some(rest) => range = rest,
                    None => break,
                }
            }
        }
        Target::Domain(domain) => keys = in_domain(office, domain.as_str()).await?,
        Target::Recipient(address) => {
            for (id, number) in in_domain(office, address.domain().as_str()).await? {
                let row = office.store.get(&rows::recipient_key(id, number)).await;
                let Some(row) = row.map_err(|error| refusal_of(&error))? else { continue };
                let row = RecipientRow::read(office, id, number, &row.value);
                let recipient = row.and_then(|row| row.open(office, id, number));
                let is_theirs = |there: &Address| there.lookup_form() == address.lookup_form();
                if recipient.is_some_and(|recipient| is_theirs(&recipient.address)) {
                    keys.push((id, number));
                }
            }
        }
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

/// Rows of a domain by their marks: in the lane, and on the shorter tables beside it.
async fn in_domain(office: &Office, domain: &str) -> Result<Vec<(QueueId, u16)>, Refusal> {
    let mut keys = Vec::new();
    let lane = rows::lane(domain)..rows::behind_lane(domain);
    for mut range in [lane, rows::lanes_elsewhere(domain)] {
        loop {
            let page = queue::scan(office, range.clone()).await?;
            let marks = page.rows.iter().filter_map(|(key, _)| rows::lane_mark_of(key));
            keys.extend(marks.map(|(_, mark)| (mark.id, mark.number)));
            match queue::rest(range, &page) {
                Some(rest) => range = rest,
                None => break,
            }
            tokio::task::yield_now().await;
        }
    }
    for table in [rows::LEASED, rows::SUSPECTS, rows::ORDERED, rows::HELD] {
        let mut range = store::prefix(table);
        loop {
            let page = queue::scan(office, range.clone()).await?;
            for (key, value) in &page.rows {
                if table == rows::HELD {
                    let hold = rows::decode::<HoldRow>(&value.value);
                    if hold.is_some_and(|hold| hold.domain == domain) {
                        keys.extend(rows::row_of(table, key));
                    }
                } else if *value.value == *domain.as_bytes() {
                    keys.extend(rows::mark_of(table, key).map(|mark| (mark.id, mark.number)));
                }
            }
            match queue::rest(range, &page) {
                Some(rest) => range = rest,
                None => break,
            }
        }
    }
    Ok(keys)
}

/// Changes some rows in one commit, with whatever `also` adds to it (the journal, timelines).
/// A dry run reads and tells, and writes nothing.
pub async fn touch(
    office: &Office,
    keys: &[(QueueId, u16)],
    change: &Change,
    (author, reason): (&str, &str),
    is_dry: bool,
    also: impl Fn(&Touched, &mut Batch),
) -> Result<Touched, Refusal> {
    for _ in 0..TRIES {
        let now = office.clock.now();
        let mut plan = Plan { office, change, author, reason, now, batch: Batch::new() };
        let mut touched = Touched::default();
        for (id, number) in keys {
            plan.row(*id, *number, &mut touched).await?;
        }
        if is_dry || touched.done.is_empty() {
            return Ok(touched);
        }
        let mut released = Vec::new();
        if *change == Change::Drop {
            released = plan.count_off(&touched).await?;
        }
        let mut batch = plan.batch;
        also(&touched, &mut batch);
        match office.store.commit(batch).await {
            Ok(()) => {
                for contents in released {
                    office.blobs.sweep(contents).await;
                }
                told(office, change, &touched);
                return Ok(touched);
            }
            // A row moved, or a letter's: look again.
            Err(CommitError::Conflict) => tokio::task::yield_now().await,
            Err(error) => return Err(mailbox::commit_refusal(&error)),
        }
    }
    Err(Refusal::Busy)
}

fn told(office: &Office, change: &Change, touched: &Touched) {
    let mut lanes: Vec<&str> =
        touched.done.iter().flat_map(|seen| seen.lanes.iter().map(String::as_str)).collect();
    lanes.sort_unstable();
    lanes.dedup();
    for lane in lanes {
        match change {
            Change::Retry | Change::Release => office.lanes.knock(office, lane),
            _ => office.lanes.ring(lane),
        }
    }
    office.lanes.ring_benches();
    if *change == Change::Drop {
        touched.done.iter().for_each(|seen| office.lanes.went(seen.letter, &seen.domain));
    }
}

struct Plan<'a> {
    office: &'a Office,
    change: &'a Change,
    author: &'a str,
    reason: &'a str,
    now: Timestamp,
    batch: Batch,
}

impl Plan<'_> {
    async fn row(
        &mut self,
        id: QueueId,
        number: u16,
        touched: &mut Touched,
    ) -> Result<(), Refusal> {
        let key = rows::recipient_key(id, number);
        let stored = self.office.store.get(&key).await.map_err(|error| refusal_of(&error))?;
        let Some(stored) = stored else { return Ok(()) };
        let row = RecipientRow::read(self.office, id, number, &stored.value);
        let mut seen =
            Seen { letter: id, number, recipient: None, domain: String::new(), lanes: Vec::new() };
        let Some(before) = row else {
            self.damaged(seen, stored.version, touched).await?;
            return Ok(());
        };
        seen.recipient = before.open(self.office, id, number).map(|recipient| recipient.address);
        seen.domain.clone_from(&before.domain);
        seen.lanes.push(rows::lane_name(&before));
        if let Change::Reroute(route) = self.change {
            let mut after = before.clone();
            after.route.clone_from(route);
            seen.lanes.push(rows::lane_name(&after));
        }
        // Without a scheduler nobody attempts anything: a lease is of a process that is gone.
        let is_scheduled = self.office.lanes.memory().scheduled;
        if before.state == State::Leased && is_scheduled {
            touched.busy.push(seen);
            return Ok(());
        }
        match self.change_one(&before, stored.version, id, number) {
            true => touched.done.push(seen),
            false => touched.left.push(seen),
        }
        Ok(())
    }

    /// Plans one row; false when there is nothing to do.
    fn change_one(
        &mut self,
        before: &RecipientRow,
        version: Version,
        id: QueueId,
        number: u16,
    ) -> bool {
        let held = before.state == State::Held;
        let mut after = before.clone();
        after.due = self.now.as_millis();
        if !held {
            after.state = State::Waiting;
        }
        match self.change {
            Change::Retry if held || before.order.is_some() => return false,
            Change::Retry => {}
            Change::Hold if held => return false,
            Change::Hold => {
                let reason = HoldRow {
                    domain: before.domain.clone(),
                    kind: HoldKind::Hands,
                    author: self.author.to_owned(),
                    reason: self.reason.to_owned(),
                    since: self.now.as_millis(),
                };
                let place = (id, number);
                rows::hold(&mut self.batch, (before, version), &mut after, place, &reason);
                return true;
            }
            Change::Release if !held => return false,
            Change::Release => {
                after.state = State::Waiting;
                (after.breaks, after.suspect, after.deaths) = (0, false, 0);
            }
            Change::Bounce(told) => {
                after.state = State::Waiting;
                after.order = Some(Order::Bounce(told.clone()));
            }
            Change::Drop => {
                rows::remove(&mut self.batch, (before, version), id, number);
                return true;
            }
            Change::Reroute(to) if before.route == *to => return false,
            Change::Reroute(to) => after.route.clone_from(to),
        }
        if held && after.state == State::Held {
            // Its mark and the reason in it stay.
            self.batch.require_at(rows::recipient_key(id, number), version);
            self.batch.put(rows::recipient_key(id, number), after.encode());
        } else {
            rows::change(&mut self.batch, (before, version), &after, id, number);
        }
        true
    }

    /// A row that cannot be read can be dropped, and nothing else.
    async fn damaged(
        &mut self,
        mut seen: Seen,
        version: Version,
        touched: &mut Touched,
    ) -> Result<(), Refusal> {
        let held = rows::held_key(seen.letter, seen.number);
        let hold = self.office.store.get(&held).await.map_err(|error| refusal_of(&error))?;
        let hold = hold.and_then(|hold| rows::decode::<HoldRow>(&hold.value));
        seen.domain = hold.map(|hold| hold.domain).unwrap_or_default();
        if *self.change != Change::Drop {
            touched.left.push(seen);
            return Ok(());
        }
        let key = rows::recipient_key(seen.letter, seen.number);
        self.batch.require_at(key.clone(), version);
        self.batch.delete(key);
        self.batch.delete(held);
        touched.done.push(seen);
        Ok(())
    }

    /// Takes dropped rows off their letters.
    async fn count_off(
        &mut self,
        touched: &Touched,
    ) -> Result<Vec<store::blobs::Released>, Refusal> {
        let mut released = Vec::new();
        let mut rest = touched.done.as_slice();
        while let Some(first) = rest.first() {
            let same = rest.iter().take_while(|seen| seen.letter == first.letter).count();
            let finished = u32::try_from(same).unwrap_or(u32::MAX);
            match lease::finish(self.office, first.letter, finished, &mut self.batch).await {
                Ok(contents) => released.extend(contents),
                Err(refusal) => {
                    // Its own row is damaged: what it named stays until the next start sweeps.
                    tracing::error!(letter = %first.letter, %refusal, "a letter's row is damaged");
                }
            }
            rest = &rest[same..];
        }
        Ok(released)
    }
}

/// Holds a whole lane with one row; new letters wait, too.
pub async fn pause(
    office: &Office,
    domain: &Domain,
    (author, reason): (&str, &str),
    also: Batch,
) -> Result<(), Refusal> {
    let since = office.clock.now().as_millis();
    let row = PauseRow { author: author.to_owned(), reason: reason.to_owned(), since };
    let mut batch = also;
    batch.put(rows::paused_key(domain.as_str()), rows::encode(&row));
    commit(office, batch).await?;
    office.lanes.memory().paused.insert(domain.to_string(), row);
    Ok(())
}

/// Releases a lane. False when it was not held.
pub async fn resume(office: &Office, domain: &Domain, also: Batch) -> Result<bool, Refusal> {
    if !office.lanes.is_paused(domain.as_str()) {
        return Ok(false);
    }
    let mut batch = also;
    batch.delete(rows::paused_key(domain.as_str()));
    commit(office, batch).await?;
    office.lanes.memory().paused.remove(domain.as_str());
    office.lanes.knock(office, domain.as_str());
    ring_elsewhere(office, domain.as_str()).await?;
    office.lanes.ring_benches();
    Ok(true)
}

/// Wakes the lanes of a domain's letters that go elsewhere.
async fn ring_elsewhere(office: &Office, domain: &str) -> Result<(), Refusal> {
    let mut range = rows::lanes_elsewhere(domain);
    loop {
        let page = office.store.scan(range.clone(), 1).await.map_err(|error| refusal_of(&error))?;
        let first = page.rows.first().and_then(|(key, _)| rows::lane_mark_of(key));
        let Some((lane, _)) = first else { return Ok(()) };
        office.lanes.ring(lane);
        range.start = rows::behind_lane(lane);
    }
}

/// Sends a domain's mail to `host:port`, or again where it went before. False when there was
/// nothing to take back.
pub async fn reroute(
    office: &Office,
    domain: &Domain,
    to: Option<&str>,
    (author, reason): (&str, &str),
    also: Batch,
) -> Result<bool, Refusal> {
    let mut batch = also;
    let key = rows::rerouted_key(domain.as_str());
    let row = to.map(|to| RerouteRow {
        to: to.to_owned(),
        author: author.to_owned(),
        reason: reason.to_owned(),
        since: office.clock.now().as_millis(),
    });
    match &row {
        Some(row) => batch.put(key, rows::encode(row)),
        None if office.lanes.rerouted(domain.as_str()).is_none() => return Ok(false),
        None => batch.delete(key),
    };
    commit(office, batch).await?;
    let name = domain.to_string();
    match row {
        Some(row) => office.lanes.memory().rerouted.insert(name, row),
        None => office.lanes.memory().rerouted.remove(&name),
    };
    office.lanes.ring(domain.as_str());
    Ok(true)
}

async fn commit(office: &Office, batch: Batch) -> Result<(), Refusal> {
    office.store.commit(batch).await.map_err(|error| mailbox::commit_refusal(&error))
}
