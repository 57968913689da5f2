//! SMTP, server side: bytes to commands, the conversation, replies to bytes (RFC 5321).
//!
//! Read `session` for what may follow what; `command` for what a line means; `data` for where a
//! content ends. Nothing here reads a socket: `server::smtp` does, and asks the flow.
pub mod auth; // the SASL exchange of AUTH
pub mod command; // one command line
pub mod data; // the octets of a letter
pub mod line; // where a command line ends
pub mod reply; // everything we ever say
pub mod session; // the conversation
