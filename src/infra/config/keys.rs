//! Every key of the configuration, whether it must be set, and what it expects.

/// Whether a key must be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The relay cannot start without it.
    Required,
    /// The code has a default, which `config/vaguemestre.toml` shows.
    Default,
    /// It may be left out, and then something is switched off.
    Optional,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Dotted, e.g. `mx.certificate`.
    pub(super) name: &'static str,
    /// Whether it must be set.
    pub(super) need: Need,
    /// What it expects, with unit and example; ends an error text.
    pub(super) expects: &'static str,
}

const fn required(name: &'static str, expects: &'static str) -> Key {
    Key { name, need: Need::Required, expects }
}

const fn default(name: &'static str, expects: &'static str) -> Key {
    Key { name, need: Need::Default, expects }
}

const fn optional(name: &'static str, expects: &'static str) -> Key {
    Key { name, need: Need::Optional, expects }
}

const DOOR: &str = "an address and a port, e.g. \"0.0.0.0:587\" or \"[::1]:587\", or \"off\"";
const CHAIN: &str = "a readable PEM file with the certificate chain, leaf first";
const KEY: &str = "a PEM file with the private key, not readable by others (chmod 640 or 600)";
const ANCHORS: &str = "a list of one or more readable PEM files with CA certificates, \
                       e.g. [\"certs/racine.pem\"]";
const SECONDS: &str = "a whole number of seconds, e.g. 300";

/// All keys, in the order of the annotated file.
pub(super) const KEYS: &[Key] = &[
    required("operator.name", "a short name of 1 to 64 characters, e.g. \"hopital\""),
    required("operator.hostname", "a host name, e.g. \"mx.hopital.mssante.fr\""),
    required(
        "operator.domains",
        "a list of one or more mail domains, e.g. [\"hopital.mssante.fr\"]",
    ),
    default("operator.citizen_domains", "a list of mail domains, e.g. [\"patient.mssante.fr\"]"),
    default("operator.patient_domains", "a list of mail domains, e.g. [\"patient.mssante.fr\"]"),
    default(
        "operator.patient_service_mailboxes",
        "a list of local parts (what stands before the @), e.g. [\"reponse.automatique-test\"]",
    ),
    optional("listen.submission", DOOR),
    optional("listen.submissions", DOOR),
    optional("listen.mx", DOOR),
    optional("listen.imap", DOOR),
    optional("listen.imaps", DOOR),
    optional("listen.https", DOOR),
    optional("listen.metrics", DOOR),
    required("tls.certificate", CHAIN),
    required("tls.key", KEY),
    required("mx.certificate", CHAIN),
    required("mx.key", KEY),
    required("mx.anchors", ANCHORS),
    default(
        "mx.routes",
        "a table of \"domain\" = \"host:port\", e.g. \"cabinet.mssante.fr\" = \"192.0.2.7:25\"",
    ),
    required("trust.list", "a readable file with the signed list of operators (XML)"),
    required("trust.signer_anchors", ANCHORS),
    optional("trust.signer_common_name", "the signer's CN, e.g. \"alb.mssante.fr\""),
    optional("trust.signer_email", "the signer's mail address, e.g. \"alb@mssante.fr\""),
    default("trust.refresh_seconds", "a whole number of seconds from 1 to 86400, e.g. 3600"),
    required(
        "storage.data_dir",
        "a folder that exists, or whose parent exists, e.g. \"/var/lib/vaguemestre\"",
    ),
    required(
        "storage.master_key",
        "a file that only its owner may read (chmod 600), or a path in an existing folder: \
         then the first start makes the key",
    ),
    default("limits.message_octets", "a whole number of octets from 65536 to 1073741824"),
    // RFC 5321 §4.5.3.1.8: a server must be able to take at least 100 recipients.
    default("limits.recipients", "a whole number from 100 to 10000"),
    default("limits.connections", "a whole number from 1 to 100000"),
    default(
        "limits.connections_per_address",
        "a whole number from 1 to 100000, at most limits.connections",
    ),
    default(
        "limits.clear_octets",
        "a whole number of octets up to 1099511627776, at least twice limits.message_octets",
    ),
    default("limits.logins_failed_per_minute", "a whole number from 1 to 1000000"),
    default("limits.command_seconds", SECONDS),
    default("limits.line_seconds", SECONDS),
    default("limits.data_seconds", SECONDS),
    // RFC 3501 §5.4: an autologout timer must be at least 30 minutes.
    default("limits.imap_idle_seconds", "a whole number of seconds from 1800 to 86400"),
    default(
        "queue.retry_seconds",
        "a list of one or more waits in seconds, none shorter than the one before it, \
         e.g. [60, 300, 900]",
    ),
    default(
        "queue.give_up_seconds",
        "a whole number of seconds up to 2592000 (30 days), \
         longer than the first wait of queue.retry_seconds",
    ),
    default("log.format", "\"pretty\" or \"json\""),
    default("log.level", "\"error\", \"warn\", \"info\" or \"debug\""),
    default("admin.user", "a login name of 1 to 64 characters without spaces, e.g. \"admin\""),
    optional(
        "admin.password_file",
        "a file that `vaguemestre admin passwd` wrote and that only its owner may read \
         (chmod 600)",
    ),
];

/// What a key expects.
pub(super) fn expects(name: &str) -> &'static str {
    KEYS.iter().find(|key| key.name == name).map_or("a known key", |key| key.expects)
}

/// True for `listen`, `mx`…
pub(super) fn is_section(name: &str) -> bool {
    sections().any(|section| section == name)
}

fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(|key| key.name.split_once('.').map(|(section, _)| section))
}

/// The known key that `name` was perhaps meant to be.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    KEYS.iter()
        .map(|key| key.name)
        .chain(sections().filter(|_| !name.contains('.')))
        .map(|known| {
            // A key under the wrong section is as near as a slip of the finger.
            let moved = if last(known) == last(name) { 2 } else { usize::MAX };
            (distance(name, known).min(moved), known)
        })
        .min()
        .filter(|(steps, _)| *steps <= 3 && *steps * 2 < name.len())
        .map(|(_, known)| known)
}

/// How many letters must be put in, taken out or exchanged (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, other) in right.iter().enumerate() {
            let exchanged = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = exchanged.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(nearest("mx.certifcate"), Some("mx.certificate"));
        assert_eq!(nearest("limits.message_octet"), Some("limits.message_octets"));
        assert_eq!(nearest("operator.data_dir"), Some("storage.data_dir"));
        assert_eq!(nearest("listn"), Some("listen"));
        assert_eq!(nearest("weather.tomorrow"), None);
    }
}
