//! Letters of a team that somebody answered, and marks of readers that stay with what is moved.
use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::Rules;
use crate::server::imap::tests::team::Practice;
use crate::server::imap::tests::team::lists::append;

const KEYWORD: &str = "answered-by-a";

async fn folder(mailbox: &OpenMailbox, name: &str) -> FolderId {
    let folders = mailbox.folders().await.unwrap();
    folders.into_iter().find(|folder| folder.name == name).unwrap().id
}

async fn as_reader(practice: &Practice, address: &str) -> OpenMailbox {
    let own = practice.desk.open(address).await;
    let team = practice.desk.account("team@h.test").unwrap();
    practice.desk.mailboxes.open_for(team, &own).await.unwrap()
}

async fn is_seen(mailbox: &OpenMailbox, folder: FolderId, uid: Uid) -> bool {
    mailbox.entry(folder, uid).await.unwrap().unwrap().flags.seen
}

fn seen() -> FlagChange {
    FlagChange::Add(Flags { seen: true, ..Flags::default() })
}

#[tokio::test]
async fn a_letter_is_found_by_its_message_id_wherever_it_lies_until_it_is_gone() {
    let practice = Practice::new().await;
    let mut owner = practice.login("team@h.test").await;
    owner.ok(append("INBOX")).await;
    let team = practice.desk.open("team@h.test").await;
    let ids = [b"<1@x>".to_vec()];
    assert_eq!(team.mark_answered(&[b"<2@x>".to_vec()], KEYWORD).await.unwrap(), 0);
    assert_eq!(team.mark_answered(&ids, KEYWORD).await.unwrap(), 1);
    let entry = team.entry(FolderId::INBOX, Uid(1)).await.unwrap().unwrap();
    assert!(entry.flags.answered && entry.flags.has_keyword(KEYWORD));
    let trash = folder(&team, "Trash").await;
    team.move_messages(FolderId::INBOX, &[Uid(1)], trash).await.unwrap();
    team.copy(trash, &[Uid(1)], FolderId::INBOX).await.unwrap();
    assert_eq!(team.mark_answered(&ids, "answered-by-b").await.unwrap(), 2);
    let deleted = FlagChange::Add(Flags { deleted: true, ..Flags::default() });
    for (folder, uid) in [(trash, Uid(1)), (FolderId::INBOX, Uid(2))] {
        team.store_flags(folder, &[uid], &deleted).await.unwrap();
        team.expunge(folder, None).await.unwrap();
    }
    assert_eq!(team.mark_answered(&ids, KEYWORD).await.unwrap(), 0);
    // What people keep for themselves is marked by their own mail program.
    let mut a = practice.login("a@h.test").await;
    a.ok(append("INBOX")).await;
    assert_eq!(practice.desk.open("a@h.test").await.mark_answered(&ids, KEYWORD).await.unwrap(), 0);
}

#[tokio::test]
async fn who_may_not_read_and_mark_marks_nothing_as_answered() {
    let practice = Practice::new().await;
    let mut owner = practice.login("team@h.test").await;
    owner.ok(append("INBOX")).await;
    let ids = [b"<1@x>".to_vec()];
    for (rights, marked) in [("", 0), ("lrs", 0), ("lw", 0), ("lrw", 1)] {
        practice.grant("INBOX", "a@h.test", rights).await;
        let reader = as_reader(&practice, "a@h.test").await;
        assert_eq!(reader.mark_answered(&ids, KEYWORD).await.unwrap(), marked, "{rights:?}");
    }
}

#[tokio::test]
async fn what_one_reader_moves_stays_read_for_those_who_had_read_it() {
    let practice = Practice::new().await;
    let mut owner = practice.login("team@h.test").await;
    for name in ["INBOX", "Trash"] {
        practice.grant(name, "a@h.test", "lrswite").await;
        practice.grant(name, "b@h.test", "lrswite").await;
    }
    owner.ok(append("INBOX")).await;
    owner.ok(append("INBOX")).await;
    let team = practice.desk.open("team@h.test").await;
    let archive = folder(&team, "Trash").await;
    let (a, b) = (as_reader(&practice, "a@h.test").await, as_reader(&practice, "b@h.test").await);
    a.store_flags(FolderId::INBOX, &[Uid(1)], &seen()).await.unwrap();
    team.store_flags(FolderId::INBOX, &[Uid(2)], &seen()).await.unwrap();
    b.move_messages(FolderId::INBOX, &[Uid(1), Uid(2)], archive).await.unwrap();
    let of = async |mailbox: &OpenMailbox| {
        (is_seen(mailbox, archive, Uid(1)).await, is_seen(mailbox, archive, Uid(2)).await)
    };
    assert_eq!(of(&a).await, (true, false));
    assert_eq!(of(&b).await, (false, false));
    assert_eq!(of(&team).await, (false, true));
    // And back, by the owner.
    team.move_messages(archive, &[Uid(1)], FolderId::INBOX).await.unwrap();
    assert!(is_seen(&a, FolderId::INBOX, Uid(3)).await);
    assert!(!is_seen(&b, FolderId::INBOX, Uid(3)).await);
}

#[tokio::test]
async fn where_all_share_one_seen_what_one_reads_is_read_for_all() {
    let rules = Rules { shared_seen: true, ..Rules::default() };
    let practice = Practice::with_rules(rules).await;
    let mut owner = practice.login("team@h.test").await;
    for reader in ["a@h.test", "b@h.test"] {
        practice.grant("INBOX", reader, if reader < "b" { "lrs" } else { "lr" }).await;
    }
    owner.ok(append("INBOX")).await;
    let team = practice.desk.open("team@h.test").await;
    let (a, b) = (as_reader(&practice, "a@h.test").await, as_reader(&practice, "b@h.test").await);
    // Without `s` nobody keeps it, for all even less.
    b.store_flags(FolderId::INBOX, &[Uid(1)], &seen()).await.unwrap();
    assert!(!is_seen(&team, FolderId::INBOX, Uid(1)).await);
    a.store_flags(FolderId::INBOX, &[Uid(1)], &seen()).await.unwrap();
    for mailbox in [&team, &a, &b] {
        assert!(is_seen(mailbox, FolderId::INBOX, Uid(1)).await);
        assert_eq!(mailbox.folder(FolderId::INBOX).await.unwrap().unseen, 0);
    }
    let unread = FlagChange::Remove(Flags { seen: true, ..Flags::default() });
    team.store_flags(FolderId::INBOX, &[Uid(1)], &unread).await.unwrap();
    assert!(!is_seen(&a, FolderId::INBOX, Uid(1)).await);
}
