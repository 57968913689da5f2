//! What CAPABILITY can name (RFC 3501 §7.2.1), each with its switch.

/// One name of the CAPABILITY response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "each stands beside its name in the table below")]
pub enum Feature {
    Imap4Rev1,
    Imap4Rev2,
    SaslIr,
    LiteralPlus,
    Id,
    Enable,
    Idle,
    Namespace,
    Children,
    Unselect,
    UidPlus,
    Move,
    SpecialUse,
    CreateSpecialUse,
    ListExtended,
    ListStatus,
    StatusSize,
    Condstore,
    Qresync,
    Esearch,
    SearchRes,
    Within,
    Sort,
    SortDisplay,
    Esort,
    ThreadReferences,
    ThreadOrderedSubject,
    Partial,
    Notify,
    Quota,
    QuotaStorage,
    QuotaMessage,
    QuotaSet,
    ObjectId,
    Utf8Accept,
    Binary,
    MultiAppend,
    Replace,
    AppendLimit,
    Preview,
    SaveDate,
    InProgress,
    Metadata,
    Acl,
    RightsKxte,
    ListMyRights,
    Unauthenticate,
    Compress,
}

impl Feature {
    /// All, in the order of the response.
    pub const ALL: [(Self, &'static str); 48] = [
        (Self::Imap4Rev1, "IMAP4REV1"),
        (Self::Imap4Rev2, "IMAP4REV2"),
        (Self::SaslIr, "SASL-IR"),
        (Self::LiteralPlus, "LITERAL+"),
        (Self::Id, "ID"),
        (Self::Enable, "ENABLE"),
        (Self::Idle, "IDLE"),
        (Self::Namespace, "NAMESPACE"),
        (Self::Children, "CHILDREN"),
        (Self::Unselect, "UNSELECT"),
        (Self::UidPlus, "UIDPLUS"),
        (Self::Move, "MOVE"),
        (Self::SpecialUse, "SPECIAL-USE"),
        (Self::CreateSpecialUse, "CREATE-SPECIAL-USE"),
        (Self::ListExtended, "LIST-EXTENDED"),
        (Self::ListStatus, "LIST-STATUS"),
        (Self::StatusSize, "STATUS=SIZE"),
        (Self::Condstore, "CONDSTORE"),
        (Self::Qresync, "QRESYNC"),
        (Self::Esearch, "ESEARCH"),
        (Self::SearchRes, "SEARCHRES"),
        (Self::Within, "WITHIN"),
        (Self::Sort, "SORT"),
        (Self::SortDisplay, "SORT=DISPLAY"),
        (Self::Esort, "ESORT"),
        (Self::ThreadReferences, "THREAD=REFERENCES"),
        (Self::ThreadOrderedSubject, "THREAD=ORDEREDSUBJECT"),
        (Self::Partial, "PARTIAL"),
        (Self::Notify, "NOTIFY"),
        (Self::Quota, "QUOTA"),
        (Self::QuotaStorage, "QUOTA=RES-STORAGE"),
        (Self::QuotaMessage, "QUOTA=RES-MESSAGE"),
        (Self::QuotaSet, "QUOTASET"),
        (Self::ObjectId, "OBJECTID"),
        (Self::Utf8Accept, "UTF8=ACCEPT"),
        (Self::Binary, "BINARY"),
        (Self::MultiAppend, "MULTIAPPEND"),
        (Self::Replace, "REPLACE"),
        (Self::AppendLimit, "APPENDLIMIT"),
        (Self::Preview, "PREVIEW"),
        (Self::SaveDate, "SAVEDATE"),
        (Self::InProgress, "INPROGRESS"),
        (Self::Metadata, "METADATA"),
        (Self::Acl, "ACL"),
        (Self::RightsKxte, "RIGHTS=KXTE"),
        (Self::ListMyRights, "LIST-MYRIGHTS"),
        (Self::Unauthenticate, "UNAUTHENTICATE"),
        (Self::Compress, "COMPRESS=DEFLATE"),
    ];

    /// The feature of a name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
        known.map(|(feature, _)| feature)
    }

    /// The name as RFCs write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imap4Rev1 => "IMAP4rev1",
            Self::Imap4Rev2 => "IMAP4rev2",
            Self::RightsKxte => "RIGHTS=kxte",
            other => Self::ALL[other as usize].1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_has_its_name_in_its_place() {
        for (place, (feature, name)) in Feature::ALL.into_iter().enumerate() {
            assert_eq!(feature as usize, place, "{name}");
            assert_eq!(Feature::parse(&name.to_ascii_lowercase()), Some(feature));
            assert!(feature.name().eq_ignore_ascii_case(name));
        }
        assert_eq!(Feature::parse("X-NONE"), None);
    }
}
