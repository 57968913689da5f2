//! The doors. They move bytes and ask the flow; they decide nothing.
pub mod control;
pub mod imap;
pub mod managesieve;
pub mod smtp;
pub mod web;
