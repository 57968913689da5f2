//! From a certificate to an anchor, outside a handshake.
use rustls::pki_types::CertificateDer;

use crate::domain::time::Timestamp;

/// What a certificate must be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A TLS client. `or_server`: one for servers only passes too (`mx.accept_server_certificates`).
    Client {
        /// See above.
        or_server: bool,
    },
    /// A TLS server.
    Server,
}

/// The path from `leaf` to one of `anchors`, both included, when chain, dates and purpose are
/// good at `now`. Names are not looked at: the trust list does that.
///
/// # Errors
/// What is wrong, for people: expired since when, not yet valid, unknown issuer, other purpose.
pub fn verified_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'static>],
    purpose: Purpose,
    now: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut roots = rustls::RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.clone()).map_err(|error| error.to_string())?;
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let roots = std::sync::Arc::new(roots);
    let at = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        now.as_seconds(),
    ));
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(
        std::sync::Arc::clone(&roots),
        provider,
    )
    .build()
    .map_err(|error| error.to_string())?;
    let as_server = || {
        let parsed = rustls::server::ParsedCertificate::try_from(leaf)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &roots,
            intermediates,
            at,
            algorithms.all,
        )
    };
    let as_client = || {
        clients
            .verify_client_cert(leaf, intermediates, at)
            .map(|_: rustls::server::danger::ClientCertVerified| ())
    };
    let verdict = match purpose {
        Purpose::Server => as_server(),
        Purpose::Client { or_server } => as_client().or_else(|error| match or_server {
            true => as_server(),
            false => Err(error),
        }),
    };
    verdict.map_err(|error| error.to_string())?;
    let mut path = vec![leaf.clone().into_owned()];
    path.extend(intermediates.iter().map(|each| each.clone().into_owned()));
    Ok(path)
}
