//! App passwords of people whose account lives in LDAP, at all doors of a relay that runs.
use std::time::Duration;

use super::CLAIRE;
use super::HOST;
use super::HUGO;
use super::House;
use super::PAUL;
use super::slapd::SERVICE;
use crate::oidc::doors;
use crate::support::imap::Client;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;

/// Whoever waits for something that must happen waits so often.
const TRIES: usize = 300;
const PAUSE: Duration = Duration::from_millis(200);

fn relay<'s>(space: &'s Space, house: &House, order: &str, grace: u64) -> Serving<'s> {
    space.relay(0).with(&format!(
        "[revocation]\nmode = \"off\"\n[login]\ndirectories = {order}\ncache_seconds = 1\n\
         directory_grace_seconds = {grace}\n\
         [ldap]\nservers = [{:?}]\nanchors = [{:?}]\nbind_dn = {SERVICE:?}\n\
         bind_password_file = {:?}\nbase = \"ou=people,dc=hopital,dc=test\"\ntimeout_seconds = 2\n\
         filter = \"(&(objectClass=inetOrgPerson)(!(employeeType=left))(|(mail={{name}})(uid={{name}})))\"\n",
        house.slapd.tls(),
        house.pki.anchors,
        house.password_file(),
    ))
}

/// Makes an app password; what it is.
fn app(relay: &Serving<'_>, mailbox: &str, more: &[&str]) -> String {
    let arguments = ["mailbox", "app-password", "add", mailbox, "--name", "telephone", "--reason"];
    let made = relay.json(&[&arguments[..], &["a telephone"], more].concat());
    made["password"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
}

/// Waits until all doors say what is expected.
async fn until(what: &str, is_so: impl Fn() -> (bool, serde_json::Value)) {
    let mut last = serde_json::Value::Null;
    for _ in 0..TRIES {
        let (done, answers) = is_so();
        if done {
            return;
        }
        last = answers;
        tokio::time::sleep(PAUSE).await;
    }
    panic!("{what}: {last:#}");
}

fn without_a_password(relay: &Serving<'_>, mailbox: &str) {
    relay.said(&["mailbox", "passwd", mailbox, "--no-password"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn app_passwords_of_people_in_ldap_work_at_every_door_in_any_order() {
    let house = House::new();
    let space = Space::of(&[HOST]);
    for order in ["[\"ldap\", \"local\"]", "[\"local\", \"ldap\"]"] {
        let relay = relay(&space, &house, order, 3_600).start(&[HUGO, CLAIRE, PAUL]);
        for mailbox in [HUGO, CLAIRE] {
            without_a_password(&relay, mailbox);
        }
        let (telephone, pauls) = (app(&relay, HUGO, &[]), app(&relay, PAUL, &[]));
        // By address, and by the name that only the directory knows.
        for name in [HUGO, "hugo"] {
            let answers = doors::log_in_as(&relay, name, HUGO, "PASSWORD", &telephone);
            assert!(doors::is_in(&answers), "{order} {name}: {answers:#}\n{}", relay.log());
        }
        let answers = doors::log_in(&relay, PAUL, "PASSWORD", &pauls);
        assert!(doors::is_in(&answers), "{order}: {answers:#}");
        // Their own passwords, of LDAP and of here.
        let answers = doors::log_in(&relay, HUGO, "PASSWORD", "hugo's password");
        assert!(doors::is_in(&answers), "{order}: {answers:#}\n{}", relay.log());
        let answers = doors::log_in(&relay, PAUL, "PASSWORD", PASSWORD);
        assert!(doors::is_in(&answers), "{order}: {answers:#}");
        // Nobody else's opens anything.
        for (name, password) in [(HUGO, &pauls), (CLAIRE, &telephone), ("claire", &telephone)] {
            let answers = doors::log_in(&relay, name, "PASSWORD", password);
            assert!(doors::is_refused(&answers), "{order} {name}: {answers:#}");
        }
        // For sending only, and only until it is revoked: at once, also for who is in.
        let mut live =
            Client::open(relay.door("imaps"), &relay.tls(), HUGO, &telephone).await.unwrap();
        live.ok("SELECT INBOX").await.unwrap();
        let why = ["--reason", "lost"];
        let revoke = ["mailbox", "app-password", "revoke", HUGO, "--name", "telephone"];
        relay.said(&[&revoke[..], &why].concat());
        assert!(live.ok("NOOP").await.is_err(), "its session is cut");
        let answers = doors::log_in(&relay, HUGO, "PASSWORD", &telephone);
        assert!(doors::is_refused(&answers), "{order}: {answers:#}");
        let sending = app(&relay, HUGO, &["--scope", "send"]);
        let answers = doors::log_in(&relay, HUGO, "PASSWORD", &sending);
        assert_eq!(answers["smtp"]["said"], "in", "{order}: {answers:#}");
        for door in ["imap", "pop3", "managesieve"] {
            assert_ne!(answers[door]["said"], "in", "{order}: {answers:#}");
        }
        let log = relay.log();
        for secret in [&telephone, &pauls, &sending] {
            assert!(!log.contains(secret.as_str()), "an app password is in the log");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_the_directory_loses_their_app_passwords_and_nobody_else_does() {
    let mut house = House::new();
    let space = Space::of(&[HOST]);
    let relay = relay(&space, &house, "[\"ldap\", \"local\"]", 1).start(&[HUGO, CLAIRE, PAUL]);
    let of = |mailbox: &str| app(&relay, mailbox, &[]);
    let (hugos, claires, pauls) = (of(HUGO), of(CLAIRE), of(PAUL));
    let ask = |name: &str, password: &str| doors::log_in(&relay, name, "PASSWORD", password);
    for (name, password) in [(HUGO, &hugos), (CLAIRE, &claires), (PAUL, &pauls)] {
        let answers = ask(name, password);
        assert!(doors::is_in(&answers), "{name}: {answers:#}\n{}", relay.log());
    }
    // Away, and longer than the grace: nobody can say that they are still there.
    house.slapd.kill();
    until("Hugo waits", || {
        let answers = ask(HUGO, &hugos);
        (doors::is_put_off(&answers), answers)
    })
    .await;
    let answers = ask(PAUL, &pauls);
    assert!(doors::is_in(&answers), "a local account needs no LDAP: {answers:#}");
    house.slapd.begin();
    until("Hugo is back", || {
        let answers = ask(HUGO, &hugos);
        (doors::is_in(&answers), answers)
    })
    .await;
    // Hugo leaves as directories mark it, Claire's entry is removed.
    house.slapd.modify(
        "dn: uid=hugo,ou=people,dc=hopital,dc=test\nchangetype: modify\nadd: employeeType\n\
         employeeType: left\n\n\
         dn: cn=Martin\\, Claire (1),ou=people,dc=hopital,dc=test\nchangetype: delete\n",
    );
    for (name, password) in [(HUGO, &hugos), (CLAIRE, &claires)] {
        until(name, || {
            let answers = ask(name, password);
            (doors::is_refused(&answers), answers)
        })
        .await;
    }
    let answers = ask(PAUL, &pauls);
    assert!(doors::is_in(&answers), "{answers:#}");
}
