//! Lets callers in, one task each, and counts them; TLS before or within the conversation.
use std::any::Any;
use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rustls::ServerConnection;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinError;
use tokio::task::JoinSet;
use tokio::time;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::Instrument;
use uuid::Uuid;

use crate::domain::decision::SessionId;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::flow::login::conversation::Channel;
use crate::infra::net;
use crate::infra::net::Stop;
use crate::infra::net::limit::ConnectionLimits;
use crate::infra::net::limit::TooMany;
use crate::proto::smtp::reply;
use crate::proto::smtp::reply::Reply;
use crate::proto::smtp::session::Door;
use crate::proto::smtp::session::Rules;
use crate::proto::smtp::session::Session;
use crate::proto::smtp::session::Upgrading;
use crate::server::smtp::SmtpDoor;
use crate::server::smtp::conversation::Talk;
use crate::server::smtp::conversation::Visit;
use crate::server::smtp::desk::Desk;
use crate::server::smtp::wire::Lost;
use crate::server::smtp::wire::Wire;

/// The pause after a failed accept: out of descriptors, most likely, and others must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves one door of any desk until the relay stops.
pub async fn serve_at<D: Desk>(
    desk: Arc<D>,
    listener: TcpListener,
    door: SmtpDoor,
    mut stop: Stop,
) {
    let gate =
        ConnectionLimits::new(desk.limits().connections, desk.limits().connections_per_address);
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.stopped() => break,
            Some(ended) = sessions.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let ip = peer.ip().to_canonical();
                    match gate.admit(ip) {
                        Ok(place) => {
                            let (desk, stop) = (Arc::clone(&desk), stop.clone());
                            sessions.spawn(async move {
                                let _place = place;
                                receive(desk, socket, ip, door, stop).await;
                            });
                        }
                        Err(full) => turn_away(&*desk, socket, ip, door, full),
                    }
                }
                Err(error) => {
                    tracing::warn!(door = door.name(), %error, "cannot accept a connection");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    // Sessions have heard of the stop themselves. Whoever is still here then is cut.
    let farewell = async {
        while let Some(ended) = sessions.join_next().await {
            report(ended);
        }
    };
    if time::timeout(limits::SMTP_STOP_GRACE, farewell).await.is_err() {
        tracing::warn!(door = door.name(), cut = sessions.len(), "sessions did not end in time");
        sessions.shutdown().await;
    }
}

async fn receive<D: Desk>(desk: Arc<D>, socket: TcpStream, ip: IpAddr, door: SmtpDoor, stop: Stop) {
    // Replies are small and awaited: Nagle's algorithm would hold each of them back.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(door = door.name(), %error, "TCP_NODELAY");
    }
    attend(desk, socket, ip, door, stop).await;
}

fn new_session() -> SessionId {
    SessionId::from_bytes(Uuid::now_v7().into_bytes())
}

/// Serves one connection, whatever it is made of, to its end.
pub async fn attend<D: Desk, S>(desk: Arc<D>, stream: S, ip: IpAddr, door: SmtpDoor, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let session = new_session();
    let span = tracing::info_span!("smtp", %session, door = door.name(), peer = %ip);
    let _counted = desk.session(door);
    let (shown, heard) = (Vec::new(), Mutex::default());
    let arrived = Instant::now();
    let (channel, seat) = (Channel::clear(), desk.logins().sessions().seat());
    let visit =
        Visit { desk, door, ip, session, arrived, tls: None, shown, channel, seat, stop, heard };
    take_care_of(visit, stream).instrument(span).await;
}

/// A conversation in clear, if the door begins so, and one under TLS.
async fn take_care_of<D: Desk, S>(visit: Visit<D>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    tracing::debug!("connected");
    let rules = Arc::new(rules(&visit));
    let patience = visit.desk.limits().command;
    if visit.door == SmtpDoor::Submissions {
        let Some((visit, stream)) = handshake(visit, stream).await else { return };
        let mut wire = Wire::new(stream, patience);
        wire.say(&Reply::greeting(&rules.hostname));
        talk(&visit, &mut wire, Session::secured(rules, visit.offered())).await;
        return;
    }
    let mut wire = Wire::new(stream, patience);
    wire.say(&Reply::greeting(&rules.hostname));
    let Some(upgrading) = talk(&visit, &mut wire, Session::clear(rules)).await else {
        return;
    };
    let Some((visit, stream)) = handshake(visit, wire.into_stream()).await else { return };
    let mut wire = Wire::new(stream, patience);
    talk(&visit, &mut wire, upgrading.secured(visit.offered())).await;
}

fn rules<D: Desk>(visit: &Visit<D>) -> Rules {
    let limits = visit.desk.limits();
    Rules {
        door: match visit.door {
            SmtpDoor::Submission | SmtpDoor::Submissions => Door::Submission,
            SmtpDoor::Mx => Door::Operators,
        },
        hostname: visit.desk.hostname(),
        octets_max: limits.message_octets,
        recipients_max: limits.recipients,
    }
}

/// Talks, and finds the last word for a conversation that was lost. A bug of ours ends this
/// conversation alone, and its peer is asked to come again.
async fn talk<D: Desk, S>(
    visit: &Visit<D>,
    wire: &mut Wire<S>,
    session: Session<Talk<D>>,
) -> Option<Upgrading<Talk<D>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let conversation = async {
        tokio::select! {
            biased;
            ended = visit.converse(wire, session) => ended,
            () = visit.waited_too_long() => Err(Lost::TimedOut),
            over = visit.seat.over() => Err(Lost::Ended(over)),
        }
    };
    let last_word = match caught(conversation).await {
        Ok(Ok(Some(upgrading))) => return Some(upgrading),
        Ok(Ok(None)) => None,
        Ok(Err(Lost::HungUp)) => {
            tracing::debug!("hung up");
            return None;
        }
        Ok(Err(Lost::Broken(error))) => {
            tracing::info!(%error, "connection broken");
            return None;
        }
        Ok(Err(Lost::TimedOut)) => {
            tracing::info!("timed out");
            Some(reply::TIMED_OUT)
        }
        Ok(Err(Lost::Stopping)) => Some(reply::STOPPING),
        Ok(Err(Lost::Ended(over))) => {
            tracing::info!(?over, "a session was ended");
            Some(reply::SESSION_ENDED)
        }
        Ok(Err(Lost::TooMuch)) => {
            tracing::warn!("a refused letter went on without end");
            Some(reply::TOO_MUCH_CONTENT)
        }
        // The payload stays untold: it may hold what no log may hold.
        Err(_) => {
            tracing::error!("a bug ended this conversation");
            Some(reply::OUR_FAULT)
        }
    };
    if let Some(reply) = last_word {
        wire.say(&reply);
    }
    wire.leave().await;
    tracing::debug!("closed");
    None
}

/// Does the TLS handshake, and looks at whom it shows.
async fn handshake<D: Desk, S>(mut visit: Visit<D>, stream: S) -> Option<(Visit<D>, TlsStream<S>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let accept = TlsAcceptor::from(visit.desk.tls(visit.door)).accept(stream);
    let stream = match time::timeout(limits::TLS_HANDSHAKE_TIMEOUT, accept).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::info!(%error, "TLS handshake failed");
            turned_away(&visit, format!("the TLS handshake failed: {error}"));
            return None;
        }
        Err(_) => {
            tracing::info!("TLS handshake timed out");
            turned_away(&visit, "the TLS handshake did not end in time".to_owned());
            return None;
        }
    };
    let (_, connection) = stream.get_ref();
    visit.tls = tls_name(connection);
    visit.shown = net::shown(connection);
    let exporter = net::channel_binding(connection);
    tracing::debug!(tls = visit.tls, "TLS");
    if visit.door != SmtpDoor::Mx {
        let software = visit.desk.software(&visit.shown).await;
        visit.channel = Channel::tls(exporter, software);
    }
    Some((visit, stream))
}

/// Other operators can ask why; people see it in their program.
fn turned_away<D: Desk>(visit: &Visit<D>, trouble: String) {
    if visit.door == SmtpDoor::Mx {
        let refusal = Refusal::PeerCertificateMissing;
        visit.desk.turned_away(visit.session, visit.ip, refusal, trouble);
    }
}

/// For the Received field, e.g. `TLSv1_3 TLS13_AES_128_GCM_SHA256`.
fn tls_name(connection: &ServerConnection) -> Option<String> {
    let version = connection.protocol_version()?;
    let suite = connection.negotiated_cipher_suite()?.suite();
    Some(format!("{version:?} {suite:?}"))
}

/// Polls `work` and stops its panic.
async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut work = pin!(work);
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    })
    .await
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a bug ended an SMTP task");
    }
}

/// Over the limit: one line if the door speaks in clear, and no waiting. Behind implicit TLS
/// there is no word without a handshake, and that is what the limit must spare.
fn turn_away<D: Desk>(desk: &D, socket: TcpStream, ip: IpAddr, door: SmtpDoor, full: TooMany) {
    tracing::warn!(door = door.name(), peer = %ip, "{full}");
    if door == SmtpDoor::Submissions {
        return;
    }
    let mut reply = reply::TOO_MANY_CONNECTIONS;
    if door == SmtpDoor::Mx {
        let session = new_session();
        reply = reply.in_session(session);
        desk.turned_away(session, ip, Refusal::TooManyFromPeer, full.to_string());
    }
    let mut wire = Vec::new();
    reply.write_to(&mut wire);
    if let Ok(mut socket) = socket.into_std() {
        // It is non-blocking and its send buffer is empty; if it fails, nobody was listening.
        let _ = std::io::Write::write(&mut socket, &wire);
    }
}
