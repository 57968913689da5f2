//! SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3).
use crate::domain::rights::Right;
use crate::domain::rights::Rights;
use crate::flow::mailbox::readers::Identifier;
use crate::proto::imap::command::RightsChange;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::folders;
use crate::server::imap::folders::Place;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;

/// SETACL
pub(super) async fn set<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    mailbox: &MailboxName,
    identifier: &str,
    change: RightsChange,
) -> Done {
    let place = administered(desk, own, mailbox).await?;
    let identifier = known(desk, identifier)?;
    place.shelf.change_acl(place.folder.id, &identifier, change).await?;
    Ok(Answer::ok("Set"))
}

/// DELETEACL. To take away what is not there is no error (RFC 4314 §3.2).
pub(super) async fn delete<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    mailbox: &MailboxName,
    identifier: &str,
) -> Done {
    let place = administered(desk, own, mailbox).await?;
    if let Some(identifier) = Identifier::parse(identifier) {
        place.shelf.delete_acl(place.folder.id, &identifier).await?;
    }
    Ok(Answer::ok("Deleted"))
}

/// GETACL
pub(super) async fn get<D: Desk, S: Stream>(
    desk: &D,
    own: &D::Shelf,
    line: &mut Line<S>,
    mailbox: &MailboxName,
) -> Done {
    let place = administered(desk, own, mailbox).await?;
    let grants = place.shelf.acl(place.folder.id).await?;
    let dialect = line.dialect;
    let out = line.out();
    out.extend_from_slice(b"* ACL ");
    dialect.write_name(out, &place.name);
    for grant in grants {
        out.push(b' ');
        write::string(out, grant.identifier.to_string().as_bytes());
        write::text(out, format_args!(" {}", letters(grant.rights)));
    }
    out.extend_from_slice(b"\r\n");
    Ok(Answer::ok("Done"))
}

/// LISTRIGHTS
pub(super) async fn list<D: Desk, S: Stream>(
    desk: &D,
    own: &D::Shelf,
    line: &mut Line<S>,
    mailbox: &MailboxName,
    written: &str,
) -> Done {
    let place = administered(desk, own, mailbox).await?;
    let identifier = known(desk, written)?;
    let is_owner = !identifier.is_negative()
        && identifier.address().is_some_and(|one| one.lookup_form() == place.shelf.owner());
    let dialect = line.dialect;
    let out = line.out();
    out.extend_from_slice(b"* LISTRIGHTS ");
    dialect.write_name(out, &place.name);
    out.push(b' ');
    // RFC 4314 §3.7: the identifier as the client wrote it.
    write::string(out, written.as_bytes());
    // RFC 4314 §2.1.1: `c` and `d` are tied to what they stand for.
    out.extend_from_slice(if is_owner {
        b" la r s w i p kxc ted\r\n"
    } else {
        b" \"\" l r s w i p kxc ted a\r\n"
    });
    Ok(Answer::ok("Done"))
}

/// MYRIGHTS
pub(super) async fn mine<D: Desk, S: Stream>(
    desk: &D,
    own: &D::Shelf,
    line: &mut Line<S>,
    mailbox: &MailboxName,
) -> Done {
    let place = folders::find(desk, own, mailbox).await?;
    write_my_rights(line, &place.name, place.rights);
    Ok(Answer::ok("Done"))
}

/// The response of MYRIGHTS, and of LIST with it.
pub(super) fn write_my_rights<S: Stream>(line: &mut Line<S>, name: &str, rights: Rights) {
    let dialect = line.dialect;
    let out = line.out();
    out.extend_from_slice(b"* MYRIGHTS ");
    dialect.write_name(out, name);
    write::text(out, format_args!(" {}\r\n", letters(rights)));
}

/// A folder whose rights this login may give and take.
async fn administered<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    mailbox: &MailboxName,
) -> Result<Place<D::Shelf>, Halt> {
    let place = folders::find(desk, own, mailbox).await?;
    place.must(Right::Administer)?;
    Ok(place)
}

/// An identifier that could be somebody's here. Whether somebody has that address is not told:
/// some addresses are not for everybody to know.
fn known<D: Desk>(desk: &D, written: &str) -> Result<Identifier, Halt> {
    let identifier = Identifier::parse(written);
    let identifier = identifier.filter(|identifier| {
        identifier.address().is_none_or(|address| desk.could_log_in(&address))
    });
    let refusal = || Answer::no("CANNOT", "An identifier is an address here, or anyone");
    identifier.ok_or_else(|| refusal().into())
}

/// RFC 4314 §2.1.1: clients of RFC 2086 are told `c` and `d` as well.
fn letters(rights: Rights) -> String {
    let mut letters = rights.to_string();
    if rights.has(Right::CreateFolders) || rights.has(Right::DeleteFolder) {
        letters.push('c');
    }
    if rights.has(Right::DeleteMessages) || rights.has(Right::Expunge) {
        letters.push('d');
    }
    if letters.is_empty() { "\"\"".to_owned() } else { letters }
}
