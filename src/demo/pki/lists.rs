//! Revocation lists of the demonstration's authorities.
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rcgen::CertificateRevocationListParams;
use rcgen::KeyIdMethod;
use rcgen::KeyPair;
use rcgen::RevocationReason;
use rcgen::RevokedCertParams;
use rcgen::SerialNumber;

use crate::demo::pki::files::write;
use crate::demo::pki::issue::BACKDATED;
use crate::demo::pki::issue::earlier;
use crate::domain::time::Timestamp;

/// Nobody makes new lists for a demonstration, and its folder may be used for years.
const LIST_VALIDITY: Duration = Duration::from_secs(3_653 * 86_400);

/// One list per authority, in one PEM file; the first authority revokes these serial numbers.
/// Under another name first: a running relay reads the file again when it changes.
pub(super) fn write_lists(
    file: &Path,
    authorities: &[&rcgen::Issuer<'static, KeyPair>],
    revoked: &[Vec<u8>],
    now: Timestamp,
) -> Result<(), anyhow::Error> {
    let mut text = String::new();
    for (place, authority) in authorities.iter().enumerate() {
        let serials = if place == 0 { revoked } else { &[] };
        text.push_str(&list(authority, serials, now)?);
    }
    let draft = file.with_extension("pem.part");
    write(&draft, &text, false)?;
    std::fs::rename(&draft, file).with_context(|| format!("{}", file.display()))
}

fn list(
    authority: &rcgen::Issuer<'static, KeyPair>,
    revoked: &[Vec<u8>],
    now: Timestamp,
) -> Result<String, anyhow::Error> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let moment = |moment: Timestamp| epoch + Duration::from_secs(moment.as_seconds());
    let entry = |serial: &Vec<u8>| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: moment(now),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let parameters = CertificateRevocationListParams {
        this_update: moment(earlier(now, BACKDATED)),
        next_update: moment(now.after(LIST_VALIDITY)),
        // Milliseconds grow, like the numbers of an authority that counts.
        crl_number: SerialNumber::from(now.as_millis()),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(parameters.signed_by(authority)?.pem()?)
}
