//! Logging in, and being sent away.
use super::*;

#[tokio::test]
async fn before_tls_nobody_logs_in() {
    let house = House::new().await;
    let mut client = house.connect(Safety::Clear).await;
    assert!(client.ok("a CAPABILITY").await.contains("STARTTLS LOGINDISABLED"));
    for command in ["a LOGIN a@hopital.mssante.test secret", "a AUTHENTICATE PLAIN"] {
        check(&mut client, command, "a NO [PRIVACYREQUIRED] STARTTLS first\n").await;
    }
    check(&mut client, "a SELECT INBOX", "a BAD Log in first\n").await;
    client.send("a STARTTLS\r\n").await;
    assert_eq!(
        client.read_until(|text| text.ends_with("<TLS>")).await,
        "a OK Begin TLS now\r\n<TLS>"
    );
}

#[tokio::test]
async fn octets_behind_starttls_are_refused_and_end_the_connection() {
    let house = House::new().await;
    let mut client = house.connect(Safety::Clear).await;
    client.send("a STARTTLS\r\nb LOGIN a@hopital.mssante.test secret\r\n").await;
    let answer = client.closed().await;
    assert!(answer.starts_with("a BAD Nothing may follow STARTTLS"), "{answer}");
    assert!(!answer.contains("b OK") && answer.ends_with("<closed>"), "{answer}");
    let mut client = house.connect(Safety::Tls).await;
    check(&mut client, "a STARTTLS", "a BAD TLS is on already\n").await;
}

#[tokio::test]
async fn people_log_in_in_every_usual_way() {
    let house = House::new().await;
    let plain = "AGFAaG9waXRhbC5tc3NhbnRlLnRlc3QAc2VjcmV0";
    for login in [
        "a LOGIN \"a@hopital.mssante.test\" {6+}\r\nsecret".to_owned(),
        format!("a AUTHENTICATE PLAIN {plain}"),
        format!("a AUTHENTICATE PLAIN\r\n{plain}"),
    ] {
        let mut client = house.connect(Safety::Tls).await;
        let answer = client.ok(&login).await;
        assert!(answer.contains("a OK [CAPABILITY IMAP4rev1 "), "{answer}");
        assert!(!answer.contains("AUTH="), "{answer}");
        client.ok("b SELECT INBOX").await;
        check(&mut client, "c LOGIN a b", "c BAD You are logged in already\n").await;
        check(&mut client, "d LOGOUT", "* BYE Until next time\nd OK Done\n").await;
        assert_eq!(client.closed().await, "<closed>");
    }
}

#[tokio::test]
async fn a_failed_login_says_why_in_a_code_and_three_end_the_connection() {
    let house = House::new().await;
    let mut client = house.connect(Safety::Tls).await;
    check(&mut client, "a AUTHENTICATE PLAIN\r\n*", "+ \na BAD Cancelled\n").await;
    check(
        &mut client,
        "a AUTHENTICATE PLAIN !",
        "a BAD an initial response in base64 was expected\n",
    )
    .await;
    check(
        &mut client,
        "a AUTHENTICATE PLAIN eABhAGI=",
        "a NO [AUTHENTICATIONFAILED] Wrong name or password\n",
    )
    .await;
    let missing = "a NO [CANNOT] This mechanism is not offered here\n";
    check(&mut client, "a AUTHENTICATE GSSAPI", missing).await;
    check(&mut client, "a LOGIN down x", "a NO [UNAVAILABLE] Temporary failure; try later\n").await;
    let wrong = "a NO [AUTHENTICATIONFAILED] Wrong name or password\n";
    check(&mut client, "a LOGIN a@hopital.mssante.test wrong", wrong).await;
    let answer = client.say("a LOGIN nobody secret").await;
    assert!(answer.contains("* BYE Too many failed logins"), "{answer}");
}

#[tokio::test]
async fn too_many_bad_commands_end_the_connection() {
    let house = House::new().await;
    let mut client = house.connect(Safety::Tls).await;
    client.send(&"a NONSENSE\r\n".repeat(200)).await;
    let answer = client.closed().await;
    assert_eq!(answer.matches("a BAD").count(), crate::domain::limits::IMAP_ERRORS_MAX);
    assert!(answer.ends_with("* BYE Too many bad commands\r\n<closed>"), "{answer}");
}

#[tokio::test]
async fn a_client_that_sends_one_octet_now_and_then_is_sent_away() {
    let times = Times {
        login: Duration::from_secs(60),
        idle: Duration::from_secs(60),
        line: Duration::from_millis(300),
        data: Duration::from_secs(60),
    };
    let house = House::with_times(times).await;
    for begun in ["a N", "a APPEND INBOX {100+}\r\nabc", "a LOGIN {10+}\r\nx"] {
        let mut client = house.login().await;
        client.send(begun).await;
        let answer = client.closed().await;
        assert!(answer.contains("* BYE A command was begun"), "{begun}: {answer}");
    }
    let mut client = house.login().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    client.ok("a NOOP").await;
    for _ in 0..20 {
        if client.stream.write_all(b"x").await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(client.closed().await.contains("* BYE A command was begun"));
}

#[tokio::test]
async fn who_says_nothing_is_logged_out_and_strangers_sooner() {
    let times = Times {
        login: Duration::from_millis(200),
        idle: Duration::from_millis(600),
        line: Duration::from_secs(60),
        data: Duration::from_secs(60),
    };
    let house = House::with_times(times).await;
    let mut stranger = house.connect(Safety::Tls).await;
    let mut known = house.login().await;
    assert_eq!(
        stranger.closed().await,
        "* BYE Autologout: nothing was said for too long\r\n<closed>"
    );
    known.ok("a NOOP").await;
    assert!(known.closed().await.contains("Autologout"));
}

#[tokio::test]
async fn a_stop_is_told_to_every_session() {
    let mut house = House::new().await;
    let mut idle = house.inbox(0).await;
    idle.send("a IDLE\r\n").await;
    idle.read_until(|text| text == "+ idling\r\n").await;
    let mut stranger = house.connect(Safety::Clear).await;
    house.stop.take().unwrap().stop();
    for client in [&mut idle, &mut stranger] {
        assert_eq!(client.closed().await, "* BYE [UNAVAILABLE] The server is stopping\r\n<closed>");
    }
}
