//! Which events of which mailboxes somebody wants (RFC 5465 §5, §6).
use crate::proto::imap::command::EventGroup;
use crate::proto::imap::command::NotifyEvent;
use crate::proto::imap::command::NotifyMailboxes;
use crate::proto::imap::name::DELIMITER;
use crate::proto::imap::name::MailboxName;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Halt;
use crate::server::imap::notify::Selected;
use crate::server::imap::notify::book::Book;
use crate::server::imap::notify::book::Known;
use crate::server::imap::shelf::Shelf;

/// What BADEVENT lists: all that is told here (RFC 5465 §8), annotations where there are any.
pub(super) const EVENTS: &str =
    "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange";
pub(super) const ANNOTATION_EVENTS: &str = "MailboxMetadataChange ServerMetadataChange";

/// Which events of a folder somebody wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) messages: bool,
    pub(super) flags: bool,
    pub(super) names: bool,
    pub(super) subscriptions: bool,
    pub(super) annotations: bool,
}

/// What the rules of RFC 5465 §5 and §6.1 leave of a wish for the selected mailbox.
pub(super) fn check(groups: &[EventGroup], has_annotations: bool) -> Result<Selected, Halt> {
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

pub(super) fn is_selected(mailboxes: &NotifyMailboxes) -> bool {
    matches!(mailboxes, NotifyMailboxes::Selected | NotifyMailboxes::SelectedDelayed)
}

pub(super) fn is_of_messages(event: &NotifyEvent) -> bool {
    matches!(
        event,
        NotifyEvent::MessageNew(_)
            | NotifyEvent::MessageExpunge
            | NotifyEvent::FlagChange
            | NotifyEvent::AnnotationChange
    )
}

pub(super) fn is_of_annotations(event: &NotifyEvent) -> bool {
    matches!(event, NotifyEvent::MailboxMetadataChange | NotifyEvent::ServerMetadataChange)
}

pub(super) fn wants_of_server(groups: &[EventGroup]) -> bool {
    let mut events = groups.iter().flat_map(|group| &group.events);
    events.any(|event| *event == NotifyEvent::ServerMetadataChange)
}

/// What all groups together want of a folder that is not selected.
pub(super) fn wanted<M: Shelf>(groups: &[EventGroup], book: &Book<M>, known: &Known) -> Wanted {
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
pub(super) fn is_in(root: &MailboxName, name: &str) -> bool {
    root.as_str().is_empty() || is_or_is_below(root.as_str(), name)
}

pub(super) fn is_or_is_below(root: &str, name: &str) -> bool {
    root == name || is_below(root, name)
}

pub(super) fn is_below(root: &str, name: &str) -> bool {
    name.strip_prefix(root).is_some_and(|rest| rest.starts_with(DELIMITER))
}

pub(super) fn parent(name: &str) -> Option<&str> {
    name.rsplit_once(DELIMITER).map(|(parent, _)| parent)
}
