//! The program as administrators meet it: arguments, exit codes, files.
mod reach;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

/// Runs the built program to its end, with `input` on its standard input.
pub(crate) fn vaguemestre(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not want its input closes it: no matter.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn wrong_usage_exits_with_2() {
    for line in ["", "dance", "serve --config", "mailbox add a@b.test", "stats show --from today"] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(code(&vaguemestre(&arguments, "")), 2, "{line}");
    }
}

#[test]
fn a_wrong_configuration_exits_with_78_and_names_every_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vaguemestre.toml");
    fs::write(&file, "[operator]\nnmae = \"x\"\n[limits]\nrecipients = 1\n").unwrap();
    let file = file.to_str().unwrap();
    for command in ["check-config", "serve"] {
        let output = vaguemestre(&[command, "--config", file], "");
        assert_eq!(code(&output), 78, "{command}");
        for text in ["operator.nmae", "`operator.name`", "limits.recipients", "mx.certificate"] {
            assert!(
                err(&output).contains(text),
                "{command} does not say {text}:\n{}",
                err(&output)
            );
        }
    }
    let output = vaguemestre(&["check-config", "--json", "--config", file], "");
    assert_eq!(code(&output), 78);
    let errors: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    let limits = errors.as_array().unwrap().iter().find(|e| e["key"] == "limits.recipients");
    assert!(limits.unwrap()["expected"].as_str().unwrap().contains("from 100 to 10000"));
}

#[test]
fn every_help_of_a_command_on_data_says_how_it_reaches_it() {
    for line in ["mailbox add", "mailbox list", "mailbox passwd", "stats show", "queue list"] {
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.push("--help");
        let output = vaguemestre(&arguments, "");
        assert_eq!(code(&output), 0, "{line}");
        assert!(out(&output).contains("running and on a stopped relay"), "{line}");
        assert!(out(&output).contains("control.sock"), "{line}");
    }
}

#[test]
fn the_version_is_readable_by_programs() {
    let output = vaguemestre(&["version", "--json"], "");
    let version: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_administrators_password_comes_from_standard_input_and_is_kept_as_a_hash() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.passwd");
    let arguments = ["admin", "passwd", "--password-stdin", "--file", file.to_str().unwrap()];
    let output = vaguemestre(&arguments, "correct horse battery\n");
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("$argon2id$") && !text.contains("horse"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(code(&vaguemestre(&arguments, "short\n")), 1);
    assert_eq!(code(&vaguemestre(&arguments, "")), 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn without_a_terminal_a_password_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.passwd");
    let output = vaguemestre(&["admin", "passwd", "--file", file.to_str().unwrap()], "secret\n");
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("--password-stdin"), "{}", err(&output));
    assert!(!file.exists());
}
