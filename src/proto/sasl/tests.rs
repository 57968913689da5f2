//! Mechanisms against their documents' examples, against liars, and against arbitrary octets.
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::proto::sasl::scram::Keys;
use crate::proto::sasl::scram::NoProof;
use crate::proto::sasl::scram::Waiting;

const EXPORTER: [u8; 32] = [9; 32];

/// What a response comes to, in words.
fn say(mechanism: Mechanism, response: &str) -> String {
    let binding = Binding { exporter: Some(EXPORTER), is_offered: true };
    told(Machine::begin(mechanism, binding).respond(response.as_bytes()))
}

fn told(step: Step) -> String {
    match step {
        Step::Challenge(_, challenge) => String::from_utf8_lossy(challenge).into_owned(),
        Step::Ask(Question::Password { act_as, name, password }) => {
            format!("{act_as}|{name}|{}", password.expose())
        }
        Step::Ask(Question::Token { name, token }) => format!("{name}|{}", token.expose()),
        Step::Ask(Question::Keys(first)) => format!("keys of {}", first.name()),
        Step::Ask(Question::Certificate { act_as }) => format!("certificate|{act_as}"),
        Step::Malformed(why) => format!("malformed: {why}"),
    }
}

#[test]
fn plain_has_three_fields_and_no_empty_password() {
    assert_eq!(say(Mechanism::Plain, "\0u@x.fr\0é t é"), "|u@x.fr|é t é");
    assert_eq!(say(Mechanism::Plain, "chief\0u\0pw"), "chief|u|pw");
    for wrong in ["", "u", "\0u", "\0\0pw", "\0u\0", "\0u\0pw\0", "a\0b\0c\0d"] {
        assert!(say(Mechanism::Plain, wrong).starts_with("malformed"), "{wrong:?}");
    }
}

#[test]
fn login_asks_for_name_and_password() {
    let machine = Machine::begin(Mechanism::Login, Binding::default());
    let Step::Challenge(machine, challenge) = machine.prompt() else { panic!("no prompt") };
    assert_eq!(challenge, b"Username:");
    let Step::Challenge(machine, challenge) = machine.respond(b"u") else { panic!("no prompt") };
    assert_eq!(challenge, b"Password:");
    assert_eq!(told(machine.respond(b"pw")), "|u|pw");
    assert!(say(Mechanism::Login, "").starts_with("malformed"));
}

#[test]
fn nobody_acts_for_somebody_else() {
    assert!(acts_for("", "hugo", "hugo@x.fr") && acts_for("hugo", "hugo", "hugo@x.fr"));
    assert!(acts_for("Hugo@X.fr", "hugo", "hugo@x.fr"));
    assert!(!acts_for("chief@x.fr", "hugo", "hugo@x.fr") && !acts_for("hug", "hugo", "hugo@x.fr"));
}

#[test]
fn the_tokens_of_the_trust_spaces_examples_are_read() {
    let decoded = |text: &str| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
    let lines = |text: &'static str| text.lines().map(str::trim);
    let smtp = include_str!("../../../tests/vectors/sasl/xoauth2_smtp.txt");
    let response = lines(smtp).find_map(|line| line.strip_prefix("C: dXNl")).unwrap();
    let response = decoded(&format!("dXNl{response}"));
    let expected = "eloise.lumier@medecin.exemple.mssante.fr|eyJ.EXAMPLE-ACCESS.sig";
    assert_eq!(say(Mechanism::XOAuth2, &response), expected);
    let bearer = include_str!("../../../tests/vectors/sasl/oauthbearer_initial_response.txt");
    let response = decoded(lines(bearer).find(|line| line.starts_with("bix")).unwrap());
    assert_eq!(say(Mechanism::OAuthBearer, &response), expected);
}

#[test]
fn a_token_stands_in_its_form_or_nowhere() {
    // RFC 7628 §4.1
    let rfc = "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
               auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
    let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
    assert_eq!(say(Mechanism::OAuthBearer, rfc), format!("user@example.com|{token}"));
    assert_eq!(say(Mechanism::OAuthBearer, "n,,\x01auth=bearer t\x01\x01"), "|t");
    assert_eq!(say(Mechanism::OAuthBearer, "n,,\x01auth=\x01\x01"), "|");
    for wrong in [
        "",
        "n,,",
        "n,,\x01auth=Bearer t\x01",
        "n,,\x01auth=Bearer t",
        "n,,\x01auth=Basic t\x01\x01",
        "n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01",
        "n,,\x01auth=Bearer a b\x01\x01",
        "n,,\x01host=x\x01\x01",
        "n,,\x01\x01\x01",
        "p=tls-exporter,,\x01auth=Bearer t\x01\x01",
        "n,a=,\x01auth=Bearer t\x01\x01",
        "n,a=x=y,\x01auth=Bearer t\x01\x01",
        "user=u\x01auth=Bearer t\x01\x01",
    ] {
        assert!(say(Mechanism::OAuthBearer, wrong).starts_with("malformed"), "{wrong:?}");
    }
    for wrong in ["", "user=\x01auth=Bearer t\x01\x01", "user=u\x01auth=Bearer t\x01", "user=u"] {
        assert!(say(Mechanism::XOAuth2, wrong).starts_with("malformed"), "{wrong:?}");
    }
}

#[test]
fn a_response_without_end_is_refused() {
    let long = "x".repeat(limits::SASL_RESPONSE_OCTETS_MAX + 1);
    for mechanism in Mechanism::ALL {
        assert_eq!(say(mechanism, &long), "malformed: the response is too long", "{mechanism:?}");
    }
}

/// The exchange of RFC 7677 §3.
fn pencil() -> Keys {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let password = Secret::new("pencil".to_owned());
    Keys::derive(&password, &salt, NonZeroU32::new(4_096).unwrap())
}

fn begun(offer: scram::Offer, first: &str) -> Result<(Waiting, String), String> {
    match Machine::Scram(offer).respond(first.as_bytes()) {
        Step::Ask(Question::Keys(first)) => {
            let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
            let (waiting, challenge) = first.challenge(pencil(), nonce);
            Ok((waiting, String::from_utf8(challenge).unwrap()))
        }
        other => Err(told(other)),
    }
}

const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

#[test]
fn the_exchange_of_rfc_7677_is_spoken_to_the_octet() {
    let (waiting, challenge) = begun(scram::Offer::unbound(false), FIRST).unwrap();
    let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(challenge, expected);
    let proven = waiting.proof(LAST.as_bytes()).unwrap();
    assert_eq!((proven.name.as_str(), proven.act_as.as_str()), ("user", ""));
    let last = String::from_utf8(proven.last.expose().clone()).unwrap();
    assert_eq!(last, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn a_proof_is_good_for_its_own_exchange_only() {
    let prove = |last: &str| {
        let (waiting, _) = begun(scram::Offer::unbound(false), FIRST).unwrap();
        waiting.proof(last.as_bytes()).map(|_| ())
    };
    assert_eq!(prove(LAST), Ok(()));
    assert_eq!(prove(&LAST.replace("p=dH", "p=dI")), Err(NoProof::Wrong));
    // Another GS2 header: "y,,".
    assert_eq!(prove(&LAST.replace("c=biws", "c=eSws")), Err(NoProof::Wrong));
    for wrong in [
        LAST.replace("EkqO%hv", "EkqO%hw"),
        LAST.replace(",p=", ",q="),
        LAST.replace("ndVQ=", "ndV"),
        LAST.replace("c=biws,", ""),
        LAST.replace(",p=", ",m=x,p="),
        String::new(),
    ] {
        assert!(matches!(prove(&wrong), Err(NoProof::Malformed(_))), "{wrong}");
    }
}

#[test]
fn an_offer_that_was_taken_away_is_noticed() {
    let first = |offer: scram::Offer, flag: &str| {
        begun(offer, &format!("{flag},,n=user,r=abc")).map(|_| ()).unwrap_err_or_fine()
    };
    let unbound = |is_offered| scram::Offer::unbound(is_offered);
    assert_eq!(first(unbound(true), "n"), "fine");
    assert_eq!(first(unbound(false), "y"), "fine");
    assert!(first(unbound(true), "y").contains("somebody may sit in between"));
    assert!(first(unbound(true), "p=tls-exporter").contains("-PLUS"));
    let bound = || scram::Offer::bound(Some(EXPORTER));
    assert_eq!(first(bound(), "p=tls-exporter"), "fine");
    for flag in ["n", "y", "p=tls-unique", "p=tls-server-end-point", "p=", "x", ""] {
        assert!(first(bound(), flag).starts_with("malformed"), "{flag}");
    }
    let without = scram::Offer::bound(None);
    assert!(first(without, "p=tls-exporter").contains("cannot be bound"));
}

trait Outcome {
    fn unwrap_err_or_fine(self) -> String;
}

impl Outcome for Result<(), String> {
    fn unwrap_err_or_fine(self) -> String {
        self.err().unwrap_or_else(|| "fine".to_owned())
    }
}

/// A client that knows the password `pencil`.
fn last_of_client(first: &str, challenge: &str, channel: &[u8]) -> String {
    let bare = first.splitn(3, ',').nth(2).unwrap();
    let nonce = challenge.split(',').next().unwrap();
    let without_proof = format!("c={},{nonce}", STANDARD.encode(channel));
    let signed = format!("{bare},{challenge},{without_proof}");
    let mac = |key: &[u8], text: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        aws_lc_rs::hmac::sign(&key, text).as_ref().to_vec()
    };
    let mut salted = [0; 32];
    let rounds = NonZeroU32::new(4_096).unwrap();
    let algorithm = aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256;
    aws_lc_rs::pbkdf2::derive(algorithm, rounds, &pencil().salt, b"pencil", &mut salted);
    let client_key = mac(&salted, b"Client Key");
    let stored = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &client_key);
    let signature = mac(stored.as_ref(), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    format!("{without_proof},p={}", STANDARD.encode(proof))
}

#[test]
fn a_bound_proof_is_good_on_its_own_channel_only() {
    let first = "p=tls-exporter,,n=user,r=abc";
    let prove = |ours: [u8; 32], theirs: [u8; 32]| {
        let (waiting, challenge) = begun(scram::Offer::bound(Some(ours)), first).unwrap();
        let channel = [b"p=tls-exporter,,".as_slice(), &theirs].concat();
        waiting.proof(last_of_client(first, &challenge, &channel).as_bytes()).map(|_| ())
    };
    assert_eq!(prove(EXPORTER, EXPORTER), Ok(()));
    assert_eq!(prove(EXPORTER, [8; 32]), Err(NoProof::Wrong), "somebody sits in between");
}

#[test]
fn names_are_unescaped_and_prepared() {
    let name = |text: &str| say(Mechanism::ScramSha256, &format!("n,,n={text},r=abc"));
    assert_eq!(name("a=2Cb=3Dc"), "keys of a,b=c");
    assert_eq!(name("I\u{ad}X"), "keys of IX", "RFC 4013 §3");
    assert_eq!(name("\u{aa}"), "keys of a", "RFC 4013 §3");
    for wrong in ["a=2cb", "a=", "a=3", "", "\u{7}", "a\u{202e}b"] {
        assert!(name(wrong).starts_with("malformed"), "{wrong:?}");
    }
    let first = |bare: &str| say(Mechanism::ScramSha256, &format!("n,,{bare}"));
    for wrong in ["m=x,n=user,r=abc", "r=abc,n=user", "n=user", "n=user,r=", "n=user,r=a\u{e9}"] {
        assert!(first(wrong).starts_with("malformed"), "{wrong}");
    }
    let act_as = say(Mechanism::ScramSha256, "n,a=chief,n=user,r=abc");
    assert_eq!(act_as, "keys of user");
}

#[test]
fn a_name_that_nobody_has_gets_the_same_salt_each_time() {
    let keys = |relay: u8, name: &str| Keys::of_nobody(&[relay; 32], name).salt;
    assert_eq!(keys(1, "a"), keys(1, "a"));
    assert_ne!(keys(1, "a"), keys(1, "b"));
    assert_ne!(keys(1, "a"), keys(2, "a"));
    assert_eq!(keys(1, "a").len(), limits::SCRAM_SALT_OCTETS);
}

#[test]
fn nothing_of_an_exchange_shows_in_debug() {
    let step = Machine::begin(Mechanism::Plain, Binding::default()).respond(b"\0u\0pencil");
    assert!(!format!("{step:?}").contains("pencil"));
    assert!(format!("{:?}", pencil()).contains("stored_key: [secret]"));
}

proptest! {
    #[test]
    fn no_octets_make_a_machine_panic(
        octets in prop::collection::vec(any::<u8>(), 0..200),
        text in "(p=tls-exporter|n|y|user=u|),?(a=x)?,?(n=u|\u{1}|)(,r=abc)?(\u{1}auth=Bearer t\u{1}\u{1})?.*",
        last in "(c=cD10bHMtZXhwb3J0ZXIsLA==|c=biws),r=.*(,p=.*)?",
    ) {
        for mechanism in Mechanism::ALL {
            for response in [&octets, text.as_bytes()] {
                let binding = Binding { exporter: Some(EXPORTER), is_offered: true };
                match Machine::begin(mechanism, binding).respond(response) {
                    Step::Challenge(machine, _) => drop(machine.respond(&octets)),
                    Step::Ask(Question::Keys(first)) => {
                        let keys = Keys::of_nobody(&[1; 32], first.name());
                        let (waiting, _) = first.challenge(keys, "nonce");
                        prop_assert!(waiting.proof(last.as_bytes()).is_err());
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn one_of_several_passwords_of_a_name_is_proven_and_said() {
    let mut keys = pencil();
    // The name's own password is another one; "pencil" is its second app password.
    let Keys { stored_key, server_key, .. } = pencil();
    let other = |text: &str| {
        let salt = keys.salt.clone();
        let rounds = NonZeroU32::new(keys.iterations).unwrap();
        Keys::derive(&Secret::new(text.to_owned()), &salt, rounds)
    };
    let (own, tablet) = (other("own"), other("tablet"));
    keys.stored_key = own.stored_key;
    keys.server_key = own.server_key;
    let tablet = scram::Pair { stored_key: tablet.stored_key, server_key: tablet.server_key };
    keys.others = vec![tablet, scram::Pair { stored_key, server_key }];
    let Step::Ask(Question::Keys(first)) =
        Machine::Scram(scram::Offer::unbound(false)).respond(FIRST.as_bytes())
    else {
        panic!("a name is asked for");
    };
    let (waiting, _) = first.challenge(keys, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    let proven = waiting.proof(LAST.as_bytes()).unwrap();
    assert_eq!(proven.other, Some(1));
    // RFC 7677 §3: the signature is made with the keys of that very password.
    let last = String::from_utf8(proven.last.expose().clone()).unwrap();
    assert_eq!(last, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}
