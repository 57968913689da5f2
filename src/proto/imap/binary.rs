//! Octets of a part without its transfer encoding (RFC 3516 §4).
use std::borrow::Cow;
use std::ops::Range;

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

/// How the octets of a part are found that is not in memory as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As they stand.
    Identity,
    /// By decoding, and if it is base64 at all: [`Digits`].
    Base64,
    /// Only by [`decoded`].
    Whole,
}

/// Where the part with these numbers lies in a letter of `octets` octets, and how it is written
/// there: [`decoded`] for whoever has not the whole letter.
pub fn locate(
    structure: Option<&Part>,
    numbers: &[u32],
    octets: u64,
) -> Result<(Range<u64>, Coding), NoBinary> {
    if numbers.is_empty() {
        return Ok((0..octets, Coding::Identity));
    }
    let part =
        section::find(structure.ok_or(NoBinary::NoPart)?, numbers).ok_or(NoBinary::NoPart)?;
    let range = part.body_start..part.body_end;
    if range.start > range.end || range.end > octets {
        return Err(NoBinary::NoPart);
    }
    if part.kind == "multipart" || part.message.is_some() {
        return Ok((range, Coding::Identity));
    }
    match part.encoding.as_str() {
        "" | "7bit" | "8bit" | "binary" => Ok((range, Coding::Identity)),
        "base64" => Ok((range, Coding::Base64)),
        "quoted-printable" => Ok((range, Coding::Whole)),
        _ => Err(NoBinary::UnknownEncoding),
    }
}

/// Counts what is of the alphabet of base64, and what is not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Digits {
    digits: u64,
    others: u64,
}

impl Digits {
    /// Counts the next octets.
    pub fn count(&mut self, octets: &[u8]) {
        let is_digit = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/=".contains(octet);
        for octet in octets.iter().filter(|octet| !octet.is_ascii_whitespace()) {
            if is_digit(octet) {
                self.digits += 1;
            } else {
                self.others += 1;
            }
        }
    }

    /// Characters outside the alphabet are passed over (RFC 2045 §6.8); but where most are such, it
    /// is something else that calls itself base64, and would come out as noise.
    pub fn are_base64(self) -> bool {
        self.others <= self.digits
    }
}

fn is_base64(octets: &[u8]) -> bool {
    let mut digits = Digits::default();
    digits.count(octets);
    digits.are_base64()
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
