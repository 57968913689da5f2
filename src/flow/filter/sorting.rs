//! Running filters on a letter, while its clear text is in memory anyhow.
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::folder::Flags;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::flow::filter::absences;
use crate::flow::filter::absences::Away;
use crate::flow::filter::answers;
use crate::flow::filter::answers::Answer;
use crate::flow::filter::scripts;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::Office;
use crate::flow::policy::Cleared;
use crate::infra::directory::Account;
use crate::proto::sieve::Circumstances;
use crate::proto::sieve::Filing;
use crate::proto::sieve::Letter;
use crate::proto::sieve::Script;

/// What must be known before filters can run.
pub struct Sorting {
    /// One for each mailbox here, in their order; `None`: it has no filter.
    filters: Vec<Option<Filter>>,
    /// The reverse path; empty when it is null.
    from: String,
    now: Timestamp,
    redirects_max: usize,
    vacation_seconds_min: u64,
}

struct Filter {
    mailbox: MailboxId,
    /// `None`: the mailbox is only away.
    script: Option<Arc<Script>>,
    away: Option<Away>,
    account: Account,
    recipient: Address,
    folders: Vec<(String, Option<&'static str>)>,
}

/// What one filter decided.
#[derive(Clone, Debug)]
pub struct Sorted {
    /// Where the letter shall lie; empty: it is discarded, or only sent on.
    pub(super) filed: Vec<Filing>,
    /// To whom it shall be sent on.
    pub(super) redirects: Vec<Address>,
    /// The answer that the sender shall get.
    pub(super) answer: Option<Answer>,
}

impl Sorting {
    /// Finds the active filters of the mailboxes here; `None` when there is none.
    pub async fn prepare(
        office: &Office,
        homes: &[OpenMailbox],
        cleared: &Cleared,
        now: Timestamp,
    ) -> Option<Self> {
        let mut filters = Vec::with_capacity(homes.len());
        let here = cleared.approved().iter();
        let here = here.filter_map(|approved| Some((approved.recipient(), approved.home()?)));
        for ((recipient, account), home) in here.zip(homes) {
            let script = scripts::active(office, home).await;
            let away = absences::counting(office, home, now).await;
            if script.is_none() && away.is_none() {
                filters.push(None);
                continue;
            }
            let folders = if script.is_some() { folders(home).await } else { Vec::new() };
            filters.push(Some(Filter {
                mailbox: home.id(),
                script,
                away,
                account: account.clone(),
                recipient: recipient.address.clone(),
                folders,
            }));
        }
        let from = cleared.authenticated().reverse_path().address();
        filters.iter().any(Option::is_some).then(|| Self {
            filters,
            from: from.map(Address::to_string).unwrap_or_default(),
            now,
            redirects_max: office.config.sieve.redirects_max,
            vacation_seconds_min: office.config.sieve.vacation_min.as_secs(),
        })
    }

    /// True when a filter looks into the body, which takes memory.
    pub fn reads_bodies(&self) -> bool {
        let mut scripts = self.filters.iter().flatten().filter_map(|filter| filter.script.as_ref());
        scripts.any(|script| script.reads_bodies())
    }

    /// Runs them all. A filter that fails, or breaks, has decided nothing: the letter is kept.
    pub fn run(&self, clear: &[u8]) -> Vec<Option<Sorted>> {
        let letter = Letter::new(clear);
        let sort = |filter: &Filter| {
            // A bug of ours must cost nobody a letter.
            let ran = catch_unwind(AssertUnwindSafe(|| self.run_one(filter, &letter)));
            ran.unwrap_or_else(|_| {
                tracing::error!(mailbox = ?filter.mailbox, "a filter broke; the letter is kept");
                None
            })
        };
        self.filters.iter().map(|filter| filter.as_ref().and_then(sort)).collect()
    }

    /// A recorded absence answers instead of the script, whatever that does with the letter.
    fn run_one(&self, filter: &Filter, letter: &Letter<'_>) -> Option<Sorted> {
        let sorted = filter.script.as_ref().and_then(|script| self.sort(script, filter, letter));
        let Some(away) = &filter.away else { return sorted };
        let own = [&filter.account.address, &filter.recipient];
        let answer = away.answer(letter, &self.from, own, self.vacation_seconds_min);
        let kept = || Sorted {
            filed: vec![Filing { folder: None, flags: Flags::default() }],
            redirects: Vec::new(),
            answer: None,
        };
        Some(Sorted { answer, ..sorted.unwrap_or_else(kept) })
    }

    fn sort(&self, script: &Script, filter: &Filter, letter: &Letter<'_>) -> Option<Sorted> {
        let to = filter.recipient.to_string();
        let around = Circumstances {
            from: &self.from,
            to: &to,
            now: self.now,
            folders: &filter.folders,
            redirects_max: self.redirects_max,
        };
        let verdict = match script.run(letter, &around) {
            Ok(verdict) => verdict,
            Err(stopped) => {
                let mailbox = filter.mailbox;
                tracing::warn!(?mailbox, %stopped, "a filter was stopped; the letter is kept");
                return None;
            }
        };
        let answer = verdict.vacation.and_then(|vacation| {
            let seconds_min = self.vacation_seconds_min;
            let own = [&filter.account.address, &filter.recipient];
            answers::wanted(letter, &self.from, own, &vacation, seconds_min)
        });
        Some(Sorted { filed: verdict.filed, redirects: verdict.redirects, answer })
    }
}

async fn folders(home: &OpenMailbox) -> Vec<(String, Option<&'static str>)> {
    let folders = home.folders().await.unwrap_or_default();
    let named = folders
        .into_iter()
        .map(|folder| (folder.name, folder.special_use.map(|special_use| special_use.attribute())));
    named.collect()
}
