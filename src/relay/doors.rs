//! Bound listeners, and who stands behind them.
use crate::flow::office::Office;
use crate::infra::config::Config;
use crate::infra::net;
use crate::infra::net::Stop;
use crate::server;
use crate::server::imap::ImapDoor;
use crate::server::ldap::LdapDoor;
use crate::server::pop3::Pop3Door;
use crate::server::pop3::Pop3Locks;
use crate::server::smtp::SmtpDoor;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::Instrument;

/// Bound listeners: an address in use is told before the store is opened.
pub(super) struct Doors {
    smtp: Vec<(SmtpDoor, TcpListener)>,
    imap: Vec<(ImapDoor, TcpListener)>,
    pop3: Vec<(Pop3Door, TcpListener)>,
    ldap: Vec<(LdapDoor, TcpListener)>,
    managesieve: Option<TcpListener>,
    https: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

impl Doors {
    pub(super) fn bind(config: &Config) -> anyhow::Result<Self> {
        let listen = &config.listen;
        let bind = |address: Option<SocketAddr>| address.map(net::listen).transpose();
        let mut smtp = Vec::new();
        for (door, address) in [
            (SmtpDoor::Submission, listen.submission),
            (SmtpDoor::Submissions, listen.submissions),
            (SmtpDoor::Mx, listen.mx),
        ] {
            smtp.extend(bind(address)?.map(|listener| (door, listener)));
        }
        let mut imap = Vec::new();
        for (door, address) in [(ImapDoor::Imap, listen.imap), (ImapDoor::Imaps, listen.imaps)] {
            imap.extend(bind(address)?.map(|listener| (door, listener)));
        }
        let mut pop3 = Vec::new();
        for (door, address) in [(Pop3Door::Pop3, listen.pop3), (Pop3Door::Pop3s, listen.pop3s)] {
            pop3.extend(bind(address)?.map(|listener| (door, listener)));
        }
        let mut ldap = Vec::new();
        for (door, address) in [(LdapDoor::Ldap, listen.ldap), (LdapDoor::Ldaps, listen.ldaps)] {
            ldap.extend(bind(address)?.map(|listener| (door, listener)));
        }
        Ok(Self {
            smtp,
            imap,
            pop3,
            ldap,
            managesieve: bind(listen.managesieve)?,
            https: bind(listen.https)?,
            metrics: bind(listen.metrics)?,
        })
    }

    pub(super) fn open(self, office: &Arc<Office>, stop: &Stop, tasks: &mut JoinSet<()>) {
        let shared = || (Arc::clone(office), stop.clone());
        for (door, listener) in self.smtp {
            let (office, stop) = shared();
            tasks.spawn(server::smtp::serve(office, listener, door, stop).in_current_span());
        }
        for (door, listener) in self.imap {
            let (office, stop) = shared();
            tasks.spawn(server::imap::serve(office, listener, door, stop).in_current_span());
        }
        let locks = Pop3Locks::default();
        for (door, listener) in self.pop3 {
            let (office, stop) = shared();
            let serving = server::pop3::serve(office, Arc::clone(&locks), listener, door, stop);
            tasks.spawn(serving.in_current_span());
        }
        for (door, listener) in self.ldap {
            let (office, stop) = shared();
            tasks.spawn(server::ldap::serve(office, listener, door, stop).in_current_span());
        }
        if let Some(listener) = self.managesieve {
            let (office, stop) = shared();
            tasks.spawn(server::managesieve::serve(office, listener, stop).in_current_span());
        }
        if let Some(listener) = self.https {
            let (office, stop) = shared();
            tasks.spawn(server::web::serve(office, listener, stop).in_current_span());
        }
        if let Some(listener) = self.metrics {
            let (office, stop) = shared();
            tasks.spawn(server::web::serve_metrics(office, listener, stop).in_current_span());
        }
    }
}
