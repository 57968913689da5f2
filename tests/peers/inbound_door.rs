//! Confusion that peers try to make: injection, smuggling, mixed framings, stuck states, loops.
use super::inbound_house::House;
use super::inbound_house::MAIL;
use super::inbound_house::RCPT;
use super::inbound_house::letter;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_came_in_clear_is_read_under_tls() {
    let house = House::new().await;
    let tls = house.tls(Some(&house.files("cabinet")));
    for injected in ["EHLO x.test\r\nMAIL FROM:<>\r\n", "N", "\r\n"] {
        let mut peer = house.connect().await;
        peer.talk(&[("EHLO x.test", "250")]).await;
        peer.send(format!("STARTTLS\r\n{injected}")).await;
        peer.expect("554 5.5.1").await;
        peer.expect_closed().await;
    }
    // What was said before TLS is forgotten: EHLO too.
    let mut peer = house.secured(&tls).await;
    peer.talk(&[(MAIL, "503"), ("STARTTLS", "503"), ("EHLO x.test", "250"), (MAIL, "250")]).await;
    peer.talk(&[("STARTTLS", "503")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_end_but_crlf_hides_a_second_letter() {
    let ends: [&str; 15] = [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\r",
        "\r.\n",
        "\n.\r",
        "\n\n.\r\n",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\r\n.\r\r\n",
        "\r\r\n.\n",
        "\n\r.\r\n",
        "\r\r.\r\n",
    ];
    let house = House::new().await;
    let mut peer = house.honest().await;
    for end in ends {
        peer.talk(&[(MAIL, "250"), (RCPT, "250"), ("DATA", "354")]).await;
        let hidden = format!("{MAIL}\r\n{RCPT}\r\nDATA\r\n{}.\r\n", letter("evil"));
        peer.send(format!("Subject: x\r\n\r\nhi{end}{hidden}")).await;
        peer.expect("554 5.6.0").await;
        // One reply for one letter: no command was found inside.
        peer.talk(&[("NOOP", "250 2.0.0 OK"), ("DATA", "503")]).await;
    }
    // The same in chunks: there a dot is nothing special, and a bare LF is still refused.
    for end in ["\n.\n", "\r.\r", "\r\n.\n"] {
        let content = format!("Subject: x\r\n\r\nhi{end}{MAIL}\r\n");
        peer.talk(&[(MAIL, "250"), (RCPT, "250")]).await;
        peer.send(format!("BDAT {} LAST\r\n{content}", content.len())).await;
        peer.expect("554 5.6.0").await;
    }
    let content = format!("{}\r\n.\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\n", letter("dots"));
    peer.talk(&[(MAIL, "250"), (RCPT, "250")]).await;
    peer.send(format!("BDAT {} LAST\r\n{content}NOOP\r\n", content.len())).await;
    peer.expect("250 2.0.0 Queued").await;
    peer.expect("250 2.0.0 OK").await;
    assert_eq!(house.letters().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pipelined_behind_the_end_of_data_is_judged_as_its_own_letter() {
    let house = House::new().await;
    let mut peer = house.honest().await;
    let second = format!("MAIL FROM:<a@hopital.test>\r\n{RCPT}\r\nDATA\r\n");
    let third = format!("{MAIL}\r\n{RCPT}\r\nDATA\r\n");
    peer.talk(&[(MAIL, "250"), (RCPT, "250"), ("DATA", "354")]).await;
    peer.send(format!("{}.\r\n{second}{third}", letter("first"))).await;
    for code in ["250 2.0.0 Queued", "550 5.7.1", "503", "503", "250", "250", "354"] {
        peer.expect(code).await;
    }
    peer.send(format!("{}.\r\nQUIT\r\n", letter("third"))).await;
    peer.expect("250").await;
    peer.expect("221").await;
    assert_eq!(house.letters().await, 2);
}

/// RFC 3030 §2 and §4.2.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_and_data_do_not_mix_and_errors_swallow_their_chunks() {
    let house = House::new().await;
    let mut peer = house.honest().await;
    // DATA, RCPT or MAIL between chunks: 503, and the letter goes on.
    peer.talk(&[(MAIL, "250"), (RCPT, "250")]).await;
    let content = letter("mixed");
    let (first, last) = content.split_at(40);
    peer.send(format!("BDAT 40\r\n{first}DATA\r\n{RCPT}\r\n{MAIL}\r\n")).await;
    for code in ["250", "503", "503", "503"] {
        peer.expect(code).await;
    }
    peer.send(format!("BDAT {}\r\n{last}BDAT 0 LAST\r\n", last.len())).await;
    peer.expect("250 2.0.0").await;
    peer.expect("250 2.0.0 Queued").await;
    // BDAT after LAST, after RSET, and before MAIL: its octets are no commands.
    peer.send("BDAT 6\r\nNOOP\r\nNOOP\r\n").await;
    peer.expect("503 5.5.1").await;
    peer.expect("250 2.0.0 OK").await;
    peer.talk(&[(MAIL, "250"), (RCPT, "250")]).await;
    peer.send("BDAT 6\r\nNOOP\r\nRSET\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n").await;
    for code in ["250", "250", "503", "250 2.0.0 OK"] {
        peer.expect(code).await;
    }
    // No recipient: every pipelined chunk is refused, and none of it is a letter.
    peer.send(format!("{MAIL}\r\nRCPT TO:<nobody@hopital.test>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nRSET\r\n"))
        .await;
    for code in ["250", "550 5.1.1", "554 5.5.1", "554 5.5.1", "250"] {
        peer.expect(code).await;
    }
    // A chunk that is refused: the ones behind it, up to LAST, get the same answer.
    peer.send(format!(
        "{MAIL}\r\n{RCPT}\r\nBDAT 3\r\na\nbBDAT 6\r\nQUIT\r\nBDAT 0 LAST\r\nNOOP\r\n"
    ))
    .await;
    for code in ["250", "250", "554 5.6.0", "554 5.6.0", "554 5.6.0", "250 2.0.0 OK"] {
        peer.expect(code).await;
    }
    // All pipelined, the good way.
    let content = letter("pipelined");
    let (first, last) = content.split_at(100);
    let last_size = last.len();
    peer.send(format!(
        "{MAIL}\r\n{RCPT}\r\nBDAT 100\r\n{first}BDAT {last_size} LAST\r\n{last}QUIT\r\n"
    ))
    .await;
    for code in ["250", "250", "250", "250 2.0.0 Queued", "221"] {
        peer.expect(code).await;
    }
    assert_eq!(house.letters().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_has_passed_here_too_often_goes_in_circles() {
    let house = House::new().await;
    let mut peer = house.honest().await;
    // Another host, and our name where it says nothing.
    let others = "Received: from hopital.test (by hopital.test) by mx.cabinet.test (for x by hopital.test)\r\n\twith SMTP; Sun, 22 Nov 2026 08:00:00 +0000\r\n";
    let ours = "Received: from x by HOPITAL.test with ESMTPS; Sun, 22 Nov 2026 08:00:00 +0000\r\n";
    for (passes, code) in [(0, "250"), (3, "250"), (4, "554 5.4.6")] {
        let received = format!("{}{}", others.repeat(20), ours.repeat(passes));
        let reply = peer.deliver(&format!("{received}{}", letter(&format!("loop-{passes}")))).await;
        assert!(reply.starts_with(code), "{passes}: {reply}");
    }
}
