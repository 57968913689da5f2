//! Structured letters: documents in an IHE XDM archive (IHE ITI TF-2 §3.32), looked at on
//! their way and never changed.
//!
//! What is wrong becomes a finding, never an error: a relay tags, its reader judges. All of it
//! happens in memory, within `domain::limits`.
mod archive;
mod attachment;
mod cda;
mod metadata;
mod patient;
mod xml;
pub mod warning;

use std::fmt::Write;

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use crate::domain::document::DocumentCode;
use crate::domain::document::Finding;
use crate::domain::document::Findings;
use crate::domain::document::InsStatus;
use crate::domain::envelope::MssHeaders;
use crate::domain::identity::Ins;
use crate::domain::limits;
use crate::proto::xdm::archive::Archive;
use crate::proto::xdm::metadata::Metadata;
use crate::proto::xdm::patient::Claim;
use crate::proto::xdm::patient::PatientId;
use crate::proto::xdm::xml::Malformed;

pub use crate::proto::xdm::attachment::Marked;
pub use crate::proto::xdm::attachment::octets;
pub use crate::proto::xdm::attachment::recognise;
pub use crate::proto::xdm::patient::PatientNumber;

/// Media types of documents that are XML.
const XML_TYPES: [&str; 2] = ["text/xml", "application/xml"];

/// What is known of a letter's documents.
#[derive(Debug, Default)]
pub struct Report {
    /// Its documents, in the order of the metadata.
    pub documents: Vec<Document>,
    /// What is wrong with the letter or the archive as a whole.
    pub findings: Findings,
}

/// What is known of one document.
#[derive(Debug)]
pub struct Document {
    /// Its code, from itself or else from the metadata.
    pub code: DocumentCode,
    /// Its format, from the metadata.
    pub format: DocumentCode,
    /// How it names its patient.
    pub ins: InsStatus,
    /// What is wrong with it.
    pub findings: Findings,
    /// Every national number that metadata or document give for it; more than one is a finding.
    pub patients: Vec<PatientNumber>,
}

/// An archive that is open, its files still packed.
pub struct Opened<'a> {
    archive: Archive<'a>,
}

/// Opens an archive; reads its directory only.
pub fn open(octets: &[u8]) -> Opened<'_> {
    Opened { archive: Archive::open(octets) }
}

impl Opened<'_> {
    /// Octets of memory that [`Opened::inspect`] will need at most.
    pub fn room(&self) -> u64 {
        let sizes = |wanted: fn(&str) -> bool, most: usize| {
            let entries = self.archive.entries().iter().filter(|entry| wanted(&entry.name));
            entries.map(|entry| entry.size.min(most as u64)).max().unwrap_or(0)
        };
        let metadata = sizes(|name| subset(name).is_some(), limits::METADATA_OCTETS_MAX);
        let document = sizes(|_| true, limits::DOCUMENT_HEADER_OCTETS_MAX);
        // Each once as octets and once as text.
        2 * (metadata + document) + 65_536
    }

    /// Reads metadata and documents. `octets_left` is what the whole letter may unpack.
    pub fn inspect(&self, mss: &MssHeaders, octets_left: &mut u64) -> Report {
        let mut report = Report { documents: Vec::new(), findings: self.archive.findings };
        let mut folders = Vec::new();
        for entry in self.archive.entries() {
            let Some(folder) = subset(&entry.name) else { continue };
            folders.push(folder);
            match self.metadata(entry, octets_left) {
                Ok(metadata) => self.judge(folder, &metadata, mss, octets_left, &mut report),
                Err(finding) => report.findings.add(finding),
            }
        }
        if folders.is_empty() {
            // What is in an archive that cannot be read, nobody knows.
            let readable = !report.findings.has(Finding::ArchiveDamaged);
            report.findings.add_if(readable, Finding::MetadataMissing);
            self.judge_unlisted(mss, octets_left, &mut report);
        }
        report
    }

    fn metadata(&self, entry: &archive::Entry, left: &mut u64) -> Result<Metadata, Finding> {
        if entry.size > limits::METADATA_OCTETS_MAX as u64 {
            return Err(Finding::TooLarge);
        }
        let mut octets = Zeroizing::new(Vec::with_capacity(capacity(entry.size)));
        self.archive.unpack(entry, left, |piece| octets.extend_from_slice(piece))?;
        let text = xml::text(&octets).ok_or(Finding::MetadataMalformed)?;
        metadata::read(&text).map_err(|Malformed| Finding::MetadataMalformed)
    }

    /// Judges the documents of one `METADATA.XML`.
    fn judge(
        &self,
        folder: &str,
        metadata: &Metadata,
        mss: &MssHeaders,
        left: &mut u64,
        report: &mut Report,
    ) {
        report.findings.add_if(metadata.too_many, Finding::TooLarge);
        report.findings.add_if(metadata.documents.is_empty(), Finding::MetadataMalformed);
        for entry in &metadata.documents {
            if report.documents.len() >= limits::DOCUMENTS_MAX {
                report.findings.add(Finding::TooLarge);
                return;
            }
            let mut findings = Findings::NONE;
            let file = self.file(folder, &entry.uri, &mut findings);
            let read = file.and_then(|file| self.document(file, entry, left, &mut findings));
            let document = judged(entry, metadata.patient.as_ref(), read, mss, findings);
            report.documents.push(document);
        }
    }

    /// Documents of an archive without metadata are judged by themselves.
    fn judge_unlisted(&self, mss: &MssHeaders, left: &mut u64, report: &mut Report) {
        let is_document = |name: &str| {
            let name = name.to_ascii_lowercase();
            name.starts_with("ihe_xdm/") && name.ends_with(".xml")
        };
        let entries = self.archive.entries().iter().filter(|entry| is_document(&entry.name));
        for file in entries.take(limits::DOCUMENTS_MAX) {
            let (entry, mut findings) = (metadata::Entry::default(), Findings::NONE);
            if let Some(read) = self.document(file, &entry, left, &mut findings) {
                report.documents.push(judged(&entry, None, Some(read), mss, findings));
            }
        }
    }

    /// The file that a `URI` names, beside its `METADATA.XML`.
    fn file(&self, folder: &str, uri: &str, findings: &mut Findings) -> Option<&archive::Entry> {
        if archive::escapes(uri) {
            findings.add(Finding::PathEscape);
            return None;
        }
        let path = format!("{folder}/{uri}");
        let found = self.archive.entries().iter().find(|entry| entry.is(&path));
        findings.add_if(found.is_none(), Finding::DocumentMissing);
        found
    }

    /// Checks size and SHA-1 of a document, and reads its header if it is a CDA document.
    fn document(
        &self,
        file: &archive::Entry,
        entry: &metadata::Entry,
        left: &mut u64,
        findings: &mut Findings,
    ) -> Option<cda::Header> {
        // The profile's hash is SHA-1: it finds damage, not forgery.
        let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        let most = limits::DOCUMENT_HEADER_OCTETS_MAX + 1;
        let mut start = Zeroizing::new(Vec::with_capacity(capacity(file.size).min(most)));
        let unpacked = self.archive.unpack(file, left, |piece| {
            hash.update(piece);
            let room = most - start.len();
            start.extend_from_slice(piece.get(..room).unwrap_or(piece));
        });
        if let Err(finding) = unpacked {
            findings.add(finding);
            return None;
        }
        let hash = hex(hash.finish().as_ref());
        let hash_differs = !entry.hash.is_empty() && !entry.hash.eq_ignore_ascii_case(&hash);
        findings.add_if(hash_differs, Finding::HashDiffers);
        let size_differs = !entry.size.is_empty() && entry.size.parse() != Ok(file.size);
        findings.add_if(size_differs, Finding::SizeDiffers);
        let is_xml = cda::is_xml(&start);
        if !is_xml {
            let should_be = XML_TYPES.contains(&entry.mime_type.as_str());
            findings.add_if(should_be, Finding::DocumentMalformed);
            return None;
        }
        match cda::read(&start) {
            Ok(header) => header,
            Err(Malformed) => {
                findings.add(Finding::DocumentMalformed);
                None
            }
        }
    }
}

impl Report {
    /// What is known of a letter that promises documents and brings no archive: what its header
    /// says.
    pub fn without_archive() -> Self {
        let mut report = Self::default();
        report.findings.add(Finding::ArchiveMissing);
        report
    }

    /// Adds what another archive of the letter shows.
    pub fn merge(&mut self, other: Self) {
        self.findings.merge(other.findings);
        self.documents.extend(other.documents);
    }

    /// Judges all documents together: one patient, and the codes of the header.
    pub fn conclude(&mut self, mss: &MssHeaders) {
        let mut patients = self.documents.iter().flat_map(|document| &document.patients);
        if let Some(first) = patients.next() {
            let several = patients.any(|other| !other.is_same(first));
            self.findings.add_if(several, Finding::PatientsDiffer);
        }
        let told = sorted(mss.cda_codes.iter().map(|code| DocumentCode::read(code)));
        let found = sorted(self.documents.iter().map(|document| document.code));
        let both = !told.is_empty() && !found.is_empty();
        self.findings.add_if(both && told != found, Finding::CodesDiffer);
        if found.is_empty() {
            let documents = told.into_iter().map(|code| Document {
                code,
                format: DocumentCode::UNKNOWN,
                ins: InsStatus::Absent,
                findings: Findings::NONE,
                patients: Vec::new(),
            });
            self.documents.extend(documents);
        }
    }

    /// True when a document is about somebody else. Documents that name nobody, or only by the
    /// sender's own numbers, are about whom their sender says.
    pub fn is_about_somebody_else(&self, matricule: &Ins) -> bool {
        let Some(own) = PatientNumber::read(matricule.expose()) else { return false };
        let mut patients = self.documents.iter().flat_map(|document| &document.patients);
        patients.any(|patient| !patient.is_same(&own))
    }
}

/// Puts together what metadata, document and header say of one document.
fn judged(
    entry: &metadata::Entry,
    submission: Option<&PatientId>,
    read: Option<cda::Header>,
    mss: &MssHeaders,
    mut findings: Findings,
) -> Document {
    let no_header = cda::Header::default();
    let header = read.as_ref().unwrap_or(&no_header);
    let told: Vec<&PatientId> = [submission, entry.patient.as_ref(), entry.source_patient.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    let ids = || told.iter().copied().chain(&header.patients);
    let differ = ids().any(|one| ids().any(|two| one.contradicts(two)));
    findings.add_if(differ, Finding::PatientsDiffer);

    let invalid = ids().any(|id| id.claim() == Claim::Invalid);
    let named = ids().any(|id| id.claim() == Claim::Ins);
    let has_traits = entry.has_traits() || header.has_traits();
    let ins = match (invalid, named) {
        (true, _) => InsStatus::Invalid,
        (false, false) => InsStatus::Absent,
        (false, true) if has_traits && mss.qualified_ins != Some(false) => InsStatus::Qualified,
        (false, true) => InsStatus::Unqualified,
    };
    let claimed = mss.qualified_ins == Some(true) && ins == InsStatus::Absent;
    findings.add_if(invalid, Finding::InsInvalid);
    findings.add_if(ins == InsStatus::Unqualified || claimed, Finding::InsNotQualified);
    findings.add_if(ids().any(PatientId::is_test), Finding::TestIdentity);

    let codes = [header.code.trim(), entry.type_code.trim()];
    let both = codes.iter().all(|code| !code.is_empty());
    findings.add_if(both && !codes[0].eq_ignore_ascii_case(codes[1]), Finding::CodesDiffer);
    let code = codes.into_iter().find(|code| !code.is_empty()).unwrap_or_default();
    let mut patients: Vec<PatientNumber> = Vec::new();
    for number in ids().filter_map(PatientId::number) {
        if !patients.iter().any(|known| known.is_same(&number)) {
            patients.push(number);
        }
    }
    Document {
        code: DocumentCode::read(code),
        format: DocumentCode::read(&entry.format_code),
        ins,
        findings,
        patients,
    }
}

/// The folder of a `METADATA.XML`: `IHE_XDM/<subset>`, in any letter case.
fn subset(name: &str) -> Option<&str> {
    let (folder, file) = name.rsplit_once('/')?;
    let (root, _) = folder.split_once('/')?;
    let one_deep = folder.matches('/').count() == 1;
    let fits = root.eq_ignore_ascii_case("IHE_XDM") && file.eq_ignore_ascii_case("METADATA.XML");
    (one_deep && fits).then_some(folder)
}

fn sorted(codes: impl Iterator<Item = DocumentCode>) -> Vec<DocumentCode> {
    let mut codes: Vec<DocumentCode> = codes.collect();
    codes.sort_unstable();
    codes
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn capacity(octets: u64) -> usize {
    usize::try_from(octets).unwrap_or(0)
}
