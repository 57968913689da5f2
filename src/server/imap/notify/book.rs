//! A mailbox as a client was told of it, and its bell.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::future::Future;
use std::future::poll_fn;
use std::hash::DefaultHasher;
use std::hash::Hasher;
use std::pin::Pin;
use std::task::Poll;

use crate::domain::folder::FolderId;
use crate::domain::rights::Right;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::readers::Scope;
use crate::server::imap::metadata;
use crate::server::imap::notify::wish::is_below;
use crate::server::imap::shelf::Bell;
use crate::server::imap::shelf::Shelf;

/// One mailbox: the own one, or one of others.
pub(super) struct Book<M: Shelf> {
    pub(super) shelf: M,
    /// Comes before the names of its folders; empty for the own one.
    pub(super) prefix: String,
    pub(super) bell: M::Bell,
    /// The bell rang, and nobody has looked yet.
    pub(super) rang: bool,
    /// What the client was told of each folder.
    pub(super) known: BTreeMap<FolderId, Known>,
    /// Annotations as they were last; `None` when nobody wants to hear of them.
    pub(super) notes: Option<Notes>,
}

/// A folder as the client was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) subscribed: bool,
    pub(super) special_use: Option<&'static str>,
    /// RFC 5465 §5: events need the rights `l` and `r`.
    pub(super) readable: bool,
    pub(super) uid_validity: u32,
    pub(super) uid_next: u32,
    pub(super) exists: u32,
    pub(super) unseen: u32,
    pub(super) modseq: u64,
}

impl<M: Shelf> Book<M> {
    pub(super) async fn open(shelf: M, prefix: String) -> Result<Self, MailboxError> {
        // The bell first: what happens while the folders are read rings it.
        let bell = shelf.watch();
        let mut book =
            Self { shelf, prefix, bell, rang: false, known: BTreeMap::new(), notes: None };
        book.known = book.read().await?;
        Ok(book)
    }

    /// The folders that the client may know of, as they are now.
    pub(super) async fn read(&self) -> Result<BTreeMap<FolderId, Known>, MailboxError> {
        let mut known = BTreeMap::new();
        for folder in self.shelf.folders().await? {
            let rights = self.shelf.rights(folder.id).await?;
            if rights.has(Right::Lookup) {
                known.insert(folder.id, Known::new(folder, rights.has(Right::Read)));
            }
        }
        Ok(known)
    }

    /// Names of annotations that are others than when they were last read, folder by folder. Only
    /// rows that were written since are opened.
    pub(super) async fn read_notes(
        &mut self,
    ) -> Result<Vec<(FolderId, Vec<String>)>, MailboxError> {
        let Some(notes) = &mut self.notes else { return Ok(Vec::new()) };
        let marks = self.shelf.annotation_marks().await?;
        let places: BTreeSet<Place> = notes.keys().chain(marks.keys()).copied().collect();
        let mut changed: BTreeMap<FolderId, Vec<String>> = BTreeMap::new();
        for place in places {
            let mark = marks.get(&place).copied();
            if notes.get(&place).map(|note| note.mark) == mark {
                continue;
            }
            let (folder, scope) = place;
            let entries: BTreeMap<String, u64> = match mark {
                None => BTreeMap::new(),
                Some(_) => {
                    let now = self.shelf.annotations(folder, scope).await?;
                    now.iter().map(|(name, value)| (name.clone(), hash(value))).collect()
                }
            };
            let before = notes.remove(&place).map(|note| note.entries).unwrap_or_default();
            let names: BTreeSet<&String> = before.keys().chain(entries.keys()).collect();
            let others = names.into_iter().filter(|name| before.get(*name) != entries.get(*name));
            let prefix = metadata::prefix(scope);
            changed.entry(folder).or_default().extend(others.map(|name| format!("{prefix}{name}")));
            if let Some(mark) = mark {
                notes.insert(place, Note { mark, entries });
            }
        }
        changed.retain(|_, entries| !entries.is_empty());
        Ok(changed.into_iter().collect())
    }

    /// True when the mailbox has changed since it was read.
    pub(super) async fn has_rung(&mut self) -> bool {
        if !self.rang {
            let bell = &mut self.bell;
            self.rang = tokio::select! {
                biased;
                () = bell.rung() => true,
                () = std::future::ready(()) => false,
            };
        }
        self.rang
    }

    pub(super) fn name_of(&self, known: &Known) -> String {
        format!("{}{}", self.prefix, known.name)
    }

    pub(super) fn is_own(&self) -> bool {
        self.prefix.is_empty()
    }

    pub(super) fn has_below(&self, name: &str) -> bool {
        self.known.values().any(|known| is_below(name, &known.name))
    }
}

impl Known {
    pub(super) fn new(folder: Folder, readable: bool) -> Self {
        Self {
            name: folder.name,
            subscribed: folder.subscribed,
            special_use: folder.special_use.map(|special_use| special_use.attribute()),
            readable,
            uid_validity: folder.uid_validity,
            uid_next: folder.uid_next.0,
            exists: folder.exists,
            unseen: folder.unseen,
            modseq: folder.highest_modseq.0,
        }
    }
}

/// Where annotations lie.
pub(super) type Place = (FolderId, Scope);
/// Annotations by their place.
pub(super) type Notes = BTreeMap<Place, Note>;

/// The annotations of one place, as far as it takes to see that they have changed.
#[derive(Debug)]
pub(super) struct Note {
    /// Of all of them as they lie there, sealed.
    pub(super) mark: u64,
    /// Of each value.
    pub(super) entries: BTreeMap<String, u64>,
}

pub(super) fn hash(octets: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(octets);
    hasher.finish()
}

/// Of the selected mailbox and of all others.
pub(super) struct Bells<'a, M: Shelf> {
    pub(super) view: Option<&'a mut M::Bell>,
    pub(super) books: &'a mut [Book<M>],
}

impl<M: Shelf> Bell for Bells<'_, M> {
    async fn rung(&mut self) {
        let mut waiting: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
        if let Some(bell) = &mut self.view {
            waiting.push(Box::pin(bell.rung()));
        }
        for Book { bell, rang, .. } in self.books.iter_mut() {
            waiting.push(Box::pin(async move {
                if !*rang {
                    bell.rung().await;
                    *rang = true;
                }
            }));
        }
        poll_fn(|context| {
            // All are asked, so that all that have rung are known as such.
            let rung = waiting.iter_mut().map(|one| one.as_mut().poll(context).is_ready());
            if rung.fold(false, |some, one| some | one) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
