//! interimap, which lives from QRESYNC: two mailboxes kept the same, from both ends.
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::clients::COLLEAGUE;
use crate::clients::Lying;
use crate::clients::USER;
use crate::support::imap::Client;
use crate::support::letters;
use crate::support::letters::Dice;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;

const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn interimap_keeps_two_mailboxes_the_same_by_qresync() {
    let mut dice = Dice(letters::seed());
    let space = super::space();
    let relay = super::relay(&space);
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &relay);
    let sync = || super::succeed(&mut command(folder.path()));
    let mut ends = [
        super::client(&relay, USER).await.unwrap(),
        super::client(&relay, COLLEAGUE).await.unwrap(),
    ];
    ends[0].ok("CREATE \"Urgences/&AMk-t&AOk-\"").await.unwrap();
    ends[1].ok("CREATE Archive").await.unwrap();
    sync();
    for _ in 0..ROUNDS {
        for (number, end) in ends.iter_mut().enumerate() {
            change(end, number, &mut dice).await.unwrap();
        }
        let said = sync();
        let near = super::on_the_server(&relay, USER).await.unwrap();
        let far = super::on_the_server(&relay, COLLEAGUE).await.unwrap();
        assert_eq!(near, far, "{said}");
    }
    let before = super::on_the_server(&relay, USER).await.unwrap();
    // In all folders: unlucky dice leave few in one of them.
    let left: usize = before.values().map(Vec::len).sum();
    assert!(left > ROUNDS / 2, "{left} letters are left of the whole run");
    // The first run after a change hears of its own changes once more; then there is silence.
    sync();
    let said = sync();
    assert!(!said.contains("Replicated") && !said.contains("Updated"), "nothing was left:\n{said}");
    check_nothing_is_double(&before["INBOX"]);
}

fn check_nothing_is_double(all: &[Lying]) {
    let mut ids: Vec<&str> = all.iter().map(|lying| lying.message_id.as_str()).collect();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "{all:#?}");
}

/// New letters, flags, removals. Each end changes every second message only: which of two
/// contrary changes wins is the program's affair.
async fn change(end: &mut Client, number: usize, dice: &mut Dice) -> anyhow::Result<()> {
    for folder in ["INBOX", "Archive", "Urgences/&AMk-t&AOk-"] {
        for _ in 0..dice.below(3) {
            let (_, letter) = super::letter([400, 3_000, 90_000][dice.below(3) as usize]);
            let flags = ["", "\\Seen", "\\Flagged $Suivi"][dice.below(3) as usize];
            super::file(end, folder, flags, &letter).await?;
        }
        end.ok(&format!("SELECT \"{folder}\"")).await?;
        let found = end.ok("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])").await?;
        let mut mine = Vec::new();
        for response in &found.untagged {
            let (Some(uid), Some(id)) =
                (response.item("UID"), response.item("BODY[HEADER.FIELDS (MESSAGE-ID)]"))
            else {
                continue;
            };
            let sum: usize = id.text().unwrap_or_default().bytes().map(usize::from).sum();
            if sum % 2 == number {
                mine.extend(uid.number());
            }
        }
        for _ in 0..dice.below(3).min(mine.len() as u64) {
            let uid = mine[dice.below(mine.len() as u64) as usize];
            let flag = ["\\Seen", "\\Answered", "$Suivi"][dice.below(3) as usize];
            let sign = ['+', '-'][dice.below(2) as usize];
            end.ok(&format!("UID STORE {uid} {sign}FLAGS ({flag})")).await?;
        }
        if dice.below(2) == 0
            && let Some(uid) = mine.first()
        {
            end.ok(&format!("UID STORE {uid} +FLAGS (\\Deleted)")).await?;
            end.ok(&format!("UID EXPUNGE {uid}")).await?;
        }
    }
    Ok(())
}

fn configure(folder: &Path, relay: &Serving<'_>) {
    let place = |user: &str| {
        format!(
            "type = imaps\nhost = 127.0.0.1\nport = {}\nusername = {user}\npassword = {PASSWORD}\n\
             SSL_CAfile = {}\nSSL_hostname =\n",
            relay.port("imaps"),
            relay.ca()
        )
    };
    let here = folder.display();
    let text = format!(
        "database = {here}/state.db\n\n[local]\n{}\n[remote]\n{}",
        place(USER),
        place(COLLEAGUE)
    );
    fs::create_dir_all(folder.join(".local/share/interimap")).unwrap();
    super::configuration(folder, "interimap", &text);
}

fn command(folder: &Path) -> Command {
    let mut command = super::program("interimap", folder);
    command.arg(format!("--config={}", folder.join("interimap").display()));
    command
}
