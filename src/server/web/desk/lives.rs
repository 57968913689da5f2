//! Mailboxes as administrators see them: where each is in its life, and what waits.
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::life::Actor;
use crate::domain::life::LastLogin;
use crate::domain::life::Stage;
use crate::domain::life::Step;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::flow::approval;
use crate::flow::approval::Asked;
use crate::flow::approval::Deed;
use crate::flow::approval::Person;
use crate::flow::custody::shred::Which;
use crate::flow::hands;
use crate::flow::life;
use crate::flow::life::Life;
use crate::flow::life::Order;
use crate::flow::life::Record;
use crate::flow::office::Office;
use crate::flow::undone::Undone;

/// Which mailboxes a list shows.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// A part of the address or of the name.
    pub text: String,
    /// Only those in this state.
    pub stage: Option<Stage>,
    /// Those made after this one.
    pub after: Option<MailboxId>,
}

/// A part of the list.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// At most `limits::ADMIN_MAILBOXES_SHOWN`.
    pub rows: Vec<Seen>,
    /// Where to go on, if there is more to look through.
    pub more: Option<MailboxId>,
}

/// A mailbox in the list.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its address; `***@domain` for a patient.
    pub address: String,
    /// What people call it; empty for a patient and for one that is closed.
    pub name: String,
    /// Where it is.
    pub life: Life,
    /// When somebody last logged in.
    pub last_login: LastLogin,
}

/// A petition in the list.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its name.
    pub id: uuid::Uuid,
    /// What is asked; patients masked.
    pub what: What,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: String,
}

/// What a petition asks; patients masked.
#[derive(Clone, Debug)]
pub enum What {
    /// Close a mailbox.
    Close(String),
    /// Destroy what is in one that is closing.
    Delete(String),
    /// Forget the second factors of a mailbox.
    Factors(String),
    /// Let a reader into a mailbox, with these rights and perhaps until then.
    Grant(String, String, String, Option<Timestamp>),
    /// Make so many mailboxes from a file.
    Bulk(u64, String),
    /// A professional becomes the holder of a mailbox (true), or no longer is.
    Holder(bool, String, String),
    /// Destroy a letter, although a rule holds it (true) or not.
    ShredLetter(String, bool),
    /// Destroy message so of folder so in a mailbox, although a rule holds it or not.
    ShredPlace(String, String, String, bool),
    /// Destroy a mailbox at once.
    ShredMailbox(String),
}

/// What came of a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// It is done.
    Done,
    /// It waits for a second administrator.
    Waits,
}

/// Looks through the mailboxes in the order in which they were made, only so far at once.
pub(super) async fn find(office: &Office, wanted: &Wanted) -> Result<Found, String> {
    let text = wanted.text.trim().to_lowercase();
    let mut found = Found { rows: Vec::new(), more: wanted.after };
    for _ in 0..limits::ADMIN_MAILBOX_READS_MAX {
        let most = limits::LIFE_SWEPT_AT_ONCE;
        let (page, more) = if wanted.stage == Some(Stage::Closed) {
            let (lives, more) = life::closed(office, found.more, most).await?;
            (lives.into_iter().map(|life| (life, String::new())).collect(), more)
        } else {
            living(office, found.more, most).await?
        };
        found.more = more;
        for (one, name) in page {
            if wanted.stage.is_some_and(|stage| one.standing.stage != stage) {
                continue;
            }
            let seen = see(office, one, name).await?;
            let fits = |field: &str| field.to_lowercase().contains(&text);
            if fits(&seen.address) || fits(&seen.name) {
                if found.rows.len() == limits::ADMIN_MAILBOXES_SHOWN {
                    found.more = found.rows.last().map(|last| last.life.id);
                    return Ok(found);
                }
                found.rows.push(seen);
            }
        }
        if found.more.is_none() {
            return Ok(found);
        }
    }
    Ok(found)
}

async fn living(
    office: &Office,
    after: Option<MailboxId>,
    most: usize,
) -> Result<(Vec<(Life, String)>, Option<MailboxId>), String> {
    let page = office.accounts.page(after, most).await;
    let (accounts, more) = page.map_err(|error| error.to_string())?;
    let mut lives = Vec::with_capacity(accounts.len());
    for account in accounts {
        lives.push((life::of(office, &account).await?, account.display_name));
    }
    Ok((lives, more))
}

async fn see(office: &Office, life: Life, name: String) -> Result<Seen, String> {
    let is_patient = life.standing.kind == MailboxKind::Citizen;
    let address = match &life.address {
        Some(address) if !is_patient => format!("{address:?}"),
        _ => format!("***@{}", life.domain),
    };
    let name = if is_patient { String::new() } else { name };
    let last_login = life::last_login(office, &life.id).await?.unwrap_or(LastLogin::Unknown);
    Ok(Seen { address, name, life, last_login })
}

/// One mailbox with its history; `None` when there is none of that number.
pub(super) async fn one(
    office: &Office,
    id: &MailboxId,
) -> Result<Option<(Seen, Vec<Record>)>, String> {
    let Some((life, name)) = life::numbered(office, id).await? else { return Ok(None) };
    let history = life::history(office, id).await?;
    Ok(Some((see(office, life, name).await?, history)))
}

/// Makes a step, or asks for it.
pub(super) async fn press(
    office: &Arc<Office>,
    id: &MailboxId,
    step: Step,
    reason: &str,
    administrator: &str,
) -> Result<Pressed, Undone> {
    let found = life::numbered(office, id).await?;
    let address = found.and_then(|(life, _)| life.address).ok_or(Undone::NoSuchMailbox)?;
    let reason: String = reason.chars().take(limits::REASON_CHARACTERS_MAX).collect();
    let author = format!("{administrator} (dashboard)");
    let person = Person { name: administrator, author: &author };
    let deed = match step {
        Step::Close => Deed::Close { address, reason },
        Step::End => Deed::Delete { address, reason },
        _ => {
            let (by, address) = (Actor::Administrator, &address);
            let order = Order { address, step, by, author: &author, reason: &reason };
            life::change(office, &order).await?;
            return Ok(Pressed::Done);
        }
    };
    asked(office, deed, person).await
}

/// Forgets second factors that somebody has lost, or asks for it.
pub(super) async fn reset_factors(
    office: &Arc<Office>,
    id: &MailboxId,
    reason: &str,
    administrator: &str,
) -> Result<Pressed, Undone> {
    let found = life::numbered(office, id).await?;
    let address = found.and_then(|(life, _)| life.address).ok_or(Undone::NoSuchMailbox)?;
    let reason: String = reason.chars().take(limits::REASON_CHARACTERS_MAX).collect();
    let author = format!("{administrator} (dashboard)");
    let person = Person { name: administrator, author: &author };
    asked(office, Deed::Factors { address, reason }, person).await
}

async fn asked(office: &Arc<Office>, deed: Deed, person: Person<'_>) -> Result<Pressed, Undone> {
    Ok(match approval::ask(office, deed, person).await? {
        Asked::Done(_) => Pressed::Done,
        Asked::Waits(_) => Pressed::Waits,
    })
}

/// What waits for a second administrator.
pub(super) async fn waiting(office: &Office) -> Result<Vec<Waiting>, String> {
    let now = office.clock.now();
    let petitions = approval::list(office).await?;
    let open = petitions.into_iter().filter(|one| one.is_open(now));
    Ok(open
        .map(|one| Waiting {
            id: one.id,
            what: what(office, &one.deed),
            reason: one.deed.reason().to_owned(),
            author: one.author,
        })
        .collect())
}

fn what(office: &Office, deed: &Deed) -> What {
    let shown = |address: &Address| hands::masked(office, address);
    match deed {
        Deed::Close { address, .. } => What::Close(shown(address)),
        Deed::Delete { address, .. } => What::Delete(shown(address)),
        Deed::Factors { address, .. } => What::Factors(shown(address)),
        Deed::Grant(one) => {
            let rights = one.rights.to_string();
            What::Grant(shown(&one.reader), rights, shown(&one.mailbox), one.until)
        }
        Deed::Bulk(bulk) => What::Bulk(bulk.lines, bulk.file.clone()),
        Deed::Holder(one) => What::Holder(one.begins, one.holder.to_string(), shown(&one.mailbox)),
        Deed::ShredLetter(one) => match &one.which {
            Which::Letter(id) => What::ShredLetter(id.to_string(), one.over_retention),
            Which::Place { mailbox, folder, uid } => What::ShredPlace(
                uid.to_string(),
                folder.to_string(),
                shown(mailbox),
                one.over_retention,
            ),
        },
        Deed::ShredMailbox { address, .. } => What::ShredMailbox(shown(address)),
    }
}

/// Says yes or no to a petition.
pub(super) async fn reply(
    office: &Arc<Office>,
    id: &uuid::Uuid,
    is_approved: bool,
    reason: &str,
    administrator: &str,
) -> Result<(), Undone> {
    let author = format!("{administrator} (dashboard)");
    let person = Person { name: administrator, author: &author };
    match is_approved {
        true => approval::approve(office, id, person, reason).await.map(|_| ()),
        false => approval::refuse(office, id, person, reason).await.map(|_| ()),
    }
}
