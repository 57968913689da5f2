//! The oddities of the real list (28/02/2025), from the signed document to the judgement.
use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::domain::status::Refusal;
use vaguemestre::infra::trust::TrustSpace;

use super::Publisher;
use super::domain;

/// A subject as certificates have it: C first.
fn presented(state: (&str, &str), organisation: &str, structure: &str, host: &str) -> OperatorDn {
    OperatorDn::new([("C", "FR"), state, ("O", organisation), ("OU", structure), ("CN", host)])
}

/// A start with a list of these (domain, listed name) entries, just as they are typed.
fn space(entries: &[(&str, &str)]) -> TrustSpace {
    let publisher = Publisher::new();
    let date = publisher.now.to_string();
    let date = format!("{}Z", &date[..19]);
    let entries: String = entries
        .iter()
        .map(|(name, dn)| {
            format!(
                "<Domaine><Nom>{name}</Nom><Description>Un hôpital, une \"clinique\" &amp; un \
                 cabinet</Description><DNCertificatOperateur>{dn}</DNCertificatOperateur>\
                 <ResponsableContact>01 02 03 04 05, a@b.fr\n</ResponsableContact>\
                 <SupportContact>Mme X, sans adresse</SupportContact><DateMAJ>{date}</DateMAJ>\
                 </Domaine>"
            )
        })
        .collect();
    let text = format!(
        "<ListeBlancheMSSante xmlns=\"{}\"><DateDeGeneration>{date}</DateDeGeneration>\
         <ListeDomaines>{entries}</ListeDomaines></ListeBlancheMSSante>",
        vaguemestre::proto::trust_list::NAMESPACE
    );
    publisher.publish(publisher.sign(&text));
    publisher.load().unwrap()
}

const PARIS: (&str, &str) = ("ST", "Paris (75)");

#[test]
fn one_domain_has_up_to_five_certificates_and_any_of_them_counts() {
    let entries: Vec<String> =
        (1..=5).map(|n| format!("CN=mx{n}.test,OU=1990000101,O=A,ST=Paris (75),C=FR")).collect();
    let entries: Vec<(&str, &str)> =
        entries.iter().map(|dn| ("chu-x.mssante.test", dn.as_str())).collect();
    let space = space(&entries);
    let of = domain("chu-x.mssante.test");
    for n in 1..=5 {
        let peer = presented(PARIS, "A", "1990000101", &format!("mx{n}.test"));
        assert_eq!(space.judge_peer(&peer, Some(&of)), Ok(()));
        let evidence = space.evidence(&peer, Some(&of));
        assert_eq!(evidence.entry, Some((of.clone(), peer.clone())));
        assert_eq!(evidence.version, space.version());
    }
    let sixth = presented(PARIS, "A", "1990000101", "mx6.test");
    assert_eq!(space.judge_peer(&sixth, Some(&of)), Err(Refusal::PeerNotListed));
    assert_eq!(space.evidence(&sixth, Some(&of)).entry, None);
}

#[test]
fn duplicates_spacing_order_and_letter_case_make_no_difference() {
    let space = space(&[
        ("a.mssante.test", "CN=mx.test,OU=1,O=CHU  Double  Espace,ST=Paris (75),C=FR"),
        ("a.mssante.test", "CN=mx.test,OU=1,O=CHU Double Espace,ST=Paris (75), C=FR"),
        ("A.MSSante.test", "C=FR,ST=Paris (75),O=chu double espace,OU=1,CN=MX.test"),
    ]);
    assert_eq!(space.list().domains.len(), 1);
    assert_eq!(space.state(space.version().generated).pairs, 1);
    let peer = presented(PARIS, "CHU Double Espace", "1", "mx.test");
    assert_eq!(space.judge_peer(&peer, Some(&domain("a.mssante.test"))), Ok(()));
}

#[test]
fn a_locality_and_literal_quotes_and_accents_are_part_of_the_name() {
    let space = space(&[
        ("l.test", "CN=mx.test,OU=1,O=Clinique \"Les Tilleuls\",L=Besançon,C=FR"),
        ("s.test", "CN=mx.test,OU=1,O=Clinique,ST=Doubs (25),C=FR"),
    ]);
    let quoted = presented(("L", "Besanc\u{327}on"), "Clinique \"Les Tilleuls\"", "1", "mx.test");
    assert_eq!(space.judge_peer(&quoted, Some(&domain("l.test"))), Ok(()));
    let state = presented(("ST", "Besançon"), "Clinique \"Les Tilleuls\"", "1", "mx.test");
    assert_eq!(space.judge_peer(&state, Some(&domain("l.test"))), Err(Refusal::PeerNotListed));
    let locality = presented(("L", "Doubs (25)"), "Clinique", "1", "mx.test");
    assert_eq!(space.judge_peer(&locality, Some(&domain("s.test"))), Err(Refusal::PeerNotListed));
}

#[test]
fn domains_match_exactly_whatever_their_ending() {
    let space = space(&[
        ("mssante.apicrypt.org", "CN=api.test,OU=3,O=A,ST=Paris (75),C=FR"),
        ("DEEP.sub.CHU-X.mssante.test", "CN=api.test,OU=3,O=A,ST=Paris (75),C=FR"),
    ]);
    let peer = presented(PARIS, "A", "3", "api.test");
    for (name, verdict) in [
        ("mssante.apicrypt.org", Ok(())),
        ("MSSANTE.Apicrypt.ORG", Ok(())),
        ("deep.sub.chu-x.mssante.test", Ok(())),
        ("sub.chu-x.mssante.test", Err(Refusal::PeerDomainMismatch)),
        ("deeper.deep.sub.chu-x.mssante.test", Err(Refusal::PeerDomainMismatch)),
        ("interop.mssante.apicrypt.org", Err(Refusal::PeerDomainMismatch)),
        ("apicrypt.org", Err(Refusal::PeerDomainMismatch)),
    ] {
        assert_eq!(space.judge_peer(&peer, Some(&domain(name))), verdict, "{name}");
    }
}

#[test]
fn a_wildcard_in_the_list_binds_nobody() {
    let dn = "CN=api.test,OU=3,O=A,ST=Paris (75),C=FR";
    let space = space(&[("*.mssante.test", dn), ("good.mssante.test", dn)]);
    assert_eq!(space.list().domains.len(), 1);
    let peer = presented(PARIS, "A", "3", "api.test");
    let any = domain("any.mssante.test");
    assert_eq!(space.judge_peer(&peer, Some(&any)), Err(Refusal::PeerDomainMismatch));
}
