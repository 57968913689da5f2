//! Distinguished names (RFC 4514), as far as two of them must be compared.

/// One part of a name, in a form in which equal parts are equal texts.
type Part = String;

/// The parts of a distinguished name, the entry's own first; `None` when it is none.
pub(super) fn parts(name: &str) -> Option<Vec<Part>> {
    if name.trim().is_empty() {
        return Some(Vec::new());
    }
    split(name, |c| c == b',' || c == b';')?.into_iter().map(part).collect()
}

/// Two names of one entry.
pub(super) fn same(one: &str, other: &str) -> bool {
    match (parts(one), parts(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// The subtree that holds all of these names; empty when there is none.
pub(super) fn common<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let mut names = names.into_iter().map(|name| parts(name).unwrap_or_default());
    let mut shared = names.next().unwrap_or_default();
    for name in names {
        let backwards = shared.iter().rev().zip(name.iter().rev());
        let same = backwards.take_while(|(one, other)| one == other).count();
        shared.drain(..shared.len() - same);
    }
    shared.join(",")
}

/// `type=value`, or several with `+`, in a fixed order.
fn part(text: &str) -> Option<Part> {
    let mut pairs = Vec::new();
    for pair in split(text, |c| c == b'+')? {
        let (kind, value) = pair.split_once('=')?;
        pairs.push(format!("{}={}", kind.trim().to_ascii_lowercase(), folded(value)));
    }
    pairs.sort();
    Some(pairs.join("+"))
}

/// Splits where no backslash or quotation mark protects the sign.
fn split(text: &str, is_sign: impl Fn(u8) -> bool) -> Option<Vec<&str>> {
    let (mut pieces, mut from) = (Vec::new(), 0);
    let (mut is_protected, mut is_quoted) = (false, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if is_protected => is_protected = false,
            b'\\' => is_protected = true,
            b'"' => is_quoted = !is_quoted,
            sign if is_sign(sign) && !is_quoted => {
                pieces.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[from..]);
    (!is_protected && !is_quoted).then_some(pieces)
}

/// Without case, without the spaces around it. Escapes keep their meaning: `\,` and `\2c` are the
/// same octet, written as the latter.
fn folded(value: &str) -> String {
    let trimmed = value.trim_start();
    // An escaped space at the end belongs to the value.
    let end = trimmed.trim_end();
    let trimmed =
        if end.ends_with('\\') && end.len() < trimmed.len() { &trimmed[..=end.len()] } else { end };
    let mut folded = String::new();
    let mut rest = trimmed.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let high = rest.peek().and_then(|c| c.to_digit(16));
                let Some(high) = high else {
                    let Some(next) = rest.next() else { break };
                    folded.push_str(&escaped(next));
                    continue;
                };
                rest.next();
                match rest.peek().and_then(|c| c.to_digit(16)) {
                    Some(low) => {
                        rest.next();
                        let octet = high * 16 + low;
                        match char::from_u32(octet).filter(|c| c.is_ascii_alphanumeric()) {
                            Some(plain) => folded.push(plain.to_ascii_lowercase()),
                            None => folded.push_str(&format!("\\{octet:02x}")),
                        }
                    }
                    None => folded.push_str(&format!("\\{high:x}")),
                }
            }
            '"' => {}
            c if c.is_alphanumeric() && c.is_ascii() => folded.push(c.to_ascii_lowercase()),
            other => folded.push_str(&escaped(other)),
        }
    }
    folded
}

fn escaped(c: char) -> String {
    let lower: String = c.to_lowercase().collect();
    lower.bytes().map(|octet| format!("\\{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_entry_are_the_same_however_they_are_written() {
        for (one, other) in [
            ("cn=MSS,ou=groups,dc=hopital", "CN=mss, OU=Groups , DC=hopital"),
            ("cn=a\\,b,dc=x", "cn=a\\2cb,dc=x"),
            ("cn=a+sn=b,dc=x", "sn=b + cn=a,dc=x"),
            ("cn=\"a,b\",dc=x", "cn=a\\,b,dc=x"),
            ("cn=Équipe,dc=x", "cn=\\C3\\A9quipe,dc=x"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("cn=a,dc=x", "cn=b,dc=x"),
            ("cn=a,dc=x", "cn=a,dc=x,dc=y"),
            ("cn=a\\,dc=x", "cn=a,dc=x"),
            ("cn=a\\2cdc\\3dx", "cn=a,dc=x"),
            ("cn=mss\\,ou=groups,dc=x", "cn=mss,ou=groups,dc=x"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn the_subtree_of_people_and_groups_is_found() {
        let names = ["ou=people,dc=hopital,dc=fr", "cn=mss,ou=groups,DC=hopital,dc=fr"];
        assert_eq!(common(names), "dc=hopital,dc=fr");
        assert_eq!(common(["dc=a", "dc=b"]), "");
        assert_eq!(common([]), "");
    }
}
