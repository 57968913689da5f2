//! Letters under a seal, outbound and inbound: the part of `[openpgp]` that decides about letters.
use std::path::PathBuf;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::infra::config::build::Reader;

/// What is decided about letters.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// `openpgp.outbound`: for recipients outside that no policy names.
    pub outbound: Policy,
    /// `openpgp.policies`: for some of them.
    pub policies: Vec<(Whom, Policy)>,
    /// `openpgp.sign`: who signs what is encrypted.
    pub sign: Signing,
    /// `openpgp.sign_clear`: the same signs what leaves readable under the policy `prefer`.
    pub sign_clear: bool,
    /// `openpgp.protected_subject`: stands outside instead of the subject; empty: that stays.
    pub protected_subject: String,
    /// `openpgp.threads`: In-Reply-To and References stay outside.
    pub threads: bool,
    /// `openpgp.inbound`: letters sealed to keys that we hold are opened, signatures are looked at.
    pub inbound: bool,
    /// `openpgp.originals`: the folder for such letters as they came; empty: they are not kept.
    pub originals: String,
    /// `openpgp.smime_anchors`: authorities that vouch for signers of S/MIME; none: signatures of
    /// that kind are not looked at.
    pub smime_anchors: Vec<PathBuf>,
}

/// Whether letters to somebody outside are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Without a key no letter leaves.
    Require,
    /// When there is a key.
    Prefer,
    /// Letters go as they came.
    Never,
}

/// Whom a policy is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Everybody there.
    Domain(Domain),
    /// One.
    Address(Address),
}

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// Nobody.
    No,
    /// The sender's key, if the relay has it; else the organisation.
    Sender,
    /// The organisation.
    Organisation,
}

impl Gateway {
    /// What counts for an address: its own policy, else its domain's, else the general one.
    pub fn policy_of(&self, address: &Address) -> Policy {
        let of = |wanted: &dyn Fn(&Whom) -> bool| {
            self.policies.iter().find(|(whom, _)| wanted(whom)).map(|(_, policy)| *policy)
        };
        of(&|whom| matches!(whom, Whom::Address(named) if named == address))
            .or_else(|| {
                of(&|whom| matches!(whom, Whom::Domain(named) if named == address.domain()))
            })
            .unwrap_or(self.outbound)
    }
}

impl Policy {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "require" => Some(Self::Require),
            "prefer" => Some(Self::Prefer),
            "never" => Some(Self::Never),
            _ => None,
        }
    }
}

/// `domain=policy` or `address=policy`.
fn named(text: &str) -> Option<(Whom, Policy)> {
    let (whom, policy) = text.rsplit_once('=')?;
    let whom = whom.trim();
    let whom = match whom.contains('@') {
        true => Whom::Address(Address::parse(whom).ok()?),
        false => Whom::Domain(Domain::parse(whom).ok()?),
    };
    Some((whom, Policy::parse(policy.trim())?))
}

impl Reader {
    pub(super) fn gateway(&mut self) -> Option<Gateway> {
        let outbound = self.text_or("openpgp.outbound", "prefer", Policy::parse);
        let policies = self.list("openpgp.policies", &[], named);
        let sign = self.text_or("openpgp.sign", "sender", |text| match text {
            "no" => Some(Signing::No),
            "sender" => Some(Signing::Sender),
            "organisation" => Some(Signing::Organisation),
            _ => None,
        });
        let sign_clear = self.truth("openpgp.sign_clear", false);
        let is_line = |text: &str| {
            let fits = text.len() <= 200 && text.bytes().all(|octet| (32..127).contains(&octet));
            fits.then(|| text.to_owned())
        };
        let protected_subject = self.text_or("openpgp.protected_subject", "[...]", is_line);
        let threads = self.truth("openpgp.threads", true);
        let inbound = self.truth("openpgp.inbound", true);
        let originals = self.text_or("openpgp.originals", "OpenPGP", is_line);
        let smime_anchors = self.anchors_or_none("openpgp.smime_anchors");
        Some(Gateway {
            outbound: outbound?,
            policies: policies?,
            sign: sign?,
            sign_clear: sign_clear?,
            protected_subject: protected_subject?,
            threads: threads?,
            inbound: inbound?,
            originals: originals?,
            smime_anchors: smime_anchors?,
        })
    }
}
