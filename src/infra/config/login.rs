//! Who may log in, and who says so: `[login]`, `[ldap]`, `[oidc]`, `[web]`.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use config::ValueKind;

use crate::domain::address::Address;
use crate::domain::login::Mechanism;
use crate::domain::login::Source;
use crate::infra::config::build::DAY;
use crate::infra::config::build::Reader;
use crate::infra::config::files;

/// How people and software log in.
#[derive(Clone, Debug)]
pub struct Login {
    /// `login.mechanisms`: what is offered, in this order, where a door can carry it.
    pub mechanisms: Vec<Mechanism>,
    /// `login.directories`: who is asked, in this order.
    pub directories: Vec<Source>,
    /// `login.passwords_on_clients`: mail programs may use a person's own password; otherwise
    /// only app passwords, tokens and certificates.
    pub passwords_on_clients: bool,
    /// `login.cache_seconds`: how long a password that was right is remembered; zero: not at all.
    pub cache: Duration,
    /// `login.directory_grace_seconds`: how long such a password serves while its directory does
    /// not answer.
    pub directory_grace: Duration,
    /// `login.token_session_seconds`: the longest life of a session that began with a token.
    pub token_session: Duration,
    /// `login.token_idle_seconds`: such a session ends when nothing moves for so long.
    pub token_idle: Duration,
    /// `login.second_factor`: on the pages.
    pub second_factor: SecondFactor,
    /// `login.client_anchors`: CA certificates of software's certificates; empty: no EXTERNAL.
    pub client_anchors: Vec<PathBuf>,
    /// `login.certificates."SUBJECT OR SAN" = "mailbox"`.
    pub certificates: BTreeMap<String, Address>,
}

/// Whether the pages ask for a second factor (a code) behind a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondFactor {
    /// Nobody can set one up.
    Off,
    /// Whoever set one up is asked for it.
    Optional,
    /// Nobody but patients comes in with a password alone.
    Required,
}

/// The hospital's directory.
#[derive(Clone, Debug)]
pub struct Ldap {
    /// `ldap.servers`: asked in this order when one is away.
    pub servers: Vec<String>,
    /// `ldap.start_tls`: on `ldap://` addresses; without it only loopback addresses are taken.
    pub start_tls: bool,
    /// `ldap.anchors`: no public CA is trusted.
    pub anchors: Vec<PathBuf>,
    /// `ldap.certificate`, `ldap.key`: ours, when the servers want one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `ldap.bind_dn`: the service that searches; anonymous without it.
    pub bind_dn: Option<String>,
    /// `ldap.bind_password_file`
    pub bind_password_file: Option<PathBuf>,
    /// `ldap.base`: where people are searched.
    pub base: String,
    /// `ldap.filter`: `{name}` stands for the login name, escaped.
    pub filter: String,
    /// `ldap.groups`: a person must be in one of these, directly or through groups; empty: none.
    pub groups: Vec<String>,
    /// `ldap.member_attribute`: of a group.
    pub member_attribute: String,
    /// `ldap.address_attribute`: its values are the mailboxes that a person may open.
    pub address_attribute: String,
    /// `ldap.name_attribute`: what people call somebody.
    pub name_attribute: String,
    /// `ldap.national_id_attribute`: with `8` + RPPS, or the RPPS number.
    pub national_id_attribute: Option<String>,
    /// `ldap.timeout_seconds`: for one server to answer a login.
    pub timeout: Duration,
    /// `ldap.connections`: to one server at the same time.
    pub connections: usize,
}

/// The OpenID provider, e.g. Pro Santé Connect.
#[derive(Clone, Debug)]
pub struct Oidc {
    /// `oidc.issuer`
    pub issuer: String,
    /// `oidc.discovery`: a path below the issuer or an address.
    pub discovery: String,
    /// `oidc.anchors`: CA certificates of the provider's host; no public CA is trusted.
    pub anchors: Vec<PathBuf>,
    /// `oidc.client_id`: for the pages and for introspection.
    pub client_id: Option<String>,
    /// `oidc.client_secret_file`
    pub client_secret_file: Option<PathBuf>,
    /// `oidc.audiences`: one of them must be in `aud`; empty: not checked.
    pub audiences: Vec<String>,
    /// `oidc.clients`: `azp` must be one of them; empty: not checked.
    pub clients: Vec<String>,
    /// `oidc.algorithms`: of signatures, as JWA names them.
    pub algorithms: Vec<String>,
    /// `oidc.acr`: `acr` must be one of them; empty: not checked.
    pub acr: Vec<String>,
    /// `oidc.types`: `typ` must be one of them; empty: not checked.
    pub types: Vec<String>,
    /// `oidc.validation`: signatures are checked.
    pub by_signature: bool,
    /// `oidc.validation`: the provider is asked for each token.
    pub by_introspection: bool,
    /// `oidc.subject_claim`: holds the national identity, `8` + RPPS.
    pub subject_claim: String,
    /// `oidc.scope`
    pub scope: String,
    /// `oidc.acr_values`: empty: not asked for.
    pub acr_values: String,
    /// `oidc.skew_seconds`: by how much clocks may differ.
    pub skew: Duration,
    /// `oidc.timeout_seconds`: of one question.
    pub timeout: Duration,
}

/// The pages, as others see them.
#[derive(Clone, Debug)]
pub struct Web {
    /// `web.public_url`: without a slash at its end; `https://` + `operator.hostname` by default.
    pub public_url: Option<String>,
}

const FILTER: &str = "(&(objectClass=inetOrgPerson)(|(mail={name})(uid={name})))";

impl Reader {
    pub(super) fn login(&mut self) -> Option<Login> {
        let all: Vec<&str> = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
        let mechanisms = self.list("login.mechanisms", &all, Mechanism::parse);
        let directories = self.list("login.directories", &["local"], Source::parse);
        let passwords_on_clients = self.truth("login.passwords_on_clients", true);
        let cache = self.number("login.cache_seconds", 600, 0, DAY);
        let grace = self.number("login.directory_grace_seconds", 3_600, 0, 7 * DAY);
        let session = self.seconds("login.token_session_seconds", Duration::from_secs(14_400), DAY);
        let idle = self.seconds("login.token_idle_seconds", Duration::from_secs(1_800), DAY);
        let second_factor = self.text_or("login.second_factor", "optional", |text| match text {
            "off" => Some(SecondFactor::Off),
            "optional" => Some(SecondFactor::Optional),
            "required" => Some(SecondFactor::Required),
            _ => None,
        });
        let client_anchors = self.anchors_or_none("login.client_anchors");
        let certificates = self.certificates("login.certificates");
        Some(Login {
            mechanisms: mechanisms?,
            directories: directories?,
            passwords_on_clients: passwords_on_clients?,
            cache: Duration::from_secs(cache?),
            directory_grace: Duration::from_secs(grace?),
            token_session: session?,
            token_idle: idle?,
            second_factor: second_factor?,
            client_anchors: client_anchors?,
            certificates: certificates?,
        })
    }

    pub(super) fn ldap(&mut self) -> Option<Option<Ldap>> {
        let servers = self.list("ldap.servers", &[], |text| {
            let host = text.strip_prefix("ldaps://").or_else(|| text.strip_prefix("ldap://"))?;
            (!host.is_empty() && !host.contains('/')).then(|| text.to_owned())
        });
        let start_tls = self.truth("ldap.start_tls", true);
        let anchors = self.anchors_or_none("ldap.anchors");
        let identity = self.has("ldap.certificate").then(|| {
            let (certificate, key) = self.identity("ldap.certificate", "ldap.key");
            certificate.zip(key)
        });
        let bind_dn = self.optional("ldap.bind_dn", named);
        let bind_password_file = self.secret_file("ldap.bind_password_file");
        let base = self.text_or("ldap.base", "", |text| Some(text.to_owned()));
        let filter = self.text_or("ldap.filter", FILTER, |text| {
            (text.starts_with('(') && text.ends_with(')') && text.contains("{name}"))
                .then(|| text.to_owned())
        });
        let groups = self.list("ldap.groups", &[], named);
        let member_attribute = self.text_or("ldap.member_attribute", "member", attribute);
        let address_attribute = self.text_or("ldap.address_attribute", "mail", attribute);
        let name_attribute = self.text_or("ldap.name_attribute", "displayName", attribute);
        let national_id_attribute = self.optional("ldap.national_id_attribute", attribute);
        let timeout = self.seconds("ldap.timeout_seconds", Duration::from_secs(5), 120);
        let connections = self.count("ldap.connections", 8, 2, 100);
        if bind_dn.is_some() && !self.has("ldap.bind_password_file") {
            // Without a password, servers take a name for nobody (RFC 4513 §5.1.2).
            self.missing("ldap.bind_password_file", "ldap.bind_dn has no password");
        }
        let ldap = Ldap {
            servers: servers?,
            start_tls: start_tls?,
            anchors: anchors?,
            identity: identity.flatten(),
            bind_dn,
            bind_password_file,
            base: base?,
            filter: filter?,
            groups: groups?,
            member_attribute: member_attribute?,
            address_attribute: address_attribute?,
            name_attribute: name_attribute?,
            national_id_attribute,
            timeout: timeout?,
            connections: connections?,
        };
        Some((!ldap.servers.is_empty()).then_some(ldap))
    }

    pub(super) fn oidc(&mut self) -> Option<Option<Oidc>> {
        let issuer = self.optional("oidc.issuer", url);
        let discovery =
            self.text_or("oidc.discovery", "/.well-known/openid-configuration", |text| {
                (text.starts_with('/') || url(text).is_some()).then(|| text.to_owned())
            });
        let anchors = self.anchors_or_none("oidc.anchors");
        let client_id = self.optional("oidc.client_id", named);
        let client_secret_file = self.secret_file("oidc.client_secret_file");
        let audiences = self.list("oidc.audiences", &[], named);
        let clients = self.list("oidc.clients", &[], named);
        let algorithms = self.list("oidc.algorithms", &["RS256", "PS256", "ES256"], |text| {
            ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
                .contains(&text)
                .then(|| text.to_owned())
        });
        let acr = self.list("oidc.acr", &[], named);
        let types = self.list("oidc.types", &["Bearer"], named);
        let validation = self.text_or("oidc.validation", "signature", |text| match text {
            "signature" => Some((true, false)),
            "introspection" => Some((false, true)),
            "both" => Some((true, true)),
            _ => None,
        });
        let subject_claim = self.text_or("oidc.subject_claim", "SubjectNameID", named);
        let scope = self.text_or("oidc.scope", "openid scope_all", named);
        let acr_values = self.text_or("oidc.acr_values", "eidas1", |text| Some(text.to_owned()));
        let skew = self.number("oidc.skew_seconds", 60, 0, 600);
        let timeout = self.seconds("oidc.timeout_seconds", Duration::from_secs(10), 120);
        let (by_signature, by_introspection) = validation?;
        let oidc = Oidc {
            issuer: issuer.clone().unwrap_or_default(),
            discovery: discovery?,
            anchors: anchors?,
            client_id,
            client_secret_file,
            audiences: audiences?,
            clients: clients?,
            algorithms: algorithms?,
            acr: acr?,
            types: types?,
            by_signature,
            by_introspection,
            subject_claim: subject_claim?,
            scope: scope?,
            acr_values: acr_values?,
            skew: Duration::from_secs(skew?),
            timeout: timeout?,
        };
        Some(issuer.map(|_| oidc))
    }

    pub(super) fn web(&mut self) -> Option<Web> {
        let public_url = self.optional("web.public_url", |text| {
            url(text).map(|url| url.trim_end_matches('/').to_owned())
        });
        Some(Web { public_url })
    }

    fn certificates(&mut self, key: &str) -> Option<BTreeMap<String, Address>> {
        let mut certificates = BTreeMap::new();
        for (name, kind) in self.table(key)? {
            let address = match &kind {
                ValueKind::String(text) => Address::parse(text).ok(),
                _ => None,
            };
            match address {
                Some(address) if !name.is_empty() => {
                    certificates.insert(name, address);
                }
                _ => self.wrong(key, &format!("\"{name}\" has no mailbox")),
            }
        }
        Some(certificates)
    }

    /// A file with a secret that may be left out.
    pub(super) fn secret_file(&mut self, key: &str) -> Option<PathBuf> {
        self.has(key).then(|| self.file(key, files::owners_only)).flatten()
    }

    /// Anchors that may be none.
    pub(super) fn anchors_or_none(&mut self, key: &str) -> Option<Vec<PathBuf>> {
        if self.has(key) { self.anchors(key) } else { Some(Vec::new()) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.found.values.contains_key(key)
    }
}

/// Some text that is not empty.
pub(super) fn named(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// An `https://` address; `http://` only of this machine.
pub(super) fn url(text: &str) -> Option<String> {
    let is_local = ["http://127.0.0.1", "http://[::1]", "http://localhost"].iter().any(|start| {
        text.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    });
    let is_plain = text.bytes().all(|c| c.is_ascii_graphic());
    let has_host = text.strip_prefix("https://").is_some_and(|host| !host.is_empty());
    (is_plain && (is_local || has_host)).then(|| text.to_owned())
}

pub(super) fn attribute(text: &str) -> Option<String> {
    let is_plain = text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-;.".contains(&c));
    (is_plain && !text.is_empty()).then(|| text.to_owned())
}
