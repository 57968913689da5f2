//! A whole trust space on loopback, made of two relays.
