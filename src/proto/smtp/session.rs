//! The SMTP conversation as a machine without I/O (RFC 5321 §4.1.4: order of commands).
//!
//! One struct per state; a state owns only what is true in it. What the flow decided about a
//! sender and its recipients lives in [`Mail`] and nowhere else: a reset drops the state, and
//! every decision with it. "MAIL before EHLO" is no check but a value that cannot be built.
//!
//! A command consumes the session and gives a [`Turn`]: what the driver must do next. A question
//! to the flow carries the only way on, so it can be neither forgotten nor answered twice.
use std::borrow::Cow;
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::address::ReversePath;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::RcptParameters;
use crate::domain::limits;
use crate::domain::login::Mechanism;
use crate::domain::status::Refusal;
use crate::proto::smtp::command::BadCommand;
use crate::proto::smtp::command::ClientName;
use crate::proto::smtp::command::Command;
use crate::proto::smtp::command::ForwardPath;
use crate::proto::smtp::command::InitialResponse;
use crate::proto::smtp::line::Line;
use crate::proto::smtp::reply;
use crate::proto::smtp::reply::Reply;

mod questions;
mod transaction;

pub use questions::Authenticating;
pub use questions::Beginning;
pub use questions::Chunk;
pub use questions::Content;
pub use questions::Introducing;
pub use questions::Recipient;
pub use questions::Sender;
pub use questions::Upgrading;

/// What the flow makes, and the machine carries without looking inside.
pub trait Parcels {
    /// Who vouches for this client: a login, or an operator's certificate.
    type Voucher;
    /// The flow's yes to MAIL.
    type Sender;
    /// The flow's yes to RCPT.
    type Recipient;
    /// A letter whose content is coming in.
    type Content;
}

/// Which door the conversation takes place at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// For people (RFC 6409): TLS, then a login.
    Submission,
    /// For operators: TLS with both certificates. RFC 3207 §4 forbids to demand TLS of the
    /// whole Internet; the trust space is private and demands it.
    Operators,
}

/// The rules of a door.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Which door.
    pub door: Door,
    /// Our name.
    pub hostname: Domain,
    /// Octets of the largest letter.
    pub octets_max: u64,
    /// Recipients of one transaction.
    pub recipients_max: usize,
}

/// A conversation.
pub enum Session<P: Parcels> {
    /// Nobody has said EHLO.
    Connected(Connected<P>),
    /// After EHLO; no transaction is open.
    Greeted(Greeted<P>),
    /// A transaction is open (RFC 5321 §3.3).
    Mail(Mail<P>),
    /// Its content has begun to come in chunks (RFC 3030 §2).
    Chunks(Chunks<P>),
    /// An operator whom nobody lists.
    Unwelcome(Unwelcome<P>),
}

/// Before EHLO.
pub struct Connected<P: Parcels> {
    standing: Standing<P>,
}

/// After EHLO, between transactions.
pub struct Greeted<P: Parcels> {
    standing: Standing<P>,
    client: Client,
}

/// Within a transaction.
pub struct Mail<P: Parcels> {
    before: Greeted<P>,
    sender: P::Sender,
    smtputf8: bool,
    recipients: Vec<P::Recipient>,
    refused_recipients: bool,
}

/// Between two chunks of a content. After a refusal only the refusal is left.
pub struct Chunks<P: Parcels> {
    before: Greeted<P>,
    content: Result<P::Content, Refusal>,
}

/// Every command but QUIT gets the same answer.
pub struct Unwelcome<P: Parcels> {
    standing: Standing<P>,
    client: Client,
    refusal: Refusal,
}

/// What outlives transactions.
struct Standing<P: Parcels> {
    rules: Arc<Rules>,
    /// What AUTH may name on this very connection.
    mechanisms: Vec<Mechanism>,
    trust: Trust<P::Voucher>,
    tally: Tally,
}

/// How far a client has come towards being allowed to send.
enum Trust<V> {
    /// Nothing is hidden from the network yet.
    Clear,
    /// TLS is active.
    Secured,
    /// TLS is active and somebody vouches for the client.
    Vouched(V),
}

/// What is counted, so that nobody keeps a task for ever.
#[derive(Clone, Copy, Default)]
struct Tally {
    commands: usize,
    errors: usize,
    letters: usize,
    login_failures: usize,
    refused_recipients: usize,
}

/// What EHLO or HELO said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's name for itself.
    pub name: ClientName,
    /// It said EHLO.
    pub extended: bool,
}

/// What the driver must do next.
#[must_use]
pub enum Turn<P: Parcels> {
    /// Say this, read the next command.
    Say(Session<P>, Reply),
    /// Record the refusal (of a recipient, if one is named), say it, read the next command.
    Refuse(Session<P>, Refusal, Option<Address>),
    /// Say this and hang up.
    Close(Reply),
    /// Make sure that nothing was pipelined, say this, do the TLS handshake.
    Upgrade(Upgrading<P>, Reply),
    /// Ask whether the trust list knows the peer's certificate.
    AskPeer(Introducing<P>),
    /// Carry on an exchange by this mechanism.
    Authenticate(Authenticating<P>, Mechanism, Option<InitialResponse>),
    /// Ask the flow about MAIL.
    AskSender(Sender<P>, ReversePath, MailParameters),
    /// Ask the flow about RCPT.
    AskRecipient(Recipient<P>, ForwardPath, RcptParameters),
    /// Ask the flow to make room for a content.
    Begin(Beginning<P>, P::Sender, Vec<P::Recipient>),
    /// Say this, read a content up to its line of one dot, finish the letter.
    ReadContent(Content<P>, P::Content, Reply),
    /// Read a chunk that is not the last.
    ReadChunk(Chunk<P>, Result<P::Content, Refusal>),
    /// Read the last chunk of so many octets, finish the letter.
    ReadLastChunk(Content<P>, u64, Result<P::Content, Refusal>),
    /// Read so many octets and forget them, then say this.
    Discard(Session<P>, u64, Reply),
}

impl<P: Parcels> Session<P> {
    /// A conversation that begins in clear.
    pub fn clear(rules: Arc<Rules>) -> Self {
        let (mechanisms, tally) = (Vec::new(), Tally::default());
        Self::connected(Standing { rules, mechanisms, trust: Trust::Clear, tally })
    }

    /// A conversation that begins under TLS, where people may log in by these mechanisms.
    pub fn secured(rules: Arc<Rules>, mechanisms: Vec<Mechanism>) -> Self {
        let tally = Tally::default();
        Self::connected(Standing { rules, mechanisms, trust: Trust::Secured, tally })
    }

    fn connected(standing: Standing<P>) -> Self {
        Self::Connected(Connected { standing })
    }

    /// True when no letter is under way, so that the relay may stop.
    pub fn is_between_letters(&self) -> bool {
        !matches!(self, Self::Mail(_) | Self::Chunks(_))
    }

    /// What the client called itself, and who vouches for it, as far as it has come.
    pub fn caller(&self) -> (Option<&Client>, Option<&P::Voucher>) {
        let client = match self {
            Self::Connected(_) => None,
            Self::Unwelcome(unwelcome) => Some(&unwelcome.client),
            Self::Greeted(greeted) => Some(&greeted.client),
            Self::Mail(mail) => Some(&mail.before.client),
            Self::Chunks(chunks) => Some(&chunks.before.client),
        };
        (client, self.standing().voucher())
    }

    /// A line that arrived.
    pub fn line(mut self, line: Line<'_>) -> Turn<P> {
        let standing = self.standing_mut();
        standing.tally.commands += 1;
        if standing.tally.commands > standing.commands_max() {
            return Turn::Close(reply::TOO_MANY_COMMANDS);
        }
        match line {
            Line::BadEnds => self.error(reply::LINE_ENDS),
            Line::TooLong => self.error(reply::LINE_TOO_LONG),
            Line::Whole(text) => match Command::parse(text) {
                Ok(command) => self.command(command),
                // What follows may be the chunk or may be commands; neither may be guessed.
                Err(bad @ BadCommand::Bdat) => Turn::Close(bad.reply()),
                Err(bad) => self.error(bad.reply()),
            },
        }
    }

    /// A command, in whatever state.
    pub fn command(self, command: Command) -> Turn<P> {
        match (self, command) {
            (_, Command::Quit) => Turn::Close(reply::BYE),
            (Self::Unwelcome(unwelcome), Command::Bdat { octets, .. }) => {
                let reply = unwelcome.refusal.into();
                Self::Unwelcome(unwelcome).discard(octets, reply)
            }
            (Self::Unwelcome(unwelcome), _) => {
                let reply = unwelcome.refusal.into();
                Self::Unwelcome(unwelcome).error(reply)
            }
            (session, Command::Noop) => Turn::Say(session, reply::NOOP),
            (session, Command::Help) => Turn::Say(session, reply::HELP),
            (session, Command::Rset) => Turn::Say(session.reset(), reply::RESET),
            // RFC 5321 §4.1.4: a second EHLO clears the transaction, like RSET.
            (session, Command::Ehlo(name)) => session.hello(Client { name, extended: true }),
            (session, Command::Helo(name)) => session.hello(Client { name, extended: false }),
            (session, Command::StartTls) => session.start_tls(),
            (session, Command::Auth(mechanism, initial_response)) => {
                session.auth(mechanism, initial_response)
            }
            (session, Command::Vrfy) => match session.obstacle() {
                Some(obstacle) => session.error(obstacle),
                None => Turn::Say(session, reply::WILL_NOT_VERIFY),
            },
            (session, Command::Mail(reverse_path, parameters)) => {
                session.mail(reverse_path, parameters)
            }
            (Self::Mail(mail), Command::Rcpt(to, parameters)) => mail.rcpt(to, parameters),
            (Self::Mail(mail), Command::Data) => mail.data(),
            (Self::Mail(mail), Command::Bdat { octets, last }) => mail.bdat(octets, last),
            (Self::Chunks(chunks), Command::Bdat { octets, last }) => chunks.bdat(octets, last),
            (session, Command::Bdat { octets, .. }) => {
                let reply = session.obstacle().unwrap_or(reply::MAIL_FIRST);
                session.discard(octets, reply)
            }
            (session @ Self::Chunks(_), _) => session.error(reply::CHUNKS_OPEN),
            (session, Command::Rcpt(..) | Command::Data) => {
                let reply = session.obstacle().unwrap_or(reply::MAIL_FIRST);
                session.error(reply)
            }
        }
    }

    /// What stands between this client and a letter, as a reply; `None` when nothing does.
    fn obstacle(&self) -> Option<Reply> {
        match self {
            Self::Connected(_) => Some(reply::EHLO_FIRST),
            Self::Unwelcome(unwelcome) => Some(unwelcome.refusal.into()),
            Self::Mail(_) | Self::Chunks(_) => None,
            Self::Greeted(greeted) => match (&greeted.standing.trust, greeted.door()) {
                (Trust::Vouched(_), _) => None,
                // RFC 3207 §4: 530 to all but EHLO, NOOP, STARTTLS and QUIT.
                (Trust::Clear, _) => Some(reply::STARTTLS_FIRST),
                (Trust::Secured, Door::Submission) => Some(Refusal::AuthRequired.into()),
                (Trust::Secured, Door::Operators) => Some(Refusal::PeerCertificateMissing.into()),
            },
        }
    }

    /// A reply to a client's error. Who makes too many is sent away.
    fn error(mut self, reply: Reply) -> Turn<P> {
        let tally = &mut self.standing_mut().tally;
        tally.errors += 1;
        if tally.errors > limits::SMTP_ERRORS_MAX {
            return Turn::Close(reply::TOO_MANY_ERRORS);
        }
        Turn::Say(self, reply)
    }

    /// A chunk in the wrong place: its octets are on their way and must not become commands.
    fn discard(self, octets: u64, reply: Reply) -> Turn<P> {
        if octets > self.standing().discard_max() {
            return Turn::Close(reply::CHUNK_HUGE);
        }
        match self.error(reply) {
            Turn::Say(session, reply) => Turn::Discard(session, octets, reply),
            closed => closed,
        }
    }

    /// The transaction is over, whatever it was.
    fn reset(self) -> Self {
        match self {
            Self::Mail(mail) => Self::Greeted(mail.before),
            Self::Chunks(chunks) => Self::Greeted(chunks.before),
            other => other,
        }
    }

    fn hello(self, client: Client) -> Turn<P> {
        let standing = self.into_standing();
        match (standing.rules.door, &standing.trust) {
            // Asked at each EHLO: a list that changed meanwhile counts at once.
            (Door::Operators, Trust::Secured | Trust::Vouched(_)) => {
                Turn::AskPeer(Introducing::new(standing, client))
            }
            _ => Greeted { standing, client }.welcome(),
        }
    }

    fn start_tls(self) -> Turn<P> {
        match self {
            Self::Greeted(Greeted {
                standing: standing @ Standing { trust: Trust::Clear, .. },
                ..
            })
            // RFC 5321 §4.1.4: only mail needs an EHLO before it, and some clients do without here.
            | Self::Connected(Connected {
                standing: standing @ Standing { trust: Trust::Clear, .. },
            }) => Turn::Upgrade(Upgrading::new(standing), reply::READY_FOR_TLS),
            other => other.error(reply::TLS_TWICE),
        }
    }

    fn auth(self, mechanism: Mechanism, response: Option<InitialResponse>) -> Turn<P> {
        if self.standing().rules.door == Door::Operators {
            return self.error(reply::NO_AUTH_HERE);
        }
        match self {
            Self::Greeted(greeted) => match greeted.standing.trust {
                // RFC 4954 §4: a password is never sent in clear, so AUTH is not even listed.
                Trust::Clear => Self::Greeted(greeted).error(reply::STARTTLS_FIRST),
                Trust::Vouched(_) => Self::Greeted(greeted).error(reply::AUTH_TWICE),
                Trust::Secured if !greeted.standing.mechanisms.contains(&mechanism) => {
                    Self::Greeted(greeted).error(reply::MECHANISM_UNKNOWN)
                }
                Trust::Secured => {
                    Turn::Authenticate(Authenticating::new(greeted), mechanism, response)
                }
            },
            Self::Connected(_) => self.error(reply::EHLO_FIRST),
            _ => self.error(reply::AUTH_IN_TRANSACTION),
        }
    }

    fn mail(self, reverse_path: ReversePath, parameters: MailParameters) -> Turn<P> {
        if let Some(obstacle) = self.obstacle() {
            return self.error(obstacle);
        }
        let mut greeted = match self {
            Self::Greeted(greeted) => greeted,
            // RFC 5321 §4.1.4: MAIL is not to be sent while a transaction is open.
            open => return open.error(reply::MAIL_TWICE),
        };
        if greeted.standing.has_tried_too_many() {
            return Turn::Close(reply::TOO_MANY_REFUSED_RECIPIENTS);
        }
        greeted.standing.tally.letters += 1;
        if greeted.standing.tally.letters > limits::SMTP_LETTERS_MAX {
            return Turn::Close(reply::TOO_MANY_LETTERS);
        }
        // RFC 1870 §6.1: better now than after the content.
        if parameters.size.is_some_and(|size| size > greeted.standing.rules.octets_max) {
            return Turn::Refuse(Self::Greeted(greeted), Refusal::MessageTooLarge, None);
        }
        let needs_utf8 = reverse_path.address().is_some_and(Address::needs_smtputf8);
        if needs_utf8 && !parameters.smtputf8 {
            return Turn::Refuse(Self::Greeted(greeted), Refusal::Utf8NotAnnounced, None);
        }
        let smtputf8 = parameters.smtputf8;
        Turn::AskSender(Sender::new(greeted, smtputf8), reverse_path, parameters)
    }

    fn standing(&self) -> &Standing<P> {
        match self {
            Self::Connected(Connected { standing })
            | Self::Greeted(Greeted { standing, .. })
            | Self::Mail(Mail { before: Greeted { standing, .. }, .. })
            | Self::Chunks(Chunks { before: Greeted { standing, .. }, .. })
            | Self::Unwelcome(Unwelcome { standing, .. }) => standing,
        }
    }

    fn standing_mut(&mut self) -> &mut Standing<P> {
        match self {
            Self::Connected(Connected { standing })
            | Self::Greeted(Greeted { standing, .. })
            | Self::Mail(Mail { before: Greeted { standing, .. }, .. })
            | Self::Chunks(Chunks { before: Greeted { standing, .. }, .. })
            | Self::Unwelcome(Unwelcome { standing, .. }) => standing,
        }
    }

    fn into_standing(self) -> Standing<P> {
        match self {
            Self::Connected(Connected { standing })
            | Self::Greeted(Greeted { standing, .. })
            | Self::Mail(Mail { before: Greeted { standing, .. }, .. })
            | Self::Chunks(Chunks { before: Greeted { standing, .. }, .. })
            | Self::Unwelcome(Unwelcome { standing, .. }) => standing,
        }
    }
}

impl<P: Parcels> Standing<P> {
    fn voucher(&self) -> Option<&P::Voucher> {
        match &self.trust {
            Trust::Vouched(voucher) => Some(voucher),
            Trust::Clear | Trust::Secured => None,
        }
    }

    fn commands_max(&self) -> usize {
        match self.voucher() {
            Some(_) => limits::SMTP_COMMANDS_MAX,
            None => limits::SMTP_STRANGER_COMMANDS_MAX,
        }
    }

    /// Who has named so many recipients in vain gets no more answers on this connection.
    fn has_tried_too_many(&self) -> bool {
        self.tally.refused_recipients >= limits::SMTP_REFUSED_RECIPIENTS_MAX
    }

    /// The largest chunk that is worth reading only to be forgotten.
    fn discard_max(&self) -> u64 {
        match self.voucher() {
            Some(_) => self.rules.octets_max.saturating_mul(limits::SMTP_DISCARDED_LETTERS_MAX),
            None => limits::SMTP_READ_OCTETS as u64,
        }
    }
}

impl<P: Parcels> Greeted<P> {
    fn door(&self) -> Door {
        self.standing.rules.door
    }

    /// The answer to EHLO or HELO.
    fn welcome(self) -> Turn<P> {
        let hostname = &self.standing.rules.hostname;
        let reply = if self.client.extended {
            Reply::ehlo(hostname, self.keywords())
        } else {
            Reply::helo(hostname)
        };
        Turn::Say(Session::Greeted(self), reply)
    }

    /// What this client may use now.
    fn keywords(&self) -> Vec<Cow<'static, str>> {
        let size = format!("SIZE {}", self.standing.rules.octets_max);
        let mut keywords: Vec<Cow<'static, str>> = vec![
            "PIPELINING".into(),
            size.into(),
            "8BITMIME".into(),
            "SMTPUTF8".into(),
            "ENHANCEDSTATUSCODES".into(),
            "DSN".into(),
            "CHUNKING".into(),
        ];
        match (&self.standing.trust, self.door()) {
            (Trust::Clear, _) => keywords.push("STARTTLS".into()),
            (_, Door::Submission) if !self.standing.mechanisms.is_empty() => {
                let names = self.standing.mechanisms.iter().map(|mechanism| mechanism.name());
                keywords.push(format!("AUTH {}", names.collect::<Vec<_>>().join(" ")).into());
            }
            (_, Door::Submission | Door::Operators) => {}
        }
        keywords
    }
}

#[cfg(test)]
mod tests;
