//! One connection: octets in and out, each with a deadline.
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio::time::timeout_at;
use zeroize::Zeroize;

use crate::domain::limits;
use crate::flow::login::live::Over;
use crate::infra::net::Stop;
use crate::proto::managesieve::Reader;
use crate::proto::managesieve::Step;

/// Octets of input that are asked for at once.
const INPUT_OCTETS: usize = 4_096;

/// What a stream must do.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Why a connection ends before LOGOUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// The client hung up, or the network failed.
    Peer,
    /// Nothing was said for too long, or a command did not get on.
    Slow,
    /// The relay stops.
    Stopping,
    /// The login's session is over.
    Over(Over),
}

/// One connection.
pub(super) struct Line<S> {
    stream: S,
    reader: Reader,
    input: BytesMut,
    output: Vec<u8>,
    stop: Stop,
    /// For a whole command once it has begun.
    command: Duration,
    /// Without a command.
    idle: Duration,
    /// When login must be done; `None` afterwards.
    login_until: Option<Instant>,
}

impl<S: Stream> Line<S> {
    /// A stranger's connection.
    pub(super) fn new(stream: S, stop: Stop, command: Duration) -> Self {
        Self {
            stream,
            reader: Reader::new(),
            input: BytesMut::new(),
            output: Vec::new(),
            stop,
            command,
            idle: limits::MANAGESIEVE_LOGIN_TIMEOUT,
            login_until: Some(from_now(limits::MANAGESIEVE_LOGIN_TIMEOUT)),
        }
    }

    /// From now on the other side is somebody we know.
    pub(super) fn logged_in(&mut self, idle: Duration) {
        (self.login_until, self.idle) = (None, idle);
        self.reader.set_octets_max(limits::MANAGESIEVE_COMMAND_OCTETS_MAX);
    }

    /// Nobody again.
    pub(super) fn logged_out(&mut self) {
        self.idle = limits::MANAGESIEVE_LOGIN_TIMEOUT;
        self.login_until = Some(from_now(self.idle));
        self.reader.set_octets_max(limits::MANAGESIEVE_STRANGER_OCTETS_MAX);
    }

    /// True when octets have arrived that nobody has read.
    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Gives the stream back, for TLS.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// Where answers are gathered.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends what was gathered and waits for what the client says next.
    pub(super) async fn step(&mut self) -> Result<Step, Gone> {
        let mut begun_until = None;
        loop {
            while !self.input.is_empty() {
                let (used, step) = self.reader.feed(&self.input);
                // What was read may have been a password or a script.
                self.input[..used].zeroize();
                let _ = self.input.split_to(used);
                if let Some(step) = step {
                    return Ok(step);
                }
            }
            self.flush().await?;
            let mut until = match self.reader.is_begun() {
                true => *begun_until.get_or_insert_with(|| from_now(self.command)),
                false => from_now(self.idle),
            };
            if let Some(login) = self.login_until {
                until = until.min(login);
            }
            self.input = BytesMut::with_capacity(INPUT_OCTETS);
            let read = timeout_at(until, self.stream.read_buf(&mut self.input));
            tokio::select! {
                biased;
                () = self.stop.stopped() => return Err(Gone::Stopping),
                read = read => match read {
                    Err(_) => return Err(Gone::Slow),
                    Ok(Ok(0) | Err(_)) => return Err(Gone::Peer),
                    Ok(Ok(_)) => {}
                },
            }
        }
    }

    /// Sends what was gathered.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        if self.output.is_empty() {
            return Ok(());
        }
        let sending = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        let sent = timeout(limits::MANAGESIEVE_WRITE_TIMEOUT, sending).await;
        self.output.zeroize();
        self.output = Vec::new();
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone::Peer),
            Err(_) => Err(Gone::Slow),
        }
    }

    /// Sends what was gathered and ends the connection.
    pub(super) async fn hang_up(&mut self) {
        let ending = async {
            let _ = self.flush().await;
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(limits::MANAGESIEVE_STOP_GRACE, ending).await;
    }
}

fn from_now(duration: Duration) -> Instant {
    sleep(duration).deadline()
}
