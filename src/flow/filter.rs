//! Filters: what people want done with letters when they arrive (Sieve), and absence notices.
//!
//! A filter runs while the letter is in memory, before its commit, and without a network. What it
//! decides becomes true in that commit: where the letter lies, and promises to answer or to send
//! it on, which are kept as any promise is. Whatever goes wrong with a filter, the letter lies in
//! INBOX.
//!
//! No filter makes a letter vanish: what is discarded, or sent on without a copy, lies in Trash.
//! A letter is sent on inside the trust space only, and by the normal way.
mod absences; // who is away, and who stands in
mod answers; // automatic answers
mod redirects; // letters that are sent on
mod rows; // the stored form
mod scripts; // what people upload
mod sorting; // running a script on a letter

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::domain::address::Address;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::SpecialUse;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::status::Refusal;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::Office;
use crate::flow::promise;
use crate::flow::seal::Sealed;
use crate::flow::timeline;
use crate::flow::timeline::Entry;
use crate::flow::timeline::Step;
use crate::infra::store::Batch;
use crate::proto::sieve::Filing;
use crate::proto::sieve::Script;

pub use absences::Away;
pub use absences::away;
pub use absences::check_text;
pub use absences::put_away;
pub use answers::Absence;
pub use answers::Answer;
pub use answers::absence;
pub use answers::send as send_answer;
pub use redirects::Redirect;
pub use redirects::send as send_redirect;
pub use scripts::Listed;
pub use scripts::ScriptError;
pub use scripts::check;
pub use scripts::check_name;
pub use scripts::delete;
pub use scripts::get;
pub use scripts::have_space;
pub use scripts::list;
pub use scripts::put;
pub use scripts::rename;
pub use scripts::set_active;
pub use scripts::warnings;
pub use sorting::Sorted;
pub use sorting::Sorting;

/// By mailbox and number; `None`: this version cannot run it.
type Compiled = HashMap<(MailboxId, u32), Option<Arc<Script>>>;

/// Compiled scripts, kept between letters. A stored script never changes: a new text gets a new
/// number.
#[derive(Default)]
pub struct Filters {
    compiled: Mutex<Compiled>,
    /// Letters are sent on one after the other: two that let go of the same content at the same
    /// time would hinder each other.
    sending_on: tokio::sync::Mutex<()>,
}

impl Filters {
    fn known(&self, key: (MailboxId, u32)) -> Option<Option<Arc<Script>>> {
        let compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.get(&key).cloned()
    }

    fn keep(&self, key: (MailboxId, u32), script: Option<Arc<Script>>) {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.len() >= limits::SIEVE_COMPILED_MAX {
            compiled.clear();
        }
        compiled.insert(key, script);
    }
}

/// Where a letter lies in one mailbox, and what else comes of it there.
#[derive(Clone, Debug, Default)]
pub struct Placing {
    /// At least one when it is used; INBOX when it is empty.
    places: Vec<(FolderId, Flags)>,
    /// To whom it is sent on, all allowed.
    redirects: Vec<Address>,
    /// To whom it would have been sent on, and why not.
    refused: Vec<(Address, Refusal)>,
    /// The automatic answer.
    answer: Option<Answer>,
}

impl Placing {
    /// Where it lies: the first place, and more.
    pub fn places(&self) -> (FolderId, Flags, &[(FolderId, Flags)]) {
        match self.places.split_first() {
            Some(((folder, flags), more)) => (*folder, flags.clone(), more),
            None => (FolderId::INBOX, Flags::default(), &[]),
        }
    }

    /// Promises that hold the letter's content until they are kept.
    pub fn holds(&self) -> u32 {
        u32::try_from(self.redirects.len()).unwrap_or(u32::MAX)
    }
}

/// Turns what the filters decided into places: finds and creates folders, asks whether the
/// letter may be sent on. One placing for each mailbox here.
pub async fn place(office: &Office, sealed: &Sealed) -> Vec<Placing> {
    let mut placings = Vec::with_capacity(sealed.homes().len());
    let mut sorted = sealed.sorted().iter();
    for home in sealed.homes() {
        placings.push(match sorted.next().and_then(Option::as_ref) {
            Some(sorted) => place_one(office, sealed, home, sorted).await,
            None => Placing::default(),
        });
    }
    placings
}

async fn place_one(
    office: &Office,
    sealed: &Sealed,
    home: &OpenMailbox,
    sorted: &Sorted,
) -> Placing {
    let mut placing = Placing { answer: sorted.answer.clone(), ..Placing::default() };
    let folders = match home.folders().await {
        Ok(folders) => folders,
        Err(error) => {
            tracing::warn!(mailbox = ?home.id(), %error, "a filter finds no folders; INBOX it is");
            Vec::new()
        }
    };
    for filing in &sorted.filed {
        let folder = folder_of(home, &folders, filing).await;
        if !placing.places.iter().any(|(known, _)| *known == folder) {
            placing.places.push((folder, filing.flags.clone()));
        }
    }
    for to in &sorted.redirects {
        match redirects::may_go(office, sealed, to).await {
            Ok(()) => placing.redirects.push(to.clone()),
            Err(refusal) => placing.refused.push((to.clone(), refusal)),
        }
    }
    if placing.places.is_empty() {
        let place = match placing.refused.is_empty() {
            true => (trash(&folders), Flags { seen: true, ..Flags::default() }),
            // It was to go elsewhere and may not.
            false => (FolderId::INBOX, Flags::default()),
        };
        placing.places.push(place);
    }
    placing
}

/// RFC 8579 §4: a folder of the wanted use first; RFC 5490 §3.2: a missing one is created when
/// the script says so. Otherwise INBOX, where it is seen.
async fn folder_of(home: &OpenMailbox, folders: &[Folder], filing: &Filing) -> FolderId {
    let Some(wanted) = &filing.folder else { return FolderId::INBOX };
    let of_use = wanted.special_use.as_deref().and_then(|wanted| {
        let is_it = |use_: SpecialUse| use_.attribute().eq_ignore_ascii_case(wanted);
        folders.iter().find(|folder| folder.special_use.is_some_and(is_it))
    });
    if let Some(folder) = of_use.or_else(|| named(folders, &wanted.name)) {
        return folder.id;
    }
    if !wanted.create {
        return FolderId::INBOX;
    }
    match create(home, folders, &wanted.name).await {
        Ok(folder) => folder,
        Err(error) => {
            tracing::warn!(mailbox = ?home.id(), %error, "a filter cannot create a folder");
            FolderId::INBOX
        }
    }
}

fn named<'f>(folders: &'f [Folder], name: &str) -> Option<&'f Folder> {
    folders.iter().find(|folder| {
        folder.name == name || (folder.id == FolderId::INBOX && name.eq_ignore_ascii_case("INBOX"))
    })
}

/// A folder and the ones above it.
async fn create(
    home: &OpenMailbox,
    folders: &[Folder],
    name: &str,
) -> Result<FolderId, MailboxError> {
    let above: Vec<&str> = name.match_indices('/').map(|(at, _)| &name[..at]).collect();
    for parent in above.into_iter().filter(|parent| named(folders, parent).is_none()) {
        match home.create_folder(parent, None).await {
            Ok(_) | Err(MailboxError::FolderExists) => {}
            Err(error) => return Err(error),
        }
    }
    match home.create_folder(name, None).await {
        Ok(folder) => Ok(folder.id),
        // Another letter was faster.
        Err(MailboxError::FolderExists) => {
            let folders = home.folders().await?;
            named(&folders, name).map(|folder| folder.id).ok_or(MailboxError::NoSuchFolder)
        }
        Err(error) => Err(error),
    }
}

fn trash(folders: &[Folder]) -> FolderId {
    let found = folders.iter().find(|folder| folder.special_use == Some(SpecialUse::Trash));
    found.map_or(FolderId::INBOX, |folder| folder.id)
}

/// Adds to the commit of a letter what its filters promised, mailbox by mailbox where it is news.
/// True when the bell must be rung.
pub fn ride(
    office: &Office,
    sealed: &Sealed,
    placings: &[Placing],
    fresh: &[bool],
    batch: &mut Batch,
) -> bool {
    let mut has_promised = false;
    let approved = sealed.cleared().approved().iter();
    let here = approved.filter_map(|approved| Some((approved.recipient(), approved.home()?)));
    for (((recipient, account), placing), _) in
        here.zip(placings).zip(fresh).filter(|(_, fresh)| **fresh)
    {
        let note = |step: String| Entry {
            at: sealed.accepted_at(),
            recipient: Some(recipient.address.clone()),
            step: Step::Filtered(step),
        };
        if let Some(answer) = &placing.answer {
            promise::answer(office, sealed.accepted_at(), sealed.queue_id(), answer, batch);
            has_promised = true;
        }
        for to in &placing.redirects {
            let redirect = redirects::of(office, sealed, account, to);
            promise::redirect(office, sealed.accepted_at(), sealed.queue_id(), &redirect, batch);
            has_promised = true;
        }
        for (to, refusal) in &placing.refused {
            let fact = redirects::refused(office, account, to, *refusal);
            office.ledger.ride(&fact, batch);
            let entry = note(format!("not sent on: {}", refusal.name()));
            timeline::ride(office, sealed.queue_id(), &[entry], batch);
        }
    }
    has_promised
}
