//! What somebody looks for in the directory, and which of the found stand first.
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::domain::mailbox::MailboxKind;

/// What somebody looks for. All that is set must hold; an empty query finds nothing.
///
/// Texts are compared word by word, without accents, case and punctuation; each word of the query
/// must begin a word of the mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Words of anything: name, address, place, profession, speciality, structure, service, RPPS.
    pub words: String,
    /// Words of the name: family and given name of a person, service and structure of a team.
    pub name: String,
    /// A profession's code (`10`) or words of its label (`médecin`).
    pub profession: String,
    /// A speciality's code (`SM26`) or words of its label.
    pub speciality: String,
    /// A department (`75`, `2A`), a postal code or its beginning, words of a town.
    pub place: String,
    /// A structure's identifier (FINESS, SIRET) or words of its name.
    pub structure: String,
    /// Only mailboxes of this kind; `None` for all. The extraction has PER and ORG.
    pub kind: Option<MailboxKind>,
}

impl Query {
    /// A query of words of anything, as somebody types them into one box.
    pub fn of_words(words: &str) -> Self {
        Self { words: words.to_owned(), ..Self::default() }
    }
}

/// Which of the found stand first, and which must not be shown.
///
/// In this order: mailboxes that letters were exchanged with, the more the better; those that have
/// the very words of the query, not only their beginnings; those that take paper-free exchange;
/// those in our departments; then by name.
#[derive(Clone, Copy)]
pub struct Ranking<'a> {
    /// Our departments.
    pub departments: &'a [String],
    /// Addresses in their look-up form ([`Address::lookup_form`]) that this relay exchanged
    /// letters with, and what that is worth. The best 256 count where very many are found.
    ///
    /// [`Address::lookup_form`]: crate::domain::address::Address::lookup_form
    pub known: &'a HashMap<String, u32>,
    /// True for an address, in its look-up form, that must not be shown (*liste rouge*).
    pub hidden: &'a (dyn Fn(&str) -> bool + Sync),
}

static NOBODY: LazyLock<HashMap<String, u32>> = LazyLock::new(HashMap::new);

impl Default for Ranking<'_> {
    fn default() -> Self {
        Self { departments: &[], known: &NOBODY, hidden: &|_| false }
    }
}
