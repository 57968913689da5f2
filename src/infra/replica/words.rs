//! Words as people search them: without accents, case and punctuation.
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Octets of a word that count; what is longer agrees in its beginning.
const WORD_OCTETS_MAX: usize = 48;

/// The words of a text, folded: `Hélène D'ARC-Œuf` gives `helene`, `d`, `arc`, `oeuf`.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    let folded = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        let letters = text.nfd().filter(|character| !is_combining_mark(*character));
        let folded: String = letters.flat_map(char::to_lowercase).collect();
        folded.replace('œ', "oe").replace('æ', "ae")
    };
    let words: Vec<_> = folded
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word[..word.floor_char_boundary(WORD_OCTETS_MAX)].to_owned())
        .collect();
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(words(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn accents_case_and_punctuation_do_not_count() {
        check("Hélène D'ARC-Œuf", &["helene", "d", "arc", "oeuf"]);
        check("ORÉADE", &["oreade"]);
        check("ORE\u{301}ADE", &["oreade"]);
        check("l.tisson@infirmier.fr", &["l", "tisson", "infirmier", "fr"]);
        check("75990 L'Haÿ-les-Roses", &["75990", "l", "hay", "les", "roses"]);
        check(" -- ", &[]);
        check("", &[]);
    }

    #[test]
    fn a_very_long_word_is_cut_between_letters() {
        let word = words(&"é".repeat(500)).next().unwrap();
        assert_eq!(word, "e".repeat(48));
        let word = words(&"中".repeat(500)).next().unwrap();
        assert_eq!(word, "中".repeat(16));
    }
}
