//! curl, which programs that file or fetch one letter use.
use std::fs;

use crate::clients::USER;
use crate::support::running;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;

fn curl(relay: &Serving<'_>, path: &str, more: &[&str]) -> (bool, String) {
    let url = format!("imaps://127.0.0.1:{}/{path}", relay.port("imaps"));
    let folder = relay.folder.clone();
    let login = format!("{USER}:{PASSWORD}");
    let mut command = super::program("curl", &folder);
    command.args(["-sS", "--ssl-reqd", "--cacert", &relay.ca(), "-u", &login, &url]).args(more);
    let output = super::run(&mut command);
    (output.status.success(), running::said(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_files_searches_fetches_marks_and_removes() {
    let space = super::space();
    let relay = super::relay(&space);
    let works = |path: &str, more: &[&str]| {
        let (success, said) = curl(&relay, path, more);
        assert!(success, "{path} {more:?}: {said}");
        said
    };
    let listed = works("", &[]);
    for folder in ["INBOX", "Sent", "Drafts", "Trash", "Junk"] {
        assert!(listed.contains(folder), "{listed}");
    }
    let (id, letter) = super::letter(2_000);
    let file = relay.folder.join("letter.eml");
    fs::write(&file, &letter).unwrap();
    works("INBOX", &["-T", file.to_str().unwrap()]);
    // A file with the line ends of Unix, as programs here write them.
    let (second, letter) = super::letter(500);
    fs::write(&file, super::with_unix_lines(&letter)).unwrap();
    works("INBOX", &["-T", file.to_str().unwrap()]);

    assert!(works("INBOX?SUBJECT%20rendu", &[]).trim_end().ends_with("SEARCH 1 2"));
    assert!(works("INBOX?TEXT%20Compte%20SMALLER%201000", &[]).trim_end().ends_with("SEARCH 2"));
    let fetched = works("INBOX;UID=1", &[]);
    assert!(fetched.contains(&id), "{fetched}");
    let header = works("INBOX;UID=2;SECTION=HEADER.FIELDS%20(MESSAGE-ID)", &[]);
    assert!(header.contains(&second) && !header.contains("Subject"), "{header}");
    let part = works("INBOX;MAILINDEX=2;SECTION=TEXT", &[]);
    assert!(part.contains("Le patient va bien"), "{part}");

    works("INBOX", &["-X", "STORE 1 +FLAGS (\\Seen \\Deleted $Forwarded)"]);
    let flags = works("INBOX", &["-X", "FETCH 1:* FLAGS"]);
    assert!(flags.contains("$Forwarded") && flags.contains("\\Deleted"), "{flags}");
    works("INBOX", &["-X", "EXPUNGE"]);
    assert!(works("INBOX?ALL", &[]).trim_end().ends_with("SEARCH 1"));
    works("", &["-X", "CREATE Dossiers/Urgences"]);
    works("INBOX", &["-X", "UID MOVE 2 Dossiers/Urgences"]);
    let moved = works("Dossiers/Urgences;UID=1", &[]);
    assert!(moved.contains(&second), "{moved}");
    let status = works("", &["-X", "STATUS INBOX (MESSAGES UIDNEXT)"]);
    assert!(status.contains("MESSAGES 0") && status.contains("UIDNEXT 3"), "{status}");

    let (success, said) = curl(&relay, "Nowhere;UID=1", &[]);
    assert!(!success, "a folder that is not there was opened: {said}");
    let (success, said) = curl(&relay, "INBOX;UID=77", &[]);
    assert!(!success, "a letter that is not there was fetched: {said}");
}
