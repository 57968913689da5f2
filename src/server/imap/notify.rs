//! NOTIFY (RFC 5465): what happens in other mailboxes than the selected one is told as well, at
//! any time.
//!
//! Nothing is queued for a client. A bell says that a mailbox has changed; then its folders are
//! compared with what the client was told last, and the difference is told. So a client that
//! reads slowly costs one small row for each folder, however much happens meanwhile.
mod book; // a mailbox as it was told
mod told; // responses
mod wish; // which events

use crate::domain::limits;
use crate::flow::mailbox::readers::EVERY_FOLDER;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::EventGroup;
use crate::proto::imap::command::Fetch;
use crate::proto::imap::command::Notify;
use crate::proto::imap::command::NotifyMailboxes;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::feature::Feature;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::name::DELIMITER;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::sequence::SequenceSet;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::fetch;
use crate::server::imap::line::Event;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::notify::book::Bells;
use crate::server::imap::notify::book::Book;
use crate::server::imap::notify::book::Known;
use crate::server::imap::notify::book::Notes;
use crate::server::imap::notify::told::Items;
use crate::server::imap::notify::told::names_changed;
use crate::server::imap::notify::told::write_annotated;
use crate::server::imap::notify::told::write_no_access;
use crate::server::imap::notify::told::write_status;
use crate::server::imap::notify::wish::Wanted;
use crate::server::imap::notify::wish::check;
use crate::server::imap::notify::wish::is_below;
use crate::server::imap::notify::wish::is_of_annotations;
use crate::server::imap::notify::wish::is_or_is_below;
use crate::server::imap::notify::wish::is_selected;
use crate::server::imap::notify::wish::wanted;
use crate::server::imap::notify::wish::wants_of_server;
use crate::server::imap::session::Session;
use crate::server::imap::session::State;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::OTHERS;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view::Numbers;
use crate::server::imap::view::View;

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

/// What a session has just changed itself: it is no news to it (RFC 5465 §5).
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Names of mailboxes.
    names: Vec<String>,
    /// A mailbox, empty for the server, and its annotations.
    annotated: Option<(String, Vec<String>)>,
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
