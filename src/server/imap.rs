//! The IMAP doors: sockets, TLS and limits around the sessions.
mod answer; // tagged lines
mod append; // APPEND
mod capabilities; // what is offered
mod compress; // DEFLATE on a connection
mod dialect; // what a client has enabled
mod fetch; // letters on their way out
mod folders; // commands on mailboxes
mod idle; // news as they come
mod letter; // sections of a letter
mod line; // octets and deadlines
mod login; // STARTTLS, AUTHENTICATE, LOGIN
mod marks; // which flags a client knows
mod messages; // commands on messages
mod metadata; // annotations
mod quota; // how much room there is
mod rights; // who may do what
mod search; // SEARCH
mod select; // SELECT, EXAMINE, CLOSE
mod notify; // news of all mailboxes
mod session; // the dialogue
mod shelf; // what sessions ask of the flow
mod switches; // ENABLE, COMPRESS, UNAUTHENTICATE
mod view; // sequence numbers

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::domain::limits;
use crate::flow::login::conversation::Channel;
use crate::flow::office::Office;
use crate::infra::net::Stop;
use crate::server::gate;
use crate::server::gate::Gate;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::session::Ending;
use crate::server::imap::session::Safety;
use crate::server::imap::session::Session;
use crate::server::imap::shelf::Desk;

/// Which IMAP door a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImapDoor {
    /// Port 143: STARTTLS.
    Imap,
    /// Port 993: TLS from the first byte.
    Imaps,
}

impl ImapDoor {
    /// Its name in metrics and logs.
    const fn name(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Imaps => "imaps",
        }
    }
}

/// Serves one door until the relay stops; then open sessions get a BYE and a moment to hear it.
pub async fn serve(office: Arc<Office>, listener: TcpListener, door: ImapDoor, stop: Stop) {
    let full: &[u8] = match door {
        ImapDoor::Imap => b"* BYE [UNAVAILABLE] Too many connections; try later\r\n",
        // Nothing can be said before TLS.
        ImapDoor::Imaps => b"",
    };
    let gate = Gate { door: door.name(), full, grace: limits::IMAP_STOP_GRACE };
    let shared = Arc::clone(&office);
    gate::serve(gate, &office.config.limits, listener, stop.clone(), |stream, peer| {
        let (office, stop) = (Arc::clone(&shared), stop.clone());
        async move {
            let _counted = office.metrics.session(door.name());
            receive(&office, stream, peer, door, stop).await;
        }
    })
    .await;
}

async fn receive(
    office: &Arc<Office>,
    stream: TcpStream,
    peer: SocketAddr,
    door: ImapDoor,
    stop: Stop,
) {
    let stream = match door {
        ImapDoor::Imaps => stream,
        ImapDoor::Imap => {
            let channel = Channel::clear();
            let talk = converse(office, stream, peer, door, channel, Greeting::Said, &stop);
            match Box::pin(talk).await {
                Ending::Closed => return,
                Ending::StartTls(stream) => stream,
            }
        }
    };
    let tls = office.tls.people(door.name());
    // In boxes, each step: who waits for news for hours holds no room for a handshake, and the
    // connection's keys lie in one place, however often what they are in is handed on.
    let Some(stream) = Box::pin(gate::secure(tls, stream, &stop)).await else { return };
    let stream = Box::new(stream);
    let channel = Box::pin(gate::channel(office, &stream)).await;
    let greeting = match door {
        ImapDoor::Imaps => Greeting::Said,
        // RFC 3501 §6.2.1: after STARTTLS the client speaks first, and everything that was
        // said in clear is forgotten: this is a new session.
        ImapDoor::Imap => Greeting::Left,
    };
    Box::pin(converse(office, stream, peer, door, channel, greeting, &stop)).await;
}

/// Whether a session begins with a greeting.
enum Greeting {
    Said,
    Left,
}

async fn converse<S: Stream>(
    office: &Arc<Office>,
    stream: S,
    peer: SocketAddr,
    door: ImapDoor,
    channel: Channel,
    greeting: Greeting,
    stop: &Stop,
) -> Ending<S> {
    let line = Line::new(stream, stop.clone(), office.times());
    let count_login = |succeeded| office.metrics.login(door.name(), succeeded);
    let safety = if channel.is_tls() { Safety::Tls } else { Safety::Clear };
    let session = Session::new(office, line, safety, Some(peer.ip()), &count_login);
    let mut session = Box::new(session);
    session.channel = channel;
    if matches!(greeting, Greeting::Said) {
        session.greet();
    }
    let seat = session.seat.clone();
    // Whoever takes no news in the middle of a command is cut.
    seat.unless_over(session.run()).await.unwrap_or(Ending::Closed)
}

#[cfg(test)]
mod tests;
