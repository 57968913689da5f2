//! The files of large contents: `blobs/aa/<32 hexadecimal digits>`.
use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::sync::Semaphore;
use tokio::task;

use crate::domain::envelope::BlobId;
use crate::domain::limits;
use crate::infra::store::StoreError;
use crate::infra::store::blobs::Listing;
use crate::infra::store::blobs::row;

/// 256 drawers of files.
pub(super) struct Shelf {
    drawers: Vec<Drawer>,
    /// One permit per blocking thread that we may keep busy.
    hands: Arc<Semaphore>,
}

/// One directory, whose syncs are shared by those who wrote to it.
struct Drawer {
    path: Arc<PathBuf>,
    /// Files that were written here, so far.
    written: AtomicU64,
    syncs: Mutex<Syncs>,
}

/// Up to which file the directory was synced, or could not be.
#[derive(Default)]
struct Syncs {
    done: u64,
    failed: u64,
}

impl Shelf {
    /// Makes what is missing of the drawers.
    pub(super) async fn open(root: PathBuf) -> Result<Self, StoreError> {
        let hands = Arc::new(Semaphore::new(limits::BLOB_THREADS));
        let drawers = (0..=u8::MAX)
            .map(|drawer| Drawer {
                path: Arc::new(root.join(format!("{drawer:02x}"))),
                written: AtomicU64::new(0),
                syncs: Mutex::default(),
            })
            .collect();
        let shelf = Self { drawers, hands };
        let paths: Vec<_> = shelf.drawers.iter().map(|drawer| Arc::clone(&drawer.path)).collect();
        shelf.blocking(move || make_drawers(&root, &paths)).await?;
        Ok(shelf)
    }

    /// Writes a file and makes it and its name durable. Returns the content's checksum.
    pub(super) async fn write(&self, id: BlobId, content: Bytes) -> Result<[u8; 8], StoreError> {
        let drawer = self.drawer(id);
        let path = drawer.path.join(id.to_string());
        let checksum = self.blocking(move || write_file(&path, &content)).await?;
        let ticket = drawer.written.fetch_add(1, Ordering::SeqCst) + 1;
        self.sync(drawer, ticket).await?;
        Ok(checksum)
    }

    /// The file's content; `None` when there is no such file. Longer ones than `length` are cut
    /// one octet behind it: enough to see that they are damaged.
    pub(super) async fn read(&self, id: BlobId, length: u64) -> Result<Option<Bytes>, StoreError> {
        let path = self.drawer(id).path.join(id.to_string());
        self.blocking(move || match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(file) => {
                let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
                file.take(length + 1).read_to_end(&mut content)?;
                Ok(Some(content.into()))
            }
        })
        .await
    }

    /// Opens a file and tells its length; `None` when there is no such file. Whoever has it open can
    /// read it to the end, even when it is removed meanwhile.
    pub(super) async fn open_file(
        &self,
        id: BlobId,
    ) -> Result<Option<(Arc<File>, u64)>, StoreError> {
        let path = self.drawer(id).path.join(id.to_string());
        self.blocking(move || match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(file) => {
                let length = file.metadata()?.len();
                Ok(Some((Arc::new(file), length)))
            }
        })
        .await
    }

    /// Stretches of an open file, in one turn; `None` when it ends before one of them does.
    pub(super) async fn read_stretches<const N: usize>(
        &self,
        file: Arc<File>,
        stretches: [Range<u64>; N],
    ) -> Result<Option<[Bytes; N]>, StoreError> {
        self.blocking(move || {
            let mut found = [const { Bytes::new() }; N];
            for (place, stretch) in found.iter_mut().zip(stretches) {
                let length = stretch.end.saturating_sub(stretch.start);
                let mut octets = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                match file.read_exact_at(&mut octets, stretch.start) {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                    read => read?,
                }
                *place = octets.into();
            }
            Ok(Some(found))
        })
        .await
    }

    /// Removes a file. A failure is logged only: the next start collects it.
    pub(super) async fn remove(&self, id: BlobId) {
        let path = self.drawer(id).path.join(id.to_string());
        if let Err(error) = self.blocking(move || fs::remove_file(path)).await {
            tracing::warn!(blob = %id, %error, "the file of a content was not removed");
        }
    }

    /// The contents in one drawer. Files that are none of ours are left alone.
    pub(super) async fn list(&self, drawer: u8) -> Result<Listing, StoreError> {
        let path = Arc::clone(&self.drawers[usize::from(drawer)].path);
        self.blocking(move || {
            let mut listing = Listing::new();
            for entry in fs::read_dir(path.as_path())? {
                let entry = entry?;
                match entry.file_name().to_str().and_then(parse_name) {
                    Some(id) if drawer_of(id) == drawer => {
                        listing.insert(id);
                    }
                    _ => tracing::warn!(path = %entry.path().display(), "not a file of ours"),
                }
            }
            Ok(listing)
        })
        .await
    }

    fn drawer(&self, id: BlobId) -> &Drawer {
        &self.drawers[usize::from(drawer_of(id))]
    }

    /// Makes the names up to `ticket` durable. Whoever waits while another syncs finds the work
    /// done, so many writers share one sync.
    async fn sync(&self, drawer: &Drawer, ticket: u64) -> Result<(), StoreError> {
        let mut syncs = drawer.syncs.lock().await;
        if syncs.done >= ticket {
            return Ok(());
        }
        // After a failed sync the kernel may call the next one a success without having written
        // what the first one lost. So those who took part in the failed one do not try again.
        if syncs.failed >= ticket {
            return Err(StoreError::Engine("a directory of contents could not be synced".into()));
        }
        let covered = drawer.written.load(Ordering::SeqCst);
        let path = Arc::clone(&drawer.path);
        let outcome = self.blocking(move || File::open(path.as_path())?.sync_all()).await;
        match outcome {
            Ok(()) => syncs.done = covered,
            Err(_) => syncs.failed = covered,
        }
        outcome
    }

    /// Runs on a thread that may wait for the disk; only a few at a time.
    async fn blocking<T: Send + 'static>(
        &self,
        action: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let hand = Arc::clone(&self.hands).acquire_owned().await;
        task::spawn_blocking(move || {
            let outcome = action();
            drop(hand);
            outcome
        })
        .await
        .map_err(|error| StoreError::Engine(error.to_string()))?
        .map_err(|error| StoreError::of_io("contents", &error))
    }
}

/// Which drawer a content lies in. The ids begin with the time in milliseconds (UUIDv7); the
/// fourth octet changes every 65 seconds. So those who write at the same time share a directory
/// and its syncs, and over some hours all drawers are used alike.
fn drawer_of(id: BlobId) -> u8 {
    id.as_bytes()[3]
}

fn parse_name(name: &str) -> Option<BlobId> {
    let is_ours =
        name.len() == 32 && name.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
    let octets = u128::from_str_radix(name, 16).ok().filter(|_| is_ours)?;
    Some(BlobId::from_bytes(octets.to_be_bytes()))
}

fn make_drawers(root: &Path, paths: &[Arc<PathBuf>]) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for path in paths {
        builder.create(path.as_path())?;
    }
    File::open(root)?.sync_all()?;
    root.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<[u8; 8]> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_data());
    if written.is_err() {
        // Half a file helps nobody, and a full disk needs the room.
        let _ = fs::remove_file(path);
    }
    written.map(|()| row::checksum(content))
}
