//! A letter as such: its header, its parts, the documents within it.

/// Octets of a message's header section; more is a parser attack (FEATURES: CVE-2024-23184).
pub const HEADER_OCTETS_MAX: usize = 1_048_576;
/// Hops before we call it a loop (RFC 5321 §6.3 asks for at least 100).
pub const RECEIVED_FIELDS_MAX: usize = 100;
/// MIME parts that the summary describes; the rest of the letter is kept whole as one part.
pub const MIME_PARTS_MAX: usize = 1_000;
/// Depth of nested MIME parts that the summary describes.
pub const MIME_DEPTH_MAX: usize = 20;
/// Octets of a sealed summary; over it, the letter is listed with a safe envelope.
pub const SUMMARY_OCTETS_MAX: usize = 262_144;
/// Octets of a document code in X-MSS-CODECDA (a LOINC or TRE code).
pub const DOCUMENT_CODE_OCTETS_MAX: usize = 64;
/// Addresses read from one header field. No honest letter has more, and address headers of a
/// megabyte are an attack (CVE-2024-23184).
pub const ADDRESSES_PER_FIELD_MAX: usize = 1_000;
/// Words read in one element of an address list; a display name has a dozen.
pub const ADDRESS_WORDS_MAX: usize = 1_000;
/// Parameters read from one MIME field, continuations counted each (CVE-2026-27859).
pub const MIME_PARAMETERS_MAX: usize = 256;
/// Octets of all parameter values of one MIME field.
pub const MIME_PARAMETERS_OCTETS_MAX: usize = 16_384;
/// Octets of one decoded text that a page shows; the letter itself can be fetched whole.
pub const SHOWN_TEXT_OCTETS_MAX: usize = 1_048_576;
/// Octets of decoded text of one letter that a search looks through.
pub const SEARCHED_TEXT_OCTETS_MAX: usize = 8_388_608;
/// Files in the archive of a structured letter. A real one has some dozens.
pub const ARCHIVE_ENTRIES_MAX: usize = 1_000;
/// Octets of a file name in such an archive; the profile's have at most 128.
pub const ARCHIVE_NAME_OCTETS_MAX: usize = 512;
/// Octets of one unpacked file of such an archive: more than any letter brings.
pub const ARCHIVE_ENTRY_OCTETS_MAX: u64 = 50_331_648;
/// Octets of all unpacked files of one letter: a fraction of a second of unpacking.
pub const ARCHIVE_OCTETS_MAX: u64 = 67_108_864;
/// How much larger than its packed form a file may be, beyond a first megabyte. XML of real
/// documents shrinks to a twentieth; a bomb to a thousandth.
pub const ARCHIVE_RATIO_MAX: u64 = 200;
/// Octets of `METADATA.XML`: some kilobytes for each document.
pub const METADATA_OCTETS_MAX: usize = 4_194_304;
/// Octets at the beginning of a document in which its header is looked for.
pub const DOCUMENT_HEADER_OCTETS_MAX: usize = 1_048_576;
/// Elements inside each other in the XML of a structured letter; a document's body has twenty.
pub const XML_DEPTH_MAX: usize = 64;
/// Tags, texts and references that are read of one XML file.
pub const XML_STEPS_MAX: usize = 500_000;
/// Attributes of one element, namespaces included.
pub const XML_ATTRIBUTES_MAX: usize = 64;
/// Octets of one value (a slot, an attribute) that is read.
pub const XML_VALUE_OCTETS_MAX: usize = 8_192;
/// Documents of one letter that are judged.
pub const DOCUMENTS_MAX: usize = 100;
/// Facts about documents that one letter may leave in the ledger.
pub const DOCUMENT_FACTS_MAX: usize = 20;
/// Archives of one letter that are looked into; the profile has one.
pub const ARCHIVES_MAX: usize = 4;
/// Octets of the machine's part of a report or receipt that are read on its way.
pub const RECEIPT_OCTETS_MAX: usize = 65_536;
/// Recipients of one report that are read on its way: as many as a letter may have by default.
pub const RECEIPT_RECIPIENTS_MAX: usize = 100;
/// Octets of one field of a report that are kept.
pub const RECEIPT_FIELD_OCTETS_MAX: usize = 500;
/// Message-IDs of a References field that a summary keeps: the root, and the last ones.
pub const REFERENCES_MAX: usize = 100;
/// Characters of a preview (RFC 8970 §3.1).
pub const PREVIEW_CHARS_MAX: usize = 200;
/// Octets of a letter up to which it is opened as a whole when it is read: one reading and one opening
/// cost less than many, and this much a reader may hold. Larger ones leave in pieces.
pub const WHOLE_LETTER_OCTETS_MAX: u64 = 1_048_576;
/// Octets of a large letter that are opened at once: large enough that finding them does not count.
pub const PIECE_OCTETS: u64 = 262_144;
/// Octets of memory for a large letter that leaves in pieces: a piece, sealed, in clear and decoded,
/// and what is on its way out.
pub const READING_OCTETS: u64 = 5 * PIECE_OCTETS;
