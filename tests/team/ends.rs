//! What has an end ends by the clock: delegations, and absences with the substitute's rights.
use std::sync::Arc;
use std::time::Duration;

use vaguemestre::domain::address::Address;
use vaguemestre::domain::address::ReversePath;
use vaguemestre::domain::door::Door;
use vaguemestre::domain::envelope::MailParameters;
use vaguemestre::domain::envelope::RcptParameters;
use vaguemestre::domain::envelope::Recipient;
use vaguemestre::domain::fact::DelegationStep;
use vaguemestre::domain::folder::FolderId;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::rights::Right;
use vaguemestre::domain::rights::Rights;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::time::Day;
use vaguemestre::flow;
use vaguemestre::flow::accept;
use vaguemestre::flow::accept::Caller;
use vaguemestre::flow::accept::Credentials;
use vaguemestre::flow::filter::Away;
use vaguemestre::flow::mailbox;
use vaguemestre::flow::team;
use vaguemestre::flow::team::Delegation;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::directory::Account;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::infra::store;

use crate::queue::lab::Lab;
use crate::queue::lab::SENDER;

const HOUR: Duration = Duration::from_secs(3_600);
const TEAM: &str = "accueil@hopital.mssante.test";
const STAND_IN: &str = "dr.sol@hopital.mssante.test";

/// A lab whose mailboxes have its clock as well.
async fn lab() -> Lab {
    let mut lab = Lab::new(&[], &[], "").await;
    let clock = Arc::clone(&lab.clock) as Arc<dyn Clock>;
    let office = lab.office_mut();
    let (store, blobs) = (Arc::clone(&office.store), office.blobs.clone());
    let keys = Arc::clone(&office.keys);
    office.mailboxes = mailbox::Mailboxes::new(store, blobs, keys, clock);
    lab
}

async fn add(lab: &Lab, text: &str, kind: MailboxKind) -> Account {
    let new = NewAccount {
        address: Address::parse(text).unwrap(),
        kind,
        listing: Listing::Public,
        display_name: "Somebody".to_owned(),
        password: Some(&Secret::new("a long password".to_owned())),
    };
    let account = lab.office().accounts.add(new).await.unwrap();
    lab.office().mailboxes.create(&account).await.unwrap();
    account
}

async fn may_read(lab: &Lab, owner: &Account, reader: &Account) -> bool {
    let mailboxes = &lab.office().mailboxes;
    let own = mailboxes.open(reader).await.unwrap();
    let theirs = mailboxes.open_for(owner, &own).await.unwrap();
    theirs.rights(FolderId::INBOX).await.unwrap().has(Right::Read)
}

async fn told(lab: &Lab) -> Vec<(DelegationStep, String)> {
    let (from, to) = (Day::parse("2020-01-01").unwrap(), Day::parse("2098-12-31").unwrap());
    let told = lab.office().ledger.delegations(from, to).await.unwrap();
    told.into_iter().map(|(step, record)| (step, record.author)).collect()
}

#[tokio::test]
async fn a_delegation_that_is_over_counts_no_more_and_the_tidying_writes_down_its_end_once() {
    let lab = lab().await;
    let owner = add(&lab, TEAM, MailboxKind::Organisational).await;
    let reader = add(&lab, STAND_IN, MailboxKind::Personal).await;
    let other = lab.sender().await;
    let grant = |to: &Account, until| Delegation {
        mailbox: owner.address.clone(),
        reader: to.address.clone(),
        rights: Rights::parse("lrs").unwrap(),
        since: lab.now(),
        until,
        author: "operator".to_owned(),
        reason: "holidays".to_owned(),
    };
    team::grant(lab.office(), &grant(&reader, Some(lab.now().after(HOUR)))).await.unwrap();
    team::grant(lab.office(), &grant(&other, None)).await.unwrap();
    assert_eq!(team::sweep(lab.office()).await.unwrap(), 0, "nothing is over");
    lab.pass(HOUR - Duration::from_millis(1));
    assert!(may_read(&lab, &owner, &reader).await);
    lab.pass(Duration::from_millis(1));
    assert!(!may_read(&lab, &owner, &reader).await, "at once, before anybody tidied");
    assert_eq!(team::list(lab.office()).await.unwrap().len(), 2);
    assert_eq!(team::sweep(lab.office()).await.unwrap(), 1);
    assert_eq!(team::sweep(lab.office()).await.unwrap(), 0, "once");
    let left = team::list(lab.office()).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].reader, other.address);
    assert!(may_read(&lab, &owner, &other).await, "what has no end stays");
    let ended: Vec<_> =
        told(&lab).await.into_iter().filter(|(step, _)| *step == DelegationStep::Ended).collect();
    assert_eq!(ended, [(DelegationStep::Ended, "the clock".to_owned())]);
    let journal = lab.office().journal.last(10).await.unwrap();
    assert!(journal.iter().any(|entry| entry.action == "team end" && entry.reason == "holidays"));
}

/// A letter of the sender's to the absent, as a person writes it.
async fn write_to(lab: &Lab, to: &str) {
    let account = lab.sender().await;
    let caller = Caller {
        ip: None,
        client_name: "client.test".to_owned(),
        protocol: "ESMTPSA",
        tls: None,
        credentials: Credentials::Login(account.clone()),
    };
    let accepted = accept::accept(Door::Submission, caller);
    let path = ReversePath::Address(account.address);
    let parameters = MailParameters::default();
    let sender = flow::sender(lab.office(), accepted, path, parameters).await.unwrap();
    let address = Address::parse(to).unwrap();
    let recipient = Recipient { address, parameters: RcptParameters::default() };
    let recipient = flow::recipient(lab.office(), &sender, recipient).await.unwrap();
    let mut sealing = flow::begin(lab.office(), sender, vec![recipient]).await.unwrap();
    let letter = format!(
        "From: {SENDER}\r\nTo: {to}\r\nSubject: CR\r\nDate: Fri, 20 Nov 2026 14:36:00 +0100\r\n\
         Message-ID: <{}@client.test>\r\n\r\nBonjour\r\n",
        uuid::Uuid::new_v4().simple()
    );
    sealing.write(letter.as_bytes()).unwrap();
    flow::finish(lab.office(), sealing).await.unwrap();
}

/// Answers and reports that are promised.
async fn promised(lab: &Lab) -> usize {
    lab.office().store.scan(store::prefix(b"W/"), 100).await.unwrap().rows.len()
}

#[tokio::test]
async fn after_its_last_moment_an_absence_answers_nobody_and_lends_nothing() {
    let lab = lab().await;
    let owner = add(&lab, TEAM, MailboxKind::Organisational).await;
    let reader = add(&lab, STAND_IN, MailboxKind::Personal).await;
    let away = Away {
        substitute: reader.address.clone(),
        from: lab.now().after(HOUR),
        until: lab.now().after(HOUR * 2),
        text: None,
        delegated: Rights::parse("lrs").unwrap(),
        recorded: lab.now(),
        author: "operator".to_owned(),
        reason: "leave".to_owned(),
    };
    team::set_away(lab.office(), &owner.address, &away).await.unwrap();
    write_to(&lab, TEAM).await;
    assert_eq!(promised(&lab).await, 0, "it has not begun");
    assert!(!may_read(&lab, &owner, &reader).await);
    lab.pass(HOUR);
    write_to(&lab, TEAM).await;
    let during = promised(&lab).await;
    assert!(during > 0, "the sender is answered");
    assert!(may_read(&lab, &owner, &reader).await);
    lab.pass(HOUR);
    write_to(&lab, TEAM).await;
    assert_eq!(promised(&lab).await, during, "it is over");
    assert!(!may_read(&lab, &owner, &reader).await);
    assert_eq!(team::sweep(lab.office()).await.unwrap(), 1);
    assert!(!may_read(&lab, &owner, &reader).await);
    let steps: Vec<_> = told(&lab).await.into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [DelegationStep::Away, DelegationStep::Granted, DelegationStep::Ended]);
}
