//! Reports (DSN) to senders: our own letters, with their own door.
use crate::domain::address::Address;
use crate::domain::delivery::NextHop;
use crate::domain::envelope::Notify;
use crate::domain::envelope::Recipient;
use crate::domain::time::Timestamp;
use crate::flow::deliver::Delivery;
use crate::flow::deliver::operator::Outcome;
use crate::flow::office::Office;
use crate::proto::dsn;
use crate::proto::dsn::Action;
use crate::proto::dsn::RecipientReport;
use crate::proto::dsn::Report;
use crate::proto::dsn::Returned;
use crate::proto::mime::header;

/// The report about recipients whom the letter did not reach, and to whom it goes. `None` when
/// nobody wants one: a null reverse path (RFC 5321 §4.5.5) or NOTIFY without FAILURE.
pub fn failed(
    office: &Office,
    delivery: &Delivery,
    failures: &[(&Recipient, &Outcome)],
    now: Timestamp,
) -> Option<(Address, Vec<u8>)> {
    let letter = delivery.routed().letter();
    let to = letter.reverse_path.address()?;
    let remote_mta = match delivery.routed().next() {
        NextHop::Operator { domain, .. } => Some(domain.as_str()),
        NextHop::Mailbox => None,
    };
    let recipients: Vec<RecipientReport<'_>> = failures
        .iter()
        .filter(|(recipient, _)| wants_failures(recipient.parameters.notify))
        .map(|(recipient, outcome)| RecipientReport {
            address: &recipient.address,
            orcpt: recipient.parameters.orcpt.as_deref(),
            action: Action::Failed,
            status: outcome.enhanced(),
            diagnostic: Some(&outcome.reply),
            remote_mta,
            retry_until: None,
        })
        .collect();
    if recipients.is_empty() {
        return None;
    }
    let hostname = &office.config.operator.hostname;
    let from = Address::parse(&format!("postmaster@{hostname}")).ok()?;
    let message_id = format!("{}@{hostname}", uuid::Uuid::now_v7().simple());
    // The letter that the report is about, so that mail programs show both as one thread.
    let about = header::view(delivery.header()).message_id;
    let content = dsn::write(&Report {
        reporting_mta: hostname,
        from: &from,
        to,
        message_id: &message_id,
        arrival: letter.accepted_at,
        now,
        envid: letter.parameters.envid.as_deref(),
        about: about.as_deref(),
        recipients: &recipients,
        returned: Returned::Headers(delivery.header()),
    });
    Some((to.clone(), content))
}

/// RFC 3461 §4.1: without NOTIFY, a failure is reported.
fn wants_failures(notify: Option<Notify>) -> bool {
    notify.is_none_or(|notify| notify.failure && !notify.never)
}
