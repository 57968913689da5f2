//! Programs that others wrote log in, by every mechanism that they know; and what lasts after it.
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use crate::support::running;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;

const HOST: &str = "hopital.mssante.test";
/// No authority of these tests publishes revocations.
const ALONE: &str = "[revocation]\nmode = \"off\"\n";
const EVA: &str = "eva.lune@hopital.mssante.test";
const DPI: &str = "dpi@hopital.mssante.test";

/// GNU SASL logs in at a door, and sees our proof; what it says tells both. (Over SMTP it says
/// STARTTLS before EHLO.)
fn gsasl(relay: &Serving<'_>, door: &str, mechanism: &str, password: &str) -> bool {
    let connect = format!("127.0.0.1:{}", relay.port(door));
    let protocol = if door == "imap" { "--imap" } else { "--smtp" };
    let ca = relay.ca_file();
    let mut gsasl = Command::new("gsasl");
    gsasl
        .args(["--client", "--no-client-first", protocol, "--mechanism", mechanism])
        .args(["--authentication-id", EVA, "--password", password, "--connect", &connect])
        .args(["--x509-ca-file", ca.to_str().unwrap(), "--starttls"]);
    // With a channel at hand it takes a mechanism without binding for a downgrade.
    if mechanism == "SCRAM-SHA-256" {
        gsasl.arg("--no-cb");
    }
    let output = gsasl.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("gsasl (scripts/need test): {error}"));
    running::said(&output).contains("Client authentication finished (server trusted)")
}

/// msmtp sends a letter after a login by this mechanism.
fn msmtp(relay: &Serving<'_>, method: &str, password: &str) -> bool {
    let ca = relay.ca_file();
    let port = relay.port("submission").to_string();
    let mut child = Command::new("msmtp")
        .args(["--file=/dev/null", "--host=127.0.0.1", "--port", &port, "--from", EVA])
        .args(["--tls=on", "--tls-starttls=on", "--tls-trust-file", ca.to_str().unwrap()])
        .args([&format!("--auth={method}"), "--user", EVA])
        .args(["--passwordeval", &format!("echo '{password}'"), EVA])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("msmtp (scripts/need test): {error}"));
    let letter = format!(
        "From: {EVA}\r\nTo: {EVA}\r\nSubject: {method}\r\n\
         Message-ID: <{method}@hopital.mssante.test>\r\n\
         Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\nx\r\n"
    );
    child.stdin.take().unwrap().write_all(letter.as_bytes()).unwrap();
    child.wait_with_output().unwrap().status.success()
}

#[test]
fn programs_prove_their_password_and_trust_our_proof() {
    let space = Space::of(&[HOST]);
    let relay = space.relay(0).with(ALONE).start(&[EVA]);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN"] {
        for door in ["imap", "submission"] {
            let is_in = gsasl(&relay, door, mechanism, PASSWORD);
            assert!(is_in, "{mechanism} at {door}\n{}", relay.log());
        }
    }
    assert!(!gsasl(&relay, "imap", "SCRAM-SHA-256", "wrong"));
    for method in ["scram-sha-256", "plain", "login"] {
        assert!(msmtp(&relay, method, PASSWORD), "{method}\n{}", relay.log());
    }
    assert!(!msmtp(&relay, "scram-sha-256", "wrong"));
}

/// A CA, and a certificate of a program below it: files `ca.pem`, `dpi.pem`, `dpi.key`, and the
/// same of somebody whom nobody knows.
fn certificates(folder: &Path) {
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::new(Vec::new()).unwrap();
    root.distinguished_name.push(rcgen::DnType::CommonName, "AC LOGICIELS");
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(folder.join("ca.pem"), root.self_signed(&root_key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(root, root_key);
    for name in ["dpi", "other"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new(Vec::new()).unwrap();
        leaf.distinguished_name.push(rcgen::DnType::CommonName, name);
        leaf.distinguished_name.push(rcgen::DnType::OrganizationName, "CHU Lune");
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let pem = leaf.signed_by(&key, &issuer).unwrap().pem();
        std::fs::write(folder.join(format!("{name}.pem")), pem).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

const EXTERNAL: &str = r#"
import base64, imaplib, smtplib, ssl, sys
ca, submissions, imaps, folder, mailbox = sys.argv[1:6]
def tls(name):
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    if name:
        context.load_cert_chain(f"{folder}/{name}.pem", f"{folder}/{name}.key")
    return context
def smtp(name):
    client = smtplib.SMTP_SSL("127.0.0.1", int(submissions), context=tls(name), timeout=20)
    client.ehlo("programme")
    return client
def answer(client, authzid):
    return client.docmd("AUTH", "EXTERNAL " + (base64.b64encode(authzid.encode()).decode() or "="))[0]
for name in (None, "other"):
    client = smtp(name)
    assert "EXTERNAL" not in client.esmtp_features["auth"], client.esmtp_features
    assert answer(client, "") == 504
client = smtp("dpi")
assert "EXTERNAL" in client.esmtp_features["auth"].split(), client.esmtp_features
assert answer(client, "director@hopital.mssante.test") == 535
assert answer(client, mailbox) == 235
client = smtp("dpi")
assert answer(client, "") == 235
client.sendmail(mailbox, [mailbox], f"From: {mailbox}\r\nTo: {mailbox}\r\nSubject: x\r\nMessage-ID: <1@hopital.mssante.test>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\nx\r\n")
client = imaplib.IMAP4_SSL("127.0.0.1", int(imaps), ssl_context=tls("dpi"), timeout=20)
assert "AUTH=EXTERNAL" in client.capabilities, client.capabilities
assert client.authenticate("EXTERNAL", lambda challenge: b"")[0] == "OK"
client = imaplib.IMAP4_SSL("127.0.0.1", int(imaps), ssl_context=tls(None), timeout=20)
assert "AUTH=EXTERNAL" not in client.capabilities
try:
    client.authenticate("EXTERNAL", lambda challenge: b"")
    raise SystemExit("let in")
except imaplib.IMAP4.error as error:
    assert "CANNOT" in str(error), error
print("fine")
"#;

#[test]
fn software_shows_its_certificate_and_a_stranger_is_not_even_offered_it() {
    let space = Space::of(&[HOST]);
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let section = format!(
        "{ALONE}[login]\nclient_anchors = [{:?}]\n[login.certificates]\n\"O=CHU lune, CN=DPI\" = {DPI:?}\n",
        folder.path().join("ca.pem")
    );
    let relay = space.relay(0).with(&section).start(&[DPI]);
    let ca = relay.ca_file();
    let (submissions, imaps) = (relay.port("submissions"), relay.port("imaps"));
    let output = running::run(
        "python3",
        &[
            "-c",
            EXTERNAL,
            ca.to_str().unwrap(),
            &submissions.to_string(),
            &imaps.to_string(),
            folder.path().to_str().unwrap(),
            DPI,
        ],
    );
    assert!(running::said(&output).contains("fine"), "{}\n{}", running::said(&output), relay.log());
    let swaks = running::run(
        "swaks",
        &[
            "--server",
            "127.0.0.1",
            "--port",
            &submissions.to_string(),
            "--tls-on-connect",
            "--tls-cert",
            folder.path().join("dpi.pem").to_str().unwrap(),
            "--tls-key",
            folder.path().join("dpi.key").to_str().unwrap(),
            "--quit-after",
            "EHLO",
        ],
    );
    assert!(running::said(&swaks).contains("AUTH EXTERNAL"), "{}", running::said(&swaks));
}

/// Waits for news, and prints what it hears.
pub(crate) const IDLE: &str = r#"
import imaplib, ssl, sys
ca, imaps, user, password = sys.argv[1:5]
context = ssl.create_default_context(cafile=ca)
context.check_hostname = False
client = imaplib.IMAP4_SSL("127.0.0.1", int(imaps), ssl_context=context, timeout=60)
client.login(user, password)
client.select("INBOX")
client.send(b"i IDLE\r\n")
print(client.readline().decode().strip(), flush=True)
while line := client.readline():
    print(line.decode().strip(), flush=True)
print("closed", flush=True)
"#;

#[test]
fn a_session_that_is_ended_hears_so_at_once_while_it_idles() {
    let space = Space::of(&[HOST]);
    let relay = space.relay(0).with(ALONE).start(&[EVA]);
    let imaps = relay.port("imaps").to_string();
    let ca = relay.ca_file();
    let mut client = Command::new("python3")
        .args(["-c", IDLE, ca.to_str().unwrap(), &imaps, EVA, PASSWORD])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "+ idling");
    let listed = relay.json(&["session", "list", "--mailbox", EVA]);
    assert_eq!(listed[0]["door"], "imap", "{listed}");
    assert_eq!(
        (&listed[0]["means"], &listed[0]["peer"]),
        (&"password".into(), &"127.0.0.1".into())
    );
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    let killed = relay.json(&["session", "kill", &id, "--reason", "lost phone"]);
    assert_eq!(killed["killed"], 1);
    let rest: Vec<String> = lines.collect();
    assert!(rest[0].starts_with("* BYE This session was ended"), "{rest:?}");
    assert_eq!(rest.last().unwrap(), "closed");
    client.wait().unwrap();
    assert!(relay.json(&["session", "list"]).as_array().unwrap().is_empty());
    let journal = relay.json(&["admin", "journal"]);
    assert_eq!(journal[0]["action"], "session kill", "{journal}");
    assert_eq!(journal[0]["reason"], "lost phone");
    let again = relay.command(&["session", "kill", &id, "--reason", "again"]);
    assert!(!again.status.success());
}
