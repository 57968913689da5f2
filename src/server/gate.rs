//! What all doors of long conversations do before and after them: let connections in as far as
//! there is room, one task each, and end them when the relay stops.
use std::future::Future;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinError;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::Instrument;

use crate::domain::limits;
use crate::flow::login::conversation::Channel;
use crate::flow::login::software;
use crate::flow::office::Office;
use crate::infra::config::Limits;
use crate::infra::net;
use crate::infra::net::Stop;
use crate::infra::net::limit::ConnectionLimits;

/// Pause after a failed accept: out of descriptors, most likely, and others must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One door, as the gate sees it.
pub(super) struct Gate {
    /// Its name in metrics and logs.
    pub(super) door: &'static str,
    /// What a client that finds no room is told, where it can be said in clear.
    pub(super) full: &'static [u8],
    /// How long sessions may take to end when the relay stops.
    pub(super) grace: Duration,
}

/// Serves a door until the relay stops; `receive` is one session.
pub(super) async fn serve<F>(
    gate: Gate,
    allowed: &Limits,
    listener: TcpListener,
    mut stop: Stop,
    receive: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let door = gate.door;
    let places = ConnectionLimits::new(allowed.connections, allowed.connections_per_address);
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(ended) = sessions.join_next() => {
                report(door, ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, door, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let ip: IpAddr = peer.ip().to_canonical();
        let place = match places.admit(ip) {
            Ok(place) => place,
            Err(full) => {
                tracing::info!(door, %full, "a connection is turned away");
                // Does not wait for anybody.
                let _ = stream.try_write(gate.full);
                continue;
            }
        };
        // Otherwise Nagle's algorithm would hold back the ends of short answers.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let span = tracing::info_span!("session", door, peer = %ip);
        let session = receive(stream, peer);
        let counted = async move {
            let _place = place;
            session.await;
        };
        sessions.spawn(counted.instrument(span));
    }
    drop(listener);
    let all_ended = async {
        while let Some(ended) = sessions.join_next().await {
            report(door, ended);
        }
    };
    if timeout(gate.grace, all_ended).await.is_err() {
        tracing::warn!(door, cut = sessions.len(), "sessions did not end in time");
        sessions.shutdown().await;
    }
}

/// TLS on a connection: `None` when the client does not manage it in time, or the relay stops.
pub(super) async fn secure(
    tls: Arc<ServerConfig>,
    stream: TcpStream,
    stop: &Stop,
) -> Option<TlsStream<TcpStream>> {
    let handshake = timeout(limits::TLS_HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(stream));
    let mut stopping = stop.clone();
    let shaken = tokio::select! {
        biased;
        () = stopping.stopped() => return None,
        shaken = handshake => shaken,
    };
    let failed = |error: &std::io::Error| tracing::debug!(%error, "TLS handshake failed");
    shaken.ok()?.inspect_err(failed).ok()
}

/// What a connection under TLS says for logins. Whoever shows a certificate of software waits here
/// for what is known of it.
pub(super) async fn channel(office: &Office, stream: &TlsStream<TcpStream>) -> Channel {
    let (exporter, shown) = {
        let (_, connection) = stream.get_ref();
        (net::channel_binding(connection), net::shown(connection))
    };
    Channel::tls(exporter, software::look(office, &shown).await)
}

fn report(door: &'static str, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        // The panic's text may quote a letter, so it is not logged here.
        tracing::error!(door, "a session ended by a bug of ours; the others go on");
    }
}
