//! Our mailboxes come into the national directory: by the draft API, against a server that
//! answers as told, and by a file.
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;

use vaguemestre::infra::replica::Replica;

use crate::support::serving::Serving;
use crate::support::serving::Space;

const HOST: &str = "ch-valfictif.exemple.mssante.fr";
const ELOISE: &str = "eloise.lumier@ch-valfictif.exemple.mssante.fr";
const SAMPLE: &str =
    include_str!("vectors/annuaire/Extraction_Correspondance_MSSante_202611210730.txt");

/// What came: request line, content type, key, body.
type Asked = Arc<Mutex<Vec<(String, String, String, String)>>>;

/// A server that answers with these statuses, then with 200 for ever.
fn directory(statuses: &'static [&'static str]) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut statuses = statuses.iter();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                lines.push(line.trim().to_owned());
            }
            let Some(first) = lines.first().cloned() else { continue };
            let field = |name: &str| {
                let found = lines.iter().find_map(|line| {
                    let (key, value) = line.split_once(':')?;
                    key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
                });
                found.unwrap_or_default()
            };
            let mut body = vec![0; field("content-length").parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            let request = (first, field("content-type"), field("esante-api-key"), body);
            noted.lock().unwrap().push(request);
            let status = statuses.next().copied().unwrap_or("200 OK");
            let answer = format!(
                "HTTP/1.1 {status}\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (port, asked)
}

fn house<'s>(space: &'s Space, publish: &str) -> Serving<'s> {
    let more = format!("[revocation]\nmode = \"off\"\n{publish}");
    let mut relay = space.relay(0).with(&more).start(&[ELOISE]);
    relay.kill();
    let extraction = relay.folder.join("Extraction.txt");
    fs::write(&extraction, SAMPLE).unwrap();
    let replica = Replica::open(&relay.data_dir()).unwrap();
    replica.import(&extraction, &mut |_| ()).unwrap();
    drop(replica);
    relay.begin();
    relay
}

#[test]
fn a_mailbox_is_published_by_the_draft_api_and_what_was_refused_is_reported() {
    let (port, asked) = directory(&["503 Service Unavailable"]);
    let space = Space::of(&[HOST]);
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key");
    fs::write(&key, "an API key\n").unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let relay = house(
        &space,
        &format!(
            "[publish]\nmode = \"api\"\nurl = \"http://127.0.0.1:{port}/fhir/v2\"\nkey_file = {key:?}\n"
        ),
    );
    relay.add_mailbox("nobody.known@ch-valfictif.exemple.mssante.fr");
    let dry = relay.json(&["publish", "run", "--dry-run"]);
    assert_eq!(dry.as_array().unwrap().len(), 2, "{dry}");
    assert!(asked.lock().unwrap().is_empty(), "a dry run tells nobody");
    let ran = relay.json(&["publish", "run"]);
    assert_eq!(ran.as_array().unwrap().len(), 2, "{ran}");
    let requests = asked.lock().unwrap().clone();
    assert_eq!(requests.len(), 2, "503, then once more: {requests:?}");
    let (line, kind, key, body) = &requests[1];
    assert_eq!(
        line,
        "PATCH /fhir/v2/Practitioner?identifier=urn%3Aoid%3A1.2.250.1.71.4.2.1%7C899900001019 HTTP/1.1"
    );
    assert_eq!((kind.as_str(), key.as_str()), ("application/fhir+json", "an API key"));
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["parameter"][0]["part"][3]["valueContactPoint"]["value"], ELOISE);
    let status = relay.json(&["publish", "status"]);
    let line = |address: &str| {
        let lines = status.as_array().unwrap().iter();
        lines.clone().find(|line| line["address"] == address).unwrap().clone()
    };
    assert_eq!(line(ELOISE)["known"], "published", "{status}");
    assert_eq!(line(ELOISE)["result"], "done");
    let report = relay.json(&["publish", "report"]);
    assert_eq!(report.as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report[0]["result"], "refused");
    // What is published is not told again.
    relay.json(&["publish", "run"]);
    assert_eq!(asked.lock().unwrap().len(), 2);
    assert!(!relay.log().contains("an API key"));
}

#[test]
fn a_file_for_the_deposit_holds_what_has_changed_since_the_last_one() {
    let space = Space::of(&[HOST]);
    let folder = tempfile::tempdir().unwrap();
    let relay =
        house(&space, &format!("[publish]\nmode = \"file\"\nfolder = {:?}\n", folder.path()));
    relay.said(&["publish", "run"]);
    let files = || {
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let made = files();
    assert_eq!(made.len(), 2, "{made:?}");
    let text = fs::read_to_string(folder.path().join(&made[1])).unwrap();
    assert!(
        text.contains(&format!("\ninsert|N|PER|{ELOISE}|8|99900001019|899900001019|")),
        "{text}"
    );
    relay.said(&["publish", "run"]);
    assert_eq!(files(), made, "nothing has changed, so nothing is written");
}
