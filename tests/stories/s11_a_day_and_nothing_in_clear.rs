//! As an operator I want that a whole day's work, with crashes, changed keys and backups, leaves
//! nothing of a letter in clear: in no data folder, no log and no temporary file.
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use vaguemestre::demo::client::Imap;
use vaguemestre::demo::client::Submission;

use super::s04_nothing_readable_on_disk_or_in_logs::files;
use crate::custody::Administrator;
use crate::sieve::client::Client;
use crate::support::letters;
use crate::support::running;
use crate::support::serving::Serving;
use crate::support::serving::Space;
use crate::web::second;
use crate::web::second::Curl;

const HOST: &str = "hopital.mssante.test";
const PATIENTS: &str = "patient.mssante.test";
const AWAY: &str = "cabinet.mssante.test";
const ELISE: &str = "elise@hopital.mssante.test";
const LEA: &str = "lea@hopital.mssante.test";
/// Has an OpenPGP key of her own.
const NOEMIE: &str = "noemie@hopital.mssante.test";
const TEAM: &str = "imagerie@hopital.mssante.test";
const DESK: &str = "secretariat@hopital.mssante.test";
const PAUL: &str = "paul@cabinet.mssante.test";
const INS: &str = "288027599000175";
const MORE: &str = "[revocation]\nmode = \"off\"\n[login]\nsecond_factor = \"optional\"\n\
                    [queue]\nretry_seconds = [1]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_crashes_changed_keys_and_backups_leaves_nothing_in_clear() {
    let space = Space::of(&[HOST, AWAY]);
    space.publish(&[(HOST, 0), (PATIENTS, 0), (AWAY, 1)]);
    let away = space.relay(1).with(MORE);
    let mut day = Day::begin(&space, away.port("mx"));
    day.mailboxes();
    let doomed = day.letters().await;
    day.mail_programs().await;
    day.filters().await;
    day.pages().await;
    day.killed_in_the_middle().await;
    day.keys_change(&doomed).await;
    let elsewhere = day.backup_is_read_elsewhere(&space).await;
    // The letter that waited all day leaves from the backup.
    let away = away.start(&[PAUL]);
    away.wait_for(PAUL, &day.canary("attend")).await;

    day.relay.stop();
    let mut logs = String::new();
    for relay in [&day.relay, &elsewhere, &away] {
        logs.push_str(&relay.log());
        day.assert_nothing_in(&[&relay.data_dir(), &relay.folder.join("log.txt")]);
    }
    day.assert_nothing_in(&[&day.temporary]);
    for spoken in ["a letter was taken in", "a delivery was tried", "a new master key"] {
        assert!(logs.contains(spoken), "the logs that were searched must speak: {spoken}");
    }
    day.assert_that_the_search_can_find();
}

/// One relay's day, and the words that nobody else would write.
struct Day<'s> {
    relay: Serving<'s>,
    temporary: PathBuf,
    /// Every canary begins with it.
    stem: String,
    needles: Needles,
    ids: HashMap<&'static str, String>,
}

impl<'s> Day<'s> {
    fn begin(space: &'s Space, away: u16) -> Self {
        let stem = format!("canari{}", &uuid::Uuid::new_v4().simple().to_string()[..14]);
        let temporary = space.folder().join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let relay = space.relay(0).with(MORE).route(AWAY, away);
        let relay = relay.variable("TMPDIR", temporary.to_str().unwrap());
        // A mailbox: whoever makes the first one makes the master key.
        let mut relay = relay.start(&[DESK]);
        relay.stop();
        let text = fs::read_to_string(relay.config()).unwrap();
        let domains = format!("domains = [{HOST:?}]");
        let both = format!("{domains}\ncitizen_domains = [{PATIENTS:?}]");
        fs::write(relay.config(), text.replacen(&domains, &both, 1)).unwrap();
        relay.begin();
        let mut needles = Needles::default();
        needles.add("a canary", &stem);
        needles.add("the INS", INS);
        needles.add_secret("the first master key", &master_key(&relay.folder.join("master.key")));
        Self { relay, temporary, stem, needles, ids: HashMap::new() }
    }

    fn canary(&self, of: &str) -> String {
        format!("{}{of}", self.stem)
    }

    /// A canary is everybody's password.
    fn password(&self) -> String {
        self.canary("motdepasse")
    }

    fn mailboxes(&self) {
        let patient = format!("{INS}@{PATIENTS}");
        let kinds = [(ELISE, "PER"), (LEA, "PER"), (NOEMIE, "PER"), (TEAM, "ORG")];
        for (address, kind) in kinds.into_iter().chain([(patient.as_str(), "CTN")]) {
            let input = format!("{address}\n{}\n", self.password());
            let add = ["mailbox", "add", "-", "--kind", kind, "--password-stdin"];
            let output = fed(&self.relay, &add, &input);
            assert!(output.status.success(), "{address}: {}", running::said(&output));
        }
        let passwd = ["mailbox", "passwd", "-", "--password-stdin"];
        let output = fed(&self.relay, &passwd, &format!("{TEAM}\n{}\n", self.password()));
        assert!(output.status.success(), "{}", running::said(&output));
        let owner = Administrator::new(self.relay.folder.as_path(), "noemie");
        let certificate = owner.certificate.to_str().unwrap();
        self.relay.said(&["keys", "own", "set", NOEMIE, certificate, "--reason", "a test"]);
    }

    async fn imap(&self, relay: &Serving<'_>, user: &str) -> Imap {
        let password = self.password();
        Imap::open(relay.door("imaps"), &relay.tls(), user, &password).await.unwrap()
    }

    async fn submission(&self) -> Submission {
        let door = self.relay.door("submissions");
        Submission::open(door, &self.relay.tls(), ELISE, &self.password()).await.unwrap()
    }

    /// A letter with canaries everywhere; `of` stands in its subject.
    fn letter(&self, of: &str, id: &str, octets: usize) -> Vec<u8> {
        let subject = self.canary(of);
        let head = format!("From: {ELISE}\r\nTo: {TEAM}\r\nSubject: {subject}\r\n");
        let head = format!("{head}Message-ID: {id}\r\nMIME-Version: 1.0\r\n");
        if octets <= 300 {
            return format!("{head}\r\n{}\r\n", self.canary("corps")).into_bytes();
        }
        let encoded = STANDARD.encode(format!("é{}", self.canary("encode")));
        let broken = self.stem.chars().map(|c| format!("{c}=\r\n")).collect::<String>();
        let hex = self.stem.bytes().map(|octet| format!("={octet:02X}")).collect::<String>();
        let name = self.canary("nom");
        let mut letter = format!(
            "{head}Comments: =?utf-8?B?{encoded}?=\r\n\
             Content-Type: multipart/mixed; boundary=b\r\n\r\n\
             --b\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\n\
             Corps {body}\r\n{broken}\r\n{hex}\r\n\
             --b\r\nContent-Type: application/pdf; name=\"{name}.pdf\"\r\n\
             Content-Disposition: attachment; filename=\"{name}.pdf\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n",
            body = self.canary("corps"),
        );
        // Every line of the attachment is a canary, at each place in a triple, and something that
        // does not compress.
        for place in (0..3).cycle() {
            let noise = [(); 4].map(|()| uuid::Uuid::new_v4().into_bytes()).concat();
            let page = self.canary("page");
            let line = [&b"xyz"[..place], page.as_bytes(), &noise].concat();
            letter.push_str(&STANDARD.encode(line));
            letter.push_str("\r\n");
            if letter.len() > octets {
                break;
            }
        }
        letter.push_str("--b--\r\n");
        letter.into_bytes()
    }

    /// Small to large, to everybody, and one to the operator who is away. The id of the one that
    /// will be shredded.
    async fn letters(&mut self) -> String {
        let patient = format!("{INS}@{PATIENTS}");
        let mut session = self.submission().await;
        let mut doomed = String::new();
        for (of, octets, to) in [
            ("petite", 300, vec![ELISE, LEA, TEAM, NOEMIE, &patient]),
            ("moyenne", 5_000, vec![ELISE, LEA, TEAM, &patient]),
            ("grande", 150_000, vec![LEA, NOEMIE, &patient]),
            ("immense", 2_000_000, vec![LEA, TEAM]),
            ("detruite", 400_000, vec![ELISE, LEA]),
            ("attend", 60_000, vec![PAUL]),
        ] {
            let id = letters::message_id();
            let said = session.send(ELISE, &to, &self.letter(of, &id, octets)).await.unwrap();
            if of == "detruite" {
                let words = said.split_whitespace().map(|word| word.trim_end_matches('.'));
                let is_id = |word: &&str| {
                    word.len() == 32 && word.bytes().all(|octet| octet.is_ascii_hexdigit())
                };
                doomed = words.clone().find(is_id).unwrap().to_owned();
            }
            self.ids.insert(of, id);
        }
        for of in ["petite", "moyenne", "grande", "immense", "detruite"] {
            self.arrived(LEA, of).await;
        }
        self.arrived(TEAM, "immense").await;
        doomed
    }

    async fn arrived(&self, user: &str, of: &str) {
        let mut imap = self.imap(&self.relay, user).await;
        for _ in 0..200 {
            if imap.count_in_inbox(&self.ids[of]).await.unwrap() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{of} does not come to {user}");
    }

    /// Folders, reading, searching, moving, deleting, over IMAP and POP3.
    async fn mail_programs(&self) {
        let mut imap = self.imap(&self.relay, LEA).await;
        let (folder, other) = (self.canary("dossier"), self.canary("autre"));
        let appended = self.letter("deposee", &letters::message_id(), 700_000);
        let appended = String::from_utf8(appended).unwrap();
        for command in [
            format!("CREATE \"{folder}\""),
            format!("CREATE \"{other}\""),
            format!("SUBSCRIBE \"{folder}\""),
            format!("APPEND \"{folder}\" (\\Seen) {{{}+}}\r\n{appended}", appended.len()),
            "SELECT INBOX".to_owned(),
            "FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY[])".to_owned(),
            format!("STORE 1 +FLAGS ({})", self.canary("drapeau")),
            format!("COPY 1:3 \"{folder}\""),
            format!("MOVE 2 \"{other}\""),
            format!("SELECT \"{folder}\""),
            format!("SETMETADATA \"{folder}\" (/private/comment \"{}\")", self.canary("note")),
        ] {
            let shown = command.get(..30).unwrap_or(&command).to_owned();
            imap.command(&command).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        }
        for search in [
            format!("SEARCH TEXT {}", self.canary("corps")),
            format!("SEARCH BODY {}", self.canary("corps")),
            format!("SEARCH SUBJECT {}", self.canary("deposee")),
        ] {
            let found = imap.command(&search).await.unwrap().concat();
            let found = String::from_utf8(found).unwrap();
            assert!(found.contains("* SEARCH 1") || found.contains("* SEARCH 2"), "{found}");
        }
        imap.command("STORE 2 +FLAGS (\\Deleted)").await.unwrap();
        imap.command("EXPUNGE").await.unwrap();
        assert!(imap.command(&format!("SELECT \"{}\"", self.canary("nulle"))).await.is_err());
        const SCRIPT: &str = "
import poplib, ssl, sys
ca, port, user, password, canary = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
tls = ssl.create_default_context(cafile=ca)
tls.check_hostname = False
door = poplib.POP3_SSL('127.0.0.1', port, timeout=20, context=tls)
door.user(user)
door.pass_(password)
count = door.stat()[0]
assert canary.encode() in b''.join(b''.join(door.retr(n)[1]) for n in range(1, count + 1))
door.dele(1)
door.quit()
print('fine')
";
        let (port, ca) = (self.relay.port("pop3s").to_string(), self.relay.ca_file());
        let (password, corps) = (self.password(), self.canary("corps"));
        let words = ["-c", SCRIPT, ca.to_str().unwrap(), &port, TEAM, &password, &corps];
        let output = running::run("python3", &words);
        assert!(running::said(&output).contains("fine"), "{}", running::said(&output));
    }

    async fn filters(&mut self) {
        let tls = self.relay.tls();
        let door = self.relay.door("managesieve");
        let mut sieve = Client::logged_in_at(door, &tls, ELISE, &self.password()).await;
        let named = self.canary("filtre");
        assert!(sieve.put(&named, &format!("# {named}\r\nkeep;\r\n")).await.starts_with("OK"));
        sieve
            .activate(&format!(
                "require [\"fileinto\", \"mailbox\", \"imap4flags\", \"vacation\"];\r\n\
                 vacation :subject \"{named}\" \"Absente {named}\";\r\n\
                 fileinto :create :flags [\"{named}\"] \"{}\";\r\nkeep;\r\n",
                self.canary("range"),
            ))
            .await;
        let id = letters::message_id();
        let letter = self.letter("filtree", &id, 900);
        self.submission().await.send(ELISE, &[ELISE], &letter).await.unwrap();
        self.ids.insert("filtree", id);
        self.arrived(ELISE, "filtree").await;
        let mut imap = self.imap(&self.relay, ELISE).await;
        imap.command(&format!("SELECT \"{}\"", self.canary("range"))).await.unwrap();
    }

    /// A patient reads; a clinician makes an app password and sets one-time codes up.
    async fn pages(&mut self) {
        let patient = Curl::new(&self.relay, "patient");
        let form = patient.get("/inbox/login").hidden("form");
        let password = self.password();
        let fields = [("form", form.as_str()), ("name", INS), ("password", &password)];
        let entered = patient.post("/inbox/login", &fields);
        assert!(entered.to.starts_with("/inbox"), "{entered:?}");
        let page = patient.get("/inbox/1/1");
        assert!(page.body.contains(&self.canary("")), "{page:?}");

        let lea = Curl::new(&self.relay, "lea");
        assert_eq!(lea.log_in(LEA, &password).to, "/account");
        let csrf = lea.get("/account/app-passwords").hidden("csrf");
        let name = self.canary("telephone");
        let fields = [("csrf", csrf.as_str()), ("name", &name), ("scope", "read")];
        let fields = [&fields[..], &[("network", ""), ("days", "90")]].concat();
        let made = lea.post("/account/app-passwords", &fields);
        assert_eq!(made.status, 200, "{made:?}");
        let given = made.between("<code>", "</code>");
        self.needles.add("an app password", &given);
        let (door, tls) = (self.relay.door("imaps"), self.relay.tls());
        let mut imap = Imap::open(door, &tls, LEA, &given).await.unwrap();
        imap.command("SELECT INBOX").await.unwrap();
        imap.command("FETCH 1 BODY.PEEK[]").await.unwrap();

        let elise = Curl::new(&self.relay, "elise");
        assert_eq!(elise.log_in(ELISE, &password).to, "/account");
        let proposal = elise.get("/account/factors");
        let shown = proposal.between("saisissez ce secret : <strong>", "</strong>");
        let shown: String = shown.chars().filter(char::is_ascii_alphanumeric).collect();
        let secret = second::from_base32(&shown);
        let (csrf, code) = (proposal.hidden("csrf"), second::code(&secret, 0));
        let fields = [("csrf", csrf.as_str()), ("code", &code)];
        let done = elise.post("/account/factors/confirm", &fields);
        assert_eq!(done.status, 200, "{done:?}");
        let recovery = done.between("<li><code>", "<");
        self.needles.add("a one-time secret", &shown);
        self.needles.add_secret("a one-time secret", &secret);
        self.needles.add("a recovery code", &recovery);
    }

    /// SIGKILL while a letter comes in by submission, then while one comes in by APPEND.
    async fn killed_in_the_middle(&mut self) {
        let whole = self.letter("interrompue", &letters::message_id(), 2_000_000);
        let half = String::from_utf8(whole[..1_500_000].to_vec()).unwrap();
        let a_moment = Duration::from_millis(700);
        let door = self.relay.door("submissions");
        let (tls, password) = (self.relay.tls(), self.password());
        let mut session = Submission::open(door, &tls, LEA, &password).await.unwrap();
        session.command(&format!("MAIL FROM:<{LEA}>"), "250").await.unwrap();
        session.command(&format!("RCPT TO:<{TEAM}>"), "250").await.unwrap();
        session.command("DATA", "354").await.unwrap();
        let answer = tokio::time::timeout(a_moment, session.command(&half, "250")).await;
        assert!(answer.is_err(), "the letter has no end yet");
        self.relay.kill();
        self.assert_nothing_in(&[&self.relay.data_dir(), &self.temporary]);
        self.relay.begin();

        let mut imap = self.imap(&self.relay, LEA).await;
        let begin = format!("x APPEND INBOX {{{}}}\r\n", whole.len());
        imap.write(begin.as_bytes()).await.unwrap();
        assert!(imap.response().await.unwrap().starts_with(b"+"));
        let _ = tokio::time::timeout(a_moment, imap.write(half.as_bytes())).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.relay.kill();
        self.assert_nothing_in(&[&self.relay.data_dir(), &self.temporary]);
        self.relay.begin();
        self.arrived(LEA, "grande").await;
    }

    /// Escrow, a new master key, a new key of a mailbox, and a letter shredded.
    async fn keys_change(&mut self, doomed: &str) {
        let folder = self.relay.folder.join("escrow");
        fs::create_dir_all(&folder).unwrap();
        let people = ["anne", "bruno"].map(|name| Administrator::new(&folder, name));
        let mut setup = vec!["escrow", "setup", "--quorum", "2", "--reason", "a test"];
        setup.extend(["--to", folder.to_str().unwrap()]);
        setup.extend(people.iter().map(|one| one.certificate.to_str().unwrap()));
        self.relay.said(&setup);
        self.relay.said(&["keys", "rotate", LEA, "--reason", "yearly"]);
        self.relay.said(&["shred", "message", "--letter", doomed, "--why", "wrong patient"]);

        let (first, new) = (self.relay.folder.join("master.key"), self.new_master_key());
        let made = ["keys", "master", "new", new.to_str().unwrap()];
        let made = running::run(env!("CARGO_BIN_EXE_vaguemestre"), &made);
        assert!(made.status.success(), "{}", running::said(&made));
        self.needles.add_secret("the second master key", &master_key(&new));
        self.relay.stop();
        let config = fs::read_to_string(self.relay.config()).unwrap();
        let named = format!("master_key = {first:?}\n");
        let both = format!("master_key = {new:?}\nmaster_keys_old = [{first:?}]\n");
        let one = format!("master_key = {new:?}\nmaster_keys_old = []\n");
        fs::write(self.relay.config(), config.replacen(&named, &both, 1)).unwrap();
        self.relay.begin();
        let said = self.relay.said(&["keys", "master", "rewrap"]);
        assert!(said.contains("Everything is wrapped"), "{said}");
        self.relay.stop();
        fs::remove_file(&first).unwrap();
        fs::write(self.relay.config(), config.replacen(&named, &one, 1)).unwrap();
        self.relay.begin();

        let id = letters::message_id();
        let letter = self.letter("apres", &id, 20_000);
        let (door, tls) = (self.relay.door("submissions"), self.relay.tls());
        let mut session = Submission::open(door, &tls, LEA, &self.password()).await.unwrap();
        let letter = String::from_utf8(letter).unwrap().replacen(ELISE, LEA, 1);
        session.send(LEA, &[LEA, TEAM], letter.as_bytes()).await.unwrap();
        self.ids.insert("apres", id);
        self.arrived(LEA, "apres").await;
        let mut imap = self.imap(&self.relay, LEA).await;
        assert_eq!(imap.count_in_inbox(&self.ids["detruite"]).await.unwrap(), 0, "it is shredded");
    }

    fn new_master_key(&self) -> PathBuf {
        self.relay.folder.join("master-2.key")
    }

    /// The data folder of the stopped relay, copied, and served under other ports.
    async fn backup_is_read_elsewhere(&mut self, space: &'s Space) -> Serving<'s> {
        self.relay.stop();
        let mut elsewhere = space.relay(0).variable("TMPDIR", self.temporary.to_str().unwrap());
        fs::create_dir_all(&elsewhere.folder).unwrap();
        let copied = Command::new("cp")
            .args(["-a", self.relay.data_dir().to_str().unwrap()])
            .arg(elsewhere.data_dir())
            .status();
        assert!(copied.unwrap().success());
        let mut text = fs::read_to_string(self.relay.config()).unwrap();
        for door in DOORS {
            let (here, there) = (self.relay.door(door), elsewhere.door(door));
            text = text.replace(&format!("\"{here}\""), &format!("\"{there}\""));
        }
        let folders = [&self.relay.folder, &elsewhere.folder].map(|one| one.to_str().unwrap());
        text = text.replace(folders[0], folders[1]);
        fs::write(elsewhere.config(), text).unwrap();
        fs::copy(self.new_master_key(), elsewhere.folder.join("master-2.key")).unwrap();
        elsewhere.begin();
        for (user, of) in [(LEA, "grande"), (LEA, "apres"), (TEAM, "immense")] {
            let mut imap = self.imap(&elsewhere, user).await;
            assert_eq!(imap.count_in_inbox(&self.ids[of]).await.unwrap(), 1, "{of}");
            let read = imap.command("FETCH 1:* BODY.PEEK[]").await.unwrap().concat();
            assert!(String::from_utf8_lossy(&read).contains(&self.canary(of)), "{of}");
        }
        elsewhere
    }

    fn assert_nothing_in(&self, places: &[&Path]) {
        let hits: Vec<String> = places.iter().flat_map(|place| self.needles.hits(place)).collect();
        assert!(hits.is_empty(), "{hits:#?}");
    }

    /// The same search finds each form of a canary, and what may be in clear in the store.
    fn assert_that_the_search_can_find(&self) {
        let control = self.relay.folder.join("control");
        for (name, octets) in self.needles.0.clone() {
            fs::write(&control, [b"before\0", octets.as_slice(), b"\xffafter"].concat()).unwrap();
            assert!(!self.needles.hits(&control).is_empty(), "{name} is not found");
        }
        let letter = self.letter("temoin", &letters::message_id(), 3_000);
        let attachment = letter.windows(7).rposition(|seven| seven == b"base64\r").unwrap();
        for part in [&letter[..200], &letter[attachment..]] {
            fs::write(&control, part).unwrap();
            assert!(!self.needles.hits(&control).is_empty(), "a letter is not found");
        }
        fs::remove_file(&control).unwrap();
        let mut public = Needles::default();
        public.add("a professional address", ELISE);
        assert!(!public.hits(&self.relay.data_dir()).is_empty(), "the store was not searched");
        let kept = files(&self.relay.data_dir());
        let octets: u64 = kept.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        assert!(octets > 3_000_000, "the letters are not in the folder: {octets} octets");
    }
}

const DOORS: [&str; 11] = [
    "submission",
    "submissions",
    "mx",
    "imap",
    "imaps",
    "pop3s",
    "managesieve",
    "https",
    "metrics",
    "ldap",
    "ldaps",
];

/// In octets. What is shorter is found in any noise.
const SHORTEST: usize = 8;

/// Runs a command that reads names and passwords from its input.
fn fed(relay: &Serving<'_>, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
        .args(arguments)
        .arg("--config")
        .arg(relay.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The 32 octets of a key file in either of its forms.
fn master_key(file: &Path) -> Vec<u8> {
    let octets = fs::read(file).unwrap();
    if octets.len() == 32 {
        return octets;
    }
    let digits = String::from_utf8(octets).unwrap();
    let digits = digits.trim().as_bytes();
    assert_eq!(digits.len(), 64, "an unknown form of a key");
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// What is searched: each word in every form in which a program may write it.
#[derive(Default)]
struct Needles(Vec<(String, Vec<u8>)>);

impl Needles {
    fn add(&mut self, what: &str, text: &str) {
        self.add_secret(what, text.as_bytes());
        let mut also =
            |form: &str, octets: Vec<u8>| self.0.push((format!("{what}, {form}"), octets));
        also("small", text.to_lowercase().into_bytes());
        also("large", text.to_uppercase().into_bytes());
        also("UTF-16LE", text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        also("UTF-16BE", text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        let quoted = text.bytes().map(|octet| format!("={octet:02X}")).collect::<String>();
        also("quoted", quoted.into_bytes());
        let apart = text.chars().map(|c| format!("{c}=\r\n")).collect::<String>();
        also("in broken lines", apart.into_bytes());
        for encoded in base64_forms(text.as_bytes()) {
            for twice in base64_forms(&encoded) {
                also("twice in base64", twice);
            }
        }
        // A line may end in the middle.
        if text.len() >= 20 {
            also("first half", text.as_bytes()[..10].to_vec());
            also("second half", text.as_bytes()[text.len() - 10..].to_vec());
        }
        self.0.retain(|(_, needle)| needle.len() >= SHORTEST);
    }

    /// Octets that are no text: as they are, in hex and in base64.
    fn add_secret(&mut self, what: &str, octets: &[u8]) {
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        self.0.push((what.to_owned(), octets.to_vec()));
        self.0.push((format!("{what}, HEX"), hex.to_uppercase().into_bytes()));
        self.0.push((format!("{what}, hex"), hex.into_bytes()));
        for encoded in base64_forms(octets) {
            self.0.push((format!("{what}, base64"), encoded));
        }
        self.0.retain(|(_, needle)| needle.len() >= SHORTEST);
    }

    /// Each needle that is in this file or in the files of this folder.
    fn hits(&self, place: &Path) -> Vec<String> {
        let all = if place.is_dir() { files(place) } else { vec![place.to_owned()] };
        let mut hits = Vec::new();
        for file in all {
            let octets = fs::read(&file).unwrap_or_default();
            for found in self.found_in(&octets) {
                hits.push(format!("{found} in {}", file.display()));
            }
        }
        hits
    }

    /// One pass: most places are passed over by their first two octets.
    fn found_in(&self, octets: &[u8]) -> Vec<String> {
        let mut beginning: Vec<Vec<usize>> = vec![Vec::new(); 1 << 16];
        for (number, (_, needle)) in self.0.iter().enumerate() {
            beginning[usize::from(needle[0]) << 8 | usize::from(needle[1])].push(number);
        }
        let mut found = BTreeMap::new();
        for (at, pair) in octets.windows(2).enumerate() {
            for number in &beginning[usize::from(pair[0]) << 8 | usize::from(pair[1])] {
                if octets[at..].starts_with(&self.0[*number].1) {
                    found.entry(*number).or_insert(at);
                }
            }
        }
        let shown = |(number, at): (usize, usize)| {
            let around = &octets[at.saturating_sub(60)..octets.len().min(at + 60)];
            format!("{} ({})", self.0[number].0, around.escape_ascii())
        };
        found.into_iter().map(shown).collect()
    }
}

/// Base64 at each place in a triple, without the ends that hang on the neighbours.
fn base64_forms(octets: &[u8]) -> [Vec<u8>; 3] {
    [0, 1, 2].map(|shift| {
        let encoded = STANDARD.encode([&b"xx"[..shift], octets].concat());
        encoded.as_bytes()[4..encoded.len() - 4].to_vec()
    })
}
