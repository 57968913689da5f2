//! The truth and its engines.
mod blobs;
mod conformance;
mod redb;
mod replica;
mod simulated;
