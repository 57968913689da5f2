//! Which messages answer? In pieces, cheapest questions first: numbers, rows, summaries, the
//! search index; a letter is opened only when nothing else decides.
//!
//! Pieces that take time run aside, when it is their turn (`flow::mailbox::index`), so that a
//! heavy search does not hold up another client; and between pieces the search ends when its
//! client is gone.
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::domain::envelope::BlobId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::UidSet;
use crate::domain::limits;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::index::SealedLetter;
use crate::proto::imap::folded::FoldedLetter;
use crate::proto::imap::folded::Signature;
use crate::proto::imap::matching::Facts;
use crate::proto::imap::matching::Known;
use crate::proto::imap::matching::Query;
use crate::proto::mime::summary::Summary;
use crate::server::imap::answer;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view::View;

/// One search on its way.
pub(super) struct Hunt<'a, D: Desk, S> {
    pub(super) desk: &'a D,
    pub(super) line: &'a mut Line<S>,
    pub(super) view: &'a View<D::Shelf>,
    learnt: Vec<(BlobId, Signature)>,
}

/// How many are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All.
    All,
    /// The first one.
    First,
    /// The last one.
    Last,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The UIDs.
    pub(super) uids: UidSet,
    /// The last change of any of them.
    pub(super) highest: ModSeq,
}

/// A message of which is not known yet whether it answers.
struct Candidate {
    entry: Entry,
    sequence: u32,
    /// EMAILID and THREADID, where they are asked for.
    ids: [String; 2],
    summary: Option<Summary>,
    is_indexed: bool,
}

type Match = (u32, ModSeq);

impl<'a, D: Desk, S: Stream> Hunt<'a, D, S> {
    pub(super) fn new(desk: &'a D, line: &'a mut Line<S>, view: &'a View<D::Shelf>) -> Self {
        Self { desk, line, view, learnt: Vec::new() }
    }

    /// Looks.
    pub(super) async fn run(&mut self, query: &Arc<Query>, wanted: Wanted) -> Result<Found, Halt> {
        self.tell_limits(query);
        let found = self.look(query, wanted).await;
        // What was learnt is kept when the search did not come to its end, too.
        self.keep_learnt(0).await;
        found
    }

    /// Once a folder: texts of letters that only their reader opens are not found here.
    fn tell_limits(&mut self, query: &Query) {
        if !query.asks_texts() || !self.desk.keeps_own_key(&self.view.shelf) {
            return;
        }
        if !self.view.has_told_limits.swap(true, Ordering::Relaxed) {
            self.line.out().extend_from_slice(
                b"* OK Letters sealed to the key of their reader are searched by their outer \
                  header only: search their text in your mail program\r\n",
            );
        }
    }

    async fn look(&mut self, query: &Arc<Query>, wanted: Wanted) -> Result<Found, Halt> {
        let view = self.view;
        let count = view.exists() as usize;
        let pages = count.div_ceil(limits::SEARCHED_ROWS_AT_ONCE);
        let mut found = Found::default();
        for done in 0..pages {
            let page = if wanted == Wanted::Last { pages - 1 - done } else { done };
            let start = page * limits::SEARCHED_ROWS_AT_ONCE;
            let candidates = candidates(view, query, start);
            if candidates.is_empty() {
                continue;
            }
            let rows = view.rows(&candidates).await?;
            let at = done * limits::SEARCHED_ROWS_AT_ONCE;
            let mut matches = self.page(query, rows, at).await?;
            matches.sort_unstable();
            match wanted {
                Wanted::All => {}
                Wanted::First => matches.truncate(1),
                Wanted::Last => drop(matches.drain(..matches.len().saturating_sub(1))),
            }
            for (uid, modseq) in &matches {
                found.uids.insert(*uid);
                found.highest = found.highest.max(*modseq);
            }
            if wanted != Wanted::All && !matches.is_empty() {
                break;
            }
            self.tick(at, count).await?;
        }
        Ok(found)
    }

    /// Those of these messages that answer.
    async fn page(
        &mut self,
        query: &Arc<Query>,
        rows: Vec<Entry>,
        at: usize,
    ) -> Result<Vec<Match>, Halt> {
        let asks_ids = query.asks_ids();
        let numbered = rows.into_iter().filter_map(|entry| {
            let sequence = self.view.sequence_of(entry.uid)?;
            let ids = match asks_ids {
                true => [entry.email_id(), entry.thread_id()],
                false => Default::default(),
            };
            Some(Candidate { entry, sequence, ids, summary: None, is_indexed: false })
        });
        let (mut found, mut open) = sift(query, numbered.collect());
        if !open.is_empty() && query.asks_envelopes() {
            let (more, rest) = self.ask_summaries(query, open).await?;
            found.extend(more);
            open = rest;
        }
        if !open.is_empty() {
            let (more, rest) = self.ask_index(query, open).await?;
            found.extend(more);
            open = rest;
        }
        let mut letters = open.into_iter().peekable();
        while letters.peek().is_some() {
            let mut some = Vec::new();
            let mut octets = 0;
            while octets < limits::SEARCHED_OCTETS_AT_ONCE
                && let Some(candidate) = letters.next()
            {
                octets += candidate.entry.size;
                some.push(candidate);
            }
            found.extend(self.open_letters(query, some, octets).await?);
            self.keep_learnt(limits::INDEX_LEARNT_AT_ONCE).await;
            self.tick(at, self.view.exists() as usize).await?;
        }
        Ok(found)
    }

    async fn ask_summaries(
        &self,
        query: &Arc<Query>,
        mut open: Vec<Candidate>,
    ) -> Result<(Vec<Match>, Vec<Candidate>), Halt> {
        let shelf = &self.view.shelf;
        let entries: Vec<Entry> = open.iter().map(|candidate| candidate.entry.clone()).collect();
        let sealed = shelf.summaries_to_open(self.view.folder, &entries).await?;
        let query = Arc::clone(query);
        let asked = shelf.aside(move || {
            for (place, candidate) in open.iter_mut().enumerate() {
                candidate.summary = Some(sealed.open(place, &candidate.entry));
            }
            sift(&query, open)
        });
        Ok(asked.await?)
    }

    async fn ask_index(
        &self,
        query: &Arc<Query>,
        open: Vec<Candidate>,
    ) -> Result<(Vec<Match>, Vec<Candidate>), Halt> {
        let shelf = &self.view.shelf;
        let contents: Vec<BlobId> = open.iter().map(|candidate| candidate.entry.blob).collect();
        let signatures = shelf.signatures(&contents).await?;
        let key = shelf.signature_key();
        let (mut found, mut rest) = (Vec::new(), Vec::new());
        for mut candidate in open {
            let signature = signatures.get(&candidate.entry.blob);
            candidate.is_indexed = signature.is_some();
            let mut facts = candidate.facts();
            facts.signature = signature.map(|signature| (signature, key));
            match query.matches(&facts) {
                Some(true) => found.push(candidate.found()),
                Some(false) => {}
                None => rest.push(candidate),
            }
        }
        Ok((found, rest))
    }

    /// Opens letters, and learns what the index did not know.
    async fn open_letters(
        &mut self,
        query: &Arc<Query>,
        some: Vec<Candidate>,
        octets: u64,
    ) -> Result<Vec<Match>, Halt> {
        // The decoded and the folded text are as large as the letters, or larger. All is asked
        // for at once: who holds some and waits for more may wait for those who do the same.
        let room = self.desk.reserve_reading(octets.saturating_mul(2));
        let room = room.await.map_err(answer::refused)?;
        let shelf = &self.view.shelf;
        let mut sealed: Vec<(Candidate, Option<SealedLetter>)> = Vec::with_capacity(some.len());
        for candidate in some {
            let letter = match shelf.sealed_letter(&candidate.entry).await {
                Ok(letter) => Some(letter),
                Err(error @ MailboxError::Temporary(_)) => return Err(error.into()),
                // It is there, and no text is found in it; the others are searched.
                Err(_) => None,
            };
            sealed.push((candidate, letter));
        }
        let (query, key) = (Arc::clone(query), shelf.signature_key());
        let opened = shelf.aside(move || {
            let (mut found, mut learnt) = (Vec::new(), Vec::new());
            for (candidate, letter) in sealed {
                let folded = letter.and_then(|letter| fold(&letter, &candidate.entry));
                let mut facts = candidate.facts();
                facts.text = folded.as_ref().map_or(Known::Never, Known::Yes);
                if query.matches(&facts).unwrap_or(false) {
                    found.push(candidate.found());
                }
                if let Some(folded) = folded.filter(|_| !candidate.is_indexed) {
                    learnt.push((candidate.entry.blob, Signature::new(&folded, key)));
                }
            }
            drop(room);
            (found, learnt)
        });
        let (found, learnt) = opened.await?;
        self.learnt.extend(learnt);
        Ok(found)
    }

    /// Between two pieces: ends the search when nobody waits for it any more, and says now and
    /// then how far it is.
    pub(super) async fn tick(&mut self, done: usize, all: usize) -> Result<(), Gone> {
        self.line.still_there().await?;
        self.line.progress(done, all).await
    }

    /// Hands on what was learnt when it is so much.
    async fn keep_learnt(&mut self, at_least: usize) {
        if self.learnt.is_empty() || self.learnt.len() < at_least {
            return;
        }
        self.view.shelf.learn(std::mem::take(&mut self.learnt)).await;
        self.view.shelf.was_searched();
    }
}

impl Candidate {
    fn facts(&self) -> Facts<'_> {
        let entry = &self.entry;
        let summary = self.summary.as_ref();
        Facts {
            sequence: self.sequence,
            uid: entry.uid.0,
            flags: &entry.flags,
            internal_date: entry.internal_date,
            zone: entry.zone,
            saved: entry.saved,
            size: entry.size,
            modseq: entry.modseq,
            email_id: &self.ids[0],
            thread_id: &self.ids[1],
            envelope: summary.map_or(Known::NotYet, |summary| Known::Yes(&summary.envelope)),
            header_forms: summary.map(|summary| summary.header_forms).unwrap_or_default(),
            signature: None,
            text: Known::NotYet,
        }
    }

    fn found(&self) -> Match {
        (self.entry.uid.0, self.entry.modseq)
    }
}

/// UIDs of a page of the view, as far as their numbers alone do not rule them out.
fn candidates<M: Shelf>(view: &View<M>, query: &Query, start: usize) -> Vec<u32> {
    let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    let Some(first) = view.uid_at(number(start + 1)) else { return Vec::new() };
    let last = view.uid_at(number(start + limits::SEARCHED_ROWS_AT_ONCE));
    let page = view.uids().within(first..=last.unwrap_or(u32::MAX));
    let numbered = (number(start + 1)..).zip(page.iter());
    numbered
        .filter(|(sequence, uid)| query.may_match(*sequence, *uid))
        .map(|(_, uid)| uid)
        .collect()
}

/// Those that answer, and those of which it is not known yet.
fn sift(query: &Query, candidates: Vec<Candidate>) -> (Vec<Match>, Vec<Candidate>) {
    let (mut found, mut open) = (Vec::new(), Vec::new());
    for candidate in candidates {
        match query.matches(&candidate.facts()) {
            Some(true) => found.push(candidate.found()),
            Some(false) => {}
            None => open.push(candidate),
        }
    }
    (found, open)
}

/// The text of a letter; `None` when it cannot be had. One letter that breaks a parser of ours is
/// one letter that is not found.
fn fold(letter: &SealedLetter, entry: &Entry) -> Option<FoldedLetter> {
    let clear = letter.open().ok()?;
    let folded = catch_unwind(AssertUnwindSafe(|| FoldedLetter::new(clear.expose())));
    folded
        .inspect_err(|_| tracing::error!(uid = entry.uid.0, "searching a letter met a bug of ours"))
        .ok()
}
