//! Who takes care of a message in a team's mailbox: the keyword `claimed-<name>`, where the name
//! is the part of an address before the `@`. Mail programs show keywords as tags.
//!
//! One rule: while one claim stands, another is refused. Whoever takes a message over takes the
//! other's tag away first, and knows then whose it was. To set somebody else's tag is to assign.
use crate::domain::address::Address;
use crate::domain::folder::Flags;
use crate::domain::limits;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;

/// What a claim begins with.
pub const CLAIMED: &str = "claimed-";
/// What says who answered a message begins with this.
pub const ANSWERED_BY: &str = "answered-by-";

/// The keyword of somebody: their name as far as a keyword can hold it (RFC 3501 §9 `atom`).
pub fn keyword(prefix: &str, who: &Address) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    let name = who.local_part().to_ascii_lowercase();
    let name: String = name.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    let mut keyword = format!("{prefix}{name}");
    keyword.truncate(limits::KEYWORD_OCTETS_MAX);
    keyword
}

impl OpenMailbox {
    /// Refuses marks with which two people would take care of one message.
    pub(in crate::flow::mailbox) fn check_claims(
        &self,
        before: &Flags,
        wanted: &Flags,
    ) -> Result<(), MailboxError> {
        if !self.is_shared_by_kind() {
            return Ok(());
        }
        let is_new = |word: &&String| is_claim(word) && !before.has_keyword(word);
        let claims = wanted.keywords.iter().filter(|word| is_claim(word)).count();
        match wanted.keywords.iter().any(|word| is_new(&word)) && claims > 1 {
            true => Err(MailboxError::Claimed),
            false => Ok(()),
        }
    }
}

fn is_claim(keyword: &str) -> bool {
    let prefix = keyword.get(..CLAIMED.len());
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(CLAIMED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_is_an_atom_whoever_it_names() {
        let of = |text: &str| keyword(CLAIMED, &Address::parse(text).unwrap());
        assert_eq!(of("Dr.Lune@h.test"), "claimed-dr.lune");
        assert_eq!(of("\"a b\"@h.test"), "claimed-a-b");
        assert!(is_claim("CLAIMED-x") && !is_claim("claim") && !is_claim("$é"));
    }
}
