//! The SMTP doors: sockets, TLS and timeouts around `proto::smtp::session`.
use std::sync::Arc;
use tokio::net::TcpListener;
use crate::flow::office::Office;
use crate::infra::net::Stop;

/// Which SMTP door a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpDoor {
    /// Port 587: STARTTLS, then AUTH.
    Submission,
    /// Port 465: TLS from the first byte, then AUTH.
    Submissions,
    /// Port 25: STARTTLS with both certificates.
    Mx,
}

/// Serves one door until the relay stops; then open sessions get 421 and a moment to finish.
pub async fn serve(office: Arc<Office>, listener: TcpListener, door: SmtpDoor, stop: Stop) { let _ = (office, listener, door, stop); todo!() }
