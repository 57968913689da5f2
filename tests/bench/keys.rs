//! What a change of the master key costs: every mailbox's keys wrapped anew, on a real disk.
//!
//! Makes mailboxes with real keys, changes the master key, and lets the real program (`serve`, durable
//! commits) wrap everything anew, once alone and once back while letters come in. Time is the walk's
//! own, from its first row to "retired"; memory is what the relay has then and had at most; a
//! letter's time is from its connection to its 250.
//! `cargo bench --bench keys`, `-- quick` for a twentieth of it.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "its table is its result")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(unreachable_pub, reason = "shares the support of the tests")]
#![allow(dead_code, reason = "shares the support of the tests")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use support::serving::Serving;
use support::serving::Space;
use tokio::task::JoinSet;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::infra::config::Config;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::relay;

const HOST: &str = "hopital.mssante.test";
const LUNE: &str = "dr.lune@hopital.mssante.test";
const MAILBOXES: u32 = 100_000;
/// Made at the same time: more would only wait for the processors.
const AT_ONCE: u32 = 512;

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "quick");
    let mailboxes = if quick { MAILBOXES / 20 } else { MAILBOXES };
    let space = Space::of(&[HOST]);
    let mut serving = space.relay(0).with("[revocation]\nmode = \"off\"\n").start(&[LUNE]);
    serving.stop();
    let start = Instant::now();
    fill(&serving, mailboxes).await;
    let made = start.elapsed();
    let store = fs::metadata(serving.data_dir().join("truth.redb")).unwrap().len();
    println!("{}", machine(&serving.data_dir()));
    println!("{mailboxes} mailboxes made in {made:.1?}; the store has {} MB\n", store / 1_000_000);
    println!(
        "| wrapped anew | time | a second | memory after | at most | letters beside it, p50 | p99 |"
    );
    println!("|---|---|---|---|---|---|---|");
    let (first, second) = (serving.folder.join("master.key"), serving.folder.join("master-2.key"));
    fs::write(&second, [2; 32]).unwrap();
    fs::set_permissions(&second, fs::Permissions::from_mode(0o600)).unwrap();
    change(&mut serving, &second, &first);
    let (time, letters) = watch(&serving, false);
    line("alone", mailboxes, &serving, time, &letters);
    serving.stop();
    change(&mut serving, &first, &second);
    let (time, letters) = watch(&serving, true);
    line("while letters come in", mailboxes, &serving, time, &letters);
}

/// Many mailboxes, by the shortest way: real keys, no password.
async fn fill(serving: &Serving<'_>, mailboxes: u32) {
    let config = Config::load(&serving.config()).unwrap();
    let office = relay::offline(&config).await.unwrap();
    for first in (0..mailboxes).step_by(AT_ONCE as usize) {
        let mut tasks = JoinSet::new();
        for number in first..mailboxes.min(first + AT_ONCE) {
            let office = Arc::clone(&office);
            tasks.spawn(async move {
                let new = NewAccount {
                    address: Address::parse(&format!("m{number}@{HOST}")).unwrap(),
                    kind: MailboxKind::Organisational,
                    listing: Listing::RedList,
                    display_name: format!("Service {number}"),
                    password: None,
                };
                office.accounts.add(new).await.unwrap();
            });
        }
        while let Some(made) = tasks.join_next().await {
            made.unwrap();
        }
    }
}

fn change(serving: &mut Serving<'_>, current: &Path, old: &Path) {
    let text = fs::read_to_string(serving.config()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("master_keys_old"));
    let lines = lines.map(|line| match line.starts_with("master_key = ") {
        true => format!("master_key = {current:?}\nmaster_keys_old = [{old:?}]"),
        false => line.to_owned(),
    });
    fs::write(serving.config(), lines.collect::<Vec<_>>().join("\n")).unwrap();
    serving.begin();
}

/// Waits for the end of the walk, and sends letters meanwhile if wanted; answers how long it took.
fn watch(serving: &Serving<'_>, letters: bool) -> (Duration, Vec<Duration>) {
    let mut times = Vec::new();
    let now = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let walk = scope.spawn(|| serving.said(&["keys", "master", "rewrap"]));
            while letters && !walk.is_finished() {
                times.push(now.block_on(one_letter(serving)));
            }
            let said = walk.join().unwrap();
            assert!(said.contains("Everything is wrapped"), "{said}");
        });
    });
    (took(serving), times)
}

async fn one_letter(serving: &Serving<'_>) -> Duration {
    let start = Instant::now();
    let mut smtp = serving.submission(LUNE).await;
    let text = format!("From: {LUNE}\r\nTo: {LUNE}\r\nSubject: x\r\n\r\nBonjour\r\n");
    smtp.send(LUNE, &[LUNE], text.as_bytes()).await.unwrap();
    start.elapsed()
}

/// From the walk's own record, in milliseconds.
fn took(serving: &Serving<'_>) -> Duration {
    let status = serving.json(&["keys", "master", "status"]);
    let time = |name: &str| {
        let text = status["rewrap"][name].as_str().unwrap().to_owned();
        text.parse::<jiff::Timestamp>().unwrap()
    };
    Duration::try_from(time("ended").duration_since(time("begun"))).unwrap()
}

fn line(what: &str, mailboxes: u32, serving: &Serving<'_>, time: Duration, letters: &[Duration]) {
    let mut letters = letters.to_vec();
    letters.sort();
    let at = |share: usize| match letters.get(letters.len() * share / 100) {
        Some(time) => format!("{time:.1?}"),
        None => "–".to_owned(),
    };
    let memory = |name: &str| {
        let status = fs::read_to_string(format!("/proc/{}/status", serving.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let kib: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap();
        format!("{} MB", kib / 1_024)
    };
    println!(
        "| {what} | {time:.1?} | {:.0} | {} | {} | {} | {} |",
        f64::from(mailboxes) / time.as_secs_f64(),
        memory("VmRSS"),
        memory("VmHWM"),
        at(50),
        at(99)
    );
}

/// What figures stand on: processors, their kind, and what one durable write costs here.
fn machine(folder: &Path) -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.unwrap_or("").trim_start_matches(['\t', ' ', ':']);
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let path = folder.join("sync");
    let mut file = fs::File::create(&path).unwrap();
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[0; 4_096]).unwrap();
            file.sync_data().unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    let _ = fs::remove_file(path);
    format!("{processors} x {model}; a durable write of 4 KiB takes {:.2?}", times[25])
}
