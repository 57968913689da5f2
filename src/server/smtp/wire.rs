//! Octets of one connection: one buffer in, one buffer out, a deadline on every wait.
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::time;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use crate::domain::limits;
use crate::flow::login::live::Over;
use crate::proto::smtp::line::Expecting;
use crate::proto::smtp::line::Line;
use crate::proto::smtp::line::LineFinder;
use crate::proto::smtp::reply::Reply;

/// How long an ended connection may take to take leave.
const LEAVE: Duration = Duration::from_secs(2);
/// Octets that are read and forgotten while taking leave.
const LEAVE_OCTETS_MAX: usize = 1_048_576;

/// Why a conversation cannot go on.
#[derive(Debug)]
pub(super) enum Lost {
    /// The peer hung up.
    HungUp,
    /// The network or TLS failed.
    Broken(io::Error),
    /// Nothing, or not enough, came in time.
    TimedOut,
    /// The relay stops.
    Stopping,
    /// The login's session is over.
    Ended(Over),
    /// A refused letter goes on without end.
    TooMuch,
}

/// A stream with its buffers.
pub(super) struct Wire<S> {
    stream: S,
    /// Wiped in the end: letters pass through it in clear.
    inbox: Zeroizing<Vec<u8>>,
    /// What has arrived and is not used stands at `begin..end` of the inbox.
    begin: usize,
    end: usize,
    finder: LineFinder,
    outbox: Vec<u8>,
    /// For a whole answer to leave, and for the next octets of a content to come.
    patience: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Buffers around `stream`.
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            inbox: Zeroizing::new(vec![0; limits::SMTP_READ_OCTETS]),
            begin: 0,
            end: 0,
            finder: LineFinder::default(),
            outbox: Vec::with_capacity(512),
            patience,
        }
    }

    /// Queues a reply. It leaves when the input is drained (RFC 2920 §3.2), so that a batch of
    /// commands costs one write.
    pub(super) fn say(&mut self, reply: &Reply) {
        reply.write_to(&mut self.outbox);
    }

    /// Sends what was said.
    pub(super) async fn flush(&mut self) -> Result<(), Lost> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        let (stream, outbox) = (&mut self.stream, &self.outbox);
        in_time(self.patience, async {
            stream.write_all(outbox).await?;
            stream.flush().await
        })
        .await?;
        self.outbox.clear();
        Ok(())
    }

    /// What has arrived and is not used.
    pub(super) fn arrived(&self) -> &[u8] {
        &self.inbox[self.begin..self.end]
    }

    /// These octets are used.
    pub(super) fn used(&mut self, octets: usize) {
        self.begin += octets;
        assert!(self.begin <= self.end, "used more than arrived");
    }

    /// Waits for the next octets of a content. Says what was said first: the peer may wait for it.
    pub(super) async fn more(&mut self) -> Result<(), Lost> {
        self.flush().await?;
        let patience = self.patience;
        in_time(patience, self.fill()).await
    }

    /// The next line. It may begin whenever `beginning` allows, but once begun it must end
    /// within `line`: a client that sends one octet a minute does not keep a task.
    pub(super) async fn line(
        &mut self,
        expecting: Expecting,
        line: Duration,
        give_up: impl Future<Output = Lost>,
    ) -> Result<Line<'_>, Lost> {
        let found = match self.find(expecting) {
            Some(found) => found,
            None => {
                self.flush().await?;
                if self.begin == self.end {
                    let patience = self.patience;
                    tokio::select! {
                        biased;
                        filled = in_time(patience, self.fill()) => filled?,
                        lost = give_up => return Err(lost),
                    }
                }
                let rest = async {
                    loop {
                        match self.find(expecting) {
                            Some(found) => return Ok(found),
                            None => self.fill().await?,
                        }
                    }
                };
                in_time(line, rest).await?
            }
        };
        Ok(match found {
            Found::Whole(begin, end) => Line::Whole(&self.inbox[begin..end]),
            Found::BadEnds => Line::BadEnds,
            Found::TooLong => Line::TooLong,
        })
    }

    /// Forgets the octets that were used: there was a password among them.
    pub(super) fn wipe_used(&mut self) {
        self.inbox[..self.begin].zeroize();
        self.inbox[self.end..].zeroize();
    }

    /// The stream alone. What has arrived and was not used is lost: the caller has made sure
    /// that there is nothing.
    pub(super) fn into_stream(self) -> S {
        assert!(self.begin == self.end && self.outbox.is_empty(), "octets would be lost");
        self.stream
    }

    /// Sends what was said and takes leave. Closing a socket with unread input resets it, and
    /// the peer would not see our last reply; so the input is read for a moment.
    pub(super) async fn leave(&mut self) {
        let leave = async {
            self.flush().await?;
            self.stream.shutdown().await.map_err(Lost::Broken)?;
            let mut forgotten = 0;
            while forgotten < LEAVE_OCTETS_MAX {
                self.begin = self.end;
                self.fill().await.map_err(Lost::Broken)?;
                forgotten += self.end - self.begin;
            }
            Ok::<(), Lost>(())
        };
        // However it ends, the connection is over.
        let _ = time::timeout(LEAVE, leave).await;
    }

    fn find(&mut self, expecting: Expecting) -> Option<Found> {
        let begin = self.begin;
        let (used, line) = self.finder.find(&self.inbox[begin..self.end], expecting);
        self.begin += used;
        Some(match line? {
            Line::Whole(text) => Found::Whole(begin, begin + text.len()),
            Line::BadEnds => Found::BadEnds,
            Line::TooLong => Found::TooLong,
        })
    }

    /// Reads once. Safe to cancel: what was read is kept.
    async fn fill(&mut self) -> io::Result<()> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        } else if self.end == self.inbox.len() {
            self.inbox.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        let room = &mut self.inbox[self.end..];
        assert!(!room.is_empty(), "a line is shorter than the inbox");
        match self.stream.read(room).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            octets => {
                self.end += octets;
                Ok(())
            }
        }
    }
}

/// A line's place in the inbox.
enum Found {
    Whole(usize, usize),
    BadEnds,
    TooLong,
}

async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Lost> {
    match time::timeout(patience, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Lost::HungUp),
        Ok(Err(error)) => Err(Lost::Broken(error)),
        Err(_) => Err(Lost::TimedOut),
    }
}
