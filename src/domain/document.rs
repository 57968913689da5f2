//! What the relay knows of the documents in a structured letter: kind, findings, never a name.
use std::fmt;

/// A short code from a document (LOINC `18748-4`, a format URN). Kept in place, so that facts
/// stay small values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentCode {
    octets: [u8; Self::OCTETS_MAX],
    length: u8,
}

impl DocumentCode {
    /// Octets of the longest code; the longest in use are format URNs of some forty.
    pub const OCTETS_MAX: usize = 48;
    /// A row of digits of this length could be somebody's national number.
    const DIGITS_MAX: usize = 10;

    /// Nothing is known.
    pub const UNKNOWN: Self = Self::known("unknown");
    /// There is a code, and it has no form that a ledger may hold.
    pub const OTHER: Self = Self::known("other");

    const fn known(name: &str) -> Self {
        let (from, mut octets, mut at) = (name.as_bytes(), [0; Self::OCTETS_MAX], 0);
        while at < from.len() {
            octets[at] = from[at];
            at += 1;
        }
        Self { octets, length: at as u8 }
    }

    /// Reads a code that a stranger wrote. What is too long, has other characters than codes
    /// have, or holds a row of digits like a national number is `other`: the ledger keeps what
    /// stands here for ever, in clear. An empty one is `unknown`.
    pub fn read(text: &str) -> Self {
        let text = text.trim();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:+/".contains(c);
        if text.is_empty() {
            Self::UNKNOWN
        } else if text.len() > Self::OCTETS_MAX || !text.chars().all(allowed) || is_a_number(text) {
            Self::OTHER
        } else {
            Self::known(text)
        }
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        let octets = self.octets.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(octets).unwrap_or("other")
    }
}

/// Eleven digits in a row, separators left out, where codes have at most eight. The letter of
/// Corsica (`2A`, `2B`) separates nothing either.
fn is_a_number(text: &str) -> bool {
    let mut row = 0;
    for c in text.chars() {
        row = match c {
            '0'..='9' => row + 1,
            '-' | '.' | '_' | 'A' | 'B' | 'a' | 'b' if row > 0 => row,
            _ => 0,
        };
        if row > DocumentCode::DIGITS_MAX {
            return true;
        }
    }
    false
}

impl fmt::Debug for DocumentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for DocumentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How well a document says which patient it is about (ANS Ref2 §3.8.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InsStatus {
    /// Matricule with a good key, its authority, and the traits; the header does not deny it.
    Qualified,
    /// A matricule that the header or missing traits say is not qualified.
    Unqualified,
    /// No national identity: a number of the sender's own, or nothing.
    #[default]
    Absent,
    /// Looks like a matricule and is none: wrong key, wrong form, unknown authority.
    Invalid,
}

impl InsStatus {
    /// All.
    pub const ALL: [Self; 4] = [Self::Qualified, Self::Unqualified, Self::Absent, Self::Invalid];

    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qualified => "qualified",
            Self::Unqualified => "unqualified",
            Self::Absent => "absent",
            Self::Invalid => "invalid",
        }
    }
}

/// Something about a structured letter that its reader may stumble over. A tag: nothing is
/// refused for it unless the configuration says so. Numbers are the ledger's and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finding {
    /// The letter says that it carries documents, and no archive is in it.
    ArchiveMissing = 0,
    /// The archive, or a file in it, cannot be unpacked, or contradicts itself.
    ArchiveDamaged = 1,
    /// Something is over a limit; the rest was not looked at.
    TooLarge = 2,
    /// A file name that leads out of the archive's folder, or a symbolic link.
    PathEscape = 3,
    /// Two files of one name: two readers would open different ones.
    NameTwice = 4,
    /// A file is encrypted or packed in a way that nobody is asked to know.
    NotReadable = 5,
    /// Files overlap: a bomb, or two readers would see different files.
    FilesOverlap = 6,
    /// Octets before, between or behind the files that belong to none of them.
    HiddenOctets = 7,
    /// No `METADATA.XML`.
    MetadataMissing = 8,
    /// `METADATA.XML` is not the XML it should be, or holds a DTD.
    MetadataMalformed = 9,
    /// The metadata names a document that is not there.
    DocumentMissing = 10,
    /// A document is not XML although it should be, or holds a DTD.
    DocumentMalformed = 11,
    /// A document is not the one whose SHA-1 the metadata gives.
    HashDiffers = 12,
    /// A document has not the size that the metadata gives.
    SizeDiffers = 13,
    /// Metadata and documents are not all about one patient.
    PatientsDiffer = 14,
    /// The codes in `X-MSS-CODECDA`, the metadata and the documents are not the same.
    CodesDiffer = 15,
    /// A matricule whose key or authority is wrong.
    InsInvalid = 16,
    /// A matricule travels that is not qualified, or the header claims one that is not there.
    InsNotQualified = 17,
    /// A test or demonstration identity.
    TestIdentity = 18,
    /// The patient in a document is not the patient who gets the letter.
    RecipientDiffers = 19,
    /// There was no memory to look into it just then.
    NotInspected = 20,
}

impl Finding {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 21] = [
        Self::ArchiveMissing,
        Self::ArchiveDamaged,
        Self::TooLarge,
        Self::PathEscape,
        Self::NameTwice,
        Self::NotReadable,
        Self::FilesOverlap,
        Self::HiddenOctets,
        Self::MetadataMissing,
        Self::MetadataMalformed,
        Self::DocumentMissing,
        Self::DocumentMalformed,
        Self::HashDiffers,
        Self::SizeDiffers,
        Self::PatientsDiffer,
        Self::CodesDiffer,
        Self::InsInvalid,
        Self::InsNotQualified,
        Self::TestIdentity,
        Self::RecipientDiffers,
        Self::NotInspected,
    ];

    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ArchiveMissing => "archive-missing",
            Self::ArchiveDamaged => "archive-damaged",
            Self::TooLarge => "too-large",
            Self::PathEscape => "path-escape",
            Self::NameTwice => "name-twice",
            Self::NotReadable => "not-readable",
            Self::FilesOverlap => "files-overlap",
            Self::HiddenOctets => "hidden-octets",
            Self::MetadataMissing => "metadata-missing",
            Self::MetadataMalformed => "metadata-malformed",
            Self::DocumentMissing => "document-missing",
            Self::DocumentMalformed => "document-malformed",
            Self::HashDiffers => "hash-differs",
            Self::SizeDiffers => "size-differs",
            Self::PatientsDiffer => "patients-differ",
            Self::CodesDiffer => "codes-differ",
            Self::InsInvalid => "ins-invalid",
            Self::InsNotQualified => "ins-not-qualified",
            Self::TestIdentity => "test-identity",
            Self::RecipientDiffers => "recipient-differs",
            Self::NotInspected => "not-inspected",
        }
    }
}

/// A set of findings.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Findings(u32);

impl Findings {
    /// None.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub fn add(&mut self, finding: Finding) {
        self.0 |= 1 << finding as u32;
    }

    /// Adds one if so.
    pub fn add_if(&mut self, so: bool, finding: Finding) {
        if so {
            self.add(finding);
        }
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// True when it is among them.
    pub fn has(self, finding: Finding) -> bool {
        self.0 & 1 << finding as u32 != 0
    }

    /// True when there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Finding> {
        Finding::ALL.into_iter().filter(move |finding| self.has(*finding))
    }

    /// The stored form: one bit for each number.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From the stored form.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Finding::name)).finish()
    }
}

/// What the ledger keeps of the documents of one code in one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentTag {
    /// Code of the document, e.g. `11502-2` for a laboratory report.
    pub code: DocumentCode,
    /// Code of its format.
    pub format: DocumentCode,
    /// How it names its patient.
    pub ins: InsStatus,
    /// What is wrong with it. Findings about the whole letter stand in its first tag only.
    pub findings: Findings,
    /// A keyed digest of the matricule: tells patients apart, and names none without our key.
    pub patient: Option<[u8; 16]>,
}

impl DocumentTag {
    /// Of a letter that has to do with documents of which nothing is known.
    pub const fn unknown() -> Self {
        Self {
            code: DocumentCode::UNKNOWN,
            format: DocumentCode::UNKNOWN,
            ins: InsStatus::Absent,
            findings: Findings::NONE,
            patient: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_in_use_are_kept_and_others_are_only_counted() {
        for text in ["18748-4", "PRESC-BIO", "urn:ihe:iti:xds-sd:pdf:2008", "G15_10/SM44"] {
            assert_eq!(DocumentCode::read(text).as_str(), text);
        }
        assert_eq!(DocumentCode::read(" 11502-2\r\n").as_str(), "11502-2");
        assert_eq!(DocumentCode::read(""), DocumentCode::UNKNOWN);
        let long = "1".repeat(49);
        for text in [&long, "Mme EXEMPLIER", "é", "a\nb", "a,b"] {
            assert_eq!(DocumentCode::read(text), DocumentCode::OTHER, "{text}");
        }
    }

    #[test]
    fn a_national_number_in_the_place_of_a_code_is_not_kept() {
        for text in [
            "288027599000175",
            "X288027599000175",
            "2-88-02-75-990-001-75",
            "195122A99000394",
            "195122a99000394",
            "2.88.02.75.990.001.75",
        ] {
            assert_eq!(DocumentCode::read(text), DocumentCode::OTHER, "{text}");
        }
    }

    #[test]
    fn findings_have_numbers_and_names_of_their_own() {
        let mut all = Findings::NONE;
        let mut names = std::collections::BTreeSet::new();
        for (number, finding) in Finding::ALL.into_iter().enumerate() {
            assert_eq!(finding as usize, number);
            assert!(names.insert(finding.name()));
            all.add(finding);
        }
        assert_eq!(all.iter().count(), Finding::ALL.len());
        assert_eq!(Findings::from_bits(all.bits()), all);
        assert!(!Findings::NONE.has(Finding::TooLarge) && Findings::NONE.is_empty());
    }
}
