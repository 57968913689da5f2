//! What differs between two lists: domains added, removed, certificates swapped.
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::domain::address::Domain;
use crate::domain::operator::OperatorDn;
use crate::domain::operator::TrustList;

/// What a list has, or loses, by domain.
pub type Pairs = BTreeMap<Domain, BTreeSet<OperatorDn>>;

/// How one domain differs between two lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which one.
    pub domain: Domain,
    /// What happens to it.
    pub kind: ChangeKind,
    /// Certificates' names that come.
    pub gained: BTreeSet<OperatorDn>,
    /// Certificates' names that go.
    pub lost: BTreeSet<OperatorDn>,
    /// True when one of its certificates' names is in both lists.
    pub keeps_one: bool,
}

/// What happens to a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It goes.
    Removed,
    /// It stays with other certificates.
    Swapped,
    /// It comes.
    Added,
}

impl ChangeKind {
    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Swapped => "swapped",
            Self::Added => "added",
        }
    }
}

/// Every domain that differs: what goes first, because that is what hurts.
pub fn changes(before: &TrustList, after: &TrustList) -> Vec<Change> {
    let none = BTreeSet::new();
    let all: BTreeSet<&Domain> = before.domains.keys().chain(after.domains.keys()).collect();
    let mut changes: Vec<Change> = all
        .into_iter()
        .filter_map(|domain| {
            let (old, new) = (before.domains.get(domain), after.domains.get(domain));
            let kind = match (old, new) {
                (Some(old), Some(new)) if old == new => return None,
                (Some(_), Some(_)) => ChangeKind::Swapped,
                (Some(_), None) => ChangeKind::Removed,
                (None, _) => ChangeKind::Added,
            };
            let (old, new) = (old.unwrap_or(&none), new.unwrap_or(&none));
            Some(Change {
                domain: domain.clone(),
                kind,
                gained: new.difference(old).cloned().collect(),
                lost: old.difference(new).cloned().collect(),
                keeps_one: !old.is_disjoint(new),
            })
        })
        .collect();
    changes.sort_by(|one, other| (one.kind, &one.domain).cmp(&(other.kind, &other.domain)));
    changes
}

/// The (domain, certificate) pairs of `one` that `other` does not have.
pub(super) fn missing(one: &Pairs, other: &Pairs) -> Pairs {
    let none = BTreeSet::new();
    let mut missing = Pairs::new();
    for (domain, listed) in one {
        let there = other.get(domain).unwrap_or(&none);
        let gone: BTreeSet<OperatorDn> = listed.difference(there).cloned().collect();
        if !gone.is_empty() {
            missing.insert(domain.clone(), gone);
        }
    }
    missing
}

/// All pairs of both.
pub(super) fn together(one: &Pairs, other: &Pairs) -> Pairs {
    let mut all = one.clone();
    for (domain, listed) in other {
        all.entry(domain.clone()).or_default().extend(listed.iter().cloned());
    }
    all
}

/// How many pairs.
pub(super) fn count(pairs: &Pairs) -> usize {
    pairs.values().map(BTreeSet::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn list(entries: &[(&str, &[&str])]) -> TrustList {
        let name = |name: &&str| OperatorDn::new([("CN", *name)]);
        let entry = |(domain, names): &(&str, &[&str])| {
            (Domain::parse(domain).unwrap(), names.iter().map(name).collect())
        };
        TrustList {
            generated: Timestamp::from_seconds(0),
            domains: entries.iter().map(entry).collect(),
        }
    }

    #[test]
    fn what_goes_comes_first_and_a_swap_says_whether_a_certificate_stays() {
        let before = list(&[("a.fr", &["x"]), ("b.fr", &["x", "y"]), ("c.fr", &["x"])]);
        let after = list(&[("b.fr", &["y", "z"]), ("c.fr", &["z"]), ("d.fr", &["x"])]);
        let seen: Vec<_> = changes(&before, &after)
            .into_iter()
            .map(|c| {
                (c.domain.to_string(), c.kind.name(), c.gained.len(), c.lost.len(), c.keeps_one)
            })
            .collect();
        let expected = [
            ("a.fr", "removed", 0, 1, false),
            ("b.fr", "swapped", 1, 1, true),
            ("c.fr", "swapped", 1, 1, false),
            ("d.fr", "added", 1, 0, false),
        ];
        assert_eq!(seen, expected.map(|(name, kind, g, l, k)| (name.to_owned(), kind, g, l, k)));
        assert!(changes(&before, &before).is_empty());
    }

    #[test]
    fn pairs_are_counted_and_missed_one_by_one() {
        let before = list(&[("a.fr", &["x"]), ("b.fr", &["x", "y"])]).domains;
        let after = list(&[("b.fr", &["y", "z"])]).domains;
        let gone = missing(&before, &after);
        assert_eq!(count(&gone), 2);
        assert_eq!(count(&together(&after, &gone)), 4);
        assert!(missing(&before, &together(&after, &gone)).is_empty());
    }
}
