//! Letters that are larger than what is opened as a whole: piece by piece on their way out.
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncReadExt;

use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::flow::mailbox::NewMessage;
use crate::flow::office::ClearMemory;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::Piece;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::section;
use crate::proto::mime::summary;
use crate::server::imap::session::Safety;
use crate::server::imap::tests::Client;
use crate::server::imap::tests::House;
use crate::server::imap::tests::LETTER;
use crate::server::imap::tests::check;

/// Three pieces and a bit, in a letter inside a letter.
const OCTETS: usize = 3 * 1_048_576 + 12_345;

/// A letter whose lines tell their places, of this many octets in its large part.
fn letter(octets: usize) -> String {
    let mut text = String::with_capacity(octets + 1_000);
    text.push_str(
        "From: Dr A <a@hopital.mssante.test>\r\nTo: b@cabinet.mssante.test\r\nSubject: scanner\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
         Content-Type: text/plain\r\n\r\nVoici.\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
         Subject: dedans\r\nContent-Type: text/plain\r\n\r\n",
    );
    let start = text.len();
    while text.len() - start < octets {
        text.push_str(&format!("{:>62}\r\n", text.len()));
    }
    text.push_str("--b\r\nContent-Type: text/plain\r\n\r\nFin.\r\n--b--\r\n");
    text
}

impl House {
    /// Puts a letter of any size into INBOX.
    async fn file(&self, letter: &str) {
        let mailbox = self.desk.mailboxes.open(&self.desk.account).await.unwrap();
        let content = Secret::new(letter.as_bytes().to_vec());
        let message = NewMessage { content, flags: Flags::default(), internal_date: None };
        mailbox.append(FolderId::INBOX, message).await.unwrap();
    }

    /// Where the sealed contents of large letters are.
    fn content_files(&self) -> Vec<PathBuf> {
        let drawers = fs::read_dir(self.folder.path().join("blobs")).unwrap();
        drawers
            .flat_map(|drawer| fs::read_dir(drawer.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .collect()
    }

    /// Changes one octet of the only large content.
    fn damage_at(&self, place: u64) {
        let files = self.content_files();
        assert_eq!(files.len(), 1);
        let file = fs::File::options().read(true).write(true).open(&files[0]).unwrap();
        let mut octet = [0];
        file.read_exact_at(&mut octet, place).unwrap();
        file.write_all_at(&[octet[0] ^ 1], place).unwrap();
    }
}

impl Client {
    async fn select(&mut self) {
        self.ok("s SELECT INBOX").await;
    }

    /// Says a command, and reads until so many octets are there.
    async fn some(&mut self, command: &str, octets: usize) -> Vec<u8> {
        self.send(&format!("{command}\r\n")).await;
        let mut read = vec![0; octets];
        self.stream.read_exact(&mut read).await.unwrap();
        read
    }

    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap();
        rest
    }
}

#[tokio::test]
async fn every_section_and_stretch_of_a_large_letter_is_what_it_is_of_the_whole() {
    let house = House::new().await;
    let letter = letter(OCTETS);
    house.file(&letter).await;
    let mut client = house.login().await;
    client.select().await;
    let structure = summary::summarise(letter.as_bytes()).structure;
    let end = letter.len();
    let mut asked: Vec<String> = [
        "[]",
        "[HEADER]",
        "[TEXT]",
        "[1]",
        "[2]",
        "[2.HEADER]",
        "[2.TEXT]",
        "[2.MIME]",
        "[2.1]",
        "[3]",
        "[4]",
        "[HEADER.FIELDS (SUBJECT)]",
        "[2.HEADER.FIELDS (SUBJECT)]",
        "[HEADER.FIELDS.NOT (SUBJECT)]<3.20>",
        "[TEXT]<1000000.70000>",
        "[2.TEXT]<300000.1>",
    ]
    .map(str::to_owned)
    .into();
    // At both sides of where chunks, parts and pieces end, and of the letter's end.
    for place in [0, 1, 32_768, 65_536, 65_536 * 5, 262_144, 1_048_576, end - 65_536, end, end + 9]
    {
        for start in [place.saturating_sub(30), place] {
            asked.push(format!("[]<{start}.60>"));
        }
    }
    asked.extend([format!("[]<0.{}>", u32::MAX), format!("[]<{}.{}>", u32::MAX, u32::MAX)]);
    for section in &asked {
        let item = format!("BODY.PEEK{section}");
        let pieces = [Piece::Text(item.as_bytes().to_vec())];
        let parsed = FetchItem::parse_all(&mut Cursor::new(&pieces)).unwrap();
        let expected =
            section::extract(letter.as_bytes(), &structure, &parsed[0].section().unwrap());
        let answer = client.ok(&format!("a FETCH 1 {item}")).await;
        match expected {
            None => assert!(answer.ends_with(" NIL)\r\na OK Done\r\n"), "{section}"),
            Some(octets) => {
                let octets = String::from_utf8_lossy(&octets);
                let literal = format!("{{{}}}\r\n{octets})\r\na OK Done\r\n", octets.len());
                assert!(answer.ends_with(&literal), "{section}");
            }
        }
    }
    let answer =
        client.ok("a FETCH 1 (RFC822.SIZE BINARY.PEEK[1] BODY.PEEK[3] RFC822.HEADER)").await;
    assert!(
        answer.contains("BINARY[1] {6}\r\nVoici. BODY[3] {4}\r\nFin. RFC822.HEADER {"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_large_letter_takes_a_piece_of_the_memory_however_large_it_is() {
    let mut house = House::new().await;
    std::sync::Arc::get_mut(&mut house.desk).unwrap().reading =
        ClearMemory::new(2 * limits::READING_OCTETS + 4_096);
    let letter = letter(OCTETS);
    house.file(&letter).await;
    // Two that read slowly, each in the middle of a letter that the memory could not hold.
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = house.connect_through(Safety::Tls, 4_096).await;
        client.ok("a LOGIN a@hopital.mssante.test secret").await;
        client.select().await;
        let begun = client.some("a FETCH 1 BODY.PEEK[]", 100_000).await;
        clients.push((client, begun));
    }
    for (mut client, mut read) in clients {
        let mut rest =
            vec![0; format!("* 1 FETCH (BODY[] {{{}}}\r\n", letter.len()).len() + letter.len()];
        let begun = read.len();
        rest[..begun].copy_from_slice(&read);
        client.stream.read_exact(&mut rest[begun..]).await.unwrap();
        read = rest;
        assert!(read.ends_with(letter.as_bytes()));
        client.read_until(|text| text.ends_with("a OK Done\r\n")).await;
    }
}

#[tokio::test]
async fn its_first_octets_leave_before_the_rest_was_read_and_damage_there_cuts_the_connection() {
    let house = House::new().await;
    let letter = letter(OCTETS);
    house.file(&letter).await;
    house.file(LETTER).await;
    let mut client = house.connect_through(Safety::Tls, 4_096).await;
    client.ok("a LOGIN a@hopital.mssante.test secret").await;
    client.select().await;
    let begun = client.some("a FETCH 1:2 BODY.PEEK[]", 10_000).await;
    // Whatever was read of the file before, this was not.
    house.damage_at(2_500_000);
    let all = [begun, client.rest().await].concat();
    let start = format!("* 1 FETCH (BODY[] {{{}}}\r\n", letter.len());
    let sent = all.strip_prefix(start.as_bytes()).unwrap();
    // What was sent is of the letter, to the chunk of the damage, and nothing follows.
    assert!(letter.as_bytes().starts_with(sent));
    assert!((2_400_000..2_500_000).contains(&sent.len()), "{}", sent.len());

    // Who comes again is told before anything is announced, as often as they come.
    let mut client = house.login().await;
    client.select().await;
    for _ in 0..2 {
        let answer = client.say("a FETCH 1:2 BODY.PEEK[]").await;
        let expected = format!(
            "* 1 FETCH (BODY[] NIL)\r\n* 2 FETCH (BODY[] {{{}}}\r\n{LETTER})\r\n\
             a NO [UNAVAILABLE] A message cannot be opened; the others were sent\r\n",
            LETTER.len()
        );
        assert_eq!(answer, expected);
    }
    // What is good of it can be had.
    for (part, octets) in [("1", "Voici."), ("3", "Fin.")] {
        let expected =
            format!("* 1 FETCH (BODY[{part}] {{{}}}\n{octets})\na OK Done\n", octets.len());
        check(&mut client, &format!("a FETCH 1 BODY.PEEK[{part}]"), &expected).await;
    }
    client.ok("a FETCH 1 (ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER])").await;
    assert!(
        client.ok("a FETCH 1 BODY.PEEK[]<0.2400000>").await.contains("BODY[]<0> {2400000}\r\n")
    );
}

#[tokio::test]
async fn damage_where_a_stretch_begins_is_told_before_it_is_announced() {
    let house = House::new().await;
    house.file(&letter(OCTETS)).await;
    let mut client = house.login().await;
    client.select().await;
    house.damage_at(70_000);
    // In the second chunk: the first one is sent of a whole letter, and of a stretch nothing.
    check(
        &mut client,
        "a FETCH 1 BODY.PEEK[]<66000.10>",
        "* 1 FETCH (BODY[]<66000> NIL)\n\
         a NO [UNAVAILABLE] A message cannot be opened; the others were sent\n",
    )
    .await;
    client.ok("a FETCH 1 BODY.PEEK[HEADER]").await;
    // In the first one.
    let house = House::new().await;
    house.file(&letter(OCTETS)).await;
    house.file(LETTER).await;
    let mut client = house.login().await;
    client.select().await;
    house.damage_at(2_000);
    let answer = client.say("a FETCH 1:2 (UID BODY.PEEK[])").await;
    assert!(
        answer.starts_with("* 1 FETCH (UID 1 BODY[] NIL)\r\n* 2 FETCH (UID 2 BODY[] {"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_large_letter_that_was_cut_or_grew_or_is_another_is_told_before_anything_is_announced() {
    let other = House::new().await;
    other.file(&letter(OCTETS)).await;
    let other = fs::read(&other.content_files()[0]).unwrap();
    for case in 0..6 {
        let house = House::new().await;
        house.file(&letter(OCTETS)).await;
        house.file(LETTER).await;
        let file = house.content_files().remove(0);
        let whole = fs::read(&file).unwrap();
        let (chunk, tag) = (65_536 + 16, 16);
        let body = whole.len() - tag - 3 * chunk;
        let changed = match case {
            0 => whole[..whole.len() - 1].to_vec(),
            1 => [&whole, &b"x"[..]].concat(),
            // The length is right: the end of another letter, and chunks in another order.
            2 => [&whole[..whole.len() - tag], &other[other.len() - tag..]].concat(),
            3 => other.clone(),
            4 => vec![0; whole.len()],
            _ => [&whole[..body], &whole[whole.len() - tag..], &vec![0; 3 * chunk]].concat(),
        };
        fs::write(&file, changed).unwrap();
        let mut client = house.login().await;
        client.select().await;
        let answer = client.say("a FETCH 1:2 BODY.PEEK[]").await;
        assert!(
            answer.starts_with("* 1 FETCH (BODY[] NIL)\r\n* 2 FETCH (BODY[] {"),
            "{case} {answer}"
        );
        assert!(answer.contains("\r\na NO [UNAVAILABLE] "), "{case} {answer}");
    }
}

#[tokio::test]
async fn chunks_that_were_swapped_never_leave_in_the_wrong_place() {
    let house = House::new().await;
    let letter = letter(OCTETS);
    house.file(&letter).await;
    let file = house.content_files().remove(0);
    let mut octets = fs::read(&file).unwrap();
    // Whole chunks, counted from the end, where the last tag and one shorter chunk are.
    let chunk = 65_536 + 16;
    let last = (letter.len() + 12 + letter.len() / 32_768) % 65_536;
    let behind = octets.len() - 16 - (last + 16);
    let (first, second) = (behind - 2 * chunk, behind - chunk);
    for at in 0..chunk {
        octets.swap(first + at, second + at);
    }
    fs::write(&file, octets).unwrap();
    let mut client = house.login().await;
    client.select().await;
    client.send("a FETCH 1 BODY.PEEK[]\r\n").await;
    let all = client.rest().await;
    let start = format!("* 1 FETCH (BODY[] {{{}}}\r\n", letter.len());
    let sent = all.strip_prefix(start.as_bytes()).unwrap();
    assert!(letter.as_bytes().starts_with(sent));
    assert!(sent.len() < letter.len() - 65_536);
}

#[tokio::test]
async fn a_large_letter_that_is_expunged_while_somebody_reads_it_is_read_to_its_end() {
    let house = House::new().await;
    let letter = letter(OCTETS);
    house.file(&letter).await;
    let mut client = house.connect_through(Safety::Tls, 4_096).await;
    client.ok("a LOGIN a@hopital.mssante.test secret").await;
    client.select().await;
    let begun = client.some("a FETCH 1 BODY.PEEK[]", 10_000).await;
    let mut other = house.login().await;
    other.select().await;
    other.ok("a STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    other.ok("a EXPUNGE").await;
    assert_eq!(house.content_files().len(), 0);
    client.send("b LOGOUT\r\n").await;
    let all = [begun, client.rest().await].concat();
    let start = format!("* 1 FETCH (BODY[] {{{}}}\r\n", letter.len());
    let sent = all.strip_prefix(start.as_bytes()).unwrap();
    assert!(sent.starts_with(letter.as_bytes()));
    let behind = String::from_utf8_lossy(&sent[letter.len()..]).into_owned();
    assert!(behind.starts_with(")\r\n") && behind.contains("a OK Done\r\n"), "{behind}");
}

#[tokio::test]
async fn fields_of_a_header_that_is_itself_large_are_found() {
    let house = House::new().await;
    let field = "X-Long: 0123456789012345678901234567890123456789\r\n";
    let letter = format!("{}Subject: x\r\n\r\ntext\r\n", field.repeat(40_000));
    house.file(&letter).await;
    let mut client = house.login().await;
    client.select().await;
    check(
        &mut client,
        "a FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT])",
        "* 1 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {14}\nSubject: x\n\n BODY[TEXT] {6}\ntext\n)\na OK Done\n",
    )
    .await;
    assert!(client.ok("a FETCH 1 BODY.PEEK[HEADER]").await.contains(&letter[..letter.len() - 6]));
    // No header end at all.
    let letter = field.repeat(40_000);
    house.file(&letter).await;
    client.ok("a NOOP").await;
    check(&mut client, "a FETCH 2 BODY.PEEK[TEXT]", "* 2 FETCH (BODY[TEXT] {0}\n)\na OK Done\n")
        .await;
}

#[tokio::test]
async fn parts_of_a_large_letter_come_without_their_encoding() {
    let house = House::new().await;
    let octets: Vec<u8> = (0..1_500_000_u32).map(|at| (at ^ (at >> 7)) as u8).collect();
    let text = "ligne\r\n".repeat(10_000);
    let lines: Vec<String> = STANDARD
        .encode(&octets)
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    let letter = format!(
        "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\n{text}\r\n\
         --b\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n\
         --b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9\r\n\
         --b\r\nContent-Transfer-Encoding: base64\r\n\r\n(((:::)))\r\n\
         --b\r\nContent-Transfer-Encoding: x-other\r\n\r\nabc\r\n--b--\r\n",
        lines.join("\r\n"),
    );
    house.file(&letter).await;
    let mut client = house.login().await;
    client.select().await;
    check(
        &mut client,
        "a FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[2] BINARY.SIZE[3] BINARY.PEEK[3] BINARY.PEEK[9])",
        "* 1 FETCH (BINARY.SIZE[1] 70000 BINARY.SIZE[2] 1500000 BINARY.SIZE[3] 5 \
         BINARY[3] {5}\ncafé BINARY[9] NIL)\na OK Done\n",
    )
    .await;
    for part in ["4", "5"] {
        let answer = client.say(&format!("a FETCH 1 BINARY.PEEK[{part}]")).await;
        assert!(answer.contains(" NIL)\r\na NO [UNKNOWN-CTE] "), "{answer}");
    }
    let answer = client.ok("a FETCH 1 BINARY.PEEK[1]").await;
    assert!(answer.contains(&format!("BINARY[1] {{70000}}\r\n{text})\r\n")));
    for (partial, wanted) in [
        ("", 0..1_500_000),
        ("<0.100>", 0..100),
        ("<1.3>", 1..4),
        ("<700000.500000>", 700_000..1_200_000),
        ("<1499999.9>", 1_499_999..1_500_000),
        ("<1500000.1>", 1_500_000..1_500_000),
    ] {
        let wanted = &octets[wanted];
        let is_literal8 = if wanted.contains(&0) { "~" } else { "" };
        let start = match partial.split_once('.') {
            Some((start, _)) => format!("* 1 FETCH (BINARY[2]{start}> "),
            None => "* 1 FETCH (BINARY[2] ".to_owned(),
        };
        let start = format!("{start}{is_literal8}{{{}}}\r\n", wanted.len());
        let command = format!("a FETCH 1 BINARY.PEEK[2]{partial}");
        let read = client.some(&command, start.len() + wanted.len()).await;
        assert!(read.starts_with(start.as_bytes()), "{partial}");
        assert!(read[start.len()..] == *wanted, "{partial}");
        assert_eq!(
            client.read_until(|text| text.ends_with("Done\r\n")).await,
            ")\r\na OK Done\r\n"
        );
    }
    // What is damaged is told before it is announced: it was decoded once to count it.
    house.damage_at(1_000_000);
    let answer = client.say("a FETCH 1 (BINARY.SIZE[2] BINARY.PEEK[2] BINARY.SIZE[1])").await;
    let expected = "* 1 FETCH (BINARY[2] NIL BINARY.SIZE[1] 70000)\r\n\
                    a NO [UNAVAILABLE] A message cannot be opened; the others were sent\r\n";
    assert_eq!(answer, expected);
}
