//! The TOML file and the environment to values that know where they come from.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use config::Environment;
use config::File;
use config::FileFormat;
use config::Source;
use config::Value;
use config::ValueKind;

use crate::infra::config::ConfigError;
use crate::infra::config::keys;

/// Octets of a configuration file; more is another file.
const FILE_OCTETS_MAX: u64 = 1_048_576;
/// Begins the name of each variable that overrides a key.
const PREFIX: &str = "VAGUEMESTRE";
/// What the `config` crate calls the environment as an origin.
const FROM_ENVIRONMENT: &str = "the environment";

/// All values, by dotted key; `mx.routes` is one key.
pub(super) struct Found {
    /// As the caller named it.
    pub(super) file: String,
    /// Relative paths begin here.
    pub(super) folder: PathBuf,
    /// By dotted key.
    pub(super) values: BTreeMap<String, Value>,
    /// Unknown keys, values in place of sections.
    pub(super) errors: Vec<ConfigError>,
}

/// Reads both sources. An `Err` means that there is nothing to go on with.
pub(super) fn read(
    file: &Path,
    environment: Option<&BTreeMap<String, String>>,
) -> Result<Found, Vec<ConfigError>> {
    let name = file.display().to_string();
    let text = text_of(file).map_err(|expected| vec![whole_file(&name, expected)])?;
    if let Err(error) = text.parse::<toml::Table>() {
        let line = error.span().map_or(1, |span| line_of(&text, span.start));
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        return Err(vec![whole_file(&name, format!("line {line}: not TOML: {message}"))]);
    }
    let variables = Environment::with_prefix(PREFIX)
        .separator("__")
        .ignore_empty(true)
        .source(environment.map(|map| map.clone().into_iter().collect()));
    let both = config::Config::builder()
        .add_source(File::from_str(&text, FileFormat::Toml))
        .add_source(variables)
        .build()
        .and_then(|both| both.collect())
        .map_err(|error| vec![whole_file(&name, error.to_string())])?;

    // An absolute folder, so that a later change of the working directory changes nothing.
    let folder = std::path::absolute(file)
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned))
        .unwrap_or_default();
    let mut found = Found { file: name, folder, values: BTreeMap::new(), errors: Vec::new() };
    for (section, value) in both {
        found.take_section(&section, value);
    }
    Ok(found)
}

impl Found {
    /// Where a key was set, or where it should be: for error texts.
    pub(super) fn origin(&self, key: &str) -> String {
        match self.values.get(key) {
            Some(value) if is_from_environment(value) => variable(key),
            _ => self.file.clone(),
        }
    }

    fn take_section(&mut self, section: &str, value: Value) {
        let from_environment = is_from_environment(&value);
        match value.kind {
            ValueKind::Table(entries) if keys::is_section(section) => {
                for (entry, value) in entries {
                    self.take_key(format!("{section}.{entry}"), value);
                }
            }
            ValueKind::Table(entries) if !entries.is_empty() => {
                for (entry, value) in entries {
                    self.unknown(&format!("{section}.{entry}"), is_from_environment(&value));
                }
            }
            _ if keys::is_section(section) => {
                let file = if from_environment { variable(section) } else { self.file.clone() };
                let expected = format!("a section is expected: [{section}]");
                self.errors.push(ConfigError { key: section.to_owned(), file, expected });
            }
            _ => self.unknown(section, from_environment),
        }
    }

    fn take_key(&mut self, key: String, value: Value) {
        if keys::KEYS.iter().any(|known| known.name == key) {
            self.values.insert(key, value);
        } else {
            self.unknown(&key, is_from_environment(&value));
        }
    }

    fn unknown(&mut self, key: &str, from_environment: bool) {
        let expected = match keys::nearest(key) {
            Some(known) => format!("unknown key; did you mean `{known}`?"),
            None => "unknown key; config/vaguemestre.toml explains every known one".to_owned(),
        };
        let file = if from_environment { variable(key) } else { self.file.clone() };
        self.errors.push(ConfigError { key: key.to_owned(), file, expected });
    }
}

/// Whether a value was set by a variable, as text.
pub(super) fn is_from_environment(value: &Value) -> bool {
    value.origin() == Some(FROM_ENVIRONMENT)
}

/// `mx.key` to `environment VAGUEMESTRE__MX__KEY`.
fn variable(key: &str) -> String {
    format!("environment {PREFIX}__{}", key.to_ascii_uppercase().replace('.', "__"))
}

fn whole_file(file: &str, expected: String) -> ConfigError {
    ConfigError { key: String::new(), file: file.to_owned(), expected }
}

fn text_of(file: &Path) -> Result<String, String> {
    let size = fs::metadata(file).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > FILE_OCTETS_MAX {
        return Err(format!("{size} octets are too many for a configuration file"));
    }
    let octets = fs::read(file).map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(octets).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|octet| **octet == b'\n')
            .count();
        format!("line {}: not UTF-8 text", line + 1)
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    before.iter().filter(|octet| **octet == b'\n').count() + 1
}
