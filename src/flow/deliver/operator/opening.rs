//! Connect, greeting, EHLO, STARTTLS, TLS, and whose certificate it is.
use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::domain::delivery::MailHost;
use crate::domain::limits::CONNECT_TIMEOUT;
use crate::domain::limits::TLS_HANDSHAKE_TIMEOUT;
use crate::flow::deliver::operator::Handover;
use crate::flow::deliver::operator::commands::Offers;
use crate::flow::deliver::operator::contact::Contact;
use crate::flow::deliver::operator::contact::Said;
use crate::flow::deliver::operator::guarded::REPLY_OCTETS_MAX;
use crate::flow::deliver::operator::peer::Peer;
use crate::flow::deliver::operator::reply::Trouble;

/// A TLS connection to a listed operator, ready for EHLO. There is no way without TLS. How far
/// it came, and what was shown, is in `contact`, whatever becomes of it.
pub(super) async fn open(
    handover: &Handover<'_>,
    host: &MailHost,
    address: SocketAddr,
    contact: &mut Contact,
) -> Result<(TlsStream<TcpStream>, Peer), Trouble> {
    *contact = Contact::begin(host, address);
    if !is_host_name(handover.client_name) {
        return Err(Trouble::later(3, 5, "our own name is not a host name"));
    }
    let name = ServerName::try_from(host.name.clone())
        .map_err(|_| Trouble::later(3, 5, "the next hop is not a host name or address"))?;
    contact.said = Said::Nothing;
    let connect = TcpStream::connect(address);
    let patience = CONNECT_TIMEOUT.min(handover.timeout);
    let mut stream = match tokio::time::timeout(patience, connect).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Trouble::later(4, 1, &format!("no connection: {error}"))),
        Err(_) => return Err(Trouble::later(4, 1, "no connection in time")),
    };
    // Commands are short, and each waits for its reply.
    stream.set_nodelay(true).map_err(lost)?;
    start_tls(&mut stream, handover.client_name).await?;
    let handshake = TlsConnector::from(handover.tls.clone()).connect(name, stream);
    let stream = match tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Trouble::later(7, 5, &format!("no TLS: {error}"))),
        Err(_) => return Err(Trouble::later(7, 5, "no TLS handshake in time")),
    };
    let connection = stream.get_ref().1;
    contact.tls = tls_words(connection);
    let chain = connection.peer_certificates().unwrap_or_default();
    // Whom we refuse is there all the same: perhaps another domain's letter may go to it.
    contact.said = Said::Unclear;
    let peer = Peer::judge(&handover.demands, chain, contact).await?;
    contact.said = Said::Nothing;
    Ok((stream, peer))
}

/// `TLSv1.3 TLS13_AES_256_GCM_SHA384`.
fn tls_words(connection: &rustls::ClientConnection) -> Option<String> {
    let version = format!("{:?}", connection.protocol_version()?).replace('_', ".");
    let suite = connection.negotiated_cipher_suite()?.suite();
    Some(format!("{version} {}", suite.as_str().unwrap_or("unknown suite")))
}

/// In clear: the greeting, EHLO, STARTTLS (RFC 3207 §4).
async fn start_tls(stream: &mut TcpStream, client_name: &str) -> Result<(), Trouble> {
    let (code, lines) = read_reply(stream).await?;
    check(220, code, &lines)?;
    stream.write_all(format!("EHLO {client_name}\r\n").as_bytes()).await.map_err(lost)?;
    let (code, lines) = read_reply(stream).await?;
    check(250, code, &lines)?;
    // Everything else in this reply could come from anybody and is forgotten.
    if !Offers::read(&lines).starttls {
        return Err(Trouble::later(7, 4, "the server does not offer STARTTLS"));
    }
    stream.write_all(b"STARTTLS\r\n").await.map_err(lost)?;
    let (code, lines) = read_reply(stream).await?;
    check(220, code, &lines)
}

/// Trouble before TLS is never the letter's fault and may come from anybody on the way: no 5xx
/// here may return a letter.
fn check(expected: u16, code: u16, lines: &[String]) -> Result<(), Trouble> {
    if code == expected {
        return Ok(());
    }
    Err(Trouble::later(4, 1, &format!("{expected} was expected, not: {}", lines.join(" "))))
}

/// One whole reply and nothing behind it. Octets behind a reply in clear are either a server
/// that does not wait for commands, or the STARTTLS injection (CVE-2011-0411 and its kin).
async fn read_reply(stream: &mut TcpStream) -> Result<(u16, Vec<String>), Trouble> {
    let mut octets = Vec::new();
    let mut chunk = [0; 1_024];
    loop {
        let count = stream.read(&mut chunk).await.map_err(lost)?;
        if count == 0 {
            return Err(Trouble::later(4, 2, "the server closed the connection"));
        }
        octets.extend_from_slice(&chunk[..count]);
        if octets.len() > REPLY_OCTETS_MAX {
            return Err(Trouble::doubt("a reply without an end"));
        }
        if let Some(reply) = whole_reply(&octets)? {
            return Ok(reply);
        }
    }
}

/// `None` while the last line has not come.
fn whole_reply(octets: &[u8]) -> Result<Option<(u16, Vec<String>)>, Trouble> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = octets;
    while let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
        let (line, behind) = rest.split_at(end + 1);
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches(['\r', '\n']);
        let code = line
            .get(..3)
            .filter(|code| code.bytes().all(|octet| octet.is_ascii_digit()))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| Trouble::doubt("not a reply"))?;
        let same = lines.last().is_none_or(|last| last.get(..3) == line.get(..3));
        if !same {
            return Err(Trouble::doubt("one reply with two codes"));
        }
        lines.push(line.to_owned());
        match line.as_bytes().get(3) {
            Some(b'-') => {}
            None | Some(b' ') if behind.is_empty() => return Ok(Some((code, lines))),
            None | Some(b' ') => return Err(Trouble::doubt("octets behind a reply in clear")),
            Some(_) => return Err(Trouble::doubt("not a reply")),
        }
        rest = behind;
    }
    Ok(None)
}

fn lost(error: std::io::Error) -> Trouble {
    Trouble::later(4, 2, &format!("connection lost: {error}"))
}

/// Nothing that could end a line gets into a command.
fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-[]:".contains(&octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_in_clear_is_whole_and_alone() {
        let whole = |text: &str| whole_reply(text.as_bytes());
        assert_eq!(whole("220 mx\r\n").unwrap().unwrap().0, 220);
        assert_eq!(whole("220\r\n").unwrap().unwrap().0, 220);
        assert_eq!(whole("250-mx\r\n250 STARTTLS\r\n").unwrap().unwrap().1.len(), 2);
        for unfinished in ["", "220", "220 mx", "250-mx\r\n", "250-mx\r\n250 STARTTLS"] {
            assert_eq!(whole(unfinished).unwrap(), None, "{unfinished:?}");
        }
        for wrong in
            ["220 go\r\n2", "220 go\r\n250 x\r\n", "hello\r\n", "250-a\r\n220 b\r\n", "250+a\r\n"]
        {
            assert!(whole(wrong).is_err(), "{wrong:?} was accepted");
        }
    }
}
