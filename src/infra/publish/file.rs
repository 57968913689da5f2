//! A file for somebody to deposit. The official layout is not public, so the file says what it
//! is: the columns of the national extraction, with what shall happen in front, and a manifest
//! beside it. Both appear whole or not at all, the manifest last.
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest;
use serde::Serialize;

use crate::infra::clock::Clock;
use crate::infra::publish::Change;
use crate::infra::publish::Holder;
use crate::infra::publish::Outcome;
use crate::infra::publish::Publisher;
use crate::infra::publish::Record;

/// *Action*, and the columns of the extraction in its order and spelling. Those that we do not
/// know are empty: whoever deposits keeps what the directory has.
const COLUMNS: [&str; 33] = [
    "Action",
    "Liste rouge",
    "Type de BAL",
    "Adresse BAL",
    "Type Identifiant PP",
    "Identifiant PP",
    "Identification nationale PP",
    "Type identifiant structure",
    "Identification Structure",
    "Service de rattachement",
    "Civilité d'exercice",
    "Nom d'exercice",
    "Prénom d'exercice",
    "Catégorie profession",
    "Libellé de catégorie profession",
    "Code Profession",
    "Libellé Profession",
    "Code savoir-faire",
    "Libellé savoir-faire",
    "Dématérialisation",
    "Raison Sociale structure BAL",
    "Enseigne commerciale structure BAL",
    "L2COMPLEMENTLOCALISATION structure BAL",
    "L3COMPLEMENTDISTRIBUTION structure BAL",
    "L4NUMEROVOIE structure BAL",
    "L4COMPLEMENTNUMEROVOIE structure BAL",
    "NL4TYPEVOIE structure BAL",
    "L4LIBELLEVOIE structure BAL",
    "L5LIEUDITMENTION structure BAL",
    "L6LIGNEACHEMINEMENT structure BAL",
    "Code postal structure BAL",
    "Département structure BAL",
    "Pays structure BAL",
];

/// Writes files into a folder.
pub struct FilePublisher {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
}

/// What lies beside a file.
#[derive(Serialize)]
struct Manifest<'m> {
    file: &'m str,
    sha256: String,
    octets: usize,
    made: String,
    layout: &'static str,
    separator: &'static str,
    encoding: &'static str,
    columns: &'m [&'static str],
    rows: usize,
    inserted: usize,
    hidden: usize,
    shown: usize,
    deleted: usize,
}

impl FilePublisher {
    /// Into this folder, which is made when it is not there.
    pub fn new(folder: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { folder: folder.to_owned(), clock }
    }
}

#[async_trait]
impl Publisher for FilePublisher {
    fn name(&self) -> &'static str {
        "file"
    }

    async fn publish(&self, changes: &[(Record, Change)]) -> Vec<Outcome> {
        if changes.is_empty() {
            return Vec::new();
        }
        let (folder, made) = (self.folder.clone(), self.clock.now());
        let changes: Vec<(Record, Change)> = changes.to_vec();
        let count = changes.len();
        let stamp = format!("{made}");
        let written = tokio::task::spawn_blocking(move || write(&folder, &stamp, &changes)).await;
        let outcome = match written {
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(error)) => Outcome::Later(format!("the file cannot be written: {error}"), None),
            Err(_) => Outcome::Later("writing the file ended badly".to_owned(), None),
        };
        vec![outcome; count]
    }
}

/// `made` is the moment in RFC 3339.
fn write(folder: &Path, made: &str, changes: &[(Record, Change)]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut text = COLUMNS.join("|");
    text.push('\n');
    for (record, change) in changes {
        text.push_str(&row(record, *change).join("|"));
        text.push('\n');
    }
    let digits: String = made.chars().filter(char::is_ascii_digit).collect();
    let name = format!("publication-{digits}.txt");
    let count = |wanted: Change| changes.iter().filter(|(_, change)| *change == wanted).count();
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let manifest = Manifest {
        file: &name,
        sha256: hash.as_ref().iter().map(|octet| format!("{octet:02x}")).collect(),
        octets: text.len(),
        made: made.to_owned(),
        layout: "vaguemestre-publication-1",
        separator: "|",
        encoding: "UTF-8",
        columns: &COLUMNS,
        rows: changes.len(),
        inserted: count(Change::Insert),
        hidden: count(Change::Hide(true)),
        shown: count(Change::Hide(false)),
        deleted: count(Change::Delete),
    };
    let manifest = serde_json::to_string_pretty(&manifest).map_err(io::Error::other)?;
    whole(folder, &name, text.as_bytes())?;
    whole(folder, &format!("publication-{digits}.json"), manifest.as_bytes())
}

/// A file that is there whole or not at all, also after the power failed.
fn whole(folder: &Path, name: &str, octets: &[u8]) -> io::Result<()> {
    let unfinished = folder.join(format!(".{name}.unfinished"));
    let mut file = File::create(&unfinished)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&unfinished, folder.join(name))?;
    File::open(folder)?.sync_all()
}

fn row(record: &Record, change: Change) -> Vec<String> {
    let mut row = vec![String::new(); COLUMNS.len()];
    let mut set = |column: &str, value: &str| {
        if let Some(at) = COLUMNS.iter().position(|name| *name == column) {
            // There is no quoting in this form.
            row[at] = value.replace(['|', '\n', '\r'], " ");
        }
    };
    set("Action", change.name());
    set("Liste rouge", if change == Change::Hide(true) { "O" } else { "N" });
    set("Type de BAL", record.kind.code());
    set("Adresse BAL", &record.address.to_string());
    match &record.holder {
        Holder::Professional(id) => {
            set("Type Identifiant PP", id.get(..1).unwrap_or_default());
            set("Identifiant PP", id.get(1..).unwrap_or_default());
            set("Identification nationale PP", id);
        }
        Holder::Structure(finess) => {
            set("Type identifiant structure", "1");
            set("Identification Structure", finess);
        }
        Holder::Unknown => {}
    }
    set("Service de rattachement", &record.service);
    set("Nom d'exercice", &record.name);
    set("Prénom d'exercice", &record.given_name);
    set("Libellé Profession", &record.profession);
    set("Raison Sociale structure BAL", &record.structure_name);
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Address;
    use crate::domain::mailbox::MailboxKind;

    #[test]
    fn a_file_says_what_it_is_and_has_a_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record {
            address: Address::parse("a@b.fr").unwrap(),
            kind: MailboxKind::Personal,
            holder: Holder::Professional("899900001019".to_owned()),
            description: String::new(),
            name: "LUM|ER".to_owned(),
            given_name: "Eloïse".to_owned(),
            profession: String::new(),
            structure_name: String::new(),
            service: String::new(),
        };
        let changes = [(record.clone(), Change::Insert), (record, Change::Hide(true))];
        write(folder.path(), "2026-11-22T12:00:00Z", &changes).unwrap();
        let text = fs::read_to_string(folder.path().join("publication-20261122120000.txt"));
        let text = text.unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("insert|N|PER|a@b.fr|8|99900001019|899900001019|"), "{text}");
        assert!(lines[2].starts_with("hide|O|"), "{text}");
        assert!(lines.iter().all(|line| line.matches('|').count() == 32), "{text}");
        let manifest = fs::read(folder.path().join("publication-20261122120000.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!((&manifest["rows"], &manifest["inserted"]), (&2.into(), &1.into()));
        assert_eq!(manifest["octets"], text.len());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
