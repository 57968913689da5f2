//! An IMAP client that reads every response into values: what the tests' models look at.
//!
//! It is deliberately strict: a response that it cannot read is a failure of the server.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A server that says nothing for so long is broken, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// A value inside a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// An atom, a number, a flag, NIL, or an item with brackets such as `BODY[1]`.
    Atom(String),
    /// A quoted string or a literal.
    Text(Vec<u8>),
    /// `(…)`
    List(Vec<Value>),
}

impl Value {
    pub(crate) fn atom(&self) -> Option<&str> {
        match self {
            Self::Atom(text) => Some(text),
            _ => None,
        }
    }

    /// An atom or a string.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Atom(text) => Some(text.clone()),
            Self::Text(octets) => Some(String::from_utf8_lossy(octets).into_owned()),
            Self::List(_) => None,
        }
    }

    pub(crate) fn number(&self) -> Option<u64> {
        self.atom()?.parse().ok()
    }

    pub(crate) fn list(&self) -> &[Self] {
        match self {
            Self::List(values) => values,
            _ => &[],
        }
    }
}

/// An untagged response: its words behind `*`. A response code is the words of `code`.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) words: Vec<Value>,
    /// Of OK, NO, BAD, BYE and PREAUTH.
    pub(crate) code: Option<String>,
    /// As it came, for messages of failures.
    pub(crate) raw: String,
}

impl Response {
    /// `* 12 EXISTS`: the number, if it is a response of this name.
    pub(crate) fn numbered(&self, name: &str) -> Option<u32> {
        let is_named = self.words.get(1)?.atom()?.eq_ignore_ascii_case(name);
        is_named.then(|| self.words[0].number())?.and_then(|number| u32::try_from(number).ok())
    }

    /// The words behind the name, if it has this one.
    pub(crate) fn named(&self, name: &str) -> Option<&[Value]> {
        let is_named = self.words.first()?.atom()?.eq_ignore_ascii_case(name);
        is_named.then(|| &self.words[1..])
    }

    /// An item of a FETCH response.
    pub(crate) fn item(&self, name: &str) -> Option<&Value> {
        self.numbered("FETCH")?;
        let items = self.words.get(2)?.list();
        let pairs = items.chunks(2);
        let is_wanted = |pair: &&[Value]| {
            pair.len() == 2 && pair[0].atom().is_some_and(|atom| atom.eq_ignore_ascii_case(name))
        };
        pairs.into_iter().find(is_wanted).map(|pair| &pair[1])
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    No,
    Bad,
}

/// All that came in answer to a command.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    /// Of the tagged line, without brackets.
    pub(crate) code: Option<String>,
    pub(crate) text: String,
    pub(crate) untagged: Vec<Response>,
}

impl Answer {
    /// The first response of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&[Value]> {
        self.untagged.iter().find_map(|response| response.named(name))
    }

    /// Every response code, the tagged one's last.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &str> {
        let untagged = self.untagged.iter().filter_map(|response| response.code.as_deref());
        untagged.chain(self.code.as_deref())
    }

    /// What stands behind the name of a code, e.g. `COPYUID`.
    pub(crate) fn code_of(&self, name: &str) -> Option<String> {
        self.codes().find_map(|code| {
            let (found, rest) = code.split_once(' ').unwrap_or((code, ""));
            found.eq_ignore_ascii_case(name).then(|| rest.to_owned())
        })
    }

    /// The status, and an error that quotes everything when it is another one.
    pub(crate) fn expect(self, status: Status) -> anyhow::Result<Self> {
        if self.status != status {
            bail!("expected {status:?}: {} {:?}", self.text, self.codes().collect::<Vec<_>>());
        }
        Ok(self)
    }
}

/// A connection over TLS.
pub(crate) struct Client {
    stream: BufReader<TlsStream<TcpStream>>,
    tag: u32,
    bye: Option<String>,
    /// Capabilities after login.
    pub(crate) capabilities: Vec<String>,
}

impl Client {
    /// Connects to the `imaps` door and logs in.
    pub(crate) async fn open(
        door: SocketAddr,
        tls: &Arc<ClientConfig>,
        user: &str,
        password: &str,
    ) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(door).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::from(door.ip());
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, socket).await?;
        let stream = BufReader::new(stream);
        let mut client = Self { stream, tag: 0, bye: None, capabilities: Vec::new() };
        let greeting = client.response().await?;
        if greeting.named("OK").is_none() {
            bail!("greeting: {}", greeting.raw);
        }
        client.ok(&format!("LOGIN \"{user}\" \"{password}\"")).await?;
        let answer = client.ok("CAPABILITY").await?;
        let words = answer.find("CAPABILITY").context("no CAPABILITY response")?;
        client.capabilities = words.iter().filter_map(Value::text).collect();
        Ok(client)
    }

    /// What the server said when it closed, although the last command was answered.
    pub(crate) fn closing(&self) -> Option<&str> {
        self.bye.as_deref()
    }

    pub(crate) fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known.eq_ignore_ascii_case(capability))
    }

    /// Sends a command and reads up to its tagged line.
    pub(crate) async fn say(&mut self, command: &str) -> anyhow::Result<Answer> {
        self.say_octets(command.as_bytes()).await
    }

    /// [`Client::say`], wanting OK.
    pub(crate) async fn ok(&mut self, command: &str) -> anyhow::Result<Answer> {
        let answer = self.say(command).await?;
        let shown = command.get(..60).unwrap_or(command).to_owned();
        answer.expect(Status::Ok).with_context(|| shown)
    }

    /// A command that is not text, or holds non-synchronising literals.
    pub(crate) async fn say_octets(&mut self, command: &[u8]) -> anyhow::Result<Answer> {
        self.begin(command).await?;
        self.finish().await
    }

    /// Sends a command without waiting for its end, e.g. `IDLE`.
    pub(crate) async fn begin(&mut self, command: &[u8]) -> anyhow::Result<()> {
        if let Some(bye) = &self.bye {
            bail!("the server closes: {bye}");
        }
        self.tag += 1;
        let mut line = format!("t{} ", self.tag).into_bytes();
        line.extend_from_slice(command);
        line.extend_from_slice(b"\r\n");
        self.write(&line).await
    }

    /// Octets as they are, e.g. `DONE`.
    pub(crate) async fn write(&mut self, octets: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(octets).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// Reads up to the tagged line of the last command.
    pub(crate) async fn finish(&mut self) -> anyhow::Result<Answer> {
        let tag = format!("t{}", self.tag);
        let mut untagged = Vec::new();
        loop {
            let octets = self.octets().await?;
            let raw = String::from_utf8_lossy(&octets).into_owned();
            if octets.starts_with(b"* ") {
                let response = parse(&octets)?;
                if response.named("BYE").is_some() {
                    self.bye = Some(raw);
                }
                untagged.push(response);
                continue;
            }
            if octets.starts_with(b"+") {
                continue;
            }
            let Some(rest) = raw.trim_end().strip_prefix(&format!("{tag} ")) else {
                bail!("an answer to another command than {tag}: {raw}");
            };
            let (status, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let status = match status {
                "OK" => Status::Ok,
                "NO" => Status::No,
                "BAD" => Status::Bad,
                _ => bail!("no tagged answer: {raw}"),
            };
            return Ok(Answer { status, code: code(text), text: text.to_owned(), untagged });
        }
    }

    /// One untagged response or continuation.
    pub(crate) async fn response(&mut self) -> anyhow::Result<Response> {
        let octets = self.octets().await?;
        if octets.starts_with(b"+") {
            let raw = String::from_utf8_lossy(&octets).into_owned();
            return Ok(Response { words: vec![Value::Atom("+".to_owned())], code: None, raw });
        }
        parse(&octets)
    }

    /// A response if one comes within this time. Only octets that are there are taken.
    pub(crate) async fn response_within(
        &mut self,
        time: Duration,
    ) -> anyhow::Result<Option<Response>> {
        match tokio::time::timeout(time, self.stream.fill_buf()).await {
            Err(_) => Ok(None),
            Ok(Ok([])) => bail!("the server closed the connection"),
            Ok(Ok(_)) => self.response().await.map(Some),
            Ok(Err(error)) => Err(error.into()),
        }
    }

    async fn octets(&mut self) -> anyhow::Result<Vec<u8>> {
        let read = tokio::time::timeout(PATIENCE, self.read()).await;
        let read = read.context("the server is silent")?;
        // After BYE the tagged line may still come, and must, if the command was carried out.
        read.with_context(|| match &self.bye {
            Some(bye) => format!("the server closes: {bye}"),
            None => "reading".to_owned(),
        })
    }

    /// A line with the literals in it.
    async fn read(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            if self.stream.read_until(b'\n', &mut whole).await? == 0 {
                bail!("the server closed the connection");
            }
            let Some(octets) = announced_literal(&whole) else { return Ok(whole) };
            let start = whole.len();
            whole.resize(start + octets, 0);
            self.stream.read_exact(&mut whole[start..]).await?;
        }
    }
}

/// Numbers of a set such as `1:3,7`.
pub(crate) fn numbers(set: &str) -> anyhow::Result<Vec<u32>> {
    let mut all = Vec::new();
    for part in set.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let (first, last): (u32, u32) =
            (first.parse().context("a set")?, last.parse().context("a set")?);
        all.extend(first.min(last)..=first.max(last));
    }
    Ok(all)
}

/// `{12}CRLF` or `~{12}CRLF` at the end of what was read.
fn announced_literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = line.iter().rposition(|octet| *octet == b'{')?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}

fn code(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[')?;
    Some(inner.split_once(']')?.0.to_owned())
}

fn parse(octets: &[u8]) -> anyhow::Result<Response> {
    let raw = String::from_utf8_lossy(octets).into_owned();
    let line = octets.strip_prefix(b"* ").with_context(|| format!("no response: {raw}"))?;
    let line = line.strip_suffix(b"\r\n").with_context(|| format!("no whole line: {raw}"))?;
    let text = String::from_utf8_lossy(line);
    let first = text.split(' ').next().unwrap_or_default().to_ascii_uppercase();
    if ["OK", "NO", "BAD", "BYE", "PREAUTH"].contains(&first.as_str()) {
        let rest = text[first.len()..].trim_start();
        return Ok(Response { words: vec![Value::Atom(first)], code: code(rest), raw });
    }
    let mut reader = Words { line, at: 0 };
    let mut words = Vec::new();
    while reader.at < line.len() {
        words.push(reader.value().with_context(|| format!("unreadable: {raw}"))?);
        // Threads stand side by side (RFC 5256 §5).
        if reader.at < line.len() && reader.peek() != Some(b'(') {
            reader.eat(b' ').with_context(|| format!("unreadable: {raw}"))?;
            // RFC 3501 §9: no response ends with a space, but an empty SEARCH of some servers.
            if reader.at == line.len() {
                bail!("a space at the end of {raw}");
            }
        }
    }
    Ok(Response { words, code: None, raw })
}

struct Words<'l> {
    line: &'l [u8],
    at: usize,
}

impl Words<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn eat(&mut self, octet: u8) -> anyhow::Result<()> {
        if self.peek() != Some(octet) {
            bail!("{:?} was expected at {}", char::from(octet), self.at);
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self) -> anyhow::Result<Value> {
        match self.peek().context("a value is missing")? {
            b'(' => self.list(),
            b'"' => self.quoted(),
            b'{' => self.literal(),
            b'~' if self.line.get(self.at + 1) == Some(&b'{') => {
                self.at += 1;
                self.literal()
            }
            _ => self.bare(),
        }
    }

    fn list(&mut self) -> anyhow::Result<Value> {
        self.eat(b'(')?;
        let mut values = Vec::new();
        while self.peek() != Some(b')') {
            // BODYSTRUCTURE writes its parts, and ENVELOPE its addresses, without spaces.
            if !values.is_empty() && self.peek() == Some(b' ') {
                self.at += 1;
            }
            values.push(self.value()?);
        }
        self.eat(b')')?;
        Ok(Value::List(values))
    }

    fn quoted(&mut self) -> anyhow::Result<Value> {
        self.eat(b'"')?;
        let mut text = Vec::new();
        loop {
            match self.peek().context("an open string")? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    text.push(self.peek().context("an open string")?);
                }
                b'\r' | b'\n' => bail!("a line end in a quoted string"),
                other => text.push(other),
            }
            self.at += 1;
        }
        self.eat(b'"')?;
        Ok(Value::Text(text))
    }

    fn literal(&mut self) -> anyhow::Result<Value> {
        self.eat(b'{')?;
        let close = self.line[self.at..].iter().position(|octet| *octet == b'}');
        let close = self.at + close.context("an open literal")?;
        let octets: usize = std::str::from_utf8(&self.line[self.at..close])?.parse()?;
        let start = close + 3;
        let text = self.line.get(start..start + octets).context("a short literal")?.to_vec();
        self.at = start + octets;
        Ok(Value::Text(text))
    }

    /// An atom; `BODY[HEADER.FIELDS (TO)]<0>` is one.
    fn bare(&mut self) -> anyhow::Result<Value> {
        let start = self.at;
        let mut depth = 0;
        while let Some(octet) = self.peek() {
            match octet {
                b'[' => depth += 1,
                b']' => depth -= 1,
                b' ' | b'(' | b')' if depth <= 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        if self.at == start {
            bail!("a value is missing at {start}");
        }
        Ok(Value::Atom(String::from_utf8_lossy(&self.line[start..self.at]).into_owned()))
    }
}
