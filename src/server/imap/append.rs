//! APPEND and REPLACE: what is refused before a message comes, and what becomes of it. Each message
//! is sealed when it has come, so that none waits in clear for the next; all are filed at once.
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::rights::Right;
use crate::domain::secret::Secret;
use crate::flow::mailbox::NewMessage;
use crate::flow::mailbox::Staged;
use crate::flow::office::ClearPermit;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::AppendStart;
use crate::proto::imap::command::MessageForm;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::feature::Feature;
use crate::proto::imap::parse::filing::Replaced;
use crate::proto::imap::reader::Announced;
use crate::proto::imap::reader::LiteralMode;
use crate::proto::imap::reader::Next;
use crate::proto::imap::sequence;
use crate::proto::imap::sequence::Number;
use crate::proto::imap::write;
use crate::server::imap::answer;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::folders;
use crate::server::imap::folders::Place;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Stream;
use crate::server::imap::messages;
use crate::server::imap::select;
use crate::server::imap::session::Session;
use crate::server::imap::session::Way;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;

/// An APPEND or REPLACE whose end has not come yet.
pub(super) struct Filing<M> {
    place: Place<M>,
    /// What goes when the new one is there.
    replaced: Option<(FolderId, Uid)>,
    /// Sealed already.
    staged: Vec<Staged>,
    /// Octets of all that was announced.
    octets: u64,
    /// The one that is on its way.
    coming: Option<Coming>,
    /// Why none of them can be kept; told when the command ends.
    fault: Option<Answer>,
}

struct Coming {
    start: AppendStart,
    form: MessageForm,
    /// Room for its clear text.
    room: ClearPermit,
}

impl<D: Desk, S: Stream> Session<'_, D, S> {
    /// A message is announced: everything that can be refused is refused before it comes.
    pub(super) async fn decide(&mut self, announced: Announced) -> Result<Way, Gone> {
        let octets_max = self.desk.message_octets_max();
        let decision = match self.prepare(&announced, octets_max).await {
            Ok(()) => {
                self.line.accept_message();
                if announced.literal == LiteralMode::Synchronising {
                    self.line.out().extend_from_slice(b"+ Ready for the message\r\n");
                }
                return Ok(Way::On);
            }
            Err(Halt::Gone(gone)) => return Err(gone),
            Err(Halt::Refused(answer)) => answer,
        };
        // RFC 3502 §3: all or none; what came before goes with it.
        self.filing = None;
        decision.write(self.line.out(), Some(&announced.tag));
        match self.line.refuse_message(octets_max) {
            Next::Close => Ok(self.bye("Too much is on its way to go on")),
            Next::GoOn if decision.is_bad() => Ok(self.after_bad()),
            Next::GoOn => Ok(Way::On),
        }
    }

    async fn prepare(&mut self, announced: &Announced, octets_max: u64) -> Result<(), Halt> {
        self.shelf()?;
        self.check_form(announced)?;
        if announced.octets > octets_max {
            return Err(Answer::no("TOOBIG", "The message is too large").into());
        }
        let mut filing = match self.filing.take().filter(|_| announced.index > 0) {
            Some(filing) => filing,
            None => self.begin_filing(announced).await?,
        };
        filing.octets = filing.octets.saturating_add(announced.octets);
        filing.place.shelf.check_room(filing.octets).await?;
        let room = self.desk.reserve(announced.octets).await.map_err(answer::refused)?;
        let (start, form) = (announced.start.clone(), announced.form);
        filing.coming = Some(Coming { start, form, room });
        self.filing = Some(filing);
        Ok(())
    }

    /// What the grammar allows and this session does not.
    fn check_form(&self, announced: &Announced) -> Result<(), Answer> {
        let must =
            |feature, why| if self.offer.has(feature) { Ok(()) } else { Err(Answer::bad(why)) };
        if announced.index > 0 {
            must(Feature::MultiAppend, "APPEND takes one message")?;
        }
        if announced.replaced.is_some() {
            must(Feature::Replace, "unknown command")?;
        }
        match announced.form {
            MessageForm::Literal => Ok(()),
            MessageForm::Binary => must(Feature::Binary, "literal8 is not known here"),
            // RFC 6855 §4
            MessageForm::Utf8 if self.line.dialect.utf8 => Ok(()),
            MessageForm::Utf8 => Err(Answer::bad("ENABLE UTF8=ACCEPT first")),
        }
    }

    async fn begin_filing(&self, announced: &Announced) -> Result<Box<Filing<D::Shelf>>, Halt> {
        messages::check_keywords(&announced.start.flags)?;
        let place =
            folders::find_target(self.desk, self.shelf()?, &announced.start.mailbox).await?;
        select::permit(place.rights, Right::Insert)?;
        let replaced = match announced.replaced {
            Some(replaced) => Some(self.replaced(replaced, &place)?),
            None => None,
        };
        let (staged, octets, coming, fault) = (Vec::new(), 0, None, None);
        Ok(Box::new(Filing { place, replaced, staged, octets, coming, fault }))
    }

    /// The message that REPLACE takes away (RFC 8508 §3.1).
    fn replaced(
        &self,
        replaced: Replaced,
        target: &Place<D::Shelf>,
    ) -> Result<(FolderId, Uid), Halt> {
        let view = self.selected()?;
        if view.access == Access::ReadOnly {
            return Err(Answer::no("CANNOT", "The mailbox is open for reading only").into());
        }
        view.must(Right::DeleteMessages)?;
        view.must(Right::Expunge)?;
        if view.shelf.id() != target.shelf.id() {
            return Err(Answer::no("CANNOT", "The new message belongs in the same mailbox").into());
        }
        let uid = match (replaced.by, replaced.number) {
            (_, Number::Last) => Some(view.last_uid()).filter(|uid| *uid > 0),
            (Numbering::Uid, Number::Value(uid)) => {
                Some(uid).filter(|uid| view.uids().contains(*uid))
            }
            (Numbering::Sequence, Number::Value(place)) => view.uid_at(place),
        };
        match (uid, replaced.by) {
            (Some(uid), _) => Ok((view.folder, Uid(uid))),
            (None, Numbering::Uid) => {
                Err(Answer::no("NONEXISTENT", "No message has that UID").into())
            }
            (None, Numbering::Sequence) => {
                Err(Answer::bad("No message has that sequence number").into())
            }
        }
    }

    /// A message has come whole: it is sealed now, and filed when its command ends.
    pub(super) async fn receive(&mut self, message: Secret<Vec<u8>>) {
        let Some(filing) = &mut self.filing else { return };
        let Some(coming) = filing.coming.take() else { return };
        if filing.fault.is_some() {
            return;
        }
        let staged = match check_content(&message, coming.form) {
            Err(fault) => Err(fault.into()),
            Ok(()) => {
                let content = with_whole_line_ends(message);
                let flags = select::permitted_flags(&coming.start.flags, filing.place.rights);
                let internal_date = coming.start.date;
                let shelf = &filing.place.shelf;
                match self.desk.filed(shelf, content).await {
                    Ok(content) => {
                        let new = NewMessage { content, flags, internal_date };
                        shelf.stage(new).await.map_err(Halt::from)
                    }
                    Err(error) => Err(error.into()),
                }
            }
        };
        match staged {
            Ok(staged) => filing.staged.push(staged),
            Err(Halt::Refused(answer)) => filing.fault = Some(answer),
            Err(Halt::Gone(_)) => filing.fault = Some(Answer::bad("The connection ends")),
        }
        if filing.fault.is_some() {
            filing.staged.clear();
        }
        drop(coming.room);
    }

    /// The command has ended: all of its messages are filed, or none.
    pub(super) async fn file(&mut self) -> Done {
        let Some(filing) = self.filing.take() else {
            return Err(Answer::bad("A message was expected").into());
        };
        let Filing { place, replaced, staged, fault, .. } = *filing;
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        let placed = place.shelf.append_all(place.folder.id, staged, replaced).await?;
        let Some((uid_validity, _)) = placed.first() else {
            return Err(Answer::bad("A message was expected").into());
        };
        // RFC 4315 §3: one number, or a set when there are several.
        let uids = sequence::compact(placed.iter().map(|(_, uid)| uid.0));
        let code = format!("APPENDUID {uid_validity} {uids}");
        if replaced.is_none() {
            return Ok(Answer::ok("Kept").code(code));
        }
        // RFC 8508 §3.3: APPENDUID comes before the EXPUNGE, which is among the news.
        write::text(self.line.out(), format_args!("* OK [{code}] The new one is there\r\n"));
        Ok(Answer::ok("Replaced").after_removal())
    }
}

/// What cannot be kept.
fn check_content(message: &Secret<Vec<u8>>, form: MessageForm) -> Result<(), Answer> {
    if message.expose().is_empty() {
        return Err(Answer::no("CANNOT", "An empty message cannot be kept"));
    }
    match (message.expose().contains(&0), form) {
        (false, _) => Ok(()),
        // RFC 3501 §9: a literal holds no NUL.
        (true, MessageForm::Literal) => Err(Answer::no("CANNOT", "A message cannot hold NUL")),
        // RFC 3516 §4.4: a mailbox need not keep binary messages, and says so.
        (true, _) => Err(Answer::no("UNKNOWN-CTE", "A message with NUL cannot be kept")),
    }
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
