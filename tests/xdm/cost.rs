//! What looking for documents costs. Run with `cargo test --test all xdm::cost -- --ignored
//! --nocapture`, best with optimisation; figures of one run compare with each other only.
use std::time::Duration;
use std::time::Instant;

use vaguemestre::domain::limits;
use vaguemestre::proto::mime::header;
use vaguemestre::proto::mime::summary;
use vaguemestre::proto::xdm;

use super::made;
use crate::support::letters;

#[allow(clippy::disallowed_methods, reason = "a measurement reads real time")]
fn time_of(rounds: u32, mut work: impl FnMut()) -> Duration {
    let began = Instant::now();
    (0..rounds).for_each(|_| work());
    began.elapsed() / rounds
}

#[test]
#[ignore = "it measures and judges nothing"]
fn what_documents_cost() {
    let plain = letters::letter("a@b.test", "c@d.test", "<1@b.test>", 51_200);
    // Body of a scanned page: it hardly shrinks.
    let mut dice = letters::Dice(7);
    let body: String = (0..225_000)
        .map(|_| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"[dice.below(32) as usize]))
        .collect();
    let archive = made::changed(|files| {
        let document = made::file(files, made::DOCUMENT);
        made::replace(document, "<component>", &format!("<component><!--{body}-->"));
        made::sign(files);
    });
    let large = made::letter("a@b.test", "c@d.test", "<1@b.test>", &archive);
    for (name, letter) in [("50 KB, no documents", &plain), ("XDM", &large)] {
        let mss = header::view(letter).mss;
        let known = summary::summarise(letter);
        let summarised = time_of(200, || drop(summary::summarise(letter)));
        let recognised = time_of(10_000, || drop(xdm::recognise(&known, &mss)));
        let inspected = time_of(200, || {
            let Some(marked) = xdm::recognise(&known, &mss) else { return };
            for part in &marked.archives {
                let octets = xdm::octets(letter, part);
                let mut left = limits::ARCHIVE_OCTETS_MAX;
                let mut report = xdm::open(&octets).inspect(&mss, &mut left);
                report.conclude(&mss);
                assert!(made::found(&report).is_empty());
            }
        });
        println!(
            "{name}: {} octets; summary {summarised:?}, recognition {recognised:?}, all of the \
             inspection {inspected:?}",
            letter.len()
        );
    }
}
