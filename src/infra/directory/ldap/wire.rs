//! A connection to a directory server: TLS, and messages that are bounded before they are read.
//!
//! The LDAP library reads a message of any length, and one in another without an end. What comes
//! from the server is therefore cut into messages here, looked at, and handed on by a socket pair.
use std::net::IpAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

use crate::domain::limits;

/// RFC 4511 §4.14.1: an extended request with the OID 1.3.6.1.4.1.1466.20037, as message 1.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const EXTENDED_RESPONSE: u8 = 0x78;

/// Where a server listens, and how nobody else does.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// As the configuration says it, for logs.
    pub(super) url: String,
    name: String,
    port: u16,
    security: Security,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    /// From the first octet.
    Tls,
    /// After a question.
    StartTls,
    /// None: this machine only.
    Plain,
}

impl Host {
    /// `ldaps://host`, `ldap://host`, each with a port or without.
    ///
    /// # Errors
    /// What is wrong with it, for the administrator.
    pub(super) fn parse(url: &str, start_tls: bool) -> Result<Self, String> {
        let (rest, security, default) = if let Some(rest) = url.strip_prefix("ldaps://") {
            (rest, Security::Tls, 636)
        } else if let Some(rest) = url.strip_prefix("ldap://") {
            (rest, if start_tls { Security::StartTls } else { Security::Plain }, 389)
        } else {
            return Err(format!("{url} is neither ldaps:// nor ldap://"));
        };
        let (name, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((six, port)) => (six, port.strip_prefix(':')),
            None => match rest.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map_or(Ok(default), |port| {
            port.parse().map_err(|_| format!("{url} has no port that is a number"))
        })?;
        let is_local = name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if security == Security::Plain && !is_local {
            return Err(format!("{url} is another machine, and passwords would travel in clear"));
        }
        if ServerName::try_from(name.to_owned()).is_err() {
            return Err(format!("{url} has no host name"));
        }
        Ok(Self { url: url.to_owned(), name: name.to_owned(), port, security })
    }

    pub(super) fn is_plain(&self) -> bool {
        self.security == Security::Plain
    }

    /// Opens a connection and hands out our end of it, with the octets that came from the server.
    /// It ends when our end is dropped.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn connect(
        &self,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<(StdUnixStream, Arc<AtomicUsize>), String> {
        let stream = TcpStream::connect((self.name.as_str(), self.port)).await.map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        let (near, far) = StdUnixStream::pair().map_err(told)?;
        far.set_nonblocking(true).map_err(told)?;
        let far = UnixStream::from_std(far).map_err(told)?;
        let octets = Arc::new(AtomicUsize::new(0));
        if self.is_plain() {
            // A name may lead elsewhere than it says.
            if !stream.peer_addr().map_err(told)?.ip().is_loopback() {
                return Err("the name leads to another machine".to_owned());
            }
            tokio::spawn(carry(stream, far, Arc::clone(&octets)));
            return Ok((near, octets));
        }
        let tls = tls.ok_or("no anchors")?;
        let stream = match self.security {
            Security::StartTls => start_tls(stream).await?,
            _ => stream,
        };
        let name = ServerName::try_from(self.name.clone()).map_err(told)?;
        let connecting = tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, stream);
        let stream = connecting.await.map_err(|error| format!("TLS: {error}"))?;
        tokio::spawn(carry(stream, far, Arc::clone(&octets)));
        Ok((near, octets))
    }
}

/// Exactly one answer is read in clear; were there more octets, TLS would stumble over them.
async fn start_tls(mut stream: TcpStream) -> Result<TcpStream, String> {
    stream.write_all(START_TLS).await.map_err(told)?;
    let answer = message(&mut stream).await.map_err(told)?;
    let agreed = || {
        let (SEQUENCE, mut body, _) = element(&answer)? else { return None };
        let (INTEGER, [1], rest) = element(body)? else { return None };
        body = rest;
        let (EXTENDED_RESPONSE, result, _) = element(body)? else { return None };
        let (ENUMERATED, [code], _) = element(result)? else { return None };
        Some(*code)
    };
    match agreed() {
        Some(0) => Ok(stream),
        Some(code) => Err(format!("StartTLS is refused (result {code})")),
        None => Err("StartTLS is answered by something else".to_owned()),
    }
}

/// Carries messages until either side ends, or the server sends what nobody should read.
async fn carry<S>(stream: S, near: UnixStream, octets: Arc<AtomicUsize>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut from_server, mut to_server) = io::split(stream);
    let (mut from_us, mut to_us) = near.into_split();
    let up = async {
        let ended = io::copy(&mut from_us, &mut to_server).await;
        let _ = to_server.shutdown().await;
        ended.map(|_| ())
    };
    let down = async {
        loop {
            let message = message(&mut from_server).await?;
            let so_far = octets.fetch_add(message.len(), Ordering::Relaxed);
            if so_far + message.len() > limits::LDAP_ANSWER_OCTETS_MAX {
                return Err(io::Error::other("the answer is too long"));
            }
            to_us.write_all(&message).await?;
        }
    };
    let ended: io::Result<()> = tokio::select! {
        ended = up => ended,
        ended = down => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the LDAP directory ended");
    }
}

/// One LDAP message, whole, not too long and not too deep.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let unreadable = |why: &'static str| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut message = vec![0; 2];
    stream.read_exact(&mut message).await?;
    if message[0] != SEQUENCE {
        return Err(unreadable("this is not LDAP"));
    }
    // RFC 4511 §5.1: lengths are definite. Four octets say more than we take.
    let more = match message[1] {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x84 => {
            let mut digits = vec![0; usize::from(long & 0x7f)];
            stream.read_exact(&mut digits).await?;
            message.extend_from_slice(&digits);
            digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
        }
        _ => return Err(unreadable("a length without an end")),
    };
    if more > limits::LDAP_ANSWER_OCTETS_MAX {
        return Err(unreadable("the answer is too long"));
    }
    let begins = message.len();
    // Room for what has come, not for what was announced.
    let mut rest = stream.take(more as u64);
    rest.read_to_end(&mut message).await?;
    if message.len() - begins < more {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !is_sound(&message) {
        return Err(unreadable("an answer that nobody can read"));
    }
    Ok(message)
}

/// True when elements lie in each other as they should, not too deep: the library's reader calls
/// itself for each level.
fn is_sound(message: &[u8]) -> bool {
    let mut open: Vec<&[u8]> = vec![message];
    while let Some(rest) = open.pop() {
        if rest.is_empty() {
            continue;
        }
        let Some((tag, content, rest)) = element(rest) else { return false };
        open.push(rest);
        if tag & 0x20 != 0 {
            open.push(content);
        }
        if open.len() > limits::LDAP_DEPTH_MAX {
            return false;
        }
    }
    true
}

/// The first element: its tag, its content, and what stands behind it.
fn element(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = octets.split_first()?;
    // Tags of more octets do not occur in LDAP.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers_are_read_and_clear_text_stays_at_home() {
        let host = Host::parse("ldaps://ldap1.hopital.fr", true).unwrap();
        assert_eq!((host.name.as_str(), host.port), ("ldap1.hopital.fr", 636));
        let host = Host::parse("ldap://[::1]:3389", false).unwrap();
        assert_eq!((host.name.as_str(), host.port, host.is_plain()), ("::1", 3_389, true));
        let host = Host::parse("ldap://10.0.0.1:3389", true).unwrap();
        assert_eq!((host.port, host.security), (3_389, Security::StartTls));
        for (wrong, start_tls) in [
            ("ldap://ldap1.hopital.fr", false),
            ("ldap://10.0.0.1", false),
            ("ldap://localhost.hopital.fr", false),
            ("ldaps://host:port", true),
            ("ldaps://host:99999", true),
            ("ldaps://", true),
            ("http://host", true),
        ] {
            assert!(Host::parse(wrong, start_tls).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn messages_are_bounded_before_they_are_read() {
        let good = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00".to_vec();
        assert_eq!(message(&mut good.as_slice()).await.unwrap(), good);
        let mut announced = b"\x30\x84\x7f\xff\xff\xff".to_vec();
        announced.extend_from_slice(&[0; 100]);
        let endless = b"\x30\x80\x02\x01\x01\x00\x00".to_vec();
        let torn = good[..good.len() - 1].to_vec();
        let lying = b"\x30\x05\x02\x09\x01\x61\x07".to_vec();
        let other = b"HTTP/1.1 400 Bad Request\r\n".to_vec();
        let mut deep = Vec::new();
        for _ in 0..50 {
            let inner = deep.len() as u8;
            deep.splice(0..0, [SEQUENCE, inner]);
        }
        for wrong in [announced, endless, torn, lying, other, deep] {
            assert!(message(&mut wrong.as_slice()).await.is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_question_for_tls_is_one_message() {
        assert!(is_sound(START_TLS));
        assert_eq!(START_TLS.len(), 31);
    }
}
