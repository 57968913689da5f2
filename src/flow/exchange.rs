//! Exchanges between patients and professionals: who may answer whom.
//!
//! Only a professional begins. A letter to a patient opens the exchange for the address to
//! which an answer would go; one that says `X-MSS-MES: FIN`, or whose subject is exactly
//! `[FIN]`, closes it; a later one opens it again (ANS Ref2 §3.4.2.3).
//!
//! Rows `E/<keyed patient><keyed contact>` -> 1 open, 0 closed. Both sides are keyed hashes: a
//! patient's address is an INS.
use crate::domain::address::Address;
use crate::domain::status::Refusal;
use crate::flow::office::Office;
use crate::infra::store::Batch;
use crate::proto::mime::header::HeaderView;

const OPEN: &[u8] = &[1];
const CLOSED: &[u8] = &[0];

/// May this patient write to this contact now?
pub async fn is_open(
    office: &Office,
    patient: &Address,
    contact: &Address,
) -> Result<bool, Refusal> {
    let row = office.store.get(&key(office, patient, contact)).await;
    match row {
        Ok(row) => Ok(row.is_some_and(|row| row.value.as_ref() == OPEN)),
        Err(error) => {
            tracing::error!(%error, "cannot read an exchange");
            Err(Refusal::StoreFailed)
        }
    }
}

/// Writes down what a letter to a patient does to the exchange. `speaks_for` says for whom the
/// sender may speak: nobody closes or opens an exchange in somebody else's name. An answer may be
/// directed elsewhere in the trust space all the same (ANS: the Reply-To becomes a contact).
pub fn note(
    office: &Office,
    patient: &Address,
    header: &HeaderView,
    speaks_for: impl Fn(&Address) -> bool,
    batch: &mut Batch,
) {
    let closes = header.mss.closes_exchange || header.subject_is_fin;
    let contacts = contacts(office, header);
    if closes {
        // The sender and the one who would have been answered: neither may be written to.
        for contact in contacts.iter().chain(&header.from).filter(|contact| speaks_for(contact)) {
            batch.put(key(office, patient, contact), CLOSED);
        }
    } else if header.from.iter().all(&speaks_for) {
        for contact in &contacts {
            batch.put(key(office, patient, contact), OPEN);
        }
    }
}

/// To whom an answer goes: Reply-To when it stays in the trust space, else From.
pub fn contacts(office: &Office, header: &HeaderView) -> Vec<Address> {
    let reply_to: Vec<Address> = header
        .reply_to
        .iter()
        .filter(|address| office.is_trusted(address.domain()))
        .cloned()
        .collect();
    if reply_to.is_empty() { header.from.clone() } else { reply_to }
}

fn key(office: &Office, patient: &Address, contact: &Address) -> Vec<u8> {
    let (patient, contact) = (office.keys.address_key(patient), office.keys.address_key(contact));
    [b"E/".as_slice(), &patient, &contact].concat()
}
