//! Certificates of friends and of others.
use openpgp::Packet;
use openpgp::cert::CertBuilder;
use openpgp::cert::CertRevocationBuilder;
use openpgp::cert::CipherSuite;
use openpgp::cert::amalgamation::ValidateAmalgamation;
use openpgp::crypto::KeyPair;
use openpgp::packet::Key;
use openpgp::packet::UserID;
use openpgp::packet::key::Key4;
use openpgp::packet::key::PrimaryRole;
use openpgp::packet::key::SecretParts;
use openpgp::packet::key::SubordinateRole;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::serialize::Serialize;
use openpgp::types::KeyFlags;
use openpgp::types::SignatureType;

use super::*;
use crate::infra::keys::mail::tests::peak_of;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn then(days_ago: u32) -> SystemTime {
    system_time(NOW) - days_ago * DAY
}

fn make(days_ago: u32, days_valid: Option<u32>) -> Cert {
    let built = CertBuilder::new()
        .set_creation_time(then(days_ago))
        .set_validity_period(days_valid.map(|days| days * DAY))
        .add_userid("Eve <eve@example.test>")
        .add_userid("<eve@home.example.test>")
        .add_signing_subkey()
        .add_transport_encryption_subkey()
        .generate();
    built.unwrap().0
}

fn certifier(cert: &Cert) -> KeyPair {
    cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap()
}

fn binary(cert: &Cert) -> Vec<u8> {
    cert.to_vec().unwrap()
}

fn read(cert: &Cert) -> PeerCertificate {
    PeerCertificate::read(&binary(cert)).unwrap()
}

fn refused(octets: &[u8]) -> Option<CertificateFlaw> {
    PeerCertificate::read(octets).err()
}

fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xC0 | tag, 255];
    packet.extend((body.len() as u32).to_be_bytes());
    packet.extend(body);
    packet
}

fn revoked(cert: &Cert, reason: ReasonForRevocation, words: &[u8], days_ago: u32) -> Cert {
    let revocation = CertRevocationBuilder::new()
        .set_reason_for_revocation(reason, words)
        .unwrap()
        .set_signature_creation_time(then(days_ago))
        .unwrap()
        .build(&mut certifier(cert), cert, None)
        .unwrap();
    cert.clone().insert_packets([revocation]).unwrap().0
}

#[test]
fn a_certificate_that_goes_out_comes_back() {
    let eve = read(&make(10, None));
    assert_eq!(eve.check(NOW), Ok(()));
    assert_eq!(eve.addresses(NOW).len(), 2);
    let armoured = eve.to_armour().unwrap();
    assert_eq!(
        PeerCertificate::read(armoured.as_bytes()).unwrap().fingerprint(),
        eve.fingerprint()
    );
    let again = PeerCertificate::read(&eve.to_binary().unwrap()).unwrap();
    assert_eq!(again.fingerprint(), eve.fingerprint());
}

#[test]
fn a_secret_key_is_refused_in_any_form() {
    let eve = make(10, None);
    let secret = eve.as_tsk().to_vec().unwrap();
    assert_eq!(refused(&secret), Some(CertificateFlaw::HoldsSecret));
    let armoured = eve.as_tsk().armored().to_vec().unwrap();
    assert_eq!(refused(&armoured), Some(CertificateFlaw::HoldsSecret));
    // Under the name of a public one, and with one secret part only.
    let renamed = String::from_utf8(armoured).unwrap().replace("PRIVATE", "PUBLIC");
    assert_eq!(refused(renamed.as_bytes()), Some(CertificateFlaw::HoldsSecret));
    let mut mixed = binary(&eve);
    let subkey = eve.keys().subkeys().secret().next().unwrap();
    Packet::from(subkey.key().clone()).serialize(&mut mixed).unwrap();
    assert_eq!(refused(&mixed), Some(CertificateFlaw::HoldsSecret));
}

#[test]
fn one_certificate_is_one_and_a_key_ring_is_read_one_by_one() {
    let (eve, bob) = (binary(&make(10, None)), binary(&make(10, None)));
    assert_eq!(refused(&[eve.clone(), bob.clone()].concat()), Some(CertificateFlaw::Unreadable));
    let secret = make(10, None).as_tsk().to_vec().unwrap();
    let ring = [eve.clone(), secret, bob.clone()].concat();
    let read: Vec<_> = PeerCertificate::read_all(&ring).into_iter().map(|one| one.err()).collect();
    assert_eq!(read, [None, Some(CertificateFlaw::HoldsSecret), None]);
    let armour = |octets: &[u8]| PeerCertificate::read(octets).unwrap().to_armour().unwrap();
    let text = format!("{}\n{}", armour(&eve), armour(&bob));
    let read = PeerCertificate::read_all(text.as_bytes());
    assert!(read.len() == 2 && read.iter().all(Result::is_ok));
    assert_eq!(refused(text.as_bytes()), Some(CertificateFlaw::Unreadable));
    assert!(PeerCertificate::read_all(b"").is_empty());
    // What is broken ends what can be read, and nothing before it.
    let broken = [eve.clone(), vec![0xFF; 40]].concat();
    let read: Vec<_> =
        PeerCertificate::read_all(&broken).into_iter().map(|one| one.is_ok()).collect();
    assert_eq!(read, [true, false]);
    let many = PeerCertificate::read_all(&packet(6, &[4, 0, 0, 0, 0, 22]).repeat(5_000));
    assert_eq!(many.len(), limits::OPENPGP_KEY_RING_CERTIFICATES_MAX + 1);
    assert_eq!(many.last().unwrap().clone().err(), Some(CertificateFlaw::OverLimit));
}

#[test]
fn a_million_user_ids_cost_a_walk_over_their_octets() {
    let mut flood = binary(&make(10, None));
    let mut fewer = Vec::new();
    for number in 0..1_000_000 {
        if number == 500_000 {
            fewer = flood.clone();
        }
        let user_id = format!("<{number}@a.test>");
        flood.extend([0xC0 | 13, user_id.len() as u8]);
        flood.extend(user_id.as_bytes());
    }
    let test = "infra::keys::peers::tests::a_million_user_ids_cost_a_walk_over_their_octets";
    let peak = peak_of(test, || {
        assert_eq!(refused(&flood), Some(CertificateFlaw::OverLimit));
        assert_eq!(refused(&fewer), Some(CertificateFlaw::OverLimit));
    });
    assert!(peak.is_none_or(|kilobytes| kilobytes < 4_096), "{peak:?} KB");
}

#[test]
fn a_certificate_over_any_limit_is_refused_before_it_is_read() {
    let eve = binary(&make(10, None));
    let with = |more: Vec<u8>| refused(&[eve.clone(), more].concat());
    let over = Some(CertificateFlaw::OverLimit);
    assert_eq!(with(packet(13, b"<a@b.test>").repeat(64)), over, "user ids");
    assert_eq!(with(packet(13, &[b'a'; 2_049])), over, "a long user id");
    assert_eq!(with(packet(17, &vec![0; 1_048_577])), over, "a picture");
    assert_eq!(with(packet(2, &[4; 20]).repeat(520)), over, "signatures");
    assert_eq!(with(packet(2, &[4; 65_537])), over, "a long signature");
    assert_eq!(with(packet(14, &[4, 0, 0, 0, 0, 22]).repeat(33)), over, "subkeys");
    assert_eq!(with(packet(14, &[[4, 0, 0, 0, 0, 22].to_vec(), vec![0; 4_096]].concat())), over);
    // Numbers: a modulus of 16384 bits, an exponent of 4096, cut ones.
    let rsa = |modulus: u16, exponent: u16| {
        let mut key = vec![4, 0, 0, 0, 0, 1];
        for bits in [modulus, exponent] {
            key.extend(bits.to_be_bytes());
            key.extend(vec![0xFF; usize::from(bits).div_ceil(8)]);
        }
        key
    };
    assert_eq!(with(packet(14, &rsa(16_384, 17))), over);
    assert_eq!(with(packet(14, &rsa(3_072, 4_096))), over);
    let cut = with(packet(14, &rsa(3_072, 17)[..100]));
    assert_eq!(cut, Some(CertificateFlaw::Unreadable));
    // Forms that no certificate has.
    for wrong in [packet(11, b"b"), packet(18, &[1]), packet(20, &[1]), packet(22, b"critical")] {
        assert_eq!(with(wrong), Some(CertificateFlaw::Unreadable));
    }
    let odd: [&[u8]; 5] =
        [b"", b"bonjour", &packet(13, b"<a@b.test>"), &packet(6, &[3; 20]), &packet(6, &[5; 20])];
    for odd in odd {
        assert_eq!(refused(odd), Some(CertificateFlaw::Unreadable), "{odd:?}");
    }
}

#[test]
fn time_decides_and_a_newer_copy_extends_it() {
    let expired = make(100, Some(30));
    assert_eq!(read(&expired).check(NOW), Err(CertificateFlaw::NotAlive));
    let earlier = Timestamp::from_seconds(NOW.as_seconds() - 80 * 86_400);
    assert_eq!(read(&expired).check(earlier), Ok(()));
    let at = read(&expired).expires(earlier).unwrap();
    assert_eq!(system_time(at), then(70));
    let unborn = read(&make(0, None));
    let yesterday = Timestamp::from_seconds(NOW.as_seconds() - 86_400);
    assert_eq!(unborn.check(yesterday), Err(CertificateFlaw::NotAlive));
    // Its owner gives it, and its subkey, another year.
    let policy = StandardPolicy::new();
    let mut signer = certifier(&expired);
    let longer = Some(then(0) + 365 * DAY);
    let mut more = expired.set_expiration_time(&policy, then(0), &mut signer, longer).unwrap();
    for key in expired.keys().subkeys() {
        let valid = key.with_policy(&policy, then(90)).unwrap();
        if valid.for_transport_encryption() {
            let binding = SignatureBuilder::from(valid.binding_signature().clone())
                .set_signature_creation_time(then(0))
                .unwrap()
                .set_key_validity_period(Some(465 * DAY))
                .unwrap();
            more.push(valid.key().bind(&mut signer, &expired, binding).unwrap());
        }
    }
    let renewed = expired.clone().insert_packets(more).unwrap().0;
    let merged = read(&expired).merge(&read(&renewed)).unwrap();
    assert_eq!(merged.check(NOW), Ok(()));
    assert!(merged.expires(NOW).is_some_and(|end| system_time(end) > then(0) + 300 * DAY));
    assert!(read(&expired).merge(&read(&make(1, None))).is_none(), "of somebody else");
}

#[test]
fn a_revocation_is_read_with_its_reason_and_stays_after_a_merge() {
    let eve = make(100, None);
    assert_eq!(read(&eve).revocation(NOW), None);
    let lost = revoked(&eve, ReasonForRevocation::KeyCompromised, b"stolen\r\nX-Evil: 1", 5);
    let retired = revoked(&eve, ReasonForRevocation::KeyRetired, "é".repeat(300).as_bytes(), 5);
    let said = read(&lost).revocation(NOW).unwrap();
    assert_eq!((said.is_hard, said.code, said.reason.as_str()), (true, 2, "stolenX-Evil: 1"));
    assert_eq!(said.at.map(system_time), Some(then(5)));
    let said = read(&retired).revocation(NOW).unwrap();
    assert_eq!((said.is_hard, said.code, said.reason.len()), (false, 3, 200));
    // Merely retired: before that day it was good. Stolen: it never was.
    let before = Timestamp::from_seconds(NOW.as_seconds() - 10 * 86_400);
    assert_eq!(read(&retired).check(before), Ok(()));
    assert_eq!(read(&lost).check(before), Err(CertificateFlaw::Revoked));
    for gone in [&lost, &retired] {
        assert_eq!(read(gone).check(NOW), Err(CertificateFlaw::Revoked));
        let merged = read(&eve).merge(&read(gone)).unwrap();
        assert_eq!(merged.check(NOW), Err(CertificateFlaw::Revoked));
        assert_eq!(
            read(gone).merge(&read(&eve)).unwrap().check(NOW),
            Err(CertificateFlaw::Revoked)
        );
    }
    let both = read(&retired).merge(&read(&lost)).unwrap();
    assert!(both.revocation(NOW).unwrap().is_hard);
    // Somebody else's revocation of her key says nothing.
    let other = make(100, None);
    let foreign = CertRevocationBuilder::new()
        .set_signature_creation_time(then(1))
        .unwrap()
        .build(&mut certifier(&other), &eve, None)
        .unwrap();
    let foreign = eve.clone().insert_packets([foreign]).unwrap().0;
    assert_eq!(read(&foreign).check(NOW), Ok(()));
}

#[test]
fn a_revoked_user_id_shows_no_address_any_more() {
    let eve = make(100, None);
    let user_id = eve.userids().next().unwrap();
    let mut signer = certifier(&eve);
    let revocation = openpgp::cert::UserIDRevocationBuilder::new()
        .set_reason_for_revocation(ReasonForRevocation::UIDRetired, b"")
        .unwrap()
        .set_signature_creation_time(then(1))
        .unwrap()
        .build(&mut signer, &eve, user_id.userid(), None)
        .unwrap();
    let without = read(&eve.clone().insert_packets([revocation]).unwrap().0);
    assert_eq!(without.addresses(NOW).len(), 1);
    // Nor does one that she did not sign.
    let mut slipped = binary(&eve);
    let strange = UserID::from("<boss@example.test>");
    Packet::from(strange).serialize(&mut slipped).unwrap();
    let slipped = PeerCertificate::read(&slipped).unwrap();
    let boss = Address::parse("boss@example.test").unwrap();
    assert_eq!(slipped.check_for(&boss, NOW), Err(CertificateFlaw::OtherAddress));
}

/// A key of one user id and one subkey, signed by this digest.
fn by_hand(
    primary: Key<SecretParts, PrimaryRole>,
    subkey: Key<SecretParts, SubordinateRole>,
    digest: HashAlgorithm,
) -> Cert {
    let mut signer = primary.clone().into_keypair().unwrap();
    let cert = Cert::try_from(vec![Packet::from(primary)]).unwrap();
    let user_id = UserID::from("<eve@example.test>");
    let of = |kind, flags| {
        SignatureBuilder::new(kind)
            .set_hash_algo(digest)
            .set_signature_creation_time(then(50))
            .unwrap()
            .set_key_flags(flags)
            .unwrap()
    };
    let certifies = KeyFlags::empty().set_certification();
    let named = of(SignatureType::PositiveCertification, certifies);
    let named = user_id.bind(&mut signer, &cert, named).unwrap();
    let encrypts = KeyFlags::empty().set_transport_encryption();
    let bound = of(SignatureType::SubkeyBinding, encrypts);
    let bound = subkey.bind(&mut signer, &cert, bound).unwrap();
    let packets = [
        Packet::from(user_id),
        named.into(),
        Packet::from(subkey.parts_into_public()),
        bound.into(),
    ];
    cert.insert_packets(packets).unwrap().0
}

fn rsa<R: openpgp::packet::key::KeyRole>(bits: usize) -> Key<SecretParts, R> {
    let mut key = Key4::<SecretParts, R>::generate_rsa(bits).unwrap();
    key.set_creation_time(then(60)).unwrap();
    key.into()
}

#[test]
fn methods_of_yesterday_are_not_sealed_to() {
    let modern = by_hand(rsa(2_048), rsa(2_048), HashAlgorithm::SHA256);
    assert_eq!(read(&modern).check(NOW), Ok(()));
    let sha1 = by_hand(rsa(2_048), rsa(2_048), HashAlgorithm::SHA1);
    assert_eq!(read(&sha1).check(NOW), Err(CertificateFlaw::Weak));
    let short = by_hand(rsa(1_024), rsa(2_048), HashAlgorithm::SHA256);
    assert_eq!(read(&short).check(NOW), Err(CertificateFlaw::Weak));
    assert!(read(&short).addresses(NOW).is_empty());
    let short_subkey = by_hand(rsa(2_048), rsa(1_024), HashAlgorithm::SHA256);
    assert_eq!(read(&short_subkey).check(NOW), Err(CertificateFlaw::NoEncryption));
}

#[test]
fn a_certificate_that_only_signs_is_not_sealed_to() {
    let built = CertBuilder::new()
        .set_cipher_suite(CipherSuite::Cv25519)
        .set_creation_time(then(10))
        .add_userid("<eve@example.test>")
        .add_signing_subkey()
        .generate();
    assert_eq!(read(&built.unwrap().0).check(NOW), Err(CertificateFlaw::NoEncryption));
}
