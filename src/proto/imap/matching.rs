//! Does a message answer a search? Asked in stages, so that no body is opened in vain.
use std::ops::RangeInclusive;

use unicode_normalization::UnicodeNormalization;

use crate::domain::folder::Flags;
use crate::domain::time::Day;
use crate::domain::time::Timestamp;
use crate::proto::imap::date;
use crate::proto::imap::search::AddressField;
use crate::proto::imap::search::SearchKey;
use crate::proto::imap::search::SystemFlag;
use crate::proto::imap::search::When;
use crate::proto::imap::sequence;
use crate::proto::mime::content;
use crate::proto::mime::forms::HeaderForms;
use crate::proto::mime::header;
use crate::proto::mime::summary::EnvelopeAddress;
use crate::proto::mime::summary::EnvelopeFields;

/// A search, made ready for one mailbox: sets resolved, texts folded.
#[derive(Debug)]
pub struct Query(Node);

/// What is known of a message. More can be filled in when [`Query::matches`] does not know.
pub struct Facts<'a> {
    /// Its place in the session's view, from 1.
    pub sequence: u32,
    /// Its UID.
    pub uid: u32,
    /// Its marks.
    pub flags: &'a Flags,
    /// When it arrived.
    pub internal_date: Timestamp,
    /// Its octets.
    pub size: u64,
    /// Its envelope.
    pub envelope: Known<&'a EnvelopeFields>,
    /// Which fields the envelope tells as they stand in the letter; none while it is not known.
    pub header_forms: HeaderForms,
    /// Its text.
    pub text: Known<&'a FoldedLetter>,
}

/// A fact that may need work to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// Not asked yet.
    NotYet,
    /// Here it is.
    Yes(T),
    /// It cannot be got: what depends on it does not match.
    Never,
}

/// A letter made ready for text searches.
pub struct FoldedLetter {
    /// Field names in lower case, and decoded and folded values.
    fields: Vec<(Vec<u8>, String)>,
    body: String,
}

#[derive(Debug)]
enum Node {
    All(Vec<Node>),
    Either(Box<(Node, Node)>),
    Not(Box<Node>),
    Constant(bool),
    Sequences(Vec<RangeInclusive<u32>>),
    Uids(Vec<RangeInclusive<u32>>),
    Flag(SystemFlag, bool),
    Keyword(String, bool),
    Addresses(AddressField, String),
    Subject(String),
    Header(Vec<u8>, String),
    Body(String),
    Text(String),
    Internal(When, Day),
    Sent(When, Day),
    Larger(u32),
    Smaller(u32),
}

impl Query {
    /// Prepares `key` for a mailbox with this many messages and this largest UID.
    pub fn new(key: &SearchKey, last_sequence: u32, last_uid: u32) -> Self {
        Self(prepare(key, last_sequence, last_uid))
    }

    /// Whether the message answers; `None` when a fact that is [`Known::NotYet`] decides.
    pub fn matches(&self, facts: &Facts<'_>) -> Option<bool> {
        matches(&self.0, facts)
    }
}

impl FoldedLetter {
    /// Decodes and folds a letter. Takes as long as the letter is large.
    pub fn new(letter: &[u8]) -> Self {
        let fields = header::fields(letter)
            .map(|field| (field.name.to_ascii_lowercase(), shown_value(&field.unfolded())))
            .collect();
        Self { fields, body: fold(&content::searchable_text(letter)) }
    }
}

impl Drop for FoldedLetter {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.body.zeroize();
        for (_, value) in &mut self.fields {
            value.zeroize();
        }
    }
}

fn prepare(key: &SearchKey, last_sequence: u32, last_uid: u32) -> Node {
    let text = |octets: &[u8]| fold(&String::from_utf8_lossy(octets));
    let prepared = |key| prepare(key, last_sequence, last_uid);
    match key {
        SearchKey::And(keys) => Node::All(keys.iter().map(prepared).collect()),
        SearchKey::Or(keys) => Node::Either(Box::new((prepared(&keys.0), prepared(&keys.1)))),
        SearchKey::Not(key) => Node::Not(Box::new(prepared(key))),
        SearchKey::Numbers(set) => Node::Sequences(set.resolve(last_sequence)),
        SearchKey::Uids(set) => Node::Uids(set.resolve(last_uid)),
        SearchKey::Flag(flag, is_set) => Node::Flag(*flag, *is_set),
        SearchKey::Keyword(keyword, is_set) => Node::Keyword(keyword.clone(), *is_set),
        // We tell no session that a message is recent (RFC 3501 §2.3.2 lets more than one
        // session, or none, be told), so every message is old.
        SearchKey::Recent(is_recent) => Node::Constant(!is_recent),
        SearchKey::Addresses(field, value) => Node::Addresses(*field, text(value)),
        SearchKey::Subject(value) => Node::Subject(text(value)),
        SearchKey::Header(name, value) => Node::Header(name.to_ascii_lowercase(), text(value)),
        SearchKey::Body(value) => Node::Body(text(value)),
        SearchKey::Text(value) => Node::Text(text(value)),
        SearchKey::Internal(when, day) => Node::Internal(*when, *day),
        SearchKey::Sent(when, day) => Node::Sent(*when, *day),
        SearchKey::Larger(octets) => Node::Larger(*octets),
        SearchKey::Smaller(octets) => Node::Smaller(*octets),
        SearchKey::ModSeq(_)
        | SearchKey::Older(_)
        | SearchKey::Younger(_)
        | SearchKey::Saved(..)
        | SearchKey::SaveDateSupported
        | SearchKey::EmailId(_)
        | SearchKey::ThreadId(_) => Node::Constant(false),
    }
}

fn matches(node: &Node, facts: &Facts<'_>) -> Option<bool> {
    match node {
        Node::All(nodes) => all(nodes.iter().map(|node| matches(node, facts))),
        Node::Either(nodes) => {
            let negated = [&nodes.0, &nodes.1].map(|node| matches(node, facts).map(|is| !is));
            all(negated.into_iter()).map(|neither| !neither)
        }
        Node::Not(node) => matches(node, facts).map(|is| !is),
        Node::Constant(value) => Some(*value),
        Node::Sequences(ranges) => Some(sequence::contains(ranges, facts.sequence)),
        Node::Uids(ranges) => Some(sequence::contains(ranges, facts.uid)),
        Node::Flag(flag, is_set) => Some(has_flag(facts.flags, *flag) == *is_set),
        Node::Keyword(keyword, is_set) => Some(facts.flags.has_keyword(keyword) == *is_set),
        Node::Internal(when, day) => Some(is_when(date::day_of(facts.internal_date), *when, *day)),
        Node::Larger(octets) => Some(facts.size > u64::from(*octets)),
        Node::Smaller(octets) => Some(facts.size < u64::from(*octets)),
        Node::Addresses(field, wanted) => facts.envelope.asks(|envelope| {
            addresses(envelope, *field)
                .iter()
                .any(|address| fold(&shown(address)).contains(wanted.as_str()))
        }),
        Node::Subject(wanted) => facts.envelope.asks(|envelope| {
            envelope.subject.as_ref().is_some_and(|subject| {
                fold(&content::decoded_header(subject)).contains(wanted.as_str())
            })
        }),
        Node::Sent(when, day) => facts.envelope.asks(|envelope| {
            let sent = envelope.date.as_ref().and_then(|date| date::day_of_header(date));
            sent.is_some_and(|sent| is_when(sent, *when, *day))
        }),
        Node::Header(name, wanted) => has_header(facts, name, wanted),
        Node::Body(wanted) => facts.text.asks(|letter| letter.body.contains(wanted.as_str())),
        Node::Text(wanted) => facts.text.asks(|letter| {
            letter.body.contains(wanted.as_str())
                || letter.fields.iter().any(|(name, value)| {
                    value.contains(wanted.as_str())
                        || fold(&String::from_utf8_lossy(name)).contains(wanted.as_str())
                })
        }),
    }
}

/// From the envelope where it says the same as the letter, else from the letter.
fn has_header(facts: &Facts<'_>, name: &[u8], wanted: &str) -> Option<bool> {
    if let Known::Yes(envelope) = facts.envelope
        && let Some(value) = facts.header_forms.value(envelope, name)
    {
        return Some(value.is_some_and(|value| shown_value(&value).contains(wanted)));
    }
    facts.text.asks(|letter| {
        letter.fields.iter().any(|(field, value)| field == name && value.contains(wanted))
    })
}

/// The value of a field as it is searched.
fn shown_value(unfolded: &[u8]) -> String {
    fold(&content::decoded_header(unfolded))
}

impl<T> Known<T> {
    fn asks(&self, question: impl FnOnce(&T) -> bool) -> Option<bool> {
        match self {
            Self::NotYet => None,
            Self::Yes(fact) => Some(question(fact)),
            Self::Never => Some(false),
        }
    }
}

/// False as soon as one is false, even when others are unknown: that is what saves the work.
fn all(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut is_known = true;
    for answer in answers {
        match answer {
            Some(true) => {}
            Some(false) => return Some(false),
            None => is_known = false,
        }
    }
    is_known.then_some(true)
}

fn has_flag(flags: &Flags, flag: SystemFlag) -> bool {
    match flag {
        SystemFlag::Answered => flags.answered,
        SystemFlag::Deleted => flags.deleted,
        SystemFlag::Draft => flags.draft,
        SystemFlag::Flagged => flags.flagged,
        SystemFlag::Seen => flags.seen,
    }
}

fn is_when(day: Day, when: When, wanted: Day) -> bool {
    match when {
        When::Before => day < wanted,
        When::On => day == wanted,
        When::Since => day >= wanted,
    }
}

fn addresses(envelope: &EnvelopeFields, field: AddressField) -> &[EnvelopeAddress] {
    match field {
        AddressField::From => &envelope.from,
        AddressField::To => &envelope.to,
        AddressField::Cc => &envelope.cc,
        AddressField::Bcc => &envelope.bcc,
    }
}

/// An address as people read it: `name <mailbox@host>`.
fn shown(address: &EnvelopeAddress) -> String {
    let part = |part: &Option<Vec<u8>>| {
        part.as_ref().map(|octets| String::from_utf8_lossy(octets).into_owned()).unwrap_or_default()
    };
    let name = address.name.as_ref().map(|name| content::decoded_header(name)).unwrap_or_default();
    format!("{name} <{}@{}>", part(&address.mailbox), part(&address.host))
}

/// One form for all spellings of a text: composed, in lower case. RFC 3501 §6.4.4 asks for
/// matching without case; in French that must hold for É as well.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfkc().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::cursor::Cursor;
    use crate::proto::imap::cursor::Piece;

    fn query(text: &str) -> Query {
        let pieces = [Piece::Text(text.as_bytes().to_vec())];
        Query::new(&SearchKey::parse_all(&mut Cursor::new(&pieces)).unwrap(), 9, 90)
    }

    fn facts<'a>(flags: &'a Flags) -> Facts<'a> {
        Facts {
            sequence: 3,
            uid: 30,
            flags,
            internal_date: Timestamp::from_seconds(1_795_388_399), // 2026-11-22T22:59:59Z
            size: 1_000,
            envelope: Known::NotYet,
            header_forms: HeaderForms::default(),
            text: Known::NotYet,
        }
    }

    #[test]
    fn what_the_row_tells_needs_nothing_else() {
        let flags = Flags { seen: true, keywords: ["$Done".to_owned()].into(), ..Flags::default() };
        let check = |text: &str, expected: Option<bool>| {
            assert_eq!(query(text).matches(&facts(&flags)), expected, "{text}");
        };
        check("ALL", Some(true));
        check("SEEN", Some(true));
        check("UNSEEN", Some(false));
        check("NOT SEEN", Some(false));
        check("NEW", Some(false));
        check("OLD", Some(true));
        check("KEYWORD $done", Some(true));
        check("UNKEYWORD other", Some(true));
        check("1:3", Some(true));
        check("*", Some(false));
        check("UID 30,90:*", Some(true));
        check("ON 22-Nov-2026", Some(true));
        check("BEFORE 22-Nov-2026", Some(false));
        check("SINCE 22-Nov-2026", Some(true));
        check("LARGER 999 SMALLER 1001", Some(true));
        check("LARGER 1000", Some(false));
        check("OR DELETED SEEN", Some(true));
        check("OR DELETED (FLAGGED SEEN)", Some(false));
        check("SUBJECT x", None);
        check("UNSEEN SUBJECT x", Some(false));
        check("OR SEEN TEXT x", Some(true));
        check("NOT (UNSEEN BODY x)", Some(true));
    }

    #[test]
    fn the_envelope_is_searched_without_case_in_french_too() {
        let flags = Flags::default();
        let envelope = EnvelopeFields {
            date: Some(b"Sat, 21 Nov 2026 23:59:59 -0800".to_vec()),
            from: vec![EnvelopeAddress {
                name: None,
                mailbox: Some("hélène".into()),
                host: Some(b"hopital.mssante.test".to_vec()),
            }],
            ..EnvelopeFields::default()
        };
        let check = |text: &str, expected: Option<bool>| {
            let facts = Facts { envelope: Known::Yes(&envelope), ..facts(&flags) };
            assert_eq!(query(text).matches(&facts), expected, "{text}");
        };
        check("FROM HOPITAL.mssante", Some(true));
        check("FROM @hopital", Some(true));
        check("FROM \"HÉLÈNE@\"", Some(true));
        check("TO hopital", Some(false));
        check("SENTON 21-Nov-2026", Some(true));
        check("SENTSINCE 22-Nov-2026", Some(false));
        check("SENTBEFORE 22-Nov-2026", Some(true));
        check("SUBJECT \"\"", Some(false));
    }

    #[test]
    fn a_message_that_cannot_be_opened_matches_no_text() {
        let flags = Flags::default();
        let facts = Facts { envelope: Known::Never, text: Known::Never, ..facts(&flags) };
        assert_eq!(query("TEXT a").matches(&facts), Some(false));
        assert_eq!(query("OR TEXT a ALL").matches(&facts), Some(true));
    }

    #[test]
    fn composed_and_decomposed_letters_are_one() {
        assert_eq!(fold("E\u{301}tude"), fold("étude"));
        assert_eq!(fold("ABC"), "abc");
    }

    /// The same letter asked both ways: sealed, with its envelope, and open.
    #[test]
    fn what_the_envelope_answers_about_a_header_is_what_the_letter_would_answer() {
        let letters: [&[u8]; 8] = [
            b"From: Dr A <a@x.test>\r\nTo: b@y.test, \"C D\" <c@y.test>\r\nSubject: Un\r\n deux\r\nMessage-ID: <1@x>\r\n\r\nbody",
            b"From: \"Dr A\" <a@x.test>\r\nTo: b@y.test,c@y.test\r\nSubject: =?UTF-8?Q?R=C3=A9sultat?=\r\nDate: Sat, 21 Nov 2026 10:00:00 +0100 (CET)\r\n\r\n",
            b"Subject: one\r\nSubject: two\r\nMessage-Id:<2@x>\r\nMessage-ID: <1@x>\r\n\r\n",
            b"from: a@x.test (Dr A)\r\nReply-To: group: b@y.test;\r\nIn-Reply-To: <1@x>  \r\n\t<2@x>\r\n\r\n",
            b"From: =?UTF-8?Q?D?= =?UTF-8?Q?r?= <a@x.test>\r\nCc: <b@y.test>\r\nSender: \"a\\\"b\" <a@x.test>\r\n\r\n",
            b"To:\r\nSubject:\r\nBcc: , ,\r\nDate: \r\n \r\n\r\n",
            b"no field\r\nSubject : a\r\n: b\r\n\r\nSubject: c",
            b"",
        ];
        let names = ["From", "to", "CC", "bcc", "Subject", "Date", "Sender", "Reply-To"];
        let names = names.into_iter().chain(["In-Reply-To", "Message-ID", "X-Other"]);
        let wanted = ["", "1@x", "2@x", "dr", "\"dr a\"", "<a@x", "b@y.test, ", "deux", "one"];
        let wanted =
            wanted.into_iter().chain(["two", "r\u{e9}sultat", "cet", "group", "<1@x>  \t<2"]);
        let wanted: Vec<&str> = wanted.collect();
        let flags = Flags::default();
        let mut from_envelope = 0;
        for name in names {
            for (letter, wanted) in letters.iter().flat_map(|l| wanted.iter().map(move |w| (l, w)))
            {
                let key = SearchKey::Header(name.into(), wanted.as_bytes().to_vec());
                let query = Query::new(&key, 9, 90);
                let summary = crate::proto::mime::summary::summarise(letter);
                let folded = FoldedLetter::new(letter);
                let open = Facts { text: Known::Yes(&folded), ..facts(&flags) };
                let sealed = Facts {
                    envelope: Known::Yes(&summary.envelope),
                    header_forms: summary.header_forms,
                    ..facts(&flags)
                };
                let expected = query.matches(&open).unwrap();
                let answer = query.matches(&sealed);
                let letter = String::from_utf8_lossy(letter);
                assert!(answer.is_none_or(|is| is == expected), "{name} {wanted} {letter}");
                from_envelope += usize::from(answer.is_some());
            }
        }
        assert!(from_envelope > 700, "{from_envelope}");
    }
}
