//! XML that somebody made to hurt, and XML that real software writes oddly.
use vaguemestre::domain::document::Finding;

use super::made;

const DECLARATION: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;

/// Writes a text as some software does.
type Writer<'w> = &'w dyn Fn(&str) -> Vec<u8>;

/// The sample with another beginning of its metadata.
fn metadata(change: impl FnOnce(String) -> Vec<u8>) -> Vec<u8> {
    made::changed(|files| {
        let metadata = made::file(files, made::METADATA);
        *metadata = change(String::from_utf8(metadata.clone()).unwrap());
    })
}

/// The sample with another document, of which the metadata knows.
fn document(change: impl FnOnce(String) -> Vec<u8>) -> Vec<u8> {
    made::changed(|files| {
        let document = made::file(files, made::DOCUMENT);
        *document = change(String::from_utf8(document.clone()).unwrap());
        made::sign(files);
    })
}

fn laughs(text: &str) -> Vec<u8> {
    let mut entities = "<!ENTITY l0 \"lol\">".to_owned();
    for level in 1..10 {
        let ten = format!("&l{};", level - 1).repeat(10);
        entities.push_str(&format!("<!ENTITY l{level} \"{ten}\">"));
    }
    let dtd = format!("{DECLARATION}<!DOCTYPE x [{entities}]>");
    text.replace(DECLARATION, &dtd).replace("DOC0001.XML", "&l9;").into_bytes()
}

#[test]
fn a_billion_laughs_are_not_laughed() {
    assert_eq!(made::findings(&metadata(|text| laughs(&text))), [Finding::MetadataMalformed]);
    assert_eq!(made::findings(&document(|text| laughs(&text))), [Finding::DocumentMalformed]);
}

#[test]
fn nobody_is_asked_for_an_external_entity() {
    for dtd in [
        "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>",
        "<!DOCTYPE x SYSTEM \"http://127.0.0.1:1/x.dtd\">",
        "<!DOCTYPE x [<!ENTITY % p SYSTEM \"http://127.0.0.1:1/p\"> %p;]>",
    ] {
        let with = |text: String| text.replace(DECLARATION, &format!("{DECLARATION}{dtd}"));
        let found = made::findings(&metadata(|text| with(text).into_bytes()));
        assert_eq!(found, [Finding::MetadataMalformed], "{dtd}");
        let found = made::findings(&document(|text| with(text).into_bytes()));
        assert_eq!(found, [Finding::DocumentMalformed], "{dtd}");
    }
    let undeclared = metadata(|text| text.replace("DOC0001.XML", "&file;").into_bytes());
    assert_eq!(made::findings(&undeclared), [Finding::MetadataMalformed]);
}

#[test]
fn endless_depth_tags_attributes_and_values_end_the_reading() {
    let deep = "<a>".repeat(100_000);
    let wide: String = (0..100_000).map(|n| format!(" a{n}=\"\"")).collect();
    let long = "x".repeat(1_000_000);
    for inside in [
        deep,
        format!("<Slot{wide}/>"),
        format!("<Slot name=\"URI\"><ValueList><Value>{long}</Value></ValueList></Slot>"),
        "<a/>".repeat(600_000),
    ] {
        let place = "<Slot name=\"hash\">";
        let archive =
            metadata(|text| text.replace(place, &format!("{inside}{place}")).into_bytes());
        assert_eq!(made::findings(&archive), [Finding::MetadataMalformed], "{}", &inside[..20]);
    }
    // An attribute that is longer than any we read is as good as none.
    let archive = metadata(|text| {
        let place = "nodeRepresentation=\"18748-4\"";
        text.replace(place, &format!("nodeRepresentation=\"{long}\"")).into_bytes()
    });
    assert_eq!(made::findings(&archive), []);
}

#[test]
fn what_is_not_the_xml_it_should_be_is_named() {
    for text in [
        "",
        " ",
        "not XML",
        "<a/>",
        "<SubmitObjectsRequest>",
        "<SubmitObjectsRequest/>",
        "<SubmitObjectsRequest></RegistryObjectList>",
        "\u{0}",
        "<!-- only a comment -->",
    ] {
        let archive = metadata(|_| text.as_bytes().to_vec());
        assert_eq!(made::findings(&archive), [Finding::MetadataMalformed], "{text:?}");
    }
    for text in ["", "not XML", "<ClinicalDocument>", "<ClinicalDocument><a></ClinicalDocument>"] {
        let archive = document(|_| text.as_bytes().to_vec());
        assert_eq!(made::findings(&archive), [Finding::DocumentMalformed], "{text:?}");
    }
    // XML of another kind is a document too; only its metadata speaks for it.
    assert_eq!(made::findings(&document(|_| b"<html/>".to_vec())), []);
}

#[test]
fn the_xml_of_real_software_is_read() {
    let utf16 = |text: &str| {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xff, 0xfe].into_iter().chain(units).collect::<Vec<u8>>()
    };
    let latin = |text: &str| {
        let text = text.replace("encoding=\"UTF-8\"", "encoding='ISO-8859-1'");
        text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect::<Vec<u8>>()
    };
    let marked = |text: &str| ["\u{feff}", text].concat().into_bytes();
    let remarks = |text: &str| {
        let more = "<?xml-stylesheet href=\"cda.xsl\"?><!-- by \"us\" --> ";
        let text = text.replace(DECLARATION, &format!("{DECLARATION}{more}"));
        text.replace("<Value>DOC0001.XML</Value>", "<Value><![CDATA[DOC0001.XML]]></Value>")
    };
    let written: [Writer<'_>; 6] = [
        &utf16,
        &latin,
        &marked,
        &|text| remarks(text).into_bytes(),
        &|text| text.replace("DOC0001", "DOC&#48;00&#x31;").into_bytes(),
        &|text| text.replace("&amp;", "&amp;amp;").into_bytes(),
    ];
    for (number, write) in written.into_iter().enumerate() {
        let report = made::inspect(&metadata(|text| write(&text)), &made::mss());
        assert_eq!(made::found(&report), [], "metadata {number}");
        assert_eq!(report.documents[0].patients.len(), 1, "metadata {number}");
    }
    for (number, write) in [&utf16 as Writer<'_>, &latin, &marked].into_iter().enumerate() {
        assert_eq!(made::findings(&document(|text| write(&text))), [], "document {number}");
    }
    // Octets that are no text in the encoding they claim, and a charset with tricks.
    let broken = metadata(|text| [text.as_bytes(), b"\xff\xff"].concat());
    assert_eq!(made::findings(&broken), [Finding::MetadataMalformed]);
    let tricks = metadata(|text| {
        let text = text.replace("UTF-8", "iso-2022-jp");
        [text.as_bytes(), b"<!-- \xff -->"].concat()
    });
    assert_eq!(made::findings(&tricks), [Finding::MetadataMalformed]);
}

#[test]
fn the_body_of_a_document_is_hashed_and_not_read() {
    let archive = document(|text| {
        let (head, tail) = text.split_once("<component>").unwrap();
        let body = "<x>".repeat(1_000_000);
        format!("{head}<component>{body}{tail}").into_bytes()
    });
    assert_eq!(made::findings(&archive), []);
}
