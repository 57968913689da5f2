//! Structured letters: archives good, broken and hostile; what is found in them, and what a
//! relay does about it.
mod archives;
mod cost;
mod relay;
mod samples;
mod made;
mod texts;
