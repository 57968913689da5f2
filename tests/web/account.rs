//! A professional's own page: by password, and by a real OpenID provider in a real browser.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::secret::Secret;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::directory::oidc::Oidc;
use vaguemestre::infra::directory::oidc::Settings;
use vaguemestre::server::web::desk::Sso;

use super::browser::Browser;
use super::browser::Reply;
use super::door;
use super::paper;
use super::paper::ELOISE;
use super::paper::Paper;
use crate::oidc::real;
use crate::oidc::real::Provider;
use crate::support::chromium::Chromium;

const FIRST: &str = "eloise.lumier@cabinet.mssante.test";
const SECOND: &str = "lumier.cabinet@cabinet.mssante.test";

async fn log_in(browser: &mut Browser, name: &str, password: &str) -> Reply {
    let form = browser.get("/account/login").await.hidden("form");
    let fields = [("form", form.as_str()), ("name", name), ("password", password)];
    browser.post("/account/login", &fields).await
}

fn paper_of(kind: MailboxKind) -> Arc<Paper> {
    let paper = Arc::new(Paper::default());
    *paper.kind.lock().unwrap() = kind;
    paper
}

/// A provider that nobody asks in these tests.
fn sso(issuer: &str, public_url: &str) -> Sso {
    let list = |one: &str| vec![one.to_owned()];
    let settings = Settings {
        issuer: issuer.to_owned(),
        discovery: "/.well-known/openid-configuration".to_owned(),
        anchors: Vec::<PathBuf>::new(),
        client_id: Some("vaguemestre".to_owned()),
        client_secret: Some(Secret::new(real::SECRET.to_owned())),
        audiences: Vec::new(),
        clients: Vec::new(),
        algorithms: vec!["RS256".to_owned(), "ES256".to_owned()],
        acr: list("eidas1"),
        types: list("Bearer"),
        by_signature: true,
        by_introspection: false,
        subject_claim: "SubjectNameID".to_owned(),
        scope: "openid scope_all".to_owned(),
        acr_values: "eidas1".to_owned(),
        skew: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
    };
    let provider = Arc::new(Oidc::new(settings, Arc::new(SystemClock)).unwrap());
    Sso { provider, public_url: public_url.to_owned(), session: Duration::from_secs(14_400) }
}

#[tokio::test]
async fn a_professional_opens_their_page_by_password_and_nobody_elses() {
    let paper = paper_of(MailboxKind::Personal);
    let mut browser = Browser::new(paper::site(&paper, paper::house()));
    assert_eq!(browser.get("/account").await.header("location"), "/account/login");
    let name = format!("{}@patient.mssante.test", paper::INS);
    assert_eq!(log_in(&mut browser, &name, "faux").await.status, StatusCode::UNAUTHORIZED);
    let reply = log_in(&mut browser, &name, paper::PASSWORD).await;
    assert_eq!(reply.header("location"), "/account", "{}", reply.body);
    let page = browser.get("/account").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("PER – professionnel"), "{}", page.body);
    // It is neither a patient's inbox nor the dashboard.
    assert_eq!(browser.get("/inbox").await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get("/admin").await.header("location"), "/admin/login");
    // Without a provider nothing of it is there.
    assert_eq!(browser.get("/login/oidc").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        browser.get("/login/oidc/callback?state=a&code=b").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(browser.post("/login/oidc/logout", &[]).await.status, StatusCode::NOT_FOUND);
    let csrf = page.hidden("csrf");
    let refused = browser.post("/account/logout", &[("csrf", "another")]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let out = browser.post("/account/logout", &[("csrf", &csrf)]).await;
    assert_eq!(out.header("location"), "/account/login?out=1");
    assert_eq!(browser.get("/account").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_patient_does_not_come_in_by_the_professionals_door() {
    let paper = paper_of(MailboxKind::Citizen);
    let mut browser = Browser::new(paper::site(&paper, paper::house()));
    let name = format!("{}@patient.mssante.test", paper::INS);
    let reply = log_in(&mut browser, &name, paper::PASSWORD).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    browser.log_in().await;
    assert_eq!(browser.get("/account").await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get("/account/mailbox").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn who_comes_back_without_having_been_sent_is_not_let_in_and_is_soon_put_off() {
    let paper = paper_of(MailboxKind::Personal);
    // Nobody listens there: no answer of a provider is needed to refuse.
    *paper.sso.lock().unwrap() = Some(sso("http://127.0.0.1:1", "https://inbox.test"));
    let mut browser = Browser::new(paper::site(&paper, paper::house()));
    let reply = browser.get("/login/oidc").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.body.contains("ne répond pas"));
    let back = "/login/oidc/callback?state=a&code=b";
    assert_eq!(browser.get(back).await.status, StatusCode::FORBIDDEN, "no cookie");
    let denied = browser.get("/login/oidc/callback?error=access_denied&state=a").await;
    assert_eq!(denied.status, StatusCode::UNAUTHORIZED);
    let twice = browser.get("/login/oidc/callback?state=a&state=b&code=c").await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    for number in 0..60 {
        browser.cookies.insert("__Host-oidc".to_owned(), "1795358400.x".to_owned());
        let status = browser.get(back).await.status;
        let expected =
            if number < 50 { StatusCode::UNAUTHORIZED } else { StatusCode::TOO_MANY_REQUESTS };
        assert_eq!(status, expected, "{number}");
        assert!(!browser.cookies.contains_key("__Host-oidc"), "it is good for one time");
    }
    let reply = browser.post("/login/oidc/logout", &[("logout_token", "a.b.c")]).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.body, r#"{"error":"invalid_request"}"#);
    assert_eq!(reply.header("cache-control"), "no-store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_professional_logs_in_and_out_by_a_real_provider_in_a_real_browser() {
    let paper = paper_of(MailboxKind::Personal);
    *paper.held.lock().unwrap() = vec![FIRST, SECOND];
    let door = door::open_for(door::ROOMY, &paper, paper::house()).await;
    let site = format!("https://localhost:{}", door.address.port());
    let provider = Provider::open(&site, 120);
    *paper.sso.lock().unwrap() = Some(sso(&provider.issuer, &site));
    let issuer = provider.issuer.clone();
    let pictures = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("account");
    std::fs::create_dir_all(&pictures).unwrap();

    let drive = move || {
        let mut browser = Chromium::open();
        let photograph = |browser: &mut Chromium, name: &str| {
            for (width, scale) in [(1_000, 1), (320, 2)] {
                let screen = json!({"width": width, "height": 800, "deviceScaleFactor": scale, "mobile": false});
                browser.call("Emulation.setDeviceMetricsOverride", screen);
                let wide = browser.value("document.documentElement.scrollWidth");
                assert!(wide.as_u64().unwrap() <= width, "{name}: {wide} px of {width}");
                browser.photograph(&pictures.join(format!("{name}-{width}.png")));
            }
        };
        let enter = |browser: &mut Chromium, who: &str| {
            browser.go(&format!("{site}/account"));
            browser.wait_for("document.querySelector('a.provider')");
            browser.value("document.querySelector('a.provider').click()");
            browser.wait_for("document.querySelector('#who')");
            browser.value(&format!(
                "document.querySelector('#who').value = '{who}'; document.forms[0].submit()"
            ));
        };
        for lang in ["fr", "en"] {
            browser.go(&format!("{site}/account/login?lang={lang}"));
            browser.wait_for("document.querySelector('#name')");
            photograph(&mut browser, &format!("login-{lang}"));
        }
        // Somebody whom the provider knows, and we do not.
        enter(&mut browser, "899900009999");
        browser.wait_for("location.pathname == '/login/oidc/callback'");
        browser.wait_for("document.querySelector('[role=alert]')");
        browser.go(&format!("{issuer}/session/end"));
        browser.wait_for("document.querySelector('button')");
        browser.value("document.querySelector('button').click()");
        browser.wait_for("location.pathname != '/session/end'");

        enter(&mut browser, ELOISE);
        browser.wait_for("location.pathname == '/account/mailbox'");
        photograph(&mut browser, "choice-en");
        browser.value(&format!(
            "document.querySelector('[value=\"{SECOND}\"]').click();
             document.querySelector('main form button').click()"
        ));
        browser.wait_for("location.pathname == '/account'");
        let page = browser.value("document.querySelector('main').innerText").to_string();
        assert!(page.contains(SECOND), "{page}");
        for lang in ["en", "fr"] {
            browser.go(&format!("{site}/account?lang={lang}"));
            browser.wait_for(&format!("document.documentElement.lang == '{lang}'"));
            photograph(&mut browser, &format!("account-{lang}"));
        }
        // Our button ends the session at the provider, too, and comes back.
        browser.value("document.querySelector('.tools form button').click()");
        browser.wait_for("location.pathname == '/session/end'");
        browser.wait_for("document.querySelector('button')");
        browser.value("document.querySelector('button').click()");
        browser.wait_for("location.search == '?out=1'");

        // And its end there ends ours, without a word of the browser.
        enter(&mut browser, ELOISE);
        browser.wait_for("location.pathname == '/account/mailbox'");
        browser.go(&format!("{issuer}/session/end"));
        browser.wait_for("document.querySelector('button')");
        browser.value("document.querySelector('button').click()");
        browser.wait_for("location.pathname != '/session/end'");
        std::thread::sleep(Duration::from_millis(500));
        browser.go(&format!("{site}/account"));
        browser.wait_for("location.search == '?ended=1'");
        let broken: Vec<_> =
            browser.complaints.iter().filter(|text| text.contains("Content Security")).collect();
        assert!(broken.is_empty(), "{broken:?}");
    };
    tokio::task::spawn_blocking(drive).await.unwrap();
    drop(provider);
}
