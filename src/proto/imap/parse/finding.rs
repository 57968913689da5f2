//! SEARCH, SORT and THREAD (RFC 3501 §6.4.4, RFC 4731 §3.1, RFC 5256 §5, RFC 9394 §3.1).
use crate::domain::limits;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::PartialRange;
use crate::proto::imap::command::Search;
use crate::proto::imap::command::SearchReturns;
use crate::proto::imap::command::Sort;
use crate::proto::imap::command::SortCriterion;
use crate::proto::imap::command::SortKey;
use crate::proto::imap::command::Thread;
use crate::proto::imap::command::ThreadAlgorithm;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::at_most;
use crate::proto::imap::search::SearchKey;

pub(super) fn search(cursor: &mut Cursor<'_>, by: Numbering) -> Result<Search, Bad> {
    let returns = returns(cursor)?;
    let mut charset = None;
    if cursor.eat_word("CHARSET ") {
        charset = Some(cursor.astring()?);
        cursor.space()?;
    }
    Ok(Search { by, returns, charset, key: SearchKey::parse_all(cursor)? })
}

pub(super) fn sort(cursor: &mut Cursor<'_>, by: Numbering) -> Result<Sort, Bad> {
    let returns = returns(cursor)?;
    let mut count = 0;
    let criteria = cursor.list(false, |cursor| {
        count += 1;
        at_most(count, limits::IMAP_SORT_KEYS_MAX, "an order has too many keys")?;
        let reverse = cursor.eat_word("REVERSE ");
        let name = cursor.atom()?;
        let key = SortKey::ALL.into_iter().find(|key| key.name().eq_ignore_ascii_case(name));
        key.map(|key| SortCriterion { key, reverse }).ok_or(Bad::form("unknown sort key"))
    })?;
    cursor.space()?;
    Ok(Sort { search: with_charset(cursor, by, returns)?, criteria })
}

pub(super) fn thread(cursor: &mut Cursor<'_>, by: Numbering) -> Result<Thread, Bad> {
    let name = cursor.atom()?;
    let algorithm = ThreadAlgorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
        .ok_or(Bad::form("unknown threading algorithm"))?;
    cursor.space()?;
    Ok(Thread { search: with_charset(cursor, by, None)?, algorithm })
}

/// `charset 1*(SP search-key)` (RFC 5256 §5): here the charset is not optional.
fn with_charset(
    cursor: &mut Cursor<'_>,
    by: Numbering,
    returns: Option<SearchReturns>,
) -> Result<Search, Bad> {
    let charset = Some(cursor.astring().map_err(|_| Bad::form("a charset was expected"))?);
    cursor.space()?;
    Ok(Search { by, returns, charset, key: SearchKey::parse_all(cursor)? })
}

fn returns(cursor: &mut Cursor<'_>) -> Result<Option<SearchReturns>, Bad> {
    if !cursor.eat_word("RETURN ") {
        return Ok(None);
    }
    let mut returns = SearchReturns::default();
    let options = cursor.list(true, |cursor| {
        match cursor.atom()?.to_ascii_uppercase().as_str() {
            "MIN" => returns.min = true,
            "MAX" => returns.max = true,
            "ALL" => returns.all = true,
            "COUNT" => returns.count = true,
            "SAVE" => returns.save = true,
            "PARTIAL" if returns.partial.is_none() => {
                cursor.space()?;
                returns.partial = Some(partial_range(cursor)?);
            }
            _ => return Err(Bad::form("unknown RETURN option, or PARTIAL given twice")),
        }
        Ok(())
    })?;
    // RFC 4731 §3.1
    returns.all |= options.is_empty();
    // RFC 9394 §3.1: PARTIAL is ALL in pieces.
    if returns.all && returns.partial.is_some() {
        return Err(Bad::form("PARTIAL and ALL exclude each other"));
    }
    cursor.space()?;
    Ok(Some(returns))
}

/// `partial-range` (RFC 9394 §4); `10:1` is `1:10`.
pub(super) fn partial_range(cursor: &mut Cursor<'_>) -> Result<PartialRange, Bad> {
    let otherwise = "a range such as 1:100 or -1:-100 was expected";
    let from_end = cursor.eat(b'-');
    let one = cursor.nonzero().map_err(|_| Bad::form(otherwise))?;
    cursor.expect(b':', otherwise)?;
    if cursor.eat(b'-') != from_end {
        return Err(Bad::form(otherwise));
    }
    let other = cursor.nonzero().map_err(|_| Bad::form(otherwise))?;
    Ok(PartialRange { first: one.min(other), last: one.max(other), from_end })
}
