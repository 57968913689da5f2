//! The second step of a professional's login: one-time codes, passkeys and recovery codes.
//!
//! Whoever has shown the right password and nothing else is [`Person::HalfIn`], which no other
//! page knows: a page that forgets to ask lets nobody in.
use std::fmt::Write;
use std::sync::Arc;

use axum::extract::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use fast_qr::QRBuilder;
use serde::Deserialize;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::infra::config::login::SecondFactor;
use crate::infra::directory::Account;
use crate::infra::directory::factors::Overview;
use crate::infra::directory::factors::Proposal;
use crate::server::web::account;
use crate::server::web::account::Professional;
use crate::server::web::account::adding;
use crate::server::web::desk::Owner;
use crate::server::web::guard;
use crate::server::web::login;
use crate::server::web::pages::CodesPage;
use crate::server::web::pages::FactorsPage;
use crate::server::web::pages::Frame;
use crate::server::web::pages::PasskeysView;
use crate::server::web::pages::ProposalView;
use crate::server::web::pages::SecondPage;
use crate::server::web::pages::page;
use crate::server::web::pages::page_with_script;
use crate::server::web::passkeys;
use crate::server::web::passkeys::Wrong;
use crate::server::web::session::Person;
use crate::server::web::session::Session;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Texts;

/// Where the second step is asked for.
pub const ASKED: &str = "/account/second";
/// Where second factors are set up and changed.
pub const HOME: &str = "/account/factors";
const CHANGE: &str = "/account/factors/change";
/// Squares around a QR code that stay light.
const QUIET: usize = 4;

/// What these pages' forms send.
#[derive(Deserialize)]
pub struct CodeForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    what: String,
    /// What an authenticator answered, as JSON.
    #[serde(default)]
    answer: String,
    /// Which passkey.
    #[serde(default)]
    handle: String,
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
pub(super) fn half_in<'a>(site: &Site, visitor: &'a Visitor) -> Option<(&'a Account, &'a Session)> {
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
        Ok(factors) if factors.is_set_up() => {
            second_form(&site, &visitor, account, session, StatusCode::OK, None).await
        }
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
    match take(&site, account, session, &form, visitor.lang.texts()).await {
        Ok(()) => {
            let person = Person::Professional(Box::new(account.clone()));
            login::welcome(&site, &visitor, person, account::HOME).await
        }
        Err((status, text)) => {
            second_form(&site, &visitor, account, session, status, Some(text)).await
        }
    }
}

/// Takes a code or a passkey, if the mailbox has not been guessed at too often.
async fn take(
    site: &Site,
    account: &Account,
    session: &Session,
    form: &CodeForm,
    t: &'static Texts,
) -> Result<(), Wrong> {
    let owner = Owner::Mailbox(account);
    if !form.answer.is_empty() {
        return passkeys::take(site, session, owner, &form.answer, t).await;
    }
    if !site.second.begin(owner, site.desk.now()) {
        return Err((StatusCode::TOO_MANY_REQUESTS, t.login_put_off));
    }
    match site.desk.take_code(account, &form.code).await {
        Ok(true) => {
            site.second.succeeded(owner);
            Ok(())
        }
        Ok(false) => {
            site.desk.count_login(false);
            tracing::info!(door = "https", "a second factor was wrong");
            Err((StatusCode::UNAUTHORIZED, t.second_wrong))
        }
        Err(_) => Err((StatusCode::SERVICE_UNAVAILABLE, t.login_temporary)),
    }
}

async fn second_form(
    site: &Site,
    visitor: &Visitor,
    account: &Account,
    session: &Session,
    status: StatusCode,
    error: Option<&'static str>,
) -> Response {
    let t = visitor.lang.texts();
    let passkey = passkeys::ask(site, session, Owner::Mailbox(account), ASKED).await;
    let asks = passkey.is_some();
    let template = SecondPage {
        frame: Frame::new(visitor.lang, t.second_asked, ASKED).with_error(error.is_some()),
        csrf: session.csrf.expose().clone(),
        error,
        text: if asks { t.second_asked_passkey } else { t.second_asked_text },
        passkey,
        code: true,
    };
    if asks { page_with_script(status, &template) } else { page(status, &template) }
}

/// `GET /account/factors`
pub async fn factors(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    let Some(person) = Professional::of(&visitor) else { return account::to_login(&visitor) };
    if site.house.second_factor == SecondFactor::Off {
        return guard::error(StatusCode::NOT_FOUND, visitor.lang, HOME);
    }
    overview(&site, &visitor, &person, StatusCode::OK, None).await
}

pub(super) async fn overview(
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
    let (t, owner) = (visitor.lang.texts(), Owner::Mailbox(person.account));
    let shown_again = person.session.is_shown_again(site.desk.now());
    let ask = match shown_again {
        true => None,
        false => passkeys::ask(site, person.session, owner, CHANGE).await,
    };
    let asks = ask.is_some();
    // Who has passkeys alone may have codes besides.
    let lacks_codes = shown_again && factors.totp_since.is_none();
    let proposal = match lacks_codes {
        true => match proposal(site, person.account, person.session, error, t) {
            Some(proposal) => Some(proposal),
            None => return later(visitor),
        },
        false => None,
    };
    let template = FactorsPage {
        frame: person.frame(visitor, t.second_title, HOME).with_error(error.is_some()),
        csrf: person.session.csrf.expose().clone(),
        error,
        on: true,
        shown_again,
        removable: site.house.second_factor != SecondFactor::Required,
        codes_left: factors.recovery_codes,
        proposal,
        passkeys: PasskeysView { ask, ..view(site, visitor, &factors, shown_again) },
    };
    if asks { page_with_script(status, &template) } else { page(status, &template) }
}

fn view(site: &Site, visitor: &Visitor, known: &Overview, may_change: bool) -> PasskeysView {
    PasskeysView {
        rows: passkeys::rows(known, visitor.lang),
        remove: CHANGE,
        removable: may_change,
        add: (may_change && site.desk.has_passkeys()).then_some(adding::ADD),
        name_max: limits::PASSKEY_NAME_CHARACTERS,
        manage: site.desk.has_passkeys() || !known.passkeys.is_empty(),
        ask: None,
    }
}

/// Shows what may be set up, to somebody who has nothing.
pub(super) fn propose(
    site: &Site,
    visitor: &Visitor,
    account: &Account,
    session: &Session,
    error: Option<&'static str>,
) -> Response {
    let t = visitor.lang.texts();
    let Some(proposal) = proposal(site, account, session, error, t) else { return later(visitor) };
    let frame = match Professional::of(visitor) {
        Some(person) => person.frame(visitor, t.second_title, HOME),
        None => Frame::new(visitor.lang, t.second_title, ASKED),
    };
    let template = FactorsPage {
        frame: frame.with_error(error.is_some()),
        csrf: session.csrf.expose().clone(),
        error,
        on: false,
        shown_again: false,
        removable: false,
        codes_left: 0,
        proposal: Some(proposal),
        passkeys: view(site, visitor, &Overview::default(), true),
    };
    let status = if error.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    page(status, &template)
}

/// A secret to learn. After a wrong code it is the same one: the program has it already.
fn proposal(
    site: &Site,
    account: &Account,
    session: &Session,
    error: Option<&'static str>,
    t: &'static Texts,
) -> Option<ProposalView> {
    let address = account.address.to_string();
    let proposal = match session.proposed().filter(|_| error.is_some()) {
        Some(secret) => Proposal::of(secret, &site.house.name, &address),
        None => Proposal::new(&site.house.name, &address),
    };
    let proposal = proposal.ok()?;
    let (side, squares) = qr(proposal.address.expose())?;
    let required = site.house.second_factor == SecondFactor::Required;
    let view = ProposalView {
        intro: if required { t.second_must } else { t.second_may },
        secret: grouped(proposal.base32.expose()),
        address: proposal.address.expose().clone(),
        side,
        squares,
    };
    session.propose(proposal.secret);
    Some(view)
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
    let besides = full.is_some() && session.is_shown_again(site.desk.now());
    let known = match site.desk.factors(account).await {
        Ok(known) => known,
        Err(_) => return later(&visitor),
    };
    if known.totp_since.is_some() || (known.is_set_up() && !besides) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, HOME);
    }
    let (t, owner) = (visitor.lang.texts(), Owner::Mailbox(account));
    let again = async |text| match Professional::of(&visitor) {
        Some(person) if known.is_set_up() => {
            overview(&site, &visitor, &person, StatusCode::UNAUTHORIZED, Some(text)).await
        }
        _ => propose(&site, &visitor, account, session, Some(text)),
    };
    if !site.second.begin(owner, site.desk.now()) {
        return again(t.login_put_off).await;
    }
    let Some(secret) = session.proposed() else { return login::see_other(HOME) };
    match site.desk.confirm_totp(account, &secret, &form.code, besides).await {
        Ok(true) => site.second.succeeded(owner),
        Ok(false) => return again(t.second_wrong).await,
        Err(_) => return later(&visitor),
    }
    tracing::info!(door = "https", "a professional turned one-time codes on");
    set_up(&site, &visitor, account, full.is_some(), !known.is_set_up()).await
}

/// What follows a new factor: recovery codes with the first one, and the session of somebody who
/// was halfway in.
pub(super) async fn set_up(
    site: &Site,
    visitor: &Visitor,
    account: &Account,
    is_in: bool,
    is_first: bool,
) -> Response {
    if !is_first {
        return login::see_other(HOME);
    }
    let shown = codes(site, visitor, account).await;
    if is_in {
        return shown;
    }
    let person = Person::Professional(Box::new(account.clone()));
    login::begin(site, visitor, person, None, shown).await
}

/// `POST /account/factors/change`: new recovery codes, one passkey or all of it gone, or a while in
/// which that needs nothing more. A code or a passkey is needed: an open page must not be enough.
pub async fn change(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<CodeForm>,
) -> Response {
    let Some(person) = Professional::of(&visitor) else { return account::to_login(&visitor) };
    let is_required = site.house.second_factor == SecondFactor::Required;
    let refused = form.what == "remove" && is_required;
    if refused || !login::is_own(person.session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, HOME);
    }
    let (t, now) = (visitor.lang.texts(), site.desk.now());
    let shows_nothing = form.code.is_empty() && form.answer.is_empty();
    let is_asked = !shows_nothing || !person.session.is_shown_again(now);
    if is_asked
        && let Err((status, text)) = take(&site, person.account, person.session, &form, t).await
    {
        return overview(&site, &visitor, &person, status, Some(text)).await;
    }
    match form.what.as_str() {
        "again" => {
            person.session.show_again(now);
            login::see_other(HOME)
        }
        "remove" => match site.desk.remove_factors(person.account).await {
            Ok(()) => login::see_other(HOME),
            Err(_) => later(&visitor),
        },
        "remove-passkey" => {
            let owner = Owner::Mailbox(person.account);
            match passkeys::remove(&site, owner, &form.handle, is_required, t).await {
                Ok(()) => login::see_other(HOME),
                Err((status, text)) => overview(&site, &visitor, &person, status, Some(text)).await,
            }
        }
        _ => codes(&site, &visitor, person.account).await,
    }
}

/// New recovery codes, this once.
async fn codes(site: &Site, visitor: &Visitor, account: &Account) -> Response {
    let Ok(codes) = site.desk.recovery_codes(account).await else { return later(visitor) };
    let frame = Frame::new(visitor.lang, visitor.lang.texts().second_codes_title, HOME);
    let codes = codes.iter().map(|code: &Secret<String>| code.expose().clone()).collect();
    page(StatusCode::OK, &CodesPage { frame, codes })
}

pub(super) fn later(visitor: &Visitor) -> Response {
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
    fn a_qr_code_has_light_borders() {
        let (side, squares) = qr("otpauth://totp/hopital:a@b?secret=ABC").unwrap();
        assert!(side > 21 + QUIET && squares.starts_with("M4,4h1v1h-1z"));
        assert_eq!(grouped("ABCDEFGHIJ"), "ABCD EFGH IJ");
    }
}
