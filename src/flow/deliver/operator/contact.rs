//! With whom a letter was spoken about, and what they called it.
use std::net::SocketAddr;

use crate::domain::certificate::CertificateFacts;
use crate::domain::certificate::RevocationEvidence;
use crate::domain::delivery::MailHost;

/// Characters of a remote name of a letter; real ones have a dozen to a hundred.
const REMOTE_ID_CHARACTERS_MAX: usize = 128;

/// With whom a letter was spoken about: for its timeline. Empty where it did not come so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The host that was tried last, as the route or the DNS names it, with its port.
    pub host: String,
    /// Its network address.
    pub address: Option<SocketAddr>,
    /// The certificate that it showed.
    pub certificate: Option<CertificateFacts>,
    /// What is known of the certificate's revocation.
    pub revocation: Option<RevocationEvidence>,
    /// TLS version and suite.
    pub tls: Option<String>,
    /// True when it offered DSN (RFC 3461 §4): it makes the reports that were asked for.
    pub offers_dsn: bool,
    /// What it called the letter in its last word: `queued as 4XyZ`.
    pub remote_id: Option<String>,
    /// How far it came.
    pub(super) said: Said,
}

impl Contact {
    /// A host that is about to be tried.
    pub(super) fn begin(host: &MailHost, address: SocketAddr) -> Self {
        Self { host: host.to_string(), address: Some(address), ..Self::default() }
    }
}

/// A host that was called, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// `host:port`.
    pub host: String,
    /// True when its EHLO inside TLS came back. A host that takes connections and says nothing
    /// is as dead as one that takes none.
    pub answers: bool,
}

/// How it went with each host of an attempt.
#[derive(Default)]
pub(super) struct Meetings(Vec<(String, Said)>);

/// What a host said so far, in the order of how much it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Said {
    /// Nothing that we could use: no connection, no greeting, no TLS, no EHLO.
    Nothing,
    /// It was not called; or it is there, and we may not speak to it for this domain.
    #[default]
    Unclear,
    /// Its EHLO inside TLS.
    Ehlo,
}

impl Meetings {
    /// One of the host's addresses was tried; the best one speaks for the host.
    pub(super) fn note(&mut self, host: &MailHost, said: Said) {
        let name = host.to_string();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = said.max(*known),
            None => self.0.push((name, said)),
        }
    }

    /// The hosts about which something is known now.
    pub(super) fn met(self) -> Vec<Met> {
        let known = self.0.into_iter().filter(|(_, said)| *said != Said::Unclear);
        known.map(|(host, said)| Met { host, answers: said == Said::Ehlo }).collect()
    }
}

/// What a server calls a letter in its 250 to the end of the content. There is no rule for it,
/// only habits: Postfix and we say `queued as X`, Exim `id=X`, OpenSMTPD and Sendmail `X Message
/// accepted`, Exchange `<X> … Queued mail for delivery`.
pub(super) fn remote_id(reply: &str) -> Option<String> {
    let lower = reply.to_ascii_lowercase();
    let behind = |mark: &str| {
        let at = lower.find(mark)? + mark.len();
        reply.get(at..)?.split_whitespace().next()
    };
    let before = |mark: &str| {
        let at = lower.find(mark)?;
        reply.get(..at)?.split_whitespace().next_back()
    };
    let in_brackets = || {
        lower.find("queued mail for delivery")?;
        reply.split_once('<')?.1.split_once('>').map(|(id, _)| id)
    };
    let word = behind("queued as ")
        .or_else(|| behind(" id="))
        .or_else(|| before(" message accepted"))
        .or_else(in_brackets)?;
    let id = word.trim_matches(|c: char| "<>()[],;:.'\"".contains(c));
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.@+/=*".contains(&octet);
    let good = !id.is_empty()
        && id.len() <= REMOTE_ID_CHARACTERS_MAX
        && id.bytes().all(plain)
        && id.bytes().any(|octet| octet.is_ascii_alphanumeric())
        // `250 2.0.0 Message accepted` names nothing.
        && crate::domain::status::EnhancedStatus::parse(id).is_none()
        && id != "250";
    good.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_address_of_a_host_speaks_for_it_and_a_stranger_says_nothing() {
        let host = |last: u8| MailHost::at(std::net::IpAddr::from([192, 0, 2, last]), 25);
        let mut meetings = Meetings::default();
        for (last, said) in [
            (1, Said::Nothing),
            (1, Said::Ehlo),
            (1, Said::Nothing),
            (2, Said::Nothing),
            (3, Said::Unclear),
            (3, Said::Nothing),
        ] {
            meetings.note(&host(last), said);
        }
        let met = |last: u8, answers: bool| Met { host: host(last).to_string(), answers };
        assert_eq!(meetings.met(), [met(1, true), met(2, false)]);
    }

    #[test]
    fn the_remote_name_of_a_letter_is_found_in_every_habit() {
        for (reply, expected) in [
            ("250 2.0.0 Ok: queued as 4XyZ0k2b3Cz9vRs", Some("4XyZ0k2b3Cz9vRs")),
            ("250 2.0.0 Queued as 0192f3a4b5c6", Some("0192f3a4b5c6")),
            ("250 OK id=1tQabc-0000aB-Cd", Some("1tQabc-0000aB-Cd")),
            ("250 2.0.0 66f1ab Message accepted for delivery", Some("66f1ab")),
            ("250 2.6.0 <a@b.test> [InternalId=7] Queued mail for delivery", Some("a@b.test")),
            ("250 2.0.0 Ok: queued as <abc>.", Some("abc")),
            ("250 2.0.0 Message accepted", None),
            ("250 Message accepted", None),
            ("250 2.0.0 ok", None),
            ("250 queued as ", None),
            ("250 queued as ???", None),
            ("", None),
        ] {
            assert_eq!(remote_id(reply).as_deref(), expected, "{reply:?}");
        }
        assert_eq!(remote_id(&format!("250 queued as {}", "a".repeat(200))), None);
    }
}
