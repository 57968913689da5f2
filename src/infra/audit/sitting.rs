//! One session's reading of one mailbox: recorded before anything of it is opened, and its contents
//! counted.
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::sync::OnceCell;

use crate::domain::envelope::BlobId;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::infra::audit::Audit;
use crate::infra::audit::AuditError;
use crate::infra::audit::Draft;
use crate::infra::audit::Who;

/// Who reads a mailbox, by which door and what for. An entry is durable before the first content
/// is opened; another one tells, when the session ends, how many were opened in all. What lies
/// sealed beside contents (names of folders, subjects, senders, marks) is opened by the same key:
/// the first listing of a session is an entry, and its first search.
pub struct Sitting {
    audit: Audit,
    mailbox: MailboxId,
    who: Who,
    door: &'static str,
    why: &'static str,
    begun: OnceCell<u64>,
    listed: OnceCell<u64>,
    searched: OnceCell<u64>,
    opened: AtomicU64,
    /// Contents that were counted, as many as are remembered: one that is read in pieces is one.
    known: Mutex<HashSet<BlobId>>,
    /// The same session in mailboxes of others.
    beside: Mutex<HashMap<MailboxId, Arc<Sitting>>>,
}

impl Sitting {
    pub(super) fn new(
        audit: Audit,
        mailbox: MailboxId,
        who: Who,
        door: &'static str,
        why: &'static str,
    ) -> Self {
        let (begun, listed, searched) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let (opened, known, beside) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        Self { audit, mailbox, who, door, why, begun, listed, searched, opened, known, beside }
    }

    /// The same session in the mailbox of somebody else: one for each, however often it is opened.
    pub fn beside(&self, mailbox: MailboxId, who: Who, why: &'static str) -> Arc<Self> {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || self.audit.sitting(mailbox, who, self.door, why);
        Arc::clone(beside.entry(mailbox).or_insert_with(fresh))
    }

    /// By which door.
    pub fn door(&self) -> &'static str {
        self.door
    }

    /// Before what lies beside contents is opened: waits for the entry the first time. What the
    /// relay counts and sorts by itself, letter by letter, is no entry: the letter's timeline tells
    /// of it.
    ///
    /// # Errors
    /// [`AuditError`]: nothing may be opened.
    pub async fn lists(&self) -> Result<(), AuditError> {
        self.once(&self.listed, "list").await
    }

    /// Before a search index is opened.
    ///
    /// # Errors
    /// As [`Sitting::lists`].
    pub async fn searches(&self) -> Result<(), AuditError> {
        self.once(&self.searched, "search").await
    }

    async fn once(&self, told: &OnceCell<u64>, why: &str) -> Result<(), AuditError> {
        // A content is more than what is told of it.
        if self.who == Who::Relay || self.begun.initialized() && why == "list" {
            return Ok(());
        }
        let first = || self.audit.used_for(Some(&self.mailbox), &self.who, self.door, why, 0);
        told.get_or_try_init(first).await?;
        Ok(())
    }

    /// Before this content is opened: as [`Sitting::opens`], but one that is asked for in pieces,
    /// or several times, counts once.
    ///
    /// # Errors
    /// [`AuditError`]: nothing may be opened.
    pub async fn opens_content(&self, content: BlobId) -> Result<(), AuditError> {
        let is_new = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= limits::AUDIT_CONTENTS_KNOWN_MAX {
                known.clear();
            }
            known.insert(content)
        };
        let opened = match is_new || !self.begun.initialized() {
            true => self.opens(1).await,
            false => Ok(()),
        };
        if opened.is_err() {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&content);
        }
        opened
    }

    /// Before contents are opened: waits for the entry the first time, and counts.
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
