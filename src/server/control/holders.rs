//! Who holds a mailbox, and the app passwords of its programs.
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::identity::NationalId;
use crate::domain::limits;
use crate::domain::login::Network;
use crate::domain::login::Scope;
use crate::domain::mailbox::MailboxId;
use crate::flow::approval;
use crate::flow::approval::Asked;
use crate::flow::approval::Deed;
use crate::flow::approval::Holding;
use crate::flow::office::Office;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::accounts::app_passwords::AppPassword;
use crate::infra::directory::accounts::app_passwords::NewAppPassword;
use crate::infra::directory::factors::passkeys::Whose;
use crate::infra::journal::Entry;
use crate::infra::store::Batch;
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
    /// Make a professional a holder.
    AddHolder {
        /// Of which mailbox.
        mailbox: String,
        /// `8` and the RPPS number.
        national_id: String,
        /// Why.
        reason: String,
    },
    /// End it.
    RemoveHolder {
        /// Of which mailbox.
        mailbox: String,
        /// `8` and the RPPS number.
        national_id: String,
        /// Why.
        reason: String,
    },
    /// Who holds it.
    Holders {
        /// Which mailbox.
        mailbox: String,
    },
    /// Make an app password.
    AddAppPassword {
        /// Of which mailbox.
        mailbox: String,
        /// What its owner calls it.
        name: String,
        /// `send`, `read` or `send,read`.
        scope: String,
        /// `address/bits`; everywhere when absent.
        network: Option<String>,
        /// It ends after so many days; never when absent.
        days: Option<u32>,
        /// Why.
        reason: String,
    },
    /// List them.
    AppPasswords {
        /// Of which mailbox.
        mailbox: String,
    },
    /// Which second factors somebody has.
    Factors {
        /// Of which mailbox.
        mailbox: String,
    },
    /// Forget them: somebody has lost them all.
    ResetFactors {
        /// Of which mailbox.
        mailbox: String,
        /// Why.
        reason: String,
    },
    /// How many passkeys an administrator of the dashboard has.
    AdministratorPasskeys {
        /// Who.
        name: String,
    },
    /// Forget them: the administrator has lost them all.
    ResetAdministratorPasskeys {
        /// Whose.
        name: String,
        /// Why.
        reason: String,
    },
    /// End one, and the sessions that it opened.
    RevokeAppPassword {
        /// Of which mailbox.
        mailbox: String,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Done(String),
    /// The holders of one mailbox.
    Holders(Vec<HolderLine>),
    /// The app passwords of one mailbox.
    AppPasswords(Vec<AppPasswordLine>),
    /// A new app password: shown once.
    Made(MadeLine),
    /// Second factors of one mailbox.
    Factors(FactorsLine),
    /// It waits for a second administrator.
    Waits(Box<PetitionLine>),
}

/// What somebody has besides a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorsLine {
    /// The mailbox.
    pub mailbox: String,
    /// One-time codes are on since then (RFC 3339, UTC); off when absent.
    pub codes_since: Option<String>,
    /// Recovery codes that are left.
    pub recovery_codes: usize,
    /// Passkeys.
    #[serde(default)]
    pub passkeys: usize,
}

/// A holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderLine {
    /// The mailbox.
    pub mailbox: String,
    /// `8` and the RPPS number.
    pub national_id: String,
    /// RFC 3339, UTC.
    pub since: String,
}

/// An app password, without the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPasswordLine {
    /// Its name.
    pub name: String,
    /// `send`, `read` or `send,read`.
    pub scope: String,
    /// The only network from which it is good; everywhere when absent.
    pub network: Option<String>,
    /// When it was made.
    pub created: String,
    /// Who made it.
    pub author: String,
    /// When it ends; never when absent.
    pub until: Option<String>,
    /// `valid` or `over`.
    pub state: String,
    /// Its last use; never when absent.
    pub last_use: Option<UseLine>,
}

/// A use of an app password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseLine {
    /// RFC 3339, UTC.
    pub at: String,
    /// From where.
    pub address: Option<String>,
    /// `submission`, `imap`, `pop3`, `managesieve`, `pages`, `addressbook`.
    pub door: String,
}

/// A new app password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeLine {
    /// Its name.
    pub name: String,
    /// What is typed into the program.
    pub password: String,
}

impl std::fmt::Debug for MadeLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MadeLine {{ name: {:?}, password: [secret] }}", self.name)
    }
}

/// Does it.
pub(super) async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    let shown = |address: &Address| mask::address(&office.config.operator, address);
    let entry = |action: &str, address: &Address, reason: &str, outcome: String| {
        let entry = Entry {
            at: office.clock.now(),
            author: caller.author.clone(),
            action: action.to_owned(),
            target: shown(address),
            reason: given(reason)?,
            outcome,
        };
        let mut along = Batch::new();
        office.journal.ride(&entry, &mut along);
        Ok::<Batch, String>(along)
    };
    match request {
        Request::AddHolder { mailbox, national_id, reason } => {
            hold(office, &mailbox, &national_id, true, &reason, caller).await
        }
        Request::RemoveHolder { mailbox, national_id, reason } => {
            hold(office, &mailbox, &national_id, false, &reason, caller).await
        }
        Request::Holders { mailbox } => {
            let mailbox = address(&mailbox)?;
            let id = id_of(office, &mailbox).await?;
            let holders = office.accounts.holders(&id).await.map_err(|error| error.to_string())?;
            let line = |one: crate::infra::directory::accounts::holders::Holder| HolderLine {
                mailbox: shown(&mailbox),
                national_id: one.national_id.to_string(),
                since: one.since.to_string(),
            };
            Ok(Answer::Holders(holders.into_iter().map(line).collect()))
        }
        Request::AddAppPassword { mailbox, name, scope, network, days, reason } => {
            let mailbox = address(&mailbox)?;
            let network = network.map(|text| network_of(&text)).transpose()?;
            let new = NewAppPassword {
                name: name.trim().to_owned(),
                scope: scope_of(&scope)?,
                network,
                until: days.map(|days| office.clock.now().after(in_days(days))),
                author: caller.author.clone(),
            };
            let outcome = format!("\"{}\" for {}", printable(&name), new.scope);
            let along = entry("mailbox app-password add", &mailbox, &reason, outcome)?;
            let made = office.accounts.add_app_password(&mailbox, new, &along).await;
            let password = made.map_err(|error| error.to_string())?;
            tracing::info!(mailbox = ?mailbox, "an app password was made");
            let name = name.trim().to_owned();
            Ok(Answer::Made(MadeLine { name, password: password.expose().clone() }))
        }
        Request::AppPasswords { mailbox } => {
            let id = id_of(office, &address(&mailbox)?).await?;
            let listed = office.accounts.app_passwords(&id).await;
            let now = office.clock.now();
            let line = |one: AppPassword| AppPasswordLine {
                scope: one.scope.to_string(),
                network: one.network.map(|network| network.to_string()),
                created: one.created.to_string(),
                author: one.author,
                state: match one.until {
                    Some(until) if until <= now => "over",
                    _ => "valid",
                }
                .to_owned(),
                until: one.until.map(|until| until.to_string()),
                last_use: one.used.map(|used| UseLine {
                    at: used.at.to_string(),
                    address: used.ip.map(|ip| ip.to_string()),
                    door: used.door,
                }),
                name: one.name,
            };
            let listed = listed.map_err(|error| error.to_string())?;
            Ok(Answer::AppPasswords(listed.into_iter().map(line).collect()))
        }
        Request::Factors { mailbox } => {
            let mailbox = address(&mailbox)?;
            let id = id_of(office, &mailbox).await?;
            let known = office.factors.overview(&id).await.map_err(|error| error.to_string())?;
            Ok(Answer::Factors(FactorsLine {
                mailbox: shown(&mailbox),
                codes_since: known.totp_since.map(|since| since.to_string()),
                recovery_codes: known.recovery_codes,
                passkeys: known.passkeys.len(),
            }))
        }
        Request::ResetFactors { mailbox, reason } => {
            let deed = Deed::Factors { address: address(&mailbox)?, reason: given(&reason)? };
            asked(office, deed, caller).await
        }
        Request::AdministratorPasskeys { name } => {
            let known = office.factors.overview_of(Whose::Administrator(&name)).await;
            let known = known.map_err(|error| error.to_string())?;
            Ok(Answer::Done(match known.passkeys.len() {
                0 => format!("{name}: no passkeys."),
                1 => format!("{name}: 1 passkey."),
                many => format!("{name}: {many} passkeys."),
            }))
        }
        Request::ResetAdministratorPasskeys { name, reason } => {
            let entry = Entry {
                at: office.clock.now(),
                author: caller.author.clone(),
                action: "admin passkeys reset".to_owned(),
                target: printable(&name),
                reason: given(&reason)?,
                outcome: "passkeys forgotten".to_owned(),
            };
            let mut along = Batch::new();
            office.journal.ride(&entry, &mut along);
            let done = office.factors.clear_of(Whose::Administrator(&name), &along).await;
            done.map_err(|error| error.to_string())?;
            tracing::info!("an administrator's passkeys were reset");
            Ok(Answer::Done(format!("{name}: passkeys forgotten.")))
        }
        Request::RevokeAppPassword { mailbox, name, reason } => {
            let mailbox = address(&mailbox)?;
            // Its owner may have named it, and the journal is not sealed.
            let outcome = "revoked".to_owned();
            let along = entry("mailbox app-password revoke", &mailbox, &reason, outcome)?;
            let id = office.accounts.revoke_app_password(&mailbox, &name, &along).await;
            let id = id.map_err(|error| error.to_string())?;
            // No login with it succeeds any more: whoever is in with it is the last one.
            let ended = office.logins.sessions().end_app_password(&id, name.trim());
            tracing::info!(mailbox = ?mailbox, ended, "an app password was revoked");
            let ended = match ended {
                0 => "No session was open with it.".to_owned(),
                1 => "1 session was ended.".to_owned(),
                several => format!("{several} sessions were ended."),
            };
            Ok(Answer::Done(format!("The app password of {} is revoked. {ended}", shown(&mailbox))))
        }
    }
}

async fn hold(
    office: &Arc<Office>,
    mailbox: &str,
    national_id: &str,
    begins: bool,
    reason: &str,
    caller: &Caller,
) -> Result<Answer, String> {
    let (mailbox, holder) = (address(mailbox)?, professional(national_id)?);
    let deed = Deed::Holder(Holding { mailbox, holder, begins, reason: given(reason)? });
    asked(office, deed, caller).await
}

async fn asked(office: &Arc<Office>, deed: Deed, caller: &Caller) -> Result<Answer, String> {
    Ok(match approval::ask(office, deed, caller.person()).await? {
        Asked::Done(text) => Answer::Done(text),
        Asked::Waits(petition) => Answer::Waits(Box::new(petition_line(office, &petition))),
    })
}

async fn id_of(office: &Office, mailbox: &Address) -> Result<MailboxId, String> {
    let found = office.accounts.find(mailbox).await.map_err(|error| error.to_string())?;
    found.map(|account| account.id).ok_or_else(|| "no such mailbox".to_owned())
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}

fn professional(text: &str) -> Result<NationalId, String> {
    let wrong =
        "a national identity is 8 and the 11 digits of an RPPS number, the last one its key";
    NationalId::parse(text.trim()).ok_or_else(|| wrong.to_owned())
}

fn network_of(text: &str) -> Result<Network, String> {
    let wrong = "a network is written 192.0.2.0/24 or 2001:db8::/32, without bits beyond it";
    Network::parse(text.trim()).ok_or_else(|| wrong.to_owned())
}

fn scope_of(text: &str) -> Result<Scope, String> {
    let mut scope = Scope { send: false, read: false };
    for word in text.split(',').map(str::trim) {
        match word {
            "send" => scope.send = true,
            "read" => scope.read = true,
            _ => return Err("a scope is send, read or send,read".to_owned()),
        }
    }
    Ok(scope)
}

fn in_days(days: u32) -> Duration {
    // One more than there may be is refused as too long; more would say nothing else.
    Duration::from_secs(u64::from(days.min(limits::APP_PASSWORD_DAYS_MAX + 1)) * 86_400)
}

fn given(reason: &str) -> Result<String, String> {
    let reason: String = reason.trim().chars().take(REASON_MAX).collect();
    if reason.is_empty() { Err("a reason is needed: --reason".to_owned()) } else { Ok(reason) }
}

fn printable(name: &str) -> String {
    let most = limits::LOGIN_NAME_CHARACTERS_MAX;
    name.trim().chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_networks_are_read_or_refused() {
        assert_eq!(scope_of("send, read"), Ok(Scope::ALL));
        assert_eq!(scope_of("read"), Ok(Scope { send: false, read: true }));
        for bad in ["", "write", "send,", "send;read"] {
            assert!(scope_of(bad).is_err(), "{bad}");
        }
        assert!(network_of("10.0.0.0/8").is_ok());
        assert!(network_of("10.0.0.1/8").is_err());
        assert!(professional("810001045367").is_ok());
        assert!(professional("10001045367").is_err());
    }

    #[test]
    fn a_new_app_password_shows_in_no_debug_output() {
        let made = MadeLine { name: "telephone".to_owned(), password: "abcd-efgh".to_owned() };
        assert!(!format!("{:?}", Answer::Made(made)).contains("abcd"));
    }
}
