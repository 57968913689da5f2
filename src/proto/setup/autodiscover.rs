//! Outlook's Autodiscover, the plain old XML form (MS-OXDSCLI), and the JSON that leads to it.
use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::proto::setup::Offer;
use crate::proto::setup::Protocol;
use crate::proto::setup::Security;
use crate::proto::setup::escaped;

/// The form of answers that we have.
const SCHEMA: &str =
    "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";
const ENVELOPE: &str = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006";

/// What a program asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The mailbox.
    pub address: Address,
}

/// Why there is no answer (MS-OXDSCLI §2.2.4.1.1.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No domain of ours. Whether a mailbox exists is never told.
    NotOurs,
    /// The question cannot be read.
    Invalid,
    /// It wants another form of answer, such as a phone's (ActiveSync).
    OtherForm,
}

/// Reads a question: no DTD, no entities but the five, bounded depth and size.
pub fn question(octets: &[u8]) -> Result<Question, Trouble> {
    if octets.len() > limits::AUTODISCOVER_OCTETS_MAX {
        return Err(Trouble::Invalid);
    }
    let text = std::str::from_utf8(octets).map_err(|_| Trouble::Invalid)?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().check_end_names = true;
    let (mut path, mut address, mut schema) = (Vec::<String>::new(), String::new(), None);
    loop {
        match reader.read_event().map_err(|_| Trouble::Invalid)? {
            Event::Start(start) => {
                if path.len() >= limits::AUTODISCOVER_DEPTH_MAX {
                    return Err(Trouble::Invalid);
                }
                path.push(start.local_name().into_inner().to_owned());
            }
            Event::End(_) => {
                path.pop();
            }
            Event::Text(words) => match path.last().map(String::as_str) {
                Some("EMailAddress") => address.push_str(words.trim()),
                Some("AcceptableResponseSchema") => schema = Some(words.trim().to_owned()),
                _ => {}
            },
            Event::GeneralRef(name) => {
                let meant = referred(&name).ok_or(Trouble::Invalid)?;
                if path.last().is_some_and(|element| element == "EMailAddress") {
                    address.push(meant);
                }
            }
            // It could name entities; nobody needs one here.
            Event::DocType(_) => return Err(Trouble::Invalid),
            Event::Eof => break,
            _ => {}
        }
    }
    if !path.is_empty() {
        return Err(Trouble::Invalid);
    }
    if schema.is_some_and(|schema| schema != SCHEMA) {
        return Err(Trouble::OtherForm);
    }
    Ok(Question { address: Address::parse(&address).map_err(|_| Trouble::Invalid)? })
}

/// The five characters that XML itself has names for.
fn referred(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

/// The settings for a mailbox. The address is the one that was asked about, whoever has it.
pub fn settings(offer: &Offer, question: &Question) -> String {
    let login = escaped(&question.address.to_string());
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\"{ENVELOPE}\">\n  \
         <Response xmlns=\"{SCHEMA}\">\n    <Account>\n      <AccountType>email</AccountType>\n      \
         <Action>settings</Action>\n"
    );
    for (kind, protocol) in
        [("IMAP", Protocol::Imap), ("POP3", Protocol::Pop3), ("SMTP", Protocol::Submission)]
    {
        // Outlook takes one of each kind.
        let Some(service) = offer.best(protocol) else { continue };
        let (ssl, encryption) = match service.security {
            Security::Tls => ("on", "SSL"),
            Security::StartTls => ("off", "TLS"),
        };
        let _ = write!(
            xml,
            "      <Protocol>\n        <Type>{kind}</Type>\n        <Server>{host}</Server>\n        \
             <Port>{port}</Port>\n        <DomainRequired>off</DomainRequired>\n        \
             <LoginName>{login}</LoginName>\n        <SPA>off</SPA>\n        <SSL>{ssl}</SSL>\n        \
             <Encryption>{encryption}</Encryption>\n        <AuthRequired>on</AuthRequired>\n",
            host = offer.host,
            port = service.port,
        );
        if protocol == Protocol::Submission {
            xml.push_str("        <UsePOPAuth>on</UsePOPAuth>\n        <SMTPLast>off</SMTPLast>\n");
        }
        xml.push_str("      </Protocol>\n");
    }
    xml.push_str("    </Account>\n  </Response>\n</Autodiscover>\n");
    xml
}

/// An answer without settings. `time`: `hh:mm:ss`, as Outlook's log shows it.
pub fn trouble(trouble: Trouble, time: &str) -> String {
    let (code, message) = match trouble {
        Trouble::NotOurs => (500, "This relay has no mailboxes of this domain"),
        Trouble::Invalid => (600, "Invalid Request"),
        Trouble::OtherForm => (601, "Provider is not available"),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\"{ENVELOPE}\">\n  \
         <Response>\n    <Error Time=\"{}\" Id=\"0\">\n      <ErrorCode>{code}</ErrorCode>\n      \
         <Message>{message}</Message>\n      <DebugData/>\n    </Error>\n  </Response>\n\
         </Autodiscover>\n",
        escaped(time)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::setup::tests::offer;

    fn asked(address: &str, schema: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Autodiscover xmlns=\"http://schemas.\
             microsoft.com/exchange/autodiscover/outlook/requestschema/2006\"><Request>\
             <EMailAddress>{address}</EMailAddress><AcceptableResponseSchema>{schema}\
             </AcceptableResponseSchema></Request></Autodiscover>"
        )
    }

    #[test]
    fn outlook_gets_one_door_of_each_kind_with_the_login_name() {
        let question = question(asked("dr.martin@hopital.mssante.fr", SCHEMA).as_bytes()).unwrap();
        let xml = settings(&offer(), &question);
        assert_eq!(xml.matches("<Protocol>").count(), 3);
        assert_eq!(xml.matches("<LoginName>dr.martin@hopital.mssante.fr</LoginName>").count(), 3);
        assert!(xml.contains("<Port>993</Port>") && xml.contains("<Encryption>SSL</Encryption>"));
        let mut offer = offer();
        offer.services.retain(|service| service.security == Security::StartTls);
        let xml = settings(&offer, &question);
        assert!(xml.contains("<Port>587</Port>") && xml.contains("<Encryption>TLS</Encryption>"));
        assert!(!xml.contains("POP3"));
    }

    #[test]
    fn a_question_with_a_document_type_or_without_end_is_refused() {
        let good = asked("a@b.mssante.fr", SCHEMA);
        let bomb = format!(
            "<!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;\">]>{}",
            good.replace("a@b", "&c;@b")
        );
        let deep = "<a>".repeat(1_000);
        let far = asked("a@b.mssante.fr", "http://x/mobilesync/responseschema/2006");
        for (octets, trouble) in [
            (bomb.as_bytes(), Trouble::Invalid),
            (good.replace("a@b", "&b;@b").as_bytes(), Trouble::Invalid),
            (deep.as_bytes(), Trouble::Invalid),
            (&good.as_bytes()[..good.len() - 20], Trouble::Invalid),
            (good.replace("a@b.mssante.fr", "nobody").as_bytes(), Trouble::Invalid),
            (b"\xff\xfe<", Trouble::Invalid),
            (b"", Trouble::Invalid),
            (far.as_bytes(), Trouble::OtherForm),
            (vec![b' '; limits::AUTODISCOVER_OCTETS_MAX + 1].as_slice(), Trouble::Invalid),
        ] {
            assert_eq!(question(octets), Err(trouble), "{}", String::from_utf8_lossy(octets));
        }
        assert!(question(good.as_bytes()).is_ok());
    }

    #[test]
    fn an_address_cannot_write_xml() {
        let address = asked("&quot;&lt;x&gt;&quot;@b.mssante.fr", SCHEMA);
        let xml = settings(&offer(), &question(address.as_bytes()).unwrap());
        assert!(xml.contains("<LoginName>&quot;&lt;x&gt;&quot;@b.mssante.fr</LoginName>"), "{xml}");
    }
}
