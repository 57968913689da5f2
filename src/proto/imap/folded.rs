//! A letter made ready for text searches, and a short signature that tells most letters apart
//! from a text without opening them.
//!
//! A signature holds which runs of three octets occur in a letter, as a set that may hold too
//! much and never too little: hashed with a key of the mailbox, two bits a run. A letter whose
//! signature lacks a run of the text that is searched does not hold the text. The others are
//! opened, so that results are exact.
use zeroize::Zeroize;

use crate::proto::imap::casemap::fold;
use crate::proto::mime::content;
use crate::proto::mime::header;

/// Changes whenever [`FoldedLetter::new`] or [`Signature::new`] would make something else of the
/// same letter: what was learnt before counts for nothing then. A test watches it.
pub const INDEXED_FORM: u32 = 1;

/// Bits of a signature for each different run; two of them are set.
const BITS_PER_RUN: usize = 5;
/// Octets of the shortest signature.
const SIGNATURE_OCTETS_MIN: usize = 16;
/// Octets of the longest signature. A letter of a megabyte has some 12,000 different runs; one
/// that has many more is opened in vain more often, that is all.
pub const SIGNATURE_OCTETS_MAX: usize = 8_192;
/// Runs of a searched text that are looked up; the first ones of a long text tell enough.
const RUNS_ASKED_MAX: usize = 64;
/// Texts from here on are noted in a table of all runs, shorter ones in a list.
const TABLE_FROM_OCTETS: usize = 65_536;
/// All runs of three octets.
const RUNS: usize = 1 << 24;

/// A letter made ready for text searches.
pub struct FoldedLetter {
    fields: Vec<Field>,
    body: String,
}

/// `name: value`, decoded and folded.
struct Field {
    /// As it stands in the letter, in lower case.
    name: Vec<u8>,
    line: String,
    value_at: usize,
}

/// A text that is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    text: String,
    runs: Vec<u32>,
}

/// The key of one mailbox's signatures.
#[derive(Clone, Copy)]
pub struct SignatureKey([u64; 2]);

/// What a letter may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature(Box<[u8]>);

impl FoldedLetter {
    /// Decodes and folds a letter. Takes as long as the letter is large. The text of attachments
    /// would be one more text here, and a greater [`INDEXED_FORM`].
    pub fn new(letter: &[u8]) -> Self {
        let fields = header::fields(letter).map(|field| {
            let name = field.name.to_ascii_lowercase();
            let mut line = fold(&String::from_utf8_lossy(&name));
            line.push_str(": ");
            let value_at = line.len();
            line.push_str(&shown_value(&field.unfolded()));
            Field { name, line, value_at }
        });
        Self { fields: fields.collect(), body: fold(&content::searchable_text(letter)) }
    }

    /// True when the text is in the body.
    pub fn body_holds(&self, needle: &Needle) -> bool {
        self.body.contains(&needle.text)
    }

    /// True when the text is in the header or in the body.
    pub fn holds(&self, needle: &Needle) -> bool {
        self.body_holds(needle) || self.fields.iter().any(|field| field.line.contains(&needle.text))
    }

    /// True when a field of that name (in lower case) holds the text.
    pub fn field_holds(&self, name: &[u8], needle: &Needle) -> bool {
        let mut named = self.fields.iter().filter(|field| field.name == name);
        named.any(|field| field.line[field.value_at..].contains(&needle.text))
    }

    /// Octets in memory, about.
    fn octets(&self) -> usize {
        self.body.len() + self.fields.iter().map(|field| field.line.len()).sum::<usize>()
    }

    fn runs(&self) -> impl Iterator<Item = u32> {
        let lines = self.fields.iter().map(|field| field.line.as_str());
        lines.chain([self.body.as_str()]).flat_map(runs)
    }
}

impl Drop for FoldedLetter {
    fn drop(&mut self) {
        self.body.zeroize();
        self.fields.iter_mut().for_each(|field| field.line.zeroize());
    }
}

impl Needle {
    /// A text as people type it.
    pub fn new(text: &str) -> Self {
        let text = fold(text);
        let mut runs: Vec<u32> = runs(&text).collect();
        runs.sort_unstable();
        runs.dedup();
        // Spread over the text: its beginning may be what every letter holds.
        let step = runs.len().div_ceil(RUNS_ASKED_MAX).max(1);
        let runs = runs.into_iter().step_by(step).collect();
        Self { text, runs }
    }

    /// Folded.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True when no signature can tell anything about it.
    pub fn is_short(&self) -> bool {
        self.runs.is_empty()
    }
}

impl SignatureKey {
    /// From octets that only the mailbox's keys can make.
    pub fn new(digest: &[u8; 32]) -> Self {
        let word = |at: usize| {
            digest[at..at + 8].iter().fold(0, |word, octet| word << 8 | u64::from(*octet))
        };
        // A multiplier must be odd to lose nothing.
        Self([word(0), word(8) | 1])
    }

    /// The two places of a run among so many bits.
    fn places(self, run: u32, bits: usize) -> [usize; 2] {
        let mut mixed = (u64::from(run) ^ self.0[0]).wrapping_mul(self.0[1]);
        mixed ^= mixed >> 32;
        mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 29;
        let place = |half: u64| ((half * bits as u64) >> 32) as usize;
        [place(mixed >> 32), place(mixed & 0xffff_ffff)]
    }
}

impl Signature {
    /// The signature of a letter.
    pub fn new(letter: &FoldedLetter, key: SignatureKey) -> Self {
        let distinct = distinct(letter);
        let octets = (distinct.len() * BITS_PER_RUN).div_ceil(8);
        let mut bits = vec![0; octets.clamp(SIGNATURE_OCTETS_MIN, SIGNATURE_OCTETS_MAX)];
        for run in distinct {
            for place in key.places(run, bits.len() * 8) {
                bits[place / 8] |= 1 << (place % 8);
            }
        }
        Self(bits.into())
    }

    /// From its stored octets; `None` when they are none.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        let is_one = (SIGNATURE_OCTETS_MIN..=SIGNATURE_OCTETS_MAX).contains(&octets.len());
        is_one.then(|| Self(octets.into()))
    }

    /// Its stored octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// False when the letter does not hold the text, in whatever place.
    pub fn may_hold(&self, needle: &Needle, key: SignatureKey) -> bool {
        let bits = self.0.len() * 8;
        let is_set = |place: usize| self.0[place / 8] & (1 << (place % 8)) != 0;
        needle.runs.iter().all(|run| key.places(*run, bits).into_iter().all(is_set))
    }
}

/// The value of a field as it is searched.
pub(super) fn shown_value(unfolded: &[u8]) -> String {
    fold(&content::decoded_header(unfolded))
}

/// Every three octets in a row.
fn runs(text: &str) -> impl Iterator<Item = u32> {
    text.as_bytes()
        .windows(3)
        .map(|run| u32::from(run[0]) << 16 | u32::from(run[1]) << 8 | u32::from(run[2]))
}

/// Each run of a letter once.
fn distinct(letter: &FoldedLetter) -> Vec<u32> {
    if letter.octets() < TABLE_FROM_OCTETS {
        let mut list: Vec<u32> = letter.runs().collect();
        list.sort_unstable();
        list.dedup();
        return list;
    }
    let mut table = vec![0_u64; RUNS / 64];
    let mut list = Vec::new();
    for run in letter.runs() {
        let (word, bit) = (&mut table[run as usize / 64], 1 << (run % 64));
        if *word & bit == 0 {
            *word |= bit;
            list.push(run);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LETTER: &str = "From: Dr A <a@x.test>\r\nSubject: =?utf-8?q?R=C3=A9sultat?=\r\n\r\n\
                          Bonjour Madame,\r\nle dossier de Stra\u{df}e 3 est arriv\u{e9}.\r\n";

    fn key() -> SignatureKey {
        SignatureKey::new(&[7; 32])
    }

    #[test]
    fn a_letter_is_searched_in_header_and_body() {
        let letter = FoldedLetter::new(LETTER.as_bytes());
        for (text, in_body, anywhere) in [
            ("MADAME", true, true),
            ("strasse", true, true),
            ("r\u{e9}sultat", false, true),
            ("subject: r\u{c9}s", false, true),
            ("docteur", false, false),
            ("", true, true),
        ] {
            let needle = Needle::new(text);
            assert_eq!(letter.body_holds(&needle), in_body, "{text}");
            assert_eq!(letter.holds(&needle), anywhere, "{text}");
        }
        assert!(letter.field_holds(b"subject", &Needle::new("R\u{e9}sultat")));
        assert!(!letter.field_holds(b"subject", &Needle::new("subject")));
        assert!(!letter.field_holds(b"cc", &Needle::new("")));
    }

    /// When this fails, what mailboxes have learnt is of another form than what they would learn:
    /// raise `INDEXED_FORM` with the new number.
    #[test]
    fn the_form_of_what_is_indexed_has_not_changed() {
        let letter = FoldedLetter::new(LETTER.as_bytes());
        let signature = Signature::new(&letter, key());
        let sum = signature
            .octets()
            .iter()
            .fold(0_u64, |sum, octet| (sum ^ u64::from(*octet)).wrapping_mul(0x100_0000_01b3));
        assert_eq!(
            (INDEXED_FORM, signature.octets().len(), sum),
            (1, 55, 8_872_782_696_220_372_101)
        );
    }

    #[test]
    fn a_signature_rules_out_most_of_what_is_not_there() {
        let text: String = (0..600).map(|n| format!("mot{} ", n * 7919 % 10_007)).collect();
        let letter = FoldedLetter::new(format!("Subject: a\r\n\r\n{text}").as_bytes());
        let signature = Signature::new(&letter, key());
        let wrong = (0..1_000).filter(|n| {
            let needle = Needle::new(&format!("zq{n:04}xk"));
            signature.may_hold(&needle, key())
        });
        assert!(wrong.count() < 50);
    }

    #[test]
    fn other_keys_make_other_signatures() {
        let letter = FoldedLetter::new(LETTER.as_bytes());
        let [one, other] =
            [[7; 32], [8; 32]].map(|k| Signature::new(&letter, SignatureKey::new(&k)));
        assert_ne!(one, other);
    }

    proptest! {
        #[test]
        fn whatever_a_letter_holds_its_signature_may_hold(
            body in "(\\PC|[a-z ]|[\u{300}-\u{345}]){0,200}",
            start in 0_usize..200,
            length in 1_usize..20,
        ) {
            let raw = format!("Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}");
            let letter = FoldedLetter::new(raw.as_bytes());
            let signature = Signature::new(&letter, key());
            let text: String = body.chars().skip(start).take(length).collect();
            let needle = Needle::new(&text);
            prop_assert!(!letter.holds(&needle) || signature.may_hold(&needle, key()));
        }

        #[test]
        fn a_table_notes_what_a_list_notes(words in proptest::collection::vec("[a-z]{1,8}", 1..50)) {
            let body = words.join(" ");
            let long = format!("a: b\r\n\r\n{}", format!("{body} ").repeat(TABLE_FROM_OCTETS / body.len() + 1));
            let letter = FoldedLetter::new(long.as_bytes());
            let mut list: Vec<u32> = letter.runs().collect();
            list.sort_unstable();
            list.dedup();
            let mut table = distinct(&letter);
            table.sort_unstable();
            prop_assert_eq!(table, list);
        }
    }
}
