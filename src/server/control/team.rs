//! Who may read whose mailbox, by an administrator's decision.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::rights::Rights;
use crate::domain::time::Day;
use crate::flow::office::Office;
use crate::flow::team;
use crate::flow::team::Delegation;
use crate::server::control::Caller;
use crate::server::control::mask;

/// Characters of a reason that are kept.
const REASON_MAX: usize = 500;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Let somebody work in a mailbox.
    Grant {
        /// Of which mailbox.
        mailbox: String,
        /// To whom.
        to: String,
        /// Letters of RFC 4314 §2.1.
        rights: String,
        /// The last day, `YYYY-MM-DD`; no end when absent.
        until: Option<String>,
        /// Why.
        reason: String,
    },
    /// Take it back.
    Revoke {
        /// Of which mailbox.
        mailbox: String,
        /// From whom.
        to: String,
        /// Why.
        reason: String,
    },
    /// All of them.
    List {},
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One sentence.
    Done(String),
    /// All of them.
    List(Vec<DelegationLine>),
}

/// One delegation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegationLine {
    /// Of which mailbox.
    pub mailbox: String,
    /// To whom.
    pub to: String,
    /// Letters of RFC 4314 §2.1.
    pub rights: String,
    /// RFC 3339, UTC.
    pub since: String,
    /// RFC 3339, UTC; absent without an end.
    pub until: Option<String>,
    /// Who decided it.
    pub author: String,
    /// Why.
    pub reason: String,
}

/// Does it. `Err` is a sentence for the administrator.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    let shown = |address: &Address| mask::address(&office.config.operator, address);
    match request {
        Request::Grant { mailbox, to, rights, until, reason } => {
            let (mailbox, reader) = (address(&mailbox)?, address(&to)?);
            let delegation = Delegation {
                rights: Rights::parse(&rights).ok_or("rights are letters of lrswipkxtea")?,
                since: office.clock.now(),
                until: until.map(|day| last_moment(&day)).transpose()?,
                author: caller.author.clone(),
                reason: given(&reason)?,
                mailbox,
                reader,
            };
            team::grant(office, &delegation).await?;
            let until = delegation.until.map(|until| format!(" until {until}"));
            Ok(Answer::Done(format!(
                "{} may do {} in {}{}.",
                shown(&delegation.reader),
                delegation.rights,
                shown(&delegation.mailbox),
                until.unwrap_or_default()
            )))
        }
        Request::Revoke { mailbox, to, reason } => {
            let (mailbox, reader) = (address(&mailbox)?, address(&to)?);
            team::revoke(office, &mailbox, &reader, &caller.author, &given(&reason)?).await?;
            let (reader, mailbox) = (shown(&reader), shown(&mailbox));
            Ok(Answer::Done(format!("{reader} may do nothing more in {mailbox} by name.")))
        }
        Request::List {} => {
            let line = |one: Delegation| DelegationLine {
                mailbox: shown(&one.mailbox),
                to: shown(&one.reader),
                rights: one.rights.to_string(),
                since: one.since.to_string(),
                until: one.until.map(|until| until.to_string()),
                author: one.author,
                reason: one.reason,
            };
            Ok(Answer::List(team::list(office).await?.into_iter().map(line).collect()))
        }
    }
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}

fn given(reason: &str) -> Result<String, String> {
    let reason: String = reason.trim().chars().take(REASON_MAX).collect();
    if reason.is_empty() { Err("a reason is needed: --reason".to_owned()) } else { Ok(reason) }
}

/// A delegation counts on its last day as well.
fn last_moment(day: &str) -> Result<crate::domain::time::Timestamp, String> {
    let day = Day::parse(day).ok_or("a day is written YYYY-MM-DD")?;
    day.end().ok_or_else(|| "no such day".to_owned())
}
