//! Hostile tokens.
