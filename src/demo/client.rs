//! A small mail client: what the demonstration, the benchmark and the tests send and read with.
//!
//! It speaks just enough SMTP and IMAP over TLS to be a user of this relay. Anything but the
//! expected answer is an error that quotes it.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use anyhow::bail;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// TLS that trusts the certificate authorities of one PEM file.
pub fn trusting(ca_file: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).context("CA file")? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

type Stream = BufReader<TlsStream<TcpStream>>;

async fn connect(address: SocketAddr, tls: &Arc<ClientConfig>) -> anyhow::Result<Stream> {
    let socket = TcpStream::connect(address).await.with_context(|| format!("{address}"))?;
    socket.set_nodelay(true)?;
    let name = ServerName::from(address.ip());
    Ok(BufReader::new(TlsConnector::from(Arc::clone(tls)).connect(name, socket).await?))
}

/// An SMTP session on the `submissions` door, logged in.
pub struct Submission(Stream);

impl Submission {
    /// Connects, greets, logs in.
    pub async fn open(
        address: SocketAddr,
        tls: &Arc<ClientConfig>,
        user: &str,
        password: &str,
    ) -> anyhow::Result<Self> {
        let mut session = Self(connect(address, tls).await?);
        session.expect("220").await?;
        session.command("EHLO client.test", "250").await?;
        let plain = STANDARD.encode(format!("\0{user}\0{password}"));
        session.command(&format!("AUTH PLAIN {plain}"), "235").await?;
        Ok(session)
    }

    /// Sends one letter; the answer is the text behind the final 250.
    pub async fn send(
        &mut self,
        from: &str,
        to: &[&str],
        content: &[u8],
    ) -> anyhow::Result<String> {
        // RFC 2920 §3.1: the envelope may go in one packet.
        let mut envelope = format!("MAIL FROM:<{from}> SIZE={}\r\n", content.len());
        to.iter().for_each(|to| envelope.push_str(&format!("RCPT TO:<{to}>\r\n")));
        envelope.push_str("DATA\r\n");
        self.0.write_all(envelope.as_bytes()).await?;
        self.0.flush().await?;
        self.expect("250").await?;
        for _ in to {
            self.expect("250").await?;
        }
        self.expect("354").await?;
        self.0.write_all(&dot_stuffed(content)).await?;
        self.0.flush().await?;
        self.expect("250").await
    }

    /// Sends a command and wants this code.
    pub async fn command(&mut self, line: &str, code: &str) -> anyhow::Result<String> {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.0.flush().await?;
        self.expect(code).await
    }

    async fn expect(&mut self, code: &str) -> anyhow::Result<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await? == 0 {
                bail!("the relay closed the connection where {code} was expected");
            }
            if !line.starts_with(code) {
                bail!("expected {code}, got {}", line.trim_end());
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                return Ok(line[4..].trim_end().to_owned());
            }
        }
    }
}

/// CRLF line ends, leading dots doubled, `CRLF.CRLF` at the end (RFC 5321 §4.5.2).
pub fn dot_stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 40 + 16);
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        let bare = line.strip_suffix(b"\n").map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        out.extend_from_slice(bare.unwrap_or(line));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// An IMAP session on the `imaps` door, logged in.
pub struct Imap {
    stream: Stream,
    tag: u32,
}

impl Imap {
    /// Connects and logs in.
    pub async fn open(
        address: SocketAddr,
        tls: &Arc<ClientConfig>,
        user: &str,
        password: &str,
    ) -> anyhow::Result<Self> {
        let mut session = Self { stream: connect(address, tls).await?, tag: 0 };
        let greeting = session.response().await?;
        if !greeting.starts_with(b"* OK") {
            bail!("IMAP greeting: {}", String::from_utf8_lossy(&greeting));
        }
        session.command(&format!("LOGIN \"{user}\" \"{password}\"")).await?;
        Ok(session)
    }

    /// Sends a command; answers its untagged responses, literals included. An answer other than
    /// OK is an error.
    pub async fn command(&mut self, command: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        self.tag += 1;
        let tag = format!("c{}", self.tag);
        self.stream.write_all(format!("{tag} {command}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        let mut untagged = Vec::new();
        loop {
            let response = self.response().await?;
            match response.strip_prefix(tag.as_bytes()) {
                None => untagged.push(response),
                Some(rest) if rest.starts_with(b" OK") => return Ok(untagged),
                Some(rest) => bail!("IMAP answered{}", String::from_utf8_lossy(rest).trim_end()),
            }
        }
    }

    /// Sends octets as they are, e.g. `DONE`.
    pub async fn write(&mut self, octets: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(octets).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// One response line with the literals in it.
    pub async fn response(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            if self.stream.read_until(b'\n', &mut whole).await? == 0 {
                bail!("the relay closed the IMAP connection");
            }
            let Some(octets) = announced_literal(&whole) else { return Ok(whole) };
            let start = whole.len();
            whole.resize(start + octets, 0);
            self.stream.read_exact(&mut whole[start..]).await?;
        }
    }

    /// How many letters in INBOX have this Message-ID.
    pub async fn count_in_inbox(&mut self, message_id: &str) -> anyhow::Result<usize> {
        self.command("SELECT INBOX").await?;
        let found = self.command(&format!("UID SEARCH HEADER Message-ID \"{message_id}\"")).await?;
        let line = found.iter().find(|line| line.starts_with(b"* SEARCH"));
        let line = String::from_utf8_lossy(line.context("no SEARCH response")?).into_owned();
        Ok(line.split_whitespace().skip(2).count())
    }
}

/// `…{123}CRLF` at the end of what was read.
fn announced_literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = line.iter().rposition(|octet| *octet == b'{')?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}
