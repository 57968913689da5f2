//! Who lives in the demonstration. All people, numbers and places are fictional.
use crate::domain::mailbox::MailboxKind;

/// One mailbox of the demonstration.
pub struct Person {
    /// Index into [`OPERATORS`].
    pub operator: usize,
    /// Local part; a patient's is a fictional INS matricule.
    pub local_part: &'static str,
    /// PER, ORG, APP or a citizen.
    pub kind: MailboxKind,
    /// What people call it.
    pub display_name: &'static str,
    /// The row in the national extraction: RPPS, or structure id; empty: not published.
    pub national_id: &'static str,
}

/// One operator of the demonstration.
pub struct Operator {
    /// Short name, also its folder.
    pub name: &'static str,
    /// Its mail domain and host name.
    pub domain: &'static str,
    /// National structure identifier, in its certificate.
    pub structure: &'static str,
    /// Who bears the certificate.
    pub organisation: &'static str,
    /// Added to the port base.
    pub port_offset: u16,
}

/// The citizens' domain; operator A hosts it.
pub const CITIZEN_DOMAIN: &str = "patient.mssante.test";

/// A and B.
pub const OPERATORS: [Operator; 2] = [
    Operator {
        name: "hopital",
        domain: "hopital.mssante.test",
        structure: "1990000101",
        organisation: "HOPITAL DEMO",
        port_offset: 0,
    },
    Operator {
        name: "cabinet",
        domain: "cabinet.mssante.test",
        structure: "399900000100019",
        organisation: "CABINET DEMO",
        port_offset: 1000,
    },
];

/// The mailboxes. Patients come last.
pub const PEOPLE: [Person; 10] = [
    person(0, "hugo.oreade", MailboxKind::Personal, "Dr Hugo ORÉADE", "99900002025"),
    person(0, "claire.fontaine", MailboxKind::Personal, "Dr Claire FONTAINE", "99900004047"),
    person(0, "amine.belcourt", MailboxKind::Personal, "Dr Amine BELCOURT", "99900005052"),
    person(0, "imagerie", MailboxKind::Organisational, "Hôpital Démo – Imagerie", "990000101"),
    person(0, "labo.app", MailboxKind::Applicative, "Hôpital Démo – Laboratoire", ""),
    person(1, "eloise.lumier", MailboxKind::Personal, "Dr Eloïse LUMIER", "99900001019"),
    person(1, "paul.verdier", MailboxKind::Personal, "Dr Paul VERDIER", "99900006068"),
    person(1, "secretariat", MailboxKind::Organisational, "Cabinet Lumier", "99900000100019"),
    person(0, "288027599000175", MailboxKind::Citizen, "Ada EXEMPLIER", ""),
    person(0, "115067599000279", MailboxKind::Citizen, "Basile EXEMPLIER", ""),
];

const fn person(
    operator: usize,
    local_part: &'static str,
    kind: MailboxKind,
    display_name: &'static str,
    national_id: &'static str,
) -> Person {
    Person { operator, local_part, kind, display_name, national_id }
}

impl Person {
    /// The whole address.
    pub fn address(&self) -> String {
        let domain = match self.kind {
            MailboxKind::Citizen => CITIZEN_DOMAIN,
            _ => OPERATORS[self.operator].domain,
        };
        format!("{}@{domain}", self.local_part)
    }

    /// Under which name the password lies on disk: a patient's address is an INS, which does not.
    pub fn password_name(&self) -> String {
        match self.kind {
            MailboxKind::Citizen => self.display_name.to_owned(),
            _ => self.address(),
        }
    }

    /// Her row in the national extraction (31 columns), if the directory shows her.
    pub fn extraction_row(&self) -> Option<String> {
        let address = self.address();
        let (family, given) = self
            .display_name
            .rsplit_once(' ')
            .map_or(("", ""), |(rest, last)| (last, rest.trim_start_matches("Dr ")));
        let id = self.national_id;
        match self.kind {
            MailboxKind::Personal => Some(format!(
                "PER|{address}|8|{id}|8{id}||||Docteur|{family}|{given}|C|Civil|10|Médecin|SM26|\
                 Qualifié en Médecine Générale|O|||||||||||||"
            )),
            MailboxKind::Organisational => {
                let kind = if id.len() == 9 { "1" } else { "3" };
                let name = self.display_name.to_uppercase();
                Some(format!(
                    "ORG|{address}||||{kind}|{id}|||||||||||O|{name}|{name}|||1||RUE|DE L'EXEMPLE||\
                     75990 VALFICTIF|75990|75|France"
                ))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity::Ins;

    #[test]
    fn every_patient_has_a_valid_matricule_and_every_row_31_columns() {
        for person in &PEOPLE {
            if person.kind == MailboxKind::Citizen {
                assert!(Ins::parse(person.local_part).is_ok());
            }
            if let Some(row) = person.extraction_row() {
                assert_eq!(row.split('|').count(), 31, "{row}");
            }
        }
    }
}
