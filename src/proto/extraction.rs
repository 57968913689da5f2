//! The national mailbox extraction: 31 columns by header name, `|`, LF or CRLF.
//!
//! The *Annuaire Santé* publishes it daily. One line is one mailbox in one structure: an address
//! may come twice. It lists PER and ORG mailboxes only; applications (APP) and the red list are
//! not in it, so a missing address proves nothing. Columns are found by their names, because new
//! ones were added over the years. There is no quoting: a `"` is a letter like others.

pub mod people; // who is a professional, and where they work

/// Octets of one line; the real ones have about 170.
pub const LINE_OCTETS_MAX: usize = 16_384;

/// Some programs begin UTF-8 files with it.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// *Type d'identifiant PP* of an RPPS number; the older ADELI numbers have `0`.
const RPPS: &str = "8";

/// Where each column that we read stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header(Columns<{ Column::ALL.len() }>);

/// One line, as it was published; nothing is checked but its form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row<'a> {
    /// `PER` or `ORG`.
    pub kind: &'a str,
    /// The mailbox.
    pub address: &'a str,
    /// RPPS of a professional; empty when there is none.
    pub rpps: &'a str,
    /// *Identification nationale PP*: a digit for the kind of identifier, and the identifier.
    pub identity: &'a str,
    /// *Type identifiant structure*: `1` FINESS, `3` SIRET, `4` RPPS and rank.
    pub structure_kind: &'a str,
    /// *Identification Structure*.
    pub structure: &'a str,
    /// *Civilité d'exercice*.
    pub title: &'a str,
    /// *Nom d'exercice*.
    pub name: &'a str,
    /// *Prénom d'exercice*.
    pub given_name: &'a str,
    /// *Service de rattachement*.
    pub service: &'a str,
    /// *Code Profession* (TRE_G15).
    pub profession_code: &'a str,
    /// *Libellé Profession*.
    pub profession: &'a str,
    /// *Code savoir-faire* (TRE_R38).
    pub speciality_code: &'a str,
    /// *Libellé savoir-faire*.
    pub speciality: &'a str,
    /// *Raison sociale*, or the trading name where that is empty.
    pub structure_name: &'a str,
    /// *Enseigne commerciale*.
    pub trading_name: &'a str,
    /// Number, its addition, kind and name of the street.
    pub street: [&'a str; 4],
    /// *Code postal*.
    pub postal_code: &'a str,
    /// The last line of the address without its postal code.
    pub town: &'a str,
    /// *Département*.
    pub department: &'a str,
    /// *Dématérialisation* is `O`: paper-free exchange accepted.
    pub paper_free: bool,
}

/// Why a line is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// Not UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// The header lacks a column that we need.
    #[error("the header has no column {0:?}: this is not a mailbox extraction")]
    MissingColumn(&'static str),
    /// The header is none of the PS_LibreAcces files'.
    #[error("the header has no column {0:?}: this is no PS_LibreAcces file")]
    NotPeople(&'static str),
    /// The header names a column twice.
    #[error("the header has the column {0:?} twice")]
    DoubleColumn(&'static str),
    /// Not as many fields as the header has.
    #[error("{found} fields where the header has {expected}")]
    Fields {
        /// As many as the header has.
        expected: usize,
        /// As many as there are.
        found: usize,
    },
    /// A kind that is none.
    #[error("neither PER nor ORG")]
    Kind,
    /// No address.
    #[error("no address")]
    Address,
    /// No national identifier of a person.
    #[error("no identifier of a person")]
    Identifier,
}

macro_rules! columns {
    ($($column:ident = $name:literal,)*) => {
        /// The columns that we read.
        #[derive(Clone, Copy)]
        enum Column { $($column,)* }

        impl Column {
            const ALL: [&'static str; [$($name),*].len()] = {
                // In the order of the variants, which are the places in it.
                let _ = [$(Self::$column),*];
                [$($name),*]
            };
        }
    };
}

columns! {
    Kind = "Type de BAL",
    Address = "Adresse BAL",
    IdentifierKind = "Type Identifiant PP",
    Identifier = "Identifiant PP",
    Identity = "Identification nationale PP",
    StructureKind = "Type identifiant structure",
    Structure = "Identification Structure",
    Service = "Service de rattachement",
    Title = "Civilité d'exercice",
    Name = "Nom d'exercice",
    GivenName = "Prénom d'exercice",
    ProfessionCode = "Code Profession",
    Profession = "Libellé Profession",
    SpecialityCode = "Code savoir-faire",
    Speciality = "Libellé savoir-faire",
    PaperFree = "Dématérialisation",
    LegalName = "Raison Sociale structure BAL",
    TradingName = "Enseigne commerciale structure BAL",
    Number = "L4NUMEROVOIE structure BAL",
    NumberAddition = "L4COMPLEMENTNUMEROVOIE structure BAL",
    StreetKind = "NL4TYPEVOIE structure BAL",
    Street = "L4LIBELLEVOIE structure BAL",
    LastLine = "L6LIGNEACHEMINEMENT structure BAL",
    PostalCode = "Code postal structure BAL",
    Department = "Département structure BAL",
}

impl Header {
    /// Reads the first line, with or without its line ending.
    pub fn parse(line: &[u8]) -> Result<Self, BadLine> {
        Columns::parse(line, Column::ALL, BadLine::MissingColumn).map(Self)
    }

    /// Reads a line, with or without its line ending.
    pub fn read<'a>(&self, line: &'a [u8]) -> Result<Row<'a>, BadLine> {
        let fields = self.0.fields(line)?;
        let field = |column: Column| fields[column as usize];
        let row = Row {
            kind: field(Column::Kind),
            address: field(Column::Address),
            rpps: if field(Column::IdentifierKind) == RPPS {
                field(Column::Identifier)
            } else {
                ""
            },
            identity: field(Column::Identity),
            structure_kind: field(Column::StructureKind),
            structure: field(Column::Structure),
            title: field(Column::Title),
            name: field(Column::Name),
            given_name: field(Column::GivenName),
            service: field(Column::Service),
            profession_code: field(Column::ProfessionCode),
            profession: field(Column::Profession),
            speciality_code: field(Column::SpecialityCode),
            speciality: field(Column::Speciality),
            structure_name: first_of(field(Column::LegalName), field(Column::TradingName)),
            trading_name: field(Column::TradingName),
            street: [
                field(Column::Number),
                field(Column::NumberAddition),
                field(Column::StreetKind),
                field(Column::Street),
            ],
            postal_code: field(Column::PostalCode),
            town: town(field(Column::LastLine), field(Column::PostalCode)),
            department: field(Column::Department),
            paper_free: field(Column::PaperFree) == "O",
        };
        match row.kind {
            _ if row.address.is_empty() => Err(BadLine::Address),
            "PER" | "ORG" => Ok(row),
            _ => Err(BadLine::Kind),
        }
    }
}

/// Where `N` columns stand, by their names. All files of this publisher are read with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Columns<const N: usize> {
    /// For each column of the file, which of ours it is.
    wanted: Vec<Option<u8>>,
}

impl<const N: usize> Columns<N> {
    fn parse(
        line: &[u8],
        names: [&'static str; N],
        missing: fn(&'static str) -> BadLine,
    ) -> Result<Self, BadLine> {
        let line = text_of(line)?;
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        // The PS_LibreAcces files end each line, this one too, with one more separator.
        let line = line.strip_suffix('|').unwrap_or(line);
        let mut wanted = vec![None; line.split('|').count()];
        for (number, name) in (0_u8..).zip(names) {
            let mut places = line.split('|').enumerate().filter(|(_, found)| found.trim() == name);
            let (place, _) = places.next().ok_or(missing(name))?;
            if places.next().is_some() {
                return Err(BadLine::DoubleColumn(name));
            }
            wanted[place] = Some(number);
        }
        Ok(Self { wanted })
    }

    fn fields<'a>(&self, line: &'a [u8]) -> Result<[&'a str; N], BadLine> {
        let line = text_of(line)?;
        let mut fields = [""; N];
        let mut found = 0;
        let mut is_last_empty = false;
        for field in line.split('|') {
            is_last_empty = field.is_empty();
            if let Some(Some(wanted)) = self.wanted.get(found) {
                fields[usize::from(*wanted)] = field.trim();
            }
            found += 1;
        }
        let expected = self.wanted.len();
        if found != expected && !(found == expected + 1 && is_last_empty) {
            return Err(BadLine::Fields { expected, found });
        }
        Ok(fields)
    }
}

fn text_of(line: &[u8]) -> Result<&str, BadLine> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    std::str::from_utf8(line).map_err(|_| BadLine::Encoding)
}

fn first_of<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

fn town<'a>(last_line: &'a str, postal_code: &str) -> &'a str {
    last_line.strip_prefix(postal_code).unwrap_or(last_line).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!(
        "../../tests/vectors/annuaire/Extraction_Correspondance_MSSante_202611210730.txt"
    );

    fn sample() -> (Header, Vec<&'static str>) {
        let mut lines = SAMPLE.lines();
        (Header::parse(lines.next().unwrap().as_bytes()).unwrap(), lines.collect())
    }

    #[test]
    fn every_line_of_the_sample_is_read() {
        let (header, lines) = sample();
        assert_eq!(lines.len(), 9);
        let rows: Vec<_> = lines.iter().map(|line| header.read(line.as_bytes()).unwrap()).collect();
        assert_eq!(
            rows[1],
            Row {
                kind: "PER",
                address: "eloise.lumier@ch-valfictif.exemple.mssante.fr",
                rpps: "99900001019",
                identity: "899900001019",
                structure_kind: "1",
                structure: "990000101",
                title: "Docteur",
                name: "LUMIER",
                given_name: "Eloïse",
                service: "Urgences",
                profession_code: "10",
                profession: "Médecin",
                speciality_code: "SM26",
                speciality: "Qualifié en Médecine Générale",
                structure_name: "CH DE VALFICTIF",
                trading_name: "CH DE VALFICTIF",
                street: ["1", "", "RUE", "DE L'HOPITAL"],
                postal_code: "75990",
                town: "VALFICTIF",
                department: "75",
                paper_free: true,
            }
        );
        assert!(!rows[3].paper_free);
        assert_eq!((rows[4].kind, rows[4].rpps, rows[4].name), ("ORG", "", ""));
    }

    #[test]
    fn columns_are_found_by_name_wherever_they_stand() {
        let (header, lines) = sample();
        let first_line = SAMPLE.lines().next().unwrap();
        let turned = |line: &str| {
            let fields: Vec<_> = line.split('|').rev().collect();
            format!("new column|{}\r\n", fields.join("|"))
        };
        let other = Header::parse(turned(first_line).as_bytes()).unwrap();
        for line in lines {
            let turned = turned(line);
            assert_eq!(other.read(turned.as_bytes()), header.read(line.as_bytes()));
        }
    }

    #[test]
    fn line_endings_a_byte_order_mark_and_a_last_separator_change_nothing() {
        let (header, lines) = sample();
        let first_line = SAMPLE.lines().next().unwrap();
        for ending in ["", "\n", "\r\n"] {
            let marked = format!("\u{feff}{first_line}{ending}");
            assert_eq!(Header::parse(marked.as_bytes()).unwrap(), header);
            for line in &lines {
                let same = header.read(line.as_bytes());
                assert_eq!(header.read(format!("{line}{ending}").as_bytes()), same);
                assert_eq!(header.read(format!("{line}|{ending}").as_bytes()), same);
            }
        }
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        let first_line = SAMPLE.lines().next().unwrap();
        for (line, expected) in [
            (String::new(), BadLine::MissingColumn("Type de BAL")),
            ("<html>".to_owned(), BadLine::MissingColumn("Type de BAL")),
            (first_line.replace('|', ";"), BadLine::MissingColumn("Type de BAL")),
            (first_line.replace("Adresse BAL", "Adresse"), BadLine::MissingColumn("Adresse BAL")),
            (format!("{first_line}|Adresse BAL"), BadLine::DoubleColumn("Adresse BAL")),
        ] {
            assert_eq!(Header::parse(line.as_bytes()), Err(expected));
        }
        assert_eq!(Header::parse(b"Type de BAL|\xe9"), Err(BadLine::Encoding));
    }

    #[test]
    fn a_bad_line_is_told_from_a_good_one() {
        let (header, lines) = sample();
        let line = lines[0];
        for (line, expected) in [
            (String::new(), BadLine::Fields { expected: 31, found: 1 }),
            (line[..line.len() - 1].to_owned(), BadLine::Fields { expected: 31, found: 30 }),
            (format!("{line}||"), BadLine::Fields { expected: 31, found: 33 }),
            (format!("{line}|x"), BadLine::Fields { expected: 31, found: 32 }),
            (line.replacen("PER", "per", 1), BadLine::Kind),
            (line.replacen("eloise.lumier@medecin.exemple.mssante.fr", " ", 1), BadLine::Address),
        ] {
            assert_eq!(header.read(line.as_bytes()), Err(expected), "{line}");
        }
        let latin = line.as_bytes().iter().map(|octet| octet & 0xf7 | 0x80).collect::<Vec<_>>();
        assert_eq!(header.read(&latin), Err(BadLine::Encoding));
    }

    #[test]
    fn a_quotation_mark_is_a_letter_like_others() {
        let (header, lines) = sample();
        let line = lines[0].replace("LUMIER", "\"LUMIER");
        assert_eq!(header.read(line.as_bytes()).unwrap().name, "\"LUMIER");
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(0_u8.., 0..300)) {
            let (header, _) = sample();
            let _ = Header::parse(&line);
            let _ = header.read(&line);
        }
    }
}
