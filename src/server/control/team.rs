//! Who may read whose mailbox, by an administrator's decision.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::rights::Rights;
use crate::domain::time::Day;
use crate::flow::approval;
use crate::flow::approval::Asked;
use crate::flow::approval::Deed;
use crate::flow::filter;
use crate::flow::filter::Away;
use crate::flow::office::Office;
use crate::flow::team;
use crate::flow::team::Delegation;
use crate::server::control::Caller;
use crate::server::control::approval::PetitionLine;
use crate::server::control::approval::petition_line;
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
    /// Record that whoever a mailbox belongs to is away.
    SetAway {
        /// Which mailbox.
        mailbox: String,
        /// Who stands in.
        substitute: String,
        /// The first day, `YYYY-MM-DD`; from now on when absent.
        from: Option<String>,
        /// The last day.
        until: String,
        /// What senders read besides.
        text: Option<String>,
        /// What the substitute may do in the mailbox meanwhile, letters of RFC 4314 §2.1.
        delegate: Option<String>,
        /// Why.
        reason: String,
    },
    /// Forget it.
    EndAway {
        /// Which mailbox.
        mailbox: String,
        /// Why.
        reason: String,
    },
    /// Show it.
    Away {
        /// Which mailbox.
        mailbox: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One sentence.
    Done(String),
    /// All of them.
    List(Vec<DelegationLine>),
    /// Who is away.
    Away(Option<AwayLine>),
    /// It waits for a second administrator.
    Waits(Box<PetitionLine>),
}

/// An absence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwayLine {
    /// Of which mailbox.
    pub mailbox: String,
    /// Who stands in.
    pub substitute: String,
    /// RFC 3339, UTC.
    pub from: String,
    /// RFC 3339, UTC.
    pub until: String,
    /// `to come`, `now`, `over`.
    pub state: String,
    /// What senders read besides.
    pub text: Option<String>,
    /// What the substitute may do meanwhile, letters of RFC 4314 §2.1; empty: nothing by this.
    pub delegated: String,
    /// Who recorded it.
    pub author: String,
    /// Why.
    pub reason: String,
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
            let asked = approval::ask(office, Deed::Grant(delegation), caller.person()).await?;
            Ok(match asked {
                Asked::Done(text) => Answer::Done(text),
                Asked::Waits(petition) => Answer::Waits(Box::new(petition_line(office, &petition))),
            })
        }
        Request::Revoke { mailbox, to, reason } => {
            let (mailbox, reader) = (address(&mailbox)?, address(&to)?);
            team::revoke(office, &mailbox, &reader, &caller.author, &given(&reason)?).await?;
            let (reader, mailbox) = (shown(&reader), shown(&mailbox));
            Ok(Answer::Done(format!("{reader} may do nothing more in {mailbox} by name.")))
        }
        Request::SetAway { mailbox, substitute, from, until, text, delegate, reason } => {
            let mailbox = address(&mailbox)?;
            let now = office.clock.now();
            let rights = |letters: String| {
                let rights = Rights::parse(&letters).filter(|rights| !rights.is_empty());
                rights.ok_or("rights are letters of lrswipkxtea")
            };
            let away = Away {
                substitute: address(&substitute)?,
                from: from.map(|day| first_moment(&day)).transpose()?.unwrap_or(now),
                until: last_moment(&until)?,
                text: text.map(|text| filter::check_text(&text)).transpose()?,
                delegated: delegate.map(rights).transpose()?.unwrap_or(Rights::NONE),
                recorded: now,
                author: caller.author.clone(),
                reason: given(&reason)?,
            };
            team::set_away(office, &mailbox, &away).await?;
            let (mailbox, substitute) = (shown(&mailbox), shown(&away.substitute));
            let (from, until) = (away.from, away.until);
            Ok(Answer::Done(format!(
                "Senders to {mailbox} are told of {substitute} from {from} until {until}."
            )))
        }
        Request::EndAway { mailbox, reason } => {
            let mailbox = address(&mailbox)?;
            team::end_away(office, &mailbox, &caller.author, &given(&reason)?).await?;
            Ok(Answer::Done(format!("Nobody is away from {}.", shown(&mailbox))))
        }
        Request::Away { mailbox } => {
            let mailbox = address(&mailbox)?;
            let now = office.clock.now();
            let line = |away: Away| AwayLine {
                mailbox: shown(&mailbox),
                substitute: shown(&away.substitute),
                from: away.from.to_string(),
                until: away.until.to_string(),
                state: match (away.from <= now, now < away.until) {
                    (false, _) => "to come".to_owned(),
                    (true, true) => "now".to_owned(),
                    (true, false) => "over".to_owned(),
                },
                text: away.text,
                delegated: away.delegated.to_string(),
                author: away.author,
                reason: away.reason,
            };
            Ok(Answer::Away(team::away(office, &mailbox).await?.map(line)))
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

/// An absence counts on its first day as a whole.
fn first_moment(day: &str) -> Result<crate::domain::time::Timestamp, String> {
    let day = Day::parse(day).ok_or("a day is written YYYY-MM-DD")?;
    day.start().ok_or_else(|| "no such day".to_owned())
}

/// A delegation counts on its last day as well.
fn last_moment(day: &str) -> Result<crate::domain::time::Timestamp, String> {
    let day = Day::parse(day).ok_or("a day is written YYYY-MM-DD")?;
    day.end().ok_or_else(|| "no such day".to_owned())
}
