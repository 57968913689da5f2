//! IMAP4rev1 (RFC 3501), server side: octets to commands, letters to responses.
//!
//! [`reader::Reader`] is fed with octets and answers with [`reader::Step`]s; it holds every
//! budget. Commands are the nouns of [`command`]. What a response says of a letter is written
//! by [`structure`] and [`section`]; what a search asks of it is answered by [`matching`].
//! Nothing here knows a socket, a clock or a database.
pub mod binary; // parts without their transfer encoding
pub mod casemap; // texts without their case
pub mod command; // what a client may ask
pub mod cursor; // tokens
pub mod date; // dates
pub mod feature; // what CAPABILITY can name
pub mod fetch; // what FETCH may ask
pub mod flags; // marks
pub mod folded; // letters ready to be searched, and their signatures
pub mod matching; // does a letter answer a search?
pub mod name; // mailbox names and patterns
pub mod parse; // tokens to commands
pub mod print; // commands to octets
pub mod response; // responses that several commands share
pub mod reader; // octets to commands, within budgets
pub mod search; // what SEARCH may ask
pub mod section; // BODY[section]<partial>
pub mod sequence; // sets of numbers
pub mod sorting; // in which order?
pub mod structure; // ENVELOPE and BODYSTRUCTURE
pub mod subject; // base subjects
pub mod threading; // who answers whom?
pub mod write; // strings on their way out
