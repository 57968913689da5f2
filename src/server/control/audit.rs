//! The ledger of key uses: proving it, listing it, exporting it with a signature.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::infra::audit::Checkpoint;
use crate::infra::audit::Entry;
use crate::infra::audit::Wanted;
use crate::infra::audit::Who;
use crate::infra::directory::accounts::Known;
use crate::infra::keys::mail;
use crate::server::control::Caller;

/// Octets of an exported file in one answer, at most.
const PIECE_OCTETS: usize = 4_194_304;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Prove the chain.
    Verify {
        /// `NUMBER:HASH` that somebody wrote down earlier.
        expected: Option<String>,
    },
    /// The last entries.
    List {
        /// An address, or the id of a mailbox.
        mailbox: Option<String>,
        /// Milliseconds since 1970.
        since: Option<u64>,
        /// By this door.
        door: Option<String>,
        /// At most so many.
        last: usize,
    },
    /// A piece of an exported file.
    Piece {
        /// The number of its first entry.
        from: u64,
        /// How many entries it holds at most.
        most: u64,
        /// Octets before the piece.
        offset: usize,
    },
    /// The signature of an exported file.
    Sign {
        /// The number of its first entry.
        from: u64,
        /// The number of its last entry.
        to: u64,
    },
    /// The organisation's certificate.
    Certificate {},
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The chain holds.
    Proved(ProofLine),
    /// The chain does not hold; the sentence names the entry.
    Broken(String),
    /// Youngest first.
    List(Vec<EntryLine>),
    /// A piece of a file.
    Piece {
        /// Its text.
        text: String,
        /// Nothing comes after it.
        is_last: bool,
        /// The number of the file's last entry.
        to: u64,
        /// The number of the chain's last entry.
        end: u64,
    },
    /// An armoured OpenPGP signature, or certificate.
    Armour(String),
}

/// What was proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofLine {
    /// Entries that were proved.
    pub entries: u64,
    /// Entries up to this number are pruned.
    pub pruned_through: u64,
    /// When the first one was written. RFC 3339, UTC.
    pub first: Option<String>,
    /// When the last one was written. RFC 3339, UTC.
    pub last: Option<String>,
    /// `NUMBER:HASH` of the last one: write it down, `--expect` takes it.
    pub end: String,
}

/// One use of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryLine {
    /// Its number.
    pub number: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// `mailbox:<id>`, `administrator:<name>` or `relay`.
    pub who: String,
    /// Whose key.
    pub mailbox: Option<String>,
    /// By which door.
    pub door: String,
    /// What for.
    pub why: String,
    /// How many contents.
    pub count: u64,
}

/// Does it. `Err` is a sentence for the administrator.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    match request {
        Request::Verify { expected } => {
            let expected = expected.as_deref().map(|text| {
                Checkpoint::parse(text).ok_or("a checkpoint is written NUMBER:HASH".to_owned())
            });
            let expected = expected.transpose()?;
            Ok(match office.audit().prove(expected.as_ref()).await {
                Ok(proof) => Answer::Proved(ProofLine {
                    entries: proof.entries,
                    pruned_through: proof.pruned_through,
                    first: proof.first_at.map(|at| at.to_string()),
                    last: proof.last_at.map(|at| at.to_string()),
                    end: proof.end.to_string(),
                }),
                Err(flaw) => Answer::Broken(flaw.to_string()),
            })
        }
        Request::List { mailbox, since, door, last } => {
            let mailbox = match mailbox {
                Some(mailbox) => Some(find(office, &mailbox).await?),
                None => None,
            };
            let wanted = Wanted { mailbox, since: since.map(Timestamp::from_millis), door };
            let most = last.clamp(1, limits::SCAN_ROWS_MAX);
            let found = office.audit().last(&wanted, most).await;
            let found = found.map_err(|error| error.to_string())?;
            Ok(Answer::List(found.into_iter().map(line).collect()))
        }
        Request::Piece { from, most, offset } => {
            let most = most.min(limits::AUDIT_EXPORTED_AT_ONCE);
            let (text, to) = export(office, from, most).await?;
            let end = office.audit().checkpoint().await.map_err(|error| error.to_string())?.number;
            let rest = text.get(offset..).ok_or("no such piece of the file")?;
            // The file is ASCII but for names; never cut inside a character.
            let mut cut = rest.len().min(PIECE_OCTETS);
            while !rest.is_char_boundary(cut) {
                cut -= 1;
            }
            let is_last = cut == rest.len();
            Ok(Answer::Piece { text: rest[..cut].to_owned(), is_last, to, end })
        }
        Request::Sign { from, to } => {
            let most = to.saturating_sub(from).saturating_add(1);
            if most > limits::AUDIT_EXPORTED_AT_ONCE {
                return Err("too many entries for one file".to_owned());
            }
            let who = Who::Administrator(caller.author.clone());
            let why = format!("export of entries {from} to {to}");
            let used = office.audit().used(None, &who, "control", &why).await;
            used.map_err(|error| error.to_string())?;
            let (text, end) = export(office, from, most).await?;
            if end != to {
                return Err("these entries are not there (any more)".to_owned());
            }
            let (_, keys) = &office.organisation;
            let signed = mail::sign_detached(text.as_bytes(), keys, office.clock.now());
            let (signature, _) = signed.map_err(|error| error.to_string())?;
            Ok(Answer::Armour(String::from_utf8(signature).map_err(|error| error.to_string())?))
        }
        Request::Certificate {} => {
            let armour = office.organisation.0.to_armour();
            Ok(Answer::Armour(armour.map_err(|error| error.to_string())?))
        }
    }
}

async fn export(office: &Office, from: u64, most: u64) -> Result<(String, u64), String> {
    office.audit().export(from, most).await.map_err(|error| error.to_string())
}

/// The mailbox of an address, also of one that is closed, or of an id.
async fn find(office: &Office, text: &str) -> Result<MailboxId, String> {
    if let Ok(id) = uuid::Uuid::parse_str(text) {
        return Ok(MailboxId::from_bytes(*id.as_bytes()));
    }
    let address = Address::parse(text).map_err(|error| error.to_string())?;
    let known = office.accounts.known(&address).await.map_err(|error| error.to_string())?;
    match known.ok_or("no such mailbox")? {
        Known::Living(account) => Ok(account.id),
        Known::Ended(id) => Ok(id),
    }
}

fn line(entry: Entry) -> EntryLine {
    EntryLine {
        number: entry.number,
        at: entry.at.to_string(),
        who: entry.who,
        mailbox: entry.mailbox.map(|id| format!("{id:?}")),
        door: entry.door,
        why: entry.why,
        count: entry.count,
    }
}
