//! Mailbox names: modified UTF-7 on the wire (RFC 3501 §5.1.3), UTF-8 inside; and patterns.
use base64::Engine;
use base64::alphabet::Alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::general_purpose::GeneralPurposeConfig;
use std::borrow::Cow;
use std::sync::LazyLock;

use crate::domain::limits;
use crate::proto::imap::cursor::Bad;

/// Separates the levels of a name.
pub const DELIMITER: char = '/';

/// How a session writes mailbox names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// In modified UTF-7 (RFC 3501 §5.1.3), as every session begins.
    #[default]
    Utf7,
    /// In UTF-8, after ENABLE UTF8=ACCEPT or IMAP4rev2 (RFC 6855 §3, RFC 9051 §5.1): `&` is a
    /// character like others.
    Utf8,
}

/// A mailbox name in UTF-8. `INBOX` is written in capitals, as the whole name and as a level
/// above others (RFC 3501 §5.1 makes it the one name without regard to case).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxName(String);

impl MailboxName {
    /// From the octets of an astring.
    pub fn from_wire(octets: &[u8], mode: Mode) -> Result<Self, Bad> {
        decode_in(octets, mode).map(|name| Self::new(&name))
    }

    /// From UTF-8.
    pub fn new(name: &str) -> Self {
        Self(with_inbox_in_capitals(name))
    }

    /// The name in UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a session of this mode writes it.
    pub fn to_wire(&self, mode: Mode) -> Cow<'_, str> {
        encode_in(&self.0, mode)
    }

    /// A name that a client may give to a new folder, without a trailing delimiter (RFC 3501
    /// §6.3.3: that only announces children); `None` when nobody could use it.
    pub fn for_new_folder(&self) -> Option<Self> {
        let name = self.0.strip_suffix(DELIMITER).unwrap_or(&self.0);
        let is_usable = name.len() <= limits::FOLDER_NAME_OCTETS_MAX
            && name.split(DELIMITER).all(|level| !level.trim().is_empty())
            && !name.chars().any(|c| c.is_control() || matches!(c, '%' | '*' | '\u{FFFD}'));
        is_usable.then(|| Self(name.to_owned()))
    }

    /// The names above this one, nearest last.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices(DELIMITER).map(|(at, _)| &self.0[..at])
    }
}

/// A LIST pattern in UTF-8: `*` stands for anything, `%` for anything inside one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// From the octets of a `list-mailbox`.
    pub fn from_wire(octets: &[u8], mode: Mode) -> Result<Self, Bad> {
        decode_in(octets, mode).map(Self)
    }

    /// The pattern in UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pattern as a session of this mode writes it.
    pub fn to_wire(&self, mode: Mode) -> Cow<'_, str> {
        encode_in(&self.0, mode)
    }

    /// The pattern with the reference name before it (RFC 3501 §6.3.8).
    #[must_use]
    pub fn below(&self, reference: &str) -> Self {
        Self(with_inbox_in_capitals(&format!("{reference}{}", self.0)))
    }

    /// True when `name` matches. Takes time in proportion to both lengths, whatever the
    /// pattern: `*a*a*a*a` must not be a weapon.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        // reached[i]: the pattern so far matches the first i characters.
        let mut reached = vec![false; name.len() + 1];
        reached[0] = true;
        let mut before = None;
        for wanted in self.0.chars() {
            if before == Some(wanted) && matches!(wanted, '*' | '%') {
                continue;
            }
            before = Some(wanted);
            match wanted {
                '*' | '%' => {
                    for i in 1..=name.len() {
                        reached[i] |= reached[i - 1] && (wanted == '*' || name[i - 1] != DELIMITER);
                    }
                }
                _ => {
                    for i in (1..=name.len()).rev() {
                        reached[i] = reached[i - 1] && name[i - 1] == wanted;
                    }
                    reached[0] = false;
                }
            }
        }
        reached[name.len()]
    }
}

/// A name as a session of this mode writes it.
pub fn encode_in(name: &str, mode: Mode) -> Cow<'_, str> {
    match mode {
        Mode::Utf7 => Cow::Owned(encode(name)),
        Mode::Utf8 => Cow::Borrowed(name),
    }
}

/// A name that a session of this mode wrote, in UTF-8.
pub fn decode_in(octets: &[u8], mode: Mode) -> Result<String, Bad> {
    match mode {
        Mode::Utf7 => decode(octets),
        Mode::Utf8 => {
            let name = std::str::from_utf8(octets)
                .map_err(|_| Bad::form("a mailbox name is not UTF-8"))?;
            // RFC 5198 §2, which RFC 9051 §5.1 asks for: no control characters.
            if name.chars().any(char::is_control) {
                return Err(Bad::form("a mailbox name holds a control character"));
            }
            Ok(name.to_owned())
        }
    }
}

/// UTF-8 to modified UTF-7.
pub fn encode(name: &str) -> String {
    let mut wire = String::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    for c in name.chars() {
        if !matches!(c, ' '..='~') {
            let mut units = [0; 2];
            shifted.extend(c.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
            continue;
        }
        shift_back(&mut shifted, &mut wire);
        wire.push(c);
        if c == '&' {
            wire.push('-');
        }
    }
    shift_back(&mut shifted, &mut wire);
    wire
}

/// Modified UTF-7 to UTF-8. Only the one right spelling is taken, so that no two names on the
/// wire mean one folder. Octets over 0x7F are taken as UTF-8: some clients never learnt UTF-7.
pub fn decode(octets: &[u8]) -> Result<String, Bad> {
    let wire = std::str::from_utf8(octets)
        .map_err(|_| Bad::form("a mailbox name is not modified UTF-7"))?;
    if wire.contains(['\r', '\n', '\0']) {
        return Err(Bad::form("a mailbox name holds a control character"));
    }
    if !wire.is_ascii() {
        return Ok(wire.to_owned());
    }
    let name = unshift(wire).ok_or(Bad::form("a mailbox name is not modified UTF-7"))?;
    if encode(&name) != wire {
        return Err(Bad::form("a mailbox name is not the usual spelling in modified UTF-7"));
    }
    Ok(name)
}

fn unshift(wire: &str) -> Option<String> {
    let mut name = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((plain, shifted)) = rest.split_once('&') {
        name.push_str(plain);
        let (shifted, after) = shifted.split_once('-')?;
        rest = after;
        if shifted.is_empty() {
            name.push('&');
            continue;
        }
        let octets = BASE64.decode(shifted).ok()?;
        if octets.len() % 2 != 0 {
            return None;
        }
        let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        for c in char::decode_utf16(units) {
            name.push(c.ok()?);
        }
    }
    name.push_str(rest);
    Some(name)
}

fn shift_back(shifted: &mut Vec<u8>, wire: &mut String) {
    if !shifted.is_empty() {
        wire.push('&');
        wire.push_str(&BASE64.encode(&shifted));
        wire.push('-');
        shifted.clear();
    }
}

fn with_inbox_in_capitals(name: &str) -> String {
    const INBOX: &str = "INBOX";
    match name.get(..INBOX.len()) {
        Some(first) if first.eq_ignore_ascii_case(INBOX) => match &name[INBOX.len()..] {
            rest if rest.is_empty() || rest.starts_with(DELIMITER) => format!("{INBOX}{rest}"),
            _ => name.to_owned(),
        },
        _ => name.to_owned(),
    }
}

/// RFC 3501 §5.1.3: `,` instead of `/`, and no padding.
static BASE64: LazyLock<GeneralPurpose> = LazyLock::new(|| {
    let alphabet =
        Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,")
            .expect("64 different printable characters");
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone);
    GeneralPurpose::new(&alphabet, config)
});

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_the_standard_are_read() {
        let check = |wire: &str, name: &str| {
            assert_eq!(decode(wire.as_bytes()).as_deref(), Ok(name));
            assert_eq!(encode(name), wire);
        };
        check("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語");
        check("Envoy&AOk-s", "Envoyés");
        check("R&-D", "R&D");
        check("&2D3cjA-", "💌");
    }

    #[test]
    fn a_second_spelling_of_a_name_is_refused() {
        for wire in ["&AGE-", "&AOk-&AOk-", "R&D", "&", "&AO-", "&2D0-", "&AOk", "&A=-"] {
            assert!(decode(wire.as_bytes()).is_err(), "{wire}");
        }
        assert!(decode(b"\xff").is_err());
        assert_eq!(decode("Envoyés".as_bytes()).as_deref(), Ok("Envoyés"));
    }

    #[test]
    fn inbox_is_known_in_any_case() {
        let name = |text: &str| MailboxName::new(text).as_str().to_owned();
        assert_eq!(name("inbox"), "INBOX");
        assert_eq!(name("Inbox/Ward"), "INBOX/Ward");
        assert_eq!(name("inboxes"), "inboxes");
    }

    #[test]
    fn a_new_name_has_no_empty_level_no_wildcard_and_an_end() {
        let new = |text: &str| MailboxName::new(text).for_new_folder().map(|name| name.0);
        assert_eq!(new("a/b/").as_deref(), Some("a/b"));
        for text in ["", "/", "/a", "a//b", "a/ /b", "a*", "100%", "a\u{7}b", "a//"] {
            assert_eq!(new(text), None, "{text}");
        }
        assert_eq!(new(&"é".repeat(257)), None);
        let parents = MailboxName::new("a/b/c");
        assert_eq!(parents.parents().collect::<Vec<_>>(), ["a", "a/b"]);
    }

    #[test]
    fn a_pattern_matches_what_the_standard_says() {
        let matches = |pattern: &str, name: &str| Pattern(pattern.to_owned()).matches(name);
        assert!(matches("*", "a/b") && matches("%", "a") && !matches("%", "a/b"));
        assert!(matches("a/%", "a/b") && !matches("a/%", "a/b/c") && matches("a/*", "a/b/c"));
        assert!(matches("%/%", "a/b") && !matches("%/%", "a"));
        assert!(matches("a*c", "abc") && matches("a**c", "ac") && !matches("a*c", "abd"));
        assert!(matches("", "") && !matches("", "a"));
        assert!(matches("*%", "a/b") && matches("%*", "a/b"));
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_its_length() {
        let pattern = Pattern("*a".repeat(200));
        assert!(!pattern.matches(&"a".repeat(199)));
        assert!(pattern.matches(&"a".repeat(500)));
    }

    proptest! {
        #[test]
        fn every_name_survives_the_wire(name in "[^\\r\\n\\x00]{0,40}") {
            prop_assert_eq!(decode(encode(&name).as_bytes()), Ok(name));
        }

        #[test]
        fn any_octets_are_a_name_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(name) = decode(&octets) {
                prop_assert_eq!(decode(encode(&name).as_bytes()), Ok(name));
            }
        }
    }
}
