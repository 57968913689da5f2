//! Filters: any script compiles or says why not, and runs on any letter within its work.
#![no_main]
use libfuzzer_sys::fuzz_target;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::proto::sieve;
use vaguemestre::proto::sieve::Circumstances;
use vaguemestre::proto::sieve::Letter;

const SAMPLE: &[u8] = b"From: a@b.mssante.test\r\nTo: c@d.mssante.test\r\nSubject: =?utf-8?q?=C3=A9t=C3=A9?=\r\n\
    Date: Sun, 22 Nov 2026 10:00:00 +0100\r\n\r\nBonjour\r\n";

fuzz_target!(|input: &[u8]| {
    // A script, and perhaps a letter behind a NUL.
    let mut parts = input.splitn(2, |octet| *octet == 0);
    let script = parts.next().unwrap_or_default();
    let letter = Letter::new(parts.next().unwrap_or(SAMPLE));
    let Ok(script) = sieve::compile(script) else { return };
    let folders = [("INBOX".to_owned(), None), ("Archives".to_owned(), Some("\\Archive"))];
    let around = Circumstances {
        from: "a@b.mssante.test",
        to: "c@d.mssante.test",
        now: Timestamp::from_seconds(1_795_358_400),
        folders: &folders,
        redirects_max: 4,
    };
    let _ = script.run(&letter, &around);
});
