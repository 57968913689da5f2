//! What the copy of the national directory costs: an import of the real size, look-ups, searches.
//!
//! Makes an extraction like the real one of August 2026 (535,928 rows, 5,018 domains, 85 % people),
//! of invented people and structures, always the same, and imports it. Then looks addresses up and
//! asks what people ask: the beginning of a name, with a profession, a speciality, a place, a
//! structure; also what fits very many. Memory is the peak of this process until the import is done.
//! `cargo bench --bench directory`, `-- quick` for a tenth of it. `-- people` makes and imports
//! PS_LibreAcces instead: the activities of everybody who exercises, 2,200,000 rows of 56 columns.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "its table is its result")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::fs;
use std::fs::File;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use vaguemestre::domain::address::Address;
use vaguemestre::infra::replica::Query;
use vaguemestre::infra::replica::Ranking;
use vaguemestre::infra::replica::Replica;

const ROWS: usize = 535_928;
/// Activities of PS_LibreAcces, and the people who have them: some exercise in several places.
const ACTIVITIES: usize = 2_200_000;
const PEOPLE: usize = 1_500_000;
const PEOPLE_SAMPLE: &str =
    include_str!("../vectors/annuaire/PS_LibreAcces_Personne_activite_202611210733.txt");
const DOMAINS: usize = 5_018;
const STRUCTURES: usize = 90_000;
const TOWNS: usize = 6_000;
const LOOK_UPS: usize = 100_000;
const SEARCHES: usize = 20_000;
const HEADER: &str = "Type de BAL|Adresse BAL|Type Identifiant PP|Identifiant PP|Identification nationale PP|Type identifiant structure|Identification Structure|Service de rattachement|Civilité d'exercice|Nom d'exercice|Prénom d'exercice|Catégorie profession|Libellé de catégorie profession|Code Profession|Libellé Profession|Code savoir-faire|Libellé savoir-faire|Dématérialisation|Raison Sociale structure BAL|Enseigne commerciale structure BAL|L2COMPLEMENTLOCALISATION structure BAL|L3COMPLEMENTDISTRIBUTION structure BAL|L4NUMEROVOIE structure BAL|L4COMPLEMENTNUMEROVOIE structure BAL|NL4TYPEVOIE structure BAL|L4LIBELLEVOIE structure BAL|L5LIEUDITMENTION structure BAL|L6LIGNEACHEMINEMENT structure BAL|Code postal structure BAL|Département structure BAL|Pays structure BAL";

const PROFESSIONS: [(&str, &str, u64); 8] = [
    ("10", "Médecin", 40),
    ("60", "Infirmier", 25),
    ("70", "Masseur-Kinésithérapeute", 12),
    ("21", "Pharmacien", 9),
    ("40", "Chirurgien-Dentiste", 6),
    ("50", "Sage-Femme", 4),
    ("91", "Orthophoniste", 3),
    ("93", "Psychologue", 1),
];
const SPECIALITIES: [(&str, &str); 12] = [
    ("SM26", "Qualifié en Médecine Générale"),
    ("SM54", "Médecine générale"),
    ("SM44", "Radio-diagnostic"),
    ("SM04", "Cardiologie et maladies vasculaires"),
    ("SM15", "Dermatologie et vénéréologie"),
    ("SM02", "Anesthésie-réanimation"),
    ("SM40", "Pédiatrie"),
    ("SM42", "Psychiatrie"),
    ("SM20", "Gynécologie-obstétrique"),
    ("SM38", "Ophtalmologie"),
    ("SM24", "Gastro-entérologie et hépatologie"),
    ("SM41", "Pneumologie"),
];
const SYLLABLES: [&str; 40] = [
    "BA", "BER", "BOU", "CA", "CHA", "CLE", "DU", "DE", "FA", "FON", "GA", "GRE", "HU", "JA", "LA",
    "LE", "LU", "MA", "MAR", "MI", "MON", "NA", "NO", "PA", "PE", "RA", "RE", "RO", "SA", "SIM",
    "TA", "TI", "TRE", "VA", "VI", "ZE", "É", "RIN", "LON", "TOU",
];
const GIVEN: [&str; 24] = [
    "Éloïse",
    "Hugo",
    "Léa",
    "Marie",
    "Jean",
    "Pierre",
    "Anne",
    "Camille",
    "Chloé",
    "Zoé",
    "Paul",
    "Luc",
    "François",
    "Françoise",
    "Hélène",
    "Noémie",
    "Karim",
    "Inès",
    "Mehdi",
    "Sofia",
    "Yann",
    "Aurélie",
    "Benoît",
    "Céline",
];
const SERVICES: [&str; 10] = [
    "Urgences",
    "Secrétariat de cardiologie",
    "Radiologie",
    "Laboratoire",
    "Pharmacie",
    "Accueil",
    "Consultations externes",
    "Pédiatrie",
    "Maternité",
    "Médecine polyvalente",
];

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

fn name(random: &mut Random) -> String {
    let syllables = 2 + random.below(3);
    (0..syllables).map(|_| random.of(&SYLLABLES)).collect()
}

fn plain(text: &str) -> String {
    let letters = text.to_lowercase();
    letters
        .chars()
        .map(|letter| match letter {
            'é' | 'è' | 'ê' | 'ë' => 'e',
            'ï' | 'î' => 'i',
            'ç' => 'c',
            'ô' => 'o',
            other => other,
        })
        .collect()
}

/// The six last groups of fields of a structure, and its identifier.
fn structure(number: usize, towns: &[(String, String, String)]) -> [String; 3] {
    let mut random = Random(number as u64 ^ 0x5151);
    let (postal_code, town, department) = &towns[random.below(towns.len())];
    let kind = random.of(&["CH DE", "CLINIQUE", "CABINET", "LABORATOIRE", "PHARMACIE", "SELARL"]);
    let title = format!("{kind} {}", name(&mut random));
    let trading = if random.below(2) == 0 { title.clone() } else { String::new() };
    let street = format!("{}||RUE|{}", 1 + random.below(200), name(&mut random));
    let place = format!("||{street}||{postal_code} {town}|{postal_code}|{department}|France");
    [format!("{:09}", 990_000_000 + number), title, format!("{trading}|{place}")]
}

fn write_extraction(file: &Path, rows: usize) -> Vec<String> {
    let mut random = Random(20_260_825);
    let towns = towns(&mut random);
    let mut addresses = Vec::new();
    let mut out = BufWriter::new(File::create(file).unwrap());
    writeln!(out, "{HEADER}").unwrap();
    for row in 0..rows {
        // A few domains have most people, as in the real one.
        let skew = random.below(DOMAINS) * random.below(DOMAINS) / DOMAINS;
        let domain = format!("d{skew}.exemple.mssante.fr");
        let [id, title, place] = structure(random.below(STRUCTURES), &towns);
        let paper_free = if random.below(10) < 8 { "O" } else { "N" };
        let line = if random.below(100) < 85 {
            let (family, given) = (name(&mut random), random.of(&GIVEN));
            let address = format!("{}.{}{}@{domain}", plain(given), plain(&family), row % 97);
            addresses.push(address.clone());
            let rpps = 10_000_000_000 + random.below(rows * 7 / 10);
            let mut pick = random.next() % 100;
            let (code, label, _) = PROFESSIONS
                .into_iter()
                .find(|(_, _, share)| {
                    let is_it = pick < *share;
                    pick = pick.saturating_sub(*share);
                    is_it
                })
                .unwrap_or(PROFESSIONS[0]);
            let (skill, skill_label) =
                if code == "10" { random.of(&SPECIALITIES) } else { ("", "") };
            let civil = if code == "10" { "Docteur" } else { "Madame" };
            let tied = random.below(2) == 0;
            let service = if random.below(4) == 0 { random.of(&SERVICES) } else { "" };
            let where_ = if tied { format!("1|{id}|{service}") } else { "||".to_owned() };
            let at = if tied { format!("{title}|{place}") } else { "|".repeat(12) };
            format!(
                "PER|{address}|8|{rpps}|8{rpps}|{where_}|{civil}|{family}|{given}|C|Civil|{code}|{label}|{skill}|{skill_label}|{paper_free}|{at}"
            )
        } else {
            let service = random.of(&SERVICES);
            let address = format!("{}.{row}@{domain}", plain(service).replace(' ', "-"));
            addresses.push(address.clone());
            format!("ORG|{address}||||1|{id}|{service}||||||||||{paper_free}|{title}|{place}")
        };
        debug_assert_eq!(line.matches('|').count(), 30, "{line}");
        writeln!(out, "{line}").unwrap();
    }
    out.flush().unwrap();
    addresses
}

fn towns(random: &mut Random) -> Vec<(String, String, String)> {
    let town = |_| {
        let department = format!("{:02}", 1 + random.below(95));
        let postal_code = format!("{department}{:03}", random.below(99) * 10);
        (postal_code, name(random), department)
    };
    (0..TOWNS).map(town).collect()
}

/// The archive's text of the activities, its columns as the sample names them.
fn write_people(file: &Path, rows: usize, people: usize) {
    let mut random = Random(20_261_121);
    let towns = towns(&mut random);
    let header = PEOPLE_SAMPLE.lines().next().unwrap().trim_end_matches('\r');
    let columns = header.trim_end_matches('|').split('|').count();
    let mut out = BufWriter::new(File::create(file).unwrap());
    writeln!(out, "{header}").unwrap();
    for row in 0..rows {
        // Each person once, then some of them again, where they exercise besides.
        let person = if row < people { row } else { random.below(people) };
        let mut own = Random(person as u64 ^ 0x0008_1000);
        let (family, given) = (name(&mut own), own.of(&GIVEN));
        let rpps = 10_000_000_000_u64 + person as u64 * 7;
        let (code, label, _) = own.of(&PROFESSIONS);
        let (skill, skill_label) = if code == "10" { own.of(&SPECIALITIES) } else { ("", "") };
        let (kind, kind_label) =
            if skill.is_empty() { ("", "") } else { ("S", "Spécialité ordinale") };
        let number = random.below(STRUCTURES);
        let [finess, title, _] = structure(number, &towns);
        let (postal_code, town, department) = &towns[number % towns.len()];
        let (house, street) = (1 + random.below(200), name(&mut random));
        let line = format!(
            "8|{rpps}|8{rpps}|DR|Docteur|MME|Madame|{family}|{given}|{code}|{label}|C|Civil|\
             {kind}|{kind_label}|{skill}|{skill_label}|S|Salarié|{finess}00012|{finess}|{finess}|\
             {finess}|F{finess}|{title}||||{house}||R|Rue|{street}||{postal_code} {town}|\
             {postal_code}|{postal_code}|{town}|||0199000100||0199000199|\
             contact@{finess}.exemple.fr|{department}|Département {department}||ARS/ARS/ARS|SA01|\
             Etablissement public de santé|||||GENR01|Activité standard de soin ou de pharmacien"
        );
        debug_assert_eq!(line.matches('|').count() + 1, columns, "{line}");
        writeln!(out, "{line}{}", if header.ends_with('|') { "|" } else { "" }).unwrap();
    }
    out.flush().unwrap();
}

fn import_people(is_quick: bool) {
    let share = if is_quick { 10 } else { 1 };
    let (rows, people) = (ACTIVITIES / share, PEOPLE / share);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("PS_LibreAcces_Personne_activite_202611210733.txt");
    write_people(&file, rows, people);
    let octets = fs::metadata(&file).unwrap().len();
    println!("| what | figure |\n|---|---|");
    println!("| activities, people, MB of text | {rows}, {people}, {} |", octets / 1_000_000);
    println!("| memory before | {} MiB |", memory("VmRSS"));
    let replica = Replica::open(folder.path()).unwrap();
    let begin = Instant::now();
    let imported = replica.import_people(&file, 0, &mut |_| {}).unwrap();
    println!("| import | {:.2} s |", begin.elapsed().as_secs_f64());
    println!("| memory at peak | {} MiB |", memory("VmHWM"));
    println!("| distinct people, bad rows | {}, {} |", imported.addresses, imported.bad_rows);
    assert_eq!((imported.addresses, imported.bad_rows), (people, 0));
    let mut random = Random(7);
    let mut times = Vec::with_capacity(LOOK_UPS);
    for _ in 0..LOOK_UPS {
        let identity = format!("8{}", 10_000_000_000_u64 + random.below(people) as u64 * 7);
        let begin = Instant::now();
        let found = replica.professional(&identity).unwrap();
        times.push(begin.elapsed());
        assert!(found.is_some_and(|person| person.active), "{identity}");
    }
    let (half, most) = (percentile(&mut times, 50), percentile(&mut times, 99));
    println!("| look-up of a person, p50 and p99 | {half:.1?}, {most:.1?} |");
}

fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

/// The beginning of a word, as somebody types it.
fn typed(random: &mut Random, word: &str, letters: usize) -> String {
    word.chars().take(letters + random.below(4)).collect()
}

fn questions(random: &mut Random) -> Query {
    let family = name(random);
    let mut query = Query { name: typed(random, &family, 3), ..Query::default() };
    match random.below(8) {
        0 => {}
        1 => query.profession = random.of(&PROFESSIONS).0.to_owned(),
        2 => {
            let label = random.of(&SPECIALITIES).1;
            query.speciality = typed(random, label, 4);
        }
        3 => query.place = format!("{:02}", 1 + random.below(95)),
        4 => {
            query = Query {
                structure: format!("{:09}", 990_000_000 + random.below(STRUCTURES)),
                ..Query::default()
            };
        }
        5 => {
            query = Query::of_words(&format!("{} {}", random.of(&GIVEN), typed(random, &family, 2)))
        }
        6 => {
            // All general practitioners of a department: very many.
            query = Query {
                profession: "médecin".to_owned(),
                place: format!("{:02}", 1 + random.below(95)),
                ..Query::default()
            };
        }
        _ => query = Query::of_words(&typed(random, &family, 1)),
    }
    query
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "quick");
    if std::env::args().any(|argument| argument == "people") {
        return import_people(quick);
    }
    let rows = if quick { ROWS / 10 } else { ROWS };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Extraction_Correspondance_MSSante_202608250730.txt");
    // Only some addresses are kept, so that the figure of memory is the import's.
    let addresses: Vec<String> = write_extraction(&file, rows).into_iter().step_by(53).collect();
    let octets = fs::metadata(&file).unwrap().len();
    println!("| what | figure |\n|---|---|");
    println!("| rows, MB of text | {rows}, {} |", octets / 1_000_000);
    println!("| memory before | {} MiB |", memory("VmRSS"));

    let replica = Replica::open(folder.path()).unwrap();
    let begin = Instant::now();
    let imported = replica.import(&file, &mut |_| {}).unwrap();
    println!("| import | {:.2} s |", begin.elapsed().as_secs_f64());
    println!("| memory at peak | {} MiB |", memory("VmHWM"));
    println!("| distinct addresses, bad rows | {}, {} |", imported.addresses, imported.bad_rows);
    assert_eq!(imported.bad_rows, 0);
    let begin = Instant::now();
    drop(replica);
    let replica = Replica::open(folder.path()).unwrap();
    println!("| opened again | {:.2} s |", begin.elapsed().as_secs_f64());

    let mut random = Random(7);
    let mut times = Vec::with_capacity(LOOK_UPS);
    for _ in 0..LOOK_UPS {
        let address = Address::parse(&addresses[random.below(addresses.len())]).unwrap();
        let begin = Instant::now();
        let found = replica.find(&address).unwrap();
        times.push(begin.elapsed());
        assert!(found.is_some());
    }
    let (half, most) = (percentile(&mut times, 50), percentile(&mut times, 99));
    println!("| look-up, p50 and p99 | {half:.1?}, {most:.1?} |");

    let departments = ["75".to_owned(), "92".to_owned()];
    let ranking = Ranking { departments: &departments, ..Ranking::default() };
    let mut times = Vec::with_capacity(SEARCHES);
    let mut found = 0;
    let mut slowest = (Duration::ZERO, Query::default());
    for _ in 0..SEARCHES {
        let query = questions(&mut random);
        let begin = Instant::now();
        found += replica.search(&query, &ranking, 20).unwrap().len();
        let time = begin.elapsed();
        if time > slowest.0 {
            slowest = (time, query);
        }
        times.push(time);
    }
    let (half, most) = (percentile(&mut times, 50), percentile(&mut times, 99));
    println!("| search, p50 and p99 | {half:.1?}, {most:.1?} |");
    println!("| slowest | {:.1?}: {:?} |", slowest.0, slowest.1);
    println!("| found by a search on average | {} |", found / SEARCHES);
}
