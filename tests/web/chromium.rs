//! The pages in a real browser, behind a desk of paper.
use std::sync::Arc;

use serde_json::json;

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
