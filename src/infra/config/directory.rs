//! The national directory and our own part of it: `[directory]`, `[fhir]`, `[addressbook]`,
//! `[publish]`.
use std::path::PathBuf;
use std::time::Duration;

use crate::infra::config::ListSource;
use crate::infra::config::build::DAY;
use crate::infra::config::build::Reader;
use crate::infra::config::files;
use crate::infra::config::login::named;
use crate::infra::config::login::url;

/// The copy of the national directory.
#[derive(Clone, Debug)]
pub struct Directory {
    /// `directory.extraction`: the mailbox extraction, `.txt` or `.zip`.
    pub extraction: Option<ListSource>,
    /// `directory.people`: the PS_LibreAcces files, `.zip`.
    pub people: Option<ListSource>,
    /// `directory.anchors`: CA certificates of the hosts that publish them.
    pub anchors: Vec<PathBuf>,
    /// `directory.refresh_seconds`
    pub refresh: Duration,
    /// `directory.shrink_percent`: a new extraction that lost more of its mailboxes is refused.
    pub shrink_percent: u64,
    /// `directory.age_warning_seconds`
    pub age_warning: Duration,
    /// `directory.age_alarm_seconds`
    pub age_alarm: Duration,
    /// `directory.departments`: ours, for the order of what a search finds.
    pub departments: Vec<String>,
}

/// The directory's FHIR API.
#[derive(Clone, Debug)]
pub struct Fhir {
    /// `fhir.url`
    pub url: String,
    /// `fhir.key_file`: the API key.
    pub key_file: Option<PathBuf>,
    /// `fhir.anchors`
    pub anchors: Vec<PathBuf>,
    /// `fhir.per_second`: requests.
    pub per_second: u32,
    /// `fhir.timeout_seconds`
    pub timeout: Duration,
}

/// How mail programs search the directory.
#[derive(Clone, Debug)]
pub struct AddressBook {
    /// `addressbook.base`: the LDAP server's naming context.
    pub base: String,
    /// `addressbook.anonymous`: searches without a login are answered.
    pub anonymous: bool,
    /// `addressbook.results_max`
    pub results_max: usize,
}

/// How our mailboxes come into the national directory.
#[derive(Clone, Debug)]
pub struct Publish {
    /// `publish.mode`
    pub mode: PublishMode,
    /// `publish.folder`: where export files go.
    pub folder: Option<PathBuf>,
    /// `publish.url`: of the API.
    pub url: Option<String>,
    /// `publish.key_file`: the API key.
    pub key_file: Option<PathBuf>,
    /// `publish.anchors`
    pub anchors: Vec<PathBuf>,
}

/// A back-end of publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishMode {
    /// Nobody publishes.
    Off,
    /// A file for somebody to deposit.
    File,
    /// FHIRPath PATCH (draft API of 2026).
    Api,
}

impl Reader {
    pub(super) fn directory(&mut self) -> Option<Directory> {
        let extraction = self.source("directory.extraction");
        let people = self.source("directory.people");
        let anchors = self.anchors_or_none("directory.anchors");
        let refresh = self.number("directory.refresh_seconds", DAY, 60, 7 * DAY);
        let shrink_percent = self.number("directory.shrink_percent", 10, 0, 100);
        let year = 365 * DAY;
        let age_warning =
            self.seconds("directory.age_warning_seconds", Duration::from_secs(2 * DAY), year);
        let age_alarm =
            self.seconds("directory.age_alarm_seconds", Duration::from_secs(5 * DAY), year);
        let departments = self.list("directory.departments", &[], |text| {
            let is_code = (2..=3).contains(&text.len())
                && text.bytes().all(|c| c.is_ascii_digit() || b"AB".contains(&c));
            is_code.then(|| text.to_owned())
        });
        Some(Directory {
            extraction,
            people,
            anchors: anchors?,
            refresh: Duration::from_secs(refresh?),
            shrink_percent: shrink_percent?,
            age_warning: age_warning?,
            age_alarm: age_alarm?,
            departments: departments?,
        })
    }

    pub(super) fn fhir(&mut self) -> Option<Option<Fhir>> {
        let address = self.optional("fhir.url", url);
        let key_file = self.secret_file("fhir.key_file");
        let anchors = self.anchors_or_none("fhir.anchors");
        let per_second = self.number("fhir.per_second", 17, 1, 1_000);
        let timeout = self.seconds("fhir.timeout_seconds", Duration::from_secs(30), 120);
        let (anchors, timeout) = (anchors?, timeout?);
        let per_second = u32::try_from(per_second?).ok()?;
        Some(address.map(|url| Fhir {
            url: url.trim_end_matches('/').to_owned(),
            key_file,
            anchors,
            per_second,
            timeout,
        }))
    }

    pub(super) fn addressbook(&mut self) -> Option<AddressBook> {
        let base = self.text_or("addressbook.base", "dc=mssante,dc=fr", named);
        let anonymous = self.truth("addressbook.anonymous", false);
        let results_max = self.count("addressbook.results_max", 100, 1, 1_000);
        Some(AddressBook { base: base?, anonymous: anonymous?, results_max: results_max? })
    }

    pub(super) fn publish(&mut self) -> Option<Publish> {
        let mode = self.text_or("publish.mode", "off", |text| match text {
            "off" => Some(PublishMode::Off),
            "file" => Some(PublishMode::File),
            "api" => Some(PublishMode::Api),
            _ => None,
        });
        let folder =
            self.has("publish.folder").then(|| self.file("publish.folder", files::folder_or_new));
        let address = self.optional("publish.url", url);
        let key_file = self.secret_file("publish.key_file");
        let anchors = self.anchors_or_none("publish.anchors");
        let mode = mode?;
        if mode == PublishMode::File && folder.is_none() {
            self.missing("publish.folder", "is missing, and publish.mode is \"file\"");
        }
        if mode == PublishMode::Api && address.is_none() {
            self.missing("publish.url", "is missing, and publish.mode is \"api\"");
        }
        Some(Publish { mode, folder: folder.flatten(), url: address, key_file, anchors: anchors? })
    }

    /// A file, or an address to fetch from.
    fn source(&mut self, key: &str) -> Option<ListSource> {
        let text = self.optional(key, named)?;
        if !text.contains("://") {
            let file = self.file(key, |path| files::readable(path).map(|_| ()));
            return file.map(ListSource::File);
        }
        let address = url(&text);
        if address.is_none() {
            self.wrong(key, "the address does not begin with https://");
        }
        address.map(ListSource::Url)
    }
}
