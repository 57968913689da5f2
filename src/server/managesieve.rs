//! The ManageSieve door (RFC 5804): people's programs put filters here. Nothing but STARTTLS is
//! done in clear.
mod line; // octets and deadlines
mod session; // the dialogue

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
use crate::server::managesieve::line::Line;
use crate::server::managesieve::session::Ending;
use crate::server::managesieve::session::Session;

/// Its name in metrics, logs and certificates.
const DOOR: &str = "managesieve";

/// Serves the door until the relay stops; then open sessions get a BYE and a moment to hear it.
pub async fn serve(office: Arc<Office>, listener: TcpListener, stop: Stop) {
    let full = b"BYE (TRYLATER) \"Too many connections\"\r\n";
    let gate = Gate { door: DOOR, full, grace: limits::MANAGESIEVE_STOP_GRACE };
    let shared = Arc::clone(&office);
    gate::serve(gate, &office.config.limits, listener, stop.clone(), |stream, peer| {
        let (office, stop) = (Arc::clone(&shared), stop.clone());
        async move {
            let _counted = office.metrics.session(DOOR);
            receive(&office, stream, peer, stop).await;
        }
    })
    .await;
}

async fn receive(office: &Arc<Office>, stream: TcpStream, peer: SocketAddr, stop: Stop) {
    let line = Line::new(stream, stop.clone(), office.config.limits.line);
    let seat = office.logins.sessions().seat();
    let in_clear = Session::new(office, line, peer.ip(), Channel::clear(), seat.clone());
    let stream = match in_clear.run().await {
        Ending::Closed => return,
        Ending::StartTls(stream) => stream,
    };
    let tls = office.tls.people(DOOR);
    let Some(stream) = gate::secure(tls, stream, &stop).await else { return };
    let channel = gate::channel(office, &stream).await;
    let line = Line::new(stream, stop, office.config.limits.line);
    let under_tls = Session::new(office, line, peer.ip(), channel, seat.clone());
    // Whoever takes no news in the middle of a command is cut.
    let _ = seat.unless_over(under_tls.run()).await;
}
