//! OpenPGP of strangers: messages, signatures, certificates, armour, texts signed in clear.
#![no_main]
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vaguemestre::domain::limits;
use vaguemestre::domain::mailbox::MailboxId;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::keys::Keyring;
use vaguemestre::infra::keys::MailboxKeys;
use vaguemestre::infra::keys::mail;
use vaguemestre::infra::keys::mail::Certificates;
use vaguemestre::infra::keys::peers::PeerCertificate;
use vaguemestre::infra::keys::smime;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const VECTOR: &str = include_str!("../../vectors/openpgp/version_1.txt");
const SIGNER: &[u8] = include_bytes!("../seeds/openpgp/certificate");

/// The mailbox of the vector: messages to it are among the seeds.
static KEYS: LazyLock<MailboxKeys> = LazyLock::new(|| {
    let line = VECTOR.lines().find_map(|line| line.strip_prefix("keys ")).expect("in the file");
    let digits: Vec<u32> = line.chars().filter_map(|sign| sign.to_digit(16)).collect();
    let wrapped: Vec<u8> = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
    let keyring = Keyring::with_master(Secret::new([7; 32]));
    keyring.unlock(&MailboxId::from_bytes([1; 16]), &wrapped).expect("the vector opens")
});

/// Everybody's signatures are looked for in one certificate.
struct Signer(PeerCertificate);

impl Certificates for Signer {
    fn of_key(&self, _: &str) -> Vec<PeerCertificate> {
        vec![self.0.clone()]
    }
}

static KNOWN: LazyLock<Signer> = LazyLock::new(|| {
    // Behind the octet that says what a seed is.
    Signer(PeerCertificate::read(&SIGNER[1..]).expect("a certificate"))
});

fuzz_target!(|input: &[u8]| {
    let Some((which, octets)) = input.split_first() else { return };
    match which % 5 {
        0 => {
            if let Ok(opened) = mail::open_message(&KEYS, octets, &*KNOWN, NOW) {
                let clear = opened.clear.expose().len();
                assert!(clear <= limits::OPENPGP_CLEAR_OCTETS_MAX);
                assert!(opened.signatures.len() <= 2 * limits::OPENPGP_MESSAGE_SIGNATURES_MAX);
            }
        }
        1 => drop(mail::verify_detached(b"a letter", octets, &*KNOWN, NOW)),
        2 => {
            for certificate in PeerCertificate::read_all(octets).into_iter().flatten() {
                let _ = certificate.check(NOW);
                let _ = (certificate.addresses(NOW), certificate.expires(NOW));
                let _ = certificate.revocation(NOW);
                let armoured = certificate.to_armour().expect("what was read is written");
                let again = PeerCertificate::read(armoured.as_bytes()).map(|one| one.fingerprint());
                assert_eq!(again, Ok(certificate.fingerprint()));
            }
        }
        3 => drop(mail::verify_cleartext(octets, &*KNOWN, NOW)),
        _ => {
            let anchors = smime::SmimeAnchors::default();
            let _ = smime::verify_smime(b"a letter", octets, &anchors, NOW);
            let _ = smime::open_smime_signed(octets, &anchors, NOW);
        }
    }
});
