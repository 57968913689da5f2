//! The draft API *messagerie sécurisée* 0.1.0: a conditional FHIRPath PATCH on the resource of
//! the holder. The address is `Practitioner?identifier=…` or `Organization?identifier=…`.
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::CertificateDer;
use serde::Serialize;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::infra::net::NetError;
use crate::infra::net::fetch::Fetcher;
use crate::infra::publish::Change;
use crate::infra::publish::Holder;
use crate::infra::publish::Outcome;
use crate::infra::publish::Publisher;
use crate::infra::publish::Record;

/// Systems of identifiers: *IDNPS* and FINESS.
const PROFESSIONALS: &str = "urn:oid:1.2.250.1.71.4.2.1";
const STRUCTURES: &str = "https://finess.esante.gouv.fr";
/// The extension of a mailbox.
const METADATA: &str = "https://interop.esante.gouv.fr/ig/fhir/annuaire/StructureDefinition/as-ext-mailbox-mss-metadata";
/// The header with the key, as at the directory's reading API.
const KEY_HEADER: &str = "ESANTE-API-KEY";

/// Speaks to the API.
pub struct ApiPublisher {
    fetcher: Fetcher,
    url: String,
    key: Option<Secret<String>>,
}

impl ApiPublisher {
    /// For the API at this address.
    ///
    /// # Errors
    /// As [`Fetcher::new`].
    pub fn new(
        url: &str,
        key: Option<Secret<String>>,
        anchors: &[CertificateDer<'static>],
    ) -> Result<Self, NetError> {
        let fetcher = Fetcher::new(anchors, limits::PUBLISH_TIMEOUT)?;
        Ok(Self { fetcher, url: url.trim_end_matches('/').to_owned(), key })
    }

    async fn one(&self, record: &Record, change: Change) -> Outcome {
        let (resource, system, value) = match &record.holder {
            Holder::Professional(id) => ("Practitioner", PROFESSIONALS, id),
            Holder::Structure(finess) => ("Organization", STRUCTURES, finess),
            Holder::Unknown => {
                return Outcome::Refused("nobody is known to hold this mailbox".to_owned());
            }
        };
        let identifier = encoded(&format!("{system}|{value}"));
        let url = format!("{}/{resource}?identifier={identifier}", self.url);
        let body = body(resource, record, change);
        let key = self.key.as_ref().map(|key| (KEY_HEADER, key));
        let mut wait = limits::PUBLISH_BACKOFF;
        let mut last = Outcome::Later("not tried".to_owned(), None);
        for _ in 0..limits::PUBLISH_ATTEMPTS_MAX {
            last = match self.fetcher.patch(&url, "application/fhir+json", key, body.clone()).await
            {
                Ok((status, after)) => judged(status, after, change),
                Err(error) => Outcome::Later(error.to_string(), None),
            };
            let Outcome::Later(_, after) = &last else { break };
            let asked = after.map(Duration::from_secs);
            if asked.is_some_and(|asked| asked > limits::PUBLISH_PATIENCE) {
                break;
            }
            tokio::time::sleep(asked.unwrap_or(wait)).await;
            wait *= 2;
        }
        last
    }
}

#[async_trait]
impl Publisher for ApiPublisher {
    fn name(&self) -> &'static str {
        "api"
    }

    async fn publish(&self, changes: &[(Record, Change)]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for (record, change) in changes {
            outcomes.push(self.one(record, *change).await);
        }
        outcomes
    }
}

/// What an answer means.
fn judged(status: u16, after: Option<u64>, change: Change) -> Outcome {
    let refused = |text: &str| Outcome::Refused(format!("HTTP {status}: {text}"));
    match status {
        200 | 201 | 204 => Outcome::Done,
        // What is gone need not be removed.
        404 | 410 if change == Change::Delete => Outcome::Done,
        400 | 422 => refused("the directory does not understand the change"),
        401 | 403 => refused("the directory does not know our key, or it may not do this"),
        404 => refused("the directory has no such professional or structure"),
        412 => refused("the identifier names several in the directory"),
        408 | 425 | 429 | 500 | 502 | 503 | 504 => {
            Outcome::Later(format!("HTTP {status}: the directory asks for patience"), after)
        }
        _ => refused("not an answer of this API"),
    }
}

/// For a query in an address: all but what RFC 3986 §2.3 leaves alone.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(octet));
            }
            _ => encoded.push_str(&format!("%{octet:02X}")),
        }
    }
    encoded
}

/// The `Parameters` of a FHIRPath PATCH.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    resource_type: &'static str,
    parameter: [Operation; 1],
}

#[derive(Serialize)]
struct Operation {
    name: &'static str,
    part: Vec<Part>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Part {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_string: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_integer: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_boolean: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_contact_point: Option<ContactPoint>,
}

#[derive(Serialize)]
struct ContactPoint {
    system: &'static str,
    value: String,
    extension: Vec<Extension>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Extension {
    url: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_boolean: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_string: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extension: Vec<Extension>,
}

fn body(resource: &str, record: &Record, change: Change) -> Vec<u8> {
    let telecom = format!("{resource}.telecom");
    // An address has no quotation mark unless it is quoted, and FHIRPath escapes like that.
    let address = record.address.to_string().replace('\\', "\\\\").replace('\'', "\\'");
    let ours = format!("{telecom}.where(value = '{address}')");
    let kind =
        |name: &'static str| Part { name: "type", value_code: Some(name), ..Part::default() };
    let path = |path: String| Part { name: "path", value_string: Some(path), ..Part::default() };
    let part = match change {
        Change::Delete => vec![kind("delete"), path(ours)],
        Change::Hide(hidden) => vec![
            kind("replace"),
            path(format!("{ours}.extension('{METADATA}').extension('listeRouge').value")),
            Part { name: "value", value_boolean: Some(hidden), ..Part::default() },
        ],
        Change::Insert => vec![
            kind("insert"),
            path(telecom),
            Part { name: "index", value_integer: Some(0), ..Part::default() },
            Part {
                name: "value",
                value_contact_point: Some(contact_point(record)),
                ..Part::default()
            },
        ],
    };
    let parameters = Parameters {
        resource_type: "Parameters",
        parameter: [Operation { name: "operation", part }],
    };
    serde_json::to_vec(&parameters).expect("text, numbers and lists are JSON")
}

fn contact_point(record: &Record) -> ContactPoint {
    let code = record.kind.code();
    let mut metadata = vec![
        Extension { url: "type", value_code: Some(code), ..Extension::default() },
        Extension { url: "listeRouge", value_boolean: Some(false), ..Extension::default() },
    ];
    if !record.description.is_empty() {
        let text = Some(record.description.clone());
        metadata.push(Extension { url: "description", value_string: text, ..Extension::default() });
    }
    ContactPoint {
        system: "email",
        value: record.address.to_string(),
        extension: vec![Extension { url: METADATA, extension: metadata, ..Extension::default() }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Address;
    use crate::domain::mailbox::MailboxKind;

    fn record(address: &str, kind: MailboxKind, description: &str) -> Record {
        Record {
            address: Address::parse(address).unwrap(),
            kind,
            holder: Holder::Unknown,
            description: description.to_owned(),
            name: String::new(),
            given_name: String::new(),
            profession: String::new(),
            structure_name: String::new(),
            service: String::new(),
        }
    }

    #[test]
    fn bodies_are_those_of_the_draft() {
        let eloise = record("eloise.lumier@medecin.exemple.mssante.fr", MailboxKind::Personal, "");
        let ward = record(
            "radiologie@ch-valfictif.exemple.mssante.fr",
            MailboxKind::Organisational,
            "Radiologie",
        );
        for (resource, record, change, sample) in [
            (
                "Practitioner",
                &eloise,
                Change::Delete,
                include_str!("../../../tests/vectors/fhir/api-mss_patch_delete_per.json"),
            ),
            (
                "Organization",
                &ward,
                Change::Insert,
                include_str!("../../../tests/vectors/fhir/api-mss_patch_insert_org.json"),
            ),
            (
                "Practitioner",
                &eloise,
                Change::Hide(true),
                include_str!("../../../tests/vectors/fhir/api-mss_patch_replace_listerouge.json"),
            ),
        ] {
            let body = String::from_utf8(body(resource, record, change)).unwrap();
            // Key by key, in the sample's order.
            assert_eq!(body, squeeze(sample));
        }
    }

    /// A JSON text without the white space between its parts.
    fn squeeze(text: &str) -> String {
        let mut squeezed = String::new();
        let (mut quoted, mut escaped) = (false, false);
        for letter in text.chars() {
            if quoted || !letter.is_whitespace() {
                squeezed.push(letter);
            }
            if letter == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = letter == '\\' && !escaped;
        }
        squeezed
    }

    #[test]
    fn an_answer_says_whether_to_try_again() {
        assert_eq!(judged(200, None, Change::Insert), Outcome::Done);
        assert_eq!(judged(404, None, Change::Delete), Outcome::Done);
        for status in [400, 401, 403, 404, 412, 302, 418] {
            assert!(
                matches!(judged(status, None, Change::Insert), Outcome::Refused(_)),
                "{status}"
            );
        }
        for status in [429, 500, 503] {
            let outcome = judged(status, Some(7), Change::Insert);
            assert!(matches!(outcome, Outcome::Later(_, Some(7))), "{status}");
        }
        assert_eq!(encoded("urn:oid:1.2|8-ü"), "urn%3Aoid%3A1.2%7C8-%C3%BC");
    }
}
