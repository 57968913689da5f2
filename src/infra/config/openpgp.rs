//! Certificates of OpenPGP: which we publish, which we look for, how long ours live: `[openpgp]`.
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::infra::config::build::DAY;
use crate::infra::config::build::Reader;
use crate::infra::config::login::attribute as attribute_name;

/// Where the certificate of somebody outside is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// `"ldap"`: an attribute of our own directory (`openpgp.ldap_attribute`).
    Ldap,
    /// `"wkd"`: the Web Key Directory of the address's domain.
    Wkd,
}

/// An attribute of the directory with OpenPGP certificates.
#[derive(Clone, Debug)]
pub struct LdapCertificates {
    /// `openpgp.ldap_attribute`
    pub attribute: String,
    /// `openpgp.ldap_address_attribute`: by which an entry is found.
    pub address_attribute: String,
    /// `openpgp.ldap_base`: where; `None`: below `ldap.base`.
    pub base: Option<String>,
}

/// Certificates of OpenPGP.
#[derive(Clone, Debug)]
pub struct OpenPgp {
    /// The directory of `[ldap]`, when it shows certificates.
    pub ldap: Option<LdapCertificates>,
    /// `openpgp.sources`: in this order.
    pub sources: Vec<CertificateSource>,
    /// `openpgp.overlap_days`: how long the old subkeys of a rotated key are shown as good.
    pub overlap: Duration,
    /// `openpgp.publish_hidden`: mailboxes of the red list are published too.
    pub publish_hidden: bool,
    /// `openpgp.refresh_seconds`: the age at which the certificate of a contact is asked for again.
    pub refresh: Duration,
    /// `openpgp.renew_before_days`: so long before its end a certificate of ours is extended.
    pub renew_before: Duration,
    /// `openpgp.service_address`: the local part to which people mail their own certificate.
    pub service_address: Option<String>,
    /// `openpgp.validity_days`: of our mailboxes' certificates; `None`: they never end.
    pub validity: Option<Duration>,
    /// `openpgp.wkd`: certificates of our mailboxes are published.
    pub wkd: bool,
    /// `openpgp.wkd_anchors`: CA certificates of other domains' hosts; no public CA is trusted.
    pub wkd_anchors: Vec<PathBuf>,
    /// `openpgp.wkd_domains`: domains whose hosts are asked for certificates.
    pub wkd_domains: Vec<Domain>,
    /// `openpgp.wkd_port`: where these hosts listen.
    pub wkd_port: u16,
    /// `openpgp.wkd_private_addresses`: hosts with private addresses are asked, too.
    pub wkd_private_addresses: bool,
}

impl Reader {
    pub(super) fn openpgp(&mut self) -> Option<OpenPgp> {
        let attribute = self.optional("openpgp.ldap_attribute", attribute_name);
        let address_attribute =
            self.text_or("openpgp.ldap_address_attribute", "mail", attribute_name);
        let base = self.optional("openpgp.ldap_base", |text| {
            (!text.trim().is_empty()).then(|| text.to_owned())
        });
        let sources = self.list("openpgp.sources", &["ldap", "wkd"], |text| match text {
            "ldap" => Some(CertificateSource::Ldap),
            "wkd" => Some(CertificateSource::Wkd),
            _ => None,
        });
        if attribute.is_some() && !self.has("ldap.servers") {
            self.missing(
                "ldap.servers",
                "is missing, and openpgp.ldap_attribute names an attribute",
            );
        }
        let ldap = attribute.zip(address_attribute);
        let ldap = ldap.map(|(attribute, address_attribute)| LdapCertificates {
            attribute,
            address_attribute,
            base,
        });
        let overlap = self.number("openpgp.overlap_days", 90, 1, 3_660);
        let publish_hidden = self.truth("openpgp.publish_hidden", false);
        let refresh = self.number("openpgp.refresh_seconds", DAY, 60, 30 * DAY);
        let renew_before = self.number("openpgp.renew_before_days", 180, 1, 3_660);
        let service_address = self.optional("openpgp.service_address", |text| {
            Address::parse(&format!("{text}@relay.invalid")).ok().map(|_| text.to_owned())
        });
        let validity = self.number("openpgp.validity_days", 1_095, 0, 36_600);
        let wkd = self.truth("openpgp.wkd", true);
        let wkd_anchors = self.anchors_or_none("openpgp.wkd_anchors");
        let wkd_domains = self.domains("openpgp.wkd_domains", Vec::new());
        let wkd_port = self.number("openpgp.wkd_port", 443, 1, 65_535);
        let wkd_private_addresses = self.truth("openpgp.wkd_private_addresses", false);
        let (validity, renew_before) = (validity?, renew_before?);
        if validity > 0 && renew_before >= validity {
            self.wrong("openpgp.renew_before_days", "not below openpgp.validity_days");
        }
        let (wkd_anchors, wkd_domains) = (wkd_anchors?, wkd_domains?);
        if wkd_anchors.is_empty() && !wkd_domains.is_empty() {
            self.missing("openpgp.wkd_anchors", "is missing, and openpgp.wkd_domains names some");
        }
        Some(OpenPgp {
            ldap,
            sources: sources?,
            overlap: Duration::from_secs(overlap? * DAY),
            publish_hidden: publish_hidden?,
            refresh: Duration::from_secs(refresh?),
            renew_before: Duration::from_secs(renew_before * DAY),
            service_address,
            validity: (validity > 0).then(|| Duration::from_secs(validity * DAY)),
            wkd: wkd?,
            wkd_anchors,
            wkd_domains,
            wkd_port: u16::try_from(wkd_port?).ok()?,
            wkd_private_addresses: wkd_private_addresses?,
        })
    }
}
