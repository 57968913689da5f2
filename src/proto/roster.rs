//! A list of mailboxes to be made: CSV with a header line, as spreadsheets write it.
//!
//! Columns are found by name, in any order: `address`, `kind`, `name`, `listing`, `holder` (and
//! their French names). Fields are separated by `;` or `,`, whichever the header has more of;
//! quotes are those of RFC 4180 §2. UTF-8, with or without a byte order mark.
use std::collections::HashMap;
use std::io::BufRead;
use std::io::Read;

use crate::domain::address::Address;
use crate::domain::identity::Rpps;
use crate::domain::limits;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxKind;

/// A mailbox to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands: the header is line 1.
    pub line: u64,
    /// Its address.
    pub address: Address,
    /// Its kind.
    pub kind: MailboxKind,
    /// What people call it.
    pub name: String,
    /// Shown or hidden.
    pub listing: Listing,
    /// Who holds it; always there for PER.
    pub holder: Option<Rpps>,
}

/// A line that makes nothing, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where it stands.
    pub line: u64,
    /// Its address, when it has one.
    pub address: Option<Address>,
    /// Why. Repeats no field: one may be a patient's number.
    pub reason: String,
}

/// Why a file is no list at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoster {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// The header is not UTF-8, or too long.
    #[error("the first line is not a header: {0}")]
    Header(String),
    /// A column that must be there is not.
    #[error("the header has no column {0}")]
    Missing(&'static str),
    /// A name that means nothing here, or twice the same.
    #[error("column {0} of the header has a name that is not known, or that another one has")]
    Column(usize),
    /// More than `limits::ROSTER_OCTETS_MAX` or `limits::ROSTER_LINES_MAX`.
    #[error("the file is too large: {0} at most; cut it in parts")]
    TooLarge(String),
    /// Reading failed.
    #[error("reading failed: {0}")]
    Reading(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Column {
    Address,
    Kind,
    Name,
    Listing,
    Holder,
}

/// Reads the list line by line; only the addresses stay in memory.
pub struct Roster<R> {
    reader: csv::Reader<Bounded<R>>,
    columns: Vec<Column>,
    first_line: HashMap<String, u64>,
    /// Lines before the first one that the reader sees.
    offset: u64,
    lines: u64,
}

impl<R: BufRead> Roster<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`NoRoster`] when nothing of the file can be used.
    pub fn open(input: R) -> Result<Self, NoRoster> {
        let mut input = Bounded { input, left: limits::ROSTER_OCTETS_MAX, is_over: false };
        let header = header(&mut input)?;
        let separator = match header.matches(';').count() > header.matches(',').count() {
            true => b';',
            false => b',',
        };
        let columns = columns(&header, separator)?;
        let reader = csv::ReaderBuilder::new()
            .delimiter(separator)
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(input);
        Ok(Self { reader, columns, first_line: HashMap::new(), offset: 1, lines: 0 })
    }

    fn entry(&mut self, line: u64, record: &csv::ByteRecord) -> Result<Entry, Wrong> {
        let mut wrong = Wrong { line, address: None, reason: String::new() };
        let mut fields: HashMap<Column, &str> = HashMap::new();
        for (column, field) in self.columns.iter().zip(record) {
            let Ok(text) = std::str::from_utf8(field) else {
                wrong.reason = "the line is not UTF-8: save the file as CSV UTF-8".to_owned();
                return Err(wrong);
            };
            fields.insert(*column, text);
        }
        let field = |column| fields.get(&column).copied().unwrap_or_default();
        let address = match Address::parse(field(Column::Address)) {
            Ok(address) => address,
            Err(error) => {
                wrong.reason = error.to_string();
                return Err(wrong);
            }
        };
        wrong.address = Some(address.clone());
        let mut refuse = |reason: String| {
            wrong.reason = reason;
            Err(wrong.clone())
        };
        let first = *self.first_line.entry(address.lookup_form()).or_insert(line);
        if first != line {
            return refuse(format!("the address stands on line {first} already"));
        }
        if record.len() > self.columns.len() {
            return refuse("the line has more fields than the header has names".to_owned());
        }
        let Some(kind) = MailboxKind::from_code(&field(Column::Kind).to_ascii_uppercase()) else {
            return refuse("a kind is PER, ORG, APP, CAB or CTN".to_owned());
        };
        let listing = match field(Column::Listing).to_lowercase().as_str() {
            "" | "public" | "publique" => Listing::Public,
            "red-list" | "liste rouge" | "hidden" => Listing::RedList,
            _ => return refuse("a listing is public or red-list".to_owned()),
        };
        let holder = match field(Column::Holder) {
            "" if kind == MailboxKind::Personal => {
                return refuse("a PER mailbox needs its holder's RPPS number".to_owned());
            }
            "" => None,
            // The national form has an 8 before the number.
            text => {
                match Rpps::parse(text.strip_prefix('8').filter(|n| n.len() == 11).unwrap_or(text))
                {
                    Some(rpps) => Some(rpps),
                    None => {
                        return refuse(
                            "the holder's RPPS number is wrong; check its digits".to_owned(),
                        );
                    }
                }
            }
        };
        if holder.is_some() && kind == MailboxKind::Citizen {
            return refuse("a patient's inbox has no holder".to_owned());
        }
        let name = field(Column::Name);
        let too_long = name.chars().count() > limits::DISPLAY_NAME_CHARACTERS_MAX;
        if too_long || name.chars().any(char::is_control) {
            let most = limits::DISPLAY_NAME_CHARACTERS_MAX;
            return refuse(format!("a name is one line of at most {most} characters"));
        }
        Ok(Entry { line, address, kind, name: name.to_owned(), listing, holder })
    }
}

impl<R: BufRead> Iterator for Roster<R> {
    type Item = Result<Result<Entry, Wrong>, NoRoster>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut record = csv::ByteRecord::new();
            match self.reader.read_byte_record(&mut record) {
                Ok(false) if self.reader.get_ref().is_over => {
                    let most = format!("{} octets", limits::ROSTER_OCTETS_MAX);
                    return Some(Err(NoRoster::TooLarge(most)));
                }
                Ok(false) => return None,
                Ok(true) => {}
                Err(error) => return Some(Err(NoRoster::Reading(error.to_string()))),
            }
            // A line of separators is what spreadsheets leave below a list.
            if record.iter().all(<[u8]>::is_empty) {
                continue;
            }
            self.lines += 1;
            if self.lines > limits::ROSTER_LINES_MAX {
                let most = format!("{} lines", limits::ROSTER_LINES_MAX);
                return Some(Err(NoRoster::TooLarge(most)));
            }
            let line = record.position().map_or(0, csv::Position::line) + self.offset;
            return Some(Ok(self.entry(line, &record)));
        }
    }
}

fn header(input: &mut impl BufRead) -> Result<String, NoRoster> {
    let mut line = Vec::new();
    let mut bounded = input.take(limits::ROSTER_HEADER_OCTETS_MAX);
    bounded.read_until(b'\n', &mut line).map_err(|error| NoRoster::Reading(error.to_string()))?;
    if line.is_empty() {
        return Err(NoRoster::Empty);
    }
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
    let text = std::str::from_utf8(line);
    let text = text.map_err(|_| NoRoster::Header("it is not UTF-8".to_owned()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn columns(header: &str, separator: u8) -> Result<Vec<Column>, NoRoster> {
    let mut columns = Vec::new();
    for (at, name) in header.split(char::from(separator)).enumerate() {
        let column = match name.trim().trim_matches('"').trim().to_lowercase().as_str() {
            "address" | "adresse" => Column::Address,
            "kind" | "type" => Column::Kind,
            "name" | "nom" => Column::Name,
            "listing" | "publication" => Column::Listing,
            "holder" | "rpps" | "titulaire" => Column::Holder,
            _ => return Err(NoRoster::Column(at + 1)),
        };
        if columns.contains(&column) {
            return Err(NoRoster::Column(at + 1));
        }
        columns.push(column);
    }
    for (column, name) in [(Column::Address, "address"), (Column::Kind, "kind")] {
        if !columns.contains(&column) {
            return Err(NoRoster::Missing(name));
        }
    }
    Ok(columns)
}

/// Input that ends after so many octets, and says so.
struct Bounded<R> {
    input: R,
    left: u64,
    is_over: bool,
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        let ready = self.input.fill_buf()?;
        if self.left == 0 && !ready.is_empty() {
            self.is_over = true;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        Ok(&ready[..ready.len().min(most)])
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
        self.input.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A number whose key is right.
    const RPPS: &str = "10002839586";

    fn read(text: &[u8]) -> Vec<Result<Entry, Wrong>> {
        Roster::open(text).unwrap().map(Result::unwrap).collect()
    }

    fn reasons(text: &str) -> Vec<String> {
        let wrong = |one: Result<Entry, Wrong>| one.err().map_or(String::new(), |e| e.reason);
        read(text.as_bytes()).into_iter().map(wrong).collect()
    }

    #[test]
    fn a_list_is_read_with_either_separator_any_order_and_a_byte_order_mark() {
        assert!(Rpps::parse(RPPS).is_some());
        let semicolons = format!(
            "\u{feff}Type;Adresse;Nom;RPPS\r\nper;a@x.fr;\"Dr A; interne\";8{RPPS}\r\n\r\n;;;\r\n\
             ORG;b@x.fr;Accueil;\r\n"
        );
        let list = read(semicolons.as_bytes());
        let first = list[0].as_ref().unwrap();
        assert_eq!((first.line, first.kind), (2, MailboxKind::Personal));
        assert_eq!(first.name, "Dr A; interne");
        assert_eq!(first.holder.as_ref().unwrap().as_str(), RPPS);
        assert_eq!(list[1].as_ref().unwrap().line, 5);
        let commas = "address,kind,listing\nb@x.fr,APP,red-list";
        assert_eq!(read(commas.as_bytes())[0].as_ref().unwrap().listing, Listing::RedList);
    }

    #[test]
    fn each_wrong_line_says_what_is_wrong_and_the_others_count() {
        let text = format!(
            "address;kind;holder;listing\na@x.fr;PER;{RPPS};\nA@X.fr;ORG;;\nb;ORG;;\nc@x.fr;BAL;;\n\
             d@x.fr;PER;;\ne@x.fr;PER;10002839587;\nf@x.fr;ORG;;secret\ng@x.fr;ORG;;;;more\n\
             h@x.fr;ORG;;public\n"
        );
        let found = reasons(&text);
        assert_eq!(found[0], "");
        assert!(found[1].contains("line 2"), "{}", found[1]);
        assert!(!found[2].is_empty());
        assert!(found[3].contains("a kind is"), "{}", found[3]);
        assert!(found[4].contains("holder"), "{}", found[4]);
        assert!(found[5].contains("digits"), "{}", found[5]);
        assert!(found[6].contains("listing"), "{}", found[6]);
        assert!(found[7].contains("more fields"), "{}", found[7]);
        assert_eq!(found[8], "");
        let latin = b"address;kind;name\na@x.fr;ORG;\xe9t\xe9\n";
        assert!(read(latin)[0].as_ref().unwrap_err().reason.contains("UTF-8"));
    }

    #[test]
    fn a_file_that_is_no_list_is_refused_as_a_whole() {
        let refused = |text: &[u8]| Roster::open(text).err();
        assert_eq!(refused(b""), Some(NoRoster::Empty));
        assert_eq!(refused(b"kind;name\n"), Some(NoRoster::Missing("address")));
        assert_eq!(refused(b"address;kind;password\n"), Some(NoRoster::Column(3)));
        assert_eq!(refused(b"address;kind;adresse\n"), Some(NoRoster::Column(3)));
        assert!(matches!(refused(b"\xff\xfe\n"), Some(NoRoster::Header(_))));
        let lines = limits::ROSTER_LINES_MAX + 1;
        let long = format!("address;kind\n{}", "a@x.fr;ORG\n".repeat(lines as usize));
        let last = Roster::open(long.as_bytes()).unwrap().last().unwrap();
        assert!(matches!(last, Err(NoRoster::TooLarge(_))));
        let wide = format!("address;kind\n\"{}", "x".repeat(limits::ROSTER_OCTETS_MAX as usize));
        let last = Roster::open(wide.as_bytes()).unwrap().find_map(Result::err);
        assert!(matches!(last, Some(NoRoster::TooLarge(_))), "{last:?}");
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic_and_no_reason_repeats_a_field(
            octets in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let text = [b"address;kind;name;holder\n".as_slice(), &octets].concat();
            for one in Roster::open(text.as_slice()).unwrap().take(1_000) {
                if let Ok(Err(wrong)) = one {
                    prop_assert!(wrong.reason.len() < 200);
                }
            }
        }
    }
}
