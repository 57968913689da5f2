//! Approving what waits, and going back: looked at first, then done, by a person.
use std::sync::Arc;

use crate::domain::operator::ListVersion;
use crate::domain::operator::TrustList;
use crate::domain::time::Timestamp;
use crate::infra::store::Batch;
use crate::infra::store::Version;
use crate::infra::trust::Active;
use crate::infra::trust::TrustError;
use crate::infra::trust::TrustSpace;
use crate::infra::trust::diff::Pairs;
use crate::infra::trust::keeper::Keeper;
use crate::infra::trust::state::KeptVersion;
use crate::infra::trust::versions;
use crate::infra::trust::versions::Key;
use crate::infra::trust::versions::StateRow;
use crate::infra::trust::versions::VersionRow;
use crate::infra::trust::versions::Versions;

/// A change that an administrator may make: what counts before it and after it. It is done by
/// [`TrustSpace::carry_out`], and only if nothing else has changed in the meantime.
pub struct Plan {
    /// The version that will count, alone and whole.
    pub target: ListVersion,
    /// What counts now.
    pub before: Arc<TrustList>,
    /// What will count.
    pub after: Arc<TrustList>,
    key: Key,
    rolled_back: bool,
    /// Rows of versions that change their standing.
    marks: Vec<(Key, VersionRow)>,
    waiting: Option<Key>,
    at: Option<Version>,
    state: StateRow,
}

impl TrustSpace {
    /// Every kept version, youngest first.
    ///
    /// # Errors
    /// [`TrustError::Store`] when the rows cannot be read.
    pub async fn kept_versions(&self) -> Result<Vec<KeptVersion>, TrustError> {
        let Some(keeper) = &self.keeper else { return Ok(Vec::new()) };
        let all = keeper.versions.all().await?;
        Ok(all.into_iter().map(|(key, row)| KeptVersion::new(key, row)).collect())
    }

    /// The content of one kept version, named by the beginning of its digest or date.
    ///
    /// # Errors
    /// [`TrustError::NoVersion`] when none or several are meant, [`TrustError::File`] when it
    /// cannot be read.
    pub async fn kept_list(&self, text: &str) -> Result<(ListVersion, Arc<TrustList>), TrustError> {
        let keeper = self.keeper()?;
        let all = keeper.versions.all().await?;
        let (key, _) = versions::meant(&all, text)?;
        Ok((key.version(), Arc::new(keeper.reopen(*key).await?)))
    }

    /// To let a list count alone and whole: the one that waits, or a named one that is younger
    /// than the active one.
    ///
    /// # Errors
    /// [`TrustError::NoVersion`] when nothing waits, or the named one is none for this.
    pub async fn plan_approval(&self, version: Option<&str>) -> Result<Plan, TrustError> {
        let keeper = self.keeper()?;
        let (at, active) = self.snapshot(keeper).await?;
        let all = keeper.versions.all().await?;
        let now = active.state.active;
        let waiting = active.state.waiting.or((!active.held.is_empty()).then_some(now));
        let key = match (version, waiting) {
            (Some(text), _) => versions::meant(&all, text)?.0,
            (None, Some(key)) => key,
            (None, None) => {
                return Err(TrustError::NoVersion(
                    "nothing waits for approval; `trust status` says what counts".to_owned(),
                ));
            }
        };
        if key < now {
            return Err(TrustError::NoVersion(format!(
                "{} is older than the active list; `trust rollback {}` goes back to it",
                key.version(),
                key.version().short()
            )));
        }
        if key == now && active.held.is_empty() {
            return Err(TrustError::NoVersion(format!(
                "{} counts already, and nothing of it waits",
                key.version()
            )));
        }
        let after = match key == now {
            true => active.without_held(),
            false => keeper.reopen(key).await?,
        };
        let marks = all.into_iter().filter(|(of, row)| *of == key && row.rejected);
        let marks = marks.map(|(key, row)| (key, VersionRow { rejected: false, ..row }));
        Ok(Plan {
            target: key.version(),
            before: Arc::clone(&active.list),
            after: Arc::new(after),
            key,
            rolled_back: false,
            marks: marks.collect(),
            // One that is younger than the approved one goes on waiting.
            waiting: active.state.waiting.filter(|waiting| *waiting > key),
            at,
            state: active.state.clone(),
        })
    }

    /// To go back to an earlier list: the one before the active one, or a named one. The active
    /// one is never applied by itself again, and younger ones wait as a whole.
    ///
    /// # Errors
    /// [`TrustError::NoVersion`] when there is none, or the named one is none for this.
    pub async fn plan_rollback(&self, version: Option<&str>) -> Result<Plan, TrustError> {
        let keeper = self.keeper()?;
        let (at, active) = self.snapshot(keeper).await?;
        let all = keeper.versions.all().await?;
        let now = active.state.active;
        let earlier = || all.iter().find(|(key, row)| *key < now && !row.rejected);
        let key = match version {
            Some(text) => versions::meant(&all, text)?.0,
            None => earlier().map(|(key, _)| *key).ok_or_else(|| {
                TrustError::NoVersion(
                    "no earlier list is kept; `trust versions` lists them".to_owned(),
                )
            })?,
        };
        if key >= now {
            return Err(TrustError::NoVersion(format!(
                "{} is not earlier than the active list; `trust approve {}` takes it",
                key.version(),
                key.version().short()
            )));
        }
        let after = keeper.reopen(key).await?;
        let marks = all.into_iter().filter(|(of, _)| *of == now);
        let marks = marks.map(|(key, row)| (key, VersionRow { rejected: true, ..row }));
        Ok(Plan {
            target: key.version(),
            before: Arc::clone(&active.list),
            after: Arc::new(after),
            key,
            rolled_back: true,
            marks: marks.collect(),
            waiting: active.state.waiting,
            at,
            state: active.state.clone(),
        })
    }

    /// Does it, in one commit with `also` (the journal's entry).
    ///
    /// # Errors
    /// [`TrustError::Changed`] when something else changed since the plan was made; nothing is
    /// done then.
    pub async fn carry_out(
        &self,
        plan: Plan,
        also: Batch,
        now: Timestamp,
    ) -> Result<(), TrustError> {
        let keeper = self.keeper()?;
        let _turn = self.turn.lock().await;
        let state = StateRow {
            active: plan.key,
            since: now.as_millis(),
            rolled_back: plan.rolled_back || plan.waiting.is_some(),
            waiting: plan.waiting,
            waiting_since: plan.waiting.and(plan.state.waiting_since),
            youngest: plan.state.youngest.max(plan.key.generated),
        };
        let mut batch = also;
        Versions::put_state(&mut batch, &state, plan.at);
        Versions::put_held(&mut batch, &keeper.versions.held().await?, &Pairs::new());
        for (key, row) in &plan.marks {
            Versions::put_version(&mut batch, *key, row);
        }
        keeper.versions.commit(batch).await?;
        let list = (*plan.after).clone();
        self.active.store(Arc::new(Active::new(list, Pairs::new(), state)));
        keeper.copy_plainly(plan.key).await;
        tracing::warn!(version = %plan.target, rolled_back = plan.rolled_back,
            "an administrator changed which trust list counts");
        Ok(())
    }

    fn keeper(&self) -> Result<&Keeper, TrustError> {
        let fixed = || TrustError::NoVersion("this list is fixed".to_owned());
        self.keeper.as_ref().ok_or_else(fixed)
    }

    /// What counts, and the version of its row, of the same moment.
    async fn snapshot(
        &self,
        keeper: &Keeper,
    ) -> Result<(Option<Version>, Arc<Active>), TrustError> {
        let _turn = self.turn.lock().await;
        let (active, at) = self.in_step(keeper).await?;
        Ok((at, active))
    }
}
