//! One connection: octets in and out, each with a deadline.
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio::time::timeout_at;

use crate::domain::limits;
use crate::domain::secret::Wipe;
use crate::flow::login::live::Over;
use crate::flow::login::live::Seat;
use crate::infra::net::Stop;
use crate::proto::imap::command::Tag;
use crate::proto::imap::reader::Budget;
use crate::proto::imap::reader::Next;
use crate::proto::imap::reader::Reader;
use crate::proto::imap::reader::Step;
use crate::proto::imap::write;
use crate::server::imap::compress::Wire;
use crate::server::imap::dialect::Dialect;
use crate::server::imap::shelf::Bell;

/// Octets of output that are gathered before they are sent.
const OUTPUT_OCTETS: usize = 65_536;
/// Octets of input that are asked for while nothing is on its way: most commands fit.
const FIRST_INPUT_OCTETS: usize = 512;
/// Octets of input that are asked for at once; a TLS record has 16 KiB.
const INPUT_OCTETS: usize = 4_096;
/// The same in the message of an APPEND.
const MESSAGE_INPUT_OCTETS: usize = 16_384;

/// What a stream must do.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Why a connection ends before LOGOUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// The client hung up, or the network failed.
    Peer,
    /// Nothing was said for too long.
    Idle,
    /// A command or an answer was begun and did not get on.
    Slow,
    /// The relay stops.
    Stopping,
    /// The client was told why already.
    Told,
    /// A letter ended before the end that was announced for it: nothing may follow, or the client
    /// would take it for the letter's end.
    CutShort,
    /// The login's session is over.
    Over(Over),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Until the client has logged in.
    pub(super) login: Duration,
    /// Without a command.
    pub(super) idle: Duration,
    /// For a whole command once it has begun, and between two octets of a message.
    pub(super) line: Duration,
    /// For a whole message, either way.
    pub(super) data: Duration,
}

/// What came first.
#[derive(Debug)]
pub(super) enum Event {
    /// The client said something.
    Step(Step),
    /// The mailbox has changed.
    Rung,
}

/// A command on its way.
struct Obeyed {
    tag: Tag,
    /// When its client next hears how far it got.
    next: Instant,
    /// When it has taken too long.
    until: Option<Instant>,
}

/// One connection.
pub(super) struct Line<S> {
    /// How the client is spoken to.
    pub(super) dialect: Dialect,
    /// Whether long commands tell how far they got (RFC 9585).
    pub(super) tells_progress: bool,
    /// Where the login's session stands; it may be ended from outside.
    pub(super) seat: Option<Seat>,
    stream: Wire<S>,
    reader: Reader,
    input: BytesMut,
    output: Vec<u8>,
    stop: Stop,
    times: Times,
    /// When login must be done; `None` afterwards.
    login_until: Option<Instant>,
    /// When the command that has begun must have ended.
    begun_until: Option<Instant>,
    /// The command that is being obeyed.
    obeyed: Option<Obeyed>,
}

impl<S: Stream> Line<S> {
    /// A stranger's connection.
    pub(super) fn new(stream: S, stop: Stop, times: Times) -> Self {
        Self {
            dialect: Dialect::default(),
            tells_progress: false,
            seat: None,
            stream: Wire::new(stream),
            reader: Reader::new(Budget::BEFORE_LOGIN),
            input: BytesMut::new(),
            output: Vec::new(),
            stop,
            times,
            login_until: Some(from_now(times.login)),
            begun_until: None,
            obeyed: None,
        }
    }

    /// From now on the other side is somebody we know.
    pub(super) fn logged_in(&mut self) {
        self.login_until = None;
        self.reader.set_budget(Budget::AFTER_LOGIN);
    }

    /// From the next command on, mailbox names are read as the client's dialect writes them.
    pub(super) fn adopt_names(&mut self) {
        self.reader.set_mode(self.dialect.mode());
    }

    /// From now on the other side is a stranger again (RFC 8437 §2); compression stays.
    pub(super) fn logged_out(&mut self) {
        self.dialect = Dialect::default();
        self.adopt_names();
        self.login_until = Some(from_now(self.times.login));
        self.reader.set_budget(Budget::BEFORE_LOGIN);
    }

    /// Compresses both ways from the next octet on (RFC 4978 §3); false when it is done already.
    pub(super) async fn compress(&mut self) -> Result<bool, Gone> {
        self.flush().await?;
        // What came behind the command came compressed.
        let begun = self.stream.compress(&self.input);
        if begun {
            self.input.clear();
        }
        Ok(begun)
    }

    /// True when the connection is compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.stream.is_compressed()
    }

    /// A command begins: [`Line::progress`] names it, and ends it when it may not take for ever.
    pub(super) fn obey(&mut self, tag: &Tag, is_bounded: bool) {
        self.obeyed = Some(Obeyed {
            tag: tag.clone(),
            next: from_now(limits::IMAP_PROGRESS_EVERY),
            until: is_bounded.then(|| from_now(limits::IMAP_COMMAND_TIMEOUT)),
        });
    }

    /// The tag of the command that is obeyed, for responses that repeat it.
    pub(super) fn tag(&self) -> &str {
        self.obeyed.as_ref().map_or("", |obeyed| obeyed.tag.as_str())
    }

    /// Tells now and then how far a long command got (RFC 9585 §3). Call it once a page of rows;
    /// what is counted is the caller's choice, as long as `done` grows towards `all`.
    pub(super) async fn progress(&mut self, done: usize, all: usize) -> Result<(), Gone> {
        // Nobody works for a client that hung up.
        self.still_there().await?;
        let now = from_now(Duration::ZERO);
        let Some(obeyed) = &mut self.obeyed else { return Ok(()) };
        if obeyed.until.is_some_and(|until| until <= now) {
            return Err(Gone::Slow);
        }
        if obeyed.next > now {
            return Ok(());
        }
        obeyed.next = from_now(limits::IMAP_PROGRESS_EVERY);
        if !self.tells_progress {
            return Ok(());
        }
        // The grammar has no goal of 0, and nothing beyond the goal.
        let all = all.max(1);
        let (done, tag) = (done.min(all), obeyed.tag.as_str());
        write::text(
            &mut self.output,
            format_args!("* OK [INPROGRESS (\"{tag}\" {done} {all})] Still at it\r\n"),
        );
        self.flush().await
    }

    /// True when octets have arrived that nobody has read.
    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Gives the stream back, for TLS.
    pub(super) fn into_stream(self) -> S {
        self.stream.into_inner()
    }

    /// The next line is no command.
    pub(super) fn expect_line(&mut self) {
        self.reader.expect_line();
    }

    /// Takes the message that [`Step::Message`] announced.
    pub(super) fn accept_message(&mut self) {
        self.begun_until = Some(from_now(self.times.data));
        self.reader.accept_message();
    }

    /// Does not take it.
    pub(super) fn refuse_message(&mut self, skip_max: u64) -> Next {
        self.reader.refuse_message(skip_max)
    }

    /// Waits for what the client says next.
    pub(super) async fn step(&mut self) -> Result<Step, Gone> {
        loop {
            if let Event::Step(step) = self.step_or_bell(None::<&mut NoBell>).await? {
                return Ok(step);
            }
        }
    }

    /// Waits for what the client says next, or for the mailbox to change.
    pub(super) async fn step_or_bell<B: Bell>(
        &mut self,
        bell: Option<&mut B>,
    ) -> Result<Event, Gone> {
        let mut bell = bell;
        loop {
            while !self.input.is_empty() {
                let (used, step) = self.reader.feed(&self.input);
                // What was read may have been a password or a letter.
                self.input[..used].wipe();
                let _ = self.input.split_to(used);
                if let Some(step) = step {
                    if !self.reader.is_begun() {
                        self.begun_until = None;
                    }
                    return Ok(Event::Step(step));
                }
                if used == 0 {
                    break;
                }
            }
            self.flush().await?;
            if self.fill(&mut bell).await? {
                return Ok(Event::Rung);
            }
        }
    }

    /// Reads more; true when the bell came first.
    async fn fill<B: Bell>(&mut self, bell: &mut Option<&mut B>) -> Result<bool, Gone> {
        let (until, gone) = self.deadline();
        let wanted = match (self.reader.is_in_message(), self.reader.is_begun()) {
            (true, _) => MESSAGE_INPUT_OCTETS,
            (false, true) => INPUT_OCTETS,
            (false, false) => FIRST_INPUT_OCTETS,
        };
        // A session that only waits holds no buffers: ten thousand of them do.
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.output = Vec::new();
        self.input.reserve(wanted);
        let rung = async {
            match bell {
                Some(bell) => bell.rung().await,
                None => std::future::pending().await,
            }
        };
        let seat = &self.seat;
        let over = async {
            match seat {
                Some(seat) => seat.over().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.stopped() => Err(Gone::Stopping),
            over = over => Err(Gone::Over(over)),
            read = timeout_at(until, self.stream.read(&mut self.input)) => match read {
                Err(_) => Err(gone),
                Ok(Ok(0) | Err(_)) => Err(Gone::Peer),
                Ok(Ok(_)) => Ok(false),
            },
            () = rung => Ok(true),
        }
    }

    /// Whether the client still is there, without waiting. What it says meanwhile is kept.
    pub(super) async fn still_there(&mut self) -> Result<(), Gone> {
        if self.stop.is_stopping() {
            return Err(Gone::Stopping);
        }
        if let Some(over) = self.seat.as_ref().and_then(Seat::is_over) {
            return Err(Gone::Over(over));
        }
        if self.input.len() >= INPUT_OCTETS {
            return Ok(());
        }
        self.input.reserve(INPUT_OCTETS);
        tokio::select! {
            biased;
            read = self.stream.read(&mut self.input) => match read {
                Ok(0) | Err(_) => Err(Gone::Peer),
                Ok(_) => Ok(()),
            },
            () = std::future::ready(()) => Ok(()),
        }
    }

    fn deadline(&mut self) -> (Instant, Gone) {
        let (until, gone) = if self.reader.is_begun() {
            let line = from_now(self.times.line);
            let whole = *self.begun_until.get_or_insert(line);
            (if self.reader.is_in_message() { whole.min(line) } else { whole }, Gone::Slow)
        } else {
            self.begun_until = None;
            (from_now(self.times.idle), Gone::Idle)
        };
        match self.login_until {
            Some(login) if login < until => (login, Gone::Idle),
            _ => (until, gone),
        }
    }

    /// Where short texts are gathered. Call [`Line::relieve`] between them.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends what was gathered if it is much.
    pub(super) async fn relieve(&mut self) -> Result<(), Gone> {
        if self.output.len() >= OUTPUT_OCTETS { self.flush().await } else { Ok(()) }
    }

    /// Sends many octets without gathering them.
    pub(super) async fn put(&mut self, octets: &[u8]) -> Result<(), Gone> {
        if self.output.len() + octets.len() < OUTPUT_OCTETS {
            // All at once: growing would copy, and leave copies of letters behind.
            self.output.reserve(OUTPUT_OCTETS - self.output.len());
            self.output.extend_from_slice(octets);
            return Ok(());
        }
        self.send_output().await?;
        for piece in octets.chunks(OUTPUT_OCTETS) {
            in_time(self.stream.write_all(piece)).await?;
        }
        Ok(())
    }

    /// Sends what was gathered.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.send_output().await?;
        in_time(self.stream.flush()).await
    }

    async fn send_output(&mut self) -> Result<(), Gone> {
        let sent = in_time(self.stream.write_all(&self.output)).await;
        // Clear text of letters was in there.
        self.output.wipe();
        sent
    }

    /// Says why the connection ends, if anybody still listens, and ends it.
    pub(super) async fn close(&mut self, gone: Gone) {
        let bye: &[u8] = match gone {
            Gone::Peer => return,
            Gone::Told => b"",
            Gone::CutShort => {
                self.output.wipe();
                b""
            }
            Gone::Idle => b"* BYE Autologout: nothing was said for too long\r\n",
            Gone::Slow => b"* BYE A command was begun and did not get on\r\n",
            Gone::Stopping => b"* BYE [UNAVAILABLE] The server is stopping\r\n",
            Gone::Over(Over::Ended) => b"* BYE This session was ended; log in again\r\n",
            Gone::Over(_) => b"* BYE [EXPIRED] The time of your token is over; log in again\r\n",
        };
        self.output.extend_from_slice(bye);
        self.hang_up().await;
    }

    /// Sends what was gathered and ends the connection.
    pub(super) async fn hang_up(&mut self) {
        let ending = async {
            let _ = self.flush().await;
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(limits::IMAP_STOP_GRACE, ending).await;
    }
}

/// For those who wait for the client alone.
struct NoBell;

impl Bell for NoBell {
    async fn rung(&mut self) {
        std::future::pending().await
    }
}

/// A client that does not take what it asked for holds only its own task, and not for ever.
async fn in_time<T>(io: impl Future<Output = std::io::Result<T>>) -> Result<(), Gone> {
    match timeout(limits::IMAP_WRITE_TIMEOUT, io).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Gone::Peer),
        Err(_) => Err(Gone::Slow),
    }
}

fn from_now(duration: Duration) -> Instant {
    sleep(duration).deadline()
}
