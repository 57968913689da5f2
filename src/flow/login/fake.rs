//! A directory for tests: everybody has the same password, token and SCRAM keys.
use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::address::Address;
use crate::domain::login::Means;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::flow::login::Logins;
use crate::infra::clock::ManualClock;
use crate::infra::directory::Account;
use crate::infra::directory::Directory;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Identified;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::ScramKeys;
use crate::infra::directory::Verdict;
use crate::infra::directory::chain::Chain;
use crate::proto::sasl::scram::Keys;

struct Fake {
    source: Source,
    accounts: Vec<Account>,
    password: &'static str,
}

/// Logins of these accounts, whose password and token is `password`; the name `down` finds the
/// directory away.
pub(crate) fn logins(accounts: &[Account], password: &'static str) -> Logins {
    let fake = |source| Arc::new(Fake { source, accounts: accounts.to_vec(), password });
    let directories: Vec<Arc<dyn Directory>> = vec![fake(Source::Local), fake(Source::Oidc)];
    let chain = Chain::new(directories, fake(Source::Local));
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
    Logins::new(Arc::new(chain), clock, 1_000)
}

impl Fake {
    fn verdict(&self, name: &str, is_right: bool, means: Means) -> Result<Verdict, DirectoryError> {
        if name == "down" {
            return Err(DirectoryError::Store("away".to_owned()));
        }
        let known = self.accounts.iter().find(|one| one.address.to_string() == name);
        Ok(match known {
            None => Verdict::Stranger,
            Some(_) if !is_right => Verdict::Refused,
            Some(account) => Verdict::Known(Identified {
                mailboxes: vec![account.address.clone()],
                national_id: None,
                display_name: None,
                means,
                scope: Scope::ALL,
                network: None,
                until: None,
                voucher: None,
            }),
        })
    }
}

#[async_trait]
impl Directory for Fake {
    fn source(&self) -> Source {
        self.source
    }

    async fn password(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Verdict, DirectoryError> {
        let is_ours = self.source == Source::Local && password.expose() == self.password;
        self.verdict(name, is_ours, Means::Password)
    }

    async fn scram(&self, name: &str) -> Result<Option<ScramKeys>, DirectoryError> {
        let is_known = self.accounts.iter().any(|one| one.address.to_string() == name);
        let rounds = NonZeroU32::new(4_096).expect("not zero");
        let password = Secret::new(self.password.to_owned());
        let Keys { salt, iterations, stored_key, server_key, .. } =
            Keys::derive(&password, &[7; 16], rounds);
        let app_passwords = Vec::new();
        let keys = ScramKeys { salt, iterations, stored_key, server_key, app_passwords };
        Ok(is_known.then_some(keys))
    }

    async fn token(&self, name: &str, token: &Secret<String>) -> Result<Verdict, DirectoryError> {
        match self.source {
            Source::Oidc => self.verdict(name, token.expose() == self.password, Means::Token),
            _ => Ok(Verdict::Stranger),
        }
    }
}

#[async_trait]
impl Mailboxes for Fake {
    async fn find(&self, address: &Address) -> Result<Option<Account>, DirectoryError> {
        Ok(self.accounts.iter().find(|one| one.address == *address).cloned())
    }

    async fn held_by(&self, _national_id: &str) -> Result<Vec<Address>, DirectoryError> {
        Ok(Vec::new())
    }
}
