//! Mail programs that others wrote, and a model of our own, against a whole relay over TLS.
mod curl;
mod fairness;
mod fetchers;
mod interimap;
mod mbsync;
pub(crate) mod neomutt;
mod offlineimap;
mod python;
mod stress;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;

use crate::support::imap::Client;
use crate::support::letters;
use crate::support::running;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;

const DOMAIN: &str = "hopital.mssante.test";
const USER: &str = "claire.fontaine@hopital.mssante.test";
const COLLEAGUE: &str = "hugo.oreade@hopital.mssante.test";
const SETTINGS: &str = "[revocation]\nmode = \"off\"\n";

/// A mail program that takes longer hangs, however busy the machine is.
const PROGRAM_SECONDS: u64 = 240;

fn space() -> Space {
    Space::of(&[DOMAIN])
}

/// A relay with two mailboxes.
fn relay(space: &Space) -> Serving<'_> {
    space.relay(0).with(SETTINGS).start(&[USER, COLLEAGUE])
}

async fn client(relay: &Serving<'_>, user: &str) -> anyhow::Result<Client> {
    Client::open(relay.door("imaps"), &relay.tls(), user, PASSWORD).await
}

/// A message as it lies in a folder: what two copies must agree on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lying {
    message_id: String,
    flags: BTreeSet<String>,
    /// Octets and digest of the content, without what a synchroniser adds for itself: a failure
    /// shall not print letters.
    content: String,
}

impl Lying {
    fn read(octets: &[u8], flags: impl IntoIterator<Item = String>) -> Self {
        let text = String::from_utf8_lossy(octets).replace("\r\n", "\n");
        let mut lines: Vec<&str> = text.split('\n').collect();
        // The header by which mbsync finds a copy whose number it never heard.
        lines.retain(|line| !line.starts_with("X-TUID: ") && !line.starts_with("X-OfflineIMAP: "));
        let id = lines.iter().find_map(|line| line.strip_prefix("Message-ID: "));
        let message_id = id.unwrap_or("none").to_owned();
        Self { message_id, flags: flags.into_iter().collect(), content: digest(&lines.join("\n")) }
    }
}

/// Octets and a digest.
fn digest(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let short: String =
        digest.as_ref().iter().take(6).map(|octet| format!("{octet:02x}")).collect();
    format!("{} octets, {short}", text.len())
}

/// Every folder of a mailbox on the relay.
async fn on_the_server(
    relay: &Serving<'_>,
    user: &str,
) -> anyhow::Result<BTreeMap<String, Vec<Lying>>> {
    let mut client = client(relay, user).await?;
    let mut folders = BTreeMap::new();
    let listed = client.ok("LIST \"\" *").await?;
    let names = listed.untagged.iter().filter_map(|response| response.named("LIST"));
    for name in names.filter_map(|words| words.last()?.text()) {
        client.ok(&format!("EXAMINE \"{name}\"")).await?;
        let fetched = client.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])").await?;
        let mut all = Vec::new();
        for response in &fetched.untagged {
            let Some(body) = response.item("BODY[]") else { continue };
            let crate::support::imap::Value::Text(octets) = body else {
                anyhow::bail!("no body: {}", response.raw);
            };
            let flags = response.item("FLAGS").context("no FLAGS")?;
            all.push(Lying::read(octets, flags.list().iter().filter_map(|flag| flag.text())));
        }
        all.sort();
        folders.insert(name, all);
    }
    Ok(folders)
}

/// Files letters in a folder of the mailbox.
async fn file(
    client: &mut Client,
    folder: &str,
    flags: &str,
    letter: &[u8],
) -> anyhow::Result<u32> {
    let mut command =
        format!("APPEND \"{folder}\" ({flags}) {{{}+}}\r\n", letter.len()).into_bytes();
    command.extend_from_slice(letter);
    let answer = client.say_octets(&command).await?;
    let answer = answer.expect(crate::support::imap::Status::Ok)?;
    let code = answer.code_of("APPENDUID").context("no APPENDUID")?;
    Ok(code.split(' ').nth(1).context("no UID")?.parse()?)
}

/// A letter to the mailbox, with a Message-ID of its own; answers both.
fn letter(octets: usize) -> (String, Vec<u8>) {
    let id = letters::message_id();
    let letter = letters::letter(COLLEAGUE, USER, &id, octets);
    (id, letter)
}

/// Octets for a Maildir: lines end with LF there.
fn with_unix_lines(letter: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(letter).replace("\r\n", "\n").into_bytes()
}

fn program(name: &str, home: &Path) -> Command {
    let mut command = Command::new(name);
    command.env("HOME", home).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Runs a program to its end; a missing one is a failure that names it, and so is one that hangs.
fn run(command: &mut Command) -> Output {
    let shown = format!("{command:?}");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{shown} (make deps installs it): {error}"));
    finish(child, &shown)
}

/// [`run`], which must end well.
fn succeed(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = run(command);
    let said = running::said(&output);
    assert!(output.status.success(), "{shown} ended with {}:\n{said}", output.status);
    said
}

fn finish(child: Child, shown: &str) -> Output {
    let pid = child.id();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let shown = shown.to_owned();
    let watch = std::thread::spawn(move || {
        let waited = ended.recv_timeout(Duration::from_secs(PROGRAM_SECONDS));
        let hangs = matches!(waited, Err(std::sync::mpsc::RecvTimeoutError::Timeout));
        if hangs {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        hangs
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    assert!(!watch.join().unwrap(), "{shown} hangs:\n{}", running::said(&output));
    output
}

/// A file that holds a configuration, readable by its owner alone, as these programs want it.
fn configuration(folder: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

impl Serving<'_> {
    fn ca(&self) -> String {
        self.ca_file().display().to_string()
    }
}
