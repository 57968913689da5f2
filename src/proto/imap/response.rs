//! Responses that several commands share.
