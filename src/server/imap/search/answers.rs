//! The words of SEARCH, SORT and ESEARCH responses, and which results `$` keeps.
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::folder::UidSet;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::PartialRange;
use crate::proto::imap::command::SearchReturns;
use crate::proto::imap::sequence;
use crate::proto::imap::write;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::search;
use crate::server::imap::search::hunt::Found;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view::View;

/// What a search came to.
pub(super) struct Results<'a> {
    /// What the answer counts.
    pub(super) by: Numbering,
    /// UIDs in the order in which they are told.
    pub(super) in_order: &'a [u32],
    /// The same, and their last change.
    pub(super) found: &'a Found,
}

impl Results<'_> {
    /// Writes the response; answers what `$` would keep.
    pub(super) async fn answer<M: Shelf, S: Stream>(
        &self,
        line: &mut Line<S>,
        view: &View<M>,
        name: &str,
        returns: Option<SearchReturns>,
        asks_modseq: bool,
    ) -> Result<Option<UidSet>, Halt> {
        let Some(returns) = returns else {
            write::text(line.out(), format_args!("* {name}"));
            search::write_numbers(line, view, self.by, self.in_order).await?;
            if asks_modseq && !self.in_order.is_empty() {
                // RFC 7162 §3.1.5
                write::text(line.out(), format_args!(" (MODSEQ {})", self.found.highest.0));
            }
            line.out().extend_from_slice(b"\r\n");
            return Ok(None);
        };
        let told = self.told(&returns);
        let modseq = match asks_modseq && !told.is_empty() {
            true => Some(self.highest_of(view, &told).await?),
            false => None,
        };
        if !is_save_only(&returns) {
            self.write(line, view, &returns, modseq);
            line.relieve().await?;
        }
        Ok(Some(told))
    }

    fn write<M: Shelf, S: Stream>(
        &self,
        line: &mut Line<S>,
        view: &View<M>,
        returns: &SearchReturns,
        modseq: Option<ModSeq>,
    ) {
        let SearchReturns { min, max, all, count, partial, .. } = *returns;
        let is_plain = !(min || max || count || partial.is_some());
        let number = |uid: &u32| number(view, self.by, *uid);
        let set = |uids: &[u32]| sequence::compact(uids.iter().map(number));
        // RFC 4466 §2.6.2; a tag needs no escapes.
        let named = format!("* ESEARCH (TAG \"{}\")", line.tag());
        let out = line.out();
        out.extend_from_slice(named.as_bytes());
        if self.by == Numbering::Uid {
            out.extend_from_slice(b" UID");
        }
        // RFC 4731 §3.1: without results, no MIN, MAX and ALL.
        if let (true, Some(first)) = (min, self.in_order.first()) {
            write::text(out, format_args!(" MIN {}", number(first)));
        }
        if let (true, Some(last)) = (max, self.in_order.last()) {
            write::text(out, format_args!(" MAX {}", number(last)));
        }
        if count {
            write::text(out, format_args!(" COUNT {}", self.in_order.len()));
        }
        if (all || is_plain) && !self.in_order.is_empty() {
            write::text(out, format_args!(" ALL {}", set(self.in_order)));
        }
        if let Some(range) = partial {
            let PartialRange { first, last, from_end } = range;
            let minus = if from_end { "-" } else { "" };
            let page = page(self.in_order, range);
            let page = if page.is_empty() { "NIL".to_owned() } else { set(page) };
            write::text(out, format_args!(" PARTIAL ({minus}{first}:{minus}{last} {page})"));
        }
        if let Some(modseq) = modseq {
            write::text(out, format_args!(" MODSEQ {}", modseq.0));
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The messages that SAVE keeps (RFC 5182 §2.4, RFC 9394 §3.2), and whose last change is told
    /// (RFC 4731 §3.2): all, unless only some are asked for.
    fn told(&self, returns: &SearchReturns) -> UidSet {
        let SearchReturns { min, max, all, count, partial, .. } = *returns;
        if all || count || !(min || max || partial.is_some()) {
            return self.found.uids.clone();
        }
        let mut told = UidSet::new();
        told.extend(self.in_order.first().filter(|_| min).copied());
        told.extend(self.in_order.last().filter(|_| max).copied());
        if let Some(range) = partial {
            told.extend(page(self.in_order, range).iter().copied());
        }
        told
    }

    async fn highest_of<M: Shelf>(&self, view: &View<M>, told: &UidSet) -> Result<ModSeq, Halt> {
        if *told == self.found.uids {
            return Ok(self.found.highest);
        }
        let told: Vec<u32> = told.iter().collect();
        let rows = view.rows(&told).await?;
        Ok(rows.iter().map(|row| row.modseq).max().unwrap_or_default())
    }
}

/// RFC 5182 §2.2: then nothing is told but OK.
fn is_save_only(returns: &SearchReturns) -> bool {
    let SearchReturns { min, max, all, count, save, partial } = *returns;
    save && !(min || max || all || count || partial.is_some())
}

/// The results of a range of places (RFC 9394 §3.1), as far as there are so many.
fn page(in_order: &[u32], range: PartialRange) -> &[u32] {
    let count = in_order.len();
    let place = |number: u32| (number as usize).min(count);
    let (before, through) = (place(range.first.saturating_sub(1)), place(range.last));
    match range.from_end {
        false => &in_order[before..through],
        true => &in_order[count - through..count - before],
    }
}

/// What a message is called.
pub(super) fn number<M: Shelf>(view: &View<M>, by: Numbering, uid: u32) -> u32 {
    match by {
        Numbering::Uid => uid,
        // It was found in this very view.
        Numbering::Sequence => view.sequence_of(Uid(uid)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_results_is_cut_where_they_end() {
        let results = [10, 20, 30, 40, 50];
        let check = |first, last, from_end, expected: &[u32]| {
            assert_eq!(page(&results, PartialRange { first, last, from_end }), expected);
        };
        check(1, 2, false, &[10, 20]);
        check(4, 9, false, &[40, 50]);
        check(6, 9, false, &[]);
        check(1, 2, true, &[40, 50]);
        check(5, 9, true, &[10]);
        check(6, 9, true, &[]);
        check(1, u32::MAX, true, &results);
        assert_eq!(page(&[], PartialRange { first: 1, last: 9, from_end: true }), &[] as &[u32]);
    }
}
