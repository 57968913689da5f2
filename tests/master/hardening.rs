//! What the process does so that secrets stay in its memory.
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use super::HOST;
use super::LUNE;
use super::letter;
use crate::support::running::said;
use crate::support::serving::Serving;
use crate::support::serving::Space;

/// A line of `/proc/<pid>/status`.
fn status(relay: &Serving<'_>, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", relay.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

fn kib(line: &str) -> u64 {
    line.split(' ').next().unwrap().parse().unwrap()
}

fn set(relay: &Serving<'_>, value: &str) {
    let text = fs::read_to_string(relay.config()).unwrap();
    let line = format!("[storage]\nlock_memory = {value:?}\n");
    fs::write(relay.config(), text.replace("[storage]\n", &line)).unwrap();
}

/// The program without CAP_IPC_LOCK and with a small limit, as most services run.
fn unprivileged(relay: &Serving<'_>, arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["20", "prlimit", "--memlock=65536:65536", "setpriv"])
        .args(["--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"])
        .arg(env!("CARGO_BIN_EXE_vaguemestre"))
        .args(arguments)
        .arg("--config")
        .arg(relay.config());
    command
}

#[tokio::test]
async fn a_relay_leaves_no_core() {
    let space = Space::of(&[HOST]);
    let mut relay = super::relay(&space).start(&[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", relay.pid())).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    let pid = relay.pid().to_string();
    Command::new("kill").args(["-ABRT", &pid]).status().unwrap();
    let ended = relay.wait();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
}

#[tokio::test]
async fn a_relay_under_locked_memory_works_and_off_leaves_it() {
    let space = Space::of(&[HOST]);
    let mut relay = super::relay(&space).start(&[LUNE]);
    relay.kill();
    set(&relay, "require");
    relay.begin();
    letter(&relay, "en memoire").await;
    let (locked, resident) = (kib(&status(&relay, "VmLck")), kib(&status(&relay, "VmRSS")));
    // What stands in memory is locked; what is only reserved is not filled for it.
    assert!(locked >= resident / 2, "{locked} KiB of {resident} are locked");
    assert!(resident < 400_000, "{resident} KiB are resident");
    relay.kill();
    let text = fs::read_to_string(relay.config()).unwrap();
    fs::write(relay.config(), text.replace("\"require\"", "\"off\"")).unwrap();
    relay.begin();
    assert_eq!(kib(&status(&relay, "VmLck")), 0);
}

#[tokio::test]
async fn without_the_right_to_lock_try_says_what_to_set_and_require_does_not_start() {
    let space = Space::of(&[HOST]);
    let mut relay = super::relay(&space).start(&[]);
    relay.kill();
    let said_now = said(&unprivileged(&relay, &["serve"]).output().unwrap());
    assert!(said_now.contains("LimitMEMLOCK=infinity"), "{said_now}");
    assert!(said_now.contains("the relay is open"), "{said_now}");
    set(&relay, "require");
    let output = unprivileged(&relay, &["serve"]).output().unwrap();
    let said_now = said(&output);
    assert!(!output.status.success());
    assert!(said_now.contains("storage.lock_memory"), "{said_now}");
    assert!(said_now.contains("LimitMEMLOCK=infinity"), "{said_now}");
    assert!(!said_now.contains("the relay is open"), "{said_now}");
}

/// Unsealed contents are in memory only: nothing of ours asks for a temporary file. Parsers of
/// uploads and archives take octets, not files.
#[test]
fn nothing_in_the_source_makes_a_temporary_file() {
    const WORDS: [&str; 8] = [
        "O_TMPFILE",
        "tempfile::",
        "temp_dir(",
        "NamedTempFile",
        "memfd_create",
        "mkstemp",
        "\"/tmp",
        "\"/var/tmp",
    ];
    let mut folders = vec![Path::new("src").to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            // Tests may: they have nothing secret.
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            if path.file_stem().is_some_and(|name| name == "tests")
                || path.components().any(|part| part.as_os_str() == "tests")
            {
                continue;
            }
            for word in WORDS {
                assert!(!code.contains(word), "{} asks for {word}", path.display());
            }
        }
    }
}
