//! Commands as a client with LITERAL+ sends them: what the grammar reads, written back.
use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::proto::imap::command::AppendMessage;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Command;
use crate::proto::imap::command::Echo;
use crate::proto::imap::command::EventGroup;
use crate::proto::imap::command::Fetch;
use crate::proto::imap::command::List;
use crate::proto::imap::command::MessageForm;
use crate::proto::imap::command::MetadataDepth;
use crate::proto::imap::command::MetadataOptions;
use crate::proto::imap::command::Notify;
use crate::proto::imap::command::NotifyEvent;
use crate::proto::imap::command::NotifyMailboxes;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::PartialRange;
use crate::proto::imap::command::RightsChange;
use crate::proto::imap::command::Search;
use crate::proto::imap::command::SearchReturns;
use crate::proto::imap::command::SelectOptions;
use crate::proto::imap::command::Sort;
use crate::proto::imap::command::StatusItem;
use crate::proto::imap::command::Store;
use crate::proto::imap::command::Thread;
use crate::proto::imap::date;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::flags;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::name::Mode;
use crate::proto::imap::search;
use crate::proto::imap::write;

impl Command {
    /// The command, CRLF included, with mailbox names in modified UTF-7. Secrets are in it. Of a
    /// message that it brings only the length is known: as many `x` stand for it.
    pub fn print(&self) -> Vec<u8> {
        self.print_in(Mode::Utf7)
    }

    /// The same in a session that writes mailbox names so.
    pub fn print_in(&self, mode: Mode) -> Vec<u8> {
        let mut out = Vec::new();
        write::text(&mut out, format_args!("{} ", self.tag.as_str()));
        Printer { out: &mut out, mode }.body(&self.body);
        out.extend_from_slice(b"\r\n");
        out
    }
}

struct Printer<'a> {
    out: &'a mut Vec<u8>,
    mode: Mode,
}

impl Printer<'_> {
    fn body(&mut self, body: &Body) {
        if is_by_uid(body) {
            self.text(format_args!("UID "));
        }
        self.text(format_args!("{}", body.name()));
        match body {
            Body::Capability
            | Body::Noop
            | Body::Logout
            | Body::StartTls
            | Body::Namespace
            | Body::Idle
            | Body::Check
            | Body::Close
            | Body::Unselect
            | Body::Expunge
            | Body::Unauthenticate => {}
            Body::Id => self.text(format_args!(" NIL")),
            Body::Compress => self.text(format_args!(" DEFLATE")),
            Body::Enable(names) => self.text(format_args!(" {}", names.join(" "))),
            Body::Authenticate { mechanism, initial } => {
                self.text(format_args!(" {mechanism}"));
                if let Some(initial) = initial {
                    self.out.push(b' ');
                    self.out.extend_from_slice(initial.expose());
                }
            }
            Body::Login { name, password } => {
                self.argument(name.as_bytes());
                self.argument(password.expose().as_bytes());
            }
            Body::Select { mailbox, options, .. } => {
                self.mailbox(mailbox);
                self.select_options(options);
            }
            Body::Delete(mailbox)
            | Body::Subscribe(mailbox)
            | Body::Unsubscribe(mailbox)
            | Body::GetAcl(mailbox)
            | Body::MyRights(mailbox)
            | Body::GetQuotaRoot(mailbox) => self.mailbox(mailbox),
            Body::Create { mailbox, special_use } => {
                self.mailbox(mailbox);
                if !special_use.is_empty() {
                    let uses = special_use.iter().map(|use_| use_.attribute());
                    self.text(format_args!(" (USE ({}))", joined(uses)));
                }
            }
            Body::Rename { from, to } => {
                self.mailbox(from);
                self.mailbox(to);
            }
            Body::List(list) => self.list(list),
            Body::Lsub { reference, pattern } => {
                self.mailbox(reference);
                self.argument(pattern.to_wire(self.mode).as_bytes());
            }
            Body::Status { mailbox, items } => {
                self.mailbox(mailbox);
                self.text(format_args!(" ({})", status_names(items)));
            }
            Body::Append(append) => {
                self.mailbox(&append.mailbox);
                append.messages.iter().for_each(|message| self.message(message));
            }
            Body::Replace(replace) => {
                self.text(format_args!(" {}", replace.replaced));
                self.mailbox(&replace.mailbox);
                self.message(&replace.message);
            }
            Body::UidExpunge(set) => self.text(format_args!(" {set}")),
            Body::Search(search) => {
                self.returns(search.returns);
                if let Some(charset) = &search.charset {
                    self.text(format_args!(" CHARSET"));
                    self.argument(charset);
                }
                self.key(search);
            }
            Body::Sort(Sort { search, criteria }) => {
                self.returns(search.returns);
                let keys = criteria.iter().map(|one| {
                    let reverse = if one.reverse { "REVERSE " } else { "" };
                    format!("{reverse}{}", one.key.name())
                });
                self.text(format_args!(" ({})", joined(keys)));
                self.argument(search.charset.as_deref().unwrap_or(b"UTF-8"));
                self.key(search);
            }
            Body::Thread(Thread { search, algorithm }) => {
                self.text(format_args!(" {}", algorithm.name()));
                self.argument(search.charset.as_deref().unwrap_or(b"UTF-8"));
                self.key(search);
            }
            Body::Fetch(fetch) => self.fetch(fetch),
            Body::Store(store) => self.store(store),
            Body::Copy { set, mailbox, .. } | Body::Move { set, mailbox, .. } => {
                self.text(format_args!(" {set}"));
                self.mailbox(mailbox);
            }
            Body::Notify(None) => self.text(format_args!(" NONE")),
            Body::Notify(Some(notify)) => self.notify(notify),
            Body::SetAcl { mailbox, identifier, change } => {
                self.mailbox(mailbox);
                self.argument(identifier.as_bytes());
                let rights = match change {
                    RightsChange::Replace(rights) => rights.to_string(),
                    RightsChange::Add(rights) => format!("+{rights}"),
                    RightsChange::Remove(rights) => format!("-{rights}"),
                };
                self.argument(rights.as_bytes());
            }
            Body::DeleteAcl { mailbox, identifier } | Body::ListRights { mailbox, identifier } => {
                self.mailbox(mailbox);
                self.argument(identifier.as_bytes());
            }
            Body::GetQuota(root) => self.argument(root.as_bytes()),
            Body::SetQuota { root, limits } => {
                self.argument(root.as_bytes());
                let limits = limits.iter().map(|(name, limit)| format!("{name} {limit}"));
                self.text(format_args!(" ({})", joined(limits)));
            }
            Body::GetMetadata { mailbox, options, entries } => {
                self.metadata_options(*options);
                self.server_or_mailbox(mailbox.as_ref());
                self.out.extend_from_slice(b" (");
                for (index, entry) in entries.iter().enumerate() {
                    self.space_before(index);
                    self.bare_argument(entry.as_bytes());
                }
                self.out.push(b')');
            }
            Body::SetMetadata { mailbox, entries } => {
                self.server_or_mailbox(mailbox.as_ref());
                self.out.extend_from_slice(b" (");
                for (index, (entry, value)) in entries.iter().enumerate() {
                    self.space_before(index);
                    self.bare_argument(entry.as_bytes());
                    self.out.push(b' ');
                    self.value(value.as_ref().map(|value| value.expose().as_slice()));
                }
                self.out.push(b')');
            }
        }
    }

    fn select_options(&mut self, options: &SelectOptions) {
        let mut words = Vec::new();
        if options.condstore {
            words.push("CONDSTORE".to_owned());
        }
        if let Some(qresync) = &options.qresync {
            let (validity, modseq) = (qresync.uid_validity, qresync.modseq);
            let known = qresync.known_uids.as_ref().map(|uids| format!(" {uids}"));
            let pairs =
                qresync.pairs.as_ref().map(|(numbers, uids)| format!(" ({numbers} {uids})"));
            let (known, pairs) = (known.unwrap_or_default(), pairs.unwrap_or_default());
            words.push(format!("QRESYNC ({validity} {modseq}{known}{pairs})"));
        }
        if !words.is_empty() {
            self.text(format_args!(" ({})", words.join(" ")));
        }
    }

    fn list(&mut self, list: &List) {
        let options = |options: &[(bool, &'static str)]| {
            joined(options.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name))
        };
        let selection = options(&[
            (list.selection.subscribed, "SUBSCRIBED"),
            (list.selection.special_use, "SPECIAL-USE"),
            (list.selection.recursive, "RECURSIVEMATCH"),
        ]);
        // An empty selection in parentheses makes any LIST an extended one.
        if list.extended {
            self.text(format_args!(" ({selection})"));
        }
        self.mailbox(&list.reference);
        if let [pattern] = &list.patterns[..] {
            self.argument(pattern.to_wire(self.mode).as_bytes());
        } else {
            self.out.extend_from_slice(b" (");
            for (index, pattern) in list.patterns.iter().enumerate() {
                self.space_before(index);
                self.bare_argument(pattern.to_wire(self.mode).as_bytes());
            }
            self.out.push(b')');
        }
        if let Some(returns) = &list.returns {
            let mut words = options(&[
                (returns.subscribed, "SUBSCRIBED"),
                (returns.children, "CHILDREN"),
                (returns.special_use, "SPECIAL-USE"),
                (returns.my_rights, "MYRIGHTS"),
            ]);
            if !returns.status.is_empty() {
                let space = if words.is_empty() { "" } else { " " };
                words = format!("{words}{space}STATUS ({})", status_names(&returns.status));
            }
            self.text(format_args!(" RETURN ({words})"));
        }
    }

    fn message(&mut self, message: &AppendMessage) {
        if message.flags != Flags::default() {
            self.text(format_args!(" {}", flags::print(&message.flags)));
        }
        if let Some(moment) = message.date {
            self.text(format_args!(" \"{}\"", date::print_date_time(moment)));
        }
        let (before, behind) = match message.form {
            MessageForm::Literal => ("", ""),
            MessageForm::Binary => ("~", ""),
            MessageForm::Utf8 => ("UTF8 (~", ")"),
        };
        self.text(format_args!(" {before}{{{}+}}\r\n", message.octets));
        let octets = usize::try_from(message.octets).unwrap_or(usize::MAX);
        self.out.extend(std::iter::repeat_n(b'x', octets));
        self.text(format_args!("{behind}"));
    }

    fn returns(&mut self, returns: Option<SearchReturns>) {
        let Some(returns) = returns else { return };
        let flags = [
            (returns.min, "MIN"),
            (returns.max, "MAX"),
            (returns.all, "ALL"),
            (returns.count, "COUNT"),
            (returns.save, "SAVE"),
        ];
        let words =
            flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name.to_owned());
        let partial = returns.partial.map(|range| format!("PARTIAL {range}"));
        self.text(format_args!(" RETURN ({})", joined(words.chain(partial))));
    }

    fn key(&mut self, search: &Search) {
        self.out.push(b' ');
        search.key.print(self.out);
    }

    fn fetch(&mut self, fetch: &Fetch) {
        self.text(format_args!(" {} ", fetch.set));
        self.items(&fetch.items);
        let changed = fetch.changed_since.map(|modseq| format!("CHANGEDSINCE {modseq}"));
        let vanished = fetch.vanished.then(|| "VANISHED".to_owned());
        let partial = fetch.partial.map(|range| format!("PARTIAL {range}"));
        let modifiers = joined([changed, vanished, partial].into_iter().flatten());
        if !modifiers.is_empty() {
            self.text(format_args!(" ({modifiers})"));
        }
    }

    fn items(&mut self, items: &[FetchItem]) {
        self.out.push(b'(');
        for (index, item) in items.iter().enumerate() {
            self.space_before(index);
            item.print(self.out);
        }
        self.out.push(b')');
    }

    fn store(&mut self, store: &Store) {
        let (sign, flags) = match &store.change {
            FlagChange::Replace(flags) => ("", flags),
            FlagChange::Add(flags) => ("+", flags),
            FlagChange::Remove(flags) => ("-", flags),
        };
        let silent = if store.echo == Echo::Silent { ".SILENT" } else { "" };
        let unchanged = store.unchanged_since.map(|modseq| format!(" (UNCHANGEDSINCE {modseq})"));
        let (unchanged, flags) = (unchanged.unwrap_or_default(), flags::print(flags));
        self.text(format_args!(" {}{unchanged} {sign}FLAGS{silent} {flags}", store.set));
    }

    fn notify(&mut self, notify: &Notify) {
        let status = if notify.status { " STATUS" } else { "" };
        self.text(format_args!(" SET{status}"));
        for EventGroup { mailboxes, events } in &notify.groups {
            let (word, names): (_, &[MailboxName]) = match mailboxes {
                NotifyMailboxes::Selected => ("selected", &[]),
                NotifyMailboxes::SelectedDelayed => ("selected-delayed", &[]),
                NotifyMailboxes::Inboxes => ("inboxes", &[]),
                NotifyMailboxes::Personal => ("personal", &[]),
                NotifyMailboxes::Subscribed => ("subscribed", &[]),
                NotifyMailboxes::Subtree(names) => ("subtree", names),
                NotifyMailboxes::Mailboxes(names) => ("mailboxes", names),
            };
            self.text(format_args!(" ({word}"));
            for (index, name) in names.iter().enumerate() {
                self.out.extend_from_slice(if index == 0 { b" (" } else { b" " });
                self.bare_argument(name.to_wire(self.mode).as_bytes());
            }
            if !names.is_empty() {
                self.out.push(b')');
            }
            self.events(events);
            self.out.push(b')');
        }
    }

    fn events(&mut self, events: &[NotifyEvent]) {
        if events.is_empty() {
            self.text(format_args!(" NONE"));
            return;
        }
        for (index, event) in events.iter().enumerate() {
            self.out.extend_from_slice(if index == 0 { b" (" } else { b" " });
            self.text(format_args!("{}", event.name()));
            match event {
                NotifyEvent::MessageNew(items) if !items.is_empty() => {
                    self.out.push(b' ');
                    self.items(items);
                }
                _ => {}
            }
        }
        self.out.push(b')');
    }

    fn metadata_options(&mut self, options: MetadataOptions) {
        let size = options.size_max.map(|octets| format!("MAXSIZE {octets}"));
        let depth = match options.depth {
            MetadataDepth::Entry => None,
            MetadataDepth::Children => Some("DEPTH 1".to_owned()),
            MetadataDepth::All => Some("DEPTH infinity".to_owned()),
        };
        let words = joined(size.into_iter().chain(depth));
        if !words.is_empty() {
            self.text(format_args!(" ({words})"));
        }
    }

    /// `nstring / literal8`
    fn value(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.text(format_args!("NIL")),
            Some(value) if value.contains(&0) => {
                self.text(format_args!("~{{{}+}}\r\n", value.len()));
                self.out.extend_from_slice(value);
            }
            Some(value) => self.bare_argument(value),
        }
    }

    fn server_or_mailbox(&mut self, mailbox: Option<&MailboxName>) {
        match mailbox {
            Some(mailbox) => self.mailbox(mailbox),
            None => self.argument(b""),
        }
    }

    fn mailbox(&mut self, mailbox: &MailboxName) {
        self.argument(mailbox.to_wire(self.mode).as_bytes());
    }

    fn argument(&mut self, value: &[u8]) {
        self.out.push(b' ');
        self.bare_argument(value);
    }

    fn bare_argument(&mut self, value: &[u8]) {
        search::write_argument(self.out, value);
    }

    fn space_before(&mut self, index: usize) {
        if index > 0 {
            self.out.push(b' ');
        }
    }

    fn text(&mut self, text: std::fmt::Arguments<'_>) {
        write::text(self.out, text);
    }
}

fn is_by_uid(body: &Body) -> bool {
    match body {
        Body::Search(Search { by, .. })
        | Body::Sort(Sort { search: Search { by, .. }, .. })
        | Body::Thread(Thread { search: Search { by, .. }, .. })
        | Body::Fetch(Fetch { by, .. })
        | Body::Store(Store { by, .. })
        | Body::Copy { by, .. }
        | Body::Move { by, .. } => *by == Numbering::Uid,
        Body::Replace(replace) => replace.by == Numbering::Uid,
        Body::UidExpunge(_) => true,
        _ => false,
    }
}

impl std::fmt::Display for PartialRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.from_end { "-" } else { "" };
        write!(f, "{sign}{}:{sign}{}", self.first, self.last)
    }
}

fn status_names(items: &[StatusItem]) -> String {
    joined(items.iter().map(|item| item.name()))
}

fn joined<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    let mut all = String::new();
    for (index, word) in words.into_iter().enumerate() {
        if index > 0 {
            all.push(' ');
        }
        all.push_str(word.as_ref());
    }
    all
}
