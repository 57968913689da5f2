//! What may happen within a transaction: RCPT, then DATA or BDAT.
use super::Beginning;
use super::Chunk;
use super::Chunks;
use super::Content;
use super::Mail;
use super::Parcels;
use super::Recipient;
use super::Session;
use super::Turn;
use crate::domain::address::Address;
use crate::domain::envelope::RcptParameters;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::proto::smtp::command::ForwardPath;
use crate::proto::smtp::reply;
use crate::proto::smtp::reply::Reply;

impl<P: Parcels> Mail<P> {
    pub(super) fn rcpt(mut self, to: ForwardPath, parameters: RcptParameters) -> Turn<P> {
        let address = match &to {
            ForwardPath::Mailbox(address) => Some(address),
            ForwardPath::Postmaster => None,
        };
        // The transaction goes on with those it has: to end the connection here would make an
        // honest relay begin again with the same names, for days. The next MAIL ends it.
        if self.before.standing.has_tried_too_many() {
            return self.tried_too_many();
        }
        let refusal = if self.recipients.len() >= self.before.standing.rules.recipients_max {
            Some(Refusal::TooManyRecipients)
        } else if address.is_some_and(Address::needs_smtputf8) && !self.smtputf8 {
            Some(Refusal::Utf8NotAnnounced)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.refused_recipients = true;
            let address = address.cloned();
            return Turn::Refuse(Session::Mail(self), refusal, address);
        }
        Turn::AskRecipient(Recipient::new(self), to, parameters)
    }

    /// The flow is not asked, so that the answer says nothing about the recipient. One such
    /// refusal is recorded; the others are its echo.
    fn tried_too_many(mut self) -> Turn<P> {
        self.refused_recipients = true;
        let tally = &mut self.before.standing.tally;
        tally.refused_recipients += 1;
        let is_first = tally.refused_recipients == limits::SMTP_REFUSED_RECIPIENTS_MAX + 1;
        match is_first {
            true => Turn::Refuse(Session::Mail(self), Refusal::TooManyRecipients, None),
            false => Turn::Say(Session::Mail(self), Refusal::TooManyRecipients.into()),
        }
    }

    pub(super) fn data(self) -> Turn<P> {
        match self.without_recipients() {
            Some(reply) => Session::Mail(self).error(reply),
            None => Turn::Begin(Beginning::data(self.before), self.sender, self.recipients),
        }
    }

    pub(super) fn bdat(self, octets: u64, last: bool) -> Turn<P> {
        if let Some(reply) = self.without_recipients() {
            return Session::Mail(self).discard(octets, reply);
        }
        if octets > self.before.standing.discard_max() {
            return Turn::Close(reply::CHUNK_HUGE);
        }
        Turn::Begin(Beginning::chunk(self.before, octets, last), self.sender, self.recipients)
    }

    fn without_recipients(&self) -> Option<Reply> {
        match (self.recipients.is_empty(), self.refused_recipients) {
            (false, _) => None,
            (true, true) => Some(reply::NO_VALID_RECIPIENTS),
            (true, false) => Some(reply::RCPT_FIRST),
        }
    }
}

impl<P: Parcels> Chunks<P> {
    pub(super) fn bdat(self, octets: u64, last: bool) -> Turn<P> {
        if octets > self.before.standing.discard_max() {
            return Turn::Close(reply::CHUNK_HUGE);
        }
        match (self.content, last) {
            (Ok(content), false) => Turn::ReadChunk(Chunk::new(self.before, octets), Ok(content)),
            (Ok(content), true) => {
                Turn::ReadLastChunk(Content::new(self.before), octets, Ok(content))
            }
            // RFC 3030 §2: chunks behind a refused one were pipelined. They get the same
            // answer, which is on record already.
            (Err(refusal), false) => {
                let chunks = Self { before: self.before, content: Err(refusal) };
                Turn::Discard(Session::Chunks(chunks), octets, refusal.into())
            }
            (Err(refusal), true) => {
                Turn::Discard(Session::Greeted(self.before), octets, refusal.into())
            }
        }
    }
}
