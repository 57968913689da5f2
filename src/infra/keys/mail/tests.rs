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

fn mailbox(number: u8, name: &str) -> (MailboxKeys, PeerCertificate) {
    let keyring = Keyring::with_master(Secret::new([7; 32]));
    let id = MailboxId::from_bytes([number; 16]);
    let new = keyring.generate(&id, &format!("<{name}@example.test>"), NOW).unwrap();
    let certificate = PeerCertificate::read(&new.certificate).unwrap();
    (keyring.unlock(&id, &new.wrapped).unwrap(), certificate)
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
