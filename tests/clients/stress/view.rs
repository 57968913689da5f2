//! What a client believes about the selected mailbox, from nothing but what it was told.
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use anyhow::bail;
use anyhow::ensure;

use super::model::FolderTruth;
use crate::support::imap;
use crate::support::imap::Answer;
use crate::support::imap::Response;
use crate::support::imap::Value;

/// A message in the view, at its sequence number.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) uid: Option<u32>,
    pub(super) flags: Option<BTreeSet<String>>,
    pub(super) modseq: u64,
}

/// The view.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) name: String,
    pub(super) uid_validity: u32,
    pub(super) is_writable: bool,
    pub(super) slots: Vec<Slot>,
    /// Everything up to here was told, when it was left after a NOOP.
    pub(super) told_up_to: u64,
    /// RFC 7162 §3.2.3: VANISHED instead of EXPUNGE, and UIDs in every FETCH.
    pub(super) is_qresync: bool,
}

/// Whether EXPUNGE may come with this answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    MayChange,
    MustStay,
}

/// What a session remembers of a folder that it left.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    pub(super) modseq: u64,
    pub(super) messages: BTreeMap<u32, Slot>,
}

impl View {
    /// Reads the answer of SELECT or EXAMINE.
    pub(super) fn open(
        name: &str,
        answer: &Answer,
        is_qresync: bool,
        cache: Option<Cache>,
    ) -> anyhow::Result<Self> {
        let number = |code: &str| answer.code_of(code).and_then(|text| text.parse::<u64>().ok());
        let Some(validity) = number("UIDVALIDITY") else { bail!("no UIDVALIDITY") };
        let first = answer.untagged.iter().position(|r| r.numbered("EXISTS").is_some());
        let Some(first) = first else { bail!("no EXISTS") };
        let exists = answer.untagged[first].numbered("EXISTS").unwrap_or(0);
        let highest = number("HIGHESTMODSEQ").unwrap_or(0);
        let mut view = Self {
            name: name.to_owned(),
            uid_validity: u32::try_from(validity)?,
            is_writable: answer.code.as_deref() == Some("READ-WRITE"),
            slots: vec![Slot::default(); exists as usize],
            told_up_to: highest,
            is_qresync,
        };
        match cache {
            Some(cache) => view.resynchronise(answer, cache)?,
            // What happened while it was being opened may be told at once.
            None => drop(view.hear(&answer.untagged[first + 1..], Numbers::MayChange)?),
        }
        Ok(view)
    }

    /// RFC 7162 §3.2.5: the cache, less what vanished, with what changed, is the folder.
    fn resynchronise(&mut self, answer: &Answer, cache: Cache) -> anyhow::Result<()> {
        let is_news = |response: &Response| {
            response.numbered("EXISTS").is_some()
                || response.named("VANISHED").is_some_and(|words| words[0].list().is_empty())
        };
        // What happened while it was being opened is told behind, and counts from there on.
        let first = answer.untagged.iter().position(|r| r.numbered("EXISTS").is_some());
        let first = first.map_or(0, |place| place + 1);
        let news = answer.untagged[first..].iter().position(is_news);
        let (state, news) = match news {
            Some(place) => answer.untagged.split_at(first + place),
            None => (&answer.untagged[..], &[][..]),
        };
        let mut messages = cache.messages;
        for words in state.iter().filter_map(|response| response.named("VANISHED")) {
            for uid in imap::numbers(&words[1].text().unwrap_or_default())? {
                messages.remove(&uid);
            }
        }
        let mut told = Vec::new();
        for response in state {
            let Some(sequence) = response.numbered("FETCH") else { continue };
            let slot = read(response)?;
            let Some(uid) = slot.uid else { bail!("no UID in {}", response.raw) };
            ensure!(slot.modseq > cache.modseq, "told again: {}", response.raw);
            let known = messages.entry(uid).or_default();
            ensure!(known.modseq <= slot.modseq, "MODSEQ went back: {}", response.raw);
            *known = slot;
            told.push((uid, sequence));
        }
        // Counted by EXISTS, and gone before they could be told: the news say so.
        for words in news.iter().filter_map(|response| response.named("VANISHED")) {
            for uid in imap::numbers(&words[0].text().unwrap_or_default())? {
                messages.entry(uid).or_insert_with(|| Slot { uid: Some(uid), ..Slot::default() });
            }
        }
        let have: Vec<u32> = messages.keys().copied().collect();
        ensure!(
            have.len() == self.slots.len(),
            "after QRESYNC {} messages are known, and EXISTS says {}: {have:?}",
            have.len(),
            self.slots.len()
        );
        for (uid, sequence) in told {
            let at = have.binary_search(&uid).map_or(0, |place| place + 1);
            ensure!(at == sequence as usize, "UID {uid} is told as {sequence}, and is {at}");
        }
        self.slots = messages.into_values().collect();
        self.hear(news, Numbers::MayChange)?;
        Ok(())
    }

    /// Takes in untagged responses; answers the UIDs that went.
    pub(super) fn hear(
        &mut self,
        responses: &[Response],
        numbers: Numbers,
    ) -> anyhow::Result<Vec<u32>> {
        let mut gone = Vec::new();
        for response in responses {
            if let Some(count) = response.numbered("EXISTS") {
                let count = count as usize;
                ensure!(
                    count >= self.slots.len(),
                    "EXISTS goes down from {} without EXPUNGE: {}",
                    self.slots.len(),
                    response.raw
                );
                self.slots.resize(count, Slot::default());
            } else if let Some(sequence) = response.numbered("EXPUNGE") {
                ensure!(numbers == Numbers::MayChange, "EXPUNGE now: {}", response.raw);
                ensure!(!self.is_qresync, "EXPUNGE under QRESYNC: {}", response.raw);
                let slot = self.at(sequence, response)?.clone();
                self.slots.remove(sequence as usize - 1);
                gone.extend(slot.uid);
            } else if let Some(words) = response.named("VANISHED") {
                ensure!(numbers == Numbers::MayChange, "VANISHED now: {}", response.raw);
                ensure!(self.is_qresync, "VANISHED without QRESYNC: {}", response.raw);
                for uid in imap::numbers(&words[0].text().unwrap_or_default())? {
                    self.vanish(uid, response)?;
                    gone.push(uid);
                }
            } else if let Some(sequence) = response.numbered("FETCH") {
                self.fetched(sequence, response)?;
            }
        }
        Ok(gone)
    }

    fn vanish(&mut self, uid: u32, response: &Response) -> anyhow::Result<()> {
        let known = self.slots.iter().position(|slot| slot.uid == Some(uid));
        // It was announced, and went before we had asked which it is: one of those that stand
        // between smaller and larger UIDs.
        let unknown = || {
            let larger = self.slots.iter().position(|slot| slot.uid.is_some_and(|it| it > uid));
            let end = larger.unwrap_or(self.slots.len());
            let smaller = self.slots[..end].iter().rposition(|slot| slot.uid.is_some());
            let start = smaller.map_or(0, |place| place + 1);
            (start < end).then_some(start)
        };
        let Some(place) = known.or_else(unknown) else {
            bail!("UID {uid} vanishes and was never there: {}", response.raw);
        };
        self.slots.remove(place);
        Ok(())
    }

    fn fetched(&mut self, sequence: u32, response: &Response) -> anyhow::Result<()> {
        let new = read(response)?;
        if self.is_qresync {
            ensure!(new.uid.is_some(), "no UID under QRESYNC: {}", response.raw);
        }
        let place = sequence as usize;
        if let Some(uid) = new.uid {
            let before = self.slots[..place.min(self.slots.len()) - 1].iter().rev();
            let before = before.filter_map(|slot| slot.uid).next();
            let after = self.slots.get(place..).unwrap_or_default().iter();
            let after = after.filter_map(|slot| slot.uid).next();
            ensure!(
                before.is_none_or(|before| before < uid) && after.is_none_or(|after| uid < after),
                "UID {uid} lies between {before:?} and {after:?}: {}",
                response.raw
            );
        }
        let slot = self.at(sequence, response)?;
        if let (Some(old), Some(new)) = (slot.uid, new.uid) {
            ensure!(old == new, "number {sequence} was UID {old}: {}", response.raw);
        }
        if new.modseq > 0 {
            ensure!(new.modseq >= slot.modseq, "MODSEQ was {}: {}", slot.modseq, response.raw);
            slot.modseq = new.modseq;
        }
        slot.uid = slot.uid.or(new.uid);
        slot.flags = new.flags.or(slot.flags.take());
        Ok(())
    }

    fn at(&mut self, sequence: u32, response: &Response) -> anyhow::Result<&mut Slot> {
        let exists = self.slots.len();
        let slot = (sequence as usize).checked_sub(1).and_then(|place| self.slots.get_mut(place));
        slot.ok_or_else(|| anyhow::anyhow!("of {exists} messages: {}", response.raw))
    }

    pub(super) fn uids(&self) -> Vec<u32> {
        self.slots.iter().filter_map(|slot| slot.uid).collect()
    }

    /// Which part of the folder is still to be asked for.
    pub(super) fn unknown(&self) -> Option<String> {
        let first =
            self.slots.iter().position(|slot| slot.uid.is_none() || slot.flags.is_none())?;
        Some(format!("{}:*", first + 1))
    }

    /// After NOOP, a view is the folder.
    pub(super) fn differs(&self, truth: &FolderTruth) -> Option<String> {
        let uids: Vec<u32> = truth.messages.keys().copied().collect();
        if self.uids() != uids || self.slots.len() != uids.len() {
            return Some(format!("UIDs are {:?}, truly {uids:?}", self.uids()));
        }
        for (slot, (uid, message)) in self.slots.iter().zip(&truth.messages) {
            if slot.flags.as_ref() != Some(&message.flags) {
                return Some(format!("{uid} has {:?}, truly {:?}", slot.flags, message.flags));
            }
            if truth.highest_modseq > 0 && slot.modseq > truth.highest_modseq {
                let highest = truth.highest_modseq;
                return Some(format!("{uid}: {} is over HIGHESTMODSEQ {highest}", slot.modseq));
            }
        }
        None
    }

    pub(super) fn cache(self) -> Option<Cache> {
        let whole = self.slots.iter().all(|slot| slot.uid.is_some() && slot.flags.is_some());
        let messages = self.slots.into_iter().filter_map(|slot| Some((slot.uid?, slot)));
        whole.then(|| Cache { modseq: self.told_up_to, messages: messages.collect() })
    }
}

/// The items of a FETCH response that a view keeps.
fn read(response: &Response) -> anyhow::Result<Slot> {
    let uid = response.item("UID").and_then(Value::number);
    let modseq = response.item("MODSEQ").and_then(|value| value.list().first()?.number());
    let flags = response.item("FLAGS").map(|value| {
        let flags = value.list().iter().filter_map(Value::text);
        // It says something about sessions, not about the message.
        flags.filter(|flag| !flag.eq_ignore_ascii_case("\\Recent")).collect()
    });
    Ok(Slot { uid: uid.map(u32::try_from).transpose()?, flags, modseq: modseq.unwrap_or(0) })
}
