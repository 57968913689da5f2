//! ACL (RFC 4314 §4), QUOTA (RFC 9208 §7) and METADATA (RFC 5464 §5).
use crate::domain::limits;
use crate::domain::rights::Rights;
use crate::domain::secret::Secret;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::MetadataDepth;
use crate::proto::imap::command::MetadataOptions;
use crate::proto::imap::command::RightsChange;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::at_most;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::parse::mailbox;
use crate::proto::imap::parse::utf8;

pub(super) fn mailbox_and_identifier(
    cursor: &mut Cursor<'_>,
) -> Result<(MailboxName, String), Bad> {
    let mailbox = mailbox(cursor)?;
    cursor.space()?;
    let identifier = utf8(cursor.astring()?)?;
    // It is stored and shown to others (RFC 4314 §3 leaves its form to us).
    if identifier.is_empty() || identifier.chars().any(char::is_control) {
        return Err(Bad::form("an identifier without control characters was expected"));
    }
    Ok((mailbox, identifier))
}

pub(super) fn set_acl(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    let (mailbox, identifier) = mailbox_and_identifier(cursor)?;
    cursor.space()?;
    let text = utf8(cursor.astring()?)?;
    // RFC 4314 §3.1: an unknown right is a BAD, and so is a letter in the wrong case.
    let rights = |letters: &str| Rights::parse(letters).ok_or(Bad::form("unknown right"));
    let change = match text.as_bytes().first() {
        Some(b'+') => RightsChange::Add(rights(&text[1..])?),
        Some(b'-') => RightsChange::Remove(rights(&text[1..])?),
        _ => RightsChange::Replace(rights(&text)?),
    };
    Ok(Body::SetAcl { mailbox, identifier, change })
}

pub(super) fn set_quota(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    let root = utf8(cursor.astring()?)?;
    cursor.space()?;
    let mut count = 0;
    let limits = cursor.list(true, |cursor| {
        count += 1;
        at_most(count, limits::IMAP_QUOTA_RESOURCES_MAX, "a quota has too many resources")?;
        let name = cursor.atom()?.to_ascii_uppercase();
        cursor.space()?;
        Ok((name, cursor.number64()?))
    })?;
    Ok(Body::SetQuota { root, limits })
}

pub(super) fn get_metadata(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    let mut options = MetadataOptions::default();
    if cursor.peek() == Some(b'(') {
        options = metadata_options(cursor)?;
        cursor.space()?;
    }
    let mailbox = server_or_mailbox(cursor)?;
    cursor.space()?;
    // The grammar puts options before the mailbox; several clients put them behind it, as the
    // first draft did. Entries begin with a slash, so the two cannot be confused.
    if cursor.is_next("(MAXSIZE ") || cursor.is_next("(DEPTH ") {
        options = metadata_options(cursor)?;
        cursor.space()?;
    }
    let mut count = 0;
    let mut one = |cursor: &mut Cursor<'_>| {
        count += 1;
        at_most(count, limits::IMAP_METADATA_ENTRIES_MAX, "too many entries are asked for")?;
        entry(cursor)
    };
    let entries = match cursor.peek() {
        Some(b'(') => cursor.list(false, one)?,
        _ => vec![one(cursor)?],
    };
    Ok(Body::GetMetadata { mailbox, options, entries })
}

pub(super) fn set_metadata(cursor: &mut Cursor<'_>) -> Result<Body, Bad> {
    let mailbox = server_or_mailbox(cursor)?;
    cursor.space()?;
    let mut count = 0;
    let entries = cursor.list(false, |cursor| {
        count += 1;
        at_most(count, limits::IMAP_METADATA_ENTRIES_MAX, "too many entries are set")?;
        let name = entry(cursor)?;
        cursor.space()?;
        Ok((name, cursor.value()?.map(Secret::new)))
    })?;
    Ok(Body::SetMetadata { mailbox, entries })
}

/// An empty name is the server (RFC 5464 §4.2).
fn server_or_mailbox(cursor: &mut Cursor<'_>) -> Result<Option<MailboxName>, Bad> {
    let mailbox = mailbox(cursor)?;
    Ok(Some(mailbox).filter(|mailbox| !mailbox.as_str().is_empty()))
}

fn metadata_options(cursor: &mut Cursor<'_>) -> Result<MetadataOptions, Bad> {
    let mut options = MetadataOptions::default();
    cursor.list(false, |cursor| {
        let name = cursor.atom()?.to_ascii_uppercase();
        cursor.space()?;
        match name.as_str() {
            "MAXSIZE" => options.size_max = Some(cursor.number()?),
            "DEPTH" => {
                options.depth = match cursor.atom()?.to_ascii_lowercase().as_str() {
                    "0" => MetadataDepth::Entry,
                    "1" => MetadataDepth::Children,
                    "infinity" => MetadataDepth::All,
                    _ => return Err(Bad::form("a depth is 0, 1 or infinity")),
                };
            }
            _ => return Err(Bad::form("MAXSIZE or DEPTH was expected")),
        }
        Ok(())
    })?;
    Ok(options)
}

/// RFC 5464 §3.2: components after slashes, in ASCII without `*`, `%` and control characters.
fn entry(cursor: &mut Cursor<'_>) -> Result<String, Bad> {
    let name = utf8(cursor.astring()?)?;
    at_most(name.len(), limits::IMAP_METADATA_NAME_OCTETS_MAX, "an entry's name is too long")?;
    let is_component = |component: &str| {
        !component.is_empty()
            && component
                .bytes()
                .all(|octet| matches!(octet, b' '..=b'~') && !matches!(octet, b'*' | b'%'))
    };
    let is_entry = name.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_component));
    if is_entry {
        Ok(name)
    } else {
        Err(Bad::form("an entry such as /private/comment was expected"))
    }
}
