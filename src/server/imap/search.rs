//! SEARCH, SORT and THREAD: what is asked, what is answered, what is saved for `$`.
mod answers;
mod hunt;
mod order;

use std::sync::Arc;

use crate::domain::folder::UidSet;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::Search;
use crate::proto::imap::command::SearchReturns;
use crate::proto::imap::command::Sort;
use crate::proto::imap::command::Thread;
use crate::proto::imap::matching;
use crate::proto::imap::matching::Query;
use crate::proto::imap::matching::Scope;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::search::answers::Results;
use crate::server::imap::search::hunt::Found;
use crate::server::imap::search::hunt::Hunt;
use crate::server::imap::search::hunt::Wanted;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view::View;

/// SEARCH and UID SEARCH.
pub(super) async fn search<D: Desk, S: Stream>(
    desk: &D,
    line: &mut Line<S>,
    view: &mut View<D::Shelf>,
    search: &Search,
) -> Done {
    let returns = match search.returns {
        // RFC 9051 §7.3.4: no SEARCH responses any more.
        None if line.dialect.rev2 => Some(SearchReturns { all: true, ..SearchReturns::default() }),
        returns => returns,
    };
    let done = searched(desk, line, view, search, returns).await;
    finish(view, returns, done)
}

async fn searched<D: Desk, S: Stream>(
    desk: &D,
    line: &mut Line<S>,
    view: &View<D::Shelf>,
    search: &Search,
    returns: Option<SearchReturns>,
) -> Result<Option<UidSet>, Halt> {
    // RFC 6855 §3 says so of SEARCH; SORT and THREAD cannot do without one (RFC 5256 §5).
    if line.dialect.utf8 && search.charset.is_some() {
        return Err(Answer::bad("With UTF8=ACCEPT no charset may be named").into());
    }
    let query = prepared(view, search)?;
    let mut hunt = Hunt::new(desk, line, view);
    let found = match ends_only(returns) {
        None => hunt.run(&query, Wanted::All).await?,
        Some(Ends { first, last }) => {
            let mut found = Found::default();
            for (is_wanted, wanted) in [(first, Wanted::First), (last, Wanted::Last)] {
                if is_wanted {
                    let one = hunt.run(&query, wanted).await?;
                    found.uids = found.uids.union(&one.uids);
                    found.highest = found.highest.max(one.highest);
                }
            }
            found
        }
    };
    let in_order: Vec<u32> = found.uids.iter().collect();
    let results = Results { by: search.by, in_order: &in_order, found: &found };
    let asks_modseq = matching::asks_modseq(&search.key);
    results.answer(line, view, "SEARCH", returns, asks_modseq).await
}

/// SORT and UID SORT.
pub(super) async fn sort<D: Desk, S: Stream>(
    desk: &D,
    line: &mut Line<S>,
    view: &mut View<D::Shelf>,
    sort: &Sort,
) -> Done {
    let done = sorted(desk, line, view, sort).await;
    finish(view, sort.search.returns, done)
}

async fn sorted<D: Desk, S: Stream>(
    desk: &D,
    line: &mut Line<S>,
    view: &View<D::Shelf>,
    sort: &Sort,
) -> Result<Option<UidSet>, Halt> {
    let search = &sort.search;
    let query = prepared(view, search)?;
    let mut hunt = Hunt::new(desk, line, view);
    let found = hunt.run(&query, Wanted::All).await?;
    let in_order = order::sorted(&mut hunt, &found, &sort.criteria).await?;
    let results = Results { by: search.by, in_order: &in_order, found: &found };
    let asks_modseq = matching::asks_modseq(&search.key);
    results.answer(line, view, "SORT", search.returns, asks_modseq).await
}

/// THREAD and UID THREAD.
pub(super) async fn thread<D: Desk, S: Stream>(
    desk: &D,
    line: &mut Line<S>,
    view: &View<D::Shelf>,
    thread: &Thread,
) -> Done {
    let query = prepared(view, &thread.search)?;
    let mut hunt = Hunt::new(desk, line, view);
    let found = hunt.run(&query, Wanted::All).await?;
    let threads = order::threads(&mut hunt, &found, thread.algorithm).await?;
    let out = line.out();
    out.extend_from_slice(b"* THREAD");
    if !threads.is_empty() {
        out.push(b' ');
    }
    let by = thread.search.by;
    threads.print(out, |uid| answers::number(view, by, uid));
    out.extend_from_slice(b"\r\n");
    line.relieve().await?;
    Ok(Answer::ok("Done"))
}

/// The query, or why it cannot be asked.
fn prepared<M: Shelf>(view: &View<M>, search: &Search) -> Result<Arc<Query>, Halt> {
    let is_both = search.returns.is_some_and(|returns| returns.all && returns.partial.is_some());
    if is_both {
        // RFC 9394 §3.1
        return Err(Answer::bad("PARTIAL and ALL exclude each other").into());
    }
    let scope = Scope {
        exists: view.exists(),
        last_uid: view.last_uid(),
        saved: &view.saved(),
        now: view.shelf.now(),
        charset: search.charset.as_deref(),
    };
    Query::new(&search.key, &scope)
        .map(Arc::new)
        .map_err(|_| Answer::no("BADCHARSET (UTF-8 US-ASCII)", "Unknown charset").into())
}

/// When only the first, or the last, is asked for.
struct Ends {
    first: bool,
    last: bool,
}

fn ends_only(returns: Option<SearchReturns>) -> Option<Ends> {
    let returns = returns?;
    let SearchReturns { min, max, all, count, partial, .. } = returns;
    let others = all || count || partial.is_some();
    ((min || max) && !others).then_some(Ends { first: min, last: max })
}

/// RFC 5182 §2.1: a SAVE that comes to NO leaves nothing saved, one that comes to BAD what was
/// saved before.
fn finish<M: Shelf>(
    view: &mut View<M>,
    returns: Option<SearchReturns>,
    done: Result<Option<UidSet>, Halt>,
) -> Done {
    let saves = returns.is_some_and(|returns| returns.save);
    match done {
        Ok(saved) => {
            if let Some(saved) = saved.filter(|_| saves) {
                view.save(saved);
            }
            Ok(Answer::ok("Done"))
        }
        Err(halt) => {
            let is_no = matches!(&halt, Halt::Refused(answer) if !answer.is_bad());
            if saves && is_no {
                view.save(UidSet::new());
            }
            Err(halt)
        }
    }
}

/// Numbers behind each other, relieved now and then.
async fn write_numbers<M: Shelf, S: Stream>(
    line: &mut Line<S>,
    view: &View<M>,
    by: Numbering,
    uids: &[u32],
) -> Result<(), Halt> {
    for uid in uids {
        let number = answers::number(view, by, *uid);
        write::text(line.out(), format_args!(" {number}"));
        line.relieve().await?;
    }
    Ok(())
}
