//! What an administrator need not see: patients' identity numbers.
use crate::domain::address::Address;
use crate::infra::config::Operator;

/// Digits of one word that could be an identity number (INS 15, RPPS 11) or a telephone number
/// with its country (11 and more).
const DIGITS_MAX: usize = 10;

/// An address for an administrator's eyes: `***@domain` for a patient.
pub(super) fn address(operator: &Operator, address: &Address) -> String {
    let service = || {
        operator
            .patient_service_mailboxes
            .iter()
            .any(|name| name.eq_ignore_ascii_case(address.local_part()))
    };
    if operator.patient_domains.contains(address.domain()) && !service() {
        return format!("***@{}", address.domain());
    }
    // `Debug` of an address masks what looks like an INS in any domain.
    format!("{address:?}")
}

/// A text from outside (what another operator said) without long numbers and control characters.
pub(super) fn text(text: &str) -> String {
    let mut masked = String::new();
    let mut word = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            word.push(character);
            continue;
        }
        end_word(&mut masked, &mut word);
        masked.push(if character.is_control() { ' ' } else { character });
    }
    end_word(&mut masked, &mut word);
    masked
}

fn end_word(masked: &mut String, word: &mut String) {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    masked.push_str(if digits > DIGITS_MAX { "***" } else { word });
    word.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Domain;

    fn operator() -> Operator {
        let domain = |text| Domain::parse(text).unwrap();
        Operator {
            name: "hopital".to_owned(),
            hostname: domain("mx.test"),
            domains: vec![domain("hopital.mssante.test")],
            citizen_domains: Vec::new(),
            patient_domains: vec![domain("patient.mssante.test")],
            patient_service_mailboxes: vec!["reponse.automatique-test".to_owned()],
        }
    }

    #[test]
    fn nothing_of_a_patients_address_is_shown_even_if_it_is_no_ins() {
        for (written, shown) in [
            ("279035121518989@patient.mssante.test", "***@patient.mssante.test"),
            ("marie@patient.mssante.test", "***@patient.mssante.test"),
            ("279035121518989@hopital.mssante.test", "***@hopital.mssante.test"),
            ("dr.lune@hopital.mssante.test", "dr.lune@hopital.mssante.test"),
            (
                "Reponse.Automatique-test@patient.mssante.test",
                "Reponse.Automatique-test@patient.mssante.test",
            ),
        ] {
            assert_eq!(address(&operator(), &Address::parse(written).unwrap()), shown);
        }
    }

    #[test]
    fn a_remote_reply_is_shown_without_identity_numbers() {
        assert_eq!(
            text("550 5.1.1 <279035121518989@p.test>: 2A9900112233445\tunknown, 0123456789"),
            "550 5.1.1 <***@p.test>: *** unknown, 0123456789"
        );
    }
}
