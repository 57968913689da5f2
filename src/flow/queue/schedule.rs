//! Whose turn it is: fair turns between lanes, and no look at rows that nobody will serve.
//!
//! At the start the lanes are found by seeking: one read a domain, not one a row. From then on a
//! lane is asleep until its next row is due, or it takes turns with the others, one letter a
//! turn. A lane that is held, full, or whose host does not answer is not read at all.
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::mailbox;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Claimed;
use crate::flow::queue::bench;
use crate::flow::queue::bench::Bench;
use crate::flow::queue::circuit::Verdict;
use crate::flow::queue::lease;
use crate::flow::queue::reading;
use crate::flow::queue::reading::Sweep;
use crate::flow::queue::rows;
use crate::flow::queue::rows::Mark;
use crate::flow::queue::rows::RecipientRow;
use crate::infra::store;
use crate::infra::store::CommitError;
use crate::infra::store::Committing;

/// Lanes, or letters that turn out to be somebody else's, that one call looks at.
const LOOKS_MAX: usize = 1_000;
/// How often one call begins again when nothing of what it claimed was to be had.
const ROUNDS_MAX: usize = 20;
/// How often leases are looked through for those that ran out.
const LEASES_EVERY: Duration = Duration::from_secs(15);
/// A lane whose host is being tried by another letter looks again after so long.
const PROBE_PAUSE: Duration = Duration::from_millis(500);
/// How often the store is asked for lanes that nobody rang for.
const SEEK_EVERY: Duration = Duration::from_secs(300);
/// Lanes that one call asks the store for.
const SEEK_AT_ONCE: usize = 100;
/// One part in so many of all places is kept for lanes that have none.
const KEPT_PART: usize = 4;

/// The state of the lanes; one a store.
pub struct Schedule {
    lanes: HashMap<Arc<str>, Lane>,
    turns: VecDeque<Arc<str>>,
    asleep: BTreeSet<(Timestamp, Arc<str>)>,
    /// Their hosts do not answer.
    blocked: BTreeSet<(Instant, Arc<str>)>,
    /// No place for them until an attempt ends.
    waiting: Vec<Arc<str>>,
    orders: Bench,
    suspects: Bench,
    running: usize,
    /// Attempts at each host: one operator may have hundreds of domains there.
    at_host: HashMap<String, usize>,
    seek: Seek,
    /// What this process works on: nobody takes its lease away.
    under_way: HashMap<(QueueId, u16), Instant>,
    leases_seen: Option<Instant>,
    damaged: usize,
    /// Handed in and not known to be durable; empty between two calls.
    claims: Vec<Claiming>,
    /// Lanes that take turns again when those are.
    drained: VecDeque<Arc<str>>,
}

struct Claiming {
    work: Option<Work>,
    damaged: usize,
    committing: Committing,
}

#[derive(Default)]
struct Lane {
    place: Place,
    running: usize,
    /// Due marks that were read and not served yet. Hints: the claim looks at the row.
    ahead: VecDeque<Mark>,
    sweep: Sweep,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nowhere: it has no rows, or is held.
    #[default]
    Out,
    Turns,
    Asleep(Timestamp),
    Blocked(Instant),
    Waiting,
}

/// Looks for lanes with rows that this schedule does not know of, or thinks are due later: whoever
/// committed them may have gone before it could ring.
struct Seek {
    /// Where it goes on; `None` between two searches.
    from: Option<Vec<u8>>,
    done: Instant,
}

/// A letter to attempt, and what must be told when that is over.
pub struct Work {
    /// The leased letter.
    pub claimed: Claimed,
    /// For [`Schedule::ended`].
    pub ticket: Ticket,
}

/// The place that an attempt has.
#[derive(Clone, Debug)]
pub struct Ticket {
    lane: Arc<str>,
    kind: Kind,
    host: Option<String>,
    rows: Vec<(QueueId, u16)>,
    /// Lanes in which its rows lie when they are put back.
    home: BTreeSet<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Lane,
    Order,
    Suspect,
}

impl Ticket {
    /// The lane that it came from.
    pub fn lane(&self) -> &str {
        &self.lane
    }

    /// True when the letter was in flight as an earlier process died.
    pub fn is_suspect(&self) -> bool {
        self.kind == Kind::Suspect
    }
}

impl Schedule {
    /// Finds the lanes by seeking: one read for each.
    pub async fn open(office: &Office) -> Result<Self, Refusal> {
        let now = office.clock.now();
        let mut schedule = Self {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            asleep: BTreeSet::new(),
            blocked: BTreeSet::new(),
            waiting: Vec::new(),
            orders: Bench::new(rows::ORDERED, now),
            suspects: Bench::new(rows::SUSPECTS, now),
            running: 0,
            at_host: HashMap::new(),
            seek: Seek { from: Some(first_lane()), done: Instant::now() },
            under_way: HashMap::new(),
            leases_seen: None,
            damaged: 0,
            claims: Vec::new(),
            drained: VecDeque::new(),
        };
        office.lanes.memory().scheduled = true;
        while schedule.seek.from.is_some() {
            schedule.look_for_lanes(office).await?;
        }
        Ok(schedule)
    }

    /// One part of a search, when it is time for one: one read for each lane.
    async fn look_for_lanes(&mut self, office: &Office) -> Result<(), Refusal> {
        if self.seek.from.is_none() {
            if self.seek.done.elapsed() < SEEK_EVERY {
                return Ok(());
            }
            self.seek.from = Some(first_lane());
            let now = Some(office.clock.now());
            self.orders.look_at = self.orders.look_at.or(now);
            self.suspects.look_at = self.suspects.look_at.or(now);
        }
        for _ in 0..SEEK_AT_ONCE {
            let Some(from) = self.seek.from.clone() else { break };
            let range = from..store::prefix(rows::DUE).end;
            let page = office.store.scan(range, 1).await;
            let page = page.map_err(|error| queue::refusal_of(&error))?;
            let Some((key, _)) = page.rows.first() else {
                self.seek = Seek { from: None, done: Instant::now() };
                break;
            };
            self.seek.from = Some(match rows::lane_mark_of(key) {
                Some((domain, mark)) => {
                    self.found(office, domain, mark.at);
                    rows::behind_lane(domain)
                }
                None => [key.as_ref(), &[0]].concat(),
            });
        }
        Ok(())
    }

    /// A lane has a row that is due then.
    fn found(&mut self, office: &Office, domain: &str, due: Timestamp) {
        let lane = Arc::from(domain);
        match self.lanes.get(&lane).map(|state| state.place) {
            Some(Place::Turns | Place::Blocked(_) | Place::Waiting) => {}
            Some(Place::Asleep(until)) if until <= due => {}
            Some(Place::Asleep(until)) => {
                self.asleep.remove(&(until, Arc::clone(&lane)));
                self.sleep(&lane, due);
            }
            Some(Place::Out) | None if office.lanes.is_paused(domain) => {}
            Some(Place::Out) | None => self.sleep(&lane, due),
        }
    }

    /// How many lanes have rows or attempts, as far as this schedule knows.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Rows that could not be read and were set aside since the last question.
    pub fn take_damaged(&mut self) -> usize {
        std::mem::take(&mut self.damaged)
    }

    /// The next letter to attempt; `None` when nothing is due or no place is free.
    pub async fn next(&mut self, office: &Office, now: Timestamp) -> Result<Option<Work>, Refusal> {
        Ok(self.next_some(office, now, 1).await?.pop())
    }

    /// The next letters, at most so many and as many as there are places for; none when nothing is
    /// due. They are leased together: the disk is waited for once and not once a letter.
    pub async fn next_some(
        &mut self,
        office: &Office,
        now: Timestamp,
        most: usize,
    ) -> Result<Vec<Work>, Refusal> {
        self.look_at_leases(office, now).await?;
        self.look_for_lanes(office).await?;
        self.wake(office, now);
        for _ in 0..ROUNDS_MAX {
            let chosen = self.choose(office, now, most).await;
            let is_idle = self.claims.is_empty();
            let works = self.wait_for_claims(office).await?;
            if !works.is_empty() {
                return Ok(works);
            }
            chosen?;
            if is_idle {
                break;
            }
            // Somebody else was faster, or marks led nowhere: there may be others.
        }
        Ok(Vec::new())
    }

    /// Hands in claims for letters, each in its turn.
    async fn choose(
        &mut self,
        office: &Office,
        now: Timestamp,
        most: usize,
    ) -> Result<(), Refusal> {
        let at_once = office.config.queue.at_once.max(1);
        for _ in 0..LOOKS_MAX {
            if self.running >= at_once || self.claims.len() >= most {
                break;
            }
            if self.orders.running < at_once.div_ceil(2)
                && self.serve_bench(office, now, Kind::Order).await?
            {
                continue;
            }
            if self.next_suspect_in(office).is_some_and(|wait| wait.is_zero())
                && self.serve_bench(office, now, Kind::Suspect).await?
            {
                continue;
            }
            let Some(lane) = self.turns.pop_front() else { break };
            if let Err(refusal) = self.serve(office, &lane, now).await {
                self.turns.push_back(lane);
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Waits until what was handed in is durable; claims that are not give their places back.
    async fn wait_for_claims(&mut self, office: &Office) -> Result<Vec<Work>, Refusal> {
        let mut works = Vec::new();
        let mut failed = None;
        for claim in std::mem::take(&mut self.claims) {
            match claim.committing.await {
                Ok(()) => {
                    self.damaged += claim.damaged;
                    works.extend(claim.work);
                }
                Err(error) => {
                    claim.work.iter().for_each(|work| self.ended(office, &work.ticket));
                    if !matches!(error, CommitError::Conflict) {
                        failed = Some(mailbox::commit_refusal(&error));
                    }
                }
            }
        }
        self.turns.extend(std::mem::take(&mut self.drained));
        (self.orders.is_pending, self.suspects.is_pending) = (false, false);
        match failed {
            Some(refusal) if works.is_empty() => Err(refusal),
            _ => Ok(works),
        }
    }

    /// One turn of a lane.
    async fn serve(
        &mut self,
        office: &Office,
        lane: &Arc<str>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(state) = self.lanes.get_mut(lane) else { return Ok(()) };
        if office.lanes.is_paused(lane) {
            state.place = Place::Out;
            state.ahead.clear();
            return Ok(());
        }
        let host = office.lanes.host(office, lane);
        let at_host = self.at_host.get(&host).copied().unwrap_or(0);
        if !has_place(office, self.running, state.running.max(at_host)) {
            state.place = Place::Waiting;
            self.waiting.push(Arc::clone(lane));
            return Ok(());
        }
        if let Some(until) = barred(office, &host) {
            state.ahead.clear();
            let goes_on = state.sweep.step(office, lane, now).await?;
            let until = if goes_on { until.min(Instant::now() + PROBE_PAUSE) } else { until };
            state.place = Place::Blocked(until);
            self.blocked.insert((until, Arc::clone(lane)));
            return Ok(());
        }
        if state.ahead.is_empty() {
            let next = reading::read_ahead(office, lane, now, &mut state.ahead).await?;
            if state.ahead.is_empty() {
                state.place = Place::Out;
                match next {
                    Some(next) => self.sleep(lane, next),
                    None => self.forget(lane),
                }
                return Ok(());
            }
        }
        let marks = reading::first_letter(&mut state.ahead);
        let id = marks[0].id;
        let keys: Vec<_> = marks
            .iter()
            .map(|mark| (reading::lane_key(lane, mark), mark.number, lane.to_string()))
            .collect();
        let claim = lease::claim(office, id, &keys, office.clock.now()).await?;
        // Before the claim is durable the store would show the same rows again.
        let line = if state.ahead.is_empty() { &mut self.drained } else { &mut self.turns };
        line.push_back(Arc::clone(lane));
        self.begin(office, claim, lane, Kind::Lane, Some(host));
        Ok(())
    }

    /// One letter from a bench; false when nothing there can be served.
    async fn serve_bench(
        &mut self,
        office: &Office,
        now: Timestamp,
        kind: Kind,
    ) -> Result<bool, Refusal> {
        let bench = if kind == Kind::Order { &mut self.orders } else { &mut self.suspects };
        if bench.look_at.is_none_or(|look_at| look_at > now) {
            return Ok(false);
        }
        if bench.is_pending && bench.ahead.is_empty() {
            return Ok(false);
        }
        bench.read(office, now).await?;
        while let Some((marks, domain)) = bench.take() {
            let id = marks[0].id;
            let mut lane = domain.clone();
            let mut host = None;
            // What ends without an attempt asks no host.
            if kind == Kind::Suspect {
                lane = lane_of(office, &marks[0]).await?.unwrap_or(lane);
                let here = office.lanes.host(office, &lane);
                let at_host = self.at_host.get(&here).copied().unwrap_or(0);
                if office.lanes.is_paused(&domain)
                    || barred(office, &here).is_some()
                    || !has_place(office, self.running, at_host)
                {
                    bench.has_passed_over = true;
                    continue;
                }
                host = Some(here);
            }
            let key = |mark: &Mark| (bench.key(mark), mark.number, domain.clone());
            let keys: Vec<_> = marks.iter().map(key).collect();
            let claim = lease::claim(office, id, &keys, office.clock.now()).await?;
            bench.is_pending = true;
            self.begin(office, claim, &Arc::from(lane), kind, host);
            return Ok(true);
        }
        if bench.has_passed_over {
            bench.passed_over(now);
        }
        Ok(false)
    }

    /// When a suspect may be tried: alone among its like, or once the last one has lived for so
    /// long that a death says nothing about it. `None`: when another one ends.
    fn next_suspect_in(&self, office: &Office) -> Option<Duration> {
        if self.suspects.running == 0 {
            return Some(Duration::ZERO);
        }
        // The last process died with suspects: now it matters which one it was.
        if office.lanes.memory().suspects_alone {
            return None;
        }
        let lives = self.suspects.began.map_or(Duration::ZERO, |began| began.elapsed());
        Some(bench::LIVES.saturating_sub(lives))
    }

    /// Hands a claim in.
    fn begin(
        &mut self,
        office: &Office,
        claim: lease::Claim,
        lane: &Arc<str>,
        kind: Kind,
        host: Option<String>,
    ) {
        if claim.batch.writes.is_empty() {
            return;
        }
        let committing = office.store.submit(claim.batch);
        let work = claim.claimed.map(|claimed| self.occupy(office, claimed, lane, kind, host));
        self.claims.push(Claiming { work, damaged: claim.damaged, committing });
    }

    /// Takes a place for a letter.
    fn occupy(
        &mut self,
        office: &Office,
        claimed: Claimed,
        lane: &Arc<str>,
        kind: Kind,
        host: Option<String>,
    ) -> Work {
        if let Some(host) = &host {
            office.lanes.begin(host);
            *self.at_host.entry(host.clone()).or_default() += 1;
        }
        let lanes = claimed.recipients.iter().map(|each| rows::lane_name(&each.row));
        let home = lanes.map(Arc::from).collect();
        let rows: Vec<(QueueId, u16)> =
            claimed.recipients.iter().map(|each| (claimed.queue_id, each.number)).collect();
        let began = Instant::now();
        self.under_way.extend(rows.iter().map(|row| (*row, began)));
        self.running += 1;
        match kind {
            Kind::Lane => self.lanes.entry(Arc::clone(lane)).or_default().running += 1,
            Kind::Order => self.orders.running += 1,
            Kind::Suspect => {
                self.suspects.running += 1;
                self.suspects.began = Some(began);
            }
        }
        *office.lanes.memory().running.entry(lane.to_string()).or_default() += 1;
        let ticket = Ticket { lane: Arc::clone(lane), kind, host, rows, home };
        Work { claimed, ticket }
    }

    /// An attempt is over, however it ended: its place is free again.
    pub fn ended(&mut self, office: &Office, ticket: &Ticket) {
        self.running = self.running.saturating_sub(1);
        for row in &ticket.rows {
            self.under_way.remove(row);
        }
        if let Some(host) = &ticket.host {
            office.lanes.end(host);
            if let Some(running) = self.at_host.get_mut(host) {
                *running -= 1;
                if *running == 0 {
                    self.at_host.remove(host);
                }
            }
        }
        match ticket.kind {
            Kind::Lane => {
                if let Some(lane) = self.lanes.get_mut(&ticket.lane) {
                    lane.running = lane.running.saturating_sub(1);
                }
            }
            Kind::Order => self.orders.running = self.orders.running.saturating_sub(1),
            Kind::Suspect => {
                self.suspects.running = self.suspects.running.saturating_sub(1);
                // Those that were passed over, too.
                self.suspects.look_at = Some(Timestamp::from_millis(0));
            }
        }
        {
            let mut memory = office.lanes.memory();
            if let Some(running) = memory.running.get_mut(&*ticket.lane) {
                *running -= 1;
                if *running == 0 {
                    memory.running.remove(&*ticket.lane);
                }
            }
        }
        // It may have put rows back, and a place is free for those who had none.
        self.take_turns(&ticket.lane);
        ticket.home.iter().for_each(|lane| self.take_turns(lane));
        for lane in std::mem::take(&mut self.waiting) {
            self.take_turns(&lane);
        }
    }

    /// How long nothing will be due unless somebody rings or an attempt ends.
    pub fn nap(&self, office: &Office, now: Timestamp) -> Duration {
        let at_once = office.config.queue.at_once.max(1);
        if self.running >= at_once {
            return LEASES_EVERY;
        }
        if !self.turns.is_empty() || self.seek.from.is_some() {
            return Duration::ZERO;
        }
        let orders = self.orders.look_at.filter(|_| self.orders.running < at_once.div_ceil(2));
        let suspects = self.next_suspect_in(office).zip(self.suspects.look_at);
        let moments = [
            self.asleep.first().map(|(at, _)| at.since(now)),
            orders.map(|at| at.since(now)),
            suspects.map(|(wait, at)| wait.max(at.since(now))),
            self.blocked.first().map(|(at, _)| at.duration_since(Instant::now())),
        ];
        moments.into_iter().flatten().min().unwrap_or(LEASES_EVERY).min(LEASES_EVERY)
    }

    /// Leases that ran out: of attempts that ended without a result, or hang for ever.
    async fn look_at_leases(&mut self, office: &Office, now: Timestamp) -> Result<(), Refusal> {
        let moment = Instant::now();
        if self.leases_seen.is_some_and(|seen| moment.duration_since(seen) < LEASES_EVERY) {
            return Ok(());
        }
        self.leases_seen = Some(moment);
        // By the runtime's time: a clock that jumps takes nothing away from who works.
        let works = |id: QueueId, number: u16| {
            let began = self.under_way.get(&(id, number));
            began.is_some_and(|began| moment.duration_since(*began) < limits::LEASE)
        };
        let freed = lease::take_back(office, now, works).await?;
        if freed > 0 {
            tracing::warn!(freed, "leases ran out; the letters are tried again");
        }
        Ok(())
    }

    /// Puts lanes in line: those that somebody rang for, whose time has come, whose host may be
    /// tried.
    fn wake(&mut self, office: &Office, now: Timestamp) {
        let (rung, benches) = {
            let mut memory = office.lanes.memory();
            (std::mem::take(&mut memory.rung), std::mem::take(&mut memory.benches_rung))
        };
        for lane in rung {
            self.take_turns(&Arc::from(lane));
        }
        if benches {
            self.orders.rung();
            self.suspects.rung();
        }
        while let Some((at, lane)) = self.asleep.first().cloned() {
            if at > now {
                break;
            }
            self.take_turns(&lane);
        }
        let horizon = reading::horizon(office, now);
        while let Some((at, lane)) = self.asleep.last().cloned() {
            if at <= horizon {
                break;
            }
            self.take_turns(&lane);
        }
        let moment = Instant::now();
        while let Some((until, lane)) = self.blocked.first().cloned() {
            if until > moment {
                break;
            }
            self.take_turns(&lane);
        }
    }

    /// At the end of the line, wherever it was before.
    fn take_turns(&mut self, lane: &Arc<str>) {
        let state = self.lanes.entry(Arc::clone(lane)).or_default();
        match state.place {
            Place::Turns => return,
            Place::Asleep(at) => {
                self.asleep.remove(&(at, Arc::clone(lane)));
            }
            Place::Blocked(until) => {
                self.blocked.remove(&(until, Arc::clone(lane)));
            }
            Place::Waiting => self.waiting.retain(|waiting| waiting != lane),
            Place::Out => {}
        }
        state.place = Place::Turns;
        self.turns.push_back(Arc::clone(lane));
    }

    fn sleep(&mut self, lane: &Arc<str>, until: Timestamp) {
        let state = self.lanes.entry(Arc::clone(lane)).or_default();
        state.place = Place::Asleep(until);
        self.asleep.insert((until, Arc::clone(lane)));
    }

    /// An empty lane costs no memory.
    fn forget(&mut self, lane: &Arc<str>) {
        if self.lanes.get(lane).is_some_and(|state| state.running == 0) {
            self.lanes.remove(lane);
        }
    }
}

/// True when a lane whose domain or host has so many attempts may begin one more: no more than its
/// share, and none of the places that are kept for those who have none.
fn has_place(office: &Office, running: usize, of_these: usize) -> bool {
    let limits = &office.config.queue;
    let is_greedy = of_these > 0 && running + limits.at_once / KEPT_PART >= limits.at_once;
    of_these < limits.per_destination.max(1) && !is_greedy
}

/// Rows of the form before lanes come first; they join when they are migrated.
fn first_lane() -> Vec<u8> {
    rows::old_marks().end
}

/// Until when nobody knocks at this host.
fn barred(office: &Office, host: &str) -> Option<Instant> {
    match office.lanes.verdict(host) {
        Verdict::Closed | Verdict::HalfOpen => None,
        Verdict::Open(until) => Some(until),
        Verdict::Probed => Some(Instant::now() + PROBE_PAUSE),
    }
}

/// The lane in which a row lies when it is put back; `None` when it cannot be read.
async fn lane_of(office: &Office, mark: &Mark) -> Result<Option<String>, Refusal> {
    let row = office.store.get(&rows::recipient_key(mark.id, mark.number)).await;
    let row = row.map_err(|error| queue::refusal_of(&error))?;
    let row = row.and_then(|row| RecipientRow::read(office, mark.id, mark.number, &row.value));
    Ok(row.map(|row| rows::lane_name(&row)))
}
