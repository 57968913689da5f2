//! What came sealed or signed: opened with the keys of those who let us keep them, looked at, and
//! told in a header field that a reader can trust.
//!
//! Nothing of a content is used before the whole of it is known to be unaltered, and an opened
//! content replaces the whole body. What does not open is delivered as it came, with our word on
//! why.
use rustls::pki_types::CertificateDer;

use crate::domain::address::Address;
use crate::domain::certificate::Standing;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::flow::contacts::Known;
use crate::flow::gateway::Clear;
use crate::flow::gateway::Made;
use crate::flow::gateway::Plan;
use crate::flow::gateway::Want;
use crate::flow::gateway::is_address;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::ClearPermit;
use crate::infra::keys::mail;
use crate::infra::keys::mail::Certificates;
use crate::infra::keys::mail::OpenFlaw;
use crate::infra::keys::mail::SignatureVerdict;
use crate::infra::keys::smime;
use crate::infra::keys::smime::SmimeSigner;
use crate::infra::keys::smime::SmimeVerdict;
use crate::proto::mime::summary;
use crate::proto::pgpmime;
use crate::proto::pgpmime::Found;
use crate::proto::pgpmime::Signed;

impl Plan {
    /// Makes forms for mailboxes whose keys we hold.
    pub(super) fn open(
        &self,
        clear: Clear<'_>,
        found: &Found<'_>,
        known: &Known,
        made: &mut Made,
        room: &mut ClearPermit,
    ) -> Result<(), Refusal> {
        let homes: Vec<(usize, &OpenMailbox)> = self
            .recipients
            .iter()
            .enumerate()
            .filter_map(|(place, (_, want))| match want {
                Want::Opened(home) => Some((place, home)),
                _ => None,
            })
            .collect();
        if homes.is_empty() {
            return Ok(());
        }
        match found {
            Found::Encrypted(message) => {
                self.open_for(clear, (message, false), known, &homes, made, room)
            }
            Found::Inline(message) => {
                self.open_for(clear, (message, true), known, &homes, made, room)
            }
            Found::Mixed => {
                self.grow(clear, room)?;
                let word = "encrypted=yes; opened=no; reason=mixed-with-clear-text";
                self.tell(clear, word, &homes, made)
            }
            Found::Signed(Signed { is_smime: true, .. }) | Found::SmimeSigned(_)
                if self.smime_anchors.is_none() =>
            {
                Ok(())
            }
            Found::Signed(_) | Found::SmimeSigned(_) | Found::ClearSigned(_) => {
                self.grow(clear, room)?;
                match self.word_on(clear, found, known) {
                    Some(word) => {
                        let word = format!("encrypted=no; {word}");
                        self.tell(clear, &word, &homes, made)
                    }
                    None => Ok(()),
                }
            }
        }
    }

    /// Each mailbox has another key: each gets a form of its own.
    fn open_for(
        &self,
        clear: Clear<'_>,
        (message, is_text): (&[u8], bool),
        known: &Known,
        homes: &[(usize, &OpenMailbox)],
        made: &mut Made,
        room: &mut ClearPermit,
    ) -> Result<(), Refusal> {
        for home in homes {
            self.grow(clear, room)?;
            let opened = mail::open_message(home.1.keys(), message, known, self.now);
            let opened = match opened {
                // A message that is not encrypted is no reason to believe that it was.
                Ok(opened) if !opened.encrypted => Err("not-encrypted"),
                Ok(opened) => {
                    let whole = pgpmime::in_place(clear.letter, opened.clear.expose(), is_text);
                    whole.map(|whole| (whole, opened.signatures)).ok_or("not-a-letter")
                }
                Err(flaw) => Err(reason(flaw)),
            };
            let (whole, signatures) = match opened {
                Ok(opened) => opened,
                Err(reason) => {
                    let word = format!("encrypted=yes; opened=no; reason={reason}");
                    self.tell(clear, &word, std::slice::from_ref(home), made)?;
                    continue;
                }
            };
            let inside = summary::summarise(whole.expose());
            let below = Clear { letter: whole.expose(), summary: &inside, ..clear };
            // RFC 3156 §6.1: signed first, and then encrypted.
            let word = match pgpmime::find(whole.expose(), &inside.structure) {
                Some(found) if signatures.is_empty() => self.word_on(below, &found, known),
                _ => None,
            };
            let word = word.unwrap_or_else(|| self.word_of(clear, &signatures, known));
            let word = format!("encrypted=yes; opened=yes; {word}");
            let told = pgpmime::with_verdict(whole.expose(), clear.return_path_octets, &word);
            let readers = [home.1.certificate().clone()];
            let form = self.form(&readers, told.expose(), clear.return_path_octets, false)?;
            made.forms.push(form);
            if let Some(given) = made.given.get_mut(home.0) {
                *given = made.forms.len();
            }
            if self.keeps_originals {
                made.originals.push(home.0);
            }
        }
        Ok(())
    }

    /// The letter as it came, with our word on it, for these together. There is room for it.
    fn tell(
        &self,
        clear: Clear<'_>,
        word: &str,
        homes: &[(usize, &OpenMailbox)],
        made: &mut Made,
    ) -> Result<(), Refusal> {
        let told = pgpmime::with_verdict(clear.letter, clear.return_path_octets, word);
        let readers: Vec<_> = homes.iter().map(|(_, home)| home.certificate().clone()).collect();
        let form = self.form(&readers, told.expose(), clear.return_path_octets, false)?;
        made.forms.push(form);
        for (place, _) in homes {
            if let Some(given) = made.given.get_mut(*place) {
                *given = made.forms.len();
            }
        }
        Ok(())
    }

    /// What is to be said of a letter that is signed as a whole; `None` for what is not, and for
    /// kinds that nobody looks at here.
    fn word_on(&self, clear: Clear<'_>, found: &Found<'_>, known: &Known) -> Option<String> {
        let now = self.now;
        let verdicts = match found {
            Found::Signed(Signed { signed, signature, is_smime: true }) => {
                let anchors = self.smime_anchors.as_deref()?;
                return self
                    .word_of_smime(clear, smime::verify_smime(signed, signature, anchors, now));
            }
            Found::SmimeSigned(message) => {
                let anchors = self.smime_anchors.as_deref()?;
                // Programs open it by themselves: the letter stays as it came.
                return self
                    .word_of_smime(clear, smime::open_smime_signed(message, anchors, now).1);
            }
            Found::Signed(signed) => {
                mail::verify_detached(signed.signed, &signed.signature, known, now)
            }
            Found::ClearSigned(text) => match mail::verify_cleartext(text, known, now) {
                Ok((_, verdicts)) => verdicts,
                Err(_) => return Some("signature=unread".to_owned()),
            },
            Found::Encrypted(_) | Found::Inline(_) | Found::Mixed => return None,
        };
        Some(self.word_of(clear, &verdicts, known))
    }

    fn word_of(&self, clear: Clear<'_>, verdicts: &[SignatureVerdict], known: &Known) -> String {
        let is_good = |verdict: &&SignatureVerdict| matches!(verdict, SignatureVerdict::Good(_));
        match verdicts.iter().find(is_good).or(verdicts.first()) {
            None => "signature=none".to_owned(),
            Some(SignatureVerdict::Good(fingerprint)) => {
                let certificates = known.of_key(fingerprint.as_str());
                let is_theirs =
                    certificates.iter().any(|it| is_from(clear, &it.addresses(self.now)));
                let from = if is_theirs { "match" } else { "other" };
                format!("signature=good; by={fingerprint}; from={from}")
            }
            Some(SignatureVerdict::Unknown(key)) => {
                let key: String = key.chars().filter(char::is_ascii_hexdigit).take(64).collect();
                format!("signature=unknown; by={key}")
            }
            Some(SignatureVerdict::Bad(_)) => "signature=bad".to_owned(),
        }
    }

    /// What is to be said of a signature of S/MIME; `None`: nobody looked.
    fn word_of_smime(&self, clear: Clear<'_>, verdict: SmimeVerdict) -> Option<String> {
        let (word, signer, revocation) = match verdict {
            SmimeVerdict::Good(signer) => match self.standing(&signer) {
                Standing::Good => ("good", signer, "; revocation=good"),
                Standing::Revoked(_) => ("revoked", signer, ""),
                Standing::Unknown | Standing::NotAsked => ("good", signer, "; revocation=unknown"),
            },
            SmimeVerdict::Untrusted(signer, _) => ("untrusted", signer, ""),
            SmimeVerdict::Bad(_) => return Some("signature=bad; kind=smime".to_owned()),
            SmimeVerdict::NotLooked => return None,
        };
        let from = if is_from(clear, &signer.addresses) { "match" } else { "other" };
        let by = name(&signer.subject);
        Some(format!("signature={word}; kind=smime; by=\"{by}\"; from={from}{revocation}"))
    }

    /// Whether the signer's certificate is revoked, for whom an anchor vouches. This runs where one
    /// may wait; a source that is silent costs a letter some seconds at most.
    fn standing(&self, signer: &SmimeSigner) -> Standing {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return Standing::Unknown };
        let path: Vec<CertificateDer<'static>> =
            signer.path.iter().map(|octets| CertificateDer::from(octets.clone())).collect();
        let asked = self.office.revocation.check(&path, self.now);
        let asked = async { tokio::time::timeout(limits::SMIME_REVOCATION_WAIT, asked).await };
        runtime.block_on(asked).map_or(Standing::Unknown, |evidence| evidence.standing)
    }
}

/// Whether the one author that a reader is shown has one of these addresses. Of two authors,
/// nobody knows who is shown.
fn is_from(clear: Clear<'_>, addresses: &[Address]) -> bool {
    let from = clear.summary.envelope.from.as_slice();
    matches!(from, [one] if addresses.iter().any(|each| is_address(one, each)))
}

/// A name as a certificate has it, for between quotes: whoever chose it must not end them and go
/// on with words of ours.
fn name(subject: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " '()+,-./:@_".contains(c);
    subject
        .chars()
        .take(limits::SIGNER_NAME_CHARACTERS_MAX)
        .map(|c| if is_plain(c) { c } else { '?' })
        .collect()
}

fn reason(flaw: OpenFlaw) -> &'static str {
    match flaw {
        OpenFlaw::Malformed => "malformed",
        OpenFlaw::OtherKey => "other-key",
        OpenFlaw::Integrity => "altered-or-unprotected",
        OpenFlaw::OverLimit => "over-limit",
        OpenFlaw::Unsupported => "not-read-here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_certificate_says_nothing_in_our_words() {
        let lie = "Dr X\"; from=match;\r\nX-Vaguemestre-OpenPGP: a \\ \u{e9}\u{202e}";
        let shown = name(lie);
        assert_eq!(shown, "Dr X?? from?match???X-Vaguemestre-OpenPGP: a ? ??");
        assert_eq!(name(&"a".repeat(500)).len(), limits::SIGNER_NAME_CHARACTERS_MAX);
    }
}
