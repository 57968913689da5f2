//! Who is logged in now, at which door, and how an administrator ends it.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::decision::SessionId;
use crate::domain::login::Means;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::flow::login::live::Listed;
use crate::flow::office::Office;
use crate::infra::directory::Mailboxes;
use crate::infra::journal::Entry;
use crate::infra::store::Batch;
use crate::server::control::Caller;
use crate::server::control::mask;

/// Characters of a reason that are kept.
const REASON_MAX: usize = 500;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// All sessions.
    List {
        /// Of this mailbox only.
        mailbox: Option<String>,
    },
    /// End one, or all of a mailbox.
    Kill {
        /// Which one.
        id: Option<String>,
        /// All of this mailbox.
        mailbox: Option<String>,
        /// Of them, those that began with this app password.
        app_password: Option<String>,
        /// Why.
        reason: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The oldest first.
    List(Vec<SessionLine>),
    /// What was ended.
    Killed {
        /// How many sessions.
        sessions: usize,
    },
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLine {
    /// Its name, for `session kill`.
    pub id: String,
    /// Its address; `***@domain` for a patient.
    pub mailbox: String,
    /// `submission`, `imap`, `pop3`, `managesieve`, `pages`, `addressbook`.
    pub door: String,
    /// From where.
    pub peer: Option<String>,
    /// `password`, `app-password`, `token`, `certificate`.
    pub means: String,
    /// The name of the app password.
    pub app_password: Option<String>,
    /// RFC 3339, UTC.
    pub since: String,
    /// When something was asked last. RFC 3339, UTC.
    pub used: String,
}

/// Does it. `Err` is a sentence for the administrator.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    let sessions = office.logins.sessions();
    match request {
        Request::List { mailbox } => {
            let mailbox = match mailbox {
                Some(mailbox) => Some(find(office, &mailbox).await?.0),
                None => None,
            };
            let listed = sessions.list(mailbox.as_ref());
            Ok(Answer::List(listed.into_iter().map(|one| line(office, one)).collect()))
        }
        Request::Kill { id, mailbox, app_password, reason } => {
            let reason = reason.trim();
            if reason.is_empty() || reason.chars().count() > REASON_MAX {
                return Err(format!("a reason has 1 to {REASON_MAX} characters"));
            }
            let (ended, target) = match (id, mailbox) {
                (Some(id), None) => {
                    let id = SessionId::parse(&id).ok_or("that is no session's name")?;
                    let one = sessions.end(&id).ok_or("there is no such session (any more)")?;
                    (1, format!("{id} of {}", shown(office, &one.address, one.kind)))
                }
                (None, Some(mailbox)) => {
                    let (mailbox, target) = find(office, &mailbox).await?;
                    match app_password {
                        Some(name) => (sessions.end_app_password(&mailbox, &name), target),
                        None => (sessions.end_mailbox(&mailbox), target),
                    }
                }
                _ => return Err("name either a session or a mailbox".to_owned()),
            };
            record(office, caller, target, reason, ended).await?;
            Ok(Answer::Killed { sessions: ended })
        }
    }
}

async fn record(
    office: &Office,
    caller: &Caller,
    target: String,
    reason: &str,
    ended: usize,
) -> Result<(), String> {
    let entry = Entry {
        at: office.clock.now(),
        author: caller.author.clone(),
        action: "session kill".to_owned(),
        target,
        reason: mask::text(reason),
        outcome: format!("{ended} sessions ended"),
    };
    let mut batch = Batch::new();
    office.journal.ride(&entry, &mut batch);
    let kept = office.store.commit(batch).await;
    kept.map_err(|error| format!("{ended} sessions are ended, but not in the journal: {error}"))
}

async fn find(office: &Office, text: &str) -> Result<(MailboxId, String), String> {
    let address = Address::parse(text).map_err(|error| error.to_string())?;
    let found = office.accounts.find(&address).await.map_err(|error| error.to_string())?;
    let account = found.ok_or("no such mailbox")?;
    Ok((account.id, shown(office, &account.address, account.kind)))
}

fn shown(office: &Office, address: &Address, kind: MailboxKind) -> String {
    match kind {
        MailboxKind::Citizen => format!("***@{}", address.domain()),
        _ => mask::address(&office.config.operator, address),
    }
}

fn line(office: &Office, one: Listed) -> SessionLine {
    SessionLine {
        id: one.id.to_string(),
        mailbox: shown(office, &one.address, one.kind),
        door: one.entrance.name().to_owned(),
        peer: one.peer.map(|ip| ip.to_string()),
        means: one.means.name().to_owned(),
        app_password: match one.means {
            Means::AppPassword(name) => Some(name),
            _ => None,
        },
        since: one.since.to_string(),
        used: one.used.to_string(),
    }
}
