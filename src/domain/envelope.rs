//! What SMTP carries around a letter: identifiers, sender, recipients, wishes for reports.
use std::fmt;

use crate::domain::address::Address;
use crate::domain::address::ReversePath;

/// The relay's own name of a letter in its queue: 16 bytes, UUIDv7. It is also the
/// correlation id of every log line about the letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId([u8; 16]);

/// The name of one stored, immutable, sealed content: 16 bytes, UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId([u8; 16]);

macro_rules! sixteen_bytes {
    ($name:ident) => {
        impl $name {
            /// From the stored bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
            /// The stored bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}
sixteen_bytes!(QueueId);
sixteen_bytes!(BlobId);

impl QueueId {
    /// Parses 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(|uuid| Self(uuid.into_bytes()))
    }
}

/// How much of a letter a report returns (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnContent {
    /// `RET=FULL`.
    Full,
    /// `RET=HDRS`.
    Headers,
}

/// When a sender wants a report about one recipient (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// `NEVER`: excludes the others.
    pub never: bool,
    /// `SUCCESS`.
    pub success: bool,
    /// `FAILURE`.
    pub failure: bool,
    /// `DELAY`.
    pub delay: bool,
}

/// What MAIL FROM says besides the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// `SIZE=` in octets (RFC 1870 §3).
    pub size: Option<u64>,
    /// `BODY=8BITMIME` (RFC 6152 §3) or `BINARYMIME`.
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531 §3.4).
    pub smtputf8: bool,
    /// `RET=` (RFC 3461 §4.3).
    pub ret: Option<ReturnContent>,
    /// `ENVID=`, xtext-decoded (RFC 3461 §4.4).
    pub envid: Option<String>,
}

/// What RCPT TO says besides the path. `Debug` hides ORCPT: it may hold an INS.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RcptParameters {
    /// `NOTIFY=` (RFC 3461 §4.1); `None` when the client did not say.
    pub notify: Option<Notify>,
    /// `ORCPT=addr-type;address`, xtext-decoded (RFC 3461 §4.2).
    pub orcpt: Option<String>,
}

impl fmt::Debug for RcptParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let orcpt = self.orcpt.as_ref().map(|_| "[hidden]");
        f.debug_struct("RcptParameters")
            .field("notify", &self.notify)
            .field("orcpt", &orcpt)
            .finish()
    }
}

/// One recipient and what was asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Where the letter goes.
    pub address: Address,
    /// The DSN wishes for it.
    pub parameters: RcptParameters,
}

/// A letter's envelope; it always has a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    reverse_path: ReversePath,
    parameters: MailParameters,
    recipients: Vec<Recipient>,
}

impl Envelope {
    /// `None` without recipients: such an envelope carries nothing to anybody.
    pub fn new(
        reverse_path: ReversePath,
        parameters: MailParameters,
        recipients: Vec<Recipient>,
    ) -> Option<Self> {
        (!recipients.is_empty()).then_some(Self { reverse_path, parameters, recipients })
    }

    /// The sender, or the null path.
    pub fn reverse_path(&self) -> &ReversePath {
        &self.reverse_path
    }

    /// What MAIL FROM said.
    pub fn parameters(&self) -> &MailParameters {
        &self.parameters
    }

    /// At least one.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }
}

/// The MSSanté header fields of a letter (ANS Ref2 §3.8), kept for statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MssHeaders {
    /// `X-MSS-NIL`: which product wrote the letter.
    pub nil: Option<String>,
    /// `X-MSS-CODECDA`: codes of the attached documents.
    pub cda_codes: Vec<String>,
    /// `X-MSS-INS: O` or `N`.
    pub qualified_ins: Option<bool>,
    /// `X-MSS-MES: FIN`: the patient may not answer any more (ANS Ref2 §3.4.2.3).
    pub closes_exchange: bool,
}
