//! One test binary: linking many costs more than everything else.
mod powercut;
mod store;

mod trust;
//! Every test that needs sockets, programs or the source tree, in one binary: fourteen binaries
//! would cost five times the linking after each edit.
mod cli;
mod house;
mod outbound;
//! One test binary: one link, one run.
mod smtp;
