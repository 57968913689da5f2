//! The dialogue of one connection: which command is allowed when, and what it sets off.
use std::net::IpAddr;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::flow::office::ClearPermit;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Command;
use crate::proto::imap::command::Tag;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::reader::Next;
use crate::proto::imap::reader::Refused;
use crate::proto::imap::reader::Step;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::append;
use crate::server::imap::fetch;
use crate::server::imap::folders;
use crate::server::imap::line::Event;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::messages;
use crate::server::imap::messages::Transfer;
use crate::server::imap::notify;
use crate::server::imap::notify::Moment;
use crate::server::imap::notify::Notices;
use crate::server::imap::search;
use crate::server::imap::search::Asker;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view::Numbers;
use crate::server::imap::view::View;

/// What a connection offers before anybody logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Safety {
    /// In clear: STARTTLS and nothing that shows a password.
    Clear,
    /// Under TLS.
    Tls,
}

/// What becomes of a connection after its session.
pub(super) enum Ending<S> {
    /// It is closed.
    Closed,
    /// TLS shall begin on it.
    StartTls(S),
}

/// Counts logins for the metrics.
pub(super) type LoginCount<'a> = &'a (dyn Fn(bool) + Send + Sync);

/// One session.
pub(super) struct Session<'a, D: Desk, S> {
    pub(super) desk: &'a D,
    pub(super) line: Line<S>,
    pub(super) safety: Safety,
    pub(super) peer: Option<IpAddr>,
    pub(super) count_login: LoginCount<'a>,
    pub(super) state: State<D::Shelf>,
    pub(super) bad_commands: usize,
    pub(super) failed_logins: usize,
    /// Room for the message that is on its way.
    pub(super) room: Option<ClearPermit>,
    /// What is told unasked; `None` until the first NOTIFY.
    pub(super) notices: Option<Box<Notices<D::Shelf>>>,
    /// The message of an APPEND whose command has not ended yet.
    pub(super) message: Option<Secret<Vec<u8>>>,
}

/// RFC 3501 §3
pub(super) enum State<M: Shelf> {
    Stranger,
    LoggedIn(M),
    Selected(M, Box<View<M>>),
}

/// How a session goes on after a step.
pub(super) enum Way {
    On,
    HangUp,
    StartTls,
}

/// RFC 3501 §7.2.1; all of it works, and what is not here does not.
const EXTENSIONS: &str = "SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UIDPLUS MOVE UNSELECT \
                          SPECIAL-USE CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS STATUS=SIZE \
                          ESEARCH SEARCHRES WITHIN SORT SORT=DISPLAY ESORT PARTIAL \
                          THREAD=REFERENCES THREAD=ORDEREDSUBJECT";

impl<'a, D: Desk, S: Stream> Session<'a, D, S> {
    /// A stranger's session.
    pub(super) fn new(
        desk: &'a D,
        line: Line<S>,
        safety: Safety,
        peer: Option<IpAddr>,
        count_login: LoginCount<'a>,
    ) -> Self {
        Self {
            desk,
            line,
            safety,
            peer,
            count_login,
            state: State::Stranger,
            bad_commands: 0,
            failed_logins: 0,
            room: None,
            notices: None,
            message: None,
        }
    }

    /// Says the greeting.
    pub(super) fn greet(&mut self) {
        let capabilities = self.capabilities();
        let out = self.line.out();
        write::text(out, format_args!("* OK [CAPABILITY {capabilities}] Vaguemestre is ready\r\n"));
    }

    /// Serves until the connection ends or becomes TLS.
    pub(super) async fn run(mut self) -> Ending<S> {
        loop {
            let way = match self.wait(Moment::Between).await {
                Ok(Event::Step(step)) => self.take(step).await,
                Ok(Event::Rung) => match self.tell_news(Moment::Between, &[]).await {
                    // What cannot be read now is told later.
                    Ok(()) | Err(Halt::Refused(_)) => Ok(Way::On),
                    Err(Halt::Gone(gone)) => Err(gone),
                },
                Err(gone) => Err(gone),
            };
            match way {
                Ok(Way::On) => {}
                Ok(Way::HangUp) => {
                    self.line.hang_up().await;
                    return Ending::Closed;
                }
                Ok(Way::StartTls) => return Ending::StartTls(self.line.into_stream()),
                Err(gone) => {
                    tracing::debug!(?gone, "an IMAP session ends");
                    self.line.close(gone).await;
                    return Ending::Closed;
                }
            }
        }
    }

    async fn take(&mut self, step: Step) -> Result<Way, Gone> {
        match step {
            Step::Continue => {
                self.line.out().extend_from_slice(b"+ OK\r\n");
                Ok(Way::On)
            }
            Step::Message(announced) => self.decide(announced).await,
            Step::Received(message) => {
                self.message = Some(message);
                Ok(Way::On)
            }
            Step::Command(command) => self.obey(command).await,
            Step::Bad(refused) => Ok(self.refuse(&refused)),
            // Lines that stand alone are read where they were asked for.
            Step::Line(_) => Ok(Way::On),
        }
    }

    /// A command that is none. RFC 3501 §7.1.3: an untagged BAD when there is no tag.
    fn refuse(&mut self, refused: &Refused) -> Way {
        (self.room, self.message) = (None, None);
        let Bad(text, fault) = refused.reason;
        let answer = fault.code().map_or_else(|| Answer::bad(text), |code| Answer::no(code, text));
        answer.write(self.line.out(), refused.tag.as_ref());
        match refused.next {
            Next::GoOn => self.after_bad(),
            Next::Close => self.bye("Too much is on its way to go on"),
        }
    }

    pub(super) fn after_bad(&mut self) -> Way {
        self.bad_commands += 1;
        if self.bad_commands >= limits::IMAP_ERRORS_MAX {
            return self.bye("Too many bad commands");
        }
        Way::On
    }

    pub(super) fn bye(&mut self, why: &'static str) -> Way {
        write::text(self.line.out(), format_args!("* BYE {why}\r\n"));
        Way::HangUp
    }

    async fn obey(&mut self, command: Command) -> Result<Way, Gone> {
        let Command { tag, body } = command;
        let numbers = numbers_after(&body);
        let own_names = notify::names_of(&body);
        let done = match body {
            Body::Logout => {
                self.line.out().extend_from_slice(b"* BYE Until next time\r\n");
                Answer::ok("Done").write(self.line.out(), Some(&tag));
                return Ok(Way::HangUp);
            }
            Body::StartTls => return self.start_tls(&tag).await,
            Body::Login { name, password } => self.login(&name, &password).await,
            Body::Authenticate { mechanism, initial } => {
                self.authenticate(&mechanism, initial).await
            }
            Body::Idle => self.idle().await,
            Body::Notify(wish) => self.notify(wish).await,
            other => self.perform(&tag, other).await,
        };
        // News come before the tagged line, so that a client that waits for it has them.
        let told = match &done {
            Ok(answer) if !answer.is_bad() => {
                self.tell_news(Moment::Command(numbers), &own_names).await
            }
            _ => Ok(()),
        };
        let answer = match (done, told) {
            (Err(Halt::Gone(gone)), _) | (_, Err(Halt::Gone(gone))) => return Err(gone),
            (Err(Halt::Refused(answer)), _) => answer,
            // What the command did is done, even if the news cannot be read now.
            (Ok(answer), _) => answer,
        };
        answer.write(self.line.out(), Some(&tag));
        if self.failed_logins >= limits::LOGIN_FAILURES_MAX {
            return Ok(self.bye("Too many failed logins"));
        }
        if answer.is_bad() { Ok(self.after_bad()) } else { Ok(Way::On) }
    }

    async fn perform(&mut self, tag: &Tag, body: Body) -> Done {
        let Self { desk, line, state, .. } = self;
        match body {
            Body::Capability => {
                let capabilities = self.capabilities();
                write::text(self.line.out(), format_args!("* CAPABILITY {capabilities}\r\n"));
                return Ok(Answer::ok("Done"));
            }
            Body::Noop => return Ok(Answer::ok("Done")),
            Body::Id => {
                // RFC 2971 §4: no version; it would help attackers more than anybody.
                line.out().extend_from_slice(b"* ID (\"name\" \"Vaguemestre\")\r\n");
                return Ok(Answer::ok("Done"));
            }
            Body::Select { mailbox, access, .. } => return self.select(&mailbox, access).await,
            Body::Close => return self.close().await,
            Body::Delete(mailbox) => return self.delete(&mailbox).await,
            Body::Unselect => {
                self.selected()?;
                self.unselect();
                return Ok(Answer::ok("Unselected"));
            }
            _ => {}
        }
        let (shelf, view) = match state {
            State::Stranger => return Err(log_in_first()),
            State::LoggedIn(shelf) => (&*shelf, None),
            State::Selected(shelf, view) => (&*shelf, Some(view)),
        };
        match body {
            Body::Enable(_) => {
                // RFC 5161 §3.2: what is unknown is left out; nothing here needs enabling.
                line.out().extend_from_slice(b"* ENABLED\r\n");
                Ok(Answer::ok("Done"))
            }
            Body::Namespace => {
                line.out().extend_from_slice(b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
                Ok(Answer::ok("Done"))
            }
            Body::Create { mailbox, special_use } => {
                folders::create(shelf, &mailbox, &special_use).await
            }
            Body::Rename { from, to } => folders::rename(shelf, &from, &to).await,
            Body::Subscribe(mailbox) => {
                let place = folders::find(*desk, shelf, &mailbox).await?;
                place.shelf.subscribe(place.folder.id, true).await?;
                Ok(Answer::ok("Subscribed"))
            }
            Body::Unsubscribe(mailbox) => {
                let place = folders::find(*desk, shelf, &mailbox).await?;
                place.shelf.subscribe(place.folder.id, false).await?;
                Ok(Answer::ok("Unsubscribed"))
            }
            Body::List(list) => folders::list(shelf, line, &list).await,
            Body::Lsub { reference, pattern } => {
                folders::lsub(shelf, line, &reference, &pattern).await
            }
            Body::Status { mailbox, items } => {
                folders::status(*desk, shelf, line, &mailbox, &items).await
            }
            Body::Append(append) => {
                let message = self.message.take();
                let done = append::append(*desk, shelf, append, message).await;
                self.room = None;
                done
            }
            with_messages => {
                let view = view.ok_or_else(select_first)?;
                let asker = Asker { tag, rev2: false, utf8: false };
                on_messages((*desk, shelf), line, view, &asker, with_messages).await
            }
        }
    }

    pub(super) fn knows_modseq(&self) -> bool {
        false
    }

    pub(super) fn capabilities(&self) -> String {
        let login = match (&self.state, self.safety) {
            (State::Stranger, Safety::Clear) => " STARTTLS LOGINDISABLED",
            (State::Stranger, Safety::Tls) => " AUTH=PLAIN",
            _ => "",
        };
        format!("IMAP4rev1 {EXTENSIONS}{login}")
    }

    pub(super) fn shelf(&self) -> Result<&D::Shelf, Halt> {
        match &self.state {
            State::Stranger => Err(log_in_first()),
            State::LoggedIn(shelf) | State::Selected(shelf, _) => Ok(shelf),
        }
    }

    pub(super) fn selected(&self) -> Result<&View<D::Shelf>, Halt> {
        match &self.state {
            State::Stranger => Err(log_in_first()),
            State::LoggedIn(_) => Err(select_first()),
            State::Selected(_, view) => Ok(view),
        }
    }

    pub(super) fn unselect(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Stranger) {
            State::Selected(shelf, _) => State::LoggedIn(shelf),
            other => other,
        };
    }
}

/// Commands that need a selected mailbox.
async fn on_messages<D: Desk, S: Stream>(
    (desk, own): (&D, &D::Shelf),
    line: &mut Line<S>,
    view: &mut View<D::Shelf>,
    asker: &Asker<'_>,
    body: Body,
) -> Done {
    match body {
        // Everything is durable before it is answered, so there is nothing to check.
        Body::Check => Ok(Answer::ok("Done")),
        Body::Expunge => messages::expunge(line, view, None).await,
        Body::UidExpunge(set) => messages::expunge(line, view, Some(&set)).await,
        Body::Search(search) => search::search(desk, line, view, &search, asker).await,
        Body::Sort(sort) => search::sort(desk, line, view, &sort, asker).await,
        Body::Thread(thread) => search::thread(desk, line, view, &thread, asker).await,
        Body::Fetch(fetch) => fetch::fetch(desk, line, view, &fetch).await,
        Body::Store(store) => messages::store(line, view, &store).await,
        Body::Copy { by, set, mailbox } => {
            let how = Transfer::Copy;
            messages::transfer((desk, own), line, view, (by, &set), &mailbox, how).await
        }
        Body::Move { by, set, mailbox } => {
            let how = Transfer::Move;
            messages::transfer((desk, own), line, view, (by, &set), &mailbox, how).await
        }
        _ => Err(Answer::bad("Not now").into()),
    }
}

/// RFC 3501 §7.4.1 forbids EXPUNGE during FETCH, STORE and SEARCH. It allows it during their
/// UID variants; but a client may have sent another command behind that counts by sequence.
fn numbers_after(body: &Body) -> Numbers {
    match body {
        Body::Fetch(_) | Body::Store(_) | Body::Search(_) | Body::Sort(_) | Body::Thread(_) => {
            Numbers::MustStay
        }
        _ => Numbers::MayChange,
    }
}

pub(super) fn log_in_first() -> Halt {
    Answer::bad("Log in first").into()
}

pub(super) fn select_first() -> Halt {
    Answer::bad("Select a mailbox first").into()
}
