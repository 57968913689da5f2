//! One test binary: linking many costs more than everything else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails; helpers, too")]
#![allow(clippy::print_stdout, reason = "seeds and figures, shown with --nocapture")]
mod powercut;
mod store;
