//! Who has a mailbox here, and who may log in to it.
pub mod accounts;
pub mod chain;
pub mod ldap;
pub mod factors;
mod hashing;
mod letters;
pub mod oidc;

use std::net::IpAddr;

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::address::Address;
use crate::domain::login::Entrance;
use crate::domain::login::Means;
use crate::domain::login::Network;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;

/// A mailbox of this relay, as the directory knows it.
#[derive(Clone, Debug)]
pub struct Account {
    /// The mailbox's identity; rows and keys are bound to it.
    pub id: MailboxId,
    /// Its address. Immutable.
    pub address: Address,
    /// Its kind. Immutable.
    pub kind: MailboxKind,
    /// Shown in the public directory or not.
    pub listing: Listing,
    /// Closed for now: it neither sends nor receives.
    pub suspended: bool,
    /// What people call it, e.g. `Dr Marie MARTIN`; sealed on disk for patients.
    pub display_name: String,
    /// Public OpenPGP certificate, binary.
    pub certificate: Bytes,
    /// Wrapped secret keys, opaque here.
    pub wrapped_keys: Bytes,
    /// When it was created.
    pub created: Timestamp,
}

/// What a new mailbox needs.
pub struct NewAccount<'a> {
    /// Its address, for ever.
    pub address: Address,
    /// Its kind, for ever.
    pub kind: MailboxKind,
    /// Shown in the public directory or not.
    pub listing: Listing,
    /// What people call it.
    pub display_name: String,
    /// Its first password. Without one nobody logs in with a password until one is set.
    pub password: Option<&'a Secret<String>>,
}

/// Why the directory did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The store failed.
    #[error("directory: {0}")]
    Store(String),
    /// A row does not have the form that was written.
    #[error("directory: damaged account: {0}")]
    Damaged(String),
    /// A key could not be made or opened.
    #[error("directory: keys: {0}")]
    Keys(String),
    /// The address is taken: it is never given to another mailbox.
    #[error("the address has a mailbox already")]
    Taken,
    /// No such mailbox.
    #[error("no such mailbox")]
    Unknown,
    /// Too many passwords wait to be checked.
    #[error("too many passwords wait to be checked")]
    Busy,
    /// A directory outside did not answer, or not in time.
    #[error("{} does not answer: {reason}", .directory.name())]
    Away {
        /// Which one.
        directory: Source,
        /// Why, without names of people and without secrets.
        reason: String,
    },
    /// A directory outside did not answer, and another one says no: the first might have said
    /// yes, so this is not the end, but it was a guess and counts as one.
    #[error("{} does not answer, and another directory says no", .away.name())]
    Unsettled {
        /// Which one did not answer.
        away: Source,
    },
}

/// What a directory says about somebody who showed something.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It never heard of the name: the next directory may have.
    Stranger,
    /// It knows the name, and what was shown is not right. Nobody else is asked.
    Refused,
    /// It is this person.
    Known(Identified),
}

/// What a directory says, and what it calls the person itself, however the name was written.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What it says.
    pub verdict: Verdict,
    /// Its own name for whoever is meant, where one person has several login names: a number, an
    /// address, another letter case. Also when what was shown is wrong. It is kept as a keyed hash
    /// and told to nobody.
    pub identity: Option<String>,
}

/// What an OpenID provider calls somebody, and the session that it gave them: its logout messages
/// name them so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// Its name for the person (`sub`).
    pub subject: String,
    /// Its session (`sid`), when the token names it.
    pub sid: Option<String>,
}

/// Which directory outside knows the person of a mailbox, and under which login name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Which one.
    pub source: Source,
    /// The login name.
    pub name: String,
}

/// Somebody whom a directory knows.
#[derive(Clone, Debug)]
pub struct Identified {
    /// Mailboxes that the person may open. The first one is meant when the login name is none.
    pub mailboxes: Vec<Address>,
    /// National identity, `8` + RPPS, when the directory has it: what it holds opens, too.
    pub national_id: Option<String>,
    /// What people call them, when the directory says so.
    pub display_name: Option<String>,
    /// What they showed.
    pub means: Means,
    /// What it is good for.
    pub scope: Scope,
    /// The only network from which it is good; `None` for all.
    pub network: Option<Network>,
    /// When what they showed ends; a session outlives it, but not by long.
    pub until: Option<Timestamp>,
    /// Who they are to an OpenID provider, when it was one.
    pub voucher: Option<Voucher>,
}

/// Somebody who has just come in.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Into which mailbox.
    pub mailbox: MailboxId,
    /// What they showed.
    pub means: Means,
    /// By which door.
    pub entrance: Entrance,
    /// From where; `None` for this machine.
    pub ip: Option<IpAddr>,
    /// When.
    pub at: Timestamp,
}

/// What a server keeps of a password for SCRAM (RFC 5803): it does not log in with it.
#[derive(Debug)]
pub struct ScramKeys {
    /// The salt.
    pub salt: Vec<u8>,
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// H(HMAC(SaltedPassword, "Client Key")).
    pub stored_key: Secret<[u8; 32]>,
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: Secret<[u8; 32]>,
    /// Keys of the same mailbox's app passwords, with the same salt and rounds: whoever proves to
    /// know one of these is who it says.
    pub app_passwords: Vec<AppScramKeys>,
}

/// What a server keeps of an app password for SCRAM.
#[derive(Debug)]
pub struct AppScramKeys {
    /// As of [`ScramKeys`].
    pub stored_key: Secret<[u8; 32]>,
    /// As of [`ScramKeys`].
    pub server_key: Secret<[u8; 32]>,
    /// Whom it is good for, and for what.
    pub identified: Identified,
}

/// Says who somebody is: local accounts, an LDAP directory, an OpenID provider.
///
/// A name that is unknown takes as long as a wrong password, wherever we can see to that.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Which one this is.
    fn source(&self) -> Source;

    /// Whose name and password are these?
    async fn password(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Verdict, DirectoryError>;

    /// [`Directory::password`], and whom the name means to the directory itself.
    async fn answer(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Answered, DirectoryError> {
        let verdict = self.password(name, password).await?;
        Ok(Answered { verdict, identity: None })
    }

    /// Whether somebody of this name could log in here with the right password; nothing is shown.
    /// [`Verdict::Refused`]: the name is known, and its person is kept out. A directory that
    /// cannot tell knows nobody.
    async fn standing(&self, _name: &str) -> Result<Verdict, DirectoryError> {
        Ok(Verdict::Stranger)
    }

    /// A bearer token that was found right before and has not ended: cheap, so that it may be
    /// asked before anything is throttled. `None` says nothing about the token.
    async fn recent_token(&self, _token: &Secret<String>) -> Option<Identified> {
        None
    }

    /// [`Directory::password`], but only when this very login was found right a short while ago: cheap, so
    /// that it may be asked before anything is throttled. `None` says nothing about the password.
    async fn recently_verified(
        &self,
        _name: &str,
        _password: &Secret<String>,
    ) -> Result<Option<Identified>, DirectoryError> {
        Ok(None)
    }

    /// What was right is remembered for `login.cache_seconds` by the chain, and only as long as
    /// this mark is the same: it changes with whatever the directory keeps about the name. A
    /// directory that cannot tell has one mark for ever. `None`: the chain remembers nothing,
    /// because the directory does it better (`recently_verified`), or nobody should.
    async fn mark(&self, _name: &str) -> Result<Option<[u8; 32]>, DirectoryError> {
        Ok(None)
    }

    /// Takes as long as `password` takes, and tells nobody anything: when another directory
    /// has said no, the answer must not come sooner than for a name that nobody knows.
    async fn pretend(&self, _name: &str) {}

    /// What is wrong with its set-up or its servers, with the key to mend, for the log.
    async fn probe(&self) -> Vec<String> {
        Vec::new()
    }

    /// Tries servers that were away, so that no login waits for one of these. Whether anybody
    /// answers, and if not why; `None`: it does not watch itself.
    async fn revive(&self) -> Option<Result<(), String>> {
        None
    }

    /// What SCRAM needs about a name; `None` where a directory keeps no such thing.
    async fn scram(&self, _name: &str) -> Result<Option<ScramKeys>, DirectoryError> {
        Ok(None)
    }

    /// Whose bearer token is this? `name` is the mailbox to be opened.
    async fn token(&self, _name: &str, _token: &Secret<String>) -> Result<Verdict, DirectoryError> {
        Ok(Verdict::Stranger)
    }
}

/// The mailboxes to which a directory's answers lead.
#[async_trait]
pub trait Mailboxes: Send + Sync {
    /// The mailbox of an address.
    async fn find(&self, address: &Address) -> Result<Option<Account>, DirectoryError>;

    /// Mailboxes of which a professional is the holder or a co-holder, by `8` + RPPS.
    async fn held_by(&self, national_id: &str) -> Result<Vec<Address>, DirectoryError>;

    /// Whom this app password of a mailbox is good for; `None` when it is none of this mailbox's,
    /// over, revoked, or the mailbox is closed. Cheap: an app password is too long to guess.
    async fn app_password(
        &self,
        _mailbox: &Address,
        _password: &Secret<String>,
    ) -> Result<Option<Identified>, DirectoryError> {
        Ok(None)
    }

    /// The mailbox that a login name means here, whether it exists or not; `None` when it can be
    /// none.
    fn meant(&self, name: &str) -> Option<Address> {
        Address::parse(name).ok()
    }

    /// True when a password was set for the mailbox here: then it is a local account, whatever
    /// another directory knows.
    async fn has_password(&self, _mailbox: &Address) -> Result<bool, DirectoryError> {
        Ok(true)
    }

    /// Under which name a directory outside vouched for the mailbox's person last, if one ever did.
    async fn vouched(&self, _mailbox: &Address) -> Result<Option<Vouched>, DirectoryError> {
        Ok(None)
    }

    /// Remembers that one does. Durable soon; it neither waits for that nor fails.
    async fn vouch(&self, _mailbox: &Address, _vouched: &Vouched) {}

    /// Remembers that somebody came in. Durable soon; it neither waits for that nor fails.
    async fn arrived(&self, _arrival: &Arrival) {}

    /// True when somebody came into the mailbox of this login name from this network lately. The
    /// answer never leaves this machine: it would tell that the name exists.
    async fn is_usual(&self, _name: &str, _network: Network) -> bool {
        false
    }
}

/// What the directory asks of the keyring. `relay` lends it: rooms of this floor do not know
/// each other.
pub trait KeyDesk: Send + Sync {
    /// A keyed hash under which an address is found, so that no INS lies on disk.
    fn address_key(&self, address: &Address) -> [u8; 32];
    /// Seals a patient's address and name.
    fn seal_identity(&self, clear: &[u8]) -> Vec<u8>;
    /// Opens what `seal_identity` made.
    fn open_identity(&self, sealed: &[u8]) -> Option<Secret<Vec<u8>>>;
    /// Seals what is kept of a login. What it is and whose is bound in (`context`): moved to
    /// another row it does not open.
    fn seal(&self, context: &[u8], clear: &[u8]) -> Vec<u8>;
    /// Opens what `seal` made in the same context.
    fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Secret<Vec<u8>>>;
    /// A keyed digest that means nothing to whoever has the store and not the master key.
    fn digest(&self, context: &[u8], clear: &[u8]) -> [u8; 32];
    /// Public certificate and wrapped secret keys of a new mailbox. `has_end`: others look the
    /// certificate up, so it ends when the configuration says so.
    fn mailbox_keys(
        &self,
        owner: &MailboxId,
        user_id: &str,
        has_end: bool,
        now: Timestamp,
    ) -> Result<(Bytes, Bytes), String>;
}
