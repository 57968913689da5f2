//! LIST and LSUB: the own folders, and those of others that this login may look up.
use std::collections::BTreeMap;

use crate::domain::folder::SpecialUse;
use crate::domain::limits;
use crate::domain::rights::Right;
use crate::domain::rights::Rights;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::readers;
use crate::proto::imap::command::List;
use crate::proto::imap::command::Selection;
use crate::proto::imap::name::DELIMITER;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::name::Pattern;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::folders::Facts;
use crate::server::imap::folders::prefix_of;
use crate::server::imap::folders::write_status;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::rights;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::OTHERS;
use crate::server::imap::shelf::Shelf;

/// A folder that may be listed.
struct Known<M> {
    /// What this login calls it.
    name: String,
    subscribed: bool,
    /// Of the own mailbox only: somebody else's Sent is not where ours goes.
    special_use: Option<SpecialUse>,
    /// `None`: a subscribed name whose folder is gone.
    there: Option<There<M>>,
}

struct There<M> {
    shelf: M,
    folder: Folder,
    rights: Rights,
}

/// LIST
pub(in crate::server::imap) async fn list<D: Desk, S: Stream>(
    desk: &D,
    own: &D::Shelf,
    line: &mut Line<S>,
    list: &List,
) -> Done {
    // RFC 3501 §6.3.8: an empty pattern asks for the delimiter and the root of the reference.
    if !list.extended && list.patterns[0].as_str().is_empty() {
        line.out().extend_from_slice(b"* LIST (\\Noselect) \"/\" \"\"\r\n");
        return Ok(Answer::ok("Done"));
    }
    let octets: usize = list.patterns.iter().map(|pattern| pattern.as_str().len()).sum();
    if octets + list.reference.as_str().len() > limits::IMAP_PATTERN_OCTETS_MAX {
        return Err(Answer::no("LIMIT", "The patterns are too long").into());
    }
    let patterns: Vec<Pattern> =
        list.patterns.iter().map(|pattern| pattern.below(list.reference.as_str())).collect();
    let known = known(desk, own, &patterns).await?;
    let returns = list.returns.clone().unwrap_or_default();
    for listed in listing(&known, &patterns, list, line.dialect.rev2) {
        listed.write(line, "LIST");
        if let Some(there) = listed.known.and_then(|known| known.there.as_ref()) {
            // RFC 5819 §2: no STATUS for what cannot be selected.
            if !returns.status.is_empty() && there.rights.has(Right::Read) {
                let facts = Facts::of(desk, &there.shelf, &there.folder, &returns.status).await?;
                let (folder, items) = (&there.folder, &returns.status);
                write_status(line, listed.name, folder, &facts, items);
            }
            // RFC 8440 §4: of every mailbox that is listed and exists.
            if returns.my_rights && readers::can_see(there.rights) {
                rights::write_my_rights(line, listed.name, there.rights);
            }
        }
        line.relieve().await?;
    }
    Ok(Answer::ok("Done"))
}

/// LSUB
pub(in crate::server::imap) async fn lsub<D: Desk, S: Stream>(
    desk: &D,
    own: &D::Shelf,
    line: &mut Line<S>,
    reference: &MailboxName,
    pattern: &Pattern,
) -> Done {
    if pattern.as_str().len() + reference.as_str().len() > limits::IMAP_PATTERN_OCTETS_MAX {
        return Err(Answer::no("LIMIT", "The pattern is too long").into());
    }
    let pattern = pattern.below(reference.as_str());
    let known = known(desk, own, std::slice::from_ref(&pattern)).await?;
    let mut names: BTreeMap<&str, bool> = BTreeMap::new();
    for one in known.iter().filter(|one| one.subscribed) {
        if pattern.matches(&one.name) {
            names.insert(&one.name, one.there.is_some());
            continue;
        }
        // RFC 3501 §6.3.9: `%` shows the level above a subscribed name, as \Noselect.
        for parent in parents(&one.name).filter(|parent| pattern.matches(parent)) {
            names.entry(parent).or_insert(false);
        }
    }
    for (name, can_be_selected) in names {
        let attributes = if can_be_selected { Vec::new() } else { vec!["\\Noselect"] };
        let listed: Listed<'_, D::Shelf> =
            Listed { name, attributes, child_info: Vec::new(), known: None };
        listed.write(line, "LSUB");
    }
    Ok(Answer::ok("Done"))
}

/// Everything that this login may look up and that the patterns could mean.
async fn known<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    patterns: &[Pattern],
) -> Result<Vec<Known<D::Shelf>>, MailboxError> {
    let kept = own.kept_subscriptions().await?;
    let mut known = Vec::new();
    for folder in own.folders().await? {
        let rights = own.rights(folder.id).await?;
        known.push(Known {
            name: folder.name.clone(),
            subscribed: folder.subscribed,
            special_use: folder.special_use,
            there: Some(There { shelf: own.clone(), folder, rights }),
        });
    }
    for name in kept.names {
        if known.iter().all(|one| one.name != name) {
            known.push(Known { name, subscribed: true, special_use: None, there: None });
        }
    }
    if !patterns.iter().any(may_mean_others) {
        return Ok(known);
    }
    for other in desk.others(own).await? {
        let prefix = prefix_of(&other.address);
        for folder in other.shelf.folders().await? {
            let rights = other.shelf.rights(folder.id).await?;
            if !rights.has(Right::Lookup) {
                continue;
            }
            known.push(Known {
                name: format!("{prefix}{}", folder.name),
                subscribed: kept.folders.contains(&(other.shelf.id(), folder.id)),
                special_use: None,
                there: Some(There { shelf: other.shelf.clone(), folder, rights }),
            });
        }
    }
    Ok(known)
}

/// False when a pattern cannot match any name of others: most do not ask for them.
fn may_mean_others(pattern: &Pattern) -> bool {
    let text = pattern.as_str();
    let literal = &text[..text.find(['*', '%']).unwrap_or(text.len())];
    OTHERS.starts_with(literal) || literal.starts_with(OTHERS)
}

/// One line of a listing.
struct Listed<'a, M> {
    name: &'a str,
    attributes: Vec<&'static str>,
    child_info: Vec<&'static str>,
    known: Option<&'a Known<M>>,
}

/// What LIST answers, in the order of the names.
fn listing<'a, M>(
    all: &'a [Known<M>],
    patterns: &[Pattern],
    list: &List,
    rev2: bool,
) -> Vec<Listed<'a, M>> {
    // Names above a folder whose own folder was deleted still are levels of the hierarchy.
    let mut names: BTreeMap<&str, Option<&Known<M>>> = BTreeMap::new();
    let selection = list.selection;
    // A name that only a subscription remembers is told to those who ask for subscriptions.
    for known in all.iter().filter(|known| known.there.is_some() || selection.subscribed) {
        names.insert(&known.name, Some(known));
        for parent in parents(&known.name) {
            names.entry(parent).or_insert(None);
        }
    }
    let has_below = |name: &str, is_wanted: &dyn Fn(&Known<M>) -> bool| {
        all.iter().any(|known| is_below(&known.name, name) && is_wanted(known))
    };
    let shows_subscribed =
        selection.subscribed || list.returns.as_ref().is_some_and(|returns| returns.subscribed);
    let mut listed = Vec::new();
    for (name, known) in names {
        if !patterns.iter().any(|pattern| pattern.matches(name)) {
            continue;
        }
        let is_selected = known.map_or(!selection.subscribed && !selection.special_use, |known| {
            selects(selection, known)
        });
        let mut child_info = Vec::new();
        if selection.recursive && has_below(name, &|known| selects(selection, known)) {
            // RFC 5258 §4: which options made a folder below this one match.
            child_info.extend(selection.subscribed.then_some("SUBSCRIBED"));
            child_info.extend(selection.special_use.then_some("SPECIAL-USE"));
        }
        if !is_selected && child_info.is_empty() {
            continue;
        }
        let mut attributes = Vec::new();
        if known.is_none_or(|known| known.there.is_none()) {
            // RFC 9051 §7.3.1 knows it in every LIST, RFC 5258 §3.4 in extended ones.
            attributes.extend((list.extended || rev2).then_some("\\NonExistent"));
            attributes.push("\\Noselect");
        }
        let has_children = has_below(name, &|known| known.there.is_some());
        attributes.push(if has_children { "\\HasChildren" } else { "\\HasNoChildren" });
        if let Some(known) = known {
            attributes.extend((shows_subscribed && known.subscribed).then_some("\\Subscribed"));
            attributes.extend(known.special_use.map(SpecialUse::attribute));
        }
        listed.push(Listed { name, attributes, child_info, known });
    }
    // INBOX first, for people who read the list; the rest is in order already.
    listed.sort_by_key(|listed| listed.name != "INBOX");
    listed
}

impl<M> Listed<'_, M> {
    fn write<S: Stream>(&self, line: &mut Line<S>, response: &str) {
        let dialect = line.dialect;
        let out = line.out();
        let attributes = self.attributes.join(" ");
        write::text(out, format_args!("* {response} ({attributes}) \"{DELIMITER}\" "));
        dialect.write_name(out, self.name);
        if !self.child_info.is_empty() {
            let quoted: Vec<String> =
                self.child_info.iter().map(|option| format!("\"{option}\"")).collect();
            write::text(out, format_args!(" (\"CHILDINFO\" ({}))", quoted.join(" ")));
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn selects<M>(selection: Selection, known: &Known<M>) -> bool {
    (!selection.subscribed || known.subscribed)
        && (!selection.special_use || known.special_use.is_some())
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent).is_some_and(|rest| rest.starts_with(DELIMITER))
}

fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices(DELIMITER).map(|(at, _)| &name[..at])
}
