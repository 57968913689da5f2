//! Two real relays that know of each other by the DNS alone.
use std::fs;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use super::nameserver::NameServer;
use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

const FROM: &str = "hugo.oreade@hopital.mssante.test";
const THERE: &str = "paul.verdier@cabinet.mssante.test";

/// One relay, run by `serve`.
struct Relay(Child);

impl Relay {
    fn serve(demo: &Running, operator: usize) -> Self {
        let config = demo.json["operators"][operator]["config"].as_str().unwrap();
        let log = fs::File::create(demo.folder.join(format!("serve{operator}.txt"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(["serve", "--config", config])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let relay = Self(child);
        for _ in 0..600 {
            if std::net::TcpStream::connect(demo.door(operator, "imaps")).is_ok() {
                return relay;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the relay does not start");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The hospital has no route to the practice and asks this server instead.
fn forget_routes(demo: &Running, server: &NameServer) {
    let config = demo.json["operators"][0]["config"].as_str().unwrap();
    let text = fs::read_to_string(config).unwrap();
    let (before, rest) = text.split_once("[mx.routes]\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let before = before.replace("lookup = false", &format!("port = {}", demo.port(1, "mx")));
    let dns = format!("[dns]\nservers = [\"{}\"]\n\n", server.address());
    fs::write(config, format!("{before}{dns}{after}")).unwrap();
}

async fn send(demo: &Running, id: &str) {
    let mut submission = demo.submission(0, FROM).await;
    submission.send(FROM, &[THERE], &letters::letter(FROM, THERE, id, 2_000)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_finds_the_second_host_of_a_domain_and_a_null_mx_returns_it() {
    let server = NameServer::start().await;
    let domain = "cabinet.mssante.test.";
    server.mx(domain, 10, "mx1.cabinet.test.");
    server.mx(domain, 20, "mx2.cabinet.test.");
    // Nobody listens on the second loopback address.
    server.host("mx1.cabinet.test.", "127.0.0.2");
    server.host("mx2.cabinet.test.", "127.0.0.1");
    server.ttl(0);
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Running::start(folder.path(), running::free_port_base(), &[]);
    assert!(demo.terminate().success());
    forget_routes(&demo, &server);
    let relays = [Relay::serve(&demo, 0), Relay::serve(&demo, 1)];
    let id = letters::message_id();
    send(&demo, &id).await;
    assert_eq!(demo.arrived(1, THERE, &id).await, 1);

    server.forget(domain);
    server.mx(domain, 0, ".");
    server.ttl(0);
    send(&demo, &letters::message_id()).await;
    let mut imap = demo.imap(0, FROM).await;
    for _ in 0..300 {
        imap.command("SELECT INBOX").await.unwrap();
        let found = imap.command("FETCH 1:* BODY.PEEK[]").await.unwrap_or_default().concat();
        let found = String::from_utf8_lossy(&found).into_owned();
        if found.contains("Action: failed") {
            assert!(found.contains("Status: 5.1.10"), "{found}");
            drop(relays);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody was told");
}
