//! Exchanges over a directory that knows one clinician.
use bytes::Bytes;

use super::*;
use crate::domain::login::Scope;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::flow::login::fake;
use crate::infra::directory::Account;

const HUGO: &str = "hugo@hopital.test";
const IMAP: Visitor = Visitor { entrance: Entrance::Imap, ip: None };

fn account(kind: MailboxKind) -> Account {
    Account {
        id: MailboxId::from_bytes([1; 16]),
        address: Address::parse(HUGO).unwrap(),
        kind,
        listing: Listing::Public,
        suspended: false,
        display_name: String::new(),
        certificate: Bytes::new(),
        wrapped_keys: Bytes::new(),
        created: Timestamp::from_seconds(0),
    }
}

fn logins() -> Logins {
    fake::logins(&[account(MailboxKind::Personal)], "pencil")
}

fn tls() -> Channel {
    Channel::tls(Some([9; 32]), None)
}

fn told(turn: Turn) -> String {
    match turn {
        Turn::Challenge(challenge) => String::from_utf8_lossy(challenge.expose()).into_owned(),
        Turn::In(login, last) => format!("in as {} {}", login.account.address, last.is_some()),
        Turn::Refused(refusal) => format!("{refusal:?}"),
        Turn::Malformed(why) => format!("malformed: {why}"),
    }
}

async fn one_response(logins: &Logins, mechanism: Mechanism, response: &str) -> Vec<String> {
    let mut talk = logins.begin(IMAP, &tls(), mechanism).unwrap();
    let first = talk.start(Some(Secret::new(response.as_bytes().to_vec()))).await;
    let waits = matches!(first, Turn::Challenge(_));
    let mut said = vec![told(first)];
    if waits {
        said.push(told(talk.respond(Secret::new(b"\x01".to_vec())).await));
    }
    said
}

#[tokio::test]
async fn a_login_acts_for_itself_and_for_nobody_else() {
    let logins = logins();
    let plain = async |act_as: &str, name: &str| {
        let response = format!("{act_as}\0{name}\0pencil");
        one_response(&logins, Mechanism::Plain, &response).await.remove(0)
    };
    assert_eq!(plain("", HUGO).await, format!("in as {HUGO} false"));
    assert_eq!(plain(HUGO, HUGO).await, format!("in as {HUGO} false"));
    assert_eq!(plain("director@hopital.test", HUGO).await, "AuthFailed");
    assert_eq!(plain("", "director@hopital.test").await, "AuthFailed");
    assert_eq!(plain("", "down").await, "DependencyFailed");
}

#[tokio::test]
async fn a_refused_token_is_told_why_before_it_is_refused() {
    let logins = logins();
    let good = format!("user={HUGO}\x01auth=Bearer pencil\x01\x01");
    let said = one_response(&logins, Mechanism::XOAuth2, &good).await;
    assert_eq!(said, [format!("in as {HUGO} false")]);
    let said = one_response(&logins, Mechanism::XOAuth2, &good.replace("pencil", "pen")).await;
    assert_eq!(said, [r#"{"status":"401","schemes":"bearer","scope":"mail"}"#, "AuthFailed"]);
    let bearer = format!("n,a={HUGO},\x01auth=Bearer pen\x01\x01");
    let said = one_response(&logins, Mechanism::OAuthBearer, &bearer).await;
    assert_eq!(said, [r#"{"status":"invalid_token","scope":"mail"}"#, "AuthFailed"]);
    let away = good.replace(HUGO, "down");
    assert_eq!(one_response(&logins, Mechanism::XOAuth2, &away).await, ["DependencyFailed"]);
}

#[tokio::test]
async fn only_what_works_on_this_connection_is_offered() {
    let logins = logins();
    assert!(logins.offered(&Channel::clear()).is_empty());
    let names = |channel: &Channel| {
        let offered = logins.offered(channel);
        offered.iter().map(|mechanism| mechanism.name()).collect::<Vec<_>>().join(" ")
    };
    let rest = "SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN";
    assert_eq!(names(&tls()), format!("SCRAM-SHA-256-PLUS {rest}"));
    assert_eq!(names(&Channel::tls(None, None)), rest);
    assert!(logins.begin(IMAP, &Channel::clear(), Mechanism::Plain).is_none());
    assert!(logins.begin(IMAP, &tls(), Mechanism::External).is_none());
    assert!(logins.begin(IMAP, &Channel::tls(None, None), Mechanism::ScramSha256Plus).is_none());
}

#[tokio::test]
async fn an_own_password_opens_no_mail_door_where_the_configuration_says_so() {
    let settings = |passwords_on_clients| crate::flow::login::Settings {
        mechanisms: Mechanism::ALL.to_vec(),
        passwords_on_clients,
        home: None,
        relay_key: Secret::new([1; 32]),
        openid_configuration: Some("https://psc.test/.well-known".to_owned()),
        token_times: crate::flow::login::TokenTimes {
            session: std::time::Duration::from_secs(1),
            idle: std::time::Duration::from_secs(1),
        },
    };
    let logins = logins().configured(settings(false));
    let said = one_response(&logins, Mechanism::Plain, &format!("\0{HUGO}\0pencil")).await;
    assert_eq!(said, ["AuthFailed"]);
    // App passwords may be proven so; the own one opens nothing either way.
    let (mut talk, challenge) = scram(&logins, IMAP, HUGO).await;
    let answer = proof(HUGO, &challenge, "pencil");
    assert_eq!(told(talk.respond(Secret::new(answer.into_bytes())).await), "AuthFailed");
    let pages = Visitor { entrance: Entrance::Pages, ip: None };
    let password = Secret::new("pencil".to_owned());
    assert_eq!(logins.login(pages, HUGO, &password).await.unwrap().scope, Scope::ALL);
    let bearer = one_response(&logins, Mechanism::OAuthBearer, "n,,\x01auth=\x01\x01").await;
    assert!(bearer[0].contains(r#""openid-configuration":"https://psc.test/.well-known""#));
}

/// The first two messages of SCRAM for a name.
async fn scram<'l>(logins: &'l Logins, visitor: Visitor, name: &str) -> (Conversation<'l>, String) {
    let mut talk = logins.begin(visitor, &tls(), Mechanism::ScramSha256).unwrap();
    let first = format!("n,,n={name},r=abc");
    let challenge = told(talk.start(Some(Secret::new(first.into_bytes()))).await);
    (talk, challenge)
}

/// What a client answers that knows the password.
fn proof(name: &str, challenge: &str, password: &str) -> String {
    let parts: Vec<&str> = challenge.split(',').collect();
    let salt = base64::engine::general_purpose::STANDARD.decode(&parts[1][2..]).unwrap();
    let rounds = std::num::NonZeroU32::new(parts[2][2..].parse().unwrap()).unwrap();
    let mac = |key: &[u8], text: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        aws_lc_rs::hmac::sign(&key, text).as_ref().to_vec()
    };
    let mut salted = [0; 32];
    let algorithm = aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256;
    aws_lc_rs::pbkdf2::derive(algorithm, rounds, &salt, password.as_bytes(), &mut salted);
    let client_key = mac(&salted, b"Client Key");
    let stored = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &client_key);
    let without = format!("c=biws,{}", parts[0]);
    let signed = format!("n={name},r=abc,{challenge},{without}");
    let signature = mac(stored.as_ref(), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    format!("{without},p={}", base64::engine::general_purpose::STANDARD.encode(proof))
}

#[tokio::test]
async fn scram_proves_both_sides_and_ends_as_each_door_can_carry_it() {
    let logins = logins();
    for entrance in [Entrance::Imap, Entrance::ManageSieve] {
        let visitor = Visitor { entrance, ip: None };
        let (mut talk, challenge) = scram(&logins, visitor, HUGO).await;
        let answer = proof(HUGO, &challenge, "pencil");
        let turn = told(talk.respond(Secret::new(answer.into_bytes())).await);
        if entrance == Entrance::ManageSieve {
            assert_eq!(turn, format!("in as {HUGO} true"));
            continue;
        }
        assert!(turn.starts_with("v="), "{turn}");
        let end = told(talk.respond(Secret::new(Vec::new())).await);
        assert_eq!(end, format!("in as {HUGO} false"));
    }
    let (mut talk, challenge) = scram(&logins, IMAP, HUGO).await;
    let answer = proof(HUGO, &challenge, "pen");
    assert_eq!(told(talk.respond(Secret::new(answer.into_bytes())).await), "AuthFailed");
    let again = talk.respond(Secret::new(Vec::new())).await;
    assert_eq!(told(again), "malformed: the exchange is over");
}

#[tokio::test]
async fn scram_never_tells_whether_a_name_exists() {
    let logins = logins();
    let salt = |challenge: &str| challenge.split_once(",s=").unwrap().1.to_owned();
    let (mut talk, first) = scram(&logins, IMAP, "nobody@hopital.test").await;
    let (_, second) = scram(&logins, IMAP, "Nobody@HOPITAL.test").await;
    assert_eq!(salt(&first).split(',').next(), salt(&second).split(',').next());
    let answer = proof("nobody@hopital.test", &first, "pencil");
    assert_eq!(told(talk.respond(Secret::new(answer.into_bytes())).await), "AuthFailed");
}

#[tokio::test]
async fn a_patient_logs_in_on_the_page_only_by_any_mechanism() {
    let logins = fake::logins(&[account(MailboxKind::Citizen)], "pencil");
    let (mut talk, challenge) = scram(&logins, IMAP, HUGO).await;
    let answer = proof(HUGO, &challenge, "pencil");
    assert_eq!(told(talk.respond(Secret::new(answer.into_bytes())).await), "AuthFailed");
}
