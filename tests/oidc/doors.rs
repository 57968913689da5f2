//! Python's libraries at all doors: one program for passwords, tokens and proofs.
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;

use crate::support::running;
use crate::support::serving::Serving;

pub(crate) const DOORS: [&str; 4] = ["imap", "pop3", "smtp", "managesieve"];

/// What each door says to this login: `said` is `in` or a refusal, `challenges` came before.
pub(crate) fn log_in(relay: &Serving<'_>, user: &str, mechanism: &str, secret: &str) -> Value {
    log_in_as(relay, user, user, mechanism, secret)
}

/// The same, for a login name that is not the address.
pub(crate) fn log_in_as(
    relay: &Serving<'_>,
    user: &str,
    sender: &str,
    mechanism: &str,
    secret: &str,
) -> Value {
    let ports = ["imaps", "pop3s", "submissions", "managesieve"];
    let ports: serde_json::Map<_, _> =
        ports.into_iter().map(|door| (door.to_owned(), json!(relay.port(door)))).collect();
    let given = json!({
        "ca": relay.ca_file(), "ports": ports, "user": user, "sender": sender,
        "mechanism": mechanism, "secret": secret,
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc/doors.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(given.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("python3 (make deps installs it): {error}"));
    let said = running::said(&output);
    assert!(output.status.success(), "{mechanism} {user}: {said}\n{}", relay.log());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// True when every door let it in.
pub(crate) fn is_in(answers: &Value) -> bool {
    DOORS.iter().all(|door| answers[door]["said"] == "in")
}

/// True when every door says no for good.
pub(crate) fn is_refused(answers: &Value) -> bool {
    DOORS.iter().all(|door| {
        let said = answers[door]["said"].as_str().unwrap_or_default();
        match *door {
            "imap" => said.contains("[AUTHENTICATIONFAILED]"),
            "pop3" => said.contains("-ERR [AUTH]"),
            "smtp" => said.starts_with("535 "),
            _ => said.starts_with("NO ") && !said.contains("TRYLATER"),
        }
    })
}

/// True when every door says: later.
pub(crate) fn is_put_off(answers: &Value) -> bool {
    DOORS.iter().all(|door| {
        let said = answers[door]["said"].as_str().unwrap_or_default();
        match *door {
            "imap" => said.contains("[UNAVAILABLE]"),
            "pop3" => said.contains("-ERR [SYS/TEMP]"),
            "smtp" => said.starts_with("454 "),
            _ => said.starts_with("NO (TRYLATER)"),
        }
    })
}
