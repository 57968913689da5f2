//! What comes back about a letter: reports, read receipts, and patients who open it on the page.
//!
//! Anybody may write a report about anything. It is noted only for a recipient of the letter
//! whose end the reporter speaks for: another operator for the domains that the trust list binds
//! to its certificate, a person here for their own mailbox. So nobody writes into the timelines
//! of letters that were not theirs to receive.
use crate::domain::address::Address;
use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::accept::Credentials;
use crate::flow::office::Office;
use crate::flow::seal::Sealed;
use crate::flow::timeline;
use crate::flow::timeline::Entry;
use crate::flow::timeline::Step;
use crate::flow::timeline::intake;
use crate::proto::receipt::News;
use crate::proto::receipt::Receipt;
use crate::proto::receipt::What;

/// What the timelines of other letters gain by this one, if it is a report or a receipt. Ask
/// before the commit that takes it in, and let it ride there.
pub async fn hear(office: &Office, sealed: &Sealed) -> Vec<(QueueId, Entry)> {
    let Some(receipt) = sealed.receipt() else { return Vec::new() };
    let credentials = &sealed.cleared().authenticated().accepted().caller().credentials;
    // Our own reports are noted by whoever writes them.
    if matches!(credentials, Credentials::House | Credentials::None) {
        return Vec::new();
    }
    match heard(office, receipt, credentials, sealed.accepted_at()).await {
        Ok(heard) => heard,
        // The letter itself matters more than the note about another one.
        Err(refusal) => {
            tracing::warn!(%refusal, "a report that passed could not be noted");
            Vec::new()
        }
    }
}

async fn heard(
    office: &Office,
    receipt: &Receipt,
    credentials: &Credentials,
    at: Timestamp,
) -> Result<Vec<(QueueId, Entry)>, Refusal> {
    let mut heard = Vec::new();
    let letters = timeline::letters_of(office, &receipt.about).await?;
    for letter in letters.into_iter().take(limits::RECEIPT_LETTERS_MAX) {
        let entries = timeline::read(office, letter).await?;
        let recipients = recipients(&entries);
        for news in &receipt.news {
            let may_speak = |recipient: &Address| speaks_for(office, credentials, recipient);
            for recipient in concerned(news, &recipients, may_speak) {
                let step = step(receipt, news);
                let is_known = entries
                    .iter()
                    .any(|entry| entry.recipient.as_ref() == Some(recipient) && entry.step == step);
                if !is_known {
                    heard.push((letter, Entry { at, recipient: Some(recipient.clone()), step }));
                }
            }
        }
    }
    Ok(heard)
}

/// True when what this caller says about a recipient's mailbox counts.
fn speaks_for(office: &Office, credentials: &Credentials, recipient: &Address) -> bool {
    if let Credentials::Login(account) = credentials {
        return account.address == *recipient;
    }
    intake::operator(credentials).is_some_and(|(certificate, _)| {
        office.trust.list().binds(recipient.domain(), &certificate.subject)
    })
}

/// The recipients of the letter whom the news are about. Another operator may have sent the
/// letter on inside its own domain: if it speaks for just one recipient, that one is meant.
fn concerned<'a>(
    news: &News,
    recipients: &'a [Address],
    may_speak: impl Fn(&Address) -> bool,
) -> Vec<&'a Address> {
    let theirs: Vec<&Address> =
        recipients.iter().filter(|recipient| may_speak(recipient)).collect();
    let named: Vec<&Address> =
        theirs.iter().copied().filter(|recipient| news.recipients.contains(recipient)).collect();
    match (named.is_empty(), theirs.as_slice()) {
        (true, [only]) if news.recipients.iter().any(|one| one.domain() == only.domain()) => {
            vec![*only]
        }
        _ => named,
    }
}

fn step(receipt: &Receipt, news: &News) -> Step {
    match &news.what {
        What::Report { action, status } => Step::ReportCame {
            action: action.clone(),
            status: status.clone(),
            reporter: receipt.reporter.clone(),
        },
        What::Receipt { disposition } => Step::ReceiptCame(disposition.clone()),
    }
}

/// To whom the letter was taken in.
fn recipients(entries: &[Entry]) -> Vec<Address> {
    let mut recipients: Vec<Address> = Vec::new();
    for entry in entries {
        let is_first =
            matches!(entry.step, Step::Delivered | Step::KnownAlready | Step::Queued { .. });
        if let Some(recipient) = entry.recipient.as_ref().filter(|_| is_first)
            && !recipients.contains(recipient)
        {
            recipients.push(recipient.clone());
        }
    }
    recipients
}

/// A patient opened a letter on the page. Its mailbox does not know the letter's queue id; the
/// Message-ID, the recipient and the moment of its arrival, which is the same in both places,
/// find it. Never fails: reading matters more than the note about it.
pub async fn read_on_page(
    office: &Office,
    reader: &Address,
    message_id: Option<&str>,
    arrived: Timestamp,
) {
    let Some(message_id) = message_id else { return };
    let letters = match timeline::letters_of(office, message_id).await {
        Ok(letters) => letters,
        Err(refusal) => {
            tracing::warn!(%refusal, "that a letter was read could not be noted");
            return;
        }
    };
    for letter in letters {
        let Ok(entries) = timeline::read(office, letter).await else { return };
        let is_this = entries.iter().any(|entry| {
            entry.step == Step::Delivered
                && entry.recipient.as_ref() == Some(reader)
                && entry.at == arrived
        });
        if is_this {
            let recipient = Some(reader.clone());
            let step = Step::ReadOnPage;
            timeline::note(office, letter, &Entry { at: office.clock.now(), recipient, step });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| Address::parse(text).unwrap()).collect()
    }

    fn check(recipients: &[&str], named: &[&str], expected: &[&str]) {
        let recipients = addresses(recipients);
        let news = News {
            recipients: addresses(named),
            what: What::Receipt { disposition: "displayed".to_owned() },
        };
        let may_speak = |recipient: &Address| recipient.domain().as_str() == "theirs.test";
        let found: Vec<Address> =
            concerned(&news, &recipients, may_speak).into_iter().cloned().collect();
        assert_eq!(found, addresses(expected));
    }

    #[test]
    fn a_report_is_noted_for_recipients_at_the_reporters_end_only() {
        let both = ["a@theirs.test", "b@theirs.test", "c@other.test"];
        check(&both, &["A@theirs.test"], &["a@theirs.test"]);
        check(&both, &["c@other.test"], &[]);
        check(&both, &["x@theirs.test"], &[]);
        check(&both, &[], &[]);
    }

    #[test]
    fn a_letter_that_was_sent_on_inside_a_domain_still_counts() {
        let one = ["a@theirs.test", "c@other.test"];
        check(&one, &["moved@theirs.test"], &["a@theirs.test"]);
        check(&one, &["moved@other.test"], &[]);
    }
}
