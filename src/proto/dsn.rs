//! Delivery status notifications: what became of a letter, for the sender (RFC 3461 §6) and for
//! the sender's software (RFC 3464), in one multipart/report (RFC 6522).
mod words;

use std::time::Duration;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::status::EnhancedStatus;
use crate::domain::time::Timestamp;
use crate::proto::mime::date;

/// The code of a letter that an administrator ended (RFC 3463 §3.4: other mail system status).
const BY_ADMINISTRATOR: EnhancedStatus = EnhancedStatus(5, 3, 0);

/// Octets of a stranger's text that a report quotes.
const QUOTED_OCTETS_MAX: usize = 800;
/// Octets of one line without its end (RFC 5322 §2.1.1).
const LINE_OCTETS_MAX: usize = 998;
/// Octets of one line of quoted-printable (RFC 2045 §6.7).
const ENCODED_LINE_OCTETS: usize = 76;

/// Everything that a report says. No `Debug`: it holds patients' addresses and strangers' words.
#[derive(Clone)]
pub struct Report<'r> {
    /// The host that reports.
    pub reporting_mta: &'r Domain,
    /// Who signs: the postmaster of our domain.
    pub from: &'r Address,
    /// The sender of the letter.
    pub to: &'r Address,
    /// The report's own Message-ID, without angle brackets.
    pub message_id: &'r str,
    /// When the letter came to us.
    pub arrival: Timestamp,
    /// When the report is written.
    pub now: Timestamp,
    /// `ENVID=` of the letter, decoded.
    pub envid: Option<&'r str>,
    /// Message-ID of the letter, with its angle brackets, for threads.
    pub about: Option<&'r str>,
    /// Our own name of the letter: what people quote when they ask us.
    pub reference: &'r str,
    /// The promise that a delayed letter does not keep.
    pub late: Option<Late<'r>>,
    /// At least one.
    pub recipients: &'r [RecipientReport<'r>],
    /// What of the letter goes back.
    pub returned: Returned<'r>,
}

/// What became of the letter for one recipient.
#[derive(Clone)]
pub struct RecipientReport<'r> {
    /// Where the letter went.
    pub address: &'r Address,
    /// `ORCPT=`, decoded: `type;address`.
    pub orcpt: Option<&'r str>,
    /// What happened.
    pub action: Action,
    /// Its code.
    pub status: EnhancedStatus,
    /// What the other host said.
    pub diagnostic: Option<&'r str>,
    /// Which host said it.
    pub remote_mta: Option<&'r str>,
    /// When it was tried last, if it was.
    pub last_attempt: Option<Timestamp>,
    /// Until when it is tried again, when it is delayed; `None` while somebody holds it.
    pub retry_until: Option<Timestamp>,
    /// How often it was tried.
    pub attempts: u32,
    /// Other ways to the same person or team, when it is delayed.
    pub alternatives: &'r [Alternative],
}

/// A promise about a class of letters that one of them did not meet.
#[derive(Clone, Copy)]
pub struct Late<'r> {
    /// The document's code that made the promise; `*` for every letter.
    pub class: &'r str,
    /// Within which time the letter should have arrived.
    pub within: Duration,
}

/// Another mailbox that the national directory shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// Its address.
    pub address: String,
    /// Whose it is.
    pub name: String,
    /// The same person's; otherwise of the same structure.
    pub same_person: bool,
}

/// RFC 3464 §2.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Given up.
    Failed,
    /// Still trying.
    Delayed,
    /// In the mailbox.
    Delivered,
    /// Handed on to a system that will not report.
    Relayed,
}

/// RFC 3461 §4.3, `RET`.
#[derive(Clone, Copy)]
pub enum Returned<'r> {
    /// Nothing.
    Nothing,
    /// The header section.
    Headers(&'r [u8]),
    /// The whole letter. One that cannot travel inside a report (bare CR or LF, NUL, endless
    /// lines) goes back as its header section.
    Letter(&'r [u8]),
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
        }
    }
}

/// Writes the report: CRLF line ends, no line over 998 octets, and no octet of a stranger in a
/// place where it could become a field or a boundary.
pub fn write(report: &Report<'_>) -> Vec<u8> {
    let human = quoted_printable(words::explain(report).as_bytes());
    let status = delivery_status(report);
    let returned = ReturnedPart::new(report.returned);
    let boundary = boundary(returned.as_ref().map_or(&[], |part| &part.body));

    let mut text = Vec::new();
    let mut line = |line: &str| {
        text.extend_from_slice(line.as_bytes());
        text.extend_from_slice(b"\r\n");
    };
    line(&format!("Date: {}", date::rfc5322(report.now)));
    line(&format!("From: \"Remise du courrier / Mail delivery\" <{}>", report.from));
    line(&format!("To: <{}>", report.to));
    line(&format!("Subject: {}", words::subject(report)));
    let message_id = one_word(report.message_id);
    line(&format!("Message-ID: <{}>", message_id.trim_matches(['<', '>'])));
    if let Some(about) = report.about.map(one_word).filter(|about| !about.is_empty()) {
        line(&format!("In-Reply-To: {about}"));
        line(&format!("References: {about}"));
    }
    // RFC 3834 §5: nobody's answering machine answers this.
    line("Auto-Submitted: auto-replied");
    line("MIME-Version: 1.0");
    line("Content-Type: multipart/report; report-type=delivery-status;");
    line(&format!(" boundary=\"{boundary}\""));
    // RFC 2045 §6.4: what holds 8bit says so itself.
    if returned.as_ref().is_some_and(|part| part.encoding == "8bit") {
        line("Content-Transfer-Encoding: 8bit");
    }
    line("");
    line(&format!("--{boundary}"));
    line("Content-Type: text/plain; charset=utf-8");
    line("Content-Transfer-Encoding: quoted-printable");
    line("");
    line(&human);
    line(&format!("--{boundary}"));
    line("Content-Type: message/delivery-status");
    line("");
    line(&status);
    if let Some(part) = &returned {
        line(&format!("--{boundary}"));
        line(&format!("Content-Type: {}", part.media_type));
        line(&format!("Content-Transfer-Encoding: {}", part.encoding));
        line("");
    }
    if let Some(part) = &returned {
        text.extend_from_slice(&part.body);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    text
}

/// RFC 3464 §2: one block about the letter, one for each recipient.
fn delivery_status(report: &Report<'_>) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    };
    if let Some(envid) = report.envid.map(one_line).filter(|envid| !envid.is_empty()) {
        field("Original-Envelope-Id", &envid);
    }
    field("Reporting-MTA", &format!("dns; {}", report.reporting_mta));
    field("Arrival-Date", &date::rfc5322(report.arrival));
    for recipient in report.recipients {
        text.push_str("\r\n");
        recipient_status(recipient, &mut text);
    }
    text
}

fn recipient_status(recipient: &RecipientReport<'_>, text: &mut String) {
    let mut field = |name: &str, value: &str| {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    };
    if let Some((kind, address)) = recipient.orcpt.and_then(|orcpt| orcpt.split_once(';')) {
        let (kind, address) = (one_word(kind), one_line(address));
        if !kind.is_empty() && !address.is_empty() {
            field("Original-Recipient", &format!("{kind}; {address}"));
        }
    }
    let address = recipient.address.to_string();
    // RFC 6533 §3: an address in another alphabet has a form in ASCII.
    let kind = if address.is_ascii() { "rfc822" } else { "utf-8" };
    field("Final-Recipient", &format!("{kind}; {}", one_line(&address)));
    field("Action", recipient.action.word());
    field("Status", &recipient.status.to_string());
    if let Some(host) = recipient.remote_mta.map(one_word).filter(|host| !host.is_empty()) {
        field("Remote-MTA", &format!("dns; {host}"));
    }
    if let Some(said) = recipient.diagnostic.map(one_line).filter(|said| !said.is_empty()) {
        // RFC 3464 §2.3.6: what no SMTP server said is not of its type.
        let kind = if is_smtp_reply(&said) { "smtp" } else { "x-vaguemestre" };
        field("Diagnostic-Code", &format!("{kind}; {said}"));
    }
    if let Some(last) = recipient.last_attempt {
        field("Last-Attempt-Date", &date::rfc5322(last));
    }
    if let (Action::Delayed, Some(until)) = (recipient.action, recipient.retry_until) {
        field("Will-Retry-Until", &date::rfc5322(until));
    }
}

fn is_smtp_reply(said: &str) -> bool {
    let code = said.split([' ', '-']).next().unwrap_or_default();
    code.len() == 3 && code.bytes().all(|octet| octet.is_ascii_digit())
}

/// A stranger's text as one line of printable ASCII, of bounded length. Other characters are
/// written as RFC 6533 §3 writes them in addresses.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.trim().chars() {
        if line.len() >= QUOTED_OCTETS_MAX {
            break;
        }
        match character {
            ' '..='~' => line.push(character),
            control if control.is_control() => line.push(' '),
            other => line.push_str(&format!("\\x{{{:X}}}", u32::from(other))),
        }
    }
    line.trim_end().to_owned()
}

/// The same, without white space.
fn one_word(text: &str) -> String {
    one_line(text).split(' ').collect()
}

/// The third part of a report.
struct ReturnedPart {
    media_type: &'static str,
    encoding: &'static str,
    body: Vec<u8>,
}

impl ReturnedPart {
    fn new(returned: Returned<'_>) -> Option<Self> {
        match returned {
            Returned::Nothing => None,
            Returned::Headers(section) => Some(Self::headers(section)),
            Returned::Letter(letter) if !can_travel(letter) => {
                Some(Self::headers(header_section(letter)))
            }
            // RFC 2046 §5.2.1: a letter inside a letter is never encoded.
            Returned::Letter(letter) => Some(Self {
                media_type: "message/rfc822",
                encoding: if letter.is_ascii() { "7bit" } else { "8bit" },
                body: letter.to_vec(),
            }),
        }
    }

    /// RFC 6522 §4.
    fn headers(section: &[u8]) -> Self {
        let media_type = "text/rfc822-headers";
        let text = with_crlf(section);
        if text.is_ascii() && can_travel(&text) {
            return Self { media_type, encoding: "7bit", body: text };
        }
        let body = quoted_printable(&text).into_bytes();
        Self { media_type, encoding: "quoted-printable", body }
    }
}

fn header_section(letter: &[u8]) -> &[u8] {
    let mut end = 0;
    for line in letter.split_inclusive(|octet| *octet == b'\n') {
        if matches!(line, b"\r\n" | b"\n") {
            break;
        }
        end += line.len();
    }
    &letter[..end]
}

/// CRLF everywhere, no NUL, no line over the limit.
fn can_travel(text: &[u8]) -> bool {
    let mut lines = text.split(|octet| *octet == b'\n').peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        let line = match line.strip_suffix(b"\r") {
            Some(line) if !is_last => line,
            None if is_last => line,
            _ => return false,
        };
        if line.len() > LINE_OCTETS_MAX || line.contains(&b'\r') || line.contains(&0) {
            return false;
        }
    }
    true
}

fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        clean.extend(
            line.iter().map(|octet| if matches!(octet, 0 | b'\r') { b' ' } else { *octet }),
        );
        clean.extend_from_slice(b"\r\n");
    }
    clean
}

/// RFC 2045 §6.7. `text` has CRLF line ends; so has the result.
pub(super) fn quoted_printable(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len() + text.len() / 4);
    let mut column = 0;
    let mut octets = text.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        if octet == b'\r' && octets.peek() == Some(&b'\n') {
            octets.next();
            encoded.push_str("\r\n");
            column = 0;
            continue;
        }
        let ends_line = matches!(octets.peek(), None | Some(b'\r'));
        let plain = match octet {
            b'=' => false,
            b' ' => !ends_line,
            other => other.is_ascii_graphic(),
        };
        let width = if plain { 1 } else { 3 };
        if column + width >= ENCODED_LINE_OCTETS {
            encoded.push_str("=\r\n");
            column = 0;
        }
        // `.` or `From ` at the start of a line means something to some transports.
        if plain && !(column == 0 && matches!(octet, b'.' | b'F')) {
            encoded.push(char::from(octet));
            column += 1;
        } else {
            encoded.push_str(&format!("={octet:02X}"));
            column += 3;
        }
    }
    encoded
}

/// A boundary that is nowhere in `body`.
fn boundary(body: &[u8]) -> String {
    (0_u32..)
        .map(|number| format!("=_vaguemestre_{number}"))
        .find(|boundary| {
            let wanted = boundary.as_bytes();
            !body.windows(wanted.len()).any(|window| window == wanted)
        })
        .expect("a body holds finitely many boundaries")
}

#[cfg(test)]
mod tests;
