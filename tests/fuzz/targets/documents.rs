//! Archives of structured letters (XDM): opened and looked into within what they may unpack.
#![no_main]
use libfuzzer_sys::fuzz_target;
use vaguemestre::domain::envelope::MssHeaders;
use vaguemestre::proto::xdm;

fuzz_target!(|octets: &[u8]| {
    let archive = xdm::open(octets);
    let _ = archive.room();
    let mut left = 1 << 22;
    let _ = archive.inspect(&MssHeaders::default(), &mut left);
});
