//! A practice's software with a token of a real provider, at the doors of a relay that runs.
use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::fake::ELOISE;
use super::real;
use super::real::Provider;
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
            "[login]\ndirectories = [\"local\", \"oidc\"]\n\
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
