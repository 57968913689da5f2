//! Prometheus metrics of one relay. No label holds personal data.
//!
//! Every label value comes from a fixed table in this program. What a stranger may choose (a
//! status code of another operator, say) is folded into that table first: otherwise a peer
//! could fill our memory with label values, or write somebody's name into one.
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::domain::fact::Event;
use crate::domain::fact::Fact;
use crate::domain::status::EnhancedStatus;
use crate::domain::time::Timestamp;

/// The doors that a label may name, in the order in which pages show them.
pub const DOORS: [&str; 11] = [
    "submission",
    "submissions",
    "mx",
    "imap",
    "imaps",
    "pop3",
    "pop3s",
    "managesieve",
    "ldap",
    "ldaps",
    "https",
];

/// Content type of [`Metrics::render`].
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters and gauges; one registry a relay, because a demo runs two in one process.
pub struct Metrics {
    registry: Registry,
    events: Family<EventLabels, Counter>,
    octets: Family<EventLabels, Counter>,
    sessions: Family<DoorLabels, Gauge>,
    logins: Family<LoginLabels, Counter>,
    login_attempts: Family<AttemptLabels, Counter>,
    recent_logins: Mutex<Recent>,
    queue_rows: Gauge,
    queue_oldest: Gauge,
    rewrap_left: Gauge,
    certificate_expiry: Family<RoleLabels, Gauge>,
    alerts: Counter,
    letters_cut_short: Counter,
    openpgp_expiry: Family<RoleLabels, Gauge>,
    openpgp_pins_changed: Gauge,
    directory_questions: Family<QuestionLabels, Counter>,
    directory_seconds: Family<DirectoryLabels, Histogram>,
    directory_away: Family<DirectoryLabels, Gauge>,
    directory_age: Gauge,
    directory_mailboxes: Gauge,
    /// Milliseconds since the epoch of the oldest waiting row; 0 for none.
    oldest: AtomicU64,
}

const HOUR: u64 = 3_600;

/// Logins by hour since 1970, door, means and result.
type Recent = BTreeMap<(u64, &'static str, &'static str, &'static str), u64>;

fn is_recent(hour: u64, now: u64) -> bool {
    hour <= now && now - hour < 24
}

/// How often logins at one door, by one means, came to one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginCount {
    /// Which door.
    pub door: &'static str,
    /// What was shown.
    pub means: &'static str,
    /// What came of it.
    pub result: &'static str,
    /// How often.
    pub count: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabels {
    event: &'static str,
    counterpart: &'static str,
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DoorLabels {
    door: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LoginLabels {
    door: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AttemptLabels {
    entrance: &'static str,
    result: &'static str,
    means: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RoleLabels {
    role: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QuestionLabels {
    directory: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DirectoryLabels {
    directory: &'static str,
}

/// From an answer out of memory to a server that lets people wait.
const QUESTION_SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("vaguemestre");
        let events = Family::default();
        let octets = Family::default();
        let sessions = Family::<DoorLabels, Gauge>::default();
        let logins = Family::default();
        let queue_rows = Gauge::default();
        let queue_oldest = Gauge::default();
        let rewrap_left = Gauge::default();
        let alerts = Counter::default();
        let letters_cut_short = Counter::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);

        registry.register("build", "The running program", build);
        registry.register("events", "Facts of the ledger since the start", events.clone());
        registry.register("octets", "Octets of the letters of these facts", octets.clone());
        registry.register("sessions", "Open sessions", sessions.clone());
        registry.register("logins", "Login attempts", logins.clone());
        let login_attempts = Family::default();
        registry.register(
            "login_attempts",
            "Login attempts by entrance, result and what was shown",
            login_attempts.clone(),
        );
        registry.register("queue_rows", "Recipients waiting in the queue", queue_rows.clone());
        registry.register(
            "queue_oldest_timestamp_seconds",
            "When the oldest waiting recipient was queued (Unix time), 0 for an empty queue",
            queue_oldest.clone(),
        );
        registry.register(
            "master_key_rewrap_left",
            "Keys that are still wrapped by an older version of the master key",
            rewrap_left.clone(),
        );
        let certificate_expiry = Family::<RoleLabels, Gauge>::default();
        registry.register(
            "certificate_expiry_seconds",
            "Seconds until the first certificate of our own chain ends; negative when it is over",
            certificate_expiry.clone(),
        );
        let directory_age = Gauge::default();
        registry.register(
            "directory_age_seconds",
            "Age of the copy of the national directory; 0 while there is none",
            directory_age.clone(),
        );
        let directory_mailboxes = Gauge::default();
        registry.register(
            "directory_mailboxes",
            "Mailboxes in the copy of the national directory",
            directory_mailboxes.clone(),
        );
        registry.register("alerts", "Alarms raised since the start", alerts.clone());
        registry.register(
            "letters_cut_short",
            "Letters that were found damaged in the middle while they were being sent to a reader",
            letters_cut_short.clone(),
        );
        let openpgp_expiry = Family::<RoleLabels, Gauge>::default();
        registry.register(
            "openpgp_expiry_days",
            "Days until the next OpenPGP certificate ends; negative when one is over",
            openpgp_expiry.clone(),
        );
        let openpgp_pins_changed = Gauge::default();
        registry.register(
            "openpgp_pins_changed",
            "Contacts whose certificate has changed, and nobody has decided yet",
            openpgp_pins_changed.clone(),
        );
        let directory_questions = Family::default();
        let directory_seconds = Family::<DirectoryLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(QUESTION_SECONDS)
        });
        let directory_away = Family::<DirectoryLabels, Gauge>::default();
        registry.register(
            "directory_questions",
            "Logins put to a directory, or answered from memory",
            directory_questions.clone(),
        );
        registry.register(
            "directory_question_seconds",
            "Time until a directory, or the memory of it, answered",
            directory_seconds.clone(),
        );
        registry.register(
            "directory_away_since_timestamp_seconds",
            "When a directory stopped answering (Unix time), 0 when it answers",
            directory_away.clone(),
        );
        // A door that nobody has used yet reads as 0 and not as missing.
        for door in DOORS {
            sessions.get_or_create(&DoorLabels { door }).set(0);
        }
        let oldest = AtomicU64::new(0);
        Self {
            registry,
            events,
            octets,
            sessions,
            logins,
            login_attempts,
            recent_logins: Mutex::default(),
            queue_rows,
            queue_oldest,
            rewrap_left,
            certificate_expiry,
            alerts,
            letters_cut_short,
            openpgp_expiry,
            openpgp_pins_changed,
            directory_questions,
            directory_seconds,
            directory_away,
            directory_age,
            directory_mailboxes,
            oldest,
        }
    }

    /// Counts a fact: `vaguemestre_events_total{event,counterpart,reason}`.
    pub fn count(&self, fact: &Fact) {
        let labels = EventLabels {
            event: fact.event.name(),
            counterpart: fact.counterpart.name(),
            reason: reason(fact.event),
        };
        self.octets.get_or_create(&labels).inc_by(fact.size);
        self.events.get_or_create(&labels).inc();
    }

    /// A session began at a door (`submission`, `submissions`, `mx`, `imap`, `imaps`, `https`):
    /// `vaguemestre_sessions{door}` goes up until the guard is dropped.
    pub fn session(&self, door: &'static str) -> SessionGuard {
        let gauge = self.sessions.get_or_create_owned(&DoorLabels { door: known(door) });
        gauge.inc();
        SessionGuard { gauge }
    }

    /// A login succeeded or failed: `vaguemestre_logins_total{door,result}`.
    pub fn login(&self, door: &'static str, succeeded: bool) {
        let result = if succeeded { "succeeded" } else { "failed" };
        self.logins.get_or_create(&LoginLabels { door: known(door), result }).inc();
    }

    /// A directory (`local`, `ldap`, `oidc`) was asked: `vaguemestre_directory_questions_total` and
    /// `vaguemestre_directory_question_seconds`.
    pub fn directory_asked(&self, directory: &'static str, result: &'static str, took: Duration) {
        self.directory_questions.get_or_create(&QuestionLabels { directory, result }).inc();
        let seconds = took.as_secs_f64();
        self.directory_seconds.get_or_create(&DirectoryLabels { directory }).observe(seconds);
    }

    /// A directory went away, or answers (`None`):
    /// `vaguemestre_directory_away_since_timestamp_seconds`.
    pub fn directory_away(&self, directory: &'static str, since: Option<Timestamp>) {
        let moment = since.map_or(0, Timestamp::as_seconds);
        let gauge = self.directory_away.get_or_create(&DirectoryLabels { directory });
        gauge.set(i64::try_from(moment).unwrap_or(i64::MAX));
    }

    /// What came of a login, in the words of `flow::login`:
    /// `vaguemestre_login_attempts_total{entrance,result,means}`.
    pub fn login_attempt(
        &self,
        entrance: &'static str,
        result: &'static str,
        means: &'static str,
        now: Timestamp,
    ) {
        self.login_attempts.get_or_create(&AttemptLabels { entrance, result, means }).inc();
        let mut recent = self.recent_logins.lock().unwrap_or_else(PoisonError::into_inner);
        let hours = &mut *recent;
        let hour = now.as_seconds() / HOUR;
        hours.retain(|(at, ..), _| is_recent(*at, hour));
        *hours.entry((hour, entrance, means, result)).or_default() += 1;
    }

    /// Logins of the last 24 hours, and not from before the start.
    pub fn recent_logins(&self, now: Timestamp) -> Vec<LoginCount> {
        let mut sums: BTreeMap<_, u64> = BTreeMap::new();
        let recent = self.recent_logins.lock().unwrap_or_else(PoisonError::into_inner);
        for ((hour, door, means, result), count) in recent.iter() {
            if is_recent(*hour, now.as_seconds() / HOUR) {
                *sums.entry((*door, *means, *result)).or_default() += count;
            }
        }
        let line = |((door, means, result), count)| LoginCount { door, means, result, count };
        sums.into_iter().map(line).collect()
    }

    /// An alarm was raised: `vaguemestre_alerts_total`.
    pub fn alert(&self) {
        self.alerts.inc();
    }

    /// A letter was found damaged in the middle when its beginning had left already:
    /// `vaguemestre_letters_cut_short_total`.
    pub fn letter_cut_short(&self) {
        self.letters_cut_short.inc();
    }

    /// Rows waiting in the queue: `vaguemestre_queue_rows`.
    pub fn queue_rows(&self, rows: u64) {
        self.queue_rows.set(i64::try_from(rows).unwrap_or(i64::MAX));
    }

    /// When the oldest waiting row was queued, `None` for an empty queue:
    /// `vaguemestre_queue_oldest_timestamp_seconds`.
    pub fn queue_oldest(&self, oldest: Option<Timestamp>) {
        let moment = oldest.map_or(0, Timestamp::as_millis);
        self.oldest.store(moment, Ordering::Relaxed);
        self.queue_oldest.set(i64::try_from(moment / 1000).unwrap_or(i64::MAX));
    }

    /// Keys that an older version of the master key still wraps:
    /// `vaguemestre_master_key_rewrap_left`.
    pub fn rewrap_left(&self, keys: u64) {
        self.rewrap_left.set(i64::try_from(keys).unwrap_or(i64::MAX));
    }

    /// What [`Metrics::queue_rows`] and [`Metrics::queue_oldest`] were last told.
    pub fn queue(&self) -> (u64, Option<Timestamp>) {
        let rows = u64::try_from(self.queue_rows.get()).unwrap_or(0);
        let oldest = self.oldest.load(Ordering::Relaxed);
        (rows, (oldest != 0).then(|| Timestamp::from_millis(oldest)))
    }

    /// Sessions open now, one row a door.
    pub fn open_sessions(&self) -> Vec<(&'static str, u64)> {
        let open = |door| self.sessions.get_or_create(&DoorLabels { door }).get();
        DOORS.map(|door| (door, u64::try_from(open(door)).unwrap_or(0))).to_vec()
    }

    /// When one of our own certificates (`people`, `operator`) ends:
    /// The copy of the national directory.
    pub fn directory(&self, age: std::time::Duration, mailboxes: u64) {
        self.directory_age.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        self.directory_mailboxes.set(i64::try_from(mailboxes).unwrap_or(i64::MAX));
    }

    /// `vaguemestre_certificate_expiry_seconds{role}`.
    pub fn certificate_expiry(&self, role: &'static str, end: Timestamp, now: Timestamp) {
        let seconds = |moment: Timestamp| i64::try_from(moment.as_seconds()).unwrap_or(i64::MAX);
        let gauge = self.certificate_expiry.get_or_create(&RoleLabels { role });
        gauge.set(seconds(end) - seconds(now));
    }

    /// `vaguemestre_openpgp_expiry_days{role}`: of `mailboxes`, `contacts`, `own`. Roles of which
    /// nothing ends have no value.
    pub fn openpgp_expiry(&self, role: &'static str, end: Option<Timestamp>, now: Timestamp) {
        let labels = RoleLabels { role };
        let Some(end) = end else {
            self.openpgp_expiry.remove(&labels);
            return;
        };
        let seconds = |moment: Timestamp| i64::try_from(moment.as_seconds()).unwrap_or(i64::MAX);
        let days = (seconds(end) - seconds(now)).div_euclid(86_400);
        self.openpgp_expiry.get_or_create(&labels).set(days);
    }

    /// One more in `vaguemestre_openpgp_pins_changed`.
    pub fn openpgp_pin_changed(&self) {
        self.openpgp_pins_changed.inc();
    }

    /// `vaguemestre_openpgp_pins_changed`, counted.
    pub fn openpgp_pins_changed(&self, contacts: usize) {
        self.openpgp_pins_changed.set(i64::try_from(contacts).unwrap_or(i64::MAX));
    }

    /// The text of `GET /metrics` (OpenMetrics).
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a `String` cannot fail; were the encoder to, half a text is worse than none.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

/// Held by a session for as long as it lives.
#[derive(Debug)]
pub struct SessionGuard {
    gauge: Gauge,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// A door of the table, or `other`.
fn known(door: &'static str) -> &'static str {
    if DOORS.contains(&door) { door } else { "other" }
}

/// Why, in one of at most a few hundred words.
fn reason(event: Event) -> String {
    match event {
        Event::Refused(refusal) => refusal.name().to_owned(),
        Event::Deferred(status) | Event::Failed(status) => folded(status),
        Event::Accepted | Event::Sent | Event::Received | Event::Relayed | Event::Closed => {
            String::new()
        }
        Event::Delegation(step) => step.name().to_owned(),
        // Not the code: a stranger chooses it.
        Event::Document(tag) => tag.ins.name().to_owned(),
    }
}

/// RFC 3463 §3 names subjects 0 to 7 and details below 40; a peer may write any number.
fn folded(status: EnhancedStatus) -> String {
    match status {
        EnhancedStatus(2..=5, 0..=7, 0..=39) => status.to_string(),
        EnhancedStatus(class @ 2..=5, ..) => format!("{class}.other"),
        EnhancedStatus(..) => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fact::Counterpart;
    use crate::domain::status::Refusal;

    fn fact(event: Event) -> Fact {
        Fact {
            at: Timestamp::from_seconds(1_795_388_399),
            letter: None,
            domain: "hopital.mssante.test".to_owned(),
            mailbox_kind: None,
            counterpart: Counterpart::Patient,
            peer: None,
            event,
            size: 4096,
            automatic: false,
        }
    }

    #[test]
    fn facts_are_counted_by_event_counterpart_and_reason() {
        let metrics = Metrics::new();
        metrics.count(&fact(Event::Sent));
        metrics.count(&fact(Event::Sent));
        metrics.count(&fact(Event::Refused(Refusal::MailboxUnknown)));
        let text = metrics.render();
        for line in [
            "vaguemestre_events_total{event=\"sent\",counterpart=\"patient\",reason=\"\"} 2",
            "vaguemestre_octets_total{event=\"sent\",counterpart=\"patient\",reason=\"\"} 8192",
            "vaguemestre_events_total{event=\"refused\",counterpart=\"patient\",\
             reason=\"mailbox-unknown\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert!(!text.contains("hopital"), "a domain became a label\n{text}");
    }

    #[test]
    fn a_session_counts_until_its_guard_is_dropped() {
        let metrics = Metrics::new();
        let guard = metrics.session("imaps");
        assert!(metrics.open_sessions().contains(&("imaps", 1)));
        assert!(metrics.render().contains("vaguemestre_sessions{door=\"imaps\"} 1"));
        drop(guard);
        assert!(metrics.open_sessions().contains(&("imaps", 0)));
    }

    #[test]
    fn a_peer_cannot_make_labels_by_inventing_status_codes() {
        let metrics = Metrics::new();
        for detail in 0..2_000 {
            metrics.count(&fact(Event::Failed(EnhancedStatus(5, 700, detail))));
        }
        let text = metrics.render();
        let lines = text.lines().filter(|line| line.contains("event=\"failed\"")).count();
        assert_eq!(lines, 2, "one line of events, one of octets:\n{text}");
    }

    #[test]
    fn the_queue_and_the_build_are_told() {
        let metrics = Metrics::new();
        assert_eq!(metrics.queue(), (0, None));
        metrics.queue_rows(7);
        metrics.queue_oldest(Some(Timestamp::from_seconds(1_795_388_399)));
        assert_eq!(metrics.queue(), (7, Some(Timestamp::from_seconds(1_795_388_399))));
        let text = metrics.render();
        assert!(text.contains("vaguemestre_queue_rows 7"), "{text}");
        assert!(text.contains("vaguemestre_build_info{version=\""), "{text}");
        metrics.login("https", false);
        assert!(
            metrics
                .render()
                .contains("vaguemestre_logins_total{door=\"https\",result=\"failed\"} 1")
        );
    }
}
