//! Web Key Directory: where the OpenPGP certificate of an address lies
//! (draft-koch-openpgp-webkey-service §3.1).
use aws_lc_rs::digest;

use crate::domain::address::Address;
use crate::domain::address::Domain;

/// Digits of the name of a certificate: SHA-1 in z-base-32.
pub const HASH_DIGITS: usize = 32;
/// z-base-32 (RFC 6189 §5.1.6).
const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// The two places in which a certificate may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A host of its own, `openpgpkey.<domain>`: asked first.
    Advanced,
    /// The domain itself, when there is no such host.
    Direct,
}

/// The name of an address's certificate: the local part in lower case, hashed. Only ASCII
/// letters are mapped.
pub fn hash(local_part: &str) -> String {
    let lower = local_part.to_ascii_lowercase();
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, lower.as_bytes());
    zbase32(digest.as_ref())
}

/// The host that is asked for a domain's certificates.
pub fn host(method: Method, domain: &Domain) -> String {
    match method {
        Method::Advanced => format!("openpgpkey.{domain}"),
        Method::Direct => domain.to_string(),
    }
}

/// The address of a certificate on a host; `port` is left out when it is 443.
pub fn url(method: Method, address: &Address, port: u16) -> String {
    let domain = address.domain();
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let folder = match method {
        Method::Advanced => format!("/{domain}"),
        Method::Direct => String::new(),
    };
    format!(
        "https://{}{port}/.well-known/openpgpkey{folder}/hu/{}?l={}",
        host(method, domain),
        hash(address.local_part()),
        escaped(address.local_part()),
    )
}

/// RFC 3986 §2.1.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(octet));
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

fn zbase32(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().div_ceil(5) * 8);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for octet in octets {
        bits = (bits << 8) | u32::from(*octet);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[((bits >> held) & 31) as usize]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        text.push(char::from(ALPHABET[((bits << (5 - held)) & 31) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_draft_is_found_where_it_says() {
        let joe = Address::parse("Joe.Doe@Example.ORG").unwrap();
        assert_eq!(hash(joe.local_part()), "iy9q119eutrkn8s1mk4r39qejnbu3n5q");
        assert_eq!(
            url(Method::Advanced, &joe, 443),
            "https://openpgpkey.example.org/.well-known/openpgpkey/example.org/hu/\
             iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe"
        );
        assert_eq!(
            url(Method::Direct, &joe, 10_443),
            "https://example.org:10443/.well-known/openpgpkey/hu/\
             iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe"
        );
    }

    #[test]
    fn a_local_part_is_escaped_in_the_query() {
        let address = Address::parse("a+b&c=\u{e9}@x.test").unwrap();
        assert!(url(Method::Direct, &address, 443).ends_with("?l=a%2Bb%26c%3D%C3%A9"));
    }
}
