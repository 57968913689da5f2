//! Messages on their way in: several of them, octets of any kind, one instead of another.
use super::*;

#[test]
fn several_messages_come_one_after_the_other() {
    check(
        b"a APPEND x (\\Seen) {3}\r\nabc {2+}\r\nde \"17-Jul-1996 02:44:25 -0700\" {1+}\r\nf\r\nb NOOP\r\n",
        &[
            "message of 3",
            "got abc",
            "message of 2",
            "got de",
            "message of 1",
            "got f",
            "a APPEND",
            "b NOOP",
        ],
    );
    // What they say for themselves belongs to each.
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    let (_, step) = reader.feed(b"a APPEND x (\\Seen) {1+}\r\n");
    let Some(Step::Message(first)) = step else { panic!("{step:?}") };
    assert!(first.start.flags.seen && first.index == 0 && first.replaced.is_none());
    reader.accept_message();
    let (_, step) = reader.feed(b"x (\\Draft) ~{7}\r\n");
    assert!(matches!(step, Some(Step::Received(_))));
    let (_, step) = reader.feed(b" (\\Draft) ~{7}\r\n");
    let Some(Step::Message(second)) = step else { panic!("{step:?}") };
    assert!(second.start.flags.draft && !second.start.flags.seen && second.index == 1);
    assert_eq!((second.form, second.octets), (MessageForm::Binary, 7));
    assert_eq!(second.literal, LiteralMode::Synchronising);
}

#[test]
fn the_second_message_can_be_refused_and_nothing_is_left_of_the_command() {
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    reader.feed(b"a APPEND x {1+}\r\n");
    reader.accept_message();
    reader.feed(b"x");
    let (_, step) = reader.feed(b" {3+}\r\n");
    assert!(matches!(step, Some(Step::Message(_))));
    assert_eq!(reader.refuse_message(100), Next::GoOn);
    assert_eq!(steps(&mut reader, b"abc {2+}\r\nde\r\nb NOOP\r\n"), ["b NOOP"]);
}

#[test]
fn a_replacement_names_its_message_and_brings_one() {
    check(
        b"a REPLACE 4 Drafts {3}\r\nabc\r\nb UID REPLACE 7 {6}\r\nDrafts (\\Draft) {1}\r\nx\r\n",
        &["message of 3", "got abc", "a REPLACE", "+", "message of 1", "got x", "b REPLACE"],
    );
    check(
        b"a REPLACE 4 x {1}\r\na {1}\r\nb NOOP\r\n",
        &[
            "message of 1",
            "got a",
            "a BAD REPLACE takes one message and nothing behind it",
            "b NOOP",
        ],
    );
    check(b"a REPLACE 1:2 x {3+}\r\nabc\r\nb NOOP\r\n", &["a BAD one space expected", "b NOOP"]);
    let whole = "a BAD REPLACE is: message number, mailbox, flags, date-time, message literal";
    check(b"a REPLACE 1 x\r\n", &[whole]);
    check(b"a UID REPLACE 1 x\r\n", &[whole]);
}

#[test]
fn a_message_in_utf8_stands_in_parentheses() {
    check(
        b"a APPEND x UTF8 (~{2}\r\nab) UTF8 (~{1+}\r\nc)\r\n",
        &["message of 2", "got ab", "message of 1", "got c", "a APPEND"],
    );
    check(
        b"a APPEND x UTF8 (~{1}\r\na\r\nb NOOP\r\n",
        &[
            "message of 1",
            "got a",
            "a BAD the ) of UTF8 (…) was expected behind its message",
            "b NOOP",
        ],
    );
    check(
        b"a APPEND x UTF8 ({1}\r\nb NOOP\r\n",
        &["a BAD UTF8 takes a literal8: ~{octets}", "b NOOP"],
    );
}

#[test]
fn a_literal8_may_hold_nul_and_stands_where_the_grammar_has_one() {
    check(b"a APPEND x ~{3}\r\na\0b\r\n", &["message of 3", "got a\0b", "a APPEND"]);
    check(b"a SETMETADATA x (/a ~{2+}\r\n\0b)\r\n", &["a SETMETADATA"]);
    check(b"a SETMETADATA x (/a {2+}\r\n\0b)\r\n", &["a BAD a literal holds NUL"]);
    check(b"a SELECT ~{1+}\r\nx\r\n", &["a BAD a literal8 cannot stand here"]);
}

#[test]
fn what_stands_before_a_message_is_checked_before_it_comes() {
    let expected = "a BAD flags, a date-time or a message literal was expected";
    check(b"a APPEND x y {3}\r\nb NOOP\r\n", &[expected, "b NOOP"]);
    check(b"a APPEND x y {3+}\r\nabc\r\nb NOOP\r\n", &[expected, "b NOOP"]);
    check(
        b"a APPEND x \"yesterday\" {3}\r\n",
        &["a BAD a date-time such as \" 1-Feb-2026 09:30:00 +0100\" was expected"],
    );
    check(b"a APPEND &x {3}\r\n", &["a BAD a mailbox name is not modified UTF-7"]);
}

#[test]
fn spaces_at_the_end_of_a_line_are_forgiven() {
    check(
        b"a NOOP \r\nb LIST \"\" \"*\"  \r\nc APPEND x {1}\r\nx \r\n",
        &["a NOOP", "b LIST", "message of 1", "got x", "c APPEND"],
    );
}
