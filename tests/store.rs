//! The truth and its engines.
mod blobs;
mod redb;
