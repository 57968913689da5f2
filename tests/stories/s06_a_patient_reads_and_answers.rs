//! As a patient I read my letters on a page, and answer while the professional lets me.
use std::path::Path;

use vaguemestre::demo::client::Imap;
use vaguemestre::demo::client::Submission;

use super::s04_nothing_readable_on_disk_or_in_logs as disk;
use crate::support::chromium::Chromium;
use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

const ADA: &str = "288027599000175@patient.mssante.test";
const BASILE: &str = "115067599000279@patient.mssante.test";
const TEAM: &str = "imagerie@hopital.mssante.test";

/// A browser on the page of a patient's inbox.
fn visit(site: &str, patient: &str, password: &str) -> Chromium {
    let mut browser = Chromium::open();
    browser.go(&format!("{site}/inbox?lang=fr"));
    browser.wait_for("location.pathname == '/inbox/login'");
    browser.log_in(patient, password);
    browser.wait_for("document.querySelector('.letters')");
    browser
}

fn open_first(browser: &mut Chromium) {
    browser.value("document.querySelector('.subject a').click()");
    browser.wait_for("document.querySelector('article.letter')");
}

fn answer(browser: &mut Chromium, text: &str) {
    browser.value(&format!(
        "document.querySelector('textarea').value = '{text}';
         document.querySelector('textarea').form.requestSubmit()"
    ));
}

/// A letter from the team to Ada; the subject decides what it does to the exchange.
async fn write_to_ada(running: &Running, subject: &str) {
    let id = letters::message_id();
    let letter = format!(
        "From: {TEAM}\r\nTo: {ADA}\r\nSubject: {subject}\r\nMessage-ID: {id}\r\n\r\nBonjour.\r\n"
    );
    running.submission(0, TEAM).await.send(TEAM, &[ADA], letter.as_bytes()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patient_reads_and_answers_until_the_exchange_is_closed() {
    let running = Running::new(&[]);
    let site = format!("https://127.0.0.1:{}", running.port(0, "https"));
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portal");
    std::fs::create_dir_all(&pictures).unwrap();
    let (number, password) = (ADA.split('@').next().unwrap(), running.password(ADA));
    let mut browser = visit(&site, number, &password);
    browser.photograph(&pictures.join("list.png"));
    let list = browser.value("document.body.innerText").to_string();
    assert!(!list.contains("XDM/1.0"), "the machine's prefix is not for people: {list}");
    open_first(&mut browser);
    browser.photograph(&pictures.join("letter.png"));
    let letter = browser.value("document.querySelector('article').innerText").to_string();
    assert!(letter.contains("Votre compte rendu est joint"), "{letter}");
    assert!(
        browser.value("document.querySelectorAll('.attachments a').length").as_u64() >= Some(1)
    );
    let marked = format!("Merci, {}", uuid::Uuid::new_v4().simple());
    answer(&mut browser, &marked);
    browser.wait_for("document.querySelector('.done')");
    browser.photograph(&pictures.join("answered.png"));
    // Reloading the page of an answer sends nothing again.
    browser.value("location.reload()");
    browser.wait_for("document.querySelector('.letters')");

    let mut imap = running.imap(0, TEAM).await;
    imap.command("SELECT INBOX").await.unwrap();
    let found = imap.command(&format!("SEARCH TEXT \"{marked}\"")).await.unwrap();
    let found = String::from_utf8(found.concat()).unwrap();
    assert_eq!(found.lines().find(|line| line.starts_with("* SEARCH")), Some("* SEARCH 1"));
    let header = imap.command("FETCH 1 (BODY.PEEK[HEADER])").await.unwrap().concat();
    let header = String::from_utf8_lossy(&header).into_owned();
    assert!(header.contains("In-Reply-To: <demo-"), "{header}");
    assert!(header.contains("with HTTPS"), "{header}");

    // FIN closes the exchange, a later letter opens it again.
    write_to_ada(&running, "[FIN]").await;
    browser.go(&format!("{site}/inbox"));
    browser.wait_for("document.querySelectorAll('.letters tbody tr').length == 2");
    open_first(&mut browser);
    assert_eq!(browser.value("document.querySelectorAll('textarea').length"), 0);
    browser.wait_for("document.querySelector('.closed')");
    browser.photograph(&pictures.join("closed.png"));
    write_to_ada(&running, "De nouveau").await;
    browser.go(&format!("{site}/inbox"));
    browser.wait_for("document.querySelectorAll('.letters tbody tr').length == 3");
    open_first(&mut browser);
    browser.wait_for("document.querySelector('textarea')");
    // A form that was open before FIN came is refused by the rule itself.
    write_to_ada(&running, "[FIN]").await;
    answer(&mut browser, "Trop tard");
    browser.wait_for("document.querySelector('[role=alert], .closed')");
    let found = imap.command("SEARCH TEXT \"Trop tard\"").await.unwrap();
    let found = String::from_utf8(found.concat()).unwrap();
    assert!(found.lines().any(|line| line.trim_end() == "* SEARCH"), "{found}");

    // The other patient's only letter says X-MSS-MES: FIN.
    let mut other = visit(&site, BASILE.split('@').next().unwrap(), &running.password(BASILE));
    open_first(&mut other);
    other.wait_for("document.querySelector('.closed')");
    let broken: Vec<_> =
        browser.complaints.iter().filter(|text| text.contains("Content Security")).collect();
    assert!(broken.is_empty(), "{broken:?}");
    // The page is a patient's only door.
    for door in ["submissions", "imaps"] {
        let (address, tls) = (running.door(0, door), running.tls());
        let refused = match door {
            "imaps" => Imap::open(address, &tls, ADA, &password).await.err(),
            _ => Submission::open(address, &tls, ADA, &password).await.err(),
        };
        let refused = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("535") || refused.contains("AUTHENTICATIONFAILED"), "{refused}");
    }
    // What came in through the page lies nowhere to be read, either.
    for file in disk::files(&running.data_dir(0)) {
        let octets = std::fs::read(&file).unwrap_or_default();
        for needle in disk::needles(&marked["Merci, ".len()..]) {
            assert!(!disk::find(&octets, &needle), "the answer in {}", file.display());
        }
        assert!(!disk::find(&octets, number.as_bytes()), "the INS in {}", file.display());
    }
    let log = running.log();
    assert!(log.contains("a letter was taken in"), "{log}");
    for secret in [number, "compte rendu est joint", &marked, "De nouveau"] {
        assert!(!log.contains(secret), "{secret} in the log");
    }
}

#[test]
fn the_dashboard_and_the_command_line_tell_the_same_figures() {
    let running = Running::new(&[]);
    let site = format!("https://127.0.0.1:{}", running.port(0, "https"));
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portal");
    std::fs::create_dir_all(&pictures).unwrap();
    let mut browser = Chromium::open();
    browser.go(&format!("{site}/admin?lang=en"));
    browser.wait_for("location.pathname == '/admin/login'");
    browser.log_in("admin", running.json["admin"]["password"].as_str().unwrap());
    browser.wait_for("document.querySelector('svg')");
    browser.photograph(&pictures.join("dashboard.png"));
    let table = browser.value(
        "JSON.stringify([...document.querySelectorAll('table')].map(table =>
            [...table.rows].map(row => [...row.cells].map(cell => cell.innerText.trim()))))",
    );
    let tables: serde_json::Value = serde_json::from_str(table.as_str().unwrap()).unwrap();
    let config = running.json["operators"][0]["config"].as_str().unwrap();
    let program = env!("CARGO_BIN_EXE_vaguemestre");
    let told = running::run(program, &["stats", "show", "--json", "--config", config]);
    let rows: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let rows = rows["rows"].as_array().unwrap();
    let count = |event: &str| -> u64 {
        let of = rows.iter().filter(|row| row["event"] == event);
        of.map(|row| row["count"].as_u64().unwrap()).sum()
    };
    assert_eq!((count("sent"), count("received"), count("accepted")), (6, 4, 7));
    // Behind the day: accepted, sent, received, refused, relayed, deferred, failed.
    let numbers = |table: &serde_json::Value| -> Option<Vec<u64>> {
        let cells = table[1].as_array()?.get(1..)?.iter();
        cells.map(|cell| cell.as_str()?.parse().ok()).collect()
    };
    let of_days = |numbers: &Vec<u64>| numbers.len() == 7;
    let page = tables.as_array().unwrap().iter().filter_map(numbers).find(of_days).unwrap();
    let events = ["accepted", "sent", "received", "refused", "relayed", "deferred", "failed"];
    assert_eq!(page, events.map(count), "{tables}");
}
