//! IMAP and POP3: the doors that letters are read by.
use crate::domain::limits::login::SASL_LINE_OCTETS_MAX;
use std::time::Duration;

/// Octets of one IMAP command without its literals.
pub const IMAP_LINE_OCTETS_MAX: usize = 65_536;
/// The same before login, where nothing is longer than a bearer token.
pub const IMAP_LINE_OCTETS_BEFORE_LOGIN_MAX: usize = SASL_LINE_OCTETS_MAX;
/// Octets of one literal that is not an APPEND.
pub const IMAP_LITERAL_OCTETS_MAX: usize = 65_536;
/// Octets of all parts of one command that is not an APPEND.
pub const IMAP_COMMAND_OCTETS_MAX: usize = 262_144;
/// Nested parentheses or NOT/OR keys in one command.
pub const IMAP_DEPTH_MAX: usize = 32;
/// RFC 3501 §5.4: an autologout timer is at least 30 minutes.
pub const IMAP_IDLE_TIMEOUT: Duration = Duration::from_secs(1_800);
/// Time before login.
pub const IMAP_LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Bad commands before the client is sent away.
pub const IMAP_ERRORS_MAX: usize = 50;
/// Octets of a refused IMAP command (a long line, a LITERAL+) that are read and forgotten, so
/// that the session can go on, before the connection is closed instead.
pub const IMAP_SKIPPED_OCTETS_MAX: u64 = 1_048_576;
/// Octets of all patterns of one LIST.
pub const IMAP_PATTERN_OCTETS_MAX: usize = 2_048;
/// Time in which an IMAP client must take a piece of a response (64 KiB).
pub const IMAP_WRITE_TIMEOUT: Duration = Duration::from_secs(120);
/// Time in which sessions may end after the relay was told to stop.
pub const IMAP_STOP_GRACE: Duration = Duration::from_secs(5);
/// UIDs that one response names as ranges at most, so that no line grows with the mailbox.
pub const IMAP_RANGES_PER_LINE_MAX: usize = 500;
/// Time that one IMAP command may take, but for FETCH, which has a deadline for each letter, and IDLE.
pub const IMAP_COMMAND_TIMEOUT: Duration = Duration::from_secs(1_800);
/// Decoded parts (BINARY, BINARY.SIZE) that one FETCH may ask for; each costs a pass over the letter.
pub const IMAP_BINARY_ITEMS_MAX: usize = 100;
/// Messages that one SORT or THREAD puts in order; each takes some hundred octets meanwhile.
pub const ORDERED_MESSAGES_MAX: usize = 250_000;
/// Octets of a text by which SORT compares; what differs only behind them counts as equal.
pub const SORT_KEY_OCTETS_MAX: usize = 512;
/// Octets of all texts of one SORT: those of 250,000 real subjects are a quarter of it.
pub const SORT_TEXTS_OCTETS_MAX: usize = 33_554_432;
/// Different Message-IDs of one THREAD, of the messages and of those that they answer.
pub const THREAD_IDS_MAX: usize = 1_000_000;
/// Steps that one THREAD takes to see that no message becomes its own ancestor.
pub const THREAD_STEPS_MAX: usize = 50_000_000;
/// How often a client whose command takes long hears that it goes on (RFC 9585 §3).
pub const IMAP_PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Octets of letters that one search opens before it lets another search have the processor.
pub const SEARCHED_OCTETS_AT_ONCE: u64 = 262_144;
/// Rows or summaries that one search looks at before it lets another search have the processor.
pub const SEARCHED_ROWS_AT_ONCE: usize = 512;
/// Octets of a POP3 line with its line end; RFC 2449 §4 asks for 255, and passwords and SASL
/// responses may be longer.
pub const POP3_LINE_OCTETS_MAX: usize = SASL_LINE_OCTETS_MAX;
/// Time in which a POP3 client must have logged in.
pub const POP3_LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Autologout of a POP3 session (RFC 1939 §3 asks for at least ten minutes).
pub const POP3_IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Commands that are none, after which a POP3 session ends.
pub const POP3_ERRORS_MAX: usize = 20;
/// Messages that one POP3 session sees, the oldest ones: more would be a listing of megabytes.
pub const POP3_MESSAGES_MAX: usize = 100_000;
/// Time that open POP3 sessions get when the relay stops.
pub const POP3_STOP_GRACE: Duration = Duration::from_secs(5);
/// Folders, of all mailboxes that a login sees, that one NOTIFY may watch. Each takes a row of a
/// few hundred octets in the session's memory.
pub const IMAP_NOTIFY_FOLDERS_MAX: usize = 5_000;
/// Literals in one command before login: a name and a password need two.
pub const IMAP_LITERALS_BEFORE_LOGIN_MAX: usize = 4;
/// Literals in one command; a search for an odd text has a handful.
pub const IMAP_LITERALS_MAX: usize = 100;
/// Keys of one search. Programs that look for many Message-IDs at once ask for some dozens.
pub const IMAP_SEARCH_KEYS_MAX: usize = 1_000;
/// Ranges of all sets of one command; a client that lists the gaps of a large folder has thousands.
pub const IMAP_RANGES_MAX: usize = 10_000;
/// Things that one FETCH asks of each message; the longest macro has five.
pub const IMAP_FETCH_ITEMS_MAX: usize = 100;
/// Mailboxes that one NOTIFY names.
pub const IMAP_NOTIFY_MAILBOXES_MAX: usize = 500;
/// Entries that one GETMETADATA or SETMETADATA names.
pub const IMAP_METADATA_ENTRIES_MAX: usize = 100;
/// Octets of the name of such an entry.
pub const IMAP_METADATA_NAME_OCTETS_MAX: usize = 256;
/// Patterns of one LIST; a client that restricts itself has three or four.
pub const IMAP_PATTERNS_MAX: usize = 100;
/// Capabilities that one ENABLE names; there are not twenty that can be enabled.
pub const IMAP_ENABLE_NAMES_MAX: usize = 50;
/// Resources that one SETQUOTA limits; four are defined.
pub const IMAP_QUOTA_RESOURCES_MAX: usize = 16;
/// Keys of one order; nine are defined, and each may be reversed.
pub const IMAP_SORT_KEYS_MAX: usize = 18;
/// Messages that one APPEND brings (MULTIAPPEND): none of them is there before the last has come.
pub const IMAP_APPEND_MESSAGES_MAX: usize = 100;
/// Octets of all messages that one APPEND brings: a few of the largest, or a hundred usual ones.
pub const IMAP_APPEND_OCTETS_MAX: u64 = 104_857_600;
