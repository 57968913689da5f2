//! SMTP commands: what is read can be printed, and is read the same again.
#![no_main]
use libfuzzer_sys::fuzz_target;
use vaguemestre::proto::smtp::command::Command;

fuzz_target!(|line: &[u8]| {
    if let Ok(command) = Command::parse(line) {
        let printed = command.to_string();
        let again = Command::parse(printed.as_bytes());
        assert_eq!(again.map(|again| format!("{again:?}")), Ok(format!("{command:?}")), "{printed}");
    }
});
