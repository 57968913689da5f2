//! PEM files: certificate chains, private keys, anchors.
use std::path::Path;
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroize;

use crate::infra::net::NetError;

/// Octets of one PEM file: chains and CA bundles have a few kilobytes each certificate.
const PEM_OCTETS_MAX: u64 = 1_048_576;

/// A certificate chain and its key, as PEM files gave them.
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Private key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads PEM files. A key that others may read is used, with a warning: the operator must
    /// know, but mail must not stop for it.
    ///
    /// # Errors
    /// [`NetError::Material`] names the file and what was expected in it.
    pub fn load(certificate_file: &Path, key_file: &Path) -> Result<Self, NetError> {
        let chain = certificates(certificate_file)?;
        let mut text = read(key_file, "a PEM private key (PKCS#8, PKCS#1 or SEC1)")?;
        let key = PrivateKeyDer::from_pem_slice(&text);
        text.zeroize();
        let key = key.map_err(|_| {
            material(
                key_file,
                "no PEM private key in it; expected an unencrypted `BEGIN PRIVATE KEY`",
            )
        })?;
        warn_if_others_may_read(key_file);
        let identity = Self { chain, key };
        identity.check_that_the_key_fits().map_err(|reason| {
            material(
                key_file,
                &format!(
                    "{reason}; expected the key of the certificate {}",
                    certificate_file.display()
                ),
            )
        })?;
        Ok(identity)
    }

    /// A key of another certificate is the commonest mistake of a renewal; say so at the start
    /// and not at the first handshake.
    fn check_that_the_key_fits(&self) -> Result<(), String> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        rustls::sign::CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider)
            .map(|_| ())
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => "the key does not fit".to_owned(),
                other => other.to_string(),
            })
    }

    /// The same chain and key again; keys have no `Clone` so that copies are deliberate.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} certificates, [secret])", self.chain.len())
    }
}

/// Reads the anchors (CA certificates) of a list of PEM files.
///
/// # Errors
/// [`NetError::Material`] names the first file that is missing or holds no certificate. No
/// file at all is an error too: it would trust nobody, and that is never what was meant.
pub fn load_anchors(files: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, NetError> {
    if files.is_empty() {
        return Err(NetError::Material {
            file: "anchors".to_owned(),
            reason: "no file given; expected at least one PEM file of CA certificates".to_owned(),
        });
    }
    let mut anchors = Vec::new();
    for file in files {
        for anchor in certificates(file)? {
            // Two bundles often share their root.
            if !anchors.contains(&anchor) {
                anchors.push(anchor);
            }
        }
    }
    Ok(anchors)
}

/// Whether authorities of the trust space's TEST hierarchy count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TestAuthorities {
    /// Never: whoever plays with test certificates must not be taken for an operator.
    #[default]
    Refused,
    /// On a platform for trials, because the configuration says so (`mx.allow_test_authorities`).
    Allowed,
}

impl TestAuthorities {
    /// What `mx.allow_test_authorities` says.
    pub const fn from_key(allow: bool) -> Self {
        if allow { Self::Allowed } else { Self::Refused }
    }
}

/// [`load_anchors`], and none of them may be of the TEST hierarchy unless that is allowed.
///
/// # Errors
/// The same, and [`NetError::Material`] with the file and the name of such an authority: one
/// bundle with both hierarchies is a mistake that must not come into use by halves.
pub fn load_anchors_except(
    files: &[PathBuf],
    tests: TestAuthorities,
) -> Result<Vec<CertificateDer<'static>>, NetError> {
    if tests == TestAuthorities::Refused {
        for file in files {
            for anchor in certificates(file)? {
                if let Some(name) = test_authority(&anchor) {
                    return Err(material(file, &of_tests(&name)));
                }
            }
        }
    }
    load_anchors(files)
}

/// What is wrong with an authority of this name, and which key allows it all the same.
pub fn of_tests(name: &str) -> String {
    format!(
        "{name} is an authority of the TEST hierarchy; expected authorities of real operators \
         only (mx.allow_test_authorities allows it on a platform for trials)"
    )
}

/// The name of an authority of the TEST hierarchy of IGC-Santé, as `CN=…` or `OU=…`; `None` for
/// every other certificate. Its names are `TEST AC …` and its unit is `IGC-SANTE TEST`, in these
/// letters: an authority that somebody calls "Test CA" is not of that hierarchy.
pub fn test_authority(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = certificate.subject();
    let texts = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        attribute.as_str().map(str::trim).map(str::to_owned).ok()
    };
    let named = subject.iter_common_name().filter_map(texts).find(|name| name.starts_with("TEST "));
    let unit = || {
        let mut units = subject.iter_organizational_unit().filter_map(texts);
        units.find(|unit| unit == "IGC-SANTE TEST")
    };
    named.map(|name| format!("CN={name}")).or_else(|| unit().map(|unit| format!("OU={unit}")))
}

/// All certificates of a PEM file, at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let text = read(file, "PEM certificates")?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| {
        material(file, &format!("not readable as PEM ({error}); expected `BEGIN CERTIFICATE`"))
    })?;
    if found.is_empty() {
        return Err(material(file, "no certificate in it; expected `BEGIN CERTIFICATE`"));
    }
    for certificate in &found {
        x509_parser::parse_x509_certificate(certificate).map_err(|_| {
            material(file, "a block in it is not an X.509 certificate; expected DER inside PEM")
        })?;
    }
    Ok(found)
}

pub(super) fn read(file: &Path, expected: &str) -> Result<Vec<u8>, NetError> {
    let unreadable = |error: std::io::Error| {
        material(file, &format!("cannot be read ({error}); expected {expected}"))
    };
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > PEM_OCTETS_MAX {
        return Err(material(file, &format!("has {size} octets; expected {expected}")));
    }
    std::fs::read(file).map_err(unreadable)
}

fn material(file: &Path, reason: &str) -> NetError {
    NetError::Material { file: file.display().to_string(), reason: reason.to_owned() }
}

fn warn_if_others_may_read(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = std::fs::metadata(file) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            file = %file.display(),
            mode = %format!("{mode:04o}"),
            "other users may read this private key: set mode 0600"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    fn self_signed() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["mx.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_chain_and_its_key_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed();
        let certificate = written(&folder, "c.pem", &certificate);
        let key = written(&folder, "k.pem", &key);
        assert_eq!(Identity::load(&certificate, &key).unwrap().chain.len(), 1);
        assert_eq!(load_anchors(&[certificate.clone(), certificate]).unwrap().len(), 1);
    }

    #[test]
    fn a_bundle_with_an_authority_of_the_test_hierarchy_is_refused_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let authority = |name: &str, unit: &str| {
            let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            parameters.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, unit);
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
        };
        let real = authority("AC IGC-SANTE ELEMENTAIRE ORGANISATIONS", "IGC-SANTE");
        for (name, unit, is_of_tests) in [
            ("TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS", "IGC-SANTE", true),
            ("AC RACINE", "IGC-SANTE TEST", true),
            ("Test CA", "somebody", false),
            ("TESTAMENT", "IGC-SANTE TESTING", false),
        ] {
            let bundle = format!("{real}{}", authority(name, unit));
            let bundle = [written(&folder, "bundle.pem", &bundle)];
            let refused = load_anchors_except(&bundle, TestAuthorities::Refused);
            assert_eq!(refused.is_err(), is_of_tests, "{name}, {unit}");
            if let Err(error) = refused {
                let error = error.to_string();
                assert!(error.contains("bundle.pem") && error.contains("TEST"), "{error}");
                assert!(error.contains("mx.allow_test_authorities"), "{error}");
            }
            assert_eq!(load_anchors_except(&bundle, TestAuthorities::Allowed).unwrap().len(), 2);
        }
    }

    #[test]
    fn each_mistake_names_its_file_and_what_was_expected() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed();
        let (_, other_key) = self_signed();
        let certificate = written(&folder, "c.pem", &certificate);
        let key = written(&folder, "k.pem", &key);
        let other_key = written(&folder, "other.pem", &other_key);
        let empty = written(&folder, "empty.pem", "");
        let rubbish = written(
            &folder,
            "rubbish.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        );
        let missing = folder.path().join("missing.pem");
        for (chain, key, culprit) in [
            (&missing, &key, &missing),
            (&empty, &key, &empty),
            (&rubbish, &key, &rubbish),
            (&certificate, &missing, &missing),
            (&certificate, &certificate, &certificate),
            (&certificate, &empty, &empty),
            (&certificate, &other_key, &other_key),
        ] {
            let error = Identity::load(chain, key).unwrap_err().to_string();
            assert!(error.starts_with(&culprit.display().to_string()), "{error}");
            assert!(error.contains("expected"), "{error}");
        }
        assert!(load_anchors(&[]).is_err());
    }
}
