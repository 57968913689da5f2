//! What the flow leans on. Rooms do not know each other, but for `clock`, `store`, `replica`, `net`.
pub mod audit;
pub mod clock;
pub mod config;
pub mod directory;
pub mod dns;
pub mod fhir;
pub mod journal;
pub mod keys;
pub mod ledger;
pub mod log;
pub mod metrics;
pub mod net;
pub mod process; // what it asks of the kernel
pub mod publish;
pub mod replica;
pub mod revocation;
pub mod store;
pub mod trust;
