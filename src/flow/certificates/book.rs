//! What is known of every certificate, and of which ones people must hear.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;

use crate::domain::certificate::CertificateFacts;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::flow::alerts;
use crate::flow::certificates::Direction;
use crate::flow::certificates::change;
use crate::flow::certificates::seen;
use crate::flow::office::Office;
use crate::infra::config::ListSource;
use crate::infra::net;
use crate::infra::store::StoreError;

const DAY_SECONDS: u64 = 86_400;

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Ours, at the doors where people log in.
    People,
    /// Ours, between operators.
    Operator,
    /// An authority that our files send along.
    Authority,
    /// An authority under which operators stand.
    Anchor,
    /// The signer of the trust list.
    Signer,
    /// Another operator's.
    Peer(Direction),
}

impl Role {
    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Operator => "operator",
            Self::Authority => "authority",
            Self::Anchor => "anchor",
            Self::Signer => "list-signer",
            Self::Peer(Direction::In) => "peer-in",
            Self::Peer(Direction::Out) => "peer-out",
        }
    }

    /// Without it our own mail stops.
    const fn is_vital(self) -> bool {
        !matches!(self, Self::Peer(_))
    }
}

/// A certificate that the relay has to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Whose.
    pub role: Role,
    /// What it says.
    pub facts: CertificateFacts,
    /// The file, or the counterpart's direction.
    pub source: String,
    /// When it was last shown to us, to the day; for those of other operators.
    pub last_seen: Option<Timestamp>,
    /// The same operator has shown a younger one since.
    pub superseded: bool,
    /// How near its end is.
    pub level: Level,
}

/// How near an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It is over.
    Expired,
    /// No more than so many days (one of `certs.warn_days`).
    Within(u64),
    /// It has not begun.
    Early,
    /// Far away.
    Fine,
}

impl Level {
    /// For people and programs: `expired`, `30 days`, `not yet`, or nothing.
    pub fn text(self) -> String {
        match self {
            Self::Expired => "expired".to_owned(),
            Self::Within(days) => format!("within {days} days"),
            Self::Early => "not yet valid".to_owned(),
            Self::Fine => String::new(),
        }
    }
}

/// Something that somebody has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Mail stops without it, or has stopped; otherwise it can wait till tomorrow.
    pub is_urgent: bool,
    /// What is the matter, in one sentence.
    pub text: String,
    /// The same for the same matter, so that it is told once a day.
    key: String,
}

/// Every certificate, the nearest end first.
///
/// # Errors
/// [`StoreError`] when the store does not answer.
pub async fn known(office: &Office) -> Result<Vec<Known>, StoreError> {
    let mut all = own(office).await;
    all.extend(peers(office).await?);
    all.sort_by(|one, other| {
        let rank = |known: &Known| (known.facts.not_after, known.role, known.facts.serial.clone());
        rank(one).cmp(&rank(other))
    });
    Ok(all)
}

/// Ours, our authorities' and the list's signer's.
async fn own(office: &Office) -> Vec<Known> {
    let config = &office.config;
    let signers = signers(office).await;
    let mut all = Vec::new();
    let mut add =
        |role, certificate: &CertificateDer<'_>, source: String| match net::certificate_facts(
            certificate,
        ) {
            Ok(facts) => {
                let level = level(office, &facts);
                let (last_seen, superseded) = (None, false);
                all.push(Known { role, facts, source, last_seen, superseded, level });
            }
            Err(error) => tracing::debug!(%error, source, "a certificate is not shown"),
        };
    let chains = [
        (Role::People, office.tls.people_chain(), &config.tls.certificate),
        (Role::Operator, office.tls.operator_chain(), &config.mx.certificate),
    ];
    for (role, chain, file) in chains {
        for (place, certificate) in chain.iter().enumerate() {
            let role = if place == 0 { role } else { Role::Authority };
            add(role, certificate, file.display().to_string());
        }
    }
    let files: Vec<String> =
        config.mx.anchors.iter().map(|file| file.display().to_string()).collect();
    for anchor in office.tls.anchors().iter() {
        add(Role::Anchor, anchor, files.join(", "));
    }
    for signer in signers {
        add(Role::Signer, &signer, "the trust list".to_owned());
    }
    all
}

async fn peers(office: &Office) -> Result<Vec<Known>, StoreError> {
    let seen = seen::all(office).await?;
    let is_younger = |one: &seen::Seen, other: &seen::Seen| {
        one.direction == other.direction
            && one.facts.subject == other.facts.subject
            && one.facts.not_after > other.facts.not_after
    };
    let mut youngest: std::collections::HashMap<_, &seen::Seen> = std::collections::HashMap::new();
    for one in &seen {
        let kept = youngest.entry((one.direction, &one.facts.subject)).or_insert(one);
        if is_younger(one, kept) {
            *kept = one;
        }
    }
    let known = |one: &seen::Seen| Known {
        role: Role::Peer(one.direction),
        source: one.direction.name().to_owned(),
        last_seen: Some(one.last),
        superseded: youngest
            .get(&(one.direction, &one.facts.subject))
            .is_some_and(|kept| is_younger(kept, one)),
        level: level(office, &one.facts),
        facts: one.facts.clone(),
    };
    Ok(seen.iter().map(known).collect())
}

fn level(office: &Office, facts: &CertificateFacts) -> Level {
    let now = office.clock.now();
    if now > facts.not_after {
        return Level::Expired;
    }
    if now < facts.not_before {
        return Level::Early;
    }
    let left = facts.not_after.since(now).as_secs();
    let reached = office.config.certs.warn_days.iter().filter(|days| left <= **days * DAY_SECONDS);
    reached.min().map_or(Level::Fine, |days| Level::Within(*days))
}

/// Everything that somebody has to do something about, the most urgent first.
///
/// # Errors
/// [`StoreError`] when the store does not answer.
pub async fn alarms(office: &Office) -> Result<Vec<Alarm>, StoreError> {
    let mut alarms = Vec::new();
    let nearest = office.config.certs.warn_days.iter().min().copied().unwrap_or(0);
    for known in known(office).await?.iter().filter(|known| !known.superseded) {
        let (facts, role) = (&known.facts, known.role.name());
        let which = format!("{role} certificate {} of {}", facts.serial, facts.subject);
        let left = facts.not_after.since(office.clock.now()).as_secs() / DAY_SECONDS;
        let text = match known.level {
            Level::Fine => continue,
            Level::Expired => format!("The {which} expired on {}.", facts.not_after),
            Level::Early => format!("The {which} is not valid before {}.", facts.not_before),
            Level::Within(_) => {
                format!("The {which} ends in {left} days, on {}.", facts.not_after)
            }
        };
        let is_near = match known.level {
            Level::Within(days) => days <= nearest,
            _ => true,
        };
        alarms.push(Alarm {
            is_urgent: known.role.is_vital() && is_near,
            text,
            key: format!("{which} {}", known.level.text()),
        });
    }
    alarms.extend(matters_of_change(office));
    for list in office.revocation.lists() {
        if !list.trouble.is_empty() {
            let text = format!("The CRL {} does not count: {}.", list.source, list.trouble);
            alarms.push(Alarm { is_urgent: false, key: format!("crl {}", list.source), text });
        }
    }
    // Stable, so the nearest end stays first.
    alarms.sort_by_key(|alarm| !alarm.is_urgent);
    Ok(alarms)
}

/// What waits, what failed, and whether others know us.
fn matters_of_change(office: &Office) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    let mut urgent = |key: &str, text| {
        alarms.push(Alarm { is_urgent: true, text, key: key.to_owned() });
    };
    for waiting in change::waiting(office) {
        let (role, facts) = (waiting.role.name(), &waiting.facts);
        let text = format!(
            "A new {role} certificate, {} of {}, waits since {}: {}.",
            facts.serial, facts.subject, waiting.since, waiting.reason
        );
        urgent(&format!("waiting {role} {}", facts.serial), text);
    }
    let trouble = office.certificates.trouble.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reason) = &*trouble {
        urgent("trouble", format!("The files cannot be used, those in use stay: {reason}."));
    }
    let subject = office
        .tls
        .operator_chain()
        .first()
        .and_then(|leaf| net::certificate_facts(leaf).ok().map(|facts| facts.subject));
    if let Some(subject) = subject {
        let missing = change::unlisted_for(office, &subject);
        if !missing.is_empty() {
            urgent(
                "unlisted",
                format!(
                    "The trust list does not have our subject, {subject}, for {}: other operators \
                     refuse our letters from there.",
                    missing.join(", ")
                ),
            );
        }
    }
    alarms
}

/// Tells the log each alarm, once a day, and the metrics when our certificates end.
pub async fn tell(office: &Arc<Office>) {
    let now = office.clock.now();
    for role in [Role::People, Role::Operator] {
        let chain = match role {
            Role::People => office.tls.people_chain(),
            _ => office.tls.operator_chain(),
        };
        // A chain is worth nothing once its first link ends.
        let ends = chain.iter().filter_map(|link| net::certificate_facts(link).ok());
        if let Some(end) = ends.map(|facts| facts.not_after).min() {
            office.metrics.certificate_expiry(role.name(), end, now);
        }
    }
    let alarms = match alarms(office).await {
        Ok(alarms) => alarms,
        Err(error) => {
            tracing::error!(%error, "certificates cannot be looked through");
            return;
        }
    };
    let today = now.as_seconds() / DAY_SECONDS;
    let mut said = office.certificates.said.lock().unwrap_or_else(PoisonError::into_inner);
    said.retain(|_, day| *day == today);
    let mut urgent = Vec::new();
    for alarm in alarms {
        let is_full = said.len() + urgent.len() >= limits::CERTIFICATES_SEEN_MAX;
        if is_full || said.contains_key(&alarm.key) {
            continue;
        }
        if alarm.is_urgent {
            urgent.push(alarm);
        } else {
            tracing::warn!("{}", alarm.text);
            said.insert(alarm.key, today);
        }
    }
    if urgent.is_empty() {
        return;
    }
    // All in one letter: of several about the same matter only one an hour goes out, and what
    // did not go out was not said.
    let texts: Vec<&str> = urgent.iter().map(|alarm| alarm.text.as_str()).collect();
    if alerts::raise(office, "certificate near its end", &texts.join("\n")) {
        said.extend(urgent.into_iter().map(|alarm| (alarm.key, today)));
    }
}

/// The certificates inside the signature of the list that is kept. They were judged when the list
/// was taken; here only their dates are of interest.
async fn signers(office: &Office) -> Vec<CertificateDer<'static>> {
    let kept = office.config.storage.data_dir.join("trust-list.xml");
    let source = match &office.config.trust.list {
        ListSource::File(file) => Some(file.clone()),
        _ => None,
    };
    // Up to the size of a whole list: not on a thread that serves sessions.
    let reading = tokio::task::spawn_blocking(move || signers_in(kept, source));
    reading.await.unwrap_or_else(|error| {
        tracing::error!(%error, "reading the signers of the trust list ended badly");
        Vec::new()
    })
}

/// Those of the first of these files that can be read.
fn signers_in(kept: PathBuf, source: Option<PathBuf>) -> Vec<CertificateDer<'static>> {
    const OPEN: &str = "X509Certificate>";
    let small = |file: &std::path::PathBuf| {
        let size = std::fs::metadata(file).ok()?.len();
        (size <= limits::TRUST_LIST_OCTETS_MAX as u64).then(|| std::fs::read(file).ok()).flatten()
    };
    let Some(document) = [Some(kept), source].into_iter().flatten().find_map(|file| small(&file))
    else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&document);
    let mut found = Vec::new();
    // Opening tag, text, closing tag: every other piece is a certificate.
    for piece in text.split(OPEN).skip(1).step_by(2).take(8) {
        let base64: String = piece
            .split('<')
            .next()
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect();
        if let Ok(der) = STANDARD.decode(base64) {
            found.push(CertificateDer::from(der));
        }
    }
    found
}
