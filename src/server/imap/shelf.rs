//! What a session asks of the flow: one narrow trait for the office and one for an open
//! mailbox, so that sessions can be tested over memory.
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::envelope::BlobId;
use crate::domain::folder::FlagChange;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::SpecialUse;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::rights::Rights;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::gateway;
use crate::flow::login::Logins;
use crate::flow::mailbox::Changes;
use crate::flow::mailbox::Contents;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::NewMessage;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::Staged;
use crate::flow::mailbox::Usage;
use crate::flow::mailbox::Watch;
use crate::flow::mailbox::index::SealedLetter;
use crate::flow::mailbox::index::SealedSummaries;
use crate::flow::mailbox::readers::Annotations;
use crate::flow::mailbox::readers::Grant;
use crate::flow::mailbox::readers::Identifier;
use crate::flow::mailbox::readers::Kept;
use crate::flow::mailbox::readers::Scope;
use crate::flow::office::ClearPermit;
use crate::flow::office::Office;
use crate::flow::own;
use crate::flow::reading;
use crate::flow::reading::Need;
use crate::flow::reading::Reading;
use crate::infra::directory::Account;
use crate::infra::directory::Mailboxes;
use crate::proto::imap::command::RightsChange;
use crate::proto::imap::folded::Signature;
use crate::proto::imap::folded::SignatureKey;
use crate::proto::mime::summary::Summary;
use crate::server::imap::capabilities::Offer;
use crate::server::imap::line::Times;

/// Rings when a mailbox changes.
pub(super) trait Bell: Send {
    /// Resolves at the next change; may be dropped and asked again.
    fn rung(&mut self) -> impl Future<Output = ()> + Send;
}

/// The office, as a session sees it.
pub(super) trait Desk: Send + Sync {
    /// What a login opens.
    type Shelf: Shelf;

    /// Where people log in.
    fn logins(&self) -> &Logins;

    /// Opens the mailbox of somebody who logged in.
    fn open(&self, account: &Account) -> impl Future<Output = Result<Self::Shelf, Refusal>> + Send;

    /// Room for clear text that comes in.
    fn reserve(&self, octets: u64) -> impl Future<Output = Result<ClearPermit, Refusal>> + Send;

    /// Room for clear text that is read.
    fn reserve_reading(
        &self,
        octets: u64,
    ) -> impl Future<Output = Result<ClearPermit, Refusal>> + Send;

    /// Opens a letter as far as it is needed, with room for that.
    fn read(
        &self,
        shelf: &Self::Shelf,
        entry: &Entry,
        need: Need,
    ) -> impl Future<Output = Result<Reading, MailboxError>> + Send;

    /// A letter could not be sent to the end that was announced for it.
    fn cut_short(&self, entry: &Entry, error: &MailboxError);

    /// Octets that an APPEND may have.
    fn message_octets_max(&self) -> u64;

    /// A message as it is to lie in this mailbox: under the seal of whose it is, if they keep
    /// their own key.
    fn filed(
        &self,
        _shelf: &Self::Shelf,
        message: Secret<Vec<u8>>,
    ) -> impl Future<Output = Result<Secret<Vec<u8>>, MailboxError>> + Send {
        std::future::ready(Ok(message))
    }

    /// How long things may take.
    fn times(&self) -> Times;

    /// What CAPABILITY tells and commands may ask.
    fn offer(&self) -> Offer {
        Offer::new(&[], false, self.message_octets_max())
    }

    /// Mailboxes of others in which this login may see something, by address.
    fn others(
        &self,
        own: &Self::Shelf,
    ) -> impl Future<Output = Result<Vec<Other<Self::Shelf>>, MailboxError>> + Send;

    /// The mailbox of one of them, when there may be something for this login.
    fn other(
        &self,
        own: &Self::Shelf,
        address: &str,
    ) -> impl Future<Output = Result<Option<Other<Self::Shelf>>, MailboxError>> + Send {
        async move {
            let others = self.others(own).await?;
            Ok(others.into_iter().find(|other| other.address.eq_ignore_ascii_case(address)))
        }
    }

    /// True when the owner of this mailbox keeps their own key: letters there are sealed to it.
    fn keeps_own_key(&self, _shelf: &Self::Shelf) -> bool {
        false
    }

    /// True when somebody with this address could log in here, whether there is one or not: who
    /// is in the directory is not for everybody to try.
    fn could_log_in(&self, _address: &Address) -> bool {
        true
    }
}

/// A mailbox of somebody else, as far as this login may see it (RFC 2342 §4).
pub(super) struct Other<M> {
    /// Whose; a level of the names below [`OTHERS`].
    pub(super) address: String,
    /// It, with the rights of this login.
    pub(super) shelf: M,
}

/// Where mailboxes of others are.
pub(super) const OTHERS: &str = "Other Users";

/// An open mailbox; see [`OpenMailbox`] for what each does.
#[allow(missing_docs, reason = "each is OpenMailbox's method of that name")]
pub(super) trait Shelf: Clone + Send + Sync {
    type Bell: Bell;

    fn id(&self) -> MailboxId;
    fn folders(&self) -> impl Future<Output = Result<Vec<Folder>, MailboxError>> + Send;
    fn folder(&self, id: FolderId) -> impl Future<Output = Result<Folder, MailboxError>> + Send;
    fn create_folder(
        &self,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> impl Future<Output = Result<Folder, MailboxError>> + Send;
    fn delete_folder(&self, id: FolderId) -> impl Future<Output = Result<(), MailboxError>> + Send;
    fn rename_folder(
        &self,
        id: FolderId,
        name: &str,
    ) -> impl Future<Output = Result<(), MailboxError>> + Send;
    fn subscribe(
        &self,
        id: FolderId,
        subscribed: bool,
    ) -> impl Future<Output = Result<(), MailboxError>> + Send;
    fn entries(
        &self,
        folder: FolderId,
        uids: RangeInclusive<u32>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, MailboxError>> + Send;
    fn entry(
        &self,
        folder: FolderId,
        uid: Uid,
    ) -> impl Future<Output = Result<Option<Entry>, MailboxError>> + Send;
    fn summaries(
        &self,
        folder: FolderId,
        entries: &[Entry],
    ) -> impl Future<Output = Result<Vec<Arc<Summary>>, MailboxError>> + Send;
    fn store_flags(
        &self,
        folder: FolderId,
        uids: &[Uid],
        change: &FlagChange,
    ) -> impl Future<Output = Result<Vec<Entry>, MailboxError>> + Send;
    fn store_flags_unless(
        &self,
        folder: FolderId,
        uids: &[Uid],
        change: &FlagChange,
        unchanged_since: ModSeq,
    ) -> impl Future<Output = Result<(Vec<Entry>, Vec<Uid>), MailboxError>> + Send;
    fn copy_to(
        &self,
        from: FolderId,
        uids: &[Uid],
        target: &Self,
        to: FolderId,
    ) -> impl Future<Output = Result<(u32, Vec<(Uid, Uid)>), MailboxError>> + Send;
    fn move_to(
        &self,
        from: FolderId,
        uids: &[Uid],
        target: &Self,
        to: FolderId,
    ) -> impl Future<Output = Result<(u32, Vec<(Uid, Uid)>), MailboxError>> + Send;
    fn contents(
        &self,
        folder: FolderId,
    ) -> impl Future<Output = Result<Arc<Contents>, MailboxError>> + Send;
    fn stage(
        &self,
        message: NewMessage,
    ) -> impl Future<Output = Result<Staged, MailboxError>> + Send;
    fn append_all(
        &self,
        folder: FolderId,
        staged: Vec<Staged>,
        replacing: Option<(FolderId, Uid)>,
    ) -> impl Future<Output = Result<Vec<(u32, Uid)>, MailboxError>> + Send;
    fn check_room(&self, octets: u64) -> impl Future<Output = Result<(), MailboxError>> + Send;
    fn mailbox_id(&self, folder: &Folder) -> String;
    fn expunge(
        &self,
        folder: FolderId,
        uids: Option<&[Uid]>,
    ) -> impl Future<Output = Result<Vec<Uid>, MailboxError>> + Send;
    fn changes(
        &self,
        folder: FolderId,
        since: ModSeq,
    ) -> impl Future<Output = Result<Changes, MailboxError>> + Send;
    fn watch(&self) -> Self::Bell;
    fn rights(&self, folder: FolderId)
    -> impl Future<Output = Result<Rights, MailboxError>> + Send;
    fn owner(&self) -> &str;
    fn is_foreign(&self) -> bool;
    fn acl(
        &self,
        folder: FolderId,
    ) -> impl Future<Output = Result<Vec<Grant>, MailboxError>> + Send;
    fn change_acl(
        &self,
        folder: FolderId,
        identifier: &Identifier,
        change: RightsChange,
    ) -> impl Future<Output = Result<(), MailboxError>> + Send;
    fn delete_acl(
        &self,
        folder: FolderId,
        identifier: &Identifier,
    ) -> impl Future<Output = Result<(), MailboxError>> + Send;
    fn may_create_folder(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<bool, MailboxError>> + Send;
    fn usage(&self) -> impl Future<Output = Result<Usage, MailboxError>> + Send;
    fn annotations(
        &self,
        folder: FolderId,
        scope: Scope,
    ) -> impl Future<Output = Result<Annotations, MailboxError>> + Send;
    fn annotation_marks(
        &self,
    ) -> impl Future<Output = Result<BTreeMap<(FolderId, Scope), u64>, MailboxError>> + Send;
    fn annotate(
        &self,
        folder: FolderId,
        scope: Scope,
        entries: &[(String, Option<Vec<u8>>)],
    ) -> impl Future<Output = Result<(), MailboxError>> + Send;
    fn kept_subscriptions(&self) -> impl Future<Output = Result<Kept, MailboxError>> + Send;
    fn change_subscriptions(
        &self,
        edit: impl FnOnce(&mut Kept) + Send,
    ) -> impl Future<Output = Result<(), MailboxError>> + Send;
    fn now(&self) -> Timestamp;
    fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, MailboxError>> + Send;
    fn sealed_letter(
        &self,
        entry: &Entry,
    ) -> impl Future<Output = Result<SealedLetter, MailboxError>> + Send;
    fn summaries_to_open(
        &self,
        folder: FolderId,
        entries: &[Entry],
    ) -> impl Future<Output = Result<SealedSummaries, MailboxError>> + Send;
    fn signature_key(&self) -> SignatureKey;
    fn signatures(
        &self,
        contents: &[BlobId],
    ) -> impl Future<Output = Result<HashMap<BlobId, Signature>, MailboxError>> + Send;
    fn learn(&self, learnt: Vec<(BlobId, Signature)>) -> impl Future<Output = ()> + Send;
    fn was_searched(&self);
}

impl Desk for Arc<Office> {
    type Shelf = OpenMailbox;

    fn keeps_own_key(&self, shelf: &OpenMailbox) -> bool {
        own::registered(self, &shelf.id()).is_some()
    }

    fn logins(&self) -> &Logins {
        &self.logins
    }

    async fn open(&self, account: &Account) -> Result<OpenMailbox, Refusal> {
        let opened = self.mailboxes.open(account).await;
        opened.map(|own| own.read_by_owner("imap", "read")).map_err(|error| {
            tracing::error!(mailbox = ?account.id, %error, "a mailbox does not open");
            match error {
                MailboxError::Temporary(refusal) => refusal,
                _ => Refusal::DependencyFailed,
            }
        })
    }

    async fn reserve(&self, octets: u64) -> Result<ClearPermit, Refusal> {
        self.clear_memory.reserve(octets).await
    }

    async fn reserve_reading(&self, octets: u64) -> Result<ClearPermit, Refusal> {
        self.reading_memory.reserve(octets).await
    }

    async fn read(
        &self,
        shelf: &OpenMailbox,
        entry: &Entry,
        need: Need,
    ) -> Result<Reading, MailboxError> {
        Reading::begin(shelf.sealed(entry).await?, &self.reading_memory, need).await
    }

    fn cut_short(&self, entry: &Entry, error: &MailboxError) {
        reading::cut_short(self, "imap", entry.blob, error);
    }

    fn message_octets_max(&self) -> u64 {
        self.config.limits.message_octets
    }

    async fn filed(
        &self,
        shelf: &OpenMailbox,
        message: Secret<Vec<u8>>,
    ) -> Result<Secret<Vec<u8>>, MailboxError> {
        gateway::filed(self, &shelf.id(), message).await
    }

    fn times(&self) -> Times {
        Times {
            login: limits::IMAP_LOGIN_TIMEOUT,
            idle: self.config.limits.imap_idle,
            line: self.config.limits.line,
            data: self.config.limits.data,
        }
    }

    fn offer(&self) -> Offer {
        let imap = &self.config.imap;
        Offer::new(&imap.without, imap.compress, self.message_octets_max())
    }

    async fn others(&self, own: &OpenMailbox) -> Result<Vec<Other<OpenMailbox>>, MailboxError> {
        let mut others = Vec::new();
        for address in self.mailboxes.granting(own).await? {
            others.extend(self.other(own, &address).await?);
        }
        Ok(others)
    }

    async fn other(
        &self,
        own: &OpenMailbox,
        address: &str,
    ) -> Result<Option<Other<OpenMailbox>>, MailboxError> {
        let Ok(address) = Address::parse(address) else { return Ok(None) };
        let account = self.accounts.find(&address).await.map_err(|error| {
            tracing::error!(%error, "the directory did not answer about a shared mailbox");
            MailboxError::Temporary(Refusal::DependencyFailed)
        })?;
        let Some(account) = account.filter(|account| !account.suspended && account.id != own.id())
        else {
            return Ok(None);
        };
        if !self.mailboxes.may_grant(&account, own).await? {
            return Ok(None);
        }
        let shelf = self.mailboxes.open_for(&account, own).await?;
        Ok(Some(Other { address: account.address.lookup_form(), shelf }))
    }

    fn could_log_in(&self, address: &Address) -> bool {
        self.config.operator.domains.contains(address.domain())
    }
}

impl Bell for Watch {
    async fn rung(&mut self) {
        self.changed().await;
    }
}

impl Shelf for OpenMailbox {
    type Bell = Watch;

    fn id(&self) -> MailboxId {
        self.id()
    }
    async fn folders(&self) -> Result<Vec<Folder>, MailboxError> {
        self.folders().await
    }
    async fn folder(&self, id: FolderId) -> Result<Folder, MailboxError> {
        self.folder(id).await
    }
    async fn create_folder(
        &self,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<Folder, MailboxError> {
        // RFC 3501 §6.3.6: what is subscribed is the client's affair; it says so itself.
        self.create_folder_as(name, special_use, false).await
    }
    async fn delete_folder(&self, id: FolderId) -> Result<(), MailboxError> {
        self.delete_folder(id).await
    }
    async fn rename_folder(&self, id: FolderId, name: &str) -> Result<(), MailboxError> {
        self.rename_folder(id, name).await
    }
    async fn subscribe(&self, id: FolderId, subscribed: bool) -> Result<(), MailboxError> {
        self.subscribe(id, subscribed).await
    }
    async fn entries(
        &self,
        folder: FolderId,
        uids: RangeInclusive<u32>,
        limit: usize,
    ) -> Result<Vec<Entry>, MailboxError> {
        self.entries(folder, uids, limit).await
    }
    async fn entry(&self, folder: FolderId, uid: Uid) -> Result<Option<Entry>, MailboxError> {
        self.entry(folder, uid).await
    }
    async fn summaries(
        &self,
        folder: FolderId,
        entries: &[Entry],
    ) -> Result<Vec<Arc<Summary>>, MailboxError> {
        self.summaries(folder, entries).await
    }
    async fn store_flags(
        &self,
        folder: FolderId,
        uids: &[Uid],
        change: &FlagChange,
    ) -> Result<Vec<Entry>, MailboxError> {
        self.store_flags(folder, uids, change).await
    }
    async fn store_flags_unless(
        &self,
        folder: FolderId,
        uids: &[Uid],
        change: &FlagChange,
        unchanged_since: ModSeq,
    ) -> Result<(Vec<Entry>, Vec<Uid>), MailboxError> {
        self.store_flags_unless(folder, uids, change, unchanged_since).await
    }
    async fn copy_to(
        &self,
        from: FolderId,
        uids: &[Uid],
        target: &Self,
        to: FolderId,
    ) -> Result<(u32, Vec<(Uid, Uid)>), MailboxError> {
        self.copy_to(from, uids, target, to).await
    }
    async fn move_to(
        &self,
        from: FolderId,
        uids: &[Uid],
        target: &Self,
        to: FolderId,
    ) -> Result<(u32, Vec<(Uid, Uid)>), MailboxError> {
        self.move_to(from, uids, target, to).await
    }
    async fn contents(&self, folder: FolderId) -> Result<Arc<Contents>, MailboxError> {
        self.contents(folder).await
    }
    async fn stage(&self, message: NewMessage) -> Result<Staged, MailboxError> {
        self.stage(message).await
    }
    async fn append_all(
        &self,
        folder: FolderId,
        staged: Vec<Staged>,
        replacing: Option<(FolderId, Uid)>,
    ) -> Result<Vec<(u32, Uid)>, MailboxError> {
        self.append_all(folder, staged, replacing).await
    }
    async fn check_room(&self, octets: u64) -> Result<(), MailboxError> {
        self.check_room(octets).await
    }
    fn mailbox_id(&self, folder: &Folder) -> String {
        self.mailbox_id(folder)
    }
    async fn expunge(
        &self,
        folder: FolderId,
        uids: Option<&[Uid]>,
    ) -> Result<Vec<Uid>, MailboxError> {
        self.expunge(folder, uids).await
    }
    async fn changes(&self, folder: FolderId, since: ModSeq) -> Result<Changes, MailboxError> {
        self.changes(folder, since).await
    }
    fn watch(&self) -> Watch {
        self.watch()
    }
    async fn rights(&self, folder: FolderId) -> Result<Rights, MailboxError> {
        self.rights(folder).await
    }
    fn owner(&self) -> &str {
        self.owner()
    }
    fn is_foreign(&self) -> bool {
        self.is_foreign()
    }
    async fn acl(&self, folder: FolderId) -> Result<Vec<Grant>, MailboxError> {
        self.acl(folder).await
    }
    async fn change_acl(
        &self,
        folder: FolderId,
        identifier: &Identifier,
        change: RightsChange,
    ) -> Result<(), MailboxError> {
        self.change_acl(folder, identifier, change).await
    }
    async fn delete_acl(
        &self,
        folder: FolderId,
        identifier: &Identifier,
    ) -> Result<(), MailboxError> {
        self.delete_acl(folder, identifier).await
    }
    async fn may_create_folder(&self, name: &str) -> Result<bool, MailboxError> {
        self.may_create_folder(name).await
    }
    async fn usage(&self) -> Result<Usage, MailboxError> {
        self.usage().await
    }
    async fn annotations(
        &self,
        folder: FolderId,
        scope: Scope,
    ) -> Result<Annotations, MailboxError> {
        self.annotations(folder, scope).await
    }
    async fn annotation_marks(&self) -> Result<BTreeMap<(FolderId, Scope), u64>, MailboxError> {
        self.annotation_marks().await
    }
    async fn annotate(
        &self,
        folder: FolderId,
        scope: Scope,
        entries: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), MailboxError> {
        self.annotate(folder, scope, entries).await
    }
    async fn kept_subscriptions(&self) -> Result<Kept, MailboxError> {
        self.kept_subscriptions().await
    }
    async fn change_subscriptions(
        &self,
        edit: impl FnOnce(&mut Kept) + Send,
    ) -> Result<(), MailboxError> {
        self.change_subscriptions(edit).await
    }
    fn now(&self) -> Timestamp {
        self.now()
    }
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, MailboxError> {
        self.aside(work).await
    }
    async fn sealed_letter(&self, entry: &Entry) -> Result<SealedLetter, MailboxError> {
        self.sealed_letter(entry).await
    }
    async fn summaries_to_open(
        &self,
        folder: FolderId,
        entries: &[Entry],
    ) -> Result<SealedSummaries, MailboxError> {
        self.summaries_to_open(folder, entries).await
    }
    fn signature_key(&self) -> SignatureKey {
        self.signature_key()
    }
    async fn signatures(
        &self,
        contents: &[BlobId],
    ) -> Result<HashMap<BlobId, Signature>, MailboxError> {
        self.signatures(contents).await
    }
    async fn learn(&self, learnt: Vec<(BlobId, Signature)>) {
        self.learn(learnt).await;
    }
    fn was_searched(&self) {
        self.was_searched();
    }
}
