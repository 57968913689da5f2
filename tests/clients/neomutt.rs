//! neomutt in a terminal, with its cache of headers: read, sort, limit, tag, save, delete, again.
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::clients::Lying;
use crate::clients::USER;
use crate::support::running;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;

#[tokio::test(flavor = "multi_thread")]
async fn neomutt_reads_tags_saves_and_deletes_and_its_cache_stays_true() {
    let space = super::space();
    let relay = super::relay(&space);
    let folder = tempfile::tempdir().unwrap();
    let mut client = super::client(&relay, USER).await.unwrap();
    for number in 1..=12 {
        let parent = if number == 2 { "In-Reply-To: <1@n>\r\nReferences: <1@n>\r\n" } else { "" };
        let word = if number == 7 { "chirurgie" } else { "consultation" };
        let letter = format!(
            "From: Dr Émetteur <a@hopital.mssante.test>\r\nTo: {USER}\r\nSubject: Lettre {number:02}\r\n\
             Message-ID: <{number}@n>\r\n{parent}Date: Fri, {number:02} Nov 2026 14:36:00 +0100\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\nUne {word} à prévoir.\r\n"
        );
        super::file(&mut client, "INBOX", "", letter.as_bytes()).await.unwrap();
    }
    configure(folder.path(), &relay);

    let mutt = Terminal::start(folder.path());
    mutt.until("Msgs:12");
    mutt.until("└─>");
    // Its own search downloads each letter; the other asks the relay.
    for pattern in ["~b chirurgie", "=b chirurgie"] {
        mutt.keys(&["l", pattern, "Enter"]);
        mutt.until("Msgs:1/12");
        mutt.until("Lettre 07");
        mutt.keys(&["l", "all", "Enter"]);
        mutt.until("Msgs:12");
    }
    // Read one, flag one, save two that are tagged into a new folder, delete one.
    mutt.keys(&["1", "Enter", "Enter"]);
    mutt.until("Une consultation à prévoir.");
    mutt.keys(&["i", "3", "Enter", "F"]);
    mutt.keys(&["T", "~s 'Lettre 1[01]'", "Enter", "s"]);
    mutt.until("Save");
    mutt.keys(&["C-u", "=Dossiers", "Enter"]);
    mutt.until("Create");
    mutt.keys(&["y"]);
    mutt.until("Del:2");
    mutt.keys(&["5", "Enter", "d", "$"]);
    mutt.until("Msgs:9");
    mutt.quit();

    let far = super::on_the_server(&relay, USER).await.unwrap();
    assert_eq!(ids(&far["Dossiers"]), ["<10@n>", "<11@n>"]);
    let left = ["12", "1", "2", "3", "4", "6", "7", "8", "9"].map(|number| format!("<{number}@n>"));
    assert_eq!(ids(&far["INBOX"]), left);
    assert!(flags(&far["INBOX"], "<1@n>").contains("\\Seen"));
    assert!(flags(&far["INBOX"], "<3@n>").contains("\\Flagged"));

    // Another client changes things; the cache must not show what was.
    client.ok("SELECT INBOX").await.unwrap();
    client.ok("UID STORE 4 +FLAGS (\\Deleted)").await.unwrap();
    client.ok("UID EXPUNGE 4").await.unwrap();
    client.ok("UID STORE 6 +FLAGS (\\Answered \\Seen)").await.unwrap();
    let (_, letter) = super::letter(600);
    super::file(&mut client, "INBOX", "\\Flagged", &letter).await.unwrap();
    let mutt = Terminal::start(folder.path());
    mutt.until("Msgs:9");
    mutt.until("Flag:2");
    let screen = mutt.screen();
    let line = |text: &str| screen.lines().find(|line| line.contains(text)).map(str::to_owned);
    assert_eq!(line("Lettre 04"), None, "{screen}");
    assert!(line("Lettre 06").is_some_and(|line| line.contains(" r ")), "{screen}");
    assert!(line("Compte rendu").is_some(), "{screen}");
    // While it is open: what others do is shown.
    client.ok("UID STORE 8 +FLAGS (\\Flagged)").await.unwrap();
    let (_, letter) = super::letter(600);
    super::file(&mut client, "INBOX", "", &letter).await.unwrap();
    mutt.until("Msgs:10");
    mutt.until("Flag:3");
    // The folder that it made, then the same again with nothing changed.
    mutt.keys(&["c", "=Dossiers", "Enter"]);
    mutt.until("Msgs:2");
    mutt.quit();
    let mutt = Terminal::start(folder.path());
    mutt.until("Msgs:10");
    mutt.quit();
    let cached = fs::read_dir(folder.path().join("cache")).unwrap().count();
    assert!(cached > 0, "it kept no headers");
}

fn ids(all: &[Lying]) -> Vec<&str> {
    all.iter().map(|lying| lying.message_id.as_str()).collect()
}

fn flags(all: &[Lying], id: &str) -> String {
    let found = all.iter().find(|lying| lying.message_id == id).unwrap();
    found.flags.iter().cloned().collect::<Vec<_>>().join(" ")
}

fn configure(folder: &Path, relay: &Serving<'_>) {
    for sub in ["cache", "bodies"] {
        fs::create_dir_all(folder.join(sub)).unwrap();
    }
    let text = format!(
        "set folder = \"imaps://127.0.0.1:{port}/\"\nset imap_user = \"{USER}\"\n\
         set imap_pass = \"{PASSWORD}\"\nset ssl_ca_certificates_file = \"{ca}\"\n\
         set certificate_file = \"{ca}\"\nset spoolfile = \"+INBOX\"\n\
         set header_cache = \"{here}/cache\"\nset message_cachedir = \"{here}/bodies\"\n\
         set imap_condstore = yes\nset imap_qresync = yes\nset sort = threads\nset move = no\n\
         set delete = yes\nset quit = yes\nset confirmappend = no\nset wait_key = no\n\
         set mail_check = 1\nset timeout = 1\nset sleep_time = 0\nset mark_old = no\n\
         set arrow_cursor = no\nset auto_tag = yes\nset beep = no\nset beep_new = no\n",
        port = relay.port("imaps"),
        ca = relay.ca(),
        here = folder.display(),
    );
    super::configuration(folder, "rc", &text);
}

/// The program in a terminal that tmux keeps. Ended when dropped.
pub(crate) struct Terminal {
    socket: String,
}

impl Terminal {
    pub(crate) fn start(folder: &Path) -> Self {
        let terminal = Self { socket: folder.join("tmux").display().to_string() };
        let program =
            format!("neomutt -n -F {}/rc; echo it has ended; sleep 600", folder.display());
        // On a busy machine tmux now and then gives its own server up ("server exited
        // unexpectedly") before anything runs in it.
        let mut said = String::new();
        for _ in 0..5 {
            let output = super::run(
                super::program("tmux", folder)
                    .env("TERM", "xterm")
                    .args(["-S", &terminal.socket, "-f", "/dev/null", "-u"])
                    .args(["new-session", "-d", "-x", "120", "-y", "40", &program]),
            );
            said = running::said(&output);
            if output.status.success() && said.is_empty() {
                return terminal;
            }
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        panic!("tmux does not start: {said}");
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = running::run("tmux", &[&["-S", &self.socket], arguments].concat());
        running::said(&output)
    }

    /// Presses keys: names that tmux knows, or text to type.
    fn keys(&self, keys: &[&str]) {
        for key in keys {
            let is_name = ["Enter", "C-u"].contains(key);
            let how: &[&str] =
                if is_name { &["send-keys", key] } else { &["send-keys", "-l", key] };
            self.tmux(how);
            // A prompt must be open before its answer is typed.
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        for _ in 0..300 {
            if is_so(&self.screen()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{what}:\n{}", self.screen());
    }

    pub(crate) fn until(&self, text: &str) {
        self.wait(&format!("{text:?} is not shown"), |screen| screen.contains(text));
    }

    pub(crate) fn quit(self) {
        self.keys(&["q"]);
        self.until("it has ended");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
