//! An LDAP directory: Debian's slapd, alone and behind the doors of a running relay.
#[path = "apps.rs"]
mod apps;
#[path = "slapd.rs"]
pub(crate) mod slapd;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use vaguemestre::demo::client::Imap;
use vaguemestre::demo::client::Submission;
use vaguemestre::domain::secret::Secret;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::directory::Directory;
use vaguemestre::infra::directory::DirectoryError;
use vaguemestre::infra::directory::Identified;
use vaguemestre::infra::directory::Verdict;
use vaguemestre::infra::directory::ldap::Ldap;
use vaguemestre::infra::directory::ldap::Settings;
use vaguemestre::infra::net;

use self::slapd::Manner;
use self::slapd::Pki;
use self::slapd::SERVICE;
use self::slapd::SERVICE_PASSWORD;
use self::slapd::Slapd;
use self::slapd::proxy;
use crate::support::serving::PASSWORD;
use crate::support::serving::Space;

const HOST: &str = "hopital.mssante.test";
const HUGO: &str = "hugo@hopital.mssante.test";
const CLAIRE: &str = "claire@hopital.mssante.test";
const PAUL: &str = "paul@hopital.mssante.test";

/// A slapd and its certificates.
pub(crate) struct House {
    keep: tempfile::TempDir,
    pub(crate) pki: Pki,
    pub(crate) slapd: Slapd,
}

impl House {
    pub(crate) fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let pki = Pki::new(&keep.path().join("pki"));
        let slapd = Slapd::start(&keep.path().join("slapd"), &pki);
        Self { keep, pki, slapd }
    }

    pub(crate) fn password_file(&self) -> std::path::PathBuf {
        secret(&self.keep.path().join("service.passwd"), SERVICE_PASSWORD)
    }

    pub(crate) fn settings(&self, servers: &[String]) -> Settings {
        let anchors = net::load_anchors(std::slice::from_ref(&self.pki.anchors)).unwrap();
        Settings {
            servers: servers.to_vec(),
            start_tls: true,
            tls: Some(net::towards_servers_tls(None, &anchors).unwrap()),
            bind: Some((SERVICE.to_owned(), self.password_file())),
            base: "ou=people,dc=hopital,dc=test".to_owned(),
            filter:
                "(&(objectClass=inetOrgPerson)(!(employeeType=left))(|(mail={name})(uid={name})))"
                    .to_owned(),
            groups: Vec::new(),
            member_attribute: "member".to_owned(),
            address_attribute: "mail".to_owned(),
            name_attribute: "displayName".to_owned(),
            national_id_attribute: Some("employeeNumber".to_owned()),
            timeout: Duration::from_secs(3),
            connections: 8,
        }
    }

    /// By LDAPS.
    fn ldap(&self) -> Ldap {
        directory(self.settings(&[self.slapd.tls()]))
    }
}

fn directory(settings: Settings) -> Ldap {
    Ldap::new(settings, Arc::new(SystemClock)).unwrap()
}

fn secret(file: &Path, text: &str) -> std::path::PathBuf {
    fs::write(file, format!("{text}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    file.to_owned()
}

async fn ask(ldap: &Ldap, name: &str, password: &str) -> Result<Verdict, DirectoryError> {
    ldap.password(name, &Secret::new(password.to_owned())).await
}

async fn known(ldap: &Ldap, name: &str, password: &str) -> Option<Identified> {
    match ask(ldap, name, password).await.unwrap() {
        Verdict::Known(identified) => Some(identified),
        Verdict::Refused | Verdict::Stranger => None,
    }
}

fn is_away(answer: &Result<Verdict, DirectoryError>) -> bool {
    matches!(answer, Err(DirectoryError::Away { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_who_their_directory_says() {
    let house = House::new();
    let ldap = house.ldap();
    let hugo = known(&ldap, "hugo", "hugo's password").await.unwrap();
    let mailboxes: Vec<String> = hugo.mailboxes.iter().map(ToString::to_string).collect();
    assert_eq!(mailboxes, [HUGO, "cardiologie@hopital.mssante.test"]);
    assert_eq!(hugo.display_name.as_deref(), Some("Dr Hugo LE GALL"));
    assert_eq!(hugo.national_id.as_deref(), Some("810001234567"));
    assert!(known(&ldap, HUGO, "hugo's password").await.is_some());
    assert!(known(&ldap, CLAIRE, "claire's password").await.is_some(), "a name with , and ()");

    assert!(matches!(ask(&ldap, "hugo", "wrong").await, Ok(Verdict::Refused)));
    // RFC 4513 §5.1.2: slapd itself would say yes.
    assert!(matches!(ask(&ldap, "hugo", "").await, Ok(Verdict::Refused)));
    assert!(matches!(ask(&ldap, "nobody", "hugo's password").await, Ok(Verdict::Stranger)));
    assert!(matches!(ask(&ldap, "twin", "twin's password").await, Ok(Verdict::Refused)));
    assert!(matches!(ask(&ldap, "left", "left's password").await, Ok(Verdict::Stranger)));
    assert_eq!(ldap.probe().await, Vec::<String>::new());
}

/// CVE-2026-27860: with such names another directory let people in.
#[tokio::test(flavor = "multi_thread")]
async fn no_login_name_changes_the_question() {
    let house = House::new();
    let ldap = house.ldap();
    let long = "*".repeat(100_000);
    for name in [
        "*",
        "hug*",
        "h\u{fc}go",
        "*)(uid=hugo",
        "hugo)(objectClass=*",
        "hugo))(|(uid=*",
        "nobody)(|(uid=hugo)(uid=hugo)",
        "hugo\0",
        "\0",
        "\\2a",
        "\\68ugo",
        "hugo\\",
        "uid=hugo,ou=people,dc=hopital,dc=test",
        "hugo,ou=people,dc=hopital,dc=test",
        "{name}",
        "(hugo)",
        "&(uid=hugo)",
        "hugo\n",
        "hugo\r\n",
        " ",
        "",
        &long,
    ] {
        for password in ["hugo's password", "twin's password", "claire's password"] {
            let answer = ask(&ldap, name, password).await;
            let is_no = matches!(answer, Ok(Verdict::Stranger | Verdict::Refused));
            assert!(is_no, "{:?} {answer:?}", &name[..name.len().min(40)]);
        }
    }
    // And the directory still serves.
    assert!(known(&ldap, "hugo", "hugo's password").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_a_server_without_tls_or_of_another_authority() {
    let house = House::new();
    let settings = house.settings(&[house.slapd.plain()]);
    assert!(known(&directory(settings), "hugo", "hugo's password").await.is_some(), "StartTLS");

    // Somebody in between takes StartTLS away: "protocolError", success with octets behind, noise.
    let stripped: [&'static [u8]; 4] = [
        b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00",
        b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00",
        b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ];
    for octets in stripped {
        let (address, _) = proxy(house.slapd.ldap, Manner::Says(octets)).await;
        let ldap = directory(house.settings(&[format!("ldap://{address}")]));
        let answer = ask(&ldap, "hugo", "hugo's password").await;
        assert!(is_away(&answer), "{answer:?}");
    }

    let other = Pki::new(&house.keep.path().join("other"));
    let anchors = net::load_anchors(std::slice::from_ref(&other.anchors)).unwrap();
    for server in [house.slapd.tls(), house.slapd.plain()] {
        let tls = Some(net::towards_servers_tls(None, &anchors).unwrap());
        let ldap = directory(Settings { tls, ..house.settings(&[server]) });
        let answer = ask(&ldap, "hugo", "hugo's password").await;
        assert!(is_away(&answer), "{answer:?}");
        let findings = ldap.probe().await.join(" ");
        assert!(findings.contains("ldap.servers") && findings.contains("TLS"), "{findings}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_answers_for_one_that_is_away_until_it_is_back() {
    let mut house = House::new();
    let mut second = Slapd::start(&house.keep.path().join("second"), &house.pki);
    let ldap = directory(house.settings(&[house.slapd.tls(), second.tls()]));
    assert!(known(&ldap, "hugo", "hugo's password").await.is_some());
    house.slapd.kill();
    for _ in 0..3 {
        assert!(known(&ldap, "hugo", "hugo's password").await.is_some(), "the second answers");
    }
    second.kill();
    assert!(is_away(&ask(&ldap, "hugo", "hugo's password").await));
    house.slapd.begin();
    revived(&ldap).await;
    assert!(known(&ldap, "hugo", "hugo's password").await.is_some(), "the first is back");
}

/// As the relay does each second.
async fn revived(ldap: &Ldap) {
    for _ in 0..200 {
        if let Some(Ok(())) = ldap.revive().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the directory does not come back");
}

/// A connection that idled while the server was restarted is no sign that it is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_two_logins_is_not_noticed() {
    let mut house = House::new();
    let ldap = house.ldap();
    assert!(known(&ldap, "hugo", "hugo's password").await.is_some());
    house.slapd.kill();
    house.slapd.begin();
    assert!(known(&ldap, "hugo", "hugo's password").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_slow_silent_or_stops_halfway_costs_one_bounded_wait() {
    let house = House::new();
    for manner in [Manner::Silent, Manner::Slow, Manner::Halfway(5), Manner::Halfway(40)] {
        let (address, taken) = proxy(house.slapd.ldap, manner).await;
        let ldap = Arc::new(directory(Settings {
            start_tls: false,
            tls: None,
            timeout: Duration::from_secs(1),
            ..house.settings(&[format!("ldap://{address}")])
        }));
        let began = tokio::time::Instant::now();
        let mut logins = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let ldap = Arc::clone(&ldap);
            logins.spawn(async move { ask(&ldap, "hugo", "hugo's password").await });
        }
        while let Some(answer) = logins.join_next().await {
            let answer = answer.unwrap();
            assert!(matches!(answer, Err(DirectoryError::Away { .. } | DirectoryError::Busy)));
        }
        let took = began.elapsed();
        // One after the other they would take fifty waits of a second.
        assert!(took < Duration::from_secs(30), "{manner:?}: {took:?}");
        let before = taken.load(Ordering::SeqCst);
        assert!(is_away(&ask(&ldap, "hugo", "hugo's password").await));
        assert_eq!(taken.load(Ordering::SeqCst), before, "{manner:?}: known to be away");
    }
    let (address, _) = proxy(house.slapd.ldap, Manner::Honest).await;
    let honest = directory(Settings {
        start_tls: false,
        tls: None,
        ..house.settings(&[format!("ldap://{address}")])
    });
    assert!(known(&honest, "hugo", "hugo's password").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_in_groups_are_followed_and_a_circle_ends() {
    let house = House::new();
    let of = |group: &str| {
        let groups = vec![format!("CN={group}, ou=Groups,dc=hopital,dc=test")];
        directory(Settings { groups, ..house.settings(&[house.slapd.tls()]) })
    };
    let mss = of("mss");
    assert!(known(&mss, "claire", "claire's password").await.is_some(), "three levels up");
    assert!(known(&mss, "hugo", "hugo's password").await.is_none(), "in a circle, not in it");
    assert!(known(&of("round"), "hugo", "hugo's password").await.is_some());
    assert!(known(&of("round"), "claire", "claire's password").await.is_none());
    assert!(known(&mss, "claire", "wrong").await.is_none());
    let missing = of("gone");
    assert!(known(&missing, "claire", "claire's password").await.is_none());
    assert!(missing.probe().await.join(" ").contains("ldap.groups"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_people_at_once_share_few_connections() {
    let house = House::new();
    let (address, taken) = proxy(house.slapd.ldap, Manner::Honest).await;
    let ldap = Arc::new(directory(Settings {
        start_tls: false,
        tls: None,
        timeout: Duration::from_secs(30),
        ..house.settings(&[format!("ldap://{address}")])
    }));
    let mut logins = tokio::task::JoinSet::new();
    for number in 0..200 {
        let ldap = Arc::clone(&ldap);
        logins.spawn(async move {
            let right = number % 2 == 0;
            let password = if right { "hugo's password" } else { "wrong" };
            known(&ldap, "hugo", password).await.is_some() == right
        });
    }
    while let Some(as_expected) = logins.join_next().await {
        assert!(as_expected.unwrap());
    }
    // One for each person, and at most four of the service.
    let taken = taken.load(Ordering::SeqCst);
    assert!((201..=204).contains(&taken), "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_set_up_is_told_with_the_key_to_mend() {
    let house = House::new();
    let file = house.password_file();
    let servers = [house.slapd.tls()];
    let told = async |settings: Settings| directory(settings).probe().await.join("\n");
    let base = "ou=nowhere,dc=hopital,dc=test".to_owned();
    assert!(told(Settings { base, ..house.settings(&servers) }).await.contains("ldap.base"));
    let wrong = house.settings(&servers);
    fs::write(&file, "wrong\n").unwrap();
    let ldap = directory(wrong);
    assert!(ldap.probe().await.join("\n").contains("ldap.bind_password_file"));
    assert!(is_away(&ask(&ldap, "hugo", "hugo's password").await));
    // The file is read again: whoever mends it restarts nothing.
    let ldap = directory(house.settings(&servers));
    assert!(known(&ldap, "hugo", "hugo's password").await.is_some());
    let empty = secret(&house.keep.path().join("empty"), "");
    let bind = Some((SERVICE.to_owned(), empty));
    let told_empty = told(Settings { bind, ..house.settings(&servers) }).await;
    assert!(told_empty.contains("ldap.bind_password_file"), "{told_empty}");
    let port = slapd::free_port();
    let dead = told(house.settings(&[format!("ldaps://127.0.0.1:{port}")])).await;
    assert!(dead.contains("ldap.servers"), "{dead}");
}

fn refused<T>(answer: anyhow::Result<T>) -> String {
    answer.err().map(|error| error.to_string()).unwrap_or_default()
}

/// Everything at the doors of a relay: Hugo and Claire are known by LDAP, Paul here.
#[tokio::test(flavor = "multi_thread")]
async fn people_of_a_directory_log_in_at_every_door_and_wait_politely_while_it_is_away() {
    let mut house = House::new();
    let space = Space::of(&[HOST]);
    let relay = space.relay(0).with(&format!(
        "[revocation]\nmode = \"off\"\n[login]\ndirectories = [\"ldap\", \"local\"]\ncache_seconds = 1\n\
         [ldap]\nservers = [{:?}]\nanchors = [{:?}]\nbind_dn = {SERVICE:?}\n\
         bind_password_file = {:?}\nbase = \"ou=people,dc=hopital,dc=test\"\ntimeout_seconds = 2\n",
        house.slapd.tls(),
        house.pki.anchors,
        house.password_file(),
    ));
    let relay = relay.start(&[HUGO, CLAIRE, PAUL]);
    let imap = async |user: &str, password: &str| {
        Imap::open(relay.door("imaps"), &relay.tls(), user, password).await
    };
    let smtp = async |user: &str, password: &str| {
        Submission::open(relay.door("submissions"), &relay.tls(), user, password).await
    };
    let mut live = imap(HUGO, "hugo's password").await.unwrap();
    live.command("SELECT INBOX").await.unwrap();
    let mut sender = smtp("hugo", "hugo's password").await.unwrap();
    let letter = format!("From: <{HUGO}>\r\nTo: <{PAUL}>\r\nSubject: LDAP\r\n\r\nBonjour.\r\n");
    sender.send(HUGO, &[PAUL], letter.as_bytes()).await.unwrap();
    imap(PAUL, PASSWORD).await.unwrap();
    // The directory decides about its people, not a password that somebody set here.
    assert!(refused(imap(HUGO, PASSWORD).await).contains("AUTHENTICATIONFAILED"));
    assert!(refused(imap(HUGO, "wrong").await).contains("AUTHENTICATIONFAILED"));
    assert!(refused(imap("nobody", "wrong").await).contains("AUTHENTICATIONFAILED"));
    for (user, password) in [(HUGO, "wrong"), (HUGO, ""), ("*", "hugo's password")] {
        let answer = refused(smtp(user, password).await);
        // An empty password is not even PLAIN (RFC 4616 §2): a fault of syntax.
        let code = if password.is_empty() { "got 5" } else { "got 535" };
        assert!(answer.contains(code), "{user} {password} {answer}");
    }

    house.slapd.kill();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    live.command("NOOP").await.unwrap();
    imap(HUGO, "hugo's password").await.expect("what was right serves on");
    imap(PAUL, PASSWORD).await.expect("others are not kept out");
    let answer = refused(imap(CLAIRE, "claire's password").await);
    assert!(answer.contains("[UNAVAILABLE] The directory does not answer"), "{answer}");
    let answer = refused(smtp(CLAIRE, "claire's password").await);
    assert!(answer.contains("got 454 4.7.0 The directory does not answer"), "{answer}");
    let metrics = metrics_of(relay.door("metrics")).await;
    let away = "vaguemestre_directory_away_since_timestamp_seconds{directory=\"ldap\"} 1";
    assert!(metrics.contains(away), "{metrics}");

    house.slapd.begin();
    house.slapd.modify(
        "dn: uid=hugo,ou=people,dc=hopital,dc=test\nchangetype: modify\nreplace: userPassword\n\
         userPassword: another\n",
    );
    let mut back = false;
    for _ in 0..150 {
        back = imap(CLAIRE, "claire's password").await.is_ok();
        if back {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(back, "it recovers by itself");
    live.command("NOOP").await.unwrap();
    assert!(refused(imap(HUGO, "hugo's password").await).contains("AUTHENTICATIONFAILED"));
    imap(HUGO, "another").await.unwrap();
    let log = relay.log();
    assert!(log.contains("the directory does not answer; its people wait"));
    for secret in ["hugo's password", "claire's password", SERVICE_PASSWORD, "hugo@"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

async fn metrics_of(address: std::net::SocketAddr) -> String {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}
