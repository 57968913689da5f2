//! Rows that wait outside of the lanes: what ends without an attempt, and the suspects.
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::rows;
use crate::flow::queue::rows::Mark;
use crate::infra::store;

/// Nothing here is put off for longer: what is due later was written before the clock went back.
const HORIZON: Duration = Duration::from_secs(60);
/// What was passed over is looked at again after so long.
const PASSED_OVER_AGAIN: Duration = Duration::from_secs(15);
/// An attempt that lives so long is not what kills a process.
pub(super) const LIVES: Duration = Duration::from_secs(10);

/// See the module's text.
pub(super) struct Bench {
    table: &'static [u8],
    /// When there may be something.
    pub(super) look_at: Option<Timestamp>,
    /// Attempts that run.
    pub(super) running: usize,
    /// When the last one of them began.
    pub(super) began: Option<Instant>,
    /// Due rows that were read and not served yet, each with its domain. Hints: the claim looks
    /// at the row.
    pub(super) ahead: VecDeque<(Mark, String)>,
    /// Where the next page begins; `None`: from the beginning.
    from: Option<Vec<u8>>,
    /// What was taken last is not durable yet: the store would show it again.
    pub(super) is_pending: bool,
    /// Some were passed over since the beginning.
    pub(super) has_passed_over: bool,
}

impl Bench {
    pub(super) fn new(table: &'static [u8], now: Timestamp) -> Self {
        Self {
            table,
            look_at: Some(now),
            running: 0,
            began: None,
            ahead: VecDeque::new(),
            from: None,
            is_pending: false,
            has_passed_over: false,
        }
    }

    /// Somebody rang: from the beginning.
    pub(super) fn rung(&mut self) {
        self.ahead.clear();
        self.from = None;
        self.look_at = Some(Timestamp::from_millis(0));
    }

    /// Reads the next page when nothing is ahead, and decides when to look again.
    pub(super) async fn read(&mut self, office: &Office, now: Timestamp) -> Result<(), Refusal> {
        if !self.ahead.is_empty() {
            return Ok(());
        }
        let mut range = store::prefix(self.table);
        match self.from.take() {
            Some(from) => range.start = from,
            None => self.has_passed_over = false,
        }
        let page = queue::scan(office, range.clone()).await?;
        let mut next: Option<Timestamp> = None;
        for (key, value) in &page.rows {
            let Some(mark) = rows::mark_of(self.table, key) else { continue };
            if mark.at > now && mark.at <= now.after(HORIZON) {
                next = Some(next.map_or(mark.at, |next| next.min(mark.at)));
                continue;
            }
            let domain = String::from_utf8_lossy(&value.value).into_owned();
            self.ahead.push_back((mark, domain));
        }
        self.from = queue::rest(range, &page).map(|rest| rest.start);
        if !self.ahead.is_empty() || self.from.is_some() {
            self.look_at = Some(now);
            return Ok(());
        }
        let again = self.has_passed_over.then(|| now.after(PASSED_OVER_AGAIN));
        self.look_at = next.into_iter().chain(again).min();
        Ok(())
    }

    /// All that was ahead was looked at, and nothing of it can be served now.
    pub(super) fn passed_over(&mut self, now: Timestamp) {
        self.has_passed_over = true;
        // The next page at once; from the beginning only after a while.
        self.look_at = Some(if self.from.is_some() { now } else { now.after(PASSED_OVER_AGAIN) });
    }

    /// The next row, and those behind it that may share its attempt.
    pub(super) fn take(&mut self) -> Option<(Vec<Mark>, String)> {
        let (first, domain) = self.ahead.pop_front()?;
        let mut marks = vec![first];
        while let Some((mark, next)) = self.ahead.front()
            && mark.id == first.id
            && *next == domain
            && marks.len() < limits::ATTEMPT_RECIPIENTS_MAX
        {
            marks.push(*mark);
            self.ahead.pop_front();
        }
        Some((marks, domain))
    }

    pub(super) fn key(&self, mark: &Mark) -> Vec<u8> {
        let at = mark.at.as_millis().to_be_bytes();
        [self.table, &at, mark.id.as_bytes(), &mark.number.to_be_bytes()].concat()
    }
}
