//! What stories lean on: the real program running its demonstration, and real clients.
pub(crate) mod chromium;
pub(crate) mod dovecot;
pub(crate) mod imap;
pub(crate) mod running;
pub(crate) mod letters;
pub(crate) mod postfix;
pub(crate) mod serving;
