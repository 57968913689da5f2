//! `METADATA.XML`: an ebRIM `SubmitObjectsRequest`, of which the relay reads what documents
//! there are, about whom, and how to know them again (IHE ITI TF-3 §4.2).
use crate::domain::limits;
use crate::proto::xdm::patient::PatientId;
use crate::proto::xdm::xml::Malformed;
use crate::proto::xdm::xml::Step;
use crate::proto::xdm::xml::Xml;

/// `XDSDocumentEntry.patientId`.
const DOCUMENT_PATIENT: &str = "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427";
/// `XDSSubmissionSet.patientId`.
const SUBMISSION_PATIENT: &str = "urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446";
/// `XDSDocumentEntry.typeCode`: the code of the document itself.
const TYPE_CODE: &str = "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983";
/// `XDSDocumentEntry.formatCode`.
const FORMAT_CODE: &str = "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d";

/// What one `METADATA.XML` tells.
#[derive(Default)]
pub(super) struct Metadata {
    /// The patient of the whole submission.
    pub(super) patient: Option<PatientId>,
    /// Its documents, at most `limits::DOCUMENTS_MAX`.
    pub(super) documents: Vec<Entry>,
    /// There are more.
    pub(super) too_many: bool,
}

/// One `XDSDocumentEntry`. Texts are as they stand, empty where there are none.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) mime_type: String,
    pub(super) uri: String,
    pub(super) hash: String,
    pub(super) size: String,
    pub(super) type_code: String,
    pub(super) format_code: String,
    pub(super) patient: Option<PatientId>,
    /// The patient under the sender's own number.
    pub(super) source_patient: Option<PatientId>,
    has_names: bool,
    has_birth_date: bool,
    has_sex: bool,
}

impl Entry {
    /// True when names, birth date and sex of the patient are given.
    pub(super) fn has_traits(&self) -> bool {
        self.has_names && self.has_birth_date && self.has_sex
    }

    fn take_slot(&mut self, slot: &str, value: &str) {
        // A long URI comes in numbered pieces: `1|first half`, `2|second half`.
        let piece = value.split_once('|').filter(|(n, _)| n.len() == 1).map_or(value, |(_, p)| p);
        match slot.to_ascii_lowercase().as_str() {
            "hash" => self.hash = value.trim().to_owned(),
            "size" => self.size = value.trim().to_owned(),
            "uri" => self.uri.push_str(piece.trim()),
            "sourcepatientid" => self.source_patient = PatientId::from_cx(value),
            "sourcepatientinfo" => self.take_trait(value),
            _ => {}
        }
    }

    /// `PID-5|NOM^Prenom^^^^^L`, `PID-7|19880203`, `PID-8|F`.
    fn take_trait(&mut self, value: &str) {
        let (field, value) = value.trim().split_once('|').unwrap_or_default();
        let mut components = value.split('^').map(str::trim);
        let mut is_given = || components.next().is_some_and(|component| !component.is_empty());
        match field {
            "PID-5" => self.has_names |= is_given() && is_given(),
            "PID-7" => self.has_birth_date |= is_given(),
            "PID-8" => self.has_sex |= is_given(),
            _ => {}
        }
    }
}

/// What an open element means for those inside it.
enum Around {
    Submission,
    Document,
    Slot(String),
    /// Slots in it are about a code or an author, not about the document.
    Aside,
    Other,
}

/// Reads a `METADATA.XML`.
pub(super) fn read(text: &str) -> Result<Metadata, Malformed> {
    let mut metadata = Metadata::default();
    let mut xml = Xml::new(text);
    let mut around: Vec<Around> = Vec::new();
    loop {
        let element = match xml.step()? {
            Step::Open(element) => element,
            Step::Close => {
                around.pop();
                continue;
            }
            Step::Text(_) => continue,
            Step::End => return Ok(metadata),
        };
        let attribute = |name| element.attribute(name).unwrap_or_default();
        if element.depth == 0 && !is_a_root(element.name()) {
            return Err(Malformed);
        }
        let meaning = match element.name() {
            "RegistryPackage" => Around::Submission,
            "ExtrinsicObject" => {
                if metadata.documents.len() >= limits::DOCUMENTS_MAX {
                    metadata.too_many = true;
                    return Ok(metadata);
                }
                let mime_type = attribute("mimeType").to_ascii_lowercase();
                metadata.documents.push(Entry { mime_type, ..Entry::default() });
                Around::Document
            }
            "Classification" => {
                if let (Some(Around::Document), Some(entry)) =
                    (around.last(), metadata.documents.last_mut())
                {
                    match attribute("classificationScheme").as_str() {
                        TYPE_CODE => entry.type_code = attribute("nodeRepresentation"),
                        FORMAT_CODE => entry.format_code = attribute("nodeRepresentation"),
                        _ => {}
                    }
                }
                Around::Aside
            }
            "ExternalIdentifier" => {
                let id = || PatientId::from_cx(&attribute("value"));
                match (attribute("identificationScheme").as_str(), metadata.documents.last_mut()) {
                    (DOCUMENT_PATIENT, Some(entry)) => entry.patient = id(),
                    (SUBMISSION_PATIENT, _) => metadata.patient = id(),
                    _ => {}
                }
                Around::Aside
            }
            "Slot" if matches!(around.last(), Some(Around::Document)) => {
                Around::Slot(attribute("name"))
            }
            "Value" => {
                // Up to and with its end tag, so it is not around anything.
                let value = xml.text()?;
                let slot = around.iter().rev().find_map(|each| match each {
                    Around::Slot(name) => Some(name),
                    _ => None,
                });
                if let (Some(slot), Some(entry)) = (slot, metadata.documents.last_mut()) {
                    entry.take_slot(slot, &value);
                }
                continue;
            }
            _ => Around::Other,
        };
        around.push(meaning);
    }
}

fn is_a_root(name: &str) -> bool {
    ["SubmitObjectsRequest", "ProvideAndRegisterDocumentSetRequest", "RegistryObjectList"]
        .contains(&name)
}
