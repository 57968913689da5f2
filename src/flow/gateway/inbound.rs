//! What came sealed or signed: opened with the keys of those who let us keep them, looked at, and
//! told in a header field that a reader can trust.
//!
//! Nothing of a content is used before the whole of it is known to be unaltered, and an opened
//! content replaces the whole body. What does not open is delivered as it came, with our word on
//! why.
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
                let word = "encrypted=yes; opened=no; reason=mixed-with-clear-text";
                self.tell(clear, word, &homes, made, room)
            }
            Found::Signed(signed) => match self.word_on(clear, signed, known) {
                Some(word) => {
                    let word = format!("encrypted=no; {word}");
                    self.tell(clear, &word, &homes, made, room)
                }
                None => Ok(()),
            },
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
                    self.tell(clear, &word, std::slice::from_ref(home), made, room)?;
                    continue;
                }
            };
            let inside = summary::summarise(whole.expose());
            let below = Clear { letter: whole.expose(), summary: &inside, ..clear };
            // RFC 3156 §6.1: signed first, and then encrypted.
            let word = match pgpmime::find(whole.expose(), &inside.structure) {
                Some(Found::Signed(signed)) if signatures.is_empty() => {
                    self.word_on(below, &signed, known)
                }
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

    /// The letter as it came, with our word on it, for these together.
    fn tell(
        &self,
        clear: Clear<'_>,
        word: &str,
        homes: &[(usize, &OpenMailbox)],
        made: &mut Made,
        room: &mut ClearPermit,
    ) -> Result<(), Refusal> {
        self.grow(clear, room)?;
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

    /// What is to be said of a signature beside its entity; `None` for kinds that we do not read.
    fn word_on(&self, clear: Clear<'_>, signed: &Signed<'_>, known: &Known) -> Option<String> {
        if signed.is_smime {
            return None;
        }
        let verdicts = mail::verify_detached(signed.signed, &signed.signature, known, self.now);
        Some(self.word_of(clear, &verdicts, known))
    }

    fn word_of(&self, clear: Clear<'_>, verdicts: &[SignatureVerdict], known: &Known) -> String {
        let is_good = |verdict: &&SignatureVerdict| matches!(verdict, SignatureVerdict::Good(_));
        match verdicts.iter().find(is_good).or(verdicts.first()) {
            None => "signature=none".to_owned(),
            Some(SignatureVerdict::Good(fingerprint)) => {
                let from = clear.summary.envelope.from.as_slice();
                let is_theirs = known.of_key(fingerprint.as_str()).iter().any(|certificate| {
                    let addresses = certificate.addresses(self.now);
                    // One author: of two, nobody knows whom a reader is shown.
                    matches!(from, [one] if addresses.iter().any(|each| is_address(one, each)))
                });
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
}

fn reason(flaw: OpenFlaw) -> &'static str {
    match flaw {
        OpenFlaw::Malformed => "malformed",
        OpenFlaw::OtherKey => "other-key",
        OpenFlaw::Integrity => "altered-or-unprotected",
        OpenFlaw::OverLimit => "over-limit",
    }
}
