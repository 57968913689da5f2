//! Searches: from a filter to entries, page by page.
use std::collections::VecDeque;

use tokio::time::timeout;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::flow::addressbook;
use crate::flow::addressbook::Card;
use crate::flow::addressbook::Found;
use crate::flow::addressbook::Reach;
use crate::flow::addressbook::Wanted;
use crate::flow::office::Office;
use crate::proto::ldap::Code;
use crate::proto::ldap::dn::Dn;
use crate::proto::ldap::filter::Filter;
use crate::proto::ldap::filter::Needs;
use crate::proto::ldap::message::Paging;
use crate::proto::ldap::message::Scope;
use crate::proto::ldap::message::Search;
use crate::server::ldap::entries;

/// What a base names.
#[derive(Debug)]
pub(super) enum Place {
    /// The server itself.
    Root,
    /// The schema.
    Subschema,
    /// What all mailboxes stand below.
    Base,
    /// One mailbox, if it is there.
    Mailbox(Option<Address>),
    /// Nothing here.
    Nowhere,
}

/// Where a name leads; `None` when it is no name.
pub(super) fn place(name: &str, base: &Dn) -> Option<Place> {
    let name = Dn::parse(name)?;
    if name.is_root() {
        return Some(Place::Root);
    }
    if name == *base {
        return Some(Place::Base);
    }
    if Dn::parse(entries::SUBSCHEMA).is_some_and(|subschema| name == subschema) {
        return Some(Place::Subschema);
    }
    Some(match name.child_of(base) {
        Some(("mail" | "uid", address)) => Place::Mailbox(Address::parse(address).ok()),
        _ => Place::Nowhere,
    })
}

/// The end of a search, and what it found so far.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) cards: Vec<Card>,
    pub(super) code: Code,
    pub(super) text: &'static str,
}

impl Outcome {
    pub(super) const fn nothing(code: Code, text: &'static str) -> Self {
        Self { cards: Vec::new(), code, text }
    }
}

/// All mailboxes that a search below the base finds.
pub(super) async fn mailboxes(office: &Office, search: &Search) -> Outcome {
    let wanted = match search.filter.needs() {
        Needs::Nothing => return Outcome::nothing(Code::Success, ""),
        Needs::Everything => Wanted::Everything,
        Needs::Texts(texts) => Wanted::Texts(texts),
    };
    let most = office.config.addressbook.results_max;
    let limit = match usize::try_from(search.size_limit) {
        Ok(theirs @ 1..) => theirs.min(most),
        _ => most,
    };
    let time = match search.time_limit {
        0 => limits::ADDRESSBOOK_SEARCH_TIME,
        seconds => {
            limits::ADDRESSBOOK_SEARCH_TIME.min(std::time::Duration::from_secs(seconds.into()))
        }
    };
    let keep = |card: &Card| holds(&search.filter, card, &office.config.addressbook.base);
    match timeout(time, addressbook::find(office, &wanted, limit, keep)).await {
        Err(_) => Outcome::nothing(Code::TimeLimitExceeded, "the search took too long"),
        Ok(Err(refusal)) => refused(refusal),
        Ok(Ok(Found { cards, reach: Reach::All })) => {
            Outcome { cards, code: Code::Success, text: "" }
        }
        // Programs show what they have when the size limit is named, and nothing otherwise.
        Ok(Ok(Found { cards, reach: Reach::More })) if !cards.is_empty() => {
            Outcome { cards, code: Code::SizeLimitExceeded, text: "there is more: say more" }
        }
        Ok(Ok(_)) => Outcome::nothing(
            Code::AdminLimitExceeded,
            "too much would have to be looked at: say how a name begins",
        ),
    }
}

/// The mailbox of a name.
pub(super) async fn one(office: &Office, address: &Address) -> Result<Option<Card>, Outcome> {
    addressbook::lookup(office, address).await.map_err(refused)
}

/// Whether a mailbox is what a filter means.
pub(super) fn holds(filter: &Filter, card: &Card, base: &str) -> bool {
    filter.holds(&entries::mailbox(card, base).folded()) == Some(true)
}

fn refused(refusal: Refusal) -> Outcome {
    match refusal {
        Refusal::Busy => Outcome::nothing(Code::Busy, "too many searches; try later"),
        _ => Outcome::nothing(Code::Unavailable, "the directory does not answer; try later"),
    }
}

/// A search that goes on with the next page (RFC 2696).
pub(super) struct Pages {
    /// The client shows it to go on.
    cookie: [u8; 8],
    rest: VecDeque<Card>,
    /// Entries of all pages.
    pub(super) total: u32,
    code: Code,
    text: &'static str,
}

/// One page.
pub(super) struct Page {
    pub(super) cards: Vec<Card>,
    pub(super) total: u32,
    /// Empty when it is the last one.
    pub(super) cookie: Vec<u8>,
    pub(super) code: Code,
    pub(super) text: &'static str,
}

impl Pages {
    /// Keeps what was found.
    pub(super) fn new(number: u64, found: Outcome) -> Self {
        let Outcome { cards, code, text } = found;
        let total = u32::try_from(cards.len()).unwrap_or(u32::MAX);
        Self { cookie: number.to_be_bytes(), rest: cards.into(), total, code, text }
    }

    /// Whether a client means this search.
    pub(super) fn are_meant(&self, paging: &Paging) -> bool {
        paging.cookie == self.cookie
    }

    /// The next page. That there was more than all pages hold is said on the last one.
    pub(super) fn next(&mut self, size: u32) -> Page {
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(self.rest.len());
        let cards = self.rest.drain(..size).collect();
        let is_last = self.rest.is_empty();
        Page {
            cards,
            total: self.total,
            cookie: if is_last { Vec::new() } else { self.cookie.to_vec() },
            code: if is_last { self.code } else { Code::Success },
            text: if is_last { self.text } else { "" },
        }
    }
}

/// True when the base entry is in the scope.
pub(super) fn shows_base(scope: Scope) -> bool {
    matches!(scope, Scope::Base | Scope::Subtree)
}
