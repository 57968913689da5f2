//! Certificates that imitate the IGC-Santé hierarchy, and the signed list of operators.
//!
//! Every subject says DEMO. Nothing here may ever be trusted outside a demonstration: the keys
//! of the authorities lie beside the certificates.
mod files; // PEM files
mod issue; // authorities and leaves
mod lists; // revocation lists
mod signing; // the list's signature

use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::domain::address::Domain;
use crate::domain::operator::OperatorDn;
use crate::domain::operator::TrustList;
use crate::domain::time::Timestamp;
use crate::infra::net::TestAuthorities;
use crate::infra::trust::SignerRule;
use crate::proto::trust_list;

use files::pair;
use files::read;
use files::write;
use issue::BACKDATED;
use issue::earlier;
use issue::make;
use issue::make_authorities;
use lists::write_lists;

pub use files::PemPair;
pub use issue::Leaf;
pub use signing::sign;

const LEAF_VALIDITY: Duration = Duration::from_secs(365 * 86_400);
/// A leaf that ends sooner than this is made anew at the start.
const LEAF_RENEWAL: Duration = Duration::from_secs(30 * 86_400);
/// The revocation lists of both authorities.
const LISTS: &str = "crl.pem";
/// The signer's names, after the real `alb.mssante.fr`.
pub const SIGNER_COMMON_NAME: &str = "alb.demo.mssante.test";
/// The signer's rfc822 SAN, after the real `alb@mssante.fr`.
pub const SIGNER_EMAIL: &str = "alb@mssante.test";

/// One operator of the demonstration.
#[derive(Clone, Debug)]
pub struct DemoOperator {
    /// Short name; also the folder of its files.
    pub name: String,
    /// Its host, which its certificates name.
    pub hostname: Domain,
    /// National structure identifier (identifiant national de structure), e.g. `1990000101`.
    pub structure: String,
    /// Who bears the certificate, e.g. `HOPITAL DEMO`.
    pub organisation: String,
}

/// The demonstration's certificates.
pub struct DemoPki {
    folder: PathBuf,
    root: rcgen::Issuer<'static, KeyPair>,
    authority: rcgen::Issuer<'static, KeyPair>,
    authority_pem: String,
    signer: RsaKeyPair,
    signer_certificate: CertificateDer<'static>,
}

impl DemoPki {
    /// Makes what is missing in `folder`, or what ends soon, and loads the rest: a second start
    /// goes on with the same authority, so clients that trust it still do.
    ///
    /// # Errors
    /// When a file cannot be written, or one that is there is not what it should be.
    pub fn create(
        folder: &Path,
        operators: &[DemoOperator],
        host: IpAddr,
        now: Timestamp,
    ) -> Result<Self, anyhow::Error> {
        std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        let root_files = pair(folder, "ca-root");
        let authority_files = pair(folder, "ca-organisations");
        if !(root_files.exists() && authority_files.exists()) {
            forget_leaves(folder, operators)?;
            make_authorities(&root_files, &authority_files, now)?;
        }
        let authority_pem = read(&authority_files.certificate)?;
        let authority = rcgen::Issuer::from_ca_cert_pem(
            &authority_pem,
            KeyPair::from_pem(&read(&authority_files.key)?)?,
        )
        .with_context(|| format!("{}", authority_files.certificate.display()))?;
        let bundle = read(&root_files.certificate)? + &authority_pem;
        write(&folder.join("ca.pem"), &bundle, false)?;
        let root_key = KeyPair::from_pem(&read(&root_files.key)?)?;
        let root = rcgen::Issuer::from_ca_cert_pem(&read(&root_files.certificate)?, root_key)
            .with_context(|| format!("{}", root_files.certificate.display()))?;
        // A list that is there stays: somebody may have revoked a certificate in it.
        if !folder.join(LISTS).exists() {
            write_lists(&folder.join(LISTS), &[&authority, &root], &[], now)?;
        }

        let signer_files = pair(folder, "list-signer");
        if needs_making(&signer_files, None, now) {
            make(&authority, &authority_pem, &signer_leaf(now), &signer_files)?;
        }
        for operator in operators {
            make_operator(folder, &authority, &authority_pem, operator, host, now)?;
        }
        let signer_key = rustls::pki_types::PrivatePkcs8KeyDer::from_pem_file(&signer_files.key)
            .with_context(|| format!("{}", signer_files.key.display()))?;
        let signer = RsaKeyPair::from_pkcs8(signer_key.secret_pkcs8_der())
            .with_context(|| format!("{} is not an RSA key", signer_files.key.display()))?;
        let signer_certificate = CertificateDer::from_pem_file(&signer_files.certificate)
            .with_context(|| format!("{}", signer_files.certificate.display()))?;
        let folder = folder.to_owned();
        Ok(Self { folder, root, authority, authority_pem, signer, signer_certificate })
    }

    /// Root and intermediate: what a client, a relay or a browser has to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The revocation lists of both authorities, in one file, for `revocation.crl_files`.
    pub fn crl_file(&self) -> PathBuf {
        self.folder.join(LISTS)
    }

    /// Writes the lists anew: these certificates of the authority for organisations, by serial
    /// number, are revoked since `now`, and no others.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn revoke(&self, serials: &[Vec<u8>], now: Timestamp) -> Result<(), anyhow::Error> {
        write_lists(&self.crl_file(), &[&self.authority, &self.root], serials, now)
    }

    /// The serial number of the first certificate in a PEM file, for [`Self::revoke`].
    ///
    /// # Errors
    /// When the file has no certificate.
    pub fn serial(file: &Path) -> Result<Vec<u8>, anyhow::Error> {
        let leaf =
            CertificateDer::from_pem_file(file).with_context(|| format!("{}", file.display()))?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&leaf)?;
        Ok(certificate.raw_serial().to_vec())
    }

    /// The certificate of the doors where people log in.
    pub fn people(&self, operator: &DemoOperator) -> PemPair {
        pair(&self.folder.join(&operator.name), "people")
    }

    /// The certificate between operators.
    pub fn mx(&self, operator: &DemoOperator) -> PemPair {
        pair(&self.folder.join(&operator.name), "mx")
    }

    /// The subject of [`Self::mx`], for the trust list.
    pub fn mx_dn(operator: &DemoOperator) -> OperatorDn {
        let short = |attribute: &DnType| match attribute {
            DnType::CountryName => "C",
            DnType::StateOrProvinceName => "ST",
            DnType::OrganizationName => "O",
            DnType::OrganizationalUnitName => "OU",
            _ => "CN",
        };
        OperatorDn::new(mx_subject(operator).iter().map(|(name, value)| (short(name), *value)))
    }

    /// Who may sign the demonstration's list.
    pub fn signer_rule(&self) -> SignerRule {
        SignerRule {
            anchors: vec![self.ca_file()],
            common_name: Some(SIGNER_COMMON_NAME.to_owned()),
            email: Some(SIGNER_EMAIL.to_owned()),
            tests: TestAuthorities::Refused,
        }
    }

    /// Makes any other certificate of this authority: `stem.pem` and `stem.key` in `folder`.
    ///
    /// # Errors
    /// When a name cannot be put into a certificate or a file not be written.
    pub fn issue(
        &self,
        leaf: &Leaf<'_>,
        folder: &Path,
        stem: &str,
    ) -> Result<PemPair, anyhow::Error> {
        std::fs::create_dir_all(folder)?;
        let files = pair(folder, stem);
        make(&self.authority, &self.authority_pem, leaf, &files)?;
        Ok(files)
    }

    /// The list in the form that the trust space publishes, signed by the demonstration's signer.
    ///
    /// # Errors
    /// When the RSA key refuses to sign; a key that loaded does not.
    pub fn sign_trust_list(&self, list: &TrustList) -> Result<Vec<u8>, anyhow::Error> {
        sign(&trust_list::write(list), &self.signer, &self.signer_certificate)
    }
}

fn make_operator(
    folder: &Path,
    authority: &rcgen::Issuer<'static, KeyPair>,
    authority_pem: &str,
    operator: &DemoOperator,
    host: IpAddr,
    now: Timestamp,
) -> Result<(), anyhow::Error> {
    let folder = folder.join(&operator.name);
    std::fs::create_dir_all(&folder)?;
    let host_text = host.to_string();
    let mut names = vec![operator.hostname.as_str(), "localhost", "127.0.0.1"];
    if !names.contains(&host_text.as_str()) {
        names.push(&host_text);
    }
    // Programs ask below these names for how to set themselves up.
    let more = ["autoconfig", "autodiscover", "mta-sts", "openpgpkey"];
    let more = more.map(|name| format!("{name}.{}", operator.hostname));
    let mut people_names = names.clone();
    people_names.extend(more.iter().map(String::as_str));
    let people_name = format!("{} DEMO", operator.hostname);
    let people = Leaf {
        subject: &[
            (DnType::CountryName, "FR"),
            (DnType::OrganizationName, &operator.organisation),
            (DnType::CommonName, &people_name),
        ],
        names: &people_names,
        purposes: &[ExtendedKeyUsagePurpose::ServerAuth],
        rsa: false,
        not_before: earlier(now, BACKDATED),
        not_after: now.after(LEAF_VALIDITY),
    };
    // The offer "SERV SSL" of the real authority: one certificate, both roles.
    let mx = Leaf {
        subject: &mx_subject(operator),
        names: &names,
        purposes: &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        ..people.clone()
    };
    for (stem, leaf) in [("people", &people), ("mx", &mx)] {
        let files = pair(&folder, stem);
        if needs_making(&files, Some(host), now) {
            make(authority, authority_pem, leaf, &files)?;
        }
    }
    Ok(())
}

fn mx_subject(operator: &DemoOperator) -> [(DnType, &str); 5] {
    [
        (DnType::CountryName, "FR"),
        (DnType::StateOrProvinceName, "Paris (75)"),
        (DnType::OrganizationName, &operator.organisation),
        (DnType::OrganizationalUnitName, &operator.structure),
        (DnType::CommonName, operator.hostname.as_str()),
    ]
}

fn signer_leaf(now: Timestamp) -> Leaf<'static> {
    Leaf {
        subject: &[
            (DnType::CountryName, "FR"),
            (DnType::StateOrProvinceName, "Paris (75)"),
            (DnType::OrganizationName, "VAGUEMESTRE DEMO"),
            (DnType::OrganizationalUnitName, "1990000999"),
            (DnType::CommonName, SIGNER_COMMON_NAME),
        ],
        names: &[SIGNER_EMAIL],
        purposes: &[ExtendedKeyUsagePurpose::EmailProtection],
        rsa: true,
        not_before: earlier(now, BACKDATED),
        not_after: now.after(LEAF_VALIDITY),
    }
}

/// True when the files are not there, cannot be read, end soon, or do not name the host that
/// clients will connect to.
fn needs_making(files: &PemPair, host: Option<IpAddr>, now: Timestamp) -> bool {
    let fits = || {
        let leaf = CertificateDer::from_pem_file(&files.certificate).ok()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&leaf).ok()?;
        let end = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
        let lasts = end > now.after(LEAF_RENEWAL).as_seconds();
        let names = certificate.subject_alternative_name().ok()??;
        let named = host.is_none_or(|host| {
            let octets = match host {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            names.value.general_names.iter().any(|name| {
                matches!(name, x509_parser::extensions::GeneralName::IPAddress(listed) if *listed == octets)
            })
        });
        Some(lasts && named && files.key.exists())
    };
    !fits().unwrap_or(false)
}

/// Leaves of an authority that is gone would be refused by everybody, and so would its lists.
fn forget_leaves(folder: &Path, operators: &[DemoOperator]) -> Result<(), anyhow::Error> {
    let mut leaves = vec![pair(folder, "list-signer")];
    for operator in operators {
        let folder = folder.join(&operator.name);
        leaves.push(pair(&folder, "people"));
        leaves.push(pair(&folder, "mx"));
    }
    let files = leaves.into_iter().flat_map(|pair| [pair.certificate, pair.key]);
    for file in files.chain([folder.join(LISTS)]) {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{}", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::domain::certificate::Standing;
    use crate::infra::net::Identity;
    use crate::infra::net::certificate_facts;
    use crate::infra::net::load_anchors;
    use crate::infra::revocation::Mode;
    use crate::infra::revocation::Revocation;
    use crate::infra::revocation::Settings;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_300_000);

    fn hospital() -> DemoOperator {
        DemoOperator {
            name: "hopital".to_owned(),
            hostname: Domain::parse("mx.hopital.mssante.test").unwrap(),
            structure: "1990000101".to_owned(),
            organisation: "HOPITAL DEMO".to_owned(),
        }
    }

    #[test]
    fn a_second_start_goes_on_with_the_same_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let host = IpAddr::from([127, 0, 0, 1]);
        let first = DemoPki::create(folder.path(), &[hospital()], host, NOW).unwrap();
        let before = read(&first.mx(&hospital()).certificate).unwrap();
        let second = DemoPki::create(folder.path(), &[hospital()], host, NOW).unwrap();
        assert_eq!(read(&second.mx(&hospital()).certificate).unwrap(), before);

        let elsewhere = IpAddr::from([192, 0, 2, 7]);
        DemoPki::create(folder.path(), &[hospital()], elsewhere, NOW).unwrap();
        assert_ne!(read(&second.mx(&hospital()).certificate).unwrap(), before, "another host");
        let before = read(&second.mx(&hospital()).certificate).unwrap();
        let late = NOW.after(LEAF_VALIDITY);
        DemoPki::create(folder.path(), &[hospital()], elsewhere, late).unwrap();
        assert_ne!(read(&second.mx(&hospital()).certificate).unwrap(), before, "it had ended");
    }

    #[test]
    fn the_operators_certificate_has_the_listed_name_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let host = IpAddr::from([127, 0, 0, 1]);
        let pki = DemoPki::create(folder.path(), &[hospital()], host, NOW).unwrap();
        let files = pki.mx(&hospital());
        let identity = Identity::load(&files.certificate, &files.key).unwrap();
        assert_eq!(identity.chain.len(), 2);
        let peer = certificate_facts(&identity.chain[0]).unwrap();
        assert_eq!(peer.subject, DemoPki::mx_dn(&hospital()));
        assert!(peer.issuer.to_string().contains("demo"), "{}", peer.issuer);
        assert_eq!(load_anchors(&[pki.ca_file()]).unwrap().len(), 2);
        for file in walk(folder.path()) {
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            let private = file.extension().is_some_and(|extension| extension == "key");
            assert_eq!(mode, if private { 0o600 } else { 0o644 }, "{}", file.display());
        }
    }

    #[tokio::test]
    async fn a_folder_without_revocation_lists_gets_them_and_a_revoked_operator_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let host = IpAddr::from([127, 0, 0, 1]);
        let pki = DemoPki::create(folder.path(), &[hospital()], host, NOW).unwrap();
        std::fs::remove_file(pki.crl_file()).unwrap();
        let pki = DemoPki::create(folder.path(), &[hospital()], host, NOW).unwrap();
        let revocation = Revocation::new(Settings {
            mode: Mode::Required,
            crl_files: vec![pki.crl_file()],
            crl: true,
            ocsp: true,
            timeout: Duration::from_secs(1),
            refresh: Duration::from_secs(60),
            grace: Duration::ZERO,
            kept: folder.path().join("kept"),
        });
        let operator = pki.mx(&hospital()).certificate;
        let mut path = Identity::load(&operator, &pki.mx(&hospital()).key).unwrap().chain;
        path.push(CertificateDer::from_pem_file(folder.path().join("ca-root.pem")).unwrap());
        let years = NOW.after(Duration::from_secs(9 * 365 * 86_400));
        for moment in [NOW, years] {
            let evidence = revocation.check(&path, moment).await;
            assert_eq!(evidence.standing, Standing::Good, "{}", evidence.trouble);
        }
        pki.revoke(&[DemoPki::serial(&operator).unwrap()], NOW).unwrap();
        revocation.reload();
        assert_eq!(revocation.check(&path, NOW).await.standing, Standing::Revoked(NOW));
        DemoPki::create(folder.path(), &[hospital()], host, NOW).unwrap();
        revocation.reload();
        assert_eq!(revocation.check(&path, NOW).await.standing, Standing::Revoked(NOW));
    }

    fn walk(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
    }
}
