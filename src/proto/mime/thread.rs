//! Message-IDs, as far as they tell which letters answer each other.
use std::borrow::Cow;

use crate::domain::limits;
use crate::proto::mime::header;
use crate::proto::mime::summary::EnvelopeFields;
use crate::proto::mime::summary::Summary;

/// Octets of one Message-ID, with its angle brackets.
const ID_OCTETS_MAX: usize = 998;
/// Octets of a header section that References are looked for in.
const SECTION_OCTETS_MAX: usize = limits::HEADER_OCTETS_MAX;

/// The Message-IDs of a field's value, in order, each in the one form in which two of them can be
/// compared octet by octet (RFC 5256 §3): with angle brackets, without white space, a quoted
/// local part without its quotes. What is no Message-ID (comments, bare words) is passed over.
pub fn message_ids(value: &[u8]) -> MessageIds<'_> {
    MessageIds { rest: value }
}

/// See [`message_ids`].
pub struct MessageIds<'a> {
    rest: &'a [u8],
}

impl Iterator for MessageIds<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut depth = 0_usize;
        let mut quoted = false;
        while let Some((&octet, after)) = self.rest.split_first() {
            self.rest = after;
            match octet {
                b'\\' if quoted || depth > 0 => self.rest = after.get(1..).unwrap_or_default(),
                b'"' if depth == 0 => quoted = !quoted,
                _ if quoted => {}
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                b'<' if depth == 0 => {
                    if let Some(id) = self.id() {
                        return Some(id);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

impl MessageIds<'_> {
    /// Reads what follows an opening bracket, up to the closing one.
    fn id(&mut self) -> Option<Vec<u8>> {
        let mut id = vec![b'<'];
        let (mut quoted, mut place) = (false, 0);
        let mut has_at = false;
        while let Some(&octet) = self.rest.get(place) {
            place += 1;
            match octet {
                b'"' => quoted = !quoted,
                b'\\' if quoted => {
                    id.extend(self.rest.get(place));
                    place += 1;
                }
                b'>' if !quoted => {
                    self.rest = &self.rest[place..];
                    id.push(b'>');
                    let is_id = has_at && id.len() > 4 && !id.ends_with(b"@>");
                    return is_id.then_some(id);
                }
                // Another one begins: this one never ended.
                b'<' if !quoted => {
                    self.rest = &self.rest[place - 1..];
                    return None;
                }
                _ if octet.is_ascii_whitespace() => {}
                _ if octet.is_ascii_control() => break,
                _ => {
                    has_at |= octet == b'@';
                    id.push(octet);
                }
            }
            if id.len() >= ID_OCTETS_MAX {
                break;
            }
        }
        self.rest = self.rest.get(place..).unwrap_or_default();
        None
    }
}

/// The ids of the References field of a letter: the first, which is the root, and the last ones.
pub(super) fn references(letter: &[u8]) -> Vec<Vec<u8>> {
    let section = &letter[..letter.len().min(SECTION_OCTETS_MAX)];
    let field = header::fields(section).find(|field| field.is("references"));
    let value = field.as_ref().map_or(Cow::Borrowed(&b""[..]), header::Field::unfolded);
    bounded(message_ids(&value), limits::REFERENCES_MAX)
}

/// The first and the last of them, `most` together.
pub(super) fn bounded(ids: impl IntoIterator<Item = Vec<u8>>, most: usize) -> Vec<Vec<u8>> {
    let mut ids = ids.into_iter();
    let mut kept: Vec<Vec<u8>> = ids.by_ref().take(most).collect();
    let mut overwritten = 1;
    for id in ids {
        // A ring behind the root.
        kept[overwritten] = id;
        overwritten = if overwritten + 1 == most { 1 } else { overwritten + 1 };
    }
    if let Some(later) = kept.get_mut(1..) {
        later.rotate_left((overwritten - 1).min(later.len()));
    }
    kept
}

/// The Message-ID of the letter with which the conversation began, as far as this one tells: the
/// first reference, else what it answers, else itself (RFC 5256 §3, THREAD=REFERENCES step 1).
pub fn root(summary: &Summary) -> Option<Vec<u8>> {
    let EnvelopeFields { in_reply_to, message_id, .. } = &summary.envelope;
    let first = |value: &Option<Vec<u8>>| message_ids(value.as_deref().unwrap_or_default()).next();
    let root = summary.references.first().cloned();
    root.or_else(|| first(in_reply_to)).or_else(|| first(message_id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::mime::summary;

    fn ids(value: &str) -> Vec<String> {
        message_ids(value.as_bytes()).map(|id| String::from_utf8(id).unwrap()).collect()
    }

    #[test]
    fn message_ids_are_found_among_what_people_write() {
        assert_eq!(ids("<a@b> <c@d>"), ["<a@b>", "<c@d>"]);
        assert_eq!(ids("<a@b><c@d>"), ["<a@b>", "<c@d>"]);
        assert_eq!(ids("(see <x@y>) <a@b>, \"<q@r>\" <c@d>"), ["<a@b>", "<c@d>"]);
        assert_eq!(ids("<a\t@b> <no-at> <> <@> <x@> <open <c@d>"), ["<a@b>", "<c@d>"]);
        assert_eq!(ids("Your message of Tuesday"), [""; 0]);
        assert_eq!(ids("<never ends"), [""; 0]);
    }

    #[test]
    fn a_quoted_local_part_is_the_same_as_one_without_quotes() {
        assert_eq!(ids("<\"01KF8JCEOCBS0045PS\"@x.test>"), ids("<01KF8JCEOCBS0045PS@x.test>"));
        assert_eq!(ids("<\"a\\\"b\"@x>"), ["<a\"b@x>"]);
    }

    #[test]
    fn a_long_list_keeps_its_root_and_its_end() {
        let value: String = (0..1_000).map(|n| format!(" <{n}@x>\r\n")).collect();
        let letter = format!("References:{value}\r\n");
        let kept = references(letter.as_bytes());
        assert_eq!(kept.len(), limits::REFERENCES_MAX);
        assert_eq!(kept[0], b"<0@x>");
        assert_eq!(kept[1], b"<901@x>");
        assert_eq!(kept[99], b"<999@x>");
        for count in 0..12_u8 {
            let all: Vec<Vec<u8>> = (0..count).map(|n| vec![n]).collect();
            let mut expected = all.clone();
            if count > 5 {
                expected.drain(1..usize::from(count) - 4);
            }
            assert_eq!(bounded(all, 5), expected);
        }
    }

    #[test]
    fn a_conversation_has_the_root_that_its_letters_name() {
        let root_of = |header: &str| {
            let letter = format!("{header}\r\ntext\r\n");
            root(&summary::summarise(letter.as_bytes())).map(|id| String::from_utf8(id).unwrap())
        };
        let all = "Message-ID: <c@x>\r\nIn-Reply-To: <b@x>\r\nReferences: <a@x>\r\n <b@x>\r\n";
        assert_eq!(root_of(all).unwrap(), "<a@x>");
        assert_eq!(root_of("Message-ID: <c@x>\r\nIn-Reply-To: <b@x>\r\n").unwrap(), "<b@x>");
        assert_eq!(root_of("Message-ID: <c@x>\r\nReferences: nothing\r\n").unwrap(), "<c@x>");
        assert_eq!(root_of("Subject: a\r\n"), None);
    }

    proptest! {
        #[test]
        fn no_octets_break_the_search_for_ids(
            value in proptest::collection::vec(prop_oneof![
                Just(b'<'), Just(b'>'), Just(b'"'), Just(b'\\'), Just(b'('), Just(b')'), Just(b'@'),
                Just(b' '), any::<u8>(),
            ], 0..200),
        ) {
            for id in message_ids(&value) {
                prop_assert!(id.starts_with(b"<") && id.ends_with(b">") && id.contains(&b'@'));
                prop_assert!(id.len() <= ID_OCTETS_MAX + 1);
            }
        }
    }
}
