//! Directories in an order, and the mailbox to which their answer leads.
mod proofs; // SCRAM, certificates

use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::login::Means;
use crate::domain::login::Network;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::directory::Account;
use crate::infra::directory::Directory;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Identified;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::Verdict;

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
}

/// All directories of `login.directories`.
pub struct Chain {
    directories: Vec<Arc<dyn Directory>>,
    mailboxes: Arc<dyn Mailboxes>,
}

impl Chain {
    /// These, asked in this order.
    pub fn new(directories: Vec<Arc<dyn Directory>>, mailboxes: Arc<dyn Mailboxes>) -> Self {
        Self { directories, mailboxes }
    }

    /// Where the mailboxes are found.
    pub fn mailboxes(&self) -> &dyn Mailboxes {
        self.mailboxes.as_ref()
    }

    /// The mailbox that this name and password open; `None` when they do not.
    pub async fn password(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Admitted>, DirectoryError> {
        for directory in &self.directories {
            match directory.password(name, password).await? {
                Verdict::Stranger => {}
                Verdict::Refused => return Ok(None),
                Verdict::Known(identified) => {
                    return self.opened(name, directory.source(), identified).await;
                }
            }
        }
        Ok(None)
    }

    /// The mailbox that this token opens under this name.
    pub async fn token(
        &self,
        name: &str,
        token: &Secret<String>,
    ) -> Result<Option<Admitted>, DirectoryError> {
        for directory in &self.directories {
            match directory.token(name, token).await? {
                Verdict::Stranger => {}
                Verdict::Refused => return Ok(None),
                Verdict::Known(identified) => {
                    return self.opened(name, directory.source(), identified).await;
                }
            }
        }
        Ok(None)
    }

    /// The same, for a login that was right a short while ago; cheap. `None` says nothing about
    /// the password.
    pub async fn recently(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Admitted>, DirectoryError> {
        for directory in &self.directories {
            if let Some(identified) = directory.recently_verified(name, password).await? {
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
        let Identified { mut mailboxes, national_id, means, scope, network, until } = identified;
        if let Some(national_id) = national_id {
            mailboxes.extend(self.mailboxes.held_by(&national_id).await?);
        }
        let meant = match Address::parse(name) {
            Ok(meant) => mailboxes.into_iter().find(|address| *address == meant),
            Err(_) => mailboxes.into_iter().next(),
        };
        let Some(address) = meant else { return Ok(None) };
        let account = self.mailboxes.find(&address).await?.filter(|account| !account.suspended);
        Ok(account.map(|account| Admitted { account, source, means, scope, network, until }))
    }
}
