//! One mailbox in memory: its keys, its head as the last submitted batch will leave it, and
//! whoever waits for news.
//!
//! Every change of a mailbox meets the head row at its version. Waiting for each commit before
//! the next begins would cost one disk sync a letter, so the head is foretold: a batch is built
//! on the head that the batches before it will leave, and the store commits them in order. When
//! one of them fails, the later ones meet a wrong version, nothing of them is kept, and all
//! start again from the durable head.
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use tokio::sync::watch;

use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Shelf;
use crate::flow::mailbox::readers::SeenSets;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::rows::Head;
use crate::infra::directory::Account;
use crate::infra::keys::Certificate;
use crate::infra::keys::MailboxKeys;
use crate::infra::store::Batch;
use crate::infra::store::Version;

pub(super) struct Slot {
    pub(super) id: MailboxId,
    /// Its address as lists of rights write it; empty for a patient's, whose address is a number
    /// that nobody needs to see.
    pub(super) owner: String,
    pub(super) kind: MailboxKind,
    /// What seals what lies in the mailbox; it is the same for ever.
    pub(super) keys: MailboxKeys,
    /// What changes when its key is extended, rotated or replaced.
    current: RwLock<Arc<Current>>,
    /// Held by whoever reads message rows in order to change them.
    pub(super) gate: tokio::sync::Mutex<()>,
    /// Held by whoever reads all rows of a folder to see what is in it.
    pub(super) walk: tokio::sync::Mutex<()>,
    pub(super) news: watch::Sender<u64>,
    /// What its readers have seen, where each has an own `\Seen`.
    pub(super) seen: Mutex<SeenSets>,
    /// Grows when one of them marks something.
    pub(super) seen_epoch: AtomicU64,
    state: Mutex<State>,
}

/// A mailbox's OpenPGP key as it stands now.
pub(super) struct Current {
    pub(super) keys: MailboxKeys,
    pub(super) certificate: Certificate,
    /// The certificate's octets: another key has others.
    octets: Bytes,
}

impl Current {
    pub(super) fn new(account: &Account, keys: MailboxKeys, certificate: Certificate) -> Self {
        Self { keys, certificate, octets: account.certificate.clone() }
    }
}

#[derive(Default)]
pub(super) struct State {
    foretold: Option<(Head, Option<Version>)>,
    /// Grows when a foretold head turned out wrong.
    epoch: u64,
}

/// Which foretold head a batch was built on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl Slot {
    pub(super) fn new(account: &Account, current: Current) -> Self {
        let owner = match account.kind {
            MailboxKind::Citizen => String::new(),
            _ => account.address.lookup_form(),
        };
        Self {
            id: account.id,
            owner,
            kind: account.kind,
            keys: current.keys.clone(),
            current: RwLock::new(Arc::new(current)),
            gate: tokio::sync::Mutex::new(()),
            walk: tokio::sync::Mutex::new(()),
            news: watch::Sender::new(0),
            seen: Mutex::default(),
            seen_epoch: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// The OpenPGP key that was there last.
    pub(super) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The OpenPGP key of this account, if it is the one in memory.
    pub(super) fn current_of(&self, account: &Account) -> Option<Arc<Current>> {
        Some(self.current()).filter(|current| current.octets == account.certificate)
    }

    pub(super) fn set_current(&self, current: Arc<Current>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that a head is in memory.
    pub(super) async fn load(&self, shelf: &Shelf) -> Result<(), MailboxError> {
        let epoch = {
            let state = self.lock();
            if state.foretold.is_some() {
                return Ok(());
            }
            state.epoch
        };
        let (head, version) = shelf.head(self).await?;
        let mut state = self.lock();
        if state.foretold.is_none() && state.epoch == epoch {
            state.foretold = Some((head, version));
        }
        Ok(())
    }

    /// The head was wrong, or its batch failed: read it again next time.
    pub(super) fn forget(&self, epoch: Epoch) {
        let mut state = self.lock();
        if state.epoch == epoch.0 {
            state.epoch += 1;
            state.foretold = None;
        }
    }

    pub(super) fn announce(&self) {
        self.news.send_modify(|count| *count += 1);
    }
}

impl State {
    /// The head as it will be; `None` when it must be loaded first.
    pub(super) fn head(&self) -> Option<&Head> {
        self.foretold.as_ref().map(|(head, _)| head)
    }

    /// Puts the new head into the batch and foretells it.
    pub(super) fn foretell(&mut self, id: &MailboxId, head: Head, batch: &mut Batch) -> Epoch {
        let key = rows::head_key(id);
        let version = self.foretold.take().and_then(|(_, version)| version);
        match version {
            None => batch.require_absent(key.clone()),
            Some(version) => batch.require_at(key.clone(), version),
        };
        batch.put(key, rows::encode(&head));
        self.foretold = Some((head, Some(Version(version.map_or(1, |version| version.0 + 1)))));
        Epoch(self.epoch)
    }
}
