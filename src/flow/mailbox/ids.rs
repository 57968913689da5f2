//! Names that last (RFC 8474): of a content, a conversation, a folder. None of them says anything
//! of what it names, and none is used twice.
use aws_lc_rs::digest;

use crate::domain::envelope::BlobId;
use crate::domain::folder::ThreadId;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::OpenMailbox;
use crate::infra::keys::MailboxKeys;
use crate::proto::mime::summary;
use crate::proto::mime::thread;

/// A Message-ID as a mailbox looks for it: keyed, so that it says nothing to whoever reads the disk.
pub type Named = [u8; 16];

/// Octets of a digest that a name keeps: two names are never the same by chance.
const NAME_OCTETS: usize = 16;

impl Entry {
    /// RFC 8474 §5.1 EMAILID: the same content has the same name, in every folder that a copy of
    /// it lies in. A digest, because contents' own names tell when they were made.
    pub fn email_id(&self) -> String {
        let named = [b"email id/".as_slice(), self.blob.as_bytes()].concat();
        let digest = digest::digest(&digest::SHA256, &named);
        name('M', &digest.as_ref()[..NAME_OCTETS])
    }

    /// RFC 8474 §5.2 THREADID: messages that answer each other have the same.
    pub fn thread_id(&self) -> String {
        name('T', &self.thread.0)
    }
}

impl OpenMailbox {
    /// RFC 8474 §4.1 MAILBOXID: stays when the folder is renamed, and is never given again.
    pub fn mailbox_id(&self, folder: &Folder) -> String {
        let numbers = [folder.id.0.to_be_bytes(), folder.uid_validity.to_be_bytes()].concat();
        let digest = self.slot.keys.digest(&[b"mailbox id/".as_slice(), &numbers].concat());
        name('F', &digest[..NAME_OCTETS])
    }
}

/// The conversation of a letter, from its stored summary: everybody who names the same root is in
/// it. A letter that names nobody, itself included, is a conversation of its own.
pub(super) fn thread(keys: &MailboxKeys, summary: &[u8], blob: &BlobId) -> ThreadId {
    let root = summary::decode(summary).and_then(|summary| thread::root(&summary));
    let named = match root {
        Some(root) => [b"thread/".as_slice(), &root].concat(),
        None => [b"thread of one/".as_slice(), blob.as_bytes()].concat(),
    };
    let digest = keys.digest(&named);
    ThreadId(*digest.first_chunk().expect("a digest has 32 octets"))
}

/// Under which name a letter is found by its Message-ID, from its stored summary; `None` when it
/// has none.
pub(super) fn named(keys: &MailboxKeys, summary: &[u8]) -> Option<Named> {
    let envelope = summary::decode(summary)?.envelope;
    let id = thread::message_ids(envelope.message_id.as_deref()?).next()?;
    Some(named_by(keys, &id))
}

/// The same of a Message-ID that another letter names.
pub(super) fn named_by(keys: &MailboxKeys, id: &[u8]) -> Named {
    let digest = keys.digest(&[b"message id/".as_slice(), id].concat());
    *digest.first_chunk().expect("a digest has 32 octets")
}

fn name(kind: char, octets: &[u8]) -> String {
    octets.iter().fold(String::from(kind), |name, octet| format!("{name}{octet:02x}"))
}
