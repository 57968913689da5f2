//! Vaguemestre, floor by floor. Read in this order; imports only go downstairs.
//!
//! To follow one letter from door to door, read [`flow`].

pub mod domain; // floor 0: the nouns of health mail
pub mod proto; // floor 1: bytes to nouns and back, no I/O
pub mod infra; // floor 2: what the flow leans on: clock, store, trust list, keys
pub mod flow; // floor 3: the stations a letter passes
pub mod server; // floor 4: the doors: smtp, imap, web, control
pub mod relay; // the only place that builds things and starts tasks
pub mod demo; // a whole trust space on loopback, made of two relays
pub mod cli; // arguments, tables, JSON: what administrators type and see
