//! Why callers at the operators' door were let in or refused, kept so that it can be told later.
//!
//! | key | value |
//! |---|---|
//! | `D/<session id><UUIDv7>` | one decision; nothing in it names a person |
//! | `d/<queue id>` | the session that brought the letter |
//!
//! A letter's decision rides in the letter's own commit. Refusals are not waited for, and they
//! are bounded: what strangers cause is written a few times a second at most, and the last ones
//! are told from memory as long as the relay runs.
mod rows; // the stored form

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::domain::address::Domain;
use crate::domain::certificate::CertificateFacts;
use crate::domain::certificate::RevocationEvidence;
use crate::domain::certificate::Standing;
use crate::domain::decision::Decision;
use crate::domain::decision::ListEvidence;
use crate::domain::decision::SessionId;
use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::domain::operator::OperatorDn;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::accept::Accepted;
use crate::flow::accept::Credentials;
use crate::flow::authenticate::Authenticated;
use crate::flow::judge::Grounds;
use crate::flow::office::Office;
use crate::flow::office::RefusalBudget;
use crate::flow::timeline;
use crate::infra::store;
use crate::infra::store::Batch;

/// The last refusals, in memory, and how many of them may be written in a second.
#[derive(Default)]
pub struct Decisions {
    recent: Mutex<VecDeque<(RowId, Decision)>>,
    budget: RefusalBudget,
}

/// The last 16 octets of a row's key, a UUIDv7.
type RowId = [u8; 16];

/// The decision on a letter that was let in at the operators' door; `None` at other doors.
pub fn of_letter(by: &Authenticated, letter: QueueId, at: Timestamp) -> Option<Decision> {
    let Credentials::Operator(grounds) = &by.accepted().caller().credentials else { return None };
    let mut decision = of(by.accepted(), grounds, at);
    decision.list = by.list().cloned();
    decision.mail_from = by.reverse_path().address().map(|sender| sender.domain().clone());
    decision.letter = Some(letter);
    Some(decision)
}

/// The decision to refuse a caller on these grounds, who speaks for this domain.
pub fn of_refusal(
    office: &Office,
    accepted: &Accepted,
    grounds: &Grounds,
    mail_from: Option<Domain>,
    refusal: Refusal,
) -> Decision {
    let mut decision = of(accepted, grounds, office.clock.now());
    // A certificate that is not good in itself is not looked up: its subject may be borrowed.
    let is_looked_up = !matches!(
        refusal,
        Refusal::PeerCertificateMissing
            | Refusal::PeerCertificateInvalid
            | Refusal::PeerCertificateRevoked
            | Refusal::RevocationUnknown
    );
    decision.list = grounds
        .certificate()
        .filter(|_| is_looked_up)
        .and_then(|certificate| evidence_of(office, certificate, mail_from.as_ref(), refusal));
    decision.mail_from = mail_from;
    decision.refusal = Some(refusal);
    decision
}

/// What the list says that refused, or let in, this caller. When the list has changed since and
/// says something else, it is not the reason, and nothing is said of it.
fn evidence_of(
    office: &Office,
    certificate: &CertificateFacts,
    domain: Option<&Domain>,
    refusal: Refusal,
) -> Option<ListEvidence> {
    let (verdict, evidence) = office.trust.judge_with_evidence(&certificate.subject, domain);
    let is_the_reason = match refusal {
        Refusal::PeerNotListed | Refusal::PeerDomainMismatch => verdict == Err(refusal),
        // An old list, or too much from whomever: it was not asked, or whatever it said.
        Refusal::TrustListExpired | Refusal::TooManyFromPeer => true,
        _ => verdict.is_ok(),
    };
    is_the_reason.then_some(evidence)
}

fn of(accepted: &Accepted, grounds: &Grounds, at: Timestamp) -> Decision {
    let caller = accepted.caller();
    Decision {
        session: grounds.session(),
        at,
        ip: caller.ip,
        client_name: caller.client_name.clone(),
        tls: caller.tls.clone(),
        certificate: grounds.certificate().cloned(),
        certificate_trouble: grounds.trouble().to_owned(),
        revocation: grounds.revocation().cloned(),
        list: None,
        mail_from: None,
        letter: None,
        refusal: None,
    }
}

/// Adds a decision to the commit of the letter that it let in.
pub fn ride(_office: &Office, decision: &Decision, batch: &mut Batch) {
    put(decision, *uuid::Uuid::now_v7().as_bytes(), batch);
}

fn put(decision: &Decision, row: RowId, batch: &mut Batch) {
    batch.put(rows::key(decision.session, row), rows::encode(decision));
    if let Some(letter) = decision.letter {
        batch.put(rows::letter_key(letter), decision.session.as_bytes().to_vec());
    }
}

/// Keeps a decision without waiting for it. Nobody fills the disk by being refused: strangers
/// share a few rows a second, a listed operator has its own budget. The ring in memory is for
/// those whose rows may not have been written; an operator over its budget does not even get
/// there, or it would push the others out.
pub fn note(office: &Office, decision: Decision) {
    let decision = shortened(decision);
    let row = *uuid::Uuid::now_v7().as_bytes();
    let budget = &office.decisions.budget;
    let known = listed_subject(office, &decision);
    let is_written = match known {
        Some(subject) => budget.take_for_operator(subject, decision.at),
        None => budget.take_for_stranger(decision.at),
    };
    if known.is_some() && !is_written {
        return;
    }
    if is_written {
        let mut batch = Batch::new();
        put(&decision, row, &mut batch);
        drop(office.store.submit(batch));
    }
    let mut recent = office.decisions.recent.lock().unwrap_or_else(PoisonError::into_inner);
    if recent.len() >= limits::DECISIONS_REMEMBERED {
        recent.pop_front();
    }
    recent.push_back((row, decision));
}

/// The caller's name, if its certificate is good and somebody lists it. Certificates of the trust
/// space are many, and one that is revoked may be in anybody's hands.
fn listed_subject<'a>(office: &Office, decision: &'a Decision) -> Option<&'a OperatorDn> {
    let is_revoked =
        |evidence: &RevocationEvidence| matches!(evidence.standing, Standing::Revoked(_));
    if !decision.certificate_trouble.is_empty()
        || decision.refusal == Some(Refusal::PeerCertificateInvalid)
        || decision.revocation.as_ref().is_some_and(is_revoked)
    {
        return None;
    }
    let subject = &decision.certificate.as_ref()?.subject;
    office.trust.judge_peer(subject, None).is_ok().then_some(subject)
}

/// A stranger chooses what stands in its certificate: up to a megabyte of it would be kept.
fn shortened(mut decision: Decision) -> Decision {
    decision.certificate = decision.certificate.map(|facts| CertificateFacts {
        subject: short_name(facts.subject),
        issuer: short_name(facts.issuer),
        serial: short(facts.serial),
        ..facts
    });
    decision.certificate_trouble = short(decision.certificate_trouble);
    decision.client_name = short(decision.client_name);
    if let Some(evidence) = &mut decision.revocation {
        evidence.trouble = short(std::mem::take(&mut evidence.trouble));
        evidence.source = short(std::mem::take(&mut evidence.source));
    }
    decision
}

fn short(text: String) -> String {
    match text.char_indices().nth(limits::DECISION_TEXT_CHARACTERS_MAX) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

fn short_name(name: OperatorDn) -> OperatorDn {
    let octets: usize =
        name.pairs().iter().map(|(attribute, value)| attribute.len() + value.len()).sum();
    if octets <= limits::DECISION_TEXT_CHARACTERS_MAX * 4 {
        return name;
    }
    let pairs = name.pairs().iter().take(16);
    OperatorDn::new(
        pairs.map(|(attribute, value)| (short(attribute.clone()), short(value.clone()))),
    )
}

/// Every decision about this session, letter (queue id) or Message-ID, oldest first.
pub async fn explain(office: &Office, id: &str) -> Result<Vec<Decision>, Refusal> {
    let id = id.trim();
    let mut found = Vec::new();
    // A session and a letter have names of the same form; no two things have the same name.
    if let Some(session) = SessionId::parse(id) {
        found = of_session(office, session, |_| true).await?;
        if found.is_empty() {
            found = of_queued(office, QueueId::from_bytes(*session.as_bytes())).await?;
        }
    }
    if found.is_empty() {
        for traced in timeline::trace(office, id).await? {
            found.extend(of_queued(office, traced.letter).await?);
        }
    }
    Ok(found)
}

/// The decisions of a session that `wanted` wants. There may be tens of thousands in one session:
/// they are read page by page, and only those that are wanted are kept in memory.
async fn of_session(
    office: &Office,
    session: SessionId,
    wanted: impl Fn(&Decision) -> bool,
) -> Result<Vec<Decision>, Refusal> {
    let mut found = BTreeMap::new();
    let mut range = store::prefix(&rows::key_of_session(session));
    loop {
        let page = office.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await;
        let page = page.map_err(|error| unreadable(&error))?;
        for (key, versioned) in &page.rows {
            if let (Some((_, row)), Some(decision)) =
                (rows::ids(key), rows::decode(session, &versioned.value))
                && wanted(&decision)
            {
                found.insert(row, decision);
            }
        }
        match page.rows.last() {
            Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
            _ => break,
        }
    }
    let recent = office.decisions.recent.lock().unwrap_or_else(PoisonError::into_inner);
    for (row, decision) in recent.iter().filter(|(_, decision)| decision.session == session) {
        if wanted(decision) {
            found.entry(*row).or_insert_with(|| decision.clone());
        }
    }
    drop(recent);
    let mut found: Vec<(RowId, Decision)> = found.into_iter().collect();
    found.sort_by_key(|(row, decision)| (decision.at, *row));
    Ok(found.into_iter().map(|(_, decision)| decision).collect())
}

async fn of_queued(office: &Office, letter: QueueId) -> Result<Vec<Decision>, Refusal> {
    let session = office.store.get(&rows::letter_key(letter)).await;
    let session = session.map_err(|error| unreadable(&error))?;
    let session = session.and_then(|row| <[u8; 16]>::try_from(row.value.as_ref()).ok());
    let Some(session) = session else { return Ok(Vec::new()) };
    let is_of_letter = |decision: &Decision| decision.letter == Some(letter);
    of_session(office, SessionId::from_bytes(session), is_of_letter).await
}

fn unreadable(error: &store::StoreError) -> Refusal {
    tracing::error!(%error, "decisions cannot be read");
    Refusal::StoreFailed
}

/// Forgets what is older than `trace.keep_days`, some rows at a time; answers how many rows.
/// Meant to run in the background, once an hour or so.
pub async fn sweep(office: &Office) -> Result<usize, Refusal> {
    let now = office.clock.now();
    let is_old = |id: &[u8; 16]| now.since(moment_of(id)) > office.config.trace.keep;
    // Both kinds of rows begin with the time: what comes behind a young one is young.
    let decisions = sweep_table(office, rows::DECISIONS, |key| {
        let (session, row) = rows::ids(key)?;
        match (is_old(session.as_bytes()), is_old(&row)) {
            (false, _) => None,
            (true, old) => Some(old),
        }
    });
    let letters = sweep_table(office, rows::LETTERS, |key| {
        let letter = <[u8; 16]>::try_from(key.get(rows::LETTERS.len()..)?).ok()?;
        is_old(&letter).then_some(true)
    });
    Ok(decisions.await? + letters.await?)
}

/// `judge` says of a key: delete it, keep it, or (`None`) stop here.
async fn sweep_table(
    office: &Office,
    table: &[u8],
    judge: impl Fn(&[u8]) -> Option<bool>,
) -> Result<usize, Refusal> {
    let mut range = store::prefix(table);
    let mut swept = 0;
    loop {
        let page = office.store.scan(range.clone(), limits::DECISIONS_SWEPT_AT_ONCE).await;
        let page = page.map_err(|error| unreadable(&error))?;
        let mut batch = Batch::new();
        let mut is_over = !page.more;
        for (key, _) in &page.rows {
            match judge(key) {
                Some(true) => drop(batch.delete(key.to_vec())),
                Some(false) => {}
                None => {
                    is_over = true;
                    break;
                }
            }
        }
        if !batch.writes.is_empty() {
            swept += batch.writes.len();
            let committed = office.store.commit(batch).await;
            committed.map_err(|error| {
                tracing::error!(%error, "old decisions cannot be removed");
                Refusal::StoreFailed
            })?;
        }
        match page.rows.last() {
            Some((last, _)) if !is_over => range.start = [last.as_ref(), &[0]].concat(),
            _ => return Ok(swept),
        }
    }
}

/// RFC 9562 §5.7: the first 48 bits of a UUIDv7 are milliseconds since 1970.
fn moment_of(id: &[u8; 16]) -> Timestamp {
    Timestamp::from_millis(id[..6].iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet)))
}
