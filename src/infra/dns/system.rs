//! Asks real DNS servers. The resolver's cache keeps answers for as long as they say.
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::RecordType;

use crate::domain::address::Domain;
use crate::domain::limits::ADDRESSES_PER_HOST_MAX;
use crate::domain::limits::DNS_TIMEOUT;
use crate::domain::limits::MAIL_HOSTS_MAX;
use crate::infra::dns::Dns;
use crate::infra::dns::DnsError;
use crate::infra::dns::Exchanger;
use crate::infra::dns::MailHosts;

/// For one question to one server. Two tries at two servers fit into [`DNS_TIMEOUT`].
const ONE_QUESTION: Duration = Duration::from_secs(5);
/// Tries at a server that does not answer: UDP loses packets.
const TRIES: usize = 2;

/// The DNS of the configuration, or of the system.
pub struct SystemDns {
    servers: Vec<SocketAddr>,
    one_question: Duration,
    /// Built at the first question that works out: a machine may get its resolv.conf late.
    resolver: OnceLock<TokioResolver>,
}

impl SystemDns {
    /// Asks these servers; the system's when there are none.
    pub fn new(servers: &[SocketAddr]) -> Self {
        Self { servers: servers.to_vec(), one_question: ONE_QUESTION, resolver: OnceLock::new() }
    }

    /// The same with less patience for one question, for tests of servers that do not answer.
    pub fn with_patience(servers: &[SocketAddr], one_question: Duration) -> Self {
        Self { one_question, ..Self::new(servers) }
    }

    fn resolver(&self) -> Result<&TokioResolver, DnsError> {
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver);
        }
        let built = self.build().map_err(|error| DnsError::Later(error.to_string()))?;
        Ok(self.resolver.get_or_init(|| built))
    }

    fn build(&self) -> Result<TokioResolver, NetError> {
        let mut builder = if self.servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = self.servers.iter().map(|server| {
                let mut ways = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                ways.iter_mut().for_each(|way| way.port = server.port());
                NameServerConfig::new(server.ip(), true, ways)
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = self.one_question;
        options.attempts = TRIES;
        options.edns0 = true;
        // The last name of a chain of CNAMEs counts; the names between are of no use here.
        options.preserve_intermediates = false;
        builder.build()
    }

    pub(super) async fn ask(&self, name: Name, kind: RecordType) -> Result<Vec<RData>, NetError> {
        let resolver = self.resolver().map_err(|error| NetError::from(error.to_string()))?;
        let answer = tokio::time::timeout(DNS_TIMEOUT, resolver.lookup(name, kind)).await;
        let answer = answer.map_err(|_| NetError::Timeout)??;
        Ok(answer.answers().iter().map(|record| record.data.clone()).collect())
    }
}

#[async_trait::async_trait]
impl Dns for SystemDns {
    async fn mail_hosts(&self, domain: &Domain) -> Result<MailHosts, DnsError> {
        let records = match self.ask(name(domain.as_str())?, RecordType::MX).await {
            Ok(records) => records,
            Err(error) if is_empty(&error) => Vec::new(),
            Err(error) => return Err(trouble(&error)),
        };
        let mut said_nobody = false;
        let mut hosts: Vec<Exchanger> = Vec::new();
        for record in records {
            let RData::MX(record) = record else { continue };
            if record.exchange.is_root() {
                // RFC 7505 §3: such a record stands alone; beside others it says nothing.
                said_nobody = true;
                continue;
            }
            let host = Exchanger { preference: record.preference, name: text(&record.exchange) };
            if !hosts.iter().any(|known| known.name == host.name) {
                hosts.push(host);
            }
        }
        match (hosts.is_empty(), said_nobody) {
            (false, _) => Ok(MailHosts::Hosts(in_order(hosts))),
            (true, true) => Ok(MailHosts::Nobody),
            // RFC 5321 §5.1: the name exists and has no MX, so it is its own host.
            (true, false) => {
                let itself = Exchanger { preference: 0, name: domain.as_str().to_owned() };
                Ok(MailHosts::Hosts(vec![itself]))
            }
        }
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        let lookup = self.resolver()?.lookup_ip(name(host)?);
        let answer = match tokio::time::timeout(DNS_TIMEOUT, lookup).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if is_empty(&error) => return Ok(Vec::new()),
            Ok(Err(error)) => return Err(trouble(&error)),
            Err(_) => return Err(trouble(&NetError::Timeout)),
        };
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in answer.iter() {
            // Nobody has a mail host at 0.0.0.0 or a multicast address; the system would take the
            // first one for itself.
            let usable = !address.is_unspecified() && !address.is_multicast();
            if usable && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses.truncate(ADDRESSES_PER_HOST_MAX);
        Ok(addresses)
    }
}

/// Best first; equal ones mixed, so that they share the load (RFC 5321 §5.1).
fn in_order(hosts: Vec<Exchanger>) -> Vec<Exchanger> {
    let mut hosts: Vec<(u64, Exchanger)> = hosts.into_iter().map(|host| (chance(), host)).collect();
    hosts.sort_by_key(|(chance, host)| (host.preference, *chance));
    hosts.into_iter().map(|(_, host)| host).take(MAIL_HOSTS_MAX).collect()
}

fn chance() -> u64 {
    let mut octets = [0; 8];
    // Without chance the order of the answer stays, which servers rotate anyway.
    let _ = aws_lc_rs::rand::fill(&mut octets);
    u64::from_ne_bytes(octets)
}

/// Absolute: the system's search list is for people at a prompt.
pub(super) fn name(text: &str) -> Result<Name, DnsError> {
    let mut name = Name::from_ascii(text).map_err(|error| DnsError::Later(error.to_string()))?;
    name.set_fqdn(true);
    Ok(name)
}

pub(super) fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

/// The name exists, without records of this kind.
pub(super) fn is_empty(error: &NetError) -> bool {
    error.is_no_records_found() && !error.is_nx_domain()
}

pub(super) fn trouble(error: &NetError) -> DnsError {
    if error.is_nx_domain() {
        return DnsError::NoSuchName;
    }
    DnsError::Later(error.to_string())
}
