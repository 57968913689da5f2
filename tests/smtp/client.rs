//! Our own small client: it says exactly what a test wants, however wrong.
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use vaguemestre::infra::net::Stop;
use vaguemestre::infra::net::StopHandle;
use vaguemestre::server::smtp::SmtpDoor;
use vaguemestre::server::smtp::attend;

use super::clerk::Clerk;
use super::tls::HOST;
use super::tls::PKI;
use super::tls::Shows;

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One end of a connection; a session sits at the other.
pub(super) struct Client {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
    /// Stops the relay, or proves that the session's task has ended well.
    pub(super) relay: Option<(StopHandle, JoinHandle<()>)>,
}

/// `AUTH PLAIN` of the one account.
pub(super) const LOGIN: &str = "AUTH PLAIN AGx1bmVAaG9waXRhbC5tc3NhbnRlLnRlc3QAc2VjcmV0";
pub(super) const MAIL: &str = "MAIL FROM:<lune@hopital.mssante.test>";
pub(super) const RCPT: &str = "RCPT TO:<martin@cabinet.mssante.test>";

impl Client {
    /// Connected, nothing read.
    pub(super) fn connect(clerk: &Arc<Clerk>, door: SmtpDoor) -> Self {
        let (ours, theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(65_536);
        let (handle, stop) = Stop::new();
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        let session = tokio::spawn(attend(Arc::clone(clerk), theirs, ip, door, stop));
        Self::on(ours, Some((handle, session)))
    }

    pub(super) fn on(
        stream: impl Stream + 'static,
        relay: Option<(StopHandle, JoinHandle<()>)>,
    ) -> Self {
        Self { stream: Box::new(stream), read: Vec::new(), relay }
    }

    /// Changes to TLS. An error is the peer's refusal.
    pub(super) async fn secure(self, shows: Shows) -> std::io::Result<Self> {
        assert!(self.read.is_empty(), "unread: {:?}", String::from_utf8_lossy(&self.read));
        let name = ServerName::try_from(HOST).unwrap();
        let stream = TlsConnector::from(PKI.client(shows)).connect(name, self.stream).await?;
        Ok(Self { stream: Box::new(stream), read: Vec::new(), relay: self.relay })
    }

    /// At the submission door, under TLS, EHLO said.
    pub(super) async fn people(clerk: &Arc<Clerk>) -> Self {
        let mut client = Self::connect(clerk, SmtpDoor::Submission);
        client.expect("220").await;
        client.talk(&[("EHLO pc.example", "250"), ("STARTTLS", "220")]).await;
        let mut client = client.secure(Shows::Nothing).await.unwrap();
        client.talk(&[("EHLO pc.example", "250")]).await;
        client
    }

    /// At the operators' door, under TLS, EHLO said and accepted.
    pub(super) async fn operator(clerk: &Arc<Clerk>, shows: Shows) -> Self {
        let mut client = Self::connect(clerk, SmtpDoor::Mx);
        client.expect("220").await;
        client.talk(&[("EHLO mx.cabinet.mssante.test", "250"), ("STARTTLS", "220")]).await;
        let mut client = client.secure(shows).await.unwrap();
        client.talk(&[("EHLO mx.cabinet.mssante.test", "250")]).await;
        client
    }

    /// At the submission door, logged in.
    pub(super) async fn logged_in(clerk: &Arc<Clerk>) -> Self {
        let mut client = Self::people(clerk).await;
        client.talk(&[(LOGIN, "235 2.7.0")]).await;
        client
    }

    /// Sends octets as they are.
    pub(super) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends, and does not mind that nobody listens any more.
    pub(super) async fn try_send(&mut self, octets: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(octets.as_ref()).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// A whole reply; empty when the connection has ended.
    pub(super) async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let Some(end) = self.read.windows(2).position(|window| window == b"\r\n") else {
                let mut buffer = [0; 4096];
                match self.stream.read(&mut buffer).await {
                    Ok(octets @ 1..) => self.read.extend_from_slice(&buffer[..octets]),
                    Ok(0) | Err(_) => {
                        assert!(self.read.is_empty(), "half a reply");
                        return reply;
                    }
                }
                continue;
            };
            let line: Vec<u8> = self.read.drain(..end + 2).collect();
            reply.push_str(std::str::from_utf8(&line).unwrap());
            if line.get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// Whatever comes until the connection ends.
    pub(super) async fn reply_octets(mut self) -> Vec<u8> {
        let mut octets = std::mem::take(&mut self.read);
        // A reset is an end as well.
        let _ = self.stream.read_to_end(&mut octets).await;
        octets
    }

    /// Says a line, answers the reply.
    pub(super) async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    /// The next reply begins so.
    pub(super) async fn expect(&mut self, beginning: &str) {
        let reply = self.reply().await;
        assert!(reply.starts_with(beginning), "expected {beginning}, got {reply:?}");
    }

    /// Says lines; each reply begins as given.
    pub(super) async fn talk(&mut self, script: &[(&str, &str)]) {
        for (line, beginning) in script {
            let reply = self.ask(line).await;
            assert!(reply.starts_with(beginning), "{line}: expected {beginning}, got {reply:?}");
        }
    }

    /// A letter up to its content, which goes out as it is; the reply to it.
    pub(super) async fn letter(&mut self, content: impl AsRef<[u8]>) -> String {
        self.talk(&[(MAIL, "250 2.1.0"), (RCPT, "250 2.1.5"), ("DATA", "354 ")]).await;
        self.send(content).await;
        self.reply().await
    }

    /// The connection ends, and the session with it, without a panic.
    pub(super) async fn expect_closed(mut self) {
        assert_eq!(self.reply().await, "", "the connection is still open");
        drop(self.stream);
        if let Some((_handle, session)) = self.relay {
            session.await.unwrap();
        }
    }
}
