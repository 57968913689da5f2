//! The escrow of keys: set-up, status, drills, recovery.
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroize;

use crate::domain::address::Address;
use crate::flow::custody::escrow;
use crate::flow::custody::escrow::Holder;
use crate::flow::custody::session;
use crate::flow::custody::session::Progress;
use crate::flow::custody::session::Purpose;
use crate::flow::office::Office;
use crate::infra::keys::peers::PeerCertificate;
use crate::server::control::Caller;
use crate::server::control::mask;

/// Characters of a reason that are kept.
const REASON_MAX: usize = 500;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Make an escrow, or another one in its place.
    SetUp {
        /// So many shares open it.
        quorum: u8,
        /// The administrators' certificates, armoured.
        certificates: Vec<String>,
        /// In the place of the one in force.
        anew: bool,
        /// Why.
        reason: String,
    },
    /// Who has shares, how much is in escrow, when the last drill was.
    Status {},
    /// Begin a drill.
    Drill {
        /// So many mailboxes, drawn by lot; all of them when absent.
        sample: Option<u32>,
        /// Why.
        reason: String,
    },
    /// Begin to bring a mailbox's keys back.
    Recover {
        /// Which one.
        mailbox: String,
        /// Why.
        reason: String,
    },
    /// A share, decrypted by its administrator.
    Give {
        /// Its text.
        share: ShareText,
    },
    /// Wipe what was given.
    Cancel {},
}

/// A share in clear on its way: shown nowhere, wiped at its end.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareText(pub String);

impl fmt::Debug for ShareText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Drop for ShareText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One sentence.
    Done(String),
    /// A new escrow.
    Made {
        /// The administrators, with their sealed shares.
        holders: Vec<HolderLine>,
        /// Keys that were put in.
        sealed: u64,
    },
    /// As it stands.
    Status(Box<StatusLine>),
    /// Shares are collected.
    Waiting {
        /// So many are here.
        have: usize,
        /// So many are needed.
        need: u8,
        /// Until when. RFC 3339, UTC.
        until: String,
    },
    /// A drill is over.
    Drilled {
        /// Keys that were looked at.
        keys: u64,
        /// Those that came back just as they are in use.
        good: u64,
        /// Those that are not in escrow.
        missing: u64,
        /// Those that did not come back.
        wrong: u64,
        /// All keys that there are.
        all: u64,
    },
}

/// The escrow as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusLine {
    /// Which one.
    pub escrow: String,
    /// So many shares open it.
    pub quorum: u8,
    /// RFC 3339, UTC.
    pub since: String,
    /// Who set it up.
    pub author: String,
    /// When a drill last succeeded. RFC 3339, UTC.
    pub drilled: Option<String>,
    /// A drill is due.
    pub drill_due: bool,
    /// Keys that there are.
    pub keys: u64,
    /// Of them, those in escrow.
    pub covered: u64,
    /// The administrators.
    pub holders: Vec<HolderLine>,
}

/// An administrator with a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderLine {
    /// Which share.
    pub number: u8,
    /// The fingerprint of their certificate.
    pub fingerprint: String,
    /// The addresses in it.
    pub names: String,
    /// When it ends. RFC 3339, UTC.
    pub expires: Option<String>,
    /// What stands against it.
    pub flaw: Option<String>,
    /// Their share, sealed to it.
    pub share: String,
}

/// Does it. `Err` is a sentence for the administrator.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    match request {
        Request::SetUp { quorum, certificates, anew, reason } => {
            let reason = given(&reason)?;
            let read = |text: &String| {
                PeerCertificate::read(text.as_bytes()).map_err(|flaw| flaw.to_string())
            };
            let read: Result<Vec<PeerCertificate>, String> =
                certificates.iter().map(read).collect();
            let made =
                escrow::set_up(office, quorum, &read?, anew, &caller.author, &reason).await?;
            let covered = escrow::cover(office).await.map_err(|error| {
                format!("the escrow is made; keys will be put in later, because {error}")
            })?;
            let holders = made.into_iter().map(line).collect();
            Ok(Answer::Made { holders, sealed: covered.sealed })
        }
        Request::Status {} => {
            let setup = office.escrow.setup();
            let setup = setup.ok_or("there is no escrow: `escrow setup` makes one")?;
            let covered = escrow::count(office).await?;
            let holders = escrow::holders(office).await?.into_iter().map(line).collect();
            let last = setup.drilled.unwrap_or(setup.at);
            let since = office.clock.now().since(last);
            Ok(Answer::Status(Box::new(StatusLine {
                escrow: setup.id.to_string(),
                quorum: setup.quorum,
                since: setup.at.to_string(),
                author: setup.author.clone(),
                drilled: setup.drilled.map(|at| at.to_string()),
                drill_due: since >= office.config.custody.drill_due,
                keys: covered.keys,
                covered: covered.covered,
                holders,
            })))
        }
        Request::Drill { sample, reason } => {
            let reason = given(&reason)?;
            let begun =
                session::begin(office, Purpose::Drill(sample), &caller.author, &reason).await?;
            Ok(progress(begun))
        }
        Request::Recover { mailbox, reason } => {
            let reason = given(&reason)?;
            let address = Address::parse(&mailbox).map_err(|error| error.to_string())?;
            let purpose = Purpose::Mailbox(address);
            Ok(progress(session::begin(office, purpose, &caller.author, &reason).await?))
        }
        Request::Give { share } => {
            Ok(progress(session::give(office, &share.0, &caller.author).await?))
        }
        Request::Cancel {} => Ok(Answer::Done(match session::cancel(office) {
            true => "What was given is wiped.".to_owned(),
            false => "No shares were being collected.".to_owned(),
        })),
    }
}

fn given(reason: &str) -> Result<String, String> {
    let reason = reason.trim();
    match reason.is_empty() || reason.chars().count() > REASON_MAX {
        true => Err(format!("a reason has 1 to {REASON_MAX} characters")),
        false => Ok(mask::text(reason)),
    }
}

fn progress(progress: Progress) -> Answer {
    match progress {
        Progress::Waiting { have, need, until } => {
            Answer::Waiting { have, need, until: until.to_string() }
        }
        Progress::Drilled(drilled) => Answer::Drilled {
            keys: drilled.keys,
            good: drilled.good,
            missing: drilled.missing,
            wrong: drilled.wrong,
            all: drilled.all,
        },
        Progress::Restored(shown) => Answer::Done(format!("The keys of {shown} are back.")),
    }
}

fn line(holder: Holder) -> HolderLine {
    HolderLine {
        number: holder.number,
        fingerprint: holder.fingerprint,
        names: holder.names,
        expires: holder.expires.map(|at| at.to_string()),
        flaw: holder.flaw,
        share: holder.share,
    }
}
