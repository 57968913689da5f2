//! `<…>` of MAIL and RCPT (RFC 5321 §4.1.2).
use crate::domain::address::Address;
use crate::domain::address::BadAddress;
use crate::domain::address::Domain;

/// Splits `<path>` from the parameters behind it. `None` when there is no `<…>`, or when
/// something other than a space follows it.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    for (place, octet) in inside.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => {
                let rest = &inside[place + 1..];
                let ends_well = rest.is_empty() || rest.starts_with(' ');
                return ends_well.then_some((&inside[..place], rest));
            }
            _ => {}
        }
    }
    None
}

/// Parses what stands between the brackets.
pub(super) fn parse(path: &str) -> Result<Address, BadAddress> {
    Address::parse(without_source_route(path)?)
}

/// RFC 5321 §4.1.1.3: a source route (`@a,@b:`) is read, checked for form, and ignored.
fn without_source_route(path: &str) -> Result<&str, BadAddress> {
    if !path.starts_with('@') {
        return Ok(path);
    }
    let (route, mailbox) = path.split_once(':').ok_or(BadAddress::Syntax)?;
    for hop in route.split(',') {
        Domain::parse(hop.strip_prefix('@').ok_or(BadAddress::Syntax)?)?;
    }
    Ok(mailbox)
}
