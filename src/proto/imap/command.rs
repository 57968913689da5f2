//! Commands as nouns (RFC 3501 §6 and the extensions that we advertise).
mod access; // ACL and METADATA (RFC 4314, RFC 5464)
mod filing; // APPEND and REPLACE (RFC 3501 §6.3.11, RFC 3502, RFC 8508)
mod finding; // SEARCH, SORT and THREAD (RFC 3501 §6.4.4, RFC 5256)
mod mailboxes; // Commands on mailboxes as a whole: SELECT, LIST, STATUS
mod messages; // Commands on messages: FETCH and STORE
mod notify; // NOTIFY (RFC 5465)

use crate::domain::folder::SpecialUse;
use crate::domain::secret::Secret;
use crate::proto::imap::cursor;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::name::Pattern;
use crate::proto::imap::sequence::SequenceSet;

pub use access::MetadataDepth;
pub use access::MetadataOptions;
pub use access::RightsChange;
pub use filing::Append;
pub use filing::AppendMessage;
pub use filing::AppendStart;
pub use filing::MessageForm;
pub use filing::Replace;
pub use finding::PartialRange;
pub use finding::Search;
pub use finding::SearchReturns;
pub use finding::Sort;
pub use finding::SortCriterion;
pub use finding::SortKey;
pub use finding::Thread;
pub use finding::ThreadAlgorithm;
pub use mailboxes::List;
pub use mailboxes::Qresync;
pub use mailboxes::Returns;
pub use mailboxes::SelectOptions;
pub use mailboxes::Selection;
pub use mailboxes::StatusItem;
pub use messages::Echo;
pub use messages::Fetch;
pub use messages::Store;
pub use notify::EventGroup;
pub use notify::Notify;
pub use notify::NotifyEvent;
pub use notify::NotifyMailboxes;

/// What a client calls a command, to find its answer. Safe to send back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

/// One command.
#[derive(Debug)]
pub struct Command {
    /// Its name for the answer.
    pub tag: Tag,
    /// What is asked.
    pub body: Body,
}

/// What a client may ask.
#[derive(Debug)]
#[allow(missing_docs, reason = "RFC 3501 §6 documents each; names are the commands'")]
pub enum Body {
    Capability,
    Noop,
    Logout,
    /// RFC 2971 §3.1. What the client says of itself is not kept.
    Id,
    /// RFC 5161 §3.1
    Enable(Vec<String>),
    StartTls,
    /// Mechanism in capitals; the initial response (RFC 4959) still in base64.
    Authenticate {
        mechanism: String,
        initial: Option<Secret<Vec<u8>>>,
    },
    Login {
        name: String,
        password: Secret<String>,
    },
    Select {
        mailbox: MailboxName,
        access: Access,
        options: SelectOptions,
    },
    /// With RFC 6154 §3 `(USE …)`.
    Create {
        mailbox: MailboxName,
        special_use: Vec<SpecialUse>,
    },
    Delete(MailboxName),
    Rename {
        from: MailboxName,
        to: MailboxName,
    },
    Subscribe(MailboxName),
    Unsubscribe(MailboxName),
    List(List),
    Lsub {
        reference: MailboxName,
        pattern: Pattern,
    },
    Namespace,
    Status {
        mailbox: MailboxName,
        items: Vec<StatusItem>,
    },
    Append(Append),
    /// RFC 8508 §3.1
    Replace(Replace),
    Idle,
    Check,
    Close,
    Unselect,
    Expunge,
    /// RFC 4315 §2.1
    UidExpunge(SequenceSet),
    Search(Search),
    /// RFC 5256 §3
    Sort(Sort),
    /// RFC 5256 §3
    Thread(Thread),
    Fetch(Fetch),
    Store(Store),
    Copy {
        by: Numbering,
        set: SequenceSet,
        mailbox: MailboxName,
    },
    /// RFC 6851 §3.1
    Move {
        by: Numbering,
        set: SequenceSet,
        mailbox: MailboxName,
    },
    /// RFC 4978 §3
    Compress,
    /// RFC 8437 §2
    Unauthenticate,
    /// RFC 5465 §3; `None` is `NOTIFY NONE`.
    Notify(Option<Notify>),
    /// RFC 4314 §3.3
    GetAcl(MailboxName),
    /// RFC 4314 §3.1
    SetAcl {
        mailbox: MailboxName,
        identifier: String,
        change: RightsChange,
    },
    /// RFC 4314 §3.2
    DeleteAcl {
        mailbox: MailboxName,
        identifier: String,
    },
    /// RFC 4314 §3.4
    ListRights {
        mailbox: MailboxName,
        identifier: String,
    },
    /// RFC 4314 §3.5
    MyRights(MailboxName),
    /// RFC 9208 §4.1.2: of a quota root.
    GetQuota(String),
    /// RFC 9208 §4.1.3
    GetQuotaRoot(MailboxName),
    /// RFC 9208 §4.1.1: resource names and limits.
    SetQuota {
        root: String,
        limits: Vec<(String, u64)>,
    },
    /// RFC 5464 §4.2; an empty mailbox name is the server.
    GetMetadata {
        mailbox: Option<MailboxName>,
        options: MetadataOptions,
        entries: Vec<String>,
    },
    /// RFC 5464 §4.3; `None` removes an entry.
    SetMetadata {
        mailbox: Option<MailboxName>,
        entries: Vec<(String, Option<Secret<Vec<u8>>>)>,
    },
}

/// How a mailbox is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// SELECT
    ReadWrite,
    /// EXAMINE
    ReadOnly,
}

/// What the numbers of a command count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// Places in the session's view.
    Sequence,
    /// UIDs.
    Uid,
}

impl Tag {
    /// The tag, when `text` is one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_tag = !text.is_empty() && text.bytes().all(cursor::is_tag_char);
        is_tag.then(|| Self(text.to_owned()))
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Body {
    /// The command's name, for logs and tests; never an argument.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Capability => "CAPABILITY",
            Self::Noop => "NOOP",
            Self::Logout => "LOGOUT",
            Self::Id => "ID",
            Self::Enable(_) => "ENABLE",
            Self::StartTls => "STARTTLS",
            Self::Authenticate { .. } => "AUTHENTICATE",
            Self::Login { .. } => "LOGIN",
            Self::Select { access: Access::ReadWrite, .. } => "SELECT",
            Self::Select { access: Access::ReadOnly, .. } => "EXAMINE",
            Self::Create { .. } => "CREATE",
            Self::Delete(_) => "DELETE",
            Self::Rename { .. } => "RENAME",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Unsubscribe(_) => "UNSUBSCRIBE",
            Self::List(_) => "LIST",
            Self::Lsub { .. } => "LSUB",
            Self::Namespace => "NAMESPACE",
            Self::Status { .. } => "STATUS",
            Self::Append(_) => "APPEND",
            Self::Replace(_) => "REPLACE",
            Self::Idle => "IDLE",
            Self::Check => "CHECK",
            Self::Close => "CLOSE",
            Self::Unselect => "UNSELECT",
            Self::Expunge | Self::UidExpunge(_) => "EXPUNGE",
            Self::Search(_) => "SEARCH",
            Self::Sort(_) => "SORT",
            Self::Thread(_) => "THREAD",
            Self::Fetch(_) => "FETCH",
            Self::Store(_) => "STORE",
            Self::Copy { .. } => "COPY",
            Self::Move { .. } => "MOVE",
            Self::Compress => "COMPRESS",
            Self::Unauthenticate => "UNAUTHENTICATE",
            Self::Notify(_) => "NOTIFY",
            Self::GetAcl(_) => "GETACL",
            Self::SetAcl { .. } => "SETACL",
            Self::DeleteAcl { .. } => "DELETEACL",
            Self::ListRights { .. } => "LISTRIGHTS",
            Self::MyRights(_) => "MYRIGHTS",
            Self::GetQuota(_) => "GETQUOTA",
            Self::GetQuotaRoot(_) => "GETQUOTAROOT",
            Self::SetQuota { .. } => "SETQUOTA",
            Self::GetMetadata { .. } => "GETMETADATA",
            Self::SetMetadata { .. } => "SETMETADATA",
        }
    }
}
