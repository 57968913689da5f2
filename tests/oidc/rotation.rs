//! Tokens of a real provider, whose keys change while it runs.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vaguemestre::domain::secret::Secret;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::directory::Directory;
use vaguemestre::infra::directory::Verdict;
use vaguemestre::infra::directory::oidc::Oidc;
use vaguemestre::infra::directory::oidc::Settings;

use super::fake;
use super::fake::ELOISE;
use super::real::Provider;

fn settings(provider: &Provider) -> Settings {
    let list = |one: &str| vec![one.to_owned()];
    Settings {
        discovery: "/.well-known/openid-configuration".to_owned(),
        client_id: Some("software".to_owned()),
        client_secret: Some(Secret::new(super::real::SECRET.to_owned())),
        audiences: list("mail"),
        clients: list("software"),
        anchors: Vec::<PathBuf>::new(),
        skew: Duration::ZERO,
        ..fake::settings(&provider.issuer)
    }
}

async fn opens(oidc: &Oidc, token: &str) -> bool {
    let token = Secret::new(token.to_owned());
    match oidc.token("anybody", &token).await.unwrap() {
        Verdict::Known(known) => {
            assert_eq!(known.national_id.as_deref(), Some(ELOISE));
            true
        }
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_real_provider_open_while_its_keys_change_and_end_when_they_say() {
    let provider = Provider::open("https://pages.test", 20);
    let oidc = Oidc::new(settings(&provider), Arc::new(SystemClock)).unwrap();
    let old = provider.token(ELOISE);
    assert!(opens(&oidc, &old).await);
    for _ in 0..50 {
        assert!(opens(&oidc, &old).await);
    }
    assert_eq!(provider.count("/jwks"), 1);
    provider.rotate(2);
    let fresh = provider.token(ELOISE);
    assert!(opens(&oidc, &fresh).await, "the new key counts as soon as it signs");
    assert!(opens(&oidc, &old).await, "the old one is still published");
    assert_eq!(provider.count("/jwks"), 2);
    provider.rotate(1);
    let last = provider.token(ELOISE);
    assert!(opens(&oidc, &last).await);
    assert!(!opens(&oidc, &fresh).await, "its key is gone");
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert!(!opens(&oidc, &last).await, "twenty seconds are over");
}
