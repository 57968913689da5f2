//! Every test that needs sockets, programs or the source tree, in one binary: fourteen binaries
//! would cost five times the linking after each edit.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "a test prints its seed")]
#![allow(clippy::unwrap_used, reason = "a test that fails there has said enough")]

mod cli;
mod house;
mod imap;
mod outbound;
//! One test binary: linking many costs more than everything else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails; helpers, too")]
#![allow(clippy::print_stdout, reason = "seeds and figures, shown with --nocapture")]
mod powercut;
mod smtp;
mod store;
mod stories;
mod support;
//! All tests with sockets, files or real programs, in one binary.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and speak")]
mod outbound;
mod trust;
mod web;
mod powercut;
mod smtp;
mod store;
mod support;
mod trust;
mod mime;
