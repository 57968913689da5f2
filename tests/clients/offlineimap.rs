//! offlineimap in both directions: letters, flags, folders, removals; keywords come down only,
//! because it never sends them.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::clients::Lying;
use crate::clients::USER;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;

/// Letters of Maildir names, and what the relay calls them.
const FLAGS: [(char, &str); 5] =
    [('S', "\\Seen"), ('R', "\\Answered"), ('F', "\\Flagged"), ('D', "\\Draft"), ('a', "$Suivi")];

#[tokio::test(flavor = "multi_thread")]
async fn offlineimap_keeps_both_ends_the_same() {
    let space = super::space();
    let relay = super::relay(&space);
    let folder = tempfile::tempdir().unwrap();
    let mail = folder.path().join("mail");
    let config = configure(folder.path(), &relay);
    let sync = || {
        let mut command = super::program("offlineimap", folder.path());
        let said = super::succeed(command.args(["-c", config.to_str().unwrap(), "-o"]));
        assert!(!said.contains("ERROR") && !said.contains("WARNING"), "{said}");
        said
    };
    let mut client = super::client(&relay, USER).await.unwrap();
    client.ok("CREATE \"Urgences/&AMk-t&AOk-\"").await.unwrap();
    let mut ids = Vec::new();
    for (place, octets) in [("INBOX", 500), ("INBOX", 40_000), ("Urgences/&AMk-t&AOk-", 700)] {
        let (id, letter) = super::letter(octets);
        super::file(&mut client, place, "\\Flagged", &letter).await.unwrap();
        ids.push(id);
    }
    sync();
    assert_same(&relay, &mail).await;

    // Both ends change: flags and keywords, removals, new letters, new folders.
    let first = find(&mail, &ids[0]);
    let name = first.file_name().unwrap().to_str().unwrap();
    let name = format!("{}:2,FS", name.split(":2,").next().unwrap());
    fs::rename(&first, mail.join("INBOX/cur").join(name)).unwrap();
    let (near, letter) = super::letter(1_200);
    let new = mail.join("INBOX/new/1700000000_1.1.here:2,");
    fs::write(new, super::with_unix_lines(&letter)).unwrap();
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(mail.join("Ici").join(sub)).unwrap();
    }
    let (in_new, letter) = super::letter(800);
    let new = mail.join("Ici/cur/1700000000_2.1.here:2,RS");
    fs::write(new, super::with_unix_lines(&letter)).unwrap();
    client.ok("SELECT INBOX").await.unwrap();
    client.ok("UID STORE 2 +FLAGS (\\Deleted)").await.unwrap();
    client.ok("UID EXPUNGE 2").await.unwrap();
    client.ok("UID STORE 1 +FLAGS (\\Answered $Suivi)").await.unwrap();
    let said = sync();
    assert_same(&relay, &mail).await;
    let far = super::on_the_server(&relay, USER).await.unwrap();
    let flags = |place: &str, id: &str| {
        let found = far[place].iter().find(|lying| lying.message_id == id);
        let found = found.unwrap_or_else(|| panic!("{id} is not in {place}:\n{said}"));
        found.flags.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(flags("INBOX", &ids[0]), "$Suivi \\Answered \\Flagged \\Seen");
    assert_eq!(flags("INBOX", &near), "");
    assert_eq!(flags("Ici", &in_new), "\\Answered \\Seen");
    assert_eq!(far["INBOX"].len(), 2);

    // Removed here, it goes there.
    fs::remove_file(find(&mail, &near)).unwrap();
    sync();
    assert_same(&relay, &mail).await;
    let before = super::on_the_server(&relay, USER).await.unwrap();
    assert_eq!(before["INBOX"].len(), 1);
    let said = sync();
    assert!(
        !said.contains("Copy message") && !said.contains("eleting"),
        "nothing was left:\n{said}"
    );
}

fn configure(folder: &Path, relay: &Serving<'_>) -> PathBuf {
    let keywords = FLAGS.iter().filter(|(letter, _)| letter.is_ascii_lowercase());
    let keywords: String =
        keywords.map(|(letter, name)| format!("customflag_{letter} = {name}\n")).collect();
    let text = format!(
        "[general]\naccounts = a\nmetadata = {here}/meta\nmaxsyncaccounts = 1\nui = basic\n\
         socktimeout = 60\n\
         [Account a]\nlocalrepository = near\nremoterepository = far\n\
         [Repository near]\ntype = Maildir\nlocalfolders = {here}/mail\nsep = /\n{keywords}\
         [Repository far]\ntype = IMAP\nremotehost = 127.0.0.1\nremoteport = {port}\nssl = yes\n\
         sslcacertfile = {ca}\nremoteuser = {USER}\nremotepass = {PASSWORD}\nmaxconnections = 2\n\
         usecompression = no\nexpunge = yes\n",
        here = folder.display(),
        port = relay.port("imaps"),
        ca = relay.ca(),
    );
    super::configuration(folder, "rc", &text)
}

/// Both ends hold the same folders and letters.
async fn assert_same(relay: &Serving<'_>, mail: &Path) {
    let far = super::on_the_server(relay, USER).await.unwrap();
    let mut near = BTreeMap::new();
    read(mail, mail, &mut near);
    // Folders that only hold folders are none here.
    let far: BTreeMap<_, _> =
        far.into_iter().filter(|(name, all)| !all.is_empty() || near.contains_key(name)).collect();
    assert_eq!(near, far);
}

fn read(root: &Path, folder: &Path, into: &mut BTreeMap<String, Vec<Lying>>) {
    if folder.join("cur").is_dir() {
        let mut all: Vec<Lying> = files(folder).iter().map(|file| lying(file)).collect();
        all.sort();
        into.insert(folder.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), all);
    }
    for each in fs::read_dir(folder).unwrap().map(|each| each.unwrap()) {
        let name = each.file_name().into_string().unwrap();
        if each.path().is_dir() && !["cur", "new", "tmp"].contains(&name.as_str()) {
            read(root, &each.path(), into);
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let subs = ["new", "cur"].map(|sub| fs::read_dir(folder.join(sub)).unwrap());
    subs.into_iter().flatten().map(|file| file.unwrap().path()).collect()
}

fn lying(file: &Path) -> Lying {
    let name = file.file_name().unwrap().to_str().unwrap();
    let letters: BTreeSet<char> =
        name.split_once(":2,").map(|(_, flags)| flags.chars().collect()).unwrap_or_default();
    let flags = FLAGS.iter().filter(|(letter, _)| letters.contains(letter));
    Lying::read(&fs::read(file).unwrap(), flags.map(|(_, name)| (*name).to_owned()))
}

fn find(mail: &Path, id: &str) -> PathBuf {
    let all = files(&mail.join("INBOX"));
    let found = all.into_iter().find(|file| lying(file).message_id == id);
    found.unwrap_or_else(|| panic!("{id} is not in the Maildir"))
}
