//! Every command that there is, made at random: what is printed is read back as the same.
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::SpecialUse;
use crate::domain::rights::Rights;
use crate::domain::secret::Secret;
use crate::domain::time::Day;
use crate::domain::time::Timestamp;
use crate::domain::time::Zone;
use crate::domain::time::ZonedTime;
use crate::proto::imap::command::*;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::Piece;
use crate::proto::imap::fetch::*;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::name::Mode;
use crate::proto::imap::name::Pattern;
use crate::proto::imap::reader::Budget;
use crate::proto::imap::reader::Reader;
use crate::proto::imap::reader::Step;
use crate::proto::imap::search::*;
use crate::proto::imap::sequence::Number;
use crate::proto::imap::sequence::SequenceSet;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn whatever_a_client_may_ask_is_printed_and_read_back(body in body(), is_utf8 in any::<bool>()) {
        let mode = if is_utf8 { Mode::Utf8 } else { Mode::Utf7 };
        let command = Command { tag: Tag::parse("a.1").unwrap(), body };
        let printed = command.print_in(mode);
        let shown = String::from_utf8_lossy(&printed);
        let again = match read(&printed, mode) {
            Ok(again) => again,
            Err(why) => return Err(TestCaseError::fail(format!("{shown:?}: {why}"))),
        };
        prop_assert_eq!(format!("{:?}", &command), format!("{:?}", &again), "{}", shown);
        // Secrets do not show, but they print.
        prop_assert_eq!(&printed, &again.print_in(mode), "{}", shown);
    }
}

fn read(octets: &[u8], mode: Mode) -> Result<Command, String> {
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    reader.set_mode(mode);
    let mut rest = octets;
    loop {
        let (used, step) = reader.feed(rest);
        rest = &rest[used..];
        match step {
            Some(Step::Command(command)) if rest.is_empty() => return Ok(command),
            Some(Step::Message(_)) => reader.accept_message(),
            Some(Step::Received(_)) => {}
            other => return Err(format!("{other:?}")),
        }
    }
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        1 => select(vec![0_usize, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]).prop_map(bare),
        4 => about_sessions_and_mailboxes(),
        4 => about_messages(),
        2 => about_finding(),
        3 => about_access(),
        2 => notify().prop_map(Body::Notify),
    ]
}

fn bare(which: usize) -> Body {
    match which {
        0 => Body::Capability,
        1 => Body::Noop,
        2 => Body::Logout,
        3 => Body::Id,
        4 => Body::StartTls,
        5 => Body::Namespace,
        6 => Body::Idle,
        7 => Body::Check,
        8 => Body::Close,
        9 => Body::Unselect,
        10 => Body::Expunge,
        11 => Body::Compress,
        _ => Body::Unauthenticate,
    }
}

fn about_sessions_and_mailboxes() -> impl Strategy<Value = Body> {
    let status = || vec(select(StatusItem::ALL.to_vec()), 1..4);
    let list = (
        (any::<bool>(), any::<bool>(), any::<bool>()),
        mailbox(),
        vec(pattern(), 1..3),
        option::of((any::<[bool; 4]>(), prop_oneof![Just(Vec::new()), status()])),
    );
    prop_oneof![
        vec("[A-Z0-9=-]{1,12}", 1..4).prop_map(Body::Enable),
        ("[A-Z][A-Z0-9-]{1,10}", option::of("[A-Za-z0-9+/]{1,40}={0,2}")).prop_map(
            |(mechanism, initial)| Body::Authenticate {
                mechanism,
                initial: initial.map(|base64| Secret::new(base64.into_bytes())),
            }
        ),
        (words(), words())
            .prop_map(|(name, password)| Body::Login { name, password: Secret::new(password) }),
        (mailbox(), any::<bool>(), select_options()).prop_map(|(mailbox, read_only, options)| {
            let access = if read_only { Access::ReadOnly } else { Access::ReadWrite };
            Body::Select { mailbox, access, options }
        }),
        (mailbox(), vec(select(SpecialUse::ALL.to_vec()), 0..3))
            .prop_map(|(mailbox, special_use)| Body::Create { mailbox, special_use }),
        mailbox().prop_map(Body::Delete),
        (mailbox(), mailbox()).prop_map(|(from, to)| Body::Rename { from, to }),
        mailbox().prop_map(Body::Subscribe),
        mailbox().prop_map(Body::Unsubscribe),
        (mailbox(), pattern()).prop_map(|(reference, pattern)| Body::Lsub { reference, pattern }),
        (mailbox(), status()).prop_map(|(mailbox, items)| Body::Status { mailbox, items }),
        list.prop_map(|((subscribed, special_use, recursive), reference, patterns, returns)| {
            let recursive = recursive && (subscribed || special_use);
            let selection = Selection { subscribed, special_use, recursive };
            let returns =
                returns.map(|([subscribed, children, special_use, my_rights], status)| Returns {
                    subscribed,
                    children,
                    special_use,
                    my_rights,
                    status,
                });
            let extended =
                selection != Selection::default() || patterns.len() > 1 || returns.is_some();
            Body::List(List { selection, reference, patterns, returns, extended })
        }),
    ]
}

fn select_options() -> impl Strategy<Value = SelectOptions> {
    // As many UIDs as numbers: the same set does for both.
    let qresync = (1_u32.., 1..=i64::MAX as u64, option::of(known_set()), option::of(known_set()));
    let qresync = qresync.prop_map(|(uid_validity, modseq, known_uids, pairs)| Qresync {
        uid_validity,
        modseq,
        known_uids,
        pairs: pairs.map(|set| (set.clone(), set)),
    });
    (any::<bool>(), option::of(qresync))
        .prop_map(|(condstore, qresync)| SelectOptions { condstore, qresync })
}

fn about_messages() -> impl Strategy<Value = Body> {
    let modseq = || option::of(0..=i64::MAX as u64);
    prop_oneof![
        (mailbox(), vec(message(), 1..4))
            .prop_map(|(mailbox, messages)| Body::Append(Append { mailbox, messages })),
        (by(), number(), mailbox(), message()).prop_map(|(by, replaced, mailbox, message)| {
            Body::Replace(Replace { by, replaced, mailbox, message })
        }),
        set().prop_map(Body::UidExpunge),
        (by(), set(), mailbox()).prop_map(|(by, set, mailbox)| Body::Copy { by, set, mailbox }),
        (by(), set(), mailbox()).prop_map(|(by, set, mailbox)| Body::Move { by, set, mailbox }),
        (by(), set(), flags(), 0..3, any::<bool>(), modseq()).prop_map(
            |(by, set, flags, change, silent, unchanged_since)| {
                let change = match change {
                    0 => FlagChange::Replace(flags),
                    1 => FlagChange::Add(flags),
                    _ => FlagChange::Remove(flags),
                };
                let echo = if silent { Echo::Silent } else { Echo::Flags };
                Body::Store(Store { by, set, change, echo, unchanged_since })
            }
        ),
        (by(), set(), vec(item(), 1..6), modseq(), any::<bool>(), option::of(partial_range()))
            .prop_map(|(by, set, items, changed_since, vanished, partial)| {
                let vanished = vanished && by == Numbering::Uid && changed_since.is_some();
                let partial = partial.filter(|_| by == Numbering::Uid);
                Body::Fetch(Fetch { by, set, items, changed_since, vanished, partial })
            }),
    ]
}

fn about_finding() -> impl Strategy<Value = Body> {
    let returns = (any::<[bool; 4]>(), option::of(partial_range()), any::<bool>())
        .prop_map(|([min, max, count, save], partial, all)| {
            let all = partial.is_none() && (all || !(min || max || count || save));
            SearchReturns { min, max, all, count, save, partial }
        })
        .boxed();
    let charset = || select(vec![b"UTF-8".to_vec(), b"US-ASCII".to_vec(), b"x y".to_vec()]);
    let criterion = (select(SortKey::ALL.to_vec()), any::<bool>())
        .prop_map(|(key, reverse)| SortCriterion { key, reverse });
    let algorithm = select(ThreadAlgorithm::ALL.to_vec());
    prop_oneof![
        (by(), option::of(returns.clone()), option::of(charset()), key()).prop_map(
            |(by, returns, charset, key)| Body::Search(Search { by, returns, charset, key })
        ),
        (by(), option::of(returns), charset(), key(), vec(criterion, 1..4)).prop_map(
            |(by, returns, charset, key, criteria)| {
                let search = Search { by, returns, charset: Some(charset), key };
                Body::Sort(Sort { search, criteria })
            }
        ),
        (by(), charset(), key(), algorithm).prop_map(|(by, charset, key, algorithm)| {
            let search = Search { by, returns: None, charset: Some(charset), key };
            Body::Thread(Thread { search, algorithm })
        }),
    ]
}

fn about_access() -> impl Strategy<Value = Body> {
    let rights = || any::<u16>().prop_map(Rights::from_bits);
    let identifier = || "[a-zA-Z0-9@.#é -]{1,12}";
    let limits = vec(("[A-Z-]{1,12}", 0..=i64::MAX as u64), 0..4);
    let entry = || "(/[a-z0-9.\"\\\\ (){}-]{1,8}){1,3}";
    let entries = vec((entry(), option::of(vec(any::<u8>(), 0..40))), 1..4);
    let depth = select(vec![MetadataDepth::Entry, MetadataDepth::Children, MetadataDepth::All]);
    let server_or = || option::of(mailbox().prop_filter("named", |name| !name.as_str().is_empty()));
    prop_oneof![
        mailbox().prop_map(Body::GetAcl),
        (mailbox(), identifier(), rights(), 0..3).prop_map(|(mailbox, identifier, rights, how)| {
            let change = match how {
                0 => RightsChange::Replace(rights),
                1 => RightsChange::Add(rights),
                _ => RightsChange::Remove(rights),
            };
            Body::SetAcl { mailbox, identifier, change }
        }),
        (mailbox(), identifier())
            .prop_map(|(mailbox, identifier)| Body::DeleteAcl { mailbox, identifier }),
        (mailbox(), identifier())
            .prop_map(|(mailbox, identifier)| Body::ListRights { mailbox, identifier }),
        mailbox().prop_map(Body::MyRights),
        words().prop_map(Body::GetQuota),
        mailbox().prop_map(Body::GetQuotaRoot),
        (words(), limits).prop_map(|(root, limits)| Body::SetQuota { root, limits }),
        (server_or(), option::of(any::<u32>()), depth, vec(entry(), 1..4)).prop_map(
            |(mailbox, size_max, depth, entries)| {
                let options = MetadataOptions { size_max, depth };
                Body::GetMetadata { mailbox, options, entries }
            }
        ),
        (server_or(), entries).prop_map(|(mailbox, entries)| {
            let entries = entries.into_iter().map(|(entry, value)| (entry, value.map(Secret::new)));
            Body::SetMetadata { mailbox, entries: entries.collect() }
        }),
    ]
}

fn notify() -> impl Strategy<Value = Option<Notify>> {
    let others = prop_oneof![
        Just(NotifyMailboxes::Inboxes),
        Just(NotifyMailboxes::Personal),
        Just(NotifyMailboxes::Subscribed),
        vec(mailbox(), 1..3).prop_map(NotifyMailboxes::Subtree),
        vec(mailbox(), 1..3).prop_map(NotifyMailboxes::Mailboxes),
    ];
    let rest = vec(
        select(vec![
            NotifyEvent::MailboxName,
            NotifyEvent::SubscriptionChange,
            NotifyEvent::MailboxMetadataChange,
            NotifyEvent::ServerMetadataChange,
        ]),
        0..2,
    );
    let group = (others, any::<[bool; 2]>(), rest).prop_map(|(mailboxes, messages, rest)| {
        let mut events = Vec::new();
        if messages[0] {
            events.extend([NotifyEvent::MessageNew(Vec::new()), NotifyEvent::MessageExpunge]);
            events.extend(messages[1].then_some(NotifyEvent::FlagChange));
        }
        for event in rest {
            if !events.contains(&event) {
                events.push(event);
            }
        }
        EventGroup { mailboxes, events }
    });
    let selected = (any::<bool>(), vec(item(), 0..3)).prop_map(|(delayed, items)| EventGroup {
        mailboxes: match delayed {
            true => NotifyMailboxes::SelectedDelayed,
            false => NotifyMailboxes::Selected,
        },
        events: vec![
            NotifyEvent::MessageExpunge,
            NotifyEvent::MessageNew(items),
            NotifyEvent::AnnotationChange,
        ],
    });
    let groups = (option::of(selected), vec(group, 1..4));
    option::of((any::<bool>(), groups).prop_map(|(status, (selected, groups))| Notify {
        status,
        groups: selected.into_iter().chain(groups).collect(),
    }))
}

fn key() -> impl Strategy<Value = SearchKey> {
    let system = select(vec![
        SystemFlag::Answered,
        SystemFlag::Deleted,
        SystemFlag::Draft,
        SystemFlag::Flagged,
        SystemFlag::Seen,
    ]);
    let field =
        select(vec![AddressField::From, AddressField::To, AddressField::Cc, AddressField::Bcc]);
    let when = || select(vec![When::Before, When::On, When::Since]);
    let day = || {
        (0_i16..=9999, 1_i8..=12, 1_i8..=28).prop_map(|(year, month, day)| Day { year, month, day })
    };
    let id = || "[A-Za-z0-9_-]{1,30}";
    let texts = prop_oneof![
        (system, any::<bool>()).prop_map(|(flag, is_set)| SearchKey::Flag(flag, is_set)),
        ("[a-zA-Z$][a-z0-9.-]{0,9}", any::<bool>())
            .prop_map(|(word, is_set)| SearchKey::Keyword(word, is_set)),
        any::<bool>().prop_map(SearchKey::Recent),
        (field, octets()).prop_map(|(field, value)| SearchKey::Addresses(field, value)),
        octets().prop_map(SearchKey::Subject),
        (octets(), octets()).prop_map(|(name, value)| SearchKey::Header(name, value)),
        octets().prop_map(SearchKey::Body),
        octets().prop_map(SearchKey::Text),
    ];
    let numbers = prop_oneof![
        Just(SearchKey::And(Vec::new())),
        Just(SearchKey::SaveDateSupported),
        set().prop_map(SearchKey::Numbers),
        set().prop_map(SearchKey::Uids),
        (when(), day()).prop_map(|(when, day)| SearchKey::Internal(when, day)),
        (when(), day()).prop_map(|(when, day)| SearchKey::Sent(when, day)),
        (when(), day()).prop_map(|(when, day)| SearchKey::Saved(when, day)),
        any::<u32>().prop_map(SearchKey::Larger),
        any::<u32>().prop_map(SearchKey::Smaller),
        (0..=i64::MAX as u64).prop_map(SearchKey::ModSeq),
        (1_u32..).prop_map(SearchKey::Older),
        (1_u32..).prop_map(SearchKey::Younger),
        id().prop_map(SearchKey::EmailId),
        id().prop_map(SearchKey::ThreadId),
    ];
    prop_oneof![texts, numbers].prop_recursive(5, 20, 3, |key| {
        prop_oneof![
            key.clone().prop_map(|key| SearchKey::Not(Box::new(key))),
            (key.clone(), key.clone()).prop_map(|pair| SearchKey::Or(Box::new(pair))),
            vec(key, 2..4).prop_map(SearchKey::And),
        ]
    })
}

fn item() -> impl Strategy<Value = FetchItem> {
    let plain = select(vec![
        FetchItem::Envelope,
        FetchItem::Flags,
        FetchItem::InternalDate,
        FetchItem::Rfc822,
        FetchItem::Rfc822Header,
        FetchItem::Rfc822Size,
        FetchItem::Rfc822Text,
        FetchItem::Body,
        FetchItem::BodyStructure,
        FetchItem::Uid,
        FetchItem::ModSeq,
        FetchItem::EmailId,
        FetchItem::ThreadId,
        FetchItem::SaveDate,
        FetchItem::Preview { lazy: true },
        FetchItem::Preview { lazy: false },
    ]);
    let part = |least| vec(1_u32.., least..4);
    let partial = || option::of((any::<u32>(), 1_u32..));
    let reading = || select(vec![Reading::Peek, Reading::Marks]);
    let names = || vec("[!-9;-~]{1,12}".prop_map(String::into_bytes), 1..4);
    let of_letter = prop_oneof![
        Just(SectionText::Whole),
        Just(SectionText::Header),
        Just(SectionText::Text),
        names().prop_map(SectionText::HeaderFields),
        names().prop_map(SectionText::HeaderFieldsNot),
    ];
    let section = prop_oneof![
        (part(0), of_letter).prop_map(|(part, text)| Section { part, text }),
        part(1).prop_map(|part| Section { part, text: SectionText::Mime }),
    ];
    prop_oneof![
        3 => plain,
        2 => (section, partial(), reading()).prop_map(|(section, partial, reading)| {
            FetchItem::Section(BodySection { section, partial, reading })
        }),
        1 => (part(0), partial(), reading()).prop_map(|(part, partial, reading)| {
            FetchItem::Binary(BinarySection { part, partial, reading })
        }),
        1 => part(0).prop_map(FetchItem::BinarySize),
    ]
}

fn message() -> impl Strategy<Value = AppendMessage> {
    let date = option::of((300_000_u64..4_000_000_000, -5_999_i16..6_000).prop_map(
        |(seconds, minutes)| ZonedTime {
            at: Timestamp::from_seconds(seconds),
            zone: Zone::from_minutes(minutes).unwrap(),
        },
    ));
    let form = select(vec![MessageForm::Literal, MessageForm::Binary, MessageForm::Utf8]);
    (flags(), date, form, 0_u64..40).prop_map(|(flags, date, form, octets)| AppendMessage {
        flags,
        date,
        form,
        octets,
    })
}

fn flags() -> impl Strategy<Value = Flags> {
    let keywords = proptest::collection::btree_set("[$A-Z][a-z0-9.-]{0,8}", 0..3);
    (any::<[bool; 5]>(), keywords).prop_map(
        |([seen, answered, flagged, deleted, draft], keywords)| Flags {
            seen,
            answered,
            flagged,
            deleted,
            draft,
            keywords,
        },
    )
}

fn by() -> impl Strategy<Value = Numbering> {
    select(vec![Numbering::Sequence, Numbering::Uid])
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![Just(Number::Last), (1_u32..).prop_map(Number::Value)]
}

fn partial_range() -> impl Strategy<Value = PartialRange> {
    (1_u32.., 1_u32.., any::<bool>()).prop_map(|(one, other, from_end)| PartialRange {
        first: one.min(other),
        last: one.max(other),
        from_end,
    })
}

fn set() -> impl Strategy<Value = SequenceSet> {
    let range = "([1-9][0-9]{0,8}|\\*)(:([1-9][0-9]{0,8}|\\*))?";
    prop_oneof![
        1 => Just("$".to_owned()),
        4 => vec(range, 1..4).prop_map(|ranges| ranges.join(",")),
    ]
    .prop_map(|text| parsed(&text, SequenceSet::parse))
}

fn known_set() -> impl Strategy<Value = SequenceSet> {
    vec("[1-9][0-9]{0,8}(:[1-9][0-9]{0,8})?", 1..4)
        .prop_map(|ranges| parsed(&ranges.join(","), SequenceSet::parse_known))
}

fn parsed<T>(
    text: &str,
    parse: fn(&mut Cursor<'_>) -> Result<T, crate::proto::imap::cursor::Bad>,
) -> T {
    let pieces = [Piece::Text(text.as_bytes().to_vec())];
    let mut cursor = Cursor::new(&pieces);
    let value = parse(&mut cursor).unwrap();
    cursor.end().unwrap();
    value
}

fn mailbox() -> impl Strategy<Value = MailboxName> {
    "[ -~é\u{20ac}\u{1f600}]{0,14}".prop_map(|name| MailboxName::new(&name))
}

fn pattern() -> impl Strategy<Value = Pattern> {
    "[ -~é\u{20ac}\u{1f600}]{0,12}"
        .prop_map(|text| Pattern::from_wire(text.as_bytes(), Mode::Utf8).unwrap())
}

fn words() -> impl Strategy<Value = String> {
    "[ -~é\u{20ac}\u{1f600}\t\u{7f}]{0,14}"
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["[ -~]{0,14}".prop_map(String::into_bytes), vec(1_u8.., 0..20)]
}
