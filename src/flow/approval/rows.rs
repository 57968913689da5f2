//! How petitions lie in the store: rows `V/<UUIDv7>`, sealed, for they name people.
use aws_lc_rs::digest;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::envelope::QueueId;
use crate::domain::identity::NationalId;
use crate::domain::rights::Rights;
use crate::domain::time::Timestamp;
use crate::flow::approval::Bulk;
use crate::flow::approval::Deed;
use crate::flow::approval::Holding;
use crate::flow::approval::Petition;
use crate::flow::approval::Reply;
use crate::flow::approval::Shredding;
use crate::flow::approval::State;
use crate::flow::custody::shred::Which;
use crate::flow::team::Delegation;
use crate::infra::keys::Keyring;
use crate::infra::store::row;

pub(super) const PETITIONS: &[u8] = b"V/";
const FORMAT: u8 = 1;
const PURPOSE: &str = "petition";

#[derive(Serialize, Deserialize)]
struct Row {
    deed: DeedRow,
    person: String,
    author: String,
    at: u64,
    until: u64,
    state: StateRow,
}

#[derive(Serialize, Deserialize)]
enum DeedRow {
    Close { address: String, reason: String },
    Delete { address: String, reason: String },
    Grant { mailbox: String, reader: String, rights: u16, until: Option<u64>, reason: String },
    Bulk { file: String, lines: u64, digests: Vec<[u8; 32]>, reason: String },
    Holder { mailbox: String, holder: String, begins: bool, reason: String },
    ShredLetter { letter: [u8; 16], over_retention: bool, reason: String },
    ShredPlace { mailbox: String, folder: u32, uid: u32, over_retention: bool, reason: String },
    ShredMailbox { address: String, reason: String },
    Factors { address: String, reason: String },
}

#[derive(Serialize, Deserialize)]
enum StateRow {
    Waiting,
    Approved(ReplyRow),
    Done(ReplyRow),
    Refused(ReplyRow),
}

#[derive(Serialize, Deserialize)]
struct ReplyRow {
    person: String,
    author: String,
    at: u64,
    text: String,
}

pub(super) fn key(id: &uuid::Uuid) -> Vec<u8> {
    [PETITIONS, id.as_bytes()].concat()
}

/// Over the stored form: what is approved is just what is kept.
pub(super) fn digest(deed: &Deed) -> String {
    let octets = row::encode(FORMAT, &deed_row(deed));
    let digest = digest::digest(&digest::SHA256, &octets);
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

pub(super) fn encode(keys: &Keyring, petition: &Petition) -> Vec<u8> {
    let reply = |reply: &Reply| ReplyRow {
        person: reply.person.clone(),
        author: reply.author.clone(),
        at: reply.at.as_millis(),
        text: reply.text.clone(),
    };
    let row = Row {
        deed: deed_row(&petition.deed),
        person: petition.person.clone(),
        author: petition.author.clone(),
        at: petition.at.as_millis(),
        until: petition.until.as_millis(),
        state: match &petition.state {
            State::Waiting => StateRow::Waiting,
            State::Approved(one) => StateRow::Approved(reply(one)),
            State::Done(one) => StateRow::Done(reply(one)),
            State::Refused(one) => StateRow::Refused(reply(one)),
        },
    };
    keys.seal_small(PURPOSE, &row::encode(FORMAT, &row))
}

pub(super) fn decode(keys: &Keyring, key: &[u8], sealed: &[u8]) -> Option<Petition> {
    let id = uuid::Uuid::from_slice(key.strip_prefix(PETITIONS)?).ok()?;
    let clear = keys.open_small(PURPOSE, sealed).ok()?;
    let row: Row = row::decode(FORMAT, clear.expose())?;
    let reply = |row: ReplyRow| Reply {
        person: row.person,
        author: row.author,
        at: Timestamp::from_millis(row.at),
        text: row.text,
    };
    let address = |text: &str| Address::parse(text).ok();
    let at = Timestamp::from_millis(row.at);
    let deed = match row.deed {
        DeedRow::Close { address: of, reason } => Deed::Close { address: address(&of)?, reason },
        DeedRow::Delete { address: of, reason } => Deed::Delete { address: address(&of)?, reason },
        DeedRow::Factors { address: of, reason } => {
            Deed::Factors { address: address(&of)?, reason }
        }
        DeedRow::Grant { mailbox, reader, rights, until, reason } => Deed::Grant(Delegation {
            mailbox: address(&mailbox)?,
            reader: address(&reader)?,
            rights: Rights::from_bits(rights),
            since: at,
            until: until.map(Timestamp::from_millis),
            author: row.author.clone(),
            reason,
        }),
        DeedRow::Bulk { file, lines, digests, reason } => {
            Deed::Bulk(Bulk { file, lines, digests, reason })
        }
        DeedRow::Holder { mailbox, holder, begins, reason } => Deed::Holder(Holding {
            mailbox: address(&mailbox)?,
            holder: NationalId::parse(&holder)?,
            begins,
            reason,
        }),
        DeedRow::ShredLetter { letter, over_retention, reason } => Deed::ShredLetter(Shredding {
            which: Which::Letter(QueueId::from_bytes(letter)),
            over_retention,
            reason,
        }),
        DeedRow::ShredPlace { mailbox, folder, uid, over_retention, reason } => {
            let which = Which::Place { mailbox: address(&mailbox)?, folder, uid };
            Deed::ShredLetter(Shredding { which, over_retention, reason })
        }
        DeedRow::ShredMailbox { address: of, reason } => {
            Deed::ShredMailbox { address: address(&of)?, reason }
        }
    };
    Some(Petition {
        id,
        digest: digest(&deed),
        deed,
        person: row.person,
        author: row.author,
        at,
        until: Timestamp::from_millis(row.until),
        state: match row.state {
            StateRow::Waiting => State::Waiting,
            StateRow::Approved(one) => State::Approved(reply(one)),
            StateRow::Done(one) => State::Done(reply(one)),
            StateRow::Refused(one) => State::Refused(reply(one)),
        },
    })
}

fn deed_row(deed: &Deed) -> DeedRow {
    match deed {
        Deed::Close { address, reason } => {
            DeedRow::Close { address: address.to_string(), reason: reason.clone() }
        }
        Deed::Delete { address, reason } => {
            DeedRow::Delete { address: address.to_string(), reason: reason.clone() }
        }
        Deed::Factors { address, reason } => {
            DeedRow::Factors { address: address.to_string(), reason: reason.clone() }
        }
        Deed::Grant(one) => DeedRow::Grant {
            mailbox: one.mailbox.to_string(),
            reader: one.reader.to_string(),
            rights: one.rights.bits(),
            until: one.until.map(Timestamp::as_millis),
            reason: one.reason.clone(),
        },
        Deed::Bulk(bulk) => DeedRow::Bulk {
            file: bulk.file.clone(),
            lines: bulk.lines,
            digests: bulk.digests.clone(),
            reason: bulk.reason.clone(),
        },
        Deed::Holder(one) => DeedRow::Holder {
            mailbox: one.mailbox.to_string(),
            holder: one.holder.to_string(),
            begins: one.begins,
            reason: one.reason.clone(),
        },
        Deed::ShredLetter(one) => {
            let (over_retention, reason) = (one.over_retention, one.reason.clone());
            match &one.which {
                Which::Letter(id) => {
                    DeedRow::ShredLetter { letter: *id.as_bytes(), over_retention, reason }
                }
                Which::Place { mailbox, folder, uid } => DeedRow::ShredPlace {
                    mailbox: mailbox.to_string(),
                    folder: *folder,
                    uid: *uid,
                    over_retention,
                    reason,
                },
            }
        }
        Deed::ShredMailbox { address, reason } => {
            DeedRow::ShredMailbox { address: address.to_string(), reason: reason.clone() }
        }
    }
}
