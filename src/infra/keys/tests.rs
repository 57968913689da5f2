//! Keys as the flow, and any OpenPGP program, meets them.
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);

fn keyring() -> Keyring {
    Keyring::with_master(Secret::new([7; 32]))
}

fn mailbox(number: u8) -> MailboxId {
    MailboxId::from_bytes([number; 16])
}

fn new_mailbox(keyring: &Keyring, number: u8) -> (Certificate, MailboxKeys) {
    let keys = keyring.generate(&mailbox(number), "somebody", NOW).unwrap();
    let certificate = keyring.certificate(&keys.certificate).unwrap();
    (certificate, keyring.unlock(&mailbox(number), &keys.wrapped).unwrap())
}

fn seal(keyring: &Keyring, recipients: &[Certificate], clear: &[u8]) -> SealedContent {
    let mut sealer = keyring.seal_to(recipients).unwrap();
    sealer.write(clear).unwrap();
    sealer.finish().unwrap()
}

/// Sealed as before containers of version 2.
fn seal_as_before(recipients: &[Certificate], clear: &[u8]) -> SealedContent {
    let recipients = recipients.iter().map(|certificate| &*certificate.0);
    let (ciphertext, content_key) = pgp::tests::sealed_as_before(recipients, clear, false);
    SealedContent { ciphertext, content_key: ContentKey(content_key) }
}

/// Sealed as now, and as before.
fn seal_both(keyring: &Keyring, to: &[Certificate], clear: &[u8]) -> [SealedContent; 2] {
    [seal(keyring, to, clear), seal_as_before(to, clear)]
}

#[test]
fn everything_can_cross_threads() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Keyring>();
    check::<Certificate>();
    check::<MailboxKeys>();
    check::<ContentKey>();
    check::<Sealer>();
}

#[test]
fn a_letter_to_three_mailboxes_opens_in_each_and_nowhere_else() {
    let keyring = keyring();
    let mailboxes: Vec<_> = (1..=4).map(|number| new_mailbox(&keyring, number)).collect();
    let recipients: Vec<_> = mailboxes[..3].iter().map(|(cert, _)| cert.clone()).collect();
    for sealed in seal_both(&keyring, &recipients, b"Cher confrere") {
        for (_, keys) in &mailboxes[..3] {
            let clear = keys.open_with_secret_key(&sealed.ciphertext).unwrap();
            assert_eq!(clear.expose(), b"Cher confrere");
            let content_key = keys.unwrap(&keys.wrap(&sealed.content_key)).unwrap();
            let clear = keys.open(&content_key, &sealed.ciphertext).unwrap();
            assert_eq!(clear.expose(), b"Cher confrere");
        }
        let (_, stranger) = &mailboxes[3];
        assert!(matches!(stranger.open_with_secret_key(&sealed.ciphertext), Err(KeyError::Open)));
        let theirs = mailboxes[0].1.wrap(&sealed.content_key);
        assert!(matches!(stranger.unwrap(&theirs), Err(KeyError::Unwrap)));
    }
}

#[test]
fn what_is_sealed_has_authenticated_chunks_and_opens_with_the_key_for_this_form_only() {
    let keyring = keyring();
    let (certificate, keys) = new_mailbox(&keyring, 1);
    let [now, before] = seal_both(&keyring, &[certificate], b"Cher confrere");
    // RFC 9580 §5.1: the version of the packet with the key; §5.13: of the container.
    let container = 2 + usize::from(now.ciphertext[1]);
    assert_eq!(now.ciphertext[2], 6);
    assert_eq!(now.ciphertext[container + 6..container + 9], [2, 9, 2]);
    for (sealed, other_form) in [(now, 9), (before, 0x82)] {
        let mut octets = sealed.content_key.0.to_octets();
        octets[0] = other_form;
        let other = ContentKey(pgp::ContentKey::from_octets(&octets).unwrap());
        assert!(matches!(keys.open(&other, &sealed.ciphertext), Err(KeyError::Open)));
        octets[0] = 1;
        assert!(pgp::ContentKey::from_octets(&octets).is_none());
    }
}

/// Made by the release before, and kept.
#[test]
fn a_content_from_before_opens_with_its_wrapped_key_and_with_the_secret_key() {
    let lines = include_str!("../../../tests/vectors/openpgp/version_1.txt");
    let field = |name: &str| -> Vec<u8> {
        let hex = lines.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        hex.as_bytes().chunks(2).map(|pair| digits(pair).unwrap()).collect()
    };
    let clear = b"Subject: compte rendu\r\n\r\nCher confrere,\r\n";
    let keys = keyring().unlock(&mailbox(1), &field("keys ")).unwrap();
    let content_key = keys.unwrap(&field("content_key ")).unwrap();
    let letter = field("letter ");
    assert_eq!(keys.open(&content_key, &letter).unwrap().expose(), clear);
    assert_eq!(keys.open_with_secret_key(&letter).unwrap().expose(), clear);
}

#[test]
fn an_empty_letter_is_sealed_too() {
    let keyring = keyring();
    let (certificate, keys) = new_mailbox(&keyring, 1);
    let sealed = seal(&keyring, &[certificate], b"");
    assert_eq!(keys.open(&sealed.content_key, &sealed.ciphertext).unwrap().expose(), b"");
}

#[test]
fn a_letter_to_nobody_is_not_sealed() {
    assert!(keyring().seal_to(&[]).is_err());
}

#[test]
fn the_clear_text_is_not_in_the_ciphertext() {
    let keyring = keyring();
    let (certificate, _) = new_mailbox(&keyring, 1);
    let sealed = seal(&keyring, &[certificate], &b"canary-279035121518989".repeat(5000));
    assert!(!sealed.ciphertext.windows(6).any(|window| window == b"canary"));
}

#[test]
fn keys_open_only_for_their_owner_and_with_their_master_key() {
    let keyring = keyring();
    let keys = keyring.generate(&mailbox(1), "somebody", NOW).unwrap();
    assert!(matches!(keyring.unlock(&mailbox(2), &keys.wrapped), Err(KeyError::Unwrap)));
    let other = Keyring::with_master(Secret::new([8; 32]));
    assert!(matches!(other.unlock(&mailbox(1), &keys.wrapped), Err(KeyError::Unwrap)));
    assert!(keys.wrapped.len() < 4096, "{} octets", keys.wrapped.len());
}

#[test]
fn an_index_entry_opens_only_in_its_context_and_mailbox() {
    let keyring = keyring();
    let (_, keys) = new_mailbox(&keyring, 1);
    let (_, others) = new_mailbox(&keyring, 2);
    let sealed = keys.seal_index(b"folder 1, summary 9", b"Compte rendu");
    let clear = keys.open_index(b"folder 1, summary 9", &sealed).unwrap();
    assert_eq!(clear.expose(), b"Compte rendu");
    assert!(keys.open_index(b"folder 1, summary 8", &sealed).is_err());
    assert!(others.open_index(b"folder 1, summary 9", &sealed).is_err());
    assert_ne!(keys.digest(b"same"), others.digest(b"same"));
}

#[test]
fn an_address_is_found_in_any_letter_case_and_only_with_the_master_key() {
    let address = Address::parse("Dr.Lune@hopital.mssante.test").unwrap();
    let same = Address::parse("dr.lune@HOPITAL.mssante.test").unwrap();
    assert_eq!(keyring().address_key(&address), keyring().address_key(&same));
    let other = Keyring::with_master(Secret::new([8; 32]));
    assert_ne!(keyring().address_key(&address), other.address_key(&address));
}

#[test]
fn a_small_fact_opens_for_its_purpose_only() {
    let keyring = keyring();
    let sealed = keyring.seal_small("queue row", b"279035121518989@patient.mssante.test");
    assert_eq!(
        keyring.open_small("queue row", &sealed).unwrap().expose(),
        b"279035121518989@patient.mssante.test"
    );
    assert!(keyring.open_small("address", &sealed).is_err());
}

#[test]
fn a_random_token_has_128_bits_that_fit_in_a_link() {
    let token = keyring().random_token();
    assert_eq!(token.expose().len(), 22);
    assert!(token.expose().bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
    assert_ne!(token.expose(), keyring().random_token().expose());
}

#[test]
fn a_certificate_made_in_another_year_is_usable() {
    for seconds in [1_000_000_000, 4_000_000_000] {
        let keys = keyring().generate(&mailbox(1), "x", Timestamp::from_seconds(seconds)).unwrap();
        assert!(keyring().certificate(&keys.certificate).is_ok());
    }
}

#[test]
fn what_is_not_a_certificate_is_refused() {
    let keyring = keyring();
    let keys = keyring.generate(&mailbox(1), "x", NOW).unwrap();
    for binary in [&b""[..], b"-----BEGIN", &[0xC6; 40], &keys.certificate[..60]] {
        assert!(matches!(keyring.certificate(binary), Err(KeyError::Certificate(_))));
    }
}

#[test]
fn a_content_with_its_packets_changed_around_does_not_open() {
    let keyring = keyring();
    let (first, keys) = new_mailbox(&keyring, 1);
    let (second, _) = new_mailbox(&keyring, 2);
    for sealed in seal_both(&keyring, &[first, second], b"Cher confrere") {
        refuses_changed_packets(&keys, &sealed);
    }
}

fn refuses_changed_packets(keys: &MailboxKeys, sealed: &SealedContent) {
    let octets = &sealed.ciphertext;
    let one = 2 + usize::from(octets[1]);
    let two = one + 2 + usize::from(octets[one + 1]);
    let without_recipient = [&octets[..one], &octets[two..]].concat();
    let without_recipients = octets[two..].to_vec();
    let swapped = [&octets[one..two], &octets[..one], &octets[two..]].concat();
    let with_tail = [octets.as_slice(), b"\xD3\x00"].concat();
    let twice = [octets.as_slice(), octets.as_slice()].concat();
    // RFC 9580 §5.7: the same octets as an encrypted packet without integrity protection.
    let mut unprotected = octets.clone();
    unprotected[two] = 0xC0 | 9;
    let marked = [b"\xCA\x03PGP".as_slice(), octets].concat();
    for changed in
        [without_recipient, without_recipients, swapped, with_tail, twice, unprotected, marked]
    {
        assert!(matches!(keys.open(&sealed.content_key, &changed), Err(KeyError::Open)));
    }
    for end in 0..octets.len() {
        assert!(matches!(keys.open(&sealed.content_key, &octets[..end]), Err(KeyError::Open)));
        assert!(matches!(keys.open_with_secret_key(&octets[..end]), Err(KeyError::Open)));
    }
}

#[test]
fn a_compressed_content_is_refused_although_it_is_well_sealed() {
    let keyring = keyring();
    let (certificate, keys) = new_mailbox(&keyring, 1);
    let zeros = vec![0; 100_000];
    let key = std::iter::once(&*certificate.0);
    let (before, _) = pgp::tests::sealed_as_before(key, &zeros, true);
    let compressed = pgp::tests::compressed_packet(&zeros);
    let now = pgp::tests::sealed_packets(&certificate.0, &compressed);
    for bomb in [before, now] {
        assert!(matches!(keys.open_with_secret_key(&bomb), Err(KeyError::Open)));
    }
    // What refuses is the packet, not how this test sealed it.
    let literal = b"\xCB\x08b\0\0\0\0\0ab";
    let sealed = pgp::tests::sealed_packets(&certificate.0, literal);
    assert_eq!(keys.open_with_secret_key(&sealed).unwrap().expose(), b"ab");
    let two = pgp::tests::sealed_packets(&certificate.0, &literal.repeat(2));
    assert!(matches!(keys.open_with_secret_key(&two), Err(KeyError::Open)));
}

#[test]
fn a_changed_octet_never_brings_the_secret_key_to_another_text() {
    let keyring = keyring();
    let (certificate, keys) = new_mailbox(&keyring, 1);
    for sealed in seal_both(&keyring, &[certificate], b"Cher confrere") {
        let mut altered = sealed.ciphertext;
        for place in 0..altered.len() {
            for change in [1, 0x1C, 0xFF] {
                altered[place] ^= change;
                let opened = keys.open_with_secret_key(&altered);
                assert!(opened.is_err(), "octet {place} with {change}");
                altered[place] ^= change;
            }
        }
    }
}

#[test]
fn the_library_reads_what_we_framed_at_any_length() {
    let keyring = keyring();
    let (certificate, keys) = new_mailbox(&keyring, 1);
    for length in [0, 1, 13, 32_761, 32_762, 32_763, 65_523, 65_524, 65_525, 200_000, 6_000_000] {
        let clear: Vec<u8> = (0..length).map(|place| (place % 253) as u8).collect();
        let sealed = seal(&keyring, std::slice::from_ref(&certificate), &clear);
        let key = keys.content_key_of(&sealed.ciphertext).unwrap();
        let opened = pgp::tests::opened_by_the_library(&key.0, &sealed.ciphertext);
        assert!(opened == clear, "{length} octets came back as {}", opened.len());
        assert!(*keys.open(&key, &sealed.ciphertext).unwrap().expose() == clear, "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_sealed_in_any_pieces_is_opened_whole(
        pieces in proptest::collection::vec(
            (any::<u8>(), prop_oneof![0_usize..600, 32_700_usize..32_800, 65_000_usize..66_000]),
            0..6,
        ),
    ) {
        let keyring = keyring();
        let (certificate, keys) = new_mailbox(&keyring, 1);
        let mut sealer = keyring.seal_to(&[certificate]).unwrap();
        let mut clear = Vec::new();
        for (octet, length) in pieces {
            let piece: Vec<u8> = (0..length).map(|place| octet ^ (place % 251) as u8).collect();
            sealer.write(&piece).unwrap();
            clear.extend_from_slice(&piece);
        }
        let sealed = sealer.finish().unwrap();
        let opened = keys.open(&sealed.content_key, &sealed.ciphertext).unwrap();
        prop_assert_eq!(opened.expose(), &clear);
        let opened = keys.open_with_secret_key(&sealed.ciphertext).unwrap();
        prop_assert_eq!(opened.expose(), &clear);
    }

    #[test]
    fn a_content_with_any_octet_changed_does_not_open(
        length in 0_usize..40_000,
        places in proptest::collection::vec(any::<proptest::sample::Index>(), 20),
        change in 1_u8..=255,
    ) {
        let keyring = keyring();
        let (certificate, keys) = new_mailbox(&keyring, 1);
        for sealed in seal_both(&keyring, &[certificate], &vec![b'x'; length]) {
            let mut altered = sealed.ciphertext.clone();
            // The packet headers and the first and last blocks, one by one, and some others.
            let end = altered.len();
            let places = places.iter().map(|place| place.index(end));
            for place in (0..200.min(end)).chain(end - 60..end).chain(places) {
                altered[place] ^= change;
                prop_assert!(keys.open(&sealed.content_key, &altered).is_err(), "octet {}", place);
                altered[place] ^= change;
            }
        }
    }
}

/// GnuPG stands for the programs that read RFC 4880: to them the mailbox's key is a key, and
/// contents from before open. It has no version 2 of the container.
#[test]
fn gnupg_takes_the_exported_key_and_opens_a_content_from_before() {
    let keyring = keyring();
    let keys =
        keyring.generate(&mailbox(1), "Dr Lune <dr.lune@hopital.mssante.test>", NOW).unwrap();
    let unlocked = keyring.unlock(&mailbox(1), &keys.wrapped).unwrap();
    let certificate = keyring.certificate(&keys.certificate).unwrap();
    let (second, _) = new_mailbox(&keyring, 2);
    let home = tempfile::tempdir().unwrap();
    let imported = gnupg(home.path(), &["--import"], unlocked.0.openpgp.expose());
    assert!(imported.is_empty());
    for length in [0, 1, 13, 32_761, 32_762, 32_763, 200_000, 6_000_000] {
        let clear: Vec<u8> = (0..length).map(|place| (place % 253) as u8).collect();
        let sealed = seal_as_before(&[second.clone(), certificate.clone()], &clear);
        let opened = gnupg(home.path(), &["--decrypt"], &sealed.ciphertext);
        assert!(opened == clear, "{length} octets came back as {}", opened.len());
    }
    let _ = Command::new("gpgconf")
        .args(["--homedir", &home.path().to_string_lossy(), "--kill", "all"])
        .status();
}

fn gnupg(home: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gpg")
        .arg("--homedir")
        .arg(home)
        .args(["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gpg is needed: apt install gnupg");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "gpg: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Figures for `docs/performance.md`. By hand:
/// `cargo test --release --lib keys -- --ignored --nocapture`.
#[test]
#[ignore = "its output is a figure, not a verdict"]
#[allow(clippy::print_stdout, reason = "the figures are what it is for")]
fn figures_of_sealing_and_opening() {
    fn best<T>(rounds: usize, mut work: impl FnMut() -> T) -> Duration {
        let one = |_| {
            let start = tokio::time::Instant::now();
            std::hint::black_box(work());
            start.elapsed()
        };
        let mut times: Vec<_> = (0..rounds).map(one).collect();
        times.sort();
        // Of the quicker half the middle: other programs work on this machine.
        times[rounds / 4]
    }
    let keyring = keyring();
    let (certificate, keys) = new_mailbox(&keyring, 1);
    let to = [certificate];
    for length in [4_096, 50_000, 1 << 20] {
        let clear: Vec<u8> = (0..length).map(|place| (place % 253) as u8).collect();
        let rounds = (20_000_000 / (length + 10_000)).max(40);
        let seal_before = best(rounds, || seal_as_before(&to, &clear));
        let seal_now = best(rounds, || seal(&keyring, &to, &clear));
        let [now, before] = seal_both(&keyring, &to, &clear);
        let open_before = best(rounds, || keys.open(&before.content_key, &before.ciphertext));
        let open_now = best(rounds, || keys.open(&now.content_key, &now.ciphertext));
        println!(
            "{length}: seal {seal_before:?} before, {seal_now:?} now; \
             open {open_before:?} before, {open_now:?} now"
        );
    }
}
