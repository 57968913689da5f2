//! The IMAP doors.
use std::sync::Arc;
use tokio::net::TcpListener;
use crate::flow::office::Office;
use crate::infra::net::Stop;

/// Which IMAP door a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImapDoor {
    /// Port 143: STARTTLS.
    Imap,
    /// Port 993: TLS from the first byte.
    Imaps,
}

/// Serves one door until the relay stops.
pub async fn serve(office: Arc<Office>, listener: TcpListener, door: ImapDoor, stop: Stop) { let _ = (office, listener, door, stop); todo!() }
