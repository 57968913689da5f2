//! Commands on mailboxes as a whole: LIST, LSUB, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE.
use std::collections::BTreeMap;

use crate::domain::folder::SpecialUse;
use crate::domain::limits;
use crate::domain::rights::Rights;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::proto::imap::command::List;
use crate::proto::imap::command::Selection;
use crate::proto::imap::command::StatusItem;
use crate::proto::imap::name;
use crate::proto::imap::name::DELIMITER;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::name::Pattern;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;

/// A folder, and the mailbox that it is in: the own one, or one of others.
pub(super) struct Place<M> {
    /// The mailbox.
    pub(super) shelf: M,
    /// The folder.
    pub(super) folder: Folder,
    /// What this login may do there.
    pub(super) rights: Rights,
}

/// The folder of a name.
pub(super) async fn find<D: Desk>(
    _desk: &D,
    own: &D::Shelf,
    name: &MailboxName,
) -> Result<Place<D::Shelf>, MailboxError> {
    let folders = own.folders().await?;
    let wanted = name.as_str();
    let folder = folders.into_iter().find(|folder| folder.name == wanted);
    let folder = folder.ok_or(MailboxError::NoSuchFolder)?;
    let rights = own.rights(folder.id).await?;
    Ok(Place { shelf: own.clone(), folder, rights })
}

/// The folder that APPEND, COPY or MOVE wants to fill.
pub(super) async fn find_target<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    name: &MailboxName,
) -> Result<Place<D::Shelf>, Halt> {
    match find(desk, own, name).await {
        // RFC 3501 §6.3.11: a hint that CREATE would help, when it would.
        Err(MailboxError::NoSuchFolder) if name.for_new_folder().is_some() => {
            Err(Answer::no("TRYCREATE", "No such mailbox; it can be created").into())
        }
        Err(MailboxError::NoSuchFolder) => Err(Answer::no("CANNOT", "No such mailbox").into()),
        other => Ok(other?),
    }
}

/// CREATE
pub(super) async fn create<M: Shelf>(
    shelf: &M,
    mailbox: &MailboxName,
    special_use: &[SpecialUse],
) -> Done {
    let name = mailbox.for_new_folder().ok_or_else(cannot_be_named)?;
    let special_use = match special_use {
        [] => None,
        [one] => Some(*one),
        // RFC 6154 §3: a server may refuse a combination of uses.
        _ => return Err(Answer::no("USEATTR", "A mailbox has one special use").into()),
    };
    let folders = shelf.folders().await?;
    if special_use.is_some() && folders.iter().any(|folder| folder.special_use == special_use) {
        return Err(Answer::no("USEATTR", "Another mailbox has this special use").into());
    }
    if folders.iter().any(|folder| folder.name == name.as_str()) {
        return Err(MailboxError::FolderExists.into());
    }
    create_parents(shelf, &folders, &name).await?;
    shelf.create_folder(name.as_str(), special_use).await?;
    Ok(Answer::ok("Created"))
}

/// RENAME
pub(super) async fn rename<M: Shelf>(shelf: &M, from: &MailboxName, to: &MailboxName) -> Done {
    let to = to.for_new_folder().ok_or_else(cannot_be_named)?;
    let folders = shelf.folders().await?;
    let folder = folders
        .iter()
        .find(|folder| folder.name == from.as_str())
        .ok_or(MailboxError::NoSuchFolder)?;
    if folders.iter().any(|folder| folder.name == to.as_str()) {
        return Err(MailboxError::FolderExists.into());
    }
    // RFC 3501 §6.3.5: renaming INBOX moves its messages and leaves it, and what is below it,
    // where they are.
    if from.as_str() != "INBOX" {
        if to.parents().any(|parent| parent == from.as_str()) {
            return Err(Answer::no("CANNOT", "A mailbox cannot move into itself").into());
        }
        let below = folders.iter().filter_map(|folder| {
            folder.name.strip_prefix(from.as_str()).filter(|rest| rest.starts_with(DELIMITER))
        });
        for rest in below {
            let name = format!("{}{rest}", to.as_str());
            if folders.iter().any(|folder| folder.name == name) {
                return Err(MailboxError::FolderExists.into());
            }
        }
    }
    create_parents(shelf, &folders, &to).await?;
    shelf.rename_folder(folder.id, to.as_str()).await?;
    Ok(Answer::ok("Renamed"))
}

/// RFC 3501 §6.3.3 and §6.3.5: names above a new one are created as well.
async fn create_parents<M: Shelf>(
    shelf: &M,
    folders: &[Folder],
    name: &MailboxName,
) -> Result<(), MailboxError> {
    for parent in name.parents() {
        if folders.iter().any(|folder| folder.name == parent) {
            continue;
        }
        match shelf.create_folder(parent, None).await {
            Ok(_) | Err(MailboxError::FolderExists) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn cannot_be_named() -> Halt {
    Answer::no("CANNOT", "A mailbox cannot have that name").into()
}

/// STATUS
pub(super) async fn status<D: Desk, S: Stream>(
    desk: &D,
    own: &D::Shelf,
    line: &mut Line<S>,
    mailbox: &MailboxName,
    items: &[StatusItem],
) -> Done {
    let place = find(desk, own, mailbox).await?;
    write_status(line.out(), &place.folder, items);
    Ok(Answer::ok("Done"))
}

fn write_status(out: &mut Vec<u8>, folder: &Folder, items: &[StatusItem]) {
    out.extend_from_slice(b"* STATUS ");
    write::string(out, name::encode(&folder.name).as_bytes());
    for (index, item) in items.iter().enumerate() {
        let value = match item {
            StatusItem::Messages => u64::from(folder.exists),
            StatusItem::Recent => 0,
            StatusItem::UidNext => u64::from(folder.uid_next.0),
            StatusItem::UidValidity => u64::from(folder.uid_validity),
            StatusItem::Unseen => u64::from(folder.unseen),
            StatusItem::Size => folder.octets,
            StatusItem::HighestModSeq => folder.highest_modseq.0,
            _ => continue,
        };
        out.extend_from_slice(if index == 0 { b" (" } else { b" " });
        write::text(out, format_args!("{} {value}", item.name()));
    }
    out.extend_from_slice(b")\r\n");
}

/// LIST
pub(super) async fn list<M: Shelf, S: Stream>(shelf: &M, line: &mut Line<S>, list: &List) -> Done {
    // RFC 3501 §6.3.8: an empty pattern asks for the delimiter and the root of the reference.
    if !list.extended && list.patterns[0].as_str().is_empty() {
        line.out().extend_from_slice(b"* LIST (\\Noselect) \"/\" \"\"\r\n");
        return Ok(Answer::ok("Done"));
    }
    let octets: usize = list.patterns.iter().map(|pattern| pattern.as_str().len()).sum();
    if octets + list.reference.as_str().len() > limits::IMAP_PATTERN_OCTETS_MAX {
        return Err(Answer::no("LIMIT", "The patterns are too long").into());
    }
    let folders = shelf.folders().await?;
    for listed in listing(&folders, list) {
        listed.write(line.out(), "LIST");
        let status = list.returns.as_ref().map(|returns| &returns.status[..]).unwrap_or_default();
        if let (Some(folder), [_, ..]) = (listed.folder, status) {
            write_status(line.out(), folder, status);
        }
        line.relieve().await?;
    }
    Ok(Answer::ok("Done"))
}

/// LSUB
pub(super) async fn lsub<M: Shelf, S: Stream>(
    shelf: &M,
    line: &mut Line<S>,
    reference: &MailboxName,
    pattern: &Pattern,
) -> Done {
    if pattern.as_str().len() + reference.as_str().len() > limits::IMAP_PATTERN_OCTETS_MAX {
        return Err(Answer::no("LIMIT", "The pattern is too long").into());
    }
    let pattern = pattern.below(reference.as_str());
    let folders = shelf.folders().await?;
    let mut names: BTreeMap<&str, bool> = BTreeMap::new();
    for folder in folders.iter().filter(|folder| folder.subscribed) {
        if pattern.matches(&folder.name) {
            names.insert(&folder.name, true);
            continue;
        }
        // RFC 3501 §6.3.9: `%` shows the level above a subscribed name, as \Noselect.
        for parent in parents(&folder.name).filter(|parent| pattern.matches(parent)) {
            names.entry(parent).or_insert(false);
        }
    }
    for (name, is_subscribed) in names {
        let attributes = if is_subscribed { Vec::new() } else { vec!["\\Noselect"] };
        Listed { name, attributes, child_info: Vec::new(), folder: None }.write(line.out(), "LSUB");
    }
    Ok(Answer::ok("Done"))
}

/// One line of a listing.
#[derive(Debug)]
struct Listed<'a> {
    name: &'a str,
    attributes: Vec<&'static str>,
    child_info: Vec<&'static str>,
    folder: Option<&'a Folder>,
}

/// What LIST answers, in the order of the folders.
fn listing<'a>(folders: &'a [Folder], list: &List) -> Vec<Listed<'a>> {
    let patterns: Vec<Pattern> =
        list.patterns.iter().map(|pattern| pattern.below(list.reference.as_str())).collect();
    // Names above a folder whose own folder was deleted still are levels of the hierarchy.
    let mut names: BTreeMap<&str, Option<&Folder>> = BTreeMap::new();
    for folder in folders {
        names.insert(&folder.name, Some(folder));
        for parent in parents(&folder.name) {
            names.entry(parent).or_insert(None);
        }
    }
    let has_below = |name: &str, is_wanted: &dyn Fn(&Folder) -> bool| {
        folders.iter().any(|folder| is_below(&folder.name, name) && is_wanted(folder))
    };
    let selection = list.selection;
    let shows_subscribed =
        selection.subscribed || list.returns.as_ref().is_some_and(|returns| returns.subscribed);
    let mut listed = Vec::new();
    for (name, folder) in names {
        if !patterns.iter().any(|pattern| pattern.matches(name)) {
            continue;
        }
        let is_selected = folder
            .map_or(!selection.subscribed && !selection.special_use, |folder| {
                selects(selection, folder)
            });
        let mut child_info = Vec::new();
        if selection.recursive && has_below(name, &|folder| selects(selection, folder)) {
            // RFC 5258 §4: which options made a folder below this one match.
            child_info.extend(selection.subscribed.then_some("SUBSCRIBED"));
            child_info.extend(selection.special_use.then_some("SPECIAL-USE"));
        }
        if !is_selected && child_info.is_empty() {
            continue;
        }
        let mut attributes = Vec::new();
        if folder.is_none() {
            attributes.extend(list.extended.then_some("\\NonExistent"));
            attributes.push("\\Noselect");
        }
        let has_children = has_below(name, &|_| true);
        attributes.push(if has_children { "\\HasChildren" } else { "\\HasNoChildren" });
        if let Some(folder) = folder {
            attributes.extend((shows_subscribed && folder.subscribed).then_some("\\Subscribed"));
            attributes.extend(folder.special_use.map(SpecialUse::attribute));
        }
        listed.push(Listed { name, attributes, child_info, folder });
    }
    // INBOX first, for people who read the list; the rest is in order already.
    listed.sort_by_key(|listed| listed.name != "INBOX");
    listed
}

impl Listed<'_> {
    fn write(&self, out: &mut Vec<u8>, response: &str) {
        let attributes = self.attributes.join(" ");
        write::text(out, format_args!("* {response} ({attributes}) \"{DELIMITER}\" "));
        write::string(out, name::encode(self.name).as_bytes());
        if !self.child_info.is_empty() {
            let quoted: Vec<String> =
                self.child_info.iter().map(|option| format!("\"{option}\"")).collect();
            write::text(out, format_args!(" (\"CHILDINFO\" ({}))", quoted.join(" ")));
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn selects(selection: Selection, folder: &Folder) -> bool {
    (!selection.subscribed || folder.subscribed)
        && (!selection.special_use || folder.special_use.is_some())
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent).is_some_and(|rest| rest.starts_with(DELIMITER))
}

fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices(DELIMITER).map(|(at, _)| &name[..at])
}
