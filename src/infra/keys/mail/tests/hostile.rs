//! Messages that were made to do harm.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::domain::limits;

const NOBODY: Known = Known(Vec::new());
/// A compressed packet that holds itself: <http://mumble.net/~campbell/misc/pgp-quine/>.
const QUINE: &str = "oLQBAAMA/P+gtAEADQDy/wADAPz/oLQBAA0A8v+CcKAcAAAFAPr/gnCgHAAABQD6/wAFAPr/\
    ABQA6/+CcKAcAAAFAPr/AAUA+v8AFADr/0KIIcQAABQA6/9CiCHEAAAUAOv/QoghxAAAFADr/0KIIcQAABQA6/9CiCHE\
    AAAAAP//AAAA//8ACwD0/0KIIcQAAAAA//8AAAD//wALAPT/AjMhTEAAAQD+/wACMyFMQAABAP7/AAA=";

fn flaw(message: &[u8]) -> Option<OpenFlaw> {
    let (bob, _) = mailbox(2, "bob");
    open_message(&bob, message, &NOBODY, NOW).err()
}

fn to_bob() -> PeerCertificate {
    mailbox(2, "bob").1
}

/// The packets of a message: its keys, and its container.
fn split(message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    use openpgp::parse::Parse;
    let mut head = Vec::new();
    let pile = openpgp::PacketPile::from_bytes(message).unwrap();
    for packet in pile.children().filter(|packet| packet.tag() == openpgp::packet::Tag::PKESK) {
        packet.serialize(&mut head).unwrap();
    }
    let (_, container) = message.split_at(head.len());
    // The library writes both the same way, or this test is of no use.
    assert!(message.starts_with(&head) && container[0] == 0xC0 | 18 && container[1] < 192);
    (head, container.to_vec())
}

#[test]
fn a_quine_and_other_nesting_of_compression_end_at_the_second_layer() {
    let quine = STANDARD.decode(QUINE).unwrap();
    let twice = compressed(&compressed(&literal(b"a letter")));
    let deep = (0..200).fold(literal(b"a letter"), |packets, _| compressed(&packets));
    for packets in [&quine, &twice, &deep] {
        assert_eq!(flaw(packets), Some(OpenFlaw::OverLimit));
        for version in [1, 2] {
            let sealed = sealed_packets(&to_bob(), version, packets);
            assert_eq!(flaw(&sealed), Some(OpenFlaw::OverLimit), "in a container");
        }
    }
}

#[test]
fn a_compression_bomb_costs_little_and_opens_to_nothing() {
    // A gigabyte of zeros in a megabyte; made in pieces, so that making it costs little as well.
    let mut bomb = Vec::new();
    let message = Compressor::new(Message::new(&mut bomb)).build().unwrap();
    let mut message = LiteralWriter::new(message).build().unwrap();
    for _ in 0..1_024 {
        message.write_all(&[0; 1_048_576]).unwrap();
    }
    message.finalize().unwrap();
    let sealed = [sealed_packets(&to_bob(), 1, &bomb), sealed_packets(&to_bob(), 2, &bomb)];
    let small = compressed(&literal(&vec![0; 10_000_000]));
    let small = sealed_packets(&to_bob(), 2, &small);
    let test =
        "infra::keys::mail::tests::hostile::a_compression_bomb_costs_little_and_opens_to_nothing";
    let peak = peak_of(test, || {
        for message in sealed.iter().chain([&bomb, &small]) {
            assert_eq!(flaw(message), Some(OpenFlaw::OverLimit));
        }
    });
    // The limit of 64 MiB, and as much again that the allocator keeps of the one before.
    assert!(peak.is_none_or(|kilobytes| kilobytes < 150_000), "{peak:?} KB");
}

#[test]
fn thousands_of_recipients_are_counted_before_any_is_looked_at() {
    let (bob, to_bob) = mailbox(2, "bob");
    let (_, to_carol) = mailbox(3, "carol");
    let (ours, container) = split(&sealed_packets(&to_bob, 2, &literal(b"a letter")));
    let (theirs, _) = split(&sealed_packets(&to_carol, 2, &literal(b"a letter")));
    let with = |others: usize| [theirs.repeat(others), ours.clone(), container.clone()].concat();
    let opened = open_message(&bob, &with(999), &NOBODY, NOW).unwrap();
    assert_eq!(opened.clear.expose(), b"a letter");
    assert_eq!(flaw(&with(1_000)), Some(OpenFlaw::OverLimit));
    assert_eq!(flaw(&with(100_000)), Some(OpenFlaw::OverLimit));
}

#[test]
fn hidden_recipients_are_tried_so_many_times_and_no_more() {
    let (bob, to_bob) = mailbox(2, "bob");
    let (_, to_carol) = mailbox(3, "carol");
    let hidden = |to: &PeerCertificate, session_key: &openpgp::crypto::SessionKey| {
        let to = encryption_key(to);
        let mut pkesk = openpgp::packet::pkesk::PKESK3::for_recipient(
            openpgp::types::SymmetricAlgorithm::AES256,
            session_key,
            &to,
        )
        .unwrap();
        pkesk.set_recipient(None);
        let mut octets = Vec::new();
        openpgp::Packet::from(pkesk).serialize(&mut octets).unwrap();
        octets
    };
    let session_key = openpgp::crypto::SessionKey::from(&[7; 32][..]);
    let mut container = Vec::new();
    let message = Message::new(&mut container);
    let aes = openpgp::types::SymmetricAlgorithm::AES256;
    let mut message =
        Encryptor::with_session_key(message, aes, session_key.clone()).unwrap().build().unwrap();
    message.write_all(&literal(b"a letter")).unwrap();
    message.finalize().unwrap();
    let (ours, theirs) = (hidden(&to_bob, &session_key), hidden(&to_carol, &session_key));
    let with = |others: usize| [theirs.repeat(others), ours.clone(), container.clone()].concat();
    let opened = open_message(&bob, &with(limits::OPENPGP_TRIES_MAX - 1), &NOBODY, NOW).unwrap();
    assert_eq!(opened.clear.expose(), b"a letter");
    assert_eq!(flaw(&with(limits::OPENPGP_TRIES_MAX)), Some(OpenFlaw::OverLimit));
    let foreign = [theirs, container.clone()].concat();
    assert_eq!(flaw(&foreign), Some(OpenFlaw::OtherKey));
}

#[test]
fn what_has_no_protection_is_never_opened() {
    for version in [1, 2] {
        let (head, container) = split(&sealed_packets(&to_bob(), version, &literal(b"a letter")));
        // The same octets under the number of the packet without protection (EFAIL).
        let mut stripped = [head.clone(), container.clone()].concat();
        stripped[head.len()] = 0xC0 | 9;
        assert_eq!(flaw(&stripped), Some(OpenFlaw::Integrity));
        let old_form = [head.clone(), vec![0x80 | 9 << 2 | 3], container[2..].to_vec()].concat();
        assert_eq!(flaw(&old_form), Some(OpenFlaw::Integrity));
        assert_eq!(flaw(&packet(9, &[0; 64])), Some(OpenFlaw::Integrity));
        // Inside a container that has it.
        let inside = sealed_packets(&to_bob(), version, &packet(9, &[0; 64]));
        assert_eq!(flaw(&inside), Some(OpenFlaw::Integrity));
    }
}

#[test]
fn no_octet_of_a_message_can_be_changed_and_no_end_cut_off() {
    let (bob, to_bob) = mailbox(2, "bob");
    for version in [1, 2] {
        for inside in [literal(b"a letter"), compressed(&literal(b"a letter"))] {
            let (head, container) = split(&sealed_packets(&to_bob, version, &inside));
            for at in 0..container.len() {
                for bit in [1, 0x80] {
                    let mut message = [head.clone(), container.clone()].concat();
                    message[head.len() + at] ^= bit;
                    let opened = open_message(&bob, &message, &NOBODY, NOW);
                    let flaw =
                        opened.err().unwrap_or_else(|| panic!("octet {at}, version {version}"));
                    // Version 2 says so itself, behind its header. In version 1 the protection comes
                    // last, and what was altered may break a limit before.
                    let is_told = flaw == OpenFlaw::Integrity || version == 1 || at < 8;
                    assert!(is_told, "octet {at}: {flaw:?}");
                }
            }
            // A shorter container with a length that fits: the protection at its end is gone.
            for cut in 1..container.len() - 3 {
                let body = &container[2..container.len() - cut];
                let message = [head.clone(), packet(18, body)].concat();
                assert!(flaw_of(&bob, &message).is_some(), "{cut} octets less, version {version}");
            }
            let message = [head.clone(), container.clone()].concat();
            for end in 0..message.len() {
                assert!(flaw_of(&bob, &message[..end]).is_some(), "cut at {end}");
            }
        }
    }
}

fn flaw_of(keys: &MailboxKeys, message: &[u8]) -> Option<OpenFlaw> {
    open_message(keys, message, &NOBODY, NOW).err()
}

#[test]
fn the_version_1_protection_is_wanted_at_the_end_and_only_there() {
    // A literal packet alone, without the digest behind it, in a container of version 1: written
    // with the library's own cipher by giving it a packet of digest that is wrong.
    let wrong = [literal(b"a letter"), packet(19, &[0; 20])].concat();
    assert_eq!(flaw(&sealed_packets(&to_bob(), 1, &wrong)), Some(OpenFlaw::Integrity));
    let first = [packet(19, &[0; 20]), literal(b"a letter")].concat();
    assert_eq!(flaw(&sealed_packets(&to_bob(), 1, &first)), Some(OpenFlaw::Integrity));
}

#[test]
fn one_message_is_one_message() {
    let sealed = sealed_packets(&to_bob(), 2, &literal(b"a letter"));
    let (head, container) = split(&sealed);
    let other = literal(b"another");
    for (what, message) in [
        ("text before", [other.clone(), sealed.clone()].concat()),
        ("text behind", [sealed.clone(), other.clone()].concat()),
        ("twice", [sealed.clone(), sealed.clone()].concat()),
        ("two containers", [head.clone(), container.clone(), container.clone()].concat()),
        ("two texts", [other.clone(), other.clone()].concat()),
        ("keys without a container", head.clone()),
        ("a container without keys", container.clone()),
        ("keys before a text", [head.clone(), other.clone()].concat()),
        ("a user id", packet(13, b"bob")),
        ("nothing", Vec::new()),
        ("padding only", packet(21, b"x")),
    ] {
        assert_eq!(flaw(&message), Some(OpenFlaw::Malformed), "{what}");
    }
    // Inside, where the protection holds: what was sealed is no message.
    for inside in [[other.clone(), other.clone()].concat(), Vec::new(), packet(13, b"bob")] {
        for version in [1, 2] {
            let sealed = sealed_packets(&to_bob(), version, &inside);
            assert!(flaw(&sealed).is_some(), "{inside:?}");
        }
    }
    // One encryption is enough.
    let nested = sealed_packets(&to_bob(), 2, &sealed);
    assert_eq!(flaw(&nested), Some(OpenFlaw::OverLimit));
    assert_eq!(flaw(&compressed(&sealed)), Some(OpenFlaw::OverLimit));
}

#[test]
fn what_is_not_read_here_is_said_to_be_so() {
    let (head, container) = split(&sealed_packets(&to_bob(), 2, &literal(b"a letter")));
    let (v1_head, _) = split(&sealed_packets(&to_bob(), 1, &literal(b"a letter")));
    let unknown_version = [head.clone(), packet(18, &[3; 80])].concat();
    assert_eq!(flaw(&unknown_version), Some(OpenFlaw::Unsupported));
    // LibrePGP's, as GnuPG 2.4 writes it for keys that ask for it; ours do not.
    let librepgp = [v1_head, packet(20, &[1, 9, 2, 16, 0, 0, 0, 0])].concat();
    assert_eq!(flaw(&librepgp), Some(OpenFlaw::Unsupported));
    // A cipher that nobody knows, and chunks of more than 4 MiB.
    let mut octets = [head.clone(), container.clone()].concat();
    let version_at = head.len() + container.iter().position(|octet| *octet == 2).unwrap();
    octets[version_at + 1] = 99;
    assert_eq!(flaw(&octets), Some(OpenFlaw::Unsupported));
    let huge = [head, packet(18, &[&[2, 9, 2, 17][..], &[0; 80]].concat())].concat();
    assert_eq!(flaw(&huge), Some(OpenFlaw::Malformed));
}

#[cfg(feature = "pgp-openssl")]
#[test]
fn the_mode_that_openssl_lacks_is_named_and_not_called_an_alteration() {
    let (head, container) = split(&sealed_packets(&to_bob(), 2, &literal(b"a letter")));
    let mut octets = [head.clone(), container.clone()].concat();
    let version_at = head.len() + container.iter().position(|octet| *octet == 2).unwrap();
    octets[version_at + 2] = 1;
    assert_eq!(flaw(&octets), Some(OpenFlaw::Unsupported), "EAX");
}

#[test]
fn keys_of_unknown_versions_belong_to_others() {
    let (bob, to_bob) = mailbox(2, "bob");
    for version in [1, 2] {
        let (head, container) = split(&sealed_packets(&to_bob, version, &literal(b"a letter")));
        let future = packet(1, &[9; 60]);
        let message = [future.clone(), head, future.clone(), container.clone()].concat();
        assert_eq!(open_message(&bob, &message, &NOBODY, NOW).unwrap().clear.expose(), b"a letter");
        assert_eq!(flaw(&[future, container].concat()), Some(OpenFlaw::OtherKey));
    }
}

#[test]
fn lengths_that_lie_cost_nothing() {
    let claims = [
        vec![0xC0 | 18, 255, 255, 255, 255, 255, 1],
        vec![0xC0 | 11, 255, 255, 255, 255, 255, b'b'],
        vec![0xC0 | 1, 255, 0xFF, 0xFF, 0xFF, 0xF0, 3],
        vec![0x80 | 1 << 2 | 2, 0xFF, 0xFF, 0xFF, 0xFF, 3],
        // In parts without an end, and with a first one that is too short.
        vec![0xC0 | 11, 254, b'b', 0],
        vec![0xC0 | 11, 224, b'b', 0],
        vec![0xC0 | 1, 224, 3, 0],
        vec![0x7F, 0],
    ];
    for claim in claims {
        assert_eq!(flaw(&claim), Some(OpenFlaw::Malformed), "{claim:?}");
    }
    // A packet that is none of a message's containers has no reason to be long.
    assert_eq!(flaw(&packet(1, &vec![3; 65_537])), Some(OpenFlaw::OverLimit));
    assert_eq!(flaw(&packet(21, &vec![3; 65_537])), Some(OpenFlaw::OverLimit));
    assert_eq!(flaw(&packet(21, b"x").repeat(17)), Some(OpenFlaw::OverLimit));
    // A million parts of one octet behind a first one that is long enough.
    let mut parts = vec![0xC0 | 11, 233];
    parts.extend([b'b'; 512]);
    parts.extend([224, b'x'].repeat(1_000_000));
    parts.push(0);
    assert_eq!(flaw(&parts), Some(OpenFlaw::Malformed));
    let over = vec![0x80; limits::OPENPGP_MESSAGE_OCTETS_MAX + 1];
    assert_eq!(flaw(&over), Some(OpenFlaw::OverLimit));
}

#[test]
fn a_thousand_packets_inside_a_container_are_not_worked_through() {
    let mut idle = packet(10, b"PGP").repeat(1_000);
    idle.extend(literal(b"a letter"));
    let mut long = packet(21, &vec![0; 60_000]).repeat(100);
    long.extend(literal(b"a letter"));
    // One-pass signatures, each with a digest of its own to compute.
    let mut signed = packet(4, &[3, 0, 10, 22, 1, 2, 3, 4, 5, 6, 7, 8, 0]).repeat(1_000);
    signed.extend(literal(b"a letter"));
    for packets in [idle, long, signed] {
        for message in [sealed_packets(&to_bob(), 2, &packets), compressed(&packets), packets] {
            assert_eq!(flaw(&message), Some(OpenFlaw::OverLimit));
        }
    }
}

#[test]
fn wrong_armour_is_no_message() {
    let sealed = seal_for(b"a letter", &[to_bob()], None, NOW).unwrap();
    let text = String::from_utf8(sealed.clone()).unwrap();
    assert_eq!(flaw(&sealed), None);
    for wrong in [
        text.replace("MESSAGE", "SIGNATURE"),
        text.replace("MESSAGE", "PUBLIC KEY BLOCK"),
        format!("{text}\n{text}"),
        format!("<img src=\"http://eve.example/\n{text}"),
        text[..text.len() - 10].to_owned(),
    ] {
        assert_eq!(flaw(wrong.as_bytes()), Some(OpenFlaw::Malformed), "{wrong}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_octets_are_answered(octets in proptest::collection::vec(any::<u8>(), 0..600), first in 0xC0_u8..) {
        let _ = flaw(&octets);
        let _ = flaw(&[vec![first], octets.clone()].concat());
        let _ = verify_detached(b"a letter", &octets, &NOBODY, NOW);
        let _ = PeerCertificate::read_all(&octets);
        let _ = verify_cleartext(&octets, &NOBODY, NOW);
    }

    #[test]
    fn a_changed_message_is_answered(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        version in 1_u8..3,
    ) {
        let mut sealed = sealed_packets(&to_bob(), version, &compressed(&literal(b"a letter")));
        for (at, octet) in changes {
            let at = at.index(sealed.len());
            sealed[at] = octet;
        }
        let (bob, _) = mailbox(2, "bob");
        if let Ok(opened) = open_message(&bob, &sealed, &NOBODY, NOW) {
            prop_assert_eq!(opened.clear.expose(), b"a letter");
        }
    }
}
