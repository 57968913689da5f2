//! One damaged row hides no other letter and locks nobody out.
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::infra::store::Batch;
use crate::infra::store::Store;
use crate::server::imap::session::Safety;
use crate::server::imap::tests::House;
use crate::server::imap::tests::LETTER;
use crate::server::imap::tests::check;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    Flipped,
    Emptied,
    Garbled,
    Lost,
}

/// Every row of a mailbox and of its contents, damaged in turn, while two sessions are at it.
#[tokio::test]
async fn whatever_row_is_damaged_the_other_letters_are_listed_read_and_removed() {
    for damage in [Damage::Flipped, Damage::Emptied, Damage::Garbled, Damage::Lost] {
        let mut place = 0;
        while survives(damage, place).await {
            place += 1;
        }
        assert!(place >= 18, "a mailbox of three letters has more rows than {place}");
    }
}

/// False when there is no such row.
async fn survives(damage: Damage, place: usize) -> bool {
    let house = House::new().await;
    let mut watcher = house.inbox(3).await;
    let Some(key) = house.damage(damage, place).await else { return false };
    let case = format!("{damage:?} {}", String::from_utf8_lossy(&key));

    let mut client = house.connect(Safety::Tls).await;
    client.ok("a LOGIN a@hopital.mssante.test secret").await;
    let listed = client.ok("a LIST \"\" *").await;
    assert_eq!(listed.matches("* LIST ").count(), 5, "{case}: {listed}");
    for attribute in ["\\Sent", "\\Drafts", "\\Trash", "\\Junk", "\"/\" \"INBOX\"\r\n"] {
        assert!(listed.contains(attribute), "{case}: {listed}");
    }
    client.ok("a SELECT INBOX").await;
    let fetched = client.say("a FETCH 1:* (UID FLAGS ENVELOPE BODY.PEEK[])").await;
    let whole = fetched.matches(&format!("BODY[] {{{}}}\r\n{LETTER})", LETTER.len())).count();
    assert!(whole >= 2, "{case}: {fetched}");
    client.ok("a SEARCH SUBJECT x").await;
    // What is listed is listed of every row that is there, whatever its state.
    let listed = client.ok("a FETCH 1:* (UID MODSEQ EMAILID THREADID SAVEDATE PREVIEW)").await;
    assert_eq!(
        listed.matches(" PREVIEW ").count(),
        listed.matches(" EMAILID (M").count(),
        "{case}"
    );
    assert_eq!(listed.matches(" FETCH (UID ").count(), fetched.matches("FETCH (UID ").count());
    assert!(listed.matches(" PREVIEW \"Bonjour\")").count() >= 2, "{case}: {listed}");
    let decoded = client.say("a FETCH 1:* (UID BINARY.SIZE[2] BINARY.PEEK[2])").await;
    let whole = decoded.matches("BINARY.SIZE[2] 4 BINARY[2] {4}\r\n%PDF)").count();
    assert!(whole >= 2, "{case}: {decoded}");
    client.ok("a UID FETCH 1:* FLAGS (CHANGEDSINCE 1)").await;
    let there = fetched.matches("FETCH (UID ").count();
    assert!(there == 3 || damage == Damage::Lost, "{case}: {fetched}");
    client.ok("a STORE 1:* +FLAGS.SILENT (\\Deleted $Canari)").await;
    watcher.ok("a NOOP").await;
    let expunged = client.ok("a EXPUNGE").await;
    assert_eq!(expunged.matches(" EXPUNGE\r\n").count(), there, "{case}: {expunged}");
    // The list in memory is of before the damage: a row that was lost behind its back is a gap in
    // it until it is read anew, and hides nothing else.
    let gaps = 3 - there;
    let selected = client.ok("a SELECT INBOX").await;
    assert!((0..=gaps).any(|left| selected.contains(&format!("* {left} EXISTS"))), "{case}");
    let told = watcher.ok("a NOOP").await;
    assert!(told.matches(" EXPUNGE\r\n").count() >= there, "{case}: {told}");

    client.append("INBOX", LETTER).await;
    assert!(watcher.ok("a NOOP").await.contains(" EXISTS\r\n"), "{case}");
    true
}

#[tokio::test]
async fn a_folder_with_a_damaged_row_can_be_renamed_and_deleted() {
    for damage in [Damage::Garbled, Damage::Lost] {
        let house = House::new().await;
        let mut client = house.login().await;
        client.ok("a CREATE Patients").await;
        client.ok("a CREATE folder-6").await;
        client.append("Patients", LETTER).await;
        client.append("Patients", LETTER).await;
        let number = 6_u32.to_be_bytes();
        for table in [b'f', b'm'] {
            let prefix = [b"M/".as_slice(), &[1; 16], &[b'/', table], &number].concat();
            let range = prefix.clone()..[prefix, vec![u8::MAX; 5]].concat();
            let page = house.store.scan(range, 1).await.unwrap();
            house.spoil(damage, &page.rows[0].0, &page.rows[0].1.value).await;
        }
        assert!(client.ok("a LIST \"\" *").await.contains("\"folder-6-\"\r\n"));
        client.ok("a RENAME folder-6- Anciens").await;
        check(&mut client, "a SELECT Patients", "a NO [NONEXISTENT] No such mailbox\n").await;
        client.ok("a SELECT Anciens").await;
        client.ok("a DELETE Anciens").await;
        assert!(!client.ok("a LIST \"\" *").await.contains("Anciens"));
    }
}

#[tokio::test]
async fn a_mark_on_a_damaged_message_keeps_what_is_left_of_it() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    let prefix = [b"M/".as_slice(), &[1; 16], b"/m"].concat();
    let range = prefix.clone()..[prefix, vec![u8::MAX; 9]].concat();
    let page = house.store.scan(range, 1).await.unwrap();
    house.spoil(Damage::Garbled, &page.rows[0].0, b"half a row").await;
    client.ok("a STORE 1 +FLAGS (\\Flagged)").await;
    check(&mut client, "a FETCH 1 FLAGS", "* 1 FETCH (FLAGS (\\Flagged))\na OK Done\n").await;
    let mailbox = house.desk.mailboxes.open(&house.desk.account).await.unwrap();
    let entry = mailbox.entry(FolderId::INBOX, Uid(1)).await.unwrap().unwrap();
    assert_eq!(entry.sealed_key.len(), b"half a row".len());
}

impl House {
    /// Damages one row of the mailbox or its contents; answers its key.
    async fn damage(&self, damage: Damage, place: usize) -> Option<Vec<u8>> {
        let mailbox = self.store.scan(b"M/".to_vec()..b"M0".to_vec(), usize::MAX).await.unwrap();
        let blobs =
            self.store.scan(b"blob/".to_vec()..b"blob0".to_vec(), usize::MAX).await.unwrap();
        let (key, row) = mailbox.rows.into_iter().chain(blobs.rows).nth(place)?;
        self.spoil(damage, &key, &row.value).await;
        Some(key.to_vec())
    }

    async fn spoil(&self, damage: Damage, key: &[u8], value: &[u8]) {
        let mut batch = Batch::new();
        match damage {
            Damage::Flipped => {
                let mut value = value.to_vec();
                *value.last_mut().unwrap() ^= 1;
                batch.put(key, value);
            }
            Damage::Emptied => {
                batch.put(key, Vec::new());
            }
            Damage::Garbled => {
                batch.put(key, vec![u8::MAX; value.len()]);
            }
            Damage::Lost => {
                batch.delete(key);
            }
        }
        self.store.commit(batch).await.unwrap();
    }
}
