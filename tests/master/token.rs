//! The master key in a token: SoftHSM stands for hardware.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::HOST;
use super::LUNE;
use super::first_key;
use super::letter;
use super::text;
use super::use_keys;
use super::versions;
use crate::support::running::said;
use crate::support::serving::Space;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "4711-0815";

/// A token in a folder of its own.
struct Token {
    folder: tempfile::TempDir,
}

impl Token {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        let token = Self { folder };
        fs::write(token.conf(), conf).unwrap();
        token.write_pin(PIN, 0o600);
        let output = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "vaguemestre"])
            .args(["--pin", PIN, "--so-pin", "12345678"])
            .env("SOFTHSM2_CONF", token.conf())
            .output()
            .expect("softhsm2-util is needed: apt install softhsm2");
        assert!(output.status.success(), "{}", said(&output));
        token
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    fn pin(&self) -> PathBuf {
        self.folder.path().join("pin")
    }

    fn write_pin(&self, pin: &str, mode: u32) {
        fs::write(self.pin(), format!("{pin}\n")).unwrap();
        fs::set_permissions(self.pin(), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn uri(&self, object: &str) -> String {
        format!(
            "pkcs11:token=vaguemestre;object={object}?module-path={MODULE}&pin-source=file:{}",
            self.pin().display()
        )
    }

    fn make_key(&self, object: &str) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(["keys", "master", "init-token", &self.uri(object)])
            .env("SOFTHSM2_CONF", self.conf())
            .output()
            .unwrap();
        (output.status.success(), said(&output))
    }
}

#[tokio::test]
async fn a_relay_goes_from_a_file_to_a_token_and_back() {
    let space = Space::of(&[HOST]);
    let token = Token::new();
    let mut relay =
        super::relay(&space).variable("SOFTHSM2_CONF", &text(&token.conf())).start(&[LUNE]);
    let first = text(&first_key(&relay));
    letter(&relay, "dans un fichier").await;

    assert!(token.make_key("master").0);
    let (made, words) = token.make_key("master");
    assert!(!made && words.contains("there already"), "{words}");

    relay.stop();
    use_keys(&relay, &token.uri("master"), &[&first]);
    relay.begin();
    relay.said(&["keys", "master", "rewrap"]);
    assert_eq!(versions(&relay), [(1, "retired".to_owned(), 0), (2, "current".to_owned(), 3)]);
    letter(&relay, "dans un coffre").await;
    relay.stop();
    use_keys(&relay, &token.uri("master"), &[]);
    relay.begin();
    assert_eq!(relay.inbox(LUNE).await.len(), 2);

    // Nothing that lies on the disk opens it any more, not even with the first file.
    relay.stop();
    use_keys(&relay, &first, &[]);
    let (code, words) = relay.refused();
    assert_eq!(code, Some(78), "{words}");
    assert!(words.contains("version 2") && words.contains("pkcs11:"), "{words}");

    // Another key of the token, then a file again.
    assert!(token.make_key("master-2").0);
    use_keys(&relay, &token.uri("master-2"), &[&token.uri("master")]);
    relay.begin();
    relay.said(&["keys", "master", "rewrap"]);
    relay.stop();
    let third = relay.folder.join("master-3.key");
    super::write_key(&third, 3);
    use_keys(&relay, &text(&third), &[&token.uri("master-2")]);
    relay.begin();
    relay.said(&["keys", "master", "rewrap"]);
    relay.stop();
    use_keys(&relay, &text(&third), &[]);
    relay.begin();
    assert_eq!(relay.inbox(LUNE).await.len(), 2);
    let states: Vec<String> = versions(&relay).into_iter().map(|(_, state, _)| state).collect();
    assert_eq!(states, ["retired", "retired", "retired", "current"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said_and_stops_the_start() {
    let space = Space::of(&[HOST]);
    let token = Token::new();
    assert!(token.make_key("master").0);
    let mut relay = super::relay(&space).variable("SOFTHSM2_CONF", &text(&token.conf())).start(&[]);
    relay.kill();
    fs::remove_dir_all(relay.data_dir()).unwrap();
    let uri = token.uri("master");
    let refused = |relay: &mut crate::support::serving::Serving<'_>, uri: &str, expected: &str| {
        use_keys(relay, uri, &[]);
        let (code, words) = relay.refused();
        assert_eq!(code, Some(78), "{words}");
        assert!(words.contains("storage.master_key") && words.contains(expected), "{words}");
        assert!(!words.contains(PIN), "{words}");
    };
    refused(&mut relay, &uri.replace("libsofthsm2", "libnowhere"), "is missing");
    refused(&mut relay, &uri.replace(MODULE, &text(&token.conf())), "cannot be loaded");
    refused(&mut relay, &uri.replace("token=vaguemestre", "token=other"), "no such token");
    refused(&mut relay, &uri.replace("object=master", "object=other"), "no such AES key");
    refused(&mut relay, &format!("{uri}&pin-value={PIN}"), "pin-value");
    let without = uri.split("&pin-source").next().unwrap().to_owned();
    refused(&mut relay, &without, "wants a PIN");
    token.write_pin("1234", 0o600);
    refused(&mut relay, &uri, "is wrong");
    token.write_pin(PIN, 0o644);
    refused(&mut relay, &uri, "mode");
    token.write_pin(PIN, 0o600);
    use_keys(&relay, &uri, &[]);
    relay.add_mailbox(LUNE);
    relay.begin();
    letter(&relay, "avec le bon code").await;
}
