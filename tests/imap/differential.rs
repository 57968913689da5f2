//! Our grammar beside imap-codec's on commands made at random, whole and damaged: what one reads
//! the other reads, as the same command. Where they differ on purpose a rule below says why.
use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::encode::Encoder;
use vaguemestre::proto::imap::command::Command;
use vaguemestre::proto::imap::reader::Budget;
use vaguemestre::proto::imap::reader::Reader;
use vaguemestre::proto::imap::reader::Step;

const CASES: u64 = 12_000;

/// Why the two may differ on a line, and how such a line is known.
type Difference = (&'static str, fn(&str) -> bool);

const DIFFERENCES: [Difference; 11] = [
    // Several phones leave spaces at the end of a line; no token ends with one.
    ("we forgive spaces at the end", |line| line.trim_end_matches("\r\n").ends_with(' ')),
    // RFC 3501 §5.1.3: we refuse names that are no modified UTF-7.
    ("an ampersand in a mailbox name", |line| line.contains('&')),
    // RFC 7162 §7 begins at 1; a client that knows nothing yet says 0.
    ("CHANGEDSINCE 0", |line| line.contains("CHANGEDSINCE 0")),
    // It takes any word for an algorithm, whether anybody knows it or not.
    ("a misspelt algorithm", |line| {
        line.contains("THREAD ")
            && !line.contains("THREAD REFERENCES ")
            && !line.contains("THREAD ORDEREDSUBJECT ")
    }),
    // We read base64 when it is used, and answer then what is wrong with it.
    ("broken base64", |line| line.contains("AUTHENTICATE ") && !line.contains(" AGEAYg==\r")),
    // RFC 5464 §3.2: we refuse what is no name of an entry; it does not.
    ("an entry without its slashes", |line| line.contains("TMETADATA ")),
    // RFC 3501 §9: an nz-number begins with a digit that is not 0.
    ("a number with a zero before it", |line| {
        !line.contains("APPEND")
            && line.as_bytes().windows(3).any(|three| {
                !three[0].is_ascii_alphanumeric() && three[1] == b'0' && three[2].is_ascii_digit()
            })
    }),
    // RFC 5256 §5 has an atom here, RFC 9051 §9 a string as well; we take any argument.
    ("] in a charset", |line| {
        line.contains(']')
            && ["SORT ", "THREAD ", "CHARSET "].iter().any(|word| line.contains(word))
    }),
    // RFC 3501 §9 writes a day below 10 with a space or a zero; some programs write neither.
    ("a short day", |line| {
        let is_short = |three: &[u8]| matches!(three, [b'"', b'0'..=b'9', b'-']);
        let is_padded = ["\" 17-", "\" 01-"].iter().any(|day| line.contains(day));
        line.contains("APPEND") && (is_padded || line.as_bytes().windows(3).any(is_short))
    }),
    // RFC 9051 §2.3.2: a flag with a backslash that is none of the known ones is refused by us.
    ("a system flag that nobody knows", |line| {
        let flag =
            |after: &str| after.split(|c: char| !c.is_ascii_alphabetic()).next() == Some("Seen");
        ["APPEND ", "STORE "].iter().any(|verb| line.contains(verb))
            && !line.split('\\').skip(1).all(flag)
    }),
    // RFC 5322 §2.2: no field has a space or a colon in its name, and it would be echoed.
    ("no name of a field", |line| {
        line.contains("HEADER.FIELDS (") && !line.contains("HEADER.FIELDS (From \"To\")")
    }),
];

#[test]
fn two_parsers_agree_on_thousands_of_commands() {
    let seed = std::env::var("VAGUEMESTRE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(20_261_122);
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let (mut read, mut refused, mut told) = (0, 0, Vec::new());
    for _ in 0..CASES {
        let whole = format!("t{} {}\r\n", dice.below(100), command(&mut dice));
        let is_damaged = dice.below(3) == 0;
        let line = if is_damaged { damaged(&mut dice, &whole) } else { whole };
        let (ours, theirs) = (ours(line.as_bytes()), theirs(line.as_bytes()));
        match (&ours, &theirs) {
            (Some(ours), Some((tag, printed))) => {
                assert_eq!(ours.tag.as_str(), tag, "{line}");
                // What they understood, said by them, means the same to us. Damaged sets need not
                // ascend any more: they put them in order, we when we resolve them.
                let again = self::ours(printed).map(|again| format!("{again:?}"));
                if !is_damaged && again != Some(format!("{ours:?}")) && !is_known(&line) {
                    told.push(format!("meant otherwise: {line:?} {ours:?} {again:?}"));
                }
                read += 1;
            }
            (None, None) => refused += 1,
            (Some(_), None) if !is_known(&line) => told.push(format!("only we read {line:?}")),
            (None, Some(_)) if !is_known(&line) => told.push(format!("only they read {line:?}")),
            _ => {}
        }
    }
    assert!(
        told.is_empty(),
        "{} differences, seed {seed}:\n{}",
        told.len(),
        told[..told.len().min(40)].join("\n")
    );
    assert!(read > 6_000 && refused > 1_000, "{read} read, {refused} refused");
}

fn is_known(line: &str) -> bool {
    DIFFERENCES.iter().any(|(_, is_so)| is_so(line))
}

fn ours(octets: &[u8]) -> Option<Command> {
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    let mut at = 0;
    loop {
        let (used, step) = reader.feed(&octets[at..]);
        at += used;
        match step? {
            Step::Command(command) => return (at == octets.len()).then_some(command),
            Step::Message(_) => reader.accept_message(),
            Step::Continue | Step::Received(_) => {}
            Step::Line(_) | Step::Bad(_) => return None,
        }
    }
}

/// The tag, and the command as they print it.
fn theirs(octets: &[u8]) -> Option<(String, Vec<u8>)> {
    let codec = CommandCodec::default();
    let (rest, command) = codec.decode(octets).ok()?;
    let tag = command.tag.inner().to_owned();
    rest.is_empty().then(|| (tag, codec.encode(&command).dump()))
}

/// Splitmix64: the same commands on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.below(words.len() as u64)).unwrap()]
    }
}

fn damaged(dice: &mut Dice, whole: &str) -> String {
    let mut octets = whole.as_bytes().to_vec();
    let end = octets.len() - 2;
    let at = usize::try_from(dice.below(end as u64)).unwrap();
    let odd =
        dice.pick(&["(", ")", "\"", " ", "*", "%", "]", "0", ":", ",", "{", "x"]).as_bytes()[0];
    match dice.below(4) {
        0 => drop(octets.remove(at)),
        1 => octets.insert(at, odd),
        2 => octets[at] = odd,
        _ => drop(octets.drain(at..end)),
    }
    String::from_utf8(octets).unwrap()
}

fn command(dice: &mut Dice) -> String {
    let uid = dice.pick(&["", "UID "]);
    match dice.below(22) {
        0 => dice
            .pick(&[
                "CAPABILITY",
                "noop",
                "LOGOUT",
                "NAMESPACE",
                "IDLE",
                "CHECK",
                "CLOSE",
                "UNSELECT",
                "EXPUNGE",
                "COMPRESS DEFLATE",
                "STARTTLS",
            ])
            .to_owned(),
        1 => format!("LOGIN {} {}", text(dice), text(dice)),
        2 => format!("AUTHENTICATE PLAIN{}", dice.pick(&["", " AGEAYg==", " ="])),
        3 => format!("ENABLE {}", dice.pick(&["CONDSTORE", "UTF8=ACCEPT CONDSTORE", "x"])),
        4 => {
            let verb = dice.pick(&["SELECT", "examine"]);
            let known = set(dice).replace('*', "9999");
            let options = match dice.below(4) {
                0 => " (CONDSTORE)".to_owned(),
                1 => format!(" (QRESYNC ({} {} {known}))", 1 + dice.below(99), 1 + dice.below(99)),
                _ => String::new(),
            };
            format!("{verb} {}{options}", mailbox(dice))
        }
        5 => {
            let verb = dice.pick(&["CREATE", "DELETE", "SUBSCRIBE", "UNSUBSCRIBE", "GETQUOTAROOT"]);
            format!("{verb} {}", mailbox(dice))
        }
        6 => format!("RENAME {} {}", mailbox(dice), mailbox(dice)),
        7 => format!("{} {} {}", dice.pick(&["LIST", "LSUB"]), mailbox(dice), pattern(dice)),
        8 => {
            let items = ["MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "SIZE"];
            format!("STATUS {} ({} {})", mailbox(dice), dice.pick(&items), dice.pick(&items))
        }
        9 => {
            let flags = dice.pick(&["", " (\\Seen)", " ($Done a)"]);
            let date = dice.pick(&[
                "",
                " \"17-Jul-1996 02:44:25 -0700\"",
                " \" 1-Feb-2026 00:00:00 +0000\"",
            ]);
            format!("APPEND {}{flags}{date} {{3+}}\r\nabc", mailbox(dice))
        }
        10 => format!("UID EXPUNGE {}", set(dice)),
        11 => {
            let verb = dice.pick(&["COPY", "MOVE"]);
            format!("{uid}{verb} {} {}", set(dice), mailbox(dice))
        }
        12..=13 => {
            let charset = dice.pick(&["", "CHARSET UTF-8 "]);
            format!("{uid}SEARCH {charset}{}", key(dice, 4))
        }
        14 => {
            let order = dice.pick(&["DATE", "REVERSE DATE", "SUBJECT FROM", "DISPLAYFROM SIZE CC"]);
            format!("{uid}SORT ({order}) UTF-8 {}", key(dice, 3))
        }
        15 => {
            let algorithm = dice.pick(&["REFERENCES", "ORDEREDSUBJECT"]);
            format!("{uid}THREAD {algorithm} UTF-8 {}", key(dice, 3))
        }
        16..=17 => {
            let modifiers = match dice.below(6) {
                0 => format!(" (CHANGEDSINCE {})", 1 + dice.below(1_000)),
                _ => String::new(),
            };
            format!("{uid}FETCH {} {}{modifiers}", set(dice), items(dice))
        }
        18 => {
            let since = dice.pick(&["", " (UNCHANGEDSINCE 5)"]);
            let item = dice.pick(&["FLAGS", "+FLAGS", "-flags.silent", "+FLAGS.SILENT"]);
            let flags = dice.pick(&["(\\Seen)", "(a b)", "()", "$Done", "a b"]);
            format!("{uid}STORE {}{since} {item} {flags}", set(dice))
        }
        19 => {
            let limits = dice.pick(&["()", "(STORAGE 5)", "(STORAGE 5 MESSAGE 9)"]);
            format!("SETQUOTA {} {limits}", text(dice))
        }
        20 => {
            let options = dice.pick(&["", "(DEPTH 1) ", "(MAXSIZE 5) "]);
            let entries = dice.pick(&["/private/a", "(/shared/a /private/b)"]);
            format!("GETMETADATA {options}{} {entries}", mailbox(dice))
        }
        _ => {
            let value = dice.pick(&["NIL", "\"x\"", "{2+}\r\nab"]);
            format!("SETMETADATA {} (/private/a {value})", mailbox(dice))
        }
    }
}

fn text(dice: &mut Dice) -> &'static str {
    dice.pick(&["a", "\"a b\"", "\"q\\\"q\\\\\"", "{3+}\r\nx y", "\"\"", "a.b@c"])
}

fn mailbox(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        "inbox",
        "INBOX",
        "Sent",
        "\"a b\"",
        "{4+}\r\nDr x",
        "\"Envoy&AOk-s\"",
        "a/b",
        "x]",
    ])
}

fn pattern(dice: &mut Dice) -> &'static str {
    dice.pick(&["*", "\"%\"", "a%", "\"\"", "INBOX*", "{1+}\r\n*"])
}

fn set(dice: &mut Dice) -> String {
    let one = 1 + dice.below(50);
    match dice.below(4) {
        0 => one.to_string(),
        1 => format!("{one}:{}", one + 2 + dice.below(50)),
        2 => format!("{one},{}:{}", one + 3, one + 9),
        _ => format!("{one}:*"),
    }
}

fn key(dice: &mut Dice, depth: u64) -> String {
    match dice.below(if depth == 0 { 7 } else { 10 }) {
        0 => {
            dice.pick(&["ALL", "ANSWERED", "UNSEEN", "NEW", "OLD", "draft", "UNDELETED"]).to_owned()
        }
        1 => format!("{} {}", dice.pick(&["FROM", "TO", "SUBJECT", "BODY", "TEXT"]), text(dice)),
        2 => format!("HEADER {} {}", text(dice), text(dice)),
        3 => {
            format!("{} 1-Feb-{}", dice.pick(&["ON", "SINCE", "SENTBEFORE"]), 1990 + dice.below(40))
        }
        4 => format!("{} {}", dice.pick(&["LARGER", "SMALLER", "OLDER"]), 1 + dice.below(9_999)),
        5 => format!("UID {}", set(dice)),
        6 => set(dice),
        7 => format!("NOT {}", key(dice, depth - 1)),
        8 => format!("OR {} {}", key(dice, depth - 1), key(dice, depth - 1)),
        _ => format!("({} {})", key(dice, depth - 1), key(dice, depth - 1)),
    }
}

fn items(dice: &mut Dice) -> String {
    let one = |dice: &mut Dice| {
        dice.pick(&[
            "FLAGS",
            "uid",
            "ENVELOPE",
            "BODY",
            "BODYSTRUCTURE",
            "INTERNALDATE",
            "RFC822.SIZE",
            "RFC822.HEADER",
            "RFC822",
            "BODY[]",
            "BODY.PEEK[]<0.9>",
            "BODY[1.2.MIME]",
            "BODY.PEEK[HEADER.FIELDS (From \"To\")]",
            "BODY[TEXT]",
            "BINARY[1]",
            "BINARY.PEEK[1]<0.5>",
            "BINARY.SIZE[2]",
        ])
    };
    match dice.below(4) {
        0 => dice.pick(&["ALL", "FULL", "fast"]).to_owned(),
        1 => one(dice).to_owned(),
        _ => format!("({} {})", one(dice), one(dice)),
    }
}
