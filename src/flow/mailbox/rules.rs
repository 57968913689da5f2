//! What the operator rules for all mailboxes: how much they hold, and how long contents are kept
//! after they were expunged.
use std::time::Duration;

use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows::Head;

/// The rules; without them nothing is limited and nothing is held.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Clear octets of all messages of one mailbox.
    pub quota_octets: Option<u64>,
    /// Messages of one mailbox.
    pub quota_messages: Option<u64>,
    /// How long contents are held after they were expunged; zero: not at all.
    pub retention: Duration,
    /// Readers of a mailbox that is not their own share `\Seen` with its owner; each has an own
    /// one otherwise.
    pub shared_seen: bool,
}

/// What a mailbox holds and may hold (RFC 9208 §5.1 STORAGE, in octets, and §5.2 MESSAGE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Clear octets of all messages.
    pub octets: u64,
    /// Messages.
    pub messages: u64,
    /// Octets that are allowed; `None`: any.
    pub octets_max: Option<u64>,
    /// Messages that are allowed; `None`: any.
    pub messages_max: Option<u64>,
}

/// How much a mailbox bends for a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It takes what fits.
    Strict,
    /// It takes one letter too large for it, as long as it was not full before. Otherwise one
    /// almost full mailbox would cost the other recipients of the letter theirs.
    OneMore,
    /// It takes everything: the relay's own reports, which are few and answer the owner.
    Any,
}

impl Usage {
    /// True when so much more does not fit.
    pub fn is_exceeded_by(&self, octets: u64, messages: u64) -> bool {
        let over = |used: u64, more: u64, max: Option<u64>| {
            max.is_some_and(|max| used.saturating_add(more) > max)
        };
        over(self.octets, octets, self.octets_max)
            || over(self.messages, messages, self.messages_max)
    }

    /// True when nothing more fits.
    fn is_full(&self) -> bool {
        self.is_exceeded_by(1, 1)
    }
}

impl Rules {
    /// True when mailboxes are limited at all.
    pub(super) fn has_quota(&self) -> bool {
        self.quota_octets.is_some() || self.quota_messages.is_some()
    }

    pub(super) fn usage(&self, head: &Head) -> Usage {
        Usage {
            octets: head.folders.iter().map(|folder| folder.octets).sum(),
            messages: head.folders.iter().map(|folder| u64::from(folder.exists)).sum(),
            octets_max: self.quota_octets,
            messages_max: self.quota_messages,
        }
    }

    /// Refuses what does not fit any more.
    pub(super) fn check(
        &self,
        head: &Head,
        octets: u64,
        messages: u64,
    ) -> Result<(), MailboxError> {
        if self.has_quota() && self.usage(head).is_exceeded_by(octets, messages) {
            return Err(MailboxError::OverQuota);
        }
        Ok(())
    }

    /// The same for a letter, which the mailbox may bend for. `before` is what it held before the
    /// letter came: a filter may put several copies of it there.
    pub(super) fn check_letter(
        &self,
        before: &Usage,
        head: &Head,
        octets: u64,
        room: Room,
    ) -> Result<(), MailboxError> {
        match room {
            Room::Strict => self.check(head, octets, 1),
            Room::OneMore if self.has_quota() && before.is_full() => Err(MailboxError::OverQuota),
            Room::OneMore | Room::Any => Ok(()),
        }
    }
}

impl OpenMailbox {
    /// What it holds, of all folders together, and may hold.
    pub async fn usage(&self) -> Result<Usage, MailboxError> {
        Ok(self.shelf.rules.usage(&self.durable_head().await?))
    }

    /// [`MailboxError::OverQuota`] when a letter of this size would not fit. Costs nothing where
    /// there is no quota.
    pub async fn check_room(&self, octets: u64) -> Result<(), MailboxError> {
        if !self.shelf.rules.has_quota() {
            return Ok(());
        }
        match self.usage().await?.is_exceeded_by(octets.max(1), 1) {
            true => Err(MailboxError::OverQuota),
            false => Ok(()),
        }
    }
}
