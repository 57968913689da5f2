//! A small SMTP server that says what its script says, right or wrong.
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// What the server does at a command.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Does what a good server does.
    Usual,
    /// Says these octets.
    Say(&'static str),
    /// Says these octets without waiting for the command: right after the reply before.
    SayEarly(&'static str),
    /// Says these octets and closes the connection.
    SayAndClose(&'static str),
    /// Says these octets and is gone, without TLS's farewell.
    SayAndVanish(&'static str),
    /// Closes the connection.
    Close,
    /// Says one octet of an endless reply a while.
    Drip,
    /// Says octets without a line end, for ever.
    Flood,
}

/// What the server does; commands are found by their beginning, `.` is the end of the content.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) greeting: &'static str,
    pub(super) clear_ehlo: &'static str,
    pub(super) starttls: &'static str,
    pub(super) ehlo: &'static str,
    pub(super) acts: Vec<(&'static str, Act)>,
}

impl Script {
    /// A server that does everything right and offers everything.
    pub(super) fn good() -> Self {
        Self {
            greeting: "220 mx.cabinet.test ESMTP\r\n",
            clear_ehlo: "250-mx.cabinet.test\r\n250 STARTTLS\r\n",
            starttls: "220 2.0.0 go\r\n",
            ehlo: "250-mx.cabinet.test\r\n250-PIPELINING\r\n250-SIZE 26214400\r\n250-8BITMIME\r\n\
                   250-SMTPUTF8\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES\r\n",
            acts: Vec::new(),
        }
    }

    /// A server that offers nothing.
    pub(super) fn plain() -> Self {
        Self { ehlo: "250 mx.cabinet.test\r\n", ..Self::good() }
    }

    pub(super) fn at(mut self, command: &'static str, act: Act) -> Self {
        self.acts.push((command, act));
        self
    }

    fn act(&self, command: &str) -> Act {
        let found = self.acts.iter().find(|(begin, _)| command.starts_with(begin));
        match found {
            Some((_, act)) if !matches!(act, Act::Usual) => act.clone(),
            _ if command.starts_with("EHLO") => Act::Say(self.ehlo),
            _ if command == "DATA" => Act::Say("354 go\r\n"),
            _ if command == "QUIT" => Act::Say("221 2.0.0 bye\r\n"),
            _ => Act::Say("250 2.0.0 ok\r\n"),
        }
    }

    /// What is said early, before `command` is read.
    fn early(&self, command: &str) -> Option<&'static str> {
        self.acts.iter().find_map(|(begin, act)| match act {
            Act::SayEarly(text) if *begin == command => Some(*text),
            _ => None,
        })
    }
}

/// What the server saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Command lines inside TLS.
    pub(super) commands: Vec<String>,
    /// Contents, with dots taken off, as sent between `354` and the last dot.
    pub(super) contents: Vec<Vec<u8>>,
    /// Octets that came in clear behind STARTTLS or without TLS.
    pub(super) clear: Vec<String>,
}

pub(super) struct Server {
    port: u16,
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(tls: Arc<rustls::ServerConfig>, script: Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, script, seen) = (tls.clone(), script.clone(), shared.clone());
                tokio::spawn(async move { serve(stream, tls, script, seen).await });
            }
        });
        Self { port, seen, task }
    }

    pub(super) fn next_hop(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    tls: Arc<rustls::ServerConfig>,
    script: Script,
    seen: Arc<Mutex<Seen>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(script.greeting.as_bytes()).await.ok()?;
    for reply in [script.clear_ehlo, script.starttls] {
        let line = line(&mut stream).await?;
        seen.lock().unwrap().clear.push(line);
        stream.write_all(reply.as_bytes()).await.ok()?;
    }
    let stream = TlsAcceptor::from(tls).accept(stream.into_inner()).await.ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let command = line(&mut stream).await?;
        seen.lock().unwrap().commands.push(command.clone());
        perform(&mut stream, &script, &command).await?;
        if command == "DATA"
            && matches!(script.act("DATA"), Act::Say(text) if text.starts_with('3'))
        {
            if let Some(early) = script.early(".") {
                stream.write_all(early.as_bytes()).await.ok()?;
                stream.flush().await.ok()?;
            }
            let content = content(&mut stream).await?;
            seen.lock().unwrap().contents.push(content);
            perform(&mut stream, &script, ".").await?;
        }
        if command == "QUIT" {
            return stream.shutdown().await.ok();
        }
    }
}

async fn perform(
    stream: &mut (impl AsyncWrite + Unpin),
    script: &Script,
    command: &str,
) -> Option<()> {
    match script.act(command) {
        Act::Say(text) => {
            stream.write_all(text.as_bytes()).await.ok()?;
            stream.flush().await.ok()
        }
        Act::SayAndClose(text) => {
            stream.write_all(text.as_bytes()).await.ok()?;
            stream.shutdown().await.ok()?;
            None
        }
        Act::SayAndVanish(text) => {
            stream.write_all(text.as_bytes()).await.ok()?;
            stream.flush().await.ok()?;
            None
        }
        Act::SayEarly(_) | Act::Usual => Some(()),
        Act::Close => None,
        Act::Drip => loop {
            stream.write_all(b"2").await.ok()?;
            stream.flush().await.ok()?;
            tokio::time::sleep(Duration::from_millis(300)).await;
        },
        Act::Flood => loop {
            stream.write_all(&[b'2'; 4_096]).await.ok()?;
            stream.flush().await.ok()?;
        },
    }
}

async fn line(stream: &mut (impl AsyncBufReadExt + AsyncRead + Unpin)) -> Option<String> {
    let mut line = String::new();
    let count = stream.read_line(&mut line).await.ok()?;
    (count > 0).then(|| line.trim_end_matches("\r\n").to_owned())
}

/// RFC 5321 §4.5.2, by the letter: a line is what CRLF ends.
async fn content(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if stream.read_until(b'\n', &mut line).await.ok()? == 0 {
                return None;
            }
        }
        if line == b".\r\n" {
            return Some(content);
        }
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
