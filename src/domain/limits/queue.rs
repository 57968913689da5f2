//! The queue: attempts, circuits, promises, traces, receipts, the hosts of others.
use std::time::Duration;

/// Delivery attempts that run at the same time, by default.
pub const DELIVERIES_AT_ONCE_DEFAULT: usize = 32;
/// Of these, at one domain: a dead one must not hold every place.
pub const DELIVERIES_PER_DESTINATION_DEFAULT: usize = 8;
/// How often a letter may have passed this relay before; more is a loop. Lists and forwarders
/// bring a letter back once or twice by right.
pub const OWN_PASSES_DEFAULT: usize = 3;
/// Age at which the sender of a waiting letter is told (RFC 5321 §4.5.4.1 leaves it open).
pub const DELAY_NOTICE_DEFAULT: Duration = Duration::from_secs(14_400);
/// Days for which timelines and decisions are kept (six months: ANS Ref2 ECO.4.1.1 recommends it).
pub const TRACE_KEEP_DAYS_DEFAULT: u64 = 183;
/// How long a queue row stays leased to one attempt before another may take it.
pub const LEASE: Duration = Duration::from_secs(1_200);
/// Waits before the second, third, … delivery attempt, in seconds. The first ones are short
/// because most failures between operators are restarts; RFC 5321 §4.5.4.1 asks for at least
/// 30 minutes later on.
pub const RETRY_SECONDS_DEFAULT: [u64; 8] = [60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800];
/// Age at which a letter is returned. RFC 5321 §4.5.4.1 asks for at least four to five days; a
/// medical letter that did not arrive in two must be in its sender's hands again.
pub const GIVE_UP_DEFAULT: Duration = Duration::from_secs(172_800);
/// MX hosts of one domain that are tried; real domains have two or three.
pub const MAIL_HOSTS_MAX: usize = 10;
/// Addresses of one host that are tried.
pub const ADDRESSES_PER_HOST_MAX: usize = 10;
/// Time for one answer of the DNS, with all tries at all servers.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for a TCP connection to one address of another operator; a host that is down must not
/// hold a letter for the minutes that the system would wait.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Time from the first packet to another operator up to its EHLO reply inside TLS. RFC 5321
/// §4.5.3.2.1 allows five minutes for a greeting; a second host may answer at once.
pub const OPENING_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for another operator's reply to MAIL, RCPT or DATA. RFC 5321 §4.5.3.2 asks for two to
/// five minutes; the whole attempt has ten.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(120);
/// Characters of an administrator's reason in the journal.
pub const REASON_CHARACTERS_MAX: usize = 500;
/// Connections to one host that do not come about, one after the other, before nobody knocks
/// there for a while. One may be a restart, two a coincidence.
pub const CIRCUIT_FAILURES: u32 = 3;
/// For how long nobody knocks at first; it doubles.
pub const CIRCUIT_OPEN_MIN: Duration = Duration::from_secs(30);
/// For how long at most: an operator that is back must not wait longer for its mail.
pub const CIRCUIT_OPEN_MAX: Duration = Duration::from_secs(900);
/// Hosts whose failures are remembered: more than the trust space has operators.
pub const CIRCUITS_MAX: usize = 10_000;
/// Recipients of one letter in one attempt: RFC 5321 §4.5.3.1.8 promises that a server takes so
/// many.
pub const ATTEMPT_RECIPIENTS_MAX: usize = 100;
/// Workers that a letter may break before it is set aside.
pub const BREAKS_MAX: u8 = 2;
/// Rows that an administrator's command changes in one commit; their letters, accounts and
/// entries are some ten writes each.
pub const HANDS_ROWS_AT_ONCE: usize = 200;
/// Rows that a table of the queue shows when nobody says how many.
pub const QUEUE_ROWS_SHOWN_DEFAULT: usize = 1_000;
/// The least time between two letters about the same alarm.
pub const ALERT_EVERY: Duration = Duration::from_secs(3_600);
/// Alarms whose last letter is remembered.
pub const ALERTS_REMEMBERED_MAX: usize = 1_000;
/// Octets of one text in a letter's timeline: a reply has 500 characters at most.
pub const TIMELINE_TEXT_OCTETS_MAX: usize = 1_000;
/// Letters with one Message-ID that are traced. An honest one has a handful: one for each time
/// that it was sent.
pub const TRACED_LETTERS_MAX: usize = 100;
/// Rows of old timelines that one commit removes, so that no letter waits long behind it.
pub const TIMELINE_SWEPT_AT_ONCE: usize = 500;
/// Such commits in one sweep; the next sweep goes on.
pub const TIMELINE_SWEEPS_MAX: usize = 400;
/// Letters with one Message-ID that a report or receipt is noted for.
pub const RECEIPT_LETTERS_MAX: usize = 10;
/// Reports of success in one: with their addresses they fit one row.
pub const PROMISED_RECIPIENTS_MAX: usize = 50;
/// Octets of a letter's header section that a report of success or delay returns.
pub const PROMISED_HEADER_OCTETS_MAX: usize = 16_384;
/// Promises that are kept at the same time.
pub const PROMISES_AT_ONCE: usize = 8;
/// Other ways to a recipient that a notice names.
pub const ALTERNATIVES_MAX: usize = 3;
/// Pages of a letter's timeline that are read from its beginning; then its newest page follows.
/// Two days of attempts every minute, each with its report, are four.
pub const TIMELINE_PAGES_MAX: usize = 10;
/// Forms of one letter: one as it came, one for all who are shown and open it with a key of their
/// own, one for each who is not shown. Their numbers fit into an octet.
pub const FORMS_MAX: usize = 200;
