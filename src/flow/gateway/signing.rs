//! A form that stays readable and is signed beside its text, for people outside of whom no
//! certificate is known.
use crate::domain::status::Refusal;
use crate::flow::gateway::Clear;
use crate::flow::gateway::Made;
use crate::flow::gateway::Plan;
use crate::flow::gateway::Want;
use crate::flow::gateway::sealing;
use crate::flow::office::ClearPermit;
use crate::infra::keys::mail;
use crate::proto::pgpmime;

impl Plan {
    /// Makes that form. A letter that cannot be signed leaves as it came: nothing was promised.
    pub(super) fn sign(
        &self,
        clear: Clear<'_>,
        made: &mut Made,
        room: &mut ClearPermit,
    ) -> Result<(), Refusal> {
        let Some(signer) = self.signer.as_ref().filter(|_| !clear.summary.over_budget) else {
            return Ok(());
        };
        self.grow(clear, room)?;
        let signable = pgpmime::signable(clear.letter, &clear.summary.structure);
        let Some(signable) = signable else { return Ok(()) };
        let (signature, digest) =
            match mail::sign_detached(&signable.entity, &signer.keys, self.now) {
                Ok(signed) => signed,
                Err(error) => {
                    tracing::warn!(%error, "a letter leaves without a signature");
                    return Ok(());
                }
            };
        let boundary = format!("=_signed_{}", uuid::Uuid::now_v7().simple());
        let letter = pgpmime::with_signature(&signable, &signature, digest, &boundary);
        let readers = [self.spool.clone()];
        let form = self.form(&readers, &letter, clear.return_path_octets, false)?;
        let is_signed = |(_, (_, want)): &(usize, &(_, Want))| matches!(want, Want::Signed);
        let places = self.recipients.iter().enumerate().filter(is_signed);
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        sealing::give(made, form, &places);
        Ok(())
    }
}
