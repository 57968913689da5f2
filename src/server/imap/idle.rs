//! IDLE: news as they come.
use crate::proto::imap::reader::Step;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Event;
use crate::server::imap::line::Stream;
use crate::server::imap::notify::Moment;
use crate::server::imap::notify::Own;
use crate::server::imap::session::Session;
use crate::server::imap::shelf::Desk;
use crate::server::imap::view::Numbers;

impl<D: Desk, S: Stream> Session<'_, D, S> {
    /// RFC 2177 §3: news as they come, until DONE. With NOTIFY, exactly those that it asked for
    /// (RFC 5465 §4).
    pub(super) async fn idle(&mut self) -> Done {
        self.shelf()?;
        let moment = Moment::Command(Numbers::MayChange);
        self.line.out().extend_from_slice(b"+ idling\r\n");
        self.line.expect_line();
        loop {
            // In a box of its own, which is gone while nothing happens.
            match Box::pin(self.tell_news(moment, &Own::default())).await {
                // The log cannot be read now: the next bell, or DONE, tries again.
                Ok(()) | Err(Halt::Refused(_)) => {}
                Err(Halt::Gone(gone)) => return Err(gone.into()),
            }
            match self.wait(moment).await? {
                Event::Rung => {}
                Event::Step(Step::Line(word)) if word.expose().eq_ignore_ascii_case(b"DONE") => {
                    return Ok(Answer::ok("Done"));
                }
                Event::Step(_) => return Ok(Answer::bad("DONE was expected")),
            }
        }
    }
}
