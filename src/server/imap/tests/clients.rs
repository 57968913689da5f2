//! Recorded sessions of real clients (`tests/vectors/imap/clients`), played to the end.
use super::*;

/// `C:` lines are said; each `S:` line must be among the answers, in order, before the command
/// that was said last is answered otherwise. `…` stands for anything.
#[tokio::test]
async fn what_real_clients_say_gets_the_answers_that_they_need() {
    let mut played = 0;
    for entry in std::fs::read_dir("tests/vectors/imap/clients").unwrap() {
        let path = entry.unwrap().path();
        let house = House::new().await;
        let mut before = house.login().await;
        for _ in 0..3 {
            before.append("INBOX", LETTER).await;
        }
        before.ok("a LOGOUT").await;
        let mut client = house.connect(Safety::Tls).await;
        let session = std::fs::read_to_string(&path).unwrap();
        let mut left = String::new();
        for (at, line) in session.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let place = format!("{}:{}", path.display(), at + 1);
            match (line.strip_prefix("C: "), line.strip_prefix("S: ")) {
                (Some(said), _) => client.send(&format!("{said}\r\n")).await,
                (_, Some(pattern)) => hear(&mut client, &mut left, pattern, &place).await,
                _ => panic!("{place} is neither C: nor S:"),
            }
        }
        played += 1;
    }
    assert!(played >= 6, "only {played} sessions");
}

/// Reads lines until one is like `pattern`.
async fn hear(client: &mut Client, left: &mut String, pattern: &str, place: &str) {
    let tag = pattern.split(' ').next().unwrap_or_default();
    loop {
        while let Some((line, rest)) = left.split_once("\r\n") {
            let (line, rest) = (line.to_owned(), rest.to_owned());
            *left = rest;
            if is_like(&line, pattern) {
                return;
            }
            let is_other_end = tag != "*" && tag != "+" && line.starts_with(&format!("{tag} "));
            assert!(!is_other_end, "{place}: {pattern:?} was expected, {line:?} came");
        }
        left.push_str(&client.read_until(|text| text.contains("\r\n")).await);
        assert!(!left.contains("<closed>") || left.contains("\r\n"), "{place}: {left:?}");
    }
}

fn is_like(line: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    for (index, piece) in pieces.iter().enumerate() {
        if index + 1 == pieces.len() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty()
}
