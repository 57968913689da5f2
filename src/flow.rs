//! A letter's way through the relay, on one screen.
//!
//! ```text
//! sender ─► recipient ─► begin ─► (content streams) ─► finish ─► 250
//! accept     policy      seal                           queue, deliver (here), count
//! authenticate                                            │
//!                               dispatch::run ◄───────────┘ (clock)
//!                               route, deliver (elsewhere), count, notify
//! ```
//!
//! Each station takes the parcel the one before it made and makes its own. A parcel has
//! private fields and one maker, so a skipped station does not compile.

pub mod office; // what every station leans on
pub mod mailbox; // where letters lie when they have arrived
pub mod reading; // letters in clear on their way to whoever reads them
pub mod life; // mailboxes from the request to the end
pub mod approval; // what waits for a second administrator
pub mod team; // who may read whose mailbox, by an administrator's decision
pub mod exchange; // who may answer whom
pub mod login; // who comes in, at every door alike
pub mod addressbook; // whom people find when they write
pub mod publish; // what the national directory knows of us
pub mod certificates; // ours and theirs, and their ends
pub mod contacts; // certificates of OpenPGP of people outside
pub mod own; // certificates of OpenPGP that people here keep themselves
pub mod published; // certificates of OpenPGP of our mailboxes, for others
pub mod custody; // uses of keys, their escrow, their destruction
pub mod listing; // the trust list, asked for again and again
pub mod outlook; // what a change of the trust list means for us
pub mod documents; // what letters with documents say of themselves
pub mod decisions; // why callers were let in or refused
pub mod judge; // who is the peer at the operators' door
pub mod directory; // the national directory's copy: fetched, searched, compared with ours
pub mod timeline; // what became of each letter
pub mod alerts; // what administrators must hear of
pub mod undone; // why something was not done to a mailbox
pub mod hands; // what administrators do to waiting letters
pub mod promise; // what senders may rely on
pub mod filter; // what people want done with letters that arrive
pub mod gateway; // letters that only their reader opens
pub mod rewrap; // everything that the master key wraps, when it changes
pub mod setup; // how programs and other relays find us
pub mod accept;
pub mod authenticate;
pub mod policy;
pub mod seal;
pub mod queue;
pub mod route;
pub mod deliver;
pub mod count;
pub mod notify;
mod dispatch; // the second half of the way, when the clock says so

use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::address::ReversePath;
use crate::domain::delivery::NextHop;
use crate::domain::delivery::Route;
use crate::domain::door::Door;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::Recipient;
use crate::domain::folder::Flags;
use crate::domain::status::Refusal;
use crate::infra::directory::Account;
use crate::infra::store::Batch;
use accept::Accepted;
use accept::Caller;
use accept::Credentials;
use authenticate::Authenticated;
pub use dispatch::run as dispatch;
use office::Office;
use policy::Approved;
use policy::Cleared;
use queue::Queued;
use queue::Travelling;
use route::next_hop;
use seal::Form;
use seal::Sealed;
use seal::Sealing;

/// MAIL: may this caller send as this reverse path, a letter of this size?
pub async fn sender(
    office: &Office,
    accepted: Accepted,
    reverse_path: ReversePath,
    parameters: MailParameters,
) -> Result<Authenticated, Refusal> {
    policy::check_size(office, &parameters)?;
    authenticate::authenticate(office, accepted, reverse_path, parameters).await
}

/// RCPT: may the sender write to this recipient?
pub async fn recipient(
    office: &Arc<Office>,
    authenticated: &Authenticated,
    recipient: Recipient,
) -> Result<Approved, Refusal> {
    let approved = policy::approve(office, authenticated, recipient).await?;
    // Better a refusal now than five days of silence and a report.
    let address = &approved.recipient().address;
    match next_hop(office, address.domain()) {
        NextHop::Mailbox => Ok(approved),
        NextHop::Operator { route: Route::Unknown, .. } => Err(Refusal::NoRoute),
        NextHop::Operator { .. } => {
            gateway::outbound::check(office, address).await?;
            Ok(approved)
        }
    }
}

/// DATA: room for the clear text, keys for every recipient; then the content may stream in.
pub async fn begin(
    office: &Arc<Office>,
    authenticated: Authenticated,
    recipients: Vec<Approved>,
) -> Result<Sealing, Refusal> {
    let cleared = policy::clear(authenticated, recipients)?;
    seal::begin(office, cleared).await
}

/// End of DATA: header rules, seal, one durable commit of queue rows and local mailboxes.
/// The only way to a [`Queued`], and `Queued::reply` is the only way to a 250.
pub async fn finish(office: &Arc<Office>, sealing: Sealing) -> Result<Queued, Refusal> {
    finish_with(office, sealing, Batch::new()).await
}

/// [`finish`], in one commit with the end of something else.
async fn finish_with(
    office: &Arc<Office>,
    sealing: Sealing,
    also: Batch,
) -> Result<Queued, Refusal> {
    let sealed = seal::finish(sealing).await?;
    let room = room_for(sealed.cleared());
    let placings = filter::place(office, &sealed).await;
    let approved = || sealed.cleared().approved().iter().enumerate();
    let letters: Vec<mailbox::Letter<'_>> = approved()
        .filter(|(_, approved)| approved.home().is_some())
        .filter_map(|(place, _)| sealed.forms().get(sealed.form_of(place)))
        .map(|form| in_a_mailbox(form, &sealed))
        .collect();
    let mut deposits: Vec<mailbox::Deposit> =
        deliver::into_mailboxes(sealed.homes(), &placings, &letters, sealed.identity())
            .into_iter()
            .map(|deposit| deposit.with_room(room))
            .collect();
    let elsewhere: Vec<Travelling> = approved()
        .filter(|(_, approved)| approved.home().is_none())
        .map(|(place, approved)| Travelling {
            recipient: approved.recipient().clone(),
            form: sealed.form_of(place),
        })
        .collect();
    let here = deposits.len();
    deposits.extend(originals(office, &sealed).await);
    let is_needed: Vec<bool> = (0..sealed.forms().len())
        .map(|place| queue::references(&sealed, place, &elsewhere, &deposits) > 0)
        .collect();
    let authenticated = sealed.cleared().authenticated();
    let decision = decisions::of_letter(authenticated, sealed.queue_id(), sealed.accepted_at());
    let by = sealed.cleared().authenticated();
    // RFC 5321 §4.5.5: a letter without a reverse path is never answered.
    let sender = by.account().filter(|_| by.reverse_path().address().is_some());
    let account = by.account().cloned();
    let warning = documents::warning(office, sealed.documents(), sender, sealed.header());
    let heard = timeline::hear(office, &sealed).await;
    let writer = addressbook::writer(office, &sealed);
    // What a filter or the relay itself writes answers nobody's letter.
    let answers = by.account().map(|_| sealed.header().answers.clone()).unwrap_or_default();
    let (mut facts, mut has_promised) = (Vec::new(), false);
    let prepared = queue::prepare(office, sealed, |place| is_needed[place]).await?;
    let commit = queue::commit(office, prepared, &elsewhere, &deposits, |sealed, fresh, batch| {
        batch.extend(also.clone());
        if let Some(decision) = &decision {
            decisions::ride(office, decision, batch);
        }
        (facts, has_promised) = (Vec::new(), false);
        timeline::taken_in(office, sealed, fresh, batch);
        // A second copy changes nothing: it is not counted, and opens or closes nothing.
        let is_news = !sealed.homes().is_empty() && fresh.iter().any(|fresh| *fresh);
        if is_news || sealed.travels() {
            facts = count::taken_in(office, &taken(sealed), fresh);
            facts.extend(documents::facts(sealed.documents(), facts.first()));
            facts.iter().for_each(|fact| office.ledger.ride(fact, batch));
            note_exchanges(office, sealed, batch);
            has_promised = promise::taken_in(office, sealed, fresh, batch);
            has_promised |= filter::ride(office, sealed, &placings, fresh, batch);
            for (letter, entry) in &heard {
                timeline::ride(office, *letter, std::slice::from_ref(entry), batch);
            }
        }
    });
    let queued = commit.await?;
    if has_promised {
        office.promise_bell.notify_one();
    }
    facts.iter().for_each(|fact| office.metrics.count(fact));
    if let Some(writer) = writer.filter(|_| !facts.is_empty()) {
        addressbook::heard(office, &writer);
    }
    let elsewhere = elsewhere.len();
    tracing::info!(letter = %queued.queue_id(), here, elsewhere, "a letter was taken in");
    if let Some((to, warning)) = warning.filter(|_| !facts.is_empty()) {
        warn_sender(office, to, &warning).await;
    }
    if let Some(account) = account {
        team::answered::note(office, &account, &answers);
        directory::drift::note(office, account);
    }
    Ok(queued)
}

/// One form of a letter, as a mailbox takes it.
fn in_a_mailbox<'s>(form: &'s Form, sealed: &Sealed) -> mailbox::Letter<'s> {
    mailbox::Letter {
        blob: form.blob,
        content_key: &form.content_key,
        size: form.size,
        summary: &form.summary,
        internal_date: sealed.accepted_at(),
    }
}

/// The letter as it came, beside the opened one, for those who want to have both.
async fn originals(office: &Office, sealed: &Sealed) -> Vec<mailbox::Deposit> {
    let approved = sealed.cleared().approved().iter().enumerate();
    let here = approved.filter(|(_, approved)| approved.home().is_some()).map(|(place, _)| place);
    let kept = here.zip(sealed.homes()).filter(|(place, _)| sealed.originals().contains(place));
    let letter = in_a_mailbox(sealed.as_it_came(), sealed);
    let identity = sealed.identity().map(<[u8; 32]>::as_slice);
    let mut deposits = Vec::new();
    for (_, home) in kept {
        let folder = gateway::folder_of_originals(office, home).await;
        let seen = Flags { seen: true, ..Flags::default() };
        deposits.push(mailbox::Deposit::new(home, folder, &letter, seen, identity));
    }
    deposits
}

/// How much full mailboxes bend for a letter. Whoever was full at RCPT is not among its recipients
/// (`policy::approve`); what is left is a letter that turned out larger than it said.
fn room_for(cleared: &Cleared) -> mailbox::Room {
    match cleared.approved().len() {
        // The owner must hear what became of their own letters, and nobody would hear of a report
        // that was refused.
        _ if cleared.is_from_the_house() => mailbox::Room::Any,
        1 => mailbox::Room::Strict,
        _ => mailbox::Room::OneMore,
    }
}

/// A warning that cannot be written costs nobody a letter: that one is durable already.
async fn warn_sender(office: &Arc<Office>, to: Address, warning: &[u8]) {
    // Boxed, because the warning walks the same way. It brings no documents, so once only.
    let sent = Box::pin(house_letter(office, to, warning, Batch::new())).await;
    if let Err(refusal) = sent {
        tracing::warn!(%refusal, "a sender could not be warned about a document");
    }
}

/// What the statistics must know of a letter.
fn taken(sealed: &Sealed) -> count::Taken<'_> {
    let cleared = sealed.cleared();
    let approved = cleared.approved().iter();
    count::Taken {
        letter: sealed.queue_id(),
        at: sealed.accepted_at(),
        size: sealed.size(),
        automatic: sealed.header().automatic || cleared.is_from_the_house(),
        from_house: cleared.is_from_the_house(),
        account: cleared.authenticated().account(),
        sender: cleared.authenticated().reverse_path().address(),
        recipients: approved.map(|each| (&each.recipient().address, each.home())).collect(),
    }
}

/// A professional's letter to a patient opens (or closes) the exchange between them.
fn note_exchanges(office: &Office, sealed: &Sealed, batch: &mut Batch) {
    let authenticated = sealed.cleared().authenticated();
    let sender = authenticated.reverse_path().address();
    let from_patient = sender.is_some_and(|sender| office.is_patient_domain(sender.domain()));
    // A report or an automatic answer (null path) opens nothing.
    if from_patient || sender.is_none() {
        return;
    }
    // What a login shows was checked by policy. Another operator's From was not: it counts for
    // the domains of that operator only.
    let list = office.trust.list();
    let speaks_for = |address: &Address| match &authenticated.accepted().caller().credentials {
        Credentials::Operator(grounds) => grounds
            .certificate()
            .is_some_and(|certificate| list.binds(address.domain(), &certificate.subject)),
        _ => true,
    };
    for approved in sealed.cleared().approved() {
        let address = &approved.recipient().address;
        if office.is_patient_domain(address.domain()) {
            exchange::note(office, address, sealed.header(), speaks_for, batch);
        }
    }
}

/// Says in ledger, metrics and log that a caller was refused.
pub fn refused(
    office: &Office,
    accepted: &Accepted,
    recipient: Option<&Address>,
    refusal: Refusal,
) {
    let account = match &accepted.caller().credentials {
        Credentials::Login(account) => Some(account),
        _ => None,
    };
    let domain = account.map_or(&office.config.operator.hostname, |a| a.address.domain());
    let kind = account.map(|account| account.kind);
    let fact = count::refused(office, domain.to_string(), kind, recipient, refusal);
    office.metrics.count(&fact);
    tracing::info!(door = ?accepted.door(), ip = ?accepted.caller().ip, %refusal, "refused");
    if office.refusals.take_for(&accepted.caller().credentials, fact.at) {
        let mut batch = Batch::new();
        office.ledger.ride(&fact, &mut batch);
        // Not waited for: a stranger's refused letter must not cost a disk sync of our time.
        drop(office.store.submit(batch));
    }
}

/// Our own mail has its own door and walks the same way as any other. When it cannot be
/// delivered, `also` is committed alone: a report is never answered by another report.
#[allow(dead_code, reason = "for letters of ours that are no reports")]
async fn house_letter(
    office: &Arc<Office>,
    to: Address,
    content: &[u8],
    also: Batch,
) -> Result<(), Refusal> {
    house_report(office, to, content, also, Batch::new()).await
}

/// [`house_letter`]; `told` is committed only when there is somebody to tell.
async fn house_report(
    office: &Arc<Office>,
    to: Address,
    content: &[u8],
    mut also: Batch,
    told: Batch,
) -> Result<(), Refusal> {
    let caller = Caller {
        ip: None,
        client_name: office.config.operator.hostname.to_string(),
        protocol: "local",
        tls: None,
        credentials: Credentials::House,
    };
    let accepted = accept::accept(Door::House, caller);
    let parameters = MailParameters { smtputf8: true, ..MailParameters::default() };
    let authenticated = sender(office, accepted, ReversePath::Null, parameters).await?;
    let to = Recipient { address: to, parameters: Default::default() };
    match recipient(office, &authenticated, to).await {
        Ok(approved) => {
            let mut sealing = begin(office, authenticated, vec![approved]).await?;
            sealing.write(content)?;
            also.extend(told);
            finish_with(office, sealing, also).await.map(|_| ())
        }
        // The directory did not answer: later, rather than never.
        Err(refusal) if refusal.is_temporary() => Err(refusal),
        Err(refusal) => {
            tracing::warn!(%refusal, "a report has no recipient any more");
            let commit = office.store.commit(also).await;
            commit.map_err(|error| mailbox::commit_refusal(&error))
        }
    }
}

/// A letter that a filter sends on walks the same way again. The mailbox answers for it; its
/// content is as it came. When it is taken in, `also` is committed with it.
async fn send_on(
    office: &Arc<Office>,
    account: &Account,
    path: ReversePath,
    to: Address,
    content: &[u8],
    also: Batch,
) -> Result<(), Refusal> {
    let caller = Caller {
        ip: None,
        client_name: office.config.operator.hostname.to_string(),
        protocol: "local",
        tls: None,
        credentials: Credentials::Filter(account.clone()),
    };
    let accepted = accept::accept(Door::House, caller);
    let parameters = MailParameters { smtputf8: true, ..MailParameters::default() };
    let authenticated = sender(office, accepted, path, parameters).await?;
    let to = Recipient { address: to, parameters: Default::default() };
    let approved = recipient(office, &authenticated, to).await?;
    let mut sealing = begin(office, authenticated, vec![approved]).await?;
    sealing.write(content)?;
    // Boxed: the mailbox at the other end may have a filter as well.
    Box::pin(finish_with(office, sealing, also)).await.map(|_| ())
}
