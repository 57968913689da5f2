//! The pages in a real browser: Debian's chromium without a screen, driven over its pipe.
use std::fs;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::admin;
use super::door;
use super::gallery;
use super::paper;
use super::paper::Paper;

struct Chromium {
    process: Child,
    requests: File,
    answers: BufReader<File>,
    number: u64,
    session: Option<String>,
    /// What the browser complained about: a broken policy shows here.
    complaints: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Chromium {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipes = [folder.path().join("requests"), folder.path().join("answers")];
        let made = Command::new("mkfifo").args(&pipes).status().unwrap();
        assert!(made.success());
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        // The browser reads requests at descriptor 3 and answers at 4. It may not outlive us.
        let script = "exec timeout 90 chromium \"$@\" 3<\"$REQUESTS\" 4>\"$ANSWERS\"";
        let process = Command::new("sh")
            .args(["-c", script, "chromium", "--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-quic", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"])
            .args(["--ignore-certificate-errors", "--remote-debugging-pipe"])
            .args([profile.as_str(), "--window-size=1000,900", "about:blank"])
            .env("REQUESTS", &pipes[0])
            .env("ANSWERS", &pipes[1])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let requests = fs::OpenOptions::new().write(true).open(&pipes[0]).unwrap();
        let answers = BufReader::new(File::open(&pipes[1]).unwrap());
        let mut browser = Self {
            process,
            requests,
            answers,
            number: 0,
            session: None,
            complaints: Vec::new(),
            _folder: folder,
        };
        let tab = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": tab["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        browser
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut request = json!({"id": self.number, "method": method, "params": params});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let sent = self.requests.write_all(format!("{request}\0").as_bytes());
        assert!(sent.is_ok(), "chromium is not there: install Debian's chromium");
        loop {
            let mut octets = Vec::new();
            let read = self.answers.read_until(0, &mut octets).unwrap();
            assert!(read > 0, "chromium ended: is Debian's chromium installed?");
            octets.pop();
            let answer: Value = serde_json::from_slice(&octets).unwrap();
            if answer["method"] == "Log.entryAdded" {
                self.complaints.push(answer["params"]["entry"]["text"].to_string());
            }
            if answer["id"] == self.number {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    fn go(&mut self, address: &str) {
        self.call("Page.navigate", json!({"url": address}));
    }

    fn value(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({"expression": expression}));
        answer["result"]["value"].clone()
    }

    /// Waits until the page says so: pages come when they come.
    fn wait_for(&mut self, expression: &str) {
        let loaded = format!("document.readyState == 'complete' && !!({expression})");
        for _ in 0..200 {
            if self.value(&loaded) == true {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let page = self.value("location.href + '\\n' + document.body.innerText");
        panic!("{expression} did not come true on\n{page}\n{:?}", self.complaints);
    }

    fn log_in(&mut self, name: &str, password: &str) {
        self.value(&format!(
            "document.querySelector('#name').value = '{name}';
             document.querySelector('#password').value = '{password}';
             document.querySelector('main form button').click()"
        ));
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patient_reads_and_answers_in_a_real_browser() {
    let paper = Arc::new(Paper::default());
    *paper.letters.lock().unwrap() = gallery::letters();
    *paper.rows.lock().unwrap() = gallery::figures();
    let file = admin::password_file();
    let door = door::open_for(door::ROOMY, &paper, admin::house(&file)).await;
    let site = format!("https://localhost:{}", door.address.port());

    let drive = move || {
        let mut browser = Chromium::open();
        browser.go(&format!("{site}/inbox?lang=fr"));
        browser.wait_for("location.pathname == '/inbox/login'");
        browser.log_in(paper::INS, "faux");
        browser.wait_for("document.querySelector('[role=alert]')");
        browser.log_in(paper::INS, paper::PASSWORD);
        browser.wait_for("location.pathname == '/inbox'");
        assert_eq!(browser.value("document.querySelectorAll('tbody tr').length"), 4);
        // The sheet came through the policy, and no cookie is in a script's reach.
        assert_eq!(browser.value("getComputedStyle(document.body).display"), "flex");
        assert_eq!(browser.value("document.cookie"), "");

        browser.value("document.querySelector('.subject a').click()");
        browser.wait_for("document.querySelector('textarea')");
        let letter = browser.value("document.querySelector('article').innerText").to_string();
        assert!(letter.contains("Votre compte rendu est joint"), "{letter}");
        browser.value(
            "document.querySelector('textarea').value = 'Merci à vous.';
             document.querySelector('textarea').form.requestSubmit()",
        );
        browser.wait_for("document.querySelector('.done')");
        assert_eq!(
            browser.value("document.querySelector('.done').innerText"),
            "Votre réponse est envoyée."
        );
        browser.value("document.querySelector('.tools form button').click()");
        browser.wait_for("location.search == '?out=1'");

        browser.go(&format!("{site}/admin"));
        browser.wait_for("location.pathname == '/admin/login'");
        browser.log_in("admin", "tableau");
        browser.wait_for("document.querySelectorAll('svg rect').length > 5");
        let broken: Vec<_> =
            browser.complaints.iter().filter(|text| text.contains("Content Security")).collect();
        assert!(broken.is_empty(), "{broken:?}");
    };
    tokio::task::spawn_blocking(drive).await.unwrap();
    let sent = paper.sent.lock().unwrap();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].letter.contains("Merci =C3=A0 vous."), "{}", sent[0].letter);
}

/// At 320 px and at a doubled font nothing may need sideways scrolling but wide tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_fit_a_small_screen_and_large_print() {
    let paper = Arc::new(Paper::default());
    *paper.letters.lock().unwrap() = gallery::letters();
    *paper.rows.lock().unwrap() = gallery::figures();
    let file = admin::password_file();
    let door = door::open_for(door::ROOMY, &paper, admin::house(&file)).await;
    let site = format!("https://localhost:{}", door.address.port());
    let drive = move || {
        let mut browser = Chromium::open();
        let fits = |browser: &mut Chromium, path: &str, ready: &str| {
            browser.go(&format!("{site}{path}"));
            browser.wait_for(ready);
            for (width, size) in [(320, "100%"), (360, "100%"), (640, "200%")] {
                let screen =
                    json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
                browser.call("Emulation.setDeviceMetricsOverride", screen);
                browser.value(&format!("document.documentElement.style.fontSize = '{size}'"));
                let wide = browser.value("document.documentElement.scrollWidth");
                assert!(wide.as_u64().unwrap() <= width, "{path}: {wide} px of {width}");
            }
        };
        fits(&mut browser, "/", "document.querySelector('.cards')");
        fits(&mut browser, "/inbox/login", "document.querySelector('#name')");
        browser.log_in(paper::INS, paper::PASSWORD);
        browser.wait_for("document.querySelector('.letters')");
        fits(&mut browser, "/inbox", "document.querySelector('.letters')");
        fits(&mut browser, "/inbox/1/9", "document.querySelector('textarea')");
        fits(&mut browser, "/inbox/1/8", "document.querySelector('div.body')");
        fits(&mut browser, "/admin/login", "document.querySelector('#name')");
        browser.log_in("admin", "tableau");
        browser.wait_for("document.querySelector('svg')");
        fits(&mut browser, "/admin?days=30", "document.querySelector('svg')");
    };
    tokio::task::spawn_blocking(drive).await.unwrap();
}
