//! A letter of which sections are asked: opened whole or piece by piece, and where they lie in it.
use std::borrow::Cow;
use std::ops::Range;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::reading::Decoding;
use crate::flow::reading::Need;
use crate::flow::reading::Reading;
use crate::proto::imap::binary;
use crate::proto::imap::binary::Coding;
use crate::proto::imap::binary::NoBinary;
use crate::proto::imap::fetch::BodySection;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::section;
use crate::proto::imap::section::HeaderEnd;
use crate::proto::imap::section::Place;
use crate::proto::mime::content;
use crate::proto::mime::summary::Part;
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

/// What was found of a part without its transfer encoding.
pub(super) enum Decoded<'l> {
    /// It is in memory.
    Octets(Cow<'l, [u8]>),
    /// It has to be read again, piece by piece.
    Pieces(Measured),
}

/// A part that was decoded once, to know how long it is.
pub(super) struct Measured {
    stretch: Range<u64>,
    is_base64: bool,
    /// Octets of it.
    pub(super) octets: u64,
    /// Whether there is a NUL among those that are wanted.
    pub(super) has_nul: bool,
}

impl Measured {
    /// To read it again.
    pub(super) fn decoding(&self) -> Decoding {
        Decoding::new(self.stretch.clone(), self.is_base64)
    }
}

/// True when an item cannot be told without opening the letter.
pub(super) fn asks_octets(item: &FetchItem) -> bool {
    decodes(item).is_some() || item.section().is_some()
}

/// The part that an item asks for without its transfer encoding.
fn decodes(item: &FetchItem) -> Option<&[u32]> {
    match item {
        FetchItem::Binary(binary) => Some(&binary.part),
        FetchItem::BinarySize(part) => Some(part),
        _ => None,
    }
}

impl Letter {
    /// Opens a letter as far as these items need it.
    pub(super) async fn open<D: Desk>(
        desk: &D,
        shelf: &D::Shelf,
        entry: &Entry,
        items: &[FetchItem],
        structure: Option<&Part>,
    ) -> Result<Self, MailboxError> {
        let decodes = items.iter().any(|item| decodes(item).is_some());
        if !decodes || entry.size > limits::WHOLE_LETTER_OCTETS_MAX {
            let mut letter = Self::from(desk.read(shelf, entry, Need::Stretches).await?);
            let suffices = match letter.reading.whole() {
                Some(_) => !decodes,
                None => letter.suffices(items, structure).await?,
            };
            if suffices {
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

    /// A part without its transfer encoding. Of one that has to be read in pieces it is counted how
    /// long it is, and so all of it was found to be good.
    pub(super) async fn decoded(
        &mut self,
        structure: Option<&Part>,
        part: &[u32],
        partial: Option<(u32, u32)>,
    ) -> Result<Result<Decoded<'_>, NoBinary>, MailboxError> {
        if self.reading.whole().is_some() {
            let letter = self.reading.whole().unwrap_or_default();
            return Ok(match structure {
                Some(structure) => binary::decoded(letter, structure, part),
                None => Ok(Cow::Borrowed(letter)),
            }
            .map(Decoded::Octets));
        }
        let (stretch, is_base64) = match binary::locate(structure, part, self.reading.octets()) {
            Err(none) => return Ok(Err(none)),
            Ok((stretch, Coding::Whole)) => {
                let coded = self.reading.gather(stretch).await?;
                let decoded = content::decoded("quoted-printable", coded.expose()).into_owned();
                return Ok(Ok(Decoded::Octets(Cow::Owned(decoded))));
            }
            Ok((stretch, coding)) => (stretch, coding == Coding::Base64),
        };
        let mut measured = Measured { stretch, is_base64, octets: 0, has_nul: false };
        let wanted = section::part_of(0..u64::MAX, partial);
        let mut decoding = measured.decoding();
        while let Some(octets) = decoding.next(&mut self.reading).await? {
            let octets_wanted = within(octets, measured.octets, &wanted);
            measured.has_nul |= octets_wanted.contains(&0);
            measured.octets += octets.len() as u64;
        }
        Ok(match decoding.is_what_it_says() {
            true => Ok(Decoded::Pieces(measured)),
            false => Err(NoBinary::UnknownEncoding),
        })
    }

    /// False when something is asked that can only be made of the whole letter: fields of a header
    /// section that is larger than a piece, or such a part in quoted-printable.
    async fn suffices(
        &mut self,
        items: &[FetchItem],
        structure: Option<&Part>,
    ) -> Result<bool, MailboxError> {
        let is_small = |range: Range<u64>| range.end - range.start <= limits::PIECE_OCTETS;
        for item in items {
            if let Some(part) = decodes(item)
                && let Ok((stretch, Coding::Whole)) =
                    binary::locate(structure, part, self.reading.octets())
                && !is_small(stretch)
            {
                return Ok(false);
            }
            if let Some(body) = item.section()
                && let Some(Place::Fields { header, .. }) = self.locate(&body, structure).await?
                && !is_small(header)
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

/// Of octets that are at this place of something, those that are wanted of it.
pub(super) fn within<'o>(octets: &'o [u8], at: u64, wanted: &Range<u64>) -> &'o [u8] {
    let place = |edge: u64| {
        usize::try_from(edge.saturating_sub(at)).map_or(octets.len(), |at| at.min(octets.len()))
    };
    &octets[place(wanted.start)..place(wanted.end)]
}

impl From<Reading> for Letter {
    fn from(reading: Reading) -> Self {
        Self { reading, header_end: None }
    }
}
