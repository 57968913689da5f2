//! What a client switches on and off: ENABLE, mod-sequences, COMPRESS, UNAUTHENTICATE.
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Tag;
use crate::proto::imap::feature::Feature;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::capabilities;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Stream;
use crate::server::imap::session::Session;
use crate::server::imap::session::State;
use crate::server::imap::session::Way;
use crate::server::imap::shelf::Desk;

impl<D: Desk, S: Stream> Session<'_, D, S> {
    /// RFC 5161 §3.1
    pub(super) fn enable(&mut self, names: &[String]) -> Done {
        self.shelf()?;
        let enabled = self.line.dialect.enable(self.offer, names);
        self.line.adopt_names();
        self.line.out().extend_from_slice(b"* ENABLED");
        for name in enabled {
            write::text(self.line.out(), format_args!(" {name}"));
        }
        self.line.out().extend_from_slice(b"\r\n");
        Ok(Answer::ok("Done"))
    }

    /// RFC 7162 §3.1: who uses mod-sequences once is told of them from then on, and first the one
    /// that the selected mailbox has.
    pub(super) fn notice_condstore(&mut self, body: &Body) {
        let enables = match body {
            Body::Enable(names) => names.iter().any(|name| {
                let feature = Feature::parse(name);
                matches!(feature, Some(Feature::Condstore | Feature::Qresync))
            }),
            other => capabilities::shows_condstore(other),
        };
        let is_first =
            enables && !self.line.dialect.condstore && self.offer.has(Feature::Condstore);
        if !is_first || self.shelf().is_err() {
            return;
        }
        // ENABLE says itself what it switches on.
        if !matches!(body, Body::Enable(_)) {
            self.line.dialect.condstore = true;
        }
        if let State::Selected(_, view) = &self.state {
            let highest = view.seen().0.max(1);
            let code = format_args!("* OK [HIGHESTMODSEQ {highest}] Highest\r\n");
            write::text(self.line.out(), code);
        }
    }

    /// The code of a command that removed messages (RFC 7162 §3.2.7): everything up to there has
    /// just been told.
    pub(super) fn with_modseq(&self, answer: Answer) -> Answer {
        match &self.state {
            State::Selected(_, view) if self.line.dialect.condstore => {
                answer.code(format!("HIGHESTMODSEQ {}", view.seen().0))
            }
            _ => answer,
        }
    }

    /// RFC 4978 §3: the answer is the last that goes out in clear.
    pub(super) async fn compress(&mut self, tag: &Tag) -> Result<Way, Gone> {
        let refusal = if self.shelf().is_err() {
            Answer::bad("Log in first")
        } else if self.line.is_compressed() {
            Answer::no("COMPRESSIONACTIVE", "The connection is compressed already")
        } else {
            Answer::ok("Compressed from here").write(self.line.out(), Some(tag));
            self.line.compress().await?;
            return Ok(Way::On);
        };
        refusal.write(self.line.out(), Some(tag));
        Ok(if refusal.is_bad() { self.after_bad() } else { Way::On })
    }

    /// RFC 8437 §2: back to a stranger, whatever was open or switched on.
    pub(super) fn unauthenticate(&mut self) -> Done {
        self.shelf()?;
        self.state = State::Stranger;
        self.seat.leave();
        (self.filing, self.notices) = (None, None);
        self.line.logged_out();
        Ok(Answer::ok("Log in again").code(format!("CAPABILITY {}", self.capabilities())))
    }
}
