//! Asking the Web Key Directory of another domain.
//!
//! Only domains of the configuration are asked: whoever writes to many strangers' domains must
//! not make the relay call hosts that somebody else chose. The names are looked up by us and the
//! connection goes to the addresses that were looked at, so that a name cannot lead into our own
//! network between the look and the call.
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::flow::office::Office;
use crate::infra::dns::DnsError;
use crate::infra::keys::peers::CertificateFlaw;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::net;
use crate::infra::net::fetch::Fetcher;
use crate::proto::wkd;
use crate::proto::wkd::Method;

/// True when the address's domain is one that is asked.
pub(super) fn may_ask(office: &Office, address: &Address) -> bool {
    let domain = address.domain();
    !office.hosts(domain) && office.config.openpgp.wkd_domains.contains(domain)
}

/// The certificates that the domain shows for an address; none when it says that there is none.
/// `Err`: it did not say anything that can be understood.
pub(super) async fn ask(
    office: &Arc<Office>,
    address: &Address,
) -> Result<Vec<PeerCertificate>, String> {
    if !may_ask(office, address) {
        return Ok(Vec::new());
    }
    let turn = tokio::time::timeout(limits::WKD_TIMEOUT, office.contacts.asking.acquire()).await;
    let Ok(Ok(_turn)) = turn else { return Err("too many hosts are being asked".to_owned()) };
    let anchors = net::load_anchors(&office.config.openpgp.wkd_anchors);
    let anchors = anchors.map_err(|error| error.to_string())?;
    // The direct one only when there is no host for the advanced one: a host that is away must
    // not lead to what another one says.
    for method in [Method::Advanced, Method::Direct] {
        let host = wkd::host(method, address.domain());
        let addresses = match office.dns.addresses(&host).await {
            Ok(addresses) if addresses.is_empty() => continue,
            Ok(addresses) => addresses,
            Err(DnsError::NoSuchName) => continue,
            Err(error) => return Err(format!("{host}: {error}")),
        };
        return call(office, &anchors, method, address, &addresses).await;
    }
    Ok(Vec::new())
}

async fn call(
    office: &Office,
    anchors: &[CertificateDer<'static>],
    method: Method,
    address: &Address,
    addresses: &[IpAddr],
) -> Result<Vec<PeerCertificate>, String> {
    let settings = &office.config.openpgp;
    let host = wkd::host(method, address.domain());
    let usable = addresses.iter().filter(|ip| settings.wkd_private_addresses || is_public(ip));
    let usable: Vec<SocketAddr> =
        usable.map(|ip| SocketAddr::new(*ip, settings.wkd_port)).collect();
    if usable.is_empty() {
        return Err(format!("{host} has private addresses only (openpgp.wkd_private_addresses)"));
    }
    let fetcher = Fetcher::at(anchors, limits::WKD_TIMEOUT, &host, &usable);
    let fetcher = fetcher.map_err(|error| error.to_string())?;
    let url = wkd::url(method, address, settings.wkd_port);
    let document = fetcher.find(&url, limits::OPENPGP_RING_OCTETS_MAX).await;
    // The address in the URL names a person; the host is enough.
    let document = document.map_err(|error| match error {
        net::NetError::Fetch { reason, .. } => format!("{host}: {reason}"),
        other => other.to_string(),
    })?;
    match document.map(|octets| PeerCertificate::read_ring(&octets)) {
        None => Ok(Vec::new()),
        Some(Ok(ring)) => Ok(ring),
        Some(Err(flaw @ CertificateFlaw::HoldsSecret)) => Err(format!("{host}: {flaw}")),
        Some(Err(_)) => Err(format!("{host}: what it sent holds no OpenPGP certificate")),
    }
}

/// Addresses that the whole Internet reaches (RFC 6890): not ours, not a neighbour's.
fn is_public(ip: &IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => {
            let head = ip.segments()[0];
            // 2000::/3 without documentation and the tunnels that carry addresses of version 4.
            head & 0xe000 == 0x2000
                && !(head == 0x2001 && ip.segments()[1] < 0x0200)
                && !(head == 0x2001 && ip.segments()[1] == 0x0db8)
                && head != 0x2002
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_protocol = a == 192 && b == 0 && c == 0;
    let is_benchmark = a == 198 && (18..20).contains(&b);
    !(a == 0
        || a >= 224
        || ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_documentation()
        || is_shared
        || is_protocol
        || is_benchmark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_the_whole_internet_reaches_are_called() {
        for ip in ["193.49.1.1", "8.8.8.8", "2a01:4f8::1", "2606:4700::1111"] {
            assert!(is_public(&ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2001::1",
        ] {
            assert!(!is_public(&ip.parse().unwrap()), "{ip}");
        }
    }
}
