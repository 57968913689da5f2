//! The grammar of commands (RFC 3501 §9 `command`).
use crate::domain::folder::FlagChange;
use crate::domain::folder::SpecialUse;
use crate::domain::secret::Secret;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::Append;
use crate::proto::imap::command::AppendStart;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Command;
use crate::proto::imap::command::Echo;
use crate::proto::imap::command::Fetch;
use crate::proto::imap::command::List;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::Returns;
use crate::proto::imap::command::Search;
use crate::proto::imap::command::SelectOptions;
use crate::proto::imap::command::Selection;
use crate::proto::imap::command::StatusItem;
use crate::proto::imap::command::Store;
use crate::proto::imap::command::Tag;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::Piece;
use crate::proto::imap::date;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::flags;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::name::Pattern;
use crate::proto::imap::search::SearchKey;
use crate::proto::imap::sequence::SequenceSet;

/// Parses a whole command that is not an APPEND.
pub fn command(pieces: &[Piece]) -> Result<Command, Bad> {
    let mut cursor = Cursor::new(pieces);
    let tag = tag(&mut cursor)?;
    cursor.space()?;
    let body = body(&mut cursor)?;
    cursor.end()?;
    Ok(Command { tag, body })
}

/// Parses the beginning of an APPEND up to its message literal; `None` when it is not one, or
/// not that far yet.
pub fn append_start(pieces: &[Piece]) -> Option<(Tag, AppendStart)> {
    let mut cursor = Cursor::new(pieces);
    let tag = tag(&mut cursor).ok()?;
    if !(cursor.eat(b' ') && cursor.eat_word("APPEND ")) {
        return None;
    }
    let mailbox = mailbox(&mut cursor).ok()?;
    cursor.space().ok()?;
    let mut flags = Default::default();
    if cursor.peek() == Some(b'(') {
        flags = flags::flag_list(&mut cursor).ok()?;
        cursor.space().ok()?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        date = Some(date::date_time(&mut cursor).ok()?);
        cursor.space().ok()?;
    }
    cursor.end().ok()?;
    Some((tag, AppendStart { mailbox, flags, date }))
}

/// The tag at the beginning of a command that may be broken behind it.
pub fn tag_of(head: &[u8]) -> Option<Tag> {
    let end = head.iter().position(|octet| matches!(octet, b' ' | b'\r' | b'\n'))?;
    Tag::parse(std::str::from_utf8(&head[..end]).ok()?)
}

/// An APPEND whose message has arrived.
pub fn append(tag: Tag, start: AppendStart, message: Secret<Vec<u8>>) -> Command {
    Command { tag, body: Body::Append(Append { start, message }) }
}

fn tag(cursor: &mut Cursor<'_>) -> Result<Tag, Bad> {
    Tag::parse(cursor.tag()?).ok_or(Bad("a tag was expected"))
}

fn body(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    let name = cursor.atom().map_err(|_| Bad("a command was expected"))?.to_ascii_uppercase();
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
        _ => {
            let known = matches!(
                name.as_str(),
                "ID" | "ENABLE"
                    | "AUTHENTICATE"
                    | "LOGIN"
                    | "SELECT"
                    | "EXAMINE"
                    | "CREATE"
                    | "DELETE"
                    | "RENAME"
                    | "SUBSCRIBE"
                    | "UNSUBSCRIBE"
                    | "LIST"
                    | "LSUB"
                    | "STATUS"
                    | "APPEND"
                    | "UID"
                    | "SEARCH"
                    | "FETCH"
                    | "STORE"
                    | "COPY"
                    | "MOVE"
            );
            if !known {
                return Err(Bad("unknown command"));
            }
            cursor.space().map_err(|_| Bad("arguments are missing"))?;
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
            let pattern = Pattern::from_wire(&cursor.list_mailbox()?)?;
            Ok(Body::Lsub { reference, pattern })
        }
        "STATUS" => {
            let mailbox = mailbox(cursor)?;
            cursor.space()?;
            Ok(Body::Status { mailbox, items: cursor.list(false, status_item)? })
        }
        "UID" => {
            let name = cursor.atom()?.to_ascii_uppercase();
            cursor.space().map_err(|_| Bad("arguments are missing"))?;
            match name.as_str() {
                "EXPUNGE" => SequenceSet::parse(cursor).map(Body::UidExpunge),
                _ => numbered(cursor, &name, Numbering::Uid),
            }
        }
        "APPEND" => Err(Bad("APPEND is: mailbox, flags, date-time, message literal")),
        _ => numbered(cursor, name, Numbering::Sequence),
    }
}

fn numbered(cursor: &mut Cursor<'_>, name: &str, by: Numbering) -> Result<Body, Bad> {
    if name == "SEARCH" {
        return search(cursor, by);
    }
    let set = SequenceSet::parse(cursor)?;
    cursor.space()?;
    match name {
        "FETCH" => Ok(Body::Fetch(Fetch {
            by,
            set,
            items: FetchItem::parse_all(cursor)?,
            changed_since: None,
            vanished: false,
            partial: None,
        })),
        "STORE" => store(cursor, by, set),
        "COPY" => Ok(Body::Copy { by, set, mailbox: mailbox(cursor)? }),
        "MOVE" => Ok(Body::Move { by, set, mailbox: mailbox(cursor)? }),
        _ => Err(Bad("unknown UID command")),
    }
}

fn select(cursor: &mut Cursor<'_>, access: Access) -> Result<Body, Bad> {
    Ok(Body::Select { mailbox: mailbox(cursor)?, access, options: SelectOptions::default() })
}

fn mailbox(cursor: &mut Cursor<'_>) -> Result<MailboxName, Bad> {
    MailboxName::from_wire(&cursor.astring()?)
}

fn utf8(octets: Vec<u8>) -> Result<String, Bad> {
    String::from_utf8(octets).map_err(|_| Bad("an argument is not UTF-8"))
}

fn id(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    if !cursor.eat_word("NIL") {
        let fields = cursor.list(true, Cursor::nstring)?;
        // RFC 2971 §3.3: field names and values come in pairs, names are strings.
        if fields.len() % 2 != 0 || fields.iter().step_by(2).any(Option::is_none) {
            return Err(Bad("ID takes pairs of a name and a value"));
        }
    }
    Ok(Body::Id)
}

fn enable(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    let mut names = vec![cursor.atom()?.to_owned()];
    while cursor.eat(b' ') {
        names.push(cursor.atom()?.to_owned());
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
            return Err(Bad("an initial response in base64 was expected"));
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
            return Err(Bad(otherwise));
        }
        special_use = cursor.list(false, |cursor| {
            cursor.expect(b'\\', "a special use begins with a backslash")?;
            let name = cursor.atom()?;
            SpecialUse::ALL
                .into_iter()
                .find(|use_| use_.attribute()[1..].eq_ignore_ascii_case(name))
                .ok_or(Bad("unknown special use"))
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
                _ => return Err(Bad("unknown LIST selection option")),
            }
            Ok(())
        })?;
        // RFC 5258 §3.1: RECURSIVEMATCH alone has nothing to match.
        if selection.recursive && !(selection.subscribed || selection.special_use) {
            return Err(Bad("RECURSIVEMATCH needs another selection option"));
        }
        cursor.space()?;
        extended = true;
    }
    let reference = mailbox(cursor)?;
    cursor.space()?;
    let pattern = |cursor: &mut Cursor<'_>| Pattern::from_wire(&cursor.list_mailbox()?);
    let mut patterns = Vec::new();
    if cursor.peek() == Some(b'(') {
        patterns = cursor.list(false, pattern)?;
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
            "STATUS" => {
                cursor.space()?;
                returns.status = cursor.list(false, status_item)?;
            }
            _ => return Err(Bad("unknown LIST return option")),
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
        .ok_or(Bad("unknown STATUS item"))
}

fn search(cursor: &mut Cursor<'_>, by: Numbering) -> Result<Body, Bad> {
    let mut charset = None;
    if cursor.eat_word("CHARSET ") {
        charset = Some(cursor.astring()?);
        cursor.space()?;
    }
    let key = SearchKey::parse_all(cursor)?;
    Ok(Body::Search(Search { by, returns: None, charset, key }))
}

fn store(cursor: &mut Cursor<'_>, by: Numbering, set: SequenceSet) -> Result<Body, Bad> {
    let sign = cursor.take_while(|octet| matches!(octet, b'+' | b'-'));
    let echo = match cursor.atom()?.to_ascii_uppercase().as_str() {
        "FLAGS" => Echo::Flags,
        "FLAGS.SILENT" => Echo::Silent,
        _ => return Err(Bad("unknown STORE item")),
    };
    cursor.space()?;
    let flags = flags::store_flags(cursor)?;
    let change = match sign {
        b"" => FlagChange::Replace(flags),
        b"+" => FlagChange::Add(flags),
        b"-" => FlagChange::Remove(flags),
        _ => return Err(Bad("unknown STORE item")),
    };
    Ok(Body::Store(Store { by, set, change, echo, unchanged_since: None }))
}
