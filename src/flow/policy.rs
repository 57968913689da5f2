//! Station 3, policy: may this sender write to these people, and this content?
use crate::domain::envelope::Recipient;

/// A recipient this sender may write to. Asked at RCPT time.
#[derive(Debug)]
pub struct Approved { recipient: Recipient }

impl Approved {
    /// The recipient.
    pub fn recipient(&self) -> &Recipient { &self.recipient }
}
