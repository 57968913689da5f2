//! Logins without a password in our hands: SCRAM proofs and certificates.
use crate::domain::address::Address;
use crate::domain::login::Means;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::time::Timestamp;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Identified;
use crate::infra::directory::ScramKeys;
use crate::infra::directory::chain::Admitted;
use crate::infra::directory::chain::Chain;

impl Chain {
    /// Whether SCRAM can be offered at all.
    ///
    /// A directory that checks passwords itself keeps no keys for SCRAM. What stands behind it in
    /// the order is not asked: a proof must open nothing that the same password does not.
    pub fn keeps_scram(&self) -> bool {
        let mut sources = self.directories.iter().map(|asked| asked.directory.source());
        sources.find(|source| *source != Source::Oidc) == Some(Source::Local)
    }

    /// True when somebody knows bearer tokens.
    pub fn knows_tokens(&self) -> bool {
        self.directories.iter().any(|asked| asked.directory.source() == Source::Oidc)
    }

    /// What SCRAM needs about a name; `None` when nobody has it.
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub async fn scram(&self, name: &str) -> Result<Option<ScramKeys>, DirectoryError> {
        if !self.keeps_scram() {
            return Ok(None);
        }
        for asked in &self.directories {
            if let Some(keys) = asked.directory.scram(name).await? {
                return Ok(Some(keys));
            }
        }
        Ok(None)
    }

    /// The mailbox whose own password, or whose app password, was proven to be known; `None` when
    /// it is closed or gone.
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub async fn proven(
        &self,
        address: &Address,
        app: Option<&Identified>,
    ) -> Result<Option<Admitted>, DirectoryError> {
        let Some(app) = app else {
            return self.mailbox_of(address, Means::Password, None).await;
        };
        if !self.is_vouched(&address.to_string(), address).await? {
            return Ok(None);
        }
        let admitted = self.mailbox_of(address, app.means.clone(), app.until).await?;
        Ok(admitted.map(|admitted| Admitted { scope: app.scope, network: app.network, ..admitted }))
    }

    /// The mailbox that the configuration gives to a certificate, which ends at `until`; `None`
    /// when it is closed or was never there.
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub async fn certified(
        &self,
        address: &Address,
        until: Timestamp,
    ) -> Result<Option<Admitted>, DirectoryError> {
        self.mailbox_of(address, Means::Certificate, Some(until)).await
    }

    async fn mailbox_of(
        &self,
        address: &Address,
        means: Means,
        until: Option<Timestamp>,
    ) -> Result<Option<Admitted>, DirectoryError> {
        let account = self.mailboxes.find(address).await?.filter(|account| !account.suspended);
        let source = Source::Local;
        let (scope, network) = (Scope::ALL, None);
        Ok(account.map(|account| Admitted {
            account,
            source,
            means,
            scope,
            network,
            until,
            voucher: None,
        }))
    }
}
