//! Why somebody was let in or refused at the operators' door, and what to do about it.
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::certificate::CertificateFacts;
use crate::domain::certificate::RevocationEvidence;
use crate::domain::certificate::Standing;
use crate::domain::decision::Decision;
use crate::domain::decision::ListEvidence;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::decisions;
use crate::flow::office::Office;
use crate::proto::smtp::reply::Reply;
use crate::server::control::Caller;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What was decided about a session, a letter or a Message-ID, and why.
    Why {
        /// Session id or queue id (with or without hyphens), or Message-ID.
        id: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Every decision that is kept about it, oldest first; at least one.
    Decisions(Vec<Explained>),
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The connection: 32 hexadecimal digits.
    pub session: String,
    /// RFC 3339, UTC.
    pub at: String,
    /// `let-in` or `refused`.
    pub verdict: String,
    /// The reason's stable name; absent when let in.
    pub reason: Option<String>,
    /// What the caller was told, with its codes; absent when let in, and before TLS.
    pub reply: Option<String>,
    /// From which network address.
    pub ip: Option<String>,
    /// What EHLO said; empty before it.
    pub client_name: String,
    /// TLS version and suite; absent in clear.
    pub tls: Option<String>,
    /// What was shown.
    pub certificate: Option<Certificate>,
    /// What was wrong with the certificate or the handshake; empty when nothing was.
    pub certificate_trouble: String,
    /// What was known of its revocation.
    pub revocation: Option<Revocation>,
    /// The list that was asked.
    pub list: Option<List>,
    /// The domain of MAIL FROM; absent before MAIL and for the null path.
    pub mail_from: Option<String>,
    /// The queue id of the letter that was taken in.
    pub letter: Option<String>,
    /// All of this as a paragraph for people.
    pub told: String,
    /// What to do next.
    pub next: String,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whose.
    pub subject: String,
    /// By whom.
    pub issuer: String,
    /// Lower-case hexadecimal.
    pub serial: String,
    /// RFC 3339, UTC.
    pub not_before: String,
    /// RFC 3339, UTC.
    pub not_after: String,
}

/// Evidence about revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// `good`, `revoked`, `unknown`, `not-asked`.
    pub standing: String,
    /// Since when it is revoked.
    pub revoked_since: Option<String>,
    /// CRL or responder; empty when nobody was asked.
    pub source: String,
    /// When its issuer made it.
    pub made: Option<String>,
    /// How old it was when it was used.
    pub age_seconds: Option<u64>,
    /// Until when it counts.
    pub ends: Option<String>,
    /// When it was fetched.
    pub fetched: Option<String>,
    /// It counted beyond its end, under the configured grace.
    pub in_grace: bool,
    /// Why there was no answer; empty otherwise.
    pub trouble: String,
}

/// The trust list that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// When its publisher made it.
    pub generated: String,
    /// The first digits of its digest, as `trust status` shows them.
    pub version: String,
    /// SHA-256 of the published document.
    pub digest: String,
    /// The domain of the entry that let the caller in; absent when there was none.
    pub entry: Option<String>,
}

/// Does it. `Err` is a sentence for the administrator: what is wrong and what to do.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    _caller: &Caller,
) -> Result<Answer, String> {
    let Request::Why { id } = request;
    let found = decisions::explain(office, &id).await;
    let found = found.map_err(|refusal| format!("the decisions cannot be read: {refusal}"))?;
    if found.is_empty() {
        let days = office.config.trace.keep.as_secs() / 86_400;
        return Err(format!(
            "No decision is kept under that name. Give the session of a reply \"(session …)\" or \
             of a log line, the id behind \"Queued as\", or a Message-ID of a letter that came in \
             by the operators' door. Decisions are kept for {days} days (trace.keep_days); of strangers' refusals only some of each second and \
             the last ones since the start."
        ));
    }
    Ok(Answer::Decisions(found.iter().map(explained).collect()))
}

fn explained(decision: &Decision) -> Explained {
    Explained {
        session: decision.session.to_string(),
        at: decision.at.to_string(),
        verdict: if decision.refusal.is_none() { "let-in" } else { "refused" }.to_owned(),
        reason: decision.refusal.map(|refusal| refusal.name().to_owned()),
        reply: decision.refusal.and_then(|refusal| reply(decision, refusal)),
        ip: decision.ip.map(|ip| ip.to_string()),
        client_name: plain(&decision.client_name),
        tls: decision.tls.clone(),
        certificate: decision.certificate.as_ref().map(certificate),
        certificate_trouble: plain(&decision.certificate_trouble),
        revocation: decision.revocation.as_ref().map(|found| revocation(found, decision.at)),
        list: decision.list.as_ref().map(list),
        mail_from: decision.mail_from.as_ref().map(ToString::to_string),
        letter: decision.letter.map(|letter| letter.to_string()),
        told: plain(&told(decision)),
        next: decision.refusal.map_or_else(
            || "Nothing: the letter was taken in.".to_owned(),
            |refusal| next(decision, refusal).to_owned(),
        ),
    }
}

fn certificate(facts: &CertificateFacts) -> Certificate {
    Certificate {
        subject: plain(&facts.subject.to_string()),
        issuer: plain(&facts.issuer.to_string()),
        serial: plain(&facts.serial),
        not_before: facts.not_before.to_string(),
        not_after: facts.not_after.to_string(),
    }
}

fn revocation(evidence: &RevocationEvidence, at: Timestamp) -> Revocation {
    let revoked_since = match evidence.standing {
        Standing::Revoked(since) => Some(since.to_string()),
        _ => None,
    };
    Revocation {
        standing: evidence.standing.name().to_owned(),
        revoked_since,
        source: plain(&evidence.source),
        made: evidence.made.map(|made| made.to_string()),
        age_seconds: evidence.made.map(|made| at.since(made).as_secs()),
        ends: evidence.ends.map(|ends| ends.to_string()),
        fetched: evidence.fetched.map(|fetched| fetched.to_string()),
        in_grace: evidence.in_grace,
        trouble: plain(&evidence.trouble),
    }
}

fn list(evidence: &ListEvidence) -> List {
    List {
        generated: evidence.version.generated.to_string(),
        version: evidence.version.short(),
        digest: evidence.version.digest.iter().map(|octet| format!("{octet:02x}")).collect(),
        entry: evidence.entry.as_ref().map(|(domain, _)| domain.to_string()),
    }
}

/// The refusal as it went over the wire; none when the handshake failed or was never begun.
fn reply(decision: &Decision, refusal: Refusal) -> Option<String> {
    if decision.certificate.is_none() && !decision.certificate_trouble.is_empty() {
        return None;
    }
    let mut wire = Vec::new();
    Reply::from(refusal).in_session(decision.session).write_to(&mut wire);
    Some(String::from_utf8_lossy(&wire).trim_end().to_owned())
}

/// One paragraph: when, from where, with what, and what was decided.
fn told(decision: &Decision) -> String {
    let mut told = format!("{}, session {}: ", decision.at, decision.session);
    let name = match decision.client_name.as_str() {
        "" => "a caller",
        name => name,
    };
    let ip = decision.ip.map(|ip| format!(" from {ip}")).unwrap_or_default();
    let tls = match &decision.tls {
        Some(tls) => format!(" over {tls}"),
        None => " without TLS".to_owned(),
    };
    let verdict = match (decision.refusal, decision.letter) {
        (Some(refusal), _) => format!("was refused ({refusal})"),
        (None, Some(letter)) => format!("was let in with letter {letter}"),
        (None, None) => "was let in".to_owned(),
    };
    let parts = [
        format!("{name}{ip}{tls} {verdict}."),
        certificate_told(decision),
        decision
            .revocation
            .as_ref()
            .map_or_else(String::new, |it| revocation_told(it, decision.at)),
        decision.list.as_ref().map_or_else(String::new, |list| list_told(list, decision)),
        mail_from_told(decision),
    ];
    let parts: Vec<&str> =
        parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    told.push_str(&parts.join(" "));
    told
}

fn certificate_told(decision: &Decision) -> String {
    let trouble = &decision.certificate_trouble;
    let Some(facts) = &decision.certificate else {
        return match trouble.as_str() {
            "" => "It showed no certificate.".to_owned(),
            trouble => format!("No certificate was seen: {trouble}."),
        };
    };
    let mut told = format!(
        "Certificate: subject {}, issuer {}, serial {}, valid from {} until {}",
        facts.subject, facts.issuer, facts.serial, facts.not_before, facts.not_after
    );
    if !trouble.is_empty() {
        told.push_str(&format!("; it is not good: {trouble}"));
    }
    told.push('.');
    told
}

fn revocation_told(evidence: &RevocationEvidence, at: Timestamp) -> String {
    let mut told = match evidence.standing {
        Standing::Good => "Revocation: not revoked".to_owned(),
        Standing::Revoked(since) => format!("Revocation: revoked since {since}"),
        Standing::Unknown => "Revocation: nobody could say".to_owned(),
        Standing::NotAsked => "Revocation: nobody was asked".to_owned(),
    };
    // A `String` takes whatever is written.
    if !evidence.source.is_empty() {
        let _ = write!(told, ", by {}", evidence.source);
    }
    if let Some(made) = evidence.made {
        let _ = write!(told, ", made {made} ({} before)", age(at.since(made)));
    }
    if let Some(ends) = evidence.ends {
        let _ = write!(told, ", counts until {ends}");
    }
    if evidence.in_grace {
        told.push_str(" and beyond, under the configured grace");
    }
    if !evidence.trouble.is_empty() {
        let _ = write!(told, " ({})", evidence.trouble);
    }
    told.push('.');
    told
}

fn list_told(list: &ListEvidence, decision: &Decision) -> String {
    let version = list.version;
    let old = age(decision.at.since(version.generated));
    let entry = match (&list.entry, &decision.mail_from) {
        (Some((domain, _)), _) => format!("lists this subject for {domain}"),
        (None, Some(domain)) => format!("does not list this subject for {domain}"),
        (None, None) => "lists this subject for no domain".to_owned(),
    };
    format!("The trust list {version}, {old} old, {entry}.")
}

fn mail_from_told(decision: &Decision) -> String {
    match (&decision.mail_from, decision.letter) {
        (Some(domain), _) => format!("MAIL FROM was of {domain}."),
        (None, Some(_)) => {
            "MAIL FROM was the null path: the certificate alone was judged.".to_owned()
        }
        (None, None) => "No domain was named in MAIL FROM.".to_owned(),
    }
}

/// In the largest unit of which there are two.
fn age(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// One action for each reason, for the administrator here.
fn next(decision: &Decision, refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::PeerCertificateMissing if decision.tls.is_none() => {
            "Ask the other operator to say STARTTLS and to end the handshake; if its TLS library \
             is too old for TLS 1.2 with ECDHE, it has to be renewed."
        }
        Refusal::PeerCertificateMissing => {
            "Ask the other operator to show its certificate as a TLS client towards this host \
             (Postfix: smtp_tls_cert_file, smtp_tls_key_file)."
        }
        Refusal::PeerCertificateInvalid => {
            "Ask the other operator for a certificate of the trust space's CA that is in its dates \
             and for TLS clients; if it is one, check mx.anchors and \
             mx.accept_server_certificates here, and the clock."
        }
        Refusal::PeerCertificateRevoked => {
            "Nothing here: tell the other operator that its authority has revoked the certificate, \
             and let nobody make an exception."
        }
        Refusal::RevocationUnknown => {
            "Check that this host reaches the CRL or OCSP responder named above, or put a CRL into \
             revocation.crl_files; the other operator will try again by itself."
        }
        Refusal::TrustListExpired => {
            "Fetch a younger trust list (vaguemestre trust refresh) and see why the schedule did \
             not (vaguemestre trust status); the other operator will try again by itself."
        }
        Refusal::PeerNotListed => {
            "Compare the subject with the list (vaguemestre trust status); if the operator should \
             be there, its registration at the list's publisher is missing or names another \
             certificate."
        }
        Refusal::PeerDomainMismatch => {
            "See who is listed for the domain (vaguemestre trust show DOMAIN); the other operator \
             sends with a domain that is not its own, or has not registered this certificate for \
             it."
        }
        Refusal::RelayDenied => {
            "The recipient's domain is not served here: the other operator's route or MX record \
             for it is wrong, or operator.domains here lacks it."
        }
        Refusal::MailboxUnknown => {
            "Check the address with the sender; if the mailbox should exist, make it (vaguemestre \
             mailbox add)."
        }
        Refusal::MailboxSuspended => "Nothing, or open the mailbox again.",
        Refusal::MailboxFull => "The mailbox's owner has to make room.",
        Refusal::PatientAddressInvalid => {
            "The sender has mistyped the patient's INS; it is not an address."
        }
        Refusal::PatientMayOnlyAnswer => {
            "Nothing: patients answer letters, they do not begin an exchange."
        }
        Refusal::MessageTooLarge => {
            "The sender has to send less at once; the limit is limits.message_octets."
        }
        Refusal::TooManyRecipients => {
            "Nothing: the other relay sends the rest in another letter; the limit is \
             limits.recipients."
        }
        Refusal::ContentMalformed => {
            "The other operator's software writes lines without CRLF, or tries to smuggle a second \
             letter; tell its administrators."
        }
        Refusal::HeaderSenderMissing | Refusal::HeaderSenderNotYours => {
            "The letter's From does not fit its sender; tell the other operator's administrators."
        }
        Refusal::Utf8NotAnnounced => {
            "The other operator's software uses accents in addresses without SMTPUTF8; tell its \
             administrators."
        }
        Refusal::MailLoop => {
            "Look for a forwarding between the two operators that points back, and for the letter's \
             Received fields."
        }
        Refusal::DocumentPatientDiffers => {
            "The sender has to check which patient the document is about, and who gets it."
        }
        Refusal::RecipientKeyMissing => {
            "See the log for why the recipient's keys do not open (master key, damaged mailbox)."
        }
        Refusal::OutsideKeyMissing => {
            "Import the recipient's certificate (vaguemestre keys import), or change openpgp.policies."
        }
        Refusal::Busy => {
            "Nothing if it was rare: the other relay tries again. If it is not, raise \
             limits.clear_octets or add memory."
        }
        Refusal::TooManyFromPeer => {
            "Nothing if it was rare; else raise limits.connections_per_address for this operator."
        }
        Refusal::StoreFailed | Refusal::DependencyFailed => {
            "See the log of that moment for what failed here; the other relay tries again."
        }
        Refusal::StoreFull => "Make room on the disk of storage.data_dir.",
        Refusal::Stopping => "Nothing: the relay was stopping, the other relay tries again.",
        Refusal::NoRoute | Refusal::DomainNotTrusted => {
            "See whether the domain is listed and has a route (vaguemestre trust show DOMAIN)."
        }
        Refusal::AuthRequired
        | Refusal::AuthFailed
        | Refusal::SenderNotYours
        | Refusal::DirectoryAway => "People log in at the submission doors, not here.",
    }
}

/// What strangers wrote could move an administrator's cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Domain;
    use crate::domain::decision::SessionId;
    use crate::domain::operator::ListVersion;
    use crate::domain::operator::OperatorDn;

    fn refused(refusal: Refusal) -> Decision {
        let subject = OperatorDn::new([("CN", "mx.cabinet.test"), ("C", "FR")]);
        let at = Timestamp::from_seconds(1_795_388_399);
        Decision {
            session: SessionId::from_bytes([0xa1; 16]),
            at,
            ip: Some([192, 0, 2, 7].into()),
            client_name: "mx.cabinet.test".to_owned(),
            tls: Some("TLSv1_3 TLS13_AES_128_GCM_SHA256".to_owned()),
            certificate: Some(CertificateFacts {
                subject,
                issuer: OperatorDn::new([("CN", "CA")]),
                serial: "0f".to_owned(),
                not_before: Timestamp::from_seconds(1_790_000_000),
                not_after: Timestamp::from_seconds(1_800_000_000),
            }),
            certificate_trouble: String::new(),
            revocation: Some(RevocationEvidence {
                standing: Standing::Good,
                source: "http://crl.test/ca.crl".to_owned(),
                made: Some(Timestamp::from_seconds(1_795_388_399 - 10_800)),
                ..RevocationEvidence::not_asked()
            }),
            list: Some(ListEvidence {
                version: ListVersion { generated: at, digest: [0xab; 32] },
                entry: None,
            }),
            mail_from: Some(Domain::parse("hopital.test").unwrap()),
            letter: None,
            refusal: Some(refusal),
        }
    }

    #[test]
    fn a_refusal_is_told_with_all_its_grounds_and_one_action() {
        let told = explained(&refused(Refusal::PeerDomainMismatch));
        for part in [
            "2026-11-22T22:59:59Z, session a1a1",
            "mx.cabinet.test from 192.0.2.7 over TLSv1_3",
            "was refused (peer-domain-mismatch)",
            "subject C=fr,CN=mx.cabinet.test, issuer CN=ca, serial 0f",
            "until 2027-01-15T08:00:00Z",
            "not revoked, by http://crl.test/ca.crl",
            "(3 h before)",
            "(abababab)",
            "does not list this subject for hopital.test",
            "MAIL FROM was of hopital.test",
        ] {
            assert!(told.told.contains(part), "{part} is not in: {}", told.told);
        }
        assert!(told.next.contains("trust show"), "{}", told.next);
        assert!(told.reply.unwrap().starts_with("550 5.7.1 "));
    }

    #[test]
    fn every_reason_has_its_action() {
        for refusal in Refusal::ALL {
            let told = explained(&refused(refusal));
            assert!(told.next.ends_with('.'), "{refusal}: {}", told.next);
            assert_eq!(told.reason.as_deref(), Some(refusal.name()));
        }
    }

    #[test]
    fn a_handshake_that_failed_is_told_as_such() {
        let mut decision = refused(Refusal::PeerCertificateMissing);
        decision.certificate = None;
        decision.revocation = None;
        decision.list = None;
        decision.tls = None;
        decision.certificate_trouble = "the TLS handshake failed: no\u{1b}[2J suite".to_owned();
        let told = explained(&decision);
        assert!(
            told.told.contains("No certificate was seen: the TLS handshake failed: no [2J suite.")
        );
        assert!(told.next.contains("STARTTLS"));
    }
}
