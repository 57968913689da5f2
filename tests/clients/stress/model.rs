//! What must be in the mailboxes, whatever the order in which many sessions acted.
//!
//! Two ideas make one right outcome of any interleaving. Each flag of each copy has one writer: a
//! client's own keyword is written by it alone, the other flags by whoever made the copy. And
//! each copy has a place (mailbox, UIDVALIDITY, UID) that is never used again: APPENDUID and
//! COPYUID say what came to be, and what a move took away; so the set of places that are left
//! does not depend on the order in which we hear of them.
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Where a copy lies: number of the mailbox, UIDVALIDITY, UID.
pub(super) type Place = (usize, u32, u32);

/// What tells a letter from all others.
pub(super) type Token = String;

/// The whole state of the relay: each folder of each mailbox, as a fresh session reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Truth {
    pub(super) folders: BTreeMap<(usize, String), FolderTruth>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FolderTruth {
    pub(super) uid_validity: u32,
    pub(super) uid_next: u32,
    pub(super) highest_modseq: u64,
    /// By UID.
    pub(super) messages: BTreeMap<u32, MessageTruth>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageTruth {
    pub(super) flags: BTreeSet<String>,
    pub(super) token: Token,
    pub(super) digest: String,
}

/// Where a copy has its flags from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// Filed or delivered: what is not listed is not set.
    Filed,
    /// Moved: what was not written since is as it was when it left that place.
    Moved(Place),
    /// Copied: other writers may have been busy, so what the copier did not know is not known.
    Copied(Place),
}

#[derive(Clone, Debug)]
struct Copy {
    origin: Origin,
    token: Option<Token>,
    owner: Option<usize>,
    written: BTreeMap<String, bool>,
    /// Somebody began to mark it `\Deleted`, so an expunge may take it.
    may_be_marked: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) name: String,
    /// Only this client renames or deletes it; nobody does that to the shared ones.
    pub(super) keeper: Option<usize>,
    pub(super) is_gone: bool,
}

/// The model. Its methods note what sessions were told; `check` compares all with the truth.
#[derive(Default)]
pub(super) struct Model {
    copies: BTreeMap<Place, Copy>,
    /// No longer there: moved away, or expunged by its owner with success.
    left: BTreeSet<Place>,
    /// Those of them that a move took away: that can happen once.
    moved: BTreeSet<Place>,
    told_gone: BTreeMap<Place, usize>,
    seen: BTreeMap<Place, Token>,
    letters: BTreeMap<Token, String>,
    /// Delivered by SMTP into the INBOX of a mailbox; their UIDs are learnt later.
    sent: BTreeMap<Token, usize>,
    pub(super) folders: BTreeMap<(usize, u32), Folder>,
    pub(super) done: BTreeMap<&'static str, usize>,
}

impl Model {
    pub(super) fn filed(
        &mut self,
        place: Place,
        owner: usize,
        (token, digest): (Token, String),
        flags: &[String],
    ) -> anyhow::Result<()> {
        self.letters.insert(token.clone(), digest);
        let written = flags.iter().map(|flag| (flag.clone(), true)).collect();
        let token = Some(token);
        let copy = Copy {
            origin: Origin::Filed,
            token,
            owner: Some(owner),
            written,
            may_be_marked: false,
        };
        self.put(place, copy)
    }

    pub(super) fn will_be_sent(&mut self, mailbox: usize, token: Token, digest: String) {
        self.letters.insert(token.clone(), digest);
        self.sent.insert(token, mailbox);
    }

    pub(super) fn copied(&mut self, from: Place, to: Place, by: usize) -> anyhow::Result<()> {
        let source = self.known(from);
        // What the copier itself wrote, it knows.
        let own = keyword(by);
        let is_owner = source.owner == Some(by);
        let mut written = BTreeMap::new();
        if let Some(value) = self.value(from, &own) {
            written.insert(own, value);
        }
        for flag in SYSTEM_FLAGS.into_iter().filter(|_| is_owner) {
            if let Some(value) = self.value(from, flag) {
                written.insert(flag.to_owned(), value);
            }
        }
        let may_be_marked = self.may_be_marked(from);
        let origin = Origin::Copied(from);
        self.put(to, Copy { origin, token: None, owner: Some(by), written, may_be_marked })
    }

    pub(super) fn moved(&mut self, from: Place, to: Place) -> anyhow::Result<()> {
        let owner = self.known(from).owner;
        // An expunge by its owner may have found it gone already, and be heard of before.
        self.left.insert(from);
        if !self.moved.insert(from) {
            anyhow::bail!("{from:?} was moved twice; the second time to {to:?}");
        }
        let origin = Origin::Moved(from);
        let copy =
            Copy { origin, token: None, owner, written: BTreeMap::new(), may_be_marked: false };
        self.put(to, copy)
    }

    fn put(&mut self, place: Place, copy: Copy) -> anyhow::Result<()> {
        match self.copies.insert(place, copy) {
            Some(old) => anyhow::bail!("the place {place:?} was given twice, first to {old:?}"),
            None => Ok(()),
        }
    }

    /// A place that we hear of for the first time is a delivered letter's.
    fn known(&mut self, place: Place) -> &mut Copy {
        self.copies.entry(place).or_insert_with(|| Copy {
            origin: Origin::Filed,
            token: None,
            owner: None,
            written: BTreeMap::new(),
            may_be_marked: false,
        })
    }

    /// A STORE that the relay confirmed for this place.
    pub(super) fn wrote(&mut self, place: Place, flag: &str, value: bool) {
        self.known(place).written.insert(flag.to_owned(), value);
    }

    pub(super) fn will_mark(&mut self, place: Place) {
        self.known(place).may_be_marked = true;
    }

    /// Its owner expunged it by UID and was told that this worked.
    pub(super) fn expunged(&mut self, place: Place) {
        self.left.insert(place);
    }

    /// A session heard EXPUNGE or VANISHED.
    pub(super) fn heard_gone(&mut self, place: Place, by: usize) {
        self.told_gone.insert(place, by);
    }

    /// A session read this letter there.
    pub(super) fn saw(&mut self, place: Place, token: &str) -> anyhow::Result<()> {
        match self.seen.insert(place, token.to_owned()) {
            Some(other) if other != token => {
                anyhow::bail!("{place:?} held {other} and now holds {token}")
            }
            _ => Ok(()),
        }
    }

    /// UIDs in a folder whose flags this client may write.
    pub(super) fn owned(&self, (mailbox, validity): (usize, u32), by: usize) -> Vec<u32> {
        let range = (mailbox, validity, 0)..=(mailbox, validity, u32::MAX);
        let here = self.copies.range(range);
        let mine =
            here.filter(|(place, copy)| copy.owner == Some(by) && !self.left.contains(place));
        mine.map(|(place, _)| place.2).collect()
    }

    /// The flag's value if there can be only one.
    fn value(&self, place: Place, flag: &str) -> Option<bool> {
        let copy = self.copies.get(&place)?;
        if let Some(value) = copy.written.get(flag) {
            return Some(*value);
        }
        match copy.origin {
            Origin::Filed => Some(false),
            Origin::Moved(from) => self.value(from, flag),
            Origin::Copied(_) => None,
        }
    }

    fn may_be_marked(&self, place: Place) -> bool {
        let Some(copy) = self.copies.get(&place) else { return false };
        copy.may_be_marked
            || match copy.origin {
                Origin::Filed => false,
                Origin::Moved(from) | Origin::Copied(from) => self.may_be_marked(from),
            }
    }

    fn root(&self, place: Place) -> Place {
        match self.copies.get(&place).map(|copy| copy.origin) {
            Some(Origin::Moved(from) | Origin::Copied(from)) => self.root(from),
            _ => place,
        }
    }

    /// Everything that sessions were told, against what is there. All sessions rest. Then the
    /// model forgets how it came so, and goes on from the truth.
    pub(super) fn check(&mut self, truth: &Truth) -> Vec<String> {
        let mut wrong = self.check_folders(truth);
        let mut there = BTreeMap::new();
        for ((mailbox, _), folder) in &truth.folders {
            for (uid, message) in &folder.messages {
                there.insert((*mailbox, folder.uid_validity, *uid), message);
            }
        }
        let gone: BTreeSet<(usize, u32)> =
            self.folders.iter().filter(|(_, folder)| folder.is_gone).map(|(key, _)| *key).collect();
        let is_gone = |place: &Place| gone.contains(&(place.0, place.1));
        // Letters that were delivered are learnt by what they hold.
        for (place, message) in &there {
            let root = self.root(*place);
            let copy = self.known(root);
            if copy.token.is_none() {
                copy.token = Some(message.token.clone());
                if self.sent.remove(&message.token) != Some(root.0) {
                    wrong.push(format!("{} at {place:?} came from nowhere", message.token));
                }
            }
        }
        self.check_sent(&mut wrong);
        for (place, copy) in &self.copies {
            let token = self.copies[&self.root(*place)].token.as_deref();
            match there.get(place) {
                Some(_) if self.left.contains(place) => {
                    wrong.push(format!("{place:?} {token:?} was moved or expunged, and is there"));
                }
                Some(_) if self.told_gone.contains_key(place) => {
                    let by = self.told_gone[place];
                    wrong.push(format!("client {by} heard that {place:?} is gone; it is there"));
                }
                Some(message) => self.check_message(*place, token, message, &mut wrong),
                None if self.left.contains(place) || is_gone(place) => {}
                None if self.may_be_marked(*place) => {}
                None => wrong.push(format!("{place:?} {token:?} is lost; {copy:?}")),
            }
        }
        for (place, by) in &self.told_gone {
            let may_be = self.left.contains(place) || self.may_be_marked(*place) || is_gone(place);
            if !may_be {
                wrong.push(format!("client {by} heard that {place:?} is gone; nobody removed it"));
            }
        }
        for (place, token) in &self.seen {
            let known = self.copies.get(&self.root(*place)).and_then(|copy| copy.token.as_ref());
            if known.is_some_and(|known| known != token) {
                wrong.push(format!("{token} was seen at {place:?}, where {known:?} lies"));
            }
        }
        self.go_on_from(&there);
        wrong
    }

    fn check_folders(&self, truth: &Truth) -> Vec<String> {
        let here = self.folders.iter().filter(|(_, folder)| !folder.is_gone);
        let expected: BTreeMap<(usize, &str), u32> =
            here.map(|(key, folder)| ((key.0, folder.name.as_str()), key.1)).collect();
        let found: BTreeMap<(usize, &str), u32> = truth
            .folders
            .iter()
            .map(|((mailbox, name), folder)| ((*mailbox, name.as_str()), folder.uid_validity))
            .collect();
        if expected == found {
            return Vec::new();
        }
        vec![format!("folders are {found:?}, expected {expected:?}")]
    }

    /// Letters that were acknowledged are there, but for those that were moved and removed
    /// before anybody read them.
    fn check_sent(&mut self, wrong: &mut Vec<String>) {
        for (place, token) in &self.seen {
            let root = self.root(*place);
            if let Some(copy) = self.copies.get_mut(&root)
                && copy.token.is_none()
                && self.sent.remove(token).is_some()
            {
                copy.token = Some(token.clone());
            }
        }
        let nameless = self
            .copies
            .values()
            .filter(|copy| matches!(copy.origin, Origin::Filed) && copy.token.is_none());
        let nameless = nameless.count();
        if self.sent.len() > nameless {
            wrong.push(format!("acknowledged and lost ({nameless} unread): {:?}", self.sent));
        }
        self.sent.clear();
    }

    fn check_message(
        &self,
        place: Place,
        token: Option<&str>,
        message: &MessageTruth,
        wrong: &mut Vec<String>,
    ) {
        if token != Some(&message.token) {
            wrong.push(format!("{place:?} holds {}, expected {token:?}", message.token));
        }
        if self.letters.get(&message.token) != Some(&message.digest) {
            wrong.push(format!("{place:?} {token:?} is not what was filed or sent"));
        }
        let keywords = self.copies[&place].written.keys().cloned();
        let known = keywords.chain(message.flags.iter().cloned());
        for flag in known.collect::<BTreeSet<_>>() {
            let is_set = message.flags.contains(&flag);
            if self.value(place, &flag).is_some_and(|value| value != is_set) {
                let copy = &self.copies[&place];
                wrong.push(format!("{place:?} {token:?}: {flag} is {is_set}; {copy:?}"));
            }
        }
    }

    fn go_on_from(&mut self, there: &BTreeMap<Place, &MessageTruth>) {
        let old = std::mem::take(&mut self.copies);
        for (place, message) in there {
            let written = message.flags.iter().map(|flag| (flag.clone(), true)).collect();
            let copy = Copy {
                origin: Origin::Filed,
                token: Some(message.token.clone()),
                // A letter that nobody of us filed belongs to the client that has the number of
                // the mailbox: somebody must be able to remove it.
                owner: old.get(place).and_then(|copy| copy.owner).or(Some(place.0)),
                written,
                may_be_marked: message.flags.contains("\\Deleted"),
            };
            self.copies.insert(*place, copy);
        }
        self.left.clear();
        self.moved.clear();
        self.told_gone.clear();
        self.seen.clear();
        // Places stay used for ever: remember those that were, so that none is given twice.
        for (place, copy) in old {
            if !self.copies.contains_key(&place) {
                self.left.insert(place);
                self.copies.insert(place, Copy { origin: Origin::Filed, ..copy });
            }
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }
}

/// The flags that only the owner of a copy writes.
pub(super) const SYSTEM_FLAGS: [&str; 5] =
    ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted"];

/// The keyword that only this client writes.
pub(super) fn keyword(client: usize) -> String {
    format!("$Client{client}")
}
