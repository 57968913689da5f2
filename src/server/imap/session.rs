//! The dialogue of one connection: which command is allowed when, and what it sets off.
use std::net::IpAddr;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::office::ClearPermit;
use crate::proto::imap::command;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::BadPlain;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Command;
use crate::proto::imap::command::Tag;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::flags;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::reader::Announced;
use crate::proto::imap::reader::LiteralMode;
use crate::proto::imap::reader::Next;
use crate::proto::imap::reader::Refused;
use crate::proto::imap::reader::Step;
use crate::proto::imap::write;
use crate::server::imap::answer;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::fetch;
use crate::server::imap::folders;
use crate::server::imap::folders::Place;
use crate::server::imap::line::Event;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::messages;
use crate::server::imap::messages::Transfer;
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
    desk: &'a D,
    line: Line<S>,
    safety: Safety,
    peer: Option<IpAddr>,
    count_login: LoginCount<'a>,
    state: State<D::Shelf>,
    bad_commands: usize,
    failed_logins: usize,
    /// Room for the message that is on its way.
    room: Option<ClearPermit>,
    /// The message of an APPEND whose command has not ended yet.
    message: Option<Secret<Vec<u8>>>,
}

/// RFC 3501 §3
enum State<M: Shelf> {
    Stranger,
    LoggedIn(M),
    Selected(M, Box<View<M>>),
}

/// How a session goes on after a step.
enum Way {
    On,
    HangUp,
    StartTls,
}

/// RFC 3501 §7.2.1; all of it works, and what is not here does not.
const EXTENSIONS: &str = "SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UIDPLUS MOVE UNSELECT \
                          SPECIAL-USE CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS STATUS=SIZE";

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
            let way = match self.line.step().await {
                Ok(step) => self.take(step).await,
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

    fn after_bad(&mut self) -> Way {
        self.bad_commands += 1;
        if self.bad_commands >= limits::IMAP_ERRORS_MAX {
            return self.bye("Too many bad commands");
        }
        Way::On
    }

    fn bye(&mut self, why: &'static str) -> Way {
        write::text(self.line.out(), format_args!("* BYE {why}\r\n"));
        Way::HangUp
    }

    /// An APPEND's message is announced: everything that can be refused is refused before it
    /// comes.
    async fn decide(&mut self, announced: Announced) -> Result<Way, Gone> {
        let octets_max = self.desk.message_octets_max();
        let decision = match self.room_for(&announced, octets_max).await {
            Ok(room) => {
                self.room = Some(room);
                self.line.accept_message();
                if announced.literal == LiteralMode::Synchronising {
                    self.line.out().extend_from_slice(b"+ Ready for the message\r\n");
                }
                return Ok(Way::On);
            }
            Err(Halt::Gone(gone)) => return Err(gone),
            Err(Halt::Refused(answer)) => answer,
        };
        (self.room, self.message) = (None, None);
        decision.write(self.line.out(), Some(&announced.tag));
        match self.line.refuse_message(octets_max) {
            Next::Close => Ok(self.bye("Too much is on its way to go on")),
            Next::GoOn if decision.is_bad() => Ok(self.after_bad()),
            Next::GoOn => Ok(Way::On),
        }
    }

    async fn room_for(
        &mut self,
        announced: &Announced,
        octets_max: u64,
    ) -> Result<ClearPermit, Halt> {
        let shelf = self.shelf()?;
        if announced.index > 0 || announced.replaced.is_some() {
            return Err(Answer::bad("One message for each APPEND").into());
        }
        if announced.octets > octets_max {
            return Err(Answer::no("TOOBIG", "The message is too large").into());
        }
        folders::find_target(self.desk, shelf, &announced.start.mailbox).await?;
        self.desk.reserve(announced.octets).await.map_err(|refusal| answer::refused(refusal).into())
    }

    async fn obey(&mut self, command: Command) -> Result<Way, Gone> {
        let Command { tag, body } = command;
        let numbers = numbers_after(&body);
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
            other => self.perform(other).await,
        };
        // News come before the tagged line, so that a client that waits for it has them.
        let told = match (&done, &mut self.state) {
            (Ok(answer), State::Selected(_, view)) if !answer.is_bad() => {
                view.tell(&mut self.line, numbers).await
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

    async fn perform(&mut self, body: Body) -> Done {
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
                let done = messages::append(*desk, shelf, append, message).await;
                self.room = None;
                done
            }
            with_messages => {
                let view = view.ok_or_else(select_first)?;
                on_messages((*desk, shelf), line, view, with_messages).await
            }
        }
    }

    async fn select(&mut self, mailbox: &MailboxName, access: Access) -> Done {
        self.shelf()?;
        // RFC 3501 §6.3.1: whatever comes of it, the mailbox selected before is not any more.
        self.unselect();
        let shelf = self.shelf()?;
        let place = folders::find(self.desk, shelf, mailbox).await?;
        let opened = View::open(place.shelf, place.folder.id, access).await?;
        let folder = &opened.folder;
        let mut known = flags::print(&crate::domain::folder::Flags {
            seen: true,
            answered: true,
            flagged: true,
            deleted: true,
            draft: true,
            keywords: opened.keywords,
        });
        let out = self.line.out();
        write::text(out, format_args!("* FLAGS {known}\r\n"));
        write::text(out, format_args!("* {} EXISTS\r\n* 0 RECENT\r\n", opened.view.exists()));
        if let Some(first) = opened.first_unseen {
            write::text(out, format_args!("* OK [UNSEEN {first}] First unread\r\n"));
        }
        let (validity, next) = (folder.uid_validity, folder.uid_next.0);
        write::text(out, format_args!("* OK [UIDVALIDITY {validity}] UIDs are valid\r\n"));
        write::text(out, format_args!("* OK [UIDNEXT {next}] Next UID\r\n"));
        let (permanent, code, text) = match access {
            Access::ReadWrite => {
                known.insert_str(known.len() - 1, " \\*");
                (known.as_str(), "READ-WRITE", "Selected")
            }
            Access::ReadOnly => ("()", "READ-ONLY", "Examined"),
        };
        write::text(out, format_args!("* OK [PERMANENTFLAGS {permanent}] Kept\r\n"));
        if let State::LoggedIn(shelf) = std::mem::replace(&mut self.state, State::Stranger) {
            self.state = State::Selected(shelf, Box::new(opened.view));
        }
        Ok(Answer::ok(text).code(code.to_owned()))
    }

    async fn delete(&mut self, mailbox: &MailboxName) -> Done {
        let shelf = self.shelf()?;
        let Place { shelf, folder, .. } = folders::find(self.desk, shelf, mailbox).await?;
        shelf.delete_folder(folder.id).await?;
        // Who deletes the mailbox that they have open need not be told that it is gone.
        if self.selected().is_ok_and(|view| view.folder == folder.id) {
            self.unselect();
        }
        Ok(Answer::ok("Deleted"))
    }

    /// RFC 3501 §6.4.2: removes what is marked `\Deleted`, without a word, if it may.
    async fn close(&mut self) -> Done {
        let view = self.selected()?;
        if view.access == Access::ReadWrite {
            view.shelf.expunge(view.folder, None).await?;
        }
        self.unselect();
        Ok(Answer::ok("Closed"))
    }

    async fn start_tls(&mut self, tag: &Tag) -> Result<Way, Gone> {
        let refusal = match (self.safety, &self.state) {
            (Safety::Tls, _) => Answer::bad("TLS is on already"),
            (Safety::Clear, State::Stranger) if self.line.has_input() => {
                // Otherwise what somebody in between slipped in would count as said under TLS.
                Answer::bad("Nothing may follow STARTTLS before TLS has begun")
                    .write(self.line.out(), Some(tag));
                return Ok(self.bye("Octets behind STARTTLS"));
            }
            (Safety::Clear, _) => {
                Answer::ok("Begin TLS now").write(self.line.out(), Some(tag));
                self.line.flush().await?;
                return Ok(Way::StartTls);
            }
        };
        refusal.write(self.line.out(), Some(tag));
        Ok(self.after_bad())
    }

    async fn authenticate(&mut self, mechanism: &str, initial: Option<Secret<Vec<u8>>>) -> Done {
        self.must_be_stranger_under_tls()?;
        if mechanism != "PLAIN" {
            return Err(Answer::no("CANNOT", "Only PLAIN is known here").into());
        }
        let response = match initial {
            Some(initial) => initial,
            None => {
                self.line.out().extend_from_slice(b"+ \r\n");
                self.line.expect_line();
                match self.line.step().await? {
                    Step::Line(response) => response,
                    Step::Bad(refused) => return Ok(Answer::bad(refused.reason.0)),
                    _ => return Ok(Answer::bad("A SASL response was expected")),
                }
            }
        };
        // RFC 3501 §6.2.2: `*` cancels.
        if response.expose() == b"*" {
            return Ok(Answer::bad("Cancelled"));
        }
        match command::plain(response.expose()) {
            Ok((name, password)) => self.login(&name, &password).await,
            Err(BadPlain::Form) => Ok(Answer::bad("That is no PLAIN response in base64")),
            Err(BadPlain::OtherIdentity) => {
                Ok(Answer::no("AUTHORIZATIONFAILED", "A login cannot act for another"))
            }
        }
    }

    async fn login(&mut self, name: &str, password: &Secret<String>) -> Done {
        self.must_be_stranger_under_tls()?;
        let login = self.desk.login(self.peer, name, password).await;
        (self.count_login)(login.is_ok());
        match login {
            Ok(shelf) => {
                self.line.logged_in();
                self.failed_logins = 0;
                self.state = State::LoggedIn(shelf);
                let code = format!("CAPABILITY {}", self.capabilities());
                Ok(Answer::ok("Welcome").code(code))
            }
            Err(refusal) => {
                tracing::info!(peer = ?self.peer, reason = refusal.name(), "an IMAP login failed");
                if matches!(refusal, Refusal::AuthFailed | Refusal::TooManyFromPeer) {
                    self.failed_logins += 1;
                }
                Ok(answer::refused(refusal))
            }
        }
    }

    fn must_be_stranger_under_tls(&self) -> Result<(), Halt> {
        if !matches!(self.state, State::Stranger) {
            return Err(Answer::bad("You are logged in already").into());
        }
        if self.safety == Safety::Clear {
            return Err(Answer::no("PRIVACYREQUIRED", "STARTTLS first").into());
        }
        Ok(())
    }

    /// RFC 2177 §3: news as they come, until DONE.
    async fn idle(&mut self) -> Done {
        let Self { line, state, .. } = self;
        let mut view = match state {
            State::Stranger => return Err(log_in_first()),
            State::LoggedIn(_) => None,
            State::Selected(_, view) => Some(view),
        };
        line.out().extend_from_slice(b"+ idling\r\n");
        line.expect_line();
        loop {
            if let Some(view) = view.as_mut() {
                match view.tell(line, Numbers::MayChange).await {
                    // The log cannot be read now: the next bell, or DONE, tries again.
                    Ok(()) | Err(Halt::Refused(_)) => {}
                    Err(Halt::Gone(gone)) => return Err(gone.into()),
                }
            }
            let bell = view.as_mut().map(|view| &mut view.bell);
            match line.step_or_bell(bell).await? {
                Event::Rung => {}
                Event::Step(Step::Line(word)) if word.expose().eq_ignore_ascii_case(b"DONE") => {
                    return Ok(Answer::ok("Done"));
                }
                Event::Step(_) => return Ok(Answer::bad("DONE was expected")),
            }
        }
    }

    fn capabilities(&self) -> String {
        let login = match (&self.state, self.safety) {
            (State::Stranger, Safety::Clear) => " STARTTLS LOGINDISABLED",
            (State::Stranger, Safety::Tls) => " AUTH=PLAIN",
            _ => "",
        };
        format!("IMAP4rev1 {EXTENSIONS}{login}")
    }

    fn shelf(&self) -> Result<&D::Shelf, Halt> {
        match &self.state {
            State::Stranger => Err(log_in_first()),
            State::LoggedIn(shelf) | State::Selected(shelf, _) => Ok(shelf),
        }
    }

    fn selected(&self) -> Result<&View<D::Shelf>, Halt> {
        match &self.state {
            State::Stranger => Err(log_in_first()),
            State::LoggedIn(_) => Err(select_first()),
            State::Selected(_, view) => Ok(view),
        }
    }

    fn unselect(&mut self) {
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
    body: Body,
) -> Done {
    match body {
        // Everything is durable before it is answered, so there is nothing to check.
        Body::Check => Ok(Answer::ok("Done")),
        Body::Expunge => messages::expunge(line, view, None).await,
        Body::UidExpunge(set) => messages::expunge(line, view, Some(&set)).await,
        Body::Search(search) => messages::search(desk, line, view, &search).await,
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

fn log_in_first() -> Halt {
    Answer::bad("Log in first").into()
}

fn select_first() -> Halt {
    Answer::bad("Select a mailbox first").into()
}
