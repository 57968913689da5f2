//! A Dovecot as a server that is measured.
use crate::server::Server;
use crate::support::dovecot;
use crate::support::dovecot::Dovecot;

pub fn server(dovecot: &Dovecot, accounts: usize, name: &str) -> Server {
    Server {
        name: name.to_owned(),
        door: dovecot.door,
        tls: dovecot.tls(),
        users: (0..accounts).map(|n| (format!("u{n}"), dovecot::PASSWORD.to_owned())).collect(),
        pid: dovecot.pid(),
    }
}
