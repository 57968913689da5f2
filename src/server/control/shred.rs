//! Destroying letters and mailboxes for good, and the receipts of it.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::envelope::QueueId;
use crate::flow::approval;
use crate::flow::approval::Asked;
use crate::flow::approval::Deed;
use crate::flow::approval::Person;
use crate::flow::approval::Shredding;
use crate::flow::custody::shred;
use crate::flow::custody::shred::Receipt;
use crate::flow::custody::shred::Which;
use crate::flow::office::Office;
use crate::server::control::Caller;
use crate::server::control::approval::PetitionLine;
use crate::server::control::approval::petition_line;
use crate::server::control::mask;

/// Characters of a reason that are kept.
const REASON_MAX: usize = 500;
/// Receipts that a list shows.
const LISTED_MAX: usize = 100;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Destroy a letter everywhere here.
    Message {
        /// The id under which it was taken in.
        letter: Option<String>,
        /// Or the mailbox in which it lies…
        mailbox: Option<String>,
        /// …the folder's number…
        folder: u32,
        /// …and its UID.
        uid: Option<u32>,
        /// Although a rule holds letters.
        over_retention: bool,
        /// Why.
        why: String,
    },
    /// Destroy a mailbox at once.
    Mailbox {
        /// Which one.
        address: String,
        /// Why.
        why: String,
    },
    /// A receipt.
    Receipt {
        /// Its name.
        id: String,
    },
    /// The last receipts.
    Receipts {},
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One sentence.
    Done(String),
    /// It waits for a second administrator.
    Waits(Box<PetitionLine>),
    /// A receipt.
    Receipt {
        /// What was signed, to the octet.
        text: String,
        /// Its signature, armoured.
        signature: String,
    },
    /// Names and texts, youngest first.
    Receipts(Vec<(String, String)>),
}

/// Does it. `Err` is a sentence for the administrator.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    let deed = match request {
        Request::Message { letter, mailbox, folder, uid, over_retention, why } => {
            let which = match (letter, mailbox, uid) {
                (Some(letter), None, None) => {
                    Which::Letter(QueueId::parse(&letter).ok_or("that is no letter's id")?)
                }
                (None, Some(mailbox), Some(uid)) => {
                    let mailbox = Address::parse(&mailbox).map_err(|error| error.to_string())?;
                    Which::Place { mailbox, folder, uid }
                }
                _ => return Err("name a letter, or a mailbox and a UID".to_owned()),
            };
            Deed::ShredLetter(Shredding { which, over_retention, reason: given(&why)? })
        }
        Request::Mailbox { address, why } => {
            let address = Address::parse(&address).map_err(|error| error.to_string())?;
            Deed::ShredMailbox { address, reason: given(&why)? }
        }
        Request::Receipt { id } => {
            let id = uuid::Uuid::parse_str(&id).map_err(|_| "that is no receipt's name")?;
            let Receipt { text, signature, .. } = shred::receipt(office, &id).await?;
            return Ok(Answer::Receipt { text, signature });
        }
        Request::Receipts {} => {
            let receipts = shred::receipts(office, LISTED_MAX).await?.into_iter();
            let receipts = receipts.map(|one| (one.id.to_string(), one.text));
            return Ok(Answer::Receipts(receipts.collect()));
        }
    };
    let person = Person { name: &caller.person, author: &caller.author };
    match approval::ask(office, deed, person).await? {
        Asked::Done(text) => Ok(Answer::Done(text)),
        Asked::Waits(petition) => Ok(Answer::Waits(Box::new(petition_line(office, &petition)))),
    }
}

fn given(reason: &str) -> Result<String, String> {
    let reason = reason.trim();
    match reason.is_empty() || reason.chars().count() > REASON_MAX {
        true => Err(format!("a reason has 1 to {REASON_MAX} characters")),
        false => Ok(mask::text(reason)),
    }
}
