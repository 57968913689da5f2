//! FETCH: messages on their way out, one at a time; contents are opened here and nowhere else.
use std::sync::Arc;

use tokio::time::timeout;

use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::ModSeq;
use crate::domain::folder::UidSet;
use crate::domain::limits;
use crate::domain::rights::Right;
use crate::domain::time::ZonedTime;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::proto::imap::binary::NoBinary;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::Fetch;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::PartialRange;
use crate::proto::imap::date;
use crate::proto::imap::fetch::BodySection;
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
use crate::server::imap::dialect::Dialect;
use crate::server::imap::letter;
use crate::server::imap::letter::Decoded;
use crate::server::imap::letter::Found;
use crate::server::imap::letter::Letter;
use crate::server::imap::letter::asks_octets;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view;
use crate::server::imap::view::View;

/// Rows that are read at once.
const ROWS: usize = 64;

/// What was opened of a letter: `Err(())` when it cannot be, `None` when no item asks for it.
type Opened = Result<Option<Letter>, ()>;

/// FETCH and UID FETCH.
pub(super) async fn fetch<D: Desk, S: Stream>(
    desk: &D,
    line: &mut Line<S>,
    view: &mut View<D::Shelf>,
    fetch: &Fetch,
) -> Done {
    let by = fetch.by;
    check_form(fetch, line.dialect)?;
    let items = items_of(fetch, line.dialect);
    let wanted = wanted(line, view, fetch).await?;
    let (mut total, mut done, mut missing) = (Sent::default(), 0, wanted.len());
    for page in view::pages(&wanted, ROWS) {
        let entries = view.rows(&page).await?;
        missing = missing.saturating_sub(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        // Of a page, in one scan: one by one, finding them would take longer than opening them.
        let summaries = match items.iter().any(asks_summary) {
            true => view.shelf.summaries(view.folder, &entries).await?,
            false => Vec::new(),
        };
        let mut summaries = summaries.into_iter();
        for entry in entries {
            let summary = summaries.next();
            let one = Message { desk, shelf: view.shelf.clone(), entry, summary, items: &items };
            // A reader who takes a letter by the byte keeps it in our memory: not for ever.
            match timeout(desk.times().data, one.send(line, view)).await {
                Ok(sent) => total.add(sent?),
                Err(_) => return Err(Gone::Slow.into()),
            }
        }
        done += page.len();
        line.progress(done, wanted.len() as usize).await?;
    }
    if total.without_body {
        return Ok(Answer::no("UNAVAILABLE", "A message cannot be opened; the others were sent"));
    }
    if total.unknown_encoding {
        // RFC 3516 §4.3
        return Ok(Answer::no("UNKNOWN-CTE", "A part has an encoding that cannot be undone"));
    }
    if total.without_part {
        // RFC 3501 §6.4.5: "can't fetch that data"; all else was told.
        return Ok(Answer::no("NONEXISTENT", "A message has no such part"));
    }
    let done = Answer::ok("Done");
    // RFC 5530 §3: another session has expunged some, and this one was not told yet. Who asks by
    // UID expects that some are gone.
    let is_issue = missing > 0 && by == Numbering::Sequence;
    Ok(if is_issue { done.code("EXPUNGEISSUED".to_owned()) } else { done })
}

/// What the grammar allows and the RFCs do not.
fn check_form(fetch: &Fetch, dialect: Dialect) -> Result<(), Halt> {
    // RFC 7162 §3.2.6
    let is_resync = dialect.qresync && fetch.by == Numbering::Uid && fetch.changed_since.is_some();
    if fetch.vanished && !is_resync {
        let why = "VANISHED needs ENABLE QRESYNC, UID FETCH and CHANGEDSINCE";
        return Err(Answer::bad(why).into());
    }
    // RFC 9394 §3.3
    if fetch.partial.is_some() && fetch.by == Numbering::Sequence {
        return Err(Answer::bad("PARTIAL needs UID FETCH").into());
    }
    let is_binary =
        |item: &&FetchItem| matches!(item, FetchItem::Binary(_) | FetchItem::BinarySize(_));
    if fetch.items.iter().filter(is_binary).count() > limits::IMAP_BINARY_ITEMS_MAX {
        return Err(Answer::no("LIMIT", "Too many BINARY items in one command").into());
    }
    Ok(())
}

/// The items, with those that RFCs add unasked.
fn items_of(fetch: &Fetch, dialect: Dialect) -> Vec<FetchItem> {
    let mut items: Vec<FetchItem> = Vec::with_capacity(fetch.items.len() + 2);
    for item in &fetch.items {
        if !items.contains(item) {
            items.push(item.clone());
        }
    }
    // RFC 3501 §6.4.8: a UID command tells the UID whether asked or not.
    if fetch.by == Numbering::Uid && !items.contains(&FetchItem::Uid) {
        items.insert(0, FetchItem::Uid);
    }
    // RFC 7162 §3.1 and §3.1.4.1
    let tells =
        fetch.changed_since.is_some() || (dialect.condstore && items.contains(&FetchItem::Flags));
    if tells && !items.contains(&FetchItem::ModSeq) {
        items.push(FetchItem::ModSeq);
    }
    items
}

/// The messages that are asked for, after telling which of them have vanished if that is asked.
async fn wanted<M: Shelf, S: Stream>(
    line: &mut Line<S>,
    view: &View<M>,
    fetch: &Fetch,
) -> Result<UidSet, Halt> {
    let mut wanted = view.named(fetch.by, &fetch.set)?;
    if let Some(since) = fetch.changed_since {
        let changes = view.shelf.changes(view.folder, ModSeq(since)).await?;
        if fetch.vanished {
            let mut asked = UidSet::new();
            let ranges = fetch.set.resolve(view.last_uid());
            ranges.into_iter().for_each(|range| asked.insert_range(range));
            // What the client still counts goes with a VANISHED of its own.
            let gone = changes.gone.intersection(&asked).difference(view.uids());
            view::write_vanished(line, "VANISHED (EARLIER)", &gone).await?;
        }
        wanted = wanted.intersection(&changes.touched);
    }
    Ok(match fetch.partial {
        Some(partial) => part_of(&wanted, partial),
        None => wanted,
    })
}

/// The results that a PARTIAL names, counted from either end (RFC 9394 §3.1).
fn part_of(found: &UidSet, partial: PartialRange) -> UidSet {
    let all = found.len();
    let (first, last) = match partial.from_end {
        false => (partial.first, partial.last.min(all)),
        true => (
            all.saturating_sub(partial.last).saturating_add(1),
            (all + 1).saturating_sub(partial.first),
        ),
    };
    match found.at(first).zip(found.at(last)) {
        Some((first, last)) if first <= last => found.within(first..=last),
        _ => UidSet::new(),
    }
}

fn asks_summary(item: &FetchItem) -> bool {
    match item {
        FetchItem::Envelope | FetchItem::Body | FetchItem::BodyStructure => true,
        FetchItem::Preview { .. } => true,
        FetchItem::Binary(binary) => !binary.part.is_empty(),
        FetchItem::BinarySize(part) => !part.is_empty(),
        FetchItem::Section(body) => section::needs_structure(&body.section),
        _ => false,
    }
}

/// What was wrong with what was sent.
#[derive(Clone, Copy, Default)]
struct Sent {
    without_body: bool,
    unknown_encoding: bool,
    /// The size of a part was asked that is not there.
    without_part: bool,
}

impl Sent {
    fn add(&mut self, other: Self) {
        self.without_body |= other.without_body;
        self.unknown_encoding |= other.unknown_encoding;
        self.without_part |= other.without_part;
    }
}

struct Message<'a, D: Desk> {
    desk: &'a D,
    shelf: D::Shelf,
    entry: Entry,
    /// When an item asks for it.
    summary: Option<Arc<Summary>>,
    items: &'a [FetchItem],
}

impl<D: Desk> Message<'_, D> {
    async fn send<S: Stream>(
        mut self,
        line: &mut Line<S>,
        view: &mut View<D::Shelf>,
    ) -> Result<Sent, Halt> {
        let Some(sequence) = view.sequence_of(self.entry.uid) else { return Ok(Sent::default()) };
        let mut opened = self.open_if_asked().await?;
        let summary = self.summary.take();
        let tells_flags = opened.is_ok()
            && self.mark_seen(view).await?
            && !self.items.contains(&FetchItem::Flags);
        let tells_modseq =
            tells_flags && line.dialect.condstore && !self.items.contains(&FetchItem::ModSeq);
        let extra =
            [tells_flags.then_some(FetchItem::Flags), tells_modseq.then_some(FetchItem::ModSeq)];
        let mut sent = Sent { without_body: opened.is_err(), ..Sent::default() };

        if tells_flags || self.items.contains(&FetchItem::Flags) {
            view.introduce(line.out(), &self.entry.flags);
        }
        write::text(line.out(), format_args!("* {sequence} FETCH ("));
        let mut is_first = true;
        for item in self.items.iter().chain(extra.iter().flatten()) {
            let mut size = None;
            if let FetchItem::BinarySize(part) = item {
                let (octets, without) =
                    self.decoded_octets(summary.as_deref(), &mut opened, part).await;
                sent.add(without);
                // RFC 3516 §7: a size is a number, and what is not there has none.
                let Some(octets) = octets else { continue };
                size = Some(octets);
            }
            if !std::mem::take(&mut is_first) {
                line.out().push(b' ');
            }
            item.print_label(line.out());
            line.out().push(b' ');
            match size {
                Some(octets) => write::text(line.out(), format_args!("{octets}")),
                None => {
                    sent.add(self.write_value(line, item, summary.as_deref(), &mut opened).await?);
                }
            }
        }
        if is_first {
            // RFC 3501 §9: no list of items is empty.
            write::text(line.out(), format_args!("UID {}", self.entry.uid.0));
        }
        line.out().extend_from_slice(b")\r\n");
        line.relieve().await?;
        Ok(sent)
    }

    /// That a letter cannot be opened is this letter's trouble, and the others are sent all the
    /// same.
    async fn open_if_asked(&self) -> Result<Opened, Halt> {
        if !self.items.iter().any(asks_octets) {
            return Ok(Ok(None));
        }
        let structure = self.summary.as_deref().map(|summary| &summary.structure);
        match Letter::open(self.desk, &self.shelf, &self.entry, self.items, structure).await {
            Ok(letter) => Ok(Ok(Some(letter))),
            // It went between the row and the content; its numbers are still valid here.
            Err(MailboxError::NoSuchMessage) => Ok(Err(())),
            Err(error @ (MailboxError::Unreadable(_) | MailboxError::Temporary(_))) => {
                tracing::warn!(%error, uid = self.entry.uid.0, "a letter cannot be opened");
                Ok(Err(()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sets `\Seen` when an item asks for it; true when that changed something.
    async fn mark_seen(&mut self, view: &mut View<D::Shelf>) -> Result<bool, Halt> {
        let marks = view.access == Access::ReadWrite
            && view.rights.has(Right::KeepSeen)
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
        opened: &mut Opened,
    ) -> Result<Sent, Halt> {
        if let FetchItem::Binary(binary) = item {
            let partial = binary.partial;
            return self.write_binary(line, (&binary.part, partial), summary, opened).await;
        }
        if let Some(body) = item.section() {
            return self.write_section(line, &body, summary, opened).await;
        }
        let out = line.out();
        match (item, summary) {
            (FetchItem::Flags, _) => {
                out.extend_from_slice(flags::print(&self.entry.flags).as_bytes());
            }
            (FetchItem::InternalDate, _) => {
                let (at, zone) = (self.entry.internal_date, self.entry.zone);
                let date = date::print_date_time(ZonedTime { at, zone });
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
            (FetchItem::ModSeq, _) => write::text(out, format_args!("({})", self.entry.modseq.0)),
            (FetchItem::EmailId, _) => {
                write::text(out, format_args!("({})", self.entry.email_id()));
            }
            (FetchItem::ThreadId, _) => {
                write::text(out, format_args!("({})", self.entry.thread_id()));
            }
            (FetchItem::SaveDate, _) => {
                let date = date::print_date_time(self.entry.saved.into());
                write::text(out, format_args!("\"{date}\""));
            }
            // RFC 8970 §3.1: NIL when there can be none, empty when there is no text.
            (FetchItem::Preview { .. }, Some(summary)) if !summary.over_budget => {
                write::string(out, summary.preview.as_bytes());
            }
            // The rest are sections, or come with a summary.
            _ => out.extend_from_slice(b"NIL"),
        }
        Ok(Sent::default())
    }

    /// How long a part is without its transfer encoding; `None` when there is no such part, or it
    /// cannot be decoded.
    async fn decoded_octets(
        &self,
        summary: Option<&Summary>,
        opened: &mut Opened,
        part: &[u32],
    ) -> (Option<u64>, Sent) {
        let (decoded, mut sent) = self.decode(summary, opened, part, None).await;
        let octets = decoded.map(|decoded| match decoded {
            Decoded::Octets(octets) => octets.len() as u64,
            Decoded::Pieces(measured) => measured.octets,
        });
        let is_explained = sent.without_body || sent.unknown_encoding;
        sent.without_part = octets.is_none() && !is_explained;
        tokio::task::yield_now().await;
        (octets, sent)
    }

    /// RFC 3501 §7.4.2: a literal, or NIL without such a part.
    async fn write_section<S: Stream>(
        &self,
        line: &mut Line<S>,
        body: &BodySection,
        summary: Option<&Summary>,
        opened: &mut Opened,
    ) -> Result<Sent, Halt> {
        let found = match opened {
            Ok(Some(letter)) => letter.find(body, summary.map(|summary| &summary.structure)).await,
            _ => Ok(None),
        };
        // Other sections may be in better form.
        let without_body = found.is_err();
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(%error, uid = self.entry.uid.0, "a section cannot be opened");
            None
        });
        match (found, opened) {
            (Some(Found::Octets(octets)), _) => {
                write::literal_start(line.out(), octets.expose().len());
                line.put(octets.expose()).await?;
            }
            (Some(Found::Stretch(stretch)), Ok(Some(letter))) => {
                let length = stretch.end - stretch.start;
                write::literal_start(line.out(), usize::try_from(length).unwrap_or(usize::MAX));
                line.in_literal = true;
                let mut at = stretch.start;
                while at < stretch.end {
                    match letter.reading.read(at..stretch.end).await {
                        Ok(octets) => {
                            at += octets.len() as u64;
                            line.put(octets).await?;
                        }
                        Err(error) => {
                            self.desk.cut_short(&self.entry, &error);
                            return Err(Gone::CutShort.into());
                        }
                    }
                }
                line.in_literal = false;
            }
            _ => line.out().extend_from_slice(b"NIL"),
        }
        Ok(Sent { without_body, ..Sent::default() })
    }

    /// RFC 3516 §4.2: NIL without such a part, and a literal8 where there is a NUL.
    async fn write_binary<S: Stream>(
        &self,
        line: &mut Line<S>,
        (part, partial): (&[u32], Option<(u32, u32)>),
        summary: Option<&Summary>,
        opened: &mut Opened,
    ) -> Result<Sent, Halt> {
        let (decoded, sent) = self.decode(summary, opened, part, partial).await;
        let measured = match decoded {
            None => {
                line.out().extend_from_slice(b"NIL");
                return Ok(sent);
            }
            Some(Decoded::Octets(octets)) => {
                let octets = match partial {
                    Some((offset, length)) => section::cut(octets, offset, length),
                    None => octets,
                };
                binary_start(line.out(), octets.contains(&0), octets.len() as u64);
                line.put(&octets).await?;
                tokio::task::yield_now().await;
                return Ok(sent);
            }
            Some(Decoded::Pieces(measured)) => measured,
        };
        let wanted = section::part_of(0..measured.octets, partial);
        binary_start(line.out(), measured.has_nul, wanted.end - wanted.start);
        let (mut decoding, mut at) = (measured.decoding(), 0);
        line.in_literal = true;
        let Ok(Some(letter)) = opened else { return Err(Gone::CutShort.into()) };
        while at < wanted.end {
            match decoding.next(&mut letter.reading).await {
                Ok(Some(octets)) => {
                    line.put(letter::within(octets, at, &wanted)).await?;
                    at += octets.len() as u64;
                }
                Ok(None) => return Err(Gone::CutShort.into()),
                Err(error) => {
                    self.desk.cut_short(&self.entry, &error);
                    return Err(Gone::CutShort.into());
                }
            }
        }
        line.in_literal = false;
        Ok(sent)
    }

    /// A part without its transfer encoding, and what was wrong with it.
    async fn decode<'o>(
        &self,
        summary: Option<&Summary>,
        opened: &'o mut Opened,
        part: &[u32],
        partial: Option<(u32, u32)>,
    ) -> (Option<Decoded<'o>>, Sent) {
        let Ok(Some(letter)) = opened else { return (None, Sent::default()) };
        let structure = summary.map(|summary| &summary.structure);
        match letter.decoded(structure, part, partial).await {
            Ok(Ok(decoded)) => (Some(decoded), Sent::default()),
            Ok(Err(none)) => {
                let unknown_encoding = none == NoBinary::UnknownEncoding;
                (None, Sent { unknown_encoding, ..Sent::default() })
            }
            Err(error) => {
                tracing::warn!(%error, uid = self.entry.uid.0, "a part cannot be opened");
                (None, Sent { without_body: true, ..Sent::default() })
            }
        }
    }
}

fn binary_start(out: &mut Vec<u8>, has_nul: bool, octets: u64) {
    if has_nul {
        out.push(b'~');
    }
    write::literal_start(out, usize::try_from(octets).unwrap_or(usize::MAX));
}
