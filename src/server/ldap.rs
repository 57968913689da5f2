//! The LDAP doors: the address book for mail programs, read-only (RFC 4511).
mod entries; // mailboxes and the server itself, as entries
mod search; // what is found, page by page
mod session; // the dialogue
mod wire; // messages in, answers out, each with a deadline

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::domain::limits;
use crate::flow::office::Office;
use crate::infra::net::Stop;
use crate::proto::ldap::Code;
use crate::proto::ldap::answer;
use crate::proto::ldap::dn::Dn;
use crate::server::gate;
use crate::server::gate::Gate;
use crate::server::ldap::session::Ending;
use crate::server::ldap::session::Safety;
use crate::server::ldap::session::Session;
use crate::server::ldap::wire::Wire;

/// Which LDAP door a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LdapDoor {
    /// Port 389: StartTLS.
    Ldap,
    /// Port 636: TLS from the first byte.
    Ldaps,
}

impl LdapDoor {
    /// Its name in metrics and logs.
    const fn name(self) -> &'static str {
        match self {
            Self::Ldap => "ldap",
            Self::Ldaps => "ldaps",
        }
    }
}

/// Serves one door until the relay stops; then open sessions are told and get a moment.
pub async fn serve(office: Arc<Office>, listener: TcpListener, door: LdapDoor, stop: Stop) {
    let full = match door {
        LdapDoor::Ldap => answer::disconnection(Code::Busy, "too many connections; try later"),
        // Nothing can be said before TLS.
        LdapDoor::Ldaps => Vec::new(),
    };
    // One text a door, for as long as the program runs.
    let gate = Gate { door: door.name(), full: full.leak(), grace: limits::LDAP_STOP_GRACE };
    let Some(base) = Dn::parse(&office.config.addressbook.base) else {
        tracing::error!("addressbook.base is no distinguished name: nobody is served");
        return;
    };
    let base = Arc::new(base);
    let shared = Arc::clone(&office);
    gate::serve(gate, &office.config.limits, listener, stop.clone(), |stream, peer| {
        receive(Arc::clone(&shared), Arc::clone(&base), stream, peer, door, stop.clone())
    })
    .await;
}

async fn receive(
    office: Arc<Office>,
    base: Arc<Dn>,
    stream: TcpStream,
    peer: SocketAddr,
    door: LdapDoor,
    stop: Stop,
) {
    let _counted = office.metrics.session(door.name());
    let ip = peer.ip().to_canonical();
    let session = |safety| Session::new(&office, &base, safety, ip, door.name());
    let stream = match door {
        LdapDoor::Ldaps => stream,
        LdapDoor::Ldap => {
            let wire = Wire::new(stream, stop.clone(), limits::LDAP_CLEAR_OCTETS_MAX);
            match session(Safety::Clear).run(wire).await {
                Ending::Closed => return,
                Ending::StartTls(stream) => stream,
            }
        }
    };
    let tls = office.tls.people(door.name());
    let Some(stream) = gate::secure(tls, stream, &stop).await else { return };
    // RFC 4513 §3.1.4: what was said in clear is forgotten: this is a new session.
    session(Safety::Tls).run(Wire::new(stream, stop, limits::LDAP_MESSAGE_OCTETS_MAX)).await;
}
