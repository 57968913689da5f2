//! NOTIFY (RFC 5465 §8).
use crate::domain::limits;
use crate::proto::imap::command::EventGroup;
use crate::proto::imap::command::Notify;
use crate::proto::imap::command::NotifyEvent;
use crate::proto::imap::command::NotifyMailboxes;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::Fault;
use crate::proto::imap::cursor::at_most;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::parse::mailbox;

pub(super) fn notify(cursor: &mut Cursor<'_>) -> Result<Option<Notify>, Bad> {
    if cursor.eat_word("NONE") {
        return Ok(None);
    }
    if !cursor.eat_word("SET ") {
        return Err(Bad::form("NOTIFY NONE or NOTIFY SET was expected"));
    }
    let status = cursor.eat_word("STATUS ");
    let mut groups: Vec<EventGroup> = Vec::new();
    let mut named = 0;
    loop {
        let group = group(cursor, &mut named)?;
        // RFC 5465 §6.1: one of the two, and once.
        let is_selected = |group: &EventGroup| {
            matches!(group.mailboxes, NotifyMailboxes::Selected | NotifyMailboxes::SelectedDelayed)
        };
        if is_selected(&group) && groups.iter().any(is_selected) {
            return Err(Bad::form("the selected mailbox is named twice"));
        }
        groups.push(group);
        at_most(groups.len(), limits::IMAP_NOTIFY_MAILBOXES_MAX, TOO_MANY)?;
        if !cursor.eat(b' ') {
            return Ok(Some(Notify { status, groups }));
        }
    }
}

fn group(cursor: &mut Cursor<'_>, named: &mut usize) -> Result<EventGroup, Bad> {
    cursor.expect(b'(', "a group of events in parentheses was expected")?;
    let mailboxes = match cursor.atom()?.to_ascii_lowercase().as_str() {
        "selected" => NotifyMailboxes::Selected,
        "selected-delayed" => NotifyMailboxes::SelectedDelayed,
        "inboxes" => NotifyMailboxes::Inboxes,
        "personal" => NotifyMailboxes::Personal,
        "subscribed" => NotifyMailboxes::Subscribed,
        "subtree" => NotifyMailboxes::Subtree(names(cursor, named)?),
        "mailboxes" => NotifyMailboxes::Mailboxes(names(cursor, named)?),
        _ => return Err(Bad::form("unknown choice of mailboxes")),
    };
    cursor.space()?;
    let events = if cursor.eat_word("NONE") { Vec::new() } else { events(cursor)? };
    cursor.expect(b')', "a group of events has no )")?;
    check(&mailboxes, &events)?;
    Ok(EventGroup { mailboxes, events })
}

fn names(cursor: &mut Cursor<'_>, named: &mut usize) -> Result<Vec<MailboxName>, Bad> {
    cursor.space()?;
    let mut one = |cursor: &mut Cursor<'_>| {
        *named += 1;
        at_most(*named, limits::IMAP_NOTIFY_MAILBOXES_MAX, TOO_MANY)?;
        mailbox(cursor)
    };
    match cursor.peek() {
        Some(b'(') => cursor.list(false, one),
        _ => Ok(vec![one(cursor)?]),
    }
}

fn events(cursor: &mut Cursor<'_>) -> Result<Vec<NotifyEvent>, Bad> {
    let mut events: Vec<NotifyEvent> = Vec::new();
    cursor.list(false, |cursor| {
        let event = match cursor.atom()?.to_ascii_lowercase().as_str() {
            "messagenew" if cursor.is_next(" (") => {
                cursor.space()?;
                NotifyEvent::MessageNew(FetchItem::parse_list(cursor)?)
            }
            "messagenew" => NotifyEvent::MessageNew(Vec::new()),
            "messageexpunge" => NotifyEvent::MessageExpunge,
            "flagchange" => NotifyEvent::FlagChange,
            "annotationchange" => NotifyEvent::AnnotationChange,
            "mailboxname" => NotifyEvent::MailboxName,
            "subscriptionchange" => NotifyEvent::SubscriptionChange,
            "mailboxmetadatachange" => NotifyEvent::MailboxMetadataChange,
            "servermetadatachange" => NotifyEvent::ServerMetadataChange,
            _ => return Err(UNKNOWN_EVENT),
        };
        let is_same =
            |other: &NotifyEvent| std::mem::discriminant(other) == std::mem::discriminant(&event);
        if events.iter().any(is_same) {
            return Err(Bad::form("an event is named twice"));
        }
        events.push(event);
        Ok(())
    })?;
    Ok(events)
}

/// RFC 5465 §5 and §6.1: what belongs together, and what a selected mailbox cannot tell.
fn check(mailboxes: &NotifyMailboxes, events: &[NotifyEvent]) -> Result<(), Bad> {
    let has = |wanted: fn(&NotifyEvent) -> bool| events.iter().any(wanted);
    let comes = has(|event| matches!(event, NotifyEvent::MessageNew(_)));
    let goes = has(|event| *event == NotifyEvent::MessageExpunge);
    if comes != goes {
        return Err(Bad::form("MessageNew and MessageExpunge go together"));
    }
    let changes =
        has(|event| matches!(event, NotifyEvent::FlagChange | NotifyEvent::AnnotationChange));
    if changes && !comes {
        return Err(Bad::form("FlagChange goes with MessageNew and MessageExpunge"));
    }
    let is_selected =
        matches!(mailboxes, NotifyMailboxes::Selected | NotifyMailboxes::SelectedDelayed);
    let items = has(|event| matches!(event, NotifyEvent::MessageNew(items) if !items.is_empty()));
    if items && !is_selected {
        return Err(Bad::form(
            "only new messages of the selected mailbox can be told of in detail",
        ));
    }
    Ok(())
}

const TOO_MANY: &str = "a NOTIFY names too many mailboxes";
/// RFC 5465 §5: an event that the server does not know is a NO, not a BAD.
const UNKNOWN_EVENT: Bad = Bad("Unknown event", Fault::Event);
