//! A stream that keeps commands and replies in step.
//!
//! lettre takes whatever line comes next for the reply to its last command. One line too many,
//! and every later reply answers the command before it: a 250 to RCPT would be taken for the
//! 250 to the dot, and a letter would be lost. This stream sits between lettre and TLS, knows
//! how many replies are due, and fails for good at the first octet that is not due.
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Octets of one reply line. RFC 5321 §4.5.3.1.5 says 512; a chatty server may say more.
pub(super) const REPLY_LINE_OCTETS_MAX: usize = 4_096;
/// Octets of all replies to one command, or to one pipelined group.
pub(super) const REPLY_OCTETS_MAX: usize = 65_536;
/// Characters of a line that are handed on.
const LINE_CHARACTERS_MAX: usize = 800;

/// What the conversation and its stream know together.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Replies that may still come.
    due: usize,
    /// Nothing may have come before we write: asked at the first write of a turn.
    silence_checked: bool,
    /// Asked at every write: no reply may come inside the content.
    silence_at_every_write: bool,
    /// Octets of replies in this turn.
    octets: usize,
    /// The lines of this turn.
    lines: Vec<String>,
    /// Why nothing counts any more.
    doubt: Option<String>,
    /// The server closed the connection.
    closed: bool,
}

impl Gate {
    /// A new turn: we write, then so many replies are due.
    pub(super) fn expect(&self, replies: usize) {
        let mut state = self.state();
        if state.due != 0 && state.doubt.is_none() {
            state.doubt = Some("a command before the reply to the last one".to_owned());
        }
        state.due = replies;
        state.silence_checked = false;
        state.silence_at_every_write = false;
        state.octets = 0;
        state.lines.clear();
    }

    /// A new turn: we write the content, and the one reply may come only behind all of it.
    pub(super) fn expect_after_silence(&self) {
        self.expect(1);
        self.state().silence_at_every_write = true;
    }

    /// The lines of this turn without their line ends.
    pub(super) fn last_reply(&self) -> Vec<String> {
        self.state().lines.clone()
    }

    /// Why nothing counts any more, if so.
    pub(super) fn doubt(&self) -> Option<String> {
        self.state().doubt.clone()
    }

    /// True when the server closed the connection.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Nothing more is expected of the server: it was silent for too long.
    pub(super) fn give_up(&self) {
        self.state().closed = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection is gone; without a farewell, often, and without TLS's either.
    fn lost(&self, error: io::Error) -> io::Error {
        self.state().closed = true;
        error
    }

    fn fail(&self, reason: &str) -> io::Error {
        self.state().doubt.get_or_insert_with(|| reason.to_owned());
        io::Error::other(reason.to_owned())
    }
}

/// TLS below, lettre above.
#[derive(Debug)]
pub(super) struct Guarded {
    inner: TlsStream<TcpStream>,
    gate: Arc<Gate>,
    /// A line that has not ended yet.
    line: Vec<u8>,
    /// Whole lines that lettre has not read yet.
    ready: Vec<u8>,
    read: usize,
}

impl Guarded {
    /// A stream on which a greeting has just come, because lettre wants to read one.
    pub(super) fn new(inner: TlsStream<TcpStream>, gate: Arc<Gate>) -> Self {
        Self { inner, gate, line: Vec::new(), ready: b"220 replayed\r\n".to_vec(), read: 0 }
    }

    /// Takes in what the server said, line by line.
    fn feed(&mut self, octets: &[u8]) -> io::Result<()> {
        for octet in octets {
            self.line.push(*octet);
            if *octet == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.hear(&line)?;
            } else if self.line.len() > REPLY_LINE_OCTETS_MAX {
                return Err(self.gate.fail("a reply line without an end"));
            }
        }
        Ok(())
    }

    /// One line of a reply, made plain: lettre refuses what is not UTF-8, and a code without a
    /// text, which RFC 5321 §4.2 asks clients to accept.
    fn hear(&mut self, line: &[u8]) -> io::Result<()> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut state = self.gate.state();
        if state.due == 0 && is_farewell(line) {
            state.closed = true;
            return Ok(());
        }
        state.octets += line.len();
        let reason = if line.len() < 3 || !line[..3].iter().all(u8::is_ascii_digit) {
            Some("not a reply")
        } else if state.due == 0 {
            Some("a reply to no command")
        } else if state.octets > REPLY_OCTETS_MAX {
            Some("a reply without an end")
        } else {
            None
        };
        if let Some(reason) = reason {
            drop(state);
            return Err(self.gate.fail(reason));
        }
        let plain =
            |octet: &u8| if matches!(octet, b' '..=b'~') { char::from(*octet) } else { '?' };
        let mut text: String = line.iter().take(LINE_CHARACTERS_MAX).map(plain).collect();
        if text.len() == 3 {
            text.push(' ');
        }
        if text.as_bytes()[3] != b'-' {
            state.due -= 1;
        }
        self.ready.extend_from_slice(text.as_bytes());
        self.ready.extend_from_slice(b"\r\n");
        state.lines.push(text);
        Ok(())
    }

    /// Before we speak the server must be silent: what it said already answers nothing.
    fn check_silence(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        {
            let mut state = self.gate.state();
            if state.silence_checked && !state.silence_at_every_write {
                return Ok(());
            }
            state.silence_checked = true;
        }
        if !self.line.is_empty() || self.read < self.ready.len() {
            return Err(self.gate.fail("a reply to no command"));
        }
        let mut octets = [0; 512];
        let mut buffer = ReadBuf::new(&mut octets);
        match Pin::new(&mut self.inner).poll_read(context, &mut buffer) {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(error)) => Err(self.gate.lost(error)),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() || is_farewell(buffer.filled()) => {
                Err(self.gate.lost(io::ErrorKind::ConnectionAborted.into()))
            }
            Poll::Ready(Ok(())) => Err(self.gate.fail("a reply before the end of the command")),
        }
    }
}

/// RFC 5321 §3.8: 421 is the one reply that may come to no command; the server hangs up. It can
/// be taken for no good news.
fn is_farewell(line: &[u8]) -> bool {
    line.starts_with(b"421")
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.read == this.ready.len() {
            this.ready.clear();
            this.read = 0;
            let mut octets = [0; 2_048];
            let mut below = ReadBuf::new(&mut octets);
            std::task::ready!(Pin::new(&mut this.inner).poll_read(context, &mut below))
                .map_err(|error| this.gate.lost(error))?;
            if below.filled().is_empty() {
                this.gate.state().closed = true;
                return Poll::Ready(Ok(()));
            }
            this.feed(below.filled())?;
        }
        let rest = &this.ready[this.read..];
        let some = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..some]);
        this.read += some;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check_silence(context)?;
        let written = Pin::new(&mut this.inner).poll_write(context, octets);
        written.map_err(|error| this.gate.lost(error))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

/// One guarded stream in two hands: lettre's for commands and replies, and ours for chunks of
/// content (RFC 3030), which lettre does not know. They take turns; nobody waits for the lock.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Guarded>>);

impl Shared {
    /// The first hand; clone it for the other.
    pub(super) fn new(guarded: Guarded) -> Self {
        Self(Arc::new(Mutex::new(guarded)))
    }

    fn stream(&self) -> MutexGuard<'_, Guarded> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Shared {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write(context, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Shared {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream().inner.get_ref().0.peer_addr()
    }
}
