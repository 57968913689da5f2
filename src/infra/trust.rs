//! The trust space: the signed list of operators, fetched, verified, kept, staged, asked.
//!
//! The active list is replaced only by a younger one whose signature is good; whatever goes
//! wrong, the one before stays. It is never empty. What a new list adds counts at once; what it
//! takes away in mass waits for a person ([`staging`]). Every version is kept ([`versions`]).
pub mod diff; // what differs between two lists
mod keeper; // from a published document to the list that counts
mod plan; // approve and roll back
mod signer; // whose signature counts
mod source; // where the list is published
mod staging; // what of a new list counts at once
mod state; // what is told about the list
mod verify; // from a signed document to the bytes that the signature covers
mod versions; // every list, kept for ever

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use rustls::pki_types::CertificateDer;

use crate::domain::address::Domain;
use crate::domain::certificate::RevocationEvidence;
use crate::domain::decision::ListEvidence;
use crate::domain::operator::ListVersion;
use crate::domain::operator::OperatorDn;
use crate::domain::operator::TrustList;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::infra::net::TestAuthorities;
use crate::infra::net::fetch::Validators;
use crate::infra::store::Store;
use crate::infra::store::Version;

use diff::Pairs;
use keeper::Keeper;
use versions::Key;
use versions::StateRow;

pub use plan::Plan;
pub use source::Source;
pub use state::Age;
pub use state::Fetching;
pub use state::KeptVersion;
pub use state::ListState;
pub use state::Waiting;
pub use verify::Verified;
pub use verify::verified;
pub use verify::verified_bytes;

/// Who may sign the list.
#[derive(Clone, Debug)]
pub struct SignerRule {
    /// PEM files of the anchors to which the signer's certificate must chain.
    pub anchors: Vec<PathBuf>,
    /// The signer's subject CN, e.g. `alb.mssante.fr`.
    pub common_name: Option<String>,
    /// The signer's rfc822 SAN, e.g. `alb@mssante.fr`. One of the two must match.
    pub email: Option<String>,
    /// Whether the anchors may be of the TEST hierarchy.
    pub tests: TestAuthorities,
}

/// How the list is fetched, judged and kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is published.
    pub source: Source,
    /// Who may sign it.
    pub signer: SignerRule,
    /// Take a list whose signer's certificate has expired; logged as an error each time.
    pub accept_expired_signer: bool,
    /// Removals over this share of all (domain, certificate) pairs wait for approval.
    pub removals_percent: u64,
    /// Age at which somebody should look.
    pub age_warning: Duration,
    /// Age at which somebody must.
    pub age_alarm: Duration,
    /// Age at which nobody is judged by it any more.
    pub age_limit: Option<Duration>,
    /// Where every version is kept.
    pub folder: PathBuf,
    /// Where the active document lies for whoever wants to read it; written, never read.
    pub plain_copy: PathBuf,
}

/// Knows, or asks, whether the signer of a list is revoked: another room does that.
#[async_trait]
pub trait SignerWatch: Send + Sync {
    /// What is known of the first certificate of a verified path (leaf first, anchor last).
    async fn evidence(
        &self,
        path: &[CertificateDer<'static>],
        now: Timestamp,
    ) -> RevocationEvidence;
}

/// Why a list was not taken, or a request about it not done. The active list stays.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// File missing, too large, not readable, not writable.
    #[error("trust list {file}: {reason}")]
    File {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
    /// Its server did not give it.
    #[error("trust list not fetched: {0}")]
    Fetch(String),
    /// The signature, its signer or its form is wrong.
    #[error("trust list signature: {0}")]
    Signature(String),
    /// The signer's certificate is revoked.
    #[error("trust list refused: the signer's certificate is {0}")]
    SignerRevoked(String),
    /// Nobody can say whether the signer's certificate is revoked.
    #[error("trust list put off: nobody can say whether the signer's certificate is revoked: {0}")]
    SignerUnknown(String),
    /// The verified text is not a list.
    #[error("trust list form: {0}")]
    Form(String),
    /// Older than a list that was taken before, or from the future.
    #[error("trust list refused: {0}")]
    Rollback(String),
    /// The rows about the list cannot be read or written.
    #[error("trust list rows: {0}")]
    Store(String),
    /// No such version, or not one for this.
    #[error("{0}")]
    NoVersion(String),
    /// Somebody was faster.
    #[error("the list has changed in the meantime; look again with `trust status`")]
    Changed,
}

/// What a refresh did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The same list as before.
    Unchanged,
    /// A younger list is active now, with this many domains.
    Replaced(usize),
    /// A younger list is active now, but so many (domain, certificate) pairs that it no longer
    /// has go on counting until somebody approves.
    Held(usize),
    /// An administrator went back to an older list: the younger one is kept and waits whole.
    Waits,
    /// The source still has the list from which an administrator went back.
    Rejected,
}

/// The active list. Cheap to ask, replaced as a whole.
pub struct TrustSpace {
    /// `None` for a fixed list.
    keeper: Option<Keeper>,
    active: ArcSwap<Active>,
    /// One download at a time.
    fetch_turn: tokio::sync::Mutex<()>,
    /// One change at a time, so that of two the younger list always wins.
    turn: tokio::sync::Mutex<()>,
    fetching: Mutex<(Fetching, Validators)>,
}

/// What counts now, ready for questions.
struct Active {
    list: Arc<TrustList>,
    /// The other way round: judging by DN alone must not walk through all domains.
    domains_of: HashMap<OperatorDn, BTreeSet<Domain>>,
    /// Pairs in it that its newest document no longer has.
    held: Pairs,
    state: StateRow,
}

impl TrustSpace {
    /// Goes on with the list that counted before the last stop. Without one, fetches the first;
    /// a file is read anew in any case, for that costs nothing.
    ///
    /// # Errors
    /// [`TrustError`] when there is neither a kept list nor a good new one: without a list the
    /// relay could neither send nor receive.
    pub async fn open(
        settings: Settings,
        store: Arc<dyn Store>,
        watch: &dyn SignerWatch,
        now: Timestamp,
    ) -> Result<Self, TrustError> {
        let is_file = matches!(settings.source, Source::File(_));
        let keeper = Keeper::open(settings, store).await?;
        let Some(active) = keeper.resume().await? else {
            let (active, fetching, validators) = keeper.first(watch, now).await?;
            keeper.copy_plainly(active.state.active).await;
            let space = Self::with(Some(keeper), active);
            *space.fetching() = (fetching, validators);
            space.tell_alarms(now);
            return Ok(space);
        };
        keeper.copy_plainly(active.state.active).await;
        let space = Self::with(Some(keeper), active);
        if is_file {
            // Its failure is logged there, and the kept list counts.
            let _ = space.refresh(watch, now).await;
        } else {
            space.tell_alarms(now);
        }
        Ok(space)
    }

    /// A given list, for tests.
    pub fn fixed(list: TrustList) -> Self {
        let key = Key { generated: list.generated.as_millis(), digest: [0; 32] };
        let state = StateRow {
            active: key,
            since: key.generated,
            rolled_back: false,
            waiting: None,
            waiting_since: None,
            youngest: key.generated,
        };
        Self::with(None, Active::new(list, Pairs::new(), state))
    }

    fn with(keeper: Option<Keeper>, active: Active) -> Self {
        Self {
            keeper,
            active: ArcSwap::from_pointee(active),
            fetch_turn: tokio::sync::Mutex::new(()),
            turn: tokio::sync::Mutex::new(()),
            fetching: Mutex::default(),
        }
    }

    /// Asks the source now. A list that is older, empty, badly signed or of a revoked signer is
    /// refused, and the active one stays.
    ///
    /// # Errors
    /// [`TrustError`] says why the list was not taken; it is logged and counted here.
    pub async fn refresh(
        &self,
        watch: &dyn SignerWatch,
        now: Timestamp,
    ) -> Result<Refreshed, TrustError> {
        let Some(keeper) = &self.keeper else { return Ok(Refreshed::Unchanged) };
        let _alone = self.fetch_turn.lock().await;
        let known = self.fetching().1.clone();
        let outcome = self.fetch_and_take(keeper, &known, watch, now).await;
        {
            let mut fetching = self.fetching();
            fetching.0.note(outcome.as_ref().err(), now);
            if let Ok((_, Some(validators))) = &outcome {
                fetching.1 = validators.clone();
            }
        }
        match &outcome {
            Ok((refreshed, _)) => tracing::info!(?refreshed, "the trust list was asked for"),
            Err(error) => {
                tracing::error!(%error, "the trust list was not taken, the active one stays");
            }
        }
        self.tell_alarms(now);
        outcome.map(|(refreshed, _)| refreshed)
    }

    /// What was done, and what the server said of a document that needs no second look.
    async fn fetch_and_take(
        &self,
        keeper: &Keeper,
        known: &Validators,
        watch: &dyn SignerWatch,
        now: Timestamp,
    ) -> Result<(Refreshed, Option<Validators>), TrustError> {
        let Some(document) = keeper.settings.source.obtain(known).await? else {
            return Ok((Refreshed::Unchanged, None));
        };
        let validators = document.validators;
        let in_step = {
            let _turn = self.turn.lock().await;
            self.in_step(keeper).await?
        };
        if in_step.0.is_known(&keeper::digest_of(&document.octets)) {
            return Ok((Refreshed::Unchanged, Some(validators)));
        }
        let proven = keeper.prove(document.octets, now).await?;
        if keeper.is_rejected(proven.key).await? {
            return Ok((Refreshed::Rejected, Some(validators)));
        }
        keeper.check_moment(&proven, now).await?;
        keeper::check_signer(&proven, watch, now).await?;
        let _turn = self.turn.lock().await;
        let (before, _) = self.in_step(keeper).await?;
        let (refreshed, after) = keeper.take(Some(&before), proven, now).await?;
        if let Some(after) = after {
            let key = after.state.active;
            // Nothing may be awaited between the commit and this.
            self.active.store(Arc::new(after));
            keeper.copy_plainly(key).await;
        }
        Ok((refreshed, Some(validators)))
    }

    /// What counts, in step with its row, and the row's version for a change. Whoever asked for
    /// a change may have hung up after its commit, and a commit of unknown outcome may have
    /// succeeded: then the row is right and memory is not. The caller has the turn.
    async fn in_step(&self, keeper: &Keeper) -> Result<(Arc<Active>, Option<Version>), TrustError> {
        let active = self.active.load_full();
        let Some((row, at)) = keeper.versions.state().await? else { return Ok((active, None)) };
        if row == active.state {
            return Ok((active, Some(at)));
        }
        if let Some(again) = keeper.resume().await? {
            self.active.store(Arc::new(again));
        }
        Ok((self.active.load_full(), Some(at)))
    }

    /// What counts now.
    pub fn list(&self) -> Arc<TrustList> {
        Arc::clone(&self.active.load().list)
    }

    /// The newest document of what counts now.
    pub fn version(&self) -> ListVersion {
        self.active.load().state.active.version()
    }

    /// May this peer speak for this domain (`None`: the null reverse path, judged by DN alone)?
    ///
    /// # Errors
    /// [`Refusal::PeerNotListed`] when no operator has this subject at all, otherwise
    /// [`Refusal::PeerDomainMismatch`]: the two need different remedies.
    pub fn judge_peer(&self, peer: &OperatorDn, domain: Option<&Domain>) -> Result<(), Refusal> {
        self.active.load().judge(peer, domain)
    }

    /// Which list is asked, and the entry that lets the caller in, if there is one. Of several
    /// domains of a caller with a null reverse path it is the first one.
    pub fn evidence(&self, peer: &OperatorDn, domain: Option<&Domain>) -> ListEvidence {
        self.active.load().evidence(peer, domain)
    }

    /// [`Self::judge_peer`] and [`Self::evidence`] of one and the same list.
    pub fn judge_with_evidence(
        &self,
        peer: &OperatorDn,
        domain: Option<&Domain>,
    ) -> (Result<(), Refusal>, ListEvidence) {
        let active = self.active.load();
        (active.judge(peer, domain), active.evidence(peer, domain))
    }

    /// The certificates' names that are listed for a domain; `true` for one that the newest
    /// document no longer has and that counts until somebody approves.
    pub fn entries(&self, domain: &Domain) -> Vec<(OperatorDn, bool)> {
        let active = self.active.load();
        let held = active.held.get(domain);
        let is_held = |dn: &OperatorDn| held.is_some_and(|held| held.contains(dn));
        let listed = active.list.domains.get(domain).into_iter().flatten();
        listed.map(|dn| (dn.clone(), is_held(dn))).collect()
    }

    /// True when the list is so old that the configuration lets nobody be judged by it.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let limit = self.keeper.as_ref().and_then(|keeper| keeper.settings.age_limit);
        limit.is_some_and(|limit| now.since(self.active.load().list.generated) > limit)
    }

    fn fetching(&self) -> MutexGuard<'_, (Fetching, Validators)> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    fn new(list: TrustList, held: Pairs, state: StateRow) -> Self {
        let mut domains_of: HashMap<OperatorDn, BTreeSet<Domain>> = HashMap::new();
        for (domain, listed) in &list.domains {
            for dn in listed {
                // Hundreds of domains share one certificate: no copy of the name for each.
                match domains_of.get_mut(dn) {
                    Some(domains) => drop(domains.insert(domain.clone())),
                    None => drop(domains_of.insert(dn.clone(), [domain.clone()].into())),
                }
            }
        }
        Self { list: Arc::new(list), domains_of, held, state }
    }

    fn judge(&self, peer: &OperatorDn, domain: Option<&Domain>) -> Result<(), Refusal> {
        match (self.domains_of.get(peer), domain) {
            (None, _) => Err(Refusal::PeerNotListed),
            (Some(domains), Some(domain)) if !domains.contains(domain) => {
                Err(Refusal::PeerDomainMismatch)
            }
            (Some(_), _) => Ok(()),
        }
    }

    fn evidence(&self, peer: &OperatorDn, domain: Option<&Domain>) -> ListEvidence {
        let listed = self.domains_of.get(peer);
        let entry = listed.and_then(|domains| match domain {
            Some(domain) => domains.get(domain),
            None => domains.first(),
        });
        ListEvidence {
            version: self.state.active.version(),
            entry: entry.map(|domain| (domain.clone(), peer.clone())),
        }
    }

    /// True for the document that counts and for the one that waits.
    fn is_known(&self, digest: &[u8; 32]) -> bool {
        self.state.active.digest == *digest
            || self.state.waiting.is_some_and(|waiting| waiting.digest == *digest)
    }

    /// The newest document's own content, without what is held.
    fn without_held(&self) -> TrustList {
        TrustList {
            generated: self.list.generated,
            domains: diff::missing(&self.list.domains, &self.held),
        }
    }
}

/// Reading, unpacking and verifying megabytes must not hold up the tasks of others.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TrustError> + Send + 'static,
) -> Result<T, TrustError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(TrustError::Store(format!("the work ended badly: {error}"))))
}
