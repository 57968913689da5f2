//! The TLS configurations of a relay: people, operators, towards operators, towards servers.
//!
//! The provider is always passed, never the process default: a library that installs another
//! one must not change what the relay negotiates.
use std::sync::Arc;

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
use rustls::server::danger::ClientCertVerified;
use rustls::server::danger::ClientCertVerifier;

use crate::infra::net::Identity;
use crate::infra::net::NetError;

/// TLS 1.3 first. TLS 1.2 is for practice software that has nothing younger; rustls offers it
/// with ephemeral keys and AEAD only, and the test below holds it to that.
const VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];

/// TLS 1.2 sessions that a people's door remembers for clients that know no tickets.
const SESSIONS_REMEMBERED: usize = 4_096;

/// TLS for doors where people log in: no client certificate. TLS 1.2 (ECDHE+AEAD) and 1.3,
/// resumption by tickets whose keys live in memory and change by themselves.
///
/// # Errors
/// [`NetError::Tls`] when the library refuses the certificate or key.
pub fn people_tls(identity: Identity) -> Result<Arc<ServerConfig>, NetError> {
    people_tls_asking(identity, &[])
}

/// The same, for doors where software may show a certificate of one of these authorities instead
/// of logging in with a password. As at the operators' door, the handshake only makes sure that
/// the client holds its key; whoever relies on it judges it first, with
/// [`TlsBook::judge_software`](super::TlsBook::judge_software). Without authorities nothing is
/// asked for.
///
/// # Errors
/// [`NetError::Tls`] when the library refuses the certificate, the key or an anchor.
pub fn people_tls_asking(
    identity: Identity,
    software: &[CertificateDer<'static>],
) -> Result<Arc<ServerConfig>, NetError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(refused)?;
    let builder = match software {
        [] => builder.with_no_client_auth(),
        anchors => builder.with_client_cert_verifier(Arc::new(AskedNotJudged::new(anchors)?)),
    };
    let mut config = builder.with_single_cert(identity.chain, identity.key).map_err(refused)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(refused)?;
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS_REMEMBERED);
    // One ticket is enough for clients that open connections one after the other; each costs a
    // write and an encryption in every handshake.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// TLS for the operators' door: a client certificate is asked for, and judged by nobody here.
///
/// The handshake makes sure that the peer holds the key of the certificate that it shows, and
/// takes any certificate, or none. The judgement comes right after it, at EHLO, by
/// [`verified_path`](super::verified_path): then a peer without a certificate, or with an expired,
/// self-signed or foreign one, reads a sentence and its reason is kept. A handshake could only
/// send an alert, of which the peer's administrator sees "handshake failure", and with TLS 1.3 not
/// even that: the client's handshake is over before the server has looked.
///
/// Sessions are never resumed here: no tickets, no memory. A resumed session would not show its
/// certificate again, so an expired or revoked one would go on for the life of a ticket. A whole
/// handshake costs a millisecond, and operators keep their connections open.
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
        .with_client_cert_verifier(Arc::new(AskedNotJudged::new(anchors)?))
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

/// TLS towards a server of our own house, an LDAP directory say: its certificate chains to these
/// anchors, and to no public CA, and names the host. Ours is shown when there is one.
///
/// # Errors
/// [`NetError::Tls`] when the library refuses an anchor, the certificate or the key.
pub fn towards_servers_tls(
    identity: Option<Identity>,
    anchors: &[CertificateDer<'static>],
) -> Result<Arc<ClientConfig>, NetError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(refused)?
        .with_root_certificates(store(anchors)?);
    Ok(Arc::new(match identity {
        Some(ours) => config.with_client_auth_cert(ours.chain, ours.key).map_err(refused)?,
        None => config.with_no_client_auth(),
    }))
}

/// What binds a login to this very connection: `EXPORTER-Channel-Binding` (RFC 9266 §2). `None`
/// before TLS 1.3: older versions need an extension (RFC 9266 §4.2) that nobody here asks about.
pub fn channel_binding(connection: &rustls::ServerConnection) -> Option<[u8; 32]> {
    if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return None;
    }
    connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()
}

/// What a client showed in the handshake, leaf first. Nobody has judged it yet.
pub fn shown(connection: &rustls::ServerConnection) -> Vec<CertificateDer<'static>> {
    let certificates = connection.peer_certificates().unwrap_or_default();
    certificates.iter().map(|each| each.clone().into_owned()).collect()
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

/// Asks every client for a certificate, and names the anchors so that it picks the right one.
/// What is shown is not judged here; see [`operators_tls`].
#[derive(Debug)]
struct AskedNotJudged {
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AskedNotJudged {
    fn new(anchors: &[CertificateDer<'static>]) -> Result<Self, NetError> {
        let algorithms = provider().signature_verification_algorithms;
        Ok(Self { hints: store(anchors)?.subjects(), algorithms })
    }
}

impl ClientCertVerifier for AskedNotJudged {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _judged_at_ehlo: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
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
