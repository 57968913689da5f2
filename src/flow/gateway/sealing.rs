//! Forms for those who open with a key of their own.
//!
//! Those whom the letter shows in To and Cc get one message together. Whoever it does not show
//! gets one alone: the list of keys in a message would tell the others of them.
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::gateway::Clear;
use crate::flow::gateway::Made;
use crate::flow::gateway::Plan;
use crate::flow::gateway::Signer;
use crate::flow::gateway::Want;
use crate::flow::gateway::is_address;
use crate::flow::office::ClearPermit;
use crate::infra::keys::Certificate;
use crate::infra::keys::KeyError;
use crate::infra::keys::addressed;
use crate::infra::keys::mail;
use crate::infra::keys::peers::PeerCertificate;
use crate::proto::pgpmime;
use crate::proto::pgpmime::Found;
use crate::proto::pgpmime::Protection;

impl Plan {
    /// Makes forms for those who want a sealed one.
    pub(super) fn seal(
        &self,
        clear: Clear<'_>,
        found: Option<&Found<'_>>,
        made: &mut Made,
        room: &mut ClearPermit,
    ) -> Result<(), Refusal> {
        let message: Option<&[u8]> = match found {
            Some(Found::Encrypted(message)) => Some(message),
            Some(Found::Inline(message)) => Some(message),
            _ => None,
        };
        let (mut together, mut alone, mut as_they_are) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (address, want)) in self.recipients.iter().enumerate() {
            match (want, message) {
                // Its sender has sealed it to this very key: it travels as it is.
                (Want::Sealed(certificate), Some(message))
                    if addressed::is_addressed_to(message, certificate) => {}
                // Nobody here could open it anyhow.
                (Want::Own(..), Some(_)) => as_they_are.push(place),
                (Want::Sealed(_) | Want::Own(..), _) => match is_shown(clear, address) {
                    true => together.push(place),
                    false => alone.push(vec![place]),
                },
                (Want::AsItCame | Want::Signed | Want::Opened(_), _) => {}
            }
        }
        if !as_they_are.is_empty() {
            self.grow(clear, room)?;
            let readers = self.at_rest(&as_they_are);
            let form = self.form(&readers, clear.letter, clear.return_path_octets, true)?;
            give(made, form, &as_they_are);
        }
        let groups = Some(together).filter(|group| !group.is_empty()).into_iter().chain(alone);
        for group in groups {
            self.grow(clear, room)?;
            let certificates: Vec<PeerCertificate> =
                group.iter().filter_map(|place| self.certificate(*place)).collect();
            let sealed = self.sealed(clear, &certificates)?;
            let readers = self.at_rest(&group);
            let mut form = self.form(&readers, sealed.expose(), clear.return_path_octets, true)?;
            let outside =
                |place: &&usize| matches!(self.recipients.get(**place), Some((_, Want::Sealed(_))));
            let outside = group.iter().filter(outside).filter_map(|at| self.certificate(*at));
            form.sealed_to = outside.map(|it| it.encryption_mark(self.now)).collect();
            give(made, form, &group);
        }
        Ok(())
    }

    /// The letter under a seal for these.
    fn sealed(
        &self,
        clear: Clear<'_>,
        certificates: &[PeerCertificate],
    ) -> Result<Secret<Vec<u8>>, Refusal> {
        let protection = Protection {
            subject: Some(self.subject.as_str()).filter(|shown| !shown.is_empty()),
            threads: self.threads,
            keeps_bcc: false,
        };
        sealed(clear.letter, protection, certificates, self.signer.as_ref(), self.now)
    }

    fn certificate(&self, place: usize) -> Option<PeerCertificate> {
        match self.recipients.get(place) {
            Some((_, Want::Sealed(certificate) | Want::Own(certificate, _))) => {
                Some(certificate.clone())
            }
            _ => None,
        }
    }

    /// To whom such a form is sealed at rest: mailboxes here, and the spool if it travels.
    fn at_rest(&self, group: &[usize]) -> Vec<Certificate> {
        let mut travels = false;
        let mut readers = Vec::new();
        for place in group {
            match self.recipients.get(*place) {
                Some((_, Want::Own(_, home))) => readers.push(home.certificate().clone()),
                _ => travels = true,
            }
        }
        if travels {
            readers.push(self.spool.clone());
        }
        readers
    }
}

/// A letter under a seal for these, signed inside.
///
/// # Errors
/// [`Refusal::OutsideKeyMissing`] when one of the certificates is of no use.
pub(super) fn sealed(
    letter: &[u8],
    protection: Protection<'_>,
    certificates: &[PeerCertificate],
    signer: Option<&Signer>,
    now: Timestamp,
) -> Result<Secret<Vec<u8>>, Refusal> {
    let payload = pgpmime::payload(letter, protection);
    let keys = signer.map(|signer| &signer.keys);
    let armoured = mail::seal_for(payload.inner.expose(), certificates, keys, now);
    let armoured = armoured.map_err(|error: KeyError| {
        tracing::warn!(%error, "a letter cannot be sealed to its reader");
        Refusal::OutsideKeyMissing
    })?;
    let boundary = format!("=_openpgp_{}", uuid::Uuid::now_v7().simple());
    Ok(Secret::new(pgpmime::enclose(&payload.outer, &armoured, &boundary)))
}

pub(super) fn give(made: &mut Made, form: crate::flow::seal::Form, group: &[usize]) {
    made.forms.push(form);
    for place in group {
        if let Some(given) = made.given.get_mut(*place) {
            *given = made.forms.len();
        }
    }
}

fn is_shown(clear: Clear<'_>, address: &crate::domain::address::Address) -> bool {
    let envelope = &clear.summary.envelope;
    envelope.to.iter().chain(&envelope.cc).any(|shown| is_address(shown, address))
}
