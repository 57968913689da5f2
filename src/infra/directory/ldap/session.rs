//! One connection, one question at a time: bind and search, with answers that are bounded.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ldap3::Ldap;
use ldap3::LdapConnAsync;
use ldap3::LdapConnSettings;
use ldap3::LdapError;
use ldap3::Scope;
use ldap3::SearchOptions;
use ldap3::StdStream;
use ldap3::asn1::PL;
use ldap3::asn1::StructureTag;
use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::directory::ldap::wire::Host;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server is away, slow, overloaded or talks nonsense: ask another one.
    Away(String),
    /// The connection ended before the answer; a fresh one may do.
    Ended,
    /// It answers, and will not do what we are configured to ask; `key: why`.
    Configured(String),
}

/// An entry, as far as it was asked for.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Its name.
    pub(super) dn: String,
    /// Values that are text, by attribute in lower case, without options.
    attributes: HashMap<String, Vec<String>>,
    /// Values that are not, likewise.
    others: HashMap<String, Vec<Vec<u8>>>,
}

/// What is searched.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// Where.
    pub(super) base: String,
    /// How far below.
    pub(super) reach: Scope,
    /// RFC 4515.
    pub(super) filter: String,
    /// What is told of an entry.
    pub(super) attributes: Vec<String>,
    /// Entries at most.
    pub(super) most: usize,
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// At most as many as were asked for.
    pub(super) entries: Vec<Entry>,
    /// There were more.
    pub(super) more: bool,
    /// The base does not exist.
    pub(super) no_base: bool,
}

/// An open connection. Whoever asks owns it; a question that is given up takes it along.
pub(super) struct Session {
    ldap: Ldap,
    octets: Arc<AtomicUsize>,
    opened: Timestamp,
    /// An answer was left unread: it would be taken for the next one's.
    is_spoiled: bool,
}

impl Session {
    pub(super) async fn open(
        host: &Host,
        tls: Option<&Arc<ClientConfig>>,
        now: Timestamp,
    ) -> Result<Self, Trouble> {
        let (stream, octets) = host.connect(tls).await.map_err(Trouble::Away)?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(stream));
        let opening = LdapConnAsync::with_settings(settings, "ldapi://relay");
        let (connection, ldap) = opening.await.map_err(lost)?;
        // Ends when the last handle is dropped, or the server closes.
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "a connection to the LDAP directory ended");
            }
        });
        Ok(Self { ldap, octets, opened: now, is_spoiled: false })
    }

    /// Good for another question.
    pub(super) fn is_alive(&mut self, now: Timestamp, longest: Duration) -> bool {
        !self.is_spoiled && !self.ldap.is_closed() && now.since(self.opened) < longest
    }

    /// Result code of a simple bind. Never with an empty name or password: that would be an
    /// anonymous one, to which every server says yes (RFC 4513 §5.1.2).
    pub(super) async fn bind(
        &mut self,
        dn: &str,
        password: &Secret<String>,
    ) -> Result<u32, Trouble> {
        if dn.is_empty() || password.expose().is_empty() {
            return Ok(code::INVALID_CREDENTIALS);
        }
        self.octets.store(0, Ordering::Relaxed);
        let mut ldap = self.ldap.clone();
        let (dn, password) = (dn.to_owned(), Secret::new(password.expose().clone()));
        let bound = aside(async move {
            let result = ldap.simple_bind(&dn, password.expose()).await.map_err(lost)?;
            Ok(result.rc)
        });
        match bound.await? {
            code::STRONGER_AUTH | code::CONFIDENTIALITY => Err(Trouble::Configured(
                "ldap.start_tls: the server wants TLS to log in".to_owned(),
            )),
            code::AUTH_METHOD => {
                let why = "ldap.servers: the server does not know simple binds";
                Err(Trouble::Configured(why.to_owned()))
            }
            // What it does not let in, it refuses; a lock or an expiry is a refusal as well.
            rc if code::says_no(rc) || rc == 0 => Ok(rc),
            rc => {
                Err(Trouble::Away(format!("the server cannot check passwords now (result {rc})")))
            }
        }
    }

    /// Aliases and referrals are not followed: they lead to what nobody
    /// configured.
    pub(super) async fn search(&mut self, search: &Search) -> Result<Found, Trouble> {
        self.octets.store(0, Ordering::Relaxed);
        let mut ldap = self.ldap.clone();
        let Search { base, reach, filter, attributes, most } = search.clone();
        let searched = aside(async move {
            let size = i32::try_from(most + 1).unwrap_or(i32::MAX);
            ldap.with_search_options(SearchOptions::new().sizelimit(size));
            let stream = ldap.streaming_search(&base, reach, &filter, attributes);
            let mut stream = stream.await.map_err(lost)?;
            let mut found = Found::default();
            while let Some(item) = stream.next().await.map_err(lost)? {
                if item.is_ref() || item.is_intermediate() {
                    continue;
                }
                if found.entries.len() == most {
                    found.more = true;
                    return Ok((found, None));
                }
                let entry = Entry::read(item.0);
                found.entries.push(entry.ok_or_else(|| Trouble::Away(unreadable()))?);
            }
            Ok((found, Some(stream.finish().await.rc)))
        });
        let (mut found, code) = searched.await?;
        match code {
            None => self.is_spoiled = true,
            Some(code::SUCCESS) => {}
            Some(code::SIZE_LIMIT) => found.more = true,
            Some(code::NO_SUCH_OBJECT) => found.no_base = true,
            Some(code::REFERRAL) => {
                let why = format!("ldap.base: {} is on another server", search.base);
                return Err(Trouble::Configured(why));
            }
            Some(code::INSUFFICIENT_ACCESS | code::STRONGER_AUTH | code::CONFIDENTIALITY) => {
                return Err(Trouble::Configured("ldap.bind_dn: it may not search".to_owned()));
            }
            Some(code @ (code::INVALID_DN | code::UNDEFINED_ATTRIBUTE | code::FILTER)) => {
                let why =
                    format!("ldap.base, ldap.filter: the server refuses them (result {code})");
                return Err(Trouble::Configured(why));
            }
            Some(code) => {
                let why = format!("the server cannot search now (result {code})");
                return Err(Trouble::Away(why));
            }
        }
        Ok(found)
    }
}

/// Result codes of RFC 4511, appendix A.
pub(super) mod code {
    pub(in crate::infra::directory::ldap) const SUCCESS: u32 = 0;
    pub(super) const SIZE_LIMIT: u32 = 4;
    pub(super) const AUTH_METHOD: u32 = 7;
    pub(super) const STRONGER_AUTH: u32 = 8;
    pub(super) const REFERRAL: u32 = 10;
    pub(super) const CONFIDENTIALITY: u32 = 13;
    pub(super) const UNDEFINED_ATTRIBUTE: u32 = 17;
    pub(super) const CONSTRAINT: u32 = 19;
    pub(super) const NO_SUCH_OBJECT: u32 = 32;
    pub(super) const INVALID_DN: u32 = 34;
    pub(super) const INAPPROPRIATE: u32 = 48;
    pub(super) const INVALID_CREDENTIALS: u32 = 49;
    pub(super) const INSUFFICIENT_ACCESS: u32 = 50;
    pub(super) const UNWILLING: u32 = 53;
    pub(super) const FILTER: u32 = 87;

    /// A bind that is refused for what was shown: a wrong password, a locked or expired account.
    pub(super) fn says_no(rc: u32) -> bool {
        let refusals = [
            CONSTRAINT,
            NO_SUCH_OBJECT,
            INVALID_DN,
            INAPPROPRIATE,
            INVALID_CREDENTIALS,
            INSUFFICIENT_ACCESS,
            UNWILLING,
        ];
        refusals.contains(&rc)
    }
}

impl Entry {
    /// The library's own reader stops the program at what it does not expect.
    fn read(entry: StructureTag) -> Option<Self> {
        let mut parts = children(entry)?.into_iter();
        let dn = text(parts.next()?)?;
        let mut attributes: HashMap<String, Vec<String>> = HashMap::new();
        let mut others: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
        for attribute in children(parts.next()?)? {
            let mut parts = children(attribute)?.into_iter();
            let name = text(parts.next()?)?;
            let name = name.split(';').next().unwrap_or_default().to_ascii_lowercase();
            // What is no text is no address and no name.
            for value in children(parts.next()?)? {
                let PL::P(octets) = value.payload else { continue };
                match String::from_utf8(octets) {
                    Ok(text) => attributes.entry(name.clone()).or_default().push(text),
                    Err(other) => others.entry(name.clone()).or_default().push(other.into_bytes()),
                }
            }
        }
        Some(Self { dn, attributes, others })
    }

    /// The values of an attribute, text or not.
    pub(super) fn octets(&self, attribute: &str) -> impl Iterator<Item = &[u8]> {
        let name = attribute.split(';').next().unwrap_or_default().to_ascii_lowercase();
        let others = self.others.get(&name).map_or(&[][..], Vec::as_slice);
        let texts = self.values(attribute).iter().map(String::as_bytes);
        texts.chain(others.iter().map(Vec::as_slice))
    }

    /// The values of an attribute that are text.
    pub(super) fn values(&self, attribute: &str) -> &[String] {
        let name = attribute.split(';').next().unwrap_or_default().to_ascii_lowercase();
        self.attributes.get(&name).map_or(&[], Vec::as_slice)
    }
}

fn children(tag: StructureTag) -> Option<Vec<StructureTag>> {
    match tag.payload {
        PL::C(children) => Some(children),
        PL::P(_) => None,
    }
}

fn text(tag: StructureTag) -> Option<String> {
    match tag.payload {
        PL::P(octets) => String::from_utf8(octets).ok(),
        PL::C(_) => None,
    }
}

/// In a task of its own, which ends with the question: the library panics at answers that have
/// no sense, and that must cost one question and not a person's session.
async fn aside<T: Send + 'static>(
    work: impl Future<Output = Result<T, Trouble>> + Send + 'static,
) -> Result<T, Trouble> {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(Ok(answer)) => answer,
        _ => Err(Trouble::Away(unreadable())),
    }
}

fn unreadable() -> String {
    "the server's answer cannot be read".to_owned()
}

/// The library failed: the connection is over.
fn lost(error: LdapError) -> Trouble {
    match error {
        LdapError::FilterParsing => {
            Trouble::Configured("ldap.filter: the library cannot read it".to_owned())
        }
        _ => Trouble::Ended,
    }
}
