//! How escrow and receipts lie in the store.
//!
//! | key | value |
//! |---|---|
//! | `X/setup` | the escrow that is in force |
//! | `X/holder/<number>` | an administrator's certificate, and their share, sealed to it |
//! | `X/blob/<owner>` | keys in escrow: a mailbox's, the relay's own, or the master key's |
//! | `X/recovered/<UUIDv7>` | the master key came back while no relay ran; told at the next start |
//! | `Z/r/<UUIDv7>` | a receipt of what was shredded, with its signature; sealed |
//! | `Z/m/<mailbox>` | the receipt of an ended mailbox |
//! | `Z/d/<content>` | a letter that is being shredded, by whom and why; sealed |
use serde::Deserialize;
use serde::Serialize;

use crate::domain::mailbox::MailboxId;
use crate::infra::store::row;

pub(super) const SETUP: &[u8] = b"X/setup";
pub(super) const HOLDERS: &[u8] = b"X/holder/";
pub(super) const BLOBS: &[u8] = b"X/blob/";
pub(super) const RECOVERED: &[u8] = b"X/recovered/";
const FORMAT: u8 = 1;

/// The escrow in force.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SetupRow {
    pub(super) id: [u8; 16],
    pub(super) quorum: u8,
    pub(super) count: u8,
    pub(super) certificate: Vec<u8>,
    pub(super) sealed_key: Vec<u8>,
    pub(super) at: u64,
    pub(super) author: String,
    /// When a drill last succeeded.
    pub(super) drilled: Option<u64>,
}

/// One administrator.
#[derive(Serialize, Deserialize)]
pub(super) struct HolderRow {
    pub(super) fingerprint: String,
    pub(super) certificate: Vec<u8>,
    pub(super) share: String,
}

/// Keys in escrow.
#[derive(Serialize, Deserialize)]
pub(super) struct BlobRow {
    pub(super) escrow: [u8; 16],
    pub(super) mark: [u8; 32],
    pub(super) sealed: Vec<u8>,
}

/// A recovery that no running relay saw.
#[derive(Serialize, Deserialize)]
pub(super) struct RecoveredRow {
    pub(super) at: u64,
    pub(super) author: String,
    pub(super) shares: Vec<u8>,
}

pub(super) fn holder_key(number: u8) -> Vec<u8> {
    [HOLDERS, &[number]].concat()
}

pub(super) fn blob_key(owner: &MailboxId) -> Vec<u8> {
    [BLOBS, owner.as_bytes().as_slice()].concat()
}

pub(super) fn owner_of(key: &[u8]) -> Option<MailboxId> {
    let octets = key.strip_prefix(BLOBS)?.try_into().ok()?;
    Some(MailboxId::from_bytes(octets))
}

pub(super) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    row::encode(FORMAT, row)
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(value: &[u8]) -> Option<T> {
    row::decode(FORMAT, value)
}
