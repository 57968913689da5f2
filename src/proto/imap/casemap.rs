//! Texts without their case: one form for what is searched, another for what is sorted.
use unicode_normalization::UnicodeNormalization;

/// One form for all spellings of a text, for searches: compatibility forms composed, full case
/// folding. `É` is `é` however it was written, `ß` is `ss`, `ς` is `σ`, `ı` is `i`; an accent
/// still is an accent. RFC 3501 §6.4.4 asks for matching without case and leaves the rest to us.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while !rest.is_empty() {
        // Letters are mostly ASCII, even French ones. A mark that follows an ASCII letter
        // belongs to it, so the last letter of a run goes with what comes behind.
        let ascii = rest.bytes().take_while(u8::is_ascii).count();
        let plain = if ascii == rest.len() { ascii } else { ascii.saturating_sub(1) };
        folded.push_str(&rest[..plain].to_ascii_lowercase());
        rest = &rest[plain..];
        let odd = other_end(rest);
        fold_others(&rest[..odd], &mut folded);
        rest = &rest[odd..];
    }
    folded
}

/// Where the text goes on in ASCII, behind its first character.
fn other_end(text: &str) -> usize {
    let mut characters = text.char_indices();
    characters.next();
    characters.find(|(_, c)| c.is_ascii()).map_or(text.len(), |(at, _)| at)
}

fn fold_others(text: &str, folded: &mut String) {
    // Lower, upper, lower: `ẞ` has no upper form of its own, `ς` none that is not lowered again.
    let cased = text
        .nfkd()
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase);
    folded.extend(cased.nfkc());
}

/// The key by which SORT and THREAD compare texts: `i;unicode-casemap` (RFC 5051 §2), which
/// RFC 5256 §2 asks for. Title case by the simple mappings, then decomposed (NFKD). Compare the
/// octets.
pub fn collation_key(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    text.chars().map(simple_title_case).nfkd().collect()
}

/// The title case of the Unicode character database's own table: one character for one.
fn simple_title_case(c: char) -> char {
    match c {
        'a'..='z' => c.to_ascii_uppercase(),
        '\0'..='\u{7f}' => c,
        // Digraphs whose title case is not their upper case.
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        // Greek with iota below: the full upper case has two letters, the simple one has one.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
            char::from_u32(u32::from(c) + 8).unwrap_or(c)
        }
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => char::from_u32(u32::from(c) + 9).unwrap_or(c),
        _ => {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(only), None) => only,
                // Such as `ß`: no simple mapping.
                _ => c,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_text_are_searched_as_one() {
        for (one, other) in [
            ("E\u{301}tude", "\u{e9}tude"),
            ("ABC", "abc"),
            ("STRASSE", "stra\u{df}e"),
            ("STRA\u{1e9e}E", "strasse"),
            ("\u{3a3}\u{39f}\u{3a6}\u{39f}\u{3a3}", "\u{3c3}\u{3bf}\u{3c6}\u{3bf}\u{3c2}"),
            ("D\u{131}\u{15f}", "DI\u{15e}"),
            ("e\u{fb03}cace", "EFFICACE"),
            ("x E\u{301} x", "X \u{c9} X"),
            ("\u{212b}", "\u{e5}"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
        assert_ne!(fold("\u{e9}t\u{e9}"), fold("ete"));
        assert_ne!(fold("cote"), fold("cot\u{e9}"));
    }

    #[test]
    fn the_collation_is_that_of_the_standard() {
        assert_eq!(collation_key("Re: a"), "RE: A");
        assert_eq!(collation_key("\u{e9}"), collation_key("E\u{301}"));
        assert_eq!(collation_key("\u{df}"), "\u{df}");
        assert_eq!(collation_key("\u{1c6}"), "Dz\u{30c}");
        assert_eq!(collation_key("\u{1f80}"), collation_key("\u{1f88}"));
        assert_eq!(collation_key("\u{1fb3}"), collation_key("\u{1fbc}"));
        assert_eq!(collation_key("\u{3c2}"), collation_key("\u{3a3}"));
    }

    proptest! {
        /// Runs of ASCII are folded on a short way; the result must not show it.
        #[test]
        fn folding_in_runs_is_folding_the_whole(text in "(\\PC|[a-zA-Z ]|[\u{300}-\u{345}]|[\u{1100}-\u{11ff}]){0,40}") {
            let mut whole = String::new();
            fold_others(&text, &mut whole);
            prop_assert_eq!(fold(&text), whole);
        }

        #[test]
        fn a_folded_text_stays_as_it_is(text in "(\\PC|[\u{300}-\u{345}]){0,20}") {
            // What is searched for is folded as what is searched in.
            prop_assert_eq!(fold(&text).is_empty(), text.is_empty());
            prop_assert_eq!(fold(&text.to_lowercase()).is_empty(), text.is_empty());
        }
    }
}
