//! Programs that others wrote show tokens of a real provider: curl, Python's libraries, neomutt.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::doors;
use super::doors::DOORS;
use super::fake::ELOISE;
use super::real;
use super::real::Provider;
use crate::clients::neomutt::Terminal;
use crate::support::running;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;

const HOST: &str = "cabinet.mssante.test";
const HERS: &str = "eloise@cabinet.mssante.test";
/// Mechanisms, and how the challenge to a refused token begins, in base64: `{"status"`, and
/// `{"openid-configuration"` (RFC 7628 §3.2.2).
const MECHANISMS: [(&str, &str); 2] =
    [("XOAUTH2", "eyJzdGF0dXMi"), ("OAUTHBEARER", "eyJvcGVuaWQtY29uZmlndXJhdGlvbiI")];

fn space() -> Space {
    Space::of(&[HOST])
}

fn relay<'s>(space: &'s Space, provider: &Provider, mechanisms: &[&str]) -> Serving<'s> {
    let secret = space.folder().join("oidc.secret");
    fs::write(&secret, real::SECRET).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let relay = space
        .relay(0)
        .with(&format!(
            "[revocation]\nmode = \"off\"\n[login]\ndirectories = [\"local\", \"oidc\"]\n\
             mechanisms = {mechanisms:?}\n\
             [oidc]\nissuer = {:?}\nclient_id = \"software\"\nclient_secret_file = {secret:?}\n\
             acr = [\"eidas1\"]\naudiences = [\"mail\"]\nclients = [\"software\"]\n",
            provider.issuer
        ))
        .start(&[HERS]);
    relay.said(&["mailbox", "holder", "add", HERS, ELOISE, "--reason", "it is hers"]);
    relay
}

/// curl at a door; whether it worked, and all that was said.
fn curl(relay: &Serving<'_>, door: &str, mechanism: &str, token: &str) -> (bool, String) {
    let letter = relay.folder.join("letter.eml");
    let text = format!(
        "From: {HERS}\r\nTo: {HERS}\r\nSubject: {mechanism}\r\n\
         Message-ID: <{mechanism}@{HOST}>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\nx\r\n"
    );
    fs::write(&letter, text).unwrap();
    let (ca, letter) = (relay.ca_file().display().to_string(), letter.display().to_string());
    let url = match door {
        "imap" => format!("imaps://127.0.0.1:{}/INBOX?ALL", relay.port("imaps")),
        "pop3" => format!("pop3s://127.0.0.1:{}/", relay.port("pop3s")),
        _ => format!("smtps://127.0.0.1:{}/software.test", relay.port("submissions")),
    };
    let (user, how) = (format!("{HERS}:"), format!("AUTH={mechanism}"));
    let mut arguments = vec!["-sSv", "--ssl-reqd", "--cacert", &ca, "--max-time", "120"];
    arguments.extend(["-u", &user, "--oauth2-bearer", token, "--login-options", &how, &url]);
    if door == "smtp" {
        arguments.extend(["--mail-from", HERS, "--mail-rcpt", HERS, "-T", &letter]);
    }
    let output = running::run("curl", &arguments);
    (output.status.success(), running::said(&output))
}

#[test]
fn curl_shows_a_token_at_each_door_and_hears_why_it_is_refused() {
    let provider = Provider::open("https://pages.test", 600);
    let space = space();
    let good = provider.token(ELOISE);
    let stranger = provider.token("899900009999");
    for (mechanism, refused) in MECHANISMS {
        // Whatever it is told, curl takes OAUTHBEARER where that is offered.
        let relay = relay(&space, &provider, &[mechanism, "PLAIN"]);
        for door in ["smtp", "imap", "pop3"] {
            let (is_in, said) = curl(&relay, door, mechanism, &good);
            assert!(is_in, "{mechanism} at {door}: {said}\n{}", relay.log());
            assert!(said.contains(&format!("AUTH {mechanism}")) || door == "imap", "{said}");
            for bad in [stranger.as_str(), "x.y.z"] {
                let (is_in, said) = curl(&relay, door, mechanism, bad);
                assert!(!is_in, "{mechanism} at {door}: {said}");
                assert!(said.contains(refused), "{mechanism} at {door}: {said}");
            }
        }
    }
}

#[test]
fn pythons_libraries_show_a_token_at_each_door_and_hear_why_it_is_refused() {
    let provider = Provider::open("https://pages.test", 600);
    let space = space();
    let relay = relay(&space, &provider, &["SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "PLAIN"]);
    let good = provider.token(ELOISE);
    for (mechanism, _) in MECHANISMS {
        let answers = doors::log_in(&relay, HERS, mechanism, &good);
        assert!(doors::is_in(&answers), "{mechanism}: {answers:#}\n{}", relay.log());
        for bad in ["x.y.z", &provider.token("899900009999"), &good[..good.len() - 4]] {
            let answers = doors::log_in(&relay, HERS, mechanism, bad);
            assert!(doors::is_refused(&answers), "{mechanism}: {answers:#}");
            for door in DOORS {
                let challenge = answers[door]["challenges"][0].as_str().unwrap_or_default();
                let challenge: serde_json::Value = serde_json::from_str(challenge).unwrap();
                let status = if mechanism == "XOAUTH2" { "401" } else { "invalid_token" };
                assert_eq!(challenge["status"], status, "{mechanism} {door} {challenge}");
            }
        }
    }
    // The same doors, for who proves a password instead (RFC 7677), and for who is wrong.
    let answers = doors::log_in(&relay, HERS, "SCRAM-SHA-256", PASSWORD);
    assert!(doors::is_in(&answers), "{answers:#}\n{}", relay.log());
    let answers = doors::log_in(&relay, HERS, "SCRAM-SHA-256", "wrong");
    assert!(doors::is_refused(&answers), "{answers:#}");
}

/// neomutt's own configuration: it asks a program for a token whenever it needs one.
fn configure(folder: &Path, relay: &Serving<'_>, mechanism: &str, command: &str) {
    let method = mechanism.to_lowercase();
    let text = format!(
        "set folder = \"imaps://127.0.0.1:{imaps}/\"\nset imap_user = \"{HERS}\"\n\
         set imap_authenticators = \"{method}\"\nset imap_oauth_refresh_command = \"{command}\"\n\
         set smtp_url = \"smtps://{user}@127.0.0.1:{submissions}/\"\n\
         set smtp_authenticators = \"{method}\"\nset smtp_oauth_refresh_command = \"{command}\"\n\
         set ssl_ca_certificates_file = \"{ca}\"\nset certificate_file = \"{ca}\"\n\
         set ssl_verify_host = no\nset spoolfile = \"+INBOX\"\nset from = \"{HERS}\"\n\
         set use_from = yes\nset copy = no\nset quit = yes\nset wait_key = no\nset beep = no\n\
         set sleep_time = 0\nset timeout = 1\nset debug_file = \"{here}/debug\"\n\
         set debug_level = 5\n",
        imaps = relay.port("imaps"),
        submissions = relay.port("submissions"),
        user = HERS.replace('@', "%40"),
        ca = relay.ca_file().display(),
        here = folder.display(),
    );
    fs::write(folder.join("rc"), text).unwrap();
}

fn program(folder: &Path, text: &str) -> String {
    let file = folder.join("token");
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
    file.display().to_string()
}

/// It writes what it heard to files of which it keeps some.
fn debug(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let of_debug =
        files.filter(|file| file.file_name().unwrap().to_string_lossy().starts_with("debug"));
    of_debug.map(|file| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn neomutt_fetches_a_token_from_the_provider_sends_and_reads_with_it() {
    let provider = Provider::open("https://pages.test", 600);
    // Signed by an elliptic curve from now on: this version takes no more than 512 octets of a token
    // for OAUTHBEARER.
    provider.rotate(1);
    let space = space();
    let relay = relay(&space, &provider, &["SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "PLAIN"]);
    for (number, (mechanism, refused)) in (1..).zip(MECHANISMS) {
        let keep = tempfile::tempdir().unwrap();
        let folder = keep.path();
        let fresh =
            program(folder, &format!("curl -sS '{}/test/token?who={ELOISE}'", provider.issuer));
        configure(folder, &relay, mechanism, &fresh);
        let send = format!(
            "echo bonjour | neomutt -n -F {}/rc -s {mechanism} {HERS}",
            keep.path().display()
        );
        let output = running::run("timeout", &["120", "sh", "-c", &send]);
        let said = running::said(&output);
        assert!(output.status.success(), "{mechanism}: {said}\n{}", debug(folder));
        let terminal = Terminal::start(folder);
        terminal.until(&format!("Msgs:{number}"));
        terminal.until(mechanism);
        terminal.quit();

        // A token of somebody else's: the reason comes as a challenge, and the program gives up.
        let keep = tempfile::tempdir().unwrap();
        let folder = keep.path();
        let others =
            program(folder, &format!("curl -sS '{}/test/token?who=899900009999'", provider.issuer));
        configure(folder, &relay, mechanism, &others);
        let terminal = Terminal::start(folder);
        let mut heard = String::new();
        for _ in 0..600 {
            heard = debug(folder);
            if heard.contains(refused) && heard.contains("authentication failed") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(heard.contains(refused), "{mechanism}: no challenge in {heard}");
        assert!(heard.contains("authentication failed"), "{mechanism}: {heard}");
        drop(terminal);
    }
}
