//! Which marks a client knows of in the selected mailbox, and how it hears of new ones.
use std::collections::BTreeSet;

use crate::domain::folder::Flags;
use crate::domain::limits;
use crate::domain::rights::Right;
use crate::domain::rights::Rights;
use crate::proto::imap::command::Access;
use crate::proto::imap::flags;
use crate::proto::imap::write;
use crate::server::imap::select;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view::View;

/// The marks of the standard, and these keywords.
pub(super) fn all_with(keywords: BTreeSet<String>) -> Flags {
    Flags { seen: true, answered: true, flagged: true, deleted: true, draft: true, keywords }
}

impl<M: Shelf> View<M> {
    /// Tells the client of keywords that it has not met yet, as it must know of every mark that a
    /// FETCH shows (RFC 3501 §7.2.6, RFC 9051 §7.3.5).
    pub(super) fn introduce(&mut self, out: &mut Vec<u8>, flags: &Flags) {
        let mut is_news = false;
        for keyword in &flags.keywords {
            // SELECT tells no more of them either.
            let has_room = self.marks.keywords.len() < limits::KEYWORDS_MAX;
            if has_room && !self.marks.has_keyword(keyword) {
                self.marks.keywords.insert(keyword.clone());
                is_news = true;
            }
        }
        if is_news {
            write::text(out, format_args!("* FLAGS {}\r\n", flags::print(&self.marks)));
            write_permanent(out, self);
        }
    }
}

/// `* OK [PERMANENTFLAGS (…)]`: what this session may change for good.
pub(super) fn write_permanent<M: Shelf>(out: &mut Vec<u8>, view: &View<M>) {
    let permanent = match view.access {
        Access::ReadWrite => permanent_flags(&view.marks, view.rights),
        Access::ReadOnly => "()".to_owned(),
    };
    write::text(out, format_args!("* OK [PERMANENTFLAGS {permanent}] Kept\r\n"));
}

/// The flags that these rights may change for good (RFC 4314 §4), and whether new keywords may come.
fn permanent_flags(all: &Flags, rights: Rights) -> String {
    let permitted = select::permitted_flags(all, rights);
    let mut text = flags::print(&permitted);
    if rights.has(Right::Write) {
        let space = if text == "()" { "" } else { " " };
        text.insert_str(text.len() - 1, &format!("{space}\\*"));
    }
    text
}
