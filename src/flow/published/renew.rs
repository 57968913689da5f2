//! What the clock does for certificates: extends ours before they end, and says what ends.
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::flow::alerts;
use crate::flow::contacts;
use crate::flow::office::Office;
use crate::flow::own;
use crate::flow::published;
use crate::flow::published::Act;
use crate::infra::directory::Account;
use crate::infra::store::Batch;
use crate::infra::store::row;

/// The last day on which the clock looked.
const DAY_ROW: &[u8] = b"O/d";
const FORMAT: u8 = 1;
/// Accounts that are looked at before others get a turn.
const ACCOUNTS_AT_ONCE: usize = 50;

/// When certificates of our mailboxes end, as far as they were read: some tens of octets for each.
/// Reading one checks its signatures, which is half a millisecond of work.
#[derive(Default)]
pub struct Ends(Mutex<HashMap<MailboxId, End>>);

/// Of a certificate with this hash.
#[derive(Clone, Copy)]
struct End {
    hash: u64,
    at: Option<Timestamp>,
}

impl Ends {
    /// Of one account, reading its certificate if it is not the one that was read before.
    fn of(&self, account: &Account, now: Timestamp) -> Option<Timestamp> {
        let mut hasher = DefaultHasher::new();
        account.certificate.hash(&mut hasher);
        let hash = hasher.finish();
        let known = self.lock().get(&account.id).copied();
        match known {
            // What has ended meanwhile may leave another subkey as the last one.
            Some(end) if end.hash == hash && end.at.is_none_or(|at| at > now) => end.at,
            _ => {
                let read = published::read(account).ok();
                let at = read.and_then(|certificate| certificate.expires(now));
                self.lock().insert(account.id, End { hash, at });
                at
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MailboxId, End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the next certificate ends, of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Of our mailboxes, the keys of which we keep.
    pub mailboxes: Option<Timestamp>,
    /// Of people outside.
    pub contacts: Option<Timestamp>,
    /// Of people here who keep their own key.
    pub own: Option<Timestamp>,
    /// Contacts whose certificate has changed, undecided.
    pub changed: usize,
    /// Certificates of mailboxes that were extended now.
    pub extended: usize,
}

/// Once a day: extends what ends within `openpgp.renew_before_days`. On each call: looks when
/// the next certificates end, for the metrics. Answers what was found.
///
/// # Errors
/// A sentence; it is tried again at the next call.
pub async fn daily(office: &Arc<Office>) -> Result<Forecast, String> {
    let day = office.clock.now().as_seconds() / 86_400;
    let row = office.store.get(DAY_ROW).await.map_err(|error| error.to_string())?;
    let last: Option<u64> = row.and_then(|row| row::decode(FORMAT, &row.value));
    let is_due = last != Some(day);
    let found = walk(office, is_due).await?;
    if is_due {
        let mut batch = Batch::new();
        batch.put(DAY_ROW, row::encode(FORMAT, &day));
        office.store.commit(batch).await.map_err(|error| error.to_string())?;
        tell(office, &found);
    }
    show(office, &found);
    Ok(found)
}

/// Looks when the next certificates end, for the metrics; nothing is changed.
///
/// # Errors
/// A sentence.
pub async fn measure(office: &Arc<Office>) -> Result<Forecast, String> {
    let found = walk(office, false).await?;
    show(office, &found);
    Ok(found)
}

fn show(office: &Office, found: &Forecast) {
    let now = office.clock.now();
    office.metrics.openpgp_expiry("mailboxes", found.mailboxes, now);
    office.metrics.openpgp_expiry("contacts", found.contacts, now);
    office.metrics.openpgp_expiry("own", found.own, now);
    office.metrics.openpgp_pins_changed(found.changed);
}

async fn walk(office: &Arc<Office>, extends: bool) -> Result<Forecast, String> {
    let now = office.clock.now();
    let mut found = Forecast::default();
    let settings = &office.config.openpgp;
    let mut last = None;
    loop {
        let page = office.accounts.page(last, ACCOUNTS_AT_ONCE).await;
        let (accounts, more) = page.map_err(|error| error.to_string())?;
        // Not on a thread that serves sessions: after a start every one of them is read.
        let reader = Arc::clone(office);
        let read = tokio::task::spawn_blocking(move || {
            let end = |account: Account| (reader.ends.of(&account, now), account);
            accounts.into_iter().map(end).collect::<Vec<_>>()
        });
        for (mut end, account) in read.await.map_err(|error| error.to_string())? {
            // A patient's certificate leaves this house for nobody, so it needs no end.
            let has_end = settings.validity.is_some() && account.kind != MailboxKind::Citizen;
            let is_near = end.is_none_or(|end| end <= now.after(settings.renew_before));
            if extends && has_end && is_near && !account.suspended {
                let act = Act { author: published::CLOCK, reason: "openpgp.renew_before_days" };
                match published::extend(office, &account.address, act).await {
                    Ok(extended) => {
                        end = office.ends.of(&extended, now);
                        found.extended += 1;
                    }
                    Err(error) => {
                        tracing::error!(mailbox = ?account.id, error, "a certificate is not extended");
                    }
                }
            }
            found.mailboxes = nearest(found.mailboxes, end);
        }
        last = more;
        if last.is_none() {
            break;
        }
    }
    let mut after = None;
    loop {
        let page = contacts::page(office, after, limits::SCAN_ROWS_MAX).await;
        let (contacts, more) = page.map_err(|refusal| format!("{refusal:?}"))?;
        for contact in &contacts {
            found.contacts = nearest(found.contacts, contact.certificate.expires(now));
            found.changed += usize::from(contact.changed.is_some());
        }
        after = more;
        if after.is_none() {
            break;
        }
    }
    for (_, registered) in own::all(office) {
        found.own = nearest(found.own, registered.certificate.expires(now));
    }
    Ok(found)
}

/// Own certificates that end soon stop letters: administrators hear of it in time.
fn tell(office: &Arc<Office>, found: &Forecast) {
    let now = office.clock.now();
    let mut by_days: BTreeMap<u64, usize> = BTreeMap::new();
    for (_, registered) in own::all(office) {
        let Some(end) = registered.certificate.expires(now) else { continue };
        let days = end.since(now).as_secs() / 86_400;
        if days <= OWN_WARNED_DAYS {
            *by_days.entry(days).or_default() += 1;
        }
    }
    let count: usize = by_days.values().sum();
    if count > 0 {
        let text = format!(
            "{count} mailboxes have an own OpenPGP certificate that ends within {OWN_WARNED_DAYS} \
             days or is over. Letters for them are put off from its end on, until the holder \
             registers another one: vaguemestre keys list --own --expiring {OWN_WARNED_DAYS}"
        );
        alerts::raise(office, "own OpenPGP certificates end", &text);
    }
    if found.extended > 0 {
        tracing::info!(extended = found.extended, "certificates of mailboxes, extended");
    }
}

/// Days before the end of an own certificate at which it is spoken of.
const OWN_WARNED_DAYS: u64 = 30;

fn nearest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
