//! Which attachments of a letter are archives of documents, and their octets.
use zeroize::Zeroizing;

use crate::domain::envelope::MssHeaders;
use crate::domain::limits;
use crate::proto::mime::content;
use crate::proto::mime::summary::Part;
use crate::proto::mime::summary::Summary;

/// What the subject of a letter with documents begins with (IHE ITI TF-2 §3.32.4.1.4.1).
const TOKEN: &str = "XDM/1.0/DDM";
/// Names of the archive, `-` and spaces read as `_`: one product writes `ihe-xdm.zip`.
const ARCHIVE_NAME: &str = "ihe_xdm";

/// A letter that has to do with documents.
pub struct Marked {
    /// Its archives, at most `limits::ARCHIVES_MAX`.
    pub archives: Vec<Part>,
    /// It says that it brings documents itself, and does not merely answer such a letter.
    pub promises: bool,
}

/// Recognises a letter with documents: by its subject, by its MSSanté fields, or by the name of
/// an attachment. It costs a look at what was read anyhow; nothing is decoded.
pub fn recognise(summary: &Summary, mss: &MssHeaders) -> Option<Marked> {
    let (by_subject, is_answer) = token(&summary.subject);
    let by_header = !mss.cda_codes.is_empty() || mss.qualified_ins.is_some();
    let marked = by_subject || by_header;
    let root = &summary.structure;
    // A receipt brings the letter that it is about along; that one was looked at on its way.
    if root.kind == "multipart" && root.subtype == "report" {
        return None;
    }
    let mut archives = Vec::new();
    let mut waiting = vec![root];
    while let Some(part) = waiting.pop() {
        waiting.extend(part.children.iter().rev());
        let name = name(part);
        let wanted = is_archive_name(&name) || marked && is_zip(part, &name);
        if wanted && part.children.is_empty() && archives.len() < limits::ARCHIVES_MAX {
            archives.push(part.clone());
        }
    }
    // Not `X-MSS-INS` alone: some software writes `N` into every letter.
    let promises = !mss.cda_codes.is_empty() || by_subject && !is_answer;
    (promises || !archives.is_empty()).then_some(Marked { archives, promises })
}

/// Whether the subject has the token, and whether it answers or forwards one that has. Behind
/// `[remarks]` (`[Annule et remplace]`) it is still the letter's own.
fn token(subject: &str) -> (bool, bool) {
    let mut rest = subject.trim_start();
    let mut is_answer = false;
    loop {
        if rest.get(..TOKEN.len()).is_some_and(|start| start.eq_ignore_ascii_case(TOKEN)) {
            return (true, is_answer);
        }
        let cut = match rest.strip_prefix('[') {
            Some(remark) => remark.find(']').map(|end| end + 2),
            None => {
                is_answer = true;
                rest.find(':').filter(|end| (1..=4).contains(end)).map(|end| end + 1)
            }
        };
        let Some(cut) = cut else { return (false, false) };
        rest = rest[cut..].trim_start();
    }
}

fn name(part: &Part) -> String {
    let find = |parameters: &[(String, String)], wanted: &str| {
        parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
    };
    let disposition = part.disposition.as_ref();
    let given = disposition.and_then(|(_, parameters)| find(parameters, "filename"));
    given.or_else(|| find(&part.parameters, "name")).unwrap_or_default().to_lowercase()
}

fn is_archive_name(name: &str) -> bool {
    let name = name.replace(['-', ' '], "_");
    name.starts_with(ARCHIVE_NAME) && name.ends_with(".zip")
}

fn is_zip(part: &Part, name: &str) -> bool {
    let zip = ["zip", "x-zip-compressed", "x-zip"].contains(&part.subtype.as_str());
    part.kind == "application" && (zip || name.ends_with(".zip"))
}

/// The octets of an archive, wiped when dropped; never more than it has in the letter.
pub fn octets(letter: &[u8], part: &Part) -> Zeroizing<Vec<u8>> {
    let range = usize::try_from(part.body_start).ok().zip(usize::try_from(part.body_end).ok());
    let body = range.and_then(|(start, end)| letter.get(start..end)).unwrap_or_default();
    match part.encoding.as_str() {
        "base64" => base64(body),
        _ => Zeroizing::new(content::decoded(&part.encoding, body).into_owned()),
    }
}

/// RFC 2045 §6.8: characters outside the alphabet are passed over, padding ends the data.
fn base64(body: &[u8]) -> Zeroizing<Vec<u8>> {
    // Room for all of it at once: a vector that grows leaves its old octets behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(body.len() / 4 * 3 + 3));
    let (mut bits, mut count) = (0_u32, 0);
    for octet in body {
        let value = match octet {
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            octets.extend_from_slice(&bits.to_be_bytes()[1..]);
            (bits, count) = (0, 0);
        }
    }
    match count {
        2 => octets.push((bits >> 4) as u8),
        3 => octets.extend_from_slice(&((bits >> 2) as u16).to_be_bytes()),
        _ => {}
    }
    octets
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_token_is_found_where_it_means_something() {
        for (subject, expected) in [
            ("XDM/1.0/DDM+CR EXEMPLIER ADA", (true, false)),
            ("xdm/1.0/ddm", (true, false)),
            ("[Annule et remplace] XDM/1.0/DDM+CR", (true, false)),
            ("Re: XDM/1.0/DDM+CR", (true, true)),
            ("RE: Tr: XDM/1.0/DDM+CR", (true, true)),
            ("[é] Fwd: XDM/1.0/DDM+CR", (true, true)),
            ("About XDM/1.0/DDM letters", (false, false)),
            ("[ XDM/1.0/DDM+CR", (false, false)),
            ("XDM/1.0/DD", (false, false)),
            ("é", (false, false)),
            ("", (false, false)),
        ] {
            assert_eq!(token(subject), expected, "{subject}");
        }
    }

    #[test]
    fn archives_are_known_by_every_name_in_use() {
        for name in ["ihe_xdm.zip", "ihe-xdm.zip", "ihe xdm.zip", "ihe_xdm (1).zip"] {
            assert!(is_archive_name(name), "{name}");
        }
        for name in ["photos.zip", "ihe_xdm.pdf", "", "my ihe_xdm.zip"] {
            assert!(!is_archive_name(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn base64_comes_back(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
            let lines: Vec<u8> = STANDARD.encode(&octets).into_bytes().chunks(76)
                .flat_map(|line| [line, b"\r\n"].concat()).collect();
            prop_assert_eq!(&*base64(&lines), &octets);
        }
    }
}
