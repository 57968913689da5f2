//! Reads rows of one lane: what is due, and what got too old while it is not served.
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::lease;
use crate::flow::queue::rows;
use crate::flow::queue::rows::Mark;
use crate::infra::store;

/// Marks of one lane that are read at once.
const READ_AHEAD: usize = 2 * limits::ATTEMPT_RECIPIENTS_MAX;
/// How often a lane that is not served is looked through for letters that got too old.
const SWEEP_EVERY: Duration = Duration::from_secs(900);

/// Looks through a lane that is not served for letters that got too old: their senders must not
/// wait for a host to come back.
#[derive(Default)]
pub(super) struct Sweep {
    from: Option<Vec<u8>>,
    done: Option<Instant>,
}

impl Sweep {
    /// One page. True when there is another one.
    pub(super) async fn step(
        &mut self,
        office: &Office,
        lane: &str,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        let moment = Instant::now();
        if self.done.is_some_and(|done| moment.duration_since(done) < SWEEP_EVERY) {
            return Ok(false);
        }
        let start = self.from.take().unwrap_or_else(|| rows::lane(lane));
        let page = queue::scan(office, start..rows::behind_lane(lane)).await?;
        let give_up = office.config.queue.give_up;
        let marks = page.rows.iter().filter_map(|(key, _)| rows::lane_mark_of(key));
        let old: Vec<Mark> = marks
            .map(|(_, mark)| mark)
            .filter(|mark| now.since(rows::taken_in_at(mark.id)) >= give_up)
            .collect();
        lease::expire(office, &old, now).await?;
        self.from = queue::rest(start_of(&page)..rows::behind_lane(lane), &page).map(|r| r.start);
        if self.from.is_none() {
            self.done = Some(moment);
        }
        Ok(self.from.is_some())
    }
}

fn start_of(page: &store::Page) -> Vec<u8> {
    page.rows.first().map(|(key, _)| key.to_vec()).unwrap_or_default()
}

/// Nothing is put off for longer than that: what is due later was written before the clock went
/// back, and is due now.
pub(super) fn horizon(office: &Office, now: Timestamp) -> Timestamp {
    let queue = &office.config.queue;
    let longest = queue.retry.iter().max().copied().unwrap_or_default().max(limits::LEASE);
    let percent = u32::try_from(queue.jitter_percent.min(100)).unwrap_or(100);
    now.after(longest * (100 + percent) / 100 + Duration::from_secs(60))
}

/// Reads what is due in a lane; tells when something will be if nothing is.
pub(super) async fn read_ahead(
    office: &Office,
    lane: &str,
    now: Timestamp,
    ahead: &mut VecDeque<Mark>,
) -> Result<Option<Timestamp>, Refusal> {
    let range = rows::lane(lane)..rows::behind_lane(lane);
    let page = office.store.scan(range, READ_AHEAD).await;
    let page = page.map_err(|error| queue::refusal_of(&error))?;
    let horizon = horizon(office, now);
    for (key, _) in &page.rows {
        let Some((_, mark)) = rows::lane_mark_of(key) else { continue };
        if mark.at > now && mark.at <= horizon {
            if ahead.is_empty() {
                read_behind(office, lane, horizon, ahead).await?;
            }
            return Ok(Some(mark.at));
        }
        ahead.push_back(mark);
    }
    Ok(None)
}

/// Reads what lies behind the horizon: nearer rows must not hide it.
async fn read_behind(
    office: &Office,
    lane: &str,
    horizon: Timestamp,
    ahead: &mut VecDeque<Mark>,
) -> Result<(), Refusal> {
    let start = [&rows::lane(lane)[..], &horizon.as_millis().to_be_bytes()].concat();
    let page = office.store.scan(start..rows::behind_lane(lane), READ_AHEAD).await;
    let page = page.map_err(|error| queue::refusal_of(&error))?;
    let marks = page.rows.iter().filter_map(|(key, _)| rows::lane_mark_of(key));
    ahead.extend(marks.map(|(_, mark)| mark).filter(|mark| mark.at > horizon));
    Ok(())
}

/// The marks of the first letter, as many as one attempt takes.
pub(super) fn first_letter(ahead: &mut VecDeque<Mark>) -> Vec<Mark> {
    let mut marks: Vec<Mark> = ahead.pop_front().into_iter().collect();
    while let (Some(first), Some(mark)) = (marks.first(), ahead.front())
        && first.id == mark.id
        && marks.len() < limits::ATTEMPT_RECIPIENTS_MAX
    {
        marks.push(*mark);
        ahead.pop_front();
    }
    marks
}

pub(super) fn lane_key(lane: &str, mark: &Mark) -> Vec<u8> {
    let at = mark.at.as_millis().to_be_bytes();
    [&rows::lane(lane)[..], &at, mark.id.as_bytes(), &mark.number.to_be_bytes()].concat()
}
