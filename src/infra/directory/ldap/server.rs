//! One server of the directory: its connections, and whether it is left alone for a while.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::directory::ldap::session::Found;
use crate::infra::directory::ldap::session::Search;
use crate::infra::directory::ldap::session::Session;
use crate::infra::directory::ldap::session::Trouble;
use crate::infra::directory::ldap::session::code;
use crate::infra::directory::ldap::wire::Host;

/// A connection of the service is used for so long: then the password file is read again.
const SERVICE_LIFE: Duration = Duration::from_secs(600);
/// A server that is away is tried again after one second, then two, four, and so on up to this.
const LEFT_ALONE_MAX: Duration = Duration::from_secs(10);
/// A server that does not like our configuration waits longer: its administrator might lock the
/// account of a service that knocks every second with a wrong password.
const MISCONFIGURED: Duration = Duration::from_secs(60);

/// How the service is known to the servers.
pub(super) struct Service {
    /// TLS, where a server wants it.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Its name and the file with its password; `None`: it searches as nobody.
    pub(super) bind: Option<(String, PathBuf)>,
}

/// A server, its idle connections, and how many logins it may see at the same time.
pub(super) struct Server {
    pub(super) host: Host,
    idle: Mutex<Vec<Session>>,
    /// A login has at most two connections at a time: the service's and the person's.
    places: Semaphore,
    down: Mutex<Option<Down>>,
}

/// It is left alone until then.
#[derive(Clone)]
struct Down {
    reason: String,
    until: Timestamp,
    tries: u32,
}

impl Server {
    pub(super) fn new(host: Host, connections: usize) -> Self {
        Self {
            host,
            idle: Mutex::default(),
            places: Semaphore::new((connections / 2).max(1)),
            down: Mutex::default(),
        }
    }

    /// Waits for a turn.
    pub(super) async fn place(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        let place = tokio::time::timeout(patience, self.places.acquire());
        place.await.ok().and_then(Result::ok)
    }

    /// Why it is left alone, if it is.
    pub(super) fn down(&self) -> Option<String> {
        self.locked_down().as_ref().map(|down| down.reason.clone())
    }

    /// True when it is down and it is time to try again.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.locked_down().as_ref().is_some_and(|down| down.until <= now)
    }

    pub(super) fn fell(&self, trouble: &Trouble, now: Timestamp) -> String {
        let (reason, longest) = match trouble {
            Trouble::Away(reason) => (reason.clone(), None),
            Trouble::Ended => ("it closed the connection".to_owned(), None),
            Trouble::Configured(reason) => (reason.clone(), Some(MISCONFIGURED)),
        };
        let reason = format!("{}: {reason}", self.host.url);
        self.idle().clear();
        let mut down = self.locked_down();
        // Several logins fail at the same moment: that is one failure.
        if let Some(known) = down.as_ref().filter(|known| known.until > now) {
            return known.reason.clone();
        }
        let tries = down.as_ref().map_or(0, |down| down.tries);
        let pause = Duration::from_secs(1 << tries.min(6)).min(LEFT_ALONE_MAX);
        let until = now.after(longest.unwrap_or(pause));
        if down.is_none() {
            tracing::warn!(reason, "a server of the LDAP directory is left alone for a while");
        }
        *down = Some(Down { reason: reason.clone(), until, tries: tries + 1 });
        reason
    }

    /// It answers. True when it did not before.
    pub(super) fn rose(&self) -> bool {
        let was_down = self.locked_down().take().is_some();
        if was_down {
            tracing::info!(server = self.host.url, "a server of the LDAP directory answers again");
        }
        was_down
    }

    /// A question of the service. A connection that the server closed while nobody used it is no
    /// sign that it is away: the question is asked again on a fresh one.
    pub(super) async fn search(
        &self,
        service: &Service,
        search: &Search,
        now: Timestamp,
    ) -> Result<Found, Trouble> {
        loop {
            let (mut session, was_used) = self.service(service, now).await?;
            match session.search(search).await {
                Err(Trouble::Ended) if was_used => {}
                answer => {
                    if answer.is_ok() && session.is_alive(now, SERVICE_LIFE) {
                        self.idle().push(session);
                    }
                    return answer;
                }
            }
        }
    }

    /// A connection on which the service is logged in, and whether it was used before.
    async fn service(&self, service: &Service, now: Timestamp) -> Result<(Session, bool), Trouble> {
        while let Some(mut session) = self.pop() {
            if session.is_alive(now, SERVICE_LIFE) {
                return Ok((session, true));
            }
        }
        let mut session = Session::open(&self.host, service.tls.as_ref(), now).await?;
        if let Some((name, file)) = &service.bind {
            let password = password_in(file).await?;
            if session.bind(name, &password).await? != code::SUCCESS {
                let why = "ldap.bind_dn, ldap.bind_password_file: the server refuses them";
                return Err(Trouble::Configured(why.to_owned()));
            }
        }
        Ok((session, false))
    }

    /// A connection for one person's password. It is never used for anything else.
    pub(super) async fn fresh(
        &self,
        service: &Service,
        now: Timestamp,
    ) -> Result<Session, Trouble> {
        Session::open(&self.host, service.tls.as_ref(), now).await
    }

    fn pop(&self) -> Option<Session> {
        self.idle().pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked_down(&self) -> MutexGuard<'_, Option<Down>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Read each time: whoever changes the password changes the file, and nobody restarts a relay.
async fn password_in(file: &PathBuf) -> Result<Secret<String>, Trouble> {
    let wrong = |why: String| {
        Trouble::Configured(format!("ldap.bind_password_file = {}: {why}", file.display()))
    };
    let opened = tokio::fs::File::open(file).await.map_err(|error| wrong(error.to_string()))?;
    let mut start = opened.take(limits::PASSWORD_FILE_OCTETS_MAX + 1);
    let mut text = String::new();
    let reading = start.read_to_string(&mut text);
    let length = reading.await.map_err(|error| wrong(error.to_string()))?;
    let text = Secret::new(text);
    if length as u64 > limits::PASSWORD_FILE_OCTETS_MAX {
        return Err(wrong("it is too long".to_owned()));
    }
    let password = text.expose().lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    Ok(Secret::new(password.to_owned()))
}
