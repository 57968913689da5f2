//! Whole dialogues over memory, with a real mailbox behind them.
mod clients;
mod condstore;
mod conformance;
mod damage;
mod enabling;
mod filing;
mod idle;
mod items;
mod large;
mod searching;
mod notify;
mod qresync;
mod team;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::DuplexStream;

use crate::domain::address::Address;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::login::Logins;
use crate::flow::login::fake;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::ClearMemory;
use crate::flow::office::ClearPermit;
use crate::flow::reading::Need;
use crate::flow::reading::Reading;
use crate::infra::clock::ManualClock;
use crate::infra::directory::Account;
use crate::infra::keys::Keyring;
use crate::infra::net::Stop;
use crate::infra::net::StopHandle;
use crate::infra::store::Batch;
use crate::infra::store::Store;
use crate::infra::store::blobs::Blobs;
use crate::infra::store::simulated::SimulatedStore;
use crate::server::imap::capabilities::Offer;
use crate::server::imap::line::Line;
use crate::server::imap::line::Times;
use crate::server::imap::session::Ending;
use crate::server::imap::session::Safety;
use crate::server::imap::session::Session;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Other;

const LETTER: &str = "From: Dr A <a@hopital.mssante.test>\r\nTo: b@cabinet.mssante.test\r\n\
    Subject: =?UTF-8?Q?R=C3=A9sultat?=\r\nDate: Sat, 21 Nov 2026 10:00:00 +0100\r\n\
    Message-ID: <1@x>\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
    Bonjour\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\
    Content-Disposition: attachment; filename=a.pdf\r\n\
    Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--b--\r\n";

const MESSAGE_OCTETS_MAX: u64 = 100_000;

/// A mailbox with its standard folders, behind a desk that knows one password.
struct House {
    desk: Arc<OneDesk>,
    store: Arc<SimulatedStore>,
    stop: Option<StopHandle>,
    stopped: Stop,
    folder: tempfile::TempDir,
}

struct OneDesk {
    mailboxes: Mailboxes,
    account: Account,
    logins: Logins,
    memory: ClearMemory,
    reading: ClearMemory,
    times: Times,
    offer: Offer,
}

impl Desk for OneDesk {
    type Shelf = OpenMailbox;

    fn logins(&self) -> &Logins {
        &self.logins
    }

    async fn open(&self, account: &Account) -> Result<OpenMailbox, Refusal> {
        self.mailboxes.open(account).await.map_err(|_| Refusal::DependencyFailed)
    }

    async fn reserve(&self, octets: u64) -> Result<ClearPermit, Refusal> {
        self.memory.reserve(octets).await
    }

    async fn reserve_reading(&self, octets: u64) -> Result<ClearPermit, Refusal> {
        self.reading.reserve(octets).await
    }

    async fn read(
        &self,
        shelf: &OpenMailbox,
        entry: &Entry,
        need: Need,
    ) -> Result<Reading, MailboxError> {
        Reading::begin(shelf.sealed(entry).await?, &self.reading, need).await
    }

    fn cut_short(&self, _entry: &Entry, _error: &MailboxError) {}

    fn message_octets_max(&self) -> u64 {
        MESSAGE_OCTETS_MAX
    }

    fn times(&self) -> Times {
        self.times
    }

    fn offer(&self) -> Offer {
        self.offer
    }

    async fn others(&self, _own: &OpenMailbox) -> Result<Vec<Other<OpenMailbox>>, MailboxError> {
        Ok(Vec::new())
    }
}

impl House {
    async fn new() -> Self {
        Self::with_times(Times {
            login: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            line: Duration::from_secs(60),
            data: Duration::from_secs(60),
        })
        .await
    }

    async fn with_times(times: Times) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SimulatedStore::new(1));
        let truth: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let blobs = Blobs::open(Arc::clone(&truth), folder.path()).await.unwrap();
        let keys = Arc::new(Keyring::with_master(Secret::new([7; 32])));
        let now = Timestamp::from_seconds(1_795_388_399);
        let clock = Arc::new(ManualClock::new(now));
        let id = MailboxId::from_bytes([1; 16]);
        let new = keys.generate(&id, "a", now).unwrap();
        let account = Account {
            id,
            address: Address::parse("a@hopital.mssante.test").unwrap(),
            kind: MailboxKind::Personal,
            listing: Listing::Public,
            suspended: false,
            display_name: "Dr A".to_owned(),
            certificate: new.certificate,
            wrapped_keys: new.wrapped,
            created: now,
        };
        let mailboxes = Mailboxes::new(truth, blobs, keys, clock);
        mailboxes.create(&account).await.unwrap();
        let memory = ClearMemory::new(10_000_000);
        let (stop, stopped) = Stop::new();
        let reading = ClearMemory::new(10_000_000);
        let offer = Offer::everything(MESSAGE_OCTETS_MAX);
        let logins = fake::logins(std::slice::from_ref(&account), "secret");
        let desk = Arc::new(OneDesk { mailboxes, account, logins, memory, reading, times, offer });
        Self { desk, store, stop: Some(stop), stopped, folder }
    }

    /// A client that has read the greeting.
    async fn connect(&self, safety: Safety) -> Client {
        self.connect_through(safety, 1 << 20).await
    }

    /// The same with so much room between both ends.
    async fn connect_through(&self, safety: Safety, octets: usize) -> Client {
        let (near, far) = tokio::io::duplex(octets);
        let (desk, stop) = (Arc::clone(&self.desk), self.stopped.clone());
        tokio::spawn(async move {
            let line = Line::new(far, stop, desk.times());
            let count = |_: bool| {};
            let mut session = Box::new(Session::new(&*desk, line, safety, None, &count));
            session.greet();
            if let Ending::StartTls(mut stream) = session.run().await {
                let _ = stream.write_all(b"<TLS>").await;
            }
        });
        let mut client = Client { stream: near, read: Vec::new() };
        client.read_until(|text| text.ends_with("\r\n")).await;
        client
    }

    async fn login(&self) -> Client {
        let mut client = self.connect(Safety::Tls).await;
        client.ok("a LOGIN a@hopital.mssante.test secret").await;
        client
    }

    /// A client in INBOX with so many letters.
    async fn inbox(&self, letters: usize) -> Client {
        let mut client = self.login().await;
        for _ in 0..letters {
            client.append("INBOX", LETTER).await;
        }
        client.ok("a SELECT inbox").await;
        client
    }
}

struct Client {
    stream: DuplexStream,
    read: Vec<u8>,
}

impl Client {
    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `is_enough`, or the end; answers what was read.
    async fn read_until(&mut self, is_enough: impl Fn(&str) -> bool) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            if is_enough(&text) {
                self.read.clear();
                return text;
            }
            let reading = self.stream.read_buf(&mut self.read);
            let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
            match read.unwrap_or_else(|_| panic!("no answer; so far {text:?}")) {
                Ok(0) | Err(_) => return format!("{text}<closed>"),
                Ok(_) => {}
            }
        }
    }

    /// Says one command, whose tag is its first word, and reads up to its tagged line.
    async fn say(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        let tag = format!("{} ", command.split(' ').next().unwrap());
        self.read_until(|text| {
            text.ends_with("\r\n") && text.lines().any(|line| line.starts_with(&tag))
        })
        .await
    }

    async fn ok(&mut self, command: &str) -> String {
        let answer = self.say(command).await;
        let last = answer.lines().last().unwrap_or_default();
        assert!(last.contains(" OK "), "{command} is answered {answer}");
        answer
    }

    async fn append(&mut self, folder: &str, letter: &str) -> String {
        self.ok(&format!("a APPEND {folder} {{{}+}}\r\n{letter}", letter.len())).await
    }

    async fn closed(&mut self) -> String {
        self.read_until(|_| false).await
    }
}

async fn check(client: &mut Client, command: &str, expected: &str) {
    assert_eq!(client.say(command).await, expected.replace('\n', "\r\n"), "{command}");
}

#[tokio::test]
async fn before_tls_nobody_logs_in() {
    let house = House::new().await;
    let mut client = house.connect(Safety::Clear).await;
    assert!(client.ok("a CAPABILITY").await.contains("STARTTLS LOGINDISABLED"));
    for command in ["a LOGIN a@hopital.mssante.test secret", "a AUTHENTICATE PLAIN"] {
        check(&mut client, command, "a NO [PRIVACYREQUIRED] STARTTLS first\n").await;
    }
    check(&mut client, "a SELECT INBOX", "a BAD Log in first\n").await;
    client.send("a STARTTLS\r\n").await;
    assert_eq!(
        client.read_until(|text| text.ends_with("<TLS>")).await,
        "a OK Begin TLS now\r\n<TLS>"
    );
}

#[tokio::test]
async fn octets_behind_starttls_are_refused_and_end_the_connection() {
    let house = House::new().await;
    let mut client = house.connect(Safety::Clear).await;
    client.send("a STARTTLS\r\nb LOGIN a@hopital.mssante.test secret\r\n").await;
    let answer = client.closed().await;
    assert!(answer.starts_with("a BAD Nothing may follow STARTTLS"), "{answer}");
    assert!(!answer.contains("b OK") && answer.ends_with("<closed>"), "{answer}");
    let mut client = house.connect(Safety::Tls).await;
    check(&mut client, "a STARTTLS", "a BAD TLS is on already\n").await;
}

#[tokio::test]
async fn people_log_in_in_every_usual_way() {
    let house = House::new().await;
    let plain = "AGFAaG9waXRhbC5tc3NhbnRlLnRlc3QAc2VjcmV0";
    for login in [
        "a LOGIN \"a@hopital.mssante.test\" {6+}\r\nsecret".to_owned(),
        format!("a AUTHENTICATE PLAIN {plain}"),
        format!("a AUTHENTICATE PLAIN\r\n{plain}"),
    ] {
        let mut client = house.connect(Safety::Tls).await;
        let answer = client.ok(&login).await;
        assert!(answer.contains("a OK [CAPABILITY IMAP4rev1 "), "{answer}");
        assert!(!answer.contains("AUTH="), "{answer}");
        client.ok("b SELECT INBOX").await;
        check(&mut client, "c LOGIN a b", "c BAD You are logged in already\n").await;
        check(&mut client, "d LOGOUT", "* BYE Until next time\nd OK Done\n").await;
        assert_eq!(client.closed().await, "<closed>");
    }
}

#[tokio::test]
async fn a_failed_login_says_why_in_a_code_and_three_end_the_connection() {
    let house = House::new().await;
    let mut client = house.connect(Safety::Tls).await;
    check(&mut client, "a AUTHENTICATE PLAIN\r\n*", "+ \na BAD Cancelled\n").await;
    check(
        &mut client,
        "a AUTHENTICATE PLAIN !",
        "a BAD an initial response in base64 was expected\n",
    )
    .await;
    check(
        &mut client,
        "a AUTHENTICATE PLAIN eABhAGI=",
        "a NO [AUTHENTICATIONFAILED] Wrong name or password\n",
    )
    .await;
    let missing = "a NO [CANNOT] This mechanism is not offered here\n";
    check(&mut client, "a AUTHENTICATE GSSAPI", missing).await;
    check(&mut client, "a LOGIN down x", "a NO [UNAVAILABLE] Temporary failure; try later\n").await;
    let wrong = "a NO [AUTHENTICATIONFAILED] Wrong name or password\n";
    check(&mut client, "a LOGIN a@hopital.mssante.test wrong", wrong).await;
    let answer = client.say("a LOGIN nobody secret").await;
    assert!(answer.contains("* BYE Too many failed logins"), "{answer}");
}

#[tokio::test]
async fn select_tells_the_state_of_the_mailbox() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.append("INBOX", LETTER).await;
    client.append("INBOX (\\Seen $Done)", LETTER).await;
    let answer = client.ok("a SELECT {5+}\r\ninbox").await;
    for line in [
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Done)\r\n",
        "* 2 EXISTS\r\n* 0 RECENT\r\n",
        "* OK [UNSEEN 1] ",
        "* OK [UIDVALIDITY ",
        "* OK [UIDNEXT 3] ",
        "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Done \\*)] ",
        "a OK [READ-WRITE] Selected",
    ] {
        assert!(answer.contains(line), "{line} is not in {answer}");
    }
    assert!(client.ok("a EXAMINE INBOX").await.contains("[PERMANENTFLAGS ()]"));
    check(
        &mut client,
        "a STORE 1 FLAGS ()",
        "a NO [CANNOT] The mailbox is open for reading only\n",
    )
    .await;
    let closed = "* OK [CLOSED] The mailbox before is closed\na NO [NONEXISTENT] No such mailbox\n";
    check(&mut client, "a SELECT none", closed).await;
    check(&mut client, "a FETCH 1 UID", "a BAD Select a mailbox first\n").await;
}

#[tokio::test]
async fn letters_are_fetched_whole_and_in_parts() {
    let house = House::new().await;
    let mut client = house.inbox(2).await;
    let whole = client.ok("a UID FETCH 1 BODY.PEEK[]").await;
    let expected =
        format!("* 1 FETCH (UID 1 BODY[] {{{}}}\r\n{LETTER})\r\na OK Done\r\n", LETTER.len());
    assert_eq!(whole, expected);
    check(&mut client, "a FETCH 2 (BODY.PEEK[1])", "* 2 FETCH (BODY[1] {7}\nBonjour)\na OK Done\n")
        .await;
    check(
        &mut client,
        "a FETCH 2 (BODY.PEEK[HEADER.FIELDS (subject)] BODY.PEEK[2]<2.4> BODY.PEEK[9])",
        "* 2 FETCH (BODY[HEADER.FIELDS (subject)] {38}\nSubject: =?UTF-8?Q?R=C3=A9sultat?=\n\n BODY[2]<2> {4}\nBERg BODY[9] NIL)\na OK Done\n",
    )
    .await;
    let size = LETTER.len();
    let fast = client.ok("a FETCH 1 FAST").await;
    assert_eq!(
        fast,
        format!(
            "* 1 FETCH (FLAGS () INTERNALDATE \"22-Nov-2026 22:59:59 +0000\" RFC822.SIZE {size})\r\na OK Done\r\n"
        )
    );
    let full = client.ok("a FETCH 1 FULL").await;
    for part in [
        "ENVELOPE (\"Sat, 21 Nov 2026 10:00:00 +0100\" \"=?UTF-8?Q?R=C3=A9sultat?=\" ((\"Dr A\" NIL \"a\" \"hopital.mssante.test\"))",
        "BODY ((\"text\" \"plain\" ",
        "(\"application\" \"pdf\" (\"name\" \"a.pdf\") NIL NIL \"base64\" 8) \"mixed\")",
    ] {
        assert!(full.contains(part), "{part} is not in {full}");
    }
}

#[tokio::test]
async fn reading_marks_a_letter_seen_unless_it_is_a_peek() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    client.ok("a FETCH 1 (BODY.PEEK[TEXT] RFC822.HEADER)").await;
    check(&mut client, "a FETCH 1 FLAGS", "* 1 FETCH (FLAGS ())\na OK Done\n").await;
    let read = client.ok("a FETCH 1 BODY[1]").await;
    assert_eq!(read, "* 1 FETCH (BODY[1] {7}\r\nBonjour FLAGS (\\Seen))\r\na OK Done\r\n");
    check(&mut client, "a FETCH 1 RFC822.TEXT<", "a BAD unexpected text after the command\n").await;
    check(&mut client, "a NOOP", "a OK Done\n").await;
}

#[tokio::test]
async fn numbers_that_name_nothing_get_the_answer_of_the_standard() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    let bad = "a BAD No message has that sequence number\n";
    check(&mut client, "a FETCH 2 FLAGS", bad).await;
    check(&mut client, "a FETCH 1:2 FLAGS", bad).await;
    check(&mut client, "a UID FETCH 7,9 FLAGS", "a OK Done\n").await;
    check(&mut client, "a UID FETCH 7:* UID", "* 1 FETCH (UID 1)\na OK Done\n").await;
    client.ok("a SELECT Trash").await;
    check(&mut client, "a FETCH 1:* FLAGS", "a OK Done\n").await;
    check(&mut client, "a FETCH 1 FLAGS", bad).await;
}

#[tokio::test]
async fn flags_are_stored_and_other_sessions_are_told_once() {
    let house = House::new().await;
    let mut one = house.inbox(2).await;
    let mut two = house.login().await;
    two.ok("a SELECT INBOX").await;
    let marks = "\\Answered \\Flagged \\Deleted \\Seen \\Draft $Done";
    let introduced = format!("* FLAGS ({marks})\n* OK [PERMANENTFLAGS ({marks} \\*)] Kept\n");
    check(
        &mut one,
        "a STORE 1:2 +FLAGS ($Done \\flagged)",
        &format!(
            "{introduced}* 1 FETCH (FLAGS (\\Flagged $Done))\n* 2 FETCH (FLAGS (\\Flagged $Done))\na OK Done\n"
        ),
    )
    .await;
    check(&mut one, "a UID STORE 2 -FLAGS.SILENT ($DONE)", "a OK Done\n").await;
    check(&mut one, "a NOOP", "a OK Done\n").await;
    check(
        &mut two,
        "a NOOP",
        &format!(
            "{introduced}* 1 FETCH (UID 1 FLAGS (\\Flagged $Done))\n* 2 FETCH (UID 2 FLAGS (\\Flagged))\na OK Done\n"
        ),
    )
    .await;
    check(&mut two, "a NOOP", "a OK Done\n").await;
    let long = format!("a STORE 1 +FLAGS ({})", "x".repeat(200));
    check(&mut one, &long, "a NO [LIMIT] Too many keywords, or one is too long\n").await;
}

#[tokio::test]
async fn numbers_never_change_during_fetch_store_and_search() {
    let house = House::new().await;
    let mut one = house.inbox(3).await;
    let mut two = house.login().await;
    two.ok("a SELECT INBOX").await;
    one.ok("a STORE 1:2 +FLAGS.SILENT (\\Deleted)").await;
    check(&mut one, "a UID EXPUNGE 2:9", "* 2 EXPUNGE\na OK Expunged\n").await;
    check(&mut one, "a EXPUNGE", "* 1 EXPUNGE\na OK Expunged\n").await;
    one.append("INBOX", LETTER).await;
    for command in ["a FETCH 3 UID", "a SEARCH 1:3", "a STORE 3 FLAGS ()"] {
        let answer = two.ok(command).await;
        assert!(!answer.contains("EXPUNGE\r\n"), "{answer}");
    }
    check(
        &mut two,
        "a FETCH 1:4 UID",
        "* 3 FETCH (UID 3)\n* 4 FETCH (UID 4)\na OK [EXPUNGEISSUED] Done\n",
    )
    .await;
    check(&mut two, "a NOOP", "* 1 EXPUNGE\n* 1 EXPUNGE\na OK Done\n").await;
    check(&mut two, "a FETCH 1:2 UID", "* 1 FETCH (UID 3)\n* 2 FETCH (UID 4)\na OK Done\n").await;
}

#[tokio::test]
async fn idle_tells_news_at_once() {
    let house = House::new().await;
    let mut one = house.inbox(0).await;
    let mut two = house.login().await;
    one.send("i IDLE\r\n").await;
    one.read_until(|text| text == "+ idling\r\n").await;
    two.append("INBOX", LETTER).await;
    assert_eq!(
        one.read_until(|text| text.ends_with("RECENT\r\n")).await,
        "* 1 EXISTS\r\n* 0 RECENT\r\n"
    );
    two.ok("a SELECT INBOX").await;
    two.ok("a STORE 1 FLAGS (\\Deleted)").await;
    one.read_until(|text| text.contains("FLAGS (\\Deleted)")).await;
    two.ok("a CLOSE").await;
    one.read_until(|text| text == "* 1 EXPUNGE\r\n").await;
    one.send("DONE\r\n").await;
    assert_eq!(one.read_until(|text| text.ends_with('\n')).await, "i OK Done\r\n");
    check(&mut one, "i IDLE\r\nNOOP", "+ idling\ni BAD DONE was expected\n").await;
}

#[tokio::test]
async fn letters_are_copied_and_moved_with_their_new_uids() {
    let house = House::new().await;
    let mut client = house.inbox(3).await;
    let copied = client.ok("a COPY 1,3 Trash").await;
    assert!(copied.contains("[COPYUID ") && copied.contains(" 1,3 1:2]"), "{copied}");
    let moved = client.ok("a UID MOVE 2:3 Trash").await;
    assert!(moved.starts_with("* OK [COPYUID ") && moved.contains(" 2:3 3:4]"), "{moved}");
    assert!(moved.ends_with("* 2 EXPUNGE\r\n* 2 EXPUNGE\r\na OK Done\r\n"), "{moved}");
    check(&mut client, "a COPY 1 none", "a NO [TRYCREATE] No such mailbox; it can be created\n")
        .await;
    check(&mut client, "a UID COPY 77 Trash", "a OK Nothing to do\n").await;
    let status = client.ok("a STATUS Trash (MESSAGES UIDNEXT UNSEEN RECENT SIZE)").await;
    let octets = LETTER.len() * 4;
    let expected =
        format!("* STATUS \"Trash\" (MESSAGES 4 UIDNEXT 5 UNSEEN 4 RECENT 0 SIZE {octets})\r\n");
    assert!(status.starts_with(&expected), "{status}");
}

#[tokio::test]
async fn folders_are_listed_with_their_uses() {
    let house = House::new().await;
    let mut client = house.login().await;
    check(&mut client, "a LIST \"\" \"\"", "* LIST (\\Noselect) \"/\" \"\"\na OK Done\n").await;
    client.ok("a CREATE Dr&AOk-/2026/").await;
    client.ok("a CREATE Dr&AOk-/2026/a").await;
    client.ok("a DELETE Dr&AOk-/2026").await;
    check(
        &mut client,
        "a LIST \"\" \"%\"",
        "* LIST (\\HasNoChildren) \"/\" \"INBOX\"\n* LIST (\\HasNoChildren \\Drafts) \"/\" \"Drafts\"\n\
         * LIST (\\HasChildren) \"/\" \"Dr&AOk-\"\n* LIST (\\HasNoChildren \\Junk) \"/\" \"Junk\"\n\
         * LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"\n* LIST (\\HasNoChildren \\Trash) \"/\" \"Trash\"\n\
         a OK Done\n",
    )
    .await;
    check(
        &mut client,
        "a LIST Dr&AOk-/ *",
        "* LIST (\\Noselect \\HasChildren) \"/\" \"Dr&AOk-/2026\"\n\
         * LIST (\\HasNoChildren) \"/\" \"Dr&AOk-/2026/a\"\na OK Done\n",
    )
    .await;
    check(
        &mut client,
        "a LIST (SPECIAL-USE) \"\" (S% inbox) RETURN (SUBSCRIBED STATUS (MESSAGES))",
        "* LIST (\\HasNoChildren \\Subscribed \\Sent) \"/\" \"Sent\"\n* STATUS \"Sent\" (MESSAGES 0)\n\
         a OK Done\n",
    )
    .await;
    client.ok("a SUBSCRIBE Dr&AOk-/2026/a").await;
    check(
        &mut client,
        "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" D%",
        "* LIST (\\HasNoChildren \\Subscribed \\Drafts) \"/\" \"Drafts\"\n\
         * LIST (\\HasChildren) \"/\" \"Dr&AOk-\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\na OK Done\n",
    )
    .await;
    check(
        &mut client,
        "a LSUB \"\" D%",
        "* LSUB () \"/\" \"Drafts\"\n* LSUB (\\Noselect) \"/\" \"Dr&AOk-\"\na OK Done\n",
    )
    .await;
    check(
        &mut client,
        "a NAMESPACE",
        "* NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\")) NIL\na OK Done\n",
    )
    .await;
}

#[tokio::test]
async fn folders_are_made_renamed_and_removed_or_a_code_says_why_not() {
    let house = House::new().await;
    let mut client = house.login().await;
    for (command, expected) in [
        ("a CREATE inbox", "a NO [ALREADYEXISTS] A mailbox of that name exists\n"),
        ("a CREATE a*", "a BAD unexpected text after the command\n"),
        ("a CREATE \"a*\"", "a NO [CANNOT] A mailbox cannot have that name\n"),
        ("a CREATE a//b", "a NO [CANNOT] A mailbox cannot have that name\n"),
        ("a CREATE s (USE (\\Sent))", "a NO [USEATTR] Another mailbox has this special use\n"),
        ("a CREATE Archive (USE (\\Archive))", "a OK Created\n"),
        ("a DELETE INBOX", "a NO [CANNOT] This mailbox cannot be changed so\n"),
        ("a DELETE none", "a NO [NONEXISTENT] No such mailbox\n"),
        ("a SUBSCRIBE none", "a NO [NONEXISTENT] No such mailbox\n"),
        ("a RENAME none x", "a NO [NONEXISTENT] No such mailbox\n"),
        ("a CREATE p/q", "a OK Created\n"),
        ("a RENAME p p/r", "a NO [CANNOT] A mailbox cannot move into itself\n"),
        ("a RENAME p n/o", "a OK Renamed\n"),
        ("a STATUS n/o/q (MESSAGES)", "* STATUS \"n/o/q\" (MESSAGES 0)\na OK Done\n"),
        ("a DELETE n/o/q", "a OK Deleted\n"),
        ("a STATUS n/o/q (MESSAGES)", "a NO [NONEXISTENT] No such mailbox\n"),
    ] {
        let answer = client.say(command).await;
        // RFC 8474 §4.1: CREATE answers the mailbox's name for ever, which is keyed.
        let answer = match answer.split_once("[MAILBOXID (F") {
            Some((before, rest)) => format!("{before}{}", &rest[rest.find(")] ").unwrap() + 3..]),
            None => answer,
        };
        assert_eq!(answer, expected.replace('\n', "\r\n"), "{command}");
    }
}

#[tokio::test]
async fn a_mailbox_that_is_deleted_under_a_session_ends_it() {
    let house = House::new().await;
    let mut one = house.login().await;
    one.ok("a CREATE x").await;
    one.ok("a SELECT x").await;
    let mut two = house.login().await;
    two.ok("a DELETE x").await;
    one.send("a NOOP\r\n").await;
    assert_eq!(
        one.closed().await,
        "* BYE The selected mailbox was deleted\r\na OK Done\r\n<closed>"
    );
    // But who deletes it goes on.
    two.ok("a CREATE y").await;
    two.ok("a SELECT y").await;
    check(&mut two, "a DELETE y", "a OK Deleted\n").await;
    check(&mut two, "a FETCH 1:* UID", "a BAD Select a mailbox first\n").await;
}

#[tokio::test]
async fn a_letter_that_is_too_large_is_refused_before_it_comes() {
    let house = House::new().await;
    let mut client = house.login().await;
    let too_big = "a NO [TOOBIG] The message is too large\n";
    check(&mut client, "a APPEND INBOX {4294967295}", too_big).await;
    check(&mut client, "a APPEND INBOX {100001}", too_big).await;
    check(
        &mut client,
        "a APPEND none {3}",
        "a NO [TRYCREATE] No such mailbox; it can be created\n",
    )
    .await;
    check(
        &mut client,
        "a APPEND none {3+}\r\nabc",
        "a NO [TRYCREATE] No such mailbox; it can be created\n",
    )
    .await;
    check(&mut client, "b NOOP", "b OK Done\n").await;
    check(
        &mut client,
        "a APPEND INBOX {0+}\r\n",
        "a NO [CANNOT] An empty message cannot be kept\n",
    )
    .await;
    check(&mut client, "a APPEND INBOX {3+}\r\na\0b", "a NO [CANNOT] A message cannot hold NUL\n")
        .await;
    client.send("a APPEND INBOX {4294967295+}\r\n").await;
    let answer = client.closed().await;
    assert!(answer.starts_with("a NO [TOOBIG] ") && answer.contains("* BYE"), "{answer}");
}

#[tokio::test]
async fn a_filed_letter_keeps_its_date_and_marks() {
    let house = House::new().await;
    let mut client = house.login().await;
    let answer =
        client.append("Sent (\\Seen) \"17-Jul-1996 02:44:25 -0700\"", "Subject: a\n\nb\n").await;
    assert!(answer.contains("a OK [APPENDUID ") && answer.contains(" 1] Kept"), "{answer}");
    client.ok("a SELECT Sent").await;
    check(
        &mut client,
        "a FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[])",
        "* 1 FETCH (FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {17}\nSubject: a\n\nb\n)\na OK Done\n",
    )
    .await;
}

#[tokio::test]
async fn searches_ask_rows_envelopes_and_letters() {
    let house = House::new().await;
    let mut client = house.inbox(3).await;
    client.ok("a STORE 2 FLAGS (\\Seen)").await;
    client.ok("a STORE 1 FLAGS (\\Deleted)").await;
    client.ok("a EXPUNGE").await;
    for (command, expected) in [
        ("a SEARCH UNSEEN", "* SEARCH 2\n"),
        ("a UID SEARCH UNSEEN", "* SEARCH 3\n"),
        ("a UID SEARCH ALL", "* SEARCH 2 3\n"),
        ("a SEARCH FLAGGED", "* SEARCH\n"),
        ("a SEARCH SENTON 21-Nov-2026 SUBJECT \"\"", "* SEARCH 1 2\n"),
        ("a SEARCH CHARSET UTF-8 SUBJECT {9+}\r\nR\u{c9}SULTAT", "* SEARCH 1 2\n"),
        ("a SEARCH FROM \"dr a\"", "* SEARCH 1 2\n"),
        ("a SEARCH BODY bonJOUR", "* SEARCH 1 2\n"),
        ("a SEARCH TEXT \"hopital\" NOT 1", "* SEARCH 2\n"),
        ("a SEARCH HEADER message-id 1@", "* SEARCH 1 2\n"),
        ("a SEARCH HEADER x-none \"\"", "* SEARCH\n"),
    ] {
        check(&mut client, command, &format!("{expected}a OK Done\n")).await;
    }
    check(
        &mut client,
        "a SEARCH CHARSET X-UNKNOWN ALL",
        "a NO [BADCHARSET (UTF-8 US-ASCII)] Unknown charset\n",
    )
    .await;
}

#[tokio::test]
async fn a_letter_that_cannot_be_opened_does_not_hide_the_others() {
    let house = House::new().await;
    let mut client = house.inbox(3).await;
    house.spoil_second_letter().await;
    let answer = client.say("a FETCH 1:3 (UID ENVELOPE BODY.PEEK[1])").await;
    assert_eq!(answer.matches("BODY[1] {7}\r\nBonjour").count(), 2, "{answer}");
    assert!(answer.contains("* 2 FETCH (UID 2 ENVELOPE (") && answer.contains(" BODY[1] NIL)"));
    assert!(
        answer.ends_with("a NO [UNAVAILABLE] A message cannot be opened; the others were sent\r\n")
    );
    check(&mut client, "a SEARCH BODY bonjour", "* SEARCH 1 3\na OK Done\n").await;
    // Fields that the sealed summary has are not looked for in the letters.
    let by_id = "a SEARCH HEADER Message-ID <1@x> HEADER to b@ NOT HEADER cc \"\"";
    check(&mut client, by_id, "* SEARCH 1 2 3\na OK Done\n").await;
    check(&mut client, "a FETCH 2 BODY[]", "* 2 FETCH (BODY[] NIL)\na NO [UNAVAILABLE] A message cannot be opened; the others were sent\n").await;
    check(&mut client, "a FETCH 2 FLAGS", "* 2 FETCH (FLAGS ())\na OK Done\n").await;
    client.ok("a STORE 2 FLAGS (\\Deleted)").await;
    client.ok("a EXPUNGE").await;
}

#[tokio::test]
async fn slow_readers_and_slow_senders_do_not_wait_for_each_other() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    // As if others were reading all that may be read at once.
    let readers = house.desk.reading.reserve(9_999_000).await.unwrap();
    client.append("INBOX", LETTER).await;
    drop(readers);
    let senders = house.desk.memory.reserve(9_999_000).await.unwrap();
    assert!(client.ok("a FETCH 1 BODY.PEEK[]").await.contains(LETTER));
    assert!(client.ok("a SEARCH BODY bonjour").await.contains("* SEARCH 1"));
    drop(senders);
}

#[tokio::test]
async fn too_much_to_copy_is_said_to_be_so() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    let words: Vec<String> = (0..64).map(|word| format!("{word:03}{}", "k".repeat(120))).collect();
    client.ok(&format!("a STORE 1 +FLAGS.SILENT ({})", words.join(" "))).await;
    for _ in 0..11 {
        client.ok("a COPY 1:* INBOX").await;
    }
    let answer = client.say("a COPY 1:* Trash").await;
    let limit = "a NO [LIMIT] Too many messages to copy at once; copy fewer at a time\r\n";
    assert!(answer.ends_with(limit), "{answer}");
    let moved = client.ok("a MOVE 1:* Trash").await;
    assert_eq!(moved.matches(" EXPUNGE\r\n").count(), 2_048, "{moved}");
    assert!(moved.contains(" 1:2048 1:2048] Moved"), "{moved}");
}

#[tokio::test]
async fn too_many_bad_commands_end_the_connection() {
    let house = House::new().await;
    let mut client = house.connect(Safety::Tls).await;
    client.send(&"a NONSENSE\r\n".repeat(200)).await;
    let answer = client.closed().await;
    assert_eq!(answer.matches("a BAD").count(), crate::domain::limits::IMAP_ERRORS_MAX);
    assert!(answer.ends_with("* BYE Too many bad commands\r\n<closed>"), "{answer}");
}

#[tokio::test]
async fn a_client_that_sends_one_octet_now_and_then_is_sent_away() {
    let times = Times {
        login: Duration::from_secs(60),
        idle: Duration::from_secs(60),
        line: Duration::from_millis(300),
        data: Duration::from_secs(60),
    };
    let house = House::with_times(times).await;
    for begun in ["a N", "a APPEND INBOX {100+}\r\nabc", "a LOGIN {10+}\r\nx"] {
        let mut client = house.login().await;
        client.send(begun).await;
        let answer = client.closed().await;
        assert!(answer.contains("* BYE A command was begun"), "{begun}: {answer}");
    }
    let mut client = house.login().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    client.ok("a NOOP").await;
    for _ in 0..20 {
        if client.stream.write_all(b"x").await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(client.closed().await.contains("* BYE A command was begun"));
}

#[tokio::test]
async fn who_says_nothing_is_logged_out_and_strangers_sooner() {
    let times = Times {
        login: Duration::from_millis(200),
        idle: Duration::from_millis(600),
        line: Duration::from_secs(60),
        data: Duration::from_secs(60),
    };
    let house = House::with_times(times).await;
    let mut stranger = house.connect(Safety::Tls).await;
    let mut known = house.login().await;
    assert_eq!(
        stranger.closed().await,
        "* BYE Autologout: nothing was said for too long\r\n<closed>"
    );
    known.ok("a NOOP").await;
    assert!(known.closed().await.contains("Autologout"));
}

#[tokio::test]
async fn a_stop_is_told_to_every_session() {
    let mut house = House::new().await;
    let mut idle = house.inbox(0).await;
    idle.send("a IDLE\r\n").await;
    idle.read_until(|text| text == "+ idling\r\n").await;
    let mut stranger = house.connect(Safety::Clear).await;
    house.stop.take().unwrap().stop();
    for client in [&mut idle, &mut stranger] {
        assert_eq!(client.closed().await, "* BYE [UNAVAILABLE] The server is stopping\r\n<closed>");
    }
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let house = House::new().await;
    let mut client = house.inbox(2).await;
    client.send("a FETCH 1 UID\r\nb UID FETCH 2 UID\r\nc NOOP\r\nd LOGOUT\r\n").await;
    let answer = client.closed().await;
    assert_eq!(
        answer,
        "* 1 FETCH (UID 1)\r\na OK Done\r\n* 2 FETCH (UID 2)\r\nb OK Done\r\nc OK Done\r\n* BYE Until next time\r\nd OK Done\r\n<closed>"
    );
}

/// What a client believes of the mailbox, from nothing but the responses.
#[derive(Default)]
struct Belief {
    uids: Vec<Option<String>>,
    flags: std::collections::BTreeMap<String, String>,
}

impl Belief {
    /// Takes in the untagged responses. A client that is told what cannot be is lost.
    fn hear(&mut self, answer: &str) {
        for line in answer.lines().filter_map(|line| line.strip_prefix("* ")) {
            let Some((number, rest)) = line.split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            if rest == "EXISTS" {
                assert!(number >= self.uids.len(), "EXISTS {number} below {}", self.uids.len());
                self.uids.resize(number, None);
            } else if rest == "EXPUNGE" {
                assert!((1..=self.uids.len()).contains(&number), "EXPUNGE {number}");
                self.uids.remove(number - 1);
            } else if let Some(items) = rest.strip_prefix("FETCH (UID ") {
                let (uid, items) = items.split_once([' ', ')']).unwrap();
                let known = &mut self.uids[number - 1];
                assert!(known.is_none() || known.as_deref() == Some(uid), "{number} is {uid}");
                *known = Some(uid.to_owned());
                if let Some(flags) = items.strip_prefix("FLAGS (") {
                    let flags = flags.split_once(')').unwrap().0;
                    self.flags.insert(uid.to_owned(), flags.to_owned());
                }
            }
        }
    }
}

/// RFC 3501 §5.5 and §7.4.1: however sessions interleave, each client that only listens to its
/// own responses ends up with the true mailbox.
#[allow(clippy::print_stdout, reason = "a random test names its seed")]
#[tokio::test]
async fn sessions_that_change_one_mailbox_never_lose_count() {
    let seed: u64 = std::env::var("VAGUEMESTRE_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    println!("VAGUEMESTRE_TEST_SEED={seed}");
    let mut state = seed;
    let mut dice = move |bound: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let house = House::new().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = house.login().await;
        let mut belief = Belief::default();
        belief.hear(&client.ok("a SELECT INBOX").await);
        clients.push((client, belief));
    }
    for _ in 0..300 {
        let (client, belief) = &mut clients[dice(3) as usize];
        let exists = belief.uids.len() as u64;
        let one = dice(exists.max(1)) + 1;
        let command = match dice(12) {
            0..=2 => format!("a APPEND INBOX {{3+}}\r\na{}b", dice(10)),
            _ if exists == 0 => "a NOOP".to_owned(),
            3 => format!("a UID STORE {one}:* +FLAGS (\\Deleted)"),
            4 => format!("a UID STORE {one} -FLAGS (\\Deleted)"),
            5 => format!("a UID STORE 1:{one} +FLAGS (\\Seen $x{})", dice(3)),
            6 => "a EXPUNGE".to_owned(),
            7 => format!("a MOVE {one} INBOX"),
            8 => format!("a COPY {one} INBOX"),
            9 => format!("a UID FETCH {one}:* (UID FLAGS)"),
            10 => "a SEARCH ALL".to_owned(),
            _ => "a NOOP".to_owned(),
        };
        let answer = client.say(&command).await;
        let may_say_no = answer.contains("EXPUNGEISSUED") && command.contains("PY");
        assert!(answer.contains("a OK") || may_say_no, "{command}: {answer}");
        belief.hear(&answer);
    }
    let mut truth = Belief::default();
    let mut fresh = house.login().await;
    truth.hear(&fresh.ok("a SELECT INBOX").await);
    truth.hear(&fresh.ok("a UID FETCH 1:* FLAGS").await);
    for (mut client, mut belief) in clients {
        belief.hear(&client.ok("a NOOP").await);
        assert_eq!(belief.uids.len(), truth.uids.len());
        let told = client.ok("a UID FETCH 1:* UID").await;
        belief.hear(&told);
        assert_eq!(belief.uids, truth.uids);
        for (uid, flags) in &belief.flags {
            let is_there = truth.uids.iter().flatten().any(|known| known == uid);
            assert!(!is_there || truth.flags.get(uid) == Some(flags), "flags of {uid}");
        }
    }
}

impl House {
    /// Overwrites the sealed content of the letter with UID 2, as a bad disk would.
    async fn spoil_second_letter(&self) {
        use crate::domain::folder::FolderId;
        use crate::domain::folder::Uid;
        let mailbox = self.desk.mailboxes.open(&self.desk.account).await.unwrap();
        let entry = mailbox.entry(FolderId::INBOX, Uid(2)).await.unwrap().unwrap();
        let page = self.store.scan(b"blob/".to_vec()..b"blob0".to_vec(), 100).await.unwrap();
        let id = entry.blob.as_bytes();
        for (key, row) in page.rows.iter().filter(|(key, _)| {
            key.windows(id.len()).any(|window| window == id) && key.len() > 5 + id.len()
        }) {
            let mut value = row.value.to_vec();
            *value.last_mut().unwrap() ^= 1;
            let mut batch = Batch::new();
            batch.put(key.clone(), value);
            self.store.commit(batch).await.unwrap();
        }
    }
}
