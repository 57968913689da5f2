//! Octets of one POP3 connection: one line in, answers out, a deadline on every wait.
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use crate::domain::limits;
use crate::flow::login::live::Over;
use crate::infra::net::Stop;

/// Octets that are asked for at once.
const READ_OCTETS: usize = 1_024;
/// Octets of a letter that must leave within one write time.
pub(super) const PIECE_OCTETS: usize = 65_536;

/// Why a session ends before QUIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// The client hung up, or the network failed.
    Peer,
    /// Nothing was said, or nothing taken, for too long.
    Silent,
    /// A line without end.
    LongLine,
    /// A letter ended before its end.
    CutShort,
    /// The relay stops.
    Stopping,
    /// The login's session is over.
    Over(Over),
}

/// One connection.
pub(super) struct Wire<S> {
    stream: S,
    stop: Stop,
    /// What has arrived and is not used; wiped, because it may be a password.
    input: Zeroizing<Vec<u8>>,
    output: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Buffers around a stream.
    pub(super) fn new(stream: S, stop: Stop) -> Self {
        Self { stream, stop, input: Zeroizing::default(), output: Vec::new() }
    }

    /// Gives the stream back, for TLS.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// True when octets have arrived that nobody has read.
    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Gathers one answer line. It leaves when the input is used up (RFC 2449 §6.6: pipelined
    /// commands are answered in one go).
    pub(super) fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// Sends a letter or a long listing.
    pub(super) async fn send(&mut self, octets: &[u8]) -> Result<(), Gone> {
        self.flush().await?;
        for piece in octets.chunks(PIECE_OCTETS) {
            in_time(limits::IMAP_WRITE_TIMEOUT, self.stream.write_all(piece)).await?;
        }
        Ok(())
    }

    /// Sends what was gathered.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        if !self.output.is_empty() {
            let written = self.stream.write_all(&self.output);
            in_time(limits::IMAP_WRITE_TIMEOUT, written).await?;
            self.output.clear();
        }
        in_time(limits::IMAP_WRITE_TIMEOUT, self.stream.flush()).await
    }

    /// The next line without its line end, which must end before `until`. A bare LF ends a line as well:
    /// nothing follows from a line here that another reader could see differently.
    pub(super) async fn line(&mut self, until: Instant) -> Result<Zeroizing<Vec<u8>>, Gone> {
        loop {
            if let Some(end) = self.input.iter().position(|&octet| octet == b'\n') {
                if end >= limits::POP3_LINE_OCTETS_MAX {
                    return Err(Gone::LongLine);
                }
                let mut line = Zeroizing::new(self.input[..end].to_vec());
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                self.input[..=end].zeroize();
                self.input.drain(..=end);
                return Ok(line);
            }
            if self.input.len() >= limits::POP3_LINE_OCTETS_MAX {
                return Err(Gone::LongLine);
            }
            self.flush().await?;
            let mut room = Zeroizing::new([0; READ_OCTETS]);
            let mut stop = self.stop.clone();
            let read = tokio::select! {
                biased;
                () = stop.stopped() => return Err(Gone::Stopping),
                read = timeout_at(until, self.stream.read(&mut room[..])) => read,
            };
            match read {
                Err(_) => return Err(Gone::Silent),
                Ok(Ok(0) | Err(_)) => return Err(Gone::Peer),
                Ok(Ok(octets)) => self.input.extend_from_slice(&room[..octets]),
            }
        }
    }

    /// Says a last word, if anybody still listens.
    pub(super) async fn close(&mut self, word: Option<&str>) {
        if let Some(word) = word {
            self.say(word);
        }
        let ending = async {
            let _ = self.flush().await;
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(limits::POP3_STOP_GRACE, ending).await;
    }
}

async fn in_time<T>(
    patience: Duration,
    io: impl Future<Output = std::io::Result<T>>,
) -> Result<(), Gone> {
    match timeout(patience, io).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Gone::Peer),
        Err(_) => Err(Gone::Silent),
    }
}
