//! A letter of which sections are asked: opened whole or piece by piece, and where they lie in it.
use std::ops::Range;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::reading::Need;
use crate::flow::reading::Reading;
use crate::proto::imap::fetch::BodySection;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::section;
use crate::proto::imap::section::HeaderEnd;
use crate::proto::imap::section::Place;
use crate::proto::mime::summary::Part;
use crate::proto::mime::summary::Summary;
use crate::server::imap::shelf::Desk;

/// A letter in clear, and its part of the memory for clear text.
pub(super) struct Letter {
    pub(super) reading: Reading,
    /// Where its header section ends, once somebody has asked.
    header_end: Option<u64>,
}

/// What was found of a section.
pub(super) enum Found {
    /// These octets of the letter. The first of them have been opened.
    Stretch(Range<u64>),
    /// Made of the letter, and short.
    Octets(Secret<Vec<u8>>),
}

/// True when an item cannot be told without opening the letter.
pub(super) fn asks_octets(item: &FetchItem) -> bool {
    needs_whole(item) || item.section().is_some()
}

/// Octets of a decoded part are counted before they are sent.
fn needs_whole(item: &FetchItem) -> bool {
    matches!(item, FetchItem::Binary(_) | FetchItem::BinarySize(_))
}

impl Letter {
    /// Opens a letter as far as these items need it.
    pub(super) async fn open<D: Desk>(
        desk: &D,
        shelf: &D::Shelf,
        entry: &Entry,
        items: &[FetchItem],
        summary: Option<&Summary>,
    ) -> Result<Self, MailboxError> {
        if !items.iter().any(needs_whole) {
            let mut letter = Self::from(desk.read(shelf, entry, Need::Stretches).await?);
            let structure = summary.map(|summary| &summary.structure);
            if letter.has_small_headers(items, structure).await? {
                return Ok(letter);
            }
        }
        // A decoded part is as long as the letter at most, and so are fields of a header.
        Ok(Self::from(desk.read(shelf, entry, Need::Whole { copies: 2 }).await?))
    }

    /// Where the section lies, and whether it can be opened; `None` when there is no such part.
    pub(super) async fn find(
        &mut self,
        body: &BodySection,
        structure: Option<&Part>,
    ) -> Result<Option<Found>, MailboxError> {
        let found = match self.locate(body, structure).await? {
            None => return Ok(None),
            Some(Place::Octets(octets)) => Found::Stretch(section::part_of(octets, body.partial)),
            Some(Place::Fields { header, names, listed }) => {
                let header = self.reading.gather(header).await?;
                let mut chosen = section::fields(header.expose(), names, listed);
                if let Some((offset, length)) = body.partial {
                    chosen = section::cut(chosen.into(), offset, length).into_owned();
                }
                Found::Octets(Secret::new(chosen))
            }
        };
        if let Found::Stretch(stretch) = &found {
            self.reading.prepare(stretch.clone()).await?;
        }
        Ok(Some(found))
    }

    /// False when fields are asked of a header section that is larger than a piece.
    async fn has_small_headers(
        &mut self,
        items: &[FetchItem],
        structure: Option<&Part>,
    ) -> Result<bool, MailboxError> {
        if self.reading.whole().is_some() {
            return Ok(true);
        }
        for body in items.iter().filter_map(FetchItem::section) {
            if let Some(Place::Fields { header, .. }) = self.locate(&body, structure).await?
                && header.end - header.start > limits::PIECE_OCTETS
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn locate<'b>(
        &mut self,
        body: &'b BodySection,
        structure: Option<&Part>,
    ) -> Result<Option<Place<'b>>, MailboxError> {
        let header_end = match section::needs_header_end(&body.section) {
            true => self.header_end().await?,
            false => 0,
        };
        Ok(section::locate(&body.section, structure, self.reading.octets(), header_end))
    }

    async fn header_end(&mut self) -> Result<u64, MailboxError> {
        if let Some(end) = self.header_end {
            return Ok(end);
        }
        let (mut looking, octets) = (HeaderEnd::default(), self.reading.octets());
        let mut at = 0;
        while at < octets {
            let piece = self.reading.read(at..octets).await?;
            match looking.find(piece) {
                Some(found) => {
                    at += found as u64;
                    break;
                }
                None => at += piece.len() as u64,
            }
        }
        Ok(*self.header_end.insert(at))
    }
}

impl From<Reading> for Letter {
    fn from(reading: Reading) -> Self {
        Self { reading, header_end: None }
    }
}
