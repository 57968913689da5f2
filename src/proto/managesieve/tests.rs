//! Words, commands, answers.
use proptest::prelude::*;

use super::*;
use crate::domain::limits;

fn steps(reader: &mut Reader, mut input: &[u8], piece: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while !input.is_empty() {
        let (used, step) = reader.feed(&input[..piece.min(input.len())]);
        input = &input[used..];
        steps.extend(step);
    }
    steps
}

fn text(text: &str) -> Word {
    Word::Text(text.as_bytes().to_vec())
}

#[test]
fn commands_are_read_in_whatever_pieces_they_come() {
    let input = b"putscript \"a \\\"b\\\\\" {5+}\r\nke\r\nx\r\nNOOP {0+}\r\n\r\nLogout\r\n";
    for piece in [1, 2, 3, 7, 1_000] {
        let read = steps(&mut Reader::new(), input, piece);
        let atom = |atom: &str| Word::Atom(atom.to_owned());
        assert_eq!(
            read,
            [
                Step::Words(vec![atom("PUTSCRIPT"), text("a \"b\\"), text("ke\r\nx")]),
                Step::Words(vec![atom("NOOP"), text("")]),
                Step::Words(vec![atom("LOGOUT")]),
            ]
        );
    }
}

#[test]
fn a_bad_line_is_told_and_the_next_one_is_read() {
    for bad in [
        "NOOP \"abc\r\n",
        "NOOP \"a\\x\"\r\n",
        "NOOP {x}\r\n",
        "NOOP {+}\r\n",
        "NOOP {5\r\n",
        "NOOP \"a\"\"b\"\r\n",
        "NO(OP\r\n",
        "\r\n",
        "A B C D E F G H I\r\n",
    ] {
        let mut reader = Reader::new();
        let read = steps(&mut reader, format!("{bad}LOGOUT\r\n").as_bytes(), 4);
        assert!(matches!(read[0], Step::Bad(_)), "{bad:?}: {read:?}");
        assert_eq!(read[1], Step::Words(vec![Word::Atom("LOGOUT".to_owned())]), "{bad:?}");
        assert!(!reader.is_begun());
    }
}

#[test]
fn nobody_fills_the_memory_with_one_command() {
    let stranger = |input: &[u8]| steps(&mut Reader::new(), input, 512).remove(0);
    assert_eq!(stranger(&[b'a'; 10_000]), Step::Close);
    assert_eq!(stranger(b"PUTSCRIPT \"a\" {9000+}\r\n"), Step::Close);
    let mut known = Reader::new();
    known.set_octets_max(limits::MANAGESIEVE_COMMAND_OCTETS_MAX);
    let large = limits::SIEVE_SCRIPT_OCTETS_MAX * 3;
    let input = [
        format!("PUTSCRIPT \"a\" {{{large}+}}\r\n").into_bytes(),
        vec![b'x'; large],
        b"\r\nNOOP\r\n".to_vec(),
    ];
    let read = steps(&mut known, &input.concat(), 4_096);
    assert_eq!(read, [Step::TooLarge, Step::Words(vec![Word::Atom("NOOP".to_owned())])]);
    assert_eq!(steps(&mut known, b"PUTSCRIPT \"a\" {99999999+}\r\n", 512), [Step::Close]);
}

#[test]
fn commands_have_their_arguments_and_no_others() {
    let parse = |line: &str| match steps(&mut Reader::new(), format!("{line}\r\n").as_bytes(), 100)
        .remove(0)
    {
        Step::Words(words) => Command::parse(words).map(|command| format!("{command:?}")),
        other => panic!("{line}: {other:?}"),
    };
    for (line, shown) in [
        ("HAVESPACE \"x\" 12", "HaveSpace { name: \"x\", octets: 12 }"),
        ("setactive \"\"", "SetActive(\"\")"),
        ("RENAMESCRIPT \"a\" {1+}\r\nb", "RenameScript { from: \"a\", to: \"b\" }"),
        ("NOOP", "Noop(None)"),
    ] {
        assert_eq!(parse(line).as_deref(), Ok(shown));
    }
    for (line, bad) in [
        ("HAVESPACE \"x\"", BadCommand::Arguments),
        ("HAVESPACE \"x\" \"12\"", BadCommand::Arguments),
        ("LISTSCRIPTS \"x\"", BadCommand::Arguments),
        ("GETSCRIPT name", BadCommand::Arguments),
        ("FETCH 1", BadCommand::Unknown),
        ("\"NOOP\"", BadCommand::Unknown),
    ] {
        assert_eq!(parse(line), Err(bad), "{line}");
    }
    let words = vec![Word::Atom("GETSCRIPT".to_owned()), Word::Text(vec![0xFF])];
    assert_eq!(Command::parse(words).map(|_| ()), Err(BadCommand::NotUtf8));
}

#[test]
fn answers_are_quoted_or_literal() {
    let mut out = Vec::new();
    write::answer(&mut out, write::Ending::No, Some("QUOTA/MAXSIZE"), "say \"no\"");
    write::answer(&mut out, write::Ending::Ok, None, "two\r\nlines");
    write::capability(&mut out, "STARTTLS", None);
    let expected =
        "NO (QUOTA/MAXSIZE) \"say \\\"no\\\"\"\r\nOK {10}\r\ntwo\r\nlines\r\n\"STARTTLS\"\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

proptest! {
    #[test]
    fn any_octets_are_read_alike_in_any_pieces(
        octets in prop::collection::vec(prop::sample::select(b"A \"\\{}1+0\r\nx(".to_vec()), 0..80),
        piece in 1..9_usize,
    ) {
        let whole = steps(&mut Reader::new(), &octets, 1_000);
        prop_assert_eq!(steps(&mut Reader::new(), &octets, piece), whole);
    }

    #[test]
    fn what_is_written_is_read_again(text in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut line = b"NOOP ".to_vec();
        write::string(&mut line, &text);
        line.extend_from_slice(b"\r\n");
        let expected = Step::Words(vec![Word::Atom("NOOP".to_owned()), Word::Text(text)]);
        prop_assert_eq!(steps(&mut Reader::new(), &line, 1_000), [expected]);
    }
}
