//! How filters lie in the store. Scripts name people and what they are ill with, so all of it is
//! sealed with the mailbox's keys.
//!
//! | key | value |
//! |---|---|
//! | `M/<mailbox>/v/i` | index: names, sizes, which one is active; each change of scripts meets its version |
//! | `M/<mailbox>/v/s<number>` | one script |
//! | `M/<mailbox>/v/w` | an absence that an administrator recorded |
//! | `M/<mailbox>/v/a<keyed digest>` | until when a sender is not answered again |
use serde::Deserialize;
use serde::Serialize;

use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::infra::keys::MailboxKeys;
use crate::infra::store::row;

const FORMAT: u8 = 1;

/// The scripts of a mailbox.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) scripts: Vec<IndexEntry>,
    pub(super) active: Option<u32>,
    /// The number that the next text gets.
    pub(super) next: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct IndexEntry {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) octets: u32,
}

impl Index {
    pub(super) fn find(&self, name: &str) -> Option<&IndexEntry> {
        self.scripts.iter().find(|entry| entry.name == name)
    }
}

fn key(mailbox: &MailboxId, part: &[u8]) -> Vec<u8> {
    [b"M/".as_slice(), mailbox.as_bytes(), b"/v/", part].concat()
}

pub(super) fn index_key(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b"i")
}

pub(super) fn script_key(mailbox: &MailboxId, number: u32) -> Vec<u8> {
    key(mailbox, &[b"s".as_slice(), &number.to_be_bytes()].concat())
}

pub(super) fn absence_key(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b"w")
}

pub(super) fn answered_prefix(mailbox: &MailboxId) -> Vec<u8> {
    key(mailbox, b"a")
}

pub(super) fn answered_key(mailbox: &MailboxId, digest: &[u8; 32]) -> Vec<u8> {
    key(mailbox, &[b"a".as_slice(), digest].concat())
}

pub(super) fn seal_index(keys: &MailboxKeys, index: &Index) -> Vec<u8> {
    keys.seal_index(b"sieve/index", &row::encode(FORMAT, index))
}

pub(super) fn open_index(keys: &MailboxKeys, sealed: &[u8]) -> Option<Index> {
    row::decode(FORMAT, keys.open_index(b"sieve/index", sealed).ok()?.expose())
}

fn script_context(number: u32) -> Vec<u8> {
    [b"sieve/script/".as_slice(), &number.to_be_bytes()].concat()
}

pub(super) fn seal_script(keys: &MailboxKeys, number: u32, text: &[u8]) -> Vec<u8> {
    keys.seal_index(&script_context(number), text)
}

pub(super) fn open_script(
    keys: &MailboxKeys,
    number: u32,
    sealed: &[u8],
) -> Option<Secret<Vec<u8>>> {
    keys.open_index(&script_context(number), sealed).ok()
}
