//! What a stranger says to the address book's LDAP door, in pieces of any size: messages, names,
//! filters and controls.
#![no_main]
use libfuzzer_sys::fuzz_target;
use vaguemestre::proto::ldap::ber;
use vaguemestre::proto::ldap::dn::Dn;
use vaguemestre::proto::ldap::dn::escaped;
use vaguemestre::proto::ldap::entry::Entry;
use vaguemestre::proto::ldap::message::Operation;
use vaguemestre::proto::ldap::message::Paging;
use vaguemestre::proto::ldap::message::Request;

/// As the door has it.
const MESSAGE_OCTETS_MAX: usize = 65_536;

fuzz_target!(|input: &[u8]| {
    let book = Entry::new("cn=Lune,ou=people".to_owned())
        .with("cn", ["Éva LUNE"])
        .with("mail", ["eva.lune@hopital.mssante.test"])
        .with("telephoneNumber", ["+33 1 23 45 67 89"]);
    let folded = book.folded();
    let mut rest = input;
    while let Ok(Some(length)) = ber::message_octets(rest, MESSAGE_OCTETS_MAX) {
        // However little of it has come, its length is the same, or not known yet.
        for cut in 0..rest.len().min(8) {
            let told = ber::message_octets(&rest[..cut], MESSAGE_OCTETS_MAX);
            assert!(matches!(told, Ok(None)) || told == Ok(Some(length)), "{cut} {told:?}");
        }
        let Some((message, more)) = rest.split_at_checked(length) else { break };
        assert!(length > 0, "the door would turn for ever");
        rest = more;
        let Ok(request) = Request::parse(message) else { continue };
        for control in &request.controls {
            let _ = control.value.as_deref().map(Paging::parse);
        }
        match request.operation {
            Operation::Search(search) => {
                let _ = Dn::parse(&search.base);
                let _ = search.filter.needs();
                // What is asked twice is answered alike.
                assert_eq!(search.filter.holds(&folded), search.filter.holds(&folded));
            }
            Operation::Bind { name, .. } => named(&name),
            Operation::Compare { dn, .. } => named(&dn),
            _ => {}
        }
    }
    if let Ok(text) = std::str::from_utf8(input) {
        named(text);
        let value = text.trim();
        if !value.is_empty() && !value.chars().any(char::is_control) {
            let name = Dn::parse(&format!("cn={},ou=people", escaped(value)));
            let base = Dn::parse("ou=people").expect("a name");
            let name = name.unwrap_or_else(|| panic!("{value:?} is lost in a name"));
            assert!(name.child_of(&base).is_some(), "{value:?} breaks out of its place");
        }
    }
});

fn named(text: &str) {
    if let Some(name) = Dn::parse(text) {
        assert!(name.is_root() || name.first().is_some());
    }
}
