//! Letters signed by the `openssl` program.
use std::path::Path;
use std::process::Command;

use super::*;
use crate::domain::limits;

const LETTER: &[u8] = b"Content-Type: text/plain\r\n\r\nBonjour\r\n";

/// A folder with an authority, certificates of it, and one of nobody's.
struct Hospital {
    folder: tempfile::TempDir,
    anchors: SmimeAnchors,
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("openssl (scripts/need test says more): {error}"));
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Hospital {
    fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        std::fs::write(
            at.join("extensions"),
            "[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n\
             [mail]\nkeyUsage=digitalSignature\nextendedKeyUsage=emailProtection\n\
             subjectAltName=email:eve@example.test,email:e.dupont@example.test\n\
             [tls]\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n\
             subjectAltName=DNS:mail.example.test\n",
        )
        .unwrap();
        std::fs::write(at.join("letter"), LETTER).unwrap();
        openssl(
            at,
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650 -subj /CN=Autorite -config /dev/null -extensions ca -config extensions",
        );
        for (name, section) in [("mail", "mail"), ("tls", "tls")] {
            openssl(
                at,
                &format!(
                    "req -new -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN=Eve -config extensions"
                ),
            );
            openssl(
                at,
                &format!(
                    "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile extensions -extensions {section} -out {name}.pem"
                ),
            );
        }
        openssl(
            at,
            "req -x509 -newkey rsa:2048 -nodes -keyout own.key -out own.pem -days 365 -subj /CN=Inconnue/emailAddress=own@example.test -config extensions",
        );
        let anchors = SmimeAnchors::from_pem(&std::fs::read(at.join("ca.pem")).unwrap()).unwrap();
        Self { folder, anchors }
    }

    fn signed(&self, options: &str) -> Vec<u8> {
        openssl(
            self.folder.path(),
            &format!("cms -sign -binary -in letter -outform DER -out signature {options}"),
        );
        std::fs::read(self.folder.path().join("signature")).unwrap()
    }
}

/// The certificates are made when the test runs, by a program that asks the real clock.
#[allow(clippy::disallowed_methods, reason = "openssl dates its certificates by the real clock")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_seconds(since.as_secs() + 60)
}

#[test]
fn a_signature_that_an_anchor_vouches_for_is_good_for_its_octets_only() {
    let hospital = Hospital::build();
    let anchors = &hospital.anchors;
    let signature = hospital.signed("-signer mail.pem -inkey mail.key");
    let SmimeVerdict::Good(signer) = verify_smime(LETTER, &signature, anchors, now()) else {
        panic!("{:?}", verify_smime(LETTER, &signature, anchors, now()));
    };
    assert_eq!(signer.subject, "Eve");
    let addresses: Vec<String> = signer.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["eve@example.test", "e.dupont@example.test"]);
    assert!(!signer.certificate.is_empty());
    let changed =
        verify_smime(b"Content-Type: text/plain\r\n\r\nBonsoir\r\n", &signature, anchors, now());
    assert_eq!(changed, SmimeVerdict::Bad("it does not match"));
    // The whole inside the signature: with it comes what was signed. In BER, as openssl streams it.
    for form in ["-nodetach", "-nodetach -stream"] {
        let opaque = hospital.signed(&format!("-signer mail.pem -inkey mail.key {form}"));
        let (content, verdict) = open_smime_signed(&opaque, anchors, now());
        assert_eq!(content.as_deref(), Some(LETTER));
        assert!(matches!(verdict, SmimeVerdict::Good(_)), "{verdict:?}");
        // Beside another letter, it says nothing about that one.
        let beside = verify_smime(b"another", &opaque, anchors, now());
        assert_eq!(beside, SmimeVerdict::Bad("it holds a content of its own"));
    }
    let (content, verdict) = open_smime_signed(&signature, anchors, now());
    assert_eq!((content, verdict), (None, SmimeVerdict::Bad("it holds no content")));
    let by_name = hospital.signed("-signer mail.pem -inkey mail.key -keyid");
    assert!(matches!(verify_smime(LETTER, &by_name, anchors, now()), SmimeVerdict::Good(_)));
}

#[test]
fn who_is_not_vouched_for_is_named_with_the_reason() {
    let hospital = Hospital::build();
    let reason = |options: &str, anchors: &SmimeAnchors, now: Timestamp| match verify_smime(
        LETTER,
        &hospital.signed(options),
        anchors,
        now,
    ) {
        SmimeVerdict::Untrusted(signer, reason) => (signer, reason),
        other => panic!("{options}: {other:?}"),
    };
    let anchors = &hospital.anchors;
    let (signer, why) = reason("-signer own.pem -inkey own.key", anchors, now());
    assert_eq!(signer.subject, "Inconnue");
    assert_eq!(signer.addresses.len(), 1, "an address of old, in the subject");
    assert!(why.contains("self"), "{why}");
    let mail = "-signer mail.pem -inkey mail.key";
    let (_, why) = reason(mail, &SmimeAnchors::default(), now());
    assert!(why.contains("issuer"), "{why}");
    let (_, why) = reason("-signer tls.pem -inkey tls.key", anchors, now());
    assert!(why.contains("purpose"), "{why}");
    let later = Timestamp::from_seconds(now().as_seconds() + 400 * 86_400);
    let (_, why) = reason(mail, anchors, later);
    assert!(why.contains("expired"), "{why}");
}

#[test]
fn a_signature_of_another_form_is_bad_and_says_why() {
    let hospital = Hospital::build();
    let bad = |octets: &[u8]| match verify_smime(LETTER, octets, &hospital.anchors, now()) {
        SmimeVerdict::Bad(reason) => reason,
        other => panic!("{other:?}"),
    };
    let mail = "-signer mail.pem -inkey mail.key";
    assert_eq!(bad(b""), "not a signature of S/MIME");
    assert_eq!(bad(b"Bonjour"), "not a signature of S/MIME");
    let signature = hospital.signed(mail);
    assert_eq!(bad(&signature[..signature.len() / 2]), "not a signature of S/MIME");
    assert_eq!(
        bad(&vec![0x30; limits::SMIME_SIGNATURE_OCTETS_MAX + 1]),
        "it is larger than any signature"
    );
    let sha1 = hospital.signed(&format!("{mail} -md sha1"));
    assert_eq!(bad(&sha1), "it was made by a digest that is no longer trusted");
    let two = hospital.signed(&format!("{mail} -signer own.pem -inkey own.key"));
    assert_eq!(bad(&two), "it has not exactly one signer");
    assert_eq!(
        bad(&hospital.signed(&format!("{mail} -nocerts"))),
        "it does not bring its certificate"
    );
    for number in 0..20 {
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout more.key";
        openssl(
            hospital.folder.path(),
            &format!("{new} -out more{number}.pem -subj /CN={number} -config extensions"),
        );
    }
    let flood: Vec<u8> = (0..20)
        .flat_map(|at| std::fs::read(hospital.folder.path().join(format!("more{at}.pem"))).unwrap())
        .collect();
    std::fs::write(hospital.folder.path().join("many.pem"), flood).unwrap();
    let many = hospital.signed(&format!("{mail} -certfile many.pem"));
    assert_eq!(bad(&many), "it brings too many certificates");
    // Encrypted, whoever it is for: not opened, and said so.
    openssl(
        hospital.folder.path(),
        "cms -encrypt -aes256 -in letter -outform DER -out sealed mail.pem",
    );
    let sealed = std::fs::read(hospital.folder.path().join("sealed")).unwrap();
    assert_eq!(bad(&sealed), "not signed data of S/MIME");
    let (content, verdict) = open_smime_signed(&sealed, &hospital.anchors, now());
    assert_eq!((content, verdict), (None, SmimeVerdict::Bad("not signed data of S/MIME")));
    // Any octet of it changed is not good, and never a panic.
    for at in (0..signature.len()).step_by(7) {
        let mut changed = signature.clone();
        changed[at] ^= 0x55;
        let verdict = verify_smime(LETTER, &changed, &hospital.anchors, now());
        // Octets that name certificates are not signed; the signature and its certificate are.
        if let SmimeVerdict::Good(signer) = verdict {
            assert_eq!(signer.subject, "Eve", "octet {at}");
        }
    }
}

#[test]
fn anchors_that_are_none_are_refused() {
    assert!(SmimeAnchors::from_pem(b"").is_err());
    assert!(SmimeAnchors::from_pem(b"Bonjour").is_err());
}
