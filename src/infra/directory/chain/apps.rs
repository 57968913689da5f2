//! App passwords: a mailbox's own, whichever directory knows its person.
//!
//! No app password is handed to a directory outside: there it would count as a wrong one, and
//! lock the person out. That directory is asked whether it still knows the person, and what it
//! says is remembered as a password's answer is: for `cache`, and for `grace` while it is away.
use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::login::Source;
use crate::domain::secret::Secret;
use crate::infra::directory::Answered;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Identified;
use crate::infra::directory::Verdict;
use crate::infra::directory::Vouched;
use crate::infra::directory::chain::Admitted;
use crate::infra::directory::chain::Asked;
use crate::infra::directory::chain::Chain;
use crate::infra::directory::letters;

/// What memory calls the answer that somebody is still there.
const STANDING: &str = "standing";

/// Whether directories outside may be asked whom a name means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Yes.
    Asked,
    /// Only what is remembered counts.
    Remembered,
}

impl Chain {
    /// The mailbox that this app password opens; `None` when it is none. Cheap for everything else
    /// that is shown, and nobody guesses one: it may be asked before anything is throttled.
    ///
    /// # Errors
    /// As of [`Chain::password`].
    pub async fn app_password(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Admitted>, DirectoryError> {
        self.by_app_password(name, password, Names::Remembered).await
    }

    /// The same in the course of a login that was counted: it takes as long as a wrong password.
    pub(super) async fn app_password_at_length(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Admitted>, DirectoryError> {
        let found = self.by_app_password(name, password, Names::Asked).await?;
        if found.is_some() {
            for asked in &self.directories {
                if asked.directory.source() == Source::Local {
                    asked.directory.pretend(name).await;
                }
            }
        }
        Ok(found)
    }

    async fn by_app_password(
        &self,
        name: &str,
        password: &Secret<String>,
        names: Names,
    ) -> Result<Option<Admitted>, DirectoryError> {
        if letters::normal(password.expose(), limits::APP_PASSWORD_LETTERS).is_none() {
            return Ok(None);
        }
        if let Some(address) = self.mailboxes.meant(name)
            && let Some(identified) = self.mailboxes.app_password(&address, password).await?
        {
            return self.opened(name, Source::Local, identified).await;
        }
        // The name may be one that only a directory outside knows: a number, another address.
        for asked in self.directories.iter().filter(|asked| is_outside(asked)) {
            let person = match names {
                Names::Remembered => self.remembered_standing(asked, name),
                Names::Asked => match self.standing(asked, name).await {
                    Ok(Verdict::Known(person)) => Some(person),
                    // Whether it is away is said when the password itself is looked at.
                    Ok(_) | Err(DirectoryError::Away { .. }) => None,
                    Err(error) => return Err(error),
                },
            };
            let Some(person) = person else { continue };
            for address in self.opens(&person).await? {
                if let Some(identified) = self.mailboxes.app_password(&address, password).await? {
                    let own_name = address.to_string();
                    return self.opened_as(name, &own_name, Source::Local, identified).await;
                }
            }
        }
        Ok(None)
    }

    /// True when the person of this mailbox, who logs in under `name`, is still somebody's: of a
    /// directory outside that knows them and does not keep them out, or ours.
    ///
    /// # Errors
    /// [`DirectoryError::Away`] when the directory that vouched for them last does not answer, and
    /// its last answer is too old.
    pub(super) async fn is_vouched(
        &self,
        name: &str,
        address: &Address,
    ) -> Result<bool, DirectoryError> {
        let recorded = self.mailboxes.vouched(address).await?;
        let (mut is_ours, mut silent) = (false, None);
        for asked in &self.directories {
            let source = asked.directory.source();
            match source {
                // A local account; whoever stands before it in the order was asked already.
                Source::Local if self.mailboxes.has_password(address).await? => return Ok(true),
                // Neither of them could tell that somebody has left.
                Source::Local | Source::Oidc => is_ours = true,
                Source::Ldap => {
                    let last = recorded.as_ref().filter(|last| last.source == source);
                    match self.knows(asked, name, address, last).await {
                        Ok(Some(knows)) => return Ok(knows),
                        Ok(None) if last.is_some() => return Ok(false),
                        Ok(None) => {}
                        Err(error @ DirectoryError::Away { .. }) if last.is_none() => {
                            silent = silent.or(Some(error));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        match silent {
            Some(error) if !is_ours => Err(error),
            _ => Ok(is_ours),
        }
    }

    /// Whether a directory outside knows the person of a mailbox and lets them in; `None` when it
    /// knows nobody of these names.
    async fn knows(
        &self,
        asked: &Asked,
        name: &str,
        address: &Address,
        last: Option<&Vouched>,
    ) -> Result<Option<bool>, DirectoryError> {
        let own_name = address.to_string();
        let mut names = vec![name];
        for other in last.map(|last| last.name.as_str()).into_iter().chain([own_name.as_str()]) {
            if !names.contains(&other) {
                names.push(other);
            }
        }
        let (mut is_kept_out, mut silent) = (false, None);
        for name in names {
            match self.standing(asked, name).await {
                Ok(Verdict::Known(person)) => {
                    if self.opens(&person).await?.contains(address) {
                        self.note_voucher(asked.directory.source(), name, address).await?;
                        return Ok(Some(true));
                    }
                }
                Ok(Verdict::Refused) => is_kept_out = true,
                Ok(Verdict::Stranger) => {}
                Err(error @ DirectoryError::Away { .. }) => silent = silent.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match silent {
            Some(error) => Err(error),
            None => Ok(is_kept_out.then_some(false)),
        }
    }

    /// Remembers for good who vouched for a mailbox's person, the first time.
    pub(super) async fn note_voucher(
        &self,
        source: Source,
        name: &str,
        address: &Address,
    ) -> Result<(), DirectoryError> {
        let known = self.mailboxes.vouched(address).await?;
        if known.is_none_or(|known| known.source != source) {
            let vouched = Vouched { source, name: name.to_owned() };
            self.mailboxes.vouch(address, &vouched).await;
        }
        Ok(())
    }

    /// What a directory outside, or the memory of it, says of somebody who shows nothing.
    async fn standing(&self, asked: &Asked, name: &str) -> Result<Verdict, DirectoryError> {
        if let Some(person) = self.remembered_standing(asked, name) {
            return Ok(Verdict::Known(person));
        }
        let began = self.clock.now();
        let directory = asked.directory.as_ref();
        let Some(memory) = &self.memory else {
            let verdict = directory.standing(name).await;
            self.note(asked, began, &verdict);
            return verdict;
        };
        let tag = memory.tag(STANDING, directory.source(), name, b"");
        let question = async || {
            let verdict = directory.standing(name).await?;
            Ok(Answered { verdict, identity: None })
        };
        let verdict = asked.flights.join(&tag, question).await.map(|answered| answered.verdict);
        self.note(asked, began, &verdict);
        match &verdict {
            Ok(Verdict::Known(person)) => {
                if let Some(mark) = directory.mark(name).await? {
                    memory.keep(&tag, None, mark, person, self.clock.now());
                }
            }
            Ok(_) => memory.drop_person(&tag),
            Err(DirectoryError::Away { .. }) => {
                if let Some(person) = memory.in_grace(&tag, self.clock.now()) {
                    self.count(asked, "grace", began);
                    return Ok(Verdict::Known(person));
                }
            }
            Err(_) => {}
        }
        verdict
    }

    fn remembered_standing(&self, asked: &Asked, name: &str) -> Option<Identified> {
        let memory = self.memory.as_ref()?;
        let tag = memory.tag(STANDING, asked.directory.source(), name, b"");
        memory.fresh_by_time(&tag, self.clock.now())
    }

    /// The mailboxes that somebody may open.
    async fn opens(&self, person: &Identified) -> Result<Vec<Address>, DirectoryError> {
        let mut mailboxes = person.mailboxes.clone();
        if let Some(national_id) = &person.national_id {
            mailboxes.extend(self.mailboxes.held_by(national_id).await?);
        }
        Ok(mailboxes)
    }
}

/// A directory that knows people by itself and can tell when they have left.
fn is_outside(asked: &Asked) -> bool {
    asked.directory.source() == Source::Ldap
}
