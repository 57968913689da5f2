//! Rights as they are given, shown, inherited, ended; and the names of others' mailboxes.
use std::time::Duration;

use crate::domain::rights::Rights;
use crate::flow::mailbox::readers::Identifier;
use crate::infra::clock::Clock;
use crate::infra::store::Batch;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::Append;
use crate::proto::imap::command::AppendMessage;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::List;
use crate::proto::imap::command::Returns;
use crate::proto::imap::command::Selection;
use crate::proto::imap::command::StatusItem;
use crate::proto::imap::name::Mode;
use crate::proto::imap::name::Pattern;
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
             * STATUS \"{TEAM}/INBOX\" (MESSAGES 0 MAILBOXID (F{}-1))\r\n\
             * MYRIGHTS \"{TEAM}/INBOX\" lrs\r\n\
             * LIST (\\HasNoChildren) \"/\" \"{TEAM}/Sent\"\r\n\
             * MYRIGHTS \"{TEAM}/Sent\" li\r\nt OK Done\r\n",
            "01".repeat(16)
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
    a.ok(rename).await;
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
    team.grant_everywhere(&identifier, rights, Some(until), Batch::new()).await.unwrap();
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
