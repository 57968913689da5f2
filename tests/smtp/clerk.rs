//! A clerk who follows a script instead of the flow: what an address is called decides.
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::address::ReversePath;
use vaguemestre::domain::certificate::CertificateFacts;
use vaguemestre::domain::decision::SessionId;
use vaguemestre::domain::envelope::MailParameters;
use vaguemestre::domain::envelope::Recipient;
use vaguemestre::domain::login::Means;
use vaguemestre::domain::login::Scope;
use vaguemestre::domain::login::Source;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxId;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::status::Refusal;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::flow::accept::Accepted;
use vaguemestre::flow::judge::Grounds;
use vaguemestre::flow::login::Logins;
use vaguemestre::flow::login::software::Software;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::config::Limits;
use vaguemestre::infra::directory::Account;
use vaguemestre::infra::directory::Directory;
use vaguemestre::infra::directory::DirectoryError;
use vaguemestre::infra::directory::Identified;
use vaguemestre::infra::directory::Mailboxes;
use vaguemestre::infra::directory::Verdict;
use vaguemestre::infra::directory::chain::Chain;
use vaguemestre::infra::metrics::Metrics;
use vaguemestre::infra::metrics::SessionGuard;
use vaguemestre::server::smtp::SmtpDoor;
use vaguemestre::server::smtp::desk::Desk;

use super::tls::HOST;
use super::tls::PKI;

/// A letter that was taken.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) accepted: Accepted,
    pub(super) reverse_path: ReversePath,
    pub(super) parameters: MailParameters,
    pub(super) recipients: Vec<Recipient>,
    pub(super) content: Vec<u8>,
}

/// The clerk and what they have seen.
pub(super) struct Clerk {
    limits: Limits,
    metrics: Metrics,
    letters: Mutex<Vec<Letter>>,
    refusals: Mutex<Vec<(Refusal, Option<Address>)>>,
    people: Logins,
    logins: Mutex<Vec<bool>>,
    looks: Mutex<Vec<bool>>,
    explained: Mutex<Vec<(Refusal, Option<Domain>)>>,
    turned_away: Mutex<Vec<String>>,
}

impl Clerk {
    pub(super) fn new() -> Arc<Self> {
        Self::with(|_| ())
    }

    pub(super) fn with(change: impl FnOnce(&mut Limits)) -> Arc<Self> {
        let mut limits = Limits {
            message_octets: 100_000,
            recipients: 3,
            connections: 100,
            connections_per_address: 50,
            clear_octets: 1 << 20,
            logins_failed_per_minute: 100,
            command: Duration::from_secs(300),
            line: Duration::from_secs(60),
            data: Duration::from_secs(900),
            imap_idle: Duration::from_secs(1800),
        };
        change(&mut limits);
        Arc::new(Self {
            limits,
            metrics: Metrics::new(),
            letters: Mutex::default(),
            refusals: Mutex::default(),
            people: people(),
            logins: Mutex::default(),
            looks: Mutex::default(),
            explained: Mutex::default(),
            turned_away: Mutex::default(),
        })
    }

    pub(super) fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap().clone()
    }

    pub(super) fn refusals(&self) -> Vec<Refusal> {
        self.refusals.lock().unwrap().iter().map(|(refusal, _)| *refusal).collect()
    }

    pub(super) fn refused_recipients(&self) -> Vec<String> {
        let refusals = self.refusals.lock().unwrap();
        refusals.iter().filter_map(|(_, to)| to.as_ref().map(Address::to_string)).collect()
    }

    /// How often the peer was looked at; true: not for the first time.
    pub(super) fn looks(&self) -> Vec<bool> {
        self.looks.lock().unwrap().clone()
    }

    /// Refusals that can be explained, with the domain of MAIL FROM.
    pub(super) fn explained(&self) -> Vec<(Refusal, Option<String>)> {
        let explained = self.explained.lock().unwrap();
        explained.iter().map(|(why, of)| (*why, of.as_ref().map(Domain::to_string))).collect()
    }

    pub(super) fn turned_away(&self) -> Vec<String> {
        self.turned_away.lock().unwrap().clone()
    }

    pub(super) fn logins(&self) -> Vec<bool> {
        self.logins.lock().unwrap().clone()
    }
}

const LUNE: &str = "lune@hopital.mssante.test";

/// A directory that knows one clinician, whose password is `secret`.
struct Book;

fn people() -> Logins {
    let chain = Chain::new(vec![Arc::new(Book)], Arc::new(Book));
    Logins::new(Arc::new(chain), Arc::new(SystemClock), 1_000)
}

#[async_trait]
impl Directory for Book {
    fn source(&self) -> Source {
        Source::Local
    }

    async fn password(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Verdict, DirectoryError> {
        if name == "directory-down" {
            return Err(DirectoryError::Store("away".to_owned()));
        }
        if (name, password.expose().as_str()) != (LUNE, "secret") {
            return Ok(Verdict::Refused);
        }
        Ok(Verdict::Known(Identified {
            mailboxes: vec![Address::parse(LUNE).unwrap()],
            national_id: None,
            display_name: None,
            means: Means::Password,
            scope: Scope::ALL,
            network: None,
            until: None,
            voucher: None,
        }))
    }
}

#[async_trait]
impl Mailboxes for Book {
    async fn find(&self, address: &Address) -> Result<Option<Account>, DirectoryError> {
        Ok(Some(Account {
            id: MailboxId::from_bytes([7; 16]),
            address: address.clone(),
            kind: MailboxKind::Personal,
            listing: Listing::Public,
            suspended: false,
            display_name: "Dr Lune".to_owned(),
            certificate: Bytes::new(),
            wrapped_keys: Bytes::new(),
            created: Timestamp::from_millis(0),
        }))
    }

    async fn held_by(&self, _: &str) -> Result<Vec<Address>, DirectoryError> {
        Ok(Vec::new())
    }
}

impl Desk for Clerk {
    type Sender = Letter;
    type Recipient = Recipient;
    type Content = Letter;

    fn hostname(&self) -> Domain {
        Domain::parse(HOST).unwrap()
    }

    fn postmaster(&self) -> Address {
        Address::parse("postmaster@hopital.mssante.test").unwrap()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn tls(&self, door: SmtpDoor) -> Arc<ServerConfig> {
        PKI.server(door == SmtpDoor::Mx)
    }

    fn session(&self, door: SmtpDoor) -> SessionGuard {
        self.metrics.session(door.name())
    }

    async fn look(
        &self,
        session: SessionId,
        shown: &[CertificateDer<'static>],
        before: Option<&Arc<Grounds>>,
    ) -> Arc<Grounds> {
        self.looks.lock().unwrap().push(before.is_some());
        if shown.first() != Some(PKI.listed()) {
            return Arc::new(Grounds::given(session, None, None));
        }
        let dn = OperatorDn::new([("CN", "mx.cabinet.mssante.test")]);
        let (not_before, not_after) = (Timestamp::from_seconds(0), Timestamp::from_seconds(1));
        let (subject, issuer, serial) = (dn.clone(), dn, "01".to_owned());
        let facts = CertificateFacts { subject, issuer, serial, not_before, not_after };
        Arc::new(Grounds::given(session, Some(facts), None))
    }

    fn peer(&self, grounds: &Grounds) -> Result<(), Refusal> {
        grounds.certificate().map(|_| ()).ok_or(Refusal::PeerNotListed)
    }

    fn logins(&self) -> &Logins {
        &self.people
    }

    async fn software(&self, _: &[CertificateDer<'static>]) -> Option<Software> {
        None
    }

    fn login_counted(&self, _: SmtpDoor, succeeded: bool) {
        self.logins.lock().unwrap().push(succeeded);
    }

    async fn sender(
        &self,
        accepted: Accepted,
        reverse_path: ReversePath,
        parameters: MailParameters,
    ) -> Result<Letter, Refusal> {
        if reverse_path.address().is_some_and(|from| from.local_part() == "somebody.else") {
            return Err(Refusal::SenderNotYours);
        }
        let (recipients, content) = (Vec::new(), Vec::new());
        Ok(Letter { accepted, reverse_path, parameters, recipients, content })
    }

    async fn recipient(&self, _: &Letter, recipient: Recipient) -> Result<Recipient, Refusal> {
        match (recipient.address.local_part(), recipient.address.domain().as_str()) {
            ("panic", _) => panic!("as the test wants"),
            ("unknown", _) => Err(Refusal::MailboxUnknown),
            (_, "elsewhere.example") => Err(Refusal::DomainNotTrusted),
            _ => Ok(recipient),
        }
    }

    async fn begin(
        &self,
        mut letter: Letter,
        recipients: Vec<Recipient>,
    ) -> Result<Letter, Refusal> {
        if recipients.iter().any(|recipient| recipient.address.local_part() == "keyless") {
            return Err(Refusal::RecipientKeyMissing);
        }
        letter.recipients = recipients;
        Ok(letter)
    }

    fn write(&self, letter: &mut Letter, octets: &[u8]) -> Result<(), Refusal> {
        letter.content.extend_from_slice(octets);
        let full = octets.starts_with(b"DISK FULL");
        if full { Err(Refusal::StoreFull) } else { Ok(()) }
    }

    async fn finish(&self, letter: Letter) -> Result<String, Refusal> {
        let mut letters = self.letters.lock().unwrap();
        letters.push(letter);
        Ok(format!("Queued as {:032x}", letters.len()))
    }

    fn refused(&self, _: &Accepted, recipient: Option<&Address>, refusal: Refusal) {
        self.refusals.lock().unwrap().push((refusal, recipient.cloned()));
    }

    fn explained(&self, _: &Accepted, _: &Grounds, mail_from: Option<Domain>, why: Refusal) {
        self.explained.lock().unwrap().push((why, mail_from));
    }

    fn turned_away(&self, _: SessionId, _: IpAddr, _: Refusal, trouble: String) {
        self.turned_away.lock().unwrap().push(trouble);
    }
}
