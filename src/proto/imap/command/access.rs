//! ACL and METADATA (RFC 4314, RFC 5464).
use crate::domain::rights::Rights;

/// How SETACL changes rights (RFC 4314 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RightsChange {
    /// `lr`
    Replace(Rights),
    /// `+lr`
    Add(Rights),
    /// `-lr`
    Remove(Rights),
}

/// Options of GETMETADATA (RFC 5464 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetadataOptions {
    /// `MAXSIZE`: longer values are left out.
    pub size_max: Option<u32>,
    /// `DEPTH`
    pub depth: MetadataDepth,
}

/// How far below an entry GETMETADATA looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataDepth {
    /// `0`
    #[default]
    Entry,
    /// `1`
    Children,
    /// `infinity`
    All,
}
