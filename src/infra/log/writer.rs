//! Lines to standard error, without ever holding the relay up: a full pipe, a stopped terminal or
//! a slow journal costs log lines and not mail.
use std::io;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for a slow reader; more are counted and dropped.
const LINES_WAITING_MAX: usize = 8_192;
/// How long the end of the program waits for a reader that does not read.
const PATIENCE_AT_END: Duration = Duration::from_secs(2);

/// Hands finished lines to the writing thread. Cheap to clone.
#[derive(Clone)]
pub(super) struct LineWriter {
    lines: mpsc::SyncSender<Job>,
    dropped: Arc<AtomicU64>,
}

/// Ends the writing thread when dropped.
pub(super) struct WriterGuard {
    lines: mpsc::SyncSender<Job>,
    done: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Line(Vec<u8>),
    End,
}

impl LineWriter {
    /// Starts the thread that writes to `paper`.
    pub(super) fn start(paper: impl Write + Send + 'static) -> (Self, WriterGuard) {
        let (lines, jobs) = mpsc::sync_channel(LINES_WAITING_MAX);
        let (finished, done) = mpsc::channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&dropped);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                write_all(paper, &jobs, &count);
                let _ = finished.send(());
            })
            .ok();
        (Self { lines: lines.clone(), dropped }, WriterGuard { lines, done, thread })
    }
}

impl Write for LineWriter {
    /// tracing-subscriber hands over one whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Job::Line(one_line(line))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        // The queue may be full behind a reader that does not read: then nobody reads this either.
        let ended = self.lines.try_send(Job::End).is_ok();
        if ended
            && self.done.recv_timeout(PATIENCE_AT_END).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn write_all(mut paper: impl Write, jobs: &mpsc::Receiver<Job>, dropped: &AtomicU64) {
    while let Ok(Job::Line(line)) = jobs.recv() {
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(paper, "({lost} log lines were dropped: nobody read them in time)");
        }
        let _ = paper.write_all(&line);
    }
    let _ = paper.flush();
}

/// A line feed inside a value would let a peer forge the next line of the log.
fn one_line(line: &[u8]) -> Vec<u8> {
    let (text, end) = match line.split_last() {
        Some((b'\n', text)) => (text, &b"\n"[..]),
        _ => (line, &b""[..]),
    };
    let mut clean = Vec::with_capacity(line.len() + 1);
    for octet in text {
        match octet {
            b'\n' => clean.extend_from_slice(b"\\n"),
            b'\r' => clean.extend_from_slice(b"\\r"),
            other => clean.push(*other),
        }
    }
    clean.extend_from_slice(end);
    clean
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A reader that stopped reading, until the lock is given back.
    struct Stuck(Arc<Mutex<()>>, Paper);

    impl Write for Stuck {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let _wait = self.0.lock().unwrap();
            self.1.write(octets)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_lines_are_written_before_the_program_ends() {
        let paper = Paper::default();
        let (mut lines, guard) = LineWriter::start(paper.clone());
        for number in 0..1_000 {
            writeln!(lines, "{number}").unwrap();
        }
        drop(guard);
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with("999\n"), "{text}");
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_no_time() {
        let (lock, paper) = (Arc::new(Mutex::new(())), Paper::default());
        let stuck = lock.lock().unwrap();
        let (mut lines, guard) = LineWriter::start(Stuck(Arc::clone(&lock), paper.clone()));
        for _ in 0..LINES_WAITING_MAX + 100 {
            lines.write_all(b"line\n").unwrap();
        }
        assert!(lines.dropped.load(Ordering::Relaxed) >= 99);
        drop(stuck);
        while lines.dropped.load(Ordering::Relaxed) > 0 {
            let _ = lines.lines.try_send(Job::Line(b"again\n".to_vec()));
            std::thread::yield_now();
        }
        drop(guard);
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("log lines were dropped"));
    }

    #[test]
    fn a_value_cannot_forge_a_line() {
        assert_eq!(one_line(b"a\r\nERROR b\n"), b"a\\r\\nERROR b\n");
    }
}
