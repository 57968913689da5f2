//! A client that costs little: it looks for the tagged line and counts octets.
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is read at once.
const ROOM: usize = 262_144;
/// The end of an answer is looked for in so much of it; the rest is only counted.
const TAIL: usize = 512;
/// So much of an answer is kept.
const SAID: usize = 1_024;

pub struct Client {
    stream: TlsStream<TcpStream>,
    tag: u32,
    buffer: Vec<u8>,
    /// The end of the last answer.
    said: Vec<u8>,
}

impl Client {
    pub async fn connect(door: SocketAddr, tls: &Arc<ClientConfig>) -> Self {
        let socket = TcpStream::connect(door).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::from(door.ip());
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, socket).await.unwrap();
        let mut client = Self { stream, tag: 0, buffer: Vec::new(), said: Vec::new() };
        client.until(|text| text.ends_with(b"\r\n")).await;
        client
    }

    /// Sends a command and reads to its OK; answers how many octets came.
    pub async fn run(&mut self, command: &str) -> usize {
        let tag = self.send(command.as_bytes(), &[]).await;
        self.tagged(&tag).await
    }

    /// Sends a command and reads to its OK; answers what was said, of a long answer the end.
    pub async fn ask(&mut self, command: &str) -> String {
        self.run(command).await;
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// APPEND to INBOX.
    pub async fn append(&mut self, letter: &[u8]) {
        let command = format!("APPEND INBOX {{{}+}}", letter.len());
        let tag = self.send(command.as_bytes(), &[b"\r\n", letter].concat()).await;
        self.tagged(&tag).await;
    }

    /// Sends octets as they are.
    pub async fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn send(&mut self, command: &[u8], more: &[u8]) -> String {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.write(&[tag.as_bytes(), b" ", command, more, b"\r\n"].concat()).await;
        tag
    }

    async fn tagged(&mut self, tag: &str) -> usize {
        let start = format!("\r\n{tag} ");
        let mut ok = false;
        let mut said = std::mem::take(&mut self.said);
        let octets = self
            .until(|text| {
                // The tagged line is the last one, and a line is whole when it ends.
                if !text.ends_with(b"\r\n") {
                    return false;
                }
                let tail = &text[text.len().saturating_sub(TAIL)..];
                let found = tail.windows(start.len()).rposition(|at| at == start.as_bytes());
                let line = match found {
                    Some(at) => &tail[at + 2..],
                    None if tail.starts_with(&start.as_bytes()[2..]) => tail,
                    None => return false,
                };
                ok = line[tag.len()..].starts_with(b" OK");
                assert!(ok, "{}", String::from_utf8_lossy(line));
                said.clear();
                said.extend_from_slice(&text[text.len().saturating_sub(SAID)..]);
                true
            })
            .await;
        assert!(ok);
        self.said = said;
        octets
    }

    /// Reads until what came last satisfies `done`; answers how many octets came.
    pub async fn until(&mut self, mut done: impl FnMut(&[u8]) -> bool) -> usize {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut octets = 0;
        loop {
            if buffer.len() > ROOM - TAIL {
                let keep = buffer.len() - TAIL;
                buffer.drain(..keep);
            }
            let before = buffer.len();
            if buffer.capacity() == 0 {
                // Thousands of idle clients hold no large buffers.
                buffer.reserve(TAIL);
            } else if buffer.len() == buffer.capacity() {
                buffer.reserve(ROOM - buffer.len());
            }
            let read = self.stream.read_buf(&mut buffer).await.unwrap();
            assert!(read > 0, "the server closed the connection");
            octets += buffer.len() - before;
            if done(&buffer) {
                break;
            }
        }
        if buffer.capacity() > TAIL {
            self.buffer = buffer;
        }
        octets
    }
}
