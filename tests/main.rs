//! Every test that needs sockets, programs or the source tree, in one binary: fourteen binaries
//! would cost five times the linking after each edit.
#![allow(clippy::unwrap_used, reason = "a test that fails there has said enough")]

mod cli;
mod house;
