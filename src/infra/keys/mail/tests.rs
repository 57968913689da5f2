//! Messages of friends; those of others are in `hostile` and `signatures`.
mod hostile;
mod signatures;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use openpgp::cert::Cert;
use openpgp::serialize::Serialize;
use openpgp::serialize::stream::Compressor;
use openpgp::serialize::stream::Recipient;
use openpgp::types::Features;

use super::*;
use crate::domain::mailbox::MailboxId;
use crate::infra::keys::Keyring;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

struct Known(Vec<PeerCertificate>);

impl Certificates for Known {
    fn of_key(&self, _: &str) -> Vec<PeerCertificate> {
        self.0.clone()
    }
}

/// The same keys for the same number in all of these tests.
fn mailbox(number: u8, name: &str) -> (MailboxKeys, PeerCertificate) {
    static MADE: Mutex<BTreeMap<u8, (MailboxKeys, PeerCertificate)>> = Mutex::new(BTreeMap::new());
    let make = || {
        let keyring = Keyring::with_master(Secret::new([7; 32]));
        let id = MailboxId::from_bytes([number; 16]);
        let new = keyring.generate(&id, &format!("<{name}@example.test>"), NOW).unwrap();
        let certificate = PeerCertificate::read(&new.certificate).unwrap();
        (keyring.unlock(&id, &new.wrapped).unwrap(), certificate)
    };
    MADE.lock().unwrap().entry(number).or_insert_with(make).clone()
}

type EncryptionKey =
    openpgp::packet::Key<openpgp::packet::key::PublicParts, openpgp::packet::key::UnspecifiedRole>;

/// The encryption subkey of a certificate.
fn encryption_key(of: &PeerCertificate) -> EncryptionKey {
    let policy = StandardPolicy::new();
    let keys = of.0.keys().with_policy(&policy, system_time(NOW)).for_transport_encryption();
    keys.into_iter().next().unwrap().key().clone().role_into_unspecified()
}

/// A message with these packets inside its container, of version 1 or 2.
fn sealed_packets(to: &PeerCertificate, version: u8, packets: &[u8]) -> Vec<u8> {
    let key = encryption_key(to);
    let to = match version {
        1 => Recipient::new(
            Features::empty().set_seipdv1(),
            openpgp::KeyHandle::from(key.keyid()),
            &key,
        ),
        _ => Recipient::new(
            Features::empty().set_seipdv2(),
            openpgp::KeyHandle::from(key.fingerprint()),
            &key,
        ),
    };
    let mut sealed = Vec::new();
    let mut message = Encryptor::for_recipients(Message::new(&mut sealed), [to]).build().unwrap();
    message.write_all(packets).unwrap();
    message.finalize().unwrap();
    sealed
}

fn literal(clear: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let mut message = LiteralWriter::new(Message::new(&mut packet)).build().unwrap();
    message.write_all(clear).unwrap();
    message.finalize().unwrap();
    packet
}

fn compressed(packets: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let mut message = Compressor::new(Message::new(&mut packet)).build().unwrap();
    message.write_all(packets).unwrap();
    message.finalize().unwrap();
    packet
}

/// One packet of this number, in the form of today, in one piece.
fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xC0 | tag, 255];
    packet.extend((body.len() as u32).to_be_bytes());
    packet.extend(body);
    packet
}

/// How many kilobytes more a process needs at its peak for `work`, in a process of its own: other
/// tests run beside this one. `None` in that process. `test` is the whole name of the test.
pub(crate) fn peak_of(test: &str, work: impl FnOnce()) -> Option<u64> {
    const CHILD: &str = "VAGUEMESTRE_TEST_PEAK_OF";
    let status = |wanted: &str| -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(wanted)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    if std::env::var(CHILD).is_ok_and(|wanted| wanted == test) {
        // From here on, the peak counts anew.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS:");
        work();
        let peak = status("VmHWM:").saturating_sub(before);
        writeln!(std::io::stdout(), "peak-of {peak}").unwrap();
        return None;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, test)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let peak = said.lines().find_map(|line| line.split("peak-of ").nth(1));
    let peak =
        peak.unwrap_or_else(|| panic!("{said}\n{}", String::from_utf8_lossy(&output.stderr)));
    Some(peak.trim().parse().unwrap())
}

#[test]
fn a_letter_of_25_mb_is_sealed_and_opened_in_four_times_its_size() {
    let (alice, from_alice) = mailbox(1, "alice");
    let (bob, to_bob) = mailbox(2, "bob");
    let clear: Vec<u8> =
        (0..26_214_400_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let peak = peak_of(
        "infra::keys::mail::tests::a_letter_of_25_mb_is_sealed_and_opened_in_four_times_its_size",
        || {
            let sealed = seal_for(&clear, &[to_bob], Some(&alice), NOW).unwrap();
            let opened = open_message(&bob, &sealed, &Known(vec![from_alice]), NOW).unwrap();
            assert!(opened.clear.expose() == &clear);
        },
    );
    // Armoured text, its octets without armour, clear text: 1.36 + 1 + 1.
    assert!(peak.is_none_or(|kilobytes| kilobytes < 25_600 * 4), "{peak:?} KB");
}

#[test]
fn each_form_that_others_write_is_opened() {
    let (bob, to_bob) = mailbox(2, "bob");
    let inside = [
        literal(b"a letter"),
        compressed(&literal(b"a letter")),
        [packet(10, b"PGP"), literal(b"a letter"), packet(21, b"padding")].concat(),
    ];
    for version in [1, 2] {
        for packets in &inside {
            let sealed = sealed_packets(&to_bob, version, packets);
            let opened = open_message(&bob, &sealed, &Known(Vec::new()), NOW).unwrap();
            assert_eq!(opened.clear.expose(), b"a letter");
            assert!(opened.encrypted && opened.signatures.is_empty());
        }
    }
    // Compressed without encryption, and plain: told apart from what was secret.
    for packets in inside {
        let opened = open_message(&bob, &packets, &Known(Vec::new()), NOW).unwrap();
        assert!(!opened.encrypted);
    }
}

#[test]
fn recipients_of_all_kinds_open_one_message() {
    use openpgp::cert::CertBuilder;
    use openpgp::cert::CipherSuite;
    let (alice, from_alice) = mailbox(1, "alice");
    let make = |profile, suite| {
        let built = CertBuilder::new()
            .set_profile(profile)
            .unwrap()
            .set_cipher_suite(suite)
            .set_creation_time(system_time(NOW) - Duration::from_secs(60))
            .add_userid("<eve@example.test>")
            .add_transport_encryption_subkey()
            .generate();
        built.unwrap().0
    };
    use openpgp::Profile;
    let keys = [
        make(Profile::RFC4880, CipherSuite::RSA3k),
        make(Profile::RFC4880, CipherSuite::Cv25519),
        make(Profile::RFC9580, CipherSuite::Cv25519),
    ];
    let peers: Vec<PeerCertificate> = keys
        .iter()
        .map(|key| {
            PeerCertificate::read(&openpgp::serialize::SerializeInto::to_vec(key).unwrap()).unwrap()
        })
        .collect();
    for chosen in 1..8_usize {
        let at = |bit: &usize| chosen & (1 << bit) != 0;
        let to: Vec<PeerCertificate> = (0..3).filter(at).map(|bit| peers[bit].clone()).collect();
        let sealed = seal_for(b"a letter", &to, Some(&alice), NOW).unwrap();
        for bit in (0..3).filter(at) {
            let (clear, good) = opened_by_the_library(&keys[bit], &from_alice.0, &sealed);
            assert_eq!((clear.as_slice(), good), (b"a letter".as_slice(), true), "{chosen} {bit}");
        }
    }
}

/// The clear text, and whether one good signature is over it.
fn opened_by_the_library(key: &Cert, signer: &Cert, sealed: &[u8]) -> (Vec<u8>, bool) {
    use std::io::Read;

    use openpgp::crypto::SessionKey;
    use openpgp::packet::PKESK;
    use openpgp::packet::SKESK;
    use openpgp::parse::Parse;
    use openpgp::parse::stream::DecryptionHelper;
    use openpgp::parse::stream::DecryptorBuilder;
    use openpgp::parse::stream::MessageLayer;
    use openpgp::parse::stream::MessageStructure;
    use openpgp::parse::stream::VerificationHelper;
    use openpgp::types::SymmetricAlgorithm;
    struct Helper<'a>(&'a Cert, &'a Cert, bool);
    impl VerificationHelper for Helper<'_> {
        fn get_certs(&mut self, _: &[openpgp::KeyHandle]) -> openpgp::Result<Vec<Cert>> {
            Ok(vec![self.1.clone()])
        }
        fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
            for layer in structure {
                if let MessageLayer::SignatureGroup { results } = layer {
                    self.2 = matches!(results[..], [Ok(_)]);
                }
            }
            Ok(())
        }
    }
    impl DecryptionHelper for Helper<'_> {
        fn decrypt(
            &mut self,
            pkesks: &[PKESK],
            _: &[SKESK],
            cipher: Option<SymmetricAlgorithm>,
            decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
        ) -> openpgp::Result<Option<Cert>> {
            for key in self.0.keys().unencrypted_secret() {
                let mut pair = key.key().clone().into_keypair()?;
                for pkesk in pkesks.iter().filter(|pkesk| pkesk.pk_algo() == key.key().pk_algo()) {
                    if let Some((algorithm, session_key)) = pkesk.decrypt(&mut pair, cipher)
                        && decrypt(algorithm, &session_key)
                    {
                        return Ok(Some(self.0.clone()));
                    }
                }
            }
            Ok(None)
        }
    }
    let policy = StandardPolicy::new();
    let mut decryptor = DecryptorBuilder::from_bytes(sealed)
        .unwrap()
        .with_policy(&policy, system_time(NOW), Helper(key, signer, false))
        .unwrap();
    let mut clear = Vec::new();
    decryptor.read_to_end(&mut clear).unwrap();
    (clear, decryptor.into_helper().2)
}

#[test]
fn a_signed_message_opens_for_its_recipient_only() {
    let (alice, from_alice) = mailbox(1, "alice");
    let (bob, to_bob) = mailbox(2, "bob");
    let known = Known(vec![from_alice.clone()]);
    let sealed = seal_for(b"a letter", &[to_bob], Some(&alice), NOW).unwrap();
    let opened = open_message(&bob, &sealed, &known, NOW).unwrap();
    assert_eq!(opened.clear.expose(), b"a letter");
    assert!(opened.encrypted);
    assert_eq!(opened.signatures, [SignatureVerdict::Good(from_alice.fingerprint())]);
    assert!(matches!(open_message(&alice, &sealed, &known, NOW), Err(OpenFlaw::OtherKey)));
}

#[test]
fn a_detached_signature_fits_its_octets_only() {
    let (alice, from_alice) = mailbox(1, "alice");
    let known = Known(vec![from_alice.clone()]);
    let (signature, digest) = sign_detached(b"a letter", &alice, NOW).unwrap();
    assert_eq!(digest, "pgp-sha512");
    let verdicts = verify_detached(b"a letter", &signature, &known, NOW);
    assert_eq!(verdicts, [SignatureVerdict::Good(from_alice.fingerprint())]);
    let verdicts = verify_detached(b"another", &signature, &known, NOW);
    assert!(matches!(verdicts[..], [SignatureVerdict::Bad(_)]), "{verdicts:?}");
    let nobody = Known(Vec::new());
    let verdicts = verify_detached(b"a letter", &signature, &nobody, NOW);
    assert!(matches!(verdicts[..], [SignatureVerdict::Unknown(_)]), "{verdicts:?}");
}

#[test]
fn a_certificate_serves_the_address_that_it_shows() {
    let (_, bob) = mailbox(2, "bob");
    let address = |text: &str| crate::domain::address::Address::parse(text).unwrap();
    assert_eq!(bob.check_for(&address("bob@example.test"), NOW), Ok(()));
    let other = bob.check_for(&address("eve@example.test"), NOW);
    assert_eq!(other, Err(crate::infra::keys::peers::CertificateFlaw::OtherAddress));
}
