//! Apple's configuration profile (`.mobileconfig`) for one mailbox: Mail, and the address book.
//!
//! Without a password, which the device asks for. Not signed: a profile signed with a
//! certificate that the device does not know says "not verified", too.
use std::fmt::Write;

use aws_lc_rs::digest;
use uuid::Builder;

use crate::domain::address::Address;
use crate::proto::setup::Offer;
use crate::proto::setup::Protocol;
use crate::proto::setup::escaped;

/// LDAP payloads have no port: the device takes this one.
const LDAPS: u16 = 636;

/// The profile; `None` when no door is open that Mail could use.
pub fn profile(offer: &Offer, address: &Address) -> Option<String> {
    let incoming = offer.best(Protocol::Imap).or_else(|| offer.best(Protocol::Pop3))?;
    let outgoing = offer.best(Protocol::Submission)?;
    let kind = match incoming.protocol {
        Protocol::Pop3 => "EmailTypePOP",
        _ => "EmailTypeIMAP",
    };
    let (login, name) = (escaped(&address.to_string()), escaped(&offer.name));
    let host = offer.host.as_str();
    let mut payloads = Payloads { offer, address, xml: String::new() };
    payloads.begin("com.apple.mail.managed", "mail");
    payloads.text("EmailAccountType", kind);
    payloads.text("EmailAccountDescription", &login);
    payloads.text("EmailAddress", &login);
    for (way, service) in [("Incoming", incoming), ("Outgoing", outgoing)] {
        payloads.text(&format!("{way}MailServerAuthentication"), "EmailAuthPassword");
        payloads.text(&format!("{way}MailServerHostName"), host);
        payloads.number(&format!("{way}MailServerPortNumber"), service.port);
        // Below 993 the same word means STARTTLS.
        payloads.truth(&format!("{way}MailServerUseSSL"));
        payloads.text(&format!("{way}MailServerUsername"), &login);
    }
    payloads.truth("OutgoingPasswordSameAsIncomingPassword");
    payloads.end();
    if offer.best(Protocol::Ldap).is_some_and(|ldap| ldap.port == LDAPS) {
        payloads.begin("com.apple.ldap.account", "ldap");
        payloads.text("LDAPAccountDescription", &format!("MSSanté – {name}"));
        payloads.text("LDAPAccountHostName", host);
        payloads.truth("LDAPAccountUseSSL");
        payloads.text("LDAPAccountUserName", &login);
        let base = escaped(&offer.address_book);
        let _ = write!(
            payloads.xml,
            "      <key>LDAPSearchSettings</key>\n      <array>\n        <dict>\n          \
             <key>LDAPSearchSettingDescription</key>\n          <string>MSSanté</string>\n          \
             <key>LDAPSearchSettingScope</key>\n          \
             <string>LDAPSearchSettingScopeSubtree</string>\n          \
             <key>LDAPSearchSettingSearchBase</key>\n          <string>{base}</string>\n        \
             </dict>\n      </array>\n"
        );
        payloads.end();
    }
    let (payloads, whole) = (payloads.xml, identifier(offer, address, "profile"));
    Some(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n  <key>PayloadContent</key>\n  <array>\n{payloads}  \
         </array>\n  <key>PayloadDisplayName</key>\n  <string>{name} – {login}</string>\n  \
         <key>PayloadIdentifier</key>\n  <string>{host}.{whole}</string>\n  \
         <key>PayloadOrganization</key>\n  <string>{name}</string>\n  \
         <key>PayloadRemovalDisallowed</key>\n  <false/>\n  \
         <key>PayloadType</key>\n  <string>Configuration</string>\n  \
         <key>PayloadUUID</key>\n  <string>{whole}</string>\n  \
         <key>PayloadVersion</key>\n  <integer>1</integer>\n</dict>\n</plist>\n"
    ))
}

struct Payloads<'o> {
    offer: &'o Offer,
    address: &'o Address,
    xml: String,
}

impl Payloads<'_> {
    fn begin(&mut self, kind: &str, part: &str) {
        let id = identifier(self.offer, self.address, part);
        self.xml.push_str("    <dict>\n");
        self.text("PayloadType", kind);
        self.number("PayloadVersion", 1);
        self.text("PayloadUUID", &id);
        self.text("PayloadIdentifier", &format!("{}.{id}", self.offer.host));
    }

    /// `value` is escaped already.
    fn text(&mut self, key: &str, value: &str) {
        let _ = write!(self.xml, "      <key>{key}</key>\n      <string>{value}</string>\n");
    }

    fn number(&mut self, key: &str, value: u16) {
        let _ = write!(self.xml, "      <key>{key}</key>\n      <integer>{value}</integer>\n");
    }

    fn truth(&mut self, key: &str) {
        let _ = write!(self.xml, "      <key>{key}</key>\n      <true/>\n");
    }

    fn end(&mut self) {
        self.xml.push_str("    </dict>\n");
    }
}

/// Always the same for one mailbox here, so that a profile that is fetched again takes the place
/// of the one before (RFC 9562 §5.8).
fn identifier(offer: &Offer, address: &Address, part: &str) -> String {
    let text = format!("{}\n{}\n{part}", offer.host, address.lookup_form());
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut octets = [0; 16];
    octets.copy_from_slice(&digest.as_ref()[..16]);
    Builder::from_custom_bytes(octets).into_uuid().to_string().to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::setup::tests::offer;

    #[test]
    fn a_profile_that_is_fetched_again_is_the_same_and_holds_no_password() {
        let address = Address::parse("dr.martin@hopital.mssante.fr").unwrap();
        let profile = |address: &Address| super::profile(&offer(), address).unwrap();
        let first = profile(&address);
        assert_eq!(first, profile(&address));
        assert!(!first.contains("<key>IncomingPassword</key>"), "{first}");
        assert!(!first.contains("<key>OutgoingPassword</key>"), "{first}");
        assert!(
            first.contains("<integer>993</integer>") && first.contains("<integer>465</integer>")
        );
        assert!(first.contains("com.apple.ldap.account") && first.contains("dc=mssante,dc=fr"));
        let other = profile(&Address::parse("labo@hopital.mssante.fr").unwrap());
        let id = |text: &str| text.split("<key>PayloadUUID</key>").nth(1).map(str::to_owned);
        assert_ne!(id(&first), id(&other));
    }

    #[test]
    fn without_a_door_for_mail_there_is_no_profile() {
        let address = Address::parse("dr.martin@hopital.mssante.fr").unwrap();
        let mut offer = offer();
        offer.services.retain(|service| service.protocol != Protocol::Submission);
        assert!(super::profile(&offer, &address).is_none());
    }
}
