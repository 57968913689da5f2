//! Station 3, policy: may this sender write to these people, and this content?
use crate::domain::address::Address;
use crate::domain::address::ReversePath;
use crate::domain::door::Door;
use crate::domain::envelope::Envelope;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::Recipient;
use crate::domain::identity::Ins;
use crate::domain::limits;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::flow::authenticate::Authenticated;
use crate::flow::authenticate::may_send_as;
use crate::flow::exchange;
use crate::flow::office::Office;
use crate::infra::directory::Account;
use crate::infra::directory::Mailboxes;
use crate::proto::mime::header::HeaderView;

/// A recipient this sender may write to. Asked at RCPT time; only [`approve`] makes one.
#[derive(Debug)]
pub struct Approved {
    recipient: Recipient,
    home: Option<Account>,
}

/// A letter that may be written: sender and recipients are cleared, the content may come.
///
/// ```compile_fail
/// # use vaguemestre::flow::{authenticate::Authenticated, policy::Cleared};
/// fn skip_the_policy(authenticated: Authenticated) -> Cleared {
///     Cleared { authenticated, approved: Vec::new() }
/// }
/// ```
#[derive(Debug)]
pub struct Cleared {
    authenticated: Authenticated,
    approved: Vec<Approved>,
}

/// The letter may have this size, as far as MAIL told it (RFC 1870 §6.1).
pub fn check_size(office: &Office, parameters: &MailParameters) -> Result<(), Refusal> {
    match parameters.size {
        Some(size) if size > office.config.limits.message_octets => Err(Refusal::MessageTooLarge),
        _ => Ok(()),
    }
}

/// May the sender write to this recipient?
pub async fn approve(
    office: &Office,
    by: &Authenticated,
    recipient: Recipient,
) -> Result<Approved, Refusal> {
    let address = &recipient.address;
    if address.needs_smtputf8() && !by.parameters().smtputf8 {
        return Err(Refusal::Utf8NotAnnounced);
    }
    check_domain(office, by, address)?;
    check_patient_address(office, address)?;
    check_patient_answers_only(office, by, address).await?;
    let home =
        if office.hosts(address.domain()) { Some(resident(office, address).await?) } else { None };
    if let Some(home) = &home {
        check_room(office, by, home).await?;
    }
    Ok(Approved { recipient, home })
}

/// On the operators' door only our own mailboxes are reached: we relay for nobody else.
fn check_domain(office: &Office, by: &Authenticated, address: &Address) -> Result<(), Refusal> {
    match by.accepted().door() {
        Door::Mx if !office.hosts(address.domain()) => Err(Refusal::RelayDenied),
        Door::Submission | Door::Portal if !office.is_trusted(address.domain()) => {
            Err(Refusal::DomainNotTrusted)
        }
        // What a filter sends on never leaves the trust space.
        Door::House if by.is_sent_on() && !office.is_trusted(address.domain()) => {
            Err(Refusal::DomainNotTrusted)
        }
        _ => Ok(()),
    }
}

/// A patient's address is built from a valid INS matricule only (ANS Ref2 §3.3, ECO.2.2.6).
fn check_patient_address(office: &Office, address: &Address) -> Result<(), Refusal> {
    if !office.is_patient_domain(address.domain()) {
        return Ok(());
    }
    match Ins::parse(address.local_part()) {
        Ok(_) => Ok(()),
        Err(_) if is_service_name(office, address) => Ok(()),
        Err(_) => Err(Refusal::PatientAddressInvalid),
    }
}

/// A patient may only answer somebody who wrote first and left the exchange open.
async fn check_patient_answers_only(
    office: &Office,
    by: &Authenticated,
    to: &Address,
) -> Result<(), Refusal> {
    let sender = match (by.account(), by.reverse_path()) {
        (Some(account), _) => &account.address,
        (None, ReversePath::Address(sender)) => sender,
        (None, ReversePath::Null) => return Ok(()),
    };
    let is_citizen = by.account().is_some_and(|account| account.kind == MailboxKind::Citizen);
    if !is_citizen && !office.is_patient_domain(sender.domain()) {
        return Ok(());
    }
    check_exchange(office, sender, to).await
}

async fn check_exchange(office: &Office, from: &Address, to: &Address) -> Result<(), Refusal> {
    if is_service_name(office, from) || exchange::is_open(office, from, to).await? {
        return Ok(());
    }
    Err(Refusal::PatientMayOnlyAnswer)
}

/// Automatic mailboxes in patient domains are named in the configuration. Whoever is not named
/// there is a person, valid number or not: a wrong number gives no more rights than a right one.
fn is_service_name(office: &Office, address: &Address) -> bool {
    let names = &office.config.operator.patient_service_mailboxes;
    office.is_patient_domain(address.domain())
        && names.iter().any(|name| name.eq_ignore_ascii_case(address.local_part()))
}

async fn resident(office: &Office, address: &Address) -> Result<Account, Refusal> {
    match office.accounts.find(address).await {
        Ok(Some(account)) if account.suspended => Err(Refusal::MailboxSuspended),
        Ok(Some(account)) => Ok(account),
        Ok(None) => Err(Refusal::MailboxUnknown),
        Err(error) => {
            tracing::error!(%error, "the directory did not answer about a recipient");
            Err(Refusal::DependencyFailed)
        }
    }
}

/// A full mailbox says so while the sender can still write to the others. The relay's own reports
/// pass: they tell the owner what became of their letters, and nobody would hear of their end.
async fn check_room(office: &Office, by: &Authenticated, home: &Account) -> Result<(), Refusal> {
    if !office.mailboxes.has_quota() || by.accepted().door() == Door::House {
        return Ok(());
    }
    let mailbox = office.mailboxes.open(home).await.map_err(|error| {
        tracing::error!(%error, "a recipient's keys do not open");
        Refusal::RecipientKeyMissing
    })?;
    let size = by.parameters().size.unwrap_or(0);
    mailbox.check_room(size).await.map_err(|error| error.refusal())
}

/// All recipients are known: the content may come. The same mailbox twice counts once.
pub fn clear(authenticated: Authenticated, approved: Vec<Approved>) -> Result<Cleared, Refusal> {
    let mut once: Vec<Approved> = Vec::with_capacity(approved.len());
    for each in approved {
        if !once.iter().any(|known| known.recipient.address == each.recipient.address) {
            once.push(each);
        }
    }
    if once.is_empty() {
        return Err(Refusal::MailboxUnknown);
    }
    Ok(Cleared { authenticated, approved: once })
}

/// Judges the header section: whoever is shown as the sender must be the one who logged in.
pub async fn vet(office: &Office, cleared: &Cleared, header: &HeaderView) -> Result<(), Refusal> {
    // RFC 5321 §6.3: a letter that has passed so many relays goes round in circles.
    if header.received > limits::RECEIVED_FIELDS_MAX {
        return Err(Refusal::MailLoop);
    }
    // A round of two relays has passed here often before it is a hundred hops long. Lists and
    // forwarders bring a letter back once or twice by right.
    let own = office.config.operator.hostname.as_str();
    if header.received_by.iter().filter(|by| *by == own).count() > office.config.queue.own_passes {
        return Err(Refusal::MailLoop);
    }
    let Some(account) = cleared.authenticated.account() else {
        return check_shown_patients(office, cleared, header).await;
    };
    // RFC 5322 §3.6: just one From field. Two readers would choose differently between two.
    if header.from_fields != 1 {
        return Err(Refusal::HeaderSenderMissing);
    }
    if header.unreadable_sender || header.from.is_empty() {
        return Err(Refusal::HeaderSenderNotYours);
    }
    let path = cleared.authenticated.reverse_path().address();
    for shown in header.from.iter().chain(&header.sender) {
        // The reverse path was judged at MAIL.
        let is_judged = *shown == account.address || path.is_some_and(|path| path == shown);
        if !is_judged && !may_send_as(office, account, shown).await? {
            return Err(Refusal::HeaderSenderNotYours);
        }
    }
    for reply_to in &header.reply_to {
        check_reply_to(office, account, reply_to).await?;
    }
    Ok(())
}

/// The reverse path of another operator's letter was judged at RCPT. A patient who is shown in
/// From stands under the same rule, or a null path would be the way around it. Reports and
/// receipts, which have that path by right, pass.
async fn check_shown_patients(
    office: &Office,
    cleared: &Cleared,
    header: &HeaderView,
) -> Result<(), Refusal> {
    let path = cleared.authenticated.reverse_path().address();
    if header.automatic && path.is_none() {
        return Ok(());
    }
    let judged = |from: &Address| path.is_some_and(|path| path == from);
    let shown = header.from.iter().filter(|from| office.is_patient_domain(from.domain()));
    for from in shown.filter(|from| !judged(from)) {
        if path.is_none() && !is_service_name(office, from) {
            return Err(Refusal::PatientMayOnlyAnswer);
        }
        for approved in &cleared.approved {
            check_exchange(office, from, &approved.recipient.address).await?;
        }
    }
    Ok(())
}

/// Answers go to the sender, or to a shared mailbox of this house: software (APP) names the
/// team that reads (ANS Ref2 §3.4, ECO.2.2.5). Never to another person, never outside.
async fn check_reply_to(
    office: &Office,
    account: &Account,
    reply_to: &Address,
) -> Result<(), Refusal> {
    if *reply_to == account.address || may_send_as(office, account, reply_to).await? {
        return Ok(());
    }
    if account.kind == MailboxKind::Citizen || !office.hosts(reply_to.domain()) {
        return Err(Refusal::HeaderSenderNotYours);
    }
    match office.accounts.find(reply_to).await {
        Ok(Some(named)) => match named.kind {
            MailboxKind::Organisational | MailboxKind::Applicative | MailboxKind::Practice => {
                Ok(())
            }
            // Software writes for a person, who then answers for it.
            MailboxKind::Personal if account.kind == MailboxKind::Applicative => Ok(()),
            MailboxKind::Personal | MailboxKind::Citizen => Err(Refusal::HeaderSenderNotYours),
        },
        Ok(None) => Err(Refusal::HeaderSenderNotYours),
        Err(_) => Err(Refusal::DependencyFailed),
    }
}

impl Approved {
    /// The recipient.
    pub fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// Its mailbox, when it is here.
    pub fn home(&self) -> Option<&Account> {
        self.home.as_ref()
    }
}

impl Cleared {
    /// Who vouches.
    pub fn authenticated(&self) -> &Authenticated {
        &self.authenticated
    }

    /// At least one.
    pub fn approved(&self) -> &[Approved] {
        &self.approved
    }

    /// The envelope.
    pub fn envelope(&self) -> Envelope {
        let recipients = self.approved.iter().map(|each| each.recipient.clone()).collect();
        Envelope::new(
            self.authenticated.reverse_path().clone(),
            self.authenticated.parameters().clone(),
            recipients,
        )
        .expect("Cleared has a recipient: checked by clear")
    }

    /// True when the relay itself wrote the letter.
    pub fn is_from_the_house(&self) -> bool {
        self.authenticated.accepted().door() == Door::House && !self.authenticated.is_sent_on()
    }
}
