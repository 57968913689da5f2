//! Every reply that the SMTP doors speak (RFC 5321 §4.2), with its enhanced code (RFC 2034,
//! RFC 3463). Texts tell the sender what to do next, and nothing about our insides.
use std::borrow::Cow;
use std::fmt::Write;

use crate::domain::address::BadAddress;
use crate::domain::address::Domain;
use crate::domain::decision::SessionId;
use crate::domain::status::EnhancedStatus;
use crate::domain::status::Refusal;

/// One reply, of one or more lines. Its text cannot hold a line end: it is made only here, from
/// constants, numbers, parsed domains and filtered text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedStatus>,
    text: Cow<'static, str>,
    more: Vec<Cow<'static, str>>,
}

/// A one-line reply of constant text.
const fn reply(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Reply {
    let (class, subject, detail) = enhanced;
    Reply {
        code,
        enhanced: Some(EnhancedStatus(class, subject, detail)),
        text: Cow::Borrowed(text),
        more: Vec::new(),
    }
}

/// A one-line reply without enhanced code: greeting, 334 and 354 have none (RFC 2034 §4).
const fn plain(code: u16, text: &'static str) -> Reply {
    Reply { code, enhanced: None, text: Cow::Borrowed(text), more: Vec::new() }
}

// What goes well.
pub(crate) const SENDER_OK: Reply = reply(250, (2, 1, 0), "Sender accepted");
pub(crate) const RECIPIENT_OK: Reply = reply(250, (2, 1, 5), "Recipient accepted");
pub(crate) const RESET: Reply = reply(250, (2, 0, 0), "Nothing is kept of the transaction");
pub(crate) const NOOP: Reply = reply(250, (2, 0, 0), "OK");
pub(crate) const BYE: Reply = reply(221, (2, 0, 0), "Bye");
pub(crate) const LOGGED_IN: Reply = reply(235, (2, 7, 0), "Welcome");
pub(crate) const READY_FOR_TLS: Reply = reply(220, (2, 0, 0), "Begin the TLS handshake");
pub(crate) const GO_AHEAD: Reply = plain(354, "Send the letter; end it with a line of one dot");
pub(crate) const HELP: Reply =
    reply(214, (2, 0, 0), "EHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP QUIT; see RFC 5321");
/// RFC 5321 §3.5.3: 252 tells nobody who has a mailbox here.
pub(crate) const WILL_NOT_VERIFY: Reply =
    reply(252, (2, 0, 0), "Not verified; send the letter and see");

// Out of order (RFC 5321 §4.1.4).
pub(crate) const EHLO_FIRST: Reply = reply(503, (5, 5, 1), "Say EHLO first");
pub(crate) const MAIL_FIRST: Reply = reply(503, (5, 5, 1), "Say MAIL FROM first");
pub(crate) const RCPT_FIRST: Reply = reply(503, (5, 5, 1), "Say RCPT TO first");
pub(crate) const MAIL_TWICE: Reply =
    reply(503, (5, 5, 1), "A transaction is open; finish it or say RSET");
/// RFC 5321 §3.3 allows 503 or 554 when every RCPT was refused; 554 says more.
pub(crate) const NO_VALID_RECIPIENTS: Reply =
    reply(554, (5, 5, 1), "No recipient was accepted; nothing to send");
pub(crate) const CHUNKS_OPEN: Reply =
    reply(503, (5, 5, 1), "Content has begun with BDAT; go on with BDAT or say RSET");
pub(crate) const STARTTLS_FIRST: Reply = reply(530, (5, 7, 0), "Say STARTTLS first");
pub(crate) const TLS_TWICE: Reply = reply(503, (5, 5, 1), "TLS is active already");
pub(crate) const AUTH_TWICE: Reply = reply(503, (5, 5, 1), "You are logged in already");
pub(crate) const AUTH_IN_TRANSACTION: Reply =
    reply(503, (5, 5, 1), "Not within a transaction; say RSET first");
pub(crate) const NO_AUTH_HERE: Reply =
    reply(502, (5, 5, 1), "Nobody logs in at this door; operators show their certificate");

// Badly formed.
pub(crate) const LINE_TOO_LONG: Reply = reply(500, (5, 5, 6), "The line is too long");
pub(crate) const LINE_ENDS: Reply =
    reply(500, (5, 5, 2), "End lines with CRLF; no bare CR, no bare LF, no NUL");
pub(crate) const UNKNOWN_COMMAND: Reply = reply(500, (5, 5, 2), "Command unknown");
pub(crate) const NOT_OFFERED: Reply = reply(502, (5, 5, 1), "Command not offered here");
pub(crate) const NOT_TEXT: Reply = reply(501, (5, 5, 2), "The line is not UTF-8 text");
pub(crate) const NO_ARGUMENTS: Reply = reply(501, (5, 5, 4), "This command takes no arguments");
pub(crate) const SYNTAX_HELLO: Reply =
    reply(501, (5, 5, 4), "Syntax: EHLO and your host's name, or its address in brackets");
pub(crate) const SYNTAX_MAIL: Reply =
    reply(501, (5, 5, 4), "Syntax: MAIL FROM:<address> and parameters");
pub(crate) const SYNTAX_RCPT: Reply =
    reply(501, (5, 5, 4), "Syntax: RCPT TO:<address> and parameters");
/// The connection ends with it: where the chunk ends and commands begin cannot be told.
pub(crate) const SYNTAX_BDAT: Reply =
    reply(501, (5, 5, 4), "Syntax: BDAT octets, or BDAT octets LAST; connect again");
pub(crate) const SYNTAX_VRFY: Reply = reply(501, (5, 5, 4), "Syntax: VRFY address");
pub(crate) const SYNTAX_AUTH: Reply =
    reply(501, (5, 5, 4), "Syntax: AUTH mechanism, or AUTH mechanism initial-response");
pub(crate) const PARAMETER_UNKNOWN: Reply =
    reply(555, (5, 5, 4), "A parameter is not known here; use those that EHLO lists");
pub(crate) const PARAMETER_TWICE: Reply = reply(501, (5, 5, 4), "A parameter is given twice");
pub(crate) const PARAMETER_VALUE: Reply = reply(501, (5, 5, 4), "A parameter's value is not valid");
pub(crate) const BINARYMIME: Reply =
    reply(555, (5, 5, 4), "BODY=BINARYMIME is not offered; use 7BIT or 8BITMIME");
pub(crate) const MECHANISM_UNKNOWN: Reply =
    reply(504, (5, 5, 4), "Mechanism not offered here; EHLO lists those that are");
pub(crate) const BAD_BASE64: Reply = reply(501, (5, 5, 2), "The response is not valid base64");
pub(crate) const BAD_CREDENTIALS: Reply =
    reply(501, (5, 5, 2), "The response does not have the form of the mechanism");
pub(crate) const AUTH_CANCELLED: Reply = reply(501, (5, 7, 0), "Login cancelled");
/// RFC 4954 §4 gives this case its own code.
pub(crate) const AUTH_LINE_TOO_LONG: Reply = reply(500, (5, 5, 6), "The response is too long");

// The end of a connection (RFC 5321 §3.8).
pub(crate) const INJECTED: Reply =
    reply(554, (5, 5, 1), "Nothing may follow STARTTLS before the handshake; start again");
pub(crate) const CHUNK_HUGE: Reply =
    reply(421, (4, 3, 4), "The chunk is larger than any letter may be; connect again");
pub(crate) const TIMED_OUT: Reply = reply(421, (4, 4, 2), "Nothing arrived in time; connect again");
pub(crate) const SESSION_ENDED: Reply =
    reply(421, (4, 7, 0), "This session was ended; connect and log in again");
pub(crate) const STOPPING: Reply =
    reply(421, (4, 3, 2), "The relay is stopping; connect again later");
pub(crate) const TOO_MANY_CONNECTIONS: Reply =
    reply(421, (4, 7, 0), "Too many connections; close some, or try again later");
pub(crate) const TOO_MANY_ERRORS: Reply =
    reply(421, (4, 7, 0), "Too many errors; check your software and connect again");
pub(crate) const TOO_MANY_COMMANDS: Reply =
    reply(421, (4, 7, 0), "Too many commands on one connection; connect again");
pub(crate) const TOO_MANY_LETTERS: Reply =
    reply(421, (4, 7, 0), "Enough letters on one connection; connect again");
pub(crate) const TOO_MANY_REFUSED_RECIPIENTS: Reply =
    reply(421, (4, 7, 0), "Too many refused recipients on one connection; connect again");
pub(crate) const TOO_MANY_LOGIN_FAILURES: Reply =
    reply(421, (4, 7, 0), "Too many failed logins; check name and password");
/// A panic; the letter under way was not taken.
pub(crate) const OUR_FAULT: Reply = reply(421, (4, 3, 0), "Our fault; connect again later");
pub(crate) const TOO_MUCH_CONTENT: Reply =
    reply(421, (4, 3, 4), "Far more content than one letter may have; send it in parts");

impl Reply {
    /// The greeting of a connection. It has no enhanced code (RFC 2034 §4).
    pub fn greeting(hostname: &Domain) -> Self {
        let text = Cow::Owned(format!("{hostname} ESMTP"));
        Self { code: 220, enhanced: None, text, more: Vec::new() }
    }

    /// The answer to HELO.
    pub fn helo(hostname: &Domain) -> Self {
        let text = Cow::Owned(hostname.to_string());
        Self { code: 250, enhanced: None, text, more: Vec::new() }
    }

    /// The answer to EHLO: our name, then a keyword a line (RFC 5321 §4.1.1.1).
    pub fn ehlo(hostname: &Domain, keywords: Vec<Cow<'static, str>>) -> Self {
        let text = Cow::Owned(hostname.to_string());
        Self { code: 250, enhanced: None, text, more: keywords }
    }

    /// A question of an AUTH exchange, base64 (RFC 4954 §4).
    pub(crate) fn challenge(base64: String) -> Self {
        Self { code: 334, enhanced: None, text: Cow::Owned(base64), more: Vec::new() }
    }

    /// The letter is durable. `said` comes from `Queued::reply`, the only one who may say so.
    pub fn queued(said: &str) -> Self {
        let text = said.chars().filter(|character| !character.is_control()).collect();
        Self {
            code: 250,
            enhanced: Some(EnhancedStatus(2, 0, 0)),
            text: Cow::Owned(text),
            more: Vec::new(),
        }
    }

    /// A chunk that is not the last has arrived (RFC 3030 §2).
    pub(crate) fn chunk_taken(octets: u64) -> Self {
        let text = Cow::Owned(format!("{octets} octets taken"));
        Self { code: 250, enhanced: Some(EnhancedStatus(2, 0, 0)), text, more: Vec::new() }
    }

    /// MAIL names something that is not an address.
    pub(crate) const fn bad_sender(why: BadAddress) -> Self {
        match why {
            BadAddress::Syntax => {
                reply(501, (5, 1, 7), "The sender is not of the form name@domain")
            }
            BadAddress::TooLong => reply(501, (5, 1, 7), "The sender's address is too long"),
            BadAddress::Literal => {
                reply(550, (5, 1, 8), "Give the sender's domain; an IP address names no operator")
            }
        }
    }

    /// RCPT names something that is not an address.
    pub(crate) const fn bad_recipient(why: BadAddress) -> Self {
        match why {
            BadAddress::Syntax => {
                reply(501, (5, 1, 3), "The recipient is not of the form name@domain")
            }
            BadAddress::TooLong => reply(501, (5, 1, 3), "The recipient's address is too long"),
            BadAddress::Literal => reply(
                550,
                (5, 1, 2),
                "Give the recipient's domain; an IP address names no operator",
            ),
        }
    }

    /// A login that did not succeed (RFC 4954 §6): what is temporary elsewhere is 454 here.
    pub fn login_refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::AuthFailed => Self::from(refusal),
            Refusal::MailboxSuspended => {
                reply(535, (5, 7, 13), "This mailbox is closed for now; ask your operator")
            }
            Refusal::Stopping => STOPPING,
            Refusal::DirectoryAway => Self::from(refusal),
            Refusal::TooManyFromPeer => {
                reply(454, (4, 7, 0), "Too many failed logins from your network; try again later")
            }
            _ => reply(454, (4, 7, 0), "Logins cannot be checked now; try again later"),
        }
    }

    /// A refusal with the name of the session behind it: its keeper can ask us why. Faults of
    /// syntax (X.5.X, RFC 3463 §3.6) speak for themselves.
    #[must_use]
    pub fn in_session(mut self, session: SessionId) -> Self {
        let tells_why = self.enhanced.is_some_and(|enhanced| enhanced.1 != 5);
        if matches!(self.code, 400..) && tells_why {
            self.text = Cow::Owned(format!("{} (session {session})", self.text));
        }
        self
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced code; greeting, EHLO, HELO, 334 and 354 have none.
    pub fn enhanced(&self) -> Option<EnhancedStatus> {
        self.enhanced
    }

    /// The first line's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True when the connection ends with this reply (RFC 5321 §3.8).
    pub fn closes(&self) -> bool {
        matches!(self.code, 221 | 421)
    }

    /// Appends the wire form.
    pub fn write_to(&self, wire: &mut Vec<u8>) {
        let mut line = String::with_capacity(80);
        let last = self.more.len();
        for (place, text) in std::iter::once(&self.text).chain(&self.more).enumerate() {
            let separator = if place == last { ' ' } else { '-' };
            line.clear();
            // RFC 2034 §4: the enhanced code stands on every line of a reply.
            let written = match self.enhanced {
                Some(enhanced) => write!(line, "{}{separator}{enhanced} {text}\r\n", self.code),
                None => write!(line, "{}{separator}{text}\r\n", self.code),
            };
            written.expect("a String takes whatever is written");
            wire.extend_from_slice(line.as_bytes());
        }
    }
}

/// The one table from reason to wire.
impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::AuthRequired => {
                reply(530, (5, 7, 0), "Log in first, with AUTH PLAIN or AUTH LOGIN")
            }
            Refusal::AuthFailed => {
                reply(535, (5, 7, 8), "Name or password is wrong; check both and try again")
            }
            Refusal::SenderNotYours => {
                reply(550, (5, 7, 1), "This login may not send as that address; use its own")
            }
            Refusal::HeaderSenderNotYours => reply(
                550,
                (5, 7, 1),
                "From, Sender and Reply-To must be addresses of the login; correct them",
            ),
            Refusal::HeaderSenderMissing => {
                reply(550, (5, 6, 0), "The letter needs exactly one From header field; correct it")
            }
            Refusal::NoRoute => {
                reply(451, (4, 4, 4), "No route to this operator is known yet; try again later")
            }
            Refusal::PeerCertificateMissing => {
                reply(554, (5, 7, 1), "Show your operator certificate in the TLS handshake")
            }
            Refusal::PeerCertificateInvalid => reply(
                554,
                (5, 7, 5),
                "Your certificate is expired, for another use, or not of the trust space's CA",
            ),
            Refusal::PeerCertificateRevoked => {
                reply(554, (5, 7, 5), "Your certificate is revoked; use a valid one")
            }
            Refusal::RevocationUnknown => reply(
                451,
                (4, 7, 5),
                "Nobody says now whether your certificate is revoked; try again later",
            ),
            Refusal::TrustListExpired => {
                reply(451, (4, 7, 1), "Our trust list is too old to judge by; try again later")
            }
            Refusal::PeerNotListed => reply(
                550,
                (5, 7, 1),
                "Your certificate is not in the trust list; have your operator listed",
            ),
            Refusal::PeerDomainMismatch => reply(
                550,
                (5, 7, 1),
                "The trust list does not bind your certificate to the sender's domain",
            ),
            Refusal::DomainNotTrusted => reply(
                550,
                (5, 7, 1),
                "The recipient's domain is not in the trust list; use a secure health address",
            ),
            Refusal::RelayDenied => {
                reply(550, (5, 7, 1), "That domain is not served here; ask the trust list who does")
            }
            Refusal::MailboxUnknown => {
                reply(550, (5, 1, 1), "No such mailbox here; check the address")
            }
            Refusal::PatientAddressInvalid => {
                reply(550, (5, 1, 3), "A patient's address is the INS number; check its digits")
            }
            Refusal::PatientMayOnlyAnswer => reply(
                550,
                (5, 7, 1),
                "A patient may only answer a professional who wrote first and left it open",
            ),
            Refusal::MailboxSuspended => {
                reply(550, (5, 2, 1), "The mailbox is closed for now; reach the person otherwise")
            }
            Refusal::MailboxFull => reply(452, (4, 2, 2), "The mailbox is full; try again later"),
            Refusal::MessageTooLarge => reply(
                552,
                (5, 3, 4),
                "The letter is too large; EHLO tells the limit, send it in parts",
            ),
            Refusal::TooManyRecipients => {
                reply(452, (4, 5, 3), "Too many recipients; send to the others in another letter")
            }
            Refusal::ContentMalformed => reply(
                554,
                (5, 6, 0),
                "Bare CR or LF, NUL, an overlong line, or white space first; send lines with CRLF",
            ),
            Refusal::Utf8NotAnnounced => {
                reply(553, (5, 6, 7), "The address needs SMTPUTF8; say so in MAIL")
            }
            Refusal::DocumentPatientDiffers => reply(
                550,
                (5, 7, 1),
                "The patient in the document is not the recipient; check both and send again",
            ),
            Refusal::MailLoop => {
                reply(554, (5, 4, 6), "The letter goes in circles; check your forwarding")
            }
            Refusal::RecipientKeyMissing => {
                reply(451, (4, 7, 5), "No key for this recipient yet; try again later")
            }
            Refusal::OutsideKeyMissing => reply(
                450,
                (4, 7, 5),
                "Letters to this recipient are encrypted, and no valid OpenPGP certificate of \
                 theirs is known here; have an administrator import one, then send again",
            ),
            Refusal::Busy => reply(451, (4, 3, 2), "Busy; try again in a few minutes"),
            Refusal::TooManyFromPeer => {
                reply(421, (4, 7, 0), "Too much from you at once; try again later")
            }
            Refusal::StoreFailed => {
                reply(451, (4, 3, 0), "The letter could not be kept safely; try again later")
            }
            Refusal::StoreFull => {
                reply(452, (4, 3, 1), "No room to keep the letter safely; try again later")
            }
            Refusal::DependencyFailed => {
                reply(451, (4, 3, 0), "Something needed did not answer; try again later")
            }
            // RFC 4954 §6: a temporary failure of the server.
            Refusal::DirectoryAway => {
                reply(454, (4, 7, 0), "The directory does not answer; try again later")
            }
            Refusal::Stopping => STOPPING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        let mut wire = Vec::new();
        reply.write_to(&mut wire);
        String::from_utf8(wire).unwrap()
    }

    #[test]
    fn every_refusal_is_one_short_line_whose_two_codes_agree() {
        for refusal in Refusal::ALL {
            for reply in [Reply::from(refusal), Reply::login_refused(refusal)] {
                let line = wire(&reply);
                assert!(line.len() <= 512, "RFC 5321 §4.5.3.1.5: {line}");
                assert_eq!(line.matches("\r\n").count(), 1, "{line}");
                assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b) || b"\r\n".contains(&b)));
                let class = reply.enhanced().unwrap().0;
                assert_eq!(reply.code() / 100, u16::from(class), "{line}");
                assert!(matches!(class, 4 | 5), "{line}");
            }
        }
    }

    #[test]
    fn a_refusal_names_its_session_and_a_fault_of_syntax_does_not() {
        let session = SessionId::from_bytes([0xa1; 16]);
        // 4.5.3 is a limit of the protocol, and every relay knows what to do with it.
        for refusal in Refusal::ALL.into_iter().filter(|why| *why != Refusal::TooManyRecipients) {
            let line = wire(&Reply::from(refusal).in_session(session));
            assert!(line.ends_with(&format!(" (session {})\r\n", "a1".repeat(16))), "{line}");
            assert!(line.len() <= 512, "RFC 5321 §4.5.3.1.5: {line}");
        }
        for reply in [SENDER_OK, MAIL_FIRST, GO_AHEAD] {
            assert_eq!(wire(&reply.clone().in_session(session)), wire(&reply));
        }
    }

    #[test]
    fn a_failure_of_ours_is_never_permanent_for_the_sender() {
        for refusal in [
            Refusal::Busy,
            Refusal::StoreFailed,
            Refusal::StoreFull,
            Refusal::DependencyFailed,
            Refusal::DirectoryAway,
            Refusal::RecipientKeyMissing,
            Refusal::OutsideKeyMissing,
            Refusal::Stopping,
        ] {
            assert_eq!(Reply::from(refusal).code() / 100, 4, "{refusal}");
            assert_eq!(Reply::login_refused(refusal).code() / 100, 4, "{refusal}");
        }
    }

    #[test]
    fn ehlo_has_a_keyword_a_line_and_only_the_last_has_a_space() {
        let hostname = Domain::parse("mx.hopital.mssante.test").unwrap();
        let reply = Reply::ehlo(&hostname, vec!["PIPELINING".into(), "SIZE 1000".into()]);
        assert_eq!(
            wire(&reply),
            "250-mx.hopital.mssante.test\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
        );
    }

    #[test]
    fn the_queued_line_cannot_smuggle_another_reply() {
        assert_eq!(wire(&Reply::queued("Queued as 1\r\n250 x")), "250 2.0.0 Queued as 1250 x\r\n");
    }

    #[test]
    fn what_is_temporary_says_so_with_its_first_digit() {
        for refusal in Refusal::ALL {
            let reply = Reply::from(refusal);
            assert_eq!(reply.code() / 100 == 4, refusal.is_temporary(), "{refusal}");
        }
    }
}
