//! A mailbox as the address book shows it.
use crate::domain::address::Address;
use crate::domain::folding::words;
use crate::domain::mailbox::MailboxKind;
use crate::infra::directory::Account;
use crate::infra::replica::PublishedMailbox;

/// What stands before a name and is none.
const TITLES: [&str; 8] = ["dr", "pr", "docteur", "professeur", "m", "mme", "mlle", "me"];

/// One mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its address.
    pub address: Address,
    /// Its kind.
    pub kind: MailboxKind,
    /// What people call it: a person's name, or structure and service.
    pub display_name: String,
    /// Family name; for a team what it is called.
    pub name: String,
    /// Given name; empty for a team.
    pub given_name: String,
    /// The structure's name, when it is known.
    pub structure: String,
    /// The service in it.
    pub service: String,
    /// Profession, as the national directory calls it.
    pub profession: String,
    /// Speciality, likewise.
    pub speciality: String,
    /// Number and street.
    pub street: String,
    /// *Département*: `75`, `2A`, `974`.
    pub department: String,
    /// Postal code.
    pub postal_code: String,
    /// Town.
    pub town: String,
    /// RPPS of a professional.
    pub rpps: String,
    /// Paper-free exchange is accepted (*Dématérialisation*).
    pub paper_free: bool,
    /// Letters came in from this mailbox: somebody works with it.
    pub answers: bool,
}

impl Card {
    /// As the national directory publishes it; `None` when the address is none.
    pub(super) fn published(row: PublishedMailbox) -> Option<Self> {
        let address = Address::parse(&row.address).ok()?;
        let kind = MailboxKind::from_code(&row.kind)?;
        let is_team = kind != MailboxKind::Personal;
        let display_name = match (is_team, row.name.is_empty(), row.given_name.is_empty()) {
            (_, true, true) => row.address,
            (_, _, true) => row.name.clone(),
            (_, true, _) => row.given_name.clone(),
            (true, ..) => format!("{} - {}", row.name, row.given_name),
            (false, ..) => format!("{} {}", row.given_name, row.name),
        };
        let (structure, service, given_name) = match is_team {
            true => (row.name.clone(), row.given_name, String::new()),
            false => (row.structure_name, row.service, row.given_name),
        };
        Some(Self {
            address,
            kind,
            name: if is_team || row.name.is_empty() { display_name.clone() } else { row.name },
            display_name,
            given_name,
            structure,
            service,
            profession: row.profession,
            speciality: row.speciality,
            street: row.street,
            department: row.department,
            postal_code: row.postal_code,
            town: row.town,
            rpps: row.rpps,
            paper_free: row.paper_free,
            answers: false,
        })
    }

    /// A mailbox of this relay, with what the national directory knows besides.
    pub(super) fn ours(account: &Account, published: Option<PublishedMailbox>) -> Self {
        let mut card = published.and_then(Self::published).unwrap_or_else(|| Self {
            address: account.address.clone(),
            kind: account.kind,
            display_name: String::new(),
            name: String::new(),
            given_name: String::new(),
            structure: String::new(),
            service: String::new(),
            profession: String::new(),
            speciality: String::new(),
            street: String::new(),
            department: String::new(),
            postal_code: String::new(),
            town: String::new(),
            rpps: String::new(),
            paper_free: false,
            answers: false,
        });
        // What is said here is younger than any extraction.
        card.address = account.address.clone();
        card.kind = account.kind;
        if !account.display_name.trim().is_empty() {
            card.display_name = account.display_name.trim().to_owned();
        }
        if card.display_name.is_empty() {
            card.display_name = account.address.to_string();
        }
        if card.name.is_empty() {
            let is_team = account.kind != MailboxKind::Personal;
            (card.given_name, card.name) = match is_team {
                true => (String::new(), card.display_name.clone()),
                false => names(&card.display_name),
            };
        }
        card
    }

    /// Words by which it is found.
    pub(super) fn words(&self) -> Vec<String> {
        let address = self.address.to_string();
        [
            &self.display_name,
            &self.name,
            &self.given_name,
            &self.structure,
            &self.service,
            &self.profession,
            &self.speciality,
            &self.postal_code,
            &self.town,
            &self.rpps,
            &address,
        ]
        .into_iter()
        .flat_map(|text| words(text))
        .collect()
    }
}

/// Given and family name of `Dr Marie DE LA TOUR`: the family name is in capitals, or the last word.
fn names(display_name: &str) -> (String, String) {
    let is_title =
        |word: &&str| TITLES.contains(&word.trim_end_matches('.').to_lowercase().as_str());
    let words: Vec<&str> = display_name.split_whitespace().skip_while(is_title).collect();
    let is_capital = |word: &&str| word.chars().count() > 1 && **word == word.to_uppercase();
    let family: Vec<&str> = words.iter().copied().filter(is_capital).collect();
    if !family.is_empty() && family.len() < words.len() {
        let given: Vec<&str> = words.iter().copied().filter(|word| !is_capital(word)).collect();
        return (given.join(" "), family.join(" "));
    }
    match words.split_last() {
        Some((last, given)) => (given.join(" "), (*last).to_owned()),
        None => (String::new(), display_name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parted_as_people_write_them() {
        for (text, given, family) in [
            ("Dr Marie MARTIN", "Marie", "MARTIN"),
            ("MARTIN Marie", "Marie", "MARTIN"),
            ("Pr. Anne-Lise DE LA TOUR", "Anne-Lise", "DE LA TOUR"),
            ("Marie Martin", "Marie", "Martin"),
            ("MARTIN", "", "MARTIN"),
            ("Dr", "", "Dr"),
        ] {
            assert_eq!(names(text), (given.to_owned(), family.to_owned()), "{text}");
        }
    }
}
