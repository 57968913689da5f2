//! OpenPGP programs of others, and what passes between them and us.
mod matrix;
mod peer;
