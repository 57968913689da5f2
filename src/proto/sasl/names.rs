//! Login names as strangers write them.
use unicode_normalization::UnicodeNormalization;

use crate::domain::limits;

/// A name that can be looked up at all.
pub(super) fn fits(name: &str) -> bool {
    !name.is_empty() && name.len() <= limits::SASL_NAME_OCTETS_MAX && !name.contains('\0')
}

/// A name or password in the form in which SCRAM compares it: what RFC 4013 §2 does to characters
/// that people really type. Spaces of other alphabets become spaces, what is invisible goes, the
/// rest is NFKC; control characters and characters without a meaning are refused.
pub fn prepared(text: &str) -> Option<String> {
    let mapped =
        text.chars().filter(|c| !is_nothing(*c)).map(|c| if is_space(c) { ' ' } else { c });
    let normal: String = mapped.nfkc().collect();
    (!normal.is_empty() && !normal.chars().any(is_prohibited)).then_some(normal)
}

/// RFC 3454 §B.1: mapped to nothing.
fn is_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{1806}'
            | '\u{180b}'..='\u{180d}'
            | '\u{200b}'..='\u{200d}'
            | '\u{2060}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
    )
}

/// RFC 3454 §C.1.2: spaces that are not ASCII's.
fn is_space(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// RFC 3454 §C.2 to §C.9, as far as a `char` can hold them.
fn is_prohibited(c: char) -> bool {
    let code = u32::from(c);
    c.is_control()
        || matches!(
            c,
            '\u{6dd}'
                | '\u{70f}'
                | '\u{180e}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2061}'..='\u{2063}'
                | '\u{206a}'..='\u{206f}'
                | '\u{2ff0}'..='\u{2ffb}'
                | '\u{e000}'..='\u{f8ff}'
                | '\u{fdd0}'..='\u{fdef}'
                | '\u{fff9}'..='\u{ffff}'
                | '\u{e0001}'..='\u{e007f}'
                | '\u{f0000}'..='\u{10ffff}'
        )
        || code & 0xfffe == 0xfffe
}

/// RFC 5802 §5.1 saslname: `=2C` is a comma, `=3D` is `=`; no other `=` may stand in it.
pub(super) fn unescaped(saslname: &str) -> Option<String> {
    let mut name = String::with_capacity(saslname.len());
    let mut rest = saslname;
    while let Some((before, behind)) = rest.split_once('=') {
        name.push_str(before);
        name.push(match behind.get(..2)? {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        rest = &behind[2..];
    }
    name.push_str(rest);
    fits(&name).then_some(name)
}
