//! The seeds of the fuzz target `smtp`: whole conversations, which reach what such conversations can
//! come to. From them the fuzzer goes on.
use std::collections::BTreeSet;
use std::fs;

use vaguemestre::proto::smtp::session::Door;

use super::sessions;

#[test]
fn the_seeds_of_the_fuzzer_are_conversations_of_every_kind() {
    let mut codes = BTreeSet::new();
    let (mut letters, mut operators) = (0, 0);
    let mut refused: BTreeSet<u16> = BTreeSet::new();
    for entry in fs::read_dir("tests/fuzz/seeds/smtp").unwrap() {
        let path = entry.unwrap().path();
        let octets = fs::read(&path).unwrap();
        let (first, octets) = octets.split_first().unwrap();
        let door = if first & 1 == 0 { Door::Submission } else { Door::Operators };
        operators += usize::from(door == Door::Operators);
        let whole = sessions::converse(door, octets, octets.len());
        for piece in [1, 2, 7, 64] {
            let cut = sessions::converse(door, octets, piece);
            assert_eq!(whole, cut, "{} in pieces of {piece}", path.display());
        }
        letters += whole.letters.len();
        refused.extend(whole.replies.iter().filter(|code| **code >= 400));
        codes.extend(whole.replies);
    }
    for code in [214, 220, 221, 235, 250, 252, 334, 354, 421, 500, 501, 503, 530, 535, 550] {
        assert!(codes.contains(&code), "no seed is answered {code}: {codes:?}");
    }
    assert!(letters >= 8 && operators >= 3, "{letters} letters, {operators} with operators");
    assert!(refused.len() >= 10, "{refused:?}");
}
