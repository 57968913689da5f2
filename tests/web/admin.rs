//! What an administrator sees.
use std::io::Write;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use axum::http::StatusCode;
use vaguemestre::domain::fact::Counterpart;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::time::Day;
use vaguemestre::server::web::desk::House;

use super::browser::Browser;
use super::paper;
use super::paper::Paper;

pub(super) fn password_file() -> tempfile::NamedTempFile {
    let cheap = argon2::Params::new(64, 1, 1, None).unwrap();
    let argon = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, cheap);
    let hash = argon.hash_password_with_salt(b"tableau", b"0123456789abcdef").unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{hash}").unwrap();
    file
}

pub(super) fn house(file: &tempfile::NamedTempFile) -> House {
    House { admin_password_file: Some(file.path().to_owned()), ..paper::house() }
}

pub(super) async fn log_in(browser: &mut Browser, name: &str, password: &str) -> StatusCode {
    let form = browser.get("/admin/login").await.hidden("form");
    let fields = [("form", form.as_str()), ("name", name), ("password", password)];
    browser.post("/admin/login", &fields).await.status
}

#[tokio::test]
async fn only_name_and_password_together_open_the_dashboard() {
    let paper = Arc::new(Paper::default());
    let file = password_file();
    let mut browser = Browser::new(paper::site(&paper, house(&file)));
    assert_eq!(browser.get("/admin").await.header("location"), "/admin/login");
    assert_eq!(browser.get("/admin/statistics.csv").await.header("location"), "/admin/login");
    for (name, password) in [("admin", "faux"), ("autre", "tableau"), ("", "")] {
        assert_eq!(log_in(&mut browser, name, password).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(log_in(&mut browser, "admin", "tableau").await, StatusCode::SEE_OTHER);
    assert_eq!(browser.get("/admin").await.status, StatusCode::OK);
    // An administrator is nobody's patient.
    assert_eq!(browser.get("/inbox").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let paper = Arc::new(Paper::default());
    let file = password_file();
    let mut browser = Browser::new(paper::site(&paper, house(&file)));
    for _ in 0..5 {
        assert_eq!(log_in(&mut browser, "admin", "faux").await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(log_in(&mut browser, "admin", "tableau").await, StatusCode::TOO_MANY_REQUESTS);
    paper.clock.fetch_add(60_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(log_in(&mut browser, "admin", "tableau").await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn without_a_password_file_the_dashboard_is_closed() {
    let paper = Arc::new(Paper::default());
    let mut browser = Browser::new(paper::site(&paper, paper::house()));
    let page = browser.get("/admin/login").await;
    assert!(page.body.contains("admin.password_file") && !page.body.contains("<input"));
    let house = House { admin_password_file: Some("/nowhere/at/all".into()), ..paper::house() };
    let mut browser = Browser::new(paper::site(&paper, house));
    assert_eq!(log_in(&mut browser, "admin", "").await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_patient_is_no_administrator() {
    let paper = Arc::new(Paper::default());
    let mut browser = Browser::new(paper::site(&paper, paper::house()));
    browser.log_in().await;
    assert_eq!(browser.get("/admin").await.header("location"), "/admin/login");
    assert_eq!(browser.get("/admin/statistics.csv").await.header("location"), "/admin/login");
}

#[tokio::test]
async fn the_dashboard_shows_figures_of_its_period() {
    let paper = Arc::new(Paper::default());
    let day = |day| Day { year: 2026, month: 11, day };
    let stat = |at, event: &str, reason: &str, count| {
        let kind = MailboxKind::Applicative;
        paper::stat(at, "hopital.mssante.test", kind, Counterpart::Patient, event, reason, count)
    };
    *paper.rows.lock().unwrap() = vec![
        stat(day(22), "sent", "", 11),
        stat(day(17), "sent", "", 200),
        stat(day(1), "sent", "", 3_000),
        stat(day(22), "refused", "mailbox-unknown", 4),
    ];
    let file = password_file();
    let mut browser = Browser::new(paper::site(&paper, house(&file)));
    log_in(&mut browser, "admin", "tableau").await;
    for (query, sent) in [("1", "11"), ("7", "211"), ("30", "3,211"), ("999", "211")] {
        let page = browser.get(&format!("/admin?days={query}&lang=en")).await;
        let total = format!("<span class=\"figure\">{sent}</span> Sent");
        assert!(page.body.contains(&total), "{query}: {}", page.body);
    }
    let page = browser.get("/admin?lang=en").await.body;
    for part in [
        "<svg",
        "role=\"img\"",
        "<caption>By day</caption>",
        "scope=\"col\"",
        "scope=\"row\"",
        "APP – application",
        "mailbox-unknown",
        "1,842 domains",
        "renew soon",
        "3 recipients waiting",
        "535,928 rows, 501,417 mailboxes",
        "the publisher answered 503",
        "17 (see",
        "<th scope=\"row\">imap</th><td>password</td><td>refused</td><td>1,204</td>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let csv = browser.get("/admin/statistics.csv?days=30").await;
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"statistics.csv\"");
    assert_eq!(csv.body.lines().count(), 5);
    assert!(csv.body.contains("2026-11-22,hopital.mssante.test,APP,patient,sent,,11,550000"));
}
