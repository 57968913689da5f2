//! A whole trust space on loopback, made of two relays.
pub mod pki; // certificates that imitate the IGC-Santé hierarchy, and the signed list
