//! The grammar of commands (RFC 3501 §9 `command`, RFC 9051 §9).
use crate::domain::folder::FlagChange;
use crate::domain::folder::SpecialUse;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Command;
use crate::proto::imap::command::Echo;
use crate::proto::imap::command::Fetch;
use crate::proto::imap::command::List;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::Qresync;
use crate::proto::imap::command::Returns;
use crate::proto::imap::command::SelectOptions;
use crate::proto::imap::command::Selection;
use crate::proto::imap::command::StatusItem;
use crate::proto::imap::command::Store;
use crate::proto::imap::command::Tag;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::Piece;
use crate::proto::imap::cursor::at_most;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::flags;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::name::Mode;
use crate::proto::imap::name::Pattern;
use crate::proto::imap::sequence::SequenceSet;

mod access; // ACL, QUOTA, METADATA
pub mod filing; // APPEND and REPLACE up to their messages
mod finding; // SEARCH, SORT, THREAD
mod notify; // NOTIFY

/// Refuses a literal of what is no command, before a stranger sends it.
pub fn check_name(pieces: &[Piece]) -> Result<(), Bad> {
    let mut cursor = Cursor::new(pieces);
    tag(&mut cursor)?;
    cursor.space()?;
    let name = cursor.atom().map_err(|_| COMMAND_EXPECTED)?.to_ascii_uppercase();
    if WITH_ARGUMENTS.contains(&name.as_str()) { Ok(()) } else { Err(UNKNOWN_COMMAND) }
}

const COMMAND_EXPECTED: Bad = Bad::form("a command was expected");
const UNKNOWN_COMMAND: Bad = Bad::form("unknown command");
const WITH_ARGUMENTS: [&str; 36] = [
    "ID",
    "ENABLE",
    "AUTHENTICATE",
    "LOGIN",
    "SELECT",
    "EXAMINE",
    "CREATE",
    "DELETE",
    "RENAME",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "LIST",
    "LSUB",
    "STATUS",
    "APPEND",
    "REPLACE",
    "UID",
    "SEARCH",
    "SORT",
    "THREAD",
    "FETCH",
    "STORE",
    "COPY",
    "MOVE",
    "COMPRESS",
    "NOTIFY",
    "GETACL",
    "SETACL",
    "DELETEACL",
    "LISTRIGHTS",
    "MYRIGHTS",
    "GETQUOTA",
    "GETQUOTAROOT",
    "SETQUOTA",
    "GETMETADATA",
    "SETMETADATA",
];
const ARGUMENTS_MISSING: Bad = Bad::form("arguments are missing");
const NOT_A_REPLACE: Bad =
    Bad::form("REPLACE is: message number, mailbox, flags, date-time, message literal");

/// Parses a whole command that brings no message.
pub fn command(pieces: &[Piece], mode: Mode) -> Result<Command, Bad> {
    let mut cursor = Cursor::in_mode(pieces, mode);
    let tag = tag(&mut cursor)?;
    cursor.space()?;
    let body = body(&mut cursor)?;
    cursor.end()?;
    Ok(Command { tag, body })
}

/// The tag at the beginning of a command that may be broken behind it.
pub fn tag_of(head: &[u8]) -> Option<Tag> {
    let end = head.iter().position(|octet| matches!(octet, b' ' | b'\r' | b'\n'))?;
    Tag::parse(std::str::from_utf8(&head[..end]).ok()?)
}

fn tag(cursor: &mut Cursor<'_>) -> Result<Tag, Bad> {
    Tag::parse(cursor.tag()?).ok_or(Bad::form("a tag was expected"))
}

fn body(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    let name = cursor.atom().map_err(|_| COMMAND_EXPECTED)?.to_ascii_uppercase();
    match name.as_str() {
        "CAPABILITY" => Ok(Body::Capability),
        "NOOP" => Ok(Body::Noop),
        "LOGOUT" => Ok(Body::Logout),
        "STARTTLS" => Ok(Body::StartTls),
        "NAMESPACE" => Ok(Body::Namespace),
        "IDLE" => Ok(Body::Idle),
        "CHECK" => Ok(Body::Check),
        "CLOSE" => Ok(Body::Close),
        "UNSELECT" => Ok(Body::Unselect),
        "EXPUNGE" => Ok(Body::Expunge),
        "UNAUTHENTICATE" => Ok(Body::Unauthenticate),
        _ => {
            if !WITH_ARGUMENTS.contains(&name.as_str()) {
                return Err(UNKNOWN_COMMAND);
            }
            cursor.space().map_err(|_| ARGUMENTS_MISSING)?;
            with_arguments(cursor, &name)
        }
    }
}

fn with_arguments(cursor: &mut Cursor<'_>, name: &str) -> Result<Body, Bad> {
    match name {
        "ID" => id(cursor),
        "ENABLE" => enable(cursor),
        "AUTHENTICATE" => authenticate(cursor),
        "LOGIN" => login(cursor),
        "SELECT" => select(cursor, Access::ReadWrite),
        "EXAMINE" => select(cursor, Access::ReadOnly),
        "CREATE" => create(cursor),
        "DELETE" => mailbox(cursor).map(Body::Delete),
        "RENAME" => {
            let from = mailbox(cursor)?;
            cursor.space()?;
            Ok(Body::Rename { from, to: mailbox(cursor)? })
        }
        "SUBSCRIBE" => mailbox(cursor).map(Body::Subscribe),
        "UNSUBSCRIBE" => mailbox(cursor).map(Body::Unsubscribe),
        "LIST" => list(cursor).map(Body::List),
        "LSUB" => {
            let reference = mailbox(cursor)?;
            cursor.space()?;
            Ok(Body::Lsub { reference, pattern: pattern(cursor)? })
        }
        "STATUS" => {
            let mailbox = mailbox(cursor)?;
            cursor.space()?;
            Ok(Body::Status { mailbox, items: cursor.list(false, status_item)? })
        }
        "UID" => {
            let name = cursor.atom()?.to_ascii_uppercase();
            cursor.space().map_err(|_| ARGUMENTS_MISSING)?;
            match name.as_str() {
                "EXPUNGE" => SequenceSet::parse(cursor).map(Body::UidExpunge),
                _ => numbered(cursor, &name, Numbering::Uid),
            }
        }
        "APPEND" => Err(Bad::form("APPEND is: mailbox, flags, date-time, message literal")),
        "REPLACE" => Err(NOT_A_REPLACE),
        "COMPRESS" => {
            let is_known = cursor.atom()?.eq_ignore_ascii_case("DEFLATE");
            if is_known { Ok(Body::Compress) } else { Err(Bad::form("DEFLATE was expected")) }
        }
        "NOTIFY" => notify::notify(cursor).map(Body::Notify),
        "GETACL" => mailbox(cursor).map(Body::GetAcl),
        "SETACL" => access::set_acl(cursor),
        "DELETEACL" => {
            let (mailbox, identifier) = access::mailbox_and_identifier(cursor)?;
            Ok(Body::DeleteAcl { mailbox, identifier })
        }
        "LISTRIGHTS" => {
            let (mailbox, identifier) = access::mailbox_and_identifier(cursor)?;
            Ok(Body::ListRights { mailbox, identifier })
        }
        "MYRIGHTS" => mailbox(cursor).map(Body::MyRights),
        "GETQUOTA" => utf8(cursor.astring()?).map(Body::GetQuota),
        "GETQUOTAROOT" => mailbox(cursor).map(Body::GetQuotaRoot),
        "SETQUOTA" => access::set_quota(cursor),
        "GETMETADATA" => access::get_metadata(cursor),
        "SETMETADATA" => access::set_metadata(cursor),
        _ => numbered(cursor, name, Numbering::Sequence),
    }
}

fn numbered(cursor: &mut Cursor<'_>, name: &str, by: Numbering) -> Result<Body, Bad> {
    match name {
        "SEARCH" => return finding::search(cursor, by).map(Body::Search),
        "SORT" => return finding::sort(cursor, by).map(Body::Sort),
        "THREAD" => return finding::thread(cursor, by).map(Body::Thread),
        "REPLACE" => return Err(NOT_A_REPLACE),
        "FETCH" | "STORE" | "COPY" | "MOVE" => {}
        _ => return Err(Bad::form("unknown UID command")),
    }
    let set = SequenceSet::parse(cursor)?;
    cursor.space()?;
    match name {
        "FETCH" => fetch(cursor, by, set),
        "STORE" => store(cursor, by, set),
        "COPY" => Ok(Body::Copy { by, set, mailbox: mailbox(cursor)? }),
        _ => Ok(Body::Move { by, set, mailbox: mailbox(cursor)? }),
    }
}

fn select(cursor: &mut Cursor<'_>, access: Access) -> Result<Body, Bad> {
    let mailbox = mailbox(cursor)?;
    let mut options = SelectOptions::default();
    if cursor.eat(b' ') {
        cursor.list(false, |cursor| match cursor.atom()?.to_ascii_uppercase().as_str() {
            "CONDSTORE" => {
                options.condstore = true;
                Ok(())
            }
            "QRESYNC" if options.qresync.is_none() => {
                cursor.space()?;
                options.qresync = Some(qresync(cursor)?);
                Ok(())
            }
            _ => Err(Bad::form("CONDSTORE or one QRESYNC was expected")),
        })?;
    }
    Ok(Body::Select { mailbox, access, options })
}

/// `"(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"` (RFC 7162 §7)
fn qresync(cursor: &mut Cursor<'_>) -> Result<Qresync, Bad> {
    cursor.expect(b'(', "QRESYNC takes (uidvalidity modseq …)")?;
    let uid_validity = cursor.nonzero()?;
    cursor.space()?;
    let modseq = cursor.number64()?;
    if modseq == 0 {
        return Err(Bad::form("a mod-sequence from 1 was expected"));
    }
    let (mut known_uids, mut pairs) = (None, None);
    if cursor.eat(b' ') {
        if cursor.peek() != Some(b'(') {
            known_uids = Some(SequenceSet::parse_known(cursor)?);
        }
        if (known_uids.is_none() || cursor.eat(b' ')) && cursor.eat(b'(') {
            let sequence = SequenceSet::parse_known(cursor)?;
            cursor.space()?;
            let uids = SequenceSet::parse_known(cursor)?;
            cursor.expect(b')', "known sequence numbers and UIDs have no )")?;
            // RFC 7162 §3.2.5.2: each number has its UID.
            if sequence.count() != uids.count() {
                return Err(Bad::form("as many UIDs as sequence numbers were expected"));
            }
            pairs = Some((sequence, uids));
        }
    }
    cursor.expect(b')', "the parameters of QRESYNC have no )")?;
    Ok(Qresync { uid_validity, modseq, known_uids, pairs })
}

fn mailbox(cursor: &mut Cursor<'_>) -> Result<MailboxName, Bad> {
    MailboxName::from_wire(&cursor.astring()?, cursor.mode())
}

fn pattern(cursor: &mut Cursor<'_>) -> Result<Pattern, Bad> {
    Pattern::from_wire(&cursor.list_mailbox()?, cursor.mode())
}

fn utf8(octets: Vec<u8>) -> Result<String, Bad> {
    String::from_utf8(octets).map_err(|_| Bad::form("an argument is not UTF-8"))
}

fn id(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    if !cursor.eat_word("NIL") {
        let fields = cursor.list(true, Cursor::nstring)?;
        // RFC 2971 §3.3: field names and values come in pairs, names are strings.
        if fields.len() % 2 != 0 || fields.iter().step_by(2).any(Option::is_none) {
            return Err(Bad::form("ID takes pairs of a name and a value"));
        }
    }
    Ok(Body::Id)
}

fn enable(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    let mut names = vec![cursor.atom()?.to_owned()];
    while cursor.eat(b' ') {
        names.push(cursor.atom()?.to_owned());
        at_most(names.len(), limits::IMAP_ENABLE_NAMES_MAX, "ENABLE names too many capabilities")?;
    }
    Ok(Body::Enable(names))
}

fn authenticate(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    let mechanism = cursor.atom()?.to_ascii_uppercase();
    let mut initial = None;
    if cursor.eat(b' ') {
        let base64 = cursor.take_while(|octet| {
            octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=')
        });
        if base64.is_empty() {
            return Err(Bad::form("an initial response in base64 was expected"));
        }
        initial = Some(Secret::new(base64.to_vec()));
    }
    Ok(Body::Authenticate { mechanism, initial })
}

fn login(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    let name = utf8(cursor.astring()?)?;
    cursor.space()?;
    let password = Secret::new(utf8(cursor.astring()?)?);
    Ok(Body::Login { name, password })
}

fn create(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    let mailbox = mailbox(cursor)?;
    let mut special_use = Vec::new();
    if cursor.eat(b' ') {
        let otherwise = "CREATE takes (USE (…)) and nothing else";
        cursor.expect(b'(', otherwise)?;
        if !cursor.eat_word("USE ") {
            return Err(Bad::form(otherwise));
        }
        special_use = cursor.list(false, |cursor| {
            cursor.expect(b'\\', "a special use begins with a backslash")?;
            let name = cursor.atom()?;
            SpecialUse::ALL
                .into_iter()
                .find(|use_| use_.attribute()[1..].eq_ignore_ascii_case(name))
                .ok_or(Bad::form("unknown special use"))
        })?;
        cursor.expect(b')', otherwise)?;
    }
    Ok(Body::Create { mailbox, special_use })
}

fn list(cursor: &mut Cursor<'_>) -> Result<List, Bad> {
    let mut selection = Selection::default();
    let mut extended = false;
    if cursor.peek() == Some(b'(') {
        cursor.list(true, |cursor| {
            match cursor.atom()?.to_ascii_uppercase().as_str() {
                "SUBSCRIBED" => selection.subscribed = true,
                "SPECIAL-USE" => selection.special_use = true,
                "RECURSIVEMATCH" => selection.recursive = true,
                "REMOTE" => {}
                _ => return Err(Bad::form("unknown LIST selection option")),
            }
            Ok(())
        })?;
        // RFC 5258 §3.1: RECURSIVEMATCH alone has nothing to match.
        if selection.recursive && !(selection.subscribed || selection.special_use) {
            return Err(Bad::form("RECURSIVEMATCH needs another selection option"));
        }
        cursor.space()?;
        extended = true;
    }
    let reference = mailbox(cursor)?;
    cursor.space()?;
    let mut patterns = Vec::new();
    if cursor.peek() == Some(b'(') {
        let mut count = 0;
        patterns = cursor.list(false, |cursor| {
            count += 1;
            at_most(count, limits::IMAP_PATTERNS_MAX, "a LIST has too many patterns")?;
            pattern(cursor)
        })?;
        extended = true;
    } else {
        patterns.push(pattern(cursor)?);
    }
    let mut returns = None;
    if cursor.eat_word(" RETURN ") {
        returns = Some(list_returns(cursor)?);
        extended = true;
    }
    Ok(List { selection, reference, patterns, returns, extended })
}

fn list_returns(cursor: &mut Cursor<'_>) -> Result<Returns, Bad> {
    let mut returns = Returns::default();
    cursor.list(true, |cursor| {
        match cursor.atom()?.to_ascii_uppercase().as_str() {
            "SUBSCRIBED" => returns.subscribed = true,
            "CHILDREN" => returns.children = true,
            "SPECIAL-USE" => returns.special_use = true,
            "MYRIGHTS" => returns.my_rights = true,
            "STATUS" => {
                cursor.space()?;
                returns.status = cursor.list(false, status_item)?;
            }
            _ => return Err(Bad::form("unknown LIST return option")),
        }
        Ok(())
    })?;
    Ok(returns)
}

fn status_item(cursor: &mut Cursor<'_>) -> Result<StatusItem, Bad> {
    let name = cursor.atom()?;
    StatusItem::ALL
        .into_iter()
        .find(|item| item.name().eq_ignore_ascii_case(name))
        .ok_or(Bad::form("unknown STATUS item"))
}

fn fetch(cursor: &mut Cursor<'_>, by: Numbering, set: SequenceSet) -> Result<Body, Bad> {
    let items = FetchItem::parse_all(cursor)?;
    let mut fetch = Fetch { by, set, items, changed_since: None, vanished: false, partial: None };
    if cursor.eat(b' ') {
        cursor.list(false, |cursor| {
            match cursor.atom()?.to_ascii_uppercase().as_str() {
                "CHANGEDSINCE" if fetch.changed_since.is_none() => {
                    cursor.space()?;
                    fetch.changed_since = Some(cursor.number64()?);
                }
                "VANISHED" => fetch.vanished = true,
                "PARTIAL" if fetch.partial.is_none() => {
                    cursor.space()?;
                    fetch.partial = Some(finding::partial_range(cursor)?);
                }
                _ => return Err(Bad::form("unknown FETCH modifier, or one given twice")),
            }
            Ok(())
        })?;
    }
    // RFC 7162 §3.2.6 wants BAD for either.
    if fetch.vanished && (by == Numbering::Sequence || fetch.changed_since.is_none()) {
        return Err(Bad::form("VANISHED goes with UID FETCH and CHANGEDSINCE"));
    }
    // RFC 9394 §3.3
    if fetch.partial.is_some() && by == Numbering::Sequence {
        return Err(Bad::form("PARTIAL goes with UID FETCH"));
    }
    Ok(Body::Fetch(fetch))
}

fn store(cursor: &mut Cursor<'_>, by: Numbering, set: SequenceSet) -> Result<Body, Bad> {
    let mut unchanged_since = None;
    if cursor.eat(b'(') {
        let otherwise = "(UNCHANGEDSINCE number) was expected";
        if !cursor.eat_word("UNCHANGEDSINCE ") {
            return Err(Bad::form(otherwise));
        }
        unchanged_since = Some(cursor.number64()?);
        cursor.expect(b')', otherwise)?;
        cursor.space()?;
    }
    let sign = cursor.take_while(|octet| matches!(octet, b'+' | b'-'));
    let echo = match cursor.atom()?.to_ascii_uppercase().as_str() {
        "FLAGS" => Echo::Flags,
        "FLAGS.SILENT" => Echo::Silent,
        _ => return Err(Bad::form("unknown STORE item")),
    };
    cursor.space()?;
    let flags = flags::store_flags(cursor)?;
    let change = match sign {
        b"" => FlagChange::Replace(flags),
        b"+" => FlagChange::Add(flags),
        b"-" => FlagChange::Remove(flags),
        _ => return Err(Bad::form("unknown STORE item")),
    };
    Ok(Body::Store(Store { by, set, change, echo, unchanged_since }))
}
