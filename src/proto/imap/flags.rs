//! Marks of messages (RFC 3501 §2.3.2) on the wire.
use crate::domain::folder::Flags;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;

/// `flag-list`: flags in parentheses.
pub fn flag_list(cursor: &mut Cursor<'_>) -> Result<Flags, Bad> {
    let mut flags = Flags::default();
    cursor.list(true, |cursor| flag(cursor, &mut flags))?;
    Ok(flags)
}

/// `store-att-flags`: a list in parentheses, or bare flags with spaces between them.
pub fn store_flags(cursor: &mut Cursor<'_>) -> Result<Flags, Bad> {
    if cursor.peek() == Some(b'(') {
        return flag_list(cursor);
    }
    let mut flags = Flags::default();
    loop {
        flag(cursor, &mut flags)?;
        if !cursor.eat(b' ') {
            return Ok(flags);
        }
    }
}

/// The flags in parentheses.
pub fn print(flags: &Flags) -> String {
    let system = [
        (flags.answered, "\\Answered"),
        (flags.flagged, "\\Flagged"),
        (flags.deleted, "\\Deleted"),
        (flags.seen, "\\Seen"),
        (flags.draft, "\\Draft"),
    ];
    let system = system.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name);
    let all: Vec<&str> = system.chain(flags.keywords.iter().map(String::as_str)).collect();
    format!("({})", all.join(" "))
}

fn flag(cursor: &mut Cursor<'_>, flags: &mut Flags) -> Result<(), Bad> {
    if !cursor.eat(b'\\') {
        let keyword = cursor.atom()?;
        if !flags.has_keyword(keyword) {
            flags.keywords.insert(keyword.to_owned());
        }
        return Ok(());
    }
    // RFC 3501 §2.3.2, RFC 9051 §2.3.2: flags that begin with a backslash are those of the standard.
    match cursor.atom()?.to_ascii_lowercase().as_str() {
        "seen" => flags.seen = true,
        "answered" => flags.answered = true,
        "flagged" => flags.flagged = true,
        "deleted" => flags.deleted = true,
        "draft" => flags.draft = true,
        // It cannot be set by a client (RFC 3501 §2.3.2), but programs that copy mailboxes send back
        // what other servers told them; it changes nothing.
        "recent" => {}
        _ => return Err(Bad::form("unknown system flag")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::cursor::Piece;

    #[test]
    fn flags_are_read_in_any_case_and_printed_in_one() {
        let check = |text: &str, expected: &str| {
            let pieces = [Piece::Text(text.as_bytes().to_vec())];
            let mut cursor = Cursor::new(&pieces);
            let flags = store_flags(&mut cursor).unwrap();
            cursor.end().unwrap();
            assert_eq!(print(&flags), expected);
        };
        check("(\\seen \\DELETED)", "(\\Deleted \\Seen)");
        check("()", "()");
        check("\\Flagged $Forwarded $forwarded NonJunk", "(\\Flagged $Forwarded NonJunk)");
        check("(\\Recent \\Draft)", "(\\Draft)");
    }

    #[test]
    fn system_flags_that_nobody_knows_are_refused() {
        for text in ["\\Foo", "(\\Seen \\Junk)", "(\\*)", "\\", "(\\Seen\\Draft)"] {
            let pieces = [Piece::Text(text.as_bytes().to_vec())];
            let mut cursor = Cursor::new(&pieces);
            assert!(store_flags(&mut cursor).and_then(|_| cursor.end()).is_err(), "{text}");
        }
    }
}
