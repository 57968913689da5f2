//! What a conversation asks of the flow, and nothing else: the doors decide nothing.
//!
//! A trait, so that tests can put a scripted clerk behind a real door.
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::address::ReversePath;
use crate::domain::decision::Decision;
use crate::domain::decision::SessionId;
use crate::domain::door::Door;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::Recipient;
use crate::domain::status::Refusal;
use crate::flow;
use crate::flow::accept;
use crate::flow::accept::Accepted;
use crate::flow::accept::Caller;
use crate::flow::authenticate::Authenticated;
use crate::flow::decisions;
use crate::flow::judge;
use crate::flow::judge::Grounds;
use crate::flow::login::Logins;
use crate::flow::login::software;
use crate::flow::login::software::Software;
use crate::flow::office::Office;
use crate::flow::policy::Approved;
use crate::flow::seal::Sealing;
use crate::infra::config::Limits;
use crate::infra::metrics::SessionGuard;
use crate::server::smtp::SmtpDoor;

/// A clerk of the post office.
pub trait Desk: Send + Sync + 'static {
    /// A yes to MAIL.
    type Sender: Send + Sync;
    /// A yes to RCPT.
    type Recipient: Send;
    /// A letter whose content streams in.
    type Content: Send;

    /// Our name in greeting and EHLO.
    fn hostname(&self) -> Domain;
    /// Who `<Postmaster>` without a domain is.
    fn postmaster(&self) -> Address;
    /// The limits of the configuration.
    fn limits(&self) -> &Limits;
    /// TLS of a door.
    fn tls(&self, door: SmtpDoor) -> Arc<rustls::ServerConfig>;
    /// A session begins; it lasts as long as the guard.
    fn session(&self, door: SmtpDoor) -> SessionGuard;
    /// Looks at what a peer has shown, again if it was looked at before on this connection.
    fn look(
        &self,
        session: SessionId,
        shown: &[CertificateDer<'static>],
        before: Option<&Arc<Grounds>>,
    ) -> impl Future<Output = Arc<Grounds>> + Send;
    /// May a peer on these grounds stand at the operators' door at all?
    fn peer(&self, grounds: &Grounds) -> Result<(), Refusal>;
    /// Where people log in.
    fn logins(&self) -> &Logins;
    /// Whom the certificate names that software has shown at a people's door.
    fn software(
        &self,
        shown: &[CertificateDer<'static>],
    ) -> impl Future<Output = Option<Software>> + Send;
    /// A login succeeded or failed.
    fn login_counted(&self, door: SmtpDoor, succeeded: bool);
    /// MAIL.
    fn sender(
        &self,
        accepted: Accepted,
        reverse_path: ReversePath,
        parameters: MailParameters,
    ) -> impl Future<Output = Result<Self::Sender, Refusal>> + Send;
    /// RCPT.
    fn recipient(
        &self,
        sender: &Self::Sender,
        recipient: Recipient,
    ) -> impl Future<Output = Result<Self::Recipient, Refusal>> + Send;
    /// DATA, or the first BDAT.
    fn begin(
        &self,
        sender: Self::Sender,
        recipients: Vec<Self::Recipient>,
    ) -> impl Future<Output = Result<Self::Content, Refusal>> + Send;
    /// The next octets of the content, checked and without stuffed dots.
    fn write(&self, content: &mut Self::Content, octets: &[u8]) -> Result<(), Refusal>;
    /// The content is whole. The text is what `Queued` says: the letter is durable.
    fn finish(
        &self,
        content: Self::Content,
    ) -> impl Future<Output = Result<String, Refusal>> + Send;
    /// A caller was refused.
    fn refused(&self, accepted: &Accepted, recipient: Option<&Address>, refusal: Refusal);
    /// A caller was refused at the operators' door, on these grounds: it is kept, and can be
    /// explained.
    fn explained(
        &self,
        accepted: &Accepted,
        grounds: &Grounds,
        mail_from: Option<Domain>,
        refusal: Refusal,
    );
    /// Whoever called here did not come as far as any grounds.
    fn turned_away(&self, session: SessionId, ip: IpAddr, refusal: Refusal, trouble: String);
}

/// A caller at one of the SMTP doors.
pub fn accept_at(door: SmtpDoor, caller: Caller) -> Accepted {
    let door = match door {
        SmtpDoor::Submission | SmtpDoor::Submissions => Door::Submission,
        SmtpDoor::Mx => Door::Mx,
    };
    accept::accept(door, caller)
}

/// The clerk of a running relay.
pub struct FrontDesk {
    office: Arc<Office>,
}

impl FrontDesk {
    /// A clerk of this office.
    pub fn new(office: Arc<Office>) -> Self {
        Self { office }
    }
}

impl Desk for FrontDesk {
    type Sender = Authenticated;
    type Recipient = Approved;
    type Content = Sealing;

    fn hostname(&self) -> Domain {
        self.office.config.operator.hostname.clone()
    }

    fn postmaster(&self) -> Address {
        let operator = &self.office.config.operator;
        let domain = operator.domains.first().unwrap_or(&operator.hostname);
        Address::parse(&format!("postmaster@{domain}")).expect("an atom and a parsed domain")
    }

    fn limits(&self) -> &Limits {
        &self.office.config.limits
    }

    fn tls(&self, door: SmtpDoor) -> Arc<rustls::ServerConfig> {
        match door {
            SmtpDoor::Submission | SmtpDoor::Submissions => self.office.tls.people(door.name()),
            SmtpDoor::Mx => self.office.tls.operators(),
        }
    }

    fn session(&self, door: SmtpDoor) -> SessionGuard {
        self.office.metrics.session(door.name())
    }

    async fn look(
        &self,
        session: SessionId,
        shown: &[CertificateDer<'static>],
        before: Option<&Arc<Grounds>>,
    ) -> Arc<Grounds> {
        judge::look(&self.office, session, shown, before).await
    }

    fn peer(&self, grounds: &Grounds) -> Result<(), Refusal> {
        judge::verdict(&self.office, grounds, None, self.office.clock.now())
    }

    fn logins(&self) -> &Logins {
        &self.office.logins
    }

    async fn software(&self, shown: &[CertificateDer<'static>]) -> Option<Software> {
        software::look(&self.office, shown).await
    }

    fn login_counted(&self, door: SmtpDoor, succeeded: bool) {
        self.office.metrics.login(door.name(), succeeded);
    }

    async fn sender(
        &self,
        accepted: Accepted,
        reverse_path: ReversePath,
        parameters: MailParameters,
    ) -> Result<Authenticated, Refusal> {
        flow::sender(&self.office, accepted, reverse_path, parameters).await
    }

    async fn recipient(
        &self,
        sender: &Authenticated,
        recipient: Recipient,
    ) -> Result<Approved, Refusal> {
        flow::recipient(&self.office, sender, recipient).await
    }

    async fn begin(
        &self,
        sender: Authenticated,
        recipients: Vec<Approved>,
    ) -> Result<Sealing, Refusal> {
        flow::begin(&self.office, sender, recipients).await
    }

    fn write(&self, content: &mut Sealing, octets: &[u8]) -> Result<(), Refusal> {
        content.write(octets)
    }

    async fn finish(&self, content: Sealing) -> Result<String, Refusal> {
        Ok(flow::finish(&self.office, content).await?.reply())
    }

    fn refused(&self, accepted: &Accepted, recipient: Option<&Address>, refusal: Refusal) {
        flow::refused(&self.office, accepted, recipient, refusal);
    }

    fn explained(
        &self,
        accepted: &Accepted,
        grounds: &Grounds,
        mail_from: Option<Domain>,
        refusal: Refusal,
    ) {
        let office = &self.office;
        let decision = decisions::of_refusal(office, accepted, grounds, mail_from, refusal);
        decisions::note(office, decision);
    }

    fn turned_away(&self, session: SessionId, ip: IpAddr, refusal: Refusal, trouble: String) {
        let decision = Decision {
            session,
            at: self.office.clock.now(),
            ip: Some(ip),
            client_name: String::new(),
            tls: None,
            certificate: None,
            certificate_trouble: trouble,
            revocation: None,
            list: None,
            mail_from: None,
            letter: None,
            refusal: Some(refusal),
        };
        decisions::note(&self.office, decision);
    }
}
