//! One test binary: linking many costs more than everything else.
mod powercut;
mod store;

mod trust;
