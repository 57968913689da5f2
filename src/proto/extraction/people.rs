//! The PS_LibreAcces files: every professional with their activities, skills and diplomas.
//!
//! The *Annuaire Santé* publishes them daily, three text files in one archive: `|`, UTF-8, one
//! more `|` at the end of each line, columns by their names. A person has a line for each activity
//! and each skill. Who has diplomas, but no activity any more, is a professional who has stopped.
use crate::proto::extraction::BadLine;
use crate::proto::extraction::Columns;
use crate::proto::extraction::RPPS;
use crate::proto::extraction::first_of;

/// Which of the three files, and where its columns stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeopleHeader {
    /// *PS_LibreAcces_Personne_activite*.
    Activities(ActivityHeader),
    /// *PS_LibreAcces_SavoirFaire*.
    Skills(SkillHeader),
    /// *PS_LibreAcces_Dipl_AutExerc*.
    Diplomas(DiplomaHeader),
}

/// A line about a person. What a file does not have is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersonRow<'a> {
    /// *Identification nationale PP*: `8` and the RPPS, `0` and the ADELI number.
    pub identity: &'a str,
    /// RPPS; empty for the older numbers.
    pub rpps: &'a str,
    /// *Nom d'exercice*.
    pub name: &'a str,
    /// *Prénom d'exercice*.
    pub given_name: &'a str,
    /// *Code profession* (TRE_G15).
    pub profession_code: &'a str,
    /// *Libellé profession*.
    pub profession: &'a str,
    /// *Code catégorie professionnelle*: `C` civil, `M` military, `E` student.
    pub category: &'a str,
    /// *Code savoir-faire* (TRE_R38).
    pub speciality_code: &'a str,
    /// The structure of the activity: FINESS of the site, or its SIRET.
    pub structure: &'a str,
    /// *Raison sociale site*, or the trading name.
    pub structure_name: &'a str,
    /// *Code Département*.
    pub department: &'a str,
    /// It says that the person exercises: a line of the activities.
    pub is_activity: bool,
}

const ACTIVITIES: [&str; 14] = [
    "Type d'identifiant PP",
    "Identifiant PP",
    "Identification nationale PP",
    "Nom d'exercice",
    "Prénom d'exercice",
    "Code profession",
    "Libellé profession",
    "Code catégorie professionnelle",
    "Code savoir-faire",
    "Numéro FINESS site",
    "Numéro SIRET site",
    "Raison sociale site",
    "Enseigne commerciale site",
    "Code Département (structure)",
];
const SKILLS: [&str; 9] = [
    "Type d'identifiant PP",
    "Identifiant PP",
    "Identification nationale PP",
    "Nom d'exercice",
    "Prénom d'exercice",
    "Code profession",
    "Libellé profession",
    "Code catégorie professionnelle",
    "Code savoir-faire",
];
const DIPLOMAS: [&str; 6] = [
    "Type d'identifiant PP",
    "Identifiant PP",
    "Identification nationale PP",
    "Nom d'exercice",
    "Prénom d'exercice",
    "Code diplôme obtenu",
];

/// Where the columns of the activities stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityHeader(Columns<{ ACTIVITIES.len() }>);

/// Where the columns of the skills stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillHeader(Columns<{ SKILLS.len() }>);

/// Where the columns of the diplomas stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiplomaHeader(Columns<{ DIPLOMAS.len() }>);

impl PeopleHeader {
    /// Reads the first line, with or without its line ending, and knows the file by it.
    pub fn parse(line: &[u8]) -> Result<Self, BadLine> {
        let missing = BadLine::NotPeople;
        match Columns::parse(line, ACTIVITIES, missing) {
            Ok(columns) => return Ok(Self::Activities(ActivityHeader(columns))),
            Err(BadLine::NotPeople(_)) => {}
            Err(error) => return Err(error),
        }
        if let Ok(columns) = Columns::parse(line, SKILLS, missing) {
            return Ok(Self::Skills(SkillHeader(columns)));
        }
        Columns::parse(line, DIPLOMAS, missing)
            .map(|columns| Self::Diplomas(DiplomaHeader(columns)))
    }

    /// Reads a line, with or without its line ending.
    pub fn read<'a>(&self, line: &'a [u8]) -> Result<PersonRow<'a>, BadLine> {
        let row = match self {
            Self::Activities(ActivityHeader(columns)) => {
                let fields = columns.fields(line)?;
                PersonRow {
                    profession_code: fields[5],
                    profession: fields[6],
                    category: fields[7],
                    speciality_code: fields[8],
                    structure: first_of(fields[9], fields[10]),
                    structure_name: first_of(fields[11], fields[12]),
                    department: fields[13],
                    is_activity: true,
                    ..person(&fields)
                }
            }
            Self::Skills(SkillHeader(columns)) => {
                let fields = columns.fields(line)?;
                PersonRow {
                    profession_code: fields[5],
                    profession: fields[6],
                    category: fields[7],
                    speciality_code: fields[8],
                    ..person(&fields)
                }
            }
            Self::Diplomas(DiplomaHeader(columns)) => person(&columns.fields(line)?),
        };
        let is_number = row.identity.len() >= 2
            && row.identity.len() <= 20
            && row.identity.bytes().all(|octet| octet.is_ascii_alphanumeric());
        if is_number { Ok(row) } else { Err(BadLine::Identifier) }
    }
}

/// The five columns that all three files begin with in our tables.
fn person<'a>(fields: &[&'a str]) -> PersonRow<'a> {
    PersonRow {
        rpps: if fields[0] == RPPS { fields[1] } else { "" },
        identity: fields[2],
        name: fields[3],
        given_name: fields[4],
        ..PersonRow::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVITY_FILE: &str = include_str!(
        "../../../tests/vectors/annuaire/PS_LibreAcces_Personne_activite_202611210733.txt"
    );
    const SKILL_FILE: &str =
        include_str!("../../../tests/vectors/annuaire/PS_LibreAcces_SavoirFaire_202611210733.txt");
    const DIPLOMA_FILE: &str = include_str!(
        "../../../tests/vectors/annuaire/PS_LibreAcces_Dipl_AutExerc_202611210733.txt"
    );

    fn rows(file: &'static str) -> Vec<PersonRow<'static>> {
        let mut lines = file.lines();
        let header = PeopleHeader::parse(lines.next().unwrap().as_bytes()).unwrap();
        lines.map(|line| header.read(line.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn each_of_the_three_files_is_known_by_its_header() {
        let activities = rows(ACTIVITY_FILE);
        assert_eq!(activities.len(), 4);
        assert!(activities.iter().all(|row| row.is_activity && row.identity.starts_with("8999")));
        let cabinet = activities[0];
        assert_eq!((cabinet.rpps, cabinet.name), ("99900001019", "LUMIER"));
        assert_eq!((cabinet.profession_code, cabinet.speciality_code), ("10", "SM26"));
        assert_eq!(cabinet.structure, "99900000100019");
        assert_eq!((activities[1].structure, activities[1].department), ("990000101", "75"));
        let skills = rows(SKILL_FILE);
        assert_eq!((skills[1].name, skills[1].speciality_code), ("ORÉADE", "SM44"));
        let diplomas = rows(DIPLOMA_FILE);
        assert_eq!((diplomas[1].name, diplomas[1].is_activity), ("ORÉADE", false));
    }

    #[test]
    fn the_mailbox_extraction_is_none_of_them() {
        let other = include_str!(
            "../../../tests/vectors/annuaire/Extraction_Correspondance_MSSante_202611210730.txt"
        );
        let header = PeopleHeader::parse(other.lines().next().unwrap().as_bytes());
        assert!(matches!(header, Err(BadLine::NotPeople(_))), "{header:?}");
        assert!(PeopleHeader::parse(b"").is_err());
    }

    #[test]
    fn a_line_without_its_last_separator_is_read_and_a_cut_one_is_not() {
        let mut lines = ACTIVITY_FILE.lines();
        let header = PeopleHeader::parse(lines.next().unwrap().as_bytes()).unwrap();
        let line = lines.next().unwrap();
        let whole = header.read(line.as_bytes()).unwrap();
        let shorter = line.strip_suffix('|').unwrap();
        assert_eq!(header.read(shorter.as_bytes()).unwrap(), whole);
        assert!(header.read(&line.as_bytes()[..line.len() / 2]).is_err());
        let nobody = line.replace("899900001019", "");
        assert_eq!(header.read(nobody.as_bytes()), Err(BadLine::Identifier));
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(0_u8.., 0..300)) {
            let first = ACTIVITY_FILE.lines().next().unwrap();
            let header = PeopleHeader::parse(first.as_bytes()).unwrap();
            let _ = PeopleHeader::parse(&line);
            let _ = header.read(&line);
        }
    }
}
