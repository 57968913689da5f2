//! Asking: one question per source at a time, and none to a source that just failed.
//!
//! A question runs in a task of its own, so that a caller who gives up does not end it for the
//! others. It is bounded by the fetcher's time limit, and so is the number of them. A large list
//! over a slow line may take longer than any caller waits: it goes on for those who come later.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::watch;
use tracing::Instrument;

use crate::domain::limits::CRL_FETCH_TIMEOUT;
use crate::domain::limits::CRL_FETCHES_AT_ONCE;
use crate::domain::limits::CRL_OCTETS_MAX;
use crate::domain::limits::OCSP_OCTETS_MAX;
use crate::domain::limits::OCSP_QUESTIONS_AT_ONCE;
use crate::domain::limits::REVOCATION_FLIGHTS_MAX;
use crate::domain::time::Timestamp;
use crate::infra::net::NetError;
use crate::infra::net::fetch::Fetched;
use crate::infra::net::fetch::Fetcher;
use crate::infra::net::fetch::Validators;
use crate::infra::revocation::card::Card;
use crate::infra::revocation::crl::Crl;
use crate::infra::revocation::failures::Failures;
use crate::infra::revocation::hand::AnswerKey;
use crate::infra::revocation::hand::Hand;
use crate::infra::revocation::hand::Held;
use crate::infra::revocation::hand::ListKey;
use crate::infra::revocation::ocsp;

/// The media type of a question (RFC 6960 §A.1).
const OCSP_REQUEST: &str = "application/ocsp-request";

/// Who can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A server, for a CRL.
    List(ListKey),
    /// A responder, about one certificate.
    Answer {
        /// Its URL.
        url: String,
        /// About which certificate.
        about: AnswerKey,
    },
}

/// What may be left alone for a while: a source, or all of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Failing {
    Server(String),
    Source(Source),
}

/// Whose fault it is that a source said nothing.
enum Failed {
    /// It cannot be reached, or says nothing to anybody.
    Server(String),
    /// What it said is of no use here.
    Answer(String),
    /// It was not asked after all.
    Skipped,
}

/// Asks sources, and puts what they say into the hand.
pub(super) struct Asker {
    hand: Arc<Hand>,
    fetcher: Result<Fetcher, String>,
    lists_fetcher: Result<Fetcher, String>,
    grace: Duration,
    failures: Failures<Failing>,
    flights: Mutex<HashMap<Source, watch::Receiver<()>>>,
    lists_at_once: Semaphore,
    answers_at_once: Semaphore,
}

/// A certificate, its issuer, and when they are asked about.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) card: Arc<Card>,
    pub(super) issuer: Arc<Card>,
    pub(super) now: Timestamp,
}

impl Question {
    /// The servers that may have a CRL for it.
    pub(super) fn lists(&self) -> impl Iterator<Item = Source> {
        self.card
            .list_urls
            .iter()
            .map(|url| Source::List(ListKey { url: url.clone(), issuer: self.issuer.key.name }))
    }

    /// The responders that may know it.
    pub(super) fn responders(&self) -> impl Iterator<Item = Source> {
        let about = AnswerKey { issuer: self.issuer.key.name, serial: self.card.serial.clone() };
        self.card
            .responder_urls
            .iter()
            .map(move |url| Source::Answer { url: url.clone(), about: about.clone() })
    }
}

impl Asker {
    pub(super) fn new(hand: Arc<Hand>, timeout: Duration, grace: Duration) -> Self {
        Self {
            hand,
            fetcher: Fetcher::new(&[], timeout).map_err(|error| error.to_string()),
            lists_fetcher: Fetcher::patient(&[], timeout, CRL_FETCH_TIMEOUT.max(timeout))
                .map_err(|error| error.to_string()),
            grace,
            failures: Failures::new(),
            flights: Mutex::default(),
            lists_at_once: Semaphore::new(CRL_FETCHES_AT_ONCE),
            answers_at_once: Semaphore::new(OCSP_QUESTIONS_AT_ONCE),
        }
    }

    /// Asks, or waits for whoever asks already. Returns when the question has ended; what it
    /// brought is in the hand.
    pub(super) async fn ask(self: &Arc<Self>, source: Source, question: &Question) {
        if let Some(mut flight) = self.start(source, question) {
            // Nothing is ever sent: the end of the sender is the end of the question.
            let _ = flight.changed().await;
        }
    }

    /// Begins a question unless there is no point in it, and waits for nothing.
    pub(super) fn start(
        self: &Arc<Self>,
        source: Source,
        question: &Question,
    ) -> Option<watch::Receiver<()>> {
        let now = question.now;
        let failing = Failing::Source(source.clone());
        let server = Failing::Server(source.url().to_owned());
        if [failing, server].iter().any(|key| self.failures.waiting(key, now).is_some()) {
            return None;
        }
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&source) {
            return Some(flight.clone());
        }
        // Looked at while the flights are held: one that landed a moment ago is not repeated.
        let fresh = match &source {
            Source::List(key) => self.hand.is_fresh_list(key, &question.issuer, now),
            Source::Answer { about, .. } => self.hand.is_fresh_answer(about, now),
        };
        if fresh || flights.len() >= REVOCATION_FLIGHTS_MAX {
            return None;
        }
        let (end, flight) = watch::channel(());
        flights.insert(source.clone(), flight.clone());
        drop(flights);
        let landing = Landing { asker: Arc::clone(self), source, _end: end };
        let question = question.clone();
        let task = async move {
            landing.asker.fly(&landing.source, &question).await;
            drop(landing);
        };
        tokio::spawn(task.in_current_span());
        Some(flight)
    }

    /// Why these sources say nothing.
    pub(super) fn troubles(&self, sources: impl Iterator<Item = Source>) -> Vec<String> {
        let mut troubles: Vec<String> = Vec::new();
        for source in sources {
            let url = source.url().to_owned();
            let server = Failing::Server(url.clone());
            let reason = self.failures.reason(&Failing::Source(source));
            if let Some(reason) = reason.or_else(|| self.failures.reason(&server)) {
                troubles.push(format!("{url}: {reason}"));
            }
        }
        troubles
    }

    /// Why the last attempt to renew this list failed.
    pub(super) fn list_trouble(&self, key: &ListKey) -> Option<String> {
        let source = Failing::Source(Source::List(key.clone()));
        let server = Failing::Server(key.url.clone());
        self.failures.reason(&source).or_else(|| self.failures.reason(&server))
    }

    async fn fly(&self, source: &Source, question: &Question) {
        let result = match source {
            Source::List(key) => self.fetch_list(key, question).await,
            Source::Answer { url, about } => self.fetch_answer(url, about, question).await,
        };
        let (url, now) = (source.url(), question.now);
        let server = Failing::Server(url.to_owned());
        let one = Failing::Source(source.clone());
        let (key, reason) = match result {
            Ok(()) => {
                let recovered = [self.failures.forget(&server), self.failures.forget(&one)];
                if recovered.contains(&true) {
                    tracing::info!(url, "a revocation source answers again");
                }
                return;
            }
            Err(Failed::Skipped) => return,
            Err(Failed::Server(reason)) => (server, reason),
            Err(Failed::Answer(reason)) => {
                self.failures.forget(&server);
                (one, reason)
            }
        };
        let Some(wait) = self.failures.note(key, &reason, now) else { return };
        tracing::warn!(
            url,
            certificate = question.card.text,
            reason,
            next_seconds = wait.as_secs(),
            "a revocation source gives no answer"
        );
    }

    async fn fetch_list(&self, key: &ListKey, question: &Question) -> Result<(), Failed> {
        let _turn = self.lists_at_once.acquire().await;
        let fetcher = self.lists_fetcher.as_ref().map_err(|error| Failed::Server(error.clone()))?;
        let (hand, issuer, now) = (&self.hand, &question.issuer, question.now);
        let before = hand.held(key, issuer);
        let validators = before.as_ref().map(|held| held.validators.clone()).unwrap_or_default();
        let fetched = fetcher.get(&key.url, CRL_OCTETS_MAX, &validators).await;
        let taking = {
            let (hand, issuer, key) = (Arc::clone(hand), Arc::clone(issuer), key.clone());
            let grace = self.grace;
            // Reading, verifying and writing a large list takes a good part of a second.
            move |fetched| match fetched {
                Fetched::Unchanged => {
                    hand.touch_list(&key, now);
                    match before {
                        Some(before) if now > before.crl.ends => {
                            Err(format!("still the CRL that ended on {}", before.crl.ends))
                        }
                        _ => Ok(()),
                    }
                }
                Fetched::Document { octets, validators } => {
                    take_list(&hand, key, &issuer, (octets, validators), before, (now, grace))
                }
            }
        };
        let fetched = fetched.map_err(unreachable)?;
        match tokio::task::spawn_blocking(move || taking(fetched)).await {
            Ok(taken) => taken.map_err(Failed::Answer),
            Err(error) => Err(Failed::Answer(format!("reading it ended badly: {error}"))),
        }
    }

    async fn fetch_answer(
        &self,
        url: &str,
        about: &AnswerKey,
        question: &Question,
    ) -> Result<(), Failed> {
        let _turn = self.answers_at_once.acquire().await;
        let (card, issuer, now) = (&question.card, &question.issuer, question.now);
        // While this one waited for its turn, others may have found the responder silent.
        if self.failures.waiting(&Failing::Server(url.to_owned()), now).is_some() {
            return Err(Failed::Skipped);
        }
        let request = ocsp::request(card, issuer);
        let octets = self
            .fetcher()?
            .post(url, OCSP_REQUEST, request, OCSP_OCTETS_MAX)
            .await
            .map_err(unreachable)?;
        let revoked = |delegate: &Card| self.hand.is_listed(delegate, issuer);
        ocsp::verified(&octets, card, issuer, now, &revoked)
            .and_then(|answer| self.hand.take_answer(about.clone(), url, answer, now))
            .map_err(|reason| {
                let all = ocsp::is_about_the_responder(&octets);
                if all { Failed::Server(reason) } else { Failed::Answer(reason) }
            })
    }

    fn fetcher(&self) -> Result<&Fetcher, Failed> {
        self.fetcher.as_ref().map_err(|error| Failed::Server(error.clone()))
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Source, watch::Receiver<()>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn url(&self) -> &str {
        match self {
            Self::List(key) => &key.url,
            Self::Answer { url, .. } => url,
        }
    }
}

/// Ends a flight, whatever became of it: first it is forgotten, then the waiters wake.
struct Landing {
    asker: Arc<Asker>,
    source: Source,
    _end: watch::Sender<()>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.asker.flights().remove(&self.source);
    }
}

/// Only what the issuer signed, and what is not older than what is in hand: somebody on the way
/// could send yesterday's list, on which today's thief is not.
fn take_list(
    hand: &Hand,
    key: ListKey,
    issuer: &Card,
    (octets, validators): (Vec<u8>, Validators),
    before: Option<Held>,
    (now, grace): (Timestamp, Duration),
) -> Result<(), String> {
    let crl = Crl::read(&octets)?;
    drop(octets);
    crl.judge(issuer)?;
    if crl.is_of_the_future(now) {
        return Err(format!("a CRL of the future, {}", crl.made));
    }
    if before.is_some_and(|before| crl.is_older_than(&before.crl)) {
        return Err(format!("a CRL older than the one before, {}", crl.made));
    }
    let ends = crl.ends;
    if now > ends.after(grace) {
        return Err(format!("a CRL that ended on {ends}"));
    }
    hand.take_list(key, Held::new(crl, now, validators));
    // Its issuer is late; it counts under the grace, and the next one is looked for.
    if now > ends { Err(format!("a CRL that ended on {ends}")) } else { Ok(()) }
}

fn unreachable(error: NetError) -> Failed {
    Failed::Server(match error {
        NetError::Fetch { reason, .. } => reason,
        other => other.to_string(),
    })
}
