//! What a client says (RFC 4511 §4).
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::proto::ldap::ber;
use crate::proto::ldap::ber::BadBer;
use crate::proto::ldap::ber::OCTETS;
use crate::proto::ldap::ber::Reader;
use crate::proto::ldap::ber::SEQUENCE;
use crate::proto::ldap::filter::Filter;

/// StartTLS (RFC 4511 §4.14).
pub const START_TLS: &str = "1.3.6.1.4.1.1466.20037";
/// *Who am I?* (RFC 4532).
pub const WHO_AM_I: &str = "1.3.6.1.4.1.4203.1.11.3";
/// Simple paged results (RFC 2696).
pub const PAGED: &str = "1.2.840.113556.1.4.319";

/// One request.
#[derive(Debug)]
pub struct Request {
    /// The client's number for it, from 1.
    pub id: u32,
    /// What is asked.
    pub operation: Operation,
    /// How.
    pub controls: Vec<Control>,
}

/// What is asked.
#[derive(Debug)]
pub enum Operation {
    /// To come in.
    Bind {
        /// 3, from clients of this century.
        version: u32,
        /// A distinguished name, as it was written.
        name: String,
        /// What is shown.
        credentials: Credentials,
    },
    /// To end.
    Unbind,
    /// To find entries.
    Search(Search),
    /// Whether an entry has a value.
    Compare {
        /// Which entry.
        dn: String,
        /// Which attribute, as it was written.
        attribute: String,
        /// Which value; `None` when it is not UTF-8.
        value: Option<String>,
    },
    /// To give up on an earlier request.
    Abandon,
    /// Something beyond the first ten.
    Extended {
        /// What.
        oid: String,
    },
    /// To change something. The tag is that of the answer.
    Change(u8),
}

/// What is shown at a bind.
#[derive(Debug)]
pub enum Credentials {
    /// A password; `None` when it is not UTF-8, which no password here is.
    Simple(Option<Secret<String>>),
    /// SASL, or something newer.
    Other,
}

/// Where a search looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The base itself.
    Base,
    /// What is directly below.
    OneLevel,
    /// Both, and everything below.
    Subtree,
}

/// A search.
#[derive(Debug)]
pub struct Search {
    /// Where it begins, as it was written.
    pub base: String,
    /// How far it goes.
    pub scope: Scope,
    /// Entries at most; 0 is no limit of the client's.
    pub size_limit: u32,
    /// Seconds at most; 0 is no limit of the client's.
    pub time_limit: u32,
    /// Only names of attributes are wanted.
    pub types_only: bool,
    /// What must hold.
    pub filter: Filter,
    /// Which attributes are wanted, as they were written; none means all.
    pub attributes: Vec<String>,
}

/// A control (RFC 4511 §4.1.11).
#[derive(Debug)]
pub struct Control {
    /// Which.
    pub oid: String,
    /// The request must not be served without it.
    pub critical: bool,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// What a client that pages wants (RFC 2696 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Entries on this page.
    pub size: u32,
    /// Where it goes on; empty at first.
    pub cookie: Vec<u8>,
}

impl Request {
    /// Reads one whole message.
    pub fn parse(octets: &[u8]) -> Result<Self, BadBer> {
        let mut outside = Reader::new(octets);
        let mut inside = Reader::new(outside.expect(SEQUENCE)?);
        outside.end()?;
        let id = inside.number()?;
        // RFC 4511 §4.1.1.1: zero is for what the server says unasked.
        if id == 0 {
            return Err(BadBer("a request without a number"));
        }
        let (tag, content) = inside.element()?;
        let operation = operation(tag, content)?;
        let controls = match inside.optional(0xa0)? {
            Some(controls) => read_controls(controls)?,
            None => Vec::new(),
        };
        // RFC 4511 §4: what newer versions append is ignored.
        Ok(Self { id, operation, controls })
    }
}

fn operation(tag: u8, content: &[u8]) -> Result<Operation, BadBer> {
    let mut inside = Reader::new(content);
    Ok(match tag {
        0x60 => {
            let version = inside.number()?;
            let name = inside.text()?.to_owned();
            let credentials = match inside.element()? {
                (0x80, password) => {
                    let password = std::str::from_utf8(password).ok();
                    Credentials::Simple(password.map(|text| Secret::new(text.to_owned())))
                }
                _ => Credentials::Other,
            };
            Operation::Bind { version, name, credentials }
        }
        0x42 => Operation::Unbind,
        0x63 => Operation::Search(search(&mut inside)?),
        0x6e => {
            let dn = inside.text()?.to_owned();
            let mut assertion = Reader::new(inside.expect(SEQUENCE)?);
            let attribute = assertion.text()?.to_owned();
            let value = std::str::from_utf8(assertion.expect(OCTETS)?).ok().map(str::to_owned);
            Operation::Compare { dn, attribute, value }
        }
        0x50 => Operation::Abandon,
        0x77 => {
            let oid = std::str::from_utf8(inside.expect(0x80)?);
            let oid = oid.map_err(|_| BadBer("a number of an operation is not UTF-8"))?;
            Operation::Extended { oid: oid.to_owned() }
        }
        // Modify, add and modify DN are answered under the next tag; delete is primitive.
        0x66 | 0x68 | 0x6c => Operation::Change(tag + 1),
        0x4a => Operation::Change(0x6b),
        _ => return Err(BadBer("an operation that there is not")),
    })
}

fn search(inside: &mut Reader<'_>) -> Result<Search, BadBer> {
    let base = inside.text()?.to_owned();
    let scope = match inside.choice()? {
        0 => Scope::Base,
        1 => Scope::OneLevel,
        // 3 is OpenLDAP's "subordinate": all below, which is the same level here.
        2 | 3 => Scope::Subtree,
        _ => return Err(BadBer("a scope that there is not")),
    };
    if inside.choice()? > 3 {
        return Err(BadBer("a way with aliases that there is not"));
    }
    let size_limit = inside.number()?;
    let time_limit = inside.number()?;
    let types_only = inside.truth()?;
    let filter = Filter::read(inside)?;
    let mut wanted = Reader::new(inside.expect(SEQUENCE)?);
    let mut attributes = Vec::new();
    while !wanted.is_empty() {
        if attributes.len() >= limits::LDAP_ATTRIBUTES_MAX {
            return Err(BadBer("too many attributes are wanted"));
        }
        attributes.push(wanted.text()?.to_owned());
    }
    Ok(Search { base, scope, size_limit, time_limit, types_only, filter, attributes })
}

fn read_controls(octets: &[u8]) -> Result<Vec<Control>, BadBer> {
    let mut reader = Reader::new(octets);
    let mut controls = Vec::new();
    while !reader.is_empty() {
        if controls.len() >= limits::LDAP_CONTROLS_MAX {
            return Err(BadBer("too many controls"));
        }
        let mut inside = Reader::new(reader.expect(SEQUENCE)?);
        let oid = inside.text()?.to_owned();
        let critical = match inside.optional(ber::BOOLEAN)? {
            Some(content) => ber::truth(content)?,
            None => false,
        };
        let value = inside.optional(OCTETS)?.map(<[u8]>::to_vec);
        controls.push(Control { oid, critical, value });
    }
    Ok(controls)
}

impl Paging {
    /// Reads the control's value.
    pub fn parse(value: &[u8]) -> Result<Self, BadBer> {
        let mut outside = Reader::new(value);
        let mut inside = Reader::new(outside.expect(SEQUENCE)?);
        let size = inside.number()?;
        let cookie = inside.expect(OCTETS)?.to_vec();
        Ok(Self { size, cookie })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ldap::ber::BOOLEAN;
    use crate::proto::ldap::ber::ENUMERATED;
    use crate::proto::ldap::ber::INTEGER;
    use crate::proto::ldap::ber::Writer;
    use crate::proto::ldap::filter::tests::written;

    fn message(id: u32, tag: u8, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.nested(SEQUENCE, |writer| {
            writer.number(INTEGER, id).nested(tag, fill);
        });
        writer.finish()
    }

    fn a_search() -> Vec<u8> {
        message(7, 0x63, |writer| {
            writer.octets(OCTETS, b"dc=fr").number(ENUMERATED, 2).number(ENUMERATED, 0);
            writer.number(INTEGER, 100).number(INTEGER, 5).octets(BOOLEAN, &[0]);
            let filter = written("(sn=a*)");
            let mut reader = Reader::new(&filter);
            let (tag, content) = reader.element().unwrap();
            writer.octets(tag, content);
            writer.nested(SEQUENCE, |writer| {
                writer.octets(OCTETS, b"mail");
            });
        })
    }

    #[test]
    fn a_search_is_read() {
        let request = Request::parse(&a_search()).unwrap();
        let Operation::Search(search) = request.operation else { panic!() };
        assert_eq!((request.id, search.base.as_str(), search.scope), (7, "dc=fr", Scope::Subtree));
        assert_eq!((search.size_limit, search.time_limit, search.types_only), (100, 5, false));
        assert_eq!(search.attributes, ["mail"]);
    }

    #[test]
    fn a_password_never_shows() {
        let bind = message(1, 0x60, |writer| {
            writer.number(INTEGER, 3).octets(OCTETS, b"mail=a@b.fr").octets(0x80, b"hunter2");
        });
        let shown = format!("{:?}", Request::parse(&bind).unwrap());
        assert!(shown.contains("[secret]") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn requests_without_a_number_and_unknown_operations_are_no_ldap() {
        assert!(Request::parse(&message(0, 0x42, |_| ())).is_err());
        assert!(Request::parse(&message(1, 0x61, |_| ())).is_err());
        assert!(Request::parse(&message(1, 0x42, |_| ())).is_ok());
        let Operation::Change(0x6b) = Request::parse(&message(1, 0x4a, |_| ())).unwrap().operation
        else {
            panic!()
        };
    }

    #[test]
    fn a_page_is_read() {
        let mut writer = Writer::new();
        writer.nested(SEQUENCE, |writer| {
            writer.number(INTEGER, 50).octets(OCTETS, b"abc");
        });
        let paging = Paging { size: 50, cookie: b"abc".to_vec() };
        assert_eq!(Paging::parse(&writer.finish()), Ok(paging));
        assert!(Paging::parse(b"0\x03\x02\x01\xff").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in proptest::collection::vec(0_u8.., 0..120)) {
            let _ = Request::parse(&octets);
            let _ = Paging::parse(&octets);
        }

        #[test]
        fn no_changed_octet_makes_it_panic(at in 0_usize..100, octet in 0_u8..) {
            let mut octets = a_search();
            let at = at % octets.len();
            octets[at] = octet;
            let _ = Request::parse(&octets);
        }
    }
}
