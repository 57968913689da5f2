//! Records of any kind that the set-up of programs needs, as a question of administrators: the way
//! of letters never asks here.
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::RecordType;

use crate::infra::dns::DnsError;
use crate::infra::dns::SystemDns;
use crate::infra::dns::system;

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The host that it names, without its last dot; `.` for the root.
    pub host: Option<String>,
    /// The port that it names.
    pub port: Option<u16>,
    /// All of it, as zone files write it; of a TXT record its text.
    pub text: String,
}

impl SystemDns {
    /// The records of a name: `MX`, `SRV`, `CNAME` or `TXT`. None when it has no such record.
    pub async fn look_up(&self, name: &str, kind: &str) -> Result<Vec<Answer>, DnsError> {
        let kind: RecordType =
            kind.parse().map_err(|_| DnsError::Later(format!("no type {kind}")))?;
        let records = match self.ask(system::name(name)?, kind).await {
            Ok(records) => records,
            Err(error) if system::is_empty(&error) => Vec::new(),
            Err(error) => return Err(system::trouble(&error)),
        };
        Ok(records.iter().filter_map(answer).collect())
    }
}

fn answer(record: &RData) -> Option<Answer> {
    let host = |name: &hickory_resolver::proto::rr::Name| {
        if name.is_root() { ".".to_owned() } else { system::text(name) }
    };
    let (host, port, text) = match record {
        RData::MX(mx) => (Some(host(&mx.exchange)), None, record.to_string()),
        RData::SRV(srv) => (Some(host(&srv.target)), Some(srv.port), record.to_string()),
        RData::CNAME(name) => (Some(host(&name.0)), None, record.to_string()),
        RData::TXT(txt) => {
            let octets: Vec<u8> =
                txt.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
            (None, None, String::from_utf8_lossy(&octets).into_owned())
        }
        _ => return None,
    };
    Some(Answer { host, port, text })
}
