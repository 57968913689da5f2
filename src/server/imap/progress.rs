//! Signs of life while a command takes long (RFC 9585).
use tokio::time::Instant;
use tokio::time::sleep;

use crate::domain::limits;
use crate::proto::imap::command::Tag;
use crate::proto::imap::write;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;

/// One command that may take long.
pub(super) struct Progress<'t> {
    tag: &'t Tag,
    next: Instant,
}

impl<'t> Progress<'t> {
    /// Begins now.
    pub(super) fn new(tag: &'t Tag) -> Self {
        Self { tag, next: sleep(limits::IMAP_PROGRESS_EVERY).deadline() }
    }

    /// Between two pieces of the command's work: ends it when nobody waits for it any more, and
    /// says now and then how far it is.
    pub(super) async fn tick<S: Stream>(
        &mut self,
        line: &mut Line<S>,
        done: usize,
        goal: usize,
    ) -> Result<(), Gone> {
        line.still_there().await?;
        if sleep(std::time::Duration::ZERO).deadline() < self.next {
            return Ok(());
        }
        self.next = sleep(limits::IMAP_PROGRESS_EVERY).deadline();
        self.say(line.out(), done.min(goal), goal);
        line.flush().await
    }

    fn say(&self, out: &mut Vec<u8>, done: usize, goal: usize) {
        let tag = self.tag.as_str();
        let code = format_args!("INPROGRESS (\"{tag}\" {done} {goal})");
        write::text(out, format_args!("* OK [{code}] Still at it\r\n"));
    }
}
