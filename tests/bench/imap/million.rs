//! One mailbox of a million messages on a running relay: what opening it, synchronising it and
//! waiting in it takes, and how much memory.
//!
//! It is filled over IMAP: a thousand letters are filed, and COPY doubles them by five thousand at a
//! time. So every row, summary, log entry and reference is what the relay itself has written; that
//! contents are shared saves only the sealing of each. Then the relay is started anew, so that nothing
//! of the filling is in its memory, and each figure is taken once, in the order of the table.
use std::time::Duration;
use std::time::Instant;

use crate::client::Client;
use crate::loads;
use crate::loads::Figure;
use crate::server::Server;
use crate::support::letters;
use crate::support::running::Running;
use crate::support::running::free_port_base;

/// Whose mailbox it is.
const USER: usize = 33;
const FILED: usize = 1_000;
/// Messages that one COPY takes at most.
const COPIED_AT_ONCE: usize = 5_000;
/// Messages that others change, and that they remove.
const CHANGED: usize = 1_000;
const NOTICES: usize = 50;

/// Fills, starts anew, measures. Answers figures, and the method in a few lines.
pub async fn measure(running: &mut Running, accounts: usize, rows: usize) -> (Vec<Figure>, String) {
    let began = Instant::now();
    fill(&Server::of_relay(running), rows).await;
    let filled = began.elapsed().as_secs_f64();
    eprintln!("{rows} messages are there after {filled:.0} s");
    assert!(running.terminate().success(), "the relay ended badly");
    let folder = running.folder.clone();
    let again = Running::start(&folder, free_port_base(), &["--accounts", &accounts.to_string()]);
    let server = Server::of_relay(&again);
    // A session in another mailbox: TLS, logins and what all share are in memory already.
    let mut other = server.open(USER + 1).await;
    other.run("SELECT INBOX").await;
    let before = resident(server.pid, "VmRSS:");
    let mut figures = vec![figure("filling it", filled, "s")];
    figures.extend(opening(&server, rows).await);
    figures.extend(synchronising(&server, rows).await);
    figures.extend(notices(&server).await);
    let mebibytes = |kibibytes: u64| kibibytes as f64 / 1_024.0;
    let peak = resident(server.pid, "VmHWM:").saturating_sub(before);
    let now = resident(server.pid, "VmRSS:").saturating_sub(before);
    figures.push(figure("most memory over the relay without it", mebibytes(peak), "MiB"));
    figures.push(figure("memory at the end over the relay without it", mebibytes(now), "MiB"));
    (figures, method(rows))
}

fn figure(name: impl Into<String>, value: f64, unit: &'static str) -> Figure {
    Figure::new(name, value, unit, false)
}

async fn fill(server: &Server, rows: usize) {
    loads::fill(server, USER, 512, FILED.min(rows)).await;
    let mut client = server.open(USER).await;
    client.run("SELECT INBOX").await;
    let mut has = messages(&mut client).await;
    while has < rows {
        let more = has.min(rows - has).min(COPIED_AT_ONCE);
        client.run(&format!("COPY 1:{more} INBOX")).await;
        has += more;
    }
    assert_eq!(messages(&mut client).await, rows, "copies are missing");
}

async fn messages(client: &mut Client) -> usize {
    let said = client.ask("STATUS INBOX (MESSAGES)").await;
    usize::try_from(number(&said, "MESSAGES ")).unwrap()
}

async fn opening(server: &Server, rows: usize) -> Vec<Figure> {
    let mut client = server.open(USER).await;
    let mut figures = Vec::new();
    let (said, took) = timed(&mut client, "SELECT INBOX").await;
    assert!(said.contains(&format!("* {rows} EXISTS")), "{said}");
    figures.push(figure("SELECT, the first since the start", took, "ms"));
    let mut fresh = server.open(USER).await;
    figures.push(figure(
        "SELECT, another session",
        timed(&mut fresh, "SELECT INBOX").await.1,
        "ms",
    ));
    let mut fresh = server.open(USER).await;
    let status = "STATUS INBOX (MESSAGES UNSEEN UIDNEXT SIZE HIGHESTMODSEQ)";
    figures.push(figure("STATUS", timed(&mut fresh, status).await.1, "ms"));
    let took = timed(&mut fresh, "LIST \"\" * RETURN (STATUS (MESSAGES UNSEEN))").await.1;
    figures.push(figure("LIST of all with STATUS", took, "ms"));
    let began = Instant::now();
    client.run("FETCH 1:* (UID FLAGS)").await;
    let took = began.elapsed().as_secs_f64();
    figures.push(figure("FETCH 1:* (UID FLAGS)", took * 1_000.0, "ms"));
    figures.push(figure(
        "UID SEARCH UNSEEN",
        timed(&mut client, "UID SEARCH UNSEEN").await.1,
        "ms",
    ));
    figures
}

async fn synchronising(server: &Server, rows: usize) -> Vec<Figure> {
    let mut client = server.open(USER).await;
    let said = client.ask("SELECT INBOX").await;
    let validity = number(&said, "UIDVALIDITY ");
    let before = number(&said, "HIGHESTMODSEQ ");
    // Somebody else marks some messages all over the mailbox, and removes others.
    let mut other = server.open(USER).await;
    other.run("SELECT INBOX").await;
    let step = (rows / CHANGED).max(2);
    let every = |first: usize| {
        let numbers = (first..=rows).step_by(step).take(CHANGED).map(|uid| uid.to_string());
        numbers.collect::<Vec<_>>().join(",")
    };
    let mut figures = Vec::new();
    let marking = format!("UID STORE {} +FLAGS.SILENT (\\Flagged)", every(1));
    let name = format!("STORE of {CHANGED} messages");
    figures.push(figure(name, timed(&mut other, &marking).await.1, "ms"));
    other.run(&format!("UID STORE {} +FLAGS.SILENT (\\Deleted)", every(2))).await;
    let expunged = timed(&mut other, "EXPUNGE").await.1;
    figures.push(figure(format!("EXPUNGE of {CHANGED} messages"), expunged, "ms"));
    figures.push(figure("NOOP that tells all that", timed(&mut client, "NOOP").await.1, "ms"));
    let changed = format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {before})");
    let name = format!("FETCH 1:* (FLAGS) (CHANGEDSINCE …), {CHANGED} changes");
    figures.push(figure(name, timed(&mut client, &changed).await.1, "ms"));
    let highest = number(&client.ask("STATUS INBOX (HIGHESTMODSEQ)").await, "HIGHESTMODSEQ ");
    let nothing = format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {highest})");
    let took = timed(&mut client, &nothing).await.1;
    figures.push(figure("FETCH 1:* (FLAGS) (CHANGEDSINCE …), no change", took, "ms"));
    for (modseq, what) in [(before, "some changes"), (highest, "no change"), (1, "everything")] {
        let mut fresh = server.open(USER).await;
        fresh.run("ENABLE QRESYNC").await;
        let select = format!("SELECT INBOX (QRESYNC ({validity} {modseq}))");
        let began = Instant::now();
        fresh.run(&select).await;
        let took = began.elapsed().as_secs_f64() * 1_000.0;
        figures.push(figure(format!("SELECT with QRESYNC, {what}"), took, "ms"));
    }
    figures
}

/// From the OK of an APPEND to the line at a client that idles there.
async fn notices(server: &Server) -> Vec<Figure> {
    let mut idler = server.open(USER).await;
    idler.run("SELECT INBOX").await;
    idler.write(b"i IDLE\r\n").await;
    idler.until(|text| text.starts_with(b"+") && text.ends_with(b"\r\n")).await;
    let mut filer = server.open(USER).await;
    let letter = letters::letter("a@b.test", "c@d.test", &letters::message_id(), 512);
    let mut times = Vec::new();
    for _ in 0..NOTICES {
        // Both at once: the notice may come before the OK.
        let heard = async {
            idler.until(|text| text.windows(6).any(|at| at == b"EXISTS")).await;
            Instant::now()
        };
        let answered = async {
            filer.append(&letter).await;
            Instant::now()
        };
        let (heard, answered) = tokio::join!(heard, answered);
        times.push(heard.saturating_duration_since(answered));
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
    vec![
        figure("IDLE notice, median", milliseconds(at(0.5)), "ms"),
        figure("IDLE notice, worst", milliseconds(at(1.0)), "ms"),
    ]
}

/// An answer, its end at least, and the milliseconds that it took.
async fn timed(client: &mut Client, command: &str) -> (String, f64) {
    let began = Instant::now();
    let said = client.ask(command).await;
    (said, began.elapsed().as_secs_f64() * 1_000.0)
}

/// The last number behind a word.
fn number(said: &str, word: &str) -> u64 {
    let start = said.rfind(word).unwrap_or_else(|| panic!("no {word}in {said}")) + word.len();
    let digits = said[start..].split(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap()
}

/// A line of the process's status, in KiB.
fn resident(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn method(rows: usize) -> String {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (file("/proc/cpuinfo"), file("/proc/meminfo"));
    let after = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let gibibytes = after(&memory, "MemTotal").split(' ').next().unwrap_or_default().to_owned();
    let gibibytes = gibibytes.parse::<f64>().unwrap_or(0.0) / 1_048_576.0;
    let now = jiff::Timestamp::now();
    format!(
        "{}, {cores} cores of {}, {gibibytes:.0} GiB, Linux {}. One mailbox of {rows} messages of 512 \
         octets: {FILED} filed over IMAP, the rest by COPY; then the relay was started anew. TLS, \
         one session at a time, the client on the same machine; each figure once, in this order.",
        now.strftime("%Y-%m-%d %H:%M UTC"),
        after(&cpu, "model name"),
        file("/proc/sys/kernel/osrelease").trim(),
    )
}
