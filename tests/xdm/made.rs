//! Archives and letters that tests make out of the samples.
use std::fmt::Write as _;
use std::io::Cursor;
use std::io::Read;
use std::io::Write;
use std::path::PathBuf;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use vaguemestre::domain::document::Finding;
use vaguemestre::domain::envelope::MssHeaders;
use vaguemestre::domain::limits;
use vaguemestre::proto::xdm;
use vaguemestre::proto::xdm::Report;
use zip::write::SimpleFileOptions;

pub(super) const METADATA: &str = "IHE_XDM/SUBSET01/METADATA.XML";
pub(super) const DOCUMENT: &str = "IHE_XDM/SUBSET01/DOC0001.XML";
/// The patient of the samples, and another one.
pub(super) const ADA: &str = "288027599000175";
pub(super) const BASILE: &str = "115067599000279";

/// Names and octets of an archive's files.
pub(super) type Files = Vec<(String, Vec<u8>)>;

pub(super) fn vector(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn files(archive: &[u8]) -> Files {
    let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        let mut octets = Vec::new();
        file.read_to_end(&mut octets).unwrap();
        files.push((file.name().unwrap().into_owned(), octets));
    }
    files
}

pub(super) fn pack(files: &Files) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, octets) in files {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(octets).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The plain sample, changed.
pub(super) fn changed(change: impl FnOnce(&mut Files)) -> Vec<u8> {
    let mut files = files(&vector("xdm/IHE_XDM.ZIP"));
    change(&mut files);
    pack(&files)
}

pub(super) fn file<'f>(files: &'f mut Files, name: &str) -> &'f mut Vec<u8> {
    &mut files.iter_mut().find(|(found, _)| found == name).unwrap().1
}

pub(super) fn replace(octets: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(octets.clone()).unwrap();
    assert!(text.contains(from), "{from} is not in the file");
    *octets = text.replace(from, to).into_bytes();
}

/// Puts hash and size of the first document into the metadata, as its sender would.
pub(super) fn sign(files: &mut Files) {
    let document = file(files, DOCUMENT).clone();
    let metadata = file(files, METADATA);
    replace(metadata, "a841f860243f2cb12ebb3f408c32605bf75b571e", &sha1(&document));
    replace(metadata, "<Value>6444</Value>", &format!("<Value>{}</Value>", document.len()));
}

/// The sample about another patient, consistent in itself.
pub(super) fn about(patient: &str) -> Vec<u8> {
    changed(|files| {
        replace(file(files, METADATA), ADA, patient);
        replace(file(files, DOCUMENT), ADA, patient);
        sign(files);
    })
}

fn sha1(octets: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, octets);
    hash.as_ref().iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}

/// What the sender of the samples says in the header.
pub(super) fn mss() -> MssHeaders {
    MssHeaders {
        cda_codes: vec!["18748-4".to_owned()],
        qualified_ins: Some(true),
        ..MssHeaders::default()
    }
}

pub(super) fn inspect(archive: &[u8], mss: &MssHeaders) -> Report {
    let mut left = limits::ARCHIVE_OCTETS_MAX;
    let mut report = xdm::open(archive).inspect(mss, &mut left);
    report.conclude(mss);
    report
}

/// Every finding, about the archive or a document, but for the samples' test identities.
pub(super) fn found(report: &Report) -> Vec<Finding> {
    let mut all = report.findings;
    report.documents.iter().for_each(|document| all.merge(document.findings));
    all.iter().filter(|finding| *finding != Finding::TestIdentity).collect()
}

/// What is found in an archive of the samples' sender.
pub(super) fn findings(archive: &[u8]) -> Vec<Finding> {
    found(&inspect(archive, &mss()))
}

/// A letter that brings an archive.
pub(super) fn letter(from: &str, to: &str, id: &str, archive: &[u8]) -> Vec<u8> {
    let header = "Subject: XDM/1.0/DDM+CR d'imagerie EXEMPLIER ADA\r\nX-MSS-CODECDA: 18748-4\r\n\
                  X-MSS-INS: O\r\nX-MSS-NIL: NIL-EXEMPLE-0001\r\n";
    letter_with(from, to, id, header, "IHE_XDM.ZIP", archive)
}

/// The same with other header fields and another file name.
pub(super) fn letter_with(
    from: &str,
    to: &str,
    id: &str,
    header: &str,
    name: &str,
    archive: &[u8],
) -> Vec<u8> {
    let text = STANDARD.encode(archive);
    let lines: Vec<&str> =
        text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "From: {from}\r\nTo: {to}\r\nMessage-ID: {id}\r\n{header}\
         Date: Fri, 20 Nov 2026 14:36:00 +0100\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nVoir le document joint.\r\n--=_b\r\n\
         Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{}\r\n--=_b--\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}
