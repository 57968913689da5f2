//! PGP/MIME (RFC 3156) and OpenPGP in a text body: how a letter is put under a seal that only its
//! reader opens, how such letters are recognised, and how an opened one is put in place.
//!
//! Nothing here knows a key. What is opened always replaces the whole body: clear parts around an
//! encrypted one are never joined with it (EFAIL).
mod opened; // an opened content in the place of the sealed one
mod read; // what is sealed or signed, and how
mod sign; // a letter that is signed beside its text
mod write; // a letter under a seal

pub use opened::VERDICT;
pub use opened::in_place;
pub use opened::with_verdict;
pub use opened::without_verdicts;
pub use read::Found;
pub use read::Signed;
pub use read::find;
pub use read::looks_encrypted;
pub use sign::Signable;
pub use sign::signable;
pub use sign::with_signature;
pub use write::Payload;
pub use write::Protection;
pub use write::enclose;
pub use write::payload;

#[cfg(test)]
mod tests;
