//! The operator's master key: files, credentials, tokens, changes of it while letters come and go,
//! and what the process does to keep secrets in its memory.
mod hardening; // no dumps, no swap, no temporary files
mod rewrap; // thousands of mailboxes, and a relay that is killed
mod rotation; // step by step, as an administrator does it
mod token; // SoftHSM

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use crate::support::serving::Serving;
use crate::support::serving::Space;

const HOST: &str = "hopital.mssante.test";
const LUNE: &str = "dr.lune@hopital.mssante.test";

/// The relay of the first operator, not started yet.
fn relay(space: &Space) -> Serving<'_> {
    space.relay(0).with("[revocation]\nmode = \"off\"\n")
}

/// Writes a key of 32 times this octet, mode 600.
fn write_key(path: &Path, octet: u8) {
    fs::write(path, [octet; 32]).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Sets the lines of the master keys in a relay's configuration.
fn use_keys(relay: &Serving<'_>, current: &str, old: &[&str]) {
    let text = fs::read_to_string(relay.config()).unwrap();
    let lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with("master_keys_old"))
        .flat_map(|line| match line.starts_with("master_key = ") {
            true => vec![format!("master_key = {current:?}"), format!("master_keys_old = {old:?}")],
            false => vec![line.to_owned()],
        })
        .collect();
    fs::write(relay.config(), lines.join("\n")).unwrap();
}

fn first_key(relay: &Serving<'_>) -> PathBuf {
    relay.folder.join("master.key")
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Sends a letter from the mailbox to itself, and waits for it.
async fn letter(relay: &Serving<'_>, subject: &str) {
    let mut smtp = relay.submission(LUNE).await;
    let letter = format!("From: {LUNE}\r\nTo: {LUNE}\r\nSubject: {subject}\r\n\r\nBonjour\r\n");
    smtp.send(LUNE, &[LUNE], letter.as_bytes()).await.unwrap();
    relay.wait_for(LUNE, subject).await;
}

/// Version, state and number of wrapped keys of every version.
fn versions(relay: &Serving<'_>) -> Vec<(u64, String, u64)> {
    let status = relay.json(&["keys", "master", "status"]);
    let versions = status["status"]["versions"].as_array().or(status["versions"].as_array());
    let line = |line: &serde_json::Value| {
        let state = line["state"].as_str().unwrap().to_owned();
        (line["version"].as_u64().unwrap(), state, line["keys"].as_u64().unwrap())
    };
    versions.unwrap().iter().map(line).collect()
}
