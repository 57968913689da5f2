//! The trust space: the signed list of operators, verified, kept, asked.
use std::path::PathBuf;
use std::sync::Arc;
use crate::domain::address::Domain;
use crate::domain::operator::{OperatorDn, TrustList};
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;

/// Who may sign the list.
#[derive(Clone, Debug)]
pub struct SignerRule {
    /// PEM files of the anchors to which the signer's certificate must chain.
    pub anchors: Vec<PathBuf>,
    /// The signer's subject CN, e.g. `alb.mssante.fr`.
    pub common_name: Option<String>,
    /// The signer's rfc822 SAN, e.g. `alb@mssante.fr`. One of the two must match.
    pub email: Option<String>,
}

/// Why a list was not taken. The active one stays.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// File missing, too large, not readable.
    #[error("trust list {file}: {reason}")]
    File { /// Which file.
        file: String, /// Why.
        reason: String },
    /// The signature, its signer or its form is wrong.
    #[error("trust list signature: {0}")]
    Signature(String),
    /// The verified text is not a list.
    #[error("trust list form: {0}")]
    Form(String),
    /// Older than the active list, or empty.
    #[error("trust list refused: {0}")]
    Rollback(String),
}

/// The active list. Cheap to ask, replaced as a whole.
pub struct TrustSpace {}

impl TrustSpace {
    /// Verifies and loads the list in `file`.
    pub fn load(file: PathBuf, signer: SignerRule, now: Timestamp) -> Result<Self, TrustError> { let _ = (file, signer, now); todo!() }
    /// A given list, for tests.
    pub fn fixed(list: TrustList) -> Self { let _ = list; todo!() }
    /// Reads the file again; an older, empty or badly signed list is refused and the active one stays.
    pub fn refresh(&self, now: Timestamp) -> Result<Refreshed, TrustError> { let _ = now; todo!() }
    /// The active list.
    pub fn list(&self) -> Arc<TrustList> { todo!() }
    /// May this peer speak for this domain (`None`: the null reverse path, judged by DN alone)?
    pub fn judge_peer(&self, peer: &OperatorDn, domain: Option<&Domain>) -> Result<(), Refusal> { let _ = (peer, domain); todo!() }
}

/// What a refresh did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The same list as before.
    Unchanged,
    /// A younger list is active now, with this many domains.
    Replaced(usize),
}
