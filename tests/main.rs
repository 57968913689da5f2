//! Every test that needs sockets, programs or the source tree, in one binary: fourteen binaries
//! would cost five times the linking after each edit.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "a test prints its seed")]

mod addressbook;
mod certs;
mod cli;
mod clients;
#[path = "directory/ldap.rs"]
mod directory_ldap;
mod custody;
mod directory;
mod exchange;
mod gateway;
mod house;
mod imap;
mod life;
mod logins;
mod master;
mod mime;
mod oidc;
mod openpgp;
mod openpgp_certificates;
mod openpgp_patients;
mod outbound;
#[path = "peers/inbound.rs"]
mod peers_inbound;
mod pop3;
mod postfix;
mod powercut;
mod publish;
mod queue;
mod quota;
mod reports;
mod revocation;
mod setup;
mod sieve;
mod smtp;
mod store;
mod stories;
mod support;
mod team;
mod torn;
mod trust;
mod web;
mod xdm;
