//! Secrets that we make and people type: letters and digits in groups of four.
use zeroize::Zeroizing;

use crate::domain::secret::Secret;
use crate::infra::directory::DirectoryError;

/// Letters and digits that are not taken for one another: 32, so that a random octet's low five
/// bits choose one without preference.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const GROUP: usize = 4;

/// So many random letters, as they are shown: `k7mq-…`.
pub(super) fn random(letters: usize) -> Result<Secret<String>, DirectoryError> {
    let mut random = Zeroizing::new(vec![0_u8; letters]);
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| DirectoryError::Keys("no randomness".to_owned()))?;
    let mut text = String::with_capacity(letters + letters / GROUP);
    for (place, octet) in random.iter().enumerate() {
        if place > 0 && place % GROUP == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::from(octet % 32)]));
    }
    Ok(Secret::new(text))
}

/// What was typed, without groups and in lower case, when it has so many letters of ours.
pub(super) fn normal(typed: &str, letters: usize) -> Option<Secret<String>> {
    if typed.len() > 4 * letters {
        return None;
    }
    let mut text = String::with_capacity(letters);
    for letter in typed.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let letter = letter.to_ascii_lowercase();
        let is_ours = u8::try_from(letter).is_ok_and(|octet| ALPHABET.contains(&octet));
        if !is_ours || text.len() == letters {
            return None;
        }
        text.push(letter);
    }
    (text.len() == letters).then(|| Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_in_groups_may_be_typed_in_any_way() {
        let shown = random(20).unwrap();
        assert_eq!(shown.expose().len(), 24);
        let plain = normal(shown.expose(), 20).unwrap();
        assert_eq!(plain.expose().len(), 20);
        let typed = shown.expose().to_uppercase().replace('-', " ");
        assert_eq!(normal(&typed, 20).unwrap().expose(), plain.expose());
        assert!(normal(&shown.expose()[..23], 20).is_none());
        assert!(normal("a human's own password", 20).is_none());
        assert_ne!(random(20).unwrap().expose(), shown.expose());
    }
}
