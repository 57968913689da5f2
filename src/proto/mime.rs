//! What the relay must know of a letter's inside: header fields, structure, text; within budgets.
pub mod forms;
pub mod header;
pub mod summary;
pub mod content;
pub mod thread;
pub mod date;
pub(crate) mod address;
mod decode;
mod describe;
mod parameters;
mod preview;
mod stored;
mod structure;
mod words;
