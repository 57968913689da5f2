//! Does whoever brings a certificate have its secret key? They read what is sealed to it.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::flow::own;
use crate::flow::own::Act;
use crate::infra::directory::Account;
use crate::infra::keys::mail;
use crate::infra::keys::peers::CertificateFlaw;
use crate::infra::keys::peers::PeerCertificate;

/// How long a challenge is good.
const GOOD_FOR: Duration = Duration::from_secs(86_400);
/// Wrong answers to one challenge. A guess is right once in 2^128; more answers are a mistake.
const ANSWERS_MAX: u32 = 5;

/// Challenges that wait for their answers, one for each mailbox. They are in memory only: after
/// a restart one asks again.
#[derive(Default)]
pub struct Challenges(Mutex<HashMap<MailboxId, Challenge>>);

struct Challenge {
    certificate: PeerCertificate,
    code: Secret<String>,
    until: Timestamp,
    wrong: u32,
}

/// What came of an answer.
#[derive(Debug)]
pub enum Proof {
    /// The certificate is registered.
    Registered(PeerCertificate),
    /// Not what was sealed.
    Wrong,
    /// There is no challenge, or it is over: begin again.
    Over,
}

/// Seals a code to a certificate that somebody wants to register for a mailbox; answers the
/// certificate as it would be kept, and the armoured message. `text` stands before the code.
///
/// # Errors
/// What stands against the certificate.
pub fn begin(
    office: &Office,
    account: &Account,
    certificate: &PeerCertificate,
    text: &str,
) -> Result<(PeerCertificate, Vec<u8>), CertificateFlaw> {
    let narrow = own::check(office, account, certificate)?;
    let now = office.clock.now();
    let code = office.keys.random_token();
    let clear = Secret::new(format!("{text}\r\n\r\n{}\r\n", code.expose()));
    let sealed =
        mail::seal_for(clear.expose().as_bytes(), std::slice::from_ref(&narrow), None, now);
    let sealed = sealed.map_err(|_| CertificateFlaw::NoEncryption)?;
    let challenge =
        Challenge { certificate: narrow.clone(), code, until: now.after(GOOD_FOR), wrong: 0 };
    let mut waiting = lock(office);
    if waiting.len() >= limits::CHALLENGES_MAX {
        waiting.retain(|_, challenge| now < challenge.until);
        if waiting.len() >= limits::CHALLENGES_MAX {
            waiting.clear();
        }
    }
    waiting.insert(account.id, challenge);
    Ok((narrow, sealed))
}

/// Looks at the answer, and registers the certificate when it is right.
///
/// # Errors
/// A sentence: the answer was right and the certificate is not registered.
pub async fn prove(
    office: &Office,
    account: &Account,
    answer: &str,
    act: Act<'_>,
) -> Result<Proof, String> {
    let certificate = {
        let now = office.clock.now();
        let mut waiting = lock(office);
        let Some(challenge) = waiting.get_mut(&account.id).filter(|it| now < it.until) else {
            return Ok(Proof::Over);
        };
        if !is_same(challenge.code.expose(), answer.trim()) {
            challenge.wrong += 1;
            if challenge.wrong >= ANSWERS_MAX {
                waiting.remove(&account.id);
                return Ok(Proof::Over);
            }
            return Ok(Proof::Wrong);
        }
        challenge.certificate.clone()
    };
    let registered = own::set(office, account, &certificate, act).await?;
    lock(office).remove(&account.id);
    Ok(Proof::Registered(registered.certificate))
}

fn lock(office: &Office) -> std::sync::MutexGuard<'_, HashMap<MailboxId, Challenge>> {
    office.own.challenges.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a time that tells nothing of where they differ.
fn is_same(code: &str, answer: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(code.as_bytes(), answer.as_bytes()).is_ok()
}
