//! One key at a time: a value to a type, and what is wrong with it.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use config::Value;
use config::ValueKind;

use crate::domain::address::Domain;
use crate::domain::limits;
use crate::infra::config::ConfigError;
use crate::infra::config::build::DAY;
use crate::infra::config::build::Reader;
use crate::infra::config::files;
use crate::infra::config::keys;
use crate::infra::config::read::is_from_environment;
use crate::infra::net::of_tests;
use crate::infra::net::test_authority;

impl Reader {
    pub(in crate::infra::config) fn required<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if !self.found.values.contains_key(key) {
            self.missing(key, "is missing");
            return None;
        }
        self.optional(key, parse)
    }

    pub(in crate::infra::config) fn text_or<T>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if !self.found.values.contains_key(key) {
            return parse(default);
        }
        self.optional(key, parse)
    }

    pub(in crate::infra::config) fn optional<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.found.values.get(key)?.clone();
        let parsed = match &value.kind {
            ValueKind::String(text) => parse(text),
            _ => None,
        };
        if parsed.is_none() {
            self.wrong(key, &shown(&value));
        }
        parsed
    }

    pub(in crate::infra::config) fn door(&mut self, key: &str) -> Option<SocketAddr> {
        self.optional(key, |text| match text {
            "off" => Some(None),
            _ => text.parse().ok().map(Some),
        })
        .flatten()
    }

    pub(in crate::infra::config) fn file(
        &mut self,
        key: &str,
        check: impl Fn(&Path) -> Result<(), String>,
    ) -> Option<PathBuf> {
        let folder = self.found.folder.clone();
        let path = self.required(key, |text| (!text.is_empty()).then(|| folder.join(text)))?;
        if let Err(reason) = check(&path) {
            self.wrong(key, &reason);
        }
        Some(path)
    }

    /// A certificate and its key: each for itself, then whether they belong together.
    pub(in crate::infra::config) fn identity(
        &mut self,
        certificate: &str,
        key: &str,
    ) -> (Option<PathBuf>, Option<PathBuf>) {
        let errors = self.found.errors.len();
        let chain = self.file(certificate, |path| files::certificates(path).map(|_| ()));
        let secret = self.file(key, |path| files::private_key(path).map(|_| ()));
        if let (Some(chain), Some(secret)) = (&chain, &secret)
            && self.found.errors.len() == errors
            && let Err(reason) = files::belong_together(chain, secret)
        {
            self.wrong(key, &format!("does not belong to {certificate}: {reason}"));
        }
        (chain, secret)
    }

    pub(in crate::infra::config) fn anchors(&mut self, key: &str) -> Option<Vec<PathBuf>> {
        if !self.found.values.contains_key(key) {
            self.missing(key, "is missing");
            return None;
        }
        let folder = self.found.folder.clone();
        let paths = self.list(key, &[], |text| (!text.is_empty()).then(|| folder.join(text)))?;
        if paths.is_empty() && is_needed(key) {
            self.wrong(key, "the list is empty");
        }
        let tests_allowed = self.found.values.get("mx.allow_test_authorities");
        let tests_allowed = tests_allowed.is_some_and(is_true);
        for path in &paths {
            match files::certificates(path) {
                Err(reason) => self.wrong(key, &reason),
                Ok(_) if tests_allowed => {}
                Ok(anchors) => {
                    if let Some(name) = anchors.iter().find_map(test_authority) {
                        self.wrong(key, &format!("{}: {}", path.display(), of_tests(&name)));
                    }
                }
            }
        }
        Some(paths)
    }

    pub(in crate::infra::config) fn domains(
        &mut self,
        key: &str,
        default: Vec<Domain>,
    ) -> Option<Vec<Domain>> {
        if !self.found.values.contains_key(key) {
            if is_needed(key) {
                self.missing(key, "is missing");
            }
            return Some(default);
        }
        self.list(key, &[], |text| Domain::parse(text).ok())
    }

    /// An array of texts, or from the environment one text with commas.
    pub(in crate::infra::config) fn list<T>(
        &mut self,
        key: &str,
        default: &[&str],
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(value) = self.found.values.get(key).cloned() else {
            return default.iter().map(|text| parse(text)).collect();
        };
        let texts: Option<Vec<String>> = match &value.kind {
            ValueKind::String(text) if is_from_environment(&value) => {
                Some(text.split(',').map(|item| item.trim().to_owned()).collect())
            }
            ValueKind::Array(items) => items
                .iter()
                .map(|item| match &item.kind {
                    ValueKind::String(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        let Some(texts) = texts else {
            self.wrong(key, &shown(&value));
            return None;
        };
        let mut list = Vec::new();
        for text in &texts {
            match parse(text) {
                Some(item) => list.push(item),
                None => self.wrong(key, &format!("found {text:?}")),
            }
        }
        Some(list)
    }

    pub(in crate::infra::config) fn waits(&mut self, key: &str) -> Option<Vec<Duration>> {
        let waits = self.numbers(key, &limits::RETRY_SECONDS_DEFAULT, |waits| {
            (1..=100).contains(&waits.len())
                && waits.is_sorted()
                && waits.iter().all(|wait| (1..=7 * DAY).contains(wait))
        });
        Some(waits?.into_iter().map(Duration::from_secs).collect())
    }

    /// An array of whole numbers, or from the environment one text with commas.
    pub(in crate::infra::config) fn numbers(
        &mut self,
        key: &str,
        default: &[u64],
        is_good: impl Fn(&[u64]) -> bool,
    ) -> Option<Vec<u64>> {
        let Some(value) = self.found.values.get(key).cloned() else {
            return Some(default.to_vec());
        };
        let numbers: Option<Vec<u64>> = match &value.kind {
            ValueKind::String(text) if is_from_environment(&value) => {
                text.split(',').map(|item| item.trim().parse().ok()).collect()
            }
            ValueKind::Array(items) => items.iter().map(whole_number).collect(),
            _ => None,
        };
        let numbers = numbers.filter(|numbers| is_good(numbers));
        if numbers.is_none() {
            self.wrong(key, &shown(&value));
        }
        numbers
    }

    /// From the environment a text that says the same.
    pub(in crate::infra::config) fn truth(&mut self, key: &str, default: bool) -> Option<bool> {
        let Some(value) = self.found.values.get(key).cloned() else { return Some(default) };
        let truth = match &value.kind {
            ValueKind::Boolean(truth) => Some(*truth),
            ValueKind::String(text) if is_from_environment(&value) => text.parse().ok(),
            _ => None,
        };
        if truth.is_none() {
            self.wrong(key, &shown(&value));
        }
        truth
    }

    /// Seconds of which 0 means "off".
    pub(in crate::infra::config) fn switchable(
        &mut self,
        key: &str,
        default: Duration,
        most: u64,
    ) -> Option<Option<Duration>> {
        let seconds = self.number(key, default.as_secs(), 0, most)?;
        Some((seconds > 0).then(|| Duration::from_secs(seconds)))
    }

    /// Files that may be none.
    pub(in crate::infra::config) fn files(&mut self, key: &str) -> Option<Vec<PathBuf>> {
        let folder = self.found.folder.clone();
        let files = self.list(key, &[], |text| (!text.is_empty()).then(|| folder.join(text)))?;
        for file in &files {
            if let Err(reason) = files::readable(file) {
                self.wrong(key, &reason);
            }
        }
        Some(files)
    }

    /// A table with dotted names as they were written.
    pub(in crate::infra::config) fn table(
        &mut self,
        key: &str,
    ) -> Option<BTreeMap<String, ValueKind>> {
        let mut flat = BTreeMap::new();
        match self.found.values.get(key).map(|value| value.kind.clone()) {
            None => {}
            Some(table @ ValueKind::Table(_)) => flatten(String::new(), table, &mut flat),
            Some(_) => {
                self.wrong(key, "not a table");
                return None;
            }
        }
        Some(flat)
    }

    pub(in crate::infra::config) fn number(
        &mut self,
        key: &str,
        default: u64,
        least: u64,
        most: u64,
    ) -> Option<u64> {
        let Some(value) = self.found.values.get(key).cloned() else { return Some(default) };
        let number = whole_number(&value).filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.wrong(key, &shown(&value));
        }
        number
    }

    pub(in crate::infra::config) fn count(
        &mut self,
        key: &str,
        default: usize,
        least: u64,
        most: u64,
    ) -> Option<usize> {
        self.number(key, default as u64, least, most).and_then(|n| usize::try_from(n).ok())
    }

    pub(in crate::infra::config) fn seconds(
        &mut self,
        key: &str,
        default: Duration,
        most: u64,
    ) -> Option<Duration> {
        self.number(key, default.as_secs(), 1, most).map(Duration::from_secs)
    }

    pub(in crate::infra::config) fn routes(
        &mut self,
        key: &str,
    ) -> Option<BTreeMap<Domain, String>> {
        let mut routes = BTreeMap::new();
        for (domain, kind) in self.table(key)? {
            let target = match &kind {
                ValueKind::String(text) => host_and_port(text),
                _ => None,
            };
            match (Domain::parse(&domain), target) {
                (Ok(domain), Some(target)) => {
                    routes.insert(domain, target);
                }
                (Err(_), _) => self.wrong(key, &format!("{domain:?} is not a domain")),
                (_, None) => self.wrong(key, &format!("\"{domain}\" = {}", shown_kind(&kind))),
            }
        }
        Some(routes)
    }

    pub(in crate::infra::config) fn missing(&mut self, key: &str, reason: &str) {
        let expected = format!("{reason}; expected {}", keys::expects(key));
        let file = self.found.file.clone();
        self.found.errors.push(ConfigError { key: key.to_owned(), file, expected });
    }

    pub(in crate::infra::config) fn wrong(&mut self, key: &str, reason: &str) {
        let expected = format!("{reason}; expected {}", keys::expects(key));
        let file = self.found.origin(key);
        self.found.errors.push(ConfigError { key: key.to_owned(), file, expected });
    }
}

fn is_needed(key: &str) -> bool {
    keys::KEYS.iter().any(|known| known.name == key && known.need == keys::Need::Required)
}

/// Unquoted domains in `[mx.routes]` are nested tables in TOML; joined again they are domains.
fn flatten(prefix: String, kind: ValueKind, flat: &mut BTreeMap<String, ValueKind>) {
    match kind {
        ValueKind::Table(entries) => {
            for (name, value) in entries {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(format!("{prefix}{dot}{name}"), value.kind, flat);
            }
        }
        leaf => {
            flat.insert(prefix, leaf);
        }
    }
}

fn host_and_port(text: &str) -> Option<String> {
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0) {
        return Some(text.to_owned());
    }
    let (host, port) = text.rsplit_once(':')?;
    (is_port(port) && Domain::parse(host).is_ok()).then(|| text.to_owned())
}

/// For a key that is told as wrong elsewhere when it is neither true nor false.
fn is_true(value: &Value) -> bool {
    match &value.kind {
        ValueKind::Boolean(truth) => *truth,
        ValueKind::String(text) => is_from_environment(value) && text == "true",
        _ => false,
    }
}

fn whole_number(value: &Value) -> Option<u64> {
    match &value.kind {
        ValueKind::I64(number) => u64::try_from(*number).ok(),
        ValueKind::U64(number) => Some(*number),
        ValueKind::String(text) if is_from_environment(value) => text.trim().parse().ok(),
        _ => None,
    }
}

fn shown(value: &Value) -> String {
    shown_kind(&value.kind)
}

/// What stands in the file, short enough for one line. No key holds a secret.
fn shown_kind(kind: &ValueKind) -> String {
    let text = match kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| item.kind.to_string()).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    };
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("found {short}")
}
