//! Mailboxes, the base, and the server itself, as LDAP entries.
use crate::flow::addressbook::Card;
use crate::proto::ldap::dn;
use crate::proto::ldap::dn::Dn;
use crate::proto::ldap::entry::Entry;
use crate::proto::ldap::message::PAGED;
use crate::proto::ldap::message::START_TLS;
use crate::proto::ldap::message::WHO_AM_I;
use crate::proto::ldap::schema;
use crate::server::ldap::session::Safety;

/// Where the schema is (RFC 4512 §4.2).
pub(super) const SUBSCHEMA: &str = "cn=Subschema";

/// A mailbox, below `base`.
pub(super) fn mailbox(card: &Card, base: &str) -> Entry {
    let address = card.address.to_string();
    let dn = format!("mail={},{base}", dn::escaped(&address));
    // Programs look for the beginning of `cn`, and people begin with either name.
    let turned = match card.given_name.is_empty() {
        true => String::new(),
        false => format!("{} {}", card.name, card.given_name),
    };
    let straight = match card.given_name.is_empty() {
        true => String::new(),
        false => format!("{} {}", card.given_name, card.name),
    };
    let remarks = [(card.answers, "Écrit depuis cette boîte"), (card.paper_free, "Zéro papier")];
    let remarks = remarks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, text)| text);
    Entry::new(dn.clone())
        .with("objectClass", schema::PERSON_CLASSES)
        .with("cn", [card.display_name.clone(), straight, turned])
        .with("sn", [card.name.as_str()])
        .with("givenName", [card.given_name.as_str()])
        .with("displayName", [card.display_name.as_str()])
        .with("mail", [address.as_str()])
        .with("uid", [address.as_str()])
        .with("o", [card.structure.as_str()])
        .with("ou", [card.service.as_str()])
        .with("title", [card.profession.as_str()])
        .with("businessCategory", [card.speciality.as_str()])
        .with("departmentNumber", [card.department.as_str()])
        .with("street", [card.street.as_str()])
        .with("postalCode", [card.postal_code.as_str()])
        .with("l", [card.town.as_str()])
        .with("employeeNumber", [card.rpps.as_str()])
        .with("employeeType", [card.kind.code()])
        .with("description", [remarks.collect::<Vec<_>>().join(" - ")])
        .with("structuralObjectClass", ["inetOrgPerson"])
        .with("entryDN", [dn])
        .with("subschemaSubentry", [SUBSCHEMA])
}

/// What all mailboxes stand below.
pub(super) fn base(text: &str, parsed: &Dn) -> Entry {
    let entry = Entry::new(text.to_owned());
    let entry = match parsed.first() {
        Some(("dc", value)) => entry
            .with("objectClass", ["top", "organization", "dcObject"])
            .with("o", [value])
            .with("dc", [value])
            .with("structuralObjectClass", ["organization"]),
        Some(("o", value)) => entry
            .with("objectClass", ["top", "organization"])
            .with("o", [value])
            .with("structuralObjectClass", ["organization"]),
        Some(("ou", value)) => entry
            .with("objectClass", ["top", "organizationalUnit"])
            .with("ou", [value])
            .with("structuralObjectClass", ["organizationalUnit"]),
        _ => entry.with("objectClass", ["top"]),
    };
    entry
        .with("description", ["Annuaire des messageries sécurisées de santé"])
        .with("entryDN", [text])
        .with("hasSubordinates", ["TRUE"])
        .with("subschemaSubentry", [SUBSCHEMA])
}

/// The server itself (RFC 4512 §5.1).
pub(super) fn root(base: &str, safety: Safety) -> Entry {
    let extensions = match safety {
        Safety::Clear => vec![START_TLS],
        Safety::Tls => vec![WHO_AM_I],
    };
    Entry::new(String::new())
        .with("objectClass", ["top"])
        .with("namingContexts", [base])
        .with("defaultNamingContext", [base])
        .with("supportedLDAPVersion", ["3"])
        .with("supportedExtension", extensions)
        .with("supportedControl", [PAGED])
        // All operational attributes (RFC 3673), absolute true and false filters (RFC 4526).
        .with("supportedFeatures", ["1.3.6.1.4.1.4203.1.5.1", "1.3.6.1.4.1.4203.1.5.3"])
        // RFC 3045
        .with("vendorName", ["Vaguemestre"])
        .with("vendorVersion", [env!("CARGO_PKG_VERSION")])
        .with("subschemaSubentry", [SUBSCHEMA])
}

/// What attributes and classes there are.
pub(super) fn subschema() -> Entry {
    Entry::new(SUBSCHEMA.to_owned())
        .with("objectClass", ["top", "subentry", "subschema"])
        .with("cn", ["Subschema"])
        .with("attributeTypes", schema::attribute_types())
        .with("objectClasses", schema::OBJECT_CLASSES)
        .with("subschemaSubentry", [SUBSCHEMA])
}

/// Attributes of an entry that were asked for (RFC 4511 §4.5.1.8).
pub(super) fn selected<'e>(
    entry: &'e Entry,
    wanted: &'e [String],
) -> impl Iterator<Item = (&'e str, &'e [String])> + use<'e> {
    // Whatever the root and the schema have is operational, and everybody wants all of it.
    let is_special = entry.dn.is_empty() || entry.dn == SUBSCHEMA;
    entry.attributes().filter(move |(name, _)| {
        let is_operational = schema::is_operational(name);
        let is_meant = |text: &String| match text.as_str() {
            "*" => !is_operational || is_special,
            "+" => is_operational || is_special,
            text => {
                text.eq_ignore_ascii_case(name)
                    || schema::named(text).is_some_and(|known| known.name == *name)
            }
        };
        match wanted.is_empty() {
            true => !is_operational || is_special,
            false => wanted.iter().any(is_meant),
        }
    })
}
