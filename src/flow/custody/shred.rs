//! Crypto-shredding: keys and wrapped keys go first and for good, then rows and files; and a
//! receipt, signed by the organisation's key, says what was destroyed and what may remain.
//!
//! A letter is held by a reference of its own while it is being shredded, in one commit with a row
//! that says who asks and why. So a kill at any moment only puts the rest off, and the file is
//! overwritten at the end, wherever the last row of it lay.
use std::sync::Arc;

use aws_lc_rs::digest;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::envelope::BlobId;
use crate::domain::envelope::QueueId;
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::flow::custody::rows;
use crate::flow::mailbox;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Change;
use crate::flow::queue::Target;
use crate::flow::timeline;
use crate::flow::undone::Undone;
use crate::infra::audit::Who;
use crate::infra::audit::hex;
use crate::infra::directory::Account;
use crate::infra::directory::Mailboxes;
use crate::infra::journal::Entry;
use crate::infra::keys::mail;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::StoreError;

const RECEIPTS: &[u8] = b"Z/r/";
const DOING: &[u8] = b"Z/d/";
const OF_MAILBOX: &[u8] = b"Z/m/";
/// What receipts are sealed for: a reason may name somebody.
const PURPOSE: &str = "receipt of shredding";
/// A letter is looked for among those that came so near to its time.
const NEAR: std::time::Duration = std::time::Duration::from_secs(120);
/// Octets of a letter in which its trace is looked for.
const TRACE_OCTETS: usize = 16_384;

/// Which letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that was taken in under this id.
    Letter(QueueId),
    /// The one in this place.
    Place {
        /// Whose mailbox.
        mailbox: Address,
        /// The folder's number; 1 is the inbox.
        folder: u32,
        /// Its UID.
        uid: u32,
    },
}

/// A receipt and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its name.
    pub id: uuid::Uuid,
    /// What was signed: JSON, to the octet.
    pub text: String,
    /// An armoured OpenPGP signature by the organisation's key.
    pub signature: String,
}

/// What a receipt says.
#[derive(Serialize)]
struct Told<'a> {
    receipt: &'a str,
    of: &'a str,
    content: Option<String>,
    sha256: Option<String>,
    octets: Option<u64>,
    mailbox: Option<String>,
    at: String,
    by: &'a str,
    why: &'a str,
    destroyed: Vec<String>,
    may_remain: Vec<String>,
    signed_by: String,
}

/// A letter that is being shredded.
#[derive(Clone, Serialize, Deserialize)]
struct DoingRow {
    author: String,
    reason: String,
    at: u64,
    sha256: [u8; 32],
    octets: u64,
    was: Vec<String>,
}

/// What may remain of anything that is shredded here, said in every receipt.
const REMAINS: [&str; 3] = [
    "copies of the database that were made before: pages that the store has freed are used again, \
     not overwritten, and a backup holds what there was at its time; what lies there is sealed",
    "on flash memory and on file systems that never write in place, sectors that were overwritten \
     by name only; what lies there is sealed",
    "copies that were sent to other operators or that a reader's program keeps",
];

/// Finds a letter's contents: it may lie here in several forms, one for those who keep their own
/// key, one for the others.
///
/// # Errors
/// A sentence.
pub async fn find(office: &Office, which: &Which, author: &str) -> Result<Vec<BlobId>, String> {
    match which {
        Which::Place { mailbox, folder, uid } => {
            let found = office.accounts.find(mailbox).await.map_err(|error| error.to_string())?;
            let account = found.ok_or("no such mailbox")?;
            let open = office.mailboxes.open(&account).await.map_err(|error| error.to_string())?;
            let entry = open.entry(FolderId(*folder), Uid(*uid)).await;
            let entry = entry.map_err(|error| error.to_string())?;
            Ok(vec![entry.ok_or("no such message")?.blob])
        }
        Which::Letter(id) => {
            let mut blobs = queue::contents_of(office, *id).await.map_err(|r| r.to_string())?;
            match delivered(office, *id, author).await {
                Ok(more) => blobs.extend(more),
                Err(error) if blobs.is_empty() => return Err(error),
                Err(_) => {}
            }
            blobs.sort_unstable();
            blobs.dedup();
            Ok(blobs)
        }
    }
}

/// A letter that waits no more: it lies with one of those to whom it went, and its trace field
/// names it. To look there is a use of their keys, and recorded.
async fn delivered(office: &Office, id: QueueId, author: &str) -> Result<Vec<BlobId>, String> {
    let unknown = "this letter does not wait, and no timeline tells to whom it went: name it by \
                   --mailbox and --uid";
    let entries = timeline::read(office, id).await.map_err(|refusal| refusal.to_string())?;
    let (first, last) = match (entries.first(), entries.last()) {
        (Some(first), Some(last)) => (first.at, last.at),
        _ => return Err(unknown.to_owned()),
    };
    let mark = format!("id {id};");
    let mut recipients: Vec<Address> = Vec::new();
    for recipient in entries.iter().filter_map(|entry| entry.recipient.clone()) {
        if office.hosts(recipient.domain()) && !recipients.contains(&recipient) {
            recipients.push(recipient);
        }
    }
    let mut blobs = Vec::new();
    for recipient in recipients {
        let found = office.accounts.find(&recipient).await.map_err(|error| error.to_string())?;
        let Some(account) = found else { continue };
        let open = office.mailboxes.open(&account).await.map_err(|error| error.to_string())?;
        let who = Who::Administrator(author.to_owned());
        let open = open.read_by(who, "control", "look for a letter to be shredded");
        let is_it = async |entry: &mailbox::Entry| {
            let at = entry.internal_date;
            if at.after(NEAR) < first || at > last.after(NEAR) {
                return false;
            }
            let Ok(clear) = open.content(entry).await else { return false };
            let head = &clear.expose()[..clear.expose().len().min(TRACE_OCTETS)];
            head.windows(mark.len()).any(|octets| octets == mark.as_bytes())
        };
        for folder in open.folders().await.map_err(|error| error.to_string())? {
            let mut from = 1;
            loop {
                let entries = open.entries(folder.id, from..=u32::MAX, limits::SCAN_ROWS_MAX).await;
                let entries = entries.map_err(|error| error.to_string())?;
                for entry in &entries {
                    if is_it(entry).await {
                        blobs.push(entry.blob);
                    }
                }
                match entries.last() {
                    Some(last) if last.uid.0 < u32::MAX => from = last.uid.0 + 1,
                    _ => break,
                }
            }
        }
        for entry in open.held().await.map_err(|error| error.to_string())? {
            if is_it(&entry).await {
                blobs.push(entry.blob);
            }
        }
    }
    match blobs.is_empty() {
        true => {
            Err("this letter lies in no mailbox of those to whom it went (any more)".to_owned())
        }
        false => Ok(blobs),
    }
}

/// Shreds a letter everywhere here: in all mailboxes, among expunged messages that a rule holds,
/// and in the queue. Answers the receipts, one for each form of it.
///
/// # Errors
/// A sentence; what was destroyed so far stays destroyed, and the rest is gone on with.
pub async fn letter(
    office: &Arc<Office>,
    which: &Which,
    author: &str,
    reason: &str,
) -> Result<Vec<Receipt>, Undone> {
    let mut receipts = Vec::new();
    for blob in find(office, which, author).await? {
        receipts.push(one_form(office, blob, author, reason).await?);
    }
    Ok(receipts)
}

async fn one_form(
    office: &Arc<Office>,
    blob: BlobId,
    author: &str,
    reason: &str,
) -> Result<Receipt, Undone> {
    let content = match office.blobs.read(blob).await {
        Ok(content) => content,
        Err(StoreError::BlobMissing) => return Err(Undone::LetterGone),
        Err(error) => return Err(error.to_string().into()),
    };
    let who = Who::Administrator(author.to_owned());
    let used = office.audit().used(None, &who, "control", &format!("shred content {blob}")).await;
    used.map_err(|error| error.to_string())?;
    let sha256 = digest::digest(&digest::SHA256, &content);
    let row = DoingRow {
        author: author.to_owned(),
        reason: reason.to_owned(),
        at: office.clock.now().as_millis(),
        sha256: sha256.as_ref().try_into().expect("SHA-256 has 32 octets"),
        octets: content.len() as u64,
        was: Vec::new(),
    };
    drop(content);
    let key = doing_key(blob);
    if office.store.get(&key).await.map_err(|error| error.to_string())?.is_none() {
        let mut batch = Batch::new();
        batch.require_absent(key.clone());
        batch.put(key, seal(office, &row));
        let referred = office.blobs.refer(blob, 1, &mut batch).await;
        referred.map_err(|error| error.to_string())?;
        office.store.commit(batch).await.map_err(|error| error.to_string())?;
    }
    Ok(go_on(office, blob, row).await?)
}

/// Goes on with what a kill interrupted.
pub(super) async fn resume(office: &Arc<Office>) {
    let page = match office.store.scan(store::prefix(DOING), limits::SCAN_ROWS_MAX).await {
        Ok(page) => page,
        Err(error) => return tracing::error!(%error, "shredding cannot go on"),
    };
    for (key, value) in &page.rows {
        let blob = key.get(DOING.len()..).and_then(|octets| <[u8; 16]>::try_from(octets).ok());
        let row = office.keys.open_small(PURPOSE, &value.value).ok();
        let row = row.and_then(|clear| rows::decode::<DoingRow>(clear.expose()));
        let (Some(blob), Some(row)) = (blob, row) else { continue };
        match go_on(office, BlobId::from_bytes(blob), row).await {
            Ok(receipt) => tracing::info!(receipt = %receipt.id, "a letter is shredded after all"),
            Err(error) => tracing::warn!(%error, "a letter is not shredded yet"),
        }
    }
}

async fn go_on(office: &Arc<Office>, blob: BlobId, mut row: DoingRow) -> Result<Receipt, String> {
    let letters = queue::naming(office, blob).await.map_err(|refusal| refusal.to_string())?;
    let mut waited = 0;
    for letter in &letters {
        let keys = queue::find(office, &Target::Letter(*letter)).await;
        let keys = keys.map_err(|refusal| refusal.to_string())?;
        let by = (row.author.as_str(), "shredded");
        let touched = queue::touch(office, &keys, &Change::Drop, by, false, |_, _| {}).await;
        let touched = touched.map_err(|refusal| refusal.to_string())?;
        if !touched.busy.is_empty() {
            return Err(
                "an attempt has this letter right now; it is shredded within the hour, or \
                        when this is said again"
                    .to_owned(),
            );
        }
        waited += touched.done.len();
    }
    row.note("waiting recipients in the queue", waited);
    let mut after = None;
    loop {
        let page = office.accounts.page(after, limits::SCAN_ROWS_MAX).await;
        let (accounts, next) = page.map_err(|error| error.to_string())?;
        for account in &accounts {
            let open = office.mailboxes.open(account).await.map_err(|error| error.to_string())?;
            let gone = open.shred(blob).await.map_err(|error| error.to_string())?;
            if !gone.is_empty() {
                row.note(
                    &format!("messages with their wrapped keys in mailbox {:?}", account.id),
                    gone.len(),
                );
            }
        }
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let held = office.mailboxes.shred_held(blob).await.map_err(|error| error.to_string())?;
    row.note("expunged messages that a rule held", held);

    let key = doing_key(blob);
    let mut batch = Batch::new();
    let released = office.blobs.release(blob, 1, &mut batch).await;
    let released = released.map_err(|error| error.to_string())?;
    if office.blobs.is_there_after(blob, &batch) {
        return Err("something else still refers to this content, such as a letter on its way \
                    through a filter; it is shredded within the hour, or when this is said again"
            .to_owned());
    }
    row.was.push(match released.is_file() {
        true => "the sealed content: its file, overwritten and removed".to_owned(),
        false => "the sealed content: its rows".to_owned(),
    });
    let now = office.clock.now();
    let id = uuid::Uuid::now_v7();
    let told = Told {
        receipt: &id.to_string(),
        of: "message",
        content: Some(blob.to_string()),
        sha256: Some(hex(&row.sha256)),
        octets: Some(row.octets),
        mailbox: None,
        at: now.to_string(),
        by: &row.author,
        why: &row.reason,
        destroyed: row.was.clone(),
        may_remain: REMAINS.map(str::to_owned).to_vec(),
        signed_by: office.organisation.0.fingerprint().to_string(),
    };
    let receipt = sign(office, id, &told, now)?;
    keep(office, &receipt, &mut batch);
    batch.delete(key);
    let entry = Entry {
        at: now,
        author: row.author.clone(),
        action: "shred message".to_owned(),
        target: format!("content {blob}"),
        reason: row.reason.clone(),
        outcome: format!("receipt {id}"),
    };
    office.journal.ride(&entry, &mut batch);
    office.store.commit(batch).await.map_err(|error| error.to_string())?;
    office.blobs.shred(released).await;
    Ok(receipt)
}

impl DoingRow {
    fn note(&mut self, what: &str, count: usize) {
        if count > 0 {
            self.was.push(format!("{count} {what}"));
        }
    }
}

/// Adds the receipt of a mailbox's end to the commit that destroys its keys.
///
/// # Errors
/// A sentence.
pub fn stage_mailbox(
    office: &Office,
    account: &Account,
    author: &str,
    reason: &str,
    batch: &mut Batch,
) -> Result<uuid::Uuid, String> {
    let now = office.clock.now();
    let id = uuid::Uuid::now_v7();
    let held = office.config.mailboxes.retention;
    let mut may_remain = REMAINS.map(str::to_owned).to_vec();
    may_remain.push(
        "letters that other mailboxes here have as well: they are theirs, under their own keys"
            .to_owned(),
    );
    if !held.is_zero() {
        may_remain.push("nothing under mailboxes.retention_seconds: its keys are gone".to_owned());
    }
    let told = Told {
        receipt: &id.to_string(),
        of: "mailbox",
        content: None,
        sha256: Some(hex(digest::digest(&digest::SHA256, &account.wrapped_keys).as_ref())),
        octets: None,
        mailbox: Some(format!("{:?}", account.id)),
        at: now.to_string(),
        by: author,
        why: reason,
        destroyed: vec![
            "the wrapped keys of the mailbox (sha256 is that of the wrap)".to_owned(),
            "its keys in escrow".to_owned(),
            "the account, and who it belonged to".to_owned(),
            "then, in pieces: its messages, folders, search index and delegations".to_owned(),
        ],
        may_remain,
        signed_by: office.organisation.0.fingerprint().to_string(),
    };
    let receipt = sign(office, id, &told, now)?;
    keep(office, &receipt, batch);
    batch.put(mailbox_key(&account.id), id.as_bytes().to_vec());
    Ok(id)
}

/// The receipt of a mailbox that has ended.
///
/// # Errors
/// A sentence.
pub async fn of_mailbox(office: &Office, id: &MailboxId) -> Result<Receipt, String> {
    let row = office.store.get(&mailbox_key(id)).await.map_err(|error| error.to_string())?;
    let name = row.and_then(|row| uuid::Uuid::from_slice(&row.value).ok());
    receipt(office, &name.ok_or("this mailbox has no receipt")?).await
}

/// A receipt by its name.
///
/// # Errors
/// A sentence.
pub async fn receipt(office: &Office, id: &uuid::Uuid) -> Result<Receipt, String> {
    let row = office.store.get(&receipt_key(id)).await.map_err(|error| error.to_string())?;
    let row = row.ok_or("no such receipt")?;
    read(office, *id, &row.value).ok_or_else(|| "the receipt is damaged".to_owned())
}

/// The last receipts, youngest first.
///
/// # Errors
/// A sentence.
pub async fn receipts(office: &Office, most: usize) -> Result<Vec<Receipt>, String> {
    let page = office.store.scan_back(store::prefix(RECEIPTS), most).await;
    let page = page.map_err(|error| error.to_string())?;
    let read = page.rows.iter().filter_map(|(key, row)| {
        let id = uuid::Uuid::from_slice(key.get(RECEIPTS.len()..)?).ok()?;
        read(office, id, &row.value)
    });
    Ok(read.collect())
}

fn read(office: &Office, id: uuid::Uuid, sealed: &[u8]) -> Option<Receipt> {
    let clear = office.keys.open_small(PURPOSE, sealed).ok()?;
    let (text, signature) = rows::decode(clear.expose())?;
    Some(Receipt { id, text, signature })
}

fn keep(office: &Office, receipt: &Receipt, batch: &mut Batch) {
    let row = rows::encode(&(&receipt.text, &receipt.signature));
    batch.put(receipt_key(&receipt.id), office.keys.seal_small(PURPOSE, &row));
}

fn sign(
    office: &Office,
    id: uuid::Uuid,
    told: &Told<'_>,
    now: Timestamp,
) -> Result<Receipt, String> {
    let mut text = serde_json::to_string_pretty(told).map_err(|error| error.to_string())?;
    text.push('\n');
    let signed = mail::sign_detached(text.as_bytes(), &office.organisation.1, now);
    let (signature, _) = signed.map_err(|error| error.to_string())?;
    let signature = String::from_utf8(signature).map_err(|error| error.to_string())?;
    Ok(Receipt { id, text, signature })
}

fn seal(office: &Office, row: &DoingRow) -> Vec<u8> {
    office.keys.seal_small(PURPOSE, &rows::encode(row))
}

fn doing_key(blob: BlobId) -> Vec<u8> {
    [DOING, blob.as_bytes().as_slice()].concat()
}

fn mailbox_key(id: &MailboxId) -> Vec<u8> {
    [OF_MAILBOX, id.as_bytes().as_slice()].concat()
}

fn receipt_key(id: &uuid::Uuid) -> Vec<u8> {
    [RECEIPTS, id.as_bytes().as_slice()].concat()
}
