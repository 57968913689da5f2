//! Letters in clear on their way to whoever reads them: a small one as a whole, a large one piece by
//! piece, so that it begins to leave before it was read to its end, and so that a slow reader holds a
//! piece of it and not all.
//!
//! Every octet is authentic, and in its place, before it is given out. That nothing is missing behind
//! is known from the start. What is known late is damage in the middle: whoever has announced
//! the whole must then cut the connection ([`cut_short`]). Where the damage was is remembered, and
//! the next one who asks for that place is told before anything is announced. Why: decision 20.
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::envelope::BlobId;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::secret::Wipe;
use crate::domain::status::Refusal;
use crate::flow::mailbox::MailboxError;
use crate::flow::office::ClearMemory;
use crate::flow::office::ClearPermit;
use crate::flow::office::Office;
use crate::infra::keys::Beginning;
use crate::infra::keys::ContentKey;
use crate::infra::keys::ContentOpener;
use crate::infra::keys::KeyError;
use crate::infra::keys::MailboxKeys;
use crate::infra::store::blobs::BlobReader;
use crate::infra::store::blobs::Blobs;

/// Octets of the ciphertext that are read first: the packets of a hundred recipients, and the first
/// chunk, in which nearly every header section ends.
const FIRST_OCTETS: u64 = 81_920;
/// Of a ciphertext that is sealed to very many, at most; beyond it is opened as a whole.
const FIRST_OCTETS_MAX: u64 = 4_194_304;
/// Chunks that are opened at once.
const CHUNKS_AT_ONCE: u64 = limits::PIECE_OCTETS / ContentOpener::CHUNK_OCTETS as u64;

/// What it takes to open a letter.
#[derive(Clone, Copy)]
pub struct Sealed<'k> {
    /// Where contents are.
    pub blobs: &'k Blobs,
    /// Whose it is.
    pub keys: &'k MailboxKeys,
    /// Which.
    pub blob: BlobId,
    /// Its key, sealed for them.
    pub sealed_key: &'k [u8],
    /// Its octets in clear, as its row says.
    pub octets: u64,
}

/// How much of a letter is needed at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// All of it, so many times.
    Whole {
        /// The letter itself and what is made of it.
        copies: u64,
    },
    /// One stretch after the other.
    Stretches,
}

/// A letter that is being read, and its share of the memory for clear text.
pub struct Reading {
    form: Form,
    _room: ClearPermit,
}

enum Form {
    Whole(Arc<Secret<Vec<u8>>>),
    Pieces(Box<Pieces>),
}

impl Reading {
    /// Opens a letter as far as it is needed, with room for that from `memory`. An error concerns this
    /// letter alone.
    pub async fn begin(
        sealed: Sealed<'_>,
        memory: &ClearMemory,
        need: Need,
    ) -> Result<Self, MailboxError> {
        let mut copies = 1;
        match need {
            Need::Whole { copies: wanted } => copies = wanted,
            Need::Stretches if sealed.octets <= limits::WHOLE_LETTER_OCTETS_MAX => {}
            Need::Stretches => {
                let room = reserve(memory, limits::READING_OCTETS).await?;
                if let Some(pieces) = Pieces::begin(sealed).await? {
                    return Ok(Self { form: Form::Pieces(Box::new(pieces)), _room: room });
                }
                // Given back here: who holds some and waits for more may wait for those who do the
                // same.
            }
        }
        let room = reserve(memory, sealed.octets.saturating_mul(copies)).await?;
        let content = sealed.whole().await?;
        Ok(Self { form: Form::Whole(content), _room: room })
    }

    /// The letter's octets.
    pub fn octets(&self) -> u64 {
        match &self.form {
            Form::Whole(letter) => letter.expose().len() as u64,
            Form::Pieces(pieces) => pieces.opener.clear_octets(),
        }
    }

    /// All of it, when it was opened as a whole: always when that was needed.
    pub fn whole(&self) -> Option<&[u8]> {
        match &self.form {
            Form::Whole(letter) => Some(letter.expose()),
            Form::Pieces(_) => None,
        }
    }

    /// Before these octets (which must be within the letter) are announced to anybody: opens the first
    /// of them, and refuses when damage is known to be among the others.
    pub async fn prepare(&mut self, range: Range<u64>) -> Result<(), MailboxError> {
        match &mut self.form {
            Form::Pieces(pieces) if !range.is_empty() => pieces.prepare(range).await,
            _ => Ok(()),
        }
    }

    /// Octets from the range's start on: as many as are in memory, at least one. Nothing for an
    /// empty range.
    pub async fn read(&mut self, range: Range<u64>) -> Result<&[u8], MailboxError> {
        match &mut self.form {
            Form::Whole(letter) => {
                let ends = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
                let found = ends.and_then(|(start, end)| letter.expose().get(start..end));
                found.ok_or_else(beyond_its_end)
            }
            Form::Pieces(_) if range.is_empty() => Ok(&[]),
            Form::Pieces(pieces) => pieces.read(range).await,
        }
    }

    /// These octets in one piece, for what is short.
    pub async fn gather(&mut self, range: Range<u64>) -> Result<Secret<Vec<u8>>, MailboxError> {
        let length = range.end.saturating_sub(range.start);
        let mut gathered = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        let mut at = range.start;
        while at < range.end {
            match self.read(at..range.end).await {
                Ok(octets) => {
                    at += octets.len() as u64;
                    gathered.extend_from_slice(octets);
                }
                Err(error) => {
                    gathered.wipe();
                    return Err(error);
                }
            }
        }
        Ok(Secret::new(gathered))
    }
}

impl Sealed<'_> {
    /// The whole letter in clear.
    pub async fn whole(&self) -> Result<Arc<Secret<Vec<u8>>>, MailboxError> {
        let ciphertext = self.blobs.read_to_open(self.blob).await?;
        Ok(self.keys.open(&self.key()?, &ciphertext)?)
    }

    fn key(&self) -> Result<ContentKey, KeyError> {
        self.keys.unwrap(self.sealed_key)
    }
}

/// A letter of which a piece is in memory.
struct Pieces {
    blob: BlobReader,
    opener: ContentOpener,
    /// The ciphertext's first octets.
    start: Bytes,
    /// What was opened last, and where in the letter it begins. Wiped at the end; until then the
    /// next piece takes its place.
    clear: Vec<u8>,
    clear_at: u64,
}

impl Pieces {
    /// `None` when it can only be opened as a whole.
    async fn begin(sealed: Sealed<'_>) -> Result<Option<Self>, MailboxError> {
        let key = sealed.key()?;
        let blob = sealed.blobs.reader(sealed.blob).await?;
        let length = blob.octets();
        let mut first = FIRST_OCTETS;
        loop {
            let last = length.saturating_sub(ContentOpener::LAST_OCTETS)..length;
            let [start, last] = blob.read([0..first.min(length), last]).await?;
            match sealed.keys.begin_to_open(&key, &start, length)? {
                Beginning::InChunks(opener) if opener.is_complete(&last) => {
                    let (clear, clear_at) = (Vec::new(), 0);
                    return Ok(Some(Self { blob, opener, start, clear, clear_at }));
                }
                // Cut, or another framing than ours. As a whole it is told which.
                Beginning::InChunks(_) | Beginning::Whole => return Ok(None),
                Beginning::Short if first >= FIRST_OCTETS_MAX => return Ok(None),
                Beginning::Short => first *= 4,
            }
        }
    }

    async fn prepare(&mut self, range: Range<u64>) -> Result<(), MailboxError> {
        let chunks = self.opener.chunk_of(range.start)..self.opener.chunk_of(range.end - 1) + 1;
        if self.blob.is_damaged_within(chunks) {
            let why = "its content was found to be damaged in these octets";
            return Err(MailboxError::Unreadable(why.to_owned()));
        }
        self.read(range).await.map(|_| ())
    }

    async fn read(&mut self, range: Range<u64>) -> Result<&[u8], MailboxError> {
        if range.end > self.opener.clear_octets() {
            return Err(beyond_its_end());
        }
        if !self.holds(range.start) {
            self.open_at(&range).await?;
        }
        let place = |octet: u64| usize::try_from(octet - self.clear_at).unwrap_or(usize::MAX);
        let end = place(range.end).min(self.clear.len());
        self.clear.get(place(range.start)..end).ok_or_else(beyond_its_end)
    }

    fn holds(&self, octet: u64) -> bool {
        (self.clear_at..self.clear_at + self.clear.len() as u64).contains(&octet)
    }

    async fn open_at(&mut self, range: &Range<u64>) -> Result<(), MailboxError> {
        let first = self.opener.chunk_of(range.start);
        let behind = self.opener.chunk_of(range.end - 1) + 1;
        let mut chunks = first..behind.min(first + CHUNKS_AT_ONCE);
        let known = self.opener.sealed_range(0..1);
        let sealed = match usize::try_from(known.end) {
            Ok(end) if first == 0 && end <= self.start.len() => {
                chunks.end = 1;
                self.start.slice(usize::try_from(known.start).unwrap_or(end)..end)
            }
            _ => {
                let [sealed] = self.blob.read([self.opener.sealed_range(chunks.clone())]).await?;
                sealed
            }
        };
        self.clear.clear();
        self.clear_at = self.opener.clear_range(chunks.clone()).start;
        let opened = self.opener.open(first, &sealed, &mut self.clear);
        if opened.is_err() {
            let opened = self.clear_at + self.clear.len() as u64;
            let damaged = chunks
                .rev()
                .find(|chunk| self.opener.clear_range(*chunk..chunk + 1).start <= opened);
            self.blob.note_damage(damaged.unwrap_or(first));
        }
        // What lies before the damage is good; who reads on meets it again.
        if self.holds(range.start) { Ok(()) } else { Ok(opened.and(Err(KeyError::Open))?) }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.clear.wipe();
    }
}

/// A letter could not be sent to the end that was announced for it, so its connection is cut: the
/// reader must not take what there is for all of it.
pub fn cut_short(office: &Office, door: &'static str, blob: BlobId, error: &MailboxError) {
    office.metrics.letter_cut_short();
    tracing::error!(%error, door, %blob, "a letter was cut short: its content is damaged in the middle");
}

async fn reserve(memory: &ClearMemory, octets: u64) -> Result<ClearPermit, MailboxError> {
    memory.reserve(octets).await.map_err(MailboxError::Temporary)
}

fn beyond_its_end() -> MailboxError {
    MailboxError::Temporary(Refusal::StoreFailed)
}
