//! FETCH: messages on their way out, one at a time; contents are opened here and nowhere else.
use std::sync::Arc;

use tokio::time::timeout;

use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::secret::Secret;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::office::ClearPermit;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::Fetch;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::date;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::flags;
use crate::proto::imap::section;
use crate::proto::imap::structure;
use crate::proto::imap::structure::Extent;
use crate::proto::imap::write;
use crate::proto::mime::summary::Summary;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view::View;

/// Rows that are read at once.
const ROWS: usize = 200;

/// A letter in clear and its part of the memory for clear text.
struct Opened {
    letter: Arc<Secret<Vec<u8>>>,
    _room: ClearPermit,
}

/// FETCH and UID FETCH.
pub(super) async fn fetch<D: Desk, S: Stream>(
    desk: &D,
    line: &mut Line<S>,
    view: &mut View<D::Shelf>,
    fetch: &Fetch,
) -> Done {
    let Fetch { by, ref set, .. } = *fetch;
    let mut items = fetch.items.clone();
    // RFC 3501 §6.4.8: a UID command tells the UID whether asked or not.
    if by == Numbering::Uid && !items.contains(&FetchItem::Uid) {
        items.insert(0, FetchItem::Uid);
    }
    let wanted = view.named(by, set)?;
    let (mut unreadable, mut missing) = (0, wanted.len());
    for page in wanted.chunks(ROWS) {
        for entry in view.rows(page).await? {
            missing -= 1;
            let one = Message { desk, shelf: view.shelf.clone(), entry, items: &items };
            // A reader who takes a letter by the byte keeps it in our memory: not for ever.
            match timeout(desk.times().data, one.send(line, view)).await {
                Ok(sent) => unreadable += usize::from(sent? == Sent::WithoutBody),
                Err(_) => return Err(Gone::Slow.into()),
            }
        }
    }
    if unreadable > 0 {
        return Ok(Answer::no("UNAVAILABLE", "A message cannot be opened; the others were sent"));
    }
    let done = Answer::ok("Done");
    // RFC 5530 §3: another session has expunged some, and this one was not told yet.
    Ok(if missing > 0 { done.code("EXPUNGEISSUED".to_owned()) } else { done })
}

/// Opens a letter, with room for its clear text.
async fn open<D: Desk>(desk: &D, shelf: &D::Shelf, entry: &Entry) -> Result<Opened, MailboxError> {
    let room = desk.reserve_reading(entry.size).await.map_err(MailboxError::Temporary)?;
    let letter = shelf.content(entry).await?;
    Ok(Opened { letter, _room: room })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Whole,
    WithoutBody,
}

struct Message<'a, D: Desk> {
    desk: &'a D,
    shelf: D::Shelf,
    entry: Entry,
    items: &'a [FetchItem],
}

impl<D: Desk> Message<'_, D> {
    async fn send<S: Stream>(
        mut self,
        line: &mut Line<S>,
        view: &mut View<D::Shelf>,
    ) -> Result<Sent, Halt> {
        let Some(sequence) = view.sequence_of(self.entry.uid) else { return Ok(Sent::Whole) };
        let opened = self.open_if_asked().await?;
        let summary = self.summary_if_asked(view).await?;
        let tells_flags = opened.is_ok()
            && self.mark_seen(view).await?
            && !self.items.contains(&FetchItem::Flags);
        let extra = tells_flags.then_some(FetchItem::Flags);

        write::text(line.out(), format_args!("* {sequence} FETCH ("));
        for (index, item) in self.items.iter().chain(&extra).enumerate() {
            if index > 0 {
                line.out().push(b' ');
            }
            item.print_label(line.out());
            line.out().push(b' ');
            self.write_value(line, item, summary.as_deref(), &opened).await?;
        }
        line.out().extend_from_slice(b")\r\n");
        line.relieve().await?;
        Ok(if opened.is_ok() { Sent::Whole } else { Sent::WithoutBody })
    }

    /// `Err(())` when the letter cannot be opened: that is this letter's trouble, and the
    /// others are sent all the same.
    async fn open_if_asked(&self) -> Result<Result<Option<Opened>, ()>, Halt> {
        if self.items.iter().all(|item| item.section().is_none()) {
            return Ok(Ok(None));
        }
        match open(self.desk, &self.shelf, &self.entry).await {
            Ok(opened) => Ok(Ok(Some(opened))),
            // It went between the row and the content; its numbers are still valid here.
            Err(MailboxError::NoSuchMessage) => Ok(Err(())),
            Err(error @ (MailboxError::Unreadable(_) | MailboxError::Temporary(_))) => {
                tracing::warn!(%error, uid = self.entry.uid.0, "a letter cannot be opened");
                Ok(Err(()))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn summary_if_asked(&self, view: &View<D::Shelf>) -> Result<Option<Arc<Summary>>, Halt> {
        let asks = |item: &FetchItem| match item {
            FetchItem::Envelope | FetchItem::Body | FetchItem::BodyStructure => true,
            FetchItem::Section(body) => section::needs_structure(&body.section),
            _ => false,
        };
        if !self.items.iter().any(asks) {
            return Ok(None);
        }
        Ok(Some(self.shelf.summary(view.folder, &self.entry).await?))
    }

    /// Sets `\Seen` when an item asks for it; true when that changed something.
    async fn mark_seen(&mut self, view: &mut View<D::Shelf>) -> Result<bool, Halt> {
        let marks = view.access == Access::ReadWrite
            && !self.entry.flags.seen
            && self.items.iter().any(FetchItem::marks_seen);
        if !marks {
            return Ok(false);
        }
        let seen = FlagChange::Add(Flags { seen: true, ..Flags::default() });
        let changed = self.shelf.store_flags(view.folder, &[self.entry.uid], &seen).await?;
        let Some(entry) = changed.into_iter().next() else { return Ok(false) };
        view.has_told(&entry);
        self.entry = entry;
        Ok(true)
    }

    async fn write_value<S: Stream>(
        &self,
        line: &mut Line<S>,
        item: &FetchItem,
        summary: Option<&Summary>,
        opened: &Result<Option<Opened>, ()>,
    ) -> Result<(), Halt> {
        if let Some(body) = item.section() {
            let octets = match opened {
                Ok(Some(opened)) => {
                    let letter = opened.letter.expose();
                    match summary {
                        Some(summary) => section::extract(letter, &summary.structure, &body),
                        None => section::extract_whole(letter, &body),
                    }
                }
                _ => None,
            };
            let Some(octets) = octets else {
                line.out().extend_from_slice(b"NIL");
                return Ok(());
            };
            write::literal_start(line.out(), octets.len());
            return Ok(line.put(&octets).await?);
        }
        let out = line.out();
        match (item, summary) {
            (FetchItem::Flags, _) => {
                out.extend_from_slice(flags::print(&self.entry.flags).as_bytes());
            }
            (FetchItem::InternalDate, _) => {
                let date = date::print_date_time(self.entry.internal_date);
                write::text(out, format_args!("\"{date}\""));
            }
            (FetchItem::Rfc822Size, _) => write::text(out, format_args!("{}", self.entry.size)),
            (FetchItem::Uid, _) => write::text(out, format_args!("{}", self.entry.uid.0)),
            (FetchItem::Envelope, Some(summary)) => structure::envelope(out, &summary.envelope),
            (FetchItem::Body, Some(summary)) => {
                structure::structure(out, &summary.structure, Extent::Basic);
            }
            (FetchItem::BodyStructure, Some(summary)) => {
                structure::structure(out, &summary.structure, Extent::Extended);
            }
            // The rest are sections, or come with a summary.
            _ => out.extend_from_slice(b"NIL"),
        }
        Ok(())
    }
}
