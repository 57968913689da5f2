//! SMTP: both doors that take letters, and what we say to others.
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
/// Commands on one SMTP connection before it is closed, so that nobody keeps a task for ever.
pub const SMTP_COMMANDS_MAX: usize = 100_000;
/// Letters on one SMTP connection.
pub const SMTP_LETTERS_MAX: usize = 10_000;
/// Connections of one door by default.
pub const CONNECTIONS_MAX_DEFAULT: usize = 2_000;
/// Connections of one door from one address by default.
pub const CONNECTIONS_PER_ADDRESS_MAX_DEFAULT: usize = 50;
/// How many times the largest letter a client may go on to send once its letter is refused. We
/// read to the real end so that no octet of content is taken for a command, but not for ever.
pub const SMTP_DISCARDED_LETTERS_MAX: u64 = 4;
/// Commands before a login or an operator's certificate vouches for the client. Twice EHLO,
/// STARTTLS, AUTH and some errors fit; a stranger who chats for hours does not.
pub const SMTP_STRANGER_COMMANDS_MAX: usize = 50;
/// Octets that an SMTP session reads at once: one TLS record.
pub const SMTP_READ_OCTETS: usize = 16_384;
/// How long open SMTP sessions may go on with their letter when the relay stops.
pub const SMTP_STOP_GRACE: Duration = Duration::from_secs(10);
/// Recipients that are refused on one SMTP connection before nobody is asked about more of them:
/// whoever tries names to see which exist has to come again and again.
pub const SMTP_REFUSED_RECIPIENTS_MAX: usize = 100;
/// How long another operator may stand at its door before its certificate vouches for it. STARTTLS
/// and two EHLO take seconds, with a slow answer about revocation too.
pub const SMTP_STRANGER_LIFETIME: Duration = Duration::from_secs(60);
/// Rows that the refusals of one operator, or of one mailbox, may write in a second.
pub const REFUSALS_OF_ONE_A_SECOND: u64 = 10;
/// The same in a day.
pub const REFUSALS_OF_ONE_A_DAY: u64 = 20_000;
/// Operators and mailboxes whose refusals of the day are counted.
pub const REFUSED_ONES_MAX: usize = 10_000;
