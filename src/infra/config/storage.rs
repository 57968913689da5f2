//! Where things lie, and which keys open them: `[storage]`.
use std::path::Path;
use std::path::PathBuf;

use crate::infra::config::build::Reader;
use crate::infra::config::files;
use crate::proto::key_source::KeySource;

/// What the embedded store calls its file, in the data folder.
const STORE_FILE: &str = "truth.redb";
/// Where systemd puts a service's credentials; absent for a command by hand.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where things lie.
#[derive(Clone, Debug)]
pub struct Storage {
    /// `storage.data_dir`
    pub data_dir: PathBuf,
    /// `storage.master_key`: where the operator's master key lies.
    pub master_key: KeySource,
    /// `storage.master_keys_old`: earlier ones, until nothing is wrapped by them any more.
    pub master_keys_old: Vec<KeySource>,
    /// `storage.lock_memory`
    pub lock_memory: LockMemory,
}

/// Whether memory is kept out of the swap space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMemory {
    /// When the system allows it; otherwise it is said.
    Try,
    /// No start without it.
    Require,
    /// No.
    Off,
}

impl Reader {
    pub(super) fn storage(&mut self) -> Option<Storage> {
        let data_dir = self.file("storage.data_dir", files::folder_or_new);
        let key = "storage.master_key";
        let master_key = self.source_of_key(key);
        if let Some(Err(reason)) = master_key.as_ref().map(current) {
            self.wrong(key, &reason);
        }
        let master_keys_old = self.sources_of_old_keys();
        let lock_memory = self.text_or("storage.lock_memory", "try", |text| match text {
            "try" => Some(LockMemory::Try),
            "require" => Some(LockMemory::Require),
            "off" => Some(LockMemory::Off),
            _ => None,
        });
        Some(Storage {
            data_dir: data_dir?,
            master_key: master_key?,
            master_keys_old: master_keys_old?,
            lock_memory: lock_memory?,
        })
    }

    /// A new master key for an old store would leave every letter in it unreadable for ever, and
    /// the first new one would hide that.
    pub(super) fn no_key_is_made_beside_old_mail(&mut self, storage: &Storage) {
        let KeySource::File(path) = &storage.master_key else { return };
        if !path.exists() && storage.data_dir.join(STORE_FILE).exists() {
            let reason = format!(
                "{} is missing, but {} holds a store that was sealed with it: put the key back",
                path.display(),
                storage.data_dir.display()
            );
            self.wrong("storage.master_key", &reason);
        }
    }

    fn source_of_key(&mut self, key: &str) -> Option<KeySource> {
        let text = self.required(key, |text| Some(text.to_owned()))?;
        self.parsed(key, &text)
    }

    fn sources_of_old_keys(&mut self) -> Option<Vec<KeySource>> {
        let key = "storage.master_keys_old";
        let texts = self.list(key, &[], |text| Some(text.to_owned()))?;
        let sources: Vec<_> = texts.iter().filter_map(|text| self.parsed(key, text)).collect();
        for source in &sources {
            // One that is missing is an error only while it is needed, which the store knows.
            if let KeySource::File(path) = source
                && path.exists()
                && let Err(reason) = files::owners_only(path)
            {
                self.wrong(key, &reason);
            }
        }
        (sources.len() == texts.len()).then_some(sources)
    }

    fn parsed(&mut self, key: &str, text: &str) -> Option<KeySource> {
        let folder = self.found.folder.clone();
        match KeySource::parse(text) {
            Ok(source) => Some(source.within(&folder)),
            Err(error) => {
                // Not the text: whoever wrote a PIN into it wants it nowhere else.
                self.wrong(key, &error.to_string());
                None
            }
        }
    }
}

fn current(source: &KeySource) -> Result<(), String> {
    match source {
        KeySource::File(path) if path.exists() => files::owners_only(path),
        // The first start makes it; often inside a data folder that it makes too.
        KeySource::File(path) => files::parent_exists(path)
            .or_else(|_| files::parent_exists(path.parent().unwrap_or(path))),
        KeySource::Credential(name) => match std::env::var_os(CREDENTIALS) {
            Some(folder) if !Path::new(&folder).join(name).exists() => {
                Err(format!("credential:{name} is not among the service's credentials"))
            }
            // By hand there are none to look at; the service's start says what is wrong.
            _ => Ok(()),
        },
        KeySource::Token(uri) => {
            if !uri.module_path.exists() {
                return Err(format!("module-path: {} is missing", uri.module_path.display()));
            }
            match &uri.pin_source {
                Some(pin) if !pin.exists() => {
                    Err(format!("pin-source: {} is missing", pin.display()))
                }
                Some(pin) => files::owners_only(pin),
                None => Ok(()),
            }
        }
    }
}
