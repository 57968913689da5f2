//! Recognises letters that are sealed or signed as a whole. Attachments that happen to be OpenPGP
//! files are the reader's business and left alone.
use std::borrow::Cow;

use crate::proto::mime::content;
use crate::proto::mime::summary::Part;

const BEGIN_MESSAGE: &[u8] = b"-----BEGIN PGP MESSAGE-----";
const END_MESSAGE: &[u8] = b"-----END PGP MESSAGE-----";
const BEGIN_SIGNED: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const END_SIGNATURE: &[u8] = b"-----END PGP SIGNATURE-----";

/// How a letter is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'l> {
    /// RFC 3156 §4: the OpenPGP message.
    Encrypted(Cow<'l, [u8]>),
    /// multipart/signed (RFC 1847 §2.1).
    Signed(Signed<'l>),
    /// The whole letter lies inside its S/MIME signature (RFC 8551 §3.5.2), decoded.
    SmimeSigned(Cow<'l, [u8]>),
    /// The whole text was signed in clear (RFC 9580 §7): it begins and ends with the signed block.
    ClearSigned(Vec<u8>),
    /// The whole text is one armoured message.
    Inline(Vec<u8>),
    /// An armoured message stands among other text: it is not opened, because nobody could tell
    /// the reader which words were under the seal.
    Mixed,
}

/// A signed entity and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<'l> {
    /// The octets that were signed, as they came.
    pub signed: &'l [u8],
    /// The signature, decoded.
    pub signature: Cow<'l, [u8]>,
    /// True for S/MIME (RFC 8551 §3.5.3), false for OpenPGP (RFC 3156 §5).
    pub is_smime: bool,
}

/// How the letter is protected; `root` is its structure. `None`: it is not, or not as a whole.
pub fn find<'l>(letter: &'l [u8], root: &Part) -> Option<Found<'l>> {
    match (root.kind.as_str(), root.subtype.as_str()) {
        ("multipart", "encrypted") => encrypted(letter, root),
        ("multipart", "signed") => signed(letter, root).map(Found::Signed),
        ("application", "pkcs7-mime" | "x-pkcs7-mime") if is_signed_data(root) => {
            decoded(letter, root).map(Found::SmimeSigned)
        }
        ("text", "plain") if root.children.is_empty() => inline(letter, root),
        _ => None,
    }
}

/// Two parts and no more: the control part, and the message.
fn encrypted<'l>(letter: &'l [u8], root: &Part) -> Option<Found<'l>> {
    let [control, message] = root.children.as_slice() else { return None };
    let is_one = looks_encrypted(root) && says_version_1(&decoded(letter, control)?);
    is_one.then(|| decoded(letter, message).map(Found::Encrypted)).flatten()
}

/// Whether a structure is that of an encrypted letter (RFC 3156 §4); what its parts hold is not
/// looked at.
pub fn looks_encrypted(root: &Part) -> bool {
    let [control, message] = root.children.as_slice() else { return false };
    (root.kind.as_str(), root.subtype.as_str()) == ("multipart", "encrypted")
        && protocol(root).is_some_and(|name| name == "application/pgp-encrypted")
        && is(control, "application", "pgp-encrypted")
        && is(message, "application", "octet-stream")
}

fn signed<'l>(letter: &'l [u8], root: &Part) -> Option<Signed<'l>> {
    let [entity, signature] = root.children.as_slice() else { return None };
    let is_smime = match protocol(root)?.as_str() {
        "application/pgp-signature" => false,
        "application/pkcs7-signature" | "application/x-pkcs7-signature" => true,
        _ => return None,
    };
    let is_one = match is_smime {
        false => is(signature, "application", "pgp-signature"),
        true => {
            is(signature, "application", "pkcs7-signature")
                || is(signature, "application", "x-pkcs7-signature")
        }
    };
    let from = usize::try_from(entity.header_start).ok()?;
    let to = usize::try_from(entity.body_end).ok()?;
    let signed = letter.get(from..to).filter(|_| is_one)?;
    Some(Signed { signed, signature: decoded(letter, signature)?, is_smime })
}

fn inline<'l>(letter: &'l [u8], root: &Part) -> Option<Found<'l>> {
    let text = decoded(letter, root)?;
    let begin = lines(&text).find(|(_, line)| *line == BEGIN_MESSAGE).map(|(at, _)| at);
    let Some(begin) = begin else { return clear_signed(&text) };
    // Without its end, nobody knows how much of the text was to be sealed.
    let last = lines(&text).filter(|(_, line)| *line == END_MESSAGE).last();
    let Some((end, line)) = last.filter(|(end, _)| *end > begin) else { return Some(Found::Mixed) };
    let end = end + line.len();
    let is_alone = text[..begin].trim_ascii().is_empty() && text[end..].trim_ascii().is_empty();
    let beginnings = lines(&text).filter(|(_, line)| *line == BEGIN_MESSAGE).count();
    Some(match is_alone && beginnings == 1 {
        true => Found::Inline(text[begin..end].to_vec()),
        false => Found::Mixed,
    })
}

/// A signed text with others around it is left alone: a word about a part of what is shown would
/// be read as one about all of it.
fn clear_signed<'l>(text: &[u8]) -> Option<Found<'l>> {
    let mut said = lines(text).map(|(_, line)| line).filter(|line| !line.is_empty());
    let is_whole = said.next() == Some(BEGIN_SIGNED) && said.last() == Some(END_SIGNATURE);
    is_whole.then(|| Found::ClearSigned(text.to_vec()))
}

/// Without this parameter it may as well be encrypted (RFC 8551 §3.2.2).
fn is_signed_data(root: &Part) -> bool {
    let kind = root.parameters.iter().find(|(name, _)| name == "smime-type");
    kind.is_some_and(|(_, kind)| kind.trim().eq_ignore_ascii_case("signed-data"))
}

/// Lines without the white space behind them, and where they begin.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    text.split_inclusive(|octet| *octet == b'\n').map(move |line| {
        let start = at;
        at += line.len();
        (start, line.trim_ascii_end())
    })
}

fn protocol(part: &Part) -> Option<String> {
    let value = part.parameters.iter().find(|(name, _)| name == "protocol")?;
    Some(value.1.trim().to_ascii_lowercase())
}

fn is(part: &Part, kind: &str, subtype: &str) -> bool {
    part.kind == kind && part.subtype == subtype && part.children.is_empty()
}

fn says_version_1(control: &[u8]) -> bool {
    let line = control.trim_ascii();
    line.split_at_checked(8).is_some_and(|(name, version)| {
        name.eq_ignore_ascii_case(b"version:") && version.trim_ascii() == b"1"
    })
}

fn decoded<'l>(letter: &'l [u8], part: &Part) -> Option<Cow<'l, [u8]>> {
    let from = usize::try_from(part.body_start).ok()?;
    let to = usize::try_from(part.body_end).ok()?;
    Some(content::decoded(&part.encoding, letter.get(from..to)?))
}
