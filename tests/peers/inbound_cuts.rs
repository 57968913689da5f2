//! The connection is cut at each step of the dialogue: nothing half-done is seen, and the same
//! letter, sent again, is there exactly once.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::inbound_house::House;
use super::inbound_house::MAIL;
use super::inbound_house::Peer;
use super::inbound_house::RCPT;
use super::inbound_house::letter;

/// One step of a dialogue.
#[derive(Clone)]
enum Step {
    /// Say this line, wait for the reply.
    Ask(String),
    /// Send these octets and wait for nothing.
    Send(String),
    /// Wait for a reply.
    Hear,
    /// The TLS handshake.
    Secure,
}

use Step::Ask;
use Step::Hear;
use Step::Secure;
use Step::Send;

fn opening() -> Vec<Step> {
    let ehlo = || Ask("EHLO mx.cabinet.test".to_owned());
    let to = [Ask(MAIL.to_owned()), Ask(RCPT.to_owned())];
    [vec![Hear, ehlo(), Ask("STARTTLS".to_owned()), Secure, ehlo()], to.to_vec()].concat()
}

/// With DATA, its content in pieces that end in awkward places.
fn by_data(content: &str) -> Vec<Step> {
    let half_line = content.find("From:").unwrap() + 3;
    let body = content.find("Bonjour").unwrap();
    let letter = [
        Ask("DATA".to_owned()),
        Send(content[..half_line].to_owned()),
        Send(content[half_line..body].to_owned()),
        Send(content[body..content.len() - 1].to_owned()),
        Send("\n".to_owned()),
        Send(".".to_owned()),
        Send("\r".to_owned()),
        Send("\n".to_owned()),
        Hear,
        Ask("NOOP".to_owned()),
        Ask("QUIT".to_owned()),
    ];
    [opening(), letter.to_vec()].concat()
}

/// With BDAT, in two chunks.
fn by_chunks(content: &str) -> Vec<Step> {
    let (first, last) = content.split_at(content.find("From:").unwrap() + 3);
    let letter = [
        Send(format!("BDAT {}\r\n", first.len())),
        Send(first[..10].to_owned()),
        Send(first[10..].to_owned()),
        Hear,
        Send(format!("BDAT {} LA", last.len())),
        Send("ST\r\n".to_owned()),
        Send(last[..10].to_owned()),
        Send(last[10..].to_owned()),
        Hear,
        Ask("QUIT".to_owned()),
    ];
    [opening(), letter.to_vec()].concat()
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The network takes it away: a reset.
    Reset,
    /// The peer's process ends: FIN, without a word in TLS.
    Close,
}

/// Plays so many steps and is gone.
async fn play(door: SocketAddr, tls: &Arc<ClientConfig>, steps: &[Step], cut: Cut) {
    let stream = TcpStream::connect(door).await.unwrap();
    if let Cut::Reset = cut {
        stream.set_zero_linger().unwrap();
    }
    let mut peer = Peer::on(stream);
    for step in steps {
        match step {
            Ask(line) => {
                let reply = peer.ask(line).await;
                assert!(reply.starts_with(['2', '3']), "{line}: {reply:?}");
            }
            Send(octets) => peer.send(octets).await,
            Hear => {
                let reply = peer.reply().await;
                assert!(reply.starts_with('2'), "{reply:?}");
            }
            Secure => peer = peer.secure(tls).await.unwrap(),
        }
    }
}

async fn check(dialogue: fn(&str) -> Vec<Step>, cut: Cut) {
    let house = House::new().await;
    let tls = house.tls(Some(&house.files("cabinet")));
    let length = dialogue(&letter("x")).len();
    for step in 0..length {
        let name = format!("letter-{step}-{cut:?}").to_lowercase();
        let content = letter(&name);
        let steps = dialogue(&content);
        // Everything that ends the content is the octet (or chunk) before the last reply.
        let is_whole = steps[step..].iter().filter(|step| matches!(step, Send(_))).count() == 0;
        play(house.door, &tls, &steps[..step], cut).await;
        if !is_whole {
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert_eq!(house.letters().await as usize, step, "half a letter at step {step}");
        }
        play(house.door, &tls, &steps, Cut::Close).await;
        // The cut session may still be at work on its copy: it must not add a second one.
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(house.letters().await as usize, step + 1, "after step {step} ({cut:?})");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(house.letters().await as usize, length);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_by_data_that_is_cut_anywhere_arrives_once_when_it_is_sent_again() {
    check(by_data, Cut::Close).await;
    check(by_data, Cut::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_by_chunks_that_is_cut_anywhere_arrives_once_when_it_is_sent_again() {
    check(by_chunks, Cut::Close).await;
    check(by_chunks, Cut::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_cut_leaves_the_door_open_for_others() {
    let house = House::new().await;
    for hello in [
        &b""[..],
        b"\x16",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x15\x03\x01\0\x02\x02\x28",
    ] {
        let mut peer = house.connect().await;
        peer.talk(&[("EHLO x.test", "250"), ("STARTTLS", "220")]).await;
        peer.send(hello).await;
    }
    let mut silent = TcpStream::connect(house.door).await.unwrap();
    silent.shutdown().await.unwrap();
    assert!(house.honest().await.deliver(&letter("after")).await.starts_with("250"));
    assert_eq!(house.letters().await, 1);
}
