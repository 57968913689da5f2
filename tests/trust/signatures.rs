//! Everything that somebody without the signer's key may try.
use proptest::prelude::ProptestConfig;
use proptest::prop_assert;
use proptest::test_runner::TestRunner;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::demo::pki::SIGNER_COMMON_NAME;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::net::load_anchors;
use vaguemestre::infra::trust::TrustError;
use vaguemestre::infra::trust::verified_bytes;
use vaguemestre::proto::trust_list;

use super::HOUR;
use super::Publisher;
use super::list;
use super::loopback;
use super::operators;

/// A good signed document, younger than the one that is active in `Publisher::refused`.
fn good(publisher: &Publisher) -> String {
    let list = list(publisher.now.after(HOUR), &["good.mssante.test", "other.mssante.test"]);
    String::from_utf8(publisher.pki.sign_trust_list(&list).unwrap()).unwrap()
}

fn check_refused(publisher: &Publisher, what: &str, document: &str) {
    let error = publisher.refused(document);
    println!("{what}: {error}");
    assert!(matches!(error, TrustError::Signature(_)), "{what}: {error}");
}

fn between<'a>(document: &'a str, from: &str, to: &str) -> &'a str {
    let begin = document.find(from).unwrap();
    let end = document.find(to).unwrap() + to.len();
    &document[begin..end]
}

#[test]
fn a_changed_octet_is_refused() {
    let publisher = Publisher::new();
    let good = good(&publisher);
    for (what, from, to) in [
        ("data", "good.mssante.test", "evil.mssante.test"),
        ("space between the elements", "  <ListeDomaines>", " <ListeDomaines>"),
        ("the root's namespace", "schema\">", "schema\" xmlns:a=\"urn:a\">"),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        if what == "the root's namespace" {
            // Exclusive canonicalisation leaves out what nobody uses, so this says the same.
            publisher.publish(&changed);
            assert!(publisher.load().is_ok());
            continue;
        }
        check_refused(&publisher, what, &changed);
    }
}

#[test]
fn another_form_of_signature_is_refused() {
    let publisher = Publisher::new();
    let good = good(&publisher);
    let signature = between(&good, "<Signature ", "</Signature>").to_owned();
    let exclusive = "<Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></Transform>";
    for (what, from, to) in [
        ("no signature", signature.as_str(), String::new()),
        ("two signatures", signature.as_str(), signature.repeat(2)),
        ("HMAC with the public key as the secret", "rsa-sha256", "hmac-sha256".to_owned()),
        ("SHA-1", "2001/04/xmldsig-more#rsa-sha256", "2000/09/xmldsig#rsa-sha1".to_owned()),
        ("comments kept", "xml-exc-c14n#\">", "xml-exc-c14n#WithComments\">".to_owned()),
        ("a part of the document", "URI=\"\"", "URI=\"#x\"".to_owned()),
        ("another document", "URI=\"\"", "URI=\"file:///etc/passwd\"".to_owned()),
        ("no transform", exclusive, String::new()),
        ("a third transform", exclusive, exclusive.repeat(2)),
        (
            "an XSLT transform",
            exclusive,
            "<Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\"></Transform>"
                .to_owned(),
        ),
        ("no reference", between(&good, "<Reference", "</Reference>"), String::new()),
        (
            "two references",
            between(&good, "<Reference", "</Reference>"),
            between(&good, "<Reference", "</Reference>").repeat(2),
        ),
        ("no certificate", between(&good, "<X509Data>", "</X509Data>"), String::new()),
        ("an object", "</KeyInfo>", "</KeyInfo><Object></Object>".to_owned()),
        ("a DTD", "<ListeBlanche", "<!DOCTYPE a [<!ENTITY b \"c\">]><ListeBlanche".to_owned()),
        ("a comment", "<Nom>good", "<Nom>good<!-- x -->".to_owned()),
        (
            "a prefix list",
            "<SignatureMethod",
            "<InclusiveNamespaces PrefixList=\"a\"></InclusiveNamespaces><SignatureMethod"
                .to_owned(),
        ),
    ] {
        let changed = good.replacen(from, &to, 1);
        assert_ne!(changed, good, "{what}: nothing was replaced");
        check_refused(&publisher, what, &changed);
    }
}

#[test]
fn a_signed_list_inside_a_forged_one_is_refused() {
    let publisher = Publisher::new();
    let good = good(&publisher);
    let declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let body = good.strip_prefix(declaration).unwrap().to_owned();
    let signature = between(&good, "<Signature ", "</Signature>").to_owned();
    let unsigned = body.replacen(&signature, "", 1);
    let forged = trust_list::write(&list(publisher.now.after(HOUR * 2), &["evil.mssante.test"]));
    let before_the_end = |inside: &str| {
        forged.replacen("</ListeBlancheMSSante>", &format!("{inside}</ListeBlancheMSSante>"), 1)
    };
    let inside_the_signature = |element: &str| {
        let holder = format!("<{element}>{unsigned}</{element}></Signature>");
        before_the_end(&signature.replacen("</Signature>", &holder, 1))
    };
    for (what, document) in [
        ("the signature moved to another list", before_the_end(&signature)),
        ("the signed list as a child", before_the_end(&body)),
        ("the signed list as a child, its signature outside", {
            before_the_end(&format!("{unsigned}{signature}"))
        }),
        ("the signed list as an object of its signature", inside_the_signature("Object")),
        ("the signed list in KeyInfo", inside_the_signature("KeyInfo")),
        ("two roots", format!("{forged}{body}")),
        ("the forged list as a child of the signed one", {
            body.replacen("</ListeBlancheMSSante>", &format!("{forged}</ListeBlancheMSSante>"), 1)
        }),
        ("a second list of domains", {
            let domains = between(&forged, "<ListeDomaines>", "</ListeDomaines>");
            body.replacen("<ListeDomaines>", &format!("{domains}<ListeDomaines>"), 1)
        }),
        ("the data inside the signature element, which is not digested", {
            let domains = between(&forged, "<ListeDomaines>", "</ListeDomaines>");
            body.replacen("<SignedInfo>", &format!("{domains}<SignedInfo>"), 1)
        }),
    ] {
        check_refused(&publisher, what, &format!("{declaration}{document}"));
    }
}

#[test]
fn only_the_configured_signer_may_sign() {
    let publisher = Publisher::new();
    let other_folder = tempfile::tempdir().unwrap();
    let stranger =
        DemoPki::create(other_folder.path(), &operators(), loopback(), publisher.now).unwrap();
    let past = Timestamp::from_millis(publisher.now.as_millis() - 1_000);
    for (what, document) in [
        (
            "another authority with the same names",
            publisher.signed_by(&stranger, SIGNER_COMMON_NAME, |_| {}),
        ),
        ("an expired certificate", {
            publisher.signed_by(&publisher.pki, SIGNER_COMMON_NAME, |leaf| leaf.not_after = past)
        }),
        ("a certificate of tomorrow", {
            publisher.signed_by(&publisher.pki, SIGNER_COMMON_NAME, |leaf| {
                leaf.not_before = publisher.now.after(HOUR)
            })
        }),
        ("another name of the same authority", {
            publisher.signed_by(&publisher.pki, "mallory.test", |leaf| {
                leaf.names = &["mallory@mssante.test"];
            })
        }),
        ("a name that only begins like the signer's", {
            publisher.signed_by(&publisher.pki, "alb.demo.mssante.test.evil.test", |leaf| {
                leaf.names = &["alb@mssante.test.evil.test"];
            })
        }),
    ] {
        check_refused(&publisher, what, std::str::from_utf8(&document).unwrap());
    }
}

#[test]
fn a_renewed_signer_is_accepted_by_either_of_its_names() {
    let publisher = Publisher::new();
    for document in [
        publisher.signed_by(&publisher.pki, SIGNER_COMMON_NAME, |_| {}),
        publisher.signed_by(&publisher.pki, "alb.next-contractor.test", |_| {}),
        publisher.signed_by(&publisher.pki, SIGNER_COMMON_NAME, |leaf| {
            leaf.names = &["next@contractor.test"]
        }),
    ] {
        publisher.publish(document);
        publisher.load().unwrap();
    }
}

#[test]
fn the_real_certificate_beside_a_forger_s_does_not_help_the_forger() {
    let publisher = Publisher::new();
    let folder = tempfile::tempdir().unwrap();
    let stranger = DemoPki::create(folder.path(), &operators(), loopback(), publisher.now).unwrap();
    let forged =
        String::from_utf8(publisher.signed_by(&stranger, SIGNER_COMMON_NAME, |_| {})).unwrap();
    let good = good(&publisher);
    let real = between(&good, "<X509Certificate>", "</X509Certificate>");
    let own = between(&forged, "<X509Certificate>", "</X509Certificate>");
    for both in [format!("{real}{own}"), format!("{own}{real}"), real.to_owned()] {
        check_refused(&publisher, "a borrowed certificate", &forged.replacen(own, &both, 1));
    }
}

#[test]
fn no_changed_octet_anywhere_changes_what_is_read() {
    let publisher = Publisher::new();
    let document = good(&publisher).into_bytes();
    let rule = publisher.pki.signer_rule();
    let anchors = load_anchors(&rule.anchors).unwrap();
    let read = |document: &[u8]| {
        verified_bytes(document, &rule, &anchors, publisher.now)
            .ok()
            .and_then(|bytes| trust_list::parse(&bytes).ok())
    };
    let before = read(&document).unwrap();
    // A failing case is printed by the runner with the place and octet, which is its seed.
    let mut runner = TestRunner::new(ProptestConfig::with_cases(400));
    runner
        .run(&(0..document.len(), 0_u8..=255), |(place, octet)| {
            let mut changed = document.clone();
            changed[place] = octet;
            prop_assert!(read(&changed).is_none_or(|list| list == before));
            Ok(())
        })
        .unwrap();
}
