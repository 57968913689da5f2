//! The lives of mailboxes: what closing destroys, what the clock does in a year, who approves.
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::folder::Flags;
use vaguemestre::domain::folder::FolderId;
use vaguemestre::domain::life::Action;
use vaguemestre::domain::life::Actor;
use vaguemestre::domain::life::LastLogin;
use vaguemestre::domain::life::Stage;
use vaguemestre::domain::life::Step;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxId;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::flow::life;
use vaguemestre::flow::life::Arrivals;
use vaguemestre::flow::life::Life;
use vaguemestre::flow::life::Order;
use vaguemestre::flow::mailbox::NewMessage;
use vaguemestre::flow::office::Office;
use vaguemestre::infra::directory::Account;
use vaguemestre::infra::directory::DirectoryError;
use vaguemestre::infra::directory::Mailboxes;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::infra::store;
use vaguemestre::server::control;
use vaguemestre::server::control::Caller;
use vaguemestre::server::control::wire::Response;

use crate::cli::vaguemestre;
use crate::queue::lab::Lab;
use crate::support::running;
use crate::support::running::Running;

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
        password: &Secret::new("a long password".to_owned()),
    };
    let account = life::make(office, new, true, "test", "made for a test").await?;
    office.mailboxes.create(&account).await.unwrap();
    Ok(account)
}

async fn step(office: &Arc<Office>, of: &str, step: Step) -> Result<Life, String> {
    let address = address(of);
    let by = Actor::Administrator;
    let order = Order { address: &address, step, by, author: "alice", reason: "a reason" };
    life::change(office, &order).await
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
    assert_eq!(
        (state["state"].as_str(), state["last_login"].as_str()),
        (Some("suspended"), Some("unknown"))
    );
    assert!(run(&["mailbox", "resume", user, "--reason", "is back"]).status.success());
    let open = vaguemestre::demo::client::Imap::open(door, &tls, user, password.unwrap()).await;
    assert!(open.is_ok());
    let history = run(&["mailbox", "history", user, "--json"]);
    let history: Value = serde_json::from_slice(&history.stdout).unwrap();
    let steps: Vec<&str> =
        history.as_array().unwrap().iter().map(|one| one["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["request", "activate", "suspend", "resume"]);
}

#[tokio::test]
async fn no_clock_no_moment_is_later_than_the_end_of_time() {
    // The largest moment there is: nothing wraps around.
    let lab = Lab::new(&[], &[], "").await;
    lab.clock.set(Timestamp::from_millis(u64::MAX));
    life::sweep(lab.office()).await.unwrap();
}
