//! Measures reading: the real program over TLS, with durability and sealing on. Prints Markdown
//! tables; with `--dovecot` the same load runs against a plain Dovecot, and against one with
//! mail_crypt, each configured and started here, and ratios are printed.
//!
//! `cargo bench --bench imap` takes a few seconds for each figure; `-- full` takes its time.
//! `-- million` measures one mailbox of 1,000,000 messages instead (`rows=20000` of so many). Names
//! of figures (`fetch append list select store idle memory search`) choose some. The load generator
//! runs beside the server on the same machine; compare figures of one run only.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "its tables are its result")]
#![allow(clippy::print_stderr, reason = "figures are shown as they come")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(unreachable_pub, reason = "shares the support of the tests")]
#![allow(dead_code, reason = "shares the support of the tests")]

#[path = "imap/client.rs"]
mod client;
#[path = "imap/dovecot.rs"]
mod dovecot;
#[path = "imap/loads.rs"]
mod loads;
#[path = "imap/million.rs"]
mod million;
#[path = "imap/server.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;

use loads::Figure;
use server::Server;
use support::dovecot::Dovecot;
use support::running::Running;

/// Mailboxes of each server.
const ACCOUNTS: usize = 64;
const FIGURES: [&str; 8] =
    ["fetch", "append", "list", "select", "store", "idle", "memory", "search"];

/// How long, and how much.
struct Size {
    seconds: u64,
    /// Messages of 4 KB, 50 KB, 1 MB in the mailboxes that are fetched.
    bodies: [usize; 3],
    listed: usize,
    selected: Vec<usize>,
    notices: usize,
    idlers: usize,
    connections: usize,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let size = if has("full") {
        Size {
            seconds: 10,
            bodies: [5_000, 1_000, 100],
            listed: 10_000,
            selected: vec![100_000],
            notices: 500,
            idlers: 1_000,
            connections: 9_900,
        }
    } else {
        Size {
            seconds: 3,
            bodies: [2_000, 500, 50],
            listed: 10_000,
            selected: vec![20_000],
            notices: 200,
            idlers: 1_000,
            connections: 1_000,
        }
    };
    if has("million") {
        let rows = arguments.iter().find_map(|argument| argument.strip_prefix("rows="));
        let rows = rows.map_or(1_000_000, |rows| rows.parse().expect("rows=NUMBER"));
        let mut running = Running::new(&["--accounts", &ACCOUNTS.to_string()]);
        let (figures, method) = million::measure(&mut running, ACCOUNTS, rows).await;
        println!("{method}\n");
        print(&[Column { server: "Vaguemestre".to_owned(), figures }]);
        return;
    }
    let chosen: Vec<&str> = FIGURES.into_iter().filter(|name| has(name)).collect();
    let wants = |name: &str| chosen.is_empty() || chosen.contains(&name);
    let mut columns = Vec::new();
    if !has("--only-dovecot") {
        let running = Running::new(&["--accounts", &ACCOUNTS.to_string()]);
        columns.push(measure(&Server::of_relay(&running), &size, &wants).await);
    }
    if has("--dovecot") || has("--only-dovecot") {
        for crypt in [false, true] {
            let name = if crypt { "Dovecot, mail_crypt" } else { "Dovecot" };
            let peer = Dovecot::start(ACCOUNTS, crypt);
            columns.push(measure(&dovecot::server(&peer, ACCOUNTS, name), &size, &wants).await);
        }
    }
    print(&columns);
}

struct Column {
    server: String,
    figures: Vec<Figure>,
}

async fn measure(server: &Server, size: &Size, wants: &dyn Fn(&str) -> bool) -> Column {
    let mut figures = Vec::new();
    eprintln!("measuring {}", server.name);
    if wants("idle") {
        figures.extend(loads::notices(server, size.idlers, size.notices).await);
    }
    if wants("memory") {
        figures.extend(loads::memory(server, size.connections).await);
    }
    if wants("append") {
        for octets in [4_096, 51_200] {
            figures.push(loads::append(server, 16, octets, size.seconds).await);
        }
    }
    if wants("fetch") {
        for (octets, messages) in [4_096, 51_200, 1_048_576].into_iter().zip(size.bodies) {
            figures.extend(loads::bodies(server, 4, octets, messages, size.seconds).await);
        }
    }
    if wants("list") || wants("store") {
        let messages = size.listed;
        figures.extend(loads::listing(server, messages, wants("store"), size.seconds).await);
    }
    if wants("search") {
        figures.extend(loads::search(server, size.listed).await);
    }
    if wants("select") {
        for messages in &size.selected {
            figures.extend(loads::select(server, *messages).await);
        }
    }
    for figure in &figures {
        eprintln!("{}: {}", figure.name, figure.shown());
    }
    Column { server: server.name.clone(), figures }
}

fn print(columns: &[Column]) {
    let Some(first) = columns.first() else { return };
    let mut head = format!("| figure | {} |", first.server);
    let mut rule = "|---|---|".to_owned();
    for other in &columns[1..] {
        head.push_str(&format!(" {} | ratio |", other.server));
        rule.push_str("---|---|");
    }
    println!("{head}\n{rule}");
    for figure in &first.figures {
        let mut row = format!("| {} | {} |", figure.name, figure.shown());
        for other in &columns[1..] {
            match other.figures.iter().find(|other| other.name == figure.name) {
                Some(other) => {
                    row.push_str(&format!(" {} | {:.2} |", other.shown(), figure.ratio(other)));
                }
                None => row.push_str(" – | – |"),
            }
        }
        println!("{row}");
    }
}
