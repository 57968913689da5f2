//! APPEND: what is refused before the message comes, and what becomes of it.
use crate::domain::secret::Secret;
use crate::flow::mailbox::NewMessage;
use crate::flow::office::ClearPermit;
use crate::proto::imap::command::Append;
use crate::proto::imap::reader::Announced;
use crate::proto::imap::reader::LiteralMode;
use crate::proto::imap::reader::Next;
use crate::server::imap::answer;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::folders;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Stream;
use crate::server::imap::messages;
use crate::server::imap::session::Session;
use crate::server::imap::session::Way;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;

impl<D: Desk, S: Stream> Session<'_, D, S> {
    /// An APPEND's message is announced: everything that can be refused is refused before it
    /// comes.
    pub(super) async fn decide(&mut self, announced: Announced) -> Result<Way, Gone> {
        let octets_max = self.desk.message_octets_max();
        let decision = match self.room_for(&announced, octets_max).await {
            Ok(room) => {
                self.room = Some(room);
                self.line.accept_message();
                if announced.literal == LiteralMode::Synchronising {
                    self.line.out().extend_from_slice(b"+ Ready for the message\r\n");
                }
                return Ok(Way::On);
            }
            Err(Halt::Gone(gone)) => return Err(gone),
            Err(Halt::Refused(answer)) => answer,
        };
        (self.room, self.message) = (None, None);
        decision.write(self.line.out(), Some(&announced.tag));
        match self.line.refuse_message(octets_max) {
            Next::Close => Ok(self.bye("Too much is on its way to go on")),
            Next::GoOn if decision.is_bad() => Ok(self.after_bad()),
            Next::GoOn => Ok(Way::On),
        }
    }

    pub(super) async fn room_for(
        &mut self,
        announced: &Announced,
        octets_max: u64,
    ) -> Result<ClearPermit, Halt> {
        let shelf = self.shelf()?;
        if announced.index > 0 || announced.replaced.is_some() {
            return Err(Answer::bad("One message for each APPEND").into());
        }
        if announced.octets > octets_max {
            return Err(Answer::no("TOOBIG", "The message is too large").into());
        }
        folders::find_target(self.desk, shelf, &announced.start.mailbox).await?;
        self.desk.reserve(announced.octets).await.map_err(|refusal| answer::refused(refusal).into())
    }
}

/// APPEND.
pub(super) async fn append<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    append: Append,
    message: Option<Secret<Vec<u8>>>,
) -> Done {
    let (Some(start), Some(message)) = (append.messages.into_iter().next(), message) else {
        return Err(Answer::bad("A message was expected").into());
    };
    messages::check_keywords(&start.flags)?;
    if message.expose().is_empty() {
        return Err(Answer::no("CANNOT", "An empty message cannot be kept").into());
    }
    // RFC 3501 §9: a literal holds no NUL, and we store no binary messages.
    if message.expose().contains(&0) {
        return Err(Answer::no("CANNOT", "A message cannot hold NUL").into());
    }
    let target = folders::find_target(desk, own, &append.mailbox).await?;
    let content = with_whole_line_ends(message);
    let new = NewMessage { content, flags: start.flags, internal_date: start.date };
    let (uid_validity, uid) = target.shelf.append(target.folder.id, new).await?;
    Ok(Answer::ok("Kept").code(format!("APPENDUID {uid_validity} {}", uid.0)))
}

/// Lines of a letter end with CRLF. Some programs file their copies with LF alone (`curl -T` of
/// a Unix file does); kept so, no client could read them, and refused, they would be lost.
fn with_whole_line_ends(message: Secret<Vec<u8>>) -> Secret<Vec<u8>> {
    let octets = message.expose();
    let bare = |at: usize| match octets[at] {
        b'\n' => at == 0 || octets[at - 1] != b'\r',
        b'\r' => octets.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    let count = (0..octets.len()).filter(|&at| bare(at)).count();
    if count == 0 {
        return message;
    }
    let mut whole = Vec::with_capacity(octets.len() + count);
    for (at, &octet) in octets.iter().enumerate() {
        if bare(at) {
            whole.extend_from_slice(b"\r\n");
        } else {
            whole.push(octet);
        }
    }
    Secret::new(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_filed_letter_end_with_crlf() {
        let check = |from: &str, to: &str| {
            let whole = with_whole_line_ends(Secret::new(from.as_bytes().to_vec()));
            assert_eq!(whole.expose(), to.as_bytes());
        };
        check("a\r\nb\r\n", "a\r\nb\r\n");
        check("a\nb\n\n", "a\r\nb\r\n\r\n");
        check("a\rb\r\r\n", "a\r\nb\r\n\r\n");
        check("\n", "\r\n");
    }
}
