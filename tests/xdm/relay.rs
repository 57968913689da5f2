//! A whole relay and letters with documents: they pass as they are, are counted, and are warned
//! about or refused where the configuration says so.
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::made;
use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

const HUGO: &str = "hugo.oreade@hopital.mssante.test";
const CLAIRE: &str = "claire.fontaine@hopital.mssante.test";
const ADA: &str = "288027599000175@patient.mssante.test";

/// A letter as it lies in somebody's inbox.
async fn fetched(running: &Running, user: &str, id: &str) -> Vec<u8> {
    assert_eq!(running.arrived(0, user, id).await, 1, "{id}");
    let mut imap = running.imap(0, user).await;
    imap.command("SELECT INBOX").await.unwrap();
    let found = imap.command(&format!("UID SEARCH HEADER Message-ID \"{id}\"")).await.unwrap();
    let line = String::from_utf8(found.concat()).unwrap();
    let uid = line.split_whitespace().find(|word| word.parse::<u32>().is_ok()).unwrap().to_owned();
    imap.command(&format!("UID FETCH {uid} (BODY.PEEK[])")).await.unwrap().concat()
}

/// The letters that answer this one, in a sender's inbox.
async fn warnings(running: &Running, user: &str, id: &str) -> Vec<String> {
    let mut imap = running.imap(0, user).await;
    imap.command("SELECT INBOX").await.unwrap();
    let search = format!("UID SEARCH HEADER In-Reply-To \"{id}\"");
    let line = String::from_utf8(imap.command(&search).await.unwrap().concat()).unwrap();
    let mut found = Vec::new();
    for uid in line.split_whitespace().filter(|word| word.parse::<u32>().is_ok()) {
        let body = imap.command(&format!("UID FETCH {uid} (BODY.PEEK[])")).await.unwrap();
        found.push(String::from_utf8(body.concat()).unwrap());
    }
    found
}

/// How often each (event, reason) happened at the hospital.
fn counted(running: &Running, event: &str, reason: &str) -> u64 {
    let config = running.json["operators"][0]["config"].as_str().unwrap();
    let program = env!("CARGO_BIN_EXE_vaguemestre");
    let told = running::run(program, &["stats", "show", "--json", "--config", config]);
    let stats: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let rows = stats["rows"].as_array().unwrap().iter();
    let rows = rows.filter(|row| row["event"] == event && row["reason"] == reason);
    rows.map(|row| row["count"].as_u64().unwrap()).sum()
}

/// A relay with other settings. The demonstration plays first, without them: not all of its own
/// documents go to the right patient.
fn configured(keep: &Path, environment: &[(&str, &Path)]) -> Running {
    let (folder, ports) = (keep.join("demo"), running::free_port_base());
    let mut running = Running::start(&folder, ports, &[]);
    assert!(running.terminate().success());
    Running::start_with(&folder, ports, &[], environment)
}

fn contains(octets: &[u8], wanted: &[u8]) -> bool {
    octets.windows(wanted.len()).any(|window| window == wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_with_documents_pass_unchanged_and_are_counted_whatever_is_wrong_with_them() {
    let running = Running::new(&[]);
    let before = counted(&running, "document", "18748-4 qualified");
    let absent = counted(&running, "document", "18748-4 absent");
    let differed = counted(&running, "document-finding", "recipient-differs");
    let mut session = running.submission(0, HUGO).await;
    let bomb = made::changed(|files| {
        files.push(("IHE_XDM/ZEROS.BIN".to_owned(), vec![0; 60_000_000]));
    });
    for (to, archive) in [
        (CLAIRE, made::vector("xdm/IHE_XDM.ZIP")),
        (ADA, made::about(made::BASILE)),
        (CLAIRE, made::vector("xdm/neg/hash_mismatch.zip")),
        (CLAIRE, made::vector("xdm/neg/zip_slip.zip")),
        (CLAIRE, bomb),
        (CLAIRE, b"PK\x03\x04 not really".to_vec()),
    ] {
        let id = letters::message_id();
        let letter = made::letter(HUGO, to, &id, &archive);
        // A patient reads on a page; the copy of a colleague is looked at.
        let to = if to == CLAIRE { vec![CLAIRE] } else { vec![to, CLAIRE] };
        session.send(HUGO, &to, &letter).await.unwrap();
        let arrived = fetched(&running, CLAIRE, &id).await;
        assert!(contains(&arrived, &letter), "a letter was changed on its way");
        assert!(warnings(&running, HUGO, &id).await.is_empty(), "nobody asked for warnings");
    }
    assert_eq!(counted(&running, "document", "18748-4 qualified"), before + 5);
    let speechless = counted(&running, "document", "18748-4 absent");
    assert_eq!(speechless, absent + 1, "only the header of the last one speaks");
    for (finding, count) in [
        ("recipient-differs", differed + 1),
        ("hash-differs", 1),
        ("path-escape", 1),
        ("too-large", 1),
        ("archive-damaged", 1),
    ] {
        assert_eq!(counted(&running, "document-finding", finding), count, "{finding}");
    }
    let log = running.log();
    assert!(log.contains("documents were tagged"), "the log was searched, and it must speak");
    for secret in [made::ADA, made::BASILE, "EXEMPLIER", "2880275990001", "1150675990002"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_is_warned_once_that_the_document_is_about_somebody_else() {
    let environment = [("VAGUEMESTRE__DOCUMENTS__WARN_SENDER", Path::new("true"))];
    let keep = tempfile::tempdir().unwrap();
    let running = configured(keep.path(), &environment);
    let mut session = running.submission(0, HUGO).await;
    let wrong = made::about(made::BASILE);
    let send =
        async |session: &mut vaguemestre::demo::client::Submission, more: &str, archive: &[u8]| {
            let id = letters::message_id();
            let header = format!("Subject: XDM/1.0/DDM+CR\r\nX-MSS-INS: O\r\n{more}");
            let letter = made::letter_with(HUGO, ADA, &id, &header, "IHE_XDM.ZIP", archive);
            session.send(HUGO, &[CLAIRE, ADA], &letter).await.unwrap();
            assert_eq!(running.arrived(0, CLAIRE, &id).await, 1, "tagged, not refused");
            id
        };
    let id = send(&mut session, "", &wrong).await;
    let found = warnings(&running, HUGO, &id).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let warning = &found[0];
    assert!(warning.contains("Auto-Submitted: auto-replied"), "{warning}");
    let body = warning.split("\r\n\r\n").nth(1).unwrap().split(')').next().unwrap();
    let body: String = body.split_whitespace().collect();
    let body = String::from_utf8(STANDARD.decode(body).unwrap()).unwrap();
    for words in ["concerne un autre patient", "is about another patient"] {
        assert!(body.contains(words), "{body}");
    }
    for text in [warning, &body] {
        for secret in [made::ADA, made::BASILE, "EXEMPLIER", "2880275", "1150675"] {
            assert!(!text.contains(secret), "{secret} is in the warning: {text}");
        }
    }
    assert!(warnings(&running, CLAIRE, &id).await.is_empty());

    // The right patient, an automatic letter, a letter without a sender: no warning.
    let right = send(&mut session, "", &made::vector("xdm/IHE_XDM.ZIP")).await;
    let automatic = send(&mut session, "Auto-Submitted: auto-generated\r\n", &wrong).await;
    for id in [right, automatic] {
        assert!(warnings(&running, HUGO, &id).await.is_empty(), "{id}");
    }
    let id = letters::message_id();
    let letter = made::letter(HUGO, ADA, &id, &wrong);
    session.send("", &[ADA], &letter).await.unwrap();
    assert!(warnings(&running, HUGO, &id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_about_somebody_else_is_refused_where_the_configuration_says_so() {
    let environment = [("VAGUEMESTRE__DOCUMENTS__REFUSE_MISMATCH", Path::new("true"))];
    let keep = tempfile::tempdir().unwrap();
    let running = configured(keep.path(), &environment);
    let mut session = running.submission(0, HUGO).await;
    let wrong = made::about(made::BASILE);
    let refused = letters::message_id();
    let letter = made::letter(HUGO, ADA, &refused, &wrong);
    let said = session.send(HUGO, &[CLAIRE, ADA], &letter).await.unwrap_err().to_string();
    assert!(said.contains("550 5.7.1"), "{said}");
    assert!(!said.contains(made::BASILE), "{said}");
    let mut session = running.submission(0, HUGO).await;
    for (to, archive) in [
        (ADA, made::vector("xdm/IHE_XDM.ZIP")),
        // Nobody is a patient here, so nobody is somebody else.
        (CLAIRE, wrong),
        (ADA, made::vector("xdm/IHE_XDM_sans_INS.ZIP")),
        (ADA, made::vector("xdm/neg/missing_metadata.zip")),
        (ADA, b"not an archive".to_vec()),
    ] {
        let id = letters::message_id();
        let letter = made::letter(HUGO, to, &id, &archive);
        session.send(HUGO, &[to], &letter).await.unwrap();
        assert!(to != CLAIRE || running.arrived(0, to, &id).await == 1);
    }
    let mut imap = running.imap(0, CLAIRE).await;
    assert_eq!(imap.count_in_inbox(&refused).await.unwrap(), 0, "refused before it was kept");
    assert_eq!(counted(&running, "refused", "document-patient-differs"), 1);
}
