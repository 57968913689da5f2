//! Marks (RFC 5232): lists of words, each once.
use crate::domain::folder::Flags;
use crate::domain::limits;
use crate::proto::sieve::program::FlagsChange;

/// The words of some texts: a text may hold several, with spaces between them.
pub(super) fn words(texts: &[String]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in texts.iter().flat_map(|text| text.split_ascii_whitespace()) {
        if is_flag(word)
            && words.len() < limits::KEYWORDS_MAX
            && !words.iter().any(|known| known.eq_ignore_ascii_case(word))
        {
            words.push(word.to_owned());
        }
    }
    words
}

/// A list after a change.
pub(super) fn changed(list: &str, change: FlagsChange, flags: &[String]) -> String {
    let kept = words(&[list.to_owned()]);
    let changed = match change {
        FlagsChange::Set => words(flags),
        FlagsChange::Add => words(&[kept, flags.to_vec()].concat()),
        FlagsChange::Remove => {
            let removed = words(flags);
            let is_removed =
                |word: &String| removed.iter().any(|other| other.eq_ignore_ascii_case(word));
            kept.into_iter().filter(|word| !is_removed(word)).collect()
        }
    };
    changed.join(" ")
}

/// The marks of a list. RFC 5232 §2: what is no mark is left out.
pub(super) fn marks(words: &[String]) -> Flags {
    let mut flags = Flags::default();
    for word in words {
        match word.to_ascii_lowercase().as_str() {
            "\\seen" => flags.seen = true,
            "\\answered" => flags.answered = true,
            "\\flagged" => flags.flagged = true,
            "\\deleted" => flags.deleted = true,
            "\\draft" => flags.draft = true,
            _ => {
                flags.keywords.insert(word.clone());
            }
        }
    }
    flags
}

/// RFC 3501 §9 flag: a system flag that a client may set, or an atom.
fn is_flag(word: &str) -> bool {
    if let Some(system) = word.strip_prefix('\\') {
        let known = ["seen", "answered", "flagged", "deleted", "draft"];
        return known.iter().any(|name| name.eq_ignore_ascii_case(system));
    }
    !word.is_empty()
        && word.len() <= limits::KEYWORD_OCTETS_MAX
        && word.bytes().all(|octet| octet.is_ascii_graphic() && !b"(){%*\"\\]".contains(&octet))
}
