//! Whom a document is about: identifiers as metadata and documents write them.
use crate::domain::identity::Ins;
use crate::domain::secret::Secret;

/// Authorities of matricules: NIR, NIA, and the NIR of tests and demonstrations.
const AUTHORITIES: [&str; 4] =
    ["1.2.250.1.213.1.4.8", "1.2.250.1.213.1.4.9", TEST_AUTHORITIES[0], TEST_AUTHORITIES[1]];
const TEST_AUTHORITIES: [&str; 2] = ["1.2.250.1.213.1.4.10", "1.2.250.1.213.1.4.11"];
/// Characters of a matricule without its key.
const NUMBER_CHARACTERS: usize = 13;

/// One identifier of a patient. It has no `Debug`: it may be a national number.
pub(super) struct PatientId {
    value: Secret<String>,
    authority: String,
}

/// A matricule without its key, upper case: what two writers of one number always share.
#[derive(Debug)]
pub struct PatientNumber(Secret<String>);

/// What an identifier claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// A matricule with a good key and its authority.
    Ins,
    /// A matricule with a wrong key or form, or with no authority that gives matricules.
    Invalid,
    /// Something else: a number of the sender's own.
    Local,
}

impl PatientId {
    /// An identifier and the OID of who gave it. `None` for an empty one.
    pub(super) fn new(value: &str, authority: &str) -> Option<Self> {
        let value = value.trim();
        let authority = authority.trim().to_owned();
        (!value.is_empty()).then(|| Self { value: Secret::new(value.to_owned()), authority })
    }

    /// Reads a CX: `<id>^^^&<OID>&ISO^<type>`. Some software escapes its `&` twice.
    pub(super) fn from_cx(text: &str) -> Option<Self> {
        let text = Secret::new(text.replace("&amp;", "&"));
        let mut components = text.expose().split('^');
        let value = components.next()?;
        let authority = components.nth(2).unwrap_or_default();
        Self::new(value, authority.split('&').nth(1).unwrap_or_default())
    }

    pub(super) fn claim(&self) -> Claim {
        let is_ins = Ins::parse(self.value.expose()).is_ok();
        match (AUTHORITIES.contains(&self.authority.as_str()), is_ins) {
            (true, true) => Claim::Ins,
            (true, false) => Claim::Invalid,
            // Without an authority, or with one of the same house that gives none.
            (false, true) if self.authority.is_empty() => Claim::Invalid,
            (false, true) if self.authority.starts_with("1.2.250.1.213.1.4.") => Claim::Invalid,
            (false, _) => Claim::Local,
        }
    }

    /// A test or demonstration identity.
    pub(super) fn is_test(&self) -> bool {
        TEST_AUTHORITIES.contains(&self.authority.as_str())
    }

    /// The national number, also when its key or authority is wrong.
    pub(super) fn number(&self) -> Option<PatientNumber> {
        if self.claim() == Claim::Local { None } else { PatientNumber::read(self.value.expose()) }
    }

    /// True when both come from one authority and are not the same.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        match (self.number(), other.number()) {
            (Some(one), Some(two)) => !one.is_same(&two),
            (None, None) if self.authority == other.authority => {
                !self.value.expose().eq_ignore_ascii_case(other.value.expose())
            }
            _ => false,
        }
    }
}

impl PatientNumber {
    /// From a matricule with or without its key. `None` when it is too short for one.
    pub fn read(text: &str) -> Option<Self> {
        let text = Secret::new(text.trim().to_ascii_uppercase());
        let number = text.expose().get(..NUMBER_CHARACTERS)?;
        Some(Self(Secret::new(number.to_owned())))
    }

    /// True when both are one person's.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.expose() == other.0.expose()
    }

    /// The 13 characters. Never put them where somebody else can read.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(cx: &str) -> Claim {
        PatientId::from_cx(cx).unwrap().claim()
    }

    #[test]
    fn a_matricule_needs_its_key_and_its_authority() {
        for (cx, expected) in [
            ("288027599000175^^^&1.2.250.1.213.1.4.10&ISO^NH", Claim::Ins),
            ("288027599000175^^^&amp;1.2.250.1.213.1.4.8&amp;ISO^NH", Claim::Ins),
            ("195122A99000394^^^&1.2.250.1.213.1.4.8&ISO^NH", Claim::Ins),
            ("790019999000529^^^&1.2.250.1.213.1.4.9&ISO^NH", Claim::Ins),
            ("288027599000176^^^&1.2.250.1.213.1.4.8&ISO^NH", Claim::Invalid),
            ("2880275990001^^^&1.2.250.1.213.1.4.8&ISO^NH", Claim::Invalid),
            ("288027599000175^^^&1.2.250.1.213.1.4.99&ISO^NH", Claim::Invalid),
            ("288027599000175", Claim::Invalid),
            ("IPP-77001^^^&1.2.250.1.999.2.1&ISO^PI", Claim::Local),
            ("IPP-77001", Claim::Local),
            ("1234567890123456789012^^^&1.2.250.1.213.1.4.2&ISO^NH", Claim::Local),
        ] {
            assert_eq!(claim(cx), expected, "{cx}");
        }
        assert!(PatientId::from_cx("^^^&1.2.250.1.213.1.4.8&ISO^NH").is_none());
        assert!(PatientId::from_cx("").is_none());
    }

    #[test]
    fn identifiers_contradict_each_other_only_where_they_can_be_compared() {
        let id = |value, authority| PatientId::new(value, authority).unwrap();
        let (nir, test, local) =
            ("1.2.250.1.213.1.4.8", "1.2.250.1.213.1.4.10", "1.2.250.1.999.2.1");
        let ada = id("288027599000175", nir);
        assert!(!ada.contradicts(&id("288027599000175", test)));
        assert!(!ada.contradicts(&id("2880275990001", nir)));
        assert!(!ada.contradicts(&id("IPP-1", local)));
        assert!(ada.contradicts(&id("115067599000279", nir)));
        assert!(id("IPP-1", local).contradicts(&id("IPP-2", local)));
        assert!(!id("IPP-1", local).contradicts(&id("IPP-2", "1.2.250.1.999.2.2")));
        assert!(!id("195122a99000394", nir).contradicts(&id("195122A99000394", nir)));
    }
}
