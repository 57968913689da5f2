//! What it costs to judge an operator, beside the handshake that brings its certificate.
//!
//! In one run, in turns: (a) plain mutual TLS as the library does it, chain verified inside the
//! handshake; (b) ours: any certificate gets through the handshake, and is then judged: path to an
//! anchor, dates, purpose, names, and a list of 5,000 domains. As in a relay that runs, operators
//! come back: 100 of them call in turn, and what was verified at their first call counts. Both ends are in memory, so that no
//! kernel and no network is measured. The server's own time is what the target is about: no more
//! than 5 % above plain. `cargo bench --bench handshakes`, `-- quick` for a short look.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "its tables are its result")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::server::WebPkiClientVerifier;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::domain::operator::TrustList;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::net::Identity;
use vaguemestre::infra::net::Judgements;
use vaguemestre::infra::net::Purpose;
use vaguemestre::infra::net::operators_tls;
use vaguemestre::infra::net::towards_operators_tls;
use vaguemestre::infra::trust::TrustSpace;

const DOMAINS: usize = 5_000;
const ROUNDS: usize = 20;
const HANDSHAKES_A_ROUND: usize = 500;
/// How many operators call in turn: no cache is to be measured with one single peer.
const OPERATORS: usize = 100;

fn main() {
    let quick = std::env::args().any(|argument| argument == "quick");
    let each = if quick { HANDSHAKES_A_ROUND / 10 } else { HANDSHAKES_A_ROUND };
    println!(
        "| keys | protocol | plain, µs of the server | ours | more | spread over {ROUNDS} rounds |"
    );
    println!("|---|---|---|---|---|---|");
    for (keys, rsa) in [("P-256", false), ("RSA-2048", true)] {
        let space = Space::new(rsa);
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let figures = space.measure(version, each);
            println!(
                "| {keys} | {:?} | {:.1} | {:.1} | {:+.1} % | {:+.1} % to {:+.1} % |",
                version.version,
                figures.plain,
                figures.ours,
                figures.median,
                figures.least,
                figures.most
            );
        }
    }
}

/// Medians over the rounds; percentages are of ours above plain.
struct Figures {
    plain: f64,
    ours: f64,
    median: f64,
    least: f64,
    most: f64,
}

struct Space {
    anchors: Vec<CertificateDer<'static>>,
    peers: Vec<Identity>,
    plain: Arc<ServerConfig>,
    ours: Arc<ServerConfig>,
    judgements: Judgements,
    trust: TrustSpace,
    domains: Vec<Domain>,
}

impl Space {
    fn new(rsa: bool) -> Self {
        let key = || match rsa {
            true => KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap(),
            false => KeyPair::generate().unwrap(),
        };
        let authority = |name: &str| {
            let mut parameters = CertificateParams::new(Vec::new()).unwrap();
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            parameters.distinguished_name.push(DnType::CommonName, name);
            parameters
        };
        let (root, between) = (authority("BENCH ROOT"), authority("BENCH ORGANISATIONS"));
        let (root_key, between_key) = (key(), key());
        let anchor = root.self_signed(&root_key).unwrap().der().clone();
        let root = Issuer::new(root, root_key);
        let link = between.signed_by(&between_key, &root).unwrap().der().clone();
        let issuer = Issuer::new(between, between_key);
        let leaf = |number: usize| {
            let host = format!("mx{number}.operateur.mssante.test");
            let mut parameters = CertificateParams::new(vec![host.clone()]).unwrap();
            parameters.distinguished_name.remove(DnType::CommonName);
            for (attribute, value) in subject(number) {
                parameters.distinguished_name.push(attribute, value);
            }
            parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            parameters.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let key = key();
            let certificate = parameters.signed_by(&key, &issuer).unwrap().der().clone();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            Identity { chain: vec![certificate, link.clone()], key }
        };
        let peers: Vec<Identity> = (0..OPERATORS).map(leaf).collect();
        let own = leaf(OPERATORS);
        let anchors = vec![anchor];
        let plain = plain(own.duplicate(), &anchors);
        let ours = operators_tls(own, &anchors).unwrap();
        let judgements = Judgements::new(Arc::new(anchors.clone()));
        let domains =
            (0..OPERATORS).map(|number| Domain::parse(&domain(number)).unwrap()).collect();
        Self { trust: trust(), anchors, peers, plain, ours, judgements, domains }
    }

    fn measure(&self, version: &'static rustls::SupportedProtocolVersion, each: usize) -> Figures {
        let clients: Vec<Arc<ClientConfig>> =
            self.peers.iter().map(|peer| self.client(peer, version)).collect();
        let plain = |number: usize| {
            let (_, spent) = shake(&self.plain, &clients[number % OPERATORS]);
            spent
        };
        let ours = |number: usize| {
            let (server, spent) = shake(&self.ours, &clients[number % OPERATORS]);
            let began = Instant::now();
            self.judge(&server, number % OPERATORS);
            spent + began.elapsed()
        };
        // Caches and branch predictors get warm before anything counts.
        (0..each).for_each(|number| _ = (plain(number), ours(number)));
        let mut rounds: Vec<(f64, f64)> = Vec::new();
        for _ in 0..ROUNDS {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            // In turns, one by one: what slows the machine down slows both.
            for number in 0..each {
                one.push(plain(number).as_secs_f64() * 1e6);
                other.push(ours(number).as_secs_f64() * 1e6);
            }
            // The middle one of a round: a handshake in which the kernel let somebody else work
            // says nothing about either.
            let middle = |all: Vec<f64>| median(&sorted(all.into_iter()));
            rounds.push((middle(one), middle(other)));
        }
        let more: Vec<f64> =
            sorted(rounds.iter().map(|(plain, ours)| (ours / plain - 1.0) * 100.0));
        Figures {
            plain: median(&sorted(rounds.iter().map(|round| round.0))),
            ours: median(&sorted(rounds.iter().map(|round| round.1))),
            median: median(&more),
            least: more[0],
            most: more[more.len() - 1],
        }
    }

    /// What the door does at EHLO and MAIL.
    fn judge(&self, server: &ServerConnection, number: usize) {
        let chain = server.peer_certificates().unwrap();
        let now = SystemClock.now();
        let purpose = Purpose::Client { or_server: true };
        let judged = self.judgements.judge(chain, purpose, now).unwrap();
        assert_eq!(judged.path.len(), 3);
        self.trust.judge_peer(&judged.facts.subject, None).unwrap();
        self.trust.judge_peer(&judged.facts.subject, Some(&self.domains[number])).unwrap();
    }

    fn client(
        &self,
        peer: &Identity,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        // Ours, with one version only; the verifier that it uses stays.
        let full = towards_operators_tls(peer.duplicate(), &self.anchors).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.anchors[0].clone()).unwrap();
        let peer = peer.duplicate();
        let mut config = ClientConfig::builder_with_provider(Arc::clone(full.crypto_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(peer.chain, peer.key)
            .unwrap();
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }
}

/// Mutual TLS as the library offers it, and nothing is resumed, as with ours.
fn plain(identity: Identity, anchors: &[CertificateDer<'static>]) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.clone()).unwrap();
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(identity.chain, identity.key)
        .unwrap();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// One whole handshake, and the server's time in it.
fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> (ServerConnection, Duration) {
    let name = ServerName::try_from("mx100.operateur.mssante.test").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let began = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut spent = began.elapsed();
    let mut wire = Vec::with_capacity(16_384);
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let began = Instant::now();
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut answer = Vec::with_capacity(16_384);
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        spent += began.elapsed();
        let mut unread = answer.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    (server, spent)
}

fn subject(number: usize) -> [(DnType, String); 5] {
    [
        (DnType::CountryName, "FR".to_owned()),
        (DnType::StateOrProvinceName, "Paris (75)".to_owned()),
        (DnType::OrganizationName, format!("CENTRE HOSPITALIER {number}")),
        (DnType::OrganizationalUnitName, format!("31800350{number:07}")),
        (DnType::CommonName, format!("mx{number}.operateur.mssante.test")),
    ]
}

fn domain(number: usize) -> String {
    format!("etablissement{number}.mssante.test")
}

/// A list of the size of the real one; each operator speaks for many domains.
fn trust() -> TrustSpace {
    let short = ["C", "ST", "O", "OU", "CN"];
    let dn = |number: usize| {
        OperatorDn::new(short.into_iter().zip(subject(number).map(|(_, value)| value)))
    };
    let entry =
        |number: usize| (Domain::parse(&domain(number)).unwrap(), [dn(number % OPERATORS)].into());
    let domains: BTreeMap<_, _> = (0..DOMAINS).map(entry).collect();
    TrustSpace::fixed(TrustList { generated: Timestamp::from_seconds(1_795_300_000), domains })
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}
