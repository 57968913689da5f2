//! The lives of mailboxes: what closing destroys, what the clock does in a year, who approves.
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use vaguemestre::demo::client::Imap;
use vaguemestre::demo::client::Submission;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::folder::Flags;
use vaguemestre::domain::folder::FolderId;
use vaguemestre::domain::identity::NationalId;
use vaguemestre::domain::life::Action;
use vaguemestre::domain::life::Actor;
use vaguemestre::domain::life::LastLogin;
use vaguemestre::domain::life::Stage;
use vaguemestre::domain::life::Step;
use vaguemestre::domain::login::Entrance;
use vaguemestre::domain::login::Means;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxId;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::flow::directory::drift;
use vaguemestre::flow::directory::drift::Drift;
use vaguemestre::flow::life;
use vaguemestre::flow::life::Arrivals;
use vaguemestre::flow::life::Life;
use vaguemestre::flow::life::Order;
use vaguemestre::flow::login::Visitor;
use vaguemestre::flow::mailbox::NewMessage;
use vaguemestre::flow::office::Office;
use vaguemestre::infra::directory::Account;
use vaguemestre::infra::directory::Arrival;
use vaguemestre::infra::directory::DirectoryError;
use vaguemestre::infra::directory::Mailboxes;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::infra::store;
use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::redb::RedbStore;
use vaguemestre::server::control;
use vaguemestre::server::control::Caller;
use vaguemestre::server::control::wire::Response;

use crate::cli::vaguemestre;
use crate::logins::IDLE;
use crate::queue::lab::Lab;
use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;

const DAY: Duration = Duration::from_secs(86_400);
const ADDRESS: &str = "elise.vigne@hopital.mssante.test";

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

async fn add(office: &Office, text: &str, kind: MailboxKind) -> Result<Account, DirectoryError> {
    let new = NewAccount {
        address: address(text),
        kind,
        listing: Listing::Public,
        display_name: "Dr Vigne".to_owned(),
        password: Some(&Secret::new("a long password".to_owned())),
    };
    let account = life::make(office, new, true, "test", "made for a test").await?;
    office.mailboxes.create(&account).await.unwrap();
    Ok(account)
}

async fn step(office: &Arc<Office>, of: &str, step: Step) -> Result<Life, String> {
    let address = address(of);
    let by = Actor::Administrator;
    let order = Order { address: &address, step, by, author: "alice", reason: "a reason" };
    life::change(office, &order).await.map_err(|undone| undone.to_string())
}

async fn file(office: &Office, account: &Account, text: &str) {
    let mailbox = office.mailboxes.open(account).await.unwrap();
    let content = Secret::new(text.replace('\n', "\r\n").into_bytes());
    let message = NewMessage { content, flags: Flags::default(), internal_date: None };
    mailbox.append(FolderId::INBOX, message).await.unwrap();
}

/// Rows of a mailbox, and of its account, that are still there.
async fn rows(office: &Office, id: &MailboxId) -> usize {
    let mut count = 0;
    for prefix in [b"M/".as_slice(), b"A/", b"G/"] {
        let range = store::prefix(&[prefix, id.as_bytes()].concat());
        count += office.store.scan(range, 10_000).await.unwrap().rows.len();
    }
    count + office.store.scan(store::prefix(b"blob/"), 10_000).await.unwrap().rows.len()
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn closing_destroys_contents_and_keys_and_keeps_the_address_for_ever() {
    let mut lab = Lab::new(&[], &[], "").await;
    let account = add(lab.office(), ADDRESS, MailboxKind::Personal).await.unwrap();
    file(lab.office(), &account, "Subject: small\n\nKanarienvogel\n").await;
    let large = format!("Subject: large\n\n{}", "Kanarienvogel 0123456789\n".repeat(20_000));
    file(lab.office(), &account, &large).await;
    assert!(files(&lab.data().join("blobs")) > 0);
    // What is open somewhere stays open over the end.
    let open = lab.office().mailboxes.open(&account).await.unwrap();
    assert!(step(lab.office(), ADDRESS, Step::End).await.is_err(), "it is not closing");
    let closing = step(lab.office(), ADDRESS, Step::Close).await.unwrap();
    assert_eq!(closing.standing.until, Some(lab.now().after(30 * DAY)));
    let found = lab.office().accounts.find(&account.address).await.unwrap().unwrap();
    assert!(found.suspended, "the doors are closed");
    let back = step(lab.office(), ADDRESS, Step::UndoClose).await.unwrap();
    assert_eq!(back.standing.stage, Stage::Active);
    assert_eq!(open.entries(FolderId::INBOX, 1..=9, 9).await.unwrap().len(), 2, "all is there");
    step(lab.office(), ADDRESS, Step::Close).await.unwrap();
    let ended = step(lab.office(), ADDRESS, Step::End).await.unwrap();
    assert_eq!(ended.standing.stage, Stage::Closed);

    // Only the last head, on which nothing is built, whoever still has the mailbox open.
    assert_eq!(rows(lab.office(), &account.id).await, 1);
    assert_eq!(files(&lab.data().join("blobs")), 0);
    let content = Secret::new(b"Subject: late\r\n\r\nx\r\n".to_vec());
    let late = NewMessage { content, flags: Flags::default(), internal_date: None };
    assert!(open.append(FolderId::INBOX, late).await.is_err());
    assert!(open.create_folder("Late", None).await.is_err());
    drop(open);
    life::resume(lab.office()).await;
    assert_eq!(rows(lab.office(), &account.id).await, 1);

    for _ in 0..2 {
        let office = lab.office();
        let taken = add(office, ADDRESS, MailboxKind::Personal).await;
        assert!(matches!(taken, Err(DirectoryError::Taken)), "{taken:?}");
        assert!(office.accounts.find(&account.address).await.unwrap().is_none());
        for each in Step::ALL {
            assert!(step(office, ADDRESS, each).await.is_err(), "{each:?}");
        }
        let closed = life::look(office, &account.address).await.unwrap();
        assert_eq!(closed.standing.stage, Stage::Closed);
        let history = life::history(office, &account.id).await.unwrap();
        let steps: Vec<&str> = history.iter().map(|record| record.step.name()).collect();
        let expected = ["request", "activate", "close", "undo-close", "close", "delete"];
        assert_eq!(steps, expected);
        assert!(
            history.iter().all(|record| !record.author.is_empty() && !record.reason.is_empty())
        );
        lab.restart().await;
    }
}

/// A future that is dropped stops where a kill would: between two commits.
#[tokio::test]
async fn an_end_that_is_cut_short_anywhere_is_finished_after_the_next_start() {
    let mut lab = Lab::new(&[], &[], "").await;
    let mut interrupted = 0;
    for round in 0..12_u64 {
        let of = format!("round{round}@hopital.mssante.test");
        let account = add(lab.office(), &of, MailboxKind::Organisational).await.unwrap();
        for number in 0..5 {
            file(lab.office(), &account, &format!("Subject: {number}\n\nx\n")).await;
        }
        step(lab.office(), &of, Step::Close).await.unwrap();
        let patience = Duration::from_micros(round * round * 150);
        let ended = tokio::time::timeout(patience, step(lab.office(), &of, Step::End)).await;
        interrupted += usize::from(ended.is_err());
        lab.restart().await;
        life::resume(lab.office()).await;
        let office = lab.office();
        let stage = life::look(office, &account.address).await.unwrap().standing.stage;
        if stage == Stage::Closing {
            // Not even begun: all is there, and it can be ended.
            assert!(office.accounts.find(&account.address).await.unwrap().is_some());
            step(office, &of, Step::End).await.unwrap();
        }
        assert_eq!(rows(office, &account.id).await, 1, "round {round}");
        assert!(matches!(
            add(office, &of, MailboxKind::Organisational).await,
            Err(DirectoryError::Taken)
        ));
    }
    assert!(interrupted > 0, "no round was cut short");
}

/// Logins as a test says them.
#[derive(Default)]
struct Known(Mutex<HashMap<MailboxId, LastLogin>>);

#[async_trait]
impl Arrivals for Known {
    async fn last_login(&self, id: &MailboxId) -> Result<LastLogin, String> {
        Ok(self.0.lock().unwrap().get(id).copied().unwrap_or(LastLogin::Unknown))
    }
}

async fn stage(lab: &Lab, of: &str) -> Stage {
    life::look(lab.office(), &address(of)).await.unwrap().standing.stage
}

#[tokio::test]
async fn in_a_year_the_clock_tells_then_closes_then_ends_and_leaves_the_others_alone() {
    let mut lab = Lab::new(&[], &[], "").await;
    lab.sender().await;
    let known = Arc::new(Known::default());
    lab.office_mut().arrivals = Some(Arc::clone(&known) as Arc<dyn Arrivals>);
    let names = ["never", "comes", "unknown", "told"].map(|n| format!("{n}@hopital.mssante.test"));
    let mut ids = Vec::new();
    for name in &names {
        ids.push(add(lab.office(), name, MailboxKind::Personal).await.unwrap().id);
    }
    let set = |id: usize, login| {
        known.0.lock().unwrap().insert(ids[id], login);
    };
    set(0, LastLogin::Never);
    set(3, LastLogin::Never);
    // Accounts are dated by the machine's clock, a moment after the test's began.
    lab.pass(Duration::from_secs(3_600));
    let began = lab.now();
    let mut seen: Vec<(u64, Stage)> = vec![(0, Stage::Active)];
    for day in 0..400_u64 {
        if day % 100 == 0 {
            set(1, LastLogin::At(lab.now()));
        }
        if day == 320 {
            // Told on day 305; one login is enough.
            assert_eq!(stage(&lab, &names[3]).await, Stage::Notified);
            set(3, LastLogin::At(lab.now()));
        }
        life::sweep(lab.office()).await.unwrap();
        let now = stage(&lab, &names[0]).await;
        if seen.last().unwrap().1 != now {
            seen.push((day, now));
        }
        assert!(stage(&lab, &names[1]).await.is_open());
        lab.pass(DAY);
    }
    let expected =
        [(0, Stage::Active), (305, Stage::Notified), (365, Stage::Closing), (395, Stage::Closed)];
    assert_eq!(seen, expected);
    assert_eq!(stage(&lab, &names[3]).await, Stage::Active);
    // Records began on the first day of the sweep, so that is when its year began.
    assert_eq!(stage(&lab, &names[2]).await, Stage::Closed);
    assert_eq!(lab.now().since(began), 400 * DAY);
    let told = lab.office().accounts.find(&address(&names[3])).await.unwrap().unwrap();
    let mailbox = lab.office().mailboxes.open(&told).await.unwrap();
    assert_eq!(mailbox.entries(FolderId::INBOX, 1..=99, 99).await.unwrap().len(), 1);
    // Nobody asked the mailbox of our own alarms for a login.
    assert_eq!(stage(&lab, crate::queue::lab::SENDER).await, Stage::Active);
}

#[tokio::test]
async fn a_clock_that_jumps_closes_nothing_and_without_records_nobody_is_inactive() {
    let mut lab = Lab::new(&[], &[], "").await;
    lab.sender().await;
    add(lab.office(), ADDRESS, MailboxKind::Personal).await.unwrap();
    lab.office_mut().arrivals = None;
    for _ in 0..3 {
        life::sweep(lab.office()).await.unwrap();
        lab.pass(400 * DAY);
    }
    assert_eq!(stage(&lab, ADDRESS).await, Stage::Active, "no records");
    lab.office_mut().arrivals = Some(Arc::new(Known::default()) as Arc<dyn Arrivals>);
    for _ in 0..10 {
        life::sweep(lab.office()).await.unwrap();
        life::sweep(lab.office()).await.unwrap();
        lab.pass(400 * DAY);
    }
    assert_eq!(stage(&lab, ADDRESS).await, Stage::Notified);
    let notices = life::look(lab.office(), &address(ADDRESS)).await.unwrap().notices.len();
    assert_eq!(notices, 1, "the same notice is not given twice");
    // Closing waits too: not the calendar ends it.
    step(lab.office(), ADDRESS, Step::Close).await.unwrap();
    lab.pass(400 * DAY);
    life::sweep(lab.office()).await.unwrap();
    assert_eq!(stage(&lab, ADDRESS).await, Stage::Closing);
}

fn caller(name: &str) -> Caller {
    Caller { author: format!("{name} (as root)"), person: name.to_owned() }
}

async fn ask(office: &Arc<Office>, name: &str, about: control::life::Request) -> Response {
    control::handle(office, control::Request::Life(about), &caller(name)).await
}

async fn answer(office: &Arc<Office>, name: &str, id: &str) -> Response {
    let (id, reason) = (id.to_owned(), "seen".to_owned());
    let about = control::approval::Request::Approve { id, reason };
    control::handle(office, control::Request::Approval(about), &caller(name)).await
}

fn close(of: &str) -> control::life::Request {
    let (address, step) = (of.to_owned(), "close".to_owned());
    control::life::Request::Step { address, step, reason: "leaves".to_owned() }
}

#[tokio::test]
async fn what_needs_four_eyes_waits_for_another_person_and_is_done_once() {
    let mut lab = Lab::new(&[], &[], "").await;
    lab.sender().await;
    lab.office_mut().config.life.four_eyes = Action::ALL.to_vec();
    add(lab.office(), ADDRESS, MailboxKind::Personal).await.unwrap();
    let office = lab.office();
    let Response::Life(control::life::Answer::Waits(first)) =
        ask(office, "alice", close(ADDRESS)).await
    else {
        panic!("it does not wait")
    };
    assert_eq!(stage(&lab, ADDRESS).await, Stage::Active);
    let Response::Life(control::life::Answer::Waits(again)) =
        ask(office, "alice", close(ADDRESS)).await
    else {
        panic!()
    };
    assert_eq!(first.id, again.id, "asked twice it is one petition");
    assert!(first.what.contains("close") && first.digest.len() == 64);
    for same in ["alice", "Alice"] {
        assert!(matches!(answer(office, same, &first.id).await, Response::Failed(_)));
    }
    assert!(matches!(answer(office, "bob", &first.id).await, Response::Approval(_)));
    assert_eq!(stage(&lab, ADDRESS).await, Stage::Closing);
    step(office, ADDRESS, Step::UndoClose).await.unwrap();
    let twice = answer(office, "bob", &first.id).await;
    assert!(matches!(twice, Response::Failed(_)), "{twice:?}");
    assert_eq!(stage(&lab, ADDRESS).await, Stage::Active);
    let record = life::look(office, &address(ADDRESS)).await.unwrap().id;
    let history = life::history(office, &record).await.unwrap();
    assert!(history.iter().any(|one| one.author.contains("approved by bob")), "{history:?}");

    // One that nobody answers in time is over, also after a restart.
    let Response::Life(control::life::Answer::Waits(late)) =
        ask(office, "alice", close(ADDRESS)).await
    else {
        panic!()
    };
    lab.restart().await;
    lab.pass(8 * DAY);
    assert!(matches!(answer(lab.office(), "bob", &late.id).await, Response::Failed(_)));
    assert_eq!(stage(&lab, ADDRESS).await, Stage::Active);
}

fn line(number: u64, of: &str, kind: &str) -> control::life::Line {
    control::life::Line {
        line: number,
        address: of.to_owned(),
        kind: kind.to_owned(),
        name: "Accueil".to_owned(),
        red_list: false,
        holder: None,
        password: None,
    }
}

#[tokio::test]
async fn an_approved_list_is_imported_as_it_was_approved_and_nothing_else() {
    let mut lab = Lab::new(&[], &[], "").await;
    lab.office_mut().config.life.four_eyes = vec![Action::Bulk];
    let office = lab.office();
    let lines = vec![line(2, "accueil@hopital.mssante.test", "ORG")];
    let begin = || control::life::Request::ImportBegin {
        file: "list.csv".to_owned(),
        lines: 1,
        parts: vec![control::life::digest_text(&control::life::part_digest(&lines))],
        reason: "opening".to_owned(),
    };
    let import = |lines| control::life::Request::ImportLines {
        dry: false,
        lines,
        reason: "opening".to_owned(),
    };
    let waits = ask(office, "alice", begin()).await;
    let Response::Life(control::life::Answer::Waits(petition)) = waits else { panic!("{waits:?}") };
    assert!(matches!(ask(office, "alice", import(lines.clone())).await, Response::Failed(_)));
    assert!(matches!(answer(office, "bob", &petition.id).await, Response::Approval(_)));
    let other = vec![line(2, "autre@hopital.mssante.test", "ORG")];
    assert!(matches!(ask(office, "alice", import(other)).await, Response::Failed(_)));
    let granted = ask(office, "alice", begin()).await;
    assert!(matches!(granted, Response::Life(control::life::Answer::Done(_))), "{granted:?}");
    let made = ask(office, "alice", import(lines.clone())).await;
    let Response::Life(control::life::Answer::Lines(answers)) = made else { panic!("{made:?}") };
    assert_eq!(answers[0].result, "made");
    let part = control::life::digest_text(&control::life::part_digest(&lines));
    let end = control::life::Request::ImportEnd { part, outcome: "1 made".to_owned() };
    assert!(matches!(ask(office, "alice", end).await, Response::Life(_)));
    assert!(matches!(ask(office, "alice", import(lines)).await, Response::Failed(_)));
}

fn import(config: &str, arguments: &[&str]) -> (Value, bool) {
    let all = [&["mailbox", "import"], arguments, &["--json", "--config", config]].concat();
    let output = vaguemestre(&all, "");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_slice(&output.stdout);
    (value.unwrap_or_else(|_| panic!("{errors}")), output.status.success())
}

fn results(value: &Value) -> Vec<(u64, String)> {
    let lines = value["lines"].as_array().unwrap().iter();
    lines
        .map(|one| (one["line"].as_u64().unwrap(), one["result"].as_str().unwrap().to_owned()))
        .collect()
}

/// Through the program and a running relay.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_the_real_one_does_and_the_same_file_may_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Running::start(&folder.path().join("demo"), running::free_port_base(), &[]);
    let config = demo.json["operators"][0]["config"].as_str().unwrap().to_owned();
    let list = folder.path().join("list.csv");
    let text = "\u{feff}address;kind;name;listing;holder\r\n\
         a.neuf@hopital.mssante.test;PER;Dr NEUF;public;10002839586\r\n\
         accueil.neuf@hopital.mssante.test;ORG;Accueil;red-list;\r\n\
         a.neuf@hopital.mssante.test;PER;Dr NEUF;public;10002839586\r\n\
         b.neuf@hopital.mssante.test;PER;Dr SANS;public;\r\n\
         c.neuf@ailleurs.test;ORG;Ailleurs;public;\r\n\
         hugo.oreade@hopital.mssante.test;ORG;Autre;public;\r\n";
    fs::write(&list, text).unwrap();
    let list = list.to_str().unwrap();
    let (dry, _) = import(&config, &[list, "--dry-run"]);
    let (dry_again, _) = import(&config, &[list, "--dry-run"]);
    assert_eq!(results(&dry), results(&dry_again), "a dry run changes nothing");
    let passwords = folder.path().join("passwords.csv");
    let how = ["--reason", "opening", "--passwords", passwords.to_str().unwrap()];
    let (real, all) = import(&config, &[&[list][..], &how].concat());
    assert_eq!(results(&dry), results(&real));
    assert!(!all, "wrong lines are told by the exit code as well");
    let made: Vec<u64> =
        results(&real).into_iter().filter(|one| one.1 == "made").map(|one| one.0).collect();
    assert_eq!(made, [2, 3]);
    let (again, _) = import(&config, &[&[list][..], &how].concat());
    let there: Vec<u64> =
        results(&again).into_iter().filter(|one| one.1 == "there").map(|one| one.0).collect();
    assert_eq!(there, [2, 3]);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&passwords).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&passwords).unwrap();
    assert_eq!(kept.lines().count(), 3, "{kept}");
    let held = ["mailbox", "holder", "list", "a.neuf@hopital.mssante.test", "--json"];
    let held = vaguemestre(&[&held[..], &["--config", &config]].concat(), "");
    let held: Value = serde_json::from_slice(&held.stdout).unwrap();
    assert_eq!(held[0]["national_id"], "810002839586");
    let password = kept.lines().find_map(|line| line.strip_prefix("a.neuf@hopital.mssante.test;"));
    let door = demo.door(0, "imaps");
    let user = "a.neuf@hopital.mssante.test";
    let tls = demo.tls();
    let open = vaguemestre::demo::client::Imap::open(door, &tls, user, password.unwrap()).await;
    assert!(open.is_ok());

    // Suspended: neither login nor delivery, and back again.
    let run = |words: &[&str]| vaguemestre(&[words, &["--config", &config]].concat(), "");
    assert!(!run(&["mailbox", "suspend", user]).status.success(), "a reason is needed");
    assert!(run(&["mailbox", "suspend", user, "--reason", "leave"]).status.success());
    let open = vaguemestre::demo::client::Imap::open(door, &tls, user, password.unwrap()).await;
    assert!(open.is_err());
    let state = run(&["mailbox", "state", user, "--json"]);
    let state: Value = serde_json::from_slice(&state.stdout).unwrap();
    assert_eq!(state["state"], "suspended");
    assert!(state["last_login"].as_str().unwrap().starts_with("20"), "{state}");
    assert!(run(&["mailbox", "resume", user, "--reason", "is back"]).status.success());
    let open = vaguemestre::demo::client::Imap::open(door, &tls, user, password.unwrap()).await;
    assert!(open.is_ok());
    let history = run(&["mailbox", "history", user, "--json"]);
    let history: Value = serde_json::from_slice(&history.stdout).unwrap();
    let steps: Vec<&str> =
        history.as_array().unwrap().iter().map(|one| one["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["request", "activate", "suspend", "resume"]);
}

fn shorten(lab: &mut Lab) {
    let rule = &mut lab.office_mut().config.life;
    rule.inactive = 20 * DAY;
    rule.notice_days = vec![5, 2];
    rule.closing = 3 * DAY;
}

/// The rule of inactivity over the relay's own record of logins.
#[tokio::test]
async fn a_login_at_a_door_begins_the_days_anew_and_outlives_a_restart() {
    let mut lab = Lab::new(&[], &[], "").await;
    lab.sender().await;
    let names = ["never", "door", "later"].map(|name| format!("{name}@hopital.mssante.test"));
    let mut ids = Vec::new();
    for name in &names {
        ids.push(add(lab.office(), name, MailboxKind::Personal).await.unwrap().id);
    }
    let visitor = Visitor { entrance: Entrance::Imap, ip: None };
    let password = Secret::new("a long password".to_owned());
    lab.office().logins.login(visitor, &names[1], &password).await.unwrap();
    let last = |lab: &Lab, at: usize| {
        let office = Arc::clone(lab.office());
        let id = ids[at];
        async move { life::last_login(&office, &id).await.unwrap() }
    };
    assert_eq!(last(&lab, 0).await, Some(LastLogin::Never));
    assert!(matches!(last(&lab, 1).await, Some(LastLogin::At(_))));
    let mut seen: Vec<Vec<(u64, Stage)>> = vec![Vec::new(); names.len()];
    lab.pass(Duration::from_secs(3_600));
    shorten(&mut lab);
    for day in 0..40_u64 {
        if day == 10 {
            // What a door tells the directory about whoever it let in.
            let (means, entrance) = (Means::Password, Entrance::Submission);
            let arrival = Arrival { mailbox: ids[2], means, entrance, ip: None, at: lab.now() };
            lab.office().accounts.arrived(&arrival).await;
        }
        if day == 12 {
            assert!(matches!(last(&lab, 2).await, Some(LastLogin::At(_))));
            lab.restart().await;
            shorten(&mut lab);
            assert!(matches!(last(&lab, 2).await, Some(LastLogin::At(_))));
        }
        life::sweep(lab.office()).await.unwrap();
        for (name, seen) in names.iter().zip(&mut seen) {
            let now = stage(&lab, name).await;
            if seen.last().is_none_or(|(_, last)| *last != now) {
                seen.push((day, now));
            }
        }
        lab.pass(DAY);
    }
    let lived = |began: u64| {
        vec![
            (0, Stage::Active),
            (began + 15, Stage::Notified),
            (began + 20, Stage::Closing),
            (began + 23, Stage::Closed),
        ]
    };
    assert_eq!(seen, [lived(0), lived(0), lived(10)]);
}

#[tokio::test]
async fn a_holder_that_needs_four_eyes_waits_and_is_what_was_approved() {
    let mut lab = Lab::new(&[], &[], "").await;
    lab.office_mut().config.life.four_eyes = vec![Action::Holder];
    let account = add(lab.office(), ADDRESS, MailboxKind::Personal).await.unwrap();
    let office = lab.office();
    let about = |begins: bool, national_id: &str| {
        let (mailbox, national_id) = (ADDRESS.to_owned(), national_id.to_owned());
        let reason = "her mailbox".to_owned();
        control::Request::Holders(match begins {
            true => control::holders::Request::AddHolder { mailbox, national_id, reason },
            false => control::holders::Request::RemoveHolder { mailbox, national_id, reason },
        })
    };
    let hers = "810002839586";
    let waits = control::handle(office, about(true, hers), &caller("alice")).await;
    let Response::Holders(control::holders::Answer::Waits(petition)) = waits else {
        panic!("{waits:?}")
    };
    assert!(petition.what.contains(hers), "{}", petition.what);
    assert!(office.accounts.holders(&account.id).await.unwrap().is_empty());
    assert!(matches!(answer(office, "alice", &petition.id).await, Response::Failed(_)));
    assert!(matches!(answer(office, "bob", &petition.id).await, Response::Approval(_)));
    let held = office.accounts.holders(&account.id).await.unwrap();
    assert_eq!(held[0].national_id.to_string(), hers);
    let again = control::handle(office, about(true, hers), &caller("alice")).await;
    assert!(matches!(again, Response::Failed(_)), "held already: {again:?}");
    let waits = control::handle(office, about(false, hers), &caller("alice")).await;
    assert!(matches!(waits, Response::Holders(control::holders::Answer::Waits(_))), "{waits:?}");
    assert_eq!(office.accounts.holders(&account.id).await.unwrap().len(), 1);
}

/// Octets of every file of a folder, also those that nothing refers to any more.
fn octets_of(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(octets_of(&path)),
            false => all.extend(fs::read(&path).unwrap()),
        }
    }
    all
}

#[tokio::test]
async fn what_is_left_of_a_closed_mailbox_names_nobody_and_shows_no_word_of_a_letter() {
    const INS: &str = "279035121518989";
    let mut lab = Lab::new(&[], &[], "").await;
    let patient = format!("{INS}@patient.mssante.test");
    for (of, kind) in [(ADDRESS, MailboxKind::Personal), (&patient, MailboxKind::Citizen)] {
        let new = NewAccount {
            address: address(of),
            kind,
            listing: Listing::Public,
            display_name: "Zwetschgenmus Hildegund".to_owned(),
            password: Some(&Secret::new("a long password".to_owned())),
        };
        let account = life::make(lab.office(), new, true, "test", "reason").await.unwrap();
        lab.office().mailboxes.create(&account).await.unwrap();
        file(lab.office(), &account, "Subject: Heidelbeerkuchen\n\nKanarienvogel\n").await;
        let large = "Subject: Heidelbeerkuchen\n\n".to_owned() + &"Kanarienvogel\n".repeat(20_000);
        file(lab.office(), &account, &large).await;
        step(lab.office(), of, Step::Close).await.unwrap();
        step(lab.office(), of, Step::End).await.unwrap();
    }
    life::resume(lab.office()).await;
    lab.restart().await;
    let octets = octets_of(&lab.data());
    assert!(octets.len() > 100_000);
    let holds = |text: &str| octets.windows(text.len()).any(|part| part == text.as_bytes());
    // The search finds what is there: a professional's address, which is public.
    assert!(holds(ADDRESS));
    for text in ["Zwetschgenmus", "Hildegund", "Heidelbeerkuchen", "Kanarienvogel", INS] {
        assert!(!holds(text), "{text} can be read");
    }
}

const HOST: &str = "hopital.mssante.test";
const EVA: &str = "eva.lune@hopital.mssante.test";
const LEO: &str = "leo.soleil@hopital.mssante.test";

/// SIGKILL at any moment of the end of a mailbox, and whoever starts next finishes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_while_a_mailbox_ends_finishes_after_the_next_start() {
    const ROUNDS: u64 = 8;
    let space = Space::of(&[HOST]);
    let mut relay = space.relay(0).with("[revocation]\nmode = \"off\"\n").start(&[]);
    let mut cut = 0;
    for round in 0..ROUNDS {
        let of = format!("fin{round}@{HOST}");
        relay.add_mailbox(&of);
        let mut session = relay.submission(&of).await;
        for number in 0..4 {
            let id = letters::message_id();
            let letter = letters::letter(&of, &of, &id, 160_000 + number);
            session.send(&of, &[&of], &letter).await.unwrap();
        }
        for _ in 0..200 {
            if relay.inbox(&of).await.len() == 4 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        relay.said(&["mailbox", "close", &of, "--reason", "leaves"]);
        let config = relay.config();
        let mut delete = std::process::Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(["mailbox", "delete", &of, "--reason", "at once"])
            .args(["--config", config.to_str().unwrap()])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(8 + round * 9)).await;
        relay.kill();
        // It would do it itself, now that no relay runs.
        delete.kill().unwrap();
        cut += u64::from(!delete.wait().unwrap().success());
        relay.begin();
        let state = relay.json(&["mailbox", "state", &of]);
        if state["state"] == "closing" {
            // Not even begun: all is there, and it can be ended.
            relay.said(&["mailbox", "undo-close", &of, "--reason", "look"]);
            assert_eq!(relay.inbox(&of).await.len(), 4);
            relay.said(&["mailbox", "close", &of, "--reason", "leaves"]);
            relay.said(&["mailbox", "delete", &of, "--reason", "at once"]);
        }
        assert_eq!(relay.json(&["mailbox", "state", &of])["state"], "closed");
        let again = ["mailbox", "add", &of, "--kind", "PER", "--generate"];
        assert!(!relay.command(&again).status.success(), "its address is taken for ever");
    }
    assert!(cut > 0, "no round was cut short");
    // Each start looks once; what was written beside an end is found by the next look.
    for _ in 0..2 {
        relay.kill();
        relay.begin();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    relay.kill();
    let truth = RedbStore::open(&relay.data_dir()).unwrap();
    let rows = |prefix: &'static [u8]| truth.scan(store::prefix(prefix), 10_000);
    assert_eq!(rows(b"L/x/").await.unwrap().rows.len(), 0, "nothing is left to be done");
    assert_eq!(rows(b"A/").await.unwrap().rows.len(), 0);
    assert_eq!(rows(b"M/").await.unwrap().rows.len() as u64, ROUNDS, "one last head each");
    assert_eq!(rows(b"blob/").await.unwrap().rows.len(), 0);
    assert_eq!(files(&relay.data_dir().join("blobs")), 0);
}

/// A program that waits for news, the reply to a letter, and the answer at a login.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_a_mailbox_that_closes_is_put_out_at_once_and_senders_hear_why() {
    let space = Space::of(&[HOST]);
    let relay = space.relay(0).with("[revocation]\nmode = \"off\"\n").start(&[EVA, LEO]);
    let imaps = relay.port("imaps").to_string();
    let ca = relay.ca_file();
    for (shut, open) in [("suspend", "resume"), ("close", "undo-close")] {
        let mut client = std::process::Command::new("python3")
            .args(["-c", IDLE, ca.to_str().unwrap(), &imaps, EVA, PASSWORD])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let out = std::io::BufReader::new(client.stdout.take().unwrap());
        let mut lines = std::io::BufRead::lines(out).map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "+ idling");
        let mut submission = relay.submission(EVA).await;
        relay.said(&["mailbox", shut, EVA, "--reason", "leave"]);
        let rest: Vec<String> = lines.collect();
        assert!(rest[0].starts_with("* BYE"), "{shut}: {rest:?}");
        assert_eq!(rest.last().unwrap(), "closed");
        client.wait().unwrap();
        assert!(submission.command("NOOP", "250").await.is_err(), "{shut}");
        let listed = relay.json(&["session", "list", "--mailbox", EVA]);
        assert!(listed.as_array().unwrap().is_empty(), "{listed}");
        let told = refused(&relay).await;
        assert!(told.contains("550 5.2.1"), "{told}");
        let login = Imap::open(relay.door("imaps"), &relay.tls(), EVA, PASSWORD).await;
        assert!(login.is_err());
        relay.said(&["mailbox", open, EVA, "--reason", "is back"]);
        relay.imap(EVA).await;
    }
    relay.said(&["mailbox", "close", EVA, "--reason", "leaves"]);
    relay.said(&["mailbox", "delete", EVA, "--reason", "at once"]);
    let told = refused(&relay).await;
    assert!(told.contains("550 5.1.1"), "{told}");
    let login = Submission::open(relay.door("submissions"), &relay.tls(), EVA, PASSWORD).await;
    let told = login.err().unwrap().to_string();
    assert!(told.contains("535 5.7.8"), "{told}");
}

async fn refused(relay: &Serving<'_>) -> String {
    let mut session = relay.submission(LEO).await;
    session.command(&format!("MAIL FROM:<{LEO}>"), "250").await.unwrap();
    session.command(&format!("RCPT TO:<{EVA}>"), "250").await.unwrap_err().to_string()
}

/// 20,000 lines, and a kill in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_planned_whole_and_goes_on_after_a_kill() {
    let space = Space::of(&[HOST]);
    let mut relay = space.relay(0).with("[revocation]\nmode = \"off\"\n").start(&[]);
    let config = relay.config().to_str().unwrap().to_owned();
    let list = |count: u64| {
        let line = |number| format!("equipe.{number}@{HOST};ORG;Equipe {number};public\n");
        let lines: String = (0..count).map(line).collect();
        let file = relay.folder.join(format!("{count}.csv"));
        fs::write(&file, format!("address;kind;name;listing\n{lines}")).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (long, short) = (list(20_000), list(2_000));
    let (dry, all) = import(&config, &[&long, "--dry-run"]);
    assert!(all);
    assert_eq!(dry["counts"]["made"], 20_000);

    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
        .args(["mailbox", "import", &short, "--reason", "opening", "--config", &config])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let told = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut told = std::io::BufRead::lines(told);
    let said = told.next().unwrap().unwrap();
    assert!(said.contains("of 2000 lines"), "{said}");
    relay.kill();
    assert!(!child.wait().unwrap().success());
    relay.begin();
    let (again, all) = import(&config, &[&short, "--reason", "opening"]);
    assert!(all, "{}", again["counts"]);
    let count = |what: &str| again["counts"][what].as_u64().unwrap_or(0);
    assert_eq!(count("made") + count("there"), 2_000);
    assert!(count("there") >= 50 && count("made") > 0, "{}", again["counts"]);
    let listed = relay.json(&["mailbox", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 2_000);
}

/// Numbers decide whether the directory names another holder; names only without them.
#[tokio::test]
async fn the_directory_names_another_holder_when_the_numbers_differ() {
    let lab = Lab::new(&[], &[], "").await;
    let office = lab.office();
    let sample = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/vectors/annuaire/Extraction_Correspondance_MSSante_202611210730.txt"
    );
    office.replica.as_ref().unwrap().import(Path::new(sample), &mut |_| ()).unwrap();
    let of = "eloise.lumier@medecin.exemple.mssante.fr";
    let new = |name: &str| NewAccount {
        address: address(of),
        kind: MailboxKind::Personal,
        listing: Listing::Public,
        display_name: name.to_owned(),
        password: None,
    };
    // Married, and by another name in the directory still.
    life::make(office, new("Dr Eloïse DUVAL"), true, "test", "made").await.unwrap();
    let differs = || async {
        let found = drift::all(office).await.unwrap();
        let hers = found.into_iter().find(|one| one.address == address(of));
        hers.is_some_and(|one| one.drifts.contains(&Drift::HolderDiffers))
    };
    assert!(differs().await, "by name, for nobody said who holds it");
    let number = |text: &str| NationalId::parse(text).unwrap();
    let none = Batch::new();
    office.accounts.add_holder(&address(of), &number("899900001019"), &none).await.unwrap();
    assert!(!differs().await, "the number is hers");
    office.accounts.remove_holder(&address(of), &number("899900001019"), &none).await.unwrap();
    office.accounts.add_holder(&address(of), &number("810002839586"), &none).await.unwrap();
    assert!(differs().await, "the number is another's");
}

#[tokio::test]
async fn no_clock_no_moment_is_later_than_the_end_of_time() {
    // The largest moment there is: nothing wraps around.
    let lab = Lab::new(&[], &[], "").await;
    lab.clock.set(Timestamp::from_millis(u64::MAX));
    life::sweep(lab.office()).await.unwrap();
}
