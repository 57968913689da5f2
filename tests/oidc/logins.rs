//! Logins of the pages: ID tokens and logout messages that must not be believed.
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;
use vaguemestre::domain::secret::Secret;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::ManualClock;
use vaguemestre::infra::directory::DirectoryError;
use vaguemestre::infra::directory::oidc::Oidc;
use vaguemestre::infra::directory::oidc::Person;

use super::fake;
use super::fake::CLIENT;
use super::fake::ELOISE;
use super::fake::Fake;
use super::fake::Key;
use super::fake::NOW;

const BACK: &str = "https://pages.test/login/oidc/callback";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

struct Case {
    fake: Arc<Fake>,
    key: Key,
    clock: Arc<ManualClock>,
    oidc: Oidc,
}

/// A browser that was sent to the provider, and what it carries there.
struct Sent {
    cookie: Secret<String>,
    to: String,
}

impl Sent {
    fn field(&self, name: &str) -> String {
        let (_, query) = self.to.split_once('?').unwrap();
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        pair.unwrap_or_else(|| panic!("no {name} in {}", self.to)).to_owned()
    }
}

fn changed(mut claims: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

impl Case {
    async fn new() -> Self {
        let key = Key::rsa("k1");
        let fake = Fake::open(&[&key]).await;
        let clock = fake::clock();
        let oidc = fake.directory(&clock);
        Self { fake, key, clock, oidc }
    }

    async fn send(&self) -> Sent {
        let cookie = self.oidc.browser(&Secret::new("0123456789abcdef".to_owned()));
        let to = self.oidc.authorization(&cookie, BACK, "fr").await.unwrap();
        Sent { cookie, to }
    }

    fn id_claims(&self, nonce: &str) -> Value {
        json!({
            "iss": self.fake.issuer, "sub": "f:1", "aud": CLIENT, "azp": CLIENT, "iat": NOW,
            "exp": NOW + 300, "nonce": nonce, "acr": "eidas1", "sid": "s1",
            "SubjectNameID": ELOISE,
        })
    }

    async fn back(&self, sent: &Sent, id_token: &str) -> Result<Option<Person>, DirectoryError> {
        let tokens =
            json!({"access_token": "access", "token_type": "Bearer", "id_token": id_token});
        self.fake.words.lock().unwrap().tokens = tokens;
        let state = sent.field("state");
        self.oidc.arrived(&sent.cookie, BACK, &state, "code", None).await
    }
}

#[tokio::test]
async fn a_browser_is_sent_with_pkce_state_and_nonce_and_its_code_is_exchanged_with_the_verifier() {
    let case = Case::new().await;
    let sent = case.send().await;
    assert!(sent.to.starts_with(&format!("{}/auth?response_type=code&", case.fake.issuer)));
    assert_eq!(sent.field("code_challenge_method"), "S256");
    assert_eq!(sent.field("scope"), "openid+scope_all");
    assert_eq!(sent.field("acr_values"), "eidas1");
    assert_eq!(sent.field("redirect_uri"), "https%3A%2F%2Fpages.test%2Flogin%2Foidc%2Fcallback");
    let id_token = case.key.token(json!({}), &case.id_claims(&sent.field("nonce")));
    let person = case.back(&sent, &id_token).await.unwrap().unwrap();
    assert_eq!(person.national_id, ELOISE);
    assert_eq!((person.subject.as_str(), person.sid.as_deref()), ("f:1", Some("s1")));
    let (form, credentials) = case.fake.asked.lock().unwrap().last().unwrap().clone();
    let verifier = form.split("code_verifier=").nth(1).unwrap();
    assert!(verifier.len() >= 43, "RFC 7636 §4.1");
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    assert_eq!(challenge, sent.field("code_challenge"));
    assert!(credentials.starts_with("Basic "));
}

#[tokio::test]
async fn an_id_token_for_another_browser_client_or_moment_logs_nobody_in() {
    let case = Case::new().await;
    let sent = case.send().await;
    let nonce = sent.field("nonce");
    let half = &digest::digest(&digest::SHA256, b"access").as_ref()[..16].to_vec();
    let at_hash = URL_SAFE_NO_PAD.encode(half);
    for (changes, good) in [
        (json!({"at_hash": at_hash}), true),
        (json!({"typ": "ID"}), true),
        (json!({"aud": [CLIENT, "other"]}), true),
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), false),
        (json!({"nonce": "another"}), false),
        (json!({"nonce": ""}), false),
        (json!({"nonce": null}), false),
        (json!({"aud": "other"}), false),
        (json!({"aud": null}), false),
        (json!({"azp": "other"}), false),
        (json!({"aud": [CLIENT, "other"], "azp": null}), false),
        (json!({"iss": "https://evil.example"}), false),
        (json!({"exp": NOW - 61}), false),
        (json!({"exp": null}), false),
        (json!({"iat": NOW + 61}), false),
        (json!({"acr": "eidas0"}), false),
        (json!({"typ": "Bearer"}), false),
        (json!({"sub": null}), false),
    ] {
        let id_token = case.key.token(json!({}), &changed(case.id_claims(&nonce), &changes));
        assert_eq!(case.back(&sent, &id_token).await.unwrap().is_some(), good, "{changes}");
    }
    let forged = Key::rsa("k1").token(json!({}), &case.id_claims(&nonce));
    assert!(case.back(&sent, &forged).await.unwrap().is_none());
    let unsigned = fake::message(r#"{"alg":"none"}"#, &case.id_claims(&nonce).to_string());
    assert!(case.back(&sent, &format!("{unsigned}.")).await.unwrap().is_none());
    let secret = fake::by_hmac(
        &json!({"alg": "HS256"}),
        &case.id_claims(&nonce),
        b"un secret: \xc3\xa0 tous",
    );
    assert!(case.back(&sent, &secret).await.unwrap().is_none());
}

#[tokio::test]
async fn only_the_browser_that_was_sent_may_come_back_and_soon_and_from_that_provider() {
    let case = Case::new().await;
    let sent = case.send().await;
    let (state, nonce) = (sent.field("state"), sent.field("nonce"));
    let good = case.key.token(json!({}), &case.id_claims(&nonce));
    assert!(case.back(&sent, &good).await.unwrap().is_some());
    let before = case.fake.asked.lock().unwrap().len();
    let arrived = async |cookie: &str, state: &str, issuer: Option<&str>| {
        let cookie = Secret::new(cookie.to_owned());
        case.oidc.arrived(&cookie, BACK, state, "code", issuer).await.unwrap().is_some()
    };
    let cookie = sent.cookie.expose().as_str();
    for (cookie, state) in [
        (cookie, "another"),
        (cookie, ""),
        ("", state.as_str()),
        ("1795358400.another", state.as_str()),
        ("99999999999999999999.x", state.as_str()),
        ("18446744073709551615.x", state.as_str()),
    ] {
        assert!(!arrived(cookie, state, None).await, "{cookie} {state}");
    }
    assert!(!arrived(cookie, &state, Some("https://evil.example")).await);
    assert_eq!(case.fake.asked.lock().unwrap().len(), before, "nobody was asked about them");
    assert!(arrived(cookie, &state, Some(&case.fake.issuer)).await);
    case.clock.set(case.clock.now().after(Duration::from_secs(901)));
    assert!(!arrived(cookie, &state, None).await, "too long at the provider");
    // Another process, or the same one after a restart, has sent nobody.
    let other = case.fake.directory(&case.clock);
    let back = other.arrived(&sent.cookie, BACK, &state, "code", None).await;
    assert!(back.unwrap().is_none());
}

#[tokio::test]
async fn a_provider_that_names_itself_must_do_so_in_every_answer() {
    let case = Case::new().await;
    let name = "authorization_response_iss_parameter_supported";
    case.fake.words.lock().unwrap().description[name] = json!(true);
    let sent = case.send().await;
    let id_token = case.key.token(json!({}), &case.id_claims(&sent.field("nonce")));
    assert!(case.back(&sent, &id_token).await.unwrap().is_none(), "RFC 9207 §2.4");
}

#[tokio::test]
async fn a_refused_code_is_no_login_and_a_refused_secret_is_our_own_trouble() {
    let case = Case::new().await;
    let sent = case.send().await;
    let state = sent.field("state");
    for (status, error, is_ours) in [
        (StatusCode::BAD_REQUEST, "invalid_grant", false),
        (StatusCode::BAD_REQUEST, "invalid_client", true),
        (StatusCode::UNAUTHORIZED, "invalid_client", true),
        (StatusCode::SERVICE_UNAVAILABLE, "later", true),
    ] {
        {
            let mut words = case.fake.words.lock().unwrap();
            (words.status, words.tokens) = (status, json!({"error": error}));
        }
        let back = case.oidc.arrived(&sent.cookie, BACK, &state, "code", None).await;
        match back {
            Ok(None) => assert!(!is_ours, "{error}"),
            Err(DirectoryError::Away { .. }) => assert!(is_ours, "{error}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_logout_message_is_believed_once_and_only_if_it_is_one() {
    let case = Case::new().await;
    let claims = |changes: Value| {
        let claims = json!({
            "iss": case.fake.issuer, "aud": CLIENT, "iat": NOW, "exp": NOW + 120, "jti": "j1",
            "events": {EVENT: {}}, "sid": "s1", "sub": "f:1",
        });
        changed(claims, &changes)
    };
    let told = async |token: &str| case.oidc.logged_out(token).await.unwrap();
    let signed = |changes: Value| case.key.token(json!({"typ": "logout+jwt"}), &claims(changes));
    for (number, bad) in [
        json!({"nonce": "n"}),
        json!({"events": null}),
        json!({"events": EVENT}),
        json!({"events": {}}),
        json!({"events": {EVENT: "yes"}}),
        json!({"sid": null, "sub": null}),
        json!({"sid": "", "sub": ""}),
        json!({"aud": "other"}),
        json!({"iss": "https://evil.example"}),
        json!({"exp": NOW - 61}),
        json!({"exp": null}),
        json!({"iat": null}),
        json!({"iat": NOW + 61}),
        json!({"jti": null}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut bad = bad;
        if bad.get("jti").is_none() {
            bad["jti"] = json!(format!("bad-{number}"));
        }
        assert_eq!(told(&signed(bad.clone())).await, None, "{bad}");
    }
    for header in [json!({"typ": "at+jwt"}), json!({"alg": "none"}), json!({"alg": "HS256"})] {
        assert_eq!(
            told(&case.key.token(header.clone(), &claims(json!({})))).await,
            None,
            "{header}"
        );
    }
    assert_eq!(told(&Key::rsa("k1").token(json!({}), &claims(json!({})))).await, None);
    let good = signed(json!({}));
    let token = told(&good).await.unwrap();
    assert_eq!((token.sid.as_deref(), token.subject.as_deref()), (Some("s1"), Some("f:1")));
    assert_eq!(told(&good).await, None, "it was shown before");
    assert!(told(&signed(json!({"jti": "j2", "sid": null}))).await.is_some());
    let keycloak =
        case.key.token(json!({"typ": "JWT"}), &claims(json!({"jti": "j3", "typ": "Logout"})));
    assert!(told(&keycloak).await.is_some());
}

#[tokio::test]
async fn logging_out_here_names_the_session_at_the_provider() {
    let case = Case::new().await;
    let token = Secret::new("id.token.x".to_owned());
    let to = case.oidc.end_session(&token, "https://pages.test/out").await.unwrap();
    let start = format!("{}/logout?id_token_hint=id.token.x&client_id={CLIENT}", case.fake.issuer);
    assert!(to.starts_with(&start), "{to}");
    assert!(to.ends_with("post_logout_redirect_uri=https%3A%2F%2Fpages.test%2Fout"), "{to}");
}
