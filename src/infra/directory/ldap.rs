//! An LDAP directory (RFC 4511): the service finds a person, and the person's own bind shows that
//! the password is right.
mod certificates; // of OpenPGP, of people outside
mod dn; // distinguished names, compared
mod filter; // search filters as a tree
mod groups; // groups in groups
mod server; // connections, and servers that are away
mod session; // one connection
mod wire; // TLS, and messages with an end

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ldap3::Scope as Reach;
use rustls::ClientConfig;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::login::Means;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::secret::Secret;
use crate::infra::clock::Clock;
use crate::infra::directory::Answered;
use crate::infra::directory::Directory;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Identified;
use crate::infra::directory::Verdict;
use crate::infra::directory::ldap::filter::Filter;
use crate::infra::directory::ldap::groups::Groups;
use crate::infra::directory::ldap::groups::NO_ATTRIBUTES;
use crate::infra::directory::ldap::server::Server;
use crate::infra::directory::ldap::server::Service;
use crate::infra::directory::ldap::session::Entry;
use crate::infra::directory::ldap::session::Found;
use crate::infra::directory::ldap::session::Search;
use crate::infra::directory::ldap::session::Trouble;
use crate::infra::directory::ldap::session::code;
use crate::infra::directory::ldap::wire::Host;

/// Servers that one login waits for. The others are asked by the next one: whoever stands before
/// a mail program has no patience for five of them.
const SERVERS_WAITED_FOR: usize = 2;

/// What `[ldap]` says.
pub struct Settings {
    /// `ldaps://` or `ldap://`, in the order in which they are asked.
    pub servers: Vec<String>,
    /// StartTLS on `ldap://`.
    pub start_tls: bool,
    /// Built from `ldap.anchors` and our own certificate; `None` without anchors.
    pub tls: Option<Arc<ClientConfig>>,
    /// Name of the service, and the file with its password.
    pub bind: Option<(String, PathBuf)>,
    /// Where people are searched.
    pub base: String,
    /// How they are found.
    pub filter: String,
    /// Groups of which a person must be in one; empty: none.
    pub groups: Vec<String>,
    /// A group's attribute with its members.
    pub member_attribute: String,
    /// Holds the mailboxes that a person may open.
    pub address_attribute: String,
    /// What people call somebody.
    pub name_attribute: String,
    /// Holds `8` + RPPS, or the RPPS number.
    pub national_id_attribute: Option<String>,
    /// For one server to answer a login.
    pub timeout: Duration,
    /// To one server at the same time.
    pub connections: usize,
}

/// The directory.
pub struct Ldap {
    servers: Vec<Server>,
    service: Service,
    base: String,
    filter: Filter,
    groups: Groups,
    address_attribute: String,
    name_attribute: String,
    national_id_attribute: Option<String>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// What a question is about.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// Whether this is the person's password.
    Password(&'a Secret<String>),
    /// Whether somebody of the name may log in at all.
    Standing,
    /// Nothing: the same steps, for the time that they take.
    Nothing,
}

/// Who was found under a name.
enum Person {
    Nobody,
    /// More than one: nobody can say who is meant.
    Several,
    One(Entry),
}

impl Ldap {
    /// The directory of these settings; nobody is asked yet.
    ///
    /// # Errors
    /// `key: what is wrong with it`, for the administrator.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let mut servers = Vec::new();
        for url in &settings.servers {
            let host = Host::parse(url, settings.start_tls);
            let host = host.map_err(|why| format!("ldap.servers: {why}"))?;
            if settings.tls.is_none() && !host.is_plain() {
                return Err(format!("ldap.anchors: needed for {url}; no public CA is trusted"));
            }
            servers.push(Server::new(host, settings.connections));
        }
        if servers.is_empty() {
            return Err("ldap.servers: none, but \"ldap\" is one of login.directories".to_owned());
        }
        if dn::parts(&settings.base).is_none() {
            return Err(format!("ldap.base: {:?} is no distinguished name", settings.base));
        }
        let filter =
            Filter::parse(&settings.filter).map_err(|why| format!("ldap.filter: {why}"))?;
        let groups = Groups::new(settings.groups, settings.member_attribute, &settings.base)?;
        Ok(Self {
            servers,
            service: Service { tls: settings.tls, bind: settings.bind },
            base: settings.base,
            filter,
            groups,
            address_attribute: settings.address_attribute,
            name_attribute: settings.name_attribute,
            national_id_attribute: settings.national_id_attribute,
            timeout: settings.timeout,
            clock,
        })
    }

    /// Asks the servers in their order. One that is known to be away costs nothing, one that goes
    /// away now costs its time-out, and not more than two of them do.
    async fn settle(&self, name: &str, asked: Asked<'_>) -> Result<Answered, DirectoryError> {
        self.at_a_server(|server| self.attempt(server, name, asked)).await
    }

    /// The first answer that a server gives.
    async fn at_a_server<'s, T, F>(
        &'s self,
        question: impl Fn(&'s Server) -> F,
    ) -> Result<T, DirectoryError>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut why = None;
        let mut waited = 0;
        for server in &self.servers {
            if let Some(reason) = server.down() {
                why = why.or(Some(reason));
                continue;
            }
            let Some(_place) = server.place(self.timeout).await else {
                return Err(DirectoryError::Busy);
            };
            // Those who were before us in the line may have found out.
            if let Some(reason) = server.down() {
                why = why.or(Some(reason));
                continue;
            }
            match self.within(question(server)).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => why = Some(server.fell(&trouble, self.clock.now())),
            }
            waited += 1;
            if waited == SERVERS_WAITED_FOR {
                break;
            }
        }
        let reason = why.unwrap_or_else(|| "no server".to_owned());
        Err(DirectoryError::Away { directory: Source::Ldap, reason })
    }

    /// However slowly, halfway or late a server answers: it costs this, and once.
    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let late = || format!("no answer within {} seconds", self.timeout.as_secs());
        let timed = tokio::time::timeout(self.timeout, work).await;
        timed.unwrap_or_else(|_| Err(Trouble::Away(late())))
    }

    /// One login at one server. Without a password, or without a person, somebody who does not
    /// exist binds, so that the time does not tell.
    async fn attempt(
        &self,
        server: &Server,
        name: &str,
        asked: Asked<'_>,
    ) -> Result<Answered, Trouble> {
        let person = self.find(server, name).await?;
        let entry = match &person {
            Person::One(entry) => Some(entry),
            Person::Nobody => None,
            Person::Several => {
                tracing::warn!(
                    "ldap.filter finds more than one entry for a login name; it is refused"
                );
                None
            }
        };
        // A name has several forms, and an entry has one name.
        let identity = entry
            .map(|entry| dn::parts(&entry.dn).map_or(entry.dn.clone(), |parts| parts.join(",")));
        let answered = |verdict| Answered { verdict, identity: identity.clone() };
        let may_come = match (entry, asked) {
            (Some(entry), Asked::Password(password)) => {
                let mut own = server.fresh(&self.service, self.clock.now()).await?;
                own.bind(&entry.dn, password).await? == code::SUCCESS
            }
            (Some(entry), Asked::Standing) => !is_locked(entry),
            _ => {
                self.bind_as_nobody(server).await?;
                false
            }
        };
        let Some(entry) = entry.filter(|_| may_come) else {
            let is_nobody = matches!(person, Person::Nobody);
            return Ok(answered(if is_nobody { Verdict::Stranger } else { Verdict::Refused }));
        };
        if !self.groups.is_empty() {
            let now = self.clock.now();
            if !self.groups.hold(server, &self.service, &entry.dn, now).await? {
                tracing::info!("a person of the LDAP directory is in none of ldap.groups");
                return Ok(answered(Verdict::Refused));
            }
        }
        Ok(answered(Verdict::Known(self.identified(entry))))
    }

    async fn find(&self, server: &Server, name: &str) -> Result<Person, Trouble> {
        // No such name exists, and the search would be a long one.
        if name.len() > limits::LOGIN_NAME_OCTETS_MAX {
            return Ok(Person::Nobody);
        }
        let attributes: Vec<String> = [&self.address_attribute, &self.name_attribute]
            .into_iter()
            .chain(&self.national_id_attribute)
            .cloned()
            .chain(LOCKS.map(str::to_owned))
            .collect();
        let search = Search {
            base: self.base.clone(),
            reach: Reach::Subtree,
            filter: self.filter.of(name),
            attributes,
            most: 1,
        };
        let found = server.search(&self.service, &search, self.clock.now()).await?;
        let Found { mut entries, more, no_base } = found;
        if no_base {
            return Err(no_such_base(&self.base));
        }
        Ok(match (entries.pop(), more) {
            (Some(_), true) => Person::Several,
            // An entry without a name would be bound to as nobody.
            (Some(entry), false) if !entry.dn.is_empty() => Person::One(entry),
            _ => Person::Nobody,
        })
    }

    /// The same steps as for somebody: a connection, a bind, a no. The password stays here: it
    /// may be another directory's.
    async fn bind_as_nobody(&self, server: &Server) -> Result<(), Trouble> {
        let mut own = server.fresh(&self.service, self.clock.now()).await?;
        let random = uuid::Uuid::new_v4();
        let name = match self.base.as_str() {
            "" => format!("cn={random}"),
            base => format!("cn={random},{base}"),
        };
        own.bind(&name, &Secret::new(random.to_string())).await.map(|_| ())
    }

    fn identified(&self, entry: &Entry) -> Identified {
        let addresses = entry.values(&self.address_attribute).iter();
        let mailboxes = addresses.filter_map(|value| Address::parse(value.trim()).ok());
        let national = self.national_id_attribute.as_ref();
        let national = national.and_then(|attribute| entry.values(attribute).first());
        let display_name = entry.values(&self.name_attribute).first().map(|name| {
            let plain = name.trim().chars().filter(|c| !c.is_control());
            plain.take(limits::LDAP_NAME_CHARACTERS_MAX).collect::<String>()
        });
        Identified {
            mailboxes: mailboxes.take(limits::LDAP_ADDRESSES_MAX).collect(),
            national_id: national.and_then(|value| national_id(value)),
            display_name: display_name.filter(|name| !name.is_empty()),
            means: Means::Password,
            scope: Scope::ALL,
            network: None,
            until: None,
            voucher: None,
        }
    }

    /// What is wrong at one server, each with the key to mend.
    async fn probe_one(&self, server: &Server) -> Result<Vec<String>, Trouble> {
        let mut findings = Vec::new();
        let places = [(&self.base, "ldap.base")].into_iter();
        let groups = self.groups.names().iter().map(|name| (name, "ldap.groups"));
        for (place, key) in places.chain(groups) {
            let search = Search {
                base: place.clone(),
                reach: Reach::Base,
                filter: "(objectClass=*)".to_owned(),
                attributes: vec![NO_ATTRIBUTES.to_owned()],
                most: 1,
            };
            let found = server.search(&self.service, &search, self.clock.now()).await?;
            // What the service may not see, it cannot find: the same to us.
            if found.no_base || found.entries.is_empty() {
                let url = &server.host.url;
                findings.push(format!("{key}: {place:?} does not exist on {url}, or not for us"));
            }
        }
        Ok(findings)
    }
}

#[async_trait]
impl Directory for Ldap {
    fn source(&self) -> Source {
        Source::Ldap
    }

    async fn password(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Verdict, DirectoryError> {
        Ok(self.answer(name, password).await?.verdict)
    }

    async fn answer(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Answered, DirectoryError> {
        // RFC 4513 §5.1.2: an unauthenticated bind succeeds, and shows nothing.
        if password.expose().is_empty() || name.is_empty() {
            return Ok(Answered { verdict: Verdict::Refused, identity: None });
        }
        self.settle(name, Asked::Password(password)).await
    }

    async fn standing(&self, name: &str) -> Result<Verdict, DirectoryError> {
        Ok(self.settle(name, Asked::Standing).await?.verdict)
    }

    async fn mark(&self, _name: &str) -> Result<Option<[u8; 32]>, DirectoryError> {
        // A change is seen when what is remembered ends: asking would be as dear as logging in.
        Ok(Some([0; 32]))
    }

    async fn pretend(&self, name: &str) {
        // Whatever comes of it: the answer is given already.
        let _ = self.settle(name, Asked::Nothing).await;
    }

    async fn probe(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for server in &self.servers {
            match self.within(self.probe_one(server)).await {
                Ok(found) => findings.extend(found),
                Err(trouble) => {
                    let key = if matches!(trouble, Trouble::Configured(_)) {
                        ""
                    } else {
                        "ldap.servers: "
                    };
                    let reason = server.fell(&trouble, self.clock.now());
                    findings.push(format!("{key}{reason}"));
                }
            }
        }
        findings
    }

    async fn revive(&self) -> Option<Result<(), String>> {
        let mut has_risen = false;
        for server in self.servers.iter().filter(|server| server.is_due(self.clock.now())) {
            match self.within(self.probe_one(server)).await {
                Ok(_) => has_risen |= server.rose(),
                Err(trouble) => drop(server.fell(&trouble, self.clock.now())),
            }
        }
        let reasons: Option<Vec<String>> = self.servers.iter().map(Server::down).collect();
        match reasons {
            Some(reasons) => Some(Err(reasons.join("; "))),
            None => has_risen.then_some(Ok(())),
        }
    }
}

/// Attributes by which servers say that an entry may not log in, whatever its password: Active
/// Directory, 389 Directory Server, OpenLDAP's policies, eDirectory.
const LOCKS: [&str; 4] =
    ["userAccountControl", "nsAccountLock", "pwdAccountLockedTime", "loginDisabled"];
/// `ADS_UF_ACCOUNTDISABLE`.
const ACCOUNT_DISABLED: u64 = 2;
/// draft-behera-ldap-password-policy-10 §5.3.3: locked for good, by an administrator. Any other
/// time means wrong passwords, and those may be a stranger's.
const LOCKED_FOR_GOOD: &str = "000001010000Z";

/// True when the entry says itself that it is disabled, to who asks without a password.
fn is_locked(entry: &Entry) -> bool {
    let says = |place: usize, wanted: &dyn Fn(&str) -> bool| {
        entry.values(LOCKS[place]).iter().any(|value| wanted(value.trim()))
    };
    let is_true = |value: &str| value.eq_ignore_ascii_case("true");
    says(0, &|value| value.parse().is_ok_and(|flags: u64| flags & ACCOUNT_DISABLED != 0))
        || says(1, &is_true)
        || says(2, &|value| value == LOCKED_FOR_GOOD)
        || says(3, &is_true)
}

fn no_such_base(base: &str) -> Trouble {
    Trouble::Configured(format!("ldap.base: {base:?} does not exist, or not for us"))
}

/// `8` and eleven digits; the RPPS number alone gets its `8`.
fn national_id(value: &str) -> Option<String> {
    let value = value.trim();
    let is_number = value.bytes().all(|c| c.is_ascii_digit());
    match value.len() {
        11 if is_number => Some(format!("8{value}")),
        12 if is_number && value.starts_with('8') => Some(value.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infra::clock::SystemClock;

    fn settings() -> Settings {
        Settings {
            servers: vec!["ldap://127.0.0.1:1".to_owned()],
            start_tls: false,
            tls: None,
            bind: None,
            base: "ou=people,dc=hopital,dc=test".to_owned(),
            filter: "(uid={name})".to_owned(),
            groups: Vec::new(),
            member_attribute: "member".to_owned(),
            address_attribute: "mail".to_owned(),
            name_attribute: "displayName".to_owned(),
            national_id_attribute: None,
            timeout: Duration::from_secs(1),
            connections: 8,
        }
    }

    fn refused(settings: Settings) -> String {
        Ldap::new(settings, Arc::new(SystemClock)).err().unwrap_or_default()
    }

    #[test]
    fn a_directory_that_cannot_work_names_the_key_to_mend() {
        assert_eq!(refused(settings()), "");
        let servers = vec!["ldap://ldap.hopital.test".to_owned()];
        assert!(refused(Settings { servers, ..settings() }).starts_with("ldap.servers: "));
        let servers = vec!["ldaps://ldap.hopital.test".to_owned()];
        assert!(refused(Settings { servers, ..settings() }).starts_with("ldap.anchors: "));
        let filter = "(uid=*)".to_owned();
        assert!(refused(Settings { filter, ..settings() }).starts_with("ldap.filter: "));
        let base = "people".to_owned();
        assert!(refused(Settings { base, ..settings() }).starts_with("ldap.base: "));
        let groups = vec!["".to_owned()];
        assert!(refused(Settings { groups, ..settings() }).starts_with("ldap.groups: "));
        assert!(refused(Settings { servers: vec![], ..settings() }).starts_with("ldap.servers: "));
    }

    #[tokio::test]
    async fn a_directory_that_is_away_says_so_and_is_left_alone() {
        let ldap = Ldap::new(settings(), Arc::new(SystemClock)).unwrap();
        let password = Secret::new("secret".to_owned());
        for _ in 0..3 {
            let answer = ldap.password("hugo", &password).await;
            assert!(matches!(answer, Err(DirectoryError::Away { .. })), "{answer:?}");
        }
        let nothing = Secret::new(String::new());
        assert!(matches!(ldap.password("hugo", &nothing).await, Ok(Verdict::Refused)));
        assert!(matches!(ldap.revive().await, Some(Err(_))));
    }

    #[test]
    fn national_identities_are_eight_and_a_number() {
        assert_eq!(national_id("10001234567").as_deref(), Some("810001234567"));
        assert_eq!(national_id(" 810001234567 ").as_deref(), Some("810001234567"));
        for wrong in ["", "910001234567", "1000123456", "8 1000123456", "81000123456a"] {
            assert_eq!(national_id(wrong), None, "{wrong}");
        }
    }
}
