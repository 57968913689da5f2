//! Another operator's server that says what a test wants.
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::support::running::Running;

/// Answers to RCPT of one local part: one an attempt, the last one for all later ones.
type Answers = HashMap<&'static str, Vec<&'static str>>;

struct Inner {
    tls: Arc<ServerConfig>,
    offers: &'static str,
    answers: Answers,
    tried: Mutex<HashMap<String, usize>>,
    contents: Mutex<Vec<Vec<u8>>>,
}

pub(super) struct Hop {
    pub(super) port: u16,
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

impl Hop {
    /// A server with the certificate of the demonstration's second operator. `offers` are lines of
    /// its EHLO reply (`250-…`).
    pub(super) async fn start(
        demo: &Running,
        offers: &'static str,
        answers: &[(&'static str, &[&'static str])],
    ) -> Self {
        let file = |name: &str| demo.json["operators"][1][name].as_str().unwrap().to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            tls: tls(Path::new(&file("mx_cert")), Path::new(&file("mx_key"))),
            offers,
            answers: answers.iter().map(|(name, all)| (*name, all.to_vec())).collect(),
            tried: Mutex::default(),
            contents: Mutex::default(),
        });
        let shared = Arc::clone(&inner);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&shared);
                tokio::spawn(async move { inner.serve(stream).await });
            }
        });
        Self { port, inner, task }
    }

    /// What it took.
    pub(super) fn contents(&self) -> Vec<Vec<u8>> {
        self.inner.contents.lock().unwrap().clone()
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn tls(certificate: &Path, key: &Path) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

impl Inner {
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        stream.write_all(b"220 mx.cabinet.test ESMTP\r\n").await.ok()?;
        for reply in ["250-mx.cabinet.test\r\n250 STARTTLS\r\n", "220 2.0.0 go\r\n"] {
            // One octet after the other: nothing of TLS may be read here.
            while stream.read_u8().await.ok()? != b'\n' {}
            stream.write_all(reply.as_bytes()).await.ok()?;
        }
        let stream = TlsAcceptor::from(Arc::clone(&self.tls)).accept(stream).await.ok()?;
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let reply = match line.get(..4)? {
                "EHLO" => format!("250-mx.cabinet.test\r\n{}250 8BITMIME\r\n", self.offers),
                "RCPT" => self.recipient(&line),
                "DATA" => {
                    stream.write_all(b"354 go\r\n").await.ok()?;
                    stream.flush().await.ok()?;
                    let mut content = Vec::new();
                    while !content.ends_with(b"\r\n.\r\n") {
                        stream.read_until(b'\n', &mut content).await.ok()?;
                    }
                    self.contents.lock().unwrap().push(content);
                    "250 2.0.0 Ok: queued as 4XyZ1234\r\n".to_owned()
                }
                "QUIT" => "221 2.0.0 bye\r\n".to_owned(),
                _ => "250 2.0.0 ok\r\n".to_owned(),
            };
            stream.write_all(reply.as_bytes()).await.ok()?;
            stream.flush().await.ok()?;
        }
    }

    fn recipient(&self, line: &str) -> String {
        let local_part = line["RCPT TO:<".len()..].split('@').next().unwrap();
        let mut tried = self.tried.lock().unwrap();
        let count = tried.entry(local_part.to_owned()).or_default();
        let answers = self.answers.get(local_part).map_or(&[][..], Vec::as_slice);
        let answer = answers.get(*count).or(answers.last()).unwrap_or(&"250 2.1.5 ok");
        *count += 1;
        format!("{answer}\r\n")
    }
}
