//! From a query to the mailboxes that it finds, the best first.
use std::cmp::Reverse;
use std::collections::HashSet;

use roaring::RoaringBitmap;

use crate::domain::address::Address;
use crate::infra::replica::PublishedMailbox;
use crate::infra::replica::Query;
use crate::infra::replica::Ranking;
use crate::infra::replica::ReplicaError;
use crate::infra::replica::generation::Generation;
use crate::infra::replica::generation::identity_number;
use crate::infra::replica::postings::Field;
use crate::infra::replica::postings::Hits;
use crate::infra::replica::words::words;

/// Words of a query that are looked at.
const QUERY_WORDS_MAX: usize = 16;
/// Rows that are read and put in order, at least.
const READ_MIN: usize = 100;
/// Addresses of letters exchanged that are looked up where very many rows are found.
const KNOWN_MAX: usize = 256;

/// Fields in which words of anything are looked for.
const ANY: &[Field] = &[
    Field::Address,
    Field::Name,
    Field::Postal,
    Field::Profession,
    Field::Service,
    Field::Speciality,
    Field::Structure,
    Field::StructureName,
    Field::Town,
];

impl Generation {
    /// What the query finds.
    pub(super) fn search(
        &self,
        query: &Query,
        ranking: &Ranking<'_>,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let Some(hits) = self.hits(query)? else { return Ok(Vec::new()) };
        if hits.all.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let read_max = limit.saturating_mul(2).max(READ_MIN);
        let numbers = if hits.all.len() <= read_max as u64 {
            hits.all.iter().collect()
        } else {
            self.best(&hits, ranking, read_max)?
        };
        let mut found = Vec::with_capacity(numbers.len());
        for number in numbers {
            let mailbox = self.mailbox(number)?;
            let lookup_form = Address::parse(&mailbox.address)
                .map_or_else(|_| mailbox.address.to_lowercase(), |address| address.lookup_form());
            if (ranking.hidden)(&lookup_form) {
                continue;
            }
            let place = (
                Reverse(ranking.known.get(&lookup_form).copied().unwrap_or(0)),
                Reverse(hits.exact.contains(number)),
                Reverse(mailbox.paper_free),
                Reverse(ranking.departments.contains(&mailbox.department)),
                mailbox.name.to_lowercase(),
                mailbox.given_name.to_lowercase(),
                lookup_form,
            );
            found.push((place, mailbox));
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        // An address may have several lines; the best of them tells it.
        let mut seen = HashSet::new();
        found.retain(|(place, _)| seen.insert(place.6.clone()));
        Ok(found.into_iter().take(limit).map(|(_, mailbox)| mailbox).collect())
    }

    /// Lines of addresses in a domain.
    pub(super) fn by_domain(
        &self,
        domain: &str,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let mut together: Option<RoaringBitmap> = None;
        for word in words(domain) {
            let mut rows = RoaringBitmap::new();
            self.postings.very(&word, Field::Address, &mut rows)?;
            together = Some(match together {
                None => rows,
                Some(before) => before & rows,
            });
        }
        let mut found = Vec::new();
        for number in together.unwrap_or_default() {
            let mailbox = self.mailbox(number)?;
            let its = mailbox.address.rsplit_once('@').map_or("", |(_, its)| its);
            if its.eq_ignore_ascii_case(domain) {
                found.push(mailbox);
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Rows in which all of the query holds; `None` for a query without words.
    fn hits(&self, query: &Query) -> Result<Option<Hits>, ReplicaError> {
        let texts: [(&str, &[Field], &[Field]); 6] = [
            (&query.name, &[Field::Name], &[]),
            (&query.structure, &[Field::Structure, Field::StructureName], &[]),
            (&query.speciality, &[Field::Speciality], &[Field::SpecialityCode]),
            (&query.place, &[Field::Postal, Field::Town], &[Field::Department]),
            (&query.words, ANY, &[]),
            (&query.profession, &[Field::Profession], &[Field::ProfessionCode]),
        ];
        let mut together: Option<Hits> = None;
        let wanted = texts.into_iter().flat_map(|(text, beginning, exact)| {
            words(text).map(move |word| (word, beginning, exact))
        });
        for (word, beginning, exact) in wanted.take(QUERY_WORDS_MAX) {
            let mut hits = self.postings.hits(&word, beginning, exact)?;
            if beginning.len() == ANY.len() {
                hits.exact |= self.of_person(&word)?;
                hits.all |= &hits.exact;
            }
            together = Some(match together {
                None => hits,
                Some(before) => {
                    Hits { all: before.all & hits.all, exact: before.exact & hits.exact }
                }
            });
            if together.as_ref().is_some_and(|hits| hits.all.is_empty()) {
                return Ok(together);
            }
        }
        if let (Some(hits), Some(kind)) = (&mut together, query.kind) {
            let mut of_kind = RoaringBitmap::new();
            self.postings.very(&kind.code().to_lowercase(), Field::Kind, &mut of_kind)?;
            hits.all &= &of_kind;
            hits.exact &= of_kind;
        }
        Ok(together)
    }

    /// Rows of a person whose RPPS or national identity the word is.
    fn of_person(&self, word: &str) -> Result<RoaringBitmap, ReplicaError> {
        let identity = match word.len() {
            11 => identity_number(&format!("8{word}")),
            10 | 12 => identity_number(word),
            _ => None,
        };
        identity.map_or_else(|| Ok(RoaringBitmap::new()), |identity| self.numbers_of(identity))
    }

    /// The numbers of the best `wanted` rows, without reading the others.
    fn best(
        &self,
        hits: &Hits,
        ranking: &Ranking<'_>,
        wanted: usize,
    ) -> Result<Vec<u32>, ReplicaError> {
        let mut best = Vec::with_capacity(wanted);
        let mut rest = hits.all.clone();
        let mut known: Vec<_> = ranking.known.iter().collect();
        known.sort_unstable_by_key(|(_, worth)| Reverse(**worth));
        for (address, _) in known.into_iter().take(KNOWN_MAX) {
            if let Some(number) = self.number(address)?
                && best.len() < wanted
                && rest.remove(number)
            {
                best.push(number);
            }
        }
        let mut paper_free = RoaringBitmap::new();
        self.postings.very("o", Field::PaperFree, &mut paper_free)?;
        let mut near = RoaringBitmap::new();
        for department in ranking.departments {
            let word = department.to_lowercase();
            self.postings.very(&word, Field::Department, &mut near)?;
        }
        // From the best to the worst: the very words, paper-free, near.
        for tier in (0..8_u8).rev() {
            let mut rows = rest.clone();
            for (bit, set) in [(4, &hits.exact), (2, &paper_free), (1, &near)] {
                if tier & bit == 0 {
                    rows -= set;
                } else {
                    rows &= set;
                }
            }
            best.extend(rows.iter().take(wanted - best.len()));
            if best.len() >= wanted {
                break;
            }
        }
        Ok(best)
    }
}
