//! The same scripts on the same letters, here and in Dovecot's interpreter.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use vaguemestre::domain::time::Timestamp;
use vaguemestre::proto::sieve;

use crate::support::running::run;
use crate::support::running::said;

const LETTER: &str = "Return-Path: <hugo@x.test>\nFrom: Hugo Oreade <hugo@x.test>\nTo: claire@y.test,\n \
    team: a@z.test, b@z.test;\nSubject: =?utf-8?q?R=C3=A9sultat_de_biologie?=\nX-Rank: 12\n\
    Date: Fri, 20 Nov 2026 14:36:00 +0100\nMessage-ID: <1@x.test>\nMIME-Version: 1.0\n\
    Content-Type: text/plain; charset=utf-8\n\nLe patient va bien.\n";

/// Tests of which both say whether they are true.
const TESTS: &[&str] = &[
    "header :is \"subject\" \"résultat DE biologie\"",
    "header :comparator \"i;octet\" :is \"subject\" \"résultat de biologie\"",
    "header :matches \"subject\" \"R*de*\"",
    "header :matches \"subject\" \"R?sultat\"",
    "header :contains [\"x-none\", \"to\"] \"claire\"",
    "header :contains \"x-none\" \"\"",
    "address :localpart \"to\" [\"b\", \"c\"]",
    "address :domain \"from\" \"X.TEST\"",
    "address :all :contains \"to\" \"team\"",
    "envelope :localpart \"from\" \"hugo\"",
    "exists [\"from\", \"x-none\"]",
    "not exists \"x-none\"",
    "size :over 100",
    "size :under 1K",
    "header :value \"ge\" :comparator \"i;ascii-numeric\" \"x-rank\" \"9\"",
    "header :value \"lt\" \"x-rank\" \"9\"",
    "address :count \"eq\" :comparator \"i;ascii-numeric\" \"to\" \"3\"",
    "body :contains \"va bien\"",
    "body :raw :matches \"*patient*\"",
    "body :content \"text/html\" :contains \"bien\"",
    "date :zone \"+0000\" \"date\" \"hour\" \"13\"",
    "date :originalzone \"date\" \"zone\" \"+0100\"",
    "date :zone \"+0100\" \"date\" \"weekday\" \"5\"",
    "date :zone \"+0100\" \"date\" \"julian\" \"61364\"",
    "string :matches \"a-b-c\" \"*-*\"",
    "string :count \"eq\" :comparator \"i;ascii-numeric\" [\"a\", \"\"] \"1\"",
    "allof (true, anyof (false, not false))",
];

const REQUIRE: &str = "require [\"fileinto\", \"envelope\", \"body\", \"date\", \"relational\", \
    \"variables\", \"comparator-i;ascii-numeric\", \"imap4flags\", \"copy\"];\n";

/// Scripts that both accept, or both refuse.
const FORMS: &[(&str, bool)] = &[
    ("keep;", true),
    ("if not allof (true, true) { keep; } elsif true { stop; } else { discard; }", true),
    ("set :upperfirst :lower \"a\" \"b\"; fileinto \"${a}\";", true),
    ("setflag [\"\\\\Seen\"]; keep :flags \"x\";", true),
    ("fileinto text:\nabc\n.\n;", true),
    ("redirect :copy \"a@b.test\"; # end", true),
    ("keep", false),
    ("if true keep;", false),
    ("else { keep; }", false),
    ("frobnicate;", false),
    ("if header :is :contains \"a\" \"b\" { keep; }", false),
    ("if size :over { keep; }", false),
    ("set :lower :upper \"a\" \"b\";", false),
    ("fileinto;", false),
    ("redirect \"nobody at all\";", false),
    ("require \"fileinto\"; keep; require \"envelope\";", false),
];

#[test]
fn two_interpreters_decide_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("letter"), LETTER).unwrap();
    // It works as nobody when root runs the tests, and compares times of whole seconds.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let user = match said(&run("id", &["-u"])).trim() {
        "0" => "65534".to_owned(),
        user => user.to_owned(),
    };
    let home = folder.path().to_str().unwrap().to_owned();
    let mut number = 0;
    let mut theirs = |script: &str, program: &str, more: &[&str]| {
        number += 1;
        let file = path(&format!("script-{number}.sieve"));
        fs::write(&file, script).unwrap();
        let settings = [
            format!("mail_home={home}"),
            format!("mail_location=maildir:{home}/mail"),
            format!("mail_uid={user}"),
            format!("mail_gid={user}"),
        ];
        // Its own configuration is not asked: it may belong to a server.
        let mut command = Command::new(program);
        command.args(["-c", "/dev/null"]);
        settings.iter().for_each(|setting| {
            command.args(["-o", setting]);
        });
        let (options, files) = more.split_at(more.len() - 1);
        command.args(options).arg(&file).args(files).output().unwrap()
    };
    let letter = LETTER.replace('\n', "\r\n");
    for test in TESTS {
        let script =
            format!("{REQUIRE}if {test} {{ fileinto \"yes\"; }} else {{ fileinto \"no\"; }}");
        let compiled = sieve::compile(script.as_bytes()).unwrap_or_else(|f| panic!("{test}: {f}"));
        let around = sieve::Circumstances {
            from: "hugo@x.test",
            to: "claire@y.test",
            now: Timestamp::from_seconds(1_795_388_399),
            folders: &[],
            redirects_max: 4,
        };
        let verdict = compiled.run(&sieve::Letter::new(letter.as_bytes()), &around).unwrap();
        let ours = verdict.filed[0].folder.as_ref().unwrap().name.clone();
        let file = path("letter");
        let output =
            theirs(&script, "sieve-test", &["-f", "hugo@x.test", "-r", "claire@y.test", &file]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{test}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(
            said.contains(&format!("store message in folder: {ours}")),
            "{test}: we say {ours}, they {said}"
        );
    }
    for (form, is_good) in FORMS {
        let script = format!("{REQUIRE}{form}\n");
        let ours = sieve::compile(script.as_bytes());
        assert_eq!(ours.is_ok(), *is_good, "{form}: {ours:?}");
        let compiled = path("out");
        let output = theirs(&script, "sievec", &[&compiled]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), *is_good, "{form}: {said}");
    }
}
