//! Certificates of people outside that our own directory shows: slapd, GnuPG, Postfix.
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::directory::DirectoryError;
use vaguemestre::infra::directory::ldap::Ldap;
use vaguemestre::infra::directory::ldap::Settings;
use vaguemestre::infra::keys::peers::PeerCertificate;

use super::DOCTOR;
use super::OURS;
use super::PEER;
use super::QUICK;
use super::THEIRS;
use super::gpg;
use super::gpg::Gpg;
use super::letter;
use crate::directory_ldap::House;
use crate::directory_ldap::slapd::SERVICE;
use crate::support::letters;
use crate::support::postfix::Postfix;
use crate::support::serving::Space;

const CONTACTS: &str = "ou=contacts,dc=hopital,dc=test";

fn armoured(certificate: &[u8]) -> String {
    PeerCertificate::read(certificate).unwrap().to_armour().unwrap()
}

/// A value of an entry, as LDIF says octets.
fn value(attribute: &str, octets: &[u8]) -> String {
    format!("{attribute}:: {}\n", STANDARD.encode(octets))
}

fn contact(house: &House, address: &str, values: &str) {
    let mut ldif = String::new();
    write!(
        ldif,
        "dn: mail={address},{CONTACTS}\nchangetype: add\nobjectClass: inetOrgPerson\n\
         objectClass: pgpKeyInfo\ncn: Contact\nsn: Contact\nmail: {address}\n{values}"
    )
    .unwrap();
    house.slapd.modify(&ldif);
}

fn house() -> House {
    let house = House::new();
    house.slapd.modify(&format!(
        "dn: {CONTACTS}\nchangetype: add\nobjectClass: organizationalUnit\nou: contacts\n"
    ));
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_in_our_directory_seals_letters_and_a_change_waits_for_an_administrator() {
    let mut house = house();
    let gpg = Gpg::of(PEER);
    contact(&house, PEER, &value("pgpKey", armoured(&gpg.certificate(PEER)).as_bytes()));
    let broken = format!("abime@{THEIRS}");
    contact(&house, &broken, &value("pgpKey", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nx\n"));
    let space = Space::of(&[OURS, THEIRS]);
    let postfix = Postfix::start(&space.pki, space.operator(1), &[], "");
    let relay = space
        .relay(0)
        .route(THEIRS, postfix.mx)
        .with(QUICK)
        .with(&format!(
            "[ldap]\nservers = [{:?}]\nanchors = [{:?}]\nbind_dn = {SERVICE:?}\n\
             bind_password_file = {:?}\nbase = \"ou=people,dc=hopital,dc=test\"\n\
             timeout_seconds = 2\n\
             [openpgp]\nldap_attribute = \"pgpKey\"\nldap_base = {CONTACTS:?}\n\
             policies = [\"{THEIRS}=require\"]\n",
            house.slapd.tls(),
            house.pki.anchors,
            house.password_file(),
        ))
        .start(&[DOCTOR]);
    let sent = async || {
        let id = letters::message_id();
        let mut submission = relay.submission(DOCTOR).await;
        let text = letter(DOCTOR, PEER, &id);
        submission.send(DOCTOR, &[PEER], text.as_bytes()).await.unwrap();
        postfix.wait_for(&id).await
    };
    let opens = |gpg: &Gpg, sealed: &str| {
        let (opened, _) = gpg.open(gpg::armour(sealed).as_bytes());
        assert!(opened.contains("Le résultat est négatif."), "{opened}");
    };
    let arrived = sent().await;
    assert!(arrived.contains("multipart/encrypted"), "{arrived}\n{}", relay.log());
    opens(&gpg, &arrived);
    // Who is not there, and whose entry holds nothing that can be read.
    let put_off = async |address: &str| {
        let mut session = relay.submission(DOCTOR).await;
        session.command(&format!("MAIL FROM:<{DOCTOR}>"), "250").await.unwrap();
        session.command(&format!("RCPT TO:<{address}>"), "45").await.unwrap()
    };
    for address in [&format!("inconnu@{THEIRS}"), &broken] {
        let said = put_off(address).await;
        assert!(said.contains("4."), "{address}: {said}");
    }

    // Somebody puts another one in its place: nothing changes until an administrator says so.
    let other = Gpg::of(PEER);
    house.slapd.modify(&format!(
        "dn: mail={PEER},{CONTACTS}\nchangetype: modify\nreplace: pgpKey\n{}",
        value("pgpKey", armoured(&other.certificate(PEER)).as_bytes())
    ));
    let shown = PeerCertificate::read(&other.certificate(PEER)).unwrap().fingerprint();
    let said = relay.said(&["keys", "look", PEER]);
    assert!(said.contains(shown.as_str()) && said.contains("waits for a decision"), "{said}");
    opens(&gpg, &sent().await);
    let journal = relay.json(&["admin", "journal"]).to_string();
    assert!(journal.contains("keys contact changed") && journal.contains("ldap"), "{journal}");
    let accept = ["keys", "contact", "accept", PEER, shown.as_str(), "--reason", "called back"];
    relay.said(&accept);
    opens(&other, &sent().await);

    // The directory is away: what is pinned serves, and nobody says that others have none.
    house.slapd.kill();
    opens(&other, &sent().await);
    let said = put_off(&format!("nouveau@{THEIRS}")).await;
    assert!(said.contains("4."), "{said}");
    // And it comes back by itself.
    let late = Gpg::of(&format!("tard@{THEIRS}"));
    let late_address = format!("tard@{THEIRS}");
    house.slapd.begin();
    contact(
        &house,
        &late_address,
        &value("pgpKey", armoured(&late.certificate(&late_address)).as_bytes()),
    );
    let mut said = String::new();
    for _ in 0..300 {
        let looked = relay.command(&["keys", "look", &late_address]);
        said = crate::support::running::said(&looked);
        if said.contains("is pinned") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(said.contains("is pinned"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_and_octets_are_read_and_no_address_changes_the_question() {
    let mut house = house();
    let gpg = Gpg::of(PEER);
    let certificate = PeerCertificate::read(&gpg.certificate(PEER)).unwrap();
    let binary = certificate.to_binary().unwrap();
    let values = value("pgpKey", certificate.to_armour().unwrap().as_bytes())
        + &value("pgpKeyBinary", &binary);
    contact(&house, PEER, &values);
    let ldap = Ldap::new(
        Settings {
            base: CONTACTS.to_owned(),
            filter: "(mail={name})".to_owned(),
            ..house.settings(&[house.slapd.tls()])
        },
        Arc::new(SystemClock),
    )
    .unwrap();
    for attribute in ["pgpKey", "pgpKeyBinary", "PGPKEYBINARY", "pgpKeyBinary;binary"] {
        let found = ldap.values_of(PEER, attribute).await.unwrap();
        // slapd knows no transfer option for an attribute that is octets anyway.
        if attribute.contains(';') && found.is_empty() {
            continue;
        }
        assert_eq!(found.len(), 1, "{attribute}");
        let read = PeerCertificate::read_ring(&found[0]).unwrap();
        assert_eq!(read[0].fingerprint(), certificate.fingerprint(), "{attribute}");
    }
    let long = "a".repeat(100_000);
    for address in ["*", "*)(mail=*", "dr.durand@*", "", "\0", "nobody@x.test", long.as_str()] {
        let found = ldap.values_of(address, "pgpKey").await.unwrap();
        assert!(found.is_empty(), "{:?}", &address[..address.len().min(40)]);
    }
    assert!(ldap.values_of(PEER, "telephoneNumber").await.unwrap().is_empty());
    house.slapd.kill();
    let answer = ldap.values_of(PEER, "pgpKey").await;
    assert!(matches!(answer, Err(DirectoryError::Away { .. })), "{answer:?}");
}
