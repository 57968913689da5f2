//! The little DER that CRLs and OCSP answers need: values one behind the other, never recursive.
//!
//! Not the certificate parser's list type, because it makes several allocations an entry, and a
//! CRL may have a million of them. What it reads is strict: definite lengths in their shortest
//! form, tags of one octet, nothing beyond the end.
use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use webpki::ALL_VERIFICATION_ALGS;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::domain::time::Timestamp;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// `[number]`, with values inside.
pub(super) const fn nested(number: u8) -> u8 {
    0xa0 | number
}

/// `[number]`, with plain octets inside.
pub(super) const fn plain(number: u8) -> u8 {
    0x80 | number
}

/// Why octets are not what they should be, for people.
pub(super) type Wrong = String;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

/// Reads values one after the other.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    octets: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { octets }
    }

    pub(super) fn is_done(&self) -> bool {
        self.octets.is_empty()
    }

    /// The next value, whatever it is.
    pub(super) fn next(&mut self) -> Result<Value<'a>, Wrong> {
        let cut = || "the DER ends in the middle of a value".to_owned();
        let [tag, first, ..] = *self.octets else { return Err(cut()) };
        if tag & 0x1f == 0x1f {
            return Err("a DER tag of several octets".to_owned());
        }
        let (head, length) = match first {
            0..=0x7f => (2, usize::from(first)),
            0x81..=0x84 => {
                let count = usize::from(first & 0x7f);
                let octets = self.octets.get(2..2 + count).ok_or_else(cut)?;
                let length = octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
                if octets[0] == 0 || length < 0x80 {
                    return Err("a DER length that is not in its shortest form".to_owned());
                }
                (2 + count, length)
            }
            _ => return Err("a DER length without end or beyond reason".to_owned()),
        };
        let end = head + length;
        let whole = self.octets.get(..end).ok_or_else(cut)?;
        self.octets = &self.octets[end..];
        Ok(Value { tag, content: &whole[head..], whole })
    }

    /// The next value, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8, what: &str) -> Result<Value<'a>, Wrong> {
        let value = self.next().map_err(|wrong| format!("{what}: {wrong}"))?;
        if value.tag == tag { Ok(value) } else { Err(format!("{what} is missing")) }
    }

    /// The next value if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Value<'a>>, Wrong> {
        match self.octets.first() {
            Some(next) if *next == tag => self.next().map(Some),
            _ => Ok(None),
        }
    }

    /// Nothing may come behind.
    pub(super) fn finish(&self, what: &str) -> Result<(), Wrong> {
        if self.is_done() { Ok(()) } else { Err(format!("octets behind {what}")) }
    }
}

impl<'a> Value<'a> {
    pub(super) fn reader(&self) -> Reader<'a> {
        Reader::new(self.content)
    }

    /// The only value inside.
    pub(super) fn only(&self, tag: u8, what: &str) -> Result<Value<'a>, Wrong> {
        let mut reader = self.reader();
        let value = reader.expect(tag, what)?;
        reader.finish(what)?;
        Ok(value)
    }

    pub(super) fn is_time(&self) -> bool {
        matches!(self.tag, UTC_TIME | GENERALIZED_TIME)
    }

    /// A moment; before 1970 counts as 1970, which is of no use to anybody.
    pub(super) fn time(&self, what: &str) -> Result<Timestamp, Wrong> {
        match ASN1Time::from_der(self.whole) {
            Ok(([], time)) => {
                Ok(Timestamp::from_seconds(u64::try_from(time.timestamp()).unwrap_or(0)))
            }
            _ => Err(format!("{what} is not a time")),
        }
    }

    /// The octets of a BIT STRING of whole octets.
    pub(super) fn bits(&self, what: &str) -> Result<&'a [u8], Wrong> {
        match self.content {
            [0, octets @ ..] => Ok(octets),
            _ => Err(format!("{what} is not made of whole octets")),
        }
    }

    /// A BOOLEAN; DER knows two.
    pub(super) fn truth(&self, what: &str) -> Result<bool, Wrong> {
        match self.content {
            [0] => Ok(false),
            [0xff] => Ok(true),
            _ => Err(format!("{what} is neither true nor false")),
        }
    }

    /// The octets of a positive INTEGER without the zeros before it: some authorities forget
    /// the zero that keeps a number positive.
    pub(super) fn number(&self) -> &'a [u8] {
        without_zeros(self.content)
    }
}

pub(super) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    &number[zeros..]
}

/// One extension of a CRL, an entry, or an OCSP answer.
pub(super) struct Extension<'a> {
    /// Content of its object identifier.
    pub(super) id: &'a [u8],
    pub(super) critical: bool,
    pub(super) value: &'a [u8],
}

/// `Extensions ::= SEQUENCE OF Extension`.
pub(super) fn extensions<'a>(list: &Value<'a>, what: &str) -> Result<Vec<Extension<'a>>, Wrong> {
    let mut reader = list.reader();
    let mut found: Vec<Extension<'a>> = Vec::new();
    while !reader.is_done() {
        let mut inside = reader.expect(SEQUENCE, what)?.reader();
        let id = inside.expect(OID, what)?.content;
        let critical = inside.optional(BOOLEAN)?.map(|flag| flag.truth(what)).transpose()?;
        let value = inside.expect(OCTET_STRING, what)?.content;
        inside.finish(what)?;
        if found.iter().any(|other| other.id == id) {
            return Err(format!("{what}: one extension twice"));
        }
        found.push(Extension { id, critical: critical.unwrap_or(false), value });
    }
    Ok(found)
}

/// Something signed: `SEQUENCE { what, AlgorithmIdentifier, BIT STRING }`.
pub(super) struct Signed<'a> {
    pub(super) what: Value<'a>,
    pub(super) algorithm: Value<'a>,
    pub(super) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Reads the three; more may follow (an OCSP answer brings certificates).
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Wrong> {
        let what = reader.expect(SEQUENCE, "the signed part")?;
        let algorithm = reader.expect(SEQUENCE, "the signature algorithm")?;
        let signature = reader.expect(BIT_STRING, "the signature")?.bits("the signature")?;
        Ok(Self { what, algorithm, signature })
    }

    /// True arithmetic of the signature, by the algorithms that TLS here accepts too: no MD5, no
    /// SHA-1, no RSA below 2048 bits.
    pub(super) fn verify(&self, key: &PublicKey) -> Result<(), Wrong> {
        let fitting = ALL_VERIFICATION_ALGS.iter().filter(|candidate| {
            candidate.signature_alg_id().as_ref() == self.algorithm.content
                && candidate.public_key_alg_id().as_ref() == key.algorithm
        });
        let mut known = false;
        for algorithm in fitting {
            known = true;
            if algorithm.verify_signature(&key.bits, self.what.whole, self.signature).is_ok() {
                return Ok(());
            }
        }
        let why =
            if known { "the signature is wrong" } else { "an algorithm that is not accepted" };
        Err(why.to_owned())
    }
}

/// A key as signatures are verified with it.
#[derive(Debug)]
pub(super) struct PublicKey {
    /// Content of its AlgorithmIdentifier.
    pub(super) algorithm: Vec<u8>,
    pub(super) bits: Vec<u8>,
    /// SHA-256 of the whole SubjectPublicKeyInfo: its name in caches.
    pub(super) name: [u8; 32],
}

impl PublicKey {
    /// From a SubjectPublicKeyInfo.
    pub(super) fn read(info: &[u8]) -> Result<Self, Wrong> {
        let mut outside = Reader::new(info);
        let mut inside = outside.expect(SEQUENCE, "the public key")?.reader();
        let algorithm = inside.expect(SEQUENCE, "the key's algorithm")?.content.to_vec();
        let bits = inside.expect(BIT_STRING, "the key")?.bits("the key")?.to_vec();
        Ok(Self { algorithm, bits, name: sha256(info) })
    }
}

pub(super) fn sha256(octets: &[u8]) -> [u8; 32] {
    digest(&SHA256, octets).as_ref().try_into().expect("SHA-256 has 32 octets")
}

/// Writes one value.
pub(super) fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut whole = vec![tag];
    if length < 0x80 {
        whole.push(u8::try_from(length).expect("below 128"));
    } else {
        let octets = length.to_be_bytes();
        let octets = without_zeros(&octets);
        whole.push(0x80 | u8::try_from(octets.len()).expect("a usize has few octets"));
        whole.extend_from_slice(octets);
    }
    for part in parts {
        whole.extend_from_slice(part);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let whole = write(SEQUENCE, &[&content]);
            let mut reader = Reader::new(&whole);
            let value = reader.next().unwrap();
            assert_eq!((value.tag, value.content.len()), (SEQUENCE, length));
            assert_eq!(value.whole, whole);
            assert!(reader.is_done());
        }
    }

    #[test]
    fn lengths_that_are_not_der_are_refused() {
        for bad in [
            &[0x30_u8][..],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 0x01, 0],
            &[0x30, 0x82, 0x00, 0x80],
            &[0x30, 0x85, 1, 0, 0, 0, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x1f, 0x1f, 0x00],
            &[0x30, 2, 0],
        ] {
            assert!(Reader::new(bad).next().is_err(), "{bad:02x?}");
        }
    }
}
