//! The doors. They move bytes and ask the flow; they decide nothing.
pub mod control;
mod gate; // how connections come in and end, for all doors of long conversations
pub mod imap;
pub mod ldap;
pub mod managesieve;
pub mod pop3;
pub mod smtp;
pub mod web;
