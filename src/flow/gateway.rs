//! Letters that only their reader opens: OpenPGP towards people outside, towards mailboxes whose
//! people keep their own key, and from whoever sealed a letter to a key that we hold.
//!
//! What somebody gets is decided for each recipient, when all of them are known ([`Plan`]), and
//! again before each attempt to deliver ([`outbound::is_withheld`]): a letter in clear text never
//! leaves for somebody for whom encryption is required at that moment, whoever wrote it.
mod filed; // what lies in the mailbox of somebody who keeps their own key
mod inbound; // what came sealed or signed
pub mod outbound; // who gets what, by whose decision
mod reform; // a waiting letter gets another form
mod reseal; // letters of before, put under their owner's seal
mod signing; // a form that stays readable
mod sealing; // forms for those who open with a key of their own

use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::door::Door;
use crate::domain::envelope::BlobId;
use crate::domain::folder::FolderId;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::contacts;
use crate::flow::contacts::Known;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::ClearMemory;
use crate::flow::office::ClearPermit;
use crate::flow::office::Office;
use crate::flow::own;
use crate::flow::policy::Cleared;
use crate::flow::seal::Form;
use crate::infra::audit::Who;
use crate::infra::config::gateway::Policy;
use crate::infra::config::gateway::Signing;
use crate::infra::directory::Account;
use crate::infra::keys::Certificate;
use crate::infra::keys::Keyring;
use crate::infra::keys::MailboxKeys;
use crate::infra::keys::mail;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::keys::smime::SmimeAnchors;
use crate::proto::mime::summary;
use crate::proto::mime::summary::EnvelopeAddress;
use crate::proto::mime::summary::Summary;
use crate::proto::pgpmime;
use crate::proto::pgpmime::Found;
use crate::proto::pgpmime::Protection;

pub use filed::filed;
pub use filed::for_owner;
pub use reform::look_again;
pub use reform::reform;
pub use reseal::Resealed;
pub use reseal::reseal;

/// What a letter takes of memory while a form of it is made, in sizes of the letter: what is to
/// be sealed, the armoured message, the letter around it, and its ciphertext at rest.
const COPIES_WHILE_SEALING: u64 = 6;
/// Room that is never asked for: trace fields, and what rounding takes.
const SLACK_OCTETS: u64 = 262_144;

/// What each recipient of a letter gets.
pub struct Plan {
    /// In the order of the approved recipients.
    recipients: Vec<(Address, Want)>,
    signer: Option<Signer>,
    /// `None`: nobody's letters are opened here.
    known: Option<Known>,
    keys: Arc<Keyring>,
    spool: Certificate,
    /// `None`: signatures of S/MIME are not looked at.
    smime_anchors: Option<Arc<SmimeAnchors>>,
    office: Arc<Office>,
    memory: ClearMemory,
    /// All there is of it.
    memory_octets: u64,
    subject: String,
    threads: bool,
    keeps_originals: bool,
    now: Timestamp,
}

/// What a recipient gets.
enum Want {
    /// The letter as it came; it travels on.
    AsItCame,
    /// As it came, and signed beside its text; it travels on.
    Signed,
    /// Sealed to this certificate; it travels on.
    Sealed(PeerCertificate),
    /// Sealed to the certificate of somebody who keeps their own key, in a mailbox here.
    Own(PeerCertificate, OpenMailbox),
    /// Opened, if it came sealed, for a mailbox here whose key we hold.
    Opened(OpenMailbox),
}

/// The letter in clear, for a moment.
#[derive(Clone, Copy)]
pub struct Clear<'l> {
    /// With our trace fields.
    pub letter: &'l [u8],
    /// What is known of it.
    pub summary: &'l Summary,
    /// Octets at the beginning that do not travel on.
    pub return_path_octets: usize,
}

/// Forms beyond the letter as it came, and who gets which.
#[derive(Default)]
pub struct Made {
    /// They come behind the first one.
    pub forms: Vec<Form>,
    /// For each recipient the place of its form, where 0 is the letter as it came.
    pub given: Vec<usize>,
    /// Recipients for whom the letter was opened: they keep it as it came, too.
    pub originals: Vec<usize>,
    /// The letter as it came is sealed by its sender already.
    pub came_sealed: bool,
}

impl Plan {
    /// Decides what each recipient gets.
    ///
    /// # Errors
    /// [`Refusal::OutsideKeyMissing`], [`Refusal::RecipientKeyMissing`]: somebody must not get it
    /// in clear, and there is nothing to seal it to.
    pub async fn new(
        office: &Arc<Office>,
        cleared: &Cleared,
        homes: &[OpenMailbox],
    ) -> Result<Self, Refusal> {
        let gateway = &office.config.gateway;
        let authenticated = cleared.authenticated();
        let is_ours = authenticated.accepted().door() != Door::Mx;
        let signer = match is_ours {
            true => signer(office, authenticated.account()).await,
            false => None,
        };
        // What somebody here wrote, and no report of the relay's own.
        let signs_clear =
            gateway.sign_clear && signer.is_some() && authenticated.account().is_some();
        let mut homes = homes.iter();
        let mut recipients = Vec::with_capacity(cleared.approved().len());
        for approved in cleared.approved() {
            let address = &approved.recipient().address;
            let want = match approved.home() {
                None => match outbound::certificate(office, address).await? {
                    Some(certificate) => Want::Sealed(certificate),
                    None if signs_clear
                        && outbound::policy_of(office, address) == Policy::Prefer =>
                    {
                        Want::Signed
                    }
                    None => Want::AsItCame,
                },
                Some(account) => {
                    let home = homes.next().ok_or(Refusal::RecipientKeyMissing)?.clone();
                    match own::of(office, &account.id).await? {
                        Some(certificate) => Want::Own(certificate, home),
                        None => Want::Opened(home),
                    }
                }
            };
            recipients.push((address.clone(), want));
        }
        let opens =
            gateway.inbound && recipients.iter().any(|(_, want)| matches!(want, Want::Opened(_)));
        let known = if opens { Some(contacts::known(office).await?) } else { None };
        Ok(Self {
            recipients,
            signer,
            known,
            keys: Arc::clone(&office.keys),
            spool: office.spool_certificate.clone(),
            smime_anchors: office.smime_anchors.clone(),
            office: Arc::clone(office),
            memory: office.clear_memory.clone(),
            memory_octets: office.config.limits.clear_octets,
            subject: gateway.protected_subject.clone(),
            threads: gateway.threads,
            keeps_originals: !gateway.originals.is_empty(),
            now: office.clock.now(),
        })
    }

    /// To whom the letter is sealed as it came: nobody who is to get it under another seal.
    pub fn readers(&self) -> Vec<Certificate> {
        let mut readers: Vec<Certificate> = Vec::new();
        for (_, want) in &self.recipients {
            if let Want::Opened(home) = want {
                readers.push(home.certificate().clone());
            }
        }
        let travels = |want: &Want| !matches!(want, Want::Own(..) | Want::Opened(_));
        let travels = self.recipients.iter().any(|(_, want)| travels(want));
        // A filter may send on what nobody here keeps in this form.
        if travels || readers.is_empty() {
            readers.push(self.spool.clone());
        }
        readers
    }

    /// The uses of keys that [`Plan::make`] comes to for this letter, to be recorded before it is
    /// asked; `None`: there is nothing to make.
    pub fn uses(&self, clear: Clear<'_>) -> Option<Vec<Use>> {
        let found = pgpmime::find(clear.letter, &clear.summary.structure);
        let mut uses = Vec::new();
        let signs = self.signs() && found.is_none();
        if self.seals() || signs {
            uses.extend(self.signer.as_ref().map(|signer| (signer.mailbox, "sign a letter")));
        }
        let is_sealed = matches!(found, Some(Found::Encrypted(_) | Found::Inline(_)));
        let opened = self.recipients.iter().filter_map(|(_, want)| match want {
            Want::Opened(home) if is_sealed && self.known.is_some() => {
                Some((Some(home.id()), "open a letter that came sealed"))
            }
            _ => None,
        });
        uses.extend(opened);
        (self.seals() || signs || found.is_some()).then_some(uses)
    }

    /// When [`Plan::uses`] says that there is nothing to make.
    pub fn nothing_to_do(&self) -> Made {
        Made { given: vec![0; self.recipients.len()], ..Made::default() }
    }

    /// True when forms will be made, whatever the letter is.
    fn seals(&self) -> bool {
        self.recipients.iter().any(|(_, want)| matches!(want, Want::Sealed(_) | Want::Own(..)))
    }

    /// True when the letter leaves in clear for somebody, and signed.
    fn signs(&self) -> bool {
        self.recipients.iter().any(|(_, want)| matches!(want, Want::Signed))
    }

    /// Makes the forms. Takes milliseconds of CPU for each: it belongs on a thread of its own.
    ///
    /// # Errors
    /// [`Refusal::Busy`] without memory for it, [`Refusal::TooManyRecipients`] when more forms
    /// were needed than a letter can have, [`Refusal::DependencyFailed`].
    pub fn make(&self, clear: Clear<'_>, room: &mut ClearPermit) -> Result<Made, Refusal> {
        let found = pgpmime::find(clear.letter, &clear.summary.structure);
        let mut made = self.nothing_to_do();
        made.came_sealed = matches!(found, Some(Found::Encrypted(_) | Found::Inline(_)));
        if self.seals() {
            self.seal(clear, found.as_ref(), &mut made, room)?;
        }
        if self.signs() && found.is_none() {
            self.sign(clear, &mut made, room)?;
        }
        if let (Some(found), Some(known)) = (&found, &self.known) {
            self.open(clear, found, known, &mut made, room)?;
        }
        match made.forms.len() < limits::FORMS_MAX {
            true => Ok(made),
            false => Err(Refusal::TooManyRecipients),
        }
    }

    fn grow(&self, clear: Clear<'_>, room: &mut ClearPermit) -> Result<(), Refusal> {
        let size = clear.letter.len() as u64;
        // Whoever has all that there is needs no more, or the largest letters would never pass. The
        // letter and its ciphertext have their room already.
        let most = self.memory_octets.saturating_sub(size.saturating_mul(2) + SLACK_OCTETS);
        self.memory.grow(room, size.saturating_mul(COPIES_WHILE_SEALING).min(most))
    }

    fn form(
        &self,
        readers: &[Certificate],
        content: &[u8],
        return_path_octets: usize,
        encrypted: bool,
    ) -> Result<Form, Refusal> {
        form(&self.keys, readers, content, return_path_octets, encrypted)
    }
}

/// Puts a content under the seal at rest.
fn form(
    keys: &Keyring,
    readers: &[Certificate],
    content: &[u8],
    return_path_octets: usize,
    encrypted: bool,
) -> Result<Form, Refusal> {
    let sealed = keys.seal_to(readers).and_then(|mut sealer| {
        sealer.write(content)?;
        sealer.finish()
    });
    let sealed = sealed.map_err(|error| {
        tracing::error!(%error, "a form of a letter cannot be sealed");
        Refusal::DependencyFailed
    })?;
    Ok(Form {
        blob: BlobId::from_bytes(*uuid::Uuid::now_v7().as_bytes()),
        ciphertext: sealed.ciphertext.into(),
        content_key: sealed.content_key,
        summary: summary::encode(&summary::summarise(content)),
        size: content.len() as u64,
        return_path_octets: return_path_octets as u64,
        encrypted,
        sealed_to: Vec::new(),
    })
}

/// A key that signs, and whose it is; `None`: the organisation's.
struct Signer {
    mailbox: Option<MailboxId>,
    keys: MailboxKeys,
}

/// A use of a key: whose (`None`: the organisation's), and what for.
pub type Use = (Option<MailboxId>, &'static str);

/// Writes uses of keys into the ledger; they may happen when this returns.
///
/// # Errors
/// [`Refusal::StoreFailed`]: nothing may be used.
pub async fn record(office: &Office, uses: &[Use]) -> Result<(), Refusal> {
    for (mailbox, why) in uses {
        let used = office.audit().used(mailbox.as_ref(), &Who::Relay, "gateway", why).await;
        used.map_err(|error| {
            tracing::error!(%error, "a use of a key cannot be recorded, so it does not happen");
            Refusal::StoreFailed
        })?;
    }
    Ok(())
}

/// Who signs for a sender of ours; `None` when nothing is signed.
async fn signer(office: &Office, account: Option<&Account>) -> Option<Signer> {
    let now = office.clock.now();
    let sign = office.config.gateway.sign;
    if sign == Signing::No {
        return None;
    }
    // Whoever keeps their own key signs with that one, or the organisation does.
    let account = account.filter(|account| {
        sign == Signing::Sender && own::registered(office, &account.id).is_none()
    });
    if let Some(account) = account
        && let Ok(mailbox) = office.mailboxes.open(account).await
        // Keys of earlier days cannot sign.
        && mail::sign_detached(b"", mailbox.keys(), now).is_ok()
    {
        return Some(Signer { mailbox: Some(account.id), keys: mailbox.keys().clone() });
    }
    Some(Signer { mailbox: None, keys: office.organisation.1.clone() })
}

/// What the configuration hides of a header section.
fn protection(office: &Office) -> Protection<'_> {
    let gateway = &office.config.gateway;
    Protection {
        subject: Some(gateway.protected_subject.as_str()).filter(|shown| !shown.is_empty()),
        threads: gateway.threads,
        keeps_bcc: false,
    }
}

/// The folder for letters as they came, when the mailbox got them opened.
pub async fn folder_of_originals(office: &Office, home: &OpenMailbox) -> FolderId {
    let name = &office.config.gateway.originals;
    let known = async || {
        let folders = home.folders().await.unwrap_or_default();
        folders.into_iter().find(|folder| folder.name == *name).map(|folder| folder.id)
    };
    if let Some(folder) = known().await {
        return folder;
    }
    match home.create_folder(name, None).await {
        Ok(folder) => folder.id,
        // Another letter was faster, or the mailbox has too many folders: then it lies in INBOX.
        Err(_) => known().await.unwrap_or(FolderId::INBOX),
    }
}

fn is_address(shown: &EnvelopeAddress, address: &Address) -> bool {
    let parts = shown.mailbox.as_deref().zip(shown.host.as_deref());
    let whole = parts.map(|(local_part, host)| [local_part, b"@", host].concat());
    let text = whole.and_then(|octets| String::from_utf8(octets).ok());
    text.and_then(|text| Address::parse(&text).ok()).is_some_and(|shown| shown == *address)
}
