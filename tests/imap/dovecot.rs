//! The same letters and the same questions to Dovecot and to the relay: where the RFCs leave no
//! freedom, both answer the same. Where they differ on purpose, a rule below says why.
mod letters;
mod questions;

use std::collections::BTreeSet;

use crate::support::dovecot;
use crate::support::dovecot::Dovecot;
use crate::support::imap::Answer;
use crate::support::imap::Client;
use crate::support::imap::Response;
use crate::support::imap::Status;
use crate::support::imap::Value;
use crate::support::serving::PASSWORD;
use crate::support::serving::Space;

const USER: &str = "claire.fontaine@hopital.mssante.test";

/// Why both may answer a question in their own way, and how such a question is known: by the
/// command or item that was asked for, our answer and theirs.
type Difference = (&'static str, fn(&str, &str, &str) -> bool);

const DIFFERENCES: &[Difference] = &[
    // RFC 3501 §6.4.5 says nothing of parts that are not there. We say NIL: an empty part is
    // something else.
    ("a part that is not there", |asked, ours, theirs| {
        asked.contains('[') && ours == "NIL" && theirs == "\"\""
    }),
    // RFC 3501 §9 `partial`: a number, and an nz-number behind a dot.
    ("a stretch of no octets", |asked, ours, _| asked.contains("<0.0>") && ours == "Bad "),
    ("a stretch without an end", |asked, ours, _| asked.contains("<0>") && ours == "Bad "),
    // RFC 3501 §9 `noop`: none.
    ("arguments where none belong", |asked, ours, _| asked == "NOOP extra" && ours == "Bad "),
    // RFC 3501 §9 `date-day-fixed`: a space or a zero before a digit.
    ("a day below ten", |asked, ours, theirs| {
        asked.ends_with("INTERNALDATE") && ours.replace("\" ", "\"0") == theirs
    }),
    // RFC 5258 §4: whether there are children may be told unasked.
    ("children that nobody asked for", |asked, ours, theirs| {
        let without = |text: &str| {
            text.replace("\\HasNoChildren", "").replace("\\HasChildren", "").replace(' ', "")
        };
        asked.starts_with("LIST") && !asked.contains("CHILDREN") && without(ours) == without(theirs)
    }),
    // RFC 5530 §3: they say no more than NO.
    ("a code that says why", |_, ours, theirs| ours.starts_with("No ") && theirs == "No "),
    // RFC 2045 §5.2: a text without a charset is in US-ASCII. They write that down; we tell what the
    // letter says, and of a part without any Content-Type what it means.
    ("a charset that is not named", |asked, ours, theirs| {
        let implied = "(\"charset\" \"us-ascii\")";
        asked.contains("BODY") && ours.replace(implied, "nil") == theirs.replace(implied, "nil")
    }),
    // RFC 2046 §5.1.1: the line end before a boundary belongs to it, also behind a multipart.
    ("the line end behind a multipart in another part", |asked, ours, theirs| {
        let is_nested = asked.starts_with("letter_in_letter") || asked.starts_with("alternative");
        match asked.ends_with("BODY") || asked.ends_with("BODYSTRUCTURE") {
            true => asked.starts_with("letter_in_letter:") && ours.contains("\"7bit\" 389 "),
            false => is_nested && format!("{}\\r\\n\"", ours.trim_end_matches('"')) == theirs,
        }
    }),
    // RFC 2046 §5.1.1 knows no multipart without a part. To us it is a text, so that it can be read.
    ("a multipart in which there is no part", |asked, _, _| {
        asked.starts_with("boundary_of_no_part: BODY")
    }),
    // RFC 5322 §2.2.3: unfolding takes away the line end and nothing else; the space behind the
    // colon is no part of a Message-ID.
    ("a folded header", |asked, ours, theirs| {
        asked == "folded: ENVELOPE"
            && ours.replace("\\t", " ") == theirs.replace("\" <fold", "\"<fold")
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn dovecot_and_the_relay_say_the_same_of_the_same_letters() {
    let space = Space::of(&["hopital.mssante.test"]);
    let relay = space.relay(0).with("[revocation]\nmode = \"off\"\n").start(&[USER]);
    let peer = Dovecot::start(1, false);
    let mut ours = Client::open(relay.door("imaps"), &relay.tls(), USER, PASSWORD).await.unwrap();
    let mut theirs = Client::open(peer.door, &peer.tls(), "u0", dovecot::PASSWORD).await.unwrap();
    for client in [&mut ours, &mut theirs] {
        letters::file(client).await.unwrap();
        questions::prepare(client).await.unwrap();
    }
    let mut told = Vec::new();
    let mut used = BTreeSet::new();
    let mut compared = 0;
    let mut compare = |asked: String, ours: String, theirs: String| {
        compared += 1;
        if ours == theirs {
            return;
        }
        match DIFFERENCES.iter().find(|(_, is_so)| is_so(&asked, &ours, &theirs)) {
            Some((reason, _)) => drop(used.insert(*reason)),
            None => told.push(format!("{asked}\n  ours   {ours}\n  theirs {theirs}")),
        }
    };
    for (number, letter) in letters::all().iter().enumerate() {
        let items = questions::items(letter.sections);
        let command = format!("FETCH {} ({})", number + 1, items.join(" "));
        let ours = ours.say(&command).await.unwrap();
        let theirs = theirs.say(&command).await.unwrap();
        for item in &items {
            let asked = format!("{}: {item}", letter.name);
            compare(asked, item_of(&ours, item), item_of(&theirs, item));
        }
    }
    for command in questions::commands() {
        let ours = ours.say(&command).await.unwrap();
        let theirs = theirs.say(&command).await.unwrap();
        compare(command, shown(&ours), shown(&theirs));
    }
    println!("{compared} answers were compared");
    assert!(told.is_empty(), "{} differences:\n{}", told.len(), told.join("\n"));
    assert!(compared > 400, "only {compared} answers were compared");
    for (reason, _) in DIFFERENCES {
        assert!(used.contains(reason), "there is no such difference any more: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dovecot_with_mail_crypt_that_the_benchmark_measures_seals_its_letters() {
    for crypt in [false, true] {
        let peer = Dovecot::start(1, crypt);
        let mut client =
            Client::open(peer.door, &peer.tls(), "u0", dovecot::PASSWORD).await.unwrap();
        let letter = "Subject: a\r\n\r\nzanzibar in clear\r\n";
        let command = format!("APPEND INBOX {{{}+}}\r\n{letter}", letter.len());
        client.ok(&command).await.unwrap();
        client.ok("SELECT INBOX").await.unwrap();
        let fetched = client.ok("FETCH 1 BODY.PEEK[]").await.unwrap();
        let body = fetched.untagged.iter().find_map(|response| response.item("BODY[]"));
        assert_eq!(body.and_then(Value::text).as_deref(), Some(letter), "{}", peer.log());
        assert_eq!(peer.hides("zanzibar in clear"), crypt, "{}", peer.log());
    }
}

/// A response; `None` for those that say nothing of what was asked.
fn line_shown(response: &Response) -> Option<String> {
    // Dovecot tells of keywords that were only asked for.
    if response.code.is_some() || response.named("FLAGS").is_some() {
        return None;
    }
    let [name, rest @ ..] = &response.words[..] else { return None };
    let name = name.text()?;
    if !["LIST", "LSUB", "STATUS"].contains(&name.as_str()) {
        return Some(response.raw.trim_end().to_owned());
    }
    // Attributes have no order, and whether a mailbox has news is a guess (RFC 3501 §7.2.2).
    let mut words = vec![name];
    words.extend(rest.iter().map(|word| match word {
        Value::List(values) => {
            let mut all: Vec<String> =
                values.iter().map(|value| value_shown(value).replace('"', "")).collect();
            all.retain(|one| !one.to_ascii_lowercase().ends_with("marked"));
            all.sort();
            format!("({})", all.join(" "))
        }
        word => word.text().unwrap_or_default(),
    }));
    Some(words.join(" "))
}

/// What a FETCH says of an item, in a form of our own.
fn item_of(answer: &Answer, item: &str) -> String {
    // The answer is called without PEEK, and a part of a section by its beginning.
    let mut name = item.replace(".PEEK", "");
    if let Some(dot) = name.rfind('<').and_then(|open| name[open..].find('.').map(|at| open + at)) {
        name.truncate(dot);
        name.push('>');
    }
    let found = answer.untagged.iter().find_map(|response| response.item(&name));
    let is_structure = matches!(item, "BODY" | "BODYSTRUCTURE");
    match found {
        Some(value) if is_structure => value_shown(value).to_ascii_lowercase(),
        Some(value) => value_shown(value),
        None => format!("nothing, {:?}", answer.status),
    }
}

fn value_shown(value: &Value) -> String {
    match value {
        Value::Atom(atom) => atom.clone(),
        Value::Text(octets) => format!("\"{}\"", octets.escape_ascii()),
        Value::List(values) => {
            let all: Vec<String> = values.iter().map(value_shown).collect();
            format!("({})", all.join(" "))
        }
    }
}

/// Everything that an answer says, without texts for people.
fn shown(answer: &Answer) -> String {
    if answer.status != Status::Ok {
        let code = answer.code.as_deref().and_then(|code| code.split(' ').next());
        return format!("{:?} {}", answer.status, code.unwrap_or_default());
    }
    let mut lines: Vec<String> = answer.untagged.iter().filter_map(line_shown).collect();
    if lines.iter().any(|line| line.starts_with("LIST") || line.starts_with("LSUB")) {
        lines.sort();
    }
    // The tag and the order of ESEARCH's results are free.
    let words = lines.iter().map(|line| match line.strip_prefix("* ESEARCH ") {
        Some(rest) => {
            let rest = rest.split_once(')').map_or(rest, |(_, rest)| rest);
            let mut words: Vec<&str> = rest.split_whitespace().collect();
            let is_uid = words.first() == Some(&"UID");
            let mut pairs: Vec<String> =
                words.split_off(usize::from(is_uid)).chunks(2).map(|pair| pair.join(" ")).collect();
            pairs.sort();
            format!("* ESEARCH {is_uid} {}", pairs.join(" "))
        }
        None => line.clone(),
    });
    words.collect::<Vec<_>>().join("; ")
}
