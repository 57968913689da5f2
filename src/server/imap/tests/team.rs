//! Mailboxes that several people read: several accounts behind one desk, commands as nouns.
mod answers;
mod lists;
mod verbs;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;

use crate::domain::address::Address;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::rights::Rights;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::login::Logins;
use crate::flow::login::fake;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::Rules;
use crate::flow::office::ClearMemory;
use crate::flow::office::ClearPermit;
use crate::flow::reading::Need;
use crate::flow::reading::Reading;
use crate::infra::clock::ManualClock;
use crate::infra::directory::Account;
use crate::infra::keys::Keyring;
use crate::infra::net::Stop;
use crate::infra::net::StopHandle;
use crate::infra::store::Store;
use crate::infra::store::blobs::Blobs;
use crate::infra::store::simulated::SimulatedStore;
use crate::proto::imap::command::AppendStart;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Command;
use crate::proto::imap::command::RightsChange;
use crate::proto::imap::command::Tag;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::parse::filing::Replaced;
use crate::proto::imap::reader::Announced;
use crate::proto::imap::reader::LiteralMode;
use crate::server::imap::capabilities::Offer;
use crate::server::imap::line::Line;
use crate::server::imap::line::Times;
use crate::server::imap::session::Safety;
use crate::server::imap::session::Session;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Other;
use crate::server::imap::tests::LETTER;

/// What a login calls the team's mailbox.
const TEAM: &str = "Other Users/team@h.test";

/// A practice with a team's mailbox and three people; whoever has a password has the same.
pub(super) struct Practice {
    pub(super) desk: Arc<ManyDesk>,
    pub(super) clock: Arc<ManualClock>,
    stopped: Stop,
    _stop: StopHandle,
    _folder: tempfile::TempDir,
}

pub(super) struct ManyDesk {
    pub(super) mailboxes: Mailboxes,
    accounts: Vec<Account>,
    logins: Logins,
    memory: ClearMemory,
}

impl Desk for ManyDesk {
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
        self.memory.reserve(octets).await
    }

    async fn read(
        &self,
        shelf: &OpenMailbox,
        entry: &Entry,
        need: Need,
    ) -> Result<Reading, MailboxError> {
        Reading::begin(shelf.sealed(entry).await?, &ClearMemory::new(10_000_000), need).await
    }

    fn cut_short(&self, _entry: &Entry, _error: &MailboxError) {}

    fn message_octets_max(&self) -> u64 {
        100_000
    }

    fn offer(&self) -> Offer {
        Offer::everything(self.message_octets_max())
    }

    fn times(&self) -> Times {
        let long = Duration::from_secs(60);
        Times { login: long, idle: long, line: long, data: long }
    }

    async fn others(&self, own: &OpenMailbox) -> Result<Vec<Other<OpenMailbox>>, MailboxError> {
        let mut others = Vec::new();
        for address in self.mailboxes.granting(own).await? {
            let Some(account) = self.account(&address) else { continue };
            let shelf = self.mailboxes.open_for(account, own).await?;
            others.push(Other { address, shelf });
        }
        Ok(others)
    }
}

impl ManyDesk {
    pub(super) fn account(&self, address: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.address.lookup_form() == address)
    }

    pub(super) async fn open(&self, address: &str) -> OpenMailbox {
        self.mailboxes.open(self.account(address).unwrap()).await.unwrap()
    }
}

impl Practice {
    pub(super) async fn new() -> Self {
        Self::with_rules(Rules::default()).await
    }

    pub(super) async fn with_rules(rules: Rules) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SimulatedStore::new(1));
        let blobs = Blobs::open(Arc::clone(&store), folder.path()).await.unwrap();
        let keys = Arc::new(Keyring::with_master(Secret::new([7; 32])));
        let now = Timestamp::from_seconds(1_795_388_399);
        let clock = Arc::new(ManualClock::new(now));
        let mut accounts = Vec::new();
        for (number, (address, kind)) in [
            ("team@h.test", MailboxKind::Organisational),
            ("a@h.test", MailboxKind::Personal),
            ("b@h.test", MailboxKind::Personal),
            ("quiet@h.test", MailboxKind::Personal),
        ]
        .into_iter()
        .enumerate()
        {
            let id = MailboxId::from_bytes([number as u8 + 1; 16]);
            let new = keys.generate(&id, "x", now).unwrap();
            accounts.push(Account {
                id,
                address: Address::parse(address).unwrap(),
                kind,
                listing: Listing::Public,
                suspended: false,
                display_name: String::new(),
                certificate: new.certificate,
                wrapped_keys: new.wrapped,
                created: now,
            });
        }
        let mailboxes = Mailboxes::with_rules(store, blobs, keys, Arc::clone(&clock) as _, rules);
        for account in &accounts {
            mailboxes.create(account).await.unwrap();
        }
        let (stop, stopped) = Stop::new();
        let memory = ClearMemory::new(10_000_000);
        let logins = fake::logins(&accounts, "x");
        let desk = Arc::new(ManyDesk { mailboxes, accounts, logins, memory });
        Self { desk, clock, stopped, _stop: stop, _folder: folder }
    }

    /// Grants rights in a folder of the team's mailbox, as its owner.
    pub(super) async fn grant(&self, folder: &str, identifier: &str, letters: &str) {
        let mut owner = self.login("team@h.test").await;
        let answer = owner.ask(set_acl(folder, identifier, letters)).await;
        assert_eq!(answer, "t OK Set\r\n", "{folder} {identifier} {letters}");
    }

    pub(super) async fn login(&self, address: &str) -> Seat<'_> {
        let (near, far) = tokio::io::duplex(1 << 22);
        let line = Line::new(far, self.stopped.clone(), self.desk.times());
        let session = Session::new(&*self.desk, line, Safety::Tls, None, &|_| {});
        let mut seat = Seat { session, _near: near };
        let password = Secret::new("x".to_owned());
        let answer = seat.ask(Body::Login { name: address.to_owned(), password }).await;
        assert!(answer.starts_with("t OK "), "{answer}");
        seat
    }
}

/// A session that is asked in nouns.
pub(super) struct Seat<'a> {
    session: Session<'a, ManyDesk, DuplexStream>,
    _near: DuplexStream,
}

impl Seat<'_> {
    /// What is answered, up to the tagged line with the tag `t`. The end of the connection is in
    /// it as well.
    pub(super) async fn ask(&mut self, body: Body) -> String {
        let tag = Tag::parse("t").unwrap();
        if let Some(announced) = announced(&body) {
            let over = self.session.decide(announced).await.is_err();
            if over || self.session.filing.is_none() {
                return self.told(over);
            }
            self.session.receive(Secret::new(LETTER.as_bytes().to_vec())).await;
            self.session.line.out().clear();
        }
        let over = self.session.obey(Command { tag, body }).await.is_err();
        self.told(over)
    }

    fn told(&mut self, over: bool) -> String {
        let octets = std::mem::take(self.session.line.out());
        let end = if over { "<closed>" } else { "" };
        format!("{}{end}", String::from_utf8_lossy(&octets))
    }

    pub(super) async fn ok(&mut self, body: Body) -> String {
        let name = body.name();
        let answer = self.ask(body).await;
        let last = answer.lines().last().unwrap_or_default();
        assert!(last.starts_with("t OK"), "{name} is answered {answer}");
        answer
    }
}

/// How the reader would announce the message of an APPEND or REPLACE.
fn announced(body: &Body) -> Option<Announced> {
    let (mailbox, replaced) = match body {
        Body::Append(append) => (&append.mailbox, None),
        Body::Replace(replace) => {
            let replaced = Replaced { by: replace.by, number: replace.replaced };
            (&replace.mailbox, Some(replaced))
        }
        _ => return None,
    };
    let (flags, date, form) = Default::default();
    Some(Announced {
        tag: Tag::parse("t").unwrap(),
        start: AppendStart { mailbox: mailbox.clone(), flags, date },
        index: 0,
        replaced,
        form,
        octets: LETTER.len() as u64,
        literal: LiteralMode::Synchronising,
    })
}

pub(super) fn name(text: &str) -> MailboxName {
    MailboxName::new(text)
}

pub(super) fn set_acl(mailbox: &str, identifier: &str, letters: &str) -> Body {
    let (kind, letters): (fn(Rights) -> RightsChange, &str) = match letters.as_bytes().first() {
        Some(b'+') => (RightsChange::Add, &letters[1..]),
        Some(b'-') => (RightsChange::Remove, &letters[1..]),
        _ => (RightsChange::Replace, letters),
    };
    let change = kind(Rights::parse(letters).unwrap());
    Body::SetAcl { mailbox: name(mailbox), identifier: identifier.to_owned(), change }
}
