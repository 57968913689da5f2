//! A relay made of paper: it keeps what it is given and answers what it is told.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::decision::SessionId;
use vaguemestre::domain::fact::Counterpart;
use vaguemestre::domain::folder::FlagChange;
use vaguemestre::domain::folder::Flags;
use vaguemestre::domain::folder::FolderId;
use vaguemestre::domain::folder::Uid;
use vaguemestre::domain::life::Step;
use vaguemestre::domain::limits;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxId;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::status::Refusal;
use vaguemestre::domain::time::Day;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::flow::login::live::Listed;
use vaguemestre::flow::mailbox::MailboxError;
use vaguemestre::flow::office::ClearPermit;
use vaguemestre::flow::undone::Undone;
use vaguemestre::infra::config::login::SecondFactor;
use vaguemestre::infra::directory::Account;
use vaguemestre::infra::directory::accounts::app_passwords::AppPassword;
use vaguemestre::infra::directory::accounts::app_passwords::NewAppPassword;
use vaguemestre::infra::directory::accounts::app_passwords::NoAppPassword;
use vaguemestre::infra::directory::factors::Overview;
use vaguemestre::infra::ledger::StatRow;
use vaguemestre::infra::metrics::LoginCount;
use vaguemestre::infra::store::StoreError;
use vaguemestre::proto::mime::content::Attachment;
use vaguemestre::proto::mime::content::Readable;
use vaguemestre::proto::mime::header::HeaderView;
use vaguemestre::server::web::desk::Correspondent;
use vaguemestre::server::web::desk::Desk;
use vaguemestre::server::web::desk::DirectoryState;
use vaguemestre::server::web::desk::Download;
use vaguemestre::server::web::desk::DownloadBody;
use vaguemestre::server::web::desk::House;
use vaguemestre::server::web::desk::Letter;
use vaguemestre::server::web::desk::RelayState;
use vaguemestre::server::web::desk::Row;
use vaguemestre::server::web::desk::Rows;
use vaguemestre::server::web::desk::Slice;
use vaguemestre::server::web::desk::Sso;
use vaguemestre::server::web::desk::lives::Pressed;

/// 2026-11-22T14:40:00Z
pub(super) const NOW: u64 = 1_795_358_400_000;
/// The patient's matricule, from the published samples.
pub(super) const INS: &str = "288027599000175";
/// 8 and the RPPS number of a professional.
pub(super) const ELOISE: &str = "899900001019";
pub(super) const PASSWORD: &str = "un mot de passe";

/// A letter on paper.
#[derive(Clone, Default)]
pub(super) struct PaperLetter {
    pub(super) uid: u32,
    pub(super) name: &'static str,
    pub(super) address: &'static str,
    pub(super) reply_to: Option<&'static str>,
    pub(super) subject: String,
    pub(super) readable: Readable,
    pub(super) flags: Flags,
    pub(super) closed: bool,
    pub(super) report: bool,
}

/// What the relay was asked to send.
pub(super) struct Sent {
    pub(super) to: Address,
    pub(super) letter: String,
}

pub(super) struct Paper {
    pub(super) clock: AtomicU64,
    pub(super) letters: Mutex<Vec<PaperLetter>>,
    pub(super) sent: Mutex<Vec<Sent>>,
    pub(super) filed: AtomicU64,
    pub(super) refusal: Mutex<Option<Refusal>>,
    pub(super) rows: Mutex<Vec<StatRow>>,
    pub(super) kind: Mutex<MailboxKind>,
    /// The provider by which professionals log in, and the mailboxes that it opens to them.
    pub(super) sso: Mutex<Option<Sso>>,
    pub(super) held: Mutex<Vec<&'static str>>,
    /// Programs that are in the mailbox.
    pub(super) sessions: Mutex<Vec<Listed>>,
    pub(super) programs: Mutex<Vec<AppPassword>>,
    pub(super) factors: Mutex<Overview>,
    /// The last step of each administrator's codes.
    pub(super) steps: Mutex<BTreeMap<String, u64>>,
    /// What the dashboard asked for, and in whose name.
    pub(super) pressed: Mutex<Vec<String>>,
    tokens: AtomicU64,
}

impl Default for Paper {
    fn default() -> Self {
        Self {
            clock: AtomicU64::new(NOW),
            letters: Mutex::default(),
            sent: Mutex::default(),
            filed: AtomicU64::new(0),
            refusal: Mutex::default(),
            rows: Mutex::default(),
            kind: Mutex::new(MailboxKind::Citizen),
            sso: Mutex::default(),
            held: Mutex::default(),
            sessions: Mutex::default(),
            programs: Mutex::default(),
            factors: Mutex::default(),
            steps: Mutex::default(),
            pressed: Mutex::default(),
            tokens: AtomicU64::new(0),
        }
    }
}

pub(super) fn house() -> House {
    House {
        name: "hopital".to_owned(),
        citizen_domain: Some(Domain::parse("patient.mssante.test").unwrap()),
        message_octets: 1_000_000,
        admin_user: "admin".to_owned(),
        admin_password_file: None,
        logins_failed_per_minute: 5,
        certificates: [PathBuf::from("/nowhere"), PathBuf::from("/nowhere")],
        trust_list: PathBuf::from("/nowhere"),
        setup: super::setup::setup(),
        second_factor: SecondFactor::Optional,
        certificates_of: Vec::new(),
    }
}

pub(super) fn correspondent(name: &str, address: &str) -> Correspondent {
    Correspondent {
        name: name.to_owned(),
        shown: address.to_owned(),
        address: Address::parse(address).ok(),
    }
}

fn account(kind: MailboxKind) -> Account {
    Account {
        id: MailboxId::from_bytes([7; 16]),
        address: Address::parse(&format!("{INS}@patient.mssante.test")).unwrap(),
        kind,
        listing: Listing::RedList,
        suspended: false,
        display_name: "Ada EXEMPLIER".to_owned(),
        certificate: Bytes::new(),
        wrapped_keys: Bytes::new(),
        created: Timestamp::from_millis(NOW),
    }
}

fn professional(address: &str) -> Account {
    let mut account = account(MailboxKind::Personal);
    account.address = Address::parse(address).unwrap();
    account.display_name = "Dr Éloïse LUMIER".to_owned();
    // Each mailbox is another one.
    let mut id = [0; 16];
    id[..8].copy_from_slice(&address.as_bytes()[..8]);
    account.id = MailboxId::from_bytes(id);
    account
}

pub(super) fn stat(
    day: Day,
    domain: &str,
    kind: MailboxKind,
    counterpart: Counterpart,
    event: &str,
    reason: &str,
    count: u64,
) -> StatRow {
    StatRow {
        day,
        domain: domain.to_owned(),
        mailbox_kind: Some(kind),
        counterpart,
        event: event.to_owned(),
        reason: reason.to_owned(),
        count,
        octets: count * 50_000,
    }
}

impl Paper {
    fn find(&self, uid: Uid) -> Result<PaperLetter, MailboxError> {
        let letters = self.letters.lock().unwrap();
        letters
            .iter()
            .find(|letter| letter.uid == uid.0)
            .cloned()
            .ok_or(MailboxError::NoSuchMessage)
    }
}

fn row(letter: &PaperLetter) -> Row {
    Row {
        uid: Uid(letter.uid),
        at: Timestamp::from_millis(NOW - 7_200_000 * u64::from(100_u32.saturating_sub(letter.uid))),
        flags: letter.flags.clone(),
        from: Some(correspondent(letter.name, letter.address)),
        subject: letter.subject.clone(),
        attachments: letter.readable.attachments.len() as u32,
    }
}

#[async_trait]
impl Desk for Paper {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.load(Ordering::SeqCst))
    }

    fn random_token(&self) -> Secret<String> {
        let number = self.tokens.fetch_add(1, Ordering::SeqCst);
        Secret::new(format!("token-token-token-{number:04}"))
    }

    fn trusts(&self, domain: &Domain) -> bool {
        domain.as_str().ends_with(".mssante.test")
    }

    fn count_login(&self, _succeeded: bool) {}

    async fn reserve(&self, _octets: u64) -> Result<Option<ClearPermit>, Refusal> {
        Ok(None)
    }

    async fn login(
        &self,
        _ip: Option<IpAddr>,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Account, Refusal> {
        if let Some(refusal) = *self.refusal.lock().unwrap() {
            return Err(refusal);
        }
        let right = name == format!("{INS}@patient.mssante.test") && password.expose() == PASSWORD;
        if right { Ok(account(*self.kind.lock().unwrap())) } else { Err(Refusal::AuthFailed) }
    }

    fn sso(&self) -> Option<Sso> {
        self.sso.lock().unwrap().clone()
    }

    async fn app_passwords(&self, _account: &Account) -> Result<Vec<AppPassword>, Refusal> {
        Ok(self.programs.lock().unwrap().clone())
    }

    async fn add_app_password(
        &self,
        _account: &Account,
        new: NewAppPassword,
    ) -> Result<Secret<String>, NoAppPassword> {
        let mut programs = self.programs.lock().unwrap();
        if programs.iter().any(|one| one.name == new.name) {
            return Err(NoAppPassword::NameTaken);
        }
        programs.push(AppPassword {
            name: new.name,
            scope: new.scope,
            network: new.network,
            created: self.now(),
            author: new.author,
            until: new.until,
            used: None,
        });
        Ok(Secret::new("abcd-efgh-ijkm-npqr-stuv".to_owned()))
    }

    async fn revoke_app_password(
        &self,
        _account: &Account,
        name: &str,
    ) -> Result<(), NoAppPassword> {
        self.programs.lock().unwrap().retain(|one| one.name != name);
        Ok(())
    }

    async fn take_administrators_step(
        &self,
        administrator: &str,
        step: u64,
    ) -> Result<bool, Refusal> {
        let mut steps = self.steps.lock().unwrap();
        let used = steps.entry(administrator.to_owned()).or_default();
        let is_new = *used < step;
        *used = step.max(*used);
        Ok(is_new)
    }

    async fn take_code(&self, _account: &Account, code: &str) -> Result<bool, Refusal> {
        Ok(code == "123456")
    }

    fn has_passkeys(&self) -> bool {
        !self.factors.lock().unwrap().passkeys.is_empty()
    }

    async fn factors(&self, _account: &Account) -> Result<Overview, Refusal> {
        Ok(self.factors.lock().unwrap().clone())
    }

    fn sessions(&self, _account: &Account) -> Vec<Listed> {
        self.sessions.lock().unwrap().clone()
    }

    fn end_session(&self, _account: &Account, id: &SessionId) -> bool {
        let mut sessions = self.sessions.lock().unwrap();
        let before = sessions.len();
        sessions.retain(|listed| listed.id != *id);
        sessions.len() < before
    }

    async fn held(&self, _ip: Option<IpAddr>, national_id: &str) -> Result<Vec<Account>, Refusal> {
        if national_id != ELOISE {
            return Ok(Vec::new());
        }
        Ok(self.held.lock().unwrap().iter().map(|address| professional(address)).collect())
    }

    async fn mailbox(&self, address: &Address) -> Result<Option<Account>, Refusal> {
        let address = address.to_string();
        let held = self.held.lock().unwrap();
        Ok(held.iter().find(|it| **it == address).map(|address| professional(address)))
    }

    async fn rows(&self, _account: &Account, slice: Slice) -> Result<Rows, MailboxError> {
        let letters = self.letters.lock().unwrap();
        let mut rows: Vec<Row> = letters.iter().map(row).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.uid.0));
        let newest = rows.first().map(|row| row.uid.0);
        let oldest = rows.last().map(|row| row.uid.0);
        match slice {
            Slice::Newest => {}
            Slice::Before(uid) => rows.retain(|row| row.uid.0 < uid.0),
            Slice::After(uid) => {
                rows.retain(|row| row.uid.0 > uid.0);
                let extra = rows.len().saturating_sub(limits::INBOX_PAGE_LETTERS);
                rows.drain(..extra);
            }
        }
        rows.truncate(limits::INBOX_PAGE_LETTERS);
        Ok(Rows {
            older: rows.last().is_some_and(|row| Some(row.uid.0) != oldest),
            newer: rows.first().is_some_and(|row| Some(row.uid.0) != newest),
            unseen: letters.iter().filter(|letter| !letter.flags.seen).count() as u32,
            rows,
        })
    }

    async fn letter(
        &self,
        account: &Account,
        _folder: FolderId,
        uid: Uid,
    ) -> Result<Letter, MailboxError> {
        let letter = self.find(uid)?;
        Ok(Letter {
            is_sealed: false,
            row: row(&letter),
            reply_to: letter.reply_to.map(|to| correspondent("", to)).into_iter().collect(),
            to: vec![correspondent("", &account.address.to_string())],
            readable: letter.readable.clone(),
            header: HeaderView {
                message_id: Some("<1@hopital.mssante.test>".to_owned()),
                ..HeaderView::default()
            },
            is_report: letter.report,
            memory: None,
        })
    }

    async fn is_closed(&self, _account: &Account, letter: &Letter) -> Result<bool, MailboxError> {
        Ok(self.find(letter.row.uid)?.closed)
    }

    async fn attachment(
        &self,
        _account: &Account,
        _folder: FolderId,
        uid: Uid,
        index: usize,
    ) -> Result<Option<Download>, MailboxError> {
        let letter = self.find(uid)?;
        let attachment = letter.readable.attachments.into_iter().find(|a| a.index == index);
        Ok(attachment.map(|attachment: Attachment| Download {
            body: DownloadBody::Whole(Secret::new(b"<script>alert(1)</script>".to_vec()), None),
            attachment,
        }))
    }

    async fn mark(
        &self,
        _account: &Account,
        _folder: FolderId,
        uid: Uid,
        flags: Flags,
    ) -> Result<(), MailboxError> {
        let mut letters = self.letters.lock().unwrap();
        let letter = letters.iter_mut().find(|letter| letter.uid == uid.0);
        let letter = letter.ok_or(MailboxError::NoSuchMessage)?;
        letter.flags = letter.flags.changed(&FlagChange::Add(flags));
        Ok(())
    }

    async fn send(
        &self,
        _account: &Account,
        _ip: Option<IpAddr>,
        to: &Address,
        letter: &[u8],
    ) -> Result<(), Refusal> {
        if let Some(refusal) = *self.refusal.lock().unwrap() {
            return Err(refusal);
        }
        let letter = String::from_utf8(letter.to_vec()).unwrap();
        self.sent.lock().unwrap().push(Sent { to: to.clone(), letter });
        Ok(())
    }

    async fn file_sent(
        &self,
        _account: &Account,
        _letter: Secret<Vec<u8>>,
    ) -> Result<(), MailboxError> {
        self.filed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn press(
        &self,
        _id: &MailboxId,
        _step: Step,
        _reason: &str,
        administrator: &str,
    ) -> Result<Pressed, Undone> {
        self.pressed.lock().unwrap().push(format!("press {administrator}"));
        Ok(Pressed::Waits)
    }

    async fn reply(
        &self,
        _id: &uuid::Uuid,
        _is_approved: bool,
        _reason: &str,
        administrator: &str,
    ) -> Result<(), Undone> {
        self.pressed.lock().unwrap().push(format!("reply {administrator}"));
        Ok(())
    }

    async fn statistics(&self, from: Day, to: Day) -> Result<Vec<StatRow>, StoreError> {
        let rows = self.rows.lock().unwrap();
        Ok(rows.iter().filter(|row| (from..=to).contains(&row.day)).cloned().collect())
    }

    async fn state(&self, _house: &House) -> RelayState {
        let now = self.now();
        let days = |days: u64| Timestamp::from_millis(NOW + days * 86_400_000);
        RelayState {
            queue: (3, Some(Timestamp::from_millis(now.as_millis() - 754_000))),
            trust: (Timestamp::from_millis(NOW - 7_200_000), 1_842),
            certificates: [Some(days(298)), Some(days(12))],
            sessions: vec![("submission", 4), ("mx", 1), ("imaps", 37), ("https", 2)],
            directory: Some(DirectoryState {
                mailboxes: Some((535_928, 501_417)),
                age: Duration::from_secs(5 * 3_600),
                is_old: false,
                succeeded: Some(Timestamp::from_millis(NOW - 7_200_000)),
                tried: Some(Timestamp::from_millis(NOW - 3_600_000)),
                error: Some("the publisher answered 503".to_owned()),
                drift: Some(17),
            }),
            logins: vec![LoginCount {
                door: "imap",
                means: "password",
                result: "refused",
                count: 1_204,
            }],
        }
    }
}

/// A site in front of this paper.
pub(super) fn site(paper: &Arc<Paper>, house: House) -> axum::Router {
    use vaguemestre::server::web::site::Site;
    let desk = Arc::clone(paper) as Arc<dyn Desk>;
    vaguemestre::server::web::site_router(Arc::new(Site::new(house, desk)))
}
