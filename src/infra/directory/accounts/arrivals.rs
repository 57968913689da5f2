//! When somebody last came into a mailbox, by which door, and from which networks people do.
//!
//! The youngest is in memory. A row is written when the written one is an hour old, or when
//! somebody comes from a network that is new: a disk sync for each connection of a telephone
//! would cost more than it tells. Networks are kept as keyed hashes: they are asked whether they
//! are known, and never shown.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::domain::limits;
use crate::domain::login::Means;
use crate::domain::login::Network;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::infra::directory::Arrival;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::accounts::Accounts;
use crate::infra::directory::accounts::app_passwords::Use;
use crate::infra::directory::accounts::failed;
use crate::infra::directory::accounts::rows;
use crate::infra::store::Batch;
use crate::infra::store::row;

/// Rows `Al/<mailbox id>` -> last arrival, sealed.
const LAST: &[u8] = b"Al/";
const FORMAT: u8 = 1;

/// When somebody last came into a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastLogin {
    /// The mailbox is older than these records.
    Unknown,
    /// Nobody ever did.
    Never,
    /// Then. Exact while the relay runs; after a restart it may be an hour early.
    At {
        /// When.
        at: Timestamp,
        /// By which door.
        door: String,
    },
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Row {
    at: u64,
    door: String,
    /// Youngest first.
    networks: Vec<u64>,
}

/// What is in memory.
#[derive(Default)]
pub(super) struct Arrivals(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    last: HashMap<MailboxId, Known>,
    uses: HashMap<(MailboxId, String), (Use, Timestamp)>,
}

struct Known {
    row: Row,
    /// When it was last written.
    written: Timestamp,
}

impl Arrivals {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn last_use(&self, mailbox: &MailboxId, name: &str) -> Option<Use> {
        self.memory().uses.get(&(*mailbox, name.to_owned())).map(|(used, _)| used.clone())
    }

    pub(super) fn forget_use(&self, mailbox: &MailboxId, name: &str) {
        self.memory().uses.remove(&(*mailbox, name.to_owned()));
    }

    /// True when it is time to write it.
    pub(super) fn note_use(&self, mailbox: &MailboxId, name: &str, used: &Use) -> bool {
        let mut memory = self.memory();
        if memory.uses.len() >= limits::LAST_LOGINS_KEPT {
            memory.uses.clear();
        }
        match memory.uses.get_mut(&(*mailbox, name.to_owned())) {
            Some((latest, written)) => {
                *latest = used.clone();
                let is_due = used.at.since(*written) >= limits::LAST_LOGIN_EVERY;
                if is_due {
                    *written = used.at;
                }
                is_due
            }
            None => {
                memory.uses.insert((*mailbox, name.to_owned()), (used.clone(), used.at));
                true
            }
        }
    }
}

impl Accounts {
    /// When somebody last came into a mailbox.
    ///
    /// # Errors
    /// [`DirectoryError`]; [`DirectoryError::Unknown`] when there is no such mailbox.
    pub async fn last_login(&self, mailbox: &MailboxId) -> Result<LastLogin, DirectoryError> {
        if let Some(known) = self.arrivals.memory().last.get(mailbox) {
            return Ok(at(&known.row));
        }
        if let Some(row) = self.load_last(mailbox).await? {
            return Ok(at(&row));
        }
        let key = rows::key(mailbox);
        let found = self.store.get(&key).await.map_err(failed)?.ok_or(DirectoryError::Unknown)?;
        let stored = rows::decode(self.desk.as_ref(), &key, &found.value)?;
        Ok(if stored.logins_known { LastLogin::Never } else { LastLogin::Unknown })
    }

    /// Remembers that somebody came in. What cannot be written is written with the next login.
    pub(super) async fn remember_arrival(&self, arrival: &Arrival) {
        if let Means::AppPassword(name) = &arrival.means {
            self.app_password_used(arrival, name).await;
        }
        let id = arrival.mailbox;
        let network = arrival.ip.map(|ip| self.network_tag(&id, Network::neighbourhood(ip)));
        let is_known = self.arrivals.memory().last.contains_key(&id);
        if !is_known {
            // A row of an hour ago, read once after a start.
            let row = match self.load_last(&id).await {
                Ok(row) => row.unwrap_or_default(),
                Err(error) => {
                    tracing::warn!(%error, "a last login cannot be read");
                    return;
                }
            };
            let written = Timestamp::from_millis(row.at);
            let mut memory = self.arrivals.memory();
            if memory.last.len() >= limits::LAST_LOGINS_KEPT {
                memory.last.clear();
            }
            memory.last.entry(id).or_insert(Known { row, written });
        }
        let row = {
            let mut memory = self.arrivals.memory();
            let Some(known) = memory.last.get_mut(&id) else { return };
            known.row.at = arrival.at.as_millis();
            arrival.entrance.name().clone_into(&mut known.row.door);
            let is_new = network.is_some_and(|network| known.row.came_from(network));
            if !is_new && arrival.at.since(known.written) < limits::LAST_LOGIN_EVERY {
                return;
            }
            known.written = arrival.at;
            known.row.clone()
        };
        let clear = Zeroizing::new(row::encode(FORMAT, &row));
        let mut batch = Batch::new();
        batch.put(key(&id), self.desk.seal(&key(&id), &clear));
        // Handed in and not waited for: a slow disk keeps nobody out.
        drop(self.store.submit(batch));
    }

    /// True when somebody came into this mailbox from there lately.
    pub(super) async fn is_usual_network(&self, mailbox: &MailboxId, network: Network) -> bool {
        let tag = self.network_tag(mailbox, network);
        if let Some(known) = self.arrivals.memory().last.get(mailbox) {
            return known.row.networks.contains(&tag);
        }
        matches!(self.load_last(mailbox).await, Ok(Some(row)) if row.networks.contains(&tag))
    }

    fn network_tag(&self, mailbox: &MailboxId, network: Network) -> u64 {
        let context = [b"network/".as_slice(), mailbox.as_bytes()].concat();
        let digest = self.desk.digest(&context, network.to_string().as_bytes());
        let mut tag = [0; 8];
        tag.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(tag)
    }

    async fn load_last(&self, mailbox: &MailboxId) -> Result<Option<Row>, DirectoryError> {
        let key = key(mailbox);
        let Some(found) = self.store.get(&key).await.map_err(failed)? else { return Ok(None) };
        let damaged = || DirectoryError::Damaged("last login".to_owned());
        let clear = self.desk.open(&key, &found.value).ok_or_else(damaged)?;
        row::decode(FORMAT, clear.expose()).map(Some).ok_or_else(damaged)
    }
}

impl Row {
    /// Puts a network in front; true when it was not there.
    fn came_from(&mut self, network: u64) -> bool {
        let place = self.networks.iter().position(|one| *one == network);
        if let Some(place) = place {
            self.networks.remove(place);
        }
        self.networks.insert(0, network);
        self.networks.truncate(limits::USUAL_NETWORKS_MAX);
        place.is_none()
    }
}

fn key(mailbox: &MailboxId) -> Vec<u8> {
    [LAST, mailbox.as_bytes()].concat()
}

fn at(row: &Row) -> LastLogin {
    LastLogin::At { at: Timestamp::from_millis(row.at), door: row.door.clone() }
}
