//! RFC 5804, command by command, and what strangers try.
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ADA;
use super::CLAIRE;
use super::HUGO;
use super::client::Client;
use super::client::login;
use crate::support::running::Running;
use crate::support::running::said;

#[tokio::test(flavor = "multi_thread")]
async fn managesieve_does_all_that_the_standard_says_and_nothing_in_clear() {
    let running = Running::new(&[]);
    let door = running.door(0, "managesieve");

    let mut clear = Client::in_clear(door).await;
    for line in ["\"SASL\" \"\"", "\"STARTTLS\"", "\"VERSION\" \"1.0\"", "\"SIEVE\" \"fileinto "] {
        assert!(clear.greeting.contains(line), "{}", clear.greeting);
    }
    let answer = clear.say(&login(CLAIRE, &running.password(CLAIRE))).await;
    assert!(answer.starts_with("NO (ENCRYPT-NEEDED)"), "{answer}");
    assert!(clear.say("LISTSCRIPTS").await.starts_with("NO "));
    assert!(clear.say("FROBNICATE").await.starts_with("NO "));

    let mut injected = Client::in_clear(door).await;
    injected.send(b"STARTTLS\r\nNOOP\r\n").await;
    let answer = injected.answer().await;
    assert!(answer.starts_with("BYE"), "{answer}");
    assert!(injected.answer().await.contains("<closed>"));

    let mut client = Client::under_tls(&running, 0).await;
    assert!(
        client.greeting.contains("\"SASL\" \"SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\""),
        "{}",
        client.greeting
    );
    assert!(!client.greeting.contains("STARTTLS") && !client.greeting.contains("OWNER"));
    assert!(client.say("STARTTLS").await.starts_with("NO "));
    // Without an initial response, cancelled, and then done.
    let challenge = "AUTHENTICATE \"PLAIN\"\r\n\"*\"";
    assert!(client.say(challenge).await.ends_with("NO \"Cancelled\"\r\n"));
    let response = STANDARD.encode(format!("\0{CLAIRE}\0{}", running.password(CLAIRE)));
    let answer = client
        .say(&format!("AUTHENTICATE \"PLAIN\"\r\n{{{}+}}\r\n{response}", response.len()))
        .await;
    assert_eq!(answer, "\"\"\r\nOK \"Welcome\"\r\n");
    let capabilities = client.say("CAPABILITY").await;
    assert!(capabilities.contains(&format!("\"OWNER\" \"{CLAIRE}\"")), "{capabilities}");

    assert!(client.say("HAVESPACE \"a\" 1000").await.starts_with("OK"));
    assert!(client.say("HAVESPACE \"a\" 99999999").await.starts_with("NO (QUOTA/MAXSIZE)"));
    let script = "require \"fileinto\";\r\nfileinto \"Été\";\r\n";
    assert!(client.put("première", script).await.starts_with("OK"));
    let faulty = client.put("première", "keep;\r\nfrobnicate;\r\n").await;
    assert!(faulty.starts_with("NO \"line 2: "), "{faulty}");
    assert_eq!(
        client.say("SETACTIVE \"none\"").await,
        "NO (NONEXISTENT) \"there is no script of that name\"\r\n"
    );
    assert!(client.say("SETACTIVE \"première\"").await.starts_with("OK"));
    assert!(client.put("b", "keep;").await.starts_with("OK"));
    let list = client.say("LISTSCRIPTS").await;
    assert_eq!(list, "\"b\"\r\n\"première\" ACTIVE\r\nOK \"Done\"\r\n");
    let text = client.say("GETSCRIPT \"première\"").await;
    assert_eq!(text, format!("{{{}}}\r\n{script}\r\nOK \"Done\"\r\n", script.len()));
    assert!(client.say("DELETESCRIPT \"première\"").await.starts_with("NO (ACTIVE)"));
    assert!(client.say("RENAMESCRIPT \"b\" \"première\"").await.starts_with("NO (ALREADYEXISTS)"));
    assert!(client.say("RENAMESCRIPT \"x\" \"y\"").await.starts_with("NO (NONEXISTENT)"));
    assert!(client.say("RENAMESCRIPT \"première\" \"c\"").await.starts_with("OK"));
    assert!(client.say("LISTSCRIPTS").await.contains("\"c\" ACTIVE"));
    assert!(client.say("SETACTIVE \"\"").await.starts_with("OK"));
    assert!(client.say("DELETESCRIPT \"c\"").await.starts_with("OK"));
    let warned = client.say("CHECKSCRIPT \"redirect \\\"x@gmail.test\\\";\"").await;
    assert!(warned.starts_with("OK (WARNINGS) "), "{warned}");
    assert!(client.say("CHECKSCRIPT \"keep\"").await.starts_with("NO \"line 1: "));
    assert_eq!(client.say("NOOP \"a\\\"b\"").await, "OK (TAG \"a\\\"b\") \"Done\"\r\n");
    assert!(client.put("", "keep;").await.starts_with("NO"));
    assert!(client.say("PUTSCRIPT {2+}\r\n\u{1}a \"keep;\"").await.starts_with("NO"));
    for number in 0..15 {
        assert!(client.put(&format!("n{number}"), "keep;").await.starts_with("OK"));
    }
    assert!(client.put("one more", "keep;").await.starts_with("NO (QUOTA/MAXSCRIPTS)"));
    let large = "#".repeat(200_000);
    assert!(client.put("large", &large).await.starts_with("NO (QUOTA/MAXSIZE)"));
    assert!(client.say("UNAUTHENTICATE").await.starts_with("OK"));
    assert!(client.say("LISTSCRIPTS").await.starts_with("NO "));
    assert!(client.say(&login(HUGO, &running.password(HUGO))).await.starts_with("OK"));
    assert_eq!(client.say("LISTSCRIPTS").await, "OK \"Done\"\r\n");
    assert!(client.say("LOGOUT").await.starts_with("OK"));
    assert!(client.answer().await.contains("<closed>"));

    let mut guesser = Client::under_tls(&running, 0).await;
    for _ in 0..2 {
        assert!(guesser.say(&login(CLAIRE, "wrong")).await.starts_with("NO "));
    }
    // A patient has no filters, and is told no more than a stranger.
    let patient = guesser.say(&login(ADA, &running.password(ADA))).await;
    assert_eq!(patient, "NO \"Name or password is wrong\"\r\n");
    assert!(guesser.answer().await.starts_with("BYE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_written_by_others_uploads_lists_and_downloads() {
    let running = Running::new(&[]);
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("rules.sieve");
    std::fs::write(&script, "require [\"fileinto\", \"mailbox\"];\nfileinto :create \"X\";\n")
        .unwrap();
    let port = running.port(0, "managesieve").to_string();
    let ca = running.ca_file();
    let connect = |arguments: &[&str]| {
        let password = folder.path().join("password");
        std::fs::write(&password, running.password(CLAIRE)).unwrap();
        let input = std::fs::File::open(&password).unwrap();
        Command::new("sieve-connect")
            .args(["--server", "127.0.0.1", "--port", &port, "--user", CLAIRE])
            .args(["--tlscafile", ca.to_str().unwrap(), "--passwordfd", "0"])
            .args(arguments)
            .stdin(input)
            .output()
            .unwrap()
    };
    let local = script.to_str().unwrap();
    let put = connect(&["--upload", "--localsieve", local, "--remotesieve", "rules"]);
    assert!(put.status.success(), "{}", said(&put));
    let activated = connect(&["--activate", "--remotesieve", "rules"]);
    assert!(activated.status.success(), "{}", said(&activated));
    let listed = said(&connect(&["--list"]));
    assert!(listed.contains("rules") && listed.contains("ACTIVE"), "{listed}");
    let back = folder.path().join("back.sieve");
    let got =
        connect(&["--download", "--remotesieve", "rules", "--localsieve", back.to_str().unwrap()]);
    assert!(got.status.success(), "{}", said(&got));
    assert_eq!(std::fs::read(back).unwrap(), std::fs::read(script).unwrap());
}
