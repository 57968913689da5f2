//! Reports (DSN) to senders: our own letters, with their own door.
