//! The book of certificates: ours, theirs as they were seen, authorities, and when each ends.
//!
//! Mail between operators stops the minute a certificate ends, on either side. So the relay knows
//! every certificate that it has to do with, and speaks of an end long before it comes.
mod book; // what is known, and who is spoken of
mod change; // new files: when they count, and when they wait
mod kept; // what was in use before a restart
mod seen; // other operators' certificates

pub use book::Alarm;
pub use book::Known;
pub use book::Level;
pub use book::Role;
pub use book::alarms;
pub use book::known;
pub use book::tell;
pub use change::Change;
pub use change::Consent;
pub use change::Finding;
pub use change::Waiting;
pub use change::judge;
pub use change::look;
pub use change::reload;
pub use kept::resume;
pub use seen::Book;
pub use seen::Direction;
pub use seen::load;
pub use seen::seen;
