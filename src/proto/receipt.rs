//! Reports (RFC 3464) and read receipts (RFC 8098) of others, read while they pass. Nothing of
//! them is changed; what they tell is noted where the letter that they are about is traced.
//!
//! Strangers write them, so every count and length is bounded, and nothing in them is believed
//! before the caller has found the letter and who may speak of it.
use std::borrow::Cow;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::proto::mime::content;
use crate::proto::mime::header;
use crate::proto::mime::summary::Part;

/// What a report or receipt says, and about which letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Message-ID of the letter, with its angle brackets when it had them.
    pub about: String,
    /// Who reports: Reporting-MTA, or Reporting-UA; one printable line, perhaps empty.
    pub reporter: String,
    /// One for each recipient; at least one.
    pub news: Vec<News>,
}

/// What is said of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Original-Recipient and Final-Recipient, as far as they are addresses.
    pub recipients: Vec<Address>,
    /// What happened.
    pub what: What,
}

/// What happened at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// RFC 3464 §2.3.3 and §2.3.4.
    Report {
        /// `failed`, `delayed`, `delivered`, `relayed`, `expanded`.
        action: String,
        /// `5.1.1`
        status: String,
    },
    /// RFC 8098 §3.2.6: the disposition type, e.g. `displayed`.
    Receipt {
        /// In lower case, without its modes.
        disposition: String,
    },
}

/// Reads a letter whose structure is known; `None` when it is no report or receipt, or says of
/// no letter and no recipient what it is about.
pub fn read(letter: &[u8], structure: &Part) -> Option<Receipt> {
    if structure.kind != "multipart" || structure.subtype != "report" {
        return None;
    }
    let machine = structure.children.iter().find(|part| is_machine_part(part))?;
    let text = content::decoded_part(letter, machine);
    let text = text.get(..limits::RECEIPT_OCTETS_MAX).unwrap_or(&text);
    let blocks = blocks(text);
    match machine.subtype.as_str() {
        "disposition-notification" | "global-disposition-notification" => {
            receipt(letter, structure, &blocks)
        }
        _ => report(letter, structure, &blocks),
    }
}

fn is_machine_part(part: &Part) -> bool {
    const NAMES: [&str; 4] = [
        "delivery-status",
        "global-delivery-status",
        "disposition-notification",
        "global-disposition-notification",
    ];
    part.kind == "message" && NAMES.contains(&part.subtype.as_str())
}

/// RFC 8098 §3.2: one block of fields.
fn receipt(letter: &[u8], structure: &Part, blocks: &[&[u8]]) -> Option<Receipt> {
    let fields = blocks.first()?;
    let disposition = field(fields, "Disposition")?;
    // `manual-action/MDN-sent-manually; displayed/error`
    let kind = disposition.split(';').next_back().unwrap_or_default();
    let kind = kind.split('/').next().unwrap_or_default().trim().to_ascii_lowercase();
    let about = field(fields, "Original-Message-ID").or_else(|| returned_id(letter, structure))?;
    let what = What::Receipt { disposition: word(&kind)? };
    Some(Receipt {
        about: message_id(&about)?,
        reporter: field(fields, "Reporting-UA").map(|line| one_line(&line)).unwrap_or_default(),
        news: vec![News { recipients: recipients(fields), what }],
    })
}

/// RFC 3464 §2.1: one block about the letter, then one for each recipient.
fn report(letter: &[u8], structure: &Part, blocks: &[&[u8]]) -> Option<Receipt> {
    let (about_letter, each) = blocks.split_first()?;
    let reporter = field(about_letter, "Reporting-MTA").unwrap_or_default();
    // `dns; mx.example`
    let reporter = reporter.split_once(';').map_or(reporter.as_str(), |(_, name)| name);
    let news: Vec<News> = each
        .iter()
        .take(limits::RECEIPT_RECIPIENTS_MAX)
        .filter_map(|fields| {
            let action = word(&field(fields, "Action")?.to_ascii_lowercase())?;
            let status = field(fields, "Status").and_then(|status| word(&status));
            let what = What::Report { action, status: status.unwrap_or_default() };
            Some(News { recipients: recipients(fields), what })
        })
        .collect();
    if news.is_empty() {
        return None;
    }
    let about = returned_id(letter, structure).or_else(|| answered_id(letter))?;
    Some(Receipt { about: message_id(&about)?, reporter: one_line(reporter), news })
}

/// The Message-ID of the letter that came back, or of its header section (RFC 6522 §3).
fn returned_id(letter: &[u8], structure: &Part) -> Option<String> {
    structure.children.iter().find_map(|part| {
        if let Some(message) = &part.message {
            let id = message.0.message_id.as_deref()?;
            return Some(String::from_utf8_lossy(id).into_owned());
        }
        let is_header = part.subtype == "rfc822-headers" || part.subtype == "global-headers";
        if !is_header {
            return None;
        }
        let section = content::decoded_part(letter, part);
        let section = section.get(..limits::RECEIPT_OCTETS_MAX).unwrap_or(&section);
        field(section, "Message-ID")
    })
}

/// What the report itself answers.
fn answered_id(letter: &[u8]) -> Option<String> {
    field(letter, "In-Reply-To")
}

/// Blocks of fields, with empty lines between them.
fn blocks(text: &[u8]) -> Vec<&[u8]> {
    let mut blocks = Vec::new();
    let mut start = 0;
    let mut place = 0;
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        if line.trim_ascii().is_empty() {
            if place > start {
                blocks.push(&text[start..place]);
            }
            start = place + line.len();
            if blocks.len() > limits::RECEIPT_RECIPIENTS_MAX {
                return blocks;
            }
        }
        place += line.len();
    }
    if place > start {
        blocks.push(&text[start..place]);
    }
    blocks
}

/// The value of the first field of this name, unfolded.
fn field(section: &[u8], name: &str) -> Option<String> {
    let field = header::fields(section).find(|field| field.is(name))?;
    let value: Cow<'_, [u8]> = field.unfolded();
    let value = value.get(..limits::RECEIPT_FIELD_OCTETS_MAX).unwrap_or(&value);
    Some(String::from_utf8_lossy(value).into_owned())
}

/// `rfc822; a@b.fr`, or `utf-8; …` (RFC 6533 §3).
fn recipients(fields: &[u8]) -> Vec<Address> {
    ["Original-Recipient", "Final-Recipient"]
        .into_iter()
        .filter_map(|name| {
            let value = field(fields, name)?;
            let (_, address) = value.split_once(';')?;
            let address = address.trim().trim_start_matches('<').trim_end_matches('>');
            Address::parse(address).ok()
        })
        .collect()
}

/// One word of plain characters, without a comment behind it.
fn word(text: &str) -> Option<String> {
    let word = text.split([' ', '\t', '(']).next().unwrap_or_default();
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_');
    (!word.is_empty() && word.len() <= 40 && word.bytes().all(plain)).then(|| word.to_owned())
}

fn message_id(text: &str) -> Option<String> {
    let id = text.trim();
    let id = match id.find('>') {
        Some(end) => &id[..=end],
        None => id,
    };
    let plain = id.chars().all(|character| !character.is_control() && character != ' ');
    (id.len() > 2 && plain).then(|| id.to_owned())
}

fn one_line(text: &str) -> String {
    let printable = |character: char| match character {
        ' '..='~' => character,
        _ => '?',
    };
    text.trim().chars().take(200).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::mime::summary;

    fn read_whole(letter: &str) -> Option<Receipt> {
        read(letter.as_bytes(), &summary::summarise(letter.as_bytes()).structure)
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    const RECEIPT: &str = "From: b@there.test\r\nTo: a@here.test\r\nSubject: Lu\r\n\
        Content-Type: multipart/report; report-type=disposition-notification; boundary=x\r\n\r\n\
        --x\r\nContent-Type: text/plain\r\n\r\nlu\r\n\
        --x\r\nContent-Type: message/disposition-notification\r\n\r\n\
        Reporting-UA: pc.there.test; Logiciel 2\r\n\
        Original-Recipient: rfc822;B@there.test\r\nFinal-Recipient: rfc822;c@there.test\r\n\
        Original-Message-ID:\r\n <1@here.test>\r\n\
        Disposition: manual-action/MDN-sent-manually; displayed/error (seen)\r\n\r\n--x--\r\n";

    #[test]
    fn a_receipt_is_read() {
        let receipt = read_whole(RECEIPT).unwrap();
        assert_eq!(receipt.about, "<1@here.test>");
        assert_eq!(receipt.reporter, "pc.there.test; Logiciel 2");
        let news = News {
            recipients: vec![address("b@there.test"), address("c@there.test")],
            what: What::Receipt { disposition: "displayed".to_owned() },
        };
        assert_eq!(receipt.news, [news]);
    }

    fn bounce(third: &str) -> String {
        format!(
            "From: MAILER-DAEMON@there.test\r\nIn-Reply-To: <answered@here.test>\r\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=\"y\"\r\n\r\n\
             --y\r\n\r\nsorry\r\n--y\r\nContent-Type: message/delivery-status\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\n\
             Reporting-MTA: dns; mx.there.test\r\n\r\n\
             Final-Recipient: rfc822; b=40there.test\r\nAction: FAILED (for good)\r\n\
             Status: 5.1.1 (unknown)\r\n\r\n\
             Final-Recipient: rfc822; c@there.test\r\nAction: delayed\r\nStatus: 4.4.1\r\n\r\n\
             {third}--y--\r\n"
        )
    }

    #[test]
    fn a_report_is_read_for_each_recipient() {
        let whole = "--y\r\nContent-Type: message/rfc822\r\n\r\n\
                     Message-ID: <2@here.test>\r\nSubject: s\r\n\r\nbody\r\n";
        let headers =
            "--y\r\nContent-Type: text/rfc822-headers\r\n\r\nmessage-id: <2@here.test>\r\n";
        for (third, about) in
            [(whole, "<2@here.test>"), (headers, "<2@here.test>"), ("", "<answered@here.test>")]
        {
            let receipt = read_whole(&bounce(third)).unwrap();
            assert_eq!(receipt.about, about);
            assert_eq!(receipt.reporter, "mx.there.test");
            let said: Vec<_> = receipt.news.iter().map(|news| news.what.clone()).collect();
            let report = |action: &str, status: &str| What::Report {
                action: action.to_owned(),
                status: status.to_owned(),
            };
            assert_eq!(said, [report("failed", "5.1.1"), report("delayed", "4.4.1")]);
            assert_eq!(receipt.news[0].recipients, [address("b@there.test")]);
        }
    }

    #[test]
    fn what_is_no_report_says_nothing() {
        for letter in [
            "Subject: x\r\n\r\nbody\r\n",
            "Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\n\r\nonly text\r\n--x--\r\n",
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\
             Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n\r\n--x--\r\n",
        ] {
            assert_eq!(read_whole(letter), None, "{letter}");
        }
        assert_eq!(read_whole(&RECEIPT.replace("Original-Message-ID", "X-Nothing")), None);
        assert_eq!(read_whole(&RECEIPT.replace("; displayed/error", "; \u{1}")), None);
    }

    #[test]
    fn a_report_about_a_million_recipients_is_read_as_far_as_the_limit() {
        let one =
            "Final-Recipient: rfc822; c@there.test\r\nAction: failed\r\nStatus: 5.0.0\r\n\r\n";
        let letter = bounce("").replace("--y--", &format!("{}--y--", one.repeat(5_000)));
        let receipt = read_whole(&letter).unwrap();
        assert!(receipt.news.len() <= limits::RECEIPT_RECIPIENTS_MAX);
    }

    proptest! {
        #[test]
        fn no_report_makes_the_reader_fail(
            place in 0_usize..600,
            octets in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            for letter in [RECEIPT.to_owned(), bounce("")] {
                let mut letter = letter.into_bytes();
                let place = place.min(letter.len());
                letter.splice(place..place, octets.clone());
                let _ = read(&letter, &summary::summarise(&letter).structure);
            }
        }
    }
}
