//! The dialogue of one connection: which command is allowed when, and what it sets off.
use std::net::IpAddr;

use crate::domain::limits;
use crate::flow::login::conversation::Channel;
use crate::flow::login::live::Seat;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Command;
use crate::proto::imap::command::StatusItem;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::feature::Feature;
use crate::proto::imap::reader::Next;
use crate::proto::imap::reader::Refused;
use crate::proto::imap::reader::Step;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::append::Filing;
use crate::server::imap::capabilities::Offer;
use crate::server::imap::fetch;
use crate::server::imap::folders;
use crate::server::imap::line::Event;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::messages;
use crate::server::imap::messages::Transfer;
use crate::server::imap::metadata;
use crate::server::imap::notify::Moment;
use crate::server::imap::notify::Notices;
use crate::server::imap::notify::Own;
use crate::server::imap::quota;
use crate::server::imap::rights;
use crate::server::imap::search;
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
    pub(super) offer: Offer,
    pub(super) line: Line<S>,
    pub(super) safety: Safety,
    pub(super) peer: Option<IpAddr>,
    pub(super) count_login: LoginCount<'a>,
    pub(super) state: State<D::Shelf>,
    pub(super) bad_commands: usize,
    pub(super) failed_logins: usize,
    /// What the connection says for logins.
    pub(super) channel: Channel,
    /// Where the login's session stands in the book.
    pub(super) seat: Seat,
    /// Messages that are on their way.
    pub(super) filing: Option<Box<Filing<D::Shelf>>>,
    /// What is told unasked; `None` until the first NOTIFY.
    pub(super) notices: Option<Box<Notices<D::Shelf>>>,
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

impl<'a, D: Desk, S: Stream> Session<'a, D, S> {
    /// A stranger's session.
    pub(super) fn new(
        desk: &'a D,
        line: Line<S>,
        safety: Safety,
        peer: Option<IpAddr>,
        count_login: LoginCount<'a>,
    ) -> Self {
        let offer = desk.offer();
        let mut line = line;
        line.tells_progress = offer.has(Feature::InProgress);
        let seat = desk.logins().sessions().seat();
        line.seat = Some(seat.clone());
        let channel = match safety {
            Safety::Clear => Channel::clear(),
            Safety::Tls => Channel::tls(None, None),
        };
        Self {
            desk,
            offer,
            line,
            safety,
            peer,
            count_login,
            state: State::Stranger,
            bad_commands: 0,
            failed_logins: 0,
            channel,
            seat,
            filing: None,
            notices: None,
        }
    }

    /// Says the greeting.
    pub(super) fn greet(&mut self) {
        let capabilities = self.capabilities();
        let out = self.line.out();
        write::text(out, format_args!("* OK [CAPABILITY {capabilities}] Vaguemestre is ready\r\n"));
    }

    /// Serves until the connection ends or becomes TLS.
    pub(super) async fn run(mut self: Box<Self>) -> Ending<S> {
        loop {
            // In boxes, both: who is in the middle of IDLE holds no room for waiting between commands,
            // and who waits between commands none for obeying one.
            let way = match Box::pin(self.wait(Moment::Between)).await {
                Ok(Event::Step(step)) => self.take(step).await,
                Ok(Event::Rung) => {
                    match Box::pin(self.tell_news(Moment::Between, &Own::default())).await {
                        // What cannot be read now is told later.
                        Ok(()) | Err(Halt::Refused(_)) => Ok(Way::On),
                        Err(Halt::Gone(gone)) => Err(gone),
                    }
                }
                Err(gone) => Err(gone),
            };
            match way {
                Ok(Way::On) => {}
                Ok(Way::HangUp) => {
                    Box::pin(self.line.hang_up()).await;
                    return Ending::Closed;
                }
                Ok(Way::StartTls) => return Ending::StartTls(self.line.into_stream()),
                Err(gone) => {
                    tracing::debug!(?gone, "an IMAP session ends");
                    Box::pin(self.line.close(gone)).await;
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
            Step::Message(announced) => Box::pin(self.decide(announced)).await,
            Step::Received(message) => {
                Box::pin(self.receive(message)).await;
                Ok(Way::On)
            }
            Step::Command(command) => Box::pin(self.obey(command)).await,
            Step::Bad(refused) => Ok(self.refuse(&refused)),
            // Lines that stand alone are read where they were asked for.
            Step::Line(_) => Ok(Way::On),
        }
    }

    /// A command that is none. RFC 3501 §7.1.3: an untagged BAD when there is no tag.
    fn refuse(&mut self, refused: &Refused) -> Way {
        self.filing = None;
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

    pub(super) async fn obey(&mut self, command: Command) -> Result<Way, Gone> {
        let Command { tag, body } = command;
        self.seat.touch();
        if let Err(refusal) = self.offer.check(&body) {
            refusal.write(self.line.out(), Some(&tag));
            return Ok(self.after_bad());
        }
        if self.line.dialect.rev2 && asks_recent(&body) {
            // RFC 9051 §6.3.11: there is no such item any more.
            Answer::bad("unknown STATUS item").write(self.line.out(), Some(&tag));
            return Ok(self.after_bad());
        }
        // Each letter has a deadline, and there may be a million of them.
        let is_bounded = !matches!(body, Body::Fetch(_));
        self.line.obey(&tag, is_bounded);
        self.notice_condstore(&body);
        let numbers = numbers_after(&body);
        let own = Own::of(&body);
        // What a command needs lies in a box of its own: sessions that wait, in IDLE too, are
        // thousands, and each would hold room for the largest command.
        let done = match body {
            Body::Logout => {
                self.line.out().extend_from_slice(b"* BYE Until next time\r\n");
                Answer::ok("Done").write(self.line.out(), Some(&tag));
                return Ok(Way::HangUp);
            }
            Body::StartTls => return Box::pin(self.start_tls(&tag)).await,
            Body::Login { name, password } => Box::pin(self.login(&name, &password)).await,
            Body::Authenticate { mechanism, initial } => {
                Box::pin(self.authenticate(&mechanism, initial)).await
            }
            Body::Idle => self.idle().await,
            Body::Compress => return Box::pin(self.compress(&tag)).await,
            Body::Notify(wish) => Box::pin(self.notify(wish)).await,
            other => Box::pin(self.perform(other)).await,
        };
        // News come before the tagged line, so that a client that waits for it has them.
        let told = match &done {
            Ok(answer) if !answer.is_bad() => {
                Box::pin(self.tell_news(Moment::Command(numbers), &own)).await
            }
            _ => Ok(()),
        };
        let answer = match (done, told) {
            (Err(Halt::Gone(gone)), _) => return Err(gone),
            // What the command did is done. A client that is not told files its letter again.
            (Ok(answer), Err(Halt::Gone(gone))) => {
                answer.write(self.line.out(), Some(&tag));
                return Err(gone);
            }
            (Err(Halt::Refused(answer)), _) => answer,
            (Ok(answer), Ok(())) if answer.wants_modseq() => self.with_modseq(answer),
            // What the command did is done, even if the news cannot be read now.
            (Ok(answer), _) => answer,
        };
        answer.write(self.line.out(), Some(&tag));
        if self.failed_logins >= limits::LOGIN_FAILURES_MAX {
            return Ok(self.bye("Too many failed logins"));
        }
        if answer.is_bad() {
            return Ok(self.after_bad());
        }
        // A session may last for weeks. Strangers have seconds, and all of theirs count.
        if self.shelf().is_ok() {
            self.bad_commands = 0;
        }
        Ok(Way::On)
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
            Body::Select { mailbox, access, options } => {
                return self.select(&mailbox, access, &options).await;
            }
            Body::Enable(names) => return self.enable(&names),
            Body::Unauthenticate => return self.unauthenticate(),
            Body::Close => return self.close().await,
            Body::Append(_) | Body::Replace(_) => return self.file().await,
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
            Body::Namespace => {
                folders::namespace(line.out());
                Ok(Answer::ok("Done"))
            }
            Body::Create { mailbox, special_use } => {
                folders::create(*desk, shelf, &mailbox, &special_use).await
            }
            Body::Rename { from, to } => folders::rename(*desk, shelf, line, &from, &to).await,
            Body::Subscribe(mailbox) => folders::subscribe(*desk, shelf, &mailbox, true).await,
            Body::Unsubscribe(mailbox) => folders::subscribe(*desk, shelf, &mailbox, false).await,
            Body::List(list) => folders::list(*desk, shelf, line, &list).await,
            Body::Lsub { reference, pattern } => {
                folders::lsub(*desk, shelf, line, &reference, &pattern).await
            }
            Body::Status { mailbox, items } => {
                folders::status(*desk, shelf, line, &mailbox, &items).await
            }
            Body::SetAcl { mailbox, identifier, change } => {
                rights::set(*desk, shelf, &mailbox, &identifier, change).await
            }
            Body::DeleteAcl { mailbox, identifier } => {
                rights::delete(*desk, shelf, &mailbox, &identifier).await
            }
            Body::GetAcl(mailbox) => rights::get(*desk, shelf, line, &mailbox).await,
            Body::ListRights { mailbox, identifier } => {
                rights::list(*desk, shelf, line, &mailbox, &identifier).await
            }
            Body::GetQuota(root) => quota::get(*desk, shelf, line, &root).await,
            Body::GetQuotaRoot(mailbox) => quota::root_of(*desk, shelf, line, &mailbox).await,
            Body::SetQuota { .. } => quota::set(),
            Body::GetMetadata { mailbox, options, entries } => {
                metadata::get(*desk, shelf, line, mailbox.as_ref(), options, &entries).await
            }
            Body::SetMetadata { mailbox, entries } => {
                metadata::set(*desk, shelf, mailbox.as_ref(), entries).await
            }
            Body::MyRights(mailbox) => rights::mine(*desk, shelf, line, &mailbox).await,
            with_messages => {
                let view = view.ok_or_else(select_first)?;
                on_messages((*desk, shelf), line, view, with_messages).await
            }
        }
    }

    /// RFC 7162 §3.1
    pub(super) fn knows_modseq(&self) -> bool {
        self.line.dialect.condstore
    }

    pub(super) fn capabilities(&self) -> String {
        let is_in = !matches!(self.state, State::Stranger);
        self.offer.names(self.safety, is_in, &self.desk.logins().offered(&self.channel))
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

    /// Leaves the selected mailbox; false when there was none.
    pub(super) fn unselect(&mut self) -> bool {
        let was_selected = matches!(self.state, State::Selected(..));
        self.state = match std::mem::replace(&mut self.state, State::Stranger) {
            State::Selected(shelf, _) => State::LoggedIn(shelf),
            other => other,
        };
        was_selected
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
        // Boxed: what a search holds on its way would make every idle session larger.
        Body::Search(search) => Box::pin(search::search(desk, line, view, &search)).await,
        Body::Sort(sort) => Box::pin(search::sort(desk, line, view, &sort)).await,
        Body::Thread(thread) => Box::pin(search::thread(desk, line, view, &thread)).await,
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

/// True when a STATUS asks for RECENT, which IMAP4rev2 has not (RFC 9051 appendix E).
fn asks_recent(body: &Body) -> bool {
    let items = match body {
        Body::Status { items, .. } => items.as_slice(),
        Body::List(list) => list.returns.as_ref().map_or(&[][..], |returns| &returns.status),
        _ => &[],
    };
    items.contains(&StatusItem::Recent)
}

pub(super) fn log_in_first() -> Halt {
    Answer::bad("Log in first").into()
}

pub(super) fn select_first() -> Halt {
    Answer::bad("Select a mailbox first").into()
}
