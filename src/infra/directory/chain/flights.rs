//! The same question, asked by many at the same time, reaches a directory once.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::OnceCell;

use crate::infra::directory::Answered;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::chain::Tag;

type Answer = Result<Answered, DirectoryError>;

/// Questions without an answer yet. A mail program that comes back after the night opens eight
/// connections in one moment, all with one password.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Tag, Arc<OnceCell<Answer>>>>);

impl Flights {
    /// The answer to this question, or to the same one that is on its way. If whoever asked it
    /// goes away, the next one who waits asks again.
    pub(super) async fn join<Q, F>(&self, tag: &Tag, question: Q) -> Answer
    where
        Q: FnOnce() -> F,
        F: Future<Output = Answer>,
    {
        let flight = Arc::clone(self.all().entry(tag.clone()).or_default());
        let landing = Landing { flights: self, tag, flight };
        landing.flight.get_or_init(question).await.clone()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Tag, Arc<OnceCell<Answer>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the flight off the board once it has landed, or when the last one who waits leaves:
/// an answer is for those who asked while it was on its way, not for later.
struct Landing<'f> {
    flights: &'f Flights,
    tag: &'f Tag,
    flight: Arc<OnceCell<Answer>>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut all = self.flights.all();
        let is_ours = all.get(self.tag).is_some_and(|other| Arc::ptr_eq(other, &self.flight));
        // The board's and ours: nobody else waits.
        if is_ours && (self.flight.initialized() || Arc::strong_count(&self.flight) == 2) {
            all.remove(self.tag);
        }
    }
}
