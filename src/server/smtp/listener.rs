//! Lets callers in, one task each, and counts them; TLS before or within the conversation.
use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use rustls::ServerConnection;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinError;
use tokio::task::JoinSet;
use tokio::time;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::Instrument;
use uuid::Uuid;

use crate::domain::decision::SessionId;
use crate::domain::limits;
use crate::infra::net::Stop;
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
    let gate = Gate::new(desk.limits().connections, desk.limits().connections_per_address);
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.stopped() => break,
            Some(ended) = sessions.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let ip = peer.ip().to_canonical();
                    match gate.enter(ip) {
                        Some(ticket) => {
                            let (desk, stop) = (Arc::clone(&desk), stop.clone());
                            sessions.spawn(async move {
                                let _ticket = ticket;
                                receive(desk, socket, ip, door, stop).await;
                            });
                        }
                        None => turn_away(socket, ip, door),
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

/// Serves one connection, whatever it is made of, to its end.
pub async fn attend<D: Desk, S>(desk: Arc<D>, stream: S, ip: IpAddr, door: SmtpDoor, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let session = SessionId::from_bytes(Uuid::now_v7().into_bytes());
    let span = tracing::info_span!("smtp", %session, door = door.name(), peer = %ip);
    let _counted = desk.session(door);
    let (shown, heard) = (Vec::new(), Mutex::default());
    let visit = Visit { desk, door, ip, session, tls: None, shown, stop, heard };
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
        talk(&visit, &mut wire, Session::secured(rules)).await;
        return;
    }
    let mut wire = Wire::new(stream, patience);
    wire.say(&Reply::greeting(&rules.hostname));
    let Some(upgrading) = talk(&visit, &mut wire, Session::clear(rules)).await else {
        return;
    };
    let Some((visit, stream)) = handshake(visit, wire.into_stream()).await else { return };
    let mut wire = Wire::new(stream, patience);
    talk(&visit, &mut wire, upgrading.secured()).await;
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
    let last_word = match caught(visit.converse(wire, session)).await {
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
    let shown = connection.peer_certificates().unwrap_or_default();
    visit.shown = shown.iter().map(|each| each.clone().into_owned()).collect();
    tracing::debug!(tls = visit.tls, "TLS");
    Some((visit, stream))
}

/// Other operators can ask why; people see it in their program.
fn turned_away<D: Desk>(visit: &Visit<D>, trouble: String) {
    if visit.door == SmtpDoor::Mx {
        visit.desk.turned_away(visit.session, visit.ip, trouble);
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
fn turn_away(socket: TcpStream, ip: IpAddr, door: SmtpDoor) {
    tracing::warn!(door = door.name(), peer = %ip, "too many connections");
    if door == SmtpDoor::Submissions {
        return;
    }
    let mut wire = Vec::new();
    reply::TOO_MANY_CONNECTIONS.write_to(&mut wire);
    if let Ok(mut socket) = socket.into_std() {
        // It is non-blocking and its send buffer is empty; if it fails, nobody was listening.
        let _ = std::io::Write::write(&mut socket, &wire);
    }
}

/// Counts who is inside.
struct Gate {
    inside: Arc<Mutex<Inside>>,
    connections_max: usize,
    per_address_max: usize,
}

#[derive(Default)]
struct Inside {
    connections: usize,
    addresses: HashMap<IpAddr, usize>,
}

/// A place inside; given back when dropped.
struct Ticket {
    inside: Arc<Mutex<Inside>>,
    ip: IpAddr,
}

impl Gate {
    fn new(connections_max: usize, per_address_max: usize) -> Self {
        Self { inside: Arc::default(), connections_max, per_address_max }
    }

    fn enter(&self, ip: IpAddr) -> Option<Ticket> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let here = inside.addresses.get(&ip).copied().unwrap_or(0);
        if inside.connections >= self.connections_max || here >= self.per_address_max {
            return None;
        }
        inside.connections += 1;
        inside.addresses.insert(ip, here + 1);
        Some(Ticket { inside: Arc::clone(&self.inside), ip })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.connections -= 1;
        // Nobody's address is kept when they are gone.
        match inside.addresses.get_mut(&self.ip) {
            Some(here) if *here > 1 => *here -= 1,
            _ => drop(inside.addresses.remove(&self.ip)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_lets_in_so_many_and_so_many_from_one_address() {
        let gate = Gate::new(3, 2);
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let first = gate.enter(one);
        let _second = gate.enter(one).unwrap();
        assert!(gate.enter(one).is_none(), "two from one address are enough");
        let _third = gate.enter(two).unwrap();
        assert!(gate.enter(two).is_none(), "three in all are enough");
        drop(first);
        assert!(gate.enter(two).is_some(), "a place was given back");
    }
}
