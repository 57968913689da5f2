//! How the lives of mailboxes lie in the store.
//!
//! | key | value |
//! |---|---|
//! | `L/s/<mailbox>` | where it is; a mailbox without this row is as its account says |
//! | `L/h/<mailbox><UUIDv7>` | one step, sealed: a reason may name a patient |
//! | `L/x/<mailbox>` | ended, and rows of it may be left |
//! | `L/c` | the days on which the sweep ran, see `sweep` |
use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::life::Stage;
use crate::domain::life::Standing;
use crate::domain::life::Step;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::flow::life::Life;
use crate::flow::life::Notice;
use crate::flow::life::Record;
use crate::infra::keys::Keyring;
use crate::infra::store::row;

pub(super) const STATES: &[u8] = b"L/s/";
const HISTORY: &[u8] = b"L/h/";
pub(super) const LEFT: &[u8] = b"L/x/";
pub(super) const DAYS: &[u8] = b"L/c";
const FORMAT: u8 = 1;
const PURPOSE: &str = "life";

#[derive(Serialize, Deserialize)]
struct Row {
    stage: String,
    kind: String,
    red_list: bool,
    /// A professional's; a patient's is found by its keyed hash and lies nowhere else.
    address: Option<String>,
    domain: String,
    since: u64,
    quiet_from: u64,
    until: Option<u64>,
    before: Option<String>,
    day: u64,
    notices: Vec<(u64, u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct HistoryRow {
    at: u64,
    author: String,
    step: String,
    from: Option<String>,
    to: String,
    reason: String,
}

/// Days on which the sweep ran, and what it did on the last of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Days {
    /// When records of logins begin, as far as this relay knows.
    pub(super) began: u64,
    /// The last day, in days since 1970.
    pub(super) last: u64,
    /// How many there were.
    pub(super) lived: u64,
    /// Mailboxes that the clock closed or ended on the last of them.
    pub(super) ended: u64,
}

pub(super) fn state_key(id: &MailboxId) -> Vec<u8> {
    [STATES, id.as_bytes()].concat()
}

pub(super) fn left_key(id: &MailboxId) -> Vec<u8> {
    [LEFT, id.as_bytes()].concat()
}

/// The mailbox at the end of a key.
pub(super) fn mailbox_of(prefix: &[u8], key: &[u8]) -> Option<MailboxId> {
    let number = key.strip_prefix(prefix)?.get(..16)?;
    Some(MailboxId::from_bytes(number.try_into().ok()?))
}

pub(super) fn history_prefix(id: &MailboxId) -> Vec<u8> {
    [HISTORY, id.as_bytes()].concat()
}

pub(super) fn history_key(id: &MailboxId) -> Vec<u8> {
    [HISTORY, id.as_bytes(), uuid::Uuid::now_v7().as_bytes()].concat()
}

pub(super) fn encode_days(days: &Days) -> Vec<u8> {
    row::encode(FORMAT, days)
}

pub(super) fn decode_days(value: &[u8]) -> Option<Days> {
    row::decode(FORMAT, value)
}

pub(super) fn encode(life: &Life) -> Vec<u8> {
    let standing = &life.standing;
    let is_patient = standing.kind == MailboxKind::Citizen;
    let address = life.address.as_ref().filter(|_| !is_patient);
    let row = Row {
        stage: standing.stage.name().to_owned(),
        kind: standing.kind.code().to_owned(),
        red_list: standing.listing == Listing::RedList,
        address: address.map(ToString::to_string),
        domain: life.domain.clone(),
        since: life.since.as_millis(),
        quiet_from: life.quiet_from.as_millis(),
        until: standing.until.map(Timestamp::as_millis),
        before: standing.before.map(|stage| stage.name().to_owned()),
        day: life.day,
        notices: life
            .notices
            .iter()
            .map(|notice| (notice.days_before, notice.at.as_millis(), notice.day))
            .collect(),
    };
    row::encode(FORMAT, &row)
}

pub(super) fn decode(id: MailboxId, value: &[u8]) -> Option<Life> {
    let row: Row = row::decode(FORMAT, value)?;
    let stage = |name: &String| Stage::parse(name);
    let notice = |(days_before, at, day): &(u64, u64, u64)| Notice {
        days_before: *days_before,
        at: Timestamp::from_millis(*at),
        day: *day,
    };
    Some(Life {
        id,
        address: row.address.as_deref().and_then(|text| Address::parse(text).ok()),
        domain: row.domain,
        standing: Standing {
            stage: stage(&row.stage)?,
            kind: MailboxKind::from_code(&row.kind)?,
            listing: if row.red_list { Listing::RedList } else { Listing::Public },
            until: row.until.map(Timestamp::from_millis),
            before: row.before.as_ref().and_then(stage),
        },
        since: Timestamp::from_millis(row.since),
        quiet_from: Timestamp::from_millis(row.quiet_from),
        day: row.day,
        notices: row.notices.iter().map(notice).collect(),
    })
}

pub(super) fn seal_record(keys: &Keyring, record: &Record) -> Vec<u8> {
    let row = HistoryRow {
        at: record.at.as_millis(),
        author: record.author.clone(),
        step: record.step.name().to_owned(),
        from: record.from.map(|stage| stage.name().to_owned()),
        to: record.to.name().to_owned(),
        reason: record.reason.clone(),
    };
    keys.seal_small(PURPOSE, &row::encode(FORMAT, &row))
}

pub(super) fn open_record(keys: &Keyring, sealed: &[u8]) -> Option<Record> {
    let clear = keys.open_small(PURPOSE, sealed).ok()?;
    let row: HistoryRow = row::decode(FORMAT, clear.expose())?;
    Some(Record {
        at: Timestamp::from_millis(row.at),
        author: row.author,
        step: Step::parse(&row.step)?,
        from: row.from.as_deref().and_then(Stage::parse),
        to: Stage::parse(&row.to)?,
        reason: row.reason,
    })
}
