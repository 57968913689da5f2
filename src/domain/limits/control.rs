//! The control socket of the command line.
use std::time::Duration;

/// Octets of one line on the control socket, request or answer's beginning.
pub const CONTROL_LINE_OCTETS_MAX: usize = 65_536;
/// Octets of an answer on the control socket: a list of every mailbox of a large operator.
pub const CONTROL_ANSWER_OCTETS_MAX: u64 = 268_435_456;
/// Administrators' connections at a time.
pub const CONTROL_CONNECTIONS_MAX: usize = 8;
/// Time in which a request on the control socket must arrive.
pub const CONTROL_LINE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which the relay answers an administrator; a year's statistics take a while.
pub const CONTROL_ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
