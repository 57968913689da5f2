//! The stored form of a decision. There is no person in it: domains, certificates, networks.
use std::net::IpAddr;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Domain;
use crate::domain::certificate::CertificateFacts;
use crate::domain::certificate::RevocationEvidence;
use crate::domain::certificate::Standing;
use crate::domain::decision::Decision;
use crate::domain::decision::ListEvidence;
use crate::domain::decision::SessionId;
use crate::domain::envelope::QueueId;
use crate::domain::operator::ListVersion;
use crate::domain::operator::OperatorDn;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::infra::store::row;

pub(super) const DECISIONS: &[u8] = b"D/";
pub(super) const LETTERS: &[u8] = b"d/";
const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Row {
    at: u64,
    ip: Option<IpAddr>,
    client_name: String,
    tls: Option<String>,
    certificate: Option<CertificateRow>,
    certificate_trouble: String,
    revocation: Option<RevocationRow>,
    list: Option<ListRow>,
    mail_from: Option<String>,
    letter: Option<[u8; 16]>,
    refusal: Option<String>,
}

type Name = Vec<(String, String)>;

#[derive(Serialize, Deserialize)]
struct CertificateRow {
    subject: Name,
    issuer: Name,
    serial: String,
    not_before: u64,
    not_after: u64,
}

#[derive(Serialize, Deserialize)]
struct RevocationRow {
    standing: StandingRow,
    source: String,
    made: Option<u64>,
    ends: Option<u64>,
    fetched: Option<u64>,
    in_grace: bool,
    trouble: String,
}

#[derive(Serialize, Deserialize)]
enum StandingRow {
    Good,
    Revoked(u64),
    Unknown,
    NotAsked,
}

/// The entry is (domain, the certificate's own subject): only the domain is stored.
#[derive(Serialize, Deserialize)]
struct ListRow {
    generated: u64,
    digest: [u8; 32],
    entry: Option<String>,
}

pub(super) fn key_of_session(session: SessionId) -> Vec<u8> {
    [DECISIONS, session.as_bytes()].concat()
}

pub(super) fn key(session: SessionId, row: [u8; 16]) -> Vec<u8> {
    [DECISIONS, session.as_bytes(), &row].concat()
}

pub(super) fn letter_key(letter: QueueId) -> Vec<u8> {
    [LETTERS, letter.as_bytes()].concat()
}

/// Session and row of a decision's key.
pub(super) fn ids(key: &[u8]) -> Option<(SessionId, [u8; 16])> {
    let (session, row) = key.strip_prefix(DECISIONS)?.split_first_chunk::<16>()?;
    Some((SessionId::from_bytes(*session), row.try_into().ok()?))
}

pub(super) fn encode(decision: &Decision) -> Vec<u8> {
    let certificate = decision.certificate.as_ref().map(|facts| CertificateRow {
        subject: facts.subject.pairs().to_vec(),
        issuer: facts.issuer.pairs().to_vec(),
        serial: facts.serial.clone(),
        not_before: facts.not_before.as_millis(),
        not_after: facts.not_after.as_millis(),
    });
    let list = decision.list.as_ref().map(|list| ListRow {
        generated: list.version.generated.as_millis(),
        digest: list.version.digest,
        entry: list.entry.as_ref().map(|(domain, _)| domain.to_string()),
    });
    let row = Row {
        at: decision.at.as_millis(),
        ip: decision.ip,
        client_name: decision.client_name.clone(),
        tls: decision.tls.clone(),
        certificate,
        certificate_trouble: decision.certificate_trouble.clone(),
        revocation: decision.revocation.as_ref().map(revocation_row),
        list,
        mail_from: decision.mail_from.as_ref().map(Domain::to_string),
        letter: decision.letter.map(|letter| *letter.as_bytes()),
        refusal: decision.refusal.map(|refusal| refusal.name().to_owned()),
    };
    row::encode(FORMAT, &row)
}

fn revocation_row(evidence: &RevocationEvidence) -> RevocationRow {
    RevocationRow {
        standing: match evidence.standing {
            Standing::Good => StandingRow::Good,
            Standing::Revoked(since) => StandingRow::Revoked(since.as_millis()),
            Standing::Unknown => StandingRow::Unknown,
            Standing::NotAsked => StandingRow::NotAsked,
        },
        source: evidence.source.clone(),
        made: evidence.made.map(Timestamp::as_millis),
        ends: evidence.ends.map(Timestamp::as_millis),
        fetched: evidence.fetched.map(Timestamp::as_millis),
        in_grace: evidence.in_grace,
        trouble: evidence.trouble.clone(),
    }
}

/// `None` when the row is damaged, or of a younger relay.
pub(super) fn decode(session: SessionId, value: &[u8]) -> Option<Decision> {
    let row: Row = row::decode(FORMAT, value)?;
    let certificate = row.certificate.map(|facts| CertificateFacts {
        subject: OperatorDn::new(facts.subject),
        issuer: OperatorDn::new(facts.issuer),
        serial: facts.serial,
        not_before: Timestamp::from_millis(facts.not_before),
        not_after: Timestamp::from_millis(facts.not_after),
    });
    let list = row.list.map(|list| {
        let domain = list.entry.and_then(|domain| Domain::parse(&domain).ok());
        let subject = certificate.as_ref().map(|facts| facts.subject.clone());
        let generated = Timestamp::from_millis(list.generated);
        let version = ListVersion { generated, digest: list.digest };
        ListEvidence { version, entry: domain.zip(subject) }
    });
    let refusal = match row.refusal {
        // A reason that this relay does not know must not read as "let in".
        Some(name) => Some(Refusal::ALL.into_iter().find(|refusal| refusal.name() == name)?),
        None => None,
    };
    Some(Decision {
        session,
        at: Timestamp::from_millis(row.at),
        ip: row.ip,
        client_name: row.client_name,
        tls: row.tls,
        certificate,
        certificate_trouble: row.certificate_trouble,
        revocation: row.revocation.map(evidence_of),
        list,
        mail_from: row.mail_from.and_then(|domain| Domain::parse(&domain).ok()),
        letter: row.letter.map(QueueId::from_bytes),
        refusal,
    })
}

fn evidence_of(row: RevocationRow) -> RevocationEvidence {
    RevocationEvidence {
        standing: match row.standing {
            StandingRow::Good => Standing::Good,
            StandingRow::Revoked(since) => Standing::Revoked(Timestamp::from_millis(since)),
            StandingRow::Unknown => Standing::Unknown,
            StandingRow::NotAsked => Standing::NotAsked,
        },
        source: row.source,
        made: row.made.map(Timestamp::from_millis),
        ends: row.ends.map(Timestamp::from_millis),
        fetched: row.fetched.map(Timestamp::from_millis),
        in_grace: row.in_grace,
        trouble: row.trouble,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Decision {
        let subject = OperatorDn::new([("CN", "mx.cabinet.test"), ("C", "FR")]);
        let (at, ends) = (Timestamp::from_seconds(1_795_388_399), Timestamp::from_seconds(1 << 31));
        Decision {
            session: SessionId::from_bytes([1; 16]),
            at,
            ip: Some([192, 0, 2, 7].into()),
            client_name: "mx.cabinet.test".to_owned(),
            tls: Some("TLSv1_3 TLS13_AES_128_GCM_SHA256".to_owned()),
            certificate: Some(CertificateFacts {
                subject: subject.clone(),
                issuer: OperatorDn::new([("CN", "CA")]),
                serial: "0f".to_owned(),
                not_before: at,
                not_after: ends,
            }),
            certificate_trouble: "expired".to_owned(),
            revocation: Some(RevocationEvidence {
                standing: Standing::Revoked(at),
                source: "http://crl.test/".to_owned(),
                made: Some(at),
                ends: Some(ends),
                fetched: Some(at),
                in_grace: true,
                trouble: "no answer".to_owned(),
            }),
            list: Some(ListEvidence {
                version: ListVersion { generated: at, digest: [7; 32] },
                entry: Some((Domain::parse("cabinet.test").unwrap(), subject)),
            }),
            mail_from: Some(Domain::parse("cabinet.test").unwrap()),
            letter: Some(QueueId::from_bytes([2; 16])),
            refusal: Some(Refusal::PeerCertificateRevoked),
        }
    }

    #[test]
    fn a_decision_comes_back_as_it_was_stored() {
        let empty = Decision {
            ip: None,
            tls: None,
            certificate: None,
            revocation: None,
            list: None,
            mail_from: None,
            letter: None,
            refusal: None,
            ..full()
        };
        for decision in [full(), empty] {
            assert_eq!(decode(decision.session, &encode(&decision)), Some(decision));
        }
    }

    #[test]
    fn every_reason_and_standing_comes_back() {
        for refusal in Refusal::ALL {
            let decision = Decision { refusal: Some(refusal), ..full() };
            assert_eq!(decode(decision.session, &encode(&decision)), Some(decision));
        }
        for standing in [Standing::Good, Standing::Unknown, Standing::NotAsked] {
            let mut decision = full();
            decision.revocation =
                Some(RevocationEvidence { standing, ..RevocationEvidence::not_asked() });
            assert_eq!(decode(decision.session, &encode(&decision)), Some(decision));
        }
    }

    #[test]
    fn a_damaged_row_or_an_unknown_reason_never_reads_as_let_in() {
        let decision = full();
        let stored = encode(&decision);
        assert_eq!(decode(decision.session, &stored[..stored.len() - 1]), None);
        let reason = b"peer-certificate-revoked";
        let at = stored.windows(reason.len()).position(|window| window == reason).unwrap();
        let renamed = [&stored[..at], b"peer-certificate-revived", &stored[at + reason.len()..]];
        assert_eq!(decode(decision.session, &renamed.concat()), None);
    }

    #[test]
    fn keys_of_one_session_stand_together_in_the_order_of_time() {
        let session = SessionId::from_bytes([3; 16]);
        let made = key(session, [9; 16]);
        assert!(made.starts_with(&key_of_session(session)));
        assert_eq!(ids(&made), Some((session, [9; 16])));
        assert_eq!(ids(&letter_key(QueueId::from_bytes([1; 16]))), None);
    }
}
