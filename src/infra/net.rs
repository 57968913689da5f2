//! Sockets and TLS, both ways: one provider, private anchors, deadlines.
//!
//! Nobody else builds a TLS configuration or a listening socket, so what the relay accepts from
//! the network is decided in this room alone.
mod book; // what is in use now, and how it changes
mod judged; // peers that were judged before
pub mod limit; // how many connections a door holds, in all and of one address
mod material; // PEM files: chains, keys, anchors
mod peer; // a certificate's names
pub mod fetch; // documents over HTTP(S), bounded
mod path; // from a certificate to an anchor
mod tls; // the TLS configurations of a relay

use std::net::SocketAddr;

pub use book::Material;
pub use book::TlsBook;
pub use judged::Judged;
pub use judged::Judgements;
pub use material::Identity;
pub use material::TestAuthorities;
pub use material::load_anchors;
pub use material::load_anchors_except;
pub use material::of_tests;
pub use material::test_authority;
pub use path::Purpose;
pub use path::refuse_tests_under_others;
pub use path::verified_path;
pub use peer::AlternativeName;
pub use peer::alternative_names;
pub use peer::certificate_facts;
pub use peer::certificate_names;
pub use peer::distinguished_name;
pub use tls::channel_binding;
pub use tls::operators_tls;
pub use tls::people_tls;
pub use tls::people_tls_asking;
pub use tls::shown;
pub use tls::towards_operators_tls;
pub use tls::towards_servers_tls;

/// Connections that wait for `accept`: a burst of a whole ward's clients after a restart.
const BACKLOG: u32 = 1_024;

/// Why the network, or the material for TLS, failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A certificate or key file is missing or cannot be read as PEM.
    #[error("{file}: {reason}")]
    Material {
        /// Which file.
        file: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A TLS configuration was refused by the library.
    #[error("TLS: {0}")]
    Tls(String),
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {reason}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// A document cannot be fetched.
    #[error("{url}: {reason}")]
    Fetch {
        /// From where.
        url: String,
        /// Why.
        reason: String,
    },
    /// The peer's certificate cannot be read.
    #[error("certificate: {0}")]
    Certificate(String),
}

/// Binds with SO_REUSEADDR (a restart must not wait for old connections to fade) and a backlog.
///
/// # Errors
/// [`NetError::Bind`] when the address is taken, not ours, or a privileged port.
pub fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener, NetError> {
    let open = || {
        let socket = match address {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        // Accepted sockets inherit this: replies are short and must not wait for Nagle.
        socket.set_nodelay(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|error: std::io::Error| NetError::Bind { address, reason: error.to_string() })
}

/// Tells tasks to stop. Clone it into each.
#[derive(Clone, Debug)]
pub struct Stop(tokio::sync::watch::Receiver<bool>);

/// The one who says stop; dropping it says stop too.
#[derive(Debug)]
pub struct StopHandle(tokio::sync::watch::Sender<bool>);

impl Stop {
    /// A handle and the listener for it.
    #[allow(clippy::new_ret_no_self, reason = "the two halves are born together")]
    pub fn new() -> (StopHandle, Self) {
        let (sender, receiver) = tokio::sync::watch::channel(false);
        (StopHandle(sender), Self(receiver))
    }

    /// Resolves when the relay stops. May be cancelled and asked again.
    pub async fn stopped(&mut self) {
        // An error means that the handle is gone, and that says stop too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// True once the relay stops.
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

impl StopHandle {
    /// Says stop.
    pub fn stop(&self) {
        // `send` refuses when nobody listens yet; a listener made later must still see it.
        self.0.send_replace(true);
    }

    /// One more listener.
    pub fn listener(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_handle_says_stop() {
        let (handle, mut stop) = Stop::new();
        assert!(!stop.is_stopping());
        drop(handle);
        stop.stopped().await;
        assert!(stop.is_stopping());
    }

    #[tokio::test]
    async fn every_listener_hears_stop() {
        let (handle, stop) = Stop::new();
        let mut other = stop.clone();
        handle.stop();
        other.stopped().await;
        assert!(stop.is_stopping());
        assert!(handle.listener().is_stopping());
    }

    #[tokio::test]
    async fn a_taken_address_is_named_in_the_error() {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
    }
}
