//! The ManageSieve door (RFC 5804): people's programs put filters here. Nothing but STARTTLS is
//! done in clear.
mod line; // octets and deadlines
mod session; // the dialogue

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::Instrument;

use crate::domain::limits;
use crate::flow::office::Office;
use crate::infra::net::Stop;
use crate::infra::net::limit::ConnectionLimits;
use crate::server::managesieve::line::Line;
use crate::server::managesieve::session::Ending;
use crate::server::managesieve::session::Session;

/// Its name in metrics, logs and certificates.
const DOOR: &str = "managesieve";
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the door until the relay stops; then open sessions get a BYE and a moment to hear it.
pub async fn serve(office: Arc<Office>, listener: TcpListener, mut stop: Stop) {
    let limits = &office.config.limits;
    let gate = ConnectionLimits::new(limits.connections, limits.connections_per_address);
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(ended) = sessions.join_next() => {
                log_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, door = DOOR, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = gate.admit(peer.ip()) else {
            tracing::info!(door = DOOR, "too many connections; one is turned away");
            let _ = stream.try_write(b"BYE (TRYLATER) \"Too many connections\"\r\n");
            continue;
        };
        let span = tracing::info_span!("managesieve", peer = %peer.ip());
        let (office, stop) = (Arc::clone(&office), stop.clone());
        let session = async move {
            let _place = place;
            let _counted = office.metrics.session(DOOR);
            receive(&office, stream, peer, stop).await;
        };
        sessions.spawn(session.instrument(span));
    }
    drop(listener);
    let all_ended = async {
        while let Some(ended) = sessions.join_next().await {
            log_panic(ended);
        }
    };
    if timeout(limits::MANAGESIEVE_STOP_GRACE, all_ended).await.is_err() {
        sessions.shutdown().await;
    }
}

async fn receive(office: &Arc<Office>, stream: TcpStream, peer: SocketAddr, stop: Stop) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let line = Line::new(stream, stop.clone(), office.config.limits.line);
    let stream = match Session::in_clear(office, line, peer.ip()).run().await {
        Ending::Closed => return,
        Ending::StartTls(stream) => stream,
    };
    let acceptor = TlsAcceptor::from(office.tls.people(DOOR));
    let handshake = timeout(limits::TLS_HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    let mut stopping = stop.clone();
    let stream = tokio::select! {
        biased;
        () = stopping.stopped() => return,
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                return;
            }
            Err(_) => return,
        },
    };
    let line = Line::new(stream, stop, office.config.limits.line);
    Session::under_tls(office, line, peer.ip()).run().await;
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        // The panic's text may quote a script, so it is not logged here.
        tracing::error!("a ManageSieve session ended by a bug of ours; the others go on");
    }
}
