//! The policy of MTA-STS: that mail to us comes over TLS, and to which hosts (RFC 8461).
use std::time::Duration;

use aws_lc_rs::digest;

use crate::domain::address::Domain;

/// What others do when TLS fails (RFC 8461 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Report it.
    Testing,
    /// Not deliver.
    Enforce,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What is done about failures.
    pub mode: Mode,
    /// The hosts that take our mail.
    pub hosts: Vec<Domain>,
    /// How long others may keep it.
    pub age: Duration,
}

impl Policy {
    /// What is served at `https://mta-sts.DOMAIN/.well-known/mta-sts.txt` (RFC 8461 §3.2).
    pub fn text(&self) -> String {
        let mode = match self.mode {
            Mode::Testing => "testing",
            Mode::Enforce => "enforce",
        };
        let hosts: String = self.hosts.iter().map(|host| format!("mx: {host}\r\n")).collect();
        format!("version: STSv1\r\nmode: {mode}\r\n{hosts}max_age: {}\r\n", self.age.as_secs())
    }

    /// Changes exactly when the policy does, as the record must (RFC 8461 §3.1).
    pub fn id(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.text().as_bytes());
        digest.as_ref().iter().take(16).map(|octet| format!("{octet:02x}")).collect()
    }

    /// The TXT record of `_mta-sts.DOMAIN`.
    pub fn record(&self) -> String {
        format!("v=STSv1; id={};", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_follows_the_policy() {
        let policy = Policy {
            mode: Mode::Testing,
            hosts: vec![Domain::parse("mx.hopital.mssante.fr").unwrap()],
            age: Duration::from_secs(604_800),
        };
        assert_eq!(
            policy.text(),
            "version: STSv1\r\nmode: testing\r\nmx: mx.hopital.mssante.fr\r\nmax_age: 604800\r\n"
        );
        let id = policy.id();
        assert!(id.len() == 32 && id.bytes().all(|c| c.is_ascii_alphanumeric()), "{id}");
        assert_eq!(id, policy.clone().id());
        assert_ne!(id, Policy { mode: Mode::Enforce, ..policy }.id());
    }
}
