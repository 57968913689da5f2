//! Servers that are slow, silent, forbidding or wrong: who is asked how often, and what counts.
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use tempfile::TempDir;
use vaguemestre::domain::certificate::RevocationEvidence;
use vaguemestre::domain::certificate::Standing;
use vaguemestre::domain::limits::CRL_OCTETS_MAX;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::revocation::Mode;
use vaguemestre::infra::revocation::Revocation;
use vaguemestre::infra::revocation::Settings;

use super::DAY;
use super::HOUR;
use super::authority::Authority;
use super::authority::Issued;
use super::authority::USERS;
use super::authority::to_der;
use super::now;
use super::required;
use super::server::Manner;
use super::server::Server;
use super::settings;

/// An authority whose certificates name a server.
struct Served {
    folder: TempDir,
    root: Authority,
    leaf: Issued,
    server: Server,
}

async fn served() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Manner::Forbids).await;
    let root = Authority::root(folder.path(), "root", "AC TEST");
    let ldap = "URI:ldap://127.0.0.1/cn=x?certificateRevocationList";
    let extensions = format!("{USERS}crlDistributionPoints={ldap},URI:{}\n", server.url);
    let leaf = root.issue("leaf", &extensions);
    Served { folder, root, leaf, server }
}

impl Served {
    fn list(&self) -> Vec<u8> {
        to_der(&self.root.folder, &self.root.list())
    }

    fn revocation(&self) -> Revocation {
        required(self.folder.path(), &[])
    }

    async fn check(&self, revocation: &Revocation, now: Timestamp) -> RevocationEvidence {
        revocation.check(&self.root.path(&self.leaf), now).await
    }
}

#[tokio::test]
async fn two_hundred_callers_make_one_request() {
    let served = served().await;
    served.server.now(Manner::Slow(Duration::from_millis(300), served.list()));
    let revocation = Arc::new(served.revocation());
    let path = served.root.path(&served.leaf);
    let checks: Vec<_> = (0..200)
        .map(|_| {
            let (revocation, path) = (Arc::clone(&revocation), path.clone());
            tokio::spawn(async move { revocation.check(&path, now()).await })
        })
        .collect();
    for check in checks {
        let evidence = check.await.unwrap();
        assert_eq!(evidence.standing, Standing::Good, "{}", evidence.trouble);
        assert_eq!(evidence.source, served.server.url);
        assert!(evidence.fetched.is_some());
    }
    assert_eq!(served.server.requests(), 1);
}

#[tokio::test]
async fn two_hundred_callers_of_a_forbidding_server_make_one_request() {
    let served = served().await;
    let revocation = Arc::new(served.revocation());
    let path = served.root.path(&served.leaf);
    let checks: Vec<_> = (0..200)
        .map(|_| {
            let (revocation, path) = (Arc::clone(&revocation), path.clone());
            tokio::spawn(async move { revocation.check(&path, now()).await })
        })
        .collect();
    for check in checks {
        let evidence = check.await.unwrap();
        assert_eq!(evidence.standing, Standing::Unknown);
        assert!(evidence.trouble.contains("HTTP 403"), "{}", evidence.trouble);
        assert!(evidence.trouble.contains(&served.server.url), "{}", evidence.trouble);
    }
    assert_eq!(served.server.requests(), 1);
}

#[tokio::test]
async fn what_is_no_list_is_told_and_not_asked_for_again_at_once() {
    let served = served().await;
    let page = b"<!DOCTYPE html><html><body>Too many requests</body></html>".to_vec();
    let mut forged = served.list();
    *forged.last_mut().unwrap() ^= 1;
    let impostor = Authority::root(served.folder.path(), "impostor", "AC TEST");
    let pem_twice = [served.root.list(), served.root.list()].concat();
    for (manner, because) in [
        (Manner::Forbids, "HTTP 403"),
        (Manner::Sends(page), "a page instead of a CRL"),
        (Manner::Sends(Vec::new()), "the CRL"),
        (Manner::Sends(b"-----BEGIN nothing".to_vec()), "CRL"),
        (Manner::Sends(pem_twice), "not one CRL"),
        (Manner::Sends(vec![0x30; 1_000]), "the CRL"),
        (Manner::Sends(vec![0x30; CRL_OCTETS_MAX + 1]), "octets"),
        (Manner::Sends(forged), "the signature is wrong"),
        (Manner::Sends(to_der(&impostor.folder, &impostor.list())), "the signature is wrong"),
    ] {
        served.server.now(manner);
        let revocation = served.revocation();
        let before = served.server.requests();
        for _ in 0..3 {
            let evidence = served.check(&revocation, now()).await;
            assert_eq!(evidence.standing, Standing::Unknown, "{because}");
            assert!(evidence.trouble.contains(because), "{}: {because}", evidence.trouble);
        }
        assert_eq!(served.server.requests() - before, 1, "{because}");
        assert!(revocation.lists().is_empty(), "{because}");
    }
}

#[tokio::test]
async fn a_slow_server_costs_its_caller_the_time_limit_once() {
    let served = served().await;
    served.server.now(Manner::Slow(Duration::from_secs(60), served.list()));
    let timeout = Duration::from_millis(500);
    let settings = Settings { timeout, ..settings(served.folder.path(), &[]) };
    let revocation = Revocation::new(settings);
    let start = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let evidence = served.check(&revocation, now()).await;
    let waited = SystemTime::UNIX_EPOCH.elapsed().unwrap() - start;
    assert_eq!(evidence.standing, Standing::Unknown);
    // The server would take a minute; how busy this machine is decides the rest.
    assert!(waited >= timeout && waited < Duration::from_secs(30), "{waited:?}");
    // The question itself ends at the same moment; then the server is left alone.
    tokio::time::sleep(timeout).await;
    let evidence = served.check(&revocation, now()).await;
    assert!(evidence.trouble.contains(&served.server.url), "{}", evidence.trouble);
    assert_eq!(served.server.requests(), 1);
}

#[tokio::test]
async fn a_failing_server_is_asked_less_and_less_and_found_again() {
    let served = served().await;
    let revocation = served.revocation();
    let start = now();
    let mut asked_at = Vec::new();
    for minute in 0..180 {
        let before = served.server.requests();
        let moment = start.after(Duration::from_secs(60 * minute));
        let evidence = served.check(&revocation, moment).await;
        assert_eq!(evidence.standing, Standing::Unknown);
        if served.server.requests() > before {
            asked_at.push(minute);
        }
    }
    assert!((6..=11).contains(&asked_at.len()), "{asked_at:?}");
    let waits: Vec<u64> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.first() < waits.last() && waits.iter().all(|wait| *wait <= 76), "{waits:?}");

    served.server.now(Manner::Sends(served.list()));
    let evidence = served.check(&revocation, start.after(5 * HOUR)).await;
    assert_eq!(evidence.standing, Standing::Good, "{}", evidence.trouble);
    // It failed before, and that is forgotten: the next failure waits for the shortest time.
    served.server.now(Manner::Forbids);
    let late = start.after(DAY + 5 * HOUR);
    assert_eq!(served.check(&revocation, late).await.standing, Standing::Unknown);
    let before = served.server.requests();
    let _ = served.check(&revocation, late.after(Duration::from_secs(60))).await;
    assert_eq!(served.server.requests() - before, 1);
}

#[tokio::test]
async fn a_list_in_hand_bridges_an_outage_until_the_grace_ends() {
    let served = served().await;
    served.server.now(Manner::Sends(served.list()));
    let revocation = served.revocation();
    let start = now();
    assert_eq!(served.check(&revocation, start).await.standing, Standing::Good);
    served.server.now(Manner::Forbids);

    let evidence = served.check(&revocation, start.after(DAY + HOUR)).await;
    assert_eq!(evidence.standing, Standing::Good);
    assert!(evidence.in_grace);
    assert!(evidence.trouble.contains("HTTP 403"), "{}", evidence.trouble);
    assert!(evidence.ends.unwrap() < start.after(DAY + HOUR));

    let evidence = served.check(&revocation, start.after(DAY + 5 * HOUR)).await;
    assert_eq!(evidence.standing, Standing::Unknown);
    assert!(!evidence.in_grace);

    let settings = Settings { mode: Mode::IfAvailable, ..settings(served.folder.path(), &[]) };
    let evidence = served.check(&Revocation::new(settings), start.after(2 * DAY)).await;
    assert_eq!(evidence.standing, Standing::NotAsked);
    assert!(evidence.trouble.contains("HTTP 403"), "{}", evidence.trouble);
}

#[tokio::test]
async fn a_restart_asks_nobody() {
    let served = served().await;
    served.server.now(Manner::Sends(served.list()));
    assert_eq!(served.check(&served.revocation(), now()).await.standing, Standing::Good);
    assert_eq!(served.server.requests(), 1);

    let again = served.revocation();
    assert_eq!(again.lists().len(), 1);
    let evidence = served.check(&again, now()).await;
    assert_eq!(
        (evidence.standing, evidence.source.as_str()),
        (Standing::Good, &*served.server.url)
    );
    assert_eq!(served.server.requests(), 1);
    assert_eq!(again.lists()[0].trouble, "");
}

#[tokio::test]
async fn a_kept_list_that_somebody_changed_is_fetched_again() {
    let served = served().await;
    served.server.now(Manner::Sends(served.list()));
    assert_eq!(served.check(&served.revocation(), now()).await.standing, Standing::Good);
    let kept = std::fs::read_dir(served.folder.path().join("kept")).unwrap().next().unwrap();
    let kept = kept.unwrap().path();
    let text = std::fs::read_to_string(&kept).unwrap();
    let impostor = Authority::root(served.folder.path(), "impostor", "AC TEST");
    let (head, _) = text.split_at(text.find("-----BEGIN").unwrap());
    let list = String::from_utf8(impostor.list_with("", &["-crldays", "900"])).unwrap();
    std::fs::write(&kept, format!("{head}{list}")).unwrap();
    let evidence = served.check(&served.revocation(), now()).await;
    assert_eq!(evidence.standing, Standing::Good, "{}", evidence.trouble);
    assert_eq!(served.server.requests(), 2);

    std::fs::write(&kept, "rubbish").unwrap();
    let evidence = served.check(&served.revocation(), now()).await;
    assert_eq!(evidence.standing, Standing::Good, "{}", evidence.trouble);
    assert_eq!(served.server.requests(), 3);
}

#[tokio::test]
async fn an_ageing_list_is_renewed_while_it_serves() {
    let served = served().await;
    served.server.now(Manner::Sends(served.list()));
    let revocation = served.revocation();
    let start = now();
    assert_eq!(served.check(&revocation, start).await.standing, Standing::Good);
    assert_eq!(served.check(&revocation, start.after(HOUR / 2)).await.standing, Standing::Good);
    assert_eq!(served.server.requests(), 1, "it is young");

    served.root.revoke(&served.leaf);
    served.server.now(Manner::Slow(Duration::from_millis(200), served.list()));
    let later = start.after(2 * HOUR);
    let evidence = served.check(&revocation, later).await;
    assert_eq!(evidence.standing, Standing::Good, "nobody waits for the renewal");
    for _ in 0..100 {
        if let Standing::Revoked(_) = served.check(&revocation, later).await.standing {
            assert_eq!(served.server.requests(), 2);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the younger list never came to count");
}

#[tokio::test]
async fn a_server_that_says_unchanged_has_renewed_the_list() {
    let served = served().await;
    served.server.now(Manner::SendsOnce(served.list()));
    let revocation = served.revocation();
    let start = now();
    let first = served.check(&revocation, start).await;
    let later = start.after(2 * HOUR);
    for _ in 0..100 {
        let evidence = served.check(&revocation, later).await;
        assert_eq!(evidence.standing, Standing::Good);
        assert_eq!(evidence.made, first.made);
        if evidence.fetched == Some(later) {
            assert_eq!(served.server.requests(), 2);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the list was never renewed");
}

#[tokio::test]
async fn a_list_of_yesterday_does_not_replace_todays() {
    let served = served().await;
    let yesterday = served.list();
    served.root.revoke(&served.leaf);
    served.server.now(Manner::Sends(served.list()));
    let revocation = served.revocation();
    let start = now();
    assert!(matches!(served.check(&revocation, start).await.standing, Standing::Revoked(_)));
    served.server.now(Manner::Sends(yesterday));
    for hours in 1..30 {
        let evidence = served.check(&revocation, start.after(hours * HOUR)).await;
        assert!(matches!(evidence.standing, Standing::Revoked(_)), "{evidence:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(served.server.requests() > 1);
}

#[tokio::test]
async fn a_list_that_its_point_and_the_certificate_name_counts() {
    let served = served().await;
    let point = |url: &str| {
        format!("issuingDistributionPoint = critical,@idp\n[idp]\nfullname = URI:{url}\n")
    };
    let other = point("http://127.0.0.1/other.crl");
    let other = to_der(&served.root.folder, &served.root.list_with(&other, &[]));
    served.server.now(Manner::Sends(other));
    let evidence = served.check(&served.revocation(), now()).await;
    assert_eq!(evidence.standing, Standing::Unknown);
    assert!(evidence.trouble.contains("of another distribution point"), "{}", evidence.trouble);

    let right = served.root.list_with(&point(&served.server.url), &[]);
    served.server.now(Manner::Sends(to_der(&served.root.folder, &right)));
    std::fs::remove_dir_all(served.folder.path().join("kept")).unwrap();
    let evidence = served.check(&served.revocation(), now()).await;
    assert_eq!(evidence.standing, Standing::Good, "{}", evidence.trouble);
}

#[tokio::test]
async fn nobody_is_asked_when_that_is_forbidden() {
    let served = served().await;
    served.server.now(Manner::Sends(served.list()));
    let settings = Settings { crl: false, ..settings(served.folder.path(), &[]) };
    let evidence = served.check(&Revocation::new(settings), now()).await;
    assert_eq!(evidence.standing, Standing::Unknown);
    assert!(evidence.trouble.contains("revocation.crl_files"), "{}", evidence.trouble);
    assert_eq!(served.server.requests(), 0);
}

#[tokio::test]
async fn a_list_over_a_slow_line_comes_for_those_who_ask_later() {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    let folder = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/list.crl", listener.local_addr().unwrap());
    let root = Authority::root(folder.path(), "root", "AC TEST");
    let leaf = root.issue("leaf", &format!("{USERS}crlDistributionPoints=URI:{url}\n"));
    let list = to_der(&root.folder, &root.list());
    let timeout = Duration::from_millis(500);
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4_096];
        let _ = stream.read(&mut request).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", list.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        for piece in list.chunks(list.len().div_ceil(8)) {
            tokio::time::sleep(timeout / 4).await;
            stream.write_all(piece).await.unwrap();
        }
    });
    let revocation = Revocation::new(Settings { timeout, ..settings(folder.path(), &[]) });
    let path = root.path(&leaf);
    let evidence = revocation.check(&path, now()).await;
    assert_eq!(evidence.standing, Standing::Unknown, "no caller waits for longer than before");
    serving.await.unwrap();
    for _ in 0..100 {
        let evidence = revocation.check(&path, now()).await;
        if evidence.standing == Standing::Good {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the list never came: {}", revocation.check(&path, now()).await.trouble);
}
