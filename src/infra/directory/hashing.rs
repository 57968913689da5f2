//! Passwords are hashed on threads of their own: few, and behind everything else.
//!
//! argon2id takes 19 MiB and tens of milliseconds on purpose. On the threads that serve
//! connections, or on those that write to the disk, a storm of wrong passwords would slow mail
//! down; here it waits for its turn, and its threads yield to those that carry letters.
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::oneshot;

use crate::infra::directory::DirectoryError;

/// How long a password waits for its turn: a client that hears "later" is served better than
/// one that hears nothing.
const WAIT: Duration = Duration::from_secs(10);
/// Threads at most: 76 MiB of argon2id. One core is left to mail.
const THREADS_MAX: usize = 4;
/// By how much the threads are nicer than the others (0 to 19): mail first, and still a tenth of
/// a busy core for logins.
const NICE: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end with this.
pub(super) struct Hashing {
    pub(super) turns: Arc<Semaphore>,
    jobs: mpsc::Sender<Job>,
    runs: AtomicU64,
}

impl Hashing {
    /// Starts them: one fewer than there are cores.
    pub(super) fn start() -> Result<Self, DirectoryError> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let threads = cores.saturating_sub(1).clamp(1, THREADS_MAX);
        let (jobs, waiting) = mpsc::channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads {
            let waiting = Arc::clone(&waiting);
            let thread = std::thread::Builder::new().name("passwords".to_owned());
            let started = thread.spawn(move || {
                // Linux counts this for the thread alone. Without it logins work as well.
                if let Err(error) = rustix::process::nice(NICE) {
                    tracing::debug!(%error, "password hashing keeps the usual priority");
                }
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = next else { return };
                    // Whoever waits for a job that ended badly hears so; the thread goes on.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                }
            });
            started.map_err(|error| DirectoryError::Keys(format!("password hashing: {error}")))?;
        }
        let turns = Arc::new(Semaphore::new(threads));
        Ok(Self { turns, jobs, runs: AtomicU64::new(0) })
    }

    /// Does slow work when its turn comes.
    ///
    /// # Errors
    /// [`DirectoryError::Busy`] when the turn does not come in time.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout(WAIT, turn).await.map_err(|_| DirectoryError::Busy)?;
        self.runs.fetch_add(1, Ordering::Relaxed);
        let (done, answer) = oneshot::channel();
        let job = Box::new(move || {
            // Given back when the work ends, also when nobody waits for it any more.
            let _turn = turn;
            let _ = done.send(work());
        });
        let stopped = || DirectoryError::Keys("password hashing stopped".to_owned());
        self.jobs.send(job).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }
}

#[cfg(test)]
impl Hashing {
    /// How much work was begun.
    pub(super) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_answered_and_stops_nobody_else() {
        let hashing = Hashing::start().unwrap();
        for _ in 0..10 {
            let broken = hashing.run(|| -> u8 { panic!("a bug") }).await;
            assert!(matches!(broken, Err(DirectoryError::Keys(_))));
        }
        assert_eq!(hashing.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn hashing_yields_to_the_threads_that_carry_mail() {
        let hashing = Hashing::start().unwrap();
        let of_hashing = hashing.run(|| rustix::process::getpriority_process(None)).await.unwrap();
        let ours = rustix::process::getpriority_process(None).unwrap();
        assert!(of_hashing.unwrap() > ours, "nicer");
    }
}
