//! Octets of one LDAP connection: whole messages in, answers out, a deadline on every wait.
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
use crate::infra::net::Stop;
use crate::proto::ldap::ber;
use crate::proto::ldap::ber::BadBer;

/// Octets that are asked for at once.
const READ_OCTETS: usize = 2_048;
/// Octets of answers that are gathered before they are sent.
const OUTPUT_OCTETS: usize = 32_768;

/// Why a session ends before it is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// The client hung up, or the network failed.
    Peer,
    /// Nothing was said, or nothing taken, for too long.
    Silent,
    /// What came is not LDAP, or too much.
    NotLdap(BadBer),
    /// The relay stops.
    Stopping,
    /// The login is over.
    Over,
}

/// One connection.
pub(super) struct Wire<S> {
    stream: S,
    stop: Stop,
    /// What has arrived and is not used; wiped, because it may be a password.
    input: Zeroizing<Vec<u8>>,
    output: Vec<u8>,
    /// Sending was given up in the middle of an answer: whatever followed would be misread.
    is_cut: bool,
    message_octets_max: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Buffers around a stream.
    pub(super) fn new(stream: S, stop: Stop, message_octets_max: usize) -> Self {
        let (input, output) = (Zeroizing::default(), Vec::new());
        Self { stream, stop, input, output, is_cut: false, message_octets_max }
    }

    /// Gives the stream back, for TLS.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// True when octets have arrived that nobody has read.
    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Says something; it leaves when there is enough of it, or when the client is waited for.
    pub(super) async fn say(&mut self, answer: &[u8]) -> Result<(), Gone> {
        self.output.extend_from_slice(answer);
        if self.output.len() >= OUTPUT_OCTETS { self.flush().await } else { Ok(()) }
    }

    /// Sends what was gathered.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        if !self.output.is_empty() {
            self.is_cut = true;
            let written = self.stream.write_all(&self.output);
            in_time(limits::LDAP_WRITE_TIMEOUT, written).await?;
            self.is_cut = false;
            self.output.clear();
        }
        in_time(limits::LDAP_WRITE_TIMEOUT, self.stream.flush()).await
    }

    /// The next whole message, which must have come before `until`.
    pub(super) async fn message(&mut self, until: Instant) -> Result<Zeroizing<Vec<u8>>, Gone> {
        loop {
            let whole = ber::message_octets(&self.input, self.message_octets_max);
            if let Some(octets) = whole.map_err(Gone::NotLdap)?
                && octets <= self.input.len()
            {
                let message = Zeroizing::new(self.input[..octets].to_vec());
                self.input[..octets].zeroize();
                self.input.drain(..octets);
                return Ok(message);
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
    pub(super) async fn close(&mut self, word: &[u8]) {
        self.output.extend_from_slice(word);
        let ending = async {
            if !self.is_cut {
                let _ = self.flush().await;
            }
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(limits::LDAP_STOP_GRACE, ending).await;
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
