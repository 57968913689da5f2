//! Changing the master key, step by step, as docs/operations/keys.md says it.
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::HOST;
use super::LUNE;
use super::first_key;
use super::letter;
use super::text;
use super::use_keys;
use super::versions;
use super::write_key;
use crate::support::serving::Space;

#[tokio::test]
async fn a_master_key_is_changed_and_the_old_one_is_not_needed_afterwards() {
    let space = Space::of(&[HOST]);
    let mut relay = super::relay(&space).start(&[LUNE]);
    letter(&relay, "avant le changement").await;
    assert_eq!(versions(&relay), [(1, "current".to_owned(), 3)]);

    let (first, second) = (first_key(&relay), relay.folder.join("master-2.key"));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
        .args(["keys", "master", "new", &text(&second)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", crate::support::running::said(&output));
    let mode = fs::metadata(&second).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);

    // Without the old key nothing is begun, and the text says what to do.
    use_keys(&relay, &text(&second), &[]);
    let (code, said) = relay.refused();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("storage.master_key") && said.contains("master.key"), "{said}");
    assert!(said.contains("storage.master_keys_old"), "{said}");
    // Every command that opens the store says so, and ends so.
    for command in [["queue", "list"], ["mailbox", "list"], ["admin", "journal"]] {
        let refused = relay.command(&command);
        let said = crate::support::running::said(&refused);
        assert_eq!(refused.status.code(), Some(78), "{said}");
        assert!(said.contains("storage.master_key"), "{said}");
    }

    use_keys(&relay, &text(&second), &[&text(&first)]);
    relay.begin();
    let said = relay.said(&["keys", "master", "rewrap"]);
    assert!(said.contains("Everything is wrapped"), "{said}");
    assert_eq!(versions(&relay), [(1, "retired".to_owned(), 0), (2, "current".to_owned(), 3)]);
    let said = relay.said(&["keys", "master", "status"]);
    assert!(said.contains("take it out of storage.master_keys_old"), "{said}");
    assert!(relay.inbox(LUNE).await[0].contains("avant le changement"));
    letter(&relay, "apres le changement").await;

    relay.stop();
    fs::remove_file(&first).unwrap();
    use_keys(&relay, &text(&second), &[]);
    relay.begin();
    assert_eq!(relay.inbox(LUNE).await.len(), 2);
    let journal = relay.said(&["admin", "journal"]);
    assert!(journal.contains("keys master rewrap"), "{journal}");
}

#[tokio::test]
async fn a_key_that_is_still_needed_is_missed_with_the_number_of_what_hangs_on_it() {
    let space = Space::of(&[HOST]);
    let mut relay = super::relay(&space).start(&[LUNE]);
    let (first, second) = (first_key(&relay), relay.folder.join("master-2.key"));
    write_key(&second, 2);
    relay.kill();
    // A command on a stopped relay begins the version and wraps nothing.
    use_keys(&relay, &text(&second), &[&text(&first)]);
    assert_eq!(versions(&relay), [(1, "old".to_owned(), 3), (2, "current".to_owned(), 0)]);

    use_keys(&relay, &text(&second), &[]);
    let (code, said) = relay.refused();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("storage.master_keys_old") && said.contains("3 keys"), "{said}");
    assert!(said.contains("master.key") && said.contains("version 1"), "{said}");

    // On a stopped relay the command wraps by itself.
    use_keys(&relay, &text(&second), &[&text(&first)]);
    let said = relay.said(&["keys", "master", "rewrap"]);
    assert!(said.contains("Everything is wrapped by version 2"), "{said}");
    use_keys(&relay, &text(&second), &[]);
    relay.begin();
    letter(&relay, "tout va bien").await;
}

#[tokio::test]
async fn a_credential_of_systemd_is_a_master_key() {
    let space = Space::of(&[HOST]);
    let credentials = tempfile::tempdir().unwrap();
    let key = credentials.path().join("master-key");
    write_key(&key, 7);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    let folder = text(credentials.path());
    let mut relay = super::relay(&space).variable("CREDENTIALS_DIRECTORY", &folder).start(&[]);
    relay.kill();
    fs::remove_dir_all(relay.data_dir()).unwrap();
    use_keys(&relay, "credential:master-key", &[]);
    relay.add_mailbox(LUNE);
    relay.begin();
    letter(&relay, "avec un credential").await;
    let said = relay.said(&["keys", "master", "status"]);
    assert!(said.contains("credential:master-key"), "{said}");

    relay.kill();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o444)).unwrap();
    let (code, said) = relay.refused();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("0444"), "{said}");
    fs::remove_file(&key).unwrap();
    let (code, said) = relay.refused();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("credential:master-key"), "{said}");
}
