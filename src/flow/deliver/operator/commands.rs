//! The text of MAIL and RCPT, and what the server offers.
//!
//! The text is ours and not lettre's: its addresses know no quoted local parts, and ours were
//! parsed at the door already, so that nothing in them can end a line.
use crate::domain::address::ReversePath;
use crate::domain::envelope::Notify;
use crate::domain::envelope::Recipient;
use crate::domain::envelope::ReturnContent;
use crate::flow::deliver::operator::Handover;
use crate::flow::deliver::operator::reply::Trouble;

/// RFC 3461 §4.4: an envelope identifier has at most 100 characters when it is encoded.
const ENVID_CHARACTERS_MAX: usize = 100;
/// RFC 3461 §4.2: the ORCPT parameter has at most 500 characters.
const ORCPT_CHARACTERS_MAX: usize = 500;

/// What the reply to EHLO offers (RFC 5321 §4.1.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offers {
    /// TLS may begin (RFC 3207 §2).
    pub(super) starttls: bool,
    /// Commands may follow without waiting (RFC 2920 §3.1).
    pub(super) pipelining: bool,
    /// Octets over 127 in the content (RFC 6152 §2).
    pub(super) eight_bit: bool,
    /// Internationalised addresses and headers (RFC 6531 §3.1).
    pub(super) smtputf8: bool,
    /// Reports on request (RFC 3461 §3).
    pub(super) dsn: bool,
    /// Content by its length instead of by a dot (RFC 3030 §2).
    pub(super) chunking: bool,
    /// The largest letter (RFC 1870 §4): `None` when not offered, `Some(0)` when offered without a limit.
    pub(super) size: Option<u64>,
}

impl Offers {
    /// Reads the lines of the reply; the first one is the server's name.
    pub(super) fn read(lines: &[String]) -> Self {
        let mut offers = Self::default();
        for line in lines.iter().skip(1) {
            let mut words = line.get(4..).unwrap_or_default().split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "STARTTLS" => offers.starttls = true,
                "PIPELINING" => offers.pipelining = true,
                "8BITMIME" => offers.eight_bit = true,
                "SMTPUTF8" => offers.smtputf8 = true,
                "DSN" => offers.dsn = true,
                "CHUNKING" => offers.chunking = true,
                "SIZE" => {
                    offers.size =
                        Some(words.next().and_then(|word| word.parse().ok()).unwrap_or(0));
                }
                _ => {}
            }
        }
        offers
    }
}

/// What the letter needs of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Needs {
    /// Octets over 127 in the content.
    eight_bit: bool,
    /// The sender's address is internationalised: all recipients.
    smtputf8_sender: bool,
    /// The header section is: all recipients.
    smtputf8_header: bool,
    /// Some recipient's address is: SMTPUTF8 is said when offered.
    smtputf8_for_some: bool,
}

impl Needs {
    pub(super) fn of(handover: &Handover<'_>) -> Self {
        let sender = handover.reverse_path.address();
        // Our clients say SMTPUTF8 for every letter; what has nothing of it may go anywhere.
        let header = handover.parameters.smtputf8 && !header_section(handover.content).is_ascii();
        let mut recipients = handover.recipients.iter();
        Self {
            eight_bit: !handover.content.is_ascii(),
            smtputf8_sender: sender.is_some_and(|address| address.needs_smtputf8()),
            smtputf8_header: header,
            smtputf8_for_some: recipients.any(|recipient| recipient.address.needs_smtputf8()),
        }
    }

    /// Something of the letter is internationalised.
    fn smtputf8(&self) -> bool {
        self.smtputf8_sender || self.smtputf8_header || self.smtputf8_for_some
    }

    /// A letter is never rewritten on its way: what the server cannot take as it is goes back.
    pub(super) fn check(&self, offers: &Offers, octets: usize) -> Result<(), Trouble> {
        if self.smtputf8_sender && !offers.smtputf8 {
            return Err(utf8_not_offered());
        }
        // RFC 6531 §3.5: 5.6.9, a header that cannot be handed to some recipients.
        if self.smtputf8_header && !offers.smtputf8 {
            return Err(Trouble::never(6, 9, "SMTPUTF8 is needed for the header and not offered"));
        }
        // RFC 6152 §3: such content must not be sent to a server that does not offer it.
        if self.eight_bit && !offers.eight_bit {
            return Err(Trouble::never(6, 3, "8BITMIME is needed and not offered"));
        }
        // RFC 1870 §6.1: a fixed maximum that is too small refuses the letter for good.
        match offers.size {
            Some(limit) if limit > 0 && octets as u64 > limit => Err(Trouble::never(
                3,
                4,
                &format!("the letter has {octets} octets, the server takes {limit}"),
            )),
            _ => Ok(()),
        }
    }
}

/// RFC 6531 §3.5: 5.6.7, non-ASCII addresses not permitted.
pub(super) fn utf8_not_offered() -> Trouble {
    Trouble::never(6, 7, "SMTPUTF8 is needed for an address and not offered")
}

/// A CR or LF alone ends a line for some servers and not for others: the door refuses it, and
/// should one ever get here, it still does not leave (SMTP smuggling, CVE-2023-51764). Long lines
/// leave as they are: RFC 5321 §4.5.3.1.6 lets a server refuse what is over 1000 octets, but to
/// break a line would break a signature.
pub(super) fn check_content(content: &[u8]) -> Result<(), Trouble> {
    let mut before = 0;
    for octet in content {
        if (*octet == b'\n') != (before == b'\r') {
            return Err(Trouble::never(6, 0, "a line end in the letter that is not CRLF"));
        }
        before = *octet;
    }
    if before == b'\r' {
        return Err(Trouble::never(6, 0, "a line end in the letter that is not CRLF"));
    }
    Ok(())
}

/// MAIL with what the server offers (RFC 5321 §4.1.1.2).
pub(super) fn mail(handover: &Handover<'_>, offers: &Offers, needs: &Needs) -> String {
    let mut command = match handover.reverse_path {
        ReversePath::Null => "MAIL FROM:<>".to_owned(),
        ReversePath::Address(address) => format!("MAIL FROM:<{address}>"),
    };
    if offers.size.is_some() {
        command.push_str(&format!(" SIZE={}", octets_sent(handover.content)));
    }
    if offers.eight_bit && (needs.eight_bit || handover.parameters.eight_bit) {
        command.push_str(" BODY=8BITMIME");
    }
    if offers.smtputf8 && needs.smtputf8() {
        command.push_str(" SMTPUTF8");
    }
    if offers.dsn {
        match handover.parameters.ret {
            Some(ReturnContent::Full) => command.push_str(" RET=FULL"),
            Some(ReturnContent::Headers) => command.push_str(" RET=HDRS"),
            None => {}
        }
        let envid = handover.parameters.envid.as_deref().map(xtext);
        if let Some(envid) = envid.filter(|envid| envid.len() <= ENVID_CHARACTERS_MAX) {
            command.push_str(&format!(" ENVID={envid}"));
        }
    }
    command.push_str("\r\n");
    command
}

/// RCPT with what was asked for it (RFC 5321 §4.1.1.3).
pub(super) fn rcpt(recipient: &Recipient, offers: &Offers) -> String {
    let mut command = format!("RCPT TO:<{}>", recipient.address);
    if offers.dsn {
        if let Some(notify) = recipient.parameters.notify.as_ref().and_then(notify_keyword) {
            command.push_str(&format!(" NOTIFY={notify}"));
        }
        let orcpt = recipient.parameters.orcpt.as_deref().and_then(orcpt_value);
        let orcpt = orcpt.or_else(|| orcpt_added(recipient));
        if let Some(orcpt) = orcpt.filter(|orcpt| orcpt.len() <= ORCPT_CHARACTERS_MAX) {
            command.push_str(&format!(" ORCPT={orcpt}"));
        }
    }
    command.push_str("\r\n");
    command
}

/// RFC 3461 §4.1: NEVER stands alone; a list of nothing is not said.
fn notify_keyword(notify: &Notify) -> Option<String> {
    if notify.never {
        return Some("NEVER".to_owned());
    }
    let said: Vec<&str> =
        [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")]
            .into_iter()
            .filter_map(|(asked, keyword)| asked.then_some(keyword))
            .collect();
    (!said.is_empty()).then(|| said.join(","))
}

/// RFC 3461 §5.2.1 b: a relay may add the address that its client said, when the client said no
/// original one. It is done where reports were asked for: should the next operator know the
/// recipient by another name, the report still tells the one that the sender wrote.
fn orcpt_added(recipient: &Recipient) -> Option<String> {
    let asked = recipient.parameters.notify.is_some_and(|notify| !notify.never);
    let plain = asked && !recipient.address.needs_smtputf8();
    plain.then(|| format!("rfc822;{}", xtext(&recipient.address.to_string())))
}

/// RFC 3461 §4.2: the type is an atom, the address behind it xtext.
fn orcpt_value(orcpt: &str) -> Option<String> {
    let (kind, address) = orcpt.split_once(';')?;
    let atom = !kind.is_empty()
        && kind.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    atom.then(|| format!("{kind};{}", xtext(address)))
}

/// RFC 3461 §4: everything but printable ASCII without `+` and `=` as `+` and two digits.
fn xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'+' | b'=' => encoded.push_str(&format!("+{octet:02X}")),
            b'!'..=b'~' => encoded.push(char::from(octet)),
            _ => encoded.push_str(&format!("+{octet:02X}")),
        }
    }
    encoded
}

/// The beginning of one chunk (RFC 3030 §2).
pub(super) fn bdat(octets: usize, last: bool) -> String {
    if last { format!("BDAT {octets} LAST\r\n") } else { format!("BDAT {octets}\r\n") }
}

/// RFC 1870 §5: line ends count, the dots that are added do not.
pub(super) fn octets_sent(content: &[u8]) -> usize {
    if content.ends_with(b"\r\n") { content.len() } else { content.len() + 2 }
}

/// Up to the empty line.
fn header_section(content: &[u8]) -> &[u8] {
    let end = content.windows(4).position(|window| window == b"\r\n\r\n");
    &content[..end.unwrap_or(content.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(text: &str) -> Offers {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        Offers::read(&lines)
    }

    #[test]
    fn offers_are_read_in_any_case_and_never_from_the_first_line() {
        let read = offers("250-STARTTLS.test\n250-size 100\n250-Dsn\n250 8BITMIME");
        assert!(read.dsn && read.eight_bit && !read.starttls && !read.smtputf8);
        assert_eq!(read.size, Some(100));
        assert_eq!(offers("250-x\n250 SIZE").size, Some(0));
        assert!(!offers("250 STARTTLS").starttls, "a server may be called STARTTLS");
    }

    #[test]
    fn xtext_hides_what_could_end_a_parameter() {
        assert_eq!(xtext("a+b=c d\r\né"), "a+2Bb+3Dc+20d+0D+0A+C3+A9");
        assert_eq!(orcpt_value("rfc822;a b@x").as_deref(), Some("rfc822;a+20b@x"));
        assert_eq!(orcpt_value("rf c;a"), None);
        assert_eq!(orcpt_value("nothing"), None);
    }

    #[test]
    fn notify_says_never_alone_and_nothing_for_nothing() {
        let both = Notify { success: true, delay: true, ..Notify::default() };
        assert_eq!(notify_keyword(&both).as_deref(), Some("SUCCESS,DELAY"));
        let never = Notify { never: true, ..both };
        assert_eq!(notify_keyword(&never).as_deref(), Some("NEVER"));
        assert_eq!(notify_keyword(&Notify::default()), None);
    }

    #[test]
    fn only_crlf_ends_a_line() {
        for good in ["", "a", "\r\n", "a\r\nb", "\r\n.\r\n"] {
            assert!(check_content(good.as_bytes()).is_ok(), "{good:?}");
        }
        for bad in ["\n", "a\nb", "\r", "a\rb", "\r\r\n", "\n\r\n", "a\r\n.\nb", "a\r"] {
            assert!(check_content(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_the_server_cannot_take_goes_back_and_is_not_rewritten() {
        let needs = Needs {
            eight_bit: true,
            smtputf8_sender: false,
            smtputf8_header: false,
            smtputf8_for_some: false,
        };
        assert!(needs.check(&offers("250-x\n250-8BITMIME\n250 SIZE 10"), 10).is_ok());
        assert!(needs.check(&offers("250-x\n250-8BITMIME\n250 SIZE 10"), 11).is_err());
        assert!(needs.check(&offers("250-x\n250-8BITMIME\n250 SIZE 0"), 11).is_ok());
        assert!(needs.check(&offers("250 x"), 10).is_err());
    }
}
