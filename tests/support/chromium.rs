//! The pages in a real browser: Debian's chromium without a screen, driven over its pipe.
use std::fs;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;

/// A tab of Debian's chromium without a screen, driven over its pipe.
pub(crate) struct Chromium {
    process: Child,
    requests: File,
    answers: BufReader<File>,
    number: u64,
    session: Option<String>,
    /// What the browser complained about: a broken policy shows here.
    pub(crate) complaints: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Chromium {
    pub(crate) fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipes = [folder.path().join("requests"), folder.path().join("answers")];
        let made = Command::new("mkfifo").args(&pipes).status().unwrap();
        assert!(made.success());
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        // The browser reads requests at descriptor 3 and answers at 4. It may not outlive us.
        let script = "exec timeout 300 chromium \"$@\" 3<\"$REQUESTS\" 4>\"$ANSWERS\"";
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

    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
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

    pub(crate) fn go(&mut self, address: &str) {
        self.call("Page.navigate", json!({"url": address}));
    }

    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({"expression": expression}));
        answer["result"]["value"].clone()
    }

    /// Waits until the page says so: pages come when they come.
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let loaded = format!("document.readyState == 'complete' && !!({expression})");
        for _ in 0..1_200 {
            if self.value(&loaded) == true {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let page = self.value("location.href + '\\n' + document.body.innerText");
        panic!("{expression} did not come true on\n{page}\n{:?}", self.complaints);
    }

    /// A picture of the page as it is now.
    pub(crate) fn photograph(&mut self, file: &Path) {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let octets = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        fs::write(file, octets).unwrap();
    }

    pub(crate) fn log_in(&mut self, name: &str, password: &str) {
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
