//! The letter to a holder who does not come: when the mailbox closes, and how to keep it.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::address::Address;
use crate::domain::time::Day;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;

/// A letter of ours in French and English. `closes`: the day of the closing, if nobody comes.
pub(super) fn letter(office: &Office, to: &Address, closes: Timestamp, days: u64) -> Vec<u8> {
    let (name, hostname) = (&office.config.operator.name, &office.config.operator.hostname);
    let kept = office.config.life.closing.as_secs() / 86_400;
    let message_id = uuid::Uuid::now_v7().simple();
    let day = Day::in_france(closes);
    let french = format!("{:02}/{:02}/{}", day.day, day.month, day.year);
    let subjects = [
        encoded(&format!("Fermeture de votre boîte le {french}")),
        encoded(&format!(" / your mailbox closes on {day}")),
    ];
    let date = office.clock.now().to_rfc5322();
    let body = format!(
        "Bonjour,\n\n\
         Personne ne s'est connecté à la boîte aux lettres {to} depuis longtemps. Sans connexion de \
         votre part,\nelle sera fermée le {french} (dans {days} jours). Ses messages seront détruits \
         {kept} jours plus tard,\net son adresse ne sera donnée à personne d'autre.\n\n\
         Vous voulez la garder ? Connectez-vous, une fois suffit : lire ce message avec votre \
         logiciel l'a déjà\nfait. Vous pouvez aussi le demander à votre opérateur ({name}).\n\n\
         Ce délai est celui de la délibération CNIL 2014-239, article 4.\n\n\
         -- \n\n\
         Hello,\n\n\
         Nobody has logged in to the mailbox {to} for a long time. Unless you do, it closes on \
         {day}\n(in {days} days). Its letters are destroyed {kept} days later, and its address is \
         given to nobody else.\n\n\
         To keep it, log in once: reading this letter with your program has done it. You may also \
         ask your\noperator ({name}).\n"
    );
    format!(
        "From: postmaster@{hostname}\r\nTo: {to}\r\nSubject: {}\r\n {}\r\nDate: {date}\r\n\
         Message-ID: <{message_id}@{hostname}>\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n{}",
        subjects[0],
        subjects[1],
        body.replace('\n', "\r\n"),
    )
    .into_bytes()
}

/// One encoded word (RFC 2047 §2): short texts only, a word has at most 75 characters.
fn encoded(text: &str) -> String {
    format!("=?utf-8?b?{}?=", STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_word_of_a_subject_is_short_enough() {
        for text in
            ["Fermeture de votre boîte le 31/12/2027", " / your mailbox closes on 2027-12-31"]
        {
            assert!(encoded(text).len() <= 75, "{}", encoded(text));
        }
    }
}
