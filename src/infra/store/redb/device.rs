//! What redb writes through: the file, with a way back when a write or a sync fails.
//!
//! redb never overwrites a page that the last durable commit uses; the header alone is
//! rewritten in place, and names the commit that counts. So it is enough to remember the header
//! as it was at the last successful sync: putting it back undoes a commit that failed half way,
//! also one whose pages the kernel still shows us although they never reached the disk (after a
//! failed fsync, Linux marks such pages clean, and a later fsync says that all is well).
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use redb::BackendError;
use redb::StorageBackend;

/// redb's page; its header lies at the start of the first one.
const PAGE_OCTETS: usize = 4_096;

/// The file of the store, and what of it is known to be durable.
#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    headers: Mutex<Headers>,
}

#[derive(Debug)]
struct Headers {
    /// As the file has it now, synced or not.
    written: Vec<u8>,
    /// As it was at the last successful sync.
    durable: Vec<u8>,
}

impl Disk {
    /// Takes the opened file; what it holds at this moment counts as durable.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let octets = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX).min(PAGE_OCTETS);
        let mut header = vec![0; octets];
        file.read_exact_at(&mut header, 0)?;
        let headers = Mutex::new(Headers { durable: header.clone(), written: header });
        Ok(Self { file, headers })
    }

    /// Puts back the header of the last durable commit and makes that durable.
    pub(super) fn restore(&self) -> io::Result<()> {
        let mut headers = self.headers();
        if headers.durable.is_empty() {
            self.file.set_len(0)?;
        } else {
            self.file.write_all_at(&headers.durable, 0)?;
        }
        self.file.sync_all()?;
        headers.written = headers.durable.clone();
        Ok(())
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.file.write_all_at(octets, offset)?;
        if let Some(start) = usize::try_from(offset).ok().filter(|start| *start < PAGE_OCTETS) {
            let end = (start + octets.len()).min(PAGE_OCTETS);
            let mut headers = self.headers();
            if headers.written.len() < end {
                headers.written.resize(end, 0);
            }
            headers.written[start..end].copy_from_slice(&octets[..end - start]);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        // The lock is held over the sync, so that the header that we call durable is the one
        // that was synced.
        let mut headers = self.headers();
        self.file.sync_data()?;
        headers.durable = headers.written.clone();
        Ok(())
    }

    fn headers(&self) -> MutexGuard<'_, Headers> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One opening of the [`Disk`]; redb owns it.
#[derive(Debug)]
pub(super) struct Device {
    disk: Arc<Disk>,
    switch: Arc<Switch>,
}

/// Shared with the committing thread: what went wrong, and the means to cut redb off.
#[derive(Debug, Default)]
pub(super) struct Switch {
    severed: AtomicBool,
    serving: AtomicBool,
    fault: Mutex<Option<(io::ErrorKind, String)>>,
}

impl Switch {
    /// From now on nothing reaches the file through this opening, whatever redb attempts.
    pub(super) fn sever(&self) {
        self.severed.store(true, Ordering::SeqCst);
    }

    /// From now on a sector that cannot be read does not make redb refuse all others: it reads
    /// as zeros, which are no page of redb's, so that only who needs it hears of damage.
    pub(super) fn serve(&self) {
        self.serving.store(true, Ordering::SeqCst);
    }

    /// What a read gives when it fails.
    fn bear(&self, out: &mut [u8], error: io::Error) -> io::Result<()> {
        if !self.serving.load(Ordering::SeqCst) {
            return Err(error);
        }
        tracing::error!(%error, "a part of the store cannot be read");
        out.fill(0);
        Ok(())
    }

    /// The first error that the file gave.
    pub(super) fn fault(&self) -> Option<(io::ErrorKind, String)> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Device {
    /// Opens the disk for redb.
    pub(super) fn new(disk: Arc<Disk>) -> (Self, Arc<Switch>) {
        let switch = Arc::<Switch>::default();
        (Self { disk, switch: Arc::clone(&switch) }, switch)
    }

    fn attempt(&self, action: impl FnOnce(&Disk) -> io::Result<()>) -> io::Result<()> {
        if self.switch.severed.load(Ordering::SeqCst) {
            return Err(io::Error::other("this opening of the store was given up"));
        }
        action(&self.disk).inspect_err(|error| {
            let mut fault = self.switch.fault.lock().unwrap_or_else(PoisonError::into_inner);
            fault.get_or_insert_with(|| (error.kind(), error.to_string()));
        })
    }
}

impl StorageBackend for Device {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.file.read_exact_at(out, offset).or_else(|error| self.switch.bear(out, error))
    }

    fn set_len(&self, octets: u64) -> io::Result<()> {
        self.attempt(|disk| disk.file.set_len(octets))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.attempt(Disk::sync)
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.attempt(|disk| disk.write(offset, octets))
    }

    // The store holds a lock on the file as long as it lives, over all openings.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

/// The last durable commit, readable while the disk takes no writes: what redb's recovery wants
/// to write stays in memory.
#[derive(Debug)]
pub(super) struct Shadow {
    disk: Arc<Disk>,
    switch: Arc<Switch>,
    overlay: Mutex<Overlay>,
}

#[derive(Debug)]
struct Overlay {
    octets: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Shadow {
    /// Looks at the disk as it was after the last durable commit.
    pub(super) fn new(disk: Arc<Disk>) -> io::Result<(Self, Arc<Switch>)> {
        let octets = disk.file.metadata()?.len();
        let mut header = disk.headers().durable.clone();
        header.resize(PAGE_OCTETS, 0);
        let pages = BTreeMap::from([(0, header)]);
        let switch = Arc::<Switch>::default();
        let overlay = Mutex::new(Overlay { octets, pages });
        Ok((Self { disk, switch: Arc::clone(&switch), overlay }, switch))
    }

    fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_overlaid(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_file(offset, out)?;
        let overlay = self.overlay();
        if offset + out.len() as u64 > overlay.octets {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, inside, part) in pieces(offset, out.len()) {
            if let Some(octets) = overlay.pages.get(&page) {
                let octets = &octets[inside..inside + part.len()];
                out[part].copy_from_slice(octets);
            }
        }
        Ok(())
    }

    /// Reads what the file has; behind its end there are zeros.
    fn read_file(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < out.len() {
            let at = offset + done as u64;
            match self.disk.file.read_at(&mut out[done..], at) {
                Ok(0) => {
                    out[done..].fill(0);
                    return Ok(());
                }
                Ok(octets) => done += octets,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Cuts `offset..offset + octets` at page borders: page, offset in the page, range in the buffer.
fn pieces(
    offset: u64,
    octets: usize,
) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let page_octets = PAGE_OCTETS as u64;
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= octets {
            return None;
        }
        let at = offset + done as u64;
        let inside = usize::try_from(at % page_octets).expect("less than a page");
        let end = octets.min(done + PAGE_OCTETS - inside);
        let piece = (at / page_octets, inside, done..end);
        done = end;
        Some(piece)
    })
}

impl StorageBackend for Shadow {
    fn len(&self) -> io::Result<u64> {
        Ok(self.overlay().octets)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_overlaid(offset, out).or_else(|error| self.switch.bear(out, error))
    }

    fn set_len(&self, octets: u64) -> io::Result<()> {
        self.overlay().octets = octets;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        for (page, inside, part) in pieces(offset, octets.len()) {
            let mut whole = match self.overlay().pages.remove(&page) {
                Some(whole) => whole,
                None => {
                    let mut whole = vec![0; PAGE_OCTETS];
                    self.read_file(page * PAGE_OCTETS as u64, &mut whole)?;
                    whole
                }
            };
            whole[inside..inside + part.len()].copy_from_slice(&octets[part]);
            self.overlay().pages.insert(page, whole);
        }
        Ok(())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}
