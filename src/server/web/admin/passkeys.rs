//! An administrator's own passkeys, and the second step of their login.
use std::sync::Arc;

use axum::extract::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::domain::limits;
use crate::infra::config::login::SecondFactor;
use crate::server::web::admin;
use crate::server::web::admin::Code;
use crate::server::web::desk::Owner;
use crate::server::web::guard;
use crate::server::web::login;
use crate::server::web::pages::AdminPasskeysPage;
use crate::server::web::pages::Frame;
use crate::server::web::pages::PasskeysView;
use crate::server::web::pages::SecondPage;
use crate::server::web::pages::page;
use crate::server::web::pages::page_with_script;
use crate::server::web::passkeys;
use crate::server::web::passkeys::PasskeyForm;
use crate::server::web::passkeys::Wrong;
use crate::server::web::session::Person;
use crate::server::web::session::Session;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Texts;

/// Where a passkey is asked for after the password.
pub const SECOND: &str = "/admin/second";
/// The list.
pub const HOME: &str = "/admin/passkeys";
/// Where one is asked for that is to be added.
pub const ADD: &str = "/admin/passkeys/add";
/// Where it comes.
pub const MADE: &str = "/admin/passkeys/made";

/// True when passkeys are offered to administrators here.
pub(super) fn are_offered(site: &Site) -> bool {
    site.house.second_factor != SecondFactor::Off && site.desk.has_passkeys()
}

/// An administrator whose password was right a moment ago.
fn half_in<'a>(site: &Site, visitor: &'a Visitor) -> Option<(&'a str, &'a Session)> {
    let (_, session) = visitor.session.as_ref()?;
    match &session.person {
        Person::HalfInAdministrator(name) if session.age(site.desk.now()) < limits::HALF_IN_MAX => {
            Some((name, session))
        }
        _ => None,
    }
}

/// `GET /admin/second`
pub async fn ask(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    let Some((name, session)) = half_in(&site, &visitor) else {
        return login::see_other(admin::LOGIN);
    };
    second_form(&site, &visitor, name, session, StatusCode::OK, None).await
}

/// `POST /admin/second`
pub async fn answer(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<PasskeyForm>,
) -> Response {
    let Some((name, session)) = half_in(&site, &visitor) else {
        return login::see_other(admin::LOGIN);
    };
    if !login::is_own(session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, SECOND);
    }
    let (owner, t) = (Owner::Administrator(name), visitor.lang.texts());
    match passkeys::take(&site, session, owner, &form.answer, t).await {
        Ok(()) => {
            tracing::info!(door = "https", administrator = name, "an administrator logged in");
            let person = Person::Administrator(name.to_owned());
            login::welcome(&site, &visitor, person, "/admin").await
        }
        Err((status, text)) => {
            second_form(&site, &visitor, name, session, status, Some(text)).await
        }
    }
}

async fn second_form(
    site: &Site,
    visitor: &Visitor,
    name: &str,
    session: &Session,
    status: StatusCode,
    error: Option<&'static str>,
) -> Response {
    let t = visitor.lang.texts();
    let passkey = passkeys::ask(site, session, Owner::Administrator(name), SECOND).await;
    if passkey.is_none() && error.is_none() {
        return guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, admin::LOGIN);
    }
    let template = SecondPage {
        frame: Frame::new(visitor.lang, t.second_asked, SECOND).with_error(error.is_some()),
        csrf: session.csrf.expose().clone(),
        error,
        text: t.second_passkey_only,
        passkey,
        code: false,
    };
    page_with_script(status, &template)
}

/// `GET /admin/passkeys`
pub async fn list(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    let Some(session) = admin::session(&visitor) else { return login::see_other(admin::LOGIN) };
    list_page(&site, &visitor, session, StatusCode::OK, None).await
}

async fn list_page(
    site: &Site,
    visitor: &Visitor,
    session: &Session,
    status: StatusCode,
    error: Option<&'static str>,
) -> Response {
    if !are_offered(site) {
        return guard::error(StatusCode::NOT_FOUND, visitor.lang, "/admin");
    }
    let (t, owner) = (visitor.lang.texts(), Owner::Administrator(admin::name(session)));
    let Ok(known) = site.desk.factors_of(owner).await else { return later(visitor) };
    let has_code = admin::has_code(site, admin::name(session)).await;
    let is_first = !known.is_set_up() && !has_code;
    let may_change = is_first || session.is_shown_again(site.desk.now());
    let ask = match may_change {
        true => None,
        false => passkeys::ask(site, session, owner, HOME).await,
    };
    let asks = ask.is_some();
    let template = AdminPasskeysPage {
        frame: admin::frame(visitor, session, t.admin_passkeys).with_error(error.is_some()),
        csrf: session.csrf.expose().clone(),
        error,
        code: has_code && !may_change,
        passkeys: PasskeysView {
            rows: passkeys::rows(&known, visitor.lang),
            remove: HOME,
            removable: may_change,
            add: may_change.then_some(ADD),
            name_max: limits::PASSKEY_NAME_CHARACTERS,
            manage: true,
            ask,
        },
    };
    if asks { page_with_script(status, &template) } else { page(status, &template) }
}

/// `POST /admin/passkeys`: one is shown again, or removed.
pub async fn change(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<PasskeyForm>,
) -> Response {
    let Some(session) = admin::session(&visitor) else { return login::see_other(admin::LOGIN) };
    if !login::is_own(session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, HOME);
    }
    let (t, now) = (visitor.lang.texts(), site.desk.now());
    let owner = Owner::Administrator(admin::name(session));
    let done = match form.what.as_str() {
        "again" => {
            let shown = match form.code.is_empty() {
                true => passkeys::take(&site, session, owner, &form.answer, t).await,
                false => take_code(&site, admin::name(session), &form.code, t).await,
            };
            shown.map(|()| session.show_again(now))
        }
        _ if !session.is_shown_again(now) => Err((StatusCode::UNAUTHORIZED, t.passkey_show_first)),
        // `login.second_factor = "required"` holds at the next login: a code serves as well.
        _ => passkeys::remove(&site, owner, &form.handle, false, t).await,
    };
    match done {
        Ok(()) => login::see_other(HOME),
        Err((status, text)) => list_page(&site, &visitor, session, status, Some(text)).await,
    }
}

/// Takes a one-time code, if there were not too many wrong ones.
async fn take_code(site: &Site, name: &str, code: &str, t: &'static Texts) -> Result<(), Wrong> {
    let owner = Owner::Administrator(name);
    if !site.second.begin(owner, site.desk.now()) {
        return Err((StatusCode::TOO_MANY_REQUESTS, t.login_put_off));
    }
    match admin::is_code(site, name, code, true).await {
        Ok(Code::Right) => {
            site.second.succeeded(owner);
            Ok(())
        }
        Ok(Code::Wrong | Code::None) => Err((StatusCode::UNAUTHORIZED, t.second_wrong)),
        Err(text) => Err((StatusCode::SERVICE_UNAVAILABLE, text(t))),
    }
}

/// Whether one may be added: the first factor of all, or when another was shown a moment ago.
async fn may_add(site: &Site, session: &Session, csrf: &str) -> Result<bool, StatusCode> {
    if !are_offered(site) || !login::is_own(session, csrf) {
        return Err(StatusCode::FORBIDDEN);
    }
    let owner = Owner::Administrator(admin::name(session));
    let known = site.desk.factors_of(owner).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let has_factor = known.is_set_up() || admin::has_code(site, admin::name(session)).await;
    let besides = session.is_shown_again(site.desk.now());
    if has_factor && !besides { Err(StatusCode::FORBIDDEN) } else { Ok(besides) }
}

/// `POST /admin/passkeys/add`: the page where one is made.
pub async fn add(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<PasskeyForm>,
) -> Response {
    let Some(session) = admin::session(&visitor) else { return login::see_other(admin::LOGIN) };
    if let Err(status) = may_add(&site, session, &form.csrf).await {
        return guard::error(status, visitor.lang, HOME);
    }
    let mut frame = admin::frame(&visitor, session, visitor.lang.texts().passkey_make_title);
    // The page itself is the answer to a form; the other language begins anew.
    frame.switch = crate::server::web::site::in_language(HOME, visitor.lang.other());
    let owner = Owner::Administrator(admin::name(session));
    let made = passkeys::make_page(&site, session, owner, &form.name, frame, MADE, HOME).await;
    made.unwrap_or_else(|| later(&visitor))
}

/// `POST /admin/passkeys/made`: what the browser made.
pub async fn made(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<PasskeyForm>,
) -> Response {
    let Some(session) = admin::session(&visitor) else { return login::see_other(admin::LOGIN) };
    let besides = match may_add(&site, session, &form.csrf).await {
        Ok(besides) => besides,
        Err(status) => return guard::error(status, visitor.lang, HOME),
    };
    let (t, name) = (visitor.lang.texts(), admin::name(session));
    let owner = Owner::Administrator(name);
    match passkeys::keep(&site, session, owner, &form.answer, besides, t).await {
        Ok(_) => {
            tracing::info!(door = "https", administrator = name, "a passkey was registered");
            login::see_other(HOME)
        }
        Err((status, text)) => list_page(&site, &visitor, session, status, Some(text)).await,
    }
}

fn later(visitor: &Visitor) -> Response {
    guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, "/admin")
}
