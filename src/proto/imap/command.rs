//! Commands as nouns (RFC 3501 §6 and the extensions that we advertise).
use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::SpecialUse;
use crate::domain::rights::Rights;
use crate::domain::secret::Secret;
use crate::domain::time::ZonedTime;
use crate::proto::imap::cursor;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::name::Pattern;
use crate::proto::imap::search::SearchKey;
use crate::proto::imap::sequence::Number;
use crate::proto::imap::sequence::SequenceSet;

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

/// What SELECT asks besides (RFC 7162 §3.1.8, §3.2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectOptions {
    /// `CONDSTORE`
    pub condstore: bool,
    /// `QRESYNC (…)`
    pub qresync: Option<Qresync>,
}

/// What a client knows of a mailbox (RFC 7162 §3.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qresync {
    /// The UIDVALIDITY that it remembers.
    pub uid_validity: u32,
    /// The HIGHESTMODSEQ that it remembers; not 0.
    pub modseq: u64,
    /// The UIDs that it knows; all when `None`.
    pub known_uids: Option<SequenceSet>,
    /// Sequence numbers and their UIDs, in the same order.
    pub pairs: Option<(SequenceSet, SequenceSet)>,
}

/// FETCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// What the set counts.
    pub by: Numbering,
    /// Of which messages.
    pub set: SequenceSet,
    /// What.
    pub items: Vec<FetchItem>,
    /// `CHANGEDSINCE` (RFC 7162 §3.1.4.1)
    pub changed_since: Option<u64>,
    /// `VANISHED` (RFC 7162 §3.2.6)
    pub vanished: bool,
    /// `PARTIAL` (RFC 9394 §3.3)
    pub partial: Option<PartialRange>,
}

/// STORE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// What the set counts.
    pub by: Numbering,
    /// Of which messages.
    pub set: SequenceSet,
    /// How marks change.
    pub change: FlagChange,
    /// Whether the new marks are told.
    pub echo: Echo,
    /// `UNCHANGEDSINCE` (RFC 7162 §3.1.3)
    pub unchanged_since: Option<u64>,
}

/// SEARCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// What the answer counts.
    pub by: Numbering,
    /// `RETURN (…)` (RFC 4731 §3.1); `None` for the old form.
    pub returns: Option<SearchReturns>,
    /// The charset of the texts.
    pub charset: Option<Vec<u8>>,
    /// What is searched.
    pub key: SearchKey,
}

/// SORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// What is searched, and how it is answered.
    pub search: Search,
    /// In which order; at least one.
    pub criteria: Vec<SortCriterion>,
}

/// THREAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// What is searched; never with returns.
    pub search: Search,
    /// How threads are made.
    pub algorithm: ThreadAlgorithm,
}

/// What SEARCH and SORT return. `RETURN ()` is `all` (RFC 4731 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchReturns {
    /// `MIN`
    pub min: bool,
    /// `MAX`
    pub max: bool,
    /// `ALL`
    pub all: bool,
    /// `COUNT`
    pub count: bool,
    /// `SAVE` (RFC 5182 §2.1)
    pub save: bool,
    /// `PARTIAL` (RFC 9394 §3.1)
    pub partial: Option<PartialRange>,
}

/// `1:10` counts results from the first, `-1:-10` from the last (RFC 9394 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialRange {
    /// The smaller number, from 1.
    pub first: u32,
    /// The larger number.
    pub last: u32,
    /// True when counted from the last result.
    pub from_end: bool,
}

/// One key of an order (RFC 5256 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortCriterion {
    /// By what.
    pub key: SortKey,
    /// `REVERSE`
    pub reverse: bool,
}

/// By what messages are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of RFC 5256 §3 and RFC 5957 §3")]
pub enum SortKey {
    Arrival,
    Cc,
    Date,
    From,
    Size,
    Subject,
    To,
    DisplayFrom,
    DisplayTo,
}

/// How threads are made (RFC 5256 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of RFC 5256")]
pub enum ThreadAlgorithm {
    OrderedSubject,
    References,
}

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

/// How SETACL changes rights (RFC 4314 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RightsChange {
    /// `lr`
    Replace(Rights),
    /// `+lr`
    Add(Rights),
    /// `-lr`
    Remove(Rights),
}

/// Options of GETMETADATA (RFC 5464 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetadataOptions {
    /// `MAXSIZE`: longer values are left out.
    pub size_max: Option<u32>,
    /// `DEPTH`
    pub depth: MetadataDepth,
}

/// How far below an entry GETMETADATA looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataDepth {
    /// `0`
    #[default]
    Entry,
    /// `1`
    Children,
    /// `infinity`
    All,
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

/// Whether STORE tells the new flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// `FLAGS`
    Flags,
    /// `FLAGS.SILENT`
    Silent,
}

/// LIST, plain or extended (RFC 5258 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// What restricts the answer.
    pub selection: Selection,
    /// Comes before each pattern.
    pub reference: MailboxName,
    /// At least one.
    pub patterns: Vec<Pattern>,
    /// What is told besides; `None` for the plain form.
    pub returns: Option<Returns>,
    /// True when any extended syntax was used.
    pub extended: bool,
}

/// Selection options of LIST. `REMOTE` changes nothing here: there are no remote mailboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `SPECIAL-USE` (RFC 6154 §2)
    pub special_use: bool,
    /// `RECURSIVEMATCH`
    pub recursive: bool,
}

/// Return options of LIST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `CHILDREN`
    pub children: bool,
    /// `SPECIAL-USE`
    pub special_use: bool,
    /// `MYRIGHTS` (RFC 8440 §4)
    pub my_rights: bool,
    /// `STATUS (…)` (RFC 5819 §2); empty when not asked for.
    pub status: Vec<StatusItem>,
}

/// What STATUS tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of RFC 3501 §6.3.10")]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    /// RFC 8438 §3
    Size,
    /// RFC 7162 §3.1.7
    HighestModSeq,
    /// RFC 7889 §4
    AppendLimit,
    /// RFC 8474 §4.3
    MailboxId,
    /// RFC 9051 §6.3.11
    Deleted,
    /// RFC 9208 §4.1.4
    DeletedStorage,
}

/// APPEND without its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendStart {
    /// Where to.
    pub mailbox: MailboxName,
    /// Its marks.
    pub flags: Flags,
    /// Its internal date.
    pub date: Option<ZonedTime>,
}

/// APPEND, at its end: its messages were handed over as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Where to.
    pub mailbox: MailboxName,
    /// At least one, in the order in which they came (RFC 3502 §3).
    pub messages: Vec<AppendMessage>,
}

/// REPLACE, at its end: its message was handed over when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    /// What `replaced` counts.
    pub by: Numbering,
    /// The message that goes away.
    pub replaced: Number,
    /// Where the new one comes.
    pub mailbox: MailboxName,
    /// The new one.
    pub message: AppendMessage,
}

/// What an APPEND or REPLACE says of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendMessage {
    /// Its marks.
    pub flags: Flags,
    /// Its internal date.
    pub date: Option<ZonedTime>,
    /// How it is sent.
    pub form: MessageForm,
    /// How long it is.
    pub octets: u64,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageForm {
    /// As a literal: without NUL.
    #[default]
    Literal,
    /// As a `literal8`: octets of any kind (RFC 3516 §4.4).
    Binary,
    /// As `UTF8 (literal8)`: its header may hold UTF-8 (RFC 6855 §4).
    Utf8,
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

impl StatusItem {
    /// All, in the order in which STATUS answers.
    pub const ALL: [Self; 11] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Size,
        Self::HighestModSeq,
        Self::AppendLimit,
        Self::MailboxId,
        Self::Deleted,
        Self::DeletedStorage,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::Size => "SIZE",
            Self::HighestModSeq => "HIGHESTMODSEQ",
            Self::AppendLimit => "APPENDLIMIT",
            Self::MailboxId => "MAILBOXID",
            Self::Deleted => "DELETED",
            Self::DeletedStorage => "DELETED-STORAGE",
        }
    }
}

impl SortKey {
    /// All, in the order of RFC 5256 §3 and RFC 5957 §3.
    pub const ALL: [Self; 9] = [
        Self::Arrival,
        Self::Cc,
        Self::Date,
        Self::From,
        Self::Size,
        Self::Subject,
        Self::To,
        Self::DisplayFrom,
        Self::DisplayTo,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arrival => "ARRIVAL",
            Self::Cc => "CC",
            Self::Date => "DATE",
            Self::From => "FROM",
            Self::Size => "SIZE",
            Self::Subject => "SUBJECT",
            Self::To => "TO",
            Self::DisplayFrom => "DISPLAYFROM",
            Self::DisplayTo => "DISPLAYTO",
        }
    }
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

impl ThreadAlgorithm {
    /// All.
    pub const ALL: [Self; 2] = [Self::OrderedSubject, Self::References];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrderedSubject => "ORDEREDSUBJECT",
            Self::References => "REFERENCES",
        }
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
