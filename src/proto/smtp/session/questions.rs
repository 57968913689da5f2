//! What a [`Turn`] carries: the way on after the driver did, or asked, what it says.
use super::Chunks;
use super::Client;
use super::Greeted;
use super::Mail;
use super::Parcels;
use super::Session;
use super::Standing;
use super::Trust;
use super::Turn;
use super::Unwelcome;
use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::login::Mechanism;
use crate::domain::status::Refusal;
use crate::proto::smtp::reply;
use crate::proto::smtp::reply::Reply;

/// STARTTLS was said (RFC 3207 §4).
pub struct Upgrading<P: Parcels>(Standing<P>);

/// An operator introduced itself.
pub struct Introducing<P: Parcels> {
    standing: Standing<P>,
    client: Client,
}

/// An AUTH exchange is under way.
pub struct Authenticating<P: Parcels>(Greeted<P>);

/// MAIL was said.
pub struct Sender<P: Parcels> {
    greeted: Greeted<P>,
    smtputf8: bool,
}

/// RCPT was said.
pub struct Recipient<P: Parcels>(Mail<P>);

/// DATA or the first BDAT was said. The envelope has left the session already.
pub struct Beginning<P: Parcels> {
    before: Greeted<P>,
    framing: Framing,
}

enum Framing {
    Data,
    Chunk { octets: u64, last: bool },
}

/// A content is read to its end.
pub struct Content<P: Parcels>(Greeted<P>);

/// A chunk is read, and others will follow.
pub struct Chunk<P: Parcels> {
    before: Greeted<P>,
    octets: u64,
}

impl<P: Parcels> Upgrading<P> {
    pub(super) fn new(standing: Standing<P>) -> Self {
        Self(standing)
    }

    /// TLS is active, and people may log in by these mechanisms. RFC 3207 §4.2: nothing that was
    /// said before counts.
    pub fn secured(self, mechanisms: Vec<Mechanism>) -> Session<P> {
        Session::connected(Standing { trust: Trust::Secured, mechanisms, ..self.0 })
    }

    /// Octets came behind STARTTLS before the handshake. Somebody in the middle may have put
    /// them there to be read as if they had come under TLS (CVE-2021-33515, CVE-2021-38542).
    pub fn injected(self) -> Turn<P> {
        Turn::Close(reply::INJECTED)
    }
}

impl<P: Parcels> Introducing<P> {
    pub(super) fn new(standing: Standing<P>, client: Client) -> Self {
        Self { standing, client }
    }

    /// What it calls itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The trust list's word on the peer.
    pub fn answer(self, verdict: Result<P::Voucher, Refusal>) -> Turn<P> {
        let Self { standing, client } = self;
        match verdict {
            Ok(voucher) => {
                let standing = Standing { trust: Trust::Vouched(voucher), ..standing };
                Greeted { standing, client }.welcome()
            }
            // Not hung up at once: the peer would see a broken connection and try for days.
            Err(refusal) => {
                let standing = Standing { trust: Trust::Secured, ..standing };
                let session = Session::Unwelcome(Unwelcome { standing, client, refusal });
                Turn::Refuse(session, refusal, None)
            }
        }
    }
}

impl<P: Parcels> Authenticating<P> {
    pub(super) fn new(greeted: Greeted<P>) -> Self {
        Self(greeted)
    }

    /// The exchange ended without anybody having shown who they are.
    pub fn failed(self, reply: Reply) -> Turn<P> {
        Session::Greeted(self.0).error(reply)
    }

    /// What was shown is right or wrong.
    pub fn answer(self, verdict: Result<P::Voucher, Refusal>) -> Turn<P> {
        let mut greeted = self.0;
        match verdict {
            Ok(voucher) => {
                greeted.standing.trust = Trust::Vouched(voucher);
                Turn::Say(Session::Greeted(greeted), reply::LOGGED_IN)
            }
            Err(refusal) => {
                let tally = &mut greeted.standing.tally;
                tally.login_failures += 1;
                if tally.login_failures >= limits::LOGIN_FAILURES_MAX {
                    return Turn::Close(reply::TOO_MANY_LOGIN_FAILURES);
                }
                Turn::Say(Session::Greeted(greeted), Reply::login_refused(refusal))
            }
        }
    }
}

impl<P: Parcels> Sender<P> {
    pub(super) fn new(greeted: Greeted<P>, smtputf8: bool) -> Self {
        Self { greeted, smtputf8 }
    }

    /// Who asks, and who vouches for them.
    pub fn caller(&self) -> (&Client, Option<&P::Voucher>) {
        (&self.greeted.client, self.greeted.standing.voucher())
    }

    /// The flow's word on the sender. After a no there is no transaction.
    pub fn answer(self, verdict: Result<P::Sender, Refusal>) -> Turn<P> {
        let before = self.greeted;
        match verdict {
            Ok(sender) => {
                let mail = Mail {
                    before,
                    sender,
                    smtputf8: self.smtputf8,
                    recipients: Vec::new(),
                    refused_recipients: false,
                };
                Turn::Say(Session::Mail(mail), reply::SENDER_OK)
            }
            Err(refusal) => Turn::Refuse(Session::Greeted(before), refusal, None),
        }
    }
}

impl<P: Parcels> Recipient<P> {
    pub(super) fn new(mail: Mail<P>) -> Self {
        Self(mail)
    }

    /// On whose behalf.
    pub fn sender(&self) -> &P::Sender {
        &self.0.sender
    }

    /// The flow's word on the recipient, whose address a refusal is recorded with.
    pub fn answer(self, verdict: Result<P::Recipient, (Refusal, Address)>) -> Turn<P> {
        let mut mail = self.0;
        match verdict {
            Ok(recipient) => {
                mail.recipients.push(recipient);
                Turn::Say(Session::Mail(mail), reply::RECIPIENT_OK)
            }
            Err((refusal, address)) => {
                mail.refused_recipients = true;
                mail.before.standing.tally.refused_recipients += 1;
                Turn::Refuse(Session::Mail(mail), refusal, Some(address))
            }
        }
    }
}

impl<P: Parcels> Beginning<P> {
    pub(super) fn data(before: Greeted<P>) -> Self {
        Self { before, framing: Framing::Data }
    }

    pub(super) fn chunk(before: Greeted<P>, octets: u64, last: bool) -> Self {
        Self { before, framing: Framing::Chunk { octets, last } }
    }

    /// True when BDAT brings the content.
    pub fn is_chunked(&self) -> bool {
        matches!(self.framing, Framing::Chunk { .. })
    }

    /// The flow has made room for the content, or not. A chunk comes all the same.
    pub fn answer(self, verdict: Result<P::Content, Refusal>) -> Turn<P> {
        match (self.framing, verdict) {
            (Framing::Data, Ok(content)) => {
                Turn::ReadContent(Content(self.before), content, reply::GO_AHEAD)
            }
            (Framing::Data, Err(refusal)) => {
                Turn::Refuse(Session::Greeted(self.before), refusal, None)
            }
            (Framing::Chunk { octets, last: false }, content) => {
                Turn::ReadChunk(Chunk::new(self.before, octets), content)
            }
            (Framing::Chunk { octets, last: true }, content) => {
                Turn::ReadLastChunk(Content(self.before), octets, content)
            }
        }
    }
}

impl<P: Parcels> Content<P> {
    pub(super) fn new(before: Greeted<P>) -> Self {
        Self(before)
    }

    /// The letter is durable, and this is what its `Queued` said; or it is refused.
    pub fn ended(self, verdict: Result<Reply, Refusal>) -> Turn<P> {
        let session = Session::Greeted(self.0);
        match verdict {
            Ok(reply) => Turn::Say(session, reply),
            Err(refusal) => Turn::Refuse(session, refusal, None),
        }
    }
}

impl<P: Parcels> Chunk<P> {
    pub(super) fn new(before: Greeted<P>, octets: u64) -> Self {
        Self { before, octets }
    }

    /// Octets to read.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// The chunk has arrived, and the content is still welcome or not.
    pub fn arrived(self, content: Result<P::Content, Refusal>) -> Turn<P> {
        let refusal = content.as_ref().err().copied();
        let session = Session::Chunks(Chunks { before: self.before, content });
        match refusal {
            None => Turn::Say(session, Reply::chunk_taken(self.octets)),
            Some(refusal) => Turn::Refuse(session, refusal, None),
        }
    }
}
