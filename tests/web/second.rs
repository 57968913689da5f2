//! Second factors, app passwords and administrators, on the pages of a running relay. The browser
//! is curl with its jar of cookies.
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use totp_rs::Builder;
use vaguemestre::demo::client::Imap;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;

use crate::support::running;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;

const HOST: &str = "hopital.mssante.test";
const CLAIRE: &str = "claire@hopital.mssante.test";
const HUGO: &str = "hugo@hopital.mssante.test";
/// Nobody asks whether these tests' own certificates are revoked.
const QUIET: &str = "[revocation]\nmode = \"off\"\n";

pub(crate) struct Curl {
    site: String,
    resolve: String,
    ca: PathBuf,
    jar: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    /// Path and query to which the browser is sent.
    pub(crate) to: String,
    pub(crate) body: String,
}

impl Curl {
    /// A browser that was never here.
    pub(crate) fn new(relay: &Serving<'_>, name: &str) -> Self {
        let port = relay.port("https");
        Self {
            site: format!("https://{HOST}:{port}"),
            resolve: format!("{HOST}:{port}:127.0.0.1"),
            ca: relay.ca_file(),
            jar: relay.folder.join(format!("{name}.jar")),
        }
    }

    fn ask(&self, path: &str, fields: Option<&[(&str, &str)]>) -> Page {
        let pairs = fields.unwrap_or_default().iter();
        let pairs = pairs.map(|(name, value)| format!("{name}={value}"));
        self.with(path, "--data-urlencode", pairs.collect())
    }

    /// A form as browsers send those with files.
    pub(crate) fn post_parts(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let pairs = fields.iter().map(|(name, value)| format!("{name}={value}"));
        self.with(path, "--form-string", pairs.collect())
    }

    fn with(&self, path: &str, kind: &str, fields: Vec<String>) -> Page {
        let url = format!("{}{path}", self.site);
        let (ca, jar) = (self.ca.to_str().unwrap(), self.jar.to_str().unwrap());
        let mut command = Command::new("curl");
        command.args(["-sS", "--cacert", ca, "--resolve", &self.resolve]);
        command.args(["-b", jar, "-c", jar, "-w", "\n%{http_code} %{redirect_url}", &url]);
        for field in &fields {
            command.args([kind, field]);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = running::said(&output);
        assert!(output.status.success(), "{path}: {said}");
        let (body, end) = said.rsplit_once('\n').unwrap();
        let (status, to) = end.split_once(' ').unwrap();
        let to = to.strip_prefix(&self.site).unwrap_or(to).to_owned();
        Page { status: status.parse().unwrap(), to, body: body.to_owned() }
    }

    pub(crate) fn get(&self, path: &str) -> Page {
        self.ask(path, None)
    }

    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.ask(path, Some(fields))
    }

    pub(crate) fn log_in(&self, who: &str, password: &str) -> Page {
        let form = self.get("/account/login").hidden("form");
        let fields = [("form", form.as_str()), ("name", who), ("password", password)];
        self.post("/account/login", &fields)
    }

    /// The second step.
    pub(crate) fn show(&self, code: &str) -> Page {
        let csrf = self.get("/account/second").hidden("csrf");
        self.post("/account/second", &[("csrf", &csrf), ("code", code)])
    }

    pub(crate) fn log_in_as_administrator(&self, who: &str, password: &str, code: &str) -> Page {
        let form = self.get("/admin/login").hidden("form");
        let fields =
            [("form", form.as_str()), ("name", who), ("password", password), ("code", code)];
        self.post("/admin/login", &fields)
    }
}

impl Page {
    pub(crate) fn hidden(&self, name: &str) -> String {
        self.between(&format!("type=\"hidden\" name=\"{name}\" value=\""), "\"")
    }

    pub(crate) fn between(&self, before: &str, after: &str) -> String {
        let found = self.body.split_once(before).and_then(|(_, rest)| rest.split_once(after));
        found.unwrap_or_else(|| panic!("no {before} in {self:?}")).0.to_owned()
    }
}

/// RFC 4648 §6.
pub(crate) fn from_base32(text: &str) -> Vec<u8> {
    let (mut octets, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(u8::is_ascii_alphanumeric) {
        let five = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'A' };
        bits = bits << 5 | u32::from(five);
        count += 5;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count & 0xff) as u8);
        }
    }
    octets
}

/// The code that an authenticator shows so many steps from now.
pub(crate) fn code(secret: &[u8], steps: i64) -> String {
    let now = i64::try_from(SystemClock.now().as_seconds()).unwrap();
    let totp = Builder::new().with_secret(secret.to_vec()).build().unwrap();
    totp.generate(u64::try_from(now + 30 * steps).unwrap()).to_string()
}

/// Waits for the first half of a time step, so that a test's codes keep their places.
fn early_in_a_step() {
    while SystemClock.now().as_seconds() % 30 > 12 {
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
}

/// Every page behind the second factor, and where it sends who has not shown it.
const PAGES: [(&str, &str); 8] = [
    ("/account", "/account/login"),
    ("/account/factors", "/account/login"),
    ("/account/app-passwords", "/account/login"),
    ("/account/mailbox", "/account/login"),
    ("/account/directory?q=lune", "/account/login"),
    ("/inbox", "/inbox/login"),
    ("/admin", "/admin/login"),
    ("/admin/mailboxes", "/admin/login"),
];
const FORMS: [&str; 6] = [
    "/account/session/end",
    "/account/app-passwords",
    "/account/app-passwords/revoke",
    "/account/factors/change",
    "/account/mailbox",
    "/admin/mailboxes/00000000000000000000000000000001",
];

/// A password alone is nobody at all.
fn assert_is_nobody(browser: &Curl) {
    let csrf = browser.get("/account/second").hidden("csrf");
    for (path, login) in PAGES {
        let page = browser.get(path);
        assert!(page.status == 303 && page.to.starts_with(login), "{path}: {page:?}");
    }
    for path in FORMS {
        let page = browser.post(path, &[("csrf", &csrf), ("name", "x"), ("scope", "read")]);
        assert!(page.status == 303 && page.to.contains("/login"), "{path}: {page:?}");
    }
}

/// Sets one-time codes up from a page that proposes a secret; gives the secret, the recovery
/// codes and the page.
fn enrol(browser: &Curl, proposal: &Page) -> (Vec<u8>, Vec<String>) {
    let secret = from_base32(&proposal.between("saisissez ce secret : <strong>", "</strong>"));
    assert_eq!(secret.len(), 20);
    let csrf = proposal.hidden("csrf");
    let confirm = "/account/factors/confirm";
    let wrong = browser.post(confirm, &[("csrf", &csrf), ("code", "000000")]);
    assert_eq!(wrong.status, 401, "{wrong:?}");
    let kept = from_base32(&wrong.between("saisissez ce secret : <strong>", "</strong>"));
    assert_eq!(kept, secret, "the program has learnt it already");
    let done = browser.post(confirm, &[("csrf", &csrf), ("code", &code(&secret, -1))]);
    assert_eq!(done.status, 200, "{done:?}");
    let codes: Vec<String> = done
        .body
        .split("<li><code>")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap().to_owned())
        .collect();
    assert_eq!(codes.len(), 10, "{done:?}");
    (secret, codes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_stands_before_every_page() {
    let space = Space::of(&[HOST]);
    let relay = space.relay(0).with(QUIET).with("[login]\nsecond_factor = \"optional\"\n");
    let relay = relay.start(&[CLAIRE]);
    let browser = Curl::new(&relay, "claire");
    assert_eq!(browser.log_in(CLAIRE, PASSWORD).to, "/account");
    early_in_a_step();
    let (secret, codes) = enrol(&browser, &browser.get("/account/factors"));
    let page = browser.get("/account/factors");
    assert!(!page.body.contains("ce secret"), "a secret is shown once: {page:?}");

    // A stranger who found the page open, or has the password, enrols nothing over it.
    let csrf = page.hidden("csrf");
    let stolen = browser.post("/account/factors/confirm", &[("csrf", &csrf), ("code", "000000")]);
    assert_eq!(stolen.status, 403, "{stolen:?}");
    let change = "/account/factors/change";
    let removed = browser.post(change, &[("csrf", &csrf), ("what", "remove"), ("code", "000000")]);
    assert_eq!(removed.status, 401, "an open page is not enough");

    let thief = Curl::new(&relay, "thief");
    assert_eq!(thief.log_in(CLAIRE, PASSWORD).to, "/account/second");
    assert_is_nobody(&thief);
    let csrf = thief.get("/account/second").hidden("csrf");
    let over = thief.post("/account/factors/confirm", &[("csrf", &csrf), ("code", "000000")]);
    assert_eq!(over.status, 403, "{over:?}");
    let forged = thief.post("/account/second", &[("csrf", "x"), ("code", &code(&secret, 0))]);
    assert_eq!(forged.status, 403, "a form of another page");
    assert_eq!(thief.show(&code(&secret, -1)).status, 401, "it was used to set codes up");

    let second = Curl::new(&relay, "second");
    assert_eq!(second.log_in(CLAIRE, PASSWORD).to, "/account/second");
    let now = code(&secret, 0);
    assert_eq!(second.show(&now).to, "/account");
    assert_eq!(second.get("/account").status, 200);
    assert_eq!(thief.show(&now).status, 401, "a replay");

    assert_eq!(thief.show(&codes[0].to_uppercase()).to, "/account", "a recovery code");
    let third = Curl::new(&relay, "third");
    third.log_in(CLAIRE, PASSWORD);
    assert_eq!(third.show(&codes[0]).status, 401, "it counts once");
    for _ in 0..9 {
        assert_eq!(third.show("000000").status, 401);
    }
    assert_eq!(third.show(&codes[1]).status, 429, "too many were wrong");
    let fourth = Curl::new(&relay, "fourth");
    fourth.log_in(CLAIRE, PASSWORD);
    assert_eq!(fourth.show(&codes[1]).status, 429, "from elsewhere, too");
    assert_eq!(second.get("/account").status, 200, "who is in stays in");

    // The administrator's way out, with a line in the journal.
    let factors = relay.said(&["mailbox", "factors", CLAIRE]);
    assert!(factors.contains("9 recovery codes"), "{factors}");
    let bare = relay.command(&["mailbox", "factors", CLAIRE, "--reset"]);
    assert!(!bare.status.success(), "a reason is needed");
    let reset = ["mailbox", "factors", CLAIRE, "--reset", "--reason", "telephone stolen"];
    assert!(relay.said(&reset).contains("forgotten"));
    assert!(relay.said(&["mailbox", "factors", CLAIRE]).contains("no second factor"));
    let journal = relay.said(&["admin", "journal"]);
    assert!(journal.contains("mailbox factors reset") && journal.contains("telephone stolen"));
    let fifth = Curl::new(&relay, "fifth");
    assert_eq!(fifth.log_in(CLAIRE, PASSWORD).to, "/account");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_house_that_requires_a_second_factor_has_it_set_up_before_anything_else() {
    let space = Space::of(&[HOST]);
    let relay = space.relay(0).with(QUIET).with("[login]\nsecond_factor = \"required\"\n");
    let relay = relay.start(&[HUGO]);
    let browser = Curl::new(&relay, "hugo");
    assert_eq!(browser.log_in(HUGO, PASSWORD).to, "/account/second");
    assert_is_nobody(&browser);
    early_in_a_step();
    let (secret, _) = enrol(&browser, &browser.get("/account/second"));
    let page = browser.get("/account/factors");
    assert_eq!(page.status, 200, "{page:?}");
    assert!(!page.body.contains("value=\"remove\""), "nobody may turn it off here");
    let csrf = page.hidden("csrf");
    let fields = [("csrf", csrf.as_str()), ("what", "remove"), ("code", &code(&secret, 0))];
    assert_eq!(browser.post("/account/factors/change", &fields).status, 403);
    let again = Curl::new(&relay, "again");
    assert_eq!(again.log_in(HUGO, PASSWORD).to, "/account/second");
    assert_eq!(again.show(&code(&secret, 0)).to, "/account");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_password_is_made_shown_once_used_listed_and_cut_off() {
    let space = Space::of(&[HOST]);
    let relay = space.relay(0).with(QUIET).start(&[CLAIRE, HUGO]);
    let browser = Curl::new(&relay, "claire");
    assert_eq!(browser.log_in(CLAIRE, PASSWORD).to, "/account");
    let home = "/account/app-passwords";
    let csrf = browser.get(home).hidden("csrf");
    let add = |name: &str, scope: &str, network: &str, days: &str, csrf: &str| {
        let fields = [
            ("csrf", csrf),
            ("name", name),
            ("scope", scope),
            ("network", network),
            ("days", days),
        ];
        browser.post(home, &fields)
    };
    assert_eq!(add("téléphone", "read", "", "90", "forged").status, 403);
    for (name, scope, network, days) in [
        ("", "read", "", "90"),
        ("x", "all", "", "90"),
        ("x", "read", "192.0.2.1/24", "90"),
        ("x", "read", "", "4000"),
    ] {
        let wrong = add(name, scope, network, days, &csrf);
        assert!(wrong.status == 422 && wrong.body.contains("role=\"alert\""), "{wrong:?}");
    }
    let made = add("<téléphone>", "read", "127.0.0.0/8", "90", &csrf);
    assert_eq!(made.status, 200, "{made:?}");
    let password = made.between("<code>", "</code>");
    assert!(!made.body.contains("<téléphone>"), "a name is no markup");
    assert_eq!(add("<téléphone>", "read", "", "90", &csrf).status, 409, "one name, one password");
    let listed = browser.get(home);
    assert!(!listed.body.contains(&password), "it is shown once");
    assert!(listed.body.contains("127.0.0.0/8") && listed.body.contains("lire seulement"));
    assert!(listed.body.contains("Jamais utilisé"), "{listed:?}");

    let tls = relay.tls();
    let mut imap = Imap::open(relay.door("imaps"), &tls, CLAIRE, &password).await.unwrap();
    let used = browser.get(home);
    assert!(used.body.contains("Lecture des messages – 127.0.0.1"), "{used:?}");
    assert!(browser.get("/account").body.contains("téléphone"), "it is connected");

    // It opens no page.
    let program = Curl::new(&relay, "program");
    let refused = program.log_in(CLAIRE, &password);
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(program.get("/account").status, 303);
    // Somebody else cannot revoke it.
    let hugo = Curl::new(&relay, "hugo");
    hugo.log_in(HUGO, PASSWORD);
    let his = hugo.get(home).hidden("csrf");
    let revoke = "/account/app-passwords/revoke";
    hugo.post(revoke, &[("csrf", &his), ("name", "<téléphone>")]);
    imap.command("NOOP").await.unwrap();

    let forged = browser.post(revoke, &[("csrf", &his), ("name", "<téléphone>")]);
    assert_eq!(forged.status, 403);
    let revoked = browser.post(revoke, &[("csrf", &csrf), ("name", "<téléphone>")]);
    assert_eq!(revoked.to, "/account/app-passwords?revoked=1");
    let cut = imap.command("NOOP").await.is_err() || imap.command("NOOP").await.is_err();
    assert!(cut, "its session ends with it");
    assert!(Imap::open(relay.door("imaps"), &tls, CLAIRE, &password).await.is_err());
    assert!(!browser.get(home).body.contains("127.0.0.0/8"));
    let journal = relay.said(&["admin", "journal"]);
    assert!(journal.contains("app-password add") && journal.contains("app-password revoke"));
    assert!(!journal.contains(&password) && !relay.log().contains(&password));
}

/// Runs a command of the program that needs no relay, and gives what it printed.
pub(crate) fn program(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", running::said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_administrators_on_the_pages_are_two_persons() {
    let space = Space::of(&[HOST]);
    let file = space.folder().join("admin.passwd");
    let file = file.to_str().unwrap();
    let passwd = ["admin", "passwd", "--file", file, "--password-stdin"];
    program(&passwd, "le premier mot de passe\n");
    program(&[&passwd[..], &["--user", "marie.martin"]].concat(), "le second mot de passe\n");
    let sections = format!(
        "[login]\nsecond_factor = \"optional\"\n[admin]\npassword_file = {file:?}\n\
         [life]\nfour_eyes = [\"close\"]\n"
    );
    let mut relay = space.relay(0).with(QUIET).with(&sections).start(&[CLAIRE]);

    let (first, marie) = (Curl::new(&relay, "first"), Curl::new(&relay, "marie"));
    let wrong = first.log_in_as_administrator("marie.martin", "le premier mot de passe", "");
    assert_eq!(wrong.status, 401, "a password is one person's");
    assert_eq!(first.log_in_as_administrator("paul", "le premier mot de passe", "").status, 401);
    assert_eq!(first.log_in_as_administrator("admin", "le premier mot de passe", "").to, "/admin");
    let entered = marie.log_in_as_administrator("marie.martin", "le second mot de passe", "");
    assert_eq!(entered.to, "/admin");
    assert!(marie.get("/admin").body.contains("marie.martin"));

    let list = first.get("/admin/mailboxes");
    let mailbox = format!("/admin/mailboxes/{}", list.between("href=\"/admin/mailboxes/", "\""));
    let csrf = first.get(&mailbox).hidden("csrf");
    let close =
        [("csrf", csrf.as_str()), ("step", "close"), ("reason", "left us"), ("sure", "yes")];
    let asked = first.post(&mailbox, &close);
    assert!(asked.to.ends_with("told=waits"), "{asked:?}");
    let waiting = first.get("/admin/mailboxes");
    let petition = format!("/admin/approvals/{}", waiting.between("\"/admin/approvals/", "\""));
    let approve = |browser: &Curl| {
        let csrf = browser.get("/admin/mailboxes").hidden("csrf");
        let fields = [("csrf", csrf.as_str()), ("step", "approve"), ("reason", "she did leave")];
        browser.post(&petition, &fields)
    };
    let own = approve(&first);
    assert_eq!(own.status, 409, "nobody approves their own");
    assert!(own.body.contains("Personne n’approuve sa propre demande"), "{own:?}");
    first.get("/?lang=en");
    let own = approve(&first);
    assert!(own.body.contains("Nobody approves their own request"), "{own:?}");
    assert!(approve(&marie).to.ends_with("told=done"));
    let journal = relay.said(&["admin", "journal"]);
    assert!(journal.contains("marie.martin (dashboard)"), "{journal}");

    // One-time codes are each person's own, and count once, a restart or not.
    let config = relay.config();
    let totp = ["admin", "totp", "--json", "--config", config.to_str().unwrap()];
    let made = program(&[&totp[..], &["--user", "marie.martin"]].concat(), "");
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let secret = from_base32(made["secret"].as_str().unwrap());
    let third = Curl::new(&relay, "third");
    let enter = |who: &str, password: &str, code: &str| {
        third.log_in_as_administrator(who, password, code).status
    };
    assert_eq!(enter("marie.martin", "le second mot de passe", ""), 401);
    early_in_a_step();
    let now = code(&secret, 0);
    assert_eq!(enter("marie.martin", "faux", &now), 401, "it is not used up by that");
    assert_eq!(enter("marie.martin", "le second mot de passe", &now), 303);
    assert_eq!(enter("marie.martin", "le second mot de passe", &now), 401, "a replay");
    assert_eq!(enter("admin", "le premier mot de passe", ""), 303, "who has set none up");
    relay.kill();
    relay.begin();
    assert_eq!(enter("marie.martin", "le second mot de passe", &now), 401, "after a restart");
    assert_eq!(enter("marie.martin", "le second mot de passe", &code(&secret, 1)), 303);

    program(&["admin", "passwd", "--file", file, "--user", "marie.martin", "--remove"], "");
    assert_eq!(enter("marie.martin", "le second mot de passe", ""), 401);
    assert_eq!(enter("admin", "le premier mot de passe", ""), 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_factors_are_forgotten_on_the_dashboard_and_by_two_where_that_is_the_rule() {
    let space = Space::of(&[HOST]);
    let file = space.folder().join("admin.passwd");
    let file = file.to_str().unwrap();
    let passwd = ["admin", "passwd", "--file", file, "--password-stdin"];
    program(&passwd, "le premier mot de passe\n");
    program(&[&passwd[..], &["--user", "marie"]].concat(), "le second mot de passe\n");
    let sections = format!(
        "[login]\nsecond_factor = \"optional\"\n[admin]\npassword_file = {file:?}\n\
         [life]\nfour_eyes = [\"factors\"]\n"
    );
    let relay = space.relay(0).with(QUIET).with(&sections).start(&[CLAIRE]);
    let claire = Curl::new(&relay, "claire");
    claire.log_in(CLAIRE, PASSWORD);
    early_in_a_step();
    enrol(&claire, &claire.get("/account/factors"));
    let (first, marie) = (Curl::new(&relay, "first"), Curl::new(&relay, "marie"));
    first.log_in_as_administrator("admin", "le premier mot de passe", "");
    marie.log_in_as_administrator("marie", "le second mot de passe", "");

    let list = first.get("/admin/mailboxes");
    let mailbox = format!("/admin/mailboxes/{}", list.between("href=\"/admin/mailboxes/", "\""));
    let page = first.get(&mailbox);
    assert!(page.body.contains("<dd>codes à usage unique</dd>"), "{page:?}");
    let csrf = page.hidden("csrf");
    let reset = |csrf: &str, reason: &str| {
        let fields = [("csrf", csrf), ("step", "reset-factors"), ("reason", reason)];
        first.post(&mailbox, &fields)
    };
    assert_eq!(reset("x", "téléphone volé").status, 403);
    assert!(reset(&csrf, "").to.ends_with("told=reason"));
    assert!(reset(&csrf, "téléphone volé").to.ends_with("told=waits"));
    let other = Curl::new(&relay, "other");
    assert_eq!(other.log_in(CLAIRE, PASSWORD).to, "/account/second", "it waits");
    let waiting = marie.get("/admin/mailboxes");
    let said = format!("Oublier la double authentification de {CLAIRE}");
    assert!(waiting.body.contains(&said), "{waiting:?}");
    let petition = format!("/admin/approvals/{}", waiting.between("\"/admin/approvals/", "\""));
    let csrf = waiting.hidden("csrf");
    let approved = [("csrf", csrf.as_str()), ("step", "approve"), ("reason", "called back")];
    assert!(marie.post(&petition, &approved).to.ends_with("told=done"));
    let again = marie.post(&petition, &approved);
    assert!(again.status == 409 && again.body.contains("déjà exécutée"), "{again:?}");
    let journal = relay.said(&["admin", "journal"]);
    assert!(journal.contains("mailbox factors reset") && journal.contains("téléphone volé"));
    assert!(journal.contains("mailbox one-time codes on"), "{journal}");
    assert_eq!(other.log_in(CLAIRE, PASSWORD).to, "/account");
    assert!(!first.get(&mailbox).body.contains("reset-factors"), "there are none any more");
    // The command waits in the same way.
    let command = ["mailbox", "factors", CLAIRE, "--reset", "--reason", "again"];
    let asked = running::said(&relay.command(&command));
    assert!(asked.contains("approval"), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_sees_and_ends_who_is_on_the_pages() {
    let space = Space::of(&[HOST]);
    let relay = space.relay(0).with(QUIET).start(&[CLAIRE, HUGO]);
    let (claire, hugo) = (Curl::new(&relay, "claire"), Curl::new(&relay, "hugo"));
    assert_eq!(claire.log_in(CLAIRE, PASSWORD).to, "/account");
    assert_eq!(hugo.log_in(HUGO, PASSWORD).to, "/account");
    let listed = running::said(&relay.command(&["session", "list"]));
    let line =
        listed.lines().find(|line| line.contains(CLAIRE)).unwrap_or_else(|| panic!("{listed}"));
    assert!(line.contains("pages"), "{listed}");
    assert!(listed.contains(HUGO), "{listed}");
    let id = line.split_whitespace().next().unwrap();
    assert!(relay.command(&["session", "kill", id, "--reason", "left"]).status.success());
    assert_eq!(claire.get("/account").to, "/account/login?ended=1");
    assert_eq!(hugo.get("/account").status, 200);
    // Whoever goes away by themselves is not listed any more either.
    let csrf = hugo.get("/account").hidden("csrf");
    hugo.post("/account/logout", &[("csrf", &csrf)]);
    let listed = running::said(&relay.command(&["session", "list"]));
    assert!(!listed.contains(HUGO) && !listed.contains(CLAIRE), "{listed}");
}
