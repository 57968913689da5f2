//! Who asks for which certificate: by the name in a Web Key Directory, by address, by key.
use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::flow::contacts;
use crate::flow::office::Office;
use crate::flow::own;
use crate::flow::published;
use crate::infra::directory::Account;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::accounts::Known;
use crate::infra::keys::peers::Fingerprint;
use crate::infra::keys::peers::PeerCertificate;

/// The certificates behind a name in the directory of a domain: the one in use, then revoked ones.
/// None for whom we do not publish; nobody learns why.
///
/// # Errors
/// [`Refusal::StoreFailed`].
pub async fn by_name(
    office: &Office,
    domain: &Domain,
    name: &str,
) -> Result<Vec<PeerCertificate>, Refusal> {
    let is_ours = office.config.openpgp.wkd && office.config.operator.domains.contains(domain);
    if !is_ours {
        return Ok(Vec::new());
    }
    match contacts::named(office, domain, name).await? {
        Some(address) => by_address(office, &address).await,
        None => Ok(Vec::new()),
    }
}

/// The same for an address.
///
/// # Errors
/// [`Refusal::StoreFailed`].
pub async fn by_address(
    office: &Office,
    address: &Address,
) -> Result<Vec<PeerCertificate>, Refusal> {
    let settings = &office.config.openpgp;
    if !settings.wkd || !office.config.operator.domains.contains(address.domain()) {
        return Ok(Vec::new());
    }
    match office.accounts.known(address).await.map_err(|error| failed(&error))? {
        None => Ok(Vec::new()),
        Some(Known::Ended(id)) => published::revoked(office, &id).await,
        Some(Known::Living(account)) => of_account(office, &account).await,
    }
}

/// The certificate with this fingerprint or key id, among those that are published.
///
/// # Errors
/// [`Refusal::StoreFailed`].
pub async fn by_key(office: &Office, handle: &str) -> Result<Vec<PeerCertificate>, Refusal> {
    if !office.config.openpgp.wkd {
        return Ok(Vec::new());
    }
    let id = match Fingerprint::parse(handle) {
        Some(fingerprint) => fingerprint.key_id(),
        None => handle.to_ascii_uppercase(),
    };
    let mut found = Vec::new();
    for mailbox in contacts::mailboxes_of(office, &id).await? {
        let account = office.accounts.numbered(&mailbox).await.map_err(|error| failed(&error))?;
        found.extend(match account {
            Some(account) => of_account(office, &account).await?,
            None => published::revoked(office, &mailbox).await?,
        });
    }
    let wanted = handle.to_ascii_uppercase();
    found.retain(|it: &PeerCertificate| {
        let whole = it.key_fingerprints().iter().any(|key| key.as_str() == wanted);
        whole || it.key_ids().contains(&wanted)
    });
    Ok(found)
}

async fn of_account(office: &Office, account: &Account) -> Result<Vec<PeerCertificate>, Refusal> {
    if !is_shown(office, account) {
        return Ok(Vec::new());
    }
    let now = office.clock.now();
    let in_use = match own::registered(office, &account.id) {
        // Not ours in its place: letters are not sealed to ours.
        Some(own) => {
            own.certificate.check_for(&account.address, now).ok().map(|()| own.certificate)
        }
        None => PeerCertificate::read(&account.certificate).ok(),
    };
    let in_use = in_use.and_then(|it| it.narrowed(Some(&account.address)).ok());
    let mut shown: Vec<PeerCertificate> = in_use.into_iter().collect();
    shown.extend(published::revoked(office, &account.id).await?);
    Ok(shown)
}

fn is_shown(office: &Office, account: &Account) -> bool {
    account.kind != MailboxKind::Citizen
        && office.config.operator.domains.contains(account.address.domain())
        && !account.suspended
        && (account.listing == Listing::Public || office.config.openpgp.publish_hidden)
}

fn failed(error: &DirectoryError) -> Refusal {
    tracing::error!(%error, "an account cannot be read");
    Refusal::StoreFailed
}
