//! The trust space: the signed list, certificates and their revocation.
use std::time::Duration;

/// Octets of the trust list: the real one has 3.7 MB.
pub const TRUST_LIST_OCTETS_MAX: usize = 33_554_432;
/// Age of the trust list at which somebody should look; the real one is made daily.
pub const TRUST_AGE_WARNING_DEFAULT: Duration = Duration::from_secs(86_400);
/// Age at which somebody must.
pub const TRUST_AGE_ALARM_DEFAULT: Duration = Duration::from_secs(259_200);
/// Time for one CRL or OCSP answer.
pub const REVOCATION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Age at which a CRL or OCSP answer is renewed although it is still valid.
pub const REVOCATION_REFRESH_DEFAULT: Duration = Duration::from_secs(14_400);
/// How long revocation evidence counts beyond its own end when its source does not answer.
pub const REVOCATION_GRACE_DEFAULT: Duration = Duration::from_secs(14_400);
/// Days before the end of a certificate at which it is said.
pub const EXPIRY_WARNING_DAYS_DEFAULT: [u64; 3] = [60, 30, 7];
/// How often certificate files are looked at for a change.
pub const CERTS_WATCH_DEFAULT: Duration = Duration::from_secs(60);
/// How often the trust list is read again: additions are wanted within the hour.
pub const TRUST_REFRESH_DEFAULT: Duration = Duration::from_secs(3_600);
/// Certificates of other operators that are remembered, each direction counted. The trust space
/// has some hundreds of operators with a new certificate every other year.
pub const CERTIFICATES_SEEN_MAX: usize = 20_000;
/// Octets of one CRL: a million revoked certificates, with their reasons, fit.
pub const CRL_OCTETS_MAX: usize = 67_108_864;
/// Octets of all fetched CRLs in memory; over it the ones unused for longest go (they stay on
/// disk).
pub const CRL_HELD_OCTETS_MAX: usize = 268_435_456;
/// Fetched CRLs that are kept, in memory and on disk. The real space has one per authority.
pub const CRLS_HELD_MAX: usize = 64;
/// CRLs that are fetched at the same time: each may have [`CRL_OCTETS_MAX`] octets.
pub const CRL_FETCHES_AT_ONCE: usize = 4;
/// Octets of an OCSP answer with its responder's certificate; real ones have about two thousand.
pub const OCSP_OCTETS_MAX: usize = 65_536;
/// OCSP answers that are kept; the real trust space has some 500 operators.
pub const OCSP_ANSWERS_MAX: usize = 10_000;
/// OCSP questions that are open at the same time.
pub const OCSP_QUESTIONS_AT_ONCE: usize = 32;
/// Questions to revocation sources that run or wait; over it new ones are not asked.
pub const REVOCATION_FLIGHTS_MAX: usize = 512;
/// Failed revocation sources that are remembered.
pub const REVOCATION_FAILURES_MAX: usize = 4_096;
/// CRL addresses, and responders, that are taken from one certificate.
pub const REVOCATION_SOURCES_MAX: usize = 4;
/// Octets of the address of a revocation source.
pub const REVOCATION_URL_OCTETS_MAX: usize = 2_048;
/// Certificates whose parts that matter for revocation are kept parsed.
pub const REVOCATION_CARDS_MAX: usize = 4_096;
/// How far in the future evidence may have been made: clocks differ.
pub const REVOCATION_SKEW: Duration = Duration::from_secs(300);
/// How long a revocation source that failed once is left alone; doubled with each failure.
pub const REVOCATION_BACKOFF_FIRST: Duration = Duration::from_secs(30);
/// The longest such wait: a source that recovers is found within the hour.
pub const REVOCATION_BACKOFF_MAX: Duration = Duration::from_secs(3_600);
/// Refusals at the operators' door that are told from memory when they are not on disk: an hour
/// of one port scanner, some megabytes.
pub const DECISIONS_REMEMBERED: usize = 10_000;
/// Characters of one text of a decision (a name in a certificate, an error of TLS): whoever is
/// refused chooses them.
pub const DECISION_TEXT_CHARACTERS_MAX: usize = 256;
/// Old decisions that one commit removes: small, because letters wait behind it.
pub const DECISIONS_SWEPT_AT_ONCE: usize = 500;
/// Time for one whole download of the trust list: the real one has 3.7 MB.
pub const TRUST_FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// How far ahead of our clock a trust list may be made. Clocks differ by minutes; a list of next
/// week would keep out every list of this one.
pub const TRUST_LIST_AHEAD_MAX: Duration = Duration::from_secs(86_400);
/// Relays that are started together ask for the trust list within so long, not at once.
pub const TRUST_FIRST_FETCH_SPREAD: Duration = Duration::from_secs(5);
/// Versions of the trust list that a start tries when the active one is damaged on the disk.
pub const TRUST_VERSIONS_TRIED_MAX: usize = 30;
/// Days for which `trust diff` counts letters.
pub const TRUST_OUTLOOK_DAYS: u64 = 30;
/// Peers whose path to an anchor is remembered between two of their connections.
pub const PEERS_JUDGED_MAX: usize = 2_000;
/// How often revocation is asked about again on one open connection; mostly answered from memory.
pub const REVOCATION_ASKED_EVERY: Duration = Duration::from_secs(60);
/// The time for one whole CRL of up to `CRL_OCTETS_MAX` octets. Nobody waits for it so long.
pub const CRL_FETCH_TIMEOUT: Duration = Duration::from_secs(120);
