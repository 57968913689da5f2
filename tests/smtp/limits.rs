//! Time, numbers, bugs and the end: no client keeps a task, no task takes others with it.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::time;
use tokio::time::Instant;
use vaguemestre::domain::status::Refusal;
use vaguemestre::infra::net::Stop;
use vaguemestre::infra::net::StopHandle;
use vaguemestre::server::smtp::SmtpDoor;
use vaguemestre::server::smtp::serve_at;

use super::clerk::Clerk;
use super::client::Client;
use super::client::MAIL;
use super::client::RCPT;
use super::tls::Shows;

#[tokio::test(start_paused = true)]
async fn a_client_of_one_octet_a_minute_is_cut_with_421() {
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Submission);
    client.expect("220").await;
    let begun = Instant::now();
    for octet in "EHLO pc".bytes() {
        if !client.try_send([octet]).await {
            break;
        }
        time::sleep(Duration::from_secs(59)).await;
    }
    client.expect("421 4.4.2").await;
    assert!(begun.elapsed() < Duration::from_secs(500));
    client.expect_closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_cut_after_the_command_timeout() {
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Submission);
    client.expect("220").await;
    let begun = Instant::now();
    client.expect("421 4.4.2").await;
    assert_eq!(begun.elapsed().as_secs(), 300);
    client.expect_closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_content_of_one_octet_a_minute_is_cut_after_the_data_timeout() {
    let clerk = Clerk::new();
    for begin in ["DATA\r\n", "BDAT 100\r\n"] {
        let mut client = Client::logged_in(&clerk).await;
        client.talk(&[(MAIL, "250"), (RCPT, "250")]).await;
        client.send(begin).await;
        if begin.starts_with("DATA") {
            client.expect("354").await;
        }
        for _ in 0..16 {
            client.try_send("a").await;
            time::sleep(Duration::from_secs(60)).await;
        }
        client.expect("421 4.4.2").await;
        client.expect_closed().await;
    }
    assert!(clerk.letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_shakes_no_hands_is_cut() {
    let clerk = Clerk::new();
    let client = Client::connect(&clerk, SmtpDoor::Submissions);
    let begun = Instant::now();
    client.expect_closed().await;
    assert_eq!(begun.elapsed().as_secs(), 30);
}

/// Another operator that stalls, at each step of its dialogue: its task ends in bounded time.
#[tokio::test(start_paused = true)]
async fn an_operator_that_stalls_at_any_step_is_cut() {
    const STEPS: [&str; 8] = [
        "EHLO mx.cabinet.test\r\n",
        "MAIL FROM:<a@cabinet.test>\r\n",
        "RCPT TO:<b@x.fr>\r\n",
        "DATA\r\n",
        "Subject: half",
        " a line\r\n\r\nbody\r\n",
        ".",
        "\r",
    ];
    let clerk = Clerk::new();
    // In clear: before a word, after EHLO, in the middle of a line, before the handshake.
    for said in ["", "EHLO mx.cabinet.test\r\n", "EHLO mx", "EHLO mx\r\nSTARTTLS\r\n"] {
        let mut client = Client::connect(&clerk, SmtpDoor::Mx);
        client.send(said).await;
        expect_end(client, said).await;
    }
    for steps in 0..=STEPS.len() {
        let mut client = Client::connect(&clerk, SmtpDoor::Mx);
        client.expect("220").await;
        client.talk(&[("EHLO mx.cabinet.test", "250"), ("STARTTLS", "220")]).await;
        let mut client = client.secure(Shows::Listed).await.unwrap();
        for step in &STEPS[..steps] {
            client.send(step).await;
        }
        expect_end(client, &format!("{steps} steps")).await;
    }
    for chunk in ["BDAT 100\r\n", "BDAT 100\r\nhalf", "BDAT 4\r\nfull", "BDAT 100 LAST\r\n", "BD"] {
        let mut client = Client::operator(&clerk, Shows::Listed).await;
        client.talk(&[(STEPS[1].trim_end(), "250"), (STEPS[2].trim_end(), "250")]).await;
        client.send(chunk).await;
        expect_end(client, chunk).await;
    }
    assert!(clerk.letters().is_empty());
}

async fn expect_end(mut client: Client, stalled: &str) {
    let (_handle, session) = client.relay.take().unwrap();
    let begun = Instant::now();
    let ended = time::timeout(Duration::from_secs(1_000), session).await;
    ended.unwrap_or_else(|_| panic!("after {stalled:?} the task goes on")).unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(310), "{stalled:?}: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stranger_at_the_operators_door_has_a_minute_and_a_listed_operator_its_time() {
    for said in [0, 1, 5] {
        let clerk = Clerk::new();
        let mut client = Client::connect(&clerk, SmtpDoor::Mx);
        client.expect("220").await;
        let begun = Instant::now();
        for _ in 0..said {
            client.talk(&[("EHLO x.test", "250")]).await;
            time::sleep(Duration::from_secs(10)).await;
        }
        client.expect("421 4.4.2").await;
        client.expect_closed().await;
        assert!(begun.elapsed() <= Duration::from_secs(63), "{:?}", begun.elapsed());
        assert_eq!(clerk.turned_away(), ["the caller showed none in time"]);
    }
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Mx);
    client.expect("220").await;
    client.talk(&[("EHLO mx.stranger.test", "250"), ("STARTTLS", "220")]).await;
    let mut client = client.secure(Shows::Unlisted).await.unwrap();
    client.talk(&[("EHLO mx.stranger.test", "550 5.7.1")]).await;
    client.expect("421 4.4.2").await;
    let mut client = Client::operator(&clerk, Shows::Listed).await;
    time::sleep(Duration::from_secs(200)).await;
    client.talk(&[("MAIL FROM:<a@cabinet.mssante.test>", "250"), (RCPT, "250")]).await;
    time::sleep(Duration::from_secs(200)).await;
    client.talk(&[("DATA", "354"), ("x\r\n.", "250")]).await;
}

#[tokio::test]
async fn who_is_hung_up_on_at_the_operators_door_can_ask_why() {
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Mx);
    client.expect("220").await;
    client.talk(&[("EHLO x.test", "250")]).await;
    client.send("STARTTLS\r\nMAIL FROM:<>\r\n").await;
    client.expect("554 5.5.1").await;
    client.expect_closed().await;
    assert_eq!(clerk.turned_away().len(), 1, "{:?}", clerk.turned_away());

    let mut client = Client::operator(&clerk, Shows::Listed).await;
    let mut reply = String::new();
    while !reply.starts_with("421") {
        reply = client.ask("NONSENSE").await;
    }
    assert!(reply.contains("Too many errors") && reply.contains("(session "), "{reply}");
    client.expect_closed().await;
    assert_eq!(clerk.explained(), [(Refusal::TooManyFromPeer, None)]);
    // A word of farewell is no refusal.
    let mut client = Client::operator(&clerk, Shows::Listed).await;
    client.talk(&[("QUIT", "221")]).await;
    assert_eq!((clerk.turned_away().len(), clerk.explained().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_replies_is_cut() {
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Submission);
    let (_handle, session) = client.relay.take().unwrap();
    client.send("EHLO pc\r\n").await;
    let flood =
        tokio::spawn(async move { while client.try_send("EHLO pc\r\n".repeat(100)).await {} });
    time::timeout(Duration::from_secs(400), session).await.expect("cut in time").unwrap();
    flood.await.unwrap();
}

#[tokio::test]
async fn a_bug_ends_one_conversation_with_421_and_no_other() {
    let clerk = Clerk::new();
    let mut witness = Client::logged_in(&clerk).await;
    let mut client = Client::logged_in(&clerk).await;
    client.talk(&[(MAIL, "250"), ("RCPT TO:<panic@x.fr>", "421 4.3.0")]).await;
    client.expect_closed().await;
    assert!(witness.letter("x\r\n.\r\n").await.starts_with("250"));
}

#[tokio::test]
async fn a_client_that_hangs_up_in_mid_content_leaves_nothing() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    client.talk(&[(MAIL, "250"), (RCPT, "250"), ("DATA", "354")]).await;
    client.send("half a letter\r\n").await;
    let (_handle, session) = client.relay.take().unwrap();
    drop(client);
    session.await.unwrap();
    assert!(clerk.letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stopping_relay_says_421_between_letters_and_lets_an_open_one_end() {
    let clerk = Clerk::new();
    let mut idle = Client::logged_in(&clerk).await;
    let mut busy = Client::logged_in(&clerk).await;
    let mut stuck = Client::logged_in(&clerk).await;
    busy.talk(&[(MAIL, "250"), (RCPT, "250")]).await;
    stuck.talk(&[(MAIL, "250")]).await;
    for client in [&idle, &busy, &stuck] {
        client.relay.as_ref().unwrap().0.stop();
    }
    idle.expect("421 4.3.2").await;
    idle.expect_closed().await;
    busy.talk(&[("DATA", "354"), ("x\r\n.", "250")]).await;
    busy.expect("421 4.3.2").await;
    busy.expect_closed().await;
    let begun = Instant::now();
    stuck.expect("421 4.3.2").await;
    assert!(begun.elapsed() <= Duration::from_secs(10));
    assert_eq!(clerk.letters().len(), 1);
}

/// A door on loopback.
pub(super) async fn open(clerk: &Arc<Clerk>, door: SmtpDoor) -> (SocketAddr, StopHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (handle, stop) = Stop::new();
    tokio::spawn(serve_at(Arc::clone(clerk), listener, door, stop));
    (address, handle)
}

#[tokio::test]
async fn one_connection_too_many_is_421_and_a_place_given_back_is_free() {
    let clerk = Clerk::with(|limits| limits.connections_per_address = 2);
    let (address, _handle) = open(&clerk, SmtpDoor::Mx).await;
    let connect = || async { Client::on(TcpStream::connect(address).await.unwrap(), None) };
    let (mut first, mut second) = (connect().await, connect().await);
    first.expect("220").await;
    second.expect("220").await;
    let mut third = connect().await;
    let reply = third.reply().await;
    assert!(reply.starts_with("421 4.7.0") && reply.contains("(session "), "{reply}");
    assert_eq!(clerk.turned_away(), ["too many connections from this address"]);
    third.expect_closed().await;
    first.talk(&[("QUIT", "221")]).await;
    first.expect_closed().await;
    // The place is given back when the task ends, a moment after the connection.
    for attempt in 0.. {
        let mut fourth = connect().await;
        if fourth.reply().await.starts_with("220") {
            break;
        }
        assert!(attempt < 100, "the place was not given back");
        time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_stopping_door_ends_when_its_sessions_have_ended() {
    let clerk = Clerk::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (handle, stop) = Stop::new();
    let door = tokio::spawn(serve_at(Arc::clone(&clerk), listener, SmtpDoor::Mx, stop));
    let mut client = Client::on(TcpStream::connect(address).await.unwrap(), None);
    client.expect("220").await;
    handle.stop();
    client.expect("421 4.3.2").await;
    client.expect_closed().await;
    time::timeout(Duration::from_secs(60), door).await.expect("stopped").unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
