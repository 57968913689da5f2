//! What holds for every page.
use std::sync::Arc;

use axum::http::Method;
use axum::http::StatusCode;

use vaguemestre::domain::address::Domain;
use vaguemestre::domain::limits;
use vaguemestre::server::web::desk::House;

use super::browser::Browser;
use super::paper;
use super::paper::Paper;

fn browser() -> (Browser, Arc<Paper>) {
    let paper = Arc::new(Paper::default());
    (Browser::new(paper::site(&paper, paper::house())), paper)
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let (mut browser, _) = browser();
    browser.log_in().await;
    for path in [
        "/",
        "/inbox",
        "/inbox/login",
        "/inbox/1/1",
        "/admin",
        "/admin/login",
        "/style.css",
        "/passkey.js",
        "/nothing",
        "/healthz",
        "/inbox/x/y",
        "/trust/liste-blanche.xml",
    ] {
        let reply = browser.get(path).await;
        let policy = reply.header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert!(reply.header("strict-transport-security").starts_with("max-age="), "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        let cached = ["/style.css", "/passkey.js"].contains(&path);
        assert_eq!(reply.header("cache-control") != "no-store", cached, "{path}");
        assert!(!reply.body.contains("<script"), "{path}");
        assert!(!reply.body.contains("style=\""), "{path}: the policy forbids inline style");
    }
}

#[tokio::test]
async fn errors_are_pages_in_the_readers_language() {
    let (mut browser, _) = browser();
    let missing = browser.get("/nothing").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.body.contains("<html lang=\"fr\">"), "{}", missing.body);
    assert!(missing.body.contains("Page introuvable"));
    let missing = browser.get("/nothing?lang=en").await;
    assert!(missing.body.contains("Page not found"));
    let wrong = browser.ask(Method::DELETE, "/inbox", "", Vec::new()).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(wrong.body.contains("<h1>Method not allowed</h1>"), "{}", wrong.body);
    assert_eq!(wrong.header("allow"), "GET,HEAD");
    for method in [Method::GET, Method::HEAD, Method::PUT] {
        let wrong = browser.ask(method, "/inbox/logout", "", Vec::new()).await;
        assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let head = browser.ask(Method::HEAD, "/", "", Vec::new()).await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    let broken = browser.get("/inbox?before=x").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert!(broken.body.contains("Request not understood"), "{}", broken.body);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_a_page() {
    let (mut browser, _) = browser();
    let long = "x".repeat(100_000);
    let reply = browser.post("/inbox/login", &[("form", "x"), ("name", &long)]).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(reply.body.contains("Envoi trop volumineux"), "{}", reply.body);
}

#[tokio::test]
async fn the_language_is_asked_for_then_remembered_then_guessed() {
    let (mut browser, _) = browser();
    assert!(browser.get("/").await.body.contains("Bienvenue"));
    browser.headers.push(("accept-language", "en-GB,en;q=0.9,fr;q=0.5".to_owned()));
    assert!(browser.get("/").await.body.contains("<html lang=\"en\">"));
    let french = browser.get("/?lang=fr").await;
    assert!(french.body.contains("<html lang=\"fr\">"));
    let cookie = french.cookies()[0];
    assert!(cookie.starts_with("__Host-lang=fr;") && cookie.contains("Secure"), "{cookie}");
    assert!(browser.get("/").await.body.contains("Bienvenue"), "the choice was forgotten");
    assert!(browser.get("/?lang=xx").await.body.contains("Bienvenue"));
}

#[tokio::test]
async fn titles_are_unique_and_headings_begin_with_one() {
    let (mut browser, _) = browser();
    let mut titles = Vec::new();
    for path in ["/", "/inbox/login", "/admin/login", "/nothing"] {
        let body = browser.get(path).await.body;
        assert_eq!(body.matches("<h1").count(), 1, "{path}");
        assert!(body.contains("class=\"skip\" href=\"#main\""), "{path}");
        let title = body.split("<title>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        assert!(!titles.contains(&title), "{title} twice");
        titles.push(title);
    }
}

#[tokio::test]
async fn the_session_cookie_is_out_of_reach() {
    let (mut browser, _) = browser();
    let page = browser.get("/inbox/login").await;
    let fields = [
        ("form", page.hidden("form")),
        ("name", paper::INS.to_owned()),
        ("password", paper::PASSWORD.to_owned()),
    ];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
    browser.cookies.insert("__Host-vaguemestre".to_owned(), "fixed-by-a-stranger".to_owned());
    let reply = browser.post("/inbox/login", &fields).await;
    let cookies = reply.cookies();
    let session = cookies.iter().find(|c| c.starts_with("__Host-vaguemestre=")).unwrap();
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(session.contains(attribute), "{session}");
    }
    assert!(!session.contains("fixed-by-a-stranger") && !session.contains("Domain"), "{session}");
    assert!(!session.contains(paper::INS));
}

#[tokio::test]
async fn a_form_of_another_site_is_refused() {
    let (mut browser, paper) = browser();
    browser.log_in().await;
    let csrf = browser.get("/inbox").await.hidden("csrf");
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "http://inbox.test"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        browser.headers = vec![(name, value.to_owned())];
        let reply = browser.post("/inbox/logout", &[("csrf", &csrf)]).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{name}: {value}");
        assert!(reply.body.contains("Demande refusée"));
    }
    browser.headers = vec![("origin", "null".to_owned())];
    for csrf in ["", "x", "token-token-token-9999"] {
        let reply = browser.post("/inbox/logout", &[("csrf", csrf)]).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(browser.get("/inbox").await.status, StatusCode::OK, "still logged in");
    browser.headers = vec![("origin", "https://inbox.test".to_owned())];
    let reply = browser.post("/inbox/logout", &[("csrf", &csrf)]).await;
    assert_eq!(reply.header("location"), "/inbox/login?out=1");
    assert_eq!(browser.get("/inbox").await.status, StatusCode::SEE_OTHER);
    drop(paper);
}

#[tokio::test]
async fn a_login_form_of_another_browser_is_refused() {
    let (mut browser, _) = browser();
    let page = browser.get("/inbox/login").await;
    let token = page.hidden("form");
    let fields = |form| [("form", form), ("name", paper::INS), ("password", paper::PASSWORD)];
    let cookies = std::mem::take(&mut browser.cookies);
    let reply = browser.post("/inbox/login", &fields(&token)).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "without the cookie");
    browser.cookies = cookies.clone();
    let reply = browser.post("/inbox/login", &fields("")).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "without the field");
    assert!(!browser.cookies.contains_key("__Host-vaguemestre"));
    browser.cookies = cookies;
    let reply = browser.post("/inbox/login", &fields(&token)).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn the_trust_list_is_served_as_it_lies_here() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let list = "<?xml version=\"1.0\"?><liste><script>alert(1)</script></liste>";
    std::fs::write(file.path(), list).unwrap();
    let house =
        vaguemestre::server::web::desk::House { trust_list: file.path().into(), ..paper::house() };
    let mut browser = Browser::new(paper::site(&Arc::new(Paper::default()), house));
    let reply = browser.get("/trust/liste-blanche.xml").await;
    assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, list));
    assert_eq!(reply.header("content-type"), "application/xml; charset=utf-8");
    // Even a list that somebody else wrote runs nothing in a browser.
    assert!(reply.header("content-security-policy").contains("default-src 'none'"));
    drop(file);
    let reply = browser.get("/trust/liste-blanche.xml").await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn whoever_lists_names_by_looking_keys_up_is_put_off() {
    let paper = Arc::new(Paper::default());
    let domain = Domain::parse("inbox.test").unwrap();
    let house = House { certificates_of: vec![domain], ..paper::house() };
    let mut browser = Browser::new(paper::site(&paper, house));
    let hashed = "/.well-known/openpgpkey/hu/ybndrfg8ejkmcpqxot1uwisza345h769?l=x";
    let asked = "/pks/lookup?op=get&search=x%40inbox.test";
    for number in 0..limits::KEY_LOOKUPS_A_MINUTE {
        let path = if number % 2 == 0 { hashed } else { asked };
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{number}");
    }
    // By either way, and whatever is asked.
    for path in [hashed, asked, "/pks/lookup?op=get&search=nonsense"] {
        assert_eq!(browser.get(path).await.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
    }
    paper.clock.fetch_add(60_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(browser.get(asked).await.status, StatusCode::NOT_FOUND, "a minute later");
}
