//! Letters towards another operator, over real TCP and TLS, to a server that follows a script.
#[path = "outbound/chance.rs"]
mod chance;
#[path = "outbound/chunks.rs"]
mod chunks;
#[path = "outbound/cuts.rs"]
mod cuts;
#[path = "outbound/dns.rs"]
mod dns;
#[path = "outbound/hosts.rs"]
mod hosts;
#[path = "outbound/nameserver.rs"]
mod nameserver;
#[path = "outbound/doubts.rs"]
mod doubts;
#[path = "outbound/letters.rs"]
mod letters;
#[path = "outbound/records.rs"]
mod records;
#[path = "outbound/tls.rs"]
mod tls;
#[path = "outbound/pool.rs"]
mod pool;
#[path = "outbound/relay.rs"]
mod relay;
#[path = "outbound/server.rs"]
mod server;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use vaguemestre::demo::pki::DemoOperator;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::address::ReversePath;
use vaguemestre::domain::delivery::MailHost;
use vaguemestre::domain::envelope::MailParameters;
use vaguemestre::domain::envelope::RcptParameters;
use vaguemestre::domain::envelope::Recipient;
use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::domain::status::EnhancedStatus;
use vaguemestre::flow::deliver::operator::Demands;
use vaguemestre::flow::deliver::operator::HandedOver;
use vaguemestre::flow::deliver::operator::Handover;
use vaguemestre::flow::deliver::operator::HandoverResult;
use vaguemestre::flow::deliver::operator::Outcome;
use vaguemestre::flow::deliver::operator::hand_over;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::net::Identity;
use vaguemestre::infra::net::load_anchors;
use vaguemestre::infra::net::operators_tls;
use vaguemestre::infra::net::towards_operators_tls;
use vaguemestre::infra::revocation::Mode;
use vaguemestre::infra::revocation::Revocation;
use vaguemestre::infra::revocation::Settings;

use server::Script;
use server::Server;

const LETTER: &str = "From: a@hopital.test\r\nSubject: x\r\n\r\nbody\r\n";

/// Two operators of one trust space: we are the hospital, the practice is the server.
struct Space {
    /// Holds the files as long as the space is used.
    _folder: tempfile::TempDir,
    pki: DemoPki,
    anchors: Vec<rustls::pki_types::CertificateDer<'static>>,
    revocation: Revocation,
    clock: Box<dyn Clock>,
}

/// A letter with everything that the tests change.
struct Letter {
    reverse_path: ReversePath,
    parameters: MailParameters,
    recipients: Vec<Recipient>,
    content: Vec<u8>,
    timeout: Duration,
}

impl Space {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let operators = [hospital(), practice()];
        let host = IpAddr::from([127, 0, 0, 1]);
        let pki = DemoPki::create(folder.path(), &operators, host, SystemClock.now()).unwrap();
        let anchors = load_anchors(&[pki.ca_file()]).unwrap();
        let revocation = Revocation::new(Settings {
            mode: Mode::Off,
            crl_files: Vec::new(),
            crl: false,
            ocsp: false,
            timeout: Duration::from_secs(1),
            refresh: Duration::from_secs(60),
            grace: Duration::ZERO,
            kept: folder.path().join("crls"),
        });
        Self { _folder: folder, pki, anchors, revocation, clock: Box::new(SystemClock) }
    }

    fn identity(&self, operator: &DemoOperator) -> Identity {
        let files = self.pki.mx(operator);
        Identity::load(&files.certificate, &files.key).unwrap()
    }

    fn client(&self) -> Arc<rustls::ClientConfig> {
        towards_operators_tls(self.identity(&hospital()), &self.anchors).unwrap()
    }

    async fn server(&self, script: Script) -> Server {
        let tls = operators_tls(self.identity(&practice()), &self.anchors).unwrap();
        Server::start(tls, script).await
    }

    fn handover<'a>(
        &'a self,
        hosts: &'a [MailHost],
        letter: &'a Letter,
        tls: Arc<rustls::ClientConfig>,
        is_listed: &'a (dyn Fn(&OperatorDn) -> bool + Sync),
    ) -> Handover<'a> {
        Handover {
            hosts,
            client_name: "mx.hopital.test",
            tls,
            demands: Demands {
                is_listed,
                anchors: Arc::new(self.anchors.clone()),
                revocation: &self.revocation,
                clock: self.clock.as_ref(),
            },
            reverse_path: &letter.reverse_path,
            parameters: &letter.parameters,
            recipients: &letter.recipients,
            content: &letter.content,
            timeout: letter.timeout,
        }
    }

    async fn send(&self, server: &Server, letter: &Letter) -> Vec<Outcome> {
        let listed = DemoPki::mx_dn(&practice());
        self.send_with(server, letter, self.client(), &|peer| *peer == listed).await
    }

    async fn send_with(
        &self,
        server: &Server,
        letter: &Letter,
        tls: Arc<rustls::ClientConfig>,
        is_listed: &(dyn Fn(&OperatorDn) -> bool + Sync),
    ) -> Vec<Outcome> {
        let hosts = server.hosts();
        let HandedOver { outcomes, .. } =
            hand_over(self.handover(&hosts, letter, tls, is_listed)).await;
        assert_eq!(outcomes.len(), letter.recipients.len(), "one outcome a recipient");
        outcomes
    }
}

impl Letter {
    fn to(recipients: &[&str]) -> Self {
        Self {
            reverse_path: ReversePath::Address(address("a@hopital.test")),
            parameters: MailParameters::default(),
            recipients: recipients.iter().map(|text| recipient(text)).collect(),
            content: LETTER.as_bytes().to_vec(),
            timeout: Duration::from_secs(20),
        }
    }

    fn saying(content: impl Into<Vec<u8>>) -> Self {
        Self { content: content.into(), ..Self::to(&["b@cabinet.test"]) }
    }
}

fn hospital() -> DemoOperator {
    DemoOperator {
        name: "hopital".to_owned(),
        hostname: Domain::parse("mx.hopital.test").unwrap(),
        structure: "1990000101".to_owned(),
        organisation: "HOPITAL DEMO".to_owned(),
    }
}

fn practice() -> DemoOperator {
    DemoOperator {
        name: "cabinet".to_owned(),
        hostname: Domain::parse("mx.cabinet.test").unwrap(),
        structure: "1990000202".to_owned(),
        organisation: "CABINET DEMO".to_owned(),
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn recipient(text: &str) -> Recipient {
    Recipient { address: address(text), parameters: RcptParameters::default() }
}

fn results(outcomes: &[Outcome]) -> Vec<HandoverResult> {
    outcomes.iter().map(|outcome| outcome.result).collect()
}

fn put_off(subject: u16, detail: u16) -> HandoverResult {
    HandoverResult::PutOff(EnhancedStatus(4, subject, detail))
}

fn refused(subject: u16, detail: u16) -> HandoverResult {
    HandoverResult::Refused(EnhancedStatus(5, subject, detail))
}
