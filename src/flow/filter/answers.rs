//! Automatic answers (RFC 5230, RFC 3834): promised in the commit of the letter that they answer,
//! sent when the promise is kept, and remembered in that commit: each sender gets one in a time,
//! whatever happens in between.
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::filter::rows;
use crate::flow::mailbox::commit_refusal;
use crate::flow::office::Office;
use crate::flow::timeline;
use crate::flow::timeline::Entry;
use crate::flow::timeline::Step;
use crate::infra::directory::Mailboxes;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::proto::sieve;
use crate::proto::sieve::Letter;
use crate::proto::sieve::Vacation;

/// The time between two answers when a script says nothing (RFC 5230 §4.1).
const SECONDS_DEFAULT: u64 = 7 * 86_400;
/// Octets of a name that an answer is sent under.
const NAME_OCTETS_MAX: usize = 200;
/// Octets of one Message-ID with its angle brackets.
const ID_OCTETS_MAX: usize = 998;

/// An answer that is promised: all that it takes is here, for the letter itself may be gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    from: String,
    name: Option<String>,
    to: String,
    subject: String,
    text: String,
    mime: bool,
    references: Vec<String>,
    /// Answers with the same handle to the same sender count as the same.
    handle: Vec<u8>,
    seconds: u64,
}

/// What an absence notice says, when no script asks for it.
pub struct Absence<'a> {
    /// Whose notice it is.
    pub mailbox: &'a Address,
    /// The sender who is answered.
    pub to: &'a Address,
    /// The subject; that of the letter, when it is `None`.
    pub subject: Option<&'a str>,
    /// The text.
    pub text: &'a str,
    /// The shortest time between two notices to one sender.
    pub every: Duration,
}

/// An absence notice in answer to a letter in clear; `None` when it would not be decent (a list,
/// a program, a report). Promise it with [`crate::flow::promise::answer`].
pub fn absence(letter: &[u8], absence: &Absence<'_>) -> Option<Answer> {
    let vacation = Vacation {
        seconds: Some(absence.every.as_secs()),
        subject: absence.subject.map(str::to_owned),
        from: None,
        addresses: Vec::new(),
        mime: false,
        handle: "absence".to_owned(),
        reason: absence.text.to_owned(),
    };
    let from = absence.to.to_string();
    let own = [absence.mailbox, absence.mailbox];
    wanted(&Letter::new(letter), &from, own, &vacation, absence.every.as_secs())
}

/// The answer that a script asked for, if it is decent. `own`: the mailbox's address, and the one
/// that was written to.
pub(super) fn wanted(
    letter: &Letter<'_>,
    from: &str,
    own: [&Address; 2],
    vacation: &Vacation,
    seconds_min: u64,
) -> Option<Answer> {
    let mut names: Vec<String> = own.iter().map(|address| address.to_string()).collect();
    names.extend(vacation.addresses.iter().map(|written| written.trim().to_owned()));
    if !sieve::may_be_answered(letter, from, &names) {
        return None;
    }
    // Nobody writes in another's name: an address that is not the mailbox's is not used.
    let written = vacation.from.as_deref().and_then(sieve::from_of);
    let is_own = |written: &str| {
        Address::parse(written).is_ok_and(|written| own.iter().any(|own| **own == written))
    };
    let name = written.filter(|(_, address)| is_own(address)).and_then(|(name, _)| name);
    let subject = vacation.subject.clone().filter(|subject| !subject.trim().is_empty());
    let subject = subject.unwrap_or_else(|| sieve::answer_subject(letter));
    let mut references = letter.conversation();
    references.retain(|id| id.len() <= ID_OCTETS_MAX);
    references.drain(..references.len().saturating_sub(limits::ANSWER_REFERENCES_MAX));
    Some(Answer {
        from: own[0].to_string(),
        name: name.map(|name| clipped(name, NAME_OCTETS_MAX)),
        to: from.to_owned(),
        subject: clipped(subject, limits::ANSWER_SUBJECT_OCTETS_MAX),
        text: clipped(vacation.reason.clone(), limits::ANSWER_OCTETS_MAX),
        mime: vacation.mime,
        references,
        handle: clipped(vacation.handle.clone(), limits::ANSWER_SUBJECT_OCTETS_MAX).into_bytes(),
        seconds: vacation.seconds.unwrap_or(SECONDS_DEFAULT).max(seconds_min),
    })
}

fn clipped(mut text: String, octets: usize) -> String {
    let mut end = text.len().min(octets);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Keeps the promise of an answer; `end` is the end of the promise. Who was answered lately gets
/// none.
///
/// # Errors
/// A temporary refusal: try again later, nothing was sent.
pub async fn send(
    office: &Arc<Office>,
    letter: QueueId,
    answer: &Answer,
    end: Batch,
) -> Result<(), Refusal> {
    let forget =
        async |end: Batch| office.store.commit(end).await.map_err(|error| commit_refusal(&error));
    let addresses = (Address::parse(&answer.from), Address::parse(&answer.to));
    let (Ok(from), Ok(to)) = addresses else { return forget(end).await };
    let account = office.accounts.find(&from).await.map_err(|_| Refusal::DependencyFailed)?;
    let Some(account) = account.filter(|account| !account.suspended) else {
        return forget(end).await;
    };
    let mailbox = office.mailboxes.open(&account).await.map_err(|error| {
        tracing::error!(%error, "the mailbox of an absence notice does not open");
        Refusal::RecipientKeyMissing
    })?;
    let sender = to.lookup_form();
    let digest = [b"answered/", sender.as_bytes(), b"\0", answer.handle.as_slice()].concat();
    let key = rows::answered_key(&mailbox.id(), &mailbox.keys().digest(&digest));
    let now = office.clock.now();
    let row = office.store.get(&key).await.map_err(|_| Refusal::StoreFailed)?;
    if row.as_ref().is_some_and(|row| until(&row.value) > now) {
        return forget(end).await;
    }
    let mut also = end;
    match row {
        Some(row) => also.require_at(key.clone(), row.version),
        None => also.require_absent(key.clone()),
    };
    let next = now.after(Duration::from_secs(answer.seconds));
    also.put(key.clone(), next.as_millis().to_be_bytes().to_vec());
    let message_id =
        format!("{}@{}", uuid::Uuid::now_v7().simple(), office.config.operator.hostname);
    let content = sieve::write_answer(&sieve::Answer {
        from: &from,
        name: answer.name.as_deref(),
        to: &to,
        subject: &answer.subject,
        text: &answer.text,
        mime: answer.mime,
        references: &answer.references,
        message_id: &message_id,
        now,
    });
    let mut told = Batch::new();
    let step = Step::Filtered("answered".to_owned());
    timeline::ride(office, letter, &[Entry { at: now, recipient: Some(from), step }], &mut told);
    crate::flow::house_report(office, to, &content, also, told).await?;
    sweep(office, &rows::answered_prefix(&mailbox.id()), &key, now).await;
    Ok(())
}

fn until(value: &[u8]) -> Timestamp {
    let millis = value.try_into().map(u64::from_be_bytes).unwrap_or(0);
    Timestamp::from_millis(millis)
}

/// Forgets some who may be answered again. Where to look is as random as the new row's digest.
async fn sweep(office: &Office, all: &[u8], new: &[u8], now: Timestamp) {
    let all = store::prefix(all);
    for range in [new.to_vec()..all.end, all.start..new.to_vec()] {
        let Ok(page) = office.store.scan(range, limits::ANSWERED_SWEPT_AT_ONCE).await else {
            return;
        };
        let mut batch = Batch::new();
        for (key, row) in page.rows.iter().filter(|(_, row)| until(&row.value) <= now) {
            batch.require_at(key.to_vec(), row.version);
            batch.delete(key.to_vec());
        }
        if !batch.writes.is_empty() {
            drop(office.store.submit(batch));
        }
    }
}
