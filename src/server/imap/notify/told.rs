//! What NOTIFY tells of mailboxes that are not selected: LIST, STATUS and METADATA responses.
use crate::domain::folder::FolderId;
use crate::proto::imap::name::DELIMITER;
use crate::proto::imap::write;
use crate::server::imap::dialect::Dialect;
use crate::server::imap::notify::book::Book;
use crate::server::imap::notify::book::Known;
use crate::server::imap::notify::wish::Wanted;
use crate::server::imap::notify::wish::is_below;
use crate::server::imap::notify::wish::parent;
use crate::server::imap::shelf::Shelf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// A LIST response that nobody asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) attributes: Vec<&'static str>,
    pub(super) old_name: Option<String>,
}

/// What RFC 5465 §5.4 and §5.5 tell of names between two states of a mailbox.
pub(super) fn names_changed<M: Shelf>(
    book: &Book<M>,
    before: &BTreeMap<FolderId, Known>,
    wanted: impl Fn(&Known) -> Wanted,
) -> Vec<Listed> {
    let mut listed = Vec::new();
    // Parents of what was created or deleted are affected as well.
    let mut parents = BTreeSet::new();
    let renamed = |id: &FolderId, known: &Known| {
        before.get(id).filter(|old| old.name != known.name).map(|old| old.name.clone())
    };
    for (id, known) in &book.known {
        let wants = wanted(known);
        match before.get(id) {
            None => {
                if wants.names {
                    listed.push(Listed::of(book, known, None));
                }
                parents.extend(parent(&known.name));
            }
            Some(old) if old.name != known.name => {
                // RFC 5465 §5.4: children go with their parent, and are not told.
                let goes_along = book.known.iter().any(|(above, other)| {
                    renamed(above, other).is_some_and(|other_old| {
                        let rest = old.name.strip_prefix(&other_old);
                        let new_rest = known.name.strip_prefix(&other.name);
                        is_below(&other_old, &old.name) && rest == new_rest
                    })
                });
                if !goes_along && (wants.names || wanted(old).names) {
                    listed.push(Listed::of(book, known, Some(book.name_of(old))));
                }
            }
            Some(old) => {
                let regained = old.readable != known.readable && wants != Wanted::default();
                let subscription = old.subscribed != known.subscribed;
                // Of a group of subscribed mailboxes, what was subscribed counts as well.
                let wants = wants.subscriptions || wanted(old).subscriptions;
                if (subscription && wants) || regained {
                    listed.push(Listed::of(book, known, None));
                }
            }
        }
    }
    for (id, old) in before {
        if !book.known.contains_key(id) {
            if wanted(old).names {
                let name = book.name_of(old);
                let taken = book.known.values().find(|known| known.name == old.name);
                listed.push(match taken {
                    // Deleted and created again in between.
                    Some(known) => Listed::of(book, known, None),
                    None => Listed { name, attributes: vec!["\\NonExistent"], old_name: None },
                });
            }
            parents.extend(parent(&old.name));
        }
    }
    for above in parents {
        let known = book.known.values().find(|known| known.name == above);
        let Some(known) = known.filter(|known| wanted(known).names) else { continue };
        let one = Listed::of(book, known, None);
        if !listed.iter().any(|other| other.name == one.name) {
            listed.push(one);
        }
    }
    listed
}

impl Listed {
    pub(super) fn of<M: Shelf>(book: &Book<M>, known: &Known, old_name: Option<String>) -> Self {
        let mut attributes = Vec::new();
        if !known.readable {
            attributes.push("\\NoAccess");
        }
        let has_below = book.has_below(&known.name);
        attributes.push(if has_below { "\\HasChildren" } else { "\\HasNoChildren" });
        attributes.extend(known.subscribed.then_some("\\Subscribed"));
        attributes.extend(known.special_use);
        Self { name: book.name_of(known), attributes, old_name }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, dialect: Dialect) {
        let attributes = self.attributes.join(" ");
        write::text(out, format_args!("* LIST ({attributes}) \"{DELIMITER}\" "));
        dialect.write_name(out, &self.name);
        if let Some(old) = &self.old_name {
            out.extend_from_slice(b" (\"OLDNAME\" (");
            dialect.write_name(out, old);
            out.extend_from_slice(b"))");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// What STATUS tells besides MESSAGES and UIDNEXT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Items {
    pub(super) uid_validity: bool,
    pub(super) unseen: bool,
    pub(super) modseq: bool,
}

pub(super) fn write_status(
    out: &mut Vec<u8>,
    dialect: Dialect,
    name: &str,
    known: &Known,
    items: Items,
) {
    out.extend_from_slice(b"* STATUS ");
    dialect.write_name(out, name);
    let Known { exists, uid_next, uid_validity, unseen, modseq, .. } = known;
    write::text(out, format_args!(" (MESSAGES {exists} UIDNEXT {uid_next}"));
    if items.uid_validity {
        write::text(out, format_args!(" UIDVALIDITY {uid_validity}"));
    }
    if items.unseen {
        write::text(out, format_args!(" UNSEEN {unseen}"));
    }
    if items.modseq {
        write::text(out, format_args!(" HIGHESTMODSEQ {modseq}"));
    }
    out.extend_from_slice(b")\r\n");
}

/// RFC 5465 §5.6, RFC 5464 §4.4.2: which annotations have changed, not what they say.
pub(super) fn write_annotated(out: &mut Vec<u8>, dialect: Dialect, name: &str, entries: &[String]) {
    if entries.is_empty() {
        return;
    }
    out.extend_from_slice(b"* METADATA ");
    dialect.write_name(out, name);
    for entry in entries {
        out.push(b' ');
        match entry.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"/-_.".contains(&octet)) {
            true => out.extend_from_slice(entry.as_bytes()),
            false => write::string(out, entry.as_bytes()),
        }
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_no_access(out: &mut Vec<u8>, dialect: Dialect, name: &str) {
    write::text(out, format_args!("* LIST (\\NoAccess) \"{DELIMITER}\" "));
    dialect.write_name(out, name);
    out.extend_from_slice(b"\r\n");
}
