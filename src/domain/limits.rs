//! Every limit of the relay, with its unit and its reason, a file for each room that they guard.
//! Operators change the ones that are keys of the configuration file; the others protect the
//! code itself. Whoever uses one writes `limits::NAME`, whatever file it stands in.

pub mod control;
pub mod directory;
pub mod imap;
pub mod keys;
pub mod letter;
pub mod login;
pub mod mailbox;
pub mod queue;
pub mod sieve;
pub mod smtp;
pub mod store;
pub mod trust;
pub mod web;

pub use control::*;
pub use directory::*;
pub use imap::*;
pub use keys::*;
pub use letter::*;
pub use login::*;
pub use mailbox::*;
pub use queue::*;
pub use sieve::*;
pub use smtp::*;
pub use store::*;
pub use trust::*;
pub use web::*;
