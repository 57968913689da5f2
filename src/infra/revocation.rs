//! Whether certificates are revoked: CRLs (RFC 5280 §5) and OCSP (RFC 6960), both with their
//! signatures checked, kept, and asked for by one caller at a time.
//!
//! The leaf and every CA below the anchor are judged, each by what its own issuer says of it.
//! For each of them:
//!
//! 1. What is in hand answers at once: a CRL of a configured file, a CRL fetched before (kept
//!    on disk over a restart), an OCSP answer. If its age is over `refresh`, it is renewed in
//!    the background and serves meanwhile.
//! 2. Otherwise the certificate's OCSP responders are asked, and its CRL servers when no
//!    responder answered after a third of the time. A caller waits for `timeout` in all.
//! 3. Otherwise what ended counts for `grace` more.
//! 4. Otherwise nobody knows.
//!
//! "Revoked" from any source outweighs every other answer, also in mode `IfAvailable`, and also
//! beyond its end when there is nothing younger: silence brings no certificate back. "Unknown" of
//! a responder is no answer (RFC 6960 §2.2), so a CRL may still say more. An OCSP answer that has
//! ended when it comes is refused: they are made on demand. Anything from a source that does not
//! bear the signature of the certificate's own issuer, or of its OCSP delegate, is as if the
//! source had been silent. A source that failed is left alone, longer each time.
mod ask; // one question per source at a time
mod card; // what matters of a certificate
mod crl; // one CRL
mod der; // the DER that both need
mod failures; // who is left alone, until when
mod files; // CRLs that lie here
mod hand; // everything that is known without asking
mod kept; // fetched CRLs on disk
mod ocsp; // one question and its answer

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::domain::certificate::CertificateFacts;
use crate::domain::certificate::RevocationEvidence;
use crate::domain::certificate::Standing;
use crate::domain::limits::REVOCATION_CARDS_MAX;
use crate::domain::time::Timestamp;
use crate::infra::clock::Clock;
use crate::infra::clock::SystemClock;

use ask::Asker;
use ask::Question;
use ask::Source;
use card::Card;
use crl::Crl;
use hand::Hand;
use hand::Heard;
use hand::ListKey;
use hand::Origin;

/// A list from this size on is verified on a thread where that disturbs nobody.
const LARGE_LIST_OCTETS: usize = 262_144;
/// Of the time for a question, the part after which CRL servers are asked too.
const HEAD_START: u32 = 3;

/// How revocation is asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What happens without an answer.
    pub mode: Mode,
    /// CRLs that lie here, PEM or DER.
    pub crl_files: Vec<PathBuf>,
    /// Fetch CRLs from where certificates say.
    pub crl: bool,
    /// Ask OCSP responders where certificates say.
    pub ocsp: bool,
    /// For one question.
    pub timeout: Duration,
    /// The age at which a valid answer is renewed.
    pub refresh: Duration,
    /// How long an answer counts after its end when nobody answers.
    pub grace: Duration,
    /// Where fetched CRLs are kept, so that a restart asks nobody.
    pub kept: PathBuf,
}

/// What happens without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The certificate does not count now.
    Required,
    /// It does.
    IfAvailable,
    /// Nobody is asked.
    Off,
}

/// A CRL that is known here, for `certs status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownList {
    /// File or URL.
    pub source: String,
    /// Issuer, as text.
    pub issuer: String,
    /// When it was made.
    pub made: Timestamp,
    /// Until when it counts.
    pub ends: Option<Timestamp>,
    /// Certificates on it.
    pub entries: usize,
    /// Why it does not count; empty when it does.
    pub trouble: String,
}

/// Knows, or asks, whether certificates are revoked.
pub struct Revocation {
    inner: Arc<Inner>,
    /// Certificates that were asked about before, read. The same few hundred come again and
    /// again, and reading one costs more than the answer.
    cards: RwLock<HashMap<CertificateDer<'static>, Arc<Card>>>,
}

struct Inner {
    settings: Settings,
    hand: Arc<Hand>,
    asker: Arc<Asker>,
}

impl Revocation {
    /// Reads the files, and the lists that were kept; fetches nothing yet. A file that cannot be
    /// read is told in the log and by [`Self::lists`].
    pub fn new(settings: Settings) -> Self {
        let off = settings.mode == Mode::Off;
        let files = if off { Vec::new() } else { settings.crl_files.clone() };
        let hand = Arc::new(Hand::new(files, settings.kept.clone(), settings.refresh));
        let asker = Arc::new(Asker::new(Arc::clone(&hand), settings.timeout, settings.grace));
        let inner = Arc::new(Inner { settings, hand, asker });
        Self { inner, cards: RwLock::default() }
    }

    /// What is known of the first certificate of a verified path (leaf first, anchor last), and
    /// of the CAs between. The worst answer counts. In mode `Required` the caller refuses for now
    /// on `Standing::Unknown`; in mode `IfAvailable` no evidence gives `Standing::NotAsked` with
    /// the trouble in it. A path of one certificate, an anchor, gives `Standing::NotAsked` too.
    pub async fn check(
        &self,
        path: &[CertificateDer<'static>],
        now: Timestamp,
    ) -> RevocationEvidence {
        if self.inner.settings.mode == Mode::Off {
            return RevocationEvidence::not_asked();
        }
        let cards: Result<Vec<Arc<Card>>, String> =
            path.iter().map(|certificate| self.card(certificate)).collect();
        let cards = match cards {
            Ok(cards) if cards.is_empty() => {
                return self.inner.nobody_knows("no certificate".into());
            }
            Ok(cards) => cards,
            Err(reason) => return self.inner.nobody_knows(reason),
        };
        if cards.len() == 1 {
            // The administrator trusts it by name; nobody above could revoke it.
            let trouble = "the certificate is an anchor itself".to_owned();
            return RevocationEvidence { trouble, ..RevocationEvidence::not_asked() };
        }
        let mut worst: Option<RevocationEvidence> = None;
        let mut open = Vec::new();
        for pair in cards.windows(2) {
            let (card, issuer) = (Arc::clone(&pair[0]), Arc::clone(&pair[1]));
            let question = Question { card, issuer, now };
            match self.inner.at_once(&question).await {
                Some(evidence) => worst = Some(worse(worst, evidence)),
                None => open.push(question),
            }
        }
        // All at the same time: the caller waits once, however long the path is.
        let mut asking = JoinSet::new();
        for question in open {
            let inner = Arc::clone(&self.inner);
            asking.spawn(async move { inner.by_asking(&question).await }.in_current_span());
        }
        while let Some(evidence) = asking.join_next().await {
            let evidence = evidence.unwrap_or_else(|error| {
                self.inner.nobody_knows(format!("the question ended badly: {error}"))
            });
            worst = Some(worse(worst, evidence));
        }
        worst.unwrap_or_else(RevocationEvidence::not_asked)
    }

    /// Reads the files again, if they changed. A bad file leaves its lists of before. Call it
    /// where blocking is allowed.
    pub fn reload(&self) {
        self.inner.hand.reload();
    }

    /// Every CRL that is known.
    pub fn lists(&self) -> Vec<KnownList> {
        let now = SystemClock.now();
        let mut lists = Vec::new();
        for file in self.inner.hand.files().iter() {
            let source = file.path.display().to_string();
            for crl in &file.lists {
                lists.push(known(source.clone(), crl, &file.trouble, now));
            }
            if file.lists.is_empty() {
                lists.push(KnownList {
                    source,
                    issuer: String::new(),
                    made: Timestamp::from_millis(0),
                    ends: None,
                    entries: 0,
                    trouble: file.trouble.clone(),
                });
            }
        }
        let mut fetched = self.inner.hand.fetched_lists();
        fetched.sort_unstable_by(|(left, _), (right, _)| left.url.cmp(&right.url));
        for (key, held) in fetched {
            lists.push(known(key.url.clone(), &held.crl, &self.inner.trouble_of(&key, now), now));
        }
        lists
    }

    /// Which certificate, for texts.
    pub fn name(facts: &CertificateFacts) -> String {
        format!("{} ({})", facts.subject, facts.serial)
    }

    fn card(&self, certificate: &CertificateDer<'static>) -> Result<Arc<Card>, String> {
        let cards = self.cards.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(card) = cards.get(certificate) {
            return Ok(Arc::clone(card));
        }
        drop(cards);
        let card = Arc::new(Card::read(certificate)?);
        let mut cards = self.cards.write().unwrap_or_else(PoisonError::into_inner);
        if cards.len() >= REVOCATION_CARDS_MAX {
            cards.clear();
        }
        cards.insert(certificate.clone(), Arc::clone(&card));
        Ok(card)
    }
}

impl Inner {
    /// The answer of what is in hand.
    async fn at_once(&self, question: &Question) -> Option<RevocationEvidence> {
        self.verify_large_lists(question).await;
        let now = question.now;
        let heard = self.hear(question);
        if let Some(said) = heard.current(now, self.settings.grace) {
            if now.since(said.fetched) > self.settings.refresh
                && let Some(source) = self.origin(&said.origin, question)
            {
                drop(self.asker.start(source, question));
            }
            return Some(said.clone().evidence(now, String::new()));
        }
        let nobody = self.sources(question).next().is_none() && heard.is_silent();
        nobody.then(|| self.names_nobody(question, heard))
    }

    async fn by_asking(&self, question: &Question) -> RevocationEvidence {
        let (now, grace) = (question.now, self.settings.grace);
        if tokio::time::timeout(self.settings.timeout, self.ask(question)).await.is_err() {
            tracing::debug!(certificate = question.card.text, "revocation: no answer in time");
        }
        let heard = self.hear(question);
        if let Some(said) = heard.current(now, grace) {
            return said.clone().evidence(now, String::new());
        }
        let mut troubles = heard.troubles.clone();
        troubles.extend(self.asker.troubles(self.sources(question)));
        if troubles.is_empty() {
            let seconds = self.settings.timeout.as_secs_f32();
            troubles.push(format!("no answer in {seconds} seconds"));
        }
        let trouble = format!("{}: {}", question.card.text, troubles.join("; "));
        match heard.late(now, grace) {
            Some(said) => said.clone().evidence(now, trouble),
            None => self.nobody_knows(trouble),
        }
    }

    /// OCSP first, CRLs when it does not answer soon.
    async fn ask(&self, question: &Question) {
        let responders =
            self.ask_all(question.responders().filter(|_| self.settings.ocsp), question);
        let lists = self.ask_all(question.lists().filter(|_| self.settings.crl), question);
        tokio::pin!(responders, lists);
        let head_start = self.settings.timeout / HEAD_START;
        match tokio::time::timeout(head_start, &mut responders).await {
            Ok(true) => {}
            Ok(false) => {
                lists.await;
            }
            Err(_) => {
                tokio::select! {
                    answered = &mut responders => if !answered { lists.await; },
                    answered = &mut lists => if !answered { responders.await; },
                }
            }
        }
    }

    /// One source after the other, until there is an answer.
    async fn ask_all(&self, sources: impl Iterator<Item = Source>, question: &Question) -> bool {
        for source in sources {
            self.asker.ask(source, question).await;
            if self.hear(question).current(question.now, self.settings.grace).is_some() {
                return true;
            }
        }
        false
    }

    fn hear(&self, question: &Question) -> Heard {
        self.hand.hear(&question.card, &question.issuer, question.now)
    }

    /// Verifying is done once a list and key; of a large list it would hold up other tasks.
    async fn verify_large_lists(&self, question: &Question) {
        for crl in self.hand.unjudged(&question.issuer, LARGE_LIST_OCTETS) {
            let issuer = Arc::clone(&question.issuer);
            let _ = tokio::task::spawn_blocking(move || crl.judge(&issuer)).await;
        }
    }

    /// Everybody who may be asked about it.
    fn sources(&self, question: &Question) -> impl Iterator<Item = Source> {
        let responders = question.responders().filter(|_| self.settings.ocsp);
        responders.chain(question.lists().filter(|_| self.settings.crl))
    }

    /// Where an answer is renewed; a file is read again by [`Revocation::reload`].
    fn origin(&self, origin: &Origin, question: &Question) -> Option<Source> {
        match origin {
            Origin::File => None,
            Origin::List(key) => self.settings.crl.then(|| Source::List(key.clone())),
            Origin::Responder(url) => question
                .responders()
                .filter(|_| self.settings.ocsp)
                .find(|source| matches!(source, Source::Answer { url: one, .. } if one == url)),
        }
    }

    fn names_nobody(&self, question: &Question, heard: Heard) -> RevocationEvidence {
        let name = &question.card.text;
        let why = if question.card.names_a_source() {
            "revocation.crl and revocation.ocsp forbid to ask where it says"
        } else {
            "it names neither a CRL nor an OCSP responder over http"
        };
        let mut trouble = format!(
            "{name}: {why}, and no file of revocation.crl_files has a usable CRL of its issuer; \
             put that CRL there"
        );
        for reason in heard.troubles {
            trouble.push_str("; ");
            trouble.push_str(&reason);
        }
        self.nobody_knows(trouble)
    }

    fn nobody_knows(&self, trouble: String) -> RevocationEvidence {
        let standing = match self.settings.mode {
            Mode::Required => Standing::Unknown,
            Mode::IfAvailable | Mode::Off => Standing::NotAsked,
        };
        RevocationEvidence { standing, trouble, ..RevocationEvidence::not_asked() }
    }

    /// A list whose renewal fails still counts until its end.
    fn trouble_of(&self, key: &ListKey, now: Timestamp) -> String {
        let held = self.hand.fetched_lists();
        let ended = held.iter().any(|(known, held)| known == key && now > held.crl.ends);
        if ended { self.asker.list_trouble(key).unwrap_or_default() } else { String::new() }
    }
}

fn known(source: String, crl: &Crl, trouble: &str, now: Timestamp) -> KnownList {
    let mut troubles = vec![trouble.to_owned(), crl.trouble()];
    if now > crl.ends {
        troubles.push(format!("it ended on {}", crl.ends));
    }
    troubles.retain(|trouble| !trouble.is_empty());
    KnownList {
        source,
        issuer: crl.issuer_text(),
        made: crl.made,
        ends: Some(crl.ends),
        entries: crl.entries(),
        trouble: troubles.join("; "),
    }
}

/// The worse of two answers, the first of equal ones.
fn worse(one: Option<RevocationEvidence>, other: RevocationEvidence) -> RevocationEvidence {
    let weight = |evidence: &RevocationEvidence| match evidence.standing {
        Standing::Revoked(_) => 4,
        Standing::Unknown => 3,
        Standing::NotAsked => 2,
        Standing::Good if evidence.in_grace => 1,
        Standing::Good => 0,
    };
    match one {
        Some(one) if weight(&one) >= weight(&other) => one,
        _ => other,
    }
}
