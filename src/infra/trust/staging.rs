//! What of a new list counts at once, and what waits for a person.
//!
//! Additions count at once: at worst an operator too many is heard for an hour. Removals in
//! mass wait: they cut hospitals off, and a truncated or mistaken list looks just like that.
use crate::domain::operator::TrustList;
use crate::infra::trust::diff;
use crate::infra::trust::diff::Pairs;

/// A new list, applied as far as it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Staged {
    /// What counts from now on.
    pub(super) effective: TrustList,
    /// The pairs in it that the new list no longer has.
    pub(super) held: Pairs,
    /// How many of them were not held before.
    pub(super) newly_held: usize,
}

/// Puts `after` in the place of `before`, in which the pairs of `held` count against the list.
///
/// What was held stays held until somebody approves or a list has it again. What is removed
/// now counts when it is at most `removals_percent` of all pairs, and is held otherwise.
pub(super) fn stage(
    before: &TrustList,
    held: &Pairs,
    after: &TrustList,
    removals_percent: u64,
) -> Staged {
    let gone = diff::missing(&before.domains, &after.domains);
    let fresh = diff::missing(&gone, held);
    let (removed, all) = (diff::count(&fresh), diff::count(&before.domains));
    let still = diff::missing(&gone, &fresh);
    let too_many = removed as u128 * 100 > u128::from(removals_percent) * all as u128;
    let (held, newly_held) = if too_many { (gone, removed) } else { (still, 0) };
    let domains = diff::together(&after.domains, &held);
    Staged { effective: TrustList { generated: after.generated, domains }, held, newly_held }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Domain;
    use crate::domain::operator::OperatorDn;
    use crate::domain::time::Timestamp;

    /// Domains `d<n>.fr`, each with one certificate of its own.
    fn list(numbers: impl IntoIterator<Item = usize>) -> TrustList {
        let entry = |n: usize| {
            let dn = OperatorDn::new([("CN", format!("mx{n}"))]);
            (Domain::parse(&format!("d{n}.fr")).unwrap(), [dn].into())
        };
        TrustList {
            generated: Timestamp::from_seconds(0),
            domains: numbers.into_iter().map(entry).collect(),
        }
    }

    #[test]
    fn a_share_of_exactly_the_limit_is_removed_and_one_more_is_held() {
        let before = list(0..100);
        let staged = stage(&before, &Pairs::new(), &list(5..100), 5);
        assert_eq!((staged.held.len(), staged.effective.domains.len()), (0, 95));
        let staged = stage(&before, &Pairs::new(), &list(6..100), 5);
        assert_eq!((staged.newly_held, staged.effective.domains.len()), (6, 100));
        let staged = stage(&before, &Pairs::new(), &list(99..100), 100);
        assert_eq!(staged.effective.domains.len(), 1, "100 per cent holds nothing");
        let staged = stage(&before, &Pairs::new(), &list(1..100), 0);
        assert_eq!(staged.newly_held, 1, "0 per cent holds each removal");
    }

    #[test]
    fn additions_count_while_removals_are_held() {
        let staged = stage(&list(0..100), &Pairs::new(), &list(50..150), 5);
        assert_eq!((staged.newly_held, staged.effective.domains.len()), (50, 150));
    }

    #[test]
    fn what_is_held_stays_until_a_list_has_it_again() {
        let first = stage(&list(0..100), &Pairs::new(), &list(50..100), 5);
        // One comes back; two more go, which are few enough to go at once.
        let next = list([0].into_iter().chain(52..100));
        let second = stage(&first.effective, &first.held, &next, 5);
        assert_eq!((second.held.len(), second.newly_held), (49, 0));
        assert_eq!(second.effective.domains.len(), 98);
        assert!(!second.held.contains_key(&Domain::parse("d0.fr").unwrap()));
        // What came back and goes again is judged again.
        let third = stage(&second.effective, &second.held, &list(52..100), 5);
        assert_eq!((third.held.len(), third.effective.domains.len()), (49, 97));
    }

    #[test]
    fn a_swapped_certificate_is_a_removal_and_an_addition() {
        let before = list(0..3);
        let mut after = before.clone();
        let domain = Domain::parse("d0.fr").unwrap();
        after.domains.insert(domain.clone(), [OperatorDn::new([("CN", "other")])].into());
        let staged = stage(&before, &Pairs::new(), &after, 5);
        assert_eq!(staged.effective.domains[&domain].len(), 2, "old and new count");
        let staged = stage(&before, &Pairs::new(), &after, 50);
        assert_eq!(staged.effective, after);
    }
}
