//! Full mailboxes at the doors: who is refused, when, and that nobody else loses a letter by it.
use std::sync::Arc;

use vaguemestre::domain::address::Address;
use vaguemestre::domain::address::ReversePath;
use vaguemestre::domain::door::Door;
use vaguemestre::domain::envelope::MailParameters;
use vaguemestre::domain::envelope::RcptParameters;
use vaguemestre::domain::envelope::Recipient;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::status::Refusal;
use vaguemestre::flow;
use vaguemestre::flow::accept;
use vaguemestre::flow::accept::Caller;
use vaguemestre::flow::accept::Credentials;
use vaguemestre::flow::authenticate::Authenticated;
use vaguemestre::infra::directory::Account;
use vaguemestre::infra::directory::Mailboxes;
use vaguemestre::infra::directory::NewAccount;

use crate::queue::lab::Lab;
use crate::queue::lab::SENDER;

const OTHER: &str = "dr.mars@hopital.mssante.test";

async fn house(rules: &str) -> Lab {
    let lab = Lab::new(&[], &[], &format!("[mailboxes]\n{rules}")).await;
    lab.sender().await;
    let new = NewAccount {
        address: Address::parse(OTHER).unwrap(),
        kind: MailboxKind::Personal,
        listing: Listing::Public,
        display_name: "Dr Mars".to_owned(),
        password: Some(&Secret::new("another long password".to_owned())),
    };
    let account = lab.office().accounts.add(new).await.unwrap();
    lab.office().mailboxes.create(&account).await.unwrap();
    lab
}

/// MAIL by the sender, with the size that it tells.
async fn mail(lab: &Lab, size: Option<u64>) -> Authenticated {
    let account = lab.sender().await;
    let path = ReversePath::Address(account.address.clone());
    let caller = Caller {
        ip: None,
        client_name: "client.test".to_owned(),
        protocol: "ESMTPSA",
        tls: None,
        credentials: Credentials::Login(account),
    };
    let accepted = accept::accept(Door::Submission, caller);
    let parameters = MailParameters { size, ..MailParameters::default() };
    flow::sender(lab.office(), accepted, path, parameters).await.unwrap()
}

/// A letter of so many octets for these people: at the first word of refusal it ends.
async fn send(lab: &Lab, to: &[&str], size: Option<u64>, octets: usize) -> Result<(), Refusal> {
    let sender = mail(lab, size).await;
    let mut recipients = Vec::new();
    for address in to {
        let address = Address::parse(address).unwrap();
        let recipient = Recipient { address, parameters: RcptParameters::default() };
        recipients.push(flow::recipient(lab.office(), &sender, recipient).await?);
    }
    let mut sealing = flow::begin(lab.office(), sender, recipients).await?;
    let text = format!("From: {SENDER}\r\nSubject: a\r\n\r\n{}\r\n", "a".repeat(octets));
    sealing.write(text.as_bytes())?;
    flow::finish(lab.office(), sealing).await.map(|_| ())
}

async fn messages(lab: &Lab, address: &str) -> u64 {
    let office = Arc::clone(lab.office());
    let address = Address::parse(address).unwrap();
    let account: Account = office.accounts.find(&address).await.unwrap().unwrap();
    office.mailboxes.open(&account).await.unwrap().usage().await.unwrap().messages
}

#[tokio::test]
async fn a_full_mailbox_is_refused_at_rcpt_and_the_others_get_the_letter() {
    let lab = house("quota_messages = 1").await;
    send(&lab, &[OTHER], None, 10).await.unwrap();
    assert_eq!(send(&lab, &[OTHER], None, 10).await, Err(Refusal::MailboxFull));
    let sender = mail(&lab, None).await;
    for (address, expected) in [(OTHER, Err(Refusal::MailboxFull)), (SENDER, Ok(()))] {
        let address = Address::parse(address).unwrap();
        let recipient = Recipient { address, parameters: RcptParameters::default() };
        let answer = flow::recipient(lab.office(), &sender, recipient).await;
        assert_eq!(answer.map(|_| ()), expected);
    }
    send(&lab, &[SENDER], None, 10).await.unwrap();
    assert_eq!((messages(&lab, SENDER).await, messages(&lab, OTHER).await), (1, 1));
    // What became of their own letters, the owner is told all the same.
    lab.letter(&[SENDER]).await;
    assert_eq!(messages(&lab, SENDER).await, 2);
}

#[tokio::test]
async fn a_letter_too_large_for_one_of_its_mailboxes_reaches_the_others() {
    let lab = house("quota_octets = 5000").await;
    send(&lab, &[OTHER], None, 2_000).await.unwrap();
    // Who tells the size is answered before the letter is sent.
    assert_eq!(send(&lab, &[OTHER], Some(9_000), 9_000).await, Err(Refusal::MailboxFull));
    // Who does not, and writes to nobody else, is answered after it.
    assert_eq!(send(&lab, &[OTHER], None, 4_000).await, Err(Refusal::MailboxFull));
    assert_eq!((messages(&lab, SENDER).await, messages(&lab, OTHER).await), (0, 1));
    // With others it is taken: they must not lose theirs, and the sender could not tell which.
    send(&lab, &[OTHER, SENDER], None, 4_000).await.unwrap();
    assert_eq!((messages(&lab, SENDER).await, messages(&lab, OTHER).await), (1, 2));
    assert_eq!(send(&lab, &[OTHER], None, 10).await, Err(Refusal::MailboxFull));
    assert!(Refusal::MailboxFull.is_temporary(), "other relays try again");
}
