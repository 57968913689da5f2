//! NOTIFY (RFC 5465).
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::name::MailboxName;

/// What a client wants to hear of (RFC 5465 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// `STATUS`: a STATUS response of each mailbox at once.
    pub status: bool,
    /// Which events of which mailboxes; at least one.
    pub groups: Vec<EventGroup>,
}

/// Events of some mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventGroup {
    /// Of which.
    pub mailboxes: NotifyMailboxes,
    /// What; empty for `NONE`.
    pub events: Vec<NotifyEvent>,
}

/// Which mailboxes (RFC 5465 §6).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "RFC 5465 §6 documents each")]
pub enum NotifyMailboxes {
    Selected,
    SelectedDelayed,
    Inboxes,
    Personal,
    Subscribed,
    Subtree(Vec<MailboxName>),
    Mailboxes(Vec<MailboxName>),
}

/// What happens (RFC 5465 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "RFC 5465 §5 documents each")]
pub enum NotifyEvent {
    /// With what is told of a new message of the selected mailbox.
    MessageNew(Vec<FetchItem>),
    MessageExpunge,
    FlagChange,
    AnnotationChange,
    MailboxName,
    SubscriptionChange,
    MailboxMetadataChange,
    ServerMetadataChange,
}

impl NotifyEvent {
    /// Its name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MessageNew(_) => "MessageNew",
            Self::MessageExpunge => "MessageExpunge",
            Self::FlagChange => "FlagChange",
            Self::AnnotationChange => "AnnotationChange",
            Self::MailboxName => "MailboxName",
            Self::SubscriptionChange => "SubscriptionChange",
            Self::MailboxMetadataChange => "MailboxMetadataChange",
            Self::ServerMetadataChange => "ServerMetadataChange",
        }
    }
}
