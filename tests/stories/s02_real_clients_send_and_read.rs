//! As a clinician I send and read with the mail programs that exist: swaks, curl, mbsync.
use std::fs;
use std::process::Command;

use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

const FROM: &str = "hugo.oreade@hopital.mssante.test";

fn swaks(running: &Running, to: &str, extra: &[&str]) -> (bool, String) {
    let password = running.password(FROM);
    let ca = running.ca_file();
    let mut arguments =
        vec!["--server", "127.0.0.1", "--from", FROM, "--to", to, "--auth-user", FROM];
    arguments.extend(["--auth-password", &password, "--tls-ca-path", ca.to_str().unwrap()]);
    arguments.extend(extra);
    let output = running::run("swaks", &arguments);
    (output.status.success(), running::said(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn swaks_sends_through_both_submission_doors() {
    let running = Running::new(&[]);
    let to = "eloise.lumier@cabinet.mssante.test";
    let doors = [("submission", "--tls", "PLAIN"), ("submissions", "--tls-on-connect", "LOGIN")];
    for (door, tls, mechanism) in doors {
        let id = letters::message_id();
        let port = running.port(0, door).to_string();
        let header = format!("Message-Id: {id}");
        let extra = ["--port", &port, tls, "--auth", mechanism, "--header", &header];
        let (sent, said) = swaks(&running, to, &extra);
        assert!(sent, "{said}");
        assert_eq!(running.arrived(1, to, &id).await, 1, "through {door}");
    }
}

#[test]
fn swaks_is_told_why_a_letter_is_refused() {
    let running = Running::new(&[]);
    let port = running.port(0, "submissions").to_string();
    let cases: [(&str, &[&str], &str); 5] = [
        ("a@example.org", &[], "550 5.7.1"),
        ("nobody@hopital.mssante.test", &[], "550 5.1.1"),
        ("288027599000176@patient.mssante.test", &[], "5.1"),
        (FROM, &["--from", "claire.fontaine@hopital.mssante.test"], "5.7.1"),
        (FROM, &["--h-From", "claire.fontaine@hopital.mssante.test"], "5.7.1"),
    ];
    for (to, extra, code) in cases {
        let mut arguments = vec!["--port", &port, "--tls-on-connect", "--auth", "PLAIN"];
        arguments.extend(extra);
        let (sent, said) = swaks(&running, to, &arguments);
        assert!(!sent && said.contains(code), "{to} {extra:?} should be told {code}:\n{said}");
    }
}

#[test]
fn curl_lists_and_reads_over_imaps_and_starttls() {
    let running = Running::new(&[]);
    let user = "eloise.lumier@cabinet.mssante.test";
    let login = format!("{user}:{}", running.password(user));
    let ca = running.ca_file();
    for (scheme, door, tls) in [("imaps", "imaps", "--ssl-reqd"), ("imap", "imap", "--ssl-reqd")] {
        let url = format!("{scheme}://127.0.0.1:{}", running.port(1, door));
        let curl = |path: &str| {
            let url = format!("{url}/{path}");
            let arguments = ["-sS", tls, "--cacert", ca.to_str().unwrap(), "-u", &login, &url];
            let output = running::run("curl", &arguments);
            assert!(output.status.success(), "{}", running::said(&output));
            running::said(&output)
        };
        let folders = curl("");
        for folder in ["INBOX", "Sent", "Drafts", "Trash", "Junk"] {
            assert!(folders.contains(folder), "{folders}");
        }
        let letter = curl("INBOX;UID=1");
        assert!(letter.contains("X-MSS-NIL: NIL-EXEMPLE-0001"), "{letter}");
    }
}

#[test]
fn mbsync_copies_a_mailbox_and_brings_flags_back() {
    let running = Running::new(&[]);
    let folder = tempfile::tempdir().unwrap();
    let user = "hugo.oreade@hopital.mssante.test";
    let maildir = folder.path().join("mail");
    fs::create_dir_all(&maildir).unwrap();
    let config = folder.path().join("mbsyncrc");
    let text = format!(
        "IMAPAccount a\nHost 127.0.0.1\nPort {port}\nUser {user}\nPass {password}\nSSLType IMAPS\n\
         CertificateFile {ca}\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nPath {mail}/\n\
         Inbox {mail}/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\n\
         Create Both\nExpunge Both\nSyncState *\n",
        port = running.port(0, "imaps"),
        password = running.password(user),
        ca = running.ca_file().display(),
        mail = maildir.display(),
    );
    fs::write(&config, text).unwrap();
    let sync = || {
        let output = Command::new("mbsync")
            .args(["-c", config.to_str().unwrap(), "-a"])
            .env("HOME", folder.path())
            .output()
            .expect("mbsync (make deps installs it)");
        assert!(output.status.success(), "{}", running::said(&output));
    };
    sync();
    let letters = || {
        let folders = ["new", "cur"].map(|sub| maildir.join("INBOX").join(sub));
        let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        files.map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    let found = letters();
    assert_eq!(found.len(), 1, "{found:?}");
    // Mark it as read and answered here; the relay must know afterwards.
    let name = found[0].file_name().unwrap().to_str().unwrap().to_owned();
    let name = format!("{}:2,RS", name.split(':').next().unwrap());
    fs::rename(&found[0], maildir.join("INBOX/cur").join(name)).unwrap();
    sync();
    let flags = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut imap = running.imap(0, user).await;
        imap.command("SELECT INBOX").await.unwrap();
        String::from_utf8(imap.command("FETCH 1 (FLAGS)").await.unwrap().concat()).unwrap()
    });
    assert!(flags.contains("\\Seen") && flags.contains("\\Answered"), "{flags}");
}
