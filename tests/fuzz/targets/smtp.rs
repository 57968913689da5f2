//! SMTP conversations: where the octets are cut changes nothing, and what is read of a command can be
//! printed, and is read the same again.
#![no_main]
use libfuzzer_sys::fuzz_target;
use vaguemestre::proto::smtp::command::Command;
use vaguemestre::proto::smtp::session::Door;

#[path = "../sessions.rs"]
mod sessions;

fuzz_target!(|input: &[u8]| {
    // The first octet says at which door, and into what pieces.
    let Some((first, octets)) = input.split_first() else { return };
    let door = if first & 1 == 0 { Door::Submission } else { Door::Operators };
    let whole = sessions::converse(door, octets, octets.len());
    let cut = sessions::converse(door, octets, usize::from(first >> 1) % 61 + 1);
    assert_eq!(whole, cut);
    for line in octets.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Ok(command) = Command::parse(line) {
            let printed = command.to_string();
            let again = Command::parse(printed.as_bytes());
            assert_eq!(
                again.map(|again| format!("{again:?}")),
                Ok(format!("{command:?}")),
                "{printed}"
            );
        }
    }
});
