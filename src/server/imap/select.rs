//! SELECT and EXAMINE, and the ways out of a mailbox.
use crate::domain::rights::Right;
use crate::proto::imap::command::Access;
use crate::proto::imap::flags;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::folders;
use crate::server::imap::line::Stream;
use crate::server::imap::session::Session;
use crate::server::imap::session::State;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view::View;

impl<D: Desk, S: Stream> Session<'_, D, S> {
    pub(super) async fn select(&mut self, mailbox: &MailboxName, access: Access) -> Done {
        self.shelf()?;
        // RFC 3501 §6.3.1: whatever comes of it, the mailbox selected before is not any more.
        self.unselect();
        let shelf = self.shelf()?;
        let place = folders::find(self.desk, shelf, mailbox).await?;
        place.must(Right::Read)?;
        let opened = View::open(place.shelf, place.folder.id, access).await?;
        let folder = &opened.folder;
        let mut known = flags::print(&crate::domain::folder::Flags {
            seen: true,
            answered: true,
            flagged: true,
            deleted: true,
            draft: true,
            keywords: opened.keywords,
        });
        let out = self.line.out();
        write::text(out, format_args!("* FLAGS {known}\r\n"));
        write::text(out, format_args!("* {} EXISTS\r\n* 0 RECENT\r\n", opened.view.exists()));
        if let Some(first) = opened.first_unseen {
            write::text(out, format_args!("* OK [UNSEEN {first}] First unread\r\n"));
        }
        let (validity, next) = (folder.uid_validity, folder.uid_next.0);
        write::text(out, format_args!("* OK [UIDVALIDITY {validity}] UIDs are valid\r\n"));
        write::text(out, format_args!("* OK [UIDNEXT {next}] Next UID\r\n"));
        let (permanent, code, text) = match access {
            Access::ReadWrite => {
                known.insert_str(known.len() - 1, " \\*");
                (known.as_str(), "READ-WRITE", "Selected")
            }
            Access::ReadOnly => ("()", "READ-ONLY", "Examined"),
        };
        write::text(out, format_args!("* OK [PERMANENTFLAGS {permanent}] Kept\r\n"));
        if let State::LoggedIn(shelf) = std::mem::replace(&mut self.state, State::Stranger) {
            self.state = State::Selected(shelf, Box::new(opened.view));
        }
        Ok(Answer::ok(text).code(code.to_owned()))
    }

    pub(super) async fn delete(&mut self, mailbox: &MailboxName) -> Done {
        let shelf = self.shelf()?;
        let gone = folders::delete(self.desk, shelf, mailbox).await?;
        // Who deletes the mailbox that they have open need not be told that it is gone.
        if self.selected().is_ok_and(|view| (view.shelf.id(), view.folder) == gone) {
            self.unselect();
        }
        Ok(Answer::ok("Deleted"))
    }

    /// RFC 3501 §6.4.2: removes what is marked `\Deleted`, without a word, if it may.
    pub(super) async fn close(&mut self) -> Done {
        let view = self.selected()?;
        if view.access == Access::ReadWrite {
            view.shelf.expunge(view.folder, None).await?;
        }
        self.unselect();
        Ok(Answer::ok("Closed"))
    }
}
