//! The address book: mailboxes of this relay and of the whole trust space, for those who write
//! letters. LDAP and the pages search here.
//!
//! A mailbox on the red list is never shown, though an older copy of the national directory may
//! still have it: what is shown of our own domains is what the accounts say at that moment.
mod card; // a mailbox, as it is shown
mod correspondents; // from where letters come in

pub use card::Card;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::domain::address::Address;
use crate::domain::folding::folded;
use crate::domain::folding::words;
use crate::domain::limits;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::addressbook::correspondents::Correspondents;
use crate::flow::addressbook::correspondents::Key;
use crate::flow::office::Office;
use crate::flow::seal::Sealed;
use crate::infra::directory::Account;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Mailboxes;
use crate::infra::net::Stop;
use crate::infra::replica::PublishedMailbox;
use crate::infra::replica::Query;
use crate::infra::replica::Ranking;
use crate::infra::replica::Replica;
use crate::infra::replica::ReplicaError;
use crate::infra::store::StoreError;

/// Our own mailboxes are listed anew after so long; what is on the red list is looked at with
/// each answer.
const LISTED_FOR: Duration = Duration::from_secs(5);
/// Listing takes at most this share of the time, however many mailboxes there are.
const LISTING_SHARE: u32 = 20;
/// How often what was counted is written.
const WRITTEN_EVERY: Duration = Duration::from_secs(60);

/// What the address book keeps in memory.
pub struct AddressBook {
    correspondents: Correspondents,
    listed: Mutex<Option<Listed>>,
    listing: tokio::sync::Mutex<()>,
    searching: Semaphore,
}

/// Our own mailboxes that may be shown, as they were a short while ago.
#[derive(Clone)]
struct Listed {
    until: Timestamp,
    cards: Arc<Vec<(Card, Vec<String>)>>,
}

/// What is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever has all words of one of these texts, or begins with them.
    Texts(Vec<String>),
    /// Whatever there is, as far as that can be listed.
    Everything,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The best first.
    pub cards: Vec<Card>,
    /// Whether that is all.
    pub reach: Reach,
}

/// Whether a search found all that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All.
    All,
    /// There is more.
    More,
}

impl Default for AddressBook {
    fn default() -> Self {
        Self {
            correspondents: Correspondents::default(),
            listed: Mutex::default(),
            listing: tokio::sync::Mutex::default(),
            searching: Semaphore::new(limits::ADDRESSBOOK_SEARCHES_AT_ONCE),
        }
    }
}

/// Mailboxes that are wanted and that `keep` takes, at most `limit`, the best first: those from
/// which letters came in, those that work without paper, those of our departments.
///
/// Refuses with `Busy` or `DependencyFailed`.
pub async fn find(
    office: &Office,
    wanted: &Wanted,
    limit: usize,
    keep: impl Fn(&Card) -> bool,
) -> Result<Found, Refusal> {
    let ours = ours(office).await?;
    let mut cards: Vec<Card> = ours
        .iter()
        .filter(|(_, words)| wanted.takes(words))
        .map(|(card, _)| card.clone())
        .filter(&keep)
        .collect();
    let mut known: HashSet<Address> = cards.iter().map(|card| card.address.clone()).collect();
    let mut reach = Reach::All;
    match (wanted, &office.replica) {
        (_, None) => {}
        // Half a million entries are nobody's search.
        (Wanted::Everything, Some(replica)) => {
            if matches!(replica.imported(), Ok(Some(_))) {
                reach = Reach::More;
            }
        }
        (Wanted::Texts(texts), Some(replica)) => {
            for text in texts {
                let rows = published(office, replica, text).await?;
                if rows.len() > limits::ADDRESSBOOK_CANDIDATES_MAX {
                    reach = Reach::More;
                }
                for card in rows.into_iter().filter_map(Card::published) {
                    // What lives here was found above, or is not shown.
                    let is_elsewhere = !office.hosts(card.address.domain());
                    if is_elsewhere && keep(&card) && known.insert(card.address.clone()) {
                        cards.push(card);
                    }
                }
            }
        }
    }
    rank(office, &mut cards);
    let mut shown = Vec::new();
    for card in cards {
        if shown.len() >= limit {
            reach = Reach::More;
            break;
        }
        if !office.hosts(card.address.domain()) || is_shown(office, &card.address).await? {
            shown.push(card);
        }
    }
    Ok(Found { cards: shown, reach })
}

/// The mailbox of this address, if it may be shown.
pub async fn lookup(office: &Office, address: &Address) -> Result<Option<Card>, Refusal> {
    let published = match &office.replica {
        Some(replica) => {
            let (replica, address) = (Arc::clone(replica), address.clone());
            on_thread(office, move || replica.find(&address)).await?
        }
        None => None,
    };
    let mut card = match (office.hosts(address.domain()), account(office, address).await?) {
        (true, Some(account)) if may_show(&account) => Card::ours(&account, published),
        (true, _) => return Ok(None),
        (false, _) => match published.and_then(Card::published) {
            Some(card) => card,
            None => return Ok(None),
        },
    };
    card.answers = office.addressbook.correspondents.letters(&key(office, address)) > 0;
    Ok(Some(card))
}

/// Writes down that a letter came from there, for those who search.
pub(in crate::flow) fn heard(office: &Office, address: &Address) {
    let key = key(office, address);
    office.addressbook.correspondents.count(key, address, office.clock.now());
}

/// Who wrote a letter that reached somebody here, if that says something: not a patient, not a
/// program.
pub(in crate::flow) fn writer(office: &Office, sealed: &Sealed) -> Option<Address> {
    let cleared = sealed.cleared();
    if sealed.homes().is_empty() || sealed.header().automatic || cleared.is_from_the_house() {
        return None;
    }
    let sender = cleared.authenticated().reverse_path().address()?;
    (!office.is_patient_domain(sender.domain())).then(|| sender.clone())
}

/// Reads what was counted before, and writes what is counted, until the relay stops.
pub async fn run(office: Arc<Office>, mut stop: Stop) {
    let correspondents = &office.addressbook.correspondents;
    if let Err(error) = load(&office, correspondents).await {
        tracing::warn!(%error, "who wrote to us cannot be read; the order of searches forgets it");
    }
    loop {
        let stops = tokio::select! {
            () = stop.stopped() => true,
            () = tokio::time::sleep(WRITTEN_EVERY) => false,
        };
        if let Err(error) = correspondents.write(office.store.as_ref(), &office.keys).await {
            tracing::warn!(%error, "who wrote to us cannot be written down now");
        }
        if stops {
            return;
        }
    }
}

async fn load(office: &Office, correspondents: &Correspondents) -> Result<(), StoreError> {
    correspondents.load(office.store.as_ref(), &office.keys, office.clock.now()).await
}

impl Wanted {
    /// What somebody typed into a search box; `None` when there is no word in it.
    pub fn typed(text: &str) -> Option<Self> {
        let words = words(text);
        (!words.is_empty()).then(|| Self::Texts(vec![words.join(" ")]))
    }

    fn takes(&self, of_card: &[String]) -> bool {
        match self {
            Self::Everything => true,
            Self::Texts(texts) => texts.iter().any(|text| {
                let mut wanted = text.split(' ').map(folded).filter(|word| !word.is_empty());
                wanted.all(|wanted| of_card.iter().any(|word| word.starts_with(&wanted)))
            }),
        }
    }
}

/// Our own mailboxes, as they are or were a moment ago.
async fn ours(office: &Office) -> Result<Arc<Vec<(Card, Vec<String>)>>, Refusal> {
    let book = &office.addressbook;
    let fresh = || {
        let now = office.clock.now();
        let listed = book.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.as_ref().filter(|listed| now < listed.until).map(|listed| Arc::clone(&listed.cards))
    };
    if let Some(cards) = fresh() {
        return Ok(cards);
    }
    // One lists, the others wait and take what it found.
    let _listing = book.listing.lock().await;
    if let Some(cards) = fresh() {
        return Ok(cards);
    }
    let began = office.clock.now();
    let accounts = office.accounts.list().await.map_err(failed)?;
    let replica = office.replica.clone();
    let cards = tokio::task::spawn_blocking(move || {
        let shown = accounts.iter().filter(|account| may_show(account));
        let cards = shown.map(|account| {
            let published = replica.as_ref().and_then(|it| it.find(&account.address).ok()?);
            let card = Card::ours(account, published);
            let words = card.words();
            (card, words)
        });
        Arc::new(cards.collect::<Vec<_>>())
    })
    .await
    .map_err(|_| Refusal::DependencyFailed)?;
    let now = office.clock.now();
    let until = now.after(LISTED_FOR.max(now.since(began) * LISTING_SHARE));
    let mut listed = book.listed.lock().unwrap_or_else(PoisonError::into_inner);
    *listed = Some(Listed { until, cards: Arc::clone(&cards) });
    Ok(cards)
}

/// Rows of the national directory, one more than are looked at.
async fn published(
    office: &Office,
    replica: &Arc<Replica>,
    text: &str,
) -> Result<Vec<PublishedMailbox>, Refusal> {
    let (replica, text) = (Arc::clone(replica), text.to_owned());
    let most = limits::ADDRESSBOOK_CANDIDATES_MAX + 1;
    let departments = office.config.directory.departments.clone();
    let book = Arc::clone(&office.addressbook);
    on_thread(office, move || {
        let meant = words(&text);
        let meant: Vec<&str> = meant.iter().map(String::as_str).collect();
        let known = book.correspondents.best(&meant, limits::ADDRESSBOOK_KNOWN_MAX);
        let ranking = Ranking { departments: &departments, known: &known, ..Ranking::default() };
        replica.search(&Query::of_words(&text), &ranking, most)
    })
    .await
}

/// The replica reads files: never on a thread that serves connections.
async fn on_thread<T: Send + 'static>(
    office: &Office,
    work: impl FnOnce() -> Result<T, ReplicaError> + Send + 'static,
) -> Result<T, Refusal> {
    let _place = office.addressbook.searching.acquire().await.map_err(|_| Refusal::Busy)?;
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the directory's copy cannot be searched");
            Err(Refusal::DependencyFailed)
        }
        Err(_) => Err(Refusal::DependencyFailed),
    }
}

fn rank(office: &Office, cards: &mut [Card]) {
    let departments = &office.config.directory.departments;
    for card in cards.iter_mut() {
        let key = key(office, &card.address);
        card.answers = office.addressbook.correspondents.letters(&key) > 0;
    }
    cards.sort_by_cached_key(|card| {
        let is_near = departments.contains(&card.department);
        let letters = match card.answers {
            true => office.addressbook.correspondents.letters(&key(office, &card.address)),
            false => 0,
        };
        // By powers of two: a dozen letters more do not make somebody another person's better.
        let often = u32::BITS - letters.leading_zeros();
        let best = Reverse((often, card.paper_free, is_near));
        (best, folded(&card.name), folded(&card.given_name), card.address.lookup_form())
    });
}

fn key(office: &Office, address: &Address) -> Key {
    correspondents::key(&office.keys, address)
}

async fn is_shown(office: &Office, address: &Address) -> Result<bool, Refusal> {
    Ok(account(office, address).await?.is_some_and(|account| may_show(&account)))
}

async fn account(office: &Office, address: &Address) -> Result<Option<Account>, Refusal> {
    if !office.hosts(address.domain()) {
        return Ok(None);
    }
    office.accounts.find(address).await.map_err(failed)
}

/// Neither patients, nor the red list, nor who cannot receive.
fn may_show(account: &Account) -> bool {
    account.kind != MailboxKind::Citizen && account.listing == Listing::Public && !account.suspended
}

fn failed(error: DirectoryError) -> Refusal {
    tracing::error!(%error, "the accounts cannot be read");
    Refusal::DependencyFailed
}
