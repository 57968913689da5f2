//! OCSP: the `openssl ocsp` responder, and answers that must not count.
use std::net::SocketAddr;
use std::time::Duration;
use std::time::SystemTime;

use tempfile::TempDir;
use vaguemestre::domain::certificate::RevocationEvidence;
use vaguemestre::domain::certificate::Standing;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::revocation::Mode;
use vaguemestre::infra::revocation::Revocation;
use vaguemestre::infra::revocation::Settings;

use super::DAY;
use super::HOUR;
use super::authority::Authority;
use super::authority::Issued;
use super::authority::Responder;
use super::authority::USERS;
use super::authority::free_address;
use super::authority::openssl;
use super::authority::to_der;
use super::now;
use super::required;
use super::server::Manner;
use super::server::Server;
use super::settings;

const DELEGATE: &str = "keyUsage=critical,digitalSignature\n\
     extendedKeyUsage=OCSPSigning\nnoCheck=ignored\n";

/// An authority whose certificates name a responder, and one of them.
struct Asked {
    folder: TempDir,
    root: Authority,
    leaf: Issued,
    address: SocketAddr,
}

fn asked() -> Asked {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let root = Authority::root(folder.path(), "root", "AC TEST");
    let leaf = root.issue("leaf", &format!("{USERS}{}", access(&url(address))));
    Asked { folder, root, leaf, address }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/ocsp")
}

fn access(url: &str) -> String {
    format!("authorityInfoAccess=OCSP;URI:{url}\n")
}

impl Asked {
    fn revocation(&self) -> Revocation {
        required(self.folder.path(), &[])
    }

    async fn check_at(&self, revocation: &Revocation, now: Timestamp) -> RevocationEvidence {
        revocation.check(&self.root.path(&self.leaf), now).await
    }

    async fn check(&self) -> RevocationEvidence {
        self.check_at(&self.revocation(), now()).await
    }

    fn respond(&self, signer: &Issued, more: &[&str]) -> Responder {
        Responder::start(&self.root, self.address, signer, more)
    }

    async fn refuses(&self, because: &str) {
        let evidence = self.check().await;
        assert_eq!(evidence.standing, Standing::Unknown, "{because}");
        assert!(evidence.trouble.contains(because), "{}: {because}", evidence.trouble);
    }
}

#[tokio::test]
async fn the_issuer_itself_answers() {
    let asked = asked();
    let responder = asked.respond(&asked.root.itself(), &["-ndays", "1"]);
    let revocation = asked.revocation();
    let start = now();
    let evidence = asked.check_at(&revocation, start).await;
    assert_eq!(evidence.standing, Standing::Good, "{}", evidence.trouble);
    assert_eq!(evidence.source, url(asked.address));
    assert_eq!(evidence.ends.unwrap().since(evidence.made.unwrap()), DAY);
    assert_eq!(evidence.fetched, Some(start));

    // The answer in hand serves when the responder is gone, to its end and the grace.
    drop(responder);
    for (hours, standing, in_grace) in
        [(23, Standing::Good, false), (26, Standing::Good, true), (29, Standing::Unknown, false)]
    {
        let evidence = asked.check_at(&revocation, start.after(hours * HOUR)).await;
        assert_eq!((evidence.standing, evidence.in_grace), (standing, in_grace), "{hours}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_counts_until_it_would_be_renewed() {
    let asked = asked();
    let responder = asked.respond(&asked.root.itself(), &[]);
    let settings = Settings { grace: Duration::ZERO, ..settings(asked.folder.path(), &[]) };
    let revocation = Revocation::new(settings);
    let evidence = asked.check_at(&revocation, now()).await;
    assert_eq!((evidence.standing, evidence.ends), (Standing::Good, None), "{}", evidence.trouble);
    drop(responder);
    let soon = asked.check_at(&revocation, now().after(HOUR / 2)).await;
    assert_eq!(soon.standing, Standing::Good);
    let late = asked.check_at(&revocation, now().after(2 * HOUR)).await;
    assert_eq!(late.standing, Standing::Unknown);
}

#[tokio::test]
async fn a_delegate_answers_and_revoked_is_revoked_in_every_mode() {
    let asked = asked();
    let delegate = asked.root.issue("delegate", DELEGATE);
    asked.root.revoke(&asked.leaf);
    for more in [&["-ndays", "1"][..], &["-ndays", "1", "-resp_key_id"]] {
        let _responder = asked.respond(&delegate, more);
        for mode in [Mode::Required, Mode::IfAvailable] {
            let settings = Settings { mode, ..settings(asked.folder.path(), &[]) };
            let evidence = asked.check_at(&Revocation::new(settings), now()).await;
            let Standing::Revoked(since) = evidence.standing else { panic!("{evidence:?}") };
            assert!(now().since(since) < HOUR);
        }
    }
}

#[tokio::test]
async fn a_delegate_without_the_purpose_answers_nothing() {
    let asked = asked();
    let false_delegate = asked.root.issue("false", USERS);
    let _responder = asked.respond(&false_delegate, &["-ndays", "1"]);
    asked.refuses("not for OCSP").await;
}

#[tokio::test]
async fn a_delegate_of_another_issuer_answers_nothing() {
    let asked = asked();
    let other = Authority::root(asked.folder.path(), "other", "AC AUTRE");
    let responder = asked.respond(&other.issue("delegate", DELEGATE), &["-ndays", "1"]);
    asked.refuses("of another issuer").await;
    drop(responder);
    // One name, two authorities: the signature tells them apart.
    let impostor = Authority::root(asked.folder.path(), "impostor", "AC TEST");
    let delegate = impostor.issue("delegate", DELEGATE);
    let responder = asked.respond(&delegate, &["-ndays", "1"]);
    asked.refuses("the signature is wrong").await;
    drop(responder);
    let _responder = asked.respond(&impostor.itself(), &["-ndays", "1"]);
    asked.refuses("the signature is wrong").await;
}

#[tokio::test]
async fn a_delegate_that_a_list_in_hand_revokes_answers_nothing() {
    let asked = asked();
    let delegate = asked.root.issue("delegate", DELEGATE);
    asked.root.revoke(&delegate);
    let list = asked.root.list_with("authorityKeyIdentifier = keyid", &["-crlsec", "1"]);
    let file = asked.folder.path().join("crl");
    std::fs::write(&file, list).unwrap();
    let _responder = asked.respond(&delegate, &["-ndays", "1"]);
    let settings = Settings { grace: Duration::ZERO, ..settings(asked.folder.path(), &[file]) };
    let later = now().after(Duration::from_secs(60));
    let evidence = asked.check_at(&Revocation::new(settings), later).await;
    assert_eq!(evidence.standing, Standing::Unknown);
    assert!(evidence.trouble.contains("certificate is revoked"), "{}", evidence.trouble);
}

#[tokio::test]
async fn an_expired_delegate_answers_nothing() {
    let asked = asked();
    let delegate = asked.root.issue("delegate", DELEGATE);
    let _responder = asked.respond(&delegate, &["-ndays", "2000"]);
    let evidence = asked.check_at(&asked.revocation(), now().after(1_200 * DAY)).await;
    assert_eq!(evidence.standing, Standing::Unknown);
    assert!(evidence.trouble.contains("not valid now"), "{}", evidence.trouble);
}

#[tokio::test]
async fn an_answer_that_has_ended_when_it_comes_is_no_answer() {
    let asked = asked();
    let _responder = asked.respond(&asked.root.itself(), &["-nmin", "1"]);
    let evidence = asked.check_at(&asked.revocation(), now().after(Duration::from_secs(90))).await;
    assert_eq!(evidence.standing, Standing::Unknown);
    assert!(evidence.trouble.contains("ended on"), "{}", evidence.trouble);
    let yesterday = Timestamp::from_millis(now().as_millis() - 86_400_000);
    let evidence = asked.check_at(&asked.revocation(), yesterday).await;
    assert_eq!(evidence.standing, Standing::Unknown);
    assert!(evidence.trouble.contains("of the future"), "{}", evidence.trouble);
}

#[tokio::test]
async fn a_responder_of_another_authority_answers_nothing() {
    let asked = asked();
    let other = Authority::root(asked.folder.path(), "other", "AC AUTRE");
    let more = ["-ndays", "1"];
    let _responder = Responder::start(&other, asked.address, &other.itself(), &more);
    asked.refuses(&url(asked.address)).await;
}

#[tokio::test]
async fn who_is_unknown_to_the_responder_may_be_known_to_the_list() {
    let asked = asked();
    let server = Server::start(Manner::Sends(to_der(&asked.root.folder, &asked.root.list()))).await;
    let both = format!("{}crlDistributionPoints=URI:{}\n", access(&url(asked.address)), server.url);
    let with_list = asked.root.issue("both", &format!("{USERS}{both}"));
    // The responder's book is empty: it knows nobody.
    std::fs::write(asked.root.folder.join("index.txt"), "").unwrap();
    let _responder = asked.respond(&asked.root.itself(), &["-ndays", "1"]);
    asked.refuses("does not know the certificate").await;
    let revocation = asked.revocation();
    let evidence = revocation.check(&asked.root.path(&with_list), now()).await;
    assert_eq!((evidence.standing, evidence.source), (Standing::Good, server.url.clone()));
}

#[tokio::test]
async fn a_slow_responder_gives_way_to_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let responder = Server::start(Manner::Slow(Duration::from_secs(60), Vec::new())).await;
    let server = Server::start(Manner::Forbids).await;
    let root = Authority::root(folder.path(), "root", "AC TEST");
    let point = format!("crlDistributionPoints=URI:{}\n", server.url);
    let leaf = root.issue("leaf", &format!("{USERS}{}{point}", access(&responder.url)));
    server.now(Manner::Sends(to_der(&root.folder, &root.list())));
    let start = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let evidence = required(folder.path(), &[]).check(&root.path(&leaf), now()).await;
    let waited = SystemTime::UNIX_EPOCH.elapsed().unwrap() - start;
    assert_eq!((evidence.standing, evidence.source), (Standing::Good, server.url.clone()));
    assert!(waited < Duration::from_secs(30), "{waited:?}");
    assert_eq!(responder.requests(), 1);
}

#[tokio::test]
async fn a_slow_responder_alone_ends_in_nobody_knows_and_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let responder = Server::start(Manner::Slow(Duration::from_secs(60), Vec::new())).await;
    let root = Authority::root(folder.path(), "root", "AC TEST");
    let extensions = format!("{USERS}{}", access(&responder.url));
    let leaves = [root.issue("one", &extensions), root.issue("two", &extensions)];
    let timeout = Duration::from_millis(400);
    let revocation = Revocation::new(Settings { timeout, ..settings(folder.path(), &[]) });
    let evidence = revocation.check(&root.path(&leaves[0]), now()).await;
    assert_eq!(evidence.standing, Standing::Unknown);
    tokio::time::sleep(timeout).await;
    // A server that is silent about one certificate is not asked about the next one at once.
    let evidence = revocation.check(&root.path(&leaves[1]), now()).await;
    assert_eq!(evidence.standing, Standing::Unknown);
    assert!(evidence.trouble.contains(&responder.url), "{}", evidence.trouble);
    assert_eq!(responder.requests(), 1);
}

#[tokio::test]
async fn many_questions_to_one_silent_responder_are_one_failure() {
    let folder = tempfile::tempdir().unwrap();
    let responder = Server::start(Manner::Slow(Duration::from_secs(60), Vec::new())).await;
    let root = Authority::root(folder.path(), "root", "AC TEST");
    let extensions = format!("{USERS}{}", access(&responder.url));
    let leaves = (0..12).map(|number| root.issue(&format!("l{number}"), &extensions));
    let paths: Vec<_> = leaves.map(|leaf| root.path(&leaf)).collect();
    let timeout = Duration::from_millis(400);
    let settings = Settings { timeout, ..settings(folder.path(), &[]) };
    let revocation = std::sync::Arc::new(Revocation::new(settings));
    let start = now();
    let mut asking = tokio::task::JoinSet::new();
    for path in paths.clone() {
        let revocation = std::sync::Arc::clone(&revocation);
        asking.spawn(async move { revocation.check(&path, start).await });
    }
    while let Some(evidence) = asking.join_next().await {
        assert_eq!(evidence.unwrap().standing, Standing::Unknown);
    }
    tokio::time::sleep(timeout).await;
    let before = responder.requests();
    assert_eq!(before, 12, "each asked about its own certificate");
    // Twelve failures in a row would be an hour of silence; one is less than a minute.
    let _ = revocation.check(&paths[0], start.after(Duration::from_secs(50))).await;
    assert_eq!(responder.requests() - before, 1);
}

#[tokio::test]
async fn answers_that_are_none_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Manner::Forbids).await;
    let root = Authority::root(folder.path(), "root", "AC TEST");
    let extensions = format!("{USERS}{}", access(&server.url));
    let (leaf, other) = (root.issue("leaf", &extensions), root.issue("other", &extensions));
    // A good answer, about somebody else: a thief would replay it.
    let files = ["leaf", "other"].map(|name| {
        let (certificate, answer) = (format!("{name}.pem"), format!("{name}.answer"));
        let fixed = "ocsp -index index.txt -CA ca.pem -rsigner ca.pem -rkey ca.key -ndays 1 \
                     -issuer ca.pem -reqout question -cert";
        let mut arguments: Vec<&str> = fixed.split_whitespace().collect();
        arguments.push(&certificate);
        openssl(&root.folder, &arguments);
        let fixed = "ocsp -index index.txt -CA ca.pem -rsigner ca.pem -rkey ca.key -ndays 1 \
                     -reqin question -respout";
        let mut arguments: Vec<&str> = fixed.split_whitespace().collect();
        arguments.push(&answer);
        openssl(&root.folder, &arguments);
        std::fs::read(root.folder.join(answer)).unwrap()
    });
    let [ours, theirs] = files;
    let mut forged = ours.clone();
    // In the signed part; the last octets are a certificate that nobody needs.
    forged[100] ^= 1;
    for (manner, because) in [
        (Manner::Forbids, "HTTP 403"),
        (Manner::Sends(b"<html>please wait</html>".to_vec()), "a page instead"),
        (Manner::Sends(Vec::new()), "OCSP answer"),
        (Manner::Sends(vec![0; 65_537]), "octets"),
        (Manner::Sends(vec![0x30, 3, 0x0a, 1, 1]), "cannot read the question"),
        (Manner::Sends(vec![0x30, 3, 0x0a, 1, 2]), "internal error"),
        (Manner::Sends(vec![0x30, 3, 0x0a, 1, 3]), "try later"),
        (Manner::Sends(vec![0x30, 3, 0x0a, 1, 6]), "does not answer for this certificate"),
        (Manner::Sends(theirs), "about other certificates"),
        (Manner::Sends(forged), ""),
    ] {
        server.now(manner);
        let revocation = required(folder.path(), &[]);
        let before = server.requests();
        for _ in 0..3 {
            let evidence = revocation.check(&root.path(&leaf), now()).await;
            assert_eq!(evidence.standing, Standing::Unknown, "{because}");
            assert!(evidence.trouble.contains(because), "{}: {because}", evidence.trouble);
        }
        assert_eq!(server.requests() - before, 1, "{because}");
    }
    server.now(Manner::Sends(ours));
    let revocation = required(folder.path(), &[]);
    let evidence = revocation.check(&root.path(&leaf), now()).await;
    assert_eq!(evidence.standing, Standing::Good, "{}", evidence.trouble);
    // Nonsense about one certificate says nothing against the server about another.
    let before = server.requests();
    let _ = revocation.check(&root.path(&other), now()).await;
    assert_eq!(server.requests() - before, 1);
}
