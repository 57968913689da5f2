//! All tests with sockets, files or real programs, in one binary.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and speak")]
mod outbound;
mod trust;
