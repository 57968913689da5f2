//! Station 1, accept: a caller stands at one of our doors.
use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::door::Door;
use crate::flow::judge::Grounds;
use crate::infra::directory::Account;

/// What the caller has shown of themselves.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Nothing yet.
    None,
    /// A login to this mailbox.
    Login(Account),
    /// A certificate, and what was found about it: nothing is decided by this yet.
    Operator(Arc<Grounds>),
    /// The relay itself.
    House,
    /// A mailbox here whose filter sends a letter on.
    Filter(Account),
}

/// Who stands there.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Network address; `None` for the relay itself.
    pub ip: Option<IpAddr>,
    /// What EHLO said, already checked for form.
    pub client_name: String,
    /// Protocol of the Received field (RFC 3848 §3): `ESMTPS`, `ESMTPSA`, `HTTPS`…
    pub protocol: &'static str,
    /// TLS version and suite for the Received field, e.g. `TLSv1_3 TLS13_AES_128_GCM_SHA256`.
    pub tls: Option<String>,
    /// What they have shown.
    pub credentials: Credentials,
}

/// A caller at a door. Made anew for each letter, so that no decision outlives its letter.
#[derive(Clone, Debug)]
pub struct Accepted {
    door: Door,
    caller: Caller,
}

/// Lets a caller begin a letter.
pub fn accept(door: Door, caller: Caller) -> Accepted {
    Accepted { door, caller }
}

impl Accepted {
    /// Which door.
    pub fn door(&self) -> Door {
        self.door
    }

    /// Who.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}
