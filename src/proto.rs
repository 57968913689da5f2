//! Bytes to nouns and back. Nothing here knows a socket, a clock or a database.
pub mod dsn;
pub mod extraction;
pub mod imap;
pub mod jwt;
pub mod key_source; // where a master key lies
pub mod ldap;
pub mod mime;
pub mod managesieve;
pub mod pgpmime;
pub mod pop3;
pub mod receipt;
pub mod sasl;
pub mod roster; // lists of mailboxes to be made
pub mod setup;
pub mod sieve;
pub mod smtp;
pub mod trust_list;
pub mod wkd; // where certificates of OpenPGP lie
pub mod xdm;
