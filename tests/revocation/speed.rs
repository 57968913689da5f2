//! What a question costs.
use std::time::Duration;

use rcgen::KeyPair;
use vaguemestre::domain::certificate::Standing;

use super::authority::Authority;
use super::authority::USERS;
use super::now;
use super::required;

/// Prints figures; run it with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "prints figures"]
async fn a_question_costs_microseconds_with_a_million_entries() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::root(folder.path(), "root", "AC TEST");
    let leaf = root.issue("leaf", USERS);
    let ca = std::fs::read_to_string(root.folder.join("ca.pem")).unwrap();
    let key = std::fs::read_to_string(root.folder.join("ca.key")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&ca, KeyPair::from_pem(&key).unwrap()).unwrap();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let moment = |seconds: u64| epoch + Duration::from_secs(seconds);
    let seconds = now().as_seconds();
    let entry = |number: u64| rcgen::RevokedCertParams {
        serial_number: rcgen::SerialNumber::from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        revocation_time: moment(seconds),
        reason_code: Some(rcgen::RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    for entries in [0, 1_000, 1_000_000] {
        let list = rcgen::CertificateRevocationListParams {
            this_update: moment(seconds - 60),
            next_update: moment(seconds + 86_400),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: (1..=entries).map(entry).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let file = folder.path().join("list.crl");
        let der = list.signed_by(&issuer).unwrap();
        std::fs::write(&file, der.der()).unwrap();
        let (start, path) = (now(), root.path(&leaf));
        let revocation = required(folder.path(), &[file]);
        let read = now().since(start);
        let start = now();
        assert_eq!(revocation.check(&path, now()).await.standing, Standing::Good);
        let first = now().since(start);
        let (start, rounds, moment) = (now(), 100_000_u32, now());
        for _ in 0..rounds {
            let evidence = revocation.check(&path, moment).await;
            assert_eq!(evidence.standing, Standing::Good);
        }
        let each = now().since(start) / rounds;
        println!(
            "{entries} entries, {} octets: read in {read:?}, first {first:?}, then {each:?}",
            der.der().len()
        );
    }
}
