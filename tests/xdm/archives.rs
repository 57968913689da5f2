//! Archives that somebody made to hurt: bombs, escapes, lies about what is where. Made by hand,
//! and by the programs that people use.
use std::io::Write;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use vaguemestre::domain::document::Finding;
use vaguemestre::domain::limits;
use vaguemestre::proto::mime::summary;
use vaguemestre::proto::xdm;
use zip::write::SimpleFileOptions;

use super::made;

/// One file as it is to stand in an archive, true or not.
#[derive(Clone)]
struct Raw {
    name: Vec<u8>,
    method: u16,
    flags: u16,
    crc: u32,
    packed: Vec<u8>,
    size: u32,
    /// In place of where it really is.
    place: Option<u32>,
}

impl Raw {
    fn stored(name: &str, octets: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(octets);
        Self {
            name: name.as_bytes().to_vec(),
            method: 0,
            flags: 0,
            crc: crc.sum(),
            packed: octets.to_vec(),
            size: u32::try_from(octets.len()).unwrap(),
            place: None,
        }
    }

    fn deflated(name: &str, octets: &[u8]) -> Self {
        let mut packer =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(octets).unwrap();
        Self { method: 8, packed: packer.finish().unwrap(), ..Self::stored(name, octets) }
    }

    fn local(&self) -> Vec<u8> {
        let mut octets = b"PK\x03\x04\x14\0".to_vec();
        octets.extend(self.flags.to_le_bytes());
        octets.extend(self.method.to_le_bytes());
        octets.extend([0; 4]);
        self.rest(&mut octets);
        octets.extend([0; 2]);
        octets.extend(&self.name);
        octets.extend(&self.packed);
        octets
    }

    fn rest(&self, octets: &mut Vec<u8>) {
        octets.extend(self.crc.to_le_bytes());
        octets.extend(u32::try_from(self.packed.len()).unwrap().to_le_bytes());
        octets.extend(self.size.to_le_bytes());
        octets.extend(u16::try_from(self.name.len()).unwrap().to_le_bytes());
    }

    fn central(&self, place: u32) -> Vec<u8> {
        let mut octets = b"PK\x01\x02\x14\0\x14\0".to_vec();
        octets.extend(self.flags.to_le_bytes());
        octets.extend(self.method.to_le_bytes());
        octets.extend([0; 4]);
        self.rest(&mut octets);
        octets.extend([0; 12]);
        octets.extend(self.place.unwrap_or(place).to_le_bytes());
        octets.extend(&self.name);
        octets
    }
}

/// An archive of these files.
fn raw(files: &[Raw]) -> Vec<u8> {
    let (mut octets, mut directory) = (Vec::new(), Vec::new());
    for file in files {
        let place = u32::try_from(octets.len()).unwrap();
        directory.extend(file.central(place));
        // A file that is said to be elsewhere is not here.
        if file.place.is_none() {
            octets.extend(file.local());
        }
    }
    let start = u32::try_from(octets.len()).unwrap();
    octets.extend(&directory);
    octets.extend(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    octets.extend([count, count].concat());
    octets.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    octets.extend(start.to_le_bytes());
    octets.extend([0; 2]);
    octets
}

/// The sample, and these files behind it.
fn sample_and(more: &[Raw]) -> Vec<u8> {
    let mut files: Vec<Raw> = made::files(&made::vector("xdm/IHE_XDM.ZIP"))
        .iter()
        .map(|(name, octets)| Raw::deflated(name, octets))
        .collect();
    files.extend_from_slice(more);
    raw(&files)
}

/// Octets that looking into an archive unpacked.
fn unpacked(archive: &[u8]) -> u64 {
    let mut left = limits::ARCHIVE_OCTETS_MAX;
    xdm::open(archive).inspect(&made::mss(), &mut left);
    limits::ARCHIVE_OCTETS_MAX - left
}

#[test]
fn an_archive_made_by_hand_is_read_like_any_other() {
    assert_eq!(made::findings(&sample_and(&[])), []);
    let folder = Raw::stored("IHE_XDM/", b"");
    assert_eq!(made::findings(&sample_and(&[folder])), []);
}

#[test]
fn a_name_that_leaves_the_archives_folder_is_found() {
    for name in [
        "../evil",
        "IHE_XDM/../../evil",
        "/etc/passwd",
        "C:/evil",
        "c:evil",
        "..\\evil",
        "IHE_XDM\\SUBSET01\\EVIL.XML",
        "evil\0.xml",
        "evil\n.xml",
        "./evil",
    ] {
        let archive = sample_and(&[Raw::stored(name, b"x")]);
        assert_eq!(made::findings(&archive), [Finding::PathEscape], "{name:?}");
    }
}

#[test]
fn two_files_of_one_name_are_found_in_either_letter_case() {
    for name in [made::DOCUMENT, "ihe_xdm/subset01/doc0001.xml"] {
        let archive = sample_and(&[Raw::deflated(name, b"<other/>")]);
        assert_eq!(made::findings(&archive), [Finding::NameTwice], "{name}");
    }
}

#[test]
fn a_bomb_is_not_unpacked() {
    let zeros = vec![0; 100_000_000];
    let bomb = Raw::deflated(made::METADATA, &zeros);
    let honest = raw(std::slice::from_ref(&bomb));
    let found = made::findings(&honest);
    assert!(found.contains(&Finding::TooLarge), "{found:?}");
    assert_eq!(unpacked(&honest), 0);
    // One that says it is small.
    let liar = raw(&[Raw { size: 1_000, ..bomb }]);
    let found = made::findings(&liar);
    assert!(found.contains(&Finding::ArchiveDamaged), "{found:?}");
    assert!(unpacked(&liar) <= 65_536, "{}", unpacked(&liar));
}

#[test]
fn many_files_that_are_each_allowed_are_not_all_unpacked() {
    // Each document of 2 MB unpacks from 2 KB, and the metadata names a hundred of them.
    let entry = |number: usize| {
        format!(
            "<ExtrinsicObject mimeType=\"text/xml\"><Slot name=\"URI\"><ValueList>\
             <Value>DOC{number}.XML</Value></ValueList></Slot></ExtrinsicObject>"
        )
    };
    let entries: String = (0..100).map(entry).collect();
    let metadata = format!(
        "<SubmitObjectsRequest><RegistryObjectList>{entries}</RegistryObjectList></SubmitObjectsRequest>"
    );
    let body = vec![b' '; 1_048_576];
    let mut files = vec![Raw::deflated(made::METADATA, metadata.as_bytes())];
    files.extend((0..100).map(|n| Raw::deflated(&format!("IHE_XDM/SUBSET01/DOC{n}.XML"), &body)));
    let archive = raw(&files);
    assert!(archive.len() < 200_000, "{}", archive.len());
    let found = made::findings(&archive);
    assert!(found.contains(&Finding::TooLarge), "{found:?}");
    assert!(unpacked(&archive) <= limits::ARCHIVE_OCTETS_MAX);
}

#[test]
fn files_that_overlap_are_not_unpacked() {
    let inner = Raw::deflated(made::METADATA, b"<SubmitObjectsRequest/>");
    // The outer file's octets are the inner file, header and all.
    let outer = Raw::stored("OUTER.BIN", &inner.local());
    let place = u32::try_from(30 + outer.name.len()).unwrap();
    let archive = raw(&[outer, Raw { place: Some(place), ..inner }]);
    let found = made::findings(&archive);
    assert!(found.contains(&Finding::FilesOverlap), "{found:?}");
    assert_eq!(unpacked(&archive), 0);
    // The very same file again, under its own name and under another.
    let file = Raw::deflated("A.XML", b"<a/>");
    let again = Raw { place: Some(0), ..file.clone() };
    let found = made::findings(&raw(&[file.clone(), again.clone()]));
    assert!(found.contains(&Finding::FilesOverlap), "{found:?}");
    let other = Raw { name: b"B.XML".to_vec(), ..again };
    let found = made::findings(&raw(&[file, other]));
    assert!(found.contains(&Finding::ArchiveDamaged), "{found:?}");
}

#[test]
fn an_archive_inside_an_archive_is_not_opened() {
    let mut nested = made::vector("xdm/IHE_XDM.ZIP");
    for depth in 0..20 {
        nested = raw(&[Raw::stored(&format!("{depth}.zip"), &nested)]);
    }
    assert_eq!(made::findings(&nested), [Finding::MetadataMissing]);
    assert_eq!(unpacked(&nested), 0, "what nobody names is not unpacked");
}

#[test]
fn octets_that_belong_to_no_file_are_found() {
    let sample = made::vector("xdm/IHE_XDM.ZIP");
    let behind = [sample.as_slice(), b"MZ and more"].concat();
    assert_eq!(made::findings(&behind), [Finding::HiddenOctets]);
    let twice = [sample.as_slice(), &sample].concat();
    assert!(!made::findings(&twice).is_empty());
    let before = [b"#!/bin/sh\n".as_slice(), &sample].concat();
    assert!(made::findings(&before).contains(&Finding::ArchiveDamaged));
}

#[test]
fn lies_about_a_file_are_found() {
    let file = Raw::deflated("A.XML", b"<a/>");
    let wrong_crc = Raw { crc: 1, ..file.clone() };
    let wrong_size = Raw { size: 5, ..file.clone() };
    let mut longer = file.clone();
    longer.packed.extend_from_slice(b"hidden behind the end");
    let unknown = Raw { method: 99, ..file.clone() };
    let encrypted = Raw { flags: 1, ..file };
    let listed = |raw_file: &Raw| {
        let mut files: Vec<Raw> = made::files(&made::vector("xdm/IHE_XDM.ZIP"))
            .iter()
            .filter(|(name, _)| name != made::DOCUMENT)
            .map(|(name, octets)| Raw::deflated(name, octets))
            .collect();
        files.push(Raw { name: made::DOCUMENT.as_bytes().to_vec(), ..raw_file.clone() });
        made::findings(&raw(&files))
    };
    for file in [&wrong_crc, &wrong_size, &longer] {
        assert!(listed(file).contains(&Finding::ArchiveDamaged));
    }
    for file in [&unknown, &encrypted] {
        assert!(listed(file).contains(&Finding::NotReadable));
    }
}

#[test]
fn an_archive_of_too_many_files_is_not_read() {
    let files: Vec<Raw> = (0..1_001).map(|n| Raw::stored(&format!("{n}"), b"")).collect();
    assert!(made::findings(&raw(&files)).contains(&Finding::TooLarge));
}

/// Runs a program in a folder; a missing one is a failure that names it.
fn in_folder(folder: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program} (make deps installs it): {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A folder with the sample's files in it.
fn unpacked_sample() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, octets) in made::files(&made::vector("xdm/IHE_XDM.ZIP")) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, octets).unwrap();
    }
    folder
}

#[test]
fn archives_of_the_zip_program_are_read_streamed_linked_and_encrypted_ones_too() {
    let folder = unpacked_sample();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    in_folder(folder.path(), "zip", &["-qr", "plain.zip", "README.TXT", "INDEX.HTM", "IHE_XDM"]);
    assert_eq!(made::findings(&read("plain.zip")), []);
    in_folder(folder.path(), "sh", &["-c", "zip -qr - README.TXT IHE_XDM | cat > streamed.zip"]);
    assert_eq!(made::findings(&read("streamed.zip")), []);
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("IHE_XDM/LINK.XML")).unwrap();
    in_folder(folder.path(), "zip", &["-qry", "linked.zip", "README.TXT", "IHE_XDM"]);
    assert_eq!(made::findings(&read("linked.zip")), [Finding::PathEscape]);
    std::fs::remove_file(folder.path().join("IHE_XDM/LINK.XML")).unwrap();
    in_folder(folder.path(), "zip", &["-qr", "-P", "secret", "locked.zip", "IHE_XDM"]);
    assert!(made::findings(&read("locked.zip")).contains(&Finding::NotReadable));
}

#[test]
fn archives_of_python_are_read_and_its_tricks_are_found() {
    let folder = unpacked_sample();
    let script = r#"
import sys, zipfile, warnings
warnings.simplefilter("ignore")
def make(name, more, method=zipfile.ZIP_DEFLATED, large=False):
    with zipfile.ZipFile(name, "w", method) as z:
        for f in ["README.TXT", "IHE_XDM/SUBSET01/METADATA.XML", "IHE_XDM/SUBSET01/DOC0001.XML"]:
            info = zipfile.ZipInfo(f)
            info.compress_type = method
            with z.open(info, "w", force_zip64=large) as out:
                out.write(open(f, "rb").read())
        for f, text in more:
            z.writestr(f, text)
make("plain.zip", [])
make("stored.zip", [], zipfile.ZIP_STORED)
make("large.zip", [], large=True)
make("accents.zip", [("IHE_XDM/Compte rendu médical.pdf", "x")])
make("escape.zip", [("../../../tmp/evil", "x")])
make("twice.zip", [("IHE_XDM/SUBSET01/DOC0001.XML", "<other/>")])
make("bzip2.zip", [], zipfile.ZIP_BZIP2)
"#;
    in_folder(folder.path(), "python3", &["-c", script]);
    for (name, expected) in [
        ("plain.zip", vec![]),
        ("stored.zip", vec![]),
        ("large.zip", vec![]),
        ("accents.zip", vec![]),
        ("escape.zip", vec![Finding::PathEscape]),
        ("twice.zip", vec![Finding::NameTwice]),
        ("bzip2.zip", vec![Finding::NotReadable, Finding::MetadataMissing]),
    ] {
        let archive = std::fs::read(folder.path().join(name)).unwrap();
        assert_eq!(made::findings(&archive), expected, "{name}");
    }
}

#[test]
fn an_archive_cut_or_bent_anywhere_is_a_finding_and_never_a_panic() {
    let sample = made::vector("xdm/IHE_XDM.ZIP");
    for end in (0..sample.len()).step_by(13).chain(sample.len() - 100..sample.len()) {
        assert!(!made::findings(&sample[..end]).is_empty(), "cut at {end}");
    }
    // Every octet of the directory, and every seventh of the files.
    let directory = sample.len() - 400;
    for at in (0..directory).step_by(7).chain(directory..sample.len()) {
        for bits in [1, 0x80] {
            let mut bent = sample.clone();
            bent[at] ^= bits;
            made::findings(&bent);
        }
    }
}

/// How the library for archives sees a file; ours may see less, never something else.
#[test]
fn what_is_read_is_what_other_readers_read() {
    let archive = sample_and(&[Raw::deflated("IHE_XDM/MORE.TXT", &vec![b'x'; 100_000])]);
    let theirs: u64 = made::files(&archive).iter().map(|(_, octets)| octets.len() as u64).sum();
    assert!(unpacked(&archive) <= theirs);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, octets) in made::files(&archive) {
        writer.start_file(name, SimpleFileOptions::default().large_file(true)).unwrap();
        writer.write_all(&octets).unwrap();
    }
    assert_eq!(made::findings(&writer.finish().unwrap().into_inner()), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_octets_break_the_reader(octets in proptest::collection::vec(any::<u8>(), 0..3_000)) {
        made::findings(&octets);
        let bombed = [octets.as_slice(), &made::vector("xdm/IHE_XDM.ZIP")].concat();
        made::findings(&bombed);
    }

    #[test]
    fn no_change_of_a_few_octets_breaks_the_reader(
        changes in proptest::collection::vec((0_usize..5_497, any::<u8>()), 1..12),
    ) {
        let mut archive = made::vector("xdm/IHE_XDM_2_documents.ZIP");
        for (at, octet) in changes {
            let at = at % archive.len();
            archive[at] = octet;
        }
        prop_assert!(unpacked(&archive) <= limits::ARCHIVE_OCTETS_MAX);
    }

    #[test]
    fn no_letter_breaks_recognition(text in "(X-MSS-(INS|CODECDA): .{0,40}\r\n|Subject: (XDM/1.0/DDM)?.{0,40}\r\n|Content-Type: (application/zip|multipart/mixed; boundary=b); name=ihe_xdm.zip\r\n|Content-Transfer-Encoding: (base64|quoted-printable|8bit)\r\n|\r\n|--b\r\n|[A-Za-z0-9+/=]{0,60}){0,20}") {
        let letter = text.as_bytes();
        let mss = vaguemestre::proto::mime::header::view(letter).mss;
        if let Some(marked) = xdm::recognise(&summary::summarise(letter), &mss) {
            for part in &marked.archives {
                let octets = xdm::octets(letter, part);
                prop_assert!(octets.len() <= letter.len());
                made::findings(&octets);
            }
        }
    }
}
