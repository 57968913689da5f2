//! The second step of a professional's login: one-time codes and recovery codes.
//!
//! Whoever has shown the right password and nothing else is [`Person::HalfIn`], which no other
//! page knows: a page that forgets to ask lets nobody in.
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use axum::extract::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use fast_qr::QRBuilder;
use serde::Deserialize;

use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::infra::config::login::SecondFactor;
use crate::infra::directory::Account;
use crate::infra::directory::factors::Proposal;
use crate::server::web::account;
use crate::server::web::account::Professional;
use crate::server::web::guard;
use crate::server::web::login;
use crate::server::web::pages::CodesPage;
use crate::server::web::pages::FactorsPage;
use crate::server::web::pages::Frame;
use crate::server::web::pages::ProposalView;
use crate::server::web::pages::SecondPage;
use crate::server::web::pages::page;
use crate::server::web::session::Person;
use crate::server::web::session::Session;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;

/// Where the second step is asked for.
pub const ASKED: &str = "/account/second";
/// Where second factors are set up and changed.
pub const HOME: &str = "/account/factors";
/// Squares around a QR code that stay light.
const QUIET: usize = 4;

/// Wrong codes, by mailbox.
///
/// Only somebody who has the password can be wrong here, so a stranger locks nobody out; and
/// guesses from a thousand addresses are guesses at one mailbox.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<MailboxId, (u32, Timestamp)>>);

impl Attempts {
    /// Counts an attempt before it is checked, so that those at the same time count too; false
    /// when there were too many.
    fn begin(&self, mailbox: MailboxId, now: Timestamp) -> bool {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.retain(|_, (_, since)| now.since(*since) < limits::SECOND_FACTOR_WINDOW);
        let (count, _) = attempts.entry(mailbox).or_insert((0, now));
        *count += 1;
        *count <= limits::SECOND_FACTOR_FAILURES_MAX
    }

    fn succeeded(&self, mailbox: MailboxId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&mailbox);
    }
}

/// What these pages' forms send.
#[derive(Deserialize)]
pub struct CodeForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    what: String,
}

/// True when a password alone does not open this account's pages.
pub(super) async fn stands_before(site: &Site, account: &Account) -> Result<bool, Refusal> {
    match site.house.second_factor {
        SecondFactor::Off => Ok(false),
        SecondFactor::Optional => Ok(site.desk.factors(account).await?.is_set_up()),
        SecondFactor::Required => Ok(true),
    }
}

/// Somebody whose password was right a moment ago.
fn half_in<'a>(site: &Site, visitor: &'a Visitor) -> Option<(&'a Account, &'a Session)> {
    let (_, session) = visitor.session.as_ref()?;
    match &session.person {
        Person::HalfIn(account) if session.age(site.desk.now()) < limits::HALF_IN_MAX => {
            Some((account, session))
        }
        _ => None,
    }
}

/// `GET /account/second`
pub async fn ask(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    let Some((account, session)) = half_in(&site, &visitor) else {
        return account::to_login(&visitor);
    };
    match site.desk.factors(account).await {
        Ok(factors) if factors.is_set_up() => second_form(&visitor, session, StatusCode::OK, None),
        // `login.second_factor` is "required", and this is the first login since then.
        Ok(_) => propose(&site, &visitor, account, session, None),
        Err(_) => later(&visitor),
    }
}

/// `POST /account/second`
pub async fn answer(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<CodeForm>,
) -> Response {
    let Some((account, session)) = half_in(&site, &visitor) else {
        return account::to_login(&visitor);
    };
    if !login::is_own(session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, ASKED);
    }
    match take(&site, account, &form.code).await {
        Ok(()) => {
            let person = Person::Professional(Box::new(account.clone()));
            login::welcome(&site, &visitor, person, account::HOME).await
        }
        Err(status) => {
            let t = visitor.lang.texts();
            let text = match status {
                StatusCode::UNAUTHORIZED => t.second_wrong,
                StatusCode::TOO_MANY_REQUESTS => t.login_put_off,
                _ => t.login_temporary,
            };
            second_form(&visitor, session, status, Some(text))
        }
    }
}

/// Takes a code, if the mailbox has not been guessed at too often.
async fn take(site: &Site, account: &Account, code: &str) -> Result<(), StatusCode> {
    if !site.second.begin(account.id, site.desk.now()) {
        return Err(StatusCode::TOO_MANY_REQUESTS);
    }
    match site.desk.take_code(account, code).await {
        Ok(true) => {
            site.second.succeeded(account.id);
            Ok(())
        }
        Ok(false) => {
            site.desk.count_login(false);
            tracing::info!(door = "https", "a second factor was wrong");
            Err(StatusCode::UNAUTHORIZED)
        }
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn second_form(
    visitor: &Visitor,
    session: &Session,
    status: StatusCode,
    error: Option<&'static str>,
) -> Response {
    let title = visitor.lang.texts().second_asked;
    let frame = Frame::new(visitor.lang, title, ASKED).with_error(error.is_some());
    page(status, &SecondPage { frame, csrf: session.csrf.expose().clone(), error })
}

/// `GET /account/factors`
pub async fn factors(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    let Some(person) = Professional::of(&visitor) else { return account::to_login(&visitor) };
    if site.house.second_factor == SecondFactor::Off {
        return guard::error(StatusCode::NOT_FOUND, visitor.lang, HOME);
    }
    overview(&site, &visitor, &person, StatusCode::OK, None).await
}

async fn overview(
    site: &Site,
    visitor: &Visitor,
    person: &Professional<'_>,
    status: StatusCode,
    error: Option<&'static str>,
) -> Response {
    let factors = match site.desk.factors(person.account).await {
        Ok(factors) if factors.is_set_up() => factors,
        Ok(_) => return propose(site, visitor, person.account, person.session, error),
        Err(_) => return later(visitor),
    };
    let title = visitor.lang.texts().second_title;
    let template = FactorsPage {
        frame: person.frame(visitor, title, HOME).with_error(error.is_some()),
        csrf: person.session.csrf.expose().clone(),
        error,
        on: true,
        removable: site.house.second_factor != SecondFactor::Required,
        codes_left: factors.recovery_codes,
        proposal: None,
    };
    page(status, &template)
}

/// Shows a secret to learn. After a wrong code it is the same one: the program has it already.
fn propose(
    site: &Site,
    visitor: &Visitor,
    account: &Account,
    session: &Session,
    error: Option<&'static str>,
) -> Response {
    let t = visitor.lang.texts();
    let address = account.address.to_string();
    let proposal = match session.proposed().filter(|_| error.is_some()) {
        Some(secret) => Proposal::of(secret, &site.house.name, &address),
        None => Proposal::new(&site.house.name, &address),
    };
    let Ok(proposal) = proposal else { return later(visitor) };
    let Some((side, squares)) = qr(proposal.address.expose()) else { return later(visitor) };
    let required = site.house.second_factor == SecondFactor::Required;
    let frame = match Professional::of(visitor) {
        Some(person) => person.frame(visitor, t.second_title, HOME),
        None => Frame::new(visitor.lang, t.second_title, ASKED),
    };
    let template = FactorsPage {
        frame: frame.with_error(error.is_some()),
        csrf: session.csrf.expose().clone(),
        error,
        on: false,
        removable: false,
        codes_left: 0,
        proposal: Some(ProposalView {
            intro: if required { t.second_must } else { t.second_may },
            secret: grouped(proposal.base32.expose()),
            address: proposal.address.expose().clone(),
            side,
            squares,
        }),
    };
    session.propose(proposal.secret);
    let status = if error.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    page(status, &template)
}

/// `POST /account/factors/confirm`: the authenticator shows that it has the secret.
pub async fn confirm(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<CodeForm>,
) -> Response {
    let full = Professional::of(&visitor).map(|person| (person.account, person.session));
    let Some((account, session)) = full.or_else(|| half_in(&site, &visitor)) else {
        return account::to_login(&visitor);
    };
    let off = site.house.second_factor == SecondFactor::Off;
    if off || !login::is_own(session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, HOME);
    }
    // Otherwise a password alone, or an open page, would put a stranger's secret in its place.
    match site.desk.factors(account).await {
        Ok(factors) if factors.is_set_up() => {
            return guard::error(StatusCode::FORBIDDEN, visitor.lang, HOME);
        }
        Ok(_) => {}
        Err(_) => return later(&visitor),
    }
    let t = visitor.lang.texts();
    if !site.second.begin(account.id, site.desk.now()) {
        return propose(&site, &visitor, account, session, Some(t.login_put_off));
    }
    let Some(secret) = session.proposed() else { return login::see_other(HOME) };
    match site.desk.confirm_totp(account, &secret, &form.code).await {
        Ok(true) => site.second.succeeded(account.id),
        Ok(false) => return propose(&site, &visitor, account, session, Some(t.second_wrong)),
        Err(_) => return later(&visitor),
    }
    tracing::info!(door = "https", "a professional turned one-time codes on");
    let shown = codes(&site, &visitor, account).await;
    if full.is_some() {
        return shown;
    }
    let person = Person::Professional(Box::new(account.clone()));
    login::begin(&site, &visitor, person, None, shown).await
}

/// `POST /account/factors/change`: new recovery codes, or none of it any more. A code is needed:
/// an open page must not be enough.
pub async fn change(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<CodeForm>,
) -> Response {
    let Some(person) = Professional::of(&visitor) else { return account::to_login(&visitor) };
    let removes = form.what == "remove";
    let refused = removes && site.house.second_factor == SecondFactor::Required;
    if refused || !login::is_own(person.session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, HOME);
    }
    let t = visitor.lang.texts();
    if let Err(status) = take(&site, person.account, &form.code).await {
        let text = match status {
            StatusCode::TOO_MANY_REQUESTS => t.login_put_off,
            StatusCode::UNAUTHORIZED => t.second_wrong,
            _ => t.login_temporary,
        };
        return overview(&site, &visitor, &person, status, Some(text)).await;
    }
    if !removes {
        return codes(&site, &visitor, person.account).await;
    }
    match site.desk.remove_factors(person.account).await {
        Ok(()) => login::see_other(HOME),
        Err(_) => later(&visitor),
    }
}

/// New recovery codes, this once.
async fn codes(site: &Site, visitor: &Visitor, account: &Account) -> Response {
    let Ok(codes) = site.desk.recovery_codes(account).await else { return later(visitor) };
    let frame = Frame::new(visitor.lang, visitor.lang.texts().second_codes_title, HOME);
    let codes = codes.iter().map(|code: &Secret<String>| code.expose().clone()).collect();
    page(StatusCode::OK, &CodesPage { frame, codes })
}

fn later(visitor: &Visitor) -> Response {
    guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, account::HOME)
}

/// In fours, as people read it to themselves.
fn grouped(secret: &str) -> String {
    let groups: Vec<String> = secret
        .as_bytes()
        .chunks(4)
        .map(|four| String::from_utf8_lossy(four).into_owned())
        .collect();
    groups.join(" ")
}

/// The side of a QR code, and its dark squares as an SVG path.
fn qr(text: &str) -> Option<(usize, String)> {
    let code = QRBuilder::new(text).build().ok()?;
    let mut squares = String::new();
    for row in 0..code.size {
        for column in (0..code.size).filter(|column| code[row][*column].value()) {
            let _ = write!(squares, "M{},{}h1v1h-1z", column + QUIET, row + QUIET);
        }
    }
    Some((code.size + 2 * QUIET, squares))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_at_one_mailbox_are_counted_wherever_they_come_from() {
        let attempts = Attempts::default();
        let (one, other) = (MailboxId::from_bytes([1; 16]), MailboxId::from_bytes([2; 16]));
        let now = Timestamp::from_seconds(1_795_358_400);
        for _ in 0..limits::SECOND_FACTOR_FAILURES_MAX {
            assert!(attempts.begin(one, now));
        }
        assert!(!attempts.begin(one, now));
        assert!(attempts.begin(other, now));
        assert!(attempts.begin(one, now.after(limits::SECOND_FACTOR_WINDOW)));
    }

    #[test]
    fn a_qr_code_has_light_borders() {
        let (side, squares) = qr("otpauth://totp/hopital:a@b?secret=ABC").unwrap();
        assert!(side > 21 + QUIET && squares.starts_with("M4,4h1v1h-1z"));
        assert_eq!(grouped("ABCDEFGHIJ"), "ABCD EFGH IJ");
    }
}
