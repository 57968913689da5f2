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
/// Octets of letters in memory in the whole process by default: clear text, and ciphertext that
/// is not durable yet. About ten letters of the largest size at a time, thousands of usual ones;
/// and as many again for letters that are read.
pub const CLEAR_OCTETS_MAX_DEFAULT: u64 = 536_870_912;
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

/// Delivery attempts that run at the same time, by default.
pub const DELIVERIES_AT_ONCE_DEFAULT: usize = 32;
/// Of these, at one domain: a dead one must not hold every place.
pub const DELIVERIES_PER_DESTINATION_DEFAULT: usize = 8;
/// How often a letter may have passed this relay before; more is a loop. Lists and forwarders
/// bring a letter back once or twice by right.
pub const OWN_PASSES_DEFAULT: usize = 3;
/// Age at which the sender of a waiting letter is told (RFC 5321 §4.5.4.1 leaves it open).
pub const DELAY_NOTICE_DEFAULT: Duration = Duration::from_secs(14_400);
/// Octets of a document code in X-MSS-CODECDA (a LOINC or TRE code).
pub const DOCUMENT_CODE_OCTETS_MAX: usize = 64;
/// Days for which timelines and decisions are kept (six months: ANS Ref2 ECO.4.1.1 recommends it).
pub const TRACE_KEEP_DAYS_DEFAULT: u64 = 183;
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
/// How long a queue row stays leased to one attempt before another may take it.
pub const LEASE: Duration = Duration::from_secs(1_200);

/// Failed logins with one name from one network in a minute before they are put off; ten times
/// as many with any names. Never counted by name alone: a stranger could lock a clinician out.
pub const LOGINS_FAILED_PER_MINUTE_DEFAULT: u32 = 10;
/// How often the trust list is read again: additions are wanted within the hour.
pub const TRUST_REFRESH_DEFAULT: Duration = Duration::from_secs(3_600);
/// Waits before the second, third, … delivery attempt, in seconds. The first ones are short
/// because most failures between operators are restarts; RFC 5321 §4.5.4.1 asks for at least
/// 30 minutes later on.
pub const RETRY_SECONDS_DEFAULT: [u64; 8] = [60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800];
/// Age at which a letter is returned. RFC 5321 §4.5.4.1 asks for at least four to five days; a
/// medical letter that did not arrive in two must be in its sender's hands again.
pub const GIVE_UP_DEFAULT: Duration = Duration::from_secs(172_800);

/// Octets of all keys and values of one batch: a letter's rows and its small content fit many
/// times; more would make everybody else wait for one commit.
pub const BATCH_OCTETS_MAX: usize = 16_777_216;
/// Batches that share one commit.
pub const GROUP_BATCHES_MAX: usize = 1_024;
/// Octets that share one commit: what a slow disk syncs in about a tenth of a second.
pub const GROUP_OCTETS_MAX: usize = 8_388_608;
/// Octets of batches that wait for a commit; over it, new ones are refused for now, because a
/// disk that hangs must not fill the memory.
pub const WAITING_OCTETS_MAX: usize = 268_435_456;
/// Octets of the values of one page of a scan, whatever number of rows was asked for.
pub const SCAN_OCTETS_MAX: usize = 67_108_864;
/// Octets of a sealed content that rides in the batch of its first owner; larger ones are files.
/// Such a letter costs one sync in all, and few are larger.
pub const BLOB_INLINE_OCTETS_MAX: usize = 131_072;
/// Octets of one row of such a content, below the limit of a value.
pub const BLOB_CHUNK_OCTETS: usize = 61_440;
/// Threads that write or read the files of large contents at the same time.
pub const BLOB_THREADS: usize = 16;
/// Octets of one line on the control socket, request or answer's beginning.
pub const CONTROL_LINE_OCTETS_MAX: usize = 65_536;
/// Octets of an answer on the control socket: a list of every mailbox of a large operator.
pub const CONTROL_ANSWER_OCTETS_MAX: u64 = 268_435_456;
/// Administrators' connections at a time.
pub const CONTROL_CONNECTIONS_MAX: usize = 8;
/// Time in which a request on the control socket must arrive.
pub const CONTROL_LINE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which the relay answers an administrator; a year's statistics take a while.
pub const CONTROL_ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// Characters of a password that an administrator sets.
pub const PASSWORD_CHARACTERS_MIN: usize = 8;
/// The longest password: hashing a longer one would only cost time.
pub const PASSWORD_CHARACTERS_MAX: usize = 256;
/// Characters of what people call a mailbox.
pub const DISPLAY_NAME_CHARACTERS_MAX: usize = 128;
/// Octets of a refused IMAP command (a long line, a LITERAL+) that are read and forgotten, so
/// that the session can go on, before the connection is closed instead.
pub const IMAP_SKIPPED_OCTETS_MAX: u64 = 1_048_576;
/// Octets of all patterns of one LIST.
pub const IMAP_PATTERN_OCTETS_MAX: usize = 2_048;
/// Time in which an IMAP client must take a piece of a response (64 KiB).
pub const IMAP_WRITE_TIMEOUT: Duration = Duration::from_secs(120);
/// Time in which sessions may end after the relay was told to stop.
pub const IMAP_STOP_GRACE: Duration = Duration::from_secs(5);
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
/// Letters that are looked through to learn whether an exchange was closed later.
pub const WEB_EXCHANGE_LOOKBACK: usize = 1_000;
/// Administrators' passwords that are checked at the same time: each costs some 20 MB.
pub const PASSWORD_CHECKS_AT_ONCE: usize = 2;
/// Network addresses whose failed administrator logins are remembered.
pub const THROTTLED_ADDRESSES_MAX: usize = 10_000;
/// Connections to the metrics page; its readers are few machines.
pub const METRICS_CONNECTIONS_MAX: usize = 32;
/// Octets of a directory extraction, unpacked: the real one has 89 MB.
pub const EXTRACTION_OCTETS_MAX: u64 = 1_073_741_824;
/// Mailboxes of a directory extraction: the real one has 535,928.
pub const EXTRACTION_MAILBOXES_MAX: usize = 4_000_000;
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
/// Octets that one COPY puts into one batch. It happens whole or not at all, so it must fit
/// below [`BATCH_OCTETS_MAX`], with some room for what is counted roughly.
pub const TRANSFER_OCTETS_MAX: usize = 12_582_912;
/// Octets of the sealed summaries of one letter for all its recipients here: they share a batch
/// with the letter and its queue rows. Over it, each mailbox gets a shorter summary.
pub const DELIVERED_SUMMARIES_OCTETS_MAX: usize = 8_388_608;
/// How long a mailbox knows a letter again that another relay sends a second time. Relays give
/// up after five days or so; what comes later was sent again on purpose.
pub const DUPLICATES_KNOWN_FOR: Duration = Duration::from_secs(864_000);
/// Letters that were known for too long and are looked for when another letter arrives.
pub const DUPLICATES_SWEPT_AT_ONCE: usize = 16;
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
/// Characters of an administrator's reason in the journal.
pub const REASON_CHARACTERS_MAX: usize = 500;
/// Files in the archive of a structured letter. A real one has some dozens.
pub const ARCHIVE_ENTRIES_MAX: usize = 1_000;
/// Octets of a file name in such an archive; the profile's have at most 128.
pub const ARCHIVE_NAME_OCTETS_MAX: usize = 512;
/// Octets of one unpacked file of such an archive: more than any letter brings.
pub const ARCHIVE_ENTRY_OCTETS_MAX: u64 = 50_331_648;
/// Octets of all unpacked files of one letter: a fraction of a second of unpacking.
pub const ARCHIVE_OCTETS_MAX: u64 = 67_108_864;
/// How much larger than its packed form a file may be, beyond a first megabyte. XML of real
/// documents shrinks to a twentieth; a bomb to a thousandth.
pub const ARCHIVE_RATIO_MAX: u64 = 200;
/// Octets of `METADATA.XML`: some kilobytes for each document.
pub const METADATA_OCTETS_MAX: usize = 4_194_304;
/// Octets at the beginning of a document in which its header is looked for.
pub const DOCUMENT_HEADER_OCTETS_MAX: usize = 1_048_576;
/// Elements inside each other in the XML of a structured letter; a document's body has twenty.
pub const XML_DEPTH_MAX: usize = 64;
/// Tags, texts and references that are read of one XML file.
pub const XML_STEPS_MAX: usize = 500_000;
/// Attributes of one element, namespaces included.
pub const XML_ATTRIBUTES_MAX: usize = 64;
/// Octets of one value (a slot, an attribute) that is read.
pub const XML_VALUE_OCTETS_MAX: usize = 8_192;
/// Documents of one letter that are judged.
pub const DOCUMENTS_MAX: usize = 100;
/// Facts about documents that one letter may leave in the ledger.
pub const DOCUMENT_FACTS_MAX: usize = 20;
/// Archives of one letter that are looked into; the profile has one.
pub const ARCHIVES_MAX: usize = 4;
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
/// Peers whose path to an anchor is remembered between two of their connections.
pub const PEERS_JUDGED_MAX: usize = 2_000;
/// Octets of one text in a letter's timeline: a reply has 500 characters at most.
pub const TIMELINE_TEXT_OCTETS_MAX: usize = 1_000;
/// Letters with one Message-ID that are traced. An honest one has a handful: one for each time
/// that it was sent.
pub const TRACED_LETTERS_MAX: usize = 100;
/// Rows of old timelines that one commit removes, so that no letter waits long behind it.
pub const TIMELINE_SWEPT_AT_ONCE: usize = 500;
/// Such commits in one sweep; the next sweep goes on.
pub const TIMELINE_SWEEPS_MAX: usize = 400;
/// Octets of the machine's part of a report or receipt that are read on its way.
pub const RECEIPT_OCTETS_MAX: usize = 65_536;
/// Recipients of one report that are read on its way: as many as a letter may have by default.
pub const RECEIPT_RECIPIENTS_MAX: usize = 100;
/// Octets of one field of a report that are kept.
pub const RECEIPT_FIELD_OCTETS_MAX: usize = 500;
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
/// How often revocation is asked about again on one open connection; mostly answered from memory.
pub const REVOCATION_ASKED_EVERY: Duration = Duration::from_secs(60);
/// The time for one whole CRL of up to `CRL_OCTETS_MAX` octets. Nobody waits for it so long.
pub const CRL_FETCH_TIMEOUT: Duration = Duration::from_secs(120);
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
/// Pages of a letter's timeline that are read from its beginning; then its newest page follows.
/// Two days of attempts every minute, each with its report, are four.
pub const TIMELINE_PAGES_MAX: usize = 10;

/// Message-IDs of a References field that a summary keeps: the root, and the last ones.
pub const REFERENCES_MAX: usize = 100;
/// Characters of a preview (RFC 8970 §3.1).
pub const PREVIEW_CHARS_MAX: usize = 200;
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
/// Octets of a row of the search index before it is sealed; one holds some 20 to 60 letters.
pub const INDEX_ROW_OCTETS_MAX: usize = 24_576;
/// Signatures that are gathered before they are written to the search index.
pub const INDEX_LEARNT_AT_ONCE: usize = 256;
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

/// Entries of one list of rights. With the longest addresses they fit one row.
pub const ACL_ENTRIES_MAX: usize = 150;
/// Mailboxes of others that one login is shown. A service has a handful, a hospital's switchboard
/// some dozens.
pub const OTHERS_MAX: usize = 500;
/// Subscriptions of one login to folders of others: they are one row.
pub const SUBSCRIPTIONS_KEPT_MAX: usize = 1_500;
/// Octets of one annotation's value.
pub const ANNOTATION_OCTETS_MAX: usize = 10_240;
/// Annotations of one folder, shared or one reader's.
pub const ANNOTATIONS_MAX: usize = 100;
/// Octets of all of these: they are one row.
pub const ANNOTATIONS_OCTETS_MAX: usize = 50_000;
/// Octets of subscribed names that are remembered beyond their folders; in the same row.
pub const SUBSCRIBED_NAMES_OCTETS_MAX: usize = 25_000;
/// Steps of a mailbox's change log that are kept. Clients that were away for more are told what
/// changed from the messages themselves, which takes longer.
pub const CHANGES_KEPT: u64 = 100_000;
/// Octets of the sets of message numbers that are kept in memory for folders in use.
pub const CONTENTS_OCTETS_MAX: usize = 67_108_864;
/// Rows of expunged messages that one commit removes when their time has come.
pub const HELD_SWEPT_AT_ONCE: usize = 200;
/// Such commits in one sweep; the next sweep goes on.
pub const HELD_SWEEPS_MAX: usize = 2_000;

/// Octets of one Sieve script: several hundred rules. Sealed, it still fits a row.
pub const SIEVE_SCRIPT_OCTETS_MAX: usize = 49_152;
/// Sieve scripts of one mailbox; one of them is active.
pub const SIEVE_SCRIPTS_MAX: usize = 16;
/// Octets of a script's name (RFC 5804 §1.6 asks for 128 characters).
pub const SIEVE_NAME_OCTETS_MAX: usize = 512;
/// Blocks, and tests, inside each other in a Sieve script (RFC 5228 §2.10.5 asks for 15).
pub const SIEVE_NESTING_MAX: usize = 32;
/// Entries in one string list of a Sieve script.
pub const SIEVE_LIST_MAX: usize = 1_000;
/// Actions that one letter may cause: fileinto, keep, redirect.
pub const SIEVE_ACTIONS_MAX: usize = 16;
/// Work that one script may do on one letter, in octets looked at. What it takes in time was not
/// measured in a release build.
pub const SIEVE_STEPS_MAX: u64 = 100_000_000;
/// Octets that the value of a Sieve variable keeps (RFC 5229 §3 asks for 4,000 characters).
pub const SIEVE_VARIABLE_OCTETS_MAX: usize = 16_384;
/// Variables of a Sieve script (RFC 5229 §3 asks for 128).
pub const SIEVE_VARIABLES_MAX: usize = 128;
/// Compiled scripts that are kept in memory.
pub const SIEVE_COMPILED_MAX: usize = 1_000;
/// Octets of an automatic answer's text.
pub const ANSWER_OCTETS_MAX: usize = 32_768;
/// Octets of the subject that a script gives to its answers.
pub const ANSWER_SUBJECT_OCTETS_MAX: usize = 1_000;
/// Message-IDs of a conversation that an automatic answer names.
pub const ANSWER_REFERENCES_MAX: usize = 10;
/// Rows about senders who were answered that are looked at, and removed when they are over, with
/// each answer.
pub const ANSWERED_SWEPT_AT_ONCE: usize = 50;
/// How often a change of a mailbox's scripts is built anew when others changed them under it.
pub const SIEVE_ATTEMPTS_MAX: usize = 20;
/// Octets of a ManageSieve command before login.
pub const MANAGESIEVE_STRANGER_OCTETS_MAX: usize = SASL_LINE_OCTETS_MAX;
/// Octets of a ManageSieve command after login: a script, its name, and the words around them.
pub const MANAGESIEVE_COMMAND_OCTETS_MAX: usize = SIEVE_SCRIPT_OCTETS_MAX + 4_096;
/// Octets of a script that is too large and is read to its end, so that the client hears why.
pub const MANAGESIEVE_SKIPPED_OCTETS_MAX: u64 = 4_194_304;
/// Words of a ManageSieve command; no command has more than four.
pub const MANAGESIEVE_WORDS_MAX: usize = 8;
/// Bad commands before a ManageSieve client is sent away.
pub const MANAGESIEVE_ERRORS_MAX: usize = 20;
/// Time in which a ManageSieve client must log in.
pub const MANAGESIEVE_LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Time in which a ManageSieve client must take an answer.
pub const MANAGESIEVE_WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time in which ManageSieve sessions may end after the relay was told to stop.
pub const MANAGESIEVE_STOP_GRACE: Duration = Duration::from_secs(5);
/// Octets of what an absence says besides: a few paragraphs, in each automatic answer.
pub const ABSENCE_TEXT_OCTETS_MAX: usize = 4_096;
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
/// Octets of an Autodiscover question; Outlook's are some hundreds.
pub const AUTODISCOVER_OCTETS_MAX: usize = 16_384;
/// Elements inside each other in such a question; it has three.
pub const AUTODISCOVER_DEPTH_MAX: usize = 8;
/// Octets of what is typed into the search box of the pages.
pub const WEB_FINDER_OCTETS_MAX: usize = 200;
/// Mailboxes that the search box shows: more than that is no answer.
pub const WEB_FOUND_MAX: usize = 50;
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
/// People whose password was right a short while ago and is remembered, as a keyed hash.
pub const LOGINS_REMEMBERED_MAX: usize = 50_000;
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
/// Mailboxes on one page of the administrators' list.
pub const ADMIN_MAILBOXES_SHOWN: usize = 50;
/// Reads of `LIFE_SWEPT_AT_ONCE` mailboxes that one page of a search costs; the next page goes on.
pub const ADMIN_MAILBOX_READS_MAX: usize = 25;
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
/// How long a login is held at most, after failures, before its password is looked at. Mail
/// programs wait half a minute and more.
pub const LOGIN_HELD_FOR: Duration = Duration::from_secs(5);
/// Logins that are held at the same time; further ones are turned away.
pub const LOGINS_HELD_MAX: usize = 2_000;
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
/// Letters that one letter answers, at most, for the mark of who answered.
pub const ANSWERS_MAX: usize = 4;
/// Places in one team mailbox that are marked as answered for one letter: copies of it lie in a few
/// folders, and whoever sends thousands under one Message-ID has a few of them marked.
pub const ANSWERED_PLACES_MAX: usize = 16;
/// Answers whose marks are set at the same time; those of later letters are left out.
pub const ANSWERED_AT_ONCE: usize = 256;
/// Correspondents that one search in the directory's copy looks up where it finds very many.
pub const ADDRESSBOOK_KNOWN_MAX: usize = 256;
/// Accounts that one commit of a rewrap changes: few enough that a letter beside it waits for some
/// hundredths of a second, many enough that commits are not what takes the time.
pub const REWRAP_ROWS_AT_ONCE: usize = 500;
/// Characters of a name, a door or a reason in the ledger of key uses.
pub const AUDIT_WORDS_MAX: usize = 200;
/// Entries that one commit removes from the front of the ledger of key uses.
pub const AUDIT_PRUNED_AT_ONCE: usize = 10_000;
/// Entries in one exported file of the ledger of key uses: some 35 MB. A longer one is exported
/// in parts, each with a signature of its own.
pub const AUDIT_EXPORTED_AT_ONCE: u64 = 100_000;
/// Octets of a letter up to which it is opened as a whole when it is read: one reading and one opening
/// cost less than many, and this much a reader may hold. Larger ones leave in pieces.
pub const WHOLE_LETTER_OCTETS_MAX: u64 = 1_048_576;
/// Octets of a large letter that are opened at once: large enough that finding them does not count.
pub const PIECE_OCTETS: u64 = 262_144;
/// Octets of memory for a large letter that leaves in pieces: a piece, sealed and in clear, the
/// first octets of its file, and what is made of its header.
pub const READING_OCTETS: u64 = 4 * PIECE_OCTETS;
/// Damaged places of contents that are remembered. A disk with more has to be replaced.
pub const DAMAGED_PLACES_MAX: usize = 4_096;

/// Forms of one letter: one as it came, one for all who are shown and open it with a key of their
/// own, one for each who is not shown. Their numbers fit into an octet.
pub const FORMS_MAX: usize = 200;
/// Octets of an OpenPGP certificate that is kept, without what others signed on it: two of them
/// must fit in one value of the store.
pub const OPENPGP_KEPT_OCTETS_MAX: usize = 24_576;
/// Octets of certificates that come from outside at once: a key ring, the answer of a directory.
pub const OPENPGP_RING_OCTETS_MAX: usize = 1_048_576;
/// Certificates in one key ring.
pub const OPENPGP_RING_MAX: usize = 2_000;
/// User ids and subkeys of one certificate: a person has a handful.
pub const OPENPGP_PARTS_MAX: usize = 64;
/// Signatures by its owner that are kept of each part of a certificate: an extension a month for a
/// year and more.
pub const OPENPGP_SIGNATURES_MAX: usize = 16;
/// How long a host outside may take to answer with a certificate.
pub const WKD_TIMEOUT: Duration = Duration::from_secs(10);
/// Hosts outside that are asked for certificates at the same time.
pub const WKD_AT_ONCE: usize = 16;
/// How long it is remembered that an address has no certificate.
pub const WKD_NONE_FOR: Duration = Duration::from_secs(3_600);
/// How long a host that did not answer is not asked for the same address again.
pub const WKD_AWAY_FOR: Duration = Duration::from_secs(60);
/// Addresses without a certificate that are remembered.
pub const WKD_NONE_REMEMBERED_MAX: usize = 100_000;
