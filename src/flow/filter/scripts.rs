//! Scripts that people upload: several a mailbox, one of them active. A script is checked before
//! it is stored.
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::filter::rows;
use crate::flow::filter::rows::Index;
use crate::flow::filter::rows::IndexEntry;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::commit_refusal;
use crate::flow::office::Office;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::StoreError;
use crate::infra::store::Version;
use crate::proto::sieve;
use crate::proto::sieve::Fault;
use crate::proto::sieve::Script;

/// One script in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What its owner calls it.
    pub name: String,
    /// It is the one that runs.
    pub is_active: bool,
}

/// Why something was not done with scripts.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// No script of that name.
    #[error("there is no script of that name")]
    NoSuchScript,
    /// Another one has that name.
    #[error("a script of that name exists")]
    Exists,
    /// The active script cannot be deleted.
    #[error("the active script cannot be deleted")]
    Active,
    /// Control characters, nothing at all, or too long.
    #[error("a script cannot have that name")]
    BadName,
    /// Over `limits::SIEVE_SCRIPT_OCTETS_MAX`.
    #[error("a script has at most {} octets", limits::SIEVE_SCRIPT_OCTETS_MAX)]
    TooLarge,
    /// Over `limits::SIEVE_SCRIPTS_MAX`.
    #[error("a mailbox has at most {} scripts", limits::SIEVE_SCRIPTS_MAX)]
    TooMany,
    /// It cannot be run.
    #[error("{0}")]
    Faulty(#[from] Fault),
    /// The world failed; temporary.
    #[error("temporary failure: {0}")]
    Temporary(Refusal),
}

/// Whether a script can be run here.
///
/// # Errors
/// The first fault in it.
pub fn check(text: &[u8]) -> Result<(), ScriptError> {
    if text.len() > limits::SIEVE_SCRIPT_OCTETS_MAX {
        return Err(ScriptError::TooLarge);
    }
    sieve::compile(text)?;
    Ok(())
}

/// What a script that can be run will not do: addresses that no letter may be sent on to.
pub fn warnings(office: &Office, text: &[u8]) -> Option<String> {
    let script = sieve::compile(text).ok()?;
    let may_not =
        |to: &&Address| !office.is_trusted(to.domain()) || office.is_patient_domain(to.domain());
    let refused: Vec<String> = script
        .redirects()
        .into_iter()
        .filter(may_not)
        .map(|to| format!("{}@{}", to.local_part(), to.domain().as_str()))
        .collect();
    (!refused.is_empty()).then(|| {
        format!("letters are not sent on to {}: not in the trust space", refused.join(", "))
    })
}

/// RFC 5804 §1.6: no control characters, no line and paragraph separators.
///
/// # Errors
/// [`ScriptError::BadName`]
pub fn check_name(name: &str) -> Result<(), ScriptError> {
    let is_bad = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let fits = !name.is_empty() && name.len() <= limits::SIEVE_NAME_OCTETS_MAX;
    if fits && !name.contains(is_bad) { Ok(()) } else { Err(ScriptError::BadName) }
}

/// All scripts, by name.
///
/// # Errors
/// [`ScriptError::Temporary`]
pub async fn list(office: &Office, mailbox: &OpenMailbox) -> Result<Vec<Listed>, ScriptError> {
    let (index, _) = index(office, mailbox).await?;
    let mut scripts: Vec<Listed> = index
        .scripts
        .iter()
        .map(|entry| Listed {
            name: entry.name.clone(),
            is_active: index.active == Some(entry.number),
        })
        .collect();
    scripts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(scripts)
}

/// The text of a script.
///
/// # Errors
/// [`ScriptError::NoSuchScript`], [`ScriptError::Temporary`]
pub async fn get(
    office: &Office,
    mailbox: &OpenMailbox,
    name: &str,
) -> Result<Secret<Vec<u8>>, ScriptError> {
    let (index, _) = index(office, mailbox).await?;
    let number = index.find(name).ok_or(ScriptError::NoSuchScript)?.number;
    text_of(office, mailbox, number).await?.ok_or(ScriptError::NoSuchScript)
}

/// Whether a script of that name and size could be stored.
///
/// # Errors
/// [`ScriptError::TooLarge`], [`ScriptError::TooMany`], [`ScriptError::BadName`]
pub async fn have_space(
    office: &Office,
    mailbox: &OpenMailbox,
    name: &str,
    octets: u64,
) -> Result<(), ScriptError> {
    check_name(name)?;
    if octets > limits::SIEVE_SCRIPT_OCTETS_MAX as u64 {
        return Err(ScriptError::TooLarge);
    }
    let (index, _) = index(office, mailbox).await?;
    match index.find(name).is_none() && index.scripts.len() >= limits::SIEVE_SCRIPTS_MAX {
        true => Err(ScriptError::TooMany),
        false => Ok(()),
    }
}

/// Stores a script, in the place of one of the same name. An active one stays active.
///
/// # Errors
/// [`ScriptError::Faulty`] and the limits; then nothing has changed.
pub async fn put(
    office: &Office,
    mailbox: &OpenMailbox,
    name: &str,
    text: &[u8],
) -> Result<(), ScriptError> {
    check_name(name)?;
    check(text)?;
    change(office, mailbox, |index, batch| {
        let number = index.next;
        index.next = index.next.wrapping_add(1);
        let octets = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let is_full = index.scripts.len() >= limits::SIEVE_SCRIPTS_MAX;
        match index.scripts.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => {
                batch.delete(rows::script_key(&mailbox.id(), entry.number));
                if index.active == Some(entry.number) {
                    index.active = Some(number);
                }
                (entry.number, entry.octets) = (number, octets);
            }
            None if is_full => return Err(ScriptError::TooMany),
            None => index.scripts.push(IndexEntry { number, name: name.to_owned(), octets }),
        }
        let sealed = rows::seal_script(mailbox.keys(), number, text);
        batch.put(rows::script_key(&mailbox.id(), number), sealed);
        Ok(())
    })
    .await
}

/// Makes a script the one that runs; `None`: none runs.
///
/// # Errors
/// [`ScriptError::NoSuchScript`], [`ScriptError::Temporary`]
pub async fn set_active(
    office: &Office,
    mailbox: &OpenMailbox,
    name: Option<&str>,
) -> Result<(), ScriptError> {
    change(office, mailbox, |index, _| {
        index.active = match name {
            None => None,
            Some(name) => Some(index.find(name).ok_or(ScriptError::NoSuchScript)?.number),
        };
        Ok(())
    })
    .await
}

/// Deletes a script that is not active.
///
/// # Errors
/// [`ScriptError::Active`], [`ScriptError::NoSuchScript`], [`ScriptError::Temporary`]
pub async fn delete(office: &Office, mailbox: &OpenMailbox, name: &str) -> Result<(), ScriptError> {
    change(office, mailbox, |index, batch| {
        let number = index.find(name).ok_or(ScriptError::NoSuchScript)?.number;
        if index.active == Some(number) {
            return Err(ScriptError::Active);
        }
        index.scripts.retain(|entry| entry.number != number);
        batch.delete(rows::script_key(&mailbox.id(), number));
        Ok(())
    })
    .await
}

/// Gives a script another name.
///
/// # Errors
/// [`ScriptError::Exists`], [`ScriptError::NoSuchScript`], [`ScriptError::BadName`]
pub async fn rename(
    office: &Office,
    mailbox: &OpenMailbox,
    from: &str,
    to: &str,
) -> Result<(), ScriptError> {
    check_name(to)?;
    change(office, mailbox, |index, _| {
        index.find(from).ok_or(ScriptError::NoSuchScript)?;
        if index.find(to).is_some() {
            return Err(ScriptError::Exists);
        }
        for entry in index.scripts.iter_mut().filter(|entry| entry.name == from) {
            to.clone_into(&mut entry.name);
        }
        Ok(())
    })
    .await
}

/// The active script, ready to run. Whatever is wrong with it: none, and a note without content.
pub(super) async fn active(office: &Office, mailbox: &OpenMailbox) -> Option<Arc<Script>> {
    let note = |what: &str| {
        tracing::warn!(mailbox = ?mailbox.id(), what, "a filter is not run; letters are kept");
    };
    let number = match index(office, mailbox).await {
        Ok((index, _)) => index.active?,
        Err(error) => {
            note(&error.to_string());
            return None;
        }
    };
    let key = (mailbox.id(), number);
    if let Some(known) = office.filters.known(key) {
        return known;
    }
    let text = match text_of(office, mailbox, number).await {
        Ok(Some(text)) => text,
        Ok(None) => {
            note("its text is missing or damaged");
            return None;
        }
        Err(error) => {
            note(&error.to_string());
            return None;
        }
    };
    let script = sieve::compile(text.expose()).ok().map(Arc::new);
    if script.is_none() {
        note("it cannot be run by this version");
    }
    office.filters.keep(key, script.clone());
    script
}

async fn text_of(
    office: &Office,
    mailbox: &OpenMailbox,
    number: u32,
) -> Result<Option<Secret<Vec<u8>>>, ScriptError> {
    let row = office.store.get(&rows::script_key(&mailbox.id(), number)).await?;
    Ok(row.and_then(|row| rows::open_script(mailbox.keys(), number, &row.value)))
}

async fn index(
    office: &Office,
    mailbox: &OpenMailbox,
) -> Result<(Index, Option<Version>), ScriptError> {
    let Some(row) = office.store.get(&rows::index_key(&mailbox.id())).await? else {
        return Ok((Index::default(), None));
    };
    match rows::open_index(mailbox.keys(), &row.value) {
        Some(index) => Ok((index, Some(row.version))),
        None => {
            tracing::error!(mailbox = ?mailbox.id(), "the list of filters is damaged");
            Err(ScriptError::Temporary(Refusal::DependencyFailed))
        }
    }
}

/// One durable change of the scripts, built anew when another came first.
async fn change(
    office: &Office,
    mailbox: &OpenMailbox,
    build: impl Fn(&mut Index, &mut Batch) -> Result<(), ScriptError>,
) -> Result<(), ScriptError> {
    let key = rows::index_key(&mailbox.id());
    for _ in 0..limits::SIEVE_ATTEMPTS_MAX {
        let (mut index, version) = index(office, mailbox).await?;
        let mut batch = Batch::new();
        match version {
            Some(version) => batch.require_at(key.clone(), version),
            None => batch.require_absent(key.clone()),
        };
        build(&mut index, &mut batch)?;
        batch.put(key.clone(), rows::seal_index(mailbox.keys(), &index));
        match office.store.commit(batch).await {
            Ok(()) => return Ok(()),
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(ScriptError::Temporary(commit_refusal(&error))),
        }
    }
    Err(ScriptError::Temporary(Refusal::Busy))
}

impl From<StoreError> for ScriptError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the filters of a mailbox cannot be read");
        Self::Temporary(Refusal::StoreFailed)
    }
}
