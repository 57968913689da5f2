//! GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208 §4.1). Each mailbox with all its folders is one root.
use crate::domain::rights::Right;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Usage;
use crate::proto::imap::name::DELIMITER;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::folders;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::OTHERS;
use crate::server::imap::shelf::Shelf;

/// The root of the own mailbox.
const OWN: &str = "Mailbox";
/// RFC 9208 §5.1: STORAGE counts in these.
const UNIT: u64 = 1_024;

/// GETQUOTAROOT
pub(super) async fn root_of<D: Desk, S: Stream>(
    desk: &D,
    own: &D::Shelf,
    line: &mut Line<S>,
    mailbox: &MailboxName,
) -> Done {
    let place = folders::find(desk, own, mailbox).await?;
    // RFC 9208 §4.1.3: for those who may read.
    place.must(Right::Read)?;
    let root = match place.shelf.is_foreign() {
        true => format!("{OTHERS}{DELIMITER}{}", place.shelf.owner()),
        false => OWN.to_owned(),
    };
    let usage = place.shelf.usage().await?;
    let dialect = line.dialect;
    let out = line.out();
    out.extend_from_slice(b"* QUOTAROOT ");
    dialect.write_name(out, &place.name);
    if is_limited(usage) {
        out.push(b' ');
        write::string(out, root.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    if is_limited(usage) {
        write_quota(out, &root, usage);
    }
    Ok(Answer::ok("Done"))
}

/// GETQUOTA. Of somebody else's root it tells what one of their folders would: whoever may read
/// one of them.
pub(super) async fn get<D: Desk, S: Stream>(
    desk: &D,
    own: &D::Shelf,
    line: &mut Line<S>,
    root: &str,
) -> Done {
    let usage = own.usage().await?;
    if root == OWN && is_limited(usage) {
        write_quota(line.out(), root, usage);
        return Ok(Answer::ok("Done"));
    }
    let address = root.strip_prefix(OTHERS).and_then(|rest| rest.strip_prefix(DELIMITER));
    let other = match address {
        Some(address) => desk.other(own, address).await?,
        None => None,
    };
    if let Some(other) = other {
        for folder in other.shelf.folders().await? {
            if other.shelf.rights(folder.id).await?.has(Right::Read) {
                let usage = other.shelf.usage().await?;
                if !is_limited(usage) {
                    break;
                }
                write_quota(line.out(), root, usage);
                return Ok(Answer::ok("Done"));
            }
        }
    }
    Err(Answer::no("NONEXISTENT", "No such quota root").into())
}

/// SETQUOTA: the operator rules, in the configuration.
pub(super) fn set() -> Done {
    Err(MailboxError::NotAllowed.into())
}

/// A mailbox without any limit has no quota root: a QUOTA response tells one resource at least
/// (RFC 9208 §5 `quota-list`).
fn is_limited(usage: Usage) -> bool {
    usage.octets_max.is_some() || usage.messages_max.is_some()
}

/// RFC 9208 §4.2.1: resources without a limit are left out.
fn write_quota(out: &mut Vec<u8>, root: &str, usage: Usage) {
    out.extend_from_slice(b"* QUOTA ");
    write::string(out, root.as_bytes());
    let mut resources = Vec::new();
    if let Some(most) = usage.octets_max {
        resources.push(format!("STORAGE {} {}", usage.octets.div_ceil(UNIT), most / UNIT));
    }
    if let Some(most) = usage.messages_max {
        resources.push(format!("MESSAGE {} {most}", usage.messages));
    }
    write::text(out, format_args!(" ({})\r\n", resources.join(" ")));
}
