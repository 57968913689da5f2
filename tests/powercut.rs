//! The power goes, the disk fills up, a sync fails: what was acknowledged is there, whole.
//!
//! A child process (this test binary again) writes to the embedded store over a disk that loses
//! what was not synced (`powercut/shim.c`), and says what was acknowledged. It is killed at a
//! random moment; then the store is opened on what a power cut would have left.
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use vaguemestre::domain::envelope::BlobId;
use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::CommitError;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::StoreError;
use vaguemestre::infra::store::Version;
use vaguemestre::infra::store::blobs::Blobs;
use vaguemestre::infra::store::prefix;
use vaguemestre::infra::store::redb::RedbStore;

const WRITERS: u64 = 8;
const CHILD: &str = "powercut::the_child_that_writes_until_it_is_killed";

/// Small, good enough, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// One acknowledged write of one writer: enough to say what must be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    writer: u64,
    number: u64,
    /// Which attempt it was: a refused one must not show.
    attempt: u64,
    octets: usize,
    large: bool,
}

impl Written {
    fn key(writer: u64, number: u64) -> Vec<u8> {
        [&b"row/"[..], &writer.to_be_bytes(), &number.to_be_bytes()].concat()
    }

    fn blob(&self) -> BlobId {
        // Attempts differ: a name is never used twice.
        let id = (u128::from(self.writer) << 64)
            | (u128::from(self.number) << 16)
            | u128::from(self.attempt);
        BlobId::from_bytes(id.to_be_bytes())
    }

    fn content(&self) -> Bytes {
        let mut random = Random(self.writer << 40 | self.number << 8 | self.attempt);
        let mut content = Vec::with_capacity(self.octets + 8);
        while content.len() < self.octets {
            content.extend(random.below(u64::MAX).to_be_bytes());
        }
        content.truncate(self.octets);
        content.into()
    }

    fn line(&self) -> String {
        let Self { writer, number, attempt, octets, large } = self;
        format!("acknowledged {writer} {number} {attempt} {octets} {large}\n")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("acknowledged ")?.split(' ');
        let mut next = || words.next();
        Some(Self {
            writer: next()?.parse().ok()?,
            number: next()?.parse().ok()?,
            attempt: next()?.parse().ok()?,
            octets: next()?.parse().ok()?,
            large: next()?.parse().ok()?,
        })
    }
}

// ---- the child ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other tests of this file run it as their child"]
async fn the_child_that_writes_until_it_is_killed() {
    let Ok(directory) = env::var("POWERCUT_SOURCE") else { return };
    let seed: u64 = env::var("POWERCUT_SEED").unwrap().parse().unwrap();
    let directory = Path::new(&directory);
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(directory).unwrap());
    let blobs = Blobs::open(Arc::clone(&store), directory).await.unwrap();
    blobs.collect_orphans().await.unwrap();
    say("opened\n");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_for_ever(Arc::clone(&store), blobs.clone(), writer, seed)))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

async fn write_for_ever(store: Arc<dyn Store>, blobs: Blobs, writer: u64, seed: u64) {
    let mut random = Random(seed ^ (writer << 32));
    let rows = store.scan_back(prefix(&Written::key(writer, 0)[..12]), 1).await.unwrap().rows;
    let mut number =
        rows.first().map_or(0, |(key, _)| u64::from_be_bytes(*key.last_chunk().unwrap()) + 1);
    let mut attempt = random.below(50_000);
    loop {
        let large = random.below(8) == 0;
        let octets =
            if large { 131_073 + random.below(300_000) } else { 1_000 + random.below(59_000) };
        let octets = usize::try_from(octets).unwrap();
        let written = Written { writer, number, attempt, octets, large };
        match write_once(&*store, &blobs, written).await {
            Ok(()) => {
                say(&written.line());
                number += 1;
            }
            Err(CommitError::Full) => say("refused full\n"),
            Err(CommitError::Engine(_)) => say("refused engine\n"),
            Err(other) => panic!("{other}"),
        }
        if number > 0 && random.below(16) == 0 {
            // Reading goes on, whatever the disk does; and nothing refused ever shows.
            let last = store.get(&Written::key(writer, number - 1)).await.unwrap();
            assert!(last.is_some(), "an acknowledged row is gone");
            assert_eq!(store.get(&Written::key(writer, number)).await.unwrap(), None);
        }
        attempt += 1;
    }
}

async fn write_once(store: &dyn Store, blobs: &Blobs, written: Written) -> Result<(), CommitError> {
    let Written { writer, number, .. } = written;
    let mut batch = Batch::new();
    batch.require_absent(Written::key(writer, number));
    let counter = [&b"counter/"[..], &writer.to_be_bytes()].concat();
    match number {
        0 => batch.require_absent(counter.clone()),
        _ => batch.require_at(counter.clone(), Version(number)),
    };
    batch.put(counter, number.to_be_bytes().to_vec());
    if written.large {
        let staged = blobs.stage(written.blob(), written.content()).await;
        let staged = staged.map_err(|error| match error {
            StoreError::Full => CommitError::Full,
            other => CommitError::Engine(other.to_string()),
        })?;
        staged.ride(&mut batch, 1);
        batch.put(Written::key(writer, number), written.blob().as_bytes().to_vec());
        let outcome = store.commit(batch).await;
        if outcome.is_err() {
            blobs.discard(staged).await;
        }
        outcome
    } else {
        batch.put(Written::key(writer, number), written.content());
        store.commit(batch).await
    }
}

// ---- the parent ----

pub(crate) fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = target.join("powercut.so");
        // Another run may be using the old one: it is replaced, never rewritten.
        let fresh = target.join(format!("powercut-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/powercut/shim.c");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&fresh, &source])
            .args(["-ldl", "-lpthread"])
            .status()
            .expect("a C compiler: install gcc");
        assert!(status.success(), "the shim does not compile");
        fs::rename(fresh, &library).unwrap();
        library
    })
}

/// A machine whose power can be cut.
struct Machine {
    directory: tempfile::TempDir,
    seed: u64,
    generation: u32,
    acknowledged: BTreeMap<(u64, u64), Written>,
}

/// A run of the child.
struct Run {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: thread::JoinHandle<()>,
    root_inode: u64,
}

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("0")).unwrap();
        let seed = match env::var("POWERCUT_REPEAT") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => u64::from(uuid::Uuid::new_v4().as_fields().0),
        };
        println!("seed {seed}: repeat with POWERCUT_REPEAT={seed}");
        Self { directory, seed, generation: 0, acknowledged: BTreeMap::new() }
    }

    fn disk(&self) -> PathBuf {
        self.directory.path().join(self.generation.to_string())
    }

    fn platter(&self) -> PathBuf {
        self.directory.path().join(format!("platter-{}", self.generation))
    }

    fn fault(&self) -> PathBuf {
        self.directory.path().join("fault")
    }

    fn start(&self) -> Run {
        fs::create_dir(self.platter()).unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .args([CHILD, "--exact", "--ignored", "--nocapture"])
            .env("LD_PRELOAD", shim())
            .env("POWERCUT_SOURCE", self.disk())
            .env("POWERCUT_PLATTER", self.platter())
            .env("POWERCUT_FAULT", self.fault())
            .env("POWERCUT_SEED", (self.seed + u64::from(self.generation)).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let sink = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            let mut line = String::new();
            // A line that the kill cut in two was not said.
            while out.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
                sink.lock().unwrap().push(line.trim_end().to_owned());
                line.clear();
            }
        });
        let root_inode = fs::metadata(self.disk()).unwrap().ino();
        let ready = self.platter().join("ready");
        for _ in 0..3_000 {
            if ready.exists() {
                return Run { child, lines, reader, root_inode };
            }
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the shim did not start in 15 s");
    }

    /// Kills the child, and makes the next disk of what the power cut leaves.
    fn cut(&mut self, mut run: Run) {
        assert!(run.child.try_wait().unwrap().is_none(), "the child ended by itself");
        run.child.kill().unwrap();
        run.child.wait().unwrap();
        run.reader.join().unwrap();
        for line in run.lines.lock().unwrap().iter() {
            if let Some(written) = Written::parse(line) {
                self.acknowledged.insert((written.writer, written.number), written);
            }
        }
        let platter = self.platter();
        fs::remove_dir_all(self.disk()).unwrap();
        self.generation += 1;
        rebuild(&platter, run.root_inode, &self.disk());
        fs::remove_dir_all(platter).unwrap();
    }

    /// Opens the store and looks at every row.
    async fn check(&self) {
        let disk = self.disk();
        let store: Arc<dyn Store> = Arc::new(RedbStore::open(&disk).unwrap());
        let blobs = Blobs::open(Arc::clone(&store), &disk).await.unwrap();
        blobs.collect_orphans().await.unwrap();
        for written in self.acknowledged.values() {
            let row = store.get(&Written::key(written.writer, written.number)).await.unwrap();
            let row = row.unwrap_or_else(|| panic!("lost: {written:?}"));
            if written.large {
                assert_eq!(&row.value[..], written.blob().as_bytes(), "not this one: {written:?}");
                let content = blobs.read(written.blob()).await;
                assert!(content.unwrap() == written.content(), "damaged: {written:?}");
            } else {
                assert!(row.value == written.content(), "damaged: {written:?}");
            }
        }
        for writer in 0..WRITERS {
            self.check_writer(&*store, &blobs, writer).await;
        }
    }

    /// Rows without a hole, a counter that agrees, at most one that was not acknowledged.
    async fn check_writer(&self, store: &dyn Store, blobs: &Blobs, writer: u64) {
        let range = prefix(&Written::key(writer, 0)[..12]);
        let page = store.scan(range, 1_000_000).await.unwrap();
        for (number, (key, row)) in (0..).zip(&page.rows) {
            assert_eq!(*key, Written::key(writer, number), "a hole");
            if let Ok(id) = <[u8; 16]>::try_from(&row.value[..]) {
                blobs.read(BlobId::from_bytes(id)).await.unwrap();
            }
        }
        let counter = [&b"counter/"[..], &writer.to_be_bytes()].concat();
        let counter = store.get(&counter).await.unwrap().map_or(0, |row| row.version.0);
        assert_eq!(counter, page.rows.len() as u64, "half a batch");
    }
}

impl Run {
    fn said(&self, start: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.starts_with(start)).count()
    }

    /// Waits until the child said `count` more lines that begin with `start`.
    fn hear(&mut self, start: &str, count: usize) {
        let goal = self.said(start) + count;
        for _ in 0..3_000 {
            if self.said(start) >= goal {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the child ended by itself");
            thread::sleep(Duration::from_millis(10));
        }
        panic!("in 30 s the child did not say {start:?} {count} times");
    }
}

/// Builds a directory from its synced listing and the synced octets of its files.
fn rebuild(platter: &Path, inode: u64, target: &Path) {
    fs::create_dir(target).unwrap();
    let Ok(listing) = fs::read_to_string(platter.join(format!("dir-{inode}"))) else { return };
    for line in listing.lines() {
        let mut words = line.splitn(3, ' ');
        let (kind, inode, name) =
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let target = target.join(name);
        if kind == "d" {
            rebuild(platter, inode.parse().unwrap(), &target);
        } else if fs::copy(platter.join(format!("file-{inode}")), &target).is_err() {
            // Its name was synced, never its octets.
            fs::write(&target, "").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let mut machine = Machine::new();
    let mut random = Random(machine.seed);
    for round in 0..7 {
        let mut run = machine.start();
        // Sometimes in the middle of standing up after the cut before.
        if round % 3 == 2 {
            thread::sleep(Duration::from_millis(random.below(150)));
        } else {
            run.hear("acknowledged", 1);
            thread::sleep(Duration::from_millis(random.below(900)));
        }
        machine.cut(run);
        machine.check().await;
        println!("round {round}: {} acknowledged", machine.acknowledged.len());
    }
    assert!(machine.acknowledged.len() > 100, "too little was written to prove anything");
}

/// `fault` lasts a while, twice; then the power goes.
async fn survives(fault: &str, refusal: &str) -> Machine {
    let mut machine = Machine::new();
    let mut run = machine.start();
    for _ in 0..2 {
        run.hear("acknowledged", 50);
        fs::write(machine.fault(), fault).unwrap();
        run.hear(refusal, 20);
        fs::remove_file(machine.fault()).unwrap();
        run.hear("acknowledged", 50);
    }
    machine.cut(run);
    machine.check().await;
    // And once more, dark while the disk is broken.
    let mut run = machine.start();
    run.hear("acknowledged", 20);
    fs::write(machine.fault(), fault).unwrap();
    run.hear(refusal, 20);
    machine.cut(run);
    fs::remove_file(machine.fault()).unwrap();
    machine.check().await;
    println!("{} acknowledged", machine.acknowledged.len());
    machine
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_for_now_loses_nothing_and_recovers_by_itself() {
    let mut machine = survives("full", "refused full").await;
    // A start on a full disk: what is there can be read, and the rest comes with the room.
    fs::write(machine.fault(), "full").unwrap();
    let mut run = machine.start();
    run.hear("refused full", 20);
    fs::remove_file(machine.fault()).unwrap();
    run.hear("acknowledged", 50);
    machine.cut(run);
    machine.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_is_never_taken_for_a_success_and_heals_by_itself() {
    survives("sync", "refused engine").await;
}
