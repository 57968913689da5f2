//! Thunderbird's `config-v1.1.xml`, which other programs read, too (K-9, Evolution, KMail).
//!
//! The format is Mozilla's: <https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat>
use std::fmt::Write;

use crate::domain::address::Domain;
use crate::proto::setup::Means;
use crate::proto::setup::Offer;
use crate::proto::setup::Protocol;
use crate::proto::setup::Security;
use crate::proto::setup::Service;
use crate::proto::setup::escaped;

/// The configuration for every mailbox of a domain: it holds `%EMAILADDRESS%`, never an address.
pub fn config(offer: &Offer, domain: &Domain) -> String {
    let name = escaped(&offer.name);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <clientConfig version=\"1.1\">\n  <emailProvider id=\"{domain}\">\n    \
         <domain>{domain}</domain>\n    <displayName>{name}</displayName>\n    \
         <displayShortName>{name}</displayShortName>\n"
    );
    for (element, kind, protocol) in [
        ("incomingServer", "imap", Protocol::Imap),
        ("incomingServer", "pop3", Protocol::Pop3),
        ("outgoingServer", "smtp", Protocol::Submission),
    ] {
        for service in offer.services(protocol) {
            server(&mut xml, offer, element, kind, service);
        }
    }
    if let Some(pages) = &offer.pages {
        let _ = write!(
            xml,
            "    <documentation url=\"{url}/setup\">\n      \
             <descr lang=\"fr\">Configurer un logiciel de messagerie</descr>\n      \
             <descr lang=\"en\">Set up a mail program</descr>\n    </documentation>\n",
            url = escaped(pages)
        );
    }
    xml.push_str("  </emailProvider>\n</clientConfig>\n");
    xml
}

fn server(xml: &mut String, offer: &Offer, element: &str, kind: &str, service: Service) {
    let socket = match service.security {
        Security::Tls => "SSL",
        Security::StartTls => "STARTTLS",
    };
    let _ = write!(
        xml,
        "    <{element} type=\"{kind}\">\n      <hostname>{host}</hostname>\n      \
         <port>{port}</port>\n      <socketType>{socket}</socketType>\n",
        host = offer.host,
        port = service.port,
    );
    // A program takes the first one that it can.
    for means in &offer.means {
        let word = match means {
            Means::Token => "OAuth2",
            Means::Password => "password-cleartext",
            Means::Certificate => "TLS-client-cert",
        };
        let _ = writeln!(xml, "      <authentication>{word}</authentication>");
    }
    let _ = write!(xml, "      <username>%EMAILADDRESS%</username>\n    </{element}>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::setup::tests::offer;

    #[test]
    fn a_program_learns_each_door_and_the_best_login_first() {
        let xml = config(&offer(), &Domain::parse("hopital.mssante.fr").unwrap());
        let text: String = xml.lines().map(str::trim).collect();
        assert!(text.contains(
            "<incomingServer type=\"imap\"><hostname>mx.hopital.mssante.fr</hostname>\
             <port>993</port><socketType>SSL</socketType><authentication>OAuth2</authentication>\
             <authentication>password-cleartext</authentication>\
             <authentication>TLS-client-cert</authentication>\
             <username>%EMAILADDRESS%</username></incomingServer><incomingServer type=\"imap\">"
        ));
        assert!(text.contains("<port>587</port><socketType>STARTTLS</socketType>"));
        assert!(text.contains("<displayName>Hôpital &amp; &lt;Cie&gt;</displayName>"));
        assert!(!text.contains("4190") && !text.contains("plain<"));
    }
}
