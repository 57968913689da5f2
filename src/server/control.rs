//! Administrators' requests on a running or stopped relay: one JSON line each way.
//!
//! A running relay answers on the Unix socket `control.sock` in its data folder; only its own
//! user and root are heard. For a stopped one the command opens the store itself and calls
//! [`handle`]; the store's lock makes both at once impossible.
mod answer; // requests to work, work to rows
pub mod approval; // what waits for a second administrator
pub mod audit; // the ledger of key uses
mod caller; // which user of the system asks
pub mod certs; // certificates and their ends
pub mod directory; // the copy of the national directory
pub mod explain; // why somebody was let in or refused
pub mod life; // mailboxes from the request to the end
pub mod holders; // who holds a mailbox, and its app passwords
pub mod master; // versions of the master key
mod mask; // what an administrator need not see
pub mod publish; // what the national directory knows of us
pub mod queue; // letters that wait
mod socket; // the Unix socket, both ends
pub mod session; // who is logged in now
pub mod team; // who may read whose mailbox
pub mod trace; // one letter, step by step
pub mod trust; // the list of operators
pub mod wire; // the JSON forms

pub use answer::handle;
pub use socket::ControlError;
pub use socket::ask;
pub use socket::serve;

use std::path::Path;
use std::path::PathBuf;

use crate::domain::address::Address;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::time::Day;

/// What an administrator asks.
#[derive(Debug)]
pub enum Request {
    /// Make a mailbox with its keys and folders.
    MailboxAdd {
        /// Its address, for ever.
        address: Address,
        /// Its kind, for ever.
        kind: MailboxKind,
        /// What people call it.
        display_name: String,
        /// The first password.
        password: Secret<String>,
        /// Shown in the public directory or not.
        listing: Listing,
    },
    /// All mailboxes; patients' addresses masked.
    MailboxList,
    /// Set a new password.
    MailboxPassword {
        /// Whose.
        address: Address,
        /// The new one.
        password: Secret<String>,
    },
    /// Statistics of some days, both included.
    StatsShow {
        /// The first of this month when `None`.
        from: Option<Day>,
        /// Today when `None`.
        to: Option<Day>,
    },
    /// About the queue.
    Queue(queue::Request),
    /// About the trust list.
    Trust(trust::Request),
    /// About certificates.
    Certs(certs::Request),
    /// Why somebody was let in or refused at the operators' door.
    Explain(explain::Request),
    /// About the copy of the national directory.
    Directory(directory::Request),
    /// Who holds a mailbox, and its app passwords.
    Holders(holders::Request),
    /// Who may read whose mailbox.
    Team(team::Request),
    /// Our mailboxes in the national directory.
    Publish(publish::Request),
    /// Who is logged in now.
    Session(session::Request),
    /// The lives of mailboxes.
    Life(life::Request),
    /// What waits for a second administrator.
    Approval(approval::Request),
    /// The versions of the master key.
    Master(master::Request),
    /// The ledger of key uses.
    Audit(audit::Request),
    /// About one letter.
    Trace(trace::Request),
    /// What administrators did.
    Journal {
        /// At most so many entries, youngest first.
        entries: usize,
    },
}

/// Which administrator asks, for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the system's user, or `uid 1000`; and who they logged in as, if that differs.
    pub author: String,
    /// Which human, as well as the system knows: whoever logged in.
    pub person: String,
}

/// Where a relay with this data folder listens.
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}
