//! A ManageSieve client that says exactly what the test says.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::running::Running;

const PATIENCE: Duration = Duration::from_secs(30);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(crate) struct Client {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
    pub(crate) greeting: String,
}

impl Client {
    pub(crate) async fn in_clear(door: SocketAddr) -> Self {
        let stream = Box::new(TcpStream::connect(door).await.unwrap());
        let mut client = Self { stream, read: Vec::new(), greeting: String::new() };
        client.greeting = client.answer().await;
        client
    }

    /// After STARTTLS.
    pub(crate) async fn under_tls(running: &Running, operator: usize) -> Self {
        Self::under_tls_at(running.door(operator, "managesieve"), &running.tls()).await
    }

    async fn under_tls_at(door: SocketAddr, tls: &Arc<ClientConfig>) -> Self {
        let socket = TcpStream::connect(door).await.unwrap();
        let mut clear =
            Self { stream: Box::new(socket), read: Vec::new(), greeting: String::new() };
        clear.answer().await;
        let answer = clear.say("STARTTLS").await;
        assert!(answer.starts_with("OK"), "{answer}");
        let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
        let tls = TlsConnector::from(Arc::clone(tls));
        let stream = Box::new(tls.connect(name, clear.stream).await.unwrap());
        let mut client = Self { stream, read: Vec::new(), greeting: String::new() };
        client.greeting = client.answer().await;
        client
    }

    pub(crate) async fn logged_in(running: &Running, operator: usize, user: &str) -> Self {
        let (door, tls) = (running.door(operator, "managesieve"), running.tls());
        Self::logged_in_at(door, &tls, user, &running.password(user)).await
    }

    pub(crate) async fn logged_in_at(
        door: SocketAddr,
        tls: &Arc<ClientConfig>,
        user: &str,
        password: &str,
    ) -> Self {
        let mut client = Self::under_tls_at(door, tls).await;
        let answer = client.say(&login(user, password)).await;
        assert!(answer.starts_with("OK"), "{answer}");
        client
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn say(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes()).await;
        self.answer().await
    }

    /// Up to a line that is OK, NO or BYE, or to the end.
    pub(crate) async fn answer(&mut self) -> String {
        let begins = |line: &str| ["OK", "NO", "BYE"].iter().any(|word| line.starts_with(word));
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            let mut octets = 0;
            for line in text.split_inclusive("\r\n") {
                octets += line.len();
                if line.ends_with("\r\n") && begins(line) && !line.ends_with("}\r\n") {
                    self.read.drain(..octets);
                    return text[..octets].to_owned();
                }
            }
            match tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await {
                Err(_) => panic!("no answer after {text:?}"),
                Ok(Ok(0) | Err(_)) => return format!("{text}<closed>"),
                Ok(Ok(_)) => {}
            }
        }
    }

    pub(crate) async fn put(&mut self, name: &str, script: &str) -> String {
        self.say(&format!("PUTSCRIPT \"{name}\" {{{}+}}\r\n{script}", script.len())).await
    }

    /// Uploads a script and makes it the one that runs.
    pub(crate) async fn activate(&mut self, script: &str) {
        let answer = self.put("main", script).await;
        assert!(answer.starts_with("OK"), "{answer}");
        let answer = self.say("SETACTIVE \"main\"").await;
        assert!(answer.starts_with("OK"), "{answer}");
    }
}

pub(crate) fn login(user: &str, password: &str) -> String {
    format!("AUTHENTICATE \"PLAIN\" \"{}\"", STANDARD.encode(format!("\0{user}\0{password}")))
}
