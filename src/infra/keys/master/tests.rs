//! Starts with one key, with another, with too few; what opens then, and what does not.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::domain::address::Address;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::infra::keys::Keyring;
use crate::infra::keys::OpenedKeyring;
use crate::infra::keys::boxes::BoxKey;
use crate::infra::store::Batch;
use crate::infra::store::Store;
use crate::infra::store::simulated::SimulatedStore;

const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);
const OWNER: MailboxId = MailboxId::from_bytes([9; 16]);

struct Place {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    before: Option<(MailboxId, Bytes)>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, store: Arc::new(SimulatedStore::new(1)), before: None }
    }

    /// A store of before versions, with this key's octet.
    fn older(octet: u8) -> Self {
        let sealed = BoxKey::derive(&[octet; 32], "mailbox keys").seal(OWNER.as_bytes(), b"spool");
        Self { before: Some((OWNER, sealed.into())), ..Self::new() }
    }

    /// The file of a key.
    fn key(&self, octet: u8) -> PathBuf {
        let path = self.folder.path().join(format!("{octet}.key"));
        fs::write(&path, [octet; 32]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    async fn start(&self, current: u8, old: &[u8]) -> Result<OpenedKeyring, KeyError> {
        let settings = Settings {
            current: KeySource::File(self.key(current)),
            old: old.iter().map(|octet| KeySource::File(self.key(*octet))).collect(),
        };
        let sources = Sources::load(&settings, false).unwrap();
        Keyring::open(&self.store, sources, self.before.clone(), NOW).await
    }

    async fn states(&self) -> Vec<(u32, State)> {
        let versions = Versions::new(Arc::clone(&self.store)).list().await.unwrap();
        versions.iter().map(|version| (version.number, version.state)).collect()
    }

    async fn retire_all_but(&self, to: u32) {
        let versions = Versions::new(Arc::clone(&self.store));
        versions.retire_all_but(to, NOW, Batch::new()).await.unwrap();
    }
}

fn lookup(keyring: &Keyring) -> [u8; 32] {
    keyring.address_key(&Address::parse("a@b.test").unwrap())
}

#[tokio::test]
async fn a_new_store_has_a_root_of_its_own_and_keeps_it() {
    let (one, other) = (Place::new(), Place::new());
    let first = one.start(1, &[]).await.unwrap().keyring;
    let again = one.start(1, &[]).await.unwrap().keyring;
    assert_eq!(lookup(&first), lookup(&again));
    assert_ne!(lookup(&first), lookup(&other.start(1, &[]).await.unwrap().keyring));
    assert_eq!(again.unwrap(&OWNER, &first.wrap(&OWNER, b"key")).unwrap().expose(), b"key");
    assert_eq!(one.states().await, [(1, State::Current)]);
}

#[tokio::test]
async fn a_store_of_before_versions_opens_as_it_did_and_becomes_version_1() {
    let place = Place::older(7);
    let before = Keyring::with_master(Secret::new([7; 32]));
    let keyring = place.start(7, &[]).await.unwrap().keyring;
    assert_eq!(lookup(&keyring), lookup(&before));
    let sealed = before.seal_small("identity", b"somebody");
    assert_eq!(keyring.open_small("identity", &sealed).unwrap().expose(), b"somebody");
    let (owner, wrapped) = place.before.clone().unwrap();
    assert_eq!(keyring.unwrap(&owner, &wrapped).unwrap().expose(), b"spool");
    assert_eq!(Keyring::version_of(&wrapped), Some(1));
    assert_eq!(place.states().await, [(1, State::Current)]);
}

#[tokio::test]
async fn a_store_of_before_versions_may_change_its_key_at_once() {
    let place = Place::older(7);
    assert!(matches!(place.start(8, &[]).await, Err(KeyError::Master(_))));
    assert_eq!(place.states().await, []);
    let opened = place.start(8, &[7]).await.unwrap();
    assert_eq!(opened.begun, Some(2));
    assert_eq!(place.states().await, [(1, State::Old), (2, State::Current)]);
    assert_eq!(lookup(&opened.keyring), lookup(&Keyring::with_master(Secret::new([7; 32]))));
    let (owner, wrapped) = place.before.clone().unwrap();
    let anew = opened.keyring.rewrap(&owner, &wrapped).unwrap().unwrap();
    place.retire_all_but(2).await;
    let keyring = place.start(8, &[]).await.unwrap().keyring;
    assert_eq!(keyring.unwrap(&owner, &anew).unwrap().expose(), b"spool");
    assert!(keyring.unwrap(&owner, &wrapped).is_err());
}

#[tokio::test]
async fn a_new_key_takes_over_and_the_one_before_opens_what_is_left() {
    let place = Place::new();
    let first = place.start(1, &[]).await.unwrap().keyring;
    let wrapped = first.wrap(&OWNER, b"key");
    let opened = place.start(2, &[1]).await.unwrap();
    let second = opened.keyring;
    assert_eq!((opened.begun, opened.missing.len()), (Some(2), 0));
    assert_eq!(lookup(&first), lookup(&second));
    assert_eq!(second.unwrap(&OWNER, &wrapped).unwrap().expose(), b"key");
    let anew = second.rewrap(&OWNER, &wrapped).unwrap().unwrap();
    assert_eq!(Keyring::version_of(&anew), Some(2));
    assert_eq!(second.rewrap(&OWNER, &anew).unwrap(), None);
    assert!(second.rewrap(&MailboxId::from_bytes([8; 16]), &wrapped).is_err());
    // Once more: nothing changes.
    assert_eq!(place.start(2, &[1]).await.unwrap().begun, None);
    assert_eq!(place.states().await, [(1, State::Old), (2, State::Current)]);
}

#[tokio::test]
async fn a_key_that_was_taken_away_too_early_is_missed_and_one_that_is_retired_is_not() {
    let place = Place::new();
    place.start(1, &[]).await.unwrap();
    place.start(2, &[1]).await.unwrap();
    let missing = place.start(2, &[]).await.unwrap().missing;
    assert_eq!(missing.iter().map(|version| version.number).collect::<Vec<_>>(), [1]);
    assert!(missing[0].source.ends_with("1.key"));
    place.retire_all_but(2).await;
    assert_eq!(place.start(2, &[]).await.unwrap().missing, []);
    assert_eq!(place.states().await, [(1, State::Retired), (2, State::Current)]);
}

#[tokio::test]
async fn a_key_that_nobody_knows_is_refused_and_says_which_one_is_meant() {
    let place = Place::new();
    place.start(1, &[]).await.unwrap();
    for old in [&[][..], &[3]] {
        let Err(error) = place.start(2, old).await else { panic!("a stranger's key opened it") };
        let text = error.to_string();
        assert!(text.contains("version 1") && text.contains("1.key"), "{text}");
        assert!(text.contains("storage.master_keys_old"), "{text}");
    }
    assert_eq!(place.states().await, [(1, State::Current)], "a refused start wrote something");
}

#[tokio::test]
async fn a_key_that_comes_back_is_the_version_that_it_was() {
    let place = Place::new();
    let first = place.start(1, &[]).await.unwrap().keyring;
    let second = place.start(2, &[1]).await.unwrap().keyring;
    let wrapped = second.wrap(&OWNER, b"key");
    let back = place.start(1, &[2]).await.unwrap();
    assert_eq!((back.begun, back.keyring.current_version()), (None, 1));
    assert_eq!(place.states().await, [(1, State::Current), (2, State::Old)]);
    assert_eq!(lookup(&first), lookup(&back.keyring));
    let anew = back.keyring.rewrap(&OWNER, &wrapped).unwrap().unwrap();
    assert_eq!(first.unwrap(&OWNER, &anew).unwrap().expose(), b"key");
}

#[tokio::test]
async fn a_useless_old_key_is_a_note_and_not_a_reason_to_stop() {
    let place = Place::new();
    let opened = place.start(1, &[5]).await.unwrap();
    assert_eq!(opened.notes.len(), 1);
    assert!(opened.notes[0].contains("5.key"), "{:?}", opened.notes);
}

#[tokio::test]
async fn a_wrap_that_names_another_version_does_not_open() {
    let place = Place::new();
    place.start(1, &[]).await.unwrap();
    let keyring = place.start(2, &[1]).await.unwrap().keyring;
    let mut wrapped = keyring.wrap(&OWNER, b"key");
    for number in [0_u8, 1, 3] {
        wrapped[4] = number;
        assert!(keyring.unwrap(&OWNER, &wrapped).is_err(), "as version {number}");
    }
    wrapped[4] = 2;
    assert!(keyring.unwrap(&OWNER, &wrapped).is_ok());
    for end in 0..wrapped.len() {
        assert!(keyring.unwrap(&OWNER, &wrapped[..end]).is_err(), "{end} octets");
    }
}

#[tokio::test]
async fn rows_of_versions_hold_nothing_of_a_key() {
    let place = Place::new();
    place.start(0xA5, &[]).await.unwrap();
    place.start(0x5A, &[0xA5]).await.unwrap();
    let rows = place.store.scan(crate::infra::store::prefix(b"K/"), 100).await.unwrap().rows;
    assert_eq!(rows.len(), 3);
    for (key, row) in rows {
        for octet in [0xA5, 0x5A] {
            let run = row.value.windows(4).any(|four| four == [octet; 4]);
            assert!(!run, "{:?} holds octets of a key", String::from_utf8_lossy(&key));
        }
    }
}
