//! What administrators do to waiting letters: each action with its author and reason, in one
//! commit with its entry in the journal.
//!
//! A change of a whole domain is one row where it can be (hold, release, reroute); otherwise it
//! goes some rows at a time, each part with an entry of its own, so that the journal says exactly
//! what happened even if the power goes in between.
use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Change;
use crate::flow::queue::Seen;
use crate::flow::queue::Target;
use crate::flow::queue::Touched;
use crate::flow::timeline;
use crate::infra::journal::Entry;
use crate::infra::store::Batch;

/// Rows that an answer shows one by one.
const SHOWN_MAX: usize = 1_000;

/// What an administrator wants.
#[derive(Clone, Debug)]
pub struct Job {
    /// To do what.
    pub change: Change,
    /// To which rows.
    pub target: Target,
    /// Who.
    pub author: String,
    /// Why; empty where no reason is needed.
    pub reason: String,
    /// Only tell.
    pub is_dry: bool,
}

/// What was done, or would be.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// One sentence.
    pub sentence: String,
    /// Rows that were changed, or would be; the first ones of many.
    pub rows: Vec<Seen>,
    /// Rows that an attempt has, left alone.
    pub busy: Vec<Seen>,
}

/// Does it. `Err` is a sentence: nothing was done, why, and what helps.
pub async fn act(office: &Office, job: &Job) -> Result<Done, String> {
    if needs_reason(&job.change) && job.reason.trim().is_empty() {
        return Err(format!("{} needs a reason: --reason TEXT", name(&job.change)));
    }
    match (&job.change, &job.target) {
        (Change::Hold, Target::Domain(domain)) => hold_domain(office, job, domain).await,
        (Change::Release, Target::Domain(domain)) => release_domain(office, job, domain).await,
        (Change::Reroute(to), Target::Domain(domain)) => {
            reroute_domain(office, job, domain, to.as_deref()).await
        }
        _ => touch(office, job).await,
    }
}

/// Whether an action must be explained: those that keep letters from going their way.
fn needs_reason(change: &Change) -> bool {
    !matches!(change, Change::Retry | Change::Release)
}

/// The command's name.
pub fn name(change: &Change) -> &'static str {
    match change {
        Change::Retry => "queue retry",
        Change::Hold => "queue hold",
        Change::Release => "queue release",
        Change::Bounce(_) => "queue bounce",
        Change::Drop => "queue drop",
        Change::Reroute(_) => "queue reroute",
    }
}

async fn touch(office: &Office, job: &Job) -> Result<Done, String> {
    let what = masked_target(office, &job.target);
    let keys = queue::find(office, &job.target).await.map_err(sentence)?;
    if keys.is_empty() {
        return Err(format!("nothing waits for {what}"));
    }
    let mut done = Done::default();
    let (mut changed, mut busy, mut left) = (0, 0, 0);
    for part in parts(&keys) {
        let also = |touched: &Touched, batch: &mut Batch| note(office, job, touched, batch);
        let by = (job.author.as_str(), job.reason.as_str());
        let touched = queue::touch(office, part, &job.change, by, job.is_dry, also).await;
        let touched = touched.map_err(|refusal| match changed {
            0 => sentence(refusal),
            some => format!("{}; {some} recipients were changed before that", sentence(refusal)),
        })?;
        changed += touched.done.len();
        busy += touched.busy.len();
        left += touched.left.len();
        let room = |shown: &Vec<Seen>| SHOWN_MAX.saturating_sub(shown.len());
        let (more, more_busy) = (room(&done.rows), room(&done.busy));
        done.rows.extend(touched.done.into_iter().take(more));
        done.busy.extend(touched.busy.into_iter().take(more_busy));
        tokio::task::yield_now().await;
    }
    if changed == 0 && busy > 0 {
        return Err(format!(
            "{what}: an attempt has {} right now; nothing was changed. Try again when it is over: \
             `vaguemestre queue list` shows it",
            recipients(busy)
        ));
    }
    if changed == 0 {
        return Err(format!(
            "{what}: there is nothing to {}",
            name(&job.change).trim_start_matches("queue ")
        ));
    }
    let tense = if job.is_dry { "would be" } else { "was" };
    done.sentence = format!("{}: {} {tense} changed", name(&job.change), recipients(changed));
    if busy > 0 {
        let rest = recipients(busy);
        done.sentence.push_str(&format!("; an attempt has {rest} right now, left alone"));
    }
    if left > 0 {
        done.sentence.push_str(&format!("; for {} there is nothing to do", recipients(left)));
    }
    done.sentence.push('.');
    Ok(done)
}

/// Whole letters together where that is possible: their rows share one change of the letter.
fn parts(keys: &[(QueueId, u16)]) -> impl Iterator<Item = &[(QueueId, u16)]> {
    let mut rest = keys;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let most = rest.len().min(limits::HANDS_ROWS_AT_ONCE);
        let is_cut = most < rest.len() && rest[most].0 == rest[most - 1].0;
        let whole = rest[..most].partition_point(|(id, _)| *id < rest[most - 1].0);
        let (part, others) = rest.split_at(if is_cut && whole > 0 { whole } else { most });
        rest = others;
        Some(part)
    })
}

/// The journal and the timelines, in the commit of what they tell.
fn note(office: &Office, job: &Job, touched: &Touched, batch: &mut Batch) {
    let now = office.clock.now();
    let mut letters: Vec<QueueId> = touched.done.iter().map(|seen| seen.letter).collect();
    letters.dedup();
    let mut target = masked_target(office, &job.target);
    if !matches!(job.target, Target::Letter(_)) {
        let named: Vec<String> = letters.iter().take(20).map(ToString::to_string).collect();
        let more = if letters.len() > named.len() { " …" } else { "" };
        target = format!("{target}: {}{more}", named.join(" "));
    }
    let outcome = format!("{} of {} letters", recipients(touched.done.len()), letters.len());
    let author = job.author.clone();
    office.journal.ride(
        &Entry {
            at: now,
            author: author.clone(),
            action: action(&job.change),
            target,
            reason: job.reason.clone(),
            outcome,
        },
        batch,
    );
    for letter in letters {
        let seen = touched.done.iter().filter(|seen| seen.letter == letter);
        let entries: Vec<timeline::Entry> = seen
            .map(|seen| timeline::Entry {
                at: now,
                recipient: seen.recipient.clone(),
                step: timeline::Step::Hands {
                    action: action(&job.change),
                    author: author.clone(),
                    reason: job.reason.clone(),
                },
            })
            .collect();
        timeline::ride(office, letter, &entries, batch);
    }
}

/// The command with what it was given.
fn action(change: &Change) -> String {
    match change {
        Change::Bounce(Some(_)) => "queue bounce --tell".to_owned(),
        Change::Reroute(Some(to)) => format!("queue reroute --to {to}"),
        Change::Reroute(None) => "queue reroute --clear".to_owned(),
        other => name(other).to_owned(),
    }
}

fn domain_entry(office: &Office, job: &Job, domain: &Domain, outcome: &str) -> Batch {
    let mut batch = Batch::new();
    let entry = Entry {
        at: office.clock.now(),
        author: job.author.clone(),
        action: action(&job.change),
        target: domain.to_string(),
        reason: job.reason.clone(),
        outcome: outcome.to_owned(),
    };
    office.journal.ride(&entry, &mut batch);
    batch
}

async fn waiting_in(office: &Office, domain: &Domain) -> Result<usize, String> {
    let keys = queue::find(office, &Target::Domain(domain.clone())).await.map_err(sentence)?;
    Ok(keys.len())
}

async fn hold_domain(office: &Office, job: &Job, domain: &Domain) -> Result<Done, String> {
    let waiting = recipients(waiting_in(office, domain).await?);
    let sentence_of = |tense: &str| {
        format!(
            "{domain} {tense} held: {waiting} that wait now, and every letter to come, until \
             `vaguemestre queue release --domain {domain}`. Attempts that run come to their end."
        )
    };
    if job.is_dry {
        return Ok(Done { sentence: sentence_of("would be"), ..Done::default() });
    }
    let also = domain_entry(office, job, domain, "the domain is held");
    let by = (job.author.as_str(), job.reason.as_str());
    queue::pause(office, domain, by, also).await.map_err(sentence)?;
    Ok(Done { sentence: sentence_of("is"), ..Done::default() })
}

async fn release_domain(office: &Office, job: &Job, domain: &Domain) -> Result<Done, String> {
    let waiting = recipients(waiting_in(office, domain).await?);
    let lanes = queue::by_domain(office).await.map_err(sentence)?;
    let is_held = lanes.iter().any(|lane| lane.domain == domain.as_str() && lane.held.is_some());
    if !is_held {
        return Err(format!(
            "{domain} is not held. Letters that are held one by one are released by their id or \
             recipient: `vaguemestre queue list --held --domain {domain}`"
        ));
    }
    if job.is_dry {
        let sentence = format!("{domain} would be released: {waiting} wait there.");
        return Ok(Done { sentence, ..Done::default() });
    }
    let also = domain_entry(office, job, domain, "the domain is released");
    queue::resume(office, domain, also).await.map_err(sentence)?;
    let sentence = format!(
        "{domain} is released: {waiting} wait there. What was held one by one, or set aside, stays \
         so."
    );
    Ok(Done { sentence, ..Done::default() })
}

async fn reroute_domain(
    office: &Office,
    job: &Job,
    domain: &Domain,
    to: Option<&str>,
) -> Result<Done, String> {
    if office.hosts(domain) {
        return Err(format!("{domain} lives here: its mail goes into mailboxes, not to a host"));
    }
    let waiting = recipients(waiting_in(office, domain).await?);
    let now = queue::rerouted(office, domain);
    if to.is_none() && now.is_none() {
        return Err(format!("the mail of {domain} is not rerouted"));
    }
    let whither = to.map_or("where the configuration or the DNS says".to_owned(), str::to_owned);
    let sentence_of = |tense: &str| {
        format!(
            "The mail of {domain} {tense} to {whither} ({waiting} wait now). The host's \
             certificate must be listed for {domain} all the same."
        )
    };
    if job.is_dry {
        return Ok(Done { sentence: sentence_of("would go"), ..Done::default() });
    }
    let also = domain_entry(office, job, domain, &format!("mail goes to {whither}"));
    let by = (job.author.as_str(), job.reason.as_str());
    queue::reroute(office, domain, to, by, also).await.map_err(sentence)?;
    Ok(Done { sentence: sentence_of("goes"), ..Done::default() })
}

/// `***@domain` for patients: neither the journal nor an answer names them.
pub fn masked(office: &Office, address: &Address) -> String {
    match office.is_patient_domain(address.domain()) {
        true => format!("***@{}", address.domain()),
        false => format!("{address:?}"),
    }
}

fn masked_target(office: &Office, target: &Target) -> String {
    match target {
        Target::Letter(id) => id.to_string(),
        Target::Recipient(address) => masked(office, address),
        Target::Domain(domain) => domain.to_string(),
    }
}

fn recipients(count: usize) -> String {
    if count == 1 { "1 recipient".to_owned() } else { format!("{count} recipients") }
}

fn sentence(refusal: Refusal) -> String {
    match refusal {
        Refusal::Busy => "the letters change too fast right now; try again".to_owned(),
        Refusal::StoreFull => "the disk is full; nothing was changed".to_owned(),
        other => format!("the queue: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_letters_whole_and_lose_nobody() {
        let letter = |number: u8| QueueId::from_bytes([number; 16]);
        let mut keys = Vec::new();
        for (number, rows) in [(1, 150), (2, 100), (3, 500), (4, 1)] {
            keys.extend((0..rows).map(|row| (letter(number), row)));
        }
        let sizes: Vec<usize> = parts(&keys).map(<[_]>::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), keys.len());
        assert_eq!(sizes, [150, 100, 200, 200, 101]);
        assert_eq!(parts(&[]).count(), 0);
    }
}
