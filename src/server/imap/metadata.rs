//! GETMETADATA and SETMETADATA (RFC 5464 §4).
use crate::domain::folder::FolderId;
use crate::domain::limits;
use crate::domain::rights::Right;
use crate::domain::secret::Secret;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::readers::Annotations;
use crate::flow::mailbox::readers::EVERY_FOLDER;
use crate::flow::mailbox::readers::Scope;
use crate::flow::mailbox::readers::TOO_MANY;
use crate::flow::mailbox::readers::VALUE_TOO_LONG;
use crate::proto::imap::command::MetadataDepth;
use crate::proto::imap::command::MetadataOptions;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::folders;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;

/// What is annotated.
struct Subject<M> {
    shelf: M,
    folder: FolderId,
    /// Empty for the server.
    name: String,
    /// Whether shared entries may be set.
    may_share: bool,
}

/// GETMETADATA
pub(super) async fn get<D: Desk, S: Stream>(
    desk: &D,
    own: &D::Shelf,
    line: &mut Line<S>,
    mailbox: Option<&MailboxName>,
    options: MetadataOptions,
    entries: &[String],
) -> Done {
    let scoped = scoped(entries.iter())?;
    let subject = subject(desk, own, mailbox).await?;
    let mut found: Vec<(String, Option<Vec<u8>>)> = Vec::new();
    let mut longest = 0;
    for (written, scope, name) in scoped {
        let kept = annotations(&subject, scope).await?;
        let mut add = |entry: String, value: Option<Vec<u8>>| {
            let octets = value.as_ref().map_or(0, Vec::len);
            if options.size_max.is_some_and(|most| octets > most as usize) {
                longest = longest.max(octets);
            } else if found.iter().all(|(known, _)| !known.eq_ignore_ascii_case(&entry)) {
                found.push((entry, value));
            }
        };
        match kept.get(&name) {
            Some(value) => add(written.clone(), Some(value.clone())),
            None if options.depth == MetadataDepth::Entry => add(written.clone(), None),
            None => {}
        }
        for (below, value) in kept.iter().filter(|(below, _)| is_below(below, &name, options.depth))
        {
            add(format!("{}{below}", prefix(scope)), Some(value.clone()));
        }
    }
    if !found.is_empty() {
        let dialect = line.dialect;
        line.out().extend_from_slice(b"* METADATA ");
        dialect.write_name(line.out(), &subject.name);
        for (place, (entry, value)) in found.iter().enumerate() {
            line.out().extend_from_slice(if place == 0 { b" (" } else { b" " });
            write::string(line.out(), entry.as_bytes());
            line.out().push(b' ');
            write_value(line.out(), value.as_deref());
            line.relieve().await?;
        }
        line.out().extend_from_slice(b")\r\n");
    }
    let done = Answer::ok("Done");
    // RFC 5464 §4.2.1
    Ok(if longest > 0 { done.code(format!("METADATA LONGENTRIES {longest}")) } else { done })
}

/// SETMETADATA
pub(super) async fn set<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    mailbox: Option<&MailboxName>,
    entries: Vec<(String, Option<Secret<Vec<u8>>>)>,
) -> Done {
    let scoped = scoped(entries.iter().map(|(name, _)| name))?;
    let subject = subject(desk, own, mailbox).await?;
    for scope in [Scope::Shared, Scope::Private] {
        let of_scope: Vec<(String, Option<Vec<u8>>)> = scoped
            .iter()
            .zip(&entries)
            .filter(|((_, of, _), _)| *of == scope)
            .map(|((_, _, name), (_, value))| {
                (name.clone(), value.as_ref().map(|value| value.expose().clone()))
            })
            .collect();
        if of_scope.is_empty() {
            continue;
        }
        if scope == Scope::Shared && !subject.may_share {
            return Err(MailboxError::NotAllowed.into());
        }
        subject.shelf.annotate(subject.folder, scope, &of_scope).await.map_err(refused)?;
    }
    Ok(Answer::ok("Set"))
}

/// What a name leads to, for those who may annotate there. RFC 5464 §3.3: `l`, and one right over
/// what is in it.
async fn subject<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    mailbox: Option<&MailboxName>,
) -> Result<Subject<D::Shelf>, Halt> {
    let Some(mailbox) = mailbox else {
        // What all should read of the server is for its operator to write.
        let shelf = own.clone();
        return Ok(Subject { shelf, folder: EVERY_FOLDER, name: String::new(), may_share: false });
    };
    let place = folders::find(desk, own, mailbox).await?;
    place.must(Right::Lookup)?;
    let over = [Right::Read, Right::KeepSeen, Right::Write, Right::Insert, Right::Post];
    if !over.into_iter().any(|right| place.rights.has(right)) {
        return Err(MailboxError::NotAllowed.into());
    }
    let may_share = place.rights.has(Right::Write);
    Ok(Subject { folder: place.folder.id, name: place.name, shelf: place.shelf, may_share })
}

async fn annotations<M: Shelf>(
    subject: &Subject<M>,
    scope: Scope,
) -> Result<Annotations, MailboxError> {
    // The server's shared entries are not those of a mailbox; there is none.
    if subject.name.is_empty() && scope == Scope::Shared {
        return Ok(Annotations::new());
    }
    subject.shelf.annotations(subject.folder, scope).await
}

/// Each entry as written, its scope, and its name below that in lower case: RFC 5464 §3.2, names
/// are compared without case.
fn scoped<'a>(
    entries: impl Iterator<Item = &'a String>,
) -> Result<Vec<(&'a String, Scope, String)>, Halt> {
    entries
        .map(|written| {
            let lower = written.to_ascii_lowercase();
            let read = [Scope::Private, Scope::Shared].into_iter().find_map(|scope| {
                let name = lower.strip_prefix(prefix(scope))?;
                (name.is_empty() || name.starts_with('/')).then(|| (scope, name.to_owned()))
            });
            let (scope, name) = read
                .ok_or_else(|| Halt::from(Answer::bad("An entry is below /private or /shared")))?;
            Ok((written, scope, name))
        })
        .collect()
}

pub(super) fn prefix(scope: Scope) -> &'static str {
    match scope {
        Scope::Private => "/private",
        Scope::Shared => "/shared",
    }
}

fn is_below(name: &str, above: &str, depth: MetadataDepth) -> bool {
    let Some(rest) = name.strip_prefix(above).and_then(|rest| rest.strip_prefix('/')) else {
        return false;
    };
    match depth {
        MetadataDepth::Entry => false,
        MetadataDepth::Children => !rest.contains('/'),
        MetadataDepth::All => true,
    }
}

fn write_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) if value.contains(&0) => {
            write::text(out, format_args!("~{{{}}}\r\n", value.len()));
            out.extend_from_slice(value);
        }
        value => write::nstring(out, value),
    }
}

/// RFC 5464 §5: what does not fit has codes of its own.
fn refused(error: MailboxError) -> Halt {
    match error {
        MailboxError::OverLimit(VALUE_TOO_LONG) => {
            let most = limits::ANNOTATION_OCTETS_MAX;
            let answer = Answer::no("METADATA", "A value is too long");
            answer.code(format!("METADATA MAXSIZE {most}")).into()
        }
        MailboxError::OverLimit(TOO_MANY) => {
            Answer::no("METADATA TOOMANY", "Too many annotations, or too much in them").into()
        }
        error => error.into(),
    }
}
