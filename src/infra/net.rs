//! Sockets and TLS, both ways: one provider, private anchors, deadlines.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use crate::domain::operator::OperatorDn;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why the network, or the material for TLS, failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A certificate or key file is missing or cannot be read as PEM.
    #[error("{file}: {reason}")]
    Material { /// Which file.
        file: String, /// What is wrong.
        reason: String },
    /// A TLS configuration was refused by the library.
    #[error("TLS: {0}")]
    Tls(String),
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {reason}")]
    Bind { /// Which address.
        address: SocketAddr, /// Why.
        reason: String },
    /// The peer's certificate cannot be read.
    #[error("certificate: {0}")]
    Certificate(String),
}

/// A certificate chain and its key, as PEM files gave them.
pub struct Identity { /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>, /// Private key.
    pub key: PrivateKeyDer<'static> }

/// Who a peer is by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Subject.
    pub subject: OperatorDn,
    /// Issuer.
    pub issuer: OperatorDn,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
}

impl Identity {
    /// Reads PEM files.
    pub fn load(certificate_file: &Path, key_file: &Path) -> Result<Self, NetError> { let _ = (certificate_file, key_file); todo!() }
}

/// Reads the anchors (CA certificates) of a list of PEM files.
pub fn load_anchors(files: &[std::path::PathBuf]) -> Result<Vec<CertificateDer<'static>>, NetError> { let _ = files; todo!() }
/// TLS for doors where people log in: no client certificate. TLS 1.2 (ECDHE+AEAD) and 1.3, resumption.
pub fn people_tls(identity: Identity) -> Result<Arc<rustls::ServerConfig>, NetError> { let _ = identity; todo!() }
/// TLS for the operators' door: a client certificate of the anchors is required.
pub fn operators_tls(identity: Identity, anchors: &[CertificateDer<'static>]) -> Result<Arc<rustls::ServerConfig>, NetError> { let _ = (identity, anchors); todo!() }
/// TLS towards other operators: our certificate is presented, the server's must chain to the
/// anchors. The server's *name* is not checked here: the trust list binds its DN instead.
pub fn towards_operators_tls(identity: Identity, anchors: &[CertificateDer<'static>]) -> Result<Arc<rustls::ClientConfig>, NetError> { let _ = (identity, anchors); todo!() }
/// Who the leaf certificate names.
pub fn peer_identity(leaf: &CertificateDer<'_>) -> Result<PeerIdentity, NetError> { let _ = leaf; todo!() }
/// Binds with SO_REUSEADDR and a backlog.
pub fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener, NetError> { let _ = address; todo!() }

/// Tells tasks to stop. Clone it into each.
#[derive(Clone, Debug)]
pub struct Stop(tokio::sync::watch::Receiver<bool>);

/// The one who says stop; dropping it says stop too.
#[derive(Debug)]
pub struct StopHandle(tokio::sync::watch::Sender<bool>);

impl Stop {
    /// A handle and the listener for it.
    pub fn new() -> (StopHandle, Self) {
        let (sender, receiver) = tokio::sync::watch::channel(false);
        (StopHandle(sender), Self(receiver))
    }
    /// Resolves when the relay stops.
    pub async fn stopped(&mut self) {
        let _ = self.0.wait_for(|stop| *stop).await;
    }
    /// True once the relay stops.
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow()
    }
}

impl StopHandle {
    /// Says stop.
    pub fn stop(&self) {
        let _ = self.0.send(true);
    }
}

/// The TLS configurations of one relay.
pub struct TlsSettings {
    /// Doors where people log in.
    pub people: Arc<rustls::ServerConfig>,
    /// The operators' door.
    pub operators: Arc<rustls::ServerConfig>,
    /// Towards other operators.
    pub towards_operators: Arc<rustls::ClientConfig>,
}
