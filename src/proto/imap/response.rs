//! Responses that several commands share, as octets: sets of results, mailboxes, rights, quotas.
use crate::domain::folder::UidSet;
use crate::domain::rights::Right;
use crate::domain::rights::Rights;
use crate::proto::imap::command::PartialRange;
use crate::proto::imap::command::StatusItem;
use crate::proto::imap::command::Tag;
use crate::proto::imap::name;
use crate::proto::imap::name::Mode;
use crate::proto::imap::write;

/// An ESEARCH response (RFC 4731 §3.2, RFC 9051 §7.3.4). What is `None` is not told.
#[derive(Clone, Copy, Debug)]
pub struct ESearch<'a> {
    /// Of the command that it answers.
    pub tag: &'a Tag,
    /// True when the numbers are UIDs.
    pub uid: bool,
    /// `MIN`
    pub min: Option<u32>,
    /// `MAX`
    pub max: Option<u32>,
    /// `COUNT`
    pub count: Option<u32>,
    /// `ALL`, in the order of the result; left out when there is none (RFC 4731 §3.1).
    pub all: Option<&'a [u32]>,
    /// `PARTIAL`: what was asked for, and what is there (RFC 9394 §3.1).
    pub partial: Option<(PartialRange, &'a [u32])>,
    /// `MODSEQ`: the highest one (RFC 7162 §3.1.5); left out when there is no result.
    pub modseq: Option<u64>,
}

impl ESearch<'_> {
    /// Writes the response.
    pub fn write(&self, out: &mut Vec<u8>) {
        write::text(out, format_args!("* ESEARCH (TAG \"{}\")", self.tag.as_str()));
        if self.uid {
            out.extend_from_slice(b" UID");
        }
        for (name, number) in [("MIN", self.min), ("MAX", self.max), ("COUNT", self.count)] {
            if let Some(number) = number {
                write::text(out, format_args!(" {name} {number}"));
            }
        }
        if let Some(all) = self.all.filter(|all| !all.is_empty()) {
            out.extend_from_slice(b" ALL ");
            write::set(out, all.iter().copied());
        }
        if let Some((range, found)) = self.partial {
            write::text(out, format_args!(" PARTIAL ({range} "));
            if found.is_empty() {
                out.extend_from_slice(b"NIL");
            } else {
                write::set(out, found.iter().copied());
            }
            out.push(b')');
        }
        if let Some(modseq) = self.modseq {
            write::text(out, format_args!(" MODSEQ {modseq}"));
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// `* SEARCH`, with the highest mod-sequence when it was asked for (RFC 7162 §3.1.5); none is
/// told when nothing was found.
pub fn search(out: &mut Vec<u8>, found: &[u32], modseq: Option<u64>) {
    out.extend_from_slice(b"* SEARCH");
    numbers(out, found);
    if let Some(modseq) = modseq.filter(|_| !found.is_empty()) {
        write::text(out, format_args!(" (MODSEQ {modseq})"));
    }
    out.extend_from_slice(b"\r\n");
}

/// `* SORT` (RFC 5256 §4).
pub fn sort(out: &mut Vec<u8>, found: &[u32]) {
    out.extend_from_slice(b"* SORT");
    numbers(out, found);
    out.extend_from_slice(b"\r\n");
}

/// Threads, as nodes that name their children by their places. Not a tree of boxes: an answer to
/// an answer ten thousand times would be a way through our stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forest {
    /// All messages, and the missing parents between them.
    pub nodes: Vec<Node>,
    /// Places of the first message of each thread.
    pub roots: Vec<usize>,
}

/// One message of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its number; `None` for a parent that is not there. Such a one has children.
    pub number: Option<u32>,
    /// Places of the messages that answer it, in order.
    pub children: Vec<usize>,
}

impl Forest {
    /// Writes `* THREAD` (RFC 5256 §4). Places that are none are left out.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"* THREAD");
        if !self.roots.is_empty() {
            out.push(b' ');
        }
        // What is still to be written, last first; `None` closes a list.
        let mut left: Vec<Option<usize>> =
            self.roots.iter().rev().map(|&root| Some(root)).collect();
        // Somebody who is their own ancestor must not keep us for ever.
        let mut budget = self.nodes.len();
        while let Some(next) = left.pop() {
            match next {
                Some(place) => self.write_members(out, place, &mut left, &mut budget),
                None => out.push(b')'),
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// `thread-members`: a run of single answers, and then a fork or the end.
    fn write_members(
        &self,
        out: &mut Vec<u8>,
        mut place: usize,
        left: &mut Vec<Option<usize>>,
        budget: &mut usize,
    ) {
        out.push(b'(');
        let mut is_first = true;
        while let Some(node) = self.nodes.get(place).filter(|_| *budget > 0) {
            *budget -= 1;
            if let Some(number) = node.number {
                let space = if is_first { "" } else { " " };
                write::text(out, format_args!("{space}{number}"));
                is_first = false;
            }
            match &node.children[..] {
                [] => break,
                [only] => place = *only,
                several => {
                    if !is_first {
                        out.push(b' ');
                    }
                    left.push(None);
                    left.extend(several.iter().rev().map(|&child| Some(child)));
                    return;
                }
            }
        }
        out.push(b')');
    }
}

/// `* VANISHED` or `* VANISHED (EARLIER)` (RFC 7162 §3.2.10); nothing when there is none.
pub fn vanished(out: &mut Vec<u8>, earlier: bool, uids: &UidSet) {
    if uids.is_empty() {
        return;
    }
    out.extend_from_slice(if earlier { b"* VANISHED (EARLIER) " } else { b"* VANISHED " });
    write::set(out, uids.iter());
    out.extend_from_slice(b"\r\n");
}

/// What STATUS tells of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusValue {
    /// Most of them.
    Number(u64),
    /// `MAILBOXID` (RFC 8474 §4.3).
    Id(String),
    /// `APPENDLIMIT` without a limit (RFC 7889 §5).
    Nil,
}

/// `* STATUS` (RFC 9051 §7.3.4 and those who name their items).
pub fn status(out: &mut Vec<u8>, mailbox: &str, mode: Mode, items: &[(StatusItem, StatusValue)]) {
    out.extend_from_slice(b"* STATUS ");
    write::mailbox(out, mailbox, mode);
    for (index, (item, value)) in items.iter().enumerate() {
        let before = if index == 0 { " (" } else { " " };
        write::text(out, format_args!("{before}{} ", item.name()));
        match value {
            StatusValue::Number(number) => write::text(out, format_args!("{number}")),
            StatusValue::Id(id) => write::text(out, format_args!("({id})")),
            StatusValue::Nil => out.extend_from_slice(b"NIL"),
        }
    }
    out.extend_from_slice(if items.is_empty() { b" ()\r\n" } else { b")\r\n" });
}

/// A LIST or LSUB response.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// `LIST` or `LSUB`.
    pub command: &'static str,
    /// With their backslashes.
    pub attributes: &'a [&'a str],
    /// In UTF-8.
    pub mailbox: &'a str,
    /// What is below it matches in this way: `SUBSCRIBED` (RFC 5258 §3.5).
    pub child_info: &'a [&'a str],
    /// The name that it had or was asked for by (RFC 9051 §6.3.9.7).
    pub old_name: Option<&'a str>,
}

impl Listed<'_> {
    /// Writes the response.
    pub fn write(&self, out: &mut Vec<u8>, mode: Mode) {
        let (command, attributes) = (self.command, self.attributes.join(" "));
        write::text(out, format_args!("* {command} ({attributes}) \"{}\" ", name::DELIMITER));
        write::mailbox(out, self.mailbox, mode);
        let mut before = " (";
        if !self.child_info.is_empty() {
            let quoted = self.child_info.join("\" \"");
            write::text(out, format_args!("{before}\"CHILDINFO\" (\"{quoted}\")"));
            before = " ";
        }
        if let Some(old_name) = self.old_name {
            write::text(out, format_args!("{before}\"OLDNAME\" ("));
            write::mailbox(out, old_name, mode);
            out.push(b')');
            before = " ";
        }
        out.extend_from_slice(if before == " " { b")\r\n" } else { b"\r\n" });
    }
}

/// `* ACL` (RFC 4314 §3.6): who may do what.
pub fn acl(out: &mut Vec<u8>, mailbox: &str, mode: Mode, entries: &[(&str, Rights)]) {
    out.extend_from_slice(b"* ACL ");
    write::mailbox(out, mailbox, mode);
    for (identifier, rights) in entries {
        out.push(b' ');
        write::utf8_string(out, identifier, mode);
        write::text(out, format_args!(" {}", with_old_letters(*rights)));
    }
    out.extend_from_slice(b"\r\n");
}

/// `* MYRIGHTS` (RFC 4314 §3.8).
pub fn my_rights(out: &mut Vec<u8>, mailbox: &str, mode: Mode, rights: Rights) {
    out.extend_from_slice(b"* MYRIGHTS ");
    write::mailbox(out, mailbox, mode);
    write::text(out, format_args!(" {}\r\n", with_old_letters(rights)));
}

/// `* LISTRIGHTS` (RFC 4314 §3.7): what somebody has anyway, and what can be given to them; of
/// the latter, the rights of one set go together.
pub fn list_rights(
    out: &mut Vec<u8>,
    (mailbox, mode): (&str, Mode),
    identifier: &str,
    required: Rights,
    optional: &[Rights],
) {
    out.extend_from_slice(b"* LISTRIGHTS ");
    write::mailbox(out, mailbox, mode);
    out.push(b' ');
    write::utf8_string(out, identifier, mode);
    write::text(out, format_args!(" {}", with_old_letters(required)));
    for rights in optional {
        write::text(out, format_args!(" {rights}"));
    }
    // RFC 4314 §2.1.1: programs that know RFC 2086 only look for these.
    let all = optional.iter().fold(Rights::NONE, |all, rights| all.with(*rights));
    for letter in old_letters(all) {
        write::text(out, format_args!(" {letter}"));
    }
    out.extend_from_slice(b"\r\n");
}

/// `* QUOTA` (RFC 9208 §5.1): of each resource its name, its use and its limit.
pub fn quota(out: &mut Vec<u8>, root: &str, mode: Mode, resources: &[(&str, u64, u64)]) {
    out.extend_from_slice(b"* QUOTA ");
    write::utf8_string(out, root, mode);
    let resources: Vec<String> =
        resources.iter().map(|(name, used, limit)| format!("{name} {used} {limit}")).collect();
    write::text(out, format_args!(" ({})\r\n", resources.join(" ")));
}

/// `* QUOTAROOT` (RFC 9208 §5.2).
pub fn quota_root(out: &mut Vec<u8>, mailbox: &str, mode: Mode, roots: &[&str]) {
    out.extend_from_slice(b"* QUOTAROOT ");
    write::mailbox(out, mailbox, mode);
    for root in roots {
        out.push(b' ');
        write::utf8_string(out, root, mode);
    }
    out.extend_from_slice(b"\r\n");
}

/// `* METADATA` with values (RFC 5464 §4.4.1); `None` is the server. Nothing without entries.
pub fn metadata(
    out: &mut Vec<u8>,
    mailbox: Option<&str>,
    mode: Mode,
    entries: &[(&str, Option<&[u8]>)],
) {
    if entries.is_empty() {
        return;
    }
    out.extend_from_slice(b"* METADATA ");
    write::mailbox(out, mailbox.unwrap_or_default(), mode);
    for (index, (entry, value)) in entries.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b" (" } else { b" " });
        write::astring(out, entry.as_bytes());
        out.push(b' ');
        match value {
            Some(value) if value.contains(&0) => {
                write::text(out, format_args!("~{{{}}}\r\n", value.len()));
                out.extend_from_slice(value);
            }
            value => write::nstring(out, *value),
        }
    }
    out.extend_from_slice(b")\r\n");
}

/// `* METADATA` without values: these have changed (RFC 5464 §4.4.2).
pub fn metadata_changed(out: &mut Vec<u8>, mailbox: Option<&str>, mode: Mode, entries: &[&str]) {
    if entries.is_empty() {
        return;
    }
    out.extend_from_slice(b"* METADATA ");
    write::mailbox(out, mailbox.unwrap_or_default(), mode);
    for entry in entries {
        out.push(b' ');
        write::astring(out, entry.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 4314 §2.1.1: `c` and `d` are told along with what they became. Without any right it is
/// an empty string.
fn with_old_letters(rights: Rights) -> String {
    if rights.is_empty() {
        return "\"\"".to_owned();
    }
    rights.to_string().chars().chain(old_letters(rights)).collect()
}

fn old_letters(rights: Rights) -> impl Iterator<Item = char> {
    let has = |one, other| rights.has(one) || rights.has(other);
    let create = has(Right::CreateFolders, Right::DeleteFolder).then_some('c');
    let delete = has(Right::DeleteMessages, Right::Expunge).then_some('d');
    create.into_iter().chain(delete)
}

fn numbers(out: &mut Vec<u8>, numbers: &[u32]) {
    for number in numbers {
        write::text(out, format_args!(" {number}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_extended_search_tells_what_was_asked_for_and_nothing_of_nothing() {
        let tag = Tag::parse("A282").unwrap();
        let none = ESearch {
            tag: &tag,
            uid: false,
            min: None,
            max: None,
            count: None,
            all: None,
            partial: None,
            modseq: None,
        };
        let check = |answer: ESearch<'_>, expected: &str| {
            assert_eq!(
                written(|out| answer.write(out)),
                format!("* ESEARCH (TAG \"A282\"){expected}\r\n")
            );
        };
        check(none, "");
        check(ESearch { uid: true, min: Some(2), count: Some(3), ..none }, " UID MIN 2 COUNT 3");
        check(ESearch { all: Some(&[2, 10, 11, 15]), ..none }, " ALL 2,10:11,15");
        check(ESearch { all: Some(&[]), count: Some(0), ..none }, " COUNT 0");
        // An order is kept: a sorted result is no set.
        check(ESearch { all: Some(&[5, 3, 4]), max: Some(5), ..none }, " MAX 5 ALL 5,3:4");
        let range = PartialRange { first: 1, last: 100, from_end: true };
        check(ESearch { partial: Some((range, &[7, 8])), ..none }, " PARTIAL (-1:-100 7:8)");
        check(ESearch { partial: Some((range, &[])), ..none }, " PARTIAL (-1:-100 NIL)");
        check(ESearch { max: Some(9), modseq: Some(917), ..none }, " MAX 9 MODSEQ 917");
    }

    #[test]
    fn plain_results_are_numbers_in_their_order() {
        assert_eq!(written(|out| search(out, &[], Some(5))), "* SEARCH\r\n");
        assert_eq!(written(|out| search(out, &[2, 5], Some(917))), "* SEARCH 2 5 (MODSEQ 917)\r\n");
        assert_eq!(written(|out| sort(out, &[84, 2])), "* SORT 84 2\r\n");
    }

    #[test]
    fn a_thread_forks_where_a_message_has_two_answers() {
        let node = |number: u32, children: &[usize]| Node {
            number: (number > 0).then_some(number),
            children: children.to_vec(),
        };
        // RFC 5256 §4: (2)(3 6 (4 23)(44 7 96))
        let forest = Forest {
            nodes: vec![
                node(2, &[]),
                node(3, &[2]),
                node(6, &[3, 5]),
                node(4, &[4]),
                node(23, &[]),
                node(44, &[6]),
                node(7, &[7]),
                node(96, &[]),
            ],
            roots: vec![0, 1],
        };
        assert_eq!(written(|out| forest.write(out)), "* THREAD (2)(3 6 (4 23)(44 7 96))\r\n");
        let orphans =
            Forest { nodes: vec![node(0, &[1, 2]), node(3, &[]), node(5, &[])], roots: vec![0] };
        assert_eq!(written(|out| orphans.write(out)), "* THREAD ((3)(5))\r\n");
        assert_eq!(written(|out| Forest::default().write(out)), "* THREAD\r\n");
    }

    #[test]
    fn a_conversation_of_a_hundred_thousand_answers_needs_no_stack() {
        let mut nodes: Vec<Node> = Vec::new();
        for place in 0..100_000_usize {
            // Every second message has two answers, the first of which goes on.
            let children = if place + 2 < 100_000 { vec![place + 2] } else { vec![] };
            nodes.push(Node { number: u32::try_from(place + 1).ok(), children });
        }
        nodes[0].children.push(1);
        let forest = Forest { nodes, roots: vec![0] };
        let text = written(|out| forest.write(out));
        assert!(text.starts_with("* THREAD (1 (3 5 ") && text.ends_with(" 100000))\r\n"));
    }

    #[test]
    fn vanished_uids_are_a_short_set() {
        let uids = UidSet::from_iter([1, 2, 3, 9]);
        assert_eq!(written(|out| vanished(out, true, &uids)), "* VANISHED (EARLIER) 1:3,9\r\n");
        assert_eq!(written(|out| vanished(out, false, &uids)), "* VANISHED 1:3,9\r\n");
        assert_eq!(written(|out| vanished(out, false, &UidSet::new())), "");
    }

    #[test]
    fn a_mailbox_is_written_in_the_mode_of_the_session() {
        let items = [
            (StatusItem::Messages, StatusValue::Number(3)),
            (StatusItem::MailboxId, StatusValue::Id("F1".to_owned())),
            (StatusItem::AppendLimit, StatusValue::Nil),
        ];
        let told = "(MESSAGES 3 MAILBOXID (F1) APPENDLIMIT NIL)\r\n";
        let check = |mode, name: &str| {
            let text = written(|out| status(out, "Envoyé", mode, &items));
            assert_eq!(text, format!("* STATUS {name} {told}"));
        };
        check(Mode::Utf7, "\"Envoy&AOk-\"");
        check(Mode::Utf8, "\"Envoyé\"");
    }

    #[test]
    fn a_listed_mailbox_has_its_attributes_and_its_extended_data() {
        let plain = Listed {
            command: "LIST",
            attributes: &["\\HasNoChildren", "\\Sent"],
            mailbox: "a \"b\"",
            child_info: &[],
            old_name: None,
        };
        let check = |listed: Listed<'_>, expected: &str| {
            let text = written(|out| listed.write(out, Mode::Utf8));
            let begin = "* LIST (\\HasNoChildren \\Sent) \"/\" \"a \\\"b\\\"\"";
            assert_eq!(text, format!("{begin}{expected}\r\n"));
        };
        check(plain, "");
        check(
            Listed { child_info: &["SUBSCRIBED", "SPECIAL-USE"], ..plain },
            " (\"CHILDINFO\" (\"SUBSCRIBED\" \"SPECIAL-USE\"))",
        );
        check(
            Listed { child_info: &["SUBSCRIBED"], old_name: Some("é"), ..plain },
            " (\"CHILDINFO\" (\"SUBSCRIBED\") \"OLDNAME\" (\"é\"))",
        );
    }

    #[test]
    fn rights_are_told_with_their_old_letters() {
        let rights = |letters| Rights::parse(letters).unwrap();
        let text = written(|out| {
            acl(out, "INBOX", Mode::Utf7, &[("Fred", rights("lrt")), ("-x y", Rights::NONE)]);
            my_rights(out, "INBOX", Mode::Utf7, rights("lrk"));
            let optional = [rights("l"), rights("te")];
            list_rights(out, ("x", Mode::Utf7), "smith", rights(""), &optional);
        });
        assert_eq!(
            text,
            "* ACL \"INBOX\" \"Fred\" lrtd \"-x y\" \"\"\r\n\
             * MYRIGHTS \"INBOX\" lrkc\r\n\
             * LISTRIGHTS \"x\" \"smith\" \"\" l te d\r\n"
        );
    }

    #[test]
    fn quotas_and_metadata_have_their_lines() {
        let text = written(|out| {
            quota_root(out, "INBOX", Mode::Utf7, &["", "#a"]);
            quota(out, "", Mode::Utf7, &[("STORAGE", 10, 512), ("MESSAGE", 1, 2)]);
            let entries: [(&str, Option<&[u8]>); 3] =
                [("/private/a", Some(b"x\"")), ("/shared/b", None), ("/shared/c", Some(b"\0"))];
            metadata(out, None, Mode::Utf7, &entries);
            metadata_changed(out, Some("INBOX"), Mode::Utf7, &["/shared/a", "/private/b c"]);
            metadata(out, Some("INBOX"), Mode::Utf7, &[]);
        });
        assert_eq!(
            text,
            "* QUOTAROOT \"INBOX\" \"\" \"#a\"\r\n\
             * QUOTA \"\" (STORAGE 10 512 MESSAGE 1 2)\r\n\
             * METADATA \"\" (/private/a \"x\\\"\" /shared/b NIL /shared/c ~{1}\r\n\0)\r\n\
             * METADATA \"INBOX\" /shared/a \"/private/b c\"\r\n"
        );
    }
}
