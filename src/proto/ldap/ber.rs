//! The part of BER that LDAP uses (RFC 4511 §5.1): definite lengths, tags of one octet.
//!
//! A reader holds a slice and never copies; a length that does not fit what is there is an error
//! before anything is made of it.

/// `BOOLEAN`
pub const BOOLEAN: u8 = 0x01;
/// `INTEGER`
pub const INTEGER: u8 = 0x02;
/// `OCTET STRING`
pub const OCTETS: u8 = 0x04;
/// `ENUMERATED`
pub const ENUMERATED: u8 = 0x0a;
/// `SEQUENCE`
pub const SEQUENCE: u8 = 0x30;
/// `SET`
pub const SET: u8 = 0x31;

/// Octets that a length may take after the first one: four carry more than any message here.
const LENGTH_OCTETS_MAX: usize = 4;
/// Octets of an integer: LDAP's own end at 2^31.
const INTEGER_OCTETS_MAX: usize = 5;

/// Not BER as LDAP writes it; the text says what, and nothing of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadBer(pub &'static str);

/// Elements, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads these octets.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// True when nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element.
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element.
    pub fn element(&mut self) -> Result<(u8, &'a [u8]), BadBer> {
        let Some(Head { tag, octets, length }) = head(self.0)? else {
            return Err(BadBer("an element is cut off"));
        };
        let end = octets.checked_add(length).filter(|end| *end <= self.0.len());
        let end = end.ok_or(BadBer("an element is longer than what holds it"))?;
        let content = &self.0[octets..end];
        self.0 = &self.0[end..];
        Ok((tag, content))
    }

    /// The content of the next element, which must have this tag.
    pub fn expect(&mut self, wanted: u8) -> Result<&'a [u8], BadBer> {
        match self.element()? {
            (tag, content) if tag == wanted => Ok(content),
            _ => Err(BadBer("an element of another kind was expected")),
        }
    }

    /// The content of the next element, if it has this tag.
    pub fn optional(&mut self, wanted: u8) -> Result<Option<&'a [u8]>, BadBer> {
        if self.peek() == Some(wanted) { self.expect(wanted).map(Some) } else { Ok(None) }
    }

    /// A text.
    pub fn text(&mut self) -> Result<&'a str, BadBer> {
        std::str::from_utf8(self.expect(OCTETS)?).map_err(|_| BadBer("a text is not UTF-8"))
    }

    /// An integer from 0 to 2^31 - 1 (RFC 4511 §4.1.1, `maxInt`).
    pub fn number(&mut self) -> Result<u32, BadBer> {
        in_range(integer(self.expect(INTEGER)?)?)
    }

    /// An enumerated value.
    pub fn choice(&mut self) -> Result<u32, BadBer> {
        in_range(integer(self.expect(ENUMERATED)?)?)
    }

    /// A boolean.
    pub fn truth(&mut self) -> Result<bool, BadBer> {
        truth(self.expect(BOOLEAN)?)
    }

    /// Nothing may follow.
    pub const fn end(&self) -> Result<(), BadBer> {
        if self.0.is_empty() { Ok(()) } else { Err(BadBer("something follows the end")) }
    }
}

/// What begins an element.
struct Head {
    tag: u8,
    /// Of tag and length.
    octets: usize,
    /// Of the content.
    length: usize,
}

/// `None` when more octets are needed.
fn head(octets: &[u8]) -> Result<Option<Head>, BadBer> {
    let (Some(&tag), Some(&first)) = (octets.first(), octets.get(1)) else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        return Err(BadBer("a tag of several octets"));
    }
    if first < 0x80 {
        return Ok(Some(Head { tag, octets: 2, length: usize::from(first) }));
    }
    let more = usize::from(first & 0x7f);
    // RFC 4511 §5.1: only the definite form of lengths.
    if more == 0 {
        return Err(BadBer("an indefinite length"));
    }
    if more > LENGTH_OCTETS_MAX {
        return Err(BadBer("a length of too many octets"));
    }
    // Leading zeros are BER, and Windows writes them.
    let Some(length) = octets.get(2..2 + more) else { return Ok(None) };
    let length = length.iter().fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet));
    Ok(Some(Head { tag, octets: 2 + more, length }))
}

/// How many octets the message has that begins here; `None` until that can be said.
pub fn message_octets(input: &[u8], octets_max: usize) -> Result<Option<usize>, BadBer> {
    if input.first().is_some_and(|tag| *tag != SEQUENCE) {
        return Err(BadBer("not an LDAP message"));
    }
    let Some(Head { octets, length, .. }) = head(input)? else { return Ok(None) };
    match octets.checked_add(length) {
        Some(whole) if whole <= octets_max => Ok(Some(whole)),
        _ => Err(BadBer("the message is too long")),
    }
}

fn integer(content: &[u8]) -> Result<i64, BadBer> {
    if content.is_empty() || content.len() > INTEGER_OCTETS_MAX {
        return Err(BadBer("an integer of no sensible size"));
    }
    let sign = if content[0] & 0x80 == 0 { 0 } else { -1 };
    Ok(content.iter().fold(sign, |sum, octet| sum << 8 | i64::from(*octet)))
}

fn in_range(number: i64) -> Result<u32, BadBer> {
    let number = u32::try_from(number).ok().filter(|number| *number <= i32::MAX as u32);
    number.ok_or(BadBer("an integer out of range"))
}

/// The content of a boolean.
pub fn truth(content: &[u8]) -> Result<bool, BadBer> {
    match content {
        [octet] => Ok(*octet != 0),
        _ => Err(BadBer("a boolean of no sensible size")),
    }
}

/// Elements in the making.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The octets.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// An element with this content.
    pub fn octets(&mut self, tag: u8, content: &[u8]) -> &mut Self {
        self.0.push(tag);
        let length = content.len();
        if length < 0x80 {
            self.0.push(length as u8);
        } else {
            let octets = length.to_be_bytes();
            let zeros = octets.iter().take_while(|octet| **octet == 0).count();
            self.0.push(0x80 | (octets.len() - zeros) as u8);
            self.0.extend_from_slice(&octets[zeros..]);
        }
        self.0.extend_from_slice(content);
        self
    }

    /// An element with elements in it.
    pub fn nested(&mut self, tag: u8, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::new();
        fill(&mut inner);
        self.octets(tag, &inner.0)
    }

    /// An integer or enumerated value.
    pub fn number(&mut self, tag: u8, number: u32) -> &mut Self {
        let octets = i64::from(number).to_be_bytes();
        // The shortest form that keeps the sign.
        let spare = (0..7).take_while(|at| octets[*at] == 0 && octets[at + 1] & 0x80 == 0).count();
        self.octets(tag, &octets[spare..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for number in [0, 1, 127, 128, 255, 256, 65_535, 0x7fff_ffff] {
            let mut writer = Writer::new();
            writer.number(INTEGER, number);
            let octets = writer.finish();
            assert_eq!(Reader::new(&octets).number(), Ok(number), "{octets:?}");
        }
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let mut writer = Writer::new();
            writer.octets(OCTETS, &vec![7; length]);
            let octets = writer.finish();
            assert_eq!(Reader::new(&octets).expect(OCTETS).unwrap().len(), length);
        }
    }

    #[test]
    fn lengths_with_zeros_before_them_are_read_and_indefinite_or_absurd_ones_refused() {
        assert_eq!(Reader::new(b"\x04\x84\0\0\0\x01x").text(), Ok("x"));
        for bad in [
            &b"\x04\x80x\0\0"[..],
            b"\x04\x85\0\0\0\0\x01x",
            b"\x04\xffx",
            b"\x04\x84\xff\xff\xff\xffx",
            b"\x04\x02x",
            b"\x04",
            b"",
            b"\x1f\x01x",
            b"\x04\x01\xff",
        ] {
            assert!(Reader::new(bad).text().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn integers_are_those_of_ldap() {
        for (bad, why) in [
            (&b"\x02\x00"[..], "none"),
            (b"\x02\x01\xff", "negative"),
            (b"\x02\x05\0\x80\0\0\0", "2^31"),
            (b"\x02\x09\0\0\0\0\0\0\0\0\x01", "nine octets"),
        ] {
            assert!(Reader::new(bad).number().is_err(), "{why}");
        }
        assert_eq!(Reader::new(b"\x02\x04\0\0\0\x05").number(), Ok(5));
    }

    #[test]
    fn a_message_says_its_length_before_it_is_there() {
        assert_eq!(message_octets(b"", 100), Ok(None));
        assert_eq!(message_octets(b"0", 100), Ok(None));
        assert_eq!(message_octets(b"0\x82\x01", 1_000), Ok(None));
        assert_eq!(message_octets(b"0\x82\x01\0", 1_000), Ok(Some(260)));
        assert_eq!(message_octets(b"0\x05", 7), Ok(Some(7)));
        assert!(message_octets(b"0\x06", 7).is_err());
        assert!(message_octets(b"0\x84\xff\xff\xff\xff", 7).is_err());
        assert!(message_octets(b"0\x80", 7).is_err());
        assert!(message_octets(b"GET / HTTP/1.1", 100).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in proptest::collection::vec(0_u8.., 0..64)) {
            let _ = message_octets(&octets, 1_000);
            let mut reader = Reader::new(&octets);
            while !reader.is_empty() && reader.element().is_ok() {}
            let _ = Reader::new(&octets).number();
        }
    }
}
