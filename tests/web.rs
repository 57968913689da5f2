//! The pages, in front of a paper relay.
#![allow(clippy::unwrap_used, reason = "a helper that fails, fails its test")]

mod account;
mod admin;
mod browser;
mod chromium;
mod door;
mod gallery;
mod guard;
mod inbox;
mod paper;
mod passkeys;
pub(crate) mod second;
mod setup;
