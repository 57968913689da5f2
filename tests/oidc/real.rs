//! A real provider: npm's oidc-provider, with short tokens and keys that rotate.
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use serde_json::json;

use crate::support::running;

pub(crate) const SECRET: &str = "un secret des essais";

/// The provider, as long as this lives.
pub(crate) struct Provider {
    child: Child,
    pub(crate) issuer: String,
}

impl Provider {
    /// For pages at this address; access tokens live for so many seconds.
    pub(crate) fn open(pages: &str, seconds: u64) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = root.join("target/oidc");
        let library = modules.join("node_modules/oidc-provider");
        assert!(library.exists(), "no {}: run scripts/need test", library.display());
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc-provider.log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let settings =
            json!({"modules": modules, "secret": SECRET, "pages": pages, "seconds": seconds});
        let mut child = Command::new("node")
            .arg(root.join("tests/oidc/provider.mjs"))
            .arg(settings.to_string())
            // It calls our pages, whose certificate is of a test.
            .env("NODE_TLS_REJECT_UNAUTHORIZED", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("node (scripts/need test says more): {error}"));
        let mut issuer = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut issuer).unwrap();
        assert!(issuer.starts_with("http://127.0.0.1:"), "the provider does not start: {issuer}");
        Self { child, issuer: issuer.trim().to_owned() }
    }

    /// Asks one of the doors that only the tests have.
    fn ask(&self, path: &str) -> String {
        let output =
            running::run("curl", &["-sS", "--fail-with-body", &format!("{}{path}", self.issuer)]);
        let said = running::said(&output);
        assert!(output.status.success(), "{path}: {said}");
        said
    }

    /// A practice's software logs somebody in; the access token that it gets.
    pub(crate) fn token(&self, who: &str) -> String {
        self.ask(&format!("/test/token?who={who}"))
    }

    /// Another key signs from now on; so many keys stay published.
    pub(crate) fn rotate(&self, keep: usize) {
        self.ask(&format!("/test/rotate?keep={keep}"));
    }

    /// How often a path was asked for.
    pub(crate) fn count(&self, path: &str) -> u64 {
        self.ask(&format!("/test/count?path={path}")).parse().unwrap()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
