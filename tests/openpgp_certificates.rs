//! Certificates of OpenPGP: published for other programs, found elsewhere, and in their life.
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::status::Refusal;
use vaguemestre::flow::contacts;
use vaguemestre::flow::contacts::Choice;
use vaguemestre::flow::life;
use vaguemestre::flow::office::Office;
use vaguemestre::flow::own;
use vaguemestre::flow::own::challenge;
use vaguemestre::flow::own::challenge::Proof;
use vaguemestre::flow::published;
use vaguemestre::flow::published::Act;
use vaguemestre::infra::directory::Account;
use vaguemestre::infra::directory::Mailboxes;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::infra::dns::Dns;
use vaguemestre::infra::dns::DnsError;
use vaguemestre::infra::dns::MailHosts;
use vaguemestre::infra::keys::lifecycle::RevocationReason;
use vaguemestre::infra::keys::mail::Certificates;
use vaguemestre::infra::keys::peers::Fingerprint;
use vaguemestre::infra::keys::peers::PeerCertificate;
use vaguemestre::proto::wkd;

use crate::queue::lab::Lab;
use crate::support::chromium::Chromium;
use crate::support::running;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;

const DOMAIN: &str = "hopital.mssante.test";
const DOCTOR: &str = "Claire.Fontaine@hopital.mssante.test";
const OUTSIDE: &str = "dr.soleil@clinique.example";
const QUIET: &str = "[revocation]\nmode = \"off\"\n";
const ACT: Act<'_> = Act { author: "tester", reason: "a test" };
const WKS: &str = "/usr/lib/gnupg/gpg-wks-client";

/// Asks a relay's pages under any name; the status, the header section and the body.
fn fetch(relay: &Serving<'_>, more: &[&str], url: &str) -> (u16, String, Vec<u8>) {
    let to = format!("::127.0.0.1:{}", relay.port("https"));
    let ca = relay.ca_file().display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let (head, body) = (folder.path().join("head"), folder.path().join("body"));
    let output = Command::new("curl")
        .args(["-sS", "--cacert", &ca, "--connect-to", &to, "-w", "%{http_code}"])
        .arg("-D")
        .arg(&head)
        .arg("-o")
        .arg(&body)
        .args(more)
        .arg(url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{url}: {}", running::said(&output));
    let status = String::from_utf8_lossy(&output.stdout).parse().unwrap();
    let body = fs::read(body).unwrap_or_default();
    (status, fs::read_to_string(head).unwrap().to_ascii_lowercase(), body)
}

pub(crate) fn gpg(home: &Path, arguments: &[&str]) -> String {
    let home = format!("--homedir={}", home.display());
    let output = running::run("gpg", &[&["--batch", "--yes", &home][..], arguments].concat());
    let said = running::said(&output);
    assert!(output.status.success(), "gpg {arguments:?}: {said}");
    said
}

/// A GnuPG home with a new key for these addresses, and its public certificate in a file.
pub(crate) fn gpg_key(home: &Path, address: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(home).unwrap();
    fs::set_permissions(home, fs::Permissions::from_mode(0o700)).unwrap();
    let id = format!("<{address}>");
    let quick =
        ["--passphrase", "", "--quick-generate-key", &id, "future-default", "default", "1y"];
    gpg(home, &quick);
    let file = home.join("public.asc");
    gpg(home, &["--armor", "--output", file.to_str().unwrap(), "--export", address]);
    file
}

#[test]
fn the_key_directory_answers_where_gnupg_looks_and_gnupg_and_sq_read_it() {
    let space = Space::of(&[DOMAIN]);
    let relay = space.relay(0).with(QUIET).start(&[DOCTOR]);
    let tool = |what: &str| {
        let said = running::said(&running::run(WKS, &[what, DOCTOR]));
        said.split_whitespace().next().unwrap().to_owned()
    };
    let name = tool("--print-wkd-hash");
    assert_eq!(name, wkd::hash("claire.fontaine"));
    let advanced = tool("--print-wkd-url");
    assert!(
        advanced.starts_with(&format!("https://openpgpkey.{DOMAIN}/.well-known/")),
        "{advanced}"
    );
    let direct = format!("https://{DOMAIN}/.well-known/openpgpkey/hu/{name}?l=Claire.Fontaine");
    let (status, head, octets) = fetch(&relay, &[], &advanced);
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("content-type: application/octet-stream"), "{head}");
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    assert_eq!(fetch(&relay, &[], &direct).2, octets);
    let bare = direct.split('?').next().unwrap();
    assert_eq!(fetch(&relay, &[], bare).2, octets, "the hash alone is enough");
    let (status, _, none) = fetch(&relay, &["--head"], &advanced);
    assert!(status == 200 && none.len() < octets.len().max(600));

    // Both programs read what came, and see the one user id.
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("from-wkd.pgp");
    fs::write(&file, &octets).unwrap();
    gpg(home.path(), &["--import", file.to_str().unwrap()]);
    let listed = gpg(home.path(), &["--with-colons", "--list-keys"]);
    let ids: Vec<&str> = listed.lines().filter(|line| line.starts_with("uid:")).collect();
    assert!(ids.len() == 1 && ids[0].contains("Claire.Fontaine@hopital"), "{listed}");
    let inspected = running::said(&running::run("sq", &["inspect", file.to_str().unwrap()]));
    assert!(inspected.contains("Claire.Fontaine@hopital"), "{inspected}");

    // The policy file, in both places.
    for url in [
        format!("https://openpgpkey.{DOMAIN}/.well-known/openpgpkey/{DOMAIN}/policy"),
        format!("https://{DOMAIN}/.well-known/openpgpkey/policy"),
    ] {
        assert_eq!(fetch(&relay, &[], &url).0, 200, "{url}");
    }
    // Nobody is nobody, here and elsewhere.
    for url in [
        format!("https://{DOMAIN}/.well-known/openpgpkey/hu/{}", wkd::hash("nobody")),
        format!("https://{DOMAIN}/.well-known/openpgpkey/hu/short"),
        format!("https://{DOMAIN}/.well-known/openpgpkey/elsewhere.test/hu/{name}"),
        format!("https://{DOMAIN}/.well-known/openpgpkey/elsewhere.test/policy"),
    ] {
        assert_eq!(fetch(&relay, &[], &url).0, 404, "{url}");
    }

    // As key servers do it.
    let fingerprint = PeerCertificate::read(&octets).unwrap().fingerprint();
    for search in [DOCTOR.to_owned(), format!("0x{fingerprint}")] {
        let url = format!("https://{DOMAIN}/pks/lookup?op=get&options=mr&search={search}");
        let (status, head, armoured) = fetch(&relay, &[], &url);
        assert_eq!(status, 200, "{search}");
        assert!(head.contains("application/pgp-keys"), "{head}");
        assert_eq!(PeerCertificate::read(&armoured).unwrap().fingerprint(), fingerprint);
    }
    let url = format!("https://{DOMAIN}/pks/lookup?op=index&options=mr&search={DOCTOR}");
    let index = String::from_utf8(fetch(&relay, &[], &url).2).unwrap();
    assert!(index.starts_with(&format!("info:1:1\npub:{fingerprint}:22:")), "{index}");
    assert!(index.contains("uid:<Claire.Fontaine@hopital.mssante.test>:"), "{index}");
    for (search, status) in
        [("Fontaine", 400), ("0x12345678", 400), ("nobody@hopital.mssante.test", 404)]
    {
        let url = format!("https://{DOMAIN}/pks/lookup?op=get&search={search}");
        assert_eq!(fetch(&relay, &[], &url).0, status, "{search}");
    }

    // What administrators see of all this.
    let listed = relay.json(&["keys", "list", "--mailboxes"]);
    assert_eq!(listed[0]["fingerprint"], fingerprint.as_str());
    relay.said(&["keys", "rotate", DOCTOR, "--reason", "yearly"]);
    relay.said(&["keys", "revoke", DOCTOR, "--code", "superseded", "--reason", "a test"]);
    let (_, _, both) = fetch(&relay, &[], &advanced);
    let ring = PeerCertificate::read_ring(&both).unwrap();
    assert_eq!(ring.len(), 2, "the new one, and the old one revoked");
    assert!(ring[0].fingerprint() != fingerprint && ring[1].fingerprint() == fingerprint);
    fs::write(&file, &both).unwrap();
    gpg(home.path(), &["--import", file.to_str().unwrap()]);
    let listed = gpg(home.path(), &["--with-colons", "--list-keys", fingerprint.as_str()]);
    assert!(listed.lines().any(|line| line.starts_with("pub:r:")), "{listed}");
}

async fn account(office: &Office, address: &str, kind: MailboxKind, listing: Listing) -> Account {
    let new = NewAccount {
        address: Address::parse(address).unwrap(),
        kind,
        listing,
        display_name: String::new(),
        password: None,
    };
    let account = life::make(office, new, true, "tester", "a test").await.unwrap();
    office.mailboxes.create(&account).await.unwrap();
    account
}

async fn named(office: &Office, local_part: &str) -> usize {
    let domain = Domain::parse(DOMAIN).unwrap();
    published::by_name(office, &domain, &wkd::hash(local_part)).await.unwrap().len()
}

#[tokio::test]
async fn no_patient_and_nobody_of_the_red_list_is_published() {
    let lab = Lab::new(&[], &[], "").await;
    let office = lab.office();
    let matricule = "288027599000175";
    let patient = format!("{matricule}@{DOMAIN}");
    let patient = account(office, &patient, MailboxKind::Citizen, Listing::Public).await;
    let hidden = format!("hidden@{DOMAIN}");
    account(office, &hidden, MailboxKind::Personal, Listing::RedList).await;
    let shown = format!("shown@{DOMAIN}");
    let shown = account(office, &shown, MailboxKind::Organisational, Listing::Public).await;
    assert_eq!(named(office, "shown").await, 1);
    assert_eq!(named(office, "hidden").await, 0);
    assert_eq!(named(office, matricule).await, 0);
    assert!(published::by_address(office, &patient.address).await.unwrap().is_empty());
    let fingerprint = published::read(&patient).unwrap().fingerprint();
    assert!(published::by_key(office, fingerprint.as_str()).await.unwrap().is_empty());
    let of_shown = published::read(&shown).unwrap().fingerprint();
    assert_eq!(published::by_key(office, of_shown.as_str()).await.unwrap().len(), 1);
    // The relay itself finds the patient's key all the same, to look at a signature.
    let known = contacts::known(office).await.unwrap();
    assert_eq!(known.of_key(fingerprint.as_str()).len(), 1);
    assert_eq!(known.of_key(&of_shown.key_id()).len(), 1);
    // Out of use is not shown either.
    office.accounts.set_suspended(&shown.address, true).await.unwrap();
    assert_eq!(named(office, "shown").await, 0);
}

fn seals(office: &Office, account: &Account) -> Vec<u8> {
    let certificate = office.keys.certificate(&account.certificate).unwrap();
    let mut sealer = office.keys.seal_to(&[certificate]).unwrap();
    sealer.write(b"Bonjour").unwrap();
    sealer.finish().unwrap().ciphertext
}

fn opens(office: &Office, account: &Account, ciphertext: &[u8]) -> bool {
    let keys = office.keys.unlock(&account.id, &account.wrapped_keys).unwrap();
    keys.open_with_secret_key(ciphertext).is_ok_and(|clear| *clear.expose() == b"Bonjour")
}

#[tokio::test]
async fn a_rotated_key_opens_old_letters_and_new_ones_go_to_the_new_subkey() {
    let lab = Lab::new(&[], &[], "").await;
    let office = lab.office();
    let old =
        account(office, &format!("doc@{DOMAIN}"), MailboxKind::Personal, Listing::Public).await;
    let before = seals(office, &old);
    let opened = office.mailboxes.open(&old).await.unwrap();
    lab.pass(Duration::from_secs(3_600));
    let new = published::rotate(office, &old.address, ACT).await.unwrap();
    let after = seals(office, &new);
    assert!(opens(office, &new, &before) && opens(office, &new, &after));
    assert!(!opens(office, &old, &after), "the old subkeys open nothing new");
    // Whoever has the mailbox open goes on; who opens it now has the new key.
    let reopened = office.mailboxes.open(&new).await.unwrap();
    assert_eq!(opened.id(), reopened.id());
    assert!(reopened.keys().open_with_secret_key(&after).is_ok());
    let certificate = published::read(&new).unwrap();
    assert_eq!(certificate.fingerprint(), published::read(&old).unwrap().fingerprint());
    assert_eq!(certificate.key_ids().len(), 5, "primary, two old and two new subkeys");
    // The overlap is over: the old ones are shown as ended, and open what they opened.
    lab.pass(Duration::from_secs(91 * 86_400));
    certificate.check_for(&new.address, lab.now()).unwrap();
    assert!(opens(office, &new, &before));
}

#[tokio::test]
async fn a_revoked_key_is_published_so_and_opens_what_lies_here() {
    let lab = Lab::new(&[], &[], "").await;
    let office = lab.office();
    let old =
        account(office, &format!("doc@{DOMAIN}"), MailboxKind::Personal, Listing::Public).await;
    let before = seals(office, &old);
    let born = published::read(&old).unwrap().expires(lab.now());
    assert!(born.is_some(), "from its first moment it has an end");
    let old_print = published::read(&old).unwrap().fingerprint();
    lab.pass(Duration::from_secs(3_600));
    let code = RevocationReason::Compromised;
    let new = published::revoke(office, &old.address, code, ACT).await.unwrap();
    assert_ne!(published::read(&new).unwrap().fingerprint(), old_print);
    assert!(opens(office, &new, &before) && opens(office, &new, &seals(office, &new)));
    let shown = published::by_address(office, &new.address).await.unwrap();
    assert_eq!(shown.len(), 2);
    assert!(!shown[0].is_revoked(lab.now()) && shown[1].is_revoked(lab.now()));
    let by_key = published::by_key(office, old_print.as_str()).await.unwrap();
    assert!(by_key.len() == 1 && by_key[0].is_revoked(lab.now()));
    // Several times, and then rotated, and extended: everything still opens.
    for _ in 0..3 {
        lab.pass(Duration::from_secs(3_600));
        let code = RevocationReason::Superseded;
        published::revoke(office, &old.address, code, ACT).await.unwrap();
    }
    lab.pass(Duration::from_secs(3_600));
    published::rotate(office, &old.address, ACT).await.unwrap();
    lab.pass(Duration::from_secs(3_600));
    let last = published::extend(office, &old.address, ACT).await.unwrap();
    assert!(opens(office, &last, &before) && opens(office, &last, &seals(office, &last)));
    let until = published::read(&last).unwrap().expires(lab.now()).unwrap();
    let end = lab.now().after(Duration::from_secs(1_095 * 86_400));
    assert_eq!(until.as_seconds(), end.as_seconds());
    assert_eq!(published::revoked(office, &old.id).await.unwrap().len(), 4);
}

#[tokio::test]
async fn the_clock_extends_certificates_before_they_end_once_a_day() {
    let lab = Lab::new(&[], &[], "").await;
    let office = lab.office();
    let made =
        account(office, &format!("doc@{DOMAIN}"), MailboxKind::Personal, Listing::Public).await;
    assert!(published::read(&made).unwrap().expires(lab.now()).is_some());
    let first = published::daily(office).await.unwrap();
    assert_eq!(first.extended, 0, "it was born with an end");
    let years = |days: u64| Duration::from_secs(days * 86_400);
    let end = || Some(lab.now().after(years(1_095)).as_seconds());
    let told = |forecast: &published::Forecast| forecast.mailboxes.map(|end| end.as_seconds());
    // It was made by another clock than the lab's, some moments later.
    let day = |end: Option<u64>| end.map(|end| (end + 43_200) / 86_400);
    assert!(day(told(&first)).unwrap().abs_diff(day(end()).unwrap()) <= 1);
    assert_eq!(published::daily(office).await.unwrap().extended, 0);
    lab.pass(years(1_095 - 180 - 1));
    assert_eq!(published::daily(office).await.unwrap().extended, 0);
    lab.pass(years(2));
    assert_eq!(published::daily(office).await.unwrap().extended, 1);
    // One whose time is over, because the relay slept, is extended as well.
    lab.pass(years(2_000));
    let late = published::daily(office).await.unwrap();
    assert_eq!((late.extended, told(&late)), (1, end()));
    let metrics = office.metrics.render();
    assert!(metrics.contains("openpgp_expiry_days{role=\"mailboxes\"} 109"), "{metrics}");
}

/// A DNS of two names.
struct Names(Mutex<Vec<(String, IpAddr)>>);

#[async_trait::async_trait]
impl Dns for Names {
    async fn mail_hosts(&self, _domain: &Domain) -> Result<MailHosts, DnsError> {
        Ok(MailHosts::Nobody)
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let names = self.0.lock().unwrap();
        let found: Vec<IpAddr> =
            names.iter().filter(|(name, _)| name == host).map(|(_, ip)| *ip).collect();
        if found.is_empty() { Err(DnsError::NoSuchName) } else { Ok(found) }
    }
}

/// An office that asks this relay for certificates of its domain.
async fn lab_asking(relay: &Serving<'_>, domain: &str, private: bool) -> (Lab, Arc<Names>) {
    let mut lab = Lab::new(&[], &[], "").await;
    let host = format!("openpgpkey.{domain}");
    let names = Arc::new(Names(Mutex::new(vec![(host, [127, 0, 0, 1].into())])));
    let office = lab.office_mut();
    office.dns = Arc::clone(&names) as Arc<dyn Dns>;
    office.config.openpgp.wkd_domains = vec![Domain::parse(domain).unwrap()];
    office.config.openpgp.wkd_anchors = vec![relay.ca_file()];
    office.config.openpgp.wkd_port = relay.port("https");
    office.config.openpgp.wkd_private_addresses = private;
    (lab, names)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_found_elsewhere_is_pinned_and_a_change_waits_for_an_administrator() {
    let space = Space::of(&["clinique.example"]);
    let relay = space.relay(0).with(QUIET).start(&[OUTSIDE]);
    let (lab, names) = lab_asking(&relay, "clinique.example", true).await;
    let office = lab.office();
    let address = Address::parse(OUTSIDE).unwrap();
    let first = contacts::find(office, &address).await.unwrap().unwrap();
    assert!(first.certificate.is_some() && first.changed.is_none());
    // Nobody else's domain is asked, and who is not there is not there.
    let stranger = Address::parse("x@elsewhere.example").unwrap();
    assert!(contacts::find(office, &stranger).await.unwrap().is_none());
    let nobody = Address::parse("nobody@clinique.example").unwrap();
    assert!(contacts::find(office, &nobody).await.unwrap().is_none());

    // An extension of the same certificate counts by itself.
    relay.said(&["keys", "extend", OUTSIDE, "--reason", "a test"]);
    lab.pass(Duration::from_secs(86_400));
    let same = contacts::find(office, &address).await.unwrap().unwrap();
    assert_eq!(same.pinned, first.pinned);
    assert!(same.certificate.unwrap().expires(lab.now()).is_some(), "the news was merged");

    // Another key, and the old one is not revoked: the pinned one stays.
    let home = tempfile::tempdir().unwrap();
    let other = gpg_key(home.path(), OUTSIDE);
    relay.said(&["keys", "own", "set", OUTSIDE, other.to_str().unwrap(), "--reason", "a test"]);
    lab.pass(Duration::from_secs(86_400));
    let changed = contacts::find(office, &address).await.unwrap().unwrap();
    let shown = PeerCertificate::read(&fs::read(&other).unwrap()).unwrap().fingerprint();
    assert_eq!(
        (changed.pinned.clone(), changed.changed.clone()),
        (first.pinned.clone(), Some(shown.clone()))
    );
    assert_eq!(changed.certificate.unwrap().fingerprint(), first.pinned);
    let journal = office.journal.last(10).await.unwrap();
    assert!(journal.iter().any(|entry| entry.action == "keys contact changed"), "{journal:?}");
    assert!(office.metrics.render().contains("openpgp_pins_changed 1"));

    // Only the fingerprint that is shown can be accepted.
    let accept = |print: Fingerprint| {
        let address = address.clone();
        async move {
            contacts::decide(office, &address, &print, Choice::Accept, "tester", "called").await
        }
    };
    assert!(accept(first.pinned.clone()).await.is_err());
    accept(shown.clone()).await.unwrap();
    let accepted = contacts::find(office, &address).await.unwrap().unwrap();
    assert_eq!((accepted.pinned, accepted.changed), (shown.clone(), None));
    assert_eq!(contacts::known(office).await.unwrap().of_key(shown.as_str()).len(), 1);
    assert!(contacts::known(office).await.unwrap().of_key(first.pinned.as_str()).is_empty());

    // A host that is gone takes nothing away, and says nothing about others.
    names.0.lock().unwrap()[0].1 = [127, 0, 0, 3].into();
    lab.pass(Duration::from_secs(86_400));
    assert!(contacts::find(office, &address).await.unwrap().unwrap().certificate.is_some());
    let refused = contacts::find(office, &nobody).await.err();
    assert_eq!(refused, Some(Refusal::DependencyFailed), "nobody said that there is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_certificate_that_its_owner_revoked_is_used_no_more() {
    let space = Space::of(&["clinique.example"]);
    let relay = space.relay(0).with(QUIET).start(&[OUTSIDE]);
    let (lab, _) = lab_asking(&relay, "clinique.example", true).await;
    let office = lab.office();
    let address = Address::parse(OUTSIDE).unwrap();
    let first = contacts::find(office, &address).await.unwrap().unwrap();
    relay.said(&["keys", "revoke", OUTSIDE, "--code", "compromised", "--reason", "stolen"]);
    lab.pass(Duration::from_secs(86_400));
    let revoked = contacts::find(office, &address).await.unwrap().unwrap();
    assert_eq!(revoked.pinned, first.pinned);
    assert!(revoked.certificate.is_none(), "{:?}", revoked.flaw);
    assert!(revoked.changed.is_some_and(|shown| shown != first.pinned));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_into_our_own_network_is_not_asked() {
    let space = Space::of(&["clinique.example"]);
    let relay = space.relay(0).with(QUIET).start(&[OUTSIDE]);
    let (lab, _) = lab_asking(&relay, "clinique.example", false).await;
    let address = Address::parse(OUTSIDE).unwrap();
    let refused = contacts::find(lab.office(), &address).await.err();
    assert_eq!(refused, Some(Refusal::DependencyFailed));
}

#[tokio::test]
async fn an_own_certificate_is_registered_by_whoever_can_read_the_challenge() {
    let lab = Lab::new(&[], &[], "").await;
    let office = lab.office();
    let address = format!("doc@{DOMAIN}");
    let doc = account(office, &address, MailboxKind::Personal, Listing::Public).await;
    let home = tempfile::tempdir().unwrap();
    let file = gpg_key(home.path(), &address);
    // The clock of the laboratory stood still while GnuPG made its key.
    lab.pass(Duration::from_secs(3_600));
    let certificate = PeerCertificate::read(&fs::read(&file).unwrap()).unwrap();
    assert!(own::of(office, &doc.id).await.unwrap().is_none());
    let (_, sealed) = challenge::begin(office, &doc, &certificate, "Le code :").unwrap();
    let letter = home.path().join("challenge.asc");
    fs::write(&letter, sealed).unwrap();
    let clear = home.path().join("clear.txt");
    gpg(home.path(), &["--output", clear.to_str().unwrap(), "--decrypt", letter.to_str().unwrap()]);
    let clear = fs::read_to_string(clear).unwrap();
    let code = clear.lines().last().unwrap();
    let act = own::Act { author: "the holder", way: "page", reason: "" };
    let wrong = challenge::prove(office, &doc, "guess", act).await.unwrap();
    assert!(matches!(wrong, Proof::Wrong));
    let right = challenge::prove(office, &doc, code, act).await.unwrap();
    assert!(matches!(right, Proof::Registered(_)), "{right:?}");
    let own = own::of(office, &doc.id).await.unwrap().unwrap();
    assert_eq!(own.fingerprint(), certificate.fingerprint());
    // It is what others find from now on, and it lies sealed.
    let shown = published::by_address(office, &doc.address).await.unwrap();
    assert_eq!(shown[0].fingerprint(), certificate.fingerprint());
    // A code counts once.
    let again = challenge::prove(office, &doc, code, act).await.unwrap();
    assert!(matches!(again, Proof::Over));
    // Expired: letters wait; the relay does not begin to read them again.
    lab.pass(Duration::from_secs(2 * 365 * 86_400));
    assert_eq!(own::of(office, &doc.id).await.err(), Some(Refusal::RecipientKeyMissing));
    own::remove(office, &doc, act).await.unwrap();
    assert!(own::of(office, &doc.id).await.unwrap().is_none());
    // Somebody else's certificate is not for this mailbox.
    let other = gpg_key(&home.path().join("other"), "somebody@elsewhere.test");
    let other = PeerCertificate::read(&fs::read(other).unwrap()).unwrap();
    assert!(challenge::begin(office, &doc, &other, "").is_err());
}

#[tokio::test]
async fn own_certificates_are_there_again_after_a_restart() {
    let mut lab = Lab::new(&[], &[], "").await;
    let address = format!("doc@{DOMAIN}");
    let doc = account(lab.office(), &address, MailboxKind::Personal, Listing::Public).await;
    let home = tempfile::tempdir().unwrap();
    let file = gpg_key(home.path(), &address);
    // The clock of the laboratory stood still while GnuPG made its key.
    lab.pass(Duration::from_secs(3_600));
    let certificate = PeerCertificate::read(&fs::read(&file).unwrap()).unwrap();
    let act = own::Act { author: "tester", way: "administrator", reason: "vouched" };
    own::set(lab.office(), &doc, &certificate, act).await.unwrap();
    lab.restart().await;
    let own = own::of(lab.office(), &doc.id).await.unwrap().unwrap();
    assert_eq!(own.fingerprint(), certificate.fingerprint());
    let kept = lab.office().accounts.find(&doc.address).await.unwrap().unwrap();
    assert_eq!(kept.certificate, doc.certificate, "the key for earlier letters stays");
}

#[test]
fn a_professional_registers_an_own_key_on_the_page_with_the_keyboard_alone() {
    let space = Space::of(&[DOMAIN]);
    let relay = space.relay(0).with(QUIET).start(&[DOCTOR]);
    let home = tempfile::tempdir().unwrap();
    let file = gpg_key(home.path(), DOCTOR);
    let site = format!("https://127.0.0.1:{}", relay.port("https"));
    let mut browser = Chromium::open();
    browser.go(&format!("{site}/account/login?lang=fr"));
    browser.wait_for("document.querySelector('#name')");
    browser.log_in(DOCTOR, PASSWORD);
    browser.wait_for("location.pathname == '/account'");
    browser.go(&format!("{site}/account/certificate"));
    browser.wait_for("document.querySelector('#certificate')");
    // Each field has a name that a screen reader says, and is reached by the keyboard.
    let unnamed = "[...document.querySelectorAll('main input:not([type=hidden]), main textarea')]\
                   .filter(field => !field.labels.length || field.tabIndex < 0).length";
    assert_eq!(browser.value(unnamed), 0);
    let text = browser.value("document.body.innerText");
    assert!(text.as_str().unwrap().contains("Si vous perdez votre clé, ces messages sont perdus"));
    let armoured = Value::from(fs::read_to_string(&file).unwrap());
    let go_on = |browser: &mut Chromium| {
        browser.value("document.querySelector('form[enctype] button').focus()");
        for kind in ["keyDown", "keyUp"] {
            let key = serde_json::json!({"type": kind, "key": "Enter", "code": "Enter",
                "windowsVirtualKeyCode": 13, "text": "\r"});
            browser.call("Input.dispatchKeyEvent", key);
        }
    };
    browser.value(&format!(
        "document.querySelector('#certificate').value = {armoured};
        document.querySelector('#understood').checked = true"
    ));
    go_on(&mut browser);
    browser.wait_for("document.querySelector('#message')");
    let message = browser.value("document.querySelector('#message').value");
    let letter = home.path().join("challenge.asc");
    fs::write(&letter, message.as_str().unwrap()).unwrap();
    let clear = home.path().join("clear.txt");
    gpg(home.path(), &["--output", clear.to_str().unwrap(), "--decrypt", letter.to_str().unwrap()]);
    let clear = fs::read_to_string(clear).unwrap();
    assert!(clear.contains("Code pour enregistrer cette clé"), "{clear}");
    let code = clear.lines().last().unwrap();
    browser.value(
        "document.querySelector('#code').value = 'faux';
        document.querySelector('#code').form.requestSubmit()",
    );
    browser.wait_for("document.querySelector('#problem')");
    browser.value(&format!(
        "document.querySelector('#code').value = '{code}';
        document.querySelector('#code').form.requestSubmit()"
    ));
    browser.wait_for("document.querySelector('#fingerprint')");
    let own = relay.json(&["keys", "list", "--own"]);
    assert_eq!(own[0]["sort"], "own", "{own}");
    browser.go(&format!("{site}/account/certificate?lang=en"));
    browser.wait_for("document.documentElement.lang == 'en'");
    let text = browser.value("document.body.innerText");
    assert!(text.as_str().unwrap().contains("If you lose your key"), "{text}");
    browser.value("document.querySelector('form[action$=remove] button').click()");
    browser.wait_for("document.querySelector('.done') && !document.querySelector('#fingerprint')");
    assert_eq!(relay.json(&["keys", "list", "--own"]), serde_json::json!([]));
    // The wrong code was answered with 422, which a browser notes.
    browser.complaints.retain(|complaint| !complaint.contains("422"));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_certificate_is_registered_by_two_letters_from_the_mailbox_itself() {
    let space = Space::of(&[DOMAIN]);
    let settings = format!("{QUIET}[openpgp]\nservice_address = \"cles\"\n");
    let relay = space.relay(0).with(&settings).start(&[DOCTOR, "other@hopital.mssante.test"]);
    let service = format!("cles@{DOMAIN}");
    relay.said(&["mailbox", "add", &service, "--kind", "APP", "--generate"]);
    let home = tempfile::tempdir().unwrap();
    let file = gpg_key(home.path(), DOCTOR);
    let letter = |from: &str, text: &str| {
        let text = text.replace('\n', "\r\n");
        format!("From: {from}\r\nTo: {service}\r\nSubject: cle\r\n\r\n{text}\r\n")
    };
    let send = async |from: &str, text: &str| {
        let mut session = relay.submission(from).await;
        session.send(from, &[&service], letter(from, text).as_bytes()).await.unwrap();
    };
    let armoured = fs::read_to_string(&file).unwrap();
    // Somebody else's key is not theirs to register.
    send("other@hopital.mssante.test", &armoured).await;
    let no = relay.wait_for("other@hopital.mssante.test", "not registered").await;
    assert!(!no.contains("BEGIN PGP MESSAGE"), "{no}");
    send(DOCTOR, &armoured).await;
    let asked = relay.wait_for(DOCTOR, "BEGIN PGP MESSAGE").await;
    let message = &asked[asked.find("-----BEGIN PGP MESSAGE").unwrap()..];
    let sealed = home.path().join("challenge.asc");
    fs::write(&sealed, message).unwrap();
    let clear = home.path().join("clear.txt");
    gpg(home.path(), &["--output", clear.to_str().unwrap(), "--decrypt", sealed.to_str().unwrap()]);
    let clear = fs::read_to_string(clear).unwrap();
    let code = clear.split_whitespace().last().unwrap();
    // Whoever has the code and not the mailbox has nothing.
    send("other@hopital.mssante.test", code).await;
    relay.wait_for("other@hopital.mssante.test", "neither an").await;
    assert_eq!(relay.json(&["keys", "list", "--own"]), serde_json::json!([]));
    send(DOCTOR, &format!("> {code}")).await;
    for _ in 0..150 {
        if relay.json(&["keys", "list", "--own"])[0]["source"] == "mail" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the code was not taken");
}
