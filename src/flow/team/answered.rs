//! Who answered: when somebody sends an answer to a letter in a team's mailbox, that letter gets
//! `\Answered` and the keyword `answered-by-<name>`, and everybody who looks at it sees so.
//!
//! It happens after the answer is durable and holds nobody up. A kill in between, or a store that
//! fails, costs the mark and nothing else. Nobody marks what they may not read and mark with
//! their mail program, whatever Message-ID their letter names.
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::readers::claims;
use crate::flow::office::Office;
use crate::infra::directory::Account;
use crate::infra::directory::Mailboxes;

/// How many marks are set at the same time.
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(limits::ANSWERED_AT_ONCE)))
    }
}

/// Marks what a letter of this account answers, beside everything else.
pub fn note(office: &Arc<Office>, account: &Account, answers: &[Vec<u8>]) {
    if answers.is_empty() || account.kind == MailboxKind::Citizen {
        return;
    }
    let Ok(turn) = Arc::clone(&office.answers.0).try_acquire_owned() else {
        tracing::warn!("too many answers at once: one of them is not marked");
        return;
    };
    let (office, account, answers) = (Arc::clone(office), account.clone(), answers.to_vec());
    tokio::spawn(async move {
        if let Err(error) = mark(&office, &account, &answers).await {
            tracing::warn!(mailbox = ?account.id, %error, "what somebody answered is not marked");
        }
        drop(turn);
    });
}

async fn mark(office: &Office, sender: &Account, answers: &[Vec<u8>]) -> Result<(), MailboxError> {
    let keyword = claims::keyword(claims::ANSWERED_BY, &sender.address);
    let own = office.mailboxes.open(sender).await?;
    let mut marked = own.mark_answered(answers, &keyword).await?;
    for address in office.mailboxes.granting(&own).await?.iter().take(limits::OTHERS_MAX) {
        let Some(team) = team_of(office, &own, address).await? else { continue };
        marked += team.mark_answered(answers, &keyword).await?;
    }
    if marked > 0 {
        tracing::debug!(marked, "letters of a team were marked as answered");
    }
    Ok(())
}

async fn team_of(
    office: &Office,
    own: &OpenMailbox,
    address: &str,
) -> Result<Option<OpenMailbox>, MailboxError> {
    let Ok(address) = Address::parse(address) else { return Ok(None) };
    let found = office.accounts.find(&address).await;
    let found = found.map_err(|_| MailboxError::Temporary(Refusal::DirectoryAway))?;
    match found.filter(|account| !account.suspended && account.id != own.id()) {
        Some(account) => Ok(Some(office.mailboxes.open_for(&account, own).await?)),
        None => Ok(None),
    }
}
