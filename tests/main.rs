//! Every test that needs sockets, programs or the source tree, in one binary: fourteen binaries
//! would cost five times the linking after each edit.
mod cli;
mod house;
mod imap;
mod outbound;
mod powercut;
mod smtp;
mod store;
mod support;
mod trust;
