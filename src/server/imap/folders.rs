//! Commands on mailboxes as a whole: STATUS, CREATE, DELETE, RENAME, SUBSCRIBE; LIST and LSUB are
//! in `listing`.
//!
//! A name leads into the own mailbox, or below `Other Users/<address>/` into somebody else's
//! (RFC 2342 §5). Whoever may not know of a folder is answered as if there were none: both come to
//! the same place in the code, `find`.
mod listing;

use crate::domain::folder::FolderId;
use crate::domain::folder::SpecialUse;
use crate::domain::mailbox::MailboxId;
use crate::domain::rights::Right;
use crate::domain::rights::Rights;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::proto::imap::command::StatusItem;
use crate::proto::imap::name::DELIMITER;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::OTHERS;
use crate::server::imap::shelf::Shelf;

pub(super) use listing::list;
pub(super) use listing::lsub;

/// A folder, and the mailbox that it is in: the own one, or one of others.
pub(super) struct Place<M> {
    /// The mailbox.
    pub(super) shelf: M,
    /// The folder.
    pub(super) folder: Folder,
    /// What this login may do there.
    pub(super) rights: Rights,
    /// What this login calls it.
    pub(super) name: String,
}

/// Where a name leads, whether a folder is there or not.
struct Route<M> {
    shelf: M,
    /// Its name in that mailbox.
    path: MailboxName,
    /// What this login says before the names of that mailbox.
    prefix: String,
}

/// The folder of a name.
///
/// # Errors
/// [`MailboxError::NoSuchFolder`] also when there is one that this login may not know of.
pub(super) async fn find<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    name: &MailboxName,
) -> Result<Place<D::Shelf>, MailboxError> {
    let route = route(desk, own, name).await?.ok_or(MailboxError::NoSuchFolder)?;
    let folders = route.shelf.folders().await?;
    let wanted = route.path.as_str();
    let folder = folders.into_iter().find(|folder| folder.name == wanted);
    let folder = folder.ok_or(MailboxError::NoSuchFolder)?;
    let rights = route.shelf.rights(folder.id).await?;
    let name = format!("{}{}", route.prefix, folder.name);
    Ok(Place { shelf: route.shelf, folder, rights, name })
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
        other => {
            let place = other?;
            place.must(Right::Insert)?;
            Ok(place)
        }
    }
}

impl<M> Place<M> {
    /// Refuses whoever has not this right there.
    pub(super) fn must(&self, right: Right) -> Result<(), Halt> {
        if self.rights.has(right) { Ok(()) } else { Err(MailboxError::NotAllowed.into()) }
    }
}

/// The mailbox that a name leads to. `None` when nothing there is for this login.
async fn route<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    name: &MailboxName,
) -> Result<Option<Route<D::Shelf>>, MailboxError> {
    let Some(rest) = name.as_str().strip_prefix(OTHERS) else {
        return Ok(Some(Route::own(own, name)));
    };
    let Some(rest) = rest.strip_prefix(DELIMITER) else {
        // `Other Users` itself is a level and no mailbox; `Other Users2` is somebody's folder.
        return Ok((!rest.is_empty()).then(|| Route::own(own, name)));
    };
    let Some((address, path)) = rest.split_once(DELIMITER) else { return Ok(None) };
    let Some(other) = desk.other(own, address).await? else { return Ok(None) };
    let prefix = prefix_of(&other.address);
    Ok(Some(Route { shelf: other.shelf, path: MailboxName::new(path), prefix }))
}

impl<M: Clone> Route<M> {
    fn own(own: &M, name: &MailboxName) -> Self {
        Self { shelf: own.clone(), path: name.clone(), prefix: String::new() }
    }
}

/// What comes before the names of somebody else's mailbox.
fn prefix_of(address: &str) -> String {
    format!("{OTHERS}{DELIMITER}{address}{DELIMITER}")
}

/// NAMESPACE (RFC 2342 §5)
pub(super) fn namespace(out: &mut Vec<u8>) {
    write::text(
        out,
        format_args!(
            "* NAMESPACE ((\"\" \"{DELIMITER}\")) ((\"{OTHERS}{DELIMITER}\" \"{DELIMITER}\")) NIL\r\n"
        ),
    );
}

/// CREATE
pub(super) async fn create<D: Desk>(
    desk: &D,
    own: &D::Shelf,
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
    let route = route(desk, own, &name).await?.ok_or(MailboxError::NotAllowed)?;
    let (shelf, path) = (&route.shelf, &route.path);
    let folders = shelf.folders().await?;
    if folders.iter().any(|folder| folder.name == path.as_str()) {
        return Err(MailboxError::FolderExists.into());
    }
    may_create(shelf, path).await?;
    let is_taken = folders.iter().any(|folder| folder.special_use == special_use);
    if special_use.is_some() && (is_taken || shelf.is_foreign()) {
        return Err(Answer::no("USEATTR", "Another mailbox has this special use").into());
    }
    create_parents(shelf, &folders, path).await?;
    let folder = shelf.create_folder(path.as_str(), special_use).await?;
    // RFC 3501 §6.3.9: a name stays subscribed whether its mailbox is there or not.
    let kept = match shelf.is_foreign() {
        true => Vec::new(),
        false => own.kept_subscriptions().await?.names,
    };
    if kept.contains(&folder.name) {
        shelf.subscribe(folder.id, true).await?;
    }
    // RFC 8474 §4.1
    let id = shelf.mailbox_id(&folder);
    Ok(Answer::ok("Created").code(format!("MAILBOXID ({id})")))
}

/// RENAME
pub(super) async fn rename<D: Desk, S: Stream>(
    desk: &D,
    own: &D::Shelf,
    line: &mut Line<S>,
    from: &MailboxName,
    to: &MailboxName,
) -> Done {
    let to = to.for_new_folder().ok_or_else(cannot_be_named)?;
    let place = find(desk, own, from).await?;
    place.must(Right::DeleteFolder)?;
    let (shelf, old, new_name) = (&place.shelf, place.folder.name.as_str(), to.clone());
    let target = route(desk, own, &to).await?;
    let Some(target) = target.filter(|target| target.shelf.id() == shelf.id()) else {
        return Err(Answer::no("CANNOT", "A mailbox cannot move to somebody else").into());
    };
    let to = &target.path;
    let folders = shelf.folders().await?;
    if folders.iter().any(|folder| folder.name == to.as_str()) {
        return Err(MailboxError::FolderExists.into());
    }
    may_create(shelf, to).await?;
    // RFC 3501 §6.3.5: renaming INBOX moves its messages and leaves it, and what is below it,
    // where they are.
    if place.folder.id == FolderId::INBOX {
        // It takes the messages away: rights over the folder are not enough for that.
        place.must(Right::DeleteMessages)?;
        place.must(Right::Expunge)?;
    } else {
        if to.parents().any(|parent| parent == old) {
            return Err(Answer::no("CANNOT", "A mailbox cannot move into itself").into());
        }
        let below = folders.iter().filter_map(|folder| {
            folder.name.strip_prefix(old).filter(|rest| rest.starts_with(DELIMITER))
        });
        for rest in below {
            let name = format!("{}{rest}", to.as_str());
            if folders.iter().any(|folder| folder.name == name) {
                return Err(MailboxError::FolderExists.into());
            }
        }
    }
    create_parents(shelf, &folders, to).await?;
    shelf.rename_folder(place.folder.id, to.as_str()).await?;
    if !shelf.is_foreign() && place.folder.id != FolderId::INBOX {
        own.change_subscriptions(|kept| rename_all(&mut kept.names, old, to.as_str())).await?;
    }
    // RFC 9051 §6.3.6 and §7.3.1: a client that keeps things by name hears where they went.
    let dialect = line.dialect;
    if dialect.rev2 && place.folder.id != FolderId::INBOX {
        let out = line.out();
        write::text(out, format_args!("* LIST () \"{DELIMITER}\" "));
        dialect.write_name(out, new_name.as_str());
        out.extend_from_slice(b" (\"OLDNAME\" (");
        dialect.write_name(out, &place.name);
        out.extend_from_slice(b"))\r\n");
    }
    Ok(Answer::ok("Renamed"))
}

/// DELETE. Answers which folder is gone.
pub(super) async fn delete<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    mailbox: &MailboxName,
) -> Result<(MailboxId, FolderId), Halt> {
    let place = match find(desk, own, mailbox).await {
        // RFC 3501 §6.3.4, RFC 9051 §6.3.5: a name that is only a level of others cannot go.
        Err(MailboxError::NoSuchFolder) if is_a_level(desk, own, mailbox).await? => {
            return Err(Answer::no("HASCHILDREN", "There are mailboxes below that name").into());
        }
        found => found?,
    };
    place.must(Right::DeleteFolder)?;
    let (shelf, folder) = (&place.shelf, &place.folder);
    shelf.delete_folder(folder.id).await?;
    Ok((shelf.id(), folder.id))
}

/// True when there is a folder below that name, and this login may know of it.
async fn is_a_level<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    name: &MailboxName,
) -> Result<bool, MailboxError> {
    let Some(route) = route(desk, own, name).await? else { return Ok(false) };
    for folder in route.shelf.folders().await? {
        let rest = folder.name.strip_prefix(route.path.as_str());
        let is_below = rest.is_some_and(|rest| rest.starts_with(DELIMITER));
        if is_below && route.shelf.rights(folder.id).await?.has(Right::Lookup) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// SUBSCRIBE and UNSUBSCRIBE. A subscription belongs to the login, not to the folder's owner.
pub(super) async fn subscribe<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    mailbox: &MailboxName,
    subscribed: bool,
) -> Done {
    let place = match find(desk, own, mailbox).await {
        Ok(place) => place,
        Err(MailboxError::NoSuchFolder) if !subscribed && forget(own, mailbox).await? => {
            return Ok(Answer::ok("Unsubscribed"));
        }
        Err(error) => return Err(error.into()),
    };
    place.must(Right::Lookup)?;
    let (id, folder) = (place.shelf.id(), place.folder.id);
    if place.shelf.is_foreign() {
        let one = (id, folder);
        own.change_subscriptions(|kept| {
            kept.folders.retain(|other| *other != one);
            if subscribed {
                kept.folders.push(one);
            }
        })
        .await?;
    } else {
        place.shelf.subscribe(folder, subscribed).await?;
        remember(own, mailbox, subscribed).await?;
    }
    Ok(Answer::ok(if subscribed { "Subscribed" } else { "Unsubscribed" }))
}

/// Remembers a name that was subscribed, so that it stays so when its folder is gone.
async fn remember<M: Shelf>(
    own: &M,
    name: &MailboxName,
    subscribed: bool,
) -> Result<(), MailboxError> {
    let changed = own.change_subscriptions(|kept| {
        kept.names.retain(|kept| kept != name.as_str());
        if subscribed {
            kept.names.push(name.as_str().to_owned());
        }
    });
    match changed.await {
        // More names than are remembered: this one goes with its folder.
        Err(MailboxError::OverLimit(_)) => Ok(()),
        other => other,
    }
}

/// Forgets a subscribed name whose folder is gone; false when there was none.
async fn forget<M: Shelf>(own: &M, name: &MailboxName) -> Result<bool, MailboxError> {
    let mut was_kept = false;
    own.change_subscriptions(|kept| {
        let before = kept.names.len();
        kept.names.retain(|kept| kept != name.as_str());
        was_kept = kept.names.len() < before;
    })
    .await?;
    Ok(was_kept)
}

/// Refuses whoever may not make a folder of that name. Says nothing of what is there.
async fn may_create<M: Shelf>(shelf: &M, path: &MailboxName) -> Result<(), Halt> {
    if shelf.may_create_folder(path.as_str()).await? {
        return Ok(());
    }
    Err(MailboxError::NotAllowed.into())
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

/// A folder that is renamed stays subscribed, and so do those below it.
fn rename_all(names: &mut [String], from: &str, to: &str) {
    for name in names {
        let rest =
            name.strip_prefix(from).filter(|rest| rest.is_empty() || rest.starts_with(DELIMITER));
        if let Some(rest) = rest {
            *name = format!("{to}{rest}");
        }
    }
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
    place.must(Right::Read)?;
    let facts = Facts::of(desk, &place.shelf, &place.folder, items).await?;
    write_status(line, &place.name, &place.folder, &facts, items);
    Ok(Answer::ok("Done"))
}

/// What STATUS tells besides what a folder's counters say.
struct Facts {
    id: String,
    append_limit: u64,
    deleted: u64,
    deleted_octets: u64,
}

/// Rows of messages marked `\Deleted` that are read at once to count their octets.
const DELETED_AT_ONCE: u32 = 500;

impl Facts {
    async fn of<D: Desk>(
        desk: &D,
        shelf: &D::Shelf,
        folder: &Folder,
        items: &[StatusItem],
    ) -> Result<Self, MailboxError> {
        let mut facts = Self {
            id: shelf.mailbox_id(folder),
            append_limit: desk.message_octets_max(),
            deleted: 0,
            deleted_octets: 0,
        };
        let counts = [StatusItem::Deleted, StatusItem::DeletedStorage];
        if !items.iter().any(|item| counts.contains(item)) {
            return Ok(facts);
        }
        let deleted = &shelf.contents(folder.id).await?.deleted;
        facts.deleted = u64::from(deleted.len());
        if !items.contains(&StatusItem::DeletedStorage) {
            return Ok(facts);
        }
        // Only the rows that count are read, a run of neighbours at a time.
        let mut uids = deleted.iter().peekable();
        while let Some(first) = uids.next() {
            let mut last = first;
            while let Some(uid) = uids.next_if(|uid| *uid == last.saturating_add(1)) {
                last = uid;
                if last - first >= DELETED_AT_ONCE {
                    break;
                }
            }
            let page = shelf.entries(folder.id, first..=last, usize::MAX).await?;
            facts.deleted_octets += page.iter().map(|row| row.size).sum::<u64>();
        }
        Ok(facts)
    }
}

fn write_status<S: Stream>(
    line: &mut Line<S>,
    name: &str,
    folder: &Folder,
    facts: &Facts,
    items: &[StatusItem],
) {
    let dialect = line.dialect;
    let out = line.out();
    out.extend_from_slice(b"* STATUS ");
    dialect.write_name(out, name);
    out.extend_from_slice(b" (");
    for (index, item) in items.iter().enumerate() {
        let value = match item {
            StatusItem::Messages => u64::from(folder.exists),
            StatusItem::Recent => 0,
            StatusItem::UidNext => u64::from(folder.uid_next.0),
            StatusItem::UidValidity => u64::from(folder.uid_validity),
            StatusItem::Unseen => u64::from(folder.unseen),
            StatusItem::Size => folder.octets,
            // RFC 7162 §3.1.7: never 0.
            StatusItem::HighestModSeq => folder.highest_modseq.0.max(1),
            StatusItem::AppendLimit => facts.append_limit,
            StatusItem::Deleted => facts.deleted,
            StatusItem::DeletedStorage => facts.deleted_octets,
            StatusItem::MailboxId => 0,
        };
        if index > 0 {
            out.push(b' ');
        }
        match item {
            StatusItem::MailboxId => write::text(out, format_args!("MAILBOXID ({})", facts.id)),
            _ => write::text(out, format_args!("{} {value}", item.name())),
        }
    }
    out.extend_from_slice(b")\r\n");
}
