//! The list of operators (liste blanche MSSanté) as XML, read from verified bytes only.
//!
//! Exactly the published structure, so that nobody can say two things in one document: no DTD,
//! no comment, no CDATA, no processing instruction, no attribute, no unknown element. What lies
//! *inside* the structure is free text typed by hundreds of people, so a bad entry is skipped
//! and counted instead of stopping the mail of a whole country.
pub mod signature; // where the signature is in a list, and what it says it signs
mod text; // the small part of XML that the list uses

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::domain::address::Domain;
use crate::domain::limits::TRUST_LIST_OCTETS_MAX;
use crate::domain::operator::OperatorDn;
use crate::domain::operator::TrustList;
use crate::domain::time::Timestamp;

use text::Reader;

/// Namespace of the list's elements.
pub const NAMESPACE: &str = "https://listeblanche.mssante.fr/schema";

/// Entries of one list: the real one had 8,655 in June 2026.
const ENTRIES_MAX: usize = 200_000;
/// Skipped entries that are described; all are counted.
const SKIPPED_DESCRIBED_MAX: usize = 20;

/// Why a text is not a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BadTrustList {
    /// Where.
    pub line: usize,
    /// What.
    pub reason: String,
}

/// What a list said, and what of it could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The usable entries; at least one.
    pub list: TrustList,
    /// `Domaine` elements in the document, duplicates and skipped ones included.
    pub entries: usize,
    /// Entries whose domain or DN cannot be read.
    pub skipped: usize,
    /// The first few of them, with their lines, for the operator's log.
    pub skipped_first: Vec<BadTrustList>,
}

/// Parses the verified bytes of a list.
///
/// # Errors
/// [`BadTrustList`] for anything but the published structure, and for a list without any
/// usable entry.
pub fn parse(verified: &[u8]) -> Result<TrustList, BadTrustList> {
    read(verified).map(|reading| reading.list)
}

/// Like [`parse`], and tells what was skipped.
///
/// # Errors
/// The same as [`parse`].
pub fn read(verified: &[u8]) -> Result<Reading, BadTrustList> {
    let mut reader = Reader::new(verified, TRUST_LIST_OCTETS_MAX)?;
    reader.open(NAMESPACE, "ListeBlancheMSSante")?;
    let generated = reader.element(NAMESPACE, "DateDeGeneration")?;
    let generated = moment(&generated)
        .ok_or_else(|| reader.wrong("DateDeGeneration is not YYYY-MM-DDThh:mm:ssZ"))?;
    reader.open(NAMESPACE, "ListeDomaines")?;
    let mut domains: BTreeMap<Domain, BTreeSet<OperatorDn>> = BTreeMap::new();
    let mut entries = 0;
    let mut skipped = 0;
    let mut skipped_first = Vec::new();
    while reader.open_or_close(NAMESPACE, "Domaine")? {
        entries += 1;
        if entries > ENTRIES_MAX {
            return Err(reader.wrong("more entries than any country has operators"));
        }
        match entry(&mut reader)? {
            Ok((domain, dn)) => {
                domains.entry(domain).or_default().insert(dn);
            }
            Err(reason) => {
                skipped += 1;
                if skipped_first.len() < SKIPPED_DESCRIBED_MAX {
                    skipped_first.push(reader.wrong(reason));
                }
            }
        }
    }
    reader.close()?;
    reader.end()?;
    if domains.is_empty() {
        return Err(reader.wrong("no usable entry: an empty list would cut everybody off"));
    }
    let list = TrustList { generated, domains };
    Ok(Reading { list, entries, skipped, skipped_first })
}

/// One `Domaine`: exactly six children in this order. The outer error is one of structure, the
/// inner one of what somebody typed.
fn entry(
    reader: &mut Reader<'_>,
) -> Result<Result<(Domain, OperatorDn), &'static str>, BadTrustList> {
    let name = reader.element(NAMESPACE, "Nom")?;
    reader.element(NAMESPACE, "Description")?;
    let dn = reader.element(NAMESPACE, "DNCertificatOperateur")?;
    // Contacts are personal data and free text: read over, never kept, never logged.
    reader.element(NAMESPACE, "ResponsableContact")?;
    reader.element(NAMESPACE, "SupportContact")?;
    reader.element(NAMESPACE, "DateMAJ")?;
    reader.close()?;
    let Ok(domain) = Domain::parse(name.trim()) else {
        return Ok(Err("Nom is not a domain"));
    };
    let Some(dn) = OperatorDn::parse_list_form(dn.trim()) else {
        return Ok(Err("DNCertificatOperateur is not a name"));
    };
    Ok(Ok((domain, dn)))
}

/// `YYYY-MM-DDThh:mm:ssZ`, nothing else.
fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() != 20 || !text.ends_with('Z') || !text.is_ascii() {
        return None;
    }
    let moment: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_millisecond()).ok().map(Timestamp::from_millis)
}

/// Writes a list, unsigned and in canonical form (exclusive XML canonicalisation changes
/// nothing in it), for the demonstration and for tests.
pub fn write(list: &TrustList) -> String {
    // Fractions of a second have no place in the form.
    let date = Timestamp::from_seconds(list.generated.as_seconds()).to_string();
    let mut document = format!(
        "<ListeBlancheMSSante xmlns=\"{NAMESPACE}\">\n  <DateDeGeneration>{date}</DateDeGeneration>\n  \
         <ListeDomaines>\n"
    );
    for (domain, listed) in &list.domains {
        for dn in listed {
            let dn = text::escaped(&list_form(dn));
            document.push_str(&format!(
                "    <Domaine>\n      <Nom>{domain}</Nom>\n      \
                 <Description>DEMO</Description>\n      \
                 <DNCertificatOperateur>{dn}</DNCertificatOperateur>\n      \
                 <ResponsableContact>DEMO</ResponsableContact>\n      \
                 <SupportContact>DEMO</SupportContact>\n      \
                 <DateMAJ>{date}</DateMAJ>\n    </Domaine>\n"
            ));
        }
    }
    document.push_str("  </ListeDomaines>\n</ListeBlancheMSSante>");
    document
}

/// The order in which the list writes a name's attributes.
fn list_form(dn: &OperatorDn) -> String {
    const ORDER: [&str; 6] = ["CN", "OU", "O", "ST", "L", "C"];
    let place =
        |attribute: &str| ORDER.iter().position(|known| *known == attribute).unwrap_or(ORDER.len());
    let mut pairs: Vec<&(String, String)> = dn.pairs().iter().collect();
    pairs.sort_by_key(|(attribute, _)| place(attribute));
    let pieces: Vec<String> =
        pairs.iter().map(|(attribute, value)| format!("{attribute}={value}")).collect();
    pieces.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <ListeBlancheMSSante xmlns=\"https://listeblanche.mssante.fr/schema\">\
        <DateDeGeneration>2026-11-21T22:00:00Z</DateDeGeneration><ListeDomaines>";
    const TAIL: &str = "</ListeDomaines></ListeBlancheMSSante>";

    fn entry(name: &str, dn: &str) -> String {
        format!(
            "<Domaine><Nom>{name}</Nom><Description>Hôpital &amp; <!>/Description>\
             <DNCertificatOperateur>{dn}</DNCertificatOperateur><ResponsableContact>06, M. X\n\
             </ResponsableContact><SupportContact>x@y.fr</SupportContact>\
             <DateMAJ>2025-01-01T00:00:00Z</DateMAJ></Domaine>"
        )
        .replace("<!>", "<")
    }

    fn list(entries: &[String]) -> String {
        format!("{HEAD}{}{TAIL}", entries.concat())
    }

    fn dn(text: &str) -> OperatorDn {
        OperatorDn::parse_list_form(text).unwrap()
    }

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn a_domain_has_every_dn_that_is_listed_for_it() {
        let text = list(&[
            entry("chu-x.mssante.fr", "CN=a.fr,OU=1,O=CHU &quot;X&quot;,ST=Paris (75),C=FR"),
            entry("UC-CMP.mssante.fr", "CN=b.fr,OU=2,O=A  B,ST=S,C=FR"),
            entry("chu-x.mssante.fr", "CN=b.fr,OU=2,O=A B,L=S, C=FR"),
            entry("chu-x.mssante.fr", "CN=b.fr,OU=2,O=A B,L=S,C=FR"),
            entry("mssante.apicrypt.org", "CN=c.fr,OU=3,O=C, D et fils,ST=S,C=FR"),
        ]);
        let reading = read(text.as_bytes()).unwrap();
        assert_eq!((reading.entries, reading.skipped), (5, 0));
        let list = reading.list;
        assert_eq!(list.generated, Timestamp::from_seconds(1_795_298_400));
        assert_eq!(list.domains.len(), 3);
        assert_eq!(list.domains[&domain("chu-x.mssante.fr")].len(), 2);
        assert!(list.binds(
            &domain("chu-x.mssante.fr"),
            &dn("CN=a.fr,OU=1,O=CHU \"X\",ST=Paris (75),C=FR")
        ));
        assert!(list.lists(&domain("uc-cmp.mssante.fr")));
        assert!(!list.lists(&domain("mssante.fr")), "no parent");
        assert!(!list.lists(&domain("a.chu-x.mssante.fr")), "no child");
    }

    #[test]
    fn a_bad_entry_is_skipped_and_counted_and_the_others_stay() {
        let text = list(&[
            entry("not a domain", "CN=a,C=FR"),
            entry("good.mssante.fr", "CN=a,C=FR"),
            entry("bad.mssante.fr", "hello"),
        ]);
        let reading = read(text.as_bytes()).unwrap();
        assert_eq!((reading.entries, reading.skipped, reading.list.domains.len()), (3, 2, 1));
        assert_eq!(reading.skipped_first.len(), 2);
    }

    #[test]
    fn a_list_without_a_usable_entry_is_refused() {
        assert!(read(list(&[]).as_bytes()).is_err());
        assert!(read(list(&[entry("no domain", "CN=a")]).as_bytes()).is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = list(&[
            entry("chu-x.mssante.fr", "CN=a.fr,OU=1,O=R&amp;D &lt;x&gt;,ST=Paris (75),C=FR"),
            entry("chu-x.mssante.fr", "CN=b.fr,OU=2,O=É,L=S,C=FR"),
        ]);
        let list = parse(text.as_bytes()).unwrap();
        assert_eq!(parse(write(&list).as_bytes()).unwrap(), list);
    }

    #[test]
    fn anything_but_the_published_structure_is_refused() {
        let good = list(&[entry("x.mssante.fr", "CN=a,C=FR")]);
        assert!(parse(good.as_bytes()).is_ok());
        for (what, from, to) in [
            ("a DTD", "<Liste", "<!DOCTYPE x [<!ENTITY e \"x\">]><Liste"),
            ("an entity", "<Nom>x", "<Nom>&e;x"),
            ("a comment", "<Nom>x", "<Nom>x<!-- -->"),
            ("CDATA", "<Nom>x", "<Nom><![CDATA[x]]>"),
            ("a processing instruction", "<Nom>x", "<Nom><?x y?>x"),
            ("an attribute", "<Nom>", "<Nom a=\"b\">"),
            ("another namespace", "https://listeblanche.mssante.fr/schema", "urn:x"),
            ("a prefix of nowhere", "<Nom>x.mssante.fr</Nom>", "<p:Nom>x.mssante.fr</p:Nom>"),
            ("a missing child", "<DateMAJ>2025-01-01T00:00:00Z</DateMAJ>", ""),
            ("a second child", "<Nom>", "<Nom>y.fr</Nom><Nom>"),
            ("text between", "<Nom>", "x<Nom>"),
            ("a child inside", "<Nom>", "<Nom><b></b>"),
            ("another order", "<DateDeGeneration>2026-11-21T22:00:00Z</DateDeGeneration>", ""),
            ("a date without a zone", "22:00:00Z", "22:00:00"),
            ("a date with an offset", "22:00:00Z", "22:00:00+01:00"),
            ("two roots", "</ListeBlancheMSSante>", "</ListeBlancheMSSante><a></a>"),
            ("an unfinished list", "</ListeDomaines></ListeBlancheMSSante>", ""),
            ("another encoding", "UTF-8", "ISO-8859-1"),
            ("a late declaration", "<Nom>x", "<Nom><?xml version=\"1.0\"?>x"),
            ("a NUL", "<Nom>x", "<Nom>x\0"),
            ("a referred NUL", "<Nom>x", "<Nom>x&#0;"),
            ("a referred control", "<Nom>x", "<Nom>x&#1;"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{what}: nothing was replaced");
            assert!(parse(bad.as_bytes()).is_err(), "{what} was accepted");
        }
    }

    #[test]
    fn errors_name_their_line() {
        let text = format!("{HEAD}\n\n<x></x>{TAIL}");
        assert_eq!(parse(text.as_bytes()).unwrap_err().line, 4);
    }

    #[test]
    fn too_large_a_document_is_refused_unread() {
        assert!(parse(&vec![b' '; TRUST_LIST_OCTETS_MAX + 1]).is_err());
    }

    #[test]
    fn too_deep_a_document_is_refused() {
        let text = format!("{HEAD}{}", "<Domaine>".repeat(100_000));
        assert!(signature::locate(text.as_bytes()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(<[A-Za-z/!?&;#x \"=\\[\\]-]{0,12}>?|[a-z&;#]{0,5}){0,40}") {
            let whole = format!("{HEAD}{text}{TAIL}");
            let _ = parse(text.as_bytes());
            let _ = parse(whole.as_bytes());
            let _ = signature::locate(whole.as_bytes());
        }
    }
}
