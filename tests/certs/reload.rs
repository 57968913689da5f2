//! New files come into use while sessions go on; bad ones do not.
use std::fs;
use std::process::Command;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::House;
use super::days;

const NEVER: &str = "watch_seconds = 86400";

async fn read_some(stream: &mut TlsStream<TcpStream>) -> String {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

#[tokio::test]
async fn a_reload_serves_new_connections_and_leaves_open_sessions_alone() {
    let house = House::serving(NEVER);
    let mut session = house.connect(993).await;
    assert!(read_some(&mut session).await.starts_with("* OK"));
    assert_eq!(
        house.certs(&["reload"]).1.trim(),
        "Nothing has changed: the files hold what is in use."
    );

    house.put("people", &house.issue("next", "people two", days(-1), days(300)));
    for door in [993, 465, 443] {
        assert_eq!(house.shown_at(door).await, "people one", "nobody has said anything yet");
    }
    let (code, said) = house.certs(&["reload"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("The doors of people use the certificate"), "{said}");
    for door in [993, 465, 443] {
        assert_eq!(house.shown_at(door).await, "people two", "{door}");
    }
    session.write_all(b"a NOOP\r\n").await.unwrap();
    assert!(read_some(&mut session).await.starts_with("a OK"), "the session goes on");
}

#[tokio::test]
async fn the_relay_sees_changed_files_by_itself() {
    let house = House::serving("watch_seconds = 1");
    house.put("people", &house.issue("next", "people two", days(-1), days(300)));
    for _ in 0..200 {
        if house.shown_at(443).await == "people two" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("nobody looked at the files");
}

#[tokio::test]
async fn sighup_reads_the_files_and_ends_nothing() {
    let house = House::serving(NEVER);
    let mut session = house.connect(993).await;
    assert!(read_some(&mut session).await.starts_with("* OK"));
    house.put("people", &house.issue("next", "people two", days(-1), days(300)));
    let pid = house.child.as_ref().unwrap().id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    for _ in 0..200 {
        if house.shown_at(993).await == "people two" {
            session.write_all(b"a NOOP\r\n").await.unwrap();
            assert!(read_some(&mut session).await.starts_with("a OK"), "the session goes on");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("SIGHUP did nothing");
}

#[tokio::test]
async fn bad_files_change_nothing_and_are_named() {
    let house = House::serving(NEVER);
    let next = house.issue("next", "people two", days(-1), days(300));
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let good =
        (fs::read(house.path("people.pem")).unwrap(), fs::read(house.path("people.key")).unwrap());
    let anchors = house.pki.ca_file();
    let anchors_before = fs::read(&anchors).unwrap();
    type Spoil<'a> = &'a dyn Fn();
    let spoils: [(&str, &str, Spoil<'_>); 5] = [
        ("people.key", "the key does not fit", &|| {
            fs::copy(&next.certificate, house.path("people.pem")).unwrap();
        }),
        ("people.key", "cannot be read", &|| fs::remove_file(house.path("people.key")).unwrap()),
        ("people.pem", "not an X.509 certificate", &|| {
            fs::write(house.path("people.pem"), rubbish).unwrap();
        }),
        ("ca.pem", "no certificate in it", &|| fs::write(&anchors, "").unwrap()),
        // One good file and one bad one: nothing of it counts.
        ("ca.pem", "no certificate in it", &|| {
            house.put("people", &next);
            fs::write(&anchors, "").unwrap();
        }),
    ];
    for (file, reason, spoil) in spoils {
        spoil();
        let (code, said) = house.certs(&["reload"]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(file) && said.contains(reason), "{file}, {reason}:\n{said}");
        assert_eq!(house.shown_at(993).await, "people one", "{reason}");
        let alarms = house.status()["alarms"].to_string();
        assert!(alarms.contains(reason) && alarms.contains("urgent"), "{alarms}");
        assert!(house.log().contains(reason), "the log names it too");
        fs::write(house.path("people.pem"), &good.0).unwrap();
        fs::write(house.path("people.key"), &good.1).unwrap();
        fs::write(&anchors, &anchors_before).unwrap();
    }
    let (code, said) = house.certs(&["reload"]);
    assert_eq!(code, 0, "{said}");
    assert!(!house.status()["alarms"].to_string().contains("cannot be used"), "mended");
    assert!(!house.log().contains("PRIVATE KEY"));
}

#[tokio::test]
async fn a_good_certificate_is_not_replaced_by_one_that_is_over_or_has_not_begun() {
    let house = House::serving(NEVER);
    for (stem, from, until, reason) in [
        ("old", days(-20), days(-2), "expired since"),
        ("early", days(2), days(20), "not valid before"),
    ] {
        house.put("people", &house.issue(stem, "people two", from, until));
        let (code, said) = house.certs(&["reload"]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(reason), "{said}");
        assert_eq!(house.shown_at(993).await, "people one");
    }
}
