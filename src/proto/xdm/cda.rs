//! The header of a CDA document: which document it is, and about whom. Its body is not read.
use crate::domain::limits;
use crate::proto::xdm::patient::PatientId;
use crate::proto::xdm::xml;
use crate::proto::xdm::xml::Malformed;
use crate::proto::xdm::xml::Step;
use crate::proto::xdm::xml::Xml;

/// Identifiers of patients that are read of one document.
const IDS_MAX: usize = 10;

/// What the header of a document tells.
#[derive(Default)]
pub(super) struct Header {
    /// `code/@code`.
    pub(super) code: String,
    /// `recordTarget/patientRole/id`, of every record target.
    pub(super) patients: Vec<PatientId>,
    has_family: bool,
    has_given: bool,
    has_birth_date: bool,
    has_sex: bool,
}

impl Header {
    /// True when names, birth date and sex of the patient are given.
    pub(super) fn has_traits(&self) -> bool {
        self.has_family && self.has_given && self.has_birth_date && self.has_sex
    }
}

/// True when the octets begin as XML does.
pub(super) fn is_xml(octets: &[u8]) -> bool {
    let start = octets.get(..octets.len().min(limits::XML_VALUE_OCTETS_MAX)).unwrap_or_default();
    let first = match start {
        [0xef, 0xbb, 0xbf, rest @ ..] => rest,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return true,
        plain => plain,
    };
    first.trim_ascii_start().starts_with(b"<")
}

/// Reads the header of a document from its first octets; `None` when it is XML of another kind.
pub(super) fn read(octets: &[u8]) -> Result<Option<Header>, Malformed> {
    let mut octets = octets;
    if let Some(start) = octets.get(..limits::DOCUMENT_HEADER_OCTETS_MAX) {
        // Cut behind a tag: a cut character would make it no text at all.
        let end = start.iter().rposition(|octet| *octet == b'>').map_or(0, |at| at + 1);
        octets = start.get(..end).unwrap_or_default();
    }
    let text = xml::text(octets).ok_or(Malformed)?;
    let mut xml = Xml::new(&text);
    let mut header = Header::default();
    let mut in_target = false;
    let mut in_role = false;
    loop {
        let element = match xml.step()? {
            Step::Open(element) => element,
            Step::End => return Ok(Some(header)),
            Step::Close | Step::Text(_) => continue,
        };
        let attribute = |name| element.attribute(name).unwrap_or_default();
        match (element.depth, element.name()) {
            (0, "ClinicalDocument") => {}
            (0, _) => return Ok(None),
            // The body begins: all of the header was there.
            (1, "component") => return Ok(Some(header)),
            (1, "code") => header.code = attribute("code"),
            (1, name) => (in_target, in_role) = (name == "recordTarget", false),
            (2, name) => in_role = in_target && name == "patientRole",
            (3, "id") if in_role && header.patients.len() < IDS_MAX => {
                header.patients.extend(PatientId::new(&attribute("extension"), &attribute("root")));
            }
            (4, "birthTime") if in_role => header.has_birth_date |= !attribute("value").is_empty(),
            (4, "administrativeGenderCode") if in_role => {
                header.has_sex |= !attribute("code").is_empty();
            }
            (5, "family") if in_role => header.has_family |= !xml.text()?.trim().is_empty(),
            (5, "given") if in_role => header.has_given |= !xml.text()?.trim().is_empty(),
            _ => {}
        }
    }
}
