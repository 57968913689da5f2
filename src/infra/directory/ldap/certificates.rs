//! OpenPGP certificates of people outside, as a directory shows them (`pgpKey` of GnuPG's schema,
//! or any attribute with one in it): searched by address, as the service, with nobody's password.
use ldap3::Scope as Reach;

use crate::domain::limits;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::ldap::Ldap;
use crate::infra::directory::ldap::no_such_base;
use crate::infra::directory::ldap::session::Search;

impl Ldap {
    /// The values of an attribute of the entries that `ldap.filter` finds for this text, as octets:
    /// armour is text, and binary forms are not. None when there is no such entry.
    ///
    /// # Errors
    /// [`DirectoryError::Away`] when no server answered, [`DirectoryError::Busy`] when too many
    /// ask.
    pub async fn values_of(
        &self,
        text: &str,
        attribute: &str,
    ) -> Result<Vec<Vec<u8>>, DirectoryError> {
        if text.is_empty() || text.len() > limits::LOGIN_NAME_OCTETS_MAX {
            return Ok(Vec::new());
        }
        let search = Search {
            base: self.base.clone(),
            reach: Reach::Subtree,
            filter: self.filter.of(text),
            attributes: vec![attribute.to_owned()],
            most: limits::LDAP_CERTIFICATE_ENTRIES_MAX,
        };
        let search = &search;
        let question = |server| async move {
            let found = super::Server::search(server, &self.service, search, self.clock.now());
            let found = found.await?;
            if found.no_base {
                return Err(no_such_base(&self.base));
            }
            let values = found.entries.iter().flat_map(|entry| entry.octets(attribute));
            Ok(values.take(limits::LDAP_CERTIFICATES_MAX).map(<[u8]>::to_vec).collect())
        };
        self.at_a_server(question).await
    }
}
