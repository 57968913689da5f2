//! What stands for `ceremony` in a build without the feature `passkeys`: no party, so nothing is
//! ever asked of it. Rows with passkeys stay as they are, and go on asking for a second factor.
use std::convert::Infallible;

use crate::domain::time::Timestamp;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::factors::passkeys::Challenge;

/// The relying party: there is none.
#[derive(Debug)]
pub struct Party(Infallible);

/// A challenge: there is none.
pub struct Ceremony(Infallible);

pub(super) struct Made {
    pub(super) credential: Vec<u8>,
    pub(super) kept: Vec<u8>,
}

pub(super) struct Seen(Infallible);

#[allow(dead_code, reason = "nothing is shown in this build")]
pub(super) enum NotShown {
    No,
    Copied(Vec<u8>),
}

impl Party {
    /// No party.
    ///
    /// # Errors
    /// Always.
    pub fn new(_house: &str, _origin: &str) -> Result<Self, String> {
        Err("this program was built without the feature `passkeys`".to_owned())
    }

    pub(super) fn make(
        &self,
        _user: [u8; 16],
        _name: &str,
        _display: &str,
        _known: Vec<Vec<u8>>,
        _now: Timestamp,
    ) -> Result<Challenge, DirectoryError> {
        match self.0 {}
    }

    pub(super) fn made(
        &self,
        _ceremony: Ceremony,
        _user: [u8; 16],
        _answer: &str,
        _now: Timestamp,
    ) -> Option<Made> {
        match self.0 {}
    }

    pub(super) fn ask(
        &self,
        _user: [u8; 16],
        _kept: &[&[u8]],
        _now: Timestamp,
    ) -> Result<Challenge, DirectoryError> {
        match self.0 {}
    }

    pub(super) fn shown(
        &self,
        _ceremony: Ceremony,
        _user: [u8; 16],
        _answer: &str,
        _now: Timestamp,
    ) -> Result<Seen, NotShown> {
        match self.0 {}
    }
}

impl Seen {
    pub(super) fn credential(&self) -> &[u8] {
        match self.0 {}
    }

    pub(super) fn counter(&self) -> u32 {
        match self.0 {}
    }

    pub(super) fn updated(&self, _kept: &[u8]) -> Option<Vec<u8>> {
        match self.0 {}
    }
}
