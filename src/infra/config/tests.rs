//! The configuration on real files: what is accepted, and how everything wrong is said at once.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use crate::infra::config::Config;
use crate::infra::config::ConfigError;
use crate::infra::config::keys::KEYS;
use crate::infra::config::keys::Need;

const ANNOTATED: &str = include_str!("../../../config/vaguemestre.toml");

/// A folder with every file that the annotated configuration names.
struct Place {
    folder: tempfile::TempDir,
    certificate: String,
    key: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = certificate_and_key();
        let place = Self { folder, certificate, key };
        for name in ["people.crt.pem", "operator.crt.pem", "igc-sante.pem"] {
            place.write(&format!("certs/{name}"), &place.certificate, 0o644);
        }
        for name in ["people.key.pem", "operator.key.pem"] {
            place.write(&format!("certs/{name}"), &place.key, 0o600);
        }
        place.write("trust/listeblanchemssante.xml", "<list/>", 0o644);
        place
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The annotated file with storage inside the folder, and `change` made to it.
    fn load(&self, change: impl Fn(String) -> String) -> Result<Config, Vec<ConfigError>> {
        self.load_with(change, &BTreeMap::new())
    }

    fn load_with(
        &self,
        change: impl Fn(String) -> String,
        environment: &BTreeMap<String, String>,
    ) -> Result<Config, Vec<ConfigError>> {
        let text = ANNOTATED
            .replace("\"/var/lib/vaguemestre\"", "\"data\"")
            .replace("\"/etc/vaguemestre/master.key\"", "\"master.key\"");
        let path = self.write("vaguemestre.toml", &change(text), 0o644);
        Config::load_with(&path, Some(environment))
    }

    /// The errors after one line of the annotated file was exchanged for another.
    fn errors(&self, line: &str, other: &str) -> Vec<ConfigError> {
        let change = |text: String| {
            assert!(text.contains(line), "{line} is not in the annotated file");
            text.replace(line, other)
        };
        self.load(change).err().unwrap_or_default()
    }
}

fn certificate_and_key() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["mx.test".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn keys_of(errors: &[ConfigError]) -> Vec<&str> {
    errors.iter().map(|error| error.key.as_str()).collect()
}

/// `section.key` of every line that sets one, commented out or not.
fn keys_in(text: &str, commented: bool) -> BTreeSet<String> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            if name.contains('.') {
                keys.insert(name.to_owned());
            }
            continue;
        }
        let line = if commented { line.trim_start_matches("# ") } else { line };
        if let Some((key, _)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

#[test]
fn the_annotated_file_loads() {
    let config = Place::new().load(|text| text).unwrap();
    assert_eq!(config.operator.hostname.as_str(), "mx.hopital.mssante.fr");
    assert!(config.storage.data_dir.is_absolute());
    assert!(config.tls.key.ends_with("certs/people.key.pem"));
}

#[test]
fn the_annotated_file_has_every_key_and_no_other() {
    let known: BTreeSet<String> = KEYS.iter().map(|key| key.name.to_owned()).collect();
    assert_eq!(keys_in(ANNOTATED, true), known);
}

#[test]
fn the_annotated_file_shows_the_defaults_of_the_code() {
    let place = Place::new();
    let shown = keys_in(ANNOTATED, false);
    for key in KEYS.iter().filter(|key| key.need == Need::Default) {
        assert!(shown.contains(key.name), "{} does not show its default", key.name);
    }
    let with_defaults_in_the_file = place.load(|text| text).unwrap();
    let with_defaults_of_the_code = place.load(without_defaults).unwrap();
    assert_eq!(
        format!("{with_defaults_in_the_file:#?}"),
        format!("{with_defaults_of_the_code:#?}")
    );
}

fn without_defaults(text: String) -> String {
    let mut section = String::new();
    let keeps = |line: &&str| {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        }
        let name = line.split_once(" = ").map(|(key, _)| format!("{section}.{key}"));
        !KEYS.iter().any(|key| key.need == Need::Default && Some(key.name) == name.as_deref())
    };
    text.lines().filter(keeps).map(|line| format!("{line}\n")).collect()
}

#[test]
fn all_errors_are_said_at_once_each_with_key_file_and_expectation() {
    let place = Place::new();
    let errors = place
        .load(|text| {
            text.replace("hostname = \"mx.hopital.mssante.fr\"", "hostname = \"not a host\"")
                .replace("certs/people.crt.pem", "certs/nowhere.pem")
                .replace("recipients = 100", "recipients = \"many\"")
                .replace("imap_idle_seconds = 1800", "imap_idle_seconds = 60")
                .replace("format = \"pretty\"", "fromat = \"pretty\"")
        })
        .unwrap_err();
    assert_eq!(
        keys_of(&errors),
        [
            "operator.hostname",
            "tls.certificate",
            "limits.recipients",
            "limits.imap_idle_seconds",
            "log.fromat"
        ]
    );
    for error in &errors {
        assert!(error.file.ends_with("vaguemestre.toml"), "{error}");
    }
    assert!(errors[0].expected.contains("found \"not a host\""), "{}", errors[0]);
    assert!(errors[0].expected.contains("e.g. \"mx.hopital.mssante.fr\""), "{}", errors[0]);
    assert!(errors[1].expected.contains("nowhere.pem"), "{}", errors[1]);
    assert!(errors[3].expected.contains("from 1800 to 86400"), "{}", errors[3]);
    assert!(errors[4].expected.contains("did you mean `log.format`?"), "{}", errors[4]);
}

#[test]
fn an_empty_file_names_every_needed_key() {
    let errors = Place::new().load(|_| String::new()).unwrap_err();
    let missing = keys_of(&errors);
    for key in KEYS.iter().filter(|key| key.need == Need::Required) {
        assert!(missing.contains(&key.name), "{} is not missed", key.name);
    }
}

#[test]
fn text_that_is_not_toml_is_one_error_with_its_line() {
    let errors = Place::new().load(|_| "[operator]\nname = \n".to_owned()).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].expected.starts_with("line 2: not TOML"), "{}", errors[0]);
}

#[test]
fn a_missing_file_is_one_error() {
    let errors = Config::load(Path::new("/nowhere/vaguemestre.toml")).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("/nowhere/vaguemestre.toml"));
}

#[test]
fn the_environment_goes_before_the_file() {
    let set = |name: &str, value: &str| (format!("VAGUEMESTRE__{name}"), value.to_owned());
    let environment = BTreeMap::from([
        set("OPERATOR__DOMAINS", "a.mssante.fr, b.mssante.fr"),
        set("LIMITS__RECIPIENTS", "250"),
        set("QUEUE__RETRY_SECONDS", "5,10"),
        set("LISTEN__HTTPS", "off"),
        set("LOG__LEVEL", ""),
    ]);
    let config = Place::new().load_with(|text| text, &environment).unwrap();
    let domains: Vec<&str> = config.operator.domains.iter().map(|d| d.as_str()).collect();
    assert_eq!(domains, ["a.mssante.fr", "b.mssante.fr"]);
    assert_eq!(config.limits.recipients, 250);
    assert_eq!(config.queue.retry.iter().map(|wait| wait.as_secs()).sum::<u64>(), 15);
    assert_eq!(config.listen.https, None);
    assert_eq!(config.log.level, "info");
}

#[test]
fn an_error_from_the_environment_names_the_variable() {
    let environment = BTreeMap::from([
        ("VAGUEMESTRE__LIMITS__RECIPIENTS".to_owned(), "all".to_owned()),
        ("VAGUEMESTRE__LOG__LEVL".to_owned(), "info".to_owned()),
    ]);
    let errors = Place::new().load_with(|text| text, &environment).unwrap_err();
    let files: Vec<&str> = errors.iter().map(|error| error.file.as_str()).collect();
    assert_eq!(
        files,
        ["environment VAGUEMESTRE__LIMITS__RECIPIENTS", "environment VAGUEMESTRE__LOG__LEVL"]
    );
}

#[test]
fn a_key_file_that_the_world_can_read_is_refused() {
    let place = Place::new();
    place.write("certs/operator.key.pem", &place.key, 0o644);
    place.write("master.key", "00", 0o640);
    let errors = place.load(|text| text).unwrap_err();
    assert_eq!(keys_of(&errors), ["mx.key", "storage.master_key"]);
    assert!(errors[0].expected.contains("has mode 644"), "{}", errors[0]);
}

#[test]
fn a_certificate_in_place_of_a_key_is_refused() {
    let place = Place::new();
    place.write("certs/operator.key.pem", &place.certificate, 0o600);
    assert_eq!(keys_of(&place.load(|text| text).unwrap_err()), ["mx.key"]);
}

#[test]
fn two_doors_at_one_address_are_refused() {
    let place = Place::new();
    let errors = place.errors("imap = \"0.0.0.0:143\"", "imap = \"127.0.0.1:587\"");
    assert_eq!(keys_of(&errors), ["listen.imap"]);
    assert!(errors[0].expected.contains("collides with listen.submission"), "{}", errors[0]);
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let place = Place::new();
    for (line, other, key) in [
        ("clear_octets = 536870912", "clear_octets = 26214400", "limits.clear_octets"),
        (
            "connections_per_address = 50",
            "connections_per_address = 5000",
            "limits.connections_per_address",
        ),
        ("retry_seconds = [60, 300, 900", "retry_seconds = [60, 30, 900", "queue.retry_seconds"),
        ("retry_seconds = [60, 300, 900", "retry_seconds = [0, 30, 900", "queue.retry_seconds"),
        ("give_up_seconds = 172800", "give_up_seconds = 60", "queue.give_up_seconds"),
        ("message_octets = 26214400", "message_octets = 25", "limits.message_octets"),
        ("message_octets = 26214400", "message_octets = -1", "limits.message_octets"),
        ("domains = [\"hopital.mssante.fr\"]", "domains = []", "operator.domains"),
        ("domains = [\"hopital.mssante.fr\"]", "domains = \"a.fr\"", "operator.domains"),
        (
            "citizen_domains = []",
            "citizen_domains = [\"hopital.mssante.fr\"]",
            "operator.citizen_domains",
        ),
        ("anchors = [\"certs/igc-sante.pem\"]", "anchors = []", "mx.anchors"),
        ("level = \"info\"", "level = \"loud\"", "log.level"),
        ("user = \"admin\"", "user = \"a b\"", "admin.user"),
    ] {
        let errors = place.errors(line, other);
        assert!(keys_of(&errors).contains(&key), "{other}: {errors:?}");
    }
}

#[test]
fn anchors_of_the_test_hierarchy_need_a_key_of_their_own() {
    let place = Place::new();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let name = "TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS";
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let test = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    place.write("certs/both.pem", &format!("{}{test}", place.certificate), 0o644);
    let both = |text: String| text.replace("[\"certs/igc-sante.pem\"]", "[\"certs/both.pem\"]");
    let errors = place.load(both).unwrap_err();
    for key in ["mx.anchors", "trust.signer_anchors"] {
        assert!(keys_of(&errors).contains(&key), "{errors:?}");
    }
    let told = errors.iter().map(ToString::to_string).collect::<String>();
    assert!(told.contains(name) && told.contains("mx.allow_test_authorities"), "{told}");
    let allowed = place.load(|text| {
        both(text).replace("allow_test_authorities = false", "allow_test_authorities = true")
    });
    assert!(allowed.unwrap().mx.allow_test_authorities);
}

#[test]
fn a_citizen_domain_is_always_a_patient_domain() {
    let place = Place::new();
    let config = place
        .load(|text| text.replace("citizen_domains = []", "citizen_domains = [\"p.mssante.test\"]"))
        .unwrap();
    let names: Vec<&str> = config.operator.patient_domains.iter().map(|d| d.as_str()).collect();
    assert_eq!(names, ["patient.mssante.fr", "p.mssante.test"]);
}

#[test]
fn routes_are_read_quoted_and_unquoted() {
    let place = Place::new();
    let lines = "[mx.routes]\n\"a.mssante.test\" = \"127.0.0.1:25\"\nb.mssante.test = \"h:2\"\n";
    let config = place.load(|text| text.replace("[mx.routes]\n", lines)).unwrap();
    let routes: Vec<String> =
        config.mx.routes.iter().map(|(domain, host)| format!("{domain} {host}")).collect();
    assert_eq!(routes, ["a.mssante.test 127.0.0.1:25", "b.mssante.test h:2"]);

    for bad in ["\"a.test\" = \"host\"", "\"a.test\" = \"host:0\"", "\"a b\" = \"h:1\"", "a = 1"] {
        let errors = place.errors("[mx.routes]\n", &format!("[mx.routes]\n{bad}\n"));
        assert_eq!(keys_of(&errors), ["mx.routes"], "{bad}");
    }
}

#[test]
fn a_missing_password_file_is_an_error_for_all_but_the_command_that_writes_it() {
    let place = Place::new();
    let errors = place.errors("# password_file = \"/etc/vaguemestre", "password_file = \"here");
    assert_eq!(keys_of(&errors), ["admin.password_file"]);
    let file = place.folder.path().join("vaguemestre.toml");
    let config = Config::load_before_first_password(&file).unwrap();
    assert!(config.admin.password_file.unwrap().ends_with("here/admin.passwd"));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let place = Place::new();
    place.write("certs/operator.key.pem", &certificate_and_key().1, 0o600);
    let errors = place.load(|text| text).unwrap_err();
    assert_eq!(keys_of(&errors), ["mx.key"]);
    assert!(errors[0].expected.contains("does not belong to mx.certificate"), "{}", errors[0]);
}

#[test]
fn a_file_with_a_broken_certificate_is_refused() {
    let place = Place::new();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    place.write("certs/igc-sante.pem", broken, 0o644);
    let errors = place.load(|text| text).unwrap_err();
    assert_eq!(keys_of(&errors), ["mx.anchors", "trust.signer_anchors"]);
}

#[test]
fn a_lost_master_key_is_an_error_and_not_a_reason_to_make_a_new_one() {
    let place = Place::new();
    assert!(place.load(|text| text).is_ok());
    place.write("data/truth.redb", "", 0o600);
    let errors = place.load(|text| text).unwrap_err();
    assert_eq!(keys_of(&errors), ["storage.master_key"]);
    assert!(errors[0].expected.contains("put the key back"), "{}", errors[0]);
    place.write("master.key", "00", 0o600);
    assert!(place.load(|text| text).is_ok());
}
