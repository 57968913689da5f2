//! A small SMTP server that says what its script says, right or wrong.
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use vaguemestre::domain::delivery::MailHost;

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
    /// Says nothing any more, and stays.
    Hang,
}

/// What the server does; commands are found by their beginning. Moments without a command have
/// names: `<connect>`, `<clear EHLO>`, `<STARTTLS>`, `<handshake>`, `<content>` (in its middle),
/// and `.` is the end of the content, by a dot or by BDAT LAST.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) greeting: &'static str,
    pub(super) clear_ehlo: &'static str,
    pub(super) starttls: &'static str,
    pub(super) ehlo: &'static str,
    pub(super) acts: Vec<(&'static str, Act)>,
    /// The acts happen on one connection only, after so many letters on it.
    pub(super) once_after: Option<usize>,
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
            once_after: None,
        }
    }

    /// A server that offers nothing.
    pub(super) fn plain() -> Self {
        Self { ehlo: "250 mx.cabinet.test\r\n", ..Self::good() }
    }

    /// A good server that takes chunks.
    pub(super) fn chunking() -> Self {
        Self {
            ehlo: "250-mx.cabinet.test\r\n250-PIPELINING\r\n250-SIZE 26214400\r\n250-8BITMIME\r\n\
                   250-SMTPUTF8\r\n250-DSN\r\n250 CHUNKING\r\n",
            ..Self::good()
        }
    }

    pub(super) fn once_after(mut self, letters: usize) -> Self {
        self.once_after = Some(letters);
        self
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
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(tls: Arc<rustls::ServerConfig>, script: Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, mut script, seen) = (tls.clone(), script.clone(), shared.clone());
                if counted.fetch_add(1, Ordering::SeqCst) > 0 && script.once_after.is_some() {
                    script.acts.clear();
                }
                tokio::spawn(async move { serve(stream, tls, script, seen).await });
            }
        });
        Self { port, seen, connections, task }
    }

    pub(super) fn hosts(&self) -> Vec<MailHost> {
        vec![MailHost::at(Ipv4Addr::LOCALHOST.into(), self.port)]
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
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
    let good = Script { acts: Vec::new(), ..script.clone() };
    let spoiled = script.clone();
    let mut letters = 0;
    // The acts, from the letter on for which they are meant.
    let script = |letters: usize| match spoiled.once_after {
        Some(after) if letters < after => &good,
        _ => &spoiled,
    };
    moment(&mut stream, script(0), "<connect>").await?;
    stream.write_all(script(0).greeting.as_bytes()).await.ok()?;
    for (name, reply) in
        [("<clear EHLO>", script(0).clear_ehlo), ("<STARTTLS>", script(0).starttls)]
    {
        let line = line(&mut stream).await?;
        seen.lock().unwrap().clear.push(line);
        moment(&mut stream, script(0), name).await?;
        stream.write_all(reply.as_bytes()).await.ok()?;
    }
    if script(0).acts.iter().any(|(name, _)| *name == "<handshake>") {
        stream.read_u8().await.ok()?;
        moment(&mut stream, script(0), "<handshake>").await?;
    }
    let stream = TlsAcceptor::from(tls).accept(stream.into_inner()).await.ok()?;
    let mut stream = BufReader::new(stream);
    let mut chunks = Vec::new();
    loop {
        let command = line(&mut stream).await?;
        seen.lock().unwrap().commands.push(command.clone());
        let script = script(letters);
        if let Some(chunk) = command.strip_prefix("BDAT ") {
            let last = chunk.ends_with(" LAST");
            let octets: usize = chunk.trim_end_matches(" LAST").parse().unwrap();
            let middle = octets / 2;
            let mut content = vec![0; middle];
            stream.read_exact(&mut content).await.ok()?;
            moment(&mut stream, script, "<content>").await?;
            content.resize(octets, 0);
            stream.read_exact(&mut content[middle..]).await.ok()?;
            chunks.extend_from_slice(&content);
            if last {
                seen.lock().unwrap().contents.push(std::mem::take(&mut chunks));
                letters += 1;
            }
            perform(&mut stream, script, if last { "." } else { "BDAT" }).await?;
            continue;
        }
        perform(&mut stream, script, &command).await?;
        if command == "DATA"
            && matches!(script.act("DATA"), Act::Say(text) if text.starts_with('3'))
        {
            if let Some(early) = script.early(".") {
                stream.write_all(early.as_bytes()).await.ok()?;
                stream.flush().await.ok()?;
            }
            if script.acts.iter().any(|(name, _)| *name == "<content>") {
                stream.read_u8().await.ok()?;
                moment(&mut stream, script, "<content>").await?;
            }
            let content = content(&mut stream).await?;
            seen.lock().unwrap().contents.push(content);
            letters += 1;
            perform(&mut stream, script, ".").await?;
        }
        if command == "QUIT" {
            return stream.shutdown().await.ok();
        }
    }
}

/// A moment at which a good server does nothing of its own.
async fn moment(
    stream: &mut (impl AsyncWrite + Unpin),
    script: &Script,
    name: &'static str,
) -> Option<()> {
    match script.acts.iter().any(|(begin, _)| *begin == name) {
        true => perform(stream, script, name).await,
        false => Some(()),
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
        Act::Hang => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            None
        }
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
