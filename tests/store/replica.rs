//! The directory replica: imported, searched, damaged, rebuilt.
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use tempfile::TempDir;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::infra::replica::Imported;
use vaguemestre::infra::replica::Kind;
use vaguemestre::infra::replica::Query;
use vaguemestre::infra::replica::Ranking;
use vaguemestre::infra::replica::Replica;
use vaguemestre::infra::replica::ReplicaError;
use zip::write::SimpleFileOptions;

const SAMPLE: &str = "tests/vectors/annuaire/Extraction_Correspondance_MSSante_202611210730";

fn sample(extension: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{SAMPLE}.{extension}"))
}

fn sample_text() -> String {
    fs::read_to_string(sample("txt")).unwrap()
}

fn header() -> String {
    sample_text().lines().next().unwrap().to_owned()
}

fn line(number: usize) -> String {
    let mut fields = vec![String::new(); 31];
    fields[0] = "PER".to_owned();
    fields[1] = format!("prenom.nom{number}@domaine{}.mssante.fr", number % 5_000);
    (fields[2], fields[3]) = ("8".to_owned(), format!("{:011}", 10_000_000_000 + number));
    (fields[9], fields[10]) = (format!("NOM{number}"), format!("PRÉNOM{}", number % 3_000));
    (fields[14], fields[17]) = ("Médecin".to_owned(), "O".to_owned());
    (fields[27], fields[28]) = ("75990 VALFICTIF".to_owned(), "75990".to_owned());
    fields.join("|")
}

fn file(directory: &TempDir, text: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join("Extraction.txt");
    fs::write(&path, text).unwrap();
    path
}

type Entries<'a> = &'a [(&'a str, &'a [u8])];

fn archive(directory: &TempDir, entries: Entries<'_>) -> PathBuf {
    let path = directory.path().join("Extraction.zip");
    let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    for (name, content) in entries {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap();
    path
}

fn addresses(replica: &Replica, query: &str) -> Vec<String> {
    let found = replica.search(&Query::of_words(query), &Ranking::default(), 20).unwrap();
    found.into_iter().map(|mailbox| mailbox.address).collect()
}

fn refusal(outcome: Result<Imported, ReplicaError>) -> String {
    match outcome {
        Err(ReplicaError::Source { file, reason }) => {
            assert!(file.starts_with("Extraction"), "{file}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_sample_has_nine_rows_of_eight_mailboxes_plain_and_zipped() {
    for extension in ["txt", "zip"] {
        let directory = tempfile::tempdir().unwrap();
        let replica = Replica::open(directory.path()).unwrap();
        assert_eq!(replica.imported().unwrap(), None);
        assert_eq!(replica.search(&Query::of_words("lumier"), &Ranking::default(), 9).unwrap(), []);
        let mut heard = Vec::new();
        let imported = replica.import(&sample(extension), &mut |rows| heard.push(rows)).unwrap();
        let source = sample(extension).file_name().unwrap().to_str().unwrap().to_owned();
        let expected = Imported { rows: 9, addresses: 8, bad_rows: 0, source, at: imported.at };
        assert_eq!(imported, expected);
        assert_eq!(heard, [9]);
        drop(replica);
        let replica = Replica::open(directory.path()).unwrap();
        assert_eq!(replica.imported().unwrap(), Some(expected));
    }
}

#[test]
fn an_address_is_found_in_any_case_and_a_missing_one_is_just_missing() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    replica.import(&sample("txt"), &mut |_| {}).unwrap();
    let address = Address::parse("Eloise.LUMIER@CH-Valfictif.exemple.mssante.fr").unwrap();
    let mailbox = replica.find(&address).unwrap().unwrap();
    assert_eq!(mailbox.address, "eloise.lumier@ch-valfictif.exemple.mssante.fr");
    assert_eq!((mailbox.kind.as_str(), mailbox.rpps.as_str()), ("PER", "99900001019"));
    assert_eq!((mailbox.name.as_str(), mailbox.given_name.as_str()), ("LUMIER", "Eloïse"));
    assert_eq!((mailbox.town.as_str(), mailbox.postal_code.as_str()), ("VALFICTIF", "75990"));
    assert!(mailbox.paper_free);
    let address = Address::parse("labo@labo-fictif.exemple.mssante.fr").unwrap();
    let mailbox = replica.find(&address).unwrap().unwrap();
    assert_eq!((mailbox.kind.as_str(), mailbox.name.as_str()), ("ORG", "LABORATOIRE FICTIF"));
    assert_eq!((mailbox.given_name.as_str(), mailbox.structure.as_str()), ("", "990000200"));
    let address = Address::parse("liste.rouge@labo-fictif.exemple.mssante.fr").unwrap();
    assert_eq!(replica.find(&address).unwrap(), None);
}

#[test]
fn people_search_by_the_beginnings_of_words_without_accents_or_case() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    replica.import(&sample("txt"), &mut |_| {}).unwrap();
    for (query, expected) in [
        ("lumier", &["eloise.lumier@ch-v", "eloise.lumier@medecin", "cabinet.lumier@"][..]),
        ("ÉLOISE lum valf", &["eloise.lumier@ch-v"]),
        ("oreade", &["hugo.oreade@"]),
        ("Oréade hugo", &["hugo.oreade@"]),
        ("d'arc", &["l.tisson@"]),
        ("arc tisson lea", &["l.tisson@"]),
        ("chene", &["pharmacie.duchene@"]),
        ("75990 pharm", &["pharmacie.duchene@"]),
        ("labo@labo-fictif", &["labo@"]),
        // The second line of the same address.
        ("accueil", &["labo@"]),
        ("99900002025", &["hugo.oreade@"]),
        ("radio", &["hugo.oreade@"]),
        ("lumiere", &[]),
        ("lumier personne", &[]),
        ("", &[]),
        (" -'% ", &[]),
    ] {
        let found = addresses(&replica, query);
        assert_eq!(found.len(), expected.len(), "{query}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{query}: {found}");
        }
    }
    assert_eq!(
        replica.search(&Query::of_words("mssante"), &Ranking::default(), 3).unwrap().len(),
        3
    );
    assert_eq!(
        replica.search(&Query::of_words("mssante"), &Ranking::default(), 0).unwrap().len(),
        0
    );
    assert_eq!(
        replica.search(&Query::of_words("mssante"), &Ranking::default(), 99).unwrap().len(),
        8
    );
}

#[test]
fn a_new_import_replaces_the_old_one_whole() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    replica.import(&sample("txt"), &mut |_| {}).unwrap();
    let lines: Vec<_> = (0..6).map(line).collect();
    let text = format!("{}\r\n{}\r\n", header(), lines.join("\r\n"));
    let imported = replica.import(&file(&directory, text), &mut |_| {}).unwrap();
    assert_eq!((imported.rows, imported.addresses, imported.bad_rows), (6, 6, 0));
    assert_eq!(addresses(&replica, "lumier"), Vec::<String>::new());
    assert_eq!(addresses(&replica, "nom3"), ["prenom.nom3@domaine3.mssante.fr"]);
    let generations = fs::read_dir(directory.path().join("replica")).unwrap();
    let names = generations.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("generation")).count(), 1);
}

#[test]
fn a_file_that_is_no_extraction_or_shrank_is_refused_and_the_old_copy_stays() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    replica.import(&sample("txt"), &mut |_| {}).unwrap();
    let three = (0..3).map(line).collect::<Vec<_>>().join("\n");
    for (text, expected) in [
        (String::new(), "empty"),
        ("<html>503 Service Unavailable</html>\n".to_owned(), "not a mailbox extraction"),
        (header(), "no mailbox"),
        (format!("{}\nrubbish\nmore\n", header()), "no mailbox"),
        (format!("{}\n{three}", header()), "only 3 mailboxes where the last import had 8"),
    ] {
        let reason = refusal(replica.import(&file(&directory, text), &mut |_| {}));
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(replica.imported().unwrap().unwrap().addresses, 8);
        assert_eq!(addresses(&replica, "oreade").len(), 1);
    }
    refusal(replica.import(&directory.path().join("Extraction-missing"), &mut |_| {}));
    let folder = directory.path().join("Extraction");
    fs::create_dir(&folder).unwrap();
    assert_eq!(refusal(replica.import(&folder, &mut |_| {})), "not a file");
    // Who knows better says so.
    let path = file(&directory, format!("{}\n{three}", header()));
    assert_eq!(replica.import_at_least(&path, 20, &mut |_| {}).unwrap().addresses, 3);
}

#[test]
fn bad_lines_are_counted_and_the_good_ones_kept() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    let mut text = format!("\u{feff}{}\n", header()).into_bytes();
    let bad: [&[u8]; 7] = [
        b"",
        b"PER|too few",
        &[b'|'; 30],
        &line(1).replace("prenom.nom1@", "no address").into_bytes(),
        &line(2).replace("PER", "APP").into_bytes(),
        &[b'x'; 1_000_000],
        b"\xff\xfe",
    ];
    for bad in bad {
        text.extend([line(7).as_bytes(), b"\n", bad, b"\n"].concat());
    }
    let imported = replica.import(&file(&directory, text), &mut |_| {}).unwrap();
    assert_eq!((imported.rows, imported.addresses, imported.bad_rows), (14, 1, 7));
}

#[test]
fn an_archive_that_is_a_trap_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    let good = format!("{}\n{}\n", header(), line(1));
    let mut bomb = good.clone().into_bytes();
    bomb.resize(50_000_000, b' ');
    let many: Vec<_> = (0..17).map(|number| format!("{number}.md")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let traps: [(Entries<'_>, &str); 5] = [
        (&[("bomb.txt", &bomb)], "larger than any real"),
        (&[("a.txt", good.as_bytes()), ("b.txt", b"")], "several .txt"),
        (&[("a.exe", good.as_bytes())], "without a .txt"),
        (&[], "bad archive"),
        (&many, "17 files"),
    ];
    for (entries, expected) in traps {
        let path = archive(&directory, entries);
        let outcome = replica.import(&path, &mut |_| {});
        // An archive without entries does not begin like one; it is read as a text, and is none.
        let reason = refusal(outcome);
        let empty = entries.is_empty() && reason.contains("header has no column");
        assert!(empty || reason.contains(expected), "{reason}");
    }
    // Cut in the middle.
    let path = archive(&directory, &[("a.txt", good.as_bytes())]);
    let whole = fs::read(&path).unwrap();
    for length in [4, 30, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        refusal(replica.import(&path, &mut |_| {}));
    }
    // One octet of the content flipped: the archive's own checksum tells.
    let mut flipped = whole.clone();
    flipped[100] ^= 0x20;
    fs::write(&path, flipped).unwrap();
    refusal(replica.import(&path, &mut |_| {}));
    // A name of a file below another directory opens nothing there.
    let path = archive(&directory, &[("../../x/Extraction.TXT", good.as_bytes())]);
    assert_eq!(replica.import(&path, &mut |_| {}).unwrap().addresses, 1);
}

#[test]
fn a_damaged_replica_is_moved_aside_and_can_be_imported_again() {
    for damage in 0..4 {
        let directory = tempfile::tempdir().unwrap();
        let replica = Replica::open(directory.path()).unwrap();
        replica.import(&sample("txt"), &mut |_| {}).unwrap();
        drop(replica);
        let root = directory.path().join("replica");
        let database = root.join("generation-1");
        match damage {
            0 => fs::write(database.join("db"), b"rubbish".repeat(100_000)).unwrap(),
            1 => fs::write(database.join("db"), b"").unwrap(),
            2 => fs::remove_dir_all(&database).unwrap(),
            _ => fs::write(root.join("current"), b"\xff../../etc").unwrap(),
        }
        let replica = Replica::open(directory.path()).unwrap();
        assert_eq!(replica.imported().unwrap(), None, "damage {damage}");
        assert_eq!(root.join("damaged").exists(), damage < 3, "damage {damage}");
        replica.import(&sample("zip"), &mut |_| {}).unwrap();
        assert_eq!(addresses(&replica, "oreade").len(), 1);
    }
}

#[test]
fn a_second_process_cannot_open_it_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = Replica::open(directory.path()).unwrap();
    let error = Replica::open(directory.path()).err().unwrap();
    assert!(error.to_string().contains("in use"), "{error}");
    drop(first);
    Replica::open(directory.path()).unwrap();
}

#[test]
fn what_an_import_left_half_done_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("replica");
    fs::create_dir_all(root.join("generation-7/blobs")).unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    assert!(!root.join("generation-7").exists());
    replica.import(&sample("txt"), &mut |_| {}).unwrap();
}

fn people() -> PathBuf {
    let name = "tests/vectors/annuaire/PS_LibreAcces_202611210733.zip";
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn a_file_cut_in_a_row_or_in_another_encoding_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    replica.import(&sample("txt"), &mut |_| {}).unwrap();
    let text = sample_text();
    let cut = &text[..text.trim_end().len() - 60];
    let reason = refusal(replica.import(&file(&directory, cut), &mut |_| {}));
    assert!(reason.contains("it is cut: row 9 has no end"), "{reason}");
    // Latin-1: an accent in the header already.
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
    let reason = refusal(replica.import(&file(&directory, latin), &mut |_| {}));
    assert!(reason.contains("not UTF-8"), "{reason}");
    let mut mixed = format!("{}\n{}\n", header(), line(1)).into_bytes();
    for _ in 0..3 {
        mixed.extend(b"PER|\xe9\n");
    }
    let reason = refusal(replica.import_at_least(&file(&directory, mixed), 0, &mut |_| {}));
    assert!(reason.contains("3 of 4 rows cannot be read"), "{reason}");
    assert_eq!(replica.imported().unwrap().unwrap().addresses, 8);
}

#[test]
fn each_part_of_a_query_is_looked_for_in_its_own_fields() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    replica.import(&sample("zip"), &mut |_| {}).unwrap();
    let none = Query::default;
    let text = str::to_owned;
    for (query, expected) in [
        (Query { name: text("lumi elo"), ..none() }, 2),
        (Query { name: text("lumi"), kind: Some(MailboxKind::Organisational), ..none() }, 1),
        (Query { profession: text("10"), ..none() }, 3),
        (Query { profession: text("1"), ..none() }, 0),
        (Query { profession: text("infirm"), ..none() }, 1),
        (Query { speciality: text("SM44"), ..none() }, 1),
        (Query { speciality: text("generale"), name: text("lum"), ..none() }, 2),
        (Query { place: text("75"), profession: text("médecin"), ..none() }, 1),
        (Query { place: text("valf"), ..none() }, 5),
        (Query { structure: text("990000101"), ..none() }, 2),
        (Query { structure: text("labo fictif"), ..none() }, 1),
        (Query { profession: text("valfictif"), ..none() }, 0),
        (Query::of_words("99900001019"), 2),
        (Query::of_words("899900001019"), 2),
        (none(), 0),
    ] {
        let found = replica.search(&query, &Ranking::default(), 20).unwrap();
        assert_eq!(found.len(), expected, "{query:?}: {found:?}");
    }
    assert_eq!(replica.by_rpps("99900001019", 9).unwrap().len(), 2);
    assert_eq!(replica.by_rpps("x", 9).unwrap().len(), 0);
    let mut there = replica.by_structure("990000101", 9).unwrap();
    there.sort_by(|one, other| one.address.cmp(&other.address));
    assert_eq!(there.len(), 2);
    assert_eq!(there[1].service, "Urgences");
    assert_eq!(
        (there[1].street.as_str(), there[1].department.as_str()),
        ("1 RUE DE L'HOPITAL", "75")
    );
    assert_eq!(replica.by_domain("labo-fictif.exemple.mssante.fr", 9).unwrap().len(), 2);
}

#[test]
fn letters_exchanged_then_paper_free_then_our_departments_come_first() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    let lines: Vec<String> = (0..1_000)
        .map(|number| {
            let mut fields: Vec<_> = line(number).split('|').map(str::to_owned).collect();
            fields[17] = if number % 2 == 0 { "O" } else { "N" }.to_owned();
            fields[28] = format!("{:02}000", number % 90);
            fields[29] = format!("{:02}", number % 90);
            fields[9] = "DUPONT".to_owned();
            fields.join("|")
        })
        .collect();
    let text = format!("{}\n{}\n", header(), lines.join("\n"));
    replica.import(&file(&directory, text), &mut |_| {}).unwrap();
    let far = "prenom.nom901@domaine901.mssante.fr";
    let known = HashMap::from([(far.to_owned(), 3)]);
    let departments = ["44".to_owned()];
    let hidden = "prenom.nom44@domaine44.mssante.fr";
    let ranking =
        Ranking { departments: &departments, known: &known, hidden: &|address| address == hidden };
    let query = Query { name: "dup".to_owned(), ..Query::default() };
    let found = replica.search(&query, &ranking, 20).unwrap();
    assert_eq!(found.len(), 20);
    assert_eq!(found[0].address, far);
    assert!(found[1..11].iter().all(|one| one.paper_free && one.department == "44"), "{found:?}");
    assert!(found[11..].iter().all(|one| one.paper_free));
}

#[test]
fn a_mailbox_that_is_hidden_never_appears_in_a_search() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    replica.import(&sample("txt"), &mut |_| {}).unwrap();
    let hidden = "hugo.oreade@medecin.exemple.mssante.fr";
    let ranking = Ranking { hidden: &|address| address == hidden, ..Ranking::default() };
    for words in ["oreade", "hugo", "99900002025", "radio", "h", "hugo.oreade@medecin"] {
        let found = replica.search(&Query::of_words(words), &ranking, 20).unwrap();
        assert!(found.iter().all(|one| one.address != hidden), "{words}");
    }
}

#[test]
fn professionals_are_known_with_their_activities() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    assert_eq!(replica.professional("899900001019").unwrap(), None);
    assert_eq!(Replica::kind_of(&people()).unwrap(), Kind::People);
    assert_eq!(Replica::kind_of(&sample("zip")).unwrap(), Kind::Mailboxes);
    let imported = replica.import_people(&people(), 90, &mut |_| {}).unwrap();
    assert_eq!((imported.addresses, imported.bad_rows), (3, 0));
    let known = replica.professional("899900001019").unwrap().unwrap();
    assert_eq!((known.name.as_str(), known.active), ("LUMIER", true));
    assert_eq!(known.professions, [("10".to_owned(), "Médecin".to_owned())]);
    assert_eq!(known.specialities, ["SM26"]);
    assert_eq!(known.structures, ["99900000100019", "990000101"]);
    assert_eq!(replica.professional("899900009999").unwrap(), None);
    // The extraction is no file of people, and diplomas alone would retire everybody.
    assert!(replica.import_people(&sample("zip"), 0, &mut |_| {}).is_err());
    let diplomas = "tests/vectors/annuaire/PS_LibreAcces_Dipl_AutExerc_202611210733.txt";
    let diplomas = Path::new(env!("CARGO_MANIFEST_DIR")).join(diplomas);
    let error = replica.import_people(&diplomas, 0, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("retired"), "{error}");
    assert_eq!(replica.people_imported().unwrap().unwrap().addresses, 3);
}

#[test]
fn a_copy_that_was_damaged_is_made_again_from_the_file_that_was_imported_last() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    replica.import(&sample("zip"), &mut |_| {}).unwrap();
    replica.import_people(&people(), 0, &mut |_| {}).unwrap();
    drop(replica);
    for name in ["generation-1", "people-1"] {
        fs::remove_dir_all(directory.path().join("replica").join(name)).unwrap();
    }
    let replica = Replica::open(directory.path()).unwrap();
    assert_eq!(replica.imported().unwrap(), None);
    assert!(replica.rebuild(&mut |_| {}).unwrap());
    let imported = replica.imported().unwrap().unwrap();
    assert_eq!(imported.addresses, 8);
    assert!(imported.made().is_some(), "{}", imported.source);
    assert!(replica.professional("899900003031").unwrap().is_some());
    assert!(!replica.rebuild(&mut |_| {}).unwrap());
}

/// The size of the real one. Slow in a debug build, so only on demand:
/// `cargo test --release -- --ignored an_import_of_the_real_size --nocapture`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods, reason = "measures")]
fn an_import_of_the_real_size() {
    let directory = tempfile::tempdir().unwrap();
    let mut text = header();
    for number in 0..535_928 {
        text.push('\n');
        text.push_str(&line(number));
    }
    let path = file(&directory, text);
    let replica = Replica::open(directory.path()).unwrap();
    let begin = std::time::Instant::now();
    let imported = replica.import(&path, &mut |_| {}).unwrap();
    println!("{imported:?} in {:?}", begin.elapsed());
    let memory = fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", memory.lines().find(|line| line.starts_with("VmHWM")).unwrap());
    for query in ["nom123456", "prenom12 valfictif", "v", "medecin 75990"] {
        let begin = std::time::Instant::now();
        let found = replica.search(&Query::of_words(query), &Ranking::default(), 20).unwrap().len();
        println!("{query:?}: {found} in {:?}", begin.elapsed());
    }
    let begin = std::time::Instant::now();
    drop(replica);
    let replica = Replica::open(directory.path()).unwrap();
    assert_eq!(replica.imported().unwrap().unwrap().addresses, 535_928);
    println!("opened again in {:?}", begin.elapsed());
}
