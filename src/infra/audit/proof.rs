//! Whether the chain holds: every entry is read, hashed again, and compared with what the next one,
//! the head and the anchor say.
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::audit::ANCHOR;
use crate::infra::audit::Anchor;
use crate::infra::audit::Audit;
use crate::infra::audit::ENTRIES;
use crate::infra::audit::FORMAT;
use crate::infra::audit::Hash;
use crate::infra::audit::Head;
use crate::infra::audit::NOTHING;
use crate::infra::audit::decode;
use crate::infra::audit::from_hex;
use crate::infra::audit::hex;
use crate::infra::audit::key;
use crate::infra::audit::marked;
use crate::infra::audit::number_of;
use crate::infra::audit::prune;
use crate::infra::store;
use crate::infra::store::StoreError;
use crate::infra::store::row;

/// A point of the chain that somebody wrote down elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which entry.
    pub number: u64,
    /// Its hash.
    pub hash: Hash,
}

/// The chain holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// How many entries were proved.
    pub entries: u64,
    /// The last number that was pruned, when the front is gone.
    pub pruned_through: u64,
    /// When the first of them was written.
    pub first_at: Option<Timestamp>,
    /// When the last.
    pub last_at: Option<Timestamp>,
    /// Where the chain ends.
    pub end: Checkpoint,
}

/// Where the chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// An entry is not what was written.
    #[error("entry {0} was changed: its hash is not that of its contents")]
    Changed(u64),
    /// An entry is gone.
    #[error("entry {0} is missing")]
    Missing(u64),
    /// An entry lies where another one belongs.
    #[error("entry {0} was moved: another entry lies in its place")]
    Moved(u64),
    /// An entry does not follow the one before it.
    #[error("entry {0} does not follow the entry before it: one of both was replaced")]
    Unchained(u64),
    /// There are entries behind the end.
    #[error("entry {0} lies behind the end of the chain: the end was set back")]
    BehindTheEnd(u64),
    /// The head is not the relay's own.
    #[error(
        "the head, after entry {0}, was not written by this relay: it, or the whole chain, was replaced"
    )]
    Head(u64),
    /// The beginning is not the relay's own.
    #[error("the anchor, after entry {0}, was not written by this relay: the front was cut off")]
    Anchor(u64),
    /// The chain is not the one that somebody saw.
    #[error("entry {0} is not the one that was expected: the chain was cut or written anew")]
    Unexpected(u64),
    /// The chain is older than what somebody saw.
    #[error("the chain ends at entry {end}, before entry {expected} that was expected: it was cut")]
    Cut {
        /// Where it ends.
        end: u64,
        /// Where it must at least reach.
        expected: u64,
    },
    /// The store failed.
    #[error("the ledger of key uses cannot be read: {0}")]
    Store(String),
}

impl Checkpoint {
    /// From `NUMBER:HASH`.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, hash) = text.trim().split_once(':')?;
        Some(Self { number: number.parse().ok()?, hash: from_hex(hash)? })
    }
}

impl std::fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.number, hex(&self.hash))
    }
}

impl From<StoreError> for Flaw {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl Audit {
    /// Proves the chain from its beginning to where it ends now, and that it holds what somebody
    /// saw of it earlier. Reads page by page; writers are not held up.
    ///
    /// # Errors
    /// The first [`Flaw`].
    pub async fn prove(&self, expected: Option<&Checkpoint>) -> Result<Proof, Flaw> {
        let chain = &self.0;
        let head = match chain.store.get(super::HEAD).await? {
            None => None,
            Some(row) => Some(row::decode::<Head>(FORMAT, &row.value).ok_or(Flaw::Head(0))?),
        };
        if let Some(head) = &head
            && chain.witness.mark(&marked(b"head", head.last, &head.hash)) != head.mark
        {
            return Err(Flaw::Head(head.last));
        }
        let anchor = match chain.store.get(ANCHOR).await? {
            None => None,
            Some(row) => Some(row::decode::<Anchor>(FORMAT, &row.value).ok_or(Flaw::Anchor(0))?),
        };
        let (through, hash) = match &anchor {
            None => (0, NOTHING),
            Some(anchor) => {
                let mark = chain.witness.mark(&marked(b"anchor", anchor.through, &anchor.hash));
                if mark != anchor.mark {
                    return Err(Flaw::Anchor(anchor.through));
                }
                (anchor.through, anchor.hash)
            }
        };
        let end = head.as_ref().map_or(0, |head| head.last);
        let mut walk = Walk { number: through, hash, expected, first_at: None, last_at: None };
        let mut is_witnessed = anchor.is_none();
        let mut range = store::prefix(ENTRIES);
        loop {
            let page = chain.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let number = number_of(key).ok_or(Flaw::Moved(walk.number + 1))?;
                if number > end {
                    break;
                }
                let entry = decode(key, &row.value).ok_or(Flaw::Changed(number))?;
                walk.step(number, &entry)?;
                is_witnessed |= entry.why == prune::why(through, &hash);
            }
            match page.rows.last() {
                Some((last, _)) if page.more && walk.number < end => {
                    range.start = [last.as_ref(), &[0]].concat();
                }
                _ => break,
            }
        }
        if walk.number < end {
            return Err(Flaw::Missing(walk.number + 1));
        }
        if head.as_ref().is_some_and(|head| head.hash != walk.hash) {
            return Err(Flaw::Unchained(end));
        }
        if !is_witnessed {
            return Err(Flaw::Anchor(through));
        }
        self.nothing_behind(end, head.as_ref()).await?;
        if let Some(expected) = expected
            && expected.number > end
        {
            return Err(Flaw::Cut { end, expected: expected.number });
        }
        Ok(Proof {
            entries: end - through.min(end),
            pruned_through: through,
            first_at: walk.first_at,
            last_at: walk.last_at,
            end: Checkpoint { number: end, hash: walk.hash },
        })
    }

    /// Entries behind the head are those that came meanwhile, or the head was set back.
    async fn nothing_behind(&self, end: u64, head: Option<&Head>) -> Result<(), Flaw> {
        let behind = key(end.saturating_add(1))..store::prefix(ENTRIES).end;
        let page = self.0.store.scan(behind, 1).await?;
        if page.rows.is_empty() {
            return Ok(());
        }
        let (now, version) = self.0.head().await?;
        let is_same = match head {
            None => version.is_none(),
            Some(head) => now == *head,
        };
        match is_same {
            true => Err(Flaw::BehindTheEnd(end + 1)),
            false => Ok(()),
        }
    }
}

/// Entry after entry.
pub(super) struct Walk<'a> {
    pub(super) number: u64,
    pub(super) hash: Hash,
    pub(super) expected: Option<&'a Checkpoint>,
    pub(super) first_at: Option<Timestamp>,
    pub(super) last_at: Option<Timestamp>,
}

impl Walk<'_> {
    /// The entry in the place of this number.
    pub(super) fn step(&mut self, number: u64, entry: &super::Entry) -> Result<(), Flaw> {
        if number != self.number + 1 {
            return Err(Flaw::Missing(self.number + 1));
        }
        if entry.number != number {
            return Err(Flaw::Moved(number));
        }
        if entry.computed() != entry.hash {
            return Err(Flaw::Changed(number));
        }
        if entry.previous != self.hash {
            return Err(Flaw::Unchained(number));
        }
        if self.expected.is_some_and(|seen| seen.number == number && seen.hash != entry.hash) {
            return Err(Flaw::Unexpected(number));
        }
        self.number = number;
        self.hash = entry.hash;
        self.first_at.get_or_insert(entry.at);
        self.last_at = Some(entry.at);
        Ok(())
    }
}
