//! Who may do what in a mailbox (RFC 4314): lists of rights, folder by folder, and who reads.
//!
//! A folder has a list of its own, and the mailbox has one for all folders, those to come
//! included: what an administrator grants stands there. An entry of the folder's own list counts
//! before the mailbox's entry of the same identifier. An entry may end at a time; it is asked at
//! every use, so nobody has to remove it for it to end.
//!
//! Identifiers are professional addresses in lower case, and `anyone`: everybody who logs in
//! here. A `-` before one takes rights away (RFC 4314 §2).
mod annotations;
pub mod claims;
mod grants;
mod seen;
mod subscriptions;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::folder::FolderId;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::rights::Right;
use crate::domain::rights::Rights;
use crate::domain::time::Timestamp;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows;
use crate::infra::audit::Who;
use crate::infra::directory::Account;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::proto::imap::command::RightsChange;

pub use annotations::Annotations;
pub use annotations::Scope;
pub use annotations::TOO_MANY;
pub use annotations::VALUE_TOO_LONG;
pub use grants::Grant;
pub use grants::Identifier;
use grants::Lists;
pub(in crate::flow::mailbox) use grants::reverse_key;
pub(super) use seen::SeenSets;
pub use seen::permitted;
pub use subscriptions::Kept;

/// The list that counts for all folders of a mailbox lies under this number; no folder has it.
pub const EVERY_FOLDER: FolderId = FolderId(0);

/// Somebody who opened a mailbox that is not their own.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    /// Their own mailbox.
    pub(super) id: MailboxId,
    /// Their address, as identifiers are written.
    pub(super) address: String,
}

/// The list that a new folder gets.
pub(super) struct Inherited {
    lists: Lists,
    from: FolderId,
}

/// What lets somebody know that a folder is there, by RFC 4314 §4 and §6. Whoever has none of
/// these is answered as if it were not.
const VISIBLE: [Right; 6] = [
    Right::Lookup,
    Right::Read,
    Right::Insert,
    Right::CreateFolders,
    Right::DeleteFolder,
    Right::Administer,
];

/// True when whoever has these rights may know that the folder exists.
pub fn can_see(rights: Rights) -> bool {
    VISIBLE.into_iter().any(|right| rights.has(right))
}

impl Mailboxes {
    /// Opens an account's mailbox for somebody else, who gets the rights that the mailbox grants.
    pub async fn open_for(
        &self,
        owner: &Account,
        reader: &OpenMailbox,
    ) -> Result<OpenMailbox, MailboxError> {
        let mailbox = self.open(owner).await?;
        let who = Who::Mailbox(reader.slot.id);
        let sitting = reader.sitting.beside(owner.id, who, "read as its reader");
        let reader = Reader { id: reader.slot.id, address: reader.slot.owner.clone() };
        Ok(OpenMailbox { reader: Some(Arc::new(reader)), sitting, ..mailbox })
    }

    /// Addresses of the mailboxes that may grant this reader something, ascending: a hint that
    /// costs one scan. Whether they do is in their lists.
    pub async fn granting(&self, reader: &OpenMailbox) -> Result<Vec<String>, MailboxError> {
        let mut owners = std::collections::BTreeSet::new();
        let named = grants::granted_prefix(&self.shelf.keys, &reader.slot.owner);
        for prefix in named.into_iter().chain([grants::granted_to_anyone()]) {
            let page = self.shelf.store.scan(store::prefix(&prefix), limits::OTHERS_MAX).await?;
            let texts =
                page.rows.iter().filter_map(|(_, row)| std::str::from_utf8(&row.value).ok());
            owners.extend(texts.map(str::to_owned));
        }
        owners.remove(&reader.slot.owner);
        Ok(owners.into_iter().collect())
    }

    /// True when that mailbox may grant this reader something.
    pub async fn may_grant(
        &self,
        owner: &Account,
        reader: &OpenMailbox,
    ) -> Result<bool, MailboxError> {
        let named = grants::granted_prefix(&self.shelf.keys, &reader.slot.owner);
        for prefix in named.into_iter().chain([grants::granted_to_anyone()]) {
            let key = [prefix.as_slice(), owner.id.as_bytes()].concat();
            if self.shelf.store.get(&key).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl OpenMailbox {
    /// The address of the mailbox, as identifiers are written; empty for a patient's.
    pub fn owner(&self) -> &str {
        &self.slot.owner
    }

    /// Its kind.
    pub fn kind(&self) -> MailboxKind {
        self.slot.kind
    }

    /// True when several people are meant to work with it.
    pub fn is_shared_by_kind(&self) -> bool {
        matches!(self.slot.kind, MailboxKind::Organisational | MailboxKind::Practice)
    }

    /// Whoever opened it, as identifiers are written.
    pub fn reader(&self) -> &str {
        self.reader.as_ref().map_or(&self.slot.owner, |reader| &reader.address)
    }

    /// True when somebody else than its owner opened it.
    pub fn is_foreign(&self) -> bool {
        self.reader.is_some()
    }

    /// What whoever opened the mailbox may do in a folder, now. With [`EVERY_FOLDER`]: in a
    /// folder without a list of its own, which is also what counts for making folders at the top.
    pub async fn rights(&self, folder: FolderId) -> Result<Rights, MailboxError> {
        Ok(self.lists_of(folder).await?.rights(folder, self.owner(), self.reader(), self.now()))
    }

    /// What somebody may do in a folder.
    pub async fn rights_of(
        &self,
        folder: FolderId,
        address: &Address,
    ) -> Result<Rights, MailboxError> {
        let lists = self.lists_of(folder).await?;
        Ok(lists.rights(folder, self.owner(), &address.lookup_form(), self.now()))
    }

    /// The list of a folder as GETACL shows it: the owner first, then by identifier.
    pub async fn acl(&self, folder: FolderId) -> Result<Vec<Grant>, MailboxError> {
        Ok(self.lists_of(folder).await?.shown(folder, self.owner(), self.now()))
    }

    /// Changes what an identifier may do in a folder (RFC 4314 §3.1), durably. What it then has
    /// has no end. The owner keeps `l` and `a`: somebody must be able to repair the list.
    pub async fn change_acl(
        &self,
        folder: FolderId,
        identifier: &Identifier,
        change: RightsChange,
    ) -> Result<(), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let mut lists = self.all_lists().await?;
        let before = lists.of_identifier(folder, self.owner(), identifier, self.now());
        let rights = match change {
            RightsChange::Replace(rights) => rights,
            RightsChange::Add(rights) => before.with(rights),
            RightsChange::Remove(rights) => before.without(rights),
        };
        let is_owner = identifier.is(self.owner());
        let rights = if is_owner { rights.with(grants::kept_by_owner()) } else { rights };
        lists.set(
            folder,
            Grant { identifier: identifier.clone(), rights, since: None, until: None },
        )?;
        self.commit_lists(folder, &lists, Batch::new()).await
    }

    /// Takes an identifier out of a folder's list (RFC 4314 §3.2), durably.
    pub async fn delete_acl(
        &self,
        folder: FolderId,
        identifier: &Identifier,
    ) -> Result<(), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let mut lists = self.all_lists().await?;
        lists.remove(folder, identifier)?;
        self.commit_lists(folder, &lists, Batch::new()).await
    }

    /// Grants an identifier these rights in every folder, instead of what it had anywhere, with
    /// `also` in the same commit. No rights: takes all away.
    pub async fn grant_everywhere(
        &self,
        identifier: &Identifier,
        rights: Rights,
        (since, until): (Option<Timestamp>, Option<Timestamp>),
        also: Batch,
    ) -> Result<(), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let mut lists = self.all_lists().await?;
        let mut batch = also;
        for folder in lists.forget(identifier) {
            self.put_list(folder, &lists, &mut batch);
        }
        if !rights.is_empty() {
            lists.set(
                EVERY_FOLDER,
                Grant { identifier: identifier.clone(), rights, since, until },
            )?;
        }
        self.commit_lists(EVERY_FOLDER, &lists, batch).await
    }

    /// True when an identifier stands in a list, whatever it says and whether it counts now.
    pub async fn has_grants(&self, identifier: &Identifier) -> Result<bool, MailboxError> {
        Ok(self.all_lists().await?.has(identifier))
    }

    /// Removes what has ended, with `also` in the same commit.
    pub async fn sweep_acl(&self, also: Batch) -> Result<(), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let mut lists = self.all_lists().await?;
        let mut batch = also;
        for folder in lists.sweep(self.now()) {
            self.put_list(folder, &lists, &mut batch);
        }
        self.commit_lists(EVERY_FOLDER, &lists, batch).await
    }

    /// Refuses whoever may not do this; as if there were no folder for those who may not know.
    pub(super) async fn must_have(
        &self,
        folder: FolderId,
        right: Right,
    ) -> Result<(), MailboxError> {
        // The owner, deliveries and the relay itself: the door asks what the owner may do.
        if self.reader.is_none() {
            return Ok(());
        }
        let rights = self.rights(folder).await?;
        match (rights.has(right), can_see(rights)) {
            (true, _) => Ok(()),
            (false, true) => Err(MailboxError::NotAllowed),
            (false, false) => Err(MailboxError::NoSuchFolder),
        }
    }

    /// Refuses whoever may not know that there is such a folder.
    pub(super) async fn must_see(&self, folder: FolderId) -> Result<(), MailboxError> {
        if self.reader.is_none() || can_see(self.rights(folder).await?) {
            return Ok(());
        }
        Err(MailboxError::NoSuchFolder)
    }

    /// Refuses whoever may not make a folder of that name: it takes `k` in the nearest one above
    /// it (RFC 4314 §4). Says the same whether the name is taken or not.
    pub(super) async fn may_create(
        &self,
        name: &str,
        folders: &[Folder],
    ) -> Result<(), MailboxError> {
        if self.reader.is_none() {
            return Ok(());
        }
        let rights = self.rights(parent_of(name, folders)).await?;
        let may = rights.has(Right::CreateFolders);
        if may { Ok(()) } else { Err(MailboxError::NotAllowed) }
    }

    /// The list of the nearest folder above a name. A new folder gets it, so that a team finds
    /// its own subfolders.
    pub(super) async fn inherited(
        &self,
        name: &str,
        folders: &[Folder],
    ) -> Result<Option<Inherited>, MailboxError> {
        let from = parent_of(name, folders);
        if from == EVERY_FOLDER {
            return Ok(None);
        }
        Ok(Some(Inherited { lists: self.lists_of(from).await?, from }))
    }

    /// Gives a new folder what it inherits, in the commit that makes it.
    pub(super) fn put_inherited(&self, to: FolderId, inherited: &Inherited, batch: &mut Batch) {
        let sealed = inherited.lists.sealed_for(&self.slot.keys, inherited.from, to);
        if let Some(sealed) = sealed {
            batch.put(rows::acl_key(&self.slot.id, to), sealed);
        }
    }

    /// The same as a question, and for the owner as well.
    pub async fn may_create_folder(&self, name: &str) -> Result<bool, MailboxError> {
        let folders = self.all_folders().await?;
        let rights = self.rights(parent_of(name, &folders)).await?;
        Ok(rights.has(Right::CreateFolders))
    }

    /// Those folders that whoever opened the mailbox may know of.
    pub(super) async fn visible(&self, mut all: Vec<Folder>) -> Result<Vec<Folder>, MailboxError> {
        if self.reader.is_none() {
            return Ok(all);
        }
        let (lists, now) = (self.all_lists().await?, self.now());
        all.retain(|folder| can_see(lists.rights(folder.id, self.owner(), self.reader(), now)));
        Ok(all)
    }

    /// Now, by the relay's clock.
    pub fn now(&self) -> Timestamp {
        self.shelf.clock.now()
    }

    async fn lists_of(&self, folder: FolderId) -> Result<Lists, MailboxError> {
        let mut lists = Lists::default();
        for id in [EVERY_FOLDER, folder] {
            let row = self.shelf.store.get(&rows::acl_key(&self.slot.id, id)).await?;
            if let Some(row) = row {
                lists.read(&self.slot.keys, id, &row.value);
            }
        }
        Ok(lists)
    }

    async fn all_lists(&self) -> Result<Lists, MailboxError> {
        let range = store::prefix(&rows::acl_prefix(&self.slot.id));
        let page = self.shelf.store.scan(range, limits::FOLDERS_MAX + 1).await?;
        let mut lists = Lists::default();
        for (key, row) in &page.rows {
            if let Some(number) = rows::uid_of(key) {
                lists.read(&self.slot.keys, FolderId(number.0), &row.value);
            }
        }
        Ok(lists)
    }

    fn put_list(&self, folder: FolderId, lists: &Lists, batch: &mut Batch) {
        let key = rows::acl_key(&self.slot.id, folder);
        match lists.sealed(&self.slot.keys, folder) {
            Some(sealed) => batch.put(key, sealed),
            None => batch.delete(key),
        };
    }

    /// Writes one list, and for whom the mailbox is worth a look. Held by the gate, so nobody
    /// changes a list meanwhile; in the mailbox's own chain of commits, so that whoever has it
    /// open hears of it.
    async fn commit_lists(
        &self,
        folder: FolderId,
        lists: &Lists,
        mut also: Batch,
    ) -> Result<(), MailboxError> {
        self.put_list(folder, lists, &mut also);
        let wanted = lists.named(&self.shelf.keys, self.owner());
        let known = self.named_before().await?;
        for key in known.iter().filter(|key| !wanted.contains(*key)) {
            also.delete(grants::reverse_key(key, &self.slot.id));
        }
        for key in &wanted {
            also.put(grants::reverse_key(key, &self.slot.id), self.owner().as_bytes().to_vec());
        }
        also.put(
            rows::acl_names_key(&self.slot.id),
            rows::encode(&wanted.iter().collect::<Vec<_>>()),
        );
        self.change(|_, batch| {
            batch.extend(also.clone());
            Ok(())
        })
        .await
    }

    /// For whom there is a reverse row.
    async fn named_before(&self) -> Result<Vec<[u8; 32]>, MailboxError> {
        let row = self.shelf.store.get(&rows::acl_names_key(&self.slot.id)).await?;
        Ok(row.and_then(|row| rows::decode(&row.value)).unwrap_or_default())
    }
}

/// The nearest folder above a name.
fn parent_of(name: &str, folders: &[Folder]) -> FolderId {
    let mut above = name;
    while let Some((parent, _)) = above.rsplit_once('/') {
        if let Some(folder) = folders.iter().find(|folder| folder.name == parent) {
            return folder.id;
        }
        above = parent;
    }
    EVERY_FOLDER
}

/// What a list is when it is read: by folder, then by identifier.
type ByFolder = BTreeMap<u32, BTreeMap<Identifier, grants::Held>>;
