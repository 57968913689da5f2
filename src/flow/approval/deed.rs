//! What may wait for a second administrator, and how it is done.
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::identity::NationalId;
use crate::domain::life::Action;
use crate::domain::life::Actor;
use crate::domain::life::Stage;
use crate::domain::life::Step;
use crate::flow::custody::shred;
use crate::flow::custody::shred::Which;
use crate::flow::hands::masked;
use crate::flow::life;
use crate::flow::life::Order;
use crate::flow::office::Office;
use crate::flow::team;
use crate::flow::team::Delegation;
use crate::flow::undone::Undone;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::accounts::holders::NotHeld;
use crate::infra::journal::Entry;
use crate::infra::store::Batch;

/// Something that may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Close a mailbox.
    Close {
        /// Which one.
        address: Address,
        /// Why.
        reason: String,
    },
    /// Destroy the contents of one that is closing.
    Delete {
        /// Which one.
        address: Address,
        /// Why.
        reason: String,
    },
    /// Forget the second factors of a mailbox's pages.
    Factors {
        /// Of which one.
        address: Address,
        /// Why.
        reason: String,
    },
    /// Let somebody work in a mailbox.
    Grant(Delegation),
    /// Make the mailboxes of a list.
    Bulk(Bulk),
    /// Say which professional holds a mailbox.
    Holder(Holding),
    /// Destroy a letter everywhere here.
    ShredLetter(Shredding),
    /// Destroy a mailbox at once.
    ShredMailbox {
        /// Which one.
        address: Address,
        /// Why.
        reason: String,
    },
}

/// A letter that is to be destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shredding {
    /// Which one.
    pub which: Which,
    /// Although a rule holds expunged letters.
    pub over_retention: bool,
    /// Why.
    pub reason: String,
}

/// A list of mailboxes to be made, known by the digests of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// The file's name, for people.
    pub file: String,
    /// Lines that would make something.
    pub lines: u64,
    /// SHA-256 of each part, in order.
    pub digests: Vec<[u8; 32]>,
    /// Why.
    pub reason: String,
}

/// A professional who becomes, or no longer is, the holder of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Of which mailbox.
    pub mailbox: Address,
    /// Who.
    pub holder: NationalId,
    /// Becomes; else: no longer is.
    pub begins: bool,
    /// Why.
    pub reason: String,
}

impl Deed {
    /// What the configuration calls it.
    pub const fn action(&self) -> Action {
        match self {
            Self::Close { .. } => Action::Close,
            Self::Delete { .. } => Action::Delete,
            Self::Factors { .. } => Action::Factors,
            Self::Grant(_) => Action::Grant,
            Self::Bulk(_) => Action::Bulk,
            Self::Holder(_) => Action::Holder,
            Self::ShredLetter(_) | Self::ShredMailbox { .. } => Action::Shred,
        }
    }

    /// True when it needs a second administrator, whatever the configuration says.
    pub const fn always_needs_two(&self) -> bool {
        matches!(self, Self::ShredLetter(one) if one.over_retention)
    }

    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Self::Close { reason, .. }
            | Self::Delete { reason, .. }
            | Self::Factors { reason, .. } => reason,
            Self::Grant(delegation) => &delegation.reason,
            Self::Bulk(bulk) => &bulk.reason,
            Self::Holder(holding) => &holding.reason,
            Self::ShredLetter(one) => &one.reason,
            Self::ShredMailbox { reason, .. } => reason,
        }
    }

    /// What it is, for people; patients masked.
    pub fn sentence(&self, office: &Office) -> String {
        match self {
            Self::Close { address, .. } => format!("close {}", masked(office, address)),
            Self::Delete { address, .. } => {
                format!("destroy what is in {}", masked(office, address))
            }
            Self::Factors { address, .. } => {
                format!("forget the second factors of {}", masked(office, address))
            }
            Self::Grant(one) => {
                let until =
                    one.until.map_or("without end".to_owned(), |end| format!("until {end}"));
                let (mailbox, reader) = (masked(office, &one.mailbox), masked(office, &one.reader));
                format!("let {reader} do {} in {mailbox} {until}", one.rights)
            }
            Self::ShredLetter(one) => one.sentence(office),
            Self::ShredMailbox { address, .. } => {
                format!("destroy the mailbox {} at once", masked(office, address))
            }
            Self::Bulk(bulk) => format!("make {} mailboxes from {}", bulk.lines, bulk.file),
            Self::Holder(one) => {
                let verb = if one.begins { "let" } else { "no longer let" };
                format!("{verb} {} hold {}", one.holder, masked(office, &one.mailbox))
            }
        }
    }

    /// What can be seen now of whether it would succeed.
    pub(super) async fn check(&self, office: &Office) -> Result<(), Undone> {
        let (address, step) = match self {
            Self::Close { address, .. } => (address, Step::Close),
            Self::Delete { address, .. } => (address, Step::End),
            Self::Factors { address, .. } => return life::look(office, address).await.map(|_| ()),
            Self::Holder(one) => return one.check(office).await,
            Self::ShredLetter(one) => return one.check(office),
            // Two steps, of which only the first can be looked at now.
            Self::ShredMailbox { address, .. } => (address, Step::Close),
            Self::Grant(_) | Self::Bulk(_) => return Ok(()),
        };
        let now = office.clock.now();
        let found = life::look(office, address).await?;
        let step = match (self, found.standing.stage) {
            (Self::ShredMailbox { .. }, Stage::Closing) => Step::End,
            _ => step,
        };
        found.standing.step(step, Actor::Administrator, now, now)?;
        Ok(())
    }

    /// Does it.
    pub(super) async fn carry_out(
        &self,
        office: &Arc<Office>,
        author: &str,
    ) -> Result<String, Undone> {
        let by = Actor::Administrator;
        match self {
            Self::Close { address, reason } => {
                let order = Order { address, step: Step::Close, by, author, reason };
                let closing = life::change(office, &order).await?;
                let until = closing.standing.until.unwrap_or(office.clock.now());
                let shown = masked(office, address);
                Ok(format!("{shown} is closing; its contents go after {until}."))
            }
            Self::Delete { address, reason } => {
                let order = Order { address, step: Step::End, by, author, reason };
                life::change(office, &order).await?;
                Ok(format!("{} is closed; its contents are destroyed.", masked(office, address)))
            }
            Self::Factors { address, reason } => {
                forget_factors(office, address, author, reason).await
            }
            Self::Grant(delegation) => {
                let granted = Delegation { author: author.to_owned(), ..delegation.clone() };
                team::grant(office, &granted).await?;
                let until = granted.until.map(|until| format!(" until {until}"));
                Ok(format!(
                    "{} may do {} in {}{}.",
                    masked(office, &granted.reader),
                    granted.rights,
                    masked(office, &granted.mailbox),
                    until.unwrap_or_default()
                ))
            }
            Self::Holder(one) => one.carry_out(office, author).await,
            Self::ShredLetter(one) => {
                one.check(office)?;
                let receipts = shred::letter(office, &one.which, author, &one.reason).await?;
                let names: Vec<String> = receipts.iter().map(|one| one.id.to_string()).collect();
                Ok(format!("The letter is shredded. Receipt: {}", names.join(" ")))
            }
            Self::ShredMailbox { address, reason } => {
                let found = life::look(office, address).await?;
                if found.standing.stage != Stage::Closing {
                    let order = Order { address, step: Step::Close, by, author, reason };
                    life::change(office, &order).await?;
                }
                let order = Order { address, step: Step::End, by, author, reason };
                life::change(office, &order).await?;
                let receipt = shred::of_mailbox(office, &found.id).await?;
                Ok(format!("{} is shredded. Receipt: {}", masked(office, address), receipt.id))
            }
            // Line by line, by whoever has the list.
            Self::Bulk(_) => Ok("The list may be imported.".to_owned()),
        }
    }
}

/// Forgets the second factors of a mailbox's pages, with a line in the journal.
async fn forget_factors(
    office: &Office,
    address: &Address,
    author: &str,
    reason: &str,
) -> Result<String, Undone> {
    let found = office.accounts.find(address).await?;
    let id = found.map(|account| account.id).ok_or(Undone::NoSuchMailbox)?;
    // What cannot be read any more can still be forgotten.
    let outcome = match office.factors.overview(&id).await.map(|known| known.is_set_up()) {
        Ok(true) => "second factors forgotten",
        Ok(false) => "there were none",
        Err(_) => "unreadable ones forgotten",
    };
    let shown = masked(office, address);
    let entry = Entry {
        at: office.clock.now(),
        author: author.to_owned(),
        action: "mailbox factors reset".to_owned(),
        target: shown.clone(),
        reason: reason.to_owned(),
        outcome: outcome.to_owned(),
    };
    let mut along = Batch::new();
    office.journal.ride(&entry, &mut along);
    office.factors.clear(&id, &along).await?;
    tracing::info!(mailbox = ?address, "second factors were reset");
    Ok(format!(
        "{shown}: {outcome}. The next login to the pages needs the password alone, or sets a new \
         factor up where login.second_factor is \"required\"."
    ))
}

impl Shredding {
    fn sentence(&self, office: &Office) -> String {
        let over = if self.over_retention { ", although a rule holds it" } else { "" };
        match &self.which {
            Which::Letter(id) => format!("destroy the letter {id}{over}"),
            Which::Place { mailbox, folder, uid } => {
                let mailbox = masked(office, mailbox);
                format!("destroy message {uid} of folder {folder} in {mailbox}{over}")
            }
        }
    }

    /// A rule that holds expunged letters is not passed by unless it is said, and by two.
    fn check(&self, office: &Office) -> Result<(), Undone> {
        match office.config.mailboxes.retention.is_zero() || self.over_retention {
            true => Ok(()),
            false => Err(Undone::Retained),
        }
    }
}

impl Holding {
    async fn check(&self, office: &Office) -> Result<(), Undone> {
        let found = life::look(office, &self.mailbox).await?;
        let holders = office.accounts.holders(&found.id).await?;
        let holds = holders.iter().any(|one| one.national_id == self.holder);
        match (self.begins, holds) {
            (true, true) => Err(NotHeld::Already.into()),
            (false, false) => Err(NotHeld::NoHolder.into()),
            _ => Ok(()),
        }
    }

    async fn carry_out(&self, office: &Office, author: &str) -> Result<String, Undone> {
        let shown = masked(office, &self.mailbox);
        let action = if self.begins { "mailbox holder add" } else { "mailbox holder remove" };
        let mut along = Batch::new();
        office.journal.ride(
            &Entry {
                at: office.clock.now(),
                author: author.to_owned(),
                action: action.to_owned(),
                target: shown.clone(),
                reason: self.reason.clone(),
                outcome: self.holder.to_string(),
            },
            &mut along,
        );
        let (mailbox, holder) = (&self.mailbox, &self.holder);
        let done = match self.begins {
            true => office.accounts.add_holder(mailbox, holder, &along).await,
            false => office.accounts.remove_holder(mailbox, holder, &along).await,
        };
        done?;
        let holds = if self.begins { "holds" } else { "no longer holds" };
        Ok(format!("{holder} {holds} {shown}."))
    }
}
