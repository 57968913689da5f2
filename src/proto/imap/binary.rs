//! Octets of a part without its transfer encoding (RFC 3516 §4).
use std::borrow::Cow;

use crate::proto::imap::section;
use crate::proto::mime::content;
use crate::proto::mime::summary::Part;

/// Why a part has no decoded octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBinary {
    /// The letter has no such part: NIL.
    NoPart,
    /// RFC 3516 §4.3: the encoding is unknown, or the part is not what it says.
    UnknownEncoding,
}

/// The part with these numbers, decoded; the letter itself for no numbers.
pub fn decoded<'l>(
    letter: &'l [u8],
    structure: &Part,
    numbers: &[u32],
) -> Result<Cow<'l, [u8]>, NoBinary> {
    // RFC 3516 §4.2: `BINARY[]` is the letter as it stands.
    let (part, start) = match numbers {
        [] => return Ok(Cow::Borrowed(letter)),
        numbers => {
            let part = section::find(structure, numbers).ok_or(NoBinary::NoPart)?;
            (part, part.body_start)
        }
    };
    let octets = section::between(letter, start, part.body_end).ok_or(NoBinary::NoPart)?;
    // RFC 2045 §6.4: parts that hold parts are never encoded, whatever they say.
    if part.kind == "multipart" || part.message.is_some() {
        return Ok(Cow::Borrowed(octets));
    }
    match part.encoding.as_str() {
        "" | "7bit" | "8bit" | "binary" => Ok(Cow::Borrowed(octets)),
        "base64" if !is_base64(octets) => Err(NoBinary::UnknownEncoding),
        encoding @ ("base64" | "quoted-printable") => Ok(content::decoded(encoding, octets)),
        _ => Err(NoBinary::UnknownEncoding),
    }
}

/// Characters outside the alphabet are passed over (RFC 2045 §6.8); but where most are such, it is
/// something else that calls itself base64, and would come out as noise.
fn is_base64(octets: &[u8]) -> bool {
    let is_digit = |octet: &&u8| octet.is_ascii_alphanumeric() || b"+/=".contains(octet);
    let (mut digits, mut others) = (0_usize, 0_usize);
    for octet in octets.iter().filter(|octet| !octet.is_ascii_whitespace()) {
        if is_digit(&octet) {
            digits += 1;
        } else {
            others += 1;
        }
    }
    others <= digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::mime::summary;

    const LETTER: &str = "Subject: a\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC/w==\r\n\
        --b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9=\r\n!\r\n\
        --b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a\r\n\
        --b\r\nContent-Transfer-Encoding: base64\r\n\r\n(((:::)))\r\n--b--\r\n";

    #[test]
    fn parts_come_without_their_encoding_and_unknown_ones_are_said_to_be() {
        let structure = summary::summarise(LETTER.as_bytes()).structure;
        let decode = |numbers: &[u32]| decoded(LETTER.as_bytes(), &structure, numbers);
        assert_eq!(decode(&[1]).unwrap().as_ref(), [0, 1, 2, 255]);
        assert_eq!(decode(&[2]).unwrap().as_ref(), "café!".as_bytes());
        assert_eq!(decode(&[3]), Err(NoBinary::UnknownEncoding));
        assert_eq!(decode(&[4]), Err(NoBinary::UnknownEncoding));
        assert_eq!(decode(&[5]), Err(NoBinary::NoPart));
        assert_eq!(decode(&[]).unwrap().len(), LETTER.len());
    }
}
