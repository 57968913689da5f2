//! What FETCH tells beyond RFC 3501: OBJECTID, SAVEDATE, PREVIEW, BINARY, PARTIAL, `$`.
use super::*;

const BINARY: &str = "Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
    caf=C3=A9\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n\
    AAECAw==\r\n--b\r\nContent-Type: x/y\r\nContent-Transfer-Encoding: x-rot13\r\n\r\nnop\r\n--b--\r\n";

fn value<'a>(answer: &'a str, name: &str) -> &'a str {
    let start = answer.find(&format!("{name} (")).unwrap() + name.len() + 2;
    answer[start..].split(')').next().unwrap()
}

#[tokio::test]
async fn copies_have_the_same_email_id_and_answers_the_same_thread() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    client.append("INBOX", "Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\n\r\nOui\r\n").await;
    client.append("INBOX", "Message-ID: <3@y>\r\n\r\nAutre\r\n").await;
    client.ok("a COPY 1 Trash").await;
    let fetch = "a FETCH 1:* (EMAILID THREADID)";
    client.ok("a NOOP").await;
    let answer = client.ok(fetch).await;
    let lines: Vec<&str> = answer.lines().collect();
    let ids: Vec<&str> = lines[..3].iter().map(|line| value(line, "EMAILID")).collect();
    let threads: Vec<&str> = lines[..3].iter().map(|line| value(line, "THREADID")).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0].starts_with('M'), "{answer}");
    assert_eq!(threads[0], threads[1]);
    assert!(threads[1] != threads[2] && threads[0].starts_with('T'), "{answer}");
    client.ok("a SELECT Trash").await;
    assert_eq!(value(&client.ok(fetch).await, "EMAILID"), ids[0]);
}

#[tokio::test]
async fn a_list_shows_when_a_letter_came_here_and_how_it_begins() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    check(
        &mut client,
        "a FETCH 1 (SAVEDATE PREVIEW)",
        "* 1 FETCH (SAVEDATE \"22-Nov-2026 22:59:59 +0000\" PREVIEW \"Bonjour\")\na OK Done\n",
    )
    .await;
    check(&mut client, "a FETCH 1 PREVIEW (LAZY)", "* 1 FETCH (PREVIEW \"Bonjour\")\na OK Done\n")
        .await;
    client.append("INBOX", "Subject: x\r\n\r\n").await;
    client
        .append("INBOX", "Content-Type: text/plain; charset=utf-8\r\n\r\n\u{e9}t\u{e9}\r\n")
        .await;
    client.ok("a NOOP").await;
    check(&mut client, "a FETCH 2 PREVIEW", "* 2 FETCH (PREVIEW \"\")\na OK Done\n").await;
    let answer = client.ok("a FETCH 3 PREVIEW").await;
    assert!(
        answer.contains("{5}\r\n\u{e9}t\u{e9})") || answer.contains("\"\u{e9}t\u{e9}\")"),
        "{answer}"
    );
    check(&mut client, "a FETCH 1 FLAGS", "* 1 FETCH (FLAGS ())\na OK Done\n").await;
}

#[tokio::test]
async fn parts_are_fetched_decoded() {
    let house = House::new().await;
    let mut client = house.inbox(0).await;
    client.append("INBOX", BINARY).await;
    client.ok("a NOOP").await;
    check(
        &mut client,
        "a FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1] BINARY.PEEK[1]<3.9>)",
        "* 1 FETCH (BINARY.SIZE[1] 5 BINARY[1] {5}\ncaf\u{e9} BINARY[1]<3> {2}\n\u{e9})\na OK Done\n",
    )
    .await;
    check(&mut client, "a FETCH 1 FLAGS", "* 1 FETCH (FLAGS ())\na OK Done\n").await;
    // NUL needs a literal8; reading without PEEK leaves its mark.
    check(
        &mut client,
        "a FETCH 1 BINARY[2]",
        "* 1 FETCH (BINARY[2] ~{4}\n\0\u{1}\u{2}\u{3} FLAGS (\\Seen))\na OK Done\n",
    )
    .await;
    let whole = client.ok("a FETCH 1 BINARY.PEEK[]").await;
    assert!(whole.contains(&format!("BINARY[] {{{}}}\r\n{BINARY})", BINARY.len())), "{whole}");
    let unknown = "a NO [UNKNOWN-CTE] A part has an encoding that cannot be undone\n";
    check(
        &mut client,
        "a FETCH 1 BINARY.PEEK[3]",
        &format!("* 1 FETCH (BINARY[3] NIL)\n{unknown}"),
    )
    .await;
    check(&mut client, "a FETCH 1 BINARY.SIZE[3]", &format!("* 1 FETCH (UID 1)\n{unknown}")).await;
    check(
        &mut client,
        "a FETCH 1 (BINARY.SIZE[9] RFC822.SIZE BINARY.SIZE[2])",
        &format!(
            "* 1 FETCH (RFC822.SIZE {} BINARY.SIZE[2] 4)\na NO [NONEXISTENT] A message has no such part\n",
            BINARY.len()
        ),
    )
    .await;
    check(&mut client, "a FETCH 1 BINARY.PEEK[9]", "* 1 FETCH (BINARY[9] NIL)\na OK Done\n").await;
    let many = "BINARY.PEEK[1] ".repeat(101);
    let answer = client.say(&format!("a FETCH 1 ({})", many.trim_end())).await;
    assert!(answer.starts_with("a NO [LIMIT]"), "{answer}");
}

#[tokio::test]
async fn a_page_of_a_long_list_is_fetched() {
    let house = House::new().await;
    let mut client = house.inbox(5).await;
    client.ok("a STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("a EXPUNGE").await;
    for (range, uids) in [
        ("1:2", vec![1, 3]),
        ("2:2", vec![3]),
        ("3:100", vec![4, 5]),
        ("-1:-2", vec![4, 5]),
        ("-4:-100", vec![1]),
        ("-2:-3", vec![3, 4]),
        ("5:9", vec![]),
        ("-5:-9", vec![]),
    ] {
        let answer = client.ok(&format!("a UID FETCH 1:* (UID) (PARTIAL {range})")).await;
        let told: Vec<u32> = answer
            .lines()
            .filter_map(|line| line.split_once("(UID ")?.1.strip_suffix(')')?.parse().ok())
            .collect();
        assert_eq!(told, uids, "{range}: {answer}");
    }
    check(&mut client, "a FETCH 1:* UID (PARTIAL 1:2)", "a BAD PARTIAL goes with UID FETCH\n")
        .await;
}

#[tokio::test]
async fn before_any_search_the_saved_result_is_empty() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    check(&mut client, "a FETCH $ UID", "a OK Done\n").await;
    check(&mut client, "a UID STORE $ +FLAGS (\\Seen)", "a OK Done\n").await;
}
