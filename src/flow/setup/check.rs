//! Whether the DNS says what it should.
use std::collections::BTreeMap;

use crate::infra::dns::Answer;
use crate::infra::dns::Dns;
use crate::infra::dns::DnsError;
use crate::infra::dns::SystemDns;
use crate::proto::setup::records::Data;
use crate::proto::setup::records::Record;

/// What the DNS says about one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it should say.
    pub record: Record,
    /// What it says.
    pub found: Found,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The record.
    Right,
    /// Nothing of this type.
    Missing,
    /// Something else, as zone files write it.
    Other(Vec<String>),
    /// No answer, so nobody knows.
    Unknown(String),
}

impl Found {
    /// True when somebody has to do something.
    pub const fn is_bad(&self) -> bool {
        !matches!(self, Self::Right)
    }
}

/// Asks for each record. One after the other: it is a command for people, not a race.
pub async fn check(dns: &SystemDns, records: Vec<Record>) -> Vec<Finding> {
    let mut answers: BTreeMap<(String, &'static str), Result<Vec<Answer>, DnsError>> =
        BTreeMap::new();
    let mut findings = Vec::new();
    for record in records {
        let key = (record.name.clone(), record.data.kind());
        if !answers.contains_key(&key) {
            let answer = dns.look_up(&record.name, record.data.kind()).await;
            answers.insert(key.clone(), answer);
        }
        let mut found = match &answers[&key] {
            Ok(answers) => compared(&record.data, answers),
            Err(DnsError::NoSuchName) => compared(&record.data, &[]),
            Err(DnsError::Later(reason)) => Found::Unknown(reason.clone()),
        };
        if let (Data::Cname(host), Found::Missing) = (&record.data, &found)
            && same_addresses(dns, &record.name, host).await
        {
            found = Found::Right;
        }
        findings.push(Finding { record, found });
    }
    findings
}

/// A name may have the host's own addresses instead of being its alias.
async fn same_addresses(dns: &SystemDns, one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (dns.addresses(one).await, dns.addresses(other).await) else {
        return false;
    };
    !one.is_empty() && one.iter().all(|address| other.contains(address))
}

fn compared(wanted: &Data, answers: &[Answer]) -> Found {
    // "Not offered" is said by silence, too.
    let is_off = matches!(wanted, Data::Srv { target, .. } if target == ".");
    if answers.is_empty() {
        return if is_off { Found::Right } else { Found::Missing };
    }
    if answers.iter().any(|answer| says_the_same(wanted, answer)) {
        return Found::Right;
    }
    Found::Other(answers.iter().map(|answer| answer.text.clone()).collect())
}

/// Preferences, priorities and weights are the operator's own to choose.
fn says_the_same(wanted: &Data, answer: &Answer) -> bool {
    let host = |wanted: &str| answer.host.as_deref() == Some(wanted);
    match wanted {
        Data::Mx { host: wanted, .. } | Data::Cname(wanted) => host(wanted),
        Data::Srv { port, target, .. } => answer.port == Some(*port) && host(target),
        // Whoever gets the reports: that somebody does.
        Data::Txt(text) if text.starts_with("v=TLSRPTv1") => answer.text.starts_with("v=TLSRPTv1"),
        Data::Txt(text) => answer.text == *text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(host: Option<&str>, port: Option<u16>, text: &str) -> Answer {
        Answer { host: host.map(str::to_owned), port, text: text.to_owned() }
    }

    #[test]
    fn a_record_is_compared_by_what_counts() {
        let srv = |port, target: &str| Data::Srv {
            priority: 0,
            weight: 1,
            port,
            target: target.to_owned(),
        };
        let other = answer(Some("mx.a.test"), Some(1993), "5 5 1993 mx.a.test.");
        for (wanted, answers, found) in [
            (srv(993, "mx.a.test"), vec![answer(Some("mx.a.test"), Some(993), "")], Found::Right),
            (srv(993, "mx.a.test"), vec![], Found::Missing),
            (srv(0, "."), vec![], Found::Right),
            (srv(0, "."), vec![answer(Some("."), Some(0), "")], Found::Right),
            (
                srv(993, "mx.a.test"),
                vec![other.clone()],
                Found::Other(vec!["5 5 1993 mx.a.test.".to_owned()]),
            ),
            (
                Data::Txt("v=TLSRPTv1; rua=mailto:a@a.test".to_owned()),
                vec![answer(None, None, "v=spf1 -all"), answer(None, None, "v=TLSRPTv1; rua=x")],
                Found::Right,
            ),
        ] {
            assert_eq!(compared(&wanted, &answers), found, "{wanted}");
        }
        assert!(compared(&srv(0, "."), &[other]).is_bad());
    }
}
