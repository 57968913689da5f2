//! A practice's software with a token of a real provider, at the doors of a relay that runs.
use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;

use super::fake;
use super::fake::CLIENT;
use super::fake::ELOISE;
use super::real;
use super::real::Provider;
use crate::support::running;
use crate::support::serving::Serving;
use crate::support::serving::Space;

const HERS: &str = "eloise@cabinet.mssante.test";
const TEAM: &str = "equipe@cabinet.mssante.test";
const OTHERS: &str = "hugo@cabinet.mssante.test";

struct Talk(BufReader<TlsStream<TcpStream>>);

impl Talk {
    async fn open(relay: &Serving<'_>, door: &str) -> Self {
        let address = relay.door(door);
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::from(address.ip());
        let stream = TlsConnector::from(relay.tls()).connect(name, socket).await.unwrap();
        let mut talk = Self(BufReader::new(stream));
        talk.line().await;
        talk
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    async fn say(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.line().await
    }
}

fn xoauth2(user: &str, token: &str) -> String {
    STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"))
}

fn oauthbearer(user: &str, token: &str) -> String {
    STANDARD.encode(format!("n,a={user},\x01host=localhost\x01auth=Bearer {token}\x01\x01"))
}

/// What IMAP and SMTP say, each with its challenge answered when there is one.
async fn log_in(
    relay: &Serving<'_>,
    mechanism: &str,
    initial: &str,
) -> [(Option<String>, String); 2] {
    let text = |challenge: &str| String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
    let mut imap = Talk::open(relay, "imaps").await;
    let mut said = imap.say(&format!("a AUTHENTICATE {mechanism} {initial}")).await;
    let mut challenge = None;
    // RFC 7628 §3.2.3: the error comes as a challenge, and the client answers with a dummy.
    if let Some(octets) = said.strip_prefix("+ ") {
        challenge = Some(text(octets));
        said = imap.say("AQ==").await;
    }
    while said.starts_with("* ") {
        said = imap.line().await;
    }
    let first = (challenge, said);
    let mut smtp = Talk::open(relay, "submissions").await;
    let mut said = smtp.say("EHLO software.test").await;
    while said.starts_with("250-") {
        said = smtp.line().await;
    }
    let mut said = smtp.say(&format!("AUTH {mechanism} {initial}")).await;
    let mut challenge = None;
    if let Some(octets) = said.strip_prefix("334 ") {
        challenge = Some(text(octets));
        said = smtp.say("AQ==").await;
    }
    [first, (challenge, said)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_the_mailboxes_of_its_professional_and_no_others() {
    let provider = Provider::open("https://pages.test", 120);
    let space = Space::of(&["cabinet.mssante.test"]);
    let secret = space.folder().join("oidc.secret");
    fs::write(&secret, real::SECRET).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let relay = space
        .relay(0)
        .with(&format!(
            "[revocation]\nmode = \"off\"\n[login]\ndirectories = [\"local\", \"oidc\"]\n\
             [oidc]\nissuer = {:?}\nclient_id = \"software\"\nclient_secret_file = {secret:?}\n\
             acr = [\"eidas1\"]\naudiences = [\"mail\"]\nclients = [\"software\"]\n",
            provider.issuer
        ))
        .start(&[HERS, TEAM, OTHERS]);
    for mailbox in [HERS, TEAM] {
        relay.said(&["mailbox", "holder", "add", mailbox, ELOISE, "--reason", "it is hers"]);
    }
    let good = provider.token(ELOISE);
    for user in [HERS, TEAM] {
        for (mechanism, initial) in
            [("XOAUTH2", xoauth2(user, &good)), ("OAUTHBEARER", oauthbearer(user, &good))]
        {
            let [imap, smtp] = log_in(&relay, mechanism, &initial).await;
            assert!(imap.1.starts_with("a OK "), "{mechanism} {user}: {imap:?}");
            assert!(smtp.1.starts_with("235 "), "{mechanism} {user}: {smtp:?}");
        }
    }
    // A mailbox that is not hers, somebody without one, and no token at all.
    let stranger = provider.token("899900009999");
    for (user, token) in [
        (OTHERS, good.as_str()),
        ("nobody@cabinet.mssante.test", good.as_str()),
        (HERS, stranger.as_str()),
        (HERS, "x.y.z"),
        (HERS, &good[..good.len() - 5]),
    ] {
        let [imap, smtp] = log_in(&relay, "XOAUTH2", &xoauth2(user, token)).await;
        assert!(imap.1.starts_with("a NO "), "{user}: {imap:?}");
        assert!(smtp.1.starts_with("535 "), "{user}: {smtp:?}");
        for (challenge, _) in [imap, smtp] {
            let challenge = challenge.expect("the documented challenge comes first");
            assert!(challenge.contains("\"status\":\"401\""), "{challenge}");
        }
    }
    // Whoever lost the mailbox is out with the next login, token or not.
    relay.said(&["mailbox", "holder", "remove", TEAM, ELOISE, "--reason", "has left"]);
    let [imap, smtp] = log_in(&relay, "XOAUTH2", &xoauth2(TEAM, &good)).await;
    assert!(imap.1.starts_with("a NO ") && smtp.1.starts_with("535 "), "{imap:?} {smtp:?}");

    // The provider goes. Who has a token goes on; a key that nobody knows is put off, not refused.
    provider.rotate(1);
    let young = provider.token(ELOISE);
    drop(provider);
    let [imap, _] = log_in(&relay, "XOAUTH2", &xoauth2(HERS, &good)).await;
    assert!(imap.1.starts_with("a OK "), "{imap:?}");
    let [imap, smtp] = log_in(&relay, "XOAUTH2", &xoauth2(HERS, &young)).await;
    assert!(imap.1.contains("[UNAVAILABLE]"), "{imap:?}");
    assert!(smtp.1.starts_with("454 "), "{smtp:?}");
    let log = relay.log();
    for secret in [&good, &young, real::SECRET] {
        assert!(!log.contains(secret), "the log holds a token");
    }
}

/// Logs in on IMAP and waits for news.
async fn idle(relay: &Serving<'_>, user: &str, token: &str) -> Talk {
    let mut imap = Talk::open(relay, "imaps").await;
    let mut said = imap.say(&format!("a AUTHENTICATE XOAUTH2 {}", xoauth2(user, token))).await;
    while said.starts_with("* ") {
        said = imap.line().await;
    }
    assert!(said.starts_with("a OK "), "{user}: {said}");
    assert!(imap.say("b NOOP").await.starts_with("b OK "));
    imap
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_at_the_provider_ends_the_mail_sessions_of_that_person_and_of_nobody_else() {
    let key = fake::Key::ec("k1");
    let provider = fake::Fake::open(&[&key]).await;
    let space = Space::of(&["cabinet.mssante.test"]);
    let relay = space
        .relay(0)
        .with(&format!(
            "[revocation]\nmode = \"off\"\n[login]\ndirectories = [\"local\", \"oidc\"]\n\
             [oidc]\nissuer = {:?}\nclient_id = {CLIENT:?}\n\
             discovery = \"/.well-known/wallet-openid-configuration\"\nacr = [\"eidas1\"]\n",
            provider.issuer
        ))
        .start(&[HERS, OTHERS]);
    let hugo = "899900002025";
    for (mailbox, holder) in [(HERS, ELOISE), (OTHERS, hugo)] {
        relay.said(&["mailbox", "holder", "add", mailbox, holder, "--reason", "it is theirs"]);
    }
    let now = || SystemClock.now().as_seconds();
    let token = |who: &str, sid: Option<&str>| {
        let mut claims = provider.claims();
        claims["iat"] = json!(now());
        claims["exp"] = json!(now() + 120);
        claims["sub"] = json!(format!("f:{who}"));
        claims["SubjectNameID"] = json!(who);
        if let Some(sid) = sid {
            claims["sid"] = json!(sid);
        }
        key.token(json!({}), &claims)
    };
    let mut hers = idle(&relay, HERS, &token(ELOISE, None)).await;
    let mut her_desk = idle(&relay, HERS, &token(ELOISE, Some("desk"))).await;
    let mut his = idle(&relay, OTHERS, &token(hugo, None)).await;
    let event = "http://schemas.openid.net/event/backchannel-logout";
    let log_out = |more: serde_json::Value| {
        let mut claims = json!({
            "iss": provider.issuer, "aud": CLIENT, "iat": now(), "exp": now() + 120,
            "jti": uuid::Uuid::new_v4().to_string(), "events": {event: {}},
        });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let field = format!("logout_token={}", key.token(json!({"typ": "logout+jwt"}), &claims));
        let url = format!("https://localhost:{}/login/oidc/logout", relay.port("https"));
        let answer = running::run(
            "curl",
            &["-sSk", "-o", "/dev/null", "-w", "%{http_code}", "--data", &field, &url],
        );
        running::said(&answer)
    };
    let sub = format!("f:{ELOISE}");
    // Of another session of hers: what names no session counts as the person's.
    assert_eq!(log_out(json!({"sub": sub, "sid": "phone"})), "200");
    let said = hers.line().await;
    assert!(said.is_empty() || said.starts_with("* BYE"), "{said}");
    assert!(her_desk.say("c NOOP").await.starts_with("c OK "));
    assert_eq!(log_out(json!({"sub": sub})), "200");
    let said = her_desk.line().await;
    assert!(said.is_empty() || said.starts_with("* BYE"), "{said}");
    assert!(his.say("c NOOP").await.starts_with("c OK "));
    assert_eq!(log_out(json!({"sub": format!("f:{hugo}")})), "200");
    let said = his.line().await;
    assert!(said.is_empty() || said.starts_with("* BYE"), "{said}");
}
