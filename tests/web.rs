//! The pages, in front of a paper relay.
mod admin;
mod browser;
mod door;
mod gallery;
mod guard;
mod inbox;
mod paper;
