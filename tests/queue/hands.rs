//! Operators' hands: what they do, what they leave alone, what is written down.
use std::sync::Arc;
use std::time::Duration;

use vaguemestre::domain::address::Address;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::delivery::NextHop;
use vaguemestre::domain::delivery::Route;
use vaguemestre::domain::envelope::QueueId;
use vaguemestre::flow;
use vaguemestre::flow::hands;
use vaguemestre::flow::hands::Job;
use vaguemestre::flow::office::Office;
use vaguemestre::flow::queue;
use vaguemestre::flow::queue::Change;
use vaguemestre::flow::queue::Target;
use vaguemestre::flow::route;
use vaguemestre::infra::net::Stop;
use vaguemestre::infra::store;
use vaguemestre::server::control;
use vaguemestre::server::control::Caller;
use vaguemestre::server::control::Request;
use vaguemestre::server::control::queue::Action;
use vaguemestre::server::control::queue::Answer;
use vaguemestre::server::control::queue::TargetForm;
use vaguemestre::server::control::wire::Response;

use super::finish;
use super::is_held;
use super::lab::Lab;
use super::next;
use super::schedule;
use super::waiting;

const A: &str = "a.mssante.test";
const B: &str = "b.mssante.test";

fn job(change: Change, target: Target) -> Job {
    let (author, reason) = ("root".to_owned(), "a test".to_owned());
    Job { change, target, author, reason, is_dry: false }
}

fn domain(name: &str) -> Target {
    Target::Domain(Domain::parse(name).unwrap())
}

async fn act(office: &Office, change: Change, target: Target) -> Result<hands::Done, String> {
    hands::act(office, &job(change, target)).await
}

/// Everything that the queue and the journal wrote.
async fn rows(office: &Office) -> Vec<(bytes::Bytes, u64)> {
    let mut all = Vec::new();
    for prefix in [&b"Q/"[..], b"J/"] {
        let page = office.store.scan(store::prefix(prefix), 10_000).await.unwrap();
        all.extend(page.rows.into_iter().map(|(key, row)| (key, row.version.0)));
    }
    all
}

async fn journal(office: &Office) -> Vec<(String, String, String)> {
    let entries = office.journal.last(100).await.unwrap();
    entries.into_iter().map(|e| (e.action, e.target, e.reason)).collect()
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_touched_and_touches_nothing() {
    let lab = Lab::new(&[A, B], &[], "").await;
    let office = lab.office();
    let id = lab.letter(&["x@a.mssante.test", "y@b.mssante.test"]).await;
    let before = rows(office).await;
    let changes = [
        Change::Retry,
        Change::Hold,
        Change::Bounce(None),
        Change::Drop,
        Change::Reroute(Some("127.0.0.1:25".to_owned())),
    ];
    for change in changes {
        for target in [Target::Letter(id), domain(A)] {
            let job = Job { is_dry: true, ..job(change.clone(), target.clone()) };
            let done = hands::act(office, &job).await.unwrap();
            let one_row = matches!(change, Change::Hold | Change::Reroute(_));
            match target {
                Target::Letter(_) => assert_eq!(done.rows.len(), 2, "{change:?}"),
                _ if one_row => assert!(done.sentence.contains(A), "{}", done.sentence),
                _ => assert_eq!(done.rows.len(), 1, "{change:?}"),
            }
        }
    }
    assert_eq!(rows(office).await, before);
    let nothing_to_release = Job { is_dry: true, ..job(Change::Release, domain(A)) };
    assert!(hands::act(office, &nothing_to_release).await.is_err());
}

#[tokio::test]
async fn a_held_letter_waits_until_it_is_released_and_the_journal_says_who_and_why() {
    let lab = Lab::new(&[A], &[], "").await;
    let office = lab.office();
    let held = lab.letter(&["x@a.mssante.test"]).await;
    let other = lab.letter(&["y@a.mssante.test"]).await;
    act(office, Change::Hold, Target::Letter(held)).await.unwrap();
    assert!(act(office, Change::Hold, Target::Letter(held)).await.is_err(), "held already");
    assert!(act(office, Change::Retry, Target::Letter(held)).await.is_err(), "held");
    let mut schedule = schedule(office).await;
    let work = next(&mut schedule, office).await.unwrap();
    assert_eq!(work.claimed.queue_id(), other);
    assert!(next(&mut schedule, office).await.is_none());
    let rows = waiting(office).await;
    assert_eq!(rows.iter().filter(|row| is_held(row)).count(), 1);
    act(office, Change::Release, Target::Letter(held)).await.unwrap();
    assert_eq!(next(&mut schedule, office).await.unwrap().claimed.queue_id(), held);
    let journal = journal(office).await;
    let id = held.to_string();
    assert_eq!(
        journal,
        [
            ("queue release".to_owned(), id.clone(), "a test".to_owned()),
            ("queue hold".to_owned(), id, "a test".to_owned()),
        ]
    );
}

#[tokio::test]
async fn a_held_domain_is_one_row_and_holds_what_comes_too_across_restarts() {
    let mut lab = Lab::new(&[A, B], &[], "").await;
    lab.letter(&["x@a.mssante.test"]).await;
    act(lab.office(), Change::Hold, domain(A)).await.unwrap();
    lab.letter(&["y@a.mssante.test"]).await;
    for _ in 0..2 {
        let office = lab.office();
        let mut schedule = schedule(office).await;
        assert!(next(&mut schedule, office).await.is_none());
        let lanes = queue::by_domain(office).await.unwrap();
        assert_eq!(lanes[0].held, Some(("root".to_owned(), "a test".to_owned())));
        assert_eq!(lanes[0].rows, 2);
        lab.restart().await;
    }
    let office = lab.office();
    let mut schedule = schedule(office).await;
    lab.letter(&["z@b.mssante.test"]).await;
    assert!(next(&mut schedule, office).await.is_some(), "another domain is held, too");
    act(office, Change::Release, domain(A)).await.unwrap();
    assert!(next(&mut schedule, office).await.is_some());
    assert!(next(&mut schedule, office).await.is_some());
    assert!(act(office, Change::Release, domain(A)).await.is_err(), "not held any more");
}

#[tokio::test]
async fn a_letter_that_is_being_attempted_is_left_alone_and_the_answer_says_so() {
    let lab = Lab::new(&[A, B], &[], "").await;
    let office = lab.office();
    let id = lab.letter(&["x@a.mssante.test", "y@b.mssante.test"]).await;
    let mut schedule = schedule(office).await;
    let work = next(&mut schedule, office).await.unwrap();
    let done = act(office, Change::Drop, Target::Letter(id)).await.unwrap();
    assert_eq!((done.rows.len(), done.busy.len()), (1, 1), "{}", done.sentence);
    let refused = act(office, Change::Drop, Target::Letter(id)).await.unwrap_err();
    assert!(refused.contains("right now"), "{refused}");
    finish(office, &work.claimed).await.unwrap();
    assert!(waiting(office).await.is_empty());
    let left = office.store.scan(store::prefix(b"Q/"), 10).await.unwrap();
    assert!(left.rows.is_empty(), "{:?}", left.rows);
    let blobs = office.store.scan(store::prefix(b"blob/"), 10).await.unwrap();
    assert!(blobs.rows.is_empty(), "the content of a dropped letter stays: {:?}", blobs.rows);
}

#[tokio::test]
async fn a_recipient_is_found_in_its_lane_and_never_named() {
    let lab = Lab::new(&[A], &[], "").await;
    let office = lab.office();
    lab.letter(&["279035121518989@a.mssante.test", "y@a.mssante.test"]).await;
    lab.letter(&["279035121518989@a.mssante.test"]).await;
    let patient = Target::Recipient(Address::parse("279035121518989@a.mssante.test").unwrap());
    let done = act(office, Change::Drop, patient).await.unwrap();
    assert_eq!(done.rows.len(), 2);
    assert_eq!(waiting(office).await.len(), 1);
    let journal = format!("{:?} {}", journal(office).await, done.sentence);
    assert!(!journal.contains("279035121518989"), "{journal}");
}

#[tokio::test]
async fn a_reroute_decides_where_a_domain_or_a_letter_goes() {
    let lab = Lab::new(&[A, B], &[], "").await;
    let office = lab.office();
    let name = Domain::parse(A).unwrap();
    let fixed = |host: &str| NextHop::Operator {
        domain: name.clone(),
        route: Route::Fixed(host.to_owned()),
    };
    let before = route::next_hop(office, &name);
    let id = lab.letter(&["x@a.mssante.test"]).await;
    act(office, Change::Reroute(Some("mx2.test:25".to_owned())), domain(A)).await.unwrap();
    assert_eq!(route::next_hop(office, &name), fixed("mx2.test:25"));
    act(office, Change::Reroute(Some("mx3.test:25".to_owned())), Target::Letter(id)).await.unwrap();
    let mut schedule = schedule(office).await;
    let work = next(&mut schedule, office).await.unwrap();
    let plan = route::plan(office, &work.claimed, &[]);
    assert_eq!(*plan[0].next(), fixed("mx3.test:25"), "the letter's own route counts first");
    act(office, Change::Reroute(None), domain(A)).await.unwrap();
    assert_eq!(route::next_hop(office, &name), before);
    let ours = act(office, Change::Reroute(None), domain("hopital.mssante.test")).await;
    assert!(ours.is_err());
}

#[tokio::test]
async fn a_rerouted_letter_does_not_wait_behind_the_host_that_does_not_answer() {
    let lab = Lab::new(&[A], &[(A, "127.0.0.1:1")], "").await;
    let office = lab.office();
    let id = lab.letter(&["x@a.mssante.test"]).await;
    lab.letter(&["y@a.mssante.test"]).await;
    (0..3).for_each(|_| office.lanes.heard(office, A, "", false));
    let mut schedule = schedule(office).await;
    assert!(next(&mut schedule, office).await.is_none());
    let elsewhere = Change::Reroute(Some("mx2.test:25".to_owned()));
    act(office, elsewhere, Target::Letter(id)).await.unwrap();
    let work = next(&mut schedule, office).await.expect("another host takes it");
    assert_eq!(work.claimed.queue_id(), id);
    assert!(next(&mut schedule, office).await.is_none(), "the other one waits");
    let later = super::again(lab.now().after(Duration::from_secs(60)));
    super::end(office, &work.claimed, later).await.unwrap();
    schedule.ended(office, &work.ticket);
    assert_eq!(act(office, Change::Retry, domain(A)).await.unwrap().rows.len(), 2);
    act(office, Change::Hold, domain(A)).await.unwrap();
    assert!(next(&mut schedule, office).await.is_none(), "held with its domain");
    act(office, Change::Release, domain(A)).await.unwrap();
    assert!(next(&mut schedule, office).await.is_some());
}

#[tokio::test]
async fn a_bounced_letter_gives_its_sender_one_report_without_an_attempt() {
    for tell in [false, true] {
        let lab = Lab::new(&[A], &[(A, "127.0.0.1:1")], "").await;
        let office = lab.office();
        let id = lab.letter_of_sender(&["x@a.mssante.test"]).await;
        // Held, and in a held domain: the end must come all the same.
        act(office, Change::Hold, domain(A)).await.unwrap();
        let told = tell.then(|| "wrong patient".to_owned());
        act(office, Change::Bounce(told), Target::Letter(id)).await.unwrap();
        run_until(&lab, || async { waiting(office).await.is_empty() }).await;
        let reports = lab.inbox().await;
        assert_eq!(reports.len(), 1);
        assert!(reports[0].contains("Action: failed"), "{}", reports[0]);
        assert!(reports[0].contains("Status: 5.3.0"), "{}", reports[0]);
        assert_eq!(reports[0].contains("wrong patient"), tell, "{}", reports[0]);
    }
}

#[tokio::test]
async fn actions_that_stop_letters_need_a_reason_and_retry_does_not() {
    let lab = Lab::new(&[A], &[], "").await;
    let office = lab.office();
    let id = lab.letter(&["x@a.mssante.test"]).await;
    let mut dumb = job(Change::Drop, Target::Letter(id));
    dumb.reason = " ".to_owned();
    assert!(hands::act(office, &dumb).await.unwrap_err().contains("--reason"));
    dumb.change = Change::Retry;
    hands::act(office, &dumb).await.unwrap();
    let nobody = Target::Letter(QueueId::from_bytes([7; 16]));
    assert!(act(office, Change::Drop, nobody).await.unwrap_err().contains("nothing waits"));
}

#[tokio::test]
async fn the_command_line_reaches_the_same_hands() {
    let lab = Lab::new(&[A], &[], "").await;
    let office = lab.office();
    let id = lab.letter(&["279035121518989@a.mssante.test"]).await;
    let caller = Caller { author: "alice".to_owned(), person: "alice".to_owned() };
    let ask = async |request| match control::handle(office, Request::Queue(request), &caller).await
    {
        Response::Queue(answer) => Ok(answer),
        Response::Failed(why) => Err(why),
        other => panic!("{other:?}"),
    };
    let act = |action, target| control::queue::Request::Act {
        action,
        target,
        reason: "dossier 279035121518989".to_owned(),
        dry_run: false,
    };
    let held = ask(act(Action::Hold, TargetForm::Letter(id.to_string()))).await.unwrap();
    let Answer::Acted(acted) = held else { panic!("{held:?}") };
    assert_eq!(acted.rows[0].recipient, "***@a.mssante.test");
    let list = control::queue::Request::List { target: None, held: true, limit: None };
    let Answer::Waiting(lines) = ask(list).await.unwrap() else { panic!() };
    assert_eq!((lines.len(), lines[0].state.as_str()), (1, "held"));
    assert!(lines[0].why.contains("alice"), "{}", lines[0].why);
    let show = |id: String| control::queue::Request::Show { id };
    assert!(ask(show(id.to_string())).await.is_ok());
    assert!(ask(show("00000000000000000000000000000000".to_owned())).await.is_err());
    let Answer::Lanes(lanes) = ask(control::queue::Request::Lanes {}).await.unwrap() else {
        panic!()
    };
    assert_eq!((lanes.len(), lanes[0].rows), (1, 1));
    let bad = TargetForm::Recipient("279035121518989".to_owned());
    let error = ask(act(Action::Retry, bad)).await.unwrap_err();
    assert!(!error.contains("279035"), "{error}");
    let entries = office.journal.last(10).await.unwrap();
    assert_eq!(entries[0].author, "alice");
    assert!(!format!("{entries:?}").contains("279035121518989"), "{entries:?}");
}

/// Runs the delivering half of the relay until something is so.
pub(super) async fn run_until<F: Future<Output = bool>>(lab: &Lab, is_so: impl Fn() -> F) {
    let (stop, listener) = Stop::new();
    let running = tokio::spawn(flow::dispatch(Arc::clone(lab.office()), listener));
    let mut was_so = false;
    for _ in 0..600 {
        was_so = is_so().await;
        if was_so {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.stop();
    running.await.unwrap();
    assert!(was_so, "it did not happen in time");
}
