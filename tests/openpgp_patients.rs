//! A patient's own certificate: registered on the page of the citizen inbox by whoever can read
//! what is sealed to it, and used for every letter from then on.
use std::fs;

use crate::openpgp_certificates::gpg;
use crate::openpgp_certificates::gpg_key;
use crate::support::letters;
use crate::support::running;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;
use crate::web::second::Curl;
use crate::web::second::Page;

const HOST: &str = "hopital.mssante.test";
const PATIENTS: &str = "patient.mssante.test";
const DOCTOR: &str = "claire@hopital.mssante.test";
const INS: &str = "288027599000175";
const OTHER_INS: &str = "192117512300187";
/// Nobody asks whether these tests' own certificates are revoked.
const QUIET: &str = "[revocation]\nmode = \"off\"\n";

/// A relay with a clinician and two patients.
fn relay(space: &Space) -> Serving<'_> {
    let mut relay = space.relay(0).with(QUIET).start(&[DOCTOR]);
    relay.stop();
    let text = fs::read_to_string(relay.config()).unwrap();
    let domains = format!("domains = [{HOST:?}]");
    let both = format!("{domains}\ncitizen_domains = [{PATIENTS:?}]");
    fs::write(relay.config(), text.replacen(&domains, &both, 1)).unwrap();
    relay.begin();
    for ins in [INS, OTHER_INS] {
        let password = relay.folder.join("password");
        fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        let made = std::process::Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(["mailbox", "add", &format!("{ins}@{PATIENTS}"), "--kind", "CTN"])
            .args(["--password-stdin", "--config", relay.config().to_str().unwrap()])
            .stdin(fs::File::open(&password).unwrap())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", running::said(&made));
    }
    relay
}

fn log_in(relay: &Serving<'_>, ins: &str) -> Curl {
    let patient = Curl::new(relay, ins);
    let form = patient.get("/inbox/login").hidden("form");
    let fields = [("form", form.as_str()), ("name", ins), ("password", PASSWORD)];
    let entered = patient.post("/inbox/login", &fields);
    assert!(entered.to.starts_with("/inbox"), "{entered:?}");
    patient
}

/// What a form field shows, as it was before it became HTML.
fn unescaped(text: &str) -> String {
    let pairs = [("&#34;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&#38;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// Brings a certificate; the page that answers.
fn bring(patient: &Curl, armoured: &str) -> Page {
    let home = "/inbox/certificate";
    let csrf = patient.get(home).hidden("csrf");
    let fields = [("csrf", csrf.as_str()), ("understood", "yes"), ("certificate", armoured)];
    patient.post_parts(home, &fields)
}

fn prove(patient: &Curl, code: &str) -> Page {
    let csrf = patient.get("/inbox/certificate").hidden("csrf");
    patient.post("/inbox/certificate/prove", &[("csrf", &csrf), ("code", code)])
}

async fn send(relay: &Serving<'_>, to: &str, subject: &str, body: &str) {
    let letter = format!(
        "From: {DOCTOR}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: {}\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n",
        letters::message_id()
    );
    let mut session = relay.submission(DOCTOR).await;
    session.send(DOCTOR, &[to], letter.as_bytes()).await.unwrap();
}

/// Waits for the letter of this UID on the page.
fn letter(patient: &Curl, uid: u32) -> Page {
    for _ in 0..300 {
        let page = patient.get(&format!("/inbox/1/{uid}"));
        if page.status == 200 {
            return page;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    panic!("letter {uid} does not come");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_registers_an_own_certificate_and_letters_are_sealed_to_it() {
    let space = Space::of(&[HOST, PATIENTS]);
    let relay = relay(&space);
    space.publish(&[(HOST, 0), (PATIENTS, 0)]);
    let address = format!("{INS}@{PATIENTS}");
    let home = tempfile::tempdir().unwrap();
    // The name on it is not the mailbox: nobody should write a patient's number on a key.
    let own = home.path().join("own");
    let key = gpg_key(&own, "patiente@courriel.example");
    let armoured = fs::read_to_string(&key).unwrap();
    send(&relay, &address, "avant", "Lisible sur la page.").await;

    let patient = log_in(&relay, INS);
    assert!(letter(&patient, 1).body.contains("Lisible sur la page."));
    // Not without having understood, not the secret key, not anything else.
    let csrf = patient.get("/inbox/certificate").hidden("csrf");
    let fields = [("csrf", csrf.as_str()), ("certificate", armoured.as_str())];
    assert_eq!(patient.post_parts("/inbox/certificate", &fields).status, 422);
    let secret = home.path().join("secret.asc");
    let export = ["--armor", "--pinentry-mode", "loopback", "--passphrase", "", "--output"];
    gpg(&own, &[&export[..], &[secret.to_str().unwrap(), "--export-secret-keys"]].concat());
    let refused = bring(&patient, &fs::read_to_string(secret).unwrap());
    assert!(refused.status == 422 && !refused.body.contains("PRIVATE"), "{}", refused.status);
    assert_eq!(bring(&patient, "no certificate").status, 422);
    let forged = [("csrf", "x"), ("understood", "yes"), ("certificate", armoured.as_str())];
    assert_eq!(patient.post_parts("/inbox/certificate", &forged).status, 403);

    // Somebody else's key: what is sealed to it, the patient cannot read.
    let others = gpg_key(&home.path().join("other"), "autre@courriel.example");
    assert_eq!(bring(&patient, &fs::read_to_string(others).unwrap()).status, 200);
    assert_eq!(prove(&patient, "devine").status, 422);
    assert_eq!(relay.json(&["keys", "list", "--own"]), serde_json::json!([]));

    let page = bring(&patient, &armoured);
    assert_eq!(page.status, 200, "{page:?}");
    let message = page.between("-----BEGIN PGP MESSAGE-----", "-----END PGP MESSAGE-----");
    let message = unescaped(&message);
    let sealed = home.path().join("challenge.asc");
    let text = format!("-----BEGIN PGP MESSAGE-----{message}-----END PGP MESSAGE-----\n");
    fs::write(&sealed, text).unwrap();
    let clear = home.path().join("clear.txt");
    gpg(&own, &["--output", clear.to_str().unwrap(), "--decrypt", sealed.to_str().unwrap()]);
    let clear = fs::read_to_string(clear).unwrap();
    let code = clear.lines().last().unwrap();
    assert_eq!(prove(&patient, "faux").status, 422);
    // A challenge belongs to its mailbox.
    assert_eq!(prove(&log_in(&relay, OTHER_INS), code).status, 409);
    assert!(prove(&patient, code).to.ends_with("set=1"));
    assert_eq!(prove(&patient, code).status, 409, "a code counts once");
    let shown = patient.get("/inbox/certificate");
    let fingerprint = relay.json(&["keys", "list", "--own"])[0]["fingerprint"].to_string();
    let start = fingerprint.trim_matches('"').get(..4).unwrap().to_owned();
    assert!(shown.body.contains("id=\"fingerprint\"") && shown.body.contains(&start));
    // It is nobody's to find: the name in it is a patient's number.
    let lookup = patient.get(&format!("/pks/lookup?op=get&search={INS}%40{PATIENTS}"));
    assert_eq!(lookup.status, 404, "{lookup:?}");
    assert!(!relay.log().contains(INS), "a log names no patient");

    // From now on the page shows no text, and gives the letter as it is sealed.
    send(&relay, &address, "depuis", "Pour la patiente seule.").await;
    let page = letter(&patient, 2);
    assert!(!page.body.contains("Pour la patiente seule."), "{page:?}");
    let links: Vec<String> = page
        .body
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|href| href.contains("/attachment/"))
        .map(str::to_owned)
        .collect();
    let parts: Vec<Page> = links.iter().map(|link| patient.get(link)).collect();
    let sealed = parts.iter().find(|part| part.body.contains("BEGIN PGP MESSAGE"));
    let sealed = sealed.unwrap_or_else(|| panic!("{links:?} {parts:?} {page:?}"));
    let file = home.path().join("letter.asc");
    fs::write(&file, &sealed.body).unwrap();
    // The sender signs; who wants to see that looks the sender's certificate up.
    let published = patient.get(&format!("/pks/lookup?op=get&options=mr&search={DOCTOR}"));
    assert_eq!(published.status, 200, "{published:?}");
    let senders = home.path().join("sender.asc");
    fs::write(&senders, &published.body).unwrap();
    gpg(&own, &["--import", senders.to_str().unwrap()]);
    let opened = home.path().join("letter.eml");
    let said =
        gpg(&own, &["--output", opened.to_str().unwrap(), "--decrypt", file.to_str().unwrap()]);
    assert!(said.contains("Good signature"), "{said}");
    let opened = fs::read_to_string(opened).unwrap();
    assert!(opened.contains("Pour la patiente seule."), "{opened}");

    // Taken back: the relay reads for the patient again.
    let csrf = patient.get("/inbox/certificate").hidden("csrf");
    let removed = patient.post("/inbox/certificate/remove", &[("csrf", &csrf)]);
    assert!(removed.to.ends_with("removed=1"), "{removed:?}");
    send(&relay, &address, "ensuite", "De nouveau lisible.").await;
    assert!(letter(&patient, 3).body.contains("De nouveau lisible."));
}
