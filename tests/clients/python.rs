//! Programs in Python, run to their end: with its own imaplib, with IMAPClient, and one that
//! drives Thunderbird.
use crate::clients::COLLEAGUE;
use crate::clients::USER;
use crate::support::serving::PASSWORD;

/// Runs a program of `tests/clients/python` against a relay.
async fn python(script: &str) {
    let space = super::space();
    let relay = super::relay(&space);
    let here = std::env::current_dir().unwrap();
    let mut command = super::program("python3", &relay.folder);
    command
        .arg(here.join("tests/clients/python").join(script))
        .env("PYTHONPATH", here.join("target/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("RELAY_IMAPS", relay.port("imaps").to_string())
        .env("RELAY_SUBMISSIONS", relay.port("submissions").to_string())
        .env("RELAY_HTTPS", relay.port("https").to_string())
        .env("RELAY_CA", relay.ca())
        .env("RELAY_USER", USER)
        .env("RELAY_COLLEAGUE", COLLEAGUE)
        .env("RELAY_PASSWORD", PASSWORD);
    let said = super::succeed(&mut command);
    assert!(said.contains("all passed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn imaplib_does_everything_that_it_can() {
    python("with_imaplib.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn imapclient_does_everything_that_it_can() {
    python("with_imapclient.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thunderbird_reads_tags_moves_searches_sends_and_works_offline() {
    python("with_thunderbird.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thunderbird_sets_an_account_up_from_address_and_password_alone() {
    python("with_thunderbird_alone.py").await;
}
