//! Drift: where the national directory and we say different things about a mailbox of ours.
//!
//! The directory is right about who exercises, we are right about who may log in, and both change
//! at their own pace. So drift is shown to administrators and stops nobody's mail.
//!
//! | key | value |
//! |---|---|
//! | `N/<mailbox id>` | what was found when this mailbox sent last, at most once a day |
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::identity::NationalId;
use crate::domain::limits;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::flow::directory::DirectoryCopyError;
use crate::flow::directory::blocking;
use crate::flow::office::Office;
use crate::infra::directory::Account;
use crate::infra::replica::PublishedMailbox;
use crate::infra::replica::Replica;
use crate::infra::replica::folded_words;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::row;

const NOTED: &[u8] = b"N/";
const FORMAT: u8 = 1;
/// A mailbox that sends is compared so often.
const EVERY: Duration = Duration::from_secs(86_400);
/// All mailboxes are compared for the dashboard so often.
const COUNTED_FOR: Duration = Duration::from_secs(300);
/// The publisher needs some days for a new mailbox.
const NEWCOMER: Duration = Duration::from_secs(3 * 86_400);
/// Published mailboxes of one of our domains that are looked at.
const PUBLISHED_MAX: usize = 100_000;
/// Lines of one address that are looked at.
const LINES_MAX: usize = 32;

/// One way in which a mailbox of ours and the directory differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Drift {
    /// Public here, and not in the extraction.
    NotPublished,
    /// On the red list here, and in the extraction.
    PublishedHidden,
    /// Suspended here, and in the extraction.
    PublishedClosed,
    /// In the extraction under a domain of ours, and no mailbox here.
    PublishedUnknown,
    /// The professional has no activity any more.
    Retired,
    /// The RPPS is in none of the PS_LibreAcces files.
    UnknownProfessional,
    /// The extraction and PS_LibreAcces name different professions.
    ProfessionDiffers,
    /// The extraction names somebody else than the holder recorded here; without a record, somebody
    /// with another family name than our mailbox has.
    HolderDiffers,
    /// Our mailbox is of another kind than the published one.
    KindDiffers,
}

impl Drift {
    /// Every way, in the order in which tables show them.
    pub const ALL: [Self; 9] = [
        Self::Retired,
        Self::UnknownProfessional,
        Self::HolderDiffers,
        Self::ProfessionDiffers,
        Self::KindDiffers,
        Self::PublishedHidden,
        Self::PublishedClosed,
        Self::PublishedUnknown,
        Self::NotPublished,
    ];

    /// A word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotPublished => "not-published",
            Self::PublishedHidden => "published-hidden",
            Self::PublishedClosed => "published-closed",
            Self::PublishedUnknown => "published-unknown",
            Self::Retired => "retired",
            Self::UnknownProfessional => "unknown-professional",
            Self::ProfessionDiffers => "profession-differs",
            Self::HolderDiffers => "holder-differs",
            Self::KindDiffers => "kind-differs",
        }
    }

    /// The way of a word.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|drift| drift.code() == code)
    }

    /// A sentence for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotPublished => "is public here and not in the directory",
            Self::PublishedHidden => "is on the red list here and shown in the directory",
            Self::PublishedClosed => "is closed here and shown in the directory",
            Self::PublishedUnknown => "is in the directory and no mailbox here",
            Self::Retired => "its professional has no activity any more",
            Self::UnknownProfessional => "its RPPS is not known to the directory",
            Self::ProfessionDiffers => "its professional now has another profession",
            Self::HolderDiffers => "the directory names another holder",
            Self::KindDiffers => "it is of another kind in the directory",
        }
    }
}

/// What was found about one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which mailbox.
    pub address: Address,
    /// In which ways it differs.
    pub drifts: Vec<Drift>,
    /// When it sent last while it differed, to the day; `None` when it has not.
    pub sent: Option<Timestamp>,
}

/// When mailboxes that send were compared last.
#[derive(Default)]
pub struct Noted(Mutex<HashMap<MailboxId, Timestamp>>);

impl Noted {
    /// True when it is this mailbox's turn.
    fn take(&self, id: MailboxId, now: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |at: &Timestamp| *at > now || now.since(*at) >= EVERY;
        if noted.get(&id).is_some_and(|at| !is_due(at)) {
            return false;
        }
        if noted.len() >= limits::DRIFT_REMEMBERED_MAX {
            noted.retain(|_, at| !is_due(at));
            if noted.len() >= limits::DRIFT_REMEMBERED_MAX {
                return false;
            }
        }
        noted.insert(id, now);
        true
    }
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Row {
    at: u64,
    drifts: Vec<String>,
}

/// Compares a mailbox that has just sent, beside its letter and at most once a day.
pub fn note(office: &Arc<Office>, account: Account) {
    let is_professional = account.kind != MailboxKind::Citizen;
    let has_copy = office.replica.is_some();
    if !is_professional || !has_copy || !office.directory.noted.take(account.id, office.clock.now())
    {
        return;
    }
    let office = Arc::clone(office);
    tokio::spawn(async move {
        if let Err(error) = compare_and_keep(&office, account).await {
            tracing::warn!(%error, "a sender cannot be compared with the directory");
        }
    });
}

async fn compare_and_keep(office: &Office, account: Account) -> Result<(), DirectoryCopyError> {
    let key = [NOTED, account.id.as_bytes()].concat();
    let now = office.clock.now();
    let id = account.id;
    let holders = holders(office, id).await?;
    let compare = move |replica: &Replica| of_account(replica, &account, &holders, now);
    let drifts = blocking(office, compare).await?;
    let failed = |error: &dyn std::fmt::Display| DirectoryCopyError::Accounts(error.to_string());
    let mut batch = Batch::new();
    if drifts.is_empty() {
        let known = office.store.get(&key).await.map_err(|error| failed(&error))?;
        if known.is_none() {
            return Ok(());
        }
        batch.delete(key);
    } else {
        let codes: Vec<String> = drifts.iter().map(|drift| drift.code().to_owned()).collect();
        tracing::info!(mailbox = ?id, drift = codes.join(","), "a sender differs from the directory");
        batch.put(key, row::encode(FORMAT, &Row { at: now.as_millis(), drifts: codes }));
    }
    office.store.commit(batch).await.map_err(|error| failed(&error))
}

/// How many mailboxes differ, counted anew every few minutes at most.
pub async fn count(office: &Office) -> Result<usize, DirectoryCopyError> {
    let now = office.clock.now();
    let known = *office.directory.drifts.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, count)) = known
        && at <= now
        && now.since(at) < COUNTED_FOR
    {
        return Ok(count);
    }
    let count = all(office).await?.len();
    *office.directory.drifts.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, count));
    Ok(count)
}

/// Compares all our mailboxes with the copy, and the copy's mailboxes of our domains with ours.
pub async fn all(office: &Office) -> Result<Vec<Finding>, DirectoryCopyError> {
    let accounts = office.accounts.list().await;
    let accounts = accounts.map_err(|error| DirectoryCopyError::Accounts(error.to_string()))?;
    let mut held = HashMap::new();
    for account in accounts.iter().filter(|account| account.kind == MailboxKind::Personal) {
        let holders = holders(office, account.id).await?;
        if !holders.is_empty() {
            held.insert(account.id, holders);
        }
    }
    let sent = noted(office).await?;
    let domains: Vec<String> =
        office.config.operator.domains.iter().map(ToString::to_string).collect();
    let now = office.clock.now();
    blocking(office, move |replica| {
        if replica.imported()?.is_none() {
            return Ok(Vec::new());
        }
        let mut findings = Vec::new();
        let mut ours = HashSet::new();
        for account in accounts.iter().filter(|account| account.kind != MailboxKind::Citizen) {
            ours.insert(account.address.lookup_form());
            let holders = held.get(&account.id).map_or(&[][..], Vec::as_slice);
            let drifts = of_account(replica, account, holders, now)?;
            if !drifts.is_empty() {
                let sent = sent.get(&account.id).copied();
                findings.push(Finding { address: account.address.clone(), drifts, sent });
            }
        }
        for domain in &domains {
            for published in replica.by_domain(domain, PUBLISHED_MAX)? {
                let Ok(address) = Address::parse(&published.address) else { continue };
                if ours.insert(address.lookup_form()) {
                    let drifts = vec![Drift::PublishedUnknown];
                    findings.push(Finding { address, drifts, sent: None });
                }
            }
        }
        findings.sort_by_cached_key(|finding| {
            (
                finding.drifts.iter().min_by_key(|drift| place(**drift)).copied().map(place),
                finding.address.lookup_form(),
            )
        });
        Ok(findings)
    })
    .await
}

fn place(drift: Drift) -> usize {
    Drift::ALL.iter().position(|other| *other == drift).unwrap_or(usize::MAX)
}

/// When mailboxes that differed sent last.
async fn noted(office: &Office) -> Result<HashMap<MailboxId, Timestamp>, DirectoryCopyError> {
    let failed = |error: store::StoreError| DirectoryCopyError::Accounts(error.to_string());
    let mut noted = HashMap::new();
    let mut range = store::prefix(NOTED);
    loop {
        let page = office.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await.map_err(failed)?;
        for (key, value) in &page.rows {
            let id = key.get(NOTED.len()..).and_then(|id| <[u8; 16]>::try_from(id).ok());
            let row: Option<Row> = row::decode(FORMAT, &value.value);
            if let (Some(id), Some(row)) = (id, row) {
                noted.insert(MailboxId::from_bytes(id), Timestamp::from_millis(row.at));
            }
        }
        match page.rows.last() {
            Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
            _ => return Ok(noted),
        }
    }
}

/// In which ways a mailbox of ours differs.
fn of_account(
    replica: &Replica,
    account: &Account,
    holders: &[NationalId],
    now: Timestamp,
) -> Result<Vec<Drift>, DirectoryCopyError> {
    let Some(imported) = replica.imported()? else { return Ok(Vec::new()) };
    let lines = replica.lines(&account.address, LINES_MAX)?;
    let mut drifts = Vec::new();
    // Software and practices are not in the extraction; what is hidden must not be.
    let is_expected = matches!(account.kind, MailboxKind::Personal | MailboxKind::Organisational)
        && account.listing == Listing::Public
        && !account.suspended;
    let made = imported.made().unwrap_or(imported.at);
    let is_newcomer = account.created > made || now.since(account.created) < NEWCOMER;
    if lines.is_empty() && is_expected && !is_newcomer {
        drifts.push(Drift::NotPublished);
    }
    let Some(published) = lines.first() else { return Ok(drifts) };
    if account.suspended {
        drifts.push(Drift::PublishedClosed);
    } else if account.listing == Listing::RedList {
        drifts.push(Drift::PublishedHidden);
    }
    if published.kind != account.kind.code() {
        drifts.push(Drift::KindDiffers);
    }
    if published.kind == "PER" {
        if names_another(account, holders, published) {
            drifts.push(Drift::HolderDiffers);
        }
        of_professional(replica, published, &mut drifts)?;
    }
    Ok(drifts)
}

/// Who holds a mailbox, as far as it was recorded.
async fn holders(office: &Office, id: MailboxId) -> Result<Vec<NationalId>, DirectoryCopyError> {
    let holders = office.accounts.holders(&id).await;
    let holders = holders.map_err(|error| DirectoryCopyError::Accounts(error.to_string()))?;
    Ok(holders.into_iter().map(|holder| holder.national_id).collect())
}

/// True when another professional is published. Numbers decide where both sides have one: names
/// are changed by marriage, and shared by families. Else the family name that is published must be
/// a part of what our mailbox is called.
fn names_another(account: &Account, holders: &[NationalId], published: &PublishedMailbox) -> bool {
    if let Some(theirs) = NationalId::parse(&published.identity)
        && !holders.is_empty()
    {
        return !holders.contains(&theirs);
    }
    let ours: HashSet<String> = folded_words(&account.display_name).collect();
    let mut theirs = folded_words(&published.name).peekable();
    !ours.is_empty() && theirs.peek().is_some() && !theirs.any(|word| ours.contains(&word))
}

/// What PS_LibreAcces says of the professional; nothing while it was never imported.
fn of_professional(
    replica: &Replica,
    published: &PublishedMailbox,
    drifts: &mut Vec<Drift>,
) -> Result<(), DirectoryCopyError> {
    if published.identity.is_empty() || replica.people_imported()?.is_none() {
        return Ok(());
    }
    match replica.professional(&published.identity)? {
        None => drifts.push(Drift::UnknownProfessional),
        Some(known) if !known.active => drifts.push(Drift::Retired),
        Some(known) => {
            let is_same =
                known.professions.iter().any(|(code, _)| *code == published.profession_code);
            if !is_same && !published.profession_code.is_empty() && !known.professions.is_empty() {
                drifts.push(Drift::ProfessionDiffers);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_a_word_of_its_own() {
        for drift in Drift::ALL {
            assert_eq!(Drift::from_code(drift.code()), Some(drift));
        }
        assert_eq!(Drift::from_code(""), None);
    }

    #[test]
    fn a_mailbox_that_sends_is_compared_once_a_day() {
        let noted = Noted::default();
        let one = MailboxId::from_bytes([1; 16]);
        let at = |seconds: u64| Timestamp::from_seconds(1_795_388_399 + seconds);
        assert!(noted.take(one, at(0)));
        assert!(!noted.take(one, at(86_399)));
        assert!(noted.take(MailboxId::from_bytes([2; 16]), at(86_399)));
        assert!(noted.take(one, at(86_400)));
        // A clock that went back keeps nobody from being compared.
        assert!(noted.take(one, at(0)));
    }
}
