//! The pages: citizen inbox, administrators' dashboard, metrics.
pub mod language;
pub mod sanitise;
pub mod session;
pub mod texts;
