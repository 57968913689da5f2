//! One session's reading of one mailbox: recorded before its first content, and counted.
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::sync::OnceCell;

use crate::domain::mailbox::MailboxId;
use crate::infra::audit::Audit;
use crate::infra::audit::AuditError;
use crate::infra::audit::Draft;
use crate::infra::audit::Who;

/// Who reads a mailbox, by which door and what for. An entry is durable before the first content
/// is opened; another one tells, when the session ends, how many were opened in all.
pub struct Sitting {
    audit: Audit,
    mailbox: MailboxId,
    who: Who,
    door: &'static str,
    why: &'static str,
    begun: OnceCell<u64>,
    opened: AtomicU64,
}

impl Sitting {
    pub(super) fn new(
        audit: Audit,
        mailbox: MailboxId,
        who: Who,
        door: &'static str,
        why: &'static str,
    ) -> Self {
        let (begun, opened) = (OnceCell::new(), AtomicU64::new(0));
        Self { audit, mailbox, who, door, why, begun, opened }
    }

    /// By which door.
    pub fn door(&self) -> &'static str {
        self.door
    }

    /// Before a content is opened: waits for the entry the first time, and counts.
    ///
    /// # Errors
    /// [`AuditError`]: nothing may be opened.
    pub async fn opens(&self, contents: u64) -> Result<(), AuditError> {
        let first =
            || self.audit.used_for(Some(&self.mailbox), &self.who, self.door, self.why, contents);
        self.begun.get_or_try_init(first).await?;
        self.opened.fetch_add(contents, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        let opened = self.opened.load(Ordering::Relaxed);
        let Some(number) = self.begun.get().filter(|_| opened > 1) else { return };
        let why = format!("{}: all since entry {number}", self.why);
        let draft = Draft::new(Some(&self.mailbox), &self.who, self.door, &why, opened);
        self.audit.note(&draft);
    }
}
