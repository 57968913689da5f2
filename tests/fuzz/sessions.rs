//! A whole SMTP conversation over octets that arrive in pieces of any size, with a flow that says yes
//! to most. The fuzz target `smtp` runs it, and a test runs it on the seeds.
use std::sync::Arc;

use vaguemestre::domain::address::Domain;
use vaguemestre::domain::login::Mechanism;
use vaguemestre::domain::status::Refusal;
use vaguemestre::proto::smtp::auth;
use vaguemestre::proto::smtp::command::ForwardPath;
use vaguemestre::proto::smtp::data::ContentReader;
use vaguemestre::proto::smtp::line::Expecting;
use vaguemestre::proto::smtp::line::LineFinder;
use vaguemestre::proto::smtp::reply::Reply;
use vaguemestre::proto::smtp::session::Authenticating;
use vaguemestre::proto::smtp::session::Chunk;
use vaguemestre::proto::smtp::session::Content;
use vaguemestre::proto::smtp::session::Door;
use vaguemestre::proto::smtp::session::Parcels;
use vaguemestre::proto::smtp::session::Rules;
use vaguemestre::proto::smtp::session::Session;
use vaguemestre::proto::smtp::session::Turn;

/// Octets of the largest letter. Inputs are so short that no content is cut off in its middle: where
/// that happens depends on the pieces.
const OCTETS_MAX: u64 = 20_000;
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// What came of a conversation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Codes of the replies.
    pub(crate) replies: Vec<u16>,
    /// Letters that were taken.
    pub(crate) letters: Vec<Vec<u8>>,
}

/// Talks at this door, with octets in pieces of so many.
pub(crate) fn converse(door: Door, octets: &[u8], piece: usize) -> Told {
    let hostname = Domain::parse("mx.hopital.mssante.test").expect("a name");
    let rules = Arc::new(Rules { door, hostname, octets_max: OCTETS_MAX, recipients_max: 3 });
    let mut talk = Talk {
        state: State::Command(Session::clear(rules)),
        finder: LineFinder::default(),
        arrived: Vec::new(),
        told: Told::default(),
    };
    for piece in octets.chunks(piece.max(1)) {
        talk.arrived.extend_from_slice(piece);
        while talk.step() {}
    }
    talk.told
}

struct Paper;

impl Parcels for Paper {
    type Voucher = ();
    type Sender = ();
    type Recipient = ();
    type Content = Letter;
}

struct Letter {
    reader: ContentReader,
    octets: Vec<u8>,
}

type Arriving = Result<Letter, Refusal>;

enum State {
    Command(Session<Paper>),
    /// So many responses are still expected.
    Login(Authenticating<Paper>, u8),
    Dotted(Content<Paper>, Letter),
    Chunk {
        left: u64,
        arriving: Arriving,
        then: Then,
    },
    Over,
}

/// What a chunk was for.
enum Then {
    More(Chunk<Paper>),
    End(Content<Paper>),
    Forget(Session<Paper>, Reply),
}

struct Talk {
    state: State,
    finder: LineFinder,
    arrived: Vec<u8>,
    told: Told,
}

impl Talk {
    /// Goes on as far as the next octets lead; false when more of them are needed.
    fn step(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => false,
            State::Command(session) => {
                let (used, line) = self.finder.find(&self.arrived, Expecting::Command);
                match line {
                    Some(line) => {
                        let turn = session.line(line);
                        self.state = self.told.take(turn);
                    }
                    None => self.state = State::Command(session),
                }
                let went_on = used > 0;
                self.arrived.drain(..used);
                went_on
            }
            State::Login(login, left) => {
                let (used, line) = self.finder.find(&self.arrived, Expecting::AuthResponse);
                match line.map(auth::answer) {
                    None => self.state = State::Login(login, left),
                    Some(Err(reply)) => self.state = self.told.take(login.failed(reply)),
                    Some(Ok(said)) if left > 1 => {
                        self.told.say(&auth::challenge(&said));
                        self.state = State::Login(login, left - 1);
                    }
                    Some(Ok(said)) => {
                        let verdict = verdict_of(said.expose());
                        self.state = self.told.take(login.answer(verdict));
                    }
                }
                let went_on = used > 0;
                self.arrived.drain(..used);
                went_on
            }
            State::Dotted(content, mut letter) => {
                if self.arrived.is_empty() {
                    self.state = State::Dotted(content, letter);
                    return false;
                }
                let taken = letter.reader.take(&self.arrived);
                letter.octets.extend_from_slice(taken.content);
                let (used, ended) = (taken.used, taken.ended);
                self.arrived.drain(..used);
                self.state = match ended {
                    true => self.told.end(content, Ok(letter)),
                    false => State::Dotted(content, letter),
                };
                used > 0 || ended
            }
            State::Chunk { left: 0, arriving, then } => {
                let arriving = arriving.and_then(|letter| match letter.reader.refusal() {
                    Some(refusal) => Err(refusal),
                    None => Ok(letter),
                });
                self.state = match then {
                    Then::More(chunk) => self.told.take(chunk.arrived(arriving)),
                    Then::End(content) => self.told.end(content, arriving),
                    Then::Forget(session, reply) => self.told.take(Turn::Say(session, reply)),
                };
                true
            }
            State::Chunk { left, mut arriving, then } => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.arrived.len());
                let mut used = here;
                if let Ok(letter) = &mut arriving {
                    let taken = letter.reader.take(&self.arrived[..here]);
                    letter.octets.extend_from_slice(taken.content);
                    used = taken.used;
                }
                self.arrived.drain(..used);
                self.state = State::Chunk { left: left - used as u64, arriving, then };
                used > 0
            }
        }
    }
}

impl Told {
    fn say(&mut self, reply: &Reply) {
        let mut wire = Vec::new();
        reply.write_to(&mut wire);
        assert!(wire.ends_with(b"\r\n") && (200..600).contains(&reply.code()), "{reply:?}");
        self.replies.push(reply.code());
    }

    fn end(&mut self, content: Content<Paper>, arriving: Arriving) -> State {
        let whole = arriving.and_then(|letter| letter.reader.finish().map(|()| letter.octets));
        let turn = content.ended(match whole {
            Ok(octets) => {
                let bare = octets.iter().enumerate().any(|(at, octet)| match octet {
                    b'\r' => octets.get(at + 1) != Some(&b'\n'),
                    b'\n' => at == 0 || octets[at - 1] != b'\r',
                    octet => *octet == 0,
                });
                assert!(!bare, "a bare line end, or NUL, in a letter that was taken");
                assert!(octets.len() as u64 <= OCTETS_MAX, "a letter is too large");
                self.letters.push(octets);
                Ok(Reply::queued("Queued"))
            }
            Err(refusal) => Err(refusal),
        });
        self.take(turn)
    }

    /// What the driver must do, until octets are needed.
    fn take(&mut self, turn: Turn<Paper>) -> State {
        let mut turn = turn;
        loop {
            turn = match turn {
                Turn::Say(session, reply) => {
                    self.say(&reply);
                    return if reply.closes() { State::Over } else { State::Command(session) };
                }
                Turn::Refuse(session, refusal, _) => Turn::Say(session, refusal.into()),
                Turn::Close(reply) => {
                    self.say(&reply);
                    return State::Over;
                }
                Turn::Upgrade(upgrading, reply) => {
                    self.say(&reply);
                    return State::Command(upgrading.secured(MECHANISMS.to_vec()));
                }
                Turn::AskPeer(introducing) => {
                    let is_known = !introducing.client().name.as_str().starts_with("stranger");
                    introducing.answer(if is_known { Ok(()) } else { Err(Refusal::PeerNotListed) })
                }
                Turn::Authenticate(login, mechanism, None) => {
                    self.replies.push(334);
                    let responses = if mechanism == Mechanism::Login { 2 } else { 1 };
                    return State::Login(login, responses);
                }
                Turn::Authenticate(login, _, Some(response)) => match auth::initial(&response) {
                    Ok(said) => login.answer(verdict_of(said.expose())),
                    Err(reply) => login.failed(reply),
                },
                Turn::AskSender(sender, path, _) => {
                    let is_spoofed =
                        path.address().is_some_and(|from| from.to_string().starts_with("other@"));
                    sender.answer(if is_spoofed { Err(Refusal::AuthRequired) } else { Ok(()) })
                }
                Turn::AskRecipient(recipient, to, _) => recipient.answer(match to {
                    ForwardPath::Mailbox(address) if address.to_string().starts_with("nobody@") => {
                        Err((Refusal::MailboxUnknown, address))
                    }
                    _ => Ok(()),
                }),
                Turn::Begin(beginning, (), _) => {
                    let reader = match beginning.is_chunked() {
                        true => ContentReader::counted(OCTETS_MAX),
                        false => ContentReader::dotted(OCTETS_MAX),
                    };
                    beginning.answer(Ok(Letter { reader, octets: Vec::new() }))
                }
                Turn::ReadContent(content, letter, reply) => {
                    self.say(&reply);
                    return State::Dotted(content, letter);
                }
                Turn::ReadChunk(chunk, arriving) => {
                    let left = chunk.octets();
                    return State::Chunk { left, arriving, then: Then::More(chunk) };
                }
                Turn::ReadLastChunk(content, left, arriving) => {
                    return State::Chunk { left, arriving, then: Then::End(content) };
                }
                Turn::Discard(session, left, reply) => {
                    let arriving = Err(Refusal::ContentMalformed);
                    return State::Chunk { left, arriving, then: Then::Forget(session, reply) };
                }
            };
        }
    }
}

fn verdict_of(said: &[u8]) -> Result<(), Refusal> {
    if said.is_empty() || said.ends_with(b"wrong") { Err(Refusal::AuthFailed) } else { Ok(()) }
}
