//! Tokens that must open nothing, and a provider that is slow, away or lies.
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use vaguemestre::domain::limits;
use vaguemestre::domain::login::Means;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::ManualClock;
use vaguemestre::infra::directory::Directory;
use vaguemestre::infra::directory::DirectoryError;
use vaguemestre::infra::directory::Verdict;
use vaguemestre::infra::directory::oidc::Oidc;

use super::fake;
use super::fake::ELOISE;
use super::fake::Fake;
use super::fake::Key;
use super::fake::NOW;

struct Case {
    fake: Arc<Fake>,
    key: Key,
    clock: Arc<ManualClock>,
    oidc: Oidc,
}

impl Case {
    async fn new() -> Self {
        let key = Key::rsa("k1");
        let fake = Fake::open(&[&key]).await;
        let clock = fake::clock();
        let oidc = fake.directory(&clock);
        Self { fake, key, clock, oidc }
    }

    /// A good token with these claims instead; `null` takes a claim away.
    fn with(&self, changes: Value) -> String {
        self.key.token(json!({"typ": "JWT"}), &self.claims(changes))
    }

    fn claims(&self, changes: Value) -> Value {
        let mut claims = self.fake.claims();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    fn later(&self, seconds: u64) {
        self.clock.set(self.clock.now().after(Duration::from_secs(seconds)));
    }
}

async fn show(oidc: &Oidc, token: &str) -> Result<Verdict, DirectoryError> {
    oidc.token("eloise.lumier@cabinet.mssante.test", &Secret::new(token.to_owned())).await
}

async fn opens(oidc: &Oidc, token: &str) -> bool {
    match show(oidc, token).await {
        Ok(Verdict::Known(known)) => {
            assert_eq!(known.national_id.as_deref(), Some(ELOISE));
            assert!(known.mailboxes.is_empty(), "a token names no mailbox");
            assert_eq!(known.means, Means::Token);
            assert!(known.until.is_some());
            true
        }
        Ok(Verdict::Refused) => false,
        other => panic!("{other:?}"),
    }
}

async fn away(oidc: &Oidc, token: &str) -> String {
    match show(oidc, token).await {
        Err(error @ DirectoryError::Away { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_is_believed_when_every_claim_of_it_fits_and_only_then() {
    let case = Case::new().await;
    assert!(opens(&case.oidc, &case.with(json!({}))).await);
    for good in [
        json!({"exp": NOW - 59}), // Clocks differ.
        json!({"iat": NOW + 59, "nbf": NOW + 59}),
        json!({"iat": null}),
        json!({"aud": "somebody"}),
    ] {
        assert!(opens(&case.oidc, &case.with(good.clone())).await, "{good}");
    }
    for bad in [
        json!({"exp": NOW - 60}),
        json!({"exp": null}),
        json!({"exp": "tomorrow"}),
        json!({"exp": -1}),
        json!({"nbf": NOW + 61}),
        json!({"nbf": "yesterday"}),
        json!({"iat": NOW + 61}),
        json!({"iss": "https://auth.bas.psc.esante.gouv.fr/auth/realms/esante-wallet"}),
        json!({"iss": format!("{}/", case.fake.issuer)}),
        json!({"iss": [case.fake.issuer]}),
        json!({"iss": null}),
        json!({"typ": "Refresh"}),
        json!({"typ": "ID"}),
        json!({"typ": null}),
        json!({"acr": "eidas0"}),
        json!({"acr": null}),
        json!({"SubjectNameID": null, "sub": null}),
        json!({"SubjectNameID": "", "sub": null}),
        json!({"SubjectNameID": "8999 00001019\r\n", "sub": null}),
        json!({"SubjectNameID": "8".repeat(65), "sub": null}),
        json!({"SubjectNameID": [ELOISE], "sub": null}),
    ] {
        assert!(!opens(&case.oidc, &case.with(bad.clone())).await, "{bad}");
    }
    assert_eq!(case.fake.fetches(), 1, "strangers do not make us fetch");
}

#[tokio::test]
async fn a_token_for_another_audience_or_software_is_refused_where_the_operator_says_so() {
    let case = Case::new().await;
    let mut settings = case.fake.settings();
    settings.audiences = vec!["mail".to_owned(), "api".to_owned()];
    settings.clients = vec!["lps-exemple-bas".to_owned()];
    let oidc = Oidc::new(settings, Arc::clone(&case.clock) as _).unwrap();
    assert!(opens(&oidc, &case.with(json!({"aud": ["other", "api"]}))).await);
    assert!(
        opens(
            &oidc,
            &case.with(json!({"aud": "mail", "azp": null, "client_id": "lps-exemple-bas"}))
        )
        .await
    );
    for bad in [
        json!({}),
        json!({"aud": "other"}),
        json!({"aud": []}),
        json!({"aud": {"mail": 1}}),
        json!({"aud": "mail", "azp": "other"}),
        json!({"aud": "mail", "azp": null}),
    ] {
        assert!(!opens(&oidc, &case.with(bad.clone())).await, "{bad}");
    }
}

#[tokio::test]
async fn no_algorithm_but_the_pinned_ones_and_those_of_the_key_verifies() {
    let case = Case::new().await;
    let claims = case.fake.claims();
    let good = case.with(json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None","kid":"k1"}"#,
        r#"{"alg":"","kid":"k1"}"#,
        r#"{"kid":"k1"}"#,
        r#"{"alg":"RS512","kid":"k1"}"#,
        r#"{"alg":"PS256","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k1"}"#,
        r#"{"alg":"RS256","kid":"k1","crit":["exp"]}"#,
    ] {
        let unsigned = fake::message(header, &claims.to_string());
        for signature in ["", signature, "AAAA"] {
            assert!(!opens(&case.oidc, &format!("{unsigned}.{signature}")).await, "{header}");
        }
    }
    // The public key as an HMAC secret, in each form that somebody may have it in.
    let jwk = case.key.jwk().to_string();
    for secret in [case.key.public(), jwk.into_bytes(), Vec::new()] {
        let header = json!({"alg": "HS256", "kid": "k1"});
        assert!(!opens(&case.oidc, &fake::by_hmac(&header, &claims, &secret)).await);
    }
    // A key that comes along in the token, and one that only has the right name.
    let own = Key::rsa("k1");
    assert!(!opens(&case.oidc, &own.token(json!({"jwk": own.jwk()}), &claims)).await);
    assert!(!opens(&case.oidc, &Key::ec("k1").token(json!({}), &claims)).await);
    // Changed on its way.
    let other = fake::message(r#"{"alg":"RS256","kid":"k1"}"#, &claims.to_string());
    assert!(!opens(&case.oidc, &format!("{other}.{signature}")).await);
    assert!(!opens(&case.oidc, &format!("{message}.{}", &signature[..signature.len() - 4])).await);
    assert!(!opens(&case.oidc, message).await);
    assert!(opens(&case.oidc, &good).await);
}

#[tokio::test]
async fn a_shared_secret_among_the_public_keys_verifies_nothing() {
    let case = Case::new().await;
    let secret = b"0123456789abcdef0123456789abcdef";
    let oct =
        json!({"kty": "oct", "kid": "shared", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"});
    let encryption =
        json!({"kty": "RSA", "kid": "enc", "use": "enc", "n": case.key.jwk()["n"], "e": "AQAB"});
    let set = json!({"keys": [oct, encryption, {"kty": "new"}, 7, case.key.jwk()]});
    case.fake.words.lock().unwrap().jwks = set.to_string();
    let header = json!({"alg": "HS256", "kid": "shared"});
    assert!(!opens(&case.oidc, &fake::by_hmac(&header, &case.fake.claims(), secret)).await);
    case.later(10);
    let named_enc = case.key.token(json!({"kid": "enc"}), &case.fake.claims());
    assert!(!opens(&case.oidc, &named_enc).await, "a key for encryption signs nothing");
    assert!(opens(&case.oidc, &case.with(json!({}))).await);
}

#[tokio::test]
async fn an_oversized_a_deep_and_an_ambiguous_token_cost_nothing_and_open_nothing() {
    let case = Case::new().await;
    let long = case.with(json!({"more": "x".repeat(limits::TOKEN_OCTETS_MAX)}));
    assert!(!opens(&case.oidc, &long).await);
    assert!(!opens(&case.oidc, &"x".repeat(10_000_000)).await);
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let text = case.fake.claims().to_string();
    let deep = text.replacen('{', &format!("{{\"deep\":{deep},"), 1);
    assert!(!opens(&case.oidc, &case.key.signed(json!({}), &deep)).await);
    let twice = text.replacen('{', "{\"SubjectNameID\":\"899900009999\",", 1);
    assert!(!opens(&case.oidc, &case.key.signed(json!({}), &twice)).await);
    for text in ["", " ", "..", "\0", "é.é.é", "Bearer x"] {
        assert!(!opens(&case.oidc, text).await, "{text:?}");
    }
    assert_eq!(case.fake.fetches(), 0, "none of them is worth a question");
}

#[tokio::test]
async fn a_token_ends_although_it_was_verified_before() {
    let case = Case::new().await;
    let token = case.with(json!({"exp": NOW + 100}));
    for _ in 0..3 {
        assert!(opens(&case.oidc, &token).await);
    }
    case.later(160);
    assert!(!opens(&case.oidc, &token).await);
}

#[tokio::test]
async fn keys_that_change_in_mid_flight_are_followed_and_old_ones_stop_counting() {
    let case = Case::new().await;
    let old = case.with(json!({}));
    assert!(opens(&case.oidc, &old).await);
    let young = Key::ec("k2");
    let fresh = young.token(json!({}), &case.fake.claims());
    case.fake.rotate(&[&young, &case.key]);
    case.later(6);
    assert!(opens(&case.oidc, &fresh).await, "a new key counts at once");
    assert!(opens(&case.oidc, &old).await, "and the old one while it is there");
    case.fake.rotate(&[&young]);
    case.later(6);
    // Somebody shows a key that nobody knows; we look again, and the old one is gone.
    assert!(!opens(&case.oidc, &Key::ec("k3").token(json!({}), &case.fake.claims())).await);
    assert!(!opens(&case.oidc, &old).await, "a remembered token outlived its key");
    assert!(opens(&case.oidc, &fresh).await);
    assert_eq!(case.fake.fetches(), 4, "one for each key that was new, or gone");
}

#[tokio::test]
async fn a_storm_of_unknown_keys_does_not_become_a_storm_on_the_provider() {
    let case = Case::new().await;
    let good = case.with(json!({}));
    assert!(opens(&case.oidc, &good).await);
    case.later(6);
    let stranger = Key::ec("stranger");
    let oidc = Arc::new(case.oidc);
    let mut storm = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let header = json!({"kid": format!("unknown-{number}")});
        let token = stranger.token(header, &case.fake.claims());
        let oidc = Arc::clone(&oidc);
        storm.spawn(async move { show(&oidc, &token).await });
    }
    // Whoever has a good token does not wait behind them.
    let honest = tokio::time::timeout(Duration::from_secs(60), opens(&oidc, &good));
    assert!(honest.await.unwrap());
    while let Some(answer) = storm.join_next().await {
        match answer.unwrap() {
            Ok(Verdict::Refused) | Err(DirectoryError::Busy) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(case.fake.fetches() <= 3, "{} fetches", case.fake.fetches());
    assert!(opens(&oidc, &good).await);
}

#[tokio::test]
async fn while_the_provider_is_away_its_last_keys_go_on_and_unknown_ones_are_put_off() {
    let case = Case::new().await;
    assert!(opens(&case.oidc, &case.with(json!({}))).await);
    case.fake.words.lock().unwrap().status = StatusCode::INTERNAL_SERVER_ERROR;
    case.later(7_200);
    let now = case.clock.now().as_seconds();
    let token = |jti: u64| case.with(json!({"exp": now + 100, "jti": jti}));
    assert!(opens(&case.oidc, &token(1)).await, "it has said which keys it has");
    let unknown = Key::ec("k9").token(json!({}), &case.claims(json!({"exp": now + 100})));
    assert!(away(&case.oidc, &unknown).await.contains("HTTP 500"));
    assert!(opens(&case.oidc, &token(2)).await);
    // It recovers by itself.
    case.fake.words.lock().unwrap().status = StatusCode::OK;
    case.later(6);
    assert!(!opens(&case.oidc, &unknown).await);
}

#[tokio::test]
async fn a_provider_that_is_late_or_stops_halfway_puts_logins_off_in_time() {
    let case = Case::new().await;
    case.fake.words.lock().unwrap().delay = Duration::from_secs(58);
    let token = case.with(json!({}));
    let put_off = tokio::time::timeout(Duration::from_secs(30), away(&case.oidc, &token));
    assert!(put_off.await.unwrap().contains("too long"));
    // The next ones do not even wait.
    let at_once = tokio::time::timeout(Duration::from_secs(30), away(&case.oidc, &token));
    at_once.await.unwrap();
    case.fake.words.lock().unwrap().delay = Duration::ZERO;
    case.later(6);
    assert!(opens(&case.oidc, &token).await);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4_096]).await;
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{\"issuer\":";
        let _ = stream.write_all(half.as_bytes()).await;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let _ = stream.write_all(b" ").await;
        }
    });
    let oidc = Oidc::new(fake::settings(&issuer), Arc::clone(&case.clock) as _).unwrap();
    let text = case.key.token(json!({}), &case.claims(json!({"iss": issuer})));
    let put_off = tokio::time::timeout(Duration::from_secs(30), away(&oidc, &text));
    put_off.await.unwrap();
}

#[tokio::test]
async fn a_description_in_another_name_or_without_keys_is_refused() {
    let case = Case::new().await;
    let token = case.with(json!({}));
    let describe = |name: &str, value: Value| {
        case.fake.words.lock().unwrap().description[name] = value;
        case.later(6);
    };
    let certs = case.fake.words.lock().unwrap().description["jwks_uri"].clone();
    describe("issuer", json!("https://evil.example"));
    assert!(away(&case.oidc, &token).await.contains("oidc.issuer"));
    describe("issuer", json!(case.fake.issuer));
    for elsewhere in
        ["http://evil.example/certs", "file:///etc/passwd", "http://127.0.0.1.evil.example/"]
    {
        describe("jwks_uri", json!(elsewhere));
        assert!(away(&case.oidc, &token).await.contains("no jwks_uri"), "{elsewhere}");
    }
    describe("jwks_uri", certs);
    for jwks in ["", "[]", "{\"keys\":[]}", "{\"keys\":[],\"keys\":[]}", "<html>"] {
        case.fake.words.lock().unwrap().jwks = jwks.to_owned();
        case.later(6);
        assert!(away(&case.oidc, &token).await.contains("no keys"), "{jwks}");
    }
    let long = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(limits::OIDC_ANSWER_OCTETS_MAX));
    case.fake.words.lock().unwrap().jwks = long;
    case.later(6);
    assert!(away(&case.oidc, &token).await.contains("octets"));
    case.fake.rotate(&[&case.key]);
    case.fake.words.lock().unwrap().status = StatusCode::FOUND;
    case.later(6);
    assert!(away(&case.oidc, &token).await.contains("not followed"));
    case.fake.words.lock().unwrap().status = StatusCode::OK;
    case.later(6);
    assert!(opens(&case.oidc, &token).await);
}

#[tokio::test]
async fn without_anchors_no_certificate_is_trusted_and_the_error_says_so() {
    let case = Case::new().await;
    // Somebody listens there; what matters is that nobody is trusted.
    let door = crate::oidc::fake::Fake::open(&[]).await;
    let issuer = door.issuer.replace("http://", "https://");
    let oidc = Oidc::new(fake::settings(&issuer), Arc::clone(&case.clock) as _).unwrap();
    let token = case.with(json!({"iss": issuer}));
    assert!(away(&oidc, &token).await.contains("oidc.anchors is empty"));
}

#[tokio::test]
async fn introspection_asks_each_time_with_our_name_and_believes_no_contradiction() {
    let case = Case::new().await;
    let mut settings = case.fake.settings();
    (settings.by_signature, settings.by_introspection) = (false, true);
    let oidc = Oidc::new(settings, Arc::clone(&case.clock) as _).unwrap();
    let say = |changes: Value| {
        let mut answer = case.claims(changes);
        if answer.get("active").is_none() {
            answer["active"] = json!(true);
        }
        case.fake.words.lock().unwrap().introspection = answer;
    };
    // It need not be a JWT.
    say(json!({}));
    assert!(opens(&oidc, "opaque&token=x").await);
    assert!(opens(&oidc, "opaque&token=x").await);
    let asked = case.fake.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2, "an answer of the provider was kept");
    assert_eq!(asked[0].0, "token=opaque%26token%3Dx&token_type_hint=access_token");
    // RFC 6749 §2.3.1: each part in the form's encoding, then base64.
    assert_eq!(asked[0].1, "Basic dmFndWVtZXN0cmU6dW4rc2VjcmV0JTNBKyVDMyVBMCt0b3Vz");
    for bad in [
        json!({"active": false}),
        json!({"active": "true"}),
        json!({"active": 1}),
        json!({"exp": NOW - 61}),
        json!({"exp": null}),
        json!({"iss": "https://evil.example"}),
        json!({"typ": "Refresh"}),
        json!({"acr": "eidas0"}),
        json!({"SubjectNameID": null, "sub": null}),
    ] {
        say(bad.clone());
        assert!(!opens(&oidc, "opaque").await, "{bad}");
    }
    case.fake.words.lock().unwrap().introspection = json!({"active": false});
    assert!(!opens(&oidc, "opaque").await);
    case.fake.words.lock().unwrap().status = StatusCode::UNAUTHORIZED;
    assert!(away(&oidc, "opaque").await.contains("401"), "that is about us, not about the token");
    case.fake.words.lock().unwrap().status = StatusCode::OK;

    let mut settings = case.fake.settings();
    (settings.by_signature, settings.by_introspection) = (true, true);
    let both = Oidc::new(settings, Arc::clone(&case.clock) as _).unwrap();
    say(json!({}));
    assert!(opens(&both, &case.with(json!({}))).await);
    say(json!({"sub": "somebody else"}));
    assert!(!opens(&both, &case.with(json!({}))).await);
    say(json!({"active": false}));
    assert!(!opens(&both, &case.with(json!({}))).await, "revoked, although the signature is good");
    let before = case.fake.asked.lock().unwrap().len();
    assert!(!opens(&both, "opaque").await);
    assert_eq!(
        case.fake.asked.lock().unwrap().len(),
        before,
        "what is no token is not sent around"
    );
}

#[tokio::test]
async fn a_token_without_the_national_identity_is_asked_about() {
    let case = Case::new().await;
    let token = |number: u64| case.with(json!({"SubjectNameID": null, "jti": number}));
    let subject = case.fake.claims()["sub"].clone();
    // Introspection first.
    let answer = json!({"active": true, "sub": subject, "exp": NOW + 100, "acr": "eidas1", "SubjectNameID": ELOISE});
    case.fake.words.lock().unwrap().introspection = answer;
    assert!(opens(&case.oidc, &token(1)).await);
    // Then userinfo, as JSON or signed, and only about the same person.
    case.fake.words.lock().unwrap().introspection = json!({"active": false});
    let say = |kind: &'static str, text: String| {
        let mut words = case.fake.words.lock().unwrap();
        (words.userinfo, words.userinfo_type) = (text, kind);
    };
    let person = json!({"sub": subject, "SubjectNameID": ELOISE});
    say("application/json", person.to_string());
    assert!(opens(&case.oidc, &token(2)).await);
    say("application/json", json!({"sub": "other", "SubjectNameID": ELOISE}).to_string());
    assert!(!opens(&case.oidc, &token(3)).await);
    say(
        "application/json",
        format!("{{\"sub\":{subject},\"SubjectNameID\":\"8\",\"SubjectNameID\":{ELOISE:?}}}"),
    );
    away(&case.oidc, &token(3)).await;
    say("application/jwt", case.key.token(json!({}), &person));
    assert!(opens(&case.oidc, &token(4)).await);
    say(
        "application/jwt",
        case.key
            .token(json!({}), &json!({"sub": subject, "SubjectNameID": ELOISE, "aud": "other"})),
    );
    assert!(!opens(&case.oidc, &token(5)).await);
    say("application/jwt", Key::rsa("k1").token(json!({}), &person));
    assert!(!opens(&case.oidc, &token(6)).await);
    let asked = case.fake.asked.lock().unwrap();
    assert!(asked.iter().any(|(_, credentials)| *credentials == format!("Bearer {}", token(2))));
}

#[tokio::test]
async fn an_access_token_says_that_it_is_one_in_its_header_or_its_claims() {
    let case = Case::new().await;
    let claims = case.claims(json!({"typ": null}));
    for (header, good) in [
        (json!({"typ": "at+jwt"}), true),
        (json!({"typ": "application/at+jwt"}), true),
        (json!({"typ": "JWT"}), false),
        (json!({"typ": "logout+jwt"}), false),
        (json!({}), false),
    ] {
        assert_eq!(
            opens(&case.oidc, &case.key.token(header.clone(), &claims)).await,
            good,
            "{header}"
        );
    }
    let _ = Timestamp::from_seconds(NOW);
}
