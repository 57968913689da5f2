//! Four eyes: what `life.four_eyes` names waits for a second administrator.
//!
//! What is asked is kept word for word, sealed, with its digest; what is approved is that and
//! nothing else, once, until its time is over. Nobody approves what they asked for themselves. Who
//! is who, the doors say: the kernel names the login user at the control socket, the dashboard its
//! own user.
mod deed; // what may wait, and how it is done
mod rows;

use std::sync::Arc;

use crate::domain::life::Action;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::flow::undone::Undone;
use crate::infra::journal::Entry;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Version;

pub use deed::Bulk;
pub use deed::Deed;
pub use deed::Holding;
pub use deed::Shredding;

/// Who asks or answers.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// Which human: compared, without regard to case.
    pub name: &'a str,
    /// As the journal names them.
    pub author: &'a str,
}

/// What somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Petition {
    /// Its name.
    pub id: uuid::Uuid,
    /// What is asked.
    pub deed: Deed,
    /// SHA-256 over all of it, in hexadecimal digits.
    pub digest: String,
    /// Which human asks.
    pub person: String,
    /// As the journal names them.
    pub author: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when somebody may answer.
    pub until: Timestamp,
    /// What became of it.
    pub state: State,
}

/// What became of a petition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    Waiting,
    /// Approved; being done, or what did it was interrupted.
    Approved(Reply),
    /// Approved and done; the text says what came of it.
    Done(Reply),
    /// Refused; the text says why.
    Refused(Reply),
}

/// Who answered a petition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Which human.
    pub person: String,
    /// As the journal names them.
    pub author: String,
    /// When.
    pub at: Timestamp,
    /// Why, or what came of it.
    pub text: String,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is done.
    Done(String),
    /// It waits for somebody else.
    Waits(Box<Petition>),
}

impl State {
    /// As lists say it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved(_) => "approved",
            Self::Done(_) => "done",
            Self::Refused(_) => "refused",
        }
    }

    /// Who answered.
    pub const fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Waiting => None,
            Self::Approved(reply) | Self::Done(reply) | Self::Refused(reply) => Some(reply),
        }
    }
}

impl Petition {
    /// True while somebody may answer.
    pub fn is_open(&self, now: Timestamp) -> bool {
        matches!(self.state, State::Waiting | State::Approved(_)) && now < self.until
    }

    /// `waiting`, `approved`, `done`, `refused`, `over`.
    pub fn state_name(&self, now: Timestamp) -> &'static str {
        match self.state {
            State::Waiting if now >= self.until => "over",
            _ => self.state.name(),
        }
    }
}

/// True when an action needs a second administrator here.
pub fn is_needed(office: &Office, action: Action) -> bool {
    office.config.life.four_eyes.contains(&action)
}

/// Does it, or keeps it for a second administrator where that is the rule.
///
/// # Errors
/// A sentence: nothing was done, and why.
pub async fn ask(office: &Arc<Office>, deed: Deed, person: Person<'_>) -> Result<Asked, Undone> {
    if !is_needed(office, deed.action()) && !deed.always_needs_two() {
        return deed.carry_out(office, person.author).await.map(Asked::Done);
    }
    deed.check(office).await?;
    let now = office.clock.now();
    let digest = rows::digest(&deed);
    // Asked twice by the same person it is one petition.
    let same = |one: &Petition| {
        one.digest == digest && one.is_open(now) && is_same(&one.person, person.name)
    };
    let all = list(office).await?;
    if let Some(known) = all.iter().find(|one| same(one)) {
        return Ok(Asked::Waits(Box::new(known.clone())));
    }
    if all.iter().filter(|one| one.is_open(now)).count() >= limits::PETITIONS_MAX / 2 {
        return Err(Undone::TooManyPetitions);
    }
    let petition = Petition {
        id: uuid::Uuid::now_v7(),
        deed,
        digest,
        person: person.name.to_owned(),
        author: person.author.to_owned(),
        at: now,
        until: now.after(limits::PETITION_LIFETIME),
        state: State::Waiting,
    };
    let mut batch = Batch::new();
    batch.require_absent(rows::key(&petition.id));
    batch.put(rows::key(&petition.id), rows::encode(&office.keys, &petition));
    let why = petition.deed.reason().to_owned();
    note(office, &petition, person.author, "ask", &why, "waits", &mut batch);
    office.store.commit(batch).await.map_err(|error| error.to_string())?;
    Ok(Asked::Waits(Box::new(petition)))
}

/// Approves a petition and does what it asks. One that was approved and then interrupted is gone
/// on with.
///
/// # Errors
/// A sentence: it is not approved, or what it asks cannot be done any more.
pub async fn approve(
    office: &Arc<Office>,
    id: &uuid::Uuid,
    person: Person<'_>,
    reason: &str,
) -> Result<String, Undone> {
    let now = office.clock.now();
    let (petition, version) = open(office, id, now).await?;
    if is_same(&petition.person, person.name) {
        return Err(Undone::OwnPetition);
    }
    let reply = Reply {
        person: person.name.to_owned(),
        author: person.author.to_owned(),
        at: now,
        text: reason.to_owned(),
    };
    let approved = Petition { state: State::Approved(reply.clone()), ..petition };
    write(office, &approved, version, |batch| {
        note(office, &approved, person.author, "approve", reason, "approved", batch);
    })
    .await?;
    if matches!(approved.deed, Deed::Bulk(_)) {
        return Ok(format!(
            "Approved. {} now runs the same import again, with the same file.",
            approved.person
        ));
    }
    let author = format!("{}, approved by {}", approved.author, person.author);
    let done = approved.deed.carry_out(office, &author).await;
    let text = match &done {
        Ok(text) => text.clone(),
        Err(undone) => format!("not done: {undone}"),
    };
    finish(office, id, &text).await?;
    done
}

/// Refuses a petition, or takes one's own back.
///
/// # Errors
/// A sentence.
pub async fn refuse(
    office: &Arc<Office>,
    id: &uuid::Uuid,
    person: Person<'_>,
    reason: &str,
) -> Result<String, Undone> {
    let now = office.clock.now();
    let (petition, version) = open(office, id, now).await?;
    let reply = Reply {
        person: person.name.to_owned(),
        author: person.author.to_owned(),
        at: now,
        text: reason.to_owned(),
    };
    let refused = Petition { state: State::Refused(reply), ..petition };
    write(office, &refused, version, |batch| {
        note(office, &refused, person.author, "refuse", reason, "refused", batch);
    })
    .await?;
    Ok("Refused: nothing is done.".to_owned())
}

/// All petitions that are still known, youngest first.
///
/// # Errors
/// A sentence for the administrator.
pub async fn list(office: &Office) -> Result<Vec<Petition>, String> {
    let page = office.store.scan_back(store::prefix(rows::PETITIONS), limits::PETITIONS_MAX).await;
    let page = page.map_err(|error| error.to_string())?;
    let mut petitions = Vec::with_capacity(page.rows.len());
    for (key, row) in &page.rows {
        match rows::decode(&office.keys, key, &row.value) {
            Some(petition) => petitions.push(petition),
            None => tracing::error!("a petition is damaged; it is not done"),
        }
    }
    Ok(petitions)
}

/// An approved import of just this list, if there is one. `None` when none is needed.
///
/// # Errors
/// A sentence: it must be asked for first, or waits.
pub async fn approved_bulk(
    office: &Office,
    digest: &[u8; 32],
    person: Person<'_>,
) -> Result<Option<uuid::Uuid>, String> {
    if !is_needed(office, Action::Bulk) {
        return Ok(None);
    }
    let now = office.clock.now();
    let all = list(office).await?;
    let approved = all.iter().find(|one| {
        let is_approved = matches!(one.state, State::Approved(_)) && now < one.until;
        let names = matches!(&one.deed, Deed::Bulk(bulk) if bulk.digests.contains(digest));
        is_approved && names && is_same(&one.person, person.name)
    });
    let found = approved.map(|one| Some(one.id));
    found.ok_or_else(|| "these lines are not what a second administrator approved".to_owned())
}

/// Writes down what came of an approved petition: it cannot be used again.
///
/// # Errors
/// A sentence.
pub async fn finish(office: &Office, id: &uuid::Uuid, outcome: &str) -> Result<(), Undone> {
    let row = office.store.get(&rows::key(id)).await.map_err(|error| error.to_string())?;
    let row = row.ok_or("no such petition")?;
    let petition = rows::decode(&office.keys, &rows::key(id), &row.value);
    let petition = petition.ok_or("the petition is damaged")?;
    let State::Approved(reply) = &petition.state else { return Ok(()) };
    let reply = Reply { text: outcome.to_owned(), ..reply.clone() };
    let done = Petition { state: State::Done(reply), ..petition };
    write(office, &done, row.version, |_| {}).await
}

/// Forgets petitions that are long over.
///
/// # Errors
/// A sentence for the log.
pub async fn sweep(office: &Office) -> Result<usize, String> {
    let now = office.clock.now();
    let mut batch = Batch::new();
    let mut gone = 0;
    for petition in list(office).await? {
        if petition.until.after(limits::PETITION_KEPT) <= now {
            batch.delete(rows::key(&petition.id));
            gone += 1;
        }
    }
    if gone > 0 {
        office.store.commit(batch).await.map_err(|error| error.to_string())?;
    }
    Ok(gone)
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

async fn open(
    office: &Office,
    id: &uuid::Uuid,
    now: Timestamp,
) -> Result<(Petition, Version), Undone> {
    let row = office.store.get(&rows::key(id)).await.map_err(|error| error.to_string())?;
    let row = row.ok_or(Undone::NoSuchPetition)?;
    let petition = rows::decode(&office.keys, &rows::key(id), &row.value);
    let petition = petition.ok_or("the petition is damaged; it is not done")?;
    if !petition.is_open(now) {
        return Err(Undone::Answered(petition.state_name(now)));
    }
    Ok((petition, row.version))
}

async fn write(
    office: &Office,
    petition: &Petition,
    version: Version,
    also: impl FnOnce(&mut Batch),
) -> Result<(), Undone> {
    let mut batch = Batch::new();
    let key = rows::key(&petition.id);
    batch.require_at(key.clone(), version);
    batch.put(key, rows::encode(&office.keys, petition));
    also(&mut batch);
    match office.store.commit(batch).await {
        Ok(()) => Ok(()),
        Err(CommitError::Conflict) => Err(Undone::AnsweredMeanwhile),
        Err(error) => Err(error.to_string().into()),
    }
}

fn note(
    office: &Office,
    petition: &Petition,
    author: &str,
    what: &str,
    reason: &str,
    outcome: &str,
    batch: &mut Batch,
) {
    let id = petition.id.simple();
    office.journal.ride(
        &Entry {
            at: office.clock.now(),
            author: author.to_owned(),
            action: format!("approval {what}"),
            target: format!("{id}: {}", petition.deed.sentence(office)),
            reason: reason.to_owned(),
            outcome: outcome.to_owned(),
        },
        batch,
    );
}
