//! Station 7, deliver: into a mailbox here, or over SMTP to another operator.
pub mod operator;
mod unattempted; // an end that nobody attempts

use std::sync::Arc;
use std::time::Duration;

use crate::domain::delivery::NextHop;
use crate::domain::envelope::Recipient;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::status::DeliveryStatus;
use crate::domain::status::EnhancedStatus;
use crate::flow::certificates;
use crate::flow::certificates::Direction;
use crate::flow::filter::Placing;
use crate::flow::gateway::outbound;
use crate::flow::mailbox::Deposit;
use crate::flow::mailbox::Letter;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::ClearPermit;
use crate::flow::office::Office;
use crate::flow::reading::Sealed;
use crate::flow::route::Finder;
use crate::flow::route::NoWay;
use crate::flow::route::Routed;
use operator::Contact;
use operator::Demands;
use operator::HandedOver;
use operator::Handover;
use operator::HandoverResult;
use operator::Met;
use operator::Outcome;

pub use unattempted::without_attempt;

/// Time for one letter to one operator, in all.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(600);

/// What became of a letter at one hop.
pub struct Delivery {
    routed: Routed,
    outcomes: Vec<Outcome>,
    contact: Contact,
    met: Vec<Met>,
    is_too_much: bool,
    /// The header section of the content, for a report to the sender.
    header: Vec<u8>,
}

/// Why a letter's content is not at hand.
enum Unopened {
    /// Other letters have the memory.
    NoMemory,
    /// It cannot be read.
    Unreadable(&'static str),
}

/// Prepares deposits for all recipients who live here; they become durable in the commit that
/// queues the letter, where the filters want them: for each the form that it gets. `identity` is a digest of the letter as another relay sent it.
pub fn into_mailboxes(
    homes: &[OpenMailbox],
    placings: &[Placing],
    letters: &[Letter<'_>],
    identity: Option<&[u8; 32]>,
) -> Vec<Deposit> {
    let identity = identity.map(<[u8; 32]>::as_slice);
    homes
        .iter()
        .zip(placings)
        .zip(letters)
        .map(|((mailbox, placing), letter)| {
            let (folder, flags, more) = placing.places();
            Deposit::new(mailbox, folder, letter, flags, identity)
                .also_in(more)
                .held_by(placing.holds())
        })
        .collect()
}

/// Hands a letter to the operator behind the hop. Never fails: what does not work is an outcome.
pub async fn to_operator(office: &Office, routed: Routed) -> Delivery {
    // Names first: no clear text waits for the DNS.
    let hosts = match routed.next() {
        NextHop::Operator { domain, route } => Finder::of(office).find(domain, route).await,
        NextHop::Mailbox => Ok(Vec::new()),
    };
    let (content, _room) = match content(office, &routed).await {
        Ok(content) => content,
        Err(Unopened::NoMemory) => {
            let reason = "no memory for one more letter now";
            let delivery = not_tried(routed, EnhancedStatus(4, 3, 0), reason, Vec::new());
            return Delivery { is_too_much: true, ..delivery };
        }
        Err(Unopened::Unreadable(reason)) => {
            return not_tried(routed, EnhancedStatus(4, 3, 0), reason, Vec::new());
        }
    };
    let letter = content.expose().as_slice();
    let skip = usize::try_from(routed.letter().return_path_octets).unwrap_or(0);
    let travels = letter.get(skip..).unwrap_or(letter);
    let header = header_section(travels).to_vec();
    let NextHop::Operator { domain, .. } = routed.next() else {
        let reason = "the domain moved here while the letter waited";
        return not_tried(routed, EnhancedStatus(4, 4, 4), reason, header);
    };
    // Asked here and not only when the attempt was planned: nothing passes this line in clear for
    // whom it must be sealed.
    let is_sealed = routed.letter().encrypted;
    let mut addresses = routed.recipients().iter().map(|each| &each.recipient.address);
    let is_withheld = |address| outbound::is_withheld(office, address, is_sealed);
    if routed.is_withheld() || addresses.any(is_withheld) {
        return not_tried(routed, EnhancedStatus(4, 7, 5), outbound::WITHHELD, header);
    }
    if office.trust.is_expired(office.clock.now()) {
        let reason = "the trust list is too old to judge by (trust.age_limit_seconds)";
        return not_tried(routed, EnhancedStatus(4, 7, 5), reason, header);
    }
    let mut hosts = match hosts {
        Ok(hosts) => hosts,
        Err(NoWay { status, reason }) => return not_tried(routed, status, &reason, header),
    };
    // Until the end: nobody else looks whether a host is back.
    let _knock = office.lanes.line_up(&mut hosts);
    let recipients: Vec<Recipient> =
        routed.recipients().iter().map(|each| each.recipient.clone()).collect();
    let demands = Demands {
        // The list is asked when the certificate is seen, not when the attempt began.
        is_listed: &|dn| office.trust.list().binds(domain, dn),
        anchors: office.tls.anchors(),
        revocation: &office.revocation,
        clock: office.clock.as_ref(),
    };
    let handover = Handover {
        hosts: &hosts,
        client_name: office.config.operator.hostname.as_str(),
        tls: office.tls.towards_operators(),
        demands,
        reverse_path: &routed.letter().reverse_path,
        parameters: &routed.letter().parameters,
        recipients: &recipients,
        content: travels,
        timeout: HANDOVER_TIMEOUT,
    };
    let HandedOver { outcomes, contact, met } = office.operators.hand_over(handover).await;
    // Revocation is asked only of a certificate that chain and list let pass: no stranger's
    // certificate fills the book.
    if let (Some(facts), Some(_)) = (&contact.certificate, &contact.revocation) {
        certificates::seen(office, facts, Direction::Out);
    }
    Delivery { routed, outcomes, contact, met, is_too_much: false, header }
}

async fn content(
    office: &Office,
    routed: &Routed,
) -> Result<(Arc<Secret<Vec<u8>>>, ClearPermit), Unopened> {
    let letter = routed.letter();
    // Clear text, and what opening it takes; whoever got the whole budget needs no more, whatever its
    // letter.
    let all = office.config.limits.clear_octets.saturating_sub(1024);
    let opening = letter.size.min(limits::READING_OCTETS);
    let room = office.sending_memory.reserve(letter.size.saturating_add(opening).min(all)).await;
    let mut room = room.map_err(|_| Unopened::NoMemory)?;
    let sealed = Sealed {
        blobs: &office.blobs,
        keys: &office.spool_keys,
        blob: letter.blob,
        sealed_key: &letter.sealed_key,
        octets: letter.size,
    };
    let opened = sealed.whole().await;
    // For as long as the conversation lasts.
    room.shrink(letter.size);
    opened.map(|content| (content, room)).map_err(|error| {
        tracing::error!(%error, letter = %routed.queue_id(), "a waiting letter does not open");
        Unopened::Unreadable("the letter cannot be read from the store, or not be opened")
    })
}

/// No host was tried: put off, or given up when the status is of class 5.
fn not_tried(routed: Routed, status: EnhancedStatus, reason: &str, header: Vec<u8>) -> Delivery {
    let result = match status.0 {
        5 => HandoverResult::Refused(status),
        _ => HandoverResult::PutOff(status),
    };
    let outcome = Outcome { result, reply: reason.to_owned() };
    let outcomes = vec![outcome; routed.recipients().len()];
    let (contact, met, is_too_much) = Default::default();
    Delivery { routed, outcomes, contact, met, is_too_much, header }
}

/// Up to and without the empty line.
fn header_section(letter: &[u8]) -> &[u8] {
    let end = letter.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 2);
    &letter[..end.unwrap_or(letter.len())]
}

impl Delivery {
    /// What was tried.
    pub fn routed(&self) -> &Routed {
        &self.routed
    }

    /// One a recipient, in their order.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// With whom we spoke.
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// The hosts that were called, and whether they are there. Empty when it did not come so far.
    pub fn met(&self) -> &[Met] {
        &self.met
    }

    /// True when there was no memory for the letter: nobody was called, and this was no attempt.
    pub fn is_too_much(&self) -> bool {
        self.is_too_much
    }

    /// The header section of the letter, in clear: for a sealed report only.
    pub fn header(&self) -> &[u8] {
        &self.header
    }
}

impl Outcome {
    /// What became of the letter.
    pub fn status(&self) -> DeliveryStatus {
        match self.result {
            HandoverResult::Taken => DeliveryStatus::Relayed,
            HandoverResult::PutOff(_) => DeliveryStatus::Deferred,
            HandoverResult::Refused(_) => DeliveryStatus::Failed,
        }
    }

    /// Its enhanced status.
    pub fn enhanced(&self) -> EnhancedStatus {
        match self.result {
            HandoverResult::Taken => EnhancedStatus(2, 0, 0),
            HandoverResult::PutOff(status) | HandoverResult::Refused(status) => status,
        }
    }
}
