//! What may wait for a second administrator, and how it is done.
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::life::Action;
use crate::domain::life::Actor;
use crate::domain::life::Step;
use crate::flow::hands::masked;
use crate::flow::life;
use crate::flow::life::Order;
use crate::flow::office::Office;
use crate::flow::team;
use crate::flow::team::Delegation;

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
    /// Let somebody work in a mailbox.
    Grant(Delegation),
    /// Make the mailboxes of a list.
    Bulk(Bulk),
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

impl Deed {
    /// What the configuration calls it.
    pub const fn action(&self) -> Action {
        match self {
            Self::Close { .. } => Action::Close,
            Self::Delete { .. } => Action::Delete,
            Self::Grant(_) => Action::Grant,
            Self::Bulk(_) => Action::Bulk,
        }
    }

    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Self::Close { reason, .. } | Self::Delete { reason, .. } => reason,
            Self::Grant(delegation) => &delegation.reason,
            Self::Bulk(bulk) => &bulk.reason,
        }
    }

    /// What it is, for people; patients masked.
    pub fn sentence(&self, office: &Office) -> String {
        match self {
            Self::Close { address, .. } => format!("close {}", masked(office, address)),
            Self::Delete { address, .. } => {
                format!("destroy what is in {}", masked(office, address))
            }
            Self::Grant(one) => {
                let until =
                    one.until.map_or("without end".to_owned(), |end| format!("until {end}"));
                let (mailbox, reader) = (masked(office, &one.mailbox), masked(office, &one.reader));
                format!("let {reader} do {} in {mailbox} {until}", one.rights)
            }
            Self::Bulk(bulk) => format!("make {} mailboxes from {}", bulk.lines, bulk.file),
        }
    }

    /// What can be seen now of whether it would succeed.
    pub(super) async fn check(&self, office: &Office) -> Result<(), String> {
        let (address, step) = match self {
            Self::Close { address, .. } => (address, Step::Close),
            Self::Delete { address, .. } => (address, Step::End),
            Self::Grant(_) | Self::Bulk(_) => return Ok(()),
        };
        let now = office.clock.now();
        let found = life::look(office, address).await?;
        let step = found.standing.step(step, Actor::Administrator, now, now);
        step.map(|_| ()).map_err(|refused| refused.to_string())
    }

    /// Does it.
    pub(super) async fn carry_out(
        &self,
        office: &Arc<Office>,
        author: &str,
    ) -> Result<String, String> {
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
            // Line by line, by whoever has the list.
            Self::Bulk(_) => Ok("The list may be imported.".to_owned()),
        }
    }
}
