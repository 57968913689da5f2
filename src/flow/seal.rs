//! Station 4, seal: encrypt while the content streams in, so that nobody reads a letter at rest.
use crate::domain::status::Refusal;

/// A letter whose content is streaming in.
pub struct Sealing {}

impl Sealing {
    /// Takes the next octets of the content (dot-unstuffed, CRLF line ends). The door has
    /// refused bare CR, bare LF and NUL already. An error means: read on to the end of the
    /// content, throw it away, answer with the refusal.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), Refusal> { let _ = octets; todo!() }
}
