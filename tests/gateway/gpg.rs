//! GnuPG with a home of its own.
use std::io::Write;
use std::process::Command;
use std::process::Stdio;

pub(crate) struct Gpg(tempfile::TempDir);

impl Gpg {
    /// With a key for this address.
    pub(crate) fn of(address: &str) -> Self {
        let gpg = Self(tempfile::tempdir().unwrap());
        let key = ["--quick-generate-key", address, "future-default", "default", "never"];
        let made = gpg.run(&[&["--passphrase", ""], key.as_slice()].concat(), b"");
        assert!(made.0, "{}", made.2);
        gpg
    }

    /// Its public certificate, armoured.
    pub(crate) fn certificate(&self, address: &str) -> Vec<u8> {
        let (good, out, said) = self.run(&["--armor", "--export", address], b"");
        assert!(good && !out.is_empty(), "{said}");
        out
    }

    /// Its secret key, armoured.
    pub(crate) fn secret(&self, address: &str) -> Vec<u8> {
        let (good, out, said) =
            self.run(&["--armor", "--passphrase", "", "--export-secret-keys", address], b"");
        assert!(good && !out.is_empty(), "{said}");
        out
    }

    pub(crate) fn import(&self, certificate: &str) {
        let (good, _, said) = self.run(&["--import"], certificate.as_bytes());
        assert!(good, "{said}");
    }

    /// What a message holds, and what gpg says of it.
    pub(crate) fn open(&self, message: &[u8]) -> (String, String) {
        // It ends badly when it does not know who signed; what it opened is told apart.
        let (_, out, said) = self.run(&["--status-fd", "2", "--decrypt"], message);
        assert!(said.contains("DECRYPTION_OKAY"), "{said}");
        (String::from_utf8(out).unwrap(), said)
    }

    pub(crate) fn encrypt(&self, clear: &[u8], to: &str, more: &[&str]) -> Vec<u8> {
        let mut arguments = vec!["--armor", "--trust-model", "always", "--recipient", to];
        arguments.extend_from_slice(more);
        arguments.push("--encrypt");
        let (good, out, said) = self.run(&arguments, clear);
        assert!(good, "{said}");
        out
    }

    pub(crate) fn sign_detached(&self, clear: &[u8]) -> Vec<u8> {
        let arguments = ["--armor", "--digest-algo", "SHA512", "--detach-sign"];
        let (good, out, said) = self.run(&arguments, clear);
        assert!(good, "{said}");
        out
    }

    /// A text signed in clear.
    pub(crate) fn clear_sign(&self, text: &str) -> String {
        let (good, out, said) =
            self.run(&["--digest-algo", "SHA512", "--clear-sign"], text.as_bytes());
        assert!(good, "{said}");
        String::from_utf8(out).unwrap()
    }

    /// What gpg says of a signature beside these octets.
    pub(crate) fn verify(&self, signed: &[u8], signature: &str) -> String {
        let files = tempfile::tempdir().unwrap();
        let (text, beside) = (files.path().join("signed"), files.path().join("signature.asc"));
        std::fs::write(&text, signed).unwrap();
        std::fs::write(&beside, signature).unwrap();
        let paths = [beside.to_str().unwrap(), text.to_str().unwrap()];
        self.run(&[&["--status-fd", "2", "--verify"], paths.as_slice()].concat(), b"").2
    }

    /// Revokes its key, by what gpg laid aside when it made it.
    pub(crate) fn revoke(&self) {
        let folder = std::fs::read_dir(self.0.path().join("openpgp-revocs.d")).unwrap();
        for file in folder.map(|file| file.unwrap().path()) {
            let text = std::fs::read_to_string(file).unwrap();
            self.import(&text.replace(":-----BEGIN", "-----BEGIN"));
        }
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> (bool, Vec<u8>, String) {
        let mut child = Command::new("gpg")
            .args(["--batch", "--no-tty", "--pinentry-mode", "loopback", "--homedir"])
            .arg(self.0.path())
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("gpg (make deps installs it): {error}"));
        let mut pipe = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            let _ = pipe.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), output.stdout, said)
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // Its agent lives on otherwise.
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.0.path())
            .args(["--kill", "all"])
            .status();
    }
}

/// The armoured message in a letter.
pub(crate) fn armour(letter: &str) -> &str {
    let end = "-----END PGP MESSAGE-----";
    let from = letter.find("-----BEGIN PGP MESSAGE-----").expect("an armoured message");
    let to = letter[from..].find(end).expect("its end");
    &letter[from..from + to + end.len()]
}
