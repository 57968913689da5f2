//! The conversation against a model on paper.
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::proto::smtp::auth;

/// Parcels that say who made them.
struct Numbered;

impl Parcels for Numbered {
    type Voucher = &'static str;
    type Sender = u32;
    type Recipient = u32;
    type Content = (u32, Vec<u32>);
}

fn rules(door: Door) -> Arc<Rules> {
    let hostname = Domain::parse("mx.hopital.mssante.test").unwrap();
    Arc::new(Rules { door, hostname, octets_max: 1000, recipients_max: 2 })
}

/// A driver whose flow says yes, until told otherwise. It numbers what it approves.
struct Driver {
    session: Option<Session<Numbered>>,
    approved: u32,
    verdict: Result<(), Refusal>,
    /// Letters that were begun.
    letters: Vec<(u32, Vec<u32>)>,
}

impl Driver {
    fn new(session: Session<Numbered>) -> Self {
        Self { session: Some(session), approved: 0, verdict: Ok(()), letters: Vec::new() }
    }

    /// Logged in at the submission door.
    fn vouched() -> Self {
        let mut driver = Self::new(Session::secured(rules(Door::Submission), MECHANISMS.to_vec()));
        assert_eq!(driver.say("EHLO c"), 250);
        assert_eq!(driver.say("AUTH PLAIN AHUAcHc="), 235);
        driver
    }

    /// Says a line; the code of the reply, 0 after the connection has ended.
    fn say(&mut self, line: &str) -> u16 {
        let Some(session) = self.session.take() else { return 0 };
        let mut turn = session.line(Line::Whole(line.as_bytes()));
        loop {
            turn = match turn {
                Turn::Say(session, reply) | Turn::Discard(session, _, reply) => {
                    self.session = Some(session);
                    return reply.code();
                }
                Turn::Refuse(session, refusal, _) => Turn::Say(session, refusal.into()),
                Turn::Close(reply) => return reply.code(),
                Turn::Upgrade(upgrading, reply) => {
                    self.session = Some(upgrading.secured(MECHANISMS.to_vec()));
                    return reply.code();
                }
                Turn::AskPeer(introducing) => introducing.answer(self.verdict.map(|()| "peer")),
                Turn::Authenticate(authenticating, _, Some(response)) => {
                    match auth::initial(&response) {
                        Ok(octets) if octets.expose().is_empty() => {
                            authenticating.failed(reply::BAD_CREDENTIALS)
                        }
                        Ok(_) => authenticating.answer(self.verdict.map(|()| "login")),
                        Err(reply) => authenticating.failed(reply),
                    }
                }
                Turn::Authenticate(_, _, None) => panic!("only initial responses here"),
                Turn::AskSender(sender, ..) => {
                    assert!(sender.caller().1.is_some(), "nobody vouched for this sender");
                    let number = self.number();
                    sender.answer(self.verdict.map(|()| number))
                }
                Turn::AskRecipient(recipient, to, _) => {
                    let ForwardPath::Mailbox(address) = to else { panic!("{to:?}") };
                    let number = self.number();
                    let verdict = self.verdict.map(|()| number);
                    recipient.answer(verdict.map_err(|refusal| (refusal, address)))
                }
                Turn::Begin(beginning, sender, recipients) => {
                    let letter = (sender, recipients);
                    self.letters.push(letter.clone());
                    beginning.answer(self.verdict.map(|()| letter))
                }
                Turn::ReadContent(content, _, _) => content.ended(Ok(Reply::queued("Queued"))),
                Turn::ReadChunk(chunk, content) => chunk.arrived(content),
                Turn::ReadLastChunk(content, _, letter) => {
                    content.ended(letter.map(|_| Reply::queued("Queued")))
                }
            };
        }
    }

    fn number(&mut self) -> u32 {
        self.approved += 1;
        self.approved
    }

    fn check(&mut self, script: &[(&str, u16)]) {
        for (place, (line, code)) in script.iter().enumerate() {
            assert_eq!(self.say(line), *code, "line {place}: {line}");
        }
    }
}

const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
const MAIL: &str = "MAIL FROM:<a@b.fr>";
const RCPT: &str = "RCPT TO:<c@d.fr>";

#[test]
fn whoever_tries_names_learns_of_a_hundred_and_has_to_come_again() {
    let mut driver = Driver::vouched();
    driver.check(&[(MAIL, 250), (RCPT, 250)]);
    driver.verdict = Err(Refusal::MailboxUnknown);
    for _ in 0..limits::SMTP_REFUSED_RECIPIENTS_MAX {
        assert_eq!(driver.say(RCPT), 550);
    }
    // Known or not, the answer is the same now.
    for verdict in [Ok(()), Err(Refusal::MailboxUnknown), Ok(())] {
        driver.verdict = verdict;
        assert_eq!(driver.say(RCPT), 452);
    }
    // The recipient who was good gets the letter all the same.
    driver.check(&[("DATA", 250), ("NOOP", 250), (MAIL, 421), ("NOOP", 0)]);
    assert_eq!(driver.letters.len(), 1);
    assert_eq!(driver.letters[0].1.len(), 1);
}

#[test]
fn nothing_works_before_ehlo() {
    let mut driver = Driver::new(Session::secured(rules(Door::Submission), MECHANISMS.to_vec()));
    for line in [MAIL, RCPT, "DATA", "BDAT 3", "AUTH PLAIN AHUAcHc=", "VRFY a", "STARTTLS"] {
        assert_eq!(driver.say(line), 503, "{line}");
    }
    driver.check(&[("NOOP", 250), ("RSET", 250), ("HELP", 214), ("HELO c", 250), ("QUIT", 221)]);
}

#[test]
fn the_submission_door_wants_tls_and_then_a_login() {
    let mut driver = Driver::new(Session::clear(rules(Door::Submission)));
    driver.check(&[("EHLO c", 250), (MAIL, 530), ("AUTH PLAIN AHUAcHc=", 530), (RCPT, 530)]);
    driver.check(&[("VRFY a", 530), ("BDAT 3 LAST", 530), ("DATA", 530), ("STARTTLS", 220)]);
    driver.check(&[(MAIL, 503), ("EHLO c", 250), (MAIL, 530), ("STARTTLS", 503)]);
    driver.check(&[("AUTH PLAIN AHUAcHc=", 235), ("AUTH PLAIN AHUAcHc=", 503), (MAIL, 250)]);
}

#[test]
fn the_operators_door_wants_tls_and_a_listed_certificate() {
    let mut driver = Driver::new(Session::clear(rules(Door::Operators)));
    driver.check(&[("EHLO c", 250), (MAIL, 530), ("AUTH PLAIN AHUAcHc=", 502), ("STARTTLS", 220)]);
    driver.check(&[(MAIL, 503), ("EHLO c", 250), (MAIL, 250), (RCPT, 250), ("DATA", 250)]);
}

#[test]
fn an_unlisted_operator_is_refused_at_ehlo_and_stays_refused() {
    let mut driver = Driver::new(Session::secured(rules(Door::Operators), MECHANISMS.to_vec()));
    driver.verdict = Err(Refusal::PeerNotListed);
    driver.check(&[("EHLO c", 550)]);
    driver.verdict = Ok(());
    driver.check(&[("HELO c", 550), (MAIL, 550), ("BDAT 3", 550), ("NOOP", 550), ("QUIT", 221)]);
}

#[test]
fn a_listed_operator_that_is_unlisted_meanwhile_is_refused_at_its_next_ehlo() {
    let mut driver = Driver::new(Session::secured(rules(Door::Operators), MECHANISMS.to_vec()));
    driver.check(&[("EHLO c", 250), (MAIL, 250)]);
    driver.verdict = Err(Refusal::PeerNotListed);
    driver.check(&[("EHLO c", 550), (MAIL, 550)]);
}

#[test]
fn ehlo_lists_what_this_client_may_use_now() {
    let keywords = |session: Session<Numbered>, client: &str| {
        let turn = session.line(Line::Whole(client.as_bytes()));
        let Turn::Say(_, reply) = turn else { panic!("not a reply") };
        let mut wire = Vec::new();
        reply.write_to(&mut wire);
        String::from_utf8(wire).unwrap()
    };
    let always = [
        "SIZE 1000",
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "DSN",
        "CHUNKING",
    ];
    let clear = keywords(Session::clear(rules(Door::Submission)), "EHLO c");
    let secured =
        keywords(Session::secured(rules(Door::Submission), MECHANISMS.to_vec()), "EHLO c");
    for keyword in always {
        assert!(clear.contains(keyword) && secured.contains(keyword), "{keyword}");
    }
    assert!(clear.contains("STARTTLS") && !clear.contains("AUTH"));
    assert!(!secured.contains("STARTTLS") && secured.contains("250 AUTH PLAIN LOGIN\r\n"));
    let operators = keywords(Session::clear(rules(Door::Operators)), "EHLO c");
    assert!(operators.contains("STARTTLS") && !operators.contains("AUTH"));
    assert_eq!(keywords(Session::clear(rules(Door::Operators)), "HELO c").lines().count(), 1);
}

#[test]
fn tls_may_begin_before_the_first_ehlo_and_an_ehlo_must_follow() {
    let mut driver = Driver::new(Session::clear(rules(Door::Submission)));
    driver.check(&[("STARTTLS", 220), (MAIL, 503), ("STARTTLS", 503), ("EHLO c", 250)]);
    driver.check(&[("AUTH PLAIN AHUAcHc=", 235), (MAIL, 250)]);
}

#[test]
fn commands_out_of_order_are_503_and_change_nothing() {
    let mut driver = Driver::vouched();
    driver.check(&[(RCPT, 503), ("DATA", 503), ("BDAT 3 LAST", 503), (MAIL, 250), (MAIL, 503)]);
    driver.check(&[("DATA", 503), ("BDAT 3", 503), (RCPT, 250), ("STARTTLS", 503)]);
    driver.check(&[("AUTH PLAIN AHUAcHc=", 503), ("DATA", 250), (RCPT, 503), ("DATA", 503)]);
    assert_eq!(driver.letters, [(1, vec![2])]);
}

#[test]
fn data_after_refused_recipients_only_is_554() {
    let mut driver = Driver::vouched();
    driver.check(&[(MAIL, 250)]);
    driver.verdict = Err(Refusal::MailboxUnknown);
    driver.check(&[(RCPT, 550), (RCPT, 550)]);
    driver.verdict = Ok(());
    driver.check(&[("DATA", 554), (RCPT, 250), ("DATA", 250)]);
    assert_eq!(driver.letters, [(1, vec![4])]);
}

#[test]
fn a_recipient_over_the_limit_is_452_and_the_others_stay() {
    let mut driver = Driver::vouched();
    driver.check(&[(MAIL, 250), (RCPT, 250), (RCPT, 250), (RCPT, 452), ("DATA", 250)]);
    assert_eq!(driver.letters, [(1, vec![2, 3])]);
}

#[test]
fn a_letter_too_large_by_its_own_word_is_552_at_mail() {
    let mut driver = Driver::vouched();
    driver.check(&[("MAIL FROM:<a@b.fr> SIZE=1001", 552), (RCPT, 503)]);
    driver.check(&[("MAIL FROM:<a@b.fr> SIZE=1000", 250)]);
}

#[test]
fn an_address_with_accents_needs_smtputf8() {
    let mut driver = Driver::vouched();
    driver.check(&[("MAIL FROM:<é@b.fr>", 553), (MAIL, 250), ("RCPT TO:<é@b.fr>", 553)]);
    driver.check(&[("RSET", 250), ("MAIL FROM:<é@b.fr> SMTPUTF8", 250), ("RCPT TO:<é@b.fr>", 250)]);
}

#[test]
fn chunks_make_a_letter_and_nothing_else_may_stand_between_them() {
    let mut driver = Driver::vouched();
    driver.check(&[(MAIL, 250), (RCPT, 250), ("BDAT 3", 250), ("DATA", 503), (RCPT, 503)]);
    driver.check(&[(MAIL, 503), ("NOOP", 250), ("BDAT 4", 250), ("BDAT 0 LAST", 250)]);
    driver.check(&[("BDAT 1 LAST", 503), (MAIL, 250), (RCPT, 250), ("BDAT 9 LAST", 250)]);
    assert_eq!(driver.letters, [(1, vec![2]), (3, vec![4])]);
}

#[test]
fn chunks_behind_a_refused_one_get_the_same_answer_until_rset_or_the_last() {
    for last in ["RSET", "BDAT 1 LAST", "EHLO c"] {
        let mut driver = Driver::vouched();
        driver.check(&[(MAIL, 250), (RCPT, 250)]);
        driver.verdict = Err(Refusal::Busy);
        driver.check(&[("BDAT 3", 451), ("BDAT 3", 451), (MAIL, 503)]);
        driver.verdict = Ok(());
        let code = if last.starts_with("BDAT") { 451 } else { 250 };
        driver.check(&[(last, code), (MAIL, 250), (RCPT, 250), ("DATA", 250)]);
        assert_eq!(driver.letters[1], (3, vec![4]), "{last}");
    }
}

#[test]
fn a_chunk_without_a_size_or_of_absurd_size_ends_the_connection() {
    for (line, code) in [("BDAT x", 501), ("BDAT 9999999999", 421)] {
        let mut driver = Driver::vouched();
        driver.check(&[(MAIL, 250), (RCPT, 250), (line, code), ("NOOP", 0)]);
    }
}

#[test]
fn the_third_failed_login_ends_the_connection() {
    let mut driver = Driver::new(Session::secured(rules(Door::Submission), MECHANISMS.to_vec()));
    driver.verdict = Err(Refusal::AuthFailed);
    driver.check(&[("EHLO c", 250), ("AUTH PLAIN AHUAcHc=", 535), ("AUTH LOGIN !", 501)]);
    driver.check(&[("AUTH PLAIN AHUAcHc=", 535), ("RSET", 250), ("EHLO c", 250)]);
    driver.check(&[("AUTH PLAIN AHUAcHc=", 421), ("NOOP", 0)]);
}

#[test]
fn a_client_that_makes_only_errors_is_sent_away() {
    let mut driver = Driver::new(Session::clear(rules(Door::Submission)));
    let codes: Vec<u16> = (0..=limits::SMTP_ERRORS_MAX).map(|_| driver.say("hello?")).collect();
    let (last, others) = codes.split_last().unwrap();
    assert!(others.iter().all(|code| *code == 500));
    assert_eq!(*last, 421);
}

#[test]
fn a_stranger_may_say_little_and_a_client_with_a_login_much() {
    let mut driver = Driver::new(Session::clear(rules(Door::Submission)));
    let said = (0..1000).take_while(|_| driver.say("NOOP") == 250).count();
    assert_eq!(said, limits::SMTP_STRANGER_COMMANDS_MAX);
    let mut driver = Driver::new(Session::clear(rules(Door::Submission)));
    driver.check(&[("EHLO c", 250), ("BDAT 100000", 421), ("NOOP", 0)]);
    let mut driver = Driver::vouched();
    assert!((0..1000).all(|_| driver.say("NOOP") == 250));
}

#[test]
fn bad_line_ends_and_overlong_lines_are_500_and_change_nothing() {
    let mut driver = Driver::vouched();
    driver.check(&[(MAIL, 250), (RCPT, 250)]);
    for line in [Line::BadEnds, Line::TooLong] {
        let Turn::Say(session, reply) = driver.session.take().unwrap().line(line) else {
            panic!("not a reply");
        };
        assert_eq!(reply.code(), 500);
        driver.session = Some(session);
    }
    driver.check(&[("DATA", 250)]);
}

/// What a client may do, and what the flow answers meanwhile.
#[derive(Clone, Copy, Debug)]
enum Act {
    Ehlo,
    Helo,
    Mail,
    MailTooLarge,
    MailNotAnAddress,
    Rcpt,
    RcptUtf8,
    Data,
    Bdat,
    BdatLast,
    Rset,
    Noop,
    Vrfy,
    Auth,
    StartTls,
    Nonsense,
}

impl Act {
    const ALL: [Self; 16] = [
        Self::Ehlo,
        Self::Helo,
        Self::Mail,
        Self::MailTooLarge,
        Self::MailNotAnAddress,
        Self::Rcpt,
        Self::RcptUtf8,
        Self::Data,
        Self::Bdat,
        Self::BdatLast,
        Self::Rset,
        Self::Noop,
        Self::Vrfy,
        Self::Auth,
        Self::StartTls,
        Self::Nonsense,
    ];

    fn line(self) -> &'static str {
        match self {
            Self::Ehlo => "EHLO c",
            Self::Helo => "HELO c",
            Self::Mail => MAIL,
            Self::MailTooLarge => "MAIL FROM:<a@b.fr> SIZE=5000",
            Self::MailNotAnAddress => "MAIL FROM:<a>",
            Self::Rcpt => RCPT,
            Self::RcptUtf8 => "RCPT TO:<é@d.fr>",
            Self::Data => "DATA",
            Self::Bdat => "BDAT 5",
            Self::BdatLast => "BDAT 5 LAST",
            Self::Rset => "RSET",
            Self::Noop => "NOOP",
            Self::Vrfy => "VRFY a",
            Self::Auth => "AUTH PLAIN AHUAcHc=",
            Self::StartTls => "STARTTLS",
            Self::Nonsense => "XYZZY",
        }
    }
}

/// The transaction as a reader of RFC 5321 would keep it on paper.
#[derive(Default)]
struct Paper {
    sender: Option<u32>,
    recipients: Vec<u32>,
    chunking: bool,
    letters: Vec<(u32, Vec<u32>)>,
}

impl Paper {
    fn forget(&mut self) {
        (self.sender, self.recipients, self.chunking) = (None, Vec::new(), false);
    }

    /// `approved` is the last number that the flow gave; `yes` is its answer to this act.
    fn note(&mut self, act: Act, code: u16, approved: u32, yes: bool) {
        match act {
            Act::Ehlo | Act::Helo | Act::Rset => self.forget(),
            Act::Mail if code == 250 => self.sender = Some(approved),
            Act::Rcpt if code == 250 => self.recipients.push(approved),
            Act::Data | Act::Bdat | Act::BdatLast => {
                let ready = self.sender.filter(|_| !self.recipients.is_empty() && !self.chunking);
                if let Some(sender) = ready {
                    self.letters.push((sender, std::mem::take(&mut self.recipients)));
                    assert_eq!(yes, code == 250, "{act:?}");
                    self.forget();
                    self.chunking = matches!(act, Act::Bdat);
                } else if !self.chunking {
                    assert!(matches!(code, 503 | 554), "{act:?} without envelope: {code}");
                } else if matches!(act, Act::BdatLast) {
                    self.forget();
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// No sender and no recipient outlives its transaction, whatever a client and the flow do.
    #[test]
    fn a_letter_has_exactly_the_envelope_that_its_own_transaction_built(
        acts in vec((prop::sample::select(&Act::ALL[..]), prop::bool::weighted(0.8)), 0..60)
    ) {
        let mut driver = Driver::vouched();
        let mut paper = Paper::default();
        for (act, yes) in acts {
            driver.verdict = if yes { Ok(()) } else { Err(Refusal::Busy) };
            let code = driver.say(act.line());
            if code == 421 || code == 0 {
                break;
            }
            paper.note(act, code, driver.approved, yes);
            let open = paper.sender.is_some() || paper.chunking;
            let between = driver.session.as_ref().is_some_and(Session::is_between_letters);
            prop_assert_eq!(open, !between, "after {:?}", act);
        }
        prop_assert_eq!(driver.letters, paper.letters);
    }
}
