//! Certificates of OpenPGP: our mailboxes', people's own, and those of people outside.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::flow::contacts;
use crate::flow::contacts::Choice;
use crate::flow::contacts::Contact;
use crate::flow::contacts::Imported;
use crate::flow::gateway;
use crate::flow::office::Office;
use crate::flow::own;
use crate::flow::published;
use crate::infra::directory::Account;
use crate::infra::directory::Mailboxes;
use crate::infra::keys::lifecycle::RevocationReason;
use crate::infra::keys::peers::Fingerprint;
use crate::infra::keys::peers::PeerCertificate;
use crate::server::control::Caller;

/// Characters of a reason that the journal keeps.
const REASON_MAX: usize = 500;
const DAY: u64 = 86_400;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// All certificates, the nearest end first.
    List {
        /// `mailboxes`, `own`, `contacts`; all when absent.
        sort: Option<String>,
        /// Only those that end within so many days.
        expiring: Option<u64>,
    },
    /// Everything about one address.
    Show {
        /// Whose.
        address: String,
    },
    /// The certificate, armoured.
    Export {
        /// Whose.
        address: String,
    },
    /// Takes a certificate in.
    Import {
        /// Armoured.
        certificate: String,
        /// For whom; every address of outside that they show when absent.
        address: Option<String>,
        /// Why, for the journal.
        reason: String,
    },
    /// Asks the sources for an address, now.
    Look {
        /// Whose.
        address: String,
    },
    /// Decides about a contact whose certificate has changed.
    Decide {
        /// Whose.
        address: String,
        /// Of the certificate that is shown now.
        fingerprint: String,
        /// The new one counts; otherwise the pinned one stays.
        accept: bool,
        /// Why, for the journal.
        reason: String,
    },
    /// Forgets what is pinned for an address.
    Forget {
        /// Whose.
        address: String,
        /// Why, for the journal.
        reason: String,
    },
    /// Registers an own certificate; the administrator vouches that its holder has the key.
    SetOwn {
        /// Whose.
        address: String,
        /// Armoured.
        certificate: String,
        /// Why, for the journal.
        reason: String,
    },
    /// Takes such a registration back.
    RemoveOwn {
        /// Whose.
        address: String,
        /// Why, for the journal.
        reason: String,
    },
    /// Puts letters of before under the seal of an own certificate: one step.
    Reseal {
        /// Whose.
        address: String,
        /// Where the step before ended: a folder's number, and a message's.
        from: Option<(u32, u32)>,
        /// Why, for the journal.
        reason: String,
    },
    /// New subkeys for a mailbox.
    Rotate {
        /// Whose.
        address: String,
        /// Why, for the journal.
        reason: String,
    },
    /// Another end for the certificate of a mailbox, now.
    Extend {
        /// Whose.
        address: String,
        /// Why, for the journal.
        reason: String,
    },
    /// Revokes the key of a mailbox and makes another one.
    Revoke {
        /// Whose.
        address: String,
        /// `compromised`, `superseded`, `retired`.
        code: String,
        /// Why, for the journal.
        reason: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Sentences, one a line.
    Done(String),
    /// Certificates.
    List(Vec<Row>),
    /// An armoured certificate.
    Armour(String),
    /// A step of [`Request::Reseal`].
    Resealed(Resealed),
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resealed {
    /// Messages that were looked at.
    pub looked: u64,
    /// Those that are under the owner's seal now, and were not.
    pub sealed: u64,
    /// Those that do not open, and stay as they are.
    pub unreadable: u64,
    /// Where the next step begins; absent at the end.
    pub next: Option<(u32, u32)>,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Whose; `***@domain` for a patient.
    pub address: String,
    /// `mailbox`, `own`, `contact`, `changed` (shown instead of the pinned one), `revoked`.
    pub sort: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// RFC 3339, UTC; absent when it never ends.
    pub until: Option<String>,
    /// Whole days until then.
    pub days_left: Option<i64>,
    /// Where it came from: `relay`, `page`, `mail`, an administrator, `import`, `wkd`.
    pub source: String,
    /// RFC 3339, UTC: since when it counts here.
    pub since: String,
    /// Why it is not used; empty when it is.
    pub trouble: String,
}

/// Does it. `Err` is a sentence for the administrator: what is wrong and what to do.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    match request {
        Request::List { sort, expiring } => list(office, sort, expiring).await.map(Answer::List),
        Request::Show { address } => show(office, &parse(&address)?).await.map(Answer::List),
        Request::Export { address } => export(office, &parse(&address)?).await.map(Answer::Armour),
        Request::Import { certificate, address, reason } => {
            import(office, &certificate, address, &why(&reason)?, caller).await.map(Answer::Done)
        }
        Request::Look { address } => look(office, &parse(&address)?).await.map(Answer::Done),
        Request::Decide { address, fingerprint, accept, reason } => {
            let (address, reason) = (parse(&address)?, why(&reason)?);
            let fingerprint = Fingerprint::parse(&fingerprint)
                .ok_or("a fingerprint has 40 or 64 hexadecimal digits")?;
            let choice = if accept { Choice::Accept } else { Choice::Keep };
            let author = &caller.author;
            let decided =
                contacts::decide(office, &address, &fingerprint, choice, author, &reason).await?;
            let pinned = decided.certificate.fingerprint();
            Ok(Answer::Done(format!("{pinned} is pinned for {address:?}.")))
        }
        Request::Forget { address, reason } => {
            let (address, reason) = (parse(&address)?, why(&reason)?);
            contacts::forget(office, &address, &caller.author, &reason).await?;
            Ok(Answer::Done(format!("Nothing is pinned for {address:?} any more.")))
        }
        Request::SetOwn { address, certificate, reason } => {
            let reason = why(&reason)?;
            let account = account(office, &parse(&address)?).await?;
            let certificate = read(&certificate)?;
            set_own(office, &account, &certificate, &reason, caller).await.map(Answer::Done)
        }
        Request::RemoveOwn { address, reason } => {
            let reason = why(&reason)?;
            let account = account(office, &parse(&address)?).await?;
            own::remove(office, &account, vouched(caller, &reason)).await?;
            Ok(Answer::Done(
                "Removed: new letters are sealed to the key that the relay keeps. Those sealed to \
                 the own certificate stay as they are."
                    .to_owned(),
            ))
        }
        Request::Reseal { address, from, reason } => {
            let reason = why(&reason)?;
            let account = account(office, &parse(&address)?).await?;
            let done = gateway::reseal(office, &account, &caller.author, &reason, from).await?;
            let gateway::Resealed { looked, sealed, unreadable, next } = done;
            Ok(Answer::Resealed(Resealed { looked, sealed, unreadable, next }))
        }
        Request::Rotate { address, reason } => {
            let (address, reason) = (parse(&address)?, why(&reason)?);
            let act = published::Act { author: &caller.author, reason: &reason };
            published::rotate(office, &address, act).await?;
            let days = office.config.openpgp.overlap.as_secs() / DAY;
            Ok(Answer::Done(format!(
                "New subkeys count from now on. The old ones are shown as good for {days} days and \
                 open what was sealed to them for ever."
            )))
        }
        Request::Extend { address, reason } => {
            let (address, reason) = (parse(&address)?, why(&reason)?);
            let act = published::Act { author: &caller.author, reason: &reason };
            let extended = published::extend(office, &address, act).await?;
            let until = published::read(&extended)?.expires(office.clock.now());
            Ok(Answer::Done(match until {
                Some(until) => format!("Valid until {until}."),
                None => "Valid without end (openpgp.validity_days = 0).".to_owned(),
            }))
        }
        Request::Revoke { address, code, reason } => {
            let (address, reason) = (parse(&address)?, why(&reason)?);
            let code = RevocationReason::parse(&code)
                .ok_or("why it is revoked: compromised, superseded or retired")?;
            let act = published::Act { author: &caller.author, reason: &reason };
            let new = published::revoke(office, &address, code, act).await?;
            Ok(Answer::Done(format!(
                "Revoked, and published so. The new certificate is {}. Letters that lie here open \
                 as before.",
                published::read(&new)?.fingerprint()
            )))
        }
    }
}

fn parse(address: &str) -> Result<Address, String> {
    Address::parse(address.trim()).map_err(|error| format!("the address is {error}"))
}

fn why(reason: &str) -> Result<String, String> {
    let reason: String = reason.trim().chars().take(REASON_MAX).collect();
    if reason.is_empty() { Err("a reason is needed: --reason".to_owned()) } else { Ok(reason) }
}

fn vouched<'a>(caller: &'a Caller, reason: &'a str) -> own::Act<'a> {
    own::Act { author: &caller.author, way: "administrator", reason }
}

async fn account(office: &Office, address: &Address) -> Result<Account, String> {
    let found = office.accounts.find(address).await.map_err(|error| error.to_string())?;
    found.ok_or_else(|| "there is no such mailbox here".to_owned())
}

fn read(armoured: &str) -> Result<PeerCertificate, String> {
    PeerCertificate::read(armoured.as_bytes()).map_err(|flaw| flaw.to_string())
}

async fn import(
    office: &Arc<Office>,
    certificate: &str,
    address: Option<String>,
    reason: &str,
    caller: &Caller,
) -> Result<String, String> {
    let certificate = read(certificate)?;
    if let Some(address) = address {
        let address = parse(&address)?;
        if office.hosts(address.domain()) {
            let account = account(office, &address).await?;
            return set_own(office, &account, &certificate, reason, caller).await;
        }
        return take_in(office, &address, &certificate, reason, caller).await;
    }
    let mut addresses = certificate.addresses(office.clock.now());
    // An own certificate needs the one whose it is: `keys own set`.
    addresses.retain(|address| !office.hosts(address.domain()));
    addresses.truncate(limits::OPENPGP_PARTS_MAX);
    if addresses.is_empty() {
        return Ok(format!("{}: shows no address outside", certificate.fingerprint()));
    }
    let mut said = Vec::new();
    for address in addresses {
        let line = take_in(office, &address, &certificate, reason, caller).await;
        said.push(line.unwrap_or_else(|error| format!("{address:?}: {error}")));
    }
    Ok(said.join("\n"))
}

async fn take_in(
    office: &Arc<Office>,
    address: &Address,
    certificate: &PeerCertificate,
    reason: &str,
    caller: &Caller,
) -> Result<String, String> {
    let shown = certificate.fingerprint();
    match contacts::import(office, address, certificate, &caller.author, reason).await? {
        Imported::Pinned => Ok(format!("{address:?}: {shown} is pinned")),
        Imported::Merged => Ok(format!("{address:?}: {shown} was pinned, news of it are kept")),
        Imported::Differs(pinned) => Err(format!(
            "{pinned} is pinned for this address. Ask the person, then: vaguemestre keys contact \
             accept ADDRESS {shown} --reason …"
        )),
    }
}

async fn set_own(
    office: &Office,
    account: &Account,
    certificate: &PeerCertificate,
    reason: &str,
    caller: &Caller,
) -> Result<String, String> {
    let registered = own::set(office, account, certificate, vouched(caller, reason)).await?;
    Ok(format!(
        "{} is registered: new letters are sealed to it, and the relay cannot open them. Those of \
         before: vaguemestre keys own reseal ADDRESS",
        registered.certificate.fingerprint()
    ))
}

async fn look(office: &Arc<Office>, address: &Address) -> Result<String, String> {
    if !contacts::may_look(office, address) {
        return Err(
            "openpgp.wkd_domains does not name this domain, and there is no openpgp.ldap_attribute"
                .to_owned(),
        );
    }
    let found = contacts::look(office, address).await;
    let found = found.map_err(|_| "a source did not answer; the log says more")?;
    let Some(found) = found else { return Ok("There is no certificate for it.".to_owned()) };
    let mut text = format!("{} is pinned.", found.pinned);
    if let Some(flaw) = found.flaw {
        text.push_str(&format!(" It is not used: {flaw}."));
    }
    if let Some(changed) = found.changed {
        text.push_str(&format!(" Shown now is {changed}, which waits for a decision."));
    }
    Ok(text)
}

async fn export(office: &Office, address: &Address) -> Result<String, String> {
    let certificate = if office.hosts(address.domain()) {
        let account = account(office, address).await?;
        own::kept(office, &account.id).map_or_else(|| published::read(&account), Ok)?
    } else {
        let contact = contacts::pinned(office, address).await.map_err(|it| format!("{it:?}"))?;
        contact.ok_or("no certificate is known for this address")?.certificate
    };
    certificate.to_armour().map_err(|error| error.to_string())
}

async fn show(office: &Office, address: &Address) -> Result<Vec<Row>, String> {
    let now = office.clock.now();
    let mut rows = Vec::new();
    if office.hosts(address.domain()) {
        let account = account(office, address).await?;
        rows.extend(of_mailbox(office, &account, now)?);
        for revoked in published::revoked(office, &account.id).await.map_err(told)? {
            rows.push(row(
                &address_of(&account),
                "revoked",
                &revoked,
                "relay",
                account.created,
                now,
            ));
        }
        return Ok(rows);
    }
    let contact = contacts::pinned(office, address).await.map_err(told)?;
    rows.extend(contact.iter().flat_map(|contact| of_contact(contact, now)));
    if rows.is_empty() {
        Err("no certificate is known for this address".to_owned())
    } else {
        Ok(rows)
    }
}

async fn list(
    office: &Arc<Office>,
    sort: Option<String>,
    expiring: Option<u64>,
) -> Result<Vec<Row>, String> {
    let now = office.clock.now();
    let wants = |name: &str| sort.as_deref().is_none_or(|sort| sort == name);
    let mut rows = Vec::new();
    if wants("mailboxes") || wants("own") {
        for account in office.accounts.list().await.map_err(|error| error.to_string())? {
            rows.extend(of_mailbox(office, &account, now)?);
        }
        rows.retain(|row| wants(if row.sort == "own" { "own" } else { "mailboxes" }));
    }
    if wants("contacts") {
        let mut after = None;
        loop {
            let page = contacts::page(office, after, limits::SCAN_ROWS_MAX).await;
            let (contacts, more) = page.map_err(told)?;
            rows.extend(contacts.iter().flat_map(|contact| of_contact(contact, now)));
            after = more;
            if after.is_none() {
                break;
            }
        }
    }
    if let Some(days) = expiring {
        let most = i64::try_from(days).unwrap_or(i64::MAX);
        rows.retain(|row| row.days_left.is_some_and(|left| left <= most));
    }
    rows.sort_by_key(|row| (row.days_left.unwrap_or(i64::MAX), row.address.clone()));
    Ok(rows)
}

fn told(refusal: crate::domain::status::Refusal) -> String {
    format!("the store does not answer ({})", refusal.name())
}

fn address_of(account: &Account) -> String {
    match account.kind {
        MailboxKind::Citizen => format!("***@{}", account.address.domain()),
        _ => account.address.to_string(),
    }
}

fn of_mailbox(office: &Office, account: &Account, now: Timestamp) -> Result<Vec<Row>, String> {
    let address = address_of(account);
    let ours = published::read(account)?;
    let mut rows = vec![row(&address, "mailbox", &ours, "relay", ours.created(), now)];
    if let Some(own) = own::registered(office, &account.id) {
        rows.push(row(&address, "own", &own.certificate, &own.by, own.since, now));
    }
    Ok(rows)
}

fn of_contact(contact: &Contact, now: Timestamp) -> Vec<Row> {
    let address = format!("{:?}", contact.address);
    let source = contact.source.name();
    let mut rows = vec![row(&address, "contact", &contact.certificate, source, contact.since, now)];
    if let Some(flaw) = contact.found(now).flaw {
        rows[0].trouble = flaw.to_string();
    }
    if let Some(change) = &contact.changed {
        let source = change.source.name();
        let mut shown = row(&address, "changed", &change.certificate, source, change.seen, now);
        shown.trouble = "waits for a decision: keys contact accept".to_owned();
        rows.push(shown);
    }
    rows
}

fn row(
    address: &str,
    sort: &str,
    certificate: &PeerCertificate,
    source: &str,
    since: Timestamp,
    now: Timestamp,
) -> Row {
    let until = certificate.expires(now);
    let seconds = |at: Timestamp| i64::try_from(at.as_seconds()).unwrap_or(i64::MAX);
    let days = |end: Timestamp| (seconds(end) - seconds(now)).div_euclid(86_400);
    Row {
        address: address.to_owned(),
        sort: sort.to_owned(),
        fingerprint: certificate.fingerprint().to_string(),
        until: until.map(|until| until.to_string()),
        days_left: until.map(days),
        source: source.to_owned(),
        since: since.to_string(),
        trouble: certificate.check(now).err().map(|flaw| flaw.to_string()).unwrap_or_default(),
    }
}
