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
    _leaf: &CertificateDer<'_>,
    _intermediates: &[CertificateDer<'_>],
    _anchors: &[CertificateDer<'static>],
    _purpose: Purpose,
    _now: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, String> {
    todo!()
}
