//! Directories in an order, and the mailbox to which their answer leads.
mod apps; // app passwords, whoever knows the person
mod flights; // the same question, asked once
mod memory; // passwords that were right a short while ago
mod proofs; // SCRAM, certificates

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use crate::domain::address::Address;
use crate::domain::login::Means;
use crate::domain::login::Network;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::clock::Clock;
use crate::infra::clock::SystemClock;
use crate::infra::directory::Account;
use crate::infra::directory::Answered;
use crate::infra::directory::Directory;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Identified;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::Verdict;
use crate::infra::directory::Voucher;
use crate::infra::directory::chain::flights::Flights;
use crate::infra::directory::chain::memory::Memory;
use crate::infra::directory::chain::memory::Tag;

/// What memory calls the mechanisms that end in a password: PLAIN, LOGIN, USER and PASS.
const PASSWORD: &str = "password";
/// And the ones that end in a bearer token.
const TOKEN: &str = "token";

/// A login that a directory vouches for, and the mailbox that it opens.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The mailbox.
    pub account: Account,
    /// Who vouches.
    pub source: Source,
    /// What was shown.
    pub means: Means,
    /// What it is good for.
    pub scope: Scope,
    /// The only network from which it is good.
    pub network: Option<Network>,
    /// When what was shown ends.
    pub until: Option<Timestamp>,
    /// Who it is to an OpenID provider, when that vouches.
    pub voucher: Option<Voucher>,
}

/// How one directory does, for administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Which one.
    pub directory: Source,
    /// Since when it does not answer; `None`: it answers, or was never asked.
    pub away_since: Option<Timestamp>,
    /// Why it does not answer; empty when it does.
    pub reason: String,
    /// When it last answered.
    pub answered: Option<Timestamp>,
}

/// Counts what directories are asked. `relay` lends it: rooms of this floor do not know each
/// other.
pub trait Observer: Send + Sync {
    /// A question, its result (`known`, `refused`, `stranger`, `away`, `failed`, `remembered`,
    /// `grace`) and how long it took.
    fn asked(&self, directory: Source, result: &'static str, took: Duration);
    /// A directory went away at this moment; `None`: it answers.
    fn away(&self, directory: Source, since: Option<Timestamp>);
}

/// All directories of `login.directories`.
///
/// They are asked in their order until one knows the name. One that is away is passed over: the
/// accounts of the others log in. Whoever is found nowhere then hears that a directory does not
/// answer, because that one might have known them.
pub struct Chain {
    directories: Vec<Asked>,
    mailboxes: Arc<dyn Mailboxes>,
    clock: Arc<dyn Clock>,
    memory: Option<Memory>,
    observer: Option<Arc<dyn Observer>>,
}

/// A directory, and what is known about how it does.
struct Asked {
    directory: Arc<dyn Directory>,
    state: Mutex<State>,
    flights: Flights,
}

#[derive(Default)]
struct State {
    away: Option<(Timestamp, String)>,
    answered: Option<Timestamp>,
}

impl Chain {
    /// These, asked in this order; nothing is remembered.
    pub fn new(directories: Vec<Arc<dyn Directory>>, mailboxes: Arc<dyn Mailboxes>) -> Self {
        let asked =
            |directory| Asked { directory, state: Mutex::default(), flights: Flights::default() };
        Self {
            directories: directories.into_iter().map(asked).collect(),
            mailboxes,
            clock: Arc::new(SystemClock),
            memory: None,
            observer: None,
        }
    }

    /// Passwords that were right serve for `cache` without asking, and for `grace` while their
    /// directory is away.
    ///
    /// # Errors
    /// [`DirectoryError::Keys`] without randomness.
    pub fn remembering(
        mut self,
        cache: Duration,
        grace: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DirectoryError> {
        self.memory = Some(Memory::new(cache, grace)?);
        self.clock = clock;
        Ok(self)
    }

    /// Somebody counts.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        for asked in &self.directories {
            observer.away(asked.directory.source(), None);
        }
        self.observer = Some(observer);
        self
    }

    /// Where the mailboxes are found.
    pub fn mailboxes(&self) -> &dyn Mailboxes {
        self.mailboxes.as_ref()
    }

    /// The mailbox that this name and password open; `None` when they do not.
    ///
    /// # Errors
    /// [`DirectoryError::Away`] when nobody could be asked, [`DirectoryError::Unsettled`] when
    /// those who could be asked say no; and the failures of the store.
    pub async fn password(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Admitted>, DirectoryError> {
        // RFC 4513 §5.1.2: with an empty password, LDAP servers say yes to anybody.
        if password.expose().is_empty() {
            return Ok(None);
        }
        if let Some(admitted) = self.app_password_at_length(name, password).await? {
            return Ok(Some(admitted));
        }
        let mut silent: Option<DirectoryError> = None;
        let mut answered = false;
        for (place, asked) in self.directories.iter().enumerate() {
            match self.ask(asked, name, password).await {
                Ok(Verdict::Known(identified)) => {
                    return self.opened(name, asked.directory.source(), identified).await;
                }
                Ok(Verdict::Stranger) => answered = true,
                Ok(Verdict::Refused) => {
                    answered = true;
                    for later in &self.directories[place + 1..] {
                        later.directory.pretend(name).await;
                    }
                    break;
                }
                Err(error @ DirectoryError::Away { .. }) => silent = silent.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match silent {
            // Whether the others know the name or not: otherwise the answer would tell.
            Some(DirectoryError::Away { directory, .. }) if answered => {
                Err(DirectoryError::Unsettled { away: directory })
            }
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    /// What one directory, or the memory of it, says.
    async fn ask(
        &self,
        asked: &Asked,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Verdict, DirectoryError> {
        let began = self.clock.now();
        let directory = asked.directory.as_ref();
        let Some(memory) = &self.memory else {
            let verdict = directory.password(name, password).await;
            self.note(asked, began, &verdict);
            return verdict;
        };
        let tag = memory.tag(PASSWORD, directory.source(), name, password.expose().as_bytes());
        let mark = directory.mark(name).await?;
        if let Some(identified) = mark.and_then(|mark| memory.fresh(&tag, &mark, began)) {
            self.count(asked, "remembered", began);
            return Ok(Verdict::Known(identified));
        }
        let question = || directory.answer(name, password);
        // Local accounts bound their own work; a directory outside is spared the same question.
        let answer = match directory.source() {
            Source::Local => question().await,
            _ => asked.flights.join(&tag, question).await,
        };
        let (verdict, identity) = match answer {
            Ok(Answered { verdict, identity }) => (Ok(verdict), identity),
            Err(error) => (Err(error), None),
        };
        let identity = identity.as_deref();
        self.note(asked, began, &verdict);
        match &verdict {
            // An app password is one of several, and can be revoked: its directory remembers it.
            Ok(Verdict::Known(known)) if known.means == Means::Password => {
                if let Some(mark) = mark {
                    memory.keep(&tag, identity, mark, known, self.clock.now());
                }
            }
            Ok(Verdict::Known(_)) => {}
            Ok(Verdict::Refused) => memory.drop_shown(&tag, identity),
            Ok(Verdict::Stranger) => memory.drop_person(&tag),
            Err(DirectoryError::Away { .. }) => {
                if let Some(identified) = memory.in_grace(&tag, self.clock.now()) {
                    self.count(asked, "grace", began);
                    return Ok(Verdict::Known(identified));
                }
            }
            Err(_) => {}
        }
        verdict
    }

    /// The mailbox that this token opens under this name.
    ///
    /// # Errors
    /// As of [`Chain::password`].
    pub async fn token(
        &self,
        name: &str,
        token: &Secret<String>,
    ) -> Result<Option<Admitted>, DirectoryError> {
        let mut silent = None;
        for asked in &self.directories {
            let (directory, began) = (asked.directory.as_ref(), self.clock.now());
            let source = directory.source();
            let question = async || {
                let verdict = directory.token(name, token).await?;
                Ok(Answered { verdict, identity: None })
            };
            // The name is not written in the token: it counts as much as the token does.
            let answer = match &self.memory {
                Some(memory) => {
                    let tag = memory.tag(TOKEN, source, name, token.expose().as_bytes());
                    asked.flights.join(&tag, question).await
                }
                None => question().await,
            };
            let verdict = answer.map(|answered| answered.verdict);
            // Directories that know no tokens say so at once: that is no answer worth counting.
            if !matches!(verdict, Ok(Verdict::Stranger)) {
                self.note(asked, began, &verdict);
            }
            match verdict {
                Ok(Verdict::Stranger) => {}
                Ok(Verdict::Refused) => return Ok(None),
                Ok(Verdict::Known(identified)) => {
                    return self.opened(name, source, identified).await;
                }
                Err(error @ DirectoryError::Away { .. }) => silent = silent.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        silent.map_or(Ok(None), Err)
    }

    /// The same, for a login that was right a short while ago; cheap. `None` says nothing about
    /// the password.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recently(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Admitted>, DirectoryError> {
        for asked in &self.directories {
            let directory = asked.directory.as_ref();
            let found = match self.remembered(asked, name, password).await? {
                Some(identified) => Some(identified),
                None => directory.recently_verified(name, password).await?,
            };
            if let Some(identified) = found {
                self.count(asked, "remembered", self.clock.now());
                return self.opened(name, directory.source(), identified).await;
            }
        }
        Ok(None)
    }

    async fn remembered(
        &self,
        asked: &Asked,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Identified>, DirectoryError> {
        let Some(memory) = &self.memory else { return Ok(None) };
        let directory = asked.directory.as_ref();
        let Some(mark) = directory.mark(name).await? else { return Ok(None) };
        let tag = memory.tag(PASSWORD, directory.source(), name, password.expose().as_bytes());
        Ok(memory.fresh(&tag, &mark, self.clock.now()))
    }

    /// Whoever may open this mailbox must show their password again. How many are forgotten.
    pub fn forget(&self, mailbox: &Address) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.forget(mailbox))
    }

    /// How many passwords are remembered.
    pub fn remembers(&self) -> usize {
        self.memory.as_ref().map_or(0, Memory::len)
    }

    /// How each directory does, in their order.
    pub fn health(&self) -> Vec<Health> {
        let health = |asked: &Asked| {
            let state = asked.state();
            let (away_since, reason) = state.away.clone().unzip();
            Health {
                directory: asked.directory.source(),
                away_since,
                reason: reason.unwrap_or_default(),
                answered: state.answered,
            }
        };
        self.directories.iter().map(health).collect()
    }

    /// What is wrong with directories outside, each with the key to mend; for the log.
    pub async fn probe(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for asked in &self.directories {
            findings.extend(asked.directory.probe().await);
        }
        findings
    }

    /// Tries what was away, so that no login has to.
    pub async fn revive(&self) {
        for asked in &self.directories {
            match asked.directory.revive().await {
                Some(Ok(())) => self.answers(asked),
                Some(Err(reason)) => self.is_away(asked, &reason),
                None => {}
            }
        }
    }

    /// A token that was right a short while ago, under this name; cheap. `None` says nothing about
    /// the token.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recent_token(
        &self,
        name: &str,
        token: &Secret<String>,
    ) -> Result<Option<Admitted>, DirectoryError> {
        for asked in &self.directories {
            let directory = asked.directory.as_ref();
            if let Some(identified) = directory.recent_token(token).await {
                self.count(asked, "remembered", self.clock.now());
                return self.opened(name, directory.source(), identified).await;
            }
        }
        Ok(None)
    }

    /// Which of a person's mailboxes is meant, if they have it and it is open.
    async fn opened(
        &self,
        name: &str,
        source: Source,
        identified: Identified,
    ) -> Result<Option<Admitted>, DirectoryError> {
        self.opened_as(name, name, source, identified).await
    }

    /// The same for whoever logs in as `name` and means the mailbox `meant`.
    async fn opened_as(
        &self,
        name: &str,
        meant: &str,
        source: Source,
        identified: Identified,
    ) -> Result<Option<Admitted>, DirectoryError> {
        let Identified {
            mut mailboxes,
            national_id,
            display_name,
            means,
            scope,
            network,
            until,
            voucher,
        } = identified;
        if let Some(national_id) = national_id {
            mailboxes.extend(self.mailboxes.held_by(&national_id).await?);
        }
        let meant = match Address::parse(meant) {
            Ok(meant) => mailboxes.into_iter().find(|address| *address == meant),
            Err(_) => mailboxes.into_iter().next(),
        };
        let Some(address) = meant else { return Ok(None) };
        if matches!(means, Means::AppPassword(_)) && !self.is_vouched(name, &address).await? {
            return Ok(None);
        }
        if source == Source::Ldap {
            self.note_voucher(source, name, &address).await?;
        }
        // Asked each time, remembered or not: a mailbox that was closed stays shut at once.
        let found = self.mailboxes.find(&address).await?.filter(|account| !account.suspended);
        Ok(found.map(|mut account| {
            // The person's name is not the name of a ward's mailbox.
            if let (Some(name), MailboxKind::Personal) = (display_name, account.kind) {
                account.display_name = name;
            }
            Admitted { account, source, means, scope, network, until, voucher }
        }))
    }

    fn note(&self, asked: &Asked, began: Timestamp, verdict: &Result<Verdict, DirectoryError>) {
        let result = match verdict {
            Ok(Verdict::Known(_)) => "known",
            Ok(Verdict::Refused) => "refused",
            Ok(Verdict::Stranger) => "stranger",
            Err(DirectoryError::Away { .. }) => "away",
            Err(_) => "failed",
        };
        self.count(asked, result, began);
        match verdict {
            Ok(_) => self.answers(asked),
            Err(DirectoryError::Away { reason, .. }) => self.is_away(asked, reason),
            Err(_) => {}
        }
    }

    fn count(&self, asked: &Asked, result: &'static str, began: Timestamp) {
        if let Some(observer) = &self.observer {
            let took = self.clock.now().since(began);
            observer.asked(asked.directory.source(), result, took);
        }
    }

    fn answers(&self, asked: &Asked) {
        let source = asked.directory.source();
        let mut state = asked.state();
        state.answered = Some(self.clock.now());
        if state.away.take().is_some() {
            tracing::info!(directory = source.name(), "the directory answers again");
            if let Some(observer) = &self.observer {
                observer.away(source, None);
            }
        }
    }

    /// Said once, and not at each login.
    fn is_away(&self, asked: &Asked, reason: &str) {
        let (source, now) = (asked.directory.source(), self.clock.now());
        let mut state = asked.state();
        let since = state.away.as_ref().map_or(now, |(since, _)| *since);
        if state.away.is_none() {
            let directory = source.name();
            tracing::error!(directory, reason, "the directory does not answer; its people wait");
            if let Some(observer) = &self.observer {
                observer.away(source, Some(now));
            }
        }
        state.away = Some((since, reason.to_owned()));
    }
}

impl Asked {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
