//! How promises lie in the store. They name people, so their values are sealed with the spool's
//! keys; when they are due, and about which letter, is in clear.
use serde::Deserialize;
use serde::Serialize;

use crate::domain::envelope::QueueId;
use crate::domain::time::Timestamp;
use crate::flow::filter::Answer;
use crate::flow::filter::Redirect;
use crate::flow::office::Office;
use crate::infra::store::row;

/// `W/<due><queue id><UUIDv7>`
pub(super) const PROMISES: &[u8] = b"W/";
const FORMAT: u8 = 1;

/// What was promised. Variants are stored by their place: a new one goes to the end.
#[derive(Serialize, Deserialize)]
pub(super) enum Promise {
    /// To say that a letter has arrived, or was handed on.
    Success(Success),
    /// To look whether a letter still waits.
    Watch(Watch),
    /// To answer its sender for somebody who is away.
    Answer(Answer),
    /// To send it on.
    Redirect(Redirect),
}

/// A report of success: all that it takes is here, for the letter itself may be gone by then.
#[derive(Serialize, Deserialize)]
pub(super) struct Success {
    pub(super) sender: String,
    pub(super) envid: Option<String>,
    pub(super) arrival: u64,
    pub(super) header: Vec<u8>,
    /// Handed on to an operator that will not report; otherwise in a mailbox here.
    pub(super) relayed: bool,
    pub(super) remote_mta: Option<String>,
    pub(super) reply: Option<String>,
    pub(super) at: u64,
    /// Address and ORCPT.
    pub(super) recipients: Vec<(String, Option<String>)>,
}

/// When to look whether somebody must be told.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Watch {
    pub(super) late: Option<LateAt>,
    pub(super) delay_at: Option<u64>,
}

/// The service level that a letter must meet.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct LateAt {
    pub(super) at: u64,
    pub(super) class: String,
    pub(super) within_seconds: u64,
}

impl Watch {
    /// When to look next; `None` when nothing is left to look for.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let late = self.late.as_ref().map(|late| late.at);
        late.into_iter().chain(self.delay_at).min().map(Timestamp::from_millis)
    }
}

/// A promise and where it lies.
pub(super) struct Due {
    pub(super) at: Timestamp,
    pub(super) letter: QueueId,
}

pub(super) fn key(due: Timestamp, letter: QueueId) -> Vec<u8> {
    let due = due.as_millis().to_be_bytes();
    [PROMISES, &due, letter.as_bytes(), uuid::Uuid::now_v7().as_bytes()].concat()
}

pub(super) fn due_of(key: &[u8]) -> Option<Due> {
    let rest = key.strip_prefix(PROMISES)?;
    let at = u64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
    let letter = rest.get(8..24)?.try_into().ok()?;
    Some(Due { at: Timestamp::from_millis(at), letter: QueueId::from_bytes(letter) })
}

pub(super) fn seal(office: &Office, letter: QueueId, promise: &Promise) -> Vec<u8> {
    let sealed = office.spool_keys.seal_index(&context(letter), &row::encode(FORMAT, promise));
    row::encode(FORMAT, &sealed)
}

pub(super) fn open(office: &Office, letter: QueueId, value: &[u8]) -> Option<Promise> {
    let sealed: Vec<u8> = row::decode(FORMAT, value)?;
    let clear = office.spool_keys.open_index(&context(letter), &sealed).ok()?;
    row::decode(FORMAT, clear.expose())
}

/// Without the time: a promise may be put off.
fn context(letter: QueueId) -> Vec<u8> {
    [b"promise/".as_slice(), letter.as_bytes()].concat()
}
