//! Folders: create, rename, delete, subscribe, list.
use std::collections::HashMap;

use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::SpecialUse;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::rights::Right;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::rows::ChangeKind;
use crate::flow::mailbox::rows::ChangeRow;
use crate::flow::mailbox::rows::FolderHead;
use crate::flow::mailbox::rows::FolderName;
use crate::flow::mailbox::rows::Head;
use crate::infra::store;
use crate::infra::store::Batch;

/// How often a folder is emptied before letters that still arrive keep it alive.
const DELETIONS_MAX: usize = 5;
/// UIDs in one row of the change log: five octets each, at most, fit a row.
const UIDS_PER_CHANGE: usize = 10_000;

/// The folders that every mailbox is born with, in the order of their numbers.
const STANDARD: [(&str, Option<SpecialUse>); 5] = [
    ("INBOX", None),
    ("Sent", Some(SpecialUse::Sent)),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("Trash", Some(SpecialUse::Trash)),
    ("Junk", Some(SpecialUse::Junk)),
];

impl OpenMailbox {
    /// All folders that whoever opened the mailbox may know of, INBOX first, then by name.
    pub async fn folders(&self) -> Result<Vec<Folder>, MailboxError> {
        self.sitting.lists().await?;
        let visible = self.visible(self.all_folders().await?).await?;
        if self.own_seen_of().is_none() {
            return Ok(visible);
        }
        let mut folders = Vec::with_capacity(visible.len());
        for folder in visible {
            folders.push(self.folder_as_seen(folder).await?);
        }
        Ok(folders)
    }

    /// All folders, whoever asks.
    pub(super) async fn all_folders(&self) -> Result<Vec<Folder>, MailboxError> {
        let head = self.durable_head().await?;
        let range = store::prefix(&rows::folders_prefix(&self.slot.id));
        let page = self.shelf.store.scan(range, limits::FOLDERS_MAX + 1).await?;
        let mut names: HashMap<u32, FolderName> = HashMap::with_capacity(page.rows.len());
        for (key, row) in &page.rows {
            let Some(Uid(number)) = rows::uid_of(key) else { continue };
            names.extend(self.open_name(FolderId(number), &row.value).map(|name| (number, name)));
        }
        let mut folders: Vec<Folder> = Vec::with_capacity(head.folders.len());
        for counters in &head.folders {
            let name = names.get(&counters.id).cloned();
            let name = name.unwrap_or_else(|| {
                let mut name = placeholder(counters.id);
                // Somebody may have called another folder so.
                while names.values().any(|other| other.name == name.name) {
                    name.name.push('-');
                }
                name
            });
            folders.push(folder(counters, name));
        }
        folders.sort_by(|a, b| {
            (a.id != FolderId::INBOX, &a.name).cmp(&(b.id != FolderId::INBOX, &b.name))
        });
        Ok(folders)
    }

    /// One folder.
    pub async fn folder(&self, id: FolderId) -> Result<Folder, MailboxError> {
        self.must_see(id).await?;
        self.sitting.lists().await?;
        let head = self.durable_head().await?;
        let counters = head.folder(id).ok_or(MailboxError::NoSuchFolder)?;
        let row = self.shelf.store.get(&rows::folder_key(&self.slot.id, id)).await?;
        let name = row.and_then(|row| self.open_name(id, &row.value));
        self.folder_as_seen(folder(counters, name.unwrap_or_else(|| placeholder(id.0)))).await
    }

    /// Creates a folder (and does not create missing parents). It is subscribed, for nobody would
    /// look for it otherwise: a filter or a page made it.
    pub async fn create_folder(
        &self,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<Folder, MailboxError> {
        self.create_folder_as(name, special_use, true).await
    }

    /// The same, subscribed or not.
    pub async fn create_folder_as(
        &self,
        name: &str,
        special_use: Option<SpecialUse>,
        subscribed: bool,
    ) -> Result<Folder, MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let name = checked_name(name)?;
        let folders = self.all_folders().await?;
        self.may_create(&name, &folders).await?;
        if folders.iter().any(|folder| folder.name == name) {
            return Err(MailboxError::FolderExists);
        }
        if folders.len() >= limits::FOLDERS_MAX {
            return Err(MailboxError::OverLimit("folders of one mailbox"));
        }
        let now = self.shelf.clock.now().as_seconds();
        let inherited = self.inherited(&name, &folders).await?;
        let id = self
            .change(|head, batch| {
                let id = add_folder(head, now);
                let name = FolderName {
                    name: name.clone(),
                    special_use: special_use.map(rows::special_use_number),
                    subscribed,
                };
                self.put_name(id, &name, batch);
                if let Some(inherited) = &inherited {
                    self.put_inherited(id, inherited, batch);
                }
                self.log_change(head, id, ChangeKind::Folder, Vec::new(), batch);
                Ok(id)
            })
            .await?;
        self.folder(id).await
    }

    /// The folders that every mailbox has; false, and nothing is done, when it has some.
    pub(super) async fn create_standard_folders(&self) -> Result<bool, MailboxError> {
        if !self.shelf.head(&self.slot).await?.0.folders.is_empty() {
            return Ok(false);
        }
        // Every change adds them where they are missing.
        self.change(|_, _| Ok(true)).await
    }

    /// An account and its folders are two commits: whoever was killed in between left a mailbox
    /// without folders, and the first change of the mailbox adds them.
    pub(super) fn add_missing_folders(&self, head: &mut Head, batch: &mut Batch) {
        if !head.folders.is_empty() {
            return;
        }
        let now = self.shelf.clock.now().as_seconds();
        for (name, special_use) in STANDARD {
            let id = add_folder(head, now);
            let special_use = special_use.map(rows::special_use_number);
            let name = FolderName { name: name.to_owned(), special_use, subscribed: true };
            self.put_name(id, &name, batch);
        }
    }

    /// Deletes a folder and its messages.
    pub async fn delete_folder(&self, id: FolderId) -> Result<(), MailboxError> {
        self.must_have(id, Right::DeleteFolder).await?;
        let folder = self.folder(id).await?;
        if id == FolderId::INBOX || folder.special_use.is_some() {
            return Err(MailboxError::FolderFixed);
        }
        for _ in 0..DELETIONS_MAX {
            let uid_next = self.folder(id).await?.uid_next;
            self.remove_all(id).await?;
            let _gate = self.slot.gate.lock().await;
            let annotations = store::prefix(&rows::annotations_of(&self.slot.id, id));
            let annotations = self.shelf.store.scan(annotations, limits::SCAN_ROWS_MAX).await?;
            let is_deleted = self.change(|head, batch| {
                // A letter that arrived after the messages were removed keeps the folder alive.
                // Not `exists`: it counts rows that were lost as well, for ever.
                if head.folder(id).is_some_and(|folder| folder.uid_next > uid_next.0) {
                    return Ok(false);
                }
                head.folders.retain(|folder| folder.id != id.0);
                batch.delete(rows::folder_key(&self.slot.id, id));
                batch.delete(rows::acl_key(&self.slot.id, id));
                for (key, _) in &annotations.rows {
                    batch.delete(key.to_vec());
                }
                self.log_change(head, id, ChangeKind::Folder, Vec::new(), batch);
                Ok(true)
            });
            if is_deleted.await? {
                return self.forget_marks(id).await;
            }
        }
        Err(MailboxError::FolderFixed)
    }

    /// Renames a folder and those below it. Renaming INBOX moves its messages (RFC 3501 §6.3.5).
    pub async fn rename_folder(&self, id: FolderId, name: &str) -> Result<(), MailboxError> {
        self.must_have(id, Right::DeleteFolder).await?;
        if id == FolderId::INBOX {
            let target = self.create_folder(name, None).await?;
            return self.move_all(id, target.id).await;
        }
        let _gate = self.slot.gate.lock().await;
        let name = checked_name(name)?;
        let folders = self.all_folders().await?;
        self.may_create(&name, &folders).await?;
        let old =
            folders.iter().find(|folder| folder.id == id).ok_or(MailboxError::NoSuchFolder)?;
        if folders.iter().any(|folder| folder.name == name) {
            return Err(MailboxError::FolderExists);
        }
        let below = format!("{}/", old.name);
        if name.starts_with(&below) {
            return Err(MailboxError::FolderFixed);
        }
        let renamed: Vec<(FolderId, FolderName)> = folders
            .iter()
            .filter(|folder| folder.id == id || folder.name.starts_with(&below))
            .map(|folder| {
                let name = format!("{name}{}", &folder.name[old.name.len()..]);
                let special_use = folder.special_use.map(rows::special_use_number);
                (folder.id, FolderName { name, special_use, subscribed: folder.subscribed })
            })
            .collect();
        for (_, name) in &renamed {
            checked_name(&name.name)?;
        }
        self.change(|head, batch| {
            for (id, name) in &renamed {
                self.put_name(*id, name, batch);
                self.log_change(head, *id, ChangeKind::Folder, Vec::new(), batch);
            }
            Ok(())
        })
        .await
    }

    /// Subscribes or unsubscribes.
    pub async fn subscribe(&self, id: FolderId, subscribed: bool) -> Result<(), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let folder = self.folder(id).await?;
        let special_use = folder.special_use.map(rows::special_use_number);
        let name = FolderName { name: folder.name, special_use, subscribed };
        self.change(|_, batch| {
            self.put_name(id, &name, batch);
            Ok(())
        })
        .await
    }

    fn put_name(&self, id: FolderId, name: &FolderName, batch: &mut Batch) {
        let sealed = self.slot.keys.seal_index(&name_context(id), &rows::encode(name));
        batch.put(rows::folder_key(&self.slot.id, id), sealed);
    }

    fn open_name(&self, id: FolderId, sealed: &[u8]) -> Option<FolderName> {
        let clear = self.slot.keys.open_index(&name_context(id), sealed).ok();
        let name = clear.and_then(|clear| rows::decode(clear.expose()));
        if name.is_none() {
            tracing::error!(mailbox = ?self.slot.id, folder = id.0, "a folder name is damaged");
        }
        name
    }

    /// Writes a step of the change log, or several where many messages are touched, and marks
    /// the folder as changed. Answers the last step.
    pub(super) fn log_change(
        &self,
        head: &mut Head,
        id: FolderId,
        kind: ChangeKind,
        mut uids: Vec<u32>,
        batch: &mut Batch,
    ) -> ModSeq {
        while uids.len() > UIDS_PER_CHANGE {
            let rest = uids.split_off(UIDS_PER_CHANGE);
            self.log_step(head, &ChangeRow { folder: id.0, kind, uids }, batch);
            uids = rest;
        }
        let modseq = self.log_step(head, &ChangeRow { folder: id.0, kind, uids }, batch);
        if let Some(folder) = head.folder_mut(id) {
            folder.modseq = modseq;
        }
        ModSeq(modseq)
    }

    /// One row of the change log. As many rows go at its other end, or it would grow for ever;
    /// whoever asks for what they told is answered from the messages (see `messages::changes`).
    fn log_step(&self, head: &mut Head, row: &ChangeRow, batch: &mut Batch) -> u64 {
        let modseq = head.step();
        batch.put(rows::change_key(&self.slot.id, modseq), rows::encode(row));
        // Two for one, so that a log over its limit shrinks.
        for _ in 0..2 {
            if modseq - head.floor > limits::CHANGES_KEPT {
                head.floor += 1;
                batch.delete(rows::change_key(&self.slot.id, head.floor));
            }
        }
        modseq
    }
}

fn add_folder(head: &mut Head, now: u64) -> FolderId {
    head.next_folder += 1;
    // RFC 3501 §2.3.1.1: a folder of the same name made later has a greater UIDVALIDITY.
    let uid_validity = u32::try_from(now).unwrap_or(u32::MAX).max(head.last_uid_validity + 1);
    head.last_uid_validity = uid_validity;
    head.folders.push(FolderHead {
        id: head.next_folder,
        uid_validity,
        uid_next: 1,
        modseq: head.modseq.max(1),
        exists: 0,
        unseen: 0,
        octets: 0,
    });
    head.modseq = head.modseq.max(1);
    FolderId(head.next_folder)
}

fn folder(counters: &FolderHead, name: FolderName) -> Folder {
    Folder {
        id: FolderId(counters.id),
        name: name.name,
        special_use: name.special_use.and_then(rows::special_use_of),
        subscribed: name.subscribed,
        uid_validity: counters.uid_validity,
        uid_next: Uid(counters.uid_next),
        highest_modseq: ModSeq(counters.modseq),
        exists: counters.exists,
        unseen: counters.unseen,
        octets: counters.octets,
    }
}

/// What a folder is called whose own name is lost. It can be opened and renamed as any other.
fn placeholder(id: u32) -> FolderName {
    let standard = id.checked_sub(1).and_then(|place| STANDARD.get(place as usize));
    let name = match FolderId(id) {
        FolderId::INBOX => "INBOX".to_owned(),
        _ => format!("folder-{id}"),
    };
    let special_use = standard.and_then(|(_, special_use)| *special_use);
    let special_use = special_use.map(rows::special_use_number);
    FolderName { name, special_use, subscribed: true }
}

/// A trailing `/` only says that folders will lie below (RFC 3501 §6.3.3).
fn checked_name(name: &str) -> Result<String, MailboxError> {
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.len() > limits::FOLDER_NAME_OCTETS_MAX {
        return Err(MailboxError::OverLimit("folder name"));
    }
    let inbox = name.eq_ignore_ascii_case("INBOX");
    let empty_level = name.split('/').any(str::is_empty);
    if inbox {
        return Err(MailboxError::FolderExists);
    }
    if empty_level || name.chars().any(char::is_control) {
        return Err(MailboxError::FolderFixed);
    }
    Ok(name.to_owned())
}

fn name_context(id: FolderId) -> Vec<u8> {
    [b"folder-name/".as_slice(), &id.0.to_be_bytes()].concat()
}
