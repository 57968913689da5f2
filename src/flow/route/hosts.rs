//! From a route to hosts with addresses, and never to ourselves.
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::domain::address::Domain;
use crate::domain::delivery::MailHost;
use crate::domain::delivery::Route;
use crate::domain::limits::MAIL_HOSTS_MAX;
use crate::domain::status::EnhancedStatus;
use crate::flow::office::Office;
use crate::infra::dns::Dns;
use crate::infra::dns::DnsError;
use crate::infra::dns::Exchanger;
use crate::infra::dns::MailHosts;

/// Characters of a reason: ten hosts may each have one.
const REASON_CHARACTERS_MAX: usize = 1_000;

/// Why no host is to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoWay {
    /// Class 4: perhaps later. Class 5: give up.
    pub status: EnhancedStatus,
    /// For people.
    pub reason: String,
}

/// Finds hosts, and knows this relay when it sees it.
pub struct Finder {
    /// Whom to ask.
    pub dns: Arc<dyn Dns>,
    /// Where hosts listen that the DNS names.
    pub port: u16,
    /// Our own name.
    pub hostname: String,
    /// Where our own door for operators listens.
    pub door: Option<SocketAddr>,
}

impl Finder {
    /// As the configuration says.
    pub fn of(office: &Office) -> Self {
        Self {
            dns: Arc::clone(&office.dns),
            port: office.config.mx.port,
            hostname: office.config.operator.hostname.as_str().to_owned(),
            door: office.config.listen.mx,
        }
    }

    /// The hosts of a domain's operator, best first; at least one of them has an address.
    ///
    /// # Errors
    /// [`NoWay`], for good only when the domain says that it takes no mail.
    pub async fn find(&self, domain: &Domain, route: &Route) -> Result<Vec<MailHost>, NoWay> {
        match route {
            Route::Fixed(text) => self.fixed(text).await,
            Route::Dns => self.looked_up(domain).await,
            Route::Unknown => Err(NoWay::later(4, 4, "no route to this domain is configured")),
        }
    }

    /// RFC 5321 §5.1, from MX records to addresses.
    async fn looked_up(&self, domain: &Domain) -> Result<Vec<MailHost>, NoWay> {
        let exchangers = match self.dns.mail_hosts(domain).await {
            Ok(MailHosts::Hosts(exchangers)) => exchangers,
            Ok(MailHosts::Nobody) => {
                // RFC 7505 §4.1: 5.1.10, and at once.
                return Err(NoWay::never(1, 10, "the domain takes no mail (null MX)"));
            }
            // The domain is in the signed list, so it exists: its DNS is broken, and will be
            // mended. A letter waits for that as it waits for a host that is down.
            Err(DnsError::NoSuchName) => {
                return Err(NoWay::later(4, 4, "the domain is not in the DNS"));
            }
            Err(error @ DnsError::Later(_)) => return Err(NoWay::later(4, 3, &error.to_string())),
        };
        let found = self.resolve(&exchangers[..exchangers.len().min(MAIL_HOSTS_MAX)]).await;
        let known = exchangers.iter().zip(found).collect();
        let others = before_ourselves(known, |host| self.is_ours(host));
        if others.is_empty() {
            // A move of the domain that is half done, or our own mistake: somebody will mend it.
            return Err(NoWay::later(4, 6, "the mail of this domain leads back to this relay"));
        }
        with_an_address(others)
    }

    /// Looks all of them up at the same time.
    async fn resolve(&self, exchangers: &[Exchanger]) -> Vec<Found> {
        let mut lookups = JoinSet::new();
        for (place, exchanger) in exchangers.iter().enumerate() {
            let (dns, name) = (Arc::clone(&self.dns), exchanger.name.clone());
            let port = self.port;
            lookups.spawn(async move { (place, found(dns.as_ref(), name, port).await) });
        }
        let mut found = lookups.join_all().await;
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, found)| found).collect()
    }

    /// A route that somebody wrote down.
    async fn fixed(&self, text: &str) -> Result<Vec<MailHost>, NoWay> {
        let (name, port) = host_and_port(text)
            .ok_or_else(|| NoWay::later(3, 5, "the route to this domain is not host:port"))?;
        let found = found(self.dns.as_ref(), name.to_owned(), port).await;
        let listens_there = self.door.is_none_or(|door| door.port() == port);
        if listens_there && self.is_ours(&found.host) {
            // Whoever wrote the route can mend it before the letters are too old.
            let reason = "the route to this domain leads back to this relay";
            return Err(NoWay::later(4, 6, reason));
        }
        with_an_address(vec![found])
    }

    /// Our own name, or an address at which our door for operators listens.
    fn is_ours(&self, host: &MailHost) -> bool {
        if host.name.eq_ignore_ascii_case(&self.hostname) {
            return true;
        }
        let Some(door) = self.door.filter(|door| door.port() == host.port) else {
            return false;
        };
        host.addresses.iter().any(|address| match door.ip().is_unspecified() {
            true => is_local(*address),
            false => door.ip() == *address,
        })
    }
}

/// A host, looked up.
struct Found {
    host: MailHost,
    /// The DNS did not answer: there may be addresses.
    in_doubt: bool,
}

async fn found(dns: &dyn Dns, name: String, port: u16) -> Found {
    let (addresses, trouble, in_doubt) = match dns.addresses(&name).await {
        Ok(none) if none.is_empty() => (none, "no address in the DNS".to_owned(), false),
        Ok(addresses) => (addresses, String::new(), false),
        Err(error) => (Vec::new(), error.to_string(), matches!(error, DnsError::Later(_))),
    };
    Found { host: MailHost { name, port, addresses, trouble }, in_doubt }
}

/// Somebody must be there to be called; the others stay in the list, so that it is told why
/// they were not.
fn with_an_address(found: Vec<Found>) -> Result<Vec<MailHost>, NoWay> {
    if found.iter().any(|found| !found.host.addresses.is_empty()) {
        return Ok(found.into_iter().map(|found| found.host).collect());
    }
    let detail = if found.iter().any(|found| found.in_doubt) { 3 } else { 4 };
    let told = |found: &Found| format!("{}: {}", found.host, found.host.trouble);
    let reasons: Vec<String> = found.iter().map(told).collect();
    Err(NoWay::later(4, detail, &reasons.join("; ")))
}

/// RFC 5321 §5.1: where this relay is itself a host of the domain, only better ones count; to
/// an equal or worse one the letter would come back.
fn before_ourselves(
    hosts: Vec<(&Exchanger, Found)>,
    is_ours: impl Fn(&MailHost) -> bool,
) -> Vec<Found> {
    let ours = hosts.iter().filter(|(_, found)| is_ours(&found.host));
    let ours = ours.map(|(mx, _)| mx.preference).min();
    let counts = |preference: u16| ours.is_none_or(|ours| preference < ours);
    hosts.into_iter().filter(|(mx, _)| counts(mx.preference)).map(|(_, found)| found).collect()
}

/// Whether one of this machine's interfaces has the address: then the system would speak to it
/// from that very address. Nothing is sent. (A socket may be bound to strange addresses, too,
/// where `ip_nonlocal_bind` is set, as it is on machines that share an address.)
fn is_local(address: IpAddr) -> bool {
    if address.is_loopback() {
        return true;
    }
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let asked = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 25))?;
        socket.local_addr()
    });
    asked.is_ok_and(|from| from.ip() == address)
}

/// `host:port`, `203.0.113.1:25` or `[2001:db8::1]:25`.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match (host.contains(':'), bare) {
        (_, Some(address)) => Some((address, port)),
        (false, None) if !host.is_empty() => Some((host, port)),
        _ => None,
    }
}

impl NoWay {
    fn later(subject: u16, detail: u16, reason: &str) -> Self {
        let reason = reason.chars().take(REASON_CHARACTERS_MAX).collect();
        Self { status: EnhancedStatus(4, subject, detail), reason }
    }

    fn never(subject: u16, detail: u16, reason: &str) -> Self {
        Self { status: EnhancedStatus(5, subject, detail), reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_host_and_a_port() {
        assert_eq!(host_and_port("mx.test:25").unwrap(), ("mx.test", 25));
        assert_eq!(host_and_port("127.0.0.1:10025").unwrap(), ("127.0.0.1", 10_025));
        assert_eq!(host_and_port("[2001:db8::1]:25").unwrap(), ("2001:db8::1", 25));
        for wrong in ["mx.test", "mx.test:", ":25", "2001:db8::1", "mx.test:99999", ""] {
            assert!(host_and_port(wrong).is_none(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn a_list_ends_where_we_are_in_it() {
        let check = |hosts: &[(u16, &str)], expected: &[&str]| {
            let exchangers: Vec<Exchanger> = hosts
                .iter()
                .map(|(preference, name)| Exchanger {
                    preference: *preference,
                    name: (*name).into(),
                })
                .collect();
            let known = exchangers
                .iter()
                .map(|mx| {
                    let mut host = MailHost::at(IpAddr::from([203, 0, 113, 1]), 25);
                    host.name = mx.name.clone();
                    (mx, Found { host, in_doubt: false })
                })
                .collect();
            let left = before_ourselves(known, |host| host.name == "us");
            let names: Vec<&str> = left.iter().map(|found| found.host.name.as_str()).collect();
            assert_eq!(names, expected, "{hosts:?}");
        };
        check(&[(5, "a"), (10, "b")], &["a", "b"]);
        check(&[(5, "a"), (10, "us"), (20, "c")], &["a"]);
        check(&[(5, "a"), (10, "b"), (10, "us")], &["a"]);
        check(&[(10, "us"), (10, "b")], &[]);
        check(&[(10, "us"), (20, "us")], &[]);
    }

    #[test]
    fn this_machine_knows_its_own_addresses() {
        assert!(is_local(IpAddr::from([127, 0, 0, 1])));
        assert!(!is_local(IpAddr::from([203, 0, 113, 1])), "a documentation address is nobody's");
    }
}
