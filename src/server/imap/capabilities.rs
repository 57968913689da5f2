//! What is offered to a client: the table of RFC 3501 §6.1.1, and what a missing line of it means
//! for commands.
use crate::domain::limits;
use crate::domain::login::Mechanism;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Fetch;
use crate::proto::imap::command::Search;
use crate::proto::imap::command::StatusItem;
use crate::proto::imap::command::ThreadAlgorithm;
use crate::proto::imap::feature::Feature;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::search::SearchKey;
use crate::server::imap::answer::Answer;
use crate::server::imap::session::Safety;

/// What works here; only this is ever told or understood.
const WORKING: &[Feature] = &[
    Feature::Imap4Rev1,
    Feature::Imap4Rev2,
    Feature::SaslIr,
    Feature::LiteralPlus,
    Feature::Id,
    Feature::Enable,
    Feature::Idle,
    Feature::Namespace,
    Feature::Children,
    Feature::Unselect,
    Feature::UidPlus,
    Feature::Move,
    Feature::SpecialUse,
    Feature::CreateSpecialUse,
    Feature::ListExtended,
    Feature::ListStatus,
    Feature::StatusSize,
    Feature::Condstore,
    Feature::Qresync,
    Feature::Esearch,
    Feature::SearchRes,
    Feature::Within,
    Feature::Sort,
    Feature::SortDisplay,
    Feature::Esort,
    Feature::ThreadReferences,
    Feature::ThreadOrderedSubject,
    Feature::Partial,
    Feature::ObjectId,
    Feature::Binary,
    Feature::Utf8Accept,
    Feature::MultiAppend,
    Feature::Replace,
    Feature::Preview,
    Feature::SaveDate,
    Feature::Notify,
    Feature::InProgress,
    Feature::AppendLimit,
    Feature::Unauthenticate,
    Feature::Compress,
    Feature::Acl,
    Feature::RightsKxte,
    Feature::ListMyRights,
    Feature::Quota,
    Feature::QuotaStorage,
    Feature::QuotaMessage,
    Feature::Metadata,
];

/// What one relay offers: what works, without what its operator switched off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    features: u64,
    message_octets_max: u64,
}

impl Offer {
    /// By the configuration's `imap.without` and `imap.compress`.
    pub(super) fn new(without: &[String], compress: bool, message_octets_max: u64) -> Self {
        let mut features = WORKING.iter().fold(0, |bits, feature| bits | bit(*feature));
        // RFC 4978 §6 with the secrets of letters in the same stream: off unless asked for.
        if !compress {
            features &= !bit(Feature::Compress);
        }
        for feature in without.iter().filter_map(|name| Feature::parse(name)) {
            features &= !bit(feature);
        }
        // Some stand on others.
        for (feature, base) in BASES {
            if features & bit(base) == 0 {
                features &= !bit(feature);
            }
        }
        Self { features, message_octets_max }
    }

    /// All that has a name, whether it works already or not.
    #[cfg(test)]
    pub(super) fn everything(message_octets_max: u64) -> Self {
        Self { features: (1 << Feature::ALL.len()) - 1, message_octets_max }
    }

    /// Whether a feature is offered.
    pub(super) fn has(self, feature: Feature) -> bool {
        self.features & bit(feature) != 0
    }

    /// The names for the CAPABILITY response, with the mechanisms of this very connection.
    pub(super) fn names(self, safety: Safety, logged_in: bool, mechanisms: &[Mechanism]) -> String {
        let mut names = String::new();
        for (feature, _) in Feature::ALL.into_iter().filter(|(feature, _)| self.has(*feature)) {
            let is_now = match feature {
                Feature::Compress | Feature::Unauthenticate => logged_in,
                _ => logged_in || safety == Safety::Tls || IN_CLEAR.contains(&feature),
            };
            if !is_now {
                continue;
            }
            if !names.is_empty() {
                names.push(' ');
            }
            names.push_str(feature.name());
            if feature == Feature::AppendLimit {
                names.push_str(&format!("={}", self.message_octets_max));
            }
        }
        if logged_in {
            return names;
        }
        if safety == Safety::Clear {
            names.push_str(" STARTTLS");
        }
        for mechanism in mechanisms {
            names.push_str(" AUTH=");
            names.push_str(mechanism.name());
        }
        // RFC 3501 §6.2.3
        if !mechanisms.iter().any(|one| matches!(one, Mechanism::Plain | Mechanism::Login)) {
            names.push_str(" LOGINDISABLED");
        }
        names
    }

    /// A command that needs what is not offered is answered as if nobody had heard of it.
    pub(super) fn check(self, body: &Body) -> Result<(), Answer> {
        match needs(body).into_iter().find(|feature| !self.has(*feature)) {
            None => Ok(()),
            Some(_) => Err(Answer::bad("unknown command or argument")),
        }
    }
}

/// What a client needs to know before TLS; everything else is told when it can be used.
const IN_CLEAR: &[Feature] = &[
    Feature::Imap4Rev1,
    Feature::Imap4Rev2,
    Feature::SaslIr,
    Feature::LiteralPlus,
    Feature::Id,
    Feature::Enable,
];

/// Features that mean nothing without another.
const BASES: [(Feature, Feature); 14] = [
    (Feature::SearchRes, Feature::Esearch),
    (Feature::Imap4Rev2, Feature::Esearch),
    (Feature::Imap4Rev2, Feature::SearchRes),
    (Feature::Condstore, Feature::Enable),
    (Feature::Qresync, Feature::Condstore),
    (Feature::Utf8Accept, Feature::Enable),
    (Feature::CreateSpecialUse, Feature::SpecialUse),
    (Feature::Esort, Feature::Sort),
    (Feature::SortDisplay, Feature::Sort),
    (Feature::QuotaStorage, Feature::Quota),
    (Feature::QuotaMessage, Feature::Quota),
    (Feature::QuotaSet, Feature::Quota),
    (Feature::RightsKxte, Feature::Acl),
    (Feature::ListMyRights, Feature::Acl),
];

const fn bit(feature: Feature) -> u64 {
    1 << feature as u8
}

/// What a command needs, beyond IMAP4rev1.
fn needs(body: &Body) -> Vec<Feature> {
    let when = |condition: bool, feature: Feature| condition.then_some(feature);
    match body {
        Body::Id => vec![Feature::Id],
        Body::Enable(_) => vec![Feature::Enable],
        Body::Idle => vec![Feature::Idle],
        Body::Namespace => vec![Feature::Namespace],
        Body::Unselect => vec![Feature::Unselect],
        Body::UidExpunge(_) => vec![Feature::UidPlus],
        Body::Move { .. } => vec![Feature::Move],
        Body::Compress => vec![Feature::Compress],
        Body::Unauthenticate => vec![Feature::Unauthenticate],
        Body::Notify(_) => vec![Feature::Notify],
        Body::Replace(_) => vec![Feature::Replace],
        Body::Append(append) => {
            when(append.messages.len() > 1, Feature::MultiAppend).into_iter().collect()
        }
        Body::Authenticate { initial: Some(_), .. } => vec![Feature::SaslIr],
        Body::GetAcl(_)
        | Body::SetAcl { .. }
        | Body::DeleteAcl { .. }
        | Body::ListRights { .. }
        | Body::MyRights(_) => vec![Feature::Acl],
        Body::GetQuota(_) | Body::GetQuotaRoot(_) | Body::SetQuota { .. } => vec![Feature::Quota],
        Body::GetMetadata { .. } | Body::SetMetadata { .. } => vec![Feature::Metadata],
        Body::Create { special_use, .. } => {
            when(!special_use.is_empty(), Feature::CreateSpecialUse).into_iter().collect()
        }
        Body::Select { options, .. } => [
            when(options.condstore, Feature::Condstore),
            when(options.qresync.is_some(), Feature::Qresync),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Body::Status { items, .. } => status_needs(items),
        Body::List(list) => {
            let mut needed: Vec<Feature> =
                when(list.extended, Feature::ListExtended).into_iter().collect();
            if let Some(returns) = &list.returns {
                needed.extend(when(!returns.status.is_empty(), Feature::ListStatus));
                needed.extend(when(returns.my_rights, Feature::ListMyRights));
                needed.extend(when(returns.special_use, Feature::SpecialUse));
                needed.extend(status_needs(&returns.status));
            }
            needed.extend(when(list.selection.special_use, Feature::SpecialUse));
            needed
        }
        Body::Store(store) => {
            when(store.unchanged_since.is_some(), Feature::Condstore).into_iter().collect()
        }
        Body::Fetch(fetch) => fetch_needs(fetch),
        Body::Search(search) => search_needs(search),
        Body::Sort(sort) => {
            let mut needed = search_needs(&sort.search);
            needed.retain(|feature| *feature != Feature::Esearch);
            needed.push(Feature::Sort);
            needed.extend(when(sort.search.returns.is_some(), Feature::Esort));
            let is_display = |key| {
                use crate::proto::imap::command::SortKey;
                matches!(key, SortKey::DisplayFrom | SortKey::DisplayTo)
            };
            let has_display = sort.criteria.iter().any(|criterion| is_display(criterion.key));
            needed.extend(when(has_display, Feature::SortDisplay));
            needed
        }
        Body::Thread(thread) => {
            let mut needed = search_needs(&thread.search);
            needed.push(match thread.algorithm {
                ThreadAlgorithm::OrderedSubject => Feature::ThreadOrderedSubject,
                ThreadAlgorithm::References => Feature::ThreadReferences,
            });
            needed
        }
        _ => Vec::new(),
    }
}

fn status_needs(items: &[StatusItem]) -> Vec<Feature> {
    let needed = items.iter().filter_map(|item| match item {
        StatusItem::Size => Some(Feature::StatusSize),
        StatusItem::HighestModSeq => Some(Feature::Condstore),
        StatusItem::AppendLimit => Some(Feature::AppendLimit),
        StatusItem::MailboxId => Some(Feature::ObjectId),
        StatusItem::DeletedStorage => Some(Feature::QuotaStorage),
        _ => None,
    });
    needed.collect()
}

fn fetch_needs(fetch: &Fetch) -> Vec<Feature> {
    let mut needed: Vec<Feature> = fetch
        .items
        .iter()
        .filter_map(|item| match item {
            FetchItem::ModSeq => Some(Feature::Condstore),
            FetchItem::EmailId | FetchItem::ThreadId => Some(Feature::ObjectId),
            FetchItem::SaveDate => Some(Feature::SaveDate),
            FetchItem::Preview { .. } => Some(Feature::Preview),
            FetchItem::Binary(_) | FetchItem::BinarySize(_) => Some(Feature::Binary),
            _ => None,
        })
        .collect();
    needed.extend(fetch.changed_since.map(|_| Feature::Condstore));
    needed.extend(fetch.vanished.then_some(Feature::Qresync));
    needed.extend(fetch.partial.map(|_| Feature::Partial));
    needed.extend(fetch.set.is_saved().then_some(Feature::SearchRes));
    needed
}

fn search_needs(search: &Search) -> Vec<Feature> {
    let mut needed = Vec::new();
    if let Some(returns) = &search.returns {
        needed.push(Feature::Esearch);
        needed.extend(returns.save.then_some(Feature::SearchRes));
        needed.extend(returns.partial.map(|_| Feature::Partial));
    }
    key_needs(&search.key, 0, &mut needed);
    needed
}

fn key_needs(key: &SearchKey, depth: usize, needed: &mut Vec<Feature>) {
    // The parser allows no deeper tree.
    if depth > limits::IMAP_DEPTH_MAX {
        return;
    }
    match key {
        SearchKey::And(keys) => keys.iter().for_each(|key| key_needs(key, depth + 1, needed)),
        SearchKey::Or(both) => {
            key_needs(&both.0, depth + 1, needed);
            key_needs(&both.1, depth + 1, needed);
        }
        SearchKey::Not(key) => key_needs(key, depth + 1, needed),
        SearchKey::ModSeq(_) => needed.push(Feature::Condstore),
        SearchKey::Older(_) | SearchKey::Younger(_) => needed.push(Feature::Within),
        SearchKey::Saved(..) | SearchKey::SaveDateSupported => needed.push(Feature::SaveDate),
        SearchKey::EmailId(_) | SearchKey::ThreadId(_) => needed.push(Feature::ObjectId),
        SearchKey::Numbers(set) | SearchKey::Uids(set) if set.is_saved() => {
            needed.push(Feature::SearchRes);
        }
        _ => {}
    }
}

/// True when a command shows that its client understands mod-sequences (RFC 7162 §3.1).
pub(super) fn shows_condstore(body: &Body) -> bool {
    needs(body).contains(&Feature::Condstore)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_switched_off_is_neither_told_nor_understood() {
        let all = Offer::new(&[], true, 5);
        let names = all.names(Safety::Tls, true, &[]);
        assert!(names.starts_with("IMAP4rev1 ") && names.contains(" APPENDLIMIT=5 "), "{names}");
        assert!(names.contains("COMPRESS=DEFLATE") && names.contains(" QRESYNC "), "{names}");
        assert!(!Offer::new(&[], false, 5).has(Feature::Compress));
        let fewer = Offer::new(&["CONDSTORE".to_owned(), "IDLE".to_owned()], false, 5);
        let names = fewer.names(Safety::Tls, true, &[]);
        assert!(!names.contains("CONDSTORE") && !names.contains("QRESYNC"), "{names}");
        assert!(all.check(&Body::Idle).is_ok() && fewer.check(&Body::Idle).is_err());
    }

    #[test]
    fn in_clear_only_the_way_in_is_told() {
        let offer = Offer::new(&[], true, 5);
        let names = offer.names(Safety::Clear, false, &[]);
        assert!(names.ends_with(" STARTTLS LOGINDISABLED"), "{names}");
        assert!(!names.contains("AUTH=") && !names.contains("MOVE"), "{names}");
        let names = offer.names(Safety::Tls, false, &[Mechanism::Plain]);
        assert!(names.ends_with(" AUTH=PLAIN") && !names.contains("COMPRESS"), "{names}");
    }
}
