//! The dialogue of one LDAP connection. Requests are served one after the other; what is
//! abandoned has been answered by then (RFC 4511 §4.11).
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::time::sleep;

use crate::domain::address::Address;
use crate::domain::folding::folded;
use crate::domain::limits;
use crate::domain::login::Entrance;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::login::Visitor;
use crate::flow::login::live::Seat;
use crate::flow::office::Office;
use crate::infra::directory::Account;
use crate::proto::ldap::Code;
use crate::proto::ldap::answer;
use crate::proto::ldap::dn;
use crate::proto::ldap::dn::Dn;
use crate::proto::ldap::entry::Entry;
use crate::proto::ldap::message::Control;
use crate::proto::ldap::message::Credentials;
use crate::proto::ldap::message::Operation;
use crate::proto::ldap::message::PAGED;
use crate::proto::ldap::message::Paging;
use crate::proto::ldap::message::Request;
use crate::proto::ldap::message::START_TLS;
use crate::proto::ldap::message::Scope;
use crate::proto::ldap::message::Search;
use crate::proto::ldap::message::WHO_AM_I;
use crate::proto::ldap::schema;
use crate::server::ldap::entries;
use crate::server::ldap::search;
use crate::server::ldap::search::Page;
use crate::server::ldap::search::Pages;
use crate::server::ldap::search::Place;
use crate::server::ldap::wire::Gone;
use crate::server::ldap::wire::Wire;

/// What a connection offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Safety {
    /// In clear: StartTLS, and questions about the server.
    Clear,
    /// Under TLS.
    Tls,
}

/// What becomes of a connection after its session.
pub(super) enum Ending<S> {
    /// It is closed.
    Closed,
    /// TLS shall begin on it.
    StartTls(S),
}

/// How a session goes on after a request.
enum Way {
    On,
    /// The connection ends, with this last word.
    HangUp(Vec<u8>),
    StartTls,
}

/// One session.
pub(super) struct Session<'a> {
    office: &'a Arc<Office>,
    base: &'a Dn,
    safety: Safety,
    peer: IpAddr,
    door: &'static str,
    who: Option<Account>,
    /// Where the login's session stands in the book.
    seat: Seat,
    failed_logins: usize,
    /// Searches so far; their numbers are the cookies of pages.
    searches: u64,
    pages: Option<Pages>,
}

/// An answer that is a result code.
type Verdict = (Code, &'static str);

const TLS_FIRST: Verdict = (Code::ConfidentialityRequired, "begin TLS first");

impl<'a> Session<'a> {
    /// A stranger's session.
    pub(super) fn new(
        office: &'a Arc<Office>,
        base: &'a Dn,
        safety: Safety,
        peer: IpAddr,
        door: &'static str,
    ) -> Self {
        let (failed_logins, searches) = (0, 0);
        Self {
            office,
            base,
            safety,
            peer,
            door,
            who: None,
            seat: office.logins.sessions().seat(),
            failed_logins,
            searches,
            pages: None,
        }
    }

    /// Serves until the connection ends or becomes TLS.
    pub(super) async fn run<S>(mut self, mut wire: Wire<S>) -> Ending<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let login_until = sleep(limits::LDAP_LOGIN_TIMEOUT).deadline();
        loop {
            let idle_until = sleep(limits::LDAP_IDLE_TIMEOUT).deadline();
            let until = if self.may_search().is_ok() { idle_until } else { login_until };
            let message = tokio::select! {
                biased;
                _ = self.seat.over() => Err(Gone::Over),
                message = wire.message(until) => message,
            };
            self.seat.touch();
            let way = match message {
                Ok(message) => {
                    let seat = self.seat.clone();
                    let work = seat.unless_over(self.obey(&mut wire, &message)).await;
                    work.unwrap_or(Err(Gone::Over))
                }
                Err(gone) => Err(gone),
            };
            let word = match way {
                Ok(Way::On) => continue,
                Ok(Way::StartTls) => return Ending::StartTls(wire.into_stream()),
                Ok(Way::HangUp(word)) => word,
                Err(Gone::Peer) => Vec::new(),
                // RFC 4511 §4.4.1: nothing is known of a request that cannot be read, so it
                // cannot be answered by its number.
                Err(Gone::NotLdap(bad)) => answer::disconnection(Code::ProtocolError, bad.0),
                Err(Gone::Over) => answer::disconnection(Code::Unavailable, "the login has ended"),
                Err(Gone::Silent) => {
                    answer::disconnection(Code::Unavailable, "nothing was said for too long")
                }
                Err(Gone::Stopping) => {
                    answer::disconnection(Code::Unavailable, "the server is stopping")
                }
            };
            wire.close(&word).await;
            return Ending::Closed;
        }
    }

    async fn obey<S>(&mut self, wire: &mut Wire<S>, message: &[u8]) -> Result<Way, Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Request { id, operation, controls } = Request::parse(message).map_err(Gone::NotLdap)?;
        // RFC 4511 §4.1.11: neither of these has an answer in which a control could be refused.
        match operation {
            Operation::Unbind => return Ok(Way::HangUp(Vec::new())),
            Operation::Abandon => return Ok(Way::On),
            _ => {}
        }
        let is_search = matches!(operation, Operation::Search(_));
        if controls.iter().any(|control| control.critical && !(is_search && control.oid == PAGED)) {
            let (code, text) =
                (Code::UnavailableCriticalExtension, "a critical control is not known here");
            wire.say(&answer::result(id, answer_tag(&operation), code, text)).await?;
            return Ok(Way::On);
        }
        match operation {
            Operation::Unbind | Operation::Abandon => {}
            Operation::Bind { version, name, credentials } => {
                return self.bind(wire, id, version, &name, credentials).await;
            }
            Operation::Extended { oid } => return self.extended(wire, id, &oid).await,
            Operation::Search(asked) => self.search(wire, id, &asked, &controls).await?,
            Operation::Compare { dn, attribute, value } => {
                let (code, text) = self.compare(&dn, &attribute, value).await;
                wire.say(&answer::result(id, answer::COMPARE, code, text)).await?;
            }
            Operation::Change(tag) => {
                let text = "this address book is only read";
                wire.say(&answer::result(id, tag, Code::UnwillingToPerform, text)).await?;
            }
        }
        Ok(Way::On)
    }

    async fn bind<S>(
        &mut self,
        wire: &mut Wire<S>,
        id: u32,
        version: u32,
        name: &str,
        credentials: Credentials,
    ) -> Result<Way, Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // RFC 4513 §4: whoever binds anew is nobody until it succeeds.
        self.who = None;
        self.pages = None;
        self.seat.leave();
        let (code, text) = match self.judge_bind(version, name, credentials).await {
            Ok(who) => {
                self.who = who;
                (Code::Success, "")
            }
            Err(verdict) => verdict,
        };
        if matches!(code, Code::InvalidCredentials | Code::Busy) {
            self.failed_logins += 1;
        }
        let answer = answer::result(id, answer::BIND, code, text);
        if self.failed_logins >= limits::LOGIN_FAILURES_MAX {
            return Ok(Way::HangUp(answer));
        }
        wire.say(&answer).await?;
        Ok(Way::On)
    }

    /// Who binds; nobody is `None`.
    async fn judge_bind(
        &self,
        version: u32,
        name: &str,
        credentials: Credentials,
    ) -> Result<Option<Account>, Verdict> {
        if version != 3 {
            return Err((Code::ProtocolError, "only LDAP version 3 is spoken here"));
        }
        let Credentials::Simple(password) = credentials else {
            return Err((Code::AuthMethodNotSupported, "only a name and a password are taken"));
        };
        let Some(password) = password else {
            return Err((Code::InvalidCredentials, "wrong name or password"));
        };
        match (name.is_empty(), password.expose().is_empty()) {
            (true, true) => return Ok(None),
            // RFC 4513 §5.1.2: a client that forgot the password must not believe that it is in.
            (false, true) => {
                return Err((Code::UnwillingToPerform, "a name needs a password"));
            }
            (true, false) => return Err((Code::InvalidCredentials, "wrong name or password")),
            (false, false) => {}
        }
        if self.safety == Safety::Clear {
            return Err(TLS_FIRST);
        }
        let Some(login) = self.login_name(name) else {
            return Err((Code::InvalidCredentials, "wrong name or password"));
        };
        self.log_in(&login, &password).await.map(Some)
    }

    async fn log_in(&self, name: &str, password: &Secret<String>) -> Result<Account, Verdict> {
        let visitor = Visitor { entrance: Entrance::AddressBook, ip: Some(self.peer) };
        let logged_in = self.office.logins.login(visitor, name, password).await;
        self.office.metrics.login(self.door, logged_in.is_ok());
        let seated = logged_in.and_then(|login| {
            self.seat.take(visitor, &login)?;
            Ok(login.account)
        });
        seated.map_err(|refusal| {
            tracing::info!(peer = %self.peer, %refusal, "an LDAP login failed");
            match refusal {
                Refusal::TooManyFromPeer => {
                    (Code::Busy, "too many failed logins from your address; try later")
                }
                Refusal::Busy => (Code::Busy, "too many logins; try later"),
                Refusal::AuthFailed | Refusal::MailboxSuspended => {
                    (Code::InvalidCredentials, "wrong name or password")
                }
                _ => (Code::Unavailable, "logins cannot be checked now; try later"),
            }
        })
    }

    /// The login name in a bind name: programs are told a distinguished name, or the address.
    fn login_name(&self, name: &str) -> Option<String> {
        match Dn::parse(name) {
            Some(parsed) => match parsed.child_of(self.base) {
                Some(("mail" | "uid" | "cn", value)) => Some(value.to_owned()),
                _ => None,
            },
            None => Some(name.to_owned()),
        }
    }

    async fn extended<S>(&mut self, wire: &mut Wire<S>, id: u32, oid: &str) -> Result<Way, Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let answer = match (oid, self.safety) {
            (START_TLS, Safety::Clear) if wire.has_input() => {
                // Otherwise what somebody in between slipped in would count as said under TLS.
                let text = "nothing may follow StartTLS before TLS has begun";
                let answer = answer::extended(id, Code::ProtocolError, text, Some(oid), None);
                return Ok(Way::HangUp(answer));
            }
            (START_TLS, Safety::Clear) => {
                wire.say(&answer::extended(id, Code::Success, "", Some(oid), None)).await?;
                wire.flush().await?;
                return Ok(Way::StartTls);
            }
            (START_TLS, Safety::Tls) => {
                answer::extended(id, Code::OperationsError, "TLS is on already", Some(oid), None)
            }
            // RFC 4532 §2.1: nobody is the empty text.
            (WHO_AM_I, _) => {
                let base = &self.office.config.addressbook.base;
                let dn = self
                    .who
                    .as_ref()
                    .map(|who| format!("dn:mail={},{base}", dn::escaped(&who.address.to_string())));
                let dn = dn.unwrap_or_default();
                answer::extended(id, Code::Success, "", None, Some(dn.as_bytes()))
            }
            // RFC 4511 §4.12
            _ => {
                let text = "this operation is not known here";
                answer::extended(id, Code::ProtocolError, text, None, None)
            }
        };
        wire.say(&answer).await?;
        Ok(Way::On)
    }

    /// Whether mailboxes may be searched now.
    fn may_search(&self) -> Result<(), Verdict> {
        match (self.safety, &self.who) {
            // Whom somebody looks for is nobody else's business, and an answer that somebody in
            // between wrote would send letters elsewhere.
            (Safety::Clear, _) => Err(TLS_FIRST),
            (Safety::Tls, None) if !self.office.config.addressbook.anonymous => {
                Err((Code::InsufficientAccessRights, "log in first"))
            }
            (Safety::Tls, _) => Ok(()),
        }
    }

    async fn search<S>(
        &mut self,
        wire: &mut Wire<S>,
        id: u32,
        asked: &Search,
        controls: &[Control],
    ) -> Result<(), Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let base = &self.office.config.addressbook.base;
        let is_root = asked.scope == Scope::Base;
        let mut special = None;
        let address = match search::place(&asked.base, self.base) {
            None => {
                let text = "the base is no distinguished name";
                return end(wire, id, Code::InvalidDnSyntax, text).await;
            }
            Some(Place::Root) if is_root => {
                special = Some(entries::root(base, self.safety));
                None
            }
            Some(Place::Subschema) => {
                special = Some(entries::subschema());
                None
            }
            Some(Place::Nowhere) => None,
            // Programs without a base mean ours.
            Some(Place::Root | Place::Base) => None,
            Some(Place::Mailbox(address)) => Some(address),
        };
        if let Some(entry) = special {
            if entry_holds(asked, &entry) {
                say_entry(wire, id, asked, &entry).await?;
            }
            return end(wire, id, Code::Success, "").await;
        }
        if let Err((code, text)) = self.may_search() {
            return end(wire, id, code, text).await;
        }
        match address {
            Some(address) => return self.read_one(wire, id, asked, address).await,
            None if matches!(search::place(&asked.base, self.base), Some(Place::Nowhere)) => {
                return end(wire, id, Code::NoSuchObject, "").await;
            }
            None => {}
        }
        let is_page = controls.iter().find(|control| control.oid == PAGED);
        let paging = match is_page
            .map(|control| Paging::parse(control.value.as_deref().unwrap_or_default()))
        {
            None => None,
            Some(Ok(paging)) => Some(paging),
            Some(Err(_)) => {
                let text = "the control for pages cannot be read";
                return end(wire, id, Code::ProtocolError, text).await;
            }
        };
        let goes_on = paging.as_ref().is_some_and(|paging| !paging.cookie.is_empty());
        if !goes_on && search::shows_base(asked.scope) {
            let entry = entries::base(base, self.base);
            if entry_holds(asked, &entry) {
                say_entry(wire, id, asked, &entry).await?;
            }
        }
        if asked.scope == Scope::Base {
            return end(wire, id, Code::Success, "").await;
        }
        match paging {
            Some(paging) => self.say_page(wire, id, asked, &paging).await,
            None => {
                let found = search::mailboxes(self.office, asked).await;
                tracing::debug!(found = found.cards.len(), code = ?found.code, "an LDAP search");
                for card in &found.cards {
                    say_entry(wire, id, asked, &entries::mailbox(card, base)).await?;
                }
                end(wire, id, found.code, found.text).await
            }
        }
    }

    async fn say_page<S>(
        &mut self,
        wire: &mut Wire<S>,
        id: u32,
        asked: &Search,
        paging: &Paging,
    ) -> Result<(), Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut pages = if paging.cookie.is_empty() {
            let found = search::mailboxes(self.office, asked).await;
            self.searches += 1;
            Pages::new(self.searches, found)
        } else {
            match self.pages.take().filter(|pages| pages.are_meant(paging)) {
                Some(pages) => pages,
                None => {
                    let text = "this search has no more pages; begin anew";
                    return end(wire, id, Code::UnwillingToPerform, text).await;
                }
            }
        };
        let Page { cards, total, cookie, code, text } = match paging.size {
            // RFC 2696 §3: the client has seen enough.
            0 if !paging.cookie.is_empty() => Page {
                cards: Vec::new(),
                total: pages.total,
                cookie: Vec::new(),
                code: Code::Success,
                text: "",
            },
            size => pages.next(size),
        };
        for card in &cards {
            let entry = entries::mailbox(card, &self.office.config.addressbook.base);
            say_entry(wire, id, asked, &entry).await?;
        }
        self.pages = (!cookie.is_empty()).then_some(pages);
        let page = answer::Page { total, cookie: &cookie };
        wire.say(&answer::done(id, code, text, Some(page))).await
    }

    /// A mailbox by its name; there is nothing below it.
    async fn read_one<S>(
        &self,
        wire: &mut Wire<S>,
        id: u32,
        asked: &Search,
        address: Option<Address>,
    ) -> Result<(), Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let card = match address {
            Some(address) => search::one(self.office, &address).await,
            None => Ok(None),
        };
        match card {
            Err(failed) => end(wire, id, failed.code, failed.text).await,
            Ok(None) => end(wire, id, Code::NoSuchObject, "").await,
            Ok(Some(card)) => {
                let entry = entries::mailbox(&card, &self.office.config.addressbook.base);
                if asked.scope != Scope::OneLevel && entry_holds(asked, &entry) {
                    say_entry(wire, id, asked, &entry).await?;
                }
                end(wire, id, Code::Success, "").await
            }
        }
    }

    async fn compare(&self, name: &str, attribute: &str, value: Option<String>) -> Verdict {
        let base = &self.office.config.addressbook.base;
        if let Err(verdict) = self.may_search() {
            return verdict;
        }
        let entry = match search::place(name, self.base) {
            None => return (Code::InvalidDnSyntax, "that is no distinguished name"),
            Some(Place::Root) => entries::root(base, self.safety),
            Some(Place::Subschema) => entries::subschema(),
            Some(Place::Base) => entries::base(base, self.base),
            Some(Place::Mailbox(Some(address))) => match search::one(self.office, &address).await {
                Ok(Some(card)) => entries::mailbox(&card, base),
                Ok(None) => return (Code::NoSuchObject, ""),
                Err(failed) => return (failed.code, failed.text),
            },
            Some(Place::Mailbox(None) | Place::Nowhere) => return (Code::NoSuchObject, ""),
        };
        let Some(attribute) = schema::named(attribute) else {
            return (Code::UndefinedAttributeType, "no such attribute is known here");
        };
        let held = entry.folded();
        match (held.has(attribute.name), value.map(|value| folded(&value))) {
            (false, _) => (Code::NoSuchAttribute, ""),
            (true, Some(value)) if held.values(attribute.name).contains(&value) => {
                (Code::CompareTrue, "")
            }
            (true, _) => (Code::CompareFalse, ""),
        }
    }
}

/// The tag under which an operation is answered.
fn answer_tag(operation: &Operation) -> u8 {
    match operation {
        Operation::Bind { .. } => answer::BIND,
        Operation::Compare { .. } => answer::COMPARE,
        Operation::Extended { .. } => answer::EXTENDED,
        Operation::Change(tag) => *tag,
        // The other two have no answer.
        Operation::Search(_) | Operation::Unbind | Operation::Abandon => answer::SEARCH_DONE,
    }
}

fn entry_holds(asked: &Search, entry: &Entry) -> bool {
    asked.filter.holds(&entry.folded()) == Some(true)
}

async fn say_entry<S>(
    wire: &mut Wire<S>,
    id: u32,
    asked: &Search,
    entry: &Entry,
) -> Result<(), Gone>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let selected = entries::selected(entry, &asked.attributes);
    wire.say(&answer::entry(id, &entry.dn, selected, asked.types_only)).await
}

async fn end<S>(wire: &mut Wire<S>, id: u32, code: Code, text: &str) -> Result<(), Gone>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    wire.say(&answer::done(id, code, text, None)).await
}
