//! Whether somebody is in a group, directly or through other groups.
use std::collections::HashSet;

use ldap3::Scope;

use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::directory::ldap::dn;
use crate::infra::directory::ldap::filter::Filter;
use crate::infra::directory::ldap::server::Server;
use crate::infra::directory::ldap::server::Service;
use crate::infra::directory::ldap::session::Search;
use crate::infra::directory::ldap::session::Trouble;

/// No attribute at all (RFC 4511 §4.5.1.8): the name of an entry is enough.
pub(super) const NO_ATTRIBUTES: &str = "1.1";

/// Groups of which a person must be in one.
pub(super) struct Groups {
    wanted: Vec<String>,
    member: String,
    base: String,
}

impl Groups {
    /// These, by the attribute that holds their members. Groups in between are looked for in the
    /// subtree that holds all of them and the people.
    ///
    /// # Errors
    /// Which of them is no distinguished name.
    pub(super) fn new(wanted: Vec<String>, member: String, people: &str) -> Result<Self, String> {
        if let Some(wrong) =
            wanted.iter().find(|name| dn::parts(name).is_none_or(|parts| parts.is_empty()))
        {
            return Err(format!("ldap.groups: {wrong:?} is no distinguished name"));
        }
        let all = wanted.iter().map(String::as_str).chain([people]);
        let mut base = dn::common(all);
        if base.is_empty() {
            base = people.to_owned();
        }
        Ok(Self { wanted, member, base })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    pub(super) fn names(&self) -> &[String] {
        &self.wanted
    }

    /// Level by level upwards: the groups of the person, the groups of these, and so on. A group
    /// is looked at once, so that groups which contain each other come to an end.
    pub(super) async fn hold(
        &self,
        server: &Server,
        service: &Service,
        person: &str,
        now: Timestamp,
    ) -> Result<bool, Trouble> {
        let mut seen: HashSet<String> = HashSet::new();
        let mut level = vec![person.to_owned()];
        for _ in 0..limits::LDAP_GROUP_LEVELS_MAX {
            let mut above = Vec::new();
            for some in level.chunks(limits::LDAP_GROUPS_PER_QUESTION) {
                let search = self.holding(some, limits::LDAP_GROUPS_MAX.saturating_sub(seen.len()));
                let found = server.search(service, &search, now).await?;
                if found.more {
                    // What was not read might have been the one: say so, it looks like a refusal.
                    tracing::warn!(
                        "ldap.groups: somebody is in too many groups; some are not looked at"
                    );
                }
                for group in found.entries.into_iter().map(|entry| entry.dn) {
                    if self.wanted.iter().any(|wanted| dn::same(wanted, &group)) {
                        return Ok(true);
                    }
                    if seen.insert(group.to_lowercase()) {
                        above.push(group);
                    }
                }
            }
            if above.is_empty() {
                return Ok(false);
            }
            level = above;
        }
        tracing::warn!("ldap.groups: groups lie in each other too deep; somebody is not let in");
        Ok(false)
    }

    /// Groups that have one of these as a member.
    fn holding(&self, members: &[String], most: usize) -> Search {
        let any = members.iter().map(|member| Filter::equals(&self.member, member)).collect();
        Search {
            base: self.base.clone(),
            reach: Scope::Subtree,
            filter: Filter::Or(any).of(""),
            attributes: vec![NO_ATTRIBUTES.to_owned()],
            most,
        }
    }
}
