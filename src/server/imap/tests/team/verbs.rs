//! Every verb against a mailbox that is not for this login answers as if there were none.
use std::collections::BTreeSet;

use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::secret::Secret;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::AppendMessage;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Echo;
use crate::proto::imap::command::EventGroup;
use crate::proto::imap::command::Fetch;
use crate::proto::imap::command::List;
use crate::proto::imap::command::MetadataOptions;
use crate::proto::imap::command::Notify;
use crate::proto::imap::command::NotifyEvent;
use crate::proto::imap::command::NotifyMailboxes;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::Replace;
use crate::proto::imap::command::Returns;
use crate::proto::imap::command::Search;
use crate::proto::imap::command::Selection;
use crate::proto::imap::command::Sort;
use crate::proto::imap::command::SortCriterion;
use crate::proto::imap::command::SortKey;
use crate::proto::imap::command::StatusItem;
use crate::proto::imap::command::Store;
use crate::proto::imap::command::Thread;
use crate::proto::imap::command::ThreadAlgorithm;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::Piece;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::name::Mode;
use crate::proto::imap::name::Pattern;
use crate::proto::imap::search::SearchKey;
use crate::proto::imap::sequence::Number;
use crate::proto::imap::sequence::SequenceSet;
use crate::server::imap::tests::LETTER;
use crate::server::imap::tests::team::Practice;
use crate::server::imap::tests::team::TEAM;
use crate::server::imap::tests::team::lists::append;
use crate::server::imap::tests::team::lists::plain_list;
use crate::server::imap::tests::team::lists::select;
use crate::server::imap::tests::team::lists::status;
use crate::server::imap::tests::team::name;
use crate::server::imap::tests::team::set_acl;

/// Commands that [`number`] knows.
const COMMANDS: usize = 46;

/// Each command's number. A new command does not compile until it has one here, and then fails
/// the test below until it has a row in [`rows`].
fn number(body: &Body) -> usize {
    match body {
        Body::Capability => 0,
        Body::Noop => 1,
        Body::Logout => 2,
        Body::Id => 3,
        Body::Enable(_) => 4,
        Body::StartTls => 5,
        Body::Authenticate { .. } => 6,
        Body::Login { .. } => 7,
        Body::Select { .. } => 8,
        Body::Create { .. } => 9,
        Body::Delete(_) => 10,
        Body::Rename { .. } => 11,
        Body::Subscribe(_) => 12,
        Body::Unsubscribe(_) => 13,
        Body::List(_) => 14,
        Body::Lsub { .. } => 15,
        Body::Namespace => 16,
        Body::Status { .. } => 17,
        Body::Append(_) => 18,
        Body::Idle => 19,
        Body::Check => 20,
        Body::Close => 21,
        Body::Unselect => 22,
        Body::Expunge => 23,
        Body::UidExpunge(_) => 24,
        Body::Search(_) => 25,
        Body::Sort(_) => 26,
        Body::Thread(_) => 27,
        Body::Fetch(_) => 28,
        Body::Store(_) => 29,
        Body::Copy { .. } => 30,
        Body::Move { .. } => 31,
        Body::Compress => 32,
        Body::Unauthenticate => 33,
        Body::Notify(_) => 34,
        Body::GetAcl(_) => 35,
        Body::SetAcl { .. } => 36,
        Body::DeleteAcl { .. } => 37,
        Body::ListRights { .. } => 38,
        Body::MyRights(_) => 39,
        Body::GetQuota(_) => 40,
        Body::GetQuotaRoot(_) => 41,
        Body::SetQuota { .. } => 42,
        Body::GetMetadata { .. } => 43,
        Body::SetMetadata { .. } => 44,
        Body::Replace(_) => 45,
    }
}

fn set() -> SequenceSet {
    let pieces = [Piece::Text(b"1:*".to_vec())];
    SequenceSet::parse(&mut Cursor::new(&pieces)).unwrap()
}

fn message() -> AppendMessage {
    let (flags, date, form) = Default::default();
    AppendMessage { flags, date, form, octets: LETTER.len() as u64 }
}

fn search() -> Search {
    Search { by: Numbering::Uid, returns: None, charset: None, key: SearchKey::And(Vec::new()) }
}

/// Every command, with this mailbox wherever it takes one.
fn rows(mailbox: &str) -> Vec<Body> {
    let pattern = || Pattern::from_wire(mailbox.as_bytes(), Mode::Utf7).unwrap();
    let identifier = || "b@h.test".to_owned();
    let items = StatusItem::ALL;
    let notify = |mailboxes| {
        let events = vec![NotifyEvent::MessageNew(Vec::new()), NotifyEvent::MessageExpunge];
        let groups = vec![EventGroup { mailboxes, events }];
        Body::Notify(Some(Notify { status: true, groups }))
    };
    let entry = || "/shared/comment".to_owned();
    let returns = Returns {
        subscribed: true,
        children: true,
        special_use: true,
        my_rights: true,
        status: items.to_vec(),
    };
    let by = Numbering::Uid;
    let flags = Flags { seen: true, ..Flags::default() };
    vec![
        Body::Capability,
        Body::Noop,
        Body::Id,
        Body::Enable(vec!["CONDSTORE".to_owned()]),
        Body::StartTls,
        Body::Authenticate { mechanism: "PLAIN".to_owned(), initial: None },
        Body::Login { name: mailbox.to_owned(), password: Secret::new("x".to_owned()) },
        select(mailbox),
        Body::Select {
            mailbox: name(mailbox),
            access: Access::ReadOnly,
            options: Default::default(),
        },
        Body::Create { mailbox: name(mailbox), special_use: Vec::new() },
        Body::Create { mailbox: name(&format!("{mailbox}/below")), special_use: Vec::new() },
        Body::Delete(name(mailbox)),
        Body::Rename { from: name(mailbox), to: name("mine") },
        Body::Rename { from: name(mailbox), to: name(&format!("{TEAM}/other")) },
        Body::Rename { from: name("Drafts"), to: name(mailbox) },
        Body::Rename { from: name(&format!("{TEAM}/INBOX")), to: name(mailbox) },
        Body::Subscribe(name(mailbox)),
        Body::Unsubscribe(name(mailbox)),
        plain_list(mailbox),
        plain_list("*"),
        Body::List(List {
            selection: Selection { subscribed: true, special_use: false, recursive: true },
            reference: name(""),
            patterns: vec![pattern(), Pattern::from_wire(b"%", Mode::Utf7).unwrap()],
            returns: Some(returns),
            extended: true,
        }),
        Body::Lsub { reference: name(""), pattern: pattern() },
        Body::Lsub {
            reference: name(mailbox),
            pattern: Pattern::from_wire(b"*", Mode::Utf7).unwrap(),
        },
        Body::Namespace,
        status(mailbox, &items),
        append(mailbox),
        Body::Replace(Replace {
            by,
            replaced: Number::Value(1),
            mailbox: name(mailbox),
            message: message(),
        }),
        Body::Check,
        Body::UidExpunge(set()),
        Body::Search(search()),
        Body::Sort(Sort {
            search: search(),
            criteria: vec![SortCriterion { key: SortKey::Arrival, reverse: false }],
        }),
        Body::Thread(Thread { search: search(), algorithm: ThreadAlgorithm::References }),
        Body::Fetch(Fetch {
            by,
            set: set(),
            items: vec![FetchItem::Flags],
            changed_since: None,
            vanished: false,
            partial: None,
        }),
        Body::Store(Store {
            by,
            set: set(),
            change: FlagChange::Add(flags),
            echo: Echo::Flags,
            unchanged_since: None,
        }),
        Body::Copy { by, set: set(), mailbox: name(mailbox) },
        Body::Move { by, set: set(), mailbox: name(mailbox) },
        Body::Expunge,
        Body::Compress,
        notify(NotifyMailboxes::Mailboxes(vec![name(mailbox)])),
        notify(NotifyMailboxes::Subtree(vec![name(mailbox)])),
        Body::Notify(None),
        Body::GetAcl(name(mailbox)),
        set_acl(mailbox, "b@h.test", "lr"),
        Body::DeleteAcl { mailbox: name(mailbox), identifier: identifier() },
        Body::ListRights { mailbox: name(mailbox), identifier: identifier() },
        Body::MyRights(name(mailbox)),
        Body::GetQuota(mailbox.to_owned()),
        Body::GetQuotaRoot(name(mailbox)),
        Body::SetQuota { root: mailbox.to_owned(), limits: vec![("STORAGE".to_owned(), 1)] },
        Body::GetMetadata {
            mailbox: Some(name(mailbox)),
            options: MetadataOptions::default(),
            entries: vec![entry()],
        },
        Body::SetMetadata {
            mailbox: Some(name(mailbox)),
            entries: vec![(entry(), Some(Secret::new(b"x".to_vec())))],
        },
        Body::Unselect,
        Body::Close,
        Body::Unauthenticate,
        Body::Logout,
    ]
}

/// What all rows are answered, one session, with INBOX selected as long as nothing unselects it.
async fn answers(practice: &Practice, mailbox: &str) -> Vec<String> {
    let mut answers = Vec::new();
    for body in rows(mailbox) {
        let mut seat = practice.login("a@h.test").await;
        seat.ok(select("INBOX")).await;
        let command = body.name();
        // IDLE would wait; the selected mailbox is its own, so there is nothing to compare.
        let answer = without_ids(&seat.ask(body).await.replace(mailbox, "<mailbox>"));
        answers.push(format!("{command}: {answer}"));
    }
    answers
}

/// Names of mailboxes for ever are keyed, and each practice has keys of its own.
fn without_ids(answer: &str) -> String {
    let mut pieces = answer.split("MAILBOXID (");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        let rest = piece.split_once(')').map_or("", |(_, rest)| rest);
        format!("{text}MAILBOXID (){rest}")
    })
}

#[test]
fn every_command_has_a_row() {
    let tried: BTreeSet<usize> = rows("x").iter().map(number).collect();
    let idle = number(&Body::Idle);
    let missing: Vec<usize> =
        (0..COMMANDS).filter(|one| !tried.contains(one) && *one != idle).collect();
    assert!(missing.is_empty(), "commands without a row: {missing:?}");
}

#[tokio::test]
async fn every_verb_answers_of_a_mailbox_without_rights_as_of_one_that_does_not_exist() {
    for (there, absent) in [
        // In a mailbox where this login sees another folder, and may do anything but `k` and `a`.
        (format!("{TEAM}/Secret"), format!("{TEAM}/Absent")),
        (format!("{TEAM}/INBOX/Secret"), format!("{TEAM}/INBOX/Absent")),
        // In one where it sees nothing, and in one that is none.
        ("Other Users/quiet@h.test/INBOX".to_owned(), "Other Users/voice@h.test/INBOX".to_owned()),
        ("Other Users/quiet@h.test".to_owned(), "Other Users/voice@h.test".to_owned()),
    ] {
        let mut told = Vec::new();
        for mailbox in [&there, &absent] {
            let practice = Practice::new().await;
            let mut owner = practice.login("team@h.test").await;
            for path in ["Secret", "INBOX/Secret"] {
                owner.ok(Body::Create { mailbox: name(path), special_use: Vec::new() }).await;
                owner.ok(append(path)).await;
            }
            practice.grant("INBOX", "a@h.test", "lrswipxte").await;
            // Rights that let nobody know of a folder.
            practice.grant("Secret", "a@h.test", "swpte").await;
            let mut a = practice.login("a@h.test").await;
            a.ok(append("INBOX")).await;
            told.push(answers(&practice, mailbox).await);
        }
        let [there, absent] = &told[..] else { panic!("two mailboxes") };
        for (there, absent) in there.iter().zip(absent) {
            assert_eq!(there, absent);
        }
    }
}

#[tokio::test]
async fn a_selected_mailbox_whose_rights_are_taken_answers_as_one_that_was_deleted() {
    // Those that look at the selected mailbox; the others never meet it.
    let looks = |body: &Body| matches!(number(body), 1 | 17 | 20 | 21 | 23..=31 | 45);
    let all = rows("x");
    for (body, _) in all.iter().enumerate().filter(|(_, body)| looks(body)) {
        let mut told = Vec::new();
        for deletes in [true, false] {
            let practice = Practice::new().await;
            let mut owner = practice.login("team@h.test").await;
            owner.ok(Body::Create { mailbox: name("Shared"), special_use: Vec::new() }).await;
            owner.ok(append("Shared")).await;
            practice.grant("Shared", "a@h.test", "lrswite").await;
            let mut a = practice.login("a@h.test").await;
            let shared = format!("{TEAM}/Shared");
            a.ok(select(&shared)).await;
            match deletes {
                true => drop(owner.ok(Body::Delete(name("Shared"))).await),
                false => practice.grant("Shared", "a@h.test", "").await,
            }
            let command = rows(&shared).swap_remove(body);
            let name = command.name();
            told.push(format!("{name}: {}", a.ask(command).await));
        }
        assert_eq!(told[0], told[1]);
    }
}
