//! The SMTP doors: sockets, TLS and timeouts around `proto::smtp::session`.
//!
//! `listener` lets callers in, `conversation` does what the session says, `wire` moves octets,
//! `desk` is all that a conversation asks of the flow.
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::flow::office::Office;
use crate::infra::net::Stop;

mod conversation;
pub mod desk;
mod listener;
mod wire;

pub use listener::attend;
pub use listener::serve_at;

/// Which SMTP door a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpDoor {
    /// Port 587: STARTTLS, then AUTH.
    Submission,
    /// Port 465: TLS from the first byte, then AUTH (RFC 8314 §3.3).
    Submissions,
    /// Port 25: STARTTLS with both certificates.
    Mx,
}

impl SmtpDoor {
    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submission => "submission",
            Self::Submissions => "submissions",
            Self::Mx => "mx",
        }
    }
}

/// Serves one door until the relay stops; then open sessions get 421 and a moment to finish.
pub async fn serve(office: Arc<Office>, listener: TcpListener, door: SmtpDoor, stop: Stop) {
    serve_at(Arc::new(desk::FrontDesk::new(office)), listener, door, stop).await;
}
