//! IMAP commands in pieces of any size: what is read can be printed, and is read the same again.
#![no_main]
use libfuzzer_sys::fuzz_target;
use vaguemestre::proto::imap::command::Command;
use vaguemestre::proto::imap::reader::Budget;
use vaguemestre::proto::imap::reader::Next;
use vaguemestre::proto::imap::reader::Reader;
use vaguemestre::proto::imap::reader::Step;

fuzz_target!(|input: &[u8]| {
    let Some((first, octets)) = input.split_first() else { return };
    // In one piece, and cut where the first octet says: the cut may change nothing.
    let whole = commands(octets, octets.len().max(1));
    let cut = commands(octets, usize::from(first % 61) + 1);
    assert_eq!(shown(&whole), shown(&cut));
    for command in whole {
        let printed = command.print();
        let again = commands(&printed, printed.len());
        assert_eq!(shown(std::slice::from_ref(&command)), shown(&again), "{printed:?}");
    }
});

fn shown(commands: &[Command]) -> Vec<String> {
    commands.iter().map(|command| format!("{command:?}")).collect()
}

fn commands(octets: &[u8], piece: usize) -> Vec<Command> {
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    let mut commands = Vec::new();
    for piece in octets.chunks(piece) {
        let mut at = 0;
        loop {
            let (used, step) = reader.feed(&piece[at..]);
            at += used;
            match step {
                None => {
                    assert_eq!(at, piece.len(), "octets are left and nothing is said");
                    break;
                }
                Some(Step::Command(command)) => commands.push(command),
                Some(Step::Message(_)) => reader.accept_message(),
                Some(Step::Bad(refused)) if refused.next == Next::Close => return commands,
                Some(_) => {}
            }
        }
    }
    commands
}
