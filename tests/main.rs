//! Every test that needs sockets, programs or the source tree, in one binary: fourteen binaries
//! would cost five times the linking after each edit.
mod cli;
mod house;
mod imap;
mod powercut;
mod store;
mod trust;
mod outbound;
//! One test binary: one link, one run.
mod smtp;
