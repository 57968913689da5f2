//! Texts as people compare them: without accents, case and doubled spaces.
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// `  Hélène  Œuvrard ` gives `helene oeuvrard`: names are typed in haste, and a directory holds
/// them with and without accents.
pub fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        if word.is_ascii() {
            folded.extend(word.chars().map(|letter| letter.to_ascii_lowercase()));
            continue;
        }
        let letters = word.nfkd().filter(|letter| !is_combining_mark(*letter));
        for letter in letters.flat_map(char::to_lowercase) {
            match letter {
                'œ' => folded.push_str("oe"),
                'æ' => folded.push_str("ae"),
                letter => folded.push(letter),
            }
        }
    }
    folded
}

/// The words of a text, folded; what is neither letter nor digit parts them.
pub fn words(text: &str) -> Vec<String> {
    folded(text)
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_case_and_spaces_do_not_count() {
        assert_eq!(folded("  Hélène \u{a0} ŒUVRARD "), "helene oeuvrard");
        assert_eq!(folded("ORE\u{301}ADE"), "oreade");
        assert_eq!(folded("a.b@X.fr"), "a.b@x.fr");
        assert_eq!(folded(" "), "");
        assert_eq!(words("D'ARC-Hélène 75990"), ["d", "arc", "helene", "75990"]);
    }
}
