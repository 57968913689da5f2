//! Programs that carry mail away: fetchmail, which waits with IDLE, and getmail.
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::clients::COLLEAGUE;
use crate::clients::USER;
use crate::support::letters;
use crate::support::serving::PASSWORD;

#[tokio::test(flavor = "multi_thread")]
async fn getmail_fetches_every_letter_once_whole() {
    let space = super::space();
    let relay = super::relay(&space);
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let mut client = super::client(&relay, USER).await.unwrap();
    let mut letters = Vec::new();
    for octets in [400, 5_000, 200_000] {
        let (id, letter) = super::letter(octets);
        super::file(&mut client, "INBOX", "", &letter).await.unwrap();
        letters.push((id, letter));
    }
    let mail = home.join("mail");
    fs::create_dir_all(&mail).unwrap();
    // As root it would not write a Maildir itself; a program of ours takes the letters.
    let text = format!(
        "[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = 127.0.0.1\nport = {port}\n\
         username = {USER}\npassword = {PASSWORD}\nca_certs = {ca}\nmailboxes = (\"INBOX\",)\n\
         [destination]\ntype = MDA_external\npath = /bin/sh\n\
         arguments = (\"-c\", \"cat > $(mktemp {mail}/XXXXXXXX)\")\nallow_root_commands = true\n\
         [options]\nread_all = false\ndelete = false\ndelivered_to = false\nreceived = false\n\
         verbose = 2\n",
        port = relay.port("imaps"),
        ca = relay.ca(),
        mail = mail.display(),
    );
    super::configuration(home, "rc", &text);
    let getmail = || {
        let mut command = super::program("getmail", home);
        super::succeed(command.args(["--getmaildir", home.to_str().unwrap(), "--rcfile", "rc"]))
    };
    let fetched = || {
        let files = fs::read_dir(&mail).unwrap();
        let mut all: Vec<String> = files
            .map(|file| fs::read_to_string(file.unwrap().path()).unwrap().replace("\r\n", "\n"))
            .collect();
        all.sort_by_key(String::len);
        all
    };
    let said = getmail();
    let found = fetched();
    assert_eq!(found.len(), 3, "{said}");
    for (text, (id, letter)) in found.iter().zip(&letters) {
        let sent = String::from_utf8_lossy(letter).replace("\r\n", "\n");
        // It adds fields at the top and at the end of the header.
        let (header, body) = sent.split_once("\n\n").unwrap();
        assert!(text.contains(header) && text.ends_with(&format!("\n\n{body}")), "{id}:\n{said}");
    }
    let said = getmail();
    assert_eq!(fetched().len(), 3, "it knows by UID and UIDVALIDITY what it has:\n{said}");
    let (id, letter) = super::letter(600);
    super::file(&mut client, "INBOX", "", &letter).await.unwrap();
    let said = getmail();
    let found = fetched();
    assert!(found.len() == 4 && found.iter().any(|text| text.contains(&id)), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fetchmail_waits_with_idle_and_takes_each_letter_away_once() {
    let space = super::space();
    let relay = super::relay(&space);
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let taken = home.join("taken");
    let text = format!(
        "set no bouncemail\npoll 127.0.0.1 protocol IMAP service {port} user \"{USER}\" \
         password \"{PASSWORD}\" ssl sslcertck sslcertfile \"{ca}\" sslproto \"TLS1.2+\" \
         idle fetchall no keep no rewrite mda \"cat >> {taken}\"\n",
        port = relay.port("imaps"),
        ca = relay.ca(),
        taken = taken.display(),
    );
    let config = super::configuration(home, "rc", &text);
    let (first, letter) = super::letter(700);
    let mut client = super::client(&relay, USER).await.unwrap();
    super::file(&mut client, "INBOX", "", &letter).await.unwrap();
    let log = fs::File::create(home.join("log")).unwrap();
    let mut child = super::program("fetchmail", home)
        .env("FETCHMAILHOME", home)
        .args(["-v", "-v", "--nodetach", "--nosyslog", "-f", config.to_str().unwrap()])
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .expect("fetchmail (make deps installs it)");
    let said = || fs::read_to_string(home.join("log")).unwrap();
    let has = |id: &str| fs::read_to_string(&taken).is_ok_and(|text| text.contains(id));
    let mut ids = vec![first];
    // One that lay there, then some that are delivered while it waits.
    for round in 0..4 {
        for _ in 0..300 {
            if has(&ids[round]) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(has(&ids[round]), "{} did not come:\n{}", ids[round], said());
        if round < 3 {
            let id = letters::message_id();
            let letter = letters::letter(COLLEAGUE, USER, &id, 900);
            let mut submission = relay.submission(COLLEAGUE).await;
            submission.send(COLLEAGUE, &[USER], &letter).await.unwrap();
            ids.push(id);
        }
    }
    // Without `keep` it removes what it has taken.
    let mut left = usize::MAX;
    for _ in 0..100 {
        left = super::on_the_server(&relay, USER).await.unwrap()["INBOX"].len();
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(left, 0, "letters are left on the relay:\n{}", said());
    assert!(said().contains("IDLE"), "it never said IDLE:\n{}", said());
    let taken = fs::read_to_string(taken).unwrap();
    for id in ids {
        assert_eq!(taken.matches(&id).count(), 1, "{id}:\n{}", said());
    }
}
