//! How waiting letters lie in the store. Addresses are sealed with the spool's keys.
//!
//! A recipient's row has exactly one mark, and [`mark`] alone says where it lies. So every change
//! of a row is the same three writes ([`change`]), and no row can be lost between two places.
//!
//! A letter travels in one or several forms (decision 19): its row names their contents, and each
//! recipient's row the form that this recipient gets.
use std::ops::Range;

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::address::Address;
use crate::domain::address::ReversePath;
use crate::domain::envelope::BlobId;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::Notify;
use crate::domain::envelope::QueueId;
use crate::domain::envelope::RcptParameters;
use crate::domain::envelope::Recipient;
use crate::domain::envelope::ReturnContent;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::flow::queue::Letter;
use crate::flow::queue::LetterForm;
use crate::flow::queue::Travelling;
use crate::flow::seal::Form;
use crate::flow::seal::Sealed;
use crate::infra::directory::Account;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::Version;
use crate::infra::store::row;

pub(super) const RECIPIENTS: &[u8] = b"Q/r/";
/// `Q/d/<domain>\0<due><id><number>`: waits in its lane.
pub(super) const DUE: &[u8] = b"Q/d/";
/// `Q/l/<until><id><number>` -> domain: an attempt has it.
pub(super) const LEASED: &[u8] = b"Q/l/";
/// `Q/s/<due><id><number>` -> domain: was being attempted when the process died.
pub(super) const SUSPECTS: &[u8] = b"Q/s/";
/// `Q/b/<due><id><number>` -> domain: ends without an attempt.
pub(super) const ORDERED: &[u8] = b"Q/b/";
/// `Q/h/<id><number>` -> [`HoldRow`]: on hold, or set aside.
pub(super) const HELD: &[u8] = b"Q/h/";
/// `Q/p/<domain>` -> [`PauseRow`]: the whole lane waits.
pub(super) const PAUSED: &[u8] = b"Q/p/";
/// `Q/o/<domain>` -> [`RerouteRow`]: an administrator says where the domain's mail goes.
pub(super) const REROUTED: &[u8] = b"Q/o/";
pub(super) const LETTERS: &[u8] = b"Q/m/";
const FORMAT: u8 = 1;
/// Layout of letters' rows; 1 is what relays wrote when a letter had one form, 2 before they wrote
/// to which keys a form is sealed.
const LETTER_FORMAT: u8 = 3;
const UNMARKED_LETTER_FORMAT: u8 = 2;
/// Layout of recipients' rows; 1 is what relays wrote before there were lanes, 2 before there were
/// forms.
const RECIPIENT_FORMAT: u8 = 3;
const FORMLESS_RECIPIENT_FORMAT: u8 = 2;
/// A domain never holds this octet, so that no lane is the beginning of another.
const END_OF_DOMAIN: u8 = 0;
/// Stands between domain and host in the name of a lane of letters that go elsewhere. It sorts
/// just behind [`END_OF_DOMAIN`], so that such lanes follow their domain's.
const ELSEWHERE: char = '\u{1}';

#[derive(Serialize, Deserialize)]
pub(super) struct LetterRow {
    pub(super) accepted_at: u64,
    /// Recipients that still wait.
    pub(super) waiting: u32,
    /// At least one; each holds one reference to its content until the letter ends.
    pub(super) forms: Vec<FormRow>,
    /// The number of the form of which others are made, when it is kept.
    pub(super) source: Option<u8>,
    /// Reverse path and ENVID.
    sealed_sender: Vec<u8>,
    eight_bit: bool,
    smtputf8: bool,
    return_full: Option<bool>,
    domain: String,
    mailbox_kind: Option<String>,
    automatic: bool,
}

/// One form of a letter that travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FormRow {
    pub(super) blob: [u8; 16],
    pub(super) size: u64,
    pub(super) sealed_key: Vec<u8>,
    pub(super) return_path_octets: u64,
    pub(super) encrypted: bool,
    /// Marks of the keys, if the relay sealed it.
    pub(super) sealed_to: Vec<[u8; 32]>,
}

/// [`FormRow`] before marks.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct UnmarkedFormRow {
    blob: [u8; 16],
    size: u64,
    sealed_key: Vec<u8>,
    return_path_octets: u64,
    encrypted: bool,
}

/// [`LetterRow`] before marks.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct UnmarkedLetterRow {
    accepted_at: u64,
    waiting: u32,
    forms: Vec<UnmarkedFormRow>,
    sealed_sender: Vec<u8>,
    eight_bit: bool,
    smtputf8: bool,
    return_full: Option<bool>,
    domain: String,
    mailbox_kind: Option<String>,
    automatic: bool,
}

/// [`LetterRow`] as it was before forms.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct OldLetterRow {
    blob: [u8; 16],
    accepted_at: u64,
    size: u64,
    waiting: u32,
    sealed_key: Vec<u8>,
    sealed_sender: Vec<u8>,
    return_path_octets: u64,
    eight_bit: bool,
    smtputf8: bool,
    return_full: Option<bool>,
    domain: String,
    mailbox_kind: Option<String>,
    automatic: bool,
}

#[derive(Serialize, Deserialize)]
struct Sender {
    reverse_path: Option<String>,
    envid: Option<String>,
}

/// What may happen to a recipient's row next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// It waits until it is due.
    Waiting,
    /// One attempt has it until then.
    Leased,
    /// Nothing, until an administrator releases it.
    Held,
}

/// What ends a row without an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// An administrator gave it up: `Some` is the reason, when the sender may read it.
    Bounce(Option<String>),
    /// It is older than letters may get, and its lane cannot be served.
    Expired,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecipientRow {
    pub(super) state: State,
    pub(super) attempts: u32,
    /// When it may be tried; of a leased row, until when it is leased.
    pub(super) due: u64,
    /// The recipient's domain: its lane. In clear, as in the mark.
    pub(super) domain: String,
    /// How often it made a worker panic.
    pub(super) breaks: u8,
    /// It was leased when the process died: tried alone among its like.
    pub(super) suspect: bool,
    /// How often the process died while it was the only suspect that was tried.
    pub(super) deaths: u8,
    /// `host:port` to which an administrator sends it.
    pub(super) route: Option<String>,
    /// It ends at the next claim.
    pub(super) order: Option<Order>,
    /// Which of the letter's forms it gets.
    pub(super) form: u8,
    /// A stranger's text: it may quote the letter.
    sealed_reply: Vec<u8>,
    sealed: Vec<u8>,
}

/// [`RecipientRow`] as it was before forms.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct FormlessRecipientRow {
    state: State,
    attempts: u32,
    due: u64,
    domain: String,
    breaks: u8,
    suspect: bool,
    deaths: u8,
    route: Option<String>,
    order: Option<Order>,
    sealed_reply: Vec<u8>,
    sealed: Vec<u8>,
}

/// [`RecipientRow`] as it was before lanes.
#[derive(Deserialize)]
struct OldRecipientRow {
    attempts: u32,
    due: u64,
    leased: bool,
    sealed_reply: Vec<u8>,
    sealed: Vec<u8>,
}

/// Why a row is on hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HoldRow {
    pub(super) domain: String,
    pub(super) kind: HoldKind,
    pub(super) author: String,
    pub(super) reason: String,
    pub(super) since: u64,
}

/// Who put a row on hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldKind {
    /// An administrator.
    Hands,
    /// The relay: the letter broke workers.
    SetAside,
    /// The relay: its rows cannot be read.
    Damaged,
}

/// A lane that an administrator holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PauseRow {
    pub(super) author: String,
    pub(super) reason: String,
    pub(super) since: u64,
}

/// Where an administrator sends a domain's mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RerouteRow {
    pub(super) to: String,
    pub(super) author: String,
    pub(super) reason: String,
    pub(super) since: u64,
}

#[derive(Serialize, Deserialize)]
struct Wishes {
    address: String,
    orcpt: Option<String>,
    /// never, success, failure, delay.
    notify: Option<[bool; 4]>,
}

impl LetterRow {
    pub(super) fn new(
        office: &Office,
        sealed: &Sealed,
        account: Option<&Account>,
        elsewhere: &[Travelling],
    ) -> Self {
        let authenticated = sealed.cleared().authenticated();
        let parameters = authenticated.parameters();
        let sender = Sender {
            reverse_path: authenticated.reverse_path().address().map(Address::to_string),
            envid: parameters.envid.clone(),
        };
        let domain = match account {
            Some(account) => account.address.domain(),
            None => &office.config.operator.hostname,
        };
        let context = sender_context(sealed.queue_id());
        let travelling = travelling_forms(sealed, elsewhere);
        let is_kept = travelling.first() == Some(&0);
        let forms = travelling.into_iter().filter_map(|place| {
            let form = sealed.forms().get(place)?;
            Some(FormRow::new(office, form))
        });
        Self {
            accepted_at: sealed.accepted_at().as_millis(),
            waiting: u32::try_from(elsewhere.len()).unwrap_or(u32::MAX),
            forms: forms.collect(),
            source: is_kept.then_some(0),
            sealed_sender: office.spool_keys.seal_index(&context, &encode(&sender)),
            eight_bit: parameters.eight_bit,
            smtputf8: parameters.smtputf8,
            return_full: parameters.ret.map(|ret| ret == ReturnContent::Full),
            domain: domain.to_string(),
            mailbox_kind: account.map(|account| account.kind.code().to_owned()),
            automatic: sealed.header().automatic || sealed.cleared().is_from_the_house(),
        }
    }

    /// A stored row of any layout that was ever written; `None` when it is none, or damaged.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        if let Some(row) = row::decode::<Self>(LETTER_FORMAT, value) {
            return (!row.forms.is_empty()).then_some(row);
        }
        if let Some(row) = row::decode::<UnmarkedLetterRow>(UNMARKED_LETTER_FORMAT, value) {
            return row.marked();
        }
        let old: OldLetterRow = row::decode(FORMAT, value)?;
        let form = FormRow {
            blob: old.blob,
            size: old.size,
            sealed_key: old.sealed_key,
            return_path_octets: old.return_path_octets,
            encrypted: false,
            sealed_to: Vec::new(),
        };
        Some(Self {
            accepted_at: old.accepted_at,
            waiting: old.waiting,
            forms: vec![form],
            source: None,
            sealed_sender: old.sealed_sender,
            eight_bit: old.eight_bit,
            smtputf8: old.smtputf8,
            return_full: old.return_full,
            domain: old.domain,
            mailbox_kind: old.mailbox_kind,
            automatic: old.automatic,
        })
    }

    /// The stored form.
    pub(super) fn encode(&self) -> Vec<u8> {
        row::encode(LETTER_FORMAT, self)
    }

    /// Clear octets of one of its forms.
    pub(super) fn size_of(&self, form: u8) -> u64 {
        self.forms.get(usize::from(form)).map_or(0, |form| form.size)
    }

    pub(super) fn open(self, office: &Office, id: QueueId) -> Option<Letter> {
        let clear = office.spool_keys.open_index(&sender_context(id), &self.sealed_sender).ok()?;
        let sender: Sender = decode(clear.expose())?;
        let reverse_path = match sender.reverse_path {
            None => ReversePath::Null,
            Some(text) => ReversePath::Address(Address::parse(&text).ok()?),
        };
        let ret = self.return_full.map(|full| match full {
            true => ReturnContent::Full,
            false => ReturnContent::Headers,
        });
        let forms: Vec<LetterForm> = self.forms.iter().map(FormRow::open).collect();
        let first = forms.first().cloned()?;
        Some(Letter {
            reverse_path,
            parameters: MailParameters {
                size: Some(first.size),
                eight_bit: self.eight_bit,
                smtputf8: self.smtputf8,
                ret,
                envid: sender.envid,
            },
            blob: first.blob,
            sealed_key: first.sealed_key,
            return_path_octets: first.return_path_octets,
            size: first.size,
            encrypted: first.encrypted,
            sealed_to: first.sealed_to,
            source: self.source,
            forms,
            accepted_at: Timestamp::from_millis(self.accepted_at),
            domain: self.domain,
            mailbox_kind: self.mailbox_kind.as_deref().and_then(MailboxKind::from_code),
            automatic: self.automatic,
        })
    }
}

impl UnmarkedLetterRow {
    fn marked(self) -> Option<LetterRow> {
        let forms = self.forms.into_iter().map(|form| FormRow {
            blob: form.blob,
            size: form.size,
            sealed_key: form.sealed_key,
            return_path_octets: form.return_path_octets,
            encrypted: form.encrypted,
            sealed_to: Vec::new(),
        });
        let row = LetterRow {
            accepted_at: self.accepted_at,
            waiting: self.waiting,
            forms: forms.collect(),
            source: None,
            sealed_sender: self.sealed_sender,
            eight_bit: self.eight_bit,
            smtputf8: self.smtputf8,
            return_full: self.return_full,
            domain: self.domain,
            mailbox_kind: self.mailbox_kind,
            automatic: self.automatic,
        };
        (!row.forms.is_empty()).then_some(row)
    }
}

/// The places of the forms that travel, each once, in the order of their numbers in the rows. With
/// one that the relay sealed, the letter as it came is kept: a key may be revoked while it waits.
pub(super) fn travelling_forms(sealed: &Sealed, elsewhere: &[Travelling]) -> Vec<usize> {
    let mut places: Vec<usize> = elsewhere.iter().map(|each| each.form).collect();
    let is_ours =
        |place: &usize| sealed.forms().get(*place).is_some_and(|it| !it.sealed_to.is_empty());
    if places.iter().any(is_ours) {
        places.push(0);
    }
    places.sort_unstable();
    places.dedup();
    places
}

impl FormRow {
    pub(super) fn new(office: &Office, form: &Form) -> Self {
        Self {
            blob: *form.blob.as_bytes(),
            size: form.size,
            sealed_key: office.spool_keys.wrap(&form.content_key),
            return_path_octets: form.return_path_octets,
            encrypted: form.encrypted,
            sealed_to: form.sealed_to.clone(),
        }
    }

    fn open(&self) -> LetterForm {
        LetterForm {
            blob: BlobId::from_bytes(self.blob),
            sealed_key: self.sealed_key.clone(),
            return_path_octets: self.return_path_octets,
            size: self.size,
            encrypted: self.encrypted,
            sealed_to: self.sealed_to.clone(),
        }
    }
}

impl RecipientRow {
    pub(super) fn new(
        office: &Office,
        id: QueueId,
        number: u16,
        (recipient, form): (&Recipient, u8),
        due: Timestamp,
    ) -> Self {
        let Recipient { address, parameters } = recipient;
        let wishes = Wishes {
            address: address.to_string(),
            orcpt: parameters.orcpt.clone(),
            notify: parameters.notify.map(|n| [n.never, n.success, n.failure, n.delay]),
        };
        let sealed = office.spool_keys.seal_index(&recipient_context(id, number), &encode(&wishes));
        Self {
            state: State::Waiting,
            attempts: 0,
            due: due.as_millis(),
            domain: address.domain().to_string(),
            breaks: 0,
            suspect: false,
            deaths: 0,
            route: None,
            order: None,
            form,
            sealed_reply: Vec::new(),
            sealed,
        }
    }

    /// A stored row of any form that was ever written; `None` when it is none, or damaged.
    pub(super) fn read(office: &Office, id: QueueId, number: u16, value: &[u8]) -> Option<Self> {
        if let Some(row) = row::decode(RECIPIENT_FORMAT, value) {
            return Some(row);
        }
        if let Some(old) = row::decode::<FormlessRecipientRow>(FORMLESS_RECIPIENT_FORMAT, value) {
            return Some(Self {
                state: old.state,
                attempts: old.attempts,
                due: old.due,
                domain: old.domain,
                breaks: old.breaks,
                suspect: old.suspect,
                deaths: old.deaths,
                route: old.route,
                order: old.order,
                form: 0,
                sealed_reply: old.sealed_reply,
                sealed: old.sealed,
            });
        }
        let old: OldRecipientRow = row::decode(FORMAT, value)?;
        let mut row = Self {
            state: if old.leased { State::Leased } else { State::Waiting },
            attempts: old.attempts,
            due: old.due,
            domain: String::new(),
            breaks: 0,
            suspect: false,
            deaths: 0,
            route: None,
            order: None,
            form: 0,
            sealed_reply: old.sealed_reply,
            sealed: old.sealed,
        };
        row.domain = row.open(office, id, number)?.address.domain().to_string();
        Some(row)
    }

    /// The stored form.
    pub(super) fn encode(&self) -> Vec<u8> {
        row::encode(RECIPIENT_FORMAT, self)
    }

    /// When it may be tried, or until when it is leased.
    pub(super) fn due(&self) -> Timestamp {
        Timestamp::from_millis(self.due)
    }

    /// Keeps what was said last.
    pub(super) fn keep_reply(&mut self, office: &Office, id: QueueId, number: u16, reply: &str) {
        let context = reply_context(id, number);
        self.sealed_reply = office.spool_keys.seal_index(&context, reply.as_bytes());
    }

    /// What was said last; empty before the first attempt.
    pub(super) fn reply(&self, office: &Office, id: QueueId, number: u16) -> String {
        let opened = office.spool_keys.open_index(&reply_context(id, number), &self.sealed_reply);
        opened.map(|text| String::from_utf8_lossy(text.expose()).into_owned()).unwrap_or_default()
    }

    pub(super) fn open(&self, office: &Office, id: QueueId, number: u16) -> Option<Recipient> {
        let context = recipient_context(id, number);
        let clear = office.spool_keys.open_index(&context, &self.sealed).ok()?;
        let wishes: Wishes = decode(clear.expose())?;
        let notify = wishes.notify.map(|[never, success, failure, delay]| Notify {
            never,
            success,
            failure,
            delay,
        });
        Some(Recipient {
            address: Address::parse(&wishes.address).ok()?,
            parameters: RcptParameters { notify, orcpt: wishes.orcpt },
        })
    }
}

/// Format octet and postcard form.
pub(super) fn encode<T: Serialize>(stored: &T) -> Vec<u8> {
    row::encode(FORMAT, stored)
}

/// `None` when the value is not one of ours.
pub(super) fn decode<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    row::decode(FORMAT, value)
}

pub(super) fn letter_key(id: QueueId) -> Vec<u8> {
    [LETTERS, id.as_bytes()].concat()
}

/// The letter in the key of its row.
pub(super) fn letter_of(key: &[u8]) -> Option<QueueId> {
    Some(QueueId::from_bytes(key.strip_prefix(LETTERS)?.try_into().ok()?))
}

pub(super) fn recipient_key(id: QueueId, number: u16) -> Vec<u8> {
    [RECIPIENTS, id.as_bytes().as_slice(), &number.to_be_bytes()].concat()
}

/// The mark of a row: the one place where somebody looks for it.
pub(super) fn mark(row: &RecipientRow, id: QueueId, number: u16) -> Vec<u8> {
    let at = row.due.to_be_bytes();
    let timed = |table: &[u8]| {
        [table, at.as_slice(), id.as_bytes().as_slice(), &number.to_be_bytes()].concat()
    };
    match row.state {
        State::Held => held_key(id, number),
        State::Leased => timed(LEASED),
        State::Waiting if row.order.is_some() => timed(ORDERED),
        State::Waiting if row.suspect => timed(SUSPECTS),
        State::Waiting => [lane(&lane_name(row)).as_slice(), &timed(&[])].concat(),
    }
}

/// What the mark holds: the lane, where the key does not tell it.
fn mark_value(row: &RecipientRow) -> Vec<u8> {
    let in_lane = row.state == State::Waiting && row.order.is_none() && !row.suspect;
    if in_lane { Vec::new() } else { row.domain.clone().into_bytes() }
}

/// A new row with its mark.
pub(super) fn create(batch: &mut Batch, row: &RecipientRow, id: QueueId, number: u16) {
    batch.put(recipient_key(id, number), row.encode());
    batch.put(mark(row, id, number), mark_value(row));
}

/// One row becomes another, and its mark goes where it belongs now. A row that is put on hold
/// gets its reason from [`hold`] instead.
pub(super) fn change(
    batch: &mut Batch,
    (before, version): (&RecipientRow, Version),
    after: &RecipientRow,
    id: QueueId,
    number: u16,
) {
    batch.require_at(recipient_key(id, number), version);
    batch.delete(mark(before, id, number));
    create(batch, after, id, number);
}

/// Like [`change`], on hold.
pub(super) fn hold(
    batch: &mut Batch,
    (before, version): (&RecipientRow, Version),
    after: &mut RecipientRow,
    (id, number): (QueueId, u16),
    reason: &HoldRow,
) {
    after.state = State::Held;
    after.order = None;
    change(batch, (before, version), after, id, number);
    batch.put(held_key(id, number), encode(reason));
}

/// A row and its mark go.
pub(super) fn remove(
    batch: &mut Batch,
    (row, version): (&RecipientRow, Version),
    id: QueueId,
    number: u16,
) {
    let key = recipient_key(id, number);
    batch.require_at(key.clone(), version);
    batch.delete(mark(row, id, number));
    batch.delete(key);
}

/// The lane of a row: its domain; for a letter that an administrator sends elsewhere a lane of
/// its own, because another host takes it.
pub(super) fn lane_name(row: &RecipientRow) -> String {
    match &row.route {
        Some(host) => format!("{}{ELSEWHERE}{host}", row.domain),
        None => row.domain.clone(),
    }
}

/// The domain of a lane, and the host that takes its mail if it is a lane of its own.
pub(super) fn parts_of(lane: &str) -> (&str, Option<&str>) {
    lane.split_once(ELSEWHERE).map_or((lane, None), |(domain, host)| (domain, Some(host)))
}

/// The lanes of a domain's letters that go elsewhere.
pub(super) fn lanes_elsewhere(domain: &str) -> Range<Vec<u8>> {
    let mut prefix = [DUE, domain.as_bytes()].concat();
    prefix.push(u8::try_from(ELSEWHERE).unwrap_or(END_OF_DOMAIN + 1));
    store::prefix(&prefix)
}

/// The beginning of every mark in a lane.
pub(super) fn lane(domain: &str) -> Vec<u8> {
    [DUE, domain.as_bytes(), &[END_OF_DOMAIN]].concat()
}

/// The first key behind a lane.
pub(super) fn behind_lane(domain: &str) -> Vec<u8> {
    [DUE, domain.as_bytes(), &[END_OF_DOMAIN + 1]].concat()
}

/// Lane, due, letter and number of a mark in a lane.
pub(super) fn lane_mark_of(key: &[u8]) -> Option<(&str, Mark)> {
    let rest = key.strip_prefix(DUE)?;
    let end = rest.iter().position(|octet| *octet == END_OF_DOMAIN)?;
    let domain = std::str::from_utf8(&rest[..end]).ok().filter(|domain| !domain.is_empty())?;
    Some((domain, timed_mark(&rest[end + 1..])?))
}

/// Due (or end of the lease), letter and number of a mark in another table.
pub(super) fn mark_of(table: &[u8], key: &[u8]) -> Option<Mark> {
    timed_mark(key.strip_prefix(table)?)
}

/// A row, and the moment that its mark tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: Timestamp,
    pub(super) id: QueueId,
    pub(super) number: u16,
}

fn timed_mark(rest: &[u8]) -> Option<Mark> {
    let at = u64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
    let id = QueueId::from_bytes(rest.get(8..24)?.try_into().ok()?);
    let number = u16::from_be_bytes(rest.get(24..)?.try_into().ok()?);
    Some(Mark { at: Timestamp::from_millis(at), id, number })
}

/// Marks as they were before lanes: `Q/d/<due><id><number>` -> domain. A moment's first octet is
/// zero for some million years, and no domain begins so.
pub(super) fn old_marks() -> Range<Vec<u8>> {
    store::prefix(&[DUE, &[0]].concat())
}

pub(super) fn held_key(id: QueueId, number: u16) -> Vec<u8> {
    [HELD, id.as_bytes().as_slice(), &number.to_be_bytes()].concat()
}

pub(super) fn paused_key(domain: &str) -> Vec<u8> {
    [PAUSED, domain.as_bytes()].concat()
}

pub(super) fn rerouted_key(domain: &str) -> Vec<u8> {
    [REROUTED, domain.as_bytes()].concat()
}

/// All rows of one letter.
pub(super) fn recipients_of(id: QueueId) -> Range<Vec<u8>> {
    store::prefix(&[RECIPIENTS, id.as_bytes().as_slice()].concat())
}

/// Letter and number of a row, or of a mark of a held one.
pub(super) fn row_of(table: &[u8], key: &[u8]) -> Option<(QueueId, u16)> {
    let rest = key.strip_prefix(table)?;
    let id = rest.get(..16)?.try_into().ok()?;
    let number = rest.get(16..)?.try_into().ok()?;
    Some((QueueId::from_bytes(id), u16::from_be_bytes(number)))
}

/// RFC 9562 §5.7: the first 48 bits of a UUIDv7 are milliseconds since 1970.
pub(super) fn taken_in_at(id: QueueId) -> Timestamp {
    let milliseconds = id.as_bytes()[..6].iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet));
    Timestamp::from_millis(milliseconds)
}

fn sender_context(id: QueueId) -> Vec<u8> {
    [b"queue-sender/".as_slice(), id.as_bytes()].concat()
}

fn recipient_context(id: QueueId, number: u16) -> Vec<u8> {
    [b"queue-recipient/".as_slice(), id.as_bytes(), &number.to_be_bytes()].concat()
}

fn reply_context(id: QueueId, number: u16) -> Vec<u8> {
    [b"queue-reply/".as_slice(), id.as_bytes(), &number.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_waited_before_marks_were_kept_is_read_as_it_was() {
        let form = |octet: u8, encrypted| UnmarkedFormRow {
            blob: [octet; 16],
            size: u64::from(octet),
            sealed_key: vec![octet],
            return_path_octets: 3,
            encrypted,
        };
        let old = UnmarkedLetterRow {
            accepted_at: 7,
            waiting: 2,
            forms: vec![form(1, false), form(2, true)],
            sealed_sender: vec![9],
            eight_bit: true,
            smtputf8: false,
            return_full: Some(true),
            domain: "hopital.mssante.test".to_owned(),
            mailbox_kind: None,
            automatic: false,
        };
        let read = LetterRow::read(&row::encode(UNMARKED_LETTER_FORMAT, &old)).unwrap();
        assert_eq!((read.accepted_at, read.waiting, read.source), (7, 2, None));
        let forms: Vec<(u64, bool)> = read.forms.iter().map(|it| (it.size, it.encrypted)).collect();
        assert_eq!(forms, [(1, false), (2, true)]);
        assert!(read.forms.iter().all(|form| form.sealed_to.is_empty()));
        // Written again, it has the layout of now.
        assert_eq!(LetterRow::read(&read.encode()).unwrap().forms, read.forms);
    }
}
