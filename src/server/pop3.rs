//! The POP3 doors, for old practice software that knows nothing else: the inbox only.
mod drop; // a snapshot of the inbox, and what is done to it
mod session; // the dialogue
mod wire; // lines in, answers out, each with a deadline

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
use crate::server::pop3::drop::Locks;
use crate::server::pop3::session::Ending;
use crate::server::pop3::session::Session;
use crate::server::pop3::wire::Wire;

/// Which POP3 door a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pop3Door {
    /// Port 110: STLS.
    Pop3,
    /// Port 995: TLS from the first byte.
    Pop3s,
}

impl Pop3Door {
    /// Its name in metrics and logs.
    const fn name(self) -> &'static str {
        match self {
            Self::Pop3 => "pop3",
            Self::Pop3s => "pop3s",
        }
    }
}

/// Which inboxes a POP3 session has open; both doors share it.
pub type Pop3Locks = Arc<Locks>;

/// Serves one door until the relay stops; then open sessions are told and get a moment.
pub async fn serve(
    office: Arc<Office>,
    locks: Pop3Locks,
    listener: TcpListener,
    door: Pop3Door,
    stop: Stop,
) {
    let full: &[u8] = match door {
        Pop3Door::Pop3 => b"-ERR [SYS/TEMP] Too many connections; try later\r\n",
        // Nothing can be said before TLS.
        Pop3Door::Pop3s => b"",
    };
    let gate = Gate { door: door.name(), full, grace: limits::POP3_STOP_GRACE };
    let shared = Arc::clone(&office);
    gate::serve(gate, &office.config.limits, listener, stop.clone(), |stream, peer| {
        receive(Arc::clone(&shared), Arc::clone(&locks), stream, peer, door, stop.clone())
    })
    .await;
}

async fn receive(
    office: Arc<Office>,
    locks: Pop3Locks,
    stream: TcpStream,
    peer: SocketAddr,
    door: Pop3Door,
    stop: Stop,
) {
    let _counted = office.metrics.session(door.name());
    let ip = peer.ip().to_canonical();
    let seat = office.logins.sessions().seat();
    let session =
        |channel| Session::new(&office, &locks, channel, seat.clone(), Some(ip), door.name());
    let stream = match door {
        Pop3Door::Pop3s => stream,
        Pop3Door::Pop3 => {
            let mut wire = Wire::new(stream, stop.clone());
            wire.say("+OK Vaguemestre is ready");
            match session(Channel::clear()).run(wire).await {
                Ending::Closed => return,
                Ending::StartTls(stream) => stream,
            }
        }
    };
    let tls = office.tls.people(door.name());
    let Some(stream) = gate::secure(tls, stream, &stop).await else { return };
    let channel = gate::channel(&office, &stream).await;
    let mut wire = Wire::new(stream, stop);
    if door == Pop3Door::Pop3s {
        wire.say("+OK Vaguemestre is ready");
    }
    // RFC 2595 §4: what was said in clear is forgotten: this is a new session.
    // Whoever takes no news in the middle of a command is cut.
    let _ = seat.unless_over(session(channel).run(wire)).await;
}
