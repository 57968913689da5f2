//! Station 5, queue: when it has committed, the letter is ours to deliver.
//!
//! | key | value |
//! |---|---|
//! | `Q/m/<queue id>` | the letter: sealed reverse path, blob, sealed content key, who still waits |
//! | `Q/r/<queue id><number>` | one recipient: sealed address and wishes, attempts, state |
//! | `Q/d/<domain>\0<due><queue id><number>` | it waits in the lane of its domain |
//! | `Q/l/<until><queue id><number>` | an attempt has it: the lease |
//! | `Q/h/<queue id><number>` | it is on hold, or set aside, and why |
//! | `Q/s/<due>…`, `Q/b/<due>…` | it was in flight when the process died; it ends without an attempt |
//! | `Q/p/<domain>`, `Q/o/<domain>` | the whole lane waits; the lane's mail goes elsewhere |
//!
//! A row is leased with an epoch, its version: the result of an attempt commits only on the
//! version that the lease wrote, so a slow or dead attempt can never deliver behind another's
//! back. Nothing here looks at rows of a lane that is not going to be served.
mod backoff; // when to try again
mod bench; // what waits outside of the lanes
mod circuit; // hosts that do not answer
mod count; // how many wait
mod lanes; // what is known in memory
mod lease; // who may attempt a row, and what the attempt decided
mod look; // tables for administrators
mod reading; // rows of one lane
mod reform; // another form for who waits
mod recovery; // after a start: leases of an earlier life, rows of an older form
mod rows; // the stored form
mod schedule; // whose turn it is
mod touch; // what administrators do to rows
mod untried; // attempts that did not begin

use crate::domain::address::Domain;
use crate::domain::address::ReversePath;
use crate::domain::envelope::BlobId;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::QueueId;
use crate::domain::envelope::Recipient;
use crate::domain::limits;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::mailbox::Deposit;
use crate::flow::mailbox::Placed;
use crate::flow::office::Office;
use crate::flow::seal::Sealed;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::StoreError;
use crate::infra::store::Version;
use crate::infra::store::blobs::StagedBlob;

pub use backoff::again;
pub use backoff::again_by;
pub use backoff::next_attempt;
pub use backoff::next_attempt_with;
pub use circuit::CircuitView;
pub use count::Counting;
pub use count::count;
pub use count::oldest;
pub use lanes::Lanes;
pub use lease::Settled;
pub use lease::broke;
pub use lease::give_back;
pub use lease::holds;
pub use lease::note_gone;
pub use lease::settle;
pub use lease::take_back;
pub use look::Filter;
pub use look::LaneView;
pub use look::QueueRow;
pub use look::RowState;
pub use look::by_domain;
pub use look::contents_of;
pub use look::list;
pub use look::naming;
pub use recovery::migrate;
pub use recovery::recover;
pub use reform::reform;
pub use reform::unseal;
pub use rows::HoldKind;
pub use rows::Order;
pub use schedule::Schedule;
pub use schedule::Ticket;
pub use schedule::Work;
pub use touch::Change;
pub use touch::Seen;
pub use touch::Target;
pub use touch::Touched;
pub use touch::find;
pub use touch::pause;
pub use touch::reroute;
pub use touch::resume;
pub use touch::touch;
pub use untried::untried;

use rows::LetterRow;
use rows::RecipientRow;

/// A sealed letter whose content is on the shelf (or rides in the commit); not durable yet.
pub struct Prepared {
    sealed: Sealed,
    /// One for each form; `None`: nobody gets that form.
    staged: Vec<Option<StagedBlob>>,
}

/// A recipient elsewhere, and the place of the form that it gets among the letter's.
#[derive(Clone, Debug)]
pub struct Travelling {
    /// Who.
    pub recipient: Recipient,
    /// The place in [`Sealed::forms`].
    pub form: usize,
}

/// A letter that is durable. Only [`commit`] makes one.
#[derive(Debug)]
pub struct Queued {
    queue_id: QueueId,
    placed: Vec<Placed>,
}

/// A letter leased to one attempt.
#[derive(Clone)]
pub struct Claimed {
    queue_id: QueueId,
    letter: Letter,
    recipients: Vec<ClaimedRecipient>,
    lease_until: Timestamp,
}

/// What an attempt must know of a letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The sender.
    pub reverse_path: ReversePath,
    /// What the sender asked for.
    pub parameters: MailParameters,
    /// The sealed content.
    pub blob: BlobId,
    /// The content key, sealed for the spool.
    pub sealed_key: Vec<u8>,
    /// Octets at the beginning of the content that do not travel on.
    pub return_path_octets: u64,
    /// Octets in clear.
    pub size: u64,
    /// The form is sealed to those who get it: only they can open what travels.
    pub encrypted: bool,
    /// Marks of the keys, if the relay sealed the form.
    pub sealed_to: Vec<[u8; 32]>,
    /// The number of the form of which others are made.
    source: Option<u8>,
    /// All its forms. The fields above tell of the first one, or of the one that was chosen with
    /// [`Letter::in_form`].
    forms: Vec<LetterForm>,
    /// When it was taken in.
    pub accepted_at: Timestamp,
    /// Our domain for which it counts.
    pub domain: String,
    /// Kind of the mailbox that sent it.
    pub mailbox_kind: Option<MailboxKind>,
    /// A report.
    pub automatic: bool,
}

/// One form of a letter that waits.
#[derive(Clone, Debug)]
struct LetterForm {
    blob: BlobId,
    sealed_key: Vec<u8>,
    return_path_octets: u64,
    size: u64,
    encrypted: bool,
    sealed_to: Vec<[u8; 32]>,
}

impl Letter {
    /// The letter as those get it whose rows name this form.
    #[must_use]
    pub fn in_form(mut self, number: u8) -> Self {
        if let Some(form) = self.forms.get(usize::from(number)).cloned() {
            self.parameters.size = Some(form.size);
            self.blob = form.blob;
            self.sealed_key = form.sealed_key;
            self.return_path_octets = form.return_path_octets;
            self.size = form.size;
            self.encrypted = form.encrypted;
            self.sealed_to = form.sealed_to;
        }
        self
    }

    /// The letter in the form of which others are made; `None`: it was not kept.
    pub fn as_it_came(&self) -> Option<Self> {
        self.source.map(|number| self.clone().in_form(number))
    }
}

/// One leased recipient.
#[derive(Clone, Debug)]
pub struct ClaimedRecipient {
    /// Its number in the letter.
    pub number: u16,
    /// Who.
    pub recipient: Recipient,
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// `host:port` to which an administrator sends it, whatever route its domain has.
    pub route: Option<String>,
    /// It ends now, without an attempt.
    pub order: Option<Order>,
    /// Which of the letter's forms it gets.
    pub form: u8,
    /// The row as the lease wrote it, and its epoch.
    row: RecipientRow,
    version: Version,
}

impl ClaimedRecipient {
    /// What was said about it last; empty before the first attempt.
    pub fn last_reply(&self, office: &Office, letter: QueueId) -> String {
        self.row.reply(office, letter, self.number)
    }
}

/// What an attempt decides about one recipient.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// Done, well or for good: the row goes.
    Finished,
    /// Try again then; the reply is kept for tables.
    Again(Timestamp, String),
}

/// Puts the contents of the forms that somebody gets on the shelf. Large ones are on disk when
/// this returns.
pub async fn prepare(
    office: &Office,
    sealed: Sealed,
    is_needed: impl Fn(usize) -> bool,
) -> Result<Prepared, Refusal> {
    let mut staged = Vec::with_capacity(sealed.forms().len());
    for (place, form) in sealed.forms().iter().enumerate() {
        if !is_needed(place) {
            staged.push(None);
            continue;
        }
        match office.blobs.stage(form.blob, form.ciphertext.clone()).await {
            Ok(content) => staged.push(Some(content)),
            Err(error) => {
                for content in staged.into_iter().flatten() {
                    office.blobs.discard(content).await;
                }
                return Err(refusal_of(&error));
            }
        }
    }
    Ok(Prepared { sealed, staged })
}

/// One durable commit: rows for the recipients elsewhere, deposits for those here, and
/// whatever `also` adds (facts, exchanges, the end of an older letter).
pub async fn commit(
    office: &Office,
    prepared: Prepared,
    elsewhere: &[Travelling],
    deposits: &[Deposit],
    mut also: impl FnMut(&Sealed, &[bool], &mut Batch),
) -> Result<Queued, Refusal> {
    let queue_id = prepared.sealed.queue_id();
    let mut named = vec![false; prepared.staged.len()];
    let outcome = office
        .mailboxes
        .commit(deposits, |fresh| {
            let mut batch = Batch::new();
            for (place, is_named) in named.iter_mut().enumerate() {
                let news = deposits.iter().zip(fresh).filter(|(_, fresh)| **fresh);
                let news = news.map(|(deposit, _)| deposit);
                let references = references(&prepared.sealed, place, elsewhere, news);
                *is_named = references > 0;
                match prepared.staged.get(place).and_then(Option::as_ref) {
                    Some(content) if *is_named => content.ride(&mut batch, references),
                    None if *is_named => {
                        return Err(CommitError::Engine("a form was not staged".to_owned()));
                    }
                    _ => {}
                }
            }
            if !elsewhere.is_empty() {
                enqueue(office, &prepared.sealed, elsewhere, &mut batch);
            }
            also(&prepared.sealed, fresh, &mut batch);
            Ok(batch)
        })
        .await;
    for (content, is_named) in prepared.staged.into_iter().zip(named) {
        // No row names the content: a large one must not stay on the disk.
        if let Some(content) = content.filter(|_| outcome.is_err() || !is_named) {
            office.blobs.discard(content).await;
        }
    }
    let placed = outcome.map_err(|error| {
        tracing::error!(%error, letter = %queue_id, "a letter could not be committed");
        error.refusal()
    })?;
    for each in elsewhere {
        office.lanes.came(queue_id, each.recipient.address.domain().as_str());
    }
    Ok(Queued { queue_id, placed })
}

/// How many rows of a commit name the content of one form, when these deposits are news.
pub fn references<'d>(
    sealed: &Sealed,
    place: usize,
    elsewhere: &[Travelling],
    deposits: impl IntoIterator<Item = &'d Deposit>,
) -> u32 {
    let Some(form) = sealed.forms().get(place) else { return 0 };
    let here = deposits.into_iter().map(|deposit| {
        // What a filter sends on is the letter as it came.
        let held = if place == 0 { deposit.held() } else { 0 };
        held + deposit.references_to(&form.blob)
    });
    here.sum::<u32>() + u32::from(rows::travelling_forms(sealed, elsewhere).contains(&place))
}

fn enqueue(office: &Office, sealed: &Sealed, elsewhere: &[Travelling], batch: &mut Batch) {
    let id = sealed.queue_id();
    let due = sealed.accepted_at();
    let account = sealed.cleared().authenticated().account();
    let row = LetterRow::new(office, sealed, account, elsewhere);
    batch.require_absent(rows::letter_key(id));
    batch.put(rows::letter_key(id), row.encode());
    let forms = rows::travelling_forms(sealed, elsewhere);
    for (number, each) in elsewhere.iter().enumerate() {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let form = forms.iter().position(|place| *place == each.form).unwrap_or(0);
        let form = u8::try_from(form).unwrap_or(u8::MAX);
        let row = RecipientRow::new(office, id, number, (&each.recipient, form), due);
        rows::create(batch, &row, id, number);
    }
}

impl Prepared {
    /// The letter.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }
}

impl Queued {
    /// The text of the reply that takes responsibility (RFC 5321 §6.1), without code:
    /// `Queued as 0192…`. Only a committed letter can say it.
    pub fn reply(&self) -> String {
        format!("Queued as {}", self.queue_id)
    }

    /// The letter's correlation id.
    pub fn queue_id(&self) -> QueueId {
        self.queue_id
    }

    /// Where it lies in mailboxes here, in the order of the deposits.
    pub fn placed(&self) -> &[Placed] {
        &self.placed
    }
}

/// A letter that waits, and for whom.
pub struct Waiting {
    /// The letter.
    pub letter: Letter,
    /// Those who still wait, attempts under way included.
    pub recipients: Vec<Recipient>,
    /// Holds as long as no recipient of the letter comes to an end.
    pub unchanged: Batch,
}

/// The recipients of a letter that still wait; `None` when the letter is gone.
pub async fn waiting_recipients(office: &Office, id: QueueId) -> Result<Option<Waiting>, Refusal> {
    let key = rows::letter_key(id);
    let row = office.store.get(&key).await.map_err(|error| refusal_of(&error))?;
    let Some(row) = row else { return Ok(None) };
    let letter = LetterRow::read(&row.value).and_then(|letter| letter.open(office, id));
    let Some(letter) = letter else { return Ok(None) };
    let mut unchanged = Batch::new();
    unchanged.require_at(key, row.version);
    let mut recipients = Vec::new();
    let mut range = rows::recipients_of(id);
    loop {
        let page = scan(office, range.clone()).await?;
        recipients.extend(page.rows.iter().filter_map(|(key, row)| {
            let (_, number) = rows::row_of(rows::RECIPIENTS, key)?;
            RecipientRow::read(office, id, number, &row.value)?.open(office, id, number)
        }));
        match rest(range, &page) {
            Some(rest) => range = rest,
            None => return Ok(Some(Waiting { letter, recipients, unchanged })),
        }
    }
}

/// Where an administrator sends a domain's mail: `host:port`. The other operator's certificate
/// must be listed for the domain all the same.
pub fn rerouted(office: &Office, domain: &Domain) -> Option<String> {
    office.lanes.rerouted(domain.as_str())
}

impl Claimed {
    /// Which letter.
    pub fn queue_id(&self) -> QueueId {
        self.queue_id
    }

    /// What it is.
    pub fn letter(&self) -> &Letter {
        &self.letter
    }

    /// For whom this attempt is.
    pub fn recipients(&self) -> &[ClaimedRecipient] {
        &self.recipients
    }

    /// When another attempt may take it.
    pub fn lease_until(&self) -> Timestamp {
        self.lease_until
    }

    /// Those who end without an attempt, and those who are attempted.
    pub fn split(self) -> (Option<Self>, Option<Self>) {
        let (ordered, others): (Vec<_>, Vec<_>) =
            self.recipients.iter().cloned().partition(|each| each.order.is_some());
        let part = |recipients: Vec<ClaimedRecipient>| {
            (!recipients.is_empty()).then(|| Self { recipients, ..self.clone() })
        };
        (part(ordered), part(others))
    }

    /// Without some recipients; `None`: nobody is left.
    pub fn without(mut self, numbers: &[u16]) -> Option<Self> {
        self.recipients.retain(|each| !numbers.contains(&each.number));
        (!self.recipients.is_empty()).then_some(self)
    }
}

async fn scan(office: &Office, range: std::ops::Range<Vec<u8>>) -> Result<store::Page, Refusal> {
    office.store.scan(range, limits::SCAN_ROWS_MAX).await.map_err(|error| refusal_of(&error))
}

/// The rest of a range behind a page, if there is more.
fn rest(range: std::ops::Range<Vec<u8>>, page: &store::Page) -> Option<std::ops::Range<Vec<u8>>> {
    let (last, _) = page.rows.last().filter(|_| page.more)?;
    Some([last.as_ref(), &[0]].concat()..range.end)
}

fn refusal_of(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the queue cannot read or write");
    match error {
        StoreError::Full => Refusal::StoreFull,
        _ => Refusal::StoreFailed,
    }
}
