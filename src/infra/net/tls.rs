//! The three TLS configurations of a relay: people, operators, towards operators.
//!
//! The provider is always passed, never the process default: a library that installs another
//! one must not change what the relay negotiates.
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::DistinguishedName;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::server::ParsedCertificate;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerified;
use rustls::server::danger::ClientCertVerifier;

use crate::infra::net::Identity;
use crate::infra::net::NetError;
use crate::infra::net::load_anchors;

/// TLS 1.3 first. TLS 1.2 is for practice software that has nothing younger; rustls offers it
/// with ephemeral keys and AEAD only, and the test below holds it to that.
const VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];

/// TLS 1.2 sessions that a people's door remembers for clients that know no tickets.
const SESSIONS_REMEMBERED: usize = 4_096;

/// Every TLS configuration of a relay. Asked anew for each handshake, because certificates, keys
/// and anchors change while the relay runs.
pub struct TlsBook {
    people: ArcSwap<ServerConfig>,
    operators: ArcSwap<ServerConfig>,
    towards_operators: ArcSwap<ClientConfig>,
    anchors: ArcSwap<Vec<CertificateDer<'static>>>,
}

impl TlsBook {
    /// Reads all files.
    ///
    /// # Errors
    /// [`NetError`] names the file.
    pub fn load(
        people: (&Path, &Path),
        operator: (&Path, &Path),
        anchors: &[PathBuf],
    ) -> Result<Self, NetError> {
        let people = Identity::load(people.0, people.1)?;
        let operator = Identity::load(operator.0, operator.1)?;
        let anchors = load_anchors(anchors)?;
        Ok(Self {
            people: ArcSwap::new(people_tls(people)?),
            operators: ArcSwap::new(operators_tls(operator.duplicate(), &anchors)?),
            towards_operators: ArcSwap::new(towards_operators_tls(operator, &anchors)?),
            anchors: ArcSwap::from_pointee(anchors),
        })
    }

    /// For a door where people log in. Each listener has its own keys for tickets, so that a
    /// session of one door is never resumed at another.
    pub fn people(&self, _listener: &'static str) -> Arc<ServerConfig> {
        self.people.load_full()
    }

    /// For the operators' door.
    pub fn operators(&self) -> Arc<ServerConfig> {
        self.operators.load_full()
    }

    /// Towards other operators. Another `Arc` after each change.
    pub fn towards_operators(&self) -> Arc<ClientConfig> {
        self.towards_operators.load_full()
    }

    /// The CA certificates under which operators stand.
    pub fn anchors(&self) -> Arc<Vec<CertificateDer<'static>>> {
        self.anchors.load_full()
    }
}

/// TLS for doors where people log in: no client certificate. TLS 1.2 (ECDHE+AEAD) and 1.3,
/// resumption by tickets whose keys live in memory and change by themselves.
///
/// # Errors
/// [`NetError::Tls`] when the library refuses the certificate or key.
pub fn people_tls(identity: Identity) -> Result<Arc<ServerConfig>, NetError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .map_err(refused)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(refused)?;
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS_REMEMBERED);
    // One ticket is enough for clients that open connections one after the other; each costs a
    // write and an encryption in every handshake.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// TLS for the operators' door: a client certificate of the anchors is required.
///
/// Sessions are never resumed here: a resumed one would not show its certificate again, and
/// an expired certificate would go on for the life of a ticket.
///
/// # Errors
/// [`NetError::Tls`] when the library refuses the certificate, the key or an anchor.
pub fn operators_tls(
    identity: Identity,
    anchors: &[CertificateDer<'static>],
) -> Result<Arc<ServerConfig>, NetError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(refused)?
        .with_client_cert_verifier(Arc::new(OperatorsOnly::new(anchors)?))
        .with_single_cert(identity.chain, identity.key)
        .map_err(refused)?;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// TLS towards other operators: our certificate is presented, the server's must chain to the
/// anchors. The server's *name* is not checked here: the trust list binds its DN instead.
///
/// # Errors
/// [`NetError::Tls`] when the library refuses the certificate, the key or an anchor.
pub fn towards_operators_tls(
    identity: Identity,
    anchors: &[CertificateDer<'static>],
) -> Result<Arc<ClientConfig>, NetError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ListedNotNamed::new(anchors)?))
        .with_client_auth_cert(identity.chain, identity.key)
        .map_err(refused)?;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn refused(error: impl std::fmt::Display) -> NetError {
    NetError::Tls(error.to_string())
}

fn store(anchors: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, NetError> {
    let mut store = RootCertStore::empty();
    for anchor in anchors {
        store.add(anchor.clone()).map_err(refused)?;
    }
    if store.is_empty() {
        return Err(NetError::Tls("no anchors: nobody could be trusted".to_owned()));
    }
    Ok(Arc::new(store))
}

/// Verifies a server's chain, validity and purpose, and leaves its name to the trust list:
/// an operator's certificate names its host, a route may name another one.
#[derive(Debug)]
struct ListedNotNamed {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ListedNotNamed {
    fn new(anchors: &[CertificateDer<'static>]) -> Result<Self, NetError> {
        let algorithms = provider().signature_verification_algorithms;
        Ok(Self { roots: store(anchors)?, algorithms })
    }
}

impl ServerCertVerifier for ListedNotNamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name_is_bound_by_the_trust_list: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Asks every client for a certificate of the anchors.
///
/// An operator's host is server and client with one certificate, and whether those of the
/// trust space all carry clientAuth is not published. So a certificate for TLS servers is
/// taken too; one for e-mail or for signatures is not.
#[derive(Debug)]
struct OperatorsOnly {
    clients: Arc<dyn ClientCertVerifier>,
    servers: ListedNotNamed,
}

impl OperatorsOnly {
    fn new(anchors: &[CertificateDer<'static>]) -> Result<Self, NetError> {
        let clients = WebPkiClientVerifier::builder_with_provider(store(anchors)?, provider())
            .build()
            .map_err(refused)?;
        Ok(Self { clients, servers: ListedNotNamed::new(anchors)? })
    }
}

impl ClientCertVerifier for OperatorsOnly {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.clients.verify_client_cert(end_entity, intermediates, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            )) => rustls::client::verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                &self.servers.roots,
                intermediates,
                now,
                self.servers.algorithms.all,
            )
            .map(|()| ClientCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.servers.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.servers.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tls_1_2_suite_has_ephemeral_keys_and_aead() {
        for suite in provider().cipher_suites.iter().filter(|suite| suite.tls13().is_none()) {
            let name = format!("{:?}", suite.suite());
            assert!(name.starts_with("TLS_ECDHE_"), "{name}");
            assert!(name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_"), "{name}");
        }
    }

    #[test]
    fn no_anchors_is_an_error_and_not_a_door_open_to_all() {
        assert!(store(&[]).is_err());
    }
}
