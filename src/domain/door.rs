//! Where letters come in.

/// Which door a letter comes through; it decides who may vouch for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Our own users (RFC 6409 §3.1): they must log in.
    Submission,
    /// Other operators: their certificate speaks for them.
    Mx,
    /// A patient who answers on the inbox page.
    Portal,
    /// The relay itself: reports.
    House,
}
