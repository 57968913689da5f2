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

const SOURCE: &str = "a readable file, or the https:// address where it is published";
const TRUTH: &str = "true or false";

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
    optional("listen.pop3", DOOR),
    optional("listen.pop3s", DOOR),
    optional("listen.managesieve", DOOR),
    optional("listen.ldap", DOOR),
    optional("listen.ldaps", DOOR),
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
    default("mx.lookup", TRUTH),
    default("mx.port", "a port from 1 to 65535, e.g. 25"),
    default("mx.accept_server_certificates", TRUTH),
    default("mx.allow_test_authorities", TRUTH),
    default(
        "dns.servers",
        "a list of addresses and ports, e.g. [\"192.0.2.53:53\"]; empty for the system's",
    ),
    required(
        "trust.list",
        "a readable file with the signed list of operators (XML), or the https:// address where \
         it is published",
    ),
    optional("trust.server_anchors", ANCHORS),
    required("trust.signer_anchors", ANCHORS),
    optional("trust.signer_common_name", "the signer's CN, e.g. \"alb.mssante.fr\""),
    optional("trust.signer_email", "the signer's mail address, e.g. \"alb@mssante.fr\""),
    default("trust.refresh_seconds", "a whole number of seconds from 1 to 86400, e.g. 3600"),
    default("trust.accept_expired_signer", TRUTH),
    default("trust.removals_percent", "a whole number from 0 to 100, e.g. 5"),
    default("trust.age_warning_seconds", "a whole number of seconds up to 2592000 (30 days)"),
    default(
        "trust.age_alarm_seconds",
        "a whole number of seconds up to 2592000 (30 days), not below trust.age_warning_seconds",
    ),
    default("trust.age_limit_seconds", "a whole number of seconds up to 31536000; 0 for no limit"),
    default("revocation.mode", "\"required\", \"if-available\" or \"off\""),
    default("revocation.crl_files", "a list of readable files with CRLs, PEM or DER"),
    default("revocation.crl", TRUTH),
    default("revocation.ocsp", TRUTH),
    default("revocation.timeout_seconds", "a whole number of seconds from 1 to 120"),
    default("revocation.refresh_seconds", "a whole number of seconds from 1 to 604800"),
    default("revocation.grace_seconds", "a whole number of seconds up to 604800"),
    default(
        "certs.warn_days",
        "a list of one or more whole numbers of days up to 365, falling, e.g. [60, 30, 7]",
    ),
    default("certs.watch_seconds", "a whole number of seconds from 1 to 86400"),
    required(
        "storage.data_dir",
        "a folder that exists, or whose parent exists, e.g. \"/var/lib/vaguemestre\"",
    ),
    required(
        "storage.master_key",
        "a file that only its owner may read (chmod 600), or a path in an existing folder (then \
         the first start makes the key), or \"credential:NAME\", or \
         \"pkcs11:token=…;object=…?module-path=/…&pin-source=file:/…\"",
    ),
    default(
        "storage.master_keys_old",
        "a list of earlier master keys, each in a form of storage.master_key, e.g. \
         [\"/etc/vaguemestre/master-1.key\"]",
    ),
    default("storage.lock_memory", "\"try\", \"require\" or \"off\""),
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
    default("imap.without", "a list of capability names, e.g. [\"NOTIFY\"]"),
    default("imap.compress", TRUTH),
    default("mailboxes.quota_octets", "a whole number of octets, e.g. 10737418240; 0: no limit"),
    default("mailboxes.quota_messages", "a whole number of messages, e.g. 1000000; 0: no limit"),
    default("mailboxes.retention_seconds", "a whole number of seconds from 0 to 316224000"),
    default("mailboxes.shared_seen", TRUTH),
    default("sieve.vacation_seconds_min", "a whole number of seconds from 60 to 31536000"),
    default("sieve.redirects_max", "a whole number from 0 to 50"),
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
    default("queue.jitter_percent", "a whole number from 0 to 50"),
    default(
        "queue.delay_notice_seconds",
        "a whole number of seconds up to 2592000 (30 days); 0 for no notice",
    ),
    default("queue.per_destination", "a whole number from 1 to 1000, at most queue.at_once"),
    default("queue.at_once", "a whole number from 1 to 10000"),
    default("queue.own_passes", "a whole number from 1 to 100"),
    default(
        "service.within_seconds",
        "a table of \"document code\" = seconds, \"*\" for every letter, \
         e.g. \"11502-2\" = 600",
    ),
    default("documents.inspect", TRUTH),
    default("documents.warn_sender", TRUTH),
    default("documents.refuse_mismatch", TRUTH),
    default("trace.keep_days", "a whole number of days from 1 to 3650"),
    default("log.format", "\"pretty\" or \"json\""),
    default("log.level", "\"error\", \"warn\", \"info\" or \"debug\""),
    default(
        "login.mechanisms",
        "a list of SASL mechanisms among PLAIN, LOGIN, SCRAM-SHA-256, SCRAM-SHA-256-PLUS, XOAUTH2, \
         OAUTHBEARER and EXTERNAL",
    ),
    default(
        "login.directories",
        "a list of \"local\", \"ldap\" and \"oidc\", in the order in which they are asked",
    ),
    default("login.passwords_on_clients", TRUTH),
    default("login.cache_seconds", "a whole number of seconds up to 86400; 0 for no cache"),
    default("login.directory_grace_seconds", "a whole number of seconds up to 604800; 0 for none"),
    default("login.token_session_seconds", "a whole number of seconds from 1 to 86400"),
    default("login.token_idle_seconds", "a whole number of seconds from 1 to 86400"),
    default("login.second_factor", "\"off\", \"optional\" or \"required\""),
    default("login.client_anchors", "a list of readable PEM files with CA certificates"),
    default(
        "login.certificates",
        "a table of \"subject or SAN of a certificate\" = \"mailbox\", \
         e.g. \"CN=labo,OU=1750000001,O=HOPITAL,C=FR\" = \"labo@hopital.mssante.fr\"",
    ),
    default(
        "ldap.servers",
        "a list of ldaps:// or ldap:// addresses, e.g. [\"ldaps://ldap1.hopital.fr\"]",
    ),
    default("ldap.start_tls", TRUTH),
    default("ldap.anchors", "a list of readable PEM files with CA certificates"),
    optional("ldap.certificate", CHAIN),
    optional("ldap.key", KEY),
    optional("ldap.bind_dn", "a distinguished name, e.g. \"cn=relay,dc=hopital,dc=fr\""),
    optional(
        "ldap.bind_password_file",
        "a file with the password that only its owner may read (chmod 600)",
    ),
    default("ldap.base", "a distinguished name, e.g. \"ou=people,dc=hopital,dc=fr\""),
    default("ldap.filter", "an LDAP filter in which {name} stands for the login name"),
    default("ldap.groups", "a list of distinguished names of groups, one of which is needed"),
    default("ldap.member_attribute", "an attribute name, e.g. \"member\""),
    default("ldap.address_attribute", "an attribute name, e.g. \"mail\""),
    default("ldap.name_attribute", "an attribute name, e.g. \"displayName\""),
    optional("ldap.national_id_attribute", "an attribute name, e.g. \"rpps\""),
    default("ldap.timeout_seconds", "a whole number of seconds from 1 to 120"),
    default("ldap.connections", "a whole number from 2 to 100"),
    optional("oidc.issuer", "an https:// address, as the tokens' `iss` says it"),
    default(
        "oidc.discovery",
        "a path below the issuer, or an https:// address, \
         e.g. \"/.well-known/wallet-openid-configuration\"",
    ),
    default("oidc.anchors", "a list of readable PEM files with CA certificates"),
    optional("oidc.client_id", "a client identifier"),
    optional(
        "oidc.client_secret_file",
        "a file with the secret that only its owner may read (chmod 600)",
    ),
    default("oidc.audiences", "a list of texts, one of which `aud` must have; empty: not checked"),
    default("oidc.clients", "a list of texts, one of which `azp` must be; empty: not checked"),
    default("oidc.algorithms", "a list among RS256, RS384, RS512, PS256, ES256, ES384 and EdDSA"),
    default("oidc.acr", "a list of texts, one of which `acr` must be; empty: not checked"),
    default("oidc.types", "a list of texts, one of which `typ` must be; empty: not checked"),
    default("oidc.validation", "\"signature\", \"introspection\" or \"both\""),
    default("oidc.subject_claim", "the name of a claim, e.g. \"SubjectNameID\""),
    default("oidc.scope", "a text of scopes, e.g. \"openid scope_all\""),
    default(
        "oidc.acr_values",
        "a text for the authorisation request, e.g. \"eidas1\"; may be empty",
    ),
    default("oidc.skew_seconds", "a whole number of seconds up to 600"),
    default("oidc.timeout_seconds", "a whole number of seconds from 1 to 120"),
    optional("web.public_url", "the https:// address of the pages, without a path"),
    optional("directory.extraction", SOURCE),
    optional("directory.people", SOURCE),
    default("directory.anchors", "a list of readable PEM files with CA certificates"),
    default("directory.refresh_seconds", "a whole number of seconds from 60 to 604800"),
    default("directory.shrink_percent", "a whole number from 0 to 100"),
    default("directory.age_warning_seconds", "a whole number of seconds up to 31536000"),
    default("directory.age_alarm_seconds", "a whole number of seconds up to 31536000"),
    default("directory.departments", "a list of department codes, e.g. [\"75\", \"2A\"]"),
    optional(
        "fhir.url",
        "an https:// address, e.g. \"https://gateway.api.esante.gouv.fr/fhir/v2\"",
    ),
    optional("fhir.key_file", "a file with the API key that only its owner may read (chmod 600)"),
    default("fhir.anchors", "a list of readable PEM files with CA certificates"),
    default("fhir.per_second", "a whole number from 1 to 1000"),
    default("fhir.timeout_seconds", "a whole number of seconds from 1 to 120"),
    default("addressbook.base", "a distinguished name, e.g. \"dc=mssante,dc=fr\""),
    default("addressbook.anonymous", TRUTH),
    default("addressbook.results_max", "a whole number from 1 to 1000"),
    default("publish.mode", "\"off\", \"file\" or \"api\""),
    optional("publish.folder", "a folder that exists"),
    optional("publish.url", "an https:// address"),
    optional(
        "publish.key_file",
        "a file with the API key that only its owner may read (chmod 600)",
    ),
    default("publish.anchors", "a list of readable PEM files with CA certificates"),
    default("openpgp.inbound", TRUTH),
    default("openpgp.originals", "a folder's name in ASCII, up to 200 characters, or \"\""),
    default("openpgp.outbound", "\"require\", \"prefer\" or \"never\""),
    default(
        "openpgp.policies",
        "a list of \"domain=policy\" or \"address=policy\", e.g. [\"cabinet.mssante.fr=require\"]",
    ),
    default("openpgp.protected_subject", "a text in ASCII, up to 200 characters, e.g. \"[...]\""),
    default("openpgp.sign", "\"no\", \"sender\" or \"organisation\""),
    default("openpgp.sign_clear", TRUTH),
    default("openpgp.smime_anchors", "a list of readable PEM files with CA certificates"),
    default("openpgp.threads", TRUTH),
    default("life.inactive_days", "a whole number of days from 1 to 366"),
    default(
        "life.notice_days",
        "a list of one or more whole numbers of days, falling, below life.inactive_days",
    ),
    default("life.closing_days", "a whole number of days up to 3660"),
    default(
        "life.four_eyes",
        "a list of actions among close, delete, bulk, grant, holder, shred and factors",
    ),
    default("audit.retention_days", "a whole number of days from 1 to 36500"),
    default("escrow.drill_days", "a whole number of days from 1 to 3660"),
    default("setup.autoconfig", TRUTH),
    default("setup.mta_sts", "\"off\", \"testing\" or \"enforce\""),
    default("setup.mta_sts_seconds", "a whole number of seconds from 86400 to 31557600"),
    optional("openpgp.ldap_attribute", "an attribute name, e.g. \"pgpKey\""),
    default("openpgp.ldap_address_attribute", "an attribute name, e.g. \"mail\""),
    optional("openpgp.ldap_base", "a distinguished name, e.g. \"ou=contacts,dc=hopital,dc=fr\""),
    default("openpgp.sources", "a list of \"ldap\" and \"wkd\", in their order"),
    default("openpgp.overlap_days", "a whole number of days from 1 to 3660"),
    default("openpgp.publish_hidden", TRUTH),
    default("openpgp.refresh_seconds", "a whole number of seconds from 60 to 2592000 (30 days)"),
    default(
        "openpgp.renew_before_days",
        "a whole number of days from 1 to 3660, below openpgp.validity_days",
    ),
    optional("openpgp.service_address", "a local part (what stands before the @), e.g. \"cles\""),
    default("openpgp.validity_days", "a whole number of days up to 36600; 0: they never end"),
    default("openpgp.wkd", TRUTH),
    optional("openpgp.wkd_anchors", ANCHORS),
    default("openpgp.wkd_domains", "a list of mail domains, e.g. [\"clinique.example\"]"),
    default("openpgp.wkd_port", "a port from 1 to 65535, e.g. 443"),
    default("openpgp.wkd_private_addresses", TRUTH),
    default("admin.user", "a login name of 1 to 64 characters without spaces, e.g. \"admin\""),
    optional(
        "admin.password_file",
        "a file that `vaguemestre admin passwd` wrote and that only its owner may read \
         (chmod 600)",
    ),
    optional(
        "admin.alerts_to",
        "a mail address of this relay, e.g. \"equipe-ssi@hopital.mssante.fr\"",
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
