//! What the server says (RFC 4511 §4).
use crate::proto::ldap::Code;
use crate::proto::ldap::ber::BOOLEAN;
use crate::proto::ldap::ber::ENUMERATED;
use crate::proto::ldap::ber::INTEGER;
use crate::proto::ldap::ber::OCTETS;
use crate::proto::ldap::ber::SEQUENCE;
use crate::proto::ldap::ber::SET;
use crate::proto::ldap::ber::Writer;
use crate::proto::ldap::message::PAGED;

/// Tag of a bind's answer.
pub const BIND: u8 = 0x61;
/// Tag of a search's end.
pub const SEARCH_DONE: u8 = 0x65;
/// Tag of a comparison's answer.
pub const COMPARE: u8 = 0x6f;
/// Tag of an extended operation's answer.
pub const EXTENDED: u8 = 0x78;

/// *Notice of Disconnection* (RFC 4511 §4.4.1).
const DISCONNECTION: &str = "1.3.6.1.4.1.1466.20036";

/// A page's end (RFC 2696 §2).
pub struct Page<'c> {
    /// Entries that the search found in all.
    pub total: u32,
    /// Where it goes on; empty when this was the last one.
    pub cookie: &'c [u8],
}

/// A result under a tag.
pub fn result(id: u32, tag: u8, code: Code, text: &str) -> Vec<u8> {
    whole(id, tag, |writer| ldap_result(writer, code, text), None)
}

/// The end of a search.
pub fn done(id: u32, code: Code, text: &str, page: Option<Page<'_>>) -> Vec<u8> {
    whole(id, SEARCH_DONE, |writer| ldap_result(writer, code, text), page)
}

/// The answer to an extended operation.
pub fn extended(
    id: u32,
    code: Code,
    text: &str,
    oid: Option<&str>,
    value: Option<&[u8]>,
) -> Vec<u8> {
    let fill = |writer: &mut Writer| {
        ldap_result(writer, code, text);
        if let Some(oid) = oid {
            writer.octets(0x8a, oid.as_bytes());
        }
        if let Some(value) = value {
            writer.octets(0x8b, value);
        }
    };
    whole(id, EXTENDED, fill, None)
}

/// Says, unasked, that the connection ends.
pub fn disconnection(code: Code, text: &str) -> Vec<u8> {
    extended(0, code, text, Some(DISCONNECTION), None)
}

/// One entry, with these attributes.
pub fn entry<'e>(
    id: u32,
    dn: &str,
    attributes: impl Iterator<Item = (&'e str, &'e [String])>,
    types_only: bool,
) -> Vec<u8> {
    let fill = |writer: &mut Writer| {
        writer.octets(OCTETS, dn.as_bytes());
        writer.nested(SEQUENCE, |writer| {
            for (name, values) in attributes {
                writer.nested(SEQUENCE, |writer| {
                    writer.octets(OCTETS, name.as_bytes());
                    writer.nested(SET, |writer| {
                        for value in values.iter().filter(|_| !types_only) {
                            writer.octets(OCTETS, value.as_bytes());
                        }
                    });
                });
            }
        });
    };
    whole(id, 0x64, fill, None)
}

fn ldap_result(writer: &mut Writer, code: Code, text: &str) {
    // No name matched: there is one level, and what is asked for is there or not.
    writer.number(ENUMERATED, code as u32).octets(OCTETS, b"").octets(OCTETS, text.as_bytes());
}

fn whole(id: u32, tag: u8, fill: impl FnOnce(&mut Writer), page: Option<Page<'_>>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.nested(SEQUENCE, |writer| {
        writer.number(INTEGER, id).nested(tag, fill);
        if let Some(Page { total, cookie }) = page {
            let mut value = Writer::new();
            value.nested(SEQUENCE, |value| {
                value.number(INTEGER, total).octets(OCTETS, cookie);
            });
            writer.nested(0xa0, |writer| {
                writer.nested(SEQUENCE, |writer| {
                    writer.octets(OCTETS, PAGED.as_bytes()).octets(BOOLEAN, &[0]);
                    writer.octets(OCTETS, &value.finish());
                });
            });
        }
    });
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_those_of_the_standard() {
        assert_eq!(
            result(1, BIND, Code::Success, ""),
            b"0\x0c\x02\x01\x01a\x07\x0a\x01\0\x04\0\x04\0"
        );
        let values = ["a".to_owned()];
        let attributes = [("sn", &values[..])];
        assert_eq!(
            entry(2, "", attributes.into_iter(), false),
            b"0\x14\x02\x01\x02d\x0f\x04\x000\x0b0\x09\x04\x02sn1\x03\x04\x01a"
        );
        assert_eq!(
            entry(2, "", attributes.into_iter(), true),
            b"0\x11\x02\x01\x02d\x0c\x04\x000\x080\x06\x04\x02sn1\0"
        );
    }
}
