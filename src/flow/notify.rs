//! Reports (DSN) to senders: our own letters, with their own door.
use zeroize::Zeroizing;

use crate::domain::address::Address;
use crate::domain::envelope::Notify;
use crate::domain::envelope::QueueId;
use crate::domain::envelope::Recipient;
use crate::domain::envelope::ReturnContent;
use crate::domain::limits;
use crate::domain::status::EnhancedStatus;
use crate::domain::time::Timestamp;
use crate::flow::deliver::Delivery;
use crate::flow::deliver::operator::Outcome;
use crate::flow::office::ClearPermit;
use crate::flow::office::Office;
use crate::proto::dsn;
use crate::proto::dsn::Action;
use crate::proto::dsn::Late;
use crate::proto::dsn::RecipientReport;
use crate::proto::dsn::Report;
use crate::proto::dsn::Returned;
use crate::proto::mime::header;

/// Octets of a report besides the letter that it returns, generously.
const REPORT_OCTETS: u64 = 262_144;

/// The letter that a report is about.
pub struct About<'a> {
    /// Our name of it.
    pub letter: QueueId,
    /// Its sender, to whom the report goes.
    pub sender: &'a Address,
    /// When it was taken in.
    pub arrival: Timestamp,
    /// `ENVID=`, decoded.
    pub envid: Option<&'a str>,
    /// Its header section, or what is known of it.
    pub header: &'a [u8],
}

/// Writes a report. RFC 3461 §4.3: what reports no failure returns the header section only, and so
/// does a failure when the sender did not ask for more: the sender has the letter, and a copy of
/// it is one more place with medical data.
pub fn write(
    office: &Office,
    about: &About<'_>,
    recipients: &[RecipientReport<'_>],
    late: Option<Late<'_>>,
    whole: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let hostname = &office.config.operator.hostname;
    let from = Address::parse(&format!("postmaster@{hostname}")).ok()?;
    let message_id = format!("{}@{hostname}", uuid::Uuid::now_v7().simple());
    // The letter that the report is about, so that mail programs show both as one thread.
    let subject_id = header::view(about.header).message_id;
    let reference = about.letter.to_string();
    Some(dsn::write(&Report {
        reporting_mta: hostname,
        from: &from,
        to: about.sender,
        message_id: &message_id,
        arrival: about.arrival,
        now: office.clock.now(),
        envid: about.envid,
        about: subject_id.as_deref(),
        reference: &reference,
        late,
        recipients,
        returned: match whole {
            Some(letter) => Returned::Letter(letter),
            None => Returned::Headers(about.header),
        },
    }))
}

/// The report about recipients whom the letter did not reach, and to whom it goes. `None` when
/// nobody wants one: a null reverse path (RFC 5321 §4.5.5) or NOTIFY without FAILURE.
pub fn failed(
    office: &Office,
    delivery: &Delivery,
    failures: &[(&Recipient, &Outcome)],
    whole: Option<&[u8]>,
) -> Option<(Address, Vec<u8>)> {
    let letter = delivery.routed().letter();
    let sender = letter.reverse_path.address()?;
    // What ended by an order was not tried now.
    let is_ordered = delivery.routed().recipients().iter().any(|one| one.order.is_some());
    let last_attempt = (!is_ordered).then(|| office.clock.now());
    let recipients: Vec<RecipientReport<'_>> = failures
        .iter()
        .filter(|(recipient, _)| wants(recipient.parameters.notify, Action::Failed))
        .map(|(recipient, outcome)| RecipientReport {
            address: &recipient.address,
            orcpt: recipient.parameters.orcpt.as_deref(),
            action: Action::Failed,
            status: outcome.enhanced(),
            diagnostic: Some(&outcome.reply),
            remote_mta: remote_mta(delivery),
            last_attempt,
            retry_until: None,
            attempts: 0,
            alternatives: &[],
        })
        .collect();
    if recipients.is_empty() {
        return None;
    }
    let about = About {
        letter: delivery.routed().queue_id(),
        sender,
        arrival: letter.accepted_at,
        envid: letter.parameters.envid.as_deref(),
        header: delivery.header(),
    };
    write(office, &about, &recipients, None, whole).map(|content| (sender.clone(), content))
}

/// The host that was spoken to; `None` when it did not come so far (RFC 3464 §2.3.5).
pub fn remote_mta(delivery: &Delivery) -> Option<&str> {
    let host = host_name(&delivery.contact().host);
    (!host.is_empty()).then_some(host)
}

/// `host:port`; a report has room for the name only.
pub fn host_name(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// What a recipient's NOTIFY asks for (RFC 3461 §4.1). Without it failures are reported, and so
/// are delays, which the RFC leaves to us; success is not.
pub fn wants(notify: Option<Notify>, action: Action) -> bool {
    match (notify, action) {
        (None, Action::Failed | Action::Delayed) => true,
        (None, Action::Delivered | Action::Relayed) => false,
        (Some(notify), _) if notify.never => false,
        (Some(notify), Action::Failed) => notify.failure,
        (Some(notify), Action::Delayed) => notify.delay,
        (Some(notify), Action::Delivered | Action::Relayed) => notify.success,
    }
}

/// The code of a delay: the last attempt's, which may have been none.
pub fn delay_status(last: Option<EnhancedStatus>) -> EnhancedStatus {
    match last {
        Some(EnhancedStatus(4, subject, detail)) => EnhancedStatus(4, subject, detail),
        _ => EnhancedStatus(4, 0, 0),
    }
}

/// The whole letter for a report of failure, when the sender asked for it (RFC 3461 §4.3) and the
/// report with it is no larger than a letter may be here; with its room in memory, for the report
/// as well. `None`: the header section must do.
pub async fn whole_letter(
    office: &Office,
    delivery: &Delivery,
) -> Option<(Zeroizing<Vec<u8>>, ClearPermit)> {
    let letter = delivery.routed().letter();
    let fits = letter.size.saturating_add(REPORT_OCTETS) <= office.config.limits.message_octets;
    if letter.parameters.ret != Some(ReturnContent::Full) || !fits {
        return None;
    }
    let room = office.clear_memory.reserve(letter.size.saturating_mul(3)).await.ok()?;
    let ciphertext = office.blobs.read(letter.blob).await.ok()?;
    let key = office.spool_keys.unwrap(&letter.sealed_key).ok()?;
    let clear = office.spool_keys.open(&key, &ciphertext).ok()?;
    let skip = usize::try_from(letter.return_path_octets).unwrap_or(0);
    let travels = clear.expose().get(skip..)?;
    Some((Zeroizing::new(travels.to_vec()), room))
}

/// The beginning of a header section, whole lines of it.
pub fn bounded_header(section: &[u8]) -> &[u8] {
    let most = limits::PROMISED_HEADER_OCTETS_MAX;
    let Some(cut) = section.get(..most).filter(|_| section.len() > most) else { return section };
    let end = cut.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    &cut[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_hears_what_was_asked_for_and_nothing_else() {
        let all = [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed];
        let heard = |notify: Option<Notify>| all.map(|action| wants(notify, action));
        let none = Notify::default();
        assert_eq!(heard(None), [true, true, false, false]);
        assert_eq!(heard(Some(none)), [false; 4]);
        assert_eq!(heard(Some(Notify { never: true, failure: true, ..none })), [false; 4]);
        assert_eq!(heard(Some(Notify { delay: true, ..none })), [false, true, false, false]);
        assert_eq!(heard(Some(Notify { success: true, ..none })), [false, false, true, true]);
    }

    #[test]
    fn a_delay_has_a_code_of_its_class() {
        assert_eq!(delay_status(None), EnhancedStatus(4, 0, 0));
        assert_eq!(delay_status(Some(EnhancedStatus(4, 2, 2))), EnhancedStatus(4, 2, 2));
        assert_eq!(delay_status(Some(EnhancedStatus(5, 1, 1))), EnhancedStatus(4, 0, 0));
    }

    #[test]
    fn a_header_section_is_cut_between_lines() {
        assert_eq!(bounded_header(b"A: b\r\n"), b"A: b\r\n");
        let long = "Subject: x\r\n".repeat(5_000);
        let cut = bounded_header(long.as_bytes());
        assert!(cut.ends_with(b"\r\n") && cut.len() <= limits::PROMISED_HEADER_OCTETS_MAX);
        assert!(bounded_header(&[b'x'; 100_000]).is_empty());
    }
}
