//! Our grammar and imap-codec's, on what real clients say (`tests/vectors/imap`): what both
//! read, they must read alike.
use std::fs;

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use vaguemestre::proto::imap::command::Command;
use vaguemestre::proto::imap::reader::Budget;
use vaguemestre::proto::imap::reader::Reader;
use vaguemestre::proto::imap::reader::Step;

/// Forms that we read and imap-codec 2.0.0-alpha.10 does not.
const UNKNOWN_TO_IMAP_CODEC: [&str; 5] = [
    // LIST-EXTENDED and LIST-STATUS, although it has a feature of that name.
    "list (",
    " return (",
    "LIST (",
    " RETURN (",
    // CREATE-SPECIAL-USE.
    " (USE (",
];

/// What clients say although nobody advertised it; both must refuse it.
const UNKNOWN_TO_BOTH: [&str; 2] = ["20 getuidplus", "p7zl XNOTHING"];

#[test]
fn two_parsers_agree_on_what_real_clients_say() {
    let mut commands = 0;
    let mut unused = UNKNOWN_TO_IMAP_CODEC.to_vec();
    for entry in fs::read_dir("tests/vectors/imap").unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let session = fs::read_to_string(&path).unwrap().replace('\n', "\r\n");
        for (octets, ours) in split(session.as_bytes()) {
            let text = String::from_utf8_lossy(&octets).into_owned();
            let place = format!("{}: {text}", path.display());
            let theirs = CommandCodec::default().decode(&octets);
            match (ours, theirs) {
                (Some(ours), Ok((rest, theirs))) => {
                    assert!(rest.is_empty(), "{place}");
                    assert_eq!(ours.tag.as_str(), theirs.tag.inner(), "{place}");
                    assert!(theirs.body.name().ends_with(ours.body.name()), "{place}");
                    commands += 1;
                }
                (Some(_), Err(_)) => {
                    let is_known = UNKNOWN_TO_IMAP_CODEC.iter().any(|form| text.contains(form));
                    assert!(is_known, "imap-codec does not read {place}");
                    unused.retain(|form| !text.contains(form));
                    commands += 1;
                }
                (None, theirs) => {
                    let is_known = UNKNOWN_TO_BOTH.iter().any(|form| text.starts_with(form));
                    assert!(is_known && theirs.is_err(), "we do not read {place}");
                }
            }
        }
    }
    assert!(unused.is_empty(), "imap-codec has learnt {unused:?}");
    assert!(commands > 150, "only {commands} commands were compared");
}

/// The octets of each command of a session, and what we read in them.
fn split(session: &[u8]) -> Vec<(Vec<u8>, Option<Command>)> {
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    let mut commands = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < session.len() {
        let (used, step) = reader.feed(&session[at..]);
        at += used;
        let command = match step {
            Some(Step::Command(command)) => Some(command),
            Some(Step::Bad(_)) => None,
            Some(Step::Message(_)) => {
                reader.accept_message();
                continue;
            }
            Some(Step::Continue | Step::Received(_)) => continue,
            Some(Step::Line(_)) => {
                start = at;
                continue;
            }
            None => panic!("a session ends in the middle of a command"),
        };
        if session[start..at].to_ascii_uppercase().ends_with(b" IDLE\r\n") {
            reader.expect_line();
        }
        commands.push((session[start..at].to_vec(), command));
        start = at;
    }
    commands
}
