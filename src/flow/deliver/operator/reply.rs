//! What an answer means, and what of it may be written down.
use std::error::Error;

use lettre::transport::smtp::response::Response;

use crate::domain::address::Address;
use crate::domain::address::ReversePath;
use crate::domain::envelope::Recipient;
use crate::domain::identity::Ins;
use crate::domain::status::EnhancedStatus;
use crate::flow::deliver::operator::HandoverResult;
use crate::flow::deliver::operator::guarded::Gate;

/// Characters of a reply that are kept; or of our own list of what was tried in vain.
const REPLY_CHARACTERS_MAX: usize = 1_000;

/// One reply, whatever its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Three digits.
    pub(super) code: u16,
    /// Its lines, joined with spaces.
    pub(super) text: String,
}

/// Why a conversation did not end with the letter taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// This host cannot, or is gone before it had anything of the letter: another one may.
    Elsewhere(EnhancedStatus, String),
    /// The connection broke, or nothing came in time. Whether another host may be asked depends
    /// on how far the letter was.
    Lost(EnhancedStatus, String),
    /// Try again.
    Later(EnhancedStatus, String),
    /// Give up.
    Never(EnhancedStatus, String),
    /// Commands and replies do not fit together; nothing that was said counts.
    Doubt(String),
}

impl Answer {
    /// The refusal in a 4xx or 5xx; `None` for every other code.
    pub(super) fn negative(&self) -> Option<Trouble> {
        let class = u8::try_from(self.code / 100).unwrap_or(0);
        // RFC 2034 §4: the classes of both codes agree, otherwise the enhanced one is noise.
        let status = EnhancedStatus::parse(&self.text)
            .filter(|status| status.0 == class)
            .unwrap_or(EnhancedStatus(class, 0, 0));
        match class {
            // RFC 5321 §3.8: 421 is about the server, not about the letter.
            4 if self.code == 421 => Some(Trouble::Elsewhere(status, self.line())),
            4 => Some(Trouble::Later(status, self.line())),
            5 => Some(Trouble::Never(status, self.line())),
            _ => None,
        }
    }

    /// As on the wire.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.code, self.text)
    }
}

impl Trouble {
    /// Try again, for a reason of ours: `4.subject.detail`.
    pub(super) fn later(subject: u16, detail: u16, text: &str) -> Self {
        Self::Later(EnhancedStatus(4, subject, detail), text.to_owned())
    }

    /// The connection is of no use any more.
    pub(super) fn lost(text: &str) -> Self {
        Self::Lost(EnhancedStatus(4, 4, 2), text.to_owned())
    }

    /// Give up, for a reason of ours: `5.subject.detail`.
    pub(super) fn never(subject: u16, detail: u16, text: &str) -> Self {
        Self::Never(EnhancedStatus(5, subject, detail), text.to_owned())
    }

    /// Nothing that was said counts.
    pub(super) fn doubt(text: &str) -> Self {
        Self::Doubt(format!("protocol error: {text}"))
    }

    /// What it means for a recipient.
    pub(super) fn verdict(&self) -> (HandoverResult, &str) {
        match self {
            Self::Elsewhere(status, text)
            | Self::Lost(status, text)
            | Self::Later(status, text) => (HandoverResult::PutOff(*status), text),
            Self::Never(status, text) => (HandoverResult::Refused(*status), text),
            Self::Doubt(text) => (HandoverResult::PutOff(EnhancedStatus(4, 5, 0)), text),
        }
    }
}

/// The reply to a command, positive or not; trouble when there was none that counts.
pub(super) fn answer(
    gate: &Gate,
    result: Result<Response, lettre::transport::smtp::Error>,
) -> Result<Answer, Trouble> {
    if let Some(doubt) = gate.doubt() {
        return Err(Trouble::doubt(&doubt));
    }
    let error = match result {
        Ok(response) => {
            let lines: Vec<&str> = response.message().collect();
            return Ok(Answer { code: response.code().into(), text: lines.join(" ") });
        }
        Err(error) => error,
    };
    if let Some(code) = error.status() {
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        return Ok(Answer { code: code.into(), text });
    }
    if gate.is_closed() || !error.is_response() {
        return Err(lost(&error));
    }
    Err(Trouble::doubt(&error.to_string()))
}

/// Trouble while we wrote a chunk ourselves.
pub(super) fn broken(gate: &Gate, error: &std::io::Error) -> Trouble {
    match gate.doubt() {
        Some(doubt) => Trouble::doubt(&doubt),
        None if error.kind() == std::io::ErrorKind::InvalidData => tls_ended(error),
        None => Trouble::lost(&format!("connection lost: {error}")),
    }
}

/// Trouble while lettre opened its side. A 5xx there is about the connection and not about the
/// letter, so another attempt may do better.
pub(super) fn of_connection(gate: &Gate, error: lettre::transport::smtp::Error) -> Trouble {
    match answer(gate, Err(error)) {
        Ok(answer) => Trouble::later(4, 1, &answer.line()),
        Err(trouble) => trouble,
    }
}

/// With TLS 1.3 a server that does not want our certificate says so only now.
fn lost(error: &lettre::transport::smtp::Error) -> Trouble {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let by_tls = cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::InvalidData);
    if by_tls {
        return tls_ended(error);
    }
    Trouble::lost(&format!("connection lost: {error}"))
}

fn tls_ended(error: &dyn Error) -> Trouble {
    Trouble::Lost(EnhancedStatus(4, 7, 5), format!("TLS ended: {error}"))
}

/// What must not be repeated from a reply: patients' local parts are national identity numbers,
/// and servers like to quote addresses.
#[derive(Clone, Debug)]
pub(super) struct Mask {
    hidden: Vec<String>,
}

impl Mask {
    /// The local parts of this letter that nobody may print.
    pub(super) fn of(reverse_path: &ReversePath, recipients: &[Recipient]) -> Self {
        let all = reverse_path.address().into_iter();
        let all = all.chain(recipients.iter().map(|recipient| &recipient.address));
        let hidden = all
            .filter(|address| is_hidden(address))
            .map(|address| address.local_part().to_ascii_lowercase())
            .collect();
        Self { hidden }
    }

    /// One printable ASCII line of bounded length without anybody's INS.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut clean = String::new();
        let mut word = String::new();
        let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        // The last one ends the last word.
        for character in text.chars().map(printable).chain(std::iter::once(' ')) {
            if character.is_ascii_alphanumeric() {
                word.push(character);
                continue;
            }
            clean.push_str(if self.hides(&word) { "***" } else { &word });
            clean.push(character);
            word.clear();
        }
        let clean: String = clean.trim_end().chars().take(REPLY_CHARACTERS_MAX).collect();
        clean
    }

    fn hides(&self, word: &str) -> bool {
        Ins::parse(word).is_ok() || self.hidden.contains(&word.to_ascii_lowercase())
    }
}

/// `Debug` of an address decides what may be printed; ask it instead of knowing better.
fn is_hidden(address: &Address) -> bool {
    format!("{address:?}") != address.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: u16, text: &str, expected: Option<HandoverResult>) {
        let answer = Answer { code, text: text.to_owned() };
        let result = answer.negative().map(|trouble| trouble.verdict().0);
        assert_eq!(result, expected, "{code} {text}");
    }

    #[test]
    fn the_enhanced_code_counts_when_it_agrees_with_the_reply() {
        let refused = |a, b, c| Some(HandoverResult::Refused(EnhancedStatus(a, b, c)));
        let put_off = |a, b, c| Some(HandoverResult::PutOff(EnhancedStatus(a, b, c)));
        check(550, "5.1.1 unknown", refused(5, 1, 1));
        check(550, "no such user", refused(5, 0, 0));
        check(550, "4.1.1 nonsense", refused(5, 0, 0));
        check(452, "4.2.2 full", put_off(4, 2, 2));
        check(421, "bye", put_off(4, 0, 0));
        check(250, "2.0.0 ok", None);
        check(354, "go", None);
    }

    #[test]
    fn a_reply_is_kept_as_one_printable_line_without_an_ins() {
        let patient = Address::parse("2880275990001@patient.mssante.fr").unwrap();
        let recipient = Recipient { address: patient, parameters: Default::default() };
        let mask = Mask::of(&ReversePath::Null, &[recipient]);
        let said = "550 5.1.1 <2880275990001@patient.mssante.fr>\r\n279035121518989\u{1b}[31m é 1234567890123456";
        assert_eq!(
            mask.clean(said),
            "550 5.1.1 <***@patient.mssante.fr>??***?[31m ? 1234567890123456"
        );
        assert_eq!(mask.clean(&"x ".repeat(2_000)).len(), REPLY_CHARACTERS_MAX);
    }
}
