//! NOTIFY (RFC 5465): what happens in other mailboxes than the selected one is told as well, at
//! any time.
//!
//! Nothing is queued for a client. A bell says that a mailbox has changed; then its folders are
//! compared with what the client was told last, and the difference is told. So a client that
//! reads slowly costs one small row for each folder, however much happens meanwhile.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::future::Future;
use std::future::poll_fn;
use std::hash::DefaultHasher;
use std::hash::Hasher;
use std::pin::Pin;
use std::task::Poll;

use crate::domain::folder::FolderId;
use crate::domain::limits;
use crate::domain::rights::Right;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::readers::EVERY_FOLDER;
use crate::flow::mailbox::readers::Scope;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::EventGroup;
use crate::proto::imap::command::Fetch;
use crate::proto::imap::command::Notify;
use crate::proto::imap::command::NotifyEvent;
use crate::proto::imap::command::NotifyMailboxes;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::feature::Feature;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::name::DELIMITER;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::sequence::SequenceSet;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::dialect::Dialect;
use crate::server::imap::fetch;
use crate::server::imap::line::Event;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::metadata;
use crate::server::imap::session::Session;
use crate::server::imap::session::State;
use crate::server::imap::shelf::Bell;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::OTHERS;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view::Numbers;
use crate::server::imap::view::View;

/// What BADEVENT lists: all that is told here (RFC 5465 §8), annotations where there are any.
const EVENTS: &str = "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange";
const ANNOTATION_EVENTS: &str = "MailboxMetadataChange ServerMetadataChange";

/// What a session is told unasked, from its first NOTIFY on.
pub(super) struct Notices<M: Shelf> {
    selected: Selected,
    groups: Vec<EventGroup>,
    books: Vec<Book<M>>,
}

/// What is told of the selected mailbox (RFC 5465 §6.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Selected {
    #[default]
    Nothing,
    Messages {
        /// What is told of new ones.
        new: Vec<FetchItem>,
        flags: bool,
        /// Sequence numbers change only where a client expects it.
        delayed: bool,
    },
}

/// One mailbox: the own one, or one of others.
struct Book<M: Shelf> {
    shelf: M,
    /// Comes before the names of its folders; empty for the own one.
    prefix: String,
    bell: M::Bell,
    /// The bell rang, and nobody has looked yet.
    rang: bool,
    /// What the client was told of each folder.
    known: BTreeMap<FolderId, Known>,
    /// Annotations as they were last; `None` when nobody wants to hear of them.
    notes: Option<Notes>,
}

/// What a session has just changed itself: it is no news to it (RFC 5465 §5).
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Names of mailboxes.
    names: Vec<String>,
    /// A mailbox, empty for the server, and its annotations.
    annotated: Option<(String, Vec<String>)>,
}

/// A folder as the client was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    name: String,
    subscribed: bool,
    special_use: Option<&'static str>,
    /// RFC 5465 §5: events need the rights `l` and `r`.
    readable: bool,
    uid_validity: u32,
    uid_next: u32,
    exists: u32,
    unseen: u32,
    modseq: u64,
}

/// Which events of a folder somebody wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    messages: bool,
    flags: bool,
    names: bool,
    subscriptions: bool,
    annotations: bool,
}

/// When news are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Just before the tagged line of a command, or during IDLE.
    Command(Numbers),
    /// While no command runs.
    Between,
}

impl<D: Desk, S: Stream> Session<'_, D, S> {
    /// NOTIFY.
    pub(super) async fn notify(&mut self, wish: Option<Notify>) -> Done {
        let own = self.shelf()?.clone();
        let wish = match wish {
            Some(wish) => wish,
            // RFC 5465 §3.1: no event of any kind, the selected mailbox's included.
            None => Notify { status: false, groups: Vec::new() },
        };
        let selected = check(&wish.groups, self.offer.has(Feature::Metadata))?;
        // RFC 5465 §3.1: a successful NOTIFY SET implies a NOOP, and what has gathered is told
        // whatever is wanted from now on. The tagged line comes after it.
        let before = self.notices.take();
        if let State::Selected(_, view) = &mut self.state {
            view.tell(&mut self.line, Numbers::MayChange).await?;
        }
        self.notices = before;
        let mut notices = Notices { selected, groups: wish.groups, books: Vec::new() };
        if notices.groups.iter().any(|group| !is_selected(&group.mailboxes)) {
            notices.open_books(self.desk, &own).await?;
        }
        let shown = self.selected().ok().map(|view| (view.shelf.id(), view.folder));
        let (condstore, dialect) = (self.knows_modseq(), self.line.dialect);
        for book in &notices.books {
            for (id, known) in &book.known {
                let wanted = notices.wanted(book, known);
                let name = book.name_of(known);
                if !known.readable {
                    // RFC 5465 §3.1: it may be listed, and no more. Told where it was named.
                    if wanted != Wanted::default() {
                        write_no_access(self.line.out(), dialect, &name);
                    }
                } else if wish.status && wanted.messages && shown != Some((book.shelf.id(), *id)) {
                    let items = Items { uid_validity: true, unseen: true, modseq: condstore };
                    write_status(self.line.out(), dialect, &name, known, items);
                }
                self.line.relieve().await?;
            }
        }
        self.notices = Some(Box::new(notices));
        Ok(Answer::ok("Done"))
    }

    /// Waits for what the client says, or for news that it wants to hear.
    pub(super) async fn wait(&mut self, moment: Moment) -> Result<Event, Gone> {
        let Self { line, state, notices, .. } = self;
        let view = match (state, notices.as_deref(), moment) {
            // Without NOTIFY, only IDLE tells news while no command runs.
            (State::Selected(_, view), None, Moment::Command(_)) => Some(view),
            (State::Selected(_, view), Some(notices), _)
                if notices.selected != Selected::Nothing =>
            {
                Some(view)
            }
            _ => None,
        };
        let view = view.map(|view| &mut view.bell);
        let Some(notices) = notices else { return line.step_or_bell(view).await };
        line.step_or_bell(Some(&mut Bells { view, books: &mut notices.books })).await
    }

    /// Tells what happened since news were told last. Nothing is said of names that the client
    /// has just changed itself (RFC 5465 §5).
    pub(super) async fn tell_news(&mut self, moment: Moment, own: &Own) -> Result<(), Halt> {
        let Self { desk, line, state, notices, .. } = self;
        if let State::Selected(_, view) = state {
            match notices.as_deref().map(|notices| &notices.selected) {
                None => {
                    if let Moment::Command(numbers) = moment {
                        view.tell(line, numbers).await?;
                    }
                }
                Some(Selected::Nothing) => {}
                Some(Selected::Messages { new, flags, delayed }) => {
                    let numbers = match moment {
                        Moment::Command(numbers) => numbers,
                        Moment::Between if *delayed => Numbers::MustStay,
                        Moment::Between => Numbers::MayChange,
                    };
                    let last = view.last_uid();
                    view.tells_flags = *flags;
                    let told = view.tell(line, numbers).await;
                    view.tells_flags = true;
                    told?;
                    tell_new(*desk, line, view, last, new).await?;
                }
            }
        }
        self.tell_others(own).await
    }

    /// News of mailboxes that are not selected.
    async fn tell_others(&mut self, own: &Own) -> Result<(), Halt> {
        let (condstore, dialect) = (self.knows_modseq(), self.line.dialect);
        let shown = self.selected().ok().map(|view| (view.shelf.id(), view.folder));
        let Self { line, notices, .. } = self;
        let Some(notices) = notices.as_deref_mut() else { return Ok(()) };
        let Notices { groups, books, .. } = notices;
        for book in books {
            if !book.has_rung().await {
                continue;
            }
            let now = book.read().await?;
            let noted = book.read_notes().await?;
            // Not before it was read: what cannot be read now is tried again at the next bell.
            book.rang = false;
            let before = std::mem::replace(&mut book.known, now);
            // What is above and below goes with it: parents are made, children are renamed.
            let is_own = |name: &str| {
                own.names.iter().any(|own| is_or_is_below(own, name) || is_below(name, own))
            };
            for line_of in names_changed(book, &before, |known| wanted(groups, book, known)) {
                if !is_own(&line_of.name) {
                    line_of.write(line.out(), dialect);
                    line.relieve().await?;
                }
            }
            for (folder, mut entries) in noted {
                let name = match book.known.get(&folder) {
                    Some(known) if known.readable => {
                        wanted(groups, book, known).annotations.then(|| book.name_of(known))
                    }
                    // RFC 5465 §5.7: the server's are those of the mailbox without a name.
                    None if folder == EVERY_FOLDER => {
                        (book.is_own() && wants_of_server(groups)).then(String::new)
                    }
                    _ => None,
                };
                let Some(name) = name else { continue };
                entries.retain(|entry| !own.has_annotated(&name, entry));
                write_annotated(line.out(), dialect, &name, &entries);
                line.relieve().await?;
            }
            for (id, known) in &book.known {
                let Some(old) = before.get(id).filter(|old| old.readable) else { continue };
                let is_shown = shown == Some((book.shelf.id(), *id));
                let wanted = wanted(groups, book, known);
                if is_shown || !known.readable || !wanted.messages || old.modseq == known.modseq {
                    continue;
                }
                let moved = (old.uid_next, old.exists) != (known.uid_next, known.exists);
                let items = Items {
                    uid_validity: old.uid_validity != known.uid_validity || condstore,
                    unseen: old.unseen != known.unseen,
                    modseq: condstore,
                };
                let marked = wanted.flags && (items.unseen || items.modseq);
                if moved || marked || old.uid_validity != known.uid_validity {
                    write_status(line.out(), dialect, &book.name_of(known), known, items);
                    line.relieve().await?;
                }
            }
        }
        Ok(())
    }
}

impl<M: Shelf> Notices<M> {
    /// Looks at the own mailbox, and at those of others if the wish may reach them.
    async fn open_books<D: Desk<Shelf = M>>(&mut self, desk: &D, own: &M) -> Result<(), Halt> {
        self.books.push(Book::open(own.clone(), String::new()).await?);
        let reaches = |group: &EventGroup| match &group.mailboxes {
            NotifyMailboxes::Subscribed => true,
            NotifyMailboxes::Subtree(names) | NotifyMailboxes::Mailboxes(names) => names
                .iter()
                .any(|name| is_or_is_below(OTHERS, name.as_str()) || name.as_str().is_empty()),
            _ => false,
        };
        if self.groups.iter().any(reaches) {
            for other in desk.others(own).await? {
                let prefix = format!("{OTHERS}{DELIMITER}{}{DELIMITER}", other.address);
                self.books.push(Book::open(other.shelf, prefix).await?);
            }
        }
        if self.groups.iter().flat_map(|group| &group.events).any(is_of_annotations) {
            for book in &mut self.books {
                book.notes = Some(Notes::new());
                book.read_notes().await?;
            }
        }
        let folders: usize = self.books.iter().map(|book| book.known.len()).sum();
        if folders > limits::IMAP_NOTIFY_FOLDERS_MAX {
            return Err(Answer::no("NOTIFICATIONOVERFLOW", "Too many mailboxes to watch").into());
        }
        Ok(())
    }

    fn wanted(&self, book: &Book<M>, known: &Known) -> Wanted {
        wanted(&self.groups, book, known)
    }
}

impl<M: Shelf> Book<M> {
    async fn open(shelf: M, prefix: String) -> Result<Self, MailboxError> {
        // The bell first: what happens while the folders are read rings it.
        let bell = shelf.watch();
        let mut book =
            Self { shelf, prefix, bell, rang: false, known: BTreeMap::new(), notes: None };
        book.known = book.read().await?;
        Ok(book)
    }

    /// The folders that the client may know of, as they are now.
    async fn read(&self) -> Result<BTreeMap<FolderId, Known>, MailboxError> {
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
    async fn read_notes(&mut self) -> Result<Vec<(FolderId, Vec<String>)>, MailboxError> {
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
    async fn has_rung(&mut self) -> bool {
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

    fn name_of(&self, known: &Known) -> String {
        format!("{}{}", self.prefix, known.name)
    }

    fn is_own(&self) -> bool {
        self.prefix.is_empty()
    }

    fn has_below(&self, name: &str) -> bool {
        self.known.values().any(|known| is_below(name, &known.name))
    }
}

impl Known {
    fn new(folder: Folder, readable: bool) -> Self {
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
type Place = (FolderId, Scope);
/// Annotations by their place.
type Notes = BTreeMap<Place, Note>;

/// The annotations of one place, as far as it takes to see that they have changed.
#[derive(Debug)]
struct Note {
    /// Of all of them as they lie there, sealed.
    mark: u64,
    /// Of each value.
    entries: BTreeMap<String, u64>,
}

fn hash(octets: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(octets);
    hasher.finish()
}

impl Own {
    /// What a command changes.
    pub(super) fn of(body: &Body) -> Self {
        let annotated = match body {
            Body::SetMetadata { mailbox, entries } => {
                let name = mailbox.as_ref().map(|mailbox| mailbox.as_str().to_owned());
                let entries = entries.iter().map(|(entry, _)| entry.to_ascii_lowercase());
                Some((name.unwrap_or_default(), entries.collect()))
            }
            _ => None,
        };
        Self { names: names_of(body), annotated }
    }

    fn has_annotated(&self, name: &str, entry: &String) -> bool {
        self.annotated.as_ref().is_some_and(|(own, entries)| own == name && entries.contains(entry))
    }
}

/// Of the selected mailbox and of all others.
struct Bells<'a, M: Shelf> {
    view: Option<&'a mut M::Bell>,
    books: &'a mut [Book<M>],
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

/// What the rules of RFC 5465 §5 and §6.1 leave of a wish for the selected mailbox.
fn check(groups: &[EventGroup], has_annotations: bool) -> Result<Selected, Halt> {
    let mut selected = None;
    for group in groups {
        let has = |wanted: fn(&NotifyEvent) -> bool| group.events.iter().any(wanted);
        let new = has(|event| matches!(event, NotifyEvent::MessageNew(_)));
        let expunge = has(|event| *event == NotifyEvent::MessageExpunge);
        let flags = has(|event| *event == NotifyEvent::FlagChange);
        let marks = flags || has(|event| *event == NotifyEvent::AnnotationChange);
        if new != expunge || (marks && !new) {
            return Err(Answer::bad("MessageNew and MessageExpunge come together").into());
        }
        let is_unknown = |event: &NotifyEvent| match event {
            NotifyEvent::AnnotationChange => true,
            event => is_of_annotations(event) && !has_annotations,
        };
        if group.events.iter().any(is_unknown) {
            let refused = Answer::no("BADEVENT", "An event is not known here");
            let known = match has_annotations {
                true => format!("BADEVENT ({EVENTS} {ANNOTATION_EVENTS})"),
                false => format!("BADEVENT ({EVENTS})"),
            };
            return Err(refused.code(known).into());
        }
        if !is_selected(&group.mailboxes) {
            let items = |event: &NotifyEvent| match event {
                NotifyEvent::MessageNew(items) => !items.is_empty(),
                _ => false,
            };
            if group.events.iter().any(items) {
                let text = "Only of the selected mailbox can more be told of new messages";
                return Err(Answer::bad(text).into());
            }
            continue;
        }
        if has(|event| !is_of_messages(event)) {
            return Err(Answer::bad("Only messages can be told of the selected mailbox").into());
        }
        let items = group.events.iter().find_map(|event| match event {
            NotifyEvent::MessageNew(items) => Some(items.clone()),
            _ => None,
        });
        let delayed = group.mailboxes == NotifyMailboxes::SelectedDelayed;
        let one = items.map_or(Selected::Nothing, |new| Selected::Messages { new, flags, delayed });
        if selected.replace(one).is_some() {
            return Err(Answer::bad("The selected mailbox is named twice").into());
        }
    }
    Ok(selected.unwrap_or_default())
}

fn is_selected(mailboxes: &NotifyMailboxes) -> bool {
    matches!(mailboxes, NotifyMailboxes::Selected | NotifyMailboxes::SelectedDelayed)
}

fn is_of_messages(event: &NotifyEvent) -> bool {
    matches!(
        event,
        NotifyEvent::MessageNew(_)
            | NotifyEvent::MessageExpunge
            | NotifyEvent::FlagChange
            | NotifyEvent::AnnotationChange
    )
}

fn is_of_annotations(event: &NotifyEvent) -> bool {
    matches!(event, NotifyEvent::MailboxMetadataChange | NotifyEvent::ServerMetadataChange)
}

fn wants_of_server(groups: &[EventGroup]) -> bool {
    let mut events = groups.iter().flat_map(|group| &group.events);
    events.any(|event| *event == NotifyEvent::ServerMetadataChange)
}

/// What all groups together want of a folder that is not selected.
fn wanted<M: Shelf>(groups: &[EventGroup], book: &Book<M>, known: &Known) -> Wanted {
    let full = book.name_of(known);
    let mut wanted = Wanted::default();
    for group in groups {
        let is_meant = match &group.mailboxes {
            NotifyMailboxes::Selected | NotifyMailboxes::SelectedDelayed => false,
            // RFC 5465 §6.3: filters deliver into any folder, so the inboxes are all of them.
            NotifyMailboxes::Inboxes | NotifyMailboxes::Personal => book.is_own(),
            NotifyMailboxes::Subscribed => known.subscribed,
            NotifyMailboxes::Mailboxes(names) => names.iter().any(|name| name.as_str() == full),
            NotifyMailboxes::Subtree(names) => names.iter().any(|name| is_in(name, &full)),
        };
        if !is_meant {
            continue;
        }
        for event in &group.events {
            match event {
                NotifyEvent::MessageNew(_) | NotifyEvent::MessageExpunge => wanted.messages = true,
                NotifyEvent::FlagChange => wanted.flags = true,
                NotifyEvent::MailboxName => wanted.names = true,
                NotifyEvent::SubscriptionChange => wanted.subscriptions = true,
                NotifyEvent::MailboxMetadataChange => wanted.annotations = true,
                _ => {}
            }
        }
    }
    wanted
}

/// A subtree; that of the empty name is everything.
fn is_in(root: &MailboxName, name: &str) -> bool {
    root.as_str().is_empty() || is_or_is_below(root.as_str(), name)
}

fn is_or_is_below(root: &str, name: &str) -> bool {
    root == name || is_below(root, name)
}

fn is_below(root: &str, name: &str) -> bool {
    name.strip_prefix(root).is_some_and(|rest| rest.starts_with(DELIMITER))
}

fn parent(name: &str) -> Option<&str> {
    name.rsplit_once(DELIMITER).map(|(parent, _)| parent)
}

/// A LIST response that nobody asked for.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    attributes: Vec<&'static str>,
    old_name: Option<String>,
}

/// What RFC 5465 §5.4 and §5.5 tell of names between two states of a mailbox.
fn names_changed<M: Shelf>(
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
    fn of<M: Shelf>(book: &Book<M>, known: &Known, old_name: Option<String>) -> Self {
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

    fn write(&self, out: &mut Vec<u8>, dialect: Dialect) {
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
struct Items {
    uid_validity: bool,
    unseen: bool,
    modseq: bool,
}

fn write_status(out: &mut Vec<u8>, dialect: Dialect, name: &str, known: &Known, items: Items) {
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
fn write_annotated(out: &mut Vec<u8>, dialect: Dialect, name: &str, entries: &[String]) {
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

fn write_no_access(out: &mut Vec<u8>, dialect: Dialect, name: &str) {
    write::text(out, format_args!("* LIST (\\NoAccess) \"{DELIMITER}\" "));
    dialect.write_name(out, name);
    out.extend_from_slice(b"\r\n");
}

/// What a client wants to know of new messages of the selected mailbox (RFC 5465 §5.2).
async fn tell_new<D: Desk, S: Stream>(
    desk: &D,
    line: &mut Line<S>,
    view: &mut View<D::Shelf>,
    last: u32,
    items: &[FetchItem],
) -> Result<(), Halt> {
    let newest = view.last_uid();
    if items.is_empty() || newest <= last {
        return Ok(());
    }
    let set = SequenceSet::of_range(last + 1, newest);
    let wish = Fetch {
        by: Numbering::Uid,
        set,
        items: items.to_vec(),
        changed_since: None,
        vanished: false,
        partial: None,
    };
    match Box::pin(fetch::fetch(desk, line, view, &wish)).await {
        // The message is listed; that it cannot be opened is said when it is asked for.
        Ok(_) | Err(Halt::Refused(_)) => Ok(()),
        Err(gone) => Err(gone),
    }
}

/// The names that a command changes.
fn names_of(body: &Body) -> Vec<String> {
    let names: &[&MailboxName] = match body {
        Body::Create { mailbox, .. }
        | Body::Delete(mailbox)
        | Body::Subscribe(mailbox)
        | Body::Unsubscribe(mailbox) => &[mailbox],
        Body::Rename { from, to } => &[from, to],
        _ => &[],
    };
    names.iter().map(|name| name.as_str().trim_end_matches(DELIMITER).to_owned()).collect()
}
