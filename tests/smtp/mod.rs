//! The SMTP doors, with a scripted clerk where the flow would stand: what clients of all kinds
//! are answered, what letters come out, and what no client can do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_content;
mod bad_input;
mod clerk;
mod client;
mod limits;
mod real_clients;
mod seeds;
mod sending;
#[path = "../fuzz/sessions.rs"]
mod sessions;
mod tls;
