//! Station 6, route: where does each recipient live?
mod hosts; // from a route to hosts with addresses

use crate::domain::address::Domain;
use crate::domain::delivery::NextHop;
use crate::domain::delivery::Route;
use crate::domain::envelope::QueueId;
use crate::flow::gateway::outbound;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Claimed;
use crate::flow::queue::ClaimedRecipient;
use crate::flow::queue::Letter;

pub use hosts::Finder;
pub use hosts::NoWay;

/// One letter, in one form, for all its recipients behind the same next hop who get that form.
pub struct Routed {
    queue_id: QueueId,
    letter: Letter,
    recipients: Vec<ClaimedRecipient>,
    form: u8,
    is_withheld: bool,
    next: NextHop,
}

/// Groups the recipients of an attempt by where they go. Asked anew at each attempt: routes
/// and lists change while a letter waits. `withheld`: numbers of recipients whose form must not
/// leave, whatever it is.
pub fn plan(office: &Office, claimed: &Claimed, withheld: &[u16]) -> Vec<Routed> {
    let mut groups: Vec<Routed> = Vec::new();
    for recipient in claimed.recipients() {
        let domain = recipient.recipient.address.domain();
        let next = match &recipient.route {
            // An administrator sends this letter elsewhere.
            Some(host) if !office.hosts(domain) => {
                NextHop::Operator { domain: domain.clone(), route: Route::Fixed(host.clone()) }
            }
            _ => next_hop(office, domain),
        };
        let form = recipient.form;
        let letter = claimed.letter().clone().in_form(form);
        let address = &recipient.recipient.address;
        // Each of them alone: one may get another form, and another may not.
        let is_withheld = withheld.contains(&recipient.number)
            || outbound::is_withheld(office, address, letter.encrypted);
        let like = |group: &&mut Routed| {
            group.next == next && group.form == form && !group.is_withheld && !is_withheld
        };
        match groups.iter_mut().find(like) {
            Some(group) => group.recipients.push(recipient.clone()),
            None => groups.push(Routed {
                queue_id: claimed.queue_id(),
                letter,
                recipients: vec![recipient.clone()],
                form,
                is_withheld,
                next,
            }),
        }
    }
    groups
}

/// Where a domain lives. The one place that decides how an operator is found: what somebody
/// said goes before the DNS.
pub fn next_hop(office: &Office, domain: &Domain) -> NextHop {
    if office.hosts(domain) {
        return NextHop::Mailbox;
    }
    if let Some(host) = queue::rerouted(office, domain) {
        return NextHop::Operator { domain: domain.clone(), route: Route::Fixed(host) };
    }
    let route = match office.config.mx.routes.get(domain) {
        Some(address) => Route::Fixed(address.clone()),
        None if office.config.mx.lookup => Route::Dns,
        None => Route::Unknown,
    };
    NextHop::Operator { domain: domain.clone(), route }
}

impl Routed {
    /// The letter's correlation id.
    pub fn queue_id(&self) -> QueueId {
        self.queue_id
    }

    /// The letter.
    pub fn letter(&self) -> &Letter {
        &self.letter
    }

    /// Who is behind this hop.
    pub fn recipients(&self) -> &[ClaimedRecipient] {
        &self.recipients
    }

    /// True when encryption is required for the recipient, and this form has none, or one that must
    /// not be used any more: it must not leave so.
    pub fn is_withheld(&self) -> bool {
        self.is_withheld
    }

    /// The hop.
    pub fn next(&self) -> &NextHop {
        &self.next
    }
}
