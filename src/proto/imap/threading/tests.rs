//! Threads: vectors worked out by hand, and a second way to make them, step by step as the
//! standard's text goes.
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::proto::mime::summary;

/// id, references, in-reply-to, subject, minute of sending.
#[derive(Clone, Debug, Default)]
struct Letter {
    id: Option<String>,
    references: Vec<String>,
    answers: Option<String>,
    subject: String,
    minute: u32,
}

fn letter(id: &str, references: &str, subject: &str, minute: u32) -> Letter {
    Letter {
        id: (!id.is_empty()).then(|| id.to_owned()),
        references: references.split_whitespace().map(str::to_owned).collect(),
        answers: None,
        subject: subject.to_owned(),
        minute,
    }
}

fn summary_of(letter: &Letter) -> Summary {
    let id = letter.id.as_ref().map(|id| format!("Message-ID: <{id}@x>\r\n")).unwrap_or_default();
    let to = letter.answers.as_ref();
    let to = to.map(|id| format!("In-Reply-To: text <{id}@x>\r\n")).unwrap_or_default();
    let (hour, minute) = (letter.minute / 60, letter.minute % 60);
    let raw = format!(
        "{id}{to}Subject: {}\r\nDate: 1 Jan 2026 {hour:02}:{minute:02}:00 +0000\r\n\r\n",
        letter.subject
    );
    let mut summary = summary::summarise(raw.as_bytes());
    summary.references = letter.references.iter().map(|id| format!("<{id}@x>").into()).collect();
    summary
}

fn threads(algorithm: ThreadAlgorithm, letters: &[Letter]) -> String {
    let mut threader = Threader::new(algorithm);
    for (at, letter) in letters.iter().enumerate() {
        threader.add(at as u32 + 1, Timestamp::from_seconds(0), &summary_of(letter)).unwrap();
    }
    let mut out = Vec::new();
    threader.threads().print(&mut out, |uid| uid);
    String::from_utf8(out).unwrap()
}

fn by_references(letters: &[Letter]) -> String {
    threads(ThreadAlgorithm::References, letters)
}

#[test]
fn answers_stand_below_what_they_answer() {
    let letters = [
        letter("a", "", "x", 1),
        letter("b", "a", "Re: x", 2),
        letter("c", "a b", "Re: x", 3),
        letter("d", "a", "Re: x", 4),
        letter("e", "", "y", 0),
    ];
    assert_eq!(by_references(&letters), "(5)(1 (2 3)(4))");
    assert_eq!(by_references(&[]), "");
    assert_eq!(by_references(&letters[..1]), "(1)");
}

#[test]
fn children_of_a_missing_parent_stay_together() {
    let letters = [letter("b", "a", "s", 1), letter("c", "a", "t", 2)];
    assert_eq!(by_references(&letters), "((1)(2))");
    // An only child goes up; so do children below somebody who is there.
    assert_eq!(by_references(&letters[..1]), "(1)");
    let letters = [letter("a", "", "s", 1), letter("c", "a b", "t", 2), letter("d", "a b", "u", 3)];
    assert_eq!(by_references(&letters), "(1 (2)(3))");
    // A chain of missing ones is one missing one.
    let letters = [letter("c", "a b", "s", 1), letter("d", "a", "t", 2)];
    assert_eq!(by_references(&letters), "((1)(2))");
}

#[test]
fn subjects_bring_threads_together() {
    let with_reply = [letter("a", "", "x", 1), letter("b", "", "Re: x", 2)];
    assert_eq!(by_references(&with_reply), "(1 2)");
    let two_of_a_kind = [letter("a", "", "x", 1), letter("b", "", "X", 2)];
    assert_eq!(by_references(&two_of_a_kind), "((1)(2))");
    let two_replies = [letter("a", "", "Re: x", 1), letter("b", "", "Re: x", 2)];
    assert_eq!(by_references(&two_replies), "((1)(2))");
    let reply_first = [letter("a", "", "Re: x", 1), letter("b", "", "x", 2)];
    assert_eq!(by_references(&reply_first), "(2 1)");
    let with_empty =
        [letter("b", "a", "x", 1), letter("c", "a", "y", 2), letter("d", "", "Re: x", 3)];
    assert_eq!(by_references(&with_empty), "((1)(2)(3))");
    let both_empty = [
        letter("b", "a", "x", 1),
        letter("c", "a", "y", 2),
        letter("e", "d", "x", 3),
        letter("f", "d", "y", 4),
    ];
    assert_eq!(by_references(&both_empty), "((1)(2)(3)(4))");
    // No subject is no subject in common.
    let none = [letter("a", "", "", 1), letter("b", "", "Re:", 2)];
    assert_eq!(by_references(&none), "(1)(2)");
}

#[test]
fn loops_and_doubles_do_no_harm() {
    let circle = [letter("a", "b", "x", 1), letter("b", "a", "y", 2)];
    assert_eq!(by_references(&circle), "(2 1)");
    assert_eq!(by_references(&[letter("a", "a", "x", 1)]), "(1)");
    assert_eq!(by_references(&[letter("a", "a b a", "x", 1), letter("b", "", "y", 2)]), "(1)(2)");
    let doubles = [letter("a", "", "x", 1), letter("a", "", "y", 2), letter("b", "a", "z", 3)];
    assert_eq!(by_references(&doubles), "(1 3)(2)");
    let nameless = [letter("", "", "x", 1), letter("", "", "y", 2)];
    assert_eq!(by_references(&nameless), "(1)(2)");
}

#[test]
fn a_field_of_references_wins_over_what_others_said() {
    // 3 says b is below a; b itself says that it is below c.
    let letters = [
        letter("d", "a b", "w", 1),
        letter("a", "", "x", 2),
        letter("c", "", "y", 3),
        letter("b", "c", "z", 4),
    ];
    assert_eq!(by_references(&letters), "(2)(3 4 1)");
    // Without references, In-Reply-To says it.
    let mut answer = letter("b", "", "other", 2);
    answer.answers = Some("a".to_owned());
    assert_eq!(by_references(&[letter("a", "", "x", 1), answer]), "(1 2)");
}

#[test]
fn threads_and_siblings_are_in_the_order_of_their_dates() {
    let letters = [
        letter("a", "", "x", 9),
        letter("b", "", "y", 3),
        letter("c", "a", "z", 8),
        letter("d", "a", "w", 7),
        letter("e", "q", "v", 5),
        letter("f", "q", "u", 1),
    ];
    assert_eq!(by_references(&letters), "((6)(5))(2)(1 (4)(3))");
}

#[test]
fn ordered_subject_puts_a_subject_below_its_first_letter() {
    let by_subject = |letters: &[Letter]| threads(ThreadAlgorithm::OrderedSubject, letters);
    let letters = [
        letter("a", "", "Re: x", 5),
        letter("b", "", "y", 4),
        letter("c", "", "X", 3),
        letter("d", "", "[list] x (fwd)", 6),
        letter("e", "", "y", 9),
    ];
    assert_eq!(by_subject(&letters), "(3 (1)(4))(2 5)");
    assert_eq!(by_subject(&[]), "");
}

#[test]
fn a_quoted_local_part_is_the_same_id() {
    for (field, id) in [
        ("<a@x>", Some("a@x")),
        ("<\"a\"@x>", Some("a@x")),
        ("<\"a\\\"b\"@x> <c@x>", Some("a\"b@x")),
        ("text <broken <b@x>", Some("b@x")),
        ("<a x>", None),
        ("<a\r\n @x>", Some("a@x")),
        ("<@>", None),
        ("", None),
        ("<\"a@x>", None),
    ] {
        let found = first_id(field.as_bytes());
        assert_eq!(found.as_deref(), id.map(str::as_bytes), "{field}");
    }
}

#[test]
fn a_thread_as_deep_as_the_folder_is_long_is_printed() {
    let mut threader = Threader::new(ThreadAlgorithm::References);
    for number in 0..30_000_u32 {
        let mut summary = summary_of(&Letter::default());
        summary.envelope.message_id = Some(format!("<{number}@x>").into());
        summary.references = vec![format!("<{}@x>", number.wrapping_sub(1)).into()];
        threader.add(number + 1, Timestamp::from_seconds(0), &summary).unwrap();
    }
    let mut out = Vec::new();
    threader.threads().print(&mut out, |uid| uid);
    assert!(out.starts_with(b"(1 2 3 4 ") && out.ends_with(b" 30000)"));
}

/// The standard's text, step by step over a tree of boxes, without a thought for speed.
mod plain {
    use super::*;

    #[derive(Clone, Debug)]
    struct Box_ {
        /// The message; `None` for a dummy.
        letter: Option<usize>,
        children: Vec<usize>,
        parent: Option<usize>,
    }

    pub(super) fn references(letters: &[Letter]) -> String {
        let mut boxes: Vec<Box_> = Vec::new();
        let mut by_id: BTreeMap<String, usize> = BTreeMap::new();
        let new = |boxes: &mut Vec<Box_>| {
            boxes.push(Box_ { letter: None, children: vec![], parent: None });
            boxes.len() - 1
        };
        for (number, letter) in letters.iter().enumerate() {
            let id = letter
                .id
                .clone()
                .filter(|id| by_id.get(id).is_none_or(|at| boxes[*at].letter.is_none()));
            let id = id.unwrap_or_else(|| format!("unique {number}"));
            let this = *by_id.entry(id).or_insert_with(|| new(&mut boxes));
            boxes[this].letter = Some(number);
            let mut references = letter.references.clone();
            if references.is_empty() {
                references.extend(letter.answers.clone());
            }
            let chain: Vec<usize> = references
                .iter()
                .map(|id| *by_id.entry(id.clone()).or_insert_with(|| new(&mut boxes)))
                .collect();
            for pair in chain.windows(2) {
                if boxes[pair[1]].parent.is_none() {
                    link(&mut boxes, pair[0], pair[1]);
                }
            }
            unlink(&mut boxes, this);
            if let Some(last) = chain.last() {
                link(&mut boxes, *last, this);
            }
        }
        let mut roots: Vec<usize> =
            (0..boxes.len()).filter(|at| boxes[*at].parent.is_none()).collect();
        // 3
        loop {
            let mut changed = false;
            for at in 0..boxes.len() {
                let is_dummy = boxes[at].letter.is_none();
                let is_root = roots.contains(&at);
                if !is_dummy || !(is_root || boxes[at].parent.is_some()) {
                    continue;
                }
                let children = boxes[at].children.clone();
                if is_root && children.len() > 1 {
                    continue;
                }
                let parent = boxes[at].parent;
                unlink(&mut boxes, at);
                roots.retain(|root| *root != at);
                for child in children {
                    unlink(&mut boxes, child);
                    match parent {
                        Some(parent) => link(&mut boxes, parent, child),
                        None => roots.push(child),
                    }
                }
                changed = true;
            }
            if !changed {
                break;
            }
        }
        // 4
        sort_all(&mut boxes, &mut roots, letters);
        // 5
        let base = |boxes: &[Box_], at: usize| {
            let speaker = boxes[at].letter.or_else(|| boxes[boxes[at].children[0]].letter).unwrap();
            let base = subject::base(&letters[speaker].subject);
            (base.text.to_uppercase(), base.is_reply)
        };
        let mut table: BTreeMap<String, usize> = BTreeMap::new();
        for &root in &roots {
            let (text, is_reply) = base(&boxes, root);
            if text.is_empty() {
                continue;
            }
            match table.get(&text).copied() {
                None => {
                    table.insert(text, root);
                }
                Some(known) => {
                    let known_is_dummy = boxes[known].letter.is_none();
                    let is_dummy = boxes[root].letter.is_none();
                    if !known_is_dummy && (is_dummy || base(&boxes, known).1 && !is_reply) {
                        table.insert(text, root);
                    }
                }
            }
        }
        for root in roots.clone() {
            let (text, is_reply) = base(&boxes, root);
            if text.is_empty() || table[&text] == root {
                continue;
            }
            let known = table[&text];
            let known_is_dummy = boxes[known].letter.is_none();
            let is_dummy = boxes[root].letter.is_none();
            roots.retain(|each| *each != root);
            if known_is_dummy && is_dummy {
                for child in boxes[root].children.clone() {
                    unlink(&mut boxes, child);
                    link(&mut boxes, known, child);
                }
            } else if known_is_dummy || is_reply && !base(&boxes, known).1 {
                link(&mut boxes, known, root);
            } else {
                let dummy = new(&mut boxes);
                roots.retain(|each| *each != known);
                link(&mut boxes, dummy, known);
                link(&mut boxes, dummy, root);
                roots.push(dummy);
                table.insert(text, dummy);
            }
        }
        // 6
        sort_all(&mut boxes, &mut roots, letters);
        roots.iter().map(|root| format!("({})", shown(&boxes, *root))).collect()
    }

    fn shown(boxes: &[Box_], at: usize) -> String {
        let own = boxes[at].letter.map(|letter| (letter + 1).to_string()).unwrap_or_default();
        let below: Vec<String> = boxes[at].children.iter().map(|c| shown(boxes, *c)).collect();
        match (&below[..], own.is_empty()) {
            ([], _) => own,
            ([only], false) => format!("{own} {only}"),
            (many, _) => {
                let many: String = many.iter().map(|each| format!("({each})")).collect();
                if own.is_empty() { many } else { format!("{own} {many}") }
            }
        }
    }

    fn sort_all(boxes: &mut [Box_], roots: &mut [usize], letters: &[Letter]) {
        let age = |boxes: &[Box_], at: usize| {
            let speaker = boxes[at].letter.or_else(|| boxes[boxes[at].children[0]].letter).unwrap();
            (letters[speaker].minute, speaker)
        };
        for at in 0..boxes.len() {
            let mut children = boxes[at].children.clone();
            children.retain(|child| boxes[*child].letter.is_some());
            if children.len() == boxes[at].children.len() {
                children.sort_by_key(|child| age(boxes, *child));
                boxes[at].children = children;
            }
        }
        roots.sort_by_key(|root| age(boxes, *root));
    }

    fn is_above(boxes: &[Box_], above: usize, below: usize) -> bool {
        let mut at = Some(below);
        while let Some(here) = at {
            if here == above {
                return true;
            }
            at = boxes[here].parent;
        }
        false
    }

    fn link(boxes: &mut [Box_], parent: usize, child: usize) {
        if !is_above(boxes, child, parent) {
            boxes[parent].children.push(child);
            boxes[child].parent = Some(parent);
        }
    }

    fn unlink(boxes: &mut [Box_], child: usize) {
        if let Some(parent) = boxes[child].parent.take() {
            boxes[parent].children.retain(|each| *each != child);
        }
    }
}

fn any_letter() -> impl Strategy<Value = Letter> {
    let id = || "[a-h]".prop_map(String::from);
    (
        proptest::option::weighted(0.9, id()),
        proptest::collection::vec(id(), 0..4),
        proptest::option::weighted(0.3, id()),
        prop_oneof![Just(""), Just("x"), Just("Re: x"), Just("y"), Just("re: y"), Just("z")],
        0_u32..6,
    )
        .prop_map(|(id, references, answers, subject, minute)| Letter {
            id,
            references,
            answers,
            subject: subject.to_owned(),
            minute,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn threads_are_those_of_the_standards_text(letters in proptest::collection::vec(any_letter(), 0..12)) {
        prop_assert_eq!(by_references(&letters), plain::references(&letters));
    }

    #[test]
    fn each_message_is_in_one_thread(letters in proptest::collection::vec(any_letter(), 0..30)) {
        for algorithm in [ThreadAlgorithm::References, ThreadAlgorithm::OrderedSubject] {
            let printed = threads(algorithm, &letters);
            let mut numbers: Vec<usize> = printed
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect();
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (1..=letters.len()).collect::<Vec<_>>());
        }
    }
}
