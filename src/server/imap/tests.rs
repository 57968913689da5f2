//! Whole dialogues over memory, with a real mailbox behind them.
mod clients;
mod condstore;
mod conformance;
mod damage;
mod enabling;
mod entering;
mod filing;
mod folders;
mod idle;
mod items;
mod large;
mod searching;
mod notify;
mod qresync;
mod reading;
mod several;
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
