//! Station 8, count: facts for the statistics; never content, never an INS.
use crate::domain::address::Address;
use crate::domain::fact::Counterpart;
use crate::domain::fact::Event;
use crate::domain::fact::Fact;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::DeliveryStatus;
use crate::domain::status::Refusal;
use crate::flow::deliver::Delivery;
use crate::flow::deliver::operator::Outcome;
use crate::flow::office::Office;
use crate::flow::seal::Sealed;

/// The facts of a letter that was taken in: one for the letter, one for each recipient of a
/// sender here, one for each mailbox here that it reached. `fresh` tells, recipient here by
/// recipient here, whether it is more than a second copy.
pub fn taken_in(office: &Office, sealed: &Sealed, fresh: &[bool]) -> Vec<Fact> {
    let cleared = sealed.cleared();
    let account = cleared.authenticated().account();
    let sender = cleared.authenticated().reverse_path().address();
    let automatic = sealed.header().automatic || cleared.is_from_the_house();
    let home_domain = &office.config.operator.hostname;
    let sender_domain = account.map_or(home_domain, |account| account.address.domain());
    let fact = |domain: String, mailbox_kind, counterpart, event| Fact {
        at: sealed.accepted_at(),
        letter: Some(sealed.queue_id()),
        domain,
        mailbox_kind,
        counterpart,
        event,
        size: sealed.size(),
        automatic,
    };
    let writer = counterpart_of_sender(office, account.map(|a| a.kind), sender, account.is_some());
    let kind = account.map(|account| account.kind);
    let mut facts = vec![fact(sender_domain.to_string(), kind, writer, Event::Accepted)];
    let mut here = fresh.iter();
    for approved in cleared.approved() {
        let address = &approved.recipient().address;
        if account.is_some() {
            let reader = counterpart_of(office, address);
            facts.push(fact(sender_domain.to_string(), kind, reader, Event::Sent));
        }
        if let Some(home) = approved.home() {
            if here.next().copied().unwrap_or(true) {
                let domain = address.domain().to_string();
                facts.push(fact(domain, Some(home.kind), writer, Event::Received));
            }
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

fn counterpart_of_sender(
    office: &Office,
    kind: Option<MailboxKind>,
    sender: Option<&Address>,
    logged_in: bool,
) -> Counterpart {
    match (kind, sender) {
        (Some(MailboxKind::Citizen), _) => Counterpart::Patient,
        (Some(_), _) => Counterpart::Here,
        (None, Some(sender)) => counterpart_of(office, sender),
        (None, None) if logged_in => Counterpart::Here,
        // A report: from the house, or from an operator with the null path.
        (None, None) => Counterpart::OtherOperator,
    }
}
