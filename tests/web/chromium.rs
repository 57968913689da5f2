//! The pages in a real browser, behind a desk of paper.
use std::sync::Arc;

use serde_json::json;
use vaguemestre::domain::login::Scope;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::directory::accounts::app_passwords::AppPassword;
use vaguemestre::infra::directory::accounts::app_passwords::Use;
use vaguemestre::infra::directory::factors::Overview;
use vaguemestre::infra::directory::factors::passkeys::Passkey;

use super::admin;
use super::door;
use super::gallery;
use super::paper;
use super::paper::Paper;
use crate::support::chromium::Chromium;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patient_reads_and_answers_in_a_real_browser() {
    let paper = Arc::new(Paper::default());
    *paper.letters.lock().unwrap() = gallery::letters();
    *paper.rows.lock().unwrap() = gallery::figures();
    let file = admin::password_file();
    let door = door::open_for(door::ROOMY, &paper, admin::house(&file)).await;
    let site = format!("https://localhost:{}", door.address.port());

    let drive = move || {
        let mut browser = Chromium::open();
        browser.go(&format!("{site}/inbox?lang=fr"));
        browser.wait_for("location.pathname == '/inbox/login'");
        browser.log_in(paper::INS, "faux");
        browser.wait_for("document.querySelector('[role=alert]')");
        browser.log_in(paper::INS, paper::PASSWORD);
        browser.wait_for("location.pathname == '/inbox'");
        assert_eq!(browser.value("document.querySelectorAll('tbody tr').length"), 4);
        // The sheet came through the policy, and no cookie is in a script's reach.
        assert_eq!(browser.value("getComputedStyle(document.body).display"), "flex");
        assert_eq!(browser.value("document.cookie"), "");

        browser.value("document.querySelector('.subject a').click()");
        browser.wait_for("document.querySelector('textarea')");
        let letter = browser.value("document.querySelector('article').innerText").to_string();
        assert!(letter.contains("Votre compte rendu est joint"), "{letter}");
        browser.value(
            "document.querySelector('textarea').value = 'Merci à vous.';
             document.querySelector('textarea').form.requestSubmit()",
        );
        browser.wait_for("document.querySelector('.done')");
        assert_eq!(
            browser.value("document.querySelector('.done').innerText"),
            "Votre réponse est envoyée."
        );
        browser.value("document.querySelector('.tools form button').click()");
        browser.wait_for("location.search == '?out=1'");

        browser.go(&format!("{site}/admin"));
        browser.wait_for("location.pathname == '/admin/login'");
        browser.log_in("admin", "tableau");
        browser.wait_for("document.querySelectorAll('svg rect').length > 5");
        let broken: Vec<_> =
            browser.complaints.iter().filter(|text| text.contains("Content Security")).collect();
        assert!(broken.is_empty(), "{broken:?}");
    };
    tokio::task::spawn_blocking(drive).await.unwrap();
    let sent = paper.sent.lock().unwrap();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].letter.contains("Merci =C3=A0 vous."), "{}", sent[0].letter);
}

/// At 320 px and at a doubled font nothing may need sideways scrolling but wide tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_fit_a_small_screen_and_large_print() {
    let paper = Arc::new(Paper::default());
    *paper.letters.lock().unwrap() = gallery::letters();
    *paper.rows.lock().unwrap() = gallery::figures();
    let file = admin::password_file();
    let door = door::open_for(door::ROOMY, &paper, admin::house(&file)).await;
    let site = format!("https://localhost:{}", door.address.port());
    let drive = move || {
        let mut browser = Chromium::open();
        let fits = |browser: &mut Chromium, path: &str, ready: &str| {
            browser.go(&format!("{site}{path}"));
            browser.wait_for(ready);
            for (width, size) in [(320, "100%"), (360, "100%"), (640, "200%")] {
                let screen =
                    json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
                browser.call("Emulation.setDeviceMetricsOverride", screen);
                browser.value(&format!("document.documentElement.style.fontSize = '{size}'"));
                let wide = browser.value("document.documentElement.scrollWidth");
                assert!(wide.as_u64().unwrap() <= width, "{path}: {wide} px of {width}");
            }
        };
        fits(&mut browser, "/", "document.querySelector('.cards')");
        fits(&mut browser, "/inbox/login", "document.querySelector('#name')");
        browser.log_in(paper::INS, paper::PASSWORD);
        browser.wait_for("document.querySelector('.letters')");
        fits(&mut browser, "/inbox", "document.querySelector('.letters')");
        fits(&mut browser, "/inbox/1/9", "document.querySelector('textarea')");
        fits(&mut browser, "/inbox/1/8", "document.querySelector('div.body')");
        fits(&mut browser, "/admin/login", "document.querySelector('#name')");
        browser.log_in("admin", "tableau");
        browser.wait_for("document.querySelector('svg')");
        fits(&mut browser, "/admin?days=30", "document.querySelector('svg')");
    };
    tokio::task::spawn_blocking(drive).await.unwrap();
}

fn passkey(name: &str, is_copied: bool) -> Passkey {
    let since = Timestamp::from_millis(paper::NOW);
    let (handle, used) = (uuid::Uuid::new_v4(), (!is_copied).then_some(since));
    Passkey { handle, name: name.to_owned(), since, used, is_copied }
}

fn program(name: &str, used: bool, until: Option<u64>) -> AppPassword {
    AppPassword {
        name: name.to_owned(),
        scope: Scope { send: used, read: true },
        network: None,
        created: Timestamp::from_millis(paper::NOW - 86_400_000 * 40),
        author: "claire".to_owned(),
        until: until.map(Timestamp::from_millis),
        used: used.then(|| Use {
            at: Timestamp::from_millis(paper::NOW - 3_600_000),
            ip: Some("2001:db8:85a3::8a2e:370:7334".parse().unwrap()),
            door: "imap".to_owned(),
        }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_professionals_and_administrators_fit_a_telephone_in_both_languages() {
    let paper = Arc::new(Paper::default());
    *paper.kind.lock().unwrap() = MailboxKind::Personal;
    *paper.programs.lock().unwrap() = vec![
        program("Thunderbird du cabinet", true, None),
        program("téléphone", false, Some(paper::NOW + 86_400_000)),
        program("un-nom-très-long-sans-espaces-que-quelqu-un-a-collé", true, Some(paper::NOW)),
    ];
    let file = admin::password_file();
    let door = door::open_for(door::ROOMY, &paper, admin::house(&file)).await;
    let site = format!("https://localhost:{}", door.address.port());
    let pictures = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&pictures).unwrap();

    let drive = move || {
        let mut browser = Chromium::open();
        let look = |browser: &mut Chromium, path: &str| {
            for lang in ["fr", "en"] {
                browser.go(&format!("{site}{path}?lang={lang}"));
                browser.wait_for(&format!(
                    "location.pathname == '{path}' && document.documentElement.lang == '{lang}'"
                ));
                // What a screen reader says: one title, and a name for every field.
                assert_eq!(browser.value("document.querySelectorAll('h1').length"), 1, "{path}");
                let fields = "input:not([type=hidden]), select, textarea";
                let nameless = format!(
                    "[...document.querySelectorAll('{fields}')]
                     .filter(f => !f.labels.length && !f.ariaLabel).length"
                );
                assert_eq!(browser.value(&nameless), 0, "{path}");
                assert_eq!(browser.value("document.querySelectorAll('script').length"), 0);
                for width in [1_000, 320] {
                    let screen = json!({"width": width, "height": 1_100, "deviceScaleFactor": 1,
                                        "mobile": false});
                    browser.call("Emulation.setDeviceMetricsOverride", screen);
                    let wide = browser.value("document.documentElement.scrollWidth");
                    let name = path.trim_start_matches('/').replace('/', "-");
                    browser.photograph(&pictures.join(format!("{name}-{lang}-{width}.png")));
                    assert!(wide.as_u64().unwrap() <= width, "{path}: {wide} px of {width}");
                }
            }
        };
        let name = format!("{}@patient.mssante.test", paper::INS);
        browser.go(&format!("{site}/account/login"));
        browser.wait_for("document.querySelector('#name')");
        browser.log_in(&name, paper::PASSWORD);
        browser.wait_for("location.pathname == '/account'");
        for path in ["/account", "/account/app-passwords", "/account/factors", "/account/directory"]
        {
            look(&mut browser, path);
        }
        let codes = Overview {
            totp_since: Some(Timestamp::from_millis(paper::NOW)),
            recovery_codes: 9,
            passkeys: vec![passkey("téléphone", false), passkey(&"m".repeat(60), true)],
        };
        *paper.factors.lock().unwrap() = codes;
        browser.value("document.querySelector('.tools form button').click()");
        browser.wait_for("location.search == '?out=1'");
        browser.log_in(&name, paper::PASSWORD);
        browser.wait_for("location.pathname == '/account/second'");
        look(&mut browser, "/account/second");
        browser.value(
            "document.querySelector('#code').value = '123456';
             document.querySelector('main form button').click()",
        );
        browser.wait_for("location.pathname == '/account'");
        look(&mut browser, "/account/factors");
        browser.go(&format!("{site}/admin"));
        browser.wait_for("location.pathname == '/admin/login'");
        browser.log_in("admin", "tableau");
        browser.wait_for("location.pathname == '/admin'");
        look(&mut browser, "/admin/mailboxes");
        let broken: Vec<_> =
            browser.complaints.iter().filter(|text| text.contains("Content Security")).collect();
        assert!(broken.is_empty(), "{broken:?}");
    };
    tokio::task::spawn_blocking(drive).await.unwrap();
}
