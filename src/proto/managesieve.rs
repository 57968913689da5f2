//! ManageSieve (RFC 5804): how people's programs put their scripts here.
mod command; // what clients ask
mod reader; // octets to words
pub mod write; // what they are told

pub use command::BadCommand;
pub use command::Command;
pub use reader::Reader;
pub use reader::Step;
pub use reader::Word;

#[cfg(test)]
mod tests;
