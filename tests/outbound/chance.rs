//! Servers that say anything: a letter is taken only when it was.
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use vaguemestre::flow::deliver::operator::HandoverResult;
use vaguemestre::flow::deliver::operator::Pool;

use super::Letter;
use super::Space;
use super::put_off;
use super::server::Act;
use super::server::Script;

/// Replies of all kinds, good and bad, for any place.
const REPLIES: [&str; 12] = [
    "250 ok\r\n",
    "250-a\r\n250 b\r\n",
    "354 go\r\n",
    "450 4.2.1 later\r\n",
    "550 5.1.1 no\r\n",
    "250 ok\r\n250 ok\r\n",
    "250 ok\r\n354 go\r\n",
    "354 go\r\n250 ok\r\n",
    "550 no\r\n250 ok\r\n",
    "421 bye\r\n",
    "what?\r\n",
    "250 ok\r\n354",
];

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(None),
        4 => (0..REPLIES.len()).prop_map(Some),
        1 => Just(Some(usize::MAX)),
    ]
    .prop_map(|choice| match choice {
        None => Act::Usual,
        Some(usize::MAX) => Act::Close,
        Some(reply) => Act::Say(REPLIES[reply]),
    })
}

/// A failing case is printed by the runner, smallest first; the printed script is its seed.
#[test]
fn a_letter_is_taken_only_if_the_server_has_it_and_said_so() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let space = Space::new();
    let tls = space.client();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let acts = proptest::collection::vec(act(), 6);
    let letters_taken = std::cell::Cell::new(0);
    runner
        .run(&(any::<bool>(), acts), |(pipelining, acts)| {
            let places = ["EHLO", "MAIL", "RCPT TO:<b@", "RCPT TO:<c@", "DATA", "."];
            let mut script = if pipelining { Script::good() } else { Script::plain() };
            for (place, act) in places.into_iter().zip(&acts) {
                script = script.at(place, act.clone());
            }
            let last = acts[5].clone();
            let (outcomes, contents) = runtime.block_on(async {
                let server = space.server(script).await;
                let mut letter = Letter::to(&["b@c.test", "c@c.test"]);
                // A script may leave us waiting for a reply; nothing is slow on loopback.
                letter.timeout = std::time::Duration::from_millis(400);
                let hosts = server.hosts();
                let handover = space.handover(&hosts, &letter, tls.clone(), &|_| true);
                let outcomes = Pool::new().hand_over(handover).await.outcomes;
                let contents = server.seen().contents.clone();
                (outcomes, contents)
            });
            prop_assert_eq!(outcomes.len(), 2);
            let taken = outcomes.iter().any(|o| o.result == HandoverResult::Taken);
            let said_250 = match last {
                Act::Usual => true,
                Act::Say(text) => text.starts_with("250"),
                _ => false,
            };
            letters_taken.set(letters_taken.get() + usize::from(taken));
            prop_assert!(!taken || (contents.len() == 1 && said_250), "{outcomes:?}");
            prop_assert!(!taken || contents[0] == super::LETTER.as_bytes());
            let in_doubt = outcomes.iter().any(|o| o.result == put_off(5, 0));
            let certain = |o: &vaguemestre::flow::deliver::operator::Outcome| {
                o.result == HandoverResult::Taken
            };
            prop_assert!(!(in_doubt && outcomes.iter().any(certain)), "{outcomes:?}");
            Ok(())
        })
        .unwrap();
    assert!(letters_taken.get() > 0, "every script went wrong: nothing was tested");
}

/// Two hosts that do anything: whatever was said, the letter is not at both, unless the first
/// one itself said that it does not have it.
#[test]
fn a_letter_goes_to_a_second_host_only_when_the_first_does_not_have_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let space = Space::new();
    let tls = space.client();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let acts = || proptest::collection::vec(act(), 6);
    let second_hosts = std::cell::Cell::new(0);
    runner
        .run(&(any::<bool>(), acts(), acts()), |(chunking, first, second)| {
            let script = |acts: &[Act]| {
                let places = ["EHLO", "MAIL", "RCPT TO:<b@", "RCPT TO:<c@", "DATA", "."];
                let good = if chunking { Script::chunking() } else { Script::good() };
                places
                    .into_iter()
                    .zip(acts)
                    .fold(good, |script, (place, act)| script.at(place, act.clone()))
            };
            let (outcomes, at_first, at_second) = runtime.block_on(async {
                let servers =
                    [space.server(script(&first)).await, space.server(script(&second)).await];
                let mut letter = Letter::to(&["b@c.test", "c@c.test"]);
                letter.timeout = std::time::Duration::from_millis(800);
                let hosts: Vec<_> = servers.iter().flat_map(|server| server.hosts()).collect();
                let handover = space.handover(&hosts, &letter, tls.clone(), &|_| true);
                let outcomes = Pool::new().hand_over(handover).await.outcomes;
                let count = |place: usize| servers[place].seen().contents.len();
                (outcomes, count(0), count(1))
            });
            second_hosts.set(second_hosts.get() + at_second);
            let first_said_no = matches!(first[5], Act::Say(text) if text.starts_with("421"));
            prop_assert!(at_first <= 1 && at_second <= 1);
            prop_assert!(at_first == 0 || at_second == 0 || first_said_no, "{outcomes:?}");
            let taken = outcomes.iter().any(|o| o.result == HandoverResult::Taken);
            prop_assert!(!taken || at_first + at_second > 0);
            Ok(())
        })
        .unwrap();
    assert!(second_hosts.get() > 0, "no second host was ever asked: nothing was tested");
}

#[test]
fn handing_over_may_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Pool>();
    let space = Space::new();
    let letter = Letter::to(&["b@c.test"]);
    is_send(super::hand_over(space.handover(&[], &letter, space.client(), &|_| true)));
}
