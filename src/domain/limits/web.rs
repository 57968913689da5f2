//! The web pages, with autoconfiguration and metrics.
use std::time::Duration;

/// Octets of one request to a web page, but for an answer with attachments.
pub const WEB_BODY_OCTETS_MAX: usize = 65_536;
/// Letters that the inbox page lists at once.
pub const INBOX_PAGE_LETTERS: usize = 50;
/// Time without an octet in either direction before a page connection is closed.
pub const WEB_IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Time in which a request's header must arrive once the connection is there.
pub const WEB_HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for a whole request and its answer page.
pub const WEB_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for an answer with attachments: 25 MB at half a megabit a second.
pub const WEB_ANSWER_TIMEOUT: Duration = Duration::from_secs(420);
/// How long one page connection may live, so that nobody reads one octet a minute for ever.
pub const WEB_CONNECTION_LIFETIME: Duration = Duration::from_secs(3_600);
/// Time that open requests get when the relay stops.
pub const WEB_STOP_GRACE: Duration = Duration::from_secs(5);
/// Requests at the same time on one HTTP/2 connection (RFC 9113 §5.1.2).
pub const WEB_STREAMS_MAX: u32 = 32;
/// Octets of one request's header.
pub const WEB_HEADER_OCTETS_MAX: usize = 16_384;
/// Logins that are open at the same time; over it the one idle for longest ends.
pub const WEB_SESSIONS_MAX: usize = 10_000;
/// Logins of one person that are open at the same time.
pub const WEB_SESSIONS_PER_PERSON_MAX: usize = 10;
/// A login without a request for so long ends: inboxes are read on shared computers.
pub const WEB_SESSION_IDLE: Duration = Duration::from_secs(1_800);
/// A login ends after so long in any case.
pub const WEB_SESSION_LIFETIME: Duration = Duration::from_secs(28_800);
/// Attachments of one answer.
pub const WEB_ANSWER_ATTACHMENTS_MAX: usize = 10;
/// Characters of an answer's text.
pub const WEB_ANSWER_CHARACTERS_MAX: usize = 100_000;
/// Octets of an HTML body that a page shows; of a longer one it shows the text, or nothing.
pub const WEB_HTML_OCTETS_MAX: usize = 524_288;
/// Octets of a text body that a page shows; the rest is left out, and the page says so.
pub const WEB_TEXT_OCTETS_MAX: usize = 1_048_576;
/// Administrators' passwords that are checked at the same time: each costs some 20 MB.
pub const PASSWORD_CHECKS_AT_ONCE: usize = 2;
/// Network addresses whose failed administrator logins are remembered.
pub const THROTTLED_ADDRESSES_MAX: usize = 10_000;
/// Connections to the metrics page; its readers are few machines.
pub const METRICS_CONNECTIONS_MAX: usize = 32;
/// Octets of an Autodiscover question; Outlook's are some hundreds.
pub const AUTODISCOVER_OCTETS_MAX: usize = 16_384;
/// Elements inside each other in such a question; it has three.
pub const AUTODISCOVER_DEPTH_MAX: usize = 8;
/// Octets of what is typed into the search box of the pages.
pub const WEB_FINDER_OCTETS_MAX: usize = 200;
/// Mailboxes that the search box shows: more than that is no answer.
pub const WEB_FOUND_MAX: usize = 50;
/// Mailboxes on one page of the administrators' list.
pub const ADMIN_MAILBOXES_SHOWN: usize = 50;
/// Reads of `LIFE_SWEPT_AT_ONCE` mailboxes that one page of a search costs; the next page goes on.
pub const ADMIN_MAILBOX_READS_MAX: usize = 25;
