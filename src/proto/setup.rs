//! What mail programs read to set themselves up: Thunderbird's autoconfig, Outlook's Autodiscover,
//! Apple's profiles, the policy of MTA-STS, and DNS records.
//!
//! All of it says one thing, an [`Offer`], in the words of each reader.
pub mod apple;
pub mod autoconfig;
pub mod autodiscover;
pub mod mta_sts;
pub mod records;

use crate::domain::address::Domain;

/// What this relay offers to people's programs.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Who offers it, for people.
    pub name: String,
    /// The host on which all doors are.
    pub host: Domain,
    /// Where the pages are, without a slash at the end; `None` without pages.
    pub pages: Option<String>,
    /// The doors that are open, TLS from the first byte before STARTTLS.
    pub services: Vec<Service>,
    /// What one can log in with, the best first.
    pub means: Vec<Means>,
    /// The address book over LDAP stands below this entry.
    pub address_book: String,
}

/// A door for mail programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// What is spoken there.
    pub protocol: Protocol,
    /// How it is encrypted.
    pub security: Security,
    /// On which port.
    pub port: u16,
}

/// What is spoken at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// SMTP submission.
    Submission,
    /// ManageSieve.
    Sieve,
    /// LDAP, for the address book.
    Ldap,
}

/// How a door is encrypted. None is without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// From the first byte.
    Tls,
    /// After STARTTLS.
    StartTls,
}

/// What one can log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A token of an OpenID provider.
    Token,
    /// A password, in clear under TLS.
    Password,
    /// A client certificate.
    Certificate,
}

impl Offer {
    /// The doors for a protocol, the better one first.
    pub fn services(&self, protocol: Protocol) -> impl Iterator<Item = Service> {
        self.services.iter().copied().filter(move |service| service.protocol == protocol)
    }

    /// The best door for a protocol.
    pub fn best(&self, protocol: Protocol) -> Option<Service> {
        self.services(protocol).next()
    }
}

/// Text between tags, or in an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML 1.0 has no way to write the others.
            c if c.is_control() && !"\t\n\r".contains(c) => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The doors of `config/vaguemestre.toml`.
    pub(super) fn offer() -> Offer {
        let service = |protocol, security, port| Service { protocol, security, port };
        Offer {
            name: "Hôpital & <Cie>".to_owned(),
            host: Domain::parse("mx.hopital.mssante.fr").unwrap(),
            pages: Some("https://mx.hopital.mssante.fr".to_owned()),
            services: vec![
                service(Protocol::Imap, Security::Tls, 993),
                service(Protocol::Imap, Security::StartTls, 143),
                service(Protocol::Pop3, Security::Tls, 995),
                service(Protocol::Submission, Security::Tls, 465),
                service(Protocol::Submission, Security::StartTls, 587),
                service(Protocol::Sieve, Security::StartTls, 4190),
                service(Protocol::Ldap, Security::Tls, 636),
            ],
            means: vec![Means::Token, Means::Password, Means::Certificate],
            address_book: "dc=mssante,dc=fr".to_owned(),
        }
    }

    #[test]
    fn nothing_ends_an_element_early() {
        assert_eq!(escaped("<a b='\"&\u{0}\n"), "&lt;a b=&#39;&quot;&amp; \n");
        assert_eq!(offer().best(Protocol::Submission).unwrap().port, 465);
    }
}
