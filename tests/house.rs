//! The rules of the house, as tests. Whoever must change a rule changes it here, in
//! docs/ARCHITECTURE.md and in the code in one commit.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// Floors from the ground up. A file may name its own floor and lower ones.
const FLOORS: &[(&str, usize)] = &[
    ("domain", 0),
    ("proto", 1),
    ("infra", 2),
    ("flow", 3),
    ("server", 4),
    // The crate root: what builds, shows and drives the house.
    ("relay", 5),
    ("demo", 6),
    ("cli", 6),
];

/// The stations of a letter's way, each with the one before it: the only one it may name.
const STATIONS: &[(&str, &str)] = &[
    ("accept", ""),
    ("authenticate", "accept"),
    ("policy", "authenticate"),
    ("seal", "policy"),
    ("queue", "seal"),
    ("route", "queue"),
    ("deliver", "route"),
    ("notify", "deliver"),
    ("count", "deliver"),
];

/// Rooms of `infra` that their neighbours may use.
const SHARED_ROOMS: &[&str] = &["clock", "store", "replica", "net"];

#[test]
fn imports_only_go_downstairs() {
    for file in sources("src") {
        let Some(here) = floor(file.room(0)) else { continue };
        for path in &file.paths {
            if let Some(there) = floor(&path[0]) {
                assert!(there <= here, "{} looks up to {}", file.name, path.join("::"));
            }
        }
    }
}

#[test]
fn rooms_do_not_look_into_each_other() {
    for (floor, shared) in [("server", &["gate"][..]), ("infra", SHARED_ROOMS)] {
        for file in sources("src").iter().filter(|file| file.room(0) == floor) {
            let here = file.room(1);
            if here.is_empty() {
                continue; // infra.rs and server.rs only list the rooms.
            }
            for path in file.paths.iter().filter(|path| path[0] == floor && path.len() > 1) {
                let there = path[1].as_str();
                let allowed = there == here || shared.contains(&there);
                assert!(allowed, "{} looks into {}", file.name, path.join("::"));
            }
        }
    }
}

#[test]
fn a_station_names_only_the_one_before_it() {
    for file in sources("src").iter().filter(|file| file.room(0) == "flow") {
        let Some((here, before)) = STATIONS.iter().find(|(name, _)| *name == file.room(1)) else {
            continue; // flow.rs knows the whole way; office and mailbox are furniture.
        };
        for path in file.paths.iter().filter(|path| path[0] == "flow" && path.len() > 1) {
            let there = path[1].as_str();
            let is_station = STATIONS.iter().any(|(name, _)| *name == there);
            let allowed = !is_station || there == *here || there == *before;
            assert!(allowed, "{} names {}", file.name, path.join("::"));
        }
    }
}

/// Floors 0 and 1 are pure: they can be tested, fuzzed and read without a runtime in mind.
#[test]
fn nouns_and_codecs_are_pure() {
    const IMPURE: &[&str] = &[
        "tokio",
        "async fn",
        "std::fs",
        "std::env",
        "std::process",
        "std::thread",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "SystemTime",
        "Instant",
        "tracing",
        "rustls",
    ];
    for file in sources("src").iter().filter(|file| ["domain", "proto"].contains(&file.room(0))) {
        for impure in IMPURE {
            assert!(!names(&file.code, impure), "{} uses {impure}", file.name);
        }
        if file.room(0) == "domain" {
            assert!(!names(&file.code, "serde"), "{} knows a wire form", file.name);
        }
    }
}

/// What is stored or sent has its own small struct: a public type never becomes a format.
#[test]
fn public_types_of_proto_are_not_serialised() {
    for file in sources("src").iter().filter(|file| file.room(0) == "proto") {
        let lines: Vec<&str> = file.code.lines().map(str::trim).collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.contains("Serialize")) {
            let item = lines[at..].iter().find(|line| !line.starts_with("#["));
            let public = item.is_some_and(|item| item.starts_with("pub struct"));
            let public = public || item.is_some_and(|item| item.starts_with("pub enum"));
            assert!(!public, "{}: {}", file.name, item.unwrap_or(&""));
        }
    }
}

/// `use crate::{a, b}` would hide an import from the tests above.
#[test]
fn imports_are_not_grouped_at_the_root() {
    for file in sources("src") {
        for root in ["crate::{", "super::{", "crate::*"] {
            assert!(!file.code.contains(root), "{}: write one `use` per path", file.name);
        }
    }
}

/// Each of these has one place, so that replacing or auditing it is reading one folder.
#[test]
fn dangerous_things_have_one_place() {
    for (word, home) in [
        ("sled", "src/infra/replica"),
        ("sequoia_openpgp", "src/infra/keys"),
        ("redb", "src/infra/store"),
        ("webauthn_rs", "src/infra/directory/factors/passkeys"),
        ("cryptoki", "src/infra/keys/master"),
        ("SystemTime::now", "src/infra/clock"),
        ("Zoned::now", "src/infra/clock"),
        ("jiff::Timestamp::now", "src/infra/clock"),
    ] {
        for file in sources("src").iter().filter(|file| !file.name.starts_with(home)) {
            // The module that wraps redb, and the name of its file, may be spoken of.
            let code = file.code.replace("store::redb", "").replace("truth.redb", "");
            assert!(!names(&code, word), "{}: {word} lives in {home}", file.name);
        }
    }
}

#[test]
fn nothing_is_left_to_do_in_the_code() {
    for file in sources("src") {
        for word in ["todo!(", "unimplemented!("] {
            assert!(!file.text.contains(word), "{} holds a {word}…)", file.name);
        }
    }
}

#[test]
fn every_file_says_first_what_lives_in_it() {
    for file in sources("src").iter().chain(&sources("tests")) {
        let first = file.text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! "), "{} begins with {first:?}", file.name);
    }
}

#[test]
fn every_limit_gives_its_reason() {
    let rooms = sources("src/domain/limits");
    assert!(rooms.len() > 10, "the limits have moved");
    for file in rooms {
        let lines: Vec<&str> = file.text.lines().collect();
        let limits = lines.iter().enumerate().filter(|(_, line)| line.starts_with("pub const "));
        for (at, line) in limits {
            assert!(lines[at - 1].starts_with("/// "), "{line} has no doc comment");
        }
    }
}

#[test]
fn every_cited_standard_is_in_the_index() {
    let index = fs::read_to_string("docs/standards.md").unwrap();
    let listed: BTreeSet<&str> =
        index.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    let mut missing = BTreeMap::new();
    for file in sources("src") {
        for standard in cited(&file.text) {
            if !listed.contains(standard.as_str()) {
                missing.insert(standard, file.name.clone());
            }
        }
        // RFC 5321 has one way of being written, so that a search finds all of it.
        // RFC822.SIZE is a word of IMAP, Profile::RFC4880 one of the OpenPGP library.
        let text = file.text.replace("Profile::RFC", "");
        let run_together = text.split("RFC").skip(1).any(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '_')
                && !rest.starts_with("822")
        });
        assert!(!run_together, "{}: write `RFC nnnn §n`", file.name);
    }
    assert!(missing.is_empty(), "not in docs/standards.md: {missing:#?}");
}

/// `RFC 5321`, `ANS Ref2` of every citation.
fn cited(text: &str) -> Vec<String> {
    let rfcs = text.split("RFC ").skip(1).filter_map(|rest| {
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        (!number.is_empty()).then(|| format!("RFC {number}"))
    });
    let ans = text.split("ANS Ref").skip(1).map(|rest| {
        format!("ANS Ref{}", rest.chars().take_while(char::is_ascii_digit).collect::<String>())
    });
    rfcs.chain(ans).collect()
}

/// A row of docs/known-attacks.md claims a test; the test must be there under that name.
#[test]
fn every_test_that_the_attack_table_names_exists() {
    let table = fs::read_to_string("docs/known-attacks.md").unwrap();
    let code: String =
        sources("src").iter().chain(&sources("tests")).map(|f| f.text.as_str()).collect();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        for test in tests.split('`').skip(1).step_by(2) {
            assert!(code.contains(&format!("fn {test}(")), "no test is called {test}");
        }
    }
}

/// A real key in the repository would have to be revoked; a made one teaches the wrong habit.
#[test]
fn no_private_key_is_in_the_repository() {
    let listing = Command::new("git").args(["ls-files", "-z"]).output().unwrap();
    assert!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    let names = String::from_utf8(listing.stdout).unwrap();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        let Ok(octets) = fs::read(name) else { continue };
        let text = String::from_utf8_lossy(&octets);
        for rest in text.split("PRIVATE KEY-----").skip(1) {
            let body = rest.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric());
            assert!(body.count() < 40, "{name} holds a private key");
        }
    }
}

#[test]
fn the_two_commands_of_the_readme_are_what_ci_runs() {
    let read = |name: &str| fs::read_to_string(name).unwrap();
    let (readme, makefile, ci) = (read("README.md"), read("Makefile"), read(".ci/run"));
    for command in ["demo", "test"] {
        assert!(readme.contains(&format!("make {command}")), "README: make {command}");
        assert!(makefile.contains(&format!("\n{command}:")), "Makefile: {command}");
    }
    assert!(ci.contains("make test"), ".ci/run calls the README's test command");
}

/// The tests above are only as good as their eyes.
#[test]
fn every_form_of_an_import_is_seen() {
    let module: Vec<String> = ["flow", "deliver", "operator"].map(str::to_owned).to_vec();
    let seen = |code: &str| {
        let paths: Vec<String> = paths(code, &module).iter().map(|path| path.join("::")).collect();
        paths.join(" ")
    };
    assert_eq!(seen("use crate::flow::seal::Sealed;"), "flow::seal::Sealed");
    assert_eq!(seen("pub(crate) fn f(x: crate::infra::net::Stop)"), "infra::net::Stop");
    assert_eq!(seen("use super::Route;"), "flow::deliver::Route");
    assert_eq!(seen("let x = super::super::queue::list();"), "flow::queue::list");
    assert_eq!(seen("use crate::flow::seal::{Sealed, Sealing};"), "flow::seal");
    assert!(names("use sled::Db;", "sled") && !names("let unsled_x = 1;", "sled"));
}

/// One source file.
struct Source {
    /// Path from the root of the repository.
    name: String,
    /// As it is.
    text: String,
    /// Without comments, and without the tests at its end.
    code: String,
    /// Module path, e.g. `["flow", "deliver", "operator"]`.
    module: Vec<String>,
    /// Every path from the crate's root that the code names.
    paths: Vec<Vec<String>>,
}

impl Source {
    /// A segment of the module path, empty when there is none.
    fn room(&self, depth: usize) -> &str {
        self.module.get(depth).map_or("", String::as_str)
    }
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().find(|(floor, _)| *floor == name).map(|(_, number)| *number)
}

fn sources(root: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(root)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("fuzz") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(source(root, &path));
            }
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

fn source(root: &str, path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let module: Vec<String> = path
        .strip_prefix(root)
        .unwrap()
        .with_extension("")
        .iter()
        .map(|segment| segment.to_str().unwrap().to_owned())
        .collect();
    let only_tests = root == "src" && path.file_stem().is_some_and(|stem| stem == "tests");
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let before_tests = if only_tests { "" } else { before_tests };
    let code: String = before_tests
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let paths = paths(&code, &module);
    Source { name: path.display().to_string(), text, code, module, paths }
}

/// `crate::a::b` and `super::a` wherever they stand, as segments from the crate's root.
fn paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        paths.push(segments(&code[at + "crate::".len()..]));
    }
    for (at, _) in code.match_indices("super::") {
        let mut rest = &code[at..];
        let mut up = 0;
        while let Some(next) = rest.strip_prefix("super::") {
            (rest, up) = (next, up + 1);
        }
        // `super::super::x` is met twice; the first time counts.
        if !code[..at].ends_with("super::") {
            let mut path = module[..module.len().saturating_sub(up)].to_vec();
            path.extend(segments(rest));
            paths.push(path);
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

fn segments(text: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut segments = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            return segments;
        }
        segments.push(rest[..end].to_owned());
        match rest[end..].strip_prefix("::") {
            Some(next) => rest = next,
            None => return segments,
        }
    }
}

/// Whether `word` stands in the code as a word of its own.
fn names(code: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word)
    })
}
