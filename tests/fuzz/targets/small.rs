//! Small grammars: POP3, ManageSieve, the trust list, the directory's extraction.
#![no_main]
use libfuzzer_sys::fuzz_target;
use vaguemestre::proto::extraction::Header;
use vaguemestre::proto::managesieve;
use vaguemestre::proto::pop3;
use vaguemestre::proto::trust_list;

fuzz_target!(|input: &[u8]| {
    let Some((which, octets)) = input.split_first() else { return };
    match which % 4 {
        0 => drop(pop3::Command::parse(octets)),
        1 => {
            let mut reader = managesieve::Reader::new();
            let mut at = 0;
            while at < octets.len() {
                let (used, step) = reader.feed(&octets[at..]);
                at += used;
                match step {
                    Some(managesieve::Step::Words(words)) => {
                        let _ = managesieve::Command::parse(words);
                    }
                    Some(managesieve::Step::Close) => return,
                    Some(_) => {}
                    None => assert_eq!(at, octets.len(), "octets are left and nothing is said"),
                }
            }
        }
        2 => drop(trust_list::read(octets)),
        _ => {
            let mut lines = octets.split(|octet| *octet == b'\n');
            let Some(Ok(header)) = lines.next().map(Header::parse) else { return };
            for line in lines {
                let _ = header.read(line);
            }
        }
    }
});
