//! A passkey opens what is its own, once for each challenge, and nothing that lies comes in. The
//! authenticator is a small one of our own: a key, a counter, and the structures of WebAuthn §6.
#![allow(clippy::unwrap_used, reason = "a helper that fails, fails its test")]

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::infra::clock::Clock;
use crate::infra::clock::ManualClock;
use crate::infra::directory::accounts::tests::NoKeys;
use crate::infra::store::Store;
use crate::infra::store::simulated::SimulatedStore;

const MAILBOX: MailboxId = MailboxId::from_bytes([7; 16]);
const OTHER: MailboxId = MailboxId::from_bytes([8; 16]);
const CLAIRE: Whose<'_> = Whose::Mailbox(&MAILBOX);
const HUGO: Whose<'_> = Whose::Mailbox(&OTHER);
const ORIGIN: &str = "https://messagerie.hopital.test:8443";
const HOST: &str = "messagerie.hopital.test";

const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const ATTESTED: u8 = 0x40;

struct Authenticator {
    key: EcdsaKeyPair,
    id: Vec<u8>,
    counter: u32,
    /// False for one that lies in a cloud, on several devices.
    counts: bool,
    /// What it says of itself, for lies.
    origin: String,
    host: String,
    flags: u8,
}

fn encoded(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

fn sha256(octets: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, octets).as_ref().to_vec()
}

impl Authenticator {
    fn new(id: &[u8]) -> Self {
        Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            id: id.to_vec(),
            counter: 1,
            counts: true,
            origin: ORIGIN.to_owned(),
            host: HOST.to_owned(),
            flags: PRESENT | VERIFIED,
        }
    }

    fn data(&self, more: u8) -> Vec<u8> {
        let mut data = sha256(self.host.as_bytes());
        data.push(self.flags | more);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn client(&self, kind: &str, challenge: &Value) -> Vec<u8> {
        let client = json!({"type": kind, "challenge": challenge, "origin": self.origin,
                            "crossOrigin": false});
        client.to_string().into_bytes()
    }

    fn make(&self, options: &str) -> String {
        let options: Value = serde_json::from_str(options).unwrap();
        let mut data = self.data(ATTESTED);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        let point = self.key.public_key().as_ref();
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(&point[1..33]);
        data.extend([0x22, 0x58, 0x20]);
        data.extend(&point[33..65]);
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).unwrap());
        object.extend(data);
        let client = self.client("webauthn.create", &options["publicKey"]["challenge"]);
        json!({"id": encoded(&self.id), "rawId": encoded(&self.id), "type": "public-key",
               "response": {"attestationObject": encoded(&object),
                            "clientDataJSON": encoded(&client)}})
        .to_string()
    }

    fn show(&mut self, options: &str, whose: Option<MailboxId>) -> String {
        let options: Value = serde_json::from_str(options).unwrap();
        self.counter += u32::from(self.counts);
        let data = self.data(0);
        let client = self.client("webauthn.get", &options["publicKey"]["challenge"]);
        let signed = [data.clone(), sha256(&client)].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        json!({"id": encoded(&self.id), "rawId": encoded(&self.id), "type": "public-key",
               "response": {"authenticatorData": encoded(&data),
                            "clientDataJSON": encoded(&client),
                            "signature": encoded(signature.as_ref()),
                            "userHandle": whose.map(|id| encoded(id.as_bytes()))}})
        .to_string()
    }
}

struct Case {
    factors: Factors,
    party: Party,
    clock: Arc<ManualClock>,
    store: Arc<SimulatedStore>,
}

fn case() -> Case {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
    let store = Arc::new(SimulatedStore::new(1));
    let factors = Factors::new(Arc::clone(&store) as _, Arc::new(NoKeys), Arc::clone(&clock) as _);
    Case { factors, party: Party::new("Hôpital", ORIGIN).unwrap(), clock, store }
}

impl Case {
    async fn begin(&self, whose: Whose<'_>) -> Challenge {
        self.factors.begin_passkey(&self.party, whose, "claire@x.test", "Claire").await.unwrap()
    }

    async fn finish(
        &self,
        whose: Whose<'_>,
        ceremony: Ceremony,
        answer: &str,
        besides: bool,
    ) -> Registered {
        let along = Batch::new();
        let offer = Offer { answer, name: "clé", besides };
        let done = self.factors.finish_passkey(&self.party, whose, ceremony, offer, &along);
        done.await.unwrap()
    }

    async fn register(&self, whose: Whose<'_>, one: &Authenticator, besides: bool) -> Registered {
        let challenge = self.begin(whose).await;
        self.finish(whose, challenge.ceremony, &one.make(&challenge.options), besides).await
    }

    async fn ask(&self, whose: Whose<'_>) -> Challenge {
        self.factors.ask_passkey(&self.party, whose).await.unwrap().unwrap()
    }

    async fn take(&self, whose: Whose<'_>, ceremony: Ceremony, answer: &str) -> Shown {
        let mut copied = Batch::new();
        copied.put(b"journal".to_vec(), b"copied".to_vec());
        self.factors.take_passkey(&self.party, whose, ceremony, answer, &copied).await.unwrap()
    }

    async fn show(&self, whose: Whose<'_>, one: &mut Authenticator) -> Shown {
        let challenge = self.ask(whose).await;
        let answer = one.show(&challenge.options, None);
        self.take(whose, challenge.ceremony, &answer).await
    }
}

#[tokio::test]
async fn a_passkey_opens_what_is_its_own_and_says_when() {
    let case = case();
    let mut key = Authenticator::new(b"one");
    assert_eq!(case.register(CLAIRE, &key, false).await, Registered::First);
    let known = case.factors.overview(&MAILBOX).await.unwrap();
    assert!(known.is_set_up() && known.passkeys.len() == 1 && known.passkeys[0].used.is_none());
    case.clock.set(case.clock.now().after(Duration::from_secs(60)));
    let challenge = case.ask(CLAIRE).await;
    assert!(challenge.options.contains("\"userVerification\":\"required\""), "two in one");
    let answer = key.show(&challenge.options, Some(MAILBOX));
    assert_eq!(case.take(CLAIRE, challenge.ceremony, &answer).await, Shown::Yes);
    let known = case.factors.overview(&MAILBOX).await.unwrap();
    assert_eq!(known.passkeys[0].used, Some(case.clock.now()));
    assert_eq!(case.show(CLAIRE, &mut key).await, Shown::Yes, "and again");
    // A restart forgets nothing of it.
    let again = Factors::new(Arc::clone(&case.store) as _, Arc::new(NoKeys), case.clock.clone());
    assert_eq!(
        again.overview(&MAILBOX).await.unwrap(),
        case.factors.overview(&MAILBOX).await.unwrap()
    );
}

#[tokio::test]
async fn an_answer_to_another_challenge_page_or_person_opens_nothing() {
    let case = case();
    let (mut key, mut his) = (Authenticator::new(b"one"), Authenticator::new(b"two"));
    case.register(CLAIRE, &key, false).await;
    case.register(HUGO, &his, false).await;
    assert_eq!(case.show(CLAIRE, &mut his).await, Shown::No, "another person's passkey");
    // Another person's challenge, with the right passkey.
    let (hers, other) = (case.ask(CLAIRE).await, case.ask(HUGO).await);
    let answer = key.show(&hers.options, None);
    assert_eq!(case.take(CLAIRE, other.ceremony, &answer).await, Shown::No);
    // An older challenge of one's own: what was shown is good for its own challenge only.
    let fresh = case.ask(CLAIRE).await;
    assert_eq!(case.take(CLAIRE, fresh.ceremony, &answer).await, Shown::No, "a replay");
    assert_eq!(case.take(CLAIRE, hers.ceremony, &answer).await, Shown::Yes);
    // It says that it is somebody else's.
    let challenge = case.ask(CLAIRE).await;
    let answer = key.show(&challenge.options, Some(OTHER));
    assert_eq!(case.take(CLAIRE, challenge.ceremony, &answer).await, Shown::No);
    // Too late.
    let challenge = case.ask(CLAIRE).await;
    let answer = key.show(&challenge.options, None);
    case.clock.set(case.clock.now().after(limits::PASSKEY_CEREMONY));
    assert_eq!(case.take(CLAIRE, challenge.ceremony, &answer).await, Shown::No);
    // A challenge for making one opens nothing.
    let making = case.begin(CLAIRE).await;
    let answer = key.show(&making.options, None);
    assert_eq!(case.take(CLAIRE, making.ceremony, &answer).await, Shown::No);
    assert_eq!(case.show(CLAIRE, &mut key).await, Shown::Yes, "none of this harmed it");
}

#[tokio::test]
async fn an_authenticator_that_was_phished_or_lies_is_refused() {
    type Lie = fn(&mut Authenticator);
    let lies: [(&str, Lie); 6] = [
        ("another site", |it| it.origin = "https://messagerie.hopital.example:8443".to_owned()),
        ("another port", |it| it.origin = format!("https://{HOST}")),
        ("without TLS", |it| it.origin = format!("http://{HOST}:8443")),
        ("another relying party", |it| it.host = "hopital.test".to_owned()),
        ("nobody was there", |it| it.flags = VERIFIED),
        ("anybody was there", |it| it.flags = PRESENT),
    ];
    for (lie, tell) in lies {
        let case = case();
        let mut liar = Authenticator::new(b"liar");
        tell(&mut liar);
        assert_eq!(case.register(CLAIRE, &liar, false).await, Registered::No, "{lie}");
        let mut key = Authenticator::new(b"one");
        assert_eq!(case.register(CLAIRE, &key, false).await, Registered::First);
        tell(&mut key);
        assert_eq!(case.show(CLAIRE, &mut key).await, Shown::No, "{lie}");
    }
    // Another key under the same name.
    let case = case();
    case.register(CLAIRE, &Authenticator::new(b"one"), false).await;
    assert_eq!(case.show(CLAIRE, &mut Authenticator::new(b"one")).await, Shown::No);
}

#[tokio::test]
async fn of_two_copies_of_a_passkey_neither_opens_anything_from_then_on() {
    let case = case();
    let mut key = Authenticator::new(b"one");
    case.register(CLAIRE, &key, false).await;
    for _ in 0..3 {
        assert_eq!(case.show(CLAIRE, &mut key).await, Shown::Yes);
    }
    let real = key.counter;
    key.counter = 1;
    assert_eq!(case.show(CLAIRE, &mut key).await, Shown::Copied);
    assert!(case.store.get(b"journal").await.unwrap().is_some(), "it is recorded");
    let known = case.factors.overview(&MAILBOX).await.unwrap();
    assert!(known.passkeys[0].is_copied && known.is_set_up(), "nor does the password alone");
    key.counter = real;
    assert!(case.factors.ask_passkey(&case.party, CLAIRE).await.unwrap().is_none());
    // Two who show the same state at the same moment, each with a challenge of its own.
    let mut twin = Authenticator::new(b"two");
    case.register(HUGO, &twin, false).await;
    let (one, other) = (case.ask(HUGO).await, case.ask(HUGO).await);
    let first = twin.show(&one.options, None);
    twin.counter -= 1;
    let second = twin.show(&other.options, None);
    assert_eq!(case.take(HUGO, one.ceremony, &first).await, Shown::Yes);
    assert_eq!(case.take(HUGO, other.ceremony, &second).await, Shown::Copied);
}

#[tokio::test]
async fn passkeys_without_a_counter_are_taken_as_they_are() {
    let case = case();
    let mut key = Authenticator::new(b"synchronised");
    (key.counter, key.counts) = (0, false);
    assert_eq!(case.register(CLAIRE, &key, false).await, Registered::First);
    for _ in 0..2 {
        assert_eq!(case.show(CLAIRE, &mut key).await, Shown::Yes);
    }
}

#[tokio::test]
async fn a_second_passkey_needs_the_first_and_no_two_people_have_the_same() {
    let case = case();
    let (first, second) = (Authenticator::new(b"one"), Authenticator::new(b"two"));
    assert_eq!(case.register(CLAIRE, &first, false).await, Registered::First);
    assert_eq!(case.register(CLAIRE, &second, false).await, Registered::No, "a stranger's");
    assert_eq!(case.register(CLAIRE, &second, true).await, Registered::Another);
    assert_eq!(case.register(HUGO, &second, false).await, Registered::No, "somebody has it");
    for number in 2..limits::PASSKEYS_MAX {
        let one = Authenticator::new(&[u8::try_from(number).unwrap(); 8]);
        assert_eq!(case.register(CLAIRE, &one, true).await, Registered::Another);
    }
    let one = Authenticator::new(b"one too many");
    assert_eq!(case.register(CLAIRE, &one, true).await, Registered::TooMany);
    // An answer to another's challenge, or to one that asks for showing.
    let (hers, his) = (case.begin(CLAIRE).await, case.begin(HUGO).await);
    let fresh = Authenticator::new(b"fresh");
    let answer = fresh.make(&his.options);
    assert_eq!(case.finish(HUGO, hers.ceremony, &answer, false).await, Registered::No);
    let asking = case.ask(CLAIRE).await;
    assert_eq!(case.finish(CLAIRE, asking.ceremony, &answer, true).await, Registered::No);
}

#[tokio::test]
async fn a_removed_passkey_opens_nothing_and_the_last_one_stays_where_one_is_required() {
    let case = case();
    let mut key = Authenticator::new(b"one");
    case.register(CLAIRE, &key, false).await;
    let handle = case.factors.overview(&MAILBOX).await.unwrap().passkeys[0].handle;
    let remove = async |whose, handle, one_must_stay| {
        let along = Batch::new();
        case.factors.remove_passkey(whose, handle, one_must_stay, &along).await.unwrap()
    };
    assert_eq!(remove(HUGO, handle, false).await, Removed::No, "somebody else's");
    assert_eq!(remove(CLAIRE, handle, true).await, Removed::Last);
    let challenge = case.ask(CLAIRE).await;
    let answer = key.show(&challenge.options, None);
    assert_eq!(remove(CLAIRE, handle, false).await, Removed::Yes);
    assert_eq!(case.take(CLAIRE, challenge.ceremony, &answer).await, Shown::No, "meanwhile");
    assert!(!case.factors.overview(&MAILBOX).await.unwrap().is_set_up());
    // It may be registered again, also after a reset.
    assert_eq!(case.register(CLAIRE, &key, false).await, Registered::First);
    case.factors.clear(&MAILBOX, &Batch::new()).await.unwrap();
    assert!(!case.factors.overview(&MAILBOX).await.unwrap().is_set_up());
    assert_eq!(case.register(HUGO, &key, false).await, Registered::First);
    // Administrators' are theirs alone.
    let (marie, paul) = (Whose::Administrator("marie"), Whose::Administrator("paul"));
    let mut hers = Authenticator::new(b"marie's");
    assert_eq!(case.register(marie, &hers, false).await, Registered::First);
    assert!(case.factors.ask_passkey(&case.party, paul).await.unwrap().is_none());
    assert_eq!(case.show(marie, &mut hers).await, Shown::Yes);
}

#[tokio::test]
async fn rubbish_for_an_answer_is_refused_and_harms_nothing() {
    let case = case();
    let mut key = Authenticator::new(b"one");
    case.register(CLAIRE, &key, false).await;
    let good = {
        let challenge = case.ask(CLAIRE).await;
        key.show(&challenge.options, None)
    };
    let mut answers: Vec<String> =
        ["", "{}", "null", "[]", "\u{0}", "{\"id\":1}"].map(str::to_owned).into();
    answers.push("[".repeat(10_000));
    answers.push("x".repeat(limits::PASSKEY_ANSWER_OCTETS_MAX + 1));
    // A right answer with a field that is too long, cut, or nonsense.
    for field in ["authenticatorData", "clientDataJSON", "signature"] {
        for value in [String::new(), "A".repeat(3), "!".to_owned(), "A".repeat(8_000)] {
            let mut answer: Value = serde_json::from_str(&good).unwrap();
            answer["response"][field] = json!(value);
            answers.push(answer.to_string());
        }
    }
    for answer in &answers {
        let challenge = case.ask(CLAIRE).await;
        assert_eq!(case.take(CLAIRE, challenge.ceremony, answer).await, Shown::No, "{answer:.60}");
        let challenge = case.begin(CLAIRE).await;
        let made = case.finish(CLAIRE, challenge.ceremony, answer, true).await;
        assert_eq!(made, Registered::No, "{answer:.60}");
    }
    // CBOR that nests, repeats or ends too early, in place of the attestation.
    for object in [vec![0x81; 9_000], vec![0xa3], vec![0xbf], vec![0x9b, 0xff, 0xff, 0xff, 0xff]] {
        let challenge = case.begin(CLAIRE).await;
        let fresh = Authenticator::new(b"fresh");
        let mut answer: Value = serde_json::from_str(&fresh.make(&challenge.options)).unwrap();
        answer["response"]["attestationObject"] = json!(encoded(&object));
        let answer = answer.to_string();
        let made = case.finish(CLAIRE, challenge.ceremony, &answer, true).await;
        assert_eq!(made, Registered::No);
    }
    assert_eq!(case.show(CLAIRE, &mut key).await, Shown::Yes);
}

#[test]
fn passkeys_belong_to_a_host_name() {
    for origin in ["https://192.0.2.1", "https://[2001:db8::1]:8443", "messagerie", ""] {
        assert!(Party::new("x", origin).is_err(), "{origin}");
    }
    assert!(Party::new("x", "https://messagerie.hopital.fr").is_ok());
}
