//! The attributes of our entries (RFC 4519, RFC 4524 §2.16, RFC 2798), by any of their names.

/// An attribute that entries here may have.
#[derive(Debug, PartialEq, Eq)]
pub struct Attribute {
    /// As we write it.
    pub name: &'static str,
    /// Its number.
    pub oid: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Its matching rule for equality.
    pub equality: &'static str,
}

const fn attribute(
    name: &'static str,
    oid: &'static str,
    aliases: &'static [&'static str],
) -> Attribute {
    Attribute { name, oid, aliases, equality: "caseIgnoreMatch" }
}

const fn identifier(name: &'static str, oid: &'static str) -> Attribute {
    Attribute { name, oid, aliases: &[], equality: "objectIdentifierMatch" }
}

/// All of them.
pub const ATTRIBUTES: &[Attribute] = &[
    identifier("objectClass", "2.5.4.0"),
    attribute("cn", "2.5.4.3", &["commonName"]),
    attribute("sn", "2.5.4.4", &["surname"]),
    attribute("givenName", "2.5.4.42", &["gn"]),
    attribute("displayName", "2.16.840.1.113730.3.1.241", &[]),
    attribute("mail", "0.9.2342.19200300.100.1.3", &["rfc822Mailbox"]),
    attribute("uid", "0.9.2342.19200300.100.1.1", &["userid"]),
    attribute("o", "2.5.4.10", &["organizationName"]),
    attribute("ou", "2.5.4.11", &["organizationalUnitName"]),
    attribute("title", "2.5.4.12", &[]),
    attribute("businessCategory", "2.5.4.15", &[]),
    attribute("departmentNumber", "2.16.840.1.113730.3.1.2", &[]),
    attribute("employeeNumber", "2.16.840.1.113730.3.1.3", &[]),
    attribute("employeeType", "2.16.840.1.113730.3.1.4", &[]),
    attribute("postalCode", "2.5.4.17", &[]),
    attribute("street", "2.5.4.9", &["streetAddress"]),
    attribute("l", "2.5.4.7", &["localityName"]),
    attribute("telephoneNumber", "2.5.4.20", &[]),
    attribute("description", "2.5.4.13", &[]),
    attribute("dc", "0.9.2342.19200300.100.1.25", &["domainComponent"]),
    identifier("structuralObjectClass", "2.5.21.9"),
    attribute("entryDN", "1.3.6.1.1.20", &[]),
    attribute("hasSubordinates", "2.5.18.9", &[]),
    attribute("subschemaSubentry", "2.5.18.10", &[]),
];

/// The attribute of a description as clients write it; options such as `;lang-fr` name
/// attributes that no entry here has.
pub fn named(description: &str) -> Option<&'static Attribute> {
    ATTRIBUTES.iter().find(|attribute| {
        attribute.oid == description
            || std::iter::once(&attribute.name)
                .chain(attribute.aliases)
                .any(|name| name.eq_ignore_ascii_case(description))
    })
}

/// Operational attributes are sent only when they are asked for (RFC 4512 §3.4).
pub fn is_operational(name: &str) -> bool {
    matches!(name, "structuralObjectClass" | "entryDN" | "hasSubordinates" | "subschemaSubentry")
}

/// Classes of people's entries.
pub const PERSON_CLASSES: [&str; 4] = ["top", "person", "organizationalPerson", "inetOrgPerson"];

/// `attributeTypes` of the subschema (RFC 4512 §4.2).
pub fn attribute_types() -> Vec<String> {
    let definition = |attribute: &Attribute| {
        let mut names = format!("'{}'", attribute.name);
        for alias in attribute.aliases {
            names.push_str(&format!(" '{alias}'"));
        }
        let (substrings, syntax) = match attribute.equality {
            "objectIdentifierMatch" => ("", "1.3.6.1.4.1.1466.115.121.1.38"),
            _ => (" SUBSTR caseIgnoreSubstringsMatch", "1.3.6.1.4.1.1466.115.121.1.15"),
        };
        let equality = attribute.equality;
        let usage = if is_operational(attribute.name) {
            " NO-USER-MODIFICATION USAGE directoryOperation"
        } else {
            ""
        };
        let oid = attribute.oid;
        format!("( {oid} NAME ( {names} ) EQUALITY {equality}{substrings} SYNTAX {syntax}{usage} )")
    };
    ATTRIBUTES.iter().map(definition).collect()
}

/// `objectClasses` of the subschema.
pub const OBJECT_CLASSES: [&str; 7] = [
    "( 2.5.6.0 NAME 'top' ABSTRACT MUST objectClass )",
    "( 2.5.6.6 NAME 'person' SUP top STRUCTURAL MUST ( sn $ cn ) MAY ( telephoneNumber $ description ) )",
    "( 2.5.6.7 NAME 'organizationalPerson' SUP person STRUCTURAL MAY ( title $ street $ postalCode $ l $ ou ) )",
    "( 2.16.840.1.113730.3.2.2 NAME 'inetOrgPerson' SUP organizationalPerson STRUCTURAL MAY ( businessCategory $ departmentNumber $ displayName $ employeeNumber $ employeeType $ givenName $ mail $ o $ uid ) )",
    "( 2.5.6.4 NAME 'organization' SUP top STRUCTURAL MUST o MAY description )",
    "( 2.5.6.5 NAME 'organizationalUnit' SUP top STRUCTURAL MUST ou MAY description )",
    "( 1.3.6.1.4.1.1466.344 NAME 'dcObject' SUP top AUXILIARY MUST dc )",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_has_many_names() {
        for name in ["cn", "CN", "commonname", "2.5.4.3"] {
            assert_eq!(named(name).unwrap().name, "cn");
        }
        for name in ["cn;lang-fr", "mozillaNickname", "", "userPassword"] {
            assert_eq!(named(name), None);
        }
        assert!(attribute_types().iter().any(|line| line.contains("'mail' 'rfc822Mailbox'")));
    }
}
