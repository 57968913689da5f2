//! Software that shows a certificate (application mailboxes): whom it names, and whether it may
//! still be believed. People's doors ask for certificates and never require one.
use rustls::pki_types::CertificateDer;

use crate::domain::address::Address;
use crate::domain::certificate::Standing;
use crate::domain::operator::OperatorDn;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::infra::config::RevocationMode;
use crate::infra::net;
use crate::infra::net::AlternativeName;

/// A certificate that the configuration gives to a mailbox.
#[derive(Clone, Debug)]
pub struct Software {
    address: Address,
    subject: OperatorDn,
    begins: Timestamp,
    ends: Timestamp,
    standing: Result<(), Refusal>,
}

impl Software {
    /// True unless the certificate is known to be of no use.
    pub fn may_try(&self) -> bool {
        self.standing != Err(Refusal::AuthFailed)
    }

    /// What the certificate calls its owner.
    pub fn subject(&self) -> String {
        self.subject.to_string()
    }

    /// The mailbox, and when the certificate ends.
    ///
    /// # Errors
    /// `AuthFailed` when it is out of its dates or revoked, `RevocationUnknown` when nobody could
    /// say and the configuration insists.
    pub fn vouched(&self, now: Timestamp) -> Result<(&Address, Timestamp), Refusal> {
        self.standing?;
        if now < self.begins || now > self.ends {
            return Err(Refusal::AuthFailed);
        }
        Ok((&self.address, self.ends))
    }
}

/// Whose certificate was shown in the handshake (leaf first), under `login.client_anchors` and
/// `login.certificates`. `None`: none was, or nobody's.
pub async fn look(office: &Office, shown: &[CertificateDer<'static>]) -> Option<Software> {
    let leaf = shown.first()?;
    let now = office.clock.now();
    let judged = match office.tls.judge_software(shown, now) {
        Ok(judged) => judged,
        Err(trouble) => {
            tracing::info!(trouble, "a client's certificate is not good");
            return None;
        }
    };
    let names = net::alternative_names(leaf);
    let table = &office.config.login.certificates;
    let mapped = table.iter().find(|(key, _)| is_meant(key, &judged.facts.subject, &names));
    let Some((_, address)) = mapped else {
        tracing::info!(subject = %judged.facts.subject, "a client's certificate has no mailbox");
        return None;
    };
    let evidence = office.revocation.check(&judged.path, now).await;
    let insists = office.config.revocation.mode == RevocationMode::Required;
    let standing = match evidence.standing {
        Standing::Revoked(_) => Err(Refusal::AuthFailed),
        Standing::Unknown if insists => Err(Refusal::RevocationUnknown),
        Standing::Unknown | Standing::Good | Standing::NotAsked => Ok(()),
    };
    tracing::info!(subject = %judged.facts.subject, ?standing, "software shows its certificate");
    Some(Software {
        address: address.clone(),
        subject: judged.facts.subject.clone(),
        begins: judged.begins(),
        ends: judged.ends(),
        standing,
    })
}

/// Whether a key of `login.certificates` means this certificate: `DNS:host`, `email:address`, or
/// a whole subject, in any order and case.
fn is_meant(key: &str, subject: &OperatorDn, names: &[AlternativeName]) -> bool {
    let has = |wanted: AlternativeName| names.contains(&wanted);
    match key.split_once(':') {
        Some((kind, host)) if kind.eq_ignore_ascii_case("DNS") => has(AlternativeName::dns(host)),
        Some((kind, mailbox)) if kind.eq_ignore_ascii_case("email") => {
            has(AlternativeName::email(mailbox))
        }
        _ => OperatorDn::parse_text(key).as_ref() == Some(subject),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_means_a_whole_subject_or_one_of_its_other_names() {
        let subject = OperatorDn::new([("CN", "Dossier patient"), ("O", "CHU X"), ("C", "FR")]);
        let names = [AlternativeName::dns("dpi.chu.test"), AlternativeName::email("dpi@chu.test")];
        let means = |key: &str| is_meant(key, &subject, &names);
        assert!(means("C=FR, O=CHU X, CN=Dossier patient"));
        assert!(means("cn=dossier  PATIENT,o=chu x,c=fr"));
        assert!(means("DNS:DPI.chu.test") && means("email:dpi@CHU.test"));
        for other in [
            "CN=Dossier patient",
            "CN=Dossier patient,O=CHU X,C=FR,OU=1",
            "DNS:chu.test",
            "email:dpi.chu.test",
            "DNS:dpi@chu.test",
            "dpi.chu.test",
            "",
        ] {
            assert!(!means(other), "{other}");
        }
    }
}
