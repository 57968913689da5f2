//! Letters: whatever their form, what lists and pages show of them can be told.
#![no_main]
use libfuzzer_sys::fuzz_target;
use vaguemestre::proto::mime::content;
use vaguemestre::proto::mime::summary;
use vaguemestre::proto::mime::thread;
use vaguemestre::proto::receipt;

fuzz_target!(|letter: &[u8]| {
    let told = summary::summarise(letter);
    let stored = summary::encode(&told);
    assert!(summary::decode(&stored).is_some(), "what was written is not read");
    let _ = thread::root(&told);
    let _ = receipt::read(letter, &told.structure);
    let _ = content::readable(letter);
    let _ = content::searchable_text(letter);
    let _ = content::attachment(letter, 0);
});
