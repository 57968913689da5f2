//! As an operator I see a full or failing disk answered with 4xx, and nothing that was
//! acknowledged is lost when it is mended.
use std::fs;
use std::time::Duration;

use crate::powercut;
use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

const FROM: &str = "hugo.oreade@hopital.mssante.test";
const TO: &str = "claire.fontaine@hopital.mssante.test";

async fn fails_with(fault: &str, code: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (demo, platter) = (folder.path().join("demo"), folder.path().join("platter"));
    fs::create_dir_all(&demo).unwrap();
    fs::create_dir_all(&platter).unwrap();
    let trigger = folder.path().join("fault");
    let environment = [
        ("LD_PRELOAD", powercut::shim()),
        ("POWERCUT_SOURCE", &demo),
        ("POWERCUT_PLATTER", &platter),
        ("POWERCUT_FAULT", &trigger),
    ];
    let base = running::free_port_base();
    let running = Running::start_with(&demo, base, &[], &environment);
    let mut kept = Vec::new();
    let send = async |octets: usize| {
        let id = letters::message_id();
        let letter = letters::letter(FROM, TO, &id, octets);
        let mut session = running.submission(0, FROM).await;
        (id, session.send(FROM, &[TO], &letter).await)
    };
    for octets in [1_000, 300_000] {
        let (id, answer) = send(octets).await;
        answer.unwrap();
        kept.push(id);
    }
    fs::write(&trigger, fault).unwrap();
    for octets in [1_000, 300_000] {
        let refusal = send(octets).await.1.unwrap_err().to_string();
        assert!(refusal.contains(code), "{octets} octets should hear {code}: {refusal}");
    }
    fs::remove_file(&trigger).unwrap();
    let mut answer = send(1_000).await;
    for _ in 0..100 {
        if answer.1.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = send(1_000).await;
    }
    answer.1.unwrap();
    kept.push(answer.0);
    for id in &kept {
        assert_eq!(running.arrived(0, TO, id).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_452_and_loses_nothing() {
    fails_with("f", "452 4.3.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_sync_is_451_and_loses_nothing() {
    fails_with("s", "451 4.3.0").await;
}
