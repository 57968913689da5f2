//! What the pages ask of the relay, and the relay's answers.
//!
//! One narrow trait: the pages above it know letters and figures, the relay below it knows
//! keys, stores and stations. Tests put a paper relay in its place.
mod download;
pub mod lives;
pub mod office;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::decision::SessionId;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::life::Step;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Day;
use crate::domain::time::Timestamp;
use crate::flow::addressbook::Found;
use crate::flow::addressbook::Reach;
use crate::flow::life::Record;
use crate::flow::login::live::Listed;
use crate::flow::login::live::Seat;
use crate::flow::mailbox::MailboxError;
use crate::flow::office::ClearPermit;
use crate::flow::own::Registered;
use crate::flow::own::challenge::Proof;
use crate::flow::setup;
use crate::flow::setup::Setup;
use crate::flow::undone::Undone;
use crate::infra::config::Config;
use crate::infra::config::login::SecondFactor;
use crate::infra::directory::Account;
use crate::infra::directory::accounts::app_passwords::AppPassword;
use crate::infra::directory::accounts::app_passwords::NewAppPassword;
use crate::infra::directory::accounts::app_passwords::NoAppPassword;
use crate::infra::directory::accounts::arrivals::LastLogin;
use crate::infra::directory::factors::Overview;
use crate::infra::directory::factors::passkeys::Ceremony;
use crate::infra::directory::factors::passkeys::Challenge;
use crate::infra::directory::factors::passkeys::Registered as PasskeyRegistered;
use crate::infra::directory::factors::passkeys::Removed;
use crate::infra::directory::factors::passkeys::Shown;
use crate::infra::directory::oidc::Oidc;
use crate::infra::keys::peers::CertificateFlaw;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::ledger::StatRow;
use crate::infra::metrics::LoginCount;
use crate::infra::store::StoreError;
use crate::proto::mime::content::Attachment;
use crate::proto::mime::content::Readable;
use crate::proto::mime::header::HeaderView;
use crate::server::web::desk::lives::Pressed;
use crate::server::web::desk::lives::Seen;
use crate::server::web::desk::lives::Waiting;
use crate::server::web::session::Vouched;

/// What the pages know of the house; fixed while the relay runs.
#[derive(Clone, Debug)]
pub struct House {
    /// Short name, for headings.
    pub name: String,
    /// Domain of patients who log in with their matricule alone.
    pub citizen_domain: Option<Domain>,
    /// Octets of one letter.
    pub message_octets: u64,
    /// The login name of the dashboard's first administrator.
    pub admin_user: String,
    /// File with the argon2id hashes of administrators' passwords; `None` closes the dashboard.
    pub admin_password_file: Option<PathBuf>,
    /// Failed logins a minute from one network address.
    pub logins_failed_per_minute: u32,
    /// Certificates in use, for people and between operators.
    pub certificates: [PathBuf; 2],
    /// The trust list's file.
    pub trust_list: PathBuf,
    /// How programs set themselves up.
    pub setup: Setup,
    /// Whether more than a password is asked for.
    pub second_factor: SecondFactor,
    /// Domains whose certificates of OpenPGP are published; none when that is switched off.
    pub certificates_of: Vec<Domain>,
}

/// Logins of professionals by an OpenID provider.
#[derive(Clone)]
pub struct Sso {
    /// Which.
    pub provider: Arc<Oidc>,
    /// Where browsers find these pages, without a slash at its end.
    pub public_url: String,
    /// How long a session lives that began so.
    pub session: Duration,
}

/// Whose passkeys.
#[derive(Clone, Copy)]
pub enum Owner<'a> {
    /// A professional's.
    Mailbox(&'a Account),
    /// An administrator's of the dashboard.
    Administrator(&'a str),
}

/// Whose certificate somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// By the name in the Web Key Directory of a domain.
    Named(Domain, String),
    /// By the address.
    Of(Address),
    /// By fingerprint or key id, hexadecimal digits.
    WithKey(String),
}

/// Which letters a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    /// The newest ones.
    Newest,
    /// The ones just older than this.
    Before(Uid),
    /// The ones just newer than this.
    After(Uid),
}

/// A part of the list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// At most `domain::limits::INBOX_PAGE_LETTERS`.
    pub rows: Vec<Row>,
    /// There are older ones.
    pub older: bool,
    /// There are newer ones.
    pub newer: bool,
    /// Letters in the folder that nobody has read.
    pub unseen: u32,
}

/// A letter in a list.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its number.
    pub uid: Uid,
    /// When it arrived.
    pub at: Timestamp,
    /// Marks.
    pub flags: Flags,
    /// Who wrote it.
    pub from: Option<Correspondent>,
    /// Subject, decoded, as it stands.
    pub subject: String,
    /// Attachments.
    pub attachments: u32,
}

/// Somebody in a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correspondent {
    /// Display name, decoded; may be empty. Anybody can write anything there.
    pub name: String,
    /// The address as text.
    pub shown: String,
    /// The address, if it is one.
    pub address: Option<Address>,
}

/// A letter that is open on a page. Its clear text is wiped when this is dropped.
pub struct Letter {
    /// Its row in the list.
    pub row: Row,
    /// Who should get the answer, as the letter says.
    pub reply_to: Vec<Correspondent>,
    /// To whom it was written.
    pub to: Vec<Correspondent>,
    /// What can be read of it.
    pub readable: Readable,
    /// What policy reads of its header.
    pub header: HeaderView,
    /// A report about another letter: nobody is there to answer.
    pub is_report: bool,
    /// It is sealed to a key that the relay does not have.
    pub is_sealed: bool,
    /// Its share of the memory for clear text.
    pub memory: Option<ClearPermit>,
}

/// An attachment on its way out.
pub struct Download {
    /// Its name and type.
    pub attachment: Attachment,
    /// Its octets, decoded.
    pub body: DownloadBody,
}

/// Octets of an attachment, and their share of the memory for clear text.
pub enum DownloadBody {
    /// All there.
    Whole(Secret<Vec<u8>>, Option<ClearPermit>),
    /// So many, piece by piece.
    Pieces(u64, mpsc::Receiver<Result<Secret<Vec<u8>>, CutShort>>),
}

/// An attachment was found damaged when its beginning had left already.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the attachment is damaged in the middle")]
pub struct CutShort;

/// The relay at this moment, for the dashboard.
#[derive(Clone, Debug)]
pub struct RelayState {
    /// Recipients waiting, and when the oldest began to.
    pub queue: (u64, Option<Timestamp>),
    /// When the trust list was made, and how many domains it names.
    pub trust: (Timestamp, usize),
    /// When the certificates end; `None` when a file cannot be read.
    pub certificates: [Option<Timestamp>; 2],
    /// Open sessions by door.
    pub sessions: Vec<(&'static str, u64)>,
    /// The copy of the national directory; `None` when it does not open.
    pub directory: Option<DirectoryState>,
    /// Logins of the last 24 hours, by door, means and result.
    pub logins: Vec<LoginCount>,
}

/// The copy of the national directory, for the dashboard.
#[derive(Clone, Debug)]
pub struct DirectoryState {
    /// Its rows and addresses; `None` before the first import.
    pub mailboxes: Option<(u64, u64)>,
    /// How old it is.
    pub age: Duration,
    /// Old enough for a warning.
    pub is_old: bool,
    /// When a source answered well last.
    pub succeeded: Option<Timestamp>,
    /// When a source was asked last, and why it failed, if it did.
    pub tried: Option<Timestamp>,
    /// As above.
    pub error: Option<String>,
    /// Mailboxes that differ.
    pub drift: Option<usize>,
}

/// What the pages ask of the relay.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
    /// 128 random bits as text.
    fn random_token(&self) -> Secret<String>;
    /// True when the domain belongs to the trust space.
    fn trusts(&self, domain: &Domain) -> bool;
    /// Counts a login at these pages.
    fn count_login(&self, succeeded: bool);
    /// A share of the memory for clear text.
    async fn reserve(&self, octets: u64) -> Result<Option<ClearPermit>, Refusal>;
    /// The mailbox that name and password open.
    async fn login(
        &self,
        ip: Option<IpAddr>,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Account, Refusal>;
    /// A place among those who are in a mailbox, for a login to the pages that begins now; `None`
    /// where nobody keeps such a list.
    ///
    /// # Errors
    /// Why nobody may come in: the mailbox has closed meanwhile, or too many are in.
    async fn seat(
        &self,
        _ip: Option<IpAddr>,
        _account: &Account,
        _vouched: Option<&Vouched>,
    ) -> Result<Option<Seat>, Refusal> {
        Ok(None)
    }
    /// Programs and browsers that are in a mailbox at this moment.
    fn sessions(&self, _account: &Account) -> Vec<Listed> {
        Vec::new()
    }
    /// Ends the sessions of mail programs for which the OpenID provider vouched: how many.
    fn end_vouched(&self, _sid: Option<&str>, _subject: Option<&str>) -> usize {
        0
    }
    /// Ends one of them; false when the mailbox has no such session.
    fn end_session(&self, _account: &Account, _id: &SessionId) -> bool {
        false
    }
    /// Second factors of a mailbox. Without an answer nobody may come in by a password alone.
    async fn factors(&self, _account: &Account) -> Result<Overview, Refusal> {
        Ok(Overview::default())
    }
    /// Turns one-time codes on; false when the code does not belong to the secret. `besides`: other
    /// factors were shown a moment ago.
    async fn confirm_totp(
        &self,
        _account: &Account,
        _secret: &Secret<Vec<u8>>,
        _code: &str,
        _besides: bool,
    ) -> Result<bool, Refusal> {
        Ok(false)
    }
    /// Takes a one-time code or a recovery code; each counts once.
    async fn take_code(&self, _account: &Account, _code: &str) -> Result<bool, Refusal> {
        Ok(false)
    }
    /// New recovery codes; the ones before are void.
    async fn recovery_codes(&self, _account: &Account) -> Result<Vec<Secret<String>>, Refusal> {
        Ok(Vec::new())
    }
    /// Turns second factors off.
    async fn remove_factors(&self, _account: &Account) -> Result<(), Refusal> {
        Ok(())
    }
    /// Passkeys are offered here.
    fn has_passkeys(&self) -> bool {
        false
    }
    /// Second factors of a mailbox, or passkeys of an administrator.
    async fn factors_of(&self, _owner: Owner<'_>) -> Result<Overview, Refusal> {
        Ok(Overview::default())
    }
    /// Asks a browser to make a passkey.
    async fn begin_passkey(&self, _owner: Owner<'_>) -> Result<Challenge, Refusal> {
        Err(Refusal::DependencyFailed)
    }
    /// Keeps what it made. `besides`: other factors were shown a moment ago.
    async fn finish_passkey(
        &self,
        _owner: Owner<'_>,
        _ceremony: Ceremony,
        _name: &str,
        _answer: &str,
        _besides: bool,
    ) -> Result<PasskeyRegistered, Refusal> {
        Ok(PasskeyRegistered::No)
    }
    /// Asks a browser to show a passkey; `None` when there is none.
    async fn ask_passkey(&self, _owner: Owner<'_>) -> Result<Option<Challenge>, Refusal> {
        Ok(None)
    }
    /// Looks at what it showed; each challenge counts once.
    async fn take_passkey(
        &self,
        _owner: Owner<'_>,
        _ceremony: Ceremony,
        _answer: &str,
    ) -> Result<Shown, Refusal> {
        Ok(Shown::No)
    }
    /// Forgets a passkey.
    async fn remove_passkey(
        &self,
        _owner: Owner<'_>,
        _handle: uuid::Uuid,
        _one_must_stay: bool,
    ) -> Result<Removed, Refusal> {
        Ok(Removed::No)
    }
    /// App passwords of a mailbox, oldest first.
    async fn app_passwords(&self, _account: &Account) -> Result<Vec<AppPassword>, Refusal> {
        Ok(Vec::new())
    }
    /// Makes one; it is shown once.
    async fn add_app_password(
        &self,
        account: &Account,
        new: NewAppPassword,
    ) -> Result<Secret<String>, NoAppPassword>;
    /// Ends one, and the sessions that it opened.
    async fn revoke_app_password(&self, account: &Account, name: &str)
    -> Result<(), NoAppPassword>;
    /// When somebody last came into a mailbox.
    async fn last_login(&self, _account: &Account) -> Result<LastLogin, Refusal> {
        Ok(LastLogin::Unknown)
    }
    /// Takes the time step of an administrator's one-time code; each counts once, for ever.
    async fn take_administrators_step(
        &self,
        administrator: &str,
        step: u64,
    ) -> Result<bool, Refusal>;
    /// The OpenID provider by which professionals log in, when there is one.
    fn sso(&self) -> Option<Sso> {
        None
    }
    /// Mailboxes of which this professional (8 + RPPS) is the holder, open ones, for somebody
    /// whom the OpenID provider vouched for at this moment.
    async fn held(&self, _ip: Option<IpAddr>, _national_id: &str) -> Result<Vec<Account>, Refusal> {
        Ok(Vec::new())
    }
    /// Notes that somebody for whom the provider vouched opened this mailbox's page.
    async fn arrived(&self, _account: &Account, _ip: Option<IpAddr>) {}
    /// The mailbox of an address, if it is here and open.
    async fn mailbox(&self, _address: &Address) -> Result<Option<Account>, Refusal> {
        Ok(None)
    }
    /// Certificates of OpenPGP that are published: the one in use first, then revoked ones.
    async fn published(&self, _wanted: &Sought) -> Result<Vec<PeerCertificate>, Refusal> {
        Ok(Vec::new())
    }
    /// The own certificate of a mailbox.
    async fn own_certificate(&self, _account: &Account) -> Option<Registered> {
        None
    }
    /// Seals a code to a certificate that somebody wants to register: the certificate as it would
    /// be kept, and the armoured message.
    fn challenge(
        &self,
        _account: &Account,
        _certificate: &PeerCertificate,
        _text: &str,
    ) -> Result<(PeerCertificate, Vec<u8>), CertificateFlaw> {
        Err(CertificateFlaw::Unreadable)
    }
    /// Looks at the code that somebody read, and registers the certificate when it is right.
    async fn prove(&self, _account: &Account, _code: &str) -> Result<Proof, String> {
        Ok(Proof::Over)
    }
    /// Takes the registration of an own certificate back.
    async fn remove_own_certificate(&self, _account: &Account) -> Result<(), String> {
        Ok(())
    }
    /// Mailboxes of the trust space that have these words.
    async fn find(&self, _words: &str) -> Result<Found, Refusal> {
        Ok(Found { cards: Vec::new(), reach: Reach::All })
    }
    /// A part of the list of received letters.
    async fn rows(&self, account: &Account, slice: Slice) -> Result<Rows, MailboxError>;
    /// One letter, opened.
    async fn letter(
        &self,
        account: &Account,
        folder: FolderId,
        uid: Uid,
    ) -> Result<Letter, MailboxError>;
    /// True when this correspondent closed the exchange with, or after, this letter and did not
    /// write again.
    async fn is_closed(&self, account: &Account, letter: &Letter) -> Result<bool, MailboxError>;
    /// One attachment of a letter.
    async fn attachment(
        &self,
        account: &Account,
        folder: FolderId,
        uid: Uid,
        index: usize,
    ) -> Result<Option<Download>, MailboxError>;
    /// Adds marks to a letter.
    async fn mark(
        &self,
        account: &Account,
        folder: FolderId,
        uid: Uid,
        flags: Flags,
    ) -> Result<(), MailboxError>;
    /// Notes for the sender's administrators that a letter was opened for the first time.
    async fn note_read(&self, _account: &Account, _letter: &Letter) {}
    /// Sends a letter of this patient to one recipient. `Ok` only when the relay has taken
    /// responsibility for it.
    async fn send(
        &self,
        account: &Account,
        ip: Option<IpAddr>,
        to: &Address,
        letter: &[u8],
    ) -> Result<(), Refusal>;
    /// Files the copy of a sent letter.
    async fn file_sent(
        &self,
        account: &Account,
        letter: Secret<Vec<u8>>,
    ) -> Result<(), MailboxError>;
    /// A part of the list of mailboxes.
    async fn mailboxes(&self, _wanted: &lives::Wanted) -> Result<lives::Found, String> {
        Ok(lives::Found::default())
    }
    /// One mailbox with its history.
    async fn life(&self, _id: &MailboxId) -> Result<Option<(Seen, Vec<Record>)>, String> {
        Ok(None)
    }
    /// Makes a step in a mailbox's life, or asks for it where that takes two.
    async fn press(
        &self,
        _id: &MailboxId,
        _step: Step,
        _reason: &str,
        _administrator: &str,
    ) -> Result<Pressed, Undone> {
        Err(Undone::NoSuchMailbox)
    }
    /// Second factors of a mailbox of that number.
    async fn factors_at(&self, _id: &MailboxId) -> Result<Overview, Refusal> {
        Ok(Overview::default())
    }
    /// Forgets them, or asks for it where that takes two.
    async fn reset_factors(
        &self,
        _id: &MailboxId,
        _reason: &str,
        _administrator: &str,
    ) -> Result<Pressed, Undone> {
        Err(Undone::NoSuchMailbox)
    }
    /// What waits for a second administrator.
    async fn petitions(&self) -> Result<Vec<Waiting>, String> {
        Ok(Vec::new())
    }
    /// Says yes or no to what waits.
    async fn reply(
        &self,
        _id: &uuid::Uuid,
        _is_approved: bool,
        _reason: &str,
        _administrator: &str,
    ) -> Result<(), Undone> {
        Err(Undone::NoSuchPetition)
    }
    /// Statistics, from the facts.
    async fn statistics(&self, from: Day, to: Day) -> Result<Vec<StatRow>, StoreError>;
    /// The relay at this moment.
    async fn state(&self, house: &House) -> RelayState;
}

impl House {
    /// What the pages know of this configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            name: config.operator.name.clone(),
            citizen_domain: config.operator.citizen_domains.first().cloned(),
            message_octets: config.limits.message_octets,
            admin_user: config.admin.user.clone(),
            admin_password_file: config.admin.password_file.clone(),
            logins_failed_per_minute: config.limits.logins_failed_per_minute,
            certificates: [config.tls.certificate.clone(), config.mx.certificate.clone()],
            trust_list: config.storage.data_dir.join("trust-list.xml"),
            setup: setup::setup(config),
            second_factor: config.login.second_factor,
            certificates_of: match config.openpgp.wkd {
                true => config.operator.domains.clone(),
                false => Vec::new(),
            },
        }
    }
}
