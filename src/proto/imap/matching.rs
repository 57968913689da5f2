//! Does a message answer a search? Asked in stages, so that no body is opened in vain.
use std::ops::RangeInclusive;

use crate::domain::folder::Flags;
use crate::domain::folder::ModSeq;
use crate::domain::folder::UidSet;
use crate::domain::time::Day;
use crate::domain::time::Timestamp;
use crate::domain::time::Zone;
use crate::domain::time::ZonedTime;
use crate::proto::imap::casemap::fold;
use crate::proto::imap::date;
use crate::proto::imap::folded;
use crate::proto::imap::folded::FoldedLetter;
use crate::proto::imap::folded::Needle;
use crate::proto::imap::folded::Signature;
use crate::proto::imap::folded::SignatureKey;
use crate::proto::imap::search::AddressField;
use crate::proto::imap::search::SearchKey;
use crate::proto::imap::search::SystemFlag;
use crate::proto::imap::search::When;
use crate::proto::imap::sequence;
use crate::proto::imap::sequence::SequenceSet;
use crate::proto::mime::content;
use crate::proto::mime::forms;
use crate::proto::mime::forms::HeaderForms;
use crate::proto::mime::summary::EnvelopeAddress;
use crate::proto::mime::summary::EnvelopeFields;

/// A search, made ready for one mailbox: sets resolved, texts folded.
#[derive(Debug)]
pub struct Query(Node);

/// Where and when a search is asked.
pub struct Scope<'a> {
    /// Messages in the session's view.
    pub exists: u32,
    /// The largest UID in it.
    pub last_uid: u32,
    /// UIDs that the last search saved: `$` (RFC 5182 §2.1).
    pub saved: &'a UidSet,
    /// Now, for OLDER and YOUNGER.
    pub now: Timestamp,
    /// Of the texts; UTF-8 when `None`.
    pub charset: Option<&'a [u8]>,
}

/// The charset of a search is none that we know (RFC 3501 §6.4.4 `BADCHARSET`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCharset;

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
    /// The zone in which that is shown.
    pub zone: Zone,
    /// When it came into its folder.
    pub saved: Timestamp,
    /// Its octets.
    pub size: u64,
    /// Its last change.
    pub modseq: ModSeq,
    /// EMAILID (RFC 8474 §5.1); only where [`Query::asks_ids`].
    pub email_id: &'a str,
    /// THREADID (RFC 8474 §5.2); only where [`Query::asks_ids`].
    pub thread_id: &'a str,
    /// Its envelope.
    pub envelope: Known<&'a EnvelopeFields>,
    /// Which fields the envelope tells as they stand in the letter; none while it is not known.
    pub header_forms: HeaderForms,
    /// What its text may hold, and the key of that.
    pub signature: Option<(&'a Signature, SignatureKey)>,
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

#[derive(Debug)]
enum Node {
    All(Vec<Node>),
    Either(Box<(Node, Node)>),
    Not(Box<Node>),
    Constant(bool),
    Sequences(Vec<RangeInclusive<u32>>),
    Uids(Vec<RangeInclusive<u32>>),
    SavedUids(UidSet),
    Flag(SystemFlag, bool),
    Keyword(String, bool),
    Addresses(AddressField, String),
    Subject(String),
    Header(Vec<u8>, Needle),
    Body(Needle),
    Text(Needle),
    Internal(When, Day),
    /// At this moment or before it.
    InternalUntil(Timestamp),
    /// At this moment or after it.
    InternalFrom(Timestamp),
    Saved(When, Day),
    Sent(When, Day),
    Larger(u32),
    Smaller(u32),
    ModSeq(u64),
    EmailId(String),
    ThreadId(String),
}

/// What part of the facts a node asks about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Envelope,
    Text,
    Ids,
}

impl Query {
    /// Prepares `key`.
    pub fn new(key: &SearchKey, scope: &Scope<'_>) -> Result<Self, BadCharset> {
        if scope.charset.is_some_and(|charset| content::charset_text(charset, b"").is_none()) {
            return Err(BadCharset);
        }
        Ok(Self(prepare(key, scope)))
    }

    /// Whether the message answers; `None` when a fact that is [`Known::NotYet`] decides.
    pub fn matches(&self, facts: &Facts<'_>) -> Option<bool> {
        matches(&self.0, facts)
    }

    /// False when the message's numbers alone say that it does not answer.
    pub fn may_match(&self, sequence: u32, uid: u32) -> bool {
        by_numbers(&self.0, sequence, uid) != Some(false)
    }

    /// True when envelopes may decide.
    pub fn asks_envelopes(&self) -> bool {
        asks(&self.0, Source::Envelope)
    }

    /// True when EMAILID or THREADID may decide.
    pub fn asks_ids(&self) -> bool {
        asks(&self.0, Source::Ids)
    }

    /// True when texts may decide.
    pub fn asks_texts(&self) -> bool {
        asks(&self.0, Source::Text)
    }
}

/// True when MODSEQ is among the keys (RFC 7162 §3.1.5).
pub fn asks_modseq(key: &SearchKey) -> bool {
    match key {
        SearchKey::ModSeq(_) => true,
        SearchKey::And(keys) => keys.iter().any(asks_modseq),
        SearchKey::Or(keys) => asks_modseq(&keys.0) || asks_modseq(&keys.1),
        SearchKey::Not(key) => asks_modseq(key),
        _ => false,
    }
}

fn prepare(key: &SearchKey, scope: &Scope<'_>) -> Node {
    let read = |octets: &[u8]| {
        let in_charset = scope.charset.and_then(|charset| content::charset_text(charset, octets));
        in_charset.unwrap_or_else(|| String::from_utf8_lossy(octets).into_owned())
    };
    let needle = |octets: &[u8]| Needle::new(&read(octets));
    let set = |set: &SequenceSet, last, node: fn(Vec<RangeInclusive<u32>>) -> Node| {
        if set.is_saved() { Node::SavedUids(scope.saved.clone()) } else { node(set.resolve(last)) }
    };
    let ago = |seconds: u32| {
        let milliseconds = u64::from(seconds).saturating_mul(1_000);
        Timestamp::from_millis(scope.now.as_millis().saturating_sub(milliseconds))
    };
    match key {
        SearchKey::And(keys) => {
            let mut nodes: Vec<Node> = keys.iter().map(|key| prepare(key, scope)).collect();
            // What costs least may spare the rest.
            nodes.sort_by_key(cost);
            Node::All(nodes)
        }
        SearchKey::Or(keys) => {
            let mut nodes = (prepare(&keys.0, scope), prepare(&keys.1, scope));
            if cost(&nodes.1) < cost(&nodes.0) {
                nodes = (nodes.1, nodes.0);
            }
            Node::Either(Box::new(nodes))
        }
        SearchKey::Not(key) => Node::Not(Box::new(prepare(key, scope))),
        SearchKey::Numbers(numbers) => set(numbers, scope.exists, Node::Sequences),
        SearchKey::Uids(numbers) => set(numbers, scope.last_uid, Node::Uids),
        SearchKey::Flag(flag, is_set) => Node::Flag(*flag, *is_set),
        SearchKey::Keyword(keyword, is_set) => Node::Keyword(keyword.clone(), *is_set),
        // We tell no session that a message is recent (RFC 3501 §2.3.2 lets more than one
        // session, or none, be told), so every message is old.
        SearchKey::Recent(is_recent) => Node::Constant(!is_recent),
        SearchKey::Addresses(field, value) => Node::Addresses(*field, fold(&read(value))),
        SearchKey::Subject(value) => Node::Subject(fold(&read(value))),
        SearchKey::Header(name, value) => Node::Header(name.to_ascii_lowercase(), needle(value)),
        SearchKey::Body(value) => Node::Body(needle(value)),
        SearchKey::Text(value) => Node::Text(needle(value)),
        SearchKey::Internal(when, day) => Node::Internal(*when, *day),
        SearchKey::Sent(when, day) => Node::Sent(*when, *day),
        SearchKey::Larger(octets) => Node::Larger(*octets),
        SearchKey::Smaller(octets) => Node::Smaller(*octets),
        SearchKey::ModSeq(modseq) => Node::ModSeq(*modseq),
        SearchKey::Older(seconds) => Node::InternalUntil(ago(*seconds)),
        SearchKey::Younger(seconds) => Node::InternalFrom(ago(*seconds)),
        SearchKey::Saved(when, day) => Node::Saved(*when, *day),
        SearchKey::SaveDateSupported => Node::Constant(true),
        SearchKey::EmailId(id) => Node::EmailId(id.clone()),
        SearchKey::ThreadId(id) => Node::ThreadId(id.clone()),
    }
}

/// What it takes to answer, roughly: numbers, rows, envelopes, texts.
fn cost(node: &Node) -> u8 {
    match node {
        Node::Constant(_) | Node::Sequences(_) | Node::Uids(_) | Node::SavedUids(_) => 0,
        Node::Addresses(..) | Node::Subject(_) | Node::Sent(..) => 2,
        Node::Header(..) => 3,
        Node::Body(_) | Node::Text(_) => 4,
        Node::All(nodes) => nodes.iter().map(cost).max().unwrap_or(0),
        Node::Either(nodes) => cost(&nodes.0).max(cost(&nodes.1)),
        Node::Not(node) => cost(node),
        _ => 1,
    }
}

fn asks(node: &Node, source: Source) -> bool {
    match node {
        Node::All(nodes) => nodes.iter().any(|node| asks(node, source)),
        Node::Either(nodes) => asks(&nodes.0, source) || asks(&nodes.1, source),
        Node::Not(node) => asks(node, source),
        Node::Addresses(..) | Node::Subject(_) | Node::Sent(..) => source == Source::Envelope,
        Node::EmailId(_) | Node::ThreadId(_) => source == Source::Ids,
        Node::Header(name, _) => match source {
            Source::Envelope => forms::is_of_envelope(name),
            Source::Text => true,
            Source::Ids => false,
        },
        Node::Body(_) | Node::Text(_) => source == Source::Text,
        _ => false,
    }
}

fn by_numbers(node: &Node, sequence: u32, uid: u32) -> Option<bool> {
    match node {
        Node::All(nodes) => all(nodes.iter().map(|node| by_numbers(node, sequence, uid))),
        Node::Either(nodes) => either([&nodes.0, &nodes.1].map(|n| by_numbers(n, sequence, uid))),
        Node::Not(node) => by_numbers(node, sequence, uid).map(|is| !is),
        Node::Constant(value) => Some(*value),
        Node::Sequences(ranges) => Some(sequence::contains(ranges, sequence)),
        Node::Uids(ranges) => Some(sequence::contains(ranges, uid)),
        Node::SavedUids(uids) => Some(uids.contains(uid)),
        _ => None,
    }
}

fn matches(node: &Node, facts: &Facts<'_>) -> Option<bool> {
    match node {
        Node::All(nodes) => all(nodes.iter().map(|node| matches(node, facts))),
        Node::Either(nodes) => {
            // The second is not looked at when the first says yes: it may be the letter's text.
            match matches(&nodes.0, facts) {
                Some(true) => Some(true),
                first => either([first, matches(&nodes.1, facts)]),
            }
        }
        Node::Not(node) => matches(node, facts).map(|is| !is),
        Node::Constant(_) | Node::Sequences(_) | Node::Uids(_) | Node::SavedUids(_) => {
            by_numbers(node, facts.sequence, facts.uid)
        }
        Node::Flag(flag, is_set) => Some(has_flag(facts.flags, *flag) == *is_set),
        Node::Keyword(keyword, is_set) => Some(facts.flags.has_keyword(keyword) == *is_set),
        Node::Internal(when, day) => {
            let arrived = ZonedTime { at: facts.internal_date, zone: facts.zone };
            Some(is_when(date::day_of(arrived), *when, *day))
        }
        Node::InternalUntil(moment) => Some(facts.internal_date <= *moment),
        Node::InternalFrom(moment) => Some(facts.internal_date >= *moment),
        Node::Saved(when, day) => Some(is_when(date::day_of(facts.saved.into()), *when, *day)),
        Node::Larger(octets) => Some(facts.size > u64::from(*octets)),
        Node::Smaller(octets) => Some(facts.size < u64::from(*octets)),
        Node::ModSeq(modseq) => Some(facts.modseq.0 >= *modseq),
        Node::EmailId(id) => Some(facts.email_id == id),
        Node::ThreadId(id) => Some(facts.thread_id == id),
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
        Node::Body(wanted) => in_text(facts, wanted, |letter| letter.body_holds(wanted)),
        Node::Text(wanted) => in_text(facts, wanted, |letter| letter.holds(wanted)),
    }
}

/// From the envelope where it says the same as the letter, else from the letter.
fn has_header(facts: &Facts<'_>, name: &[u8], wanted: &Needle) -> Option<bool> {
    if let Known::Yes(envelope) = facts.envelope
        && let Some(value) = facts.header_forms.value(envelope, name)
    {
        return Some(
            value.is_some_and(|value| folded::shown_value(&value).contains(wanted.text())),
        );
    }
    in_text(facts, wanted, |letter| letter.field_holds(name, wanted))
}

/// From the letter, unless its signature says no.
fn in_text(
    facts: &Facts<'_>,
    wanted: &Needle,
    question: impl FnOnce(&FoldedLetter) -> bool,
) -> Option<bool> {
    match (facts.text, facts.signature) {
        (Known::NotYet, Some((signature, key))) if !signature.may_hold(wanted, key) => Some(false),
        (text, _) => text.asks(question),
    }
}

impl<T> Known<T> {
    fn asks(self, question: impl FnOnce(T) -> bool) -> Option<bool> {
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

fn either(answers: [Option<bool>; 2]) -> Option<bool> {
    all(answers.into_iter().map(|answer| answer.map(|is| !is))).map(|neither| !neither)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::cursor::Cursor;
    use crate::proto::imap::cursor::Piece;

    fn query(text: &str) -> Query {
        let pieces = [Piece::Text(text.as_bytes().to_vec())];
        ready(&SearchKey::parse_all(&mut Cursor::new(&pieces)).unwrap())
    }

    fn ready(key: &SearchKey) -> Query {
        let saved = [30].into_iter().collect();
        let now = Timestamp::from_seconds(1_795_388_399 + 60);
        let scope = Scope { exists: 9, last_uid: 90, saved: &saved, now, charset: None };
        Query::new(key, &scope).unwrap()
    }

    fn facts<'a>(flags: &'a Flags) -> Facts<'a> {
        Facts {
            sequence: 3,
            uid: 30,
            flags,
            internal_date: Timestamp::from_seconds(1_795_388_399), // 2026-11-22T22:59:59Z
            zone: Zone::UTC,
            saved: Timestamp::from_seconds(1_795_388_399 + 1), // the next day in UTC it is not
            size: 1_000,
            modseq: ModSeq(7),
            email_id: "M1",
            thread_id: "T1",
            envelope: Known::NotYet,
            header_forms: HeaderForms::default(),
            signature: None,
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
    fn rows_tell_ages_changes_and_identities() {
        let flags = Flags::default();
        let check = |key: SearchKey, expected: bool| {
            assert_eq!(ready(&key).matches(&facts(&flags)), Some(expected), "{key:?}");
        };
        check(SearchKey::Older(60), true);
        check(SearchKey::Older(61), false);
        check(SearchKey::Younger(60), true);
        check(SearchKey::Younger(59), false);
        check(SearchKey::Older(u32::MAX), false);
        check(SearchKey::ModSeq(7), true);
        check(SearchKey::ModSeq(8), false);
        check(SearchKey::SaveDateSupported, true);
        check(SearchKey::EmailId("M1".to_owned()), true);
        check(SearchKey::EmailId("m1".to_owned()), false);
        check(SearchKey::ThreadId("T1".to_owned()), true);
        check(SearchKey::ThreadId("T".to_owned()), false);
    }

    #[test]
    fn numbers_alone_rule_messages_out() {
        for (text, may) in
            [("1:2", false), ("1:2 SEEN", false), ("OR 1 SEEN", true), ("NOT 3", false)]
        {
            assert_eq!(query(text).may_match(3, 30), may, "{text}");
        }
    }

    #[test]
    fn a_signature_says_no_before_the_letter_is_opened() {
        let letter = FoldedLetter::new(b"Subject: a\r\n\r\nBonjour");
        let key = SignatureKey::new(&[3; 32]);
        let signature = Signature::new(&letter, key);
        let flags = Flags::default();
        let check = |text: &str, expected: Option<bool>| {
            let facts = Facts { signature: Some((&signature, key)), ..facts(&flags) };
            assert_eq!(query(text).matches(&facts), expected, "{text}");
        };
        check("TEXT bonjour", None);
        check("TEXT absent", Some(false));
        check("NOT BODY absent", Some(true));
        check("TEXT ab", None);
        check("HEADER X-Other absent", Some(false));
    }

    #[test]
    fn texts_come_in_charsets() {
        let saved = UidSet::new();
        let now = Timestamp::from_seconds(0);
        let scope = |charset| Scope { exists: 9, last_uid: 90, saved: &saved, now, charset };
        let key = SearchKey::Subject(b"\xe9t\xe9".to_vec());
        let query = Query::new(&key, &scope(Some(b"iso-8859-1"))).unwrap();
        let flags = Flags::default();
        let subject = Some("=?utf-8?q?=C3=89t=C3=A9?=".into());
        let envelope = EnvelopeFields { subject, ..EnvelopeFields::default() };
        let facts = Facts { envelope: Known::Yes(&envelope), ..facts(&flags) };
        assert_eq!(query.matches(&facts), Some(true));
        assert!(Query::new(&key, &scope(Some(b"x-unknown"))).is_err());
        for known in [&b"US-ASCII"[..], b"utf-8", b"UTF-8"] {
            assert!(Query::new(&key, &scope(Some(known))).is_ok());
        }
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
                let query = ready(&key);
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
