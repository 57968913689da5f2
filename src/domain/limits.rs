//! Every limit of the relay, with its unit and its reason. Operators change the ones that are
//! keys of the configuration file; the others protect the code itself.
use std::time::Duration;

/// Octets of one SMTP command line with its CRLF. RFC 5321 §4.5.3.1.4 says 512; DSN, SMTPUTF8
/// and AUTH add to it (RFC 4954 §4 asks for 12288 in an AUTH exchange).
pub const SMTP_COMMAND_OCTETS_MAX: usize = 2048;
/// Octets of one line of an AUTH exchange (RFC 4954 §4).
pub const SMTP_AUTH_LINE_OCTETS_MAX: usize = 12_288;
/// Octets of one content line with its CRLF. RFC 5321 §4.5.3.1.6 says 1000; real software sends
/// longer base64 and HTML lines, so we accept what does no harm.
pub const CONTENT_LINE_OCTETS_MAX: usize = 65_536;
/// Octets of one letter by default: the patient inbox of the trust space takes 25 MB in all.
pub const MESSAGE_OCTETS_MAX_DEFAULT: u64 = 26_214_400;
/// Recipients of one transaction. RFC 5321 §4.5.3.1.8 asks for at least 100.
pub const RECIPIENTS_MAX_DEFAULT: usize = 100;
/// Octets of a message's header section; more is a parser attack (FEATURES: CVE-2024-23184).
pub const HEADER_OCTETS_MAX: usize = 1_048_576;
/// Hops before we call it a loop (RFC 5321 §6.3 asks for at least 100).
pub const RECEIVED_FIELDS_MAX: usize = 100;
/// MIME parts that the summary describes; the rest of the letter is kept whole as one part.
pub const MIME_PARTS_MAX: usize = 1_000;
/// Depth of nested MIME parts that the summary describes.
pub const MIME_DEPTH_MAX: usize = 20;
/// Octets of a sealed summary; over it, the letter is listed with a safe envelope.
pub const SUMMARY_OCTETS_MAX: usize = 262_144;

/// Seconds to wait for a command. RFC 5321 §4.5.3.2.7 asks for five minutes.
pub const SMTP_COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
/// Time for a TLS handshake; a peer that needs more is not a mail server.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time in which one whole command line or literal must arrive once it has begun.
pub const LINE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time in which a whole letter must arrive.
pub const DATA_TIMEOUT: Duration = Duration::from_secs(900);
/// Bad commands before the peer is sent away.
pub const SMTP_ERRORS_MAX: usize = 20;
/// Failed logins on one connection before it is closed.
pub const LOGIN_FAILURES_MAX: usize = 3;
/// Commands on one SMTP connection before it is closed, so that nobody keeps a task for ever.
pub const SMTP_COMMANDS_MAX: usize = 100_000;
/// Letters on one SMTP connection.
pub const SMTP_LETTERS_MAX: usize = 10_000;

/// Octets of one IMAP command without its literals.
pub const IMAP_LINE_OCTETS_MAX: usize = 65_536;
/// The same before login, where nobody needs long lines.
pub const IMAP_LINE_OCTETS_BEFORE_LOGIN_MAX: usize = 8_192;
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
/// Folders of one mailbox.
pub const FOLDERS_MAX: usize = 1_000;
/// Octets of a folder name.
pub const FOLDER_NAME_OCTETS_MAX: usize = 512;
/// Keywords on one message.
pub const KEYWORDS_MAX: usize = 64;
/// Octets of one keyword.
pub const KEYWORD_OCTETS_MAX: usize = 128;

/// Connections of one door by default.
pub const CONNECTIONS_MAX_DEFAULT: usize = 2_000;
/// Connections of one door from one address by default.
pub const CONNECTIONS_PER_ADDRESS_MAX_DEFAULT: usize = 50;
/// Octets of clear text in memory in the whole process by default.
pub const CLEAR_OCTETS_MAX_DEFAULT: u64 = 268_435_456;
/// How long a letter waits for that memory before it is put off with 4xx.
pub const CLEAR_WAIT: Duration = Duration::from_secs(30);

/// Octets of one stored value (one row).
pub const VALUE_OCTETS_MAX: usize = 65_536;
/// Rows of one page of a scan.
pub const SCAN_ROWS_MAX: usize = 1_000;

/// Octets of the trust list: the real one has 3.7 MB.
pub const TRUST_LIST_OCTETS_MAX: usize = 33_554_432;
/// Octets of one request to a web page, but for an answer with attachments.
pub const WEB_BODY_OCTETS_MAX: usize = 65_536;
/// Letters that the inbox page lists at once.
pub const INBOX_PAGE_LETTERS: usize = 50;

/// Delivery attempts that run at the same time.
pub const DELIVERIES_AT_ONCE: usize = 32;
/// How long a queue row stays leased to one attempt before another may take it.
pub const LEASE: Duration = Duration::from_secs(1_200);

/// Addresses read from one header field. No honest letter has more, and address headers of a
/// megabyte are an attack (CVE-2024-23184).
pub const ADDRESSES_PER_FIELD_MAX: usize = 1_000;
/// Words read in one element of an address list; a display name has a dozen.
pub const ADDRESS_WORDS_MAX: usize = 1_000;
/// Parameters read from one MIME field, continuations counted each (CVE-2026-27859).
pub const MIME_PARAMETERS_MAX: usize = 256;
/// Octets of all parameter values of one MIME field.
pub const MIME_PARAMETERS_OCTETS_MAX: usize = 16_384;
/// Octets of one decoded text that a page shows; the letter itself can be fetched whole.
pub const SHOWN_TEXT_OCTETS_MAX: usize = 1_048_576;
/// Octets of decoded text of one letter that a search looks through.
pub const SEARCHED_TEXT_OCTETS_MAX: usize = 8_388_608;
