//! Station 4, seal: encrypt while the content streams in, so that nobody reads a letter at rest.
//!
//! Clear text exists in memory only, under the process-wide budget: once for the summary that
//! listings need, and in the sealer's small buffers. It is wiped when the parcel is dropped.
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::domain::address::Address;
use crate::domain::door::Door;
use crate::domain::envelope::BlobId;
use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::documents;
use crate::flow::documents::Documents;
use crate::flow::documents::Inspection;
use crate::flow::filter::Sorted;
use crate::flow::filter::Sorting;
use crate::flow::gateway;
use crate::flow::gateway::Clear;
use crate::flow::gateway::Made;
use crate::flow::gateway::Plan;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::ClearPermit;
use crate::flow::office::Office;
use crate::flow::policy;
use crate::flow::policy::Cleared;
use crate::infra::keys::ContentKey;
use crate::infra::keys::Sealer;
use crate::proto::mime::header;
use crate::proto::mime::header::HeaderView;
use crate::proto::mime::summary;
use crate::proto::pgpmime;
use crate::proto::receipt;
use crate::proto::receipt::Receipt;

/// Room for the beginning of a letter. It grows with the octets that really arrive: were the
/// announced size reserved, ten clients that announce much and send nothing would stop us.
const FIRST_OCTETS: u64 = 65_536;
/// Room for our own trace fields.
const TRACE_OCTETS: u64 = 2_048;
/// A letter is in memory twice while it is sealed: as it came, and as ciphertext.
const COPIES: u64 = 2;
/// Letters over this size are summarised on a thread of their own.
const SUMMARY_INLINE_OCTETS: usize = 262_144;

/// A letter whose content is streaming in.
pub struct Sealing {
    office: Arc<Office>,
    cleared: Cleared,
    homes: Vec<OpenMailbox>,
    /// What each recipient gets.
    plan: Plan,
    travels: bool,
    queue_id: QueueId,
    permit: ClearPermit,
    /// Octets of content for which there is room.
    reserved: u64,
    /// Octets of content that have arrived.
    arrived: u64,
    sealer: Sealer,
    /// Trace fields and content. Until the header section is whole, only what came in.
    clear: Zeroizing<Vec<u8>>,
    header: Option<Header>,
    now: Timestamp,
}

struct Header {
    view: HeaderView,
    /// Octets of our own trace fields before the content.
    trace_octets: usize,
    /// Octets of the Return-Path line, which stays here when the letter travels on.
    return_path_octets: usize,
}

/// A letter that is ciphertext. The queue takes nothing else:
///
/// ```compile_fail
/// # use vaguemestre::flow::{office::Office, policy::Cleared, queue};
/// async fn skip_the_seal(office: &Office, cleared: Cleared) {
///     let _ = queue::prepare(office, cleared, |_| true).await;
/// }
/// ```
pub struct Sealed {
    cleared: Cleared,
    homes: Vec<OpenMailbox>,
    travels: bool,
    queue_id: QueueId,
    header: HeaderView,
    /// What is kept of the letter. The first one is the letter as it came.
    forms: Vec<Form>,
    /// Places in `forms`, one for each recipient, in the order of the approved ones.
    given: Vec<usize>,
    /// Recipients who keep the letter as it came beside the one that was opened for them.
    originals: Vec<usize>,
    identity: Option<[u8; 32]>,
    documents: Option<Documents>,
    receipt: Option<Receipt>,
    returned_header: Option<Secret<Vec<u8>>>,
    accepted_at: Timestamp,
    /// What the filters of the mailboxes here decided, in the order of `homes`.
    sorted: Vec<Option<Sorted>>,
    /// The ciphertext's room in memory; it ends with the commit.
    _room: ClearPermit,
}

/// One content of a letter. Most letters have one; those who read with a key of their own, and
/// those for whom the relay opens what came sealed to them, get another (decision 19).
pub struct Form {
    /// The content's name in the store.
    pub blob: BlobId,
    /// The OpenPGP message at rest.
    pub ciphertext: Bytes,
    /// Its key.
    pub content_key: ContentKey,
    /// `summary::encode` of its summary, in clear: seal it before it is stored.
    pub summary: Vec<u8>,
    /// Octets in clear, with our trace fields.
    pub size: u64,
    /// Octets at the beginning that do not travel on.
    pub return_path_octets: u64,
    /// It is sealed to those who get it: what is under the seal at rest is sealed once more.
    pub encrypted: bool,
    /// If the relay sealed it for people outside: marks of the keys (see
    /// `PeerCertificate::encryption_mark`).
    pub sealed_to: Vec<[u8; 32]>,
}

/// Room in memory and a key for every recipient; then the content may come.
pub async fn begin(office: &Arc<Office>, cleared: Cleared) -> Result<Sealing, Refusal> {
    let announced = cleared.authenticated().parameters().size;
    let reserved = announced.unwrap_or(FIRST_OCTETS).min(FIRST_OCTETS);
    let permit = office.clear_memory.reserve((reserved + TRACE_OCTETS) * COPIES).await?;
    let mut homes = Vec::new();
    for account in cleared.approved().iter().filter_map(|approved| approved.home()) {
        let mailbox = office.mailboxes.open(account).await.map_err(|error| {
            tracing::error!(%error, "a recipient's keys do not open");
            Refusal::RecipientKeyMissing
        })?;
        homes.push(mailbox);
    }
    let travels = cleared.approved().iter().any(|approved| approved.home().is_none());
    let plan = Plan::new(office, &cleared, &homes).await?;
    let sealer = office.keys.seal_to(&plan.readers()).map_err(|error| {
        tracing::error!(%error, "cannot seal to the recipients");
        Refusal::RecipientKeyMissing
    })?;
    Ok(Sealing {
        office: Arc::clone(office),
        cleared,
        homes,
        plan,
        travels,
        queue_id: QueueId::from_bytes(*uuid::Uuid::now_v7().as_bytes()),
        permit,
        reserved,
        arrived: 0,
        sealer,
        clear: Zeroizing::new(Vec::with_capacity(capacity(reserved))),
        header: None,
        now: office.clock.now(),
    })
}

impl Sealing {
    /// Takes the next octets of the content (dot-unstuffed, CRLF line ends). The door has
    /// refused bare CR, bare LF and NUL already. An error means: read on to the end of the
    /// content, throw it away, answer with the refusal.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), Refusal> {
        let total = self.arrived + octets.len() as u64;
        if total > self.office.config.limits.message_octets {
            return Err(Refusal::MessageTooLarge);
        }
        // It would continue the last of our own trace fields.
        if self.arrived == 0 && matches!(octets.first(), Some(b' ' | b'\t')) {
            return Err(Refusal::ContentMalformed);
        }
        self.make_room(total)?;
        self.arrived = total;
        let searched = self.clear.len();
        self.clear.extend_from_slice(octets);
        if self.header.is_some() {
            return self.sealer.write(octets).map_err(|_| Refusal::DependencyFailed);
        }
        match end_of_header(&self.clear, searched) {
            Some(end) => self.seal_header(end),
            None if self.clear.len() > limits::HEADER_OCTETS_MAX => Err(Refusal::ContentMalformed),
            None => Ok(()),
        }
    }

    /// The letter's correlation id.
    pub fn queue_id(&self) -> QueueId {
        self.queue_id
    }

    /// Room for so many octets of content, from the budget and then in memory.
    fn make_room(&mut self, total: u64) -> Result<(), Refusal> {
        let parameters = self.cleared.authenticated().parameters();
        let room = next_room(
            self.reserved,
            total,
            parameters.size,
            self.office.config.limits.message_octets,
        );
        if room == self.reserved {
            return Ok(());
        }
        let more = (room - self.reserved) * COPIES;
        self.office.clear_memory.grow(&mut self.permit, more)?;
        self.reserved = room;
        // A `Vec` that grows by itself leaves clear text behind in memory that is free.
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity(room)));
        larger.extend_from_slice(&self.clear);
        self.clear = larger;
        Ok(())
    }

    /// The header section is whole: put our trace fields before it and begin to seal.
    fn seal_header(&mut self, end: usize) -> Result<(), Refusal> {
        self.forget_verdicts(end);
        let end = end_of_header(&self.clear, 0).unwrap_or(self.clear.len());
        let view = header::view(&self.clear[..end]);
        let (return_path, trace) = self.trace(&view);
        let trace_octets = return_path.len() + trace.len();
        let mut whole =
            Vec::with_capacity(capacity(self.reserved).max(self.clear.len() + trace_octets));
        whole.extend_from_slice(return_path.as_bytes());
        whole.extend_from_slice(trace.as_bytes());
        whole.extend_from_slice(&self.clear);
        self.clear = Zeroizing::new(whole);
        self.header = Some(Header { view, trace_octets, return_path_octets: return_path.len() });
        self.sealer.write(&self.clear).map_err(|_| Refusal::DependencyFailed)
    }

    /// What this relay found of a letter's seal is for this relay to say: a field that says so
    /// already came from outside.
    fn forget_verdicts(&mut self, end: usize) {
        let Some(kept) = pgpmime::without_verdicts(&self.clear[..end]) else { return };
        let kept = Zeroizing::new(kept);
        let mut whole = Zeroizing::new(Vec::with_capacity(self.clear.capacity()));
        whole.extend_from_slice(&kept);
        whole.extend_from_slice(&self.clear[end..]);
        self.clear = whole;
    }

    /// RFC 5321 §4.4: Return-Path and Received; RFC 6409 §8: what a submission forgot.
    fn trace(&self, view: &HeaderView) -> (String, String) {
        let caller = self.cleared.authenticated().accepted().caller();
        let hostname = &self.office.config.operator.hostname;
        let path = self.cleared.authenticated().reverse_path().address();
        let path = path.map(Address::to_string).unwrap_or_default();
        let date = self.now.to_rfc5322();
        if self.cleared.is_from_the_house() {
            return (format!("Return-Path: <{path}>\r\n"), String::new());
        }
        let ip = caller.ip.map(|ip| format!(" ({})", address_literal(ip))).unwrap_or_default();
        let tls = caller.tls.as_ref().map(|tls| format!("\r\n\t({tls})")).unwrap_or_default();
        let mut trace = format!(
            "Received: from {}{ip}{tls}\r\n\tby {hostname} with {} id {};\r\n\t{date}\r\n",
            caller.client_name, caller.protocol, self.queue_id,
        );
        if matches!(self.cleared.authenticated().accepted().door(), Door::Submission | Door::Portal)
        {
            if view.message_id.is_none() {
                trace.push_str(&format!("Message-ID: <{}@{hostname}>\r\n", self.queue_id));
            }
            if !view.has_date {
                trace.push_str(&format!("Date: {date}\r\n"));
            }
        }
        (format!("Return-Path: <{path}>\r\n"), trace)
    }
}

/// End of the content: header rules, then the letter is sealed.
pub async fn finish(mut sealing: Sealing) -> Result<Sealed, Refusal> {
    if sealing.header.is_none() {
        // No empty line: all of it is header section (RFC 5322 §2.1: the body is optional).
        let end = sealing.clear.len();
        sealing.seal_header(end)?;
    }
    let office = Arc::clone(&sealing.office);
    let Some(header) = sealing.header.take() else { return Err(Refusal::ContentMalformed) };
    policy::vet(&office, &sealing.cleared, &header.view).await?;
    let sealed = sealing.sealer.finish().map_err(|error| {
        tracing::error!(%error, "cannot seal a letter");
        Refusal::DependencyFailed
    })?;
    // Another relay that did not hear our 250 sends the same octets again: know them.
    let is_relayed =
        sealing.cleared.authenticated().accepted().door() == Door::Mx && header.view.relayed;
    let identity = is_relayed.then(|| {
        let octets = digest::digest(&digest::SHA256, &sealing.clear[header.trace_octets..]);
        <[u8; 32]>::try_from(octets.as_ref()).expect("SHA-256 has 32 octets")
    });
    let size = sealing.clear.len() as u64;
    let recipients = sealing.cleared.approved().iter().map(|each| &each.recipient().address);
    let inspection = match sealing.cleared.is_from_the_house() {
        true => None,
        false => Inspection::new(&office, recipients, &header.view),
    };
    let returned_header = promises_success(&sealing.cleared).then(|| {
        let travels = &sealing.clear[header.return_path_octets..];
        let end = end_of_header(travels, 0).unwrap_or(travels.len());
        // One octet more than is kept says that there was more.
        Secret::new(travels[..end.min(limits::PROMISED_HEADER_OCTETS_MAX + 1)].to_vec())
    });
    let sorting = Sorting::prepare(&office, &sealing.homes, &sealing.cleared, sealing.now).await;
    let mut permit = sealing.permit;
    let sorting = sorting.filter(|sorting| {
        // Bodies are decoded once more, and once in small letters. Without room for that nothing
        // is sorted.
        let room = size.saturating_mul(2);
        !sorting.reads_bodies() || office.clear_memory.grow(&mut permit, room).is_ok()
    });
    let asked = Asked {
        inspection,
        sorting,
        may_be_receipt: header.view.automatic,
        plan: sealing.plan,
        return_path_octets: header.return_path_octets,
    };
    let told = summarise(&office, sealing.clear, permit, asked).await?;
    let Told { summary, receipt, documents, sorted, made, mut room } = told;
    documents::judge(&office, documents.as_ref())?;
    let others: usize = made.forms.iter().map(|form| form.ciphertext.len()).sum();
    room.shrink((sealed.ciphertext.len() + others) as u64);
    let as_it_came = Form {
        blob: BlobId::from_bytes(*uuid::Uuid::now_v7().as_bytes()),
        ciphertext: sealed.ciphertext.into(),
        content_key: sealed.content_key,
        summary,
        size,
        return_path_octets: header.return_path_octets as u64,
        encrypted: made.came_sealed,
        sealed_to: Vec::new(),
    };
    Ok(Sealed {
        cleared: sealing.cleared,
        homes: sealing.homes,
        travels: sealing.travels,
        queue_id: sealing.queue_id,
        header: header.view,
        forms: std::iter::once(as_it_came).chain(made.forms).collect(),
        given: made.given,
        originals: made.originals,
        identity,
        documents,
        receipt,
        returned_header,
        accepted_at: sealing.now,
        sorted,
        _room: room,
    })
}

/// True when the sender wants to hear that the letter lies in a mailbox here (RFC 3461 §4.1).
fn promises_success(cleared: &Cleared) -> bool {
    let mut here = cleared.approved().iter().filter(|approved| approved.home().is_some());
    cleared.authenticated().reverse_path().address().is_some()
        && here.any(|approved| {
            let notify = approved.recipient().parameters.notify;
            notify.is_some_and(|notify| notify.success && !notify.never)
        })
}

/// What is known of a letter when its clear text is gone.
struct Told {
    summary: Vec<u8>,
    receipt: Option<Receipt>,
    documents: Option<Documents>,
    sorted: Vec<Option<Sorted>>,
    made: Made,
    room: ClearPermit,
}

/// What is asked of a letter's clear text.
struct Asked {
    inspection: Option<Inspection>,
    sorting: Option<Sorting>,
    may_be_receipt: bool,
    plan: Plan,
    return_path_octets: usize,
}

/// The clear text ends here. The room goes with it to its thread: a caller who gives up does
/// not free what is still read there.
async fn summarise(
    office: &Office,
    clear: Zeroizing<Vec<u8>>,
    room: ClearPermit,
    asked: Asked,
) -> Result<Told, Refusal> {
    let Asked { inspection, sorting, may_be_receipt, plan, return_path_octets } = asked;
    let is_small = clear.len() <= SUMMARY_INLINE_OCTETS && sorting.is_none();
    let work = move || {
        let summary = summary::summarise(&clear);
        let recognised = inspection.and_then(|asked| asked.recognise(&summary));
        let receipt = may_be_receipt.then(|| receipt::read(&clear, &summary.structure)).flatten();
        let sorted = sorting.map(|sorting| sorting.run(&clear)).unwrap_or_default();
        (summary, receipt, recognised, sorted, clear, room)
    };
    let done = match is_small {
        true => work(),
        false => tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::DependencyFailed)?,
    };
    let (summary, receipt, recognised, sorted, clear, room) = done;
    let stored = summary::encode(&summary);
    let seen = Clear { letter: &clear, summary: &summary, return_path_octets };
    let (made, clear, room) = match plan.uses(seen) {
        // Nearly every letter: everybody gets it as it came.
        None => (plan.nothing_to_do(), clear, room),
        Some(uses) => {
            // Before a key is used, not behind it.
            gateway::record(office, &uses).await?;
            let work = move || {
                let mut room = room;
                let seen = Clear { letter: &clear, summary: &summary, return_path_octets };
                let made = plan.make(seen, &mut room);
                (made, clear, room)
            };
            let done = tokio::task::spawn_blocking(work).await;
            let (made, clear, room) = done.map_err(|_| Refusal::DependencyFailed)?;
            (made?, clear, room)
        }
    };
    let (documents, room) = match recognised {
        Some(recognised) => recognised.inspect(clear, room).await?,
        None => (None, room),
    };
    Ok(Told { summary: stored, receipt, documents, sorted, made, room })
}

/// Octets of content to have room for when so many are there: at least double each time, so
/// that copying costs little, but not more than was announced or than a letter may have.
fn next_room(reserved: u64, arrived: u64, announced: Option<u64>, most: u64) -> u64 {
    if arrived <= reserved {
        return reserved;
    }
    let expected = announced.filter(|announced| *announced >= arrived).unwrap_or(most);
    reserved.saturating_mul(2).max(FIRST_OCTETS).min(expected).max(arrived)
}

fn capacity(octets: u64) -> usize {
    usize::try_from(octets + TRACE_OCTETS).unwrap_or(0)
}

/// RFC 5321 §4.1.3: an IPv6 address says that it is one.
fn address_literal(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(four) => format!("[{four}]"),
        IpAddr::V6(six) => format!("[IPv6:{six}]"),
    }
}

/// Where the header section ends (after its last CRLF), if `clear` holds its end. Octets before
/// `searched` were looked at already.
fn end_of_header(clear: &[u8], searched: usize) -> Option<usize> {
    if clear.starts_with(b"\r\n") {
        return Some(0);
    }
    let from = searched.saturating_sub(3);
    clear[from..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| from + at + 2)
}

impl Sealed {
    /// Who vouches, and for whom.
    pub fn cleared(&self) -> &Cleared {
        &self.cleared
    }

    /// The recipients' mailboxes here.
    pub fn homes(&self) -> &[OpenMailbox] {
        &self.homes
    }

    /// True when it goes to another operator as well.
    pub fn travels(&self) -> bool {
        self.travels
    }

    /// The correlation id.
    pub fn queue_id(&self) -> QueueId {
        self.queue_id
    }

    /// Its forms, at least one; the first one is the letter as it came.
    pub fn forms(&self) -> &[Form] {
        &self.forms
    }

    /// The letter as it came.
    pub fn as_it_came(&self) -> &Form {
        &self.forms[0]
    }

    /// The place of the form that a recipient gets, in the order of the approved ones.
    pub fn form_of(&self, recipient: usize) -> usize {
        self.given.get(recipient).copied().unwrap_or(0)
    }

    /// What policy and statistics know of the header section.
    pub fn header(&self) -> &HeaderView {
        &self.header
    }

    /// The places of those who keep the letter as it came as well.
    pub fn originals(&self) -> &[usize] {
        &self.originals
    }

    /// Octets in clear as it came, with our trace fields.
    pub fn size(&self) -> u64 {
        self.as_it_came().size
    }

    /// A digest of the letter as another relay sent it.
    pub fn identity(&self) -> Option<&[u8; 32]> {
        self.identity.as_ref()
    }

    /// What is known of its documents, if it carries some.
    pub fn documents(&self) -> Option<&Documents> {
        self.documents.as_ref()
    }

    /// What it says of another letter, when it is a report or a read receipt.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// The beginning of its header section, when a report of success will have to return it.
    pub fn returned_header(&self) -> Option<&[u8]> {
        self.returned_header.as_ref().map(|header| header.expose().as_slice())
    }

    /// Keys that it was sealed to: one for each mailbox here, and the spool's if it travels.
    pub fn keys(&self) -> usize {
        self.homes.len() + usize::from(self.travels)
    }

    /// What the filters of the mailboxes here decided; empty when there are none.
    pub fn sorted(&self) -> &[Option<Sorted>] {
        &self.sorted
    }

    /// When it was taken in.
    pub fn accepted_at(&self) -> Timestamp {
        self.accepted_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_section_ends_at_the_first_empty_line() {
        assert_eq!(end_of_header(b"A: b\r\n\r\nbody\r\n\r\n", 0), Some(6));
        assert_eq!(end_of_header(b"A: b\r\n\r\nbody", 5), Some(6));
        assert_eq!(end_of_header(b"\r\nbody", 0), Some(0));
        assert_eq!(end_of_header(b"A: b\r\n", 0), None);
    }

    #[test]
    fn an_ipv6_address_says_that_it_is_one() {
        let shown = |text: &str| address_literal(text.parse().unwrap());
        assert_eq!(shown("192.0.2.1"), "[192.0.2.1]");
        assert_eq!(shown("2001:db8::1"), "[IPv6:2001:db8::1]");
        assert_eq!(shown("::ffff:192.0.2.1"), "[192.0.2.1]");
    }

    #[test]
    fn room_follows_what_arrives_and_not_what_is_announced() {
        const MOST: u64 = 26_214_400;
        assert_eq!(next_room(65_536, 65_536, Some(MOST), MOST), 65_536);
        assert_eq!(next_room(65_536, 65_537, Some(MOST), MOST), 131_072);
        assert_eq!(next_room(65_536, 70_000, Some(80_000), MOST), 80_000);
        // Who announced too little is not cut short.
        assert_eq!(next_room(100, 101, Some(100), MOST), 65_536);
        assert_eq!(next_room(20_000_000, 20_000_001, None, MOST), MOST);
        let mut room = 65_536;
        let mut steps = 0;
        for arrived in (0..=MOST).step_by(16_384) {
            let next = next_room(room, arrived, None, MOST);
            assert!(next >= arrived && next <= MOST);
            steps += u32::from(next != room);
            room = next;
        }
        assert!(steps < 12, "{steps} copies of one letter");
    }
}
