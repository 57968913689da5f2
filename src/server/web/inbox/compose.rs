//! Builds a patient's answer as a letter (RFC 5322, RFC 2045), octet by octet: only fields we
//! mean, nothing of the browser's, and no line that a name or subject could smuggle in.
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::address::Address;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::server::web::language;

/// What an answer is made of.
pub struct Answer<'a> {
    /// The patient.
    pub from: &'a Address,
    /// What the patient is called; may be empty.
    pub from_name: &'a str,
    /// The professional.
    pub to: &'a Address,
    /// Subject of the letter that is answered, as it stands there.
    pub subject: &'a str,
    /// Its Message-ID.
    pub in_reply_to: Option<&'a str>,
    /// Its In-Reply-To and References.
    pub references: &'a [String],
    /// Now.
    pub at: Timestamp,
    /// 128 random bits, for Message-ID and boundary.
    pub token: &'a str,
    /// What the patient wrote.
    pub text: &'a str,
    /// What the patient attached.
    pub files: Vec<File>,
}

/// An attached file.
pub struct File {
    /// Its name on the patient's machine.
    pub name: String,
    /// Its octets.
    pub octets: Secret<Vec<u8>>,
}

/// RFC 5322 §2.1.1: a line should have at most 78 characters.
const LINE: usize = 76;
/// Message-IDs kept in References: the first, and the last ones of a long exchange.
const REFERENCES_MAX: usize = 20;
/// Octets of a subject; a longer one is cut.
const SUBJECT_OCTETS_MAX: usize = 500;

/// The letter, with CRLF line ends.
pub fn letter(answer: Answer<'_>) -> Secret<Vec<u8>> {
    let mut head = String::new();
    let from = mailbox(answer.from_name, answer.from);
    field(&mut head, "Date", &date(answer.at));
    field(&mut head, "From", &from);
    field(&mut head, "To", &answer.to.to_string());
    field(&mut head, "Subject", &unstructured(&reply_subject(answer.subject), "Subject: ".len()));
    // The domain only: the local part is the matricule.
    field(&mut head, "Message-ID", &format!("<{}@{}>", answer.token, answer.from.domain()));
    let parents = references(answer.references, answer.in_reply_to);
    if let Some(parent) = answer.in_reply_to.and_then(message_id) {
        field(&mut head, "In-Reply-To", &parent);
    }
    if !parents.is_empty() {
        // RFC 5322 §3.6.4; folded at every identifier.
        field(&mut head, "References", &parents.join("\r\n "));
    }
    field(&mut head, "MIME-Version", "1.0");

    // Room for the whole letter at once: a vector that grows leaves clear text behind.
    let files: usize = answer.files.iter().map(|f| f.octets.expose().len() * 3 / 2 + 1_024).sum();
    let mut octets = Vec::with_capacity(head.len() + answer.text.len() * 4 + files + 4_096);
    octets.extend_from_slice(head.as_bytes());
    if answer.files.is_empty() {
        text_part(&mut octets, answer.text);
        return Secret::new(octets);
    }
    let boundary = format!("=_{}", answer.token);
    octets.extend_from_slice(
        format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n").as_bytes(),
    );
    octets.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
    text_part(&mut octets, answer.text);
    for file in answer.files {
        octets.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        file_part(&mut octets, &file);
    }
    octets.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Secret::new(octets)
}

fn field(head: &mut String, name: &str, value: &str) {
    let _ = write!(head, "{name}: {value}\r\n");
}

/// RFC 5322 §3.3, in French time.
fn date(at: Timestamp) -> String {
    language::in_paris(at).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

/// `"Ada EXEMPLIER" <…>`; a display name beyond ASCII as encoded words.
fn mailbox(name: &str, address: &Address) -> String {
    let name = one_line(name);
    if name.is_empty() {
        return address.to_string();
    }
    if name.is_ascii() && name.len() <= 60 {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        return format!("\"{quoted}\" <{address}>");
    }
    format!("{}\r\n <{address}>", encoded_words(&name, "From: ".len()))
}

/// `Re: ` before the subject, once. The mark of documents stays: software reads it.
fn reply_subject(subject: &str) -> String {
    let subject = one_line(subject);
    let has_mark = subject.get(..3).is_some_and(|mark| mark.eq_ignore_ascii_case("re:"));
    let mut subject = if has_mark { subject } else { format!("Re: {subject}") };
    if subject.len() > SUBJECT_OCTETS_MAX {
        let end = (0..=SUBJECT_OCTETS_MAX).rev().find(|end| subject.is_char_boundary(*end));
        subject.truncate(end.unwrap_or(0));
    }
    subject.trim_end().to_owned()
}

/// Control characters become spaces: a line break in a header field begins another field.
fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Folded at words when it is plain ASCII, else encoded (RFC 2047 §2).
fn unstructured(text: &str, indent: usize) -> String {
    let plain = text.is_ascii() && !text.contains("=?");
    if !plain || text.split(' ').any(|word| word.len() > LINE) {
        return encoded_words(text, indent);
    }
    let mut folded = String::new();
    let mut column = indent;
    for (place, word) in text.split(' ').enumerate() {
        if place > 0 {
            let breaks = column + 1 + word.len() > LINE;
            folded.push_str(if breaks { "\r\n " } else { " " });
            column = if breaks { 1 } else { column + 1 };
        }
        folded.push_str(word);
        column += word.len();
    }
    folded
}

/// RFC 2047 §4.1: words of at most 75 characters, cut between characters and never inside one.
fn encoded_words(text: &str, indent: usize) -> String {
    const OVERHEAD: usize = "=?utf-8?b??=".len();
    let mut words = Vec::new();
    let mut chunk = String::new();
    let mut room = 75 - OVERHEAD - indent.min(40);
    for character in text.chars() {
        if (chunk.len() + character.len_utf8()).div_ceil(3) * 4 > room {
            words.push(std::mem::take(&mut chunk));
            room = 75 - OVERHEAD;
        }
        chunk.push(character);
    }
    words.push(chunk);
    let encoded = words.iter().map(|word| format!("=?utf-8?b?{}?=", STANDARD.encode(word)));
    encoded.collect::<Vec<_>>().join("\r\n ")
}

/// A Message-ID in angle brackets, if the text is one: what is not cannot be repeated safely.
fn message_id(text: &str) -> Option<String> {
    let inner = text.trim().trim_start_matches('<').trim_end_matches('>');
    let sound = inner.contains('@')
        && inner.len() <= 250
        && inner.bytes().all(|octet| octet.is_ascii_graphic() && !b"<>".contains(&octet));
    sound.then(|| format!("<{inner}>"))
}

/// The exchange so far, oldest first, each once.
fn references(before: &[String], parent: Option<&str>) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let parent = parent.and_then(message_id);
    for id in before.iter().filter_map(|id| message_id(id)) {
        if !ids.contains(&id) && Some(&id) != parent.as_ref() && ids.len() < 1_000 {
            ids.push(id);
        }
    }
    ids.extend(parent);
    if ids.len() > REFERENCES_MAX {
        ids.drain(1..=ids.len() - REFERENCES_MAX);
    }
    ids
}

fn text_part(octets: &mut Vec<u8>, text: &str) {
    octets.extend_from_slice(
        b"Content-Type: text/plain; charset=utf-8\r\n\
          Content-Transfer-Encoding: quoted-printable\r\n\r\n",
    );
    quoted_printable(octets, text);
}

/// RFC 2045 §6.7, lines of at most 76 characters, CRLF line ends whatever the browser sent.
fn quoted_printable(octets: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for line in text.trim_end_matches('\n').split('\n') {
        let line = line.as_bytes();
        let mut column = 0;
        for (place, &octet) in line.iter().enumerate() {
            let last = place + 1 == line.len();
            let literal = match octet {
                b'=' => false,
                // A space at the end of a line would be lost on its way.
                b' ' | b'\t' => !last,
                // `From ` and a lone dot are what other mail software trips over.
                b'F' | b'.' => place > 0,
                _ => octet.is_ascii_graphic(),
            };
            let width = if literal { 1 } else { 3 };
            if column + width > LINE - 1 {
                octets.extend_from_slice(b"=\r\n");
                column = 0;
            }
            if literal {
                octets.push(octet);
            } else {
                let (high, low) = (usize::from(octet >> 4), usize::from(octet & 15));
                octets.extend_from_slice(&[b'=', HEX[high], HEX[low]]);
            }
            column += width;
        }
        octets.extend_from_slice(b"\r\n");
    }
}

fn file_part(octets: &mut Vec<u8>, file: &File) {
    let name = file_name(&file.name);
    // One name only: where there are two, mail software does not agree which one counts.
    let parameter = if name == ascii_name(&name) {
        format!("filename=\"{name}\"")
    } else {
        format!("filename*=UTF-8''{}", percent_encoded(&name))
    };
    // The type comes from the name; what the browser claims is not repeated.
    let head = format!(
        "Content-Type: {}\r\nContent-Disposition: attachment;\r\n {parameter}\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n",
        media_type(&name),
    );
    octets.extend_from_slice(head.as_bytes());
    // 57 octets make one line of 76 characters.
    let mut line = String::with_capacity(80);
    for chunk in file.octets.expose().chunks(57) {
        line.clear();
        STANDARD.encode_string(chunk, &mut line);
        octets.extend_from_slice(line.as_bytes());
        octets.extend_from_slice(b"\r\n");
    }
}

/// The last part of a path, without control characters. Of a long name the end with the
/// extension stays: 80 characters, percent-encoded, still fit on one line of a letter.
pub fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: Vec<char> = last
        .chars()
        .filter(|c| !c.is_control() && !is_direction_mark(*c))
        .map(|c| if "<>:\"|?*;".contains(c) { '_' } else { c })
        .collect();
    let cut = clean.len().saturating_sub(80);
    let clean: String = clean[cut..].iter().collect();
    let clean = clean.trim().trim_start_matches('.');
    if clean.is_empty() { "document".to_owned() } else { clean.to_owned() }
}

/// Marks that turn `gpj.exe` round on screen.
fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The name for software that reads ASCII only.
pub fn ascii_name(name: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || " ._-()".contains(c);
    name.chars().map(|c| if keep(c) { c } else { '_' }).collect()
}

/// RFC 8187 §3.2.1, the value of a `filename*`.
pub fn percent_encoded(name: &str) -> String {
    let mut encoded = String::new();
    for octet in name.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            encoded.push(char::from(octet));
        } else {
            let _ = write!(encoded, "%{octet:02X}");
        }
    }
    encoded
}

/// Types that are safe to name, by extension.
pub fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "txt" => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MessageParser;
    use mail_parser::MimeHeaders;

    fn answer<'a>(subject: &'a str, text: &'a str, files: Vec<File>) -> Vec<u8> {
        let from = Address::parse("288027599000175@patient.mssante.test").unwrap();
        let to = Address::parse("imagerie@hopital.mssante.test").unwrap();
        letter(Answer {
            from: &from,
            from_name: "Ada EXEMPLIER-Noël",
            to: &to,
            subject,
            in_reply_to: Some("<2@hopital.mssante.test>"),
            references: &["<1@hopital.mssante.test>".to_owned(), "junk\r\nBcc: x".to_owned()],
            at: Timestamp::from_seconds(1_795_358_400),
            token: "MDEyMzQ1Njc4OWFiY2RlZg",
            text,
            files,
        })
        .expose()
        .clone()
    }

    #[test]
    fn another_parser_reads_what_was_written() {
        let subject = "XDM/1.0/DDM+CR d'imagerie médicale EXEMPLIER ADA 03/02/1988 éèàçœ et plus";
        let text = "Bonjour,\r\n\r\nFrom ici : é = 1 \n.\n.fin\n".to_owned() + &"long ".repeat(60);
        let files = vec![File {
            name: "C:\\temp\\Résumé \"é\".pdf".to_owned(),
            octets: Secret::new((0..=255).collect()),
        }];
        let octets = answer(subject, &text, files);
        let parsed = MessageParser::default().parse(&octets).unwrap();
        assert_eq!(parsed.subject(), Some(format!("Re: {subject}").as_str()));
        let from = parsed.from().unwrap().first().unwrap();
        assert_eq!(from.name(), Some("Ada EXEMPLIER-Noël"));
        assert_eq!(from.address(), Some("288027599000175@patient.mssante.test"));
        assert_eq!(parsed.in_reply_to().as_text(), Some("2@hopital.mssante.test"));
        assert_eq!(
            parsed.references().as_text_list().unwrap(),
            ["1@hopital.mssante.test", "2@hopital.mssante.test"]
        );
        assert_eq!(parsed.date().unwrap().to_rfc3339(), "2026-11-22T15:40:00+01:00");
        let body = parsed.body_text(0).unwrap().replace("\r\n", "\n");
        assert_eq!(body.trim_end(), text.replace("\r\n", "\n").trim_end());
        let file = parsed.attachment(0).unwrap();
        assert_eq!(file.attachment_name(), Some("Résumé _é_.pdf"));
        assert_eq!(file.contents(), (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn every_line_is_short_ascii_and_ends_with_crlf() {
        let octets = answer(&"é".repeat(600), &"€".repeat(500), Vec::new());
        assert!(octets.is_ascii());
        let text = String::from_utf8(octets).unwrap();
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
        for line in text.split("\r\n") {
            assert!(line.len() <= 78, "{} octets: {line}", line.len());
        }
        // The only lines with the matricule are those that must name the sender.
        let naming: Vec<&str> =
            text.split("\r\n").filter(|line| line.contains("288027599000175")).collect();
        assert_eq!(naming, [" <288027599000175@patient.mssante.test>"]);
    }

    #[test]
    fn nothing_smuggles_a_header_field_in() {
        let octets = answer("a\r\nBcc: eve@evil.example\r\n\r\nbody", "x", Vec::new());
        let parsed = MessageParser::default().parse(&octets).unwrap();
        assert!(parsed.bcc().is_none());
        assert_eq!(parsed.subject(), Some("Re: a Bcc: eve@evil.example body"));
    }

    #[test]
    fn a_reply_to_a_reply_is_marked_once() {
        assert_eq!(reply_subject("RE: x"), "RE: x");
        assert_eq!(reply_subject("Résultat"), "Re: Résultat");
        assert_eq!(reply_subject(""), "Re:");
    }

    #[test]
    fn a_long_exchange_keeps_its_beginning_and_its_end() {
        let before: Vec<String> = (0..100).map(|number| format!("<{number}@x.fr>")).collect();
        let kept = references(&before, Some("<last@x.fr>"));
        assert_eq!(kept.len(), REFERENCES_MAX);
        assert_eq!((kept[0].as_str(), kept[19].as_str()), ("<0@x.fr>", "<last@x.fr>"));
    }

    #[test]
    fn file_names_lose_paths_and_tricks() {
        for (name, safe) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\a\\b.pdf", "b.pdf"),
            ("\u{202e}fdp.exe", "fdp.exe"),
            ("a\r\nb\".txt", "ab_.txt"),
            ("..", "document"),
            ("", "document"),
        ] {
            assert_eq!(file_name(name), safe, "{name:?}");
        }
        assert_eq!(percent_encoded("é a.pdf"), "%C3%A9%20a.pdf");
    }
}
