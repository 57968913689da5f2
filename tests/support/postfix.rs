//! A real Postfix as another operator: certificates on both sides, nothing of the machine's own
//! Postfix is touched. Its processes must start as root (they give the right up themselves).
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::time::Duration;

use vaguemestre::demo::pki::DemoOperator;
use vaguemestre::demo::pki::DemoPki;

/// A Postfix of its own folder. Stopped when dropped.
pub(crate) struct Postfix {
    folder: tempfile::TempDir,
    /// Its door for operators, with certificates.
    pub(crate) mx: u16,
    /// A door in clear for the test's own letters.
    pub(crate) local: u16,
}

impl Postfix {
    /// Serves `operator`'s domain; mail of `(domain, host, port)` goes to that host, whose
    /// certificate must be for the host name of that domain.
    pub(crate) fn start(
        pki: &DemoPki,
        operator: &DemoOperator,
        peers: &[(&str, u16)],
        extra: &str,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mx, local) = (free_port(), free_port());
        let at = |name: &str| folder.path().join(name);
        for name in ["conf", "queue", "data", "mail"] {
            fs::create_dir(at(name)).unwrap();
        }
        // Postfix's processes go down to other users, who must still find their files.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        as_root("chown", &["postfix", at("data").to_str().unwrap()]);
        as_root("chown", &["nobody", at("mail").to_str().unwrap()]);
        let (nobody, group) = (id("-u", "nobody"), id("-g", "nobody"));
        let pair = pki.mx(operator);
        let transport: String = peers
            .iter()
            .map(|(domain, port)| format!("{domain} smtp:[localhost]:{port}\n"))
            .collect();
        let policy: String = peers
            .iter()
            .map(|(domain, port)| format!("[localhost]:{port} secure match={domain}\n"))
            .collect();
        fs::write(at("conf/transport"), transport).unwrap();
        fs::write(at("conf/policy"), policy).unwrap();
        let domain = &operator.hostname;
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {queue}\ndata_directory = {data}\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n\
             mail_owner = postfix\nsetgid_group = postdrop\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nsmtp_host_lookup = native\n\
             myhostname = {domain}\nmydestination =\nalias_maps =\nalias_database =\n\
             mynetworks = 127.0.0.0/8\n\
             maillog_file = {log}\nmaillog_file_prefixes = {prefix}\n\
             virtual_mailbox_domains = {domain}\nvirtual_mailbox_maps = static:inbox/\n\
             virtual_mailbox_base = {mail}\nvirtual_uid_maps = static:{nobody}\n\
             virtual_gid_maps = static:{group}\nvirtual_minimum_uid = 1\n\
             transport_maps = texthash:{transport}\n\
             smtp_tls_policy_maps = texthash:{policy}\nsmtp_tls_security_level = encrypt\n\
             smtp_tls_CAfile = {ca}\nsmtp_tls_cert_file = {cert}\nsmtp_tls_key_file = {key}\n\
             smtp_tls_loglevel = 1\nsmtpd_tls_loglevel = 1\n\
             smtpd_tls_security_level = encrypt\nsmtpd_tls_req_ccert = yes\n\
             smtpd_tls_CAfile = {ca}\nsmtpd_tls_cert_file = {cert}\nsmtpd_tls_key_file = {key}\n\
             smtputf8_enable = yes\nminimal_backoff_time = 2s\nmaximal_backoff_time = 4s\n\
             queue_run_delay = 2s\nmessage_size_limit = 31457280\n\
             virtual_mailbox_limit = 0\n{extra}\n",
            queue = at("queue").display(),
            data = at("data").display(),
            log = at("log").display(),
            prefix = folder.path().display(),
            mail = at("mail").display(),
            transport = at("conf/transport").display(),
            policy = at("conf/policy").display(),
            ca = pki.ca_file().display(),
            cert = pair.certificate.display(),
            key = pair.key.display(),
        );
        fs::write(at("conf/main.cf"), main).unwrap();
        let master = format!(
            "127.0.0.1:{mx} inet n - n - - smtpd\n\
             127.0.0.1:{local} inet n - n - - smtpd -o smtpd_tls_security_level=none -o smtpd_tls_req_ccert=no\n\
             pickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\n\
             qmgr unix n - n 300 1 qmgr\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
             tlsproxy unix - - n - 0 tlsproxy\n\
             rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
             verify unix - - n - 1 verify\nflush unix n - n 1000? 0 flush\n\
             proxymap unix - - n - - proxymap\nsmtp unix - - n - - smtp\n\
             relay unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\n\
             discard unix - - n - - discard\nvirtual unix - n n - - virtual\n\
             anvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\n\
             postlog unix-dgram n - n - 1 postlogd\n"
        );
        fs::write(at("conf/master.cf"), master).unwrap();
        let postfix = Self { folder, mx, local };
        postfix.control("start");
        for _ in 0..250 {
            if std::net::TcpStream::connect(("127.0.0.1", mx)).is_ok() {
                return postfix;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("Postfix does not start:\n{}", postfix.log());
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> String {
        let output = as_root("cat", &[self.folder.path().join("log").to_str().unwrap()]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The letters in its mailbox, whole.
    pub(crate) fn letters(&self) -> Vec<String> {
        let mail = self.folder.path().join("mail/inbox/new");
        let script = format!(
            "for f in {}/*; do [ -f \"$f\" ] && base64 -w0 \"$f\" && echo; done",
            mail.display()
        );
        let output = as_root("sh", &["-c", &script]);
        let decode = |line: &str| {
            use base64::Engine;
            let octets = base64::engine::general_purpose::STANDARD.decode(line).unwrap();
            String::from_utf8_lossy(&octets).into_owned()
        };
        String::from_utf8_lossy(&output.stdout).lines().map(decode).collect()
    }

    /// How many letters are in its mailbox.
    #[allow(dead_code, reason = "the benchmark asks")]
    pub(crate) fn stored(&self) -> usize {
        let mail = self.folder.path().join("mail/inbox/new");
        fs::read_dir(mail).map_or(0, Iterator::count)
    }

    /// Waits for a letter that holds this text, for half a minute.
    pub(crate) async fn wait_for(&self, text: &str) -> String {
        for _ in 0..150 {
            if let Some(letter) = self.letters().into_iter().find(|letter| letter.contains(text)) {
                return letter;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("no letter with {text:?} at Postfix:\n{}", self.log());
    }

    /// Seconds of CPU of all its processes so far, ended ones included.
    #[allow(dead_code, reason = "the benchmark asks")]
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let file = self.folder.path().join("queue/pid/master.pid");
        let output = as_root("cat", &[file.to_str().unwrap()]);
        let master: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
        let of = |pid: u32| -> (u32, f64) {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
            let number = |at: usize| fields.get(at).and_then(|n| n.parse::<f64>().ok());
            let ticks: f64 = (11..15).filter_map(number).sum();
            (number(1).map_or(0, |parent| parent as u32), ticks / 100.0)
        };
        let mut sum = of(master).1;
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                let (parent, seconds) = of(pid);
                if parent == master {
                    sum += seconds;
                }
            }
        }
        sum
    }

    fn control(&self, verb: &str) {
        let conf = self.folder.path().join("conf");
        let output = as_root("postfix", &["-c", conf.to_str().unwrap(), verb]);
        let said = super::running::said(&output);
        assert!(output.status.success(), "postfix {verb}: {said}");
    }

    fn own(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- what Postfix said ---\n{}", self.log());
        }
        let conf: PathBuf = self.own().join("conf");
        as_root("postfix", &["-c", conf.to_str().unwrap(), "stop"]);
        // What other users own would otherwise stay in the temporary folder.
        as_root("chown", &["-R", &id("-u", ""), self.own().to_str().unwrap()]);
    }
}

fn id(which: &str, user: &str) -> String {
    let arguments: Vec<&str> = [which, user].into_iter().filter(|text| !text.is_empty()).collect();
    String::from_utf8_lossy(&super::running::run("id", &arguments).stdout).trim().to_owned()
}

/// As root, directly or by sudo.
fn as_root(program: &str, arguments: &[&str]) -> Output {
    if id("-u", "") == "0" {
        return super::running::run(program, arguments);
    }
    Command::new("sudo")
        .args(["-n", program])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} must run as root, and sudo: {error}"))
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
