//! Who comes in: SASL, passwords, tokens, LDAP servers asked by us, sessions.
use std::time::Duration;

/// Failed logins on one connection before it is closed.
pub const LOGIN_FAILURES_MAX: usize = 3;
/// Failed logins with one name from one network in a minute before they are put off; ten times
/// as many with any names. Never counted by name alone: a stranger could lock a clinician out.
pub const LOGINS_FAILED_PER_MINUTE_DEFAULT: u32 = 10;
/// Characters of a password that an administrator sets.
pub const PASSWORD_CHARACTERS_MIN: usize = 8;
/// The longest password: hashing a longer one would only cost time.
pub const PASSWORD_CHARACTERS_MAX: usize = 256;
/// Octets of a bearer token; those of Pro Santé Connect have about two thousand.
pub const TOKEN_OCTETS_MAX: usize = 16_384;
/// How deep JSON of an OpenID provider may be; a professional's whole record has five levels.
pub const JSON_DEPTH_MAX: usize = 12;
/// Octets of one answer of an OpenID provider: description, keys, a token or a person's record.
pub const OIDC_ANSWER_OCTETS_MAX: usize = 262_144;
/// Keys of an OpenID provider that are kept.
pub const OIDC_KEYS_MAX: usize = 64;
/// Tokens whose signature was verified that are remembered until they end: two minutes of a
/// thousand logins a second.
pub const OIDC_VERIFIED_MAX: usize = 120_000;
/// Logins that wait for fresh keys of the provider at the same time.
pub const OIDC_WAITING_MAX: usize = 200;
/// Logout messages that are remembered, so that none counts twice.
pub const OIDC_LOGOUTS_MAX: usize = 10_000;
/// Time in which somebody must come back from the OpenID provider's own page.
pub const OIDC_LOGIN_TIMEOUT: Duration = Duration::from_secs(900);
/// App passwords of one mailbox: every program of every device of a person, and some forgotten.
pub const APP_PASSWORDS_MAX: usize = 50;
/// Characters of the name of an app password.
pub const LOGIN_NAME_CHARACTERS_MAX: usize = 64;
/// Letters and digits of an app password, five bits each: nobody guesses 100 bits, so that a
/// keyed hash is enough to keep it.
pub const APP_PASSWORD_LETTERS: usize = 20;
/// Days until an app password ends, at most.
pub const APP_PASSWORD_DAYS_MAX: u32 = 3_650;
/// Holders of one mailbox: a practice has a dozen, a hospital's service some dozens.
pub const HOLDERS_MAX: usize = 200;
/// Mailboxes that one professional holds.
pub const HELD_MAX: usize = 200;
/// How often a last login or a last use is written at most: more often would be a disk sync for
/// each connection of a telephone, and nobody decides anything by minutes.
pub const LAST_LOGIN_EVERY: Duration = Duration::from_secs(3_600);
/// Mailboxes whose last login is kept in memory, so that most logins read no row.
pub const LAST_LOGINS_KEPT: usize = 100_000;
/// Networks that a mailbox is used from and that are remembered: home, work, telephone, and some.
pub const USUAL_NETWORKS_MAX: usize = 8;
/// Recovery codes that are made together.
pub const RECOVERY_CODES: usize = 10;
/// Letters and digits of a recovery code, five bits each: 80 bits, and typed by hand.
pub const RECOVERY_CODE_LETTERS: usize = 16;
/// People whose password was right a short while ago and is remembered, as a keyed hash.
pub const LOGINS_REMEMBERED_MAX: usize = 50_000;
/// Ways to write their login name that are remembered of one of them.
pub const LOGIN_SPELLINGS_REMEMBERED_MAX: usize = 16;
/// Octets of a login name that is looked for in a directory.
pub const LOGIN_NAME_OCTETS_MAX: usize = 320;
/// Octets of a directory's answer to one question.
pub const LDAP_ANSWER_OCTETS_MAX: usize = 1_048_576;
/// Levels of an LDAP message; a search result has six.
pub const LDAP_DEPTH_MAX: usize = 16;
/// Octets of a file with a password.
pub const PASSWORD_FILE_OCTETS_MAX: u64 = 4_096;
/// Mailboxes that one entry of a directory names.
pub const LDAP_ADDRESSES_MAX: usize = 100;
/// Entries of a directory that may show OpenPGP certificates for one address.
pub const LDAP_CERTIFICATE_ENTRIES_MAX: usize = 5;
/// Values of all of them that are looked at.
pub const LDAP_CERTIFICATES_MAX: usize = 20;
/// Characters of a name that a directory gives to somebody.
pub const LDAP_NAME_CHARACTERS_MAX: usize = 200;
/// Levels of groups in groups.
pub const LDAP_GROUP_LEVELS_MAX: usize = 10;
/// Groups of one person that are looked at, on all levels.
pub const LDAP_GROUPS_MAX: usize = 1_000;
/// Groups that one question asks about.
pub const LDAP_GROUPS_PER_QUESTION: usize = 50;
/// Octets of a filter of the configuration.
pub const LDAP_FILTER_OCTETS_MAX: usize = 4_096;
/// Levels of such a filter's brackets.
pub const LDAP_TEMPLATE_DEPTH_MAX: usize = 20;
// Logging in.
/// Octets of one response of a SASL exchange, without base64: a bearer token with signed claims
/// has some thousand.
pub const SASL_RESPONSE_OCTETS_MAX: usize = 16_384;
/// Octets of a line that carries one in base64, at the doors whose protocol has no limit of its
/// own; SMTP has [`SMTP_AUTH_LINE_OCTETS_MAX`]. It is all that a stranger may send at once: a token
/// of Pro Santé Connect has less than 2,000 octets.
pub const SASL_LINE_OCTETS_MAX: usize = 8_192;
/// Octets of a login name in a SASL exchange: an address has at most 254.
pub const SASL_NAME_OCTETS_MAX: usize = 512;
/// Octets of a client's nonce in SCRAM; clients send 18 to 64.
pub const SCRAM_NONCE_OCTETS_MAX: usize = 256;
/// Octets of a SCRAM salt that is made up for a name that nobody has; as long as the real ones.
pub const SCRAM_SALT_OCTETS: usize = 16;
/// Rounds of PBKDF2 under the SCRAM keys of a password, and that are told for a name that nobody
/// has. The client computes them at each login: a telephone takes a tenth of a second
/// (RFC 7677 §4 asks for 4096 at least). Cyrus SASL, which mbsync and mutt use, refuses to compute
/// more than 65,536.
pub const SCRAM_ITERATIONS: u32 = 50_000;
/// Sessions of people and software that may be open at the same time at all doors.
pub const LIVE_SESSIONS_MAX: usize = 100_000;
/// Cuts of sessions that are remembered, against logins that were under way; a login during which
/// more were made is refused.
pub const LIVE_SESSION_CUTS_MAX: usize = 4_096;
/// How long a session that must end may take to say so before its connection is cut.
pub const LIVE_SESSION_GRACE: Duration = Duration::from_secs(1);
/// How long a login is held at most, after failures, before its password is looked at. Mail
/// programs wait half a minute and more.
pub const LOGIN_HELD_FOR: Duration = Duration::from_secs(5);
/// Logins that are held at the same time; further ones are turned away.
pub const LOGINS_HELD_MAX: usize = 2_000;
/// One login of a lane is heard so often: a name that is guessed at from the very address where
/// its mailbox is usually opened has 172,800 guesses a day against it, and a password of ten
/// random letters stands that for thousands of years.
pub const LOGIN_LANE_PACE: Duration = Duration::from_millis(500);
/// Logins that wait in one lane: whoever is in it is heard within half a minute, and mail programs
/// wait longer than that. More than one door lets in from one address
/// ([`CONNECTIONS_PER_ADDRESS_MAX_DEFAULT`](super::CONNECTIONS_PER_ADDRESS_MAX_DEFAULT)).
pub const LOGIN_LANE_PLACES: usize = 60;
/// Logins that wait in all lanes together; strangers elsewhere have no place in any.
pub const LOGINS_IN_LANES_MAX: usize = 2_000;
/// Logins from where nobody of that name came from lately, that directories look at together.
/// Those from usual networks pass them by: a storm of guesses makes nobody wait who is at work.
pub const STRANGERS_AT_ONCE: usize = 16;
/// Wrong one-time codes of one mailbox in [`SECOND_FACTOR_WINDOW`]. A guess is right three times
/// in a million: two years of guessing for one chance in two.
pub const SECOND_FACTOR_FAILURES_MAX: u32 = 10;
/// The time in which wrong one-time codes are counted.
pub const SECOND_FACTOR_WINDOW: Duration = Duration::from_secs(900);
/// Time in which the second step of a login must follow the first one.
pub const HALF_IN_MAX: Duration = Duration::from_secs(600);
/// Passkeys of one person: devices at work, at home, and one in a safe.
pub const PASSKEYS_MAX: usize = 10;
/// Characters of a passkey's name.
pub const PASSKEY_NAME_CHARACTERS: usize = 60;
/// Time in which an authenticator answers a challenge: what WebAuthn recommends, for people who
/// must first find it.
pub const PASSKEY_CEREMONY: Duration = Duration::from_secs(300);
/// Octets of an authenticator's answer, as JSON. Without attestation it is below a thousand; the
/// credential's own name may take as many again.
pub const PASSKEY_ANSWER_OCTETS_MAX: usize = 16_384;
/// Time in which somebody who showed a second factor again may change their factors.
pub const SHOWN_AGAIN_MAX: Duration = Duration::from_secs(300);
