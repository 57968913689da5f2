//! Station 8, count: facts for the statistics; never content, never an INS.
use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::envelope::QueueId;
use crate::domain::fact::Counterpart;
use crate::domain::fact::Event;
use crate::domain::fact::Fact;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::DeliveryStatus;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::deliver::Delivery;
use crate::flow::deliver::operator::Outcome;
use crate::flow::office::Office;
use crate::infra::directory::Account;

/// What the statistics must know of a letter that was taken in.
pub struct Taken<'a> {
    /// The letter.
    pub letter: QueueId,
    /// When.
    pub at: Timestamp,
    /// Octets in clear.
    pub size: u64,
    /// A report, or an automatic answer.
    pub automatic: bool,
    /// The relay itself wrote it.
    pub from_house: bool,
    /// The mailbox here that sent it, if one did.
    pub account: Option<&'a Account>,
    /// The reverse path.
    pub sender: Option<&'a Address>,
    /// Each recipient, and the mailbox here where it lives.
    pub recipients: Vec<(&'a Address, Option<&'a Account>)>,
}

/// The facts of a letter that was taken in: one for the letter, one for each recipient of a
/// sender here, one for each mailbox here that it reached. `fresh` tells, recipient here by
/// recipient here, whether it is more than a second copy.
pub fn taken_in(office: &Office, taken: &Taken<'_>, fresh: &[bool]) -> Vec<Fact> {
    let home_domain = &office.config.operator.hostname;
    let account = taken.account;
    let sender_domain = account.map_or(home_domain, |account| account.address.domain());
    let kind = account.map(|account| account.kind);
    let fact = |domain: &Domain, mailbox_kind, counterpart, peer: Option<&Address>, event| Fact {
        at: taken.at,
        letter: Some(taken.letter),
        domain: domain.to_string(),
        mailbox_kind,
        counterpart,
        peer: peer.map(|address| address.domain().to_string()),
        event,
        size: taken.size,
        automatic: taken.automatic,
    };
    let writer = writer(office, taken);
    let mut facts = vec![fact(sender_domain, kind, writer, taken.sender, Event::Accepted)];
    let mut here = fresh.iter();
    for (address, home) in &taken.recipients {
        if account.is_some() {
            let counterpart = counterpart_of(office, address);
            facts.push(fact(sender_domain, kind, counterpart, Some(address), Event::Sent));
        }
        if let Some(home) = home
            && here.next().copied().unwrap_or(true)
        {
            let received = Event::Received;
            facts.push(fact(address.domain(), Some(home.kind), writer, taken.sender, received));
        }
    }
    facts
}

/// The fact of one attempt at another operator.
pub fn attempted(office: &Office, delivery: &Delivery, outcome: &Outcome, given_up: bool) -> Fact {
    let letter = delivery.routed().letter();
    let event = match outcome.status() {
        DeliveryStatus::Delivered | DeliveryStatus::Relayed => Event::Relayed,
        DeliveryStatus::Deferred if !given_up => Event::Deferred(outcome.enhanced()),
        DeliveryStatus::Deferred | DeliveryStatus::Failed => Event::Failed(outcome.enhanced()),
    };
    let recipient = delivery.routed().recipients().first().map(|each| &each.recipient.address);
    Fact {
        at: office.clock.now(),
        letter: Some(delivery.routed().queue_id()),
        domain: letter.domain.clone(),
        mailbox_kind: letter.mailbox_kind,
        counterpart: recipient
            .map_or(Counterpart::Unknown, |address| counterpart_of(office, address)),
        peer: recipient.map(|address| address.domain().to_string()),
        event,
        size: letter.size,
        automatic: letter.automatic,
    }
}

/// The fact of a refusal at a door.
pub fn refused(
    office: &Office,
    domain: String,
    mailbox_kind: Option<MailboxKind>,
    recipient: Option<&Address>,
    refusal: Refusal,
) -> Fact {
    Fact {
        at: office.clock.now(),
        letter: None,
        domain,
        mailbox_kind,
        counterpart: recipient
            .map_or(Counterpart::Unknown, |address| counterpart_of(office, address)),
        peer: recipient.map(|address| address.domain().to_string()),
        event: Event::Refused(refusal),
        size: 0,
        automatic: false,
    }
}

fn counterpart_of(office: &Office, address: &Address) -> Counterpart {
    let domain = address.domain();
    if office.is_patient_domain(domain) {
        Counterpart::Patient
    } else if office.hosts(domain) {
        Counterpart::Here
    } else if office.trust.list().lists(domain) {
        Counterpart::OtherOperator
    } else {
        Counterpart::Unknown
    }
}

/// At whose end the writer is. A null path without a login is a report: ours, or another
/// operator's.
fn writer(office: &Office, taken: &Taken<'_>) -> Counterpart {
    match (taken.account, taken.sender) {
        (Some(account), _) if account.kind == MailboxKind::Citizen => Counterpart::Patient,
        (Some(_), _) => Counterpart::Here,
        (None, _) if taken.from_house => Counterpart::Here,
        (None, Some(sender)) => counterpart_of(office, sender),
        (None, None) => Counterpart::OtherOperator,
    }
}
