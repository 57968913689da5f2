//! Tables of what waits, for administrators. Nothing of a letter's content is in them.
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::time::Duration;

use crate::domain::address::Address;
use crate::domain::envelope::QueueId;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::CircuitView;
use crate::flow::queue::HoldKind;
use crate::flow::queue::Order;
use crate::flow::queue::refusal_of;
use crate::flow::queue::rows;
use crate::flow::queue::rows::HoldRow;
use crate::flow::queue::rows::LetterRow;
use crate::flow::queue::rows::RecipientRow;
use crate::flow::queue::rows::State;
use crate::flow::queue::touch;
use crate::flow::queue::touch::Target;
use crate::infra::store;

/// Which rows a table shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of one letter, one recipient, or one domain.
    pub target: Option<Target>,
    /// Only those that are on hold or set aside.
    pub held: bool,
    /// At most so many.
    pub limit: usize,
}

/// One recipient whose letter waits, for tables.
#[derive(Clone, Debug)]
pub struct QueueRow {
    /// The letter.
    pub queue_id: QueueId,
    /// For whom; `None` when the row cannot be read. `Debug` masks a patient; never print its
    /// `Display`.
    pub recipient: Option<Address>,
    /// The recipient's domain, or where an administrator sends the letter.
    pub next_hop: String,
    /// What it waits for.
    pub state: RowState,
    /// Attempts so far.
    pub attempts: u32,
    /// When the next one is due.
    pub next_attempt: Timestamp,
    /// When the letter was taken in.
    pub accepted_at: Timestamp,
    /// Octets in clear.
    pub size: u64,
    /// What the next operator, or our own diagnosis, said last.
    pub last_reply: String,
}

/// What a row waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowState {
    /// Its time.
    Waiting,
    /// The end of an attempt that runs.
    Attempted,
    /// Its turn among those that were in flight when the process died.
    Suspect,
    /// Its end: an administrator, or its age, decided.
    Ending,
    /// The release of its whole domain.
    LaneHeld {
        /// Who holds the domain.
        author: String,
        /// Why.
        reason: String,
    },
    /// Somebody's decision.
    Held {
        /// An administrator's hold, poison or damage.
        kind: HoldKind,
        /// Who.
        author: String,
        /// Why.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
}

/// One lane, for tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// Its domain.
    pub domain: String,
    /// Rows in it, in whatever state.
    pub rows: u64,
    /// Attempts that run.
    pub running: usize,
    /// When its first row is due.
    pub next: Option<Timestamp>,
    /// Who holds it and why.
    pub held: Option<(String, String)>,
    /// Where an administrator sends its mail.
    pub rerouted: Option<String>,
    /// How long its host is left alone.
    pub barred_for: Option<Duration>,
}

/// What waits, oldest letters first where nothing narrower is asked for.
pub async fn list(office: &Office, filter: &Filter) -> Result<Vec<QueueRow>, Refusal> {
    let mut list = Vec::new();
    let keys = match (&filter.target, filter.held) {
        (Some(target), _) => touch::find(office, target).await?,
        (None, true) => held(office).await?,
        (None, false) => first(office, filter.limit).await?,
    };
    for (id, number) in keys {
        if list.len() >= filter.limit {
            break;
        }
        let row = look(office, id, number).await?;
        let wanted = |row: &QueueRow| !filter.held || matches!(row.state, RowState::Held { .. });
        list.extend(row.filter(wanted));
    }
    Ok(list)
}

async fn first(office: &Office, limit: usize) -> Result<Vec<(QueueId, u16)>, Refusal> {
    let mut keys = Vec::new();
    let mut range = store::prefix(rows::RECIPIENTS);
    loop {
        let page = queue::scan(office, range.clone()).await?;
        keys.extend(page.rows.iter().filter_map(|(key, _)| rows::row_of(rows::RECIPIENTS, key)));
        match queue::rest(range, &page) {
            Some(rest) if keys.len() < limit => range = rest,
            _ => return Ok(keys),
        }
    }
}

async fn held(office: &Office) -> Result<Vec<(QueueId, u16)>, Refusal> {
    let mut keys = Vec::new();
    let mut range = store::prefix(rows::HELD);
    loop {
        let page = queue::scan(office, range.clone()).await?;
        keys.extend(page.rows.iter().filter_map(|(key, _)| rows::row_of(rows::HELD, key)));
        match queue::rest(range, &page) {
            Some(rest) => range = rest,
            None => return Ok(keys),
        }
    }
}

async fn look(office: &Office, id: QueueId, number: u16) -> Result<Option<QueueRow>, Refusal> {
    let get = |key: Vec<u8>| async move {
        office.store.get(&key).await.map_err(|error| refusal_of(&error))
    };
    let Some(stored) = get(rows::recipient_key(id, number)).await? else { return Ok(None) };
    let row = RecipientRow::read(office, id, number, &stored.value);
    let letter = get(rows::letter_key(id)).await?;
    let letter = letter.and_then(|row| LetterRow::read(&row.value));
    let hold = match row.as_ref().map(|row| row.state) {
        Some(State::Waiting | State::Leased) => None,
        _ => get(rows::held_key(id, number)).await?,
    };
    let hold = hold.and_then(|hold| rows::decode::<HoldRow>(&hold.value));
    let domain = row.as_ref().map(|row| row.domain.clone());
    let domain = domain.or_else(|| hold.as_ref().map(|hold| hold.domain.clone()));
    let domain = domain.unwrap_or_default();
    let accepted = letter.as_ref().map(|letter| Timestamp::from_millis(letter.accepted_at));
    Ok(Some(QueueRow {
        queue_id: id,
        recipient: row.as_ref().and_then(|row| row.open(office, id, number)).map(|r| r.address),
        next_hop: row.as_ref().and_then(|row| row.route.clone()).unwrap_or(domain),
        state: state(office, row.as_ref(), hold),
        attempts: row.as_ref().map_or(0, |row| row.attempts),
        next_attempt: row.as_ref().map_or(Timestamp::from_millis(0), RecipientRow::due),
        accepted_at: accepted.unwrap_or_else(|| rows::taken_in_at(id)),
        size: letter.map_or(0, |letter| letter.size_of(row.as_ref().map_or(0, |row| row.form))),
        last_reply: row.map(|row| row.reply(office, id, number)).unwrap_or_default(),
    }))
}

fn state(office: &Office, row: Option<&RecipientRow>, hold: Option<HoldRow>) -> RowState {
    if let Some(hold) = hold {
        return RowState::Held {
            kind: hold.kind,
            author: hold.author,
            reason: hold.reason,
            since: Timestamp::from_millis(hold.since),
        };
    }
    let Some(row) = row else {
        return RowState::Held {
            kind: HoldKind::Damaged,
            author: queue::lease::RELAY.to_owned(),
            reason: "the row cannot be read".to_owned(),
            since: Timestamp::from_millis(0),
        };
    };
    match (row.state, &row.order) {
        (State::Leased, _) => RowState::Attempted,
        (_, Some(Order::Bounce(_) | Order::Expired)) => RowState::Ending,
        _ if row.suspect => RowState::Suspect,
        _ => match office.lanes.memory().paused.get(&row.domain) {
            Some(pause) => {
                RowState::LaneHeld { author: pause.author.clone(), reason: pause.reason.clone() }
            }
            None => RowState::Waiting,
        },
    }
}

/// Every lane with rows, a hold or a reroute. While rows are still being counted, or no
/// scheduler runs, it counts them itself.
pub async fn by_domain(office: &Office) -> Result<Vec<LaneView>, Refusal> {
    let counted = {
        let memory = office.lanes.memory();
        memory.scheduled.then(|| memory.counting.lanes()).flatten()
    };
    let counts: BTreeMap<String, u64> = match counted {
        Some(counts) => counts.into_iter().collect(),
        None => count_now(office).await?,
    };
    let mut domains: Vec<String> = counts.keys().cloned().collect();
    {
        let memory = office.lanes.memory();
        domains.extend(memory.paused.keys().chain(memory.rerouted.keys()).cloned());
    }
    domains.sort();
    domains.dedup();
    let circuits = office.lanes.circuits().into_iter();
    let circuits: HashMap<String, CircuitView> =
        circuits.map(|circuit| (circuit.host.clone(), circuit)).collect();
    let mut views = Vec::with_capacity(domains.len());
    for domain in domains {
        let range = rows::lane(&domain)..rows::behind_lane(&domain);
        let page = office.store.scan(range, 1).await.map_err(|error| refusal_of(&error))?;
        let next = page.rows.first().and_then(|(key, _)| rows::lane_mark_of(key));
        let next = next.map(|(_, mark)| mark.at);
        let host = office.lanes.host(office, &domain);
        let circuit = circuits.get(&host);
        let memory = office.lanes.memory();
        views.push(LaneView {
            rows: counts.get(&domain).copied().unwrap_or(0),
            running: memory.running.get(&domain).copied().unwrap_or(0),
            next,
            held: memory.paused.get(&domain).map(|p| (p.author.clone(), p.reason.clone())),
            rerouted: memory.rerouted.get(&domain).map(|reroute| reroute.to.clone()),
            barred_for: circuit.filter(|c| c.state != "counting").map(|circuit| circuit.left),
            domain,
        });
    }
    Ok(views)
}

async fn count_now(office: &Office) -> Result<BTreeMap<String, u64>, Refusal> {
    let mut counts = BTreeMap::new();
    let mut range = store::prefix(rows::RECIPIENTS);
    loop {
        let page = queue::scan(office, range.clone()).await?;
        for (key, versioned) in &page.rows {
            let Some((id, number)) = rows::row_of(rows::RECIPIENTS, key) else { continue };
            let row = RecipientRow::read(office, id, number, &versioned.value);
            *counts.entry(row.map(|row| row.domain).unwrap_or_default()).or_default() += 1;
        }
        match queue::rest(range, &page) {
            Some(rest) => range = rest,
            None => return Ok(counts),
        }
        tokio::task::yield_now().await;
    }
}
