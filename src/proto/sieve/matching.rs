//! Comparators and match types (RFC 5228 §2.7, RFC 5231, RFC 4790). Each octet looked at is
//! counted, and no pattern can make more than length times length of them.
use std::cmp::Ordering;

use crate::domain::limits;
use crate::proto::sieve::Stopped;
use crate::proto::sieve::program::Comparator;
use crate::proto::sieve::program::MatchKind;
use crate::proto::sieve::program::Relation;

/// Wildcards of a pattern whose text is kept: `${1}` to `${31}`.
pub(super) const WILDCARDS_MAX: usize = 31;

/// What a script may still do.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: limits::SIEVE_STEPS_MAX }
    }

    /// Counts work.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Stopped> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1);
        self.left = self.left.checked_sub(steps).ok_or(Stopped::TooLong)?;
        Ok(())
    }
}

/// Whether a value fits a key. `kind` is not `Count`. For `Matches`, what the wildcards stand
/// for: all of the value first.
pub(super) fn fits(
    value: &str,
    key: &str,
    comparator: Comparator,
    kind: MatchKind,
    budget: &mut Budget,
) -> Result<Option<Vec<String>>, Stopped> {
    budget.spend(value.len() + key.len())?;
    let fits = match kind {
        MatchKind::Is => order(value, key, comparator) == Ordering::Equal,
        MatchKind::Value(relation) => holds(order(value, key, comparator), relation),
        MatchKind::Contains if comparator == Comparator::Octet => value.contains(key),
        MatchKind::Contains => value.to_ascii_lowercase().contains(&key.to_ascii_lowercase()),
        MatchKind::Matches => return glob(value, key, comparator, budget),
        MatchKind::Count(_) => false,
    };
    Ok(fits.then(Vec::new))
}

/// `:count`: a number is compared with the keys' (RFC 5231 §4.2).
pub(super) fn count_fits(
    count: usize,
    keys: &[String],
    relation: Relation,
    comparator: Comparator,
) -> bool {
    let count = count.to_string();
    keys.iter().any(|key| holds(order(&count, key, comparator), relation))
}

fn holds(order: Ordering, relation: Relation) -> bool {
    match relation {
        Relation::Gt => order.is_gt(),
        Relation::Ge => order.is_ge(),
        Relation::Lt => order.is_lt(),
        Relation::Le => order.is_le(),
        Relation::Eq => order.is_eq(),
        Relation::Ne => order.is_ne(),
    }
}

fn order(one: &str, other: &str, comparator: Comparator) -> Ordering {
    match comparator {
        Comparator::Octet => one.as_bytes().cmp(other.as_bytes()),
        Comparator::AsciiCasemap => {
            let upper = |octet: u8| octet.to_ascii_uppercase();
            one.bytes().map(upper).cmp(other.bytes().map(upper))
        }
        Comparator::AsciiNumeric => number(one).cmp(&number(other)),
    }
}

/// RFC 4790 §9.1.1: the digits at the beginning; none is more than any number. Of any length, so
/// they are compared as they stand: first how many, then which.
fn number(text: &str) -> (bool, usize, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return (true, 0, "");
    }
    let digits = text[..end].trim_start_matches('0');
    (false, digits.len(), digits)
}

/// One element of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Glob {
    /// `*`
    Many,
    /// `?`
    One,
    Character(char),
}

/// RFC 5228 §2.7.1: `*` and `?`, `\` before what is meant as it stands. Each `*` takes as little
/// as it can (RFC 5229 §3.2), and only the last one met is ever tried again, so the work is
/// bounded by both lengths multiplied, and counted.
fn glob(
    value: &str,
    pattern: &str,
    comparator: Comparator,
    budget: &mut Budget,
) -> Result<Option<Vec<String>>, Stopped> {
    let pattern = elements(pattern);
    // Not its characters in a row: they would take four times the octets of a body.
    let character_at = |at: usize| value.get(at..).and_then(|rest| rest.chars().next());
    let same = |one: char, other: char| match comparator {
        Comparator::Octet => one == other,
        _ => one.eq_ignore_ascii_case(&other),
    };
    // Where each element begins in the value.
    let mut begins = vec![0; pattern.len() + 1];
    let (mut at, mut element) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    let mut steps = 0;
    loop {
        steps += 1;
        if steps == 4_096 {
            budget.spend(steps)?;
            steps = 0;
        }
        begins[element] = at;
        let found = character_at(at);
        let goes_on = match (pattern.get(element), found) {
            (None, None) => break,
            (Some(Glob::Many), _) => {
                last_star = Some((element, at));
                element += 1;
                continue;
            }
            (Some(Glob::One), Some(_)) => true,
            (Some(Glob::Character(wanted)), Some(found)) => same(*wanted, found),
            _ => false,
        };
        if goes_on {
            (at, element) = (at + found.map_or(0, char::len_utf8), element + 1);
            continue;
        }
        match &mut last_star {
            // The last star takes one more.
            Some((star, end)) if *end < value.len() => {
                *end += character_at(*end).map_or(1, char::len_utf8);
                (at, element) = (*end, *star + 1);
            }
            _ => {
                budget.spend(steps)?;
                return Ok(None);
            }
        }
    }
    budget.spend(steps)?;
    let text = |from: usize, to: usize| value.get(from..to).unwrap_or_default().to_owned();
    let wildcards =
        pattern.iter().enumerate().filter(|(_, each)| !matches!(each, Glob::Character(_)));
    let parts = wildcards.map(|(place, _)| text(begins[place], begins[place + 1]));
    Ok(Some(std::iter::once(text(0, value.len())).chain(parts.take(WILDCARDS_MAX)).collect()))
}

fn elements(pattern: &str) -> Vec<Glob> {
    let mut elements = Vec::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        elements.push(match character {
            '*' => Glob::Many,
            '?' => Glob::One,
            '\\' => Glob::Character(characters.next().unwrap_or('\\')),
            other => Glob::Character(other),
        });
    }
    elements
}
