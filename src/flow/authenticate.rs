//! Station 2, authenticate: who vouches for this letter?
use std::net::IpAddr;
use crate::domain::address::ReversePath;
use crate::domain::envelope::MailParameters;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::accept::Accepted;
use crate::infra::directory::Account;

/// Login attempts: throttled by network address, verified in constant effort.
pub struct Logins {}

impl Logins {
    /// The mailbox that name and password open. All doors log in here (SMTP, IMAP, pages).
    pub async fn login(&self, ip: Option<IpAddr>, name: &str, password: &Secret<String>) -> Result<Account, Refusal> { let _ = (ip, name, password); todo!() }
}

/// A letter somebody vouches for.
#[derive(Debug)]
pub struct Authenticated {
    accepted: Accepted,
    reverse_path: ReversePath,
    parameters: MailParameters,
}

impl Authenticated {
    /// Who stands at the door.
    pub fn accepted(&self) -> &Accepted { &self.accepted }
    /// The sender.
    pub fn reverse_path(&self) -> &ReversePath { &self.reverse_path }
    /// What MAIL said besides.
    pub fn parameters(&self) -> &MailParameters { &self.parameters }
}
