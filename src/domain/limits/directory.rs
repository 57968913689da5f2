//! The national directory here, the address book, and the life of mailboxes.
use std::time::Duration;

/// Characters of what people call a mailbox.
pub const DISPLAY_NAME_CHARACTERS_MAX: usize = 128;
/// Octets of a directory extraction, unpacked: the real one has 89 MB.
pub const EXTRACTION_OCTETS_MAX: u64 = 1_073_741_824;
/// Mailboxes of a directory extraction: the real one has 535,928.
pub const EXTRACTION_MAILBOXES_MAX: usize = 4_000_000;
/// Octets of one LDAP message: the longest filters of mail programs have a few hundred.
pub const LDAP_MESSAGE_OCTETS_MAX: usize = 65_536;
/// The same before TLS, where only StartTLS and questions about the server are answered.
pub const LDAP_CLEAR_OCTETS_MAX: usize = 4_096;
/// Filters inside each other; Outlook nests six deep.
pub const LDAP_FILTER_DEPTH_MAX: usize = 16;
/// Terms and substrings of one filter; Thunderbird sends eleven for each word.
pub const LDAP_FILTER_TERMS_MAX: usize = 256;
/// Attributes that one search asks for; Thunderbird asks for some sixty.
pub const LDAP_ATTRIBUTES_MAX: usize = 256;
/// Controls of one request; two or three are usual.
pub const LDAP_CONTROLS_MAX: usize = 16;
/// Time in which an LDAP client must say StartTLS or bind.
pub const LDAP_LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Time without a request after which an LDAP session ends; clients open another one unasked.
pub const LDAP_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Time in which an LDAP client must take an answer.
pub const LDAP_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time that open LDAP sessions get when the relay stops.
pub const LDAP_STOP_GRACE: Duration = Duration::from_secs(5);
/// Time that one search may take.
pub const ADDRESSBOOK_SEARCH_TIME: Duration = Duration::from_secs(10);
/// Entries that one search looks at more closely, of those that an index names.
pub const ADDRESSBOOK_CANDIDATES_MAX: usize = 2_000;
/// Searches in the directory's copy at the same time; each has a thread.
pub const ADDRESSBOOK_SEARCHES_AT_ONCE: usize = 4;
/// Correspondents that are remembered, for the order of what a search finds. They take some 100
/// octets each.
pub const CORRESPONDENTS_MAX: usize = 200_000;
/// Steps of a mailbox's history that are shown, the last ones.
pub const LIFE_HISTORY_SHOWN_MAX: usize = 500;
/// Mailboxes that one read of the sweep takes.
pub const LIFE_SWEPT_AT_ONCE: usize = 200;
/// Mailboxes that the clock may close, or end, in one day, however few there are.
pub const LIFE_ENDS_A_DAY_MIN: u64 = 20;
/// The same, as a share of all mailboxes: one in so many. A clock that jumps, or a rule that was
/// written wrongly, is seen before it has done much.
pub const LIFE_ENDS_A_DAY_SHARE: u64 = 50;
/// Octets of a list of mailboxes to be made.
pub const ROSTER_OCTETS_MAX: u64 = 16_777_216;
/// Octets of its header.
pub const ROSTER_HEADER_OCTETS_MAX: u64 = 4_096;
/// Lines of it: what an administrator can look through, and what one approval names.
pub const ROSTER_LINES_MAX: u64 = 20_000;
/// Lines that are handed to the relay at once; with long names and addresses they fit a request.
pub const ROSTER_LINES_AT_ONCE: usize = 50;
/// Lines of them that are worked on at the same time.
pub const ROSTER_LINES_TOGETHER: usize = 16;
/// Time in which a second administrator may answer.
pub const PETITION_LIFETIME: Duration = Duration::from_secs(7 * 86_400);
/// Time after which what was asked and answered is forgotten here; the journal keeps it.
pub const PETITION_KEPT: Duration = Duration::from_secs(90 * 86_400);
/// Petitions that are looked at; more would be somebody playing.
pub const PETITIONS_MAX: usize = 1_000;
/// Time for one change that the directory's API is told.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a change is tried in one run; the next run goes on.
pub const PUBLISH_ATTEMPTS_MAX: u32 = 3;
/// The first wait between two tries; it doubles.
pub const PUBLISH_BACKOFF: Duration = Duration::from_secs(1);
/// The longest wait that the API may ask for within a run.
pub const PUBLISH_PATIENCE: Duration = Duration::from_secs(30);
/// Octets of a reason that is kept: a sentence.
pub const PUBLISH_REASON_OCTETS_MAX: usize = 500;
/// Octets of memory that the words and structures of a directory import may take: the real ones
/// take some 70 MB.
pub const EXTRACTION_INDEX_OCTETS_MAX: usize = 536_870_912;
/// Octets of one PS_LibreAcces file, unpacked: the largest real one has about 1.2 GB.
pub const PEOPLE_OCTETS_MAX: u64 = 4_294_967_296;
/// Lines of the PS_LibreAcces files that an import keeps: the real ones have some 4.8 million.
pub const PEOPLE_LINES_MAX: usize = 12_000_000;
/// Octets of a directory file that is fetched: the real archives have 20 MB and some 400 MB.
pub const DIRECTORY_FETCH_OCTETS_MAX: u64 = 1_073_741_824;
/// Mailboxes whose last comparison with the directory is remembered: more than any operator has.
pub const DRIFT_REMEMBERED_MAX: usize = 1_000_000;
/// Octets of one answer of the directory's FHIR API: a page of fifty has some 300 KB.
pub const FHIR_ANSWER_OCTETS_MAX: usize = 16_777_216;
/// Pages of one question to the FHIR API: a delta of thirty days has some 2,000.
pub const FHIR_PAGES_MAX: usize = 10_000;
/// Mailboxes that one delta of the FHIR API tells: a month has some 10,000 new ones.
pub const DELTA_MAILBOXES_MAX: usize = 50_000;
/// Mailboxes that one search of an administrator shows.
pub const DIRECTORY_SHOWN_MAX: usize = 1_000;
/// Correspondents that one search in the directory's copy looks up where it finds very many.
pub const ADDRESSBOOK_KNOWN_MAX: usize = 256;
