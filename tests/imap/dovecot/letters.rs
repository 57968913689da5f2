//! Letters of many shapes, whole and broken.
use std::path::Path;

use crate::support::imap::Client;

/// A letter, and its sections that are worth asking for.
pub(super) struct Letter {
    pub(super) name: &'static str,
    flags: &'static str,
    pub(super) sections: &'static [&'static str],
}

const FOLDER: &str = "tests/vectors/imap/letters";

pub(super) fn all() -> &'static [Letter] {
    const fn letter(
        name: &'static str,
        flags: &'static str,
        sections: &'static [&'static str],
    ) -> Letter {
        Letter { name, flags, sections }
    }
    const ALL: &[Letter] = &[
        letter("plain", "\\Seen", &["1.1", "1.HEADER", "1.TEXT"]),
        letter("mixed", "\\Seen $Done", &["1", "2.MIME", "3", "3.MIME", "4"]),
        letter(
            "letter_in_letter",
            "\\Flagged",
            &[
                "2.MIME",
                "2.HEADER",
                "2.TEXT",
                "2.HEADER.FIELDS (SUBJECT)",
                "2.1",
                "2.1.MIME",
                "2.2",
                "2.2.MIME",
                "2.2.1",
                "2.3",
            ],
        ),
        letter("letter_in_letter_alone", "", &["HEADER", "1.HEADER", "1.TEXT", "1.1", "1.2"]),
        letter("alternative_in_related", "\\Answered", &["1.1", "1.2", "1.2.MIME", "1.MIME", "2"]),
        letter("encoded_words", "", &[]),
        letter("octets_over_127", "\\Draft", &[]),
        letter("no_closing_boundary", "", &["1.MIME", "2.MIME", "3"]),
        letter("boundary_of_no_part", "\\Deleted", &[]),
        letter("addresses", "", &[]),
        letter("folded", "", &[]),
        letter("header_alone", "", &[]),
        letter("quoted_printable", "", &[]),
        letter("parameters", "", &["1.MIME"]),
        letter("thread_first", "", &[]),
        letter("thread_answer", "\\Seen", &[]),
        letter("thread_by_reply", "", &[]),
        letter("thread_by_subject", "", &[]),
        letter("digest", "", &["1.HEADER", "2.MIME", "2.TEXT", "1.1"]),
        letter("unknown_encoding", "", &[]),
    ];
    ALL
}

/// Files all of them in INBOX, one a day from the first of February on, and opens it.
pub(super) async fn file(client: &mut Client) -> anyhow::Result<()> {
    for (number, letter) in all().iter().enumerate() {
        let path = Path::new(FOLDER).join(letter.name).with_extension("eml");
        let text = std::fs::read_to_string(&path)?.replace('\n', "\r\n");
        // In the file `\xE9` stands for an octet that is no UTF-8.
        let octets = with_octets(&text);
        let date = format!("{:02}-Feb-2026 12:00:00 +0000", number + 1);
        let mut command =
            format!("APPEND INBOX ({}) \"{date}\" {{{}+}}\r\n", letter.flags, octets.len())
                .into_bytes();
        command.extend_from_slice(&octets);
        client.say_octets(&command).await?.expect(crate::support::imap::Status::Ok)?;
    }
    client.ok("SELECT INBOX").await?;
    Ok(())
}

fn with_octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("\\x") {
        octets.extend_from_slice(before.as_bytes());
        octets.push(u8::from_str_radix(&behind[..2], 16).unwrap());
        rest = &behind[2..];
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}
