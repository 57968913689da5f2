//! Passkeys in a real browser, whose authenticator is a virtual one of its own, by the keyboard
//! alone.
use serde_json::Value;
use serde_json::json;

use super::second::Curl;
use super::second::program;
use crate::support::chromium::Chromium;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;

const HOST: &str = "hopital.mssante.test";
const CLAIRE: &str = "claire@hopital.mssante.test";
const HUGO: &str = "hugo@hopital.mssante.test";
/// Nobody asks whether these tests' own certificates are revoked.
const QUIET: &str = "[revocation]\nmode = \"off\"\n";

/// A relay whose pages are `https://localhost:…`: elsewhere a browser trusts no test certificate
/// with passkeys.
fn relay<'s>(space: &'s Space, second_factor: &str, more: &str) -> (Serving<'s>, String) {
    let relay = space.relay(0);
    let site = format!("https://localhost:{}", relay.port("https"));
    let sections = format!(
        "[login]\nsecond_factor = \"{second_factor}\"\n[web]\npublic_url = {site:?}\n{more}"
    );
    (relay.with(QUIET).with(&sections).start(&[CLAIRE, HUGO]), site)
}

/// A browser with an authenticator: its name.
fn with_authenticator(browser: &mut Chromium) -> Value {
    browser.call("WebAuthn.enable", json!({}));
    let options = json!({"protocol": "ctap2", "transport": "internal", "hasResidentKey": true,
        "hasUserVerification": true, "isUserVerified": true, "automaticPresenceSimulation": true});
    let added = browser.call("WebAuthn.addVirtualAuthenticator", json!({"options": options}));
    added["authenticatorId"].clone()
}

fn credentials(browser: &mut Chromium, authenticator: &Value) -> Vec<Value> {
    let asked = json!({"authenticatorId": authenticator});
    let known = browser.call("WebAuthn.getCredentials", asked);
    known["credentials"].as_array().unwrap().clone()
}

/// What the authenticator holds from now on.
fn hold(browser: &mut Chromium, authenticator: &Value, credentials: &[Value]) {
    browser.call("WebAuthn.clearCredentials", json!({"authenticatorId": authenticator}));
    for credential in credentials {
        let one = json!({"authenticatorId": authenticator, "credential": credential});
        browser.call("WebAuthn.addCredential", one);
    }
}

fn enter(browser: &mut Chromium) {
    for kind in ["keyDown", "keyUp"] {
        let key = json!({"type": kind, "key": "Enter", "code": "Enter",
            "windowsVirtualKeyCode": 13, "text": "\r"});
        browser.call("Input.dispatchKeyEvent", key);
    }
}

fn typed(browser: &mut Chromium, field: &str, text: &str) {
    browser.value(&format!("document.querySelector('{field}').focus()"));
    browser.call("Input.insertText", json!({"text": text}));
}

/// The button that asks the authenticator is where the keyboard is.
fn press_passkey(browser: &mut Chromium) {
    browser.wait_for(
        "document.activeElement.form && document.activeElement.form.dataset.passkey
         && !document.activeElement.disabled",
    );
    enter(browser);
}

fn log_in(browser: &mut Chromium, site: &str, who: &str, lang: &str) {
    browser.go(&format!("{site}/account/login?lang={lang}"));
    browser.wait_for("document.querySelector('#name')");
    typed(browser, "#name", who);
    typed(browser, "#password", PASSWORD);
    enter(browser);
}

fn log_out(browser: &mut Chromium) {
    browser.value("document.querySelector('.tools form button').focus()");
    enter(browser);
    browser.wait_for("location.pathname.endsWith('/login')");
}

fn text(browser: &mut Chromium) -> String {
    browser.value("document.body.innerText").as_str().unwrap().to_owned()
}

/// Adds a passkey on the page that is open, where that may be done.
fn add(browser: &mut Chromium, name: &str) {
    browser.wait_for("document.querySelector('#passkey-name')");
    typed(browser, "#passkey-name", name);
    enter(browser);
    browser.wait_for("document.querySelector('form[data-passkey=make]')");
    press_passkey(browser);
}

/// The policy holds: nothing was blocked, and nothing ran but our one script.
fn assert_quiet(browser: &mut Chromium) {
    // Refusals are answered with these, which a browser notes.
    let expected = ["401", "403", "409", "422", "429"];
    browser.complaints.retain(|text| !expected.iter().any(|status| text.contains(status)));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

/// Makes the page ask for this credential, whatever the relay asked for, and press the button.
fn show_instead(browser: &mut Chromium, credential: &Value) {
    browser.wait_for("document.querySelector('form[data-passkey=show] button:enabled')");
    let id = credential["credentialId"].as_str().unwrap();
    let id = id.replace('+', "-").replace('/', "_").replace('=', "");
    browser.value(&format!(
        "(() => {{
            const form = document.querySelector('form[data-passkey=show]');
            const options = JSON.parse(form.dataset.options);
            options.publicKey.allowCredentials = [{{type: 'public-key', id: '{id}'}}];
            form.dataset.options = JSON.stringify(options);
            form.querySelector('button').focus();
        }})()"
    ));
    enter(browser);
}

#[test]
fn a_passkey_is_registered_used_listed_and_removed_with_the_keyboard_alone() {
    let space = Space::of(&[HOST]);
    let (relay, site) = relay(&space, "optional", "");
    let mut browser = Chromium::open();
    let authenticator = with_authenticator(&mut browser);
    log_in(&mut browser, &site, CLAIRE, "fr");
    browser.wait_for("location.pathname == '/account'");
    assert_eq!(browser.value("document.querySelectorAll('script').length"), 0);
    browser.go(&format!("{site}/account/factors"));
    add(&mut browser, "téléphone <rouge>");
    browser.wait_for("document.querySelectorAll('li code').length == 10");
    assert!(text(&mut browser).contains("Vos codes de secours"));
    let recovery = browser.value("document.querySelector('li code').innerText");
    let first = credentials(&mut browser, &authenticator);
    assert_eq!(first.len(), 1);
    let factors = relay.said(&["mailbox", "factors", CLAIRE]);
    assert!(factors.contains("1 passkey; 10 recovery codes"), "{factors}");
    browser.go(&format!("{site}/account/factors"));
    browser.wait_for("document.querySelector('#passkey-1')");
    let page = text(&mut browser);
    assert!(page.contains("téléphone <rouge>") && page.contains("Jamais utilisée"), "{page}");
    assert_eq!(browser.value("document.querySelectorAll('[name=handle]').length"), 0, "{page}");

    // The password alone is nobody; with the passkey it opens, in both languages.
    let thief = Curl::new(&relay, "thief");
    assert_eq!(thief.log_in(CLAIRE, PASSWORD).to, "/account/second");
    assert_eq!(thief.get("/account").status, 303);
    assert_eq!(thief.get("/account/factors").status, 303);
    for (lang, said) in [("en", "Use a passkey"), ("fr", "Utiliser une clé d’accès")] {
        log_out(&mut browser);
        log_in(&mut browser, &site, CLAIRE, lang);
        browser.wait_for("location.pathname == '/account/second'");
        assert!(text(&mut browser).contains(said), "{lang}");
        press_passkey(&mut browser);
        browser.wait_for("location.pathname == '/account'");
    }

    // Changes need it again; the same device is not registered twice.
    browser.go(&format!("{site}/account/factors"));
    browser.wait_for("document.querySelector('#passkey-1')");
    assert!(text(&mut browser).contains("Dernière utilisation"));
    press_passkey(&mut browser);
    browser.wait_for("document.querySelector('#passkey-name')");
    add(&mut browser, "encore");
    browser.wait_for("document.querySelector('[role=status]').innerText.includes('garde déjà')");
    // Another device.
    hold(&mut browser, &authenticator, &[]);
    browser.go(&format!("{site}/account/factors"));
    add(&mut browser, "ordinateur");
    browser.wait_for("document.querySelector('#passkey-2')");
    let second = credentials(&mut browser, &authenticator);
    browser.value("document.querySelector('[name=what][value=remove-passkey]').focus()");
    enter(&mut browser);
    browser
        .wait_for("document.querySelector('#passkey-1') && !document.querySelector('#passkey-2')");
    assert!(text(&mut browser).contains("ordinateur"));

    // The removed one opens nothing, even when the browser asks for it.
    hold(&mut browser, &authenticator, &[first[0].clone(), second[0].clone()]);
    log_out(&mut browser);
    log_in(&mut browser, &site, CLAIRE, "fr");
    browser.wait_for("location.pathname == '/account/second'");
    show_instead(&mut browser, &first[0]);
    browser.wait_for("document.querySelector('#problem')");
    assert!(text(&mut browser).contains("n’a pas été acceptée"));
    // An answer is good once: what opens now is shown again at the next login.
    browser.wait_for("document.querySelector('form[data-passkey=show] button:enabled')");
    browser.value(
        "window.send = HTMLFormElement.prototype.submit;
         HTMLFormElement.prototype.submit = function () {
             window.kept = this.querySelector('[name=answer]').value;
         }",
    );
    press_passkey(&mut browser);
    browser.wait_for("window.kept");
    let kept = browser.value("window.kept");
    browser.value("window.send.call(document.querySelector('form[data-passkey=show]'))");
    browser.wait_for("location.pathname == '/account'");
    log_out(&mut browser);
    log_in(&mut browser, &site, CLAIRE, "fr");
    browser.wait_for("document.querySelector('form[data-passkey=show]')");
    browser.value(&format!(
        "document.querySelector('[name=answer]').value = {kept};
         document.querySelector('form[data-passkey=show]').submit()"
    ));
    browser.wait_for("document.querySelector('#problem')");

    // A recovery code opens as well; the journal knows every change; a reset forgets them all.
    typed(&mut browser, "#code", recovery.as_str().unwrap());
    enter(&mut browser);
    browser.wait_for("location.pathname == '/account'");
    let journal = relay.said(&["admin", "journal"]);
    assert!(journal.contains("passkey add") && journal.contains("passkey remove"), "{journal}");
    assert!(!journal.contains("téléphone") && !relay.log().contains("téléphone"));
    relay.said(&["mailbox", "factors", CLAIRE, "--reset", "--reason", "a test"]);
    let fresh = Curl::new(&relay, "fresh");
    assert_eq!(fresh.log_in(CLAIRE, PASSWORD).to, "/account");
    assert_quiet(&mut browser);
}

#[test]
fn a_copied_passkey_and_another_persons_open_nothing_in_a_real_browser() {
    let space = Space::of(&[HOST]);
    let (relay, site) = relay(&space, "required", "");
    let mut browser = Chromium::open();
    let authenticator = with_authenticator(&mut browser);
    // Where a second factor is required, a passkey is one: before anything else.
    let register = |browser: &mut Chromium, who: &str| {
        hold(browser, &authenticator, &[]);
        log_in(browser, &site, who, "fr");
        browser.wait_for("location.pathname == '/account/second'");
        add(browser, "clé");
        browser.wait_for("document.querySelectorAll('li code').length == 10");
        let made = credentials(browser, &authenticator);
        browser.go(&format!("{site}/account"));
        browser.wait_for("location.pathname == '/account'");
        made[0].clone()
    };
    let hers = register(&mut browser, CLAIRE);
    // The last one stays.
    browser.go(&format!("{site}/account/factors"));
    browser.wait_for("document.querySelector('#passkey-1')");
    assert_eq!(browser.value("document.querySelectorAll('[value=remove]').length"), 0);
    press_passkey(&mut browser);
    browser.wait_for("document.querySelector('[name=handle]')");
    browser.value("document.querySelector('[value=remove-passkey]').focus()");
    enter(&mut browser);
    browser.wait_for("document.querySelector('#problem')");
    assert!(text(&mut browser).contains("votre dernière deuxième étape"));
    log_out(&mut browser);
    let his = register(&mut browser, HUGO);
    log_out(&mut browser);

    hold(&mut browser, &authenticator, &[hers.clone(), his.clone()]);
    log_in(&mut browser, &site, HUGO, "en");
    browser.wait_for("location.pathname == '/account/second'");
    show_instead(&mut browser, &hers);
    browser.wait_for("document.querySelector('#problem')");
    assert!(text(&mut browser).contains("was not accepted"));
    press_passkey(&mut browser);
    browser.wait_for("location.pathname == '/account'");
    log_out(&mut browser);
    // The authenticator as it was when it was copied: its counter is behind.
    hold(&mut browser, &authenticator, &[his]);
    log_in(&mut browser, &site, HUGO, "en");
    browser.wait_for("location.pathname == '/account/second'");
    press_passkey(&mut browser);
    browser.wait_for("document.querySelector('#problem')");
    assert!(text(&mut browser).contains("This passkey was copied"));
    assert_eq!(browser.value("document.querySelectorAll('[data-passkey]').length"), 0);
    let journal = relay.said(&["admin", "journal"]);
    assert!(journal.contains("passkey copied") && journal.contains("ran backwards"), "{journal}");
    let thief = Curl::new(&relay, "thief");
    assert_eq!(thief.log_in(HUGO, PASSWORD).to, "/account/second", "nor the password alone");
    assert_quiet(&mut browser);
}

#[test]
fn an_administrators_passkey_stands_before_the_dashboard() {
    let space = Space::of(&[HOST]);
    let file = space.folder().join("admin.passwd");
    let file = file.to_str().unwrap();
    let passwd = ["admin", "passwd", "--file", file, "--password-stdin"];
    program(&passwd, "le premier mot de passe\n");
    program(&[&passwd[..], &["--user", "marie"]].concat(), "le second mot de passe\n");
    let (relay, site) = relay(&space, "optional", &format!("[admin]\npassword_file = {file:?}\n"));
    let mut browser = Chromium::open();
    with_authenticator(&mut browser);
    let enter_as_marie = |browser: &mut Chromium| {
        browser.go(&format!("{site}/admin/login?lang=fr"));
        browser.wait_for("document.querySelector('#name')");
        typed(browser, "#name", "marie");
        typed(browser, "#password", "le second mot de passe");
        enter(browser);
    };
    enter_as_marie(&mut browser);
    browser.wait_for("location.pathname == '/admin'");
    browser.go(&format!("{site}/admin/passkeys"));
    add(&mut browser, "bureau");
    browser.wait_for("document.querySelector('#passkey-1')");
    log_out(&mut browser);
    enter_as_marie(&mut browser);
    browser.wait_for("location.pathname == '/admin/second'");
    let thief = Curl::new(&relay, "thief");
    let half = thief.log_in_as_administrator("marie", "le second mot de passe", "");
    assert_eq!(half.to, "/admin/second");
    for path in ["/admin", "/admin/mailboxes", "/admin/passkeys", "/admin/statistics.csv"] {
        assert_eq!(thief.get(path).to, "/admin/login", "{path}");
    }
    let any = thief.log_in_as_administrator("marie", "le second mot de passe", "123456");
    assert_eq!(any.to, "/admin/second", "a code of nobody's is no passkey");
    press_passkey(&mut browser);
    browser.wait_for("location.pathname == '/admin'");
    // Changes need it again.
    browser.go(&format!("{site}/admin/passkeys"));
    browser.wait_for("document.querySelector('#passkey-1')");
    assert_eq!(browser.value("document.querySelectorAll('[name=handle]').length"), 0);
    press_passkey(&mut browser);
    browser.wait_for("document.querySelector('[name=handle]')");
    let other = Curl::new(&relay, "other");
    let entered = other.log_in_as_administrator("admin", "le premier mot de passe", "");
    assert_eq!(entered.to, "/admin", "another administrator has none");
    // Who has codes shows one before adding a passkey: an open page is not enough.
    let config = relay.config();
    let totp = ["admin", "totp", "--json", "--config", config.to_str().unwrap()];
    program(&totp, "");
    let page = other.get("/admin/passkeys");
    assert!(page.body.contains("id=\"code\"") && !page.body.contains("passkey-name"), "{page:?}");
    let csrf = page.hidden("csrf");
    let add = [("csrf", csrf.as_str()), ("name", "stranger's")];
    assert_eq!(other.post("/admin/passkeys/add", &add).status, 403);
    let guess = [("csrf", csrf.as_str()), ("what", "again"), ("code", "000000")];
    assert_eq!(other.post("/admin/passkeys", &guess).status, 401);
    // Lost: another administrator forgets it for her.
    let lost = ["admin", "passkeys", "--user", "marie", "--reset", "--reason", "lost"];
    assert!(relay.said(&lost).contains("forgotten"));
    assert!(relay.said(&["admin", "passkeys", "--user", "marie"]).contains("no passkeys"));
    let journal = relay.said(&["admin", "journal"]);
    assert!(journal.contains("admin passkeys reset") && journal.contains("passkey add"));
    let entered = thief.log_in_as_administrator("marie", "le second mot de passe", "");
    assert_eq!(entered.to, "/admin");
    assert_quiet(&mut browser);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_answers_are_refused_at_the_door_and_counted_as_codes_are() {
    let space = Space::of(&[HOST]);
    let (relay, _) = relay(&space, "required", "");
    let thief = Curl::new(&relay, "thief");
    assert_eq!(thief.log_in(CLAIRE, PASSWORD).to, "/account/second");
    let csrf = thief.get("/account/second").hidden("csrf");
    let (add, made) = ("/account/factors/passkeys", "/account/factors/passkeys/made");
    for path in [add, made, "/account/second"] {
        let forged = thief.post(path, &[("csrf", "x"), ("answer", "{}"), ("name", "x")]);
        assert_eq!(forged.status, 403, "{path}");
    }
    let answers = ["{}", "null", "[[[[[[[[", "{\"id\":\"x\",\"rawId\":\"x\"}"];
    for answer in answers {
        let nothing_asked = thief.post(made, &[("csrf", &csrf), ("answer", answer)]);
        assert_eq!(nothing_asked.status, 401, "{nothing_asked:?}");
        let asked = thief.post(add, &[("csrf", &csrf), ("name", "<b>clé</b>")]);
        assert_eq!(asked.status, 200, "{asked:?}");
        assert!(asked.body.contains("data-passkey=\"make\"") && !asked.body.contains("<b>"));
        for _ in 0..2 {
            let refused = thief.post(made, &[("csrf", &csrf), ("answer", answer)]);
            assert_eq!(refused.status, 401, "{refused:?}");
        }
    }
    let huge = "x".repeat(100_000);
    for path in [made, "/account/second"] {
        assert_eq!(thief.post(path, &[("csrf", &csrf), ("answer", &huge)]).status, 413, "{path}");
    }
    let show = || thief.post("/account/second", &[("csrf", &csrf), ("answer", "{}")]).status;
    for _ in 0..10 {
        assert_eq!(show(), 401);
    }
    assert_eq!(show(), 429, "guesses are counted");
    assert_eq!(thief.get("/account").status, 303);
    assert!(relay.said(&["mailbox", "factors", CLAIRE]).contains("no second factor"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_administrators_open_pages_end_with_the_next_request() {
    let space = Space::of(&[HOST]);
    let file = space.folder().join("admin.passwd");
    let file = file.to_str().unwrap();
    let passwd = ["admin", "passwd", "--file", file, "--password-stdin"];
    program(&passwd, "le premier mot de passe\n");
    program(&[&passwd[..], &["--user", "marie"]].concat(), "le second mot de passe\n");
    let sections = format!("[admin]\npassword_file = {file:?}\n");
    let relay = space.relay(0).with(QUIET).with(&sections).start(&[CLAIRE]);
    let (first, marie) = (Curl::new(&relay, "first"), Curl::new(&relay, "marie"));
    first.log_in_as_administrator("admin", "le premier mot de passe", "");
    marie.log_in_as_administrator("marie", "le second mot de passe", "");
    let list = marie.get("/admin/mailboxes");
    assert_eq!(list.status, 200);
    let mailbox = format!("/admin/mailboxes/{}", list.between("href=\"/admin/mailboxes/", "\""));
    let csrf = marie.get(&mailbox).hidden("csrf");
    program(&["admin", "passwd", "--file", file, "--user", "marie", "--remove"], "");
    // The page that is open does nothing any more, and no other page opens.
    let step = [("csrf", csrf.as_str()), ("step", "suspend"), ("reason", "a grudge")];
    assert_eq!(marie.post(&mailbox, &step).to, "/admin/login");
    for path in ["/admin", "/admin/mailboxes", "/admin/statistics.csv", mailbox.as_str()] {
        assert_eq!(marie.get(path).to, "/admin/login", "{path}");
    }
    assert!(!relay.said(&["admin", "journal"]).contains("a grudge"));
    assert_eq!(first.get("/admin").status, 200, "others stay");
    // Whoever comes back under the same name logs in anew.
    program(&[&passwd[..], &["--user", "marie"]].concat(), "le troisième mot de passe\n");
    assert_eq!(marie.get("/admin").to, "/admin/login");
}
