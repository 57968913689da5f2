//! Signatures of all kinds, of keys in all states: which of them are good.
use openpgp::cert::CertBuilder;
use openpgp::cert::CertRevocationBuilder;
use openpgp::cert::SubkeyRevocationBuilder;
use openpgp::crypto::KeyPair;
use openpgp::packet::Packet;
use openpgp::packet::Signature;
use openpgp::packet::UserID;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::serialize::SerializeInto;
use openpgp::types::HashAlgorithm;
use openpgp::types::ReasonForRevocation;
use openpgp::types::SignatureType;

use super::*;

const TEXT: &[u8] = b"a letter";
const DAY: Duration = Duration::from_secs(86_400);
const WRONG_KIND: &str = "it is a signature of something else than a letter";
const NOT_NOW: &str = "its key has expired or was revoked since it was made";
const NOT_THEN: &str = "its key is expired, revoked or may not sign";

/// A key of somebody elsewhere, made a hundred days ago: it certifies, and has one subkey that
/// signs and one that encrypts.
fn signer() -> Cert {
    let built = CertBuilder::new()
        .set_creation_time(system_time(NOW) - 100 * DAY)
        .add_userid("<eve@example.test>")
        .add_signing_subkey()
        .add_transport_encryption_subkey()
        .generate();
    built.unwrap().0
}

fn pair(cert: &Cert, signs: bool) -> KeyPair {
    let policy = StandardPolicy::new();
    let keys = cert.keys().with_policy(&policy, system_time(NOW)).secret();
    let key = keys.into_iter().find(|key| key.for_signing() == signs).unwrap();
    key.key().clone().into_keypair().unwrap()
}

fn peer(cert: &Cert) -> PeerCertificate {
    PeerCertificate::read(&cert.to_vec().unwrap()).unwrap()
}

fn octets(signatures: &[&Signature]) -> Vec<u8> {
    let mut octets = Vec::new();
    for signature in signatures {
        Packet::from((*signature).clone()).serialize(&mut octets).unwrap();
    }
    octets
}

fn signed_at(cert: &Cert, days_ago: u32, text: &[u8]) -> Signature {
    SignatureBuilder::new(SignatureType::Binary)
        .set_signature_creation_time(system_time(NOW) - days_ago * DAY)
        .unwrap()
        .sign_message(&mut pair(cert, true), text)
        .unwrap()
}

fn judged(cert: &Cert, signatures: &[&Signature]) -> Vec<SignatureVerdict> {
    verify_detached(TEXT, &octets(signatures), &Known(vec![peer(cert)]), NOW)
}

#[test]
fn a_signature_of_another_kind_is_not_one_over_a_letter() {
    let eve = signer();
    let now = system_time(NOW);
    let of = |kind| SignatureBuilder::new(kind).set_signature_creation_time(now).unwrap();
    let signs = || pair(&eve, true);
    let user_id = UserID::from("<eve@example.test>");
    let primary = eve.primary_key().key();
    let kinds = [
        of(SignatureType::Standalone).sign_standalone(&mut signs()).unwrap(),
        of(SignatureType::Timestamp).sign_timestamp(&mut signs()).unwrap(),
        of(SignatureType::GenericCertification)
            .sign_userid_binding(&mut signs(), primary, &user_id)
            .unwrap(),
        of(SignatureType::DirectKey).sign_direct_key(&mut signs(), primary).unwrap(),
    ];
    for signature in &kinds {
        let verdicts = judged(&eve, &[signature]);
        assert_eq!(verdicts, [SignatureVerdict::Bad(WRONG_KIND)], "{:?}", signature.typ());
        // Nor over the octets that it is over.
        for text in [&b""[..], b"<eve@example.test>"] {
            let known = Known(vec![peer(&eve)]);
            let verdicts = verify_detached(text, &octets(&[signature]), &known, NOW);
            assert!(!verdicts.iter().any(|said| matches!(said, SignatureVerdict::Good(_))));
        }
    }
    let text = of(SignatureType::Text).sign_message(&mut signs(), TEXT).unwrap();
    assert_eq!(judged(&eve, &[&text]), [SignatureVerdict::Good(peer(&eve).fingerprint())]);
}

#[test]
fn a_key_that_may_not_sign_signs_nothing() {
    let eve = signer();
    let signature = SignatureBuilder::new(SignatureType::Binary)
        .set_signature_creation_time(system_time(NOW))
        .unwrap()
        .sign_message(
            &mut eve
                .primary_key()
                .key()
                .clone()
                .parts_into_secret()
                .unwrap()
                .into_keypair()
                .unwrap(),
            TEXT,
        )
        .unwrap();
    assert_eq!(judged(&eve, &[&signature]), [SignatureVerdict::Bad(NOT_THEN)]);
}

#[test]
fn good_and_bad_signatures_are_told_one_by_one_and_each_once() {
    let (eve, carol) = (signer(), signer());
    let good = signed_at(&eve, 0, TEXT);
    let other = signed_at(&eve, 0, b"another letter");
    let stranger = signed_at(&carol, 0, TEXT);
    let is_good = SignatureVerdict::Good(peer(&eve).fingerprint());
    assert_eq!(judged(&eve, &[&good, &good, &good]), std::slice::from_ref(&is_good));
    let verdicts = judged(&eve, &[&good, &other, &stranger]);
    assert_eq!(verdicts.len(), 3, "{verdicts:?}");
    assert_eq!(verdicts[..2], [is_good, SignatureVerdict::Bad("it does not match")]);
    assert!(matches!(&verdicts[2], SignatureVerdict::Unknown(of) if !of.is_empty()));
    // Nine of them, all different, are more than anybody looks at.
    let many: Vec<Signature> = (0..9).map(|day| signed_at(&eve, day, TEXT)).collect();
    let verdicts = judged(&eve, &many.iter().collect::<Vec<_>>());
    assert_eq!(verdicts, [SignatureVerdict::Bad("not a signature, or too many of them")]);
    for no_signature in [&b""[..], b"-----BEGIN PGP SIGNATURE-----", &literal(TEXT)] {
        let verdicts = verify_detached(TEXT, no_signature, &Known(vec![peer(&eve)]), NOW);
        assert!(matches!(verdicts[..], [SignatureVerdict::Bad(_)]), "{verdicts:?}");
    }
}

#[test]
fn a_signature_of_tomorrow_or_by_a_broken_digest_is_not_good() {
    let eve = signer();
    let tomorrow = SignatureBuilder::new(SignatureType::Binary)
        .set_signature_creation_time(system_time(NOW) + DAY)
        .unwrap()
        .sign_message(&mut pair(&eve, true), TEXT)
        .unwrap();
    let ended = SignatureBuilder::new(SignatureType::Binary)
        .set_signature_creation_time(system_time(NOW) - 3 * DAY)
        .unwrap()
        .set_signature_validity_period(DAY)
        .unwrap()
        .sign_message(&mut pair(&eve, true), TEXT)
        .unwrap();
    for signature in [&tomorrow, &ended] {
        let verdicts = judged(&eve, &[signature]);
        assert_eq!(verdicts, [SignatureVerdict::Bad("its time has ended, or has not begun")]);
    }
    let sha1 = SignatureBuilder::new(SignatureType::Binary)
        .set_hash_algo(HashAlgorithm::SHA1)
        .set_signature_creation_time(system_time(NOW))
        .unwrap()
        .sign_message(&mut pair(&eve, true), TEXT)
        .unwrap();
    let verdicts = judged(&eve, &[&sha1]);
    assert_eq!(
        verdicts,
        [SignatureVerdict::Bad("it was made by a method that is no longer trusted")]
    );
}

#[test]
fn a_revocation_ends_signatures_before_and_after_it_as_its_reason_says() {
    let eve = signer();
    let mut certifier =
        eve.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let revoked = |reason, days_ago: u32| {
        let mut certifier = certifier.clone();
        let revocation = CertRevocationBuilder::new()
            .set_reason_for_revocation(reason, b"gone")
            .unwrap()
            .set_signature_creation_time(system_time(NOW) - days_ago * DAY)
            .unwrap()
            .build(&mut certifier, &eve, None)
            .unwrap();
        eve.clone().insert_packets([revocation]).unwrap().0
    };
    let (before, after) = (signed_at(&eve, 20, TEXT), signed_at(&eve, 5, TEXT));
    let compromised = revoked(ReasonForRevocation::KeyCompromised, 10);
    let retired = revoked(ReasonForRevocation::KeyRetired, 10);
    assert_eq!(judged(&compromised, &[&before]), [SignatureVerdict::Bad(NOT_THEN)]);
    assert_eq!(judged(&compromised, &[&after]), [SignatureVerdict::Bad(NOT_THEN)]);
    assert_eq!(judged(&retired, &[&after]), [SignatureVerdict::Bad(NOT_THEN)]);
    // Whoever finds the retired key writes any date into a signature.
    assert_eq!(judged(&retired, &[&before]), [SignatureVerdict::Bad(NOT_NOW)]);
    // The subkey alone.
    let policy = StandardPolicy::new();
    let subkey = eve.keys().subkeys().with_policy(&policy, system_time(NOW)).for_signing().next();
    let subkey = subkey.unwrap();
    let revocation = SubkeyRevocationBuilder::new()
        .set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b"")
        .unwrap()
        .set_signature_creation_time(system_time(NOW))
        .unwrap()
        .build(&mut certifier, &eve, subkey.key(), None)
        .unwrap();
    let without = eve.clone().insert_packets([revocation]).unwrap().0;
    assert_eq!(judged(&without, &[&before]), [SignatureVerdict::Bad(NOT_THEN)]);
    assert_eq!(peer(&without).check(NOW), Ok(()), "letters can be sealed to it still");
}

#[test]
fn a_signature_counts_for_those_it_was_made_for() {
    let (alice, from_alice) = mailbox(1, "alice");
    let (bob, to_bob) = mailbox(2, "bob");
    let (carol, to_carol) = mailbox(3, "carol");
    let known = Known(vec![from_alice.clone()]);
    let both = seal_for(TEXT, &[to_bob.clone(), to_carol.clone()], Some(&alice), NOW).unwrap();
    for keys in [&bob, &carol] {
        let opened = open_message(keys, &both, &known, NOW).unwrap();
        assert_eq!(opened.signatures, [SignatureVerdict::Good(from_alice.fingerprint())]);
    }
    // Bob takes Alice's signed letter out of its container and seals it to Carol as it is.
    let signed = |to: &PeerCertificate| {
        let mut packets = Vec::new();
        let pair = alice.signing_pair(NOW).unwrap();
        let signer = Signer::new(Message::new(&mut packets), pair).unwrap();
        let signer = signer.creation_time(system_time(NOW)).add_intended_recipient(&to.0);
        let mut message = LiteralWriter::new(signer.build().unwrap()).build().unwrap();
        message.write_all(TEXT).unwrap();
        message.finalize().unwrap();
        packets
    };
    let honest = sealed_packets(&to_carol, 2, &signed(&to_carol));
    let forwarded = sealed_packets(&to_carol, 2, &signed(&to_bob));
    let verdicts = |message: &[u8]| open_message(&carol, message, &known, NOW).unwrap().signatures;
    assert_eq!(verdicts(&honest), [SignatureVerdict::Good(from_alice.fingerprint())]);
    assert_eq!(verdicts(&forwarded), [SignatureVerdict::Bad("it was made for other recipients")]);
}

#[test]
fn a_signature_around_the_encryption_is_not_taken_for_one_inside() {
    let (bob, to_bob) = mailbox(2, "bob");
    let eve = signer();
    let sealed = sealed_packets(&to_bob, 2, &literal(TEXT));
    let signature = octets(&[&signed_at(&eve, 0, &sealed)]);
    let around = [signature.clone(), sealed.clone()].concat();
    let known = Known(vec![peer(&eve)]);
    assert_eq!(open_message(&bob, &around, &known, NOW).err(), Some(OpenFlaw::Malformed));
    let behind = [sealed, signature].concat();
    assert_eq!(open_message(&bob, &behind, &known, NOW).err(), Some(OpenFlaw::Malformed));
}

fn in_clear(eve: &Cert, text: &[u8]) -> String {
    let mut signed = Vec::new();
    let signer = Signer::new(Message::new(&mut signed), pair(eve, true)).unwrap().cleartext();
    let mut message = signer.creation_time(system_time(NOW)).build().unwrap();
    message.write_all(text).unwrap();
    message.finalize().unwrap();
    String::from_utf8(signed).unwrap()
}

#[test]
fn a_text_signed_in_clear_is_what_stands_between_its_lines() {
    let eve = signer();
    let known = Known(vec![peer(&eve)]);
    let text = b"Bonjour,\n\n--\nEve\n-----BEGIN\n";
    let signed = in_clear(&eve, text);
    let (clear, verdicts) = verify_cleartext(signed.as_bytes(), &known, NOW).unwrap();
    assert_eq!(verdicts, [SignatureVerdict::Good(peer(&eve).fingerprint())]);
    let lines = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap().replace("\r\n", "\n");
    assert_eq!(lines(&clear).trim_end(), lines(text).trim_end());
    let changed = signed.replace("Bonjour", "Bonsoir");
    let (_, verdicts) = verify_cleartext(changed.as_bytes(), &known, NOW).unwrap();
    assert_eq!(verdicts, [SignatureVerdict::Bad("it does not match")]);
    for (what, wrong) in [
        ("text before", format!("Payez 1000 EUR.\n{signed}")),
        ("text behind", format!("{signed}\nPayez 1000 EUR.")),
        ("another header", signed.replacen("Hash: ", "Payez: 1000 EUR\nHash: ", 1)),
        ("text as a header", signed.replacen("\n\n", "\nPayez 1000 EUR.\n\n", 1)),
        ("two of them", format!("{signed}{signed}")),
        ("two signatures", {
            let at = signed.find("-----BEGIN PGP SIGNATURE-----").unwrap();
            format!("{signed}{}", &signed[at..])
        }),
        ("no signature", signed.lines().take(6).collect::<Vec<_>>().join("\n")),
        ("nothing", String::new()),
    ] {
        let read = verify_cleartext(wrong.as_bytes(), &known, NOW);
        assert_eq!(read.err(), Some(OpenFlaw::Malformed), "{what}");
    }
}
