//! One test binary: one link, one run.
mod smtp;
