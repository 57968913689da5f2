//! What can become of a letter (RFC 3464), and why we may say no (RFC 3463).
use std::fmt;

/// `class.subject.detail` (RFC 3463 §2), e.g. `5.1.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedStatus(pub u8, pub u16, pub u16);

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl EnhancedStatus {
    /// Parses the first word of `text` if it has the form `d.d.d` with class 2, 4 or 5.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.split_whitespace().next()?;
        let mut numbers = word.split('.');
        let class = numbers.next()?.parse().ok().filter(|class| matches!(class, 2 | 4 | 5))?;
        let subject = numbers.next()?.parse().ok()?;
        let detail = numbers.next()?.parse().ok()?;
        numbers.next().is_none().then_some(Self(class, subject, detail))
    }
}

/// What became of a letter for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeliveryStatus {
    /// In a mailbox here, durably.
    Delivered,
    /// The next operator took responsibility.
    Relayed,
    /// Tried in vain; it will be tried again.
    Deferred,
    /// Given up; the sender gets a report.
    Failed,
}

/// Why the relay says no. Each reason has one place in each protocol's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// The door is for people who logged in.
    AuthRequired,
    /// Wrong name or password; nobody learns which.
    AuthFailed,
    /// MAIL FROM is not an address of this login.
    SenderNotYours,
    /// From, Sender or Reply-To names somebody whom this login may not speak for.
    HeaderSenderNotYours,
    /// No From header field, or more than one where RFC 5322 §3.6 allows one.
    HeaderSenderMissing,
    /// The peer showed no certificate.
    PeerCertificateMissing,
    /// The peer's certificate does not chain to our anchors, is not for this, or not valid now.
    PeerCertificateInvalid,
    /// The peer's certificate is revoked.
    PeerCertificateRevoked,
    /// Nobody can say whether the peer's certificate is revoked; later.
    RevocationUnknown,
    /// The trust list is older than the configuration allows; later.
    TrustListExpired,
    /// The peer's certificate subject is nowhere in the trust list.
    PeerNotListed,
    /// The peer may not speak for the domain in MAIL FROM.
    PeerDomainMismatch,
    /// The recipient's domain is not in the trust list.
    DomainNotTrusted,
    /// The domain is trusted, but nobody has told yet where its operator listens.
    NoRoute,
    /// On the operators' door, a recipient whose domain is not ours.
    RelayDenied,
    /// No such mailbox here.
    MailboxUnknown,
    /// A patient address whose local part is not a valid INS matricule.
    PatientAddressInvalid,
    /// A patient may only answer somebody who wrote first and left the exchange open.
    PatientMayOnlyAnswer,
    /// The mailbox exists and is closed for now.
    MailboxSuspended,
    /// The mailbox has no room left.
    MailboxFull,
    /// The letter is over the size that this door accepts.
    MessageTooLarge,
    /// More recipients than one transaction may have.
    TooManyRecipients,
    /// A bare CR or LF, a NUL, or a line over the limit inside the content.
    ContentMalformed,
    /// The address needs SMTPUTF8 and the client did not announce it (RFC 6531 §3.5).
    Utf8NotAnnounced,
    /// Too many hops: a mail loop (RFC 5321 §6.3).
    MailLoop,
    /// The patient in the attached document is not the one who gets the letter.
    DocumentPatientDiffers,
    /// No OpenPGP key for this recipient yet.
    RecipientKeyMissing,
    /// Letters to this recipient outside must be encrypted, and no valid key of theirs is known.
    OutsideKeyMissing,
    /// The memory for clear text is spent; later.
    Busy,
    /// Too many connections, logins or errors from this peer.
    TooManyFromPeer,
    /// The store could not make the data durable; nothing was kept.
    StoreFailed,
    /// The disk is full; nothing was kept.
    StoreFull,
    /// A directory, key or list that we need did not answer.
    DependencyFailed,
    /// The directory that knows people's passwords does not answer; later.
    DirectoryAway,
    /// The relay is stopping.
    Stopping,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 35] = [
        Self::AuthRequired,
        Self::AuthFailed,
        Self::SenderNotYours,
        Self::HeaderSenderNotYours,
        Self::HeaderSenderMissing,
        Self::PeerCertificateMissing,
        Self::PeerCertificateInvalid,
        Self::PeerCertificateRevoked,
        Self::RevocationUnknown,
        Self::TrustListExpired,
        Self::PeerNotListed,
        Self::PeerDomainMismatch,
        Self::DomainNotTrusted,
        Self::NoRoute,
        Self::RelayDenied,
        Self::MailboxUnknown,
        Self::PatientAddressInvalid,
        Self::PatientMayOnlyAnswer,
        Self::MailboxSuspended,
        Self::MailboxFull,
        Self::MessageTooLarge,
        Self::TooManyRecipients,
        Self::ContentMalformed,
        Self::Utf8NotAnnounced,
        Self::MailLoop,
        Self::DocumentPatientDiffers,
        Self::RecipientKeyMissing,
        Self::OutsideKeyMissing,
        Self::Busy,
        Self::TooManyFromPeer,
        Self::StoreFailed,
        Self::StoreFull,
        Self::DependencyFailed,
        Self::DirectoryAway,
        Self::Stopping,
    ];

    /// True when the same letter may well be taken later.
    pub const fn is_temporary(self) -> bool {
        matches!(
            self,
            Self::NoRoute
                | Self::RevocationUnknown
                | Self::TrustListExpired
                | Self::RecipientKeyMissing
                | Self::OutsideKeyMissing
                | Self::MailboxFull
                | Self::TooManyRecipients
                | Self::Busy
                | Self::TooManyFromPeer
                | Self::StoreFailed
                | Self::StoreFull
                | Self::DependencyFailed
                | Self::DirectoryAway
                | Self::Stopping
        )
    }

    /// A stable, content-free name for the ledger, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthRequired => "auth-required",
            Self::AuthFailed => "auth-failed",
            Self::SenderNotYours => "sender-not-yours",
            Self::HeaderSenderNotYours => "header-sender-not-yours",
            Self::HeaderSenderMissing => "header-sender-missing",
            Self::PeerCertificateMissing => "peer-certificate-missing",
            Self::PeerCertificateInvalid => "peer-certificate-invalid",
            Self::PeerCertificateRevoked => "peer-certificate-revoked",
            Self::RevocationUnknown => "revocation-unknown",
            Self::TrustListExpired => "trust-list-expired",
            Self::PeerNotListed => "peer-not-listed",
            Self::PeerDomainMismatch => "peer-domain-mismatch",
            Self::DomainNotTrusted => "domain-not-trusted",
            Self::NoRoute => "no-route",
            Self::RelayDenied => "relay-denied",
            Self::MailboxUnknown => "mailbox-unknown",
            Self::PatientAddressInvalid => "patient-address-invalid",
            Self::PatientMayOnlyAnswer => "patient-may-only-answer",
            Self::MailboxSuspended => "mailbox-suspended",
            Self::MailboxFull => "mailbox-full",
            Self::MessageTooLarge => "message-too-large",
            Self::TooManyRecipients => "too-many-recipients",
            Self::ContentMalformed => "content-malformed",
            Self::Utf8NotAnnounced => "utf8-not-announced",
            Self::MailLoop => "mail-loop",
            Self::DocumentPatientDiffers => "document-patient-differs",
            Self::RecipientKeyMissing => "recipient-key-missing",
            Self::OutsideKeyMissing => "outside-key-missing",
            Self::Busy => "busy",
            Self::TooManyFromPeer => "too-many-from-peer",
            Self::StoreFailed => "store-failed",
            Self::StoreFull => "store-full",
            Self::DependencyFailed => "dependency-failed",
            Self::DirectoryAway => "directory-away",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Refusal {}
