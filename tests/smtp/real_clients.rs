//! Programs that people use, on real sockets. A missing program fails the test: the Makefile
//! installs it.
use std::process::Stdio;

use tokio::process::Command;
use vaguemestre::server::smtp::SmtpDoor;

use super::clerk::Clerk;
use super::limits::open;

async fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap_or_else(|error| panic!("{program} is needed (apt install {program}): {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program}:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn swaks_sends_through_both_submission_ports_with_both_mechanisms() {
    let clerk = Clerk::new();
    let (submission, _first) = open(&clerk, SmtpDoor::Submission).await;
    let (submissions, _second) = open(&clerk, SmtpDoor::Submissions).await;
    for (port, tls) in [(submission.port(), "-tls"), (submissions.port(), "-tlsc")] {
        for mechanism in ["PLAIN", "LOGIN"] {
            let port = port.to_string();
            run(
                "swaks",
                &[
                    "--server",
                    "127.0.0.1",
                    "--port",
                    &port,
                    tls,
                    "--auth",
                    mechanism,
                    "--auth-user",
                    "lune@hopital.mssante.test",
                    "--auth-password",
                    "secret",
                    "--from",
                    "lune@hopital.mssante.test",
                    "--to",
                    "martin@cabinet.mssante.test,postmaster@cabinet.mssante.test",
                    "--header",
                    "Subject: swaks",
                    "--body",
                    ".\n..\nfin",
                    "--pipeline",
                ],
            )
            .await;
        }
    }
    let letters = clerk.letters();
    assert_eq!(letters.len(), 4);
    for letter in letters {
        assert_eq!(letter.recipients.len(), 2);
        let content = String::from_utf8(letter.content).unwrap();
        assert!(content.contains("\r\n.\r\n..\r\nfin"), "{content:?}");
    }
}

/// The standard library of Python: many hospital scripts send with it.
const PYTHON: &str = r#"
import smtplib, ssl, sys
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as smtp:
    smtp.starttls(context=context)
    smtp.login("lune@hopital.mssante.test", "secret")
    assert smtp.has_extn("smtputf8") and smtp.has_extn("dsn") and smtp.has_extn("chunking")
    refused = smtp.sendmail(
        "lune@hopital.mssante.test", ["martin@x.fr", "unknown@x.fr"], "Subject: x\n\n.\nbye\n",
        mail_options=["RET=HDRS"], rcpt_options=["NOTIFY=SUCCESS"])
    assert refused["unknown@x.fr"][0] == 550, refused
    smtp.sendmail("lune@hopital.mssante.test", "hélène@x.fr", "Subject: é\r\n".encode(),
        mail_options=["SMTPUTF8", "BODY=8BITMIME"])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_python_script_sends_with_starttls_dsn_and_smtputf8() {
    let clerk = Clerk::new();
    let (address, _handle) = open(&clerk, SmtpDoor::Submission).await;
    run("python3", &["-c", PYTHON, &address.port().to_string()]).await;
    let letters = clerk.letters();
    assert_eq!(letters[0].content, b"Subject: x\r\n\r\n.\r\nbye\r\n");
    assert_eq!(letters[1].recipients[0].address.to_string(), "hélène@x.fr");
    assert_eq!(letters[1].accepted.caller().protocol, "UTF8SMTPSA");
}
