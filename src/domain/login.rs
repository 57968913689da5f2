//! Logging in: by which mechanism, at which door, and for what.
use std::fmt;
use std::net::IpAddr;

/// A SASL mechanism that we speak (RFC 4422).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// A client certificate (RFC 4422, appendix A).
    External,
    /// RFC 7677, bound to the TLS channel by `tls-exporter` (RFC 9266).
    ScramSha256Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7628.
    OAuthBearer,
    /// Google's form of a bearer token, which the MSSanté rules ask for (ANS Ref2 §1.2.1).
    XOAuth2,
    /// RFC 4616.
    Plain,
    /// Name, then password; what Outlook knows.
    Login,
}

impl Mechanism {
    /// All, the strongest first: clients that have no wish take the first one they know.
    pub const ALL: [Self; 7] = [
        Self::External,
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::Plain,
        Self::Login,
    ];

    /// As registered with the IANA.
    pub const fn name(self) -> &'static str {
        match self {
            Self::External => "EXTERNAL",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }

    /// The mechanism of a name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
}

/// A door at which people and software log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entrance {
    /// SMTP submission.
    Submission,
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// ManageSieve.
    ManageSieve,
    /// The pages.
    Pages,
    /// The address book, over LDAP.
    AddressBook,
}

impl Entrance {
    /// What logs, metrics and lists call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submission => "submission",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::ManageSieve => "managesieve",
            Self::Pages => "pages",
            Self::AddressBook => "addressbook",
        }
    }

    /// What a login must be good for to come in here.
    pub const fn needs(self) -> Scope {
        match self {
            Self::Submission => Scope { send: true, read: false },
            Self::Imap | Self::Pop3 | Self::ManageSieve => Scope { send: false, read: true },
            Self::Pages => Scope { send: true, read: true },
            Self::AddressBook => Scope { send: false, read: false },
        }
    }
}

/// What a login is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Letters may be sent.
    pub send: bool,
    /// Letters may be read, and filters changed.
    pub read: bool,
}

impl Scope {
    /// Everything.
    pub const ALL: Self = Self { send: true, read: true };

    /// True when all of `needed` is in it.
    pub const fn covers(self, needed: Self) -> bool {
        (self.send || !needed.send) && (self.read || !needed.read)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.send, self.read) {
            (true, true) => "send,read",
            (true, false) => "send",
            (false, true) => "read",
            (false, false) => "none",
        })
    }
}

/// What somebody showed to come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// The mailbox's own password, or the one of its holder's directory.
    Password,
    /// An app password of this name.
    AppPassword(String),
    /// A token of an OpenID provider.
    Token,
    /// A client certificate.
    Certificate,
}

impl Means {
    /// What lists call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::AppPassword(_) => "app-password",
            Self::Token => "token",
            Self::Certificate => "certificate",
        }
    }
}

/// A directory of `login.directories`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Accounts of this relay.
    Local,
    /// An LDAP directory.
    Ldap,
    /// An OpenID provider.
    Oidc,
}

impl Source {
    /// As the configuration and lists say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ldap => "ldap",
            Self::Oidc => "oidc",
        }
    }

    /// The source of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Local, Self::Ldap, Self::Oidc].into_iter().find(|source| source.name() == name)
    }
}

/// A network of clients, as `192.0.2.0/24` or `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// The first `bits` bits of an address. An IPv4 address in IPv6's clothes is one of IPv4.
    pub fn around(ip: IpAddr, bits: u8) -> Self {
        let ip = ip.to_canonical();
        let bits = bits.min(width(ip));
        Self { address: cut(ip, bits), bits }
    }

    /// The neighbourhood of an address: what one site, or one provider's router, has (/24 of
    /// IPv4, /48 of IPv6).
    pub fn neighbourhood(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(_) => Self::around(ip, 24),
            IpAddr::V6(_) => Self::around(ip, 48),
        }
    }

    /// Reads `address/bits`, or one address. Bits of the address beyond the network must be zero:
    /// whoever writes `10.1.2.3/8` meant something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|c| c.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
            None => width(address),
        };
        let network = Self { address, bits };
        (bits <= width(address) && cut(address, bits) == address).then_some(network)
    }

    /// True when the address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        width(ip) == width(self.address) && cut(ip, self.bits) == self.address
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

const fn width(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with everything after its first `bits` bits zero.
fn cut(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(u32::from(32 - bits.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(four) & mask).into())
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - bits.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(six) & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_own_addresses_and_no_others() {
        let network = |text| Network::parse(text).unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(network("192.0.2.0/24").contains(ip("192.0.2.255")));
        assert!(network("192.0.2.0/24").contains(ip("::ffff:192.0.2.7")));
        assert!(!network("192.0.2.0/24").contains(ip("192.0.3.0")));
        assert!(!network("192.0.2.0/24").contains(ip("2001:db8::1")));
        assert!(network("0.0.0.0/0").contains(ip("203.0.113.9")));
        assert!(network("2001:db8::/32").contains(ip("2001:db8:ffff::1")));
        assert!(!network("2001:db8::/32").contains(ip("2001:db9::1")));
        assert!(network("192.0.2.1").contains(ip("192.0.2.1")));
        assert_eq!(network("192.0.2.1").to_string(), "192.0.2.1/32");
        for bad in ["10.1.2.3/8", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "ward", "/8", ""] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
        assert_eq!(Network::around(ip("::ffff:192.0.2.7"), 24), network("192.0.2.0/24"));
    }
}
