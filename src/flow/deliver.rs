//! Station 7, deliver: into a mailbox here, or over SMTP to another operator.
pub mod operator;
