//! The beginning of a letter's text, for lists (RFC 8970 §3.1).
use mail_parser::decoders::html::html_to_text;

use crate::domain::limits;
use crate::proto::mime::content;
use crate::proto::mime::structure::Structure;
use crate::proto::mime::summary::Part;

/// Octets of an encoded text/plain body that are looked at: base64, a wide charset and a page of
/// empty lines still leave enough.
const PLAIN_OCTETS_MAX: usize = 16_384;
/// The same of text/html, which begins with kilobytes of styles.
const HTML_OCTETS_MAX: usize = 131_072;

/// The decoded beginning of the first text/plain, else of the first text/html; empty when there
/// is none, or when nobody may look into the letter. The work is bounded whatever the letter is.
pub(super) fn of(letter: &[u8], structure: &Structure) -> String {
    if structure.over_budget {
        return String::new();
    }
    let (mut plain, mut html) = (None, None);
    find(&structure.root, &mut plain, &mut html);
    let plain = plain.map(|part| content::beginning(letter, part, PLAIN_OCTETS_MAX));
    let shown = plain.map(|text| collapsed(&text)).filter(|text| !text.is_empty());
    shown.unwrap_or_else(|| match html {
        Some(part) => collapsed(&html_to_text(&content::beginning(letter, part, HTML_OCTETS_MAX))),
        None => String::new(),
    })
}

/// The first part of either kind that is meant to be read in place, depth first. A letter inside
/// the letter is an attachment of it. Recursion is bounded by `limits::MIME_DEPTH_MAX`.
fn find<'p>(part: &'p Part, plain: &mut Option<&'p Part>, html: &mut Option<&'p Part>) {
    for child in &part.children {
        find(child, plain, html);
    }
    if part.kind == "text" && part.children.is_empty() && content::is_body(part) {
        match &*part.subtype {
            "plain" => {
                plain.get_or_insert(part);
            }
            "html" => {
                html.get_or_insert(part);
            }
            _ => {}
        }
    }
}

/// One line: runs of white space are one space, what cannot be seen is not there.
fn collapsed(text: &str) -> String {
    let mut shown = String::new();
    let (mut count, mut gap) = (0, false);
    for c in text.chars() {
        if c.is_whitespace() {
            gap = count > 0;
            continue;
        }
        if c.is_control() || content::is_invisible(c) || c == char::REPLACEMENT_CHARACTER {
            continue;
        }
        let wanted = 1 + usize::from(gap);
        if count + wanted > limits::PREVIEW_CHARS_MAX {
            break;
        }
        if std::mem::take(&mut gap) {
            shown.push(' ');
        }
        shown.push(c);
        count += wanted;
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::mime::summary;

    fn preview(letter: &str) -> String {
        summary::summarise(letter.as_bytes()).preview
    }

    #[test]
    fn a_preview_is_the_decoded_text_in_one_line() {
        let letter = "Content-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\n\
            Bonjour,\r\n\r\n  le r=C3=A9sultat\t est l=C3=A0.\r\n";
        assert_eq!(preview(letter), "Bonjour, le résultat est là.");
        assert_eq!(preview("Subject: a\r\n\r\n"), "");
        assert_eq!(preview("Subject: a\r\n"), "");
    }

    #[test]
    fn plain_text_is_preferred_and_html_is_shown_without_its_tags() {
        let html = "<html><head><title>t</title><style>p{color:red}</style></head><body>\
            <script>if (a<b) alert('x')</script><p>Bon&nbsp;soir <b>&eacute;t&#233;</b></p>";
        let page = format!("Content-Type: text/html\r\n\r\n{html}");
        assert_eq!(preview(&page), "Bon soir été");
        let both = format!(
            "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\
             Content-Type: text/html\r\n\r\n{html}\r\n--b\r\n\r\nen clair\r\n--b--\r\n"
        );
        assert_eq!(preview(&both), "en clair");
        let empty = both.replace("en clair", "  ");
        assert_eq!(preview(&empty), "Bon soir été");
    }

    #[test]
    fn attachments_and_letters_inside_are_not_previewed() {
        let letter = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
            Content-Type: text/plain; name=\"resultats.txt\"\r\n\r\nHIV\r\n--b\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ninside\r\n--b\r\n\r\nhere\r\n";
        assert_eq!(preview(letter), "here");
    }

    #[test]
    fn a_preview_is_short_whatever_comes() {
        let long = format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{}", "é ".repeat(9_000));
        assert!(preview(&long).chars().count() <= limits::PREVIEW_CHARS_MAX);
        let styles = format!(
            "Content-Type: text/html\r\n\r\n<style>{}</style><p>late</p>",
            "a{}".repeat(1_000_000)
        );
        assert_eq!(preview(&styles), "");
        let tags =
            format!("Content-Type: text/html\r\n\r\n{}x{}", "<b>".repeat(9_000), "<".repeat(9_000));
        assert_eq!(preview(&tags), "x");
        let direction = "Content-Type: text/plain; charset=utf-8\r\n\r\na\u{202e}b\u{200b}c\u{7}d";
        assert_eq!(preview(direction), "abcd");
        assert!(preview("Content-Type: text/plain; charset=utf-16\r\n\r\na").len() < 10);
    }

    proptest! {
        #[test]
        fn no_octets_break_a_preview(
            body in proptest::collection::vec(any::<u8>(), 0..400),
            charset in prop_oneof![
                Just("utf-7"), Just("utf-16le"), Just("iso-2022-jp"), Just("gb18030"), Just("utf-8"),
            ],
            subtype in prop_oneof![Just("plain"), Just("html")],
        ) {
            let mut letter =
                format!("Content-Type: text/{subtype}; charset={charset}\r\n\r\n").into_bytes();
            letter.extend(body);
            let preview = summary::summarise(&letter).preview;
            prop_assert!(preview.chars().count() <= limits::PREVIEW_CHARS_MAX);
            prop_assert!(!preview.contains(char::is_control));
        }
    }
}
