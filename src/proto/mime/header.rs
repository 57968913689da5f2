//! A letter's header section, looked at while it streams in.
use crate::domain::address::Address;
use crate::domain::envelope::MssHeaders;

/// What policy and statistics read of a header section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderView {
    /// Addresses of the From field(s). Groups are flattened.
    pub from: Vec<Address>,
    /// How many From fields there are (RFC 5322 §3.6: just one).
    pub from_fields: usize,
    /// Addresses of Sender.
    pub sender: Vec<Address>,
    /// Addresses of Reply-To.
    pub reply_to: Vec<Address>,
    /// True when any of the three could not be parsed whole: treat as not the sender's.
    pub unreadable_sender: bool,
    /// Number of Received fields (loop guard).
    pub received: usize,
    /// True when the very first field is Received: a relay has handled it.
    pub relayed: bool,
    /// Has a Message-ID, a Date field.
    pub message_id: Option<String>,
    /// Has a Date field.
    pub has_date: bool,
    /// In-Reply-To and References.
    pub references: Vec<String>,
    /// MSSanté fields.
    pub mss: MssHeaders,
    /// Subject is exactly `[FIN]`: closes the exchange with a patient.
    pub subject_is_fin: bool,
    /// Auto-Submitted other than `no`, or a multipart/report: counted apart.
    pub automatic: bool,
}

/// Reads a header section (up to and without the empty line). Never fails; what cannot be read
/// is left out and marked.
pub fn view(header_section: &[u8]) -> HeaderView { let _ = header_section; todo!() }
