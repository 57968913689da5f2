//! The JSON forms of requests and answers. They are the `--json` output of the commands too, so
//! a field is added here, never renamed.
use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroize;

use crate::domain::address::Address;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::time::Day;
use crate::server::control::Request;
use crate::server::control::approval;
use crate::server::control::audit;
use crate::server::control::certs;
use crate::server::control::directory;
use crate::server::control::explain;
use crate::server::control::holders;
use crate::server::control::life;
use crate::server::control::master;
use crate::server::control::publish;
use crate::server::control::queue;
use crate::server::control::session;
use crate::server::control::team;
use crate::server::control::trace;
use crate::server::control::trust;

/// What the relay answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Done; nothing to show but this sentence.
    Done(String),
    /// All mailboxes.
    Mailboxes(Vec<MailboxRow>),
    /// Statistics.
    Stats(StatTable),
    /// About the queue.
    Queue(queue::Answer),
    /// Who is logged in now.
    Session(session::Answer),
    /// Who holds a mailbox, and its app passwords.
    Holders(holders::Answer),
    /// Who may read whose mailbox.
    Team(team::Answer),
    /// The lives of mailboxes.
    Life(life::Answer),
    /// What waits for a second administrator.
    Approval(approval::Answer),
    /// Our mailboxes in the national directory.
    Publish(Vec<publish::Line>),
    /// About the trust list.
    Trust(trust::Answer),
    /// About certificates.
    Certs(certs::Answer),
    /// About the copy of the national directory.
    Directory(directory::Answer),
    /// Why somebody was let in or refused.
    Explain(explain::Answer),
    /// The versions of the master key.
    Master(master::Answer),
    /// The ledger of key uses.
    Audit(audit::Answer),
    /// About one letter.
    Trace(trace::Answer),
    /// What administrators did, youngest first.
    Journal(Vec<JournalLine>),
    /// Not done, and why.
    Failed(String),
}

/// One mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxRow {
    /// Its address; `***@domain` for a patient.
    pub address: String,
    /// `PER`, `ORG`, `APP`, `CAB`, `CTN`.
    pub kind: String,
    /// What people call it; empty for a patient.
    pub display_name: String,
    /// `public` or `red-list`.
    pub listing: String,
    /// `requested`, `active`, `notified`, `suspended`, `closing`.
    pub state: String,
    /// RFC 3339, UTC.
    pub created: String,
    /// RFC 3339, UTC; `never`; or `unknown`, for what was before this was recorded.
    #[serde(default)]
    pub last_login: String,
    /// By which door.
    #[serde(default)]
    pub last_login_door: Option<String>,
}

/// Statistics of some days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatTable {
    /// First French day, `YYYY-MM-DD`.
    pub from: String,
    /// Last one, included.
    pub to: String,
    /// One row for each combination that happened.
    pub rows: Vec<StatLine>,
}

/// How often something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatLine {
    /// French day.
    pub day: String,
    /// Our domain.
    pub domain: String,
    /// Kind of our mailbox; absent where no mailbox was known.
    pub kind: Option<String>,
    /// `here`, `other-operator`, `patient`, `unknown`.
    pub counterpart: String,
    /// `accepted`, `sent`, `received`, `refused`, `relayed`, `deferred`, `failed`, `closed`.
    pub event: String,
    /// Why, for refusals and failures.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// Octets in all.
    pub octets: u64,
}

/// One action of an administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// RFC 3339, UTC.
    pub at: String,
    /// Who.
    pub author: String,
    /// What.
    pub action: String,
    /// On what.
    pub target: String,
    /// Why.
    pub reason: String,
    /// What came of it.
    pub outcome: String,
}

/// [`Request`] as JSON. The empty braces matter: serde refuses unknown fields of a tagged
/// variant only when it has fields to know.
#[derive(Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    MailboxAdd {
        address: String,
        kind: String,
        display_name: String,
        password: String,
        red_list: bool,
    },
    MailboxList {},
    MailboxPassword {
        address: String,
        password: String,
    },
    StatsShow {
        from: Option<String>,
        to: Option<String>,
    },
    Queue {
        about: queue::Request,
    },
    Trust {
        about: trust::Request,
    },
    Certs {
        about: certs::Request,
    },
    Directory {
        about: directory::Request,
    },
    Explain {
        about: explain::Request,
    },
    Master {
        about: master::Request,
    },
    Session {
        about: session::Request,
    },
    Holders {
        about: holders::Request,
    },
    Team {
        about: team::Request,
    },
    Life {
        about: life::Request,
    },
    Approval {
        about: approval::Request,
    },
    Publish {
        about: publish::Request,
    },
    Audit {
        about: audit::Request,
    },
    Trace {
        about: trace::Request,
    },
    Journal {
        entries: usize,
    },
}

/// Passwords go with the line that held them.
impl Drop for Line {
    fn drop(&mut self) {
        if let Self::MailboxAdd { password, .. } | Self::MailboxPassword { password, .. } = self {
            password.zeroize();
        }
    }
}

/// One line without its end; wiped when dropped, for it may hold a password.
pub(super) fn write_request(request: &Request) -> Secret<String> {
    let line = match request {
        Request::MailboxAdd { address, kind, display_name, password, listing } => {
            Line::MailboxAdd {
                address: address.to_string(),
                kind: kind.code().to_owned(),
                display_name: display_name.clone(),
                password: password.expose().clone(),
                red_list: *listing == Listing::RedList,
            }
        }
        Request::MailboxList => Line::MailboxList {},
        Request::MailboxPassword { address, password } => Line::MailboxPassword {
            address: address.to_string(),
            password: password.expose().clone(),
        },
        Request::StatsShow { from, to } => Line::StatsShow {
            from: from.map(|day| day.to_string()),
            to: to.map(|day| day.to_string()),
        },
        Request::Queue(about) => Line::Queue { about: about.clone() },
        Request::Trust(about) => Line::Trust { about: about.clone() },
        Request::Certs(about) => Line::Certs { about: about.clone() },
        Request::Directory(about) => Line::Directory { about: about.clone() },
        Request::Explain(about) => Line::Explain { about: about.clone() },
        Request::Master(about) => Line::Master { about: about.clone() },
        Request::Session(about) => Line::Session { about: about.clone() },
        Request::Holders(about) => Line::Holders { about: about.clone() },
        Request::Team(about) => Line::Team { about: about.clone() },
        Request::Life(about) => Line::Life { about: about.clone() },
        Request::Approval(about) => Line::Approval { about: about.clone() },
        Request::Publish(about) => Line::Publish { about: about.clone() },
        Request::Audit(about) => Line::Audit { about: about.clone() },
        Request::Trace(about) => Line::Trace { about: about.clone() },
        Request::Journal { entries } => Line::Journal { entries: *entries },
    };
    Secret::new(serde_json::to_string(&line).expect("texts, numbers and truth values only"))
}

/// Reads one line. The error says what is wrong without repeating a value.
pub(super) fn read_request(line: &[u8]) -> Result<Request, String> {
    // Serde's own text could quote a value, and a value may be a password or an INS.
    let mut line: Line = serde_json::from_slice(line)
        .map_err(|error| format!("not a request: see column {}", error.column()))?;
    let address = |text: &str| Address::parse(text).map_err(|error| error.to_string());
    let day = |text: &Option<String>| {
        let parse = |text: &String| Day::parse(text).ok_or("a day is written YYYY-MM-DD");
        text.as_ref().map(parse).transpose()
    };
    Ok(match &mut line {
        Line::MailboxAdd { address: to, kind, display_name, password, red_list } => {
            Request::MailboxAdd {
                address: address(to)?,
                kind: MailboxKind::from_code(kind).ok_or("a kind is PER, ORG, APP, CAB or CTN")?,
                display_name: std::mem::take(display_name),
                password: Secret::new(std::mem::take(password)),
                listing: if *red_list { Listing::RedList } else { Listing::Public },
            }
        }
        Line::MailboxList {} => Request::MailboxList,
        Line::MailboxPassword { address: of, password } => Request::MailboxPassword {
            address: address(of)?,
            password: Secret::new(std::mem::take(password)),
        },
        Line::StatsShow { from, to } => Request::StatsShow { from: day(from)?, to: day(to)? },
        Line::Queue { about } => Request::Queue(about.clone()),
        Line::Trust { about } => Request::Trust(about.clone()),
        Line::Certs { about } => Request::Certs(about.clone()),
        Line::Directory { about } => Request::Directory(about.clone()),
        Line::Explain { about } => Request::Explain(about.clone()),
        Line::Master { about } => Request::Master(about.clone()),
        Line::Session { about } => Request::Session(about.clone()),
        Line::Holders { about } => Request::Holders(about.clone()),
        Line::Team { about } => Request::Team(about.clone()),
        Line::Life { about } => Request::Life(about.clone()),
        Line::Approval { about } => Request::Approval(about.clone()),
        Line::Publish { about } => Request::Publish(about.clone()),
        Line::Audit { about } => Request::Audit(about.clone()),
        Line::Trace { about } => Request::Trace(about.clone()),
        Line::Journal { entries } => Request::Journal { entries: *entries },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(request: &Request) -> Request {
        read_request(write_request(request).expose().as_bytes()).unwrap()
    }

    #[test]
    fn a_request_survives_the_wire() {
        let address = Address::parse("\"a b\"@hopital.mssante.test").unwrap();
        let password = || Secret::new("p\"\n é".to_owned());
        let add = Request::MailboxAdd {
            address: address.clone(),
            kind: MailboxKind::Practice,
            display_name: "Cabinet".to_owned(),
            password: password(),
            listing: Listing::RedList,
        };
        match there_and_back(&add) {
            Request::MailboxAdd { address: to, kind, display_name, password: secret, listing } => {
                assert_eq!((to, kind, listing), (address, MailboxKind::Practice, Listing::RedList));
                assert_eq!(
                    (display_name.as_str(), secret.expose().as_str()),
                    ("Cabinet", "p\"\n é")
                );
            }
            other => panic!("{other:?}"),
        }
        let days = Request::StatsShow { from: Day::parse("2026-11-01"), to: None };
        match there_and_back(&days) {
            Request::StatsShow { from, to } => {
                assert_eq!((from, to), (Day::parse("2026-11-01"), None));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_error_never_repeats_what_was_sent() {
        for line in [
            r#"{"request":"mailbox_password","address":"a@b.test","password":279035121518989}"#,
            r#"{"request":"279035121518989"}"#,
            r#"{"request":"mailbox_list","279035121518989":1}"#,
            r#"{"request":"stats_show","from":"279035121518989","to":null}"#,
            r#"{"request":"mailbox_password","address":"279035121518989","password":"x"}"#,
            "279035121518989",
        ] {
            let error = read_request(line.as_bytes()).unwrap_err();
            assert!(!error.contains("279035121518989"), "{error}");
        }
    }
}
