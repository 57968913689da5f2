//! The letter to a sender whose document is not about the patient who gets it.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::address::Address;
use crate::domain::time::Timestamp;
use crate::proto::mime::date;

/// Octets of one line of base64 (RFC 2045 §6.8).
const ENCODED_LINE_OCTETS: usize = 76;

/// What the letter says. It names no patient: whoever may read the sender's mailbox need not
/// know more than that two of them were taken for one another.
pub struct Warning<'w> {
    /// Who signs: the postmaster of our domain.
    pub from: &'w Address,
    /// The sender of the letter.
    pub to: &'w Address,
    /// The warning's own Message-ID, without angle brackets.
    pub message_id: &'w str,
    /// When it is written.
    pub now: Timestamp,
    /// Message-ID of the letter, with its angle brackets.
    pub about: Option<&'w str>,
    /// Which of its patient recipients, from 1, and of how many.
    pub places: &'w [usize],
    /// Patient recipients in all.
    pub patients: usize,
}

/// Writes the letter: French first, then English.
pub fn write(warning: &Warning<'_>) -> Vec<u8> {
    let body = STANDARD.encode(words(warning));
    let mut text = format!(
        "Date: {}\r\nFrom: \"Remise du courrier / Mail delivery\" <{}>\r\nTo: <{}>\r\n\
         Subject: Identite a verifier / Patient identity to check\r\nMessage-ID: <{}>\r\n",
        date::rfc5322(warning.now),
        warning.from,
        warning.to,
        warning.message_id,
    );
    let is_id = |id: &&str| {
        id.starts_with('<') && id.ends_with('>') && id.bytes().all(|octet| octet.is_ascii_graphic())
    };
    if let Some(about) = warning.about.filter(is_id) {
        text.push_str(&format!("In-Reply-To: {about}\r\nReferences: {about}\r\n"));
    }
    // RFC 3834 §5: nobody's answering machine answers this.
    text.push_str(
        "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    );
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(ENCODED_LINE_OCTETS));
        text.push_str(line);
        text.push_str("\r\n");
        rest = after;
    }
    text.into_bytes()
}

fn words(warning: &Warning<'_>) -> String {
    let places = |and: &str| {
        let places: Vec<String> = warning.places.iter().map(usize::to_string).collect();
        format!("{} {and} {}", places.join(", "), warning.patients)
    };
    let (french, english) = if warning.patients == 1 {
        ("la boîte du patient destinataire".to_owned(), "the patient's inbox".to_owned())
    } else {
        (
            format!("la boîte d'un patient destinataire (n° {})", places("sur")),
            format!("a recipient patient's inbox (number {})", places("of")),
        )
    };
    [
        "(English below)",
        "",
        "Bonjour,",
        "",
        &format!(
            "Votre message vient d'être pris en charge pour {french}. D'après l'archive IHE_XDM \
             qui y est jointe, un document concerne un autre patient que ce destinataire."
        ),
        "",
        "Que faire : comparez l'identité inscrite dans le document avec l'adresse du patient. Si \
         le message est parti à la mauvaise personne, prévenez le référent identitovigilance et \
         le délégué à la protection des données de votre structure, puis renvoyez le document à \
         la bonne adresse. Si tout est juste, vous n'avez rien à faire.",
        "",
        "Les numéros d'identité ne figurent pas dans ce message. Vous ne pouvez pas y répondre.",
        "",
        "----------------------------------------",
        "",
        "Hello,",
        "",
        &format!(
            "Your mail has just been taken in for {english}. According to the IHE_XDM archive \
             attached to it, a document is about another patient than this recipient."
        ),
        "",
        "What to do: compare the identity in the document with the patient's address. If the mail \
         went to the wrong person, tell your patient identity and data protection officers, then \
         send the document to the right address. If all is well, there is nothing to do.",
        "",
        "Identity numbers are left out of this message on purpose. You cannot answer it.",
        "",
    ]
    .join("\r\n")
}
