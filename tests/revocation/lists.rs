//! What a CRL says, and which CRLs say nothing.
use std::fs;
use std::path::PathBuf;

use proptest::test_runner::TestRunner;
use tempfile::TempDir;
use vaguemestre::domain::certificate::Standing;
use vaguemestre::infra::revocation::Mode;
use vaguemestre::infra::revocation::Revocation;

use super::DAY;
use super::HOUR;
use super::authority::Authority;
use super::authority::Issued;
use super::authority::USERS;
use super::authority::to_der;
use super::now;
use super::required;
use super::settings;

/// One authority that is an anchor, and a certificate of it that names no source.
struct Small {
    folder: TempDir,
    root: Authority,
    leaf: Issued,
}

fn small() -> Small {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::root(folder.path(), "root", "AC TEST");
    let leaf = root.issue("leaf", USERS);
    Small { folder, root, leaf }
}

impl Small {
    fn file(&self, octets: &[u8]) -> PathBuf {
        let file = self.folder.path().join("crl");
        fs::write(&file, octets).unwrap();
        file
    }

    /// What is known with only this list.
    async fn with(&self, octets: &[u8]) -> (Standing, String) {
        let revocation = required(self.folder.path(), &[self.file(octets)]);
        let evidence = revocation.check(&self.root.path(&self.leaf), now()).await;
        (evidence.standing, evidence.trouble)
    }

    async fn refuses(&self, octets: &[u8], because: &str) {
        let (standing, trouble) = self.with(octets).await;
        let lists = required(self.folder.path(), &[self.file(octets)]).lists();
        let told = format!("{trouble} {}", lists[0].trouble);
        assert_eq!(standing, Standing::Unknown, "{because}");
        assert!(told.contains(because), "{told:?} does not say {because:?}");
    }
}

#[tokio::test]
async fn a_list_in_a_file_answers_with_all_its_evidence() {
    let small = small();
    let list = small.root.list();
    for octets in [to_der(&small.root.folder, &list), list] {
        let file = small.file(&octets);
        let revocation = required(small.folder.path(), std::slice::from_ref(&file));
        let evidence = revocation.check(&small.root.path(&small.leaf), now()).await;
        assert_eq!(evidence.standing, Standing::Good, "{}", evidence.trouble);
        assert_eq!(evidence.source, file.display().to_string());
        let (made, ends) = (evidence.made.unwrap(), evidence.ends.unwrap());
        assert!(now().since(made) < HOUR);
        assert_eq!(ends.since(made), DAY);
        assert!(now().since(evidence.fetched.unwrap()) < HOUR);
        assert!(!evidence.in_grace);
        let lists = revocation.lists();
        assert_eq!((lists.len(), lists[0].entries, lists[0].trouble.as_str()), (1, 0, ""));
        assert!(lists[0].issuer.contains("ac test"), "{}", lists[0].issuer);
    }
}

#[tokio::test]
async fn a_listed_certificate_is_revoked_since_its_date_and_others_are_not() {
    let small = small();
    for number in 0..20 {
        small.root.revoke(&small.root.issue(&format!("other{number}"), USERS));
    }
    assert_eq!(small.with(&small.root.list()).await.0, Standing::Good);
    small.root.revoke(&small.leaf);
    let (standing, _) = small.with(&small.root.list()).await;
    let Standing::Revoked(since) = standing else { panic!("{standing}") };
    assert!(now().since(since) < HOUR);
}

#[tokio::test]
async fn a_revoked_authority_condemns_its_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::root(folder.path(), "root", "AC RACINE");
    let middle = root.below("middle", "");
    let leaf = middle.issue("leaf", USERS);
    let path = [leaf.der(), middle.der(), root.der()];
    let (above, below) = (root.list_file("above.crl"), middle.list_file("below.crl"));

    let half = required(folder.path(), std::slice::from_ref(&below));
    let evidence = half.check(&path, now()).await;
    assert_eq!(evidence.standing, Standing::Unknown, "nobody knows of the authority");
    assert!(evidence.trouble.contains("middle"), "{}", evidence.trouble);

    let both = [above.clone(), below];
    let evidence = required(folder.path(), &both).check(&path, now()).await;
    assert_eq!(evidence.standing, Standing::Good, "{}", evidence.trouble);

    let of_root = root.folder.join("middle.pem");
    root.revoke(&Issued { certificate: of_root, key: PathBuf::new() });
    fs::write(&above, root.list()).unwrap();
    let evidence = required(folder.path(), &both).check(&path, now()).await;
    assert!(matches!(evidence.standing, Standing::Revoked(_)), "{:?}", evidence);
}

#[tokio::test]
async fn a_forged_list_says_nothing() {
    let small = small();
    let mut list = to_der(&small.root.folder, &small.root.list());
    let last = list.len() - 1;
    list[last] ^= 1;
    small.refuses(&list, "the signature is wrong").await;
}

#[tokio::test]
async fn a_list_of_another_authority_with_the_same_name_says_nothing() {
    let small = small();
    let impostor = Authority::root(small.folder.path(), "impostor", "AC TEST");
    small.refuses(&impostor.list(), "the signature is wrong").await;
    let stranger = Authority::root(small.folder.path(), "stranger", "AC AUTRE");
    small.refuses(&stranger.list(), "no file of revocation.crl_files").await;
}

#[tokio::test]
async fn an_issuer_without_the_right_to_sign_lists_signs_none() {
    let folder = tempfile::tempdir().unwrap();
    let extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
    let root = Authority::root_with(folder.path(), "root", "AC TEST", extensions);
    let leaf = root.issue("leaf", USERS);
    let revocation = required(folder.path(), &[root.list_file("crl")]);
    let evidence = revocation.check(&root.path(&leaf), now()).await;
    assert_eq!(evidence.standing, Standing::Unknown);
    assert!(evidence.trouble.contains("not for signing CRLs"), "{}", evidence.trouble);
}

#[tokio::test]
async fn lists_of_another_scope_say_nothing() {
    let small = small();
    let idp = |more: &str| format!("issuingDistributionPoint = critical,@idp\n[idp]\n{more}\n");
    for (extensions, because) in [
        (idp("onlyCA = TRUE"), "of authorities only"),
        (idp("onlyAA = TRUE"), "of attribute certificates"),
        (idp("onlysomereasons = keyCompromise"), "of some reasons only"),
        (idp("indirectCRL = TRUE"), "an indirect CRL"),
        (idp("fullname = URI:http://127.0.0.1/part7.crl"), "of another distribution point"),
        ("2.5.29.27 = critical,ASN1:INTEGER:1".to_owned(), "a delta CRL"),
        ("1.2.3.4 = critical,ASN1:UTF8String:x".to_owned(), "a critical extension"),
    ] {
        small.refuses(&small.root.list_with(&extensions, &[]), because).await;
    }
    let fitting = small.root.list_with(&idp("onlyuser = TRUE"), &[]);
    assert_eq!(small.with(&fitting).await.0, Standing::Good);
    let harmless = small.root.list_with("1.2.3.4 = ASN1:UTF8String:x", &[]);
    assert_eq!(small.with(&harmless).await.0, Standing::Good);
}

#[tokio::test]
async fn a_list_of_users_only_says_nothing_of_an_authority() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::root(folder.path(), "root", "AC RACINE");
    let middle = root.below("middle", "");
    let users = "issuingDistributionPoint = critical,@idp\n[idp]\nonlyuser = TRUE\n";
    let file = folder.path().join("crl");
    fs::write(&file, root.list_with(users, &[])).unwrap();
    let evidence = required(folder.path(), &[file]).check(&[middle.der(), root.der()], now()).await;
    assert_eq!(evidence.standing, Standing::Unknown);
}

#[tokio::test]
async fn a_list_counts_from_its_date_until_its_end_and_the_grace() {
    let small = small();
    let file = small.file(&small.root.list());
    let revocation = required(small.folder.path(), &[file]);
    let path = small.root.path(&small.leaf);
    let start = now();
    let before = vaguemestre::domain::time::Timestamp::from_millis(start.as_millis() - 900_000);
    for (moment, standing, in_grace) in [
        (before, Standing::Unknown, false),
        (start, Standing::Good, false),
        (start.after(DAY - HOUR), Standing::Good, false),
        (start.after(DAY + HOUR), Standing::Good, true),
        (start.after(DAY + 3 * HOUR), Standing::Good, true),
        (start.after(DAY + 5 * HOUR), Standing::Unknown, false),
    ] {
        let evidence = revocation.check(&path, moment).await;
        let seen = (evidence.standing, evidence.in_grace);
        assert_eq!(seen, (standing, in_grace), "{moment}: {}", evidence.trouble);
        let told = !evidence.trouble.is_empty();
        assert_eq!(told, in_grace || standing == Standing::Unknown, "{}", evidence.trouble);
    }
}

#[tokio::test]
async fn an_old_list_still_revokes_when_nobody_says_anything_younger() {
    let small = small();
    small.root.revoke(&small.leaf);
    let file = small.file(&small.root.list());
    for mode in [Mode::Required, Mode::IfAvailable] {
        let settings = settings(small.folder.path(), std::slice::from_ref(&file));
        let revocation =
            Revocation::new(vaguemestre::infra::revocation::Settings { mode, ..settings });
        let late = now().after(30 * DAY);
        let evidence = revocation.check(&small.root.path(&small.leaf), late).await;
        assert!(matches!(evidence.standing, Standing::Revoked(_)), "{evidence:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_names_nobody_tells_what_to_configure() {
    let small = small();
    let path = small.root.path(&small.leaf);
    for (mode, standing) in [
        (Mode::Required, Standing::Unknown),
        (Mode::IfAvailable, Standing::NotAsked),
        (Mode::Off, Standing::NotAsked),
    ] {
        let settings = settings(small.folder.path(), &[]);
        let revocation =
            Revocation::new(vaguemestre::infra::revocation::Settings { mode, ..settings });
        let evidence = revocation.check(&path, now()).await;
        assert_eq!(evidence.standing, standing);
        assert_eq!(evidence.trouble.contains("revocation.crl_files"), mode != Mode::Off);
    }
    let anchor = required(small.folder.path(), &[]).check(&[small.root.der()], now()).await;
    assert_eq!(anchor.standing, Standing::NotAsked, "{}", anchor.trouble);
    let nothing = required(small.folder.path(), &[]).check(&[], now()).await;
    assert_eq!(nothing.standing, Standing::Unknown);
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_a_bad_one_leaves_the_list_before() {
    let small = small();
    let file = small.file(&small.root.list());
    let revocation = required(small.folder.path(), std::slice::from_ref(&file));
    let path = small.root.path(&small.leaf);
    assert_eq!(revocation.check(&path, now()).await.standing, Standing::Good);

    fs::write(&file, "<html>not a list</html>").unwrap();
    revocation.reload();
    assert_eq!(revocation.check(&path, now()).await.standing, Standing::Good);
    assert!(revocation.lists()[0].trouble.contains("CRL"), "{:?}", revocation.lists());

    small.root.revoke(&small.leaf);
    fs::write(&file, small.root.list()).unwrap();
    revocation.reload();
    let evidence = revocation.check(&path, now()).await;
    assert!(matches!(evidence.standing, Standing::Revoked(_)), "{evidence:?}");
    assert_eq!(revocation.lists()[0].trouble, "");

    fs::remove_file(&file).unwrap();
    revocation.reload();
    assert!(!revocation.lists()[0].trouble.is_empty());
    let evidence = revocation.check(&path, now()).await;
    assert!(matches!(evidence.standing, Standing::Revoked(_)), "{evidence:?}");
}

/// Property: whatever one octet of a list becomes, the certificate on it is never good.
#[test]
fn no_changed_octet_brings_a_revoked_certificate_back() {
    let small = small();
    small.root.revoke(&small.leaf);
    let list = to_der(&small.root.folder, &small.root.list());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(proptest::test_runner::Config::with_cases(300));
    runner
        .run(&(0..list.len(), 1..=255_u8), |(place, change)| {
            let mut bad = list.clone();
            bad[place] ^= change;
            let (standing, _) = runtime.block_on(small.with(&bad));
            proptest::prop_assert_ne!(standing, Standing::Good);
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn one_pem_file_may_hold_the_lists_of_several_authorities() {
    let small = small();
    let other = Authority::root(small.folder.path(), "other", "AC AUTRE");
    let mut both = other.list();
    both.extend(small.root.list());
    assert_eq!(small.with(&both).await.0, Standing::Good);
}
