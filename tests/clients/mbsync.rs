//! mbsync in both directions, while both ends are killed at any moment.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use crate::clients::Lying;
use crate::clients::USER;
use crate::support::imap::Client;
use crate::support::letters;
use crate::support::letters::Dice;
use crate::support::running;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;

const ROUNDS: usize = 24;
const FOLDERS: [&str; 2] = ["INBOX", "Archive"];

/// Letters of each end that may have no flags but these.
const FLAGS: [(char, &str); 4] =
    [('S', "\\Seen"), ('R', "\\Answered"), ('F', "\\Flagged"), ('D', "\\Draft")];

/// What must lie in both ends when all is quiet. Each letter is changed only at the end where it
/// was filed, so there is one right outcome.
struct Model {
    letters: BTreeMap<String, Expected>,
}

struct Expected {
    folder: &'static str,
    content: String,
    flags: BTreeSet<char>,
    is_gone: bool,
    is_near: bool,
}

struct Mbsync<'f> {
    folder: &'f Path,
    config: PathBuf,
}

#[tokio::test(flavor = "multi_thread")]
async fn mbsync_and_the_relay_killed_at_any_moment_end_with_the_same_mail_at_both_ends() {
    let mut dice = Dice(letters::seed());
    let space = super::space();
    let mut relay = super::relay(&space);
    let folder = tempfile::tempdir().unwrap();
    let mbsync = Mbsync::new(folder.path(), &relay);
    let mut model = Model { letters: BTreeMap::new() };
    let mut cut = [0, 0];
    let mut client = super::client(&relay, USER).await.unwrap();
    client.ok("CREATE Archive").await.unwrap();
    mbsync.until_quiet();
    for _ in 0..ROUNDS {
        change_far(&relay, &mut model, &mut dice).await.unwrap();
        mbsync.change_near(&mut model, &mut dice);
        let mut child =
            mbsync.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(dice.below(700))).await;
        let running = child.try_wait().unwrap().is_none();
        match dice.below(3) {
            0 => {
                child.kill().unwrap();
                cut[0] += usize::from(running);
            }
            1 => {
                relay.kill();
                cut[1] += usize::from(running);
            }
            _ => {}
        }
        let _ = child.wait();
        relay.kill();
        relay.begin();
    }
    println!("mbsync was cut {} times, the relay under it {} times", cut[0], cut[1]);
    mbsync.until_quiet();
    let far = super::on_the_server(&relay, USER).await.unwrap();
    for name in FOLDERS {
        let expected = model.folder(name);
        assert_same(&format!("{name} on the relay"), &far[name], &expected);
        assert_same(&format!("{name} in the Maildir"), &mbsync.letters(name), &expected);
    }
}

/// Says which letters are missing, double or other, not what two long lists are.
fn assert_same(place: &str, found: &[Lying], expected: &[Lying]) {
    let mut left: Vec<&Lying> = expected.iter().collect();
    let mut more = Vec::new();
    for each in found {
        match left.iter().position(|other| *other == each) {
            Some(at) => drop(left.remove(at)),
            None => more.push(each),
        }
    }
    let show = |lying: &&Lying| format!("{} {:?} {}", lying.message_id, lying.flags, lying.content);
    let (left, more): (Vec<_>, Vec<_>) =
        (left.iter().map(show).collect(), more.iter().map(show).collect());
    assert!(left.is_empty() && more.is_empty(), "{place}: missing {left:#?}, unexpected {more:#?}");
}

impl Model {
    fn add(&mut self, dice: &mut Dice, is_near: bool) -> (&'static str, Vec<u8>) {
        let (id, letter) = super::letter([400, 3_000, 90_000][dice.below(3) as usize]);
        let folder = FOLDERS[dice.below(2) as usize];
        let content = Lying::read(&letter, []).content;
        let flags = BTreeSet::new();
        self.letters.insert(id, Expected { folder, content, flags, is_gone: false, is_near });
        (folder, letter)
    }

    /// Some letter that was filed at this end, and a flag.
    fn pick(&mut self, dice: &mut Dice, is_near: bool) -> Option<(&String, &mut Expected)> {
        let mine = |each: &(&String, &mut Expected)| each.1.is_near == is_near && !each.1.is_gone;
        let mut mine: Vec<_> = self.letters.iter_mut().filter(mine).collect();
        if mine.is_empty() {
            return None;
        }
        Some(mine.swap_remove(dice.below(mine.len() as u64) as usize))
    }

    fn folder(&self, name: &str) -> Vec<Lying> {
        let here =
            self.letters.iter().filter(|(_, letter)| !letter.is_gone && letter.folder == name);
        let lying = |(id, letter): (&String, &Expected)| Lying {
            message_id: id.clone(),
            flags: letter.flags.iter().map(|flag| name_of(*flag).to_owned()).collect(),
            content: letter.content.clone(),
        };
        here.map(lying).collect()
    }
}

fn name_of(flag: char) -> &'static str {
    FLAGS.iter().find(|(letter, _)| *letter == flag).unwrap().1
}

async fn change_far(relay: &Serving<'_>, model: &mut Model, dice: &mut Dice) -> anyhow::Result<()> {
    let mut client = super::client(relay, USER).await?;
    for _ in 0..1 + dice.below(3) {
        let (folder, letter) = model.add(dice, false);
        super::file(&mut client, folder, "", &letter).await?;
    }
    for _ in 0..dice.below(3) {
        let Some((id, letter)) = model.pick(dice, false) else { break };
        let uid = find(&mut client, letter.folder, id).await?;
        let flag = FLAGS[dice.below(4) as usize].0;
        let how = if letter.flags.remove(&flag) { '-' } else { '+' };
        if how == '+' {
            letter.flags.insert(flag);
        }
        client.ok(&format!("UID STORE {uid} {how}FLAGS ({})", name_of(flag))).await?;
    }
    if dice.below(3) == 0
        && let Some((id, letter)) = model.pick(dice, false)
    {
        let uid = find(&mut client, letter.folder, id).await?;
        letter.is_gone = true;
        client.ok(&format!("UID STORE {uid} +FLAGS (\\Deleted)")).await?;
        client.ok(&format!("UID EXPUNGE {uid}")).await?;
    }
    Ok(())
}

async fn find(client: &mut Client, folder: &str, id: &str) -> anyhow::Result<u64> {
    client.ok(&format!("SELECT \"{folder}\"")).await?;
    let answer = client.ok(&format!("UID SEARCH HEADER Message-ID \"{id}\"")).await?;
    let found: Vec<u64> = answer
        .find("SEARCH")
        .unwrap_or_default()
        .iter()
        .filter_map(|value| value.number())
        .collect();
    anyhow::ensure!(found.len() == 1, "{id} was filed once in {folder}, and found: {found:?}");
    Ok(found[0])
}

impl<'f> Mbsync<'f> {
    fn new(folder: &'f Path, relay: &Serving<'_>) -> Self {
        let mail = folder.join("mail");
        fs::create_dir_all(&mail).unwrap();
        let text = format!(
            "IMAPAccount a\nHost 127.0.0.1\nPort {port}\nUser {USER}\nPass \"{PASSWORD}\"\n\
             SSLType IMAPS\nCertificateFile {ca}\n\nIMAPStore far\nAccount a\n\n\
             MaildirStore near\nPath {mail}/\nInbox {mail}/INBOX\nSubFolders Verbatim\n\n\
             Channel all\nFar :far:\nNear :near:\nPatterns INBOX Archive\nCreate Both\n\
             Expunge Both\nSyncState *\n",
            port = relay.port("imaps"),
            ca = relay.ca(),
            mail = mail.display(),
        );
        Self { folder, config: super::configuration(folder, "mbsyncrc", &text) }
    }

    fn command(&self) -> Command {
        let mut command = super::program("mbsync", self.folder);
        command.args(["-V", "-c", self.config.to_str().unwrap(), "-a"]);
        command
    }

    /// Runs until a run changes nothing any more.
    fn until_quiet(&self) {
        let mut before = None;
        for _ in 0..6 {
            super::succeed(&mut self.command());
            let now = Some(FOLDERS.map(|name| self.letters(name)));
            if now == before {
                return;
            }
            before = now;
        }
        let last = super::run(&mut self.command());
        panic!("mbsync finds something to do each time:\n{}", running::said(&last));
    }

    fn files(&self, name: &str) -> Vec<PathBuf> {
        let folders = ["new", "cur"].map(|sub| self.folder.join("mail").join(name).join(sub));
        let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        files.map(|file| file.unwrap().path()).collect()
    }

    fn letters(&self, name: &str) -> Vec<Lying> {
        let read = |file: PathBuf| {
            let flags = flags(&file).into_iter().map(|flag| name_of(flag).to_owned());
            Lying::read(&fs::read(&file).unwrap(), flags.collect::<Vec<_>>())
        };
        let mut all: Vec<Lying> = self.files(name).into_iter().map(read).collect();
        all.sort();
        all
    }

    fn change_near(&self, model: &mut Model, dice: &mut Dice) {
        for _ in 0..1 + dice.below(3) {
            let (folder, letter) = model.add(dice, true);
            let name = format!("{}.{}.host", dice.below(u64::MAX), dice.below(u64::MAX));
            let box_ = self.folder.join("mail").join(folder);
            let written = box_.join("tmp").join(&name);
            fs::write(&written, super::with_unix_lines(&letter)).unwrap();
            fs::rename(written, box_.join("new").join(name)).unwrap();
        }
        for _ in 0..dice.below(3) {
            let flag = FLAGS[dice.below(4) as usize].0;
            let Some((id, letter)) = model.pick(dice, true) else { break };
            let Some(file) = self.find(letter.folder, id) else { panic!("{id} left the Maildir") };
            if !letter.flags.remove(&flag) {
                letter.flags.insert(flag);
            }
            self.rename(&file, letter.folder, &letter.flags);
        }
        if dice.below(3) == 0
            && let Some((id, letter)) = model.pick(dice, true)
        {
            let file = self.find(letter.folder, id).unwrap();
            letter.is_gone = true;
            fs::remove_file(file).unwrap();
        }
    }

    fn find(&self, folder: &str, id: &str) -> Option<PathBuf> {
        let is_it = |file: &PathBuf| Lying::read(&fs::read(file).unwrap(), []).message_id == id;
        let mut found: Vec<PathBuf> = self.files(folder).into_iter().filter(is_it).collect();
        assert!(found.len() <= 1, "{id} is {} times in the Maildir", found.len());
        found.pop()
    }

    /// Maildir keeps flags in the file's name, and mbsync its number for the message too.
    fn rename(&self, file: &Path, folder: &str, flags: &BTreeSet<char>) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let base = name.split(":2,").next().unwrap();
        let flags: String = flags.iter().collect();
        let target = self.folder.join("mail").join(folder).join("cur");
        fs::rename(file, target.join(format!("{base}:2,{flags}"))).unwrap();
    }
}

fn flags(file: &Path) -> BTreeSet<char> {
    let name = file.file_name().unwrap().to_str().unwrap();
    name.split_once(":2,").map(|(_, flags)| flags.chars().collect()).unwrap_or_default()
}
