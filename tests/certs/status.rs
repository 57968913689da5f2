//! What administrators are told, and when.
use std::sync::Arc;

use serde_json::Value;
use vaguemestre::domain::certificate::CertificateFacts;
use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::flow::certificates;
use vaguemestre::flow::certificates::Direction;
use vaguemestre::flow::office::Office;
use vaguemestre::infra::config::Config;
use vaguemestre::relay::Relay;

use super::House;
use super::days;

fn peer(name: &str, serial: &str, until: i64) -> CertificateFacts {
    CertificateFacts {
        subject: OperatorDn::new([("CN", name)]),
        issuer: OperatorDn::new([("CN", "authority")]),
        serial: serial.to_owned(),
        not_before: days(-100),
        not_after: days(until),
    }
}

/// The same program, inside of this one: here its office can be spoken to.
async fn relay(house: &House) -> Relay {
    let config = Config::load(&house.config()).unwrap_or_else(|errors| panic!("{errors:?}"));
    Relay::start(config).await.unwrap()
}

/// `certs status --json` of a relay that runs in this process.
async fn status(house: &Arc<House>) -> Value {
    let house = Arc::clone(house);
    tokio::task::spawn_blocking(move || house.status()).await.unwrap()
}

fn rows<'a>(status: &'a Value, role: &str) -> Vec<&'a Value> {
    let all = status["certificates"].as_array().unwrap();
    all.iter().filter(|row| row["role"] == role).collect()
}

async fn settled(office: &Office) {
    // Commits are in order: when this one is durable, those before it are.
    let mut batch = vaguemestre::infra::store::Batch::new();
    batch.put(b"x/test".to_vec(), b"".to_vec());
    office.store.commit(batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_every_certificate_the_nearest_end_first() {
    let house = Arc::new(House::new(""));
    let running = relay(&house).await;
    let office = running.office();
    certificates::seen(office, &peer("mx.cabinet.test", "0a", 20), Direction::In);
    certificates::seen(office, &peer("mx.cabinet.test", "0a", 20), Direction::Out);
    certificates::seen(office, &peer("mx.labo.test", "0b", -3), Direction::Out);
    certificates::seen(office, &peer("mx.labo.test", "0c", 400), Direction::Out);
    settled(office).await;

    let status = status(&house).await;
    for (role, count) in [
        ("people", 1),
        ("operator", 1),
        ("authority", 2),
        ("anchor", 2),
        ("list-signer", 1),
        ("peer-in", 1),
        ("peer-out", 3),
    ] {
        assert_eq!(rows(&status, role).len(), count, "{role}: {status:#}");
    }
    let ends: Vec<&str> = status["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["until"].as_str().unwrap())
        .collect();
    assert!(ends.is_sorted(), "{ends:?}");
    let first = &status["certificates"][0];
    assert_eq!(
        (&first["subject"], &first["warning"]),
        (&"CN=mx.labo.test".into(), &"expired".into())
    );
    assert_eq!(first["superseded"], true, "the same operator shows a younger one");
    assert_eq!(first["days_left"], -3);
    assert!(first["last_seen"].is_string());
    let signer = rows(&status, "list-signer")[0];
    assert!(signer["subject"].as_str().unwrap().contains("alb.demo.mssante.test"));

    let alarms = status["alarms"].to_string();
    assert!(
        alarms.contains("peer-in certificate 0a of CN=mx.cabinet.test ends in 20 days"),
        "{alarms}"
    );
    assert!(!alarms.contains("labo"), "a certificate that was replaced is nobody's concern");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_spoken_of_60_30_and_7_days_ahead_and_counted_for_machines() {
    for (until, warning, level) in [
        (61, "", None),
        (59, "within 60 days", Some("soon")),
        (29, "within 30 days", Some("soon")),
        (6, "within 7 days", Some("urgent")),
        (-1, "expired", Some("urgent")),
    ] {
        let house = Arc::new(House::new(""));
        house.put("people", &house.issue("near", "people near", days(-90), days(until)));
        let running = relay(&house).await;
        let status = status(&house).await;
        let own = rows(&status, "people")[0];
        assert_eq!(own["warning"], warning, "{until}");
        let alarms = status["alarms"].as_array().unwrap();
        let about = alarms.iter().find(|alarm| alarm["text"].as_str().unwrap().contains("people"));
        assert_eq!(about.map(|alarm| alarm["level"].as_str().unwrap()), level, "{until}");

        certificates::tell(running.office()).await;
        let metrics = running.office().metrics.render();
        let gauge = "vaguemestre_certificate_expiry_seconds{role=\"people\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(gauge)).unwrap();
        let seconds: i64 = line.parse().unwrap();
        assert!((seconds - until * 86_400 - 60).abs() < 120, "{until}: {seconds}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_seen_all_day_is_written_once_and_known_after_a_restart() {
    let house = Arc::new(House::new(""));
    let running = relay(&house).await;
    let office = running.office();
    let rows_of = async |office: &Office| {
        let page = office.store.scan(vaguemestre::infra::store::prefix(b"C/"), 100).await.unwrap();
        let versions = page.rows.iter().map(|(_, row)| row.version);
        versions.collect::<Vec<_>>()
    };
    certificates::seen(office, &peer("mx.cabinet.test", "0a", 20), Direction::In);
    settled(office).await;
    let once = rows_of(office).await;
    for _ in 0..100 {
        certificates::seen(office, &peer("mx.cabinet.test", "0a", 20), Direction::In);
    }
    settled(office).await;
    assert_eq!(rows_of(office).await, once);
    // Long over: forgotten at the next start.
    certificates::seen(office, &peer("mx.gone.test", "0d", -91), Direction::In);
    settled(office).await;
    running.stop().await;

    let running = relay(&house).await;
    let office = running.office();
    certificates::load(office).await.unwrap();
    certificates::seen(office, &peer("mx.cabinet.test", "0a", 20), Direction::In);
    settled(office).await;
    assert_eq!(rows_of(office).await, once, "a restart does not write all again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_urgent_alarms_stand_in_one_letter_and_what_got_no_letter_is_said_again() {
    let house = Arc::new(House::new("[admin]\nalerts_to = \"equipe@hopital.mssante.test\""));
    house.put("people", &house.issue("near", "people near", days(-90), days(5)));
    house.put("mx", &house.issue("mx2", "mx2.hopital.mssante.test", days(-90), days(4)));
    let running = relay(&house).await;
    let office = running.office();
    let raised = || {
        let metrics = office.metrics.render();
        let line = metrics.lines().find_map(|line| line.strip_prefix("vaguemestre_alerts_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    // The watcher tells at the start.
    for _ in 0..100 {
        if raised() > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    certificates::tell(office).await;
    assert_eq!(raised(), 1, "three matters, one letter, and once a day");
    // Another matter within the hour gets no letter of its own, so it was not said.
    house.put("people", &house.issue("nearer", "people nearer", days(-90), days(3)));
    certificates::reload(office, &certificates::Consent::default()).await.unwrap();
    certificates::tell(office).await;
    certificates::tell(office).await;
    assert_eq!(raised(), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_hides_no_other_certificate() {
    let house = Arc::new(House::new(""));
    let running = relay(&house).await;
    let office = running.office();
    certificates::seen(office, &peer("mx.cabinet.test", "0a", 20), Direction::In);
    let mut batch = vaguemestre::infra::store::Batch::new();
    batch.put(b"C/i/damaged".to_vec(), b"\xff\xff".to_vec());
    batch.put(b"C/z/damaged".to_vec(), b"".to_vec());
    office.store.commit(batch).await.unwrap();
    let status = status(&house).await;
    assert_eq!(rows(&status, "peer-in").len(), 1, "{status:#}");
    assert!(status["alarms"].to_string().contains("mx.cabinet.test"), "{status:#}");
    certificates::load(office).await.unwrap();
    running.stop().await;
}
