//! The sample letters of the trust space, read by our parsers and by another one.
use std::path::PathBuf;

use vaguemestre::proto::mime::content;
use vaguemestre::proto::mime::header;
use vaguemestre::proto::mime::summary;
use vaguemestre::proto::mime::summary::Part;

/// Every sample: its file name and its octets.
fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/mail");
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the samples are there") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            let name =
                path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            samples.push((name, std::fs::read(&path).expect("a readable sample")));
        }
    }
    assert!(samples.len() >= 17);
    samples
}

#[test]
fn the_sample_letters_have_readable_senders_and_their_marks() {
    for (name, letter) in samples() {
        let seen = header::view(&letter);
        assert!(!seen.unreadable_sender, "{name}");
        assert_eq!((seen.from_fields, seen.from.len()), (1, 1), "{name}");
        assert_eq!(seen.subject_is_fin, name.starts_with("05"), "{name}");
        assert_eq!(seen.mss.closes_exchange, name.starts_with("04"), "{name}");
        let has_document = ["01", "03", "04", "07", "08", "16"].iter().any(|n| name.starts_with(n));
        assert_eq!(!seen.mss.cda_codes.is_empty(), has_document, "{name}");
        let is_report =
            ["10", "11", "12", "13", "14", "15", "17"].iter().any(|n| name.starts_with(n));
        assert_eq!(seen.automatic, is_report, "{name}");
    }
}

#[test]
fn the_sample_letters_have_the_parts_that_another_parser_sees() {
    for (name, letter) in samples() {
        let described = summary::summarise(&letter);
        assert!(!described.over_budget, "{name}");
        let stored = summary::encode(&described);
        assert_eq!(summary::decode(&stored).as_ref(), Some(&described), "{name}");
        let theirs = mail_parser::MessageParser::default().parse(&letter).unwrap();
        assert_eq!(theirs.subject().unwrap_or_default(), described.subject, "{name}");
        let ours = own_parts(&described.structure);
        assert_eq!(ours.len(), theirs.parts.len(), "{name}");
        for (ours, theirs) in ours.iter().zip(&theirs.parts) {
            assert_eq!(ours.header_start, u64::from(theirs.offset_header), "{name}");
            assert_eq!(ours.body_start, u64::from(theirs.offset_body), "{name}");
            if ours.children.is_empty() && ours.message.is_none() {
                assert_eq!(ours.body_end, u64::from(theirs.offset_end), "{name}");
            }
        }
    }
}

/// Parts in the order of the letter, without those of letters inside.
fn own_parts(part: &Part) -> Vec<&Part> {
    std::iter::once(part).chain(part.children.iter().flat_map(own_parts)).collect()
}

#[test]
fn the_sample_letters_have_the_text_and_the_attachments_that_another_parser_sees() {
    for (name, letter) in samples() {
        let shown = content::readable(&letter);
        let theirs = mail_parser::MessageParser::default().parse(&letter).unwrap();
        assert_eq!(Some(shown.text.as_str()), theirs.body_text(0).as_deref(), "{name}");
        assert!(content::searchable_text(&letter).contains(shown.text.trim_end()), "{name}");
        assert_eq!(shown.attachments.len(), theirs.attachment_count(), "{name}");
        for (ours, theirs) in shown.attachments.iter().zip(theirs.attachments()) {
            if !ours.media_type.starts_with("message/") {
                let octets = content::attachment(&letter, ours.index).unwrap();
                assert!(octets == theirs.contents(), "{name}: {}", ours.name);
            }
        }
    }
}
