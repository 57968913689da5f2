//! Whose password is remembered, for how long, and what waits for a turn.
use super::*;
use crate::infra::clock::ManualClock;
use crate::infra::store::simulated::SimulatedStore;

/// Seals nothing, and still tells one context from another.
pub(in crate::infra::directory) struct NoKeys;

impl KeyDesk for NoKeys {
    fn address_key(&self, address: &Address) -> [u8; 32] {
        let mut key = [0; 32];
        for (place, octet) in address.lookup_form().bytes().enumerate() {
            key[place % 32] ^= octet.rotate_left(u32::try_from(place / 32).unwrap());
        }
        key
    }

    fn seal_identity(&self, clear: &[u8]) -> Vec<u8> {
        clear.to_vec()
    }

    fn open_identity(&self, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        Some(Secret::new(sealed.to_vec()))
    }

    fn seal(&self, context: &[u8], clear: &[u8]) -> Vec<u8> {
        [&context.len().to_be_bytes()[..], context, clear].concat()
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        let head = [&context.len().to_be_bytes()[..], context].concat();
        sealed.strip_prefix(head.as_slice()).map(|clear| Secret::new(clear.to_vec()))
    }

    fn digest(&self, context: &[u8], clear: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, context);
        hmac::sign(&key, clear).as_ref().try_into().unwrap()
    }

    fn mailbox_keys(
        &self,
        _owner: &MailboxId,
        _user_id: &str,
        _now: Timestamp,
    ) -> Result<(Bytes, Bytes), String> {
        Ok((Bytes::new(), Bytes::new()))
    }
}

const HUGO: &str = "hugo@hopital.mssante.test";

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

async fn with_hugo() -> (Accounts, Arc<ManualClock>, Address) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
    let store = Arc::new(SimulatedStore::new(1));
    let home = Domain::parse("hopital.mssante.test").unwrap();
    let accounts = Accounts::new(store, Arc::new(NoKeys), Arc::clone(&clock) as _, home).unwrap();
    let address = Address::parse(HUGO).unwrap();
    let password = secret("first password");
    let new = NewAccount {
        address: address.clone(),
        kind: MailboxKind::Personal,
        listing: Listing::Public,
        display_name: "Dr Hugo".to_owned(),
        password: &password,
    };
    accounts.add(new).await.unwrap();
    (accounts, clock, address)
}

fn is_known(answer: Result<Verdict, DirectoryError>) -> bool {
    matches!(answer, Ok(Verdict::Known(_)))
}

#[tokio::test]
async fn a_login_is_remembered_while_it_is_used_and_as_long_as_the_password_is_the_same() {
    let (accounts, clock, address) = with_hugo().await;
    let first = secret("first password");
    let knows = async |name: &str, password: &Secret<String>| {
        accounts.recently_verified(name, password).await.unwrap().is_some()
    };
    assert!(!knows(HUGO, &first).await, "nobody has logged in yet");
    assert!(is_known(accounts.password(HUGO, &first).await));
    assert!(knows(HUGO, &first).await && knows("hugo", &first).await);
    assert!(!knows(HUGO, &secret("guess")).await);
    assert!(!knows("paul", &first).await);
    clock.set(clock.now().after(VERIFIED_FOR / 2));
    assert!(knows(HUGO, &first).await);
    clock.set(clock.now().after(VERIFIED_FOR / 2));
    assert!(knows(HUGO, &first).await, "it was used half the time ago");
    clock.set(clock.now().after(VERIFIED_FOR));
    assert!(!knows(HUGO, &first).await);

    assert!(is_known(accounts.password(HUGO, &first).await));
    accounts.set_suspended(&address, true).await.unwrap();
    assert!(!knows(HUGO, &first).await, "a closed mailbox");
    accounts.set_suspended(&address, false).await.unwrap();
    accounts.set_password(&address, &secret("second password")).await.unwrap();
    assert!(!knows(HUGO, &first).await, "another password");
}

#[tokio::test(start_paused = true)]
async fn a_password_that_waits_too_long_for_its_turn_is_put_off() {
    let (accounts, _clock, _address) = with_hugo().await;
    let first = secret("first password");
    assert!(is_known(accounts.password(HUGO, &first).await));
    let turns = u32::try_from(accounts.hashing.available_permits()).unwrap();
    let _all = accounts.hashing.acquire_many(turns).await.unwrap();
    let answer = accounts.password(HUGO, &secret("guess")).await;
    assert!(matches!(answer, Err(DirectoryError::Busy)));
    // Who was right a moment ago needs no turn.
    assert!(accounts.recently_verified(HUGO, &first).await.unwrap().is_some());
}
