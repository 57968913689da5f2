//! Logging in: by which mechanism, at which door, and for what.
use std::fmt;

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
