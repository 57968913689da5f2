//! Registering an own certificate by mail, at a service mailbox of ours (`openpgp.service_address`).
//!
//! Two letters, both from the mailbox itself, over the door where people log in: one with the
//! certificate, which is answered by a code that is sealed to it, and one with the code. The service
//! mailbox is an ordinary one of the kind APP; what was read there is marked as seen and stays.
use std::sync::Arc;
use std::time::Duration;

use crate::domain::address::Address;
use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::mailbox::MailboxKind;
use crate::flow::house_letter;
use crate::flow::office::Office;
use crate::flow::own::Act;
use crate::flow::own::challenge;
use crate::flow::own::challenge::Proof;
use crate::infra::directory::Account;
use crate::infra::directory::Mailboxes;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::net::Stop;
use crate::infra::store::Batch;
use crate::proto::mime::content;
use crate::proto::mime::header;

/// How often the service mailboxes are looked at.
const LOOKED_EVERY: Duration = Duration::from_secs(5);
/// Letters of one look, of one service mailbox.
const LETTERS_AT_ONCE: usize = 20;
/// Characters of a code, as the keyring makes it.
const CODE_CHARACTERS: usize = 22;
/// Words of a letter that are tried as its code: one letter must not use up all answers.
const CODES_TRIED: usize = 2;
const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// Looks at the service mailboxes until the relay stops.
pub async fn run(office: Arc<Office>, mut stop: Stop) {
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(LOOKED_EVERY) => {}
        }
        if let Err(error) = look(&office).await {
            tracing::warn!(error, "letters with own certificates are read later");
        }
    }
}

/// Reads what is new in the service mailboxes; answers how many letters that were.
///
/// # Errors
/// A sentence: what is left is read at the next look.
pub async fn look(office: &Arc<Office>) -> Result<usize, String> {
    let Some(local_part) = &office.config.openpgp.service_address else { return Ok(0) };
    let mut read = 0;
    for domain in &office.config.operator.domains {
        let Ok(address) = Address::parse(&format!("{local_part}@{domain}")) else { continue };
        let account = office.accounts.find(&address).await.map_err(|error| error.to_string())?;
        // Somebody's own mailbox of that name is not read by us.
        let service = account.filter(|it| it.kind == MailboxKind::Applicative && !it.suspended);
        if let Some(service) = service {
            read += look_into(office, &service).await?;
        }
    }
    Ok(read)
}

async fn look_into(office: &Arc<Office>, service: &Account) -> Result<usize, String> {
    let failed = |error: crate::flow::mailbox::MailboxError| error.to_string();
    let mailbox = office.mailboxes.open(service).await.map_err(failed)?;
    let mailbox = mailbox.read_by_owner("keys", "own certificates by mail");
    let contents = mailbox.contents(FolderId::INBOX).await.map_err(failed)?;
    let mut read = 0;
    for uid in contents.unseen.iter().take(LETTERS_AT_ONCE).map(Uid) {
        let entry = mailbox.entry(FolderId::INBOX, uid).await.map_err(failed)?;
        let Some(entry) = entry.filter(|entry| !entry.flags.seen) else { continue };
        // Marked first: a letter that ends the program must not do so again and again.
        let seen = FlagChange::Add(Flags { seen: true, ..Flags::default() });
        mailbox.store_flags(FolderId::INBOX, &[entry.uid], &seen).await.map_err(failed)?;
        read += 1;
        if entry.size > limits::OPENPGP_RING_OCTETS_MAX as u64 {
            continue;
        }
        let letter = mailbox.content(&entry).await.map_err(failed)?;
        if let Some((account, text)) = answer(office, letter.expose()).await {
            reply(office, service, &account, &text).await;
        }
    }
    Ok(read)
}

/// What is answered to a letter, and to whom; `None` for letters that are nobody's here.
async fn answer(office: &Office, letter: &[u8]) -> Option<(Account, String)> {
    let header = header::view(letter);
    let [from] = header.from.as_slice() else { return None };
    // The first line is ours: it says as whom the sender was let in.
    let path = letter.strip_prefix(b"Return-Path: <")?;
    let path = path.split(|octet| *octet == b'>').next()?;
    let sender = Address::parse(std::str::from_utf8(path).ok()?).ok()?;
    if sender != *from || header.unreadable_sender || header.automatic {
        return None;
    }
    let account = office.accounts.find(&sender).await.ok()??;
    // Patients have the page: their letters go to people who wrote to them, and nowhere else.
    if account.suspended || account.kind == MailboxKind::Citizen {
        return None;
    }
    let text = match certificate(letter) {
        Some(certificate) => challenged(office, &account, &certificate),
        None => proven(office, &account, letter).await,
    };
    Some((account, text))
}

/// The certificate in a letter: attached, or in its text.
fn certificate(letter: &[u8]) -> Option<PeerCertificate> {
    let readable = content::readable(letter);
    let attached = readable.attachments.iter().filter_map(|attachment| {
        let octets = content::attachment(letter, attachment.index)?;
        PeerCertificate::read(&octets).ok()
    });
    let written = || {
        let begin = readable.text.find(BEGIN)?;
        let length = readable.text[begin..].find(END)? + END.len();
        PeerCertificate::read(&readable.text.as_bytes()[begin..begin + length]).ok()
    };
    attached.into_iter().next().or_else(written)
}

fn challenged(office: &Office, account: &Account, certificate: &PeerCertificate) -> String {
    let clear = "Code pour enregistrer cette clé OpenPGP. Répondez avec ce code. Si vous n’avez rien \
                 demandé, ne le donnez à personne.\r\nCode to register this OpenPGP key. Answer with \
                 it. If you did not ask for it, give it to nobody.";
    match challenge::begin(office, account, certificate, clear) {
        Ok((certificate, armoured)) => format!(
            "Empreinte / fingerprint: {}\n\nOuvrez ce message avec votre clé et répondez avec le code \
             qu’il contient. Vos nouveaux messages seront alors scellés pour vous seul : nous ne \
             pourrons plus les ouvrir, et si vous perdez votre clé, ils sont perdus.\n\nOpen this \
             message with your key and answer with the code that it holds. New messages will then be \
             sealed for you alone: we will no longer be able to open them, and if you lose your key, \
             they are lost.\n\n{}",
            certificate.fingerprint(),
            String::from_utf8_lossy(&armoured)
        ),
        Err(flaw) => {
            format!("Cette clé n’est pas enregistrée.\nThis key is not registered: {flaw}.\n")
        }
    }
}

async fn proven(office: &Office, account: &Account, letter: &[u8]) -> String {
    let text = content::readable(letter).text;
    let words = text.split_whitespace().map(|word| word.trim_start_matches('>'));
    let is_code = |word: &&str| {
        word.len() == CODE_CHARACTERS
            && word.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet))
    };
    let act = Act { author: "the holder", way: "mail", reason: "" };
    for word in words.filter(is_code).take(CODES_TRIED) {
        match challenge::prove(office, account, word, act).await {
            Ok(Proof::Registered(certificate)) => {
                return format!(
                    "Votre clé est enregistrée. / Your key is registered: {}\n",
                    certificate.fingerprint()
                );
            }
            Ok(Proof::Wrong | Proof::Over) => {}
            Err(error) => {
                tracing::error!(error, "an own certificate is not registered");
                return "Réessayez plus tard. / Try again later.\n".to_owned();
            }
        }
    }
    "Ce message ne contient ni clé publique OpenPGP ni code valable.\nThis message holds neither an \
     OpenPGP public key nor a good code.\n"
        .to_owned()
}

async fn reply(office: &Arc<Office>, service: &Account, account: &Account, text: &str) {
    let now = office.clock.now().to_rfc5322();
    let hostname = &office.config.operator.hostname;
    let id = uuid::Uuid::now_v7().simple();
    let body = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\r\n");
    let letter = format!(
        "From: {}\r\nTo: {}\r\nSubject: OpenPGP\r\nDate: {now}\r\nMessage-ID: <{id}@{hostname}>\r\n\
         Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}\r\n",
        service.address, account.address,
    );
    let to = account.address.clone();
    if let Err(refusal) = house_letter(office, to, letter.as_bytes(), Batch::new()).await {
        tracing::error!(%refusal, "an answer about an own certificate is not sent");
    }
}
