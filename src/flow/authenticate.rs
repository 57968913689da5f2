//! Station 2, authenticate: who vouches for this letter?

use crate::domain::address::Address;
use crate::domain::address::ReversePath;
use crate::domain::decision::ListEvidence;
use crate::domain::door::Door;
use crate::domain::envelope::MailParameters;
use crate::domain::folder::FolderId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::rights::Right;
use crate::domain::status::Refusal;
use crate::flow::accept::Accepted;
use crate::flow::accept::Credentials;
use crate::flow::judge;
use crate::flow::login::unanswered;
use crate::flow::mailbox::MailboxError;
use crate::flow::office::Office;
use crate::infra::directory::Account;
use crate::infra::directory::Mailboxes;

/// A letter somebody vouches for.
#[derive(Debug)]
pub struct Authenticated {
    accepted: Accepted,
    reverse_path: ReversePath,
    parameters: MailParameters,
    list: Option<ListEvidence>,
}

/// Binds the reverse path to what the caller has shown.
///
/// For another operator this is the point: its letter is judged here, by certificate and list as
/// they are now. What changes between here and the 250 counts for the next letter; content that
/// was asked for is not refused for a list that came while it was under way.
pub async fn authenticate(
    office: &Office,
    accepted: Accepted,
    reverse_path: ReversePath,
    parameters: MailParameters,
) -> Result<Authenticated, Refusal> {
    let sender = reverse_path.address();
    let mut list = None;
    match (accepted.door(), &accepted.caller().credentials) {
        (Door::House, Credentials::House) => {}
        // The mailbox that sends a letter on answers for it.
        (Door::House, Credentials::Filter(account)) => {
            if account.suspended {
                return Err(Refusal::MailboxSuspended);
            }
            if sender.is_some_and(|sender| *sender != account.address) {
                return Err(Refusal::SenderNotYours);
            }
        }
        (Door::Submission | Door::Portal, Credentials::Login(account)) => {
            if account.suspended {
                return Err(Refusal::MailboxSuspended);
            }
            // A null path is fine: a read receipt is sent so (RFC 8098 §3), and the login vouches.
            if let Some(sender) = sender
                && !may_send_as(office, account, sender).await?
            {
                return Err(Refusal::SenderNotYours);
            }
        }
        (Door::Submission | Door::Portal, _) => return Err(Refusal::AuthRequired),
        (Door::Mx, Credentials::Operator(grounds)) => {
            let domain = sender.map(|sender| sender.domain());
            list = judge::verdict_with_evidence(office, grounds, domain, office.clock.now())?;
        }
        (Door::Mx, _) => return Err(Refusal::PeerCertificateMissing),
        (Door::House, _) => return Err(Refusal::AuthRequired),
    }
    if sender.is_some_and(|sender| sender.needs_smtputf8()) && !parameters.smtputf8 {
        return Err(Refusal::Utf8NotAnnounced);
    }
    Ok(Authenticated { accepted, reverse_path, parameters, list })
}

/// True for a login's own address, and for that of a mailbox here whose inbox grants the login
/// the right to post (RFC 4314 §2.1 `p`), at this moment.
///
/// # Errors
/// Temporary: it cannot be told now.
pub async fn may_send_as(
    office: &Office,
    account: &Account,
    address: &Address,
) -> Result<bool, Refusal> {
    if *address == account.address {
        return Ok(true);
    }
    if account.kind == MailboxKind::Citizen || !office.hosts(address.domain()) {
        return Ok(false);
    }
    let found = office.accounts.find(address).await.map_err(|error| unanswered(&error))?;
    let is_lent = |owner: &Account| !owner.suspended && owner.kind != MailboxKind::Citizen;
    let Some(owner) = found.filter(is_lent) else { return Ok(false) };
    let unread = |error: MailboxError| {
        tracing::error!(%error, "who may send as somebody else cannot be told");
        Refusal::DependencyFailed
    };
    let own = office.mailboxes.open(account).await.map_err(unread)?;
    // Most who try are granted nothing: one look, and the mailbox is not opened.
    if !office.mailboxes.may_grant(&owner, &own).await.map_err(unread)? {
        return Ok(false);
    }
    let lent = office.mailboxes.open_for(&owner, &own).await.map_err(unread)?;
    let rights = lent.rights(FolderId::INBOX).await.map_err(unread)?;
    Ok(rights.has(Right::Post))
}

impl Authenticated {
    /// Who stands at the door.
    pub fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    /// The sender.
    pub fn reverse_path(&self) -> &ReversePath {
        &self.reverse_path
    }

    /// What MAIL said besides.
    pub fn parameters(&self) -> &MailParameters {
        &self.parameters
    }

    /// By which entry of which trust list it was let in, at the operators' door.
    pub fn list(&self) -> Option<&ListEvidence> {
        self.list.as_ref()
    }

    /// True when a filter sends the letter on.
    pub fn is_sent_on(&self) -> bool {
        matches!(self.accepted.caller().credentials, Credentials::Filter(_))
    }

    /// The mailbox whose login vouches, if any.
    pub fn account(&self) -> Option<&Account> {
        match &self.accepted.caller().credentials {
            Credentials::Login(account) => Some(account),
            _ => None,
        }
    }
}
