//! From a published document to the list that counts, step by step.
use std::sync::Arc;

use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;

use crate::domain::certificate::Standing;
use crate::domain::limits::TRUST_LIST_AHEAD_MAX;
use crate::domain::limits::TRUST_VERSIONS_TRIED_MAX;
use crate::domain::operator::TrustList;
use crate::domain::time::Timestamp;
use crate::infra::net::fetch::Validators;
use crate::infra::net::load_anchors_except;
use crate::infra::store::Batch;
use crate::infra::store::Store;
use crate::infra::trust::Active;
use crate::infra::trust::Refreshed;
use crate::infra::trust::Settings;
use crate::infra::trust::SignerWatch;
use crate::infra::trust::TrustError;
use crate::infra::trust::blocking;
use crate::infra::trust::diff;
use crate::infra::trust::diff::ChangeKind;
use crate::infra::trust::diff::Pairs;
use crate::infra::trust::staging;
use crate::infra::trust::state::Fetching;
use crate::infra::trust::verify::Verified;
use crate::infra::trust::verify::verified;
use crate::infra::trust::versions;
use crate::infra::trust::versions::Key;
use crate::infra::trust::versions::StateRow;
use crate::infra::trust::versions::VersionRow;
use crate::infra::trust::versions::Versions;
use crate::proto::trust_list;

/// Fetches, proves and keeps lists.
pub(super) struct Keeper {
    pub(super) settings: Settings,
    pub(super) versions: Versions,
}

/// A list whose signature is good and whose text was read.
pub(super) struct Proven {
    pub(super) key: Key,
    document: Vec<u8>,
    list: TrustList,
    skipped: usize,
    verified: Verified,
}

pub(super) fn digest_of(document: &[u8]) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest(&SHA256, document).as_ref());
    octets
}

impl Keeper {
    pub(super) async fn open(
        settings: Settings,
        store: Arc<dyn Store>,
    ) -> Result<Self, TrustError> {
        let folder = settings.folder.clone();
        let versions = blocking(move || Versions::open(folder, store)).await?;
        Ok(Self { settings, versions })
    }

    /// What counted before the last stop, from the disk and proven again. `None` when nothing
    /// ever counted, or nothing of it is left.
    pub(super) async fn resume(&self) -> Result<Option<Active>, TrustError> {
        let Some((state, _)) = self.versions.state().await? else { return Ok(None) };
        let version = state.active.version();
        match self.reopen(state.active).await {
            Ok(list) => {
                let held = self.versions.held().await?;
                let domains = diff::together(&list.domains, &held);
                let list = TrustList { generated: list.generated, domains };
                return Ok(Some(Active::new(list, held, state)));
            }
            Err(error) => {
                tracing::error!(%version, %error, "the active trust list cannot be used again");
            }
        }
        let earlier = self.versions.all().await?.into_iter();
        let earlier = earlier.filter(|(key, row)| *key < state.active && !row.rejected);
        for (key, _) in earlier.take(TRUST_VERSIONS_TRIED_MAX) {
            if let Ok(list) = self.reopen(key).await {
                tracing::error!(version = %key.version(), "an earlier trust list is used");
                let state = StateRow { active: key, waiting: None, ..state };
                return Ok(Some(Active::new(list, Pairs::new(), state)));
            }
        }
        Ok(None)
    }

    /// The very first list.
    pub(super) async fn first(
        &self,
        watch: &dyn SignerWatch,
        now: Timestamp,
    ) -> Result<(Active, Fetching, Validators), TrustError> {
        let obtained = self.settings.source.obtain(&Validators::default()).await;
        let document = match obtained {
            Ok(document) => document,
            Err(error) => return Err(self.with_kept_lists(error).await),
        };
        let document = document.ok_or_else(|| TrustError::Fetch("304 for nothing".to_owned()))?;
        let proven = self.prove(document.octets, now).await?;
        if self.is_rejected(proven.key).await? {
            return Err(TrustError::Rollback(format!(
                "an administrator went back from {}, and nothing else is left",
                proven.key.version()
            )));
        }
        self.check_moment(&proven, now).await?;
        check_signer(&proven, watch, now).await?;
        let (_, active) = self.take(None, proven, now).await?;
        let active = active.ok_or(TrustError::Changed)?;
        let mut fetching = Fetching::default();
        fetching.note(None, now);
        Ok((active, fetching, document.validators))
    }

    /// An administrator who changed the rule for signers must read that, and not only that some
    /// server is down: lists are kept, and none of them counts under the rule as it is now.
    async fn with_kept_lists(&self, error: TrustError) -> TrustError {
        let Ok(kept) = self.versions.all().await else { return error };
        let Some((youngest, _)) =
            kept.into_iter().filter(|(_, row)| !row.rejected).max_by_key(|(key, _)| *key)
        else {
            return error;
        };
        let why = match self.reopen(youngest).await {
            Err(why) => why.to_string(),
            Ok(_) => return error,
        };
        TrustError::Fetch(format!(
            "{error}; lists are kept, but none of them is good under trust.signer_anchors, \
             trust.signer_common_name and trust.signer_email as they are set now (the youngest, {}: \
             {why}): set them back until the list can be fetched, or start when it can",
            youngest.version()
        ))
    }

    /// A kept list, proven again. Its signer is judged at the time at which it was taken:
    /// certificates of signers end, and lists that were good stay good.
    pub(super) async fn reopen(&self, key: Key) -> Result<TrustList, TrustError> {
        let row = self.versions.find(key).await?;
        let row = row.ok_or_else(|| TrustError::Store(format!("{} is gone", key.version())))?;
        let (versions, settings) = (self.versions.clone(), self.settings.clone());
        let proven = blocking(move || {
            let document = versions.read(key)?;
            let kept = Timestamp::from_millis(row.kept);
            prove(document, &settings, row.signer_expired, kept)
        });
        Ok(proven.await?.list)
    }

    /// Signature and text.
    pub(super) async fn prove(
        &self,
        document: Vec<u8>,
        now: Timestamp,
    ) -> Result<Proven, TrustError> {
        let settings = self.settings.clone();
        let accept_expired = settings.accept_expired_signer;
        let proven = blocking(move || prove(document, &settings, accept_expired, now)).await?;
        if proven.verified.signer_expired {
            tracing::error!(
                version = %proven.key.version(),
                signer = %proven.verified.signer.subject,
                ended = %proven.verified.signer.not_after,
                "a trust list of an expired signer is taken, because \
                 trust.accept_expired_signer says so"
            );
        }
        Ok(proven)
    }

    pub(super) async fn is_rejected(&self, key: Key) -> Result<bool, TrustError> {
        Ok(self.versions.find(key).await?.is_some_and(|row| row.rejected))
    }

    /// Neither before the youngest that was ever taken nor from the future.
    pub(super) async fn check_moment(
        &self,
        proven: &Proven,
        now: Timestamp,
    ) -> Result<(), TrustError> {
        let generated = proven.list.generated;
        let youngest = self.versions.state().await?.map_or(0, |(state, _)| state.youngest);
        if generated.as_millis() < youngest {
            return Err(TrustError::Rollback(format!(
                "generated {generated}, older than the list of {} that was taken before",
                Timestamp::from_millis(youngest)
            )));
        }
        if generated.since(now) > TRUST_LIST_AHEAD_MAX {
            return Err(TrustError::Rollback(format!(
                "generated {generated}, which is far ahead of this machine's clock ({now})"
            )));
        }
        Ok(())
    }

    /// Keeps a list and applies as much of it as may count. Nothing changes before all of it is
    /// durable; `None` when what counts stays the same.
    pub(super) async fn take(
        &self,
        before: Option<&Active>,
        proven: Proven,
        now: Timestamp,
    ) -> Result<(Refreshed, Option<Active>), TrustError> {
        let (key, row) = (proven.key, proven.row(now));
        let (versions, document) = (self.versions.clone(), proven.document);
        blocking(move || versions.keep(key, &document)).await?;
        let stored = self.versions.state().await?;
        let at = stored.as_ref().map(|(_, at)| *at);
        let stored = stored.map(|(state, _)| state);
        let youngest = stored.as_ref().map_or(0, |state| state.youngest).max(key.generated);
        let mut batch = Batch::new();
        Versions::put_version(&mut batch, key, &row);

        if let Some(state) = before.map(|before| &before.state).filter(|state| state.rolled_back) {
            let since = state.waiting_since.unwrap_or(now.as_millis());
            let state = StateRow {
                waiting: Some(key),
                waiting_since: Some(since),
                youngest,
                ..state.clone()
            };
            Versions::put_state(&mut batch, &state, at);
            self.versions.commit(batch).await?;
            let before = before.map(|before| ((*before.list).clone(), before.held.clone()));
            let active = before.map(|(list, held)| Active::new(list, held, state));
            return Ok((Refreshed::Waits, active));
        }

        let staged = match before {
            Some(before) => staging::stage(
                &before.list,
                &before.held,
                &proven.list,
                self.settings.removals_percent,
            ),
            None => staging::Staged { effective: proven.list, held: Pairs::new(), newly_held: 0 },
        };
        let waited = before.and_then(|before| before.state.waiting_since);
        let waiting_since = waited.filter(|_| staged.newly_held == 0).unwrap_or(now.as_millis());
        let state = StateRow {
            active: key,
            since: now.as_millis(),
            rolled_back: false,
            waiting: None,
            waiting_since: (!staged.held.is_empty()).then_some(waiting_since),
            youngest,
        };
        Versions::put_held(&mut batch, &self.versions.held().await?, &staged.held);
        Versions::put_state(&mut batch, &state, at);
        self.versions.commit(batch).await?;
        if let Some(before) = before {
            tell_difference(&before.list, &staged.effective, &staged.held);
        }
        let refreshed = match diff::count(&staged.held) {
            0 => Refreshed::Replaced(staged.effective.domains.len()),
            held => Refreshed::Held(held),
        };
        Ok((refreshed, Some(Active::new(staged.effective, staged.held, state))))
    }

    /// A copy for readers of the page. One that cannot be written is a pity, not a reason to
    /// refuse a good list.
    pub(super) async fn copy_plainly(&self, key: Key) {
        let (versions, copy) = (self.versions.clone(), self.settings.plain_copy.clone());
        let copied = blocking(move || {
            let document = versions.read(key)?;
            if std::fs::read(&copy).is_ok_and(|there| there == document) {
                return Ok(());
            }
            versions::replace_file(&copy, &document).map_err(|error| TrustError::File {
                file: copy.display().to_string(),
                reason: error.to_string(),
            })
        });
        if let Err(error) = copied.await {
            tracing::error!(%error, "the plain copy of the trust list is not up to date");
        }
    }
}

impl Proven {
    fn row(&self, now: Timestamp) -> VersionRow {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        VersionRow {
            kept: now.as_millis(),
            domains: count(self.list.domains.len()),
            pairs: count(diff::count(&self.list.domains)),
            skipped: count(self.skipped),
            octets: count(self.document.len()),
            signer: self.verified.signer.subject.to_string(),
            signer_serial: self.verified.signer.serial.clone(),
            signer_ends: self.verified.signer.not_after.as_millis(),
            signer_expired: self.verified.signer_expired,
            rejected: false,
        }
    }
}

/// Anchors are read anew each time: an authority may change without a restart.
fn prove(
    document: Vec<u8>,
    settings: &Settings,
    accept_expired: bool,
    now: Timestamp,
) -> Result<Proven, TrustError> {
    let anchors = load_anchors_except(&settings.signer.anchors, settings.signer.tests)
        .map_err(|error| TrustError::Signature(format!("signer anchors: {error}")))?;
    let verified = verified(&document, &settings.signer, &anchors, accept_expired, now)?;
    let reading = trust_list::read(&verified.bytes);
    let reading = reading.map_err(|error| TrustError::Form(error.to_string()))?;
    if reading.skipped > 0 {
        let first: Vec<String> = reading.skipped_first.iter().map(ToString::to_string).collect();
        tracing::warn!(
            skipped = reading.skipped,
            entries = reading.entries,
            first = %first.join("; "),
            "entries of the trust list cannot be read and are left out"
        );
    }
    let key = Key { generated: reading.list.generated.as_millis(), digest: digest_of(&document) };
    Ok(Proven { key, document, list: reading.list, skipped: reading.skipped, verified })
}

/// A revoked signer's list is refused; one of which nobody knows is put off.
pub(super) async fn check_signer(
    proven: &Proven,
    watch: &dyn SignerWatch,
    now: Timestamp,
) -> Result<(), TrustError> {
    let evidence = watch.evidence(&proven.verified.signer_path, now).await;
    let signer = &proven.verified.signer;
    match evidence.standing {
        Standing::Good | Standing::NotAsked => Ok(()),
        Standing::Revoked(_) => Err(TrustError::SignerRevoked(format!(
            "{} ({}, serial {}; told by {})",
            evidence.standing, signer.subject, signer.serial, evidence.source
        ))),
        Standing::Unknown => Err(TrustError::SignerUnknown(format!(
            "{} (serial {}): {}",
            signer.subject, signer.serial, evidence.trouble
        ))),
    }
}

/// A thousand entries may move in a day when operators merge; that is worth a line, not a stop.
fn tell_difference(before: &TrustList, after: &TrustList, held: &Pairs) {
    let changes = diff::changes(before, after);
    let of = |kind: ChangeKind| changes.iter().filter(|change| change.kind == kind).count();
    tracing::info!(
        domains = after.domains.len(),
        added = of(ChangeKind::Added),
        removed = of(ChangeKind::Removed),
        swapped = of(ChangeKind::Swapped),
        held = diff::count(held),
        generated = %after.generated,
        "a younger trust list is active"
    );
}
