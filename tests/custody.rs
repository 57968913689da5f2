//! The custody of keys, with the real program and real GnuPG: what is recorded of their use, the
//! escrow under a quorum of administrators, shredding with a receipt.
use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use vaguemestre::domain::address::Address;
use vaguemestre::domain::limits;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxId;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::flow::approval;
use vaguemestre::flow::approval::Deed;
use vaguemestre::flow::approval::Person;
use vaguemestre::flow::custody::escrow;
use vaguemestre::flow::custody::session;
use vaguemestre::flow::custody::session::Progress;
use vaguemestre::flow::custody::session::Purpose;
use vaguemestre::flow::custody::shred;
use vaguemestre::flow::life;
use vaguemestre::flow::office::Office;
use vaguemestre::flow::published;
use vaguemestre::flow::published::Act;
use vaguemestre::infra::audit::Wanted;
use vaguemestre::infra::directory::Mailboxes;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::infra::keys::MailboxKeys;
use vaguemestre::infra::keys::mail;
use vaguemestre::infra::keys::mail::Certificates;
use vaguemestre::infra::keys::peers::PeerCertificate;
use vaguemestre::infra::store;
use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::redb::RedbStore;

use crate::queue::lab::Lab;
use crate::support::running::said;
use crate::support::serving::Serving;
use crate::support::serving::Space;

/// No authority of these tests has a CRL.
const UNCHECKED: &str = "[revocation]\nmode = \"off\"\n";
const HOST: &str = "hopital.mssante.test";
const ELISE: &str = "elise@hopital.mssante.test";
const PAUL: &str = "paul@hopital.mssante.test";

/// An administrator's own GnuPG.
pub(crate) struct Administrator {
    home: PathBuf,
    pub(crate) certificate: PathBuf,
    fingerprint: String,
}

impl Administrator {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let home = folder.join(format!("gnupg-{name}"));
        fs::create_dir_all(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let certificate = folder.join(format!("{name}.asc"));
        let mut one = Self { home, certificate, fingerprint: String::new() };
        let user = format!("{name} <{name}@hopital.mssante.test>");
        one.must(
            &["--passphrase", "", "--quick-gen-key", &user, "default", "default", "never"],
            b"",
        );
        let listed = one.must(&["--with-colons", "--list-keys"], b"");
        let listed = String::from_utf8(listed.stdout).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        one.fingerprint = line.split(':').nth(9).unwrap().to_owned();
        let exported = one.must(&["--armor", "--export"], b"");
        fs::write(&one.certificate, exported.stdout).unwrap();
        one
    }

    fn gpg(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(&self.home)
            .args(["--batch", "--no-tty", "--yes", "--pinentry-mode", "loopback"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gnupg is in scripts/debian-packages");
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    fn must(&self, arguments: &[&str], input: &[u8]) -> Output {
        let output = self.gpg(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        output
    }

    /// Their share, decrypted by their own program.
    fn share(&self, folder: &Path) -> String {
        let file = folder.join(format!("share-{}.asc", self.fingerprint));
        let opened = self.must(&["--decrypt", file.to_str().unwrap()], b"");
        String::from_utf8(opened.stdout).unwrap()
    }
}

impl Drop for Administrator {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(&self.home)
            .args(["--kill", "all"])
            .status();
    }
}

fn give(relay: &Serving<'_>, share: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
        .args(["escrow", "give", "--share", "-", "--json", "--config"])
        .arg(relay.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(share.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Checks a signature with plain GnuPG, which knows nothing but the certificate.
fn gpg_verifies(keeper: &Administrator, certificate: &Path, file: &Path) -> bool {
    keeper.must(&["--import", text(certificate)], b"");
    let signature = format!("{}.asc", file.display());
    keeper.gpg(&["--verify", &signature, text(file)], b"").status.success()
}

async fn send(relay: &Serving<'_>, to: &[&str], subject: &str) -> String {
    let letter = format!(
        "From: {ELISE}\r\nTo: {}\r\nSubject: {subject}\r\nDate: Fri, 20 Nov 2026 14:36:00 +0100\r\n\
         Message-ID: <{subject}@client.test>\r\n\r\nBonjour\r\n",
        to.join(", ")
    );
    let mut submission = relay.submission(ELISE).await;
    let reply = submission.send(ELISE, to, letter.as_bytes()).await.unwrap();
    let id = reply.split_whitespace().find(|word| {
        let word = word.trim_end_matches('.');
        word.len() == 32 && word.bytes().all(|octet| octet.is_ascii_hexdigit())
    });
    id.unwrap_or_else(|| panic!("no id in {reply}")).trim_end_matches('.').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reading_is_recorded_proved_exported_and_checked_without_the_relay() {
    let space = Space::of(&[HOST]);
    let mut relay = space.relay(0).with(UNCHECKED).start(&[ELISE, PAUL]);
    send(&relay, &[PAUL], "lu").await;
    relay.wait_for(PAUL, "Subject: lu").await;
    let entries = relay.json(&["audit", "list", "--mailbox", PAUL, "--door", "imap"]);
    let entries = entries.as_array().unwrap();
    assert!(!entries.is_empty(), "the reading is not recorded");
    assert_eq!(entries[0]["why"], "read");
    let mailbox = entries[0]["mailbox"].as_str().unwrap();
    assert_eq!(entries[0]["who"], format!("mailbox:{mailbox}"));
    // Elise wrote and read nothing.
    let nobody = relay.json(&["audit", "list", "--mailbox", ELISE]);
    assert_eq!(nobody.as_array().unwrap().len(), 0);

    let proof = relay.json(&["audit", "verify"]);
    let checkpoint = proof["end"].as_str().unwrap().to_owned();
    relay.said(&["audit", "verify", "--expect", &checkpoint]);

    let folder = space.folder().join("export");
    fs::create_dir_all(&folder).unwrap();
    let (file, certificate) = (folder.join("audit.jsonl"), folder.join("organisation.asc"));
    relay.said(&["audit", "export", text(&file)]);
    fs::write(&certificate, relay.said(&["audit", "certificate"])).unwrap();
    let keeper = Administrator::new(&folder, "keeper");
    assert!(gpg_verifies(&keeper, &certificate, &file));
    let check = |file: &Path| {
        crate::cli::vaguemestre(
            &["audit", "check", text(file), "--certificate", text(&certificate)],
            "",
        )
    };
    assert!(check(&file).status.success(), "{}", said(&check(&file)));
    let python = |file: &Path| {
        Command::new("python3").arg("scripts/check-audit").arg(file).output().unwrap()
    };
    assert!(python(&file).status.success(), "{}", said(&python(&file)));
    // Changed: by one letter of a door. Cut: without its last entry.
    let whole = fs::read_to_string(&file).unwrap();
    let altered = folder.join("altered.jsonl");
    fs::copy(folder.join("audit.jsonl.asc"), folder.join("altered.jsonl.asc")).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let cut = [&lines[..lines.len() - 2], &lines[lines.len() - 1..]].concat().join("\n");
    for changed in [whole.replacen("\"imap\"", "\"pop3\"", 1), cut] {
        fs::write(&altered, changed).unwrap();
        assert_eq!(check(&altered).status.code(), Some(1));
        assert!(!python(&altered).status.success());
        assert!(!gpg_verifies(&keeper, &certificate, &altered));
    }

    // Whoever can write to the disk of a stopped relay is found out, and the entry is named.
    relay.kill();
    relay.said(&["audit", "verify", "--expect", &checkpoint]);
    {
        let store = RedbStore::open(&relay.data_dir()).unwrap();
        let page = store.scan(store::prefix(b"U/"), 10).await.unwrap();
        let (key, row) = &page.rows[0];
        let mut value = row.value.to_vec();
        let at = value.windows(4).position(|four| four == b"imap").unwrap();
        value[at..at + 4].copy_from_slice(b"pop3");
        let mut batch = Batch::new();
        batch.put(key.to_vec(), value);
        store.commit(batch).await.unwrap();
        store.close();
    }
    let broken = relay.command(&["audit", "verify"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(said(&broken).contains("entry 1 was changed"), "{}", said(&broken));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_the_mailbox_of_somebody_else_stands_there_with_their_own_id() {
    let space = Space::of(&[HOST]);
    let relay = space.relay(0).with(UNCHECKED).start(&[ELISE, PAUL]);
    send(&relay, &[PAUL, ELISE], "partage").await;
    relay.wait_for(ELISE, "Subject: partage").await;
    let own = relay.json(&["audit", "list", "--mailbox", ELISE, "--door", "imap"]);
    let elise = own[0]["mailbox"].as_str().unwrap().to_owned();
    let grant = ["team", "grant", PAUL, "--to", ELISE, "--rights", "lrs"];
    relay.said(&[&grant[..], &["--until", "2098-12-31", "--reason", "holidays"]].concat());
    let mut imap = relay.imap(ELISE).await;
    imap.command(&format!("SELECT \"Other Users/{PAUL}/INBOX\"")).await.unwrap();
    let before = relay.json(&["audit", "list", "--mailbox", PAUL, "--door", "imap"]);
    let [before] = before.as_array().unwrap().as_slice() else { panic!("{before}") };
    assert_eq!((&before["why"], &before["count"]), (&"list".into(), &0.into()), "nothing read yet");
    assert_eq!(before["who"], format!("mailbox:{elise}"), "{before}");
    imap.command("FETCH 1 BODY.PEEK[]").await.unwrap();
    let read = relay.json(&["audit", "list", "--mailbox", PAUL, "--door", "imap"]);
    assert_eq!(read[0]["who"], format!("mailbox:{elise}"), "{read}");
    assert_eq!(read[0]["why"], "read as its reader", "{read}");
    assert_ne!(read[0]["mailbox"], elise, "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_administrators_open_the_escrow_and_no_others_do() {
    let space = Space::of(&[HOST]);
    let relay = space.relay(0).with(UNCHECKED).start(&[ELISE, PAUL]);
    let folder = space.folder().join("escrow");
    fs::create_dir_all(&folder).unwrap();
    let people = ["anne", "bruno", "chloe"].map(|name| Administrator::new(&folder, name));
    let certificates: Vec<&str> = people.iter().map(|one| text(&one.certificate)).collect();
    let set_up = |verb: &str| {
        let mut arguments = vec!["escrow", verb, "--quorum", "2", "--to", text(&folder)];
        arguments.extend(["--reason", "a test"]);
        arguments.extend(&certificates);
        relay.json(&arguments)
    };
    let made = set_up("setup");
    // Two mailboxes, the spool, the organisation's key and the master key.
    assert_eq!(made["sealed"], 5);
    let shares: Vec<String> = people.iter().map(|one| one.share(&folder)).collect();
    let status = relay.json(&["escrow", "status"]);
    assert_eq!((&status["keys"], &status["covered"]), (&5.into(), &5.into()));

    // A mailbox that is made later is in escrow from its first moment.
    relay.add_mailbox("lea@hopital.mssante.test");
    let status = relay.json(&["escrow", "status"]);
    assert_eq!((&status["keys"], &status["covered"]), (&6.into(), &6.into()));

    for [one, other] in [[0, 1], [0, 2], [1, 2]] {
        relay.said(&["escrow", "drill"]);
        let first = give(&relay, &shares[one]);
        assert!(first.status.success(), "{}", said(&first));
        let twice = give(&relay, &shares[one]);
        assert!(!twice.status.success() && said(&twice).contains("twice"), "{}", said(&twice));
        let last = give(&relay, &shares[other]);
        assert!(last.status.success(), "{}", said(&last));
        let drilled: serde_json::Value = serde_json::from_slice(&last.stdout).unwrap();
        assert_eq!(
            (&drilled["drilled"]["good"], &drilled["drilled"]["keys"]),
            (&6.into(), &6.into())
        );
    }
    assert!(relay.json(&["escrow", "status"])["drilled"].is_string());
    // Without somebody who asks, nothing is taken; nor a share that nobody decrypted.
    let unasked = give(&relay, &shares[0]);
    assert!(said(&unasked).contains("no shares are being collected"), "{}", said(&unasked));
    relay.said(&["escrow", "drill"]);
    let sealed = fs::read_to_string(folder.join(format!("share-{}.asc", people[0].fingerprint)));
    assert!(said(&give(&relay, &sealed.unwrap())).contains("decrypt it first"));
    relay.said(&["escrow", "cancel"]);

    // After a rotation, shares of the earlier escrow are named as such.
    set_up("rotate");
    relay.said(&["escrow", "drill"]);
    let old = give(&relay, &shares[1]);
    assert!(said(&old).contains("earlier or another escrow"), "{}", said(&old));
    for one in &people[1..] {
        let given = give(&relay, &one.share(&folder));
        assert!(given.status.success(), "{}", said(&given));
    }

    let actions: Vec<String> = relay
        .json(&["admin", "journal"])
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["action"].as_str().unwrap().to_owned())
        .collect();
    for action in ["escrow setup", "escrow rotate", "escrow drill"] {
        assert!(actions.iter().any(|there| there == action), "{action} is not in {actions:?}");
    }
    relay.said(&["audit", "verify"]);
    // Nothing of a share in the log, nor of the master key.
    let log = relay.log();
    for share in &shares {
        let value = share.lines().find_map(|line| line.strip_prefix("value: ")).unwrap();
        assert!(!log.contains(&value[2..34]), "a share is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_master_key_comes_back_with_a_quorum_and_letters_are_readable_again() {
    let space = Space::of(&[HOST]);
    let mut relay = space.relay(0).with(UNCHECKED).start(&[ELISE, PAUL]);
    send(&relay, &[PAUL], "avant").await;
    relay.wait_for(PAUL, "Subject: avant").await;
    let folder = space.folder().join("escrow");
    fs::create_dir_all(&folder).unwrap();
    let people = ["anne", "bruno", "chloe"].map(|name| Administrator::new(&folder, name));
    let mut arguments = vec!["escrow", "setup", "--to", text(&folder), "--reason", "a test"];
    arguments.extend(people.iter().map(|one| text(&one.certificate)));
    relay.said(&arguments);
    let files: Vec<PathBuf> = people
        .iter()
        .map(|one| {
            let file = folder.join(format!("{}.share", one.fingerprint));
            fs::write(&file, one.share(&folder)).unwrap();
            file
        })
        .collect();
    relay.kill();
    let config = fs::read_to_string(relay.config()).unwrap();
    let key = config.lines().find_map(|line| line.strip_prefix("master_key = ")).unwrap();
    let key = PathBuf::from(key.trim_matches('"'));
    let master = fs::read_to_string(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert!(!relay.command(&["mailbox", "list"]).status.success());

    let recover = |shares: &[&PathBuf]| {
        let mut arguments = vec!["escrow", "recover", "--master-key", text(&key)];
        shares.iter().for_each(|share| arguments.extend(["--share", text(share)]));
        relay.command(&arguments)
    };
    let alone = recover(&[&files[0]]);
    assert!(said(&alone).contains("1 of 2 shares"), "{}", said(&alone));
    assert!(said(&recover(&[&files[0], &files[0]])).contains("twice"));
    let recovered = recover(&[&files[0], &files[2]]);
    assert!(recovered.status.success(), "{}", said(&recovered));
    assert!(!said(&recovered).contains(master.trim()), "the key was shown");
    assert!(!recover(&[&files[0], &files[2]]).status.success(), "the key was overwritten");
    assert_eq!(fs::read_to_string(&key).unwrap().trim(), master.trim());

    relay.begin();
    relay.wait_for(PAUL, "Subject: avant").await;
    let mut told = false;
    for _ in 0..50 {
        let journal = relay.json(&["admin", "journal"]);
        told = journal.as_array().unwrap().iter().any(|line| line["action"] == "escrow recover");
        if told {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert!(told, "the recovery is not in the journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shredded_letter_is_gone_everywhere_and_its_receipt_is_good() {
    let space = Space::of(&[HOST]);
    let relay = space.relay(0).with(UNCHECKED).start(&[ELISE, PAUL, "lea@hopital.mssante.test"]);
    let doomed = send(&relay, &[PAUL, "lea@hopital.mssante.test"], "detruit").await;
    send(&relay, &[PAUL], "garde").await;
    relay.wait_for(PAUL, "Subject: detruit").await;
    relay.wait_for(PAUL, "Subject: garde").await;
    let done = relay.json(&["shred", "message", "--letter", &doomed, "--why", "wrong patient"]);
    let receipt = done["done"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
    let left = relay.inbox(PAUL).await;
    assert!(left.len() == 1 && left[0].contains("Subject: garde"), "{left:?}");
    assert!(relay.inbox("lea@hopital.mssante.test").await.is_empty());
    let again = relay.command(&["shred", "message", "--letter", &doomed, "--why", "again"]);
    assert!(!again.status.success());

    let folder = space.folder().join("receipt");
    fs::create_dir_all(&folder).unwrap();
    let (file, certificate) = (folder.join("receipt.json"), folder.join("organisation.asc"));
    relay.said(&["shred", "receipt", &receipt, "--to", text(&file)]);
    fs::write(&certificate, relay.said(&["audit", "certificate"])).unwrap();
    let keeper = Administrator::new(&folder, "keeper");
    assert!(gpg_verifies(&keeper, &certificate, &file));
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&told["of"], &told["why"]), (&"message".into(), &"wrong patient".into()));
    assert_eq!(told["sha256"].as_str().unwrap().len(), 64);
    assert!(!told["may_remain"].as_array().unwrap().is_empty());
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("wrong", "right")).unwrap();
    assert!(!gpg_verifies(&keeper, &certificate, &file));

    let gone = relay.json(&["shred", "mailbox", PAUL, "--why", "asked for by its holder"]);
    let receipt = gone["done"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert!(relay.said(&["shred", "receipt", &receipt]).contains("\"of\": \"mailbox\""));
    assert_eq!(relay.json(&["shred", "receipts"]).as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_a_rule_holds_is_shredded_only_by_two() {
    let space = Space::of(&[HOST]);
    let relay = space
        .relay(0)
        .with(UNCHECKED)
        .with("[mailboxes]\nretention_seconds = 86400\n")
        .start(&[ELISE, PAUL]);
    let doomed = send(&relay, &[PAUL], "tenu").await;
    relay.wait_for(PAUL, "Subject: tenu").await;
    let plain = relay.command(&["shred", "message", "--letter", &doomed, "--why", "x"]);
    assert!(said(&plain).contains("--over-retention"), "{}", said(&plain));
    let over = ["shred", "message", "--letter", &doomed, "--over-retention", "--why", "x"];
    assert!(relay.said(&over).contains("second administrator"));
    assert_eq!(relay.inbox(PAUL).await.len(), 1);
}

struct Nobody;

impl Certificates for Nobody {
    fn of_key(&self, _: &str) -> Vec<PeerCertificate> {
        Vec::new()
    }
}

/// Administrators without a program of their own: keys, certificates.
fn administrators(office: &Office) -> Vec<(MailboxKeys, PeerCertificate)> {
    let one = |number: u8| {
        let owner = MailboxId::from_bytes([number; 16]);
        let name = format!("<admin-{number}@hopital.mssante.test>");
        let new = office.keys.generate(&owner, &name, office.clock.now()).unwrap();
        let keys = office.keys.unlock(&owner, &new.wrapped).unwrap();
        (keys, PeerCertificate::read(&new.certificate).unwrap())
    };
    (101..=103).map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_whose_keys_are_damaged_comes_back_with_a_quorum_and_nothing_shows_a_key() {
    let lab = Lab::new(&[], &[], "").await;
    let office = lab.office();
    let account = lab.sender().await;
    let people = administrators(office);
    let certificates: Vec<PeerCertificate> = people.iter().map(|(_, one)| one.clone()).collect();
    let holders = escrow::set_up(office, 2, &certificates, false, "anne", "a test").await.unwrap();
    assert!(escrow::set_up(office, 2, &certificates, false, "anne", "x").await.is_err());
    let covered = escrow::cover(office).await.unwrap();
    assert_eq!((covered.keys, covered.sealed), (4, 4));
    assert_eq!(escrow::cover(office).await.unwrap().sealed, 0, "what is there is left alone");
    let shares: Vec<String> = people
        .iter()
        .zip(&holders)
        .map(|((keys, _), holder)| {
            let now = office.clock.now();
            let opened = mail::open_message(keys, holder.share.as_bytes(), &Nobody, now);
            String::from_utf8(opened.ok().unwrap().clear.expose().clone()).unwrap()
        })
        .collect();

    let refused = session::begin(office, Purpose::Drill(None), "anne", "offline").await;
    assert!(refused.unwrap_err().contains("must run"));
    office.escrow.serve();
    let mut batch = Batch::new();
    let damaged = office.accounts.stage(&account.address, &mut batch, |account| {
        account.wrapped_keys = account.wrapped_keys[..100].to_vec().into();
    });
    damaged.await.unwrap();
    office.store.commit(batch).await.unwrap();
    let damaged = office.accounts.find(&account.address).await.unwrap().unwrap();
    assert!(office.keys.unlock(&damaged.id, &damaged.wrapped_keys).is_err());

    let purpose = Purpose::Mailbox(account.address.clone());
    session::begin(office, purpose, "anne", "a damaged row").await.unwrap();
    session::give(office, &shares[2], "chloe").await.unwrap();
    let restored = session::give(office, &shares[0], "anne").await.unwrap();
    assert!(matches!(restored, Progress::Restored(_)), "{restored:?}");
    let back = office.accounts.find(&account.address).await.unwrap().unwrap();
    office.keys.unlock(&back.id, &back.wrapped_keys).unwrap();

    // A drill of some mailboxes looks at them, and at everything of the relay itself.
    for name in ["un", "deux", "trois"] {
        let new = NewAccount {
            address: Address::parse(&format!("{name}@hopital.mssante.test")).unwrap(),
            kind: MailboxKind::Personal,
            listing: Listing::Public,
            display_name: String::new(),
            password: None,
        };
        life::make(office, new, true, "tester", "a test").await.unwrap();
    }
    escrow::cover(office).await.unwrap();
    for (sample, keys) in [(Some(2), 5), (Some(1), 4), (None, 7)] {
        session::begin(office, Purpose::Drill(sample), "anne", "a habit").await.unwrap();
        session::give(office, &shares[1], "bruno").await.unwrap();
        let drilled = session::give(office, &shares[0], "anne").await.unwrap();
        let Progress::Drilled(drilled) = drilled else { panic!("{drilled:?}") };
        assert_eq!((drilled.keys, drilled.good, drilled.all), (keys, keys, 7));
    }

    // Shares are forgotten when their time is over.
    session::begin(office, Purpose::Drill(None), "anne", "late").await.unwrap();
    session::give(office, &shares[1], "bruno").await.unwrap();
    lab.pass(limits::ESCROW_SHARES_KEPT);
    let late = session::give(office, &shares[0], "anne").await.unwrap_err();
    assert!(late.contains("no shares are being collected"), "{late}");
    office.audit().prove(None).await.unwrap();
    let found = office.audit().last(&Wanted::default(), 10).await.unwrap();
    assert!(found.iter().any(|entry| entry.why == "recovery from escrow with shares 3, 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_mailbox_takes_its_escrow_along_and_leaves_a_receipt() {
    let lab = Lab::new(&[], &[], "").await;
    let office = lab.office();
    let people = administrators(office);
    let certificates: Vec<PeerCertificate> = people.iter().map(|(_, one)| one.clone()).collect();
    escrow::set_up(office, 2, &certificates, false, "anne", "a test").await.unwrap();
    let account = lab.sender().await;
    escrow::cover(office).await.unwrap();
    // New subkeys are in escrow with the commit that made them, not with the next pass.
    let act = Act { author: "anne", reason: "a habit" };
    published::rotate(office, &account.address, act).await.unwrap();
    assert_eq!(escrow::cover(office).await.unwrap().sealed, 0);
    let in_escrow = [b"X/blob/".as_slice(), account.id.as_bytes()].concat();
    assert!(office.store.get(&in_escrow).await.unwrap().is_some());
    let deed = Deed::ShredMailbox { address: account.address.clone(), reason: "asked".to_owned() };
    let person = Person { name: "anne", author: "anne" };
    approval::ask(office, deed, person).await.unwrap();
    assert!(office.store.get(&in_escrow).await.unwrap().is_none());
    let found = office.audit().last(&Wanted::default(), 10).await.unwrap();
    let revoked = "revoke the certificate of an ended mailbox";
    assert!(found.iter().any(|entry| entry.why == revoked), "{found:?}");
    let receipt = shred::of_mailbox(office, &account.id).await.unwrap();
    assert!(receipt.text.contains(&format!("{:?}", account.id)));
    assert!(!receipt.text.contains("dr.lune"), "a receipt of a mailbox names nobody");
}
