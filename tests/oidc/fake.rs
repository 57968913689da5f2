//! A provider on this machine that says whatever a test wants, and keys to sign anything with.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::KeyPair;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::clock::ManualClock;
use vaguemestre::infra::directory::oidc::Oidc;
use vaguemestre::infra::directory::oidc::Settings;

/// 2026-11-22T14:40:00Z
pub(super) const NOW: u64 = 1_795_358_400;
/// 8 and an RPPS number of the samples.
pub(super) const ELOISE: &str = "899900001019";
pub(super) const CLIENT: &str = "vaguemestre";

/// A key of a provider.
pub(super) enum Key {
    Rsa(String, RsaKeyPair),
    Ec(String, EcdsaKeyPair),
}

impl Key {
    pub(super) fn rsa(id: &str) -> Self {
        Self::Rsa(id.to_owned(), RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(super) fn ec(id: &str) -> Self {
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        Self::Ec(id.to_owned(), EcdsaKeyPair::generate(algorithm).unwrap())
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::Rsa(id, _) | Self::Ec(id, _) => id,
        }
    }

    pub(super) fn jwk(&self) -> Value {
        match self {
            Self::Rsa(id, pair) => {
                let public = pair.public_key();
                let part = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
                let n = part(public.modulus().big_endian_without_leading_zero());
                let e = part(public.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "kid": id, "use": "sig", "n": n, "e": e})
            }
            Self::Ec(id, pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (&point[1..33], &point[33..65]);
                let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
                json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": x, "y": y})
            }
        }
    }

    /// The public key as its document says it: what a forger takes for an HMAC secret.
    pub(super) fn public(&self) -> Vec<u8> {
        match self {
            Self::Rsa(_, pair) => pair.public_key().as_ref().to_vec(),
            Self::Ec(_, pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A token with this header (its `alg` and `kid` are filled in) and these claims.
    pub(super) fn token(&self, header: Value, claims: &Value) -> String {
        self.signed(header, &claims.to_string())
    }

    pub(super) fn signed(&self, mut header: Value, claims: &str) -> String {
        let name = match self {
            Self::Rsa(..) => "RS256",
            Self::Ec(..) => "ES256",
        };
        for (field, value) in [("alg", name), ("kid", self.id())] {
            if header.get(field).is_none() {
                header[field] = json!(value);
            }
        }
        let message = message(&header.to_string(), claims);
        let random = SystemRandom::new();
        let octets = match self {
            Self::Rsa(_, pair) => {
                let mut octets = vec![0; pair.public_modulus_len()];
                let padding = &signature::RSA_PKCS1_SHA256;
                pair.sign(padding, &random, message.as_bytes(), &mut octets).unwrap();
                octets
            }
            Self::Ec(_, pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(octets))
    }
}

pub(super) fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// HS256 with any secret.
pub(super) fn by_hmac(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = message(&header.to_string(), &claims.to_string());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// What the provider says at this moment.
pub(super) struct Words {
    pub(super) description: Value,
    pub(super) jwks: String,
    pub(super) introspection: Value,
    pub(super) userinfo: String,
    pub(super) userinfo_type: &'static str,
    pub(super) tokens: Value,
    pub(super) status: StatusCode,
    pub(super) delay: Duration,
}

pub(super) struct Fake {
    pub(super) issuer: String,
    pub(super) words: Mutex<Words>,
    /// Requests for keys.
    pub(super) key_fetches: AtomicUsize,
    pub(super) introspections: AtomicUsize,
    /// Forms and `Authorization` fields that came.
    pub(super) asked: Mutex<Vec<(String, String)>>,
}

impl Fake {
    /// A provider with these keys, listening.
    pub(super) async fn open(keys: &[&Key]) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let issuer = format!("http://{address}/realms/esante-wallet");
        let at = |path: &str| format!("{issuer}/{path}");
        let description = json!({
            "issuer": issuer, "jwks_uri": at("certs"), "authorization_endpoint": at("auth"),
            "token_endpoint": at("token"), "introspection_endpoint": at("introspect"),
            "userinfo_endpoint": at("userinfo"), "end_session_endpoint": at("logout"),
        });
        let words = Words {
            description,
            jwks: jwks(keys),
            introspection: json!({"active": false}),
            userinfo: "{}".to_owned(),
            userinfo_type: "application/json",
            tokens: json!({}),
            status: StatusCode::OK,
            delay: Duration::ZERO,
        };
        let fake = Arc::new(Self {
            issuer,
            words: Mutex::new(words),
            key_fetches: AtomicUsize::new(0),
            introspections: AtomicUsize::new(0),
            asked: Mutex::default(),
        });
        let below = Router::new()
            .route("/.well-known/wallet-openid-configuration", get(describe))
            .route("/certs", get(certs))
            .route("/introspect", post(introspect))
            .route("/userinfo", get(userinfo))
            .route("/token", post(token));
        let router = Router::new().nest("/realms/esante-wallet", below);
        let router = router.with_state(Arc::clone(&fake));
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub(super) fn rotate(&self, keys: &[&Key]) {
        self.words.lock().unwrap().jwks = jwks(keys);
    }

    pub(super) fn fetches(&self) -> usize {
        self.key_fetches.load(Ordering::SeqCst)
    }

    pub(super) fn settings(&self) -> Settings {
        settings(&self.issuer)
    }

    pub(super) fn directory(&self, clock: &Arc<ManualClock>) -> Oidc {
        Oidc::new(self.settings(), Arc::clone(clock) as _).unwrap()
    }

    /// What Pro Santé Connect claims in an access token.
    pub(super) fn claims(&self) -> Value {
        json!({
            "iss": self.issuer, "sub": format!("f:550dc1c8:{ELOISE}"), "typ": "Bearer",
            "azp": "lps-exemple-bas", "iat": NOW - 10, "exp": NOW + 110, "acr": "eidas1",
            "SubjectNameID": ELOISE, "scope": "openid scope_all",
        })
    }
}

pub(super) fn jwks(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

pub(super) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_seconds(NOW)))
}

pub(super) fn settings(issuer: &str) -> Settings {
    let list = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
    Settings {
        issuer: issuer.to_owned(),
        discovery: "/.well-known/wallet-openid-configuration".to_owned(),
        anchors: Vec::<PathBuf>::new(),
        client_id: Some(CLIENT.to_owned()),
        client_secret: Some(Secret::new("un secret: à tous".to_owned())),
        audiences: Vec::new(),
        clients: Vec::new(),
        algorithms: list(&["RS256", "PS256", "ES256"]),
        acr: list(&["eidas1"]),
        types: list(&["Bearer"]),
        by_signature: true,
        by_introspection: false,
        subject_claim: "SubjectNameID".to_owned(),
        scope: "openid scope_all".to_owned(),
        acr_values: "eidas1".to_owned(),
        skew: Duration::from_secs(60),
        timeout: Duration::from_secs(2),
    }
}

async fn pause(fake: &Fake) -> StatusCode {
    let (delay, status) = {
        let words = fake.words.lock().unwrap();
        (words.delay, words.status)
    };
    tokio::time::sleep(delay).await;
    status
}

fn json_of(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn describe(State(fake): State<Arc<Fake>>) -> Response {
    let status = pause(&fake).await;
    json_of(status, fake.words.lock().unwrap().description.to_string())
}

async fn certs(State(fake): State<Arc<Fake>>) -> Response {
    fake.key_fetches.fetch_add(1, Ordering::SeqCst);
    let status = pause(&fake).await;
    json_of(status, fake.words.lock().unwrap().jwks.clone())
}

fn note(fake: &Fake, headers: &HeaderMap, body: String) {
    let credentials = headers.get(header::AUTHORIZATION).map_or("", |it| it.to_str().unwrap());
    fake.asked.lock().unwrap().push((body, credentials.to_owned()));
}

async fn introspect(State(fake): State<Arc<Fake>>, headers: HeaderMap, body: String) -> Response {
    fake.introspections.fetch_add(1, Ordering::SeqCst);
    note(&fake, &headers, body);
    let status = pause(&fake).await;
    json_of(status, fake.words.lock().unwrap().introspection.to_string())
}

async fn userinfo(State(fake): State<Arc<Fake>>, headers: HeaderMap) -> Response {
    note(&fake, &headers, String::new());
    let status = pause(&fake).await;
    let words = fake.words.lock().unwrap();
    (status, [(header::CONTENT_TYPE, words.userinfo_type)], words.userinfo.clone()).into_response()
}

async fn token(State(fake): State<Arc<Fake>>, headers: HeaderMap, body: String) -> Response {
    note(&fake, &headers, body);
    let status = pause(&fake).await;
    json_of(status, fake.words.lock().unwrap().tokens.to_string())
}
