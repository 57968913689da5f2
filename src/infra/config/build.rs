//! Values to types, and what must hold between them. Goes on after each error, so that an
//! administrator mends everything at once.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use config::ValueKind;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::limits;
use crate::infra::config::Admin;
use crate::infra::config::Certs;
use crate::infra::config::Config;
use crate::infra::config::ConfigError;
use crate::infra::config::Dns;
use crate::infra::config::Documents;
use crate::infra::config::Imap;
use crate::infra::config::Limits;
use crate::infra::config::ListSource;
use crate::infra::config::Listen;
use crate::infra::config::Log;
use crate::infra::config::MailboxRules;
use crate::infra::config::Mx;
use crate::infra::config::Operator;
use crate::infra::config::Queue;
use crate::infra::config::Revocation;
use crate::infra::config::RevocationMode;
use crate::infra::config::Service;
use crate::infra::config::Sieve;
use crate::infra::config::Tls;
use crate::infra::config::Trace;
use crate::infra::config::Trust;
use crate::infra::config::files;
use crate::infra::config::keys;
use crate::infra::config::read::Found;
use crate::proto::imap::feature::Feature;

/// Seconds in a day, the longest of most waits.
pub(in crate::infra::config) const DAY: u64 = 86_400;

/// A configuration in the making: complete only when nothing is wrong.
pub(super) struct Built {
    pub(super) config: Option<Config>,
    pub(super) errors: Vec<ConfigError>,
}

impl Built {
    /// The configuration, or everything that is wrong with it.
    pub(super) fn finish(self) -> Result<Config, Vec<ConfigError>> {
        match self.config {
            Some(config) if self.errors.is_empty() => Ok(config),
            _ => Err(self.errors),
        }
    }
}

/// Reads every key, then checks what must hold between keys.
pub(super) fn build(found: Found) -> Built {
    let mut reader = Reader { found };
    let config = reader.config();
    if let Some(config) = &config {
        reader.doors_are_distinct(&config.listen);
        reader.limits_fit_together(config);
        reader.no_key_is_made_beside_old_mail(&config.storage);
    }
    let mut errors = reader.found.errors;
    errors.sort_by_key(|error| {
        keys::KEYS.iter().position(|key| key.name == error.key).unwrap_or(usize::MAX)
    });
    Built { config, errors }
}

pub(in crate::infra::config) struct Reader {
    pub(in crate::infra::config) found: Found,
}

impl Reader {
    /// `None` when a value is missing or has the wrong form; its error is noted. Every key is
    /// read before the first `?`, so that no error hides another.
    fn config(&mut self) -> Option<Config> {
        let operator = self.operator();
        let listen = self.listen();
        let tls = self.tls();
        let mx = self.mx();
        let dns = self.dns();
        let trust = self.trust();
        let revocation = self.revocation();
        let certs = self.certs();
        let storage = self.storage();
        let limits = self.limits();
        let imap = self.imap();
        let mailboxes = self.mailboxes();
        let sieve = self.sieve();
        let queue = self.queue();
        let service = self.service();
        let documents = self.documents();
        let trace = self.trace();
        let log = self.log();
        let login = self.login();
        let ldap = self.ldap();
        let oidc = self.oidc();
        let web = self.web();
        let directory = self.directory();
        let fhir = self.fhir();
        let addressbook = self.addressbook();
        let publish = self.publish();
        let gateway = self.gateway();
        let life = self.life();
        let custody = self.custody();
        let setup = self.setup();
        let openpgp = self.openpgp();
        let admin = self.admin();
        Some(Config {
            operator: operator?,
            listen: listen?,
            tls: tls?,
            mx: mx?,
            dns: dns?,
            trust: trust?,
            revocation: revocation?,
            certs: certs?,
            storage: storage?,
            limits: limits?,
            imap: imap?,
            mailboxes: mailboxes?,
            sieve: sieve?,
            queue: queue?,
            service: service?,
            documents: documents?,
            trace: trace?,
            log: log?,
            login: login?,
            ldap: ldap?,
            oidc: oidc?,
            web: web?,
            directory: directory?,
            fhir: fhir?,
            addressbook: addressbook?,
            publish: publish?,
            gateway: gateway?,
            life: life?,
            custody: custody?,
            setup: setup?,
            openpgp: openpgp?,
            admin: admin?,
        })
    }

    fn operator(&mut self) -> Option<Operator> {
        let name = self.required("operator.name", |text| {
            let length = text.trim().chars().count();
            (1..=64).contains(&length).then(|| text.trim().to_owned())
        });
        let hostname = self.required("operator.hostname", |text| Domain::parse(text).ok());
        let domains = self.domains("operator.domains", Vec::new());
        let citizen_domains = self.domains("operator.citizen_domains", Vec::new());
        let patient_domains = self.domains("operator.patient_domains", national_patient_domain());
        let patient_service_mailboxes = self.list(
            "operator.patient_service_mailboxes",
            &["reponse.automatique-test"],
            |text| {
                Address::parse(&format!("{text}@patient.mssante.fr"))
                    .ok()
                    .map(|address| address.local_part().to_owned())
            },
        );
        let (domains, citizen_domains) = (domains?, citizen_domains?);
        if domains.is_empty() && self.found.values.contains_key("operator.domains") {
            self.wrong("operator.domains", "the list is empty");
        }
        let mut patient_domains = patient_domains?;
        for citizen_domain in &citizen_domains {
            if domains.contains(citizen_domain) {
                let reason = format!("{citizen_domain} is in operator.domains too");
                self.wrong("operator.citizen_domains", &reason);
            }
            if !patient_domains.contains(citizen_domain) {
                patient_domains.push(citizen_domain.clone());
            }
        }
        if let Some(ours) = patient_domains.iter().find(|domain| domains.contains(domain)) {
            let reason = format!("{ours} is in operator.domains too");
            self.wrong("operator.patient_domains", &reason);
        }
        Some(Operator {
            name: name?,
            hostname: hostname?,
            domains,
            citizen_domains,
            patient_domains,
            patient_service_mailboxes: patient_service_mailboxes?,
        })
    }

    fn listen(&mut self) -> Option<Listen> {
        Some(Listen {
            submission: self.door("listen.submission"),
            submissions: self.door("listen.submissions"),
            mx: self.door("listen.mx"),
            imap: self.door("listen.imap"),
            imaps: self.door("listen.imaps"),
            pop3: self.door("listen.pop3"),
            pop3s: self.door("listen.pop3s"),
            managesieve: self.door("listen.managesieve"),
            ldap: self.door("listen.ldap"),
            ldaps: self.door("listen.ldaps"),
            https: self.door("listen.https"),
            metrics: self.door("listen.metrics"),
        })
    }

    fn tls(&mut self) -> Option<Tls> {
        let (certificate, key) = self.identity("tls.certificate", "tls.key");
        Some(Tls { certificate: certificate?, key: key? })
    }

    fn mx(&mut self) -> Option<Mx> {
        let (certificate, key) = self.identity("mx.certificate", "mx.key");
        let anchors = self.anchors("mx.anchors");
        let routes = self.routes("mx.routes");
        let lookup = self.truth("mx.lookup", true);
        let port = self.number("mx.port", 25, 1, 65_535);
        let accept_server_certificates = self.truth("mx.accept_server_certificates", true);
        let allow_test_authorities = self.truth("mx.allow_test_authorities", false);
        Some(Mx {
            allow_test_authorities: allow_test_authorities?,
            certificate: certificate?,
            key: key?,
            anchors: anchors?,
            routes: routes?,
            lookup: lookup?,
            port: u16::try_from(port?).ok()?,
            accept_server_certificates: accept_server_certificates?,
        })
    }

    fn dns(&mut self) -> Option<Dns> {
        let servers = self.list("dns.servers", &[], |text| text.parse().ok());
        Some(Dns { servers: servers? })
    }

    /// A file, or an address to fetch from. In clear only from this machine: the signature would
    /// still protect the list, but not who learns that we fetch it, nor a stale copy.
    fn list_source(&mut self) -> Option<ListSource> {
        let text = self.required("trust.list", |text| Some(text.to_owned()))?;
        if !text.contains("://") {
            let file = self.file("trust.list", |path| files::readable(path).map(|_| ()));
            return file.map(ListSource::File);
        }
        let loopback = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
        let is_local = loopback
            .iter()
            .any(|start| text.strip_prefix(start).is_some_and(|rest| rest.starts_with([':', '/'])));
        if !is_local && !text.starts_with("https://") {
            self.wrong("trust.list", "the address does not begin with https://");
            return None;
        }
        Some(ListSource::Url(text))
    }

    fn trust(&mut self) -> Option<Trust> {
        let list = self.list_source();
        let signer_anchors = self.anchors("trust.signer_anchors");
        let signer_common_name = self.optional("trust.signer_common_name", |text| {
            let name = text.trim();
            (!name.is_empty() && name.chars().count() <= 256).then(|| name.to_owned())
        });
        let signer_email = self.optional("trust.signer_email", |text| {
            Address::parse(text).ok().map(|address| address.to_string())
        });
        let set = |found: &Found, key: &str| found.values.contains_key(key);
        if !set(&self.found, "trust.signer_common_name") && !set(&self.found, "trust.signer_email")
        {
            self.missing(
                "trust.signer_common_name",
                "or trust.signer_email is needed: otherwise any certificate under \
                 trust.signer_anchors could sign the list",
            );
        }
        let refresh = self.seconds("trust.refresh_seconds", limits::TRUST_REFRESH_DEFAULT, DAY);
        let server_anchors = match set(&self.found, "trust.server_anchors") {
            true => self.anchors("trust.server_anchors"),
            false => signer_anchors.clone(),
        };
        let accept_expired_signer = self.truth("trust.accept_expired_signer", false);
        let removals_percent = self.number("trust.removals_percent", 5, 0, 100);
        let age_warning =
            self.seconds("trust.age_warning_seconds", limits::TRUST_AGE_WARNING_DEFAULT, 30 * DAY);
        let age_alarm =
            self.seconds("trust.age_alarm_seconds", limits::TRUST_AGE_ALARM_DEFAULT, 30 * DAY);
        let age_limit = self.switchable("trust.age_limit_seconds", Duration::ZERO, 365 * DAY);
        Some(Trust {
            list: list?,
            server_anchors: server_anchors?,
            accept_expired_signer: accept_expired_signer?,
            removals_percent: removals_percent?,
            age_warning: age_warning?,
            age_alarm: age_alarm?,
            age_limit: age_limit?,
            signer_anchors: signer_anchors?,
            signer_common_name,
            signer_email,
            refresh: refresh?,
        })
    }

    fn revocation(&mut self) -> Option<Revocation> {
        let mode = self.text_or("revocation.mode", "required", |text| match text {
            "required" => Some(RevocationMode::Required),
            "if-available" => Some(RevocationMode::IfAvailable),
            "off" => Some(RevocationMode::Off),
            _ => None,
        });
        let crl_files = self.files("revocation.crl_files");
        let crl = self.truth("revocation.crl", true);
        let ocsp = self.truth("revocation.ocsp", true);
        let timeout =
            self.seconds("revocation.timeout_seconds", limits::REVOCATION_TIMEOUT_DEFAULT, 120);
        let refresh =
            self.seconds("revocation.refresh_seconds", limits::REVOCATION_REFRESH_DEFAULT, 7 * DAY);
        let grace = self.number(
            "revocation.grace_seconds",
            limits::REVOCATION_GRACE_DEFAULT.as_secs(),
            0,
            7 * DAY,
        );
        Some(Revocation {
            mode: mode?,
            crl_files: crl_files?,
            crl: crl?,
            ocsp: ocsp?,
            timeout: timeout?,
            refresh: refresh?,
            grace: Duration::from_secs(grace?),
        })
    }

    fn certs(&mut self) -> Option<Certs> {
        let warn_days =
            self.numbers("certs.warn_days", &limits::EXPIRY_WARNING_DAYS_DEFAULT, |days| {
                (1..=10).contains(&days.len())
                    && days.iter().all(|day| (1..=365).contains(day))
                    && days.is_sorted_by(|one, next| one > next)
            });
        let watch = self.seconds("certs.watch_seconds", limits::CERTS_WATCH_DEFAULT, DAY);
        Some(Certs { warn_days: warn_days?, watch: watch? })
    }

    fn limits(&mut self) -> Option<Limits> {
        let message_octets = self.number(
            "limits.message_octets",
            limits::MESSAGE_OCTETS_MAX_DEFAULT,
            65_536,
            1_073_741_824,
        );
        let recipients =
            self.count("limits.recipients", limits::RECIPIENTS_MAX_DEFAULT, 100, 10_000);
        let connections =
            self.count("limits.connections", limits::CONNECTIONS_MAX_DEFAULT, 1, 100_000);
        let connections_per_address = self.count(
            "limits.connections_per_address",
            limits::CONNECTIONS_PER_ADDRESS_MAX_DEFAULT,
            1,
            100_000,
        );
        let clear_octets = self.number(
            "limits.clear_octets",
            limits::CLEAR_OCTETS_MAX_DEFAULT,
            131_072,
            1_099_511_627_776,
        );
        let logins_failed_per_minute = self.number(
            "limits.logins_failed_per_minute",
            u64::from(limits::LOGINS_FAILED_PER_MINUTE_DEFAULT),
            1,
            1_000_000,
        );
        let command = self.seconds("limits.command_seconds", limits::SMTP_COMMAND_TIMEOUT, DAY);
        let line = self.seconds("limits.line_seconds", limits::LINE_TIMEOUT, DAY);
        let data = self.seconds("limits.data_seconds", limits::DATA_TIMEOUT, DAY);
        let imap_idle = self.number(
            "limits.imap_idle_seconds",
            limits::IMAP_IDLE_TIMEOUT.as_secs(),
            // RFC 3501 §5.4
            1_800,
            DAY,
        );
        Some(Limits {
            message_octets: message_octets?,
            recipients: recipients?,
            connections: connections?,
            connections_per_address: connections_per_address?,
            clear_octets: clear_octets?,
            logins_failed_per_minute: u32::try_from(logins_failed_per_minute?).ok()?,
            command: command?,
            line: line?,
            data: data?,
            imap_idle: Duration::from_secs(imap_idle?),
        })
    }

    fn imap(&mut self) -> Option<Imap> {
        let without = self.list("imap.without", &[], |text| {
            let feature = Feature::parse(text).filter(|feature| *feature != Feature::Imap4Rev1)?;
            Some(feature.name().to_ascii_uppercase())
        });
        let compress = self.truth("imap.compress", false);
        Some(Imap { without: without?, compress: compress? })
    }

    fn mailboxes(&mut self) -> Option<MailboxRules> {
        let quota_octets = self.number("mailboxes.quota_octets", 0, 0, 1 << 50);
        let quota_messages = self.number("mailboxes.quota_messages", 0, 0, u64::from(u32::MAX));
        let retention = self.number("mailboxes.retention_seconds", 0, 0, 3_660 * DAY);
        let shared_seen = self.truth("mailboxes.shared_seen", false);
        Some(MailboxRules {
            quota_octets: Some(quota_octets?).filter(|octets| *octets > 0),
            quota_messages: Some(quota_messages?).filter(|messages| *messages > 0),
            retention: Duration::from_secs(retention?),
            shared_seen: shared_seen?,
        })
    }

    fn sieve(&mut self) -> Option<Sieve> {
        let vacation = self.number("sieve.vacation_seconds_min", DAY, 60, 365 * DAY);
        let redirects = self.number("sieve.redirects_max", 4, 0, 50);
        Some(Sieve {
            vacation_min: Duration::from_secs(vacation?),
            redirects_max: usize::try_from(redirects?).ok()?,
        })
    }

    fn queue(&mut self) -> Option<Queue> {
        let retry = self.waits("queue.retry_seconds");
        let give_up = self.seconds("queue.give_up_seconds", limits::GIVE_UP_DEFAULT, 30 * DAY);
        let jitter_percent = self.number("queue.jitter_percent", 20, 0, 50);
        let delay_notice =
            self.switchable("queue.delay_notice_seconds", limits::DELAY_NOTICE_DEFAULT, 30 * DAY);
        let per_destination = self.count(
            "queue.per_destination",
            limits::DELIVERIES_PER_DESTINATION_DEFAULT,
            1,
            1_000,
        );
        let at_once = self.count("queue.at_once", limits::DELIVERIES_AT_ONCE_DEFAULT, 1, 10_000);
        let own_passes = self.count("queue.own_passes", limits::OWN_PASSES_DEFAULT, 1, 100);
        Some(Queue {
            retry: retry?,
            give_up: give_up?,
            jitter_percent: jitter_percent?,
            delay_notice: delay_notice?,
            per_destination: per_destination?,
            at_once: at_once?,
            own_passes: own_passes?,
        })
    }

    fn service(&mut self) -> Option<Service> {
        let key = "service.within_seconds";
        let mut within = BTreeMap::new();
        for (code, kind) in self.table(key)? {
            let seconds = match kind {
                ValueKind::I64(number) => u64::try_from(number).ok(),
                _ => None,
            };
            let is_code = code == "*"
                || (!code.is_empty()
                    && code.len() <= limits::DOCUMENT_CODE_OCTETS_MAX
                    && code.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c)));
            match seconds.filter(|seconds| (1..=30 * DAY).contains(seconds)) {
                Some(seconds) if is_code => {
                    within.insert(code, Duration::from_secs(seconds));
                }
                _ => self.wrong(key, &format!("\"{code}\" is not a code with its seconds")),
            }
        }
        Some(Service { within })
    }

    fn documents(&mut self) -> Option<Documents> {
        let inspect = self.truth("documents.inspect", true);
        let warn_sender = self.truth("documents.warn_sender", false);
        let refuse_mismatch = self.truth("documents.refuse_mismatch", false);
        Some(Documents {
            inspect: inspect?,
            warn_sender: warn_sender?,
            refuse_mismatch: refuse_mismatch?,
        })
    }

    fn trace(&mut self) -> Option<Trace> {
        let days = self.number("trace.keep_days", limits::TRACE_KEEP_DAYS_DEFAULT, 1, 3_650);
        Some(Trace { keep: Duration::from_secs(days? * DAY) })
    }

    fn log(&mut self) -> Option<Log> {
        let json = self.text_or("log.format", "pretty", |text| match text {
            "pretty" => Some(false),
            "json" => Some(true),
            _ => None,
        });
        let level = self.text_or("log.level", "info", |text| {
            ["error", "warn", "info", "debug"].contains(&text).then(|| text.to_owned())
        });
        Some(Log { json: json?, level: level? })
    }

    fn admin(&mut self) -> Option<Admin> {
        let user = self.text_or("admin.user", "admin", |text| {
            let plain = text.chars().all(|c| c.is_ascii_graphic() && c != ':');
            ((1..=64).contains(&text.len()) && plain).then(|| text.to_owned())
        });
        let password_file = self
            .found
            .values
            .contains_key("admin.password_file")
            .then(|| self.file("admin.password_file", files::owners_only));
        let alerts_to = self.optional("admin.alerts_to", |text| Address::parse(text).ok());
        Some(Admin { user: user?, password_file: password_file.flatten(), alerts_to })
    }

    /// The same address twice would fail at start, when mail stops; say it now.
    fn doors_are_distinct(&mut self, listen: &Listen) {
        let doors = [
            ("listen.submission", listen.submission),
            ("listen.submissions", listen.submissions),
            ("listen.mx", listen.mx),
            ("listen.imap", listen.imap),
            ("listen.imaps", listen.imaps),
            ("listen.pop3", listen.pop3),
            ("listen.pop3s", listen.pop3s),
            ("listen.managesieve", listen.managesieve),
            ("listen.ldap", listen.ldap),
            ("listen.ldaps", listen.ldaps),
            ("listen.https", listen.https),
            ("listen.metrics", listen.metrics),
        ];
        let open: Vec<(&str, SocketAddr)> =
            doors.iter().filter_map(|(key, address)| Some((*key, (*address)?))).collect();
        if open.is_empty() && !self.found.errors.iter().any(|e| e.key.starts_with("listen.")) {
            self.missing("listen.submission", "or another door is needed: all doors are closed");
        }
        for (place, (key, address)) in open.iter().enumerate() {
            for (other, taken) in &open[..place] {
                if collide(*address, *taken) {
                    let reason = format!("{address} collides with {other} = \"{taken}\"");
                    self.wrong(key, &reason);
                }
            }
        }
    }

    fn limits_fit_together(&mut self, config: &Config) {
        if config.limits.connections_per_address > config.limits.connections {
            self.wrong("limits.connections_per_address", "more than limits.connections");
        }
        // The clear text of a letter is there twice for a moment: as it came and as a buffer
        // of the sealer. With less, the largest letter could never be taken.
        if config.limits.clear_octets < config.limits.message_octets.saturating_mul(2) {
            let reason = format!(
                "{} octets are less than twice limits.message_octets = {}",
                config.limits.clear_octets, config.limits.message_octets
            );
            self.wrong("limits.clear_octets", &reason);
        }
        if config.trust.age_alarm < config.trust.age_warning {
            self.wrong("trust.age_alarm_seconds", "below trust.age_warning_seconds");
        }
        if config.queue.per_destination > config.queue.at_once {
            self.wrong("queue.per_destination", "more than queue.at_once");
        }
        if let Some(address) = &config.admin.alerts_to
            && !config.operator.domains.contains(address.domain())
        {
            self.wrong(
                "admin.alerts_to",
                &format!("{} is not in operator.domains", address.domain()),
            );
        }
        if config.queue.retry.first().is_some_and(|first| config.queue.give_up <= *first) {
            self.wrong("queue.give_up_seconds", "a letter would be returned before its second try");
        }
    }
}

/// Where every patient of the country has an inbox.
fn national_patient_domain() -> Vec<Domain> {
    Domain::parse("patient.mssante.fr").into_iter().collect()
}

/// Two sockets that cannot both be bound. Port 0 asks for any free port.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (everywhere || one.ip() == other.ip())
}
