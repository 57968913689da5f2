//! The JSON of answers: a Bundle of Practitioners, PractitionerRoles and Organizations, and the
//! mailboxes among their contact points.
use serde::Deserialize;

use crate::infra::fhir::FhirError;

/// Says of an e-mail address what it is (TRE_R256: `MSSANTE`).
const EMAIL_TYPE: &str =
    "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-contact-point-email-type";
/// What the directory knows of a mailbox.
const METADATA: &str = "https://interop.esante.gouv.fr/ig/fhir/annuaire/StructureDefinition/as-ext-mailbox-mss-metadata";
/// The code of health mail in TRE_R256.
const HEALTH_MAIL: &str = "MSSANTE";

/// Who may have a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A professional: PER and CAB by RPPS alone.
    Practitioner,
    /// A professional in a structure.
    PractitionerRole,
    /// A structure: ORG and APP.
    Organization,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Practitioner, Self::PractitionerRole, Self::Organization];

    /// Its name in FHIR.
    pub fn name(self) -> &'static str {
        match self {
            Self::Practitioner => "Practitioner",
            Self::PractitionerRole => "PractitionerRole",
            Self::Organization => "Organization",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.name() == name)
    }
}

/// A mailbox, as the API knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveMailbox {
    /// The mailbox.
    pub address: String,
    /// `PER`, `ORG`, `APP`, `CAB` (TRE_R257); empty when it is not said.
    pub kind: String,
    /// *Liste rouge*: it must not be shown.
    pub red_list: bool,
    /// *Digitization*: paper-free exchange accepted.
    pub paper_free: bool,
    /// What it is for.
    pub description: String,
    /// The service that reads it.
    pub service: String,
    /// 1 for the preferred one.
    pub rank: Option<u32>,
    /// What carries it.
    pub resource: Resource,
    /// The carrier's id, `003-…`.
    pub id: String,
    /// The carrier is active.
    pub active: bool,
    /// The person's or structure's name, as far as the carrier has one.
    pub name: String,
    /// Identifiers: system and value.
    pub identifiers: Vec<(String, String)>,
    /// Codes of professions and skills.
    pub qualifications: Vec<String>,
    /// When the carrier changed last, as the API wrote it.
    pub last_updated: String,
}

/// One page of an answer.
pub(super) struct Page {
    pub(super) mailboxes: Vec<LiveMailbox>,
    /// Where the next page is; opaque.
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    resource_type: String,
    #[serde(default)]
    link: Vec<Link>,
    #[serde(default)]
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Link {
    relation: String,
    url: String,
}

#[derive(Deserialize)]
struct Entry {
    resource: Option<Carrier>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Carrier {
    #[serde(default)]
    resource_type: String,
    #[serde(default)]
    id: String,
    meta: Option<Meta>,
    active: Option<bool>,
    #[serde(default)]
    identifier: Vec<Identifier>,
    name: Option<serde_json::Value>,
    #[serde(default)]
    telecom: Vec<Telecom>,
    #[serde(default)]
    qualification: Vec<Qualification>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    last_updated: String,
}

#[derive(Deserialize)]
struct Identifier {
    #[serde(default)]
    system: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Telecom {
    #[serde(default)]
    system: String,
    #[serde(default)]
    value: String,
    rank: Option<u32>,
    #[serde(default)]
    extension: Vec<Extension>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extension {
    #[serde(default)]
    url: String,
    #[serde(default)]
    extension: Vec<Extension>,
    value_coding: Option<Coding>,
    value_codeable_concept: Option<Concept>,
    value_code: Option<String>,
    value_boolean: Option<bool>,
    value_string: Option<String>,
}

#[derive(Deserialize)]
struct Coding {
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
struct Concept {
    #[serde(default)]
    coding: Vec<Coding>,
}

#[derive(Deserialize)]
struct Qualification {
    code: Option<Concept>,
}

/// Reads one answer.
pub(super) fn read(octets: &[u8]) -> Result<Page, FhirError> {
    // Serde's own text could quote a value, and a value may be somebody's.
    let bundle: Bundle = serde_json::from_slice(octets).map_err(|error| {
        FhirError::Form(format!("line {}, column {}", error.line(), error.column()))
    })?;
    if bundle.resource_type != "Bundle" {
        return Err(FhirError::Form("it is no Bundle".to_owned()));
    }
    let next = bundle.link.into_iter().find(|link| link.relation == "next").map(|link| link.url);
    let carriers = bundle.entry.into_iter().filter_map(|entry| entry.resource);
    let mailboxes = carriers.flat_map(mailboxes_of).collect();
    Ok(Page { mailboxes, next })
}

fn mailboxes_of(carrier: Carrier) -> Vec<LiveMailbox> {
    let Some(resource) = Resource::from_name(&carrier.resource_type) else { return Vec::new() };
    let identifiers: Vec<(String, String)> = carrier
        .identifier
        .into_iter()
        .map(|identifier| (identifier.system, identifier.value))
        .collect();
    let qualifications: Vec<String> = carrier
        .qualification
        .into_iter()
        .filter_map(|qualification| qualification.code)
        .flat_map(|concept| concept.coding)
        .map(|coding| coding.code)
        .collect();
    let name = carrier.name.as_ref().map(name_of).unwrap_or_default();
    let last_updated = carrier.meta.map(|meta| meta.last_updated).unwrap_or_default();
    let mut mailboxes = Vec::new();
    for telecom in carrier.telecom {
        let Some(metadata) = metadata_of(&telecom) else { continue };
        let part = |name: &str| metadata.iter().find(|part| part.url == name);
        let truth = |name: &str| part(name).and_then(|part| part.value_boolean);
        let text =
            |name: &str| part(name).and_then(|part| part.value_string.clone()).unwrap_or_default();
        mailboxes.push(LiveMailbox {
            kind: part("type").map(kind_of).unwrap_or_default(),
            red_list: truth("listeRouge").unwrap_or(false),
            paper_free: truth("digitization").unwrap_or(false),
            description: text("description"),
            service: text("service"),
            rank: telecom.rank,
            resource,
            id: carrier.id.clone(),
            active: carrier.active.unwrap_or(true),
            name: name.clone(),
            identifiers: identifiers.clone(),
            qualifications: qualifications.clone(),
            last_updated: last_updated.clone(),
            address: telecom.value,
        });
    }
    mailboxes
}

/// The metadata of a health mailbox; structures have ordinary addresses, too.
fn metadata_of(telecom: &Telecom) -> Option<&[Extension]> {
    let extension = |url: &str| telecom.extension.iter().find(|one| one.url == url);
    let is_health_mail = extension(EMAIL_TYPE)
        .and_then(|kind| kind.value_coding.as_ref())
        .is_some_and(|coding| coding.code == HEALTH_MAIL);
    let metadata = extension(METADATA);
    let is_mailbox = telecom.system == "email"
        && telecom.value.contains('@')
        && (is_health_mail || metadata.is_some());
    is_mailbox.then(|| metadata.map_or(&[][..], |metadata| &metadata.extension))
}

/// A CodeableConcept; older drafts have a plain code.
fn kind_of(part: &Extension) -> String {
    let concept = part.value_codeable_concept.as_ref();
    let coding = concept.and_then(|concept| concept.coding.first()).or(part.value_coding.as_ref());
    match coding {
        Some(coding) => coding.code.clone(),
        None => part.value_code.clone().unwrap_or_default(),
    }
}

/// `HumanName[]` of people, a text of structures.
fn name_of(name: &serde_json::Value) -> String {
    if let Some(text) = name.as_str() {
        return text.to_owned();
    }
    let first = name.get(0);
    let given = first.and_then(|name| name.get("given")?.get(0)?.as_str()).unwrap_or_default();
    let family = first.and_then(|name| name.get("family")?.as_str()).unwrap_or_default();
    format!("{given} {family}").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_give_their_mailboxes() {
        let page =
            read(include_bytes!("../../../tests/vectors/fhir/practitioner_searchset_page1.json"))
                .unwrap();
        let next = "https://gateway.api.esante.gouv.fr/fhir/v2/_page?id=AAAA-opaque-token-BBBB";
        assert_eq!(page.next.as_deref(), Some(next));
        let first = &page.mailboxes[0];
        assert_eq!(first.address, "eloise.lumier@medecin.exemple.mssante.fr");
        assert_eq!((first.kind.as_str(), first.paper_free, first.rank), ("PER", true, Some(1)));
        assert_eq!(first.name, "Eloïse LUMIER");
        assert!(first.active && !first.red_list);
        let rpps = ("https://rpps.esante.gouv.fr".to_owned(), "99900001019".to_owned());
        assert!(first.identifiers.contains(&rpps));
        assert!(first.qualifications.contains(&"SM26".to_owned()));
    }

    #[test]
    fn an_ordinary_address_of_a_structure_is_no_mailbox() {
        let page = read(include_bytes!("../../../tests/vectors/fhir/organization_searchset.json"))
            .unwrap();
        let kinds: Vec<_> = page.mailboxes.iter().map(|one| one.kind.as_str()).collect();
        assert!(kinds.contains(&"ORG") && kinds.contains(&"APP"), "{kinds:?}");
        assert!(page.mailboxes.iter().all(|one| one.address.ends_with(".mssante.fr")));
        assert_eq!(page.mailboxes[0].description, "Secrétariat de cardiologie");
        assert_eq!(page.mailboxes[0].name, "CH DE VALFICTIF");
    }

    #[test]
    fn what_is_no_bundle_is_refused_without_being_repeated() {
        for answer in [
            &b"<html>"[..],
            b"{\"resourceType\":\"OperationOutcome\"}",
            b"[]",
            b"",
            b"{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":\"899900001019\"}]}",
        ] {
            let error = read(answer).err().unwrap().to_string();
            assert!(!error.contains("899900001019"), "{error}");
        }
    }
}
