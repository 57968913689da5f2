//! Leaves of the search index: rows of signatures, sorted by content.
//!
//! A leaf is named by the smallest content that may stand in it, the first one by zero. So the
//! leaf of a content is the last one whose name is not greater, and a scan of leaves is a scan
//! of rows in a row.
use std::collections::BTreeMap;
use std::collections::HashMap;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::envelope::BlobId;
use crate::domain::limits;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Version;
use crate::proto::imap::folded::INDEXED_FORM;
use crate::proto::imap::folded::Signature;

/// How often a write begins anew when somebody else wrote the same leaf.
const ATTEMPTS_MAX: usize = 3;
/// Octets that an entry has besides its signature.
const ENTRY_OCTETS: usize = 20;
/// Octets that one commit of the index may have: letters wait behind it.
const COMMIT_OCTETS_MAX: usize = 524_288;
/// The first leaf.
const FIRST: BlobId = BlobId::from_bytes([0; 16]);

/// A row in clear.
#[derive(Serialize, Deserialize)]
struct StoredLeaf {
    /// [`INDEXED_FORM`] of its signatures.
    form: u32,
    entries: Vec<([u8; 16], Vec<u8>)>,
}

/// A leaf as it was found.
pub(super) struct Leaf {
    pub(super) name: BlobId,
    version: Version,
    /// None when the row is damaged, or of another form.
    pub(super) entries: BTreeMap<BlobId, Signature>,
    /// True when the row says nothing that counts.
    pub(super) is_void: bool,
}

/// The signatures of these contents, as far as there are any.
pub(super) async fn read(
    mailbox: &OpenMailbox,
    contents: &[BlobId],
) -> Result<HashMap<BlobId, Signature>, MailboxError> {
    let mut wanted = contents.to_vec();
    wanted.sort_unstable_by_key(|content| *content.as_bytes());
    wanted.dedup();
    let mut found = HashMap::with_capacity(wanted.len());
    let mut leaf: Option<Leaf> = None;
    // The leaf behind it; `None` inside when there is none.
    let mut next: Option<Option<Leaf>> = None;
    for content in wanted {
        let begins_after = |leaf: &Leaf| leaf.name.as_bytes() > content.as_bytes();
        if let Some(Some(after)) =
            next.take_if(|next| next.as_ref().is_some_and(|n| !begins_after(n)))
        {
            next = Some(following(mailbox, &after.name).await?);
            leaf = Some(after);
        }
        let is_known = next.as_ref().is_some_and(|next| next.as_ref().is_none_or(begins_after));
        if !is_known {
            leaf = leaf_of(mailbox, &content).await?;
            let name = leaf.as_ref().map_or(FIRST, |leaf| leaf.name);
            next = Some(following(mailbox, &name).await?);
        }
        let signature = leaf.as_mut().and_then(|leaf| leaf.entries.remove(&content));
        found.extend(signature.map(|signature| (content, signature)));
    }
    Ok(found)
}

/// Adds signatures.
pub(super) async fn write(
    mailbox: &OpenMailbox,
    learnt: Vec<(BlobId, Signature)>,
) -> Result<(), MailboxError> {
    let mut left: BTreeMap<BlobId, Signature> = learnt.into_iter().collect();
    while let Some(first) = left.keys().next().copied() {
        for attempt in 1..=ATTEMPTS_MAX {
            let leaf = leaf_of(mailbox, &first).await?;
            let name = leaf.as_ref().map_or(FIRST, |leaf| leaf.name);
            let after = following(mailbox, &name).await?;
            let mut here = match &after {
                Some(after) => left.split_off(&after.name),
                None => BTreeMap::new(),
            };
            std::mem::swap(&mut here, &mut left);
            // One commit takes some; the rest comes next.
            let mut octets = 0;
            let cut = here.iter().find(|(_, signature)| {
                octets += signature.octets().len() + ENTRY_OCTETS;
                octets > COMMIT_OCTETS_MAX
            });
            if let Some(cut) = cut.map(|(content, _)| *content) {
                left.append(&mut here.split_off(&cut));
            }
            match replace(mailbox, leaf, name, here.clone()).await {
                Ok(()) => break,
                Err(CommitError::Conflict) if attempt < ATTEMPTS_MAX => left.append(&mut here),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Writes a leaf with more entries, as several leaves where it grew too large.
async fn replace(
    mailbox: &OpenMailbox,
    leaf: Option<Leaf>,
    name: BlobId,
    more: BTreeMap<BlobId, Signature>,
) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    let mut entries = BTreeMap::new();
    match leaf {
        Some(leaf) => {
            batch.require_at(rows::leaf_key(&mailbox.slot.id, &leaf.name), leaf.version);
            entries = leaf.entries;
        }
        None => {
            batch.require_absent(rows::leaf_key(&mailbox.slot.id, &name));
        }
    }
    entries.extend(more);
    for (place, part) in parts(entries).into_iter().enumerate() {
        let name = match part.first() {
            Some((content, _)) if place > 0 => BlobId::from_bytes(*content),
            _ => name,
        };
        let key = rows::leaf_key(&mailbox.slot.id, &name);
        if place > 0 {
            batch.require_absent(key.clone());
        }
        batch.put(key, seal(mailbox, &name, part));
    }
    mailbox.shelf.store.commit(batch).await
}

/// Drops what `is_kept` says no to; true when the leaf changed. For the keeper.
pub(super) async fn shrink(
    mailbox: &OpenMailbox,
    mut leaf: Leaf,
    is_kept: impl Fn(&BlobId) -> bool,
) -> Result<bool, MailboxError> {
    let before = leaf.entries.len();
    leaf.entries.retain(|content, _| is_kept(content));
    if leaf.entries.len() == before && !leaf.is_void {
        return Ok(false);
    }
    let key = rows::leaf_key(&mailbox.slot.id, &leaf.name);
    let mut batch = Batch::new();
    batch.require_at(key.clone(), leaf.version);
    if leaf.entries.is_empty() {
        batch.delete(key);
    } else {
        let entries = stored(leaf.entries);
        batch.put(key, seal(mailbox, &leaf.name, entries));
    }
    match mailbox.shelf.store.commit(batch).await {
        // Somebody else wrote it: the next time.
        Ok(()) | Err(CommitError::Conflict) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The leaf where a content stands, or would.
async fn leaf_of(mailbox: &OpenMailbox, content: &BlobId) -> Result<Option<Leaf>, MailboxError> {
    let start = rows::leaf_key(&mailbox.slot.id, &FIRST);
    let mut end = rows::leaf_key(&mailbox.slot.id, content);
    end.push(0);
    let page = mailbox.shelf.store.scan_back(start..end, 1).await?;
    Ok(page.rows.first().and_then(|(key, row)| open(mailbox, key, &row.value, row.version)))
}

/// The leaf behind the one of this name.
pub(super) async fn following(
    mailbox: &OpenMailbox,
    name: &BlobId,
) -> Result<Option<Leaf>, MailboxError> {
    let mut start = rows::leaf_key(&mailbox.slot.id, name);
    start.push(0);
    first_from(mailbox, start).await
}

/// The first leaf.
pub(super) async fn first(mailbox: &OpenMailbox) -> Result<Option<Leaf>, MailboxError> {
    first_from(mailbox, rows::leaf_key(&mailbox.slot.id, &FIRST)).await
}

async fn first_from(mailbox: &OpenMailbox, start: Vec<u8>) -> Result<Option<Leaf>, MailboxError> {
    let end = store::prefix(&rows::leaves_prefix(&mailbox.slot.id)).end;
    let page = mailbox.shelf.store.scan(start..end, 1).await?;
    Ok(page.rows.first().and_then(|(key, row)| open(mailbox, key, &row.value, row.version)))
}

/// A row of another form, or damaged, is an empty leaf that the next write replaces.
fn open(mailbox: &OpenMailbox, key: &[u8], sealed: &[u8], version: Version) -> Option<Leaf> {
    let name = rows::leaf_of(key)?;
    let clear = mailbox.slot.keys.open_index(&context(&name), sealed).ok();
    let stored: Option<StoredLeaf> = clear.and_then(|clear| rows::decode(clear.expose()));
    if stored.is_none() {
        tracing::warn!(mailbox = ?mailbox.slot.id, "a row of a search index is damaged");
    }
    let stored = stored.filter(|leaf| leaf.form == INDEXED_FORM);
    let is_void = stored.is_none();
    let entries = stored.map(|leaf| leaf.entries).unwrap_or_default();
    let entries = entries.into_iter().filter_map(|(content, signature)| {
        Some((BlobId::from_bytes(content), Signature::from_octets(&signature)?))
    });
    Some(Leaf { name, version, entries: entries.collect(), is_void })
}

fn seal(mailbox: &OpenMailbox, name: &BlobId, entries: Vec<([u8; 16], Vec<u8>)>) -> Vec<u8> {
    let leaf = StoredLeaf { form: INDEXED_FORM, entries };
    mailbox.slot.keys.seal_index(&context(name), &rows::encode(&leaf))
}

/// Bound to its place, so that no leaf stands for another.
fn context(name: &BlobId) -> Vec<u8> {
    [b"search/".as_slice(), name.as_bytes()].concat()
}

/// Entries in rows that are not too large. Contents mostly come behind all others, so leaves are
/// filled up; one that grows in its middle is cut where it is full.
fn parts(entries: BTreeMap<BlobId, Signature>) -> Vec<Vec<([u8; 16], Vec<u8>)>> {
    let mut parts = Vec::new();
    let (mut part, mut octets) = (Vec::new(), 0);
    for entry in stored(entries) {
        let more = entry.1.len() + ENTRY_OCTETS;
        if octets + more > limits::INDEX_ROW_OCTETS_MAX && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            octets = 0;
        }
        octets += more;
        part.push(entry);
    }
    parts.push(part);
    parts
}

fn stored(entries: BTreeMap<BlobId, Signature>) -> Vec<([u8; 16], Vec<u8>)> {
    let entries = entries.into_iter();
    entries.map(|(content, signature)| (*content.as_bytes(), signature.octets().to_vec())).collect()
}
