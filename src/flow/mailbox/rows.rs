//! How a mailbox lies in the store. All keys begin with the mailbox, so that one mailbox is one
//! shard; every value begins with its format.
//!
//! | key | value |
//! |---|---|
//! | `M/<mailbox>/h` | head: counters of all folders, one row, so that each change has one version to meet |
//! | `M/<mailbox>/f/<folder>` | sealed name, special use, subscription |
//! | `M/<mailbox>/m/<folder><uid>` | message: marks, sealed keywords, size, blob, sealed content key |
//! | `M/<mailbox>/s/<folder><uid><chunk>` | sealed summary |
//! | `M/<mailbox>/i/<content>` | search index: sealed signatures of contents from this one on |
//! | `M/<mailbox>/c/<modseq>` | change log; its oldest rows go as new ones come |
//! | `M/<mailbox>/a/<folder>` | sealed list of rights; folder 0: for all folders |
//! | `M/<mailbox>/A` | for whom there is a row `R/<keyed reader><mailbox>` |
//! | `M/<mailbox>/n/<folder><reader>` | sealed annotations; reader 0: everybody's |
//! | `M/<mailbox>/e/<reader><folder><chunk>` | what a reader has seen, see `readers::seen` |
//! | `M/<mailbox>/b` | sealed subscriptions to folders of others, and to names without a folder |
//! | `M/<mailbox>/r/<keyed Message-ID><folder><uid>` | where a letter lies that may be answered; in mailboxes of teams |
//! | `M/<mailbox>/d/<keyed digest>` | letters already here, by content, against double delivery |
//! | `held/<due><mailbox><folder><uid><chunk>` | expunged messages that a rule holds: row, then summary |
use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::envelope::BlobId;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::SpecialUse;
use crate::domain::folder::ThreadId;
use crate::domain::folder::Uid;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::domain::time::Zone;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::Named;
use crate::infra::keys::MailboxKeys;
use crate::infra::store;
use crate::infra::store::row;

const FORMAT: u8 = 2;
/// A row holds at most 64 KiB; longer summaries take several.
pub(super) const SUMMARY_CHUNK_OCTETS: usize = 60_000;

/// Message numbers in one row of what a reader has seen: at fifteen octets each they fit it.
pub(super) const SEEN_CHUNK: u32 = 1_024;

/// Bits of a message's marks; the others are named where they are written.
const SEEN: u8 = 1;
const DELETED: u8 = 1 << 3;

/// The content of a message whose row is damaged: there never is one of that name.
pub(super) const NO_CONTENT: BlobId = BlobId::from_bytes([0; 16]);
/// A row with them must still fit; rows have a few hundred octets.
const DAMAGED_OCTETS_KEPT: usize = 16_384;

/// The head of a mailbox that has ended: nothing is built on it. It is no format of ours.
pub(super) const LAST_HEAD: &[u8] = &[u8::MAX];

/// Counters of a mailbox.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) modseq: u64,
    /// Steps of the change log up to this one are forgotten.
    pub(super) floor: u64,
    pub(super) next_folder: u32,
    pub(super) last_uid_validity: u32,
    pub(super) folders: Vec<FolderHead>,
}

/// Counters of a folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FolderHead {
    pub(super) id: u32,
    pub(super) uid_validity: u32,
    pub(super) uid_next: u32,
    pub(super) modseq: u64,
    pub(super) exists: u32,
    pub(super) unseen: u32,
    pub(super) octets: u64,
}

/// What a folder is called; sealed, since a name may name a patient.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FolderName {
    pub(super) name: String,
    pub(super) special_use: Option<u8>,
    pub(super) subscribed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MessageRow {
    pub(super) internal_date: u64,
    pub(super) saved: u64,
    pub(super) thread: [u8; 8],
    pub(super) size: u64,
    pub(super) modseq: u64,
    pub(super) flags: u8,
    /// The user's own words, sealed; empty when there are none. See [`seal_keywords`].
    pub(super) keywords: Vec<u8>,
    pub(super) blob: [u8; 16],
    pub(super) sealed_key: Vec<u8>,
}

/// The beginning of a [`MessageRow`]: what can be told of a message at a glance, without a copy.
#[derive(Deserialize)]
pub(super) struct Glance<'a> {
    _internal_date: u64,
    _saved: u64,
    _thread: [u8; 8],
    _size: u64,
    pub(super) modseq: u64,
    flags: u8,
    keywords: &'a [u8],
    blob: [u8; 16],
}

/// One step of the change log; one step may touch many messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ChangeRow {
    pub(super) folder: u32,
    pub(super) kind: ChangeKind,
    pub(super) uids: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ChangeKind {
    /// New messages, or new marks.
    Changed,
    /// Messages that are gone.
    Gone,
    /// The folder itself: created, renamed, deleted.
    Folder,
    /// What one reader marked as seen, or not, for themself alone.
    SeenBy([u8; 16]),
}

impl Head {
    pub(super) fn folder(&self, id: FolderId) -> Option<&FolderHead> {
        self.folders.iter().find(|folder| folder.id == id.0)
    }

    pub(super) fn folder_mut(&mut self, id: FolderId) -> Option<&mut FolderHead> {
        self.folders.iter_mut().find(|folder| folder.id == id.0)
    }

    /// The next number of the change log.
    pub(super) fn step(&mut self) -> u64 {
        self.modseq += 1;
        self.modseq
    }
}

impl Glance<'_> {
    pub(super) fn is_seen(&self) -> bool {
        self.flags & SEEN != 0
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }

    /// The user's own words; none when they are damaged.
    pub(super) fn keywords(&self, keys: &MailboxKeys) -> BTreeSet<String> {
        open_keywords(keys, &self.blob(), self.keywords).unwrap_or_default()
    }

    pub(super) fn blob(&self) -> BlobId {
        BlobId::from_bytes(self.blob)
    }
}

/// Looks at a message's row; `None` when it is damaged.
pub(super) fn glance(value: &[u8]) -> Option<Glance<'_>> {
    let (&FORMAT, row) = value.split_first()? else { return None };
    postcard::take_from_bytes(row).ok().map(|(glance, _)| glance)
}

impl MessageRow {
    fn new(keys: &MailboxKeys, entry: &Entry) -> Self {
        let Flags { seen, answered, flagged, deleted, draft, ref keywords } = entry.flags;
        let bits = [seen, answered, flagged, deleted, draft];
        let flags = bits.iter().enumerate().fold(0, |sum, (bit, set)| sum | u8::from(*set) << bit);
        Self {
            internal_date: entry.internal_date.as_millis(),
            saved: entry.saved.as_millis(),
            thread: entry.thread.0,
            size: entry.size,
            modseq: entry.modseq.0,
            flags,
            keywords: seal_keywords(keys, &entry.blob, keywords),
            blob: *entry.blob.as_bytes(),
            sealed_key: entry.sealed_key.to_vec(),
        }
    }

    fn into_entry(self, keys: &MailboxKeys, uid: Uid) -> Entry {
        let blob = BlobId::from_bytes(self.blob);
        let keywords = open_keywords(keys, &blob, &self.keywords).unwrap_or_else(|| {
            tracing::error!(uid = uid.0, "the keywords of a message are damaged; they are gone");
            BTreeSet::new()
        });
        let bit = |place: u8| self.flags & (1 << place) != 0;
        Entry {
            uid,
            internal_date: Timestamp::from_millis(self.internal_date),
            zone: Zone::UTC,
            saved: Timestamp::from_millis(self.saved),
            thread: ThreadId(self.thread),
            size: self.size,
            flags: Flags {
                seen: bit(0),
                answered: bit(1),
                flagged: bit(2),
                deleted: bit(3),
                draft: bit(4),
                keywords,
            },
            modseq: ModSeq(self.modseq),
            blob,
            sealed_key: self.sealed_key.into(),
            named: None,
        }
    }
}

/// A message's row. The name by which it is found stands behind it, and then the zone of its date
/// when that is not UTC: rows without either are as they always were.
pub(super) fn encode_message(keys: &MailboxKeys, entry: &Entry) -> Vec<u8> {
    let mut row = encode(&MessageRow::new(keys, entry));
    row.extend(entry.named.iter().flatten());
    if entry.zone != Zone::UTC {
        row.extend(entry.zone.minutes().to_be_bytes());
    }
    row
}

/// What stands behind a row.
fn behind(rest: &[u8]) -> (Option<Named>, Zone) {
    let (named, zone) = match rest.split_first_chunk() {
        Some((named, zone)) => (Some(*named), zone),
        None => (None, rest),
    };
    let minutes = zone.try_into().map(i16::from_be_bytes).unwrap_or_default();
    (named, Zone::from_minutes(minutes).unwrap_or_default())
}

/// The message of a row. A damaged row becomes a message without content, so that people see
/// that there is something, can remove it, and read the others. Its octets are carried along
/// where the content key would be: whoever marks the message does not destroy what is left.
pub(super) fn decode_message(
    keys: &MailboxKeys,
    folder: FolderId,
    uid: Uid,
    value: &Bytes,
) -> Entry {
    let whole = value.strip_prefix(&[FORMAT]).and_then(|row| postcard::take_from_bytes(row).ok());
    if let Some((row, rest)) = whole {
        let row: MessageRow = row;
        let (named, zone) = behind(rest);
        return Entry { named, zone, ..row.into_entry(keys, uid) };
    }
    tracing::error!(folder = folder.0, uid = uid.0, "a message row is damaged");
    Entry {
        uid,
        internal_date: Timestamp::from_millis(0),
        zone: Zone::UTC,
        saved: Timestamp::from_millis(0),
        thread: ThreadId([0; 8]),
        size: 0,
        flags: Flags::default(),
        modseq: ModSeq(0),
        blob: NO_CONTENT,
        sealed_key: value.slice(..value.len().min(DAMAGED_OCTETS_KEPT)),
        named: None,
    }
}

/// Bound to the content, not to the place, so that copies keep them.
fn keywords_context(blob: &BlobId) -> Vec<u8> {
    [b"keywords/".as_slice(), blob.as_bytes()].concat()
}

fn seal_keywords(keys: &MailboxKeys, blob: &BlobId, keywords: &BTreeSet<String>) -> Vec<u8> {
    if keywords.is_empty() {
        return Vec::new();
    }
    keys.seal_index(&keywords_context(blob), &encode(keywords))
}

fn open_keywords(keys: &MailboxKeys, blob: &BlobId, sealed: &[u8]) -> Option<BTreeSet<String>> {
    if sealed.is_empty() {
        return Some(BTreeSet::new());
    }
    decode(keys.open_index(&keywords_context(blob), sealed).ok()?.expose())
}

pub(super) fn special_use_number(special_use: SpecialUse) -> u8 {
    SpecialUse::ALL.iter().position(|each| *each == special_use).map_or(0, |place| place as u8)
}

pub(super) fn special_use_of(number: u8) -> Option<SpecialUse> {
    SpecialUse::ALL.get(usize::from(number)).copied()
}

/// Format octet and postcard form.
pub(super) fn encode<T: Serialize>(stored: &T) -> Vec<u8> {
    row::encode(FORMAT, stored)
}

/// `None` when the value is not one of ours.
pub(super) fn decode<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    row::decode(FORMAT, value)
}

fn key(mailbox: &MailboxId, table: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.extend_from_slice(b"M/");
    key.extend_from_slice(mailbox.as_bytes());
    key.extend_from_slice(&[b'/', table]);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Everything of a mailbox.
pub(super) fn mailbox_prefix(mailbox: &MailboxId) -> Vec<u8> {
    [b"M/".as_slice(), mailbox.as_bytes(), b"/"].concat()
}

pub(super) fn head_key(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b'h', &[])
}

pub(super) fn folder_key(mailbox: &MailboxId, folder: FolderId) -> Vec<u8> {
    key(mailbox, b'f', &[&folder.0.to_be_bytes()])
}

pub(super) fn folders_prefix(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b'f', &[])
}

pub(super) fn message_key(mailbox: &MailboxId, folder: FolderId, uid: Uid) -> Vec<u8> {
    key(mailbox, b'm', &[&folder.0.to_be_bytes(), &uid.0.to_be_bytes()])
}

/// Messages with `first <= uid <= last`.
pub(super) fn message_range(
    mailbox: &MailboxId,
    folder: FolderId,
    first: u32,
    last: u32,
) -> Range<Vec<u8>> {
    let start = message_key(mailbox, folder, Uid(first));
    let mut end = message_key(mailbox, folder, Uid(last));
    end.push(0);
    start..end
}

/// All messages of all folders.
pub(super) fn messages_prefix(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b'm', &[])
}

/// The folder and the UID at the end of a message key.
pub(super) fn place_of(key: &[u8]) -> Option<(FolderId, Uid)> {
    let folder = uid_of(key.get(..key.len().checked_sub(4)?)?)?;
    Some((FolderId(folder.0), uid_of(key)?))
}

/// The number at the end of a key of the change log.
pub(super) fn modseq_of(key: &[u8]) -> Option<u64> {
    let last = key.len().checked_sub(8)?;
    Some(u64::from_be_bytes(key[last..].try_into().ok()?))
}

/// The UID at the end of a message key.
pub(super) fn uid_of(key: &[u8]) -> Option<Uid> {
    let last = key.len().checked_sub(4)?;
    Some(Uid(u32::from_be_bytes(key[last..].try_into().ok()?)))
}

pub(super) fn summary_key(mailbox: &MailboxId, folder: FolderId, uid: Uid, chunk: u8) -> Vec<u8> {
    key(mailbox, b's', &[&folder.0.to_be_bytes(), &uid.0.to_be_bytes(), &[chunk]])
}

/// Summaries of the messages with `first <= uid <= last`.
pub(super) fn summary_range(
    mailbox: &MailboxId,
    folder: FolderId,
    first: u32,
    last: u32,
) -> Range<Vec<u8>> {
    let mut end = summary_key(mailbox, folder, Uid(last), u8::MAX);
    end.push(0);
    summary_key(mailbox, folder, Uid(first), 0)..end
}

/// The UID in a summary's key.
pub(super) fn summary_uid(key: &[u8]) -> Option<Uid> {
    uid_of(key.get(..key.len().checked_sub(1)?)?)
}

pub(super) fn summary_prefix(mailbox: &MailboxId, folder: FolderId, uid: Uid) -> Vec<u8> {
    key(mailbox, b's', &[&folder.0.to_be_bytes(), &uid.0.to_be_bytes()])
}

pub(super) fn change_key(mailbox: &MailboxId, modseq: u64) -> Vec<u8> {
    key(mailbox, b'c', &[&modseq.to_be_bytes()])
}

pub(super) fn changes_end(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b'c' + 1, &[])
}

/// Where a letter of that name lies.
pub(super) fn named_key(mailbox: &MailboxId, named: &Named, folder: FolderId, uid: Uid) -> Vec<u8> {
    key(mailbox, b'r', &[named, &folder.0.to_be_bytes(), &uid.0.to_be_bytes()])
}

pub(super) fn named_prefix(mailbox: &MailboxId, named: &Named) -> Vec<u8> {
    key(mailbox, b'r', &[named])
}

pub(super) fn duplicates_prefix(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b'd', &[])
}

pub(super) fn duplicate_key(mailbox: &MailboxId, digest: &[u8; 32]) -> Vec<u8> {
    key(mailbox, b'd', &[digest])
}

/// The list of rights of a folder.
pub(super) fn acl_key(mailbox: &MailboxId, folder: FolderId) -> Vec<u8> {
    key(mailbox, b'a', &[&folder.0.to_be_bytes()])
}

pub(super) fn acl_prefix(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b'a', &[])
}

pub(super) fn acl_names_key(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b'A', &[])
}

pub(super) fn subscriptions_key(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b'b', &[])
}

/// The row of the search index with contents from this one on.
pub(super) fn leaf_key(mailbox: &MailboxId, first: &BlobId) -> Vec<u8> {
    key(mailbox, b'i', &[first.as_bytes()])
}

pub(super) fn leaves_prefix(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b'i', &[])
}

/// The content at the end of a key of the search index.
pub(super) fn leaf_of(key: &[u8]) -> Option<BlobId> {
    let last = key.len().checked_sub(16)?;
    Some(BlobId::from_bytes(key[last..].try_into().ok()?))
}

const HELD: &[u8] = b"held/";

/// A held message's row, chunk 0, or a chunk of its summary.
pub(super) fn held_key(
    due: Timestamp,
    mailbox: &MailboxId,
    folder: FolderId,
    uid: Uid,
    chunk: u8,
) -> Vec<u8> {
    let numbers = [folder.0.to_be_bytes(), uid.0.to_be_bytes()].concat();
    [HELD, &due.as_millis().to_be_bytes(), mailbox.as_bytes(), &numbers, &[chunk]].concat()
}

/// All held rows that are due before `end`.
pub(super) fn held_until(end: Timestamp) -> Range<Vec<u8>> {
    HELD.to_vec()..[HELD, &end.as_millis().to_be_bytes()].concat()
}

/// All held rows.
pub(super) fn all_held() -> Range<Vec<u8>> {
    store::prefix(HELD)
}

/// The mailbox in the key of a held row.
pub(super) fn held_mailbox(key: &[u8]) -> Option<MailboxId> {
    let at = HELD.len() + 8;
    Some(MailboxId::from_bytes(key.get(at..at + 16)?.try_into().ok()?))
}

/// True when the key is of a message's row.
pub(super) fn is_message(key: &[u8]) -> bool {
    key.starts_with(b"M/") && key.get(18..20) == Some(b"/m")
}

/// True when the key is of a held message's row, not of its summary.
pub(super) fn is_held_message(key: &[u8]) -> bool {
    key.starts_with(HELD) && key.last() == Some(&0)
}

/// What a reader has seen of a folder.
pub(super) fn seen_key(
    mailbox: &MailboxId,
    reader: &MailboxId,
    folder: FolderId,
    chunk: u32,
) -> Vec<u8> {
    let numbers = [folder.0.to_be_bytes(), chunk.to_be_bytes()].concat();
    key(mailbox, b'e', &[reader.as_bytes(), &numbers])
}

pub(super) fn seen_prefix(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b'e', &[])
}

/// The folder in such a key.
pub(super) fn seen_folder(key: &[u8]) -> Option<FolderId> {
    let (rest, _chunk) = key.split_last_chunk::<4>()?;
    let (_, folder) = rest.split_last_chunk::<4>()?;
    Some(FolderId(u32::from_be_bytes(*folder)))
}

/// Whose such a row is.
pub(super) fn seen_reader(mailbox: &MailboxId, key: &[u8]) -> Option<MailboxId> {
    let rest = key.strip_prefix(seen_prefix(mailbox).as_slice())?;
    Some(MailboxId::from_bytes(*rest.first_chunk()?))
}

/// The folder of such a row, and the last message number that it may tell of; `None` for rows of
/// other tables.
pub(super) fn seen_run(mailbox: &MailboxId, key: &[u8]) -> Option<(FolderId, u32)> {
    let rest = key.strip_prefix(seen_prefix(mailbox).as_slice())?;
    let (_, &chunk) = rest.split_last_chunk::<4>()?;
    let chunk = u32::from_be_bytes(chunk);
    let last = chunk.saturating_mul(SEEN_CHUNK).saturating_add(SEEN_CHUNK - 1);
    Some((seen_folder(key)?, last))
}

pub(super) fn annotations_key(mailbox: &MailboxId, folder: FolderId, who: &MailboxId) -> Vec<u8> {
    key(mailbox, b'n', &[&folder.0.to_be_bytes(), who.as_bytes()])
}

/// Annotations of all folders, everybody's.
pub(super) fn annotations_prefix(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b'n', &[])
}

/// The folder and the reader in such a key.
pub(super) fn annotated(key: &[u8]) -> Option<(FolderId, MailboxId)> {
    let (rest, who) = key.split_last_chunk::<16>()?;
    let (_, folder) = rest.split_last_chunk::<4>()?;
    Some((FolderId(u32::from_be_bytes(*folder)), MailboxId::from_bytes(*who)))
}

/// Annotations of a folder, everybody's.
pub(super) fn annotations_of(mailbox: &MailboxId, folder: FolderId) -> Vec<u8> {
    key(mailbox, b'n', &[&folder.0.to_be_bytes()])
}
