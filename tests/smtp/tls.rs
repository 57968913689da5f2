//! A small PKI, made anew for each run: nothing secret lies in the repository.
use std::sync::Arc;
use std::sync::LazyLock;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;

/// The host name of the door.
pub(super) const HOST: &str = "mx.hopital.mssante.test";

/// Certificates of both sides.
pub(super) struct Pki {
    roots: Arc<RootCertStore>,
    server: (CertificateDer<'static>, PrivateKeyDer<'static>),
    operator: (CertificateDer<'static>, PrivateKeyDer<'static>),
    stranger: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

/// Whose certificate a client shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    Nothing,
    /// Of the trust list's operator.
    Listed,
    /// Of the same authority, in no list.
    Unlisted,
}

pub(super) static PKI: LazyLock<Pki> = LazyLock::new(Pki::new);

impl Pki {
    fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "TEST authority");
        let key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(authority, key);
        let issue = |name: &str| {
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            (certificate.der().clone(), key)
        };
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        Self {
            roots: Arc::new(roots),
            server: issue(HOST),
            operator: issue("mx.cabinet.mssante.test"),
            stranger: issue("mx.stranger.test"),
        }
    }

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(aws_lc_rs::default_provider())
    }

    /// For people, or for operators.
    pub(super) fn server(&self, for_operators: bool) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Self::provider())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if for_operators {
            let roots = Arc::clone(&self.roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Self::provider())
                .allow_unauthenticated()
                .build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = &self.server;
        Arc::new(builder.with_single_cert(vec![certificate.clone()], key.clone_key()).unwrap())
    }

    pub(super) fn client(&self, shows: Shows) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Self::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots));
        let identity = match shows {
            Shows::Nothing => return Arc::new(builder.with_no_client_auth()),
            Shows::Listed => &self.operator,
            Shows::Unlisted => &self.stranger,
        };
        let (certificate, key) = (identity.0.clone(), identity.1.clone_key());
        Arc::new(builder.with_client_auth_cert(vec![certificate], key).unwrap())
    }

    /// The certificate of the listed operator.
    pub(super) fn listed(&self) -> &CertificateDer<'static> {
        &self.operator.0
    }
}
