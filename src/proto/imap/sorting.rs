//! In which order? SORT over summaries (RFC 5256 §2.2 and §3, RFC 5957 §3). No body is opened.
use std::cmp::Ordering;

use jiff::civil;
use jiff::tz::TimeZone;

use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::proto::imap::casemap;
use crate::proto::imap::command::SortCriterion;
use crate::proto::imap::command::SortKey;
use crate::proto::imap::date;
use crate::proto::imap::subject;
use crate::proto::mime::content;
use crate::proto::mime::summary::EnvelopeAddress;
use crate::proto::mime::summary::EnvelopeFields;

/// What is told of one message.
pub struct Sortable<'a> {
    /// Its UID; ascending UIDs are ascending sequence numbers.
    pub uid: u32,
    /// When it arrived.
    pub internal_date: Timestamp,
    /// Its octets.
    pub size: u64,
    /// Its envelope.
    pub envelope: &'a EnvelopeFields,
}

/// Gathers the keys of messages and sorts them. Texts lie one behind the other, each cut at
/// `limits::SORT_KEY_OCTETS_MAX`, so that what it takes is known.
pub struct Sorter {
    criteria: Vec<SortCriterion>,
    uids: Vec<u32>,
    /// As many for each message as there are criteria: a number, or a place in the texts.
    keys: Vec<u64>,
    texts: Vec<u8>,
}

/// More messages or longer texts than are sorted at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Sorter {
    /// Sorts by these, the first one first. One that comes again says nothing new.
    pub fn new(criteria: &[SortCriterion]) -> Self {
        let mut once: Vec<SortCriterion> = Vec::with_capacity(criteria.len());
        for criterion in criteria {
            if once.iter().all(|before| before.key != criterion.key) {
                once.push(*criterion);
            }
        }
        Self { criteria: once, uids: Vec::new(), keys: Vec::new(), texts: Vec::new() }
    }

    /// True when envelopes decide.
    pub fn asks_envelopes(criteria: &[SortCriterion]) -> bool {
        criteria.iter().any(|criterion| !matches!(criterion.key, SortKey::Arrival | SortKey::Size))
    }

    /// One more message.
    pub fn add(&mut self, message: &Sortable<'_>) -> Result<(), TooMany> {
        if self.uids.len() >= limits::ORDERED_MESSAGES_MAX {
            return Err(TooMany);
        }
        self.uids.push(message.uid);
        for place in 0..self.criteria.len() {
            let key = self.key(self.criteria[place].key, message)?;
            self.keys.push(key);
        }
        Ok(())
    }

    fn key(&mut self, key: SortKey, message: &Sortable<'_>) -> Result<u64, TooMany> {
        let envelope = message.envelope;
        let text = match key {
            SortKey::Arrival => return Ok(message.internal_date.as_millis()),
            SortKey::Size => return Ok(message.size),
            SortKey::Date => {
                let sent = sent_seconds(envelope, message.internal_date);
                return Ok(sent.wrapping_sub(i64::MIN) as u64);
            }
            SortKey::Cc => mailbox_of(envelope.cc.first()),
            SortKey::From => mailbox_of(envelope.from.first()),
            SortKey::To => mailbox_of(envelope.to.first()),
            SortKey::Subject => {
                let subject = envelope.subject.as_deref().unwrap_or_default();
                subject::base(&content::decoded_header(subject)).text
            }
            SortKey::DisplayFrom => shown_name(envelope.from.first()),
            SortKey::DisplayTo => shown_name(envelope.to.first()),
        };
        let key = casemap::collation_key(&text);
        let key = &key.as_bytes()[..key.len().min(limits::SORT_KEY_OCTETS_MAX)];
        if self.texts.len() + key.len() > limits::SORT_TEXTS_OCTETS_MAX {
            return Err(TooMany);
        }
        let start = self.texts.len() as u64;
        self.texts.extend_from_slice(key);
        Ok(start << 16 | key.len() as u64)
    }

    /// UIDs in the order that was asked for. RFC 5256 §3: what is equal stays in the order of
    /// sequence numbers, with REVERSE as well.
    pub fn sorted(self) -> Vec<u32> {
        let count = self.criteria.len();
        let mut order: Vec<u32> = (0..self.uids.len() as u32).collect();
        order.sort_unstable_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            for (place, criterion) in self.criteria.iter().enumerate() {
                let (one, other) = (self.keys[a * count + place], self.keys[b * count + place]);
                let ordering = match criterion.key {
                    SortKey::Arrival | SortKey::Size | SortKey::Date => one.cmp(&other),
                    _ => self.text(one).cmp(self.text(other)),
                };
                match (ordering, criterion.reverse) {
                    (Ordering::Equal, _) => {}
                    (ordering, false) => return ordering,
                    (ordering, true) => return ordering.reverse(),
                }
            }
            self.uids[a].cmp(&self.uids[b])
        });
        order.into_iter().map(|place| self.uids[place as usize]).collect()
    }

    fn text(&self, key: u64) -> &[u8] {
        let (start, length) = ((key >> 16) as usize, (key & 0xffff) as usize);
        &self.texts[start..start + length]
    }
}

impl Drop for Sorter {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.texts.zeroize();
    }
}

/// `addr-mailbox` of an address.
fn mailbox_of(address: Option<&EnvelopeAddress>) -> String {
    let mailbox = address.and_then(|address| address.mailbox.as_deref()).unwrap_or_default();
    String::from_utf8_lossy(mailbox).into_owned()
}

/// What a person reads of an address (RFC 5957 §3): its name, else the address.
fn shown_name(address: Option<&EnvelopeAddress>) -> String {
    let Some(address) = address else { return String::new() };
    let name = address.name.as_deref().map(content::decoded_header).unwrap_or_default();
    let name = name.trim();
    if !name.is_empty() {
        return name.to_owned();
    }
    let mailbox = mailbox_of(Some(address));
    match address.host.as_deref() {
        Some(host) => format!("{mailbox}@{}", String::from_utf8_lossy(host)),
        // A group has a name and no host.
        None => mailbox,
    }
}

/// The sent date (RFC 5256 §2.2), in seconds since 1970 in UTC: the Date field, or when the
/// message arrived.
pub fn sent_seconds(envelope: &EnvelopeFields, internal_date: Timestamp) -> i64 {
    let sent = envelope.date.as_deref().and_then(header_seconds);
    sent.unwrap_or_else(|| i64::try_from(internal_date.as_seconds()).unwrap_or(i64::MAX))
}

/// RFC 5322 §3.3, with the old forms of its §4.3. A time that is none is midnight, a zone that
/// is none is UTC (RFC 5256 §2.2).
fn header_seconds(field: &[u8]) -> Option<i64> {
    let day = date::day_of_header(field)?;
    let text = String::from_utf8_lossy(field);
    let text = text.split_once(',').map_or(&*text, |(_, date)| date);
    let mut words = text.split_ascii_whitespace().skip(3);
    let time = words.next().and_then(time_of_day);
    let offset = words.next().filter(|_| time.is_some()).and_then(zone_seconds).unwrap_or(0);
    let date = civil::Date::new(day.year, day.month, day.day).ok()?;
    let midnight = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    Some(midnight + i64::from(time.unwrap_or(0)) - i64::from(offset))
}

/// `hh:mm` or `hh:mm:ss`, in seconds.
fn time_of_day(text: &str) -> Option<i32> {
    let mut numbers = text.split(':').map(|part| {
        let is_number = (1..=2).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
        is_number.then(|| part.parse::<i32>().ok()).flatten()
    });
    let (hour, minute) = (numbers.next()??, numbers.next()??);
    let second = numbers.next().unwrap_or(Some(0))?;
    let is_time = hour < 24 && minute < 60 && second <= 60 && numbers.next().is_none();
    is_time.then_some(hour * 3_600 + minute * 60 + second)
}

/// `+0100`, or an old name (RFC 5322 §4.3).
fn zone_seconds(text: &str) -> Option<i32> {
    let names = [("EDT", -4), ("EST", -5), ("CDT", -5), ("CST", -6), ("MDT", -6), ("MST", -7)];
    let mut names = names.into_iter().chain([("PDT", -7), ("PST", -8)]);
    if let Some((_, hours)) = names.find(|(name, _)| text.eq_ignore_ascii_case(name)) {
        return Some(hours * 3_600);
    }
    let (sign, digits) = match text.as_bytes() {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let [a, b, c, d] = digits else { return None };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |high: &u8, low: &u8| i32::from(high - b'0') * 10 + i32::from(low - b'0');
    let (hours, minutes) = (number(a, b), number(c, d));
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(date: &str, from: &str, subject: &str) -> EnvelopeFields {
        let letter = format!("Date: {date}\r\nFrom: {from}\r\nSubject: {subject}\r\n\r\n");
        crate::proto::mime::summary::summarise(letter.as_bytes()).envelope
    }

    fn sorted(letters: &[EnvelopeFields], criteria: &[(SortKey, bool)]) -> Vec<u32> {
        let criteria: Vec<SortCriterion> = criteria
            .iter()
            .map(|(key, reverse)| SortCriterion { key: *key, reverse: *reverse })
            .collect();
        let mut sorter = Sorter::new(&criteria);
        for (at, envelope) in letters.iter().enumerate() {
            let uid = at as u32 + 1;
            let internal_date = Timestamp::from_seconds(1_000_000 - u64::from(uid));
            sorter
                .add(&Sortable { uid, internal_date, size: u64::from(uid % 2), envelope })
                .unwrap();
        }
        sorter.sorted()
    }

    #[test]
    fn sent_dates_are_compared_in_utc() {
        for (field, seconds) in [
            ("Thu, 1 Jan 1970 01:00:00 +0100", Some(0)),
            ("1 Jan 70 00:00 GMT", Some(0)),
            ("Thu, 1 Jan 1970 00:00:10 EST", Some(5 * 3_600 + 10)),
            ("Thu, 1 Jan 1970 00:00:10 what", Some(10)),
            ("Thu, 1 Jan 1970 00:00:10", Some(10)),
            ("Thu, 1 Jan 1970 25:00:10 +0100", Some(0)),
            ("Thu, 1 Jan 1970", Some(0)),
            ("Wed, 31 Dec 1969 23:00:00 -0000 (UTC)", Some(-3_600)),
            ("soon", None),
        ] {
            assert_eq!(header_seconds(field.as_bytes()), seconds, "{field}");
        }
        let at = Timestamp::from_seconds(42);
        assert_eq!(sent_seconds(&envelope("soon", "a@b", ""), at), 42);
        assert_eq!(sent_seconds(&EnvelopeFields::default(), at), 42);
    }

    #[test]
    fn messages_are_sorted_by_each_criterion() {
        let letters = [
            envelope(
                "Thu, 1 Jan 1970 03:00:00 +0000",
                "=?utf-8?q?=C3=89mile?= <z@x.test>",
                "Re: b",
            ),
            envelope("Thu, 1 Jan 1970 03:00:00 +0200", "\"alice\" <Y@x.test>", "A"),
            envelope("Thu, 1 Jan 1970 02:00:00 +0000", "<b@x.test>", "[list] B (fwd)"),
            envelope("none", "Zo\u{eb} <a@x.test>", ""),
        ];
        let check = |criteria: &[(SortKey, bool)], expected: [u32; 4]| {
            assert_eq!(sorted(&letters, criteria), expected, "{criteria:?}");
        };
        check(&[(SortKey::Arrival, false)], [4, 3, 2, 1]);
        check(&[(SortKey::Arrival, true)], [1, 2, 3, 4]);
        check(&[(SortKey::Date, false)], [2, 3, 1, 4]);
        check(&[(SortKey::From, false)], [4, 3, 2, 1]);
        check(&[(SortKey::DisplayFrom, false)], [2, 3, 1, 4]);
        check(&[(SortKey::Subject, false)], [4, 2, 1, 3]);
        check(&[(SortKey::Subject, true)], [1, 3, 2, 4]);
        check(&[(SortKey::Subject, false), (SortKey::Date, false)], [4, 2, 3, 1]);
        check(&[(SortKey::Size, true)], [1, 3, 2, 4]);
        check(&[(SortKey::Cc, false)], [1, 2, 3, 4]);
        check(&[(SortKey::Cc, true), (SortKey::To, true)], [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_sorted_at_once_is_bounded() {
        let mut sorter = Sorter::new(&[SortCriterion { key: SortKey::Subject, reverse: false }]);
        let envelope =
            EnvelopeFields { subject: Some(vec![b'a'; 600]), ..EnvelopeFields::default() };
        let mut added = 0;
        let internal_date = Timestamp::from_seconds(0);
        while sorter
            .add(&Sortable { uid: added + 1, internal_date, size: 0, envelope: &envelope })
            .is_ok()
        {
            added += 1;
        }
        assert_eq!(added as usize, limits::SORT_TEXTS_OCTETS_MAX / limits::SORT_KEY_OCTETS_MAX);
    }
}
