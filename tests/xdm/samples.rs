//! The sample archives and letters: what is recognised, what is found.
use vaguemestre::domain::document::Finding;
use vaguemestre::domain::document::InsStatus;
use vaguemestre::domain::envelope::MssHeaders;
use vaguemestre::domain::identity::Ins;
use vaguemestre::proto::mime::header;
use vaguemestre::proto::mime::summary;
use vaguemestre::proto::xdm;
use vaguemestre::proto::xdm::Report;

use super::made;

/// What a letter's documents are, as the relay sees them; `None` when there are none.
fn of_letter(letter: &[u8]) -> Option<Report> {
    let summary = summary::summarise(letter);
    let mss = header::view(letter).mss;
    let marked = xdm::recognise(&summary, &mss)?;
    let mut report = Report::default();
    for part in &marked.archives {
        let octets = xdm::octets(letter, part);
        report.merge(xdm::open(&octets).inspect(&mss, &mut 1_000_000));
    }
    if marked.archives.is_empty() {
        report = Report::without_archive();
    }
    report.conclude(&mss);
    Some(report)
}

fn codes(report: &Report) -> Vec<(String, InsStatus)> {
    report.documents.iter().map(|each| (each.code.to_string(), each.ins)).collect()
}

#[test]
fn the_archives_of_honest_senders_are_read_whole_and_nothing_is_wrong_with_them() {
    let imaging = ("18748-4".to_owned(), InsStatus::Qualified);
    for (name, expected) in [
        ("IHE_XDM.ZIP", vec![imaging.clone()]),
        ("IHE_XDM_remplacement.ZIP", vec![imaging.clone()]),
        ("neg/lowercase_names.zip", vec![imaging]),
    ] {
        let report = made::inspect(&made::vector(&format!("xdm/{name}")), &made::mss());
        assert_eq!(codes(&report), expected, "{name}");
        assert_eq!(made::found(&report), [], "{name}");
    }
    let two = made::vector("xdm/IHE_XDM_2_documents.ZIP");
    let mut report = made::inspect(&two, &MssHeaders::default());
    assert_eq!(report.documents.len(), 2);
    assert_eq!(made::found(&report), []);
    let told = MssHeaders {
        cda_codes: report.documents.iter().rev().map(|each| each.code.to_string()).collect(),
        ..MssHeaders::default()
    };
    report.conclude(&told);
    assert_eq!(made::found(&report), [], "the order of codes says nothing");
}

#[test]
fn a_letter_without_a_national_identity_is_told_from_one_that_claims_it() {
    let archive = made::vector("xdm/IHE_XDM_sans_INS.ZIP");
    let denied = MssHeaders { qualified_ins: Some(false), ..made::mss() };
    let report = made::inspect(&archive, &denied);
    assert_eq!(codes(&report), [("18748-4".to_owned(), InsStatus::Absent)]);
    assert_eq!(made::found(&report), []);
    assert_eq!(made::findings(&archive), [Finding::InsNotQualified]);
    // A matricule that travels although its sender denies that it is qualified.
    let report = made::inspect(&made::vector("xdm/IHE_XDM.ZIP"), &denied);
    assert_eq!(report.documents[0].ins, InsStatus::Unqualified);
    assert_eq!(made::found(&report), [Finding::InsNotQualified]);
}

#[test]
fn what_is_wrong_with_each_bad_sample_is_named() {
    for (name, expected) in [
        ("hash_mismatch.zip", vec![Finding::HashDiffers]),
        ("missing_metadata.zip", vec![Finding::MetadataMissing]),
        ("zip_slip.zip", vec![Finding::PathEscape]),
        ("patientid_differs_from_cda.zip", vec![Finding::PatientsDiffer]),
    ] {
        let report = made::inspect(&made::vector(&format!("xdm/neg/{name}")), &made::mss());
        assert_eq!(made::found(&report), expected, "{name}");
        // It is tagged and read on: who gets it must be able to judge.
        assert_eq!(report.documents.len(), 1, "{name}");
        assert_eq!(report.documents[0].code.as_str(), "18748-4", "{name}");
    }
}

#[test]
fn sample_letters_are_recognised_and_answers_and_receipts_are_not() {
    for (name, expected) in [
        ("01_pro_to_pro_xdm.eml", Some((1, InsStatus::Qualified))),
        ("03_pro_to_patient_reply_allowed.eml", Some((1, InsStatus::Qualified))),
        ("07_replace_annule_et_remplace.eml", Some((1, InsStatus::Qualified))),
        ("08_pro_to_pro_INS_not_qualified.eml", Some((1, InsStatus::Absent))),
        ("16_pro_to_pro_two_documents.eml", Some((2, InsStatus::Qualified))),
        ("02_reply_no_attachment.eml", None),
        ("09_pro_to_pro_plain_no_cda.eml", None),
        ("10_mdn_processed_ok.eml", None),
        ("11_mdn_KO_902_unknown_patient.eml", None),
        ("12_mdn_displayed_by_human.eml", None),
        ("13_bounce_mes_unknown_patient.eml", None),
        ("17_mes_autoreply_ASSUMED_FORM.eml", None),
    ] {
        let report = of_letter(&made::vector(&format!("mail/{name}")));
        let seen = report.as_ref().map(|report| (report.documents.len(), report.documents[0].ins));
        assert_eq!(seen, expected, "{name}");
        let found = report.as_ref().map(made::found).unwrap_or_default();
        assert_eq!(found, [], "{name}");
    }
}

#[test]
fn any_one_mark_is_enough_and_a_name_in_any_case_is() {
    let archive = made::vector("xdm/IHE_XDM.ZIP");
    let letter = |header: &str, name: &str| {
        made::letter_with("a@b.test", "c@d.test", "<1@b.test>", header, name, &archive)
    };
    for (header, name, recognised) in [
        ("Subject: Bonjour\r\n", "ihe_xdm.zip", true),
        ("Subject: Bonjour\r\n", "IHE-XDM.ZIP", true),
        ("Subject: xdm/1.0/ddm+CR\r\n", "documents.zip", true),
        ("Subject: =?utf-8?q?XDM/1=2E0/DDM+CR?=\r\n", "documents.zip", true),
        ("Subject: Bonjour\r\nx-mss-codecda: 18748-4\r\n", "documents.zip", true),
        ("Subject: Bonjour\r\nX-MSS-INS: O\r\n", "documents.zip", true),
        ("Subject: Bonjour\r\n", "photos.zip", false),
        ("Subject: Bonjour\r\n", "IHE_XDM.PDF", false),
    ] {
        let report = of_letter(&letter(header, name));
        assert_eq!(report.is_some(), recognised, "{header:?} {name}");
        assert!(report.is_none_or(|it| it.documents.len() == 1), "{header:?} {name}");
    }
}

#[test]
fn a_letter_that_promises_documents_and_brings_none_is_tagged() {
    let letter = b"Subject: XDM/1.0/DDM+CR\r\nX-MSS-CODECDA: 11502-2, 18748-4\r\n\r\nBonjour\r\n";
    let report = of_letter(letter).unwrap();
    assert_eq!(made::found(&report), [Finding::ArchiveMissing]);
    let codes: Vec<&str> = report.documents.iter().map(|each| each.code.as_str()).collect();
    assert_eq!(codes, ["11502-2", "18748-4"], "the header's codes are still counted");
}

#[test]
fn codes_that_differ_are_found_wherever_they_stand() {
    let archive = made::vector("xdm/IHE_XDM.ZIP");
    let other = MssHeaders { cda_codes: vec!["11502-2".to_owned()], ..made::mss() };
    assert_eq!(made::found(&made::inspect(&archive, &other)), [Finding::CodesDiffer]);
    let twice =
        MssHeaders { cda_codes: vec!["18748-4".to_owned(), "18748-4".to_owned()], ..made::mss() };
    assert_eq!(made::found(&made::inspect(&archive, &twice)), [Finding::CodesDiffer]);
    let inside = made::changed(|files| {
        made::replace(made::file(files, made::DOCUMENT), "\"18748-4\"", "\"11502-2\"");
        made::sign(files);
    });
    assert!(made::findings(&inside).contains(&Finding::CodesDiffer));
}

#[test]
fn numbers_that_are_no_matricules_are_found() {
    for (from, to, expected) in [
        (made::ADA, "288027599000176", Finding::InsInvalid),
        ("1.2.250.1.213.1.4.10", "1.2.250.1.213.1.4.99", Finding::InsInvalid),
    ] {
        let archive = made::changed(|files| {
            made::replace(made::file(files, made::METADATA), from, to);
            made::replace(made::file(files, made::DOCUMENT), from, to);
            made::sign(files);
        });
        let report = made::inspect(&archive, &made::mss());
        assert_eq!(made::found(&report), [expected], "{to}");
        assert_eq!(report.documents[0].ins, InsStatus::Invalid, "{to}");
    }
    let no_traits = made::changed(|files| {
        let metadata = made::file(files, made::METADATA);
        made::replace(metadata, "<Value>PID-7|19880203</Value>", "");
        let document = made::file(files, made::DOCUMENT);
        made::replace(document, "<birthTime value=\"19880203\"/>", "");
        made::sign(files);
    });
    assert_eq!(made::findings(&no_traits), [Finding::InsNotQualified]);
}

#[test]
fn documents_about_another_patient_than_the_recipient_are_seen() {
    let ada = Ins::parse(made::ADA).unwrap();
    let basile = Ins::parse(made::BASILE).unwrap();
    let report = made::inspect(&made::about(made::BASILE), &made::mss());
    assert_eq!(made::found(&report), []);
    assert!(report.is_about_somebody_else(&ada) && !report.is_about_somebody_else(&basile));
    // One of two numbers is enough: somebody gets what is not theirs.
    let mixed = made::vector("xdm/neg/patientid_differs_from_cda.zip");
    let report = made::inspect(&mixed, &made::mss());
    assert!(report.is_about_somebody_else(&ada));
    // Nobody is named: nobody can be somebody else.
    let unnamed = made::inspect(&made::vector("xdm/IHE_XDM_sans_INS.ZIP"), &made::mss());
    assert!(!unnamed.is_about_somebody_else(&basile));
}

#[test]
fn two_patients_in_one_letter_are_found() {
    let two = made::files(&made::vector("xdm/IHE_XDM_2_documents.ZIP"));
    let mut files = two;
    made::replace(made::file(&mut files, "IHE_XDM/SUBSET01/DOC0002.XML"), made::ADA, made::BASILE);
    let found = made::found(&made::inspect(&made::pack(&files), &MssHeaders::default()));
    assert!(found.contains(&Finding::PatientsDiffer), "{found:?}");
    assert!(found.contains(&Finding::HashDiffers), "{found:?}");
}

#[test]
fn a_size_a_file_or_a_path_that_is_wrong_is_found() {
    let with = |from: &str, to: &str| {
        made::changed(|files| made::replace(made::file(files, made::METADATA), from, to))
    };
    for (archive, expected) in [
        (with("<Value>6444</Value>", "<Value>6445</Value>"), vec![Finding::SizeDiffers]),
        (with("<Value>6444</Value>", "<Value>-1</Value>"), vec![Finding::SizeDiffers]),
        (with("DOC0001.XML", "DOC0009.XML"), vec![Finding::DocumentMissing]),
        (with("DOC0001.XML", "../../../etc/passwd"), vec![Finding::PathEscape]),
        (with("DOC0001.XML", "/etc/passwd"), vec![Finding::PathEscape]),
        (
            with("<Value>DOC0001.XML</Value>", "<Value>1|DOC00</Value><Value>2|01.XML</Value>"),
            vec![],
        ),
    ] {
        assert_eq!(made::findings(&archive), expected);
    }
}
