//! The nouns of health mail. Plain values: no I/O, no async, no serde.
pub mod address;
pub mod certificate;
pub mod decision;
pub mod delivery;
pub mod document;
pub mod door;
pub mod envelope;
pub mod fact;
pub mod folder;
pub mod identity;
pub mod limits;
pub mod mailbox;
pub mod operator;
pub mod rights;
pub mod secret;
pub mod status;
pub mod time;
