//! Another form for one recipient of a letter that waits.
use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::flow::mailbox;
use crate::flow::office::Office;
use crate::flow::queue::ClaimedRecipient;
use crate::flow::queue::refusal_of;
use crate::flow::queue::rows;
use crate::flow::queue::rows::FormRow;
use crate::flow::queue::rows::LetterRow;
use crate::flow::queue::rows::State;
use crate::flow::seal::Form;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::blobs::StagedBlob;

/// How often it is tried again when other recipients of the letter were faster.
const ATTEMPTS_MAX: usize = 10;

/// What a recipient gets from now on.
enum Other<'a> {
    /// A form that the letter did not have.
    New(&'a Form, &'a StagedBlob),
    /// One that it has: as it came.
    AsItCame,
}

/// Gives a leased recipient the letter as it came, when that was kept; it waits again and is due
/// now.
///
/// # Errors
/// [`Refusal::Busy`] when the lease is lost, or it was not kept; then nothing has changed.
pub async fn unseal(
    office: &Office,
    id: QueueId,
    recipient: &ClaimedRecipient,
) -> Result<(), Refusal> {
    change(office, id, recipient, &Other::AsItCame).await
}

/// Adds a form to a letter and gives it to a leased recipient, who waits again and is due now; it
/// was no attempt. Durable when this returns.
///
/// # Errors
/// [`Refusal::TooManyRecipients`] when the letter has all the forms that it can have,
/// [`Refusal::Busy`] when the lease is lost; then nothing has changed.
pub async fn reform(
    office: &Office,
    id: QueueId,
    recipient: &ClaimedRecipient,
    form: &Form,
) -> Result<(), Refusal> {
    let staged = office.blobs.stage(form.blob, form.ciphertext.clone()).await;
    let staged = staged.map_err(|error| refusal_of(&error))?;
    let outcome = change(office, id, recipient, &Other::New(form, &staged)).await;
    if outcome.is_err() {
        office.blobs.discard(staged).await;
    }
    outcome
}

async fn change(
    office: &Office,
    id: QueueId,
    recipient: &ClaimedRecipient,
    other: &Other<'_>,
) -> Result<(), Refusal> {
    let mut outcome = Err(Refusal::Busy);
    for _ in 0..ATTEMPTS_MAX {
        outcome = attempt(office, id, recipient, other).await;
        if outcome != Err(Refusal::Busy) {
            break;
        }
    }
    if outcome.is_ok() {
        office.lanes.ring(&rows::lane_name(&recipient.row));
    }
    outcome
}

async fn attempt(
    office: &Office,
    id: QueueId,
    recipient: &ClaimedRecipient,
    other: &Other<'_>,
) -> Result<(), Refusal> {
    let key = rows::letter_key(id);
    let stored = office.store.get(&key).await.map_err(|error| refusal_of(&error))?;
    let stored = stored.ok_or(Refusal::StoreFailed)?;
    let mut letter = LetterRow::read(&stored.value).ok_or(Refusal::StoreFailed)?;
    if matches!(other, Other::New(..)) && letter.forms.len() >= limits::FORMS_MAX {
        return Err(Refusal::TooManyRecipients);
    }
    let mut row = recipient.row.clone();
    row.state = State::Waiting;
    row.due = office.clock.now().as_millis();
    row.attempts = row.attempts.saturating_sub(1);
    let mut batch = Batch::new();
    batch.require_at(key.clone(), stored.version);
    match other {
        Other::New(form, staged) => {
            // What it was made of may be asked for again.
            letter.source = letter.source.or(Some(row.form));
            row.form = u8::try_from(letter.forms.len()).map_err(|_| Refusal::TooManyRecipients)?;
            letter.forms.push(FormRow::new(office, form));
            staged.ride(&mut batch, 1);
        }
        Other::AsItCame => row.form = letter.source.ok_or(Refusal::DependencyFailed)?,
    }
    batch.put(key, letter.encode());
    rows::change(&mut batch, (&recipient.row, recipient.version), &row, id, recipient.number);
    match office.store.commit(batch).await {
        Ok(()) => Ok(()),
        Err(CommitError::Conflict) => Err(Refusal::Busy),
        Err(error) => Err(mailbox::commit_refusal(&error)),
    }
}
