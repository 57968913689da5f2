//! Base subjects: what is left of a subject without marks of replies and forwards (RFC 5256
//! §2.1).

/// A base subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseSubject {
    /// The text, with single spaces.
    pub text: String,
    /// True when something was taken off that says "reply" or "forward".
    pub is_reply: bool,
}

/// The base subject of a decoded subject; its numbers are the steps of RFC 5256 §2.1.
pub fn base(decoded: &str) -> BaseSubject {
    // (1) One space between words. Trailing and leading ones go in (2) and (3).
    let words: Vec<&str> = decoded.split([' ', '\t', '\r', '\n']).collect();
    let text = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let mut rest = text.as_str();
    let mut is_reply = false;
    loop {
        // (2)
        loop {
            rest = rest.trim_end_matches(' ');
            let Some(shorter) = without_end(rest, "(fwd)") else { break };
            (rest, is_reply) = (shorter, true);
        }
        // (3) and (5)
        rest = rest.trim_start_matches(' ');
        while let Some(shorter) = without_leader(rest) {
            (rest, is_reply) = (shorter.trim_start_matches(' '), true);
        }
        // (4) What is no leader now is none without its first blobs either, so there is no need to
        // look again.
        while let Some(shorter) = without_blob(rest).filter(|shorter| !shorter.is_empty()) {
            rest = shorter;
        }
        // (6)
        match without_start(rest, "[fwd:").and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => (rest, is_reply) = (inner, true),
            None => break,
        }
    }
    BaseSubject { text: rest.to_owned(), is_reply }
}

/// Without `*subj-blob subj-refwd`.
fn without_leader(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(shorter) = without_blob(rest) {
        rest = shorter;
    }
    let rest = ["re", "fwd", "fw"].into_iter().find_map(|word| without_start(rest, word))?;
    let rest = rest.trim_start_matches(' ');
    without_blob(rest).unwrap_or(rest).strip_prefix(':')
}

/// Without `subj-blob`: brackets around anything but brackets, and spaces behind.
fn without_blob(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(['[', ']'])?;
    let rest = inside[end..].strip_prefix(']')?;
    Some(rest.trim_start_matches(' '))
}

fn without_start<'t>(text: &'t str, start: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

fn without_end<'t>(text: &'t str, end: &str) -> Option<&'t str> {
    let (rest, tail) = text.split_at_checked(text.len().checked_sub(end.len())?)?;
    tail.eq_ignore_ascii_case(end).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_of_replies_and_forwards_are_taken_off() {
        for (subject, text, is_reply) in [
            ("R\u{e9}sultats", "R\u{e9}sultats", false),
            ("Re: a", "a", true),
            ("RE : a", "a", true),
            ("re:re: Fw: FWD:a", "a", true),
            ("Fwd[2]: a", "a", true),
            ("Re [list] : a", "a", true),
            ("[list] Re: a", "a", true),
            ("[list] [other] re: a", "a", true),
            ("[list] a", "a", false),
            ("[list]", "[list]", false),
            ("Re: [list]", "[list]", true),
            ("[list] [other]", "[other]", false),
            ("[a[b] c", "[a[b] c", false),
            ("a (fwd)", "a", true),
            ("a (FWD) (fwd) ", "a", true),
            ("[Fwd: a]", "a", true),
            ("[fwd: Re: [list] a (fwd)]", "a", true),
            ("[Fwd: [Fwd: a]]", "a", true),
            ("Re: [Fwd: a]", "a", true),
            (" a \t b\r\n  c ", "a b c", false),
            ("Re:", "", true),
            ("", "", false),
            ("(fwd)", "", true),
            ("Reply: a", "Reply: a", false),
            ("Regarding a", "Regarding a", false),
            ("TR: a", "TR: a", false),
            ("fw: fw a: b", "fw a: b", true),
            ("Re: \u{e9}", "\u{e9}", true),
        ] {
            let found = base(subject);
            assert_eq!((found.text.as_str(), found.is_reply), (text, is_reply), "{subject:?}");
        }
    }

    #[test]
    fn a_long_row_of_marks_is_passed_in_one_walk() {
        for unit in ["re: ", "[a] ", "[fwd: ", "(fwd)", "fw[", "[re: "] {
            let _ = base(&unit.repeat(20_000));
        }
    }

    proptest! {
        #[test]
        fn a_base_subject_is_its_own_base(subject in "(re|fwd?|:| |\\[|\\]|\\(fwd\\)|a|\u{e9}){0,12}") {
            let once = base(&subject);
            prop_assert_eq!(&base(&once.text).text, &once.text);
        }
    }
}
