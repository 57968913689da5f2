//! How waiting letters lie in the store. Addresses are sealed with the spool's keys.
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
use crate::flow::seal::Sealed;
use crate::infra::directory::Account;
use crate::infra::store::row;

pub(super) const RECIPIENTS: &[u8] = b"Q/r/";
pub(super) const DUE: &[u8] = b"Q/d/";
const LETTERS: &[u8] = b"Q/m/";
const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct LetterRow {
    pub(super) blob: [u8; 16],
    pub(super) accepted_at: u64,
    pub(super) size: u64,
    /// Recipients that still wait.
    pub(super) waiting: u32,
    sealed_key: Vec<u8>,
    /// Reverse path and ENVID.
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

#[derive(Serialize, Deserialize)]
pub(super) struct RecipientRow {
    pub(super) attempts: u32,
    pub(super) due: u64,
    pub(super) leased: bool,
    /// A stranger's text: it may quote the letter.
    sealed_reply: Vec<u8>,
    sealed: Vec<u8>,
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
        waiting: usize,
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
        Self {
            blob: *sealed.blob().as_bytes(),
            accepted_at: sealed.accepted_at().as_millis(),
            size: sealed.size(),
            waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
            sealed_key: office.spool_keys.wrap(sealed.content_key()),
            sealed_sender: office.spool_keys.seal_index(&context, &encode(&sender)),
            return_path_octets: sealed.return_path_octets(),
            eight_bit: parameters.eight_bit,
            smtputf8: parameters.smtputf8,
            return_full: parameters.ret.map(|ret| ret == ReturnContent::Full),
            domain: domain.to_string(),
            mailbox_kind: account.map(|account| account.kind.code().to_owned()),
            automatic: sealed.header().automatic || sealed.cleared().is_from_the_house(),
        }
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
        Some(Letter {
            reverse_path,
            parameters: MailParameters {
                size: Some(self.size),
                eight_bit: self.eight_bit,
                smtputf8: self.smtputf8,
                ret,
                envid: sender.envid,
            },
            blob: BlobId::from_bytes(self.blob),
            sealed_key: self.sealed_key,
            return_path_octets: self.return_path_octets,
            size: self.size,
            accepted_at: Timestamp::from_millis(self.accepted_at),
            domain: self.domain,
            mailbox_kind: self.mailbox_kind.as_deref().and_then(MailboxKind::from_code),
            automatic: self.automatic,
        })
    }
}

impl RecipientRow {
    pub(super) fn new(
        office: &Office,
        id: QueueId,
        number: u16,
        recipient: &Recipient,
        due: Timestamp,
    ) -> Self {
        let Recipient { address, parameters } = recipient;
        let wishes = Wishes {
            address: address.to_string(),
            orcpt: parameters.orcpt.clone(),
            notify: parameters.notify.map(|n| [n.never, n.success, n.failure, n.delay]),
        };
        let sealed = office.spool_keys.seal_index(&recipient_context(id, number), &encode(&wishes));
        Self { attempts: 0, due: due.as_millis(), leased: false, sealed_reply: Vec::new(), sealed }
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

pub(super) fn recipient_key(id: QueueId, number: u16) -> Vec<u8> {
    [RECIPIENTS, id.as_bytes().as_slice(), &number.to_be_bytes()].concat()
}

/// All recipients of one letter.
pub(super) fn recipients_prefix(id: QueueId) -> Vec<u8> {
    [RECIPIENTS, id.as_bytes()].concat()
}

pub(super) fn due_key(due: Timestamp, id: QueueId, number: u16) -> Vec<u8> {
    let due = due.as_millis().to_be_bytes();
    [DUE, due.as_slice(), id.as_bytes(), &number.to_be_bytes()].concat()
}

pub(super) fn recipient_of(key: &[u8]) -> Option<(QueueId, u16)> {
    let rest = key.strip_prefix(RECIPIENTS)?;
    let id = rest.get(..16)?.try_into().ok()?;
    let number = rest.get(16..)?.try_into().ok()?;
    Some((QueueId::from_bytes(id), u16::from_be_bytes(number)))
}

pub(super) fn due_of(key: &[u8]) -> Option<(Timestamp, QueueId, u16)> {
    let rest = key.strip_prefix(DUE)?;
    let due = u64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
    let id = rest.get(8..24)?.try_into().ok()?;
    let number = u16::from_be_bytes(rest.get(24..)?.try_into().ok()?);
    Some((Timestamp::from_millis(due), QueueId::from_bytes(id), number))
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
