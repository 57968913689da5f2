//! Lists of rights: what is in them, how they lie in the store, what follows from them.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::folder::FolderId;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::rights::Right;
use crate::domain::rights::Rights;
use crate::domain::time::Timestamp;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::readers::ByFolder;
use crate::flow::mailbox::readers::EVERY_FOLDER;
use crate::flow::mailbox::rows;
use crate::infra::keys::Keyring;
use crate::infra::keys::MailboxKeys;
use crate::infra::store::row;

/// Rows `R/<keyed reader><mailbox>` -> the mailbox's address: where a reader may have rights.
const GRANTED: &[u8] = b"R/";
/// The reader of those rows for `anyone`. No keyed digest is this.
const ANYONE: [u8; 32] = [0; 32];

/// Of a list. Those of `rows::decode` have no beginnings.
const FORMAT: u8 = 100;

/// Whom an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identifier {
    name: Option<String>,
    negative: bool,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whom it is about.
    pub identifier: Identifier,
    /// What it gives, or takes away.
    pub rights: Rights,
    /// When it begins; it has begun when absent.
    pub since: Option<Timestamp>,
    /// When it ends.
    pub until: Option<Timestamp>,
}

/// What an identifier has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    rights: Rights,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// The lists of a mailbox, or some of them.
#[derive(Debug, Default)]
pub(super) struct Lists(ByFolder);

/// The stored form of an entry.
#[derive(Serialize, Deserialize)]
struct Row {
    name: Option<String>,
    negative: bool,
    rights: u16,
    since: Option<u64>,
    until: Option<u64>,
}

/// The same before entries could begin later.
#[derive(Deserialize)]
struct FirstRow {
    name: Option<String>,
    negative: bool,
    rights: u16,
    until: Option<u64>,
}

impl Identifier {
    /// From what a client wrote: an address or `anyone`, with `-` before it for rights that are
    /// taken away.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if text.eq_ignore_ascii_case("anyone") {
            return Some(Self { name: None, negative });
        }
        let address = Address::parse(text).ok()?;
        Some(Self { name: Some(address.lookup_form()), negative })
    }

    /// Somebody's address.
    pub fn of(address: &Address) -> Self {
        Self { name: Some(address.lookup_form()), negative: false }
    }

    /// The address; `None` for `anyone`.
    pub fn address(&self) -> Option<Address> {
        self.name.as_deref().and_then(|name| Address::parse(name).ok())
    }

    /// True when rights are taken away.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    fn is_about(&self, reader: &str) -> bool {
        self.name.as_deref().is_none_or(|name| name == reader)
    }

    /// True when it gives rights to this very address.
    pub(super) fn is(&self, owner: &str) -> bool {
        !self.negative && self.name.as_deref() == Some(owner)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        f.write_str(self.name.as_deref().unwrap_or("anyone"))
    }
}

impl Held {
    fn counts(&self, now: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= now) && !self.is_over(now)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// The owner of a mailbox can always repair its lists (RFC 4314 §3.4: rights always granted).
pub(super) fn kept_by_owner() -> Rights {
    Rights::from_iter([Right::Lookup, Right::Administer])
}

impl Lists {
    /// Reads a row. A damaged one grants nothing to anybody but the owner.
    pub(super) fn read(&mut self, keys: &MailboxKeys, folder: FolderId, sealed: &[u8]) {
        let clear = keys.open_index(&context(folder), sealed).ok();
        let Some(stored) = clear.and_then(|clear| stored(clear.expose())) else {
            tracing::error!(folder = folder.0, "a list of rights is damaged; it grants nothing");
            return;
        };
        let list = self.0.entry(folder.0).or_default();
        for Row { name, negative, rights, since, until } in stored {
            let held = Held {
                rights: Rights::from_bits(rights),
                since: since.map(Timestamp::from_millis),
                until: until.map(Timestamp::from_millis),
            };
            list.insert(Identifier { name, negative }, held);
        }
    }

    /// The row of a folder; `None` when it has no entry.
    pub(super) fn sealed(&self, keys: &MailboxKeys, folder: FolderId) -> Option<Vec<u8>> {
        self.sealed_for(keys, folder, folder)
    }

    /// The row of a folder, as the row of another one.
    pub(super) fn sealed_for(
        &self,
        keys: &MailboxKeys,
        folder: FolderId,
        to: FolderId,
    ) -> Option<Vec<u8>> {
        let list = self.0.get(&folder.0).filter(|list| !list.is_empty())?;
        let stored: Vec<Row> = list
            .iter()
            .map(|(identifier, held)| Row {
                name: identifier.name.clone(),
                negative: identifier.negative,
                rights: held.rights.bits(),
                since: held.since.map(Timestamp::as_millis),
                until: held.until.map(Timestamp::as_millis),
            })
            .collect();
        Some(keys.seal_index(&context(to), &row::encode(FORMAT, &stored)))
    }

    /// The entries that count in a folder now.
    fn counting(&self, folder: FolderId, now: Timestamp) -> BTreeMap<&Identifier, Held> {
        let every = self.0.get(&EVERY_FOLDER.0).into_iter().flatten();
        let own = self.0.get(&folder.0).into_iter().flatten();
        // The folder's own entry comes last, so it is the one that stays.
        let mut counting: BTreeMap<&Identifier, Held> =
            every.chain(own).map(|(identifier, held)| (identifier, *held)).collect();
        counting.retain(|_, held| held.counts(now));
        counting
    }

    /// What somebody may do in a folder.
    pub(super) fn rights(
        &self,
        folder: FolderId,
        owner: &str,
        reader: &str,
        now: Timestamp,
    ) -> Rights {
        let counting = self.counting(folder, now);
        let is_owner = reader == owner;
        let restricts_owner = counting.keys().any(|identifier| identifier.is(owner));
        let mut given = if is_owner && !restricts_owner { Rights::ALL } else { Rights::NONE };
        let mut taken = Rights::NONE;
        for (identifier, held) in counting.iter().filter(|(one, _)| one.is_about(reader)) {
            match identifier.negative {
                false => given = given.with(held.rights),
                true => taken = taken.with(held.rights),
            }
        }
        let rights = given.without(taken);
        if is_owner { rights.with(kept_by_owner()) } else { rights }
    }

    /// What an identifier has in a folder by entries of its own.
    pub(super) fn of_identifier(
        &self,
        folder: FolderId,
        owner: &str,
        identifier: &Identifier,
        now: Timestamp,
    ) -> Rights {
        let held = self.counting(folder, now).get(identifier).map(|held| held.rights);
        match held {
            Some(rights) => rights,
            None if identifier.is(owner) => Rights::ALL,
            None => Rights::NONE,
        }
    }

    /// What GETACL shows: the owner first; nobody without rights.
    pub(super) fn shown(&self, folder: FolderId, owner: &str, now: Timestamp) -> Vec<Grant> {
        let counting = self.counting(folder, now);
        let owner_held = counting.iter().find(|(identifier, _)| identifier.is(owner));
        let owner_rights = owner_held.map_or(Rights::ALL, |(_, held)| held.rights);
        let first = Grant {
            identifier: Identifier { name: Some(owner.to_owned()), negative: false },
            rights: owner_rights.with(kept_by_owner()),
            since: None,
            until: None,
        };
        let others = counting
            .iter()
            .filter(|(identifier, held)| !identifier.is(owner) && !held.rights.is_empty());
        let others = others.map(|(identifier, held)| Grant {
            identifier: (*identifier).clone(),
            rights: held.rights,
            since: held.since,
            until: held.until,
        });
        std::iter::once(first).chain(others).collect()
    }

    /// Sets an entry.
    pub(super) fn set(&mut self, folder: FolderId, grant: Grant) -> Result<(), MailboxError> {
        let Grant { identifier, rights, since, until } = grant;
        let is_for_all = |identifier: &Identifier| {
            folder != EVERY_FOLDER
                && self.0.get(&EVERY_FOLDER.0).is_some_and(|list| list.contains_key(identifier))
        };
        // An empty entry says that what the whole mailbox grants does not count here.
        let stays = !rights.is_empty() || is_for_all(&identifier);
        let list = self.0.entry(folder.0).or_default();
        if !stays {
            list.remove(&identifier);
            return Ok(());
        }
        list.insert(identifier, Held { rights, since, until });
        if list.len() > limits::ACL_ENTRIES_MAX {
            return Err(MailboxError::OverLimit("entries of one list of rights"));
        }
        Ok(())
    }

    /// Takes an entry away, in a folder.
    pub(super) fn remove(
        &mut self,
        folder: FolderId,
        identifier: &Identifier,
    ) -> Result<(), MailboxError> {
        if let Some(list) = self.0.get_mut(&folder.0) {
            list.remove(identifier);
        }
        self.set(
            folder,
            Grant {
                identifier: identifier.clone(),
                rights: Rights::NONE,
                since: None,
                until: None,
            },
        )
    }

    /// True when an identifier stands in a list.
    pub(super) fn has(&self, identifier: &Identifier) -> bool {
        self.0.values().any(|list| list.contains_key(identifier))
    }

    /// Takes an identifier out of every list; answers which lists changed.
    pub(super) fn forget(&mut self, identifier: &Identifier) -> Vec<FolderId> {
        let mut changed = Vec::new();
        for (folder, list) in &mut self.0 {
            if list.remove(identifier).is_some() {
                changed.push(FolderId(*folder));
            }
        }
        changed
    }

    /// Takes out what is over; answers which lists changed.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Vec<FolderId> {
        let mut changed = Vec::new();
        for (folder, list) in &mut self.0 {
            let before = list.len();
            list.retain(|_, held| !held.is_over(now));
            if list.len() < before {
                changed.push(FolderId(*folder));
            }
        }
        changed
    }

    /// Under which keys the mailbox shall be found: all who are granted something anywhere.
    pub(super) fn named(&self, keys: &Keyring, owner: &str) -> BTreeSet<[u8; 32]> {
        let granting = self.0.values().flatten().filter(|(identifier, held)| {
            !identifier.negative && !held.rights.is_empty() && !identifier.is(owner)
        });
        granting
            .filter_map(|(identifier, _)| match &identifier.name {
                None => Some(ANYONE),
                Some(name) => Some(keys.address_key(&Address::parse(name).ok()?)),
            })
            .collect()
    }
}

/// Reads a list, also one of the first format.
fn stored(clear: &[u8]) -> Option<Vec<Row>> {
    row::decode(FORMAT, clear).or_else(|| {
        let first: Vec<FirstRow> = rows::decode(clear)?;
        let row = |row: FirstRow| Row {
            name: row.name,
            negative: row.negative,
            rights: row.rights,
            since: None,
            until: row.until,
        };
        Some(first.into_iter().map(row).collect())
    })
}

fn context(folder: FolderId) -> Vec<u8> {
    [b"acl/".as_slice(), &folder.0.to_be_bytes()].concat()
}

/// Where mailboxes that grant this reader something are found; `None` for a patient.
pub(super) fn granted_prefix(keys: &Keyring, reader: &str) -> Option<Vec<u8>> {
    let address = Address::parse(reader).ok()?;
    Some([GRANTED, &keys.address_key(&address)].concat())
}

/// Where mailboxes that grant everybody something are found.
pub(super) fn granted_to_anyone() -> Vec<u8> {
    [GRANTED, &ANYONE].concat()
}

pub(in crate::flow::mailbox) fn reverse_key(reader: &[u8; 32], mailbox: &MailboxId) -> Vec<u8> {
    [GRANTED, reader, mailbox.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "team@h.test";
    const INBOX: FolderId = FolderId::INBOX;

    fn now() -> Timestamp {
        Timestamp::from_seconds(1_000)
    }

    fn lists(entries: &[(u32, &str, &str, Option<u64>)]) -> Lists {
        let mut lists = Lists::default();
        for (folder, identifier, letters, until) in entries {
            let identifier = Identifier::parse(identifier).unwrap();
            let rights = Rights::parse(letters).unwrap();
            let until = until.map(Timestamp::from_seconds);
            lists
                .0
                .entry(*folder)
                .or_default()
                .insert(identifier, Held { rights, since: None, until });
        }
        lists
    }

    fn of(lists: &Lists, reader: &str) -> String {
        lists.rights(INBOX, OWNER, reader, now()).to_string()
    }

    #[test]
    fn nobody_has_rights_by_themselves_but_the_owner_who_keeps_two_of_them() {
        let none = lists(&[]);
        assert_eq!(
            (of(&none, OWNER).as_str(), of(&none, "a@h.test").as_str()),
            ("lrswipkxtea", "")
        );
        let little = lists(&[(1, OWNER, "r", None), (1, "-anyone", "la", None)]);
        assert_eq!(of(&little, OWNER), "lra");
    }

    #[test]
    fn rights_of_anyone_and_of_a_name_add_up_and_negative_ones_win() {
        let some = lists(&[
            (1, "anyone", "lr", None),
            (1, "a@h.test", "sw", None),
            (1, "-a@h.test", "r", None),
        ]);
        assert_eq!(of(&some, "a@h.test"), "lsw");
        assert_eq!(of(&some, "b@h.test"), "lr");
    }

    #[test]
    fn a_folders_own_entry_counts_before_that_of_the_whole_mailbox() {
        let mut both = lists(&[(0, "a@h.test", "lrs", None), (1, "a@h.test", "l", None)]);
        assert_eq!(of(&both, "a@h.test"), "l");
        let identifier = Identifier::parse("A@H.test").unwrap();
        both.remove(INBOX, &identifier).unwrap();
        assert_eq!(of(&both, "a@h.test"), "");
        assert!(both.shown(INBOX, OWNER, now()).iter().all(|grant| grant.identifier != identifier));
        both.forget(&identifier);
        assert!(both.0.values().all(BTreeMap::is_empty));
    }

    #[test]
    fn what_has_ended_counts_no_more_the_moment_it_ends() {
        let ends = |at| lists(&[(0, "a@h.test", "lr", Some(at))]);
        assert_eq!(of(&ends(1_001), "a@h.test"), "lr");
        assert_eq!(of(&ends(1_000), "a@h.test"), "");
        assert_eq!(ends(1_000).sweep(now()), [EVERY_FOLDER]);
    }

    #[test]
    fn identifiers_are_addresses_or_anyone() {
        for (text, read) in [
            ("A.B@H.Test", Some("a.b@h.test")),
            ("-a@h.test", Some("-a@h.test")),
            ("Anyone", Some("anyone")),
            ("-anyone", Some("-anyone")),
            ("", None),
            ("a", None),
            ("--a@h.test", Some("--a@h.test")),
        ] {
            let read_as = Identifier::parse(text).map(|identifier| identifier.to_string());
            assert_eq!(read_as.as_deref(), read, "{text:?}");
        }
    }
}
