//! Rights as they are given, shown, inherited, ended; and the names of others' mailboxes.
use std::time::Duration;

use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::rights::Rights;
use crate::domain::secret::Secret;
use crate::flow::mailbox::readers::Identifier;
use crate::infra::clock::Clock;
use crate::infra::store::Batch;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::Append;
use crate::proto::imap::command::AppendMessage;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Echo;
use crate::proto::imap::command::Fetch;
use crate::proto::imap::command::List;
use crate::proto::imap::command::MetadataDepth;
use crate::proto::imap::command::MetadataOptions;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::Returns;
use crate::proto::imap::command::Selection;
use crate::proto::imap::command::StatusItem;
use crate::proto::imap::command::Store;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::Piece;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::name::Mode;
use crate::proto::imap::name::Pattern;
use crate::proto::imap::sequence::SequenceSet;
use crate::server::imap::tests::LETTER;
use crate::server::imap::tests::team::Practice;
use crate::server::imap::tests::team::Seat;
use crate::server::imap::tests::team::TEAM;
use crate::server::imap::tests::team::name;
use crate::server::imap::tests::team::set_acl;

pub(super) fn plain_list(pattern: &str) -> Body {
    Body::List(List {
        selection: Selection::default(),
        reference: name(""),
        patterns: vec![Pattern::from_wire(pattern.as_bytes(), Mode::Utf7).unwrap()],
        returns: None,
        extended: false,
    })
}

pub(super) fn select(mailbox: &str) -> Body {
    let options = Default::default();
    Body::Select { mailbox: name(mailbox), access: Access::ReadWrite, options }
}

pub(super) fn append(mailbox: &str) -> Body {
    let octets = LETTER.len() as u64;
    let (flags, date, form) = Default::default();
    let messages = vec![AppendMessage { flags, date, form, octets }];
    Body::Append(Append { mailbox: name(mailbox), messages })
}

pub(super) fn status(mailbox: &str, items: &[StatusItem]) -> Body {
    Body::Status { mailbox: name(mailbox), items: items.to_vec() }
}

async fn listed(seat: &mut Seat<'_>, pattern: &str) -> Vec<String> {
    let answer = seat.ok(plain_list(pattern)).await;
    let names = answer.lines().filter_map(|line| line.strip_prefix("* LIST ")?.split('"').nth(3));
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_owner_sees_and_changes_the_list_and_keeps_what_it_takes_to_repair_it() {
    let practice = Practice::new().await;
    let mut owner = practice.login("team@h.test").await;
    let all = "lrswipkxteacd";
    let get = || Body::GetAcl(name("INBOX"));
    assert_eq!(
        owner.ok(get()).await,
        format!("* ACL \"INBOX\" \"team@h.test\" {all}\r\nt OK Done\r\n")
    );
    owner.ok(set_acl("INBOX", "A@H.test", "lrsk")).await;
    owner.ok(set_acl("INBOX", "a@h.test", "-s")).await;
    owner.ok(set_acl("INBOX", "a@h.test", "+te")).await;
    owner.ok(set_acl("INBOX", "-b@h.test", "w")).await;
    owner.ok(set_acl("INBOX", "team@h.test", "")).await;
    assert_eq!(
        owner.ok(get()).await,
        "* ACL \"INBOX\" \"team@h.test\" la \"a@h.test\" lrktecd \"-b@h.test\" w\r\nt OK Done\r\n"
    );
    assert!(owner.ask(select("INBOX")).await.starts_with("t NO [NOPERM]"));
    let delete = |identifier: &str| Body::DeleteAcl {
        mailbox: name("INBOX"),
        identifier: identifier.to_owned(),
    };
    for identifier in ["team@h.test", "a@h.test", "-b@h.test", "nobody@h.test", "?"] {
        owner.ok(delete(identifier)).await;
    }
    assert_eq!(
        owner.ok(get()).await,
        format!("* ACL \"INBOX\" \"team@h.test\" {all}\r\nt OK Done\r\n")
    );
    owner.ok(select("INBOX")).await;
}

#[tokio::test]
async fn what_may_be_granted_is_told_and_identifiers_are_not_asked_about() {
    let practice = Practice::new().await;
    let mut owner = practice.login("team@h.test").await;
    let list = |identifier: &str| Body::ListRights {
        mailbox: name("INBOX"),
        identifier: identifier.to_owned(),
    };
    assert_eq!(
        owner.ok(list("Team@h.test")).await,
        "* LISTRIGHTS \"INBOX\" \"Team@h.test\" la r s w i p kxc ted\r\nt OK Done\r\n"
    );
    for identifier in ["a@h.test", "nobody@h.test", "anyone"] {
        assert_eq!(
            owner.ok(list(identifier)).await,
            format!(
                "* LISTRIGHTS \"INBOX\" \"{identifier}\" \"\" l r s w i p kxc ted a\r\nt OK Done\r\n"
            )
        );
    }
    assert!(owner.ask(list("smith")).await.starts_with("t NO [CANNOT]"));
}

#[tokio::test]
async fn a_mailbox_of_others_is_found_listed_and_subscribed_by_who_may_look_it_up() {
    let practice = Practice::new().await;
    let mut a = practice.login("a@h.test").await;
    assert_eq!(listed(&mut a, "Other*").await, [""; 0]);
    practice.grant("INBOX", "a@h.test", "lrs").await;
    practice.grant("Sent", "anyone", "r").await;
    let inbox = format!("{TEAM}/INBOX");
    assert_eq!(listed(&mut a, "Other*").await, ["Other Users", TEAM, &inbox]);
    assert_eq!(listed(&mut a, "%").await[1..3], ["Drafts", "Junk"]);
    assert!(listed(&mut a, "%").await.contains(&"Other Users".to_owned()));
    assert_eq!(listed(&mut a, &format!("{TEAM}/%")).await, [inbox.as_str()]);
    let answer = a.ok(plain_list(&format!("{TEAM}/Se*"))).await;
    assert!(
        !answer.contains("Sent"),
        "no `l`, and \\Sent would be taken for the own one: {answer}"
    );
    a.ok(select(&format!("{TEAM}/inbox"))).await;
    a.ok(select("Other Users/TEAM@H.test/Sent")).await;
    let rights = a.ok(Body::MyRights(name(&inbox))).await;
    assert_eq!(rights, format!("* MYRIGHTS \"{inbox}\" lrs\r\nt OK Done\r\n"));

    let lsub = || Body::Lsub {
        reference: name(""),
        pattern: Pattern::from_wire(b"Other*", Mode::Utf7).unwrap(),
    };
    a.ok(Body::Subscribe(name(&inbox))).await;
    assert_eq!(a.ok(lsub()).await, format!("* LSUB () \"/\" \"{inbox}\"\r\nt OK Done\r\n"));
    let mut b = practice.login("b@h.test").await;
    assert_eq!(b.ok(lsub()).await, "t OK Done\r\n");
    a.ok(Body::Unsubscribe(name(&inbox))).await;
    assert_eq!(a.ok(lsub()).await, "t OK Done\r\n");
}

#[tokio::test]
async fn a_listing_tells_rights_and_status_of_what_may_be_read() {
    let practice = Practice::new().await;
    practice.grant("INBOX", "a@h.test", "lrs").await;
    practice.grant("Sent", "a@h.test", "li").await;
    let team = practice.desk.open("team@h.test").await;
    let id = team.mailbox_id(&team.folder(FolderId::INBOX).await.unwrap());
    let mut a = practice.login("a@h.test").await;
    let returns = Returns {
        my_rights: true,
        status: vec![StatusItem::Messages, StatusItem::MailboxId],
        ..Returns::default()
    };
    let list = Body::List(List {
        selection: Selection::default(),
        reference: name(""),
        patterns: vec![Pattern::from_wire(b"Other Users/*", Mode::Utf7).unwrap()],
        returns: Some(returns),
        extended: true,
    });
    assert_eq!(
        a.ok(list).await,
        format!(
            "* LIST (\\NonExistent \\Noselect \\HasChildren) \"/\" \"{TEAM}\"\r\n\
             * LIST (\\HasNoChildren) \"/\" \"{TEAM}/INBOX\"\r\n\
             * STATUS \"{TEAM}/INBOX\" (MESSAGES 0 MAILBOXID ({id}))\r\n\
             * MYRIGHTS \"{TEAM}/INBOX\" lrs\r\n\
             * LIST (\\HasNoChildren) \"/\" \"{TEAM}/Sent\"\r\n\
             * MYRIGHTS \"{TEAM}/Sent\" li\r\nt OK Done\r\n"
        )
    );
}

#[tokio::test]
async fn a_new_folder_has_the_rights_of_the_one_above_it_and_keeps_them_when_it_moves() {
    let practice = Practice::new().await;
    practice.grant("INBOX", "a@h.test", "lrkx").await;
    let mut a = practice.login("a@h.test").await;
    let create = |path: &str| Body::Create { mailbox: name(path), special_use: Vec::new() };
    a.ok(create(&format!("{TEAM}/INBOX/Labo/2026"))).await;
    let mine = |path: &str| Body::MyRights(name(path));
    let rights = a.ok(mine(&format!("{TEAM}/INBOX/Labo/2026"))).await;
    assert!(rights.contains(" lrkxc\r\n"), "{rights}");
    let refused = a.ask(create(&format!("{TEAM}/Elsewhere"))).await;
    assert!(refused.starts_with("t NO [NOPERM]"), "{refused}");
    let rename = Body::Rename {
        from: name(&format!("{TEAM}/INBOX/Labo")),
        to: name(&format!("{TEAM}/INBOX/Biologie")),
    };
    a.ok(Body::Enable(vec!["IMAP4REV2".to_owned()])).await;
    let told = a.ok(rename).await;
    let (new, old) = (format!("{TEAM}/INBOX/Biologie"), format!("{TEAM}/INBOX/Labo"));
    let expected = format!("* LIST () \"/\" \"{new}\" (\"OLDNAME\" (\"{old}\"))\r\n");
    assert!(told.contains(&expected), "{told}");
    a.ok(mine(&format!("{TEAM}/INBOX/Biologie/2026"))).await;
    let home = Body::Rename { from: name(&format!("{TEAM}/INBOX/Biologie")), to: name("Mine") };
    assert!(a.ask(home).await.starts_with("t NO [CANNOT]"));
    a.ok(Body::Delete(name(&format!("{TEAM}/INBOX/Biologie/2026")))).await;
    let gone = a.ask(Body::Delete(name(&format!("{TEAM}/INBOX")))).await;
    assert!(gone.starts_with("t NO [CANNOT]"), "{gone}");
}

#[tokio::test]
async fn what_is_granted_until_a_time_ends_at_that_time_also_in_open_sessions() {
    let practice = Practice::new().await;
    let team = practice.desk.open("team@h.test").await;
    let identifier = Identifier::parse("a@h.test").unwrap();
    let until = practice.clock.now().after(Duration::from_secs(3_600));
    let rights = Rights::parse("lrsw").unwrap();
    team.grant_everywhere(&identifier, rights, (None, Some(until)), Batch::new()).await.unwrap();
    let mut owner = practice.login("team@h.test").await;
    owner.ok(append("INBOX")).await;
    let mut a = practice.login("a@h.test").await;
    let all = listed(&mut a, "Other Users/*").await;
    assert_eq!(all.len(), 6, "every folder, and the level above them: {all:?}");
    let inbox = format!("{TEAM}/INBOX");
    assert!(a.ok(select(&inbox)).await.contains("* 1 EXISTS"));
    practice.clock.set(practice.clock.now().after(Duration::from_secs(3_599)));
    a.ok(Body::Noop).await;
    practice.clock.set(until);
    let ended = a.ask(Body::Noop).await;
    assert!(ended.contains("* BYE The selected mailbox was deleted"), "{ended}");
    let mut a = practice.login("a@h.test").await;
    assert_eq!(a.ask(select(&inbox)).await, "t NO [NONEXISTENT] No such mailbox\r\n");
    assert_eq!(listed(&mut a, "Other*").await, [""; 0]);
    team.sweep_acl(Batch::new()).await.unwrap();
    let own = practice.desk.open("a@h.test").await;
    assert!(practice.desk.mailboxes.granting(&own).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_subscribed_name_outlives_its_folder_and_follows_its_new_name() {
    let practice = Practice::new().await;
    let mut a = practice.login("a@h.test").await;
    let create = |path: &str| Body::Create { mailbox: name(path), special_use: Vec::new() };
    for path in ["x", "y"] {
        a.ok(create(path)).await;
        a.ok(Body::Subscribe(name(path))).await;
    }
    a.ok(Body::Rename { from: name("y"), to: name("z") }).await;
    a.ok(Body::Delete(name("x"))).await;
    let lsub = || Body::Lsub {
        reference: name(""),
        pattern: Pattern::from_wire(b"%", Mode::Utf7).unwrap(),
    };
    let answer = a.ok(lsub()).await;
    assert!(
        answer.contains("* LSUB (\\Noselect) \"/\" \"x\"\r\n* LSUB () \"/\" \"z\""),
        "{answer}"
    );
    assert!(!listed(&mut a, "*").await.contains(&"x".to_owned()));
    a.ok(Body::Unsubscribe(name("x"))).await;
    assert!(!a.ok(lsub()).await.contains("\"x\""));
    assert!(a.ask(Body::Unsubscribe(name("x"))).await.starts_with("t NO [NONEXISTENT]"));
}

fn flags(mailbox_flags: &str) -> Flags {
    Flags {
        seen: mailbox_flags.contains('s'),
        flagged: mailbox_flags.contains('f'),
        deleted: mailbox_flags.contains('d'),
        ..Flags::default()
    }
}

fn store(change: FlagChange) -> Body {
    let (by, set, echo) = (Numbering::Uid, everything(), Echo::Flags);
    Body::Store(Store { by, set, change, echo, unchanged_since: None })
}

fn fetch_flags() -> Body {
    let (by, set, items) = (Numbering::Uid, everything(), vec![FetchItem::Flags]);
    Body::Fetch(Fetch { by, set, items, changed_since: None, vanished: false, partial: None })
}

fn everything() -> SequenceSet {
    let pieces = [Piece::Text(b"1:*".to_vec())];
    SequenceSet::parse(&mut Cursor::new(&pieces)).unwrap()
}

#[tokio::test]
async fn each_reader_has_an_own_seen_that_nobody_else_is_told_of() {
    let practice = Practice::new().await;
    for reader in ["a@h.test", "b@h.test"] {
        practice.grant("INBOX", reader, "lrswi").await;
    }
    let inbox = format!("{TEAM}/INBOX");
    let mut owner = practice.login("team@h.test").await;
    owner.ok(append("INBOX")).await;
    owner.ok(append("INBOX")).await;
    owner.ok(select("INBOX")).await;
    let mut a = practice.login("a@h.test").await;
    let mut b = practice.login("b@h.test").await;
    a.ok(select(&inbox)).await;
    b.ok(select(&inbox)).await;
    let told = a.ok(store(FlagChange::Add(flags("sf")))).await;
    assert!(told.contains("\\Seen") && told.contains("\\Flagged"), "{told}");
    let unseen = || [StatusItem::Unseen];
    let count = |answer: String| answer.split("UNSEEN ").nth(1).map(|rest| rest[..1].to_owned());
    assert_eq!(count(a.ok(status(&inbox, &unseen())).await).as_deref(), Some("0"));
    for (other, name) in [(&mut b, inbox.as_str()), (&mut owner, "INBOX")] {
        let news = other.ok(Body::Noop).await;
        assert!(news.contains("\\Flagged") && !news.contains("\\Seen"), "{news}");
        let fetched = other.ok(fetch_flags()).await;
        assert!(!fetched.contains("\\Seen"), "{fetched}");
        assert_eq!(count(other.ok(status(name, &unseen())).await).as_deref(), Some("2"));
    }
    let mut again = practice.login("a@h.test").await;
    again.ok(select(&inbox)).await;
    a.ok(store(FlagChange::Remove(flags("s")))).await;
    let news = again.ok(Body::Noop).await;
    assert!(news.contains("FETCH") && !news.contains("\\Seen"), "{news}");
    assert_eq!(count(again.ok(status(&inbox, &unseen())).await).as_deref(), Some("2"));
    owner.ok(store(FlagChange::Add(flags("s")))).await;
    assert!(!b.ok(fetch_flags()).await.contains("\\Seen"));
}

#[tokio::test]
async fn each_verb_takes_its_right_and_marks_take_theirs() {
    let inbox = format!("{TEAM}/INBOX");
    let below = format!("{TEAM}/INBOX/x");
    type Verb = fn(&str, &str) -> Body;
    let rows: [(&str, Verb); 11] = [
        ("r", |inbox, _| select(inbox)),
        ("r", |inbox, _| status(inbox, &[StatusItem::Messages])),
        ("i", |inbox, _| append(inbox)),
        ("k", |_, below| Body::Create { mailbox: name(below), special_use: Vec::new() }),
        ("l", |inbox, _| Body::Subscribe(name(inbox))),
        ("a", |inbox, _| Body::GetAcl(name(inbox))),
        ("a", |inbox, _| set_acl(inbox, "b@h.test", "l")),
        ("a", |inbox, _| Body::DeleteAcl {
            mailbox: name(inbox),
            identifier: "b@h.test".to_owned(),
        }),
        ("a", |inbox, _| Body::ListRights {
            mailbox: name(inbox),
            identifier: "b@h.test".to_owned(),
        }),
        ("r", |inbox, _| Body::GetQuotaRoot(name(inbox))),
        ("x", |_, below| Body::Delete(name(&below.replace("/x", "/there")))),
    ];
    for (right, body) in rows {
        let practice = Practice::new().await;
        let mut owner = practice.login("team@h.test").await;
        let there = Body::Create { mailbox: name("INBOX/there"), special_use: Vec::new() };
        owner.ok(there).await;
        let all = "lrswipkxtea";
        for folder in ["INBOX", "INBOX/there"] {
            practice.grant(folder, "a@h.test", &all.replace(right, "")).await;
        }
        let mut a = practice.login("a@h.test").await;
        let asked = body(&inbox, &below);
        let verb = asked.name();
        let refused = a.ask(asked).await;
        assert!(refused.starts_with("t NO [NOPERM]"), "{verb} without {right}: {refused}");
        // LIST of a folder needs `l` besides, so that it is seen at all.
        for folder in ["INBOX", "INBOX/there"] {
            practice.grant(folder, "a@h.test", &format!("l{right}")).await;
        }
        a.ok(body(&inbox, &below)).await;
    }
}

#[tokio::test]
async fn only_the_marks_that_ones_rights_are_for_are_set() {
    let practice = Practice::new().await;
    let inbox = format!("{TEAM}/INBOX");
    for (letters, kept) in [("lrs", "\\Seen"), ("lrw", "\\Flagged"), ("lrt", "\\Deleted")] {
        practice.grant("INBOX", "a@h.test", letters).await;
        let mut owner = practice.login("team@h.test").await;
        owner.ok(append("INBOX")).await;
        let mut a = practice.login("a@h.test").await;
        let opened = a.ok(select(&inbox)).await;
        let permanent = opened.split("PERMANENTFLAGS (").nth(1).unwrap().split(')').next().unwrap();
        a.ok(store(FlagChange::Add(flags("sfd")))).await;
        let fetched = a.ok(fetch_flags()).await;
        for mark in ["\\Seen", "\\Flagged", "\\Deleted"] {
            assert_eq!(fetched.contains(mark), mark == kept, "{letters}: {fetched}");
            assert_eq!(permanent.contains(mark), mark == kept, "{letters}: {permanent}");
        }
        assert!(a.ask(Body::Expunge).await.starts_with("t NO [NOPERM]"));
        owner.ok(select("INBOX")).await;
        owner.ok(store(FlagChange::Add(flags("d")))).await;
        owner.ok(Body::Expunge).await;
    }
}

#[tokio::test]
async fn one_claim_stands_until_it_is_taken_away() {
    let practice = Practice::new().await;
    practice.grant("INBOX", "a@h.test", "lrsw").await;
    practice.grant("INBOX", "b@h.test", "lrsw").await;
    let inbox = format!("{TEAM}/INBOX");
    let mut a = practice.login("a@h.test").await;
    let mut b = practice.login("b@h.test").await;
    practice.login("team@h.test").await.ok(append("INBOX")).await;
    a.ok(select(&inbox)).await;
    b.ok(select(&inbox)).await;
    let claim =
        |who: &str| Flags { keywords: [format!("claimed-{who}")].into(), ..Flags::default() };
    a.ok(store(FlagChange::Add(claim("a")))).await;
    let refused = b.ask(store(FlagChange::Add(claim("b")))).await;
    assert!(refused.contains("t NO [INUSE]"), "{refused}");
    a.ok(store(FlagChange::Add(claim("a")))).await;
    b.ok(store(FlagChange::Remove(claim("a")))).await;
    b.ok(store(FlagChange::Add(claim("b")))).await;
    assert!(a.ok(fetch_flags()).await.contains("(claimed-b)"));
}

#[tokio::test]
async fn annotations_are_shared_or_private_bounded_and_listed_by_depth() {
    let practice = Practice::new().await;
    practice.grant("INBOX", "a@h.test", "lrw").await;
    practice.grant("INBOX", "b@h.test", "lr").await;
    let inbox = format!("{TEAM}/INBOX");
    let set = |entries: &[(&str, Option<&str>)]| Body::SetMetadata {
        mailbox: Some(name(&inbox)),
        entries: entries
            .iter()
            .map(|(name, value)| {
                ((*name).to_owned(), value.map(|value| Secret::new(value.as_bytes().to_vec())))
            })
            .collect(),
    };
    let get = |options: MetadataOptions, entry: &str| Body::GetMetadata {
        mailbox: Some(name(&inbox)),
        options,
        entries: vec![entry.to_owned()],
    };
    let plain = MetadataOptions::default();
    let mut a = practice.login("a@h.test").await;
    let mut b = practice.login("b@h.test").await;
    a.ok(set(&[
        ("/shared/Comment", Some("labo")),
        ("/private/comment", Some("mine")),
        ("/shared/vendor/x/y", Some("deep")),
    ]))
    .await;
    let shared = b.ok(get(plain, "/shared/comment")).await;
    assert!(
        shared.contains("(/shared/comment \"labo\")") || shared.contains("\"labo\""),
        "{shared}"
    );
    assert!(b.ok(get(plain, "/private/comment")).await.contains(" NIL)"));
    assert!(b.ask(set(&[("/shared/comment", Some("x"))])).await.starts_with("t NO [NOPERM]"));
    b.ok(set(&[("/private/comment", Some("b"))])).await;
    assert!(a.ok(get(plain, "/private/comment")).await.contains("\"mine\""));
    for (depth, count) in
        [(MetadataDepth::Entry, 0), (MetadataDepth::Children, 1), (MetadataDepth::All, 2)]
    {
        let answer = a.ok(get(MetadataOptions { depth, size_max: None }, "/shared")).await;
        let values = answer.matches("labo").count() + answer.matches("deep").count();
        assert_eq!(values, count, "{answer}");
    }
    let short = MetadataOptions { size_max: Some(3), ..plain };
    let answer = a.ok(get(short, "/shared/comment")).await;
    assert!(
        answer.contains("t OK [METADATA LONGENTRIES 4]") && !answer.contains("labo"),
        "{answer}"
    );
    let long = "x".repeat(20_000);
    let answer = a.ask(set(&[("/private/long", Some(&long))])).await;
    assert!(answer.starts_with("t NO [METADATA MAXSIZE 10240]"), "{answer}");
    a.ok(set(&[("/shared/comment", None)])).await;
    assert!(b.ok(get(plain, "/shared/comment")).await.contains(" NIL)"));
    let many: Vec<(String, Option<&str>)> =
        (0..101).map(|one| (format!("/private/n{one}"), Some("x"))).collect();
    let many: Vec<(&str, Option<&str>)> =
        many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert!(a.ask(set(&many)).await.starts_with("t NO [METADATA TOOMANY]"));
    let server = |entry: &str| Body::SetMetadata {
        mailbox: None,
        entries: vec![(entry.to_owned(), Some(Secret::new(b"x".to_vec())))],
    };
    a.ok(server("/private/vendor/x")).await;
    assert!(a.ask(server("/shared/comment")).await.starts_with("t NO [NOPERM]"));
}

#[tokio::test]
async fn quotas_are_told_to_readers_and_set_by_nobody_here() {
    let practice = Practice::new().await;
    practice.grant("INBOX", "a@h.test", "lr").await;
    let mut a = practice.login("a@h.test").await;
    let inbox = format!("{TEAM}/INBOX");
    let own = a.ok(Body::GetQuotaRoot(name("INBOX"))).await;
    // Without limits there is no quota root.
    assert_eq!(own, "* QUOTAROOT \"INBOX\"\r\nt OK Done\r\n");
    let team = a.ok(Body::GetQuotaRoot(name(&inbox))).await;
    assert_eq!(team, format!("* QUOTAROOT \"{inbox}\"\r\nt OK Done\r\n"));
    let set = Body::SetQuota { root: "Mailbox".to_owned(), limits: Vec::new() };
    assert!(a.ask(set).await.starts_with("t NO [NOPERM]"));
    for nothing in ["", "Mailbox", TEAM, "Other Users/quiet@h.test", "Other Users/nobody@h.test"] {
        let answer = a.ask(Body::GetQuota(nothing.to_owned())).await;
        assert_eq!(answer, "t NO [NONEXISTENT] No such quota root\r\n");
    }
}
