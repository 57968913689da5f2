//! Passkeys on the pages: what those of professionals and of administrators share.
//!
//! A challenge lies in the session until its first answer; the browser gets it in the page and
//! brings the answer in a form, so that the script needs no connection of its own.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::infra::directory::factors::Overview;
use crate::infra::directory::factors::passkeys::Passkey;
use crate::infra::directory::factors::passkeys::Registered;
use crate::infra::directory::factors::passkeys::Removed;
use crate::infra::directory::factors::passkeys::Shown;
use crate::server::web::desk::Owner;
use crate::server::web::language;
use crate::server::web::pages::Frame;
use crate::server::web::pages::PasskeyAsk;
use crate::server::web::pages::PasskeyMakePage;
use crate::server::web::pages::PasskeyRow;
use crate::server::web::pages::page_with_script;
use crate::server::web::session::Session;
use crate::server::web::site::Site;
use crate::server::web::texts::Lang;
use crate::server::web::texts::Texts;

/// The script of these pages.
pub const SCRIPT: &str = "/passkey.js";

/// What went wrong: the status, and a sentence.
pub type Wrong = (StatusCode, &'static str);

/// Wrong second factors, by whom they were asked of.
///
/// Only somebody who has the password can be wrong here, so a stranger locks nobody out; and
/// guesses from a thousand addresses are guesses at one mailbox.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<Guessed, (u32, Timestamp)>>);

/// Whose factors are guessed at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Guessed {
    /// A mailbox's.
    Mailbox(MailboxId),
    /// An administrator's.
    Administrator(String),
}

impl From<Owner<'_>> for Guessed {
    fn from(owner: Owner<'_>) -> Self {
        match owner {
            Owner::Mailbox(account) => Self::Mailbox(account.id),
            Owner::Administrator(name) => Self::Administrator(name.to_owned()),
        }
    }
}

impl Attempts {
    /// Counts an attempt before it is checked, so that those at the same time count too; false
    /// when there were too many.
    pub fn begin(&self, whose: impl Into<Guessed>, now: Timestamp) -> bool {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.retain(|_, (_, since)| now.since(*since) < limits::SECOND_FACTOR_WINDOW);
        let (count, _) = attempts.entry(whose.into()).or_insert((0, now));
        *count += 1;
        *count <= limits::SECOND_FACTOR_FAILURES_MAX
    }

    /// Forgets what was wrong before.
    pub fn succeeded(&self, whose: impl Into<Guessed>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&whose.into());
    }
}

/// What the forms around passkeys send.
#[derive(Deserialize)]
pub struct PasskeyForm {
    /// The session's token.
    #[serde(default)]
    pub csrf: String,
    /// What an authenticator answered, as JSON.
    #[serde(default)]
    pub answer: String,
    /// How a new one shall be called.
    #[serde(default)]
    pub name: String,
    /// Which one is to be removed.
    #[serde(default)]
    pub handle: String,
    /// What is to be done.
    #[serde(default)]
    pub what: String,
    /// A one-time code, in place of a passkey.
    #[serde(default)]
    pub code: String,
}

/// Asks for a passkey of theirs on the page that is being made; `None` when there is none, or
/// nobody knows at this moment.
pub async fn ask(
    site: &Site,
    session: &Session,
    owner: Owner<'_>,
    action: &'static str,
) -> Option<PasskeyAsk> {
    let challenge = site.desk.ask_passkey(owner).await.ok()??;
    session.begin_ceremony(challenge.ceremony, "");
    Some(PasskeyAsk { action, options: challenge.options })
}

/// Takes what a browser showed, if there were not too many wrong ones.
///
/// # Errors
/// Why it opens nothing.
pub async fn take(
    site: &Site,
    session: &Session,
    owner: Owner<'_>,
    answer: &str,
    t: &'static Texts,
) -> Result<(), Wrong> {
    if !site.second.begin(owner, site.desk.now()) {
        return Err((StatusCode::TOO_MANY_REQUESTS, t.login_put_off));
    }
    let shown = match session.take_ceremony() {
        Some((ceremony, _)) => site.desk.take_passkey(owner, ceremony, answer).await,
        None => Ok(Shown::No),
    };
    let text = match shown {
        Ok(Shown::Yes) => {
            site.second.succeeded(owner);
            return Ok(());
        }
        Ok(Shown::Copied) => t.passkey_copied,
        Ok(Shown::No) => t.passkey_wrong,
        Err(_) => return Err((StatusCode::SERVICE_UNAVAILABLE, t.login_temporary)),
    };
    site.desk.count_login(false);
    tracing::info!(door = "https", "a second factor was wrong");
    Err((StatusCode::UNAUTHORIZED, text))
}

/// The page where a passkey is made; `None` when there is no challenge.
pub async fn make_page(
    site: &Site,
    session: &Session,
    owner: Owner<'_>,
    name: &str,
    frame: Frame,
    action: &'static str,
    back: &'static str,
) -> Option<Response> {
    let name: String = name.trim().chars().take(limits::PASSKEY_NAME_CHARACTERS).collect();
    let name = if name.is_empty() { frame.t.passkey_title.to_owned() } else { name };
    let challenge = site.desk.begin_passkey(owner).await.ok()?;
    session.begin_ceremony(challenge.ceremony, &name);
    let template = PasskeyMakePage {
        frame,
        csrf: session.csrf.expose().clone(),
        name,
        back,
        ask: PasskeyAsk { action, options: challenge.options },
    };
    Some(page_with_script(StatusCode::OK, &template))
}

/// Keeps what a browser made; true when it is the first second factor.
///
/// # Errors
/// Why nothing is kept.
pub async fn keep(
    site: &Site,
    session: &Session,
    owner: Owner<'_>,
    answer: &str,
    besides: bool,
    t: &'static Texts,
) -> Result<bool, Wrong> {
    let Some((ceremony, name)) = session.take_ceremony() else {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, t.passkey_not_made));
    };
    match site.desk.finish_passkey(owner, ceremony, &name, answer, besides).await {
        Ok(Registered::First) => Ok(true),
        Ok(Registered::Another) => Ok(false),
        Ok(Registered::TooMany) => Err((StatusCode::CONFLICT, t.passkey_too_many)),
        Ok(Registered::No) => Err((StatusCode::UNPROCESSABLE_ENTITY, t.passkey_not_made)),
        Err(_) => Err((StatusCode::SERVICE_UNAVAILABLE, t.login_temporary)),
    }
}

/// Forgets one.
///
/// # Errors
/// Why it stays.
pub async fn remove(
    site: &Site,
    owner: Owner<'_>,
    handle: &str,
    one_must_stay: bool,
    t: &'static Texts,
) -> Result<(), Wrong> {
    // One that is gone already is what was wanted.
    let Ok(handle) = uuid::Uuid::parse_str(handle) else { return Ok(()) };
    match site.desk.remove_passkey(owner, handle, one_must_stay).await {
        Ok(Removed::Yes | Removed::No) => Ok(()),
        Ok(Removed::Last) => Err((StatusCode::CONFLICT, t.passkey_last)),
        Err(_) => Err((StatusCode::SERVICE_UNAVAILABLE, t.login_temporary)),
    }
}

/// The list for a page.
pub fn rows(known: &Overview, lang: Lang) -> Vec<PasskeyRow> {
    let row = |one: &Passkey| PasskeyRow {
        handle: one.handle.simple().to_string(),
        name: one.name.clone(),
        since: language::spoken(one.since, lang),
        used: one.used.map(|used| language::spoken(used, lang)),
        is_copied: one.is_copied,
    };
    known.passkeys.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_at_one_mailbox_are_counted_wherever_they_come_from() {
        let attempts = Attempts::default();
        let mailbox = |octet| Guessed::Mailbox(MailboxId::from_bytes([octet; 16]));
        let now = Timestamp::from_seconds(1_795_358_400);
        for _ in 0..limits::SECOND_FACTOR_FAILURES_MAX {
            assert!(attempts.begin(mailbox(1), now));
        }
        assert!(!attempts.begin(mailbox(1), now));
        assert!(attempts.begin(mailbox(2), now));
        assert!(attempts.begin(Guessed::Administrator("marie".to_owned()), now));
        assert!(attempts.begin(mailbox(1), now.after(limits::SECOND_FACTOR_WINDOW)));
    }
}
