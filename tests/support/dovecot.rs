//! A Dovecot on loopback, configured as its handbook says, in a temporary folder: Maildir, fsync
//! on, TLS; and the same with its mail_crypt plugin.
#![allow(dead_code, reason = "tests and one benchmark ask for it")]
use std::fs;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tempfile::TempDir;
use vaguemestre::demo::client::trusting;

/// Who owns the mail: Dovecot delivers nothing to root.
const OWNER: &str = "mail";
/// Of all its users, `u0`, `u1` and so on.
pub(crate) const PASSWORD: &str = "benchmark";

/// Killed when dropped.
pub(crate) struct Dovecot {
    folder: TempDir,
    child: Child,
    pub(crate) door: SocketAddr,
}

impl Dovecot {
    /// With so many users; `crypt` seals what they file.
    pub(crate) fn start(accounts: usize, crypt: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = free.local_addr().unwrap();
        drop(free);
        make_keys(path);
        let users: String = (0..accounts).map(|n| format!("u{n}:{{PLAIN}}{PASSWORD}\n")).collect();
        fs::write(path.join("users"), users).unwrap();
        fs::create_dir(path.join("mail")).unwrap();
        tool("chown", &[OWNER, path.join("mail").to_str().unwrap()]);
        fs::write(path.join("dovecot.conf"), configuration(path, door, crypt)).unwrap();
        let child = Command::new("/usr/sbin/dovecot")
            .args(["-F", "-c", path.join("dovecot.conf").to_str().unwrap()])
            .stdin(Stdio::null())
            .spawn()
            .expect("dovecot-imapd is installed");
        let dovecot = Self { folder, child, door };
        for _ in 0..1_200 {
            if std::net::TcpStream::connect(door).is_ok() {
                return dovecot;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("Dovecot does not start:\n{}", dovecot.log());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        trusting(&self.folder.path().join("tls.crt")).unwrap()
    }

    /// What it wrote of itself.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Whether letters lie sealed: no file of them holds this text.
    pub(crate) fn hides(&self, text: &str) -> bool {
        let found = Command::new("grep")
            .args(["-rqF", text, self.folder.path().join("mail").to_str().unwrap()])
            .status()
            .unwrap();
        !found.success()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Its master ends its children on SIGTERM.
        tool("kill", &["-TERM", &self.child.id().to_string()]);
        let _ = self.child.wait();
    }
}

fn make_keys(path: &Path) {
    let at = path.display();
    let openssl = |words: String| tool("openssl", &words.split(' ').collect::<Vec<_>>());
    openssl(format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 \
         -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
         -keyout {at}/tls.key -out {at}/tls.crt"
    ));
    openssl(format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {at}/mail.key"));
    openssl(format!("pkey -in {at}/mail.key -pubout -out {at}/mail.pub"));
}

fn configuration(path: &Path, door: SocketAddr, crypt: bool) -> String {
    let at = path.display();
    let port = door.port();
    let crypt = if crypt {
        format!(
            "mail_plugins = mail_crypt\nplugin {{\n  mail_crypt_global_private_key = <{at}/mail.key\n  \
             mail_crypt_global_public_key = <{at}/mail.pub\n  mail_crypt_save_version = 2\n}}\n"
        )
    } else {
        String::new()
    };
    format!(
        "base_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\nprotocols = imap\n\
         listen = 127.0.0.1\nssl = required\nssl_cert = <{at}/tls.crt\nssl_key = <{at}/tls.key\n\
         mail_home = {at}/mail/%u\nmail_location = maildir:{at}/mail/%u/Maildir\n\
         mail_uid = {OWNER}\nmail_gid = {OWNER}\nfirst_valid_uid = 1\nfirst_valid_gid = 1\n\
         mail_fsync = optimized\nmail_max_userip_connections = 0\n\
         auth_cache_size = 10M\n\
         passdb {{\n  driver = passwd-file\n  args = {at}/users\n}}\n\
         userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER}\n}}\n\
         service imap-login {{\n  service_count = 0\n  client_limit = 15000\n  process_min_avail = 2\n  \
         vsz_limit = 1G\n  inet_listener imap {{\n    port = 0\n  }}\n  inet_listener imaps {{\n    \
         port = {port}\n    ssl = yes\n  }}\n}}\n\
         service imap {{\n  process_limit = 12000\n  vsz_limit = 4G\n}}\n\
         service auth {{\n  client_limit = 40000\n}}\nservice anvil {{\n  client_limit = 40000\n}}\n\
         \
         default_client_limit = 20000\n\
         namespace inbox {{\n  inbox = yes\n  separator = /\n}}\n{crypt}"
    )
}

fn tool(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
