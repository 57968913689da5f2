//! Timelines end when the configuration says so, and not before.
use vaguemestre::flow::timeline;
use vaguemestre::infra::config::Config;
use vaguemestre::infra::store;
use vaguemestre::relay;

use super::*;
use crate::support::letters;

#[tokio::test(flavor = "multi_thread")]
async fn timelines_are_swept_with_their_index_when_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Running::start(folder.path(), running::free_port_base(), &[]);
    let id = letters::message_id();
    let content = letters::letter(HUGO, CLAIRE, &id, 1_000);
    Sending { from: HUGO, mail: "", to: &[(CLAIRE, "")], content: &content }.submit(&demo, 0);
    assert!(demo.terminate().success());
    let config = Config::load(&config_of(&demo, 0)).unwrap();
    let mut office = relay::offline(&config).await.unwrap();
    // A stopped relay's letters can be traced as well.
    assert_eq!(timeline::trace(&office, &id).await.unwrap().len(), 1);
    assert_eq!(timeline::sweep(&office).await.unwrap(), 0, "nothing is old yet");
    assert_eq!(timeline::trace(&office, &id).await.unwrap().len(), 1);
    let rows = |prefix: &'static [u8]| {
        let store = std::sync::Arc::clone(&office.store);
        async move { store.scan(store::prefix(prefix), 1_000).await.unwrap().rows.len() }
    };
    let (timelines, indexed) = (rows(b"Y/").await, rows(b"y/").await);
    assert!(timelines >= indexed && indexed > 0, "{timelines} {indexed}");
    let shared = std::sync::Arc::get_mut(&mut office).expect("nobody else has it");
    shared.config.trace.keep = Duration::ZERO;
    assert_eq!(timeline::sweep(&office).await.unwrap(), timelines);
    for prefix in [b"Y/", b"y/"] {
        let left = office.store.scan(store::prefix(prefix), 10).await.unwrap();
        assert!(left.rows.is_empty(), "{left:?}");
    }
    assert!(timeline::trace(&office, &id).await.unwrap().is_empty());
}
