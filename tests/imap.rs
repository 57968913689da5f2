//! The IMAP doors: the running program as mail clients meet it, and our grammar beside another.
mod agreement;
mod differential;
mod doors;
mod dovecot;
mod large;
