//! A relay, its publisher and the directory's API: what is new comes in, what shrank does not.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::Mutex;

use axum::Router;
use axum::extract::Request;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use tokio::net::TcpListener;

use super::Server;
use crate::support::running::said;
use crate::support::serving::Serving;
use crate::support::serving::Space;

const HOST: &str = "hopital.mssante.test";
const MARIE: &str = "marie.martin@hopital.mssante.test";
pub(super) const SAMPLE: &str =
    include_str!("../vectors/annuaire/Extraction_Correspondance_MSSante_202611210730.txt");

/// A publisher: its file, and how it was asked for.
#[derive(Default)]
struct Publisher {
    file: Mutex<String>,
    /// One answer each: the whole file, or that nothing is new.
    answers: Mutex<Vec<StatusCode>>,
}

impl Publisher {
    async fn open(file: &str) -> (Arc<Self>, String) {
        let publisher = Arc::new(Self::default());
        publisher.publish(file);
        let router = Router::new().fallback(answer).with_state(Arc::clone(&publisher));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/Extraction.txt", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (publisher, url)
    }

    fn publish(&self, file: &str) {
        *self.file.lock().unwrap() = file.to_owned();
    }

    fn last(&self) -> StatusCode {
        *self.answers.lock().unwrap().last().unwrap()
    }
}

async fn answer(State(publisher): State<Arc<Publisher>>, request: Request) -> Response {
    let file = publisher.file.lock().unwrap().clone();
    let tag = format!("\"{}\"", file.len());
    let known = request.headers().get(header::IF_NONE_MATCH).map(|tag| tag.as_bytes().to_owned());
    let is_known = known.is_some_and(|known| known == tag.as_bytes());
    let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    publisher.answers.lock().unwrap().push(status);
    let body = if is_known { String::new() } else { file };
    (status, [(header::ETAG, tag)], body).into_response()
}

/// The sample without the mailboxes whose lines contain this text.
fn without(text: &str) -> String {
    SAMPLE.split_inclusive('\n').filter(|line| !line.contains(text)).collect()
}

fn finds(relay: &Serving<'_>, words: &str, address: &str) -> bool {
    relay.said(&["directory", "search", words]).contains(address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_extraction_is_swapped_in_and_a_shrunk_one_is_refused_and_raises_an_alert() {
    let hugo = "hugo.oreade@medecin.exemple.mssante.fr";
    let (publisher, url) = Publisher::open(&without(hugo)).await;
    let space = Space::of(&[HOST]);
    let mut relay = space
        .relay(0)
        .with(&format!(
            "[revocation]\nmode = \"off\"\n[directory]\nextraction = {url:?}\n\
             [admin]\nalerts_to = {MARIE:?}\n"
        ))
        .start(&[MARIE]);
    relay.said(&["directory", "refresh"]);
    assert!(finds(&relay, "lumier", "eloise.lumier@medecin.exemple.mssante.fr"));
    assert!(!finds(&relay, "oreade", hugo));
    // Nothing is new: nothing is sent.
    relay.said(&["directory", "refresh"]);
    assert_eq!(publisher.last(), StatusCode::NOT_MODIFIED);

    publisher.publish(SAMPLE);
    relay.said(&["directory", "refresh"]);
    assert!(finds(&relay, "oreade", hugo));

    let header = SAMPLE.split_inclusive('\n').take(2).collect::<String>();
    publisher.publish(&header);
    let refused = relay.command(&["directory", "refresh"]);
    assert!(!refused.status.success() && said(&refused).contains("only 1 "), "{}", said(&refused));
    assert!(finds(&relay, "oreade", hugo), "the old copy stays");
    let status = said(&relay.command(&["directory", "status"]));
    assert!(status.contains("only 1 "), "{status}");
    let letter = relay.wait_for(MARIE, "a file of the national directory was refused").await;
    assert!(letter.contains("--any-size"), "{letter}");

    // A human who knows better, while it runs and while it does not.
    let file = relay.folder.join("Extraction.txt");
    fs::write(&file, &header).unwrap();
    let file = file.to_str().unwrap().to_owned();
    assert!(!relay.command(&["directory", "import", &file]).status.success());
    relay.said(&["directory", "import", &file, "--any-size"]);
    assert!(!finds(&relay, "oreade", hugo));
    relay.kill();
    fs::write(&file, SAMPLE).unwrap();
    relay.said(&["directory", "import", &file]);
    assert!(finds(&relay, "oreade", hugo));
    assert!(relay.said(&["directory", "show", hugo]).contains(hugo));
    let absent = relay.command(&["directory", "show", "nobody@medecin.exemple.mssante.fr"]);
    assert_eq!(absent.status.code(), Some(1), "{}", said(&absent));
    relay.begin();
    assert!(finds(&relay, "oreade", hugo), "what was imported by hand is there after a start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_asked_with_the_key_that_stands_in_the_file_now() {
    let server = Server::start().await;
    let space = Space::of(&[HOST]);
    let key = space.folder().join("fhir.key");
    let write = |text: &str| {
        fs::write(&key, text).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("the-first-key\n");
    let relay = space
        .relay(0)
        .with(&format!(
            "[revocation]\nmode = \"off\"\n[fhir]\nurl = {:?}\nkey_file = {key:?}\n",
            server.url
        ))
        .start(&[]);
    let file = relay.folder.join("Extraction.txt");
    fs::write(&file, without("hugo.oreade")).unwrap();
    relay.said(&["directory", "import", file.to_str().unwrap()]);
    let delta = relay.said(&["directory", "delta", "--since", "2026-11-20"]);
    for (address, mark) in [
        ("eloise.lumier@medecin.exemple.mssante.fr", "same"),
        ("hugo.oreade@medecin.exemple.mssante.fr", "api-only"),
    ] {
        let line = delta.lines().find(|line| line.contains(address));
        let line = line.unwrap_or_else(|| panic!("no {address} in {delta}"));
        assert!(line.contains(mark) || line.contains("differs"), "{line}");
    }
    let asked = |server: &Server| server.shared.keys.lock().unwrap().last().unwrap().clone();
    assert_eq!(asked(&server), "the-first-key");
    write("the-second-key\n");
    relay.said(&["directory", "delta", "--since", "2026-11-20"]);
    assert_eq!(asked(&server), "the-second-key");
    fs::remove_file(&key).unwrap();
    let without_key = relay.command(&["directory", "delta", "--since", "2026-11-20"]);
    assert!(!without_key.status.success(), "{}", said(&without_key));
    assert!(said(&without_key).contains("fhir.key_file"), "{}", said(&without_key));
    assert!(!relay.log().contains("the-second-key"), "a key is in the log");
}
