//! Entries as lines of JSON, and the verifier that needs nothing else: no store, no configuration.
//!
//! The first line says what the file is and what hash comes before it; each further line is an
//! entry; the last one says where the file ends. So a file that was cut is known, even without
//! its signature. `scripts/check-audit` does the same in a few lines of Python.
use serde::Deserialize;
use serde::Serialize;

use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::infra::audit::Audit;
use crate::infra::audit::Entry;
use crate::infra::audit::Hash;
use crate::infra::audit::NOTHING;
use crate::infra::audit::from_hex;
use crate::infra::audit::hex;
use crate::infra::audit::proof::Checkpoint;
use crate::infra::audit::proof::Flaw;
use crate::infra::audit::proof::Walk;
use crate::infra::store::StoreError;

/// What the first line calls the file.
const NAME: &str = "vaguemestre audit 1";

/// What a file proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The number before the first entry.
    pub after: u64,
    /// How many entries it holds.
    pub entries: u64,
    /// Where it ends.
    pub end: Checkpoint,
    /// When its first entry was written.
    pub first_at: Option<Timestamp>,
    /// When its last.
    pub last_at: Option<Timestamp>,
}

/// Why a file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportFlaw {
    /// Not such a file.
    #[error("line {0} is not one of an exported ledger")]
    Line(usize),
    /// Its end is missing.
    #[error("the file was cut: its last line is missing")]
    Cut,
    /// The chain in it does not hold.
    #[error(transparent)]
    Chain(#[from] Flaw),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    file: String,
    after: u64,
    previous: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    number: u64,
    at: u64,
    time: String,
    who: String,
    mailbox: Option<String>,
    door: String,
    why: String,
    count: u64,
    previous: String,
    hash: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    end: u64,
    hash: String,
}

impl Audit {
    /// The entries of a part of the chain as a file, and where it ends: from this number on, at
    /// most `most` entries. The same part gives the same octets, whenever it is asked for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn export(&self, from: u64, most: u64) -> Result<(String, u64), StoreError> {
        let mut text = String::new();
        let mut end: Option<(u64, Hash)> = None;
        let mut next = from.max(1);
        let mut left = most;
        while left > 0 {
            let entries = self.from(next, usize::try_from(left).unwrap_or(usize::MAX)).await?;
            let Some(last) = entries.last() else { break };
            next = last.number + 1;
            left = left.saturating_sub(entries.len() as u64);
            for entry in &entries {
                if end.is_none() {
                    push(&mut text, &first(entry.number.saturating_sub(1), &entry.previous));
                }
                push(&mut text, &line(entry));
                end = Some((entry.number, entry.hash));
            }
        }
        let (number, hash) = match end {
            Some(end) => end,
            None => {
                push(&mut text, &first(from.saturating_sub(1), &NOTHING));
                (from.saturating_sub(1), NOTHING)
            }
        };
        push(&mut text, &Last { end: number, hash: hex(&hash) });
        Ok((text, number))
    }
}

/// Proves the chain in an exported file, and that it holds what somebody saw of it earlier.
///
/// # Errors
/// The first [`ExportFlaw`].
pub fn check(file: &str, expected: Option<&Checkpoint>) -> Result<Checked, ExportFlaw> {
    let mut lines = file.lines().enumerate().peekable();
    let (_, line) = lines.next().ok_or(ExportFlaw::Line(1))?;
    let first: First = serde_json::from_str(line).map_err(|_| ExportFlaw::Line(1))?;
    let previous = from_hex(&first.previous).ok_or(ExportFlaw::Line(1))?;
    if first.file != NAME || (first.after == 0) != (previous == NOTHING) {
        return Err(ExportFlaw::Line(1));
    }
    if expected.is_some_and(|seen| seen.number == first.after && seen.hash != previous) {
        return Err(Flaw::Unexpected(first.after).into());
    }
    let mut walk =
        Walk { number: first.after, hash: previous, expected, first_at: None, last_at: None };
    while let Some((at, line)) = lines.next() {
        if lines.peek().is_none() {
            let last: Last = serde_json::from_str(line).map_err(|_| ExportFlaw::Cut)?;
            if last.end != walk.number || from_hex(&last.hash) != Some(walk.hash) {
                return Err(ExportFlaw::Cut);
            }
            if let Some(expected) = expected.filter(|seen| seen.number > walk.number) {
                let (end, expected) = (walk.number, expected.number);
                return Err(Flaw::Cut { end, expected }.into());
            }
            return Ok(Checked {
                after: first.after,
                entries: walk.number - first.after,
                end: Checkpoint { number: walk.number, hash: walk.hash },
                first_at: walk.first_at,
                last_at: walk.last_at,
            });
        }
        let entry = entry(line).ok_or(ExportFlaw::Line(at + 1))?;
        walk.step(entry.number, &entry)?;
    }
    Err(ExportFlaw::Cut)
}

fn first(after: u64, previous: &Hash) -> First {
    First { file: NAME.to_owned(), after, previous: hex(previous) }
}

fn line(entry: &Entry) -> Line {
    Line {
        number: entry.number,
        at: entry.at.as_millis(),
        time: entry.at.to_string(),
        who: entry.who.clone(),
        mailbox: entry.mailbox.map(|id| format!("{id:?}")),
        door: entry.door.clone(),
        why: entry.why.clone(),
        count: entry.count,
        previous: hex(&entry.previous),
        hash: hex(&entry.hash),
    }
}

/// The entry on a line; the time for people must be that of the milliseconds, which are hashed.
fn entry(line: &str) -> Option<Entry> {
    let line: Line = serde_json::from_str(line).ok()?;
    let at = Timestamp::from_millis(line.at);
    if at.to_string() != line.time {
        return None;
    }
    let mailbox = match &line.mailbox {
        None => None,
        Some(id) => Some(MailboxId::from_bytes(*uuid::Uuid::parse_str(id).ok()?.as_bytes())),
    };
    Some(Entry {
        number: line.number,
        at,
        who: line.who,
        mailbox,
        door: line.door,
        why: line.why,
        count: line.count,
        previous: from_hex(&line.previous)?,
        hash: from_hex(&line.hash)?,
    })
}

fn push(text: &mut String, line: &impl Serialize) {
    text.push_str(&serde_json::to_string(line).expect("numbers and texts have a JSON form"));
    text.push('\n');
}
