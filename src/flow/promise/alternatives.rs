//! Another way to a recipient who cannot be reached: what the national directory's copy knows of
//! the same person, or else of the same structure.
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::status::EnhancedStatus;
use crate::flow::office::Office;
use crate::infra::replica::PublishedMailbox;
use crate::infra::replica::Replica;
use crate::infra::replica::ReplicaError;
use crate::proto::dsn::Alternative;

/// Rows of the directory that are looked at for one recipient: a large hospital has hundreds.
const CANDIDATES_MAX: usize = 500;

/// Other mailboxes for a recipient whom the letter has not reached. When it is the operator that
/// is away (`last` is about the network), another address in the same domain would help nobody.
pub(super) async fn of(
    office: &Office,
    recipient: &Address,
    last: Option<EnhancedStatus>,
) -> Vec<Alternative> {
    let Some(replica) = office.replica.as_ref().map(Arc::clone) else { return Vec::new() };
    let wanted = recipient.clone();
    let found = tokio::task::spawn_blocking(move || candidates(&replica, &wanted)).await;
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the directory replica did not answer");
            return Vec::new();
        }
        Err(_) => return Vec::new(),
    };
    // None at all, 4.4.x and 4.7.x: it did not come to a word about the mailbox.
    let is_away = last.is_none_or(|EnhancedStatus(_, subject, _)| matches!(subject, 0 | 4 | 7));
    let mut alternatives: Vec<Alternative> = Vec::new();
    for (mailbox, same_person) in found {
        let Ok(address) = Address::parse(&mailbox.address) else { continue };
        let is_reachable = !(is_away && address.domain() == recipient.domain());
        let is_new = address != *recipient
            && alternatives.iter().all(|known| known.address != mailbox.address);
        // The same person is worth more than a colleague: never both kinds.
        let is_worse = !same_person && alternatives.first().is_some_and(|known| known.same_person);
        if is_reachable && is_new && !is_worse && office.is_trusted(address.domain()) {
            let name = format!("{} {}", mailbox.given_name.trim(), mailbox.name.trim());
            let name = name.trim().to_owned();
            alternatives.push(Alternative { address: mailbox.address, name, same_person });
        }
        if alternatives.len() >= limits::ALTERNATIVES_MAX {
            break;
        }
    }
    alternatives
}

/// Published mailboxes of the same person, then teams and people of the same structure.
fn candidates(
    replica: &Replica,
    recipient: &Address,
) -> Result<Vec<(PublishedMailbox, bool)>, ReplicaError> {
    let Some(known) = replica.find(recipient)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    if !known.rpps.is_empty() {
        let same = replica.by_rpps(&known.rpps, CANDIDATES_MAX)?;
        found.extend(same.into_iter().map(|mailbox| (mailbox, true)));
    }
    if !known.structure.is_empty() {
        let mut same = replica.by_structure(&known.structure, CANDIDATES_MAX)?;
        same.retain(|one| one.kind == "ORG" || one.rpps != known.rpps);
        // A team reads its mailbox when a person is away.
        same.sort_by_key(|one| one.kind != "ORG");
        found.extend(same.into_iter().map(|mailbox| (mailbox, false)));
    }
    Ok(found)
}
