//! Reports, receipts, timelines and promises, as senders and administrators see them.
#[path = "reports/alone.rs"]
mod alone;
#[path = "reports/hop.rs"]
mod hop;
#[path = "reports/passing.rs"]
mod passing;
#[path = "reports/success.rs"]
mod success;
#[path = "reports/waiting.rs"]
mod waiting;

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use vaguemestre::demo::client::Imap;

use crate::support::running;
use crate::support::running::Running;

const HUGO: &str = "hugo.oreade@hopital.mssante.test";
const CLAIRE: &str = "claire.fontaine@hopital.mssante.test";
const AMINE: &str = "amine.belcourt@hopital.mssante.test";
const PAUL: &str = "paul.verdier@cabinet.mssante.test";
const ELOISE: &str = "eloise.lumier@cabinet.mssante.test";
const ADA: &str = "288027599000175@patient.mssante.test";

/// Python's own SMTP client: it sends the octets as they are, with any parameter.
const SENDER: &str = r#"
import json, smtplib, ssl, sys
task = json.load(sys.stdin)
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if task.get("cert"):
    context.load_cert_chain(task["cert"], task["key"])
with smtplib.SMTP("127.0.0.1", task["port"], local_hostname="mx.client.test") as smtp:
    smtp.starttls(context=context)
    if task.get("user"):
        smtp.login(task["user"], task["password"])
    assert smtp.has_extn("dsn"), "DSN is not announced"
    code, text = smtp.docmd("MAIL FROM:<%s>%s" % (task["from"], task["mail"]))
    assert code == 250, text
    for to, options in task["to"]:
        code, text = smtp.docmd("RCPT TO:<%s>%s" % (to, options))
        assert code == 250, text
    with open(task["file"], "rb") as file:
        code, text = smtp.data(file.read())
    assert code == 250, text
    print(text.decode())
"#;

/// How a letter is sent.
struct Sending<'a> {
    from: &'a str,
    /// Parameters of MAIL, each with a space before it.
    mail: &'a str,
    /// Recipients and parameters of RCPT.
    to: &'a [(&'a str, &'a str)],
    content: &'a [u8],
}

impl Sending<'_> {
    /// Through the submission door.
    fn submit(&self, demo: &Running, operator: usize) -> String {
        let port = demo.port(operator, "submission");
        let login = serde_json::json!({"user": self.from, "password": demo.password(self.from)});
        self.send(port, &login)
    }

    /// Through the operators' door of `to`, as `operator`.
    fn relay(&self, demo: &Running, operator: usize, to: usize) -> String {
        let file = |name: &str| demo.json["operators"][operator][name].clone();
        let certificate = serde_json::json!({"cert": file("mx_cert"), "key": file("mx_key")});
        self.send(demo.port(to, "mx"), &certificate)
    }

    fn send(&self, port: u16, as_whom: &Value) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("letter");
        std::fs::write(&file, self.content).unwrap();
        let mut task = serde_json::json!({
            "port": port, "from": self.from, "mail": self.mail, "to": self.to, "file": file,
        });
        for (name, value) in as_whom.as_object().unwrap() {
            task[name] = value.clone();
        }
        python(SENDER, task.to_string().as_bytes())
    }
}

/// Runs a Python program with this input; it must succeed.
fn python(program: &str, input: &[u8]) -> String {
    use std::io::Write;
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("python3 (make deps installs it): {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", running::said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// `vaguemestre trace ID --json` at an operator.
fn trace(demo: &Running, operator: usize, id: &str) -> Value {
    let output = vaguemestre(demo, operator, &["trace", id, "--json"]);
    assert!(output.status.success(), "{}", running::said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn vaguemestre(demo: &Running, operator: usize, arguments: &[&str]) -> std::process::Output {
    let config = demo.json["operators"][operator]["config"].as_str().unwrap();
    let mut all = arguments.to_vec();
    all.extend(["--config", config]);
    running::run(env!("CARGO_BIN_EXE_vaguemestre"), &all)
}

/// The names of a recipient's steps in the first letter of a trace.
fn steps(traced: &Value, recipient: &str) -> Vec<String> {
    let all = traced[0]["recipients"].as_array().unwrap();
    let found = all.iter().find(|one| one["recipient"] == recipient);
    let found = found.unwrap_or_else(|| panic!("{recipient} is not in {traced:#}"));
    let name = |step: &Value| {
        let outcome = step["outcome"].as_str().map(|outcome| format!(" {outcome}"));
        format!("{}{}", step["step"].as_str().unwrap(), outcome.unwrap_or_default())
    };
    found["steps"].as_array().unwrap().iter().map(name).collect()
}

/// Waits until a recipient's steps hold this one.
async fn step_comes(demo: &Running, operator: usize, id: &str, recipient: &str, step: &str) {
    let mut last = Vec::new();
    for _ in 0..300 {
        last = steps(&trace(demo, operator, id), recipient);
        if last.iter().any(|one| one == step) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{step} does not come: {last:?}");
}

/// The reports in INBOX that answer this Message-ID, whole.
async fn reports(imap: &mut Imap, about: &str) -> Vec<Vec<u8>> {
    imap.command("SELECT INBOX").await.unwrap();
    let search = format!("UID SEARCH HEADER In-Reply-To \"{about}\" HEADER Content-Type report");
    let found = imap.command(&search).await.unwrap().concat();
    let line = String::from_utf8(found).unwrap();
    let line = line.lines().find(|line| line.starts_with("* SEARCH")).unwrap().to_owned();
    let mut reports = Vec::new();
    for uid in line.split_whitespace().skip(2) {
        let fetched = imap.command(&format!("UID FETCH {uid} BODY.PEEK[]")).await.unwrap();
        reports.push(literal(&fetched.concat()));
    }
    reports
}

/// Waits until so many reports are there.
async fn reports_come(imap: &mut Imap, about: &str, count: usize) -> Vec<Vec<u8>> {
    for _ in 0..300 {
        let found = reports(imap, about).await;
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{count} reports about {about} do not come");
}

/// The content of a FETCH response's only literal.
fn literal(response: &[u8]) -> Vec<u8> {
    let start = response.windows(3).position(|three| three == b"}\r\n").unwrap() + 3;
    let open = response[..start].iter().rposition(|octet| *octet == b'{').unwrap();
    let size: usize = std::str::from_utf8(&response[open + 1..start - 3]).unwrap().parse().unwrap();
    response[start..start + size].to_vec()
}

/// What Python's email package reads in a report.
fn second_opinion(report: &[u8]) -> Value {
    const READER: &str = r#"
import email, email.policy, json, sys
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
assert message.get_content_type() == "multipart/report", message.get_content_type()
assert message.get_param("report-type") == "delivery-status"
assert not message.defects, message.defects
human, status, returned = list(message.iter_parts())
assert human.get_content_type() == "text/plain" and status.get_content_type() == "message/delivery-status"
blocks = [{name: str(value) for name, value in block.items()} for block in status.get_payload()]
whole = returned.get_payload()[0] if returned.get_content_type() == "message/rfc822" else None
print(json.dumps({
    "text": human.get_content(), "letter": blocks[0], "recipients": blocks[1:],
    "subject": message["Subject"], "path": message["Return-Path"],
    "returned": returned.get_content_type(),
    "body": whole.get_payload() if whole else None,
    "headers": None if whole else returned.get_content(),
}))
"#;
    serde_json::from_str(&python(READER, report)).unwrap()
}

/// A file in a demonstration's folder that somebody changes between two runs.
fn edit(file: &Path, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, change(text)).unwrap();
}

fn config_of(demo: &Running, operator: usize) -> PathBuf {
    demo.json["operators"][operator]["config"].as_str().unwrap().into()
}
