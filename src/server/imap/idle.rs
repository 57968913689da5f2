//! IDLE: news as they come.
use crate::proto::imap::reader::Step;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Event;
use crate::server::imap::line::Stream;
use crate::server::imap::session;
use crate::server::imap::session::Session;
use crate::server::imap::session::State;
use crate::server::imap::shelf::Desk;
use crate::server::imap::view::Numbers;

impl<D: Desk, S: Stream> Session<'_, D, S> {
    /// RFC 2177 §3: news as they come, until DONE.
    pub(super) async fn idle(&mut self) -> Done {
        let Self { line, state, .. } = self;
        let mut view = match state {
            State::Stranger => return Err(session::log_in_first()),
            State::LoggedIn(_) => None,
            State::Selected(_, view) => Some(view),
        };
        line.out().extend_from_slice(b"+ idling\r\n");
        line.expect_line();
        loop {
            if let Some(view) = view.as_mut() {
                match view.tell(line, Numbers::MayChange).await {
                    // The log cannot be read now: the next bell, or DONE, tries again.
                    Ok(()) | Err(Halt::Refused(_)) => {}
                    Err(Halt::Gone(gone)) => return Err(gone.into()),
                }
            }
            let bell = view.as_mut().map(|view| &mut view.bell);
            match line.step_or_bell(bell).await? {
                Event::Rung => {}
                Event::Step(Step::Line(word)) if word.expose().eq_ignore_ascii_case(b"DONE") => {
                    return Ok(Answer::ok("Done"));
                }
                Event::Step(_) => return Ok(Answer::bad("DONE was expected")),
            }
        }
    }
}
