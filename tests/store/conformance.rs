//! What every engine promises. One suite, run over each of them.
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;
use vaguemestre::domain::limits;
use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::CommitError;
use vaguemestre::infra::store::Page;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::Version;
use vaguemestre::infra::store::prefix;
use vaguemestre::infra::store::redb::RedbStore;
use vaguemestre::infra::store::simulated::SimulatedStore;

/// An engine under test: a fresh one, and what is left of it after closing or a crash.
trait Engine: Sized {
    type Store: Store + 'static;
    fn fresh() -> Self;
    fn store(&self) -> Arc<Self::Store>;
    fn reopen(self) -> Self;
}

struct Redb(TempDir, Arc<RedbStore>);

impl Engine for Redb {
    type Store = RedbStore;

    fn fresh() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(RedbStore::open(directory.path()).unwrap());
        Self(directory, store)
    }

    fn store(&self) -> Arc<RedbStore> {
        Arc::clone(&self.1)
    }

    fn reopen(self) -> Self {
        let Self(directory, store) = self;
        store.close();
        let store = Arc::new(RedbStore::open(directory.path()).unwrap());
        Self(directory, store)
    }
}

struct Simulated(Arc<SimulatedStore>);

impl Engine for Simulated {
    type Store = SimulatedStore;

    fn fresh() -> Self {
        Self(Arc::new(SimulatedStore::new(42)))
    }

    fn store(&self) -> Arc<SimulatedStore> {
        Arc::clone(&self.0)
    }

    fn reopen(self) -> Self {
        Self(Arc::new(self.0.reopen()))
    }
}

macro_rules! conformance {
    ($($test:ident)*) => {
        mod redb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test::<super::Redb>().await;
            })*

            #[test]
            fn it_does_what_a_sorted_map_does() {
                super::it_does_what_a_sorted_map_does::<super::Redb>(24);
            }
        }

        mod simulated {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test::<super::Simulated>().await;
            })*

            #[test]
            fn it_does_what_a_sorted_map_does() {
                super::it_does_what_a_sorted_map_does::<super::Simulated>(256);
            }
        }
    };
}

conformance! {
    the_first_put_makes_version_one_and_each_further_one_the_next
    deleting_forgets_the_version
    a_batch_may_put_one_key_twice
    a_failed_precondition_leaves_nothing_of_the_batch
    dependent_batches_may_be_submitted_in_a_row
    a_conflict_does_not_stop_those_behind_it
    batches_commit_in_the_order_of_submission
    preconditions_are_judged_before_the_batch_writes
    one_of_many_who_want_the_same_key_wins
    a_scan_goes_through_the_range_in_order_page_by_page
    a_scan_backwards_begins_at_the_end
    an_empty_or_inverted_range_has_no_rows
    a_prefix_finds_its_keys_and_no_others
    a_scan_never_sees_half_a_batch
    a_value_over_the_limit_is_refused_and_its_batch_with_it
    a_big_batch_is_one_commit
    all_octets_are_good_in_keys_and_values
    nobody_needs_to_wait_for_a_commit_to_happen
    what_was_answered_is_there_after_reopening
}

fn put(key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, value.to_vec());
    batch
}

async fn version(store: &impl Store, key: &[u8]) -> Option<u64> {
    store.get(key).await.unwrap().map(|row| row.version.0)
}

fn keys(page: &Page) -> Vec<Vec<u8>> {
    page.rows.iter().map(|(key, _)| key.to_vec()).collect()
}

const ALL: fn() -> Range<Vec<u8>> = || vec![]..vec![0xff; 40];

async fn the_first_put_makes_version_one_and_each_further_one_the_next<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    assert_eq!(store.get(b"k").await.unwrap(), None);
    for expected in 1..=5 {
        store.commit(put(b"k", &[expected])).await.unwrap();
        let row = store.get(b"k").await.unwrap().unwrap();
        assert_eq!((row.version, &row.value[..]), (Version(expected.into()), &[expected][..]));
    }
}

async fn deleting_forgets_the_version<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    store.commit(put(b"k", b"1")).await.unwrap();
    store.commit(put(b"k", b"2")).await.unwrap();
    let mut batch = Batch::new();
    batch.delete(b"k").delete(b"was never there");
    store.commit(batch).await.unwrap();
    assert_eq!(version(&*store, b"k").await, None);
    store.commit(put(b"k", b"3")).await.unwrap();
    assert_eq!(version(&*store, b"k").await, Some(1));
}

async fn a_batch_may_put_one_key_twice<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    let mut batch = put(b"k", b"1");
    batch.put(b"k", &b"2"[..]).put(b"gone", &b"x"[..]).delete(b"gone");
    store.commit(batch).await.unwrap();
    let row = store.get(b"k").await.unwrap().unwrap();
    assert_eq!((row.version, &row.value[..]), (Version(2), &b"2"[..]));
    assert_eq!(version(&*store, b"gone").await, None);
}

async fn a_failed_precondition_leaves_nothing_of_the_batch<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    store.commit(put(b"k", b"1")).await.unwrap();
    for refuse in [
        |batch: &mut Batch| {
            batch.require_absent(b"k");
        },
        |batch: &mut Batch| {
            batch.require_at(b"k", Version(2));
        },
        |batch: &mut Batch| {
            batch.require_at(b"k", Version(0));
        },
        |batch: &mut Batch| {
            batch.require_at(b"nothing", Version(1));
        },
        |batch: &mut Batch| {
            batch.require_at(b"k", Version(1)).require_absent(b"k");
        },
    ] {
        let mut batch = put(b"a", b"x");
        batch.delete(b"k").put(b"z", &b"x"[..]);
        refuse(&mut batch);
        assert!(matches!(store.commit(batch).await, Err(CommitError::Conflict)));
        assert_eq!(keys(&store.scan(ALL(), 10).await.unwrap()), [b"k"]);
    }
    let mut batch = put(b"k", b"2");
    batch.require_at(b"k", Version(1)).require_absent(b"nothing");
    store.commit(batch).await.unwrap();
}

async fn dependent_batches_may_be_submitted_in_a_row<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    for round in 0..20_u8 {
        let key = [round];
        let mut answers = Vec::new();
        for step in 0..5_u64 {
            let mut batch = put(&key, &[0]);
            match step {
                0 => batch.require_absent(key),
                _ => batch.require_at(key, Version(step)),
            };
            answers.push(store.submit(batch));
        }
        for answer in answers {
            answer.await.unwrap();
        }
        assert_eq!(version(&*store, &key).await, Some(5));
    }
}

async fn a_conflict_does_not_stop_those_behind_it<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    let mut refused = put(b"b", b"1");
    refused.require_absent(b"a");
    let mut after_refused = put(b"c", b"1");
    after_refused.require_absent(b"b");
    let answers =
        [store.submit(put(b"a", b"1")), store.submit(refused), store.submit(after_refused)];
    let [first, second, third] = answers;
    first.await.unwrap();
    assert!(matches!(second.await, Err(CommitError::Conflict)));
    third.await.unwrap();
}

async fn batches_commit_in_the_order_of_submission<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    let answers: Vec<_> =
        (0..2_000_u32).map(|number| store.submit(put(b"k", &number.to_be_bytes()))).collect();
    for answer in answers {
        answer.await.unwrap();
    }
    let row = store.get(b"k").await.unwrap().unwrap();
    assert_eq!((row.version, &row.value[..]), (Version(2_000), &1_999_u32.to_be_bytes()[..]));
}

async fn preconditions_are_judged_before_the_batch_writes<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    let mut batch = put(b"k", b"1");
    batch.require_absent(b"k");
    store.commit(batch).await.unwrap();
    let mut only_a_question = Batch::new();
    only_a_question.require_at(b"k", Version(1));
    store.commit(only_a_question.clone()).await.unwrap();
    store.commit(put(b"k", b"2")).await.unwrap();
    assert!(matches!(store.commit(only_a_question).await, Err(CommitError::Conflict)));
    store.commit(Batch::new()).await.unwrap();
}

async fn one_of_many_who_want_the_same_key_wins<E: Engine>() {
    let engine = E::fresh();
    let mut writers = Vec::new();
    for writer in 0..32_u8 {
        let store = engine.store();
        writers.push(tokio::spawn(async move {
            let mut wins = 0;
            for key in 0..40_u8 {
                let mut batch = put(&[key], &[writer]);
                batch.require_absent([key]).put([200, writer, key], vec![0; 700]);
                match store.commit(batch).await {
                    Ok(()) => wins += 1,
                    Err(CommitError::Conflict) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            wins
        }));
    }
    let mut wins = 0;
    for writer in writers {
        wins += writer.await.unwrap();
    }
    assert_eq!(wins, 40);
    let page = engine.store().scan(prefix(&[200]), 10_000).await.unwrap();
    assert_eq!(page.rows.len(), 40, "a loser left something behind");
}

async fn ten_rows(store: &impl Store) {
    let mut batch = Batch::new();
    for number in 0..10 {
        batch.put([b'r', number], vec![number]);
    }
    batch.put(b"q", &b""[..]).put(b"s", &b""[..]);
    store.commit(batch).await.unwrap();
}

async fn a_scan_goes_through_the_range_in_order_page_by_page<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    ten_rows(&*store).await;
    let range = || b"r".to_vec()..b"s".to_vec();
    for (limit, rows, more) in
        [(0, 0, true), (3, 3, true), (9, 9, true), (10, 10, false), (99, 10, false)]
    {
        let page = store.scan(range(), limit).await.unwrap();
        let expected: Vec<_> = (0..rows).map(|number| vec![b'r', number]).collect();
        assert_eq!((keys(&page), page.more), (expected, more), "limit {limit}");
    }
    // From the middle, the end is not part of the range.
    let page = store.scan(vec![b'r', 3]..vec![b'r', 6], 10).await.unwrap();
    assert_eq!(keys(&page), [[b'r', 3], [b'r', 4], [b'r', 5]]);
    assert_eq!(&page.rows[1].1.value[..], [4]);
}

async fn a_scan_backwards_begins_at_the_end<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    ten_rows(&*store).await;
    let page = store.scan_back(prefix(b"r"), 3).await.unwrap();
    assert_eq!((keys(&page), page.more), (vec![vec![b'r', 9], vec![b'r', 8], vec![b'r', 7]], true));
    let page = store.scan_back(vec![b'r', 0]..vec![b'r', 2], 10).await.unwrap();
    assert_eq!((keys(&page), page.more), (vec![vec![b'r', 1], vec![b'r', 0]], false));
}

#[allow(clippy::reversed_empty_ranges, reason = "that is the question")]
async fn an_empty_or_inverted_range_has_no_rows<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    ten_rows(&*store).await;
    for range in [b"r".to_vec()..b"r".to_vec(), b"s".to_vec()..b"q".to_vec(), vec![]..vec![]] {
        for page in [
            store.scan(range.clone(), 10).await.unwrap(),
            store.scan_back(range.clone(), 10).await.unwrap(),
        ] {
            assert!(page.rows.is_empty() && !page.more);
        }
    }
}

async fn a_prefix_finds_its_keys_and_no_others<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    let mut batch = Batch::new();
    for key in [&b"ab"[..], b"abc", b"ab\xff", b"ab\xff\xff\xff", b"ac", b"a", b"\xff", b"b"] {
        batch.put(key, &b""[..]);
    }
    store.commit(batch).await.unwrap();
    let page = store.scan(prefix(b"ab"), 10).await.unwrap();
    assert_eq!(keys(&page), [&b"ab"[..], b"abc", b"ab\xff", b"ab\xff\xff\xff"]);
    let page = store.scan(prefix(b"ab\xff"), 10).await.unwrap();
    assert_eq!(keys(&page), [&b"ab\xff"[..], b"ab\xff\xff\xff"]);
    assert_eq!(store.scan(prefix(b"abd"), 10).await.unwrap().rows.len(), 0);
}

async fn a_scan_never_sees_half_a_batch<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    let writer = tokio::spawn(async move {
        for round in 0..100_u8 {
            let mut batch = Batch::new();
            for key in 0..20_u8 {
                batch.put([key], vec![round]);
            }
            store.commit(batch).await.unwrap();
        }
    });
    let store = engine.store();
    while !writer.is_finished() {
        let page = store.scan(ALL(), 100).await.unwrap();
        let rounds: Vec<_> = page.rows.iter().map(|(_, row)| row.value[0]).collect();
        assert!(rounds.is_empty() || rounds.len() == 20);
        assert!(rounds.iter().all(|round| *round == rounds[0]), "{rounds:?}");
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

async fn a_value_over_the_limit_is_refused_and_its_batch_with_it<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    let mut batch = put(b"small", b"x");
    batch.put(b"large", vec![0; limits::VALUE_OCTETS_MAX + 1]);
    let refused = store.commit(batch).await;
    assert!(matches!(refused, Err(CommitError::ValueTooLarge(octets)) if octets == 65_537));
    assert_eq!(version(&*store, b"small").await, None);
    store.commit(put(b"large", &vec![9; limits::VALUE_OCTETS_MAX])).await.unwrap();
    let row = store.get(b"large").await.unwrap().unwrap();
    assert_eq!(row.value, vec![9; limits::VALUE_OCTETS_MAX]);
    let mut batch = Batch::new();
    for number in 0..=limits::BATCH_OCTETS_MAX / limits::VALUE_OCTETS_MAX {
        batch.put(number.to_be_bytes(), vec![0; limits::VALUE_OCTETS_MAX]);
    }
    assert!(matches!(store.commit(batch).await, Err(CommitError::ValueTooLarge(_))));
    assert_eq!(keys(&store.scan(ALL(), 10).await.unwrap()), [b"large"]);
}

async fn a_big_batch_is_one_commit<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    let mut batch = Batch::new();
    for number in 0..200_u32 {
        batch.put(number.to_be_bytes(), vec![number as u8; 60_000]);
    }
    let committing = store.submit(batch);
    let beside = store.submit(put(b"zzzz", b"1"));
    committing.await.unwrap();
    beside.await.unwrap();
    let engine = engine.reopen();
    let page = engine.store().scan(ALL(), 1_000).await.unwrap();
    assert_eq!(page.rows.len(), 201);
    assert!(page.rows[..200].iter().all(|(key, row)| row.value == vec![key[3]; 60_000]));
}

async fn all_octets_are_good_in_keys_and_values<E: Engine>() {
    let engine = E::fresh();
    let store = engine.store();
    let every: Vec<u8> = (0..=255).collect();
    store.commit(put(&every, &every)).await.unwrap();
    store.commit(put(&[0], &[])).await.unwrap();
    store.commit(put(&[0, 0], &[0; 3])).await.unwrap();
    assert_eq!(store.get(&every).await.unwrap().unwrap().value, every);
    assert_eq!(store.get(&[0]).await.unwrap().unwrap().value, Bytes::new());
    assert_eq!(keys(&store.scan(ALL(), 9).await.unwrap()), [&[0][..], &[0, 0], &every]);
}

async fn nobody_needs_to_wait_for_a_commit_to_happen<E: Engine>() {
    let engine = E::fresh();
    drop(engine.store().submit(put(b"k", b"1")));
    let store = engine.store();
    let mut batch = put(b"l", b"1");
    batch.require_at(b"k", Version(1));
    store.commit(batch).await.unwrap();
}

async fn what_was_answered_is_there_after_reopening<E: Engine>() {
    let mut engine = E::fresh();
    for round in 0..5_u8 {
        let store = engine.store();
        let answers: Vec<_> = (0..50_u8)
            .map(|number| {
                let mut batch = put(&[round, number], &[number; 3_000]);
                batch.put(b"last", vec![round]);
                store.submit(batch)
            })
            .collect();
        for answer in answers {
            answer.await.unwrap();
        }
        drop(store);
        engine = engine.reopen();
        let store = engine.store();
        let rows = store.scan(ALL(), 1_000).await.unwrap().rows.len();
        assert_eq!(rows, 50 * (usize::from(round) + 1) + 1);
        assert_eq!(version(&*store, b"last").await, Some(50 * (u64::from(round) + 1)));
    }
}

/// One step of the model test. Keys and versions are few, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Commit(Batch),
    Scan(Range<Vec<u8>>, usize, bool),
    Reopen,
}

fn some_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xff)], 0..3)
}

fn some_step() -> impl Strategy<Value = Step> {
    let precondition = (some_key(), 0..4_u64);
    let write = (some_key(), prop::option::of(prop::collection::vec(any::<u8>(), 0..20)));
    let batch = (prop::collection::vec(precondition, 0..2), prop::collection::vec(write, 0..5));
    let batch = batch.prop_map(|(preconditions, writes)| {
        let mut batch = Batch::new();
        for (key, version) in preconditions {
            match version {
                0 => batch.require_absent(key),
                _ => batch.require_at(key, Version(version)),
            };
        }
        for (key, value) in writes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        Step::Commit(batch)
    });
    prop_oneof![
        8 => batch,
        3 => (some_key(), some_key(), 0..6_usize, any::<bool>())
            .prop_map(|(start, end, limit, back)| Step::Scan(start..end, limit, back)),
        1 => Just(Step::Reopen),
    ]
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

fn apply_to_model(model: &mut Model, batch: &Batch) -> bool {
    use vaguemestre::infra::store::Precondition;
    use vaguemestre::infra::store::Write;
    let holds = batch.preconditions.iter().all(|precondition| match precondition {
        Precondition::Absent(key) => !model.contains_key(key),
        Precondition::At(key, version) => {
            model.get(key).is_some_and(|(_, current)| *current == version.0)
        }
    });
    for write in batch.writes.iter().filter(|_| holds) {
        match write {
            Write::Delete(key) => drop(model.remove(key)),
            Write::Put(key, value) => {
                let version = model.get(key).map_or(1, |(_, version)| version + 1);
                model.insert(key.clone(), (value.to_vec(), version));
            }
        }
    }
    holds
}

fn it_does_what_a_sorted_map_does<E: Engine>(cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let steps = prop::collection::vec(some_step(), 1..40);
    let configuration = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
    // A failing case prints its smallest form, which needs no seed.
    TestRunner::new(configuration)
        .run(&steps, |steps| {
            runtime.block_on(compare_with_model::<E>(steps));
            Ok(())
        })
        .unwrap();
}

async fn compare_with_model<E: Engine>(steps: Vec<Step>) {
    let mut engine = E::fresh();
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Commit(batch) => {
                let held = apply_to_model(&mut model, &batch);
                let outcome = engine.store().commit(batch).await;
                assert!(matches!(
                    (held, outcome),
                    (true, Ok(())) | (false, Err(CommitError::Conflict))
                ));
            }
            Step::Scan(range, limit, back) => {
                let inside: Vec<_> = model.iter().filter(|(key, _)| range.contains(*key)).collect();
                let page = match back {
                    true => engine.store().scan_back(range, limit).await.unwrap(),
                    false => engine.store().scan(range, limit).await.unwrap(),
                };
                let ordered: Vec<_> = match back {
                    true => inside.iter().rev().take(limit).collect(),
                    false => inside.iter().take(limit).collect(),
                };
                assert_eq!(page.more, inside.len() > limit);
                assert_eq!(page.rows.len(), ordered.len());
                for ((key, row), (model_key, (value, version))) in page.rows.iter().zip(ordered) {
                    assert_eq!((key, row.version.0), (&Bytes::from(model_key.to_vec()), *version));
                    assert_eq!(row.value, value);
                }
            }
            Step::Reopen => engine = engine.reopen(),
        }
    }
    let rows = engine.store().scan(ALL(), 1_000).await.unwrap().rows;
    assert_eq!(rows.len(), model.len());
}
