use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MAX: u64 = 10_000;

/// What a content and the octets behind it are, when they arrive in pieces of these sizes.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    verdict: Result<Vec<u8>, Refusal>,
    /// What is left for commands; `None` when the content has not ended.
    rest: Option<Vec<u8>>,
}

fn read(mut reader: ContentReader, input: &[u8], sizes: &[usize]) -> Outcome {
    let mut content = Vec::new();
    let mut buffer = Vec::new();
    let mut arrived = 0;
    let mut sizes = sizes.iter().cycle();
    let mut rest = None;
    while arrived < input.len() && rest.is_none() {
        let piece = (*sizes.next().unwrap()).clamp(1, input.len() - arrived);
        buffer.extend_from_slice(&input[arrived..arrived + piece]);
        arrived += piece;
        while !buffer.is_empty() {
            let taken = reader.take(&buffer);
            assert!(taken.used > 0, "the reader stands still");
            content.extend_from_slice(taken.content);
            let (used, ended) = (taken.used, taken.ended);
            buffer.drain(..used);
            if ended {
                rest = Some([&buffer[..], &input[arrived..]].concat());
                break;
            }
        }
    }
    Outcome { verdict: reader.finish().map(|()| content), rest }
}

/// The same, written so that it is plainly right: look for CRLF.CRLF, then look at the lines.
fn read_plainly(input: &[u8]) -> Outcome {
    let framed = [b"\r\n", input].concat();
    let end = framed.windows(5).position(|window| window == b"\r\n.\r\n");
    let (framed, rest) = match end {
        Some(end) => (&framed[..end + 2], Some(framed[end + 5..].to_vec())),
        None => (&framed[..], None),
    };
    let text = &framed[2..];
    let mut content = Vec::new();
    let mut malformed = false;
    for line in split_at_crlf(text) {
        let line = line.strip_prefix(b".").unwrap_or(line);
        let body = line.strip_suffix(b"\r\n").unwrap_or(line);
        malformed |= body.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0));
        content.extend_from_slice(line);
    }
    let verdict = if malformed { Err(Refusal::ContentMalformed) } else { Ok(content) };
    Outcome { verdict, rest }
}

fn split_at_crlf(mut text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(end) = text.windows(2).position(|window| window == b"\r\n") {
        lines.push(&text[..end + 2]);
        text = &text[end + 2..];
    }
    lines.push(text);
    lines
}

fn data(input: &[u8]) -> Outcome {
    let whole = read(ContentReader::dotted(MAX), input, &[input.len()]);
    for size in 1..8 {
        let pieces = read(ContentReader::dotted(MAX), input, &[size]);
        assert_eq!(pieces, whole, "in pieces of {size}");
    }
    whole
}

#[test]
fn a_letter_ends_at_a_line_of_one_dot() {
    let outcome = data(b"a\r\n..b\r\n.c\r\n...\r\n.\r\nQUIT\r\n");
    assert_eq!(outcome.verdict, Ok(b"a\r\n.b\r\nc\r\n..\r\n".to_vec()));
    assert_eq!(outcome.rest, Some(b"QUIT\r\n".to_vec()));
}

#[test]
fn an_empty_letter_ends_at_once() {
    let outcome = data(b".\r\nQUIT\r\n");
    assert_eq!(outcome, Outcome { verdict: Ok(Vec::new()), rest: Some(b"QUIT\r\n".to_vec()) });
}

#[test]
fn no_other_sequence_ends_a_letter_and_each_refuses_it() {
    // The variants of published smuggling tools, each with a second letter hidden behind it.
    let ends: [&[u8]; 21] = [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r.\r\n",
        b"\r\n.\r",
        b"\r.\n",
        b"\n.\r",
        b"\n\n.\r\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n.\r\0\n",
        b"\r\n.\r\r\n",
        b"\r\r\n.\n",
        b"\n\r.\r\n",
        b"\r\r.\r\n",
        b"\0\r\n.\n",
        b"\r\n.\n\r\n",
        b"\x00\n.\r\n",
        b"\n.\r\r\n",
        b"\r\n\r.\r\n",
    ];
    for end in ends {
        let smuggled = b"MAIL FROM:<evil@x.fr>\r\nRCPT TO:<b@x.fr>\r\nDATA\r\nx";
        let input = [b"Subject: a\r\n\r\nhi", end, smuggled, b"\r\n.\r\nQUIT\r\n"].concat();
        let outcome = data(&input);
        assert_eq!(outcome.verdict, Err(Refusal::ContentMalformed), "{end:?}");
        assert_eq!(outcome.rest, Some(b"QUIT\r\n".to_vec()), "{end:?} ended the letter");
    }
}

#[test]
fn a_bare_cr_lf_or_nul_refuses_the_letter_wherever_it_stands() {
    let letter = b"Subject: a\r\n\r\n.. dots\r\nlast\r\n.\r\n";
    for bad in [b"\r", b"\n", b"\0"] {
        for place in 0..letter.len() - 5 {
            let mut input = letter.to_vec();
            input.splice(place..place, bad.iter().copied());
            let outcome = data(&input);
            assert_eq!(outcome.verdict, Err(Refusal::ContentMalformed), "{bad:?} at {place}");
            assert_eq!(outcome.rest, Some(Vec::new()), "{bad:?} at {place}");
        }
    }
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
    let fits = vec![b'a'; limits::CONTENT_LINE_OCTETS_MAX - 2];
    let letter = |line: &[u8]| [line, b"\r\n.\r\n"].concat();
    let reader = || ContentReader::dotted(1_000_000);
    assert!(read(reader(), &letter(&fits), &[1000]).verdict.is_ok());
    let too_long = read(reader(), &letter(&[&fits[..], b"a"].concat()), &[1000]);
    assert_eq!(too_long.verdict, Err(Refusal::ContentMalformed));
    assert_eq!(too_long.rest, Some(Vec::new()));
}

#[test]
fn a_letter_may_be_as_large_as_the_limit_and_no_larger() {
    let reader = || ContentReader::dotted(10);
    assert!(read(reader(), b"..345678\r\n\r\n.\r\n", &[3]).verdict.is_err());
    assert!(read(reader(), b"..2345678\r\n.\r\n", &[3]).verdict.is_ok(), "stuffing does not count");
    let too_large = read(reader(), b"123456789\r\n.\r\nQUIT", &[3]);
    assert_eq!(too_large.verdict, Err(Refusal::MessageTooLarge));
    assert_eq!(too_large.rest, Some(b"QUIT".to_vec()), "it is read to its real end");
}

#[test]
fn a_client_that_never_ends_a_refused_letter_is_not_read_for_ever() {
    let mut reader = ContentReader::dotted(100);
    reader.take(&[b'a'; 400]);
    assert!(reader.refusal().is_some() && !reader.is_out_of_bounds());
    reader.take(b"a");
    assert!(reader.is_out_of_bounds());
}

#[test]
fn chunks_have_no_dots_but_the_same_rules_for_lines() {
    let read = |input: &[u8]| read(ContentReader::counted(MAX), input, &[1, 5, 2]).verdict;
    assert_eq!(read(b".\r\n..a\r\n.\r\nb"), Ok(b".\r\n..a\r\n.\r\nb".to_vec()));
    for bad in [&b"a\rb"[..], b"a\nb", b"a\0", b"a\r", b"\n", b"a\r\r\n"] {
        assert_eq!(read(bad), Err(Refusal::ContentMalformed), "{bad:?}");
    }
}

#[test]
fn a_letter_without_dots_comes_out_as_one_slice() {
    let mut reader = ContentReader::dotted(MAX);
    let input = b"Subject: a\r\n\r\nline\r\nline\r\n.\r\n";
    let taken = reader.take(input);
    assert_eq!(taken.content.as_ptr(), input.as_ptr());
    assert_eq!(taken.content.len(), input.len() - 3);
}

/// Strings of the octets that matter.
fn treacherous() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(&b"\r\n"[..]),
        2 => Just(&b"."[..]),
        1 => Just(&b"\r"[..]),
        1 => Just(&b"\n"[..]),
        1 => Just(&b"\0"[..]),
        2 => Just(&b"a"[..]),
        1 => Just(&b"the quick brown fox jumps over the lazy dog, again and again"[..]),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_fast_reader_and_the_plain_one_agree(input in treacherous(), sizes in vec(1usize..9, 1..6)) {
        let fast = read(ContentReader::dotted(MAX), &input, &sizes);
        let plain = read_plainly(&input);
        prop_assert_eq!(&fast.rest, &plain.rest);
        if fast.rest.is_some() {
            prop_assert_eq!(fast.verdict, plain.verdict);
        }
    }

    #[test]
    fn what_was_stuffed_comes_out_as_it_was(lines in vec("[.a-c é]{0,90}", 0..20)) {
        let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let stuffed: String = lines
            .iter()
            .map(|line| if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") })
            .collect();
        let outcome = read(ContentReader::dotted(MAX), format!("{stuffed}.\r\n").as_bytes(), &[7, 64]);
        prop_assert_eq!(outcome.verdict, Ok(content.into_bytes()));
    }
}
